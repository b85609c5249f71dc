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

/// Workers that one packet visits at most: more than there are former owners.
constexpr std::uint8_t kMaxAsked = 2 * ShardMap::kMaxPredecessors;

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
    const bool opens = (tcp & (TcpHeader::kSyn | TcpHeader::kAck | TcpHeader::kRst |
                               TcpHeader::kFin)) == TcpHeader::kSyn;
    const bool check = group.transport[static_cast<std::size_t>(Protocol::kTcp)].syn_check;
    // Without the check a connection may be taken over in the middle, but not at its end.
    if (!opens && (check || (tcp & TcpHeader::kRst) != 0))
      return std::unexpected(DropReason::kTcpNotSyn);
    if (!opens) request.flags = F::kSynOutbound | F::kSynInbound;
  }
  // RFC 5508 REQ-1: a query makes a session, an answer does not.
  if (packet.protocol == Protocol::kIcmp && packet.has_l4 &&
      !wire::is_icmp_request(reinterpret_cast<const wire::IcmpHeader*>(packet.l4)->type))
    return std::unexpected(DropReason::kNoMapping);
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

Verdict steer_outbound(Shard& shard, wire::Be32 subscriber, std::uint8_t asked,
                       std::uint16_t& group) {
  const Generation& generation = *shard.generation;
  const wire::Ipv4Address address{subscriber};
  const std::uint16_t* found = generation.maps.front()->group_of(address);
  if (found == nullptr || generation.group(*found) == nullptr)
    return Verdict::drop(DropReason::kNotAClient);
  group = *found;
  if (shard.shards == 1) return Verdict::next();
  // Former owners are asked first: whoever has the subscriber's state serves it, the last one
  // serves those that nobody has.
  const ShardMap::Owners owners = subscriber_owners(generation.maps, address);
  if (owners.count == 0) return Verdict::drop(DropReason::kPoolExhausted);
  // Where all maps agree nobody else can have any, and no table has to be asked.
  const bool agreed = owners.count == 1;
  if (agreed ? owners.last() == shard.id : find_subscriber(shard, subscriber) != state::kNone)
    return Verdict::next();
  if (asked >= kMaxAsked) return Verdict::drop(DropReason::kHandoffLoop);
  const unsigned turn = std::min<unsigned>(asked, owners.count - 1);
  for (unsigned i = turn; i < owners.count; ++i) {
    if (owners.shards[i] != shard.id) return Verdict::handoff(owners.shards[i]);
    if (i + 1 == owners.count) return Verdict::next();
  }
  return Verdict::next();
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
  const Verdict steered = inside ? steer_outbound(shard, packet.ip->source, packet.asked, group)
                                 : steer_inbound(shard, packet.ip->destination);
  if (steered.kind() != Verdict::Kind::kHandoff) return Verdict::next();
  if (inside) ++packet.asked;
  return steered;
}

Verdict outbound(Shard& shard, Packet& packet) {
  if (is_own_address(*shard.generation, packet.ip->destination))
    return deliver_locally(shard, packet);
  if (const Verdict verdict = check_outbound_addresses(shard, packet); !verdict.is_next())
    return verdict;
  std::uint16_t group = kNoId;
  const Verdict steered = steer_outbound(shard, packet.ip->source, packet.asked, group);
  if (steered.is_drop()) {
    if (is_resource_shortage(steered.reason()))
      send_icmp_error(shard, packet, wire::kIcmpUnreachable, shard.generation->unreachable_code);
    return steered;
  }
  if (packet.ip->ttl <= 1) {
    send_icmp_error(shard, packet, wire::kIcmpTimeExceeded, 0);
    return Verdict::drop(DropReason::kTtlExpired);
  }
  if (!steered.is_next()) {
    ++packet.asked;
    return steered;
  }
  SessionId session = shard.lsn44.outbound.find(packet.key, packet.hash);
  if (session == state::kNone) {
    // Only a packet with ports makes a session; of a datagram in pieces that is the first.
    if (!packet.has_l4) return Verdict::drop(DropReason::kNoMapping);
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
      end_session(shard, session, SessionEnd::kFlushed);
    return verdict;
  }
  return forward<Direction::kOutbound>(shard, packet, session);
}

}  // namespace lsn::datapath::lsn44
