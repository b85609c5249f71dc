"""IPv4 packets made by hand, and the hosts' links: sockets in the guest's two namespaces."""

import ctypes
import os
import socket
import struct
import subprocess

CLIENT, SERVER = "10.1.0.2", "198.51.100.10"
IP, UDP, TCP, ICMP, ESP = b"\x08\x00", 17, 6, 1, 50
libc = ctypes.CDLL(None, use_errno=True)


def enter(namespace):
    with open(f"/run/netns/{namespace}") as file:
        if libc.setns(file.fileno(), 0x40000000):  # CLONE_NEWNET
            raise OSError(ctypes.get_errno(), namespace)


class Link:
    """A host's end of the wire: what is sent goes to lsnd, what comes is IPv4."""

    def __init__(self, namespace, device, gateway):
        self.gateway = neighbour(namespace, device, gateway)
        enter(namespace)
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x800))
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)  # SO_RCVBUFFORCE
        self.socket.bind((device, 0x800))
        self.mac = self.socket.getsockname()[4]

    def send(self, packet, padding=0):
        self.socket.send(self.gateway + self.mac + IP + packet + b"\xee" * padding)

    def received(self):
        """All that has come, without waiting, from the Ethernet header on."""
        while True:
            try:
                yield self.socket.recv(70000, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return


def neighbour(namespace, device, address):
    """lsnd's hardware address."""
    for _ in range(5):
        subprocess.run(["ip", "netns", "exec", namespace, "ping", "-c1", "-W2", address],
                       stdout=subprocess.DEVNULL)
        words = subprocess.run(["ip", "-n", namespace, "neigh", "show", address, "dev", device],
                               capture_output=True, text=True).stdout.split()
        if "lladdr" in words:
            return bytes.fromhex(words[words.index("lladdr") + 1].replace(":", ""))
    raise SystemExit(f"no ARP answer from {address}")


def checksum(data):
    if len(data) & 1:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source, destination, protocol, payload, ident=0, fragment=0, options=b"", damage=0):
    header = struct.pack("!BBHHHBBH4s4s", 0x45 + len(options) // 4, 0,
                         20 + len(options) + len(payload), ident, fragment, 64, protocol, 0,
                         socket.inet_aton(source), socket.inet_aton(destination)) + options
    return header[:10] + struct.pack("!H", checksum(header) ^ damage) + header[12:] + payload


def with_checksum(source, destination, protocol, segment, at):
    """Of UDP or TCP, over the pseudo header; `at`: where it is."""
    pseudo = socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack(
        "!BBH", 0, protocol, len(segment))
    return segment[:at] + struct.pack("!H", checksum(pseudo + segment) or 0xFFFF) + segment[at + 2:]


def udp(source, destination, ports, data):
    segment = struct.pack("!HHHH", *ports, 8 + len(data), 0) + data
    return with_checksum(source, destination, UDP, segment, 6)


def tcp(source, destination, ports, flags, data=b"", sequence=1000, acknowledged=1000):
    segment = struct.pack("!HHIIBBHHH", *ports, sequence, acknowledged, 0x50, flags, 8192, 0, 0) + data
    return with_checksum(source, destination, TCP, segment, 16)


def echo(kind, ident, sequence, data=b""):
    message = struct.pack("!BBHHH", kind, 0, 0, ident, sequence) + data
    return message[:2] + struct.pack("!H", checksum(message)) + message[4:]
