#include <algorithm>
#include <bit>

#include "lsn/datapath/ipsec_alg/attribution.hpp"
#include "lsn/datapath/l3/icmp_send.hpp"
#include "lsn/datapath/lsn44/lifecycle.hpp"
#include "lsn/datapath/lsn44/stages.hpp"
#include "lsn/datapath/lsn44/translate.hpp"
#include "lsn/datapath/pipeline.hpp"

namespace lsn::datapath::lsn44 {
namespace {

using F = SessionFlags;
using wire::TcpHeader;

/// Values of Packet::asked, in the order in which they come: nobody was asked; some were
/// (asked_shards); all that may have the subscriber were, the packet goes to its owner; that one
/// has another owner in its own generation, an earlier or a later one, who serves it, or nobody
/// does.
constexpr std::uint8_t kNobodyAsked = 0, kAsking = 1, kToOwner = 2, kToLast = 3;

/// Whether a sender is told that its packet cannot be translated (RFC 6888 REQ-11, RFC 5508
/// REQ-8): for everything that lies with us and may be otherwise later.
bool is_resource_shortage(DropReason reason) {
  switch (reason) {
    case DropReason::kPoolExhausted:
    case DropReason::kPortsExhausted:
    case DropReason::kPortQuota:
    case DropReason::kSessionQuota:
    case DropReason::kGroupSessionLimit:
    case DropReason::kSubscriberTableFull:
    case DropReason::kMappingTableFull:
    case DropReason::kSessionTableFull:
    case DropReason::kFlowTableFull:
    case DropReason::kGateQuota:
    case DropReason::kGateTableFull:
    case DropReason::kEspSessionQuota:
    case DropReason::kEspSessionTableFull:
      return true;
    default:
      return false;
  }
}

/// Makes a session for the first packet of a flow from inside, which has none.
std::expected<SessionId, DropReason> open(Shard& shard, const Packet& packet,
                                          std::uint16_t group_id) {
  const Group& group = *shard.generation->group(group_id);
  if (packet.protocol == Protocol::kEsp)
    return ipsec_alg::attribute_outbound(shard, packet, group_id);
  SessionRequest request{.protocol = packet.protocol,
                         .first = Direction::kOutbound,
                         .inside_ip = packet.ip->source,
                         .inside_port = wire::Be16::raw(packet.key.c),
                         .remote_ip = packet.ip->destination,
                         .remote_port = wire::Be16::raw(packet.key.d),
                         .missed = packet.hash};
  if (packet.protocol == Protocol::kTcp) {
    const std::uint8_t tcp = packet.tcp_flags;
    const bool opens =
        (tcp & (TcpHeader::kSyn | TcpHeader::kAck | TcpHeader::kRst | TcpHeader::kFin)) ==
        TcpHeader::kSyn;
    const bool check = group.transport[static_cast<std::size_t>(Protocol::kTcp)].syn_check;
    // Without the check a connection may be taken over in the middle, but not at its end.
    if (!opens && (check || (tcp & TcpHeader::kRst) != 0))
      return std::unexpected(DropReason::kTcpNotSyn);
    if (!opens) request.flags = F::kSynOutbound | F::kSynInbound;
  }
  // RFC 5508 REQ-1: a query makes a session, an answer does not.
  if (packet.protocol == Protocol::kIcmp && packet.has_l4 &&
      !wire::is_icmp_request(reinterpret_cast<const wire::IcmpHeader*>(packet.l4)->type))
    return std::unexpected(DropReason::kNoSession);
  return create_session(shard, group, group_id,
                        group.app(packet.protocol, request.remote_port.host()), request);
}

}  // namespace

Verdict check_outbound_addresses(const Shard& shard, const Packet& packet) {
  const Generation& generation = *shard.generation;
  if (!is_host_address(packet.ip->source)) return Verdict::drop(DropReason::kIpSourceInvalid);
  if (is_own_address(generation, packet.ip->source) ||
      generation.nat_addresses.find(wire::Ipv4Address{packet.ip->source}) != nullptr)
    return Verdict::drop(DropReason::kSpoofedNatSource);
  if (!is_host_address(packet.ip->destination))
    return Verdict::drop(DropReason::kIpDestinationInvalid);
  return Verdict::next();
}

Verdict steer_outbound(Shard& shard, Packet& packet, wire::Be32 subscriber, std::uint16_t& group) {
  const Generation& generation = *shard.generation;
  const wire::Ipv4Address address{subscriber};
  const ShardMap& map = *generation.maps.front();
  const std::uint16_t* found = map.group_of(address);
  if (found == nullptr || generation.group(*found) == nullptr)
    return Verdict::drop(DropReason::kNotAClient);
  group = *found;
  if (shard.shards == 1) return Verdict::next();
  const ShardId owner = map.owner_of(address, group);
  if (owner == kNoShard) return Verdict::drop(DropReason::kPoolExhausted);
  const ShardSet able = map.shards_of(group);
  const ShardSet self = ShardSet{1} << shard.id;

  // Who has state from another time serves it; but not without addresses of the group: all that
  // such a shard still has is void.
  ShardSet others = 0;
  if (generation.displaced != nullptr) {
    others = generation.displaced->shards_of(address);
    if (generation.maps.size() > 1 && !generation.displaced->is_settled(generation.number))
      if (const ShardId former = generation.maps[1]->owner_of(address); former != kNoShard)
        others |= ShardSet{1} << former;
    others &= able & ~(ShardSet{1} << owner);
  }
  const ShardSet asked =
      (packet.asked == kNobodyAsked ? ShardSet{0} : asked_shards(packet.mbuf)) | self;
  const auto go = [&](ShardId to, std::uint8_t state) {
    packet.asked = state;
    asked_shards(packet.mbuf) = asked;
    return Verdict::handoff(to);
  };
  if (others != 0) {
    const bool can_serve = ((others | ShardSet{1} << owner) & self) != 0;
    if (can_serve && find_subscriber(shard, subscriber) != state::kNone) return Verdict::next();
    // Shards that work with different generations name different ones: each is asked once.
    if (const ShardSet left = others & ~asked; left != 0)
      return go(static_cast<ShardId>(std::countr_zero(left)), std::max(packet.asked, kAsking));
  }
  if (owner == shard.id) return Verdict::next();
  if (packet.asked < kToLast) return go(owner, packet.asked < kToOwner ? kToOwner : kToLast);
  return (able & self) != 0 ? Verdict::next() : Verdict::drop(DropReason::kHandoffLoop);
}

Verdict pass_on(Shard& shard, Packet& packet) {
  const bool inside = packet.side == Side::kInside;
  if ((packet.ip->ttl <= 1 && !packet.hairpin) ||
      is_own_address(*shard.generation, packet.ip->destination))
    return Verdict::next();
  const Verdict checked =
      inside ? check_outbound_addresses(shard, packet) : check_inbound_addresses(shard, packet);
  if (!checked.is_next()) return Verdict::next();
  std::uint16_t group = kNoId;
  const Verdict steered = inside ? steer_outbound(shard, packet, packet.ip->source, group)
                                 : steer_inbound(shard, packet.ip->destination);
  return steered.kind() == Verdict::Kind::kHandoff ? steered : Verdict::next();
}

Verdict outbound(Shard& shard, Packet& packet) {
  if (is_own_address(*shard.generation, packet.ip->destination))
    return deliver_locally(shard, packet);
  if (const Verdict verdict = check_outbound_addresses(shard, packet); !verdict.is_next())
    return verdict;
  std::uint16_t group = kNoId;
  const Verdict steered = steer_outbound(shard, packet, packet.ip->source, group);
  if (steered.is_drop()) {
    if (is_resource_shortage(steered.reason()))
      send_icmp_error(shard, packet, wire::kIcmpUnreachable, shard.generation->unreachable_code);
    return steered;
  }
  if (packet.ip->ttl <= 1) {
    send_icmp_error(shard, packet, wire::kIcmpTimeExceeded, 0);
    return Verdict::drop(DropReason::kTtlExpired);
  }
  if (!steered.is_next()) return steered;
  SessionId session = shard.lsn44.outbound.find(packet.key, packet.hash);
  if (session == state::kNone) {
    // Only a packet with ports makes a session; of a datagram in pieces that is the first.
    if (!packet.has_l4) return Verdict::drop(DropReason::kNoSession);
    if (!shard.overload.admit()) return Verdict::drop(DropReason::kOverload);
    const auto opened = open(shard, packet, group);
    if (!opened) {
      if (is_resource_shortage(opened.error()))
        send_icmp_error(shard, packet, wire::kIcmpUnreachable,
                        shard.generation->unreachable_code);
      return Verdict::drop(opened.error());
    }
    session = *opened;
    const Verdict verdict = forward_slowly<Direction::kOutbound>(shard, packet, session);
    // What cannot be sent leaves no session behind; but an SPI that was learned is true.
    if (verdict.is_drop() && packet.protocol != Protocol::kEsp)
      end_session(shard, session, SessionEnd::kWithdrawn);
    return verdict;
  }
  return forward_any<Direction::kOutbound>(shard, packet, session);
}

}  // namespace lsn::datapath::lsn44
