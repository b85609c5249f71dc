"""A new configuration under traffic: what is still allowed goes on, what is not is ended."""

import time

from daemon import profile
from lab import S1, S2, Background, expect_silence, ping, udp_exchange
from realhosts import iperf_result, iperf_server, iperf_start


class Traffic:
    """TCP, pings and a UDP conversation that must keep its external endpoint.

    The TCP stream is held well below what the link carries: an overflowing queue loses packets
    with or without a reload, and only what a reload loses is the question.
    """

    def __init__(self, lab):
        self.server = iperf_server(lab.s2)
        self.iperf = iperf_start(lab.c1, S2, "-b", "20M", seconds=8)
        self.ping = lab.c2.start("ping", "-n", "-q", "-i", "0.1", "-c", "70", "-W", "2", S1)
        client, server = lab.c3.udp(), lab.s1.udp(9)
        self.outside = set()
        self.lost = 0

        def converse():
            try:
                self.outside.add(udp_exchange(client, server, (S1, 9)))
            except TimeoutError:
                self.lost += 1
        self.udp = Background(converse)
        time.sleep(1)

    def finish(self):
        result = iperf_result(self.iperf)
        self.server.terminate()
        pings, _ = self.ping.communicate(timeout=20)
        exchanges = self.udp.stop()
        assert len(self.outside) == 1, f"the UDP session changed its endpoint: {self.outside}"
        assert exchanges > 20 and self.lost <= exchanges // 10, (exchanges, self.lost)
        received = int(pings.split(" received")[0].split()[-1])
        assert received >= 66, pings
        intervals = [i["sum"]["bytes"] for i in result["report"]["intervals"]]
        assert all(intervals), f"a second without a byte: {intervals}"


def grown(daemon):
    config = daemon.sample()
    lsn = config["lsn"]
    lsn["client"][0]["network"].append("10.9.0.0/16")
    lsn["pool"][0]["lsnip"].append("203.0.113.20-203.0.113.23")
    lsn["appsprofile"].append(profile("TCP-WEB", "TCP", ["80"], mapping="ENDPOINT-INDEPENDENT"))
    lsn["group"][0]["appsprofilename"].append("TCP-WEB")
    lsn["client"].append({"name": "C2", "network": ["10.10.0.0/16"]})
    lsn["pool"].append({"name": "P2", "lsnip": ["203.0.113.128/28"]})
    lsn["group"].append({"name": "G2", "clientname": "C2", "poolname": ["P2"]})
    config["routes"].append({"prefix": "198.18.0.0/24", "via": S1})
    return config


def reload_done(router, config):
    start = router.reload(config)
    return router.wait_log("reload", start)


def test_reload_under_traffic_loses_no_session(lab, router):
    traffic = Traffic(lab)
    before = {key(s) for s in router.sessions()}
    for config in (grown(router), router.sample(), grown(router), router.sample()):
        reload_done(router, config)
        time.sleep(0.7)
    after = {key(s) for s in router.sessions()}
    assert before <= after, before - after
    traffic.finish()


def key(session):
    return tuple(str(session[k]) for k in ("protocol", "subscriber", "nat", "destination"))


def test_a_bad_file_changes_nothing_and_says_where(lab, router):
    traffic = Traffic(lab)
    bad = grown(router)
    bad["lsn"]["pool"][0]["lsnip"] = ["203.0.113.300"]
    bad["lsn"]["group"][0]["poolname"] = ["NO-SUCH-POOL"]
    running = router.table("show", "running", "config")
    start = router.reload(bad)
    router.wait_log(["error", f"{router.file}:"], start)
    time.sleep(0.5)
    log = router.log()[start:]
    assert "203.0.113.300" in log and "NO-SUCH-POOL" in log, log
    start = router.reload("lsn: { client = ( { name = ")
    router.wait_log(f"{router.file}:1", start)
    assert "ERROR" in router.fails("reload", "config")
    assert router.table("show", "running", "config") == running
    traffic.finish()


def test_what_needs_a_restart_is_refused_with_that_word(lab, router):
    ping(lab.c1, S1)
    changes = [
        lambda c: c["dataplane"].update(workers=[0, 1]),
        lambda c: c["dataplane"].update(maxSessions=131072),
        lambda c: c["interfaces"][1].update(address="198.51.100.2/24"),
        lambda c: c["interfaces"].pop(0),
    ]
    for change in changes:
        config = router.sample()
        change(config)
        start = router.reload(config)
        router.wait_log("restart", start)
        assert "restart" in router.fails("reload", "config")
    router.write(router.sample())
    router.ctl_raw("reload", "config")
    ping(lab.c1, S1)


def test_a_new_subscriber_network_works_without_a_restart(lab, router):
    lab.c1.ip("address", "add", "10.9.0.5/32", "dev", "eth0")
    server = lab.s1.udp(9)
    s = lab.c1.udp(address="10.9.0.5")
    try:
        s.sendto(b"too early", (S1, 9))
        expect_silence(server)
        config = grown(router)
        config["routes"].append({"prefix": "10.9.0.0/16", "via": "192.0.2.11"})
        reload_done(router, config)
        server.settimeout(3)
        assert udp_exchange(s, server, (S1, 9), tries=3)[0].startswith("203.0.113.")
        reload_done(router, router.sample())
        s.sendto(b"too late", (S1, 9))
        expect_silence(server)
    finally:
        lab.c1.ip("address", "del", "10.9.0.5/32", "dev", "eth0")


def test_removing_a_pool_address_ends_its_sessions_and_only_these(lab, daemon):
    config = daemon.sample()
    config["lsn"]["pool"][0]["lsnip"] = ["203.0.113.3-203.0.113.4"]
    config["lsn"]["appsprofile"].append(profile("U", "UDP", ["1-499"], ippooling="RANDOM"))
    config["lsn"]["group"][0]["appsprofilename"].append("U")
    daemon.start(config)
    server = lab.s1.udp(9)
    sockets = [lab.clients[n % 3].udp() for n in range(24)]
    outside = [udp_exchange(s, server, (S1, 9)) for s in sockets]
    assert {a for a, _ in outside} == {"203.0.113.3", "203.0.113.4"}, "RANDOM uses both"
    config["lsn"]["pool"][0]["lsnip"] = ["203.0.113.3"]
    start = daemon.reload(config)
    daemon.wait_log("203.0.113.4", start)
    kept = [n for n, (a, _) in enumerate(outside) if a == "203.0.113.3"]
    gone = [n for n in range(len(sockets)) if n not in kept]
    assert len(daemon.sessions()) == len(kept)
    assert {s["nat"].split(":")[0] for s in daemon.sessions()} == {"203.0.113.3"}
    for n in gone[:3]:
        server.sendto(b"to the past", outside[n])
    for n in kept:
        assert udp_exchange(sockets[n], server, (S1, 9)) == outside[n]
    for n in gone:
        assert udp_exchange(sockets[n], server, (S1, 9))[0] == "203.0.113.3"


def test_an_unbound_group_ends_its_sessions(lab, daemon):
    config = grown(daemon)
    config["lsn"]["pool"][0]["lsnip"] = daemon.sample()["lsn"]["pool"][0]["lsnip"]
    config["routes"].append({"prefix": "10.10.0.0/16", "via": "192.0.2.12"})
    daemon.start(config)
    lab.c2.ip("address", "add", "10.10.0.5/32", "dev", "eth0")
    try:
        server = lab.s1.udp(9)
        s, other = lab.c2.udp(address="10.10.0.5"), lab.c1.udp()
        outside = udp_exchange(s, server, (S1, 9))
        assert outside[0].startswith("203.0.113.1")
        kept = udp_exchange(other, server, (S1, 9))
        reload_done(daemon, daemon.sample())
        server.sendto(b"gone", outside)
        expect_silence(s)
        assert udp_exchange(other, server, (S1, 9)) == kept
        assert len(daemon.sessions()) == 1
    finally:
        lab.c2.ip("address", "del", "10.10.0.5/32", "dev", "eth0")
