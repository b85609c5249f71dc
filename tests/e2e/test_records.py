"""Records of a real lsnd: every session once, begun and ended; what a kill, a full disk and a
rotation leave; and whose an address was (lsnctl find).

Records is a reader of its own: it shares nothing with the program but docs/records.md."""

import datetime
import json
import pathlib
import re
import subprocess
import time

from lab import S1, client_address, udp_exchange, wait_until

LINE = re.compile(r"(?P<time>\S+Z) (?P<node>\S+) (?P<worker>w\d+|-) (?P<record>[A-Z]+) "
                  r"(?P<event>\S+)(?P<rest>.*)")


def fields(rest):
    return {k: v.strip('"') for k, v in re.findall(r' (\w+)=("[^"]*"|\S+)', rest)}


class Records:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)

    def segments(self):
        return sorted(p for p in self.directory.iterdir() if p.suffix not in (".idx", ".tmp"))

    def text(self, segment):
        if segment.suffix == ".zst":
            return subprocess.run(["zstdcat", str(segment)], check=True,
                                  stdout=subprocess.PIPE).stdout.decode()
        # A reader may come between the pages of a write(): then the rest is there a moment later.
        for _ in range(20):
            text = segment.read_text()
            if text == "" or text.endswith("\n"):
                break
            time.sleep(0.05)
        return text

    def all(self):
        """Every record as a dictionary; a line that is not whole fails."""
        found = []
        for segment in self.segments():
            text = self.text(segment)
            assert text == "" or text.endswith("\n"), f"{segment}: its last line is not whole"
            for line in text.splitlines():
                if line.startswith("{"):
                    found.append(json.loads(line))
                    continue
                match = LINE.fullmatch(line)
                assert match, f"{segment}: {line}"
                one = dict(match.groupdict(), line=line)
                one.update(fields(one.pop("rest")))
                found.append(one)
        return found

    def of(self, kind, event=None):
        return [r for r in self.all()
                if r["record"] == kind and event in (None, r.get("event"))]


def endpoint(record):
    return tuple(str(record[k]) for k in ("protocol", "subscrIP", "subscrPort", "natIP", "natPort",
                                          "destIP", "destPort"))


def logging(daemon, **sink):
    """The sample with records of sessions into the test's directory."""
    config = daemon.sample()
    config["lsn"]["group"][0]["logging"] = "ENABLED"
    config["lsn"]["group"][0]["sessionLogging"] = "ENABLED"
    directory = daemon.directory / "records"
    config["records"] = {"node": "box1", "file": {"path": str(directory / "r"), **sink}}
    return config, Records(directory)


def test_every_session_is_begun_and_ended_once(lab, daemon):
    config, records = logging(daemon)
    daemon.start(config)
    for n in range(20):
        lab.c1.run("ping", "-c1", "-W2", "-q", S1)
    sessions = daemon.sessions()
    assert len(sessions) == 20, sessions
    assert daemon.ctl("flush", "lsn", "session")
    wait_until("all ends are there", lambda: len(records.of("SESSION", "deleted")) == 20, 10)
    daemon.stop()
    begun = [endpoint(r) for r in records.of("SESSION", "created")]
    ended = records.of("SESSION", "deleted")
    assert sorted(begun) == sorted(map(endpoint, ended)) and len(set(begun)) == 20
    # What the daemon showed is what the records say.
    assert {s["nat"] for s in sessions} == {f"{b[3]}:{b[4]}" for b in begun}
    for record in ended:
        assert record["reason"] == "flush" and record["packetsOut"] == "1"
        assert record["packetsIn"] == "1" and record["node"] == "box1"
    assert len(records.of("MAPPING", "created")) == len(records.of("MAPPING", "deleted")) == 20
    assert [r["event"] for r in records.of("CONFIG") if r["event"] != "changed"] == \
        ["started", "stopped"]
    stat = records.all()
    by_kind = {}
    for record in stat:
        if record["worker"] != "-":
            by_kind.setdefault((record["worker"], record["record"]), []).append(int(record["seq"]))
    assert all(numbers == list(range(len(numbers))) for numbers in by_kind.values()), by_kind


def test_fifty_thousand_sessions_are_all_there(lab, daemon):
    """As many as the daemon has created, each begun once and ended once, while segments change."""
    config, records = logging(daemon, rotateSize=4, compress="zstd")
    daemon.start(config)
    client = lab.c1.udp()
    for port in range(1, 50001):
        client.sendto(b"x", (S1, port))
        if port % 100 == 0:
            time.sleep(0.02)
    created = wait_until(
        "all have come", lambda: (n := created_of(daemon, "UDP")) and
        time.sleep(0.5) is None and n == created_of(daemon, "UDP") and n, 20)
    assert created > 10000, created
    assert daemon.ctl("flush", "lsn", "session")
    wait_until("all ends are written", lambda: written(daemon, "SESSION") >= 2 * created, 20)
    daemon.stop()
    begun = [endpoint(r) for r in records.of("SESSION", "created")]
    ended = [endpoint(r) for r in records.of("SESSION", "deleted")]
    assert len(begun) == len(set(begun)) == created
    assert sorted(begun) == sorted(ended)
    assert len(records.segments()) > 3 and not records.of("LOST")


def created_of(daemon, protocol):
    return next(p["created"] for p in daemon.ctl("stat", "lsn")["protocols"]
                if p["protocol"] == protocol)


def written(daemon, kind):
    """Records of a kind that the log thread has taken, when the sink has them all."""
    stat = daemon.ctl("stat", "records")
    return 0 if stat["sinks"][0]["waiting"] else \
        next(r["taken"] for r in stat["records"] if r["record"] == kind)


def test_stat_records_says_what_was_written(lab, daemon):
    config, _ = logging(daemon)
    daemon.start(config)
    lab.c1.run("ping", "-c1", "-W2", "-q", S1)

    def written():
        stat = daemon.ctl("stat", "records")
        taken = {r["record"]: r["taken"] for r in stat["records"]}
        return taken["SESSION"] == 1 and stat["sinks"][0]["written"] >= 4 and stat
    stat = wait_until("the records are written", written, 10)
    assert all(r["lost"] == 0 for r in stat["records"]) and not stat["sinks"][0]["stalled"]
    assert "takes" not in daemon.table("stat", "records")


def test_a_kill_leaves_whole_lines_and_the_next_lsnd_goes_on(lab, daemon):
    config, records = logging(daemon)
    daemon.start(config)
    lab.c1.run("ping", "-c1", "-W2", "-q", S1)
    wait_until("the session is recorded", lambda: records.of("SESSION"), 10)
    daemon.kill()
    segment, = records.segments()
    whole = segment.read_text()
    segment.write_text(whole + "2026-12-01T00:00:00.000Z box1 w0 SESS")
    daemon.start(config)
    lab.c1.run("ping", "-c1", "-W2", "-q", S1)
    wait_until("the second one, too", lambda: len(records.of("SESSION")) == 2, 10)
    daemon.stop()
    assert records.segments() == [segment] and segment.read_text().startswith(whole)
    assert [r["event"] for r in records.of("CONFIG") if r["event"] != "changed"] == \
        ["started", "started", "stopped"]


def test_a_full_disk_is_counted_and_over_when_there_is_room(lab, daemon):
    config, records = logging(daemon)
    records.directory.mkdir()
    lab_mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(records.directory)]
    subprocess.run(lab_mount, check=True)
    try:
        ballast = records.directory / "ballast.tmp"
        daemon.start(config)
        wait_until("the stream begins", lambda: records.of("CONFIG"), 10)
        try:
            ballast.write_bytes(b"x" * (1 << 20))
        except OSError:
            pass
        for _ in range(40):
            lab.c1.run("ping", "-c1", "-W2", "-q", S1)
        wait_until("it takes nothing",
                   lambda: daemon.ctl("stat", "records")["sinks"][0]["stalled"], 15)
        daemon.wait_log(["records:", "No space left"])
        ballast.unlink()
        wait_until("all is written", lambda: len(records.of("SESSION", "created")) == 40, 15)
        assert not daemon.ctl("stat", "records")["sinks"][0]["stalled"]
        daemon.stop()
        assert len(records.of("SESSION", "created")) == 40
    finally:
        daemon.stop()
        subprocess.run(["umount", str(records.directory)], check=True)


def test_rotation_and_compression_lose_no_record(lab, daemon):
    config, records = logging(daemon, rotateTime=10, compress="zstd", format="json")
    daemon.start(config)
    begin = time.monotonic()
    count = 0
    while time.monotonic() < begin + 23:
        lab.c1.run("ping", "-c1", "-W2", "-q", S1)
        count += 1
        time.sleep(0.2)
    wait_until("two segments are compressed",
               lambda: sum(p.suffix == ".zst" for p in records.segments()) == 2, 10)
    daemon.stop()
    assert len(records.of("SESSION", "created")) == count
    starts = [re.search(r"r-(\d{8}T\d{6})Z\.json", p.name).group(1) for p in records.segments()]
    assert starts == sorted(set(starts)) and len(starts) == 3
    # A segment's name is its first second.
    for segment in records.segments():
        first = json.loads(records.text(segment).splitlines()[0])["time"]
        assert re.sub(r"[-:]", "", first)[:15] in segment.name


def test_find_says_whose_an_address_was(lab, daemon):
    config, records = logging(daemon, compress="zstd")
    daemon.start(config)
    lab.c1.run("ping", "-c1", "-W2", "-q", S1)
    session, = daemon.sessions()
    time.sleep(1.2)
    daemon.ctl("flush", "lsn", "session")
    wait_until("it has ended", lambda: records.of("SESSION", "deleted"), 10)
    begun, = records.of("SESSION", "created")
    nat_ip, nat_port = session["nat"].split(":")

    def find(at, *more, port=nat_port):
        done = daemon.ctl_raw("find", "-natIP", nat_ip, "-natPort", str(port), "-at", at,
                              *more, str(records.directory / "r"), options=["--json"])
        return done.returncode, json.loads(done.stdout)
    code, answer = find(begun["time"])
    assert code == 0 and answer["sure"], answer
    assert {h["subscriber"] for h in answer["holders"]} == {session["subscriber"]}
    assert all(h["from"] == begun["time"] and h["until"] for h in answer["holders"])
    code, answer = find(begun["time"], port=(int(nat_port) + 1) % 65536)
    assert answer["holders"] == []
    code, answer = find("2020-01-01T00:00:00Z")
    assert code == 2 and not answer["sure"] and answer["holders"] == [], answer
    assert "ERROR" in daemon.fails("find", "-natIP", "1.2.3.4")
    daemon.stop()


def utc():
    now = datetime.datetime.now(datetime.timezone.utc)
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def deterministic(daemon, policy, **sink):
    """Deterministic NAT without any logging: CONFIG records are all there is."""
    config = daemon.sample()
    config.pop("ipsecalg")
    config["lsn"].pop("appsprofile")
    config["lsn"]["pool"][0]["nattype"] = "DETERMINISTIC"
    config["lsn"]["group"] = [{"name": "DET", "clientname": "LSN-CLIENT-1", "portblocksize": 512,
                               "poolname": ["LSN-POOL-1"], "nattype": "DETERMINISTIC",
                               "allocPolicy": policy}]
    directory = daemon.directory / "records"
    config["records"] = {"node": "box1", "file": {"path": str(directory / "r"), **sink}}
    return config, Records(directory)


def find(daemon, records, nat, *words):
    """lsnctl find of the NAT endpoint that a server saw: (exit code, JSON, text)."""
    words = ("find", "-natIP", nat[0], "-natPort", str(nat[1]), *words,
             str(records.directory / "r"))
    done = daemon.ctl_raw(*words, options=["--json"])
    return done.returncode, json.loads(done.stdout), daemon.ctl_raw(*words).stdout


def test_find_computes_deterministic_addresses_with_the_configuration_of_the_time(lab, daemon):
    config, records = deterministic(daemon, "PORTS")
    with lab.s1.udp(7000, S1) as server:
        def seen():
            """Whom the server saw, and when: with a socket of its own each time."""
            time.sleep(0.3)   # away from what is before and after it, by many ticks
            with lab.c1.udp() as client:
                nat, at = udp_exchange(client, server, (S1, 7000)), utc()
            time.sleep(0.3)
            return nat, at
        daemon.start(config)
        first = seen()
        config["lsn"]["group"][0]["allocPolicy"] = "IPADDRS"
        before = daemon.reload(config)
        daemon.wait_log("reload", start=before)
        wait_until("it is a record", lambda: len(records.of("CONFIG", "changed")) == 2)
        second = seen()
        assert first[0][0] != second[0][0], "the other policy gives another address"
        daemon.stop()
    changes = records.of("CONFIG", "changed")
    for (nat, at), change in ((first, changes[0]), (second, changes[1])):
        code, answer, text = find(daemon, records, nat, "-at", at)
        holder, = answer["holders"]
        assert code == 0 and answer["sure"], answer
        assert holder["subscriber"] == client_address(1) and holder["computed"]
        assert holder["firstPort"] <= nat[1] <= holder["lastPort"] == holder["firstPort"] + 511
        assert holder["from"] == change["time"] and change["text"] in holder["record"]
        assert f"  {client_address(1)} of group DET, computed: {nat[0]}:" in text, text
    # The same endpoint was somebody else's, or nobody's, on the other side.
    code, answer, _ = find(daemon, records, first[0], "-at", second[1])
    assert answer["sure"]
    assert client_address(1) not in [h["subscriber"] for h in answer["holders"]]
    # Both sides inside of the tolerance.
    code, answer, text = find(daemon, records, first[0], "-at", changes[1]["time"], "-within", "1")
    assert not answer["sure"] and "not sure: group DET was changed at " in text, text
    assert client_address(1) in [h["subscriber"] for h in answer["holders"]]
    # Before the records nothing is known, and what helps is said.
    code, answer, text = find(daemon, records, first[0], "-at", "2020-01-01T00:00:00Z")
    assert code == 2 and answer["holders"] == [], answer
    assert "lsnctl deterministic FILE -natIP" in text, text


def test_a_box_that_only_computes_says_in_each_segment_what_is_in_force(lab, daemon):
    config, records = deterministic(daemon, "PORTS", rotateTime=10)
    daemon.start(config)
    wait_until("a second segment has begun", lambda: len(records.segments()) >= 2, 20)
    wait_until("it is written", lambda: len(records.of("CONFIG", "changed")) >= 3)
    daemon.kill()   # nothing says that it ends
    records.segments()[0].unlink()
    again, = [r for r in records.of("CONFIG", "changed") if r["text"].startswith("in force: ")]
    assert "group DET: nattype DETERMINISTIC, allocPolicy PORTS, portblocksize 512" in again["text"]
    code, answer, _ = find(daemon, records, ("203.0.113.3", 1024), "-at", again["time"])
    assert code == 0 and answer["sure"], answer
    assert [h["subscriber"] for h in answer["holders"]] == ["192.0.2.0"]


def test_a_static_mapping_is_found_without_a_packet(lab, daemon):
    """One-to-one NAT translates ESP and others without sessions: CONFIG records alone know."""
    config, records = deterministic(daemon, "PORTS", rotateTime=10)
    config["lsn"]["pool"].append({"name": "LSN-POOL-2", "lsnip": ["203.0.113.20-203.0.113.21"]})
    config["lsn"]["static"] = [{"name": "S", "transportprotocol": "ALL", "subscrIP": "198.18.0.7",
                                "subscrPort": "*", "natIP": "203.0.113.20", "natPort": "*"}]
    config["lsn"]["client"].append({"name": "LSN-CLIENT-2",
                                    "network": ["198.18.0.0/24"]})
    config["lsn"]["group"].append({"name": "OTHERS", "clientname": "LSN-CLIENT-2",
                                   "poolname": ["LSN-POOL-2"]})
    daemon.start(config)
    time.sleep(0.1)
    mapped = utc()
    time.sleep(0.1)
    daemon.ctl("rm lsn static S")
    wait_until("it is a record", lambda: any(r["text"] == "static S: removed"
                                             for r in records.of("CONFIG", "changed")))
    time.sleep(0.1)
    removed = utc()
    time.sleep(0.1)
    daemon.stop()
    for words in (("-natPort", "4500"), ("-spi", "0xc3f1a2b4")):
        def ask(at):
            done = daemon.ctl_raw("find", "-natIP", "203.0.113.20", *words, "-at", at,
                                  str(records.directory / "r"), options=["--json"])
            return done.returncode, json.loads(done.stdout)
        code, answer = ask(mapped)
        holder, = answer["holders"]
        assert code == 0 and answer["sure"], answer
        assert holder["subscriber"] == "198.18.0.7" and holder["static"] == "S"
        assert holder["end"] == "removed"
        # A group that records nothing: then nobody can say.
        code, answer = ask(removed)
        assert code == 2 and answer["holders"] == [], answer
        assert "no CONFIG record says that 203.0.113.20" in answer["doubts"][0]


def test_a_whole_second_is_all_of_it(lab, daemon):
    config, records = logging(daemon)
    daemon.start(config)
    with lab.s1.udp(7000, S1) as server, lab.c1.udp() as client:
        nat = udp_exchange(client, server, (S1, 7000))
    daemon.stop()
    begun, = records.of("SESSION", "created")
    second = begun["time"][:19]
    code, answer, text = find(daemon, records, nat, "-at", second + "Z", "-protocol", "UDP")
    assert client_address(1) in [h["subscriber"].split(":")[0] for h in answer["holders"]]
    assert f"in the second {second}" in text
    code, answer, text = find(daemon, records, nat, "-at", second + ".000Z", "-protocol", "UDP")
    assert f"at {second}.000Z" in text
    if begun["time"] != second + ".000Z":
        assert answer["holders"] == [], "it began later in that second"
    done = daemon.ctl_raw("find", "-natIP", nat[0], "-spi", "7", "-protocol", "UDP", "-at", "1")
    assert done.returncode == 1 and "-spi with -protocol UDP, allowed" in done.stderr
