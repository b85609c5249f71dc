#!/usr/bin/env python3
"""frames.py IN OUT MTU: UDP by hand from the client through lsnd to the server and back: all sizes, every
checksum looked at, padding, what a NIC's offloads could spoil. One line a finding; exit 1 if there is any."""

import os
import select
import socket
import struct
import sys
import time

from packets import CLIENT, SERVER, UDP, Link, checksum, enter, ipv4, udp

PORT, SERVICE = 4000, 5000
SIZES = [8, 9, 10, 17, 18, 19, 20, 31, 33, 63, 64, 65, 100, 127, 128, 129, 255, 257, 511, 513, 1000, 1023,
         1025, 1400, 1444, 1448, 1470, 1471, 1472, 1473, 1500, 2000, 2020, 2030, 2047, 2048, 2049, 3000,
         4000, 4066, 4096, 8000, 8100, 8146, 8150, 8164, 8170, 8192, 8193, 8900, 8971, 8972]
BURST = 3000


class Datagram:
    def __init__(self, frame):
        length = struct.unpack("!H", frame[16:18])[0]
        packet = frame[14:14 + length]
        header = (packet[0] & 15) * 4
        segment = packet[header:]
        self.source = socket.inet_ntoa(packet[12:16])
        self.port = struct.unpack("!H", segment[:2])[0]
        size, check = struct.unpack("!HH", segment[4:8])
        self.data = segment[8:size]
        self.is_ip_good = checksum(packet[:header]) == 0
        pseudo = packet[12:20] + struct.pack("!BBH", 0, UDP, size)
        self.udp = "none" if check == 0 else "good" if checksum(pseudo + segment[:size]) == 0 else "bad"
        self.behind = len(frame) - 14 - length if len(frame) > 64 else 0


class Run:
    def __init__(self, inside, outside):
        self.inside, self.outside = inside, outside
        self.problems, self.repeated, self.number = [], 0, 0

    def expect(self, what, good):
        if not good:
            self.problems.append(what)

    def data(self, size=12):
        self.number += 1
        return b"%08d" % self.number + os.urandom(size - 8)

    def pass_through(self, sender, receiver, packet, data, padding=0, tries=2, seconds=3.0):
        """What becomes of it at the other end; nothing: it is lost."""
        for _ in range(tries):
            sender.send(packet, padding)
            end = time.monotonic() + seconds
            while select.select([receiver.socket], [], [], max(0.0, end - time.monotonic()))[0]:
                for frame in receiver.received():
                    if frame[23] == UDP and data[:8] in frame:
                        return Datagram(frame)
                if time.monotonic() > end:
                    break
            self.repeated += 1
        return None

    def out(self, data, change=lambda segment: segment, options=b"", damage=0, **how):
        packet = ipv4(CLIENT, SERVER, UDP, change(udp(CLIENT, SERVER, (PORT, SERVICE), data)),
                      options=options, damage=damage)
        return self.pass_through(self.inside, self.outside, packet, data, **how)

    def back(self, there, data, damage=0, **how):
        packet = ipv4(SERVER, there.source, UDP,
                      udp(SERVER, there.source, (SERVICE, there.port), data), damage=damage)
        return self.pass_through(self.outside, self.inside, packet, data, **how)

    def whole(self, what, data, there):
        if there is None:
            self.problems.append(f"{what}: lost")
            return
        self.expect(f"{what}: other data", there.data == data)
        self.expect(f"{what}: IP checksum", there.is_ip_good)
        self.expect(f"{what}: UDP checksum {there.udp}", there.udp == "good")
        self.expect(f"{what}: {there.behind} bytes behind the packet", there.behind == 0)

    def sizes(self, sizes):
        there = None
        for size in sizes:
            data = self.data(size)
            there = self.out(data)
            self.whole(f"out {size}", data, there)
            if there:
                self.whole(f"in {size}", data, self.back(there, data))
        return there

    def padding(self):
        for padding in (1, 18, 46, 100):
            data = self.data()
            there = self.out(data, padding=padding)
            self.whole(f"out, padded by {padding}", data, there)
            if there:
                self.whole(f"in, padded by {padding}", data, self.back(there, data, padding=padding))

    def checksums(self, there):
        none = self.out(self.data(), lambda s: s[:6] + b"\0\0" + s[8:])
        self.expect("UDP without a checksum", none and none.udp == "none")
        bad = self.out(self.data(), lambda s: s[:6] + bytes([s[6] ^ 0x22]) + s[7:], tries=1)
        self.expect("a bad UDP checksum became good", not bad or bad.udp == "bad")
        self.expect("a bad IP checksum went out",
                    not self.out(self.data(), damage=0x1111, tries=1, seconds=1))
        self.expect("a bad IP checksum came in",
                    not self.back(there, self.data(), damage=0x1111, tries=1, seconds=1))

    def burst(self):
        """More than a ring has room for: afterwards all is as before."""
        data = self.data(200)
        packet = ipv4(CLIENT, SERVER, UDP, udp(CLIENT, SERVER, (PORT, SERVICE), data))
        for _ in range(BURST):
            self.inside.send(packet)
        time.sleep(3)
        arrived = sum(data[:8] in frame for frame in self.outside.received())
        self.expect("nothing passes after a burst", self.out(self.data()))
        return arrived


def main():
    run = Run(Link("cin", sys.argv[1], "10.1.0.1"), Link("srv", sys.argv[2], "198.51.100.1"))
    # Sockets that keep the kernel from answering with ICMP errors.
    kept = []
    for namespace, address in (("cin", (CLIENT, PORT)), ("srv", (SERVER, SERVICE))):
        enter(namespace)
        kept.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        kept[-1].bind(address)
    sizes = [size for size in SIZES if size <= int(sys.argv[3]) - 28]
    there = run.sizes(sizes)
    arrived = 0
    if there:
        run.padding()
        run.checksums(there)
        arrived = run.burst()
    for problem in run.problems:
        print(problem)
    print(f"{len(sizes)} sizes both ways, padding, checksums; {arrived} of a burst of {BURST}"
          if not run.problems else f"{len(run.problems)} problems: {'; '.join(run.problems[:3])}")
    sys.exit(1 if run.problems else 0)


main()
