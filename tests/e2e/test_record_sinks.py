"""Records at their collectors: rsyslog over UDP, TCP and TLS, nfcapd and tshark for IPFIX. Every
session is begun and ended once at each of them, whatever becomes of the collector."""

import collections
import json
import signal
import subprocess
import time

from collectors import HOME, IpfixCollector, Nfcapd, Rsyslog, certificate
from lab import S1, client_address, wait_until
from test_ipsec import Scene
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


def capture_ipfix(lab, file):
    """tcpdump of what goes to the first collector."""
    dump = subprocess.Popen(lab.router.argv("tcpdump", "-q", "-U", "--immediate-mode", "-i", "lo",
                                            "-w", file, "udp port 4739"),
                            stderr=subprocess.DEVNULL)
    wait_until("tcpdump is ready", file.exists)
    return dump


def end_capture(dump):
    time.sleep(0.3)   # for what it has not written yet
    dump.terminate()
    dump.wait()


def test_ipfix_collectors_have_every_session_once(lab, daemon):
    capture = daemon.directory / "ipfix.pcap"
    with IpfixCollector(lab, "UDP", 4739) as udp, IpfixCollector(lab, "TCP", 4740) as tcp, \
            Nfcapd(lab, daemon.directory / "collectors", 9995) as nfcapd:
        udp.start()
        tcp.start()
        nfcapd.start()
        dump = capture_ipfix(lab, capture)
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
        end_capture(dump)
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


def tshark(capture, *fields):
    """Those fields of each packet, as tshark reads them."""
    return subprocess.run(["tshark", "-r", capture, "-d", "udp.port==4739,cflow", "-T", "fields",
                           *[word for f in fields for word in ("-e", f"cflow.{f}")]], check=True,
                          text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout.splitlines()


def check_tshark(capture, records):
    """Another decoder says the same."""
    found = collections.Counter()
    for line in tshark(capture, "nat_event", "srcaddr", "srcport", "post_natsource_ipv4_address",
                       "post_naptsource_transport_port", "dstaddr", "dstport"):
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
    for e in nfcapd.events():
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


SETTINGS = {"logging": "ENABLED", "sessionLogging": "ENABLED", "logprofilename": ["LOG"]}
OF_SUBSCRIBERS = ("MAPPING", "SESSION", "ALGSESSION", "BLOCK", "BINDING")


def every_kind(daemon, **sinks):
    """Three groups: one with an ALG and PAIRED pooling, one with blocks, one with a quota."""
    config, records = logging(daemon, **sinks)
    lsn = config["lsn"]
    lsn["client"] = [{"name": "PAIRED", "network": [client_address(1), "192.0.2.100"]},
                     {"name": "BLOCKS", "network": [client_address(2)]},
                     {"name": "FEW", "network": [client_address(3)]}]
    lsn["pool"] = [{"name": "P1", "lsnip": ["203.0.113.3"]},
                   {"name": "P2", "lsnip": ["203.0.113.4"], "portblockallocation": "ENABLED"},
                   {"name": "P3", "lsnip": ["203.0.113.5"]}]
    lsn["transportprofile"] = [{"name": "QUOTA", "transportprotocol": "UDP", "sessionquota": 2}]
    lsn["group"] = [
        {**lsn["group"][0], "name": "PAIRED", "clientname": "PAIRED", "poolname": ["P1"]},
        {"name": "BLOCKS", "clientname": "BLOCKS", "poolname": ["P2"], "blockTimeout": 0,
         **SETTINGS},
        {"name": "FEW", "clientname": "FEW", "poolname": ["P3"],
         "transportprofilename": ["QUOTA"], **SETTINGS}]
    return config, records


def make_every_kind(lab, daemon, records):
    """Tunnels, a block, sessions beyond a quota, and the end of them all."""
    scene = Scene(lab)
    try:
        scene.client()
        scene.begin(interval=0.2)
        scene.wait_all_up()
    finally:
        scene.close()
    for client, count in ((lab.c2, 3), (lab.c3, 5)):
        with client.udp() as sock:
            for port in range(1, count + 1):
                sock.sendto(b"x", (S1, port))
    wait_until("the refusals are told", lambda: records.of("ALERT", "raised"))
    time.sleep(0.5)
    daemon.ctl("flush", "ipsecalg", "session")
    daemon.ctl("flush", "lsn", "session")
    for kind, event in (("ALGSESSION", "deleted"), ("SESSION", "deleted"), ("BLOCK", "freed"),
                        ("BINDING", "deleted")):
        wait_until(f"{kind} {event}", lambda: records.of(kind, event))
    daemon.stop()


def test_every_kind_of_record_comes_to_every_collector(lab, daemon):
    """Of the same traffic, what the file has: field by field."""
    capture = daemon.directory / "ipfix.pcap"
    where = daemon.directory / "collectors"
    with Rsyslog(lab, where, "UDP", 5514) as structured, \
            Rsyslog(lab, where, "TCP", 5515) as netscaler, \
            IpfixCollector(lab, "UDP", 4739) as ipfix, Nfcapd(lab, where, 9995) as nfcapd:
        for collector in (structured, netscaler, ipfix, nfcapd):
            collector.start()
        dump = capture_ipfix(lab, capture)
        config, records = every_kind(
            daemon,
            syslog=[{"server": f"{HOME}:5514"},
                    {"server": f"{HOME}:5515", "transport": "TCP", "format": "NETSCALER"}],
            ipfix=[{"collector": f"{HOME}:4739"}, {"collector": f"{HOME}:9995"}])
        daemon.start(config)
        make_every_kind(lab, daemon, records)
        for kind in (*OF_SUBSCRIBERS, "ALERT", "CONFIG"):
            assert records.of(kind), f"no {kind}"
        for kind in OF_SUBSCRIBERS:
            begun = len(records.of(kind, "allocated" if kind == "BLOCK" else "created"))
            ended = len(records.of(kind, "freed" if kind == "BLOCK" else "deleted"))
            assert begun == ended > 0, kind
        for collector in (structured, netscaler):
            wait_until("the last one has come", lambda: any("lsnd stops" in m[0]
                                                            for m in collector.messages()))
        check_structured(structured, records)
        check_netscaler(netscaler, records)
        expected = collections.Counter(filter(None, map(nat_event, records.all())))
        wait_until("all are exported", lambda: ipfix.failure or
                   sum(ipfix.reader.counts().values()) >= sum(expected.values()))
        ipfix.stop()
        end_capture(dump)
        assert ipfix.reader.counts() == collections.Counter(
            number for number, *_ in expected.elements())
        assert collections.Counter(map(of_ipfix, ipfix.reader.records)) == expected
        check_tshark_events(capture, expected)
        check_nfdump_events(nfcapd, expected)


def check_structured(server, records):
    """RFC 5424: each record once, with the fields that the file has, by the same names."""
    def plain(record):
        return tuple(sorted((k, v) for k, v in record.items() if k not in ("time", "line", "raw")))
    assert collections.Counter(map(plain, server.records())) == \
        collections.Counter(map(plain, records.all()))


def netscaler_text(record):
    """The words of a NetScaler message, as docs/records.md has them."""
    kind = record["record"]
    if kind not in OF_SUBSCRIBERS:
        return "Message", record["line"][record["line"].index(f" {kind} ") + 1:]
    name, words = {
        "SESSION": ("LSN_SESSION", "SESSION"), "ALGSESSION": ("LSN_ALG_SESSION", "ALG SESSION"),
        "BLOCK": ("LSN_PORT_BLOCK", "PORT BLOCK"),
        "BINDING": ("LSN_ADDR_BINDING", "ADDRESS BINDING"),
        "MAPPING": (("LSN_ADDRPORT_MAPPING", "A&PDM") if "destPort" in record else
                    ("LSN_ADDR_MAPPING", "ADM") if "destIP" in record else
                    ("LSN_EIM_MAPPING", "EIM"))}[kind]
    text = f"{words} {record['event'].upper()} "
    if "subscrPort" in record:
        text += ("Client IP:Port:TD {subscrIP}:{subscrPort}:0, NatIP:NatPort {natIP}:{natPort}"
                 .format(**record))
    elif kind == "BLOCK":
        text += ("Client IP:TD {subscrIP}:0, NatIP:NatPort-NatPort {natIP}:{firstPort}-{lastPort}"
                 .format(**record))
    else:
        text += "Client IP:TD {subscrIP}:0, NatIP {natIP}".format(**record)
    if "destPort" in record:
        text += ", Destination IP:Port:TD {destIP}:{destPort}:0".format(**record)
    elif "destIP" in record:
        text += ", Destination IP:TD {destIP}:0".format(**record)
    if kind == "ALGSESSION":
        text += ", SPI out:in {spiOut}:{spiIn}".format(**record)
    return name, text + (f", Protocol: {record['protocol']}" if "protocol" in record else "")


def check_netscaler(server, records):
    expected = []
    for r in records.all():
        name, text = netscaler_text(r)
        worker = "0" if r["worker"] == "-" else r["worker"][1:]
        t = r["time"]
        expected.append(f" {t[5:7]}/{t[8:10]}/{t[:4]}:{t[11:19]} GMT box1 0-PPE-{worker} : default "
                        f"LSN {name} {r['seq']} 0 :  {text}")
    messages = [m[0] for m in server.messages()]
    assert collections.Counter(m[m.index(">") + 1:] for m in messages) == \
        collections.Counter(expected)
    # The severity: LOCAL0 with information, notice, warning.
    assert {m[:m.index(">") + 1] for m in messages} == {"<134>", "<133>", "<132>"}


def nat_event(record):
    """What IPFIX has of a record of the file: its event, and the values that tell it apart.
    None: it is not exported."""
    def number(name):
        return int(record[name], 0)
    kind, ends = record["record"], record["event"] in ("deleted", "freed")
    if kind == "ALERT":
        quota = {"session_quota": 3, "port_quota": 3,
                 "group_session_limit": 1}.get(record["alert"])
        return (13, quota, number("count")) if quota else None
    if kind == "CONFIG":
        return None
    who = (record["subscrIP"], record["natIP"])
    if kind == "BINDING":
        return (15 if ends else 14, *who)
    if kind == "BLOCK":
        return (17 if ends else 16, *who, number("firstPort"), number("lastPort"))
    if kind == "ALGSESSION":
        return (5 if ends else 4, *who, record["destIP"], number("spiOut"), number("spiIn"))
    return ((9 if ends else 8) if kind == "MAPPING" else (5 if ends else 4), *who,
            number("subscrPort"), number("natPort"), record.get("destIP"),
            int(record["destPort"]) if "destPort" in record else None)


def of_ipfix(record):
    """The same of one that IpfixReader has read."""
    event = record["event"]
    if event == 13:
        return (13, record["quota"], record["refused"])
    who = (event, record["subscriber"], record["nat"])
    if "firstPort" in record:
        return (*who, record["firstPort"], record["lastPort"])
    if "spi" in record:
        return (*who, record["destination"], record["spi"], record["spiIn"])
    if "natPort" not in record:
        return who
    return (*who, record["subscriberPort"], record["natPort"], record.get("destination"),
            record.get("destinationPort"))


def check_tshark_events(capture, expected):
    """Another decoder counts the same events, and reads the same blocks and SPIs."""
    def words(column):
        return [word for line in tshark(capture, column) for word in line.split(",") if word]
    assert collections.Counter(map(int, words("nat_event"))) == \
        collections.Counter(e[0] for e in expected.elements())
    blocks = [e for e in expected.elements() if e[0] in (16, 17)]
    for column, at in (("port_range_start", 3), ("port_range_end", 4)):
        assert sorted(map(int, words(column))) == sorted(e[at] for e in blocks)
    tunnels = [e for e in expected.elements() if len(e) == 6 and e[0] in (4, 5)]
    spis = sorted(spi for e in tunnels for spi in e[4:])
    assert sorted(int(w, 0) for w in words("ipsec_spi")) == spis


NFDUMP_NAMES = {"NAT44 session create": 4, "NAT44 session delete": 5, "NAT44 BIB create": 8,
                "NAT44 BIB delete": 9, "Quota Exceeded": 13, "Address binding create": 14,
                "Address binding delete": 15, "Port block allocation": 16,
                "Port block de-allocation": 17}


def check_nfdump_events(nfcapd, expected):
    """A collector has each of them, by its name, with the subscriber and its NAT address."""
    def who(event):
        return (NFDUMP_NAMES[event["nat_event"]], event.get("src4_addr"), event.get("src4_xlt_ip"))
    found = collections.Counter(map(who, nfcapd.events()))
    quota = sum(n for (number, *_), n in found.items() if number == 13)
    assert quota == sum(1 for e in expected.elements() if e[0] == 13)
    assert collections.Counter(e for e in found.elements() if e[0] != 13) == \
        collections.Counter(e[:3] for e in expected.elements() if e[0] != 13)


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


def test_the_check_reads_the_authorities_on_this_machine_alone(lab, daemon):
    missing = daemon.directory / "authorities.pem"
    config, _ = logging(daemon, syslog={"server": f"{HOME}:5516", "transport": "TLS",
                                        "caFile": str(missing)}, ipfix={"collector": f"{HOME}:1"})
    code, text = daemon.check(config)
    assert code != 0 and f'caFile: given "{missing}" (No such file or directory)' in text, text
    code, text = daemon.check(config, "--elsewhere")
    assert code == 0, text
    certificate(daemon.directory, HOME)[0].rename(missing)
    code, text = daemon.check(config)
    assert code == 0, text
