#include "lsn/control/records/record.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace lsn::control {
namespace {

using shared::LogAlert;
using shared::LogEvent;
using shared::LogKind;
using shared::LogReason;

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0 || !NodeSyntax::parse(name.data()))
    return "lsnd";
  return name.data();
}

}  // namespace

std::string utc_text(std::int64_t ms) {
  // What a damaged file says.
  if (ms < 0 || ms > kLatestMs) return fmt::format("{} ms", ms);
  return fmt::format("{:%FT%T}.{:03}Z", std::chrono::sys_seconds{std::chrono::seconds{ms / 1000}},
                     ms % 1000);
}

std::shared_ptr<const RecordNames> RecordNames::of(const Model& model,
                                                   const shared::Generation& generation,
                                                   const RecordNames* before) {
  auto names = std::make_shared<RecordNames>();
  names->node = model.records.node.empty() ? host_name() : model.records.node;
  if (names->node.empty()) names->node = "lsnd";
  if (before != nullptr) names->groups = before->groups;
  names->groups.resize(generation.groups.size());
  const ByName configs(model.lsn.group);
  for (std::size_t id = 0; id < generation.groups.size(); ++id) {
    const shared::Group& group = generation.groups[id];
    const GroupConfig* config = group.present ? configs.find(group.name) : nullptr;
    if (config == nullptr) continue;
    const LogProfileConfig profile = log_profile(model, *config);
    names->groups[id] = {group.name,
                         group.client,
                         profile.log_subscr_info == Switch::kEnabled,
                         profile.log_compact == Switch::kEnabled,
                         profile.log_ipfix == Switch::kEnabled,
                         config->snmptraplimit};
  }
  return names;
}

void RecordBatch::add(const Record& record, std::string words) {
  records.push_back(record);
  records.back().text = static_cast<std::uint32_t>(texts.size());
  texts.push_back(std::move(words));
}

std::string_view to_word(LogKind kind) {
  constexpr shared::ByLogKind<std::string_view> kWords{"MAPPING", "SESSION", "ALGSESSION", "BLOCK",
                                                       "BINDING", "ALERT",   "CONFIG",     "LOST"};
  return kWords[kind];
}

std::string_view event_word(LogKind kind, LogEvent event) {
  struct Of {
    std::array<std::string_view, 3> words;
  };
  static constexpr Of kUsualWords{{"created", "deleted", "completed"}};
  static constexpr Of kBlockWords{{"allocated", "freed", "completed"}};
  static constexpr Of kAlertWords{{"raised", "cleared", "repeated"}};
  static constexpr Of kConfigWords{{"started", "stopped", "changed"}};
  const Of& of = kind == LogKind::kBlock    ? kBlockWords
                 : kind == LogKind::kAlert  ? kAlertWords
                 : kind == LogKind::kConfig ? kConfigWords
                                            : kUsualWords;
  return of.words[static_cast<std::size_t>(event)];
}

std::string_view to_word(LogReason reason) {
  constexpr std::array<std::string_view, 8> kWords{"none",  "idle",   "fin",   "rst",
                                                   "flush", "reload", "reuse", "withdrawn"};
  return kWords[static_cast<std::size_t>(reason)];
}

std::string_view to_word(LogAlert alert) {
  constexpr std::array<std::string_view, shared::kLogAlerts> kWords{
      "port_allocation_failed", "port_quota",           "session_quota",
      "group_session_limit",    "pool_usage",           "table_usage",
      "gates_blocked",          "standby_lost",         "link_down",
      "records_lost",           "neighbour_unreachable"};
  return kWords[static_cast<std::size_t>(alert)];
}

void Loss::add(std::uint64_t more, std::int64_t from, std::int64_t until) {
  from_ms = records == 0 ? from : std::min(from_ms, from);
  until_ms = records == 0 ? until : std::max(until_ms, until);
  records += more;
}

Record lost_record(const Loss& loss, std::uint8_t worker, LogKind kind, std::uint64_t sequence) {
  Record record;
  record.raw.kind = LogKind::kLost;
  record.raw.totals.count = loss.records;
  record.sequence = sequence;
  record.at_ms = loss.until_ms;
  record.from_ms = loss.from_ms;
  record.worker = worker;
  record.lost_kind = kind;
  return record;
}

}  // namespace lsn::control
