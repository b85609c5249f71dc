// Destinations that a group's subscribers reach without translation (RFC 6888 REQ-6).
//
// A rule covers remote addresses, and of these all traffic, a protocol's, or that to some ports; a
// packet that any of a group's rules covers is routed in both directions as it is. The rules are
// laid out by address: intervals that do not overlap, each with the conditions of all the rules
// that reach there.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "lsn/wire/ipv4_address.hpp"

namespace lsn::shared {

struct BypassRule {
  wire::Ipv4Range destinations;
  std::uint8_t protocol = 0;  ///< of IPv4; 0: any
  std::uint16_t first_port = 0;
  std::uint16_t last_port = 65535;

  /// Whether it says something about ports: then it is about TCP and UDP alone.
  [[nodiscard]] bool has_ports() const { return first_port != 0 || last_port != 65535; }

  friend bool operator==(const BypassRule&, const BypassRule&) = default;
};

/// Whether a packet is routed without translation; kByPort: its ports decide.
enum class Coverage : std::uint8_t { kNo, kYes, kByPort };

class Bypass {
 public:
  Bypass() = default;
  explicit Bypass(std::vector<BypassRule> rules) : rules_(std::move(rules)) {
    std::vector<std::uint64_t> ends;
    for (const BypassRule& rule : rules_) {
      ends.push_back(rule.destinations.first.value);
      ends.push_back(std::uint64_t{rule.destinations.last.value} + 1);
    }
    std::sort(ends.begin(), ends.end());
    ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
    for (std::size_t i = 0; i + 1 < ends.size(); ++i) {
      const auto begin = static_cast<std::uint32_t>(conditions_.size());
      for (const BypassRule& rule : rules_)
        if (rule.destinations.first.value <= ends[i] && ends[i] <= rule.destinations.last.value)
          conditions_.push_back(rule);
      if (conditions_.size() == begin) continue;
      intervals_.push_back({static_cast<std::uint32_t>(ends[i]),
                            static_cast<std::uint32_t>(ends[i + 1] - 1), begin,
                            static_cast<std::uint32_t>(conditions_.size())});
    }
  }

  [[nodiscard]] bool empty() const { return intervals_.empty(); }

  /// Of a packet of that IP protocol to or from a remote address. `port`: the remote one of TCP and
  /// UDP, if it is known.
  [[nodiscard]] Coverage covers(wire::Ipv4Address remote, std::uint8_t protocol,
                                std::optional<std::uint16_t> port) const {
    const auto behind =
        std::upper_bound(intervals_.begin(), intervals_.end(), remote.value,
                         [](std::uint32_t value, const Interval& i) { return value < i.first; });
    if (behind == intervals_.begin() || remote.value > std::prev(behind)->last)
      return Coverage::kNo;
    const Interval& found = *std::prev(behind);
    Coverage coverage = Coverage::kNo;
    for (std::uint32_t i = found.begin; i < found.end; ++i) {
      const Coverage by = by_condition(conditions_[i], protocol, port);
      if (by == Coverage::kYes) return by;
      if (by == Coverage::kByPort) coverage = by;
    }
    return coverage;
  }

  friend bool operator==(const Bypass& a, const Bypass& b) { return a.rules_ == b.rules_; }

 private:
  struct Interval {
    std::uint32_t first;
    std::uint32_t last;
    std::uint32_t begin;  ///< of its conditions
    std::uint32_t end;
  };

  [[nodiscard]] static Coverage by_condition(const BypassRule& rule, std::uint8_t protocol,
                                             std::optional<std::uint16_t> port) {
    constexpr std::uint8_t kTcp = 6, kUdp = 17;
    if (rule.protocol != 0 && rule.protocol != protocol) return Coverage::kNo;
    if (!rule.has_ports()) return Coverage::kYes;
    if (protocol != kTcp && protocol != kUdp) return Coverage::kNo;
    if (!port) return Coverage::kByPort;
    return rule.first_port <= *port && *port <= rule.last_port ? Coverage::kYes : Coverage::kNo;
  }

  std::vector<BypassRule> rules_;
  std::vector<Interval> intervals_;     ///< ascending
  std::vector<BypassRule> conditions_;  ///< by interval
};

}  // namespace lsn::shared
