"""lsnd as a service: what its service manager hears, played by the test. The unit and the package
are looked at by tests/package."""

import ctypes
import os
import signal
import socket
import time

import pytest

from daemon import BIN
from lab import S1, ping, wait_until

WATCHDOG = 1.0  # seconds: a sign of life each half of it

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000  # waitpid(2): threads, too


class Manager:
    """systemd's side of sd_notify(3)."""

    def __init__(self, directory):
        self.path = str(directory / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)

    def hear(self, seconds):
        """The next message, or None after so many seconds."""
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(4096).decode()
        except TimeoutError:
            return None

    def forget(self):
        """What was said until now."""
        while self.hear(0.001) is not None:
            pass

    def close(self):
        self.socket.close()


@pytest.fixture
def manager(tmp_path, monkeypatch):
    service_manager = Manager(tmp_path)
    monkeypatch.setenv("NOTIFY_SOCKET", service_manager.path)
    monkeypatch.setenv("WATCHDOG_USEC", str(int(WATCHDOG * 1e6)))
    yield service_manager
    service_manager.close()


def started(daemon, manager, **dataplane):
    """lsnd runs, and its manager has heard that it is ready."""
    config = daemon.sample()
    config["dataplane"].update(dataplane)
    daemon.start(config, wait=False)
    message = manager.hear(60)
    while message == "WATCHDOG=1":
        message = manager.hear(60)
    assert message is not None and message.startswith("READY=1"), message


def ptrace(request, thread):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x}")


def worker_threads(pid):
    """EAL gives the workers' threads their names."""
    names = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/comm") as comm:
            names[comm.read().strip()] = int(thread)
    return [thread for name, thread in sorted(names.items()) if "worker" in name]


@pytest.mark.parametrize("power_save", [False, True])
def test_the_manager_gets_a_sign_of_life_twice_per_interval(lab, daemon, manager, power_save):
    started(daemon, manager, powerSave=power_save)
    manager.forget()
    times = []
    for _ in range(6):
        assert manager.hear(WATCHDOG) == "WATCHDOG=1"
        times.append(time.monotonic())
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    assert sum(gaps) / len(gaps) == pytest.approx(WATCHDOG / 2, rel=0.2), gaps
    # An interface that is gone is no reason to end the others.
    lab.wire.ip("link", "set", "lsn-out", "down")
    assert [manager.hear(WATCHDOG) for _ in range(4)] == ["WATCHDOG=1"] * 4


def test_the_manager_gets_none_while_a_worker_stands_still(lab, daemon, manager):
    started(daemon, manager)
    (worker,) = worker_threads(daemon.process.pid)
    # The control thread goes on: this stops one thread, which no signal can.
    ptrace(PTRACE_SEIZE, worker)
    try:
        ptrace(PTRACE_INTERRUPT, worker)
        os.waitpid(worker, WALL)
        time.sleep(WATCHDOG)
        manager.forget()
        assert manager.hear(2 * WATCHDOG) is None
        daemon.wait_log(["worker 0", "has not polled"])
        assert daemon.log().count("has not polled") == 1
    finally:
        ptrace(PTRACE_DETACH, worker)
    assert manager.hear(WATCHDOG) == "WATCHDOG=1"
    daemon.wait_log(["worker 0", "polls again"])
    ping(lab.c1, S1)


def test_the_manager_hears_of_a_reload_and_of_the_end(lab, daemon, manager):
    started(daemon, manager)
    daemon.signal(signal.SIGHUP)
    heard = []

    def told():
        heard.append(manager.hear(5))
        return heard[-1] is not None and heard[-1].startswith("READY=1")
    wait_until("ready again", told, 20)
    assert any(message.startswith("RELOADING=1") for message in heard), heard
    daemon.stop()
    while (message := manager.hear(1)) == "WATCHDOG=1":
        pass
    assert message.startswith("STOPPING=1"), message


def test_sigusr2_leaves_a_rotated_log_and_changes_nothing_else(lab, daemon):
    config = daemon.sample()
    target = daemon.directory / "own.log"
    config["log"] = {"target": str(target)}
    daemon.start(config)
    rotated = target.with_suffix(".log.1")
    target.rename(rotated)
    # A file that is being edited is none of the rotation's business.
    daemon.write("no configuration")
    daemon.signal(signal.SIGUSR2)
    wait_until("a new log file", target.exists, 10)
    ping(lab.c1, S1)
    daemon.stop()
    assert "stopping" in target.read_text() and "stopping" not in rotated.read_text()
    assert f"{daemon.file}:" not in rotated.read_text() + target.read_text()


def test_lsnd_says_for_which_processors_it_was_built(lab):
    out = lab.router.run(BIN / "lsnd", "--version").stdout
    assert out.count("(") == 1 and out.strip().endswith(")"), out
