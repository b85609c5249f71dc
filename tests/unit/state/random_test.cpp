#include "lsn/state/random.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "support.hpp"

namespace lsn::state {
namespace {

std::vector<std::uint8_t> bytes_of(const std::string& hex) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoul(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::vector<std::uint8_t> stream(Random random, std::size_t bytes) {
  std::vector<std::uint8_t> result(bytes);
  for (std::size_t i = 0; i < bytes; i += 4) {
    const std::uint32_t word = random.next();
    std::memcpy(result.data() + i, &word, 4);
  }
  return result;
}

TEST(Random, IsTheChaCha8KeystreamOfItsSeed) {
  // draft-strombergson-chacha-test-vectors, TC1: key and nonce zero, 256 bits, 8 rounds; two blocks
  EXPECT_EQ(stream(Random(test::seed_of(0)), 128),
            bytes_of("3e00ef2f895f40d67f5bb8e81f09a5a12c840ec3ce9a7f3b181be188ef711a1e"
                     "984ce172b9216f419f445367456d5619314a42a3da86b001387bfdb80e0cfe42"
                     "d2aefa0deaa5c151bf0adb6c01f2a5adc0fd581259f9a2aadcf20f8fd566a26b"
                     "5032ec38bbc5da98ee0c6f568b872a65a08abf251deb21bb4b56e5d8821e68aa"));
}

TEST(Random, EveryBitOfTheSeedCounts) {
  // TC2: one bit of the key set
  Random::Seed seed{};
  seed[0] = 1;
  EXPECT_EQ(stream(Random(seed), 32),
            bytes_of("cf5ee9a0494aa9613e05d5ed725b804b12f4a465ee635acc3a311de8740489ea"));

  const auto zero = stream(Random(test::seed_of(0)), 32);
  for (std::size_t bit = 0; bit < 256; ++bit) {
    Random::Seed other{};
    other[bit / 8] = static_cast<std::uint8_t>(1u << bit % 8);
    EXPECT_NE(stream(Random(other), 32), zero) << "bit " << bit;
  }
}

TEST(Random, SixtyFourBitsAreTwoWordsOfTheStream) {
  Random words(test::seed_of(3));
  Random pairs(test::seed_of(3));
  for (int i = 0; i < 20; ++i) {
    const std::uint64_t low = words.next();
    const std::uint64_t high = words.next();
    EXPECT_EQ(pairs.next64(), high << 32 | low);
  }
}

TEST(Random, PeekTellsWhatNextWillGive) {
  Random random(test::seed_of(4));
  Random stream(test::seed_of(4));
  std::vector<std::uint32_t> words(5000);
  for (std::uint32_t& word : words) word = stream.next();
  std::size_t at = 0;
  for (std::uint32_t step = 0; at + Random::kPeek < words.size(); ++step) {
    for (const std::uint32_t n : {0u, step % Random::kPeek, Random::kPeek - 1})
      ASSERT_EQ(random.peek(n), words[at + n]) << "at " << at;
    for (std::uint32_t i = 0; i < step % 7; ++i) ASSERT_EQ(random.next(), words[at++]);
  }
}

TEST(Random, BelowStaysBelowAndReachesAllValues) {
  Random random(test::seed_of(1));
  for (const std::uint32_t n : {1u, 2u, 3u, 7u, 64u}) {
    std::vector<int> seen(n);
    for (int i = 0; i < 5000; ++i) {
      const std::uint32_t value = random.below(n);
      ASSERT_LT(value, n);
      ++seen[value];
    }
    EXPECT_EQ(std::count(seen.begin(), seen.end(), 0), 0) << "below " << n;
  }
}

TEST(Random, BelowZeroIsZero) {
  EXPECT_EQ(Random(test::seed_of(1)).below(0), 0u);
}

TEST(Random, BelowIsUniform) {
  Random random(test::seed_of(9));
  constexpr int kBins = 64512 / 1008;
  constexpr int kDraws = 640'000;
  int bins[kBins] = {};
  for (int i = 0; i < kDraws; ++i) ++bins[random.below(64512) / 1008];
  double chi_squared = 0;
  for (const int count : bins) {
    const double expected = double{kDraws} / kBins;
    chi_squared += (count - expected) * (count - expected) / expected;
  }
  EXPECT_LT(chi_squared, 120);  // 63 degrees of freedom; the seed is fixed
}

}  // namespace
}  // namespace lsn::state
