#include "lsn/control/command/static_answers.hpp"

#include <fmt/format.h>

#include <bit>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "lsn/control/command/field_text.hpp"
#include "lsn/control/command/paged_answer.hpp"
#include "lsn/control/config/vocabulary.hpp"
#include "lsn/shared/counter_list.hpp"

namespace lsn::control {
namespace {

using shared::Protocol;
using shared::StaticPage;
using shared::StaticRow;
using shared::StaticScope;
using enum Table::Align;

/// The NAT ports that mappings wait for.
class MissingPorts {
 public:
  void add(const StaticRow& row) {
    words_[row.nat_ip.value][{row.protocol, row.first}] = row.ports;
  }
  /// How many of a mapping's are.
  [[nodiscard]] std::uint32_t of(const StaticConfig& mapping) const {
    const auto there = words_.find(mapping.nat_ip->value);
    if (there == words_.end()) return 0;
    std::uint32_t count = 0;
    for (const auto& [place, ports] : there->second) {
      const auto& [protocol, first] = place;
      if (mapping.transportprotocol != StaticScope::kAll &&
          mapping.transportprotocol != shared::scope_of(protocol))
        continue;
      if (mapping.nat_port->is_any)
        count += static_cast<std::uint32_t>(std::popcount(ports));
      else if (first / 64 == mapping.nat_port->number / 64)
        count += static_cast<std::uint32_t>(ports >> mapping.nat_port->number % 64 & 1);
    }
    return count;
  }

 private:
  using Place = std::pair<Protocol, std::uint16_t>;
  std::map<std::uint32_t, std::map<Place, std::uint64_t>> words_;  ///< by NAT address
};

std::string endpoint_of(wire::Ipv4Address address, StaticPort port) {
  return fmt::format("{}:{}", wire::to_string(address), StaticPortSyntax::format(port));
}

/// Why a mapping is not in force, or not of all its ports.
std::string reason_of(const StaticConfig& mapping, std::uint32_t missing) {
  if (missing == 0) return "";
  const std::string which =
      mapping.nat_port->is_any
          ? fmt::format("{} port{} of {} {} in use", missing, missing == 1 ? "" : "s",
                        wire::to_string(*mapping.nat_ip), missing == 1 ? "is" : "are")
          : fmt::format("the NAT port is in use (show lsn session -natIP {} -natPort {})",
                        wire::to_string(*mapping.nat_ip), mapping.nat_port->number);
  return which + ", or waits for portrealloctimeout";
}

class StaticWriter : public ListWriter {
 public:
  explicit StaticWriter(Format format)
      : ListWriter(format, Table(columns()), "static", "static mapping", "static mappings") {}

  void add(const StaticConfig& mapping, std::uint32_t missing, std::string& out) {
    if (is_json())
      add_json(mapping, missing, out);
    else
      table().add({mapping.name, std::string(to_word(mapping.transportprotocol)),
                   endpoint_of(mapping.subscr_ip, mapping.subscr_port) + td_text(mapping.td),
                   endpoint_of(*mapping.nat_ip, *mapping.nat_port),
                   mapping.dest_ip ? wire::to_string(*mapping.dest_ip) : "any",
                   std::string(state_of(missing)), reason_of(mapping, missing)});
    counted();
  }

 private:
  static std::vector<Table::Column> columns() {
    return {{"name", kLeft, 16},
            {"protocol", kLeft},
            {"subscriber", kLeft, kEndpointWidth},
            {"nat", kLeft, kEndpointWidth},
            {"destination", kLeft, std::string_view("255.255.255.255").size()},
            {"state", kLeft, std::string_view("INACTIVE").size()},
            {"why", kLeft}};
  }
  static std::string_view state_of(std::uint32_t missing) {
    return missing == 0 ? "ACTIVE" : "INACTIVE";
  }

  void add_json(const StaticConfig& mapping, std::uint32_t missing, std::string& out) {
    const auto quoted = [](const std::string& text) { return nlohmann::json(text).dump(); };
    fmt::format_to(
        std::back_inserter(out),
        "{}{{\"name\":{},\"transportprotocol\":\"{}\",\"subscrIP\":\"{}\",\"subscrPort\":\"{}\"{},"
        "\"natIP\":\"{}\",\"natPort\":\"{}\",\"destIP\":{},\"state\":\"{}\",\"ports_missing\":{},"
        "\"why\":{}}}",
        separator(), quoted(mapping.name), to_word(mapping.transportprotocol),
        wire::to_string(mapping.subscr_ip), StaticPortSyntax::format(mapping.subscr_port),
        json_td(mapping.td), wire::to_string(*mapping.nat_ip),
        StaticPortSyntax::format(*mapping.nat_port),
        mapping.dest_ip ? quoted(wire::to_string(*mapping.dest_ip)) : "null", state_of(missing),
        missing, missing == 0 ? "null" : quoted(reason_of(mapping, missing)));
  }
};

class StaticAnswer final : public Answer {
 public:
  StaticAnswer(Format format, const CommandContext& context, StaticFilter filter)
      : context_(context),
        filter_(std::move(filter)),
        pages_(context.dataplane, {}),
        writer_(format) {}

  Progress next(std::string& out) override {
    if (!has_ports_) {
      if (!pages_.take([this](const StaticRow& row) { missing_.add(row); }))
        return Progress::kWaiting;
      has_ports_ = true;
      writer_.begin(out);
      return Progress::kMore;
    }
    // A command may have changed the list meanwhile: what is read is what there is now.
    const std::vector<StaticConfig>& all = context_.config.model().lsn.statics;
    constexpr std::size_t kLookedThrough = 65536;
    std::size_t shown = 0;
    for (std::size_t looked = 0; at_ < all.size() && looked < kLookedThrough; ++at_, ++looked) {
      if (shown == kPageRows) break;
      if (!matches(all[at_])) continue;
      writer_.add(all[at_], missing_.of(all[at_]), out);
      ++shown;
    }
    writer_.end_page(out);
    if (at_ < all.size()) return Progress::kMore;
    writer_.end(out);
    return Progress::kDone;
  }

 private:
  [[nodiscard]] bool matches(const StaticConfig& mapping) const {
    return (!filter_.name || *filter_.name == mapping.name) &&
           (!filter_.subscriber || *filter_.subscriber == mapping.subscriber());
  }

  const CommandContext& context_;
  StaticFilter filter_;
  Pages<StaticPage> pages_;
  MissingPorts missing_;
  StaticWriter writer_;
  std::size_t at_ = 0;
  bool has_ports_ = false;
};

}  // namespace

std::unique_ptr<Answer> list_of_statics(Format format, const CommandContext& context,
                                        StaticFilter filter) {
  return std::make_unique<StaticAnswer>(format, context, std::move(filter));
}

}  // namespace lsn::control
