// What the control thread watches for alerts: states, with hysteresis.
//
// Once a second, from counters: tables that are over 80 % full (cleared below 70 %), links, records
// that are lost, gates that clients find taken. Twice a minute it asks the workers, and waits for
// nobody: pools over records.poolThreshold, and next hops of configured routes that do not answer.
// The log thread makes records of it (log_thread.hpp).
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lsn/control/command/answer.hpp"
#include "lsn/control/command/usage_answers.hpp"
#include "lsn/control/records/log_thread.hpp"

namespace lsn::control {

class AlertWatch {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds kLook{1};
  static constexpr std::chrono::seconds kQuestion{30};
  /// A sink that takes nothing for so long will lose records.
  static constexpr std::chrono::seconds kStall{60};
  static constexpr unsigned kTableRaise = 80;  ///< per cent
  static constexpr unsigned kTableClear = 70;

  /// All that the context refers to, and the log thread, outlive it.
  AlertWatch(const CommandContext& context, LogThread& log) : context_(context), log_(log) {}

  void tick(Time now);

 private:
  /// A share of something: raised from `raise` per cent on, cleared below `clear`.
  void watch_share(shared::LogAlert alert, std::string subject, std::uint64_t used,
                   std::uint64_t room, unsigned raise, unsigned clear);
  void set(shared::LogAlert alert, std::string subject, bool raised);
  void look_at_tables();
  void look_at_links();
  void look_at_losses(Time now);
  void look_at_stalls(const std::vector<SinkStatus>& sinks, Time now);
  void look_at_gates();
  void ask();
  void ask_neighbours(unsigned shard, shared::NeighbourPage page);
  void take_answers();
  void take_pools(const shared::Usage& usage);
  void take_neighbours();

  const CommandContext context_;
  LogThread& log_;
  Time next_look_{};
  Time next_question_{};
  std::map<std::pair<shared::LogAlert, std::string>, bool> raised_;
  std::uint64_t lost_ = 0;               ///< records, at the last look
  std::map<std::string, Time> stalled_;  ///< by sink, since when it takes nothing
  std::uint64_t blocked_ = 0;            ///< messages at gates, likewise
  std::optional<UsageSurvey> pools_;
  std::vector<Awaited<shared::NeighbourPage>> neighbours_;  ///< by shard, while they are asked
  std::map<std::string, bool> gateways_;                    ///< whether a worker knows a way to it
};

}  // namespace lsn::control
