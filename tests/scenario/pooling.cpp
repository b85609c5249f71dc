// Which NAT address a subscriber gets: PAIRED and RANDOM pooling (RFC 4787 REQ-2, RFC 6888 REQ-2),
// and what happens when it has nothing left.
#include <set>

#include "scenario.hpp"

namespace lsn::test {
namespace {

class Pools : public Scenario {
 protected:
  static constexpr AppPolicy kPaired = {.pooling = Pooling::kPaired};

  /// All protocols PAIRED, well-known ports kept: 1023 of them are soon used up.
  [[nodiscard]] static Config paired() {
    Config config = Config::standard();
    for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp})
      config.group().app(protocol, kPaired);
    config.group().udp().preserve_range = true;
    config.group().tcp().preserve_range = true;
    return config;
  }

  /// One flow from every well-known port.
  void use_up_well_known_ports(Ip client, std::set<Endpoint>& nat) {
    for (unsigned port = 1; port < 1024; ++port)
      nat.insert(translated(udp({client, static_cast<std::uint16_t>(port)}, kServer)));
  }
};

TEST_P(Pools, PairedFlowsOfASubscriberShareOneAddressInAllProtocols) {
  start(paired());
  for (unsigned subscriber = 0; subscriber < 12; ++subscriber) {
    const Ip client = Ip{"192.0.2.20"} + subscriber;
    std::set<Ip> addresses;
    for (std::uint16_t i = 0; i < 10; ++i) {
      const auto port = static_cast<std::uint16_t>(2000 + i);
      const Endpoint server = {Ip{"198.18.0.1"} + i, static_cast<std::uint16_t>(80 + i)};
      addresses.insert(translated(udp({client, port}, server)).ip);
      addresses.insert(translated(tcp({client, port}, server, kSyn)).ip);
      addresses.insert(translated(ping({client, port}, server.ip)).ip);
    }
    EXPECT_EQ(addresses.size(), 1u) << to_text(client);
  }
}

TEST_P(Pools, PairedSubscribersAreSpreadOverTheAddresses) {
  start(paired());
  std::set<Ip> addresses;
  for (unsigned subscriber = 0; subscriber < 100; ++subscriber)
    addresses.insert(translated(udp({Ip{"192.0.2.20"} + subscriber, 5000}, kServer)).ip);
  EXPECT_EQ(addresses.size(), 7u);
}

TEST_P(Pools, RandomFlowsOfASubscriberUseSeveralAddresses) {
  start();
  std::set<Ip> addresses;
  for (std::uint16_t i = 0; i < 60; ++i)
    addresses.insert(
        translated(udp({kClient.ip, static_cast<std::uint16_t>(3000 + i)}, kServer)).ip);
  // All that its shard owns: with two shards three or four.
  EXPECT_GE(addresses.size(), GetParam().shards == 1 ? 7u : 3u);
}

TEST_P(Pools, OnlyTheFlowsOfAPairedProfileArePaired) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kPaired, 500, 500);
  start(config);
  std::set<Ip> paired, random;
  for (std::uint16_t i = 0; i < 40; ++i) {
    const auto port = static_cast<std::uint16_t>(3000 + i);
    paired.insert(translated(udp({kClient.ip, port}, {Ip{"198.18.1.0"} + i, 500})).ip);
    random.insert(translated(udp({kClient.ip, port}, {Ip{"198.18.1.0"} + i, 501})).ip);
  }
  EXPECT_EQ(paired.size(), 1u);
  EXPECT_GT(random.size(), 1u);
}

TEST_P(Pools, PairedPooling_LastsAsLongAsTheSubscriberHasSessions) {
  Config config = paired();
  start(config);
  const Endpoint first = translated(udp(kClient, kServer));
  for (unsigned i = 0; i < 10; ++i) {
    lab().advance(100s);
    const Endpoint next =
        translated(udp({kClient.ip, static_cast<std::uint16_t>(41000 + i)}, kServer));
    EXPECT_EQ(next.ip, first.ip);
  }
  lab().advance(121s);
  EXPECT_EQ(lab().subscribers(), 0u);
}

TEST_P(Pools, PairedAddressExhausted_IsAnsweredByUnreachableAndNotMoved) {
  start(paired());
  std::set<Endpoint> nat;
  use_up_well_known_ports(kClient.ip, nat);
  EXPECT_EQ(nat.size(), 1023u);
  const Ip address = nat.begin()->ip;
  for (const Endpoint& endpoint : nat) {
    EXPECT_EQ(endpoint.ip, address);
    EXPECT_GE(endpoint.port, 1);
    EXPECT_LT(endpoint.port, 1024);
  }
  take_high_ports(address, Protocol::kUdp, 0);
  expect_unreachable_inside(udp({kClient.ip, 7}, {"198.18.0.2", 80}), DropReason::kPortsExhausted);
  // Another protocol of the same address is another matter.
  EXPECT_EQ(translated(tcp({kClient.ip, 7}, kServer, kSyn)).ip, address);
  // What lives is untouched.
  EXPECT_TRUE(nat.contains(translated(udp({kClient.ip, 7}, kServer))));
}

TEST_P(Pools, PairedAddressExhausted_ServesNewSubscribersFromOtherAddresses) {
  Config config = paired();
  start(config);
  std::set<Endpoint> nat;
  use_up_well_known_ports(kClient.ip, nat);
  const Ip exhausted = nat.begin()->ip;
  // Whoever comes now finds another address of his shard.
  unsigned served = 0;
  for (unsigned i = 0; i < 20; ++i)
    if (translated(udp({Ip{"192.0.2.50"} + i, 99}, kServer)).ip != exhausted) ++served;
  EXPECT_EQ(served, 20u);
}

TEST_P(Pools, PoolExhausted_IsAnsweredByUnreachableUntilPortsAreFree) {
  Config config = Config::standard();
  config.pool().addresses = {"203.0.113.5"};
  config.group().udp().preserve_range = true;
  config.group().udp().session_timeout = 60s;
  start(config);
  take_high_ports("203.0.113.5", Protocol::kUdp, 0);
  std::set<Endpoint> nat;
  use_up_well_known_ports(kClient.ip, nat);
  EXPECT_EQ(nat.size(), 1023u);
  const IpPacket one_more = udp({"192.0.2.11", 7}, kServer);
  expect_unreachable_inside(one_more, DropReason::kPoolExhausted);
  lab().advance(70s);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
  translated(one_more);
}

TEST_P(Pools, GroupWithoutPool_IsAnsweredByUnreachable) {
  Config config = Config::standard();
  config.group().pools.clear();
  start(config);
  // No shard owns anything for the group: nobody can serve it.
  expect_unreachable_inside(udp(kClient, kServer), DropReason::kPoolExhausted);
}

INSTANTIATE_TEST_SUITE_P(Sharded, Pools, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
