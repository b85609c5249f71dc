#include "lsn/datapath/ipsec_alg/queries.hpp"

#include <algorithm>
#include <bit>

#include "lsn/datapath/ipsec_alg/holding.hpp"
#include "lsn/datapath/ipsec_alg/ike.hpp"
#include "lsn/datapath/ipsec_alg/ipsec_alg.hpp"
#include "lsn/datapath/ipsec_alg/peers.hpp"
#include "lsn/datapath/ipsec_alg/turns.hpp"
#include "lsn/datapath/lsn44/ports.hpp"
#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/datapath/lsn44/subscriber.hpp"

namespace lsn::datapath {

using namespace ipsec_alg;

namespace {

bool is(const std::optional<wire::Ipv4Address>& wanted, wire::Be32 address) {
  return !wanted || wanted->be() == address;
}

bool matches(const IpsecAlg& shard, const AlgFilter& filter, const Peer& peer) {
  return is(filter.source_ip, peer.client) && (!filter.td || *filter.td == peer.td) &&
         is(filter.destination_ip, peer.server) &&
         is(filter.nat_ip, shard.alg.gates[peer.gate].nat_ip);
}

bool matches(const IpsecAlg& shard, const AlgFilter& filter, GateId id) {
  const Gate& gate = shard.alg.gates[id];
  if (!is(filter.nat_ip, gate.nat_ip) || !is(filter.destination_ip, gate.server)) return false;
  if (!filter.source_ip && !filter.td) return true;
  if (filter.source_ip && (filter.td || shard.generation->routes.all().size() <= 1)) {
    const PeerId peer = find_peer(shard, {*filter.source_ip, filter.td.value_or(0)}, gate.server);
    return peer != state::kNone && shard.alg.peers[peer].gate == id;
  }
  for (PeerId peer = gate.peers.first; peer != state::kNone;
       peer = shard.alg.peers[peer].of_gate.next)
    if (matches(shard, filter, shard.alg.peers[peer])) return true;
  return false;
}

EspRow row_of(const IpsecAlg& shard, const EspSession& esp) {
  const lsn44::Session& session = shard.lsn44.sessions[esp.session];
  const Peer& peer = shard.alg.peers[esp.peer];
  EspRow row;
  row.client = wire::Ipv4Address{session.inside_ip};
  row.td = peer.td;
  row.nat_ip = wire::Ipv4Address{session.nat_ip};
  row.server = wire::Ipv4Address{session.remote_ip};
  row.spi_out = wire::Be32::raw(esp.spi[Direction::kOutbound]).host();
  row.spi_in = wire::Be32::raw(esp.spi[Direction::kInbound]).host();
  row.profile = peer.profile;
  row.idle_seconds = seconds_since(shard.now, session.last_seen);
  row.age_seconds = seconds_since(shard.now, shard.lsn44.cold[esp.session].created);
  for (std::size_t d = 0; d < kDirections; ++d) {
    row.packets[d] = session.packets[d];
    row.bytes[d] = session.bytes[d];
  }
  return row;
}

/// The rest of a turn's time: the deadline of a turn, the end of a lingering.
std::uint32_t left_of(const IpsecAlg& shard, const Turn& turn) {
  const state::Ticks end =
      turn.began + profile_of(shard, shard.alg.peers[turn.holder]).gate_timeout;
  return static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(elapsed(end, shard.now)).count());
}

GateRow row_of(const IpsecAlg& shard, const Gate& gate) {
  const ipsec_alg::Tables& tables = shard.alg;
  GateRow row;
  row.nat_ip = wire::Ipv4Address{gate.nat_ip};
  row.server = wire::Ipv4Address{gate.server};
  row.state = gate.state;
  std::copy(std::begin(gate.halves), std::end(gate.halves), std::begin(row.halves));
  if (gate.lingering.holder != state::kNone) {
    row.lingering = tables.peers[gate.lingering.holder].inside();
    row.left_ms = left_of(shard, gate.lingering);
  }
  if (gate.state != GateState::kClosed) {
    row.holder = tables.peers[gate.turn.holder].inside();
    row.left_ms = left_of(shard, gate.turn);
  }
  row.waiters = gate.waiter_count;
  WaiterId waiter = gate.waiters.first;
  for (std::size_t i = 0; i < kShownWaiters && waiter != state::kNone; ++i) {
    row.first_waiters[i] = tables.peers[tables.waiters[waiter].peer].inside();
    waiter = tables.waiters[waiter].in_queue.next;
  }
  row.dangling = !gate.dangling.empty();
  if (gate.had_turn) row.last_reason = gate.last_reason;
  return row;
}

/// Ends one client's state with one server, within the budget; false: there is more.
bool flush_peer(IpsecAlg& shard, AlgFlush& flush, PeerId id, std::size_t& budget) {
  const Peer& peer = shard.alg.peers[id];
  while (!peer.esp_sessions.empty()) {
    if (budget == 0) return false;
    --budget;
    lsn44::end_session(shard, shard.alg.esp_sessions[peer.esp_sessions.first].session,
                       SessionEnd::kFlushed);
    ++flush.esp_sessions;
  }
  flush.ike_sessions += peer.ike_count;
  budget -= std::min<std::size_t>(budget, peer.ike_count);
  clear_peer(shard, id, AlgEnd::kFlushed);
  return true;
}

}  // namespace

void list_esp_sessions(IpsecAlg& shard, EspPage& page, std::size_t budget) {
  const auto& sessions = shard.alg.esp_sessions;
  page.finished = walk_page(page, sessions.high_water(), budget, [&](EspId id) {
    const EspSession& esp = sessions[id];
    if (esp.in_use && matches(shard, page.filter, shard.alg.peers[esp.peer]))
      page.rows.push_back(row_of(shard, esp));
  });
}

void list_ike_sessions(IpsecAlg& shard, IkePage& page, std::size_t budget) {
  const auto& sessions = shard.alg.ike_sessions;
  page.finished = walk_page(page, sessions.high_water(), budget, [&](IkeId id) {
    const IkeSession& ike = sessions[id];
    if (!ike.in_use || !matches(shard, page.filter, shard.alg.peers[ike.peer])) return;
    const Peer& peer = shard.alg.peers[ike.peer];
    IkeRow row;
    row.client = wire::Ipv4Address{peer.client};
    row.td = peer.td;
    row.nat_ip = wire::Ipv4Address{shard.alg.gates[peer.gate].nat_ip};
    row.server = wire::Ipv4Address{peer.server};
    row.client_port = ike.inside_port.host();
    row.nat_port = (ike.keeps_port ? ike.inside_port : ike.nat_port).host();
    row.version = ike.version;
    row.initiator = std::byteswap(ike.initiator);
    row.responder = std::byteswap(ike.responder);
    row.answered = ike.is_answered();
    row.keeps_port = ike.keeps_port;
    row.exchanges = ike.exchange_count;
    row.esp = ike.esp_count;
    row.profile = peer.profile;
    row.idle_seconds = seconds_since(shard.now, ike.last_message);
    page.rows.push_back(row);
  });
}

void list_gates(IpsecAlg& shard, GatePage& page, std::size_t budget) {
  const auto& gates = shard.alg.gates;
  page.finished = walk_page(page, gates.high_water(), budget, [&](GateId id) {
    if (gates[id].in_use && matches(shard, page.filter, id))
      page.rows.push_back(row_of(shard, gates[id]));
  });
}

void list_advice(IpsecAlg& shard, AdvicePage& page, std::size_t budget) {
  const auto& peers = shard.alg.peers;
  page.finished = walk_page(page, peers.high_water(), budget, [&](PeerId id) {
    const Peer& peer = peers[id];
    if (!peer.in_use || !matches(shard, page.filter, peer)) return;
    const bool offers = peer.offers_nat_t[0] || peer.offers_nat_t[1];
    if (!(offers && peer.esp_count != 0) && peer.deadlines < shared::kManyDeadlines) return;
    page.rows.push_back({wire::Ipv4Address{peer.client},
                         wire::Ipv4Address{shard.alg.gates[peer.gate].nat_ip},
                         wire::Ipv4Address{peer.server}, peer.offers_nat_t, peer.esp_count,
                         peer.deadlines, peer.profile, peer.td});
  });
}

void flush_alg(IpsecAlg& shard, AlgFlush& flush, std::size_t budget) {
  const auto& peers = shard.alg.peers;
  const auto walk = [&](auto&& visit) {
    for (; flush.cursor < peers.high_water(); ++flush.cursor) {
      if (budget == 0) return false;
      --budget;
      const Peer& peer = peers[flush.cursor];
      if (peer.in_use && matches(shard, flush.filter, peer) && !visit(flush.cursor)) return false;
    }
    return true;
  };
  if (!flush.waiters_done) {
    const bool done = walk([&](PeerId id) {
      if (peers[id].waiter != state::kNone)
        remove_waiter(shard, peers[id].waiter, DropReason::kIkeHeldFlushed);
      return true;
    });
    if (!done) return;
    flush.waiters_done = true;
    flush.cursor = 0;
  }
  flush.finished = walk([&](PeerId id) { return flush_peer(shard, flush, id, budget); });
  release_unused(shard);
}

namespace ipsec_alg {

AlgLookup look_up(const IpsecAlg& shard, const InsideAddress& client, wire::Be32 nat_ip,
                  wire::Be32 server, Spi spi) {
  const Tables& tables = shard.alg;
  AlgLookup found;
  found.no_profile = tables.max_fresh_sequence == 0;
  const PeerId peer_id =
      client.address.value == 0 ? state::kNone : find_peer(shard, client, server);
  GateId gate_id = nat_ip.raw() == 0 ? state::kNone : find_gate(shard, nat_ip, server);
  if (peer_id != state::kNone) {
    const Peer& peer = tables.peers[peer_id];
    if (gate_id == state::kNone) gate_id = peer.gate;
    found.ike_sessions = peer.ike_count;
    found.esp_sessions = peer.esp_count;
    found.ike_answered = has_answered_ike(shard, peer);
    found.waits = peer.waiter != state::kNone;
    found.holds_gate = holds(tables.gates[peer.gate], peer_id);
  }
  if (gate_id == state::kNone) return found;
  const Gate& gate = tables.gates[gate_id];
  found.gate = row_of(shard, gate);
  found.keeps_ports = gate.port_keepers != 0;
  found.is_free = is_free_for(gate, peer_id);
  for (const SeenSpi& seen : gate.seen) {
    if (spi == kNoSpi || seen.spi != spi) continue;
    const SeenHistory& history = tables.history(gate, seen);
    SeenSpiRow& known = found.seen.emplace();
    known.first_seconds = seconds_since(shard.now, seen.first);
    known.last_seconds = seconds_since(shard.now, seen.last);
    if (history.learned_by != SeenHistory::kNobodys)
      known.learned_by = tables.peers[history.learned_by].inside();
    known.expected_by = static_cast<std::uint32_t>(std::ranges::count_if(
        history.expected_by, [](PeerId id) { return id != SeenHistory::kNobodys; }));
    known.expected_by_several = history.expected_by_several;
  }
  return found;
}

}  // namespace ipsec_alg

}  // namespace lsn::datapath
