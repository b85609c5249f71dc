"""A router on the link: ARP, and what it does not forward."""

import socket
import time

from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether

from lab import (INSIDE_GATEWAY, OUTSIDE_GATEWAY, S1, S2, Capture, client_address, expect_silence,
                 ping, udp_exchange, wait_until)


def arping(host, address, count=2):
    out = host.run("arping", "-c", count, "-w", "2", "-I", "eth0", address, check=False).stdout
    return "bytes from" in out or "Unicast reply" in out


def in_network_pool(daemon):
    """A pool inside the outside network: its addresses are ours to answer for."""
    config = daemon.sample()
    config["lsn"]["pool"][0]["lsnip"] = ["198.51.100.50-198.51.100.53"]
    return config


def test_gratuitous_arp_at_start(lab, daemon, tmp_path):
    inside = Capture(lab, "lsn-in", tmp_path / "arp-in.pcap", "arp")
    outside = Capture(lab, "lsn-out", tmp_path / "arp-out.pcap", "arp")
    daemon.start(in_network_pool(daemon))
    time.sleep(0.5)
    inside.stop()
    outside.stop()

    def announced(capture):
        return {p[ARP].psrc for p in capture.packets() if p.haslayer(ARP)
                and p[ARP].psrc == p[ARP].pdst and p[Ether].dst == "ff:ff:ff:ff:ff:ff"}
    assert INSIDE_GATEWAY in announced(inside)
    assert {OUTSIDE_GATEWAY, "198.51.100.50", "198.51.100.53"} <= announced(outside)


def test_arp_is_answered_for_own_and_pool_addresses_only(lab, daemon):
    daemon.start(in_network_pool(daemon))
    assert arping(lab.c1, INSIDE_GATEWAY)
    for address in (OUTSIDE_GATEWAY, "198.51.100.50", "198.51.100.53"):
        assert arping(lab.s1, address)
    assert not arping(lab.s1, "198.51.100.54", 1), "not in the pool"
    assert not arping(lab.s1, INSIDE_GATEWAY, 1), "an inside address, asked for outside"
    assert not arping(lab.c1, "192.0.2.77", 1), "somebody else's address"


def test_a_pool_inside_the_outside_network_carries_traffic(lab, daemon):
    daemon.start(in_network_pool(daemon))
    address, _ = udp_exchange(lab.c1.udp(), lab.s1.udp(9), (S1, 9))
    assert address in [f"198.51.100.{n}" for n in range(50, 54)]
    ping(lab.c2, S2)


def test_pool_addresses_elsewhere_are_not_answered_by_arp(lab, router):
    assert not arping(lab.s1, "203.0.113.3", 1)


def test_packets_wait_for_the_next_hops_address(lab, router):
    """The first packet to a host that must be resolved first is not lost."""
    server, client = lab.s2.udp(9), lab.c1.udp()
    client.sendto(b"first", (S2, 9))
    assert server.recvfrom(100)[0] == b"first"
    ping(lab.c2, S1, 1)


def test_a_next_hop_that_changes_its_hardware_address_is_found_again(lab, router):
    ping(lab.c1, S2, 1)
    old = lab.s2.mac()
    lab.s2.ip("link", "set", "eth0", "address", "02:00:00:00:77:77")
    try:
        lab.s2.run("arping", "-U", "-c", "2", "-I", "eth0", S2, check=False)
        wait_until("pings arrive again", lambda: ping(lab.c1, S2, 1, check=False), 30)
    finally:
        lab.s2.ip("link", "set", "eth0", "address", old)
        lab.s2.ip("route", "replace", "203.0.113.0/24", "via", OUTSIDE_GATEWAY)
        lab.s2.ip("route", "replace", "198.18.0.0/24", "via", S1)


def to_gateway(lab, host, packet):
    gateway = host.run("ip", "neigh", "show", INSIDE_GATEWAY).stdout.split()[4]
    host.packet().send(bytes(Ether(src=host.mac(), dst=gateway) / packet))


def test_ipv6_and_protocols_without_translation_are_dropped_and_counted(lab, router):
    ping(lab.c1, S1, 1)
    watch = {p: lab.s1.raw(p) for p in (47, 51, 132)}
    me = client_address(1)
    kinds = [(("ipv6", "ip6"), IPv6(src="fe80::1", dst="2001:db8::1") / UDP()),
             (("gre",), IP(src=me, dst=S1, proto=47) / (b"\0" * 20)),
             (("ah",), IP(src=me, dst=S1, proto=51) / (b"\0" * 20)),
             (("protocol", "sctp"), IP(src=me, dst=S1, proto=132) / (b"\0" * 20))]
    for words, packet in kinds:
        before = router.dropped(*words)
        for _ in range(5):
            to_gateway(lab, lab.c1, packet)
        wait_until(f"{words} counted", lambda: router.dropped(*words) >= before + 5)
    for s in watch.values():
        expect_silence(s, 0.2)
    ping(lab.c1, S1, 1)


def test_malformed_packets_are_dropped_and_counted(lab, router):
    ping(lab.c1, S1, 1)
    server = lab.s1.udp(9)
    me = client_address(1)
    # Straight into the cable: a bridge with a firewall would drop such packets itself.
    cable = lab.wire.packet("lsn-in")
    gateway = lab.c1.run("ip", "neigh", "show", INSIDE_GATEWAY).stdout.split()[4]
    bad = [IP(src=me, dst=S1, chksum=0x1234) / UDP(dport=9) / b"checksum",
           IP(src=me, dst=S1, ihl=4) / UDP(dport=9) / b"header length",
           IP(src=me, dst=S1, len=2000) / UDP(dport=9) / b"total length",
           IP(src=me, dst=S1, version=5) / UDP(dport=9) / b"version",
           IP(src=me, dst=S1) / UDP(dport=9, len=4) / b"UDP length"]
    before = sum(router.drops().values())
    for packet in bad:
        cable.send(bytes(Ether(src=lab.c1.mac(), dst=gateway) / packet))
    wait_until("all of them are counted",
               lambda: sum(router.drops().values()) >= before + len(bad))
    expect_silence(server)
    ping(lab.c1, S1, 1)


def test_icmp_that_is_no_query_and_no_error_is_not_translated(lab, router):
    ping(lab.c1, S1, 1)
    watch = lab.s1.raw(socket.IPPROTO_ICMP)
    to_gateway(lab, lab.c1, IP(src=client_address(1), dst=S1) / ICMP(type=9))
    expect_silence(watch)


def test_tcp_without_a_session_must_begin_with_syn(lab, router):
    from scapy.layers.inet import TCP
    ping(lab.c1, S1, 1)
    watch = lab.s1.raw(socket.IPPROTO_TCP)
    before = sum(router.drops().values())
    to_gateway(lab, lab.c1, IP(src=client_address(1), dst=S1) / TCP(sport=5, dport=80, flags="A"))
    wait_until("counted", lambda: sum(router.drops().values()) > before)
    expect_silence(watch)


def test_udp_without_a_checksum_stays_without(lab, router):
    ping(lab.c1, S1, 1)
    server = lab.s1.udp(9)
    watch = lab.s1.raw(socket.IPPROTO_UDP)
    to_gateway(lab, lab.c1, IP(src=client_address(1), dst=S1) /
               UDP(sport=5000, dport=9, chksum=0) / b"no checksum")
    assert server.recvfrom(100)[0] == b"no checksum"
    packet = IP(watch.recv(2000))
    assert packet[UDP].chksum == 0


def test_ip_options_pass(lab, router):
    from scapy.layers.inet import IPOption_RR
    ping(lab.c1, S1, 1)
    server = lab.s1.udp(9)
    to_gateway(lab, lab.c1, IP(src=client_address(1), dst=S1, options=[IPOption_RR(length=11,
               pointer=4, routers=["0.0.0.0", "0.0.0.0"])]) / UDP(sport=5001, dport=9) / b"options")
    assert server.recvfrom(100)[0] == b"options"
