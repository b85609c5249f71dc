#include "lsn/shared/interval_map.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace lsn::shared {
namespace {

using Map = IntervalMap<int>;

TEST(IntervalMap, AnEmptyOneFindsNothing) {
  EXPECT_EQ(Map{}.find(0), nullptr);
  EXPECT_EQ(Map{}.find(0xFFFFFFFF), nullptr);
}

TEST(IntervalMap, BothEndsBelongToARange) {
  const Map map({{0, 0, 1}, {10, 20, 2}, {0xFFFFFFFF, 0xFFFFFFFF, 3}});
  EXPECT_EQ(*map.find(0), 1);
  EXPECT_EQ(map.find(1), nullptr);
  EXPECT_EQ(map.find(9), nullptr);
  EXPECT_EQ(*map.find(10), 2);
  EXPECT_EQ(*map.find(20), 2);
  EXPECT_EQ(map.find(21), nullptr);
  EXPECT_EQ(*map.find(0xFFFFFFFF), 3);
}

TEST(IntervalMap, TheNarrowestRangeWinsAsALinearSearchSays) {
  std::mt19937 random{4};
  for (int round = 0; round < 300; ++round) {
    // Nested or apart, as prefixes are.
    std::vector<Map::Range> ranges;
    for (int i = 0; i < 12; ++i) {
      const std::uint32_t size = 1u << random() % 7;
      const std::uint32_t first = static_cast<std::uint32_t>(random() % (128 / size)) * size;
      const bool again = std::any_of(ranges.begin(), ranges.end(), [&](const Map::Range& r) {
        return r.first == first && r.last == first + size - 1;
      });
      if (!again) ranges.push_back({first, first + size - 1, i});
    }
    const Map map(ranges);
    for (std::uint32_t number = 0; number < 140; ++number) {
      const Map::Range* best = nullptr;
      for (const Map::Range& range : ranges)
        if (range.first <= number && number <= range.last &&
            (best == nullptr || range.last - range.first < best->last - best->first))
          best = &range;
      const int* found = map.find(number);
      ASSERT_EQ(found == nullptr, best == nullptr) << number;
      if (found == nullptr) continue;
      EXPECT_EQ(*found, best->value) << number;
    }
  }
}

}  // namespace
}  // namespace lsn::shared
