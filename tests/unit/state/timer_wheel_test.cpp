#include "lsn/state/timer_wheel.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "support.hpp"

namespace lsn::state {
namespace {

constexpr std::size_t kNoLimit = std::numeric_limits<std::size_t>::max();
using Indices = std::vector<std::uint32_t>;

/// A wheel, and an owner whose objects have a deadline or none.
class Wheel : public testing::Test {
 protected:
  auto links_of() {
    return [this](std::uint32_t index) -> WheelLinks& { return links_.at(index); };
  }

  void start(Ticks now, std::uint32_t capacity = 10'000) {
    now_ = now;
    wheel_.emplace(capacity, now, &memory_);
  }

  void schedule(std::uint32_t index, Ticks deadline) {
    deadlines_[index] = deadline;
    wheel_->schedule(index, deadline, links_of());
  }

  void cancel(std::uint32_t index) {
    deadlines_.erase(index);
    wheel_->cancel(index, links_of());
  }

  /// Turns to now; what is due is taken away and returned, the others are re-armed.
  Indices advance(Ticks now, std::size_t budget = kNoLimit) {
    now_ = now;
    Indices fired;
    std::set<std::uint32_t> foreseen;
    work_ = wheel_->advance(
        now, budget, links_of(),
        [&](std::uint32_t index) -> std::optional<Ticks> {
          ++visits_;
          EXPECT_EQ(foreseen.erase(index), 1u) << "visited without having been announced";
          const auto found = deadlines_.find(index);
          EXPECT_NE(found, deadlines_.end()) << "visited without being armed";
          if (found->second.later_than(now_)) return found->second;
          deadlines_.erase(found);
          fired.push_back(index);
          return std::nullopt;
        },
        [&](std::span<const std::uint32_t> soon) { foreseen.insert(soon.begin(), soon.end()); });
    EXPECT_TRUE(foreseen.empty()) << "announced and not visited";
    EXPECT_LE(work_, budget);
    std::sort(fired.begin(), fired.end());
    return fired;
  }

  test::HeapMemory memory_;
  std::vector<WheelLinks> links_ = std::vector<WheelLinks>(10'000);
  std::optional<TimerWheel> wheel_;
  std::map<std::uint32_t, Ticks> deadlines_;
  Ticks now_;
  std::size_t work_ = 0;
  std::size_t visits_ = 0;
};

TEST_F(Wheel, FiresAtTheDeadlineAndNotBefore) {
  for (const std::uint32_t begin :
       {0u, 1u, 255u, 256u, 65'535u, 1'000'000u, 0xFFFFFF00u, 0x7FFFFFFFu}) {
    for (const std::uint32_t distance :
         {1u, 2u, 255u, 256u, 257u, 511u, 512u, 65'535u, 65'536u, 65'537u, 16'777'215u, 16'777'216u,
          100'000'000u, 0x7FFFFFFFu}) {
      start(Ticks{begin});
      const Ticks deadline = Ticks{begin} + TickDuration(distance);
      schedule(3, deadline);
      // A clock cannot go on by half the circle at once.
      advance(Ticks{begin + distance / 2});
      ASSERT_EQ(advance(Ticks{deadline.value - 1}), Indices{}) << begin << " + " << distance;
      ASSERT_EQ(advance(deadline), Indices{3}) << begin << " + " << distance;
      ASSERT_EQ(wheel_->size(), 0u);
    }
  }
}

TEST_F(Wheel, FiresAtTheDeadlineWhenItTurnsTickByTick) {
  start(Ticks{250});
  for (std::uint32_t i = 0; i < 1000; ++i) schedule(i, Ticks{251 + i * 7});
  for (std::uint32_t tick = 251; tick < 251 + 7000; ++tick) {
    const Indices expected = (tick - 251) % 7 == 0 ? Indices{(tick - 251) / 7} : Indices{};
    ASSERT_EQ(advance(Ticks{tick}), expected);
  }
}

TEST_F(Wheel, FiresPastAndPresentDeadlinesAtTheNextTick) {
  start(Ticks{1000});
  schedule(1, Ticks{1000});
  schedule(2, Ticks{999});
  schedule(3, Ticks{0});
  EXPECT_EQ(advance(Ticks{1000}), Indices{});
  EXPECT_EQ(advance(Ticks{1001}), (Indices{1, 2, 3}));
}

TEST_F(Wheel, DoesNothingWhenTheClockStandsOrGoesBack) {
  start(Ticks{1000});
  schedule(1, Ticks{1001});
  EXPECT_EQ(advance(Ticks{1000}), Indices{});
  EXPECT_EQ(advance(Ticks{990}), Indices{});
  EXPECT_EQ(work_, 0u);
  EXPECT_EQ(advance(Ticks{1001}), Indices{1});
}

TEST_F(Wheel, NeverFiresWhatWasCancelledOnAnyLevel) {
  start(Ticks{77});
  for (const std::uint32_t distance : {1u, 300u, 70'000u, 20'000'000u}) {
    schedule(5, Ticks{77 + distance});
    EXPECT_TRUE(wheel_->is_scheduled(5, links_of()));
    cancel(5);
    EXPECT_FALSE(wheel_->is_scheduled(5, links_of()));
  }
  EXPECT_EQ(wheel_->size(), 0u);
  EXPECT_EQ(advance(Ticks{77 + 30'000'000}), Indices{});
  EXPECT_EQ(work_, 0u);
}

TEST_F(Wheel, CancelsFromTheFrontTheMiddleAndTheEndOfASlot) {
  start(Ticks{0});
  for (std::uint32_t i = 0; i < 6; ++i) schedule(i, Ticks{500});
  for (const std::uint32_t i : {5u, 2u, 0u}) cancel(i);
  EXPECT_EQ(advance(Ticks{500}), (Indices{1, 3, 4}));
}

TEST_F(Wheel, TakesTheCancellingOfWhatDoesNotWait) {
  start(Ticks{0});
  wheel_->cancel(9, links_of());
  schedule(9, Ticks{5});
  EXPECT_EQ(advance(Ticks{5}), Indices{9});
  wheel_->cancel(9, links_of());
  EXPECT_EQ(wheel_->size(), 0u);
}

TEST_F(Wheel, IgnoresWhatStoodInTheLinksBefore) {
  start(Ticks{0});
  links_[1] = WheelLinks{.place = 4242};
  schedule(1, Ticks{5});
  schedule(2, Ticks{5});
  EXPECT_EQ(advance(Ticks{5}), (Indices{1, 2}));
}

TEST_F(Wheel, ReArmsLazilyWhatWasSeenSince) {
  // A packet only writes last-seen; the wheel asks when it thinks that the time has come.
  start(Ticks{0});
  const TickDuration timeout = std::chrono::seconds(300);
  schedule(1, Ticks{0} + timeout);
  Ticks seen{0};
  for (std::uint32_t tick = 0; tick < 100'000; tick += 10) {
    seen = Ticks{tick};
    deadlines_[1] = seen + timeout;
    ASSERT_EQ(advance(Ticks{tick}), Indices{});
  }
  // 100,000 ticks are some three timeouts; each costs a question per level or so, not one per
  // packet.
  EXPECT_LT(visits_, 20u);
  EXPECT_EQ(advance(seen + timeout - TickDuration(1)), Indices{});
  EXPECT_EQ(advance(seen + timeout), Indices{1});
}

TEST_F(Wheel, AsksAtMostOncePerLevelForAnObjectThatIsLeftAlone) {
  start(Ticks{12'345});
  schedule(1, Ticks{12'345 + 100'000'000});
  for (std::uint32_t i = 1; i <= 1000; ++i) advance(Ticks{12'345 + i * 100'000});
  EXPECT_TRUE(deadlines_.empty());
  EXPECT_LE(visits_, 4u);
}

TEST_F(Wheel, StopsAtItsBudgetAndGoesOnThere) {
  start(Ticks{0});
  for (std::uint32_t i = 0; i < 1000; ++i) schedule(i, Ticks{100});
  std::set<std::uint32_t> fired;
  int calls = 0;
  do {
    for (const std::uint32_t index : advance(Ticks{100}, 64))
      EXPECT_TRUE(fired.insert(index).second);
    ++calls;
  } while (work_ == 64);
  EXPECT_EQ(fired.size(), 1000u);
  EXPECT_EQ(calls, (1000 + 1) / 64 + 1);
}

TEST_F(Wheel, DoesNothingWithoutABudget) {
  start(Ticks{0});
  schedule(1, Ticks{1});
  EXPECT_EQ(advance(Ticks{10}, 0), Indices{});
  EXPECT_EQ(work_, 0u);
  EXPECT_EQ(advance(Ticks{10}), Indices{1});
}

TEST_F(Wheel, CatchesUpWithAnyBudget) {
  start(Ticks{0});
  for (std::uint32_t i = 0; i < 2000; ++i) schedule(i, Ticks{1 + i % 500});
  std::set<std::uint32_t> fired;
  for (std::uint32_t tick = 1; fired.size() < 2000 && tick < 10'000; ++tick) {
    for (const std::uint32_t index : advance(Ticks{tick}, 3))
      EXPECT_TRUE(fired.insert(index).second);
  }
  EXPECT_EQ(fired.size(), 2000u);
}

TEST_F(Wheel, SkipsEmptyTimeCheaplyHoweverFarTheClockJumped) {
  start(Ticks{5});
  schedule(1, Ticks{5} + std::chrono::hours(100));
  EXPECT_EQ(advance(Ticks{5} + std::chrono::hours(99)), Indices{});
  EXPECT_LE(work_, 8u);
  EXPECT_EQ(advance(Ticks{5} + std::chrono::hours(200)), Indices{1});
  EXPECT_LE(work_, 8u);
}

TEST_F(Wheel, FiresEverythingThatAJumpPassed) {
  start(Ticks{5});
  Indices all;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    schedule(i, Ticks{5 + i * i * 13});
    all.push_back(i);
  }
  EXPECT_EQ(advance(Ticks{5 + 1000 * 1000 * 13}), all);
}

TEST_F(Wheel, LetsAVisitCancelAnyOtherObject) {
  // Each object takes all its neighbours of the slot with it, before, behind and elsewhere.
  for (std::uint32_t leader = 0; leader < 10; ++leader) {
    start(Ticks{0});
    for (std::uint32_t i = 0; i < 10; ++i) wheel_->schedule(i, Ticks{300}, links_of());
    wheel_->schedule(10, Ticks{301}, links_of());
    wheel_->schedule(11, Ticks{100'000}, links_of());
    std::set<std::uint32_t> visited;
    bool disbanded = false;
    const auto visit = [&](std::uint32_t index) -> std::optional<Ticks> {
      EXPECT_TRUE(visited.insert(index).second);
      EXPECT_FALSE(disbanded);
      if (index == leader) {
        disbanded = true;
        for (std::uint32_t i = 0; i < 12; ++i) wheel_->cancel(i, links_of());
      }
      return std::nullopt;
    };
    wheel_->advance(Ticks{200'000}, kNoLimit, links_of(), visit);
    EXPECT_TRUE(disbanded);
    EXPECT_EQ(wheel_->size(), 0u);
  }
}

TEST_F(Wheel, LetsAVisitScheduleOthersForAnyTime) {
  start(Ticks{0});
  wheel_->schedule(0, Ticks{256}, links_of());
  Indices order;
  const auto visit = [&](std::uint32_t index) -> std::optional<Ticks> {
    order.push_back(index);
    if (index == 0) {
      wheel_->schedule(1, Ticks{256}, links_of());          // now: at the next tick
      wheel_->schedule(2, Ticks{0}, links_of());            // past: at the next tick
      wheel_->schedule(3, Ticks{256 + 65536}, links_of());  // a whole turn of the second level
      wheel_->schedule(4, Ticks{256 + 256}, links_of());    // a whole turn of the first level
    }
    return std::nullopt;
  };
  wheel_->advance(Ticks{256}, kNoLimit, links_of(), visit);
  EXPECT_EQ(order, Indices{0});
  wheel_->advance(Ticks{257}, kNoLimit, links_of(), visit);
  EXPECT_EQ(order.size(), 3u);
  wheel_->advance(Ticks{511}, kNoLimit, links_of(), visit);
  EXPECT_EQ(order.size(), 3u);
  wheel_->advance(Ticks{512}, kNoLimit, links_of(), visit);
  EXPECT_EQ(order.back(), 4u);
  wheel_->advance(Ticks{256 + 65536}, kNoLimit, links_of(), visit);
  EXPECT_EQ(order.back(), 3u);
}

TEST_F(Wheel, AnObjectThatReArmsForThePastFiresOncePerTickOnly) {
  start(Ticks{0});
  wheel_->schedule(0, Ticks{1}, links_of());
  int visits = 0;
  const auto visit = [&](std::uint32_t) -> std::optional<Ticks> {
    ++visits;
    return Ticks{0};
  };
  wheel_->advance(Ticks{10}, kNoLimit, links_of(), visit);
  EXPECT_EQ(visits, 10);
}

TEST_F(Wheel, HasRoomForItsCapacityHoweverObjectsMove) {
  // The address sanitizer sees a step behind the chunks.
  constexpr std::uint32_t kObjects = 3000;
  start(Ticks{0}, kObjects);
  auto generator = test::seeded_generator();
  for (std::uint32_t i = 0; i < kObjects; ++i) schedule(i, Ticks{1 + i});
  for (int step = 0; step < 200'000; ++step) {
    const auto index = static_cast<std::uint32_t>(generator() % kObjects);
    cancel(index);
    schedule(index, Ticks{static_cast<std::uint32_t>(1 + generator() % 100'000'000)});
  }
  EXPECT_EQ(wheel_->size(), kObjects);
  EXPECT_EQ(advance(Ticks{100'000'001}).size(), kObjects);
}

TEST_F(Wheel, WorksOverZeroedMemoryAsLinks) {
  ParallelArray<WheelLinks> links(1'000'000, &memory_);
  const auto at = [&](std::uint32_t index) -> WheelLinks& { return links[index]; };
  start(Ticks{0});
  wheel_->cancel(999'999, at);
  wheel_->schedule(999'999, Ticks{7}, at);
  int visits = 0;
  wheel_->advance(Ticks{7}, kNoLimit, at, [&](std::uint32_t) -> std::optional<Ticks> {
    ++visits;
    return std::nullopt;
  });
  EXPECT_EQ(visits, 1);
}

TEST_F(Wheel, AgreesWithASortedMapWhateverIsDoneToIt) {
  auto generator = test::seeded_generator();
  const auto distance = [&]() -> std::uint32_t {
    switch (generator() % 6) {
      case 0:
        return static_cast<std::uint32_t>(generator() % 3);
      case 1:
        return static_cast<std::uint32_t>(generator() % 300);
      case 2:
        return static_cast<std::uint32_t>(generator() % 70'000);
      case 3:
        return static_cast<std::uint32_t>(generator() % 17'000'000);
      case 4:
        return static_cast<std::uint32_t>((generator() % 300) << 8);
      default:
        return static_cast<std::uint32_t>((generator() % 300) << 16);
    }
  };
  // Begin before all kinds of boundaries, the wrap of the tick count among them.
  for (const std::uint32_t begin : {0u, 0xFFFFFFF0u, 0xFF000000u - 5, 0x7FFFFF00u, 123'456'789u}) {
    links_.assign(links_.size(), WheelLinks{});
    deadlines_.clear();
    start(Ticks{begin}, 500);
    bool caught_up = true;
    for (int step = 0; step < 20'000; ++step) {
      const auto index = static_cast<std::uint32_t>(generator() % 500);
      const bool armed = deadlines_.contains(index);
      ASSERT_EQ(wheel_->is_scheduled(index, links_of()), armed);
      switch (generator() % 4) {
        case 0:
          if (!armed) schedule(index, now_ + TickDuration(distance()));
          break;
        case 1:
          if (armed && generator() % 2 == 0) cancel(index);
          break;
        case 2:  // seen again: only ever later
          if (armed) deadlines_[index] += TickDuration(distance());
          break;
        default: {
          const Ticks now = now_ + TickDuration(distance() / (generator() % 50 + 1));
          const std::size_t budget = generator() % 2 == 0 ? kNoLimit : generator() % 20;
          for (const std::uint32_t fired : advance(now, budget)) ASSERT_LT(fired, 500u);
          caught_up = work_ < budget;
          break;
        }
      }
      ASSERT_EQ(wheel_->size(), deadlines_.size());
      if (caught_up && step % 10 == 0) {
        advance(now_);
        // A present deadline of a schedule() at this very tick is for the next one.
        advance(now_ + TickDuration(1));
        for (const auto& [other, deadline] : deadlines_) {
          ASSERT_TRUE(deadline.later_than(now_)) << "object " << other << " is overdue";
        }
      }
    }
  }
}

}  // namespace
}  // namespace lsn::state
