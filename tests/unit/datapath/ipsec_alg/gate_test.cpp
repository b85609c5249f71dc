// The gate as a machine (design 4): what each event makes of it, and when a turn is over. Nothing
// but a Gate is needed.
#include "lsn/datapath/ipsec_alg/gate.hpp"

#include <gtest/gtest.h>

#include <optional>

namespace lsn::datapath::ipsec_alg {
namespace {

using namespace std::chrono_literals;
using enum GateEvent;
using enum GateState;

constexpr PeerId kHolder = 7, kOther = 8;
constexpr state::Ticks kNow{1000};
constexpr state::TickDuration kTimeout = 30s;

constexpr Direction kOut = Direction::kOutbound, kIn = Direction::kInbound;

/// The holder's gate after these events, the first of which begins its turn.
Gate gate_after(std::initializer_list<GateEvent> events) {
  Gate gate{};
  bool first = true;
  for (const GateEvent event : events) {
    if (first)
      (void)begin(gate, kHolder, event, kNow);
    else
      (void)step(gate, event);
    first = false;
  }
  return gate;
}

/// Somebody waits; `flights`: with messages of exchanges.
void add_waiter(Gate& gate, std::uint32_t flights) {
  gate.waiters.first = gate.waiters.last = 1;
  gate.waiter_count = 1;
  gate.held_flights = flights;
}

struct Row {
  std::initializer_list<GateEvent> events;
  GateState state;
  HalfGate out, in;
};

TEST(GateTransitions, FollowTheTableOfTheDesign) {
  using enum HalfGate;
  const Row rows[] = {
      {{kRequest}, kExchange, kUnarmed, kUnarmed},
      {{kAnswer}, GateState::kArmed, HalfGate::kArmed, HalfGate::kArmed},
      {{kOutboundSpi}, GateState::kArmed, kPassed, HalfGate::kArmed},
      {{kRequest, kRequest}, kExchange, kUnarmed, kUnarmed},
      {{kRequest, kOutboundSpi}, kExchange, kUnarmed, kUnarmed},
      {{kRequest, kAnswer}, GateState::kArmed, HalfGate::kArmed, HalfGate::kArmed},
      {{kRequest, kAnswer, kRequest}, GateState::kArmed, HalfGate::kArmed, HalfGate::kArmed},
      {{kRequest, kAnswer, kOutboundSpi}, GateState::kArmed, kPassed, HalfGate::kArmed},
      {{kRequest, kAnswer, kInboundSpi}, GateState::kArmed, HalfGate::kArmed, kPassed},
      {{kRequest, kAnswer, kOutboundSpi, kInboundSpi}, GateState::kArmed, kPassed, kPassed},
      {{kRequest, kAnswer, kOutboundSpi, kAnswer}, GateState::kArmed, kPassed, HalfGate::kArmed},
      {{kOutboundSpi, kRequest}, GateState::kArmed, kPassed, HalfGate::kArmed},
  };
  for (const Row& row : rows) {
    const Gate gate = gate_after(row.events);
    const auto number = &row - rows;
    EXPECT_EQ(gate.state, row.state) << "row " << number;
    EXPECT_EQ(gate.halves[kOut], row.out) << "row " << number;
    EXPECT_EQ(gate.halves[kIn], row.in) << "row " << number;
  }
}

TEST(GateTransitions, AnInboundSpiChangesNothingBeforeTheAnswer) {
  Gate gate = gate_after({kRequest});
  EXPECT_EQ(step(gate, kInboundSpi), Arming::kNone);
  EXPECT_EQ(gate.state, kExchange);
  EXPECT_EQ(gate.halves[kIn], HalfGate::kUnarmed);
}

TEST(GateTransitions, SayOnceThatTheGateIsArmed) {
  Gate gate{};
  EXPECT_EQ(begin(gate, kHolder, kRequest, kNow), Arming::kNone);
  EXPECT_EQ(step(gate, kAnswer), Arming::kArmed);
  EXPECT_EQ(step(gate, kAnswer), Arming::kNone);
  Gate another{};
  EXPECT_EQ(begin(another, kHolder, kOutboundSpi, kNow), Arming::kArmed);
}

TEST(GateTurn, BeginsWithItsHolderASerialAndItsTime) {
  Gate gate{};
  gate.serial = 41;
  gate.kept_for = kHolder;
  (void)begin(gate, kHolder, kOutboundSpi, kNow);
  EXPECT_TRUE(holds(gate, kHolder));
  EXPECT_FALSE(holds(gate, kOther));
  EXPECT_EQ(gate.turn.serial, 42u);
  EXPECT_EQ(gate.turn.began, kNow);
  EXPECT_FALSE(gate.turn.has_exchange);
  EXPECT_EQ(expected_pairs(gate.turn), 1u) << "the pair that ESP began it for";
  EXPECT_TRUE(gate.turn.in_its_place);
  EXPECT_EQ(gate.kept_for, state::kNone);
  EXPECT_EQ(find_turn(gate, 42), &gate.turn);
  EXPECT_EQ(find_turn(gate, 41), nullptr);
}

TEST(GateTurn, AGateThatIsKept_IsFreeForThatClientAlone) {
  Gate gate{};
  EXPECT_TRUE(is_free_for(gate, kHolder));
  gate.kept_for = kHolder;
  EXPECT_TRUE(is_free_for(gate, kHolder));
  EXPECT_FALSE(is_free_for(gate, kOther));
  (void)begin(gate, kHolder, kRequest, kNow);
  EXPECT_FALSE(is_free_for(gate, kHolder)) << "it has it";
}

TEST(GateClose, HalvesThatWereArmed_TimeOutAtTheDeadlineAndAreUnarmedOtherwise) {
  for (std::size_t reason = 0; reason < shared::kCloseReasons; ++reason) {
    Gate gate = gate_after({kRequest, kAnswer, kOutboundSpi});
    const auto why = static_cast<CloseReason>(reason);
    EXPECT_TRUE(close(gate, why)) << "it was armed";
    EXPECT_EQ(gate.state, kClosed);
    EXPECT_EQ(gate.halves[kOut], HalfGate::kPassed);
    EXPECT_EQ(gate.halves[kIn],
              why == CloseReason::kDeadline ? HalfGate::kTimedOut : HalfGate::kUnarmed);
    EXPECT_EQ(gate.last_reason, why);
    EXPECT_TRUE(gate.had_turn);
  }
  Gate gate = gate_after({kRequest});
  EXPECT_FALSE(close(gate, CloseReason::kYield)) << "it was not armed";
}

TEST(GateClose, LingeringResumesAfterATurnThatLeftNothingBehind) {
  for (const CloseReason reason :
       {CloseReason::kIkeRekey, CloseReason::kFloat, CloseReason::kFlush})
    EXPECT_TRUE(resumes_lingering(reason));
  for (const CloseReason reason :
       {CloseReason::kPaired, CloseReason::kDeadline, CloseReason::kRestart, CloseReason::kOldSpi,
        CloseReason::kYield, CloseReason::kRefused})
    EXPECT_FALSE(resumes_lingering(reason));
}

TEST(GateDeadline, IsOneEspGateTimeoutAfterTheTurnBegan) {
  Gate gate = gate_after({kRequest, kAnswer});
  gate.turn.latest_answer = gate.turn.latest_request = kNow + 29s;  // extends nothing
  EXPECT_EQ(due_by_time(gate, kTimeout, kNow + 29s), std::nullopt);
  EXPECT_EQ(due_by_time(gate, kTimeout, kNow + 30s), CloseReason::kDeadline);
}

TEST(GateShortened, NotWhileNobodyWaits) {
  EXPECT_EQ(shortened(gate_after({kRequest})), std::nullopt);
  EXPECT_EQ(shortened(gate_after({kRequest, kAnswer, kOutboundSpi})), std::nullopt);
  EXPECT_EQ(shortened(gate_after({kOutboundSpi})), std::nullopt);
}

TEST(GateShortened, WithoutAnyAnswer_FiveSecondsAfterTheTurnBegan) {
  Gate gate = gate_after({kRequest});
  gate.turn.unanswered = 2;
  gate.turn.latest_request = kNow + 4s;  // new requests do not extend it
  add_waiter(gate, 1);
  EXPECT_EQ(shortened(gate), kNow + kAnswerExpected);
  EXPECT_EQ(due_by_time(gate, kTimeout, kNow + 5s), CloseReason::kYield);
  EXPECT_EQ(due_by_time(gate, kTimeout, kNow + state::TickDuration{499}), std::nullopt);
}

TEST(GateShortened, WithAFurtherRequestOpen_FiveSecondsAfterTheLatestProgress) {
  Gate gate = gate_after({kRequest, kAnswer, kRequest});
  gate.turn.answered = gate.turn.unanswered = 1;
  gate.turn.latest_answer = kNow + 1s;
  gate.turn.latest_request = kNow + 2s;
  add_waiter(gate, 1);
  EXPECT_EQ(shortened(gate), kNow + 7s);
  gate.turn.latest_spi = kNow + 3s;
  EXPECT_EQ(shortened(gate), kNow + 8s);
}

TEST(GateShortened, OnceThePairWorks_TwoSecondsForFurtherSpis) {
  Gate gate = gate_after({kRequest, kAnswer, kOutboundSpi, kInboundSpi});
  gate.turn.answered = 2;
  gate.turn.returned = true;
  gate.turn.latest_spi = kNow + 1s;
  EXPECT_TRUE(lacks_only_further_spis(gate));
  add_waiter(gate, 1);
  EXPECT_EQ(shortened(gate), kNow + 3s);
  EXPECT_EQ(due_by_time(gate, kTimeout, kNow + 3s), CloseReason::kPaired);
}

TEST(GateShortened, ThePairDoesNotWorkYet) {
  Gate gate = gate_after({kRequest, kAnswer, kOutboundSpi, kInboundSpi});
  EXPECT_FALSE(lacks_only_further_spis(gate)) << "nothing has come back since";
  gate.turn.returned = true;
  gate.turn.unanswered = 1;
  EXPECT_FALSE(lacks_only_further_spis(gate)) << "a request is not answered";
  gate.turn.unanswered = 0;
  gate.halves[kIn] = HalfGate::kArmed;
  EXPECT_FALSE(lacks_only_further_spis(gate)) << "no inbound SPI";
}

TEST(GateShortened, WithoutAnExchange_AtOnceForAWaiterThatHasOne) {
  Gate gate = gate_after({kOutboundSpi});
  add_waiter(gate, 1);
  EXPECT_EQ(shortened(gate), kNow);
  gate.turn.in_its_place = true;
  EXPECT_EQ(shortened(gate), kNow + kGateKept) << "it has waited itself";
}

TEST(GateShortened, WithoutAnExchange_FiveSecondsForAWaiterWithoutOne) {
  Gate gate = gate_after({kOutboundSpi});
  add_waiter(gate, 0);
  EXPECT_EQ(shortened(gate), kNow + kAnswerExpected);
  gate.turn.latest_reply = kNow + 3s;
  EXPECT_EQ(shortened(gate), kNow + 8s) << "as long as something may be a reply";
}

TEST(GateOldSession, IsWatchedWhileTheTurnHasNoNewSpi) {
  Gate gate = gate_after({kRequest, kAnswer});
  EXPECT_FALSE(watches_old_session(gate)) << "there is none";
  gate.turn.old_session = 3;
  EXPECT_TRUE(watches_old_session(gate));
  gate.turn.spis[kOut] = 1;
  EXPECT_FALSE(watches_old_session(gate));
  gate.turn.spis[kOut] = 0;
  gate.turn.unanswered = 1;
  EXPECT_FALSE(watches_old_session(gate)) << "another exchange may make the SPI (design 9.3)";
}

TEST(GateOldSession, TwoStepsWithTrafficBothWays_SayThatTheOldSpisGoOn) {
  Turn turn;
  turn.old_checked = kNow;
  EXPECT_FALSE(note_old_packets(turn, {5, 5}, kNow + 1s));
  EXPECT_TRUE(note_old_packets(turn, {6, 6}, kNow + 2s));
}

TEST(GateOldSession, AStepWithoutTrafficOneWay_BeginsAgain) {
  Turn turn;
  turn.old_checked = kNow;
  EXPECT_FALSE(note_old_packets(turn, {5, 5}, kNow + 1s));
  EXPECT_FALSE(note_old_packets(turn, {6, 5}, kNow + 2s));
  EXPECT_FALSE(note_old_packets(turn, {7, 6}, kNow + 3s));
  EXPECT_TRUE(note_old_packets(turn, {8, 7}, kNow + 4s));
}

}  // namespace
}  // namespace lsn::datapath::ipsec_alg
