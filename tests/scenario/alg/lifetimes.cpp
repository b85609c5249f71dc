// Design 6, "Lifetimes and bounds".
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

TEST_P(AlgLife, EspSession_IsRefreshedByEitherDirectionAndEndsAfterEspSessionTimeout) {
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

TEST_P(AlgLife, IkeAndEspSessions_EndIndependently) {
  Config config = Config::with_alg();
  config.alg().ike_session_timeout = 2min;
  config.alg().esp_session_timeout = 10min;
  start(config);
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  quiet(3min);
  EXPECT_EQ(now_there(AlgGauge::kIkeSessions), 0u);
  esp_passes(c1, 0x1001, 0x2001, 2);
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

TEST_P(AlgLife, ChildSaRekey_MakesANewEspSessionAndTheOldOneIdlesOut) {
  Config config = Config::with_alg();
  config.alg().esp_session_timeout = 5min;
  start(config);
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  arms(c1, c1.child());
  esp_passes(c1, 0x1002, 0x2002);
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), 2u);
  for (std::uint32_t i = 2; i < 5; ++i) {
    quiet(4min);
    esp_passes(c1, 0x1002, 0x2002, i);
  }
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), 1u);
}

class AlgLimits : public Alg {
 protected:
  /// A further IKE SA of a client up to phase 2, from the same port.
  Peer begins_another(const Peer& peer, std::uint64_t spi, Where where = Where::current()) {
    Peer another = peer;
    another.spi = spi;
    sends(another, sa_init(spi), where);
    gets(another, response(sa_init(spi), another.server_spi), where);
    return another;
  }
  /// Whether the ALG knows an IKE session: a message of it does not make one.
  bool is_tracked(const Peer& peer, Where where = Where::current()) {
    const std::uint64_t before =
        counted(AlgCounter::kIkeSessionsCreated) + counted(AlgCounter::kIkeUntracked);
    sends(peer, peer.message(kInformational2, 90), where);
    return counted(AlgCounter::kIkeSessionsCreated) + counted(AlgCounter::kIkeUntracked) == before;
  }
};

TEST_P(AlgLimits, SixtyFifthIkeSession_ReplacesTheLongestSilentOne) {
  start();
  (void)joins(2);
  const Peer first = joins(1);
  const Peer second = begins_another(first, 0x5000);
  for (std::uint64_t i = 1; i < 63; ++i) {
    (void)begins_another(first, 0x5000 + i);
    quiet(100ms);
  }
  sends(first, first.message(kInformational2, 2));
  EXPECT_EQ(counted(AlgCounter::kIkeSessionsReplaced), 0u);
  (void)begins_another(first, 0x9999);
  EXPECT_EQ(now_there(AlgGauge::kIkeSessions), 65u);  // one of the other client's
  EXPECT_EQ(counted(AlgCounter::kIkeSessionsReplaced), 1u);
  EXPECT_TRUE(is_tracked(first));
  EXPECT_FALSE(is_tracked(second));
}

TEST_P(AlgLimits, FailedIkeSessions_DoNotExhaustTheLimit) {
  start();
  const Peer tunnel = joins(1, kOtherServer);
  pairs(tunnel, 0x1001, 0x2001);
  Peer attempt = joins(1);
  for (std::uint64_t i = 0; i < 80; ++i) {
    attempt = begins_another(attempt, 0x5000 + i);
    sends(attempt, attempt.auth());  // never answered
    quiet(kT + 2s);
  }
  EXPECT_EQ(counted(AlgCounter::kIkeUntracked), 0u);
  EXPECT_TRUE(is_tracked(tunnel));
}

TEST_P(AlgLimits, AnIkeSessionThatAwaitsAnSpiHasATurnOrHasEspIsNotReplaced) {
  start();
  const Peer tunnel = joins(1, "198.18.3.1");
  pairs(tunnel, 0x1001, 0x2001);
  const Peer awaits = joins(1, "198.18.3.2");
  arms(awaits);
  quiet(3 * kT);
  const Peer busy = joins(1, "198.18.3.3");
  sends(busy, busy.auth());
  const Peer idle = joins(1);
  for (std::uint64_t i = 0; i < 100; ++i) (void)begins_another(idle, 0x5000 + i);
  EXPECT_TRUE(is_tracked(tunnel));
  EXPECT_TRUE(is_tracked(awaits));
  EXPECT_TRUE(is_tracked(busy));
  EXPECT_EQ(counted(AlgCounter::kIkeUntracked), 0u);
}

TEST_P(AlgLimits, NoReplaceableIkeSession_IkePassesAsOrdinaryUdp) {
  start();
  Peer c1 = joins(1);
  for (std::uint16_t i = 0; i < 64; ++i) {
    c1 = Peer{c1.ip, kS, 0x5000u + i, 0x77, {}, 2, static_cast<std::uint16_t>(600 + i)};
    c1.nat = translated(c1.out(sa_init(c1.spi)));
    gets(c1, response(sa_init(c1.spi), c1.server_spi));
    arms(c1);
  }
  EXPECT_EQ(counted(AlgCounter::kIkeSessionsReplaced), 1u);  // of which nothing came
  c1 = begins_another(joins(1), 0x9999);
  EXPECT_EQ(counted(AlgCounter::kIkeUntracked), 4u);  // two requests with their answers
  arms(c1);
  EXPECT_EQ(counted(AlgCounter::kIkeUntracked), 6u);
  EXPECT_EQ(now_there(AlgGauge::kIkeSessions), 64u);
}

TEST_P(AlgLimits, SeventyNatTraversalClientsBehindOneSubscriber_AreNotLimited) {
  start();
  for (unsigned person = 0; person < 70; ++person) {
    const Ike init = sa_init(0x5000 + person);
    const Endpoint inside{client_ip(1), static_cast<std::uint16_t>(10000 + person)};
    const Endpoint nat = translated(ike(inside, {kS, 500}, init));
    returned(ike({kS, 500}, nat, response(init, 0x77)), inside);
    const Endpoint floated{client_ip(1), static_cast<std::uint16_t>(20000 + person)};
    (void)translated(ike_floated(floated, {kS, 4500}, test::auth(init.initiator, 0x77, 1)));
    EXPECT_EQ(now_there(AlgGauge::kIkeSessions), 0u);
  }
  EXPECT_EQ(counted(AlgCounter::kIkeFloats), 70u);
  EXPECT_EQ(counted(AlgCounter::kIkeSessionsReplaced) + counted(AlgCounter::kIkeUntracked), 0u);
  EXPECT_EQ(now_there(AlgGauge::kGates), 0u);
}

TEST_P(AlgLimits, SixtyFifthServer_ReplacesTheLongestSilentOne) {
  start();
  std::vector<Peer> all;
  for (std::uint32_t i = 0; i < 64; ++i) all.push_back(joins(1, Ip{"198.18.1.0"} + i));
  pairs(all[0], 0x1001, 0x2001);
  sends(all[1], all[1].message(kInformational2, 2));
  (void)joins(1, "198.18.2.1");
  EXPECT_EQ(now_there(AlgGauge::kGates), 64u);
  EXPECT_EQ(counted(AlgCounter::kIkeSessionsReplaced), 1u);
  EXPECT_TRUE(is_tracked(all[0]));
  EXPECT_TRUE(is_tracked(all[1]));
  EXPECT_FALSE(is_tracked(all[2]));
}

TEST_P(AlgLimits, NoReplaceableServer_IkePassesAndEspIsAnsweredByUnreachable) {
  start();
  for (std::uint32_t i = 0; i < 64; ++i)
    pairs(joins(1, Ip{"198.18.1.0"} + i), 0x1001 + i, 0x2001 + i);
  const Peer more = joins(1, "198.18.2.1");
  EXPECT_EQ(counted(AlgCounter::kIkeUntracked), 2u);
  EXPECT_EQ(now_there(AlgGauge::kGates), 64u);
  expect_esp_unreachable(more, 0x7777, DropReason::kGateQuota);
  (void)joins(2);
}

TEST_P(AlgLimits, EspSessionQuota_ReplacesTheOldestSessionOfSinglePackets) {
  Config config = Config::with_alg();
  config.alg().esp_session_quota = 4;
  start(config);
  const Peer c1 = joins(1), c2 = joins(2);
  pairs(c2, 0x1901, 0x2901);
  pairs(c1, 0x1001, 0x2001);
  sends_esp(c1, 0x1001, 2);
  // With somebody outside it makes one pair of SPIs after another.
  const auto one_more = [&](std::uint32_t i) {
    quiet(kT + 1s);
    arms(c1, c1.child(10 + i));
    esp_passes(c1, 0x1100 + i, 0x2100 + i);
  };
  for (std::uint32_t i = 0; i < 10; ++i) one_more(i);
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), 5u);
  EXPECT_EQ(counted(AlgCounter::kEspSessionsReplaced), 7u);
  gets_esp(c1, 0x2001, 3);
  for (std::uint32_t i = 7; i < 10; ++i) sends_esp(c1, 0x1100 + i, 2);
  // None of single packets is left.
  quiet(kT + 1s);
  expect_esp_unreachable(c1, 0x1200, DropReason::kEspSessionQuota);
  for (std::uint32_t i = 7; i < 10; ++i) gets_esp(c1, 0x2100 + i, 2);
  EXPECT_FALSE(turn());
  sends(c2, c2.child());  // nobody else is kept waiting
  gets(c2, response(c2.child()));
  esp_passes(c2, 0x1902, 0x2902);
  config.alg().esp_session_quota = 5;
  lab().reload(config);
  one_more(20);
}

TEST_P(AlgLimits, WithALowerEspSessionQuotaAReloadEndsNothing) {
  Config config = Config::with_alg();
  start(config);
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  sends_esp(c1, 0x1001, 2);
  quiet(kT + 1s);
  comes_back(c1, 0x1002, 0x2002, 1);
  config.alg().esp_session_quota = 1;
  lab().reload(config);
  sends_esp(c1, 0x1001, 3);
  gets_esp(c1, 0x2002, 4);
  quiet(kT + 1s);
  expect_esp_unreachable(c1, 0x1003, DropReason::kEspSessionQuota);
}

TEST_P(AlgLimits, HeldBytesOfASubscriber_AreLimitedToAQuarter) {
  Lab::Options options;
  options.alg = {.ike_sessions = 4096, .esp_sessions = 64, .gates = 512, .held_bytes = 65536};
  Config config = Config::with_alg();
  start(config, options);
  std::vector<Peer> holders;
  for (std::uint32_t i = 0; i < 64; ++i) holders.push_back(joins(1, Ip{"198.18.1.0"} + i));
  for (const Peer& peer : holders) sends(peer, peer.auth());
  const Peer c3 = joins(3), c4 = joins(4);
  sends(c3, c3.auth());
  // One who waits at many gates, with 16 fragments of 8 exchanges at each.
  std::vector<Peer> waiting;
  for (std::uint32_t i = 0; i < 8; ++i) waiting.push_back(joins(2, Ip{"198.18.1.0"} + i));
  for (const Peer& peer : waiting)
    for (std::uint32_t exchange = 0; exchange < 8; ++exchange)
      for (unsigned part = 1; part <= 16; ++part)
        (void)lab().from_inside(peer.out(fragment(peer.child(exchange + 2), part, 16, 40)).bytes());
  expect_drops({{DropReason::kIkeHoldFull, 8 * 8 * 16 - 65536 / 4 / 128}});
  EXPECT_EQ(now_there(AlgGauge::kHeldBytes), 65536u / 4);
  EXPECT_EQ(now_there(AlgGauge::kHeldPackets), 65536u / 4 / 128);
  waits(c4, c4.auth());
  gets(c3, response(c3.auth()));
  sends_esp(c3, 0x1003);
  gets_esp_and_releases(c3, 0x2003, {out_frame(c4, c4.auth())});
}

TEST_P(AlgLimits, FullTables_PassIkeDropEspAndKeepSessions) {
  Lab::Options options;
  options.alg = {.ike_sessions = 4, .esp_sessions = 3, .gates = 2, .held_bytes = 1u << 20};
  start(Config::with_alg(), options);
  const Peer c1 = joins(1);
  (void)joins(2, kOtherServer);
  pairs(c1, 0x1001, 0x2001);
  const Peer c3 = joins(3, "198.18.0.3");  // no gate is free
  EXPECT_EQ(counted(AlgCounter::kIkeUntracked), 2u);
  expect_esp_unreachable(c3, 0x7777, DropReason::kGateTableFull);
  for (unsigned n = 4; n < 6; ++n) (void)joins(n);
  (void)joins(6);  // no IKE session is
  EXPECT_EQ(counted(AlgCounter::kIkeUntracked), 4u);
  sends_esp(c1, 0x1002);
  sends_esp(c1, 0x1003);
  (void)lab().from_inside(esp(c1.ip, kS, 0x1004, 1).bytes());
  expect_drops({{DropReason::kEspSessionTableFull, 1}});
  esp_passes(c1, 0x1001, 0x2001, 2);
}

// With endpoint-independent filtering anybody may send to a client's mapping.
TEST_P(AlgLimits, UnsolicitedIke_PassesWithoutState) {
  Config config = Config::with_alg();
  config.group().apps.clear();
  AppPolicy open = kEndpointIndependent;
  open.pooling = Pooling::kPaired;
  config.group().app(Protocol::kUdp, open);
  start(config);
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c2, c2.auth());  // a turn with S
  for (std::uint32_t i = 0; i < 100; ++i) {
    Peer unsolicited = c1;
    unsolicited.server = Ip{"198.19.0.1"} + i;
    gets(unsolicited, unsolicited.server_child(7));
  }
  EXPECT_EQ(now_there(AlgGauge::kGates), 1u);
  EXPECT_EQ(now_there(AlgGauge::kIkeSessions), 2u);
  EXPECT_EQ(counted(AlgCounter::kTurns), 1u);
  EXPECT_EQ(counted(AlgCounter::kIkeUnsolicited), 100u);
  // A server that the client answers is not unsolicited any more.
  Peer friendly = c1;
  friendly.server = "198.19.0.1";
  sends(friendly, response(friendly.server_child(7)));
  gets(friendly, friendly.server_child(8));
  EXPECT_EQ(now_there(AlgGauge::kGates), 2u);
  EXPECT_EQ(now_there(AlgGauge::kTurns), 2u);
}

INSTANTIATE_TEST_SUITE_P(, AlgLimits, shardings(), sharding_name);

// ── reload ──────────────────────────────────────────────────────────────────────────────────────

TEST_P(AlgLife, ProfileBoundByReload_PairsClientsWithTheirUdp500MappingsAddress) {
  Config config = Config::with_alg();
  config.pool().addresses = {"203.0.113.3-203.0.113.18"};
  config.group().alg.clear();
  config.group().apps.clear();
  config.group().app(Protocol::kUdp, {.pooling = Pooling::kRandom});
  start(config);
  std::vector<Peer> clients;
  for (unsigned n = 1; n <= 3; ++n) clients.push_back(joins(n));
  Config now = Config::with_alg();
  now.pool().addresses = config.pool().addresses;
  lab().reload(now);
  for (const Peer& c : clients) {
    if (c.ip.value % 2 != 0) sends(c, c.message(kInformational2, 4));  // others show ESP first
    sends_esp(c, 0x1000 + c.ip.value);
    EXPECT_EQ(joins(c.ip.value - client_ip(0).value, kOtherServer).nat.ip, c.nat.ip);
    quiet(kT + 1s);  // its turn, if the next one shares its address
  }
}

TEST_P(AlgLife, ReloadedTimeouts_HoldForExistingSessions) {
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
TEST_P(AlgLife, PoolAddressRemovedByReload_IsNotUsedByTheNextEspPacket) {
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

TEST_P(AlgLife, PoolAddressRemovedByReload_RequiresIkeAgain) {
  Config config = Config::with_alg();
  config.pool().addresses = {"203.0.113.3", "203.0.113.9"};
  config.alg().require_ike = true;
  start(config);
  const Peer c1 = joins(1);
  config.pool().addresses = {c1.nat.ip == kN ? "203.0.113.9" : "203.0.113.3"};
  lab().reload(config);
  esp_refused_out(c1, 0x1001, DropReason::kEspOutNoIke);
}

TEST_P(AlgLife, UnchangedReload_KeepsTunnelsTurnAndWaiters) {
  start();
  const Peer c1 = joins(1), c2 = joins(2), c3 = joins(3);
  pairs(c1, 0x1001, 0x2001);
  sends(c2, c2.auth());
  waits(c3, c3.auth());
  lab().reload(config());
  esp_passes(c1, 0x1001, 0x2001, 2);
  gets(c2, response(c2.auth()));
  sends_esp(c2, 0x1002);
  gets_esp_and_releases(c2, 0x2002, {out_frame(c3, c3.auth())});
}

INSTANTIATE_TEST_SUITE_P(, AlgLife, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
