#include "lsn/datapath/lsn44/outbound.hpp"

#include "lsn/datapath/l3/icmp_send.hpp"
#include "lsn/datapath/lsn44/alg_hooks.hpp"
#include "lsn/datapath/lsn44/by_address.hpp"
#include "lsn/datapath/lsn44/bypass.hpp"
#include "lsn/datapath/lsn44/icmp_error.hpp"
#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/datapath/lsn44/static_mapping.hpp"
#include "lsn/datapath/lsn44/steer.hpp"
#include "lsn/datapath/lsn44/translate.hpp"

namespace lsn::datapath::lsn44 {
namespace {

/// Whether a sender is told that its packet cannot be translated (RFC 6888 REQ-11, RFC 5508 REQ-8):
/// for every reason that lies with the NAT and may pass.
bool is_resource_shortage(DropReason reason) {
  switch (reason) {
    case DropReason::kPoolExhausted:
    case DropReason::kPortsExhausted:
    case DropReason::kPortBlockFull:
    case DropReason::kNoFreeBlock:
    case DropReason::kPortQuota:
    case DropReason::kSessionQuota:
    case DropReason::kSessionRate:
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

/// Creates a session for the first packet of a flow from inside, which has none.
std::expected<SessionId, DropReason> open(Lsn44& shard, const Packet& packet,
                                          std::uint16_t group_id) {
  const Group& group = *shard.generation->group(group_id);
  if (packet.protocol == Protocol::kEsp)
    return alg_hooks::attribute_outbound(shard, packet, group_id);
  SessionRequest request{
      .protocol = packet.protocol,
      .first = Direction::kOutbound,
      .inside = {packet.ip->source, wire::Be16::raw(packet.key.local_port)},
      .remote = {packet.ip->destination, wire::Be16::raw(packet.key.remote_port)},
      .td = domain_of(*shard.generation, packet),
      .missed = packet.hash};
  if (packet.protocol == Protocol::kTcp &&
      !open_tcp(request, packet.l4_flags, group.transport[Protocol::kTcp]))
    return std::unexpected(DropReason::kTcpNotSyn);
  // RFC 5508 REQ-1: a query creates a session, an answer does not.
  if (packet.protocol == Protocol::kIcmp && packet.has_l4 &&
      !wire::is_icmp_request(reinterpret_cast<const wire::IcmpHeader*>(packet.l4)->type))
    return std::unexpected(DropReason::kNoSession);
  return create_session(shard, group, group_id,
                        group.app(packet.protocol, request.remote.port.host()), request);
}

}  // namespace

Verdict outbound(Lsn44& shard, Packet& packet) {
  if (is_own_address(*shard.generation, packet, packet.ip->destination))
    return deliver_locally(shard, packet);
  if (const Verdict verdict = check_outbound_addresses(*shard.generation, packet);
      !verdict.is_next())
    return verdict;
  if (is_bypassed(*shard.generation, packet)) return route_untranslated(shard, packet);
  std::uint16_t group = kNoId;
  const InsideAddress source = in_domain_of(*shard.generation, packet, packet.ip->source);
  const Verdict steered = steer_outbound(shard, packet, source, group);
  if (steered.is_drop()) {
    if (is_resource_shortage(steered.reason()))
      report_error(shard, packet, wire::kIcmpUnreachable, shard.generation->unreachable_code);
    return steered;
  }
  if (packet.ip->ttl <= 1) {
    report_error(shard, packet, wire::kIcmpTimeExceeded, 0);
    return Verdict::drop(DropReason::kTtlExpired);
  }
  if (!steered.is_next()) return steered;
  SessionId session = shard.lsn44.outbound.find(packet.key, packet.hash);
  if (session == state::kNone) {
    if (packet.protocol == Protocol::kEsp)
      if (const auto match = match_inside(shard, source, packet.ip->destination);
          match && match->is_active)
        return forward_by_address(shard, packet, Direction::kOutbound,
                                  in_domain(source.td, match->endpoint.address));
    // Only a packet with ports creates a session; of a datagram in pieces that is the first.
    if (!packet.has_l4) return Verdict::drop(DropReason::kNoSession);
    if (!shard.overload.admit()) return Verdict::drop(DropReason::kOverload);
    const auto opened = open(shard, packet, group);
    if (!opened) {
      if (is_resource_shortage(opened.error()))
        report_error(shard, packet, wire::kIcmpUnreachable, shard.generation->unreachable_code);
      return Verdict::drop(opened.error());
    }
    session = *opened;
    const Verdict verdict = forward_slow<Direction::kOutbound>(shard, packet, session);
    // A session whose first packet cannot be sent is removed; but an SPI that was learned stays.
    if (verdict.is_drop() && packet.protocol != Protocol::kEsp)
      end_session(shard, session, SessionEnd::kWithdrawn);
    return verdict;
  }
  return forward_any<Direction::kOutbound>(shard, packet, session);
}

}  // namespace lsn::datapath::lsn44
