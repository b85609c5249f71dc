// The ports of one NAT address and one protocol: which are taken, and the next free one.
//
// A bit per port, 1024 words; and a bit per word that says "no free even port here", another for
// odd ones, so that the next free port from anywhere is found within a few words even when a
// handful of 65,536 is left. All zero is all free, and the size is fixed, so an array of these for
// thousands of addresses costs memory only for the addresses in use (memory.hpp). ICMP identifiers
// are ports.
//
// Ports must be hard to guess (RFC 6056), so take() first tries a few ports at random; a half-full
// address nearly always answers there. Only when all of them are taken it goes on to the next free
// port from a random start, which is RFC 6056 section 3.3.1 (Algorithm 1). The price of that: a
// free port behind a long run of taken ones is likelier than others, and runs grow at their ends.
// With an address nearly full that is so by nature, few ports are left to guess from; before, the
// random probes keep runs from forming.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <optional>

namespace lsn::state {

/// Which ports will do (RFC 4787 REQ-4: an even port is kept even, an odd one odd).
enum class Parity : std::uint8_t { kAny, kEven, kOdd };

[[nodiscard]] constexpr Parity parity_of(std::uint16_t port) {
  return port % 2 == 0 ? Parity::kEven : Parity::kOdd;
}

class PortBitmap {
 public:
  /// Takes a free port of [first, last] and of the parity, or none if there is none. `random` is 32
  /// random bits, fresh for each call.
  [[nodiscard]] std::optional<std::uint16_t> take(std::uint16_t first, std::uint16_t last,
                                                  Parity parity, std::uint32_t random);

  /// The port that take() will try first with these; none if there is none.
  [[nodiscard]] static std::optional<std::uint16_t> first_try(std::uint16_t first,
                                                              std::uint16_t last, Parity parity,
                                                              std::uint32_t random) {
    const Candidates all = candidates(first, last, parity);
    if (all.count == 0) return std::nullopt;
    return static_cast<std::uint16_t>(all.at(random));
  }
  /// The port that take() would give, if one of its random probes finds one.
  [[nodiscard]] std::optional<std::uint16_t> foretell(std::uint16_t first, std::uint16_t last,
                                                    Parity parity, std::uint32_t random) const {
    const Candidates all = candidates(first, last, parity);
    if (all.count == 0) return std::nullopt;
    return probe(all, random).free;
  }
  /// What taking or releasing this very port reads and writes: two lines.
  [[nodiscard]] const void* line_of(std::uint16_t port) const { return &taken_bits_[port / 64]; }
  [[nodiscard]] const void* line_of_load() const { return &taken_; }

  /// Takes this very port; false when it is taken.
  [[nodiscard]] bool take_exact(std::uint16_t port) {
    if (is_taken(port)) return false;
    set(port);
    return true;
  }

  /// Gives back a port; nothing happens if it is free.
  void release(std::uint16_t port) {
    if (is_taken(port)) clear(port);
  }

  [[nodiscard]] bool is_taken(std::uint16_t port) const {
    return (taken_bits_[port / 64] >> port % 64 & 1) != 0;
  }

  /// How many are taken.
  [[nodiscard]] std::uint32_t taken() const { return taken_; }

 private:
  static constexpr std::uint32_t kWords = 65536 / 64;
  static constexpr std::uint64_t kEvenBits = 0x5555555555555555;
  /// Random probes before the search; at 90 % full six of ten calls succeed with them.
  static constexpr int kProbes = 8;

  /// The ports begin, begin + step, ... begin + (count - 1) * step.
  struct Candidates {
    std::uint32_t begin;
    std::uint32_t step;
    std::uint32_t count;

    [[nodiscard]] std::uint32_t at(std::uint32_t random) const {
      return begin + step * static_cast<std::uint32_t>((std::uint64_t{random} * count) >> 32);
    }
  };
  static Candidates candidates(std::uint16_t first, std::uint16_t last, Parity parity) {
    const bool any = parity == Parity::kAny;
    const std::uint32_t begin = first + (any || parity_of(first) == parity ? 0u : 1u);
    const std::uint32_t step = any ? 1 : 2;
    return {begin, step, begin > last ? 0 : (last - begin) / step + 1};
  }

  struct Probed {
    std::optional<std::uint16_t> free;
    std::uint32_t last;  ///< that was looked at
  };
  [[nodiscard]] Probed probe(const Candidates& all, std::uint32_t random) const {
    std::uint32_t candidate = 0;
    for (int i = 0; i < kProbes; ++i) {
      candidate = all.at(random);
      const auto port = static_cast<std::uint16_t>(candidate);
      if (!is_taken(port)) return {port, candidate};
      // The next probe's 32 bits: a bijection of these, with the low bits brought up by the
      // rotation.
      random = std::rotl(random * 0x9E3779B1u + 0x7F4A7C15u, 16);
    }
    return {std::nullopt, candidate};
  }

  void set(std::uint32_t port) {
    std::uint64_t& word = taken_bits_[port / 64];
    word |= std::uint64_t{1} << port % 64;
    const std::uint64_t full = std::uint64_t{1} << port / 64 % 64;
    if ((word & kEvenBits) == kEvenBits) no_even_[port / 4096] |= full;
    if ((word & ~kEvenBits) == ~kEvenBits) no_odd_[port / 4096] |= full;
    ++taken_;
  }

  void clear(std::uint32_t port) {
    taken_bits_[port / 64] &= ~(std::uint64_t{1} << port % 64);
    auto& none = port % 2 == 0 ? no_even_ : no_odd_;
    none[port / 4096] &= ~(std::uint64_t{1} << port / 64 % 64);
    --taken_;
  }

  /// The first free port of the parity in [from, to], or kNothing.
  [[nodiscard]] std::uint32_t next_free(std::uint32_t from, std::uint32_t to, Parity parity) const;

  static constexpr std::uint32_t kNothing = 65536;

  std::array<std::uint64_t, kWords> taken_bits_{};
  std::array<std::uint64_t, kWords / 64> no_even_{};  ///< a bit per word: all even ports taken
  std::array<std::uint64_t, kWords / 64> no_odd_{};
  std::uint32_t taken_ = 0;
};

}  // namespace lsn::state
