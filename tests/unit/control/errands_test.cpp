#include "lsn/control/errands.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <vector>

namespace lsn::control {
namespace {

using namespace std::chrono_literals;

TEST(Errands, AreRunInTheOrderInWhichTheyWereGiven) {
  std::vector<int> done;
  Errands errands;
  for (int i = 0; i < 100; ++i) errands.give([&done, i] { done.push_back(i); });
  ASSERT_TRUE(errands.finish(10s));
  EXPECT_EQ(errands.outstanding(), 0U);
  ASSERT_EQ(done.size(), 100U);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(done[static_cast<std::size_t>(i)], i);
}

TEST(Errands, ThatWaitInASystemCallAreInterruptedAtTheEnd) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  std::atomic<int> error{0};
  Errands errands;
  errands.give([&] {
    char byte;
    if (read(ends[0], &byte, 1) < 0) error = errno;
  });
  EXPECT_EQ(errands.outstanding(), 1U);
  EXPECT_TRUE(errands.finish(200ms));
  EXPECT_EQ(error, EINTR);
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace lsn::control
