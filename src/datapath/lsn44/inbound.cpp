#include "lsn/datapath/lsn44/inbound.hpp"

#include "lsn/datapath/l3/icmp_send.hpp"
#include "lsn/datapath/lsn44/alg_hooks.hpp"
#include "lsn/datapath/lsn44/by_address.hpp"
#include "lsn/datapath/lsn44/bypass.hpp"
#include "lsn/datapath/lsn44/icmp_error.hpp"
#include "lsn/datapath/lsn44/mapping.hpp"
#include "lsn/datapath/lsn44/ports.hpp"
#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/datapath/lsn44/static_mapping.hpp"
#include "lsn/datapath/lsn44/steer.hpp"
#include "lsn/datapath/lsn44/translate.hpp"

namespace lsn::datapath::lsn44 {
namespace {

/// Why nothing lets a packet to that NAT endpoint in: it has no owner, or its session's filtering.
DropReason no_way_in(Lsn44& shard, const Packet& packet) {
  const NatAddress* address = find_nat_address(shard, packet.ip->destination);
  const std::uint16_t port = wire::Be16::raw(packet.key.local_port).host();
  if (address != nullptr && packet.protocol != Protocol::kEsp &&
      address->ports[packet.protocol].is_taken(port))
    return DropReason::kFiltered;
  return DropReason::kNoMapping;
}

/// A session request of the first packet from a remote endpoint to an inside endpoint, if a packet
/// like this may begin a session.
std::expected<SessionRequest, DropReason> request_of(const Packet& packet, const Group& group,
                                                     const wire::Endpoint& inside) {
  SessionRequest request{.protocol = packet.protocol,
                         .first = Direction::kInbound,
                         .inside = inside,
                         .remote = {packet.ip->source, wire::Be16::raw(packet.key.remote_port)},
                         .flags = SessionFlags::kInboundFirst};
  if (packet.protocol == Protocol::kTcp &&
      !open_tcp(request, packet.l4_flags, group.transport[Protocol::kTcp]))
    return std::unexpected(DropReason::kTcpNotSyn);
  if (packet.protocol == Protocol::kIcmp &&
      !wire::is_icmp_request(reinterpret_cast<const wire::IcmpHeader*>(packet.l4)->type))
    return std::unexpected(DropReason::kNoMapping);
  return request;
}

/// ... that a static mapping lets in, as it does everybody; nullopt: there is none for it.
std::optional<std::expected<SessionId, DropReason>> open_static(Lsn44& shard,
                                                                const Packet& packet) {
  const auto match = match_nat(shard, packet.protocol,
                               {packet.ip->destination, wire::Be16::raw(packet.key.local_port)},
                               packet.ip->source);
  if (!match) return std::nullopt;
  if (!match->is_active) return std::unexpected(DropReason::kStaticInactive);
  const Generation& generation = *shard.generation;
  if (is_forged_neighbour(generation, match->td, packet))
    return std::unexpected(DropReason::kSpoofedClientSource);
  const std::uint16_t* const group_id =
      generation.maps.front()->group_of(in_domain(match->td, match->endpoint.address));
  const Group* const group = group_id == nullptr ? nullptr : generation.group(*group_id);
  if (group == nullptr) return std::unexpected(DropReason::kNoMapping);
  auto request = request_of(packet, *group, match->endpoint);
  if (!request) return std::unexpected(request.error());
  request->td = match->td;
  return create_session(shard, *group, *group_id, AppPolicy{}, *request);
}

/// Creates a session for the first packet of a remote endpoint, if a mapping admits it.
std::expected<SessionId, DropReason> open(Lsn44& shard, const Packet& packet) {
  Tables& tables = shard.lsn44;
  if (packet.protocol == Protocol::kEsp) return alg_hooks::attribute_inbound(shard, packet);
  const MappingId id = find_mapping(shard, packet.protocol, packet.ip->destination,
                                    wire::Be16::raw(packet.key.local_port));
  if (id == state::kNone) {
    if (const auto opened = open_static(shard, packet)) return *opened;
    return std::unexpected(no_way_in(shard, packet));
  }
  // The sweep after a reload has not come to this mapping yet.
  if (!revalidate_mapping(shard, id)) return std::unexpected(DropReason::kNoMapping);
  const Mapping& mapping = tables.mappings[id];
  if (!admits(shard, mapping, packet.ip->source)) return std::unexpected(DropReason::kFiltered);
  const Subscriber& subscriber = tables.subscribers[mapping.subscriber];
  if (is_forged_neighbour(*shard.generation, subscriber.td, packet))
    return std::unexpected(DropReason::kSpoofedClientSource);
  const std::uint16_t group_id = subscriber.group;
  const Group* group = shard.generation->group(group_id);

  auto request = request_of(packet, *group, {mapping.inside_ip, mapping.inside_port});
  if (!request) return std::unexpected(request.error());
  request->mapping = id;
  request->td = subscriber.td;
  return create_session(shard, *group, group_id, AppPolicy{}, *request);
}

}  // namespace

Verdict inbound(Lsn44& shard, Packet& packet) {
  if (const Verdict verdict = check_inbound_addresses(*shard.generation, packet);
      !verdict.is_next())
    return verdict;
  if (is_own_address(*shard.generation, packet, packet.ip->destination))
    return deliver_locally(shard, packet);
  if (is_bypassed(*shard.generation, packet)) return route_untranslated(shard, packet);
  const Verdict steered = steer_inbound(shard, packet.ip->destination);
  if (steered.is_drop()) return steered;
  if (packet.ip->ttl <= 1 && !packet.hairpin) {
    report_error(shard, packet, wire::kIcmpTimeExceeded, 0);
    return Verdict::drop(DropReason::kTtlExpired);
  }
  if (!steered.is_next()) return steered;
  SessionId session = shard.lsn44.inbound.find(packet.key, packet.hash);
  if (session == state::kNone) {
    if (packet.protocol == Protocol::kEsp)
      if (const auto match = match_nat(shard, packet.ip->destination, packet.ip->source);
          match && match->is_active)
        return is_forged_neighbour(*shard.generation, match->td, packet)
                   ? Verdict::drop(DropReason::kSpoofedClientSource)
                   : forward_by_address(shard, packet, Direction::kInbound,
                                        in_domain(match->td, match->endpoint.address));
    if (!packet.has_l4) return Verdict::drop(DropReason::kNoMapping);
    if (!shard.overload.admit()) return Verdict::drop(DropReason::kOverload);
    if (alg_hooks::is_for_shared_port(shard, packet)) [[unlikely]] {
      session = alg_hooks::demultiplex(shard, packet);
      return session == state::kNone ? Verdict::drop(DropReason::kIkeSpiUnknown)
                                     : forward_any<Direction::kInbound>(shard, packet, session);
    }
    const auto opened = open(shard, packet);
    if (!opened) return Verdict::drop(opened.error());
    session = *opened;
    const Verdict verdict = forward_slow<Direction::kInbound>(shard, packet, session);
    if (verdict.is_drop() && packet.protocol != Protocol::kEsp)
      end_session(shard, session, SessionEnd::kWithdrawn);
    return verdict;
  }
  return forward_any<Direction::kInbound>(shard, packet, session);
}

}  // namespace lsn::datapath::lsn44
