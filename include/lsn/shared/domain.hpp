// Traffic domains: networks inside that know nothing of each other, and may have the same
// addresses.
//
// A packet from inside is of the domain of the interface that it came in on; a subscriber is an
// address in a domain. The outside, with all NAT addresses, is of domain 0, and so is whatever the
// configuration says nothing about.
#pragma once

#include <compare>
#include <cstdint>
#include <utility>
#include <vector>

#include "lsn/wire/ipv4_address.hpp"

namespace lsn::shared {

using DomainId = std::uint16_t;
inline constexpr DomainId kLastDomain = 4094;

/// What tells a subscriber from all others.
struct InsideAddress {
  wire::Ipv4Address address;
  DomainId td = 0;

  /// Different for any two, ascending by domain and address.
  [[nodiscard]] constexpr std::uint64_t number() const {
    return std::uint64_t{td} << 32 | address.value;
  }

  friend constexpr bool operator==(const InsideAddress&, const InsideAddress&) = default;
  friend constexpr auto operator<=>(const InsideAddress& a, const InsideAddress& b) {
    return a.number() <=> b.number();
  }
};

struct InsideRange {
  wire::Ipv4Range addresses;
  DomainId td = 0;

  friend constexpr bool operator==(const InsideRange&, const InsideRange&) = default;
};

/// A table for each domain that has one; the others have an empty one.
template <class Table>
class ByDomain {
 public:
  ByDomain() = default;
  /// All is of domain 0.
  ByDomain(Table of_zero) { make(0) = std::move(of_zero); }  // NOLINT: it is one

  [[nodiscard]] const Table& operator[](DomainId td) const {
    return td < count_ ? tables_[td] : kNone;
  }
  [[nodiscard]] Table& make(DomainId td) {
    if (td >= tables_.size()) tables_.resize(std::size_t{td} + 1);
    count_ = static_cast<std::uint32_t>(tables_.size());
    return tables_[td];
  }
  /// By domain, up to the last one that has a table.
  [[nodiscard]] const std::vector<Table>& all() const { return tables_; }

  friend bool operator==(const ByDomain&, const ByDomain&) = default;

 private:
  static inline const Table kNone{};  ///< made before the packet path runs

  std::vector<Table> tables_;
  std::uint32_t count_ = 0;  ///< of tables_: a size in bytes would be divided for each packet
};

}  // namespace lsn::shared
