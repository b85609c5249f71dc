// A new generation: what it still allows lives on, what it does not is ended and counted, nothing
// else happens. And when the shards of a group change, who has state stays where it is.
#include <set>

#include "scenario.hpp"

namespace lsn::test {
namespace {

class Reload : public Scenario {
 protected:
  struct Flow {
    Endpoint client, nat;
  };

  [[nodiscard]] static Endpoint client(unsigned i) {
    return {Ip{"192.0.2.20"} + i, static_cast<std::uint16_t>(4000 + i)};
  }
  std::vector<Flow> open(unsigned n, unsigned from = 0) {
    std::vector<Flow> flows;
    for (unsigned i = from; i < from + n; ++i)
      flows.push_back({client(i), translated(udp(client(i), kServer))});
    return flows;
  }
  void lives(const Flow& flow, Where where = Where::current()) {
    translated_to(udp(flow.client, kServer), flow.nat, where);
    returned(udp(kServer, flow.nat), flow.client, where);
  }
  std::uint64_t ended_by_reload(Protocol protocol = Protocol::kUdp) {
    return ended(protocol, SessionEnd::kReload);
  }
  std::uint64_t displaced() { return lab().total(&Counters::displaced); }
};

TEST_P(Reload, OfTheSameConfiguration_KeepsAllSessions) {
  start();
  const std::vector<Flow> flows = open(30);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(lab().reload(config()), 0u);
  for (const Flow& flow : flows) lives(flow);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 30u);
  EXPECT_EQ(lab().total(&Counters::generation), 6u * lab().shards());
}

TEST_P(Reload, ThatTakesAnAddressEndsItsSessionsAndNoOthers) {
  start();
  const std::vector<Flow> flows = open(60);
  config().pool().addresses = {"203.0.113.3-203.0.113.6", "203.0.113.8-203.0.113.9"};
  std::uint64_t expected = 0;
  for (const Flow& flow : flows)
    if (flow.nat.ip == Ip{"203.0.113.7"}) ++expected;
  ASSERT_GT(expected, 0u);
  EXPECT_EQ(lab().reload(config()), expected);
  EXPECT_EQ(ended_by_reload(), expected);
  for (const Flow& flow : flows) {
    if (flow.nat.ip != Ip{"203.0.113.7"}) {
      lives(flow);
    } else {
      refused_from_outside(udp(kServer, flow.nat), DropReason::kNotForUs);
      EXPECT_NE(translated(udp(flow.client, kServer)).ip, Ip{"203.0.113.7"});
    }
  }
}

TEST_P(Reload, ThatRemovesNatAddresses_IsEnforcedPerPacketBeforeTheSweep) {
  start();
  const std::vector<Flow> flows = open(40);
  config().pool().addresses = {"203.0.113.3-203.0.113.6"};
  lab().publish(config());
  for (unsigned id = 0; id < lab().shards(); ++id) lab().adopt(id);
  unsigned ended = 0;
  for (const Flow& flow : flows) {
    if (config().is_nat_address(flow.nat.ip)) {
      lives(flow);
      continue;
    }
    // Neither in to an address that is not ours any more (whoever gets the packet may know the
    // session or not), nor out from it: the packet that finds such a session ends it, and begins
    // anew.
    if (++ended % 2 == 0) {
      expect_frames(lab().from_outside(udp(kServer, flow.nat).bytes()), {});
      expect_drops({{DropReason::kNotForUs, 1}});
    }
    EXPECT_TRUE(config().is_nat_address(translated(udp(flow.client, kServer)).ip));
    refused_from_outside(udp(kServer, flow.nat), DropReason::kNotForUs);
  }
  EXPECT_GT(ended, 0u);
  EXPECT_EQ(ended_by_reload(), ended);
  EXPECT_EQ(lab().sweep(), 0u);
}

TEST_P(Reload, Sweep_KeepsItsBudget) {
  start();
  for (std::uint16_t i = 0; i < 300; ++i)
    translated(udp({kClient.ip, static_cast<std::uint16_t>(2000 + i)}, kServer));
  config().pool().addresses = {"203.0.113.100-203.0.113.107"};
  lab().publish(config());
  std::uint64_t ended = 0;
  for (unsigned id = 0; id < lab().shards(); ++id) {
    lab().adopt(id);
    datapath::GenerationSweep sweep;
    while (!sweep.finished) {
      const std::uint64_t before = sweep.ended;
      enforce_generation(lab().shard(id), sweep, 5);
      EXPECT_LE(sweep.ended - before, 5u);
    }
    ended += sweep.ended;
  }
  EXPECT_EQ(ended, 300u);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
  EXPECT_EQ(lab().subscribers(), 0u);
}

TEST_P(Reload, ThatTakesAClientEndsItsSessions) {
  Config config = Config::standard();
  config.groups[0].clients = {"192.0.2.0/27"};
  config.add_group("OTHERS", {"192.0.2.32/27"}, {"POOL"});
  start(config);
  const std::vector<Flow> flows = open(30);  // .20 to .49
  this->config().remove_group("OTHERS");
  EXPECT_EQ(lab().reload(this->config()), 18u);
  for (const Flow& flow : flows) {
    if (flow.client.ip < Ip{"192.0.2.32"}) {
      lives(flow);
    } else {
      refused_from_inside(udp(flow.client, kServer), DropReason::kNotAClient);
      refused_from_outside(udp(kServer, flow.nat), DropReason::kNoMapping);
    }
  }
}

TEST_P(Reload, ThatGivesAClientToAnotherGroupEndsItsSessions) {
  Config config = Config::standard();
  config.add_pool("OTHER", {"203.0.113.64/29"});
  config.groups[0].clients = {"192.0.2.0/27", "192.0.2.64/27"};
  config.add_group("OTHERS", {"192.0.2.32/27"}, {"OTHER"});
  start(config);
  const std::vector<Flow> flows = open(40);  // .20 to .59
  this->config().groups[0].clients = {"192.0.2.0/27"};
  this->config().groups[1].clients = {"192.0.2.32/27", "192.0.2.64/27"};
  EXPECT_EQ(lab().reload(this->config()), 0u);
  this->config().groups[0].clients = {"192.0.2.0/26"};
  this->config().groups[1].clients = {"192.0.2.64/27"};
  EXPECT_EQ(lab().reload(this->config()), 28u);
  for (const Flow& flow : flows)
    if (flow.client.ip < Ip{"192.0.2.32"}) lives(flow);
  // Under the new group's pool from now on.
  EXPECT_TRUE(Network("203.0.113.3-203.0.113.9").contains(translated(udp(client(20), kServer)).ip));
}

TEST_P(Reload, ThatTakesAPoolFromAGroupEndsTheSessionsFromIt) {
  Config config = Config::standard();
  config.add_pool("OTHER", {"203.0.113.64/29"});
  config.group().pools = {"POOL", "OTHER"};
  start(config);
  const std::vector<Flow> flows = open(60);
  this->config().group().pools = {"OTHER"};
  lab().reload(this->config());
  for (const Flow& flow : flows) {
    if (Network("203.0.113.64/29").contains(flow.nat.ip)) {
      lives(flow);
    } else {
      // The address is still ours, but nobody's.
      refused_from_outside(udp(kServer, flow.nat), DropReason::kNoMapping);
    }
  }
}

TEST_P(Reload, ThatMovesAnAddressToAnotherPoolOfTheGroupKeepsItsSessions) {
  Config config = Config::standard();
  config.add_pool("OTHER", {"203.0.113.64/29"});
  config.group().pools = {"POOL", "OTHER"};
  start(config);
  const std::vector<Flow> flows = open(60);
  this->config().pool(0).addresses = {"203.0.113.3-203.0.113.8"};
  this->config().pool(1).addresses = {"203.0.113.64/29", "203.0.113.9"};
  EXPECT_EQ(lab().reload(this->config()), 0u);
  for (const Flow& flow : flows) lives(flow);
}

TEST_P(Reload, EndsIdleMappingsOfAddressesThatAreGone) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  start(config);
  std::vector<Flow> flows = open(40);
  lab().advance(121s);
  ASSERT_EQ(lab().session_count(Protocol::kUdp), 0u);
  ASSERT_EQ(lab().mapping_count(Protocol::kUdp), 40u);
  this->config().pool().addresses = {"203.0.113.3-203.0.113.5"};
  lab().reload(this->config());
  for (const Flow& flow : flows) {
    if (this->config().is_nat_address(flow.nat.ip))
      translated_to(udp(flow.client, kServer), flow.nat);
    else
      EXPECT_TRUE(
          this->config().is_nat_address(translated(udp(flow.client, {"198.18.0.2", 2})).ip));
  }
}

TEST_P(Reload, AnAddressThatComesBackBeginsWithAllItsPorts) {
  Config config = Config::standard();
  config.pool().addresses = {"203.0.113.5"};
  config.group().udp().preserve_range = true;
  start(config);
  for (std::uint16_t port = 1; port < 1024; ++port) translated(udp({kClient.ip, port}, kServer));
  this->config().pool().addresses = {"203.0.113.6"};
  EXPECT_EQ(lab().reload(this->config()), 1023u);
  this->config().pool().addresses = {"203.0.113.5"};
  EXPECT_EQ(lab().reload(this->config()), 0u);
  for (std::uint16_t port = 1; port < 1024; ++port) translated(udp({kClient.ip, port}, kServer));
}

TEST_P(Reload, ANewAddressIsUsed) {
  Config config = Config::standard();
  config.pool().addresses = {"203.0.113.3-203.0.113.4"};
  start(config);
  const std::vector<Flow> flows = open(10);
  this->config().pool().addresses = {"203.0.113.3-203.0.113.9"};
  EXPECT_EQ(lab().reload(this->config()), 0u);
  std::set<Ip> used;
  for (unsigned i = 20; i < 120; ++i) used.insert(translated(udp(client(i), kServer)).ip);
  EXPECT_EQ(used.size(), 7u);
  for (const Flow& flow : flows) lives(flow);
}

TEST_P(Reload, ThatRemovesAPairedNatAddress_PairsTheSubscriberWithAnother) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, {.pooling = Pooling::kPaired});
  start(config);
  const Endpoint first = translated(udp(kClient, kServer));
  auto& addresses = this->config().pool().addresses;
  addresses.clear();
  for (Ip ip = "203.0.113.3"; ip <= Ip{"203.0.113.9"}; ip = ip + 1)
    if (ip != first.ip) addresses.push_back(Network{to_text(ip).c_str()});
  EXPECT_EQ(lab().reload(this->config()), 1u);
  const Endpoint second = translated(udp(kClient, kServer));
  EXPECT_NE(second.ip, first.ip);
  for (std::uint16_t i = 0; i < 20; ++i)
    EXPECT_EQ(translated(udp({kClient.ip, static_cast<std::uint16_t>(5000 + i)}, kServer)).ip,
              second.ip);
}

TEST_P(Reload, NewPoliciesHoldForNewSessions) {
  start();
  const Endpoint old = translated(udp(kClient, kServer));
  config().group().app(Protocol::kUdp, kEndpointIndependent);
  EXPECT_EQ(lab().reload(config()), 0u);
  // The old session is as it was.
  translated_to(udp(kClient, kServer), old);
  refused_from_outside(udp({"198.18.0.9", 9}, old), DropReason::kFiltered);
  const Endpoint fresh = translated(udp({kClient.ip, 5}, kServer));
  returned(udp({"198.18.0.9", 9}, fresh), {kClient.ip, 5});
}

TEST_P(Reload, RoutesChangeUnderLiveSessions) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  config().routes = {{"0.0.0.0/0", "198.51.100.20"}};
  EXPECT_EQ(lab().reload(config()), 0u);
  const IpPacket packet = udp(kClient, kServer);
  expect_frames(lab().from_inside(packet.bytes()),
                {lab().frame_to(1, "198.51.100.20", packet.from(nat).hop().bytes())});
  config().routes.clear();
  EXPECT_EQ(lab().reload(config()), 0u);
  refused_from_inside(packet, DropReason::kNoRoute);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 1u) << "without a route a session is not over";
  config().routes = {{"0.0.0.0/0", kGateway}};
  lab().reload(config());
  translated_to(packet, nat);
}

// What was translated before a reload and waits for its next hop's hardware address leaves only if
// its NAT address is still ours, and its receiver still a client.
TEST_P(Reload, PacketWaitingForArp_DoesNotLeaveFromARemovedNatAddress) {
  config() = Config::standard();
  config().pool().addresses = {"203.0.113.3"};
  start(config());
  lab().silence(kGateway);
  expect_frames(lab().from_inside(udp(kClient, kServer).bytes()), {});
  config().pool().addresses = {"203.0.113.4"};
  EXPECT_EQ(lab().reload(config()), 1u);
  lab().unsilence(kGateway);
  expect_frames(lab().advance(1100ms), {});
  expect_drops({{DropReason::kNoSession, 1}});
  // From an address that is still there it does; and so inside, by its receiver.
  lab().silence(kGateway);
  lab().advance(100s);
  const IpPacket packet = udp(kClient, kServer);
  expect_frames(lab().from_inside(packet.bytes()), {});
  config().group().udp().session_timeout = 77s;
  EXPECT_EQ(lab().reload(config()), 0u);
  lab().unsilence(kGateway);
  const Endpoint nat = expect_translated(lab().advance(1100ms), packet);
  EXPECT_EQ(nat.ip, Ip{"203.0.113.4"});
  lab().advance(40s);
  lab().silence(kClient.ip);
  lab().advance(400s);
  const Endpoint again = translated(packet);
  expect_frames(lab().from_outside(udp(kServer, again).bytes()), {});
  config().group().clients = {"192.0.2.128/25"};
  EXPECT_EQ(lab().reload(config()), 1u);
  lab().unsilence(kClient.ip);
  expect_frames(lab().advance(1100ms), {});
  expect_drops({{DropReason::kNoMapping, 1}});
}

TEST_P(Reload, LengthenedSessiontimeout_HoldsForLiveSessions) {
  start();
  translated(udp(kClient, kServer));
  config().group().udp().session_timeout = 600s;
  lab().reload(config());
  lab().advance(590s);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 1u);
  lab().advance(20s);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
}

TEST_P(Reload, InboundRefreshCanBeSwitched) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  lab().advance(100s);
  returned(udp(kServer, nat), kClient);
  config().inbound_refresh = false;
  lab().reload(config());
  lab().advance(100s);
  returned(udp(kServer, nat), kClient);
  lab().advance(21s);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
}

TEST_P(Reload, AddedAndRemovedHairpinTargetsAreSeenByLiveSessions) {
  start();
  // A server that becomes one of our own NAT addresses is not outside any more, and back.
  const Endpoint server = {"203.0.113.70", 80};
  const Endpoint nat = translated(udp(kClient, server));
  config().add_pool("OTHER", {"203.0.113.70"});
  lab().reload(config());
  refused_from_inside(udp(kClient, server), DropReason::kNoMapping);
  config().remove_pool("OTHER");
  lab().reload(config());
  translated_to(udp(kClient, server), nat);
}

TEST_P(Reload, EndsSessionsOfEveryProtocolWhoseAddressesAreGone) {
  start();
  translated(tcp(client(1), kServer, kSyn));
  translated(ping(client(2), kServer.ip));
  config().pool().addresses = {"203.0.113.100"};
  lab().reload(config());
  EXPECT_EQ(ended_by_reload(Protocol::kTcp), 1u);
  EXPECT_EQ(ended_by_reload(Protocol::kIcmp), 1u);
}

INSTANTIATE_TEST_SUITE_P(Sharded, Reload, shardings(), sharding_name);

// ── who serves a subscriber while the shards of a group change ──────────────────────────────────

class ShardMapChange : public Reload {
 protected:
  /// One address: one shard. The second one brings the other shard.
  void start_with_one_address() {
    Config config = Config::standard();
    config.pool().addresses = {"203.0.113.3"};
    config.group().udp().session_timeout = 60s;
    start(config);
  }
  void add_the_second() {
    config().pool().addresses = {"203.0.113.3-203.0.113.4"};
    lab().reload(config());
  }
};

TEST_P(ShardMapChange, SubscriberWithSessions_IsDisplacedAndKeepsItsNatAddress) {
  start_with_one_address();
  const std::vector<Flow> flows = open(40);
  add_the_second();
  // New flows of the same subscribers: still on the old shard, with the old address.
  for (const Flow& flow : flows) {
    lives(flow);
    const Endpoint another = translated(udp(flow.client, {"198.18.0.2", 2}));
    if (lab().shards() == 2) {
      EXPECT_EQ(another.ip, flow.nat.ip);
    }
  }
  if (lab().shards() == 2) {
    EXPECT_GT(displaced(), 0u);
    EXPECT_LT(displaced(), 40u);
  }
}

TEST_P(ShardMapChange, NewSubscriber_GoesToTheNewOwner) {
  start_with_one_address();
  open(10);
  add_the_second();
  std::set<Ip> used;
  for (const Flow& flow : open(60, 40)) {
    used.insert(flow.nat.ip);
    lives(flow);
    EXPECT_EQ(owner_of_nat(flow.nat.ip), owner_of(flow.client.ip));
  }
  EXPECT_EQ(used.size(), 2u);
}

TEST_P(ShardMapChange, DisplacedSubscriberWithoutSessions_MovesToTheNewOwner) {
  start_with_one_address();
  const std::vector<Flow> flows = open(40);
  add_the_second();
  lab().advance(61s);
  EXPECT_EQ(displaced(), 0u);
  std::set<Ip> used;
  for (const Flow& flow : open(40)) used.insert(flow.nat.ip);
  EXPECT_EQ(used.size(), 2u);
  EXPECT_EQ(displaced(), 0u);
}

TEST_P(ShardMapChange, NoDisplacedSubscribers_DropsTheFormerShardMap) {
  start_with_one_address();
  open(40);
  add_the_second();
  EXPECT_EQ(lab().generation().maps.size(), lab().shards() == 2 ? 2u : 1u);
  lab().drop_predecessors();
  EXPECT_EQ(lab().generation().maps.size(), lab().shards() == 2 ? 2u : 1u) << "somebody needs it";
  lab().advance(61s);
  lab().drop_predecessors();
  EXPECT_EQ(lab().generation().maps.size(), 1u);
  for (const Flow& flow : open(40)) lives(flow);
}

TEST_P(ShardMapChange, TwentyReloads_KeepAllSessions) {
  start_with_one_address();
  std::vector<Flow> flows = open(30);
  for (unsigned round = 0; round < 20; ++round) {
    // The second address and the third come and go; the first one, with the sessions, stays.
    auto& addresses = config().pool().addresses;
    addresses = {"203.0.113.3"};
    if (round % 2 == 0) addresses.push_back("203.0.113.4");
    if (round % 3 == 0) addresses.push_back("203.0.113.5");
    lab().reload(config());
    for (const Flow& flow : flows) lives(flow);
  }
}

TEST_P(ShardMapChange, DisplacedSubscribers_KeepTheirSessionsOverManyChanges) {
  start_with_one_address();
  const std::vector<Flow> flows = open(16);
  add_the_second();
  for (unsigned n = 0; n < 12; ++n) {
    config().group().clients.push_back(
        Network{std::string_view{"10.0." + std::to_string(n) + ".0/24"}});
    lab().reload(config());
    lab().drop_predecessors();
    for (const Flow& flow : flows) lives(flow);
  }
}

TEST_P(ShardMapChange, DisplacedSubscriberOwnedAgain_IsServedWhileShardsDisagree) {
  start_with_one_address();
  const std::vector<Flow> flows = open(40);
  add_the_second();  // some of them are displaced now
  // Back to one: they are where they belong, but the other shard still sends them elsewhere.
  config().pool().addresses = {"203.0.113.3"};
  lab().publish(config());
  lab().adopt(0);
  for (const Flow& flow : flows) {
    lives(flow);
    lab().next_arrival(lab().shards() - 1);
    translated_to(udp(flow.client, kServer), flow.nat);
  }
  for (unsigned id = 1; id < lab().shards(); ++id) lab().adopt(id);
  lab().sweep();
  for (const Flow& flow : flows) lives(flow);
  EXPECT_EQ(displaced(), 0u);
}

TEST_P(ShardMapChange, FragmentsOfNewSubscribers_AreHandedOffOncePerShard) {
  start_with_one_address();
  open(40);
  add_the_second();
  const auto handoffs = [&] {
    return lab().total(&Counters::handoff_sent) - lab().total(&Counters::arp_replies_received);
  };
  for (unsigned i = 60; i < 100; ++i) {
    const IpPacket packet = udp(client(i), kServer, pattern(1400, i)).with_id(i);
    const auto pieces = packet.fragments({512});
    for (const Bytes& piece : pieces) {
      const std::uint64_t before = handoffs();
      EXPECT_EQ(lab().from_inside(piece).size(), 1u);
      EXPECT_LE(handoffs() - before, lab().shards());
    }
  }
}

TEST_P(ShardMapChange, OwnerWithoutNatAddresses_MovesItsSubscribers) {
  Config config = Config::standard();
  config.pool().addresses = {"203.0.113.3-203.0.113.4"};
  start(config);
  const std::vector<Flow> flows = open(40);
  // The first shard's only address goes: its subscribers' sessions end, then they move.
  this->config().pool().addresses = {"203.0.113.4"};
  lab().reload(this->config());
  for (const Flow& flow : flows) {
    if (flow.nat.ip == Ip{"203.0.113.4"}) lives(flow);
    EXPECT_EQ(translated(udp(flow.client, {"198.18.0.2", 2})).ip, Ip{"203.0.113.4"});
  }
}

INSTANTIATE_TEST_SUITE_P(Sharded, ShardMapChange, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
