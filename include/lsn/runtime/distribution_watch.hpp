// Whether a device distributes packets as it was told: looked at once a second, on the control
// thread, by the counters of the workers. A device that does not is complained about once, until it
// does again.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <string>

#include "lsn/shared/counters.hpp"

namespace lsn::runtime {

class DistributionWatch {
 public:
  /// A second later: a complaint, or nothing.
  [[nodiscard]] std::optional<std::string> look(const shared::DeviceCounters& now) {
    const std::uint64_t checked = now.checked.get() - checked_;
    const std::uint64_t fits = now.as_predicted.get() - as_predicted_;
    checked_ = now.checked.get();
    as_predicted_ = now.as_predicted.get();
    if (checked == 0) return std::nullopt;
    // A reload changes tables under way; what is hashed otherwise by rights (fragments on some
    // devices) is little.
    constexpr std::uint64_t kMostPercent = 10;
    if ((checked - fits) * 100 <= checked * kMostPercent) {
      complained_ = false;
      return std::nullopt;
    }
    ++failed_seconds_;
    if (complained_) return std::nullopt;
    complained_ = true;
    return fmt::format(
        "packets are not distributed to their owners as the device was told: {} of {} looked at in "
        "a second; they are handed over, which costs (stat interface)",
        checked - fits, checked);
  }

  [[nodiscard]] std::uint64_t failed_seconds() const { return failed_seconds_; }

 private:
  std::uint64_t checked_ = 0;
  std::uint64_t as_predicted_ = 0;
  std::uint64_t failed_seconds_ = 0;
  bool complained_ = false;
};

}  // namespace lsn::runtime
