// Where packets go when there is more than one way, and when routes change under them: routes from
// the kernel beside configured ones, equal-cost multipath (RFC 2992), backups.
#include "lsn/shared/fib.hpp"
#include "scenario.hpp"

namespace lsn::test {
namespace {

using shared::Fib;
using shared::RouteGroup;
using shared::RouteHop;

constexpr Ip kSecond = "198.51.100.20", kThird = "198.51.100.30";

class Ways : public Scenario {
 protected:
  /// The neighbour that a frame goes to, of those outside; "0.0.0.0": none of them.
  [[nodiscard]] static Ip neighbour_of(const Frame& frame) {
    for (const Ip ip : {kGateway, kSecond, kThird}) {
      const Mac mac = Lab::mac_of(ip);
      if (std::equal(mac.begin(), mac.end(), frame.bytes.begin())) return ip;
    }
    return {};
  }
  /// The way of a packet from inside, which must leave at once.
  Ip way_of(const IpPacket& packet, Where where = Where::current()) {
    const auto frames = lab().from_inside(packet.bytes());
    if (frames.size() != 1 || frames[0].device != 1) {
      fail(where) << frames.size() << " frames";
      return {};
    }
    return neighbour_of(frames[0]);
  }
  [[nodiscard]] static IpPacket from_host(unsigned host, Endpoint to = kServer) {
    return udp({Ip{"192.0.2.16"} + host, 4000}, to);
  }
  /// The ways of so many subscribers, all of them with a session by now.
  std::vector<Ip> ways_of_all(unsigned hosts = 200) {
    std::vector<Ip> ways;
    for (unsigned host = 0; host < hosts; ++host) ways.push_back(way_of(from_host(host)));
    return ways;
  }
  [[nodiscard]] static std::ptrdiff_t by(const std::vector<Ip>& ways, Ip neighbour) {
    return std::count(ways.begin(), ways.end(), neighbour);
  }
  /// The NAT gives up on a neighbour that it has known, while subscribers go on.
  void fail_while_in_use(Ip neighbour, unsigned hosts = 200) {
    lab().silence(neighbour);
    for (int i = 0; i < 10; ++i) {
      lab().advance(5s);
      for (unsigned host = 0; host < hosts; ++host) lab().from_inside(from_host(host).bytes());
    }
  }
  /// Walks over all sessions are done.
  void let_follow() {
    for (int i = 0; i < 300; ++i) lab().housekeep(64);
  }
};

// ── routes from the kernel ──────────────────────────────────────────────────────────────────────

class KernelRoutes : public Ways {
 protected:
  void start(const Config& config = Config::standard()) {
    Lab::Options options;
    options.fib = &fib_;
    Laboratory::start(config, GetParam(), options);
  }
  void route(std::string_view prefix, std::vector<RouteHop> hops, std::uint32_t tree = 0) {
    const Network n{prefix};
    RouteGroup& group = fib_.group(groups_);
    group.count = static_cast<std::uint32_t>(hops.size());
    std::copy(hops.begin(), hops.end(), group.hops.begin());
    ASSERT_TRUE(fib_.trie().set(tree, n.first.value, length_of(n), groups_++));
    fib_.raise_version();
  }
  void remove(std::string_view prefix, state::PrefixTrie::Match covering = {},
              std::uint32_t tree = 0) {
    const Network n{prefix};
    fib_.trie().remove(tree, n.first.value, length_of(n), covering);
    fib_.raise_version();
  }
  [[nodiscard]] static RouteHop outside(Ip via, unsigned weight = 1) {
    return {1, static_cast<std::uint16_t>(weight), wire::Ipv4Address{via.value}, false, true};
  }
  [[nodiscard]] static RouteHop inside(Ip via, unsigned interface = 0) {
    return {static_cast<std::uint16_t>(interface), 1, wire::Ipv4Address{via.value}, false, true};
  }
  [[nodiscard]] static unsigned length_of(const Network& n) {
    return 32 - static_cast<unsigned>(std::bit_width(n.first.value ^ n.last.value));
  }

  state::PageMemory memory_;
  Fib fib_{&memory_, 1024};
  std::uint32_t groups_ = 0;
};

TEST_P(KernelRoutes, ALongerOne_WinsOverTheConfigured) {
  start();
  EXPECT_EQ(way_of(from_host(0)), kGateway);
  route("198.18.0.0/15", {outside(kSecond)});
  EXPECT_EQ(way_of(from_host(1)), kSecond);
  EXPECT_EQ(way_of(from_host(2, {"8.8.8.8", 53})), kGateway);
  route("198.18.0.1/32", {outside(kThird)});
  EXPECT_EQ(way_of(from_host(3)), kThird);
  remove("198.18.0.1/32", {0, 15});
  EXPECT_EQ(way_of(from_host(4)), kSecond);
  remove("198.18.0.0/15");
  EXPECT_EQ(way_of(from_host(5)), kGateway);
}

TEST_P(KernelRoutes, OneOfTheSamePrefixAsAConfigured_Yields) {
  start();
  route("0.0.0.0/0", {outside(kSecond)});
  EXPECT_EQ(way_of(from_host(0)), kGateway);
}

TEST_P(KernelRoutes, WithoutAnyRoute_PacketsAreDroppedAndCounted) {
  Config config = Config::standard();
  config.routes.clear();
  start(config);
  refused(lab().from_inside(from_host(0).bytes()), DropReason::kNoRoute);
  route("0.0.0.0/0", {outside(kGateway)});
  EXPECT_EQ(way_of(from_host(0)), kGateway);
}

TEST_P(KernelRoutes, ASessionFollowsAChange_WithoutALostPacket) {
  start();
  for (const Ip each : {kSecond, kThird}) lab().introduce(1, each);
  ways_of_all();
  route("198.18.0.0/15", {outside(kSecond)});
  // The old way serves until the walk has come by.
  EXPECT_GT(by(ways_of_all(), kGateway), 0);
  let_follow();
  EXPECT_EQ(by(ways_of_all(), kSecond), 200);
  remove("198.18.0.0/15");
  let_follow();
  EXPECT_EQ(by(ways_of_all(), kGateway), 200);
}

TEST_P(KernelRoutes, ANewNextHop_IsTakenWhenItHasAnswered) {
  start();
  EXPECT_EQ(by(ways_of_all(20), kGateway), 20);
  lab().show_arp();
  route("198.18.0.0/15", {outside(kSecond)});
  lab().silence(kSecond);
  let_follow();
  for (unsigned host = 0; host < 20; ++host) EXPECT_EQ(way_of(from_host(host)), kGateway);
  lab().unsilence(kSecond);
  lab().advance(3s);
  for (unsigned host = 0; host < 20; ++host) EXPECT_EQ(way_of(from_host(host)), kSecond);
}

TEST_P(KernelRoutes, ANextHopThatNeverAnswers_IsTakenAllTheSame) {
  // What was its way is none any more.
  start();
  ways_of_all(1);
  lab().silence(kSecond);
  route("198.18.0.0/15", {outside(kSecond)});
  lab().advance(3s);
  expect_frames(lab().from_inside(from_host(0).bytes()), {});
  lab().unsilence(kSecond);
  lab().advance(15s);
  EXPECT_EQ(way_of(from_host(0)), kSecond);
  expect_only_drops({DropReason::kNeighbourUnresolved});
}

TEST_P(KernelRoutes, AWithdrawnRouteWithoutAnother_EndsNoSession) {
  Config config = Config::standard();
  config.routes.clear();
  start(config);
  route("0.0.0.0/0", {outside(kGateway)});
  const Endpoint nat = translated(udp(kClient, kServer));
  remove("0.0.0.0/0");
  let_follow();
  refused(lab().from_inside(udp(kClient, kServer).bytes()), DropReason::kNoRoute);
  route("0.0.0.0/0", {outside(kGateway)});
  translated_to(udp(kClient, kServer), nat);
}

TEST_P(KernelRoutes, OneInside_LeadsToClients) {
  Config config = Config::standard();
  config.group().clients = {"10.20.0.0/16"};
  start(config);
  route("10.20.0.0/16", {inside("192.0.2.99")}, fib_.tree_of(0));
  const Endpoint client = {"10.20.3.4", 4000};
  const IpPacket packet = udp(client, kServer);
  const auto out = lab().from_inside(packet.bytes());
  ASSERT_EQ(out.size(), 1u);
  const Endpoint nat = source_of(behind_link(out[0].bytes));
  const IpPacket back = udp(kServer, nat);
  expect_frames(lab().from_outside(back.bytes()),
                {lab().frame_to(0, "192.0.2.99", back.to(client).hop().bytes())});
  // It is no way outside for what comes from inside.
  remove("10.20.0.0/16", {}, fib_.tree_of(0));
  let_follow();
  refused_from_outside(back, DropReason::kNoRoute);
}

TEST_P(KernelRoutes, ThoseOfADomain_AreItsOwn) {
  Config config = Config::standard();
  config.interfaces.push_back({.name = "seven",
                               .side = Side::kInside,
                               .address = "192.0.2.1/24",
                               .device = 0,
                               .vlan = 7,
                               .td = 7});
  config.group().clients = {"10.20.0.0/16", Network{std::string_view{"10.20.0.0/16 td 7"}}};
  start(config);
  route("10.20.0.0/16", {inside("192.0.2.77", 2)}, fib_.tree_of(7));
  const auto out = lab().send(2, udp({"10.20.3.4", 4000}, kServer).bytes());
  ASSERT_EQ(out.size(), 1u);
  const Endpoint nat = source_of(behind_link(out[0].bytes));
  const auto back = lab().from_outside(udp(kServer, nat).bytes());
  ASSERT_EQ(back.size(), 1u);
  const Mac router = Lab::mac_of("192.0.2.77");
  EXPECT_TRUE(std::equal(router.begin(), router.end(), back[0].bytes.begin()));
  // Domain 0 has the same clients, and no way to them.
  const auto other = lab().from_inside(udp({"10.20.3.4", 4000}, kServer).bytes());
  ASSERT_EQ(other.size(), 1u);
  refused_from_outside(udp(kServer, source_of(behind_link(other[0].bytes))), DropReason::kNoRoute);
}

// ── several ways ────────────────────────────────────────────────────────────────────────────────

TEST_P(KernelRoutes, SeveralWays_AreSharedBySubscribersInProportion) {
  start();
  for (const Ip each : {kSecond, kThird}) lab().introduce(1, each);
  route("198.18.0.0/15", {outside(kSecond, 3), outside(kThird, 1)});
  const auto ways = ways_of_all();
  EXPECT_EQ(by(ways, kSecond) + by(ways, kThird), 200);
  EXPECT_NEAR(static_cast<double>(by(ways, kSecond)), 150, 25);
  // All that a subscriber sends takes one way.
  for (unsigned host = 0; host < 200; ++host) {
    EXPECT_EQ(way_of(from_host(host, {"198.19.7.7", 443})), ways[host]);
    EXPECT_EQ(way_of(tcp({Ip{"192.0.2.16"} + host, 9}, {"198.18.3.3", 80}, kSyn)), ways[host]);
  }
}

class SeveralWays : public Ways {
 protected:
  void start_with(std::vector<RouteConfig> routes) {
    Config config = Config::standard();
    config.routes = std::move(routes);
    start(config);
    for (const RouteConfig& route : config.routes) lab().introduce(1, route.via);
  }
};

TEST_P(SeveralWays, OneThatFails_MovesItsOwnSubscribersAlone) {
  start_with({{"0.0.0.0/0", kGateway}, {"0.0.0.0/0", kSecond}, {"0.0.0.0/0", kThird}});
  const auto before = ways_of_all();
  for (const Ip each : {kGateway, kSecond, kThird})
    EXPECT_NEAR(static_cast<double>(by(before, each)), 67, 30);
  fail_while_in_use(kSecond);
  const auto after = ways_of_all();
  for (unsigned host = 0; host < 200; ++host) {
    if (before[host] == kSecond)
      EXPECT_NE(after[host], kSecond);
    else
      EXPECT_EQ(after[host], before[host]);
  }
  // It is back: so are they.
  lab().unsilence(kSecond);
  for (int i = 0; i < 6; ++i) {
    lab().advance(5s);
    ways_of_all();
  }
  EXPECT_EQ(ways_of_all(), before);
  expect_only_drops({});
}

TEST_P(SeveralWays, ABackup_IsTakenWhileNoOtherAnswers) {
  start_with({{"0.0.0.0/0", kGateway}, {.prefix = "0.0.0.0/0", .via = kSecond, .is_backup = true}});
  EXPECT_EQ(by(ways_of_all(), kGateway), 200);
  fail_while_in_use(kGateway);
  EXPECT_EQ(by(ways_of_all(), kSecond), 200);
  lab().unsilence(kGateway);
  for (int i = 0; i < 6; ++i) {
    lab().advance(5s);
    ways_of_all();
  }
  EXPECT_EQ(by(ways_of_all(), kGateway), 200);
}

TEST_P(SeveralWays, ThatAreNotTracked_AreKept) {
  start_with({{.prefix = "0.0.0.0/0", .via = kGateway, .is_tracked = false},
              {.prefix = "0.0.0.0/0", .via = kSecond, .is_tracked = false}});
  const auto before = ways_of_all(50);
  fail_while_in_use(kSecond, 50);
  for (unsigned host = 0; host < 50; ++host) {
    if (before[host] == kSecond)
      expect_frames(lab().from_inside(from_host(host).bytes()), {});
    else
      EXPECT_EQ(way_of(from_host(host)), kGateway);
  }
  lab().advance(5s);
  expect_only_drops({DropReason::kNeighbourUnresolved, DropReason::kNeighbourQueueFull});
}

TEST_P(SeveralWays, AllOfWhichFail_WaitForTheSubscribersOwn) {
  start_with({{"0.0.0.0/0", kGateway}, {"0.0.0.0/0", kSecond}});
  const Ip before = way_of(from_host(0));
  for (const Ip each : {kGateway, kSecond}) lab().silence(each);
  for (int i = 0; i < 15; ++i) {
    lab().advance(5s);
    lab().from_inside(from_host(0).bytes());
  }
  lab().unsilence(before);
  lab().advance(15s);
  EXPECT_EQ(way_of(from_host(0)), before);
  expect_only_drops({DropReason::kNeighbourUnresolved, DropReason::kNeighbourQueueFull});
}

INSTANTIATE_TEST_SUITE_P(Sharded, KernelRoutes, shardings(), sharding_name);
INSTANTIATE_TEST_SUITE_P(Sharded, SeveralWays, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
