#include "lsn/datapath/lsn44/session.hpp"

#include <algorithm>

#include "lsn/datapath/ipsec_alg/esp_sessions.hpp"
#include "lsn/datapath/ipsec_alg/stages.hpp"
#include "lsn/datapath/lsn44/foresight.hpp"
#include "lsn/datapath/lsn44/lifecycle.hpp"
#include "lsn/datapath/lsn44/stages.hpp"
#include "lsn/datapath/lsn44/tcp.hpp"

namespace lsn::datapath::lsn44 {
namespace {

using F = SessionFlags;

std::size_t index_of(Protocol protocol) { return static_cast<std::size_t>(protocol); }

/// A subscriber's sessions of a protocol are all in GroupUsage, or none of them: as the group has a
/// limit or not. The first new session after a reload that changed that brings them in line, or the
/// sweep does.
void count_in_limit(const Group& group, Subscriber& subscriber, std::size_t p) {
  const auto bit = static_cast<std::uint8_t>(1u << p);
  const bool is_limited = group.transport[p].group_session_limit != 0;
  if (is_limited == ((subscriber.counted & bit) != 0)) return;
  std::atomic<std::uint64_t>& sessions = group.usage->sessions[p];
  if (is_limited) {
    sessions.fetch_add(subscriber.session_count[p], std::memory_order_relaxed);
  } else {
    sessions.fetch_sub(subscriber.session_count[p], std::memory_order_relaxed);
  }
  subscriber.counted ^= bit;
}

/// groupSessionLimit: one atomic of all shards, touched only while a limit is set.
bool count_in_group(const Group& group, Subscriber& subscriber, Protocol protocol) {
  const std::size_t p = index_of(protocol);
  count_in_limit(group, subscriber, p);
  const std::uint64_t limit = group.transport[p].group_session_limit;
  if (limit == 0) return true;
  std::atomic<std::uint64_t>& sessions = group.usage->sessions[p];
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
  if (cold.mapping() == state::kNone) {
    give_back_port(shard, tables.subscribers[cold.subscriber], session.protocol,
                   {session.nat_ip, session.nat_port});
  } else {
    Mapping& mapping = tables.mappings[cold.mapping()];
    if (cold.permits()) remove_permission(shard, mapping, session.remote_ip);
    if (--mapping.sessions == 0) mapping_became_idle(shard, cold.mapping());
  }
}

/// Whether a session has that key. One that the generation does not allow any more ends here, but
/// not the subscriber that is about to get another.
bool is_known(Shard& shard, Subscriber& subscriber, const state::FlowTable& table,
              const state::FlowKey& key, std::uint32_t hash) {
  const SessionId id = table.find(key, hash);
  if (id == state::kNone) return false;
  ++subscriber.pins;
  const bool lives = revalidate(shard, id);
  --subscriber.pins;
  return lives;
}

/// Whether no packet has shown the session to the present generation.
bool predates_generation(const Shard& shard, const Session& session) {
  return static_cast<std::int32_t>(session.stamp - shard.adopted) < 0;
}

/// What came in by a mapping and was never answered stays only if the mapping's filtering, which a
/// reload has tightened, would let it in (RFC 4787 section 5).
bool is_admitted(const Shard& shard, const Session& session, const SessionCold& cold,
                 const Mapping& mapping) {
  const bool is_judged =
      mapping.tightened == static_cast<std::uint32_t>(shard.generation->number) &&
      predates_generation(shard, session);
  if (!is_judged || (session.flags & F::kInboundFirst) == 0 ||
      session.packets[static_cast<std::size_t>(Direction::kOutbound)] != 0)
    return true;
  // One that is counted has been let in since.
  return mapping.filtering == Dependence::kAddress &&
         (cold.permits() || admits(shard, mapping, session.remote_ip));
}

}  // namespace

void count_in_limits(const Group& group, Subscriber& subscriber) {
  for (std::size_t p = 0; p < kPortProtocols; ++p) count_in_limit(group, subscriber, p);
}

SessionState state_of(const Session& session) {
  if (session.protocol != Protocol::kTcp) return SessionState::kActive;
  const std::uint8_t flags = session.flags;
  const bool both_fins = (flags & F::kFinOutbound) != 0 && (flags & F::kFinInbound) != 0;
  if (both_fins || is_reset(session)) return SessionState::kClosing;
  if ((flags & F::kFinOutbound) != 0) return SessionState::kFinOutbound;
  if ((flags & F::kFinInbound) != 0) return SessionState::kFinInbound;
  if (is_open(session)) return SessionState::kEstablished;
  return (flags & F::kSynInbound) != 0 ? SessionState::kSynReceived : SessionState::kSynSent;
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
  const bool permits =
      mapping != state::kNone && tables.mappings[mapping].filtering == Dependence::kAddress;
  if (permits && !add_permission(shard, tables.mappings[mapping], request.remote_ip))
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
  if (request.protocol == Protocol::kTcp && (request.flags & F::kSynOutbound) != 0 &&
      (request.flags & F::kSynInbound) != 0)
    take_over_tcp(session);
  if (inspected) session.flags |= F::kInspect;
  if (inspected && request.first == Direction::kOutbound &&
      ipsec_alg::wants_port_kept(shard, group_id, request.inside_port, request.remote_port))
    session.flags |= F::kKeepsPort;

  // An outbound key may exist under another mapping, when profiles of different ports meet in an
  // inbound session: then the newcomer is refused.
  const state::FlowKey out = outbound_key(session);
  const state::FlowKey in = inbound_key(session);
  const std::uint32_t out_hash = request.missed ? *request.missed : tables.outbound.hash(out);
  const std::uint32_t in_hash = tables.inbound.hash(in);
  const bool clash =
      (!request.missed && is_known(shard, subscriber, tables.outbound, out, out_hash)) ||
      is_known(shard, subscriber, tables.inbound, in, in_hash);
  const bool first = !clash && tables.outbound.insert(out, out_hash, id);
  if (!first || !tables.inbound.insert(in, in_hash, id)) {
    if (first) tables.outbound.erase(out, out_hash);
    session.flags = 0;
    tables.sessions.release(id);
    if (permits) remove_permission(shard, tables.mappings[mapping], request.remote_ip);
    return refuse_mapped(clash ? DropReason::kFiltered : DropReason::kFlowTableFull);
  }

  SessionCold& cold = tables.cold[id];
  cold = SessionCold{};
  cold.subscriber = *subscriber_id;
  cold.mapping_bits = mapping;
  if (permits) cold.set_permits();
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
  cold.mapping_bits = esp;
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
  if (session.protocol == Protocol::kEsp) return ipsec_alg::esp_idle_timeout(shard, cold.mapping());
  const TransportPolicy& policy = group->transport[index_of(session.protocol)];
  if (session.protocol != Protocol::kTcp) return policy.session_timeout;
  switch (state_of(session)) {
    case SessionState::kSynSent:
    case SessionState::kSynReceived:
      return policy.syn_idle_timeout;
    case SessionState::kClosing: {
      // An attempt that was refused has nothing to lose, and what both sides have closed is over.
      const bool both_fins =
          (session.flags & F::kFinOutbound) != 0 && (session.flags & F::kFinInbound) != 0;
      return is_open(session) && !both_fins ? std::max(policy.fin_rst_timeout, kResetTimeout)
                                            : policy.fin_rst_timeout;
    }
    default:
      return policy.session_timeout;  // a half-closed connection may carry data for long
  }
}

void rearm_session(Shard& shard, SessionId id) {
  Tables& tables = shard.lsn44;
  tables.session_wheel.cancel(id, session_wheel_links(tables));
  const Session& session = tables.sessions[id];
  tables.session_wheel.schedule(id,
                                session.last_seen + idle_timeout(shard, session, tables.cold[id]),
                                session_wheel_links(tables));
}

void expire_sessions(Shard& shard, std::size_t budget) {
  Tables& tables = shard.lsn44;
  tables.session_wheel.advance(
      shard.now, budget, session_wheel_links(tables),
      [&](std::uint32_t id) -> std::optional<state::Ticks> {
        const Session& session = tables.sessions[id];
        // The sweep after a reload may not have come to its subscriber yet.
        if (predates_generation(shard, session)) {
          refresh_subscriber(shard, tables.cold[id].subscriber);
          if ((session.flags & F::kInUse) == 0) return std::nullopt;
        }
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

bool is_allowed(Shard& shard, SessionId id) {
  Tables& tables = shard.lsn44;
  const Session& session = tables.sessions[id];
  SessionCold& cold = tables.cold[id];
  const Generation& generation = *shard.generation;
  const Group* group = refresh_subscriber(shard, cold.subscriber);
  if (group == nullptr) return false;
  // Its group's ALG may have ended it.
  if ((session.flags & F::kInUse) == 0) return true;
  if (session.protocol == Protocol::kEsp && group->alg_profile == kNoId) return false;
  const NatAddressPlace* place =
      generation.nat_addresses.find(wire::Ipv4Address{session.nat_ip});
  if (place == nullptr || place->owner != shard.id ||
      std::find(group->pools.begin(), group->pools.end(), place->pool) == group->pools.end())
    return false;
  if (session.protocol == Protocol::kEsp || cold.mapping() == state::kNone) return true;
  if (!revalidate_mapping(shard, cold.mapping())) return false;
  const Mapping& mapping = tables.mappings[cold.mapping()];
  if (!is_admitted(shard, session, cold, mapping)) return false;
  if (mapping.filtering == Dependence::kAddress && !cold.permits() &&
      add_permission(shard, mapping, session.remote_ip))
    cold.set_permits();
  return true;
}

}  // namespace lsn::datapath::lsn44
