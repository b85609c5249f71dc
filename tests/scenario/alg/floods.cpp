// Floods: bounded memory, the others' tunnels unharmed, each attack visible in a counter.
#include "alg_scenario.hpp"

namespace lsn::test {
namespace {

class AlgFlood : public Alg {
 protected:
  /// 192.0.2.10 has a tunnel; everybody else is of 10.0.0.0/16.
  void begin(const Lab::Options& options = {}) {
    Config config = Config::with_alg();
    config.group().clients.push_back("10.0.0.0/16");
    config.routes.push_back({"10.0.0.0/16", "192.0.2.200"});
    start(config, options);
    victim_ = joins(1);
    pairs(victim_, 0x1001, 0x2001);
  }
  void victim_is_well(Where where = Where::current()) {
    sends_esp(victim_, 0x1001, ++sequence_, where);
    gets_esp(victim_, 0x2001, sequence_, where);
    sends(victim_, victim_.message(kInformational2, sequence_), where);
  }
  /// 63 IKEv1 sessions beside the one that it has, each with 72 answered Quick Modes and no ESP.
  void is_owed_by_all_it_may_have(Peer peer) {
    peer.version = 1;
    for (std::uint64_t s = 0; s < 63; ++s) {
      peer.spi = 0x70000 + s;
      (void)lab().from_inside(peer.out(main_mode(peer.spi, 0xB)).bytes());
      for (std::uint32_t id = 1; id <= 72; ++id) {
        (void)lab().from_inside(peer.out(peer.quick(id)).bytes());
        (void)lab().from_outside(peer.in(peer.quick(id)).bytes());
      }
    }
  }

  Peer victim_;
  std::uint32_t sequence_ = 1;
};

TEST_P(AlgFlood, PhaseTwoFloodOfAWaiter_IsHeldWithinItsFlight) {
  begin();
  const Peer c2 = joins(2);
  sends(victim_, victim_.child(2));
  for (std::uint32_t id = 2; id < 3000; ++id) (void)lab().from_inside(c2.out(c2.child(id)).bytes());
  EXPECT_LE(now_there(AlgGauge::kHeldPackets), 64u);
  EXPECT_EQ(now_there(AlgGauge::kWaiters), 1u);
  EXPECT_GT(lab().drops(DropReason::kIkeFlightFull), 2000u);
  expect_only_drops({DropReason::kIkeFlightFull});
  victim_is_well();
}

TEST_P(AlgFlood, PhaseTwoFloodOfTheHolder_YieldsToWaiters) {
  begin();
  const Peer c2 = joins(2);
  for (std::uint32_t id = 2; id < 66; ++id) sends(c2, c2.child(id));
  for (std::uint32_t id = 66; id < 3000; ++id)
    (void)lab().from_inside(c2.out(c2.child(id)).bytes());
  expect_only_drops({DropReason::kIkeFlightFull});
  waits(victim_, victim_.child(2));
  // One turn, which yields; whoever had it queues behind everyone who waits.
  happens(5100ms, {out_frame(victim_, victim_.child(2))});
  victim_is_well();
}

TEST_P(AlgFlood, IkeSaInitFlood_ReplacesItsOwnIkeSessions) {
  begin();
  Peer c2 = joins(2);
  for (std::uint64_t i = 0; i < 3000; ++i) {
    c2.spi = 0x70000 + i;
    sends(c2, sa_init(c2.spi));
  }
  EXPECT_LE(now_there(AlgGauge::kIkeSessions), 65u);
  EXPECT_GT(counted(AlgCounter::kIkeSessionsReplaced), 2900u);
  victim_is_well();
}

TEST_P(AlgFlood, OutboundSpiSpray_ReplacesItsOwnCandidates) {
  begin();
  const Peer c2 = joins(2);
  quiet(kT + 1s);
  for (std::uint32_t i = 0; i < 3000; ++i)
    (void)lab().from_inside(esp(c2.ip, kS, 0x5000000 + i, 1).bytes());
  EXPECT_LE(now_there(AlgGauge::kEspSessions), 6u);
  EXPECT_GT(counted(AlgCounter::kCandidatesReplaced), 2900u);
  victim_is_well();
  sends(victim_, victim_.child(3));  // a turn without an exchange yields
}

TEST_P(AlgFlood, SpiSprayFromOutsideHosts_MakesNoState) {
  begin();
  quiet(kT + 1s);
  for (std::uint32_t i = 0; i < 3000; ++i)
    (void)lab().from_outside(esp(Ip{"198.19.0.1"} + i, kN, 0x5000000 + i, 1).bytes());
  EXPECT_EQ(now_there(AlgGauge::kGates), 1u);
  expect_drops({{DropReason::kEspInNoGate, 3000}});
  victim_is_well();
}

TEST_P(AlgFlood, SpiSprayFromTheServersAddress_MakesNoState) {
  begin();
  quiet(kT + 1s);
  for (std::uint32_t i = 0; i < 3000; ++i)
    (void)lab().from_outside(esp(kS, kN, 0x5000000 + i, 1).bytes());
  expect_drops({{DropReason::kEspInNoGate, 3000}});
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), 1u);
  victim_is_well();
}

TEST_P(AlgFlood, ForgedIkeFromTheServersAddress_DisplacesNoClientsIkeSession) {
  begin();
  Peer forged = victim_;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    forged.spi = 0x90000 + i;
    (void)lab().from_outside(forged.in(forged.message(kCreateChild, 7)).bytes());
  }
  EXPECT_LE(now_there(AlgGauge::kIkeSessions), 64u);
  victim_is_well();
  // What came from outside displaces nothing that the client started.
  restarts(victim_);
}

TEST_P(AlgFlood, ThreeThousandWaiters_AreBoundedByPhase2Hold) {
  Lab::Options options;
  options.max_sessions = 16384;
  options.alg = {.ike_sessions = 8192, .esp_sessions = 1024, .gates = 512, .held_bytes = 8u << 20};
  begin(options);
  sends(victim_, victim_.child(2));
  std::uint64_t told = 0;
  for (std::uint32_t i = 0; i < 3000; ++i) {
    Peer c{Ip{"10.0.0.1"} + i, kS, 0xC0000 + i, 0xB, {}, 2};
    (void)lab().from_inside(c.out(c.auth()).bytes());
    ++told;
  }
  EXPECT_EQ(now_there(AlgGauge::kWaiters), 64u);  // phase2Hold
  EXPECT_EQ(lab().drops(DropReason::kIkeWaitersFull), told - 64);
  expect_only_drops({DropReason::kIkeWaitersFull});
  victim_is_well();
  // They get their turns, one after the other, and are forgotten.
  (void)lab().advance(20min);
  EXPECT_EQ(now_there(AlgGauge::kWaiters), 0u);
  expect_only_drops({DropReason::kIkeHeldAged, DropReason::kIkeHeldFlushed});
  victim_is_well();
}

// What a client is owed by thousands of exchanges is one pass for each turn that pairs (how long it
// takes is no test's business).
TEST_P(AlgFlood, ClientOwedByThousandsOfExchanges_StillPairs) {
  begin();
  const Peer c2 = joins(2);
  quiet(kT + 1s);
  is_owed_by_all_it_may_have(c2);
  (void)lab().advance(kT + 1s);
  std::uint64_t owed = 0, turns = counted(AlgCounter::kClosedPaired);
  const auto& alg = lab().shard(0).alg;
  for (std::uint32_t id = 0; id < alg.peers.high_water(); ++id) owed += alg.peers[id].owed_count;
  for (std::uint32_t i = 0; i < 20; ++i) {
    (void)lab().from_inside(esp(c2.ip, kS, 0x3000 + i, 1).bytes());
    (void)lab().from_outside(esp(kS, kN, 0x4000 + i, 1).bytes());
  }
  EXPECT_EQ(owed, 63u * 72);
  EXPECT_EQ(counted(AlgCounter::kClosedPaired) - turns, 20u);
  victim_is_well();
}

// Design 6: a full table shuts no IKE out that an ordinary NAT would pass.
TEST_P(AlgFlood, ExchangeTableFull_StillPairsOtherClients) {
  Lab::Options options;
  options.alg = {.ike_sessions = 256, .esp_sessions = 1024, .gates = 512, .held_bytes = 8u << 20};
  begin(options);
  quiet(kT + 1s);
  const Peer c2 = joins(2);
  is_owed_by_all_it_may_have(c2);
  (void)lab().advance(kT + 35s);
  expect_only_drops({DropReason::kIkeFlightFull, DropReason::kIkeHeldAged});
  const Peer c3 = joins(3);
  arms(c3);
  comes_back(c3, 0x1003, 0x2003);
  victim_is_well();
}

INSTANTIATE_TEST_SUITE_P(, AlgFlood, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
