#include "lsn/control/config/generation_builder.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lsn/control/config/port_blocks.hpp"
#include "lsn/shared/log_record.hpp"

namespace lsn::control {
namespace {

using shared::AlgProfile;
using shared::AppPolicy;
using shared::Generation;
using shared::IntervalMap;
using shared::kNoId;
using shared::Protocol;
using shared::ShardShares;

using Ids = std::map<std::string_view, std::uint16_t>;

/// Makes room in `places`, which begins as the predecessor's with nothing present, for all wanted
/// names; each present place afterwards has its name and its id.
template <class Place, class Config>
Ids assign_places(std::vector<Place>& places, const std::vector<Place>* before,
                  const std::vector<Config>& wanted) {
  if (before != nullptr) {
    places = *before;
    for (Place& place : places) place.present = false;
  }
  std::map<std::string, std::uint16_t, std::less<>> known;
  for (std::size_t id = 0; id < places.size(); ++id)
    known.emplace(places[id].name, static_cast<std::uint16_t>(id));
  Ids ids;
  for (const Config& config : wanted) {
    std::uint16_t id = kNoId;
    if (const auto old = known.find(config.name); old != known.end()) {
      id = old->second;
    } else if (places.size() < kNoId) {
      id = static_cast<std::uint16_t>(places.size());
      places.emplace_back();
    } else {
      // All ids have been used up by names that came and went: take the place of one that is
      // neither wanted nor was in use until now.
      for (std::size_t i = 0; i < places.size() && id == kNoId; ++i)
        if (!places[i].present && !(*before)[i].present) {
          id = static_cast<std::uint16_t>(i);
          places[i] = Place{};
        }
      if (id == kNoId) continue;  // the model has at most 32,768: there is a place
    }
    places[id].name = config.name;
    places[id].present = true;
    ids.emplace(config.name, id);
  }
  return ids;
}

void build_alg_profiles(const Model& model, const Generation* before, Generation& out, Ids& ids) {
  ids = assign_places(out.alg_profiles, before == nullptr ? nullptr : &before->alg_profiles,
                      model.ipsecalg.profile);
  for (const AlgProfileConfig& config : model.ipsecalg.profile) {
    AlgProfile& profile = out.alg_profiles[ids.at(config.name)];
    const auto enabled = [](Switch value) { return value == Switch::kEnabled; };
    profile.id = ids.at(config.name);
    profile.ike_session_timeout = config.ike_session_timeout;
    profile.esp_session_timeout = config.esp_session_timeout;
    profile.gate_timeout = config.esp_gate_timeout;
    profile.phase2_hold = config.phase2_hold;
    profile.fresh_sequence = config.fresh_sequence;
    profile.spi_candidates = config.spi_candidates;
    profile.esp_session_quota = config.esp_session_quota;
    profile.conn_failover = enabled(config.connfailover);
    profile.require_ike = enabled(config.require_ike);
    profile.server_spread = enabled(config.server_spread);
    profile.ike_preserve_port = enabled(config.ike_preserve_port);
  }
}

/// The predecessor's, if it is the same: a million take megabytes.
void build_statics(const Model& model, const Generation* before, Generation& out) {
  if (model.lsn.statics.empty()) return;
  std::vector<shared::StaticMapping> all;
  all.reserve(model.lsn.statics.size());
  for (const StaticConfig& config : model.lsn.statics)
    all.push_back({config.subscr_ip, *config.nat_ip, config.dest_ip.value_or(wire::Ipv4Address{}),
                   config.subscr_port.number, config.nat_port->number, config.transportprotocol,
                   config.subscr_port.is_any, config.td});
  auto made = std::make_shared<const shared::StaticMappings>(std::move(all));
  const bool is_same = before != nullptr && before->statics != nullptr && *before->statics == *made;
  out.statics = is_same ? before->statics : std::move(made);
}

void build_pools(const Model& model, const Generation* before,
                 const shared::AddressClasses& classes, Generation& out, Ids& ids) {
  ids = assign_places(out.pools, before == nullptr ? nullptr : &before->pools, model.lsn.pool);
  const auto shards = static_cast<unsigned>(model.dataplane.workers.size());
  std::vector<shared::PoolRanges> all;
  for (shared::Pool& pool : out.pools) {
    pool.ranges.clear();
    pool.addresses_of.assign(shards, {});
  }
  for (const PoolConfig& config : model.lsn.pool) {
    const std::uint16_t id = ids.at(config.name);
    shared::Pool& pool = out.pools[id];
    pool.port_realloc_timeout = config.portrealloctimeout;
    pool.max_realloc_queue = config.max_port_realloc_tmq;
    pool.has_blocks =
        config.portblockallocation == Switch::kEnabled && config.nattype == NatType::kDynamic;
    pool.ranges = nat_ranges(model, config);
    std::vector<IntervalMap<bool>::Range> draining;
    for (const wire::Ipv4Range& range : config.drain)
      draining.push_back({range.first.value, range.last.value, true});
    pool.draining = IntervalMap<bool>(std::move(draining));
    all.push_back({id, pool.ranges});
  }
  // Ascending: then the order in the file does not change which shard gets which address.
  const auto ascending = [](const wire::Ipv4Range& a, const wire::Ipv4Range& b) {
    return a.first < b.first;
  };
  for (shared::PoolRanges& pool : all) std::sort(pool.ranges.begin(), pool.ranges.end(), ascending);
  std::sort(all.begin(), all.end(), [ascending](const auto& a, const auto& b) {
    if (a.ranges.empty() || b.ranges.empty()) return !b.ranges.empty();
    return ascending(a.ranges[0], b.ranges[0]);
  });
  out.nat_addresses = shared::NatAddressMap(
      all, shards, before == nullptr ? nullptr : &before->nat_addresses, classes);
  for (const auto& range : out.nat_addresses.all())
    if (!out.is_static_whole(wire::Ipv4Address{range.first}))
      out.pools[range.value.pool].addresses_of[range.value.owner].push_back(
          wire::Ipv4Address{range.first});
}

AppPolicy policy_of(const AppsProfileConfig& profile) {
  return {profile.ippooling, profile.mapping, profile.filtering, profile.tcp_mss};
}

IntervalMap<AppPolicy> build_apps(const Model& model, const GroupConfig& config,
                                  Protocol protocol) {
  using Range = IntervalMap<AppPolicy>::Range;
  std::vector<Range> ranges;
  if (protocol == Protocol::kUdp && !config.ipsec_alg_profile.empty()) {
    // UDP 4500 follows UDP 500's pooling under an ALG: the NAT address must not change in the
    // middle of IKE, when it floats (RFC 3947 section 4). In front of all others, so that it wins
    // against a profile for this very port.
    const auto at = [&](std::uint16_t port) {
      const auto* profile = covering_profile(model, config, protocol, port).profile;
      return profile == nullptr ? AppPolicy{} : policy_of(*profile);
    };
    AppPolicy policy = at(kNatTraversalPort);
    policy.pooling = at(kIkePort).pooling;
    ranges.push_back(Range{kNatTraversalPort, kNatTraversalPort, policy});
  }
  for (const std::string& name : config.appsprofilename) {
    const AppsProfileConfig* profile = find_by_name(model.lsn.appsprofile, name);
    if (profile == nullptr || profile->transportprotocol != protocol) continue;
    if (protocol == Protocol::kIcmp)
      ranges.push_back(Range{0, 65535, policy_of(*profile)});
    else
      for (const PortRange range : profile->lsnport)
        ranges.push_back(Range{range.first, range.last, policy_of(*profile)});
  }
  return IntervalMap<AppPolicy>(std::move(ranges));
}

/// The idle timeouts of a group's application profiles, each within the ports that its profile
/// decides about.
IntervalMap<state::TickDuration> build_session_timeouts(const Model& model,
                                                        const GroupConfig& config,
                                                        Protocol protocol) {
  using Timeouts = IntervalMap<state::TickDuration>;
  const std::uint32_t last_port = protocol == Protocol::kIcmp ? 0 : 65535;
  std::vector<IntervalMap<const AppsProfileConfig*>::Range> covered;
  for (const std::string& name : config.appsprofilename) {
    const AppsProfileConfig* profile = find_by_name(model.lsn.appsprofile, name);
    if (profile == nullptr || profile->transportprotocol != protocol) continue;
    if (protocol == Protocol::kIcmp) covered.push_back({0, 0, profile});
    for (const PortRange range : profile->lsnport)
      covered.push_back({range.first, range.last, profile});
  }
  std::vector<Timeouts::Range> all;
  const IntervalMap<const AppsProfileConfig*> profiles(std::move(covered));
  for (const auto& piece : profiles.ranges()) {
    std::vector<Timeouts::Range> within;
    for (const std::string& name : piece.value->appsattributesname)
      if (const auto* attributes = find_by_name(model.lsn.appsattributes, name))
        within.push_back({attributes->ports().first,
                          std::min<std::uint32_t>(attributes->ports().last, last_port),
                          attributes->sessiontimeout});
    const Timeouts timeouts(std::move(within));
    for (const auto& range : timeouts.ranges())
      if (range.first <= piece.last && piece.first <= range.last)
        all.push_back(
            {std::max(range.first, piece.first), std::min(range.last, piece.last), range.value});
  }
  return Timeouts(std::move(all));
}

shared::TransportPolicy build_transport(const Model& model, const GroupConfig& config,
                                        Protocol protocol) {
  shared::TransportPolicy policy;
  const TransportProfileConfig* found = transport_profile(model, config, protocol);
  const TransportProfileConfig profile = found == nullptr ? TransportProfileConfig{} : *found;
  policy.session_timeout = profile.sessiontimeout;
  policy.fin_rst_timeout = profile.finrsttimeout;
  policy.stun_timeout = profile.stuntimeout;
  policy.syn_idle_timeout = profile.synidletimeout;
  policy.port_quota = profile.portquota;
  policy.session_quota = profile.sessionquota;
  policy.session_rate = profile.session_rate;
  policy.session_burst = profile.session_burst == 0 ? profile.session_rate : profile.session_burst;
  policy.port_reserve = profile.port_reserve;
  std::vector<IntervalMap<bool>::Range> reserved;
  for (const PortRange range : profile.reserved_for)
    reserved.push_back({range.first, range.last, true});
  policy.reserved_for = IntervalMap<bool>(std::move(reserved));
  policy.group_session_limit = profile.group_session_limit;
  policy.preserve_parity = profile.portpreserveparity == Switch::kEnabled;
  policy.preserve_range = profile.portpreserverange == Switch::kEnabled;
  policy.syn_check = profile.syncheck == Switch::kEnabled;
  return policy;
}

/// LogFlags of a group. Where addresses follow from the configuration (DETERMINISTIC) neither
/// mappings nor bindings say anything that CONFIG records do not; but for static mappings, which
/// have NAT addresses of other pools.
std::uint8_t build_logging(const Model& model, const GroupConfig& config) {
  using shared::LogFlags;
  if (config.logging != Switch::kEnabled) return 0;
  unsigned flags = LogFlags::kStatics;
  if (config.nattype == NatType::kDynamic) {
    flags |= LogFlags::kBindings;
    for (const std::string& name : config.poolname)
      if (const PoolConfig* pool = find_by_name(model.lsn.pool, name))
        flags |=
            pool->portblockallocation == Switch::kEnabled ? LogFlags::kBlocks : LogFlags::kMappings;
  }
  if (config.session_logging == Switch::kEnabled) flags |= LogFlags::kSessions;
  if (log_profile(model, config).log_sess_deletion == Switch::kEnabled)
    flags |= LogFlags::kDeletions;
  return static_cast<std::uint8_t>(flags);
}

/// The bypass rules of each client.
std::map<std::string_view, std::vector<shared::BypassRule>> bypass_rules(const Model& model) {
  constexpr std::uint8_t kIpProtocols[] = {6, 17, 1, 0};  // of StaticScope: TCP, UDP, ICMP, any
  std::map<std::string_view, std::vector<shared::BypassRule>> rules;
  for (const BypassConfig& config : model.lsn.bypass)
    rules[config.clientname].push_back({{config.dest_network.first(), config.dest_network.last()},
                                        kIpProtocols[static_cast<std::size_t>(config.protocol)],
                                        config.dest_port.first,
                                        config.dest_port.last});
  return rules;
}

/// Its port blocks, or its deterministic NAT, which pins its subscribers.
void build_blocks(const Model& model, const GroupConfig& config,
                  const shared::NatAddressMap& addresses, std::uint16_t id, shared::Group& group,
                  shared::Pins& pins) {
  group.blocks = {};
  group.deterministic = nullptr;
  if (config.nattype == NatType::kDynamic) {
    group.blocks = {port_block_size(model, config), config.max_blocks, config.block_timeout};
    return;
  }
  auto map = std::make_shared<const shared::DeterministicMap>(deterministic_map(model, config));
  std::vector<shared::ShardId> owners;
  for (std::uint64_t n = 0; n < map->nat_addresses().count(); ++n)
    owners.push_back(addresses.find(map->nat_addresses().at(n).address)->owner);
  group.deterministic = map;
  pins.deterministic.emplace(id, shared::Pins::OfGroup{std::move(map), std::move(owners)});
}

/// A group that is gone has no addresses; its name, id and usage stay.
void empty_those_gone(Generation& out, std::size_t shards) {
  for (shared::Group& group : out.groups) {
    if (group.present) continue;
    group.pools.clear();
    group.addresses_of.assign(shards, {});
    group.draining_of.assign(shards, {});
    group.alg_profile = kNoId;
    group.bypass = {};
    group.blocks = {};
    group.deterministic = nullptr;
  }
}

void build_groups(const Model& model, const Generation* before, const Ids& pools, const Ids& algs,
                  Generation& out) {
  const Ids ids =
      assign_places(out.groups, before == nullptr ? nullptr : &before->groups, model.lsn.group);
  const std::size_t shards = model.dataplane.workers.size();
  empty_those_gone(out, shards);
  auto bypass = bypass_rules(model);
  out.has_bypass = !bypass.empty();
  shared::Pins pins;
  std::vector<ShardShares> shares(out.groups.size());
  std::vector<shared::ShardSet> draining(out.groups.size());
  std::map<shared::DomainId, std::vector<IntervalMap<std::uint16_t>::Range>> networks;
  const ByName acls(model.lsn.acl);
  const ByName clients(model.lsn.client);
  for (const GroupConfig& config : model.lsn.group) {
    const std::uint16_t id = ids.at(config.name);
    shared::Group& group = out.groups[id];
    group.client = config.clientname;
    group.pools.clear();
    group.addresses_of.assign(shards, {});
    group.draining_of.assign(shards, {});
    for (const std::string& name : config.poolname) {
      group.pools.push_back(pools.at(name));
      const shared::Pool& pool = out.pools[group.pools.back()];
      for (std::size_t shard = 0; shard < shards; ++shard) group.add_addresses(pool, shard);
    }
    shares[id] = group.shares();
    draining[id] = group.draining_shards();
    for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp}) {
      group.apps[protocol] = build_apps(model, config, protocol);
      group.transport[protocol] = build_transport(model, config, protocol);
      group.session_timeouts[protocol] = build_session_timeouts(model, config, protocol);
    }
    group.alg_profile =
        config.ipsec_alg_profile.empty() ? kNoId : algs.at(config.ipsec_alg_profile.front());
    group.logging = build_logging(model, config);
    group.bypass = shared::Bypass(std::move(bypass[config.clientname]));
    build_blocks(model, config, out.nat_addresses, id, group, pins);
    if (!group.usage) group.usage = std::make_shared<shared::GroupUsage>();
    // A domain without an interface has no subscribers: what it had ends.
    if (const ClientConfig* client = clients.find(config.clientname))
      for (const shared::InsideRange& range : subscriber_ranges(acls, *client))
        if (range.td == 0 || has_inside(model, range.td))
          networks[range.td].push_back(
              {range.addresses.first.value, range.addresses.last.value, id});
  }
  shared::ClientNetworks clients_of;
  for (auto& [td, ranges] : networks)
    clients_of.make(td) = IntervalMap<std::uint16_t>(std::move(ranges));
  if (out.statics != nullptr && shards > 1)
    pins.subscribers = shared::shards_of_static(*out.statics, out.nat_addresses);
  shared::follow(
      out, before, static_cast<unsigned>(shards),
      std::make_shared<const shared::ShardMap>(
          std::move(clients_of), shares,
          before == nullptr || before->maps.empty() ? nullptr : before->maps.front().get(),
          out.nat_addresses.table().classes(), std::move(pins), draining));
}

/// In the order of the predecessor, whose indexes the workers know.
std::vector<InterfaceConfig> ordered_interfaces(const Model& model, const Generation* before) {
  if (before == nullptr) return model.interfaces;
  std::vector<InterfaceConfig> ordered;
  for (const shared::Interface& interface : before->interfaces)
    if (const auto* config = find_by_name(model.interfaces, interface.name))
      ordered.push_back(*config);
  return ordered.size() == model.interfaces.size() ? ordered : model.interfaces;
}

/// A prefix with all its ways.
struct ConfiguredRoute {
  wire::Ipv4Prefix prefix;
  shared::RouteGroup ways;
};

std::vector<ConfiguredRoute> configured_routes(const Model& model,
                                               const std::vector<InterfaceConfig>& interfaces) {
  std::vector<ConfiguredRoute> routes;
  std::map<RouteKey, std::size_t> known;
  for (const RouteConfig& route : model.routes) {
    const InterfaceConfig* const by = interface_of(interfaces, route);
    if (by == nullptr) continue;
    const auto [at, is_first] = known.try_emplace(route_key(route, *by), routes.size());
    if (is_first) routes.push_back({route.prefix, {}});
    shared::RouteGroup& ways = routes[at->second].ways;
    ways.hops.at(ways.count++) = {static_cast<std::uint16_t>(by - interfaces.data()), route.weight,
                                  route.via, route.backup, route.track == RouteTrack::kArp};
  }
  for (ConfiguredRoute& route : routes)
    std::sort(route.ways.hops.begin(), route.ways.hops.begin() + route.ways.count);
  return routes;
}

void build_routes(const Model& model, const Generation* before, Generation& out) {
  const std::vector<InterfaceConfig> interfaces = ordered_interfaces(model, before);
  const std::vector<std::string> all_devices = devices(interfaces);
  std::vector<IntervalMap<shared::Route>::Range> ranges;
  const auto add = [&ranges](const wire::Ipv4Prefix& prefix, std::size_t interface,
                             wire::Ipv4Address via) {
    ranges.push_back({prefix.first().value, prefix.last().value,
                      shared::Route{static_cast<shared::InterfaceId>(interface), via,
                                    static_cast<std::uint8_t>(prefix.length)}});
  };
  for (std::size_t i = 0; i < interfaces.size(); ++i) {
    const InterfaceConfig& config = interfaces[i];
    const auto device = std::find(all_devices.begin(), all_devices.end(), config.device);
    out.interfaces.push_back(
        {config.name,
         config.role,
         static_cast<std::uint16_t>(device - all_devices.begin()),
         config.vlan,
         config.mtu,
         config.address,
         config.tcp_mss,
         config.td,
         {config.kernel_rate.routing, config.kernel_rate.management, config.kernel_rate.rest}});
    add(config.address, i, wire::Ipv4Address{});
  }
  for (const ConfiguredRoute& route : configured_routes(model, interfaces)) {
    const std::span<const shared::RouteHop> ways = route.ways.all();
    for (const shared::RouteHop& hop : ways) out.gateways.push_back({hop.interface, hop.via});
    add(route.prefix, ways.front().interface, ways.front().via);
    if (ways.size() == 1) continue;
    ranges.back().value.group = static_cast<std::uint32_t>(out.route_groups.size());
    out.route_groups.push_back(route.ways);
  }
  std::sort(out.gateways.begin(), out.gateways.end(), shared::by_interface_and_address);
  out.gateways.erase(std::unique(out.gateways.begin(), out.gateways.end()), out.gateways.end());
  out.index_routes(ranges);
  out.index_link_addresses();
}

}  // namespace

std::shared_ptr<const Generation> build_generation(const Model& model,
                                                   const Generation* predecessor,
                                                   const shared::AddressClasses& classes) {
  auto generation = std::make_shared<Generation>();
  generation->number = predecessor == nullptr ? 1 : predecessor->number + 1;
  Ids algs;
  Ids pools;
  build_alg_profiles(model, predecessor, *generation, algs);
  build_statics(model, predecessor, *generation);
  build_pools(model, predecessor,
              predecessor == nullptr ? classes : predecessor->nat_addresses.table().classes(),
              *generation, pools);
  build_groups(model, predecessor, pools, algs, *generation);
  build_routes(model, predecessor, *generation);
  generation->note_mss();
  generation->inbound_refresh = model.dataplane.inbound_refresh;
  generation->unreachable_code = model.dataplane.unreachable.code;
  generation->unreachable_rate = model.dataplane.unreachable.rate;
  generation->max_fragments = model.dataplane.fragments.max;
  generation->fragment_timeout = model.dataplane.fragments.timeout;
  return generation;
}

}  // namespace lsn::control
