"""From start to exit code: options, bad files, signals, sudden death."""

import re
import signal
import subprocess
import time

from daemon import BIN
from lab import S1, S2, ping, udp_exchange, wait_until
from realhosts import iperf_server, iperf_start


def run(*argv):
    return subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, text=True, timeout=30,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_version_and_help(daemon):
    for program in ("lsnd", "lsnctl"):
        done = run(BIN / program, "--version")
        assert done.returncode == 0 and re.search(r"\d+\.\d+\.\d+", done.stdout), done
        done = run(BIN / program, "--help")
        assert done.returncode == 0 and "--" in done.stdout


def test_check_of_a_good_file_says_what_would_run(daemon):
    code, out = daemon.check(daemon.sample())
    assert code == 0, out
    for name in ("LSN-CLIENT-1", "LSN-POOL-1", "LSN-GROUP-1"):
        assert name in out
    assert "RFC 6888" in out or "RFC 4787" in out, "defaults that deviate are listed"


def test_check_names_a_pool_smaller_than_the_workers(daemon):
    config = daemon.sample()
    config["dataplane"]["workers"] = [0, 1]
    config["lsn"]["pool"][0]["lsnip"] = ["203.0.113.3"]
    code, out = daemon.check(config)
    assert code == 0 and re.search("worker", out), out


def test_check_says_what_this_machine_has_not_and_what_is_needed_of_another(daemon):
    config = daemon.sample()
    config["dataplane"]["workers"] = [0, 1023]
    config["interfaces"][1]["device"] = "net_af_packet1,iface=not-there"
    config["dataplane"]["eal"] = ["--no-huge", "-m", "8"]
    config["routes"] = []
    config["lsn"]["client"][0]["network"] = ["10.9.0.0/16"]
    code, out = daemon.check(config)
    assert code == 2, out
    lines = [line for line in out.splitlines() if str(daemon.file) in line]
    assert len(lines) == 4, out
    for what in (r"CPU 1023", r"kernel interface not-there", r"given -m 8, allowed \d+ MB at least",
                 r"network: given 10\.9\.0\.0/16"):
        assert re.search(what, out), out
    config["dataplane"]["eal"] = ["--no-huge"]
    config["lsn"]["client"][0]["network"] = ["192.0.2.0/24"]
    code, out = daemon.check(config, "--elsewhere")
    assert code == 0 and re.search(r"huge pages: \d+ MB, which is \d+ pages of 2 MB", out), out


def bad_file(daemon):
    """Several mistakes in several lines, to be reported together."""
    config = daemon.sample()
    config["interfaces"][0]["address"] = "192.0.2.1/99"
    config["interfaces"][1]["rolle"] = "outside"
    config["lsn"]["pool"][0]["lsnip"] = ["203.0.113.9-203.0.113.3"]
    config["lsn"]["group"][0]["poolname"] = ["LSN-POOL-2"]
    config["ipsecalg"]["profile"][0]["espGateTimeout"] = 2
    return config


def test_check_of_a_bad_file_reports_all_problems_with_their_lines(daemon):
    code, out = daemon.check(bad_file(daemon))
    assert code == 2, out
    lines = daemon.file.read_text().splitlines()
    problems = re.findall(rf"^.*{re.escape(str(daemon.file))}:(\d+)(.*)$", out, re.M)
    assert len(problems) >= 5, out
    for what in ("192.0.2.1/99", "rolle", "203.0.113.9-203.0.113.3", "LSN-POOL-2",
                 "espGateTimeout"):
        assert any(what in lines[int(n) - 1] for n, _ in problems), f"{what} has no line: {out}"
    assert "role" in out and "3-1200" in out


def test_a_syntax_error_is_reported_with_its_line(daemon):
    code, out = daemon.check("dataplane: {\n  workers = [ 1 ]\n  oops\n};\n")
    assert code == 2 and re.search(rf"{re.escape(str(daemon.file))}:[234]", out), out


def test_lsnd_does_not_start_with_a_bad_file(daemon):
    daemon.start(bad_file(daemon), wait=False)
    assert daemon.wait() == 2
    daemon.expect_exit = 2
    assert len(re.findall(rf"{re.escape(str(daemon.file))}:\d+", daemon.log())) >= 5


def test_lsnd_says_which_device_it_cannot_have(daemon):
    config = daemon.sample()
    config["interfaces"][1]["device"] = "net_af_packet1,iface=nosuch0"
    daemon.start(config, wait=False)
    assert daemon.wait() == 1
    daemon.expect_exit = 1
    assert "outside" in daemon.log() or "net_af_packet1" in daemon.log()


def test_sigterm_under_traffic_stops_promptly_and_cleanly(lab, router):
    iperf_server(lab.s2)
    iperf_start(lab.c1, S2, "-P", "3", seconds=10)
    iperf_start(lab.c2, S2, "-u", "-b", "50M", seconds=10)
    time.sleep(1.5)
    start = time.monotonic()
    router.signal(signal.SIGTERM)
    assert router.wait(10) == 0
    assert time.monotonic() - start < 5
    assert not router.socket.exists()


def test_sigint_stops_as_well(lab, router):
    router.signal(signal.SIGINT)
    assert router.wait(10) == 0


def test_killed_and_started_again(lab, router):
    server, client = lab.s1.udp(9), lab.c1.udp()
    udp_exchange(client, server, (S1, 9))
    for _ in range(2):
        router.kill()
        assert router.socket.exists(), "nobody could clean up"
        router.start()
        udp_exchange(client, server, (S1, 9), tries=3)
        ping(lab.c2, S2)


def test_stopped_and_started_again_in_a_row(lab, daemon):
    for _ in range(3):
        daemon.start()
        ping(lab.c1, S1, 1)
        daemon.stop()


def test_a_second_lsnd_does_not_take_the_socket_of_a_living_one(lab, router):
    done = subprocess.run(lab.router.argv(BIN / "lsnd", "--config", router.file), text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60)
    assert done.returncode == 1, done.stdout
    router.ctl("stat", "lsn")
    ping(lab.c1, S1)


def test_sessions_end_by_their_timeout(lab, daemon):
    """UDP sessions idle for the shortest configurable time are gone; one with traffic is not."""
    config = daemon.sample()
    config["lsn"]["transportprofile"] = [
        {"name": "U", "transportprotocol": "UDP", "sessiontimeout": 60}]
    config["lsn"]["group"][0]["transportprofilename"] = ["U"]
    daemon.start(config)
    server = lab.s1.udp(9)
    busy = lab.c1.udp()
    for client in lab.clients:
        udp_exchange(client.udp(), server, (S1, 9))
    outside = udp_exchange(busy, server, (S1, 9))
    assert len(daemon.sessions()) == 4

    def only_the_busy_one():
        assert udp_exchange(busy, server, (S1, 9)) == outside
        time.sleep(2)
        return len(daemon.sessions()) == 1
    wait_until("three sessions expire", only_the_busy_one, 75)
