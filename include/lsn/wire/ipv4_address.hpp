// An IPv4 address as a number: ordered, countable, for ranges and tables of the configuration.
// Packets and sessions carry the same thing as Be32; `be()` and the constructor convert.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lsn/wire/big_endian.hpp"

namespace lsn::wire {

struct Ipv4Address {
  std::uint32_t value = 0;  ///< host order: 192.0.2.1 is 0xC0000201

  constexpr Ipv4Address() = default;
  constexpr explicit Ipv4Address(std::uint32_t host) : value(host) {}
  constexpr explicit Ipv4Address(Be32 address) : value(address.host()) {}

  [[nodiscard]] constexpr Be32 be() const { return Be32::of(value); }

  friend constexpr auto operator<=>(Ipv4Address, Ipv4Address) = default;
};

/// Whether it could be a host's: not multicast, broadcast, loopback or 0/8 (RFC 1812 section
/// 5.3.7).
[[nodiscard]] constexpr bool is_host_address(Ipv4Address address) {
  const std::uint32_t a = address.value;
  return a < 0xE0000000 && a >> 24 != 127 && a >> 24 != 0;
}
[[nodiscard]] constexpr bool is_host_address(Be32 address) {
  return is_host_address(Ipv4Address{address});
}

/// A prefix: the bits of `address` behind `length` (0..32) are not looked at.
struct Ipv4Prefix {
  Ipv4Address address;
  unsigned length = 0;

  [[nodiscard]] static constexpr std::uint32_t mask_of(unsigned length) {
    return length == 0 ? 0 : ~std::uint32_t{0} << (32 - length);
  }
  [[nodiscard]] constexpr std::uint32_t mask() const { return mask_of(length); }
  [[nodiscard]] constexpr Ipv4Address first() const { return Ipv4Address{address.value & mask()}; }
  [[nodiscard]] constexpr Ipv4Address last() const { return Ipv4Address{address.value | ~mask()}; }
  [[nodiscard]] constexpr bool contains(Ipv4Address other) const {
    return ((address.value ^ other.value) & mask()) == 0;
  }

  friend constexpr bool operator==(const Ipv4Prefix&, const Ipv4Prefix&) = default;
};

/// Both ends belong to it.
struct Ipv4Range {
  Ipv4Address first;
  Ipv4Address last;

  [[nodiscard]] constexpr std::uint64_t size() const {
    return std::uint64_t{last.value} - first.value + 1;
  }
  [[nodiscard]] constexpr bool contains(Ipv4Address a) const { return first <= a && a <= last; }

  friend constexpr bool operator==(const Ipv4Range&, const Ipv4Range&) = default;
};

/// The length that a netmask stands for; nothing: it is not ones, then zeros.
[[nodiscard]] std::optional<unsigned> length_of_netmask(Ipv4Address mask);

/// The prefixes that make up a range, in ascending order: the fewest.
[[nodiscard]] std::vector<Ipv4Prefix> prefixes_of(const Ipv4Range& range);

/// Dotted decimal: four numbers of 0-255 without leading zeros (RFC 6943 section 3.1.1), nothing
/// around them.
[[nodiscard]] std::optional<Ipv4Address> parse_ipv4(std::string_view text);
/// A.B.C.D/L; the address may have bits behind the prefix.
[[nodiscard]] std::optional<Ipv4Prefix> parse_ipv4_prefix(std::string_view text);

[[nodiscard]] std::string to_string(Ipv4Address address);
[[nodiscard]] std::string to_string(const Ipv4Prefix& prefix);

using MacAddress = std::array<std::uint8_t, 6>;

/// Six pairs of hexadecimal digits with colons between them.
[[nodiscard]] std::optional<MacAddress> parse_mac(std::string_view text);
[[nodiscard]] std::string to_string(const MacAddress& mac);

}  // namespace lsn::wire
