"""The package in its files: what is in it, who may install it, what shells and manuals get of it."""

import re
import subprocess

import pytest

from machine import PROJECT, field, later
from netns import sh

ARCHES = ("x86-64-v4", "x86-64-v3", "x86-64-v2")
FLAGS = {"x86-64-v4": "avx512vl", "x86-64-v3": "avx2", "x86-64-v2": "sse4_2"}


def here(arch):
    """Whether this processor runs it."""
    with open("/proc/cpuinfo") as cpuinfo:
        return f" {FLAGS[arch]} " in cpuinfo.read()


@pytest.fixture(scope="module")
def unpacked(deb, tmp_path_factory):
    directory = tmp_path_factory.mktemp("unpacked")
    sh("dpkg-deb", "-x", deb, directory)
    return directory


def test_the_unit_is_rated_below_four():
    done = sh("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=39",
              PROJECT / "config" / "lsnd.service", check=False)
    exposure = re.search(r"Overall exposure level.*: ([0-9.]+)", done.stdout)
    assert done.returncode == 0 and float(exposure[1]) < 4, done.stdout + done.stderr


def test_each_build_has_the_instructions_that_it_is_named_after_and_no_more(unpacked):
    registers = {}
    for arch in ARCHES:
        code = sh("objdump", "-d", "--no-show-raw-insn", unpacked / "usr/libexec/lsnd" / arch / "lsnd",
                  timeout=300).stdout
        registers[arch] = {name for name in ("ymm", "zmm") if f"%{name}" in code}
    assert registers == {"x86-64-v4": {"ymm", "zmm"}, "x86-64-v3": {"ymm"}, "x86-64-v2": set()}


def test_the_best_build_that_the_processor_runs_is_chosen(unpacked):
    lsnd = unpacked / "usr/sbin/lsnd"
    able = [arch for arch in ARCHES if here(arch)]
    assert sh(lsnd, "--version").stdout.strip().endswith(f"({able[0]})")
    for arch in able:
        done = sh(lsnd, "--version", env={"LSND_ARCH": arch})
        assert done.stdout.strip().endswith(f"({arch})")
    done = sh(lsnd, "--version", env={"LSND_ARCH": "mips"}, check=False)
    assert done.returncode == 1 and "given mips, allowed here x86-64-v" in done.stderr
    # Arguments, standard output and the exit code are lsnd's own.
    done = sh(lsnd, "--check", "--elsewhere", "--config", PROJECT / "config" / "sample.conf")
    assert "LSN-POOL-1" in done.stdout
    assert sh(lsnd, "--chekc", check=False).returncode == 2


def complete(directory, program, *words):
    script = f"""source {directory}/usr/share/bash-completion/completions/{program}
                 COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _{program}
                 printf '%s\\n' "${{COMPREPLY[@]}}\""""
    done = subprocess.run(["bash", "-c", script, "bash", program, *words], text=True, timeout=30,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.stderr == ""
    return set(done.stdout.split())


def test_bash_completes_what_lsnctl_takes(unpacked):
    assert {"show", "stat", "flush", "reload", "add", "help", "--socket"} <= complete(unpacked, "lsnctl", "")
    assert complete(unpacked, "lsnctl", "show", "ips") == {"ipsecalg"}
    documented = set(re.findall(r"`show ipsecalg (\w+)`", (PROJECT / "docs/commands.md").read_text()))
    assert {"session", "gate", "ike"} <= documented
    assert complete(unpacked, "lsnctl", "SHOW", "ipsecalg", "") == documented | {"profile"}
    assert complete(unpacked, "lsnctl", "--socket", "/tmp/x", "reload", "") == {"config"}
    assert {"-natIP", "-clientname", "--json"} <= \
        complete(unpacked, "lsnctl", "show", "lsn", "session", "-")
    assert complete(unpacked, "lsnctl", "show", "lsn", "session", "-natIP", "") == set()
    assert {"--check", "--config"} <= complete(unpacked, "lsnd", "--c")


@pytest.mark.parametrize("program", ["lsnd", "lsnctl"])
def test_zsh_reads_its_completions(unpacked, program):
    sh("zsh", "-n", unpacked / f"usr/share/zsh/vendor-completions/_{program}")


def test_manual_pages_have_every_option_command_and_setting(unpacked):
    def page(name, section):
        text = sh("zcat", unpacked / f"usr/share/man/man{section}/{name}.{section}.gz").stdout
        return text.replace("\\-", "-").replace("\\fB", "").replace("\\fR", "").replace("\\fI", "")
    options = {name: set(re.findall(r"(?<![\w-])--?[a-z]+", sh(unpacked / path, "--help").stdout))
               for name, path in (("lsnd", "usr/sbin/lsnd"), ("lsnctl", "usr/bin/lsnctl"))}
    assert options["lsnd"] and all(o in page("lsnd", 8) for o in options["lsnd"])
    assert options["lsnctl"] and all(o in page("lsnctl", 1) for o in options["lsnctl"])
    assert "show ipsecalg session" in page("lsnctl", 1)
    documented = (PROJECT / "config" / "lsnd.conf").read_text()
    settings = set(re.findall(r"^\s*#?\s*(\w+)(?: = |: [({])", documented, re.M))
    assert len(settings) > 60
    text = page("lsnd.conf", 5)
    assert {s for s in settings if not re.search(rf"\b{s}\b", text)} <= {"oops"}


def test_installed_upgraded_removed_and_purged_without_an_init(machine, deb, tmp_path):
    before = machine.files()
    machine.alone("dpkg", "-i", machine.put(deb))
    assert machine.alone("lsnd", "--version").stdout.startswith("lsnd ")
    assert machine.alone("lsnctl", "--version").stdout.startswith("lsnctl ")
    assert "lsnd:x:" in machine.path("/etc/group").read_text()
    assert machine.path("/var/log/lsnd").is_dir()
    assert not list(machine.path("/etc/systemd/system").rglob("lsnd.service")), "not enabled"
    code = machine.alone("lsnd", "--check", "--elsewhere", "--config",
                         "/usr/share/doc/lsnd/examples/sample.conf").returncode
    assert code == 0
    assert set(machine.alone("dpkg-query", "-W", "-f", "${Conffiles}", "lsnd").stdout.split()[::2]) \
        == {"/etc/lsnd/lsnd.conf", "/etc/logrotate.d/lsnd"}

    # What the operator wrote stays, and so does the state.
    own = machine.path("/etc/lsnd/lsnd.conf")
    own.write_text("# mine\n")
    machine.path("/var/lib/lsnd").mkdir()
    machine.path("/var/lib/lsnd/state").write_text("state")
    new = later(deb, tmp_path)
    machine.alone("dpkg", "-i", machine.put(new))
    assert machine.alone("dpkg-query", "-W", "-f", "${Version}", "lsnd").stdout == field(new, "Version")
    assert own.read_text() == "# mine\n"
    machine.alone("dpkg", "-r", "lsnd")
    assert not machine.path("/usr/sbin/lsnd").exists() and not machine.path("/usr/libexec/lsnd").exists()
    assert own.read_text() == "# mine\n" and machine.path("/var/lib/lsnd/state").exists()
    machine.alone("dpkg", "-P", "lsnd")
    # The group stays, as groups do: what it owned may still be there.
    left = machine.files() - before
    assert {name for name in left if not name.startswith("/etc/g")} == set(), left
