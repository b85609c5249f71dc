#include "lsn/datapath/ipsec_alg/gate.hpp"

namespace lsn::datapath::ipsec_alg {
namespace {

/// The effect of an event on a half-gate.
enum class Half : std::uint8_t {
  kKeep,
  kUnarm,
  kArm,  ///< unless it has passed
  kPass,
};

struct Transition {
  GateState from;
  GateEvent event;
  GateState to;
  Half out;
  Half in;
};

constexpr Transition kTransitions[] = {
    // Design 4, the figure: the first phase 2 message of C with S via N. Nothing is learned yet:
    // an SA does not exist before its exchange is answered.
    {GateState::kClosed, GateEvent::kRequest, GateState::kExchange, Half::kUnarm, Half::kUnarm},
    // Design 3: a late answer of an admitted exchange finds the gate closed and starts a turn,
    // armed.
    {GateState::kClosed, GateEvent::kAnswer, GateState::kArmed, Half::kArm, Half::kArm},
    // Design 5.2, outbound 2: C takes it without an exchange, out half passed, in half armed.
    {GateState::kClosed, GateEvent::kOutboundSpi, GateState::kArmed, Half::kPass, Half::kArm},

    // Design 4.3: several exchanges may be outstanding; each belongs to the turn.
    {GateState::kExchange, GateEvent::kRequest, GateState::kExchange, Half::kKeep, Half::kKeep},
    // Design 4.4: the first answer arms both halves.
    {GateState::kExchange, GateEvent::kAnswer, GateState::kArmed, Half::kArm, Half::kArm},
    // The holder's own ESP before any answer is of another tunnel of its, idle until now: learned,
    // but it says nothing about the exchange.
    {GateState::kExchange, GateEvent::kOutboundSpi, GateState::kExchange, Half::kKeep, Half::kKeep},

    // Design 4.3
    {GateState::kArmed, GateEvent::kRequest, GateState::kArmed, Half::kKeep, Half::kKeep},
    // A further exchange's answer: its SPIs are learned as further candidates.
    {GateState::kArmed, GateEvent::kAnswer, GateState::kArmed, Half::kKeep, Half::kKeep},
    // Design 4.4: the first ESP packet of an unknown SPI passes its half; so do further ones
    // (design 4.3).
    {GateState::kArmed, GateEvent::kOutboundSpi, GateState::kArmed, Half::kPass, Half::kKeep},
    {GateState::kArmed, GateEvent::kInboundSpi, GateState::kArmed, Half::kKeep, Half::kPass},
    // Closing, from both open states and for all reasons, is close().
};

void change(HalfGate& half, Half what) {
  switch (what) {
    case Half::kKeep:
      return;
    case Half::kUnarm:
      half = HalfGate::kUnarmed;
      return;
    case Half::kArm:
      half = HalfGate::kArmed;
      return;
    case Half::kPass:
      half = HalfGate::kPassed;
      return;
  }
}

}  // namespace

Turn* find_turn(Gate& gate, std::uint32_t serial) {
  if (gate.turn.holder != state::kNone && gate.turn.serial == serial) return &gate.turn;
  if (gate.lingering.holder != state::kNone && gate.lingering.serial == serial)
    return &gate.lingering;
  return nullptr;
}

Arming step(Gate& gate, GateEvent event) {
  for (const Transition& t : kTransitions) {
    if (t.from != gate.state || t.event != event) continue;
    const bool arms = gate.state != GateState::kArmed && t.to == GateState::kArmed;
    gate.state = t.to;
    change(gate.halves[Direction::kOutbound], t.out);
    change(gate.halves[Direction::kInbound], t.in);
    return arms ? Arming::kArmed : Arming::kNone;
  }
  return Arming::kNone;
}

Arming begin(Gate& gate, PeerId holder, GateEvent how, state::Ticks now) {
  gate.turn = Turn{};
  gate.turn.holder = holder;
  gate.turn.serial = ++gate.serial;
  gate.turn.began = gate.turn.latest_request = gate.turn.latest_message = now;
  gate.turn.latest_answer = gate.turn.latest_spi = gate.turn.latest_reply = now;
  gate.turn.has_exchange = how != GateEvent::kOutboundSpi;
  gate.turn.idle_pairs = gate.turn.has_exchange ? 0 : 1;
  gate.turn.in_its_place = gate.kept_for == holder;
  gate.kept_for = state::kNone;
  return step(gate, how);
}

bool close(Gate& gate, CloseReason reason) {
  for (HalfGate& half : gate.halves)
    if (half == HalfGate::kArmed)
      half = reason == CloseReason::kDeadline ? HalfGate::kTimedOut : HalfGate::kUnarmed;
  const bool was_armed = gate.state == GateState::kArmed;
  gate.state = GateState::kClosed;
  gate.last_reason = reason;
  gate.had_turn = true;
  return was_armed;
}

bool lacks_only_further_spis(const Gate& gate) {
  const Turn& turn = gate.turn;
  return gate.state == GateState::kArmed && turn.unanswered == 0 && turn.returned &&
         gate.halves[Direction::kOutbound] == HalfGate::kPassed &&
         gate.halves[Direction::kInbound] == HalfGate::kPassed;
}

std::optional<state::Ticks> shortened(const Gate& gate) {
  const Turn& turn = gate.turn;
  if (gate.waiters.empty()) return std::nullopt;
  if (!turn.has_exchange) {
    // It yields to an exchange at once, unless the holder has waited for its turn itself. If all
    // waiters wait for ESP, too, it lasts as long as there is something that may be a reply.
    if (gate.held_flights != 0) return turn.in_its_place ? turn.began + kGateKept : turn.began;
    return later_of(turn.began, turn.latest_reply) + kAnswerExpected;
  }
  const state::Ticks progress = later_of(turn.latest_answer, turn.latest_spi);
  if (turn.unanswered != 0) {
    // New requests do not extend it while there was no answer at all.
    if (turn.answered == 0) return turn.began + kAnswerExpected;
    return later_of(turn.latest_request, progress) + kAnswerExpected;
  }
  return progress + (lacks_only_further_spis(gate) ? kFurtherSpi : kAnswerExpected);
}

std::optional<CloseReason> due_by_time(const Gate& gate, state::TickDuration gate_timeout,
                                       state::Ticks now) {
  if (is_due(deadline_of(gate.turn, gate_timeout), now)) return CloseReason::kDeadline;
  if (const auto when = shortened(gate); when && is_due(*when, now))
    return lacks_only_further_spis(gate) ? CloseReason::kPaired : CloseReason::kYield;
  return std::nullopt;
}

bool watches_old_session(const Gate& gate) {
  const Turn& turn = gate.turn;
  // Not while another exchange of the turn waits for its answer (design 9.3).
  return gate.state == GateState::kArmed && turn.old_session != state::kNone && turn.spis[0] == 0 &&
         turn.spis[1] == 0 && turn.unanswered == 0;
}

bool note_old_packets(Turn& turn, const ByDirection<std::uint64_t>& packets, state::Ticks now) {
  bool both = true;
  for (std::size_t d = 0; d < kDirections; ++d) {
    both = both && packets[d] > turn.old_packets[d];
    turn.old_packets[d] = packets[d];
  }
  // The clock may have been slow, so that several steps are over at once.
  const auto steps = static_cast<std::uint32_t>(now - turn.old_checked) / kOldSpiStep.count();
  turn.old_checked = now;
  turn.old_steps = both ? turn.old_steps + steps : 0;
  return turn.old_steps >= kOldSpiSteps;
}

bool resumes_lingering(CloseReason reason) {
  return reason == CloseReason::kIkeRekey || reason == CloseReason::kFloat ||
         reason == CloseReason::kFlush;
}

}  // namespace lsn::datapath::ipsec_alg
