"""What is measured, and on which CPUs of this machine."""

import contextlib
import os
import shlex
import subprocess
from pathlib import Path

from .common import Failed, say

ROOT = Path(__file__).resolve().parents[2]
UNFIT_BUILD_TYPES = ("Debug", "None", "")


# ── the build ────────────────────────────────────────────────────────────────────────────────────

def cache_of(build):
    values = {}
    with contextlib.suppress(OSError):
        for line in (build / "CMakeCache.txt").read_text().splitlines():
            name, equals, value = line.partition("=")
            if equals and not line.startswith(("#", "//")):
                values[name.split(":")[0]] = value
    return values


def refuse_unfit(build):
    cache = cache_of(build)
    if cache.get("LSN_SANITIZE"):
        raise Failed(f"{build} is built with sanitizers ({cache['LSN_SANITIZE']}): that would measure "
                     "them, not lsnd")
    flags = cache.get("CMAKE_CXX_FLAGS", "")
    if cache and (cache.get("CMAKE_BUILD_TYPE", "") in UNFIT_BUILD_TYPES and "-O" not in flags or
                  "-O0" in flags or "-fsanitize" in flags):
        raise Failed(f"{build} is not optimised (CMAKE_BUILD_TYPE="
                     f"{cache.get('CMAKE_BUILD_TYPE')}, CMAKE_CXX_FLAGS={flags!r})")


def make(build):
    if build.exists():
        refuse_unfit(build)
    configure = ["cmake", "-S", str(ROOT), "-B", str(build), "-DLSN_BENCH=ON"]
    if not (build / "CMakeCache.txt").exists():
        configure += ["-G", "Ninja"]
    targets = ["lsnd", "lsnctl", "bench_state", "bench_path", "bench_workers",
               "bench_link", "bench_records"]
    for command in ([str(ROOT / "scripts" / "setup")], configure,
                    ["cmake", "--build", str(build), "--parallel", "--target", *targets]):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise Failed(f"{shlex.join(command)} failed:\n{done.stdout[-8000:]}")
    refuse_unfit(build)


def commit():
    def git(*words):
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    name = git("rev-parse", "--short=12", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "src", "include", "cmake",
                  "CMakeLists.txt")
    return (name or "unknown") + (" with changes" if changed else "")


# ── which CPUs ───────────────────────────────────────────────────────────────────────────────────

def choose_cpus():
    """(box, generator): the last CPU, because the machine's own work prefers the first; the
    generator on another core where there is one, not on the box' hyperthread."""
    cpus = sorted(os.sched_getaffinity(0))
    box = cpus[-1]
    siblings = {box}
    with contextlib.suppress(OSError):
        text = Path(f"/sys/devices/system/cpu/cpu{box}/topology/thread_siblings_list").read_text()
        for part in text.strip().split(","):
            first, _, last = part.partition("-")
            siblings.update(range(int(first), int(last or first) + 1))
    others = [c for c in cpus if c not in siblings] or [c for c in cpus if c != box]
    return box, others[-1] if others else None


NR_HUGE = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
HUGE_MEGABYTES = 1024  # for packet buffers, and for tables as far as it goes


def free_huge_megabytes():
    values = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        values[name] = int(rest.split()[0])
    free = values.get("HugePages_Free", 0) - values.get("HugePages_Rsvd", 0)
    return free * values.get("Hugepagesize", 0) // 1024


@contextlib.contextmanager
def huge_pages():
    """Reserves huge pages for the time being, where there are none and that is allowed; gives whether there
    are enough."""
    before = None
    if free_huge_megabytes() < HUGE_MEGABYTES:
        with contextlib.suppress(OSError):
            there = int(NR_HUGE.read_text())
            missing = (HUGE_MEGABYTES - free_huge_megabytes()) // 2
            NR_HUGE.write_text(str(there + missing))
            before = there
            say(f"reserved {int(NR_HUGE.read_text()) - there} huge pages of 2 MB, for the time being")
    try:
        yield free_huge_megabytes() >= HUGE_MEGABYTES // 4
    finally:
        if before is not None:
            NR_HUGE.write_text(str(before))
