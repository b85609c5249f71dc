#include "lsn/control/records/recorded_spans.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "lsn/control/config/vocabulary.hpp"
#include "lsn/control/records/config_note.hpp"
#include "lsn/control/records/record.hpp"

namespace lsn::control {
namespace {

/// Workers take a reload up somewhat before the CONFIG record of it.
constexpr std::int64_t kOfReloadMs = 1000;

}  // namespace

RecordedSpans::Span* RecordedSpans::open(const std::string& node, std::string_view group) {
  const auto there = std::find_if(spans_.rbegin(), spans_.rend(), [&](const Span& span) {
    return !span.until_ms && span.node == node && span.group == group;
  });
  return there == spans_.rend() ? nullptr : &*there;
}

std::int64_t RecordedSpans::begun_ms(const std::string& node) const {
  const auto begun = begun_.find(node);
  return begun == begun_.end() ? INT64_MIN : begun->second;
}

void RecordedSpans::see(const RecordLine& record, const GroupNote& note) {
  Span next{.node = std::string(record.node),
            .group = std::string(note.group),
            .from_ms = record.at_ms,
            .until_ms = std::nullopt,
            .has_address = false,
            .is_recorded = note.is_logging,
            .has_sessions = note.has_sessions,
            .has_ends = note.has_ends,
            .is_computed = note.is_deterministic};
  for (const wire::Ipv4Range& range : note.nat_addresses())
    next.has_address = next.has_address || range.contains(question_.nat);
  Span* const before = open(next.node, note.group);
  if (before != nullptr) before->until_ms = record.at_ms;
  // Of what is not recorded no addresses are told: they are those before and after it.
  if (note.is_logging) {
    if (before != nullptr && !before->is_recorded)
      before->has_address = before->has_address || next.has_address;
  } else if (note.is_nothing) {
    if (before == nullptr) next.from_ms = begun_ms(next.node);
    next.has_address = before != nullptr && before->has_address;
  } else {
    return;  // removed, or computed
  }
  if (next.is_recorded && !next.is_computed && next.has_address) add_unrecorded(next);
  spans_.push_back(std::move(next));
}

void RecordedSpans::see_new(const RecordLine& record) {
  std::string_view ranges = record.text.substr(kNewAddresses.size());
  while (!ranges.empty()) {
    const std::string_view one = ranges.substr(0, ranges.find(ConfigNote::kBetween));
    ranges.remove_prefix(std::min(ranges.size(), one.size() + ConfigNote::kBetween.size()));
    if (const auto range = AddressRangeSyntax::parse(one); range && range->contains(question_.nat))
      new_.insert_or_assign(std::string(record.node), record.at_ms);
  }
}

void RecordedSpans::add_unrecorded(const Span& next) {
  const auto life = life_.find(next.node);
  // What lsnd says right when it begins is of all that it translates.
  if (life == life_.end() || next.from_ms <= life->second) return;
  const auto fresh = new_.find(next.node);
  if (fresh != new_.end() && fresh->second >= next.from_ms - kOfReloadMs) return;
  std::int64_t from_ms = life->second;
  for (const Span& span : spans_)
    if (span.node == next.node && span.has_address && span.is_recorded && !span.is_computed)
      from_ms = std::max(from_ms, span.until_ms.value_or(INT64_MAX));
  if (from_ms >= next.from_ms - kOfReloadMs && from_ms != life->second) return;
  Span before = next;
  before.from_ms = from_ms;
  before.until_ms = next.from_ms;
  before.is_recorded = false;
  spans_.push_back(std::move(before));
}

void RecordedSpans::end_all(const RecordLine& record) {
  for (Span& span : spans_)
    if (!span.until_ms && span.node == record.node) span.until_ms = record.at_ms;
  life_.insert_or_assign(std::string(record.node), record.at_ms);
  if (record.at_ms <= question_.from_ms)
    begun_.insert_or_assign(std::string(record.node), record.at_ms);
}

void RecordedSpans::add_nodes(std::set<std::string>& nodes) const {
  for (const Span& span : spans_)
    if (span.has_address && span.from_ms <= question_.until_ms) nodes.insert(span.node);
}

bool RecordedSpans::counts(const Span& span) const {
  return span.has_address && span.from_ms <= question_.until_ms &&
         span.until_ms.value_or(INT64_MAX) > begun_ms(span.node);
}

std::optional<std::string> RecordedSpans::session_doubt() const {
  if (!question_.is_of_esp() ||
      std::none_of(spans_.begin(), spans_.end(), [this](const Span& span) {
        return span.is_recorded && !span.has_sessions && counts(span);
      }))
    return std::nullopt;
  return fmt::format(
      "{} was an address of a group without sessionLogging: its SPIs are in no record",
      wire::to_string(question_.nat));
}

std::optional<std::string> RecordedSpans::present_doubt() const {
  const FindQuestion& q = question_;
  std::int64_t at_ms = q.from_ms;  // until then there is none
  bool was_group = false;
  for (const Span& span : spans_) {
    if (!span.has_address || !span.is_recorded || span.from_ms > at_ms ||
        span.until_ms.value_or(INT64_MAX) <= at_ms)
      continue;
    was_group = true;
    at_ms = span.until_ms.value_or(INT64_MAX);
  }
  if (at_ms > q.until_ms) return std::nullopt;
  const std::string nat = wire::to_string(q.nat);
  if (was_group)
    return fmt::format("since {} no CONFIG record says that what {} translates is recorded",
                       utc_text(at_ms), nat);
  return fmt::format(
      "no CONFIG record says that {} was an address of a group with logging then: "
      "what is not recorded cannot be found",
      nat);
}

std::optional<std::string> RecordedSpans::former_doubt() const {
  const auto span = std::find_if(spans_.begin(), spans_.end(), [this](const Span& each) {
    return !each.is_recorded && counts(each);
  });
  if (span == spans_.end()) return std::nullopt;
  return fmt::format(
      "until {} what {} translates for group {} was not recorded: what began then and has not "
      "ended in the records is not known",
      span->until_ms ? utc_text(*span->until_ms) : "the end", wire::to_string(question_.nat),
      span->group);
}

std::optional<std::string> RecordedSpans::doubt() const {
  if (auto words = session_doubt()) return words;
  if (auto words = present_doubt()) return words;
  return former_doubt();
}

bool RecordedSpans::may_lack_end(const RecordLine& begun, std::int64_t from_ms) const {
  const bool is_session =
      begun.kind == shared::LogKind::kSession || begun.kind == shared::LogKind::kAlgSession;
  std::int64_t at_ms = from_ms;  // until then ends are recorded
  for (const Span& span : spans_) {
    if (span.node != begun.node || span.group != begun.group || !span.is_recorded ||
        !span.has_ends || (is_session && !span.has_sessions))
      continue;
    if (span.from_ms <= at_ms + (at_ms == from_ms ? kOfReloadMs : 0))
      at_ms = std::max(at_ms, span.until_ms.value_or(INT64_MAX));
  }
  return at_ms < question_.from_ms;
}

}  // namespace lsn::control
