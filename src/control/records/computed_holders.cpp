#include "lsn/control/records/computed_holders.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "lsn/control/config/port_blocks.hpp"
#include "lsn/control/records/record.hpp"

namespace lsn::control {
namespace {

constexpr std::string_view kChangedEnd = "changed", kRemovedEnd = "removed";

}  // namespace

std::string how_to_compute(const FindQuestion& q) {
  return fmt::format(
      "with the configuration file of that time, lsnctl deterministic FILE -natIP {}{} answers",
      wire::to_string(q.nat), q.port ? fmt::format(" -natPort {}", *q.port) : "");
}

void ComputedHolders::see(const RecordLine& record, const GroupNote& note) {
  const std::string key = fmt::format("{}\n{}", record.node, note.group);
  const auto open = open_.find(key);
  const bool was_computed = open != open_.end();
  if (was_computed && periods_[open->second].text == note.text) {
    periods_[open->second].confirm(question_, record.at_ms);
    return;
  }
  auto map = note.is_deterministic ? note.map() : std::nullopt;
  if (was_computed) {
    Period& before = periods_[open->second];
    // What it records may change; what its addresses follow from is the same.
    if (map && before.map == map) {
      before.text = note.text;
      before.confirm(question_, record.at_ms);
      return;
    }
    before.close(record, note.has_settings ? kChangedEnd : kRemovedEnd);
    if (note.is_repeated)
      gaps_.push_back({before.confirmed_ms, record.at_ms, std::string(note.group)});
    open_.erase(open);
  }
  if (!note.is_deterministic) return;
  open_.insert_or_assign(key, periods_.size());
  periods_.push_back({{record, note}, std::string(note.group), std::move(map)});
  if (note.is_repeated && !was_computed) periods_.back().from_ms.reset();
}

void ComputedHolders::end_all(const RecordLine& record, std::string_view why) {
  close_all(periods_, open_, record, why);
}

bool ComputedHolders::is_asked(const Period& period) const {
  return period.has(question_.nat) && period.meets(question_, period.from_ms.value_or(INT64_MIN));
}

bool ComputedHolders::has_part() const {
  return std::any_of(periods_.begin(), periods_.end(),
                     [this](const Period& period) { return is_asked(period); });
}

bool ComputedHolders::covers(const Period& period) const {
  return period.map && is_asked(period) && period.spans(question_);
}

std::optional<std::int64_t> ComputedHolders::covered_since() const {
  if (question_.is_of_esp()) return std::nullopt;  // it follows from no configuration
  for (const Period& period : periods_)
    if (covers(period)) return period.confirmed_ms;
  return std::nullopt;
}

void ComputedHolders::add_holder(FindAnswer& answer, const Period& period,
                                 const shared::InsideAddress& subscriber) const {
  Holder holder = period.holder();
  holder.subscriber = wire::to_string(subscriber.address);
  holder.td = subscriber.td;
  holder.group = period.group;
  holder.computed = period.map->forward(subscriber);
  answer.holders.push_back(std::move(holder));
}

void ComputedHolders::add_holders(FindAnswer& answer, const Period& period) const {
  const FindQuestion& q = question_;
  const std::vector<shared::InsideAddress> all = subscribers_at(*period.map, q.nat);
  if (q.is_of_esp()) {
    if (std::none_of(answer.holders.begin(), answer.holders.end(),
                     [](const Holder& holder) { return !holder.computed; }))
      answer.doubts.push_back(fmt::format(
          "{} was an address of deterministic group {}, which {} subscribers share: whose an SPI "
          "is follows from no configuration, only from ALGSESSION records (sessionLogging)",
          wire::to_string(q.nat), period.group, all.size()));
    return;
  }
  if (!q.port) {
    for (const shared::InsideAddress& subscriber : all) add_holder(answer, period, subscriber);
  } else if (const auto subscriber = period.map->reverse(q.nat, *q.port)) {
    add_holder(answer, period, *subscriber);
  } else {
    answer.remarks.push_back(
        fmt::format("port {} of {} was nobody's by the configuration of deterministic group {} in "
                    "force since {}",
                    *q.port, wire::to_string(q.nat), period.group,
                    utc_text(period.from_ms.value_or(period.known_ms))));
  }
}

void ComputedHolders::add_doubts(FindAnswer& answer, const Period& period) const {
  const FindQuestion& q = question_;
  const std::string nat = wire::to_string(q.nat);
  if (!period.map) {
    answer.doubts.push_back(fmt::format(
        "group {} was deterministic, and its CONFIG record of {} lacks what its addresses follow "
        "from: {}",
        period.group, utc_text(period.known_ms), how_to_compute(q)));
  } else if (!period.from_ms && period.known_ms > q.from_ms) {
    answer.doubts.push_back(fmt::format(
        "the first CONFIG record that says that {} belongs to deterministic group {} is of {}; "
        "since when that was so is in none: {}",
        nat, period.group, utc_text(period.known_ms), how_to_compute(q)));
  }
  if (period.until_ms && *period.until_ms <= q.until_ms &&
      (period.end == kChangedEnd || period.end == kRemovedEnd))
    answer.doubts.push_back(
        fmt::format("group {} was {} at {}, inside of that time: before and after, another "
                    "subscriber may have had the endpoint",
                    period.group, period.end, utc_text(*period.until_ms)));
}

void ComputedHolders::add_nodes(std::set<std::string>& nodes) const {
  for (const Period& period : periods_)
    if (period.has(question_.nat) && period.known_ms <= question_.until_ms)
      nodes.insert(period.node);
}

void ComputedHolders::add_to(FindAnswer& answer) const {
  for (const Period& period : periods_) {
    if (!is_asked(period)) continue;
    if (period.map && (period.from_ms || period.known_ms <= question_.until_ms))
      add_holders(answer, period);
    add_doubts(answer, period);
  }
  for (const Gap& gap : gaps_)
    if (gap.from_ms <= question_.until_ms && gap.until_ms >= question_.from_ms)
      answer.doubts.push_back(
          fmt::format("group {} was changed between {} and {}; the record that says when is "
                      "missing",
                      gap.group, utc_text(gap.from_ms), utc_text(gap.until_ms)));
}

}  // namespace lsn::control
