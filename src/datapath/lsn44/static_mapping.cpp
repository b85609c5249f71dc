#include "lsn/datapath/lsn44/static_mapping.hpp"

#include <algorithm>

#include "lsn/datapath/lsn44/lsn44.hpp"
#include "lsn/datapath/lsn44/ports.hpp"
#include "lsn/datapath/lsn44/session.hpp"

namespace lsn::datapath::lsn44 {
namespace {

/// The other side's port: a mapping of all ports keeps them.
wire::Be16 port_of(const StaticMapping& mapping, wire::Be16 given, std::uint16_t other) {
  return mapping.is_whole ? given : wire::Be16::of(other);
}

bool has_port(Lsn44& shard, Protocol protocol, const wire::Endpoint& nat) {
  const NatAddress* const address = find_nat_address(shard, nat.address);
  return address != nullptr && address->statics[protocol].has(nat.port.host());
}

/// Whether a mapping for all protocols has all ports of its address: nothing of another subscriber
/// is left there, so that what has no ports can only be for this one.
bool has_whole_address(Lsn44& shard, wire::Be32 nat_ip) {
  const NatAddress* const address = find_nat_address(shard, nat_ip);
  return address != nullptr && address->has_all_static_ports();
}

}  // namespace

std::optional<StaticMatch> match_inside(Lsn44& shard, Protocol protocol,
                                        const InsideAddress& inside, wire::Be16 port,
                                        wire::Be32 remote) {
  const StaticMappings* const statics = shard.generation->statics.get();
  if (statics == nullptr) return std::nullopt;
  const StaticMapping* const found =
      statics->find_inside(scope_of(protocol), inside, port.host(), wire::Ipv4Address{remote});
  if (found == nullptr) return std::nullopt;
  const wire::Endpoint nat{found->nat_ip.be(), port_of(*found, port, found->nat_port)};
  return StaticMatch{nat, found->td, found->scope == StaticScope::kAll,
                     has_port(shard, protocol, nat), found->destination.value != 0};
}

std::optional<StaticMatch> match_nat(Lsn44& shard, Protocol protocol, const wire::Endpoint& nat,
                                     wire::Be32 remote) {
  const StaticMappings* const statics = shard.generation->statics.get();
  if (statics == nullptr) return std::nullopt;
  const StaticMapping* const found =
      statics->find_nat(scope_of(protocol), wire::Ipv4Address{nat.address}, nat.port.host(),
                        wire::Ipv4Address{remote});
  if (found == nullptr) return std::nullopt;
  return StaticMatch{{found->inside_ip.be(), port_of(*found, nat.port, found->inside_port)},
                     found->td,
                     found->scope == StaticScope::kAll,
                     has_port(shard, protocol, nat),
                     found->destination.value != 0};
}

std::optional<StaticMatch> match_inside(Lsn44& shard, const InsideAddress& inside,
                                        wire::Be32 remote) {
  const StaticMappings* const statics = shard.generation->statics.get();
  if (statics == nullptr || !statics->has_one_to_one()) return std::nullopt;
  const StaticMapping* const found = statics->find_inside(inside, wire::Ipv4Address{remote});
  if (found == nullptr) return std::nullopt;
  const wire::Be32 nat = found->nat_ip.be();
  return StaticMatch{
      {nat, {}}, found->td, true, has_whole_address(shard, nat), found->destination.value != 0};
}

std::optional<StaticMatch> match_nat(Lsn44& shard, wire::Be32 nat, wire::Be32 remote) {
  const StaticMappings* const statics = shard.generation->statics.get();
  if (statics == nullptr || !statics->has_one_to_one()) return std::nullopt;
  const StaticMapping* const found =
      statics->find_nat(wire::Ipv4Address{nat}, wire::Ipv4Address{remote});
  if (found == nullptr) return std::nullopt;
  return StaticMatch{{found->inside_ip.be(), {}},
                     found->td,
                     true,
                     has_whole_address(shard, nat),
                     found->destination.value != 0};
}

bool is_static_still(const Lsn44& shard, const Session& session) {
  const StaticMappings* const statics = shard.generation->statics.get();
  if (statics == nullptr) return false;
  const StaticMapping* const found =
      statics->find_inside(scope_of(session.protocol), inside_of(shard, session),
                           session.inside_port.host(), wire::Ipv4Address{session.remote_ip});
  return found != nullptr && found->nat_ip == wire::Ipv4Address{session.nat_ip} &&
         port_of(*found, session.inside_port, found->nat_port) == session.nat_port;
}

void pair_by_static(Lsn44& shard, Subscriber& subscriber, const Group& group) {
  const Generation& generation = *shard.generation;
  if (generation.statics == nullptr || subscriber.paired_ip.raw() != 0) return;
  for (const StaticMapping& mapping : generation.statics->of_subscriber(subscriber.inside())) {
    const NatAddressPlace* const place = generation.nat_addresses.find(mapping.nat_ip);
    if (place == nullptr || place->owner != shard.id ||
        generation.is_static_whole(mapping.nat_ip) ||
        generation.pools[place->pool].drains(mapping.nat_ip) ||
        std::find(group.pools.begin(), group.pools.end(), place->pool) == group.pools.end())
      continue;
    pair_with(shard, subscriber, mapping.nat_ip.be());
    return;
  }
}

}  // namespace lsn::datapath::lsn44
