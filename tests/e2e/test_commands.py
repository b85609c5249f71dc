"""lsnctl: what it prints for people and for programs, filters, errors."""

import json
import os
import socket
import stat
import subprocess

import pytest

from daemon import BIN
from lab import S1, S2, client_address, ping, udp_exchange


@pytest.fixture
def busy(lab, router):
    """UDP sessions of two subscribers to two servers, one TCP session, one ICMP session."""
    servers = {S1: lab.s1.udp(9), S2: lab.s2.udp(9)}
    router.nat = {}
    for client, n in ((lab.c1, 1), (lab.c2, 2)):
        for address, server in servers.items():
            s = client.udp()
            router.nat[(n, address)] = udp_exchange(s, server, (address, 9))
    router.listener = lab.s1.tcp_server(80)
    router.tcp = lab.c3.tcp_client(S1, 80)
    ping(lab.c3, S2, 1)
    return router


COMMANDS = ["show lsn session", "stat lsn", "stat interface", "stat worker", "show drops",
            "stat records", "show alert", "show running config"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_speaks_to_people_and_to_programs(busy, command):
    words = command.split()
    assert busy.table(*words).strip()
    document = busy.ctl(*words)
    assert isinstance(document, dict) and document


def test_the_session_table_has_all_its_columns(busy):
    sessions = busy.sessions()
    assert len(sessions) == 6
    by_protocol = {}
    for s in sessions:
        by_protocol.setdefault(s["protocol"], []).append(s)
    assert {p: len(l) for p, l in by_protocol.items()} == {"UDP": 4, "TCP": 1, "ICMP": 1}
    for s in by_protocol["UDP"]:
        n = 1 if s["subscriber"].startswith(client_address(1) + ":") else 2
        destination = s["destination"].split(":")[0]
        assert s["nat"] == "%s:%d" % busy.nat[(n, destination)]
    table = busy.table("show", "lsn", "session")
    for s in sessions:
        for column in ("subscriber", "nat", "destination"):
            assert s[column] in table


@pytest.mark.parametrize("options, count", [
    ("-clientname LSN-CLIENT-1", 6), ("-network 192.0.2.11", 2),
    ("-network 192.0.2.0 -netmask 255.255.255.0", 6),
    ("-network 192.0.2.12 -netmask 255.255.255.254", 4), ("-network 192.0.2.99", 0)])
def test_filters_of_the_session_table(busy, options, count):
    assert len(busy.sessions(*options.split())) == count


def test_filters_by_nat_address_and_port(busy):
    address, port = busy.nat[(1, S1)]
    found = busy.sessions("-natIP", address, "-natPort", str(port))
    assert [s["nat"] for s in found if s["protocol"] == "UDP"] == [f"{address}:{port}"]
    everything = busy.sessions()
    assert len(busy.sessions("-natIP", address)) == \
        sum(s["nat"].startswith(address + ":") for s in everything)


def test_flush_ends_what_its_filter_says(lab, busy):
    assert "Done" in busy.table("flush", "lsn", "session", "-network", "192.0.2.11")
    assert len(busy.sessions()) == 4
    assert len(busy.sessions("-network", "192.0.2.11")) == 0
    assert "Done" in busy.table("flush", "lsn", "session")
    assert busy.sessions() == []
    udp_exchange(lab.c1.udp(), lab.s1.udp(10), (S1, 10))
    assert len(busy.sessions()) == 1


@pytest.mark.parametrize("command", [
    "show lsn sessions", "stat nothing", "frobnicate", "show lsn session -natIP 300.1.1.1",
    "show lsn session -clientname NO-SUCH-CLIENT", "show lsn session -natPort 65536",
    "flush lsn session -network"])
def test_errors_are_one_line_and_exit_code_1(router, command):
    error = router.fails(*command.split())
    assert len(error.strip().splitlines()) == 1 and error.startswith("ERROR:"), error


def test_what_published_examples_contain_is_understood(router):
    for command in ("SHOW LSN Session", "show  lsn   session", "show lsn session –natIP 203.0.113.3",
                    "show lsn session - natIP 203.0.113.3"):
        router.table(*command.split(" "))


def test_lsnctl_without_a_daemon_says_so(daemon):
    error = daemon.fails("stat", "lsn")
    assert str(daemon.socket) in error


def test_counters_count_what_was_sent(lab, router):
    ping(lab.c1, S1, 1)
    server, client = lab.s1.udp(9), lab.c1.udp()
    before = json.dumps(router.ctl("stat", "interface"))
    for _ in range(50):
        udp_exchange(client, server, (S1, 9))
    after = router.ctl("stat", "interface")
    by_name = {i["name"]: i for i in after["interfaces"]}
    assert by_name["inside"]["rx_packets"] >= 50 and by_name["outside"]["rx_packets"] >= 50
    assert json.dumps(after) != before


def test_the_running_configuration_is_a_file_that_gives_the_same(lab, router):
    text = router.table("show", "running", "config")
    code, out = router.check(text)
    assert code == 0, out
    router.write(text)
    assert "Done" in router.table("reload", "config")
    assert router.table("show", "running", "config") == text


def test_the_socket_belongs_to_the_service(router):
    assert stat.S_IMODE(os.stat(router.socket).st_mode) == 0o660


def test_a_hostile_client_delays_nobody(lab, router):
    """Endless lines, silence, garbage and hang-ups on the command socket."""
    hostile = []
    for data in (b"x" * 300_000, b"", os.urandom(4000), b"show lsn session", b"\n" * 1000):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(1)
        s.connect(str(router.socket))
        try:
            s.sendall(data)
        except OSError:
            pass
        hostile.append(s)
    router.ctl("stat", "lsn")
    ping(lab.c1, S1, 3)
    for s in hostile:
        s.close()
    router.ctl("stat", "lsn")


def test_many_clients_at_once(router):
    clients = [subprocess.Popen([BIN / "lsnctl", "--socket", router.socket, "stat", "lsn"],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
               for _ in range(24)]
    assert [client.wait(20) for client in clients] == [0] * 24


def test_thousands_of_sessions_are_listed_whole(lab, router):
    """The table is paged: every session is there once, while new ones are made."""
    server = lab.s1.udp(9)
    for n in range(3000):
        s = lab.clients[n % 3].udp()
        s.sendto(b"x", (S1, 9))
        s.close()
        lab.clients[n % 3].sockets.remove(s)
        if n % 50 == 49:
            server.recvfrom(10)
            udp_exchange(lab.c1.udp(), lab.s2.udp(9 + n), (S2, 9 + n))
    sessions = router.sessions()
    keys = {(s["protocol"], s["nat"], s["destination"]) for s in sessions}
    assert len(keys) == len(sessions) and len(sessions) > 2800
    assert len(router.table("show", "lsn", "session").splitlines()) >= len(sessions)
