#include "lsn/runtime/clock.hpp"

#include <gtest/gtest.h>

namespace lsn::runtime {
namespace {

using namespace std::chrono_literals;

TEST(Clock, CountsTicksOfTenMillisecondsFromOne) {
  const Clock::Source::time_point start{};
  Clock clock(start);
  EXPECT_EQ(clock.now(), state::Ticks{1});
  clock.advance_to(start + 9ms);
  EXPECT_EQ(clock.now(), state::Ticks{1});
  clock.advance_to(start + 10ms);
  EXPECT_EQ(clock.now(), state::Ticks{2});
  clock.advance_to(start + 1min);
  EXPECT_EQ(clock.now(), state::Ticks{6001});
}

TEST(Clock, WrapsAsTicksDo) {
  const Clock::Source::time_point start{};
  Clock clock(start);
  clock.advance_to(start + 10ms * ((std::int64_t{1} << 32) - 2));
  const state::Ticks before = clock.now();
  EXPECT_EQ(before.value, 0xFFFFFFFF);
  clock.advance_to(start + 10ms * (std::int64_t{1} << 32));
  EXPECT_EQ(clock.now() - before, 2);
  EXPECT_TRUE(clock.now().later_than(before));
}

}  // namespace
}  // namespace lsn::runtime
