"""Records at their collectors: rsyslog over UDP, TCP and TLS, nfcapd and tshark for IPFIX. Every
session is begun and ended once at each of them, whatever becomes of the collector."""

import collections
import json
import signal
import subprocess
import time

from collectors import HOME, IpfixCollector, Nfcapd, Rsyslog, certificate
from lab import S1, wait_until
from test_records import Records, endpoint


def logging(daemon, **sinks):
    """The sample with records of sessions, into a file and the sinks."""
    config = daemon.sample()
    config["lsn"]["logprofile"] = [{"name": "LOG", "logIpfix": "ENABLED"}]
    config["lsn"]["group"][0].update(logging="ENABLED", sessionLogging="ENABLED",
                                     logprofilename=["LOG"])
    directory = daemon.directory / "records"
    config["records"] = {"node": "box1", "file": {"path": str(directory / "r")}, **sinks}
    return config, Records(directory)


def make_sessions(lab, first, count):
    client = lab.c1.udp()
    for port in range(first, first + count):
        client.sendto(b"x", (S1, port))
        if port % 50 == 0:
            time.sleep(0.02)
    client.close()


def expect_once(records, sink, expected):
    """The sink has each session of the file once, begun and ended."""
    for event in ("created", "deleted"):
        wait_until(f"all {expected} are {event}",
                   lambda: len(sink.of("SESSION", event)) >= expected, 20)
        here = [endpoint(r) for r in sink.of("SESSION", event)]
        assert sorted(here) == sorted(endpoint(r) for r in records.of("SESSION", event))
        assert len(here) == len(set(here)) == expected


def sink_status(daemon, word):
    return next(s for s in daemon.ctl("stat", "records")["sinks"] if s["sink"].startswith(word))


def test_rsyslog_has_every_session_once_over_each_transport(lab, daemon):
    cert = certificate(daemon.directory, HOME)
    where = daemon.directory / "collectors"
    with Rsyslog(lab, where, "UDP", 5514) as udp, Rsyslog(lab, where, "TCP", 5515) as tcp, \
            Rsyslog(lab, where, "TLS", 5516, cert) as tls:
        for collector in (udp, tcp, tls):
            collector.start()
        config, records = logging(daemon, syslog=[
            {"server": f"{HOME}:5514"},
            {"server": f"{HOME}:5515", "transport": "TCP", "facility": "LOCAL4"},
            {"server": f"{HOME}:5516", "transport": "TLS", "caFile": str(cert[0])}])
        daemon.start(config)
        make_sessions(lab, 1, 300)
        daemon.wait_log(["syslog TLS", "connected"])
        wait_until("all have come", lambda: len(records.of("SESSION", "created")) == 300)
        daemon.ctl("flush", "lsn", "session")
        wait_until("all ends are there", lambda: len(records.of("SESSION", "deleted")) == 300)
        for collector in (udp, tcp, tls):
            expect_once(records, collector, 300)
        daemon.stop()
        for collector, priority in ((udp, 134), (tcp, 166), (tls, 134)):
            wait_until("also the last record", lambda: collector.of("CONFIG", "stopped"))
            one = collector.of("SESSION", "deleted")[0]
            assert one["raw"].startswith(f"<{priority}>1 20") and one["node"] == "box1"
            assert one["worker"] == "w0" and one["reason"] == "flush" and one["packetsOut"] == "1"
            numbers = [int(r["seq"]) for r in collector.records() if r["record"] == "SESSION"]
            assert numbers == list(range(600)), "in order, without a gap"


def test_a_syslog_server_that_is_killed_and_comes_back_has_all(lab, daemon):
    where = daemon.directory / "collectors"
    config, records = logging(daemon, syslog=[{"server": f"{HOME}:5515", "transport": "TCP"}])
    with Rsyslog(lab, where, "TCP", 5515) as server:
        daemon.start(config)               # it is not there at the start
        daemon.wait_log(["syslog TCP", "refused"])
        make_sessions(lab, 1, 100)
        server.start()
        wait_until("what waited has come", lambda: len(server.of("SESSION", "created")) == 100, 40)
        server.end(signal.SIGKILL)
        make_sessions(lab, 1001, 100)
        wait_until("the records wait", lambda: sink_status(daemon, "syslog")["stalled"], 20)
        server.start()
        wait_until("these have come, too", lambda: len(server.of("SESSION", "created")) == 200, 40)
        daemon.ctl("flush", "lsn", "session")
        expect_once(records, server, 200)
        assert sink_status(daemon, "syslog")["lost"] == 0
        daemon.stop()


def test_a_certificate_for_another_address_is_refused(lab, daemon):
    cert = certificate(daemon.directory, "127.0.0.2")
    with Rsyslog(lab, daemon.directory / "collectors", "TLS", 5516, cert) as server:
        server.start()
        config, _ = logging(daemon, syslog=[
            {"server": f"{HOME}:5516", "transport": "TLS", "caFile": str(cert[0])}])
        daemon.start(config)
        daemon.wait_log(["syslog TLS", "IP address mismatch"])
        daemon.stop()
        assert server.messages() == []


def test_netscaler_messages_are_as_its_parsers_expect_them(lab, daemon):
    with Rsyslog(lab, daemon.directory / "collectors", "UDP", 5514) as server:
        server.start()
        config, records = logging(daemon, syslog=[{"server": f"{HOME}:5514",
                                                   "format": "NETSCALER"}])
        daemon.start(config)
        make_sessions(lab, 80, 1)
        begun = wait_until("it is recorded", lambda: records.of("SESSION", "created"))[0]
        stamp = begun["time"]
        head = (f"<134> {stamp[5:7]}/{stamp[8:10]}/{stamp[:4]}:{stamp[11:19]} GMT box1 0-PPE-0 : "
                "default LSN ")
        tail = (" Client IP:Port:TD {subscrIP}:{subscrPort}:0, NatIP:NatPort {natIP}:{natPort}, "
                "Destination IP:Port:TD {destIP}:{destPort}:0, Protocol: UDP").format(**begun)

        def raw():
            return [m[0] for m in server.messages()]
        wait_until("the message is there", lambda: head + "LSN_SESSION 0 0 :  SESSION CREATED" +
                   tail in raw())
        assert head + "LSN_ADDRPORT_MAPPING 0 0 :  A&PDM CREATED" + tail in raw()
        config["lsn"]["logprofile"][0]["logCompact"] = "ENABLED"
        before = daemon.reload(config)
        daemon.wait_log("reload", start=before)
        daemon.ctl("flush", "lsn", "session")
        compact = ("0-PE0:default LSN 1 0:SD|C-{subscrIP}:{subscrPort}:0|N-{natIP}:{natPort}|"
                   "D-{destIP}:{destPort}:0|U").format(**begun)
        wait_until("the compact message is there",
                   lambda: any(m.endswith(compact) for m in raw()))
        daemon.stop()


def test_ipfix_collectors_have_every_session_once(lab, daemon):
    capture = daemon.directory / "ipfix.pcap"
    with IpfixCollector(lab, "UDP", 4739) as udp, IpfixCollector(lab, "TCP", 4740) as tcp, \
            Nfcapd(lab, daemon.directory / "collectors", 9995) as nfcapd:
        udp.start()
        tcp.start()
        nfcapd.start()
        dump = subprocess.Popen(lab.router.argv("tcpdump", "-q", "-U", "-i", "lo", "-w", capture,
                                                "udp port 4739"), stderr=subprocess.DEVNULL)
        wait_until("tcpdump is ready", capture.exists)
        config, records = logging(daemon, ipfix=[
            {"collector": f"{HOME}:4739", "domain": 77}, {"collector": f"{HOME}:9995"},
            {"collector": f"{HOME}:4740", "transport": "TCP"}])
        daemon.start(config)
        make_sessions(lab, 1, 300)
        wait_until("all have come", lambda: len(records.of("SESSION", "created")) == 300)
        time.sleep(1.2)
        daemon.ctl("flush", "lsn", "session")
        wait_until("all ends are there", lambda: len(records.of("SESSION", "deleted")) == 300)
        daemon.stop()
        for collector in (udp, tcp):
            wait_until("all are exported", lambda: collector.failure or
                       sum(collector.reader.counts().values()) >= 1200)
            collector.stop()
            check_ipfix(collector.reader, records)
        assert udp.reader.domains == {77} and udp.reader.template_messages >= 1
        dump.terminate()
        dump.wait()
        check_tshark(capture, records)
        check_nfdump(nfcapd, records)


def check_ipfix(reader, records):
    """Each session and mapping, begun and ended, as in the file."""
    assert reader.counts() == {4: 300, 5: 300, 8: 300, 9: 300}
    for number, (kind, event) in {4: ("SESSION", "created"), 5: ("SESSION", "deleted"),
                                  8: ("MAPPING", "created"), 9: ("MAPPING", "deleted")}.items():
        here = sorted((str(r["subscriber"]), str(r["subscriberPort"]), str(r["nat"]),
                       str(r["natPort"]), r["destination"], str(r["destinationPort"]))
                      for r in reader.of(number))
        assert here == sorted(endpoint(r)[1:] for r in records.of(kind, event))
    ended = reader.of(5)[0]
    assert ended["protocol"] == 17 and ended["packetsOut"] == 1 and ended["bytesOut"] == 29
    assert ended["durationMs"] >= 1000 and ended["endReason"] == 4 and ended["td"] == 0
    assert abs(ended["time"] / 1000 - time.time()) < 60


def check_tshark(capture, records):
    """Another decoder says the same."""
    fields = ["nat_event", "srcaddr", "srcport", "post_natsource_ipv4_address",
              "post_naptsource_transport_port", "dstaddr", "dstport"]
    text = subprocess.run(["tshark", "-r", capture, "-d", "udp.port==4739,cflow", "-T", "fields",
                           *[word for f in fields for word in ("-e", f"cflow.{f}")]], check=True,
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    found = collections.Counter()
    for line in text.splitlines():
        columns = [column.split(",") for column in line.split("\t")]
        if columns[0] != [""]:
            found.update(zip(*columns))
    seen = {key: n for key, n in found.items() if key[0] == "4"}
    assert set(seen) == {("4",) + endpoint(r)[1:] for r in records.of("SESSION", "created")}
    assert set(seen.values()) == {1}


def check_nfdump(nfcapd, records):
    """And so does a collector; it finds the holder of a NAT endpoint."""
    names = {"NAT44 session create": ("SESSION", "created"),
             "NAT44 session delete": ("SESSION", "deleted"),
             "NAT44 BIB create": ("MAPPING", "created"),
             "NAT44 BIB delete": ("MAPPING", "deleted")}
    found = {of: [] for of in names.values()}
    # With -q it leaves the brackets out, too.
    for e in json.loads("[" + nfcapd.dump("-o", "json").strip().strip("[],") + "]"):
        found[names[e["nat_event"]]].append(
            (e["src4_addr"], str(e["src_port"]), e["src4_xlt_ip"], e["src_xlt_port"],
             e["dst4_addr"], str(e["dst_port"])))
    for (kind, event), seen in found.items():
        assert sorted(seen) == sorted(endpoint(r)[1:] for r in records.of(kind, event))
    wanted = records.of("SESSION", "created")[7]
    text = nfcapd.dump("-o", "nel", f"src nip {wanted['natIP']} and src nport {wanted['natPort']}")
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) >= 4
    assert all(f" {wanted['subscrIP']}:{wanted['subscrPort']} " in line for line in lines)


def test_an_ipfix_collector_that_goes_and_comes_back_has_all(lab, daemon):
    config, records = logging(daemon, ipfix=[{"collector": f"{HOME}:4740", "transport": "TCP"}])
    daemon.start(config)
    daemon.wait_log(["ipfix TCP", "refused"])
    make_sessions(lab, 1, 100)
    with IpfixCollector(lab, "TCP", 4740) as first:
        first.start()
        wait_until("what waited has come", lambda: first.failure or
                   first.reader.counts()[4] == 100, 40)
        first.stop()
    make_sessions(lab, 1001, 100)
    wait_until("they are recorded", lambda: len(records.of("SESSION", "created")) == 200)
    with IpfixCollector(lab, "TCP", 4740) as second:
        second.start()
        wait_until("these come to the other", lambda: second.failure or
                   second.reader.counts()[4] == 100, 40)
        daemon.ctl("flush", "lsn", "session")
        wait_until("all ends come", lambda: second.failure or second.reader.counts()[5] == 200, 20)
        daemon.stop()
        second.stop()
        begun = first.reader.of(4) + second.reader.of(4)
        assert len(begun) == 200
        assert len({(r["natPort"], r["nat"], r["destinationPort"]) for r in begun}) == 200


def test_groups_without_log_ipfix_are_not_exported(lab, daemon):
    config, records = logging(daemon, ipfix=[{"collector": f"{HOME}:4739"}])
    config["lsn"]["logprofile"][0]["logIpfix"] = "DISABLED"
    with IpfixCollector(lab, "UDP", 4739) as collector:
        collector.start()
        daemon.start(config)
        make_sessions(lab, 1, 5)
        wait_until("they are recorded", lambda: len(records.of("SESSION", "created")) == 5)
        wait_until("the templates are there", lambda: collector.reader.template_messages)
        daemon.stop()
        collector.stop()
        assert collector.reader.records == []


def test_a_collector_by_udp_has_templates_at_once_when_it_comes_back(lab, daemon):
    config, _ = logging(daemon, ipfix=[{"collector": f"{HOME}:4739"}])
    daemon.start(config)
    make_sessions(lab, 1, 5)
    daemon.wait_log(["ipfix UDP", "nobody listens"])
    with IpfixCollector(lab, "UDP", 4739) as collector:
        collector.reader.sequence = None   # it has missed some
        collector.start()
        wait_until("the templates come at once", lambda: collector.failure or
                   collector.reader.template_messages, 5)
        make_sessions(lab, 100, 5)
        wait_until("so that records are read", lambda: collector.failure or
                   collector.reader.counts()[4] == 5, 5)
        daemon.stop()
        collector.stop()


def test_the_check_says_what_is_wrong_with_sinks(lab, daemon):
    config, _ = logging(daemon, syslog=[{"server": f"{HOME}:5514", "caFile": "/x"},
                                        {"server": f"{HOME}:5514"}],
                        ipfix=[{"collector": f"{HOME}:1"}, {"collector": f"{HOME}:1"}])
    code, text = daemon.check(config)
    assert code != 0
    for words in ("only with transport TLS", "a server and a transport that no other",
                  "a collector and a transport that no other"):
        assert words in text, text
    config["records"]["syslog"][0]["server"] = "nowhere"
    code, text = daemon.check(config)
    assert code != 0 and "A.B.C.D:PORT" in text, text
