#include "lsn/control/records/recorded_spans.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "lsn/control/records/record.hpp"

namespace lsn::control {

void RecordedSpans::end(const std::string& node, std::string_view group, std::int64_t at_ms) {
  for (Span& span : spans_)
    if (!span.until_ms && span.node == node && span.group == group) span.until_ms = at_ms;
}

void RecordedSpans::see(const RecordLine& record, const GroupNote& note) {
  const std::string node(record.node);
  end(node, note.group, record.at_ms);
  if (!note.is_logging) return;
  const std::vector<wire::Ipv4Range> ranges = note.nat_addresses();
  const bool has_address =
      std::any_of(ranges.begin(), ranges.end(),
                  [this](const wire::Ipv4Range& range) { return range.contains(question_.nat); });
  spans_.push_back({.node = node,
                    .group = std::string(note.group),
                    .from_ms = record.at_ms,
                    .until_ms = std::nullopt,
                    .has_address = has_address,
                    .has_sessions = note.has_sessions,
                    .has_ends = note.has_ends});
}

void RecordedSpans::end_all(const RecordLine& record) {
  for (Span& span : spans_)
    if (!span.until_ms && span.node == record.node) span.until_ms = record.at_ms;
}

std::optional<std::string> RecordedSpans::doubt() const {
  const FindQuestion& q = question_;
  std::int64_t at_ms = q.from_ms;  // until then there is none
  bool was_group = false, lacks_sessions = false;
  for (const Span& span : spans_) {
    if (!span.has_address || span.from_ms > at_ms || span.until_ms.value_or(INT64_MAX) <= at_ms)
      continue;
    was_group = true;
    lacks_sessions = q.spi && !span.has_sessions;
    if (lacks_sessions) break;
    at_ms = span.until_ms.value_or(INT64_MAX);
  }
  if (at_ms > q.until_ms) return std::nullopt;
  const std::string nat = wire::to_string(q.nat);
  if (lacks_sessions)
    return fmt::format(
        "{} was an address of a group without sessionLogging: its SPIs are in no "
        "record",
        nat);
  if (was_group)
    return fmt::format("since {} no CONFIG record says that what {} translates is recorded",
                       utc_text(at_ms), nat);
  return fmt::format(
      "no CONFIG record says that {} was an address of a group with logging then: "
      "what is not recorded cannot be found",
      nat);
}

bool RecordedSpans::may_lack_end(std::string_view group, std::int64_t from_ms) const {
  return std::any_of(spans_.begin(), spans_.end(), [&](const Span& span) {
    return !span.has_ends && span.group == group && span.from_ms <= question_.until_ms &&
           span.until_ms.value_or(INT64_MAX) > from_ms;
  });
}

}  // namespace lsn::control
