#include "lsn/datapath/ipsec_alg/journal.hpp"

#include <algorithm>
#include <chrono>

#include "lsn/datapath/ipsec_alg/esp.hpp"
#include "lsn/datapath/ipsec_alg/ike.hpp"
#include "lsn/datapath/ipsec_alg/peers.hpp"
#include "lsn/datapath/ipsec_alg/turns.hpp"
#include "lsn/datapath/lsn44/ports.hpp"
#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/datapath/lsn44/subscriber.hpp"

namespace lsn::datapath {

using namespace ipsec_alg;

namespace {

using Kind = StateRecord::Kind;

const wire::Be16 kIkePort = wire::Be16::of(wire::kIkePort);

/// A session that was idle for longer than its timeout when the process ended is not restored; its
/// record may be that much older than its last packet.
constexpr std::chrono::seconds kRecordsAge{300};

/// Ticks are compared with others at most half their range away; a month is as good as more.
constexpr std::uint32_t kLongestAge = 30 * 86400;

bool is_recorded(const Lsn44& shard, const Peer& peer) {
  return profile_of(shard, peer).conn_failover;
}

StateRecord record_of(const IpsecAlg& shard, Kind kind, const Peer& peer) {
  StateRecord record;
  record.kind = kind;
  record.shard = shard.id;
  record.client = peer.client;
  record.td = peer.td;
  record.nat_ip = shard.alg.gates[peer.gate].nat_ip;
  record.server = peer.server;
  return record;
}

StateRecord record_of(const IpsecAlg& shard, EspId id) {
  const EspSession& esp = shard.alg.esp_sessions[id];
  StateRecord record = record_of(shard, Kind::kEspSession, shard.alg.peers[esp.peer]);
  record.place = id;
  record.spi_out = wire::Be32::raw(esp.spi[Direction::kOutbound]);
  record.spi_in = wire::Be32::raw(esp.spi[Direction::kInbound]);
  record.idle_seconds = seconds_since(shard.now, shard.lsn44.sessions[esp.session].last_seen);
  return record;
}

SessionId find_ike_mapping(const Lsn44& shard, const Peer& peer, wire::Be16 inside_port) {
  return lsn44::find_outbound(
      shard, peer.td, flow_key(Protocol::kUdp, peer.client, inside_port, peer.server, kIkePort));
}

StateRecord record_of(const IpsecAlg& shard, const IkeSession& ike,
                      const lsn44::Session* udp = nullptr) {
  const Peer& peer = shard.alg.peers[ike.peer];
  StateRecord record = record_of(shard, Kind::kIkeSession, peer);
  record.version = ike.version;
  record.answered = ike.is_answered();
  record.keeps_port = ike.keeps_port;
  record.inside_port = ike.inside_port;
  // Its mapping may be another one than when its own last message came.
  if (udp == nullptr || udp->inside_port != ike.inside_port) {
    const SessionId mapping = find_ike_mapping(shard, peer, ike.inside_port);
    udp = mapping == state::kNone ? nullptr : &shard.lsn44.sessions[mapping];
  }
  record.nat_port = udp == nullptr ? ike.nat_port : udp->nat_port;
  record.initiator = ike.initiator;
  record.responder = ike.responder;
  record.idle_seconds = seconds_since(shard.now, ike.last_message);
  return record;
}

StateRecord record_of(const IpsecAlg& shard, const Exchange& exchange) {
  const IkeSession& ike = shard.alg.ike_sessions[exchange.ike];
  StateRecord record = record_of(shard, Kind::kExchange, shard.alg.peers[ike.peer]);
  record.exchange = static_cast<std::uint8_t>(exchange.name.kind);
  record.from_server = exchange.name.initiator == Direction::kInbound;
  record.message_id = exchange.name.message_id;
  record.latest_request = exchange.latest_request;
  record.answered = exchange.claims;
  record.initiator = ike.initiator;
  record.idle_seconds = seconds_since(shard.now, exchange.admitted);
  return record;
}

std::optional<StateRecord> record_of(const IpsecAlg& shard, const Peer& peer,
                                     wire::Be16 inside_port) {
  const SessionId id = find_ike_mapping(shard, peer, inside_port);
  if (id == state::kNone) return std::nullopt;
  const lsn44::Session& session = shard.lsn44.sessions[id];
  StateRecord record = record_of(shard, Kind::kMapping, peer);
  record.inside_port = inside_port;
  record.nat_port = session.nat_port;
  record.keeps_port = lsn44::preserves_port(session);
  return record;
}

/// The UDP session of a record, found or created.
SessionId restore_mapping(Lsn44& shard, const StateRecord& record, std::uint16_t group_id,
                          const Group& group) {
  Peer named{};
  named.client = record.client;
  named.td = record.td;
  named.server = record.server;
  if (const SessionId known = find_ike_mapping(shard, named, record.inside_port);
      known != state::kNone)
    return known;
  AppPolicy policy = group.app(Protocol::kUdp, wire::kIkePort);
  policy.pooling = Pooling::kPaired;
  lsn44::SessionRequest request{.protocol = Protocol::kUdp,
                                .first = Direction::kOutbound,
                                .inside = {record.client, record.inside_port},
                                .remote = {record.server, kIkePort},
                                .td = record.td,
                                .nat_port = record.nat_port};
  if (record.keeps_port) request.flags = lsn44::UdpFlags::kPreservesPort;
  const auto made = lsn44::create_session(shard, group, group_id, policy, request);
  return made ? *made : state::kNone;
}

bool restore_ike(IpsecAlg& shard, PeerId peer, const StateRecord& record, SessionId udp) {
  wire::IkeMessage message;
  message.initiator = record.initiator;
  message.responder = record.responder;
  message.version = record.version;
  message.exchange = record.version == 1 ? wire::ike_exchange::kInformational1
                                         : wire::ike_exchange::kInformational2;
  const lsn44::Session& session = shard.lsn44.sessions[udp];
  if (track(shard, peer, message, Direction::kOutbound, session) == state::kNone) return false;
  return !record.answered ||
         track(shard, peer, message, Direction::kInbound, session) != state::kNone;
}

bool restore_exchange(IpsecAlg& shard, PeerId peer, const StateRecord& record) {
  const IkeId ike = find_ike_session(shard, peer, record.initiator);
  if (ike == state::kNone || record.exchange == static_cast<std::uint8_t>(ExchangeKind::kNone) ||
      record.exchange > static_cast<std::uint8_t>(ExchangeKind::kCreateChild))
    return false;
  const ExchangeName name{static_cast<ExchangeKind>(record.exchange),
                          record.from_server ? Direction::kInbound : Direction::kOutbound,
                          record.message_id};
  const ExchangeId id = add_exchange(shard, ike, name, record.latest_request);
  if (id == state::kNone) return false;
  Exchange& exchange = shard.alg.exchanges[id];
  exchange.admitted = shard.now - std::chrono::seconds{std::min(record.idle_seconds, kLongestAge)};
  if (record.answered) {
    mark_answered(shard, id);
    exchange.first_answer = exchange.admitted;
  }
  note_exchange(shard, id, false);  // with its age
  turn_was_lost(shard, peer, exchange.admitted);
  return true;
}

}  // namespace

namespace ipsec_alg {

void note_esp_session(IpsecAlg& shard, EspId id, bool gone) {
  const Peer& peer = shard.alg.peers[shard.alg.esp_sessions[id].peer];
  if (!is_recorded(shard, peer)) return;
  StateRecord record = record_of(shard, id);
  record.gone = gone;
  shard.alg.journal.put(record);
}

void note_ike_session(IpsecAlg& shard, IkeId id, bool gone, const lsn44::Session* udp) {
  const IkeSession& ike = shard.alg.ike_sessions[id];
  if (!is_recorded(shard, shard.alg.peers[ike.peer])) return;
  StateRecord record = record_of(shard, ike, udp);
  record.gone = gone;
  shard.alg.journal.put(record);
}

void note_exchange(IpsecAlg& shard, ExchangeId id, bool gone) {
  const Exchange& exchange = shard.alg.exchanges[id];
  const Peer& peer = shard.alg.peers[shard.alg.ike_sessions[exchange.ike].peer];
  if (!is_recorded(shard, peer)) return;
  StateRecord record = record_of(shard, exchange);
  record.gone = gone;
  shard.alg.journal.put(record);
}

void note_mapping_gone(IpsecAlg& shard, PeerId id, wire::Be16 inside_port) {
  const Peer& peer = shard.alg.peers[id];
  if (!is_recorded(shard, peer)) return;
  StateRecord record = record_of(shard, Kind::kMapping, peer);
  record.inside_port = inside_port;
  record.gone = true;
  shard.alg.journal.put(record);
}

void note_mapping(IpsecAlg& shard, PeerId id, wire::Be16 inside_port) {
  const Peer& peer = shard.alg.peers[id];
  if (!is_recorded(shard, peer)) return;
  if (const auto record = record_of(shard, peer, inside_port)) shard.alg.journal.put(*record);
}

}  // namespace ipsec_alg

void list_state(IpsecAlg& shard, StatePage& page, std::size_t budget) {
  const ipsec_alg::Tables& tables = shard.alg;
  const auto walk = [&](std::uint32_t end, Kind next, auto&& add) {
    if (!walk_page(page, end, budget, add)) return;
    page.cursor = 0;
    page.finished = page.kind == next;
    page.kind = next;
  };
  switch (page.kind) {
    case Kind::kMapping:
      // Each of a peer's kept ports is a place of its own.
      walk(tables.peers.high_water() * kKeptPorts, Kind::kIkeSession, [&](std::uint32_t place) {
        const Peer& peer = tables.peers[place / kKeptPorts];
        const wire::Be16 port = peer.ike_ports[place % kKeptPorts].port;
        if (!peer.in_use || port.raw() == 0 || !is_recorded(shard, peer)) return;
        if (const auto record = record_of(shard, peer, port)) page.rows.push_back(*record);
      });
      return;
    case Kind::kIkeSession:
      walk(tables.ike_sessions.high_water(), Kind::kEspSession, [&](IkeId id) {
        const IkeSession& ike = tables.ike_sessions[id];
        if (ike.in_use && is_recorded(shard, tables.peers[ike.peer]))
          page.rows.push_back(record_of(shard, ike));
      });
      return;
    case Kind::kEspSession:
      walk(tables.esp_sessions.high_water(), Kind::kExchange, [&](EspId id) {
        const EspSession& esp = tables.esp_sessions[id];
        if (esp.in_use && is_recorded(shard, tables.peers[esp.peer]))
          page.rows.push_back(record_of(shard, id));
      });
      return;
    case Kind::kExchange:
      walk(tables.exchanges.high_water(), Kind::kExchange, [&](ExchangeId id) {
        const Exchange& exchange = tables.exchanges[id];
        if (exchange.name.kind == ExchangeKind::kNone || exchange.settled) return;
        if (is_recorded(shard, tables.peers[tables.ike_sessions[exchange.ike].peer]))
          page.rows.push_back(record_of(shard, exchange));
      });
      return;
  }
}

bool restore_state(IpsecAlg& shard, const StateRecord& record) {
  const Generation& generation = *shard.generation;
  const InsideAddress client = in_domain(record.td, record.client);
  const std::uint16_t* group_id = generation.maps.front()->group_of(client);
  const AlgProfile* profile = group_id == nullptr ? nullptr : find_profile(shard, *group_id);
  if (profile == nullptr || !profile->conn_failover) return false;
  const Group& group = *generation.group(*group_id);
  const NatAddressPlace* place = generation.nat_addresses.find(wire::Ipv4Address{record.nat_ip});
  if (place == nullptr || place->owner != shard.id ||
      std::find(group.pools.begin(), group.pools.end(), place->pool) == group.pools.end())
    return false;
  // An exchange lives as long as its IKE session.
  const bool is_esp = record.kind == Kind::kEspSession;
  const state::TickDuration timeout =
      is_esp ? profile->esp_session_timeout : profile->ike_session_timeout;
  if (record.kind != Kind::kExchange &&
      std::chrono::seconds{record.idle_seconds} > timeout + kRecordsAge)
    return false;

  const auto subscriber_id = lsn44::obtain_subscriber(shard, client, *group_id);
  if (!subscriber_id) return false;
  lsn44::Subscriber& subscriber = shard.lsn44.subscribers[*subscriber_id];
  if (subscriber.paired_ip.raw() == 0 && group.deterministic == nullptr)
    lsn44::pair_with(shard, subscriber, record.nat_ip);
  if (subscriber.paired_ip != record.nat_ip) {  // an earlier record says otherwise, or the group
    lsn44::release_subscriber(shard, *subscriber_id);
    return false;
  }
  const auto peer = obtain_peer(shard, *subscriber_id, record.server, Direction::kOutbound);
  if (!peer) {
    lsn44::release_subscriber(shard, *subscriber_id);
    return false;
  }
  switch (record.kind) {
    case Kind::kExchange:
      return restore_exchange(shard, *peer, record);
    case Kind::kEspSession:
      return restore_esp(shard, *peer, record.spi_out.raw(), record.spi_in.raw());
    case Kind::kMapping:
    case Kind::kIkeSession: {
      const SessionId udp = restore_mapping(shard, record, *group_id, group);
      if (udp == state::kNone) return false;
      if (record.kind == Kind::kIkeSession) return restore_ike(shard, *peer, record, udp);
      keep_port(shard, *peer, record.inside_port, true);
      return true;
    }
  }
  return false;
}

void finish_restoring(IpsecAlg& shard) {
  release_unused(shard);
}

}  // namespace lsn::datapath
