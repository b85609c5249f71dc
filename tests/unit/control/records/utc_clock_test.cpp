#include "lsn/control/records/utc_clock.hpp"

#include <gtest/gtest.h>

namespace lsn::control {
namespace {

using namespace std::chrono_literals;

class UtcClockTest : public ::testing::Test {
 protected:
  /// Time passes, and the system's clock moves as much, and by `step` more.
  void pass(std::chrono::milliseconds time, std::chrono::milliseconds step = 0ms) {
    steady += time;
    system += time + step;
    told = clock.look(steady, system);
  }
  [[nodiscard]] std::int64_t now() const { return clock.at(steady); }
  [[nodiscard]] std::int64_t system_ms() const {
    return std::chrono::floor<std::chrono::milliseconds>(system).time_since_epoch().count();
  }

  UtcClock::Steady steady{1000s};
  UtcClock::System system{1'700'000'000s};
  UtcClock clock{steady, system};
  UtcClock::Milliseconds told{};
};

TEST_F(UtcClockTest, FollowsTheSystemsClock) {
  for (int i = 0; i < 100; ++i) {
    pass(10ms);
    EXPECT_EQ(now(), system_ms());
    EXPECT_EQ(told, 0ms);
  }
}

TEST_F(UtcClockTest, StepForward_CountsAtOnceAndIsTold) {
  pass(10ms, 3600s);
  EXPECT_EQ(now(), system_ms());
  EXPECT_EQ(told, 3600s);
  pass(10ms);
  EXPECT_EQ(told, 0ms);
}

TEST_F(UtcClockTest, StepBack_NeverGoesBackAndCatchesUpAtHalfSpeed) {
  pass(10ms);
  std::int64_t before = now();
  pass(10ms, -60s);
  EXPECT_EQ(told, -60s);
  for (int i = 0; i < 1190; ++i) {
    EXPECT_GE(now(), before);
    before = now();
    pass(100ms);
    EXPECT_EQ(told, 0ms);
  }
  EXPECT_GT(now(), system_ms());
  for (int i = 0; i < 20; ++i) pass(100ms);
  EXPECT_EQ(now(), system_ms());
}

TEST_F(UtcClockTest, MomentBeforeTheLook_HasItsOwnTime) {
  pass(1000ms);
  EXPECT_EQ(clock.at(steady - 250ms), system_ms() - 250);
}

}  // namespace
}  // namespace lsn::control
