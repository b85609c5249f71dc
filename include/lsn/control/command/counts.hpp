// `stat` and `show drops` count from the start of lsnd, or from the last `clear counters`.
//
// The workers' counters themselves are never set back: metrics, telemetry, the watchdog and other
// readers see them grow. ClearedCounters remembers where they stood when an operator cleared them,
// and Counts is the difference since then, a copy. Gauges have their present values.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lsn/control/dataplane.hpp"

namespace lsn::control {

/// Where the counters stood when they were cleared.
class ClearedCounters {
 public:
  struct OfWorker {
    shared::Counters counters;
    shared::AlgCounters alg;
    std::uint64_t events_lost = 0;  ///< Dataplane::alg_events()
  };

  void clear(Dataplane& dataplane, std::string by, std::chrono::system_clock::time_point now);

  [[nodiscard]] bool is_set() const { return !at_.empty(); }
  /// "2026-11-30T10:20:11Z" (RFC 3339).
  [[nodiscard]] const std::string& at() const { return at_; }
  /// The user that cleared them.
  [[nodiscard]] const std::string& by() const { return by_; }
  [[nodiscard]] const OfWorker& worker(unsigned shard) const { return *workers_[shard]; }

  /// The devices' counts since then. A device that has begun to count again is remembered as such.
  [[nodiscard]] std::vector<shared::PortStatus> since(std::vector<shared::PortStatus> ports);

 private:
  std::vector<std::unique_ptr<const OfWorker>> workers_;
  std::vector<shared::PortStatus> ports_;
  std::string at_;
  std::string by_;
};

/// The counts since then. Without a clear(): the counters themselves.
class Counts {
 public:
  Counts(const Dataplane& dataplane, const ClearedCounters& cleared);

  [[nodiscard]] unsigned workers() const { return static_cast<unsigned>(workers_.size()); }
  [[nodiscard]] const shared::Counters& of(unsigned shard) const {
    return *workers_[shard].counters;
  }
  /// nullptr: there is no ALG.
  [[nodiscard]] const shared::AlgCounters* alg(unsigned shard) const { return workers_[shard].alg; }

 private:
  struct OfWorker {
    const shared::Counters* counters;
    const shared::AlgCounters* alg;
  };
  std::vector<OfWorker> workers_;
  std::vector<std::unique_ptr<const ClearedCounters::OfWorker>> copies_;
};

}  // namespace lsn::control
