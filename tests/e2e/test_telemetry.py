"""The counters on DPDK's own telemetry socket, as monitoring agents read them."""

import json
import socket

import pytest

from daemon import profile
from lab import S1, udp_exchange, wait_until


class Telemetry:
    """DPDK's protocol: one packet asks, one answers with a JSON document."""

    def __init__(self, lab):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(5)
        self.socket.connect(f"/var/run/dpdk/{lab.id}/dpdk_telemetry.v2")
        self.size = json.loads(self.socket.recv(1024))["max_output_len"]

    def ask(self, command):
        self.socket.send(command.encode())
        return json.loads(self.socket.recv(self.size))[command.split(",")[0]]

    def close(self):
        self.socket.close()


@pytest.fixture
def telemetry(lab, daemon):
    config = daemon.sample()
    config["dataplane"]["workers"] = [0, 1]
    config["lsn"]["appsprofile"].append(profile("U", "UDP", ["1-499"], ippooling="RANDOM"))
    config["lsn"]["group"][0]["appsprofilename"].append("U")
    daemon.start(config)
    telemetry = Telemetry(lab)
    yield telemetry
    telemetry.close()


def test_telemetry_and_lsnctl_say_the_same(lab, daemon, telemetry):
    server = lab.s1.udp(9)
    for client in lab.clients:
        udp_exchange(client.udp(), server, (S1, 9), tries=3)
    for port in range(2000, 2010):
        server.sendto(b"hello?", ("203.0.113.5", port))
    wait_until("the drops are counted", lambda: telemetry.ask("/lsn/drops")["no_mapping"] >= 10)

    stat, table = telemetry.ask("/lsn/stat"), daemon.ctl("stat", "lsn")
    udp = next(p for p in table["protocols"] if p["protocol"] == "UDP")
    assert stat["udp"]["sessions"] == udp["sessions"] == 3
    assert stat["udp"]["outbound_packets"] == udp["outbound_packets"] >= 3
    assert stat["subscribers"] == 3
    assert set(stat["udp"]) == set(udp) - {"protocol"}
    assert set(telemetry.ask("/lsn/drops")) == set(daemon.drops())

    total, told = telemetry.ask("/lsn/ipsecalg"), daemon.ctl("stat", "ipsecalg")
    assert set(total) == set(told["total"]) - {"turns_closed"}
    assert sum(total["waited"].values()) == sum(b["messages"] for b in told["total"]["waited"])
    profile = told["profiles"][0]
    assert set(telemetry.ask(f"/lsn/ipsecalg,{profile['id']}")) == set(total) - {"gates"}
    for wrong in ("64", "-1", "x"):
        assert telemetry.ask(f"/lsn/ipsecalg,{wrong}") is None

    interfaces = telemetry.ask("/lsn/interfaces")
    assert [interfaces[n]["name"] for n in ("0", "1")] == ["inside", "outside"]
    assert all(i["rx_packets"] >= 3 and i["tx_bytes"] > 0 for i in interfaces.values())

    assert telemetry.ask("/lsn/workers") == [0, 1]
    workers = [telemetry.ask(f"/lsn/workers,{n}") for n in (0, 1)]
    assert sum(w["sessions"] for w in workers) == 3
    assert [w["cpu"] for w in workers] == [0, 1]
    for wrong in ("2", "-1", "x"):
        assert telemetry.ask(f"/lsn/workers,{wrong}") is None
