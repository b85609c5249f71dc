// The ports of one NAT address and one protocol: which are taken, and the next free one.
//
// A bit per port, 1024 words of them. A bit per word says "no free even port here", another one the
// same of odd ones; they stand together for 64 words at a time (a block), and a bit per block says
// that it has none. So the next free port from anywhere is found with three lines, whatever is
// taken, and how many are taken of each class (by range and parity) says in one line whether there
// is any. All zero is all free, and the size is fixed, so an array of these for thousands of
// addresses costs memory only for the addresses in use (memory.hpp). ICMP identifiers are ports.
//
// Ports must be hard to guess (RFC 6056), so take() first tries a few ports at random as long as a
// quarter of them is free; most calls find one. Otherwise it takes a random one of the free ports
// of a random word, and if that has none, of the next one that has: RFC 6056 section 3.3.1
// (Algorithm 1), by words. With few ports left those behind a run of words without any are likelier
// than others; that is so by nature, few ports are left to guess from.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

namespace lsn::state {

/// Which ports will do (RFC 4787 REQ-4: an even port is kept even, an odd one odd).
enum class Parity : std::uint8_t { kAny, kEven, kOdd };

[[nodiscard]] constexpr Parity parity_of(std::uint16_t port) {
  return port % 2 == 0 ? Parity::kEven : Parity::kOdd;
}

/// Ports by class: number 0, which only ICMP has; then those below 1024, even and odd; then the
/// others, even and odd.
inline constexpr unsigned kPortClasses = 5;
[[nodiscard]] constexpr unsigned class_of_port(std::uint16_t port) {
  return port == 0 ? 0 : 1u + (port < 1024 ? 0u : 2u) + port % 2u;
}
/// The classes, a bit each, of which ports of [first, last] and of that parity are.
[[nodiscard]] constexpr unsigned classes_of(std::uint16_t first, std::uint16_t last,
                                            Parity parity) {
  const unsigned range =
      (first == 0 ? 1u : 0u) | (first < 1024 && last != 0 ? 6u : 0u) | (last >= 1024 ? 24u : 0u);
  return range & (parity == Parity::kAny ? 31u : parity == Parity::kEven ? 11u : 20u);
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
  /// The port that take() would give.
  [[nodiscard]] std::optional<std::uint16_t> find(std::uint16_t first, std::uint16_t last,
                                                  Parity parity, std::uint32_t random) const;
  /// The memory that taking or releasing this very port reads and writes: two lines.
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

  /// Of the 64 ports from 64 * word on, a bit each: takes them, which are free; gives them back,
  /// which are taken.
  void take_word(std::uint32_t word, std::uint64_t ports);
  void release_word(std::uint32_t word, std::uint64_t ports);
  [[nodiscard]] std::uint64_t taken_word(std::uint32_t word) const { return taken_bits_[word]; }

  [[nodiscard]] bool is_taken(std::uint16_t port) const {
    return (taken_bits_[port / 64] >> port % 64 & 1) != 0;
  }

  /// Whether any of [first, last] is; how many are.
  [[nodiscard]] bool is_any_taken(std::uint16_t first, std::uint16_t last) const;
  [[nodiscard]] std::uint32_t count_taken(std::uint16_t first, std::uint16_t last) const;

  /// How many are taken.
  [[nodiscard]] std::uint32_t taken() const { return taken_; }
  /// Whether none of a class is free.
  [[nodiscard]] bool is_full(unsigned of_class) const {
    return taken_of_[of_class] == kSizes[of_class];
  }

 private:
  static constexpr std::uint32_t kWords = 65536 / 64;
  static constexpr std::uint32_t kBlocks = kWords / 64;
  static constexpr std::array<std::uint16_t, kPortClasses> kSizes{1, 511, 512, 32256, 32256};
  /// How many ports are of one of these classes, a bit each.
  static constexpr auto kSizeOf = [] {
    std::array<std::uint32_t, 1u << kPortClasses> sizes{};
    for (unsigned classes = 0; classes < sizes.size(); ++classes)
      for (unsigned c = 0; c < kPortClasses; ++c)
        if ((classes >> c & 1) != 0) sizes[classes] += kSizes[c];
    return sizes;
  }();
  static constexpr std::uint64_t kEvenBits = 0x5555555555555555;
  /// Random probes before the search, each of them another line; at half full seven of eight calls
  /// succeed with them.
  static constexpr int kProbes = 3;

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

  void set(std::uint32_t port) {
    mark(port / 64, std::uint64_t{1} << port % 64);
    ++taken_;
    ++taken_of_[class_of_port(static_cast<std::uint16_t>(port))];
  }

  /// Notes ports of a word as taken, and that it has none left.
  void mark(std::uint32_t index, std::uint64_t ports) {
    std::uint64_t& word = taken_bits_[index];
    word |= ports;
    Block& block = blocks_[index / 64];
    const std::uint64_t here = std::uint64_t{1} << index % 64;
    const auto of_block = static_cast<std::uint16_t>(1u << index / 64);
    if ((word & kEvenBits) == kEvenBits) {
      block.no_even |= here;
      if (block.no_even == ~std::uint64_t{0}) no_even_ |= of_block;
    }
    if ((word & ~kEvenBits) == ~kEvenBits) {
      block.no_odd |= here;
      if (block.no_odd == ~std::uint64_t{0}) no_odd_ |= of_block;
    }
  }

  void clear(std::uint32_t port) {
    taken_bits_[port / 64] &= ~(std::uint64_t{1} << port % 64);
    Block& block = blocks_[port / 4096];
    const bool even = port % 2 == 0;
    (even ? block.no_even : block.no_odd) &= ~(std::uint64_t{1} << port / 64 % 64);
    (even ? no_even_ : no_odd_) &= static_cast<std::uint16_t>(~(1u << port / 4096));
    --taken_;
    --taken_of_[class_of_port(static_cast<std::uint16_t>(port))];
  }

  /// The ports of [first, last] in a word that are taken.
  [[nodiscard]] std::uint64_t taken_in(std::uint32_t word, std::uint16_t first,
                                       std::uint16_t last) const {
    std::uint64_t taken = taken_bits_[word];
    if (word == first / 64u) taken &= ~std::uint64_t{0} << first % 64;
    if (word == last / 64u) taken &= ~std::uint64_t{0} >> (63 - last % 64);
    return taken;
  }
  /// The first word of [from, to] that has a free port of the parity, or kWords.
  [[nodiscard]] std::uint32_t next_word(std::uint32_t from, std::uint32_t to, Parity parity) const;

  /// 64 words: a bit per word that has no free even port, one that has no free odd one.
  struct Block {
    std::uint64_t no_even;
    std::uint64_t no_odd;
  };

  // The first line is all that it takes to know that there is no free port.
  alignas(64) std::uint32_t taken_ = 0;
  std::array<std::uint16_t, kPortClasses> taken_of_{};
  std::uint16_t no_even_ = 0;  ///< a bit per block
  std::uint16_t no_odd_ = 0;
  alignas(64) std::array<Block, kBlocks> blocks_{};
  std::array<std::uint64_t, kWords> taken_bits_{};
};

}  // namespace lsn::state
