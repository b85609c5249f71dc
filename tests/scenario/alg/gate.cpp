// Design 4, "The gate": its ten points, in their order.
#include "alg_scenario.hpp"

namespace lsn::test {
namespace {

class AlgGateScenario : public Alg {};

// ── 1 ───────────────────────────────────────────────────────────────────────────────────────────

TEST_P(AlgGateScenario, PhaseTwoOfOtherClients_IsHeldInBothDirections) {
  start();
  const Peer c1 = joins(1), c2 = joins(2), c3 = joins(3);
  sends(c1, c1.auth());
  waits(c2, c2.auth());
  server_waits(c3, c3.server_child());
  EXPECT_EQ(counted(AlgCounter::kGateBlocked), 2u);
  EXPECT_EQ(now_there(AlgGauge::kWaiters), 2u);
  EXPECT_EQ(now_there(AlgGauge::kHeldPackets), 2u);
}

TEST_P(AlgGateScenario, AnotherServer_HasItsOwnGate) {
  start();
  const Peer c1 = joins(1), c2 = joins(2, kOtherServer);
  sends(c1, c1.auth());
  sends(c2, c2.auth());
  EXPECT_EQ(now_there(AlgGauge::kTurns), 2u);
}

// ── 2 ───────────────────────────────────────────────────────────────────────────────────────────

TEST_P(AlgGateScenario, Turn_EndsTAfterItsFirstMessageWhateverFollows) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());
  for (int i = 1; i < 30; ++i) {
    quiet(1s);
    if (i == 1) gets(c1, response(c1.auth()));
    sends(c1, c1.auth());                                    // a retransmission
    sends(c1, c1.child(static_cast<std::uint32_t>(1 + i)));  // another exchange
    gets(c1, response(c1.child(static_cast<std::uint32_t>(1 + i))));
    sends_esp(c1, 0x1001, static_cast<std::uint32_t>(i));
    if (i == 29) waits(c2, c2.auth());
  }
  happens(1100ms, {out_frame(c2, c2.auth())});
  EXPECT_EQ(counted(AlgCounter::kClosedDeadline), 1u);
}

TEST_P(AlgGateScenario, IkeAuthAfterItsTurn_WaitsForANewTurn) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1, c1.auth(1));
  quiet(kT + 1s);  // a person types
  sends(c2, c2.auth());
  waits(c1, c1.auth(2));
  happens(kT + 1s, {out_frame(c1, c1.auth(2))});
  gets(c1, response(c1.auth(2)));
  esp_passes(c1, 0x1001, 0x2001);
  // c2 had no answer: nothing dangles.
  EXPECT_FALSE(turn());
}

// ── 3 ───────────────────────────────────────────────────────────────────────────────────────────

TEST_P(AlgGateScenario, SeveralQuickModesOfTheHolder_ShareOneTurn) {
  start();
  const Peer c1 = joins1(1), c2 = joins1(2);
  sends(c1, c1.quick(1));
  sends(c1, c1.quick(2));
  waits(c2, c2.quick(3));
  gets(c1, c1.quick(1));
  esp_passes(c1, 0x1001, 0x2001);
  EXPECT_TRUE(turn());  // one exchange is unanswered
  gets_esp(c1, 0x2002);
  sends_esp(c1, 0x1002);
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), 2u);
  EXPECT_EQ(now_there(AlgGauge::kEspHalfOpen), 0u);
  // The last answer completes it: the next one's turn.
  expect_frames(lab().from_outside(c1.in(c1.quick(2)).bytes()),
                {in_frame(c1, c1.quick(2)), out_frame(c2, c2.quick(3))});
}

// ── 4 ───────────────────────────────────────────────────────────────────────────────────────────

TEST_P(AlgGateScenario, FirstAnswer_ArmsTheInHalf) {
  start();
  const Peer c1 = joins(1);
  sends(c1, c1.auth());
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous);  // not before it
  gets(c1, response(c1.auth()));
  gets_esp(c1, 0x2002);
  gets_esp(c1, 0x2002, 2);
  EXPECT_TRUE(turn());
  sends_esp(c1, 0x1001);
  EXPECT_TRUE(turn());
  gets_esp(c1, 0x2002, 3);
  EXPECT_FALSE(turn());
}

TEST_P(AlgGateScenario, TheInitiatorMaySendBeforeItsQuickModeMessageThree) {
  start();
  const Peer c1 = joins1(1);
  arms(c1, c1.quick(7));
  sends_esp(c1, 0x1001);
  sends(c1, c1.quick(7).with_body(pattern(40)));
  gets_esp(c1, 0x2001);
  EXPECT_FALSE(turn());
}

TEST_P(AlgGateScenario, KnownSpisPassAllTheTime) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  pairs(c1, 0x1001, 0x2001);
  pairs(c2, 0x1002, 0x2002);
  sends(c1, c1.child());
  for (std::uint32_t i = 2; i < 6; ++i) {  // the old pair carries the traffic
    esp_passes(c1, 0x1001, 0x2001, i);
    esp_passes(c2, 0x1002, 0x2002, i);
  }
  gets(c1, response(c1.child()));
  esp_passes(c1, 0x1001, 0x2001, 6);
  EXPECT_TRUE(turn());
  esp_passes(c1, 0x1003, 0x2003);
  EXPECT_FALSE(turn());
}

// ── 5 ───────────────────────────────────────────────────────────────────────────────────────────

TEST_P(AlgGateScenario, PairedWantsAnInboundPacketAfterTheOutHalfPassed) {
  start();
  const Peer c1 = joins(1);
  arms(c1);
  gets_esp(c1, 0x2001);
  sends_esp(c1, 0x1001);
  sends_esp(c1, 0x1001, 2);
  EXPECT_TRUE(turn());
  gets_esp(c1, 0x2001, 2);
  EXPECT_FALSE(turn());
  EXPECT_EQ(counted(AlgCounter::kClosedPaired), 1u);
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), 1u);
  EXPECT_EQ(now_there(AlgGauge::kEspHalfOpen), 0u);
}

TEST_P(AlgGateScenario, Paired_ClosesTheGateAndReleasesTheNextWaiter) {
  start();
  const Peer c1 = joins(1), c2 = joins(2), c3 = joins(3);
  sends(c1, c1.auth());
  waits(c2, c2.auth());
  waits(c3, c3.auth());
  gets(c1, response(c1.auth()));
  sends_esp(c1, 0x1001);
  gets_esp_and_releases(c1, 0x2001, {out_frame(c2, c2.auth())});
  gets(c2, response(c2.auth()));
  sends_esp(c2, 0x1002);
  gets_esp_and_releases(c2, 0x2002, {out_frame(c3, c3.auth())});
}

TEST_P(AlgGateScenario, RetransmittingWaiter_KeepsItsPlaceBehindManyUnansweredTurns) {
  start();
  constexpr unsigned kClients = 64;  // each of them has its 5 s
  std::vector<Peer> clients;
  for (unsigned n = 1; n <= kClients; ++n) clients.push_back(joins(n));
  sends(clients[0], clients[0].auth());
  for (unsigned n = 1; n < kClients; ++n) waits(clients[n], clients[n].auth());
  for (unsigned next = 1; next < kClients; ++next) {
    happens(5s, {out_frame(clients[next], clients[next].auth())});
    if (next % 4 != 0) continue;
    std::uint64_t asked = 0;
    for (unsigned n = next + 1; n < kClients; ++n, ++asked)
      expect_frames(lab().from_inside(clients[n].out(clients[n].auth()).bytes()), {});
    expect_drops({{DropReason::kIkeHeldReplaced, asked}});
  }
  std::array<std::uint64_t, 10> waited{};
  for (unsigned i = 0; i < lab().shards(); ++i)
    for (std::size_t b = 0; b < waited.size(); ++b)
      waited[b] += lab().shard(i).alg.counters.total.waited[b].get();
  // 5; 10; 15, 20; 25, 30; 35 to 60; 65 to 300; 305 to 315 s
  EXPECT_EQ(waited, (std::array<std::uint64_t, 10>{0, 0, 0, 1, 1, 2, 2, 6, 48, 3}));
}

TEST_P(AlgGateScenario, PairedWantsAnInboundSpiForEachAnsweredExchangeOfTheTurn) {
  start();
  const Peer c1 = joins1(1);
  constexpr std::uint32_t kPairs = 20;  // a gateway begins one Quick Mode for each pair of subnets
  for (std::uint32_t i = 1; i <= kPairs; ++i) sends(c1, c1.quick(i));
  for (std::uint32_t i = 1; i <= kPairs; ++i) gets(c1, c1.quick(i));
  for (std::uint32_t i = 1; i <= kPairs; ++i) sends(c1, c1.quick(i));
  EXPECT_EQ(counted(AlgCounter::kExchangesAdmitted), kPairs);
  for (std::uint32_t i = 1; i <= kPairs; ++i) {
    EXPECT_TRUE(turn());
    esp_passes(c1, 0x1000 + i, 0x2000 + i);
  }
  EXPECT_FALSE(turn());
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), kPairs);
  EXPECT_EQ(now_there(AlgGauge::kEspHalfOpen), 0u);
}

TEST_P(AlgGateScenario, PairedWithWaiters_ClosesTwoSecondsAfterTheLastSpi) {
  start();
  const Peer c1 = joins1(1), c2 = joins1(2);
  for (std::uint32_t i = 1; i <= 3; ++i) sends(c1, c1.quick(i));
  for (std::uint32_t i = 1; i <= 3; ++i) gets(c1, c1.quick(i));
  esp_passes(c1, 0x1001, 0x2001);
  waits(c2, c2.quick(9));
  quiet(1500ms);
  gets_esp(c1, 0x2002);
  quiet(1900ms);
  happens(200ms, {out_frame(c2, c2.quick(9))});
  EXPECT_EQ(counted(AlgCounter::kClosedPaired), 1u);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 1u);  // for the third one
}

TEST_P(AlgGateScenario, PairedWithAnEarlierExchangesSpi_LeavesTheClientDangling) {
  start();
  const Peer c1 = joins1(1), c2 = joins1(2);
  sends(c1, c1.quick(1));  // answered, but that is lost between the server and us
  quiet(kT + 1s);
  arms(c1, c1.quick(2));
  esp_passes(c1, 0x1001, 0x2001);  // the first one's
  EXPECT_FALSE(turn());
  EXPECT_EQ(now_there(AlgGauge::kDangling), 1u);
  arms(c2, c2.quick(3));
  esp_refused_in(0x2002, DropReason::kEspInDangling);  // the second one's
}

// ── 6 ───────────────────────────────────────────────────────────────────────────────────────────

TEST_P(AlgGateScenario, Deadline_KeepsTheLearnedOutboundSpi) {
  start();
  const Peer c1 = joins(1);
  arms(c1);
  sends_esp(c1, 0x1001);
  quiet(kT + 1s);
  EXPECT_FALSE(turn());
  EXPECT_EQ(now_there(AlgGauge::kEspHalfOpen), 1u);
  for (std::uint32_t i = 2; i < 10; ++i) {  // it goes on translating outbound for espSessionTimeout
    sends_esp(c1, 0x1001, i);
    quiet(59min);
  }
  // Its claim on an inbound SPI ended T after its last outbound packet.
  esp_refused_in(0x2001, DropReason::kEspInNoGate);
  comes_back(c1, 0x1001, 0x2001, 10);
}

// ── 7 ───────────────────────────────────────────────────────────────────────────────────────────

TEST_P(AlgGateScenario, RetransmissionOfAHeldMessage_ReplacesIt) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());
  waits(c2, c2.auth());
  for (int i = 0; i < 40; ++i) {
    expect_frames(lab().from_inside(c2.out(c2.auth()).bytes()), {});
    expect_drops({{DropReason::kIkeHeldReplaced, 1}});
  }
  EXPECT_EQ(now_there(AlgGauge::kHeldPackets), 1u);
  happens(kT + 1s, {out_frame(c2, c2.auth())});
}

TEST_P(AlgGateScenario, AFlightHasAtMostSixteenMessages) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());
  std::vector<Frame> flight;
  for (unsigned i = 1; i <= 16; ++i) {
    waits(c2, c2.auth(i));
    flight.push_back(out_frame(c2, c2.auth(i)));
  }
  refused_from_inside(c2.out(c2.auth(17)), DropReason::kIkeFlightFull);
  happens(kT + 1s, flight);
}

TEST_P(AlgGateScenario, TheFragmentsOfAMessageAreHeldAsOne) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());
  std::vector<Frame> flight;
  for (unsigned i = 1; i <= 20; ++i) {
    waits(c2, fragment(c2.auth(), i, 20));
    flight.push_back(out_frame(c2, fragment(c2.auth(), i, 20)));
  }
  happens(kT + 1s, flight);
}

TEST_P(AlgGateScenario, TheFragmentsOfAMessageAreDroppedAsOne) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());
  for (unsigned i = 1; i <= 64; ++i) waits(c2, fragment(c2.auth(), i, 70));
  for (unsigned i = 65; i <= 70; ++i)
    expect_frames(lab().from_inside(c2.out(fragment(c2.auth(), i, 70)).bytes()), {});
  expect_drops({{DropReason::kIkeFlightFull, 70}});
  EXPECT_EQ(now_there(AlgGauge::kHeldPackets), 0u);
}

TEST_P(AlgGateScenario, AnswerInIkeFragments_IsHeldAndArmsTheTurn) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());
  // Its request passed before this process began.
  const Ike answer = response(c2.child());
  server_waits(c2, fragment(answer, 1, 2));
  server_waits(c2, fragment(answer, 2, 2));
  happens(5100ms, {in_frame(c2, fragment(answer, 1, 2)), in_frame(c2, fragment(answer, 2, 2))});
  esp_passes(c2, 0x1002, 0x2002);  // armed
  EXPECT_FALSE(turn());
}

TEST_P(AlgGateScenario, BeyondSixtyFourUnansweredExchangesTheNewerOneIsHeld) {
  start();
  const Peer c1 = joins1(1);
  for (std::uint32_t i = 1; i <= 64; ++i) sends(c1, c1.quick(i));
  waits(c1, c1.quick(65));
  for (std::uint32_t i = 1; i <= 64; ++i) gets(c1, c1.quick(i));  // none was forgotten
  EXPECT_EQ(counted(AlgCounter::kExchangesAdmitted), 64u);
  happens(5100ms, {out_frame(c1, c1.quick(65))});
}

TEST_P(AlgGateScenario, EspSessionTableFull_EndsTheHoldersTurn) {
  Lab::Options options;
  options.alg.esp_sessions = 1;
  start(Config::with_alg(), options);
  const Peer c1 = joins(1), c2 = joins(2), c3 = joins(3);
  pairs(c1, 0x1001, 0x2001);
  arms(c2);
  waits(c3, c3.auth());
  expect_frames(lab().from_outside(esp(kS, kN, 0x2002, 1).bytes()), {out_frame(c3, c3.auth())});
  expect_drops({{DropReason::kEspSessionTableFull, 1}});
  EXPECT_EQ(counted(AlgCounter::kClosedRefused), 1u);
  EXPECT_EQ(counted(AlgCounter::kClosedFlush), 0u);
}

TEST_P(AlgGateScenario, FlightsOfOneWaiter_AreReleasedInOneTurn) {
  start();
  const Peer c1 = joins1(1), c2 = joins1(2);
  sends(c1, c1.quick(1));
  waits(c2, c2.quick(2));
  waits(c2, c2.quick(3));
  EXPECT_EQ(now_there(AlgGauge::kWaiters), 1u);
  happens(6s, {out_frame(c2, c2.quick(2)), out_frame(c2, c2.quick(3))});  // one turn
  EXPECT_EQ(counted(AlgCounter::kTurns), 2u);
}

TEST_P(AlgGateScenario, WaiterSilentFor35Seconds_LosesItsPlace) {
  Config config = Config::with_alg();
  config.alg().gate_timeout = 120s;
  start(config);
  const Peer c1 = joins(1), c2 = joins(2);
  std::uint32_t spi = 0x1000;
  const auto keeps_the_gate = [&](int seconds) {
    for (int i = 0; i < seconds; ++i) {
      if (i % 4 == 0) sends_esp(c1, ++spi);
      quiet(1s);
    }
  };
  arms(c1);
  waits(c2, c2.auth());
  keeps_the_gate(34);
  expect_frames(lab().from_inside(c2.out(c2.auth()).bytes()), {});
  expect_drops({{DropReason::kIkeHeldReplaced, 1}});
  keeps_the_gate(34);
  EXPECT_EQ(now_there(AlgGauge::kWaiters), 1u);
  keeps_the_gate(2);
  EXPECT_EQ(now_there(AlgGauge::kWaiters), 0u);
  expect_drops({{DropReason::kIkeHeldAged, 1}});
  EXPECT_EQ(now_there(AlgGauge::kHeldBytes), 0u);
}

TEST_P(AlgGateScenario, DeadlineInTheSameTickAsAgeing_ReleasesTheWaiter) {
  Config config = Config::with_alg();
  config.alg().gate_timeout = 35s;
  start(config);
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);
  waits(c2, c2.auth());
  // The deadline and the end of the place fall into the same step.
  expect_frames(lab().jump(40s), {out_frame(c2, c2.auth())});
}

TEST_P(AlgGateScenario, WaitersBeyondPhase2Hold_AreDropped) {
  Config config = Config::with_alg();
  config.alg().phase2_hold = 2;
  start(config);
  const Peer c1 = joins(1), c2 = joins(2), c3 = joins(3), c4 = joins(4);
  sends(c1, c1.auth());
  waits(c2, c2.auth());
  waits(c3, c3.auth());
  refused_from_inside(c4.out(c4.auth()), DropReason::kIkeWaitersFull);
  // The peer's retransmission is the fallback.
  happens(6s, {out_frame(c2, c2.auth())});
  waits(c4, c4.auth());
}

TEST_P(AlgGateScenario, Phase2HoldZero_DropsInsteadOfHolding) {
  Config config = Config::with_alg();
  config.alg().phase2_hold = 0;
  start(config);
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());
  refused_from_inside(c2.out(c2.auth()), DropReason::kIkeGateBlocked);
  quiet(kT + 1s);
  sends(c2, c2.auth());
}

TEST_P(AlgGateScenario, HeldBytesAreBounded) {
  Lab::Options options;
  options.alg.held_bytes = 8192;
  start(Config::with_alg(), options);
  const Peer c1 = joins(1);
  sends(c1, c1.auth());
  unsigned held = 0;
  for (unsigned n = 2; n < 40; ++n) {
    const Peer c = joins(n);
    expect_frames(lab().from_inside(c.out(c.auth()).bytes()), {});
    if (lab().drops(DropReason::kIkeHoldFull) != 0) break;
    ++held;
  }
  EXPECT_GT(held, 0u);
  expect_drops({{DropReason::kIkeHoldFull, 1}});
  EXPECT_LE(now_there(AlgGauge::kHeldBytes), 8192u);
  sends_esp(c1, 0x1001);  // others are untouched
}

// ── 8 ───────────────────────────────────────────────────────────────────────────────────────────

TEST_P(AlgGateScenario, Waiters_AreServedFirstInFirstOut) {
  start();
  const Peer c1 = joins(1), c2 = joins(2), c3 = joins(3);
  arms(c1);
  waits(c3, c3.auth());
  waits(c2, c2.auth());
  happens(5100ms, {out_frame(c3, c3.auth())});  // answered, and none of its ESP came
  waits(c1, c1.child());
  happens(6s, {out_frame(c2, c2.auth())});  // unanswered for 5 s
  happens(6s, {out_frame(c1, c1.child())});
}

TEST_P(AlgGateScenario, TurnUnansweredFor5Seconds_YieldsToWaiters) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());
  quiet(10s);  // nobody waits: no reason to yield
  EXPECT_TRUE(turn());
  expect_frames(lab().from_inside(c2.out(c2.auth()).bytes()), {});
  happens(200ms, {out_frame(c2, c2.auth())});
  EXPECT_EQ(counted(AlgCounter::kClosedYield), 1u);
}

TEST_P(AlgGateScenario, NewRequestsDoNotProlongATurnThatHadNoAnswer) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());
  waits(c2, c2.auth());
  quiet(4s);
  sends(c1, c1.child());
  happens(1200ms, {out_frame(c2, c2.auth())});
  EXPECT_EQ(counted(AlgCounter::kClosedYield), 1u);
}

TEST_P(AlgGateScenario, AnAnsweredTurnYieldsIfNoEspOfAnUnknownSpiCameFor5Seconds) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);
  waits(c2, c2.auth());
  quiet(4s);
  sends_esp(c1, 0x1001);
  quiet(4900ms);
  happens(200ms, {out_frame(c2, c2.auth())});
  EXPECT_EQ(counted(AlgCounter::kClosedYield), 1u);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 1u);
}

TEST_P(AlgGateScenario, NewSpiInATurnWithAnUnansweredExchange_DelaysTheYield) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);
  sends(c1, c1.child());  // unanswered
  waits(c2, c2.auth());
  quiet(4s);
  gets_esp(c1, 0x2001);
  quiet(4900ms);
  happens(200ms, {out_frame(c2, c2.auth())});
}

TEST_P(AlgGateScenario, TurnWithoutAnExchange_YieldsToWaiters) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends_esp(c1, 0x1001);  // a tunnel that was idle after IKE
  EXPECT_TRUE(turn());
  sends(c2, c2.auth());
  EXPECT_EQ(counted(AlgCounter::kClosedYield), 1u);
  sends_esp(c1, 0x1001, 2);  // what was learned stays
}

// ── 9 ───────────────────────────────────────────────────────────────────────────────────────────

TEST_P(AlgGateScenario, IkeRekeyByCreateChildSa_ReleasesTheGate) {
  start();
  Peer c1 = joins(1);
  const Peer c2 = joins(2);
  arms(c1, c1.child());
  waits(c2, c2.auth());
  const Peer rekeyed = c1.rekeyed();
  expect_frames(
      lab().from_inside(rekeyed.out(rekeyed.message(kInformational2, 0)).bytes()),
      {out_frame(rekeyed, rekeyed.message(kInformational2, 0)), out_frame(c2, c2.auth())});
  EXPECT_EQ(counted(AlgCounter::kClosedIkeRekey), 1u);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 0u);
}

TEST_P(AlgGateScenario, IkeRekeyOfTheServer_ReleasesTheGate) {
  start();
  Peer c1 = joins(1);
  gets(c1, c1.server_child());
  sends(c1, response(c1.server_child()));
  EXPECT_TRUE(turn());
  const Peer rekeyed = c1.rekeyed();
  gets(rekeyed, rekeyed.message(kInformational2, 0));
  EXPECT_FALSE(turn());
  EXPECT_EQ(counted(AlgCounter::kClosedIkeRekey), 1u);
}

TEST_P(AlgGateScenario, IkeRekeyWhileAnotherExchangeIsUnanswered_KeepsTheTurn) {
  start();
  Peer c1 = joins(1);
  const Peer c2 = joins(2);
  arms(c1, c1.child(2));
  sends(c1, c1.child(3));
  waits(c2, c2.auth());
  const Peer rekeyed = c1.rekeyed();
  sends(rekeyed, rekeyed.message(kInformational2, 0));
  EXPECT_EQ(counted(AlgCounter::kClosedIkeRekey), 0u);
}

TEST_P(AlgGateScenario, IkeRekeyWhileAnotherExchangeIsOwedAnSpi_KeepsTheTurn) {
  start();
  Peer c1 = joins(1);
  const Peer c2 = joins(2);
  arms(c1);
  arms(c1, c1.child());
  waits(c2, c2.auth());
  const Peer rekeyed = c1.rekeyed();
  sends(rekeyed, rekeyed.message(kInformational2, 0));
  EXPECT_EQ(counted(AlgCounter::kClosedIkeRekey), 0u);
  sends_esp(c1, 0x1001);
  gets_esp_and_releases(c1, 0x2001, {out_frame(c2, c2.auth())});
}

TEST_P(AlgGateScenario, IkeRekeyOfAnEarlierTurnsExchange_KeepsTheTurn) {
  start();
  const Peer c1 = joins(1);
  arms(c1, c1.child(2));
  quiet(kT + 1s);
  arms(c1);
  gets_esp(c1, 0x2001);
  const Peer rekeyed = c1.rekeyed();
  sends(rekeyed, rekeyed.message(kInformational2, 0));
  EXPECT_TRUE(turn());
}

TEST_P(AlgGateScenario, PhaseTwoOfARestartedIke_EndsTheSilentTurn) {
  start();
  const Peer c1 = joins(1);
  sends(c1, c1.auth());
  Peer again = c1;
  again.spi = 0xCAFE;
  sends(again, sa_init(again.spi));  // by itself it ends nothing
  gets(again, response(sa_init(again.spi), again.server_spi));
  quiet(5100ms);
  EXPECT_EQ(counted(AlgCounter::kClosedRestart), 0u);
  sends(again, again.auth());
  EXPECT_EQ(counted(AlgCounter::kClosedRestart), 1u);
  EXPECT_EQ(counted(AlgCounter::kIkeRestarts), 1u);
  gets(again, response(again.auth()));
  esp_passes(again, 0x1001, 0x2001);
  EXPECT_FALSE(turn());
}

TEST_P(AlgGateScenario, SecondIkeSessionOfOnePort_SharesTheTurn) {
  start();
  const Peer c1 = joins(1);
  Peer second = c1;
  second.spi = 0xCAFE;
  sends(c1, c1.auth());
  sends(second, sa_init(second.spi));
  gets(second, response(sa_init(second.spi), second.server_spi));
  quiet(3s);
  sends(c1, c1.auth());  // its retransmission: it is not silent
  quiet(3s);
  sends(second, second.auth());  // both in one turn
  gets(c1, response(c1.auth()));
  gets(second, response(second.auth()));
  EXPECT_EQ(counted(AlgCounter::kTurns), 1u);
  for (std::uint32_t i = 1; i <= 2; ++i) {
    esp_passes(c1, 0x1000 + i, 0x2000 + i);
  }
  EXPECT_FALSE(turn());
  EXPECT_EQ(counted(AlgCounter::kIkeRestarts), 0u);
}

TEST_P(AlgGateScenario, AnotherIkeSasDeadPeerDetectionIsNoRekey) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1, c1.child());
  waits(c2, c2.auth());
  // An IKE SA whose beginning was not seen: its own numbers go on, and the server's begin with 0.
  const Peer other = c1.rekeyed();
  sends(other, other.message(kInformational2, 5));
  gets(other, response(other.message(kInformational2, 5)));
  Ike of_the_server = other.message(kInformational2, 0);
  of_the_server.flags = 0;
  gets(other, of_the_server);
  EXPECT_EQ(counted(AlgCounter::kClosedIkeRekey), 0u);
  sends_esp(c1, 0x1001);
  gets_esp_and_releases(c1, 0x2001, {out_frame(c2, c2.auth())});
}

TEST_P(AlgGateScenario, TheHolderFloatingToPort4500ReleasesTheGate) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.child());
  waits(c2, c2.auth());
  const IpPacket floated = ike_floated({c1.ip, 4500}, {kS, 4500}, c1.auth());
  const std::vector<Frame> frames = lab().from_inside(floated.bytes());
  ASSERT_EQ(frames.size(), 2u);
  expect_frames({frames[1]}, {out_frame(c2, c2.auth())});
  EXPECT_EQ(counted(AlgCounter::kClosedFloat), 1u);
  EXPECT_EQ(counted(AlgCounter::kIkeFloats), 1u);
}

TEST_P(AlgGateScenario, AnotherIkeSessionOfTheHolderFloatingToPort4500LeavesItsTurn) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  Peer other = c1;
  other.spi = 0xEE01;
  sends(other, other.message(kInformational2, 7));
  sends(c1, c1.child());
  waits(c2, c2.auth());
  (void)translated(ike_floated({c1.ip, 4500}, {kS, 4500}, other.auth()));
  EXPECT_EQ(counted(AlgCounter::kIkeFloats), 1u);
  EXPECT_EQ(counted(AlgCounter::kClosedFloat), 0u);
  EXPECT_EQ(now_there(AlgGauge::kWaiters), 1u);
  gets(c1, response(c1.child()));
  sends_esp(c1, 0x1001);
  gets_esp_and_releases(c1, 0x2001, {out_frame(c2, c2.auth())});
}

TEST_P(AlgGateScenario, WithWaitersTheHolderGoingOnWithItsOldSpisFor2SecondsReleasesTheGate) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  pairs(c1, 0x1001, 0x2001);
  arms(c1, c1.child());
  waits(c2, c2.auth());
  std::vector<Frame> frames;
  std::uint32_t sequence = 2;
  for (int i = 0; i < 25; ++i, ++sequence) {
    esp_passes(c1, 0x1001, 0x2001, sequence);
    for (Frame& frame : lab().advance(100ms)) frames.push_back(std::move(frame));
    if (i < 18) {
      EXPECT_TRUE(frames.empty());
    }
    if (!frames.empty()) break;
  }
  expect_frames(frames, {out_frame(c2, c2.auth())});
  EXPECT_EQ(counted(AlgCounter::kClosedOldSpi), 1u);
}

TEST_P(AlgGateScenario, OldSpisReleaseNothingWhileAnotherExchangeIsUnanswered) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  pairs(c1, 0x1001, 0x2001);
  sends(c1, c1.child(2));
  sends(c1, c1.child(3));
  gets(c1, response(c1.child(2)));
  waits(c2, c2.auth());
  for (std::uint32_t i = 2; i < 40; ++i) {
    esp_passes(c1, 0x1001, 0x2001, i);
    quiet(100ms);  // design 9.3: c2 is not let in
  }
  EXPECT_TRUE(turn());
}

TEST_P(AlgGateScenario, OldSpisReleaseNothingOnceANewOneCame) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  pairs(c1, 0x1001, 0x2001);
  arms(c1, c1.child());
  gets_esp(c1, 0x2003);
  waits(c2, c2.auth());
  for (std::uint32_t i = 2; i < 40; ++i) {
    esp_passes(c1, 0x1001, 0x2001, i);
    quiet(100ms);
  }
  EXPECT_TRUE(turn());
}

TEST_P(AlgGateScenario, WithoutWaitersOldSpisReleaseNothing) {
  start();
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  arms(c1, c1.child());
  for (std::uint32_t i = 2; i < 40; ++i) {
    esp_passes(c1, 0x1001, 0x2001, i);
    quiet(100ms);
  }
  EXPECT_TRUE(turn());
}

// ── 10 ──────────────────────────────────────────────────────────────────────────────────────────

TEST_P(AlgGateScenario, ServerSpread_ChoosesANatAddressWithoutAnotherClientOfTheServer) {
  Config config = Config::with_alg();
  config.pool().addresses = {"203.0.113.3-203.0.113.18"};
  start(config);
  std::map<unsigned, std::set<Ip>> used;  // by shard
  std::map<Ip, unsigned> clients;
  for (unsigned n = 1; n <= 10; ++n) ++clients[joins(n).nat.ip];
  // As many as there are addresses of a shard: all on different ones.
  std::uint64_t together = 0;
  for (const auto& [ip, count] : clients) together += count - 1;
  EXPECT_LE(together, lab().shards() == 1 ? 0u : 2u);
  EXPECT_GE(counted(AlgCounter::kAddressesSpread), 8u);
}

TEST_P(AlgGateScenario, ServerSpread_KeepsAPairedNatAddress) {
  Config config = Config::with_alg();
  config.pool().addresses = {"203.0.113.3-203.0.113.18"};
  config.group().app(Protocol::kTcp, {.pooling = Pooling::kPaired});
  start(config);
  const Endpoint web = translated(tcp({client_ip(1), 4000}, {"198.18.0.9", 80}, kSyn));
  for (unsigned n = 2; n <= 6; ++n) {
    const Ip a = translated(tcp({client_ip(n), 4000}, {"198.18.0.9", 80}, kSyn)).ip;
    EXPECT_EQ(joins(n).nat.ip, a);
  }
  EXPECT_EQ(joins(1).nat.ip, web.ip);
}

TEST_P(AlgGateScenario, ServerSpreadDisabled_SpreadsNoAddresses) {
  Config config = Config::with_alg();
  config.pool().addresses = {"203.0.113.3-203.0.113.4"};
  config.alg().server_spread = false;
  start(config);
  for (unsigned n = 1; n <= 6; ++n) (void)joins(n);
  EXPECT_EQ(counted(AlgCounter::kAddressesSpread), 0u);
}

// Beyond 64 exchanges a message is held; its retransmission finds room and passes: then the copy is
// not held any more.
TEST_P(AlgGateScenario, AdmittedRetransmission_RemovesTheHeldCopy) {
  Config config = Config::with_alg();
  config.alg().spi_candidates = 64;
  start(config);
  const Peer c1 = joins1(1), c2 = joins1(2);
  for (std::uint32_t id = 1; id <= 64; ++id) sends(c1, c1.quick(id));
  waits(c1, c1.quick(65));
  gets(c1, c1.quick(1));
  // There is room.
  expect_frames(lab().from_inside(c1.out(c1.quick(65)).bytes()), {out_frame(c1, c1.quick(65))});
  expect_drops({{DropReason::kIkeHeldReplaced, 1}});
  for (std::uint32_t id = 2; id <= 65; ++id) gets(c1, c1.quick(id));
  for (std::uint32_t id = 1; id <= 65; ++id) {
    esp_passes(c1, 0x1000 + id, 0x2000 + id);
  }
  EXPECT_FALSE(turn());
  EXPECT_EQ(now_there(AlgGauge::kWaiters), 0u);
  const auto& alg = lab().shard(0).alg;
  for (std::uint32_t id = 0; id < alg.peers.high_water(); ++id)
    EXPECT_EQ(alg.peers[id].owed_count, 0u);
  sends(c2, c2.quick(1));  // the gate is free
}

INSTANTIATE_TEST_SUITE_P(, AlgGateScenario, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
