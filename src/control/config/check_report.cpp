#include "lsn/control/config/check_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <set>
#include <string_view>

#include "lsn/control/config/port_blocks.hpp"
#include "lsn/control/config/static_rules.hpp"

namespace lsn::control {
namespace {

using shared::Dependence;
using shared::Pooling;
using shared::Protocol;

constexpr std::array kAllProtocols{Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp};

/// The requirements of each RFC; the values are those of the clauses.
constexpr Seconds kTcpEstablished{2 * 3600 + 4 * 60};  // RFC 5382 REQ-5
constexpr Seconds kTcpTransitory{4 * 60};              // RFC 5382 REQ-5
constexpr Seconds kUdpMapping{5 * 60};                 // RFC 4787 REQ-5 c
constexpr Seconds kUdpShortest{2 * 60};                // RFC 4787 REQ-5
constexpr Seconds kIcmpQuery{60};                      // RFC 5508 REQ-2
constexpr Seconds kPortHold{120};                      // RFC 6888 REQ-8

std::string_view mapping_clause(Protocol protocol) {
  switch (protocol) {
    case Protocol::kTcp:
      return "RFC 5382 REQ-1";
    case Protocol::kUdp:
      return "RFC 4787 REQ-1";
    default:
      return "RFC 5508 REQ-1 a";
  }
}

/// ADDRESS-DEPENDENT is the second of the two that RFC 4787 and RFC 5382 recommend; RFC 6888 has
/// one.
std::string_view filtering_clause(Protocol protocol, Dependence filtering) {
  if (filtering == Dependence::kAddress) return "RFC 6888 REQ-7";
  switch (protocol) {
    case Protocol::kTcp:
      return "RFC 5382 REQ-3, RFC 6888 REQ-7";
    case Protocol::kUdp:
      return "RFC 4787 REQ-8, RFC 6888 REQ-7";
    default:
      return "RFC 6888 REQ-7";
  }
}

/// A set of packets that one application profile, or the defaults, decide about.
struct Scope {
  std::string label;
  AppsProfileConfig policy;
};

std::string port_list(const std::vector<PortRange>& ranges) {
  std::string all;
  for (const PortRange range : ranges)
    all += (all.empty() ? "" : ", ") + PortRangeSyntax::format(range);
  return all;
}

/// Whether there is a destination port that no profile of the group covers. Port 0 is not used.
bool defaults_in_force(const Model& model, const GroupConfig& group, Protocol protocol) {
  if (protocol == Protocol::kIcmp)
    return covering_profile(model, group, protocol, 0).profile == nullptr;
  std::vector<PortRange> ranges;
  for (const std::string& name : group.appsprofilename)
    if (const auto* profile = find_by_name(model.lsn.appsprofile, name);
        profile != nullptr && profile->transportprotocol == protocol)
      ranges.insert(ranges.end(), profile->lsnport.begin(), profile->lsnport.end());
  std::sort(ranges.begin(), ranges.end(),
            [](PortRange a, PortRange b) { return a.first < b.first; });
  unsigned next = 1;
  for (const PortRange range : ranges) {
    if (range.first > next) return true;
    next = std::max(next, 1U + range.last);
  }
  return next <= 65535;
}

std::vector<Scope> scopes(const Model& model, const GroupConfig& group, Protocol protocol) {
  std::vector<Scope> all;
  for (const std::string& name : group.appsprofilename) {
    const auto* profile = find_by_name(model.lsn.appsprofile, name);
    if (profile == nullptr || profile->transportprotocol != protocol) continue;
    if (protocol == Protocol::kIcmp)
      all.push_back({fmt::format("ICMP ({})", name), *profile});
    else if (!profile->lsnport.empty())
      all.push_back(
          {fmt::format("{} {} ({})", to_word(protocol), port_list(profile->lsnport), name),
           *profile});
  }
  if (defaults_in_force(model, group, protocol))
    all.push_back({fmt::format("{}{}", to_word(protocol), all.empty() ? "" : ", other ports"),
                   AppsProfileConfig{}});
  return all;
}

/// The ports of a profile that attributes of it are for.
std::vector<PortRange> attributed_ports(const AppsProfileConfig& profile,
                                        const AppsAttributesConfig& attributes) {
  if (profile.transportprotocol == Protocol::kIcmp) return {PortRange{0, 65535}};
  std::vector<PortRange> ports;
  for (const PortRange range : profile.lsnport)
    if (range.overlaps(attributes.ports()))
      ports.push_back({std::max(range.first, attributes.ports().first),
                       std::min(range.last, attributes.ports().last)});
  return ports;
}

void application_deviations(const GroupConfig& group, Protocol protocol, const Scope& scope,
                            std::vector<std::string>& out) {
  const AppsProfileConfig& policy = scope.policy;
  const auto add = [&](std::string_view setting, std::string_view value, std::string_view wanted,
                       std::string_view clause) {
    out.push_back(
        fmt::format("{}: {} {}; asked for: {} ({})", scope.label, setting, value, wanted, clause));
  };
  // A deterministic subscriber has one NAT address, whatever the pooling.
  if (policy.ippooling != Pooling::kPaired && group.nattype != NatType::kDeterministic)
    add("ippooling", to_word(policy.ippooling), to_word(Pooling::kPaired),
        protocol == Protocol::kUdp ? "RFC 6888 REQ-2, RFC 4787 REQ-2" : "RFC 6888 REQ-2");
  if (policy.mapping != Dependence::kEndpointIndependent)
    add("mapping", to_word(policy.mapping), to_word(Dependence::kEndpointIndependent),
        mapping_clause(protocol));
  if (policy.filtering != Dependence::kEndpointIndependent)
    add("filtering", to_word(policy.filtering), to_word(Dependence::kEndpointIndependent),
        filtering_clause(protocol, policy.filtering));
}

/// RFC 4787 REQ-5: two minutes at least, and five are recommended (c). A mapping ends with its last
/// session unless it is endpoint-independent: then it lives on for stuntimeout.
void udp_timeout_deviations(const TransportProfileConfig& profile,
                            const std::vector<Scope>& in_force, std::vector<std::string>& out) {
  const auto add = [&out](std::string_view settings, Seconds life, std::string_view in_all) {
    if (life >= kUdpMapping) return;
    out.push_back(fmt::format(
        "UDP: {}; asked for: {} s{} at least (RFC 4787 REQ-5 c){}", settings, kUdpMapping.count(),
        in_all,
        life >= kUdpShortest
            ? ""
            : fmt::format(", never less than {} s (RFC 4787 REQ-5)", kUdpShortest.count())));
  };
  const auto independent = [](const Scope& scope) {
    return scope.policy.mapping == Dependence::kEndpointIndependent;
  };
  if (!std::all_of(in_force.begin(), in_force.end(), independent))
    add(fmt::format("sessiontimeout {} s", profile.sessiontimeout.count()), profile.sessiontimeout,
        "");
  if (std::any_of(in_force.begin(), in_force.end(), independent))
    add(fmt::format("sessiontimeout {} s and stuntimeout {} s", profile.sessiontimeout.count(),
                    profile.stuntimeout.count()),
        profile.sessiontimeout + profile.stuntimeout, " together");
}

/// The attributes of the profiles in force are judged as the transport profile's sessiontimeout is;
/// RFC 4787 REQ-5 a lets UDP ports below 1024 have shorter times.
void attribute_deviations(const Model& model, Protocol protocol,
                          const TransportProfileConfig& transport,
                          const std::vector<Scope>& in_force, std::vector<std::string>& out) {
  const auto judge = [&](const Scope& scope, const AppsAttributesConfig& attributes) {
    Seconds wanted = kIcmpQuery;
    Seconds life = attributes.sessiontimeout;
    std::string_view clause = "RFC 5508 REQ-2";
    if (protocol == Protocol::kTcp) {
      wanted = kTcpEstablished;
      clause = "RFC 5382 REQ-5";
    } else if (protocol == Protocol::kUdp) {
      wanted = kUdpMapping;
      clause = "RFC 4787 REQ-5 c";
      if (scope.policy.mapping == Dependence::kEndpointIndependent) life += transport.stuntimeout;
      const auto ports = attributed_ports(scope.policy, attributes);
      if (std::all_of(ports.begin(), ports.end(), [](PortRange r) { return r.last < 1024; }))
        return;
    }
    if (life < wanted)
      out.push_back(fmt::format("{}: sessiontimeout {} s by {}; asked for: {} s at least ({})",
                                scope.label, attributes.sessiontimeout.count(), attributes.name,
                                wanted.count(), clause));
  };
  for (const Scope& scope : in_force)
    for (const std::string& name : scope.policy.appsattributesname)
      if (const auto* attributes = find_by_name(model.lsn.appsattributes, name))
        judge(scope, *attributes);
}

void transport_deviations(const Model& model, const GroupConfig& group, Protocol protocol,
                          const std::vector<Scope>& in_force, std::vector<std::string>& out) {
  const TransportProfileConfig defaults;
  const auto* found = transport_profile(model, group, protocol);
  const TransportProfileConfig& profile = found == nullptr ? defaults : *found;
  const auto timeout = [&](std::string_view setting, Seconds value, Seconds wanted,
                           std::string_view clause) {
    if (value < wanted)
      out.push_back(fmt::format("{}: {} {} s; asked for: {} s at least ({})", to_word(protocol),
                                setting, value.count(), wanted.count(), clause));
  };
  switch (protocol) {
    case Protocol::kTcp:
      timeout("sessiontimeout", profile.sessiontimeout, kTcpEstablished, "RFC 5382 REQ-5");
      timeout("finrsttimeout", profile.finrsttimeout, kTcpTransitory, "RFC 5382 REQ-5");
      timeout("synidletimeout", profile.synidletimeout, kTcpTransitory, "RFC 5382 REQ-5");
      break;
    case Protocol::kUdp:
      udp_timeout_deviations(profile, in_force, out);
      if (profile.portpreserverange == Switch::kDisabled)
        out.push_back("UDP: portpreserverange DISABLED; asked for: ENABLED (RFC 4787 REQ-3 a)");
      if (profile.portpreserveparity == Switch::kDisabled)
        out.push_back("UDP: portpreserveparity DISABLED; asked for: ENABLED (RFC 4787 REQ-4)");
      break;
    default:
      timeout("sessiontimeout", profile.sessiontimeout, kIcmpQuery, "RFC 5508 REQ-2");
  }
  attribute_deviations(model, protocol, profile, in_force, out);
}

/// RFC 6888 REQ-8: a freed port waits, except where TCP states are tracked (a) and where only the
/// old peers could have used it (c).
void pool_deviations(const Model& model, const GroupConfig& group,
                     const std::vector<Scope>& untracked, std::vector<std::string>& out) {
  if (std::none_of(untracked.begin(), untracked.end(), [](const Scope& scope) {
        return scope.policy.filtering == Dependence::kEndpointIndependent;
      }))
    return;
  for (const std::string& name : group.poolname) {
    const PoolConfig* pool = find_by_name(model.lsn.pool, name);
    if (pool != nullptr && pool->portrealloctimeout < kPortHold)
      out.push_back(
          fmt::format("pool {}: portrealloctimeout {} s; asked for: {} s at least (RFC 6888 REQ-8)",
                      name, pool->portrealloctimeout.count(), kPortHold.count()));
  }
}

std::string joined(const std::vector<std::string>& words) {
  return words.empty() ? "none" : fmt::format("{}", fmt::join(words, ", "));
}

template <class Syntax>
std::string joined_values(const std::vector<typename Syntax::Value>& values) {
  std::vector<std::string> words;
  for (const auto& value : values) words.push_back(Syntax::format(value));
  return joined(words);
}

/// Networks, and the sources of access lists.
std::string addresses_of(const ByName<AclConfig>& acls, const ClientConfig& client) {
  std::vector<std::string> words;
  for (const auto& network : client.network) words.push_back(ClientNetworkSyntax::format(network));
  for (const auto& [range, td] : acl_ranges(acls, client))
    words.push_back(SourceRangeSyntax::format(range) + td_text(td));
  return joined(words);
}

/// Whether it is the last address of an outside interface's network.
bool is_broadcast(const Model& model, wire::Ipv4Address address) {
  return std::any_of(model.interfaces.begin(), model.interfaces.end(), [&](const auto& interface) {
    return interface.role == shared::Side::kOutside && interface.address.last() == address;
  });
}

std::string plural(std::uint64_t count, std::string_view what, std::string_view whats) {
  return fmt::format("{} {}", count, count == 1 ? what : whats);
}

/// Attributes for ports that their profile does not have.
void remark_unused_attributes(const Model& model, std::vector<std::string>& all) {
  for (const AppsProfileConfig& profile : model.lsn.appsprofile)
    for (const std::string& name : profile.appsattributesname)
      if (const auto* attributes = find_by_name(model.lsn.appsattributes, name);
          attributes != nullptr && !profile.lsnport.empty() &&
          attributed_ports(profile, *attributes).empty())
        all.push_back(
            fmt::format("appsattributes {} has no port of appsprofile {}: it does nothing "
                        "there",
                        name, profile.name));
}

/// Static mappings whose subscribers belong to the worker of an address that is none of their
/// group's: what such a mapping does not translate needs one of the group's at the same worker.
std::optional<std::string> statics_apart(const Model& model) {
  if (model.dataplane.workers.size() < 2) return std::nullopt;
  std::set<std::string_view> in_group;
  for (const GroupConfig& group : model.lsn.group)
    in_group.insert(group.poolname.begin(), group.poolname.end());
  std::vector<shared::IntervalMap<bool>::Range> ranges;
  for (const PoolConfig& pool : model.lsn.pool)
    for (const wire::Ipv4Range& range : pool.lsnip)
      ranges.push_back({range.first.value, range.last.value, in_group.contains(pool.name)});
  const shared::IntervalMap<bool> is_in_group(std::move(ranges));
  const auto apart = std::count_if(
      model.lsn.statics.begin(), model.lsn.statics.end(), [&](const StaticConfig& mapping) {
        const bool* const found = is_in_group.find(mapping.nat_ip->value);
        return !has_all_traffic(mapping) && found != nullptr && !*found;
      });
  if (apart == 0) return std::nullopt;
  return fmt::format(
      "{} a NAT address of a pool that no group has: their subscribers' other traffic has the "
      "addresses of its group that the same worker has, if there are any",
      apart == 1 ? "1 static mapping has" : fmt::format("{} static mappings have", apart));
}

}  // namespace

std::vector<std::string> deviations(const Model& model, const GroupConfig& group) {
  std::vector<std::string> all;
  std::vector<Scope> untracked;  // protocols without states
  for (const Protocol protocol : kAllProtocols) {
    const std::vector<Scope> in_force = scopes(model, group, protocol);
    for (const Scope& scope : in_force) application_deviations(group, protocol, scope, all);
    transport_deviations(model, group, protocol, in_force, all);
    if (protocol != Protocol::kTcp)
      untracked.insert(untracked.end(), in_force.begin(), in_force.end());
  }
  pool_deviations(model, group, untracked, all);
  return all;
}

std::vector<std::string> deviations(const DataplaneConfig& dataplane) {
  std::vector<std::string> all;
  if (dataplane.unreachable.code != 13)
    all.push_back(fmt::format("unreachable: code {}; asked for: 13 (RFC 5508 REQ-8)",
                              dataplane.unreachable.code));
  if (dataplane.unreachable.rate == 0)
    all.push_back(
        "unreachable: rate 0; asked for: an ICMP error where no mapping can be made (RFC "
        "5508 REQ-8)");
  if (dataplane.fragments.max == 0)
    all.push_back(
        "fragments: max 0; asked for: fragments are taken in any order (RFC 4787 REQ-14)");
  return all;
}

namespace {

/// Groups that have no NAT address for new subscribers.
void remark_groups(const Model& model, std::vector<std::string>& all) {
  const ByName pools(model.lsn.pool);
  for (const GroupConfig& group : model.lsn.group) {
    const auto any_pool = [&](auto&& says) {
      return std::any_of(group.poolname.begin(), group.poolname.end(), [&](const auto& name) {
        const PoolConfig* pool = pools.find(name);
        return pool != nullptr && says(*pool);
      });
    };
    if (!any_pool([](const PoolConfig& pool) { return pool.addresses() != 0; }))
      all.push_back(fmt::format("group {} has no NAT address: its traffic is dropped", group.name));
    else if (!any_pool([](const PoolConfig& pool) {
               return pool.addresses() > pool.draining_addresses();
             }))
      all.push_back(fmt::format(
          "group {} has no NAT address but those that drain: new subscribers are refused",
          group.name));
  }
}

}  // namespace

std::vector<std::string> remarks(const Model& model) {
  return remarks(model, pool_spreads(model));
}

std::vector<std::string> remarks(const Model& model, const std::vector<PoolSpread>& spreads) {
  std::vector<std::string> all;
  const std::size_t workers = model.dataplane.workers.size();
  for (const PoolConfig& pool : model.lsn.pool) {
    const std::uint64_t addresses = pool.addresses();
    if (addresses == 0)
      all.push_back(fmt::format("pool {} has no addresses", pool.name));
    else if (addresses < workers)
      all.push_back(fmt::format("pool {} has {} for {} workers: it gives no NAT work to {}",
                                pool.name, plural(addresses, "address", "addresses"), workers,
                                plural(workers - addresses, "worker", "workers")));
  }
  for (const PoolSpread& spread : spreads)
    if (auto uneven = unevenness(spread)) all.push_back(std::move(*uneven));
  for (const PoolConfig& pool : model.lsn.pool) {
    std::vector<wire::Ipv4Address> left_out;
    (void)nat_ranges(model, pool, &left_out);
    for (const wire::Ipv4Address address : left_out)
      all.push_back(
          fmt::format("pool {}: {} is the {} address of an outside interface's network: "
                      "it is left out, no host can have it",
                      pool.name, wire::to_string(address),
                      is_broadcast(model, address) ? "broadcast" : "network"));
  }
  std::set<std::string_view> in_group;
  const ByName acls(model.lsn.acl);
  for (const GroupConfig& group : model.lsn.group) in_group.insert(group.clientname);
  for (const ClientConfig& client : model.lsn.client) {
    if (client.network.empty() && acl_ranges(acls, client).empty())
      all.push_back(fmt::format("client {} has no network", client.name));
    if (!in_group.contains(client.name))
      all.push_back(fmt::format("client {} is in no group: its traffic is dropped", client.name));
  }
  for (const BypassConfig& bypass : model.lsn.bypass)
    if (!in_group.contains(bypass.clientname))
      all.push_back(fmt::format("bypass {}: client {} is in no group: its traffic is dropped",
                                bypass.name, bypass.clientname));
  remark_groups(model, all);
  if (auto apart = statics_apart(model)) all.push_back(std::move(*apart));
  for (const AppsProfileConfig& profile : model.lsn.appsprofile)
    if (profile.transportprotocol != Protocol::kIcmp && profile.lsnport.empty())
      all.push_back(fmt::format("appsprofile {} has no lsnport: it covers nothing", profile.name));
  remark_unused_attributes(model, all);
  return all;
}

namespace {

/// A group, in words.
std::vector<std::string> lines_of(const Model& model, const GroupConfig& group) {
  std::vector<std::string> all;
  all.push_back(
      fmt::format("{}: client {}, pools {}", group.name, group.clientname, joined(group.poolname)));
  all.push_back(fmt::format("  application profiles {}, transport profiles {}",
                            joined(group.appsprofilename), joined(group.transportprofilename)));
  if (group.nattype == NatType::kDeterministic)
    all.push_back(fmt::format("  deterministic NAT, {}: {}", to_word(group.alloc_policy),
                              to_text(deterministic_map(model, group))));
  else if (const std::uint32_t size = port_block_size(model, group); size != 0)
    all.push_back(fmt::format(
        "  port blocks of {} ports, {} of an address; up to {} for a subscriber, each kept {} s "
        "without ports in use",
        size, shared::blocks_of_address(size), group.max_blocks, group.block_timeout.count()));
  if (!group.ipsec_alg_profile.empty())
    all.push_back(
        fmt::format("  IPsec ALG profile {}; UDP 4500 and ESP follow the IP pooling of UDP 500",
                    joined(group.ipsec_alg_profile)));
  return all;
}

/// Static mappings and bypasses, in words.
std::vector<std::string> exceptions(const Model& model) {
  std::vector<std::string> all;
  if (const std::size_t statics = model.lsn.statics.size(); statics != 0)
    all.push_back(fmt::format("{}, {} of them one-to-one",
                              plural(statics, "static mapping", "static mappings"),
                              std::ranges::count(model.lsn.statics, shared::StaticScope::kAll,
                                                 &StaticConfig::transportprotocol)));
  for (const BypassConfig& bypass : model.lsn.bypass)
    all.push_back(fmt::format("bypass {}: client {} to {}, ports {}, {} untranslated", bypass.name,
                              bypass.clientname, NetworkSyntax::format(bypass.dest_network),
                              PortRangeSyntax::format(bypass.dest_port), to_word(bypass.protocol)));
  return all;
}

}  // namespace

std::string check_report(const Model& model, const std::vector<std::string>& machine) {
  std::string report;
  const auto line = [&report]<class... Args>(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(report), format, std::forward<Args>(args)...);
    report += '\n';
  };
  const auto& plane = model.dataplane;
  line("The configuration is good. What would run:\n");
  line("{} on CPU {}, {} sessions in all", plural(plane.workers.size(), "worker", "workers"),
       fmt::join(plane.workers, ", "), plane.max_sessions);
  for (const std::string& need : machine) line("{}", need);
  line("interfaces:");
  for (const InterfaceConfig& interface : model.interfaces)
    line("  {}: {}, {}, {}{}{}, mtu {}", interface.name, to_word(interface.role), interface.device,
         wire::to_string(interface.address),
         interface.vlan == 0 ? "" : fmt::format(", vlan {}", interface.vlan),
         interface.td == 0 ? "" : fmt::format(", td {}", interface.td), interface.mtu);
  if (!model.routes.empty()) line("routes:");
  for (const RouteConfig& route : model.routes) {
    const InterfaceConfig* const out = interface_of(model.interfaces, route);
    line("  {}{} via {} ({}){}{}", wire::to_string(route.prefix), td_text(route.td),
         wire::to_string(route.via), out == nullptr ? "not connected" : out->name,
         route.weight == 1 ? "" : fmt::format(", weight {}", route.weight),
         route.backup ? ", backup" : "");
  }
  if (model.routing.kernel_routes)
    line("routes from the kernel: of its table {}", model.routing.table);
  line("command socket: {}", model.control.socket);
  if (!model.lsn.client.empty()) line("clients:");
  const ByName acls(model.lsn.acl);
  for (const ClientConfig& client : model.lsn.client)
    line("  {}: {}", client.name, addresses_of(acls, client));
  if (!model.lsn.pool.empty()) line("pools:");
  const std::vector<PoolSpread> spreads = pool_spreads(model);
  for (std::size_t i = 0; i < model.lsn.pool.size(); ++i) {
    const PoolConfig& pool = model.lsn.pool[i];
    line("  {}: {}, {}; {}", pool.name, plural(pool.addresses(), "address", "addresses"),
         joined_values<AddressRangeSyntax>(pool.lsnip), to_text(spreads[i]));
  }
  if (!model.lsn.group.empty()) line("groups:");
  for (const GroupConfig& group : model.lsn.group) {
    for (const std::string& about : lines_of(model, group)) line("  {}", about);
  }
  for (const std::string& exception : exceptions(model)) line("{}", exception);
  if (const auto notes = remarks(model, spreads); !notes.empty()) {
    line("");
    line("Remarks:");
    for (const std::string& note : notes) line("  {}", note);
  }
  const auto list = [&line](std::string_view where, const std::vector<std::string>& found) {
    if (found.empty()) return;
    line("");
    line("Values in force {} that deviate from the RFCs:", where);
    for (const std::string& deviation : found) line("  {}", deviation);
  };
  list("for all groups", deviations(model.dataplane));
  for (const GroupConfig& group : model.lsn.group)
    list(fmt::format("in group {}", group.name), deviations(model, group));
  return report;
}

}  // namespace lsn::control
