#include "lsn/control/records/utc_clock.hpp"

#include <algorithm>

namespace lsn::control {

UtcClock::Milliseconds UtcClock::look(Steady now, System utc) {
  const Nanoseconds system = utc.time_since_epoch() - since_start(now);
  const Nanoseconds passed = std::max(now - looked_, Steady::duration::zero());
  looked_ = std::max(looked_, now);
  ahead_ = std::max(system, ahead_ - passed / 2);
  const auto step = std::chrono::duration_cast<Milliseconds>(system - system_ahead_);
  system_ahead_ = system;
  return std::chrono::abs(step) < kStep ? Milliseconds{0} : step;
}

}  // namespace lsn::control
