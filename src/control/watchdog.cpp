#include "lsn/control/watchdog.hpp"

#include <spdlog/spdlog.h>

#include "lsn/control/service.hpp"

namespace lsn::control {

Watchdog::Watchdog(const Dataplane& dataplane, std::optional<std::chrono::microseconds> interval,
                   Clock::time_point now)
    : dataplane_(dataplane), interval_(interval), last_(now) {
  for (unsigned worker = 0; worker < dataplane_.workers(); ++worker)
    lives_.push_back({polls_of(worker)});
}

std::uint64_t Watchdog::polls_of(unsigned worker) const {
  return dataplane_.worker(worker).counters->polls.get();
}

void Watchdog::tick(Clock::time_point now) {
  if (!interval_ || now - last_ < *interval_ / 2) return;
  bool alive = true;
  for (unsigned worker = 0; worker < lives_.size(); ++worker) {
    Life& life = lives_[worker];
    const bool moves = polls_of(worker) != life.polls;
    alive = alive && moves;
    if (moves != life.missed) continue;
    life.missed = !moves;
    if (moves)
      spdlog::warn("worker {}: polls again", worker);
    else
      spdlog::critical(
          "worker {}: CPU {}: it has not polled for {:.1f} s; the service manager, which waits for "
          "a sign of life, gets none until it does",
          worker, dataplane_.worker(worker).cpu,
          std::chrono::duration<double>(now - last_).count());
  }
  if (!alive) return;  // looked at again with the next tick
  last_ = now;
  for (unsigned worker = 0; worker < lives_.size(); ++worker)
    lives_[worker].polls = polls_of(worker);
  tell_service_alive();
}

}  // namespace lsn::control
