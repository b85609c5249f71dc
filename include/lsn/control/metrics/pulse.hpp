// Whether lsnd's threads run: the control thread by its beats, workers by their polls.
//
// The control thread calls beat() at each of its ticks with its phase. One other thread, the one
// that answers HTTP, calls look() several times a second: it notes when each worker's polls have
// moved last. *Silence* is the time since. A thread that is silent for kLongestSilence stands
// still.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lsn/shared/counters.hpp"

namespace lsn::control {

/// How far lsnd is from a configuration in force.
enum class Phase : std::uint8_t {
  kStarting,   ///< no generation is in force yet
  kReloading,  ///< a generation is on its way to the workers
  kReady,
};

class Pulse {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds kLongestSilence{5};

  /// By shard; they outlive it.
  Pulse(std::vector<const shared::Counters*> workers, Time now);

  // ── control thread ────────────────────────────────────────────────────────────────────────────

  void beat(Time now, Phase phase);

  // ── the thread that is asked ──────────────────────────────────────────────────────────────────

  void look(Time now);
  [[nodiscard]] Time::duration control_silence(Time now) const;
  /// As of the last look().
  [[nodiscard]] Time::duration worker_silence(std::size_t shard, Time now) const;
  [[nodiscard]] Phase phase() const { return phase_.load(std::memory_order_relaxed); }

  /// The threads that stand still, in a line; nothing: all is well.
  [[nodiscard]] std::optional<std::string> trouble(Time now) const;
  /// Why lsnd is not ready, in a line; nothing: it is.
  [[nodiscard]] std::optional<std::string> waiting() const;

 private:
  struct Worker {
    const shared::Counters* counters;
    std::uint64_t polls;  ///< at the last look
    Time moved;           ///< when they were others than at the look before
  };

  std::atomic<Time::rep> beat_;
  std::atomic<Phase> phase_{Phase::kStarting};
  std::vector<Worker> workers_;
};

}  // namespace lsn::control
