"""What a running box tells about itself: who uses how much, what was dropped, next hops, and what
would become of a packet: explain is held against what becomes of it."""

import socket
import struct

import pytest
from daemon import profile
from lab import S1, S2, client_address, udp_exchange, wait_until

C1, C2 = client_address(1), client_address(2)
GATEWAYS = {"198.51.100.10"}


def explained(router, *words):
    answer = router.ctl("explain", *words)
    return answer["verdict"], answer["reason"]


def dropped(router, reason):
    return router.drops().get(reason, 0)


def esp(spi, sequence=1):
    return struct.pack("!II", spi, sequence) + bytes(40)


def send_esp(host, to, spi, sequence=1):
    with host.raw(socket.IPPROTO_ESP) as s:
        s.sendto(esp(spi, sequence), (to, 0))


@pytest.fixture
def narrow(daemon):
    """One NAT address, and a quota for each subscriber."""
    config = daemon.sample()
    config["lsn"]["pool"][0]["lsnip"] = ["203.0.113.3"]
    config["lsn"]["transportprofile"] = [{"name": "T", "transportprotocol": "UDP", "sessionquota": 3}]
    config["lsn"]["group"][0]["transportprofilename"] = ["T"]
    return daemon.start(config)


def test_explain_says_what_becomes_of_a_packet_from_inside(lab, narrow):
    server = lab.s1.udp(9)
    client = lab.c1.udp(4000)
    assert explained(narrow, f"{C1}:4000", f"{S1}:9", "UDP") == ("forwarded", None)
    assert narrow.sessions() == [], "explaining makes nothing"
    nat = udp_exchange(client, server, (S1, 9))
    text = narrow.table("explain", f"{C1}:4000", f"{S1}:9", "udp")
    assert f"forwarded: by its session as {nat[0]}:{nat[1]} > {S1}:9" in text, text
    assert "LSN-CLIENT-1" in text and "UDP sessions 1 of 3" in text

    # The quota: two more, then no other.
    others = [lab.c1.udp(4001 + n) for n in range(3)]
    for s in others[:2]:
        udp_exchange(s, server, (S1, 9))
    assert explained(narrow, f"{C1}:4003", f"{S1}:9") == ("dropped", "session_quota")
    before = dropped(narrow, "session_quota")
    others[2].sendto(b"one too many", (S1, 9))
    wait_until("the drop is counted", lambda: dropped(narrow, "session_quota") == before + 1)
    assert explained(narrow, f"{C2}:4000", f"{S1}:9") == ("forwarded", None), "another's quota"

    # Nobody's client, the box itself.
    assert explained(narrow, "10.9.9.9:1", f"{S1}:9") == ("dropped", "not_a_client")
    assert explained(narrow, f"{C1}:1", "192.0.2.1:9")[0] == "local"
    assert explained(narrow, f"{C1}:1", "224.0.0.1:9") == ("dropped", "ip_destination_invalid")
    assert explained(narrow, f"{C2}:1", f"{C1}:9") == ("dropped", "inside_destination")


def test_explain_says_what_becomes_of_a_packet_from_outside(lab, narrow):
    server = lab.s1.udp(9)
    client = lab.c1.udp(4000)
    nat = udp_exchange(client, server, (S1, 9))
    at = f"{nat[0]}:{nat[1]}"
    assert explained(narrow, f"{S1}:9", at) == ("forwarded", None)
    unsolicited = lab.s2.udp(7)
    free = nat[1] ^ 1
    for to, reason in ((nat[1], "filtered"), (free, "no_mapping")):
        assert explained(narrow, f"{S2}:7", f"{nat[0]}:{to}") == ("dropped", reason)
        before = dropped(narrow, reason)
        unsolicited.sendto(b"anybody?", (nat[0], to))
        wait_until(f"{reason} is counted", lambda: dropped(narrow, reason) == before + 1)
    assert explained(narrow, f"{S2}:7", "203.0.113.77:1", "-from", "outside") == ("dropped", "not_for_us")
    assert explained(narrow, f"{C2}:7", at, "-from", "outside") == ("dropped", "spoofed_client_source")
    # Another subscriber's packet to that endpoint: translated, and then refused on the other side.
    other = lab.c2.udp(4000)
    assert explained(narrow, f"{C2}:4000", at)[0] == "depends"
    udp_exchange(other, server, (S1, 9))
    before = dropped(narrow, "filtered")
    other.sendto(b"neighbour?", nat)
    wait_until("the drop is counted", lambda: dropped(narrow, "filtered") == before + 1)
    assert explained(narrow, f"{C2}:4000", at) == ("dropped", "filtered")
    assert explained(narrow, "203.0.113.3:7", at) == ("dropped", "spoofed_nat_source")

    # The ring has both, with their packet's five.
    recent = narrow.ctl("show", "drops", "-recent", "-subscrIP", S2)["drops"]
    assert {(d["reason"], d["source"], d["destination"], d["protocol"]) for d in recent} == {
        ("filtered", f"{S2}:7", at, "UDP"), ("no_mapping", f"{S2}:7", f"{nat[0]}:{free}", "UDP")}
    assert narrow.ctl("show", "drops", "-recent", "-reason", "no_mapping")["count"] == 1


def test_explain_follows_esp_from_gate_to_session(lab, narrow):
    watch = lab.s1.raw(socket.IPPROTO_ESP)
    assert explained(narrow, C1, S1, "esp", "0x1001") == ("forwarded", None)
    send_esp(lab.c1, S1, 0x1001)
    assert watch.recvfrom(2000)[1][0] == "203.0.113.3"
    text = narrow.table("explain", C1, S1, "ESP", "0x1001")
    assert "forwarded: by its session" in text and "the other half is not known yet" in text, text
    # Who comes second waits for its turn.
    assert explained(narrow, C2, S1, "esp", "0x2002") == ("dropped", "esp_out_gate_busy")
    before = dropped(narrow, "esp_out_gate_busy")
    send_esp(lab.c2, S1, 0x2002)
    wait_until("the drop is counted", lambda: dropped(narrow, "esp_out_gate_busy") == before + 1)
    text = narrow.table("explain", C2, S1, "esp", "0x2002")
    assert f"{C1} has the gate; the client waits for its turn" in text, text
    gate, = narrow.ctl("show", "ipsecalg", "gate")["gates"]
    assert gate["first_waiters"] == [C2]
    assert C2 in narrow.table("show", "ipsecalg", "gate")
    assert explained(narrow, C1, S1, "esp", "0") == ("dropped", "esp_spi_zero")
    assert explained(narrow, S2, "203.0.113.3", "esp", "5") == ("dropped", "esp_in_no_gate")
    before = dropped(narrow, "esp_in_no_gate")
    send_esp(lab.s2, "203.0.113.3", 5)
    wait_until("the drop is counted", lambda: dropped(narrow, "esp_in_no_gate") == before + 1)
    narrow.fails("explain", C1, S1, "esp")
    narrow.fails("explain", f"{C1}:4", S1, "udp")
    assert "TCP" in narrow.fails("explain", f"{C1}:4", f"{S1}:5", "sctp")


def test_who_uses_how_much(lab, narrow):
    server = lab.s1.udp(9)
    for n in range(3):
        udp_exchange(lab.c1.udp(4000 + n), server, (S1, 9))
    udp_exchange(lab.c2.udp(4000), server, (S1, 9), payload=b"x" * 1000)
    assert [(s["subscriber"], s["sessions"]["udp"]) for s in
            narrow.ctl("show", "lsn", "subscriber", "-sort", "sessions")["subscribers"]] == \
        [(C1, 3), (C2, 1)]
    top, = narrow.ctl("show", "lsn", "subscriber", "-sort", "bits", "-top", "1")["subscribers"]
    assert top["subscriber"] == C2 and top["outbound_bytes"] > 1000
    assert "3/3" in narrow.table("show", "lsn", "subscriber", "-subscrIP", C1)
    pool, = narrow.ctl("stat", "lsn", "pool")["pools"]
    assert (pool["name"], pool["addresses"], pool["ports"]["udp"]) == ("LSN-POOL-1", 1, 4)
    group, = narrow.ctl("stat", "lsn", "group", "LSN-GROUP-1")["groups"]
    assert (group["subscribers"], group["sessions"]["udp"]) == (2, 4)
    assert "ports in use" in narrow.table("show", "lsn", "pool", "LSN-POOL-1")
    page = narrow.ctl("show", "subscriber", C1)
    assert page["client"] == "LSN-CLIENT-1" and page["subscribers"][0]["sessions"]["udp"] == 3
    longest, = narrow.ctl("show", "lsn", "session", "-sort", "bytes", "-top", "1")["sessions"]
    assert longest["subscriber"].startswith(C2)


def test_a_full_pool_is_seen_in_all_places(lab, daemon):
    config = daemon.sample()
    config["dataplane"]["maxSessions"] = 131072
    config["lsn"]["pool"][0]["lsnip"] = ["203.0.113.3"]
    daemon.start(config)
    server = lab.s1.udp(9)
    udp_exchange(lab.c1.udp(4000), server, (S1, 9))
    sender = lab.c1.raw(socket.IPPROTO_UDP)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    used = lambda: daemon.ctl("stat", "lsn", "pool")["pools"][0]["ports"]["udp"]  # noqa: E731
    ports = iter([(source, 10000 + n) for n in range(40) for source in range(1024, 65000, 7)])

    def more():
        for _ in range(2000):
            source, destination = next(ports)
            sender.sendto(struct.pack("!HHHH", source, destination, 8, 0), (S2, 0))
        return used() == 64512
    wait_until("all ports are taken", more, 60)
    pool, = daemon.ctl("stat", "lsn", "pool")["pools"]
    assert pool["percent"] == 100.0
    assert explained(daemon, f"{C2}:900", f"{S1}:99") == ("dropped", "pool_exhausted")
    before = dropped(daemon, "pool_exhausted")
    lab.c2.udp(900).sendto(b"no port", (S1, 99))
    wait_until("the drop is counted", lambda: dropped(daemon, "pool_exhausted") > before)
    assert explained(daemon, f"{C1}:4000", f"{S1}:9") == ("forwarded", None), "what is there goes on"
    assert explained(daemon, f"{C2}:900", f"{S1}:99", "TCP") == ("forwarded", None)


def test_mappings_outlive_their_sessions(lab, daemon):
    config = daemon.sample()
    config["lsn"]["appsprofile"].append(
        profile("ALL", "UDP", ["1-499", "501-65535"], mapping="ENDPOINT-INDEPENDENT",
                filtering="ENDPOINT-INDEPENDENT"))
    config["lsn"]["group"][0]["appsprofilename"].append("ALL")
    config["lsn"]["transportprofile"] = [{"name": "T", "transportprotocol": "UDP", "sessiontimeout": 1,
                                          "stuntimeout": 600}]
    config["lsn"]["group"][0]["transportprofilename"] = ["T"]
    daemon.start(config)
    nat = udp_exchange(lab.c1.udp(4000), lab.s1.udp(9), (S1, 9))
    at = f"{nat[0]}:{nat[1]}"
    mapping, = daemon.ctl("show", "lsn", "mapping")["mappings"]
    assert (mapping["subscriber"], mapping["nat"], mapping["sessions"]) == (f"{C1}:4000", at, 1)
    wait_until("the session has expired", lambda: daemon.sessions() == [])
    mapping, = daemon.ctl("show", "lsn", "mapping", "-subscrIP", C1)["mappings"]
    assert mapping["sessions"] == 0 and 590 <= mapping["left"] <= 600
    text = daemon.table("explain", f"{S2}:7", at)
    assert f"the mapping lets it in, it makes a session with {C1}:4000" in text, text


def test_next_hops_routes_and_a_dry_run(lab, router):
    udp_exchange(lab.c1.udp(4000), lab.s1.udp(9), (S1, 9))
    neighbours = {n["ip"]: n for n in router.ctl("show", "arp")["neighbours"]}
    assert neighbours[C1]["mac"] == lab.c1.mac().lower() and not neighbours[C1]["gateway"]
    assert neighbours[S1]["state"] == "REACHABLE" and neighbours[S1]["gateway"]
    assert {r["prefix"]: (r["via"], r["interface"]) for r in router.ctl("show", "route")["routes"]} == {
        "192.0.2.0/24": (None, "inside"), "198.51.100.0/24": (None, "outside"),
        "0.0.0.0/0": (S1, "outside")}
    config = router.sample()
    config["lsn"]["client"][0]["network"] = ["192.0.2.0/29"]
    router.write(config)
    answer = router.ctl("reload", "config", "-dryRun")
    assert answer["would_end"] == 1 and answer["clients"] == [{"client": "LSN-CLIENT-1", "sessions": 1}]
    assert len(router.sessions()) == 1
    assert router.ctl("reload", "config")["ended"] == 1
    assert router.sessions() == []
