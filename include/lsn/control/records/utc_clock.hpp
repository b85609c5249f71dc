// UTC for records: it follows the system's clock and never goes back.
//
// A record's moment is one of the steady clock. look() compares the system's clock with it, several
// times a second. Where the system's clock is ahead, the difference counts at once: a gap in the
// times hides nobody. Where it is behind (it was wrong and has been set back), the times go on at
// half speed until the system's clock has caught up. set_back() says that this is so.
#pragma once

#include <chrono>
#include <cstdint>

namespace lsn::control {

class UtcClock {
 public:
  using Steady = std::chrono::steady_clock::time_point;
  using System = std::chrono::system_clock::time_point;
  using Milliseconds = std::chrono::milliseconds;

  /// The least step of the system's clock that is worth a word.
  static constexpr Milliseconds kStep{1000};

  UtcClock(Steady now, System utc)
      : looked_(now), ahead_(utc.time_since_epoch() - since_start(now)) {}

  /// How far the system's clock has been set since the last look: negative: back. Zero: by less
  /// than kStep.
  Milliseconds look(Steady now, System utc);

  /// Milliseconds since 1970 of a moment, by the last look.
  [[nodiscard]] std::int64_t at(Steady moment) const {
    return std::chrono::floor<Milliseconds>(since_start(moment) + ahead_).count();
  }

 private:
  using Nanoseconds = std::chrono::nanoseconds;

  [[nodiscard]] static Nanoseconds since_start(Steady moment) { return moment.time_since_epoch(); }

  Steady looked_;
  Nanoseconds ahead_;                  ///< of the steady clock
  Nanoseconds system_ahead_ = ahead_;  ///< the system's clock, when it was looked at last
};

}  // namespace lsn::control
