#include "lsn/control/records/alert_book.hpp"

#include <utility>

namespace lsn::control {

using shared::LogEvent;

bool AlertBook::may_tell(State& state, std::int64_t now_ms) {
  const std::int64_t minute = now_ms / 60'000;
  if (minute != state.minute) {
    state.minute = minute;
    state.in_minute = 0;
  }
  if (state.in_minute >= state.limit) return false;
  ++state.in_minute;
  return true;
}

void AlertBook::tell(const AlertSubject& subject, State& state, LogEvent event) {
  told_.push_back({subject, event, std::exchange(state.untold, 0)});
}

void AlertBook::happened(const AlertSubject& subject, std::uint64_t times, std::int64_t now_ms,
                         std::uint32_t limit) {
  State& state = all_[subject];
  state.by_event = true;
  state.limit = limit;
  state.untold += times;
  state.count += times;
  state.latest_ms = now_ms;
  const bool begins = !state.raised;
  if (begins) {
    state.raised = true;
    state.told = false;
    state.since_ms = now_ms;
  }
  if (!may_tell(state, now_ms)) return;
  tell(subject, state, state.told ? LogEvent::kCompleted : LogEvent::kCreated);
  state.told = true;
}

void AlertBook::holds(const AlertSubject& subject, bool raised, std::int64_t now_ms) {
  const auto there = all_.find(subject);
  if (there == all_.end() ? !raised : there->second.raised == raised) return;
  State& state = all_[subject];
  if (!raised) return clear(subject, state, now_ms);
  state.raised = true;
  state.since_ms = state.latest_ms = now_ms;
  ++state.count;
  ++state.untold;
  state.told = may_tell(state, now_ms);
  if (state.told) tell(subject, state, LogEvent::kCreated);
}

void AlertBook::clear(const AlertSubject& subject, State& state, std::int64_t now_ms) {
  state.raised = false;
  state.since_ms = now_ms;
  // What was never told needs no end; what was gets one, beyond the limit, too.
  if (state.told) tell(subject, state, LogEvent::kDeleted);
  state.told = false;
}

void AlertBook::tick(std::int64_t now_ms) {
  for (auto& [subject, state] : all_)
    if (state.raised && state.by_event && now_ms - state.latest_ms >= kQuietMs)
      clear(subject, state, now_ms);
}

std::vector<AlertBook::Told> AlertBook::take() {
  return std::exchange(told_, {});
}

std::vector<AlertBook::Status> AlertBook::status() const {
  std::vector<Status> all;
  for (const auto& [subject, state] : all_)
    all.push_back({subject, state.raised, state.since_ms, state.count});
  return all;
}

}  // namespace lsn::control
