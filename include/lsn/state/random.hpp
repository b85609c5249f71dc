// Random numbers that an outside host must not guess: NAT ports, identifiers, hash secrets.
//
// RFC 6056 section 3 asks that an off-path attacker cannot predict the next port from those that it
// has seen, so a statistical generator will not do. This one is the keystream of ChaCha with 8
// rounds under a secret 32-byte seed (taken from the kernel once, by its creator); each refill runs
// the cipher for some blocks of 16 words, about 5 clocks per word. No system call, no lock: one
// generator per owner.
#pragma once

#include <array>
#include <cstdint>

namespace lsn::state {

class Random {
 public:
  using Seed = std::array<std::uint8_t, 32>;

  explicit Random(const Seed& seed);

  /// 32 uniformly distributed bits.
  [[nodiscard]] std::uint32_t next() {
    if (used_ == ready_) refill();
    return words_[used_++];
  }

  /// The number that the nth next() from here will give, n < kPeek: its owner prefetches the memory
  /// that it will lead to.
  static constexpr std::uint32_t kPeek = 112;
  [[nodiscard]] std::uint32_t peek(std::uint32_t n) {
    if (used_ + n >= ready_) refill();
    return words_[used_ + n];
  }

  [[nodiscard]] std::uint64_t next64() {
    const std::uint64_t low = next();
    return std::uint64_t{next()} << 32 | low;
  }

  /// A number in [0, n), 0 for n = 0. Multiply-shift: no value is more than n / 2^32 likelier than
  /// another, which for ports is one in 65,536.
  [[nodiscard]] std::uint32_t below(std::uint32_t n) { return scale(next(), n); }
  /// below() of a word that is known already.
  [[nodiscard]] static std::uint32_t scale(std::uint32_t word, std::size_t n) {
    return static_cast<std::uint32_t>((std::uint64_t{word} * n) >> 32);
  }

 private:
  static constexpr std::uint32_t kBlock = 16;  // words

  /// Fills words_ again; those not yet used stay the next ones.
  void refill();
  void make_block(std::uint32_t* out);

  std::array<std::uint32_t, kPeek + kBlock> words_;
  std::uint32_t used_ = 0;
  std::uint32_t ready_ = 0;
  std::array<std::uint32_t, 8> key_;
  std::uint64_t counter_ = 0;
};

}  // namespace lsn::state
