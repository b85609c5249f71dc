"""Datagrams larger than the link, in both directions and in any order."""

import random

from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from lab import S1, S2, client_address, ping, udp_exchange


def send_fragments(host, fragments):
    """Frames of the test's own to the router, in the order given."""
    s = host.packet("eth0", 0x0800)
    gateway = host.run("ip", "neigh", "show", "192.0.2.1").stdout.split()[4]
    for f in fragments:
        s.send(bytes(Ether(src=host.mac(), dst=gateway) / f))


def datagram(n, size, port, identification, source_port=6000):
    payload = random.Random(identification).randbytes(size)
    packet = IP(src=client_address(n), dst=S1, id=identification, ttl=64) / \
        UDP(sport=source_port, dport=port) / Raw(payload)
    return payload, fragment(IP(bytes(packet)), fragsize=1000)


def test_large_pings_are_fragmented_there_and_back(lab, router):
    for client in lab.clients:
        ping(client, S1, 3, 4000)
    ping(lab.c1, S2, 2, 20000)


def test_large_udp_datagrams_there_and_back(lab, router):
    server = lab.s1.udp(9)
    client = lab.c1.udp()
    for size in (1473, 3000, 8000, 30000, 61500, 65400):
        udp_exchange(client, server, (S1, 9), random.randbytes(size))


def test_fragments_arrive_in_any_order(lab, router):
    server = lab.s1.udp(9)
    ping(lab.c1, S1, 1)  # the gateway's hardware address is known now
    for identification in range(100, 112):
        payload, parts = datagram(1, 4500, 9, identification)
        random.Random(identification).shuffle(parts)
        send_fragments(lab.c1, parts)
        data, seen = server.recvfrom(65535)
        assert data == payload and seen[0].startswith("203.0.113.")
    payload, parts = datagram(1, 4500, 9, 200)
    send_fragments(lab.c1, list(reversed(parts)))
    assert server.recvfrom(65535)[0] == payload


def test_fragments_of_two_datagrams_may_mix(lab, router):
    server = lab.s1.udp(9)
    ping(lab.c1, S1, 1)
    first, parts1 = datagram(1, 4000, 9, 300, 6001)
    second, parts2 = datagram(1, 4000, 9, 301, 6002)
    send_fragments(lab.c1, [p for pair in zip(reversed(parts1), parts2) for p in pair])
    assert {server.recvfrom(65535)[0], server.recvfrom(65535)[0]} == {first, second}


def test_two_subscribers_with_one_identification_reach_one_server(lab, daemon):
    """RFC 6864 section 5.3.1: behind one NAT address the server cannot tell them apart by anything else."""
    config = daemon.sample()
    config["lsn"]["pool"][0]["lsnip"] = ["203.0.113.3"]
    daemon.start(config)
    server = lab.s1.udp(9)
    for client in (lab.c1, lab.c2):
        ping(client, S1, 1)
    for identification in range(600, 610):
        first, parts1 = datagram(1, 2000, 9, identification, 6001)
        second = bytes(reversed(first))
        parts2 = fragment(IP(src=client_address(2), dst=S1, id=identification) /
                          UDP(sport=6002, dport=9) / Raw(second), fragsize=1000)
        for a, b in zip(parts1, parts2):
            send_fragments(lab.c1, [a])
            send_fragments(lab.c2, [b])
        assert {server.recvfrom(65535)[0] for _ in range(2)} == {first, second}


def test_an_incomplete_datagram_harms_nobody(lab, router):
    server = lab.s1.udp(9)
    ping(lab.c1, S1, 1)
    for identification in range(400, 420):
        _, parts = datagram(1, 4000, 9, identification)
        send_fragments(lab.c1, parts[1:])
    payload, parts = datagram(1, 4000, 9, 500)
    send_fragments(lab.c1, parts)
    assert server.recvfrom(65535)[0] == payload
