// The events of the workers' ALGs in the log: sessions that begin and end, with SPIs in place of
// ports, and warnings for the operator.
//
// Lines about sessions and turns are written at level info for groups that log their sessions
// (logging and sessionLogging ENABLED), otherwise at debug. AH of a client, an SPI that two clients
// seem to have chosen, and state that a reload removed are warnings.
//
// Volume is bounded: so many events are taken per tick, so many lines written per second. Events
// beyond that, and those that the workers' rings had no room for, are counted and reported once a
// minute.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "lsn/control/dataplane.hpp"
#include "lsn/control/running_config.hpp"
#include "lsn/shared/events.hpp"

namespace lsn::control {

/// Lines per second, in the long run, and at once.
class LineBudget {
 public:
  using Time = std::chrono::steady_clock::time_point;

  LineBudget(unsigned per_second, unsigned at_once)
      : per_second_(per_second), most_(at_once), left_(at_once) {}

  /// Whether one more line may be written.
  [[nodiscard]] bool take(Time now);

 private:
  double per_second_;
  double most_;
  double left_;
  Time refilled_{};
};

class AlgLog {
 public:
  using Time = LineBudget::Time;

  /// Events taken of a worker per tick; its ring holds 4096.
  static constexpr unsigned kEventsPerTick = 1024;
  static constexpr unsigned kSessionLinesPerSecond = 1000;
  static constexpr unsigned kWarningsPerSecond = 5;
  static constexpr unsigned kWarningsAtOnce = 50;
  static constexpr std::chrono::seconds kReportInterval{60};

  /// Both outlive it.
  AlgLog(Dataplane& dataplane, const RunningConfig& config)
      : dataplane_(dataplane), config_(config) {}

  /// Writes the events since the last call.
  void tick(Time now);

 private:
  void write(const shared::Event& event, Time now);
  [[nodiscard]] bool logs_sessions(const shared::InsideAddress& client);
  void report_missing(Time now);

  Dataplane& dataplane_;
  const RunningConfig& config_;
  LineBudget session_lines_{kSessionLinesPerSecond, kSessionLinesPerSecond};
  LineBudget warnings_{kWarningsPerSecond, kWarningsAtOnce};
  std::uint64_t left_out_ = 0;   ///< lines beyond the budgets, since the last report
  std::uint64_t lost_told_ = 0;  ///< events that the rings had lost at the last report
  Time next_report_{};
  /// By group id: whether it logs its sessions; of the generation of that number.
  std::vector<bool> logging_groups_;
  std::uint64_t logging_generation_ = 0;
};

/// The line of an event; `profile`: its name, or nothing.
[[nodiscard]] std::string line_of(const shared::Event& event, const std::string& profile);

}  // namespace lsn::control
