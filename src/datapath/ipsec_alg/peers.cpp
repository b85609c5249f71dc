#include "lsn/datapath/ipsec_alg/peers.hpp"

#include "lsn/datapath/ipsec_alg/esp.hpp"
#include "lsn/datapath/ipsec_alg/holding.hpp"
#include "lsn/datapath/ipsec_alg/ike.hpp"
#include "lsn/datapath/ipsec_alg/journal.hpp"
#include "lsn/datapath/ipsec_alg/keys.hpp"
#include "lsn/datapath/ipsec_alg/turns.hpp"
#include "lsn/datapath/lsn44/ports.hpp"
#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/datapath/lsn44/subscriber.hpp"

namespace lsn::datapath::ipsec_alg {
namespace {

/// Sessions of a client among which one looks for a mapping of its IKE, at its first ESP.
constexpr unsigned kMappingLookLimit = 256;
/// ESP sessions that one packet ends; a client of more waits for the sweep.
constexpr unsigned kEspEndedAtOnce = 1024;

std::expected<GateId, DropReason> obtain_gate(IpsecAlg& shard, wire::Be32 nat_ip,
                                              wire::Be32 server) {
  Tables& tables = shard.alg;
  const state::FlowKey key = gate_key(nat_ip, server);
  const std::uint32_t hash = tables.index.hash(key);
  if (const GateId known = tables.index.find(key, hash); known != state::kNone) return known;
  const GateId id = tables.gates.allocate();
  if (id == state::kNone) return std::unexpected(DropReason::kGateTableFull);
  if (!tables.index.insert(key, hash, id)) {
    tables.gates.release(id);
    return std::unexpected(DropReason::kGateTableFull);
  }
  Gate& gate = gate_in_hand(tables, id);
  gate.nat_ip = nat_ip;
  gate.server = server;
  gate.in_use = true;
  gate.created = shard.now;
  tables.counters.total.of(AlgGauge::kGates).add();
  return id;
}

void remove_gate(IpsecAlg& shard, GateId id) {
  Tables& tables = shard.alg;
  Gate& gate = gate_in_hand(tables, id);
  tables.gate_wheel.cancel(id, tables.gate_wheel_links());
  const state::FlowKey key = gate_key(gate.nat_ip, gate.server);
  tables.index.erase(key, tables.index.hash(key));
  gate.in_use = false;
  tables.gates.release(id);
  tables.counters.total.of(AlgGauge::kGates).subtract();
}

/// Whether something may still come of a peer.
bool peer_has_purpose(const IpsecAlg& shard, PeerId id) {
  const Tables& tables = shard.alg;
  const Peer& peer = tables.peers[id];
  if (peer.esp_count != 0 || peer.waiter != state::kNone || !peer.owed.empty() ||
      peer.is_dangling || holds(tables.gates[peer.gate], id))
    return true;
  return false;
}

/// Design 6: at a subscriber's limit of gates the one without a purpose whose IKE was silent for
/// longest is replaced.
void replace_silent_gate(IpsecAlg& shard, SubscriberId subscriber) {
  Tables& tables = shard.alg;
  for (PeerId id = tables.clients[subscriber].peers.first; id != state::kNone;
       id = tables.peers[id].of_client.next) {
    if (peer_has_purpose(shard, id)) continue;
    clear_peer(shard, id, AlgEnd::kReplaced);
    ++shard.lsn44.subscribers[subscriber].pins;  // the caller works on it
    release_unused(shard);
    --shard.lsn44.subscribers[subscriber].pins;
    return;
  }
}

bool is_needed(const IpsecAlg& shard, PeerId id) {
  const Peer& peer = shard.alg.peers[id];
  const Gate& gate = shard.alg.gates[peer.gate];
  return peer.ike_count != 0 || peer.esp_count != 0 || peer.waiter != state::kNone ||
         holds(gate, id) || gate.kept_for == id || gate.lingering.holder == id || peer.is_dangling;
}

void remove_peer(IpsecAlg& shard, PeerId id) {
  Tables& tables = shard.alg;
  Peer& peer = tables.peers[id];
  Gate& gate = gate_in_hand(tables, peer.gate);
  Client& client = tables.clients[peer.subscriber];
  for (const Peer::KeptPort& kept : peer.ike_ports)
    if (kept.port.raw() != 0) note_mapping_gone(shard, id, kept.port);
  if (peer.is_claimant) state::list_remove(gate.claimants, id, tables.claimant_links());
  if (gate.sender == id) gate.sender = state::kNone;
  for (SeenSpi& seen : gate.seen) {
    if (seen.spi == kNoSpi) continue;
    SeenHistory& history = tables.history(gate, seen);
    if (history.learned_by == id) {
      seen = {};
      continue;
    }
    // Another peer may get its number.
    if (history.withdrawn == id) history.withdrawn = SeenHistory::kNobodys;
    if (history.replier == id) history.replier = SeenHistory::kNobodys;
    for (PeerId& expected : history.expected_by)
      if (expected == id) expected = SeenHistory::kNobodys;
    seen.expected = history.is_expected();
  }
  state::list_remove(gate.peers, id, tables.gate_peer_links());
  state::queue_remove(client.peers, id, tables.client_peer_links());
  const state::FlowKey key = peer_key(peer.inside(), peer.server);
  tables.index.erase(key, tables.index.hash(key));
  peer.in_use = false;
  const SubscriberId subscriber = peer.subscriber;
  const GateId gate_id = peer.gate;
  tables.peers.release(id);
  if (gate.peers.empty()) remove_gate(shard, gate_id);
  if (--client.peer_count == 0) {
    --shard.lsn44.subscribers[subscriber].pins;
    lsn44::release_subscriber(shard, subscriber);
  }
}

}  // namespace

void count(IpsecAlg& shard, std::uint16_t profile, AlgCounter counter, std::uint64_t n) {
  AlgCounters& counters = shard.alg.counters;
  counters.total.of(counter).add(n);
  if (profile < kCountedProfiles) counters.profiles[profile].of(counter).add(n);
}

void count_drop(IpsecAlg& shard, std::uint16_t profile, DropReason reason) {
  if (is_esp_reason(reason)) count(shard, profile, AlgCounter::kEspDropped);
}

void raise(IpsecAlg& shard, std::uint16_t profile, AlgGauge gauge, std::uint64_t n) {
  AlgCounters& counters = shard.alg.counters;
  counters.total.of(gauge).add(n);
  if (profile < kCountedProfiles) counters.profiles[profile].of(gauge).add(n);
}

void lower(IpsecAlg& shard, std::uint16_t profile, AlgGauge gauge, std::uint64_t n) {
  AlgCounters& counters = shard.alg.counters;
  counters.total.of(gauge).subtract(n);
  if (profile < kCountedProfiles) counters.profiles[profile].of(gauge).subtract(n);
}

Event event_of(const IpsecAlg& shard, EventKind kind, const Peer& peer) {
  Event event{};
  event.kind = kind;
  event.profile = peer.profile;
  event.at = shard.now;
  event.client = peer.client;
  event.td = peer.td;
  event.nat_ip = shard.alg.gates[peer.gate].nat_ip;
  event.server = peer.server;
  return event;
}

GateId find_gate(const IpsecAlg& shard, wire::Be32 nat_ip, wire::Be32 server) {
  const state::FlowKey key = gate_key(nat_ip, server);
  return shard.alg.index.find(key, shard.alg.index.hash(key));
}

PeerId find_peer(const IpsecAlg& shard, const InsideAddress& client, wire::Be32 server) {
  const state::FlowKey key = peer_key(client, server);
  return shard.alg.index.find(key, shard.alg.index.hash(key));
}

std::expected<PeerId, DropReason> obtain_peer(IpsecAlg& shard, SubscriberId subscriber_id,
                                              wire::Be32 server, Direction cause) {
  Tables& tables = shard.alg;
  lsn44::Subscriber& subscriber = shard.lsn44.subscribers[subscriber_id];
  const state::FlowKey key = peer_key(subscriber.inside(), server);
  const std::uint32_t hash = tables.index.hash(key);
  if (const PeerId known = tables.index.find(key, hash); known != state::kNone) {
    if (tables.gates[tables.peers[known].gate].nat_ip == subscriber.paired_ip) return known;
    // A reload took its address, and the sweep has not come to its ESP sessions yet: it goes now.
    ++subscriber.pins;  // the caller works on it
    const Peer& gone = tables.peers[known];
    for (unsigned n = 0; n < kEspEndedAtOnce && gone.esp_sessions.first != state::kNone; ++n)
      lsn44::end_session(shard, tables.esp_sessions[gone.esp_sessions.first].session,
                         SessionEnd::kReload);
    release_unused(shard);
    --subscriber.pins;
    if (tables.index.find(key, hash) != state::kNone)
      return std::unexpected(DropReason::kNoMapping);
  }

  Client& client = tables.clients[subscriber_id];
  if (client.peer_count == 0) client = Client{};
  if (client.peer_count >= kGatesPerSubscriber) {
    if (cause == Direction::kOutbound) replace_silent_gate(shard, subscriber_id);
    if (client.peer_count >= kGatesPerSubscriber) return std::unexpected(DropReason::kGateQuota);
  }
  const PeerId id = tables.peers.allocate();
  if (id == state::kNone) return std::unexpected(DropReason::kGateTableFull);
  const auto gate_id = obtain_gate(shard, subscriber.paired_ip, server);
  if (!gate_id) {
    tables.peers.release(id);
    return std::unexpected(gate_id.error());
  }
  Gate& gate = gate_in_hand(tables, *gate_id);
  if (!tables.index.insert(key, hash, id)) {
    tables.peers.release(id);
    if (gate.peers.empty()) remove_gate(shard, *gate_id);
    return std::unexpected(DropReason::kGateTableFull);
  }
  Peer& peer = tables.peers[id];
  peer.client = subscriber.ip;
  peer.td = subscriber.td;
  peer.server = server;
  peer.subscriber = subscriber_id;
  peer.gate = *gate_id;
  peer.in_use = true;
  const AlgProfile* profile = find_profile(shard, subscriber.group);
  peer.profile = profile == nullptr ? kNoId : profile->id;
  state::list_push(gate.peers, id, tables.gate_peer_links());
  state::queue_push(client.peers, id, tables.client_peer_links());
  if (client.peer_count++ == 0) ++subscriber.pins;
  mark_unused(shard, id);  // its creator may fail after this
  return id;
}

void touch(IpsecAlg& shard, PeerId id) {
  Client& client = shard.alg.clients[shard.alg.peers[id].subscriber];
  if (client.peers.last == id) return;
  state::queue_remove(client.peers, id, shard.alg.client_peer_links());
  state::queue_push(client.peers, id, shard.alg.client_peer_links());
}

bool follow_ike_mapping(IpsecAlg& shard, SubscriberId id, wire::Be32 nat_ip) {
  lsn44::Subscriber& subscriber = shard.lsn44.subscribers[id];
  if (subscriber.paired_ip == nat_ip) return true;
  if (shard.alg.clients[id].peer_count != 0 || lsn44::find_nat_address(shard, nat_ip) == nullptr)
    return false;
  lsn44::unpair(shard, subscriber);
  lsn44::pair_with(shard, subscriber, nat_ip);
  return true;
}

wire::Be32 find_ike_mapping_address(const Lsn44& shard, SubscriberId id, wire::Be32 server) {
  const wire::Be16 port = wire::Be16::of(wire::kIkePort);
  const lsn44::Tables& tables = shard.lsn44;
  const lsn44::Subscriber& subscriber = tables.subscribers[id];
  if (const SessionId known = lsn44::find_outbound(
          shard, subscriber.td, flow_key(Protocol::kUdp, subscriber.ip, port, server, port));
      known != state::kNone)
    return tables.sessions[known].nat_ip;
  wire::Be32 any{};
  unsigned looked = 0;
  for (SessionId session = subscriber.sessions.first;
       session != state::kNone && looked < kMappingLookLimit;
       session = tables.cold[session].of_subscriber.next, ++looked) {
    const lsn44::Session& s = tables.sessions[session];
    if (s.protocol != Protocol::kUdp || s.remote_port != port) continue;
    if (s.remote_ip == server) return s.nat_ip;
    any = s.nat_ip;
  }
  return any;
}

void mark_unused(IpsecAlg& shard, PeerId id) {
  Peer& peer = shard.alg.peers[id];
  if (peer.is_unused) return;
  peer.is_unused = true;
  state::queue_push(shard.alg.unused, id, shard.alg.unused_links());
}

void release_unused(IpsecAlg& shard) {
  Tables& tables = shard.alg;
  while (!tables.unused.empty()) {
    const PeerId id = state::queue_pop(tables.unused, tables.unused_links());
    tables.peers[id].is_unused = false;
    if (!is_needed(shard, id)) remove_peer(shard, id);
  }
}

void clear_peer(IpsecAlg& shard, PeerId id, AlgEnd why) {
  Tables& tables = shard.alg;
  Peer& peer = tables.peers[id];
  const GateId gate_id = peer.gate;
  Gate& gate = gate_in_hand(tables, gate_id);
  if (peer.waiter != state::kNone) remove_waiter(shard, peer.waiter, DropReason::kIkeHeldFlushed);
  while (!peer.ike_sessions.empty()) end_ike_session(shard, peer.ike_sessions.first, why);
  if (holds(gate, id)) close_turn(shard, gate_id, CloseReason::kFlush);
  if (gate.kept_for == id) {
    begin_next_turn(shard, gate_id);
    schedule_gate(shard, gate_id);
  }
  if (gate.lingering.holder == id) end_lingering(shard, gate_id);
  peer.awaited = 0;
  peer.dangles_until.reset();
  if (peer.is_dangling) {
    state::list_remove(gate.dangling, id, tables.dangling_links());
    peer.is_dangling = false;
    lower(shard, peer.profile, AlgGauge::kDangling);
  }
  mark_unused(shard, id);
}

void recount_profile(IpsecAlg& shard, PeerId id) {
  Tables& tables = shard.alg;
  Peer& peer = tables.peers[id];
  const AlgProfile* profile = find_profile(shard, shard.lsn44.subscribers[peer.subscriber].group);
  const std::uint16_t now = profile == nullptr ? kNoId : profile->id;
  if (now == peer.profile) return;
  const auto move = [&](AlgGauge gauge, std::uint64_t n) {
    if (peer.profile < kCountedProfiles)
      tables.counters.profiles[peer.profile].of(gauge).subtract(n);
    if (now < kCountedProfiles) tables.counters.profiles[now].of(gauge).add(n);
  };
  move(AlgGauge::kIkeSessions, peer.ike_count);
  move(AlgGauge::kEspSessions, peer.esp_count);
  std::uint64_t half_open = 0;
  for (const Direction d : {Direction::kOutbound, Direction::kInbound})
    for (EspId esp = peer.half_open[d].first; esp != state::kNone;
         esp = tables.esp_sessions[esp].half_open.next)
      ++half_open;
  move(AlgGauge::kEspHalfOpen, half_open);
  move(AlgGauge::kDangling, peer.is_dangling ? 1 : 0);
  const Gate& gate = tables.gates[peer.gate];
  move(AlgGauge::kTurns, holds(gate, id) ? 1 : 0);
  move(AlgGauge::kLingering, gate.lingering.holder == id ? 1 : 0);
  if (peer.waiter != state::kNone) {
    move(AlgGauge::kWaiters, 1);
    std::uint64_t packets = 0, bytes = 0;
    for (FlightId f = tables.waiters[peer.waiter].flights.first; f != state::kNone;
         f = tables.flights[f].of_waiter.next)
      for (HeldId h = tables.flights[f].packets.first; h != state::kNone;
           h = tables.held[h].links.next, ++packets)
        bytes += tables.held[h].bytes;
    move(AlgGauge::kHeldPackets, packets);
    move(AlgGauge::kHeldBytes, bytes);
  }
  peer.profile = now;
}

}  // namespace lsn::datapath::ipsec_alg
