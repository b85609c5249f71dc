// Between shards: who owns what, what is handed off, and what happens when that is not possible.
#include "scenario.hpp"

namespace lsn::test {
namespace {

class Handoff : public Laboratory {
 protected:
  void start(const Config& config = Config::standard(), unsigned shards = 2,
             Arrival arrival = Arrival::kFirst) {
    Laboratory::start(config, {"", shards, arrival}, {});
  }
  [[nodiscard]] Ip client_of(unsigned shard) {
    for (Ip ip = "192.0.2.20";; ip = ip + 1)
      if (owner_of(ip) == shard) return ip;
  }
};

TEST_F(Handoff, PacketAtItsOwner_IsNotHandedOff) {
  start();
  const Endpoint mine = {client_of(0), 7};
  const Endpoint nat = translated(udp(mine, kServer));
  returned(udp(kServer, nat), mine);
  // ARP replies are copied to all.
  EXPECT_EQ(lab().total(&Counters::handoff_sent), lab().total(&Counters::arp_replies_received));
}

TEST_F(Handoff, PacketOfAnotherShard_IsHandedOffOnce) {
  start();
  const Endpoint theirs = {client_of(1), 7};
  const Endpoint nat = translated(udp(theirs, kServer));
  const std::uint64_t arp = lab().total(&Counters::arp_replies_received);
  EXPECT_EQ(lab().total(&Counters::handoff_sent), 1 + arp);
  lab().advance(1s);
  translated_to(udp(theirs, kServer), nat);
  returned(udp(kServer, nat), theirs);
  EXPECT_EQ(lab().total(&Counters::handoff_sent), 3 + lab().total(&Counters::arp_replies_received));
  EXPECT_EQ(lab().total(&Counters::handoff_received), lab().total(&Counters::handoff_sent));
}

TEST_F(Handoff, PacketAtAnyShard_IsTranslatedToItsOwnersNatAddress) {
  start(Config::standard(), 4, Arrival::kAlternate);
  for (unsigned i = 0; i < 60; ++i) {
    const Endpoint client = {Ip{"192.0.2.20"} + i, 5};
    const Endpoint nat = translated(udp(client, kServer));
    EXPECT_EQ(owner_of_nat(nat.ip), owner_of(client.ip));
    for (int k = 0; k < 4; ++k) {
      returned(udp(kServer, nat), client);
      translated_to(udp(client, kServer), nat);
    }
  }
}

TEST_F(Handoff, MoreShardsThanNatAddresses_ServeAllSubscribers) {
  // More shards than addresses: some have no work, nobody is lost.
  Config config = Config::standard();
  config.pool().addresses = {"203.0.113.3-203.0.113.4"};
  start(config, 5, Arrival::kAlternate);
  for (unsigned i = 0; i < 40; ++i) {
    const Endpoint client = {Ip{"192.0.2.20"} + i, 5};
    returned(udp(kServer, translated(udp(client, kServer))), client);
  }
}

TEST_F(Handoff, APacketKeepsItsVlanOnTheWay) {
  Config config = Config::standard();
  config.interfaces[0].vlan = 7;
  config.interfaces[1].vlan = 8;
  start(config);
  const Endpoint theirs = {client_of(1), 7};
  const Endpoint nat = translated(udp(theirs, kServer));
  returned(udp(kServer, nat), theirs);
}

TEST_F(Handoff, HandoffBufferFull_DropsThePacket) {
  start();
  const Endpoint theirs = {client_of(1), 7};
  translated(udp(theirs, kServer));
  lab().hold_handoffs(true);
  constexpr unsigned kRoom = datapath::HandoffBuffer::kCapacity;
  for (unsigned i = 0; i < kRoom + 9; ++i)
    expect_frames(lab().from_inside(udp(theirs, kServer).bytes()), {});
  expect_drops({{DropReason::kHandoffFull, 9}});
  lab().hold_handoffs(false);
  EXPECT_EQ(lab().run_until_idle().size(), kRoom);
}

TEST_F(Handoff, ShardsOfDifferentGenerations_DoNotHandOffForever) {
  Config config = Config::standard();
  config.pool().addresses = {"203.0.113.3"};  // the first shard's
  start(config);
  const Ip client = kClient.ip;
  ASSERT_EQ(owner_of(client), 0u);
  translated(udp(kClient, kServer));
  lab().flush({});
  // Now it is the second one's; the first one has not heard of it yet and the second one has.
  this->config().pool().addresses = {"203.0.113.5"};
  this->config().pools.insert(this->config().pools.begin(), [] {
    PoolConfig pool;
    pool.name = "FIRST";
    pool.addresses = {"203.0.113.6"};
    return pool;
  }());
  lab().publish(this->config());
  lab().adopt(1);
  lab().from_inside(udp(kClient, kServer).bytes());
  // Served by one of them, or dropped and counted; in any case it came to rest.
  expect_only_drops({DropReason::kHandoffLoop, DropReason::kPoolExhausted, DropReason::kNoMapping});
  EXPECT_LT(lab().total(&Counters::handoff_sent), 40u);
  lab().adopt(0);
  lab().sweep();
  translated(udp(kClient, kServer));
}

TEST_F(Handoff, HandoffLoopOfTwoShards_DropsThePacket) {
  const auto with_pool = [](const char* addresses) {
    Config config = Config::standard();
    config.pool().addresses = {addresses};
    return config;
  };
  start(with_pool("203.0.113.3-203.0.113.4"));
  // One address of each shard.
  const bool first_has_3 = owner_of_nat("203.0.113.3") == 0;
  const char* of_first = first_has_3 ? "203.0.113.3" : "203.0.113.4";
  const char* of_second = first_has_3 ? "203.0.113.4" : "203.0.113.3";
  config() = with_pool(of_second);
  lab().publish(config());
  for (unsigned shard = 0; shard < 2; ++shard) lab().adopt(shard);
  lab().sweep();
  lab().drop_predecessors();
  ASSERT_EQ(owner_of(kClient.ip), 1u);
  config() = with_pool(of_first);
  lab().publish(config());
  lab().adopt(1);
  // The first shard holds the second one's addresses for the group's, and the second one the
  // first's.
  expect_frames(lab().from_inside(udp(kClient, kServer).bytes()), {});
  expect_drops({{DropReason::kHandoffLoop, 1}});
  lab().adopt(0);
  lab().sweep();
  translated(udp(kClient, kServer));
}

TEST_F(Handoff, ArpRepliesReachAllShards) {
  start(Config::standard(), 4);
  lab().from_inside(udp({client_of(0), 7}, kServer).bytes());
  for (unsigned id = 0; id < 4; ++id) {
    // Those who had no use for the gateway yet do not learn it unasked; all who ask know at once.
    const Endpoint client = {client_of(id), 9};
    translated(udp(client, kServer));
  }
}

TEST_F(Handoff, IcmpError_IsSteeredByItsQuotedPacket) {
  start();
  const Endpoint theirs = {client_of(1), 7};
  const Endpoint nat = translated(udp(theirs, kServer));
  // From a router inside, whose own address is no client's.
  const IpPacket got = udp(kServer, theirs);
  const IpPacket error = icmp_error("10.9.9.9", kServer.ip, kTimeExceeded, 0, got.bytes());
  const IpPacket expected = icmp_error(nat.ip, kServer.ip, kTimeExceeded, 0, got.to(nat).bytes());
  expect_forwarded_outside(error, expected);
}

TEST_F(Handoff, FragmentsThatComeToDifferentShardsMeet) {
  start(Config::standard(), 3, Arrival::kAlternate);
  for (unsigned i = 0; i < 12; ++i) {
    const Endpoint client = {Ip{"192.0.2.20"} + i, 5};
    const Endpoint nat = translated(udp(client, kServer));
    const IpPacket packet = udp(client, kServer, pattern(1500, i)).with_id(i);
    const auto in = packet.fragments({512, 1024});
    expect_frames(lab().from_inside(in[1]), {});
    expect_frames(lab().from_inside(in[2]), {});
    expect_pieces(lab().from_inside(in[0]), 1, kGateway, packet.from(nat).hop(), {512, 1024});
  }
}

}  // namespace
}  // namespace lsn::test
