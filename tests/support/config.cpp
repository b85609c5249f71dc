#include "support/config.hpp"

#include <algorithm>
#include <bit>
#include <map>
#include <set>

namespace lsn::test {

using namespace shared;

namespace {

wire::Ipv4Address address(Ip ip) {
  return wire::Ipv4Address{ip.value};
}

/// Slots for the objects by name: those that were there keep theirs.
template <class Object, class Configured>
std::map<std::string, std::uint16_t> assign(std::vector<Object>& objects,
                                            const std::vector<Object>* before,
                                            const std::vector<Configured>& configs) {
  if (before != nullptr) objects = *before;
  for (Object& object : objects) object.present = false;
  std::map<std::string, std::uint16_t> ids;
  for (const Configured& config : configs) {
    auto found = std::find_if(objects.begin(), objects.end(),
                              [&](const Object& o) { return o.name == config.name; });
    if (found == objects.end()) found = objects.emplace(objects.end());
    found->name = config.name;
    found->present = true;
    ids[config.name] = static_cast<std::uint16_t>(found - objects.begin());
  }
  return ids;
}

}  // namespace

Network::Network(std::string_view text) {
  if (const auto domain = text.find(" td "); domain != text.npos) {
    td = static_cast<shared::DomainId>(std::stoul(std::string(text.substr(domain + 4))));
    text = text.substr(0, domain);
  }
  if (const auto slash = text.find('/'); slash != text.npos) {
    const int length = std::stoi(std::string(text.substr(slash + 1)));
    const std::uint32_t mask = length == 0 ? 0 : ~std::uint32_t{0} << (32 - length);
    const Ip ip{text.substr(0, slash)};
    first = Ip{ip.value & mask};
    last = Ip{ip.value | ~mask};
  } else if (const auto dash = text.find('-'); dash != text.npos) {
    first = Ip{text.substr(0, dash)};
    last = Ip{text.substr(dash + 1)};
  } else {
    first = last = Ip{text};
  }
}

Ip InterfaceConfig::ip() const {
  return Ip{std::string_view{address}.substr(0, address.find('/'))};
}
unsigned InterfaceConfig::length() const {
  return static_cast<unsigned>(std::stoul(address.substr(address.find('/') + 1)));
}
Network InterfaceConfig::network() const {
  return Network{std::string_view{address}};
}

Config Config::standard() {
  Config config;
  config.interfaces = {{"inside", Side::kInside, "192.0.2.1/24", 0},
                       {"outside", Side::kOutside, "198.51.100.1/24", 1}};
  config.routes = {{"0.0.0.0/0", "198.51.100.10"}};
  config.add_pool("POOL", {"203.0.113.3-203.0.113.9"});
  config.add_group("GROUP", {"192.0.2.0/24"}, {"POOL"});
  return config;
}

Config Config::with_alg() {
  Config config = standard();
  config.pool().addresses = {"203.0.113.3"};
  AlgProfile profile;
  profile.name = "ALG";
  config.alg_profiles = {profile};
  config.group().alg = "ALG";
  config.group().app(Protocol::kUdp, {.pooling = Pooling::kPaired}, 500, 500);
  config.group().app(Protocol::kUdp, {.pooling = Pooling::kPaired}, 4500, 4500);
  return config;
}

GroupConfig& Config::add_group(std::string name, std::vector<Network> clients,
                               std::vector<std::string> pool_names) {
  GroupConfig group;
  group.name = std::move(name);
  group.clients = std::move(clients);
  group.pools = std::move(pool_names);
  return groups.emplace_back(std::move(group));
}

PoolConfig& Config::add_pool(std::string name, std::vector<Network> addresses) {
  PoolConfig pool;
  pool.name = std::move(name);
  pool.addresses = std::move(addresses);
  return pools.emplace_back(std::move(pool));
}

Config& Config::add_static(Protocol protocol, Endpoint inside, Endpoint nat, Ip destination) {
  statics.push_back(
      {shared::scope_of(protocol), inside.ip, inside.port, nat.ip, nat.port, destination});
  return *this;
}

Config& Config::add_one_to_one(Ip inside, Ip nat, Ip destination) {
  statics.push_back({shared::StaticScope::kAll, inside, 0, nat, 0, destination});
  return *this;
}

void Config::remove_group(const std::string& name) {
  std::erase_if(groups, [&](const GroupConfig& g) { return g.name == name; });
}

void Config::remove_pool(const std::string& name) {
  std::erase_if(pools, [&](const PoolConfig& p) { return p.name == name; });
  for (GroupConfig& group : groups) std::erase(group.pools, name);
}

unsigned Config::devices() const {
  unsigned count = 0;
  for (const InterfaceConfig& interface : interfaces) count = std::max(count, interface.device + 1);
  return count;
}

bool Config::is_client(Ip ip, shared::DomainId td) const {
  return std::any_of(groups.begin(), groups.end(), [&](const GroupConfig& g) {
    return std::any_of(g.clients.begin(), g.clients.end(),
                       [&](const Network& n) { return n.td == td && n.contains(ip); });
  });
}

bool Config::is_client(Ip ip) const {
  return std::any_of(groups.begin(), groups.end(), [&](const GroupConfig& g) {
    return std::any_of(g.clients.begin(), g.clients.end(),
                       [&](const Network& n) { return n.contains(ip); });
  });
}

bool Config::is_bypassed(Ip client, Ip destination) const {
  return std::any_of(groups.begin(), groups.end(), [&](const GroupConfig& g) {
    return std::any_of(g.clients.begin(), g.clients.end(),
                       [&](const Network& n) { return n.contains(client); }) &&
           std::any_of(g.bypass.begin(), g.bypass.end(), [&](const shared::BypassRule& rule) {
             return rule.destinations.contains(address(destination));
           });
  });
}

bool Config::is_nat_address(Ip ip) const {
  return std::any_of(pools.begin(), pools.end(), [&](const PoolConfig& p) {
    return std::any_of(p.addresses.begin(), p.addresses.end(),
                       [&](const Network& n) { return n.contains(ip); });
  });
}

int Config::interface_of(Ip ip) const {
  for (std::size_t i = 0; i < interfaces.size(); ++i)
    if (interfaces[i].ip() == ip) return static_cast<int>(i);
  return -1;
}

namespace {

/// Client networks by domain.
using Networks = std::map<shared::DomainId, std::vector<IntervalMap<std::uint16_t>::Range>>;
shared::ClientNetworks laid_out(const Networks& networks) {
  shared::ClientNetworks all;
  for (const auto& [td, ranges] : networks) all.make(td) = IntervalMap<std::uint16_t>(ranges);
  return all;
}

/// The map of a first generation. A fuzzer makes the same few again and again.
std::shared_ptr<const ShardMap> first_map(const Networks& networks,
                                          const std::vector<shared::ShardShares>& shares) {
  using Key =
      std::pair<std::vector<std::array<std::uint32_t, 4>>, std::vector<shared::ShardShares>>;
  static std::map<Key, std::shared_ptr<const ShardMap>> known;
  constexpr std::size_t kMost = 64;
  Key key;
  for (const auto& [td, ranges] : networks)
    for (const auto& range : ranges)
      key.first.push_back({td, range.first, range.last, range.value});
  key.second = shares;
  if (known.size() == kMost) known.clear();
  auto& map = known[std::move(key)];
  if (map == nullptr) map = std::make_shared<const ShardMap>(laid_out(networks), shares, nullptr);
  return map;
}

/// Its map, which is the group's from now on, and where its subscribers belong.
shared::Pins::OfGroup deterministic(const GroupConfig& from, const Generation& generation,
                                    Group& group) {
  std::vector<shared::InsideRange> subscribers;
  std::vector<wire::Ipv4Range> addresses;
  for (const Network& n : from.clients)
    subscribers.push_back({{address(n.first), address(n.last)}, n.td});
  for (const std::uint16_t pool : group.pools)
    addresses.insert(addresses.end(), generation.pools[pool].ranges.begin(),
                     generation.pools[pool].ranges.end());
  group.deterministic = std::make_shared<const shared::DeterministicMap>(
      subscribers, addresses, from.blocks.size, *from.deterministic);
  shared::Pins::OfGroup pins{group.deterministic, {}};
  const shared::AddressRuns& nat = group.deterministic->nat_addresses();
  for (std::uint64_t n = 0; n < nat.count(); ++n)
    pins.owners.push_back(generation.nat_addresses.find(nat.at(n).address)->owner);
  return pins;
}

}  // namespace

std::unique_ptr<Generation> build(const Config& config, unsigned shards, const Generation* before,
                                  std::shared_ptr<shared::DisplacedSubscribers> displaced) {
  auto generation = std::make_unique<Generation>();
  generation->displaced = std::move(displaced);
  Generation& g = *generation;
  g.number = before == nullptr ? 1 : before->number + 1;

  if (!config.statics.empty()) {
    std::vector<StaticMapping> statics;
    for (const StaticConfig& from : config.statics)
      statics.push_back({address(from.inside_ip), address(from.nat_ip), address(from.destination),
                         static_cast<std::uint16_t>(from.inside_port),
                         static_cast<std::uint16_t>(from.nat_port), from.scope, from.nat_port == 0,
                         from.td});
    g.statics = std::make_shared<const StaticMappings>(std::move(statics));
  }

  const auto pool_ids = assign(g.pools, before == nullptr ? nullptr : &before->pools, config.pools);
  std::vector<PoolRanges> ranges;
  for (Pool& pool : g.pools) {
    pool.ranges.clear();
    pool.addresses_of.assign(shards, {});
  }
  for (const PoolConfig& from : config.pools) {
    Pool& pool = g.pools[pool_ids.at(from.name)];
    pool.port_realloc_timeout = from.realloc_timeout;
    pool.max_realloc_queue = from.realloc_queue;
    pool.has_blocks = from.has_blocks;
    for (const Network& n : from.addresses)
      pool.ranges.push_back({address(n.first), address(n.last)});
    std::vector<IntervalMap<bool>::Range> draining;
    for (const Network& n : from.drain) draining.push_back({n.first.value, n.last.value, true});
    pool.draining = IntervalMap<bool>(std::move(draining));
    ranges.push_back({pool_ids.at(from.name), pool.ranges});
  }
  g.nat_addresses =
      NatAddressMap(ranges, shards, before == nullptr ? nullptr : &before->nat_addresses);
  for (const auto& range : g.nat_addresses.all())
    if (!g.is_static_whole(wire::Ipv4Address{range.first}))
      g.pools[range.value.pool].addresses_of[range.value.owner].push_back(
          wire::Ipv4Address{range.first});

  const auto alg_ids = assign(g.alg_profiles, before == nullptr ? nullptr : &before->alg_profiles,
                              config.alg_profiles);
  for (const AlgProfile& from : config.alg_profiles) {
    const std::uint16_t id = alg_ids.at(from.name);
    g.alg_profiles[id] = from;
    g.alg_profiles[id].id = id;
    g.alg_profiles[id].present = true;
  }

  const auto group_ids =
      assign(g.groups, before == nullptr ? nullptr : &before->groups, config.groups);
  for (Group& group : g.groups) {
    group.pools.clear();
    group.addresses_of.assign(shards, {});
    group.draining_of.assign(shards, {});
  }
  Networks networks;
  std::vector<ShardShares> shares(g.groups.size());
  std::vector<ShardSet> draining(g.groups.size());
  shared::Pins pins;
  for (const GroupConfig& from : config.groups) {
    const std::uint16_t id = group_ids.at(from.name);
    Group& group = g.groups[id];
    group.client = from.name;
    group.transport = from.transport;
    group.logging = static_cast<std::uint8_t>(from.logging);
    group.bypass = Bypass(from.bypass);
    g.has_bypass = g.has_bypass || !from.bypass.empty();
    group.alg_profile = from.alg.empty() ? kNoId : alg_ids.at(from.alg);
    if (group.usage == nullptr) group.usage = std::make_shared<GroupUsage>();
    for (const std::string& name : from.pools) {
      group.pools.push_back(pool_ids.at(name));
      for (unsigned shard = 0; shard < shards; ++shard)
        group.add_addresses(g.pools[pool_ids.at(name)], shard);
    }
    shares[id] = group.shares();
    draining[id] = group.draining_shards();
    for (std::size_t p = 0; p < kPortProtocols; ++p) {
      std::vector<IntervalMap<AppPolicy>::Range> apps;
      for (const GroupConfig::App& app : from.apps)
        if (static_cast<std::size_t>(app.protocol) == p)
          apps.push_back({app.first, app.last, app.policy});
      group.apps[p] = IntervalMap<AppPolicy>(std::move(apps));
      std::vector<IntervalMap<state::TickDuration>::Range> timeouts;
      for (const GroupConfig::Timeout& idle : from.timeouts)
        if (static_cast<std::size_t>(idle.protocol) == p)
          timeouts.push_back({idle.first, idle.last, idle.timeout});
      group.session_timeouts[p] = IntervalMap<state::TickDuration>(std::move(timeouts));
    }
    for (const Network& n : from.clients)
      networks[n.td].push_back({n.first.value, n.last.value, id});
    group.blocks = from.deterministic ? shared::BlockPolicy{} : from.blocks;
    group.deterministic = nullptr;
    if (from.deterministic) pins.deterministic[id] = deterministic(from, g, group);
  }

  const ShardMap* const former =
      before == nullptr || before->maps.empty() ? nullptr : before->maps.front().get();
  if (g.statics != nullptr && shards > 1)
    pins.subscribers = shards_of_static(*g.statics, g.nat_addresses);
  const bool is_plain =
      former == nullptr && pins.empty() &&
      std::all_of(draining.begin(), draining.end(), [](ShardSet set) { return set == 0; });
  follow(g, before, shards,
         is_plain ? first_map(networks, shares)
                  : std::make_shared<const ShardMap>(laid_out(networks), shares, former,
                                                     kFinestClasses, std::move(pins), draining));

  std::vector<IntervalMap<Route>::Range> routes;
  const auto add_route = [&](const Network& n, std::size_t interface, Ip via) {
    const auto length =
        static_cast<std::uint8_t>(32 - std::bit_width(n.first.value ^ n.last.value));
    routes.push_back({n.first.value, n.last.value,
                      Route{static_cast<InterfaceId>(interface), address(via), length}});
  };
  for (std::size_t i = 0; i < config.interfaces.size(); ++i) {
    const InterfaceConfig& from = config.interfaces[i];
    Interface interface;
    interface.name = from.name;
    interface.side = from.side;
    interface.device = static_cast<std::uint16_t>(from.device);
    interface.vlan = static_cast<std::uint16_t>(from.vlan);
    interface.mtu = static_cast<std::uint16_t>(from.mtu);
    interface.address = {address(from.ip()), from.length()};
    interface.tcp_mss = static_cast<std::uint16_t>(from.tcp_mss);
    interface.td = from.td;
    interface.kernel_rates = from.kernel_rates;
    g.interfaces.push_back(interface);
    add_route(from.network(), i, Ip{});
  }
  std::map<std::ptrdiff_t, shared::RouteHop> firsts;  // by place in `routes`
  for (const RouteConfig& route : config.routes)
    for (std::size_t i = 0; i < config.interfaces.size(); ++i)
      if (config.interfaces[i].network().contains(route.via) &&
          (config.interfaces[i].side == Side::kInside ? config.interfaces[i].td == route.td
                                                      : route.td == 0)) {
        const Network to{std::string_view{route.prefix}};
        const auto same = std::find_if(routes.begin(), routes.end(), [&](const auto& other) {
          const InterfaceConfig& by = config.interfaces[other.value.interface];
          return other.first == to.first.value && other.last == to.last.value &&
                 other.value.via.value != 0 && by.side == config.interfaces[i].side &&
                 by.td == config.interfaces[i].td;
        });
        const shared::RouteHop hop{static_cast<std::uint16_t>(i),
                                   static_cast<std::uint16_t>(route.weight), address(route.via),
                                   route.is_backup, route.is_tracked};
        g.gateways.push_back({hop.interface, hop.via});
        if (same == routes.end()) {
          add_route(to, i, route.via);
          firsts[routes.size() - 1] = hop;
          continue;
        }
        if (same->value.group == Route::kOneWay) {
          same->value.group = static_cast<std::uint32_t>(g.route_groups.size());
          g.route_groups.push_back({1, {firsts.at(same - routes.begin())}});
        }
        shared::RouteGroup& ways = g.route_groups[same->value.group];
        ways.hops.at(ways.count++) = hop;
      }
  std::sort(g.gateways.begin(), g.gateways.end(), shared::by_interface_and_address);
  g.gateways.erase(std::unique(g.gateways.begin(), g.gateways.end()), g.gateways.end());
  g.index_routes(routes);
  g.index_link_addresses();

  g.inbound_refresh = config.inbound_refresh;
  g.unreachable_code = static_cast<std::uint8_t>(config.unreachable_code);
  g.unreachable_rate = config.unreachable_rate;
  g.fragment_timeout = config.fragment_timeout;
  g.note_mss();
  return generation;
}

}  // namespace lsn::test
