// The class of an address: the low bits of a NIC's receive hash, which choose an entry of its
// redirection table (RETA), computed by both, so that the NIC brings a packet to its owner.
//
// Receive side scaling hashes with Toeplitz: bit i of the input (0: the first) adds the 32 bits of
// the key from bit i on. So bit b of the hash (0: the lowest) takes key bit i + 31 - b from input
// bit i. The input is the source address, the destination, and, for some packets, ports and more
// (Microsoft's order; whether a NIC has it is seen at run time). The RETA is entered by the lowest
// n bits alone, and with n <= 12 one address can be chosen by the key, whatever else is hashed:
//
//   the source       input bits 0 to 31: key bits 31 to 63 - n; all others are zero
//   the destination  input bits 32 to 63: key bits 63 to 95 - n; all others are zero
//
// With these the address' bit of weight 2^a adds p(a + b - n + 1) to class bit b: the same for
// both, with p(t) in the key bit 63 - n - t or 95 - n - t. p is the impulse response of 1 / a
// polynomial of degree n: any n adjacent bits of an address determine its class when the others
// stay. So 2^n consecutive addresses fall into each class once, and so do 2^n networks of any one
// length. Of all polynomials of a degree these spread few addresses, and strides, most evenly. The
// key need not be secret: a subscriber cannot choose an address, and NAT addresses are public.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "lsn/wire/ipv4_address.hpp"

namespace lsn::shared {

/// The address that a device distributes by.
enum class HashedAddress : std::uint8_t { kSource, kDestination };

class AddressClasses {
 public:
  static constexpr unsigned kMaxBits = 12;
  static constexpr unsigned kFinest = 1U << kMaxBits;

  /// The finest: where no device needs others.
  constexpr AddressClasses() : AddressClasses(kMaxBits) {}
  /// `bits`: n, of the smallest RETA (1 to kMaxBits).
  constexpr explicit AddressClasses(unsigned bits) : bits_(bits) {
    const std::uint64_t p = response(bits);
    for (unsigned bit = 0; bit < 32; ++bit) {
      const unsigned more = sum(p, bits, bit);
      std::array<std::uint16_t, 256>& table = table_[bit / 8];
      for (unsigned value = 1U << bit % 8, low = 0; low < value; ++low)
        table[value + low] = static_cast<std::uint16_t>(table[low] ^ more);
    }
  }

  [[nodiscard]] constexpr unsigned bits() const { return bits_; }
  [[nodiscard]] constexpr unsigned count() const { return 1U << bits_; }

  [[nodiscard]] constexpr unsigned of(wire::Ipv4Address address) const {
    return table_[0][address.value & 0xFF] ^ table_[1][address.value >> 8 & 0xFF] ^
           table_[2][address.value >> 16 & 0xFF] ^ table_[3][address.value >> 24];
  }

  /// Finest classes in each of these: a group's shares need not be whole classes.
  [[nodiscard]] constexpr unsigned unit() const { return kFinest / count(); }
  [[nodiscard]] constexpr unsigned finest_of(wire::Ipv4Address address) const {
    const std::uint32_t mixed = address.value * 0x9E3779B1U >> (32 - kMaxBits);
    return of(address) << (kMaxBits - bits_) | (mixed & (unit() - 1));
  }

  /// The key with which a NIC computes the class, in the order of its bits, as DPDK takes it.
  /// `size`: bytes that the device wants, 12 at least.
  [[nodiscard]] std::vector<std::uint8_t> key(HashedAddress by, std::size_t size) const {
    const unsigned last = (by == HashedAddress::kSource ? 63 : 95) - bits_;
    std::vector<std::uint8_t> bytes(size);
    for (unsigned t = 0; t <= 32 - bits_; ++t)
      if (response(bits_) >> t & 1)
        bytes[(last - t) / 8] |= static_cast<std::uint8_t>(0x80U >> (last - t) % 8);
    return bytes;
  }

  friend constexpr bool operator==(const AddressClasses& a, const AddressClasses& b) {
    return a.bits_ == b.bits_;
  }

 private:
  /// Bit t: p(t), of 33.
  [[nodiscard]] static constexpr std::uint64_t response(unsigned bits) {
    /// By degree; bit i: the coefficient of x^i.
    constexpr std::array<std::uint16_t, kMaxBits + 1> kPolynomials{
        0, 0x3, 0x7, 0xD, 0x19, 0x2B, 0x59, 0xD7, 0x14F, 0x34D, 0x66B, 0xA59, 0x13DD};
    std::uint64_t p = 1;
    for (unsigned t = 1; t <= 32; ++t) {
      std::uint64_t next = 0;
      for (unsigned i = 1; i <= bits && i <= t; ++i)
        next ^= (kPolynomials[bits] >> i & 1U) & (p >> (t - i));
      p |= (next & 1) << t;
    }
    return p;
  }
  /// The class bits that an address' bit of weight 2^a adds.
  [[nodiscard]] static constexpr unsigned sum(std::uint64_t p, unsigned bits, unsigned a) {
    unsigned result = 0;
    for (unsigned b = 0; b < bits; ++b)
      if (a + b + 1 >= bits && a + b <= 31)
        result |= static_cast<unsigned>(p >> (a + b + 1 - bits) & 1) << b;
    return result;
  }

  unsigned bits_;
  std::array<std::array<std::uint16_t, 256>, 4> table_{};
};

/// Of what software alone distributes.
inline constexpr AddressClasses kFinestClasses;

}  // namespace lsn::shared
