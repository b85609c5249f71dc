// Deterministic NAT: which NAT address and ports a subscriber has, from the configuration alone.
//
// The subscribers of a group, by traffic domain and address, and the NAT addresses of its pools,
// each in ascending order, meet by their numbers. The ports from 1024 on are cut into blocks of one
// size; what does not fill a block stays unused. Subscriber n has block n: by BlockOrder::kPorts
// all blocks of the first address come before those of the second; by kAddresses the first block of
// every address comes before the second ones. forward() is the answer for a subscriber, reverse()
// the one for an abuse report; both are pure arithmetic over sorted runs of addresses, the same on
// a worker, in the control thread and in lsnctl without a daemon.
//
// ICMP identifiers are ports here: they are taken from the same block.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "lsn/shared/domain.hpp"
#include "lsn/wire/ipv4_address.hpp"

namespace lsn::shared {

/// Ports of one NAT address that one subscriber has; both ends belong to it.
struct PortBlock {
  wire::Ipv4Address nat_ip;
  std::uint16_t first;
  std::uint16_t last;

  [[nodiscard]] bool contains(wire::Ipv4Address ip, std::uint16_t port) const {
    return ip == nat_ip && first <= port && port <= last;
  }
  friend bool operator==(const PortBlock&, const PortBlock&) = default;
};

/// The ports below are nobody's block.
inline constexpr std::uint32_t kFirstBlockPort = 1024;
inline constexpr std::uint32_t kPortsForBlocks = 65536 - kFirstBlockPort;

/// Blocks of one address; `size` in ports, 1 or more.
[[nodiscard]] constexpr std::uint32_t blocks_of_address(std::uint32_t size) {
  return kPortsForBlocks / size;
}
/// The block that a port lies in; the number may be beyond the last one.
[[nodiscard]] constexpr std::optional<std::uint32_t> block_of_port(std::uint16_t port,
                                                                   std::uint32_t size) {
  if (port < kFirstBlockPort || (port - kFirstBlockPort) / size >= blocks_of_address(size))
    return std::nullopt;
  return (port - kFirstBlockPort) / size;
}
[[nodiscard]] constexpr PortBlock port_block(wire::Ipv4Address nat_ip, std::uint32_t number,
                                             std::uint32_t size) {
  const std::uint32_t first = kFirstBlockPort + number * size;
  return {nat_ip, static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(first + size - 1)};
}

/// The allocPolicy: PORTS, IPADDRS.
enum class BlockOrder : std::uint8_t { kPorts, kAddresses };

/// Addresses in ascending order, each once, by number; InsideAddress::number() orders them by
/// domain first.
class AddressRuns {
 public:
  AddressRuns() = default;
  explicit AddressRuns(std::span<const InsideRange> ranges) {
    for (const InsideRange& range : ranges)
      runs_.push_back({InsideAddress{range.addresses.first, range.td}.number(),
                       InsideAddress{range.addresses.last, range.td}.number(), 0});
    join();
  }
  explicit AddressRuns(std::span<const wire::Ipv4Range> ranges) {
    for (const wire::Ipv4Range& range : ranges)
      runs_.push_back({range.first.value, range.last.value, 0});
    join();
  }

  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] std::optional<std::uint64_t> number_of(const InsideAddress& wanted) const {
    const std::uint64_t place = wanted.number();
    const auto behind =
        std::upper_bound(runs_.begin(), runs_.end(), place,
                         [](std::uint64_t value, const Run& run) { return value < run.first; });
    if (behind == runs_.begin() || place > std::prev(behind)->last) return std::nullopt;
    return std::prev(behind)->before + (place - std::prev(behind)->first);
  }
  /// `number` < count().
  [[nodiscard]] InsideAddress at(std::uint64_t number) const {
    const auto behind =
        std::upper_bound(runs_.begin(), runs_.end(), number,
                         [](std::uint64_t value, const Run& run) { return value < run.before; });
    const Run& run = *std::prev(behind);
    const std::uint64_t place = run.first + (number - run.before);
    return {wire::Ipv4Address{static_cast<std::uint32_t>(place)},
            static_cast<DomainId>(place >> 32)};
  }

  friend bool operator==(const AddressRuns&, const AddressRuns&) = default;

 private:
  struct Run {
    std::uint64_t first;
    std::uint64_t last;
    std::uint64_t before;  ///< addresses in the runs before it

    friend bool operator==(const Run&, const Run&) = default;
  };

  /// Puts the runs in order, makes one of those that touch or overlap, and numbers them.
  void join() {
    std::sort(runs_.begin(), runs_.end(),
              [](const Run& a, const Run& b) { return a.first < b.first; });
    std::vector<Run> joined;
    for (const Run& run : runs_) {
      if (!joined.empty() && run.first <= joined.back().last + 1)
        joined.back().last = std::max(joined.back().last, run.last);
      else
        joined.push_back(run);
    }
    runs_ = std::move(joined);
    for (Run& run : runs_) {
      run.before = count_;
      count_ += run.last - run.first + 1;
    }
  }

  std::vector<Run> runs_;
  std::uint64_t count_ = 0;
};

class DeterministicMap {
 public:
  DeterministicMap(std::span<const InsideRange> subscribers,
                   std::span<const wire::Ipv4Range> nat_addresses, std::uint32_t block_size,
                   BlockOrder order)
      : subscribers_(subscribers), nat_(nat_addresses), block_size_(block_size), order_(order) {}

  [[nodiscard]] const AddressRuns& subscribers() const { return subscribers_; }
  [[nodiscard]] const AddressRuns& nat_addresses() const { return nat_; }
  [[nodiscard]] std::uint32_t block_size() const { return block_size_; }
  [[nodiscard]] BlockOrder order() const { return order_; }
  /// Of all addresses: as many subscribers can be served.
  [[nodiscard]] std::uint64_t blocks() const {
    return nat_.count() * blocks_of_address(block_size_);
  }

  /// Number of a subscriber's NAT address in nat_addresses().
  [[nodiscard]] std::optional<std::uint64_t> nat_number_of(const InsideAddress& subscriber) const {
    const auto place = place_of(subscriber);
    return place ? std::optional(place->address) : std::nullopt;
  }
  /// A subscriber's block; nullopt: no subscriber of the group, or there are not enough blocks.
  [[nodiscard]] std::optional<PortBlock> forward(const InsideAddress& subscriber) const {
    const auto place = place_of(subscriber);
    if (!place) return std::nullopt;
    return port_block(nat_.at(place->address).address, place->block, block_size_);
  }
  /// The subscriber that has the port; nullopt: nobody has.
  [[nodiscard]] std::optional<InsideAddress> reverse(wire::Ipv4Address nat_ip,
                                                     std::uint16_t port) const {
    const auto block = block_of_port(port, block_size_);
    return block ? subscriber_of(nat_ip, *block) : std::nullopt;
  }
  /// ... that has block number `block` of an address.
  [[nodiscard]] std::optional<InsideAddress> subscriber_of(wire::Ipv4Address nat_ip,
                                                           std::uint32_t block) const {
    const auto address = nat_.number_of({nat_ip});
    const std::uint32_t per_address = blocks_of_address(block_size_);
    if (!address || block >= per_address) return std::nullopt;
    const std::uint64_t number = order_ == BlockOrder::kPorts ? *address * per_address + block
                                                              : block * nat_.count() + *address;
    if (number >= subscribers_.count()) return std::nullopt;
    return subscribers_.at(number);
  }

  friend bool operator==(const DeterministicMap&, const DeterministicMap&) = default;

 private:
  struct Place {
    std::uint64_t address;
    std::uint32_t block;
  };
  [[nodiscard]] std::optional<Place> place_of(const InsideAddress& subscriber) const {
    const auto number = subscribers_.number_of(subscriber);
    if (!number || *number >= blocks()) return std::nullopt;
    const std::uint64_t by =
        order_ == BlockOrder::kPorts ? blocks_of_address(block_size_) : nat_.count();
    const std::uint64_t whole = *number / by, rest = *number % by;
    return order_ == BlockOrder::kPorts ? Place{whole, static_cast<std::uint32_t>(rest)}
                                        : Place{rest, static_cast<std::uint32_t>(whole)};
  }

  AddressRuns subscribers_;
  AddressRuns nat_;
  std::uint32_t block_size_;
  BlockOrder order_;
};

}  // namespace lsn::shared
