"""lsnd, Linux and a plain forwarder at veth links, in network namespaces of their own.

Each box has a namespace with the interfaces lsn-in and lsn-out; their peers, BOX-in and BOX-out, are in
the generator's namespace. Whatever the kernel does for a box, receiving included, it does on the box's
CPU (receive packet steering), whatever it does for the generator on the generator's."""

import contextlib
import os
import pathlib
import platform
import statistics
import sys
import time

from .boxes import Bench, private_eal
from .common import Failed, count_text, middle, say, table

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "e2e"))
from netns import Namespace  # noqa: E402

DIRECTIONS = ("outbound", "inbound", "both")
ADDRESSES = {"lsn-in": "192.0.2.1/24", "lsn-out": "198.51.100.1/24"}
CONNTRACK_MAX = pathlib.Path("/proc/sys/net/netfilter/nf_conntrack_max")


class Veth:
    """As boxes.Memif: where programs run, and their devices."""

    def __init__(self, options, boxes):
        self.huge = options.huge
        self.spaces = {}
        name = f"lsnv{os.getpid():x}"
        try:
            self.home = Namespace(f"{name}-gen")
            for box in boxes:
                space = self.spaces[box] = Namespace(f"{name}-{box}")
                for side in ("in", "out"):
                    self.home.ip("link", "add", f"{box}-{side}", "type", "veth", "peer",
                                 f"lsn-{side}", "netns", space.name)
                    for where, interface, cpu in ((self.home, f"{box}-{side}", options.cpus[1]),
                                                  (space, f"lsn-{side}", options.cpus[0])):
                        where.run("ethtool", "-K", interface, "tx", "off", "rx", "off", "gro", "off")
                        where.ip("link", "set", interface, "up")
                        where.run("sh", "-c", f"echo {1 << cpu:x} > "
                                  f"/sys/class/net/{interface}/queues/rx-0/rps_cpus")
        except BaseException:
            self.delete()
            raise

    def delete(self):
        for space in (*self.spaces.values(), getattr(self, "home", None)):
            if space is not None:
                space.delete()

    def generator(self, argv):
        return self.home.argv(*argv, "--at", "veth")

    def box(self, name, argv):
        return self.spaces[name].argv(*argv)

    def eal(self):
        return private_eal(self.huge)

    def testpmd(self):
        return []

    def devices(self, box):
        """A box whose name says so by AF_XDP, the others by packet sockets."""
        kind, more = ("xdp", ",busy_budget=0") if box.endswith("xdp") else ("packet", ",qdisc_bypass=1")
        return [f"net_af_{kind}{n},iface=lsn-{side}{more}" for n, side in enumerate(("in", "out"))]


class Linux:
    """The kernel as a box: nftables' SNAT over the same addresses as lsnd's."""

    def __init__(self, space, sessions):
        self.title = f"Linux {platform.release().split('-')[0]} nftables"
        self.space = space
        self.before = CONNTRACK_MAX.read_text() if CONNTRACK_MAX.exists() else None
        for interface, address in ADDRESSES.items():
            space.ip("address", "add", address, "dev", interface)
        space.ip("route", "add", "default", "via", "198.51.100.254")
        space.ip("route", "add", "100.64.0.0/10", "via", "192.0.2.254")
        space.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        done = space.run("nft", "add table ip nat; add chain ip nat post { type nat hook postrouting "
                         "priority 100; }; add rule ip nat post ip saddr 100.64.0.0/10 snat to "
                         "203.0.113.0-203.0.116.255", check=False)
        if done.returncode != 0:
            said = done.stderr.split("\n", 1)[0].removeprefix("Error: ").strip()
            raise Failed(f"nf_tables is not possible here: {said or done.returncode}")
        for timeout in ("udp_timeout", "udp_timeout_stream"):
            space.run("sysctl", "-qw", f"net.netfilter.nf_conntrack_{timeout}=3600")
        # The limit is one for all namespaces.
        self.before = self.before or CONNTRACK_MAX.read_text()
        if int(self.before) < sessions + 1024:
            CONNTRACK_MAX.write_text(str(sessions + 1024))

    def is_alive(self):
        return True

    def stop(self):
        """It does nothing without packets."""

    go_on = stop

    def end(self):
        CONNTRACK_MAX.write_text(self.before)

    def complain(self, what):
        raise Failed(f"{self.title}: {what}")


def run_rates(options, results, directory):
    """`options`: as of scripts/bench, sessions and seconds besides."""
    if options.cpus[1] is None:
        raise Failed("rates need two CPUs, one for the box and one for the generator")
    rounds = 5
    names = ["linux", "lsnd", "xdp", "macswap"]
    measured, titles, opened = {}, {}, {}
    for n in options.sessions:
        say(f"at veth links, {count_text(n)} sessions")
        link = Veth(options, names)
        with Bench(options, directory, names, link) as bench:
            results.setdefault("environment", bench.generator.environment)
            linux = bench.connect(bench.started(Linux(link.spaces["linux"], n)), "linux")
            bench.ask(linux, "resolve")
            lsnd = bench.lsnd("lsnd", max(2048, n * 5 // 4))
            xdp = bench.lsnd("xdp", max(2048, n * 5 // 4))
            lsnd.title, xdp.title = "lsnd, net_af_packet", "lsnd, net_af_xdp"
            for box in (linux, lsnd, xdp):
                opened[n, box.name] = bench.ask(box, "open", 0, n)
                if box is not linux:
                    box.stop()
            boxes = {"linux": linux, "lsnd": lsnd, "xdp": xdp, "macswap": bench.forwarder("macswap")}
            titles |= {name: box.title for name, box in boxes.items()}
            for _ in range(rounds):
                for name, box in boxes.items():
                    with bench.turn(box):
                        for direction in DIRECTIONS:
                            measured.setdefault((n, name, direction), []).append(
                                bench.ask(box, "run", "udp", direction, n, options.seconds))
            time.sleep(0.1)
    rows = []
    for n in options.sessions:
        mid = {}
        for name in names:
            for direction in DIRECTIONS:
                answers = measured[n, name, direction]
                rates = [a["mpps"] for a in answers]
                mid[name, direction] = statistics.median(rates)
                results["cells"].append({
                    "table": "veth", "box": titles[name], "sessions": n, "direction": direction,
                    "unit": "Mpps", "checked": sum(a["checked"] for a in answers),
                    "faults": sum(a["faults"] for a in answers),
                    "lost": statistics.median(a["lost"] for a in answers), **middle(rates)})
        for name in names:
            new = opened.get((n, name))
            rows.append([titles[name], count_text(n)] + [f"{mid[name, d]:.3f}" for d in DIRECTIONS] +
                        [" / ".join(f"{mid[name, d] / mid[other, d]:.2f}" for d in DIRECTIONS)
                         for other in ("linux", "macswap")] +
                        [f"{new['mps'] * 1e3:.0f}" if new else "-"])
            if new:
                results["cells"].append({"table": "veth new", "box": titles[name], "sessions": n,
                                         "unit": "M/s", **middle([new["mps"]])})
    table("At veth links (lsnd and testpmd by net_af_packet), everything of a box on one CPU, 64-byte UDP, "
          f"random flows: Mpps, medians of {rounds} interleaved runs",
          ["box", "sessions", *DIRECTIONS, "of Linux's", "of macswap's", "new sessions, k/s"], rows)
