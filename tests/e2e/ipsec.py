"""IPsec clients and a server as far as a NAT can tell them from real ones.

IKE messages have right headers, lengths and exchanges; their bodies are really encrypted, so that
what they agree on - the SPIs - is as invisible on the wire as it is with any product. ESP is real:
built, encrypted, authenticated, decrypted and checked by scapy's IPsec layer over raw sockets of
IP protocol 50.

    IKEv1   main mode (6 messages), quick mode (3), by client or server
    IKEv2   IKE_SA_INIT, IKE_AUTH with the first child SA, CREATE_CHILD_SA by client or server

All endpoints of a test live in one thread (World): sockets of many namespaces, one select, one heap
of timers. Whoever began an exchange repeats its last message until the answer comes. A client sends
pings through its latest child SA; the server answers each through the latest it has with that
client. Every inbound SPI has one owner: what arrives anywhere else is noted as `astray`.
"""

import hashlib
import heapq
import itertools
import json
import os
import select
import socket
import struct
import threading
import time

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from scapy.layers.inet import IP, UDP
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.packet import Raw

ESP_PROTOCOL, IKE_PORT, NAT_T_PORT = 50, 500, 4500
NON_ESP_MARKER = bytes(4)
MAIN, QUICK = 2, 32
SA_INIT, AUTH, CHILD = 34, 35, 36
NAMES = {MAIN: "main mode", QUICK: "quick mode", SA_INIT: "IKE_SA_INIT", AUTH: "IKE_AUTH",
         CHILD: "CREATE_CHILD_SA"}
MESSAGES = {MAIN: 6, QUICK: 3, SA_INIT: 2, AUTH: 2, CHILD: 2}
ALGORITHMS = {
    "cbc": {"crypt_algo": "AES-CBC", "auth_algo": "SHA2-256-128"},
    "gcm": {"crypt_algo": "AES-GCM"},
}
_ike_cipher = AESGCM(hashlib.sha256(b"what the two peers agreed on in phase 1").digest()[:16])


def esp_sa(spi, algorithm, source="0.0.0.0", destination="0.0.0.0"):
    """One direction of a tunnel; its keys come from the SPI and nothing on the wire."""
    key = hashlib.sha512(b"keys" + struct.pack("!I", spi)).digest()
    keys = {"crypt_key": key[:20]} if algorithm == "gcm" else \
        {"crypt_key": key[:16], "auth_key": key[16:48]}
    return SecurityAssociation(ESP, spi=spi, tunnel_header=IP(src=source, dst=destination),
                               **ALGORITHMS[algorithm], **keys)


class Message:
    """An IKE message: header in clear, everything else in a body that only the peers can read."""

    HEADER = struct.Struct("!8s8sBBBBII")

    def __init__(self, initiator, responder, version, exchange, flags, number, body):
        self.initiator, self.responder, self.version = initiator, responder, version
        self.exchange, self.flags, self.number, self.body = exchange, flags, number, body

    def encode(self):
        nonce = os.urandom(12)
        # Certificates make messages long, without a word about it in clear.
        padding = bytes(self.body.get("pad", 0))
        text = json.dumps(self.body).encode() + b"\n" + padding
        sealed = nonce + _ike_cipher.encrypt(nonce, text, None)
        if self.version == 1:
            payload, flags = (5, 1) if self.exchange == QUICK else (1, 0)
        else:
            payload, flags = (33, self.flags) if self.exchange == SA_INIT else (46, self.flags)
        return self.HEADER.pack(self.initiator, self.responder, payload, self.version << 4,
                                self.exchange, flags, self.number,
                                self.HEADER.size + len(sealed)) + sealed

    @classmethod
    def decode(cls, data):
        initiator, responder, _, version, exchange, flags, number, length = \
            cls.HEADER.unpack_from(data)
        assert length == len(data), f"an IKE message of {len(data)} bytes says {length}"
        sealed = data[cls.HEADER.size:]
        text = _ike_cipher.decrypt(sealed[:12], sealed[12:], None)
        return cls(initiator, responder, version >> 4, exchange, flags, number,
                   json.loads(text.split(b"\n", 1)[0]))


class ChildSa:
    """A pair of SPIs, as one of the peers has it."""

    def __init__(self, spi_in, spi_out, algorithm, first_sequence):
        self.spi_in, self.spi_out = spi_in, spi_out
        self.incoming = esp_sa(spi_in, algorithm)
        self.outgoing = esp_sa(spi_out, algorithm)
        self.outgoing.seq_num = first_sequence
        self.sent = self.received = 0


class Exchange:
    """One exchange as one of its peers sees it."""

    def __init__(self, kind, number, mine, body):
        self.kind, self.number, self.mine, self.body = kind, number, mine, body
        self.at = 0            # the number of the last message that was sent or taken
        self.last = None       # what to repeat
        self.spi_in = self.spi_out = None
        self.done = False
        self.began = time.monotonic()


class Conversation:
    """Everything between one client and the server, at one of the two."""

    def __init__(self, world, name, version, initiator, is_client):
        self.world, self.name, self.version = world, name, version
        self.initiator, self.responder = initiator, bytes(8)
        self.is_client = is_client
        self.exchanges = {}
        self.children = []     # in the order in which they were made
        self.next_number = 0   # of IKEv2 requests
        self.first_sequence = 1
        self.sent = self.received = 0      # pings at the client's, echoes at the server's

    # what the two kinds of endpoints do differently
    def transmit_ike(self, data):
        raise NotImplementedError

    def transmit_esp(self, data):
        raise NotImplementedError

    def installed(self, exchange):
        raise NotImplementedError

    # IKE ------------------------------------------------------------------------------------

    def begin(self, kind, **body):
        if self.version == 1:
            number = 0 if kind == MAIN else int.from_bytes(os.urandom(4), "big") | 1
        else:
            number = self.next_number
            self.next_number += 1
        exchange = Exchange(kind, number, True, body)
        self.exchanges[kind, number, True] = exchange
        if kind in (QUICK, AUTH, CHILD):
            exchange.spi_in = self.world.new_spi(self)
        self._send(exchange, 1)
        return exchange

    def rekey(self):
        """A new child SA, begun on this side."""
        return self.begin(QUICK if self.version == 1 else CHILD)

    def _send(self, exchange, n):
        body = {**exchange.body, "n": n, "mine": exchange.mine, "by": self.name,
                "alg": self.algorithm}
        if exchange.spi_in and n < 3:
            body["spi"] = exchange.spi_in
        flags = (0x08 if self.is_client else 0) | (0 if exchange.mine else 0x20)
        responder = bytes(8) if exchange.kind in (MAIN, SA_INIT) and n == 1 else self.responder
        message = Message(self.initiator, responder, self.version, exchange.kind, flags,
                          exchange.number, body)
        exchange.at, exchange.last = n, message.encode()
        self.transmit_ike(exchange.last)
        if exchange.mine and n < MESSAGES[exchange.kind]:
            self._repeat_later(exchange, n, 1.0)

    def _repeat_later(self, exchange, n, pause):
        def repeat():
            if exchange.at == n and not exchange.done:
                self.world.repeated += 1
                self.transmit_ike(exchange.last)
                self._repeat_later(exchange, n, min(pause * 1.5, 4.0))
        self.world.after(pause, repeat)

    def take(self, message):
        """An IKE message from the peer."""
        mine = not message.body["mine"]
        n = message.body["n"]
        exchange = self.exchanges.get((message.exchange, message.number, mine))
        if exchange is None:
            if mine or n != 1:
                return
            exchange = Exchange(message.exchange, message.number, False, {})
            self.exchanges[message.exchange, message.number, False] = exchange
            if message.exchange in (QUICK, AUTH, CHILD):
                exchange.spi_in = self.world.new_spi(self)
        if n <= exchange.at:
            if not mine and n == exchange.at - 1:
                self.transmit_ike(exchange.last)
            return
        if n != exchange.at + 1:
            return
        if mine and exchange.kind in (MAIN, SA_INIT) and n == 2:
            self.responder = message.responder
        exchange.at = n
        if "spi" in message.body:
            exchange.spi_out = message.body["spi"]
        end = MESSAGES[exchange.kind]
        if n < end:
            self._send(exchange, n + 1)
        done = exchange.at >= end or (exchange.kind == QUICK and exchange.at >= 2)
        if done and not exchange.done:
            exchange.done = True
            self.finished(exchange)

    def finished(self, exchange):
        if exchange.spi_out is None:
            self.installed(exchange)
            return
        child = ChildSa(exchange.spi_in, exchange.spi_out, self.algorithm, self.first_sequence)
        self.children.append(child)
        self.installed(exchange)

    # ESP ------------------------------------------------------------------------------------

    def send_text(self, text, child=None):
        child = child or self.children[-1]
        inner = (IP(src="10.8.0.1", dst="10.8.0.2") / UDP(sport=7, dport=7) /
                 Raw(f"{self.name}|{text}".encode()))
        child.sent += 1
        self.sent += 1
        self.transmit_esp(bytes(child.outgoing.encrypt(inner).payload))

    def open_esp(self, packet):
        """The text in an ESP packet of one of the child SAs; None: it is not for this peer."""
        spi = struct.unpack_from("!I", packet, (packet[0] & 15) * 4)[0]
        for child in self.children:
            if child.spi_in == spi:
                inner = child.incoming.decrypt(IP(packet))  # an error if the ICV is not right
                name, text = bytes(inner[UDP].payload).decode().split("|", 1)
                assert name == self.name, f"{self.name} got what {name} was sent"
                child.received += 1
                self.received += 1
                return child, text
        return None


class Client(Conversation):
    """A subscriber's IPsec client, with an address of its own; or (`shares_address`) one of
    several, each with another server."""

    def __init__(self, world, host, address, server, name, version=2, algorithm="gcm", nat_t=False,
                 pad=0, eager=False, shares_address=False):
        super().__init__(world, name, version, os.urandom(8), True)
        self.host, self.address, self.server = host, address, server
        self.algorithm, self.nat_t, self.pad, self.eager = algorithm, nat_t, pad, eager
        self.floated = False
        self.interval = None
        self.echoed = set()    # the numbers of the pings that came back
        self.pings = itertools.count(1)
        self.up_at = None
        self.started_at = None
        only = server if shares_address else None
        self.ike = world.udp(host, address, IKE_PORT, self._ike_arrived, only)
        if nat_t:
            self.nat_t_socket = world.udp(host, address, NAT_T_PORT, self._nat_t_arrived, only)
        self.esp = world.esp(host, address, self._esp_arrived, self.ike, only)
        world.clients.append(self)

    def start(self):
        """Phase 1, and what follows from it."""
        self.started_at = time.monotonic()
        self.begin(MAIN if self.version == 1 else SA_INIT)

    def reboot(self):
        """All state is lost; a new initiator SPI from the same address and port."""
        self.initiator, self.responder = os.urandom(8), bytes(8)
        for exchange in self.exchanges.values():
            exchange.done = True
        self.exchanges.clear()
        self.children.clear()
        self.next_number, self.floated, self.up_at = 0, False, None
        self.start()

    def is_up(self):
        """A ping came back through the latest child SA."""
        return bool(self.children) and self.children[-1].received > 0

    def ping(self, size=0):
        number = next(self.pings)
        self.send_text(f"ping {number} " + "." * size)
        return number

    def ping_every(self, interval, delay=0.0):
        """From now (or later) on, until None."""
        running, self.interval = self.interval, interval

        def step():
            if self.interval and not self.world.stopping:
                if self.children:
                    self.ping()
                self.world.after(self.interval, step)
        if interval and not running:
            self.world.after(delay, step)

    def installed(self, exchange):
        if exchange.kind in (MAIN, SA_INIT):
            self.world.say(self, f"{NAMES[exchange.kind]} done")
            self.floated = self.nat_t
            self.begin(QUICK if self.version == 1 else AUTH, pad=self.pad, eager=self.eager)
            return
        child = self.children[-1]
        who = "" if exchange.mine else " begun by the server"
        self.world.say(self, f"{NAMES[exchange.kind]}{who} done: I receive on SPI "
                             f"{child.spi_in:08x} and send on {child.spi_out:08x}")
        if exchange.kind in (QUICK, AUTH) and len(self.children) == 1 and self.eager:
            return             # the server speaks first
        self.ping()

    def transmit_ike(self, data):
        if self.floated:
            self.world.send(self.nat_t_socket, NON_ESP_MARKER + data, (self.server, NAT_T_PORT))
        else:
            self.world.send(self.ike, data, (self.server, IKE_PORT))

    def transmit_esp(self, data):
        if self.floated:
            self.world.send(self.nat_t_socket, data, (self.server, NAT_T_PORT))
        else:
            self.world.send(self.esp, data, (self.server, 0))

    def _ike_arrived(self, data, source):
        message = Message.decode(data)
        if message.initiator == self.initiator:
            self.take(message)

    def _nat_t_arrived(self, data, source):
        if data.startswith(NON_ESP_MARKER):
            self._ike_arrived(data[4:], source)
        else:
            self._esp_arrived(bytes(IP(src=source[0], dst=self.address, proto=ESP_PROTOCOL) /
                                    Raw(data)), source)

    def _esp_arrived(self, packet, source):
        opened = self.open_esp(packet)
        if opened is None:
            spi = struct.unpack_from("!I", packet, (packet[0] & 15) * 4)[0]
            self.world.note_astray(self, spi)
            return
        child, text = opened
        word, number = text.split()[:2]
        if word == "echo":
            self.echoed.add(int(number))
            if self.up_at is None:
                self.up_at = time.monotonic()
                self.world.say(self, f"tunnel up: {text.strip()!r} came back, decrypted and "
                                     "authenticated")
        elif word == "hello":
            self.ping()


class ServerSide(Conversation):
    """The server's end of one client's conversation."""

    def __init__(self, server, name, version, initiator, algorithm):
        super().__init__(server.world, name, version, initiator, False)
        self.server, self.algorithm = server, algorithm
        self.responder = os.urandom(8)
        self.endpoint = None   # where its IKE comes from
        self.floated = False
        self.seen = set()      # every address and port it came from
        self.eager = False
        self.answering = True

    def take(self, message):
        self.eager = message.body.get("eager", self.eager)
        super().take(message)

    def installed(self, exchange):
        if exchange.spi_out is not None and self.eager and not exchange.mine:
            self.send_text("hello 0")

    def transmit_ike(self, data):
        if self.floated:
            self.world.send(self.server.nat_t, NON_ESP_MARKER + data, self.endpoint)
        else:
            self.world.send(self.server.ike, data, self.endpoint)

    def transmit_esp(self, data):
        if self.floated:
            self.world.send(self.server.nat_t, data, self.endpoint)
        else:
            self.world.send(self.server.esp, data, (self.endpoint[0], 0))


class Server:
    def __init__(self, world, host, address):
        self.world, self.host, self.address = world, host, address
        self.ike = world.udp(host, address, IKE_PORT, self._ike_arrived)
        self.nat_t = world.udp(host, address, NAT_T_PORT, self._nat_t_arrived)
        self.esp = world.esp(host, address, self._esp_arrived, self.ike)
        self.peers = {}        # by initiator SPI
        self.heard = []        # (what, who), in the order of arrival
        self.unknown = 0       # ESP that nobody's SA opens
        self.esp_from = set()

    def peer(self, client):
        return self.peers[client.initiator]

    def _ike_arrived(self, data, source, floated=False):
        message = Message.decode(data)
        peer = self.peers.get(message.initiator)
        if peer is None:
            if message.exchange not in (MAIN, SA_INIT):
                return
            peer = ServerSide(self, message.body["by"], message.version, message.initiator,
                              message.body["alg"])
            self.peers[message.initiator] = peer
        peer.endpoint, peer.floated = source, floated
        peer.seen.add(source)
        if message.exchange in (QUICK, AUTH, CHILD) and message.body["n"] == 1:
            self.heard.append(("phase 2", peer.name))
        peer.take(message)

    def _nat_t_arrived(self, data, source):
        if data.startswith(NON_ESP_MARKER):
            self._ike_arrived(data[4:], source, True)
        else:
            self._esp_arrived(bytes(IP(src=source[0], dst=self.address, proto=ESP_PROTOCOL) /
                                    Raw(data)), source)

    def _esp_arrived(self, packet, source):
        spi = struct.unpack_from("!I", packet, (packet[0] & 15) * 4)[0]
        peer = self.world.owners.get(spi)
        opened = peer.open_esp(packet) if isinstance(peer, ServerSide) else None
        if opened is None:
            self.unknown += 1
            return
        self.heard.append(("ESP", peer.name))
        self.esp_from.add(socket.inet_ntoa(packet[12:16]))
        word, rest = opened[1].split(" ", 1)
        if word == "ping" and peer.answering:
            peer.send_text(f"echo {rest}")


class World(threading.Thread):
    """The thread in which all endpoints live."""

    def __init__(self, talk=None):
        super().__init__(daemon=True)
        self.talk = talk       # what to print with
        self.clients = []
        self.owners = {}       # inbound SPI: whose it is
        self.astray = []       # (who got it, whose it was, SPI)
        self.forgiven = set()  # whose old packets may still come, but nowhere else
        self.repeated = 0      # IKE messages that were sent again
        self.sockets = {}
        self.handled_first = {}  # ESP's socket: that of the same peer's IKE
        self.timers = []
        self.order = itertools.count()
        self.spis = {}
        self.error = None
        self.stopping = False
        self.began = time.monotonic()
        self.wake_read, self.wake_write = os.pipe()

    def say(self, who, text):
        if self.talk:
            self.talk(f"{time.monotonic() - self.began:6.2f} s  {who.name:6} {text}")

    def new_spi(self, owner):
        while True:
            spi = int.from_bytes(os.urandom(4), "big")
            if spi > 255 and spi not in self.owners:
                self.owners[spi] = owner
                return spi

    def note_astray(self, receiver, spi):
        owner = self.owners.get(spi)
        # It was asked for, and the answer that says whose it is was lost: its peer is not wrong to
        # send, nor the NAT to deliver.
        if owner is receiver and (receiver.name in self.forgiven or
                                  any(e.spi_in == spi and not e.done
                                      for e in receiver.exchanges.values())):
            return
        self.astray.append((receiver.name, owner.name if owner else None, spi))

    # sockets --------------------------------------------------------------------------------

    def udp(self, host, address, port, arrived, only=None):
        """`only` what comes from that address; other sockets may have the same address and port."""
        s = host.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if only:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((address, port))
        if only:
            s.connect((only, port))
        return self._add(s, arrived)

    def esp(self, host, address, arrived, ike, only=None):
        s = host.raw(ESP_PROTOCOL)
        s.bind((address, 0))
        if only:
            s.connect((only, 0))
        self.handled_first[s] = ike, self.sockets[ike]
        return self._add(s, arrived)

    def _add(self, s, arrived):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        s.setblocking(False)
        self.sockets[s] = arrived
        return s

    @staticmethod
    def send(s, data, to):
        try:
            s.sendto(data, to)
        except OSError:
            pass               # no route or no neighbour for a moment: lost, as on a wire

    # time -----------------------------------------------------------------------------------

    def after(self, seconds, function):
        """Only in the world's thread."""
        heapq.heappush(self.timers, (time.monotonic() + seconds, next(self.order), function))

    def do(self, function):
        """Runs it in the world's thread and returns what it returns."""
        done, result = threading.Event(), []

        def run():
            try:
                result.append(function())
            finally:
                done.set()
        self.timers_from_outside(run)
        assert done.wait(20), f"the endpoints' thread is stuck: {self.error}"
        if self.error:
            raise self.error
        return result[0]

    def timers_from_outside(self, function):
        heapq.heappush(self.timers, (0.0, next(self.order), function))
        os.write(self.wake_write, b"x")

    def run(self):
        poll = select.poll()
        by_fd = {}
        for s, arrived in self.sockets.items():
            poll.register(s, select.POLLIN)
            by_fd[s.fileno()] = (s, arrived)
        poll.register(self.wake_read, select.POLLIN)
        try:
            while not self.stopping:
                wait = 0.2
                if self.timers:
                    wait = min(wait, max(0.0, self.timers[0][0] - time.monotonic()))
                for fd, _ in poll.poll(wait * 1000):
                    if fd == self.wake_read:
                        os.read(fd, 4096)
                        continue
                    s, arrived = by_fd[fd]
                    # Between two looks of poll() both may have come: IKE is handled first, as it
                    # was sent first.
                    while s in self.handled_first and self._take(*self.handled_first[s]):
                        pass
                    self._take(s, arrived)
                for _ in range(64):
                    if not self.timers or self.timers[0][0] > time.monotonic():
                        break
                    heapq.heappop(self.timers)[2]()
        except BaseException as error:  # noqa: B902  (the test raises it again)
            self.error = error

    @staticmethod
    def _take(s, arrived):
        try:
            data, source = s.recvfrom(65535)
        except OSError:
            return False       # nothing there, or an ICMP error
        arrived(data, source)
        return True

    def check(self):
        """Nothing went wrong in the thread, and nobody got what was not his."""
        if self.error:
            raise self.error
        assert not self.astray, f"ESP arrived at the wrong client: {self.astray[:10]}"

    def stop(self):
        self.stopping = True
        os.write(self.wake_write, b"x")
        if self.is_alive():
            self.join(10)
        for s in self.sockets:
            s.close()
        os.close(self.wake_read)
        os.close(self.wake_write)
        if self.error:
            raise self.error


# As a program: endpoints in namespaces that are there already (scripts/demo) ---------------------

def main():
    import argparse
    import types
    from netns import Namespace

    options = argparse.ArgumentParser(description="IPsec clients and their server, in namespaces")
    options.add_argument("--server", required=True, metavar="NAME=NAMESPACE=ADDRESS")
    options.add_argument("--client", required=True, action="append",
                         metavar="NAME=NAMESPACE=ADDRESS")
    options.add_argument("--seconds", type=float, default=4, help="traffic after all are up")
    arguments = options.parse_args()

    def place(text):
        name, namespace, address = text.split("=")
        host = types.SimpleNamespace(name=namespace, sockets=[])
        for method in ("entered", "socket", "raw"):
            setattr(host, method, types.MethodType(getattr(Namespace, method), host))
        return name, host, address

    world = World(talk=lambda line: print(line, flush=True))
    _, host, server_address = place(arguments.server)
    server = Server(world, host, server_address)
    for text in arguments.client:
        name, host, address = place(text)
        Client(world, host, address, server_address, name)
    world.start()
    world.do(lambda: [(c.start(), c.ping_every(0.2)) for c in world.clients])
    end = time.monotonic() + 30
    while not all(c.is_up() for c in world.clients) and time.monotonic() < end and not world.error:
        time.sleep(0.05)
    time.sleep(arguments.seconds / 2)
    world.do(lambda: [(world.say(c, "rekeys"), c.rekey()) for c in world.clients if c.children])
    time.sleep(arguments.seconds / 2)
    world.do(lambda: [c.ping_every(None) for c in world.clients])
    time.sleep(0.5)
    good = not world.astray
    for c in world.clients:
        astray = sum(who == c.name for who, _, _ in world.astray)
        good = good and c.is_up() and len(c.echoed) >= 0.9 * c.sent
        print(f"{c.name}: {c.sent} pings encrypted and sent, {len(c.echoed)} echoes decrypted and "
              f"authenticated, {astray} packets of somebody else's", flush=True)
    seen = sorted(server.esp_from)
    print(f"the server saw ESP of all clients from {', '.join(seen)}", flush=True)
    world.stop()
    return 0 if good and len(seen) == 1 else 1


if __name__ == "__main__":
    import sys
    sys.exit(main())
