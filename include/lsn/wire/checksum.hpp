// The Internet checksum (RFC 1071) and its update in place (RFC 1624).
//
// One's complement sums do not mind the byte order, so all of this works on words as they lie in
// the packet. A NAT changes a few words of a header and must change the checksum by just that
// difference: ChecksumDelta collects old and new words, apply() carries them into a checksum field.
// One delta serves several fields, e.g. the addresses in the IP header and in the TCP pseudo
// header.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "lsn/wire/big_endian.hpp"

namespace lsn::wire {

/// Folds a sum of 16-bit words to 16 bits.
[[nodiscard]] constexpr std::uint16_t fold_sum(std::uint64_t sum) {
  // A word plus itself with its halves exchanged has in its upper half the halves' sum, the lower
  // one's carry included: half the instructions of adding up the upper bits each time.
  const auto half = static_cast<std::uint32_t>((sum + std::rotl(sum, 32)) >> 32);
  return static_cast<std::uint16_t>((half + std::rotl(half, 16)) >> 16);
}

/// The unfolded sum of `size` bytes, an odd last byte padded with zero (RFC 1071 section 4.1).
[[nodiscard]] inline std::uint64_t sum_bytes(const std::uint8_t* bytes, std::size_t size) {
  std::uint64_t sum = 0;
  for (; size >= 4; bytes += 4, size -= 4) {
    std::uint32_t word;
    std::memcpy(&word, bytes, 4);
    sum += word;
  }
  if (size >= 2) {
    std::uint16_t word;
    std::memcpy(&word, bytes, 2);
    sum += word;
    bytes += 2;
    size -= 2;
  }
  if (size != 0) sum += *bytes;
  return sum;
}

/// The checksum of `size` bytes whose checksum field is zero; over bytes with a right checksum: 0.
[[nodiscard]] inline Be16 checksum(const std::uint8_t* bytes, std::size_t size,
                                   std::uint64_t start = 0) {
  return Be16::raw(static_cast<std::uint16_t>(~fold_sum(start + sum_bytes(bytes, size))));
}

/// The pseudo header's part of a TCP or UDP checksum (RFC 9293 section 3.1, RFC 768).
[[nodiscard]] inline std::uint64_t pseudo_header_sum(Be32 source, Be32 destination,
                                                     std::uint8_t protocol, std::uint16_t length) {
  return std::uint64_t{source.raw()} + destination.raw() + Be16::of(protocol).raw() +
         Be16::of(length).raw();
}

class ChecksumDelta {
 public:
  constexpr ChecksumDelta() = default;

  constexpr void replace(Be16 from, Be16 to) {
    sum_ += static_cast<std::uint16_t>(~from.raw());
    sum_ += to.raw();
  }
  constexpr void replace(Be32 from, Be32 to) {
    sum_ += ~from.raw();
    sum_ += to.raw();
  }

  /// RFC 1624 equation 3: HC' = ~(~HC + ~m + m').
  [[nodiscard]] constexpr Be16 apply(Be16 field) const {
    return Be16::raw(
        static_cast<std::uint16_t>(~fold_sum(sum_ + static_cast<std::uint16_t>(~field.raw()))));
  }

  /// As apply(), for UDP: no checksum stays none, and one that comes out as zero is sent as all
  /// ones (RFC 768).
  [[nodiscard]] constexpr Be16 apply_udp(Be16 field) const {
    if (field.raw() == 0) return field;
    const Be16 result = apply(field);
    return result.raw() == 0 ? Be16::raw(0xFFFF) : result;
  }

  friend constexpr ChecksumDelta operator+(ChecksumDelta a, ChecksumDelta b) {
    a.sum_ += b.sum_;
    return a;
  }

 private:
  std::uint64_t sum_ = 0;  // 16-bit words, each below 2^32: billions of them before it overflows
};

}  // namespace lsn::wire
