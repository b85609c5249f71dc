#include "lsn/datapath/ipsec_alg/turns.hpp"

#include <algorithm>
#include <optional>

#include "lsn/datapath/ipsec_alg/attribution.hpp"
#include "lsn/datapath/ipsec_alg/esp.hpp"
#include "lsn/datapath/ipsec_alg/holding.hpp"
#include "lsn/datapath/ipsec_alg/peers.hpp"

namespace lsn::datapath::ipsec_alg {
namespace {

void watch_sequences(Tables& tables) {
  tables.watched_sequence = tables.armed_gates == 0 ? 0 : tables.max_fresh_sequence;
}

void on_arming(Tables& tables, Arming arming) {
  if (arming == Arming::kNone) return;
  ++tables.armed_gates;
  watch_sequences(tables);
}

void on_event(Tables& tables, Gate& gate, GateEvent event) {
  on_arming(tables, step(gate, event));
}

state::TickDuration gate_timeout_of(const IpsecAlg& shard, const Turn& turn) {
  return profile_of(shard, shard.alg.peers[turn.holder]).gate_timeout;
}

state::Ticks deadline_of(const IpsecAlg& shard, const Turn& turn) {
  return deadline_of(turn, gate_timeout_of(shard, turn));
}

// ── when turns end by time ──────────────────────────────────────────────────────────────────────

/// Design 4.9, old-spi: the session that shows, if it goes on, that the exchange brought no new
/// SPIs: the peer's latest that had both SPIs when the answer came.
EspId old_session(const Tables& tables, const Peer& peer) {
  unsigned looked = 0;
  for (EspId id = peer.esp_sessions.first; id != state::kNone && looked < kLookLimit;
       id = tables.esp_sessions[id].of_peer.next, ++looked)
    if (!tables.esp_sessions[id].is_half_open()) return id;
  return state::kNone;
}

void watch_old_session(IpsecAlg& shard, Gate& gate) {
  Turn& turn = gate.turn;
  const Tables& tables = shard.alg;
  turn.old_session = old_session(tables, tables.peers[turn.holder]);
  turn.old_checked = shard.now;
  turn.old_steps = 0;
  if (turn.old_session == state::kNone) return;
  const lsn44::Session& session =
      shard.lsn44.sessions[tables.esp_sessions[turn.old_session].session];
  for (std::size_t d = 0; d < kDirections; ++d) turn.old_packets[d] = session.packets[d];
}

/// Looks at the old session once per step; true when it has carried traffic both ways in each.
bool goes_on_with_old_spis(const IpsecAlg& shard, Gate& gate) {
  Turn& turn = gate.turn;
  if (!watches_old_session(gate)) return false;
  if (!is_due(turn.old_checked + kOldSpiStep, shard.now)) return turn.old_spis;
  const EspSession& esp = shard.alg.esp_sessions[turn.old_session];
  if (!esp.in_use || esp.peer != turn.holder) {
    turn.old_session = state::kNone;
    return false;
  }
  const lsn44::Session& session = shard.lsn44.sessions[esp.session];
  const ByDirection<std::uint64_t> packets = {session.packets[0], session.packets[1]};
  return note_old_packets(turn, packets, shard.now);
}

/// Design 5.3, owed: the exchanges of the turn came to nothing, the old SPIs go on.
void give_up_exchanges(IpsecAlg& shard, Gate& gate) {
  Tables& tables = shard.alg;
  gate.turn.old_spis = true;
  const Peer& peer = tables.peers[gate.turn.holder];
  for (ExchangeId id = peer.owed.first; id != state::kNone;) {
    Exchange& e = tables.exchanges[id];
    const ExchangeId next = e.of_peer.next;
    if (e.turn == gate.turn.serial && !has_refused_since(tables, gate, e.admitted)) {
      mark_settled(shard, id);
      e.went_on = true;
    }
    id = next;
  }
}

/// Why an open gate is due to close, if it is.
std::optional<CloseReason> due_reason(IpsecAlg& shard, Gate& gate) {
  if (const auto reason = due_by_time(gate, gate_timeout_of(shard, gate.turn), shard.now))
    return reason;
  if (goes_on_with_old_spis(shard, gate)) {
    if (!gate.turn.old_spis) give_up_exchanges(shard, gate);
    if (!gate.waiters.empty()) return CloseReason::kOldSpi;
  }
  return std::nullopt;
}

// ── dangling ────────────────────────────────────────────────────────────────────────────────────

state::TickDuration twice_gate_timeout(const Lsn44& shard, const Peer& peer) {
  return 2 * profile_of(shard, peer).gate_timeout;
}

/// Until when a peer dangles, as things are.
std::optional<state::Ticks> dangles_until(const IpsecAlg& shard, const Peer& peer) {
  std::optional<state::Ticks> until;
  if (is_owed_any(shard, peer) || !peer.undecided.empty()) until = peer.dangles_until;
  if (!peer.undecided.empty()) {
    // While one that was admitted within 2T is neither answered nor settled.
    const state::Ticks admitted = shard.alg.exchanges[peer.undecided.last].admitted;
    const state::Ticks lasts = admitted + twice_gate_timeout(shard, peer);
    until = until ? later_of(*until, lasts) : lasts;
  }
  return until;
}

/// Puts a peer on the gate's list of dangling ones. It leaves if it is looked at and dangles no
/// more.
void note_dangling(IpsecAlg& shard, PeerId id) {
  Tables& tables = shard.alg;
  Peer& peer = tables.peers[id];
  if (peer.is_dangling || !is_dangling(shard, peer)) return;
  peer.is_dangling = true;
  state::list_push(gate_in_hand(tables, peer.gate).dangling, id, tables.dangling_links());
  raise(shard, peer.profile, AlgGauge::kDangling);
  schedule_gate(shard, peer.gate);  // it may have nothing else that ends
}

void set_dangling(IpsecAlg& shard, PeerId id, state::Ticks until) {
  shard.alg.peers[id].dangles_until = until;
  note_dangling(shard, id);
}

void unset_dangling(IpsecAlg& shard, Gate& gate, PeerId id) {
  Tables& tables = shard.alg;
  Peer& peer = tables.peers[id];
  state::list_remove(gate.dangling, id, tables.dangling_links());
  peer.is_dangling = false;
  // Half the ticks' range later it would seem to be in the future.
  if (peer.dangles_until && is_due(*peer.dangles_until, shard.now)) peer.dangles_until.reset();
  lower(shard, peer.profile, AlgGauge::kDangling);
  mark_unused(shard, id);
}

/// Takes those off the list that dangle no more.
void forget_dangling(IpsecAlg& shard, Gate& gate) {
  for (PeerId id = gate.dangling.first; id != state::kNone;) {
    const PeerId next = shard.alg.peers[id].of_dangling.next;
    if (!is_dangling(shard, shard.alg.peers[id])) unset_dangling(shard, gate, id);
    id = next;
  }
}

/// A turn without an exchange has lasted for as long as a server may take to reply.
bool had_its_chance(const IpsecAlg& shard, const Turn& turn) {
  return is_due(
      turn.began + std::min<state::TickDuration>(kAnswerExpected, gate_timeout_of(shard, turn)),
      shard.now);
}

/// Whether an exchange of the turn is owed an SPI still: the SPIs that it has learned may have
/// begun before.
bool owes_of_turn(const Tables& tables, const Turn& turn) {
  unsigned looked = 0;
  for (ExchangeId id = tables.peers[turn.holder].owed.last;
       id != state::kNone && ++looked <= kLookLimit; id = tables.exchanges[id].of_peer.prev)
    if (tables.exchanges[id].turn == turn.serial) return true;
  return false;
}

/// Whether a turn has an inbound SPI for each of its answered exchanges.
bool has_all_it_expects(const Tables& tables, const Turn& turn) {
  return turn.spis[Direction::kInbound] >= expected_pairs(turn) && !owes_of_turn(tables, turn);
}

/// Design 5.11, dangling: the effects of a turn's end.
void dangle_after(IpsecAlg& shard, const Gate& gate, PeerId id, CloseReason reason) {
  Peer& peer = shard.alg.peers[id];
  const Turn& turn = gate.turn;
  const std::uint32_t out = turn.spis[Direction::kOutbound];
  const std::uint32_t in = turn.spis[Direction::kInbound];
  bool lacks = owes_of_turn(shard.alg, turn);
  std::uint32_t awaited = 0;
  switch (reason) {
    case CloseReason::kIkeRekey:
    case CloseReason::kFloat:
    case CloseReason::kFlush:
      return note_dangling(shard, id);
    case CloseReason::kPaired:
      // Beyond the letter, too: with fewer than it showed outbound ones, or if an earlier exchange
      // came to nothing by this: it may have been that one's SPI that paired the turn.
      lacks = lacks || in < expected_pairs(turn);
      if (lacks) awaited = 1;
      if (in + turn.spoken_first < out) awaited = out - in - turn.spoken_first;
      if (settle_older(shard, id, turn.serial)) ++awaited;
      break;
    default:
      lacks = lacks || in < turn.answered + turn.unanswered;
      // An SPI may come all the same of an exchange that was given up because the old SPIs went on.
      // Beyond the letter, for design 9.1: a client that showed an outbound SPI and got no inbound
      // one is owed one as much as with an exchange that was seen (its tunnel may be older than
      // this process), if anything has come that may be it.
      awaited = turn.unanswered != 0 || (lacks && turn.old_spis) ||
                (gate.halves[Direction::kOutbound] == HalfGate::kPassed &&
                 gate.halves[Direction::kInbound] != HalfGate::kPassed &&
                 (turn.has_exchange || turn.has_reply || !had_its_chance(shard, turn)));
      break;
  }
  // The SPIs that it awaits since an earlier turn are still to come.
  const bool goes_on = peer.dangles_until && peer.dangles_until->later_than(shard.now);
  peer.awaited = goes_on ? std::max(awaited, peer.awaited) : awaited;
  if (lacks || awaited != 0) peer.dangles_until = shard.now + twice_gate_timeout(shard, peer);
  note_dangling(shard, id);
}

/// Notes the attempt of a turn without an exchange in the sessions that it was for.
void note_attempts(IpsecAlg& shard, const Turn& turn) {
  Tables& tables = shard.alg;
  for (EspId id = turn.candidates[Direction::kOutbound].first; id != state::kNone;
       id = tables.esp_sessions[id].candidates[Direction::kOutbound].next) {
    EspSession& esp = tables.esp_sessions[id];
    if (esp.spi[Direction::kInbound] != kNoSpi) continue;
    esp.tried = shard.now;
    esp.fruitless = !turn.has_exchange && !turn.has_reply && had_its_chance(shard, turn);
  }
}

// ── lingering ───────────────────────────────────────────────────────────────────────────────────

void linger(IpsecAlg& shard, GateId id) {
  Gate& gate = gate_in_hand(shard.alg, id);
  end_lingering(shard, id);
  gate.lingering = gate.turn;
  raise(shard, shard.alg.peers[gate.lingering.holder].profile, AlgGauge::kLingering);
}

}  // namespace

bool has_refused_since(const Tables& tables, const Gate& gate, state::Ticks then) {
  return std::ranges::any_of(gate.seen, [&](const SeenSpi& seen) {
    return seen.spi != kNoSpi && !seen.known &&
           tables.history(gate, seen).learned_by == SeenHistory::kNobodys && seen.fresh_at_first &&
           !then.later_than(seen.first);
  });
}

bool in_turn(const Gate& gate, PeerId peer, const Exchange& e) {
  return holds(gate, peer) && e.turn == gate.turn.serial;
}

Gate& current_gate(IpsecAlg& shard, GateId id) {
  Gate& gate = gate_in_hand(shard.alg, id);
  // A turn that begins here begins now: nothing of it is due yet.
  if (gate.state != GateState::kClosed) {
    if (const auto reason = due_reason(shard, gate)) close_turn(shard, id, *reason);
  } else if (gate.kept_for != state::kNone && is_due(gate.kept_until, shard.now)) {
    mark_unused(shard, gate.kept_for);
    begin_next_turn(shard, id);
    schedule_gate(shard, id);
  }
  if (gate.lingering.holder != state::kNone &&
      is_due(deadline_of(shard, gate.lingering), shard.now))
    end_lingering(shard, id);
  return gate;
}

void begin_turn(IpsecAlg& shard, PeerId id, GateEvent how) {
  Tables& tables = shard.alg;
  Peer& peer = tables.peers[id];
  const GateId gate_id = peer.gate;
  Gate& gate = gate_in_hand(tables, gate_id);
  peer.had_turn = true;
  peer.turn_began = shard.now;
  peer.asks = 0;
  on_arming(tables, begin(gate, id, how, shard.now));
  count(shard, peer.profile, AlgCounter::kTurns);
  if (how == GateEvent::kOutboundSpi) count(shard, peer.profile, AlgCounter::kTurnsWithoutExchange);
  raise(shard, peer.profile, AlgGauge::kTurns);
  schedule_gate(shard, gate_id);
}

void close_turn(IpsecAlg& shard, GateId id, CloseReason reason) {
  Tables& tables = shard.alg;
  Gate& gate = gate_in_hand(tables, id);
  const PeerId holder = gate.turn.holder;
  Peer& peer = tables.peers[holder];

  // The turn's client: its attempts, its claim to SPIs that may still come.
  peer.turn_ended = shard.now;
  if (reason == CloseReason::kPaired) peer.deadlines = 0;
  if (reason == CloseReason::kDeadline && peer.deadlines != 0xFF) ++peer.deadlines;
  note_attempts(shard, gate.turn);
  dangle_after(shard, gate, holder, reason);
  // The gate.
  if (close(gate, reason)) {
    --tables.armed_gates;
    watch_sequences(tables);
  }
  // Its candidates.
  if (reason == CloseReason::kPaired) {
    linger(shard, id);
  } else {
    close_candidates(shard, gate.turn);
    if (!resumes_lingering(reason) && gate.lingering.holder != holder) end_lingering(shard, id);
  }
  gate.turn = Turn{};
  // Counters, and the event.
  count(shard, peer.profile,
        static_cast<AlgCounter>(static_cast<std::size_t>(AlgCounter::kClosedPaired) +
                                static_cast<std::size_t>(reason)));
  lower(shard, peer.profile, AlgGauge::kTurns);
  Event event = event_of(shard, EventKind::kTurnEnded, peer);
  event.detail = static_cast<std::uint32_t>(reason);
  tables.events.put(event);
  mark_unused(shard, holder);
  // The next waiter.
  if (peer.waiter != state::kNone) queue_behind_all(shard, peer.waiter);
  begin_next_turn(shard, id);
  schedule_gate(shard, id);
}

void yield_to(IpsecAlg& shard, GateId id, PeerId peer) {
  const Gate& gate = shard.alg.gates[id];
  if (gate.state == GateState::kClosed || gate.turn.holder == peer || gate.turn.has_exchange)
    return;
  if (gate.turn.in_its_place && !is_due(gate.turn.began + kGateKept, shard.now)) return;
  close_turn(shard, id, CloseReason::kYield);
}

void on_restart(IpsecAlg& shard, PeerId id, IkeId ike) {
  const Peer& peer = shard.alg.peers[id];
  const Gate& gate = shard.alg.gates[peer.gate];
  const Turn& turn = gate.turn;
  if (!holds(gate, id) || turn.ike == state::kNone || turn.ike == ike || turn.several_ikes ||
      turn.answered != 0 || !is_due(turn.latest_message + kSilentExchange, shard.now))
    return;
  count(shard, peer.profile, AlgCounter::kIkeRestarts);
  close_turn(shard, peer.gate, CloseReason::kRestart);
}

namespace {

/// An exchange of the holder's belongs to the turn from now on.
void join_turn(Context& shard, Gate& gate, Exchange& e) {
  Turn& turn = gate.turn;
  e.turn = turn.serial;
  turn.has_exchange = true;
  turn.latest_message = shard.now;
  turn.several_ikes = turn.several_ikes || (turn.ike != state::kNone && turn.ike != e.ike);
  turn.ike = e.ike;
}

}  // namespace

bool admit(IpsecAlg& shard, IkeId ike, const ExchangeName& name, std::uint32_t message_id,
           Opening opening) {
  Tables& tables = shard.alg;
  const PeerId id = tables.ike_sessions[ike].peer;
  Gate& gate = gate_in_hand(tables, tables.peers[id].gate);
  const ExchangeId exchange = add_exchange(shard, ike, name, message_id);
  if (exchange == state::kNone) return false;
  if (opening == Opening::kAnswer) {
    on_answer(shard, id, exchange);
    return true;
  }
  if (gate.state == GateState::kClosed) {
    begin_turn(shard, id, GateEvent::kRequest);
  } else {
    on_event(shard.alg, gate, GateEvent::kRequest);
  }
  join_turn(shard, gate, tables.exchanges[exchange]);
  gate.turn.latest_request = shard.now;
  ++gate.turn.unanswered;
  schedule_gate(shard, tables.peers[id].gate);
  return true;
}

void admit_again(IpsecAlg& shard, PeerId id, ExchangeId exchange, std::uint32_t message_id) {
  const Gate& gate = shard.alg.gates[shard.alg.peers[id].gate];
  if (gate.state == GateState::kClosed) begin_turn(shard, id, GateEvent::kRequest);
  request_again(shard, id, exchange, message_id);
}

void request_again(IpsecAlg& shard, PeerId id, ExchangeId exchange, std::uint32_t message_id) {
  Tables& tables = shard.alg;
  Exchange& e = tables.exchanges[exchange];
  Peer& peer = tables.peers[id];
  Gate& gate = gate_in_hand(tables, peer.gate);
  e.latest_request = message_id;
  unsettle(shard, exchange);  // the SPI between was not this exchange's
  const bool was_answered = e.answered;
  mark_unanswered(shard, exchange);
  if (!holds(gate, id)) return note_dangling(shard, id);
  const bool was_in_turn = in_turn(gate, id, e);
  if (was_in_turn && was_answered && gate.turn.answered != 0) --gate.turn.answered;
  if (!was_in_turn || was_answered) ++gate.turn.unanswered;
  join_turn(shard, gate, e);
  gate.turn.latest_request = shard.now;
  schedule_gate(shard, peer.gate);
}

namespace {

/// An exchange's SPI may have been quicker than its answer.
void settle_by_earlier_spi(IpsecAlg& shard, const Gate& gate, ExchangeId exchange) {
  Tables& tables = shard.alg;
  for (EspId id = gate.turn.candidates[Direction::kInbound].first; id != state::kNone;
       id = tables.esp_sessions[id].candidates[Direction::kInbound].next) {
    EspSession& esp = tables.esp_sessions[id];
    if (esp.settled != state::kNone ||
        tables.exchanges[exchange].admitted.later_than(esp.learned_in))
      continue;
    note_settled(tables, esp, exchange);
    mark_settled(shard, exchange);
    return;
  }
}

}  // namespace

void on_answer(IpsecAlg& shard, PeerId id, ExchangeId exchange) {
  Tables& tables = shard.alg;
  Exchange& e = tables.exchanges[exchange];
  Peer& peer = tables.peers[id];
  const GateId gate_id = peer.gate;
  Gate& gate = gate_in_hand(tables, gate_id);
  const bool in_this_turn = in_turn(gate, id, e);
  mark_answered(shard, exchange);
  if (!in_this_turn) count(shard, peer.profile, AlgCounter::kLateAnswers);

  if (!is_free_for(gate, id) && !holds(gate, id)) {
    // Late, and another client has the gate: it passes; from now on its client is owed an SPI.
    set_dangling(shard, id, shard.now + twice_gate_timeout(shard, peer));
    return;
  }
  if (gate.state == GateState::kClosed) {
    begin_turn(shard, id, GateEvent::kAnswer);
  } else {
    if (in_this_turn) --gate.turn.unanswered;
    on_event(shard.alg, gate, GateEvent::kAnswer);
  }
  join_turn(shard, gate, e);
  ++gate.turn.answered;
  gate.turn.latest_answer = shard.now;
  watch_old_session(shard, gate);
  settle_by_earlier_spi(shard, gate, exchange);
  close_if_paired(shard, gate_id);
  schedule_gate(shard, gate_id);
}

void turn_was_lost(IpsecAlg& shard, PeerId id, state::Ticks admitted) {
  Peer& peer = shard.alg.peers[id];
  if (peer.had_turn && peer.turn_began.later_than(admitted)) return;
  peer.had_turn = true;
  peer.turn_began = admitted;
  peer.turn_ended = shard.now;
  const state::TickDuration dangles = twice_gate_timeout(shard, peer);
  if ((admitted + profile_of(shard, peer).gate_timeout + dangles).later_than(shard.now))
    set_dangling(shard, id, shard.now + dangles);
  schedule_gate(shard, peer.gate);
}

namespace {

/// A message is repeated of an exchange that has no SPI yet and whose turn is over: its initiator
/// lacks the answer, so that the server may not have spoken yet.
void hope_again(IpsecAlg& shard, PeerId id) {
  Tables& tables = shard.alg;
  const Peer& peer = tables.peers[id];
  unsigned looked = 0;
  for (EspId esp = peer.half_open[Direction::kOutbound].last;
       esp != state::kNone && looked < kLookLimit;
       esp = tables.esp_sessions[esp].half_open.prev, ++looked)
    tables.esp_sessions[esp].fruitless = false;
  set_dangling(shard, id, shard.now + twice_gate_timeout(shard, peer));
}

}  // namespace

void on_message(IpsecAlg& shard, PeerId id, ExchangeId exchange) {
  Tables& tables = shard.alg;
  Exchange& e = tables.exchanges[exchange];
  Gate& gate = gate_in_hand(tables, tables.peers[id].gate);
  if (in_turn(gate, id, e)) gate.turn.latest_message = shard.now;
  touch_exchange(shard, exchange);
  if (!e.settled && !in_turn(gate, id, e)) hope_again(shard, id);
  // The old SPIs went on because its initiator has not got the answer.
  if (!e.went_on) return;
  unsettle(shard, exchange);
  if (in_turn(gate, id, e)) {
    gate.turn.old_spis = false;
    watch_old_session(shard, gate);
  } else {
    set_dangling(shard, id, shard.now + twice_gate_timeout(shard, tables.peers[id]));
  }
}

void on_spi(IpsecAlg& shard, GateId id, Direction direction) {
  Gate& gate = gate_in_hand(shard.alg, id);
  gate.turn.latest_spi = shard.now;
  on_event(shard.alg, gate,
           direction == Direction::kOutbound ? GateEvent::kOutboundSpi : GateEvent::kInboundSpi);
}

void note_sent(IpsecAlg& shard, Gate& gate) {
  gate.turn.has_sent = true;
  gate.turn.sent = shard.now;
  note_asked(shard, gate, gate.turn.holder);
}

void note_asked(IpsecAlg& shard, Gate& gate, PeerId id) {
  gate.sender = id;
  Peer& peer = shard.alg.peers[id];
  peer.asked = shard.now;
  ++peer.asks;
}

Asking has_another_asked(const IpsecAlg& shard, const Gate& gate, PeerId except) {
  Asking asked = Asking::kNo;
  unsigned looked = 0;
  for (PeerId id = gate.claimants.first; id != state::kNone && ++looked <= 4 * kLookLimit;
       id = shard.alg.peers[id].of_claimants.next) {
    const Peer& peer = shard.alg.peers[id];
    if (id == except || !peer.asked || !(*peer.asked + kReplySoon).later_than(shard.now)) continue;
    if (peer.asks <= kAsks) return Asking::kYes;
    asked = Asking::kOften;
  }
  return asked;
}

void on_return(IpsecAlg& shard, GateId id) {
  Gate& gate = gate_in_hand(shard.alg, id);
  if (gate.halves[Direction::kOutbound] != HalfGate::kPassed) return;
  gate.turn.returned = true;
  close_if_paired(shard, id);
}

void close_if_paired(IpsecAlg& shard, GateId id) {
  const Gate& gate = shard.alg.gates[id];
  // Design 4.5: both halves have passed, a packet came back after the out half, nothing is
  // unanswered, and there is an inbound SPI for each exchange.
  if (lacks_only_further_spis(gate) && has_all_it_expects(shard.alg, gate.turn))
    close_turn(shard, id, CloseReason::kPaired);
}

void on_ike_rekey(IpsecAlg& shard, PeerId id, ExchangeId exchange) {
  const GateId gate_id = shard.alg.peers[id].gate;
  Gate& gate = gate_in_hand(shard.alg, gate_id);
  const bool in_this_turn = in_turn(gate, id, shard.alg.exchanges[exchange]);
  mark_settled(shard, exchange);
  if (!in_this_turn) return;
  if (gate.turn.answered != 0) --gate.turn.answered;  // no ESP will come of it
  const bool nothing_else = gate.turn.unanswered == 0 && has_all_it_expects(shard.alg, gate.turn);
  if (nothing_else) close_turn(shard, gate_id, CloseReason::kIkeRekey);
}

void on_float(IpsecAlg& shard, PeerId id, IkeId ike) {
  Peer& peer = shard.alg.peers[id];
  const Gate& gate = shard.alg.gates[peer.gate];
  peer.awaited = 0;
  if (peer.owed.empty()) peer.dangles_until.reset();
  // Another connection of the client's may have the turn.
  const bool is_of_others =
      gate.turn.has_exchange && (gate.turn.several_ikes || gate.turn.ike != ike);
  if (holds(gate, id) && !is_of_others) close_turn(shard, peer.gate, CloseReason::kFloat);
}

bool is_dangling(const IpsecAlg& shard, const Peer& peer) {
  const auto until = dangles_until(shard, peer);
  return until && until->later_than(shard.now);
}

bool does_another_dangle(IpsecAlg& shard, Gate& gate, PeerId except) {
  for (PeerId id = gate.dangling.first; id != state::kNone;) {
    const Peer& peer = shard.alg.peers[id];
    const PeerId next = peer.of_dangling.next;
    if (!is_dangling(shard, peer)) {
      unset_dangling(shard, gate, id);
    } else if (id != except) {
      return true;
    }
    id = next;
  }
  return false;
}

bool is_owed_any(const Context& shard, const Peer& peer) {
  return !peer.owed.empty() ||
         (peer.awaited != 0 && peer.dangles_until && peer.dangles_until->later_than(shard.now));
}

bool is_another_owed(const IpsecAlg& shard, const Gate& gate, PeerId except) {
  const PeerId first = gate.owed.first;
  if (first == state::kNone) return false;
  return first != except || shard.alg.peers[first].of_owed.next != state::kNone;
}

void update_claimant(IpsecAlg& shard, PeerId id) {
  Tables& tables = shard.alg;
  Peer& peer = tables.peers[id];
  Gate& gate = gate_in_hand(tables, peer.gate);
  const auto enter = [&](bool wanted, bool& is_there, state::ListHead& list, auto&& links) {
    if (wanted == is_there) return;
    is_there = wanted;
    if (wanted) {
      state::list_push(list, id, links);
    } else {
      state::list_remove(list, id, links);
    }
  };
  enter(!peer.owed.empty(), peer.is_owed, gate.owed, tables.owed_links());
  enter(!peer.half_open[Direction::kOutbound].empty(), peer.is_claimant, gate.claimants,
        tables.claimant_links());
}

void end_lingering(IpsecAlg& shard, GateId id) {
  Gate& gate = gate_in_hand(shard.alg, id);
  const PeerId holder = gate.lingering.holder;
  if (holder == state::kNone) return;
  close_candidates(shard, gate.lingering);
  gate.lingering = Turn{};
  lower(shard, shard.alg.peers[holder].profile, AlgGauge::kLingering);
  mark_unused(shard, holder);
}

void schedule_gate(IpsecAlg& shard, GateId id) {
  Tables& tables = shard.alg;
  const Gate& gate = tables.gates[id];
  std::optional<state::Ticks> next;
  const auto consider = [&](state::Ticks when) {
    if (!next || next->later_than(when)) next = when;
  };
  if (gate.state != GateState::kClosed) {
    consider(deadline_of(shard, gate.turn));
    if (const auto when = shortened(gate)) consider(*when);
    if (watches_old_session(gate)) consider(gate.turn.old_checked + kOldSpiStep);
  }
  if (gate.kept_for != state::kNone) consider(gate.kept_until);
  if (gate.lingering.holder != state::kNone) consider(deadline_of(shard, gate.lingering));
  if (gate.dangling.first != state::kNone)
    consider(dangles_until(shard, tables.peers[gate.dangling.first]).value_or(shard.now));
  tables.gate_wheel.cancel(id, tables.gate_wheel_links());
  if (next) tables.gate_wheel.schedule(id, *next, tables.gate_wheel_links());
}

void expire_gates(IpsecAlg& shard, std::size_t budget) {
  Tables& tables = shard.alg;
  tables.gate_wheel.advance(shard.now, budget, tables.gate_wheel_links(),
                            [&](std::uint32_t id) -> std::optional<state::Ticks> {
                              forget_dangling(shard, current_gate(shard, id));
                              schedule_gate(shard, id);
                              return std::nullopt;  // it is armed again if there is something left
                            });
}

}  // namespace lsn::datapath::ipsec_alg
