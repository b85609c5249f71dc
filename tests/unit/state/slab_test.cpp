#include "lsn/state/slab.hpp"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "support.hpp"

namespace lsn::state {
namespace {

struct Thing {
  std::uint32_t name = 7;
  std::uint32_t other = kNone;
};

TEST(Slab, HandsOutItsCapacityAndThenNone) {
  test::HeapMemory memory;
  Slab<Thing> slab(3, &memory);
  EXPECT_EQ(slab.allocate(), 0u);
  EXPECT_EQ(slab.allocate(), 1u);
  EXPECT_EQ(slab.allocate(), 2u);
  EXPECT_EQ(slab.allocate(), kNone);
  EXPECT_EQ(slab.size(), 3u);
  slab.release(1);
  EXPECT_EQ(slab.size(), 2u);
  EXPECT_EQ(slab.allocate(), 1u);
  EXPECT_EQ(slab.allocate(), kNone);
}

TEST(Slab, OfNoCapacityHasNothing) {
  test::HeapMemory memory;
  Slab<Thing> slab(0, &memory);
  EXPECT_EQ(slab.allocate(), kNone);
  EXPECT_EQ(slab.size(), 0u);
}

TEST(Slab, GivesAFreshObjectEachTime) {
  test::HeapMemory memory;
  Slab<Thing> slab(1, &memory);
  for (int turn = 0; turn < 2; ++turn) {
    const std::uint32_t index = slab.allocate();
    EXPECT_EQ(slab[index].name, 7u);
    EXPECT_EQ(slab[index].other, kNone);
    slab[index] = Thing{.name = 1, .other = 2};
    slab.release(index);
  }
}

TEST(Slab, ReusesTheLastReleasedFirst) {
  test::HeapMemory memory;
  Slab<Thing> slab(10, &memory);
  for (int i = 0; i < 5; ++i) static_cast<void>(slab.allocate());
  slab.release(3);
  slab.release(0);
  slab.release(4);
  EXPECT_EQ(slab.allocate(), 4u);
  EXPECT_EQ(slab.allocate(), 0u);
  EXPECT_EQ(slab.allocate(), 3u);
  EXPECT_EQ(slab.allocate(), 5u);
}

TEST(Slab, TellsWhichIndicesComeNext) {
  test::HeapMemory memory;
  Slab<Thing> slab(10, &memory);
  for (int i = 0; i < 5; ++i) static_cast<void>(slab.allocate());
  slab.release(3);
  slab.release(0);
  std::vector<std::uint32_t> upcoming;
  for (std::uint32_t n = 0; n < 7; ++n) upcoming.push_back(slab.upcoming(n));
  for (const std::uint32_t expected : upcoming) EXPECT_EQ(slab.allocate(), expected);
  // Behind the last one it is nobody's, and may be prefetched all the same.
  slab.prefetch(slab.upcoming(0));
  EXPECT_EQ(slab.allocate(), kNone);
}

TEST(Slab, TouchesNothingAboveItsHighWater) {
  test::WatchedMemory memory;
  Slab<Thing> slab(10'000'000, &memory);
  EXPECT_EQ(memory.touched_pages(), 1u);  // of the stack of free indices
  for (int i = 0; i < 1000; ++i) {
    const std::uint32_t index = slab.allocate();
    slab.release(index);
  }
  EXPECT_EQ(slab.high_water(), 1u);
  EXPECT_EQ(memory.touched_pages(), 2u);  // and the object's
}

TEST(Slab, KeepsEveryObjectUnderItsIndexWhateverIsTakenAndReleased) {
  auto generator = test::seeded_generator();
  test::HeapMemory memory;
  constexpr std::uint32_t kCapacity = 300;
  Slab<Thing> slab(kCapacity, &memory);
  std::map<std::uint32_t, std::uint32_t> model;  // index -> name
  std::uint32_t most = 0;
  for (std::uint32_t step = 0; step < 50'000; ++step) {
    const bool growing = step / 2000 % 2 == 0;
    if (generator() % 100 < (growing ? 60u : 40u)) {
      const std::uint32_t index = slab.allocate();
      if (model.size() == kCapacity) {
        ASSERT_EQ(index, kNone);
      } else {
        ASSERT_LT(index, kCapacity);
        ASSERT_FALSE(model.contains(index));
        ASSERT_EQ(slab[index].name, 7u);
        slab[index].name = step;
        model[index] = step;
      }
    } else if (!model.empty()) {
      auto victim = model.lower_bound(static_cast<std::uint32_t>(generator() % kCapacity));
      if (victim == model.end()) victim = model.begin();
      ASSERT_EQ(slab[victim->first].name, victim->second);
      slab.release(victim->first);
      model.erase(victim);
    }
    most = std::max(most, static_cast<std::uint32_t>(model.size()));
    ASSERT_EQ(slab.size(), model.size());
    ASSERT_EQ(slab.high_water(), most);
  }
  for (const auto& [index, name] : model) EXPECT_EQ(slab[index].name, name);
}

}  // namespace
}  // namespace lsn::state
