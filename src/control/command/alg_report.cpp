#include "lsn/control/command/alg_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "lsn/control/command/field_text.hpp"
#include "lsn/control/command/report.hpp"
#include "lsn/control/command/table.hpp"
#include "lsn/control/command/words.hpp"
#include "lsn/shared/counter_list.hpp"

namespace lsn::control {
namespace {

using shared::AlgCounter;
using shared::AlgCounters;
using shared::AlgCounterSet;
using shared::AlgCounterText;
using shared::AlgGauge;
using shared::AlgGaugeText;
using shared::AlgProfile;
using shared::CloseReason;
using shared::DropReason;
using shared::kAlgCounterTexts;
using shared::kAlgGaugeTexts;
using shared::kCloseReasons;
using shared::kCountedProfiles;
using shared::kWaitBounds;
using Json = nlohmann::ordered_json;
using enum Table::Align;

constexpr std::size_t kBuckets = kWaitBounds.size() + 1;

/// One set of counters, of all workers together: of a profile, or of all.
class Sums {
 public:
  /// `profile`: a stable id, or nothing for the total.
  Sums(const Counts& counts, std::optional<std::size_t> profile) {
    for (unsigned shard = 0; shard < counts.workers(); ++shard) {
      const AlgCounters* counters = counts.alg(shard);
      if (counters != nullptr)
        sets_.push_back(profile ? &counters->profiles[*profile] : &counters->total);
    }
  }

  [[nodiscard]] std::uint64_t of(AlgCounter counter) const {
    return sum([&](const AlgCounterSet& set) { return set.of(counter).get(); });
  }
  [[nodiscard]] std::uint64_t of(AlgGauge gauge) const {
    return sum([&](const AlgCounterSet& set) { return set.of(gauge).get(); });
  }
  [[nodiscard]] std::uint64_t waited(std::size_t bucket) const {
    return sum([&](const AlgCounterSet& set) { return set.waited[bucket].get(); });
  }
  [[nodiscard]] bool is_empty() const {
    return std::all_of(kAlgCounterTexts.begin(), kAlgCounterTexts.end(),
                       [&](const AlgCounterText& text) { return of(text.counter) == 0; });
  }

 private:
  template <class Read>
  [[nodiscard]] std::uint64_t sum(const Read& read) const {
    std::uint64_t total = 0;
    for (const AlgCounterSet* set : sets_) total += read(*set);
    return total;
  }

  std::vector<const AlgCounterSet*> sets_;
};

AlgCounter counter_of(CloseReason reason) {
  return static_cast<AlgCounter>(static_cast<std::size_t>(AlgCounter::kClosedPaired) +
                                 static_cast<std::size_t>(reason));
}

bool is_close_counter(AlgCounter counter) {
  return counter >= AlgCounter::kClosedPaired && counter <= AlgCounter::kClosedFlush;
}

/// The drop reasons that are the ALG's own.
template <class Visit>
void each_drop_reason(const Visit& visit) {
  for (auto i = static_cast<std::size_t>(DropReason::kAlgHairpin);
       i <= static_cast<std::size_t>(DropReason::kEspSessionTableFull); ++i)
    visit(shared::kDropReasonTexts[i]);
  visit(shared::kDropReasonTexts[static_cast<std::size_t>(DropReason::kEspNoProfile)]);
  visit(shared::kDropReasonTexts[static_cast<std::size_t>(DropReason::kProtocolAh)]);
}

std::uint64_t dropped(const Counts& counts, DropReason reason) {
  std::uint64_t total = 0;
  for (unsigned shard = 0; shard < counts.workers(); ++shard)
    total += counts.of(shard).dropped(reason);
  return total;
}

shared::ShardCapacity capacity_of(const Dataplane& dataplane) {
  shared::ShardCapacity total;
  for (unsigned shard = 0; shard < dataplane.workers(); ++shard) {
    const shared::ShardCapacity capacity = dataplane.worker(shard).capacity;
    total.ike_sessions += capacity.ike_sessions;
    total.esp_sessions += capacity.esp_sessions;
    total.gates += capacity.gates;
    total.held_bytes += capacity.held_bytes;
  }
  return total;
}

/// Profiles that have a row: those that are configured, and removed ones that have counted
/// something.
std::vector<const AlgProfile*> listed_profiles(const CommandContext& context,
                                               const Counts& counts) {
  std::vector<const AlgProfile*> listed;
  for (const AlgProfile& profile : context.config.generation().alg_profiles)
    if (profile.present || (profile.id < kCountedProfiles && !Sums(counts, profile.id).is_empty()))
      listed.push_back(&profile);
  return listed;
}

// ── JSON ────────────────────────────────────────────────────────────────────────────────────────

Json to_json(const Sums& sums, bool is_total) {
  Json json = Json::object();
  for (const AlgGaugeText& text : kAlgGaugeTexts)
    if (is_total || text.gauge != AlgGauge::kGates)
      json[std::string(text.name)] = sums.of(text.gauge);
  for (const AlgCounterText& text : kAlgCounterTexts)
    json[std::string(text.name)] = sums.of(text.counter);
  Json closed = Json::object();
  for (std::size_t i = 0; i < kCloseReasons; ++i) {
    const auto reason = static_cast<CloseReason>(i);
    closed[std::string(to_word(reason))] = sums.of(counter_of(reason));
  }
  json["turns_closed"] = std::move(closed);
  Json waited = Json::array();
  for (std::size_t i = 0; i < kBuckets; ++i) {
    Json bound = nullptr;
    if (i < kWaitBounds.size()) bound = kWaitBounds[i].count() * 10;
    waited.push_back({{"up_to_ms", std::move(bound)}, {"messages", sums.waited(i)}});
  }
  json["waited"] = std::move(waited);
  return json;
}

Json to_json(const AlgProfile& profile, const Counts& counts) {
  Json json{{"profile", profile.name}, {"id", profile.id}, {"present", profile.present}};
  const bool counted = profile.id < kCountedProfiles;
  json["counted"] = counted;
  if (counted) json.update(to_json(Sums(counts, profile.id), false));
  return json;
}

std::string report_json(const AlgProfile* only, const CommandContext& context) {
  const Counts counts(context.dataplane, context.cleared);
  Json json = Json::object();
  Json profiles = Json::array();
  if (only != nullptr) {
    profiles.push_back(to_json(*only, counts));
  } else {
    for (const AlgProfile* profile : listed_profiles(context, counts))
      profiles.push_back(to_json(*profile, counts));
    json["total"] = to_json(Sums(counts, std::nullopt), true);
    const shared::ShardCapacity capacity = capacity_of(context.dataplane);
    Json room = Json::object();
    for (const auto& each : shared::alg_capacities())
      room[std::string(each.name)] = each.read(capacity);
    json["capacity"] = std::move(room);
    Json drops = Json::object();
    each_drop_reason([&](const shared::DropReasonText& text) {
      drops[std::string(text.name)] = dropped(counts, text.reason);
    });
    json["drops"] = std::move(drops);
    std::uint64_t lost = 0;
    for (unsigned shard = 0; shard < context.dataplane.workers(); ++shard)
      lost += context.dataplane.alg_events(shard).lost() -
              (context.cleared.is_set() ? context.cleared.worker(shard).events_lost : 0);
    json["events_lost"] = lost;
  }
  json["profiles"] = std::move(profiles);
  return document_with_beginning(std::move(json), context.cleared);
}

// ── tables ──────────────────────────────────────────────────────────────────────────────────────

std::vector<std::string> overview_cells(std::string name, const Sums* sums) {
  std::vector<std::string> cells{std::move(name)};
  const auto add = [&](auto what) {
    cells.push_back(sums == nullptr ? "-" : grouped(sums->of(what)));
  };
  add(AlgGauge::kEspSessions);
  add(AlgCounter::kEspSessionsCreated);
  add(AlgGauge::kIkeSessions);
  add(AlgGauge::kWaiters);
  add(AlgCounter::kGateBlocked);
  add(AlgCounter::kEspPacketsOut);
  add(AlgCounter::kEspPacketsIn);
  add(AlgCounter::kEspBytesOut);
  add(AlgCounter::kEspBytesIn);
  add(AlgCounter::kEspDropped);
  return cells;
}

/// The figures that an operator looks at first: a row for each profile.
std::string overview(const std::vector<const AlgProfile*>& profiles, bool with_total,
                     const Counts& counts) {
  Table table({{"profile", kLeft},
               {"active", kRight},
               {"total", kRight},
               {"ike_sessions", kRight},
               {"gate_waiters", kRight},
               {"gate_blocked", kRight},
               {"esp_packets_out", kRight},
               {"esp_packets_in", kRight},
               {"esp_bytes_out", kRight},
               {"esp_bytes_in", kRight},
               {"esp_dropped", kRight}});
  for (const AlgProfile* profile : profiles) {
    const std::string name = profile->name + (profile->present ? "" : " (removed)");
    if (profile->id < kCountedProfiles) {
      const Sums sums(counts, profile->id);
      table.add(overview_cells(name, &sums));
    } else {
      table.add(overview_cells(name, nullptr));
    }
  }
  if (with_total) {
    const Sums sums(counts, std::nullopt);
    table.add_total(overview_cells("total", &sums));
  }
  return table.print();
}

std::string details(const Sums& sums, bool is_total, const CommandContext& context) {
  const shared::ShardCapacity capacity = capacity_of(context.dataplane);
  Table now({{"now", kLeft}, {"value", kRight}, {"capacity", kRight}, {"meaning", kLeft}});
  for (const AlgGaugeText& text : kAlgGaugeTexts) {
    if (!is_total && text.gauge == AlgGauge::kGates) continue;
    std::string room;
    if (text.gauge == AlgGauge::kIkeSessions) room = grouped(capacity.ike_sessions);
    if (text.gauge == AlgGauge::kEspSessions) room = grouped(capacity.esp_sessions);
    if (text.gauge == AlgGauge::kGates) room = grouped(capacity.gates);
    if (text.gauge == AlgGauge::kHeldBytes) room = grouped(capacity.held_bytes);
    now.add({std::string(text.name), grouped(sums.of(text.gauge)), std::move(room),
             std::string(text.meaning)});
  }
  Table counters({{"counter", kLeft}, {"value", kRight}, {"meaning", kLeft}});
  for (const AlgCounterText& text : kAlgCounterTexts)
    if (!is_close_counter(text.counter))
      counters.add(
          {std::string(text.name), grouped(sums.of(text.counter)), std::string(text.meaning)});
  Table closed({{"turns closed by", kLeft}, {"turns", kRight}, {"meaning", kLeft}});
  for (std::size_t i = 0; i < kCloseReasons; ++i) {
    const AlgCounter counter = counter_of(static_cast<CloseReason>(i));
    closed.add({std::string(name_of(counter)), grouped(sums.of(counter)),
                std::string(kAlgCounterTexts[static_cast<std::size_t>(counter)].meaning)});
  }
  Table waited({{"held messages waited", kLeft}, {"messages", kRight}});
  for (std::size_t i = 0; i < kBuckets; ++i)
    waited.add({(i < kWaitBounds.size() ? "up to " : "") + shared::wait_bucket_name(i),
                grouped(sums.waited(i))});
  return now.print() + '\n' + counters.print() + '\n' + closed.print() + '\n' + waited.print();
}

std::string drops(const Counts& counts) {
  Table table({{"dropped by the ALG", kLeft}, {"packets", kRight}, {"meaning", kLeft}});
  std::uint64_t total = 0;
  each_drop_reason([&](const shared::DropReasonText& text) {
    const std::uint64_t packets = dropped(counts, text.reason);
    total += packets;
    if (packets != 0)
      table.add({std::string(text.name), grouped(packets), std::string(text.meaning)});
  });
  table.add_total({"total", grouped(total), ""});
  return table.print();
}

std::string report_text(const AlgProfile* only, const CommandContext& context) {
  const Counts counts(context.dataplane, context.cleared);
  if (only != nullptr) {
    std::string text = overview({only}, false, counts);
    if (only->id < kCountedProfiles)
      return text + '\n' + details(Sums(counts, only->id), false, context);
    return text + fmt::format(
                      "counted apart are the first {} profiles that lsnd has seen; this one "
                      "is in the total only\n",
                      kCountedProfiles);
  }
  return overview(listed_profiles(context, counts), true, counts) + '\n' +
         details(Sums(counts, std::nullopt), true, context) + '\n' + drops(counts);
}

}  // namespace

BegunAnswer begin_stat_ipsecalg(const Command& command, const CommandContext& context) {
  const AlgProfile* only = nullptr;
  if (const auto* name = command.get<std::string>(kProfileParameter)) {
    const auto& profiles = context.config.generation().alg_profiles;
    std::vector<std::string_view> known;
    for (const AlgProfile& profile : profiles) {
      if (!profile.present) continue;
      known.push_back(profile.name);
      if (profile.name == *name) only = &profile;
    }
    if (only == nullptr)
      return std::unexpected(
          complaint_about_word("stat ipsecalg", *name, known, "the name of an ipsecalg profile"));
  }
  return std::make_unique<WholeAnswer>(
      command.format == Format::kJson
          ? report_json(only, context)
          : with_beginning(report_text(only, context), context.cleared));
}

}  // namespace lsn::control
