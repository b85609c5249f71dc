"""The scripts for Pktgen-DPDK, as far as they can be tried without it.

Pktgen itself is not in Debian. Its Lua is: the scripts run under it with a stand-in for Pktgen's library
(pktgen_mock.lua) that knows what the real one accepts; the ranges that they set up are walked as Pktgen
walks them, and the packets go through the real lsnd. What `frames` writes does so, too. Files of commands
are held against the grammar of Pktgen's command line.
"""

import ipaddress
import itertools
import json
import os
import pathlib
import re
import socket
import struct
import subprocess
import time

import pytest

from daemon import BIN, PROJECT
from lab import S1, wait_until

PKTGEN = PROJECT / "scripts" / "pktgen"
SUBSCRIBERS = "100.64.0.0/16"


# ── Pktgen ───────────────────────────────────────────────────────────────────────────────────────

def run_script(name, **settings):
    """The calls that a script makes: [function, arguments ...]."""
    done = subprocess.run(["lua5.4", pathlib.Path(__file__).with_name("pktgen_mock.lua"), name],
                          cwd=PKTGEN, env={**os.environ, **settings}, text=True, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return [line.split("\t") for line in done.stdout.splitlines()]


def number(text):
    return int(ipaddress.IPv4Address(text)) if "." in text else int(text)


class Range:
    """What a port's range settings make: every field takes its next value with each packet, and begins
    again behind its greatest one."""

    def __init__(self, calls, port):
        self.fields, self.mac, self.protocol, self.on = {}, None, None, False
        for function, given, *rest in calls:
            if given != port:
                continue
            if function == "range.dst_mac" and rest[0] == "start":
                self.mac = bytes.fromhex(rest[1].replace(":", ""))
            elif function == "range.ip_proto":
                self.protocol = {"udp": 17, "tcp": 6}[rest[0]]
            elif function == "set_range":
                self.on = rest[0] == "on"
            elif function.startswith("range.") and "mac" not in function:
                self.fields.setdefault(function[6:], {})[rest[0]] = number(rest[1])

    def packets(self):
        """(size with FCS, source, source port, destination, destination port), for ever."""
        now = {name: field["start"] for name, field in self.fields.items()}
        while True:
            yield tuple(now[name] for name in ("pkt_size", "src_ip", "src_port", "dst_ip", "dst_port"))
            for name, field in self.fields.items():
                now[name] += field["inc"]
                if now[name] > field["max"]:
                    now[name] = field["min"]


def udp_frame(to, sender, packet):
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether
    from scapy.packet import Raw
    size, source, source_port, destination, destination_port = packet
    frame = Ether(dst=to, src=sender) / IP(src=str(ipaddress.IPv4Address(source)),
                                           dst=str(ipaddress.IPv4Address(destination))) / \
        UDP(sport=source_port, dport=destination_port)
    return bytes(frame / Raw(bytes(size - 4 - len(frame))))


def pcap(file):
    """The frames of a pcap file, by the format's own description (libpcap's savefile(5))."""
    data = pathlib.Path(file).read_bytes()
    magic, major, minor, _, _, _, link = struct.unpack_from("<IHHiIII", data)
    assert (magic, major, minor, link) == (0xA1B2C3D4, 2, 4, 1)
    at, frames = 24, []
    while at < len(data):
        _, _, length, original = struct.unpack_from("<IIII", data, at)
        assert length == original
        frames.append(data[at + 16:at + 16 + length])
        at += 16 + length
    return frames


def frames(*arguments, stdin=None, **settings):
    return subprocess.run([PKTGEN / "frames", *map(str, arguments)], input=stdin, text=True, timeout=60,
                          env={**os.environ, **settings}, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)


# ── between the namespaces ───────────────────────────────────────────────────────────────────────

class Wire:
    """A host's network card: sends frames, and collects what comes of IP from or to somewhere."""

    def __init__(self, host, wanted):
        self.wanted, self.got = wanted, []
        self.socket = host.packet("eth0")
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        self.mac = host.mac("eth0")

    def send(self, frames, other):
        """A few at a time: the virtual cables drop what nobody takes."""
        for n, frame in enumerate(frames):
            self.socket.send(frame)
            if n % 16 == 15:
                time.sleep(0.005)
                other.collect()

    def collect(self):
        self.socket.settimeout(0.001)
        while True:
            try:
                data = self.socket.recv(2000)
            except (TimeoutError, BlockingIOError):
                return
            if data[12:14] == b"\x08\x00" and self.wanted(data):
                self.got.append(data)

    def expect(self, count):
        def enough():
            self.collect()
            return len(self.got) >= count
        wait_until(f"{count} packets (there are fewer)", enough, 10)
        self.collect()
        got, self.got = self.got, []
        return got


@pytest.fixture
def box(lab, daemon):
    """lsnd with the subscribers of the scripts behind c1 and all servers behind s1."""
    config = daemon.sample()
    config["lsn"]["client"][0]["network"] = [SUBSCRIBERS]
    config["routes"].append({"prefix": SUBSCRIBERS, "via": "192.0.2.11"})
    # Neither host is to answer for those that it stands in for.
    for host in (lab.c1, lab.s1):
        host.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
    daemon.start(config)
    # The next hops are known before the first packet.
    for host, gateway in ((lab.c1, "192.0.2.1"), (lab.s1, "198.51.100.1")):
        host.run("ping", "-n", "-c", "1", "-W", "2", gateway, check=False)
    yield daemon
    lab.s1.run("sysctl", "-qw", "net.ipv4.ip_forward=1")


@pytest.fixture
def wires(lab, box):
    pool = ipaddress.ip_network("203.0.113.0/24")
    inside = Wire(lab.c1, lambda d: ipaddress.ip_address(d[30:34]) in
                  ipaddress.ip_network(SUBSCRIBERS) and d[6:12] != mac_bytes(lab.c1))
    outside = Wire(lab.s1, lambda d: ipaddress.ip_address(d[26:30]) in pool and d[23] != 1)
    return inside, outside


def mac_bytes(host, interface="eth0"):
    mac = host.mac(interface)
    return mac if isinstance(mac, bytes) else bytes.fromhex(mac.replace(":", ""))


def mac_text(host, interface):
    return mac_bytes(host, interface).hex(":")


def settings(lab):
    return {"LSN_INSIDE_MAC": mac_text(lab.router, "lsn-in"),
            "LSN_OUTSIDE_MAC": mac_text(lab.router, "lsn-out"),
            "LSN_SUBSCRIBERS": "20", "LSN_PORTS": "7", "LSN_SECONDS": "1",
            "LSN_SERVER": "198.18.9.1"}  # nobody's in the laboratory


def checksums_are_right(frame):
    from scapy.layers.inet import IP
    packet = IP(frame[14:14 + struct.unpack_from("!H", frame, 16)[0]])
    fresh = packet.copy()
    del fresh.chksum
    if fresh.haslayer("UDP"):
        del fresh["UDP"].chksum
    return bytes(fresh) == bytes(packet)


# ── the scripts ──────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("script", ["outbound.lua", "inbound.lua", "esp.lua", "mixed.lua"])
def test_a_script_calls_what_pktgen_has(script):
    calls = run_script(script)
    ranges = {"0": Range(calls, "0").on, "1": Range(calls, "1").on}
    pcaps = {port: state for function, port, *rest in calls if function == "pcap" for state in rest}
    assert ranges == {"0": script in ("outbound.lua", "mixed.lua"), "1": False}
    assert pcaps == {"0": "on" if script == "esp.lua" else "off",
                     "1": "off" if script == "outbound.lua" else "on"}
    # Who stands behind the ports is said, and answers ARP, before anything is sent.
    names = [call[0] for call in calls]
    assert names.index("process") < names.index("start")
    sending = [call[1] for call in calls if call[0] == "start"]
    assert sending == {"outbound.lua": ["0"], "inbound.lua": ["1"]}.get(script, ["0", "1"])
    assert [call[1] for call in calls if call[0] == "stop"][-len(sending):] == sending


@pytest.mark.parametrize("name, value, said", [
    ("LSN_SIZE", "63", "LSN_SIZE: given 63, allowed 64-1518"),
    ("LSN_SUBSCRIBERS", "many", "LSN_SUBSCRIBERS: given many, allowed 1-65535"),
    ("LSN_PORTS", "60", "LSN_SUBSCRIBERS and LSN_PORTS: given 1000 and 60, allowed"),
    ("LSN_PORT", "65500", "LSN_PORT and LSN_PORTS: given 65500 and 63, allowed: up to port 65535"),
])
def test_a_script_refuses_what_cannot_be(name, value, said):
    with pytest.raises(RuntimeError, match=re.escape(said)):
        run_script("outbound.lua", **{name: value})


def test_a_range_is_as_many_flows_as_it_says():
    wanted = Range(run_script("outbound.lua"), "0")
    flows = set(itertools.islice(wanted.packets(), 63_000))
    assert len(flows) == 63_000
    assert next(itertools.islice(wanted.packets(), 63_000, None)) == next(wanted.packets())


def test_outbound_then_inbound(lab, box, wires, tmp_path):
    inside, outside = wires
    wanted = Range(run_script("outbound.lua", **settings(lab)), "0")
    sent = list(itertools.islice(wanted.packets(), 140))
    assert wanted.on and wanted.protocol == 17 and wanted.mac == mac_bytes(lab.router, "lsn-in")
    inside.send([udp_frame(wanted.mac.hex(":"), mac_text(lab.c1, "eth0"), p) for p in sent], outside)
    came = outside.expect(140)
    assert len(came) == 140 and all(map(checksums_are_right, came))
    assert len({frame[26:30] + frame[34:36] for frame in came}) == 140, "one endpoint for two flows"

    file = tmp_path / "inbound.pcap"
    sessions = box.ctl_raw("show", "lsn", "session", options=["--json"]).stdout
    done = frames("inbound", file, stdin=sessions, **settings(lab))
    assert (done.returncode, done.stdout) == (0, f"{file}: 140 packets\n"), done.stderr
    outside.send(pcap(file), inside)
    back = inside.expect(140)
    assert all(map(checksums_are_right, back))
    # Each flow's answer, at its subscriber's own port.
    assert {(frame[26:30], frame[34:36], frame[30:34], frame[36:38]) for frame in back} == \
        {(struct.pack("!I", to), struct.pack("!H", to_port), struct.pack("!I", source),
          struct.pack("!H", port)) for _, source, port, to, to_port in sent}


def test_esp_then_its_answers(lab, box, wires, tmp_path):
    inside, outside = wires
    file = tmp_path / "outbound.pcap"
    assert frames("outbound", file, "--tunnels", 20, **settings(lab)).returncode == 0
    sent = pcap(file)
    inside.send(sent, outside)
    came = outside.expect(20)
    assert {frame[34:38] for frame in came} == {frame[34:38] for frame in sent}
    assert box.ctl("stat", "lsn") is not None

    answers = tmp_path / "inbound.pcap"
    tunnels = box.ctl_raw("show", "ipsecalg", "session", options=["--json"]).stdout
    assert len(json.loads(tunnels)["sessions"]) == 20
    done = frames("inbound", answers, stdin=tunnels, **settings(lab))
    assert done.returncode == 0, done.stderr
    # Three answers, each to a packet of the tunnel's, say whose they are.
    for _ in range(2):
        outside.send(pcap(answers), inside)
        time.sleep(0.1)
        inside.send(sent, outside)
        outside.expect(20)
    outside.send(pcap(answers), inside)
    back = inside.expect(20)
    # From a tunnel's server to its client.
    assert {(frame[26:30], frame[30:34]) for frame in back} == \
        {(frame[30:34], frame[26:30]) for frame in sent}
    # Now both SPIs are known, and the same file goes both ways again.
    sessions = box.ctl("show", "ipsecalg", "session")["sessions"]
    assert not any(s["half_open"] for s in sessions)
    both = tmp_path / "both.pcap"
    both_json = tmp_path / "tunnels.json"
    both_json.write_text(json.dumps({"sessions": sessions}))
    assert frames("inbound", both, both_json, **settings(lab)).returncode == 0
    assert {frame[34:38] for frame in pcap(both)} == {frame[34:38] for frame in pcap(answers)}
    outside.send(pcap(both), inside)
    inside.expect(20)


def test_frames_of_both_kinds_and_sizes(tmp_path):
    file = tmp_path / "mixed.pcap"
    assert frames("outbound", file, "--flows", 3, "--tunnels", 2, LSN_SIZE="128").returncode == 0
    assert [frame[23] for frame in pcap(file)] == [17, 50, 17, 50, 17]
    assert {len(frame) for frame in pcap(file)} == {124}
    assert all(map(checksums_are_right, pcap(file)))


@pytest.mark.parametrize("arguments, stdin, said", [
    (["outbound", "FILE"], "", "nothing to write into"),
    (["outbound", "FILE", "--flows", 63001], "", "--flows: given 63001, allowed 0-63000"),
    (["inbound", "FILE"], '{"sessions": []}', "nothing to write into"),
    (["inbound", "FILE"], "ERROR: no such thing", "frames: "),
])
def test_frames_says_what_is_wrong(tmp_path, arguments, stdin, said):
    done = frames(*[tmp_path / "x" if a == "FILE" else a for a in arguments], stdin=stdin)
    assert done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1


# ── files ────────────────────────────────────────────────────────────────────────────────────────

PORTS, MAC, IP, N = r"(all|\d[\d,-]*)", r"([0-9a-f]{2}(:[0-9a-f]{2}){5})", r"\d+\.\d+\.\d+\.\d+", r"\d+"
# What Pktgen's command line takes (app/cli-functions.c), as far as the files use it.
GRAMMAR = [
    rf"(start|stop) {PORTS}",
    rf"(enable|disable) {PORTS} (process|range|pcap)",
    rf"set {PORTS} (count|size|rate|burst|sport|dport) {N}",
    rf"set {PORTS} (src|dst) mac {MAC}",
    rf"set {PORTS} src ip {IP}/{N}",
    rf"set {PORTS} dst ip {IP}",
    rf"range {PORTS} (src|dst) mac {MAC} {MAC} {MAC} {MAC}",
    rf"range {PORTS} (src|dst) ip {IP} {IP} {IP} {IP}",
    rf"range {PORTS} (src|dst) port {N} {N} {N} {N}",
    rf"range {PORTS} size {N} {N} {N} {N}",
    rf"range {PORTS} proto (tcp|udp)",
]


@pytest.mark.parametrize("file", ["outbound.pkt", "inbound.pkt", "esp.pkt", "mixed.pkt"])
def test_a_file_of_commands_is_in_pktgens_grammar(file):
    lines = [line for line in (PKTGEN / file).read_text().splitlines() if not line.startswith("#")]
    assert len(lines) > 5
    for line in lines:
        assert any(re.fullmatch(rule, line) for rule in GRAMMAR), line


@pytest.mark.parametrize("file", ["lsnd-memif.conf", "lsnd-nic.conf"])
def test_lsnd_accepts_the_configurations(file):
    done = subprocess.run([BIN / "lsnd", "--check", "--elsewhere", "--config", PKTGEN / file],
                          text=True, timeout=30, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
