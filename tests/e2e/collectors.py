"""Collectors of records: rsyslog, nfcapd, and a reader of IPFIX of its own.

They run in the namespace of lsnd, at its loopback address, with files in the directory of the test.
The reader shares nothing with the program but RFC 7011 and the numbers of IANA."""

import collections
import ipaddress
import json
import re
import signal
import socket
import struct
import subprocess
import threading

from lab import wait_until

HOME = "127.0.0.1"
SO_RCVBUFFORCE = 33


def certificate(directory, address):
    """A certificate that is its own authority, for an address: (certificate, key)."""
    cert, key = directory / f"{address}.pem", directory / f"{address}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert,
                    "-days", "2", "-subj", "/CN=collector", "-addext",
                    f"subjectAltName=IP:{address}"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return cert, key


class Program:
    """A program in lsnd's namespace, which ends with the test."""
    def __init__(self, lab, directory, name):
        self.lab, self.directory, self.name = lab, directory, name
        self.process = None
        directory.mkdir(exist_ok=True)

    def launch(self, *argv):
        with open(self.directory / f"{self.name}.out", "a") as out:
            self.process = subprocess.Popen(self.lab.router.argv(*argv), stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=subprocess.STDOUT)

    def end(self, number=signal.SIGTERM):
        if self.process is not None:
            self.process.send_signal(number)   # ip(8) has become the program
            self.process.wait(10)
            self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end(signal.SIGKILL)


class Rsyslog(Program):
    """Listens at one port with one transport; what it has parsed is in its file, a message a line:
    as it came, a tab, and the parts that rsyslog took it for."""
    def __init__(self, lab, directory, transport, port, cert=None, room="4m"):
        super().__init__(lab, directory, f"rsyslog-{transport}-{port}")
        self.port, self.transport = port, transport
        self.file = directory / f"{self.name}.log"
        tls = ""
        if transport == "TLS":
            tls = (f'global(defaultNetstreamDriverCAFile="{cert[0]}" '
                   f'defaultNetstreamDriverCertFile="{cert[0]}" '
                   f'defaultNetstreamDriverKeyFile="{cert[1]}")\n')
        module = {"UDP": 'module(load="imudp")', "TCP": 'module(load="imtcp")',
                  "TLS": 'module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" '
                         'StreamDriver.AuthMode="anon")'}[transport]
        kind = "imudp" if transport == "UDP" else "imtcp"
        # A burst is not its matter here.
        room = f' rcvbufSize="{room}"' if transport == "UDP" else ""
        self.config = directory / f"{self.name}.conf"
        self.config.write_text(
            f'global(workDirectory="{directory}")\n{tls}{module}\n'
            'template(name="both" type="string" string="%rawmsg%\\t%hostname%|%app-name%|%procid%|'
            '%msgid%|%structured-data%\\n")\n'
            f'input(type="{kind}" address="{HOME}" port="{port}"{room} ruleset="all")\n'
            'ruleset(name="all") {\n'
            f'  action(type="omfile" file="{self.file}" template="both")\n}}\n')

    def start(self):
        self.launch("rsyslogd", "-n", "-f", self.config, "-i", self.directory / f"{self.name}.pid",
                    "-C")
        protocol = "-Hlun" if self.transport == "UDP" else "-Hltn"
        wait_until("rsyslog is ready", lambda: f":{self.port} " in self.lab.router.run(
            "ss", protocol).stdout, 20)
        return self

    def messages(self):
        if not self.file.exists():
            return []
        return [line.split("\t") for line in self.file.read_text().splitlines()]

    def records(self):
        """The structured data of each message as a dictionary, with its record and node."""
        found = []
        for raw, parsed in self.messages():
            host, app, proc, msgid, data = parsed.split("|", 4)
            assert app == "lsnd", raw
            one = dict(re.findall(r' (\w+)="((?:[^"\\\]]|\\.)*)"', data))
            one.update(record=msgid, node=host, worker=proc, raw=raw)
            found.append(one)
        return found

    def of(self, kind, event):
        return [r for r in self.records() if r["record"] == kind and r["event"] == event]


class Nfcapd(Program):
    def __init__(self, lab, directory, port, room=4_000_000):
        super().__init__(lab, directory, f"nfcapd-{port}")
        self.room = room
        self.flows = directory / f"{self.name}.d"
        self.flows.mkdir()
        self.port = port

    def start(self):
        self.launch("nfcapd", "-w", self.flows, "-b", HOME, "-p", self.port, "-t", "3600",
                    "-B", self.room)
        wait_until("nfcapd is ready", lambda: f":{self.port} " in self.lab.router.run(
            "ss", "-Hlun").stdout, 10)
        return self

    def dump(self, *options):
        """What nfdump says of all that was captured."""
        self.end()
        return subprocess.run(["nfdump", "-R", self.flows, "-q", *options], check=True, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout

    def lines(self, *options):
        """The same, line by line."""
        self.end()
        with subprocess.Popen(["nfdump", "-R", self.flows, "-q", *options], text=True,
                              stdout=subprocess.PIPE) as dump:
            yield from dump.stdout
        assert dump.returncode == 0

    def events(self):
        """All of them, as nfdump's JSON has them; with -q it leaves the brackets out, too."""
        return json.loads("[" + self.dump("-o", "json").strip().strip("[],") + "]")


# Information elements of IANA: name and how it is read.
ELEMENTS = {323: "time", 230: "event", 234: "td", 4: "protocol", 8: "subscriber", 225: "nat",
            12: "destination", 7: "subscriberPort", 227: "natPort", 11: "destinationPort",
            298: "packetsOut", 299: "packetsIn", 231: "bytesOut", 232: "bytesIn",
            161: "durationMs", 136: "endReason", 295: "spi", 361: "firstPort", 362: "lastPort",
            463: "instance", 133: "refused", 466: "quota", 467: "threshold", 284: "pool",
            144: "process", 166: "notSent"}
ADDRESSES = {8, 225, 12}


class IpfixReader:
    """Reads messages: records as dictionaries, and what RFC 7011 would not allow as failures."""
    def __init__(self):
        self.templates = {}
        self.records = []
        self.options = []
        self.messages = 0
        self.template_messages = 0
        self.sequence = 0
        self.domains = set()

    def begin(self):
        """Another connection: its templates and numbers begin again."""
        self.templates, self.sequence = {}, 0

    def message(self, data):
        version, length, _, sequence, domain = struct.unpack_from("!HHIII", data)
        assert version == 10 and length == len(data), (version, length, len(data))
        if self.sequence is None:
            self.sequence = sequence
        assert sequence == self.sequence, f"sequence {sequence}, expected {self.sequence}"
        self.domains.add(domain)
        self.messages += 1
        at = 16
        while at < length:
            kind, size = struct.unpack_from("!HH", data, at)
            assert size >= 4 and at + size <= length
            body = data[at + 4:at + size]
            at += size
            if kind in (2, 3):
                self.template_messages += 1
                self._templates(body, kind == 3)
            else:
                self._records(kind, body)

    def _templates(self, body, options):
        at = 0
        while at + 4 <= len(body):
            number, count = struct.unpack_from("!HH", body, at)
            at += 6 if options else 4
            fields = []
            for _ in range(count):
                fields.append(struct.unpack_from("!HH", body, at))
                at += 4
            self.templates[number] = (fields, options)

    def _records(self, number, body):
        assert number in self.templates, f"no template {number}"
        fields, options = self.templates[number]
        least = sum(1 if size == 65535 else size for _, size in fields)
        at = 0
        while len(body) - at >= least:
            one = {}
            for element, size in fields:
                if size == 65535:
                    size, at = body[at], at + 1
                raw, at = body[at:at + size], at + size
                name = ELEMENTS[element]
                value = (str(ipaddress.IPv4Address(raw)) if element in ADDRESSES
                         else raw.decode() if element == 284 else int.from_bytes(raw, "big"))
                if name in one:
                    name, value = "spiIn", value
                one[name] = value
            (self.options if options else self.records).append(one)
            self.sequence += 1

    def of(self, event):
        return [r for r in self.records if r["event"] == event]

    def counts(self):
        return collections.Counter(r["event"] for r in self.records)


class IpfixCollector:
    """Reads on a thread of its own, over UDP or TCP."""
    def __init__(self, lab, transport, port):
        self.lab, self.transport, self.port = lab, transport, port
        self.reader = IpfixReader()
        self.failure = None
        self.sock = self.connection = None
        self.connections = 0

    def start(self):
        self.ending = False
        self.sock = (self.lab.router.udp(self.port, HOME, timeout=0.2) if self.transport == "UDP"
                     else self.lab.router.tcp_server(self.port, timeout=0.2))
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        return self

    def _run(self):
        try:
            self._datagrams() if self.transport == "UDP" else self._connections()
        except (AssertionError, OSError, struct.error) as error:
            self.failure = error

    def _datagrams(self):
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
        while not self.ending:
            try:
                data = self.sock.recv(65535)
            except socket.timeout:
                continue
            self.reader.message(data)

    def _connections(self):
        while not self.ending:
            try:
                self.connection, _ = self.sock.accept()
            except socket.timeout:
                continue
            self.connections += 1
            self.reader.begin()
            self.connection.settimeout(0.2)
            self._stream()
            self.connection.close()

    def _stream(self):
        data = b""
        while not self.ending:
            try:
                more = self.connection.recv(65536)
            except socket.timeout:
                continue
            if not more:
                assert data == b"", "a message was not whole"
                return
            data += more
            while len(data) >= 4 and len(data) >= (size := struct.unpack_from("!H", data, 2)[0]):
                self.reader.message(data[:size])
                data = data[size:]

    def stop(self):
        self.ending = True
        self.thread.join()
        self.sock.close()
        assert self.failure is None, self.failure

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ending = True
        if self.sock is not None:
            self.thread.join()
            self.sock.close()
