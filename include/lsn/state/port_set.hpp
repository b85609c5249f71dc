// A set of ports (ICMP: identifiers) of one NAT address and protocol: a bit per port, in words of
// 64 so that whole sets are compared and merged a word at a time.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace lsn::state {

class PortSet {
 public:
  static constexpr std::uint32_t kWords = 65536 / 64;

  [[nodiscard]] bool has(std::uint16_t port) const {
    return (words_[port / 64] >> port % 64 & 1) != 0;
  }
  void add(std::uint16_t port) { words_[port / 64] |= std::uint64_t{1} << port % 64; }
  void add_all() { words_.fill(~std::uint64_t{0}); }

  /// The ports 64 * index and the 63 behind it.
  [[nodiscard]] std::uint64_t word(std::uint32_t index) const { return words_[index]; }
  void set_word(std::uint32_t index, std::uint64_t word) { words_[index] = word; }

  [[nodiscard]] std::uint32_t size() const {
    std::uint32_t all = 0;
    for (const std::uint64_t word : words_) all += static_cast<std::uint32_t>(std::popcount(word));
    return all;
  }

  friend bool operator==(const PortSet&, const PortSet&) = default;

 private:
  std::array<std::uint64_t, kWords> words_{};
};

}  // namespace lsn::state
