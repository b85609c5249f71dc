// NAT ports: range and parity (RFC 4787 REQ-3, REQ-4), never one for two (no overloading), hard to
// guess (RFC 6056), and the wait before they are used again (portrealloctimeout).
#include <algorithm>
#include <map>
#include <set>

#include "scenario.hpp"

namespace lsn::test {
namespace {

class Ports : public Scenario {
 protected:
  static IpPacket first(Protocol protocol, Endpoint from, Endpoint to) {
    return protocol == Protocol::kTcp ? tcp(from, to, kSyn) : udp(from, to);
  }
  static Endpoint client(unsigned port) { return {kClient.ip, static_cast<std::uint16_t>(port)}; }
  /// A few ports are left, of a few addresses: each of them is found, whoever asks.
  void use_up(Pooling pooling) {
    Config config = Config::standard();
    config.pool().addresses = {"203.0.112.0-203.0.112.99"};
    config.group().app(Protocol::kUdp, {.pooling = pooling});
    config.pool().realloc_timeout = 0s;
    start(config);
    unsigned free = 0;
    std::map<unsigned, unsigned> left;  // by shard
    for (unsigned i = 0; i < 100; ++i) {
      const Ip ip = Ip{"203.0.112.0"} + i;
      const unsigned leave = i % 33 == 7 ? 2 : 0;
      free += take_high_ports(ip, Protocol::kUdp, leave);
      left[owner_of_nat(ip)] += leave;
    }
    ASSERT_EQ(free, 6u);
    unsigned port = 1000;
    for (unsigned n = 0; n < 50; ++n) {
      const Ip subscriber = Ip{"192.0.2.10"} + n;
      const unsigned shard = owner_of(subscriber);
      const IpPacket packet = udp({subscriber, static_cast<std::uint16_t>(++port)}, kServer);
      if (left[shard] != 0) {
        --left[shard];
        translated(packet);
      } else {
        (void)lab().from_inside(packet.bytes());
        expect_drops({{DropReason::kPoolExhausted, 1}});
      }
    }
    for (const auto& [shard, n] : left) EXPECT_EQ(n, 0u) << "shard " << shard;
    // What ends makes room at once, for whoever comes next on that shard.
    lab().advance(130s);
    EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
    translated(udp({Ip{"192.0.2.10"}, 999}, kServer));
  }
};

TEST_P(Ports, HighPortsStayHigh) {
  Config config = Config::standard();
  config.group().udp().preserve_range = true;
  start(config);
  for (unsigned port = 1024; port < 1324; ++port) {
    EXPECT_GE(translated(udp(client(port), kServer)).port, 1024);
    EXPECT_GE(translated(tcp(client(port), kServer, kSyn)).port, 1024);
  }
}

TEST_P(Ports, WellKnownPortsStayWellKnownWhereConfigured) {
  Config config = Config::standard();
  config.group().udp().preserve_range = true;
  start(config);
  for (unsigned port = 1; port < 200; ++port) {
    const Endpoint kept = translated(udp(client(port), kServer));
    EXPECT_GE(kept.port, 1);
    EXPECT_LT(kept.port, 1024);
    // TCP has a profile of its own, which does not say so.
    EXPECT_GE(translated(tcp(client(port), kServer, kSyn)).port, 1024);
  }
}

TEST_P(Ports, PortParity_IsPreservedWhereConfigured) {
  Config config = Config::standard();
  config.group().udp().preserve_parity = true;
  start(config);
  std::set<unsigned> tcp_parities;
  for (unsigned port = 5000; port < 5200; ++port) {
    EXPECT_EQ(translated(udp(client(port), kServer)).port % 2, port % 2);
    if (port % 2 == 0) tcp_parities.insert(translated(tcp(client(port), kServer, kSyn)).port % 2u);
  }
  EXPECT_EQ(tcp_parities.size(), 2u) << "TCP's profile does not keep parity";
}

TEST_P(Ports, PortRangeAndParity_YieldWhenNoSuchPortIsLeft) {
  Config config = Config::standard();
  config.pool().addresses = {"203.0.113.5"};
  config.group().udp().preserve_parity = true;
  config.group().udp().preserve_range = true;
  start(config, {.max_sessions = 8192});
  std::set<std::uint16_t> used;
  unsigned destination = 0;
  const auto next = [&] {
    ++destination;
    const Endpoint nat =
        translated(udp(client(22), {"198.18.0.1", static_cast<std::uint16_t>(destination)}));
    EXPECT_TRUE(used.insert(nat.port).second) << nat.port;
    return nat.port;
  };
  // 511 even ones of 1-1023: 2, 4, ... 1022. RFC 4787 REQ-3 a) and REQ-4 are recommendations: then
  // the 512 odd ones of that range, then even ones of the other.
  for (unsigned i = 0; i < 511; ++i) {
    const std::uint16_t port = next();
    EXPECT_TRUE(port < 1024 && port % 2 == 0) << port;
  }
  for (unsigned i = 0; i < 512; ++i) {
    const std::uint16_t port = next();
    EXPECT_TRUE(port < 1024 && port % 2 == 1) << port;
  }
  for (unsigned i = 0; i < 200; ++i) {
    const std::uint16_t port = next();
    EXPECT_TRUE(port >= 1024 && port % 2 == 0) << port;
  }
  // High ports never get low ones: these are for those who had one.
  for (unsigned i = 0; i < 50; ++i)
    EXPECT_GE(translated(udp(client(30000 + i), kServer)).port, 1024);
}

TEST_P(Ports, PortRangeAndParity_AreSearchedOnAllNatAddressesFirst) {
  Config config = Config::standard();
  config.pool().addresses = {"203.0.113.4", "203.0.113.6"};
  config.group().udp().preserve_parity = true;
  config.group().udp().preserve_range = true;
  start(config, {.max_sessions = 16384});
  // All even low ports of this subscriber's addresses, whether his shard has both or one.
  const unsigned even = GetParam().shards == 1 ? 1022 : 511;
  for (unsigned i = 0; i < even; ++i) {
    const std::uint16_t port =
        translated(udp(client(22), {"198.18.0.1", static_cast<std::uint16_t>(1 + i)})).port;
    ASSERT_TRUE(port < 1024 && port % 2 == 0) << port << " after " << i;
  }
  EXPECT_EQ(translated(udp(client(22), {"198.18.0.2", 1})).port % 2, 1);
}

TEST_P(Ports, APairedSubscriberHasTheLastPortOfItsAddressAndNoOther) {
  Config config = Config::standard();
  config.pool().addresses = {"203.0.113.4", "203.0.113.5", "203.0.113.6", "203.0.113.7"};
  config.group().app(Protocol::kUdp, {.pooling = Pooling::kPaired});
  start(config);
  const Endpoint first = translated(udp(client(5000), kServer));
  unsigned left = take_high_ports(first.ip, Protocol::kUdp, 3);
  ASSERT_EQ(left, 3u);
  for (; left != 0; --left) EXPECT_EQ(translated(udp(client(6000 + left), kServer)).ip, first.ip);
  expect_unreachable_inside(udp(client(7000), kServer), DropReason::kPortsExhausted);
}

TEST_P(Ports, APoolIsUsedToTheLastPortOfTheLastAddress) {
  use_up(Pooling::kRandom);
}

TEST_P(Ports, APoolOfPairedSubscribersIsUsedToTheLastPortOfTheLastAddress) {
  use_up(Pooling::kPaired);
}

TEST_P(Ports, ExhaustedNatAddresses_StayExhaustedAfterAReload) {
  Config config = Config::standard();
  config.pool().addresses = {"203.0.112.0-203.0.112.99"};
  start(config);
  for (unsigned i = 0; i < 100; ++i) take_high_ports(Ip{"203.0.112.0"} + i, Protocol::kUdp, 0);
  const auto is_refused = [&](unsigned n) {
    (void)lab().from_inside(udp({Ip{"192.0.2.10"} + n % 8, 7}, kServer).bytes());
    expect_drops({{DropReason::kPoolExhausted, 1}});
  };
  for (unsigned n = 0; n < 8; ++n) is_refused(n);
  // Others come and go; addresses that return have all their ports.
  this->config().pool().addresses = {"203.0.112.2-203.0.112.99"};
  lab().reload(this->config());
  for (unsigned n = 0; n < 8; ++n) is_refused(n);
  this->config().pool().addresses = {"203.0.112.0-203.0.112.99", "203.0.114.0-203.0.114.1"};
  lab().reload(this->config());
  lab().drop_predecessors();
  std::set<Ip> found;
  for (unsigned n = 0; n < 64; ++n)
    found.insert(translated(udp({Ip{"192.0.2.10"} + n, 8}, kServer)).ip);
  EXPECT_EQ(found, (std::set<Ip>{"203.0.112.0", "203.0.112.1", "203.0.114.0", "203.0.114.1"}));
}

TEST_P(Ports, PoolSharedByTwoGroups_ServesTheGroupWhoseOtherPoolIsExhausted) {
  Config config = Config::standard();
  config.pool().addresses = {"203.0.112.0-203.0.112.9"};
  config.add_pool("P2", {"203.0.112.20-203.0.112.29"});
  config.add_pool("P3", {"203.0.112.40-203.0.112.49"});
  config.group().pools = {"POOL", "P2"};
  config.add_group("G2", {"198.18.100.0/24"}, {"P2", "P3"});
  config.group().pools[0] = config.pools[0].name;
  start(config);
  for (const unsigned first : {0u, 40u})
    for (unsigned i = 0; i < 10; ++i)
      take_high_ports(Ip{"203.0.112.0"} + first + i, Protocol::kUdp, 0);
  for (unsigned n = 0; n < 40; ++n) {
    const Endpoint of_first = translated(udp({Ip{"192.0.2.10"} + n, 7}, kServer));
    EXPECT_TRUE(Ip{"203.0.112.20"} <= of_first.ip && of_first.ip <= Ip{"203.0.112.29"});
  }
}

TEST_P(Ports, PortOverloading_NeverHappens) {
  start(Config::standard(), {.max_sessions = 8192});
  std::set<Endpoint> used;
  for (unsigned i = 0; i < 4000; ++i) {
    const Endpoint from = {Ip{"192.0.2.10"} + i % 200, static_cast<std::uint16_t>(1024 + i % 7)};
    const Endpoint to = {Ip{"198.18.0.0"} + (1 + i), static_cast<std::uint16_t>(1 + i % 1000)};
    const Endpoint nat = translated(udp(from, to));
    EXPECT_TRUE(used.insert(nat).second) << to_text(nat);
  }
}

TEST_P(Ports, ProtocolsHaveTheirOwnPorts) {
  Config config = Config::standard();
  config.pool().addresses = {"203.0.113.5"};
  config.group().udp().preserve_range = true;
  config.group().tcp().preserve_range = true;
  start(config);
  std::set<std::uint16_t> of_udp, of_tcp;
  for (unsigned port = 1; port < 1024; ++port) {
    of_udp.insert(translated(udp(client(port), kServer)).port);
    of_tcp.insert(translated(tcp(client(port), kServer, kSyn)).port);
  }
  EXPECT_EQ(of_udp.size(), 1023u);
  EXPECT_EQ(of_tcp, of_udp);
}

TEST_P(Ports, PortRandomization_SpreadsPortsWithoutSequence) {
  start();
  std::vector<int> ports;
  for (unsigned i = 0; i < 400; ++i)
    ports.push_back(translated(udp(client(2000 + i), kServer)).port);
  // A quarter of the range each should have about a hundred of them.
  std::array<int, 4> quarter{};
  unsigned near = 0;
  for (std::size_t i = 0; i < ports.size(); ++i) {
    ++quarter[static_cast<std::size_t>((ports[i] - 1024) * 4 / (65536 - 1024))];
    if (i != 0 && std::abs(ports[i] - ports[i - 1]) < 64) ++near;
  }
  for (const int n : quarter) EXPECT_GT(n, 50);
  // 128 of 64512 would be near by chance: about one of the 400.
  EXPECT_LT(near, 10u);
}

TEST_P(Ports, PortRandomization_DependsOnTheSeedAlone) {
  const auto ports = [&](std::uint64_t seed) {
    Lab other(Config::standard(),
              {.shards = GetParam().shards, .arrival = GetParam().arrival, .seed = seed});
    std::vector<Endpoint> result;
    for (std::uint16_t i = 0; i < 20; ++i) {
      const std::vector<Frame> frames = other.from_inside(
          udp({kClient.ip, static_cast<std::uint16_t>(2000 + i)}, kServer).bytes());
      if (frames.size() == 1) result.push_back(source_of(behind_link(frames[0].bytes)));
    }
    return result;
  };
  const auto once = ports(7);
  EXPECT_EQ(once.size(), 20u);
  EXPECT_EQ(ports(7), once);
  EXPECT_NE(ports(8), once);
}

TEST_P(Ports, IdentifiersOfQueriesAreTranslatedAndNotShared) {
  start();
  std::set<Endpoint> used;
  for (unsigned i = 0; i < 100; ++i) {
    const Endpoint from = {Ip{"192.0.2.10"} + i, 1};  // everybody's first ping
    const Endpoint nat = translated(ping(from, kServer.ip));
    EXPECT_TRUE(used.insert(nat).second);
    returned(pong(kServer.ip, nat), from);
  }
}

TEST_P(Ports, AFreedPortWaitsForPortrealloctimeout) {
  Config config = Config::standard();
  config.pool().addresses = {"203.0.113.5"};
  config.pool().realloc_timeout = 300s;
  config.group().udp().preserve_range = true;
  config.group().udp().session_timeout = 60s;
  start(config);
  take_high_ports("203.0.113.5", Protocol::kUdp, 0);
  for (unsigned port = 1; port < 1024; ++port) translated(udp(client(port), kServer));
  lab().advance(61s);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
  const IpPacket again = udp(client(5), kServer);
  const auto refused_again = [&](Where where = Where::current()) {
    expect_unreachable_inside(again, DropReason::kPoolExhausted, 13, where);
  };
  refused_again();
  lab().advance(298s);
  refused_again();
  lab().advance(4s);
  translated(again);
}

TEST_P(Ports, OnlyMaxPortReallocTmqPortsWaitTheOthersAreFreeAtOnce) {
  Config config = Config::standard();
  config.pool().addresses = {"203.0.113.5"};
  config.pool().realloc_timeout = 600s;
  config.pool().realloc_queue = 1000;
  config.group().udp().preserve_range = true;
  config.group().udp().session_timeout = 60s;
  start(config);
  take_high_ports("203.0.113.5", Protocol::kUdp, 0);
  for (unsigned port = 1; port < 1024; ++port) translated(udp(client(port), kServer));
  lab().advance(61s);
  for (unsigned port = 1; port <= 23; ++port) translated(udp(client(port), kServer));
  expect_unreachable_inside(udp(client(24), kServer), DropReason::kPoolExhausted);
}

TEST_P(Ports, PortThatWaits_DoesNotCountAgainstPortquota) {
  Config config = Config::standard();
  config.pool().realloc_timeout = 600s;
  config.group().udp().session_timeout = 60s;
  config.group().udp().port_quota = 2;
  start(config);
  translated(udp(client(5000), kServer));
  translated(udp(client(5001), kServer));
  lab().advance(61s);
  translated(udp(client(5002), kServer));
  translated(udp(client(5003), kServer));
}

INSTANTIATE_TEST_SUITE_P(Sharded, Ports, shardings(), sharding_name);

/// With so many shards.
class PortShares : public Laboratory, public ::testing::WithParamInterface<unsigned> {};

TEST_P(PortShares, Shards_AreExhaustedTogether) {
  // Seven addresses: never the same number for each. Whoever has fewer has fewer subscribers.
  Config config = Config::standard();
  config.group().clients = {"10.0.0.0/16"};
  config.pool().addresses = {"203.0.113.3-203.0.113.9"};
  config.unreachable_rate = 0;
  start(config, {"", GetParam(), Arrival::kAlternate}, {.max_sessions = 65536});
  unsigned ports = 0;
  for (unsigned i = 0; i < 7; ++i)
    ports += take_high_ports(Ip{"203.0.113.3"} + i, Protocol::kUdp, 400);
  ASSERT_EQ(ports, 2800u);
  unsigned opened = 0, first_refused = 0, refused = 0;
  // Each of 350 subscribers opens a flow after the other.
  for (std::uint16_t round = 0; round < 12; ++round)
    for (unsigned n = 0; n < 350; ++n) {
      const Endpoint from = {Ip{"10.0.0.10"} + n, static_cast<std::uint16_t>(2000 + round)};
      if (!lab().from_inside(udp(from, kServer).bytes()).empty()) {
        ++opened;
      } else {
        if (refused == 0) first_refused = opened;
        ++refused;
      }
    }
  EXPECT_GE(first_refused, ports * 9 / 10) << "of " << ports;
  EXPECT_EQ(opened, ports) << "ports were left over";
  expect_drops({{DropReason::kPoolExhausted, refused}});
}

INSTANTIATE_TEST_SUITE_P(Each, PortShares, ::testing::Values(1u, 2u, 3u, 4u, 5u));

}  // namespace
}  // namespace lsn::test
