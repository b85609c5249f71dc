"""The laboratory itself, with the kernel's NAT in the place of lsnd: when one of these fails, the
others say nothing about the product."""

import pytest

from lab import (FAR, INSIDE_GATEWAY, INSIDE_NET, OUTSIDE_GATEWAY, S1, S2, Capture, VlanSwitch,
                 expect_silence, ping, udp_exchange, wait_until)
from netns import Namespace
from realhosts import dns, http, iperf


@pytest.fixture
def kernel(lab):
    """nftables SNAT on the router's interfaces; taken away afterwards."""
    lab.reset()
    r = lab.router
    r.ip("address", "add", f"{INSIDE_GATEWAY}/24", "dev", "lsn-in")
    r.ip("address", "add", f"{OUTSIDE_GATEWAY}/24", "dev", "lsn-out")
    r.ip("route", "add", "default", "via", S1)
    r.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    r.run("nft", "add table ip nat; add chain ip nat post { type nat hook postrouting priority "
          f"100; }}; add rule ip nat post ip saddr {INSIDE_NET} snat to 203.0.113.3-203.0.113.9")
    yield r
    r.run("nft", "delete table ip nat")
    r.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
    r.ip("address", "flush", "dev", "lsn-in")
    r.ip("address", "flush", "dev", "lsn-out")
    lab.reset()


def test_real_programs_cross_the_kernels_nat(lab, kernel):
    for client in lab.clients:
        ping(client, S1)
        ping(client, S2)
    ping(lab.c1, FAR)
    ping(lab.c1, S1, 2, 4000)
    assert http(lab.c1, lab.s1, S1, "hello") == "hello"
    assert dns(lab.c2, lab.s2, S2, "host.example", "198.51.100.77") == "198.51.100.77"
    assert iperf(lab.c3, lab.s2, S2, seconds=1)["bytes"] > 1_000_000


def test_sockets_live_in_their_namespace_and_servers_see_the_nat_address(lab, kernel):
    server = lab.s1.udp(7)
    address, _ = udp_exchange(lab.c1.udp(), server, (S1, 7))
    assert address.startswith("203.0.113.")
    expect_silence(server)
    listener = lab.s2.tcp_server(80)
    client = lab.c2.tcp_client(S2, 80)
    accepted, seen = listener.accept()
    accepted.sendall(b"x")
    assert client.recv(10) == b"x" and seen[0].startswith("203.0.113.")


def test_a_capture_sees_both_sides(lab, kernel, tmp_path):
    capture = Capture(lab, "lsn-out", tmp_path / "x.pcap", "icmp")
    ping(lab.c1, S1, 2)
    capture.stop()
    assert len(capture.packets()) == 4 and "203.0.113." in capture.text()


def test_a_deleted_namespace_takes_its_programs_along(lab):
    other = Namespace(f"{lab.id}-x")
    process = other.start("sleep", "100")
    other.delete()
    assert process.poll() is not None


def test_the_vlan_switch_tags_and_untags(lab, tmp_path):
    """Two clients in two VLANs, and on the trunk somebody who answers in the right one only."""
    lab.reset()
    switch = VlanSwitch(lab, "lsn-in", {"c1": 10, "c3": 20})
    capture = Capture(lab, "lsn-in", tmp_path / "trunk.pcap", snap=100)
    try:
        for client in (lab.c1, lab.c3):
            client.run("arping", "-c", "1", "-w", "1", "-I", "eth0", INSIDE_GATEWAY, check=False)
        wait_until("both requests are on the trunk", lambda: capture.text().count("who-has") >= 2)
    finally:
        capture.stop()
        switch.stop()
    text = capture.text()
    assert "vlan 10" in text and "vlan 20" in text
