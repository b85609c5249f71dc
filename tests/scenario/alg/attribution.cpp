// Section 5 of the ALG's design, "Attribution of an ESP packet": rule by rule.
#include "alg_scenario.hpp"

namespace lsn::test {
namespace {

class AlgEsp : public Alg {
 protected:
  /// c1 has the gate, answered.
  void arms(const Peer& c) {
    sends(c, c.auth());
    gets(c, response(c.auth()));
  }

  /// c2, whose IKE_AUTH has no answer, though it has got an older tunnel's SPI since: for all that
  /// is seen it does not dangle. After that c1 had 0x2001, a candidate of one packet, which expired.
  Peer owed_one_since_before_a_candidate_was_forgotten() {
    const Peer c1 = joins(1), c2 = joins(2), c3 = joins(3);
    sends(c2, c2.auth());
    waits(c3, c3.auth());
    happens(6s, {out_frame(c3, c3.auth())});
    restarts(c3);  // c3's turn ends
    sends_esp(c2, 0x1009);
    gets_esp(c2, 0x2009);
    EXPECT_FALSE(turn());
    arms(c1);
    gets_esp(c1, 0x2001);
    gets_esp(c1, 0x2003);
    quiet(kT + 1s);
    EXPECT_EQ(counted(AlgCounter::kCandidatesExpired), 1u);
    return c2;
  }
};

// ── outbound ────────────────────────────────────────────────────────────────────────────────────

TEST_P(AlgEsp, Outbound1TheHoldersUnknownSpiIsLearned) {
  start();
  const Peer c1 = joins(1);
  arms(c1);
  sends_esp(c1, 0x1001);
  EXPECT_EQ(counted(AlgCounter::kSpiOutLearned), 1u);
}

TEST_P(AlgEsp, Outbound2AClientTakesTheClosedGateWithoutAnExchange) {
  start();
  const Peer c1{client_ip(1), kS, 0, 0, {kN, 0}, 2};
  sends_esp(c1, 0x1001, 5000);  // a tunnel that outlived a restart; outbound it need not be fresh
  EXPECT_TRUE(turn());
  EXPECT_EQ(counted(AlgCounter::kTurnsWithoutExchange), 1u);
  // The out half has passed, the in half is armed.
  gets_esp(c1, 0x2001);
  EXPECT_FALSE(turn());
  EXPECT_EQ(now_there(AlgGauge::kEspHalfOpen), 0u);
}

TEST_P(AlgEsp, Outbound2WhenTheServerSpokeFirstThePairIsKnown) {
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

TEST_P(AlgEsp, Outbound2WithRequireIkeItNeedsALiveIkeSession) {
  Config config = Config::with_alg();
  config.alg().require_ike = true;
  start(config);
  const Peer stranger{client_ip(1), kS, 0, 0, {kN, 0}, 2};
  esp_refused_out(stranger, 0x1001, DropReason::kEspOutNoIke);
  const Peer c2 = joins(2);
  sends_esp(c2, 0x1002);
  quiet(61min);  // its IKE session has gone; its ESP session not yet
  esp_refused_out(c2, 0x1003, DropReason::kEspOutNoIke);
}

TEST_P(AlgEsp, Outbound3SomebodyElseHoldsTheGate) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  const Peer c3{client_ip(3), kS, 0, 0, {kN, 0}, 2};
  arms(c1);
  esp_refused_out(c2, 0x1002, DropReason::kEspOutGateBusy);
  esp_refused_out(c3, 0x1003, DropReason::kEspOutGateBusy);
  sends_esp(c1, 0x1001);
  gets_esp(c1, 0x2001);
  sends_esp(c2, 0x1002);
}

// ── inbound ─────────────────────────────────────────────────────────────────────────────────────

TEST_P(AlgEsp, Inbound1AnArmedTurnLearnsAFreshSpiForTheHolder) {
  start();
  const Peer c1 = joins(1);
  arms(c1);
  esp_refused_in(0x2001, DropReason::kEspInNotFresh, 257);
  gets_esp(c1, 0x2002, 256);
  EXPECT_EQ(counted(AlgCounter::kSpiInLearned), 1u);
}

TEST_P(AlgEsp, FreshSequenceIsTheProfiles) {
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

TEST_P(AlgEsp, Inbound1NotWhileAnotherClientDanglesAndTheOutHalfHasNotPassed) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);  // answered, and no SPI ever came
  quiet(kT + 1s);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 1u);
  arms(c2);
  esp_refused_in(0x2001, DropReason::kEspInDangling);  // it may be c1's
  sends_esp(c2, 0x1002);
  gets_esp(c2, 0x2002);
}

TEST_P(AlgEsp, Inbound2AClosedGateLingersForTheLastHolder) {
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

TEST_P(AlgEsp, LingeringIsSuspendedWhileAnotherClientHasTheGate) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  pairs(c1, 0x1001, 0x2001);
  sends(c2, c2.auth());
  esp_refused_in(0x2002, DropReason::kEspInAmbiguous);  // in EXCHANGE
  gets(c2, response(c2.auth()));
  gets_esp(c2, 0x2003);
}

TEST_P(AlgEsp, Inbound3WhoseAnsweredExchangeLacksAnInboundSpiAlone) {
  start();
  const Peer c1 = joins(1);
  arms(c1);
  quiet(2 * kT + 5s);  // the turn is over, nothing dangles any more
  gets_esp(c1, 0x2001);
  EXPECT_EQ(counted(AlgCounter::kSpiInClaimed), 1u);
}

TEST_P(AlgEsp, Inbound3NotIfTwoClientsMayExpectIt) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);
  quiet(kT + 1s);
  arms(c2);
  quiet(3 * kT);
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous);
}

TEST_P(AlgEsp, Inbound3AHalfOpenSessionWithAClaim) {
  start();
  const Peer c1{client_ip(1), kS, 0, 0, {kN, 0}, 2};
  sends_esp(c1, 0x1001);
  quiet(2 * kT + 10s);  // the turn is over
  esp_refused_in(0x2001, DropReason::kEspInNoGate);  // the claim ended T after the last packet
  sends_esp(c1, 0x1001, 2);
  gets_esp(c1, 0x2002);
}

TEST_P(AlgEsp, Inbound4WhatNobodyExpectsIsDroppedByReason) {
  start();
  esp_refused_in(0x2001, DropReason::kEspInNoGate);
  (void)joins(1);
  esp_refused_in(0x2001, DropReason::kEspInNoGate);
}

// ── fresh: waived ───────────────────────────────────────────────────────────────────────────────

TEST_P(AlgEsp, FreshnessIsWaivedInATurnWithoutAnExchangeOnceObservedForT) {
  start();
  const Peer c1{client_ip(1), kS, 0, 0, {kN, 0}, 2};
  // A tunnel that is older than this process: sequence numbers far on.
  std::uint32_t sequence = 70000;
  bool delivered = false;
  for (std::uint32_t i = 0; i < 120 && !delivered; ++i) {
    sends_esp(c1, 0x1001, sequence + i);
    const auto frames = lab().from_outside(esp(kS, kN, 0x2001, sequence + i).bytes());
    delivered = !frames.empty();
    if (delivered) {
      expect_frames(frames, {esp_in_frame(c1, 0x2001, sequence + i)});
      EXPECT_GE(i, 30u - 2u);  // T
    } else {
      expect_drops({{DropReason::kEspInNotFresh, 1}});
    }
    quiet(1s);
  }
  EXPECT_TRUE(delivered);
  EXPECT_EQ(counted(AlgCounter::kFreshnessWaived), 1u);
}

TEST_P(AlgEsp, FreshnessIsNotWaivedWhenTwoClientsSentEsp) {
  start();
  const Peer c1{client_ip(1), kS, 0, 0, {kN, 0}, 2}, c2{client_ip(2), kS, 0, 0, {kN, 0}, 2};
  for (std::uint32_t i = 0; i < 200; ++i) {
    lab().from_inside(esp(c1.ip, kS, 0x1001, 70000 + i).bytes());
    lab().from_inside(esp(c2.ip, kS, 0x1002, 80000 + i).bytes());
    expect_frames(lab().from_outside(esp(kS, kN, 0x2001, 70000 + i).bytes()), {});
    (void)lab().advance(1s);
  }
  EXPECT_EQ(counted(AlgCounter::kFreshnessWaived), 0u);
  EXPECT_EQ(lab().drops(DropReason::kEspInNotFresh) + lab().drops(DropReason::kEspInNoGate) +
                lab().drops(DropReason::kEspInAmbiguous),
            200u);
  expect_drops({{DropReason::kEspInNotFresh, lab().drops(DropReason::kEspInNotFresh)},
                {DropReason::kEspInNoGate, lab().drops(DropReason::kEspInNoGate)},
                {DropReason::kEspInAmbiguous, lab().drops(DropReason::kEspInAmbiguous)},
                {DropReason::kEspOutGateBusy, lab().drops(DropReason::kEspOutGateBusy)}});
}

TEST_P(AlgEsp, FreshnessIsNotWaivedWhenAnotherClientOfTheGateWasRefused) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  quiet(kT + 1s);
  sends_esp(c1, 0x1001, 70000);
  esp_refused_out(c2, 0x1002, DropReason::kEspOutGateBusy, 80000);
  esp_refused_in(0x2001, DropReason::kEspInNotFresh, 70000);
  quiet(kT + 1s);
  EXPECT_EQ(counted(AlgCounter::kFreshnessWaived), 0u);
}

TEST_P(AlgEsp, FreshnessIsNotWaivedWhenTwoUnknownSpisCame) {
  start();
  const Peer c1{client_ip(1), kS, 0, 0, {kN, 0}, 2};
  std::uint64_t refused = 0;
  for (std::uint32_t i = 0; i < 100; ++i) {
    expect_frames(lab().from_inside(esp(c1.ip, kS, 0x1001, 70000 + i).bytes()),
                  {esp_out_frame(c1, 0x1001, 70000 + i)});
    expect_frames(lab().from_outside(esp(kS, kN, 0x2001 + i % 2, 70000 + i).bytes()), {});
    (void)lab().advance(1s);
    ++refused;
  }
  EXPECT_EQ(lab().drops(DropReason::kEspInNotFresh), refused);
  expect_drops({{DropReason::kEspInNotFresh, refused}});
}

TEST_P(AlgEsp, FreshnessIsNotWaivedForAnSpiThatWasFreshWhenItFirstCame) {
  start();
  const Peer c1 = joins(1);
  (void)joins(2);
  quiet(kT);
  esp_refused_in(0x2002, DropReason::kEspInNoGate, 1);  // of an exchange of c2's
  quiet(1s);
  sends_esp(c1, 0x1001, 70000);
  esp_refused_in(0x2002, DropReason::kEspInNotFresh, 300);  // the only unknown one, but not old
  quiet(kT + 1s);
  EXPECT_FALSE(turn());
  EXPECT_EQ(counted(AlgCounter::kFreshnessWaived), 0u);
}

TEST_P(AlgEsp, FreshnessIsNotWaivedForAnSpiThatWasAnotherClients) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  quiet(kT);
  sends_esp(c2, 0x1002, 70000);
  gets_esp(c2, 0x2002, 70000);  // waived: c2 is the only one
  // Its ESP session idles out, its IKE session does not; the server still has the SPI.
  for (std::uint32_t i = 2; i < 5; ++i) {
    quiet(25min);
    sends(c2, c2.message(kInformational2, i));
    gets(c2, response(c2.message(kInformational2, i)));
  }
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), 0u);
  sends_esp(c1, 0x1001, 80000);
  esp_refused_in(0x2002, DropReason::kEspInNotFresh, 80000);
  esp_refused_in(0x2001, DropReason::kEspInNotFresh, 80000);  // one of two unknown ones
  quiet(kT + 1s);
  EXPECT_EQ(counted(AlgCounter::kFreshnessWaived), 1u);
}

TEST_P(AlgEsp, FreshnessIsNotWaivedWhileAnotherClientsEspIsKnown) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  pairs(c2, 0x1002, 0x2002);
  quiet(kT + 1s);
  sends_esp(c1, 0x1001, 70000);
  for (std::uint32_t i = 2; i < 30; ++i) {
    sends_esp(c2, 0x1002, i);  // a known SPI: the gate does not hear of it
    esp_refused_in(0x2001, DropReason::kEspInNotFresh, 70000 + i);
    quiet(1s);
  }
  quiet(3s);
  EXPECT_FALSE(turn());
  EXPECT_EQ(counted(AlgCounter::kFreshnessWaived), 0u);
}

TEST_P(AlgEsp, FreshnessIsNotWaivedInATurnWithAnExchange) {
  start();
  const Peer c1 = joins(1);
  quiet(kT + 1s);
  arms(c1);
  esp_refused_in(0x2001, DropReason::kEspInNotFresh, 70000);
  quiet(kT + 1s);
  EXPECT_EQ(counted(AlgCounter::kFreshnessWaived), 0u);
}

TEST_P(AlgEsp, FreshnessIsWaivedAtTheTurnsEndForWhatCameBeforeTWasOver) {
  start();
  const Peer c1{client_ip(1), kS, 0, 0, {kN, 0}, 2};
  sends_esp(c1, 0x1001, 70000);
  quiet(10s);
  esp_refused_in(0x2001, DropReason::kEspInNotFresh, 70000);  // and the server falls silent
  quiet(kT);
  EXPECT_FALSE(turn());
  EXPECT_EQ(counted(AlgCounter::kFreshnessWaived), 1u);
  gets_esp(c1, 0x2001, 70001);
}

TEST_P(AlgEsp, FreshnessIsWaivedForOneTunnelOfAClientAfterTheOther) {
  start();
  const Peer c1 = joins(1);
  quiet(kT);
  sends_esp(c1, 0x1001, 70000);
  gets_esp(c1, 0x2001, 70000);
  EXPECT_FALSE(turn());
  quiet(1s);
  sends_esp(c1, 0x1002, 80000);
  gets_esp(c1, 0x2002, 80000);  // 0x2001 is no unknown one any more
  EXPECT_EQ(counted(AlgCounter::kFreshnessWaived), 2u);
}

// ── candidates ──────────────────────────────────────────────────────────────────────────────────

TEST_P(AlgEsp, AnExchangesSpiCompletesNoSessionOfAnEarlierTime) {
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

TEST_P(AlgEsp, WhenFullTheOldestThatCarriedASinglePacketIsReplaced) {
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
  sends_esp(c1, 0x1001);
  gets_esp(c1, 0x2001);
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
  sends_esp(c1, 0x1001);
  gets_esp(c1, 0x2001);
  gets_esp(c1, 0x2001, 2);
  EXPECT_FALSE(turn());
}

TEST_P(AlgEsp, AnOutsidersSprayOfRandomSpisIsDroppedAndLeavesNothing) {
  start();
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  quiet(kT + 1s);
  for (std::uint32_t i = 0; i < 1000; ++i)
    expect_frames(
        lab().from_outside(esp(Ip{"198.18.7.1"} + i % 7, kN, 0x66600000 + i, 1).bytes()), {});
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

TEST_P(AlgEsp, DanglingEndsWhenPhaseOneRestarts) {
  start();
  const Peer c1 = joins(1), c2 = joins(2), c3 = joins(3);
  arms(c1);
  quiet(kT + 1s);
  sends(c3, c3.auth());  // its answer is lost
  quiet(kT + 1s);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 2u);
  for (Peer again : {c1, c3}) {
    again.spi += 0xCA00;
    sends(again, sa_init(again.spi));
  }
  arms(c2);
  gets_esp(c2, 0x2002);
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

TEST_P(AlgEsp, AnAnswerThatWasLostBehindTheServerMayStillBringAnSpi) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());
  waits(c2, c2.auth());
  happens(6s, {out_frame(c2, c2.auth())});
  gets(c2, response(c2.auth()));
  esp_refused_in(0x2001, DropReason::kEspInDangling);  // it may be c1's (section 9.1)
  sends_esp(c2, 0x1002);
  gets_esp(c2, 0x2002);
}

TEST_P(AlgEsp, WhoLingersWithFewerSpisThanAnsweredExchangesDangles) {
  start();
  const Peer c1 = joins1(1), c2 = joins1(2);
  sends(c1, c1.quick(1));
  sends(c1, c1.quick(2));
  gets(c1, c1.quick(1));
  gets(c1, c1.quick(2));
  sends_esp(c1, 0x1001);
  gets_esp(c1, 0x2001);
  EXPECT_FALSE(turn());
  EXPECT_EQ(now_there(AlgGauge::kDangling), 1u);
  sends(c2, c2.quick(3));
  gets(c2, c2.quick(3));
  esp_refused_in(0x2002, DropReason::kEspInDangling);
  sends_esp(c2, 0x1002);
  gets_esp(c2, 0x2003);
}

TEST_P(AlgEsp, WhoPairedWithFewerInboundSpisThanItShowedDangles) {
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

TEST_P(AlgEsp, WhoPairedWhileAnEarlierExchangeLacksItsSpiDangles) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);  // lost: its SPI does not come within 2T
  quiet(3 * kT - 5s);
  sends(c1, c1.child());
  gets(c1, response(c1.child()));
  sends_esp(c1, 0x1003);
  gets_esp(c1, 0x2003);  // of which of the two exchanges is it?
  EXPECT_FALSE(turn());
  quiet(10s);
  arms(c2);
  esp_refused_in(0x2001, DropReason::kEspInDangling);
}

TEST_P(AlgEsp, WhoPairedAnExchangeInATurnThatAnIdleTunnelBeganDangles) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends_esp(c1, 0x1001);  // an idle tunnel
  sends(c1, c1.child());
  gets(c1, response(c1.child()));
  gets_esp(c1, 0x2003);  // of which of the two is it?
  EXPECT_FALSE(turn());
  arms(c2);
  esp_refused_in(0x2001, DropReason::kEspInDangling);
}

TEST_P(AlgEsp, WhoPairedWithAllSpisDanglesNotThoughTheyCameBeforeTheAnswer) {
  start();
  const Peer c1 = joins1(1), c2 = joins1(2);
  sends(c1, c1.quick(1));
  sends(c1, c1.quick(2));
  gets(c1, c1.quick(1));
  sends_esp(c1, 0x1001);
  gets_esp(c1, 0x2001);
  gets_esp(c1, 0x2002);  // quicker than its answer
  gets(c1, c1.quick(2));
  EXPECT_FALSE(turn());
  EXPECT_EQ(now_there(AlgGauge::kDangling), 0u);
  sends(c2, c2.quick(3));
  gets(c2, c2.quick(3));
  gets_esp(c2, 0x2003);
}

TEST_P(AlgEsp, WhoShowedAnOutboundSpiWithoutAnExchangeAndGotNoneDangles) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends_esp(c1, 0x1001);  // a tunnel older than this process
  sends(c2, c2.auth());   // to whom the turn yields at once
  gets(c2, response(c2.auth()));
  esp_refused_in(0x2001, DropReason::kEspInDangling);
}

TEST_P(AlgEsp, ALateAnswerWhileAnotherClientHasTheGateMakesItsClientDangle) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());
  quiet(kT + 1s);
  // An older tunnel of c1's shows its pair: for all that was seen it waits for nothing more.
  sends_esp(c1, 0x1001);
  gets_esp(c1, 0x2001);
  sends(c2, c2.auth());
  esp_refused_in(0x6661, DropReason::kEspInAmbiguous);  // nobody dangles, the gate has seen
  gets(c1, response(c1.auth()));
  EXPECT_EQ(counted(AlgCounter::kLateAnswers), 1u);
  gets(c2, response(c2.auth()));
  esp_refused_in(0x2003, DropReason::kEspInDangling);
}

TEST_P(AlgEsp, AnIkeAuthThatGoesOnIsOwedAnSpiWhateverCameBetween) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth(1));
  gets(c1, response(c1.auth(1)));
  gets_esp(c1, 0x2009);  // of another, idle tunnel of c1's
  quiet(kT + 1s);        // a person types
  sends(c1, c1.auth(2));
  gets(c1, response(c1.auth(2)));
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
  for (const Peer& c : {c1, c3})
    (void)translated(ike_floated({c.ip, 4500}, {kS, 4500}, c.auth()));
  arms(c2);
  gets_esp(c2, 0x2002);
}

TEST_P(AlgEsp, DanglingEndsWhenWhatWasOwedWithoutAnExchangeIsLearned) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends_esp(c1, 0x1001);
  quiet(kT + 1s);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 1u);
  sends_esp(c1, 0x1001, 2);
  gets_esp(c1, 0x2001);  // the half-open session's claim
  arms(c2);
  gets_esp(c2, 0x2002);
}

// ── nothing is delivered to a guess (sections 5 and 9.1) ────────────────────────────────────────

TEST_P(AlgEsp, Inbound1NotWhatWasOnItsWayBeforeTheHolderCanHaveHadIt) {
  start();
  const Peer c1 = joins(1);
  esp_refused_in(0x2009, DropReason::kEspInNoGate);
  quiet(1s);
  arms(c1);
  sends_esp(c1, 0x1001);
  esp_refused_in(0x2009, DropReason::kEspInAmbiguous, 2);
  gets_esp(c1, 0x2001);
}

TEST_P(AlgEsp, Inbound1NotThoughTheHoldersIdleTunnelSentBeforeTheAnswer) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());  // its answer is lost
  waits(c2, c2.auth());
  happens(6s, {out_frame(c2, c2.auth())});
  sends_esp(c2, 0x1009);  // it says nothing about the exchange
  gets(c2, response(c2.auth()));
  esp_refused_in(0x2001, DropReason::kEspInDangling);
  sends_esp(c2, 0x1002);
  gets_esp(c2, 0x2002);
}

TEST_P(AlgEsp, Inbound1WhatTheHolderIsOwedSinceAnEarlierTurn) {
  start();
  const Peer c1 = joins(1);
  sends(c1, c1.auth());
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous);  // quicker than its answer, ...
  quiet(kT + 5s);
  gets(c1, response(c1.auth()));  // ... which is late
  gets_esp(c1, 0x2001, 2);
}

TEST_P(AlgEsp, Inbound1NotWhatTheHolderIsOwedSinceAnEarlierTurnWhileAnotherClientDangles) {
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

TEST_P(AlgEsp, Inbound1NotWhatFirstCameWhileAnotherClientDangledThoughTheHolderIsOwedOneToo) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);
  quiet(kT + 5s);
  arms(c2);  // both are owed one
  quiet(kT + 15s);
  EXPECT_FALSE(turn());
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous);  // c1's
  quiet(12s);  // c1 is given up
  sends(c2, c2.child());
  gets(c2, response(c2.child()));
  sends_esp(c2, 0x1002);
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous, 2);
  gets_esp(c2, 0x2002);
  EXPECT_EQ(now_there(AlgGauge::kLingering), 1u);
  esp_refused_in(0x2001, DropReason::kEspInDangling, 3);  // nor lingering
}

TEST_P(AlgEsp, Inbound1WhatCameWhileAnotherClientDangledStaysInDoubtWhenThatEnds) {
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

TEST_P(AlgEsp, Inbound1WhatCameWhileAnotherClientDangledStaysInDoubtWhateverElseComes) {
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

TEST_P(AlgEsp, AnSpiInDoubtIsRememberedForNoLongerThanThereIsRoom) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);
  quiet(kT + 1s);
  quiet(2 * kT - 10s);
  arms(c2);
  for (std::uint32_t i = 0; i < 40; ++i)  // each of them may be c1's
    esp_refused_in(0x66600000 + i, DropReason::kEspInDangling);
  sends_esp(c2, 0x1002);
  gets_esp(c2, 0x2002);
  EXPECT_FALSE(turn());
}

TEST_P(AlgEsp, Inbound1WhatTheHolderIsOwedIsNotWaitedForLongerThanItDangles) {
  start();
  const Peer c1 = joins(1);
  sends(c1, c1.auth());
  esp_refused_in(0x2009, DropReason::kEspInAmbiguous);
  quiet(2 * kT + 5s);
  sends(c1, c1.child());
  gets(c1, response(c1.child()));
  sends_esp(c1, 0x1001);
  esp_refused_in(0x2009, DropReason::kEspInAmbiguous, 2);
  gets_esp(c1, 0x2001);
}

TEST_P(AlgEsp, Inbound1NotWhatCameInAnEarlierTurnThatIsOwedNothing) {
  start();
  const Peer c1 = joins(1);
  sends(c1, c1.auth());
  esp_refused_in(0x2009, DropReason::kEspInAmbiguous);
  gets(c1, response(c1.auth()));
  sends_esp(c1, 0x1001);
  gets_esp(c1, 0x2001);
  quiet(kT + 1s);
  sends_esp(c1, 0x1003);  // another, idle tunnel
  EXPECT_TRUE(turn());
  esp_refused_in(0x2009, DropReason::kEspInAmbiguous, 2);
  gets_esp(c1, 0x2003);
}

TEST_P(AlgEsp, Inbound1NotAForgottenCandidateOfAnotherClient) {
  start();
  const Peer c2 = owed_one_since_before_a_candidate_was_forgotten();
  sends(c2, c2.child());
  gets(c2, response(c2.child()));
  sends_esp(c2, 0x1002);
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous, 2);
  gets_esp(c2, 0x2002);
}

TEST_P(AlgEsp, WhatAClientHadAndWasForgottenIsItsOwnAgain) {
  start();
  const Peer c1 = joins(1);
  arms(c1);
  gets_esp(c1, 0x2001);  // its own
  gets_esp(c1, 0x6661);  // forged
  quiet(kT + 1s);
  EXPECT_EQ(counted(AlgCounter::kCandidatesExpired), 1u);  // the wrong one
  sends(c1, c1.child());
  gets(c1, response(c1.child()));
  gets_esp(c1, 0x2001, 2);
}

TEST_P(AlgEsp, Inbound2NotWhatWasOnItsWayBeforeTheLastHolderCanHaveHadIt) {
  start();
  const Peer c1 = joins(1);
  esp_refused_in(0x2009, DropReason::kEspInNoGate);
  quiet(1s);
  pairs(c1, 0x1001, 0x2001);
  esp_refused_in(0x2009, DropReason::kEspInAmbiguous, 2);
  gets_esp(c1, 0x2003);
}

TEST_P(AlgEsp, Inbound2WhatTheLastHolderIsOwedSinceAnEarlierTurn) {
  start();
  const Peer c1 = joins(1);
  sends(c1, c1.auth());  // its answer is lost behind the server, which sends on its SPI
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous);
  quiet(kT + 5s);
  sends(c1, c1.child());
  gets(c1, response(c1.child()));
  sends_esp(c1, 0x1003);
  gets_esp(c1, 0x2003);
  EXPECT_FALSE(turn());
  gets_esp(c1, 0x2001, 2);
  EXPECT_EQ(counted(AlgCounter::kSpiInLingering), 1u);
}

TEST_P(AlgEsp, Inbound2NotAForgottenCandidateOfAnotherClient) {
  start();
  const Peer c2 = owed_one_since_before_a_candidate_was_forgotten();
  sends(c2, c2.child());
  gets(c2, response(c2.child()));
  sends_esp(c2, 0x1002);
  gets_esp(c2, 0x2002);
  EXPECT_FALSE(turn());
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous, 2);
  gets_esp(c2, 0x2004);
}

TEST_P(AlgEsp, Inbound2NotWhileAnotherClientDangles) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());  // its answer is lost
  waits(c2, c2.auth());
  happens(6s, {out_frame(c2, c2.auth())});
  gets(c2, response(c2.auth()));
  sends_esp(c2, 0x1002);
  gets_esp(c2, 0x2002);
  EXPECT_EQ(now_there(AlgGauge::kLingering), 1u);
  esp_refused_in(0x2001, DropReason::kEspInDangling);
}

TEST_P(AlgEsp, Inbound2NotAfterATurnOfAnotherClientThatMayHaveLeftItBehind) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  pairs(c1, 0x1001, 0x2001);
  sends(c2, c2.auth());
  restarts(c2);
  EXPECT_EQ(counted(AlgCounter::kClosedRestart), 1u);
  esp_refused_in(0x2002, DropReason::kEspInNoGate);
}

TEST_P(AlgEsp, Inbound2GoesOnAfterATurnOfAnotherClientThatLeftNothingBehind) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  pairs(c1, 0x1001, 0x2001);
  sends(c2, c2.child());
  gets(c2, response(c2.child()));
  const Peer rekeyed = c2.rekeyed();
  sends(rekeyed, rekeyed.message(kInformational2, 0));
  EXPECT_EQ(counted(AlgCounter::kClosedIkeRekey), 1u);
  gets_esp(c1, 0x2003);
  EXPECT_EQ(counted(AlgCounter::kSpiInLingering), 1u);
}

TEST_P(AlgEsp, Inbound2GoesOnAfterAnotherTurnOfTheSameClient) {
  start();
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  sends(c1, c1.child());
  restarts(c1);
  EXPECT_EQ(counted(AlgCounter::kClosedRestart), 1u);
  gets_esp(c1, 0x2003);
  EXPECT_EQ(counted(AlgCounter::kSpiInLingering), 1u);
}

TEST_P(AlgEsp, Inbound3OnlyAFreshOne) {
  start();
  const Peer c1 = joins(1);
  arms(c1);
  quiet(kT + 1s);
  esp_refused_in(0x2009, DropReason::kEspInNotFresh, 1000);
  gets_esp(c1, 0x2001, 256);
}

TEST_P(AlgEsp, Inbound3NotWhatWasOnItsWayBeforeTheClaimantCanHaveHadIt) {
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

TEST_P(AlgEsp, Inbound3WhatTheClaimantIsOwedSinceAnEarlierTurn) {
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

TEST_P(AlgEsp, Inbound3NotAForgottenCandidateOfAnotherClient) {
  start();
  const Peer c2 = owed_one_since_before_a_candidate_was_forgotten();
  sends(c2, c2.child());
  gets(c2, response(c2.child()));
  quiet(kT + 1s);
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous, 2);
  gets_esp(c2, 0x2002);
  EXPECT_EQ(counted(AlgCounter::kSpiInClaimed), 1u);
}

TEST_P(AlgEsp, Inbound3NotWhileAnotherClientDangles) {
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

TEST_P(AlgEsp, Inbound3NotWhatFirstCameWhileAnotherClientDangled) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c2);
  quiet(3 * kT + 1s);  // only its claim is left
  sends(c1, c1.auth());  // its answer is lost
  quiet(kT + 1s);
  esp_refused_in(0x2001, DropReason::kEspInDangling);  // c1's
  quiet(2 * kT);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 0u);  // c1 is given up
  esp_refused_in(0x2001, DropReason::kEspInDangling, 2);
  gets_esp(c2, 0x2002);
}

TEST_P(AlgEsp, Inbound3NotWhatFirstCameInAnotherClientsTurn) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c2);
  quiet(3 * kT + 1s);  // only its claim is left
  sends(c1, c1.auth());  // its answer is lost
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous);  // c1's
  quiet(3 * kT + 1s);
  EXPECT_EQ(now_there(AlgGauge::kDangling), 0u);  // c1 is given up
  esp_refused_in(0x2001, DropReason::kEspInDangling, 2);
  gets_esp(c2, 0x2002);
}

TEST_P(AlgEsp, Inbound3WhatFirstCameInATurnOfAnotherClientThatHasGotItsOwn) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c2);
  quiet(3 * kT + 1s);  // only its claim is left
  sends(c1, c1.auth());
  esp_refused_in(0x2002, DropReason::kEspInAmbiguous);  // c2's
  gets(c1, response(c1.auth()));
  sends_esp(c1, 0x1001);
  gets_esp(c1, 0x2001);
  quiet(kT + 1s);
  gets_esp(c2, 0x2002, 2);
  EXPECT_EQ(counted(AlgCounter::kSpiInClaimed), 1u);
}

TEST_P(AlgEsp, Inbound3WhatFirstCameWhileNobodyButTheClaimantDangled) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c2);
  quiet(3 * kT + 1s);
  arms(c1);
  quiet(kT + 1s);
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous);  // c1's; c2 claims one, too
  restarts(c2);  // not any more
  gets_esp(c1, 0x2001, 2);
  EXPECT_EQ(counted(AlgCounter::kSpiInClaimed), 1u);
}

TEST_P(AlgEsp, Inbound3NotIfThereMayBeAnotherAmongManyHalfOpenSessions) {
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

TEST_P(AlgEsp, WithTheSameSpiTwiceDeliveryStaysWithTheFirstAndIsCounted) {
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
