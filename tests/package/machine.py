"""A Debian of its own for each test: packages are installed in it, and systemd is its init.

It is a directory and namespaces, no virtual machine: the kernel is this one. Its files are an overlay
over a Debian that mmdebstrap makes once (build/package/root-*.tar), with what lsnd depends on.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess


from lab import wait_until
from netns import sh

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
PACKAGES = pathlib.Path(os.environ.get("LSN_PACKAGES", PROJECT / "build" / "package")).resolve()
SOURCES = ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list")


def package():
    """What scripts/package has made."""
    found = [p for p in PACKAGES.glob("lsnd_*_amd64.deb")]
    assert len(found) == 1, f"{PACKAGES} has {found}: scripts/package makes one"
    return found[0]


def field(deb, name):
    return sh("dpkg-deb", "-f", deb, name).stdout.strip()


def later(deb, directory):
    """The same package as a later version."""
    tree = directory / "later"
    sh("dpkg-deb", "-R", deb, tree)
    control = tree / "DEBIAN" / "control"
    version = field(deb, "Version") + ".later"
    control.write_text(re.sub(r"^Version: .*$", f"Version: {version}", control.read_text(),
                              flags=re.M))
    made = directory / "later.deb"
    sh("dpkg-deb", "-Znone", "-b", tree, made)
    shutil.rmtree(tree)
    return made


def debian(deb):
    """A Debian with everything that the package depends on, as an archive."""
    names = {re.match(r"\s*([^ (|]+)", part)[1] for part in field(deb, "Depends").split(",")}
    include = ",".join(sorted({*names, "systemd-sysv", "dbus", "logrotate"}))
    archive = PACKAGES / f"root-{hashlib.sha256(include.encode()).hexdigest()[:12]}.tar"
    if not archive.is_file():
        made = archive.with_suffix(".new")
        sources = next(path for path in SOURCES if os.path.exists(path))
        sh("mmdebstrap", "--variant=minbase", "--mode=root", "--format=tar",
           '--aptopt=Acquire::Languages "none"', f"--include={include}", "bookworm", made,
           sources, timeout=900)
        made.rename(archive)
    return archive


class Machine:
    def __init__(self, base, directory):
        self.directory = directory
        self.root = directory / "root"
        self.console = directory / "console"
        self.init = None
        self.process = None
        for part in ("upper", "work", "root"):
            (directory / part).mkdir()
        sh("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", directory / "upper")
        for part in ("files", "work"):
            (directory / "upper" / part).mkdir()
        sh("mount", "-t", "overlay", "-o",
           f"lowerdir={base},upperdir={directory}/upper/files,workdir={directory}/upper/work",
           "overlay", self.root)

    def give_back(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        sh("umount", "-l", self.root)
        sh("umount", "-l", self.directory / "upper")

    def path(self, name):
        return self.root / name.lstrip("/")

    def put(self, file):
        """A package in it."""
        shutil.copy(file, self.path("/root/"))
        return f"/root/{file.name}"

    # without an init ------------------------------------------------------------------------------

    def alone(self, *argv, check=True, env=None):
        """A command in it, with nothing else running."""
        return sh("unshare", "-m", "-p", "-u", "-i", "-n", "--fork", "--kill-child", HERE / "enter",
                  self.root, *argv, check=check, timeout=120, env={**os.environ, **(env or {})})

    def files(self):
        """What there is, but for what dpkg and the boot write down about it."""
        done = self.alone("find", "/", "-xdev", "-not", "-path", "/var/lib/dpkg/*", "-not", "-path",
                          "/root/*", "-not", "-path", "/var/log/*.log", "-not", "-path",
                          "/var/cache/ldconfig/*")
        return set(done.stdout.split("\n"))

    # with systemd ---------------------------------------------------------------------------------

    def boot(self, network):
        """systemd comes up in it; its network interfaces are those of the namespace."""
        with open(self.console, "w") as console:
            self.process = subprocess.Popen(
                network.argv("unshare", "-m", "-p", "-u", "-i", "-C", "--fork", "--kill-child",
                             HERE / "enter", self.root, "/lib/systemd/systemd"),
                stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        pid = self.process.pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
        self.init = int(wait_until("an init", lambda: children.read_text().split(), 20)[0])
        wait_until("systemd is up", lambda: self.run("systemctl", "is-system-running", check=False)
                   .stdout.strip() in ("running", "degraded"), 60)

    def run(self, *argv, check=True, timeout=120):
        return sh("nsenter", "-t", self.init, "-m", "-p", "-u", "-i", "-C", "-n", *argv, check=check,
                  timeout=timeout)

    def ctl(self, *words):
        return json.loads(self.run("lsnctl", "--json", *words).stdout)

    def property(self, name):
        return self.run("systemctl", "show", "-P", name, "lsnd").stdout.strip()

    def pid(self):
        """The daemon's, as we see it."""
        inside = self.property("MainPID")
        for status in pathlib.Path("/proc").glob("[0-9]*/status"):
            try:
                ids = re.search(r"^NSpid:(.*)$", status.read_text(), re.M)
            except OSError:
                continue
            if ids and ids[1].split()[-1] == inside and len(ids[1].split()) > 1 and \
                    os.readlink(status.parent / "ns/pid") == os.readlink(f"/proc/{self.init}/ns/pid"):
                return int(status.parent.name)
        return None

    def journal(self):
        return self.run("journalctl", "--no-pager", "-o", "cat", check=False).stdout

    def diagnosis(self):
        """What to show of it when a test failed."""
        if self.init is None:
            return ""
        log = self.path("/var/log/lsnd/lsnd.log")
        return (f"--- journal\n{self.journal()[-4000:]}\n--- log\n"
                f"{log.read_text()[-4000:] if log.exists() else ''}\n"
                f"--- console\n{self.console.read_text()[-4000:]}")

    def wait_active(self, seconds=30):
        wait_until("lsnd is active", lambda: self.property("ActiveState") == "active", seconds)
