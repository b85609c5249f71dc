#include "lsn/control/records/alert_book.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lsn::control {
namespace {

using shared::LogAlert;
using shared::LogEvent;

constexpr std::int64_t kMinute = 60'000;
constexpr std::int64_t kBegin = 1000 * kMinute;

class AlertBookTest : public ::testing::Test {
 protected:
  /// "raised 3", "cleared 0" ...
  std::vector<std::string> told() {
    std::vector<std::string> all;
    for (const AlertBook::Told& one : book.take())
      all.push_back((one.event == LogEvent::kCreated   ? "raised "
                     : one.event == LogEvent::kDeleted ? "cleared "
                                                       : "repeated ") +
                    std::to_string(one.count));
    return all;
  }

  AlertBook book;
  AlertSubject quota{LogAlert::kPortQuota, 3, {}};
  AlertSubject link{LogAlert::kLinkDown, shared::kNoId, "interface outside"};
};

TEST_F(AlertBookTest, WhatHappensIsRaised_RepeatedAndClearedAfterAQuietMinute) {
  book.happened(quota, 3, kBegin);
  EXPECT_THAT(told(), ::testing::ElementsAre("raised 3"));
  book.happened(quota, 5, kBegin + 1000);
  EXPECT_THAT(told(), ::testing::ElementsAre("repeated 5"));
  book.tick(kBegin + 1000 + kMinute - 1);
  EXPECT_THAT(told(), ::testing::IsEmpty());
  book.tick(kBegin + 1000 + kMinute);
  EXPECT_THAT(told(), ::testing::ElementsAre("cleared 0"));
  book.tick(kBegin + 10 * kMinute);
  EXPECT_THAT(told(), ::testing::IsEmpty());
}

TEST_F(AlertBookTest, NoMoreRecordsPerMinuteThanTheLimit_AndNoneIsForgotten) {
  for (int i = 0; i < 50; ++i) book.happened(quota, 2, kBegin + i, 3);
  EXPECT_THAT(told(), ::testing::ElementsAre("raised 2", "repeated 2", "repeated 2"));
  book.happened(quota, 1, kBegin + kMinute, 3);
  EXPECT_THAT(told(), ::testing::ElementsAre("repeated 95"));
  EXPECT_EQ(book.status().front().count, 101u);
}

TEST_F(AlertBookTest, LimitOfZero_TellsNothingAndKnowsAll) {
  book.happened(quota, 2, kBegin, 0);
  book.tick(kBegin + 2 * kMinute);
  EXPECT_THAT(told(), ::testing::IsEmpty());
  EXPECT_EQ(book.status().front().count, 2u);
  EXPECT_FALSE(book.status().front().raised);
}

TEST_F(AlertBookTest, GroupsAreToldApart) {
  book.happened(quota, 1, kBegin, 1);
  book.happened({LogAlert::kPortQuota, 4, {}}, 1, kBegin, 1);
  EXPECT_EQ(told().size(), 2u);
}

TEST_F(AlertBookTest, WhatHoldsIsRaisedAndClearedOnce) {
  book.holds(link, false, kBegin);
  EXPECT_THAT(told(), ::testing::IsEmpty());
  book.holds(link, true, kBegin + 1);
  book.holds(link, true, kBegin + 2);
  book.tick(kBegin + 10 * kMinute);
  EXPECT_THAT(told(), ::testing::ElementsAre("raised 1"));
  book.holds(link, false, kBegin + 11 * kMinute);
  EXPECT_THAT(told(), ::testing::ElementsAre("cleared 0"));
  EXPECT_EQ(book.status().front().since_ms, kBegin + 11 * kMinute);
}

}  // namespace
}  // namespace lsn::control
