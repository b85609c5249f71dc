#include "lsn/state/block_map.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <vector>

namespace lsn::state {
namespace {

class Draw {
 public:
  explicit Draw(unsigned seed) : random_(seed) {}
  std::uint32_t operator()() { return static_cast<std::uint32_t>(random_()); }

 private:
  std::mt19937 random_;
};

constexpr auto kAnyWillDo = [](PortSpan) { return true; };

TEST(BlockMap, HasNoSlotsBeforeItIsCut) {
  BlockMap map;
  EXPECT_EQ(map.slots(), 0u);
  EXPECT_FALSE(map.take(0, kAnyWillDo));
  EXPECT_FALSE(map.take_at(1024));
}

TEST(BlockMap, CutsPortsFrom1024AndLeavesTheRestUnused) {
  BlockMap map;
  map.cut(20000);
  EXPECT_EQ(map.slots(), 3u);
  EXPECT_EQ(map.take_at(1024), (PortSpan{1024, 21023}));
  EXPECT_EQ(map.take_at(61023), (PortSpan{41024, 61023}));
  EXPECT_FALSE(map.take_at(61024));
  EXPECT_FALSE(map.take_at(1023));
  EXPECT_FALSE(map.take_at(5000));
  EXPECT_EQ(map.free(), 1u);
  EXPECT_EQ(map.taken(), 2u);
}

TEST(BlockMap, GivesEverySlotOnceWhateverTheRandomBits) {
  for (const std::uint32_t size : {256u, 257u, 1000u, 4096u, 64512u}) {
    BlockMap map;
    map.cut(size);
    Draw random(size);
    std::set<std::uint16_t> firsts;
    while (const auto span = map.take(random(), kAnyWillDo)) {
      EXPECT_EQ(span->last - span->first + 1u, size);
      EXPECT_EQ((span->first - 1024u) % size, 0u);
      EXPECT_TRUE(firsts.insert(span->first).second);
    }
    EXPECT_EQ(firsts.size(), 64512u / size);
    EXPECT_EQ(map.free(), 0u);
  }
}

TEST(BlockMap, TakesACleanSlotIfThereIsOneAndAnyOtherwise) {
  BlockMap map;
  map.cut(16128);
  const auto only = [](PortSpan span) { return span.first == 1024 + 2 * 16128; };
  EXPECT_EQ(map.take(0, only)->first, 1024 + 2 * 16128);
  EXPECT_TRUE(map.take(0, only));
}

TEST(BlockMap, ANewSizeKeepsBlocksOfTheOldOneAndFreesWhatTheyCoverWithThem) {
  BlockMap map;
  map.cut(1000);
  const PortSpan old = *map.take_at(3500);  // 3024..4023
  map.cut(512);
  // Slots of 512 that overlap it: 2560..3071 to 3584..4095, three of 126.
  EXPECT_EQ(map.free(), 126u - 3u);
  EXPECT_FALSE(map.is_free_at(3024));
  EXPECT_FALSE(map.is_free_at(2560));
  EXPECT_TRUE(map.is_free_at(2559));
  EXPECT_TRUE(map.is_free_at(4096));
  EXPECT_EQ(map.take_at(2559), (PortSpan{2048, 2559}));
  map.release(old);
  EXPECT_EQ(map.free(), 126u - 1u);
  EXPECT_EQ(map.taken(), 1u);
}

TEST(BlockMap, RandomTakesReleasesAndCutsKeepBlocksApart) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  Draw random(seed);
  BlockMap map;
  std::vector<PortSpan> live;
  std::uint32_t size = 256;
  map.cut(size);
  for (int step = 0; step < 20000; ++step) {
    const unsigned what = random() % 100;
    if (what < 2) {
      map.cut(size = 256 + random() % 3000);
    } else if (what < 52) {
      const auto span = map.take(random(), kAnyWillDo);
      if (!span) continue;
      ASSERT_EQ(span->last - span->first + 1u, size);
      for (const PortSpan other : live)
        ASSERT_TRUE(span->last < other.first || other.last < span->first);
      live.push_back(*span);
    } else if (!live.empty()) {
      std::swap(live[random() % live.size()], live.back());
      map.release(live.back());
      live.pop_back();
    }
    ASSERT_EQ(map.taken(), live.size());
  }
  for (const PortSpan span : live) map.release(span);
  EXPECT_EQ(map.free(), map.slots());
}

}  // namespace
}  // namespace lsn::state
