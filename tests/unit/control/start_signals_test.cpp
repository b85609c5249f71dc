// SIGTERM and SIGINT while lsnd starts: it ends at once, whatever the start waits for.
#include "lsn/control/start_signals.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>

#include "lsn/control/controller.hpp"

namespace lsn::control {
namespace {

/// A start that never comes to its end.
void start_for_ever(int signal) {
  Controller::block_signals();
  StartSignals signals;
  signals.on_end([] { std::fputs("cleaned up\n", stderr); });
  kill(getpid(), signal);
  for (;;) pause();
}

TEST(StartSignals, EndTheProcessAndCleanUpWhereTheStartNeverEnds) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(start_for_ever(SIGTERM), testing::ExitedWithCode(0), "cleaned up");
  EXPECT_EXIT(start_for_ever(SIGINT), testing::ExitedWithCode(0), "cleaned up");
}

TEST(StartSignals, AreLeftToTheControllerWhenItRuns) {
  Controller::block_signals();
  StartSignals signals;
  signals.stop();
  kill(getpid(), SIGTERM);
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  const timespec patience{5, 0};
  EXPECT_EQ(sigtimedwait(&term, nullptr, &patience), SIGTERM);
}

}  // namespace
}  // namespace lsn::control
