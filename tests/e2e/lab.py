"""The laboratory: subscribers, servers and the place of the router between them.

    c1 192.0.2.11 ─┐                                              ┌─ s1 198.51.100.10 ── far 198.18.0.2
    c2 192.0.2.12 ─┼─ br-in ── lsn-in [ router: lsnd ] lsn-out ── br-out
    c3 192.0.2.13 ─┘                                              └─ s2 198.51.100.20

Every host is a network namespace with the kernel's own IP stack; the two bridges live in a
namespace of their own, where both sides can be watched. Names carry the run's own id, so several
runs work side by side. Nothing outside these namespaces is touched.
"""

import os
import re
import secrets
import select
import socket
import struct
import subprocess
import threading
import time

from netns import Namespace, sh

INSIDE_NET = "192.0.2.0/24"
INSIDE_GATEWAY = "192.0.2.1"
OUTSIDE_GATEWAY = "198.51.100.1"
POOL_NET = "203.0.113.0/24"
S1, S2, FAR = "198.51.100.10", "198.51.100.20", "198.18.0.2"


def client_address(n):
    return f"192.0.2.{10 + n}"


class Lab:
    def __init__(self):
        self.id = f"lsn{os.getpid():x}{secrets.token_hex(2)}"
        self.namespaces = []
        try:
            self._build()
        except BaseException:
            self.delete()
            raise

    def _namespace(self, name):
        namespace = Namespace(f"{self.id}-{name}")
        self.namespaces.append(namespace)
        return namespace

    def _build(self):
        self.router = self._namespace("router")
        self.wire = self._namespace("wire")
        for bridge in ("br-in", "br-out"):
            self.wire.ip("link", "add", bridge, "type", "bridge", "mcast_snooping", "0")
            self.wire.ip("link", "set", bridge, "up")
        self.cable(self.router, "lsn-in", "lsn-in", "br-in")
        self.cable(self.router, "lsn-out", "lsn-out", "br-out")
        self.clients = [self._host(f"c{n}", f"{client_address(n)}/24", "br-in", INSIDE_GATEWAY)
                        for n in (1, 2, 3)]
        self.c1, self.c2, self.c3 = self.clients
        self.s1 = self._host("s1", f"{S1}/24", "br-out", None)
        self.s2 = self._host("s2", f"{S2}/24", "br-out", None)
        for server in (self.s1, self.s2):
            server.ip("route", "add", POOL_NET, "via", OUTSIDE_GATEWAY)
        self.s2.ip("route", "add", "198.18.0.0/24", "via", S1)
        self.servers = [self.s1, self.s2]
        self.far = self._namespace("far")
        self.s1.ip("link", "add", "far0", "type", "veth", "peer", "eth0", "netns", self.far.name)
        self._up(self.s1, "far0", "198.18.0.1/24")
        self._up(self.far, "eth0", f"{FAR}/24")
        self.far.ip("route", "add", "default", "via", "198.18.0.1")
        self.s1.run("sysctl", "-qw", "net.ipv4.ip_forward=1")

    def cable(self, host, interface, port, bridge):
        self.wire.ip("link", "add", port, "type", "veth", "peer", interface, "netns", host.name)
        self.wire.ip("link", "set", port, "master", bridge, "up")
        self._up(host, interface)

    @staticmethod
    def _up(host, interface, address=None):
        """Checksum offload goes off before the first packet: nobody here is a NIC."""
        host.run("ethtool", "-K", interface, "tx", "off", "rx", "off", "gro", "off")
        if address:
            host.ip("address", "add", address, "dev", interface)
        host.ip("link", "set", interface, "up")

    def _host(self, name, address, bridge, gateway):
        host = self._namespace(name)
        self.cable(host, "eth0", name, bridge)
        host.ip("address", "add", address, "dev", "eth0")
        if gateway:
            host.ip("route", "add", "default", "via", gateway)
        return host

    def reset(self):
        """Between tests: nothing runs, the cables are whole, nobody remembers anything."""
        for namespace in self.namespaces:
            if namespace not in (self.wire,):
                namespace.stop_all()
        for interface in ("lsn-in", "lsn-out"):
            self.router.ip("link", "set", interface, "mtu", "1500", "up")
            self.wire.ip("link", "set", interface, "mtu", "1500", "up")
        for host in (*self.clients, *self.servers, self.far):
            host.ip("neigh", "flush", "all")
            host.ip("route", "flush", "cache")

    def delete(self):
        for namespace in reversed(self.namespaces):
            namespace.delete()
        self.namespaces.clear()


class Capture:
    """tcpdump on a port of the bridges' namespace."""

    def __init__(self, lab, interface, path, expression="", count=None, snap=200):
        self.path = str(path)
        argv = ["tcpdump", "-i", interface, "-n", "-U", "--immediate-mode", "-s", str(snap), "-w", self.path]
        if count:
            argv += ["-c", str(count)]
        self.process = subprocess.Popen(lab.wire.argv(*argv, *expression.split()), text=True,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE)
        line = self.process.stderr.readline()
        while line and "listening on" not in line:
            line = self.process.stderr.readline()
        if not line:
            raise RuntimeError(f"tcpdump on {interface} did not start")

    def stop(self):
        if self.process.poll() is None:
            time.sleep(0.05)
            self.process.terminate()
        self.process.wait(10)
        self.process.stderr.close()

    def size(self):
        return os.path.getsize(self.path) if os.path.exists(self.path) else 0

    def text(self, last=150):
        out = sh("tcpdump", "-n", "-e", "-v", "-r", self.path, check=False).stdout.splitlines()
        return "\n".join(out[-last:])

    def packets(self):
        import scapy.layers.l2  # noqa: F401  (Ethernet frames are known by it)
        import scapy.layers.inet  # noqa: F401
        from scapy.utils import rdpcap
        return list(rdpcap(self.path))


# Traffic in a line or two ---------------------------------------------------------------------

def udp_exchange(client, server_socket, to, payload=b"ping", tries=1):
    """Client socket to server socket and back; returns the (address, port) that the server saw."""
    for attempt in range(tries):
        client.sendto(payload, to)
        try:
            data, seen = server_socket.recvfrom(65535)
            assert data == payload
            server_socket.sendto(b"re:" + payload, seen)
            answer, source = client.recvfrom(65535)
            assert (answer, source) == (b"re:" + payload, to), (answer, source)
            return seen
        except socket.timeout:
            if attempt + 1 == tries:
                raise


def expect_silence(sock, seconds=0.7):
    """Nothing may arrive."""
    sock.settimeout(seconds)
    try:
        got = sock.recvfrom(65535)
    except socket.timeout:
        return
    raise AssertionError(f"unexpected packet: {got}")


def wait_until(what, condition, seconds=10.0):
    """Polls until condition() is true and returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


def ping(host, to, count=3, size=56, *options, check=True):
    """Runs ping; returns how many answers came."""
    done = host.run("ping", "-n", "-c", count, "-i", "0.2", "-W", "2", "-s", size, *options, to,
                    check=False)
    match = re.search(r"(\d+) received", done.stdout)
    received = int(match.group(1)) if match else 0
    if check:
        assert received == count, done.stdout + done.stderr
    return received


class VlanSwitch(threading.Thread):
    """A switch between a trunk port and access ports, each in a VLAN of its own: frames get their
    tag on the way to the trunk and lose it on the way back. (The kernel here may have no VLANs.)"""

    SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 263, 8, 23

    def __init__(self, lab, trunk, access):
        super().__init__(daemon=True)
        self.lab, self.names = lab, [trunk, *access]
        for name in self.names:
            lab.wire.ip("link", "set", name, "nomaster", "promisc", "on")
        self.trunk = self._port(trunk)
        self.access = {vlan: self._port(name) for name, vlan in access.items()}
        self.foreign = 0  # frames on the trunk that belong to no access port
        self.stopping = False
        self.start()

    def _port(self, name):
        s = self.lab.wire.packet(name)
        s.setsockopt(self.SOL_PACKET, self.PACKET_AUXDATA, 1)
        s.setsockopt(self.SOL_PACKET, self.PACKET_IGNORE_OUTGOING, 1)
        return s

    def run(self):
        ports = [self.trunk, *self.access.values()]
        while not self.stopping:
            for s in select.select(ports, [], [], 0.1)[0]:
                if s is self.trunk:
                    self._from_trunk()
                else:
                    frame = s.recv(65535)
                    vlan = next(v for v, p in self.access.items() if p is s)
                    tag = struct.pack("!HH", 0x8100, vlan)
                    self._send(self.trunk, frame[:12] + tag + frame[12:])

    def _from_trunk(self):
        frame, ancillary, _, _ = self.trunk.recvmsg(65535, 256)
        vlan = 0
        for level, kind, data in ancillary:
            if (level, kind) == (self.SOL_PACKET, self.PACKET_AUXDATA):
                status, *_, tci, _ = struct.unpack("IIIHHHH", data)
                vlan = tci & 0xfff if status & 0x10 else 0  # TP_STATUS_VLAN_VALID
        if not vlan and frame[12:14] == b"\x81\x00":
            vlan, frame = int.from_bytes(frame[14:16], "big") & 0xfff, frame[:12] + frame[16:]
        if vlan in self.access:
            self._send(self.access[vlan], frame)
        else:
            self.foreign += 1

    @staticmethod
    def _send(port, frame):
        try:
            port.send(frame)
        except OSError:
            pass  # as a switch does when a port cannot take it

    def stop(self):
        self.stopping = True
        self.join(5)
        for s in (self.trunk, *self.access.values()):
            s.close()
            self.lab.wire.sockets.remove(s)
        for name in self.names:
            bridge = "br-out" if name in ("lsn-out", "s1", "s2") else "br-in"
            self.lab.wire.ip("link", "set", name, "master", bridge, "promisc", "off")


class Background(threading.Thread):
    """A function that runs beside the test until it is stopped; its error is the test's error."""

    def __init__(self, step, pause=0.02):
        super().__init__(daemon=True)
        self.step, self.pause = step, pause
        self.count, self.error, self.stopping = 0, None, False
        self.start()

    def run(self):
        try:
            while not self.stopping:
                self.step()
                self.count += 1
                time.sleep(self.pause)
        except BaseException as error:  # noqa: B902  (it is raised again by stop)
            self.error = error

    def stop(self):
        self.stopping = True
        self.join(20)
        if self.error:
            raise self.error
        return self.count
