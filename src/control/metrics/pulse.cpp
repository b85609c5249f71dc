#include "lsn/control/metrics/pulse.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace lsn::control {
namespace {

std::string stands_still(std::string_view who, Pulse::Time::duration silence) {
  return fmt::format("{} stands still for {} s", who,
                     std::chrono::duration_cast<std::chrono::seconds>(silence).count());
}

}  // namespace

Pulse::Pulse(std::vector<const shared::Counters*> workers, Time now)
    : beat_(now.time_since_epoch().count()) {
  for (const shared::Counters* counters : workers)
    workers_.push_back({counters, counters->polls.get(), now});
}

void Pulse::beat(Time now, Phase phase) {
  beat_.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  phase_.store(phase, std::memory_order_relaxed);
}

void Pulse::look(Time now) {
  for (Worker& worker : workers_) {
    const std::uint64_t polls = worker.counters->polls.get();
    if (polls == worker.polls) continue;
    worker.polls = polls;
    worker.moved = now;
  }
}

Pulse::Time::duration Pulse::control_silence(Time now) const {
  const Time beat{Time::duration{beat_.load(std::memory_order_relaxed)}};
  return std::max(now - beat, Time::duration::zero());
}

Pulse::Time::duration Pulse::worker_silence(std::size_t shard, Time now) const {
  return std::max(now - workers_[shard].moved, Time::duration::zero());
}

std::optional<std::string> Pulse::trouble(Time now) const {
  if (const auto silence = control_silence(now); silence >= kLongestSilence)
    return stands_still("the control thread", silence);
  for (std::size_t shard = 0; shard < workers_.size(); ++shard)
    if (const auto silence = worker_silence(shard, now); silence >= kLongestSilence)
      return stands_still(fmt::format("worker {}", shard), silence);
  return std::nullopt;
}

std::optional<std::string> Pulse::waiting() const {
  switch (phase()) {
    case Phase::kStarting:
      return "no configuration is in force yet";
    case Phase::kReloading:
      return "a configuration is on its way to the workers";
    case Phase::kReady:
      break;
  }
  return std::nullopt;
}

}  // namespace lsn::control
