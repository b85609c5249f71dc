// Bytes and addresses as tests write them down. Nothing here comes from the product: a test's
// expectation is made by code that shares nothing with the code under test.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace lsn::test {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;
using Mac = std::array<std::uint8_t, 6>;

inline constexpr Mac kBroadcast = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};

/// An IPv4 address, written as text: Ip a = "192.0.2.1".
struct Ip {
  std::uint32_t value = 0;  ///< 192.0.2.1 is 0xC0000201

  constexpr Ip() = default;
  constexpr explicit Ip(std::uint32_t number) : value(number) {}
  constexpr Ip(const char* text) : Ip(std::string_view{text}) {}  // NOLINT: reads as an address
  constexpr explicit Ip(std::string_view text) {
    unsigned part = 0, digits = 0, parts = 1;
    for (const char c : text) {
      if (c == '.') {
        value = value << 8 | part;
        part = digits = 0;
        ++parts;
      } else {
        if (c < '0' || c > '9') throw std::invalid_argument("no address");
        part = part * 10 + static_cast<unsigned>(c - '0');
        ++digits;
      }
      if (part > 255 || digits > 3) throw std::invalid_argument("no address");
    }
    if (parts != 4 || digits == 0) throw std::invalid_argument("no address");
    value = value << 8 | part;
  }

  /// The address `n` behind this one.
  [[nodiscard]] constexpr Ip operator+(std::uint32_t n) const { return Ip{value + n}; }

  friend constexpr auto operator<=>(Ip, Ip) = default;
};

struct Endpoint {
  Ip ip;
  std::uint16_t port = 0;  ///< ICMP: the query's identifier

  friend constexpr auto operator<=>(Endpoint, Endpoint) = default;
};

/// The pieces one behind the other. (gcc 12 misreads "literal" + std::string.)
[[nodiscard]] std::string cat(std::initializer_list<std::string_view> pieces);

[[nodiscard]] std::string to_text(Ip ip);
[[nodiscard]] std::string to_text(Endpoint endpoint);
[[nodiscard]] std::string to_text(const Mac& mac);

inline void put8(Bytes& to, unsigned value) {
  to.push_back(static_cast<std::uint8_t>(value));
}
inline void put16(Bytes& to, unsigned value) {
  put8(to, value >> 8);
  put8(to, value & 0xFF);
}
inline void put32(Bytes& to, std::uint32_t value) {
  put16(to, value >> 16);
  put16(to, value & 0xFFFF);
}
inline void put(Bytes& to, ByteView more) {
  to.insert(to.end(), more.begin(), more.end());
}

inline void set16(Bytes& in, std::size_t at, unsigned value) {
  in.at(at) = static_cast<std::uint8_t>(value >> 8);
  in.at(at + 1) = static_cast<std::uint8_t>(value);
}

/// Zero beyond the end: a description of something that is cut short must not fail itself.
[[nodiscard]] inline unsigned get8(ByteView from, std::size_t at) {
  return at < from.size() ? from[at] : 0u;
}
[[nodiscard]] inline unsigned get16(ByteView from, std::size_t at) {
  return get8(from, at) << 8 | get8(from, at + 1);
}
[[nodiscard]] inline std::uint32_t get32(ByteView from, std::size_t at) {
  return get16(from, at) << 16 | get16(from, at + 2);
}

/// `size` bytes that differ from one another and from `seed` to `seed`.
[[nodiscard]] Bytes pattern(std::size_t size, unsigned seed = 0);

/// Lines of 16 bytes with their offset; bytes that differ from `other` are marked.
[[nodiscard]] std::string hexdump(ByteView bytes, ByteView other = {});

/// The Internet checksum, slowly: word by word, as RFC 1071 describes it.
[[nodiscard]] unsigned internet_checksum(ByteView bytes, std::uint64_t start = 0);
/// The sum of a pseudo header, to start with.
[[nodiscard]] std::uint64_t pseudo_header(Ip source, Ip destination, unsigned protocol,
                                          std::size_t size);

}  // namespace lsn::test
