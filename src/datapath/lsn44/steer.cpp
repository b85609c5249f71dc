#include "lsn/datapath/lsn44/steer.hpp"

#include <algorithm>
#include <bit>

#include "lsn/datapath/l3/icmp_send.hpp"
#include "lsn/datapath/lsn44/bypass.hpp"
#include "lsn/datapath/lsn44/lsn44.hpp"
#include "lsn/datapath/lsn44/subscriber.hpp"

namespace lsn::datapath::lsn44 {
namespace {

/// Values of Packet::handoffs, in the order in which they come: to no shard for its subscriber's
/// sake; to some of those that may have it (visited_shards); all of these do not, it goes to its
/// owner; that one has another owner in its own generation, an earlier or a later one, which serves
/// it, or none does.
constexpr std::uint8_t kNotSearched = 0, kSearching = 1, kToOwner = 2, kToLast = 3;

/// Whether a packet of a subscriber that may be displaced is this shard's, as it has state of its.
/// One that is pinned begins nothing at its former shard, which keeps the sessions that it has.
bool has_state_of(const Lsn44& shard, const Packet& packet, const InsideAddress& subscriber,
                  const ShardMap& map, std::uint16_t group) {
  if (packet.kind == PacketKind::kFlow && map.is_pinned(subscriber, group))
    return shard.lsn44.outbound.find(packet.key, packet.hash) != state::kNone;
  return find_subscriber(shard, subscriber) != state::kNone;
}

}  // namespace

Verdict check_outbound_addresses(const Generation& generation, const Packet& packet) {
  if (!is_host_address(packet.ip->source)) return Verdict::drop(DropReason::kIpSourceInvalid);
  if (is_own_address(generation, packet, packet.ip->source) ||
      generation.nat_addresses.find(wire::Ipv4Address{packet.ip->source}) != nullptr)
    return Verdict::drop(DropReason::kSpoofedNatSource);
  if (!is_host_address(packet.ip->destination))
    return Verdict::drop(DropReason::kIpDestinationInvalid);
  return Verdict::next();
}

Verdict check_inbound_addresses(const Generation& generation, const Packet& packet) {
  if (!is_host_address(packet.ip->destination))
    return Verdict::drop(DropReason::kIpDestinationInvalid);
  if (packet.hairpin) return Verdict::next();
  if (!is_host_address(packet.ip->source)) return Verdict::drop(DropReason::kIpSourceInvalid);
  // RFC 2827: a packet from outside with a source of the NAT's or a client's is forged.
  const wire::Ipv4Address source{packet.ip->source};
  if (generation.nat_addresses.find(source) != nullptr ||
      is_own_address(generation, packet, packet.ip->source))
    return Verdict::drop(DropReason::kSpoofedNatSource);
  // Those of another domain are no clients' outside: is_forged_neighbour() sees to their own one.
  if (generation.maps.front()->group_of({source}) != nullptr)
    return Verdict::drop(DropReason::kSpoofedClientSource);
  return Verdict::next();
}

Verdict deliver_checked(Lsn44& shard, Packet& packet) {
  if (packet.kind == PacketKind::kFragment) shard.counters.fragments_received.add();
  if (packet.side == Side::kOutside)
    if (const Verdict checked = check_inbound_addresses(*shard.generation, packet);
        !checked.is_next())
      return checked;
  return deliver_locally(shard, packet);
}

bool is_forged_neighbour(const Generation& generation, DomainId td, const Packet& packet) {
  return td != 0 && !packet.hairpin &&
         generation.maps.front()->group_of(in_domain(td, packet.ip->source)) != nullptr;
}

Verdict steer_outbound(Lsn44& shard, Packet& packet, const InsideAddress& subscriber,
                       std::uint16_t& group) {
  const Generation& generation = *shard.generation;
  const ShardMap& map = *generation.maps.front();
  const std::uint16_t* found = map.group_of(subscriber);
  if (found == nullptr || generation.group(*found) == nullptr)
    return Verdict::drop(DropReason::kNotAClient);
  group = *found;
  if (shard.shards == 1) return Verdict::next();
  const ShardId owner = map.owner_of(subscriber, group);
  if (owner == kNoShard) return Verdict::drop(DropReason::kPoolExhausted);
  const ShardSet able = map.shards_of(group);
  const ShardSet self = ShardSet{1} << shard.id;

  // A shard that has its state from an earlier map serves it; but not without addresses of the
  // group: all that such a shard still has is void.
  ShardSet others = 0;
  if (generation.displaced != nullptr) {
    others = generation.displaced->shards_of(subscriber.address);
    if (generation.maps.size() > 1 && !generation.displaced->are_all_known(generation.number))
      if (const ShardId former = generation.maps[1]->owner_of(subscriber); former != kNoShard)
        others |= ShardSet{1} << former;
    others &= able & ~(ShardSet{1} << owner);
  }
  const ShardSet visited =
      (packet.handoffs == kNotSearched ? ShardSet{0} : visited_shards(packet.mbuf)) | self;
  const auto hand_to = [&](ShardId to, std::uint8_t handoffs) {
    packet.handoffs = handoffs;
    visited_shards(packet.mbuf) = visited;
    return Verdict::handoff(to);
  };
  if (others != 0) {
    const bool can_serve = ((others | ShardSet{1} << owner) & self) != 0;
    if (can_serve && has_state_of(shard, packet, subscriber, map, group)) return Verdict::next();
    // Shards that work with different generations name different ones: the packet goes to each
    // once.
    if (const ShardSet left = others & ~visited; left != 0)
      return hand_to(static_cast<ShardId>(std::countr_zero(left)),
                     std::max(packet.handoffs, kSearching));
  }
  if (owner == shard.id) return Verdict::next();
  if (packet.handoffs < kToLast)
    return hand_to(owner, packet.handoffs < kToOwner ? kToOwner : kToLast);
  return (able & self) != 0 && !map.is_pinned(subscriber, group)
             ? Verdict::next()
             : Verdict::drop(DropReason::kHandoffLoop);
}

Verdict steer_inbound(const Context& shard, wire::Be32 nat_ip) {
  const NatAddressPlace* place = shard.generation->nat_addresses.find(wire::Ipv4Address{nat_ip});
  if (place == nullptr) return Verdict::drop(DropReason::kNotForUs);
  return place->owner == shard.id ? Verdict::next() : Verdict::handoff(place->owner);
}

Verdict find_owner(Lsn44& shard, Packet& packet) {
  const bool inside = packet.side == Side::kInside;
  const Verdict checked = inside ? check_outbound_addresses(*shard.generation, packet)
                                 : check_inbound_addresses(*shard.generation, packet);
  if (!checked.is_next()) return checked;
  std::uint16_t group = kNoId;
  return inside ? steer_outbound(shard, packet,
                                 in_domain_of(*shard.generation, packet, packet.ip->source), group)
                : steer_inbound(shard, packet.ip->destination);
}

Verdict steer(Lsn44& shard, Packet& packet) {
  if ((packet.ip->ttl <= 1 && !packet.hairpin) ||
      is_own_address(*shard.generation, packet, packet.ip->destination) ||
      is_bypassed(*shard.generation, packet))
    return Verdict::next();
  const Verdict verdict = find_owner(shard, packet);
  return verdict.kind() == Verdict::Kind::kHandoff ? verdict : Verdict::next();
}

}  // namespace lsn::datapath::lsn44
