#include "lsn/control/metrics/pulse.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace lsn::control {
namespace {

using namespace std::chrono_literals;
using Time = Pulse::Time;

class Pulses : public testing::Test {
 protected:
  /// The control thread ticks and the workers poll, but those who are told to stand still.
  void pass(std::chrono::milliseconds time, bool control = true, bool first = true,
            bool second = true) {
    for (auto gone = 0ms; gone < time; gone += 250ms) {
      now += 250ms;
      if (control) pulse.beat(now, Phase::kReady);
      if (first) workers[0]->polls.add(1000);
      if (second) workers[1]->polls.add();
      pulse.look(now);
    }
  }

  Time now{1000s};
  std::unique_ptr<shared::Counters> workers[2]{std::make_unique<shared::Counters>(),
                                               std::make_unique<shared::Counters>()};
  Pulse pulse{{workers[0].get(), workers[1].get()}, now};
};

TEST_F(Pulses, AllIsWellWhileAllTurn) {
  EXPECT_EQ(pulse.trouble(now), std::nullopt);
  pass(60s);
  EXPECT_EQ(pulse.trouble(now), std::nullopt);
  EXPECT_EQ(pulse.control_silence(now), 0s);
  EXPECT_EQ(pulse.worker_silence(1, now), 0s);
}

TEST_F(Pulses, AWorkerThatStandsStillIsNamed) {
  pass(10s);
  pass(4750ms, true, true, false);
  EXPECT_EQ(pulse.trouble(now), std::nullopt);
  pass(2s, true, true, false);
  EXPECT_EQ(pulse.trouble(now), "worker 1 stands still for 6 s");
  EXPECT_EQ(pulse.worker_silence(1, now), 6750ms);
  EXPECT_EQ(pulse.worker_silence(0, now), 0s);
  pass(250ms);
  EXPECT_EQ(pulse.trouble(now), std::nullopt);
}

TEST_F(Pulses, TheControlThreadComesFirst) {
  pass(5s, false, false, false);
  EXPECT_EQ(pulse.trouble(now), "the control thread stands still for 5 s");
}

TEST_F(Pulses, WhoLooksLateBlamesNobodyWhoHasMoved) {
  now += 60s;
  pulse.beat(now, Phase::kReady);
  for (const auto& worker : workers) worker->polls.add();
  pulse.look(now);
  EXPECT_EQ(pulse.trouble(now), std::nullopt);
}

TEST_F(Pulses, ReadyIsWhoHasAConfigurationAndNoneOnItsWay) {
  EXPECT_EQ(pulse.waiting(), "no configuration is in force yet");
  pulse.beat(now, Phase::kReady);
  EXPECT_EQ(pulse.waiting(), std::nullopt);
  pulse.beat(now, Phase::kReloading);
  EXPECT_EQ(pulse.waiting(), "a configuration is on its way to the workers");
}

}  // namespace
}  // namespace lsn::control
