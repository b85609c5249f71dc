"""Routes from the kernel: what a daemon puts into the kernel's table, by kernel interfaces, is where
the box sends its subscribers' packets."""

import time

import pytest

from lab import OUTSIDE_GATEWAY, S1, S2, udp_exchange, wait_until
from netns import Namespace, require
from test_kernel_path import bird, with_kernel

FAR = "198.18.5.5"  # behind S2; the box's own default route leads to S1


@pytest.fixture
def kernel(lab):
    """The namespace of the kernel interfaces."""
    namespace = Namespace(f"{lab.id}-kernel")
    yield namespace
    namespace.delete()


@pytest.fixture
def far(lab):
    """A host's address behind S2."""
    lab.s2.ip("address", "add", f"{FAR}/32", "dev", "lo")
    yield lab.s2.udp(9, FAR)
    lab.s2.ip("address", "del", f"{FAR}/32", "dev", "lo")


def with_routes(daemon, kernel, **routing):
    config = with_kernel(daemon, kernel)
    config["routing"] = {"kernelRoutes": True, **routing}
    return config


def routes(daemon, *more):
    return [route for route in daemon.ctl("show", "route", *more)["routes"]
            if route["kind"] == "KERNEL"]


def status(daemon):
    return daemon.ctl("stat", "route")["kernel"]


def start(daemon, config):
    daemon.start(config)
    wait_until("the table has been read", lambda: status(daemon)["complete"])


def reaches_far(lab, far):
    client = lab.c1.udp()
    client.settimeout(0.5)
    try:
        udp_exchange(client, far, (FAR, 9))
        return True
    except TimeoutError:
        return False


def test_what_is_in_the_kernels_table_is_the_way(lab, daemon, kernel, far):
    far.settimeout(0.5)
    start(daemon, with_routes(daemon, kernel))
    assert not reaches_far(lab, far)
    kernel.ip("route", "add", "198.18.0.0/15", "via", S2, "proto", "bgp", "metric", "20")
    wait_until("the route is there", lambda: routes(daemon))
    assert routes(daemon) == [{"prefix": "198.18.0.0/15", "via": S2, "interface": "outside",
                               "kind": "KERNEL", "weight": 1, "from": "bgp", "metric": 20,
                               "state": "ACTIVE"}]
    assert daemon.ctl("show", "route", FAR)["routes"] == routes(daemon)
    assert reaches_far(lab, far)
    explained = daemon.table("explain", "192.0.2.11:4000", f"{FAR}:9", "UDP")
    assert f"{S2} on outside; the kernel's route 198.18.0.0/15 (bgp)" in explained, explained
    kernel.ip("route", "del", "198.18.0.0/15", "metric", "20")
    wait_until("the route has gone", lambda: not routes(daemon))
    assert not reaches_far(lab, far)


def test_a_session_follows_its_route_without_a_lost_packet(lab, daemon, kernel, far):
    start(daemon, with_routes(daemon, kernel))
    lab.s1.ip("address", "add", f"{FAR}/32", "dev", "lo")
    first = lab.s1.udp(9, FAR)
    client = lab.c1.udp()
    seen = udp_exchange(client, first, (FAR, 9))
    kernel.ip("route", "add", "198.18.0.0/15", "via", S2)
    time.sleep(2.5)
    assert udp_exchange(client, far, (FAR, 9)) == seen
    kernel.ip("route", "del", "198.18.0.0/15")
    time.sleep(2.5)
    assert udp_exchange(client, first, (FAR, 9)) == seen
    assert daemon.dropped("no_route") == 0
    lab.s1.ip("address", "del", f"{FAR}/32", "dev", "lo")


def test_only_what_leads_by_our_interfaces_to_neighbours_is_taken(lab, daemon, kernel):
    kernel.ip("tuntap", "add", "other", "mode", "tap")
    kernel.ip("address", "add", "10.99.0.1/24", "dev", "other")
    kernel.ip("link", "set", "other", "up")
    daemon.start(with_routes(daemon, kernel))
    kernel.ip("route", "add", "10.1.0.0/16", "via", "10.99.0.2")
    kernel.ip("route", "add", "blackhole", "203.0.113.0/24")
    kernel.ip("route", "add", "10.2.0.0/16", "dev", "k-out")  # to no neighbour
    kernel.ip("route", "add", "10.3.0.0/16", "via", S1, "table", "77")
    kernel.ip("route", "add", "10.4.0.0/16", "via", S1, "tos", "4")
    kernel.ip("route", "add", "10.5.0.0/16", "via", S1)
    wait_until("one is taken", lambda: routes(daemon))
    time.sleep(0.3)
    assert [route["prefix"] for route in routes(daemon)] == ["10.5.0.0/16"]
    assert status(daemon)["unusable"] == 1


def test_another_table_and_what_was_there_before(lab, daemon, kernel):
    # The interface, and so its routes, come with lsnd: what is there before it reads is added fast.
    daemon.start(with_routes(daemon, kernel, table=77))
    kernel.ip("route", "add", "10.3.0.0/16", "via", S1, "table", "77")
    kernel.ip("route", "add", "10.5.0.0/16", "via", S1)
    wait_until("one is taken", lambda: routes(daemon))
    assert [route["prefix"] for route in routes(daemon)] == ["10.3.0.0/16"]


def test_several_ways_metrics_and_next_hop_objects(lab, daemon, kernel):
    start(daemon, with_routes(daemon, kernel))
    kernel.ip("route", "add", "10.1.0.0/16", "nexthop", "via", S1, "weight", "3", "nexthop", "via",
              S2, "weight", "1")
    wait_until("both ways", lambda: len(routes(daemon)) == 2)
    assert {(route["via"], route["weight"]) for route in routes(daemon)} == {(S1, 3), (S2, 1)}
    kernel.ip("route", "del", "10.1.0.0/16")
    kernel.ip("route", "add", "10.1.0.0/16", "via", S1, "metric", "20")
    kernel.ip("route", "add", "10.1.0.0/16", "via", S2, "metric", "10")

    def shown():
        return {(route["via"], route["metric"], route["state"]) for route in routes(daemon)}
    wait_until("both metrics", lambda: shown() == {(S1, 20, "INACTIVE"), (S2, 10, "ACTIVE")})
    kernel.ip("route", "del", "10.1.0.0/16", "metric", "10")
    wait_until("the other one", lambda: shown() == {(S1, 20, "ACTIVE")})
    kernel.ip("route", "del", "10.1.0.0/16", "metric", "20")
    # As FRR does it: a route names an object, which is changed, and goes with it.
    kernel.ip("nexthop", "add", "id", "5", "via", S1, "dev", "k-out")
    kernel.ip("route", "add", "10.2.0.0/16", "nhid", "5")
    wait_until("by an object", lambda: shown() == {(S1, 0, "ACTIVE")})
    kernel.ip("nexthop", "replace", "id", "5", "via", S2, "dev", "k-out")
    wait_until("by the changed object", lambda: shown() == {(S2, 0, "ACTIVE")})
    kernel.ip("nexthop", "del", "id", "5")
    wait_until("the route goes with it", lambda: not routes(daemon))


def test_what_the_kernel_drops_without_a_word_goes(lab, daemon, kernel):
    start(daemon, with_routes(daemon, kernel))
    kernel.ip("route", "add", "10.1.0.0/16", "via", S1)
    wait_until("it is there", lambda: routes(daemon))
    kernel.ip("link", "set", "k-out", "down")
    wait_until("it has gone with the interface", lambda: not routes(daemon))
    kernel.ip("link", "set", "k-out", "up")
    kernel.ip("route", "add", "10.1.0.0/16", "via", S2)
    wait_until("it is there again", lambda: routes(daemon))
    kernel.ip("link", "del", "k-out")
    wait_until("it has gone with the interface", lambda: not routes(daemon))
    daemon.wait_log(["outside", "k-out", "there again"])
    kernel.ip("route", "add", "10.1.0.0/16", "via", S2)
    wait_until("the interface of that name counts", lambda: routes(daemon))


def test_a_namespace_that_is_made_anew_is_followed(lab, daemon, kernel):
    start(daemon, with_routes(daemon, kernel))
    kernel.ip("route", "add", "10.1.0.0/16", "via", S1)
    wait_until("it is there", lambda: routes(daemon))
    kernel.delete()
    anew = Namespace(kernel.name)  # which the fixture deletes
    daemon.wait_log(["outside", "k-out", "there again"])
    wait_until("it has gone with the former one", lambda: not routes(daemon))
    anew.ip("route", "add", "10.2.0.0/16", "via", S1)
    wait_until("what is in the new one counts", lambda: routes(daemon))
    assert [route["prefix"] for route in routes(daemon)] == ["10.2.0.0/16"]


def test_many_at_once_and_changes_in_swarms(lab, daemon, kernel, tmp_path):
    start(daemon, with_routes(daemon, kernel))
    prefixes = [f"10.{i >> 8}.{i & 255}.0/24" for i in range(20000)]
    batch = tmp_path / "routes"
    batch.write_text("".join(f"route add {p} via {S1}\n" for p in prefixes))
    kernel.ip("-batch", batch)
    wait_until("all are there",
               lambda: daemon.ctl("show", "route", "-count")["count"] == 20003, 30)
    batch.write_text("".join(f"route replace {p} via {S2}\n" for p in prefixes))
    kernel.ip("-batch", batch)
    wait_until("all are changed", lambda: daemon.ctl("show", "route", "10.60.1.1")["routes"][0]
               ["via"] == S2 and status(daemon)["changes"] >= 40000, 30)
    assert {route["via"] for route in routes(daemon)} == {S2}
    kernel.ip("route", "flush", "root", "10.0.0.0/8")
    wait_until("all have gone", lambda: not routes(daemon), 30)
    assert status(daemon)["routes"] == 0 and status(daemon)["ways"] == 0


def test_check_wants_a_kernel_interface(lab, daemon, kernel):
    config = daemon.sample()
    config["routing"] = {"kernelRoutes": True}
    code, said = daemon.check(config)
    assert code == 2 and "only with an interface that has kernel" in said, said
    code, said = daemon.check(with_routes(daemon, kernel))
    assert code == 0 and "routes from the kernel: of its table 254" in said, said


def test_routes_that_bird_hears_by_bgp_carry_the_subscribers(lab, daemon, kernel, far, tmp_path):
    require("bird", "birdc")
    start(daemon, with_routes(daemon, kernel))
    box = bird(kernel, tmp_path, own=OUTSIDE_GATEWAY, peer=S2, as_own=64501, as_peer=64502,
               routes="route 203.0.113.0/24 blackhole;", more="protocol kernel { ipv4 { export all; }; }")
    router = bird(lab.s2, tmp_path, own=S2, peer=OUTSIDE_GATEWAY, as_own=64502, as_peer=64501,
                  routes="route 198.18.0.0/15 blackhole;")
    wait_until("BGP is established", lambda: "Established" in box("show", "protocols"), 30)
    wait_until("its route is ours", lambda: routes(daemon), 10)
    assert routes(daemon)[0]["from"] == "bird" and routes(daemon)[0]["via"] == S2
    assert reaches_far(lab, far)
    # It withdraws: BIRD takes the route out of the kernel, and so do we.
    router("disable", "static1")
    wait_until("it has been withdrawn", lambda: not routes(daemon), 10)
