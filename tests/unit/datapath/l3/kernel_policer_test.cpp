// The rates of the kernel path, in time that tests make.
#include "lsn/datapath/l3/kernel_policer.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace lsn::datapath {
namespace {

using shared::KernelClass;
using enum shared::KernelClass;
using state::Ticks;

/// Packets that pass of `offered` at that moment.
unsigned pass(KernelPolicer& policer, std::uint32_t rate, Ticks now, unsigned offered,
              KernelClass of_class = kRest, shared::InterfaceId interface = 0) {
  unsigned passed = 0;
  for (unsigned i = 0; i < offered; ++i) passed += policer.take(interface, of_class, rate, now);
  return passed;
}

TEST(KernelPolicer, ABucketIsFullToBeginWith) {
  KernelPolicer policer(1);
  EXPECT_EQ(pass(policer, 20000, Ticks{0}, 1000, kRouting), 400u);  // 20 ms of it
  EXPECT_EQ(pass(policer, 5, Ticks{0}, 1000, kRest), KernelPolicer::kLeastDepth);
}

TEST(KernelPolicer, AFloodGetsTheRateAndNotMore) {
  for (const std::uint32_t rate : {1u, 30u, 1000u, 20000u, 200000u}) {
    KernelPolicer policer(1);
    Ticks now{4'294'967'000};  // the clock wraps meanwhile
    (void)pass(policer, rate, now, 100'000);
    unsigned passed = 0;
    for (int tick = 0; tick < 1000; ++tick) {
      now += state::TickDuration{1};
      passed += pass(policer, rate, now, rate / 50 + 2);
    }
    EXPECT_EQ(passed, 10 * rate) << rate;
  }
}

TEST(KernelPolicer, ClassesAndInterfacesHaveBucketsOfTheirOwn) {
  KernelPolicer policer(2);
  EXPECT_EQ(pass(policer, 100, Ticks{7}, 50, kRest, 0), 32u);
  EXPECT_EQ(pass(policer, 100, Ticks{7}, 50, kManagement, 0), 32u);
  EXPECT_EQ(pass(policer, 100, Ticks{7}, 50, kRouting, 0), 32u);
  EXPECT_EQ(pass(policer, 100, Ticks{7}, 50, kRest, 1), 32u);
}

TEST(KernelPolicer, AWorkerThatIsATickBehindGivesNothingAway) {
  KernelPolicer policer(1);
  EXPECT_EQ(pass(policer, 1000, Ticks{100}, 50), 32u);
  EXPECT_EQ(pass(policer, 1000, Ticks{99}, 50), 0u);
  EXPECT_EQ(pass(policer, 1000, Ticks{101}, 50), 10u);
  EXPECT_EQ(pass(policer, 1000, Ticks{100}, 50), 0u);
  EXPECT_EQ(pass(policer, 1000, Ticks{102}, 50), 10u);
}

TEST(KernelPolicer, ABucketThatRestedForMonthsIsFull) {
  KernelPolicer policer(1);
  EXPECT_EQ(pass(policer, 1000, Ticks{100}, 50), 32u);
  EXPECT_EQ(pass(policer, 1000, Ticks{100 + 0x9000'0000u}, 50), 32u);
}

TEST(KernelPolicer, WorkersShareARate) {
  KernelPolicer policer(1);
  std::atomic<unsigned> passed{0};
  std::vector<std::thread> workers;
  for (int i = 0; i < 4; ++i)
    workers.emplace_back([&] { passed += pass(policer, 20000, Ticks{1}, 5000, kRouting); });
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQ(passed, 400u);
}

}  // namespace
}  // namespace lsn::datapath
