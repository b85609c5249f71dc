// The class of an address against Toeplitz as Microsoft's text defines it (as DPDK computes it:
// unit/nic/steering_test.cpp).
#include "lsn/shared/address_class.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace lsn::shared {
namespace {

using wire::Ipv4Address;

/// "RSS Hashing Functions": for each bit of the input, from the first, the leftmost 32 bits of the
/// key are added if it is set; then the key is shifted to the left by one.
std::uint32_t toeplitz(const std::vector<std::uint8_t>& input,
                       const std::vector<std::uint8_t>& key) {
  const auto bit = [](const std::vector<std::uint8_t>& bytes, std::size_t i) {
    return i / 8 < bytes.size() ? bytes[i / 8] >> (7 - i % 8) & 1U : 0U;
  };
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < input.size() * 8; ++i) {
    if (bit(input, i) == 0) continue;
    std::uint32_t window = 0;
    for (std::size_t j = 0; j < 32; ++j) window = window << 1 | bit(key, i + j);
    sum ^= window;
  }
  return sum;
}

void append(std::vector<std::uint8_t>& bytes, std::uint32_t word) {
  for (int shift = 24; shift >= 0; shift -= 8)
    bytes.push_back(static_cast<std::uint8_t>(word >> shift));
}

TEST(AddressClass, TheTestsToeplitzIsMicrosofts) {
  const std::vector<std::uint8_t> key{0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                      0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                      0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                      0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};
  std::vector<std::uint8_t> input;  // from 66.9.149.187:2794 to 161.142.100.80:1766
  append(input, 0x420995BB);
  append(input, 0xA18E6450);
  EXPECT_EQ(toeplitz(input, key), 0x323e8fc2U);
  append(input, 2794U << 16 | 1766U);
  EXPECT_EQ(toeplitz(input, key), 0x51ccc178U);
}

TEST(AddressClass, IsTheLowBitsOfTheHashWhateverIsHashedBesideTheAddress) {
  std::mt19937 engine(1);
  const auto random = [&engine] { return static_cast<std::uint32_t>(engine()); };
  for (unsigned bits = 1; bits <= AddressClasses::kMaxBits; ++bits) {
    const AddressClasses classes(bits);
    for (const std::size_t size : {40U, 52U}) {
      const auto inside = classes.key(HashedAddress::kSource, size);
      const auto outside = classes.key(HashedAddress::kDestination, size);
      ASSERT_EQ(inside.size(), size);
      for (int n = 0; n < 300; ++n) {
        const std::uint32_t source = random(), destination = random();
        std::vector<std::uint8_t> input;
        append(input, source);
        append(input, destination);
        // Ports, an SCTP tag, a protocol byte with zeros, or nothing.
        for (int more = 0; more < n % 4; ++more) append(input, random());
        const std::uint32_t mask = classes.count() - 1;
        ASSERT_EQ(toeplitz(input, inside) & mask, classes.of(Ipv4Address{source})) << bits;
        ASSERT_EQ(toeplitz(input, outside) & mask, classes.of(Ipv4Address{destination})) << bits;
      }
    }
  }
}

TEST(AddressClass, ConsecutiveAddressesAndNetworksOfOneLengthFallIntoEachClassOnce) {
  std::mt19937 engine(3);
  for (unsigned bits = 1; bits <= AddressClasses::kMaxBits; ++bits) {
    const AddressClasses classes(bits);
    for (unsigned length = 2 * bits - 1; length <= 32; ++length) {
      const std::uint32_t step = 1U << (32 - length);
      const std::uint32_t first =
          static_cast<std::uint32_t>(engine()) / step / classes.count() * classes.count() * step;
      std::vector<unsigned> hits(classes.count());
      for (std::uint32_t n = 0; n < classes.count(); ++n)
        ++hits[classes.of(Ipv4Address{first + n * step})];
      ASSERT_TRUE(std::all_of(hits.begin(), hits.end(), [](unsigned n) { return n == 1; }))
          << bits << " bits, networks /" << length;
    }
  }
}

TEST(AddressClass, TheFinestClassesLieInTheirClass) {
  for (unsigned bits = 1; bits <= AddressClasses::kMaxBits; ++bits) {
    const AddressClasses classes(bits);
    std::vector<bool> hit(AddressClasses::kFinest);
    for (std::uint32_t n = 0; n < 100'000; ++n) {
      const unsigned finest = classes.finest_of(Ipv4Address{0x0A000000 + n});
      ASSERT_LT(finest, AddressClasses::kFinest);
      ASSERT_EQ(finest / classes.unit(), classes.of(Ipv4Address{0x0A000000 + n}));
      hit[finest] = true;
    }
    EXPECT_GT(std::count(hit.begin(), hit.end(), true), AddressClasses::kFinest * 99 / 100);
  }
}

}  // namespace
}  // namespace lsn::shared
