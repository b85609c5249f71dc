"""Static mappings, bypass and TFTP with real programs."""

import fcntl
import os
import struct
import tempfile
import threading

import pytest

from lab import S1, client_address, expect_silence, ping, udp_exchange
from realhosts import _listening, http

NAT1, NAT2 = "203.0.113.5", "203.0.113.6"


@pytest.fixture
def mapped(router):
    """A port of the first subscriber, and the whole second one."""
    for line in (f"add lsn static SSH TCP {client_address(1)} 2222 {NAT1} 22",
                 f"add lsn static DNS UDP {client_address(1)} 53 {NAT1} 53",
                 f"add lsn static HOST2 ALL {client_address(2)} * {NAT2} *"):
        assert "Done" in router.table(*line.split())
    return router


def test_a_connection_from_outside_reaches_the_subscriber(lab, mapped):
    listener = lab.c1.tcp_server(2222)
    caller = lab.s1.tcp_client(NAT1, 22)
    served, peer = listener.accept()
    assert peer[0] == S1
    served.settimeout(5)
    caller.sendall(b"SSH-2.0-caller\r\n")
    assert served.recv(100) == b"SSH-2.0-caller\r\n"
    served.sendall(b"x" * 100_000)
    served.close()
    got = b""
    while chunk := caller.recv(65536):
        got += chunk
    assert len(got) == 100_000
    row = next(s for s in mapped.sessions() if s["protocol"] == "TCP")
    assert row["nat"] == f"{NAT1}:22" and row["direction"] == "INBOUND" and row["static"]


def test_unasked_udp_comes_in_and_the_answer_goes_out_by_the_mapping(lab, mapped):
    server, asker = lab.c1.udp(53), lab.s1.udp()
    asker.sendto(b"question", (NAT1, 53))
    data, sender = server.recvfrom(100)
    assert (data, sender[0]) == (b"question", S1)
    server.sendto(b"answer", sender)
    assert asker.recvfrom(100) == (b"answer", (NAT1, 53))


def test_one_to_one_serves_programs_and_pings_both_ways(lab, mapped):
    text = os.urandom(100_000).hex()
    assert http(lab.s1, lab.c2, NAT2, text) == text
    assert http(lab.c2, lab.s1, S1, text) == text
    ping(lab.s1, NAT2)
    ping(lab.c2, S1)
    # Another subscriber, by hairpin.
    assert http(lab.c1, lab.c2, NAT2, "hairpin") == "hairpin"


class Tunnel:
    """A tun device whose packets go through GRE to the other end: a tunnel without the kernel's."""

    def __init__(self, host, address, remote):
        self.raw, self.remote = host.raw(47, timeout=0.5), remote
        with host.entered():
            self.tun = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(self.tun, 0x400454CA, struct.pack("16sH", b"gre9", 0x0001 | 0x1000))
        host.ip("address", "add", address, "dev", "gre9")
        host.ip("link", "set", "gre9", "mtu", "1400", "up")
        self.over = False
        self.threads = [threading.Thread(target=t, daemon=True) for t in (self._out, self._in)]
        for thread in self.threads:
            thread.start()

    def _out(self):
        while not self.over:
            try:
                packet = os.read(self.tun, 2000)
            except OSError:  # it is closed
                return
            self.raw.sendto(b"\0\0\x08\0" + packet, (self.remote, 0))

    def _in(self):
        while not self.over:
            try:
                packet, sender = self.raw.recvfrom(2000)
            except OSError:
                continue
            header = (packet[0] & 15) * 4
            if sender[0] == self.remote and packet[header + 2:header + 4] == b"\x08\0":
                os.write(self.tun, packet[header + 4:])

    def close(self):
        self.over = True
        self.threads[1].join(3)
        os.close(self.tun)


def test_a_gre_tunnel_runs_through_one_to_one(lab, mapped):
    ends = [Tunnel(lab.c2, "10.99.0.2/24", S1), Tunnel(lab.s1, "10.99.0.1/24", NAT2)]
    try:
        ping(lab.c2, "10.99.0.1", 3, 1000)
        ping(lab.s1, "10.99.0.2", 3)
    finally:
        for end in ends:
            end.close()
    stat = mapped.ctl("stat", "lsn")
    assert int(stat["one_to_one_outbound_packets"]) >= 6
    assert int(stat["one_to_one_inbound_packets"]) >= 6
    assert mapped.dropped("protocol_gre") == 0


def test_removing_a_mapping_ends_it(lab, mapped):
    server, asker = lab.c1.udp(53), lab.s1.udp()
    asker.sendto(b"question", (NAT1, 53))
    server.recvfrom(100)
    assert "Done" in mapped.table("rm", "lsn", "static", "DNS")
    asker.sendto(b"again", (NAT1, 53))
    expect_silence(server)
    shown = mapped.ctl("show", "lsn", "static")
    assert [m["name"] for m in shown["static"]] == ["SSH", "HOST2"]
    assert all(m["state"] == "ACTIVE" for m in shown["static"])


def test_what_is_shown_is_what_happens(lab, mapped):
    words = mapped.table("explain", f"{S1}:5000", f"{NAT1}:22", "TCP")
    assert f"{client_address(1)}:2222" in words and "static" in words
    words = mapped.table("explain", f"{client_address(2)}:9", f"{S1}:9", "UDP")
    assert f"from its static mapping's {NAT2}:9" in words
    assert "SSH" in mapped.table("show", "subscriber", client_address(1))


@pytest.mark.untranslated
def test_a_bypassed_server_sees_the_subscriber_itself(lab, router):
    lab.s1.ip("route", "replace", "192.0.2.0/24", "via", "198.51.100.1")
    try:
        line = f"add lsn bypass SERVICE -clientname LSN-CLIENT-1 -destNetwork {S1} -destPort 9 -protocol UDP"
        assert "Done" in router.table(*line.split())
        server, client = lab.s1.udp(9), lab.c1.udp(4321)
        assert udp_exchange(client, server, (S1, 9)) == (client_address(1), 4321)
        other, first = lab.s1.udp(10), lab.c1.udp(4322)
        assert udp_exchange(first, other, (S1, 10))[0].startswith("203.0.113.")
        assert int(router.ctl("stat", "lsn")["bypass_inbound_packets"]) >= 1
        assert "without translation" in router.table(
            "explain", f"{client_address(1)}:1", f"{S1}:9", "UDP")
    finally:
        lab.s1.ip("route", "del", "192.0.2.0/24")


def test_tftp_comes_through_with_an_endpoint_independent_profile(lab, router):
    for line in ("add lsn appsprofile TFTP UDP -mapping ENDPOINT-INDEPENDENT "
                 "-filtering ENDPOINT-INDEPENDENT", "bind lsn appsprofile TFTP 69",
                 "bind lsn group LSN-GROUP-1 -appsprofilename TFTP"):
        assert "Done" in router.table(*line.split())
    with tempfile.TemporaryDirectory() as root:
        os.chmod(root, 0o755)
        text = os.urandom(10_000).hex()
        with open(f"{root}/file", "w") as f:
            f.write(text)
        lab.s1.start("dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--pid-file",
                     "--user=root", "--enable-tftp", f"--tftp-root={root}")
        _listening(lab.s1, 69, "u")
        got = lab.c1.run("curl", "-sS", "--max-time", "20", f"tftp://{S1}/file")
        assert got.stdout == text
