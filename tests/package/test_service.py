"""The installed package under systemd: what the unit allows is enough, what hangs is ended, and an
upgrade takes no tunnel away."""

import ctypes
import os
import re
import signal
import time

import pytest

from daemon import Daemon, file_text
from lab import S1, S2, ping, wait_until
from machine import later
from netns import sh
from test_ipsec import Scene, versions

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000
LOG = "/var/log/lsnd/lsnd.log"


def sample(lab, tmp_path, addresses="203.0.113.3-203.0.113.9"):
    config = Daemon(lab, tmp_path).sample()
    del config["control"]
    del config["dataplane"]["stateFile"]
    config["dataplane"]["powerSave"] = True  # the peers need the CPUs, too
    config["log"] = {"target": LOG}
    config["lsn"]["pool"][0]["lsnip"] = [addresses]
    config["ipsecalg"]["profile"][0]["espGateTimeout"] = 5
    return config


@pytest.fixture
def service(lab, machine, deb, tmp_path):
    """A booted machine with the package, which runs nothing yet."""
    machine.boot(lab.router)
    machine.run("dpkg", "-i", machine.put(deb))
    yield machine
    lab.reset()


def log_of(machine):
    path = machine.path(LOG)
    return path.read_text() if path.exists() else ""


def write(machine, config):
    machine.path("/etc/lsnd/lsnd.conf").write_text(file_text(config))


def start(machine, config):
    write(machine, config)
    machine.run("systemctl", "start", "lsnd")
    assert machine.property("ActiveState") == "active"


def test_nothing_runs_until_it_is_told_to(service):
    assert service.property("ActiveState") == "inactive"
    assert service.property("UnitFileState") == "disabled"


def test_what_the_unit_allows_is_enough_and_no_more(lab, service, tmp_path):
    start(service, sample(lab, tmp_path))
    ping(lab.c1, S1)
    ping(lab.c2, S2)
    with open(f"/proc/{service.pid()}/status") as file:
        status = dict(re.findall(r"^(\w+):\s*(.*)$", file.read(), re.M))
    net_admin, net_raw, ipc_lock, chown = 12, 13, 14, 0
    assert int(status["CapBnd"], 16) == sum(1 << c for c in (net_admin, net_raw, ipc_lock, chown))
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16)
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    # The kernel refused nothing that it asked for.
    assert "not permitted" not in log_of(service) and "Permission denied" not in log_of(service)
    # Its group may use lsnctl; what it writes, others may not read.
    assert service.run("stat", "-c", "%U:%G %a", "/run/lsnd/lsnd.sock").stdout.strip() == \
        "root:lsnd 660"
    wait_until("a state file", service.path("/var/lib/lsnd/state").exists, 20)
    assert service.run("stat", "-c", "%a", "/var/lib/lsnd/state", "/var/lib/lsnd").stdout.split() == \
        ["600", "750"]
    # Reload: all or nothing, and said.
    config = sample(lab, tmp_path, "203.0.113.3-203.0.113.5")
    write(service, config)
    service.run("systemctl", "reload", "lsnd")
    assert "203.0.113.3-203.0.113.5" in service.run("lsnctl", "show", "running", "config").stdout
    service.run("lsnctl", "add", "lsn", "pool", "BY-COMMAND")
    service.run("lsnctl", "save", "config")
    assert "BY-COMMAND" in service.path("/etc/lsnd/lsnd.conf").read_text()
    service.path("/etc/lsnd/lsnd.conf").write_text("nonsense")
    assert service.run("systemctl", "reload", "lsnd", check=False).returncode != 0
    ping(lab.c1, S1)
    service.run("systemctl", "stop", "lsnd")
    assert service.property("Result") == "success"


def test_the_log_is_rotated_without_a_reload(lab, service, tmp_path):
    start(service, sample(lab, tmp_path))
    before = log_of(service)
    service.path("/etc/lsnd/lsnd.conf").write_text("half of a new configuration")
    service.run("logrotate", "-f", "/etc/logrotate.d/lsnd")
    assert service.path(LOG + ".1").read_text().startswith(before)
    assert service.run("stat", "-c", "%G %a", LOG).stdout.strip() == "adm 640"
    service.run("systemctl", "stop", "lsnd")
    wait_until("the new file is used", lambda: "stopping" in log_of(service), 10)
    assert "lsnd.conf:" not in service.path(LOG + ".1").read_text() + log_of(service)


def test_a_bad_configuration_is_not_tried_again_a_missing_interface_is(lab, service, tmp_path):
    service.path("/etc/lsnd/lsnd.conf").write_text("nonsense")
    assert service.run("systemctl", "start", "lsnd", check=False).returncode != 0
    assert service.property("ExecMainStatus") == "2"
    time.sleep(2)
    assert service.property("ActiveState") == "failed" and service.property("NRestarts") == "0"
    lab.router.ip("link", "set", "lsn-out", "name", "away")
    try:
        write(service, sample(lab, tmp_path))
        service.run("systemctl", "start", "--no-block", "lsnd")
        # More often than systemd puts up with by itself: 5 times in 10 s.
        wait_until("seven starts", lambda: int(service.property("NRestarts")) >= 7, 60)
    finally:
        lab.router.ip("link", "set", "away", "name", "lsn-out", "up")
    service.wait_active()
    ping(lab.c1, S1)


def ptrace(request, thread):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x}")


def test_what_is_killed_or_hangs_is_started_again(lab, service, tmp_path):
    start(service, sample(lab, tmp_path))
    first = service.pid()
    os.kill(first, signal.SIGKILL)
    wait_until("another process", lambda: service.property("MainPID") not in ("0", "")
               and service.pid() not in (None, first), 30)
    service.wait_active()
    second = service.pid()
    (worker,) = [int(thread) for thread in os.listdir(f"/proc/{second}/task")
                 if "worker" in open(f"/proc/{second}/task/{thread}/comm").read()]
    stopped = time.monotonic()
    ptrace(PTRACE_SEIZE, worker)
    ptrace(PTRACE_INTERRUPT, worker)
    os.waitpid(worker, WALL)
    try:
        # WatchdogSec=10, and a look at it twice in that time.
        wait_until("the watchdog ends it", lambda: "watchdog" in service.journal().lower(), 30)
        assert 8 < time.monotonic() - stopped < 17
        assert "worker 0: CPU 1: it has not polled" in log_of(service)
    finally:
        # Its death is ours to see first: we have stopped it.
        while not os.WIFSIGNALED(os.waitpid(worker, WALL)[1]):
            ptrace(PTRACE_DETACH, worker)
    wait_until("a third process", lambda: service.property("MainPID") not in ("0", "")
               and service.pid() not in (None, second), 40)
    service.wait_active()
    ping(lab.c1, S1)


def test_tunnels_go_on_over_an_upgrade_and_a_removal_ends_all(lab, service, deb, tmp_path):
    start(service, sample(lab, tmp_path, "203.0.113.3"))
    first = service.pid()
    scene = Scene(lab)
    try:
        for n in range(4):
            scene.client(**versions(n))
        scene.begin(interval=0.4)
        scene.wait_all_up()
        scene.age_tunnels()
        before = service.ctl("show", "ipsecalg", "session")["sessions"]
        time.sleep(1.5)  # the journal is at most 1 s behind
        mark = scene.mark()
        began = time.monotonic()
        service.run("dpkg", "-i", service.put(later(deb, tmp_path)))
        service.wait_active()
        assert service.pid() != first, "the new version runs"
        scene.wait("all tunnels go on without a rekey",
                   lambda: all(scene.came_back(c, mark, 3) for c in scene.clients))
        print(f"upgraded and through again within {time.monotonic() - began:.1f} s")
        assert all(len(c.children) == 1 for c in scene.clients), "nobody rekeyed"
        after = service.ctl("show", "ipsecalg", "session")["sessions"]
        what = ("source_ip", "nat_ip", "destination_ip", "spi_in", "spi_out")
        assert {tuple(r[k] for k in what) for r in after} == {tuple(r[k] for k in what) for r in before}
    finally:
        scene.close()
    service.run("dpkg", "-r", "lsnd")
    assert service.run("pgrep", "-x", "lsnd", check=False).stdout == ""
    service.run("dpkg", "-P", "lsnd")
    for gone in ("/etc/lsnd", "/var/lib/lsnd", "/var/log/lsnd", "/run/lsnd"):
        assert service.run("test", "-e", gone, check=False).returncode == 1, gone
