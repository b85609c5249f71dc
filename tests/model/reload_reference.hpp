// The behaviour required of a NAT with its sessions and mappings when its configuration changes, as
// simply as it can be said. It shares nothing with the product and knows no shards.
//
// A reload keeps an object only if a fresh start with the new configuration would allow it:
//   session   its subscriber's group, whatever its name, has the session's NAT address in a pool;
//             and if it came in unanswered, the filtering that its mapping has now would let it in
//   mapping   the same of its NAT address; it filters as the policy of its port says now; if that
//             policy would not make such a mapping it serves only its sessions
// Times, quotas and limits are those of the group that the subscriber is in now.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "support/config.hpp"
#include "support/packet_builder.hpp"

namespace lsn::test::reloads {

class ReloadReference {
 public:
  using Kind = Protocol;  ///< TCP, UDP or ICMP queries
  using Milliseconds = std::int64_t;
  enum class Phase : std::uint8_t { kOpening, kOpen, kClosing };  ///< TCP; others: open

  enum class Fate : std::uint8_t {
    kForward,  ///< by an existing session
    kOpen,     ///< forward, and make a session
    kNotAClient,
    kNoAddress,
    kNotSyn,
    kSessionQuota,
    kGroupLimit,
    kPortQuota,
    kNotOurs,
    kNobodys,   ///< no mapping admits it: there is none, or it filters
    kConflict,  ///< the inside endpoint talks to that sender by another mapping
  };

  struct Session {
    Endpoint nat;
    Milliseconds seen = 0;
    int mapping = kNone;
    bool from_outside = false, answered = false;
    Phase phase = Phase::kOpen;
    /// The filtering decides whether another session lets it in: either answer is right.
    bool is_doubtful = false;
    /// A filtering by addresses has let it in: what it becomes in between, and back, is no reason.
    bool was_let_in = false;
  };
  struct Mapping {
    Kind kind;
    Endpoint inside, nat, remote;  ///< remote: as much of it as the mapping depends on
    Dependence mapping, filtering;
    unsigned policy_port = 0;
    bool is_retired = false;
    Milliseconds idle_since = 0;
  };
  using Key = std::tuple<Kind, Endpoint, Endpoint>;  ///< inside, remote
  static constexpr int kNone = -1;

  explicit ReloadReference(const Config& config) : config_(config) {}

  // ── configuration ──────────────────────────────────────────────────────────────────────────────

  [[nodiscard]] const GroupConfig* group_of(Ip client) const {
    for (const GroupConfig& group : config_.groups)
      for (const Network& network : group.clients)
        if (network.contains(client)) return &group;
    return nullptr;
  }
  [[nodiscard]] bool has_address(const GroupConfig& group, Ip nat) const {
    return std::any_of(config_.pools.begin(), config_.pools.end(), [&](const PoolConfig& pool) {
      return std::count(group.pools.begin(), group.pools.end(), pool.name) != 0 &&
             std::any_of(pool.addresses.begin(), pool.addresses.end(),
                         [&](const Network& n) { return n.contains(nat); });
    });
  }
  [[nodiscard]] bool has_addresses(const GroupConfig& group) const {
    return std::any_of(config_.pools.begin(), config_.pools.end(), [&](const PoolConfig& pool) {
      return !pool.addresses.empty() &&
             std::count(group.pools.begin(), group.pools.end(), pool.name) != 0;
    });
  }
  [[nodiscard]] static AppPolicy policy_of(const GroupConfig& group, Kind kind, unsigned port) {
    for (const GroupConfig::App& app : group.apps)
      if (app.protocol == kind && (kind == Kind::kIcmp || (app.first <= port && port <= app.last)))
        return app.policy;
    return {};
  }

  /// Returns how many sessions end.
  std::uint64_t reload(const Config& config) {
    config_ = config;
    reloaded_at_ = now_;
    std::set<int> tightened;
    for (auto& [id, m] : mappings_) {
      const GroupConfig* group = group_of(m.inside.ip);
      if (group == nullptr) continue;
      const AppPolicy policy = policy_of(*group, m.kind, m.policy_port);
      if (set_policy(m, policy)) tightened.insert(id);
    }
    std::uint64_t ended = 0;
    for (auto it = sessions_.begin(); it != sessions_.end();) {
      Session& s = it->second;
      s.is_doubtful = false;
      const GroupConfig* group = group_of(std::get<1>(it->first).ip);
      bool allowed = group != nullptr && has_address(*group, s.nat.ip);
      if (allowed && tightened.contains(s.mapping) && s.from_outside && !s.answered) {
        // Another one from the same host may let it stay, also one that comes before the sweep.
        allowed = s.is_doubtful = mappings_.at(s.mapping).filtering == Dependence::kAddress;
      }
      if (allowed) {
        ++it;
      } else {
        it = remove(it, now_);
        ++ended;
      }
    }
    gone_.clear();
    std::erase_if(mappings_, [&](const auto& item) {
      const Mapping& m = item.second;
      const GroupConfig* group = group_of(m.inside.ip);
      const bool goes = count_of(item.first) == 0 &&
                        (group == nullptr || !has_address(*group, m.nat.ip) || m.is_retired);
      if (goes) gone_.insert({m.kind, m.inside});
      return goes;
    });
    for (auto it = pairings_.begin(); it != pairings_.end();) {
      const GroupConfig* group = group_of(it->first);
      it =
          group != nullptr && has_address(*group, it->second) ? std::next(it) : pairings_.erase(it);
    }
    forget_pairings();
    return ended;
  }

  // ── time ───────────────────────────────────────────────────────────────────────────────────────

  void set_now(Milliseconds now) {
    now_ = now;
    for (auto it = sessions_.begin(); it != sessions_.end();) {
      const Milliseconds end = end_of(it->first, it->second);
      it = end <= now_ ? remove(it, std::max(end, reloaded_at_)) : std::next(it);
    }
    std::erase_if(mappings_, [&](const auto& item) {
      return count_of(item.first) == 0 && end_of(item.second) <= now_;
    });
    forget_pairings();
  }
  /// Whether something ends so close to that time that a tick more or less decides.
  [[nodiscard]] bool is_close_call(Milliseconds now) const {
    constexpr Milliseconds kMargin = 600;
    const auto close = [&](Milliseconds end) { return std::abs(end - now) <= kMargin; };
    return std::any_of(sessions_.begin(), sessions_.end(),
                       [&](const auto& item) { return close(end_of(item.first, item.second)); }) ||
           std::any_of(mappings_.begin(), mappings_.end(), [&](const auto& item) {
             return count_of(item.first) == 0 && close(end_of(item.second));
           });
  }

  // ── packets ────────────────────────────────────────────────────────────────────────────────────

  /// TCP: of a SYN.
  [[nodiscard]] Fate outbound(Kind kind, Endpoint inside, Endpoint remote) const {
    const GroupConfig* group = group_of(inside.ip);
    if (group == nullptr) return Fate::kNotAClient;
    if (sessions_.contains({kind, inside, remote})) return Fate::kForward;
    if (!has_addresses(*group)) return Fate::kNoAddress;
    const TransportPolicy& transport = transport_of(*group, kind);
    if (const Fate fate = within_limits(*group, kind, inside.ip); fate != Fate::kOpen) return fate;
    if (transport.port_quota != 0 && shared_mapping(kind, inside, remote) == kNone &&
        ports_of(kind, inside.ip) >= transport.port_quota)
      return Fate::kPortQuota;
    return Fate::kOpen;
  }

  [[nodiscard]] Fate inbound(Kind kind, Endpoint nat, Endpoint remote, Endpoint& inside) const {
    if (!config_.is_nat_address(nat.ip)) return Fate::kNotOurs;
    for (const auto& [key, session] : sessions_) {
      if (std::get<0>(key) != kind || session.nat != nat || std::get<2>(key) != remote) continue;
      inside = std::get<1>(key);
      return Fate::kForward;
    }
    const int id = mapping_at(kind, nat);
    if (id == kNone || !admits(id, remote)) return Fate::kNobodys;
    inside = mappings_.at(id).inside;
    const GroupConfig* group = group_of(inside.ip);
    if (group == nullptr || !has_address(*group, nat.ip)) return Fate::kNobodys;
    if (const Fate fate = within_limits(*group, kind, inside.ip); fate != Fate::kOpen) return fate;
    return sessions_.contains({kind, inside, remote}) ? Fate::kConflict : Fate::kOpen;
  }

  /// Whether a new session from inside would have a mapping that has no other, or that the last
  /// reload has removed.
  [[nodiscard]] bool has_idle_mapping(Kind kind, Endpoint inside, Endpoint remote) const {
    if (group_of(inside.ip) == nullptr) return false;
    if (gone_.contains({kind, inside})) return true;
    const int id = shared_mapping(kind, inside, remote);
    return id != kNone && std::none_of(sessions_.begin(), sessions_.end(), [&](const auto& item) {
             return item.second.mapping == id && !item.second.is_doubtful;
           });
  }
  /// Whether another session of its mapping is with the same host, which the subscriber knows.
  [[nodiscard]] bool is_let_in_by_another(const Key& key) const {
    return std::any_of(sessions_.begin(), sessions_.end(), [&](const auto& other) {
      return other.first != key && other.second.mapping == sessions_.at(key).mapping &&
             (!other.second.from_outside || other.second.answered) &&
             std::get<2>(other.first).ip == std::get<2>(key).ip;
    });
  }
  /// Whether the mapping that has a NAT endpoint filters by addresses.
  [[nodiscard]] bool filters_by_address(Kind kind, Endpoint nat) const {
    const int id = mapping_at(kind, nat);
    return id != kNone && mappings_.at(id).filtering == Dependence::kAddress;
  }

  /// Why a new session of an inside endpoint must not have this NAT endpoint.
  [[nodiscard]] std::optional<std::string> fault_of(Kind kind, Endpoint inside, Endpoint remote,
                                                    Endpoint nat) const {
    const GroupConfig& group = *group_of(inside.ip);
    if (!has_address(group, nat.ip)) return "no address of its group's pools";
    if (const int id = shared_mapping(kind, inside, remote); id != kNone)
      return mappings_.at(id).nat == nat ? std::nullopt
                                         : std::optional<std::string>{"not its mapping's endpoint"};
    if (is_taken(kind, nat)) return "somebody else's endpoint";
    const AppPolicy policy = policy_of(group, kind, remote.port);
    const auto pairing = pairings_.find(inside.ip);
    if (policy.pooling == Pooling::kPaired && pairing != pairings_.end() &&
        pairing->second != nat.ip)
      return "not the paired address (RFC 4787 REQ-2)";
    if (kind == Kind::kIcmp) return std::nullopt;
    const TransportPolicy& transport = transport_of(group, kind);
    if ((transport.preserve_range && inside.port < 1024) != (nat.port < 1024))
      return "the wrong port range (RFC 4787 REQ-3)";
    if (transport.preserve_parity && inside.port % 2 != nat.port % 2)
      return "the other parity (RFC 4787 REQ-4)";
    return std::nullopt;
  }

  Session& open(Kind kind, Endpoint inside, Endpoint remote, Endpoint nat, bool from_outside) {
    const GroupConfig& group = *group_of(inside.ip);
    Session session{.nat = nat, .seen = now_, .from_outside = from_outside};
    if (kind == Kind::kTcp) session.phase = Phase::kOpening;
    if (from_outside) {
      session.mapping = mapping_at(kind, nat);
      session.was_let_in = mappings_.at(session.mapping).filtering == Dependence::kAddress;
    } else {
      const AppPolicy policy = policy_of(group, kind, remote.port);
      int id = shared_mapping(kind, inside, remote);
      if (id == kNone && policy.pooling == Pooling::kPaired) pairings_.emplace(inside.ip, nat.ip);
      if (has_mapping(policy)) {
        if (id == kNone) {
          id = ++last_;
          Mapping m{.kind = kind,
                    .inside = inside,
                    .nat = nat,
                    .remote = {},
                    .mapping = policy.mapping,
                    .filtering = policy.filtering,
                    .policy_port = remote.port};
          m.remote = as_far_as(policy.mapping, remote);
          mappings_.emplace(id, m);
        } else if (Mapping& m = mappings_.at(id); count_of(id) == 0 || m.is_retired) {
          m.mapping = policy.mapping;
          m.policy_port = remote.port;
          set_policy(m, policy);
        }
        session.mapping = id;
      }
    }
    return sessions_.emplace(Key{kind, inside, remote}, session).first->second;
  }

  void passed(const Key& key, bool out) {
    Session& s = sessions_.at(key);
    s.seen = now_;
    if (out) s.answered = true;
  }
  [[nodiscard]] Session* find(const Key& key) {
    const auto it = sessions_.find(key);
    return it == sessions_.end() ? nullptr : &it->second;
  }
  void forget(const Key& key) {
    remove(sessions_.find(key), now_);
    forget_pairings();
  }

  // ── tables ─────────────────────────────────────────────────────────────────────────────────────

  [[nodiscard]] std::map<Key, Session>& sessions() { return sessions_; }
  [[nodiscard]] const std::map<int, Mapping>& mappings() const { return mappings_; }
  [[nodiscard]] std::uint64_t count(Kind kind) const {
    return count_if([&](const Key& key) { return std::get<0>(key) == kind; });
  }
  /// Sessions of a group, of one protocol.
  [[nodiscard]] std::uint64_t count(const GroupConfig& group, Kind kind) const {
    return count_if([&](const Key& key) {
      const GroupConfig* of = group_of(std::get<1>(key).ip);
      return std::get<0>(key) == kind && of != nullptr && of->name == group.name;
    });
  }
  /// NAT addresses of each subscriber that has any state.
  [[nodiscard]] std::map<Ip, std::set<Ip>> subscribers() const {
    std::map<Ip, std::set<Ip>> all;
    for (const auto& [key, session] : sessions_) all[std::get<1>(key).ip].insert(session.nat.ip);
    for (const auto& [id, m] : mappings_) all[m.inside.ip].insert(m.nat.ip);
    return all;
  }

 private:
  using Sessions = std::map<Key, Session>;

  static const TransportPolicy& transport_of(const GroupConfig& group, Kind kind) {
    return group.transport[static_cast<std::size_t>(kind)];
  }
  static bool has_mapping(const AppPolicy& policy) {
    return policy.mapping != Dependence::kAddressPort ||
           policy.filtering != Dependence::kAddressPort;
  }
  static Endpoint as_far_as(Dependence mapping, Endpoint remote) {
    if (mapping == Dependence::kEndpointIndependent) return {};
    return mapping == Dependence::kAddress ? Endpoint{remote.ip, 0} : remote;
  }

  /// True if it admits fewer now.
  static bool set_policy(Mapping& m, const AppPolicy& policy) {
    m.is_retired = m.mapping != policy.mapping || !has_mapping(policy);
    const Dependence before = m.filtering;
    m.filtering = m.is_retired ? Dependence::kAddressPort : policy.filtering;
    return m.filtering > before;
  }

  [[nodiscard]] int shared_mapping(Kind kind, Endpoint inside, Endpoint remote) const {
    const AppPolicy policy = policy_of(*group_of(inside.ip), kind, remote.port);
    if (!has_mapping(policy)) return kNone;
    for (const auto& [id, m] : mappings_)
      if (m.kind == kind && m.inside == inside && m.mapping == policy.mapping &&
          m.remote == as_far_as(policy.mapping, remote))
        return id;
    return kNone;
  }
  [[nodiscard]] int mapping_at(Kind kind, Endpoint nat) const {
    for (const auto& [id, m] : mappings_)
      if (m.kind == kind && m.nat == nat) return id;
    return kNone;
  }
  [[nodiscard]] bool admits(int id, Endpoint remote) const {
    switch (mappings_.at(id).filtering) {
      case Dependence::kEndpointIndependent:
        return true;
      case Dependence::kAddressPort:
        return false;
      case Dependence::kAddress:
        break;
    }
    return std::any_of(sessions_.begin(), sessions_.end(), [&](const auto& item) {
      return item.second.mapping == id && std::get<2>(item.first).ip == remote.ip;
    });
  }
  [[nodiscard]] Fate within_limits(const GroupConfig& group, Kind kind, Ip client) const {
    const TransportPolicy& transport = transport_of(group, kind);
    if (transport.session_quota != 0 && count_if([&](const Key& key) {
                                          return std::get<0>(key) == kind &&
                                                 std::get<1>(key).ip == client;
                                        }) >= transport.session_quota)
      return Fate::kSessionQuota;
    if (transport.group_session_limit != 0 && count(group, kind) >= transport.group_session_limit)
      return Fate::kGroupLimit;
    return Fate::kOpen;
  }
  [[nodiscard]] bool is_taken(Kind kind, Endpoint nat) const {
    return mapping_at(kind, nat) != kNone ||
           std::any_of(sessions_.begin(), sessions_.end(), [&](const auto& item) {
             return std::get<0>(item.first) == kind && item.second.nat == nat;
           });
  }
  [[nodiscard]] std::size_t ports_of(Kind kind, Ip client) const {
    std::set<Endpoint> ports;
    for (const auto& [key, session] : sessions_)
      if (std::get<0>(key) == kind && std::get<1>(key).ip == client) ports.insert(session.nat);
    for (const auto& [id, m] : mappings_)
      if (m.kind == kind && m.inside.ip == client) ports.insert(m.nat);
    return ports.size();
  }
  [[nodiscard]] std::uint64_t count_if(auto&& is) const {
    return static_cast<std::uint64_t>(std::count_if(
        sessions_.begin(), sessions_.end(), [&](const auto& item) { return is(item.first); }));
  }
  [[nodiscard]] std::uint64_t count_of(int mapping) const {
    return static_cast<std::uint64_t>(
        std::count_if(sessions_.begin(), sessions_.end(),
                      [&](const auto& item) { return item.second.mapping == mapping; }));
  }

  [[nodiscard]] Milliseconds end_of(const Key& key, const Session& s) const {
    const auto& [kind, inside, remote] = key;
    const TransportPolicy& t = transport_of(*group_of(inside.ip), kind);
    const state::TickDuration timeout = s.phase == Phase::kOpening   ? t.syn_idle_timeout
                                        : s.phase == Phase::kClosing ? t.fin_rst_timeout
                                                                     : t.session_timeout;
    return s.seen + milliseconds(timeout);
  }
  [[nodiscard]] Milliseconds end_of(const Mapping& m) const {
    if (m.is_retired) return m.idle_since;
    return m.idle_since + milliseconds(transport_of(*group_of(m.inside.ip), m.kind).stun_timeout);
  }
  static Milliseconds milliseconds(state::TickDuration time) {
    return std::chrono::duration_cast<std::chrono::duration<Milliseconds, std::milli>>(time)
        .count();
  }

  Sessions::iterator remove(Sessions::iterator it, Milliseconds when) {
    const int id = it->second.mapping;
    const auto next = sessions_.erase(it);
    if (id != kNone) {
      Mapping& m = mappings_.at(id);
      m.idle_since = std::max(m.idle_since, when);
    }
    return next;
  }
  void forget_pairings() {
    const auto all = subscribers();
    std::erase_if(pairings_, [&](const auto& item) { return !all.contains(item.first); });
  }

  Config config_;
  Milliseconds now_ = 0, reloaded_at_ = 0;
  Sessions sessions_;
  std::map<int, Mapping> mappings_;
  std::set<std::pair<Kind, Endpoint>> gone_;  ///< their mappings were removed by the last reload
  std::map<Ip, Ip> pairings_;                 ///< subscriber -> NAT address
  int last_ = 0;
};

}  // namespace lsn::test::reloads
