"""start capture: packets with what became of them, in a pcapng file that tshark and lsnd --replay
read."""

import re
import socket
import subprocess
import time

import pytest
from daemon import BIN
from lab import S1, S2, client_address, ping, udp_exchange, wait_until
from netns import require, sh
from test_ipsec import Scene

C1, C2 = client_address(1), client_address(2)
POOL = "203.0.113."


@pytest.fixture
def box(daemon, tmp_path):
    """lsnd with a directory for captures, not started."""
    require("tshark")

    def start(**control):
        config = daemon.sample()
        config["control"].update(captureDirectory=str(tmp_path / "captures"), **control)
        return daemon.start(config)
    daemon.captures = tmp_path / "captures"
    daemon.begin = start
    return daemon


class Row:
    def __init__(self, fields):
        (self.time, self.interface, self.direction, self.src, self.dst, self.protocol, self.length,
         self.comment) = fields

    def __repr__(self):
        return f"{self.interface} {self.direction} {self.src} > {self.dst}: {self.comment}"


def rows(path):
    """The packets of a capture, as tshark reads them."""
    fields = ("frame.time_epoch", "frame.interface_name", "frame.packet_flags_direction", "ip.src",
              "ip.dst", "_ws.col.Protocol", "frame.len", "frame.comment")
    done = subprocess.run(["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "separator=|",
                           "-E", "occurrence=f", *(w for f in fields for w in ("-e", f))],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [Row(line.split("|")) for line in done.stdout.splitlines()]


def exchanges(lab, port=4000, count=1, to=(S1, 9)):
    server, client = lab.s1.udp(to[1], to[0]), lab.c1.udp(port, C1)
    for _ in range(count):
        seen = udp_exchange(client, server, to, tries=5)
    return client, server, seen


def test_both_sides_with_verdict_and_session(box, lab):
    box.begin()
    client, server, (nat, nat_port) = exchanges(lab)
    before = time.time()
    said = box.table("start", "capture", "a.pcapng", "-subscrIP", C1)
    assert said == f"{box.captures}/a.pcapng: at most 100000 packets, 300 s\nDone\n"
    udp_exchange(client, server, (S1, 9))
    other = lab.c2.udp(4000, C2)
    udp_exchange(other, server, (S1, 9), tries=5)
    shown = box.ctl("show", "capture")["capture"]
    assert shown["state"] == "RUNNING" and shown["command"].startswith("start capture a.pcapng")
    done = box.ctl("stop", "capture")
    assert (done["written"], done["lost"], done["ended_by"]) == (4, 0, "stop capture")
    assert done["seen"] >= 4
    got = rows(box.captures / "a.pcapng")
    whom = f"subscriber {C1}:4000, NAT {nat}:{nat_port}, remote {S1}:9 UDP"
    assert [r.comment for r in got] == [f"forwarded: {whom}"] * 4
    assert [(r.interface, r.src, r.dst) for r in got] == [
        ("inside", C1, S1), ("outside", nat, S1), ("outside", S1, nat), ("inside", S1, C1)]
    assert [int(r.direction, 0) for r in got] == [1, 2, 1, 2]
    for row in got:
        assert before - 1 < float(row.time) < time.time() + 1
    assert box.ctl("show", "capture")["capture"]["state"] == "ENDED"


def test_only_drops_with_their_reasons(box, lab):
    box.begin()
    exchanges(lab)
    box.table("start", "capture", "drops.pcapng", "-dropped")
    box.fails("start", "capture", "another.pcapng")
    lab.s1.udp(77, S1).sendto(b"scan", (POOL + "5", 3333))
    lab.c1.run("ping", "-n", "-c", "1", "-W", "1", "-t", "1", S1, check=False)
    exchanges(lab, port=4001, to=(S1, 10))
    wait_until("both drops", lambda: box.ctl("show", "capture")["capture"]["written"] >= 2)
    said = box.table("stop", "capture")
    assert re.match(rf"{box.captures}/drops.pcapng: \d+ packets written; \d+ frames seen in \d+ s\n"
                    "Done\n", said), said
    comments = [r.comment for r in rows(box.captures / "drops.pcapng")]
    assert any(c.startswith("dropped, no_mapping: ") and f"NAT {POOL}5:3333, remote {S1}:77 UDP" in c
               for c in comments), comments
    assert any(c.startswith("dropped, ttl_expired: ") and f"subscriber {C1}" in c
               for c in comments), comments
    assert all(c.startswith("dropped, ") for c in comments), comments
    # One reason.
    box.table("start", "capture", "one.pcapng", "-dropped", "ttl_expired")
    lab.s1.udp(78, S1).sendto(b"scan", (POOL + "5", 3333))
    lab.c1.run("ping", "-n", "-c", "1", "-W", "1", "-t", "1", S1, check=False)
    wait_until("the drop", lambda: box.ctl("show", "capture")["capture"]["written"] >= 1)
    box.ctl("stop", "capture")
    assert {r.comment.split(":")[0] for r in rows(box.captures / "one.pcapng")} == {
        "dropped, ttl_expired"}


def test_max_and_seconds_end_it(box, lab):
    box.begin()
    client, server, _ = exchanges(lab)
    box.table("start", "capture", "max.pcapng", "-max", "3", "-protocol", "UDP")
    for _ in range(3):
        udp_exchange(client, server, (S1, 9))
    wait_until("its end", lambda: box.ctl("show", "capture")["capture"]["state"] == "ENDED")
    assert box.ctl("show", "capture")["capture"]["ended_by"] == "-max"
    assert len(rows(box.captures / "max.pcapng")) == 3
    assert "no capture runs" in box.fails("stop", "capture")
    box.table("start", "capture", "seconds.pcapng", "-seconds", "1", "-natIP", POOL + "77")
    udp_exchange(client, server, (S1, 9))
    wait_until("its end", lambda: box.ctl("show", "capture")["capture"]["state"] == "ENDED")
    assert box.ctl("show", "capture")["capture"]["ended_by"] == "-seconds"
    assert rows(box.captures / "seconds.pcapng") == []
    box.wait_log(["seconds.pcapng", "0 packets written", "ended by -seconds"])


def test_icmp_fragments_and_hairpin(box, lab):
    config = box.sample()
    config["control"]["captureDirectory"] = str(box.captures)
    config["lsn"]["appsprofile"].append(
        {"name": "EIM", "transportprotocol": "UDP", "lsnport": ["4000-6000"],
         "mapping": "ENDPOINT-INDEPENDENT", "filtering": "ENDPOINT-INDEPENDENT"})
    config["lsn"]["group"][0]["appsprofilename"].append("EIM")
    box.start(config)
    ping(lab.c1, S1, 1)
    box.table("start", "capture", "mix.pcapng")
    # An error about the subscriber's packet: nobody listens there.
    lab.c1.udp(4100, C1).sendto(b"x", (S1, 5999))
    ping(lab.c1, S1, 1, 3000)
    # Two subscribers by their NAT addresses.
    bob, server = lab.c2.udp(5001, C2), lab.s1.udp(5002, S1)
    bob_nat = udp_exchange(bob, server, (S1, 5002), tries=5)
    lab.c1.udp(5003, C1).sendto(b"hello", bob_nat)
    bob.recvfrom(100)
    box.ctl("stop", "capture")
    comments = [r.comment for r in rows(box.captures / "mix.pcapng")]

    def some(*words):
        return any(all(w in c for w in words) for c in comments)
    assert some("forwarded: ICMP error about subscriber", f"{C1}:4100", f"remote {S1}:5999 UDP"), \
        comments
    assert some("ICMP fragment"), comments
    assert some("forwarded", f"subscriber {C1}:5003", f"remote {bob_nat[0]}:{bob_nat[1]}",
                f"its subscriber {C2}:5001"), comments


def test_esp_of_one_spi(box, lab):
    box.begin()
    scene = Scene(lab)
    try:
        clients = [scene.client(), scene.client()]
        scene.begin(interval=0.2)
        scene.wait_all_up()
        session = wait_until("both SPIs", lambda: next(
            (s for s in box.ctl("show", "ipsecalg", "session")["sessions"]
             if s["source_ip"] == clients[0].address and s["spi_in"]), None))
        box.table("start", "capture", "esp.pcapng", "-esp", session["spi_in"])
        wait_until("ESP", lambda: box.ctl("show", "capture")["capture"]["written"] >= 4)
        box.ctl("stop", "capture")
    finally:
        scene.close()
    got = rows(box.captures / "esp.pcapng")
    assert got and all(f"subscriber {clients[0].address}, NAT " in r.comment and
                       r.comment.endswith(f"ESP SPI {session['spi_in']}") for r in got), got
    assert {r.interface for r in got} == {"inside", "outside"}


def test_file_errors_are_said_in_a_line(box, lab, tmp_path):
    box.begin()
    box.captures.mkdir(mode=0o700)
    (box.captures / "there.pcapng").write_text("mine")
    assert "which exists, allowed a new file" in box.fails("start", "capture", "there.pcapng")
    assert (box.captures / "there.pcapng").read_text() == "mine"
    for name in ("../up.pcapng", "/tmp/up.pcapng", ".hidden"):
        assert "control.captureDirectory" in box.fails("start", "capture", name)
    assert "-dropped: given \"no_maping\", allowed one of " in box.fails("start", "capture", "a",
                                                                         "-dropped", "no_maping")
    assert not (tmp_path / "up.pcapng").exists()


def test_a_full_disk_ends_it(box, lab):
    box.captures.mkdir()
    sh("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(box.captures))
    try:
        box.begin()
        client, server, _ = exchanges(lab)
        box.table("start", "capture", "a.pcapng")
        for _ in range(60):
            udp_exchange(client, server, (S1, 9), payload=b"x" * 1200)
        shown = wait_until("its end", lambda: next(
            (c for c in [box.ctl("show", "capture")["capture"]] if c["state"] == "FAILED"), None))
        assert "No space left on device" in shown["ended_by"] and shown["lost"] > 0
        assert len(rows(box.captures / "a.pcapng")) == shown["written"]
        box.wait_log(["error", "a.pcapng", "No space left on device"])
        udp_exchange(client, server, (S1, 9))
        box.stop()
    finally:
        sh("umount", str(box.captures))


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_file_is_good_whatever_ends_lsnd(box, lab, how):
    box.begin()
    client, server, _ = exchanges(lab)
    box.table("start", "capture", "a.pcapng")
    for _ in range(5):
        udp_exchange(client, server, (S1, 9))
    wait_until("packets", lambda: box.ctl("show", "capture")["capture"]["written"] >= 20)
    if how == "killed":
        box.kill()
    else:
        box.stop()
    assert len(rows(box.captures / "a.pcapng")) >= 20
    if how == "killed":
        box.socket.unlink(missing_ok=True)
    box.start((box.sample() | {"control": {"socket": str(box.socket),
                                           "captureDirectory": str(box.captures)}}))
    assert box.table("show", "capture") == "no capture since lsnd began\n"
    box.fails("start", "capture", "a.pcapng")
    box.ctl("start", "capture", "b.pcapng")


def test_two_workers_write_one_file(box, lab):
    config = box.sample()
    config["dataplane"].update(workers=[0, 1], powerSave=True)
    config["control"]["captureDirectory"] = str(box.captures)
    box.start(config)
    server = lab.s1.udp(9, S1)
    sockets = [(host, host.udp(4000 + p, client_address(n + 1)))
               for n, host in enumerate(lab.clients) for p in range(4)]
    for _, client in sockets:
        udp_exchange(client, server, (S1, 9), tries=5)
    box.table("start", "capture", "two.pcapng", "-destIP", S1)
    for _, client in sockets:
        udp_exchange(client, server, (S1, 9))
    done = box.ctl("stop", "capture")
    got = [r for r in rows(box.captures / "two.pcapng") if r.protocol != "ARP"]
    assert done["written"] == len(got) == 4 * len(sockets)
    assert all(r.comment.startswith("forwarded: subscriber 192.0.2.") for r in got), got


def test_users_who_only_look_may_not_start_one(box, lab):
    box.begin(viewGroup="nogroup")
    done = subprocess.run([BIN / "lsnctl", "--socket", f"{box.socket}.view", "start", "capture",
                           "a"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=20)
    assert done.returncode == 1 and "changes are for control.group" in done.stderr
    done = subprocess.run([BIN / "lsnctl", "--socket", f"{box.socket}.view", "show", "capture"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=20)
    assert done.returncode == 0 and "no capture" in done.stdout


def test_a_capture_is_replayed(box, lab):
    box.begin()
    ping(lab.c1, S1, 1)
    box.table("start", "capture", "a.pcapng")
    exchanges(lab, count=3)
    lab.c1.run("curl", "-s", "-m", "1", f"http://{S1}:81/", check=False)
    lab.s2.udp(77, S2).sendto(b"scan", (POOL + "5", 3333))
    wait_until("the scan", lambda: box.drops().get("no_mapping", 0) >= 1)
    box.ctl("stop", "capture")
    outside, inside = box.directory / "out.pcap", box.directory / "in.pcap"
    done = subprocess.run([BIN / "lsnd", "--config", box.file, "--replay",
                           box.captures / "a.pcapng", "--outside", outside, "--inside", inside],
                          text=True, timeout=60, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    fates = [line for line in lines if re.match(r"\d+ [0-9.]+ ", line)]
    forwarded_out = [f for f in fates if f"{C1}:4000 > {S1}:9 UDP" in f]
    assert len(forwarded_out) == 3 and all("from inside: forwarded" in f for f in forwarded_out), \
        done.stdout
    answers = [f for f in fates if "from outside: forwarded" in f and f"{S1}:9 > " in f]
    assert len(answers) == 3, done.stdout
    assert sum("not replayed: it is replayed as it left inside" in f for f in fates) >= 3
    drops = [f for f in fates if "dropped," in f]
    assert len(drops) == 1 and "no_mapping" in drops[0], done.stdout
