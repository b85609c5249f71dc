// The addresses that no host on a link can have: the interfaces' own, and the links' network and
// broadcast addresses. Every packet without a session is checked twice, by its source and by its
// destination, and few are from or for one of them: a table of bits rules out nearly all others.
// Built by the control thread, read by all, no updates.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "lsn/wire/ipv4_address.hpp"

namespace lsn::shared {

enum class LinkAddress : std::uint8_t {
  kNone,       ///< any other
  kOwn,        ///< an interface's
  kBroadcast,  ///< a link's network or broadcast address
};

class LinkAddresses {
 public:
  LinkAddresses() = default;

  /// Of an address that is given twice the first one counts.
  explicit LinkAddresses(const std::vector<std::pair<wire::Ipv4Address, LinkAddress>>& all)
      : known_(all) {
    std::stable_sort(known_.begin(), known_.end(), before);
    const std::size_t bits = std::bit_ceil(std::max<std::size_t>(kBitsPerAddress * all.size(), 64));
    bits_.assign(bits / 64, 0);
    shift_ = 32u - static_cast<unsigned>(std::countr_zero(bits));
    for (const auto& [address, what] : all)
      bits_[hash(address) / 64] |= std::uint64_t{1} << hash(address) % 64;
  }

  [[nodiscard]] LinkAddress find(wire::Ipv4Address address) const {
    const std::uint32_t at = hash(address);
    if ((bits_[at / 64] >> at % 64 & 1) == 0) [[likely]]
      return LinkAddress::kNone;
    return search(address);
  }

 private:
  using Known = std::pair<wire::Ipv4Address, LinkAddress>;
  /// Of other addresses one in so many is searched for.
  static constexpr std::size_t kBitsPerAddress = 64;

  static bool before(const Known& a, const Known& b) { return a.first.value < b.first.value; }
  /// By multiplication (golden ratio).
  [[nodiscard]] std::uint32_t hash(wire::Ipv4Address address) const {
    return address.value * 0x9E3779B1u >> shift_;
  }
  [[gnu::noinline]] [[nodiscard]] LinkAddress search(wire::Ipv4Address address) const {
    const auto found =
        std::lower_bound(known_.begin(), known_.end(), Known{address, LinkAddress::kNone}, before);
    return found != known_.end() && found->first == address ? found->second : LinkAddress::kNone;
  }

  std::vector<std::uint64_t> bits_ = {0};  ///< a set one: perhaps
  unsigned shift_ = 26;
  std::vector<Known> known_;  ///< in order
};

}  // namespace lsn::shared
