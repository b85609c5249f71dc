"""metrics.listen: what Prometheus reads, its rules and its dashboard, and who may ask how."""

import contextlib
import ctypes
import json
import os
import pathlib
import re
import socket
import subprocess
import time

import pytest
import yaml

from daemon import PROJECT
from lab import S1, udp_exchange, wait_until
from netns import require

LSND, PROMETHEUS = 9469, 9090
RULES = PROJECT / "config" / "prometheus" / "lsnd.rules.yml"
SCRAPE = PROJECT / "config" / "prometheus" / "prometheus.yml"
DASHBOARD = PROJECT / "config" / "grafana" / "lsnd.json"


def get(lab, path, port=LSND, seconds=5.0):
    """(status, body) of a request to a server beside lsnd."""
    client = lab.router.socket(socket.AF_INET, socket.SOCK_STREAM, timeout=seconds)
    client.connect(("127.0.0.1", port))
    client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    answer = b""
    while piece := client.recv(1 << 16):
        answer += piece
    client.close()
    head, _, body = answer.decode().partition("\r\n\r\n")
    return int(head.split()[1]), body


def scrape(lab):
    status, text = get(lab, "/metrics")
    assert status == 200, text
    return text


def samples(text):
    """Values by name and labels."""
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in text.splitlines() if not line.startswith("#")}


def promtool(*argv, text=None):
    done = subprocess.run(["promtool", *map(str, argv)], input=text, text=True, timeout=30,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, f"promtool {argv}: {done.stdout}"
    return done.stdout


@pytest.fixture
def served(lab, daemon):
    require("prometheus", "promtool")
    config = daemon.sample()
    config["metrics"] = {"listen": f"127.0.0.1:{LSND}"}
    daemon.config = config
    daemon.start(config)
    wait_until("it is ready", lambda: get(lab, "/-/ready")[0] == 200)
    return daemon


def rules():
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions_of_the_dashboard():
    board = json.loads(DASHBOARD.read_text())
    targets = [t["expr"] for panel in board["panels"] for t in panel.get("targets", [])]
    assert len(targets) > 40
    return targets + [a["expr"] for a in board["annotations"]["list"]]


def assert_all_is_served(text, expressions):
    """Every metric, and every drop reason, that they name."""
    names = {re.split(r"[{ ]", line)[0] for line in text.splitlines() if not line.startswith("#")}
    reasons = set(re.findall(r'reason="(\w+)"', text))
    for expression in expressions:
        for name in re.findall(r"\blsnd_\w+", expression):
            assert name in names, f"{name} is not served: {expression}"
        for pattern in re.findall(r'reason!?=~?"([^"]*)"', expression):
            for one in re.sub(r"\(([^)]*)\)(\w+)",
                              lambda m: "|".join(a + m[2] for a in m[1].split("|")),
                              pattern).split("|"):
                assert any(re.fullmatch(one, reason) for reason in reasons), \
                    f"no drop reason is {one}: {expression}"


@contextlib.contextmanager
def prometheus(lab, directory):
    """A real server with our configuration, only in more of a hurry."""
    directory = pathlib.Path(directory)
    (directory / RULES.name).write_text(RULES.read_text())
    (directory / SCRAPE.name).write_text(SCRAPE.read_text().replace("15s", "1s"))
    server = lab.router.start(
        "prometheus", f"--config.file={directory / SCRAPE.name}",
        f"--storage.tsdb.path={directory / 'data'}", f"--web.listen-address=127.0.0.1:{PROMETHEUS}",
        "--log.level=warn")

    def is_ready():
        assert server.poll() is None, server.stdout.read()
        with contextlib.suppress(OSError):
            return get(lab, "/-/ready", PROMETHEUS)[0] == 200
    wait_until("Prometheus is ready", is_ready, 20)

    def query(expression):
        quoted = "".join(c if c.isalnum() else f"%{ord(c):02x}" for c in expression)
        status, body = get(lab, f"/api/v1/query?query={quoted}", PROMETHEUS)
        assert status == 200, f"{expression}: {body}"
        return [float(r["value"][1]) for r in json.loads(body)["data"]["result"]]
    try:
        yield query
    finally:
        server.kill()
        server.wait(10)


def test_prometheus_reads_what_lsnctl_says(lab, served, tmp_path):
    server = lab.s1.udp(9)
    for client in lab.clients:
        udp_exchange(client.udp(), server, (S1, 9), tries=3)
    time.sleep(0.6)
    text = scrape(lab)
    promtool("check", "metrics", text=text)
    assert_all_is_served(text, [r["expr"] for r in rules()] + expressions_of_the_dashboard())

    read, stat = samples(text), served.ctl("stat", "lsn")
    udp = next(p for p in stat["protocols"] if p["protocol"] == "UDP")
    for name, value in udp.items():
        if name != "protocol":
            found = [v for k, v in read.items() if re.fullmatch(
                rf'lsnd_lsn_{name}(_total)?\{{protocol="UDP",worker="0"\}}', k)]
            assert found == [value], name
    assert read['lsnd_lsn_sessions{protocol="UDP",worker="0"}'] == 3
    assert read['lsnd_interface_rx_packets_total{interface="inside",role="inside"}'] >= 3
    assert read["lsnd_lsn_generation"] == stat["generation"] == 1
    assert {k[len('lsnd_drops_total{reason="'):].split('"')[0] for k in read
            if k.startswith("lsnd_drops_total")} == set(served.drops())
    device = served.ctl("stat", "interface")["devices"][0]
    assert read[f'lsnd_device_link_up{{device="{device["device"]}"}}'] == 1

    with prometheus(lab, tmp_path) as query:
        wait_until("lsnd is scraped", lambda: query('up{job="lsnd"}') == [1.0])
        before = read['lsnd_lsn_outbound_packets_total{protocol="UDP",worker="0"}']
        for _ in range(5):
            udp_exchange(lab.c1.udp(), server, (S1, 9), tries=3)
        wait_until("the traffic is seen", lambda: query(
            'lsnd_lsn_outbound_packets_total{protocol="UDP"}') == [before + 5])
        for expression in expressions_of_the_dashboard():
            query(expression.replace("$__rate_interval", "1m").replace("$instance", ".*"))

        def all_rules_have_been_tried():
            groups = json.loads(get(lab, "/api/v1/rules", PROMETHEUS)[1])["data"]["groups"]
            tried = [r for g in groups for r in g["rules"] if r["health"] != "unknown"]
            assert all(r["health"] == "ok" for r in tried), tried
            return len(tried) == len(rules()) and tried
        for rule in wait_until("the rules have been tried", all_rules_have_been_tried):
            assert rule["state"] == "inactive", rule


def test_clear_counters_is_lsnctls_own(lab, served):
    """What programs read goes on growing; gauges are what there is; who cleared them is said and logged."""
    server = lab.s1.udp(9)
    udp_exchange(lab.c1.udp(), server, (S1, 9), tries=3)
    before = served.ctl("stat", "lsn")
    assert "cleared" not in before
    assert served.table("clear", "counters") == "Done\n"

    def udp(stat):
        return next(p for p in stat["protocols"] if p["protocol"] == "UDP")
    after = served.ctl("stat", "lsn")
    assert udp(before)["created"] == 1 and udp(after)["created"] == 0
    assert udp(after)["sessions"] == 1
    assert re.fullmatch(r"root \(uid 0, process \d+\)", after["cleared"]["by"])
    assert re.search(r"\ncounted since 20\S+Z, when root \(uid 0, process \d+\) cleared the counters\n$",
                     served.table("show", "drops"))
    read = samples(scrape(lab))
    assert read['lsnd_lsn_created_total{protocol="UDP",worker="0"}'] == 1
    udp_exchange(lab.c2.udp(), server, (S1, 9), tries=3)
    assert udp(served.ctl("stat", "lsn"))["created"] == 1
    wait_until("metrics go on from there", lambda: samples(scrape(lab))[
        'lsnd_lsn_created_total{protocol="UDP",worker="0"}'] == 2)
    assert re.search(r"asked for by root \(uid 0, process \d+\): clear counters", served.log())


def test_hundreds_of_clients_that_hang_stop_neither_a_scrape_nor_lsnctl(lab, served):
    hanging = []
    for n in range(250):
        client = lab.router.tcp_client("127.0.0.1", LSND)
        if n % 3 == 1:
            client.sendall(b"GET /metrics HTT")
        if n % 3 == 2:
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        hanging.append(client)
    begin = time.monotonic()
    assert "lsnd_ready 1" in scrape(lab)
    assert get(lab, "/-/healthy")[0] == 200
    assert served.ctl("stat", "lsn")["workers"] == 1
    assert time.monotonic() - begin < 2
    udp_exchange(lab.c1.udp(), lab.s1.udp(9), (S1, 9), tries=3)
    assert len(os.listdir(f"/proc/{served.process.pid}/fd")) < 200, "they are bounded"
    for client in hanging:
        client.close()


class Stopped:
    """Threads of lsnd that stand still: each is stopped alone, as a debugger does it."""

    ATTACH, DETACH, WALL = 16, 17, 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]

    def __init__(self, thread):
        self.thread = thread
        self.call(self.ATTACH)
        os.waitpid(thread, self.WALL)

    def call(self, request):
        if self.libc.ptrace(request, self.thread, None, None) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    def go_on(self):
        self.call(self.DETACH)


def test_healthy_says_who_stands_still(lab, served):
    assert get(lab, "/-/healthy") == (200, "healthy\n")
    assert get(lab, "/-/ready") == (200, "ready\n")
    process = served.process.pid
    worker = next(int(t.name) for t in pathlib.Path(f"/proc/{process}/task").iterdir()
                  if "worker" in (t / "comm").read_text())
    stopped = [Stopped(worker), Stopped(process)]
    try:
        status, text = wait_until("it is noticed", lambda: (
            answer := get(lab, "/-/healthy"))[0] == 503 and answer, 8)
        assert re.fullmatch(r"the control thread stands still for [5-8] s\n", text), text
        stopped.pop().go_on()
        status, text = wait_until("the control thread is well again", lambda: (
            answer := get(lab, "/-/healthy"))[1].startswith("worker") and answer)
        assert status == 503 and re.fullmatch(r"worker 0 stands still for \d+ s\n", text), text
        time.sleep(0.6)
        assert samples(scrape(lab))['lsnd_worker_silence_seconds{worker="0"}'] > 5
    finally:
        for each in stopped:
            each.go_on()
    wait_until("all are well again", lambda: get(lab, "/-/healthy")[0] == 200)


def test_where_it_cannot_listen_lsnd_does_not_start(lab, daemon):
    config = daemon.sample()
    taken = lab.router.socket(socket.AF_INET, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind(("127.0.0.1", LSND))
    taken.listen()
    for address, allowed in ((f"127.0.0.1:{LSND}", "a port where nobody else listens"),
                             (f"198.51.100.77:{LSND}", "an address that the kernel")):
        config["metrics"] = {"listen": address}
        daemon.start(config, wait=False)
        assert daemon.wait() == 1
        lines = daemon.log().splitlines()
        assert len(lines) == 1 and f"given {address}, allowed {allowed}" in lines[0], lines
        daemon.log_file.unlink()
    daemon.process = None

    config["metrics"] = {"listen": "127.0.0.1"}
    code, out = daemon.check(config)
    assert code == 2, out
    assert re.search(r'listen: given "127\.0\.0\.1", allowed A\.B\.C\.D:PORT', out), out


def test_a_reload_that_moves_it_is_refused(lab, served):
    before = served.reload({**served.config, "metrics": {"listen": "127.0.0.1:9470"}})
    served.wait_log(["metrics", f"127.0.0.1:{LSND}", "127.0.0.1:9470", "restart"], before)
    assert get(lab, "/-/ready")[0] == 200


# Alerts: what a series looks like when they fire, minute by minute (promtool's notation) ---------

def drops(reason, each_minute=600):
    return {f'lsnd_drops_total{{instance="a",reason="{reason}",worker="0"}}':
            f"0+{each_minute}x40"}


FIRING = {
    "LsndDown": {'up{instance="a",job="lsnd"}': "0x40"},
    "LsndControlStandsStill": {'lsnd_control_silence_seconds{instance="a"}': "0+60x40"},
    "LsndWorkerStandsStill": {'lsnd_worker_silence_seconds{instance="a",worker="1"}': "0+60x40"},
    "LsndNotReady": {'lsnd_ready{instance="a"}': "0x40"},
    "LsndRestarted": {'lsnd_worker_polls_total{instance="a",worker="0"}': "0+9x25 0+9x15"},
    "LsndLinkDown": {'lsnd_device_link_up{instance="a",device="d"}': "0x40"},
    "LsndDeviceRemoved": {'lsnd_device_removed{instance="a",device="d"}': "1x40"},
    "LsndNextHopSilent": drops("neighbour_unresolved", 1200),
    "LsndOverload": {**drops("tx_full"),
                     'lsnd_device_rx_missed_total{instance="a",device="d"}': "0x40",
                     'lsnd_device_rx_no_buffer_total{instance="a",device="d"}': "0x40"},
    "LsndTimersLate": {'lsnd_worker_timer_lag{instance="a",worker="0"}': "200x40"},
    "LsndDropsMuch": {**drops("no_route"), 'lsnd_interface_rx_packets_total{instance="a"}':
                      "0+6000x40"},
    "LsndSessionTableFilling": {
        'lsnd_lsn_sessions{instance="a",worker="0",protocol="TCP"}': "50x40",
        'lsnd_lsn_sessions{instance="a",worker="0",protocol="UDP"}': "35x40",
        'lsnd_lsn_capacity_sessions{instance="a",worker="0"}': "100x40"},
    "LsndSubscriberTableFilling": {
        'lsnd_lsn_subscribers{instance="a",worker="0"}': "81x40",
        'lsnd_lsn_capacity_subscribers{instance="a",worker="0"}': "100x40"},
    "LsndMappingTableFilling": {
        'lsnd_lsn_mappings{instance="a",worker="0",protocol="TCP"}': "81x40",
        'lsnd_lsn_capacity_mappings{instance="a",worker="0"}': "100x40"},
    "LsndTableFull": drops("session_table_full", 1),
    "LsndAddressesExhausted": drops("ports_exhausted", 1),
    "LsndQuotaReached": drops("port_quota"),
    "LsndAlgTableFilling": {
        'lsnd_ipsecalg_gates{instance="a",worker="0"}': "81x40",
        'lsnd_ipsecalg_capacity_gates{instance="a",worker="0"}': "100x40"},
    "LsndGateBlocked": drops("ike_waiters_full", 1),
    "LsndGateWaitsLong": {
        f'lsnd_ipsecalg_profile_waited_seconds_bucket{{instance="a",profile="p",le="{le}"}}':
        f"0+{n}x40" for le, n in (("20", 5), ("30", 10), ("+Inf", 10))},
    "LsndGateDeadlines": {
        'lsnd_ipsecalg_closed_deadline_total{instance="a",worker="0"}': "0+60x40",
        'lsnd_ipsecalg_turns_total{instance="a",worker="0"}': "0+100x40"},
    "LsndSpiCollision": {
        'lsnd_ipsecalg_esp_spi_collision_total{instance="a",worker="0"}': "0x25 1x15"},
}

# The same series when all is well.
QUIET = {
    'up{instance="a",job="lsnd"}': "1x40",
    'lsnd_ready{instance="a"}': "1x40",
    'lsnd_control_silence_seconds{instance="a"}': "0.01x40",
    'lsnd_worker_silence_seconds{instance="a",worker="0"}': "0.25x40",
    'lsnd_worker_polls_total{instance="a",worker="0"}': "0+9x40",
    'lsnd_worker_timer_lag{instance="a",worker="0"}': "1x40",
    'lsnd_device_link_up{instance="a",device="d"}': "1x40",
    'lsnd_device_removed{instance="a",device="d"}': "0x40",
    'lsnd_device_rx_missed_total{instance="a",device="d"}': "5x40",
    'lsnd_device_rx_no_buffer_total{instance="a",device="d"}': "5x40",
    'lsnd_interface_rx_packets_total{instance="a"}': "0+600000x40",
    **drops("no_mapping", 60000), **drops("fragment_table_full", 6), **drops("ports_exhausted", 0),
    **drops("port_quota", 6), **drops("tx_full", 6), **drops("neighbour_unresolved", 60),
    'lsnd_lsn_sessions{instance="a",worker="0",protocol="TCP"}': "79x40",
    'lsnd_lsn_capacity_sessions{instance="a",worker="0"}': "100x40",
    'lsnd_lsn_subscribers{instance="a",worker="0"}': "79x40",
    'lsnd_lsn_capacity_subscribers{instance="a",worker="0"}': "100x40",
    'lsnd_ipsecalg_ike_sessions{instance="a",worker="0"}': "79x40",
    'lsnd_ipsecalg_capacity_ike_sessions{instance="a",worker="0"}': "100x40",
    'lsnd_ipsecalg_turns_total{instance="a",worker="0"}': "0+100x40",
    'lsnd_ipsecalg_closed_deadline_total{instance="a",worker="0"}': "0+10x40",
    'lsnd_ipsecalg_esp_spi_collision_total{instance="a",worker="0"}': "3x40",
}


def test_each_alert_fires_when_it_should_and_only_then(tmp_path):
    require("promtool")
    promtool("check", "rules", RULES)
    promtool("check", "config", SCRAPE)
    assert {rule["alert"] for rule in rules()} == set(FIRING)
    document = (PROJECT / "docs" / "metrics.md").read_text()
    for rule in rules():
        assert f"| `{rule['alert']}` | {rule['labels']['severity']} | " in document, rule["alert"]

    def case(series, alert, firing):
        return {"interval": "1m",
                "input_series": [{"series": s, "values": v} for s, v in series.items()],
                "promql_expr_test": [{
                    "expr": f'count(ALERTS{{{alert}alertstate="firing"}})', "eval_time": "35m",
                    "exp_samples": [{"labels": "{}", "value": 1}] if firing else []}]}
    cases = [case(series, f'alertname="{alert}",', True) for alert, series in FIRING.items()]
    cases.append(case(QUIET, "", False))
    file = tmp_path / "rules_test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m",
                                    "tests": cases}))
    promtool("test", "rules", file)
