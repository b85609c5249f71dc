// Refusals that an operator should hear of, told at a pace: an ALERT record per group and kind of
// alert and second, and at most some dozens per second in all, however many packets are refused.
//
// A place for each group and kind, by hash: two that share one tell more often, and the limit of
// all holds all the same. The log thread makes alerts of it, raised and cleared (control/records).
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

#include "lsn/datapath/verdict.hpp"
#include "lsn/shared/log_record.hpp"
#include "lsn/state/ticks.hpp"

namespace lsn::datapath::lsn44 {

class AlertPacer {
 public:
  static constexpr state::TickDuration kPace = std::chrono::seconds{1};
  static constexpr unsigned kMostPerPace = 64;

  /// Something of a group's was refused. How many refusals are to be told of now; 0: not yet.
  [[nodiscard]] std::uint64_t note(std::uint16_t group, LogAlert alert, state::Ticks now) {
    const auto kind = static_cast<unsigned>(alert);
    Place& place = places_[(group * kLogAlerts + kind) % places_.size()];
    if (place.group != group || place.kind != kind) place = {group, kind, 0, {}};
    ++place.count;
    if (place.told && !(*place.told + kPace).later_than(now)) place.told.reset();
    if (place.told || !may_tell(now)) return 0;
    place.told = now;
    return std::exchange(place.count, 0);
  }

 private:
  struct Place {
    std::uint16_t group = kNoId;
    unsigned kind = 0;
    std::uint64_t count = 0;
    std::optional<state::Ticks> told;
  };

  bool may_tell(state::Ticks now) {
    if (!(since_ + kPace).later_than(now)) {
      since_ = now;
      told_ = 0;
    }
    return told_++ < kMostPerPace;
  }

  std::array<Place, 256> places_{};
  state::Ticks since_{};
  unsigned told_ = 0;
};

}  // namespace lsn::datapath::lsn44
