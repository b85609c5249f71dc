// The sign of life that the service manager waits for (WatchdogSec=), while all of lsnd is alive.
//
// It is given twice per interval, by the control thread, and only if every worker has polled since
// the last time: a worker that hangs is as bad as a control thread that does, and ends the same
// way. A worker's poll counter moves whatever the worker does, also without packets, without a
// device or between the naps of powerSave, which are shorter than a millisecond. A counter that
// stands still is logged once; when it moves again the sign is given at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "lsn/control/dataplane.hpp"

namespace lsn::control {

class Watchdog {
 public:
  using Clock = std::chrono::steady_clock;

  /// `interval`: within which the service manager wants the sign; nullopt: it wants none. The
  /// dataplane outlives it.
  Watchdog(const Dataplane& dataplane, std::optional<std::chrono::microseconds> interval,
           Clock::time_point now);

  void tick(Clock::time_point now);

 private:
  struct Life {
    std::uint64_t polls = 0;  ///< when the last sign was given
    bool missed = false;      ///< the log knows that it stands still
  };

  [[nodiscard]] std::uint64_t polls_of(unsigned worker) const;

  const Dataplane& dataplane_;
  std::optional<std::chrono::microseconds> interval_;
  std::vector<Life> lives_;  ///< by worker
  Clock::time_point last_;   ///< sign
};

}  // namespace lsn::control
