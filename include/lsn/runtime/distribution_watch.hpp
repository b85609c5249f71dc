// Whether a device distributes packets as it was told: looked at once a second, on the control
// thread, by the counters of the workers. A device that does not is complained about once, until it
// does again.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "lsn/shared/counters.hpp"

namespace lsn::runtime {

class DistributionWatch {
 public:
  struct Sight {
    std::optional<std::string> complaint;
    /// Many packets come otherwise, for some seconds: the device is better left to itself.
    bool give_up = false;
  };

  /// A second later.
  [[nodiscard]] Sight look(const shared::DeviceCounters& now) {
    // The workers go on counting while they are read: one may be ahead of the other.
    const std::uint64_t checked = now.checked.get() - checked_;
    const std::uint64_t fits = std::min(now.as_predicted.get() - as_predicted_, checked);
    if (checked < kLeastChecks) return {};
    checked_ = now.checked.get();
    as_predicted_ = now.as_predicted.get();
    // A reload changes tables under way; what is hashed otherwise by rights (fragments on some
    // devices) is little.
    const std::uint64_t wrong = checked - fits;
    if (wrong * 100 <= checked * kMostPercent) {
      complained_ = false;
      useless_ = 0;
      return {};
    }
    ++failed_seconds_;
    // With two workers and no hash half of them fit by chance.
    useless_ = wrong * 3 > checked ? useless_ + 1 : 0;
    Sight sight;
    sight.give_up = useless_ == kPatience;
    if (!std::exchange(complained_, true))
      sight.complaint = fmt::format(
          "packets are not distributed to their owners as the device was told: {} of {} looked at; "
          "they are handed over, which costs (stat interface)",
          wrong, checked);
    return sight;
  }

  [[nodiscard]] std::uint64_t failed_seconds() const { return failed_seconds_; }

 private:
  /// On a quiet device several seconds are looked at together.
  static constexpr std::uint64_t kLeastChecks = 256;
  static constexpr std::uint64_t kMostPercent = 10;
  static constexpr unsigned kPatience = 5;

  std::uint64_t checked_ = 0;
  std::uint64_t as_predicted_ = 0;
  std::uint64_t failed_seconds_ = 0;
  unsigned useless_ = 0;  ///< times in a row
  bool complained_ = false;
};

}  // namespace lsn::runtime
