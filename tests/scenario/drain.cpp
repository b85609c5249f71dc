// Addresses that drain: nothing new begins on them, what lives there goes on, and when nothing is
// left removing them ends nothing.
#include "scenario.hpp"

namespace lsn::test {
namespace {

constexpr AppPolicy kPaired = {.pooling = Pooling::kPaired};

class Drain : public Scenario {
 protected:
  void start_with(const AppPolicy& policy = {}) {
    Config config = Config::standard();
    config.pool().addresses = {"203.0.113.3-203.0.113.6"};
    for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp})
      config.group().app(protocol, policy);
    start(config);
  }
  void drain(std::vector<Network> addresses) {
    config().pool().drain = std::move(addresses);
    EXPECT_EQ(lab().reload(config()), 0u);
  }
  [[nodiscard]] static bool drains(Ip ip) {
    return Network("203.0.113.3-203.0.113.5").contains(ip);
  }
  [[nodiscard]] static Endpoint client(unsigned host, unsigned port = 4000) {
    return {Ip{"192.0.2.10"} + host, static_cast<std::uint16_t>(port)};
  }
  void only_new_subscribers_are_refused() {
    std::vector<Endpoint> nat;
    for (unsigned host = 0; host < 20; ++host)
      nat.push_back(translated(udp(client(host), kServer)));
    drain({"203.0.113.0/28"});
    for (unsigned host = 0; host < 20; ++host) {
      translated_to(udp(client(host), kServer), nat[host]);
      translated(udp(client(host, 5000), kServer));
      expect_unreachable_inside(udp(client(host + 100), kServer), DropReason::kPoolExhausted);
    }
    EXPECT_EQ(lab().subscribers(), 20u);
    // Taken back it is as before.
    drain({});
    for (unsigned host = 0; host < 20; ++host) translated(udp(client(host + 100), kServer));
  }
  /// A subscriber who got an address that is going to drain, with his NAT endpoint.
  std::pair<unsigned, Endpoint> one_of_those() {
    for (unsigned host = 0; host < 100; ++host)
      if (const Endpoint nat = translated(udp(client(host), kServer)); drains(nat.ip))
        return {host, nat};
    ADD_FAILURE() << "nobody has such an address";
    return {};
  }
};

TEST_P(Drain, NothingNewBeginsOnThem) {
  start_with();
  drain({"203.0.113.3-203.0.113.5"});
  for (unsigned host = 0; host < 60; ++host) {
    EXPECT_EQ(translated(udp(client(host), kServer)).ip, Ip{"203.0.113.6"});
    EXPECT_EQ(translated(tcp(client(host), kServer, kSyn)).ip, Ip{"203.0.113.6"});
    EXPECT_EQ(translated(ping(client(host), kServer.ip)).ip, Ip{"203.0.113.6"});
  }
}

TEST_P(Drain, NobodyNewIsPairedWithThem) {
  start_with(kPaired);
  drain({"203.0.113.3", "203.0.113.4-203.0.113.5"});
  for (unsigned host = 0; host < 60; ++host)
    EXPECT_EQ(translated(udp(client(host), kServer)).ip, Ip{"203.0.113.6"});
}

TEST_P(Drain, SessionsThatLiveGoOn) {
  start_with();
  std::vector<Endpoint> nat;
  for (unsigned host = 0; host < 40; ++host) nat.push_back(translated(udp(client(host), kServer)));
  drain({"203.0.113.3-203.0.113.5"});
  for (int round = 0; round < 3; ++round) {
    lab().advance(100s);
    for (unsigned host = 0; host < 40; ++host) {
      translated_to(udp(client(host), kServer), nat[host]);
      returned(udp(kServer, nat[host]), client(host));
    }
  }
}

// RFC 4787 REQ-2: his address does not change in mid-life.
TEST_P(Drain, APairedSubscriberKeepsHisAddressUntilHisLastSessionEnds) {
  start_with(kPaired);
  const auto [host, nat] = one_of_those();
  drain({"203.0.113.3-203.0.113.5"});
  lab().advance(60s);
  EXPECT_EQ(translated(udp(client(host, 4001), kServer)).ip, nat.ip);
  EXPECT_EQ(translated(tcp(client(host, 4002), kServer, kSyn)).ip, nat.ip);
  lab().advance(100s);
  EXPECT_EQ(translated(udp(client(host, 4003), kServer)).ip, nat.ip) << "4001 is still there";
  lab().advance(121s);
  ASSERT_EQ(lab().subscribers(), 0u);
  EXPECT_EQ(translated(udp(client(host), kServer)).ip, Ip{"203.0.113.6"});
}

// RFC 4787 REQ-1: as long as there is a mapping it is used.
TEST_P(Drain, AMappingIsUsedAsLongAsItLives) {
  start_with(kEndpointIndependent);
  const auto [host, nat] = one_of_those();
  drain({"203.0.113.3-203.0.113.5"});
  translated_to(udp(client(host), {"198.18.0.2", 9}), nat);
  returned(udp({"198.18.77.7", 7}, nat), client(host));
  EXPECT_EQ(translated(udp(client(200), kServer)).ip, Ip{"203.0.113.6"});
  lab().advance(121s + 600s);
  ASSERT_EQ(lab().mapping_count(Protocol::kUdp), 0u);
  EXPECT_EQ(translated(udp(client(host), kServer)).ip, Ip{"203.0.113.6"});
}

TEST_P(Drain, WhenNothingIsLeftRemovingThemEndsNothing) {
  start_with(kPaired);
  std::vector<Endpoint> nat(60);
  for (unsigned host = 0; host < 60; ++host) translated(udp(client(host), kServer));
  drain({"203.0.113.3-203.0.113.5"});
  lab().advance(121s);
  for (unsigned host = 0; host < 60; ++host) nat[host] = translated(udp(client(host), kServer));
  config().pool().drain.clear();
  config().pool().addresses = {"203.0.113.6"};
  EXPECT_EQ(lab().reload(config()), 0u);
  for (unsigned host = 0; host < 60; ++host) translated_to(udp(client(host), kServer), nat[host]);
}

TEST_P(Drain, ASubscriberWhoLivesWhereAllDrainsGoesOnThere) {
  // With two workers each has one of them.
  Config config = Config::standard();
  config.pool().addresses = {"203.0.113.3-203.0.113.4"};
  start(config);
  std::vector<Endpoint> nat;
  for (unsigned host = 0; host < 40; ++host) nat.push_back(translated(udp(client(host), kServer)));
  this->config().pool().drain = {"203.0.113.3"};
  EXPECT_EQ(lab().reload(this->config()), 0u);
  for (unsigned host = 0; host < 40; ++host) {
    translated_to(udp(client(host), kServer), nat[host]);
    translated(udp(client(host, 5000), kServer));
    EXPECT_EQ(translated(udp(client(host + 100), kServer)).ip, Ip{"203.0.113.4"}) << "a new one";
  }
  lab().advance(121s);
  ASSERT_EQ(lab().subscribers(), 0u);
  for (unsigned host = 0; host < 40; ++host)
    EXPECT_EQ(translated(udp(client(host), kServer)).ip, Ip{"203.0.113.4"});
}

TEST_P(Drain, WhereAllAddressesDrain_NewSubscribersAreRefused) {
  start_with();
  only_new_subscribers_are_refused();
}

TEST_P(Drain, WhereAllAddressesDrain_PairedSubscribersGoOn) {
  start_with(kPaired);
  only_new_subscribers_are_refused();
}

TEST_P(Drain, WhereAllAddressesDrain_SubscribersWithMappingsGoOn) {
  start_with(kEndpointIndependent);
  only_new_subscribers_are_refused();
}

TEST_P(Drain, TakenBackTheyAreUsedAgain) {
  start_with();
  drain({"203.0.113.3-203.0.113.5"});
  EXPECT_EQ(translated(udp(client(0), kServer)).ip, Ip{"203.0.113.6"});
  drain({});
  std::set<Ip> used;
  for (unsigned host = 0; host < 100; ++host)
    used.insert(translated(udp(client(host), kServer)).ip);
  EXPECT_EQ(used.size(), 4u);
}

TEST_P(Drain, UsageSaysHowMuchIsLeft) {
  start_with(kPaired);
  unsigned there = 0;
  for (unsigned host = 0; host < 30; ++host)
    if (drains(translated(udp(client(host), kServer)).ip)) ++there;
  drain({"203.0.113.3-203.0.113.5"});
  shared::Usage::OfPool sum;
  for (unsigned id = 0; id < lab().shards(); ++id) {
    shared::Usage usage;
    usage.pools.resize(1);
    usage.groups.resize(1);
    while (!usage.finished) datapath::survey_usage(lab().shard(id), usage, 7);
    sum.addresses += usage.pools[0].addresses;
    sum.draining.addresses += usage.pools[0].draining.addresses;
    sum.draining.paired += usage.pools[0].draining.paired;
    sum.draining.ports[Protocol::kUdp] += usage.pools[0].draining.ports[Protocol::kUdp];
  }
  EXPECT_EQ(sum.addresses, 4u);
  EXPECT_EQ(sum.draining.addresses, 3u);
  EXPECT_EQ(sum.draining.paired, there);
  EXPECT_EQ(sum.draining.ports[Protocol::kUdp], there);
}

INSTANTIATE_TEST_SUITE_P(Sharded, Drain, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
