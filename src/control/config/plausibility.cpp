#include "lsn/control/config/plausibility.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace lsn::control {
namespace {

struct Destination {
  wire::Ipv4Prefix prefix;
  const InterfaceConfig* by;

  /// Whether that domain's packets go there.
  [[nodiscard]] bool is_known_in(shared::DomainId td) const {
    return by->role == shared::Side::kOutside || by->td == td;
  }
};

/// Where packets go, by the interfaces' networks and by the routes.
std::vector<Destination> destinations(const Model& model) {
  std::vector<Destination> all;
  for (const InterfaceConfig& interface : model.interfaces)
    all.push_back({interface.address, &interface});
  for (const RouteConfig& route : model.routes)
    if (const InterfaceConfig* const out = interface_of(model.interfaces, route))
      all.push_back({route.prefix, out});
  return all;
}

/// Whether packets to some address of the network leave by an inside interface of its domain.
bool reached_inside(const ClientNetwork& network, const std::vector<Destination>& all) {
  const Destination* longest = nullptr;
  for (const Destination& to : all) {
    if (!to.is_known_in(network.td)) continue;
    if (to.by->role == shared::Side::kInside && to.prefix.length >= network.length &&
        network.contains(to.prefix.address))
      return true;
    if (to.prefix.length <= network.length && to.prefix.contains(network.address) &&
        (longest == nullptr || longest->prefix.length < to.prefix.length))
      longest = &to;
  }
  return longest != nullptr && longest->by->role == shared::Side::kInside;
}

std::string inside_network(shared::DomainId td) {
  return fmt::format(
      "the network of an inside interface{0}, or one that a route leads to by an inside "
      "interface{0}",
      td == 0 ? "" : fmt::format(" with td {}", td));
}

/// The same of each of the prefixes that make up a range.
bool is_reached_inside(wire::Ipv4Range range, shared::DomainId td,
                       const std::vector<Destination>& all) {
  return std::ranges::all_of(wire::prefixes_of(range), [&](const wire::Ipv4Prefix& prefix) {
    return reached_inside({prefix, td}, all);
  });
}

void check_client_routes(const Model& model, Findings& findings) {
  const std::vector<Destination> all = destinations(model);
  const ByName acls(model.lsn.acl);
  for (std::size_t c = 0; c < model.lsn.client.size(); ++c) {
    const ClientConfig& client = model.lsn.client[c];
    for (std::size_t n = 0; n < client.network.size(); ++n)
      if (!reached_inside(client.network[n], all))
        findings.report(fmt::format("lsn.client[{}].network[{}]", c, n),
                        fmt::format("client {}: network", client.name),
                        ClientNetworkSyntax::format(client.network[n]),
                        inside_network(client.network[n].td));
    for (std::size_t n = 0; n < client.aclname.size(); ++n) {
      const AclConfig* const acl = acls.find(client.aclname[n]);
      if (acl == nullptr) continue;
      for (const wire::Ipv4Range& range : acl->src_ip)
        if (!is_reached_inside(range, acl->td, all))
          findings.report(fmt::format("lsn.client[{}].aclname[{}]", c, n),
                          fmt::format("client {}: aclname", client.name),
                          fmt::format("{} with {}", acl->name, SourceRangeSyntax::format(range)),
                          inside_network(acl->td));
    }
  }
}

void check_pool_links(const Model& model, Findings& findings) {
  for (std::size_t p = 0; p < model.lsn.pool.size(); ++p) {
    const PoolConfig& pool = model.lsn.pool[p];
    for (std::size_t n = 0; n < pool.lsnip.size(); ++n)
      for (const InterfaceConfig& interface : model.interfaces) {
        if (interface.role != shared::Side::kInside ||
            pool.lsnip[n].last < interface.address.first() ||
            interface.address.last() < pool.lsnip[n].first)
          continue;
        findings.report(fmt::format("lsn.pool[{}].lsnip[{}]", p, n),
                        fmt::format("pool {}: lsnip", pool.name),
                        AddressRangeSyntax::format(pool.lsnip[n]),
                        fmt::format("addresses of an outside link, or routed to us; inside "
                                    "interface {} has {}",
                                    interface.name, wire::to_string(interface.address)));
        break;
      }
  }
}

/// On an inside link a client's network usually has the NAT's address among its own.
void check_outside_addresses(const Model& model, Findings& findings) {
  const ByName acls(model.lsn.acl);
  for (std::size_t i = 0; i < model.interfaces.size(); ++i) {
    const InterfaceConfig& interface = model.interfaces[i];
    if (interface.role != shared::Side::kOutside) continue;
    for (const ClientConfig& client : model.lsn.client) {
      const auto network = std::find_if(
          client.network.begin(), client.network.end(),
          [&interface](const auto& each) { return each.contains(interface.address.address); });
      if (network == client.network.end()) {
        for (const auto& [range, td] : acl_ranges(acls, client))
          if (range.contains(interface.address.address))
            findings.report(fmt::format("interfaces[{}].address", i),
                            fmt::format("interface {}: address", interface.name),
                            wire::to_string(interface.address),
                            fmt::format("an address used once; client {} has {}", client.name,
                                        SourceRangeSyntax::format(range)));
        continue;
      }
      findings.report(fmt::format("interfaces[{}].address", i),
                      fmt::format("interface {}: address", interface.name),
                      wire::to_string(interface.address),
                      fmt::format("an address used once; client {} has {}", client.name,
                                  ClientNetworkSyntax::format(*network)));
      break;
    }
  }
}

void check_eal(const Model& model, Findings& findings) {
  const auto no_pci = std::find(model.dataplane.eal.begin(), model.dataplane.eal.end(), "--no-pci");
  const auto pci = std::find_if(model.interfaces.begin(), model.interfaces.end(),
                                [](const InterfaceConfig& interface) {
                                  return interface.device.size() > 4 && interface.device[4] == ':';
                                });
  if (no_pci == model.dataplane.eal.end() || pci == model.interfaces.end()) return;
  findings.report(fmt::format("dataplane.eal[{}]", no_pci - model.dataplane.eal.begin()),
                  "dataplane.eal", "\"--no-pci\"",
                  fmt::format("not with PCI devices; interface {} has {}", pci->name, pci->device));
}

/// Settings of records that would bring none, and records that no sink takes.
void check_record_sinks(const Model& model, Findings& findings) {
  for (std::size_t g = 0; g < model.lsn.group.size(); ++g)
    if (const GroupConfig& group = model.lsn.group[g];
        group.session_logging == Switch::kEnabled && group.logging == Switch::kDisabled)
      findings.report(fmt::format("lsn.group[{}].sessionLogging", g),
                      fmt::format("group {}: sessionLogging", group.name), "ENABLED",
                      "together with logging ENABLED");
  const bool takes_all = !model.records.file.empty() || !model.records.syslog.empty();
  for (std::size_t g = 0; g < model.lsn.group.size(); ++g) {
    const GroupConfig& group = model.lsn.group[g];
    const bool to_ipfix = log_profile(model, group).log_ipfix == Switch::kEnabled;
    const bool is_taken = takes_all || (to_ipfix && !model.records.ipfix.empty());
    if (group.logging == Switch::kEnabled && !is_taken)
      findings.report(fmt::format("lsn.group[{}].logging", g),
                      fmt::format("group {}: logging", group.name), "ENABLED",
                      "with a sink in records that its records go to (ipfix: of groups with a "
                      "logprofile that has logIpfix)");
    if (group.logging == Switch::kEnabled && to_ipfix && takes_all && model.records.ipfix.empty())
      findings.report(fmt::format("lsn.group[{}].logprofilename", g),
                      fmt::format("group {}: logprofilename", group.name),
                      "a profile with logIpfix", "with a collector in records.ipfix");
  }
}

}  // namespace

void check_plausibility(const Model& model, Findings& findings) {
  check_eal(model, findings);
  check_client_routes(model, findings);
  check_pool_links(model, findings);
  check_outside_addresses(model, findings);
  check_record_sinks(model, findings);
}

}  // namespace lsn::control
