"""A run of sessions, every one created and deleted exactly once in each sink: files of text and of
JSON with zstd, syslog over UDP, TCP and TLS, IPFIX over UDP and TCP, by reading what arrived.

The records come from record_source: one worker's ring, the log thread, and the sinks go the way of
lsnd; the collectors are rsyslog, nfcapd, and for IPFIX over TCP a file of what came. As many
sessions as LSN_RECORD_SESSIONS says (100,000), begun at LSN_RECORD_RATE a second (20,000)."""

import contextlib
import json
import os
import re
import subprocess
import threading

import pytest

from collectors import HOME, IpfixReader, Nfcapd, Rsyslog, certificate
from daemon import BIN
from lab import wait_until
from test_record_sinks import logging

SESSIONS = int(os.environ.get("LSN_RECORD_SESSIONS", "100000"))
RATE = int(os.environ.get("LSN_RECORD_RATE", "20000"))
ROOM = "64m"   # of a collector's socket: what the machine does meanwhile is not the matter here
KEYS = ("subscrIP", "subscrPort", "natIP", "natPort", "destIP", "destPort")
WORDS = re.compile(r"(created|deleted)\b.*?" + ".*?".join(rf'\b{k}="?([\d.]+)' for k in KEYS))


def number(address):
    a, b, c, d = map(int, address.split("."))
    return a << 24 | b << 16 | c << 8 | d


class Tally:
    """Which sessions have come, and how often: what record_source writes, by its words."""
    def __init__(self, name):
        self.name = name
        self.counts = {"created": bytearray(SESSIONS), "deleted": bytearray(SESSIONS)}
        self.strange = []
        self.sequences = set()

    def add(self, event, subscriber, subscriber_port, nat, nat_port, destination, port):
        n = (int(nat_port) - 1024) * 64 + number(nat) - number("203.0.112.0")
        if not 0 <= n < SESSIONS or (number(subscriber), int(subscriber_port)) != \
                (number("100.64.0.0") + n // 64, 1024 + n % 64) or \
                (destination, int(port)) != ("198.51.100.10", 443):
            self.strange.append((event, subscriber, subscriber_port, nat, nat_port))
            return
        count = self.counts[event]
        count[n] = min(255, count[n] + 1)

    def words(self, line):
        """Of a line of text or a structured element."""
        self.add(*WORDS.search(line).groups())

    def missing(self):
        return sum(count.count(0) for count in self.counts.values())

    def check(self, lost=0):
        """Each once, but for `lost` records, of which the sink says that they are."""
        assert not self.strange, f"{self.name}: {self.strange[:3]}"
        for event, count in self.counts.items():
            twice = SESSIONS - count.count(0) - count.count(1)
            assert twice == 0, f"{self.name}: {twice} sessions are {event} more than once"
        assert self.missing() == lost, f"{self.name}: {self.missing()} are missing, {lost} are lost"
        print(f"{self.name:22} {self.counts['created'].count(1):9,} created once, "
              f"{self.counts['deleted'].count(1):9,} deleted once, {self.missing()} missing")


class Dump:
    """Takes what comes over TCP, into a file."""
    def __init__(self, lab, port, file):
        self.listener = lab.router.tcp_server(port, timeout=0.2)
        self.file, self.ending = file, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ending.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self.listener.accept()
                with connection, open(self.file, "ab") as out:
                    connection.settimeout(60)
                    while data := connection.recv(1 << 20):
                        out.write(data)

    def end(self):
        self.ending.set()
        self.thread.join()
        self.listener.close()


def messages(data):
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at + 2:at + 4], "big")
        yield data[at:at + size]
        at += size


class Counting(IpfixReader):
    """Gives its records to a tally and keeps none."""
    def __init__(self, tally):
        super().__init__()
        self.tally = tally

    def _records(self, kind, body):
        super()._records(kind, body)
        for r in self.records:
            self.tally.add({4: "created", 5: "deleted"}[r["event"]], r["subscriber"],
                           r["subscriberPort"], r["nat"], r["natPort"], r["destination"],
                           r["destinationPort"])
        self.records.clear()


@pytest.fixture
def collectors(lab, daemon):
    """All that there are, at the ports of `sinks`."""
    where = daemon.directory / "collectors"
    cert = certificate(daemon.directory, HOME)
    with contextlib.ExitStack() as stack:
        syslog = {transport: stack.enter_context(Rsyslog(lab, where, transport, port, cert, ROOM))
                  for transport, port in (("UDP", 5514), ("TCP", 5515), ("TLS", 5516))}
        nfcapd = stack.enter_context(Nfcapd(lab, where, 9995, 64_000_000))
        for each in (*syslog.values(), nfcapd):
            each.start()
        dump = Dump(lab, 4740, where / "ipfix.tcp")
        stack.callback(dump.end)
        sinks = {"syslog": [
            {"server": f"{HOME}:5514"}, {"server": f"{HOME}:5515", "transport": "TCP"},
            {"server": f"{HOME}:5516", "transport": "TLS", "caFile": str(cert[0])}],
            "ipfix": [{"collector": f"{HOME}:9995"},
                      {"collector": f"{HOME}:4740", "transport": "TCP"}]}
        yield syslog, nfcapd, dump, sinks


def test_every_session_is_created_and_deleted_once_in_each_sink(lab, daemon, collectors):
    syslog, nfcapd, dump, sinks = collectors
    config, records = logging(daemon, **sinks)
    config["records"]["file"] = [
        {"path": str(records.directory / "text"), "rotateSize": 64},
        {"path": str(records.directory / "json"), "rotateSize": 64, "format": "json",
         "compress": "zstd"}]
    daemon.write(config)
    done = subprocess.run(
        lab.router.argv(BIN / "record_source", "--sessions", SESSIONS, "--rate", RATE, daemon.file),
        stdout=subprocess.PIPE, text=True, timeout=120 + 10 * SESSIONS / RATE, check=True)
    report = json.loads(done.stdout.splitlines()[-1])
    print(f"{SESSIONS:,} sessions, {2 * SESSIONS:,} records in {report['seconds']:.1f} s, to "
          f"{len(report['sinks'])} sinks")
    assert report["taken"] == 2 * SESSIONS and report["lost"] == 0
    assert all(s["lost"] == s["waiting"] == 0 for s in report["sinks"]), report
    check_files(records)
    for transport, server in syslog.items():
        check_syslog(server, transport)
    check_nfcapd(nfcapd)
    check_dump(dump)


def check_files(records):
    text, structured = Tally("file, text"), Tally("file, JSON and zstd")
    for segment in records.segments():
        command = ["zstdcat" if segment.suffix == ".zst" else "cat", str(segment)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as lines:
            for line in lines.stdout:
                if line.startswith("{"):
                    one = json.loads(line)
                    if one["record"] == "SESSION":
                        structured.add(one["event"], *(one[k] for k in KEYS))
                elif " SESSION " in line:
                    text.words(line)
    assert any(s.suffix == ".zst" for s in records.segments()) or SESSIONS < 200_000
    text.check()
    structured.check()


def check_syslog(server, transport):
    """Over UDP a gap in the sequence numbers is what the network has lost, and no more is."""
    tally, numbers = Tally(f"syslog, {transport}"), []
    wait_until("the last one has come", lambda: b"lsnd stops" in last_bytes(server.file), 60)
    with open(server.file) as lines:
        for line in lines:
            if "|SESSION|" in line:
                tally.words(line)
                numbers.append(int(line[line.index('seq="') + 5:].split('"')[0]))
    gaps = 2 * SESSIONS - len(set(numbers))
    assert gaps == 0 or transport == "UDP"
    tally.check(gaps)


def last_bytes(file, count=4096):
    with open(file, "rb") as data:
        data.seek(max(0, file.stat().st_size - count))
        return data.read()


def check_nfcapd(nfcapd):
    tally = Tally("IPFIX, UDP (nfcapd)")
    names = {"NAT44 session create": "created", "NAT44 session delete": "deleted"}
    wanted = {"nat_event": 0, "src4_addr": 1, "src_port": 2, "src4_xlt_ip": 3, "src_xlt_port": 4,
              "dst4_addr": 5, "dst_port": 6}
    one = [None] * 7
    for line in nfcapd.lines("-o", "json"):
        key, _, value = line.strip().rstrip(",").partition(" : ")
        if (at := wanted.get(key.strip('"'))) is not None:
            one[at] = value.strip('"')
        elif line.startswith("}"):
            tally.add(names[one[0]], *one[1:])
    tally.check()


def check_dump(dump):
    tally = Tally("IPFIX, TCP")
    dump.end()
    reader = Counting(tally)
    for message in messages(dump.file.read_bytes()):
        reader.message(message)
    tally.check()
