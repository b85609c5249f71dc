"""Real programs of several subscribers, through lsnd, to two servers."""

import hashlib
import os
import threading

from lab import S1, S2, FAR, ping, udp_exchange
from realhosts import dns, http, iperf, iperf_result, iperf_server, iperf_start


def in_pool(address):
    return address in [f"203.0.113.{n}" for n in range(3, 10)]


def test_every_subscriber_pings_every_server(lab, router):
    for client in lab.clients:
        for server in (S1, S2, FAR):
            ping(client, server)


def test_http_comes_through_and_the_server_sees_a_pool_address(lab, router):
    text = os.urandom(300_000).hex()
    assert http(lab.c1, lab.s1, S1, text) == text
    assert http(lab.c2, lab.s2, S2, "two") == "two"


def test_dns_comes_through_over_udp_and_tcp(lab, router):
    assert dns(lab.c1, lab.s1, S1, "a.example", "198.51.100.77") == "198.51.100.77"
    assert dns(lab.c2, lab.s2, S2, "b.example", "198.51.100.78", "+tcp") == "198.51.100.78"


def test_udp_in_both_directions_keeps_one_mapping_per_session(lab, router):
    server, client = lab.s1.udp(9), lab.c1.udp()
    first = udp_exchange(client, server, (S1, 9), b"one")
    assert in_pool(first[0]) and first[1] >= 1024
    for n in range(20):
        assert udp_exchange(client, server, (S1, 9), b"x" * (n * 60)) == first
    server.sendto(b"unasked", first)
    assert client.recvfrom(100) == (b"unasked", (S1, 9))


def test_subscribers_with_the_same_port_are_told_apart(lab, router):
    server = lab.s1.udp(9)
    clients = [c.udp(5000) for c in lab.clients]
    seen = [udp_exchange(c, server, (S1, 9), b"%d" % n) for n, c in enumerate(clients)]
    assert len(set(seen)) == 3
    for n, address in enumerate(seen):
        server.sendto(b"for %d" % n, address)
    for n, client in enumerate(clients):
        assert client.recvfrom(100)[0] == b"for %d" % n


def test_tcp_carries_a_megabyte_each_way_and_closes(lab, router):
    listener = lab.s2.tcp_server(4000)
    up, down = os.urandom(1 << 20), os.urandom(1 << 20)
    got = {}

    def serve():
        s, got["peer"] = listener.accept()
        s.settimeout(10)
        data = b""
        while len(data) < len(up):
            data += s.recv(65536)
        got["up"] = hashlib.sha256(data).digest()
        s.sendall(down)
        s.close()

    thread = threading.Thread(target=serve)
    thread.start()
    client = lab.c1.tcp_client(S2, 4000)
    client.sendall(up)
    data = b""
    while chunk := client.recv(65536):
        data += chunk
    thread.join(10)
    assert got["up"] == hashlib.sha256(up).digest() and data == down
    assert in_pool(got["peer"][0])


def test_iperf3_of_two_subscribers_at_once(lab, router):
    servers = [iperf_server(lab.s1), iperf_server(lab.s2)]
    runs = [iperf_start(lab.c1, S1, "-P", "2"), iperf_start(lab.c2, S2, "-P", "2", "-R")]
    for run in runs:
        assert iperf_result(run)["bytes"] > 2_000_000
    for server in servers:
        server.terminate()


def test_iperf3_over_udp_loses_next_to_nothing_at_a_modest_rate(lab, router):
    result = iperf(lab.c3, lab.s1, S1, "-u", "-b", "10M", "-l", "1200")
    assert result["lost_percent"] < 2.0, result["report"]["end"]


def test_sixty_tcp_connections_have_sixty_external_endpoints(lab, router):
    listener = lab.s1.tcp_server(4001)
    clients = [lab.clients[n % 3].tcp_client(S1, 4001) for n in range(60)]
    seen = set()
    accepted = []
    for _ in clients:
        s, peer = listener.accept()
        s.settimeout(5)
        accepted.append(s)
        seen.add(peer)
    assert len(seen) == len(clients), "two connections share an external endpoint"
    for n, c in enumerate(clients):
        c.sendall(b"%03d" % n)
    assert sorted(s.recv(3) for s in accepted) == [b"%03d" % n for n in range(len(clients))]
    for s in (*clients, *accepted):
        s.close()
