#include "lsn/control/records/static_holders.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "lsn/control/config/vocabulary.hpp"
#include "lsn/control/records/record.hpp"
#include "lsn/control/records/static_note.hpp"

namespace lsn::control {
namespace {

/// What lsnd says of its configuration comes right after its start.
constexpr std::int64_t kOfStartMs = 10'000;

}  // namespace

bool StaticHolders::is_asked(const StaticConfig& mapping) const {
  using shared::StaticScope;
  const FindQuestion& q = question_;
  if (mapping.nat_ip != q.nat) return false;
  if (q.destination && mapping.dest_ip && *mapping.dest_ip != *q.destination) return false;
  const bool is_all = mapping.transportprotocol == StaticScope::kAll;
  if (q.spi) return is_all;
  if (!is_all && !q.protocol.empty() && !same_word(to_word(mapping.transportprotocol), q.protocol))
    return false;
  return !q.port || mapping.nat_port->is_any || mapping.nat_port->number == *q.port;
}

StaticHolders::Unknown* StaticHolders::unknown_of(std::string_view node, std::string_view subject) {
  const auto open = std::find_if(unknown_.begin(), unknown_.end(), [&](const Unknown& each) {
    return each.node == node && each.subject == subject && !each.until_ms;
  });
  return open == unknown_.end() ? nullptr : &*open;
}

void StaticHolders::set_unknown(const RecordLine& record, const ConfigNote& note,
                                std::string words) {
  if (Unknown* const open = unknown_of(record.node, note.subject)) {
    if (open->words == words) return;
    open->until_ms = record.at_ms;
  }
  if (words.empty()) return;
  unknown_.push_back({.node = std::string(record.node),
                      .subject = std::string(note.subject),
                      .words = std::move(words),
                      .from_ms = record.at_ms,
                      .until_ms = std::nullopt});
}

void StaticHolders::see_all(const RecordLine& record, const ConfigNote& note) {
  const std::string_view count = too_many_statics(note);
  set_unknown(record, note,
              count.empty() ? std::string()
                            : fmt::format("{} static mappings were in force on {}, too many for a "
                                          "record each: the configuration file of that time says "
                                          "whether one was of {}",
                                          count, record.node, wire::to_string(question_.nat)));
}

bool StaticHolders::see(const RecordLine& record, const ConfigNote& note) {
  if (note.subject == kAllStatics) {
    see_all(record, note);
    return true;
  }
  const auto name = note.name_of(kStaticSubject);
  if (name) see_one(record, note, *name);
  return name.has_value();
}

void StaticHolders::see_one(const RecordLine& record, const ConfigNote& note,
                            std::string_view name) {
  const std::string key = fmt::format("{}\n{}", record.node, name);
  const auto start = begins_.find(std::string(record.node));
  std::int64_t after_ms = start == begins_.end() ? INT64_MIN : start->second;
  if (const auto other = otherwise_.find(key); other != otherwise_.end())
    after_ms = std::max(after_ms, other->second);
  if (const auto open = open_.find(key); open != open_.end()) {
    Period& before = periods_[open->second];
    if (before.text == note.text) {
      before.said_ms = record.at_ms;
      before.confirm(question_, record.at_ms);
      return;
    }
    after_ms = before.said_ms;
    before.close(record, note.has_settings ? "changed"
                         : note.is_removed ? "removed"
                                           : "not recorded any more");
    open_.erase(open);
  }
  auto mapping = static_of(note);
  set_unknown(record, note,
              note.has_settings && !mapping
                  ? fmt::format("the CONFIG record of static mapping {} cannot be read: {}", name,
                                note.settings)
                  : std::string());
  if (!mapping || !is_asked(*mapping)) {
    otherwise_.insert_or_assign(key, record.at_ms);
    return;
  }
  const bool had_none = unknown_of(record.node, kAllStatics) != nullptr;
  open_.insert_or_assign(key, periods_.size());
  periods_.push_back({{record, note},
                      std::move(*mapping),
                      after_ms,
                      record.at_ms,
                      start != begins_.end() && record.at_ms - start->second <= kOfStartMs});
  if (note.is_repeated || had_none) periods_.back().from_ms.reset();
}

void StaticHolders::end_all(const RecordLine& record, std::string_view why) {
  begins_.insert_or_assign(std::string(record.node), record.at_ms);
  close_all(periods_, open_, record, why);
  for (Unknown& each : unknown_)
    if (each.node == record.node && !each.until_ms) each.until_ms = record.at_ms;
}

bool StaticHolders::is_asked(const Period& period) const {
  return period.meets(question_, period.from_ms.value_or(period.after_ms));
}

std::optional<std::int64_t> StaticHolders::covered_since() const {
  const FindQuestion& q = question_;
  if (!q.port && !q.spi) return std::nullopt;
  for (const Period& period : periods_) {
    // Before it a session may have had the endpoint, and have it still.
    if (period.from_ms && !period.is_of_start) continue;
    // Other protocols may be another's, and other destinations.
    const bool has_all = (!period.mapping.dest_ip || q.destination) &&
                         (period.mapping.nat_port->is_any || !q.protocol.empty());
    if (has_all && period.spans(q)) return period.confirmed_ms;
  }
  return std::nullopt;
}

Holder StaticHolders::holder_of(const Period& period) {
  const StaticConfig& mapping = period.mapping;
  Holder holder = period.holder();
  holder.subscriber = wire::to_string(mapping.subscr_ip);
  if (!mapping.subscr_port.is_any)
    holder.subscriber += fmt::format(":{}", mapping.subscr_port.number);
  holder.td = mapping.td;
  holder.mapping = mapping.name;
  return holder;
}

void StaticHolders::add_nodes(std::set<std::string>& nodes) const {
  for (const Period& period : periods_)
    if (period.known_ms <= question_.until_ms) nodes.insert(period.node);
}

void StaticHolders::add_to(FindAnswer& answer) const {
  const FindQuestion& q = question_;
  for (const Period& period : periods_) {
    if (!is_asked(period)) continue;
    answer.holders.push_back(holder_of(period));
    if (period.from_ms && !period.is_of_start)
      answer.remarks.push_back(
          fmt::format("static mapping {} was added at {}: it has its endpoint from when the "
                      "session that had it ended",
                      period.mapping.name, utc_text(*period.from_ms)));
  }
  for (const Unknown& each : unknown_)
    if (each.from_ms <= q.until_ms && each.until_ms.value_or(INT64_MAX) > q.from_ms)
      answer.doubts.push_back(each.words);
}

}  // namespace lsn::control
