#include "lsn/control/command/router_answers.hpp"

#include <fmt/format.h>

#include <array>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "lsn/control/command/field_text.hpp"
#include "lsn/control/command/list_writer.hpp"
#include "lsn/control/command/paged_answer.hpp"
#include "lsn/control/command/report.hpp"
#include "lsn/control/command/table.hpp"
#include "lsn/control/command/words.hpp"
#include "lsn/shared/counter_list.hpp"
#include "lsn/wire/ipv4.hpp"
#include "lsn/wire/protocol_name.hpp"

namespace lsn::control {
namespace {

using shared::DropFilter;
using shared::DropPage;
using shared::DropReason;
using shared::DropRow;
using shared::Generation;
using shared::NeighbourPage;
using shared::NeighbourRow;
using Json = nlohmann::ordered_json;
using enum Table::Align;

// ── drops ───────────────────────────────────────────────────────────────────────────────────────

std::string protocol_of(const DropRow& row) {
  const std::string_view name = wire::protocol_name(row.protocol);
  return name.empty() ? std::to_string(row.protocol) : std::string(name);
}

std::string source_of(const DropRow& row) {
  const std::string address = wire::to_string(row.source);
  const bool has_port = row.has_l4 && row.protocol != wire::kProtocolEsp;
  return has_port ? fmt::format("{}:{}", address, row.source_port) : address;
}

std::string destination_of(const DropRow& row) {
  const std::string address = wire::to_string(row.destination);
  if (!row.has_l4) return address;
  return row.protocol == wire::kProtocolEsp ? fmt::format("{}:0x{:08x}", address, row.spi)
                                            : fmt::format("{}:{}", address, row.destination_port);
}

class DropWriter : public ListWriter {
 public:
  explicit DropWriter(Format format)
      : ListWriter(format,
                   Table({{"reason", kLeft, 22},
                          {"ago", kRight, std::string_view("100000.00 s").size()},
                          {"source", kLeft, kEndpointWidth},
                          {"destination", kLeft, kEndpointWidth},
                          {"protocol", kLeft},
                          {"bytes", kRight}}),
                   "drops", "packet", "packets") {}

  void add(const DropRow& row, const Generation&, std::string& out) {
    const std::string_view reason = name_of(row.reason);
    if (is_json()) {
      fmt::format_to(std::back_inserter(out),
                     "{}{{\"reason\":\"{}\",\"ago_ms\":{},\"source\":\"{}\","
                     "\"destination\":\"{}\",\"protocol\":\"{}\",\"bytes\":{}}}",
                     separator(), reason, row.age_ms, source_of(row), destination_of(row),
                     protocol_of(row), row.size);
    } else {
      table().add({std::string(reason),
                   fmt::format("{}.{:02} s", row.age_ms / 1000, row.age_ms % 1000 / 10),
                   source_of(row), destination_of(row), protocol_of(row),
                   std::to_string(row.size)});
    }
    counted();
  }
};

/// "filtered, no_mapping, ...": in the order of the table.
std::string all_reasons() {
  std::string text = "one of ";
  for (const shared::DropReasonText& known : shared::kDropReasonTexts)
    text += fmt::format("{}{}", &known == shared::kDropReasonTexts.data() ? "" : ", ", known.name);
  return text;
}
const std::string kAllReasons = all_reasons();

// ── next hops ───────────────────────────────────────────────────────────────────────────────────

/// Every worker has a table of its own; this is their union, in order.
class ArpAnswer final : public Answer {
 public:
  ArpAnswer(Format format, const CommandContext& context)
      : format_(format), context_(context), pages_(context.dataplane, {}) {}

  Progress next(std::string& out) override {
    if (!pages_.take([this](const NeighbourRow& row) { add(row); })) return Progress::kWaiting;
    format_ == Format::kJson ? say_json(out) : say_text(out);
    return Progress::kDone;
  }

 private:
  struct Known {
    NeighbourRow row;
    unsigned workers = 0;  ///< that can reach it
  };

  void add(const NeighbourRow& row) {
    const auto [at, is_new] = all_.try_emplace({row.interface, row.ip.value}, Known{row, 0});
    Known& known = at->second;
    if (row.reachable) ++known.workers;
    if (is_new) return;
    // Of those that can reach it, if any can.
    const std::uint32_t waiting = known.row.waiting + row.waiting;
    const std::uint32_t used = std::min(known.row.used_seconds, row.used_seconds);
    const std::uint32_t confirmed =
        known.row.reachable == row.reachable
            ? std::min(known.row.confirmed_seconds, row.confirmed_seconds)
        : row.reachable ? row.confirmed_seconds
                        : known.row.confirmed_seconds;
    if (row.reachable) known.row = row;
    known.row.waiting = waiting;
    known.row.used_seconds = used;
    known.row.confirmed_seconds = confirmed;
  }

  [[nodiscard]] std::string interface_of(const NeighbourRow& row) const {
    const auto& interfaces = context_.config.generation().interfaces;
    return row.interface < interfaces.size() ? interfaces[row.interface].name : "?";
  }

  void say_json(std::string& out) const {
    Json list = Json::array();
    for (const auto& [key, known] : all_) {
      const NeighbourRow& row = known.row;
      Json json{{"interface", interface_of(row)}, {"ip", wire::to_string(row.ip)}};
      json["mac"] = row.reachable ? Json(wire::to_string(row.mac)) : Json();
      json["state"] = row.reachable ? "REACHABLE" : "INCOMPLETE";
      json["gateway"] = row.gateway;
      json["workers"] = known.workers;
      json["waiting"] = row.waiting;
      json["used"] = row.used_seconds;
      json["confirmed"] = row.reachable ? Json(row.confirmed_seconds) : Json();
      list.push_back(std::move(json));
    }
    out += document(Json{{"neighbours", std::move(list)}, {"count", all_.size()}});
  }

  void say_text(std::string& out) const {
    Table table({{"interface"},
                 {"ip"},
                 {"mac"},
                 {"state"},
                 {"gateway"},
                 {"workers", kRight},
                 {"waiting", kRight},
                 {"used", kRight},
                 {"confirmed", kRight}});
    for (const auto& [key, known] : all_) {
      const NeighbourRow& row = known.row;
      table.add({interface_of(row), wire::to_string(row.ip),
                 row.reachable ? wire::to_string(row.mac) : "-",
                 row.reachable ? "REACHABLE" : "INCOMPLETE", row.gateway ? "yes" : "no",
                 std::to_string(known.workers), std::to_string(row.waiting),
                 fmt::format("{} s", row.used_seconds),
                 row.reachable ? fmt::format("{} s", row.confirmed_seconds) : "-"});
    }
    out += table.print();
    out += fmt::format("{} neighbour{}\n", all_.size(), all_.size() == 1 ? "" : "s");
  }

  Format format_;
  const CommandContext& context_;
  Pages<NeighbourPage> pages_;
  std::map<std::pair<std::uint16_t, std::uint32_t>, Known> all_;
};

}  // namespace

std::optional<DropReason> reason_named(std::string_view name) {
  for (const shared::DropReasonText& known : shared::kDropReasonTexts)
    if (same_word(known.name, name)) return known.reason;
  return std::nullopt;
}

const ValueSyntax kDropReason{"REASON", kAllReasons,
                              [](std::string_view text) -> std::optional<Value> {
                                const auto reason = reason_named(text);
                                if (!reason) return std::nullopt;
                                return std::string(name_of(*reason));
                              }};

std::span<const OptionSpec> drop_options() {
  static const std::array<OptionSpec, 3> kOptions{{
      {"-recent", nullptr,
       "the last packets of each reason, at most one in 10 ms, the latest first"},
      {"-subscrIP", &kAnyAddress, "from or to this address", "-recent"},
      {"-reason", &kDropReason, "dropped for this reason", "-recent"},
  }};
  return kOptions;
}

std::unique_ptr<Answer> list_of_recent_drops(Format format, const CommandContext& context,
                                             const DropFilter& filter) {
  // The latest first; all that the rings of some workers have.
  constexpr std::size_t kMost = 100'000;
  return std::make_unique<TopAnswer<DropPage, DropWriter>>(
      context, filter, DropWriter(format), kMost,
      [](const DropRow& row) { return UINT64_MAX - row.age_ms; });
}

std::expected<std::unique_ptr<Answer>, std::string> begin_show_drops(
    const Command& command, const CommandContext& context) {
  if (!command.has("-recent"))
    return std::make_unique<WholeAnswer>(report_drops(command.format, context));
  DropFilter filter;
  if (const auto* const address = command.get<wire::Ipv4Address>("-subscrIP"))
    filter.address = *address;
  if (const auto* const reason = command.get<std::string>("-reason"))
    filter.reason = reason_named(*reason);
  return list_of_recent_drops(command.format, context, filter);
}

std::expected<std::unique_ptr<Answer>, std::string> begin_show_arp(const Command& command,
                                                                   const CommandContext& context) {
  return std::make_unique<ArpAnswer>(command.format, context);
}

}  // namespace lsn::control
