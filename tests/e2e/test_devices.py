"""Devices and cores: several workers on one-queue devices, VLANs, a tap, links that go and come."""

import contextlib
import select
import time

from lab import (S1, S2, Background, VlanSwitch, client_address, ping, udp_exchange, wait_until)
from realhosts import http, iperf_result, iperf_server, iperf_start
from test_records import Records

C1 = client_address(1)


def two_workers(daemon):
    config = daemon.sample()
    config["dataplane"]["workers"] = [0, 1]
    return config


def test_two_workers_share_one_queue_and_hand_over(lab, daemon):
    daemon.start(two_workers(daemon))
    server = lab.s1.udp(9)
    for client in lab.clients:
        ping(client, S1)
        for _ in range(10):
            udp_exchange(client.udp(), server, (S1, 9), tries=3)
    iperf = iperf_server(lab.s2)
    runs = [iperf_start(lab.c1, S2), ]
    for run in runs:
        assert iperf_result(run)["bytes"] > 1_000_000
    iperf.terminate()
    workers = daemon.ctl("stat", "worker")["workers"]
    assert len(workers) == 2
    assert sum(w["handoff"] for w in workers) > 100, workers


def test_a_subscriber_of_each_worker_meets_the_other(lab, daemon):
    config = two_workers(daemon)
    config["lsn"]["appsprofile"].append(
        {"name": "UDP-ALL", "transportprotocol": "UDP", "lsnport": ["1-65535"],
         "ippooling": "PAIRED", "mapping": "ENDPOINT-INDEPENDENT",
         "filtering": "ENDPOINT-INDEPENDENT"})
    config["lsn"]["group"][0]["appsprofilename"].append("UDP-ALL")
    daemon.start(config)
    server = lab.s1.udp(9)
    sockets = [c.udp(timeout=1) for c in lab.clients]
    outside = [udp_exchange(s, server, (S1, 9), tries=5) for s in sockets]
    for n, sender in enumerate(sockets):
        for m, receiver in enumerate(sockets):
            if n != m:
                sender.sendto(b"%d to %d" % (n, m), outside[m])
                assert receiver.recvfrom(100) == (b"%d to %d" % (n, m), outside[n])


def test_a_sleeping_worker_wakes_for_a_packet(lab, daemon):
    config = daemon.sample()
    config["dataplane"]["powerSave"] = True
    daemon.start(config)
    ping(lab.c1, S1, 5)
    time.sleep(1)
    ping(lab.c2, S2, 5)


def test_several_vlans_on_one_device(lab, daemon):
    config = daemon.sample()
    device = config["interfaces"][0]["device"]
    config["interfaces"][0:1] = [
        {"name": "in10", "role": "inside", "device": device, "vlan": 10, "address": "192.0.2.1/24"},
        {"name": "in20", "role": "inside", "device": device, "vlan": 20, "address": "10.20.0.1/24"}]
    config["lsn"]["client"][0]["network"].append("10.20.0.0/24")
    switch = VlanSwitch(lab, "lsn-in", {"c1": 10, "c3": 20})
    lab.c3.run("sh", "-c", "ip address add 10.20.0.13/24 dev eth0; "
               "ip route replace default via 10.20.0.1 src 10.20.0.13")
    try:
        daemon.start(config)
        for client in (lab.c1, lab.c3):
            ping(client, S1)
        ping(lab.c3, S2, 2, 4000)
        assert http(lab.c1, lab.s1, S1, "ten" * 9000) == "ten" * 9000
        assert http(lab.c3, lab.s2, S2, "twenty" * 9000) == "twenty" * 9000
        assert switch.foreign <= 4, "frames without a tag, or with a wrong one"
    finally:
        switch.stop()
        lab.c3.run("sh", "-c", "ip address del 10.20.0.13/24 dev eth0; "
                   "ip route replace default via 192.0.2.1")


def twins(daemon):
    """Two customers with one network, each in a VLAN and a traffic domain of his own."""
    config = daemon.sample()
    device = config["interfaces"][0]["device"]
    config["interfaces"][0:1] = [
        {"name": f"customer{td}", "role": "inside", "device": device, "vlan": 10 * td, "td": td,
         "address": "192.0.2.1/24"} for td in (1, 2)]
    lsn = config["lsn"]
    lsn["client"][0]["network"] = ["192.0.2.0/24 td 1", "192.0.2.0/24 td 2"]
    lsn["group"][0] |= {"logging": "ENABLED", "sessionLogging": "ENABLED"}
    lsn["static"] = [
        {"name": f"WEB-{td}", "transportprotocol": "TCP", "subscrIP": C1, "subscrPort": "8080",
         "td": td, "natIP": f"203.0.113.{2 + td}", "natPort": "8080"} for td in (1, 2)]
    directory = daemon.directory / "records"
    config["records"] = {"file": {"path": str(directory / "r")}}
    return config, Records(directory)


@contextlib.contextmanager
def same_address(lab):
    """c1 and c3 are both 192.0.2.11, in VLANs 10 and 20."""
    switch = VlanSwitch(lab, "lsn-in", {"c1": 10, "c3": 20})
    move = "ip address del {}/24 dev eth0; ip address add {}/24 dev eth0; " \
           "ip route replace default via 192.0.2.1"
    lab.c3.run("sh", "-c", move.format(client_address(3), C1))
    try:
        yield lab.c1, lab.c3
        assert switch.foreign <= 4, "frames without a tag, or with a wrong one"
    finally:
        switch.stop()
        lab.c3.run("sh", "-c", move.format(C1, client_address(3)))


def test_two_customers_with_one_network(lab, daemon):
    with same_address(lab) as customers:
        config, records = twins(daemon)
        daemon.start(config)
        server = lab.s1.udp(9)
        sockets = [customer.udp(4500) for customer in customers]
        seen = [udp_exchange(s, server, (S1, 9), tries=3) for s in sockets]
        assert seen[0] != seen[1], "one NAT endpoint for two customers"
        for customer, seen_first, s in zip(customers, seen, sockets):
            ping(customer, S1)
            ping(customer, S2, 2, 4000)
            assert udp_exchange(s, server, (S1, 9)) == seen_first
        for td, customer in enumerate(customers, 1):
            words = f"customer {td} " * 3000
            assert http(customer, lab.s1, S1, words) == words
            assert http(lab.s2, customer, f"203.0.113.{2 + td}", words) == words
        # Each finds the other one by NAT addresses alone.
        assert http(customers[0], customers[1], "203.0.113.4", "to 2") == "to 2"
        assert http(customers[1], customers[0], "203.0.113.3", "to 1") == "to 1"

        for td in (1, 2):
            nat = f"{seen[td - 1][0]}:{seen[td - 1][1]}"
            subscribers = daemon.ctl("show", "lsn", "subscriber", "-td", td)["subscribers"]
            assert [(s["subscriber"], s["td"]) for s in subscribers] == [(C1, td)]
            sessions = daemon.sessions("-td", td)
            assert [s["nat"] for s in sessions if s["subscriber"] == f"{C1}:4500"] == [nat]
            recorded = [r for r in records.of("SESSION", "created")
                        if r["subscrPort"] == "4500" and r.get("td") == str(td)]
            assert [f"{r['natIP']}:{r['natPort']}" for r in recorded] == [nat]
        daemon.ctl("flush", "lsn", "session", "-td", 1)
        assert not daemon.sessions("-td", 1)
        assert daemon.sessions("-td", 2)


def test_a_vlan_outside_too(lab, daemon):
    config = daemon.sample()
    config["interfaces"][1]["vlan"] = 30
    switch = VlanSwitch(lab, "lsn-out", {"s1": 30})
    try:
        daemon.start(config)
        ping(lab.c1, S1)
        ping(lab.c1, S1, 2, 4000)
        assert http(lab.c2, lab.s1, S1, "thirty" * 5000) == "thirty" * 5000
    finally:
        switch.stop()


def test_a_tap_device_inside(lab, daemon):
    config = daemon.sample()
    config["interfaces"][0]["device"] = "net_tap0,iface=lsn-tap"
    daemon.start(config)
    r = lab.router
    try:
        # A bridge keeps what is for a port's own hardware address: the kernel's end gets another one
        # than lsnd's.
        r.run("sh", "-c", "ip link add br-tap type bridge mcast_snooping 0; ip link set br-tap up;"
              "ip link set lsn-tap address 02:00:00:00:55:55;"
              "ip link set lsn-tap master br-tap up; ip link set lsn-in master br-tap")
        wait_until("the tap carries traffic", lambda: ping(lab.c1, S1, 1, check=False))
        ping(lab.c2, S2)
        assert http(lab.c3, lab.s1, S1, "tap" * 9000) == "tap" * 9000
    finally:
        r.ip("link", "del", "br-tap")


def test_a_bond_of_two_devices_outside(lab, daemon):
    """Active backup (mode 1): one hardware address, the other member waits."""
    lab.cable(lab.router, "lsn-out2", "lsn-out2", "br-out")
    try:
        config = daemon.sample()
        config["interfaces"][1]["device"] = (
            "net_bonding0,mode=1,slave=(net_af_packet5,iface=lsn-out),"
            "slave=(net_af_packet6,iface=lsn-out2)")
        daemon.start(config)
        for client in lab.clients:
            ping(client, S1)
        assert http(lab.c1, lab.s1, S1, "bond" * 9000) == "bond" * 9000
        devices = {d["driver"]: d for d in daemon.ctl("stat", "interface")["devices"]}
        assert devices["net_bonding"]["link"] == "up"
    finally:
        lab.router.ip("link", "del", "lsn-out2")


def drain(sock):
    """Takes what has arrived already."""
    while select.select([sock], [], [], 0.2)[0]:
        sock.recv(65535)


def test_the_outside_link_goes_down_and_comes_back(lab, router):
    client, server = lab.c1.udp(timeout=1), lab.s1.udp(9, timeout=1)
    before = udp_exchange(client, server, (S1, 9))
    for end, interface in ((lab.wire, "lsn-out"), (lab.router, "lsn-out"), (lab.router, "lsn-in")):
        end.ip("link", "set", interface, "down")
        for _ in range(3):
            client.sendto(b"lost", (S1, 9))
            time.sleep(0.2)
        assert router.running()
        router.ctl("stat", "interface")
        if interface == "lsn-out":
            assert router.drops()["link_down"] > 0
        end.ip("link", "set", interface, "up")
        # What was under way when the link went may still come.
        wait_until("the link carries traffic again", lambda: ping(lab.c2, S1, 1, check=False), 20)
        drain(server)
        drain(client)
        assert udp_exchange(client, server, (S1, 9), tries=20) == before


def test_a_device_that_disappears_is_survived_and_taken_again(lab, daemon):
    """The kernel interface under an outside device is deleted, and made again."""
    r = lab.router
    r.ip("link", "add", "dying", "type", "veth", "peer", "name", "dead")
    r.ip("link", "set", "dying", "up")
    r.ip("link", "set", "dead", "up")
    config = daemon.sample()
    config["interfaces"].append({"name": "third", "role": "outside", "address": "198.51.101.1/24",
                                 "device": "net_af_packet2,iface=dying"})
    daemon.start(config)
    ping(lab.c1, S1)
    r.ip("link", "del", "dying")
    time.sleep(1)
    ping(lab.c1, S1)
    assert daemon.running()
    assert "has disappeared" in daemon.log()
    r.ip("link", "add", "dying", "type", "veth", "peer", "name", "dead")
    r.ip("link", "set", "dying", "up")
    r.ip("link", "set", "dead", "up")
    wait_until("it is taken again", lambda: "has returned" in daemon.log(), 10)
    ping(lab.c1, S1)
    r.ip("addr", "add", "198.51.101.9/24", "dev", "dead")
    r.run("ping", "-n", "-c", "1", "-W", "5", "198.51.101.1")
    r.ip("link", "del", "dying")


def test_established_traffic_is_undisturbed_by_commands(lab, router):
    server, client = lab.s1.udp(9), lab.c1.udp()
    traffic = Background(lambda: udp_exchange(client, server, (S1, 9)))
    for _ in range(20):
        for words in ("stat lsn", "stat interface", "stat worker", "show drops"):
            router.ctl(*words.split())
        router.sessions()
    assert traffic.stop() > 10
