"""lsnd and lsnctl as the tests see them: a configuration written from Python values, a process
that is watched from its first line to its exit code, and commands that answer in JSON."""

import copy
import json
import os
import pathlib
import signal
import subprocess
import time

from lab import wait_until

PROJECT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("LSN_BIN", PROJECT / "build" / "bin")).resolve()


class Array(list):
    """A list of scalars that libconfig writes as [ ]; other lists of scalars do too."""


def libconfig(value, indent=""):
    """Python values in libconfig's syntax."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    inner = indent + "  "
    if isinstance(value, dict):
        body = "".join(f"{inner}{k} = {libconfig(v, inner)};\n" for k, v in value.items())
        return "{\n" + body + indent + "}"
    if value and isinstance(value[0], dict):
        return "(\n" + ",\n".join(inner + libconfig(v, inner) for v in value) + "\n" + indent + ")"
    return "[ " + ", ".join(libconfig(v) for v in value) + " ]" if value else "( )"


def file_text(config):
    return "".join(f"{k}: {libconfig(v)};\n" if isinstance(v, dict) else f"{k} = {libconfig(v)};\n"
                   for k, v in config.items())


def profile(name, protocol, ports=None, **settings):
    """An application profile."""
    result = {"name": name, "transportprotocol": protocol, **settings}
    if ports is not None:
        result["lsnport"] = ports
    return result


class Daemon:
    def __init__(self, lab, directory):
        self.lab = lab
        self.directory = pathlib.Path(directory)
        self.file = self.directory / "lsnd.conf"
        self.socket = self.directory / "lsnd.sock"
        self.log_file = self.directory / "lsnd.log"
        self.process = None
        self.expect_exit = 0

    def sample(self):
        """The sample of the configuration reference, in the test's own places and sizes."""
        return copy.deepcopy({
            "dataplane": {
                "workers": [1],
                "eal": ["--in-memory", "--no-pci", f"--file-prefix={self.lab.id}"],
                "maxSessions": 65536,
                "stateFile": "",
            },
            "interfaces": [
                {"name": "inside", "role": "inside", "device": "net_af_packet0,iface=lsn-in",
                 "address": "192.0.2.1/24"},
                {"name": "outside", "role": "outside", "device": "net_af_packet1,iface=lsn-out",
                 "address": "198.51.100.1/24"},
            ],
            "routes": [{"prefix": "0.0.0.0/0", "via": "198.51.100.10"}],
            "control": {"socket": str(self.socket)},
            "lsn": {
                "client": [{"name": "LSN-CLIENT-1", "network": ["192.0.2.0/24"]}],
                "pool": [{"name": "LSN-POOL-1", "lsnip": ["203.0.113.3-203.0.113.9"]}],
                "appsprofile": [profile("LSN-APPSPROFILE-1", "UDP", ["500"], ippooling="PAIRED")],
                "group": [{"name": "LSN-GROUP-1", "clientname": "LSN-CLIENT-1",
                           "poolname": ["LSN-POOL-1"], "appsprofilename": ["LSN-APPSPROFILE-1"],
                           "ipsecAlgProfile": "IPSECALGPROFILE-1"}],
            },
            "ipsecalg": {"profile": [{"name": "IPSECALGPROFILE-1", "ikeSessionTimeout": 45,
                                      "espSessionTimeout": 40, "espGateTimeout": 20,
                                      "connfailover": "ENABLED"}]},
        })

    # configuration --------------------------------------------------------------------------

    def write(self, config):
        text = config if isinstance(config, str) else file_text(config)
        temporary = self.file.with_suffix(".new")
        temporary.write_text(text)
        temporary.rename(self.file)

    def check(self, config, *options):
        """lsnd --check where lsnd would run: (exit code, all output)."""
        self.write(config)
        done = subprocess.run(self.lab.router.argv(BIN / "lsnd", "--config", self.file, "--check",
                                                   *options),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=30)
        return done.returncode, done.stdout

    # the process ----------------------------------------------------------------------------

    def start(self, config=None, wait=True):
        self.write(self.sample() if config is None else config)
        with open(self.log_file, "a") as log:
            self.process = subprocess.Popen(
                self.lab.router.argv(BIN / "lsnd", "--config", self.file),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self.expect_exit = 0
        if wait:
            wait_until("lsnd answers commands", self._ready, 60)
        return self

    def _ready(self):
        assert self.process.poll() is None, f"lsnd ended with {self.process.poll()}:\n{self.log()}"
        return self.ctl_raw("stat", "lsn").returncode == 0

    def running(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=20):
        return self.process.wait(seconds)

    def stop(self):
        """SIGTERM; the exit code must be the expected one and nothing may be left."""
        if self.process is None:
            return
        if self.running():
            self.signal(signal.SIGTERM)
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.wait()
                raise AssertionError("lsnd did not end within 20 s of SIGTERM")
        code, self.process = self.process.returncode, None
        assert code == self.expect_exit, f"lsnd's exit code: {code}, expected {self.expect_exit}"
        if code == 0:
            assert not self.socket.exists(), "the command socket was left behind"

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def wait_log(self, words, start=0, seconds=10.0):
        """Waits until the log has all the words, in any case, in one line after offset start."""
        words = [words] if isinstance(words, str) else words

        def found():
            return next((line for line in self.log()[start:].splitlines()
                         if all(w.lower() in line.lower() for w in words)), None)
        return wait_until(f"a log line with {words}", found, seconds)

    # commands -------------------------------------------------------------------------------

    def ctl_raw(self, *words, timeout=20, options=()):
        argv = [BIN / "lsnctl", "--socket", self.socket, *options, *words]
        return subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=timeout)

    def ctl(self, *words):
        """A command that must succeed; its JSON document."""
        done = self.ctl_raw(*words, options=["--json"])
        assert done.returncode == 0, f"lsnctl {' '.join(words)}: {done.stderr}{done.stdout}"
        return json.loads(done.stdout)

    def table(self, *words):
        """A command that must succeed; its output for people."""
        done = self.ctl_raw(*words)
        assert done.returncode == 0, f"lsnctl {' '.join(words)}: {done.stderr}{done.stdout}"
        return done.stdout

    def fails(self, *words):
        """A command that must fail; the one line that it says on standard error."""
        done = self.ctl_raw(*words)
        assert done.returncode == 1, f"lsnctl {' '.join(words)}: {done.returncode} {done.stdout}"
        assert "ERROR" in done.stderr, done.stderr
        return done.stderr

    def reload(self, config):
        """SIGHUP with a new file; returns when the daemon has said what came of it."""
        before = len(self.log())
        self.write(config)
        self.signal(signal.SIGHUP)
        return before

    def diagnosis(self):
        """What to show of a daemon when a test failed."""
        parts = ["--- lsnd.conf\n" + (self.file.read_text() if self.file.exists() else "")]
        parts.append("--- lsnd.log (end)\n" + self.log()[-8000:])
        if self.running():
            for command in ("stat lsn", "stat interface", "stat worker", "show drops",
                            "show lsn session"):
                try:
                    done = self.ctl_raw(*command.split(), timeout=5)
                    text = (done.stdout + done.stderr)[:6000]
                except (subprocess.TimeoutExpired, OSError) as error:
                    text = str(error)
                parts.append(f"--- {command}\n{text}")
        else:
            parts.append(f"--- lsnd is not running: {self.process and self.process.returncode}")
        return "\n".join(parts)

    # what the tests ask most ------------------------------------------------------------------

    def sessions(self, *filters):
        """The session table as a list of dictionaries."""
        return self.ctl("show", "lsn", "session", *filters)["sessions"]

    def drops(self):
        """Drop counters by reason."""
        return {d["reason"]: d["packets"] for d in self.ctl("show", "drops")["drops"]}

    def dropped(self, *words):
        """The sum of all drop counters whose reason has one of the words."""
        return sum(n for reason, n in self.drops().items()
                   if any(w in reason.lower() for w in words))
