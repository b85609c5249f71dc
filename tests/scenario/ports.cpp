// NAT ports: range and parity (RFC 4787 REQ-3, REQ-4), never one for two (no overloading), hard to
// guess (RFC 6056), and the wait before they are used again (portrealloctimeout).
#include <algorithm>
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

TEST_P(Ports, ParityIsKeptWhereConfigured) {
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

TEST_P(Ports, RangeAndParityAreKeptTogetherAndRefusedTogether) {
  Config config = Config::standard();
  config.pool().addresses = {"203.0.113.5"};
  config.group().udp().preserve_parity = true;
  config.group().udp().preserve_range = true;
  start(config);
  std::set<std::uint16_t> used;
  // 511 even ones of 1-1023: 2, 4, ... 1022.
  for (unsigned i = 0; i < 511; ++i) {
    const Endpoint nat =
        translated(udp(client(22), {"198.18.0.1", static_cast<std::uint16_t>(1 + i)}));
    EXPECT_EQ(nat.port % 2, 0);
    EXPECT_LT(nat.port, 1024);
    EXPECT_TRUE(used.insert(nat.port).second) << nat.port;
  }
  const IpPacket even = udp(client(22), {"198.18.0.2", 9});
  const std::vector<Frame> frames = lab().from_inside(even.bytes());
  expect_drops({{DropReason::kPoolExhausted, 1}});
  expect_error(frames, 0, our_error(even.bytes(), kRouter, kUnreachable, 13));
  EXPECT_EQ(translated(udp(client(23), kServer)).port % 2, 1);
}

TEST_P(Ports, NoPortIsGivenTwiceWhateverTheDestination) {
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

TEST_P(Ports, PortsAreSpreadAndDoNotFollowOneAnother) {
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

TEST_P(Ports, WhatIsGivenDependsOnTheSeedAlone) {
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
  for (unsigned port = 1; port < 1024; ++port) translated(udp(client(port), kServer));
  lab().advance(61s);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
  const IpPacket again = udp(client(5), kServer);
  const auto refused_again = [&](Where where = Where::current()) {
    const std::vector<Frame> frames = lab().from_inside(again.bytes());
    expect_drops({{DropReason::kPoolExhausted, 1}}, where);
    expect_error(frames, 0, our_error(again.bytes(), kRouter, kUnreachable, 13), where);
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
  for (unsigned port = 1; port < 1024; ++port) translated(udp(client(port), kServer));
  lab().advance(61s);
  for (unsigned port = 1; port <= 23; ++port) translated(udp(client(port), kServer));
  const IpPacket one_more = udp(client(24), kServer);
  const std::vector<Frame> frames = lab().from_inside(one_more.bytes());
  expect_drops({{DropReason::kPoolExhausted, 1}});
  expect_error(frames, 0, our_error(one_more.bytes(), kRouter, kUnreachable, 13));
}

TEST_P(Ports, APortThatWaitsIsNoPortquotasBusiness) {
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

}  // namespace
}  // namespace lsn::test
