// Numbers as they stand in packets. Be16 and Be32 hold the bytes in network order and convert to
// nothing by themselves: comparing, copying and hashing need no conversion, arithmetic needs
// .host(). They are plain data of 2 and 4 bytes, alignment 1, so headers are structs of them.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace lsn::wire {

class Be16 {
 public:
  Be16() = default;
  /// From a number of the host.
  [[nodiscard]] static constexpr Be16 of(std::uint16_t host) { return raw(swap(host)); }
  /// From bytes in network order, seen as a number.
  [[nodiscard]] static constexpr Be16 raw(std::uint16_t bytes) {
    Be16 result{};
    result.bytes_[0] = static_cast<std::uint8_t>(bytes);
    result.bytes_[1] = static_cast<std::uint8_t>(bytes >> 8);
    return result;
  }
  [[nodiscard]] constexpr std::uint16_t raw() const {
    return static_cast<std::uint16_t>(bytes_[0] | bytes_[1] << 8);
  }
  [[nodiscard]] constexpr std::uint16_t host() const { return swap(raw()); }
  // Not defaulted: that compares, and branches, byte by byte.
  friend constexpr bool operator==(Be16 a, Be16 b) { return a.raw() == b.raw(); }

 private:
  static constexpr std::uint16_t swap(std::uint16_t x) { return __builtin_bswap16(x); }
  std::uint8_t bytes_[2];
};

class Be32 {
 public:
  Be32() = default;
  [[nodiscard]] static constexpr Be32 of(std::uint32_t host) {
    return raw(__builtin_bswap32(host));
  }
  [[nodiscard]] static constexpr Be32 raw(std::uint32_t bytes) {
    Be32 result{};
    for (unsigned i = 0; i < 4; ++i) result.bytes_[i] = static_cast<std::uint8_t>(bytes >> 8 * i);
    return result;
  }
  [[nodiscard]] constexpr std::uint32_t raw() const {
    return bytes_[0] | std::uint32_t{bytes_[1]} << 8 | std::uint32_t{bytes_[2]} << 16 |
           std::uint32_t{bytes_[3]} << 24;
  }
  [[nodiscard]] constexpr std::uint32_t host() const { return __builtin_bswap32(raw()); }
  friend constexpr bool operator==(Be32 a, Be32 b) { return a.raw() == b.raw(); }

 private:
  std::uint8_t bytes_[4];
};

static_assert(std::endian::native == std::endian::little, "raw() is written for little-endian");
static_assert(sizeof(Be16) == 2 && alignof(Be16) == 1 && sizeof(Be32) == 4 && alignof(Be32) == 1);

}  // namespace lsn::wire
