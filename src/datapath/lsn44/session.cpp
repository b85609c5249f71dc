#include "lsn/datapath/lsn44/session.hpp"

#include <algorithm>
#include <atomic>

#include "lsn/datapath/lsn44/alg_hooks.hpp"
#include "lsn/datapath/lsn44/blocks.hpp"
#include "lsn/datapath/lsn44/bypass.hpp"
#include "lsn/datapath/lsn44/logging.hpp"
#include "lsn/datapath/lsn44/lsn44.hpp"
#include "lsn/datapath/lsn44/mapping.hpp"
#include "lsn/datapath/lsn44/ports.hpp"
#include "lsn/datapath/lsn44/prefetch.hpp"
#include "lsn/datapath/lsn44/session_rate.hpp"
#include "lsn/datapath/lsn44/static_mapping.hpp"
#include "lsn/datapath/lsn44/subscriber.hpp"
#include "lsn/datapath/lsn44/tcp.hpp"
#include "lsn/datapath/lsn44/translate.hpp"
#include "lsn/wire/tcp.hpp"

namespace lsn::datapath::lsn44 {
namespace {

using F = SessionFlags;

std::size_t index_of(Protocol protocol) {
  return static_cast<std::size_t>(protocol);
}

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

void uncount_in_group(const Context& shard, Subscriber& subscriber, Protocol protocol) {
  const std::size_t p = index_of(protocol);
  if ((subscriber.counted & (1u << p)) == 0) return;
  const Generation& generation = *shard.generation;
  if (subscriber.group < generation.groups.size() &&
      generation.groups[subscriber.group].usage != nullptr)
    generation.groups[subscriber.group].usage->sessions[p].fetch_sub(1, std::memory_order_relaxed);
}

/// Takes a session's keys away, and gives back its port or its place in a mapping.
void forget_flow(Lsn44& shard, const Session& session, const SessionCold& cold) {
  Tables& tables = shard.lsn44;
  const state::FlowKey out = outbound_key(shard, session);
  const state::FlowKey in = inbound_key(session);
  tables.outbound.erase(out, tables.outbound.hash(out));
  tables.inbound.erase(in, tables.inbound.hash(in));
  if (cold.by_static()) return;
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
bool is_known(Lsn44& shard, Subscriber& subscriber, const state::FlowTable& table,
              const state::FlowKey& key, std::uint32_t hash) {
  const SessionId id = table.find(key, hash);
  if (id == state::kNone) return false;
  ++subscriber.pins;
  const bool lives = revalidate(shard, id);
  --subscriber.pins;
  return lives;
}

/// Whether both sides have sent their FINs.
bool is_finished(const Session& session) {
  constexpr std::uint8_t kBoth = TcpFlags::kFinOutbound | TcpFlags::kFinInbound;
  return (session.flags & kBoth) == kBoth;
}

/// Of ESP only the address.
wire::Endpoint remote_of(const Session& session) {
  return {session.remote_ip,
          session.protocol == Protocol::kEsp ? wire::Be16{} : session.remote_port};
}

/// Whether no packet has shown the session to the present generation.
bool predates_generation(const Context& shard, const Session& session) {
  return static_cast<std::int32_t>(session.epoch - shard.adopted) < 0;
}

/// A session that came in by a mapping and was never answered stays only if the mapping's
/// filtering, which a reload has tightened, would let it in (RFC 4787 section 5).
bool is_admitted(const Lsn44& shard, const Session& session, const SessionCold& cold,
                 const Mapping& mapping) {
  const bool is_judged =
      mapping.tightened == static_cast<std::uint32_t>(shard.generation->number) &&
      predates_generation(shard, session);
  if (!is_judged || (session.flags & F::kInboundFirst) == 0 ||
      session.packets[Direction::kOutbound] != 0)
    return true;
  // One that is counted has been let in since.
  return mapping.filtering == Dependence::kAddress &&
         (cold.permits() || admits(shard, mapping, session.remote_ip));
}

}  // namespace

bool is_inspected(const Lsn44& shard, const Subscriber& subscriber, Protocol protocol,
                  wire::Be16 remote_port, const StaticMatch* by_static) {
  if (by_static != nullptr &&
      (by_static->is_one_to_one || by_static->endpoint.address != subscriber.paired_ip))
    return false;
  return alg_hooks::is_inspected(shard, subscriber.group, protocol, remote_port);
}

void count_in_limits(const Group& group, Subscriber& subscriber) {
  for (std::size_t p = 0; p < kPortProtocols; ++p) count_in_limit(group, subscriber, p);
}

SessionState state_of(const Session& session) {
  if (session.protocol != Protocol::kTcp) return SessionState::kActive;
  const std::uint8_t flags = session.flags;
  if (is_finished(session) || is_reset(session)) return SessionState::kClosing;
  if ((flags & TcpFlags::kFinOutbound) != 0) return SessionState::kFinOutbound;
  if ((flags & TcpFlags::kFinInbound) != 0) return SessionState::kFinInbound;
  if (is_open(session)) return SessionState::kEstablished;
  return (flags & TcpFlags::kSynInbound) != 0 ? SessionState::kSynReceived : SessionState::kSynSent;
}

DomainId domain_of(const Lsn44& shard, const Session& session) {
  const SessionId id = shard.lsn44.sessions.index_of(session);
  return shard.lsn44.subscribers[shard.lsn44.cold[id].subscriber].td;
}

InsideAddress inside_of(const Lsn44& shard, const Session& session) {
  return in_domain(domain_of(shard, session), session.inside_ip);
}

SessionId find_outbound(const Lsn44& shard, DomainId td, const state::FlowKey& name) {
  const state::FlowTable& table = shard.lsn44.outbound;
  const state::FlowKey key = marked(name, shard.mark_of(td));
  const SessionId id = table.find(key, table.hash(key));
  return id == state::kNone || shard.lsn44.sessions[id].inside_ip.raw() != name.local ? state::kNone
                                                                                      : id;
}

state::FlowKey outbound_key(const Lsn44& shard, const Session& s) {
  return marked(flow_key(s.protocol, s.inside_ip, s.inside_port, s.remote_ip, s.remote_port),
                shard.mark_of(domain_of(shard, s)));
}

TcpOpening tcp_opening(std::uint8_t flags, const TransportPolicy& policy) {
  using wire::TcpHeader;
  constexpr std::uint8_t kChanges =
      TcpHeader::kSyn | TcpHeader::kAck | TcpHeader::kRst | TcpHeader::kFin;
  if ((flags & kChanges) == TcpHeader::kSyn) return TcpOpening::kSyn;
  return policy.syn_check || (flags & TcpHeader::kRst) != 0 ? TcpOpening::kRefused
                                                            : TcpOpening::kTakeOver;
}

bool open_tcp(SessionRequest& request, std::uint8_t flags, const TransportPolicy& policy) {
  const TcpOpening opening = tcp_opening(flags, policy);
  if (opening == TcpOpening::kTakeOver)
    request.flags =
        static_cast<std::uint8_t>(request.flags | TcpFlags::kSynOutbound | TcpFlags::kSynInbound);
  return opening != TcpOpening::kRefused;
}

namespace {

/// Fills in the hot line's part that every new session has.
Session& fill_common(Lsn44& shard, SessionId id, wire::Be32 inside_ip, wire::Be32 nat_ip,
                     wire::Be32 remote_ip, Protocol protocol) {
  Session& session = shard.lsn44.sessions[id];
  session.inside_ip = inside_ip;
  session.nat_ip = nat_ip;
  session.remote_ip = remote_ip;
  session.protocol = protocol;
  session.flags = F::kInUse;
  session.last_seen = shard.now;
  session.epoch = shard.epoch;
  session.hop[0] = session.hop[1] = kNoNeighbour;
  return session;
}

/// A session that can be found becomes one of its subscriber's, and is counted.
SessionCold& enter(Lsn44& shard, SessionId id, SubscriberId subscriber_id, std::uint32_t mapping) {
  Tables& tables = shard.lsn44;
  Subscriber& subscriber = tables.subscribers[subscriber_id];
  const Protocol protocol = tables.sessions[id].protocol;
  SessionCold& cold = tables.cold[id];
  cold = SessionCold{};
  cold.subscriber = subscriber_id;
  cold.mapping_bits = mapping;
  cold.created = shard.now;
  state::list_push(subscriber.sessions, id, tables.session_list_links());
  ++subscriber.session_count[index_of(protocol)];
  ProtocolCounters& counters = shard.counters.of(protocol);
  counters.created.add();
  counters.sessions.add();
  return cold;
}

/// The static mapping that a new session is of: the one that has let it in, or the one of its
/// inside endpoint, if that is in force. A restored session that had another NAT port is of none.
std::optional<StaticMatch> find_static(Lsn44& shard, const SessionRequest& request) {
  if (request.mapping != state::kNone) return std::nullopt;
  auto match = match_inside(shard, request.protocol, in_domain(request.td, request.inside.address),
                            request.inside.port, request.remote.address);
  if (!match || !match->is_active) return std::nullopt;
  if (request.nat_port && *request.nat_port != match->endpoint.port) return std::nullopt;
  return match;
}

/// A session that is being created, step by step. Each step says why it fails, if it does; the
/// steps before it are then taken back, in reverse order, and no live object has been touched.
class SessionDraft {
 public:
  SessionDraft(Lsn44& shard, const Group& group, std::uint16_t group_id,
               const SessionRequest& request, SubscriberId subscriber)
      : shard_(shard),
        tables_(shard.lsn44),
        group_(group),
        request_(request),
        subscriber_id_(subscriber),
        subscriber_(tables_.subscribers[subscriber]),
        static_(find_static(shard, request)),
        is_inspected_(is_inspected(shard, subscriber_, request.protocol, request.remote.port,
                                   static_ ? &*static_ : nullptr)),
        group_id_(group_id),
        mapping_(request.mapping) {}
  ~SessionDraft() {
    if (done_ != Done::kAll) [[unlikely]]
      take_back();
  }
  SessionDraft(const SessionDraft&) = delete;
  SessionDraft& operator=(const SessionDraft&) = delete;

  using Refusal = std::optional<DropReason>;

  /// RFC 6888 REQ-4, REQ-5 b: limits per subscriber; the table's; groupSessionLimit.
  [[nodiscard]] Refusal check_quotas() {
    const std::size_t p = index_of(request_.protocol);
    const TransportPolicy& transport = group_.transport[p];
    if (is_rated() && !may_begin(shard_, subscriber_id_, request_.protocol, transport))
      return DropReason::kSessionRate;
    if (transport.session_quota != 0 && subscriber_.session_count[p] >= transport.session_quota)
      return DropReason::kSessionQuota;
    if (tables_.sessions.size() == tables_.sessions.capacity())
      return DropReason::kSessionTableFull;
    if (!count_in_group(group_, subscriber_, request_.protocol))
      return DropReason::kGroupSessionLimit;
    done_ = Done::kCounted;
    return std::nullopt;
  }

  /// A mapping, known or new, or a NAT port of its own.
  [[nodiscard]] Refusal take_nat_endpoint(const AppPolicy& policy) {
    if (static_) {
      nat_ = static_->endpoint;
      done_ = Done::kMapped;
      return std::nullopt;
    }
    if (is_inspected_ && request_.first == Direction::kOutbound &&
        policy.pooling == Pooling::kPaired)
      alg_hooks::choose_address(shard_, subscriber_, group_, request_.remote.address);
    if (mapping_ == state::kNone && has_mapping(policy)) {
      const auto obtained = obtain_mapping(shard_, group_, policy,
                                           {subscriber_id_, request_.protocol, request_.inside.port,
                                            request_.remote, request_.nat_port});
      if (!obtained) return obtained.error();
      mapping_ = *obtained;
    }
    if (mapping_ != state::kNone) {
      nat_ = {tables_.mappings[mapping_].nat_ip, tables_.mappings[mapping_].nat_port};
    } else {
      const auto taken = take_port(shard_, subscriber_, group_,
                                   {request_.protocol, policy.pooling, request_.inside.port,
                                    request_.remote.port, request_.nat_port});
      if (!taken) return taken.error();
      nat_ = *taken;
    }
    done_ = Done::kMapped;
    if (mapping_ != state::kNone && tables_.mappings[mapping_].filtering == Dependence::kAddress) {
      if (!add_permission(shard_, tables_.mappings[mapping_], request_.remote.address))
        return DropReason::kMappingTableFull;
      permits_ = true;
    }
    return std::nullopt;
  }

  /// The session's line.
  void fill() {
    id_ = tables_.sessions.allocate();
    Session& session = fill_common(shard_, id_, request_.inside.address, nat_.address,
                                   request_.remote.address, request_.protocol);
    session.inside_port = request_.inside.port;
    session.nat_port = nat_.port;
    session.remote_port = request_.remote.port;
    session.flags |= request_.flags;
    if (shard_.generation->nat_addresses.find(wire::Ipv4Address{request_.remote.address}) !=
        nullptr)
      session.flags |= F::kHairpin;
    if (request_.protocol == Protocol::kTcp && (request_.flags & TcpFlags::kSynOutbound) != 0 &&
        (request_.flags & TcpFlags::kSynInbound) != 0)
      take_over_tcp(session);
    if (is_inspected_) session.flags |= F::kOffFastPath;
    if (is_inspected_ && !static_ && request_.first == Direction::kOutbound &&
        alg_hooks::preserves_port(shard_, group_id_, request_.inside.port, request_.remote.port))
      session.flags |= UdpFlags::kPreservesPort;
    done_ = Done::kFilled;
  }

  /// Its two keys. An outbound key may exist under another mapping, when profiles of different
  /// ports meet in an inbound session: then the newcomer is refused.
  [[nodiscard]] Refusal publish() {
    const Session& session = tables_.sessions[id_];
    const state::FlowKey out = marked(flow_key(session.protocol, request_.inside, request_.remote),
                                      shard_.mark_of(request_.td));
    const state::FlowKey in = inbound_key(session);
    const std::uint32_t out_hash = request_.missed ? *request_.missed : tables_.outbound.hash(out);
    const std::uint32_t in_hash = tables_.inbound.hash(in);
    if ((!request_.missed && is_known(shard_, subscriber_, tables_.outbound, out, out_hash)) ||
        is_known(shard_, subscriber_, tables_.inbound, in, in_hash))
      return DropReason::kFiltered;
    if (!tables_.outbound.insert(out, out_hash, id_)) return DropReason::kFlowTableFull;
    if (tables_.inbound.insert(in, in_hash, id_)) return std::nullopt;
    tables_.outbound.erase(out, out_hash);
    return DropReason::kFlowTableFull;
  }

  /// It lives from here on.
  SessionId account() {
    done_ = Done::kAll;
    if (is_rated())
      count_begun(shard_, subscriber_id_, request_.protocol, group_.transport[request_.protocol]);
    SessionCold& cold = enter(shard_, id_, subscriber_id_,
                              !static_                         ? mapping_
                              : static_->is_of_one_destination ? SessionCold::kByStaticOfOne
                                                               : SessionCold::kByStatic);
    if (permits_) cold.set_permits();
    if (mapping_ != state::kNone) ++tables_.mappings[mapping_].sessions;
    const Session& session = tables_.sessions[id_];
    tables_.session_wheel.schedule(id_, shard_.now + idle_timeout(shard_, session, cold),
                                   tables_.session_wheel_links());
    if (group_.logging != 0) [[unlikely]]
      log_session(shard_, group_.logging, id_, LogEvent::kCreated);
    return id_;
  }

 private:
  enum class Done : std::uint8_t { kNothing, kCounted, kMapped, kFilled, kAll };

  /// Sessions that an outside host begins do not count: it could use up the subscriber's.
  [[nodiscard]] bool is_rated() const {
    return group_.transport[request_.protocol].session_rate != 0 &&
           request_.first == Direction::kOutbound;
  }

  void take_back() {
    if (done_ == Done::kFilled) {
      tables_.sessions[id_].flags = 0;
      tables_.sessions.release(id_);
    }
    if (permits_) remove_permission(shard_, tables_.mappings[mapping_], request_.remote.address);
    if (done_ >= Done::kMapped) {
      if (static_) {
        // Its port stays the mapping's.
      } else if (mapping_ == state::kNone) {
        give_back_port(shard_, subscriber_, request_.protocol, nat_);
      } else if (tables_.mappings[mapping_].sessions == 0 &&
                 !tables_.mapping_wheel.is_scheduled(mapping_, tables_.mapping_wheel_links())) {
        mapping_became_idle(shard_, mapping_);  // it is new; an older one's life is not prolonged
      }
    }
    if (done_ >= Done::kCounted) uncount_in_group(shard_, subscriber_, request_.protocol);
    release_subscriber(shard_, subscriber_id_);
  }

  Lsn44& shard_;
  Tables& tables_;
  const Group& group_;
  const SessionRequest& request_;
  const SubscriberId subscriber_id_;
  Subscriber& subscriber_;
  const std::optional<StaticMatch> static_;  ///< the mapping that has its NAT endpoint
  const bool is_inspected_;
  const std::uint16_t group_id_;
  MappingId mapping_;
  wire::Endpoint nat_{};
  SessionId id_ = state::kNone;
  bool permits_ = false;
  Done done_ = Done::kNothing;
};

std::expected<SessionId, DropReason> try_create(Lsn44& shard, const Group& group,
                                                std::uint16_t group_id, const AppPolicy& policy,
                                                const SessionRequest& request) {
  const InsideAddress inside = in_domain(request.td, request.inside.address);
  // An answer would leave untranslated.
  if (request.first == Direction::kInbound &&
      is_bypassed(*shard.generation, request.protocol, inside, request.remote))
    return std::unexpected(DropReason::kFiltered);
  const auto subscriber = obtain_subscriber(shard, inside, group_id);
  if (!subscriber) return std::unexpected(subscriber.error());
  SessionDraft draft(shard, group, group_id, request, *subscriber);
  if (const auto refusal = draft.check_quotas()) return std::unexpected(*refusal);
  if (const auto refusal = draft.take_nat_endpoint(policy)) return std::unexpected(*refusal);
  draft.fill();
  if (const auto refusal = draft.publish()) return std::unexpected(*refusal);
  return draft.account();
}

}  // namespace

std::expected<SessionId, DropReason> create_session(Lsn44& shard, const Group& group,
                                                    std::uint16_t group_id, const AppPolicy& policy,
                                                    const SessionRequest& request) {
  const auto made = try_create(shard, group, group_id, policy, request);
  if (!made) [[unlikely]]
    log_refusal(shard, group_id, request.protocol, in_domain(request.td, request.inside.address),
                made.error());
  return made;
}

std::expected<SessionId, DropReason> create_esp_session(Lsn44& shard, SubscriberId subscriber,
                                                        wire::Be32 nat_ip, wire::Be32 server,
                                                        std::uint32_t esp) {
  Tables& tables = shard.lsn44;
  if (tables.sessions.size() == tables.sessions.capacity())
    return std::unexpected(DropReason::kSessionTableFull);
  const SessionId id = tables.sessions.allocate();
  fill_common(shard, id, tables.subscribers[subscriber].ip, nat_ip, server, Protocol::kEsp);
  enter(shard, id, subscriber, esp);
  return id;
}

void end_session(Lsn44& shard, SessionId id, SessionEnd why) {
  Tables& tables = shard.lsn44;
  Session& session = tables.sessions[id];
  const SessionCold& cold = tables.cold[id];
  const SubscriberId subscriber_id = cold.subscriber;
  Subscriber& subscriber = tables.subscribers[subscriber_id];

  if (const std::uint8_t logging = logging_of(shard, subscriber);
      logging != 0 && session.protocol != Protocol::kEsp) [[unlikely]]
    log_session(shard, logging, id, LogEvent::kDeleted, log_reason(session, why));
  tables.session_wheel.cancel(id, tables.session_wheel_links());
  state::list_remove(subscriber.sessions, id, tables.session_list_links());
  --subscriber.session_count[index_of(session.protocol)];
  if (session.protocol == Protocol::kEsp) {
    alg_hooks::on_esp_session_end(shard, id, why);
  } else {
    uncount_in_group(shard, subscriber, session.protocol);
    if (session.protocol == Protocol::kUdp && (session.flags & F::kOffFastPath) != 0)
      alg_hooks::on_udp_session_end(shard, session);
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

std::optional<std::uint16_t> policy_port(const Lsn44& shard, const Session& session,
                                         const SessionCold& cold) {
  if ((session.flags & F::kInboundFirst) == 0) return session.remote_port.host();
  // The port of the remote side is only the client's there.
  if (cold.mapping() == state::kNone) return std::nullopt;
  return shard.lsn44.mappings[cold.mapping()].policy_port.host();
}

state::TickDuration idle_timeout(const Lsn44& shard, const Session& session,
                                 const SessionCold& cold) {
  const Group* group = shard.generation->group(shard.lsn44.subscribers[cold.subscriber].group);
  if (group == nullptr) return state::TickDuration{0};
  if (session.protocol == Protocol::kEsp) return alg_hooks::esp_idle_timeout(shard, cold.esp());
  const auto session_timeout = [&] {
    // Without attributes its mapping is not looked at.
    const std::optional<std::uint16_t> port = group->session_timeouts[session.protocol].empty()
                                                  ? std::nullopt
                                                  : policy_port(shard, session, cold);
    return port ? group->session_timeout(session.protocol, *port)
                : group->transport[session.protocol].session_timeout;
  };
  if (session.protocol != Protocol::kTcp) return session_timeout();
  const TransportPolicy& policy = group->transport[Protocol::kTcp];
  switch (state_of(session)) {
    case SessionState::kSynSent:
    case SessionState::kSynReceived:
      return policy.syn_idle_timeout;
    case SessionState::kClosing: {
      // An attempt that was refused has nothing to lose, and a connection that both sides have
      // closed is over.
      return is_open(session) && !is_finished(session)
                 ? std::max(policy.fin_rst_timeout, kResetTimeout)
                 : policy.fin_rst_timeout;
    }
    default:
      return session_timeout();  // a half-closed connection may carry data for long
  }
}

void rearm_session(Lsn44& shard, SessionId id) {
  Tables& tables = shard.lsn44;
  tables.session_wheel.cancel(id, tables.session_wheel_links());
  const Session& session = tables.sessions[id];
  tables.session_wheel.schedule(id,
                                session.last_seen + idle_timeout(shard, session, tables.cold[id]),
                                tables.session_wheel_links());
}

void expire_sessions(Lsn44& shard, std::size_t budget) {
  Tables& tables = shard.lsn44;
  tables.session_wheel.advance(
      shard.now, budget, tables.session_wheel_links(),
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
        if ((session.flags & F::kOffFastPath) != 0 &&
            alg_hooks::keeps_mapping_alive(shard, session))
          return shard.now + idle_timeout(shard, session, tables.cold[id]);
        end_session(shard, id, SessionEnd::kExpired);
        return std::nullopt;
      },
      [&](std::span<const SessionId> ids) { prefetch_sessions(shard, ids); });
}

bool is_allowed(Lsn44& shard, SessionId id) {
  Tables& tables = shard.lsn44;
  const Session& session = tables.sessions[id];
  SessionCold& cold = tables.cold[id];
  const Generation& generation = *shard.generation;
  const Group* group = refresh_subscriber(shard, cold.subscriber);
  if (group == nullptr) return false;
  // Its group's ALG may have ended it.
  if ((session.flags & F::kInUse) == 0) return true;
  if (session.protocol == Protocol::kEsp && group->alg_profile == kNoId) return false;
  if (is_bypassed(generation, session.protocol, inside_of(shard, session), remote_of(session)))
    return false;
  const NatAddressPlace* place = generation.nat_addresses.find(wire::Ipv4Address{session.nat_ip});
  if (place == nullptr || place->owner != shard.id) return false;
  if (session.protocol != Protocol::kEsp && cold.by_static())
    return is_static_still(shard, session);
  if (std::find(group->pools.begin(), group->pools.end(), place->pool) == group->pools.end())
    return false;
  Subscriber& subscriber = tables.subscribers[cold.subscriber];
  if (session.protocol == Protocol::kEsp)
    return group->deterministic == nullptr || subscriber.paired_ip == session.nat_ip;
  if (cold.mapping() == state::kNone)
    return holds_port(shard, subscriber, *group, {session.nat_ip, session.nat_port});
  if (!revalidate_mapping(shard, cold.mapping())) return false;
  const Mapping& mapping = tables.mappings[cold.mapping()];
  if (!is_admitted(shard, session, cold, mapping)) return false;
  // One that is retired may become another port's, which filters by addresses.
  if ((mapping.filtering == Dependence::kAddress || mapping.is_retired) && !cold.permits() &&
      add_permission(shard, mapping, session.remote_ip))
    cold.set_permits();
  return true;
}

}  // namespace lsn::datapath::lsn44
