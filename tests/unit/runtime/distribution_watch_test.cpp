#include "lsn/runtime/distribution_watch.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lsn::runtime {
namespace {

using testing::HasSubstr;

struct Seen : shared::DeviceCounters {
  void second(std::uint64_t checks, std::uint64_t fits) {
    checked.add(checks);
    as_predicted.add(fits);
  }
};

TEST(DistributionWatch, ComplainsOnceUntilItHoldsAgain) {
  DistributionWatch watch;
  Seen seen;
  EXPECT_EQ(watch.look(seen), std::nullopt) << "nothing was received";
  seen.second(1000, 1000);
  EXPECT_EQ(watch.look(seen), std::nullopt);
  seen.second(1000, 400);
  EXPECT_THAT(watch.look(seen).value_or(""), HasSubstr("600 of 1000"));
  seen.second(1000, 0);
  EXPECT_EQ(watch.look(seen), std::nullopt) << "said already";
  EXPECT_EQ(watch.failed_seconds(), 2U);
  seen.second(10, 10);
  EXPECT_EQ(watch.look(seen), std::nullopt);
  seen.second(10, 5);
  EXPECT_NE(watch.look(seen), std::nullopt) << "it failed again";
  EXPECT_EQ(watch.failed_seconds(), 3U);
}

TEST(DistributionWatch, AllowsWhatAReloadChangesUnderWay) {
  DistributionWatch watch;
  Seen seen;
  seen.second(100, 90);
  EXPECT_EQ(watch.look(seen), std::nullopt);
  seen.second(100, 89);
  EXPECT_NE(watch.look(seen), std::nullopt);
}

}  // namespace
}  // namespace lsn::runtime
