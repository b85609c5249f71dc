#include "lsn/datapath/lsn44/session.hpp"

#include <algorithm>

#include "lsn/datapath/ipsec_alg/esp_sessions.hpp"
#include "lsn/datapath/ipsec_alg/stages.hpp"
#include "lsn/datapath/lsn44/foresight.hpp"
#include "lsn/datapath/lsn44/lifecycle.hpp"

namespace lsn::datapath::lsn44 {
namespace {

using F = SessionFlags;

std::size_t index_of(Protocol protocol) { return static_cast<std::size_t>(protocol); }

/// groupSessionLimit: one atomic of all shards, touched only while a limit is set. A subscriber
/// whose sessions were made before there was a limit brings them all along with the first new one
/// (or with the sweep after the reload: reload.cpp).
bool count_in_group(const Group& group, Subscriber& subscriber, Protocol protocol) {
  const std::size_t p = index_of(protocol);
  const std::uint64_t limit = group.transport[p].group_session_limit;
  if (limit == 0) return true;
  const auto bit = static_cast<std::uint8_t>(1u << p);
  std::atomic<std::uint64_t>& sessions = group.usage->sessions[p];
  if ((subscriber.counted & bit) == 0) {
    subscriber.counted |= bit;
    sessions.fetch_add(subscriber.session_count[p], std::memory_order_relaxed);
  }
  if (sessions.fetch_add(1, std::memory_order_relaxed) < limit) return true;
  sessions.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

void uncount_in_group(const Shard& shard, Subscriber& subscriber, Protocol protocol) {
  const std::size_t p = index_of(protocol);
  if ((subscriber.counted & (1u << p)) == 0) return;
  const Generation& generation = *shard.generation;
  if (subscriber.group < generation.groups.size() &&
      generation.groups[subscriber.group].usage != nullptr)
    generation.groups[subscriber.group].usage->sessions[p].fetch_sub(1, std::memory_order_relaxed);
}

/// Takes a session's keys away, and gives back its port or its place in a mapping.
void forget_flow(Shard& shard, const Session& session, const SessionCold& cold) {
  Tables& tables = shard.lsn44;
  const state::FlowKey out = outbound_key(session);
  const state::FlowKey in = inbound_key(session);
  tables.outbound.erase(out, tables.outbound.hash(out));
  tables.inbound.erase(in, tables.inbound.hash(in));
  if (cold.mapping == state::kNone) {
    give_back_port(shard, tables.subscribers[cold.subscriber], session.protocol,
                   {session.nat_ip, session.nat_port});
  } else {
    Mapping& mapping = tables.mappings[cold.mapping];
    remove_permission(shard, mapping, session.remote_ip);
    if (--mapping.sessions == 0) mapping_became_idle(shard, cold.mapping);
  }
}

}  // namespace

SessionState state_of(const Session& session) {
  if (session.protocol != Protocol::kTcp) return SessionState::kActive;
  const std::uint8_t flags = session.flags;
  const bool both_fins = (flags & F::kFinOutbound) != 0 && (flags & F::kFinInbound) != 0;
  if (both_fins || (flags & F::kRst) != 0) return SessionState::kClosing;
  if ((flags & F::kFinOutbound) != 0) return SessionState::kFinOutbound;
  if ((flags & F::kFinInbound) != 0) return SessionState::kFinInbound;
  if ((flags & F::kSynOutbound) != 0 && (flags & F::kSynInbound) != 0)
    return SessionState::kEstablished;
  return (flags & F::kSynOutbound) != 0 ? SessionState::kSynSent : SessionState::kSynReceived;
}

std::expected<SessionId, DropReason> create_session(Shard& shard, const Group& group,
                                                    std::uint16_t group_id,
                                                    const AppPolicy& policy,
                                                    const SessionRequest& request) {
  Tables& tables = shard.lsn44;
  const std::size_t p = index_of(request.protocol);
  const auto subscriber_id = obtain_subscriber(shard, request.inside_ip, group_id);
  if (!subscriber_id) return std::unexpected(subscriber_id.error());
  Subscriber& subscriber = tables.subscribers[*subscriber_id];

  // Takes back, in reverse order, what was done before a step failed.
  const auto refuse = [&](DropReason reason) -> std::expected<SessionId, DropReason> {
    release_subscriber(shard, *subscriber_id);
    return std::unexpected(reason);
  };

  // Its network has moved to another group, and the sweep has not come to it yet.
  if (subscriber.group != group_id) return refuse(DropReason::kNoMapping);

  // RFC 6888 REQ-4: limits per subscriber.
  const TransportPolicy& transport = group.transport[p];
  if (transport.session_quota != 0 && subscriber.session_count[p] >= transport.session_quota)
    return refuse(DropReason::kSessionQuota);
  if (tables.sessions.size() == tables.sessions.capacity())
    return refuse(DropReason::kSessionTableFull);
  if (!count_in_group(group, subscriber, request.protocol))
    return refuse(DropReason::kGroupSessionLimit);
  const auto refuse_counted = [&](DropReason reason) {
    uncount_in_group(shard, subscriber, request.protocol);
    return refuse(reason);
  };

  const bool inspected =
      ipsec_alg::wants(shard, group_id, request.protocol, request.remote_port);
  if (inspected && request.first == Direction::kOutbound && policy.pooling == Pooling::kPaired)
    ipsec_alg::choose_address(shard, subscriber, group, request.remote_ip);

  MappingId mapping = request.mapping;
  NatEndpoint nat{};
  if (mapping == state::kNone && has_mapping(policy)) {
    const auto obtained =
        obtain_mapping(shard, *subscriber_id, group, request.protocol, policy, request.inside_port,
                       request.remote_ip, request.remote_port, request.nat_port);
    if (!obtained) return refuse_counted(obtained.error());
    mapping = *obtained;
  }
  if (mapping != state::kNone) {
    nat = {tables.mappings[mapping].nat_ip, tables.mappings[mapping].nat_port};
  } else {
    const auto taken = take_port(shard, subscriber, group, request.protocol, policy.pooling,
                                 request.inside_port, request.nat_port);
    if (!taken) return refuse_counted(taken.error());
    nat = *taken;
  }
  const auto refuse_mapped = [&](DropReason reason) {
    if (mapping == state::kNone) {
      give_back_port(shard, subscriber, request.protocol, nat);
    } else if (tables.mappings[mapping].sessions == 0 &&
               !tables.mapping_wheel.is_scheduled(mapping, mapping_wheel_links(tables))) {
      mapping_became_idle(shard, mapping);  // it is new; an older one's life is not prolonged
    }
    return refuse_counted(reason);
  };
  if (mapping != state::kNone &&
      !add_permission(shard, tables.mappings[mapping], request.remote_ip))
    return refuse_mapped(DropReason::kMappingTableFull);

  const SessionId id = tables.sessions.allocate();
  Session& session = tables.sessions[id];
  session.inside_ip = request.inside_ip;
  session.nat_ip = nat.ip;
  session.remote_ip = request.remote_ip;
  session.inside_port = request.inside_port;
  session.nat_port = nat.port;
  session.remote_port = request.remote_port;
  session.protocol = request.protocol;
  session.flags = static_cast<std::uint8_t>(request.flags | F::kInUse);
  session.last_seen = shard.now;
  session.stamp = shard.stamp;
  session.hop[0] = session.hop[1] = kNoNeighbour;
  if (shard.generation->nat_addresses.find(wire::Ipv4Address{request.remote_ip}) != nullptr)
    session.flags |= F::kHairpin;
  if (inspected) session.flags |= F::kInspect;
  if (inspected && request.first == Direction::kOutbound &&
      ipsec_alg::wants_port_kept(shard, group_id, request.inside_port, request.remote_port))
    session.flags |= F::kKeepsPort;

  // An outbound key may exist under another mapping, when profiles of different ports meet in an
  // inbound session: then the newcomer is refused. An inbound key may exist also where the port was
  // free: of a session that a reload does not allow and that the sweep has not come to yet.
  const state::FlowKey out = outbound_key(session);
  const state::FlowKey in = inbound_key(session);
  const std::uint32_t out_hash = request.missed ? *request.missed : tables.outbound.hash(out);
  const std::uint32_t in_hash = tables.inbound.hash(in);
  const bool clash = (!request.missed && tables.outbound.find(out, out_hash) != state::kNone) ||
                     tables.inbound.find(in, in_hash) != state::kNone;
  const bool first = !clash && tables.outbound.insert(out, out_hash, id);
  if (!first || !tables.inbound.insert(in, in_hash, id)) {
    if (first) tables.outbound.erase(out, out_hash);
    session.flags = 0;
    tables.sessions.release(id);
    if (mapping != state::kNone)
      remove_permission(shard, tables.mappings[mapping], request.remote_ip);
    return refuse_mapped(clash ? DropReason::kFiltered : DropReason::kFlowTableFull);
  }

  SessionCold& cold = tables.cold[id];
  cold = SessionCold{};
  cold.subscriber = *subscriber_id;
  cold.mapping = mapping;
  cold.created = shard.now;
  if (mapping != state::kNone) ++tables.mappings[mapping].sessions;
  state::list_push(subscriber.sessions, id, session_list_links(tables));
  ++subscriber.session_count[p];
  tables.session_wheel.schedule(id, shard.now + idle_timeout(shard, session, cold),
                                session_wheel_links(tables));
  ProtocolCounters& counters = shard.counters.of(request.protocol);
  counters.created.add();
  counters.sessions.add();
  return id;
}

std::expected<SessionId, DropReason> create_esp_session(Shard& shard, SubscriberId subscriber_id,
                                                        wire::Be32 nat_ip, wire::Be32 server,
                                                        std::uint32_t esp) {
  Tables& tables = shard.lsn44;
  Subscriber& subscriber = tables.subscribers[subscriber_id];
  if (tables.sessions.size() == tables.sessions.capacity())
    return std::unexpected(DropReason::kSessionTableFull);

  const SessionId id = tables.sessions.allocate();
  Session& session = tables.sessions[id];
  session.inside_ip = subscriber.ip;
  session.nat_ip = nat_ip;
  session.remote_ip = server;
  session.protocol = Protocol::kEsp;
  session.flags = F::kInUse;
  session.last_seen = shard.now;
  session.stamp = shard.stamp;
  session.hop[0] = session.hop[1] = kNoNeighbour;
  SessionCold& cold = tables.cold[id];
  cold = SessionCold{};
  cold.subscriber = subscriber_id;
  cold.mapping = esp;
  cold.created = shard.now;
  state::list_push(subscriber.sessions, id, session_list_links(tables));
  ++subscriber.session_count[index_of(Protocol::kEsp)];
  ProtocolCounters& counters = shard.counters.of(Protocol::kEsp);
  counters.created.add();
  counters.sessions.add();
  return id;
}

void end_session(Shard& shard, SessionId id, SessionEnd why) {
  Tables& tables = shard.lsn44;
  Session& session = tables.sessions[id];
  const SessionCold& cold = tables.cold[id];
  const SubscriberId subscriber_id = cold.subscriber;
  Subscriber& subscriber = tables.subscribers[subscriber_id];

  tables.session_wheel.cancel(id, session_wheel_links(tables));
  state::list_remove(subscriber.sessions, id, session_list_links(tables));
  --subscriber.session_count[index_of(session.protocol)];
  if (session.protocol == Protocol::kEsp) {
    ipsec_alg::esp_session_ended(shard, id, why);
  } else {
    uncount_in_group(shard, subscriber, session.protocol);
    if (session.protocol == Protocol::kUdp && (session.flags & F::kInspect) != 0)
      ipsec_alg::udp_session_ended(shard, session);
    forget_flow(shard, session, cold);
  }
  ProtocolCounters& counters = shard.counters.of(session.protocol);
  counters.sessions.subtract();
  counters.ended[static_cast<std::size_t>(why)].add();
  session.flags = 0;
  tables.sessions.release(id);
  ++tables.ended;
  release_subscriber(shard, subscriber_id);
}

state::TickDuration idle_timeout(const Shard& shard, const Session& session,
                                 const SessionCold& cold) {
  const Group* group =
      shard.generation->group(shard.lsn44.subscribers[cold.subscriber].group);
  if (group == nullptr) return state::TickDuration{0};
  if (session.protocol == Protocol::kEsp)
    return ipsec_alg::esp_idle_timeout(shard, cold.mapping);
  const TransportPolicy& policy = group->transport[index_of(session.protocol)];
  if (session.protocol != Protocol::kTcp) return policy.session_timeout;
  switch (state_of(session)) {
    case SessionState::kSynSent:
    case SessionState::kSynReceived:
      return policy.syn_idle_timeout;
    case SessionState::kClosing:
      return policy.fin_rst_timeout;
    default:
      return policy.session_timeout;  // a half-closed connection may carry data for long
  }
}

void rearm_session(Shard& shard, SessionId id) {
  Tables& tables = shard.lsn44;
  tables.session_wheel.cancel(id, session_wheel_links(tables));
  tables.session_wheel.schedule(
      id, shard.now + idle_timeout(shard, tables.sessions[id], tables.cold[id]),
      session_wheel_links(tables));
}

void expire_sessions(Shard& shard, std::size_t budget) {
  Tables& tables = shard.lsn44;
  tables.session_wheel.advance(
      shard.now, budget, session_wheel_links(tables),
      [&](std::uint32_t id) -> std::optional<state::Ticks> {
        const Session& session = tables.sessions[id];
        const state::Ticks deadline =
            session.last_seen + idle_timeout(shard, session, tables.cold[id]);
        if (deadline.later_than(shard.now)) return deadline;
        // The mapping of a living IKE or ESP session: it is asked again.
        if ((session.flags & F::kInspect) != 0 && ipsec_alg::keeps(shard, session))
          return shard.now + idle_timeout(shard, session, tables.cold[id]);
        end_session(shard, id, SessionEnd::kExpired);
        return std::nullopt;
      },
      [&](std::span<const SessionId> ids) { foresee_sessions(shard, ids); });
}

bool is_allowed(const Shard& shard, const Session& session, const SessionCold& cold) {
  const Generation& generation = *shard.generation;
  const Subscriber& subscriber = shard.lsn44.subscribers[cold.subscriber];
  const Group* group = generation.group(subscriber.group);
  if (group == nullptr) return false;
  const std::uint16_t* now =
      generation.maps.front()->group_of(wire::Ipv4Address{subscriber.ip});
  if (now == nullptr || *now != subscriber.group) return false;
  if (session.protocol == Protocol::kEsp && group->alg_profile == kNoId) return false;
  const NatAddressPlace* place =
      generation.nat_addresses.find(wire::Ipv4Address{session.nat_ip});
  if (place == nullptr || place->owner != shard.id) return false;
  return std::find(group->pools.begin(), group->pools.end(), place->pool) != group->pools.end();
}

}  // namespace lsn::datapath::lsn44
