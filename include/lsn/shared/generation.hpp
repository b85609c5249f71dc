// The packet path's view of the configuration: one immutable generation at a time.
//
// The control thread builds a Generation from the validated model, publishes it whole, and frees it
// when no worker reads it any more; a worker reads the current one once per burst. Objects that
// sessions refer to (groups, pools) have stable ids: an object of the same name keeps its id from
// one generation to the next, an id that is not in use any more has `present == false`.
//
// A packet's way through it: its source, in the traffic domain of the interface that it came in on,
// is looked up in `maps[0]` (client networks) and gives a group; the group and protocol and
// destination port give an AppPolicy (pooling, mapping, filtering) and a TransportPolicy (timeouts,
// quotas); the group's pools give the NAT address; `routes` gives the next hop.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lsn/shared/bypass.hpp"
#include "lsn/shared/deterministic.hpp"
#include "lsn/shared/domain.hpp"
#include "lsn/shared/interval_map.hpp"
#include "lsn/shared/kernel_class.hpp"
#include "lsn/shared/link_addresses.hpp"
#include "lsn/shared/route_group.hpp"
#include "lsn/shared/shard_map.hpp"
#include "lsn/shared/static_mappings.hpp"
#include "lsn/state/enum_array.hpp"
#include "lsn/state/ticks.hpp"
#include "lsn/wire/ipv4_address.hpp"

namespace lsn::shared {

/// The protocols that are translated. The values index arrays; the first kPortProtocols have ports
/// (ICMP: identifiers) and are LSN44's, ESP is the ALG's.
enum class Protocol : std::uint8_t { kTcp, kUdp, kIcmp, kEsp };
inline constexpr std::size_t kProtocols = 4;
inline constexpr std::size_t kPortProtocols = 3;

template <class T>
using ByProtocol = state::EnumArray<Protocol, T, kProtocols>;
/// Of those with ports.
template <class T>
using ByPortProtocol = state::EnumArray<Protocol, T, kPortProtocols>;

/// The static mappings of one protocol with ports.
[[nodiscard]] constexpr StaticScope scope_of(Protocol protocol) {
  return static_cast<StaticScope>(protocol);
}

/// RFC 4787 section 4.1 (mapping) and 5 (filtering), with the configuration's names.
enum class Dependence : std::uint8_t { kEndpointIndependent, kAddress, kAddressPort };
enum class Pooling : std::uint8_t { kPaired, kRandom };

/// An appsprofile, or the defaults where none covers a packet.
struct AppPolicy {
  Pooling pooling = Pooling::kRandom;
  Dependence mapping = Dependence::kAddressPort;
  Dependence filtering = Dependence::kAddressPort;
  std::uint16_t tcp_mss = 0;  ///< the largest MSS of a SYN; 0: any

  friend bool operator==(const AppPolicy&, const AppPolicy&) = default;
};

/// A transportprofile, or the defaults.
struct TransportPolicy {
  state::TickDuration session_timeout = std::chrono::seconds{120};
  state::TickDuration fin_rst_timeout = std::chrono::seconds{30};
  state::TickDuration stun_timeout = std::chrono::seconds{600};
  state::TickDuration syn_idle_timeout = std::chrono::seconds{60};
  std::uint32_t port_quota = 0;           ///< NAT ports per subscriber; 0: no limit
  std::uint32_t session_quota = 0;        ///< sessions per subscriber; 0: no limit
  std::uint32_t session_rate = 0;         ///< that a subscriber begins per second; 0: no limit
  std::uint32_t session_burst = 0;        ///< of them at once
  std::uint32_t port_reserve = 0;         ///< the last ones of port_quota, kept for ...
  IntervalMap<bool> reserved_for{};       ///< ... these destination ports
  std::uint64_t group_session_limit = 0;  ///< over all shards; 0: no limit
  bool preserve_parity = false;
  bool preserve_range = false;
  bool syn_check = true;

  /// The ports that a subscriber may have when he wants another one for that destination port; not
  /// without port_quota.
  [[nodiscard]] std::uint32_t port_quota_for(std::uint16_t destination_port) const {
    const bool is_reserved = port_reserve == 0 || reserved_for.find(destination_port) != nullptr;
    return is_reserved ? port_quota : port_quota - port_reserve;
  }
};

/// Sessions of one group and protocol over all shards: counted only while a limit is set, by the
/// functions that create and remove sessions. Belongs to the group's name and outlives generations.
struct GroupUsage {
  ByProtocol<std::atomic<std::uint64_t>> sessions{};
};

/// The parameters of an ipsecalg profile (ipsec-alg.md section 2).
struct AlgProfile {
  std::string name;
  std::uint16_t id = 0;  ///< stable over generations, by name
  bool present = false;
  state::TickDuration ike_session_timeout = std::chrono::minutes{60};
  state::TickDuration esp_session_timeout = std::chrono::minutes{60};
  state::TickDuration gate_timeout = std::chrono::seconds{30};
  std::uint32_t phase2_hold = 64;
  std::uint32_t fresh_sequence = 256;
  std::uint32_t spi_candidates = 4;
  std::uint32_t esp_session_quota = 256;  ///< ESP sessions of one subscriber
  bool conn_failover = true;
  bool require_ike = false;
  bool server_spread = true;
  bool ike_preserve_port = false;
};

inline constexpr std::uint16_t kNoId = 0xFFFF;

struct Pool {
  std::string name;
  bool present = false;
  /// Wait before a freed NAT port is used again; at most `max_realloc_queue` ports wait (per pool
  /// and shard).
  state::TickDuration port_realloc_timeout{0};
  std::uint32_t max_realloc_queue = 65536;
  bool has_blocks = false;  ///< portblockallocation; not of a deterministic one
  std::vector<wire::Ipv4Range> ranges;
  /// Addresses of it that drain: what lives there goes on, and nothing new begins.
  IntervalMap<bool> draining;
  /// Its addresses by owner, addresses_of[shard]; but those that a static mapping has whole.
  std::vector<std::vector<wire::Ipv4Address>> addresses_of;

  [[nodiscard]] bool drains(wire::Ipv4Address address) const {
    return draining.find(address.value) != nullptr;
  }
};

/// Port blocks of a dynamic group.
struct BlockPolicy {
  std::uint32_t size = 0;  ///< ports; 0: none
  std::uint32_t most = 8;  ///< of a subscriber
  state::TickDuration timeout = std::chrono::seconds{120};
};

struct Group {
  std::string name;
  bool present = false;
  std::string client;
  std::vector<std::uint16_t> pools;  ///< stable ids
  /// By destination port; ICMP has one policy for all. No entry: AppPolicy{}.
  ByPortProtocol<IntervalMap<AppPolicy>> apps;
  ByPortProtocol<TransportPolicy> transport;
  /// By destination port, in place of TransportPolicy::session_timeout (appsattributes); ICMP has
  /// one for all. No entry: the transport policy's.
  ByPortProtocol<IntervalMap<state::TickDuration>> session_timeouts;
  std::uint16_t alg_profile = kNoId;  ///< index into Generation::alg_profiles
  std::uint8_t logging = 0;           ///< LogFlags; of a group that is gone as they were
  Bypass bypass;                      ///< what its subscribers reach without translation
  std::shared_ptr<GroupUsage> usage;
  BlockPolicy blocks;
  std::shared_ptr<const DeterministicMap> deterministic;  ///< nullptr: dynamic NAT
  /// By protocol: a timeout is (or may be) shorter than in the generation before, so the timers of
  /// existing sessions and mappings have to be armed again.
  ByPortProtocol<bool> shortened{};
  /// Addresses of all its pools by owner, in the pools' order: addresses_of[shard]. Without those
  /// that drain, which are ...
  std::vector<std::vector<wire::Ipv4Address>> addresses_of;
  /// ... here, for shards that have no others: subscribers who live there go on with them.
  std::vector<std::vector<wire::Ipv4Address>> draining_of;

  void add_addresses(const Pool& pool, std::size_t shard) {
    for (const wire::Ipv4Address address : pool.addresses_of[shard])
      (pool.drains(address) ? draining_of : addresses_of)[shard].push_back(address);
  }
  /// Where its new subscribers go: where it has addresses that do not drain. If all do nobody is
  /// moved.
  [[nodiscard]] ShardShares shares() const {
    const bool all_drain = std::all_of(addresses_of.begin(), addresses_of.end(),
                                       [](const auto& a) { return a.empty(); });
    const auto& counted = all_drain ? draining_of : addresses_of;
    ShardShares shares{};
    for (std::size_t shard = 0; shard < counted.size(); ++shard)
      shares[shard] = static_cast<std::uint32_t>(counted[shard].size());
    return shares;
  }
  [[nodiscard]] ShardSet draining_shards() const {
    ShardSet set = 0;
    for (std::size_t shard = 0; shard < draining_of.size(); ++shard)
      if (!draining_of[shard].empty()) set |= ShardSet{1} << shard;
    return set;
  }
  /// Whether all that a shard has for the group drains: it takes no new subscriber.
  [[nodiscard]] bool is_drained(std::size_t shard) const {
    return addresses_of[shard].empty() && !draining_of[shard].empty();
  }
  /// The addresses of a shard that a subscriber's next session may use.
  [[nodiscard]] const std::vector<wire::Ipv4Address>& usable_of(std::size_t shard) const {
    return addresses_of[shard].empty() ? draining_of[shard] : addresses_of[shard];
  }

  [[nodiscard]] AppPolicy app(Protocol protocol, std::uint16_t destination_port) const {
    const AppPolicy* found =
        apps[protocol].find(protocol == Protocol::kIcmp ? 0 : destination_port);
    return found == nullptr ? AppPolicy{} : *found;
  }
  /// How long a session may be idle; of TCP, an open one.
  [[nodiscard]] state::TickDuration session_timeout(Protocol protocol,
                                                    std::uint16_t destination_port) const {
    const state::TickDuration* found =
        session_timeouts[protocol].find(protocol == Protocol::kIcmp ? 0 : destination_port);
    return found == nullptr ? transport[protocol].session_timeout : *found;
  }
};

enum class Side : std::uint8_t { kInside, kOutside };

/// Index into Generation::interfaces.
using InterfaceId = std::uint16_t;
inline constexpr InterfaceId kNoInterface = 0xFFFF;
/// The configuration's limit, and the room of counters and tables by interface.
inline constexpr std::size_t kMaxInterfaces = 4096;
static_assert(kMaxInterfaces <= kNoInterface);
/// Devices that interfaces may lie on.
inline constexpr std::size_t kMaxDevices = 32;

/// A configured interface: an address on a device, untagged or in one VLAN. Its index in
/// Generation::interfaces never changes while lsnd runs (interfaces need a restart).
struct Interface {
  std::string name;
  Side side = Side::kInside;
  std::uint16_t device = 0;    ///< index of its device, shared by several VLANs
  std::uint16_t vlan = 0;      ///< 0: untagged
  std::uint16_t mtu = 1500;    ///< largest IP packet
  wire::Ipv4Prefix address;    ///< its own, with the network's length
  std::uint16_t tcp_mss = 0;   ///< the largest MSS of a SYN that comes in or leaves; 0: any
  DomainId td = 0;             ///< of what comes in by it, inside
  KernelRates kernel_rates{};  ///< of packets to its kernel interface, if it has one

  friend bool operator==(const Interface&, const Interface&) = default;
};

/// Where packets for a destination go.
struct Route {
  static constexpr std::uint32_t kOneWay = 0xFFFFFFFF;

  InterfaceId interface = 0;
  wire::Ipv4Address via;    ///< the gateway; value 0: the destination itself (a connected network)
  std::uint8_t length = 0;  ///< of its prefix, in bits
  std::uint32_t group = kOneWay;  ///< of Generation::route_groups: its ways; `via` is the first

  friend bool operator==(const Route&, const Route&) = default;
};

/// The order of Generation::gateways.
[[nodiscard]] constexpr bool by_interface_and_address(const Route& a, const Route& b) {
  return a.interface != b.interface ? a.interface < b.interface : a.via.value < b.via.value;
}

struct Generation {
  std::uint64_t number = 1;  ///< counts reloads
  ShardMaps maps;            ///< [0] present, [1] the one before (shard_map.hpp)
  std::shared_ptr<DisplacedSubscribers>
      displaced;  ///< the same in all generations; one shard: none
  NatAddressMap nat_addresses;
  std::vector<Group> groups;             ///< by stable id
  std::vector<Pool> pools;               ///< by stable id
  std::vector<AlgProfile> alg_profiles;  ///< by stable id
  std::vector<Interface> interfaces;
  std::shared_ptr<const StaticMappings> statics;  ///< nullptr: there are none
  /// Connected networks and configured prefixes, longest wins: of a domain those outside, and its
  /// own inside. A domain that no interface is in has none.
  ByDomain<IntervalMap<Route>> routes;
  std::vector<RouteGroup> route_groups;  ///< of configured routes with several ways
  /// The next hops of configured routes, in order, each once; without lengths and groups.
  std::vector<Route> gateways;
  /// Of the interfaces that a domain knows, likewise: index_link_addresses().
  ByDomain<LinkAddresses> link_addresses;

  bool clamps_mss = false;               ///< an interface or a group has a tcp_mss: note_mss()
  bool has_bypass = false;               ///< a group has rules
  bool inbound_refresh = true;           ///< RFC 4787 REQ-6: inbound packets refresh, too
  std::uint8_t unreachable_code = 13;    ///< RFC 5508 REQ-8, RFC 1812 section 5.2.7.1
  std::uint32_t unreachable_rate = 100;  ///< of those per second and worker
  std::uint32_t max_fragments = 4096;    ///< datagrams that wait for fragments, per worker
  state::TickDuration fragment_timeout = std::chrono::seconds{2};

  [[nodiscard]] const Group* group(std::uint16_t id) const {
    return id < groups.size() && groups[id].present ? &groups[id] : nullptr;
  }
  /// The group of a source address; nullptr: it is not of a configured client.
  [[nodiscard]] const Group* group_of(const InsideAddress& source) const {
    const std::uint16_t* const id = maps.empty() ? nullptr : maps.front()->group_of(source);
    return id == nullptr ? nullptr : group(*id);
  }
  /// The shard that NICs are told to bring the packets of a class to, if there is a map.
  [[nodiscard]] ShardId owner_of_class(HashedAddress by, unsigned index) const {
    const ShardMap& map = *maps.front();
    return by == HashedAddress::kSource ? map.inside()->owner_of(index * map.classes().unit())
                                        : nat_addresses.table().owners()[index];
  }
  /// Whether a static mapping has a NAT address whole: no other subscriber gets anything there.
  [[nodiscard]] bool is_static_whole(wire::Ipv4Address nat_ip) const {
    return statics != nullptr && statics->has_whole(nat_ip);
  }
  /// Whether an address is that of an interface which a domain knows.
  [[nodiscard]] bool is_own_address(const InsideAddress& address) const {
    return link_addresses[address.td].find(address.address) == LinkAddress::kOwn;
  }
  /// Whether a domain knows an interface: those outside all do.
  [[nodiscard]] static bool knows(DomainId td, const Interface& on) {
    return on.side == Side::kOutside || on.td == td;
  }

  /// After `interfaces` and `groups` have been set.
  void note_mss() {
    const auto has_limit = [](const auto& policies) {
      return std::any_of(policies.ranges().begin(), policies.ranges().end(),
                         [](const auto& range) { return range.value.tcp_mss != 0; });
    };
    clamps_mss = std::any_of(interfaces.begin(), interfaces.end(),
                             [](const Interface& on) { return on.tcp_mss != 0; }) ||
                 std::any_of(groups.begin(), groups.end(), [&has_limit](const Group& group) {
                   return group.present && has_limit(group.apps[Protocol::kTcp]);
                 });
  }

  /// Domain 0 and those of interfaces, ascending. (Thousands of them, each with all interfaces, are
  /// gone through in some milliseconds.)
  [[nodiscard]] std::vector<DomainId> domains() const {
    std::vector<DomainId> all{0};
    for (const Interface& on : interfaces) all.push_back(on.td);
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
  }

  /// After `interfaces` has been set: the routes that domains know.
  void index_routes(const std::vector<IntervalMap<Route>::Range>& all) {
    std::map<DomainId, std::vector<IntervalMap<Route>::Range>> known;
    for (const DomainId td : domains())
      for (const auto& range : all)
        if (knows(td, interfaces[range.value.interface])) known[td].push_back(range);
    routes = {};
    for (auto& [td, ranges] : known) routes.make(td) = IntervalMap<Route>(std::move(ranges));
  }

  /// After `interfaces` has been set.
  void index_link_addresses() {
    link_addresses = {};
    for (const DomainId td : domains()) {
      std::vector<std::pair<wire::Ipv4Address, LinkAddress>> all;
      for (const Interface& on : interfaces) {
        if (!knows(td, on)) continue;
        all.emplace_back(on.address.address, LinkAddress::kOwn);
        if (on.address.length >= 31) continue;
        all.emplace_back(on.address.first(), LinkAddress::kBroadcast);
        all.emplace_back(on.address.last(), LinkAddress::kBroadcast);
      }
      link_addresses.make(td) = LinkAddresses(all);
    }
  }
};

/// The shards of subscribers with static mappings: those of their NAT addresses. The rules see to
/// it that a subscriber's are one shard's (control/config/rules).
[[nodiscard]] inline ByDomain<IntervalMap<ShardId>> shards_of_static(
    const StaticMappings& statics, const NatAddressMap& nat_addresses) {
  std::map<DomainId, std::vector<IntervalMap<ShardId>::Range>> all;
  for (const StaticMapping& mapping : statics.all()) {
    const NatAddressPlace* const place = nat_addresses.find(mapping.nat_ip);
    const std::uint32_t subscriber = mapping.inside_ip.value;
    auto& pinned = all[mapping.td];
    if (place == nullptr || (!pinned.empty() && pinned.back().last == subscriber)) continue;
    if (!pinned.empty() && pinned.back().last + 1 == subscriber &&
        pinned.back().value == place->owner)
      pinned.back().last = subscriber;
    else
      pinned.push_back({subscriber, subscriber, place->owner});
  }
  ByDomain<IntervalMap<ShardId>> shards;
  for (auto& [td, pinned] : all) shards.make(td) = IntervalMap<ShardId>(std::move(pinned));
  return shards;
}

/// The last step of building a generation: its shard map, and the state that it takes from the one
/// before (nullptr: it is the first one). `displaced` is created unless the generation has it
/// already.
inline void follow(Generation& generation, const Generation* before, unsigned shards,
                   std::shared_ptr<const ShardMap> map) {
  generation.maps = {std::move(map)};
  if (before == nullptr) {
    if (shards > 1 && generation.displaced == nullptr)
      generation.displaced = std::make_shared<DisplacedSubscribers>(shards);
    return;
  }
  generation.displaced = before->displaced;
  if (!before->maps.empty() && !same_owners(*generation.maps.front(), *before->maps.front()))
    generation.maps.push_back(before->maps.front());
  for (std::size_t id = 0; id < generation.groups.size(); ++id) {
    Group& group = generation.groups[id];
    group.shortened = {};
    const Group* former = before->group(static_cast<std::uint16_t>(id));
    if (!group.present || former == nullptr) continue;
    for (std::size_t p = 0; p < kPortProtocols; ++p) {
      const TransportPolicy& now = group.transport[p];
      const TransportPolicy& then = former->transport[p];
      group.shortened[p] = now.session_timeout < then.session_timeout ||
                           now.fin_rst_timeout < then.fin_rst_timeout ||
                           now.stun_timeout < then.stun_timeout ||
                           now.syn_idle_timeout < then.syn_idle_timeout ||
                           group.session_timeouts[p] != former->session_timeouts[p];
    }
  }
}

}  // namespace lsn::shared
