"""Deterministic NAT and port blocks: who has which NAT address and ports, by the box, by lsnctl
without a box, and by an implementation of the design's words that shares nothing with either."""

import ipaddress
import json
import random
import re
import subprocess

from daemon import BIN, file_text
from lab import S1, client_address, udp_exchange, wait_until

FIRST_PORT = 1024
C1, C2 = client_address(1), client_address(2)


def addresses(ranges):
    """All addresses of networks and ranges, in ascending order, each once."""
    found = set()
    for text in ranges:
        if "-" in text:
            first, last = (int(ipaddress.ip_address(part)) for part in text.split("-"))
        else:
            network = ipaddress.ip_network(text)
            first, last = int(network[0]), int(network[-1])
        found.update(range(first, last + 1))
    return sorted(found)


def deterministic(subscribers, nat, size, policy):
    """{subscriber: (NAT address, first port, last port)}: subscribers and NAT addresses are taken
    in ascending order; the ports from 1024 on are cut into blocks."""
    per_address = (65536 - FIRST_PORT) // size
    if policy == "PORTS":
        blocks = [(a, b) for a in nat for b in range(per_address)]
    else:
        blocks = [(a, b) for b in range(per_address) for a in nat]
    return {str(ipaddress.ip_address(s)): (str(ipaddress.ip_address(a)), FIRST_PORT + b * size,
                                           FIRST_PORT + b * size + size - 1)
            for s, (a, b) in zip(subscribers, blocks)}


def random_configuration(daemon, groups, rng):
    """Groups with clients of a few networks each, and what each subscriber has by the above."""
    config = daemon.sample()
    config["lsn"] = {"client": [], "pool": [], "group": []}
    config.pop("ipsecalg")
    expected = {}
    for g in range(groups):
        size = rng.choice([256, 504, 1000, 4096, rng.randrange(256, 20000)])
        base = f"10.{g // 4}.{g % 4 * 64}"
        networks = [f"{base}.{16 * n}/{rng.randrange(28, 33)}" for n in rng.sample(range(16), 3)]
        networks = [str(ipaddress.ip_network(n)) for n in networks]
        pools = {}
        start = (100 << 24) + (64 << 16) + g * 256
        for p in range(rng.randrange(1, 3)):
            first = start + p * 100 + rng.randrange(50)
            last = first + rng.randrange(1, 8)
            pools[f"P{g}-{p}"] = f"{ipaddress.ip_address(first)}-{ipaddress.ip_address(last)}"
        policy = rng.choice(["PORTS", "IPADDRS"])
        subscribers, nat = addresses(networks), addresses(pools.values())
        if len(subscribers) > len(nat) * ((65536 - FIRST_PORT) // size):
            size = 256
        names = list(pools)
        rng.shuffle(names)
        config["lsn"]["client"].append({"name": f"C{g}", "network": rng.sample(networks, 3)})
        config["lsn"]["pool"] += [{"name": n, "nattype": "DETERMINISTIC", "lsnip": [pools[n]]}
                                  for n in names]
        config["lsn"]["group"].append({"name": f"G{g}", "clientname": f"C{g}", "poolname": names,
                                       "nattype": "DETERMINISTIC", "allocPolicy": policy,
                                       "portblocksize": size})
        expected.update(deterministic(subscribers, nat, size, policy))
    return config, expected


def offline(file, *options):
    done = subprocess.run([BIN / "lsnctl", "--json", "deterministic", file, *options], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)
    assert done.returncode == 0, done
    return table(json.loads(done.stdout))


def table(answer):
    assert answer["count"] == len(answer["deterministic"])
    return {row["subscrip"]: (row["natip"], row["firstport"], row["lastport"])
            for row in answer["deterministic"]}


def test_lsnctl_without_a_box_answers_as_the_designs_words_do(daemon, tmp_path):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    file = tmp_path / "deterministic.conf"
    # Two hundred groups of a file each time: ten thousand in all.
    for _ in range(50):
        config, expected = random_configuration(daemon, 200, rng)
        file.write_text(file_text(config))
        assert offline(file) == expected
    for subscriber in rng.sample(sorted(expected), 20):
        nat, first, last = expected[subscriber]
        port = rng.randrange(first, last + 1)
        assert offline(file, "-natIP", nat, "-natPort", str(port)) == {
            subscriber: expected[subscriber]}
        assert offline(file, "-subscrIP", subscriber) == {subscriber: expected[subscriber]}
        assert offline(file, "-natIP", nat) == {
            s: block for s, block in expected.items() if block[0] == nat}


def test_the_box_answers_as_lsnctl_does(lab, daemon):
    rng = random.Random(4)
    config, expected = random_configuration(daemon, 40, rng)
    config["routes"].append({"prefix": "10.0.0.0/8", "via": C1})
    daemon.start(config)
    assert table(daemon.ctl("show", "lsn", "deterministicNat")) == expected
    for subscriber in rng.sample(sorted(expected), 10):
        nat, first, _ = expected[subscriber]
        answer = daemon.ctl("show", "lsn", "deterministicNat", "-natIP", nat, "-natPort", str(first))
        assert table(answer) == {subscriber: expected[subscriber]}
    assert "nobody's" in daemon.fails("show", "lsn", "deterministicNat", "-natIP", nat,
                                      "-natPort", "80")
    assert "deterministic group" in daemon.fails("show", "lsn", "deterministicNat", "-subscrIP",
                                                 "192.0.2.1")


def deterministic_sample(daemon, policy="PORTS", size=504):
    config = daemon.sample()
    config["lsn"]["pool"][0].update(nattype="DETERMINISTIC")
    config["lsn"]["group"][0].update(nattype="DETERMINISTIC", allocPolicy=policy,
                                     portblocksize=size)
    return config


def test_traffic_leaves_from_the_block_that_the_answer_names(lab, daemon):
    daemon.start(deterministic_sample(daemon))
    servers = [lab.s1.udp(port) for port in (9, 10, 11)]
    for host, address in ((lab.c1, C1), (lab.c2, C2)):
        block, = daemon.ctl("show", "lsn", "deterministicNat", "-subscrIP",
                            address)["deterministic"]
        for server in servers:
            nat, nat_port = udp_exchange(host.udp(), server, (S1, server.getsockname()[1]))
            assert nat == block["natip"]
            assert block["firstport"] <= nat_port <= block["lastport"]
        page = daemon.ctl("show", "subscriber", address)
        assert page["deterministic"]["first_port"] == block["firstport"]
        said = daemon.table("explain", f"{address}:5000", f"{S1}:99")
        assert f"{block['natip']}:{block['firstport']}-{block['lastport']}" in said


def test_more_subscribers_than_blocks_change_nothing(lab, daemon):
    daemon.start(deterministic_sample(daemon))
    before = daemon.ctl("show", "lsn", "deterministicNat", "-subscrIP", C1)
    said = daemon.fails("set", "lsn", "group", "LSN-GROUP-1", "-portblocksize", "4096")
    assert "256 subscribers and 105 blocks of 4096 ports: 151 blocks are missing" in said
    assert daemon.ctl("show", "lsn", "deterministicNat", "-subscrIP", C1) == before
    udp_exchange(lab.c1.udp(), lab.s1.udp(9), (S1, 9))


def blocks_sample(daemon, **group):
    config = daemon.sample()
    config["lsn"]["pool"][0].update(portblockallocation="ENABLED")
    config["lsn"]["group"][0].update(portblocksize=256, **group)
    return config


def test_port_blocks_are_shown_counted_and_given_back(lab, daemon):
    daemon.start(blocks_sample(daemon, blockTimeout=1))
    nat, port = udp_exchange(lab.c1.udp(), lab.s1.udp(9), (S1, 9))
    blocks = daemon.ctl("show", "lsn", "portblock")["blocks"]
    assert [b["subscriber"] for b in blocks] == [C1]
    assert blocks[0]["nat_ip"] == nat
    assert blocks[0]["first_port"] <= port <= blocks[0]["last_port"]
    assert blocks[0]["last_port"] - blocks[0]["first_port"] == 255
    assert blocks[0]["ports"] == {"tcp": 0, "udp": 1, "icmp": 0}
    assert daemon.ctl("stat", "lsn", "pool")["pools"][0]["blocks"] == 1
    assert daemon.ctl("show", "subscriber", C1)["blocks"] == blocks
    said = daemon.table("explain", f"{C1}:5000", f"{S1}:99")
    assert re.search(rf"a free port of {nat}:\d+-\d+, its port block", said), said
    daemon.ctl("flush", "lsn", "session")
    wait_until("the block is given back",
               lambda: daemon.ctl("show", "lsn", "portblock", "-count")["count"] == 0, 10)


def test_port_blocks_are_switched_on_under_traffic_without_losing_a_session(lab, daemon):
    daemon.start()
    client, server = lab.c1.udp(), lab.s1.udp(9)
    seen = udp_exchange(client, server, (S1, 9))
    daemon.ctl("set", "lsn", "pool", "LSN-POOL-1", "-portblockallocation", "ENABLED")
    assert udp_exchange(client, server, (S1, 9)) == seen
    block, = daemon.ctl("show", "lsn", "portblock")["blocks"]
    assert block["nat_ip"] == seen[0] and block["first_port"] <= seen[1] <= block["last_port"]
