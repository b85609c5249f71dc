#include "lsn/state/line_match.hpp"

#include <gtest/gtest.h>

#include "matches.hpp"
#include "support.hpp"

namespace lsn::state {
namespace {

template <class Match>
class LineMatch : public testing::Test {
 protected:
  /// Bit i for slot i, whatever the stride.
  static unsigned slots(const Line& line, const LineSlot& pattern, const LineSlot& mask) {
    const unsigned match = Match::match(&line, &pattern, &mask);
    std::uint64_t words[2];
    std::memcpy(words, &pattern, sizeof words);
    EXPECT_EQ(Match::match(&line, words[0], words[1], &mask), match) << "given as words";
    unsigned result = 0;
    for (unsigned i = 0; i < 4; ++i) result |= (match >> i * Match::kStride & 1) << i;
    EXPECT_EQ(std::popcount(match), std::popcount(result)) << "bits beside those of the slots";
    return result;
  }
};

TYPED_TEST_SUITE(LineMatch, test::Matches, test::MatchName);

constexpr LineSlot kAll{{~0u, ~0u, ~0u, ~0u}};

TYPED_TEST(LineMatch, FindsTheSlotThatHoldsThePattern) {
  for (unsigned i = 0; i < 4; ++i) {
    Line line{};
    line.slots[i] = LineSlot{{1, 2, 3, 4}};
    EXPECT_EQ(this->slots(line, LineSlot{{1, 2, 3, 4}}, kAll), 1u << i);
  }
}

TYPED_TEST(LineMatch, FindsAllSlotsThatHoldIt) {
  const Line line{};
  EXPECT_EQ(this->slots(line, LineSlot{}, kAll), 0b1111u);
}

TYPED_TEST(LineMatch, SeesADifferenceInEverySingleBit) {
  for (unsigned bit = 0; bit < 512; ++bit) {
    Line line{};
    line.slots[bit / 128].words[bit / 32 % 4] = 1u << bit % 32;
    EXPECT_EQ(this->slots(line, LineSlot{}, kAll), 0b1111u ^ 1u << bit / 128) << "bit " << bit;
  }
}

TYPED_TEST(LineMatch, IgnoresTheBitsOutsideTheMask) {
  Line line{};
  for (LineSlot& slot : line.slots) slot = LineSlot{{0xF0, 0xF0, 0xF0, 0xF0}};
  EXPECT_EQ(this->slots(line, LineSlot{}, LineSlot{{0x0F, 0x0F, 0x0F, 0x0F}}), 0b1111u);
  EXPECT_EQ(this->slots(line, LineSlot{}, LineSlot{{0, 0, 0, 0x10}}), 0u);
  EXPECT_EQ(this->slots(line, LineSlot{}, LineSlot{}), 0b1111u);
}

TYPED_TEST(LineMatch, AgreesWithTheDefinitionForAnyLine) {
  auto generator = test::seeded_generator();
  const auto word = [&] { return static_cast<std::uint32_t>(generator() % 2 * 0x80000001u); };
  const auto slot = [&] { return LineSlot{{word(), word(), word(), word()}}; };
  for (int turn = 0; turn < 100'000; ++turn) {
    const Line line{{slot(), slot(), slot(), slot()}};
    const LineSlot pattern = slot();
    const LineSlot mask = slot();
    unsigned expected = 0;
    for (unsigned i = 0; i < 4; ++i) {
      bool equal = true;
      for (unsigned j = 0; j < 4; ++j) {
        equal =
            equal && (line.slots[i].words[j] & mask.words[j]) == (pattern.words[j] & mask.words[j]);
      }
      expected |= static_cast<unsigned>(equal) << i;
    }
    ASSERT_EQ(this->slots(line, pattern, mask), expected);
  }
}

}  // namespace
}  // namespace lsn::state
