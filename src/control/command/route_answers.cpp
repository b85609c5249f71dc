#include "lsn/control/command/route_answers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "lsn/control/command/field_text.hpp"
#include "lsn/control/command/list_writer.hpp"
#include "lsn/control/command/report.hpp"
#include "lsn/control/command/table.hpp"

namespace lsn::control {
namespace {

using shared::RouteHop;
using shared::RouteRow;
using Json = nlohmann::ordered_json;
using enum Table::Align;

/// Of the kernel's routes at a time.
constexpr std::size_t kRoutes = 512;

/// A way to a prefix, as a line.
struct Line {
  wire::Ipv4Prefix prefix;
  shared::DomainId td = 0;
  std::optional<wire::Ipv4Address> via;  ///< nothing: a connected network
  std::string interface;
  std::string_view kind;
  unsigned weight = 0;
  std::string from{};  ///< of the kernel's
  std::optional<std::uint32_t> metric{};
  std::string_view state;
};

class RouteWriter : public ListWriter {
 public:
  RouteWriter(Format format, Rows rows)
      : ListWriter(format,
                   Table({{"prefix", kLeft, std::string_view("255.255.255.255/32").size()},
                          {"via", kLeft, kAddressWidth},
                          {"interface", kLeft},
                          {"kind", kLeft, std::string_view("CONNECTED").size()},
                          {"weight", kRight},
                          {"from", kLeft, std::string_view("redirect").size()},
                          {"metric", kRight},
                          {"state", kLeft}}),
                   "routes", "route", "routes", rows) {}

  void add(const Line& line, std::string& out) {
    const std::string prefix =
        wire::to_string(wire::Ipv4Prefix{line.prefix.first(), line.prefix.length});
    if (!is_shown()) {
    } else if (is_json()) {
      Json json{{"prefix", prefix}};
      put_td(json, line.td);
      json["via"] = line.via ? Json(wire::to_string(*line.via)) : Json();
      json["interface"] = line.interface;
      json["kind"] = line.kind;
      if (line.via) json["weight"] = line.weight;
      if (!line.from.empty()) json["from"] = line.from;
      if (line.metric) json["metric"] = *line.metric;
      json["state"] = line.state;
      fmt::format_to(std::back_inserter(out), "{}{}", separator(), line_of(json));
    } else {
      table().add({prefix + td_text(line.td), line.via ? wire::to_string(*line.via) : "-",
                   line.interface, std::string(line.kind),
                   line.via ? std::to_string(line.weight) : "-",
                   line.from.empty() ? "-" : line.from,
                   line.metric ? std::to_string(*line.metric) : "-", std::string(line.state)});
    }
    counted();
  }
};

/// The routes of the configuration.
std::vector<Line> configured_lines(const Model& model) {
  std::vector<Line> lines;
  for (const InterfaceConfig& interface : model.interfaces)
    lines.push_back({.prefix = interface.address,
                     .td = interface.td,
                     .via = std::nullopt,
                     .interface = interface.name,
                     .kind = "CONNECTED",
                     .state = "ACTIVE"});
  for (const RouteConfig& route : model.routes) {
    const InterfaceConfig* const by = interface_of(model.interfaces, route);
    lines.push_back({.prefix = route.prefix,
                     .td = route.td,
                     .via = route.via,
                     .interface = by == nullptr ? "?" : by->name,
                     .kind = "STATIC",
                     .weight = route.weight,
                     .state = route.backup ? "BACKUP" : "ACTIVE"});
  }
  return lines;
}

class RouteAnswer final : public Answer {
 public:
  RouteAnswer(const CommandContext& context, RouteWriter writer,
              std::optional<shared::InsideAddress> wanted)
      : context_(context), writer_(std::move(writer)), wanted_(wanted) {}

  Progress next(std::string& out) override {
    if (!begun_) {
      begun_ = true;
      writer_.begin(out);
      add_configured(out);
    } else if (wanted_) {
      add_wanted_of_kernel(out);
      writer_.end_page(out);
      writer_.end(out);
      return Progress::kDone;
    } else {
      const std::vector<RouteRow> rows = context_.dataplane.list_kernel_routes(last_, kRoutes);
      for (const RouteRow& row : rows) add(row, out);
      if (rows.empty()) {
        writer_.end_page(out);
        writer_.end(out);
        return Progress::kDone;
      }
      last_ = rows.back();
    }
    writer_.end_page(out);
    return Progress::kMore;
  }

 private:
  using Place = std::pair<std::uint32_t, unsigned>;
  [[nodiscard]] static Place place_of(const wire::Ipv4Prefix& prefix) {
    return {prefix.first().value, prefix.length};
  }

  void add_configured(std::string& out) {
    std::vector<Line> lines = configured_lines(context_.config.model());
    if (wanted_) {
      // A domain knows its own and those outside.
      std::erase_if(lines, [&](const Line& line) {
        return !line.prefix.contains(wanted_->address) ||
               (line.td != wanted_->td && !is_outside(line.interface));
      });
      for (const Line& line : lines) longest_ = std::max(longest_, int(line.prefix.length));
      const auto kernel = context_.dataplane.find_kernel_route(*wanted_);
      if (kernel && int(kernel->prefix.length) > longest_) {
        of_kernel_ = kernel;
        lines.clear();
      }
      std::erase_if(lines, [&](const Line& line) { return int(line.prefix.length) != longest_; });
    }
    for (const Line& line : lines) {
      configured_.insert({place_of(line.prefix), is_outside(line.interface) ? -1 : int(line.td)});
      writer_.add(line, out);
    }
  }
  void add_wanted_of_kernel(std::string& out) {
    if (of_kernel_) add(*of_kernel_, out);
  }

  [[nodiscard]] bool is_outside(const std::string& interface) const {
    const auto& all = context_.config.model().interfaces;
    const InterfaceConfig* const by = find_by_name(all, interface);
    return by != nullptr && by->role == shared::Side::kOutside;
  }

  void add(const RouteRow& row, std::string& out) {
    const auto& interfaces = context_.config.generation().interfaces;
    const bool is_covered =
        configured_.contains({place_of(row.prefix), row.td ? int(*row.td) : -1});
    for (const RouteHop& hop : row.hops)
      writer_.add(
          {.prefix = row.prefix,
           .td = row.td.value_or(0),
           .via = hop.via,
           .interface = hop.interface < interfaces.size() ? interfaces[hop.interface].name : "?",
           .kind = "KERNEL",
           .weight = hop.weight,
           .from = route_protocol(row.protocol),
           .metric = row.metric,
           .state = row.is_in_force && !is_covered ? "ACTIVE" : "INACTIVE"},
          out);
  }

  const CommandContext& context_;
  RouteWriter writer_;
  std::optional<shared::InsideAddress> wanted_;
  bool begun_ = false;
  int longest_ = -1;
  std::optional<RouteRow> of_kernel_;
  std::optional<RouteRow> last_;
  std::set<std::pair<Place, int>> configured_;  ///< and their domains, -1: outside
};

constexpr std::string_view kAddressParameter = "A.B.C.D";

}  // namespace

std::string route_protocol(std::uint8_t protocol) {
  static constexpr std::pair<std::uint8_t, std::string_view> kNames[] = {
      {1, "redirect"},    {2, "kernel"}, {3, "boot"},    {4, "static"}, {8, "gated"},
      {9, "ra"},          {11, "zebra"}, {12, "bird"},   {16, "dhcp"},  {18, "keepalived"},
      {42, "babel"},      {186, "bgp"},  {187, "isis"},  {188, "ospf"}, {189, "rip"},
      {192, "eigrp"},     {193, "ldp"},  {194, "sharp"}, {195, "pbr"},  {196, "static"},
      {197, "openfabric"}};
  for (const auto& [number, name] : kNames)
    if (number == protocol) return std::string(name);
  return std::to_string(protocol);
}

std::span<const OptionSpec> route_options() {
  static const std::array<OptionSpec, 2> kOptions{{
      {"-td", &kDomainNumber, "as this traffic domain knows it", kAddressParameter},
      {"-count", nullptr, "only how many there are"},
  }};
  return kOptions;
}

std::span<const PositionalSpec> route_parameters() {
  static const std::array<PositionalSpec, 1> kParameters{
      {{kAddressParameter, &kAnyAddress, Occurs::kAtMostOnce}}};
  return kParameters;
}

std::expected<std::unique_ptr<Answer>, std::string> begin_show_route(
    const Command& command, const CommandContext& context) {
  std::optional<shared::InsideAddress> wanted;
  if (const auto* const address = command.get<wire::Ipv4Address>(kAddressParameter))
    wanted = {*address, command.td().value_or(0)};
  return std::make_unique<RouteAnswer>(
      context,
      RouteWriter(command.format,
                  command.has("-count") ? ListWriter::Rows::kCounted : ListWriter::Rows::kShown),
      wanted);
}

std::string report_routes(Format format, const CommandContext& context) {
  const auto kernel = context.dataplane.kernel_routes();
  const shared::KernelRoutesStatus status = kernel.value_or(shared::KernelRoutesStatus{});
  const std::size_t configured = context.config.model().routes.size();
  if (format == Format::kJson) {
    Json json{{"configured", configured}, {"kernel", Json()}};
    if (kernel)
      json["kernel"] = {{"complete", status.is_complete}, {"routes", status.routes},
                        {"ways", status.groups},          {"no_room", status.no_room},
                        {"changes", status.changes},      {"unusable", status.unusable},
                        {"readings", status.readings},    {"overruns", status.overruns}};
    return document(json);
  }
  Table table({{"routes"}, {"", kRight}});
  table.add({"configured", std::to_string(configured)});
  if (kernel) {
    table.add({"from the kernel", std::to_string(status.routes)});
    table.add({"  sets of ways", std::to_string(status.groups)});
    table.add({"  without room", std::to_string(status.no_room)});
    table.add({"  changes", std::to_string(status.changes)});
    table.add({"  of them unusable", std::to_string(status.unusable)});
    table.add({"  readings of the table", std::to_string(status.readings)});
    table.add({"  of them for overruns", std::to_string(status.overruns)});
  }
  return table.print();
}

}  // namespace lsn::control
