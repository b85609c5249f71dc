#include "lsn/datapath/lsn44/translate.hpp"

#include "lsn/datapath/lsn44/alg_hooks.hpp"
#include "lsn/datapath/lsn44/hairpin.hpp"
#include "lsn/datapath/lsn44/icmp_error.hpp"
#include "lsn/datapath/lsn44/inbound.hpp"
#include "lsn/datapath/lsn44/mss.hpp"
#include "lsn/datapath/lsn44/outbound.hpp"
#include "lsn/datapath/lsn44/static_mapping.hpp"
#include "lsn/datapath/lsn44/tcp.hpp"

namespace lsn::datapath::lsn44 {
namespace {

using F = SessionFlags;

}  // namespace

bool revalidate(Lsn44& shard, SessionId id) {
  Session& session = shard.lsn44.sessions[id];
  if (session.epoch == shard.epoch) return true;
  const bool allowed = is_allowed(shard, id);
  if ((session.flags & F::kInUse) == 0) return false;
  if (!allowed) {
    end_session(shard, id, SessionEnd::kReload);
    return false;
  }
  session.epoch = shard.epoch;
  session.hop[0] = session.hop[1] = kNoNeighbour;
  const bool ours =
      shard.generation->nat_addresses.find(wire::Ipv4Address{session.remote_ip}) != nullptr;
  session.flags =
      static_cast<std::uint8_t>(ours ? session.flags | F::kHairpin : session.flags & ~F::kHairpin);
  if (session.protocol == Protocol::kUdp) {
    const SessionCold& cold = shard.lsn44.cold[id];
    std::optional<StaticMatch> by_static;
    if (cold.by_static())
      by_static = match_inside(shard, session.protocol, inside_of(shard, session),
                               session.inside_port, session.remote_ip);
    const bool inspected =
        is_inspected(shard, shard.lsn44.subscribers[cold.subscriber], session.protocol,
                     session.remote_port, by_static ? &*by_static : nullptr);
    session.flags = static_cast<std::uint8_t>(inspected ? session.flags | F::kOffFastPath
                                                        : session.flags & ~F::kOffFastPath);
  }
  return true;
}

std::expected<NeighbourId, DropReason> find_hop(L3& shard, const InsideAddress& destination,
                                                Direction direction, wire::Be32 subscriber) {
  const bool out = direction == Direction::kOutbound;
  const auto next_hop = resolve(shard, destination, subscriber);
  if (!next_hop) return std::unexpected(DropReason::kNoRoute);
  const Side side = shard.generation->interfaces[next_hop->interface].side;
  // Nothing leaves inside that came from inside, and nothing outside that came from outside.
  if (side != (out ? Side::kOutside : Side::kInside))
    return std::unexpected(out ? DropReason::kInsideDestination : DropReason::kNoRoute);
  if (next_hop->neighbour == kNoNeighbour) return std::unexpected(DropReason::kNeighbourTableFull);
  return next_hop->neighbour;
}

namespace {

/// Whether another way may take its place.
bool has_failed(const Neighbour& neighbour) {
  return neighbour.is_next_hop && neighbour.state != NeighbourState::kReachable;
}

}  // namespace

Verdict resolve_hop(Lsn44& shard, Session& session, Direction direction) {
  NeighbourId& hop = session.hop[direction];
  const bool out = direction == Direction::kOutbound;
  if (out && (session.flags & F::kHairpin) != 0) hop = kHairpinHop;
  if (hop != kNoNeighbour && (hop == kHairpinHop || !has_failed(shard.neighbours[hop])))
    return Verdict::next();
  const auto found = find_hop(
      shard, in_domain(domain_of(shard, session), out ? session.remote_ip : session.inside_ip),
      direction, session.inside_ip);
  if (!found) return Verdict::drop(found.error());
  hop = *found;
  return Verdict::next();
}

namespace {

/// Whether the ALG has to see a packet: its session is marked, or it is ESP of a new SA.
bool needs_inspection(const Session& session, const Packet& packet) {
  return session.protocol != Protocol::kTcp &&
         ((session.flags & F::kOffFastPath) != 0 || packet.l4_flags != 0);
}

/// Writes the port of the inside over that of the NAT (UdpFlags::kPreservesPort).
void restore_port(const Packet& packet, wire::Be16 port) {
  auto& udp = *reinterpret_cast<wire::UdpHeader*>(packet.l4);
  wire::ChecksumDelta delta;
  delta.replace(udp.source_port, port);
  udp.source_port = port;
  if (udp.checksum.raw() != 0) udp.checksum = delta.apply_udp(udp.checksum);
}

/// A TCP packet that has been rewritten and counted: its MSS, its connection's state and timer.
/// `seen`: when the packet before it came.
void follow_connection(Lsn44& shard, const Packet& packet, SessionId id, Direction direction,
                       state::Ticks seen) {
  Session& session = shard.lsn44.sessions[id];
  const SessionCold& cold = shard.lsn44.cold[id];
  if ((packet.l4_flags & wire::TcpHeader::kSyn) != 0 && shard.generation->clamps_mss)
    clamp_mss(shard, packet, id, direction);
  // RFC 7857 section 7.1: a subscriber's RST keeps nothing alive; RFC 4787 REQ-6.
  const bool refreshes = direction == Direction::kOutbound
                             ? (packet.l4_flags & wire::TcpHeader::kRst) == 0
                             : shard.inbound_refresh;
  const state::TickDuration before =
      refreshes ? state::TickDuration{0} : idle_timeout(shard, session, cold);
  const bool has_changed = follow_tcp(session, packet, direction);
  // What does not refresh prolongs nothing either by another state: the session ends as it would
  // have ended, or after that state's time, whichever is earlier.
  if (!refreshes)
    session.last_seen =
        state::earlier_of(shard.now, seen + before - idle_timeout(shard, session, cold));
  if (has_changed) rearm_session(shard, id);
}

/// A packet whose session a reload has ended is one without a session.
template <Direction direction>
Verdict begin_again(Lsn44& shard, Packet& packet) {
  packet.hash = shard.lsn44.outbound.hash(packet.key);
  return direction == Direction::kOutbound ? outbound(shard, packet) : inbound(shard, packet);
}

}  // namespace

template <Direction direction, Inspection inspection>
Verdict forward_slow(Lsn44& shard, Packet& packet, SessionId id) {
  if (direction == Direction::kInbound && inspection == Inspection::kAsNeeded && packet.has_l4 &&
      alg_hooks::is_for_shared_port(shard, packet)) [[unlikely]] {
    // The session has NAT port 500 by itself; the packet may be for one that only shows it.
    if (const SessionId other = alg_hooks::demultiplex(shard, packet); other != state::kNone)
      id = other;
    else if (preserves_port(shard.lsn44.sessions[id]))
      return Verdict::drop(DropReason::kIkeSpiUnknown);
  }
  if (!is_of<direction>(packet, shard.lsn44.sessions[id])) [[unlikely]]
    return Verdict::drop(DropReason::kFlowTableFull);
  if (!revalidate(shard, id)) return begin_again<direction>(shard, packet);
  Session& session = shard.lsn44.sessions[id];
  if (const Verdict verdict = resolve_hop(shard, session, direction); !verdict.is_next())
    return verdict;
  const NeighbourId hop = session.hop[direction];
  if (hop != kHairpinHop && too_big(*packet.ip, packet.size, shard.neighbours[hop])) {
    // RFC 1191 section 4, RFC 4787 REQ-13
    report_error(shard, packet, wire::kIcmpUnreachable, wire::kIcmpFragmentationNeeded,
                 shard.neighbours[hop].mtu);
    return Verdict::drop(DropReason::kFragmentationNeeded);
  }
  const bool is_fragment = packet.kind == PacketKind::kFragment;
  // Before the ALG holds it: all fragments of a held message leave with the same one.
  if (is_fragment && packet.identification == wire::Be16{})
    packet.identification = shard.identifications.next(session.remote_ip, packet.ip->protocol);
  if (inspection == Inspection::kAsNeeded && needs_inspection(session, packet))
    if (const Verdict verdict = alg_hooks::inspect(shard, packet, id, direction);
        !verdict.is_next())
      return verdict;
  rewrite<direction, Acknowledgment::kFollowed>(packet, session);
  if (direction == Direction::kOutbound && preserves_port(session) && packet.has_l4)
    restore_port(packet, session.inside_port);
  if (is_fragment) shard.identifications.replace(*packet.ip, packet.identification);
  const state::Ticks seen = session.last_seen;
  account<direction>(shard, session, packet.size);
  if (session.protocol == Protocol::kTcp && packet.has_l4)
    follow_connection(shard, packet, id, direction, seen);
  if (hop == kHairpinHop) {
    shard.counters.of(session.protocol).hairpinned.add(1, packet.size);
    // Its fate on the other side does not concern the sender's session: that one is open now, as it
    // would be towards an outside host.
    const wire::Be16 identification = packet.identification;
    const Verdict other_side = hairpin(shard, packet);
    apply(shard, packet, other_side);
    packet.identification = identification;
    return Verdict::consumed();
  }
  send(shard, packet.mbuf, packet.ip, hop);
  return Verdict::next();
}

Verdict forward_released(Lsn44& shard, Packet& packet, Direction direction) {
  const bool out = direction == Direction::kOutbound;
  const state::FlowTable& table = out ? shard.lsn44.outbound : shard.lsn44.inbound;
  const SessionId id = table.find(packet.key, table.hash(packet.key));
  if (id == state::kNone)
    return Verdict::drop(out ? DropReason::kNoSession : DropReason::kNoMapping);
  return out ? forward_slow<Direction::kOutbound, Inspection::kDone>(shard, packet, id)
             : forward_slow<Direction::kInbound, Inspection::kDone>(shard, packet, id);
}

template Verdict forward_slow<Direction::kOutbound>(Lsn44&, Packet&, SessionId);
template Verdict forward_slow<Direction::kInbound>(Lsn44&, Packet&, SessionId);

}  // namespace lsn::datapath::lsn44
