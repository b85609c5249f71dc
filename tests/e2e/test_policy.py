"""Mapping, filtering, hairpinning: who may reach whom, and under which address."""

import socket

import pytest

from daemon import profile
from lab import S1, S2, client_address, expect_silence, udp_exchange, wait_until

EI, AD, APD = "ENDPOINT-INDEPENDENT", "ADDRESS-DEPENDENT", "ADDRESS-PORT-DEPENDENT"


def udp_policy(daemon, mapping, filtering, pooling="PAIRED"):
    """The sample with one more profile: all UDP ports but 500."""
    config = daemon.sample()
    config["lsn"]["appsprofile"].append(
        profile("UDP-ALL", "UDP", ["1-65535"], ippooling=pooling, mapping=mapping,
                filtering=filtering))
    config["lsn"]["group"][0]["appsprofilename"].append("UDP-ALL")
    return config


@pytest.mark.parametrize("mapping, same_for", [(EI, "all"), (AD, "address"), (APD, "none")])
def test_mapping_decides_when_an_external_endpoint_is_used_again(lab, daemon, mapping, same_for):
    daemon.start(udp_policy(daemon, mapping, APD))
    client = lab.c1.udp()
    one = udp_exchange(client, lab.s1.udp(9), (S1, 9))
    other_port = udp_exchange(client, lab.s1.udp(10), (S1, 10))
    other_host = udp_exchange(client, lab.s2.udp(9), (S2, 9))
    assert (one == other_port) == (same_for in ("all", "address"))
    assert (one == other_host) == (same_for == "all")
    assert one[0] == other_port[0] == other_host[0], "PAIRED pooling"


@pytest.mark.parametrize("filtering, may", [(EI, {"other port", "other host"}),
                                            (AD, {"other port"}), (APD, set())])
def test_filtering_decides_who_may_answer(lab, daemon, filtering, may):
    daemon.start(udp_policy(daemon, EI, filtering))
    client, server = lab.c1.udp(), lab.s1.udp(9)
    seen = udp_exchange(client, server, (S1, 9))
    for what, sender in (("other port", lab.s1.udp(10)), ("other host", lab.s2.udp(9))):
        sender.sendto(what.encode(), seen)
        if what in may:
            client.settimeout(3)
            assert client.recvfrom(100)[0] == what.encode()
        else:
            expect_silence(client)
    client.settimeout(3)
    server.sendto(b"the peer", seen)
    assert client.recvfrom(100)[0] == b"the peer"


def test_what_nobody_asked_for_is_dropped_and_counted(lab, router):
    before = sum(router.drops().values())
    sender = lab.s1.udp()
    for port in range(2000, 2050):
        sender.sendto(b"hello?", ("203.0.113.5", port))
    with pytest.raises(TimeoutError):
        lab.s1.tcp_client("203.0.113.5", 80, timeout=0.5)
    assert sum(router.drops().values()) >= before + 50
    assert router.sessions() == []


def test_two_subscribers_meet_at_their_external_endpoints(lab, daemon):
    daemon.start(udp_policy(daemon, EI, EI))
    server = lab.s1.udp(9)
    a, b = lab.c1.udp(), lab.c2.udp()
    a_outside, b_outside = (udp_exchange(s, server, (S1, 9)) for s in (a, b))
    a.sendto(b"hairpin", b_outside)
    assert b.recvfrom(100) == (b"hairpin", a_outside)
    b.sendto(b"hairpin back", a_outside)
    assert a.recvfrom(100) == (b"hairpin back", b_outside)


def test_a_subscriber_meets_itself(lab, daemon):
    daemon.start(udp_policy(daemon, EI, EI))
    s, t = lab.c1.udp(), lab.c1.udp()
    outside = udp_exchange(s, lab.s1.udp(9), (S1, 9))
    t.sendto(b"me", outside)
    data, source = s.recvfrom(100)
    assert data == b"me" and source[0].startswith("203.0.113.")


def test_a_hairpinned_packet_with_ttl_1_dies_once_and_is_told(lab, daemon):
    daemon.start(udp_policy(daemon, EI, EI))
    b_outside = udp_exchange(lab.c2.udp(7000), lab.s1.udp(9), (S1, 9))
    out = lab.c1.run("ping", "-n", "-c", "1", "-W", "1", "-t", "1", b_outside[0],
                     check=False).stdout
    assert "From 192.0.2.1" in out and "Time to live exceeded" in out


def test_an_address_outside_every_client_network_is_not_forwarded(lab, router):
    lab.c1.ip("address", "add", "172.16.5.5/32", "dev", "eth0")
    try:
        s = lab.c1.udp(address="172.16.5.5")
        server = lab.s1.udp(9)
        s.sendto(b"who am I", (S1, 9))
        expect_silence(server)
    finally:
        lab.c1.ip("address", "del", "172.16.5.5/32", "dev", "eth0")


def test_the_kernels_agree_on_the_clamped_segment_size(lab, daemon):
    config = daemon.sample()
    config["interfaces"][1]["tcpMss"] = 1200
    config["lsn"]["appsprofile"].append(profile("SSH", "TCP", ["22"], tcpMss=1000))
    config["lsn"]["group"][0]["appsprofilename"].append("SSH")
    daemon.start(config)
    for port, largest in ((80, 1200), (22, 1000)):
        server = lab.s1.tcp_server(port)
        client = lab.c1.tcp_client(S1, port)
        accepted, _ = server.accept()
        client.sendall(b"x" * 20000)
        received = 0
        while received < 20000:
            received += len(accepted.recv(65536))
        for end in (client, accepted):
            assert 500 < end.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= largest


def test_a_pool_is_drained_and_nobody_loses_a_session(lab, daemon):
    daemon.start()
    drained = "203.0.113.3-203.0.113.8"
    server = lab.s1.tcp_server(80)
    open_ones = []
    for _ in range(20):
        client = lab.c1.tcp_client(S1, 80)
        accepted, (nat, _port) = server.accept()
        open_ones.append((client, accepted, nat))
    assert any(nat != "203.0.113.9" for _, _, nat in open_ones)
    daemon.ctl("set", "lsn", "pool", "LSN-POOL-1", "-drain", drained)
    discard = lab.s1.udp(9)
    for _ in range(20):
        seen = udp_exchange(lab.c2.udp(), discard, (S1, 9))
        assert seen[0] == "203.0.113.9"
    usage = daemon.ctl("show", "lsn", "pool", "LSN-POOL-1")["lsn.pool"][0]["usage"]
    there = [one for one in open_ones if one[2] != "203.0.113.9"]
    assert usage["draining"]["addresses"] == 6
    assert usage["draining"]["ports"]["tcp"] == len(there)
    assert "still on drain" in daemon.table("show", "lsn", "pool", "LSN-POOL-1")
    for client, accepted, _ in open_ones:
        client.sendall(b"still here?")
        assert accepted.recv(100) == b"still here?"
    daemon.ctl("flush", "lsn", "session")
    assert "nothing left" in daemon.table("show", "lsn", "pool", "LSN-POOL-1")
    assert daemon.ctl("unbind", "lsn", "pool", "LSN-POOL-1", drained)["ended"] == 0
    assert daemon.ctl("show", "lsn", "pool", "LSN-POOL-1")["lsn.pool"][0]["drain"] == []


def test_idle_times_by_port_and_a_rate_of_new_sessions(lab, daemon):
    daemon.start()
    for line in ("add lsn appsprofile DNS UDP", "bind lsn appsprofile DNS 53",
                 "add lsn appsattributes QUICK UDP 53 -sessiontimeout 1",
                 "bind lsn appsprofile DNS -appsattributesname QUICK",
                 "add lsn transportprofile SLOW UDP -sessionRate 1 -sessionBurst 3",
                 "bind lsn group LSN-GROUP-1 -appsprofilename DNS -transportprofilename SLOW"):
        daemon.ctl(*line.split())
    resolver, other = lab.s1.udp(53), lab.s1.udp(54)
    udp_exchange(lab.c1.udp(), resolver, (S1, 53))
    udp_exchange(lab.c1.udp(), other, (S1, 54))
    wait_until("the one to port 53 has ended",
               lambda: [s["destination"] for s in daemon.sessions()] == [f"{S1}:54"], 5)
    for _ in range(10):
        lab.c2.udp().sendto(b"x", (S1, 54))
    wait_until("the rate has refused some", lambda: daemon.drops()["session_rate"] >= 5)
    assert 3 <= len(daemon.sessions("-subscrIP", client_address(2))) <= 5
