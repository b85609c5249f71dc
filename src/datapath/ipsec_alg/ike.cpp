#include "lsn/datapath/ipsec_alg/ike.hpp"

#include <algorithm>
#include <utility>

#include "lsn/datapath/ipsec_alg/esp.hpp"
#include "lsn/datapath/ipsec_alg/holding.hpp"
#include "lsn/datapath/ipsec_alg/journal.hpp"
#include "lsn/datapath/ipsec_alg/keys.hpp"
#include "lsn/datapath/ipsec_alg/peers.hpp"
#include "lsn/datapath/ipsec_alg/turns.hpp"

namespace lsn::datapath::ipsec_alg {
namespace {

namespace exchange = wire::ike_exchange;

/// Design 4.9, always watched: the first request of the IKE SA's initiator has message ID 0 in
/// IKE_SA_INIT and, outside of phase 1, only if a CREATE_CHILD_SA exchange has created the SA (RFC
/// 7296 section 2.2). The responder's first request says nothing: its numbers begin with 0 anyway.
bool comes_from_a_rekey(const wire::IkeMessage& message) {
  return message.version == 2 && message.message_id == 0 && message.is_of_initiator() &&
         !message.is_response() && phase_of(message) != IkePhase::kOne;
}

/// The peer's latest CREATE_CHILD_SA that is still owed an SPI, of that initiator if one is named.
/// With such of several IKE SAs (two connections of a client) it is not known which it was: none.
ExchangeId latest_open_child(const Tables& tables, const Peer& peer,
                             std::optional<Direction> initiator) {
  ExchangeId latest = state::kNone;
  for (ExchangeId id = peer.owed.last; id != state::kNone; id = tables.exchanges[id].of_peer.prev) {
    const Exchange& e = tables.exchanges[id];
    if (e.name.kind != ExchangeKind::kCreateChild || (initiator && e.name.initiator != *initiator))
      continue;
    if (latest == state::kNone) latest = id;
    if (e.ike != tables.exchanges[latest].ike) return state::kNone;
  }
  return latest;
}

/// A new IKE SPI follows a CREATE_CHILD_SA: it has rekeyed the IKE SA, no ESP will come of it.
void follow_child(IpsecAlg& shard, PeerId peer, std::optional<Direction> initiator) {
  const ExchangeId child = latest_open_child(shard.alg, shard.alg.peers[peer], initiator);
  if (child != state::kNone) on_ike_rekey(shard, peer, child);
}

/// The port keeper that it is an exchange of; kNone: there is none.
IkeId session_with_open_child(const Tables& tables, const Peer& peer) {
  for (ExchangeId id = peer.owed.first; id != state::kNone;
       id = tables.exchanges[id].of_peer.next) {
    const Exchange& e = tables.exchanges[id];
    if (e.name.kind == ExchangeKind::kCreateChild && tables.ike_sessions[e.ike].keeps_port)
      return e.ike;
  }
  return state::kNone;
}

/// Puts an exchange on the list of its peer that its state asks for, or takes it off.
void enter_peers_list(IpsecAlg& shard, ExchangeId id) {
  Tables& tables = shard.alg;
  const Exchange& e = tables.exchanges[id];
  const PeerId peer_id = tables.ike_sessions[e.ike].peer;
  Peer& peer = tables.peers[peer_id];
  if (e.is_owed()) {
    state::queue_push(peer.owed, id, tables.peer_exchange_links());
    ++peer.owed_count;
    update_claimant(shard, peer_id);
  } else if (e.is_undecided()) {
    state::queue_push(peer.undecided, id, tables.peer_exchange_links());
  }
}
void leave_peers_list(IpsecAlg& shard, ExchangeId id) {
  Tables& tables = shard.alg;
  const Exchange& e = tables.exchanges[id];
  const PeerId peer_id = tables.ike_sessions[e.ike].peer;
  Peer& peer = tables.peers[peer_id];
  if (e.is_owed()) {
    state::queue_remove(peer.owed, id, tables.peer_exchange_links());
    --peer.owed_count;
    update_claimant(shard, peer_id);
  } else if (e.is_undecided()) {
    state::queue_remove(peer.undecided, id, tables.peer_exchange_links());
  }
}

/// The session's last trace of an exchange goes.
void forget(IpsecAlg& shard, ExchangeId id) {
  Tables& tables = shard.alg;
  Exchange& e = tables.exchanges[id];
  IkeSession& session = tables.ike_sessions[e.ike];
  Gate& gate = gate_in_hand(tables, tables.peers[session.peer].gate);
  if (!e.settled) note_exchange(shard, id, true);
  leave_peers_list(shard, id);
  if (!e.answered) {
    --session.unanswered_exchanges;
    if (in_turn(gate, session.peer, e)) --gate.turn.unanswered;
  }
  state::queue_remove(session.exchanges, id, tables.exchange_links());
  --session.exchange_count;
  e = Exchange{};  // a caller that remembers its number finds that it is owed nothing
  tables.exchanges.release(id);
}

/// The exchange of a session that was silent for longest of those that `which` takes, or kNone.
template <class Which>
ExchangeId oldest(const Tables& tables, const IkeSession& session, Which&& which) {
  for (ExchangeId id = session.exchanges.first; id != state::kNone;
       id = tables.exchanges[id].of_session.next)
    if (which(tables.exchanges[id])) return id;
  return state::kNone;
}

/// It is answered and owed nothing: all that it is remembered for are retransmissions.
bool is_over(const Exchange& e) {
  return e.answered && e.settled;
}

/// Design 2: of the answered ones the last 8 are remembered; those that are owed an SPI, too.
void forget_answered(IpsecAlg& shard, IkeSession& session) {
  const Tables& tables = shard.alg;
  unsigned over = 0;
  for (ExchangeId id = session.exchanges.first; id != state::kNone;
       id = tables.exchanges[id].of_session.next)
    over += is_over(tables.exchanges[id]);
  for (; over > kAnsweredExchanges; --over) forget(shard, oldest(tables, session, is_over));
}

/// Whether a session has as many exchanges as it may.
bool is_at_its_limit(const IkeSession& session) {
  return session.unanswered_exchanges >= kUnansweredExchanges ||
         session.exchange_count >= kUnansweredExchanges + kAnsweredExchanges;
}

/// Whether something must be forgotten before a session remembers one more exchange.
bool is_full(const Tables& tables, const IkeSession& session) {
  return is_at_its_limit(session) || tables.exchanges.size() == tables.exchanges.capacity();
}

/// The exchange that a full session may forget for a newer one: one that is over; one that is
/// answered; one without an answer for so long that no peer waits for it any more. kNone: there is
/// none.
ExchangeId dispensable(const IpsecAlg& shard, const IkeSession& session) {
  const Tables& tables = shard.alg;
  if (session.unanswered_exchanges < kUnansweredExchanges) {
    if (const ExchangeId id = oldest(tables, session, is_over); id != state::kNone) return id;
    const auto answered = [](const Exchange& e) { return e.answered; };
    if (const ExchangeId id = oldest(tables, session, answered); id != state::kNone) return id;
  }
  const state::TickDuration patience = std::max<state::TickDuration>(
      2 * profile_of(shard, tables.peers[session.peer]).gate_timeout, kUnansweredIke);
  return oldest(tables, session, [&](const Exchange& e) {
    return !e.answered && !(e.admitted + patience).later_than(shard.now);
  });
}

/// ikePreservePort: the server's messages name the session by its initiator SPI. If two clients
/// chose the same one it stays the first one's.
void enter_port_keepers(Tables& tables, IkeId id) {
  IkeSession& session = tables.ike_sessions[id];
  const GateId gate = tables.peers[session.peer].gate;
  const state::FlowKey key = port_keeper_key(gate, session.initiator);
  const std::uint32_t hash = tables.index.hash(key);
  if (tables.index.find(key, hash) != state::kNone || !tables.index.insert(key, hash, id)) return;
  session.keeps_port = true;
  ++gate_in_hand(tables, gate).port_keepers;
}

void leave_port_keepers(Tables& tables, IkeId id) {
  const IkeSession& session = tables.ike_sessions[id];
  if (!session.keeps_port) return;
  const GateId gate = tables.peers[session.peer].gate;
  const state::FlowKey key = port_keeper_key(gate, session.initiator);
  tables.index.erase(key, tables.index.hash(key));
  --gate_in_hand(tables, gate).port_keepers;
}

/// Design 6: the session that is replaced at a client's limit, the one that was silent for longest
/// of those without a purpose. One that the client itself has never sent a message of goes first,
/// and a message from outside replaces nothing else.
IkeId replaceable(const IpsecAlg& shard, const Client& client, Direction cause) {
  const Tables& tables = shard.alg;
  const auto first = [&](auto&& is_wanted, Owed owed = Owed::kForHoweverLong) {
    for (IkeId id = client.ike_sessions.first; id != state::kNone;
         id = tables.ike_sessions[id].of_client.next)
      if (is_wanted(tables.ike_sessions[id]) && !has_purpose(shard, id, owed)) return id;
    return state::kNone;
  };
  const IkeId foreign =
      first([](const IkeSession& session) { return !session.heard[Direction::kOutbound]; });
  if (foreign != state::kNone || cause == Direction::kInbound) return foreign;
  const auto any = [](const IkeSession&) { return true; };
  const IkeId idle = first(any);
  // An SPI that has been owed for long is a weaker claim than that of a client which asks now.
  return idle != state::kNone ? idle : first(any, Owed::kLately);
}

/// Room for one more session of the client.
bool make_room(IpsecAlg& shard, const Client& client, Direction cause) {
  if (client.ike_count < kIkeSessionsPerSubscriber) return true;
  const IkeId id = replaceable(shard, client, cause);
  if (id == state::kNone) return false;
  end_ike_session(shard, id, AlgEnd::kReplaced);
  return true;
}

IkeId create(IpsecAlg& shard, PeerId peer_id, const wire::IkeMessage& message, Direction direction,
             const lsn44::Session& udp) {
  Tables& tables = shard.alg;
  Peer& peer = tables.peers[peer_id];
  const wire::Be16 inside_port = udp.inside_port;
  Client& client = tables.clients[peer.subscriber];
  if (!make_room(shard, client, direction)) return state::kNone;
  const IkeId id = tables.ike_sessions.allocate();
  if (id == state::kNone) return state::kNone;
  const state::FlowKey key = ike_key(peer_id, message.initiator);
  if (!tables.index.insert(key, tables.index.hash(key), id)) {
    tables.ike_sessions.release(id);
    return state::kNone;
  }
  IkeSession& session = tables.ike_sessions[id];
  session.initiator = message.initiator;
  session.peer = peer_id;
  session.last_message = shard.now;
  session.inside_port = inside_port;
  session.nat_port = udp.nat_port;
  session.version = message.version;
  session.in_use = true;
  session.began_midway = phase_of(message) != IkePhase::kOne;
  if (lsn44::preserves_port(udp)) enter_port_keepers(tables, id);
  state::list_push(peer.ike_sessions, id, tables.ike_links());
  state::queue_push(client.ike_sessions, id, tables.client_ike_links());
  ++peer.ike_count;
  ++client.ike_count;
  tables.ike_wheel.schedule(id, shard.now + kUnansweredIke, tables.ike_wheel_links());
  count(shard, peer.profile, AlgCounter::kIkeSessionsCreated);
  raise(shard, peer.profile, AlgGauge::kIkeSessions);
  Event event = event_of(shard, EventKind::kIkeSessionCreated, peer);
  event.initiator = message.initiator;
  tables.events.put(event);
  note_ike_session(shard, id, false, &udp);
  return id;
}

}  // namespace

IkePhase phase_of(const wire::IkeMessage& message) {
  if (message.version == 1) {
    switch (message.exchange) {
      case exchange::kMainMode:
      case exchange::kAggressive:
        return IkePhase::kOne;
      case exchange::kQuickMode:
        return IkePhase::kTwo;
      case exchange::kInformational1:
      case exchange::kTransaction:
      case exchange::kNewGroup:
        return IkePhase::kNeither;
      default:
        return IkePhase::kUnlisted;
    }
  }
  switch (message.exchange) {
    case exchange::kSaInit:
    case exchange::kIntermediate:
    case exchange::kSessionResume:
      return IkePhase::kOne;
    case exchange::kAuth:
    case exchange::kCreateChildSa:
    case exchange::kFollowupKe:
      return IkePhase::kTwo;
    case exchange::kInformational2:
      return IkePhase::kNeither;
    default:
      return IkePhase::kUnlisted;
  }
}

IkeId find_ike_session(const IpsecAlg& shard, PeerId peer, wire::IkeSpi initiator) {
  const state::FlowKey key = ike_key(peer, initiator);
  return shard.alg.index.find(key, shard.alg.index.hash(key));
}

bool has_purpose(const IpsecAlg& shard, IkeId id, Owed owed) {
  const IkeSession& session = shard.alg.ike_sessions[id];
  const Peer& peer = shard.alg.peers[session.peer];
  if (session.esp_count != 0 || has_flight(shard, session.peer, id)) return true;
  const Gate& gate = shard.alg.gates[peer.gate];
  const state::TickDuration lasts = 2 * profile_of(shard, peer).gate_timeout;
  for (ExchangeId exchange = session.exchanges.first; exchange != state::kNone;
       exchange = shard.alg.exchanges[exchange].of_session.next) {
    const Exchange& e = shard.alg.exchanges[exchange];
    if (in_turn(gate, session.peer, e)) return true;
    if (e.is_owed() &&
        (owed == Owed::kForHoweverLong || (e.first_answer + lasts).later_than(shard.now)))
      return true;
  }
  return false;
}

IkeId track(IpsecAlg& shard, PeerId peer_id, const wire::IkeMessage& message, Direction direction,
            const lsn44::Session& udp) {
  Tables& tables = shard.alg;
  IkeId id = find_ike_session(shard, peer_id, message.initiator);
  if (id == state::kNone) {
    id = create(shard, peer_id, message, direction, udp);
    if (id == state::kNone) return id;
    // Design 7: it came here because of that exchange.
    if (tables.ike_sessions[id].keeps_port && tables.ike_sessions[id].began_midway &&
        direction == Direction::kInbound)
      follow_child(shard, peer_id, std::nullopt);
  } else {
    Client& client = tables.clients[tables.peers[peer_id].subscriber];
    state::queue_remove(client.ike_sessions, id, tables.client_ike_links());
    state::queue_push(client.ike_sessions, id, tables.client_ike_links());
  }
  touch(shard, peer_id);
  IkeSession& session = tables.ike_sessions[id];
  session.last_message = shard.now;
  // A client may come from another port, for example after its own NAT forgot the old one, or by
  // another mapping.
  if (direction == Direction::kOutbound &&
      (session.inside_port != udp.inside_port || session.nat_port != udp.nat_port)) {
    session.inside_port = udp.inside_port;
    session.nat_port = udp.nat_port;
    if (session.is_answered()) {
      keep_port(shard, peer_id, session.inside_port);
      note_ike_session(shard, id, false, &udp);
    }
  }
  if (session.responder == wire::kNoIkeSpi) session.responder = message.responder;
  if (session.began_midway && comes_from_a_rekey(message)) {
    session.began_midway = false;
    follow_child(shard, peer_id, direction);
  }
  if (!session.heard[direction]) {
    session.heard[direction] = true;
    if (session.is_answered()) {
      keep_port(shard, peer_id, session.inside_port);
      note_ike_session(shard, id, false, &udp);
    }
  }
  return id;
}

ExchangeName name_of(IkeSession& session, const wire::IkeMessage& message, Direction direction) {
  if (message.version == 1) {
    auto& fragmented = session.fragmented[direction];
    if (message.is_nameless_fragment()) {
      if (!fragmented.known || fragmented.fragment_id != message.fragment_id) return {};
      return {ExchangeKind::kQuickMode, direction, fragmented.message_id};
    }
    if (message.fragment) fragmented = {message.message_id, message.fragment_id, true};
    // All three messages bear the same ID: the first one that is seen tells the initiator.
    return {ExchangeKind::kQuickMode, direction, message.message_id};
  }
  const Direction initiator = message.is_response() ? opposite(direction) : direction;
  if (message.exchange == exchange::kAuth) return {ExchangeKind::kAuth, initiator, 0};
  return {ExchangeKind::kCreateChild, initiator, message.message_id};
}

ExchangeId find_exchange(const IpsecAlg& shard, const IkeSession& session, const ExchangeName& name,
                         const wire::IkeMessage& message) {
  const Tables& tables = shard.alg;
  const bool followup = message.version == 2 && message.exchange == exchange::kFollowupKe;
  ExchangeId latest = state::kNone;
  for (ExchangeId id = session.exchanges.last; id != state::kNone;
       id = tables.exchanges[id].of_session.prev) {
    const Exchange& known = tables.exchanges[id];
    if (!followup) {
      if (same_exchange(known.name, name)) return id;
      continue;
    }
    if (known.name.kind == name.kind && known.name.initiator == name.initiator &&
        (latest == state::kNone || known.admitted.later_than(tables.exchanges[latest].admitted)))
      latest = id;
  }
  return latest;
}

void touch_exchange(IpsecAlg& shard, ExchangeId id) {
  Tables& tables = shard.alg;
  IkeSession& session = tables.ike_sessions[tables.exchanges[id].ike];
  if (session.exchanges.last == id) return;
  state::queue_remove(session.exchanges, id, tables.exchange_links());
  state::queue_push(session.exchanges, id, tables.exchange_links());
}

bool has_room(const IpsecAlg& shard, const IkeSession& session) {
  return !is_full(shard.alg, session) || dispensable(shard, session) != state::kNone;
}

bool lacks_room_in_table(const IpsecAlg& shard, const IkeSession& session) {
  return !is_at_its_limit(session) && !has_room(shard, session);
}

ExchangeId add_exchange(IpsecAlg& shard, IkeId ike, const ExchangeName& name,
                        std::uint32_t message_id) {
  Tables& tables = shard.alg;
  IkeSession& session = tables.ike_sessions[ike];
  forget_answered(shard, session);
  if (is_full(tables, session)) {
    const ExchangeId other = dispensable(shard, session);
    if (other == state::kNone) return other;
    forget(shard, other);
  }
  const ExchangeId id = tables.exchanges.allocate();
  Exchange& e = tables.exchanges[id];
  e.name = name;
  e.latest_request = message_id;
  e.ike = ike;
  e.admitted = shard.now;
  state::queue_push(session.exchanges, id, tables.exchange_links());
  ++session.exchange_count;
  ++session.unanswered_exchanges;
  enter_peers_list(shard, id);
  note_exchange(shard, id, false);
  count(shard, tables.peers[session.peer].profile, AlgCounter::kExchangesAdmitted);
  return id;
}

void mark_answered(IpsecAlg& shard, ExchangeId id) {
  Exchange& e = shard.alg.exchanges[id];
  IkeSession& session = shard.alg.ike_sessions[e.ike];
  if (!e.answered) --session.unanswered_exchanges;
  touch_exchange(shard, id);
  e.answered = true;
  count(shard, shard.alg.peers[session.peer].profile, AlgCounter::kExchangesAnswered);
  if (!e.claims) {
    // If it had been given up, it was too early: its server asked again, and SAs there are.
    leave_peers_list(shard, id);
    e.settled = false;
    e.claims = true;
    e.first_answer = shard.now;
    enter_peers_list(shard, id);
    note_exchange(shard, id, false);
  }
}

void mark_unanswered(IpsecAlg& shard, ExchangeId id) {
  Exchange& e = shard.alg.exchanges[id];
  if (e.answered) ++shard.alg.ike_sessions[e.ike].unanswered_exchanges;
  e.answered = false;
}

void mark_settled(IpsecAlg& shard, ExchangeId id) {
  Exchange& e = shard.alg.exchanges[id];
  if (e.settled) return;
  leave_peers_list(shard, id);
  e.settled = true;
  note_exchange(shard, id, true);
}

void unsettle(IpsecAlg& shard, ExchangeId id) {
  Exchange& e = shard.alg.exchanges[id];
  if (!e.settled) return;
  e.settled = e.went_on = false;
  enter_peers_list(shard, id);
  note_exchange(shard, id, false);
}

ExchangeId settle_one(IpsecAlg& shard, PeerId peer_id, std::uint32_t turn, state::Ticks began) {
  const Tables& tables = shard.alg;
  const Peer& peer = tables.peers[peer_id];
  // Of the turn the earliest, of those before it the latest: earlier ones were given up.
  ExchangeId chosen = state::kNone;
  for (ExchangeId id = peer.owed.first; id != state::kNone;
       id = tables.exchanges[id].of_peer.next) {
    const Exchange& e = tables.exchanges[id];
    if (e.admitted.later_than(began)) continue;
    chosen = id;
    if (e.turn == turn) break;
  }
  if (chosen == state::kNone) return chosen;
  mark_settled(shard, chosen);
  return chosen;
}

void settle_session(IpsecAlg& shard, IkeId id) {
  const Tables& tables = shard.alg;
  for (ExchangeId e = tables.ike_sessions[id].exchanges.first; e != state::kNone;
       e = tables.exchanges[e].of_session.next)
    mark_settled(shard, e);
}

bool settle_older(IpsecAlg& shard, PeerId peer_id, std::uint32_t turn) {
  const Tables& tables = shard.alg;
  const Peer& peer = tables.peers[peer_id];
  const state::TickDuration lasts = 2 * profile_of(shard, peer).gate_timeout;
  bool was_owed = false;
  for (IkeId ike = peer.ike_sessions.first; ike != state::kNone;
       ike = tables.ike_sessions[ike].of_peer.next) {
    const IkeSession& session = tables.ike_sessions[ike];
    std::optional<state::Ticks> newest;  // of the turn
    for (ExchangeId id = session.exchanges.first; id != state::kNone;
         id = tables.exchanges[id].of_session.next) {
      const Exchange& e = tables.exchanges[id];
      if (e.turn == turn && e.claims && (!newest || e.admitted.later_than(*newest)))
        newest = e.admitted;
    }
    if (!newest) continue;
    for (ExchangeId id = session.exchanges.first; id != state::kNone;
         id = tables.exchanges[id].of_session.next) {
      const Exchange& e = tables.exchanges[id];
      if (e.turn == turn || e.admitted.later_than(*newest)) continue;
      if (e.is_owed()) {
        was_owed = true;
        // Its server may speak first, and late: as long as its client dangles, and if an SPI came
        // since that may be it.
        if (!(e.admitted + 2 * lasts).later_than(shard.now) &&
            !has_refused_since(tables, tables.gates[peer.gate], e.admitted))
          mark_settled(shard, id);
      } else if (e.is_undecided() && !(e.admitted + lasts).later_than(shard.now)) {
        // An answer that was lost before it came to the NAT may still bring an SPI for as long.
        mark_settled(shard, id);
      }
    }
  }
  return was_owed;
}

bool has_answered_ike(const IpsecAlg& shard, const Peer& peer) {
  for (IkeId id = peer.ike_sessions.first; id != state::kNone;
       id = shard.alg.ike_sessions[id].of_peer.next)
    if (shard.alg.ike_sessions[id].is_answered()) return true;
  return false;
}

void end_floated(IpsecAlg& shard, IkeId id) {
  settle_session(shard, id);
  count(shard, shard.alg.peers[shard.alg.ike_sessions[id].peer].profile, AlgCounter::kIkeFloats);
  end_ike_session(shard, id, AlgEnd::kFloated);
}

state::Ticks ike_deadline(const IpsecAlg& shard, const IkeSession& session) {
  const Peer& peer = shard.alg.peers[session.peer];
  return session.last_message +
         (session.is_answered() ? profile_of(shard, peer).ike_session_timeout : kUnansweredIke);
}

void end_ike_session(IpsecAlg& shard, IkeId id, AlgEnd why) {
  Tables& tables = shard.alg;
  IkeSession& session = tables.ike_sessions[id];
  const PeerId peer_id = session.peer;
  Peer& peer = tables.peers[peer_id];
  Client& client = tables.clients[peer.subscriber];
  note_ike_session(shard, id, true);
  remove_flights(shard, peer_id, id, DropReason::kIkeHeldFlushed);
  while (!session.exchanges.empty()) forget(shard, session.exchanges.first);
  for (EspId esp = peer.esp_sessions.first; esp != state::kNone && session.esp_count != 0;
       esp = tables.esp_sessions[esp].of_peer.next)
    if (tables.esp_sessions[esp].ike == id)
      note_bearer(tables, tables.esp_sessions[esp], state::kNone);
  tables.ike_wheel.cancel(id, tables.ike_wheel_links());
  state::queue_remove(client.ike_sessions, id, tables.client_ike_links());
  state::list_remove(peer.ike_sessions, id, tables.ike_links());
  const state::FlowKey key = ike_key(peer_id, session.initiator);
  tables.index.erase(key, tables.index.hash(key));
  leave_port_keepers(tables, id);
  --peer.ike_count;
  --client.ike_count;
  if (why == AlgEnd::kExpired) count(shard, peer.profile, AlgCounter::kIkeSessionsExpired);
  if (why == AlgEnd::kReplaced) count(shard, peer.profile, AlgCounter::kIkeSessionsReplaced);
  lower(shard, peer.profile, AlgGauge::kIkeSessions);
  Event event = event_of(shard, EventKind::kIkeSessionEnded, peer);
  event.why = static_cast<std::uint8_t>(why);
  event.initiator = session.initiator;
  tables.events.put(event);
  session.in_use = false;
  tables.ike_sessions.release(id);
  mark_unused(shard, peer_id);
}

void keep_port(IpsecAlg& shard, PeerId id, wire::Be16 port, bool bore_esp) {
  Peer& peer = shard.alg.peers[id];
  if (peer.keeps_port(port)) return;
  // One that bore ESP is needed longest.
  const auto next = [&] {
    const std::uint8_t n = peer.next_ike_port;
    peer.next_ike_port = static_cast<std::uint8_t>((n + 1u) % kKeptPorts);
    return n;
  };
  const auto find = [&](auto&& may_go) {
    for (std::uint32_t i = 0; i < kKeptPorts; ++i)
      if (const std::uint8_t n = next(); may_go(peer.ike_ports[n])) return std::optional{n};
    return std::optional<std::uint8_t>{};
  };
  auto free = find([](const Peer::KeptPort& kept) { return kept.port.raw() == 0; });
  if (!free) free = find([](const Peer::KeptPort& kept) { return !kept.bore_esp; });
  const std::uint8_t chosen = free ? *free : next();
  Peer::KeptPort& place = peer.ike_ports[chosen];
  if (place.port.raw() != 0) note_mapping_gone(shard, id, place.port);
  place = {port, bore_esp};
  note_mapping(shard, id, port);
}

void port_bore_esp(Tables& tables, IkeId ike) {
  const IkeSession& session = tables.ike_sessions[ike];
  for (Peer::KeptPort& kept : tables.peers[session.peer].ike_ports)
    if (kept.port == session.inside_port) kept.bore_esp = true;
}

void on_mapping_end(IpsecAlg& shard, const lsn44::Session& session) {
  const PeerId id = find_peer(shard, lsn44::inside_of(shard, session), session.remote_ip);
  if (id == state::kNone) return;
  for (Peer::KeptPort& kept : shard.alg.peers[id].ike_ports) {
    if (kept.port != session.inside_port) continue;
    note_mapping_gone(shard, id, kept.port);
    kept = {};
  }
}

IkeId find_port_keeper(IpsecAlg& shard, GateId gate_id, wire::IkeSpi initiator) {
  Tables& tables = shard.alg;
  const state::FlowKey key = port_keeper_key(gate_id, initiator);
  if (const IkeId id = tables.index.find(key, tables.index.hash(key)); id != state::kNone)
    return id;
  // A new SPI, seen from the server first: it is of the only client whose CREATE_CHILD_SA may have
  // rekeyed the IKE SA.
  IkeId sole = state::kNone;
  unsigned looked = 0;
  for (PeerId peer = tables.gates[gate_id].owed.first; peer != state::kNone;
       peer = tables.peers[peer].of_owed.next) {
    if (++looked > kLookLimit) return state::kNone;
    const IkeId open = session_with_open_child(tables, tables.peers[peer]);
    if (open == state::kNone) continue;
    if (sole != state::kNone) return state::kNone;
    sole = open;
  }
  return sole;
}

void expire_ike_sessions(IpsecAlg& shard, std::size_t budget) {
  Tables& tables = shard.alg;
  tables.ike_wheel.advance(shard.now, budget, tables.ike_wheel_links(),
                           [&](std::uint32_t id) -> std::optional<state::Ticks> {
                             const state::Ticks deadline =
                                 ike_deadline(shard, tables.ike_sessions[id]);
                             if (deadline.later_than(shard.now)) return deadline;
                             end_ike_session(shard, id, AlgEnd::kExpired);
                             return std::nullopt;
                           });
}

}  // namespace lsn::datapath::ipsec_alg
