"""Boxes under test at virtual links, and the generator that drives them (tests/bench/link_bench.cpp).

All boxes share a CPU, the generator has another one; those that are not measured are stopped
(SIGSTOP), so that they take turns within the same second."""

import contextlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from .common import Failed, Process

# bench_link has the same hosts (link.cpp); a flow's number says its addresses (frames.hpp).
LSND_CONFIG = """
dataplane: {{
  workers = [ {cpu} ];
  eal = [ {eal} ];
  maxSessions = {sessions};
  alg: {{ maxIkeSessions = {tunnels}; maxEspSessions = {tunnels}; maxGates = {tunnels}; }};
  powerSave = {power_save};
  stateFile = "";
}};
interfaces = (
  {{ name = "inside"; role = "inside"; device = "{inside}"; address = "192.0.2.1/24"; }},
  {{ name = "outside"; role = "outside"; device = "{outside}"; address = "198.51.100.1/24"; }}
);
routes = (
  {{ prefix = "0.0.0.0/0"; via = "198.51.100.254"; }},
  {{ prefix = "100.64.0.0/10"; via = "192.0.2.254"; }}
);
control: {{ socket = "{control}"; }};
log: {{ level = "warning"; }};
lsn: {{
  client = ( {{ name = "subscribers"; network = [ "100.64.0.0/10" ]; }} );
  pool = ( {{ name = "addresses"; lsnip = [ "203.0.113.0-203.0.116.255" ]; }} );
  appsprofile = ( {{ name = "ike"; transportprotocol = "UDP"; ippooling = "PAIRED"; lsnport = [ "500" ]; }} );
  transportprofile = ( {{ name = "udp"; transportprotocol = "UDP"; sessiontimeout = 3600; }} );
  group = ( {{ name = "all"; clientname = "subscribers"; poolname = [ "addresses" ];
              appsprofilename = [ "ike" ]; transportprofilename = [ "udp" ];
              ipsecAlgProfile = "tunnels"; }} );
}};
ipsecalg: {{ profile = ( {{ name = "tunnels"; }} ); }};
"""


def private_eal(huge):
    """Arguments of EAL. Zero-copy needs single-file segments, and these need huge pages."""
    return ["--in-memory", "--single-file-segments"] if huge else ["--no-huge", "--no-shconf"]


class Memif:
    """Links in memory: the generator is the server, the box the client. `name`: of the sockets."""

    def __init__(self, huge):
        self.name = f"lsn-bench-{os.getpid()}-{id(self):x}"
        self.huge = huge

    def generator(self, argv):
        return [*argv, "--at", "memif", "--sockets", self.name]

    def box(self, _, argv):
        return argv

    def devices(self, box):
        return [f"net_memif{n},role=client,id={n},socket={self.name}-{box}" +
                (",zero-copy=yes" if self.huge else "") for n in (0, 1)]

    def eal(self):
        return private_eal(self.huge)

    def testpmd(self):
        return []

    def delete(self):
        """There is nothing outside of the processes."""


class Rings:
    """Links without a copy: the box is a secondary process of the generator, one for each. They share huge
    pages in a file system of their own, below `directory`. `kind`: "started-ring" where the box is a
    testpmd, which leaves starting its devices to the generator."""

    def __init__(self, directory, kind="ring"):
        self.kind = kind
        self.name = f"lsn-rings-{os.getpid()}-{id(self):x}"
        self.pages = directory / self.name
        self.pages.mkdir()
        self.run = Path("/var/run/dpdk") / self.name
        done = subprocess.run(["mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "none", self.pages],
                              capture_output=True, text=True)
        if done.returncode != 0:
            self.pages.rmdir()
            raise Failed(f"no hugetlbfs: {done.stderr.strip()}")

    def generator(self, argv):
        return [*argv, "--at", self.kind, "--sockets", self.name, "--huge-dir", str(self.pages)]

    def box(self, _, argv):
        return argv

    def devices(self, box):
        return [f"net_ring_{box}_{side}" for side in ("in", "out")]

    def eal(self):
        return ["--proc-type=secondary", f"--file-prefix={self.name}", f"--huge-dir={self.pages}"]

    def testpmd(self):
        """It would forward on the generator's ends as well: every other port."""
        return ["--portmask=0x5"]

    def delete(self):
        subprocess.run(["umount", self.pages], check=True)
        self.pages.rmdir()
        shutil.rmtree(self.run, ignore_errors=True)


class Generator(Process):
    def __init__(self, options, directory, link, boxes):
        command = [str(options.build / "bin" / "bench_link"), "--boxes", ",".join(boxes),
                   "--cpu", str(options.cpus[1])]
        if not options.huge:
            command.append("--no-huge")
        super().__init__(link.generator(command), directory / "generator.log", stdout=subprocess.PIPE)
        self.environment = self.answer()["environment"]

    def answer(self):
        line = self.child.stdout.readline()
        if not line:
            self.complain("the generator died")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed("generator: " + answer["error"])
        return answer

    def ask(self, *words):
        self.child.stdin.write(" ".join(map(str, words)) + "\n")
        self.child.stdin.flush()
        return self.answer()


class Testpmd(Process):
    patience = 2  # as a secondary process it does not end by itself

    def __init__(self, options, directory, link, mode):
        self.title = f"testpmd {mode}"
        super().__init__(link.box(mode, [
            "dpdk-testpmd", *link.eal(), "--no-pci", "--no-telemetry", "--log-level=3",
            f"--lcores=0@{options.cpus[1]},1@{options.cpus[0]}",
            *[f"--vdev={device}" for device in link.devices(mode)],
            *([] if options.huge else ["-m", "128"]),
            "--", f"--forward-mode={mode}", "--auto-start", "--nb-cores=1",
            "--total-num-mbufs=8192", "--no-mlockall", *link.testpmd()]), directory / f"{mode}.log")


class Lsnd(Process):
    """`sessions`: its table; `tunnels`: the ALG's. They are part of the sessions."""

    def __init__(self, options, directory, link, name, sessions, tunnels=64, power_save=False):
        self.title = "lsnd"
        self.options = options
        self.control = directory / f"{name}.ctl"
        inside, outside = link.devices(name)
        config = directory / f"{name}.conf"
        config.write_text(LSND_CONFIG.format(
            cpu=options.cpus[0], eal=", ".join(f'"{word}"' for word in (*link.eal(), "--no-pci")),
            sessions=sessions, tunnels=max(64, tunnels), inside=inside, outside=outside,
            power_save="true" if power_save else "false", control=self.control))
        super().__init__(link.box(name, [str(options.lsnd), "--config", str(config)]),
                         directory / f"{name}.log")

    def drops(self):
        """Packets dropped so far, by reason."""
        done = subprocess.run([str(self.options.build / "bin" / "lsnctl"), "--socket",
                               str(self.control), "--json", "show", "drops"],
                              capture_output=True, text=True)
        if done.returncode != 0:
            self.complain("no counters: " + done.stderr.strip())
        return {row["reason"]: int(row["packets"]) for row in json.loads(done.stdout)["drops"]}


class Bench:
    """A generator and its boxes, which are ended together."""

    def __init__(self, options, directory, names, link=None):
        self.options, self.directory = options, directory
        self.link = link or Memif(options.huge)
        self.stack = contextlib.ExitStack()
        self.stack.callback(self.link.delete)
        try:
            self.generator = self.started(Generator(options, directory, self.link, names))
        except BaseException:
            self.stack.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()

    def started(self, process):
        self.stack.callback(process.end)
        return process

    def ask(self, box, *words):
        """A command about a box; whatever is wrong with its answer is the box's fault."""
        verb, *rest = words
        try:
            answer = self.generator.ask(verb, box.name, *rest)
        except Failed as failure:
            box.complain(str(failure))
        if answer.get("faults"):
            box.complain(f"{box.title} gave a wrong packet: {answer['first_fault']}")
        if answer.get("missing"):
            box.complain(f"flows did not open: {answer}")
        return answer

    def connect(self, box, name):
        box.name = name
        self.ask(box, "wait", 30)
        if not box.is_alive():
            box.complain(f"{name} ended")
        return box

    def lsnd(self, name, sessions, **more):
        box = self.connect(self.started(Lsnd(self.options, self.directory, self.link, name, sessions,
                                         **more)), name)
        self.ask(box, "resolve")
        return box

    def forwarder(self, mode):
        """A testpmd that forwards, stopped. Now and then one comes up with links on which nothing
        moves, because DPDK 22.11's memif closes descriptors that are not its own (src/runtime/eal.cpp
        keeps lsnd's from it); it gets two more chances."""
        for _ in range(3):
            box = self.started(Testpmd(self.options, self.directory, self.link, mode))
            self.connect(box, mode)
            if self.moves(box):
                box.stop()
                return box
            box.end()
        box.complain("testpmd forwards nothing")

    def moves(self, box):
        """Not every link waits for whoever is at its other end: it gets a moment."""
        for _ in range(20):
            if self.ask(box, "run", "udp", "both", 1000, 0.1)["received"] != 0:
                return True
            time.sleep(0.1)
        return False

    @contextlib.contextmanager
    def turn(self, box):
        """Its own time on the CPU."""
        box.go_on()
        yield
        box.stop()


def cpu_seconds(box):
    """CPU time that its threads have used."""
    with open(f"/proc/{box.child.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), time.monotonic()
