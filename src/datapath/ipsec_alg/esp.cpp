#include "lsn/datapath/ipsec_alg/esp.hpp"

#include <algorithm>
#include <utility>

#include "lsn/datapath/ipsec_alg/ike.hpp"
#include "lsn/datapath/ipsec_alg/journal.hpp"
#include "lsn/datapath/ipsec_alg/keys.hpp"
#include "lsn/datapath/ipsec_alg/peers.hpp"
#include "lsn/datapath/ipsec_alg/turns.hpp"
#include "lsn/datapath/lsn44/logging.hpp"
#include "lsn/datapath/lsn44/ports.hpp"
#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/datapath/lsn44/subscriber.hpp"

namespace lsn::datapath::ipsec_alg {
namespace {

using lsn44::SessionFlags;

/// ESP sessions of a client and a server whose packets are added up.
constexpr std::uint32_t kSentLookLimit = 1024;

constexpr Direction kBoth[] = {Direction::kOutbound, Direction::kInbound};

state::FlowTable& table_of(Lsn44& shard, Direction direction) {
  return direction == Direction::kOutbound ? shard.lsn44.outbound : shard.lsn44.inbound;
}

/// How its packets of a direction name the session.
state::FlowKey key_of(const Lsn44& shard, const EspSession& esp, Direction direction) {
  const lsn44::Session& session = shard.lsn44.sessions[esp.session];
  if (direction == Direction::kInbound)
    return esp_key(session.nat_ip, session.remote_ip, esp.spi[direction]);
  return marked(esp_key(session.inside_ip, session.remote_ip, esp.spi[direction]),
                shard.mark_of(domain_of(shard, session)));
}

/// How an ICMP error about its packets of a direction names it: from the other side.
state::FlowKey quoted_key_of(const Lsn44& shard, const EspSession& esp, Direction direction) {
  const lsn44::Session& session = shard.lsn44.sessions[esp.session];
  if (direction == Direction::kOutbound)
    return quoted_key(opposite(direction), session.nat_ip, session.remote_ip, esp.spi[direction]);
  return marked(
      quoted_key(opposite(direction), session.inside_ip, session.remote_ip, esp.spi[direction]),
      shard.mark_of(domain_of(shard, session)));
}

/// Puts an SPI's keys into the tables; false: no room.
bool insert_keys(IpsecAlg& shard, EspId id, Direction direction) {
  const EspSession& esp = shard.alg.esp_sessions[id];
  state::FlowTable& table = table_of(shard, direction);
  const state::FlowKey key = key_of(shard, esp, direction);
  if (!table.insert(key, table.hash(key), esp.session)) return false;
  // Two clients may send to one server with the same SPI: an error about it is then the first
  // one's. Nor does it matter if there is no room: errors are lost, no packets.
  state::FlowTable& quoted = shard.alg.quoted;
  const state::FlowKey quote = quoted_key_of(shard, esp, direction);
  const std::uint32_t hash = quoted.hash(quote);
  if (quoted.find(quote, hash) == state::kNone && !quoted.insert(quote, hash, id)) return true;
  return true;
}

void erase_keys(IpsecAlg& shard, EspId id, Direction direction) {
  const EspSession& esp = shard.alg.esp_sessions[id];
  state::FlowTable& table = table_of(shard, direction);
  const state::FlowKey key = key_of(shard, esp, direction);
  table.erase(key, table.hash(key));
  state::FlowTable& quoted = shard.alg.quoted;
  const state::FlowKey quote = quoted_key_of(shard, esp, direction);
  const std::uint32_t hash = quoted.hash(quote);
  if (quoted.find(quote, hash) == id) quoted.erase(quote, hash);
}

/// The queue that a session stands in while only one of its SPIs is known.
void enter_half_open(IpsecAlg& shard, EspId id) {
  Tables& tables = shard.alg;
  const EspSession& esp = tables.esp_sessions[id];
  Peer& peer = tables.peers[esp.peer];
  const Direction known =
      esp.spi[Direction::kOutbound] != kNoSpi ? Direction::kOutbound : Direction::kInbound;
  state::queue_push(peer.half_open[known], id, tables.half_open_links());
  raise(shard, peer.profile, AlgGauge::kEspHalfOpen);
  update_claimant(shard, esp.peer);
}

void leave_half_open(IpsecAlg& shard, EspId id, Direction known) {
  Tables& tables = shard.alg;
  const EspSession& esp = tables.esp_sessions[id];
  Peer& peer = tables.peers[esp.peer];
  state::queue_remove(peer.half_open[known], id, tables.half_open_links());
  lower(shard, peer.profile, AlgGauge::kEspHalfOpen);
  update_claimant(shard, esp.peer);
}

/// The session that a newly seen SPI completes: the oldest of its turn that lacks just that one;
/// without an exchange that says what to expect, also the latest of earlier times.
EspId find_other_half(const IpsecAlg& shard, const Peer& peer, Direction direction,
                      const Turn* turn) {
  const Tables& tables = shard.alg;
  const Direction d = opposite(direction);
  if (turn != nullptr) {
    for (EspId id = turn->candidates[d].first; id != state::kNone;
         id = tables.esp_sessions[id].candidates[d].next)
      if (tables.esp_sessions[id].spi[direction] == kNoSpi) return id;
    if (turn->has_exchange) return state::kNone;
  }
  return peer.half_open[d].last;
}

/// The latest half-open session with an SPI of that direction which is of no turn any more:
/// candidates wait for their own turn's other half, and a packet that has just brought one is on
/// its way by it.
EspId latest_settled_half(const Tables& tables, const Peer& peer, Direction known) {
  unsigned looked = 0;
  for (EspId id = peer.half_open[known].last; id != state::kNone && looked < kLookLimit;
       id = tables.esp_sessions[id].half_open.prev, ++looked)
    if (!tables.esp_sessions[id].candidate[known]) return id;
  return state::kNone;
}

/// Design 6: at its quota a subscriber's oldest session of single packets goes, one in either
/// direction. False: a few of the oldest that might have been are none.
bool replace_single(IpsecAlg& shard, const Peer& peer) {
  Tables& tables = shard.alg;
  Client& client = tables.clients[peer.subscriber];
  for (unsigned looked = 0; looked < kLookLimit && !client.singles.empty(); ++looked) {
    const EspId id = state::queue_pop(client.singles, tables.client_esp_links());
    EspSession& esp = tables.esp_sessions[id];
    esp.is_single = false;
    const lsn44::Session& session = shard.lsn44.sessions[esp.session];
    if (session.packets[0] > 1 || session.packets[1] > 1 || esp.again[0] || esp.again[1]) continue;
    count(shard, tables.peers[esp.peer].profile, AlgCounter::kEspSessionsReplaced);
    lsn44::end_session(shard, esp.session, SessionEnd::kWithdrawn);
    return true;
  }
  return false;
}

bool is_at_quota(const Lsn44& shard, const Peer& peer) {
  return shard.lsn44.subscribers[peer.subscriber].session_count[Protocol::kEsp] >=
         profile_of(shard, peer).esp_session_quota;
}

/// A restored session was there before: it counts, but no limit keeps it out, and it has carried
/// more than single packets.
enum class Source : std::uint8_t { kPacket, kRecord };

std::expected<EspId, DropReason> create(IpsecAlg& shard, PeerId peer_id, Source source) {
  Tables& tables = shard.alg;
  Peer& peer = tables.peers[peer_id];
  if (source == Source::kPacket && is_at_quota(shard, peer) && !replace_single(shard, peer))
    return std::unexpected(DropReason::kEspSessionQuota);
  const EspId id = tables.esp_sessions.allocate();
  if (id == state::kNone) return std::unexpected(DropReason::kEspSessionTableFull);
  const auto session = lsn44::create_esp_session(shard, peer.subscriber,
                                                 tables.gates[peer.gate].nat_ip, peer.server, id);
  if (!session) {
    tables.esp_sessions.release(id);
    return std::unexpected(session.error());
  }
  EspSession& esp = tables.esp_sessions[id];
  esp.session = *session;
  esp.peer = peer_id;
  esp.in_use = true;
  state::list_push(peer.esp_sessions, id, tables.esp_links());
  ++peer.esp_count;
  if (source == Source::kPacket) {
    esp.is_single = true;
    state::queue_push(tables.clients[peer.subscriber].singles, id, tables.client_esp_links());
  }
  // Armed only now: its timeout is that of its peer's profile.
  lsn44::rearm_session(shard, *session);
  count(shard, peer.profile, AlgCounter::kEspSessionsCreated);
  raise(shard, peer.profile, AlgGauge::kEspSessions);
  return id;
}

void become_candidate(IpsecAlg& shard, EspId id, Direction direction, Turn& turn) {
  Tables& tables = shard.alg;
  EspSession& esp = tables.esp_sessions[id];
  esp.turn[direction] = turn.serial;
  esp.candidate[direction] = true;
  state::queue_push(turn.candidates[direction], id, tables.candidate_links(direction));
  ++turn.spis[direction];
}

/// ALG SESSION, if the client's group logs sessions: as of SESSION, with SPIs in place of ports.
void log_esp(IpsecAlg& shard, LogEvent event, const EspSession& esp, SessionEnd why) {
  const lsn44::Session& session = shard.lsn44.sessions[esp.session];
  const lsn44::SessionCold& cold = shard.lsn44.cold[esp.session];
  const lsn44::Subscriber& client = shard.lsn44.subscribers[cold.subscriber];
  if (!lsn44::is_logged(lsn44::logging_of(shard, client), shared::LogFlags::kSessions, event,
                        false))
    return;
  shared::LogRecord* const record =
      lsn44::begin_record(shard, shared::LogKind::kAlgSession, event, client);
  if (record == nullptr) return;
  record->protocol = Protocol::kEsp;
  record->nat_ip = session.nat_ip;
  record->remote_ip = session.remote_ip;
  record->mapping = Dependence::kAddressPort;
  record->spi_out = wire::Be32::raw(esp.spi[Direction::kOutbound]);
  record->spi_in = wire::Be32::raw(esp.spi[Direction::kInbound]);
  if (esp.ike != state::kNone) {
    record->initiator = shard.alg.ike_sessions[esp.ike].initiator;
    record->responder = shard.alg.ike_sessions[esp.ike].responder;
  }
  if (event == LogEvent::kDeleted) {
    record->reason = lsn44::log_reason(session, why);
    lsn44::fill_totals(shard, session, cold, record->totals);
  }
  shard.log.commit();
}

void report(IpsecAlg& shard, EventKind kind, EspId id, SessionEnd why = SessionEnd::kExpired) {
  EspSession& esp = shard.alg.esp_sessions[id];
  if (kind == EventKind::kEspSessionCreated) {
    esp.is_reported = true;
    log_esp(shard, LogEvent::kCreated, esp, why);
  } else if (esp.is_reported) {
    const bool ends = kind == EventKind::kEspSessionEnded;
    log_esp(shard, ends ? LogEvent::kDeleted : LogEvent::kCompleted, esp, why);
  }
  const lsn44::Session& session = shard.lsn44.sessions[esp.session];
  Event event = event_of(shard, kind, shard.alg.peers[esp.peer]);
  event.why = static_cast<std::uint8_t>(why);
  event.spi_out = wire::Be32::raw(esp.spi[Direction::kOutbound]);
  event.spi_in = wire::Be32::raw(esp.spi[Direction::kInbound]);
  for (const Direction d : kBoth) {
    event.packets[d] = session.packets[d];
    event.bytes[d] = session.bytes[d];
  }
  shard.alg.events.put(event);
  note_esp_session(shard, id, kind == EventKind::kEspSessionEnded);
}

/// Adds a session's traffic since the last time to its profile's sums.
void add_to_sums(IpsecAlg& shard, EspId id, Direction d) {
  EspSession& esp = shard.alg.esp_sessions[id];
  const lsn44::Session& session = shard.lsn44.sessions[esp.session];
  const std::uint64_t packets = session.packets[d] - esp.counted_packets[d];
  if (packets == 0) return;
  const std::uint64_t bytes = session.bytes[d] - esp.counted_bytes[d];
  esp.counted_packets[d] += packets;
  esp.counted_bytes[d] += bytes;
  const std::uint16_t profile = shard.alg.peers[esp.peer].profile;
  const bool out = d == Direction::kOutbound;
  count(shard, profile, out ? AlgCounter::kEspPacketsOut : AlgCounter::kEspPacketsIn, packets);
  count(shard, profile, out ? AlgCounter::kEspBytesOut : AlgCounter::kEspBytesIn, bytes);
}

/// ESP packets that a client has sent to the server. If it has more SPIs than are looked at, never
/// the same number twice.
std::uint64_t sent_by(const IpsecAlg& shard, const Peer& peer) {
  const Tables& tables = shard.alg;
  if (peer.esp_count > kSentLookLimit) return shard.now.value;
  std::uint64_t sum = peer.sent_before;
  for (EspId id = peer.esp_sessions.first; id != state::kNone;
       id = tables.esp_sessions[id].of_peer.next)
    sum += shard.lsn44.sessions[tables.esp_sessions[id].session].packets[Direction::kOutbound];
  return sum;
}

/// Design 9.1: the inbound SPI is new, nothing has followed it.
void watch_followers(IpsecAlg& shard, EspSession& esp) {
  esp.learned_in = shard.now;
  esp.followed = false;
  esp.sent_until_then = sent_by(shard, shard.alg.peers[esp.peer]);
}

}  // namespace

std::expected<SessionId, DropReason> learn(IpsecAlg& shard, PeerId peer_id, Direction direction,
                                           Spi spi, Turn* turn, std::optional<state::Ticks> began) {
  Tables& tables = shard.alg;
  Peer& peer = tables.peers[peer_id];
  const Direction other = opposite(direction);
  EspId id = find_other_half(shard, peer, direction, turn);
  const bool completes = id != state::kNone;
  if (!completes) {
    const auto made = create(shard, peer_id, Source::kPacket);
    if (!made) return std::unexpected(made.error());
    id = *made;
  }
  EspSession& esp = tables.esp_sessions[id];
  esp.spi[direction] = spi;
  if (!insert_keys(shard, id, direction)) {
    esp.spi[direction] = kNoSpi;
    if (!completes) lsn44::end_session(shard, esp.session, SessionEnd::kWithdrawn);
    return std::unexpected(DropReason::kFlowTableFull);
  }
  if (completes) {
    leave_half_open(shard, id, other);
  } else {
    enter_half_open(shard, id);
  }
  if (turn != nullptr) {
    become_candidate(shard, id, direction, *turn);
    if (direction == Direction::kOutbound)
      esp.of_exchange = turn->has_exchange && tables.gates[peer.gate].state == GateState::kArmed;
  }
  count(shard, peer.profile,
        direction == Direction::kOutbound ? AlgCounter::kSpiOutLearned : AlgCounter::kSpiInLearned);
  if (direction == Direction::kInbound) {
    if (began)
      note_settled(tables, esp,
                   settle_one(shard, peer_id, turn == nullptr ? 0 : turn->serial, *began));
    if (esp.settled == state::kNone && peer.awaited != 0) --peer.awaited;
    watch_followers(shard, esp);
  }
  // Its next packets leave the fast path: they say that the pair works (design 4.5), ask for the
  // SPI that lacks (outbound 2), or name its owner (design 9.1).
  shard.lsn44.sessions[esp.session].flags |= SessionFlags::kOffFastPath;
  report(shard, completes ? EventKind::kEspSpiLearned : EventKind::kEspSessionCreated, id);
  return esp.session;
}

void note_settled(Tables& tables, EspSession& esp, ExchangeId exchange) {
  esp.settled = exchange;
  note_bearer(tables, esp,
              exchange == state::kNone ? state::kNone : tables.exchanges[exchange].ike);
}

void note_bearer(Tables& tables, EspSession& esp, IkeId ike) {
  if (esp.ike != state::kNone) --tables.ike_sessions[esp.ike].esp_count;
  esp.ike = ike;
  if (ike == state::kNone) return;
  ++tables.ike_sessions[ike].esp_count;
  port_bore_esp(tables, ike);
}

void forget_spi(IpsecAlg& shard, EspId id, Direction direction) {
  Tables& tables = shard.alg;
  EspSession& esp = tables.esp_sessions[id];
  if (esp.spi[opposite(direction)] == kNoSpi) {
    lsn44::end_session(shard, esp.session, SessionEnd::kWithdrawn);
    return;
  }
  leave_candidates(shard, id, direction);
  erase_keys(shard, id, direction);
  esp.spi[direction] = kNoSpi;
  esp.again[direction] = false;
  if (direction == Direction::kInbound) note_settled(tables, esp, state::kNone);
  add_to_sums(shard, id, direction);
  lsn44::Session& session = shard.lsn44.sessions[esp.session];
  if (direction == Direction::kOutbound)
    tables.peers[esp.peer].sent_before += session.packets[direction];
  session.packets[direction] = esp.counted_packets[direction] = 0;
  session.bytes[direction] = esp.counted_bytes[direction] = 0;
  session.flags |= SessionFlags::kOffFastPath;
  enter_half_open(shard, id);
  note_esp_session(shard, id, false);
}

bool is_followed_by_nothing(IpsecAlg& shard, EspSession& esp) {
  const Peer& peer = shard.alg.peers[esp.peer];
  if (esp.spi[Direction::kInbound] == kNoSpi || esp.followed ||
      (esp.learned_in + profile_of(shard, peer).gate_timeout).later_than(shard.now))
    return false;
  esp.followed = esp.sent_until_then != sent_by(shard, peer);
  if (esp.followed) return false;
  Gate& gate = gate_in_hand(shard.alg, peer.gate);
  if (is_another_owed(shard, gate, esp.peer)) return true;
  // No client misses it, nor may one that has not seen the answer yet: it is certain.
  esp.followed = !does_another_dangle(shard, gate, esp.peer);
  return false;
}

void withdraw(IpsecAlg& shard, EspId id) {
  Tables& tables = shard.alg;
  const EspSession& esp = tables.esp_sessions[id];
  const PeerId peer_id = esp.peer;
  Peer& peer = tables.peers[peer_id];
  Gate& gate = gate_in_hand(tables, peer.gate);
  count(shard, peer.profile, AlgCounter::kSpiWithdrawn);
  // The peer that had it may be owed its own all the same, or even this one.
  ++peer.awaited;
  const ExchangeId settled = esp.settled;
  // Its number may be another exchange's by now.
  if (settled != state::kNone && tables.exchanges[settled].claims &&
      tables.exchanges[settled].settled &&
      !tables.exchanges[settled].admitted.later_than(esp.learned_in) &&
      tables.ike_sessions[tables.exchanges[settled].ike].peer == peer_id)
    unsettle(shard, settled);
  for (SeenSpi& seen : gate.seen)
    if (seen.spi == esp.spi[Direction::kInbound]) {
      SeenHistory& history = shard.alg.history(gate, seen);
      history.withdrawn = peer_id;
      history.expected_by[0] = peer_id;
      history.learned_by = SeenHistory::kNobodys;
      seen.expected = true;
      seen.known = false;
    }
  forget_spi(shard, id, Direction::kInbound);
}

bool restore_esp(IpsecAlg& shard, PeerId peer_id, Spi out, Spi in) {
  const ByDirection<Spi> spi = {out, in};
  if (out == kNoSpi && in == kNoSpi) return false;
  const Peer& peer = shard.alg.peers[peer_id];
  const wire::Be32 nat_ip = shard.alg.gates[peer.gate].nat_ip;
  if ((out != kNoSpi &&
       find_esp(shard, Direction::kOutbound, peer.inside(), peer.server, out) != state::kNone) ||
      (in != kNoSpi &&
       find_esp(shard, Direction::kInbound, in_domain(0, nat_ip), peer.server, in) != state::kNone))
    return false;
  const auto made = create(shard, peer_id, Source::kRecord);
  if (!made) return false;
  EspSession& esp = shard.alg.esp_sessions[*made];
  for (const Direction d : kBoth) {
    if (spi[d] == kNoSpi) continue;
    esp.spi[d] = spi[d];
    if (insert_keys(shard, *made, d)) continue;
    esp.spi[d] = kNoSpi;
  }
  esp.followed = true;
  if (esp.is_half_open()) {
    shard.lsn44.sessions[esp.session].flags |= SessionFlags::kOffFastPath;
    if (esp.spi[0] == kNoSpi && esp.spi[1] == kNoSpi) {
      lsn44::end_session(shard, esp.session, SessionEnd::kWithdrawn);
      return false;
    }
    enter_half_open(shard, *made);
  }
  report(shard, EventKind::kEspSessionCreated, *made);
  return true;
}

void join_halves(IpsecAlg& shard, PeerId peer_id) {
  Tables& tables = shard.alg;
  const Peer& peer = tables.peers[peer_id];
  const EspId out = latest_settled_half(tables, peer, Direction::kOutbound);
  const EspId in = latest_settled_half(tables, peer, Direction::kInbound);
  if (out == state::kNone || in == state::kNone) return;
  EspSession& stays = tables.esp_sessions[out];
  EspSession& goes = tables.esp_sessions[in];
  const Spi spi = goes.spi[Direction::kInbound];
  lsn44::Session& from = shard.lsn44.sessions[goes.session];
  lsn44::Session& to = shard.lsn44.sessions[stays.session];
  constexpr auto kIn = static_cast<std::size_t>(Direction::kInbound);
  to.packets[kIn] = std::exchange(from.packets[kIn], 0);
  to.bytes[kIn] = std::exchange(from.bytes[kIn], 0);
  stays.counted_packets[kIn] = std::exchange(goes.counted_packets[kIn], 0);
  stays.counted_bytes[kIn] = std::exchange(goes.counted_bytes[kIn], 0);
  // Nothing new has come: its owner is as uncertain as before.
  const ExchangeId settled = goes.settled;
  const IkeId ike = goes.ike;
  stays.learned_in = goes.learned_in;
  stays.followed = goes.followed;
  stays.sent_until_then = goes.sent_until_then;
  to.set_esp_sequence(from.esp_sequence());
  if (from.last_seen.later_than(to.last_seen)) to.last_seen = from.last_seen;
  lsn44::end_session(shard, goes.session, SessionEnd::kWithdrawn);
  stays.spi[kIn] = spi;
  if (!insert_keys(shard, out, Direction::kInbound)) {
    stays.spi[kIn] = kNoSpi;
    return;
  }
  leave_half_open(shard, out, Direction::kOutbound);
  stays.settled = settled;
  note_bearer(tables, stays, ike);
  to.flags |= SessionFlags::kOffFastPath;
  report(shard, EventKind::kEspSpiLearned, out);
}

void leave_candidates(IpsecAlg& shard, EspId id, Direction direction) {
  Tables& tables = shard.alg;
  EspSession& esp = tables.esp_sessions[id];
  if (!esp.candidate[direction]) return;
  esp.candidate[direction] = false;
  Turn* turn = find_turn(gate_in_hand(tables, tables.peers[esp.peer].gate), esp.turn[direction]);
  if (turn == nullptr) return;
  state::queue_remove(turn->candidates[direction], id, tables.candidate_links(direction));
  --turn->spis[direction];
}

EspId oldest_single(const IpsecAlg& shard, const Turn& turn, Direction direction) {
  const Tables& tables = shard.alg;
  for (EspId id = turn.candidates[direction].first; id != state::kNone;
       id = tables.esp_sessions[id].candidates[direction].next)
    if (!tables.esp_sessions[id].again[direction] &&
        shard.lsn44.sessions[tables.esp_sessions[id].session].packets[direction] <= 1)
      return id;
  return state::kNone;
}

void become_candidate_again(IpsecAlg& shard, EspId id, Turn& turn) {
  EspSession& esp = shard.alg.esp_sessions[id];
  leave_candidates(shard, id, Direction::kOutbound);
  become_candidate(shard, id, Direction::kOutbound, turn);
  esp.again[Direction::kOutbound] = true;
}

void close_candidates(IpsecAlg& shard, Turn& turn) {
  Tables& tables = shard.alg;
  const PeerId peer_id = turn.holder;
  const Peer& peer = tables.peers[peer_id];
  // A turn without an exchange was begun for one pair.
  const std::uint32_t expected = std::max<std::uint32_t>(expected_pairs(turn), 1);
  bool expired = false;
  for (const Direction d : kBoth) {
    while (turn.spis[d] > expected) {
      const EspId single = oldest_single(shard, turn, d);
      if (single == state::kNone) break;
      forget_spi(shard, single, d);
      count(shard, peer.profile, AlgCounter::kCandidatesExpired);
      expired = true;
    }
  }
  for (const Direction d : kBoth) {
    while (!turn.candidates[d].empty()) {
      const EspId id = state::queue_pop(turn.candidates[d], tables.candidate_links(d));
      tables.esp_sessions[id].candidate[d] = false;
    }
  }
  if (expired) join_halves(shard, peer_id);
}

SessionId find_esp(const Lsn44& shard, Direction direction, const InsideAddress& local,
                   wire::Be32 server, Spi spi) {
  const state::FlowKey name = esp_key(local.address.be(), server, spi);
  if (direction == Direction::kOutbound) return lsn44::find_outbound(shard, local.td, name);
  return shard.lsn44.inbound.find(name, shard.lsn44.inbound.hash(name));
}

SessionId find_quoted(const IpsecAlg& shard, Direction error, const InsideAddress& local,
                      wire::Be32 server, Spi spi) {
  const wire::Be32 address = local.address.be();
  const state::FlowKey key =
      marked(quoted_key(error, address, server, spi), shard.mark_of(local.td));
  const EspId id = shard.alg.quoted.find(key, shard.alg.quoted.hash(key));
  if (id == state::kNone) return state::kNone;
  const SessionId session = shard.alg.esp_sessions[id].session;
  return error == Direction::kOutbound && shard.lsn44.sessions[session].inside_ip != address
             ? state::kNone
             : session;
}

void on_session_end(IpsecAlg& shard, SessionId session_id, SessionEnd why) {
  Tables& tables = shard.alg;
  const EspId id = esp_of(shard, session_id);
  EspSession& esp = tables.esp_sessions[id];
  const PeerId peer_id = esp.peer;
  Peer& peer = tables.peers[peer_id];
  const bool half_open = esp.is_half_open();
  report(shard, EventKind::kEspSessionEnded, id, why);
  for (const Direction d : kBoth) {
    leave_candidates(shard, id, d);
    if (esp.spi[d] == kNoSpi) continue;
    erase_keys(shard, id, d);
    if (half_open) leave_half_open(shard, id, d);
    add_to_sums(shard, id, d);
  }
  note_bearer(tables, esp, state::kNone);
  peer.sent_before += shard.lsn44.sessions[session_id].packets[Direction::kOutbound];
  state::list_remove(peer.esp_sessions, id, tables.esp_links());
  --peer.esp_count;
  if (esp.is_single)
    state::queue_remove(tables.clients[peer.subscriber].singles, id, tables.client_esp_links());
  count(shard, peer.profile,
        why == SessionEnd::kExpired ? AlgCounter::kEspSessionsExpired
                                    : AlgCounter::kEspSessionsFlushed);
  lower(shard, peer.profile, AlgGauge::kEspSessions);
  esp.in_use = false;
  tables.esp_sessions.release(id);
  mark_unused(shard, peer_id);
}

void count_traffic(IpsecAlg& shard, std::size_t budget) {
  Tables& tables = shard.alg;
  if (tables.counted_at == shard.now) return;
  tables.counted_at = shard.now;
  const std::uint32_t end = tables.esp_sessions.high_water();
  for (std::size_t i = std::min<std::size_t>(budget, end); i != 0; --i) {
    if (tables.counted_up_to >= end) tables.counted_up_to = 0;
    const EspId id = tables.counted_up_to++;
    if (!tables.esp_sessions[id].in_use) continue;
    for (const Direction d : kBoth) add_to_sums(shard, id, d);
  }
}

state::TickDuration esp_idle_timeout(const IpsecAlg& shard, EspId id) {
  const EspSession& esp = shard.alg.esp_sessions[id];
  return profile_of(shard, shard.alg.peers[esp.peer]).esp_session_timeout;
}

}  // namespace lsn::datapath::ipsec_alg
