// The behaviour required of a NAT, as simply as it can be said: one map of sessions, one of
// mappings, times in milliseconds. From RFC 4787, 5382, 5508, 6888 and the reference of the
// configuration; it shares nothing with the product.
//
// The reference does not choose NAT endpoints: it is told which one the product took, and says
// whether that was allowed (fault_of). It models one policy per protocol, quotas, TCP's states,
// time; not: ICMP errors, fragments, full tables, the order in which sessions end within a tick.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "support/config.hpp"
#include "support/packet_builder.hpp"

namespace lsn::test {

/// TCP, UDP or ICMP queries.
using Kind = Protocol;

class Reference {
 public:
  using Milliseconds = std::int64_t;
  struct Rules {
    AppPolicy policy;  ///< of TCP and UDP; ICMP queries: the default, with this pooling
    Milliseconds session_timeout = 0, syn_timeout = 0, closing_timeout = 0, mapping_timeout = 0;
    unsigned port_quota = 0, session_quota = 0;
    bool keep_parity = false, keep_range = false;
    std::map<std::pair<Kind, Endpoint>, Endpoint> statics{};  ///< NAT endpoints by inside ones
    std::map<Ip, Ip> one_to_one{};                            ///< NAT addresses by inside ones
    /// Ports of blocks that a subscriber has to itself, or that the configuration gives it.
    enum class Ports : std::uint8_t { kAny, kBlocks, kDeterministic };
    Ports ports = Ports::kAny;
    unsigned block_size = 504;
    bool address_by_address = true;  ///< allocPolicy PORTS
    Ip first_client{};               ///< the lowest address of the client's network
  };
  /// The verdict on a packet.
  enum class Fate : std::uint8_t {
    kForward,  ///< by an existing session
    kOpen,     ///< forward, and make a session
    kFiltered,
    kNoMapping,
    kNotSyn,
    kPortQuota,
    kSessionQuota,
    kConflict,  ///< the inside endpoint talks to that sender by another mapping
  };

  /// The flags and numbers that one side of a connection has sent.
  struct TcpSide {
    bool syn = false, fin = false;
    bool acked_syn = false;  ///< the other side's
    bool numbered = false;   ///< its sequence numbers are known: by its SYN or the other's ACK
  };
  struct Session {
    Endpoint nat;
    Milliseconds seen = 0;
    std::optional<std::tuple<Kind, Endpoint, Endpoint>> mapping{};  ///< key in mappings
    TcpSide out{}, in{};
    bool rst = false;
    bool by_static = false;

    [[nodiscard]] bool is_open() const {
      return out.syn && in.syn && out.acked_syn && in.acked_syn;
    }
    [[nodiscard]] bool is_closing() const { return rst || (out.fin && in.fin); }
  };
  struct Mapping {
    Endpoint nat;
    unsigned sessions = 0;
    Milliseconds idle_since = 0;
  };
  using SessionKey = std::tuple<Kind, Endpoint, Endpoint>;  ///< inside, remote
  using MappingKey = std::tuple<Kind, Endpoint, Endpoint>;  ///< inside, as much of remote as counts

  Reference(const Rules& rules, const std::set<Ip>& addresses)
      : rules_(rules), addresses_(addresses.begin(), addresses.end()) {}

  // ── time ───────────────────────────────────────────────────────────────────────────────────────

  /// Ends the sessions and mappings that are due.
  void set_now(Milliseconds now) {
    now_ = now;
    for (auto it = sessions_.begin(); it != sessions_.end();) {
      const Milliseconds end = end_of(it->first, it->second);
      it = end <= now_ ? remove(it, end) : std::next(it);
    }
    std::erase_if(mappings_, [&](const auto& item) {
      return item.second.sessions == 0 && item.second.idle_since + rules_.mapping_timeout <= now_;
    });
  }
  /// Whether something ends so close to now that a tick more or less decides.
  [[nodiscard]] bool is_close_call(Milliseconds now) const {
    constexpr Milliseconds kMargin = 600;
    const auto close = [&](Milliseconds end) { return std::abs(end - now) <= kMargin; };
    return std::any_of(sessions_.begin(), sessions_.end(),
                       [&](const auto& item) { return close(end_of(item.first, item.second)); }) ||
           std::any_of(mappings_.begin(), mappings_.end(), [&](const auto& item) {
             return item.second.sessions == 0 &&
                    close(item.second.idle_since + rules_.mapping_timeout);
           });
  }

  // ── packets ────────────────────────────────────────────────────────────────────────────────────

  [[nodiscard]] Fate outbound(Kind kind, Endpoint inside, Endpoint remote, unsigned flags) const {
    if (sessions_.contains({kind, inside, remote})) return Fate::kForward;
    if (kind == Kind::kTcp && !is_opening(flags)) return Fate::kNotSyn;
    if (rules_.session_quota != 0 && sessions_of(kind, inside.ip) >= rules_.session_quota)
      return Fate::kSessionQuota;
    if (rules_.port_quota != 0 && !static_of(kind, inside) &&
        !shared_mapping(kind, inside, remote) && ports_of(kind, inside.ip) >= rules_.port_quota)
      return Fate::kPortQuota;
    return Fate::kOpen;
  }

  /// `inside` is set to the packet's inside endpoint, if there is one.
  [[nodiscard]] Fate inbound(Kind kind, Endpoint nat, Endpoint remote, unsigned flags,
                             Endpoint& inside) const {
    for (const auto& [key, session] : sessions_) {
      if (std::get<0>(key) != kind || session.nat != nat || std::get<2>(key) != remote) continue;
      inside = std::get<1>(key);
      return Fate::kForward;
    }
    for (const auto& [key, mapping] : mappings_) {
      if (std::get<0>(key) != kind || mapping.nat != nat) continue;
      inside = std::get<1>(key);
      if (!admits(key, remote)) return Fate::kFiltered;
      if (kind == Kind::kTcp && !is_opening(flags)) return Fate::kNotSyn;
      if (rules_.session_quota != 0 && sessions_of(kind, inside.ip) >= rules_.session_quota)
        return Fate::kSessionQuota;
      return sessions_.contains({kind, inside, remote}) ? Fate::kConflict : Fate::kOpen;
    }
    if (const auto fixed = inside_of(kind, nat)) {
      inside = *fixed;
      if (kind == Kind::kTcp && !is_opening(flags)) return Fate::kNotSyn;
      if (kind == Kind::kIcmp) return Fate::kNoMapping;  // an answer
      if (rules_.session_quota != 0 && sessions_of(kind, inside.ip) >= rules_.session_quota)
        return Fate::kSessionQuota;
      return sessions_.contains({kind, inside, remote}) ? Fate::kConflict : Fate::kOpen;
    }
    return is_taken(kind, nat) ? Fate::kFiltered : Fate::kNoMapping;
  }

  /// The NAT endpoint that a forwarded packet must have; none: a new one, as fault_of() allows.
  [[nodiscard]] std::optional<Endpoint> nat_of(Kind kind, Endpoint inside, Endpoint remote) const {
    if (const auto it = sessions_.find({kind, inside, remote}); it != sessions_.end())
      return it->second.nat;
    if (const auto fixed = static_of(kind, inside)) return fixed;
    const Mapping* mapping = shared_mapping(kind, inside, remote);
    return mapping == nullptr ? std::nullopt : std::optional{mapping->nat};
  }

  /// Why a new session must not have this NAT endpoint.
  [[nodiscard]] std::optional<std::string> fault_of(const Config& config, Kind kind,
                                                    Endpoint inside, Endpoint nat) const {
    if (!config.is_nat_address(nat.ip)) return "no address of a pool";
    if (is_taken(kind, nat) || inside_of(kind, nat)) return "somebody else's endpoint";
    if (rules_.ports != Rules::Ports::kAny) {
      if (auto fault = fault_of_block(inside.ip, nat)) return fault;
    } else if (kind != Kind::kIcmp && rules_.keep_range &&
               (inside.port < 1024) != (nat.port < 1024)) {
      return "the other port range (RFC 4787 REQ-3)";
    }
    if (rules_.policy.pooling == Pooling::kPaired)
      for (const Ip other : addresses_of(inside.ip))
        if (other != nat.ip) return "not the paired address (RFC 4787 REQ-2)";
    if (kind == Kind::kIcmp) return std::nullopt;
    if (rules_.keep_parity && inside.port % 2 != nat.port % 2)
      return "the other parity (RFC 4787 REQ-4)";
    return std::nullopt;
  }

  /// A session that a packet has opened.
  void open(Kind kind, Endpoint inside, Endpoint remote, Endpoint nat) {
    Session session{.nat = nat};
    session.by_static = static_of(kind, inside) == nat;
    if (has_mappings(kind) && !session.by_static) {
      // One that came from outside belongs to the mapping that let it in.
      auto it = std::find_if(mappings_.begin(), mappings_.end(), [&](const auto& item) {
        return std::get<0>(item.first) == kind && item.second.nat == nat;
      });
      if (it == mappings_.end())
        it = mappings_.emplace(mapping_key(kind, inside, remote), Mapping{.nat = nat}).first;
      ++it->second.sessions;
      session.mapping = it->first;
    }
    sessions_.emplace(SessionKey{kind, inside, remote}, session);
  }

  /// A packet that went through: refreshes, and follows TCP. `far`: its sequence number lies
  /// outside of any window; its acknowledgment is right.
  void passed(Kind kind, Endpoint inside, Endpoint remote, bool out, unsigned flags, bool far) {
    Session& s = sessions_.at({kind, inside, remote});
    const Milliseconds seen = std::exchange(s.seen, now_);
    if (kind != Kind::kTcp) return;
    TcpSide& self = out ? s.out : s.in;
    TcpSide& other = out ? s.in : s.out;
    const bool ack = (flags & kAck) != 0;
    if ((flags & kRst) != 0) {
      const Milliseconds before = life_of({kind, inside, remote}, s);
      // RFC 5961 section 3; RFC 9293 section 3.10.7.3 for a side that has sent no SYN.
      s.rst |= self.numbered ? !far : !other.numbered || ack;
      // RFC 7857 section 7.1: the subscriber's prolongs nothing.
      const Milliseconds now = life_of({kind, inside, remote}, s);
      if (out) s.seen = std::min(now_, seen + before - now);
      return;
    }
    const bool was_closing = s.is_closing();
    const bool half_closed = s.out.fin || s.in.fin;
    s.rst = false;
    if ((flags & kSyn) != 0) {
      // RFC 6191; if half closed, only by the subscriber's SYN or its answer to one.
      if (ack ? out && (was_closing || half_closed) : was_closing || (out && half_closed)) {
        s.out = s.in = TcpSide{};
        other.syn = ack;
      }
      if (s.is_open()) return;  // RFC 5961 section 4
      self.syn = self.numbered = true;
    }
    if (ack) {
      other.numbered = true;
      self.acked_syn |= other.syn;
    }
    if ((flags & kFin) != 0 && self.syn && !(far && self.numbered)) self.fin = true;
  }

  /// The NAT has these addresses from now on. Returns how many sessions ended.
  std::uint64_t set_addresses(const std::set<Ip>& addresses) {
    addresses_.assign(addresses.begin(), addresses.end());
    const auto is_gone = [&](const auto& item) {
      const Endpoint nat = item.second.nat;
      if (rules_.ports == Rules::Ports::kDeterministic)
        return fault_of_block(std::get<1>(item.first).ip, nat).has_value();
      return !addresses.contains(nat.ip);
    };
    const auto gone =
        std::erase_if(sessions_, [&](const auto& s) { return !s.second.by_static && is_gone(s); });
    std::erase_if(mappings_, is_gone);
    return gone;
  }

  /// A static mapping goes. Returns how many sessions ended.
  std::uint64_t remove_static(const std::pair<Kind, Endpoint>& fixed) {
    rules_.statics.erase(fixed);
    return std::erase_if(sessions_, [&](const auto& s) {
      return s.second.by_static && std::get<0>(s.first) == fixed.first &&
             std::get<1>(s.first) == fixed.second;
    });
  }
  [[nodiscard]] const Rules& rules() const { return rules_; }

  [[nodiscard]] const std::map<SessionKey, Session>& sessions() const { return sessions_; }
  [[nodiscard]] const std::map<MappingKey, Mapping>& mappings() const { return mappings_; }
  [[nodiscard]] std::uint64_t count(Kind kind) const {
    return static_cast<std::uint64_t>(
        std::count_if(sessions_.begin(), sessions_.end(),
                      [&](const auto& item) { return std::get<0>(item.first) == kind; }));
  }
  [[nodiscard]] std::uint64_t subscribers() const {
    std::set<Ip> all;
    for (const auto& [key, session] : sessions_) all.insert(std::get<1>(key).ip);
    for (const auto& [key, mapping] : mappings_) all.insert(std::get<1>(key).ip);
    return all.size();
  }

 private:
  using Sessions = std::map<SessionKey, Session>;

  /// Why a subscriber must not have a NAT endpoint, where ports lie in blocks.
  [[nodiscard]] std::optional<std::string> fault_of_block(Ip subscriber, Endpoint nat) const {
    if (nat.port < 1024) return "a port of no block";
    const unsigned block = (nat.port - 1024u) / rules_.block_size;
    if (rules_.ports == Rules::Ports::kBlocks) {
      const auto is_anothers = [&](const auto& item) {
        const Endpoint other = item.second.nat;
        return std::get<1>(item.first).ip != subscriber && other.ip == nat.ip &&
               (other.port - 1024u) / rules_.block_size == block;
      };
      return std::any_of(sessions_.begin(), sessions_.end(), is_anothers) ||
                     std::any_of(mappings_.begin(), mappings_.end(), is_anothers)
                 ? std::optional<std::string>{"a port of another one's block"}
                 : std::nullopt;
    }
    const unsigned number = subscriber.value - rules_.first_client.value;
    const auto addresses = static_cast<unsigned>(addresses_.size());
    const unsigned per_address = 64512 / rules_.block_size;
    const unsigned address = rules_.address_by_address ? number / per_address : number % addresses;
    const unsigned own = rules_.address_by_address ? number % per_address : number / addresses;
    if (address >= addresses || nat.ip != addresses_[address]) return "not its address";
    return block == own ? std::nullopt : std::optional<std::string>{"not its block"};
  }

  static bool is_opening(unsigned flags) { return (flags & (kSyn | kAck | kRst | kFin)) == kSyn; }

  /// Whether mappings exist apart from sessions: if one serves several, or lets unsolicited hosts
  /// in.
  [[nodiscard]] bool has_mappings(Kind kind) const {
    return kind != Kind::kIcmp && !(rules_.policy.mapping == Dependence::kAddressPort &&
                                    rules_.policy.filtering == Dependence::kAddressPort);
  }

  /// The NAT endpoint that a static mapping gives, and the inside endpoint of one.
  [[nodiscard]] std::optional<Endpoint> static_of(Kind kind, Endpoint inside) const {
    if (const auto it = rules_.one_to_one.find(inside.ip); it != rules_.one_to_one.end())
      return Endpoint{it->second, inside.port};
    const auto it = rules_.statics.find({kind, inside});
    return it == rules_.statics.end() ? std::nullopt : std::optional{it->second};
  }
  [[nodiscard]] std::optional<Endpoint> inside_of(Kind kind, Endpoint nat) const {
    for (const auto& [inside, outside] : rules_.one_to_one)
      if (outside == nat.ip) return Endpoint{inside, nat.port};
    for (const auto& [inside, outside] : rules_.statics)
      if (inside.first == kind && outside == nat) return inside.second;
    return std::nullopt;
  }

  /// RFC 4787 section 4.1
  [[nodiscard]] MappingKey mapping_key(Kind kind, Endpoint inside, Endpoint remote) const {
    switch (rules_.policy.mapping) {
      case Dependence::kEndpointIndependent:
        return {kind, inside, {}};
      case Dependence::kAddress:
        return {kind, inside, {remote.ip, 0}};
      case Dependence::kAddressPort:
        break;
    }
    return {kind, inside, remote};
  }
  [[nodiscard]] const Mapping* shared_mapping(Kind kind, Endpoint inside, Endpoint remote) const {
    if (!has_mappings(kind)) return nullptr;
    const auto it = mappings_.find(mapping_key(kind, inside, remote));
    return it == mappings_.end() ? nullptr : &it->second;
  }

  /// RFC 4787 section 5
  [[nodiscard]] bool admits(const MappingKey& mapping, Endpoint remote) const {
    switch (rules_.policy.filtering) {
      case Dependence::kEndpointIndependent:
        return true;
      case Dependence::kAddress:
        return std::any_of(sessions_.begin(), sessions_.end(), [&](const auto& item) {
          return item.second.mapping == mapping && std::get<2>(item.first).ip == remote.ip;
        });
      case Dependence::kAddressPort:
        break;
    }
    return false;  // its session would have been found
  }

  [[nodiscard]] bool is_taken(Kind kind, Endpoint nat) const {
    return std::any_of(sessions_.begin(), sessions_.end(),
                       [&](const auto& item) {
                         return std::get<0>(item.first) == kind && item.second.nat == nat;
                       }) ||
           std::any_of(mappings_.begin(), mappings_.end(), [&](const auto& item) {
             return std::get<0>(item.first) == kind && item.second.nat == nat;
           });
  }
  [[nodiscard]] unsigned sessions_of(Kind kind, Ip subscriber) const {
    return static_cast<unsigned>(
        std::count_if(sessions_.begin(), sessions_.end(), [&](const auto& item) {
          return std::get<0>(item.first) == kind && std::get<1>(item.first).ip == subscriber;
        }));
  }
  [[nodiscard]] unsigned ports_of(Kind kind, Ip subscriber) const {
    std::set<Endpoint> ports;
    for (const auto& [key, session] : sessions_)
      if (std::get<0>(key) == kind && std::get<1>(key).ip == subscriber && !session.by_static)
        ports.insert(session.nat);
    for (const auto& [key, mapping] : mappings_)
      if (std::get<0>(key) == kind && std::get<1>(key).ip == subscriber) ports.insert(mapping.nat);
    return static_cast<unsigned>(ports.size());
  }
  [[nodiscard]] std::set<Ip> addresses_of(Ip subscriber) const {
    std::set<Ip> all;
    for (const auto& [key, session] : sessions_)
      if (std::get<1>(key).ip == subscriber && !session.by_static) all.insert(session.nat.ip);
    for (const auto& [key, mapping] : mappings_)
      if (std::get<1>(key).ip == subscriber) all.insert(mapping.nat.ip);
    return all;
  }

  /// RFC 5382 REQ-5 and the configuration's timeouts.
  [[nodiscard]] Milliseconds life_of(const SessionKey& key, const Session& s) const {
    if (std::get<0>(key) != Kind::kTcp) return rules_.session_timeout;
    if (s.out.fin && s.in.fin) return rules_.closing_timeout;
    // RFC 7857 section 2: four minutes after a RST of an open connection.
    if (s.rst)
      return s.is_open() ? std::max<Milliseconds>(rules_.closing_timeout, 240'000)
                         : rules_.closing_timeout;
    const bool finishing = s.out.fin || s.in.fin;
    return s.is_open() || finishing ? rules_.session_timeout : rules_.syn_timeout;
  }
  [[nodiscard]] Milliseconds end_of(const SessionKey& key, const Session& s) const {
    return s.seen + life_of(key, s);
  }

  Sessions::iterator remove(Sessions::iterator it, Milliseconds when) {
    if (it->second.mapping) {
      Mapping& mapping = mappings_.at(*it->second.mapping);
      --mapping.sessions;
      mapping.idle_since = std::max(mapping.idle_since, when);
    }
    return sessions_.erase(it);
  }

  Rules rules_;
  std::vector<Ip> addresses_;  ///< ascending
  Milliseconds now_ = 0;
  Sessions sessions_;
  std::map<MappingKey, Mapping> mappings_;
};

}  // namespace lsn::test
