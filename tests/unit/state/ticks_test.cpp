#include "lsn/state/ticks.hpp"

#include <gtest/gtest.h>

namespace lsn::state {
namespace {

using std::chrono::seconds;

TEST(Ticks, ATickIsTenMilliseconds) {
  EXPECT_EQ((Ticks{0} + seconds(1)).value, 100u);
  EXPECT_EQ((Ticks{7} + std::chrono::hours(2)).value, 7u + 2 * 3600 * 100);
  static_assert(TickDuration(std::chrono::milliseconds::zero().count()) == seconds(0));
  static_assert(TickDuration(1) == std::chrono::milliseconds(10));
}

TEST(Ticks, LaterIsLater) {
  EXPECT_TRUE(Ticks{11}.later_than(Ticks{10}));
  EXPECT_FALSE(Ticks{10}.later_than(Ticks{11}));
}

TEST(Ticks, AMomentIsNotLaterThanItself) {
  EXPECT_FALSE(Ticks{10}.later_than(Ticks{10}));
}

TEST(Ticks, TheOrderHoldsWhereTheCountWraps) {
  const Ticks before{0xFFFFFFF0};
  const Ticks after = before + TickDuration(0x20);
  EXPECT_EQ(after.value, 0x10u);
  EXPECT_TRUE(after.later_than(before));
  EXPECT_FALSE(before.later_than(after));
  EXPECT_EQ(after - before, 0x20);
  EXPECT_EQ(before - after, -0x20);
  EXPECT_EQ(after - TickDuration(0x20), before);
}

TEST(Ticks, TheOrderHoldsForNearlyHalfTheCircle) {
  EXPECT_TRUE(Ticks{0x7FFFFFFF}.later_than(Ticks{0}));
  EXPECT_FALSE(Ticks{0x80000001}.later_than(Ticks{0}));
}

TEST(Ticks, TheLaterAndTheEarlierOfTwo_AlsoWhereTheCountWraps) {
  const Ticks before{0xFFFFFFF0}, after{0x10};
  EXPECT_EQ(later_of(before, after), after);
  EXPECT_EQ(later_of(after, before), after);
  EXPECT_EQ(earlier_of(before, after), before);
  EXPECT_EQ(earlier_of(after, before), before);
}

TEST(Ticks, AddingInPlaceIsAdding) {
  Ticks at{5};
  at += seconds(2);
  EXPECT_EQ(at, Ticks{205});
}

}  // namespace
}  // namespace lsn::state
