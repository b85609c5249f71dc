// Design 5, "Attribution of an ESP packet": rule by rule.
#include "alg_scenario.hpp"

namespace lsn::test {
namespace {

class AlgEsp : public Alg {
 protected:
  /// c2, whose IKE_AUTH was answered long since, and lacks its SPI. After that c1 had 0x2001, a
  /// candidate of one packet, which expired.
  Peer owed_one_since_before_a_candidate_was_forgotten() {
    const Peer c1 = joins(1), c2 = joins(2);
    arms(c2);
    quiet(3 * kT + 1s);
    EXPECT_EQ(now_there(AlgGauge::kDangling), 0u);
    arms(c1);
    gets_esp(c1, 0x2001);
    gets_esp(c1, 0x2003);
    quiet(kT + 1s);
    EXPECT_EQ(counted(AlgCounter::kCandidatesExpired), 1u);
    return c2;
  }
};

// ── outbound ────────────────────────────────────────────────────────────────────────────────────

TEST_P(AlgEsp, Outbound1_HoldersUnknownSpi_IsLearned) {
  start();
  const Peer c1 = joins(1);
  arms(c1);
  sends_esp(c1, 0x1001);
  EXPECT_EQ(counted(AlgCounter::kSpiOutLearned), 1u);
}

TEST_P(AlgEsp, Outbound2_UnknownSpiAtAClosedGate_BeginsATurnWithoutAnExchange) {
  start();
  const Peer c1{client_ip(1), kS, 0, 0, {kN, 0}, 2};
  sends_esp(c1, 0x1001, 5000);  // a tunnel that outlived a restart; outbound it need not be fresh
  EXPECT_TRUE(turn());
  EXPECT_EQ(counted(AlgCounter::kTurnsWithoutExchange), 1u);
  // The out half has passed, the in half is armed.
  comes_back(c1, 0x1001, 0x2001, 5000);
  EXPECT_FALSE(turn());
  EXPECT_EQ(now_there(AlgGauge::kEspHalfOpen), 0u);
}

TEST_P(AlgEsp, Outbound2_InboundSpiSeenFirst_CompletesThePair) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);
  quiet(kT + 1s);
  gets_esp(c1, 0x2001);
  sends_esp(c1, 0x1001);
  EXPECT_TRUE(turn());
  EXPECT_EQ(now_there(AlgGauge::kEspHalfOpen), 0u);
  gets_esp(c1, 0x2001, 2);
  EXPECT_FALSE(turn());
  arms(c2);
  gets_esp(c2, 0x2002);  // nobody dangles
}

TEST_P(AlgEsp, Outbound2_UnansweredKnownSpi_AsksForATurn) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends_esp(c1, 0x1001);
  sends(c2, c2.auth());  // to whom the turn yields
  gets(c2, response(c2.auth()));
  sends_esp(c1, 0x1001, 2);  // it is known and passes; its client waits
  EXPECT_EQ(now_there(AlgGauge::kWaiters), 1u);
  sends_esp(c2, 0x1002);
  esp_refused_in(0x2002, DropReason::kEspInDangling);  // it may answer c1, who has sent as lately
  quiet(1100ms);
  esp_passes(c2, 0x1002, 0x2002, 2);  // paired
  EXPECT_EQ(now_there(AlgGauge::kWaiters), 0u);
  comes_back(c1, 0x1001, 0x2001, 3);
  EXPECT_EQ(counted(AlgCounter::kTurnsWithoutExchange), 2u);
}

TEST_P(AlgEsp, Outbound2_OneWayEsp_GetsOneTurnOnly) {
  start();
  const Peer c1 = joins(1);
  for (std::uint32_t i = 1; i <= 59; ++i) {
    sends_esp(c1, 0x1001, i);
    quiet(1s);
  }
  EXPECT_EQ(counted(AlgCounter::kTurnsWithoutExchange), 1u);
}

TEST_P(AlgEsp, Outbound2_RequireIke_NeedsAnAnsweredIkeSession) {
  Config config = Config::with_alg();
  config.alg().require_ike = true;
  start(config);
  Peer c1{client_ip(1), kS, 0xA1, 0, {kN, 0}, 2};
  c1.nat = translated(c1.out(sa_init(c1.spi)));
  esp_refused_out(c1, 0x1001, DropReason::kEspOutNoIke);
  gets(c1, response(sa_init(c1.spi), 0xB1));
  sends_esp(c1, 0x1001);
}

TEST_P(AlgEsp, Outbound3_GateBusy_QueuesTheClientAndReservesItsTurnForASecond) {
  start();
  const Peer c1 = joins(1), c2 = joins(2), c3 = joins(3);
  arms(c1);
  esp_refused_out(c2, 0x1002, DropReason::kEspOutGateBusy);
  waits(c3, c3.auth());
  EXPECT_EQ(now_there(AlgGauge::kWaiters), 2u);
  EXPECT_EQ(now_there(AlgGauge::kHeldPackets), 1u);
  EXPECT_EQ(counted(AlgCounter::kEspPlaces), 1u);
  esp_passes(c1, 0x1001, 0x2001);  // paired: c2's turn; c3 waits on
  quiet(900ms);
  EXPECT_FALSE(turn());
  EXPECT_EQ(now_there(AlgGauge::kWaiters), 1u);
  sends_esp(c2, 0x1002);
  EXPECT_TRUE(turn());
  quiet(900ms);
  happens(200ms, {out_frame(c3, c3.auth())});  // who waits with an exchange has waited long enough
  EXPECT_EQ(counted(AlgCounter::kClosedYield), 1u);
}

TEST_P(AlgEsp, Outbound3_ReservedTurnUnusedForASecond_GoesToTheNextWaiter) {
  start();
  const Peer c1 = joins(1), c2 = joins(2), c3 = joins(3);
  arms(c1);
  esp_refused_out(c2, 0x1002, DropReason::kEspOutGateBusy);
  waits(c3, c3.auth());
  esp_passes(c1, 0x1001, 0x2001);
  happens(1100ms, {out_frame(c3, c3.auth())});
  esp_refused_out(c2, 0x1004, DropReason::kEspOutGateBusy);
  EXPECT_EQ(now_there(AlgGauge::kWaiters), 1u);
}

TEST_P(AlgEsp, Outbound2_RequireIke_NeedsALiveIkeSession) {
  Config config = Config::with_alg();
  config.alg().require_ike = true;
  start(config);
  const Peer without_ike{client_ip(1), kS, 0, 0, {kN, 0}, 2};
  esp_refused_out(without_ike, 0x1001, DropReason::kEspOutNoIke);
  const Peer c2 = joins(2);
  sends_esp(c2, 0x1002);
  quiet(61min);  // its IKE session has gone; its ESP session not yet
  esp_refused_out(c2, 0x1003, DropReason::kEspOutNoIke);
}

TEST_P(AlgEsp, Outbound3_UnknownSpiWhileAnotherClientHoldsTheGate_IsDropped) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  const Peer c3{client_ip(3), kS, 0, 0, {kN, 0}, 2};
  arms(c1);
  esp_refused_out(c2, 0x1002, DropReason::kEspOutGateBusy);
  esp_refused_out(c3, 0x1003, DropReason::kEspOutGateBusy);
  esp_passes(c1, 0x1001, 0x2001);
  sends_esp(c2, 0x1002);
}

// ── inbound ─────────────────────────────────────────────────────────────────────────────────────

TEST_P(AlgEsp, Inbound1_ArmedTurn_LearnsAFreshSpiForTheHolder) {
  start();
  const Peer c1 = joins(1);
  arms(c1);
  esp_refused_in(0x2001, DropReason::kEspInNotFresh, 257);
  gets_esp(c1, 0x2002, 256);
  EXPECT_EQ(counted(AlgCounter::kSpiInLearned), 1u);
}

TEST_P(AlgEsp, FreshSequence_IsConfigurable) {
  Config config = Config::with_alg();
  config.alg().fresh_sequence = 10;
  start(config);
  const Peer c1 = joins(1);
  arms(c1);
  esp_refused_in(0x2001, DropReason::kEspInNotFresh, 11);
  gets_esp(c1, 0x2002, 10);
}

TEST_P(AlgEsp, AnSpiFirstSeenFreshSinceTheTurnBeganStaysEligible) {
  start();
  const Peer c1 = joins(1);
  sends(c1, c1.auth());
  // A fast server: its first packets overtake its answer.
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous, 1);
  gets(c1, response(c1.auth()));
  gets_esp(c1, 0x2001, 300);
}

TEST_P(AlgEsp, Inbound1_AnotherClientDangles_IsDroppedUntilTheOutHalfPassed) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);  // answered, and no SPI ever came
  quiet(kT + 1s);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 1u);
  arms(c2);
  esp_refused_in(0x2001, DropReason::kEspInDangling);  // it may be c1's
  esp_passes(c2, 0x1002, 0x2002);
}

TEST_P(AlgEsp, Inbound2_ClosedGate_LingersForTheLastHolder) {
  start();
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  EXPECT_EQ(now_there(AlgGauge::kLingering), 1u);
  gets_esp(c1, 0x2002);  // a second pair of an exchange that made several
  gets_esp(c1, 0x2003);
  esp_refused_in(0x2004, DropReason::kEspInNotFresh, 1000);
  EXPECT_EQ(counted(AlgCounter::kSpiInLingering), 2u);
  quiet(kT);
  EXPECT_EQ(now_there(AlgGauge::kLingering), 0u);
  esp_refused_in(0x2005, DropReason::kEspInNoGate);
}

TEST_P(AlgEsp, Inbound2_TurnOfAnotherClient_SuspendsLingering) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  pairs(c1, 0x1001, 0x2001);
  sends(c2, c2.auth());
  esp_refused_in(0x2002, DropReason::kEspInAmbiguous);  // in EXCHANGE
  gets(c2, response(c2.auth()));
  gets_esp(c2, 0x2003);
}

TEST_P(AlgEsp, Inbound3_OnlyOneClientIsOwedAnSpi_IsItsSpi) {
  start();
  const Peer c1 = joins(1);
  arms(c1);
  quiet(2 * kT + 5s);  // the turn is over, nothing dangles any more
  gets_esp(c1, 0x2001);
  EXPECT_EQ(counted(AlgCounter::kSpiInClaimed), 1u);
}

TEST_P(AlgEsp, Inbound3_TwoClientsAreOwedAnSpi_IsAmbiguous) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);
  quiet(kT + 1s);
  arms(c2);
  quiet(3 * kT);
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous);
}

TEST_P(AlgEsp, Inbound3_ClaimOfAHalfOpenSession_TakesAnSpiNewForCertain) {
  start();
  const Peer c1{client_ip(1), kS, 0, 0, {kN, 0}, 2};
  sends_esp(c1, 0x1001);
  quiet(2 * kT + 10s);                               // the turn is over
  esp_refused_in(0x2001, DropReason::kEspInNoGate);  // the claim ended T after the last packet
  sends_esp(c1, 0x1001, 2);
  quiet(kT + 1s);  // another turn
  sends_esp(c1, 0x1001, 3);
  EXPECT_FALSE(turn());                                   // not one after the other
  esp_refused_in(0x2002, DropReason::kEspInNotFresh, 2);  // no exchange is known: new for certain
  gets_esp(c1, 0x2003, 1);
}

TEST_P(AlgEsp, Inbound4_SpiThatNoClientIsOwed_IsDropped) {
  start();
  esp_refused_in(0x2001, DropReason::kEspInNoGate);
  (void)joins(1);
  esp_refused_in(0x2001, DropReason::kEspInNoGate);
}

// ── fresh, in a turn without an exchange: replies ───────────────────────────────────────────────

TEST_P(AlgEsp, ThreeRepliesInATurnWithoutAnExchange_WaiveFreshness) {
  start();
  const Peer c1{client_ip(1), kS, 0, 0, {kN, 0}, 2};
  comes_back(c1, 0x1001, 0x2001, 70000);
  quiet(1s);
  comes_back(c1, 0x1002, 0x2002, 7);  // small numbers prove as little
  EXPECT_EQ(counted(AlgCounter::kFreshnessWaived), 2u);
  EXPECT_EQ(now_there(AlgGauge::kEspHalfOpen), 0u);
  gets_esp(c1, 0x2001, 70005);
}

TEST_P(AlgEsp, AnotherClientWaits_FiveRepliesWaiveFreshness) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends_esp(c1, 0x1001, 70000);
  esp_refused_out(c2, 0x1002, DropReason::kEspOutGateBusy, 80000);
  comes_back(c1, 0x1001, 0x2001, 70001, 5);
  // Now it is the other's turn, and nobody waits.
  comes_back(c2, 0x1002, 0x2002, 80001, 3);
  EXPECT_EQ(now_there(AlgGauge::kEspHalfOpen), 0u);
}

TEST_P(AlgEsp, SpiSeenOtherwiseThanAsAReply_IsNotLearnedInThatTurn) {
  start();
  const Peer c1 = joins(1);
  sends_esp(c1, 0x1001, 70000);
  quiet(2s);
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous, 70000);  // by itself
  for (std::uint32_t i = 1; i < 6; ++i) {
    sends_esp(c1, 0x1001, 70000 + i);
    esp_refused_in(0x2001, DropReason::kEspInAmbiguous, 70000 + i);
    quiet(200ms);
  }
  quiet(kT);  // a refusal is of packets: in the next turn it is looked at again
  comes_back(c1, 0x1001, 0x2001, 70010);
}

TEST_P(AlgEsp, TwoSpisThatReplyAlike_AreBothAmbiguous) {
  start();
  const Peer c1 = joins(1);
  for (std::uint32_t i = 0; i < 20; ++i) {
    sends_esp(c1, 0x1001, 70000 + i);
    esp_refused_in(0x2001, DropReason::kEspInAmbiguous, 70000 + i);
    esp_refused_in(0x2009, DropReason::kEspInAmbiguous, 80000 + i);
    quiet(500ms);
  }
  EXPECT_EQ(counted(AlgCounter::kFreshnessWaived), 0u);
}

// A stream that another client waits for says nothing, however many packets it has (design 9.1).
TEST_P(AlgEsp, StreamOfAnotherClient_IsNeverTakenForReplies) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  const auto stream = [&](std::uint32_t n) {  // of the second client's tunnel
    const Bytes packet = esp(kS, kN, 0x2002, 80000).bytes();
    for (std::uint32_t i = 0; i < n; ++i) {
      if (const auto frames = lab().from_outside(packet); !frames.empty()) {
        EXPECT_NE(frames.front(), esp_in_frame(c1, 0x2002, 80000)) << "delivered to the first one";
        return false;
      }
    }
    expect_drops({{DropReason::kEspInAmbiguous, n}});
    return true;
  };
  // The second client's turn brings one packet only, then it is the first one's.
  sends_esp(c2, 0x1002, 80000);
  ASSERT_TRUE(stream(1));
  esp_refused_out(c1, 0x1001, DropReason::kEspOutGateBusy, 70000);
  quiet(6s);
  sends_esp(c1, 0x1001, 70001);
  for (std::uint32_t second = 0; second < 28; ++second) {
    sends_esp(c1, 0x1001, 70002 + second);
    ASSERT_TRUE(stream(1));
    sends_esp(c2, 0x1002, 80001 + second);
    ASSERT_TRUE(stream(2400));
    quiet(900ms);
  }
}

// A client whose tunnel is older than this process goes on for longer than its packets count
// against others (design 5.13). What the server sends it meanwhile begins with a later number.
TEST_P(AlgEsp, AnswerToAClientThatHasAskedOften_IsNotTheHolders) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends_esp(c1, 0x1001, 5);
  arms(c2);
  sends_esp(c2, 0x1002, 1);
  for (std::uint32_t i = 0; i < 17; ++i) {
    sends_esp(c1, 0x1001, 6 + i);
    sends_esp(c2, 0x1002, 2 + i);
    quiet(100ms);
  }
  esp_refused_in(0x2001, DropReason::kEspInDangling, 20);
  gets_esp(c2, 0x2002, 1);
}

// What was counted for one client is not the next one's, who has nothing to do with it.
TEST_P(AlgEsp, RepliesCountedForOneClient_DoNotCountForTheNextHolder) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);
  sends_esp(c1, 0x1001, 1);
  quiet(kT + 1s);  // owed, and dangling
  sends_esp(c1, 0x1001, 2);
  esp_refused_out(c2, 0x1002, DropReason::kEspOutGateBusy, 80000);  // so that c1 needs five
  for (std::uint32_t i = 0; i < 4; ++i) {
    sends_esp(c1, 0x1001, 3 + i);
    esp_refused_in(0x2001, DropReason::kEspInNotFresh, 70000 + i);
    quiet(200ms);
  }
  quiet(2 * kT);
  sends_esp(c1, 0x1001, 10);  // one more turn, which brings nothing
  quiet(kT + 1s);
  sends_esp(c2, 0x1002, 80001);  // three would do now: nobody waits
  sends_esp(c1, 0x1001, 11);
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous, 70010);
  EXPECT_EQ(counted(AlgCounter::kFreshnessWaived), 0u);
}

// Forgotten candidates leave halves behind, which do not belong to a turn that is not over.
TEST_P(AlgEsp, HalfOpenSessionsOfAnEarlierTurn_AreNotJoinedWithThisTurnsSpis) {
  start();
  const Peer c1 = joins1(1);
  arms(c1, c1.quick(1));
  gets_esp(c1, 0x6661, 1);  // forged
  esp_passes(c1, 0x1001, 0x2001, 1);
  gets_esp(c1, 0x2001, 2);
  EXPECT_FALSE(turn());  // lingers
  sends(c1, c1.quick(2));
  sends(c1, c1.quick(3));
  gets(c1, c1.quick(2));
  gets(c1, c1.quick(3));
  esp_passes(c1, 0x1002, 0x2002, 1);
  EXPECT_TRUE(turn());
  gets_esp(c1, 0x2003, 1);  // the last one: the gate closes
  EXPECT_FALSE(turn());
  gets_esp(c1, 0x2003, 2);
  gets_esp(c1, 0x2001, 3);
  sends_esp(c1, 0x1003, 1);
  for (const SessionRow& row : lab().sessions())
    if (row.protocol == Protocol::kEsp) {
      EXPECT_EQ(row.spi_out & 0xF, row.spi_in & 0xF)
          << std::hex << row.spi_out << " with " << row.spi_in;
    }
}

TEST_P(AlgEsp, RepliesInATurnWithAnExchange_DoNotWaiveFreshness) {
  start();
  const Peer c1 = joins(1);
  quiet(kT + 1s);
  arms(c1);
  for (std::uint32_t i = 0; i < 5; ++i) {
    sends_esp(c1, 0x1001, 1 + i);
    esp_refused_in(0x2001, DropReason::kEspInNotFresh, 70000 + i);
    quiet(100ms);
  }
  EXPECT_EQ(counted(AlgCounter::kFreshnessWaived), 0u);
}

TEST_P(AlgEsp, IdledOutTunnels_AreRelearnedEachInItsTurn) {
  Config config = Config::with_alg();
  config.alg().gate_timeout = 3s;
  config.alg().esp_session_timeout = 1min;
  start(config);
  const Peer c1 = joins(1), c2 = joins(2), c3 = joins(3);
  pairs(c1, 0x1001, 0x2001);
  pairs(c2, 0x1002, 0x2002);
  pairs(c3, 0x1003, 0x2003);
  for (std::uint32_t i = 2; i < 75; ++i) {
    quiet(1s);
    esp_passes(c3, 0x1003, 0x2003, i);
  }
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), 1u);
  // The server speaks first: nobody can know. Then both clients ask, once every 400 ms.
  esp_refused_in(0x2001, DropReason::kEspInNoGate, 5000);
  esp_refused_in(0x2002, DropReason::kEspInNoGate, 5000);
  std::map<std::uint32_t, Ip> delivered;
  for (std::uint32_t i = 1; i < 30; ++i) {
    for (const auto& [c, out, in] :
         {std::tuple{c1, 0x1001u, 0x2001u}, std::tuple{c2, 0x1002u, 0x2002u}}) {
      // The server answers what reaches it.
      if (lab().from_inside(esp(c.ip, kS, out, 5000 + i).bytes()).empty()) continue;
      for (const Frame& frame : lab().from_outside(esp(kS, kN, in, 5000 + i).bytes()))
        delivered.emplace(in, destination_of(behind_link(frame.bytes)).ip);
    }
    (void)lab().advance(400ms);
  }
  EXPECT_EQ(delivered, (std::map<std::uint32_t, Ip>{{0x2001u, c1.ip}, {0x2002u, c2.ip}}));
  expect_only_drops({DropReason::kEspInAmbiguous, DropReason::kEspOutGateBusy});
}

// ── candidates ──────────────────────────────────────────────────────────────────────────────────

TEST_P(AlgEsp, SpiOfAnExchange_CompletesNoEarlierHalfOpenSession) {
  start();
  const Peer c1 = joins(1);
  sends_esp(c1, 0x1001);  // an idle tunnel
  quiet(kT + 1s);
  arms(c1);
  gets_esp(c1, 0x2002);
  EXPECT_EQ(now_there(AlgGauge::kEspHalfOpen), 2u);
  sends_esp(c1, 0x1002);
  EXPECT_EQ(now_there(AlgGauge::kEspHalfOpen), 1u);
}

TEST_P(AlgEsp, TheOnlySpiOfAnUnansweredTurnDoesNotExpire) {
  start();
  const Peer c1 = joins(1);
  sends(c1, c1.auth());
  sends_esp(c1, 0x1001);  // an idle tunnel
  quiet(kT + 1s);
  EXPECT_FALSE(turn());
  EXPECT_EQ(counted(AlgCounter::kCandidatesExpired), 0u);
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), 1u);
}

TEST_P(AlgEsp, AtMostSpiCandidatesBeyondTheAnsweredExchangesAreAccepted) {
  Config config = Config::with_alg();
  config.alg().spi_candidates = 2;
  start(config);
  const Peer c1 = joins(1);
  arms(c1);
  for (std::uint32_t i = 0; i < 3; ++i) {  // 2 + 1; each with more than one packet
    gets_esp(c1, 0x2001 + i, 1);
    gets_esp(c1, 0x2001 + i, 2);
  }
  esp_refused_in(0x2009, DropReason::kEspInCandidates);
  for (std::uint32_t i = 0; i < 3; ++i) {
    sends_esp(c1, 0x1001 + i, 1);
    sends_esp(c1, 0x1001 + i, 2);
  }
  esp_refused_out(c1, 0x1009, DropReason::kEspOutCandidates);
}

TEST_P(AlgEsp, CandidatesFull_ReplacesTheOldestOfASinglePacket) {
  Config config = Config::with_alg();
  config.alg().spi_candidates = 2;
  start(config);
  const Peer c1 = joins(1);
  arms(c1);
  gets_esp(c1, 0x2001);
  gets_esp(c1, 0x2002);
  gets_esp(c1, 0x2003);
  gets_esp(c1, 0x2002, 2);
  gets_esp(c1, 0x2004);  // in the place of 0x2001
  EXPECT_EQ(counted(AlgCounter::kCandidatesReplaced), 1u);
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), 3u);
}

TEST_P(AlgEsp, SinglePacketCandidatesBeyondTheAnsweredExchangesExpireWithTheLingering) {
  start();
  const Peer c1 = joins(1);
  arms(c1);
  gets_esp(c1, 0x6661);  // a sprayer that spoofs the server
  gets_esp(c1, 0x6662);
  esp_passes(c1, 0x1001, 0x2001);
  gets_esp(c1, 0x2001, 2);
  quiet(kT + 1s);
  EXPECT_EQ(counted(AlgCounter::kCandidatesExpired), 2u);
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), 1u);
  EXPECT_EQ(now_there(AlgGauge::kEspHalfOpen), 0u);  // the true pair is whole
  gets_esp(c1, 0x2001, 3);
  sends_esp(c1, 0x1001, 2);
}

TEST_P(AlgEsp, ASprayThatSpoofsTheServerWastesEntriesNotTheGate) {
  start();
  const Peer c1 = joins(1);
  arms(c1);
  for (std::uint32_t i = 0; i < 2000; ++i)
    (void)lab().from_outside(esp(kS, kN, 0x66600000 + i, 1).bytes());
  EXPECT_LE(now_there(AlgGauge::kEspSessions), 6u);
  esp_passes(c1, 0x1001, 0x2001);
  gets_esp(c1, 0x2001, 2);
  EXPECT_FALSE(turn());
}

TEST_P(AlgEsp, AnOutsidersSprayOfRandomSpisIsDroppedAndLeavesNothing) {
  start();
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  quiet(kT + 1s);
  for (std::uint32_t i = 0; i < 1000; ++i)
    expect_frames(lab().from_outside(esp(Ip{"198.18.7.1"} + i % 7, kN, 0x66600000 + i, 1).bytes()),
                  {});
  expect_drops({{DropReason::kEspInNoGate, 1000}});
  EXPECT_EQ(now_there(AlgGauge::kGates), 1u);
  gets_esp(c1, 0x2001, 2);
}

// ── dangling ────────────────────────────────────────────────────────────────────────────────────

TEST_P(AlgEsp, DanglingEndsWhenTheSpiIsLearned) {
  start();
  const Peer c1 = joins(1);
  arms(c1);
  quiet(kT + 1s);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 1u);
  gets_esp(c1, 0x2001);
  quiet(100ms);
  EXPECT_FALSE(counted(AlgCounter::kSpiInClaimed) == 0);
  const Peer c2 = joins(2);
  arms(c2);
  gets_esp(c2, 0x2002);  // nobody else dangles
}

TEST_P(AlgEsp, ANewPhaseOneDoesNotEndDangling) {
  start();
  const Peer c1 = joins1(1), c2 = joins1(2);
  arms(c1, c1.quick(1));
  Peer rekeyed = c1;  // ISAKMP lifetime: the old SAs live on
  rekeyed.spi += 0xCA00;
  sends(rekeyed, main_mode(rekeyed.spi, 0));
  gets(rekeyed, main_mode(rekeyed.spi, rekeyed.server_spi));
  EXPECT_TRUE(turn());
  quiet(kT + 1s);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 1u);
  arms(c2, c2.quick(2));
  esp_refused_in(0x2001, DropReason::kEspInDangling);
}

TEST_P(AlgEsp, DanglingEndsTwoTAfterTheTurn) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);
  quiet(kT + 1s);
  quiet(2 * kT);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 0u);
  arms(c2);
  gets_esp(c2, 0x2002);
}

TEST_P(AlgEsp, UnansweredTurnThatYielded_LeavesItsClientDangling) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());
  waits(c2, c2.auth());
  happens(6s, {out_frame(c2, c2.auth())});
  gets(c2, response(c2.auth()));
  esp_refused_in(0x2001, DropReason::kEspInDangling);  // it may be c1's (design 9.1)
  esp_passes(c2, 0x1002, 0x2002);
}

TEST_P(AlgEsp, PairedForWaitersWithFewerSpisThanExchanges_LeavesDangling) {
  start();
  const Peer c1 = joins1(1), c2 = joins1(2);
  sends(c1, c1.quick(1));
  sends(c1, c1.quick(2));
  gets(c1, c1.quick(1));
  gets(c1, c1.quick(2));
  esp_passes(c1, 0x1001, 0x2001);
  EXPECT_TRUE(turn());  // one SPI is to come
  waits(c2, c2.quick(3));
  quiet(1900ms);
  happens(200ms, {out_frame(c2, c2.quick(3))});
  EXPECT_EQ(counted(AlgCounter::kClosedPaired), 1u);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 1u);
  gets(c2, c2.quick(3));
  esp_refused_in(0x2002, DropReason::kEspInDangling);
  esp_passes(c2, 0x1002, 0x2003);
}

TEST_P(AlgEsp, PairedWithFewerInboundThanOutboundSpis_LeavesDangling) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);
  sends_esp(c1, 0x1001);
  sends_esp(c1, 0x1003);  // two pairs of one exchange; the server's second SPI is still to come
  gets_esp(c1, 0x2001);
  EXPECT_FALSE(turn());
  arms(c2);
  esp_refused_in(0x2003, DropReason::kEspInDangling);
}

TEST_P(AlgEsp, PairedWhileAnEarlierExchangeIsOwedAnSpi_LeavesDangling) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);  // lost: its SPI does not come within 2T
  quiet(3 * kT - 5s);
  arms(c1, c1.child());
  esp_passes(c1, 0x1003, 0x2003);  // of which of the two exchanges is it?
  EXPECT_FALSE(turn());
  quiet(10s);
  arms(c2);
  esp_refused_in(0x2001, DropReason::kEspInDangling);
}

TEST_P(AlgEsp, PairedInATurnThatAnIdleTunnelBegan_LeavesDangling) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends_esp(c1, 0x1001);  // an idle tunnel
  arms(c1, c1.child());
  gets_esp(c1, 0x2003);  // of which of the two is it?
  EXPECT_TRUE(turn());
  waits(c2, c2.auth());
  happens(2100ms, {out_frame(c2, c2.auth())});
  gets(c2, response(c2.auth()));
  esp_refused_in(0x2001, DropReason::kEspInDangling);
}

TEST_P(AlgEsp, PairedWithAllSpisBeforeTheLastAnswer_LeavesNoDangling) {
  start();
  const Peer c1 = joins1(1), c2 = joins1(2);
  sends(c1, c1.quick(1));
  sends(c1, c1.quick(2));
  gets(c1, c1.quick(1));
  esp_passes(c1, 0x1001, 0x2001);
  gets_esp(c1, 0x2002);  // quicker than its answer
  gets(c1, c1.quick(2));
  EXPECT_FALSE(turn());
  EXPECT_EQ(now_there(AlgGauge::kDangling), 0u);
  arms(c2, c2.quick(3));
  gets_esp(c2, 0x2003);
}

TEST_P(AlgEsp, TurnWithoutAnExchangeThatGotNoInboundSpi_LeavesDangling) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends_esp(c1, 0x1001);  // a tunnel older than this process
  sends(c2, c2.auth());   // to whom the turn yields at once
  gets(c2, response(c2.auth()));
  esp_refused_in(0x2001, DropReason::kEspInDangling);
}

TEST_P(AlgEsp, LateAnswerInAnotherClientsTurn_LeavesDangling) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());
  quiet(kT + 1s);
  comes_back(c1, 0x1001, 0x2001);  // an older tunnel of c1's
  sends(c2, c2.auth());
  gets(c1, response(c1.auth()));
  EXPECT_EQ(counted(AlgCounter::kLateAnswers), 1u);
  gets(c2, response(c2.auth()));
  esp_refused_in(0x2003, DropReason::kEspInDangling);
}

TEST_P(AlgEsp, RetransmissionAfterTheTurn_RestartsDangling) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);
  quiet(kT + 1s);
  quiet(2 * kT);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 0u);
  sends(c1,
        c1.auth());  // it has not got the answer: the server can only speak from the next one on
  gets(c1, response(c1.auth()));
  EXPECT_EQ(now_there(AlgGauge::kDangling), 1u);
  arms(c2);
  esp_refused_in(0x2001, DropReason::kEspInDangling);
}

TEST_P(AlgEsp, ExchangeAnsweredAfterItWasGivenUp_IsOwedItsSpi) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.child(2));
  quiet(kT + 1s);
  quiet(2 * kT);
  arms(c1, c1.child(3));
  esp_passes(c1, 0x1003, 0x2003);  // paired: what nobody answered for 2T is given up
  EXPECT_FALSE(turn());
  gets(c1, response(c1.child(2)));
  quiet(kT + 1s);
  pairs(c2, 0x1002, 0x2002);
  gets_esp(c1, 0x2001);  // not c2's, for whom the gate lingers
}

TEST_P(AlgEsp, RelearnedIdledOutSpi_SettlesNoOtherExchange) {
  Config config = Config::with_alg();
  config.alg_profiles[0].esp_session_timeout = 1min;
  start(config);
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1, c1.child(2));  // its server is silent
  quiet(kT + 1s);
  arms(c1, c1.child(3));
  esp_passes(c1, 0x1003, 0x2003);
  EXPECT_FALSE(turn());
  quiet(2min);
  gets_esp(c1, 0x2003, 2);  // the tunnel that idled out
  quiet(2min);
  pairs(c2, 0x1002, 0x2002);
  // c1 is owed one still: its own it is, not c2's, for whom the gate lingers.
  gets_esp(c1, 0x2001);
}

TEST_P(AlgEsp, IkeAuthContinuedInAnotherTurn_IsOwedItsSpi) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1, c1.auth(1));
  gets_esp(c1, 0x2009);  // of another, idle tunnel of c1's
  quiet(kT + 1s);        // a person types
  arms(c1, c1.auth(2));
  quiet(kT + 1s);
  arms(c2);
  esp_refused_in(0x2001, DropReason::kEspInDangling);
}

TEST_P(AlgEsp, DanglingGoesOnWhenAnotherIkeSessionOfTheClientFloats) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);
  quiet(kT + 1s);
  Peer other = c1;
  other.spi = 0xEE01;
  sends(other, other.message(kInformational2, 7));
  (void)translated(ike_floated({c1.ip, 4500}, {kS, 4500}, other.auth()));
  EXPECT_EQ(counted(AlgCounter::kIkeFloats), 1u);
  arms(c2);
  esp_refused_in(0x2001, DropReason::kEspInDangling);
}

TEST_P(AlgEsp, DanglingEndsWhenItsClientFloats) {
  start();
  const Peer c1 = joins(1), c2 = joins(2), c3 = joins(3);
  arms(c1);
  quiet(kT + 1s);
  sends(c3, c3.auth());  // its answer is lost
  quiet(kT + 1s);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 2u);
  for (const Peer& c : {c1, c3}) (void)translated(ike_floated({c.ip, 4500}, {kS, 4500}, c.auth()));
  arms(c2);
  gets_esp(c2, 0x2002);
}

TEST_P(AlgEsp, Dangling_EndsWhenTheSpiOfATurnWithoutAnExchangeIsLearned) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends_esp(c1, 0x1001, 70000);
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous, 70000);  // it may be its reply
  quiet(kT + 1s);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 1u);
  comes_back(c1, 0x1001, 0x2001, 70001, 2);  // of three
  arms(c2);
  gets_esp(c2, 0x2002);
}

// ── nothing is delivered to a guess (sections 5 and 9.1) ────────────────────────────────────────

TEST_P(AlgEsp, Inbound1_SpiSeenBeforeTheTurn_IsNotTheHolders) {
  start();
  const Peer c1 = joins(1);
  esp_refused_in(0x2009, DropReason::kEspInNoGate);
  quiet(1s);
  arms(c1);
  sends_esp(c1, 0x1001);
  esp_refused_in(0x2009, DropReason::kEspInAmbiguous, 2);
  gets_esp(c1, 0x2001);
}

TEST_P(AlgEsp, Inbound1_EspOfTheHoldersIdleTunnel_DoesNotLiftDangling) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());  // its answer is lost
  waits(c2, c2.auth());
  happens(6s, {out_frame(c2, c2.auth())});
  sends_esp(c2, 0x1009);  // it says nothing about the exchange
  gets(c2, response(c2.auth()));
  esp_refused_in(0x2001, DropReason::kEspInDangling);
  esp_passes(c2, 0x1002, 0x2002);
}

TEST_P(AlgEsp, Inbound1_SpiOwedSinceAnEarlierTurn_IsTheHolders) {
  start();
  const Peer c1 = joins(1);
  sends(c1, c1.auth());
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous);  // quicker than its answer, ...
  quiet(kT + 5s);
  gets(c1, response(c1.auth()));  // ... which is late
  gets_esp(c1, 0x2001, 2);
}

TEST_P(AlgEsp, Inbound1_SpiOwedSinceAnEarlierTurnWhileAnotherClientDangles_IsAmbiguous) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c2, c2.auth());
  esp_refused_in(0x2009, DropReason::kEspInAmbiguous);  // c2's, or one that c1 waits for long since
  waits(c1, c1.auth());
  happens(6s, {out_frame(c1, c1.auth())});
  gets(c1, response(c1.auth()));
  waits(c2, c2.child());
  happens(kT + 1s, {out_frame(c2, c2.child())});
  EXPECT_GE(now_there(AlgGauge::kDangling), 1u);
  gets(c2, response(c2.child()));
  sends_esp(c2, 0x1002);
  esp_refused_in(0x2009, DropReason::kEspInAmbiguous, 2);
  gets_esp(c2, 0x2002);
}

TEST_P(AlgEsp, Inbound1_SpiFirstSeenWhileTwoClientsDangled_IsAmbiguous) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);
  quiet(kT + 5s);
  arms(c2);  // both are owed one
  quiet(kT + 15s);
  EXPECT_FALSE(turn());
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous);  // c1's
  quiet(12s);                                           // c1 is given up
  arms(c2, c2.child());
  sends_esp(c2, 0x1002);
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous, 2);
  gets_esp(c2, 0x2002);
  EXPECT_EQ(now_there(AlgGauge::kLingering), 1u);
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous, 3);  // nor lingering: c1 is owed one
}

TEST_P(AlgEsp, Inbound1_SpiSeenWhileAnotherClientDangled_StaysRefusedAfterwards) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);
  quiet(kT + 1s);
  quiet(2 * kT - 10s);
  arms(c2);
  esp_refused_in(0x2001, DropReason::kEspInDangling);
  quiet(12s);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 0u);
  esp_refused_in(0x2001, DropReason::kEspInDangling, 2);  // it was not late when it came
  gets_esp(c2, 0x2002);
}

TEST_P(AlgEsp, Inbound1_SpiSeenWhileAnotherClientDangled_StaysRefusedDespiteASpray) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);
  quiet(kT + 1s);
  quiet(2 * kT - 10s);
  arms(c2);
  esp_refused_in(0x2001, DropReason::kEspInDangling);
  for (std::uint32_t i = 0; i < 40; ++i)  // of others' tunnels, or forged
    esp_refused_in(0x66600000 + i, DropReason::kEspInNotFresh, 70000);
  quiet(12s);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 0u);
  esp_refused_in(0x2001, DropReason::kEspInDangling, 2);
}

TEST_P(AlgEsp, RefusedSpisBeyondTheTable_DoNotBlockTheTurn) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);
  quiet(kT + 1s);
  quiet(2 * kT - 10s);
  arms(c2);
  for (std::uint32_t i = 0; i < 40; ++i)  // each of them may be c1's
    esp_refused_in(0x66600000 + i, DropReason::kEspInDangling);
  esp_passes(c2, 0x1002, 0x2002);
  EXPECT_FALSE(turn());
}

TEST_P(AlgEsp, Inbound1_SpiOfATurnOlderThanDangling_IsNotTheHolders) {
  start();
  const Peer c1 = joins(1);
  sends(c1, c1.auth());
  esp_refused_in(0x2009, DropReason::kEspInAmbiguous);
  quiet(2 * kT + 5s);
  arms(c1, c1.child());
  sends_esp(c1, 0x1001);
  esp_refused_in(0x2009, DropReason::kEspInAmbiguous, 2);
  gets_esp(c1, 0x2001);
}

TEST_P(AlgEsp, Inbound1_SpiSeenInAnEarlierPairedTurn_IsNotTheHolders) {
  start();
  const Peer c1 = joins(1);
  sends(c1, c1.auth());
  esp_refused_in(0x2009, DropReason::kEspInAmbiguous);
  gets(c1, response(c1.auth()));
  esp_passes(c1, 0x1001, 0x2001);
  quiet(kT + 1s);
  arms(c1, c1.child());
  esp_refused_in(0x2009, DropReason::kEspInAmbiguous, 2);
  gets_esp(c1, 0x2003);
}

TEST_P(AlgEsp, Inbound1_ExpiredCandidateOfAnotherClient_IsNotTheHolders) {
  start();
  const Peer c2 = owed_one_since_before_a_candidate_was_forgotten();
  arms(c2, c2.child());
  sends_esp(c2, 0x1002);
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous, 2);
  gets_esp(c2, 0x2002);
}

TEST_P(AlgEsp, ExpiredCandidateOfTheHolder_IsRelearned) {
  start();
  const Peer c1 = joins(1);
  arms(c1);
  gets_esp(c1, 0x2001);  // its own
  gets_esp(c1, 0x6661);  // forged
  quiet(kT + 1s);
  EXPECT_EQ(counted(AlgCounter::kCandidatesExpired), 1u);  // the wrong one
  arms(c1, c1.child());
  gets_esp(c1, 0x2001, 2);
}

TEST_P(AlgEsp, Inbound2_SpiSeenBeforeTheTurn_IsNotTheLastHolders) {
  start();
  const Peer c1 = joins(1);
  esp_refused_in(0x2009, DropReason::kEspInNoGate);
  quiet(1s);
  pairs(c1, 0x1001, 0x2001);
  esp_refused_in(0x2009, DropReason::kEspInAmbiguous, 2);
  gets_esp(c1, 0x2003);
}

TEST_P(AlgEsp, Inbound2_SpiOwedSinceAnEarlierTurn_IsTheLastHolders) {
  start();
  const Peer c1 = joins(1);
  sends(c1, c1.auth());  // its answer is lost behind the server, which sends on its SPI
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous);
  quiet(kT + 5s);
  arms(c1, c1.child());
  esp_passes(c1, 0x1003, 0x2003);
  EXPECT_FALSE(turn());
  gets_esp(c1, 0x2001, 2);
  EXPECT_EQ(counted(AlgCounter::kSpiInLingering), 1u);
}

TEST_P(AlgEsp, Inbound2_ExpiredCandidateOfAnotherClient_IsNotTheLastHolders) {
  start();
  const Peer c2 = owed_one_since_before_a_candidate_was_forgotten();
  arms(c2, c2.child());
  esp_passes(c2, 0x1002, 0x2002);
  EXPECT_FALSE(turn());
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous, 2);
  gets_esp(c2, 0x2004);
}

TEST_P(AlgEsp, Inbound2_AnotherClientDangles_IsDropped) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());  // its answer is lost
  waits(c2, c2.auth());
  happens(6s, {out_frame(c2, c2.auth())});
  gets(c2, response(c2.auth()));
  esp_passes(c2, 0x1002, 0x2002);
  EXPECT_EQ(now_there(AlgGauge::kLingering), 1u);
  esp_refused_in(0x2001, DropReason::kEspInDangling);
}

TEST_P(AlgEsp, Inbound2_UnansweredTurnOfAnotherClient_EndsLingering) {
  start();
  const Peer c1 = joins(1), c2 = joins(2), c3 = joins(3);
  pairs(c1, 0x1001, 0x2001);
  sends(c2, c2.auth());
  waits(c3, c3.auth());
  happens(5100ms, {out_frame(c3, c3.auth())});
  (void)translated(ike_floated({c3.ip, 4500}, {kS, 4500}, c3.auth()));
  EXPECT_FALSE(turn());
  esp_refused_in(0x2002, DropReason::kEspInNoGate);
}

TEST_P(AlgEsp, Inbound2_IkeRekeyTurnOfAnotherClient_KeepsLingering) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  pairs(c1, 0x1001, 0x2001);
  arms(c2, c2.child());
  const Peer rekeyed = c2.rekeyed();
  sends(rekeyed, rekeyed.message(kInformational2, 0));
  EXPECT_EQ(counted(AlgCounter::kClosedIkeRekey), 1u);
  gets_esp(c1, 0x2003);
  EXPECT_EQ(counted(AlgCounter::kSpiInLingering), 1u);
}

TEST_P(AlgEsp, Inbound2_IkeRekeyTurnOfTheLastHolder_KeepsLingering) {
  start();
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  arms(c1, c1.child());
  const Peer rekeyed = c1.rekeyed();
  sends(rekeyed, rekeyed.message(kInformational2, 0));
  EXPECT_EQ(counted(AlgCounter::kClosedIkeRekey), 1u);
  gets_esp(c1, 0x2003);
  EXPECT_EQ(counted(AlgCounter::kSpiInLingering), 1u);
}

TEST_P(AlgEsp, Inbound2_LastHolderIsOwedNothing_TakesAnSpiNewForCertain) {
  start();
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  esp_refused_in(0x2002, DropReason::kEspInNotFresh, 2);  // fresh, but it need not be new
  gets_esp(c1, 0x2003, 1);
  gets_esp(c1, 0x2003, 2);
}

TEST_P(AlgEsp, Inbound2_AnotherClientIsOwedAnSpi_IsThatClients) {
  for (const auto idle : {kT + 5s, 4 * kT}) {
    start();
    const Peer c1 = joins(1), c2 = joins(2);
    arms(c1);
    quiet(idle);
    pairs(c2, 0x1002, 0x2002);
    EXPECT_EQ(now_there(AlgGauge::kLingering), 1u);
    // c1 is owed one, however long since; a lingering holder who is owed nothing does not count.
    gets_esp(c1, 0x2001, 1);
    gets_esp(c1, 0x2001, 2);
    EXPECT_EQ(counted(AlgCounter::kSpiInClaimed), 1u);
  }
}

TEST_P(AlgEsp, Inbound3_SpiThatIsNotFresh_IsDropped) {
  start();
  const Peer c1 = joins(1);
  arms(c1);
  quiet(kT + 1s);
  esp_refused_in(0x2009, DropReason::kEspInNotFresh, 1000);
  gets_esp(c1, 0x2001, 256);
}

TEST_P(AlgEsp, Inbound3_SpiSeenBeforeTheExchange_IsNotTheOwedClients) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());  // its answer is lost
  quiet(kT + 5s);
  esp_refused_in(0x2001, DropReason::kEspInNoGate);  // c1's
  quiet(2 * kT);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 0u);  // c1 is given up
  arms(c2);
  quiet(kT + 1s);
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous, 2);
  gets_esp(c2, 0x2002);
  EXPECT_EQ(counted(AlgCounter::kSpiInClaimed), 1u);
}

TEST_P(AlgEsp, Inbound3_SpiOwedSinceAnEarlierTurn_IsTheOwedClients) {
  start();
  const Peer c1 = joins(1);
  sends(c1, c1.auth());
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous);  // quicker than its answer, ...
  quiet(kT + 5s);
  gets(c1, response(c1.auth()));  // ... which is late
  quiet(kT + 1s);
  EXPECT_FALSE(turn());
  gets_esp(c1, 0x2001, 2);
  EXPECT_EQ(counted(AlgCounter::kSpiInClaimed), 1u);
}

TEST_P(AlgEsp, Inbound3_ExpiredCandidateOfAnotherClient_IsNotTheOwedClients) {
  start();
  const Peer c2 = owed_one_since_before_a_candidate_was_forgotten();
  arms(c2, c2.child());
  quiet(kT + 1s);
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous, 2);
  gets_esp(c2, 0x2002);
  EXPECT_EQ(counted(AlgCounter::kSpiInClaimed), 1u);
}

TEST_P(AlgEsp, Inbound3_AnotherClientDangles_IsDropped) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());  // its answer is lost
  waits(c2, c2.auth());
  happens(6s, {out_frame(c2, c2.auth())});
  gets(c2, response(c2.auth()));
  quiet(kT + 1s);
  EXPECT_FALSE(turn());
  esp_refused_in(0x2001, DropReason::kEspInDangling);
}

TEST_P(AlgEsp, Inbound3_SpiFirstSeenWhileAnotherClientDangled_IsNotTheOwedClients) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c2);
  quiet(3 * kT + 1s);    // only its claim is left
  sends(c1, c1.auth());  // its answer is lost
  quiet(kT + 1s);
  esp_refused_in(0x2001, DropReason::kEspInDangling);  // c1's
  quiet(2 * kT);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 0u);  // c1 is given up
  esp_refused_in(0x2001, DropReason::kEspInDangling, 2);
  gets_esp(c2, 0x2002);
}

TEST_P(AlgEsp, Inbound3_SpiFirstSeenInAnotherClientsTurn_IsNotTheOwedClients) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c2);
  quiet(3 * kT + 1s);                                   // only its claim is left
  sends(c1, c1.auth());                                 // its answer is lost
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous);  // c1's
  quiet(3 * kT + 1s);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 0u);  // c1 is given up
  esp_refused_in(0x2001, DropReason::kEspInDangling, 2);
  gets_esp(c2, 0x2002);
}

TEST_P(AlgEsp, Inbound3_SpiFirstSeenInAnotherClientsPairedTurn_IsTheOwedClients) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c2);
  quiet(3 * kT + 1s);  // only its claim is left
  sends(c1, c1.auth());
  esp_refused_in(0x2002, DropReason::kEspInAmbiguous);  // c2's
  gets(c1, response(c1.auth()));
  esp_passes(c1, 0x1001, 0x2001);
  quiet(kT + 1s);
  gets_esp(c2, 0x2002, 2);
  EXPECT_EQ(counted(AlgCounter::kSpiInClaimed), 1u);
}

TEST_P(AlgEsp, Inbound3_SpiFirstSeenWhileOnlyTheOwedClientDangled_IsItsSpi) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c2, c2.child());
  quiet(3 * kT + 1s);
  arms(c1);
  quiet(kT + 1s);
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous);  // c1's; c2 claims one, too
  const Peer rekeyed = c2.rekeyed();
  sends(rekeyed, rekeyed.message(kInformational2, 0));  // not any more
  gets_esp(c1, 0x2001, 2);
  EXPECT_EQ(counted(AlgCounter::kSpiInClaimed), 1u);
}

TEST_P(AlgEsp, Inbound3_OwedForLongerThan2T_TakesAnSpiNewForCertain) {
  start();
  const Peer c1 = joins(1);
  arms(c1);
  quiet(4 * kT);
  esp_refused_in(0x2002, DropReason::kEspInNotFresh, 2);
  gets_esp(c1, 0x2001, 1);
}

TEST_P(AlgEsp, SpiRefusedInAnotherClientsTurn_IsLearnedWhenThatClientHasPaired) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);
  quiet(kT + 5s);
  sends(c2, c2.auth());
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous, 1);  // c1's
  gets(c2, response(c2.auth()));
  esp_refused_in(0x2001, DropReason::kEspInDangling, 2);
  esp_passes(c2, 0x1002, 0x2002);
  gets_esp(c1, 0x2001, 3);
}

TEST_P(AlgEsp, RefusedSpi_IsLearnedInTheNextTurnOfItsOwner) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);
  quiet(kT + 5s);
  arms(c2);  // both are owed one
  quiet(kT + 1s);
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous, 1);  // whose?
  quiet(3 * kT);
  // c2 is silent. What c1 sends begins its turn, and what comes then answers it.
  sends_esp(c1, 0x1001, 1);
  for (std::uint32_t i = 2; i < 4; ++i) {
    esp_refused_in(0x2001, DropReason::kEspInAmbiguous, i);
    quiet(100ms);
    sends_esp(c1, 0x1001, i);
  }
  gets_esp(c1, 0x2001, 4);
}

// ── owed: an exchange that came to nothing is owed none ─────────────────────────────────────────

TEST_P(AlgEsp, ExchangeOlderThanAPairedOne_IsOwedNothing) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1, c1.child(2));  // the server has refused it, which nobody can read
  quiet(4 * kT);
  arms(c1, c1.child(3));
  esp_passes(c1, 0x1001, 0x2001);
  quiet(2 * kT + 1s);
  arms(c2);
  quiet(kT + 1s);
  gets_esp(c2, 0x2002, 9);  // c2 alone is owed one
}

TEST_P(AlgEsp, ExchangeOfAnExpiredIkeSession_IsOwedNothing) {
  start();
  const Peer c1 = joins(1);
  Peer c2 = joins(2);
  pairs(c1, 0x1001, 0x2001);
  arms(c1, c1.child());
  for (std::uint32_t i = 2; i < 63; ++i) {
    quiet(1min);
    sends_esp(c1, 0x1001, i);
  }
  c2 = joins(2);
  arms(c2);
  quiet(kT + 1s);
  gets_esp(c2, 0x2002, 9);
}

TEST_P(AlgEsp, ExchangeWhoseOldSpisGoOnForTwoSeconds_IsOwedNothing) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  pairs(c1, 0x1001, 0x2001);
  arms(c1, c1.child());
  for (std::uint32_t i = 2; i < 40; ++i) {  // nobody waits
    esp_passes(c1, 0x1001, 0x2001, i);
    quiet(100ms);
  }
  quiet(kT);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 1u);
  quiet(2 * kT);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 0u);
  arms(c2);
  quiet(kT + 1s);
  gets_esp(c2, 0x2002, 9);
}

// ── what was learned wrongly does not last (design 9.1) ────────────────────────────────────────

TEST_P(AlgEsp, SpiThatItsHolderNeverAnswers_IsWithdrawnIfAnotherClientIsOwedOne) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);
  quiet(kT + 1s);
  arms(c2);
  esp_passes(c2, 0x1002, 0x2001);  // it is c1's; c2 cannot read it
  for (std::uint32_t i = 2; i < 31; ++i) {
    quiet(1s);
    gets_esp(c2, 0x2001, i);
  }
  quiet(1s);
  esp_refused_in(0x2001, DropReason::kEspInNoGate, 31);
  EXPECT_EQ(counted(AlgCounter::kSpiWithdrawn), 1u);
  // Now it is its owner's, in the owner's turn.
  sends_esp(c1, 0x1001);
  for (std::uint32_t i = 32; i < 34; ++i) {
    esp_refused_in(0x2001, DropReason::kEspInAmbiguous, i);
    quiet(100ms);
    sends_esp(c1, 0x1001, i);
  }
  gets_esp(c1, 0x2001, 34);
}

TEST_P(AlgEsp, SpiThatItsHolderAnswers_IsNotWithdrawn) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);
  quiet(kT + 1s);
  pairs(c2, 0x1002, 0x2002);
  sends_esp(c2, 0x1002, 2);
  for (std::uint32_t i = 2; i < 100; ++i) {
    quiet(1s);
    gets_esp(c2, 0x2002, i);
  }
  EXPECT_EQ(counted(AlgCounter::kSpiWithdrawn), 0u);
}

TEST_P(AlgEsp, Inbound3_ClaimAmongManyHalfOpenSessions_IsAmbiguous) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c2);
  quiet(kT + 1s);
  for (std::uint32_t i = 0; i < 20; ++i) {  // those of c1, four in a turn
    if (i % 4 == 0) quiet(kT + 1s);
    sends_esp(c1, 0x1000 + i, 1);
    sends_esp(c1, 0x1000 + i, 2);
  }
  quiet(3 * kT + 1s);
  EXPECT_EQ(now_there(AlgGauge::kEspHalfOpen), 20u);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 0u);
  sends_esp(c1, 0x1000, 3);  // the oldest one claims an SPI
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous);
}

// ── the same SPI twice ──────────────────────────────────────────────────────────────────────────

TEST_P(AlgEsp, InboundSpiCollision_StaysWithTheFirstClientAndIsCounted) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  pairs(c1, 0x1001, 0x2001);
  gets_esp(c1, 0x2001, 9000);
  arms(c2);
  gets_esp(c1, 0x2001, 1);  // known: the first one's
  EXPECT_EQ(counted(AlgCounter::kSpiCollisions), 1u);
  gets_esp(c1, 0x2001, 2);
  EXPECT_EQ(counted(AlgCounter::kSpiCollisions), 1u);  // told once per turn
}

TEST_P(AlgEsp, TwoClientsMaySendWithTheSameSpi) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  pairs(c1, 0x1001, 0x2001);
  pairs(c2, 0x1001, 0x2002);
  sends_esp(c1, 0x1001, 2);
  sends_esp(c2, 0x1001, 2);
  gets_esp(c1, 0x2001, 2);
  gets_esp(c2, 0x2002, 2);
}

INSTANTIATE_TEST_SUITE_P(, AlgEsp, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
