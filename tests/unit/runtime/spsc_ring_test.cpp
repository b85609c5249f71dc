#include "lsn/runtime/spsc_ring.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <thread>

namespace lsn::runtime {
namespace {

TEST(SpscRing, GivesBackWhatWasPutInInOrder) {
  SpscRing<int, 4> ring;
  EXPECT_TRUE(ring.empty());
  for (int round = 0; round < 10; ++round) {
    EXPECT_TRUE(ring.push(2 * round));
    EXPECT_TRUE(ring.push(2 * round + 1));
    EXPECT_EQ(ring.pop(), 2 * round);
    EXPECT_EQ(ring.pop(), 2 * round + 1);
  }
  EXPECT_EQ(ring.pop(), std::nullopt);
}

TEST(SpscRing, RefusesWhatItCannotHoldAndLeavesItToTheCaller) {
  SpscRing<std::unique_ptr<int>, 2> ring;
  EXPECT_TRUE(ring.push(std::make_unique<int>(1)));
  EXPECT_TRUE(ring.push(std::make_unique<int>(2)));
  auto third = std::make_unique<int>(3);
  EXPECT_FALSE(ring.push(std::move(third)));
  ASSERT_NE(third, nullptr);
  EXPECT_EQ(**ring.pop(), 1);
  EXPECT_TRUE(ring.push(std::move(third)));
  EXPECT_EQ(**ring.pop(), 2);
  EXPECT_EQ(**ring.pop(), 3);
}

TEST(SpscRing, CarriesObjectsBetweenTwoThreads) {
  constexpr int kObjects = 200'000;
  SpscRing<int*, 64> ring;
  std::thread producer([&ring] {
    for (int i = 0; i < kObjects; ++i) {
      int* object = new int(i);
      while (!ring.push(std::move(object))) std::this_thread::yield();
    }
  });
  for (int i = 0; i < kObjects;) {
    const auto object = ring.pop();
    if (!object) {
      std::this_thread::yield();
      continue;
    }
    ASSERT_EQ(**object, i);
    delete *object;
    ++i;
  }
  producer.join();
}

}  // namespace
}  // namespace lsn::runtime
