#include "lsn/control/config/rules.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>

#include "lsn/control/config/describe.hpp"
#include "lsn/control/config/port_blocks.hpp"
#include "lsn/control/config/static_rules.hpp"

namespace lsn::control {
namespace {

using shared::Protocol;

std::string element(std::string_view list, std::size_t i) {
  return fmt::format("{}[{}]", list, i);
}

std::string setting(std::string_view list, std::size_t i, std::string_view name) {
  return fmt::format("{}[{}].{}", list, i, name);
}

std::string quoted(std::string_view text) {
  return fmt::format("\"{}\"", text);
}

// Names and references ------------------------------------------------------------------------

template <class Object>
void check_names(const std::vector<Object>& objects, std::string_view list, std::string_view kind,
                 Findings& findings) {
  // Twice as many ids as names, so that after a reload all can have new ones.
  constexpr std::size_t kMost = 32768;
  static_assert(kMost <= shared::kNoId / 2 + 1);
  if (objects.size() > kMost)
    findings.report(std::string(list), fmt::format("{}s", kind), fmt::format("{}", objects.size()),
                    fmt::format("{} at most", kMost));
  std::set<std::string_view> seen;
  for (std::size_t i = 0; i < objects.size(); ++i)
    if (!objects[i].name.empty() && !seen.insert(objects[i].name).second)
      findings.report(setting(list, i, "name"), fmt::format("{} {}: name", kind, objects[i].name),
                      "it a second time", fmt::format("one {} of a name", kind));
}

/// References to the objects of one kind.
template <class Object>
class References {
 public:
  References(const std::vector<Object>& objects, const std::string& list, std::string_view kind,
             Findings& findings)
      : objects_(objects), index_(objects), kind_(kind), findings_(findings) {
    // If the list itself or a name in it could not be read, it may have the missing name.
    complete_ = findings.sound_itself(list) &&
                std::none_of(objects.begin(), objects.end(),
                             [](const Object& object) { return object.name.empty(); });
  }

  [[nodiscard]] const Object* find(std::string_view name) const { return index_.find(name); }

  /// Whether the setting at `path` names an object.
  bool check(const std::string& name, const std::string& path, std::string_view label) {
    if (!findings_.sound(path)) return false;
    if (find(name) != nullptr) return true;
    if (!complete_) return false;
    // Enough for a mistyped name; the work would grow with the square of a large file.
    constexpr std::size_t kMostCandidates = 2000;
    std::vector<std::string_view> names;
    for (const Object& object : objects_)
      if (names.size() < kMostCandidates) names.push_back(object.name);
    const auto meant = nearest_word(name, names);
    findings_.report(
        path, label,
        meant ? fmt::format("\"{}\" (did you mean \"{}\"?)", name, *meant) : quoted(name),
        fmt::format("the name of an existing {}", kind_));
    return false;
  }

  /// Whether all of a list do; each may be named once.
  bool check_all(const std::vector<std::string>& names, const std::string& path,
                 std::string_view label) {
    bool all_known = findings_.sound(path);
    std::set<std::string_view> seen;
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (!check(names[i], element(path, i), label))
        all_known = false;
      else if (!seen.insert(names[i]).second)
        findings_.report(element(path, i), label, quoted(names[i]) + " a second time",
                         fmt::format("each {} once", kind_));
    }
    return all_known;
  }

 private:
  const std::vector<Object>& objects_;
  ByName<Object> index_;
  std::string_view kind_;
  Findings& findings_;
  bool complete_ = true;
};

// Address ranges ------------------------------------------------------------------------------

/// A range of addresses in the configuration, for finding two that overlap.
struct Owned {
  shared::DomainId td;  ///< ranges of different domains do not overlap
  std::uint32_t first;
  std::uint32_t last;
  std::size_t owner;  ///< ranges of one owner may overlap
  std::string path;
  std::string label;
  std::string text;
};

/// Calls `overlap(a, b)` for each range b that overlaps one of another owner (and for one such a);
/// a begins first.
template <class Overlap>
void find_overlaps(std::vector<Owned> ranges, Overlap overlap) {
  std::stable_sort(ranges.begin(), ranges.end(), [](const Owned& a, const Owned& b) {
    return std::pair(a.td, a.first) < std::pair(b.td, b.first);
  });
  // Of all ranges of the domain so far: the one that reaches farthest, and the farthest of any
  // other owner.
  const Owned* farthest = nullptr;
  const Owned* second = nullptr;
  for (const Owned& range : ranges) {
    if (farthest != nullptr && farthest->td != range.td) farthest = second = nullptr;
    const Owned* other = farthest != nullptr && farthest->owner != range.owner ? farthest : second;
    if (other != nullptr && other->last >= range.first) overlap(*other, range);
    if (farthest == nullptr || range.last > farthest->last) {
      if (farthest != nullptr && farthest->owner != range.owner) second = farthest;
      farthest = &range;
    } else if (range.owner != farthest->owner && (second == nullptr || range.last > second->last)) {
      second = &range;
    }
  }
}

std::vector<Owned> client_networks(const Model& model) {
  std::vector<Owned> ranges;
  const ByName acls(model.lsn.acl);
  for (std::size_t c = 0; c < model.lsn.client.size(); ++c) {
    const ClientConfig& client = model.lsn.client[c];
    for (std::size_t n = 0; n < client.network.size(); ++n)
      ranges.push_back({client.network[n].td, client.network[n].first().value,
                        client.network[n].last().value, c,
                        element(setting("lsn.client", c, "network"), n),
                        fmt::format("client {}: network", client.name),
                        ClientNetworkSyntax::format(client.network[n])});
    for (std::size_t n = 0; n < client.aclname.size(); ++n) {
      const AclConfig* const acl = acls.find(client.aclname[n]);
      if (acl == nullptr) continue;
      for (const wire::Ipv4Range& range : acl->src_ip)
        ranges.push_back({acl->td, range.first.value, range.last.value, c,
                          element(setting("lsn.client", c, "aclname"), n),
                          fmt::format("client {}: aclname", client.name),
                          fmt::format("{} with {}{}", acl->name, SourceRangeSyntax::format(range),
                                      td_text(acl->td))});
    }
  }
  return ranges;
}

/// Every range is an owner of its own: within a pool nothing may overlap either.
std::vector<Owned> pool_ranges(const Model& model) {
  std::vector<Owned> ranges;
  for (std::size_t p = 0; p < model.lsn.pool.size(); ++p) {
    const PoolConfig& pool = model.lsn.pool[p];
    for (std::size_t n = 0; n < pool.lsnip.size(); ++n)
      ranges.push_back({0, pool.lsnip[n].first.value, pool.lsnip[n].last.value, ranges.size(),
                        element(setting("lsn.pool", p, "lsnip"), n),
                        fmt::format("pool {}: lsnip", pool.name),
                        AddressRangeSyntax::format(pool.lsnip[n])});
  }
  return ranges;
}

/// The pool's range that an address is in.
class PoolAddresses {
 public:
  explicit PoolAddresses(const Model& model) : model_(model) {
    std::vector<shared::IntervalMap<std::size_t>::Range> ranges;
    for (std::size_t p = 0; p < model.lsn.pool.size(); ++p)
      for (const wire::Ipv4Range& range : model.lsn.pool[p].lsnip)
        ranges.push_back({range.first.value, range.last.value, p});
    map_ = shared::IntervalMap<std::size_t>(std::move(ranges));
  }
  [[nodiscard]] const PoolConfig* find(wire::Ipv4Address address) const {
    const std::size_t* pool = map_.find(address.value);
    return pool == nullptr ? nullptr : &model_.lsn.pool[*pool];
  }

 private:
  const Model& model_;
  shared::IntervalMap<std::size_t> map_;
};

// The rules -----------------------------------------------------------------------------------

void check_dataplane(const Model& model, Findings& findings) {
  const auto& workers = model.dataplane.workers;
  const std::string path = "dataplane.workers";
  if (findings.sound(path) && (workers.empty() || workers.size() > shared::kMaxShards))
    findings.report(path, path, fmt::format("{} CPUs", workers.size()),
                    fmt::format("1-{}", shared::kMaxShards));
  for (std::size_t i = 0; i < workers.size(); ++i)
    if (std::find(workers.begin(), workers.begin() + static_cast<std::ptrdiff_t>(i), workers[i]) !=
        workers.begin() + static_cast<std::ptrdiff_t>(i))
      findings.report(element(path, i), path, fmt::format("CPU {} a second time", workers[i]),
                      "one worker on a CPU");
  if (workers.empty()) return;
  const AlgTablesConfig& alg = model.dataplane.alg;
  for (const auto& [setting, all] : {std::pair{"maxSessions", model.dataplane.max_sessions},
                                     std::pair{"alg.maxIkeSessions", alg.max_ike_sessions},
                                     std::pair{"alg.maxEspSessions", alg.max_esp_sessions},
                                     std::pair{"alg.maxGates", alg.max_gates}})
    if (all > kMaxTablePerWorker * static_cast<std::int64_t>(workers.size()))
      findings.report(
          fmt::format("dataplane.{}", setting), fmt::format("dataplane.{}", setting),
          fmt::format("{} with {} worker{}", all, workers.size(), workers.size() == 1 ? "" : "s"),
          fmt::format("{} at most for each worker", kMaxTablePerWorker));
}

/// Two of these interfaces whose networks overlap; networks do so by lying in one another.
/// `reported`: those that have been.
void check_networks_of_links(const std::vector<InterfaceConfig>& interfaces,
                             std::vector<std::size_t> order, std::set<std::size_t>& reported,
                             Findings& findings) {
  std::stable_sort(order.begin(), order.end(), [&interfaces](std::size_t x, std::size_t y) {
    const wire::Ipv4Prefix& a = interfaces[x].address;
    const wire::Ipv4Prefix& b = interfaces[y].address;
    return std::tuple(a.first().value, a.length) < std::tuple(b.first().value, b.length);
  });
  std::vector<std::size_t> around;  // the networks that the present one may lie in
  for (const std::size_t i : order) {
    while (!around.empty() &&
           !interfaces[around.back()].address.contains(interfaces[i].address.address))
      around.pop_back();
    const std::size_t at = around.empty() ? i : std::max(i, around.back());
    if (!around.empty() && reported.insert(at).second) {
      const InterfaceConfig& earlier = interfaces[std::min(i, around.back())];
      findings.report(setting("interfaces", at, "address"),
                      fmt::format("interface {}: address", interfaces[at].name),
                      wire::to_string(interfaces[at].address),
                      fmt::format("a network that does not overlap {} of interface {}",
                                  wire::to_string(earlier.address), earlier.name));
    }
    around.push_back(i);
  }
}

/// Of each traffic domain: the interfaces outside, which all domains know, and its own inside.
void check_networks_of_domains(const std::vector<InterfaceConfig>& interfaces, Findings& findings) {
  std::vector<std::size_t> outside;
  std::map<shared::DomainId, std::vector<std::size_t>> inside;
  for (std::size_t i = 0; i < interfaces.size(); ++i) {
    const InterfaceConfig& interface = interfaces[i];
    if (interface.role == shared::Side::kOutside && interface.td != 0)
      findings.report(setting("interfaces", i, "td"),
                      fmt::format("interface {}: td", interface.name),
                      fmt::format("{} with role \"outside\"", interface.td),
                      "0: all traffic domains share the outside");
    if (!findings.sound(setting("interfaces", i, "address"))) continue;
    (interface.role == shared::Side::kOutside ? outside : inside[interface.td]).push_back(i);
  }
  std::set<std::size_t> reported;
  if (inside.empty()) check_networks_of_links(interfaces, outside, reported, findings);
  for (auto& [td, of] : inside) {
    of.insert(of.end(), outside.begin(), outside.end());
    check_networks_of_links(interfaces, of, reported, findings);
  }
}

/// A device's settings have to be the same for all interfaces on it; each has a VLAN of its own.
void check_devices(const std::vector<InterfaceConfig>& interfaces, Findings& findings) {
  std::map<std::string_view, std::size_t> first_on;                       // by the device's name
  std::map<std::pair<std::string_view, unsigned>, std::size_t> first_in;  // by device and VLAN
  for (std::size_t i = 0; i < interfaces.size(); ++i) {
    const InterfaceConfig& a = interfaces[i];
    const auto path = [i](std::string_view name) { return setting("interfaces", i, name); };
    const auto label = [&a](std::string_view name) {
      return fmt::format("interface {}: {}", a.name, name);
    };
    if (!findings.sound(path("device"))) continue;
    const std::string_view device = device_name(a.device);
    const auto [there, is_first] = first_on.try_emplace(device, i);
    const std::size_t j = there->second;
    const InterfaceConfig& b = interfaces[j];
    if (!is_first && a.device != b.device) {
      findings.report(path("device"), label("device"), quoted(a.device),
                      fmt::format("the same arguments as interface {}: \"{}\"", b.name, b.device));
      continue;
    }
    if (findings.sound(path("vlan"))) {
      const auto [same, is_alone] = first_in.try_emplace({device, a.vlan}, i);
      if (!is_alone)
        findings.report(a.vlan != 0 ? path("vlan") : path("device"),
                        label(a.vlan == 0 ? "device" : "vlan"),
                        a.vlan == 0 ? quoted(a.device) : fmt::format("{} on {}", a.vlan, a.device),
                        fmt::format("a device and VLAN other than those of interface {}",
                                    interfaces[same->second].name));
    }
    if (is_first) continue;
    const auto both_sound = [&](std::string_view name) {
      return findings.sound(path(name)) && findings.sound(setting("interfaces", j, name));
    };
    if (a.mac != b.mac && both_sound("mac"))
      findings.report(path("mac"), label("mac"), a.mac ? wire::to_string(*a.mac) : "none",
                      fmt::format("the same as of interface {} on the same device", b.name));
    for (const auto& [name, mine, theirs] :
         {std::tuple{"rxQueueSize", a.rx_queue_size, b.rx_queue_size},
          std::tuple{"txQueueSize", a.tx_queue_size, b.tx_queue_size}})
      if (mine != theirs && both_sound(name))
        findings.report(path(name), label(name), fmt::format("{}", mine),
                        fmt::format("{} as of interface {} on the same device", theirs, b.name));
  }
  if (first_on.size() > shared::kMaxDevices)
    findings.report("interfaces", "interfaces", fmt::format("{} devices", first_on.size()),
                    fmt::format("{} devices at most", shared::kMaxDevices));
}

/// Kernel interfaces have names of their own in their namespaces; without one its settings mean
/// nothing.
void check_kernel_interfaces(const std::vector<InterfaceConfig>& interfaces, Findings& findings) {
  std::map<std::pair<std::string_view, std::string_view>, std::size_t> named;
  for (std::size_t i = 0; i < interfaces.size(); ++i) {
    const InterfaceConfig& of = interfaces[i];
    const auto path = [i](std::string_view name) { return setting("interfaces", i, name); };
    const auto label = [&of](std::string_view name) {
      return fmt::format("interface {}: {}", of.name, name);
    };
    if (!findings.sound(path("kernel"))) continue;
    if (of.kernel.empty()) {
      const auto refuse = [&](std::string_view name, std::string_view given) {
        if (findings.sound(path(name)))
          findings.report(path(name), label(name), std::string(given), "only beside kernel");
      };
      if (!of.kernel_netns.empty()) refuse("kernelNetns", quoted(of.kernel_netns));
      if (of.kernel_ipv6) refuse("kernelIpv6", "true");
      if (of.kernel_rate != KernelRateConfig{}) refuse("kernelRate", "");
      continue;
    }
    const auto [same, is_alone] = named.try_emplace({of.kernel_netns, of.kernel}, i);
    if (!is_alone)
      findings.report(path("kernel"), label("kernel"), quoted(of.kernel),
                      fmt::format("a name other than that of interface {} in its namespace",
                                  interfaces[same->second].name));
  }
}

void check_interfaces(const Model& model, Findings& findings) {
  const auto& interfaces = model.interfaces;
  check_names(interfaces, "interfaces", "interface", findings);
  if (findings.sound("interfaces")) {
    for (const shared::Side side : {shared::Side::kInside, shared::Side::kOutside})
      if (std::none_of(interfaces.begin(), interfaces.end(),
                       [side](const InterfaceConfig& i) { return i.role == side; }))
        findings.report("interfaces",
                        fmt::format("interfaces: none has role \"{}\"", to_word(side)), "",
                        "one at least of each role");
  }
  if (interfaces.size() > shared::kMaxInterfaces) {
    findings.report("interfaces", "interfaces", fmt::format("{}", interfaces.size()),
                    fmt::format("{} at most", shared::kMaxInterfaces));
    return;
  }
  check_networks_of_domains(interfaces, findings);
  check_devices(interfaces, findings);
  check_kernel_interfaces(interfaces, findings);
}

/// The prefixes that routes and interfaces have, by traffic domain; those outside are in all.
class KnownPrefixes {
 public:
  /// What has it already in a domain that would know both, or nullptr: nothing.
  const std::string* add(const wire::Ipv4Prefix& prefix, const InterfaceConfig& by,
                         std::string what) {
    const Prefix key{prefix.first().value, prefix.length};
    const bool is_outside = by.role == shared::Side::kOutside;
    if (const auto there = outside_.find(key); there != outside_.end()) return &there->second;
    auto& inside = inside_[key];
    const auto there = is_outside ? inside.begin() : inside.find(by.td);
    if (there != inside.end()) return &there->second;
    (is_outside ? outside_[key] : inside[by.td]) = std::move(what);
    return nullptr;
  }

 private:
  using Prefix = std::pair<std::uint32_t, unsigned>;
  std::map<Prefix, std::string> outside_;
  std::map<Prefix, std::map<shared::DomainId, std::string>> inside_;
};

/// The routes for one prefix that lead to the same side: its ways.
class RouteWays {
 public:
  [[nodiscard]] bool has(const RouteConfig& route, const InterfaceConfig& by) const {
    return ways_.contains(route_key(route, by));
  }
  /// Why it cannot be one more: what is allowed.
  [[nodiscard]] std::optional<std::string> add(const RouteConfig& route,
                                               const InterfaceConfig& by) {
    std::vector<wire::Ipv4Address>& ways = ways_[route_key(route, by)];
    if (std::find(ways.begin(), ways.end(), route.via) != ways.end())
      return "another neighbour for each route of a prefix";
    if (ways.size() == shared::RouteGroup::kMaxHops)
      return fmt::format("{} routes of a prefix at most", shared::RouteGroup::kMaxHops);
    ways.push_back(route.via);
    return std::nullopt;
  }

 private:
  std::map<RouteKey, std::vector<wire::Ipv4Address>> ways_;
};

/// Routes from the kernel come by kernel interfaces.
void check_routing(const Model& model, Findings& findings) {
  if (!model.routing.kernel_routes || !findings.sound("interfaces")) return;
  if (std::none_of(model.interfaces.begin(), model.interfaces.end(),
                   [](const InterfaceConfig& each) { return !each.kernel.empty(); }))
    findings.report("routing.kernelRoutes", "routing: kernelRoutes", "true",
                    "only with an interface that has kernel");
}

void check_routes(const Model& model, Findings& findings) {
  if (!findings.sound("interfaces")) return;  // which networks are connected is not known
  const PoolAddresses pools(model);
  KnownPrefixes seen;
  RouteWays ways;
  for (const InterfaceConfig& interface : model.interfaces)
    (void)seen.add(interface.address, interface,
                   fmt::format("the network of interface {}", interface.name));
  for (std::size_t i = 0; i < model.routes.size(); ++i) {
    const RouteConfig& route = model.routes[i];
    const std::string prefix = setting("routes", i, "prefix");
    const std::string via = setting("routes", i, "via");
    const std::string label =
        fmt::format("route {}{}", wire::to_string(route.prefix), td_text(route.td));
    const InterfaceConfig* const interface = interface_of(model.interfaces, route);
    InterfaceConfig none;
    none.td = route.td;
    if (findings.sound(prefix) && findings.sound(via) && interface != nullptr &&
        ways.has(route, *interface)) {
      if (const auto allowed = ways.add(route, *interface))
        findings.report(via, fmt::format("{}: via", label), wire::to_string(route.via), *allowed);
    } else if (findings.sound(prefix)) {
      if (interface != nullptr) (void)ways.add(route, *interface);
      const std::string* const there =
          seen.add(route.prefix, interface == nullptr ? none : *interface, "another route");
      if (there != nullptr)
        findings.report(prefix, fmt::format("{}: prefix", label), wire::to_string(route.prefix),
                        fmt::format("one route for a prefix; {} has it", *there));
    }
    if (!findings.sound(via)) continue;
    const auto report = [&](std::string_view allowed) {
      findings.report(via, fmt::format("{}: via", label), wire::to_string(route.via), allowed);
    };
    if (interface == nullptr)
      report(route.td == 0
                 ? std::string("an address in the network of an interface")
                 : fmt::format("an address in the network of an inside interface with td {}",
                               route.td));
    else if (interface->address.address == route.via)
      report(
          fmt::format("another router's address; this is that of interface {}", interface->name));
    else if (interface->address.length <= 30 &&
             (route.via == interface->address.first() || route.via == interface->address.last()))
      report(fmt::format("a host's address in {}", wire::to_string(interface->address)));
    else if (const PoolConfig* pool = pools.find(route.via))
      report(fmt::format("another router's address; this is a NAT address of pool {}", pool->name));
  }
}

void check_clients(const Model& model, Findings& findings) {
  check_names(model.lsn.acl, "lsn.acl", "acl", findings);
  check_names(model.lsn.client, "lsn.client", "client", findings);
  References acls(model.lsn.acl, "lsn.acl", "acl", findings);
  for (std::size_t c = 0; c < model.lsn.client.size(); ++c)
    acls.check_all(model.lsn.client[c].aclname, setting("lsn.client", c, "aclname"),
                   fmt::format("client {}: aclname", model.lsn.client[c].name));
  find_overlaps(client_networks(model), [&findings](const Owned& a, const Owned& b) {
    findings.report(b.path, b.label, b.text,
                    fmt::format("a network that does not overlap {} of {}", a.text,
                                a.label.substr(0, a.label.rfind(':'))));
  });
}

/// Addresses that drain are the pool's; those of deterministic NAT follow from the configuration
/// and cannot be left out.
void check_drain(const PoolConfig& pool, std::size_t p, Findings& findings) {
  const std::string path = setting("lsn.pool", p, "drain");
  const std::string label = fmt::format("pool {}: drain", pool.name);
  if (pool.nattype == NatType::kDeterministic && !pool.drain.empty() &&
      findings.sound(setting("lsn.pool", p, "nattype")))
    findings.report(path, label, AddressRangeSyntax::format(pool.drain[0]),
                    "nothing in a pool with nattype DETERMINISTIC");
  if (!findings.sound(setting("lsn.pool", p, "lsnip"))) return;
  std::vector<shared::IntervalMap<bool>::Range> ranges;
  for (const wire::Ipv4Range& range : pool.lsnip)
    ranges.push_back({range.first.value, range.last.value, true});
  const shared::IntervalMap<bool> has(std::move(ranges));
  for (std::size_t n = 0; n < pool.drain.size(); ++n) {
    // The pool may have it in pieces, one behind the other.
    std::uint64_t at = pool.drain[n].first.value;
    while (at <= pool.drain[n].last.value) {
      const auto* piece = has.find_range(static_cast<std::uint32_t>(at));
      if (piece == nullptr) break;
      at = std::uint64_t{piece->last} + 1;
    }
    if (at <= pool.drain[n].last.value)
      findings.report(element(path, n), label, AddressRangeSyntax::format(pool.drain[n]),
                      "addresses in the pool's lsnip");
  }
}

void check_pools(const Model& model, Findings& findings) {
  check_names(model.lsn.pool, "lsn.pool", "pool", findings);
  bool too_many = false;
  for (std::size_t i = 0; i < model.lsn.pool.size(); ++i) {
    const PoolConfig& pool = model.lsn.pool[i];
    check_drain(pool, i, findings);
    if (pool.addresses() <= static_cast<std::uint64_t>(kMaxPoolAddresses)) continue;
    too_many = true;
    findings.report(setting("lsn.pool", i, "lsnip"), fmt::format("pool {}: lsnip", pool.name),
                    fmt::format("{} addresses", pool.addresses()),
                    fmt::format("{} at most", kMaxPoolAddresses));
  }
  const std::vector<Owned> ranges = pool_ranges(model);
  bool disjoint = true;
  find_overlaps(ranges, [&](const Owned& a, const Owned& b) {
    disjoint = false;
    findings.report(b.path, b.label, b.text,
                    fmt::format("an address in one pool once; {} of {} overlaps", a.text,
                                a.label.substr(0, a.label.rfind(':'))));
  });
  if (!disjoint || too_many) return;

  const PoolAddresses pools(model);
  for (std::size_t i = 0; i < model.interfaces.size(); ++i) {
    const InterfaceConfig& interface = model.interfaces[i];
    const std::string path = setting("interfaces", i, "address");
    if (!findings.sound(path)) continue;
    if (const PoolConfig* pool = pools.find(interface.address.address))
      findings.report(path, fmt::format("interface {}: address", interface.name),
                      wire::to_string(interface.address),
                      fmt::format("an address that is in no pool; it is in pool {}", pool->name));
  }
  // An address cannot be a subscriber's and a NAT address: the destination of a packet would be
  // ambiguous.
  std::vector<Owned> both = client_networks(model);
  for (Owned& network : both) {
    network.owner = 0;
    network.td = 0;  // of whatever domain
  }
  for (Owned range : ranges) {
    range.owner = 1;
    both.push_back(std::move(range));
  }
  std::set<std::string> reported;
  find_overlaps(std::move(both), [&](const Owned& a, const Owned& b) {
    const Owned& range = a.owner == 1 ? a : b;
    const Owned& network = a.owner == 1 ? b : a;
    if (!reported.insert(range.path).second) return;
    findings.report(range.path, range.label, range.text,
                    fmt::format("addresses outside the networks of all clients; {} has {}",
                                network.label.substr(0, network.label.rfind(':')), network.text));
  });
}

/// The attributes of an application profile: of its protocol, and no two the most specific ones for
/// a port.
void check_attributes_of_profile(const References<AppsAttributesConfig>& all,
                                 const AppsProfileConfig& profile, const std::string& path,
                                 Findings& findings) {
  const std::string label = fmt::format("appsprofile {}: appsattributesname", profile.name);
  std::vector<const AppsAttributesConfig*> bound;
  for (std::size_t i = 0; i < profile.appsattributesname.size(); ++i) {
    const AppsAttributesConfig* attributes = all.find(profile.appsattributesname[i]);
    if (attributes == nullptr) continue;
    if (attributes->transportprotocol != profile.transportprotocol) {
      findings.report(
          element(path, i), label,
          fmt::format("{} for {}", attributes->name, to_word(attributes->transportprotocol)),
          fmt::format("attributes for the profile's {}", to_word(profile.transportprotocol)));
      continue;
    }
    for (const AppsAttributesConfig* other : bound)
      if (other != attributes && other->ports().width() == attributes->ports().width() &&
          other->ports().overlaps(attributes->ports())) {
        findings.report(
            element(path, i), label,
            fmt::format("{} and {}, equally wide and overlapping", other->name, attributes->name),
            "one most specific range for each port in a profile");
        break;
      }
    bound.push_back(attributes);
  }
}

void check_attributes(const Model& model, Findings& findings) {
  check_names(model.lsn.appsattributes, "lsn.appsattributes", "appsattributes", findings);
  for (std::size_t i = 0; i < model.lsn.appsattributes.size(); ++i) {
    const AppsAttributesConfig& attributes = model.lsn.appsattributes[i];
    if (attributes.transportprotocol == Protocol::kIcmp && attributes.port &&
        findings.sound(setting("lsn.appsattributes", i, "transportprotocol")))
      findings.report(setting("lsn.appsattributes", i, "port"),
                      fmt::format("appsattributes {}: port", attributes.name),
                      quoted(PortRangeSyntax::format(*attributes.port)),
                      "no port for ICMP, they are for all of it");
  }
  References all(model.lsn.appsattributes, "lsn.appsattributes", "appsattributes", findings);
  for (std::size_t i = 0; i < model.lsn.appsprofile.size(); ++i) {
    const AppsProfileConfig& profile = model.lsn.appsprofile[i];
    const std::string path = setting("lsn.appsprofile", i, "appsattributesname");
    if (all.check_all(profile.appsattributesname, path,
                      fmt::format("appsprofile {}: appsattributesname", profile.name)))
      check_attributes_of_profile(all, profile, path, findings);
  }
}

/// Settings of a transport profile that mean something only beside another one.
void check_transport(const TransportProfileConfig& profile, std::size_t i, Findings& findings) {
  const auto path = [i](std::string_view name) { return setting("lsn.transportprofile", i, name); };
  const auto report = [&](std::string_view name, const auto& given, std::string_view allowed) {
    findings.report(path(name), fmt::format("transportprofile {}: {}", profile.name, name),
                    fmt::format("{}", given), allowed);
  };
  const auto sound = [&](std::string_view name) { return findings.sound(path(name)); };
  if (profile.session_burst != 0 && profile.session_rate == 0 && sound("sessionRate"))
    report("sessionBurst", profile.session_burst, "it together with sessionRate");
  if (profile.transportprotocol == Protocol::kIcmp && sound("transportprotocol")) {
    if (profile.port_reserve != 0)
      report("portReserve", profile.port_reserve, "0 for ICMP, which has no ports");
    if (!profile.reserved_for.empty())
      report("reservedFor", quoted(PortRangeSyntax::format(profile.reserved_for[0])),
             "nothing for ICMP, which has no ports");
    return;
  }
  if (profile.port_reserve != 0 && profile.port_reserve >= profile.portquota && sound("portquota"))
    report("portReserve",
           fmt::format("{} with portquota {}", profile.port_reserve, profile.portquota),
           "less than portquota");
  if (profile.port_reserve != 0 && profile.reserved_for.empty() && sound("reservedFor"))
    report("portReserve", fmt::format("{} without reservedFor", profile.port_reserve),
           "it together with reservedFor, the destination ports that it is for");
  if (profile.port_reserve == 0 && !profile.reserved_for.empty() && sound("portReserve"))
    report("reservedFor", quoted(PortRangeSyntax::format(profile.reserved_for[0])),
           "it together with portReserve, the number of ports");
}

void check_profiles(const Model& model, Findings& findings) {
  check_attributes(model, findings);
  check_names(model.lsn.appsprofile, "lsn.appsprofile", "appsprofile", findings);
  check_names(model.lsn.transportprofile, "lsn.transportprofile", "transportprofile", findings);
  check_names(model.lsn.logprofile, "lsn.logprofile", "logprofile", findings);
  check_names(model.ipsecalg.profile, "ipsecalg.profile", "ipsecalg profile", findings);
  for (std::size_t i = 0; i < model.lsn.transportprofile.size(); ++i)
    check_transport(model.lsn.transportprofile[i], i, findings);
  for (std::size_t i = 0; i < model.lsn.appsprofile.size(); ++i) {
    const AppsProfileConfig& profile = model.lsn.appsprofile[i];
    const std::string path = setting("lsn.appsprofile", i, "lsnport");
    if (profile.transportprotocol == Protocol::kIcmp && !profile.lsnport.empty() &&
        findings.sound(setting("lsn.appsprofile", i, "transportprotocol")))
      findings.report(path, fmt::format("appsprofile {}: lsnport", profile.name),
                      quoted(PortRangeSyntax::format(profile.lsnport[0])),
                      "no ports in an ICMP profile, it covers all ICMP");
    if (profile.transportprotocol != Protocol::kTcp && profile.tcp_mss != 0 &&
        findings.sound(setting("lsn.appsprofile", i, "transportprotocol")))
      findings.report(setting("lsn.appsprofile", i, "tcpMss"),
                      fmt::format("appsprofile {}: tcpMss", profile.name),
                      fmt::format("{} for {}", profile.tcp_mss, to_word(profile.transportprotocol)),
                      "it in a TCP profile");
  }
}

/// Two profiles of one group and protocol must not both be the most specific one for a port.
void check_ports_of_group(const Model& model, const GroupConfig& group, const std::string& path,
                          Findings& findings) {
  struct Bound {
    const AppsProfileConfig* profile;
    PortRange range;
    std::size_t element;
  };
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp}) {
    std::vector<Bound> bound;
    for (std::size_t i = 0; i < group.appsprofilename.size(); ++i) {
      const auto* profile = find_by_name(model.lsn.appsprofile, group.appsprofilename[i]);
      if (profile == nullptr || profile->transportprotocol != protocol) continue;
      if (protocol == Protocol::kIcmp)
        bound.push_back({profile, {0, 65535}, i});
      else
        for (const PortRange range : profile->lsnport) bound.push_back({profile, range, i});
    }
    // Equally wide ranges side by side, in ascending order: one that overlaps any before it
    // overlaps the one right before it.
    std::stable_sort(bound.begin(), bound.end(), [](const Bound& a, const Bound& b) {
      return std::pair(a.range.width(), a.range.first) < std::pair(b.range.width(), b.range.first);
    });
    std::set<std::pair<const AppsProfileConfig*, const AppsProfileConfig*>> reported;
    const Bound* other = nullptr;   // the last one of another profile than `before`
    const Bound* before = nullptr;  // the last one
    for (const Bound& b : bound) {
      if (before != nullptr && before->range.width() != b.range.width()) before = other = nullptr;
      const Bound* rival = before != nullptr && before->profile != b.profile ? before : other;
      if (rival != nullptr && rival->profile != b.profile && rival->range.overlaps(b.range) &&
          reported.insert(std::minmax(rival->profile, b.profile)).second) {
        if (protocol == Protocol::kIcmp)
          findings.report(
              element(path, std::max(rival->element, b.element)),
              fmt::format("group {}: appsprofilename", group.name),
              fmt::format("ICMP profiles {} and {}", rival->profile->name, b.profile->name),
              "one ICMP profile in a group");
        else
          findings.report(
              element(path, std::max(rival->element, b.element)),
              fmt::format("group {}: appsprofilename", group.name),
              fmt::format("{} with {} {} and {} with {} {}, equally wide and overlapping",
                          rival->profile->name, to_word(protocol),
                          PortRangeSyntax::format(rival->range), b.profile->name, to_word(protocol),
                          PortRangeSyntax::format(b.range)),
              "one most specific range for each port in a group");
      }
      if (before != nullptr && before->profile != b.profile) other = before;
      before = &b;
    }
  }
}

/// A name for a suggested profile.
std::string free_profile_name(const Model& model) {
  for (unsigned n = 1;; ++n) {
    std::string name = n == 1 ? "IKE-PAIRED" : fmt::format("IKE-PAIRED-{}", n);
    if (find_by_name(model.lsn.appsprofile, name) == nullptr) return name;
  }
}

/// The ALG relies on UDP 500 with IP pooling PAIRED: all of a subscriber's IKE and ESP must leave
/// from one NAT address, which belongs to one worker.
void check_alg_of_group(const Model& model, const GroupConfig& group, const std::string& path,
                        Findings& findings) {
  if (group.nattype == NatType::kDeterministic) return;  // it has one NAT address by itself
  const CoveringProfile ike = covering_profile(model, group, Protocol::kUdp, kIkePort);
  if (ike.profile != nullptr && ike.profile->ippooling == shared::Pooling::kPaired) return;
  std::string given;
  std::string commands;
  if (ike.profile == nullptr)
    given = "no application profile of the group covers UDP port 500 (default: RANDOM)";
  else
    given = fmt::format("appsprofile {} covers UDP port 500 by its range {} with ippooling RANDOM",
                        ike.profile->name, PortRangeSyntax::format(ike.range));
  const PortRange exact{kIkePort, kIkePort};
  if (ike.profile != nullptr && ike.range == exact) {
    commands = fmt::format("set lsn appsprofile {} -ippooling PAIRED", ike.profile->name);
  } else {
    const auto ready = std::find_if(model.lsn.appsprofile.begin(), model.lsn.appsprofile.end(),
                                    [exact](const AppsProfileConfig& p) {
                                      return p.transportprotocol == Protocol::kUdp &&
                                             p.ippooling == shared::Pooling::kPaired &&
                                             p.lsnport == std::vector{exact};
                                    });
    std::string name;
    if (ready != model.lsn.appsprofile.end()) {
      name = ready->name;
    } else {
      name = free_profile_name(model);
      commands = fmt::format(
          "add lsn appsprofile {0} UDP -ippooling PAIRED; bind lsn appsprofile {0} 500; ", name);
    }
    commands += fmt::format("bind lsn group {} -appsprofilename {}", group.name, name);
  }
  findings.report(path,
                  fmt::format("group {}: ipsecAlgProfile {} without UDP port 500 PAIRED",
                              group.name, group.ipsec_alg_profile.front()),
                  given,
                  fmt::format("an application profile that gives UDP port 500 ippooling PAIRED; "
                              "what is missing: {}",
                              commands));
}

/// A group has at most one transportprofile of each protocol.
void check_transports_of_group(const References<TransportProfileConfig>& transports,
                               const GroupConfig& group, const std::string& path,
                               const std::string& label, Findings& findings) {
  std::map<Protocol, std::string_view> transport;
  for (std::size_t t = 0; t < group.transportprofilename.size(); ++t) {
    const auto* profile = transports.find(group.transportprofilename[t]);
    if (profile == nullptr) continue;
    const auto [there, added] = transport.try_emplace(profile->transportprotocol, profile->name);
    if (!added && there->second != profile->name)
      findings.report(element(path, t), label, quoted(profile->name),
                      fmt::format("one {} profile in a group; it has {}",
                                  to_word(profile->transportprotocol), there->second));
  }
}

/// Pools are of their groups' nattype; those with blocks are cut in one way, and a deterministic
/// one is one group's.
class BlockRules {
 public:
  BlockRules(const Model& model, const References<PoolConfig>& pools, Findings& findings)
      : model_(model), pools_(pools), findings_(findings) {}

  void check(std::size_t i) {
    const GroupConfig& group = model_.lsn.group[i];
    const std::string size_path = setting("lsn.group", i, "portblocksize");
    const std::string size_label = fmt::format("group {}: portblocksize", group.name);
    for (const char* name : {"portblocksize", "nattype", "poolname"})
      if (!findings_.sound(setting("lsn.group", i, name))) return;
    const std::uint32_t size = port_block_size(model_, group);
    for (std::size_t p = 0; p < group.poolname.size(); ++p) check_pool(i, p, size);
    if (group.portblocksize != 0 && size == 0 && !group.poolname.empty())
      findings_.report(size_path, size_label, fmt::format("{}", group.portblocksize),
                       "0, or pools with portblockallocation ENABLED (set lsn pool NAME "
                       "-portblockallocation ENABLED)");
    if (size > shared::kPortsForBlocks) {
      findings_.report(size_path, size_label, fmt::format("{}", size),
                       fmt::format("{} at most: the ports from {} to 65535",
                                   shared::kPortsForBlocks, shared::kFirstBlockPort));
      return;
    }
    if (group.nattype == NatType::kDeterministic) check_deterministic(i);
  }

 private:
  void check_pool(std::size_t i, std::size_t p, std::uint32_t size) {
    const GroupConfig& group = model_.lsn.group[i];
    const PoolConfig* const pool = pools_.find(group.poolname[p]);
    if (pool == nullptr) return;
    const auto report = [&](std::string_view given, std::string_view allowed) {
      findings_.report(element(setting("lsn.group", i, "poolname"), p),
                       fmt::format("group {}: poolname", group.name), given, allowed);
    };
    if (pool->nattype != group.nattype)
      return report(fmt::format("pool {} with nattype {}", pool->name, to_word(pool->nattype)),
                    fmt::format("pools with the group's nattype {}", to_word(group.nattype)));
    const auto [there, is_first] = first_.try_emplace(pool->name, &group);
    const GroupConfig& other = *there->second;
    if (group.nattype == NatType::kDeterministic) {
      if (!is_first)
        report(fmt::format("deterministic pool {}", pool->name),
               fmt::format("a deterministic pool in one group; it is in group {}", other.name));
      return;
    }
    const bool has_blocks = pool->portblockallocation == Switch::kEnabled;
    if (has_blocks != (size != 0))
      report(fmt::format("pool {} with portblockallocation {}", pool->name,
                         to_word(pool->portblockallocation)),
             "pools with one portblockallocation in a group");
    else if (has_blocks && !is_first && port_block_size(model_, other) != size)
      report(fmt::format("pool {} with portblocksize {}", pool->name, size),
             fmt::format("one portblocksize in all groups of the pool; group {} has {}", other.name,
                         port_block_size(model_, other)));
  }

  void check_deterministic(std::size_t i) {
    const GroupConfig& group = model_.lsn.group[i];
    const shared::DeterministicMap map = deterministic_map(model_, group);
    const std::uint64_t subscribers = map.subscribers().count();
    if (group.poolname.empty() || subscribers <= map.blocks()) return;
    const std::uint64_t missing = subscribers - map.blocks();
    const std::uint64_t per_address = shared::blocks_of_address(map.block_size());
    findings_.report(
        setting("lsn.group", i, "poolname"), fmt::format("group {}: poolname", group.name),
        fmt::format("{} subscribers and {} blocks of {} ports: {} blocks are missing", subscribers,
                    map.blocks(), map.block_size(), missing),
        fmt::format("a block for each subscriber: {} more NAT address{}, or a smaller "
                    "portblocksize",
                    (missing + per_address - 1) / per_address, missing <= per_address ? "" : "es"));
  }

  const Model& model_;
  const References<PoolConfig>& pools_;
  Findings& findings_;
  std::map<std::string_view, const GroupConfig*> first_;  ///< by pool: the first group with it
};

void check_groups(const Model& model, Findings& findings) {
  check_names(model.lsn.group, "lsn.group", "group", findings);
  References clients(model.lsn.client, "lsn.client", "client", findings);
  References pools(model.lsn.pool, "lsn.pool", "pool", findings);
  References apps(model.lsn.appsprofile, "lsn.appsprofile", "appsprofile", findings);
  References transports(model.lsn.transportprofile, "lsn.transportprofile", "transportprofile",
                        findings);
  References logs(model.lsn.logprofile, "lsn.logprofile", "logprofile", findings);
  References algs(model.ipsecalg.profile, "ipsecalg.profile", "ipsecalg profile", findings);
  BlockRules blocks(model, pools, findings);
  std::map<std::string_view, std::string_view> group_of_client;
  for (std::size_t i = 0; i < model.lsn.group.size(); ++i) {
    const GroupConfig& group = model.lsn.group[i];
    const auto path = [i](std::string_view name) { return setting("lsn.group", i, name); };
    const auto label = [&group](std::string_view name) {
      return fmt::format("group {}: {}", group.name, name);
    };
    if (findings.sound(path("clientname")) &&
        clients.check(group.clientname, path("clientname"), label("clientname"))) {
      const auto [there, added] = group_of_client.try_emplace(group.clientname, group.name);
      if (!added)
        findings.report(path("clientname"), label("clientname"), quoted(group.clientname),
                        fmt::format("a client in one group; it is in group {}", there->second));
    }
    pools.check_all(group.poolname, path("poolname"), label("poolname"));
    if (group.poolname.size() > kMaxPoolsPerGroup)
      findings.report(path("poolname"), label("poolname"),
                      fmt::format("{} pools", group.poolname.size()),
                      fmt::format("{} at most", kMaxPoolsPerGroup));
    blocks.check(i);
    const bool profiles_known =
        apps.check_all(group.appsprofilename, path("appsprofilename"), label("appsprofilename"));
    check_ports_of_group(model, group, path("appsprofilename"), findings);
    transports.check_all(group.transportprofilename, path("transportprofilename"),
                         label("transportprofilename"));
    check_transports_of_group(transports, group, path("transportprofilename"),
                              label("transportprofilename"), findings);

    logs.check_all(group.logprofilename, path("logprofilename"), label("logprofilename"));
    if (group.logprofilename.size() > 1)
      findings.report(path("logprofilename"), label("logprofilename"),
                      fmt::format("{} profiles", group.logprofilename.size()),
                      "one log profile in a group");

    const bool alg_known =
        algs.check_all(group.ipsec_alg_profile, path("ipsecAlgProfile"), label("ipsecAlgProfile"));
    if (group.ipsec_alg_profile.size() > 1)
      findings.report(path("ipsecAlgProfile"), label("ipsecAlgProfile"),
                      fmt::format("{} profiles", group.ipsec_alg_profile.size()),
                      "one ALG profile in a group");
    if (profiles_known && alg_known && !group.ipsec_alg_profile.empty() &&
        findings.sound("lsn.appsprofile"))
      check_alg_of_group(model, group, path("ipsecAlgProfile"), findings);
  }
}

/// Two sinks to the same server would bring it every record twice.
void check_record_servers(const Model& model, Findings& findings) {
  std::set<std::string> seen;
  for (std::size_t i = 0; i < model.records.syslog.size(); ++i) {
    const RecordSyslogConfig& syslog = model.records.syslog[i];
    if (!syslog.server.empty() &&
        !seen.insert(fmt::format("{} {}", syslog.server, to_word(syslog.transport))).second)
      findings.report(setting("records.syslog", i, "server"), "records.syslog: server",
                      quoted(syslog.server),
                      "a server and a transport that no other syslog has together");
    if (!syslog.ca_file.empty() && syslog.transport != SyslogTransport::kTls)
      findings.report(setting("records.syslog", i, "caFile"), "records.syslog: caFile",
                      quoted(syslog.ca_file), "only with transport TLS");
  }
  for (std::size_t i = 0; i < model.records.ipfix.size(); ++i) {
    const RecordIpfixConfig& ipfix = model.records.ipfix[i];
    if (!ipfix.collector.empty() &&
        !seen.insert(fmt::format("ipfix {} {}", ipfix.collector, to_word(ipfix.transport))).second)
      findings.report(setting("records.ipfix", i, "collector"), "records.ipfix: collector",
                      quoted(ipfix.collector),
                      "a collector and a transport that no other ipfix has together");
  }
}

/// Two sinks that write the same files would cut each other's lines. An alert that is cleared where
/// it is raised would come and go.
void check_records(const Model& model, Findings& findings) {
  check_record_servers(model, findings);
  std::set<std::string_view> seen;
  for (std::size_t i = 0; i < model.records.file.size(); ++i) {
    const std::string& path = model.records.file[i].path;
    if (!path.empty() && !seen.insert(path).second)
      findings.report(setting("records.file", i, "path"), "records.file: path", quoted(path),
                      "a path that no other file has");
  }
  const PoolThresholdConfig& threshold = model.records.pool_threshold;
  if (threshold.raise != 0 && threshold.clear >= threshold.raise &&
      findings.sound("records.poolThreshold.clear"))
    findings.report("records.poolThreshold.clear", "records.poolThreshold: clear",
                    fmt::format("{} %", threshold.clear),
                    fmt::format("less than raise, {} %", threshold.raise));
}

/// What comes from outside for a subscriber's own address does not say of which domain it is.
void check_domain_of_bypass(const Model& model, const BypassConfig& bypass, const std::string& path,
                            Findings& findings) {
  const ClientConfig* const client = find_by_name(model.lsn.client, bypass.clientname);
  if (client == nullptr) return;
  for (const shared::InsideRange& range : subscriber_ranges(ByName(model.lsn.acl), *client)) {
    if (range.td == 0) continue;
    findings.report(path, fmt::format("bypass {}: clientname", bypass.name),
                    fmt::format("client {} with subscribers in td {}", client->name, range.td),
                    "a client whose subscribers are all in td 0: packets from outside to an "
                    "untranslated address do not say of which traffic domain it is");
    return;
  }
}

void check_bypass(const Model& model, Findings& findings) {
  constexpr std::size_t kMostOfAClient = 1024;
  check_names(model.lsn.bypass, "lsn.bypass", "bypass", findings);
  References clients(model.lsn.client, "lsn.client", "client", findings);
  std::map<std::string_view, std::size_t> count;
  for (std::size_t i = 0; i < model.lsn.bypass.size(); ++i) {
    const BypassConfig& bypass = model.lsn.bypass[i];
    const auto path = [i](std::string_view name) { return setting("lsn.bypass", i, name); };
    const auto label = [&bypass](std::string_view name) {
      return fmt::format("bypass {}: {}", bypass.name, name);
    };
    if (clients.check(bypass.clientname, path("clientname"), label("clientname")) &&
        ++count[bypass.clientname] == kMostOfAClient + 1)
      findings.report(path("clientname"), label("clientname"),
                      fmt::format("one more of client {}", bypass.clientname),
                      fmt::format("{} bypasses of a client at most", kMostOfAClient));
    check_domain_of_bypass(model, bypass, path("clientname"), findings);
    if (bypass.protocol == shared::StaticScope::kIcmp && bypass.dest_port != PortRange{0, 65535} &&
        findings.sound(path("destPort")) && findings.sound(path("protocol")))
      findings.report(path("destPort"), label("destPort"),
                      PortRangeSyntax::format(bypass.dest_port), "no ports with protocol ICMP");
  }
}

}  // namespace

void check_rules(const Model& model, Findings& findings) {
  check_dataplane(model, findings);
  check_interfaces(model, findings);
  check_routes(model, findings);
  check_routing(model, findings);
  check_clients(model, findings);
  check_pools(model, findings);
  check_profiles(model, findings);
  check_groups(model, findings);
  check_records(model, findings);
  check_statics(model, findings);
  check_bypass(model, findings);
}

}  // namespace lsn::control
