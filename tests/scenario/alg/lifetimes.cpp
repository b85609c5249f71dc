// Section 6 of the ALG's design, "Lifetimes and bounds".
#include "alg_scenario.hpp"

namespace lsn::test {
namespace {

class AlgLife : public Alg {};

TEST_P(AlgLife, AnIkeSessionGoesIkeSessionTimeoutAfterItsLastMessage) {
  Config config = Config::with_alg();
  config.alg().ike_session_timeout = 5min;
  start(config);
  const Peer c1 = joins(1);
  quiet(4min);
  sends(c1, c1.message(kInformational2, 3));
  quiet(4min);
  EXPECT_EQ(now_there(AlgGauge::kIkeSessions), 1u);
  quiet(70s);
  EXPECT_EQ(now_there(AlgGauge::kIkeSessions), 0u);
  EXPECT_EQ(now_there(AlgGauge::kGates), 0u);
}

TEST_P(AlgLife, AnUnansweredIkeSessionGoesAfter60Seconds) {
  start();
  Peer c1{client_ip(1), kS, 0xA1, 0, {}, 2};
  c1.nat = translated(c1.out(sa_init(c1.spi)));
  quiet(59s);
  EXPECT_EQ(now_there(AlgGauge::kIkeSessions), 1u);
  quiet(2s);
  EXPECT_EQ(now_there(AlgGauge::kIkeSessions), 0u);
}

TEST_P(AlgLife, AnEspSessionGoesEspSessionTimeoutAfterItsLastPacketInEitherDirection) {
  Config config = Config::with_alg();
  config.alg().esp_session_timeout = 2min;
  config.inbound_refresh = false;  // ESP is refreshed by either direction whatever that says
  start(config);
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  for (std::uint32_t i = 2; i < 5; ++i) {
    quiet(110s);
    gets_esp(c1, 0x2001, i);
  }
  for (std::uint32_t i = 2; i < 5; ++i) {
    quiet(110s);
    sends_esp(c1, 0x1001, i);
  }
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), 1u);
  quiet(130s);
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), 0u);
  EXPECT_EQ(lab().session_count(Protocol::kEsp), 0u);
  EXPECT_EQ(counted(AlgCounter::kEspSessionsExpired), 1u);
}

TEST_P(AlgLife, NeitherTakesTheOtherWithIt) {
  Config config = Config::with_alg();
  config.alg().ike_session_timeout = 2min;
  config.alg().esp_session_timeout = 10min;
  start(config);
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  quiet(3min);
  EXPECT_EQ(now_there(AlgGauge::kIkeSessions), 0u);
  sends_esp(c1, 0x1001, 2);
  gets_esp(c1, 0x2001, 2);
  config.alg().ike_session_timeout = 30min;
  lab().reload(config);
  sends(c1, c1.message(kInformational2, 3));
  gets(c1, c1.message(kInformational2, 3));
  quiet(11min);
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), 0u);
  EXPECT_EQ(now_there(AlgGauge::kIkeSessions), 1u);
}

TEST_P(AlgLife, TheUdp500MappingLivesAsLongAsTheIkeSession) {
  start();
  const Peer c1 = joins(1);
  quiet(50min);  // the UDP idle timeout is 120 s
  gets(c1, c1.server_child());
  sends(c1, response(c1.server_child()));
}

TEST_P(AlgLife, TheUdp500MappingLivesAsLongAsAnyEspSessionOfThePair) {
  Config config = Config::with_alg();
  config.alg().ike_session_timeout = 1min;
  start(config);
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  for (std::uint32_t i = 2; i < 12; ++i) {
    quiet(20min);
    sends_esp(c1, 0x1001, i);
  }
  EXPECT_EQ(now_there(AlgGauge::kIkeSessions), 0u);
  gets(c1, c1.server_child());  // an hours old port still reaches the client
  sends(c1, response(c1.server_child()));
}

TEST_P(AlgLife, WithoutIkeAndEspTheUdp500MappingIdlesOut) {
  Config config = Config::with_alg();
  config.alg().ike_session_timeout = 1min;
  start(config);
  (void)joins(1);
  quiet(6min);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
  EXPECT_EQ(lab().subscribers(), 0u);
}

TEST_P(AlgLife, WhileAClientHasAnyAlgStateItsPairingStays) {
  Config config = Config::with_alg();
  config.pool().addresses = {"203.0.113.3-203.0.113.18"};
  config.alg().ike_session_timeout = 1min;
  config.alg().esp_session_timeout = 60min;
  start(config);
  const Peer c1 = joins(1);
  sends_esp(c1, 0x1001);
  for (std::uint32_t i = 2; i < 8; ++i) {
    quiet(50min);
    sends_esp(c1, 0x1001, i);
  }
  EXPECT_EQ(joins(1, kOtherServer).nat.ip, c1.nat.ip);
}

TEST_P(AlgLife, ARekeyMakesANewEspSessionAndTheOldOneIdlesOut) {
  Config config = Config::with_alg();
  config.alg().esp_session_timeout = 5min;
  start(config);
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  sends(c1, c1.child());
  gets(c1, response(c1.child()));
  sends_esp(c1, 0x1002);
  gets_esp(c1, 0x2002);
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), 2u);
  for (std::uint32_t i = 2; i < 5; ++i) {
    quiet(4min);
    sends_esp(c1, 0x1002, i);
    gets_esp(c1, 0x2002, i);
  }
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), 1u);
}

TEST_P(AlgLife, AtMost64IkeSessionsPerSubscriberItsOwnOldestUnansweredOneReplaced) {
  start();
  (void)joins(2);
  Peer c1{client_ip(1), kS, 0, 0, {}, 2};
  const Peer answered = joins(1);
  c1.nat = answered.nat;
  for (std::uint64_t i = 0; i < 200; ++i) {
    c1.spi = 0x5000 + i;
    sends(c1, sa_init(c1.spi));
    quiet(100ms);
  }
  EXPECT_EQ(now_there(AlgGauge::kIkeSessions), 65u);  // 64 of c1 and one of c2
  EXPECT_EQ(counted(AlgCounter::kIkeSessionsReplaced), 200u - 63u);
}

TEST_P(AlgLife, WithAllAnsweredAFurtherIkeSessionIsRefused) {
  start();
  Peer c1 = joins(1);
  for (std::uint64_t i = 1; i < 64; ++i) {
    c1.spi = 0x5000 + i;
    sends(c1, sa_init(c1.spi));
    gets(c1, response(sa_init(c1.spi), 0x77));
  }
  c1.spi = 0x9999;
  refused_from_inside(c1.out(sa_init(c1.spi)), DropReason::kIkeSessionQuota);
  c1.spi = 0x5001;
  sends(c1, c1.message(kInformational2, 2));  // the others go on
}

TEST_P(AlgLife, AtMost64GatesPerSubscriber) {
  start();
  for (std::uint32_t i = 0; i < 64; ++i) (void)joins(1, Ip{"198.18.1.0"} + i);
  const Peer one_more{client_ip(1), "198.18.2.1", 0xAA, 0, {}, 2};
  refused_from_inside(one_more.out(sa_init(0xAA)), DropReason::kGateQuota);
  (void)joins(2);
}

TEST_P(AlgLife, ANewGateReplacesTheSubscribersOldestUnansweredOne) {
  start();
  for (std::uint32_t i = 0; i < 200; ++i) {
    Peer c1{client_ip(1), Ip{"198.18.1.0"} + i, 0xA000 + i, 0, {}, 2};
    c1.nat = translated(c1.out(sa_init(c1.spi)));
  }
  EXPECT_EQ(now_there(AlgGauge::kGates), 64u);
}

TEST_P(AlgLife, FullTablesAreCountedDropsAndHurtNobody) {
  Lab::Options options;
  options.alg = {.ike_sessions = 4, .esp_sessions = 3, .gates = 2, .held_bytes = 1u << 20};
  start(Config::with_alg(), options);
  const Peer c1 = joins(1);
  (void)joins(2, kOtherServer);
  pairs(c1, 0x1001, 0x2001);
  Peer c3{client_ip(3), "198.18.0.3", 0xA3, 0, {}, 2};
  const Bytes third = c3.out(sa_init(c3.spi)).bytes();
  (void)lab().from_inside(third);
  expect_drops({{DropReason::kGateTableFull, 1}});
  for (unsigned n = 4; n < 6; ++n) (void)joins(n);
  Peer c6{client_ip(6), kS, 0xA6, 0, {}, 2};
  (void)lab().from_inside(c6.out(sa_init(c6.spi)).bytes());
  expect_drops({{DropReason::kIkeSessionTableFull, 1}});
  sends_esp(c1, 0x1002);
  sends_esp(c1, 0x1003);
  (void)lab().from_inside(esp(c1.ip, kS, 0x1004, 1).bytes());
  expect_drops({{DropReason::kEspSessionTableFull, 1}});
  sends_esp(c1, 0x1001, 2);
  gets_esp(c1, 0x2001, 2);
}

// ── reload ──────────────────────────────────────────────────────────────────────────────────────

TEST_P(AlgLife, AReloadChangesTimeoutsForWhatExists) {
  Config config = Config::with_alg();
  start(config);
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  const Peer c2 = joins(2);
  sends(c2, c2.auth());
  config.alg().ike_session_timeout = 2min;
  config.alg().esp_session_timeout = 3min;
  config.alg().gate_timeout = 5s;
  lab().reload(config);
  quiet(6s);
  EXPECT_FALSE(turn());
  quiet(2min);
  EXPECT_EQ(now_there(AlgGauge::kIkeSessions), 0u);
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), 1u);
  quiet(70s);
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), 0u);
}

TEST_P(AlgLife, UnbindingAProfileEndsItsState) {
  Config config = Config::with_alg();
  start(config);
  const Peer c1 = joins(1), c2 = joins(2), c3 = joins(3);
  pairs(c1, 0x1001, 0x2001);
  sends(c2, c2.auth());
  waits(c3, c3.auth());
  config.group().alg.clear();
  lab().reload(config);
  happens(100ms, {out_frame(c3, c3.auth())});  // nothing blocks it any more
  for (const AlgGauge gauge : {AlgGauge::kIkeSessions, AlgGauge::kEspSessions, AlgGauge::kGates,
                               AlgGauge::kTurns, AlgGauge::kWaiters, AlgGauge::kLingering,
                               AlgGauge::kDangling, AlgGauge::kHeldBytes, AlgGauge::kEspHalfOpen})
    EXPECT_EQ(now_there(gauge), 0u) << static_cast<int>(gauge);
  esp_refused_out(c1, 0x1001, DropReason::kEspNoProfile);
  esp_refused_in(0x2001, DropReason::kEspInNoGate);
  sends(c3, c3.auth());  // ordinary UDP, by the same mapping
}

TEST_P(AlgLife, RemovingThePoolAddressEndsItsState) {
  Config config = Config::with_alg();
  config.pool().addresses = {"203.0.113.3", "203.0.113.9"};
  start(config);
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  config.pool().addresses = {c1.nat.ip == kN ? "203.0.113.9" : "203.0.113.3"};
  lab().reload(config);
  quiet(100ms);
  EXPECT_EQ(now_there(AlgGauge::kGates), 0u);
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), 0u);
}

// The first packet after the reload finds nothing of the old address (a finding of the fuzzer's).
TEST_P(AlgLife, NothingNewLeavesByARemovedPoolAddress) {
  Config config = Config::with_alg();
  config.pool().addresses = {"203.0.113.3", "203.0.113.9"};
  config.alg().require_ike = false;
  start(config);
  const Peer c1 = joins(1);
  const std::string other = c1.nat.ip == kN ? "203.0.113.9" : "203.0.113.3";
  config.pool().addresses = {other.c_str()};
  lab().reload(config);
  const auto sent = lab().from_inside(esp(c1.ip, kS, 0x1001, 1).bytes());
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(source_of(behind_link(sent.front().bytes)).ip, Ip{other});
}

TEST_P(AlgLife, WhoLostItsNatAddressNeedsIkeAgain) {
  Config config = Config::with_alg();
  config.pool().addresses = {"203.0.113.3", "203.0.113.9"};
  config.alg().require_ike = true;
  start(config);
  const Peer c1 = joins(1);
  config.pool().addresses = {c1.nat.ip == kN ? "203.0.113.9" : "203.0.113.3"};
  lab().reload(config);
  esp_refused_out(c1, 0x1001, DropReason::kEspOutNoIke);
}

TEST_P(AlgLife, AReloadThatChangesNothingKeepsEverything) {
  start();
  const Peer c1 = joins(1), c2 = joins(2), c3 = joins(3);
  pairs(c1, 0x1001, 0x2001);
  sends(c2, c2.auth());
  waits(c3, c3.auth());
  lab().reload(config());
  sends_esp(c1, 0x1001, 2);
  gets_esp(c1, 0x2001, 2);
  gets(c2, response(c2.auth()));
  sends_esp(c2, 0x1002);
  expect_frames(lab().from_outside(esp(kS, kN, 0x2002, 1).bytes()),
                {esp_in_frame(c2, 0x2002), out_frame(c3, c3.auth())});
}

INSTANTIATE_TEST_SUITE_P(, AlgLife, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
