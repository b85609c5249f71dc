// The one clock of all tables: the control thread advances it, the workers read it.
//
// A worker reads it once per poll, a plain load of a line that changes a hundred times a second. It
// begins at 1: zero is the value of untouched memory.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "lsn/state/ticks.hpp"

namespace lsn::runtime {

class Clock {
 public:
  using Source = std::chrono::steady_clock;

  explicit Clock(Source::time_point start = Source::now()) : start_(start) {}

  /// Control thread: publishes the tick that belongs to a moment.
  void advance_to(Source::time_point moment) {
    const auto passed =
        std::chrono::floor<std::chrono::duration<std::uint64_t, std::centi>>(moment - start_);
    now_.store(static_cast<std::uint32_t>(passed.count()) + kFirst, std::memory_order_relaxed);
  }

  /// When it would have stood at zero.
  [[nodiscard]] Source::time_point zero() const {
    return start_ - std::chrono::duration<std::int64_t, std::centi>(kFirst);
  }

  [[nodiscard]] state::Ticks now() const {
    return state::Ticks{now_.load(std::memory_order_relaxed)};
  }

 private:
  static constexpr std::uint32_t kFirst = 1;

  Source::time_point start_;
  alignas(64) std::atomic<std::uint32_t> now_{kFirst};
};

}  // namespace lsn::runtime
