"""Objects by commands on a running box: the published sample, changes under traffic, the shell on a
terminal, files of commands, those who may only look, and what convert makes of NetScaler's files."""

import grp
import json
import os
import pty
import re
import select
import struct
import subprocess
import threading
import time

from daemon import BIN, file_text
from ipsec import Client, Server, World
from lab import S1, client_address, ping, udp_exchange, wait_until

# As published, typography included, with the one line that it omits (the first for the group).
SAMPLE = """\
add lsn client LSN-CLIENT-1
bind lsn client LSN-CLIENT-1 -network 192.0.2.0 -netmask 255.255.255.0
add lsn pool LSN-POOL-1
bind lsn pool LSN-POOL-1 203.0.113.3-203.0.113.9
add lsn appsprofile LSN-APPSPROFILE-1 UDP -ippooling PAIRED
bind lsn appsprofile LSN-APPSPROFILE-1 500
add ipsecalg profile  IPSECALGPROFILE-1 -ikeSessionTimeout 45 \u2013espSessionTimeout 40 \
\u2013espGateTimeout 20 -connfailover ENABLED
add lsn group LSN-GROUP-1 -clientname LSN-CLIENT-1
bind lsn group LSN-GROUP-1 -appsprofilename LSN-APPSPROFILE-1
bind lsn group LSN-GROUP-1 -poolname LSN-POOL-1
bind lsn group LSN-GROUP-1 - ipsecAlgProfile IPSECALGPROFILE-1
"""


def empty_box(daemon):
    config = daemon.sample()
    del config["lsn"], config["ipsecalg"]
    return config


def lsnctl(daemon, *words, **options):
    return subprocess.run([BIN / "lsnctl", "--socket", daemon.socket, *map(str, words)], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, **options)


def test_the_published_sample_ends_with_an_ipsec_tunnel(lab, daemon):
    daemon.start(empty_box(daemon))
    assert ping(lab.c1, S1, 1, check=False) == 0
    done = lsnctl(daemon, input=SAMPLE)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout == "Done\n" * 11
    world = World()
    server = Server(world, lab.s1, S1)
    client = Client(world, lab.c1, client_address(1), S1, "c1", version=1)
    try:
        world.start()
        world.do(client.start)
        wait_until("a ping comes back through the tunnel", client.is_up, 30)
        world.check()
    finally:
        world.stop()
    assert server.esp_from == {daemon.ctl("show", "ipsecalg", "session")["sessions"][0]["nat_ip"]}
    # What is in force can be saved, and started with.
    assert lsnctl(daemon, "save", "config").returncode == 0
    assert daemon.table("show", "changes").startswith("no changes")
    daemon.stop()
    daemon.start(daemon.file.read_text())
    ping(lab.c1, S1, 1)


def test_without_the_group_the_error_says_how_to_add_it(daemon):
    daemon.start(empty_box(daemon))
    done = lsnctl(daemon, input=SAMPLE.replace("add lsn group LSN-GROUP-1 -clientname LSN-CLIENT-1\n", ""))
    assert done.returncode == 1
    assert "add lsn group LSN-GROUP-1 -clientname LSN-CLIENT-1" in done.stderr
    assert "in line 8" in done.stderr and done.stderr.startswith("ERROR: "), done.stderr


def test_ten_thousand_sets_and_a_thousand_reloads_lose_no_session(lab, router):
    server = lab.s1.udp(9)
    sockets = [(client, client.udp()) for client in (lab.c1, lab.c2, lab.c3)]
    mapped = [udp_exchange(s, server, (S1, 9)) for _, s in sockets]
    stop, lost, sent = threading.Event(), [], []

    def talk():
        while not stop.is_set():
            for (_, s), nat in zip(sockets, mapped):
                try:
                    sent.append(1)
                    if udp_exchange(s, server, (S1, 9)) != nat:
                        lost.append("another mapping")
                except (AssertionError, OSError) as error:
                    lost.append(str(error))
            time.sleep(0.01)
    talker = threading.Thread(target=talk)
    talker.start()
    try:
        lines = "".join(f"set lsn pool LSN-POOL-1 -maxPortReallocTmq {n % 65000 + 1}\n"
                        for n in range(10_000))
        done = lsnctl(router, input=lines)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert done.stdout.count("Done\n") == 10_000
        for n in range(1000):
            if n % 50 == 0:   # a change that the reload undoes
                lsnctl(router, "set", "lsn", "pool", "LSN-POOL-1", "-portrealloctimeout", n % 600)
            answer = router.ctl("reload", "config")
            assert answer["ended"] == 0, answer
    finally:
        stop.set()
        talker.join()
    assert not lost and len(sent) > 100, (lost[:5], len(sent))
    assert len(router.sessions()) == 3


def test_a_file_is_carried_out_up_to_the_first_error_or_not_at_all(router, tmp_path):
    file = tmp_path / "lines"
    file.write_text("# remarks and empty lines are for people\n\nadd lsn pool A\nadd lsn pool LSN-POOL-1\n"
                    "add lsn pool B\n")
    done = lsnctl(router, "-f", file, "--atomic")
    assert done.returncode == 1 and "command 2" in done.stderr and "nothing has changed" in done.stderr
    assert "in line 4: add lsn pool LSN-POOL-1" in done.stderr
    assert "pool A" not in router.table("show", "lsn", "pool")
    done = lsnctl(router, "-f", file)
    assert (done.returncode, done.stdout) == (1, "Done\n") and "in line 4" in done.stderr
    done = lsnctl(router, "-f", file, "--continue")
    assert done.returncode == 1 and done.stdout == "Done\n"
    pools = [p["name"] for p in router.ctl("show", "lsn", "pool")["lsn.pool"]]
    assert pools == ["LSN-POOL-1", "A", "B"]
    for words in (["-f", tmp_path], ["convert", tmp_path]):
        done = lsnctl(router, *words)
        assert done.returncode == 1 and "a file that can be read" in done.stderr, done
    file.write_text("\ufeffrm lsn pool A\nrm lsn pool B\n")
    assert lsnctl(router, "-f", file, "--atomic").stdout == "Done\nDone\n"


def test_each_change_is_logged_with_who_made_it(router):
    lsnctl(router, "add", "lsn", "pool", "X")
    lsnctl(router, "add", "lsn", "pool", "X")
    router.wait_log("refused to root")  # the log has a thread of its own
    log = router.log_file.read_text()
    assert re.search(r"changed by root \(uid 0, process \d+\): add lsn pool X", log), log[-500:]
    assert re.search(r"refused to root \(uid 0, process \d+\): add lsn pool X: pool X: given add", log)


def test_errors_in_json(router):
    done = lsnctl(router, "--json", "show", "lsn", "pool", "NO")
    assert done.returncode == 1
    assert json.loads(done.stdout)["errors"] and done.stderr.startswith("ERROR: ")


def test_who_may_look_changes_nothing(daemon):
    config = daemon.sample()
    config["control"]["viewGroup"] = "nogroup"
    daemon.start(config)
    view = f"{daemon.socket}.view"
    status = os.stat(view)
    assert status.st_mode & 0o777 == 0o660
    assert status.st_gid == grp.getgrnam("nogroup").gr_gid

    def look(*words):
        return subprocess.run([BIN / "lsnctl", "--socket", view, *words], text=True, timeout=20,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert look("show", "lsn", "group").returncode == 0
    assert "this was a dry run" in look("reload", "config", "-dryRun").stdout
    for words in (["add", "lsn", "pool", "X"], ["set", "lsn", "pool", "LSN-POOL-1", "-portrealloctimeout", "1"],
                  ["flush", "lsn", "session"], ["save", "config"], ["reload", "config"],
                  ["flush", "ipsecalg", "session"], ["clear", "counters"],
                  ["rm", "lsn", "group", "LSN-GROUP-1"]):
        done = look(*words)
        assert done.returncode == 1 and "control.group" in done.stderr, done
    done = subprocess.run([BIN / "lsnctl", "--socket", view], input="add lsn pool X\n", text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20)
    assert done.returncode == 1 and "control.group" in done.stderr
    daemon.stop()
    assert not os.path.exists(view)


# The shell ---------------------------------------------------------------------------------------

class Terminal:
    def __init__(self, daemon, home):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(HOME=str(home), TERM="xterm", PAGER="cat")
            os.execv(BIN / "lsnctl", ["lsnctl", "--socket", str(daemon.socket)])
        self.seen = ""

    def type(self, text):
        self.seen = ""
        os.write(self.fd, text.encode())

    def expect(self, pattern, seconds=15):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.seen):
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            assert ready, f"no {pattern!r} in {self.seen!r}"
            try:
                self.seen += os.read(self.fd, 65536).decode(errors="replace")
            except OSError as error:
                raise AssertionError(f"the shell has ended: {self.seen!r}") from error

    def end(self):
        try:
            while os.read(self.fd, 65536):
                pass
        except OSError:
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_the_shell_completes_explains_and_remembers(router, tmp_path):
    shell = Terminal(router, tmp_path)
    shell.expect("lsnd> ")
    shell.type("show lsn gr\t")
    shell.expect("oup ")   # only what changes is drawn
    shell.type("\t\r")
    shell.expect("LSN-GROUP-1")
    shell.type("set lsn pool LSN-POOL-1 ?")
    shell.expect(r"-portrealloctimeout +0-600 s; default 0")
    shell.type("-portreall\t7\r")
    shell.expect("Done")
    assert router.ctl("show", "lsn", "pool")["lsn.pool"][0]["portrealloctimeout"] == 7
    shell.type("bind lsn group LSN-GROUP-1 -poolname ?")
    shell.expect("LSN-POOL-1")
    shell.type("\x15show lsn nonsense\r")
    shell.expect(r"\^\s+.*ERROR: show lsn: given \"nonsense\"")
    shell.type("exit\r")
    assert shell.end() in (0, 1)
    again = Terminal(router, tmp_path)
    again.expect("lsnd> ")
    again.type("\x1b[A\x1b[A\r")   # the one before `exit`
    again.expect("nonsense")
    again.type("exit\r")
    again.end()
    assert (tmp_path / ".lsnctl_history").stat().st_mode & 0o077 == 0


def test_a_stat_repeats_with_rates(lab, router):
    done = subprocess.Popen([BIN / "lsnctl", "--socket", router.socket, "stat", "lsn", "-ntimes", "2",
                             "-interval", "1"], text=True, stdout=subprocess.PIPE)
    time.sleep(0.3)
    ping(lab.c1, S1, 3)
    out, _ = done.communicate(timeout=20)
    assert done.returncode == 0 and "per second" in out and re.search(r"ICMP|icmp", out), out
    for words, complaint in ((["-nt", "0"], "1-1000000"), (["-int", "1"], "without -ntimes"),
                             (["-nt", "2", "-nt", "3"], "twice")):
        done = lsnctl(router, "stat", "lsn", *words)
        assert done.returncode == 1 and complaint in done.stderr, done
    assert lsnctl(router, "stat", "lsn", "-nt", "1").stdout.startswith("protocol")


def test_a_stat_repeats_in_a_file_which_exit_ends(lab, router):
    done = subprocess.Popen([BIN / "lsnctl", "--socket", router.socket], text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    done.stdin.write("stat lsn -ntimes 3 -interval 1\nexit\nnonsense\n")
    done.stdin.close()
    ping(lab.c1, S1, 3)
    time.sleep(1.2)
    assert lsnctl(router, "clear", "counters").returncode == 0
    out = done.stdout.read()
    assert done.wait(20) == 0 and not done.stderr.read(), out
    # What moved is counted from the clearing: nothing has moved backwards.
    assert re.search(r"\nroot \(uid 0, process \d+\) cleared the counters", out), out
    assert not re.search(r"packets +\d+ +-\d", out), out


# NetScaler's files --------------------------------------------------------------------------------

NS_CONF = """\
#NS13.0 Build 92.21
set ns config -IPAddress 10.1.1.5 -netmask 255.255.255.0
enable ns feature LSN
add ns ip 192.0.2.1 255.255.255.0 -vServer DISABLED
add ns ip 198.51.100.1 255.255.255.0 -vServer DISABLED
add route 0.0.0.0 0.0.0.0 198.51.100.10
add lb vserver v1 HTTP 1.2.3.4 80
add lb vserver v2 HTTP 1.2.3.4 81
set lsn parameter -memLimit 512
add ns acl LSN-ACL-2 ALLOW -srcIP = 10.0.2.10-10.0.2.20 -priority 10
add lsn client LSN-CLIENT-2
bind lsn client LSN-CLIENT-2 -aclname LSN-ACL-2
add lsn pool DET -nattype DETERMINISTIC
add lsn static S1 TCP 192.0.2.10 80 203.0.113.3 80
add lsn static S2 TCP 192.0.2.11 80 203.0.113.3 81 -dsttd 0
"""


def test_a_whole_ns_conf_becomes_a_configuration(lab, daemon, tmp_path):
    file = tmp_path / "ns.conf"
    file.write_text(NS_CONF + SAMPLE)
    done = subprocess.run([BIN / "lsnctl", "convert", file], text=True, timeout=20,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, done
    for line, what in ((7, "add lb is left out"), (9, "set lsn parameter is left out"),
                       (10, "-priority is ignored")):
        assert re.search(rf":{line}( and \d+ further lines)?: {what}", done.stderr), done.stderr
    assert "192.0.2.1/24" in done.stdout and "LSN-ACL-2" in done.stdout
    assert 'nattype = "DETERMINISTIC"' in done.stdout and "nattype" not in done.stderr
    assert 'subscrIP = "192.0.2.10"' in done.stdout and "static" not in done.stderr
    code, out = daemon.check(done.stdout, "--elsewhere")
    assert code == 0, out
    # With the laboratory's devices it translates.
    running = re.sub(r'device = "net_tap0[^"]*"', 'device = "net_af_packet0,iface=lsn-in"', done.stdout)
    running = re.sub(r'device = "net_tap1[^"]*"', 'device = "net_af_packet1,iface=lsn-out"', running)
    running += file_tail(daemon)
    daemon.start(running)
    ping(lab.c1, S1, 1)


LOGGING = """\
add ns ip 192.0.2.1 255.255.255.0
add ns ip 10.0.0.1 255.255.255.0 -td 5
add ns ip 198.51.100.1 255.255.255.0
add route 0.0.0.0 0.0.0.0 198.51.100.10
add route 10.9.0.0 255.255.0.0 10.0.0.2 -td 5
add lsn client C
bind lsn client C -network 192.0.2.0 -netmask 255.255.255.0
bind lsn client C -network 10.0.0.0 -netmask 255.255.255.0 -td 5
bind lsn client C -network 10.9.0.0 -netmask 255.255.0.0 -td 5
add lsn pool P
bind lsn pool P 203.0.113.3-203.0.113.9
add lsn logprofile L -logIpfix ENABLED
add lsn group G -clientname C -logging ENABLED -sessionLogging ENABLED
bind lsn group G -poolname P
bind lsn group G -logprofilename L
add lsn client C2
bind lsn client C2 -network 192.0.3.0 -netmask 255.255.255.0
add lsn group G2 -clientname C2 -sessionLogging ENABLED
bind lsn group G2 -poolname P
add lsn static S0 TCP 192.0.2.10 80 203.0.113.3 80 -dsttd 0
add lsn static S5 TCP 10.0.0.10 80 -td 5 203.0.113.3 81 -dsttd 0
add lsn static S6 TCP 10.0.0.11 80 -td 5 203.0.113.3 82 -dsttd 6
"""


def test_a_converted_file_is_whole_with_logging_and_traffic_domains(daemon, tmp_path):
    file = tmp_path / "ns.conf"
    file.write_text(LOGGING)
    done = subprocess.run([BIN / "lsnctl", "convert", file], text=True, timeout=20,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, done
    code, out = daemon.check(done.stdout, "--elsewhere")
    assert code == 0, out
    for what in ("records.file /var/log/lsnd/records is added", "logprofile L: -logIpfix is left out",
                 "group G2: -sessionLogging is left out"):
        assert what in done.stderr and what in done.stdout.split("interfaces")[0], done
    assert 'path = "/var/log/lsnd/records"' in done.stdout
    # Domain 0 is where destinations are; another one is remarked, and the mapping is kept.
    assert [line for line in done.stderr.splitlines() if "-dsttd" in line] == \
        [f"{file}:22: -dsttd is ignored: destinations are outside, which is in traffic domain 0"]
    for name, td in (("S0", ""), ("S5", "td = 5;"), ("S6", "td = 5;")):
        static = done.stdout.split(f'name = "{name}"')[1].split("}")[0]
        assert td in static and ("td" in static) == bool(td), static
    assert '"10.0.0.0/24 td 5"' in done.stdout and '"10.9.0.0/16 td 5"' in done.stdout
    assert done.stdout.count("td = 5;") == 4, "an interface, a route and two mappings"


def test_offline_tools_say_what_was_given_and_what_is_allowed(daemon, tmp_path):
    config = tmp_path / "lsnd.conf"
    config.write_text(file_text(daemon.sample()))
    capture, other = tmp_path / "empty.pcap", tmp_path / "other"
    capture.write_bytes(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
    other.write_text("no capture")
    replay = [BIN / "lsnd", "--config", config, "--replay"]
    for words, error in (
            ([BIN / "lsnctl", "deterministic"],
             "FILE: given nothing, allowed the path of a configuration file"),
            ([BIN / "lsnctl", "convert", tmp_path / "no"], "allowed a file that can be read"),
            ([BIN / "lsnctl", "find", "-natIP", "203.0.113.3", "-at", "5", "-protocol", "X"],
             'given "X", allowed TCP, UDP, ICMP or ESP'),
            ([BIN / "lsnctl", "find", "-natIP", "203.0.113.3", "-at", "5", tmp_path / "no"],
             "no: given what is no segment, allowed a segment or the path of a sink"),
            ([*replay, tmp_path / "no"],
             f"replay: {tmp_path}/no: given No such file or directory, allowed a capture file"),
            ([*replay, other], "other: given unknown file format, allowed a capture file"),
            ([*replay, capture, "--outside", tmp_path],
             "given Is a directory, allowed a file that can be written"),
            ([*replay, capture, "--outside", capture],
             "allowed another file than the capture that is replayed"),
            ([*replay, capture, "--outside", other, "--inside", other],
             "allowed another file than that of --outside")):
        done = subprocess.run(list(map(str, words)), text=True, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == 1 and error in done.stderr, done
        assert done.stderr.count("\n") == 1, done
    assert len(capture.read_bytes()) == 24


def file_tail(daemon):
    eal = ", ".join(f'"{option}"' for option in daemon.sample()["dataplane"]["eal"])
    return (f'control: {{ socket = "{daemon.socket}"; }};\n'
            f'dataplane: {{ maxSessions = 65536; stateFile = ""; eal = [ {eal} ]; }};\n')
