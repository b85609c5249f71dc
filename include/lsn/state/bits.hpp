// Which of a word's bits are set.
#pragma once

#include <bit>
#include <cstdint>

namespace lsn::state {

/// The place of the nth bit that is set, n below their number.
[[nodiscard]] inline std::uint32_t nth_bit(std::uint64_t bits, std::uint32_t n) {
  std::uint32_t place = 0;
  for (std::uint32_t half = 32; half != 0; half /= 2) {
    const auto below =
        static_cast<std::uint32_t>(std::popcount(bits & ((std::uint64_t{1} << half) - 1)));
    if (n < below) continue;
    n -= below;
    bits >>= half;
    place += half;
  }
  return place;
}

/// The place of one of the bits that are set, by 32 random bits; not of zero.
[[nodiscard]] inline std::uint32_t any_bit(std::uint64_t bits, std::uint32_t random) {
  const auto count = static_cast<std::uint64_t>(std::popcount(bits));
  return nth_bit(bits, static_cast<std::uint32_t>((random * count) >> 32));
}

}  // namespace lsn::state
