// The ways to a prefix: several are equal-cost multipath (RFC 2992).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <tuple>

#include "lsn/wire/ipv4_address.hpp"

namespace lsn::shared {

/// A way to a prefix.
struct RouteHop {
  std::uint16_t interface = 0;
  std::uint16_t weight = 1;  ///< 1-256: its share of subscribers, of the sum of all weights
  wire::Ipv4Address via;     ///< a neighbour in the interface's network
  bool is_backup = false;    ///< taken if none of the others can be
  bool is_tracked = false;   ///< not taken while it does not answer ARP, if another one can be

  friend bool operator==(const RouteHop&, const RouteHop&) = default;
  friend constexpr bool operator<(const RouteHop& a, const RouteHop& b) {
    const auto key = [](const RouteHop& hop) {
      return std::tuple(hop.interface, hop.via.value, hop.weight, hop.is_backup, hop.is_tracked);
    };
    return key(a) < key(b);
  }
};

/// At least one, in order.
struct RouteGroup {
  static constexpr std::size_t kMaxHops = 16;

  std::uint32_t count = 0;
  std::array<RouteHop, kMaxHops> hops{};

  [[nodiscard]] std::span<const RouteHop> all() const { return {hops.data(), count}; }

  friend bool operator==(const RouteGroup& a, const RouteGroup& b) {
    return std::ranges::equal(a.all(), b.all());
  }
  friend bool operator<(const RouteGroup& a, const RouteGroup& b) {
    return std::lexicographical_compare(a.all().begin(), a.all().end(), b.all().begin(),
                                        b.all().end());
  }
};

}  // namespace lsn::shared
