#include "lsn/state/timer_wheel.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "support.hpp"

namespace lsn::state {
namespace {

constexpr std::size_t kNoLimit = std::numeric_limits<std::size_t>::max();
using Indices = std::vector<std::uint32_t>;

/// A wheel, and an owner whose objects have a deadline or none.
template <class TheWheel>
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
  std::optional<TheWheel> wheel_;
  std::map<std::uint32_t, Ticks> deadlines_;
  Ticks now_;
  std::size_t work_ = 0;
  std::size_t visits_ = 0;
};

using Wheels = testing::Types<TimerWheel, LongTimerWheel>;
struct WheelName {
  template <class TheWheel>
  static std::string GetName(int) {
    return std::is_same_v<TheWheel, TimerWheel> ? "TimerWheel" : "LongTimerWheel";
  }
};
TYPED_TEST_SUITE(Wheel, Wheels, WheelName);

TYPED_TEST(Wheel, FiresAtTheDeadlineAndNotBefore) {
  for (const std::uint32_t begin :
       {0u, 1u, 255u, 256u, 16'383u, 16'384u, 65'535u, 1'000'000u, 8'388'607u, 0xFFFFFF00u,
        0xFFFFC000u, 0xFF800000u, 0x7FFFFFFFu}) {
    for (const std::uint32_t distance :
         {1u,          2u,          255u,         256u,       257u,       511u,
          512u,        16'383u,     16'384u,      16'385u,    32'767u,    32'768u,
          65'535u,     65'536u,     65'537u,      8'388'607u, 8'388'608u, 8'388'609u,
          16'777'215u, 16'777'216u, 100'000'000u, 0x7FFFFFFFu}) {
      this->start(Ticks{begin});
      const Ticks deadline = Ticks{begin} + TickDuration(distance);
      this->schedule(3, deadline);
      // A clock cannot go on by half the circle at once.
      this->advance(Ticks{begin + distance / 2});
      ASSERT_EQ(this->advance(Ticks{deadline.value - 1}), Indices{}) << begin << " + " << distance;
      ASSERT_EQ(this->advance(deadline), Indices{3}) << begin << " + " << distance;
      ASSERT_EQ(this->wheel_->size(), 0u);
    }
  }
}

TYPED_TEST(Wheel, FiresAtTheDeadlineWhenItTurnsTickByTick) {
  this->start(Ticks{250});
  for (std::uint32_t i = 0; i < 1000; ++i) this->schedule(i, Ticks{251 + i * 7});
  for (std::uint32_t tick = 251; tick < 251 + 7000; ++tick) {
    const Indices expected = (tick - 251) % 7 == 0 ? Indices{(tick - 251) / 7} : Indices{};
    ASSERT_EQ(this->advance(Ticks{tick}), expected);
  }
}

TYPED_TEST(Wheel, FiresPastAndPresentDeadlinesAtTheNextTick) {
  this->start(Ticks{1000});
  this->schedule(1, Ticks{1000});
  this->schedule(2, Ticks{999});
  this->schedule(3, Ticks{0});
  EXPECT_EQ(this->advance(Ticks{1000}), Indices{});
  EXPECT_EQ(this->advance(Ticks{1001}), (Indices{1, 2, 3}));
}

TYPED_TEST(Wheel, DoesNothingWhenTheClockStandsOrGoesBack) {
  this->start(Ticks{1000});
  this->schedule(1, Ticks{1001});
  EXPECT_EQ(this->advance(Ticks{1000}), Indices{});
  EXPECT_EQ(this->advance(Ticks{990}), Indices{});
  EXPECT_EQ(this->work_, 0u);
  EXPECT_EQ(this->advance(Ticks{1001}), Indices{1});
}

TYPED_TEST(Wheel, NeverFiresWhatWasCancelledOnAnyLevel) {
  this->start(Ticks{77});
  for (const std::uint32_t distance : {1u, 300u, 70'000u, 20'000'000u}) {
    this->schedule(5, Ticks{77 + distance});
    EXPECT_TRUE(this->wheel_->is_scheduled(5, this->links_of()));
    this->cancel(5);
    EXPECT_FALSE(this->wheel_->is_scheduled(5, this->links_of()));
  }
  EXPECT_EQ(this->wheel_->size(), 0u);
  EXPECT_EQ(this->advance(Ticks{77 + 30'000'000}), Indices{});
  EXPECT_EQ(this->work_, 0u);
}

TYPED_TEST(Wheel, CancelsFromTheFrontTheMiddleAndTheEndOfASlot) {
  this->start(Ticks{0});
  for (std::uint32_t i = 0; i < 6; ++i) this->schedule(i, Ticks{500});
  for (const std::uint32_t i : {5u, 2u, 0u}) this->cancel(i);
  EXPECT_EQ(this->advance(Ticks{500}), (Indices{1, 3, 4}));
}

TYPED_TEST(Wheel, TakesTheCancellingOfWhatDoesNotWait) {
  this->start(Ticks{0});
  this->wheel_->cancel(9, this->links_of());
  this->schedule(9, Ticks{5});
  EXPECT_EQ(this->advance(Ticks{5}), Indices{9});
  this->wheel_->cancel(9, this->links_of());
  EXPECT_EQ(this->wheel_->size(), 0u);
}

TYPED_TEST(Wheel, IgnoresWhatStoodInTheLinksBefore) {
  this->start(Ticks{0});
  this->links_[1] = WheelLinks{.place = 4242};
  this->schedule(1, Ticks{5});
  this->schedule(2, Ticks{5});
  EXPECT_EQ(this->advance(Ticks{5}), (Indices{1, 2}));
}

TYPED_TEST(Wheel, ReArmsLazilyWhatWasSeenSince) {
  // A packet only writes last-seen; the wheel asks when it thinks that the time has come.
  this->start(Ticks{0});
  const TickDuration timeout = std::chrono::seconds(300);
  this->schedule(1, Ticks{0} + timeout);
  Ticks seen{0};
  for (std::uint32_t tick = 0; tick < 100'000; tick += 10) {
    seen = Ticks{tick};
    this->deadlines_[1] = seen + timeout;
    ASSERT_EQ(this->advance(Ticks{tick}), Indices{});
  }
  // 100,000 ticks are some three timeouts; each costs a question per level or so, not one per
  // packet.
  EXPECT_LT(this->visits_, 20u);
  EXPECT_EQ(this->advance(seen + timeout - TickDuration(1)), Indices{});
  EXPECT_EQ(this->advance(seen + timeout), Indices{1});
}

TYPED_TEST(Wheel, AsksAtMostOncePerLevelForAnObjectThatIsLeftAlone) {
  this->start(Ticks{12'345});
  this->schedule(1, Ticks{12'345 + 100'000'000});
  for (std::uint32_t i = 1; i <= 1000; ++i) this->advance(Ticks{12'345 + i * 100'000});
  EXPECT_TRUE(this->deadlines_.empty());
  EXPECT_LE(this->visits_, 4u);
}

TYPED_TEST(Wheel, StopsAtItsBudgetAndGoesOnThere) {
  this->start(Ticks{0});
  for (std::uint32_t i = 0; i < 1000; ++i) this->schedule(i, Ticks{100});
  std::set<std::uint32_t> fired;
  int calls = 0;
  do {
    for (const std::uint32_t index : this->advance(Ticks{100}, 64))
      EXPECT_TRUE(fired.insert(index).second);
    ++calls;
  } while (this->work_ == 64);
  EXPECT_EQ(fired.size(), 1000u);
  EXPECT_EQ(calls, (1000 + 1) / 64 + 1);
}

TYPED_TEST(Wheel, DoesNothingWithoutABudget) {
  this->start(Ticks{0});
  this->schedule(1, Ticks{1});
  EXPECT_EQ(this->advance(Ticks{10}, 0), Indices{});
  EXPECT_EQ(this->work_, 0u);
  EXPECT_EQ(this->advance(Ticks{10}), Indices{1});
}

TYPED_TEST(Wheel, CatchesUpWithAnyBudget) {
  this->start(Ticks{0});
  for (std::uint32_t i = 0; i < 2000; ++i) this->schedule(i, Ticks{1 + i % 500});
  std::set<std::uint32_t> fired;
  for (std::uint32_t tick = 1; fired.size() < 2000 && tick < 10'000; ++tick) {
    for (const std::uint32_t index : this->advance(Ticks{tick}, 3))
      EXPECT_TRUE(fired.insert(index).second);
  }
  EXPECT_EQ(fired.size(), 2000u);
}

TYPED_TEST(Wheel, SkipsEmptyTimeCheaplyHoweverFarTheClockJumped) {
  this->start(Ticks{5});
  this->schedule(1, Ticks{5} + std::chrono::hours(100));
  EXPECT_EQ(this->advance(Ticks{5} + std::chrono::hours(99)), Indices{});
  EXPECT_LE(this->work_, 8u);
  EXPECT_EQ(this->advance(Ticks{5} + std::chrono::hours(200)), Indices{1});
  EXPECT_LE(this->work_, 8u);
}

TYPED_TEST(Wheel, FiresEverythingThatAJumpPassed) {
  this->start(Ticks{5});
  Indices all;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    this->schedule(i, Ticks{5 + i * i * 13});
    all.push_back(i);
  }
  EXPECT_EQ(this->advance(Ticks{5 + 1000 * 1000 * 13}), all);
}

TYPED_TEST(Wheel, LetsAVisitCancelAnyOtherObject) {
  // Each object takes all its neighbours of the slot with it, before, behind and elsewhere.
  for (std::uint32_t leader = 0; leader < 10; ++leader) {
    this->start(Ticks{0});
    for (std::uint32_t i = 0; i < 10; ++i) this->wheel_->schedule(i, Ticks{300}, this->links_of());
    this->wheel_->schedule(10, Ticks{301}, this->links_of());
    this->wheel_->schedule(11, Ticks{100'000}, this->links_of());
    std::set<std::uint32_t> visited;
    bool disbanded = false;
    const auto visit = [&](std::uint32_t index) -> std::optional<Ticks> {
      EXPECT_TRUE(visited.insert(index).second);
      EXPECT_FALSE(disbanded);
      if (index == leader) {
        disbanded = true;
        for (std::uint32_t i = 0; i < 12; ++i) this->wheel_->cancel(i, this->links_of());
      }
      return std::nullopt;
    };
    this->wheel_->advance(Ticks{200'000}, kNoLimit, this->links_of(), visit);
    EXPECT_TRUE(disbanded);
    EXPECT_EQ(this->wheel_->size(), 0u);
  }
}

TYPED_TEST(Wheel, LetsAVisitScheduleOthersForAnyTime) {
  for (const std::uint32_t slot : {256u, 512u, 16'384u}) {
    const std::uint32_t turn = slot * slot;
    this->start(Ticks{0});
    this->wheel_->schedule(0, Ticks{slot}, this->links_of());
    Indices order;
    const auto visit = [&](std::uint32_t index) -> std::optional<Ticks> {
      order.push_back(index);
      if (index == 0) {
        // The first two at the next tick; then whole turns of levels, with levels of such slots.
        this->wheel_->schedule(1, Ticks{slot}, this->links_of());
        this->wheel_->schedule(2, Ticks{0}, this->links_of());
        this->wheel_->schedule(3, Ticks{slot + turn}, this->links_of());
        this->wheel_->schedule(4, Ticks{slot + slot}, this->links_of());
      }
      return std::nullopt;
    };
    this->wheel_->advance(Ticks{slot}, kNoLimit, this->links_of(), visit);
    EXPECT_EQ(order, Indices{0});
    this->wheel_->advance(Ticks{slot + 1}, kNoLimit, this->links_of(), visit);
    EXPECT_EQ(order.size(), 3u);
    this->wheel_->advance(Ticks{2 * slot - 1}, kNoLimit, this->links_of(), visit);
    EXPECT_EQ(order.size(), 3u);
    this->wheel_->advance(Ticks{2 * slot}, kNoLimit, this->links_of(), visit);
    EXPECT_EQ(order.back(), 4u);
    this->wheel_->advance(Ticks{slot + turn}, kNoLimit, this->links_of(), visit);
    EXPECT_EQ(order.back(), 3u);
  }
}

TYPED_TEST(Wheel, AnObjectThatReArmsForThePastFiresOncePerTickOnly) {
  this->start(Ticks{0});
  this->wheel_->schedule(0, Ticks{1}, this->links_of());
  int visits = 0;
  const auto visit = [&](std::uint32_t) -> std::optional<Ticks> {
    ++visits;
    return Ticks{0};
  };
  this->wheel_->advance(Ticks{10}, kNoLimit, this->links_of(), visit);
  EXPECT_EQ(visits, 10);
}

TYPED_TEST(Wheel, HasRoomForItsCapacityHoweverObjectsMove) {
  // The address sanitizer sees a step behind the chunks.
  constexpr std::uint32_t kObjects = 3000;
  this->start(Ticks{0}, kObjects);
  auto generator = test::seeded_generator();
  for (std::uint32_t i = 0; i < kObjects; ++i) this->schedule(i, Ticks{1 + i});
  for (int step = 0; step < 200'000; ++step) {
    const auto index = static_cast<std::uint32_t>(generator() % kObjects);
    this->cancel(index);
    this->schedule(index, Ticks{static_cast<std::uint32_t>(1 + generator() % 100'000'000)});
  }
  EXPECT_EQ(this->wheel_->size(), kObjects);
  EXPECT_EQ(this->advance(Ticks{100'000'001}).size(), kObjects);
}

TYPED_TEST(Wheel, WorksOverZeroedMemoryAsLinks) {
  ParallelArray<WheelLinks> links(1'000'000, &this->memory_);
  const auto at = [&](std::uint32_t index) -> WheelLinks& { return links[index]; };
  this->start(Ticks{0});
  this->wheel_->cancel(999'999, at);
  this->wheel_->schedule(999'999, Ticks{7}, at);
  int visits = 0;
  this->wheel_->advance(Ticks{7}, kNoLimit, at, [&](std::uint32_t) -> std::optional<Ticks> {
    ++visits;
    return std::nullopt;
  });
  EXPECT_EQ(visits, 1);
}

TYPED_TEST(Wheel, AgreesWithASortedMapWhateverIsDoneToIt) {
  auto generator = test::seeded_generator();
  const auto distance = [&]() -> std::uint32_t {
    switch (generator() % 8) {
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
      case 5:
        return static_cast<std::uint32_t>((generator() % 300) << 14);
      case 6:
        return static_cast<std::uint32_t>((generator() % 300) << 16);
      default:
        return static_cast<std::uint32_t>((generator() % 30) << 23);
    }
  };
  // Begin before all kinds of boundaries, the wrap of the tick count among them.
  for (const std::uint32_t begin : {0u, 0xFFFFFFF0u, 0xFF000000u - 5, 0x7FFFFF00u, 123'456'789u}) {
    this->links_.assign(this->links_.size(), WheelLinks{});
    this->deadlines_.clear();
    this->start(Ticks{begin}, 500);
    bool caught_up = true;
    for (int step = 0; step < 20'000; ++step) {
      const auto index = static_cast<std::uint32_t>(generator() % 500);
      const bool armed = this->deadlines_.contains(index);
      ASSERT_EQ(this->wheel_->is_scheduled(index, this->links_of()), armed);
      switch (generator() % 4) {
        case 0:
          if (!armed) this->schedule(index, this->now_ + TickDuration(distance()));
          break;
        case 1:
          if (armed && generator() % 2 == 0) this->cancel(index);
          break;
        case 2:  // seen again: only ever later, and within half the clock's circle
          if (armed && this->deadlines_[index] - this->now_ < 1 << 29)
            this->deadlines_[index] += TickDuration(distance());
          break;
        default: {
          // One that lags is not left further behind: deadlines are within half the circle.
          const std::uint32_t ahead =
              caught_up ? distance() : static_cast<std::uint32_t>(generator() % 300);
          const Ticks now = this->now_ + TickDuration(ahead / (generator() % 50 + 1));
          const std::size_t budget = generator() % 2 == 0 ? kNoLimit : generator() % 20;
          for (const std::uint32_t fired : this->advance(now, budget)) ASSERT_LT(fired, 500u);
          caught_up = this->work_ < budget;
          break;
        }
      }
      ASSERT_EQ(this->wheel_->size(), this->deadlines_.size());
      if (caught_up && step % 10 == 0) {
        this->advance(this->now_);
        // A present deadline of a schedule() at this very tick is for the next one.
        this->advance(this->now_ + TickDuration(1));
        for (const auto& [other, deadline] : this->deadlines_) {
          ASSERT_TRUE(deadline.later_than(this->now_)) << "object " << other << " is overdue";
        }
      }
    }
  }
}

}  // namespace
}  // namespace lsn::state
