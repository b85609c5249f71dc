"""lsnd --replay: a capture through the packet path, without devices, in virtual time."""

import re
import subprocess

import pytest
from daemon import BIN, PROJECT
from lab import S1, client_address
from scapy.all import (ICMP, IP, TCP, UDP, Ether, Raw, defragment, fragment, rdpcap,
                       wrpcap)

C1, C2 = client_address(1), client_address(2)
NAT = [f"203.0.113.{n}" for n in range(3, 10)]


class Capture:
    """Packets as a subscriber's own capture has them: both directions, its address in both."""

    def __init__(self):
        self.packets = []
        self.time = 1000.0

    def add(self, packet, after=0.01):
        self.time += after
        frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / packet
        frame.time = self.time
        self.packets.append(frame)

    def write(self, path):
        wrpcap(str(path), self.packets)


@pytest.fixture
def replay(daemon, tmp_path):
    def run(capture, config=None, code=0, options=()):
        daemon.write(daemon.sample() if config is None else config)
        source = tmp_path / "in.pcap"
        if isinstance(capture, Capture):
            capture.write(source)
        else:
            source.write_bytes(capture)
        outside, inside = tmp_path / "outside.pcap", tmp_path / "inside.pcap"
        done = subprocess.run([BIN / "lsnd", "--config", daemon.file, "--replay", source,
                               "--outside", outside, "--inside", inside, *options], text=True, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == code, done
        if code != 0:
            return done.stderr
        return done.stdout, rdpcap(str(outside)), rdpcap(str(inside))
    return run


def whole(packet):
    """An IP packet with right checksums, as bytes that can be compared."""
    packet = packet.copy()
    for layer in (IP, UDP, TCP, ICMP):
        if layer in packet:
            del packet[layer].chksum
    return IP(bytes(packet))


def fates(text):
    return [line for line in text.splitlines() if re.match(r"\d+ [0-9.]+ ", line)]


def test_a_subscribers_capture_comes_out_translated_and_back(replay):
    capture = Capture()
    sent = [IP(src=C1, dst=S1, ttl=64, id=1) / UDP(sport=4000, dport=9) / Raw(b"question"),
            IP(src=C1, dst=S1, ttl=64, id=2) / TCP(sport=4001, dport=80, flags="S", seq=7),
            IP(src=C1, dst=S1, ttl=64, id=3) / ICMP(id=77, seq=1) / Raw(b"ping")]
    answers = [IP(src=S1, dst=C1, ttl=60, id=4) / UDP(sport=9, dport=4000) / Raw(b"answer"),
               IP(src=S1, dst=C1, ttl=60, id=5) / TCP(sport=80, dport=4001, flags="SA", seq=9,
                                                      ack=8),
               IP(src=S1, dst=C1, ttl=60, id=6) / ICMP(type=0, id=77, seq=1) / Raw(b"ping")]
    for question, answer in zip(sent, answers):
        capture.add(question)
        capture.add(answer)
    text, outside, inside = replay(capture)
    assert len(fates(text)) == 6
    assert all("forwarded" in line for line in fates(text))
    assert "6 packets: 6 forwarded, 0 taken, 0 not replayed; 0 frames that are no IPv4" in text
    assert len(outside) == len(inside) == 3
    for packet, original in zip(outside, sent):
        assert packet[IP].src in NAT
        expected = original.copy()
        expected.src, expected.ttl = packet[IP].src, 63
        if TCP in expected or UDP in expected:
            expected.sport = packet[IP].sport
        else:
            expected[ICMP].id = packet[ICMP].id
        assert bytes(packet[IP]) == bytes(whole(expected))
    # What comes back is what the subscriber had got.
    for packet, original in zip(inside, answers):
        expected = original.copy()
        expected.ttl = 59
        assert bytes(packet[IP]) == bytes(whole(expected))


def test_fragments_of_an_answer_reach_the_subscriber(replay):
    """Random pooling: only the first fragment has the port that says which NAT address it is for."""
    capture = Capture()
    answers = []
    for n in range(20):
        question = IP(src=C1, dst=S1, id=n) / UDP(sport=4000 + n, dport=9) / Raw(b"question")
        answer = IP(src=S1, dst=C1, ttl=60, id=500 + n) / UDP(sport=9, dport=4000 + n) / Raw(
            bytes(range(n, n + 200)) * 6)
        capture.add(question)
        for piece in fragment(IP(bytes(answer)), fragsize=400):
            capture.add(piece)
        answers.append(answer)
    orphan = fragment(IP(bytes(IP(src=S1, dst=C1, id=900) / UDP(sport=9, dport=4000) /
                               Raw(b"x" * 900))), fragsize=400)[1]
    capture.add(orphan)
    text, outside, inside = replay(capture)
    assert len({p[IP].src for p in outside}) > 1, "several NAT addresses"
    said = fates(text)
    assert "not replayed: it is a fragment, and its first one has not come before" in said[-1]
    assert all(": forwarded" in line for line in said[:-1]), text
    whole_again = defragment([IP(bytes(p[IP])) for p in inside])
    assert len(whole_again) == len(answers)
    for packet, answer in zip(sorted(whole_again, key=lambda p: p.id), answers):
        expected = answer.copy()
        expected.ttl = 59
        assert bytes(packet[UDP]) == bytes(IP(bytes(expected))[UDP])
        assert (packet.src, packet.dst, packet.ttl) == (S1, C1, 59)


def test_a_capture_of_another_traffic_domain(replay, daemon):
    config = daemon.sample()
    config["interfaces"].append(dict(config["interfaces"][0], name="in7", vlan=7, td=7))
    config["lsn"]["client"].append({"name": "SEVEN", "network": ["192.0.2.0/24 td 7"]})
    config["lsn"]["pool"].append({"name": "OTHER", "lsnip": ["203.0.113.40-203.0.113.41"]})
    config["lsn"]["group"].append({"name": "SEVENS", "clientname": "SEVEN",
                                   "poolname": ["OTHER"]})
    capture = Capture()
    capture.add(IP(src=C1, dst=S1, id=1) / UDP(sport=4000, dport=9) / Raw(b"question"))
    capture.add(IP(src=S1, dst=C1, id=2) / UDP(sport=9, dport=4000) / Raw(b"answer"))
    _, outside, inside = replay(capture, config)
    assert outside[0][IP].src in NAT and len(inside) == 1
    _, outside, inside = replay(capture, config, options=["--td", "7"])
    assert outside[0][IP].src in ("203.0.113.40", "203.0.113.41") and len(inside) == 1
    error = replay(capture, config, code=1, options=["--td", "8"])
    assert error == "ERROR: replay: --td: given 8, allowed 0, 7\n"


def test_time_passes_as_in_the_capture(replay):
    capture = Capture()
    question = IP(src=C1, dst=S1) / UDP(sport=4000, dport=9) / Raw(b"question")
    answer = IP(src=S1, dst=C1) / UDP(sport=9, dport=4000) / Raw(b"answer")
    capture.add(question)
    capture.add(answer, after=119)  # sessiontimeout is 120 s
    capture.add(answer, after=119)
    capture.add(answer, after=121.5)
    text, _, inside = replay(capture)
    assert len(inside) == 2
    assert "not replayed: it is to a subscriber, and no session of this run stands for it" in \
        fates(text)[3]


def test_drops_are_named(replay):
    capture = Capture()
    capture.add(IP(src="10.9.9.9", dst=NAT[0]) / UDP(sport=1, dport=2000))
    capture.add(IP(src=C1, dst=S1) / TCP(sport=4001, dport=80, flags="A"))
    capture.add(IP(src=C1, dst=S1, ttl=1) / UDP(sport=4000, dport=9))
    capture.add(IP(src=NAT[0], dst=S1) / UDP(sport=4000, dport=9))
    capture.add(IP(src=C1, dst=S1, proto=47) / Raw(b"GRE?" * 4))
    text, outside, inside = replay(capture)
    said = fates(text)
    assert "from outside: dropped, no_mapping:" in said[0]
    assert "dropped, tcp_not_syn:" in said[1]
    assert "dropped, ttl_expired:" in said[2]
    assert "not replayed: it is from the NAT itself" in said[3]
    assert "dropped, protocol_gre:" in said[4]
    assert len(outside) == 0
    assert [p[ICMP].type for p in inside] == [11], "time exceeded goes to the sender"
    assert "1 no_mapping" in text and "1 tcp_not_syn" in text


def test_a_subscriber_hears_bypassed_servers_and_callers_of_its_static_mappings(replay, daemon):
    config = daemon.sample()
    config["lsn"]["bypass"] = [{"name": "SERVICE", "clientname": "LSN-CLIENT-1",
                                "destNetwork": f"{S1}/32"}]
    config["lsn"]["static"] = [
        {"name": "WEB", "transportprotocol": "TCP", "subscrIP": C1, "subscrPort": "80",
         "natIP": NAT[0], "natPort": "8080"},
        {"name": "HOST", "transportprotocol": "ALL", "subscrIP": C2, "subscrPort": "*",
         "natIP": NAT[1], "natPort": "*"}]
    caller = "198.51.100.77"
    capture = Capture()
    heard = [IP(src=S1, dst=C1, ttl=60, id=1) / UDP(sport=9, dport=4000) / Raw(b"hello"),
             IP(src=caller, dst=C1, ttl=60, id=2) / TCP(sport=999, dport=80, flags="S", seq=7),
             IP(src=caller, dst=C2, ttl=60, id=3) / UDP(sport=999, dport=53) / Raw(b"question"),
             IP(src=caller, dst=C2, ttl=60, id=4, proto=47) / Raw(b"GRE?" * 4)]
    for packet in heard:
        capture.add(packet)
    text, _, inside = replay(capture, config)
    assert len(inside) == len(heard), text
    for packet, original in zip(inside, heard):
        expected = original.copy()
        expected.ttl = 59
        assert bytes(packet[IP]) == bytes(whole(expected))


def test_two_runs_are_the_same(replay):
    capture = Capture()
    for port in range(200):
        capture.add(IP(src=C1, dst=S1) / UDP(sport=4000 + port, dport=9) / Raw(b"question"))
    assert replay(capture)[0] == replay(capture)[0]


CAPTURES = PROJECT / "tests/scenario/alg/captures"


@pytest.mark.parametrize("name", ["v1.pcap", "v2.pcap"])
def test_two_real_ipsec_clients_share_an_address(replay, daemon, name):
    """Captures of real daemons without a NAT between them: IKE and ESP of two clients leave by one
    NAT address, and all that came back finds its client again."""
    config = daemon.sample()
    config["lsn"]["pool"][0]["lsnip"] = ["203.0.113.3"]
    capture = (CAPTURES / name).read_bytes()
    text, outside, inside = replay(capture, config)
    original = [p for p in rdpcap(str(CAPTURES / name)) if IP in p and p[IP].proto in (17, 50)]
    assert {p[IP].src for p in outside} == {"203.0.113.3"}
    # What has come back is what had been captured, one hop later; packets of a client that had to
    # wait for its turn come later than the capture has the answers, which then find nobody.
    came = [bytes(whole(p[IP])) for p in inside]
    expected = []
    for p in original:
        if p[IP].dst in ("192.0.2.11", "192.0.2.12"):
            packet = p[IP].copy()
            packet.ttl -= 1
            expected.append(bytes(whole(packet)))
    assert set(came) <= set(expected)
    assert len(came) > 0.9 * len(expected), text[-300:]


def test_what_is_no_capture_is_an_error_in_a_line(replay, daemon):
    assert "ERROR: replay:" in replay(b"this is no capture", code=1)
    assert "lsnd.conf" in replay(Capture(), config="lsn: { pool = 7; };", code=2)
