"""ICMP errors: those that lsnd sends, and those of others that it translates."""

import errno
import socket
import threading

import pytest

from lab import FAR, INSIDE_GATEWAY, OUTSIDE_GATEWAY, S1, ping, wait_until
from netns import IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_PMTUDISC_DONT, IP_RECVERR

IP_MTU = 14


def upload(client, server, address, size=400_000, port=4100):
    """TCP from client to server, with the kernel's DF bit; returns what arrived."""
    listener = server.tcp_server(port)
    got = []

    def serve():
        s, _ = listener.accept()
        s.settimeout(15)
        n = 0
        while chunk := s.recv(65536):
            n += len(chunk)
        got.append(n)
        s.close()

    thread = threading.Thread(target=serve)
    thread.start()
    s = client.tcp_client(address, port, timeout=15)
    s.sendall(b"x" * size)
    s.shutdown(socket.SHUT_WR)
    thread.join(20)
    s.close()
    return got[0] if got else 0


def path_mtu(host, destination):
    return host.run("ip", "-o", "route", "get", destination).stdout


def test_ttl_1_gets_time_exceeded_from_the_inside_address(lab, router):
    out = lab.c1.run("ping", "-n", "-c", "1", "-W", "2", "-t", "1", S1, check=False).stdout
    assert f"From {INSIDE_GATEWAY}" in out and "Time to live exceeded" in out


def test_a_router_behind_us_can_say_time_exceeded(lab, router):
    out = lab.c1.run("ping", "-n", "-c", "1", "-W", "2", "-t", "2", FAR, check=False).stdout
    assert f"From {S1}" in out and "Time to live exceeded" in out


def test_ttl_1_from_outside_gets_time_exceeded_from_the_outside_address(lab, router):
    server, client = lab.s1.udp(9), lab.c1.udp()
    client.sendto(b"open", (S1, 9))
    _, seen = server.recvfrom(100)
    server.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    server.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
    server.sendto(b"too far", seen)

    def error():
        try:
            server.sendto(b"", seen)
            return None
        except OSError as e:
            return e.errno
    assert wait_until("the error arrives", error) == errno.EHOSTUNREACH
    _, ancillary, _, address = server.recvmsg(100, 512, 0x2000)  # MSG_ERRQUEUE
    offender = socket.inet_ntoa(ancillary[0][2][20:24])
    assert offender == OUTSIDE_GATEWAY and address == seen


def test_port_unreachable_of_a_server_reaches_the_subscriber(lab, router):
    client = lab.c1.udp()
    client.connect((S1, 4242))
    client.send(b"anybody there?")
    with pytest.raises(ConnectionRefusedError):
        client.recv(100)


def test_a_tcp_reset_of_a_server_reaches_the_subscriber(lab, router):
    with pytest.raises(ConnectionRefusedError):
        lab.c2.tcp_client(S1, 4243)


def test_df_packets_above_our_outside_mtu_get_fragmentation_needed(lab, daemon):
    config = daemon.sample()
    config["interfaces"][1]["mtu"] = 1400
    daemon.start(config)
    client = lab.c1.udp()
    client.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
    client.connect((S1, 9))
    client.send(b"x" * 1472)

    def learnt():
        return client.getsockopt(socket.IPPROTO_IP, IP_MTU) == 1400
    wait_until("the client learns the MTU 1400", learnt)
    assert upload(lab.c2, lab.s1, S1) == 400_000
    assert "mtu 1400" in path_mtu(lab.c2, S1)


def test_packets_without_df_are_fragmented_to_our_outside_mtu(lab, daemon):
    config = daemon.sample()
    config["interfaces"][1]["mtu"] = 1400
    daemon.start(config)
    client, server = lab.c1.udp(), lab.s1.udp(9)
    client.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
    watch = lab.s1.packet()
    for size in (1380, 1472, 5000):
        client.sendto(b"x" * size, (S1, 9))
        assert server.recvfrom(65535)[0] == b"x" * size
    watch.settimeout(0.2)
    lengths = []
    try:
        while frame := watch.recv(65535):
            if frame[12:14] == b"\x08\x00" and frame[23] == 17:
                lengths.append(len(frame) - 14)
    except TimeoutError:
        pass
    assert len(lengths) >= 7 and max(lengths) <= 1400, lengths


def test_df_packets_above_our_inside_mtu_are_answered_to_the_server(lab, daemon):
    config = daemon.sample()
    config["interfaces"][0]["mtu"] = 1400
    daemon.start(config)
    listener = lab.s1.tcp_server(4102)
    client = lab.c1.tcp_client(S1, 4102, timeout=10)
    s, peer = listener.accept()
    s.settimeout(10)
    sender = threading.Thread(target=lambda: (s.sendall(b"y" * 400_000), s.close()))
    sender.start()
    n = 0
    while chunk := client.recv(65536):
        n += len(chunk)
    sender.join(10)
    assert n == 400_000
    assert "mtu 1400" in path_mtu(lab.s1, peer[0])


def test_fragmentation_needed_of_a_router_behind_us_is_translated(lab, router):
    lab.s1.ip("link", "set", "far0", "mtu", "1300")
    try:
        assert upload(lab.c1, lab.far, FAR) == 400_000
        assert "mtu 1300" in path_mtu(lab.c1, FAR)
    finally:
        lab.s1.ip("link", "set", "far0", "mtu", "1500")


def test_a_closed_port_of_our_own_addresses_is_said_to_be_closed(lab, router):
    """What ends a traceroute: port unreachable whatever the TTL; TCP is refused."""
    for host, address in ((lab.c1, INSIDE_GATEWAY), (lab.c2, OUTSIDE_GATEWAY),
                          (lab.s1, OUTSIDE_GATEWAY)):
        probe = host.udp()
        probe.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
        probe.settimeout(5)
        probe.connect((address, 33434))
        probe.send(b"probe")
        with pytest.raises(ConnectionRefusedError):
            probe.recv(100)
        with pytest.raises(ConnectionRefusedError):
            host.tcp_client(address, 22, timeout=5)


def test_our_own_addresses_answer_echo_requests(lab, router):
    ping(lab.c1, INSIDE_GATEWAY)
    ping(lab.s1, OUTSIDE_GATEWAY)
    ping(lab.c1, INSIDE_GATEWAY, 2, 1400)
