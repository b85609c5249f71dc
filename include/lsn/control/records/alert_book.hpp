// The alerts that are raised, and what is told of them.
//
// An alert has a kind and a subject: a group, or what the words say ("pool LSN-POOL-1"). There are
// two sorts. Something *happens* (a port was refused): it is raised by the first time, repeated
// while it goes on, and cleared when it has not happened for a minute. Something *holds* (a link is
// down, a table is over 80 %): it is raised and cleared by who watches it, with hysteresis there.
// Of each kind and subject at most so many records a minute are told (snmptraplimit); what is left
// out is in the count of the next one, and the state is the same.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "lsn/shared/generation.hpp"
#include "lsn/shared/log_record.hpp"

namespace lsn::control {

struct AlertSubject {
  shared::LogAlert alert = shared::LogAlert::kPortAllocation;
  std::uint16_t group = shared::kNoId;  ///< kNoId: the words are the subject
  std::string words;

  friend auto operator<=>(const AlertSubject&, const AlertSubject&) = default;
};

class AlertBook {
 public:
  static constexpr std::int64_t kQuietMs = 60'000;
  static constexpr std::uint32_t kUsualLimit = 100;  ///< per minute, of what is no group's

  /// A record to be written.
  struct Told {
    AlertSubject subject;
    shared::LogEvent event;  ///< kCreated: raised, kCompleted: repeated, kDeleted: cleared
    std::uint64_t count;     ///< times since the last record of it
  };
  /// For `show alert` and metrics.
  struct Status {
    AlertSubject subject;
    bool raised;
    std::int64_t since_ms;  ///< raised, or cleared
    std::uint64_t count;    ///< times in all
  };

  void happened(const AlertSubject& subject, std::uint64_t times, std::int64_t now_ms,
                std::uint32_t limit = kUsualLimit);
  void holds(const AlertSubject& subject, bool raised, std::int64_t now_ms);
  /// Clears what has not happened for long.
  void tick(std::int64_t now_ms);

  /// What is to be told since the last time.
  [[nodiscard]] std::vector<Told> take();
  [[nodiscard]] std::vector<Status> status() const;

 private:
  struct State {
    bool raised = false;
    bool by_event = false;  ///< happened(), not holds()
    bool told = false;      ///< as raised
    std::int64_t since_ms = 0;
    std::int64_t latest_ms = 0;
    std::int64_t minute = 0;      ///< of `in_minute`
    std::uint32_t in_minute = 0;  ///< records
    std::uint32_t limit = kUsualLimit;
    std::uint64_t untold = 0;  ///< times since the last record
    std::uint64_t count = 0;
  };

  [[nodiscard]] static bool may_tell(State& state, std::int64_t now_ms);
  void tell(const AlertSubject& subject, State& state, shared::LogEvent event);
  void clear(const AlertSubject& subject, State& state, std::int64_t now_ms);

  std::map<AlertSubject, State> all_;
  std::vector<Told> told_;
};

}  // namespace lsn::control
