// Time as the tables know it: a 32-bit count of ticks of 10 ms that wraps after 497 days.
//
// One clock is published to all owners; a packet writes the tick into the objects that it touched
// ("last seen"), the timer wheel compares. Since the count wraps there is no order of all ticks,
// only of two that are less than half the circle (248 days) apart: `later_than` and `operator-` go
// by the signed difference, and there is deliberately no operator<.
//
// Durations are std::chrono; a duration in seconds converts by itself:
//   Ticks deadline = last_seen + std::chrono::seconds(300);
#pragma once

#include <chrono>
#include <cstdint>
#include <ratio>

namespace lsn::state {

/// A span of ticks; 1 tick = 10 ms.
using TickDuration = std::chrono::duration<std::uint32_t, std::centi>;

/// A moment.
struct Ticks {
  std::uint32_t value = 0;

  /// Strictly later; the two must be less than 2^31 ticks apart.
  [[nodiscard]] constexpr bool later_than(Ticks other) const {
    return static_cast<std::int32_t>(value - other.value) > 0;
  }

  constexpr Ticks& operator+=(TickDuration span) {
    value += span.count();
    return *this;
  }

  friend constexpr bool operator==(Ticks, Ticks) = default;
};

[[nodiscard]] constexpr Ticks later_of(Ticks a, Ticks b) {
  return a.later_than(b) ? a : b;
}
[[nodiscard]] constexpr Ticks earlier_of(Ticks a, Ticks b) {
  return a.later_than(b) ? b : a;
}

/// Ticks from `b` to `a`; negative where `a` is the earlier one.
[[nodiscard]] constexpr std::int32_t operator-(Ticks a, Ticks b) {
  return static_cast<std::int32_t>(a.value - b.value);
}

/// The time from `then` to `now`; none where `then` is the later one.
[[nodiscard]] constexpr TickDuration elapsed(Ticks now, Ticks then) {
  return now.later_than(then) ? TickDuration{now.value - then.value} : TickDuration{};
}

/// The same in whole seconds, rounded down.
[[nodiscard]] constexpr std::uint32_t seconds_since(Ticks now, Ticks then) {
  return static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::seconds>(elapsed(now, then)).count());
}

[[nodiscard]] constexpr Ticks operator+(Ticks at, TickDuration span) {
  return Ticks{at.value + span.count()};
}

[[nodiscard]] constexpr Ticks operator-(Ticks at, TickDuration span) {
  return Ticks{at.value - span.count()};
}

}  // namespace lsn::state
