"""What listing and flushing a large table costs the traffic beside it."""

import os
import subprocess
import time

from .boxes import Bench
from .common import count_text, middle, say, table
from .link import alone, kind_of_link

FLOWS = 1000     # that single packets belong to; no flush ends these
GAP = 2e-4       # seconds between them, on average
SLICE = 0.2      # seconds
FIRST_SUBSCRIBER = 0x64400000  # frames.hpp: 100.64.0.0, 64 flows each, in blocks of 1,024


def upper_half(flows):
    """The largest network of subscribers that flow 0 to FLOWS do not belong to: (network, mask)."""
    subscribers = -(-flows // 65536) * 1024
    size = 1 << ((subscribers - 1).bit_length() - 1)
    text = [".".join(str(word >> shift & 255) for shift in (24, 16, 8, 0))
            for word in (FIRST_SUBSCRIBER + size, 2**32 - size)]
    return ["-network", text[0], "-netmask", text[1]]


def memory_of(pid):
    """MB that are not the tables' (huge pages)."""
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    return 0.0


class Beside:
    """An lsnctl that is repeated for some time, or runs once, and the latency until it ends."""

    def __init__(self, options, bench, box):
        self.options, self.bench, self.box = options, bench, box

    def command(self, words):
        # Not on the worker's CPU: that is what isolated CPUs are for.
        return subprocess.Popen([str(self.options.build / "bin" / "lsnctl"), "--socket",
                                 str(self.box.control), *words],
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                preexec_fn=lambda: os.sched_setaffinity(0, {self.options.cpus[1]}))

    def sliced(self, times, memory):
        answer = self.bench.ask(self.box, "latency", FLOWS, GAP, SLICE, "sleep")
        times.extend(answer["times"])
        memory.append(memory_of(self.box.child.pid))
        return answer["sent"] - answer["received"]

    def measure(self, words, seconds):
        """`words`: none for nothing beside it."""
        times, memory, lost, took = [], [], 0, []
        # Ahead of lsnctl, which has the same CPU: what is measured is the box.
        os.sched_setscheduler(self.bench.generator.child.pid, os.SCHED_FIFO, os.sched_param(1))
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                if not words:
                    lost += self.sliced(times, memory)
                    continue
                began = time.monotonic()
                child = self.command(words)
                while child.poll() is None:
                    lost += self.sliced(times, memory)
                took.append(time.monotonic() - began)
                if child.returncode != 0:
                    self.box.complain("lsnctl: " + child.stderr.read())
                if words[0] == "flush":
                    break
        finally:
            os.sched_setscheduler(self.bench.generator.child.pid, os.SCHED_OTHER, os.sched_param(0))
        times.sort()
        return {"took": took, "lost": lost, "memory": max(memory),
                **{name: times[min(len(times) - 1, int(share * len(times)))]
                   for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1))}}


def run_beside(options, results, directory):
    if alone(options, "Tables beside traffic"):
        return
    if os.geteuid() != 0:
        print("\nTables beside traffic: not measured, it needs root.")
        return
    seconds = 2 if options.quick else 10
    sizes = [1_000_000] + ([10_000_000] if options.ten_million else [])
    rows = []
    for flows in sizes:
        say(f"bench: at the link, tables of {count_text(flows)} sessions")
        with Bench(options, directory, ["tables"]) as bench:
            results.setdefault("environment", bench.generator.environment)
            box = bench.lsnd("tables", flows * 5 // 4)
            bench.ask(box, "open", 0, flows)
            beside = Beside(options, bench, box)
            half = upper_half(flows)
            base = None
            for what, words in {
                "nothing": [],
                "all of it as a table": ["show", "lsn", "session"],
                "all of it as JSON": ["--json", "show", "lsn", "session"],
                "the 20 that are idle for longest": ["show", "lsn", "session", "-sort", "idle", "-top", "20"],
                "how many match": ["show", "lsn", "session", "-count", *half],
                "top talkers": ["show", "lsn", "subscriber", "-sort", "sessions", "-top", "20"],
                "flush of about half": ["flush", "lsn", "session", *half],
                "nothing again": [],
            }.items():
                told = beside.measure(words, seconds)
                base = base or told
                rows.append([count_text(flows), what,
                             f"{min(told['took']):.2f}" if told["took"] else "-",
                             *[f"{told[name]:.1f}" for name in ("p50", "p99", "p999", "max")],
                             str(told["lost"]), f"{told['memory'] - base['memory']:+.1f}"])
                for name in ("p50", "p99", "p999", "max"):
                    results["cells"].append({"table": "link tables", "beside": what,
                                             "sessions": flows, "what": name, "unit": "us",
                                             **middle([told[name]])})
                if told["lost"]:
                    box.complain(f"{told['lost']} packets lost beside {what}")
            box.end()
    table(f"Tables and latency ({kind_of_link(options)}), one core: single 64-byte UDP packets, 5,000 a "
          f"second, µs, while lsnctl asks on the other CPU",
          ["sessions", "beside", "it takes, s", "p50", "p99", "p99.9", "max", "lost",
           "lsnd's memory, MB"], rows)
