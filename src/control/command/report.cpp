#include "lsn/control/command/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "lsn/control/command/field_text.hpp"
#include "lsn/control/command/table.hpp"
#include "lsn/control/config/vocabulary.hpp"
#include "lsn/shared/counter_list.hpp"

namespace lsn::control {
namespace {

using shared::Counters;
using shared::Interface;
using shared::ProtocolCounters;
using Json = nlohmann::ordered_json;
using enum Table::Align;

/// Above that many workers a table of drops has no column for each of them.
constexpr unsigned kMostWorkerColumns = 8;

std::vector<const Counters*> all_of(const Counts& counts) {
  std::vector<const Counters*> all;
  for (unsigned shard = 0; shard < counts.workers(); ++shard) all.push_back(&counts.of(shard));
  return all;
}

/// `read` of every worker, added up.
template <class Read>
std::uint64_t sum(const std::vector<const Counters*>& workers, const Read& read) {
  std::uint64_t total = 0;
  for (const Counters* counters : workers) total += read(*counters);
  return total;
}

std::uint64_t all_drops(const Counters& counters) {
  std::uint64_t total = 0;
  for (const shared::Counter& drop : counters.drops) total += drop.get();
  return total;
}

/// Of all protocols.
std::uint64_t count_of(const Counters& c, shared::Counter ProtocolCounters::* which) {
  std::uint64_t total = 0;
  for (const ProtocolCounters& protocol : c.protocols) total += (protocol.*which).get();
  return total;
}
std::uint64_t sessions_of(const Counters& c) {
  return count_of(c, &ProtocolCounters::sessions);
}
std::uint64_t mappings_of(const Counters& c) {
  return count_of(c, &ProtocolCounters::mappings);
}

shared::ShardCapacity capacity_of(const Dataplane& dataplane) {
  shared::ShardCapacity total;
  for (unsigned shard = 0; shard < dataplane.workers(); ++shard) {
    const shared::ShardCapacity capacity = dataplane.worker(shard).capacity;
    total.sessions += capacity.sessions;
    total.mappings += capacity.mappings;
    total.subscribers += capacity.subscribers;
  }
  return total;
}

Json to_json(const shared::ShardCapacity& capacity) {
  Json json;
  for (const auto& each : shared::lsn_capacities())
    json[std::string(each.name)] = each.read(capacity);
  return json;
}

/// A table with a row for each protocol and one for their sum, of some of the counters.
std::string protocol_table(const std::vector<std::string_view>& names,
                           const std::vector<const Counters*>& workers) {
  std::vector<Table::Column> columns{{"protocol", kLeft}};
  std::vector<const shared::CounterText<ProtocolCounters>*> shown;
  for (const std::string_view name : names)
    for (const auto& counter : shared::protocol_counters())
      if (counter.name == name) {
        columns.push_back({counter.name, kRight});
        shown.push_back(&counter);
      }
  Table table(columns);
  std::vector<std::uint64_t> totals(shown.size());
  for (std::size_t p = 0; p < shared::kProtocols; ++p) {
    std::vector<std::string> cells{std::string(name_of(static_cast<shared::Protocol>(p)))};
    for (std::size_t i = 0; i < shown.size(); ++i) {
      const std::uint64_t value =
          sum(workers, [&](const Counters& c) { return shown[i]->read(c.protocols[p]); });
      totals[i] += value;
      cells.push_back(grouped(value));
    }
    table.add(std::move(cells));
  }
  std::vector<std::string> cells{"total"};
  for (const std::uint64_t total : totals) cells.push_back(grouped(total));
  table.add_total(std::move(cells));
  return table.print();
}

std::string link_word(const shared::PortStatus& port) {
  if (port.removed) return "removed";
  return port.link_up ? "up" : "down";
}

std::string speed_text(std::uint32_t mbps) {
  if (mbps == 0) return "-";
  return mbps % 1000 == 0 ? fmt::format("{} Gbit/s", mbps / 1000) : fmt::format("{} Mbit/s", mbps);
}

/// How its packets come to their owners, and what was seen of that.
std::string steering_text(const shared::PortStatus& port) {
  const auto percent = [](std::uint64_t part, std::uint64_t all) {
    return 100.0 * static_cast<double>(part) / static_cast<double>(all);
  };
  std::string text = port.steering;
  // The workers go on counting while they are read.
  const std::uint64_t as_predicted = std::min(port.as_predicted, port.checked);
  if (port.checked != 0)
    text += fmt::format("; as predicted {:.1f} % of {} checked",
                        percent(as_predicted, port.checked), grouped(port.checked));
  if (port.rx_packets != 0)
    text += fmt::format("; to their owners {:.1f} %, handed over {:.1f} %",
                        100 - percent(port.handed_over, port.rx_packets),
                        percent(port.handed_over, port.rx_packets));
  if ((port.checked - as_predicted) * 10 > port.checked)
    text += "; it does not distribute as it was told: packets are handed over, which costs";
  if (!port.flow_control.empty()) text += "; flow control " + port.flow_control;
  return text;
}

/// The device of an interface; one that says nothing if the dataplane does not know it.
shared::PortStatus port_of(const std::vector<shared::PortStatus>& ports,
                           const Interface& interface) {
  return interface.device < ports.size() ? ports[interface.device] : shared::PortStatus{};
}

}  // namespace

std::string with_beginning(std::string table, const ClearedCounters& cleared) {
  if (cleared.is_set())
    table +=
        fmt::format("counted since {}, when {} cleared the counters\n", cleared.at(), cleared.by());
  return table;
}

std::string document_with_beginning(Json json, const ClearedCounters& cleared) {
  if (cleared.is_set()) json["cleared"] = {{"at", cleared.at()}, {"by", cleared.by()}};
  return document(json);
}

std::string report_lsn(Format format, const CommandContext& context) {
  const Counts counts(context.dataplane, context.cleared);
  const auto workers = all_of(counts);
  const shared::ShardCapacity capacity = capacity_of(context.dataplane);
  const std::uint64_t sessions = sum(workers, sessions_of);
  const std::uint64_t drops = sum(workers, all_drops);

  if (format == Format::kJson) {
    Json json{{"generation", context.config.generation().number},
              {"workers", workers.size()},
              {"sessions", sessions},
              {"capacity", to_json(capacity)},
              {"drops", drops}};
    for (const auto& counter : shared::router_counters())
      json[std::string(counter.name)] = sum(workers, counter.read);
    Json protocols = Json::array();
    for (std::size_t p = 0; p < shared::kProtocols; ++p) {
      Json one{{"protocol", name_of(static_cast<shared::Protocol>(p))}};
      for (const auto& counter : shared::protocol_counters())
        one[std::string(counter.name)] =
            sum(workers, [&](const Counters& c) { return counter.read(c.protocols[p]); });
      protocols.push_back(std::move(one));
    }
    json["protocols"] = std::move(protocols);
    return document_with_beginning(std::move(json), context.cleared);
  }

  std::string text = protocol_table(
      {"sessions", "mappings", "created", "expired", "flushed", "ended_by_reload", "withdrawn"},
      workers);
  text += '\n';
  text += protocol_table({"outbound_packets", "outbound_bytes", "inbound_packets", "inbound_bytes"},
                         workers);
  text += '\n';
  text += protocol_table(
      {"hairpin_packets", "hairpin_bytes", "outbound_icmp_errors", "inbound_icmp_errors"}, workers);
  text += '\n';
  Table table({{"counter", kLeft}, {"value", kRight}, {"capacity", kRight}});
  table.add({"sessions", grouped(sessions), grouped(capacity.sessions)});
  for (const auto& counter : shared::router_counters())
    table.add({std::string(counter.name), grouped(sum(workers, counter.read)),
               counter.name == "subscribers" ? grouped(capacity.subscribers) : ""});
  table.add({"drops", grouped(drops), ""});
  table.add({"generation", grouped(context.config.generation().number), ""});
  return with_beginning(text + table.print(), context.cleared);
}

namespace {

/// The figures of `stat interface`.
struct InterfaceFacts {
  const Counts counts;
  const std::vector<const Counters*> workers;
  const std::vector<shared::PortStatus> ports;
  const std::vector<std::optional<shared::KernelStatus>> kernel;
  const std::vector<Interface>& interfaces;

  explicit InterfaceFacts(const CommandContext& context)
      : counts(context.dataplane, context.cleared),
        workers(all_of(counts)),
        ports(context.cleared.since(context.dataplane.ports())),
        kernel(context.dataplane.kernel_interfaces()),
        interfaces(context.config.generation().interfaces) {}

  [[nodiscard]] const shared::KernelStatus* kernel_of(std::size_t i) const {
    return i < kernel.size() && kernel[i] ? &*kernel[i] : nullptr;
  }
  [[nodiscard]] std::uint64_t count(std::size_t i, const auto& counter) const {
    return sum(workers, [&](const Counters& c) { return counter.read(c.interfaces[i]); });
  }
};

/// A counter that only interfaces with a kernel interface have.
bool is_of_kernel_path(const auto& counter) {
  return counter.name.find("_kernel_") != std::string_view::npos;
}

Json interfaces_json(const InterfaceFacts& facts) {
  Json list = Json::array();
  for (std::size_t i = 0; i < facts.interfaces.size(); ++i) {
    const Interface& interface = facts.interfaces[i];
    const shared::PortStatus port = port_of(facts.ports, interface);
    Json json{{"name", interface.name}, {"role", to_word(interface.side)},
              {"device", port.device},  {"vlan", interface.vlan},
              {"mtu", interface.mtu},   {"address", wire::to_string(interface.address)},
              {"link", link_word(port)}};
    if (const shared::KernelStatus* const kernel = facts.kernel_of(i))
      json["kernel"] = {
          {"name", kernel->name}, {"netns", kernel->netns}, {"present", kernel->present}};
    for (const auto& counter : shared::interface_counters())
      if (facts.kernel_of(i) != nullptr || !is_of_kernel_path(counter))
        json[std::string(counter.name)] = facts.count(i, counter);
    list.push_back(std::move(json));
  }
  Json devices = Json::array();
  for (const shared::PortStatus& port : facts.ports) {
    Json json{{"device", port.device},
              {"driver", port.driver},
              {"link", link_word(port)},
              {"speed_mbps", port.speed_mbps},
              {"mac", port.mac},
              {"rx_queues", port.rx_queues},
              {"tx_queues", port.tx_queues},
              {"steering", port.steering},
              {"flow_control", port.flow_control}};
    for (const auto& counter : shared::device_counters())
      json[std::string(counter.name)] = counter.read(port);
    devices.push_back(std::move(json));
  }
  return Json{{"interfaces", std::move(list)}, {"devices", std::move(devices)}};
}

/// Of the interfaces that have a kernel interface; nothing if none has.
std::string kernel_table(const InterfaceFacts& facts) {
  std::vector<Table::Column> columns{
      {"interface", kLeft}, {"kernel", kLeft}, {"netns", kLeft}, {"state", kLeft}};
  for (const auto& counter : shared::interface_counters())
    if (is_of_kernel_path(counter)) columns.push_back({counter.name, kRight});
  Table table(columns);
  bool some = false;
  for (std::size_t i = 0; i < facts.interfaces.size(); ++i) {
    const shared::KernelStatus* const kernel = facts.kernel_of(i);
    if (kernel == nullptr) continue;
    some = true;
    std::vector<std::string> cells{facts.interfaces[i].name, kernel->name,
                                   kernel->netns.empty() ? "-" : kernel->netns,
                                   kernel->present ? "present" : "deleted"};
    for (const auto& counter : shared::interface_counters())
      if (is_of_kernel_path(counter)) cells.push_back(grouped(facts.count(i, counter)));
    table.add(std::move(cells));
  }
  return some ? table.print() + '\n' : "";
}

std::string interfaces_table(const InterfaceFacts& facts) {
  std::vector<Table::Column> columns{{"interface", kLeft}, {"role", kLeft}, {"address", kLeft},
                                     {"vlan", kRight},     {"mtu", kRight}, {"link", kLeft}};
  std::vector<shared::CounterText<shared::InterfaceCounters>> counters;
  for (const auto& counter : shared::interface_counters())
    if (!is_of_kernel_path(counter)) counters.push_back(counter);
  for (const auto& counter : counters) columns.push_back({counter.name, kRight});
  Table table(columns);
  std::vector<std::uint64_t> totals(counters.size());
  for (std::size_t i = 0; i < facts.interfaces.size(); ++i) {
    const Interface& interface = facts.interfaces[i];
    std::vector<std::string> cells{interface.name,
                                   std::string(to_word(interface.side)),
                                   wire::to_string(interface.address),
                                   interface.vlan == 0 ? "-" : std::to_string(interface.vlan),
                                   std::to_string(interface.mtu),
                                   link_word(port_of(facts.ports, interface))};
    for (std::size_t c = 0; c < totals.size(); ++c) {
      const std::uint64_t value = facts.count(i, counters[c]);
      totals[c] += value;
      cells.push_back(grouped(value));
    }
    table.add(std::move(cells));
  }
  std::vector<std::string> cells{"total", "", "", "", "", ""};
  for (const std::uint64_t total : totals) cells.push_back(grouped(total));
  table.add_total(std::move(cells));
  return table.print();
}

std::string devices_table(const InterfaceFacts& facts) {
  std::vector<Table::Column> columns{{"device", kLeft}, {"driver", kLeft},
                                     {"link", kLeft},   {"speed", kRight},
                                     {"mac", kLeft},    {"rx/tx queues", kRight}};
  for (const auto& counter : shared::device_counters()) columns.push_back({counter.name, kRight});
  Table devices(columns);
  std::string steering;
  for (const shared::PortStatus& port : facts.ports) {
    std::vector<std::string> row{
        port.device,     port.driver,
        link_word(port), speed_text(port.speed_mbps),
        port.mac,        fmt::format("{}/{}", port.rx_queues, port.tx_queues)};
    for (const auto& counter : shared::device_counters())
      row.push_back(grouped(counter.read(port)));
    devices.add(std::move(row));
    if (!port.steering.empty())
      steering += fmt::format("{}: {}\n", port.device, steering_text(port));
  }
  return steering.empty() ? devices.print() : devices.print() + '\n' + steering;
}

}  // namespace

std::string report_interfaces(Format format, const CommandContext& context) {
  const InterfaceFacts facts(context);
  if (format == Format::kJson)
    return document_with_beginning(interfaces_json(facts), context.cleared);
  return with_beginning(interfaces_table(facts) + '\n' + kernel_table(facts) + devices_table(facts),
                        context.cleared);
}

namespace {

/// Of all interfaces.
std::uint64_t packets_of(const Counters& c,
                         shared::PacketsAndBytes shared::InterfaceCounters::* which) {
  std::uint64_t total = 0;
  for (const shared::InterfaceCounters& interface : c.interfaces)
    total += (interface.*which).packets.get();
  return total;
}
std::uint64_t received(const Counters& c) {
  return packets_of(c, &shared::InterfaceCounters::rx);
}
std::uint64_t sent(const Counters& c) {
  return packets_of(c, &shared::InterfaceCounters::tx);
}

Json workers_json(const Counts& counts, const CommandContext& context) {
  Json list = Json::array();
  for (unsigned shard = 0; shard < context.dataplane.workers(); ++shard) {
    const WorkerStatus worker = context.dataplane.worker(shard);
    const Counters& c = counts.of(shard);
    Json json{{"worker", shard},
              {"cpu", worker.cpu},
              {"numa_node", worker.numa_node},
              {"capacity", to_json(worker.capacity)},
              {"sessions", sessions_of(c)},
              {"mappings", mappings_of(c)},
              {"subscribers", c.subscribers.get()},
              {"displaced", c.displaced.get()},
              {"rx_packets", received(c)},
              {"tx_packets", sent(c)},
              {"drops", all_drops(c)},
              {"handoff", c.handoff_sent.get()}};
    for (const auto& counter : shared::worker_counters())
      json[std::string(counter.name)] = counter.read(c);
    list.push_back(std::move(json));
  }
  return Json{{"workers", std::move(list)}};
}

std::string workers_table(const Counts& counts, const CommandContext& context) {
  Table table({{"worker", kRight},
               {"cpu", kRight},
               {"node", kRight},
               {"busy polls", kRight},
               {"sessions", kRight},
               {"capacity", kRight},
               {"subscribers", kRight},
               {"rx_packets", kRight},
               {"tx_packets", kRight},
               {"handoff_sent", kRight},
               {"handoff_received", kRight},
               {"drops", kRight},
               {"timer_lag", kRight},
               {"generation", kRight}});
  std::array<std::uint64_t, 8> totals{};
  for (unsigned shard = 0; shard < context.dataplane.workers(); ++shard) {
    const WorkerStatus worker = context.dataplane.worker(shard);
    const Counters& c = counts.of(shard);
    const std::uint64_t polls = c.polls.get();
    const std::uint64_t busy = polls - std::min(polls, c.idle_polls.get());
    const std::array<std::uint64_t, 8> values{
        sessions_of(c), worker.capacity.sessions, c.subscribers.get(),      received(c),
        sent(c),        c.handoff_sent.get(),     c.handoff_received.get(), all_drops(c)};
    std::vector<std::string> cells{
        std::to_string(shard), std::to_string(worker.cpu), std::to_string(worker.numa_node),
        polls == 0 ? "-"
                   : fmt::format("{:.1f} %",
                                 100.0 * static_cast<double>(busy) / static_cast<double>(polls))};
    for (std::size_t i = 0; i < values.size(); ++i) {
      totals[i] += values[i];
      cells.push_back(grouped(values[i]));
    }
    cells.push_back(grouped(c.timer_lag.get()));
    cells.push_back(grouped(c.generation.get()));
    table.add(std::move(cells));
  }
  std::vector<std::string> cells{"total", "", "", ""};
  for (const std::uint64_t total : totals) cells.push_back(grouped(total));
  cells.resize(14);
  table.add_total(std::move(cells));
  return table.print();
}

}  // namespace

std::string report_workers(Format format, const CommandContext& context) {
  const Counts counts(context.dataplane, context.cleared);
  if (format == Format::kJson)
    return document_with_beginning(workers_json(counts, context), context.cleared);
  return with_beginning(workers_table(counts, context), context.cleared);
}

std::string report_drops(Format format, const CommandContext& context) {
  const Counts counts(context.dataplane, context.cleared);
  const auto workers = all_of(counts);

  if (format == Format::kJson) {
    Json list = Json::array();
    for (const shared::DropReasonText& text : shared::kDropReasonTexts) {
      Json by_worker = Json::array();
      for (const Counters* counters : workers) by_worker.push_back(counters->dropped(text.reason));
      list.push_back(
          {{"reason", text.name},
           {"packets", sum(workers, [&](const Counters& c) { return c.dropped(text.reason); })},
           {"workers", std::move(by_worker)},
           {"meaning", text.meaning}});
    }
    return document_with_beginning(
        Json{{"drops", std::move(list)}, {"packets", sum(workers, all_drops)}}, context.cleared);
  }

  const bool each = workers.size() > 1 && workers.size() <= kMostWorkerColumns;
  std::vector<std::string> titles;
  for (std::size_t i = 0; each && i < workers.size(); ++i)
    titles.push_back(fmt::format("worker {}", i));
  std::vector<Table::Column> columns{{"reason", kLeft}, {"packets", kRight}};
  for (const std::string& title : titles) columns.push_back({title, kRight});
  columns.push_back({"meaning", kLeft});
  Table table(columns);
  const auto add = [&](bool total, std::string_view name, std::string_view meaning,
                       const auto& read) {
    std::vector<std::string> cells{std::string(name), grouped(sum(workers, read))};
    for (std::size_t i = 0; each && i < workers.size(); ++i)
      cells.push_back(grouped(read(*workers[i])));
    cells.emplace_back(meaning);
    total ? table.add_total(std::move(cells)) : table.add(std::move(cells));
  };
  for (const shared::DropReasonText& text : shared::kDropReasonTexts) {
    const auto read = [&](const Counters& c) { return c.dropped(text.reason); };
    if (sum(workers, read) != 0) add(false, text.name, text.meaning, read);
  }
  add(true, "total", "", all_drops);
  return with_beginning(table.print(), context.cleared);
}

}  // namespace lsn::control
