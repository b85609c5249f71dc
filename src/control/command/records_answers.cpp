#include "lsn/control/command/records_answers.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "lsn/control/command/field_text.hpp"
#include "lsn/control/command/table.hpp"
#include "lsn/control/records/log_thread.hpp"

namespace lsn::control {
namespace {

using Json = nlohmann::ordered_json;
using enum Table::Align;

template <class See>
void for_kinds(const See& see) {
  for (std::size_t k = 0; k < shared::kLogKinds; ++k)
    if (is_of_workers(static_cast<shared::LogKind>(k))) see(static_cast<shared::LogKind>(k));
}

std::string json_of(const RecordsStatus& status) {
  Json kinds = Json::array();
  for_kinds([&](shared::LogKind kind) {
    kinds.push_back(
        {{"record", to_word(kind)}, {"taken", status.taken[kind]}, {"lost", status.lost[kind]}});
  });
  Json sinks = Json::array();
  for (const SinkStatus& sink : status.sinks)
    sinks.push_back({{"sink", sink.name},
                     {"written", sink.written},
                     {"lost", sink.lost},
                     {"waiting", sink.waiting},
                     {"stalled", sink.stalled}});
  return document(Json{{"records", std::move(kinds)}, {"sinks", std::move(sinks)}});
}

}  // namespace

std::string report_records(Format format, const CommandContext& context) {
  const RecordsStatus status =
      context.records == nullptr ? RecordsStatus{} : context.records->status();
  if (format == Format::kJson) return json_of(status);
  Table kinds({{"record", kLeft}, {"taken", kRight}, {"lost", kRight}});
  for_kinds([&](shared::LogKind kind) {
    kinds.add(
        {std::string(to_word(kind)), grouped(status.taken[kind]), grouped(status.lost[kind])});
  });
  Table sinks({{"sink", kLeft},
               {"written", kRight},
               {"lost", kRight},
               {"waiting", kRight},
               {"state", kLeft}});
  for (const SinkStatus& sink : status.sinks)
    sinks.add({sink.name, grouped(sink.written), grouped(sink.lost), grouped(sink.waiting),
               sink.stalled ? "takes nothing" : "good"});
  return kinds.print() + '\n' +
         (status.sinks.empty() ? "no sink: nothing is kept (records in the configuration)\n"
                               : sinks.print());
}

namespace {

/// The group's name, or what the words say.
std::string subject_of(const AlertSubject& subject, const CommandContext& context) {
  if (subject.group == shared::kNoId) return subject.words;
  const auto& groups = context.config.generation().groups;
  return fmt::format("group {}", subject.group < groups.size() ? groups[subject.group].name : "?");
}

}  // namespace

std::string report_alerts(Format format, const CommandContext& context) {
  const RecordsStatus status =
      context.records == nullptr ? RecordsStatus{} : context.records->status();
  Table table(
      {{"alert", kLeft}, {"of", kLeft}, {"state", kLeft}, {"since", kLeft}, {"times", kRight}});
  Json list = Json::array();
  for (const AlertBook::Status& alert : status.alerts) {
    const std::string subject = subject_of(alert.subject, context);
    const std::string since = utc_text(alert.since_ms);
    const std::string_view state = alert.raised ? "raised" : "cleared";
    if (format == Format::kJson)
      list.push_back({{"alert", to_word(alert.subject.alert)},
                      {"of", subject},
                      {"state", state},
                      {"since", since},
                      {"times", alert.count}});
    else
      table.add({std::string(to_word(alert.subject.alert)), subject, std::string(state), since,
                 grouped(alert.count)});
  }
  if (format == Format::kJson) return document(Json{{"alerts", std::move(list)}});
  return status.alerts.empty() ? "no alerts since lsnd began\n" : table.print();
}

}  // namespace lsn::control
