#include "lsn/datapath/ipsec_alg/ike_tracker.hpp"

#include <utility>

#include "lsn/datapath/ipsec_alg/gates.hpp"
#include "lsn/datapath/ipsec_alg/holding.hpp"
#include "lsn/datapath/ipsec_alg/journal.hpp"
#include "lsn/datapath/ipsec_alg/keys.hpp"
#include "lsn/datapath/ipsec_alg/peers.hpp"

namespace lsn::datapath::ipsec_alg {
namespace {

namespace exchange = wire::ike_exchange;

/// The first message of a new phase 1, from whom wants the SA: the responder is not known yet.
bool begins_phase_one(const wire::IkeMessage& message) {
  return phase_of(message) == IkePhase::kOne && message.responder == wire::kNoIkeSpi &&
         !message.is_response();
}

/// Section 4.9, always watched: an IKEv2 SPI pair that begins in the middle of a conversation was
/// made by a CREATE_CHILD_SA exchange between the same two.
bool may_come_from_a_rekey(const wire::IkeMessage& message) {
  return message.version == 2 && message.responder != wire::kNoIkeSpi &&
         phase_of(message) != IkePhase::kOne;
}

/// An answered CREATE_CHILD_SA that still expects an SPI.
bool is_open_child(const Exchange& e) {
  return e.name.kind == ExchangeKind::kCreateChild && e.answered && !e.settled;
}

/// The peer's latest one.
Exchange* latest_open_child(Tables& tables, const Peer& peer) {
  Exchange* latest = nullptr;
  for (IkeId id = peer.ike_sessions.first; id != state::kNone;
       id = tables.ike_sessions[id].of_peer.next)
    for (Exchange& e : tables.ike_sessions[id].exchanges)
      if (is_open_child(e) &&
          (latest == nullptr || e.admitted.later_than(latest->admitted)))
        latest = &e;
  return latest;
}

/// The port keeper that it is an exchange of; kNone: there is none.
IkeId session_with_open_child(const Tables& tables, const Peer& peer) {
  for (IkeId id = peer.ike_sessions.first; id != state::kNone;
       id = tables.ike_sessions[id].of_peer.next) {
    const IkeSession& session = tables.ike_sessions[id];
    if (!session.keeps_port) continue;
    for (const Exchange& e : session.exchanges)
      if (is_open_child(e)) return id;
  }
  return state::kNone;
}

/// Section 3: a client that lost its state begins phase 1 anew, from the same port.
bool has_session_from(const Tables& tables, const Peer& peer, wire::Be16 inside_port) {
  for (IkeId id = peer.ike_sessions.first; id != state::kNone;
       id = tables.ike_sessions[id].of_peer.next)
    if (tables.ike_sessions[id].inside_port == inside_port) return true;
  return false;
}

/// The session's last trace of an exchange goes.
void forget(Shard& shard, PeerId peer_id, Exchange& e) {
  if (e.name.kind == ExchangeKind::kNone) return;
  mark_settled(shard, peer_id, e);
  Peer& peer = shard.alg.peers[peer_id];
  Gate& gate = shard.alg.gates[peer.gate];
  if (!e.answered && in_turn(gate, peer_id, e)) --gate.turn.unanswered;
  e = Exchange{};
}

/// ikePreservePort: the server's messages name the session by its initiator SPI. If two clients chose
/// the same one it stays the first one's.
void enter_port_keepers(Tables& tables, IkeId id) {
  IkeSession& session = tables.ike_sessions[id];
  const GateId gate = tables.peers[session.peer].gate;
  const state::FlowKey key = port_keeper_key(gate, session.initiator);
  const std::uint32_t hash = tables.index.hash(key);
  if (tables.index.find(key, hash) != state::kNone || !tables.index.insert(key, hash, id)) return;
  session.keeps_port = true;
  ++tables.gates[gate].port_keepers;
}

void leave_port_keepers(Tables& tables, IkeId id) {
  const IkeSession& session = tables.ike_sessions[id];
  if (!session.keeps_port) return;
  const GateId gate = tables.peers[session.peer].gate;
  const state::FlowKey key = port_keeper_key(gate, session.initiator);
  tables.index.erase(key, tables.index.hash(key));
  --tables.gates[gate].port_keepers;
}

/// Section 6: the session that is replaced at a client's limit, the one that was silent for longest
/// of those without a purpose. What the client itself has never sent a message of goes first, and a
/// message from outside replaces nothing else.
IkeId replaceable(const Shard& shard, const Client& client, Direction cause) {
  const Tables& tables = shard.alg;
  const auto first = [&](auto&& is_wanted) {
    for (IkeId id = client.ike_sessions.first; id != state::kNone;
         id = tables.ike_sessions[id].of_client.next)
      if (is_wanted(tables.ike_sessions[id]) && !has_purpose(shard, id)) return id;
    return state::kNone;
  };
  const IkeId foreign = first(
      [](const IkeSession& session) { return !session.heard[at(Direction::kOutbound)]; });
  if (foreign != state::kNone || cause == Direction::kInbound) return foreign;
  return first([](const IkeSession&) { return true; });
}

/// Room for one more session of the client.
bool make_room(Shard& shard, const Client& client, Direction cause) {
  if (client.ike_count < kIkeSessionsPerSubscriber) return true;
  const IkeId id = replaceable(shard, client, cause);
  if (id == state::kNone) return false;
  end_ike_session(shard, id, AlgEnd::kReplaced);
  return true;
}

IkeId create(Shard& shard, PeerId peer_id, const wire::IkeMessage& message, Direction direction,
             const lsn44::Session& udp) {
  Tables& tables = shard.alg;
  Peer& peer = tables.peers[peer_id];
  const wire::Be16 inside_port = udp.inside_port;
  Client& client = tables.clients[peer.subscriber];
  const bool restart = direction == Direction::kOutbound && begins_phase_one(message) &&
                       has_session_from(tables, peer, inside_port);
  Exchange* rekey = peer.claims != 0 && may_come_from_a_rekey(message)
                        ? latest_open_child(tables, peer)
                        : nullptr;
  if (rekey != nullptr) ike_rekeyed(shard, peer_id, *rekey);

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
  if (lsn44::keeps_port(udp)) enter_port_keepers(tables, id);
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
  note_ike_session(shard, id, false);
  if (restart) {
    count(shard, peer.profile, AlgCounter::kIkeRestarts);
    for (IkeId old = peer.ike_sessions.first; old != state::kNone;
         old = tables.ike_sessions[old].of_peer.next)
      if (old != id && tables.ike_sessions[old].inside_port == inside_port)
        settle_session(shard, old);
    restarted(shard, peer_id);
  }
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

IkeId find_ike_session(const Shard& shard, PeerId peer, wire::IkeSpi initiator) {
  const state::FlowKey key = ike_key(peer, initiator);
  return shard.alg.index.find(key, shard.alg.index.hash(key));
}

bool has_purpose(const Shard& shard, IkeId id) {
  const IkeSession& session = shard.alg.ike_sessions[id];
  const Peer& peer = shard.alg.peers[session.peer];
  if ((session.bore_esp && peer.esp_count != 0) || has_flight(shard, session.peer, id)) return true;
  const Gate& gate = shard.alg.gates[peer.gate];
  for (const Exchange& e : session.exchanges)
    if (e.name.kind != ExchangeKind::kNone &&
        (in_turn(gate, session.peer, e) || (e.claims && !e.settled)))
      return true;
  return false;
}

IkeId track(Shard& shard, PeerId peer_id, const wire::IkeMessage& message, Direction direction,
            const lsn44::Session& udp) {
  Tables& tables = shard.alg;
  IkeId id = find_ike_session(shard, peer_id, message.initiator);
  if (id == state::kNone) {
    id = create(shard, peer_id, message, direction, udp);
    if (id == state::kNone) return id;
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
      note_ike_session(shard, id, false);
    }
  }
  if (session.responder == wire::kNoIkeSpi) session.responder = message.responder;
  if (!session.heard[at(direction)]) {
    session.heard[at(direction)] = true;
    if (session.is_answered()) {
      keep_port(shard, peer_id, session.inside_port);
      note_ike_session(shard, id, false);
    }
  }
  return id;
}

ExchangeName name_of(IkeSession& session, const wire::IkeMessage& message, Direction direction) {
  if (message.version == 1) {
    auto& fragmented = session.fragmented[at(direction)];
    if (message.is_nameless_fragment()) {
      if (!fragmented.known || fragmented.fragment_id != message.fragment_id) return {};
      return {ExchangeKind::kQuickMode, direction, fragmented.message_id};
    }
    if (message.fragment)
      fragmented = {message.message_id, message.fragment_id, true};
    // All three messages bear the same ID: the first one that is seen says who began.
    return {ExchangeKind::kQuickMode, direction, message.message_id};
  }
  const Direction initiator = message.is_response() ? opposite(direction) : direction;
  if (message.exchange == exchange::kAuth) return {ExchangeKind::kAuth, initiator, 0};
  return {ExchangeKind::kCreateChild, initiator, message.message_id};
}

Exchange* find_exchange(IkeSession& session, const ExchangeName& name,
                        const wire::IkeMessage& message) {
  const bool followup = message.version == 2 && message.exchange == exchange::kFollowupKe;
  Exchange* found = nullptr;
  for (Exchange& e : session.exchanges) {
    if (e.name.kind != name.kind) continue;
    if (followup) {
      if (e.name.initiator == name.initiator &&
          (found == nullptr || e.admitted.later_than(found->admitted) ||
           (e.admitted == found->admitted && e.name.message_id > found->name.message_id)))
        found = &e;
    } else if (same_exchange(e.name, name)) {
      return &e;
    }
  }
  return found;
}

Exchange& add_exchange(Shard& shard, IkeId id, const ExchangeName& name,
                       std::uint32_t message_id) {
  IkeSession& session = shard.alg.ike_sessions[id];
  Exchange& slot = session.exchanges[session.next_exchange];
  session.next_exchange =
      static_cast<std::uint8_t>((session.next_exchange + 1u) % kRememberedExchanges);
  forget(shard, session.peer, slot);
  Peer& peer = shard.alg.peers[session.peer];
  slot.name = name;
  slot.latest_request = message_id;
  slot.admitted = shard.now;
  if (peer.unsettled++ == 0) peer.unsettled_since = shard.now;
  count(shard, peer.profile, AlgCounter::kExchangesAdmitted);
  return slot;
}

void mark_answered(Shard& shard, PeerId id, Exchange& e) {
  e.answered = true;
  Peer& peer = shard.alg.peers[id];
  count(shard, peer.profile, AlgCounter::kExchangesAnswered);
  if (std::exchange(e.claims, true) || e.settled) return;
  ++peer.claims;
  update_claimant(shard, id);
}

void mark_settled(Shard& shard, PeerId id, Exchange& e) {
  if (e.settled) return;
  e.settled = true;
  Peer& peer = shard.alg.peers[id];
  --peer.unsettled;
  if (!e.claims) return;
  --peer.claims;
  update_claimant(shard, id);
}

void settle_one_claim(Shard& shard, PeerId id, std::uint32_t turn) {
  Tables& tables = shard.alg;
  Peer& peer = tables.peers[id];
  if (peer.claims == 0) return;
  // Of the turn the earliest, of those before it the latest: earlier ones were given up.
  Exchange* chosen = nullptr;
  IkeId chosen_of = state::kNone;
  for (IkeId ike = peer.ike_sessions.first; ike != state::kNone;
       ike = tables.ike_sessions[ike].of_peer.next) {
    for (Exchange& e : tables.ike_sessions[ike].exchanges) {
      if (e.name.kind == ExchangeKind::kNone || !e.claims || e.settled) continue;
      const bool here = e.turn == turn;
      const bool is_better =
          chosen == nullptr ||
          (here != (chosen->turn == turn) ? here
                                          : here ? chosen->admitted.later_than(e.admitted)
                                                 : e.admitted.later_than(chosen->admitted));
      if (!is_better) continue;
      chosen = &e;
      chosen_of = ike;
    }
  }
  if (chosen == nullptr) return;
  tables.ike_sessions[chosen_of].bore_esp = true;
  mark_settled(shard, id, *chosen);
}

void settle_session(Shard& shard, IkeId id) {
  IkeSession& session = shard.alg.ike_sessions[id];
  for (Exchange& e : session.exchanges)
    if (e.name.kind != ExchangeKind::kNone) mark_settled(shard, session.peer, e);
}

void end_floated(Shard& shard, IkeId id) {
  settle_session(shard, id);
  count(shard, shard.alg.peers[shard.alg.ike_sessions[id].peer].profile, AlgCounter::kIkeFloats);
  end_ike_session(shard, id, AlgEnd::kFloated);
}

state::Ticks ike_deadline(const Shard& shard, const IkeSession& session) {
  const Peer& peer = shard.alg.peers[session.peer];
  return session.last_message + (session.is_answered()
                                     ? profile_of(shard, peer).ike_session_timeout
                                     : kUnansweredIke);
}

void end_ike_session(Shard& shard, IkeId id, AlgEnd why) {
  Tables& tables = shard.alg;
  IkeSession& session = tables.ike_sessions[id];
  const PeerId peer_id = session.peer;
  Peer& peer = tables.peers[peer_id];
  Client& client = tables.clients[peer.subscriber];
  note_ike_session(shard, id, true);
  remove_flights(shard, peer_id, id, DropReason::kIkeHeldFlushed);
  for (Exchange& e : session.exchanges) forget(shard, peer_id, e);
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
  doubt(shard, peer_id);
}

void keep_port(Shard& shard, PeerId id, wire::Be16 port) {
  Peer& peer = shard.alg.peers[id];
  for (const wire::Be16 kept : peer.ike_ports)
    if (kept == port) return;
  wire::Be16& place = peer.ike_ports[peer.next_ike_port];
  if (place.raw() != 0) note_mapping_gone(shard, id, place);
  place = port;
  peer.next_ike_port = static_cast<std::uint8_t>((peer.next_ike_port + 1u) % kKeptPorts);
  note_mapping(shard, id, port);
}

void mapping_ended(Shard& shard, const lsn44::Session& session) {
  const PeerId id = find_peer(shard, session.inside_ip, session.remote_ip);
  if (id == state::kNone) return;
  for (wire::Be16& kept : shard.alg.peers[id].ike_ports) {
    if (kept != session.inside_port) continue;
    note_mapping_gone(shard, id, kept);
    kept = wire::Be16{};
  }
}

IkeId find_port_keeper(Shard& shard, GateId gate_id, wire::IkeSpi initiator) {
  Tables& tables = shard.alg;
  const state::FlowKey key = port_keeper_key(gate_id, initiator);
  if (const IkeId id = tables.index.find(key, tables.index.hash(key)); id != state::kNone)
    return id;
  // A new SPI, seen from the server first: of whom a CREATE_CHILD_SA may have rekeyed the IKE SA.
  IkeId sole = state::kNone;
  unsigned looked = 0;
  for (PeerId peer = tables.gates[gate_id].claimants.first; peer != state::kNone;
       peer = tables.peers[peer].of_claimants.next) {
    if (++looked > kLookLimit) return state::kNone;
    const IkeId open = session_with_open_child(tables, tables.peers[peer]);
    if (open == state::kNone) continue;
    if (sole != state::kNone) return state::kNone;
    sole = open;
  }
  return sole;
}

void expire_ike_sessions(Shard& shard, std::size_t budget) {
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
