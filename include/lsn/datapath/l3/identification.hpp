// Identifications of datagrams that leave in fragments (RFC 6864 section 5.3.1, RFC 7857 section
// 10).
//
// Behind a NAT address many subscribers are one source; each chooses its identifications without
// knowing of the others, and a receiver that joins fragments by source, destination, protocol and
// identification would join those of two. So a datagram that passes in fragments, or that is cut
// here, gets a new one: next() of its remote address and protocol, chosen once and written into all
// its fragments. A whole datagram keeps its own: it is either atomic (RFC 6864 section 4) or has no
// fragments to be mixed up here.
//
// next() counts; an address and protocol find their counter by their hash and begin at a place of
// their own, so none comes again before 65,535 others that hash alike. In the other direction the
// remote address is the source, and the same holds for its datagrams to all subscribers.
//
// An ICMP error quotes the new one. original_of() finds the original one as long as nothing newer
// has taken the place: some thousands of datagrams.
#pragma once

#include <cstdint>
#include <optional>

#include "lsn/state/flow_table.hpp"
#include "lsn/state/memory.hpp"
#include "lsn/wire/ipv4.hpp"

namespace lsn::datapath {

class Identifications {
 public:
  static constexpr std::uint32_t kCounters = 4096;
  static constexpr std::uint32_t kRemembered = 8192;

  Identifications(const state::HashSecret& secret, state::ZeroedMemory* memory)
      : secret_(secret), counters_(kCounters, memory), remembered_(kRemembered, memory) {}

  /// A fresh one, never 0.
  [[nodiscard]] wire::Be16 next(wire::Be32 remote, std::uint8_t protocol) {
    const std::uint64_t hash = mix(remote.raw(), protocol, 0);
    std::uint16_t& counter = counters_[hash % kCounters];
    const auto begin = static_cast<std::uint16_t>(hash >> 48);
    std::uint16_t id = 0;
    while (id == 0) id = static_cast<std::uint16_t>(begin + ++counter);
    return wire::Be16::of(id);
  }

  /// Gives a fragment, whose addresses are those that it leaves with, another one.
  void replace(wire::Ipv4Header& ip, wire::Be16 identification) {
    const wire::Be16 original = ip.identification;
    ip.set_identification(identification);
    remember(ip, original);
  }

  /// Notes the identification that a datagram with this header had before replace().
  void remember(const wire::Ipv4Header& ip, wire::Be16 original) {
    const std::uint64_t hash = name_of(ip);
    remembered_[hash % kRemembered] = {static_cast<std::uint32_t>(hash >> 32), original, 1};
  }

  /// The identification that a quoted fragment had before; nothing: it is not known, or had this
  /// one all along.
  [[nodiscard]] std::optional<wire::Be16> original_of(const wire::Ipv4Header& quoted) const {
    const std::uint64_t hash = name_of(quoted);
    const Entry& entry = remembered_[hash % kRemembered];
    if (entry.in_use == 0 || entry.tag != static_cast<std::uint32_t>(hash >> 32) ||
        !quoted.is_fragment())
      return std::nullopt;
    return entry.original;
  }

 private:
  struct Entry {
    std::uint32_t tag;
    wire::Be16 original;
    std::uint16_t in_use;
  };

  [[nodiscard]] std::uint64_t mix(std::uint64_t a, std::uint64_t b, std::uint64_t c) const {
    const auto fold = [](std::uint64_t x, std::uint64_t y) {
      const auto product = static_cast<unsigned __int128>(x) * y;
      return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
    };
    const std::uint64_t inner = fold((c << 32 | a) ^ secret_.words[0], b ^ secret_.words[1]);
    return fold(inner ^ secret_.words[2], secret_.words[3]);
  }
  [[nodiscard]] std::uint64_t name_of(const wire::Ipv4Header& ip) const {
    return mix(ip.source.raw(), std::uint64_t{ip.protocol} << 16 | ip.identification.raw(),
               ip.destination.raw());
  }

  state::HashSecret secret_;
  state::ParallelArray<std::uint16_t> counters_;
  state::ParallelArray<Entry> remembered_;
};

}  // namespace lsn::datapath
