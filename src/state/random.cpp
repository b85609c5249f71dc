#include "lsn/state/random.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace lsn::state {
namespace {

constexpr int kDoubleRounds = 4;  // ChaCha8

// RFC 8439 section 2.1
void quarter_round(std::uint32_t& a, std::uint32_t& b, std::uint32_t& c, std::uint32_t& d) {
  a += b, d = std::rotl(d ^ a, 16);
  c += d, b = std::rotl(b ^ c, 12);
  a += b, d = std::rotl(d ^ a, 8);
  c += d, b = std::rotl(b ^ c, 7);
}

}  // namespace

static_assert(std::endian::native == std::endian::little,
              "keys and blocks are little-endian words");

Random::Random(const Seed& seed) {
  std::memcpy(key_.data(), seed.data(), seed.size());
}

void Random::refill() {
  std::copy(words_.begin() + used_, words_.begin() + ready_, words_.begin());
  ready_ -= used_;
  used_ = 0;
  for (; ready_ + kBlock <= words_.size(); ready_ += kBlock) make_block(words_.data() + ready_);
}

// RFC 8439 section 2.3, in the original layout: a 64-bit block counter, a 64-bit nonce (zero: the
// key is used for nothing else), and 8 rounds.
void Random::make_block(std::uint32_t* out) {
  const std::array<std::uint32_t, 16> start = {0x61707865,
                                               0x3320646e,
                                               0x79622d32,
                                               0x6b206574,  // "expand 32-byte k"
                                               key_[0],
                                               key_[1],
                                               key_[2],
                                               key_[3],
                                               key_[4],
                                               key_[5],
                                               key_[6],
                                               key_[7],
                                               static_cast<std::uint32_t>(counter_),
                                               static_cast<std::uint32_t>(counter_ >> 32),
                                               0,
                                               0};
  std::array<std::uint32_t, 16> x = start;
  for (int i = 0; i < kDoubleRounds; ++i) {
    quarter_round(x[0], x[4], x[8], x[12]);
    quarter_round(x[1], x[5], x[9], x[13]);
    quarter_round(x[2], x[6], x[10], x[14]);
    quarter_round(x[3], x[7], x[11], x[15]);
    quarter_round(x[0], x[5], x[10], x[15]);
    quarter_round(x[1], x[6], x[11], x[12]);
    quarter_round(x[2], x[7], x[8], x[13]);
    quarter_round(x[3], x[4], x[9], x[14]);
  }
  for (std::size_t i = 0; i < x.size(); ++i) out[i] = x[i] + start[i];
  ++counter_;
}

}  // namespace lsn::state
