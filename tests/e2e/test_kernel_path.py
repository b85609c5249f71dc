"""The kernel path: ping, TCP and BGP with the box itself, by kernel interfaces that stand for its
own.

The kernel interfaces live in a namespace of their own: net_af_packet leaves the cables' kernel
interfaces in the router's, which would hear everything a second time.
"""

import contextlib
import re
import threading
import time

import pytest
from scapy.layers.l2 import ARP, Ether

from lab import (INSIDE_GATEWAY, OUTSIDE_GATEWAY, S1, S2, Capture, VlanSwitch, ping, udp_exchange,
                 wait_until)
from netns import Namespace, require, sh

VLAN_GATEWAY, VLAN_HOST = "10.7.0.1", "10.7.0.9"


@pytest.fixture
def kernel(lab):
    """The namespace of the kernel interfaces."""
    namespace = Namespace(f"{lab.id}-kernel")
    yield namespace
    namespace.delete()


def with_kernel(daemon, namespace, **settings):
    config = daemon.sample()
    config["interfaces"][1].update({"kernel": "k-out", "kernelNetns": namespace.name, **settings})
    return config


def interface(daemon, name="outside"):
    return next(i for i in daemon.ctl("stat", "interface")["interfaces"] if i["name"] == name)


def links(namespace):
    return namespace.run("ip", "-o", "link").stdout


def echoes(namespace):
    """Echo requests that the kernel has got."""
    lines = [line.split() for line in namespace.run("cat", "/proc/net/snmp").stdout.splitlines()
             if line.startswith("Icmp:")]
    return int(lines[1][lines[0].index("InEchos")])


def talk(client, server, words=b"hello"):
    """A line over a TCP connection, and back."""
    client.sendall(words)
    assert server.recv(100) == words
    server.sendall(b"re:" + words)
    assert client.recv(100) == b"re:" + words


def test_the_kernel_answers_pings_of_the_boxs_address(lab, daemon, kernel):
    daemon.start(with_kernel(daemon, kernel))
    before = echoes(kernel)
    ping(lab.s1, OUTSIDE_GATEWAY, 5)
    assert echoes(kernel) >= before + 5
    assert daemon.ctl("stat", "lsn")["echo_replies"] == 0
    ping(lab.s1, OUTSIDE_GATEWAY, 2, 4000)  # in fragments, which the kernel puts together
    # Inside there is no kernel interface, and traffic through the box is as it was.
    ping(lab.c1, INSIDE_GATEWAY, 1)
    assert daemon.ctl("stat", "lsn")["echo_replies"] == 1
    udp_exchange(lab.c1.udp(), lab.s1.udp(9), (S1, 9))
    shown = interface(daemon)
    assert shown["kernel"] == {"name": "k-out", "netns": kernel.name, "present": True}
    assert shown["to_kernel_packets"] >= 7 and shown["from_kernel_packets"] >= 7, shown
    assert "k-out" in daemon.table("stat", "interface")


def test_tcp_with_the_box_in_both_directions(lab, daemon, kernel):
    daemon.start(with_kernel(daemon, kernel))
    server = kernel.tcp_server(22)
    client = lab.s1.tcp_client(OUTSIDE_GATEWAY, 22)
    talk(client, server.accept()[0])
    server = lab.s2.tcp_server(179)
    client = kernel.tcp_client(S2, 179)
    talk(client, server.accept()[0])
    # A port that nobody listens on is the kernel's to refuse.
    with pytest.raises(ConnectionRefusedError):
        lab.s1.tcp_client(OUTSIDE_GATEWAY, 81)
    assert daemon.ctl("stat", "lsn")["resets_sent"] == 0


def test_the_interface_has_lsnds_address_mtu_and_mac(lab, daemon, kernel):
    config = with_kernel(daemon, kernel, mtu=1400, mac="02:00:00:00:00:77")
    daemon.start(config)
    shown = kernel.run("ip", "address", "show", "k-out").stdout
    for words in (f"inet {OUTSIDE_GATEWAY}/24 brd 198.51.100.255", "mtu 1400",
                  "02:00:00:00:00:77", ",UP"):
        assert words in shown, shown
    assert "inet6" not in shown, shown


def test_arp_both_learn_and_one_answers(lab, daemon, kernel, tmp_path):
    daemon.start(with_kernel(daemon, kernel))
    watch = Capture(lab, "lsn-out", tmp_path / "arp.pcap", "arp")
    lab.s1.ip("neigh", "flush", "all")
    ping(lab.s1, OUTSIDE_GATEWAY, 2)
    ping(kernel, S2, 2)
    time.sleep(0.3)
    watch.stop()
    packets = [p for p in watch.packets() if p.haslayer(ARP)]
    asked = [p for p in packets if p[ARP].op == 1 and p[ARP].psrc == S1 and
             p[ARP].pdst == OUTSIDE_GATEWAY and p[Ether].dst == "ff:ff:ff:ff:ff:ff"]
    answers = [p for p in packets if p[ARP].op == 2 and p[ARP].psrc == OUTSIDE_GATEWAY and
               p[ARP].pdst == S1]
    assert asked and len(answers) <= len(asked) + 1, watch.text()
    assert len({p[ARP].hwsrc for p in answers}) == 1
    neighbours = kernel.run("ip", "neigh").stdout
    assert lab.s1.mac() in neighbours and lab.s2.mac() in neighbours, neighbours
    assert S1 in daemon.table("show", "arp")


@contextlib.contextmanager
def ipv6(namespace, *names):
    """With IPv6, which namespaces are made without."""
    def disable(value):
        namespace.run("sysctl", "-qw",
                      *[f"net.ipv6.conf.{name}.disable_ipv6={value}" for name in names])
    disable(0)
    try:
        yield
    finally:
        disable(1)


def link_local(host, name):
    """The IPv6 address of the link, when no other host has turned out to have it."""
    def found():
        shown = host.run("ip", "-6", "-o", "address", "show", "dev", name, "scope", "link").stdout
        return "tentative" not in shown and re.search(r"inet6 (fe80:\S+)/64", shown)
    return wait_until(f"an address of {name}", found).group(1)


def test_ipv6_of_the_link_if_it_is_wanted(lab, daemon, kernel):
    with ipv6(kernel, "all", "default"), ipv6(lab.s1, "eth0"):
        daemon.start(with_kernel(daemon, kernel, kernelIpv6=True))
        own, peer = link_local(kernel, "k-out"), link_local(lab.s1, "eth0")
        # Each asks for the other by a group of the link (RFC 4861), and answers to one.
        ping(lab.s1, f"{own}%eth0", 3)
        kernel.ip("-6", "neigh", "flush", "all")
        ping(kernel, f"{peer}%k-out", 3)
        mac = kernel.run("cat", "/sys/class/net/k-out/address").stdout.strip()
        assert mac in lab.s1.run("ip", "-6", "neigh", "show", own).stdout
        assert lab.s1.mac() in kernel.run("ip", "-6", "neigh", "show", peer).stdout
        assert daemon.dropped("ethertype_ipv6") == 0
        # Without it the kernel interface has no such address, and hears none of it.
        daemon.stop()
        daemon.start(with_kernel(daemon, kernel))
        assert "inet6" not in kernel.run("ip", "address", "show", "k-out").stdout
        assert ping(lab.s1, f"{own}%eth0", 2, check=False) == 0
        assert daemon.dropped("ethertype_ipv6") > 0


def test_a_kernel_interface_in_a_vlan(lab, daemon, kernel):
    config = daemon.sample()
    config["interfaces"].append(
        {"name": "seven", "role": "inside", "device": "net_af_packet0,iface=lsn-in", "vlan": 7,
         "address": f"{VLAN_GATEWAY}/24", "kernel": "k-seven", "kernelNetns": kernel.name})
    switch = VlanSwitch(lab, "lsn-in", {"c1": 7})
    lab.c1.ip("address", "add", f"{VLAN_HOST}/24", "dev", "eth0")
    try:
        daemon.start(config)
        ping(lab.c1, VLAN_GATEWAY)
        assert echoes(kernel) >= 3
        server = kernel.tcp_server(22)
        client = lab.c1.tcp_client(VLAN_GATEWAY, 22)
        talk(client, server.accept()[0])
        assert switch.foreign <= 4, "frames without a tag, or with a wrong one"
        shown = interface(daemon, "seven")
        assert 0 < shown["from_kernel_packets"] == shown["tx_packets"]
    finally:
        switch.stop()
        lab.c1.ip("address", "del", f"{VLAN_HOST}/24", "dev", "eth0")


def test_it_works_with_several_workers(lab, daemon, kernel):
    config = with_kernel(daemon, kernel)
    config["interfaces"][0].update({"kernel": "k-in", "kernelNetns": kernel.name})
    config["dataplane"]["workers"] = [0, 1]
    config["dataplane"]["powerSave"] = True
    daemon.start(config)
    server = kernel.tcp_server(22)
    for host, address in ((lab.s1, OUTSIDE_GATEWAY), (lab.c1, INSIDE_GATEWAY)):
        ping(host, address, 3)
        talk(host.tcp_client(address, 22), server.accept()[0])
    assert echoes(kernel) >= 6


def test_the_interface_goes_with_lsnd_and_returns_with_it(lab, daemon, kernel):
    daemon.start(with_kernel(daemon, kernel))
    assert "k-out" in links(kernel)
    daemon.stop()
    assert "k-out" not in links(kernel)
    daemon.start(with_kernel(daemon, kernel))
    assert "k-out" in links(kernel)
    daemon.kill()
    wait_until("the kernel takes it away", lambda: "k-out" not in links(kernel))
    daemon.start(with_kernel(daemon, kernel))
    ping(lab.s1, OUTSIDE_GATEWAY)


def test_in_lsnds_own_namespace(lab, daemon):
    config = daemon.sample()
    config["interfaces"][1]["kernel"] = "k-own"
    daemon.start(config)
    assert f"inet {OUTSIDE_GATEWAY}/24" in lab.router.run("ip", "address", "show", "k-own").stdout
    daemon.stop()
    assert "k-own" not in links(lab.router)


def test_an_interface_that_is_deleted_comes_again(lab, daemon, kernel):
    daemon.start(with_kernel(daemon, kernel))
    ping(lab.s1, OUTSIDE_GATEWAY, 1)
    kernel.ip("link", "del", "k-out")
    daemon.wait_log(["outside", "k-out", "deleted"])
    daemon.wait_log(["outside", "k-out", "there again"])
    ping(lab.s1, OUTSIDE_GATEWAY)
    # While it is down the kernel takes nothing, which is counted.
    kernel.ip("link", "set", "k-out", "down")
    assert ping(lab.s1, OUTSIDE_GATEWAY, 2, check=False) == 0
    assert daemon.dropped("kernel_refused") >= 2
    kernel.ip("link", "set", "k-out", "up")
    ping(lab.s1, OUTSIDE_GATEWAY)


def test_a_namespace_that_is_made_anew_gets_its_interface(lab, daemon, kernel):
    daemon.start(with_kernel(daemon, kernel))
    ping(lab.s1, OUTSIDE_GATEWAY, 1)
    before = len(daemon.log())
    kernel.delete()
    anew = Namespace(kernel.name)  # which the fixture deletes
    daemon.wait_log(["outside", "k-out", "netns"], before)
    daemon.wait_log(["outside", "k-out", "there again"], before)
    assert "k-out" in links(anew)
    assert echoes(anew) == 0
    ping(lab.s1, OUTSIDE_GATEWAY)
    assert echoes(anew) >= 1


def test_its_carrier_follows_the_link(lab, daemon, kernel):
    daemon.start(with_kernel(daemon, kernel))
    wait_until("carrier", lambda: ",LOWER_UP" in links(kernel).split("k-out", 1)[1])
    lab.wire.ip("link", "set", "lsn-out", "down")
    wait_until("no carrier", lambda: "NO-CARRIER" in links(kernel).split("k-out", 1)[1])
    lab.wire.ip("link", "set", "lsn-out", "up")
    wait_until("carrier", lambda: ",LOWER_UP" in links(kernel).split("k-out", 1)[1])


def test_what_cannot_be_made_ends_the_start_with_a_line(lab, daemon, kernel):
    def refused(config, *words):
        before = len(daemon.log())
        daemon.start(config, wait=False)
        assert daemon.wait(60) == 1
        daemon.process = None
        lines = [line for line in daemon.log()[before:].splitlines() if "outside" in line]
        assert any(all(w in line for w in words) for line in lines), daemon.log()[before:]
    kernel.ip("tuntap", "add", "k-out", "mode", "tap")
    refused(with_kernel(daemon, kernel), "k-out", "of that name")
    kernel.ip("link", "del", "k-out")
    refused(with_kernel(daemon, kernel, kernelNetns="not-there"), "k-out", "/run/netns/not-there")


def test_rates_change_with_a_reload_and_names_need_a_restart(lab, daemon, kernel):
    daemon.start(with_kernel(daemon, kernel))
    before = daemon.reload(with_kernel(daemon, kernel, kernelRate={"rest": 2}))
    daemon.wait_log("generation", before)
    lab.s1.run("ping", "-n", "-q", "-c", "100", "-i", "0.01", "-W", "1", OUTSIDE_GATEWAY,
               check=False)
    assert daemon.dropped("kernel_rate_rest") >= 50
    before = daemon.reload(with_kernel(daemon, kernel, kernel="k-new"))
    daemon.wait_log(["kernel", "restart"], before)
    assert "k-out" in links(kernel)


def test_check_says_what_is_wrong(lab, daemon, kernel):
    code, said = daemon.check(with_kernel(daemon, kernel, kernel="much-too-long-a-name"))
    assert code == 2 and "kernel" in said and "15" in said, said
    config = daemon.sample()
    config["interfaces"][1]["kernelNetns"] = kernel.name
    code, said = daemon.check(config)
    assert code == 2 and "only beside kernel" in said, said
    config = with_kernel(daemon, kernel)
    config["interfaces"][0].update({"kernel": "k-out", "kernelNetns": kernel.name})
    code, said = daemon.check(config)
    assert code == 2 and "other than that of interface" in said, said
    code, said = daemon.check(with_kernel(daemon, kernel))
    assert code == 0, said


@contextlib.contextmanager
def flood(lab, address):
    """Some ten thousand datagrams a second to an address: what the cable's own queue takes, and many
    times what the kernel gets."""
    sender = lab.s2.udp()
    sender.setblocking(False)
    stop = threading.Event()
    sent = [0]

    def run():
        while not stop.is_set():
            for _ in range(20):
                with contextlib.suppress(OSError):
                    sender.sendto(b"flood" * 10, (address, 9))
                    sent[0] += 1
            time.sleep(0.002)
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield sent
    finally:
        stop.set()
        thread.join()


def test_a_session_of_port_179_lives_through_a_flood_of_the_boxs_address(lab, daemon, kernel):
    daemon.start(with_kernel(daemon, kernel))
    server = kernel.tcp_server(179)
    client = lab.s1.tcp_client(OUTSIDE_GATEWAY, 179)
    accepted = server.accept()[0]
    accepted.settimeout(5)
    talk(client, accepted)
    with flood(lab, OUTSIDE_GATEWAY) as sent:
        for n in range(100):
            talk(client, accepted, b"keepalive %d" % n)
            time.sleep(0.02)
    assert sent[0] > 5000
    assert daemon.dropped("kernel_rate_rest") > 1000
    assert daemon.dropped("kernel_rate_routing") == 0


BIRD = """
router id {own};
protocol device {{ }}
protocol static {{ ipv4; {routes} }}
protocol bgp peer {{
  local {own} as {as_own};
  neighbor {peer} as {as_peer};
  hold time 3;
  keepalive time 1;
  connect retry time 1;
  ipv4 {{ import all; export all; }};
}}
{more}
"""


def bird(host, directory, more="", **values):
    file, control = directory / f"{host.name}.conf", directory / f"{host.name}.ctl"
    file.write_text(BIRD.format(more=more, **values))
    host.start("bird", "-f", "-c", file, "-s", control)

    def ask(*words):
        return sh("birdc", "-s", control, *words, check=False).stdout
    return ask


def test_a_bgp_session_of_bird_lives_through_a_flood(lab, daemon, kernel, tmp_path):
    require("bird", "birdc")
    daemon.start(with_kernel(daemon, kernel))
    box = bird(kernel, tmp_path, own=OUTSIDE_GATEWAY, peer=S1, as_own=64501, as_peer=64502,
               routes="route 203.0.113.0/24 blackhole;")
    router = bird(lab.s1, tmp_path, own=S1, peer=OUTSIDE_GATEWAY, as_own=64502, as_peer=64501,
                  routes="route 198.18.0.0/15 blackhole;")
    wait_until("BGP is established", lambda: "Established" in box("show", "protocols"), 30)
    wait_until("routes are exchanged",
               lambda: "203.0.113.0/24" in router("show", "route", "protocol", "peer"), 10)
    since = re.search(r"peer\s+BGP\s+\S+\s+up\s+(\S+)", box("show", "protocols")).group(1)
    with flood(lab, OUTSIDE_GATEWAY):
        time.sleep(8)  # its hold time is 3 s
        assert "Established" in box("show", "protocols")
    again = re.search(r"peer\s+BGP\s+\S+\s+up\s+(\S+)", router("show", "protocols"))
    assert again and since == re.search(r"peer\s+BGP\s+\S+\s+up\s+(\S+)",
                                        box("show", "protocols")).group(1)
    assert "198.18.0.0/15" in box("show", "route", "protocol", "peer")
    assert daemon.dropped("kernel_rate_rest") > 1000
