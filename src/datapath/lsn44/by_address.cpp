#include "lsn/datapath/lsn44/by_address.hpp"

#include "lsn/datapath/l3/kernel_path.hpp"
#include "lsn/datapath/l3/output.hpp"
#include "lsn/datapath/lsn44/bypass.hpp"
#include "lsn/datapath/lsn44/hairpin.hpp"
#include "lsn/datapath/lsn44/icmp_error.hpp"
#include "lsn/datapath/lsn44/lsn44.hpp"
#include "lsn/datapath/lsn44/static_mapping.hpp"
#include "lsn/datapath/lsn44/steer.hpp"
#include "lsn/datapath/lsn44/translate.hpp"
#include "lsn/datapath/parse.hpp"

namespace lsn::datapath::lsn44 {
namespace {

/// Protocols whose checksum covers a pseudo header, which both have in the same place (RFC 4340
/// section 5.1, RFC 3828 section 3.1).
constexpr std::uint8_t kProtocolDccp = 33, kProtocolUdpLite = 136;
constexpr std::size_t kChecksumOffset = 6;

/// Carries the change of an address over to the checksum behind the IP header, if there is one.
void correct_checksum(const Packet& packet, const wire::ChecksumDelta& delta) {
  const std::uint8_t protocol = packet.ip->protocol;
  if (protocol != kProtocolDccp && protocol != kProtocolUdpLite) return;
  if (packet.ip->fragment_offset() != 0 ||
      payload_here(packet).size() < kChecksumOffset + sizeof(wire::Be16))
    return;
  auto& checksum = *reinterpret_cast<wire::Be16*>(packet.l4 + kChecksumOffset);
  checksum = protocol == kProtocolDccp ? delta.apply(checksum) : delta.apply_udp(checksum);
}

/// What nobody's mapping is for: the kernel's, or of no use.
Verdict end_here(Lsn44& shard, Packet& packet) {
  return is_for_kernel(shard, packet) ? deliver_checked(shard, packet)
                                      : refuse_protocol(packet.ip->protocol);
}

Verdict outbound_by_address(Lsn44& shard, Packet& packet) {
  const InsideAddress source = in_domain_of(*shard.generation, packet, packet.ip->source);
  const auto match = match_inside(shard, source, packet.ip->destination);
  if (!match || is_own_address(*shard.generation, packet, packet.ip->destination))
    return end_here(shard, packet);
  if (const Verdict verdict = check_outbound_addresses(*shard.generation, packet);
      !verdict.is_next())
    return verdict;
  if (const Verdict verdict = steer_inbound(shard, match->endpoint.address); !verdict.is_next())
    return verdict;
  if (!match->is_active) return Verdict::drop(DropReason::kStaticInactive);
  return forward_by_address(shard, packet, Direction::kOutbound,
                            in_domain(source.td, match->endpoint.address));
}

Verdict inbound_by_address(Lsn44& shard, Packet& packet) {
  const auto match = match_nat(shard, packet.ip->destination, packet.ip->source);
  if (!match) return end_here(shard, packet);
  if (const Verdict verdict = check_inbound_addresses(*shard.generation, packet);
      !verdict.is_next())
    return verdict;
  if (const Verdict verdict = steer_inbound(shard, packet.ip->destination); !verdict.is_next())
    return verdict;
  if (!match->is_active) return Verdict::drop(DropReason::kStaticInactive);
  if (is_forged_neighbour(*shard.generation, match->td, packet))
    return Verdict::drop(DropReason::kSpoofedClientSource);
  return forward_by_address(shard, packet, Direction::kInbound,
                            in_domain(match->td, match->endpoint.address));
}

/// A packet that is routed without translation, if its addresses are possible.
Verdict route_checked(Lsn44& shard, Packet& packet) {
  const Generation& generation = *shard.generation;
  const Verdict checked = packet.side == Side::kInside
                              ? check_outbound_addresses(generation, packet)
                              : check_inbound_addresses(generation, packet);
  return checked.is_next() ? route_untranslated(shard, packet) : checked;
}

}  // namespace

Verdict other_protocol(Lsn44& shard, Packet& packet) {
  const Generation& generation = *shard.generation;
  if (generation.has_bypass && !is_for_kernel(shard, packet) &&
      coverage_of(generation, packet, KnownPorts::kNo) == Coverage::kYes)
    return route_checked(shard, packet);
  if (packet.ip->protocol == wire::kProtocolAh) return end_here(shard, packet);
  return packet.side == Side::kInside ? outbound_by_address(shard, packet)
                                      : inbound_by_address(shard, packet);
}

Verdict forward_by_address(Lsn44& shard, Packet& packet, Direction direction,
                           const InsideAddress& replacement) {
  const bool out = direction == Direction::kOutbound;
  if (packet.ip->ttl <= 1 && !packet.hairpin) {
    report_error(shard, packet, wire::kIcmpTimeExceeded, 0);
    return Verdict::drop(DropReason::kTtlExpired);
  }
  const bool hairpins =
      out && shard.generation->nat_addresses.find(wire::Ipv4Address{packet.ip->destination});
  NeighbourId hop = kHairpinHop;
  if (!hairpins) {
    const auto found =
        find_hop(shard, out ? in_domain(replacement.td, packet.ip->destination) : replacement,
                 direction, out ? packet.ip->source : replacement.address.be());
    if (!found) return Verdict::drop(found.error());
    hop = *found;
    if (too_big(*packet.ip, packet.size, shard.neighbours[hop])) {
      report_error(shard, packet, wire::kIcmpUnreachable, wire::kIcmpFragmentationNeeded,
                   shard.neighbours[hop].mtu);
      return Verdict::drop(DropReason::kFragmentationNeeded);
    }
  }
  correct_checksum(packet, rewrite_ip(packet, out ? packet.ip->source : packet.ip->destination,
                                      replacement.address.be()));
  shard.counters.by_address[direction].add(1, packet.size);
  if (hairpins) return hairpin(shard, packet);
  send(shard, packet.mbuf, packet.ip, hop);
  return Verdict::next();
}

}  // namespace lsn::datapath::lsn44
