#include "lsn/datapath/ipsec_alg/attribution.hpp"
#include "lsn/datapath/ipsec_alg/stages.hpp"
#include "lsn/datapath/l3/icmp_send.hpp"
#include "lsn/datapath/lsn44/lifecycle.hpp"
#include "lsn/datapath/lsn44/stages.hpp"
#include "lsn/datapath/lsn44/translate.hpp"
#include "lsn/datapath/pipeline.hpp"

namespace lsn::datapath::lsn44 {
namespace {

using F = SessionFlags;
using wire::TcpHeader;

/// Why nothing lets a packet to that NAT endpoint in: nobody has it, or its session's filtering.
DropReason no_way_in(Shard& shard, const Packet& packet) {
  const NatAddress* address = find_nat_address(shard, packet.ip->destination);
  const std::uint16_t port = wire::Be16::raw(packet.key.c).host();
  if (address != nullptr && packet.protocol != Protocol::kEsp &&
      address->ports[static_cast<std::size_t>(packet.protocol)].is_taken(port))
    return DropReason::kFiltered;
  return DropReason::kNoMapping;
}

/// Makes a session for the first packet of a remote endpoint, if a mapping admits it.
std::expected<SessionId, DropReason> open(Shard& shard, const Packet& packet) {
  Tables& tables = shard.lsn44;
  if (packet.protocol == Protocol::kEsp) return ipsec_alg::attribute_inbound(shard, packet);
  const MappingId id = find_mapping(shard, packet.protocol, packet.ip->destination,
                                    wire::Be16::raw(packet.key.c));
  if (id == state::kNone) return std::unexpected(no_way_in(shard, packet));
  // The sweep after a reload has not come to this mapping yet.
  if (!revalidate_mapping(shard, id)) return std::unexpected(DropReason::kNoMapping);
  const Mapping& mapping = tables.mappings[id];
  if (!admits(shard, mapping, packet.ip->source)) return std::unexpected(DropReason::kFiltered);
  const std::uint16_t group_id = tables.subscribers[mapping.subscriber].group;
  const Group* group = shard.generation->group(group_id);

  SessionRequest request{.protocol = packet.protocol,
                         .first = Direction::kInbound,
                         .inside_ip = mapping.inside_ip,
                         .inside_port = mapping.inside_port,
                         .remote_ip = packet.ip->source,
                         .remote_port = wire::Be16::raw(packet.key.d),
                         .flags = F::kInboundFirst,
                         .mapping = id};
  if (packet.protocol == Protocol::kTcp) {
    const std::uint8_t tcp = packet.tcp_flags;
    const bool opens = (tcp & (TcpHeader::kSyn | TcpHeader::kAck | TcpHeader::kRst |
                               TcpHeader::kFin)) == TcpHeader::kSyn;
    const bool check = group->transport[static_cast<std::size_t>(Protocol::kTcp)].syn_check;
    if (!opens && (check || (tcp & TcpHeader::kRst) != 0))
      return std::unexpected(DropReason::kTcpNotSyn);
    if (!opens)
      request.flags = static_cast<std::uint8_t>(request.flags | F::kSynOutbound | F::kSynInbound);
  }
  if (packet.protocol == Protocol::kIcmp &&
      !wire::is_icmp_request(reinterpret_cast<const wire::IcmpHeader*>(packet.l4)->type))
    return std::unexpected(DropReason::kNoMapping);
  return create_session(shard, *group, group_id, AppPolicy{}, request);
}

}  // namespace

Verdict check_inbound_addresses(const Shard& shard, const Packet& packet) {
  const Generation& generation = *shard.generation;
  if (!is_host_address(packet.ip->destination))
    return Verdict::drop(DropReason::kIpDestinationInvalid);
  if (packet.hairpin) return Verdict::next();
  if (!is_host_address(packet.ip->source)) return Verdict::drop(DropReason::kIpSourceInvalid);
  // RFC 2827: what claims to be one of us and comes from outside is a lie.
  const wire::Ipv4Address source{packet.ip->source};
  if (generation.nat_addresses.find(source) != nullptr ||
      is_own_address(generation, packet.ip->source))
    return Verdict::drop(DropReason::kSpoofedNatSource);
  if (generation.maps.front()->group_of(source) != nullptr)
    return Verdict::drop(DropReason::kSpoofedClientSource);
  return Verdict::next();
}

Verdict steer_inbound(const Shard& shard, wire::Be32 nat_ip) {
  const NatAddressPlace* place =
      shard.generation->nat_addresses.find(wire::Ipv4Address{nat_ip});
  if (place == nullptr) return Verdict::drop(DropReason::kNotForUs);
  return place->owner == shard.id ? Verdict::next() : Verdict::handoff(place->owner);
}

Verdict inbound(Shard& shard, Packet& packet) {
  if (const Verdict verdict = check_inbound_addresses(shard, packet); !verdict.is_next())
    return verdict;
  if (is_own_address(*shard.generation, packet.ip->destination))
    return deliver_locally(shard, packet);
  const Verdict steered = steer_inbound(shard, packet.ip->destination);
  if (steered.is_drop()) return steered;
  if (packet.ip->ttl <= 1 && !packet.hairpin) {
    send_icmp_error(shard, packet, wire::kIcmpTimeExceeded, 0);
    return Verdict::drop(DropReason::kTtlExpired);
  }
  if (!steered.is_next()) return steered;
  SessionId session = shard.lsn44.inbound.find(packet.key, packet.hash);
  if (session == state::kNone) {
    if (!packet.has_l4) return Verdict::drop(DropReason::kNoMapping);
    if (!shard.overload.admit()) return Verdict::drop(DropReason::kOverload);
    if (ipsec_alg::is_for_port_keepers(shard, packet)) [[unlikely]] {
      session = ipsec_alg::demultiplex(shard, packet);
      return session == state::kNone ? Verdict::drop(DropReason::kIkeSpiUnknown)
                                     : forward_any<Direction::kInbound>(shard, packet, session);
    }
    const auto opened = open(shard, packet);
    if (!opened) return Verdict::drop(opened.error());
    session = *opened;
    const Verdict verdict = forward_slowly<Direction::kInbound>(shard, packet, session);
    if (verdict.is_drop() && packet.protocol != Protocol::kEsp)
      end_session(shard, session, SessionEnd::kWithdrawn);
    return verdict;
  }
  return forward_any<Direction::kInbound>(shard, packet, session);
}

}  // namespace lsn::datapath::lsn44
