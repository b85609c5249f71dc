// An array by an enumeration: `sums[Direction::kInbound]` instead of a cast.
#pragma once

#include <array>
#include <cstddef>

namespace lsn::state {

/// std::array<T, kSize> whose index may be a value of `Enum`, which count from zero.
template <class Enum, class T, std::size_t kSize>
struct EnumArray : std::array<T, kSize> {
  using Base = std::array<T, kSize>;
  using Base::operator[];

  [[nodiscard]] constexpr T& operator[](Enum of) { return (*this)[static_cast<std::size_t>(of)]; }
  [[nodiscard]] constexpr const T& operator[](Enum of) const {
    return (*this)[static_cast<std::size_t>(of)];
  }
};

}  // namespace lsn::state
