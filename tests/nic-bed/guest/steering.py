#!/usr/bin/env python3
"""steering.py IN OUT MODEL ROUND: whether the NICs bring packets to their owners. Many subscribers speak to
many servers, which answer: UDP, TCP, ICMP, fragments, and ESP that nobody answers. Then lsnd tells of each
device how many packets came, how many were handed over, and what it saw of the NIC's hash."""

import json
import socket
import struct
import subprocess
import sys
import time

from packets import CLIENT, ESP, ICMP, TCP, UDP, Link, echo, ipv4, tcp, udp

SUBSCRIBERS, PACKETS = 400, 10
SYN, SYN_ACK, ACK = 0x02, 0x12, 0x10
MORE = 0x2000
# What NICs with more than one receive queue do; "owner": what they are told.
EXPECTED = {"igb": "owner", "virtio": "owner", "vmxnet3": "first"}


def subscriber(number):
    return f"10.{64 + number % 3}.{number >> 8 & 3}.{number & 255}"


def server(number):
    return f"192.0.2.{1 + number * 7 % 250}"


def requests(round_of, packet):
    """A packet of each kind from each subscriber; ports are of this round alone."""
    port = 2000 + 100 * round_of
    for number in range(SUBSCRIBERS):
        source, destination = subscriber(number), server(number + packet)
        to_one = server(number)  # of a TCP connection
        yield ipv4(source, destination, UDP, udp(source, destination, (port, 53), b"u" * 20))
        yield ipv4(source, to_one, TCP, tcp(source, to_one, (port, 80), ACK if packet else SYN,
                                            b"t" * 10 if packet else b"", 1000 + 10 * packet))
        yield ipv4(source, destination, ICMP, echo(8, port, packet, b"i" * 10))
        if packet == 0:
            yield from fragments(source, destination, (port + 1, 53), number)
        if packet == 1:
            yield ipv4(source, destination, ESP, struct.pack("!II", 0x1000 + number, 1) + b"e" * 40)


def fragments(source, destination, ports, ident):
    datagram = udp(source, destination, ports, b"f" * 1000)
    yield ipv4(source, destination, UDP, datagram[:504], ident + 1, MORE)
    yield ipv4(source, destination, UDP, datagram[504:], ident + 1, 504 // 8)


def answers(frame):
    """Of the server that is asked."""
    packet = frame[14:14 + struct.unpack("!H", frame[16:18])[0]]
    offset = struct.unpack("!H", packet[6:8])[0]
    if offset & 0x1FFF:
        return  # the first fragment is answered
    asker, asked = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
    protocol, segment = packet[9], packet[20:]
    ports = struct.unpack("!HH", segment[:4])[::-1]
    if protocol == UDP and offset & MORE:
        yield from fragments(asked, asker, ports, ports[1])
    elif protocol == UDP:
        yield ipv4(asked, asker, UDP, udp(asked, asker, ports, b"a" * 30))
    elif protocol == TCP:
        is_syn = segment[13] & SYN
        yield ipv4(asked, asker, TCP, tcp(asked, asker, ports, SYN_ACK if is_syn else ACK,
                                          b"" if is_syn else b"a" * 10))
    elif protocol == ICMP and segment[0] == 8:
        ident, sequence = struct.unpack("!HH", segment[4:8])
        yield ipv4(asked, asker, ICMP, echo(0, ident, sequence, b"a" * 10))


class Conversation:
    def __init__(self, inside, outside):
        self.inside, self.outside = inside, outside
        self.sent = self.arrived = self.answered = self.came_back = 0

    def listen(self):
        for frame in self.outside.received():
            self.arrived += 1
            for answer in answers(frame):
                self.outside.send(answer)
                self.answered += 1
        for frame in self.inside.received():
            self.came_back += frame[30:34] != socket.inet_aton(CLIENT)

    def run(self, round_of):
        for packet in range(PACKETS):
            for request in requests(round_of, packet):
                self.inside.send(request)
                self.sent += 1
                if self.sent % 16 == 0:
                    self.listen()
            # Until nothing comes any more: a connection's next packet is not before the answer.
            before = -1
            while before != self.arrived + self.came_back:
                before = self.arrived + self.came_back
                time.sleep(0.5)
                self.listen()


def lsnctl(*words):
    done = subprocess.run(["/lsnd/lsnctl", "--json", *words], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def devices():
    return lsnctl("stat", "interface")["devices"]


def judge(model, before, after, most):
    """What a device did, in words; whether it is what it should do. `most`: per cent handed over."""
    def moved(name):
        return after[name] - before[name]
    packets, handed_over = moved("rx_packets"), moved("handed_over")
    checked, predicted = moved("checked"), moved("as_predicted")
    share = 100.0 * handed_over / max(1, packets)
    text = (f"{packets} packets, {handed_over} handed over ({share:.2f} %), "
            f"{predicted} of {checked} as predicted, {after['steering']}")
    expected = EXPECTED.get(model, "one")
    if expected == "owner":
        return text, packets > 1000 and share < most and checked > 1 and predicted == checked
    if expected == "one":
        return text, packets > 1000 and after["steering"].startswith("one queue")
    # Whatever it is told, all come to the first queue: lsnd has to see that.
    return text, packets > 1000 and predicted < checked


def shares(model, before, after):
    """Of the workers in what all devices received."""
    moved = [two["rx_packets"] - one["rx_packets"] for one, two in zip(before, after)]
    text = "workers received " + ", ".join(f"{100 * n / max(1, sum(moved)):.0f} %" for n in moved)
    if EXPECTED.get(model, "one") == "first":
        return text + " (all packets come to the first queue)", min(moved) == 0
    return text, EXPECTED.get(model, "one") == "one" or min(moved) > sum(moved) / 4


def main():
    model, name = sys.argv[3], sys.argv[4]
    conversation = Conversation(Link("cin", sys.argv[1], "10.1.0.1"),
                                Link("srv", sys.argv[2], "198.51.100.1"))
    before, workers = devices(), lsnctl("stat", "worker")["workers"]
    begin = time.monotonic()
    conversation.run({"first": 1, "second": 2}[name])
    seconds = time.monotonic() - begin
    after, workers_after = devices(), lsnctl("stat", "worker")["workers"]
    # A reload displaces a few subscribers: they stay with the worker that has their sessions.
    most = {"first": 1, "second": 5}[name]
    judged = [judge(model, one, other, most) for one, other in zip(before, after)]
    texts = [f"{side} {text}" for side, (text, _) in zip(("inside", "outside"), judged)]
    text, is_good = shares(model, workers, workers_after)
    texts.append(text)
    good = is_good and all(is_good for _, is_good in judged)
    print(f"{conversation.sent} sent, {conversation.arrived} arrived, {conversation.answered} answers, "
          f"{conversation.came_back} of them back, {seconds:.0f} s")
    with open(f"/out/steering-{name}.json", "w") as file:
        json.dump({"before": before, "after": after, "workers": workers,
                   "workers_after": workers_after}, file, indent=1)
    if conversation.came_back < 0.98 * conversation.answered or conversation.answered < SUBSCRIBERS:
        texts.append(f"{conversation.came_back} of {conversation.answered} answers came back")
        good = False
    print("; ".join(texts))
    sys.exit(0 if good else 1)


main()
