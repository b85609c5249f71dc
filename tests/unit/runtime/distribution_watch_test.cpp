#include "lsn/runtime/distribution_watch.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lsn::runtime {
namespace {

using testing::HasSubstr;

struct Seconds {
  DistributionWatch watch;
  shared::DeviceCounters seen;

  DistributionWatch::Sight second(std::uint64_t checks, std::uint64_t fits) {
    seen.checked.add(checks);
    seen.as_predicted.add(fits);
    return watch.look(seen);
  }
  bool complains(std::uint64_t checks, std::uint64_t fits) {
    return second(checks, fits).complaint.has_value();
  }
};

TEST(DistributionWatch, ComplainsOnceUntilItHoldsAgain) {
  Seconds seconds;
  EXPECT_FALSE(seconds.complains(0, 0)) << "nothing was received";
  EXPECT_FALSE(seconds.complains(1000, 1000));
  EXPECT_THAT(seconds.second(1000, 400).complaint.value_or(""), HasSubstr("600 of 1000"));
  EXPECT_FALSE(seconds.complains(1000, 0)) << "said already";
  EXPECT_EQ(seconds.watch.failed_seconds(), 2U);
  EXPECT_FALSE(seconds.complains(1000, 1000));
  EXPECT_TRUE(seconds.complains(1000, 500)) << "it failed again";
  EXPECT_EQ(seconds.watch.failed_seconds(), 3U);
}

TEST(DistributionWatch, AllowsWhatAReloadChangesUnderWay) {
  Seconds seconds;
  EXPECT_FALSE(seconds.complains(1000, 900));
  EXPECT_TRUE(seconds.complains(1000, 899));
}

/// With 1,000 packets in a second one is looked at: a fragment that ice does not hash is 100 %.
TEST(DistributionWatch, LooksAtSeveralSecondsOfAQuietDevice) {
  Seconds seconds;
  for (int second = 0; second < 1000; ++second)
    EXPECT_FALSE(seconds.complains(1, second % 20 == 19 ? 0 : 1)) << second;
  for (int second = 0; second < 255; ++second) (void)seconds.second(1, 0);
  EXPECT_EQ(seconds.watch.failed_seconds() + (seconds.complains(256, 0) ? 1 : 0), 1U);
}

/// A worker adds to both while they are read.
TEST(DistributionWatch, AReadBetweenTheTwoCountersIsNoFailure) {
  Seconds seconds;
  EXPECT_FALSE(seconds.complains(1000, 999));
  EXPECT_FALSE(seconds.complains(1000, 1001));
  EXPECT_EQ(seconds.watch.failed_seconds(), 0U);
}

TEST(DistributionWatch, GivesUpOnceManyPacketsHaveComeOtherwiseForSomeTime) {
  Seconds seconds;
  for (int second = 1; second <= 4; ++second) EXPECT_FALSE(seconds.second(1000, 100).give_up);
  EXPECT_FALSE(seconds.second(1000, 800).give_up) << "a fifth of them";
  for (int second = 1; second <= 4; ++second) EXPECT_FALSE(seconds.second(1000, 500).give_up);
  EXPECT_TRUE(seconds.second(1000, 500).give_up) << "half of them may fit by chance";
  EXPECT_FALSE(seconds.second(1000, 100).give_up) << "said already";
}

}  // namespace
}  // namespace lsn::runtime
