#include "lsn/datapath/lsn44/icmp_error.hpp"

#include <algorithm>

#include "lsn/datapath/l3/icmp_send.hpp"
#include "lsn/datapath/l3/kernel_path.hpp"
#include "lsn/datapath/lsn44/alg_hooks.hpp"
#include "lsn/datapath/lsn44/bypass.hpp"
#include "lsn/datapath/lsn44/hairpin.hpp"
#include "lsn/datapath/lsn44/static_mapping.hpp"
#include "lsn/datapath/lsn44/steer.hpp"
#include "lsn/datapath/lsn44/translate.hpp"
#include "lsn/datapath/parse.hpp"
#include "lsn/wire/esp.hpp"
#include "lsn/wire/icmp.hpp"
#include "lsn/wire/ike.hpp"
#include "lsn/wire/udp.hpp"

namespace lsn::datapath::lsn44 {
namespace {

/// Bytes that RFC 792 promises of the quoted packet behind its IP header.
constexpr std::size_t kQuotedL4 = 8;

const wire::Be16 kIkePort = wire::Be16::of(wire::kIkePort);

struct Quoted {
  wire::Ipv4Header* ip;
  std::uint8_t* l4;
  std::size_t l4_size;  ///< bytes of it that are quoted, at least kQuotedL4
  Protocol protocol;
  wire::Be16 source_port;  ///< an ICMP query's identifier stands in both
  wire::Be16 destination_port;
  wire::Be32 spi{};       ///< of ESP
  bool is_other = false;  ///< of a protocol that only one-to-one static mappings translate
};

/// Reads the quoted packet. The ICMP checksum must be right (REQ-3), and the quoted header's.
std::expected<Quoted, DropReason> read_quoted(const Packet& packet) {
  const auto* end = rte_pktmbuf_mtod(packet.mbuf, const std::uint8_t*) + packet.mbuf->data_len;
  if (packet.l4_size > static_cast<std::size_t>(end - packet.l4) ||
      packet.l4_size < sizeof(wire::IcmpHeader) + sizeof(wire::Ipv4Header) ||
      wire::checksum(packet.l4, packet.l4_size).raw() != 0)
    return std::unexpected(DropReason::kIcmpErrorMalformed);
  Quoted quoted{};
  quoted.ip = reinterpret_cast<wire::Ipv4Header*>(packet.l4 + sizeof(wire::IcmpHeader));
  const std::size_t size = packet.l4_size - sizeof(wire::IcmpHeader);
  const std::size_t header = quoted.ip->header_size();
  if (quoted.ip->version_and_size >> 4 != 4 || header < sizeof(wire::Ipv4Header) ||
      size < header + kQuotedL4 ||
      wire::checksum(reinterpret_cast<const std::uint8_t*>(quoted.ip), header).raw() != 0)
    return std::unexpected(DropReason::kIcmpErrorMalformed);
  // A later fragment's first bytes are no ports.
  if (quoted.ip->fragment_offset() != 0) return std::unexpected(DropReason::kIcmpErrorNoSession);
  quoted.l4 = quoted.ip->payload();
  quoted.l4_size = size - header;
  switch (quoted.ip->protocol) {
    case wire::kProtocolTcp:
    case wire::kProtocolUdp: {
      quoted.protocol = quoted.ip->protocol == wire::kProtocolTcp ? Protocol::kTcp : Protocol::kUdp;
      const auto* ports = reinterpret_cast<const wire::UdpHeader*>(quoted.l4);
      quoted.source_port = ports->source_port;
      quoted.destination_port = ports->destination_port;
      return quoted;
    }
    case wire::kProtocolIcmp: {
      const auto* icmp = reinterpret_cast<const wire::IcmpHeader*>(quoted.l4);
      // No error is sent about an error (RFC 1122 section 3.2.2).
      if (!wire::is_icmp_request(icmp->type) && !wire::is_icmp_reply(icmp->type))
        return std::unexpected(DropReason::kIcmpErrorMalformed);
      quoted.protocol = Protocol::kIcmp;
      quoted.source_port = quoted.destination_port = icmp->identifier;
      return quoted;
    }
    case wire::kProtocolEsp:
      quoted.protocol = Protocol::kEsp;
      quoted.spi = reinterpret_cast<const wire::EspHeader*>(quoted.l4)->spi;
      return quoted;
    default:
      quoted.protocol = Protocol::kEsp;  // nothing behind the addresses is rewritten
      quoted.is_other = true;
      return quoted;
  }
}

/// Where a quoted TCP, UDP or ICMP header has its checksum, if that is quoted.
wire::Be16* quoted_checksum(const Quoted& quoted) {
  std::size_t offset = 0;
  switch (quoted.protocol) {
    case Protocol::kTcp:
      offset = 16;
      break;
    case Protocol::kUdp:
      offset = 6;
      break;
    case Protocol::kEsp:
      return nullptr;
    default:
      offset = 2;
      break;
  }
  return quoted.l4_size < offset + sizeof(wire::Be16)
             ? nullptr
             : reinterpret_cast<wire::Be16*>(quoted.l4 + offset);
}

/// Replaces one endpoint of the quoted packet, and a fragment's identification by the one that its
/// sender knows; returns the change of ICMP's own checksum.
wire::ChecksumDelta rewrite_quoted(const Quoted& quoted, Direction direction,
                                   wire::Be32 new_address, wire::Be16 new_port,
                                   std::optional<wire::Be16> original) {
  // An outbound error quotes an inbound packet: the local endpoint is its destination.
  const bool destination = direction == Direction::kOutbound;
  wire::Be32& address = destination ? quoted.ip->destination : quoted.ip->source;
  wire::ChecksumDelta addresses, ports, outer;
  addresses.replace(address, new_address);
  address = new_address;
  wire::ChecksumDelta in_header = addresses;
  if (original) {
    in_header.replace(quoted.ip->identification, *original);
    quoted.ip->identification = *original;
  }
  const wire::Be16 ip_checksum = quoted.ip->checksum;
  quoted.ip->checksum = in_header.apply(ip_checksum);
  outer = in_header;
  outer.replace(ip_checksum, quoted.ip->checksum);
  if (quoted.protocol == Protocol::kEsp) return outer;

  auto& port = [&]() -> wire::Be16& {
    if (quoted.protocol == Protocol::kIcmp)
      return reinterpret_cast<wire::IcmpHeader*>(quoted.l4)->identifier;
    auto* header = reinterpret_cast<wire::UdpHeader*>(quoted.l4);
    return destination ? header->destination_port : header->source_port;
  }();
  ports.replace(port, new_port);
  port = new_port;
  outer = outer + ports;

  if (wire::Be16* checksum = quoted_checksum(quoted)) {
    const wire::Be16 before = *checksum;
    switch (quoted.protocol) {
      case Protocol::kTcp:
        *checksum = (addresses + ports).apply(before);
        break;
      case Protocol::kUdp:
        *checksum = (addresses + ports).apply_udp(before);
        break;
      default:
        *checksum = ports.apply(before);
        break;
    }
    outer.replace(before, *checksum);
  }
  return outer;
}

/// The outer packet: address, TTL, ICMP checksum; then out. `local`: the endpoint that replaces the
/// local one of the quoted packet, and its address that of the error's sender or receiver.
Verdict send_translated(Lsn44& shard, Packet& packet, const Quoted& quoted, Direction direction,
                        const wire::Endpoint& local, NeighbourId hop) {
  const bool out = direction == Direction::kOutbound;
  if (hop != kHairpinHop && too_big(*packet.ip, packet.size, shard.neighbours[hop]))
    return Verdict::drop(DropReason::kFragmentationNeeded);

  const wire::Be32 address = local.address;
  const wire::ChecksumDelta changed = rewrite_quoted(quoted, direction, address, local.port,
                                                     shard.identifications.original_of(*quoted.ip));
  auto& icmp = *reinterpret_cast<wire::IcmpHeader*>(packet.l4);
  icmp.checksum = changed.apply(icmp.checksum);

  wire::ChecksumDelta delta;
  wire::Be32& outer = out ? packet.ip->source : packet.ip->destination;
  delta.replace(outer, address);
  outer = address;
  packet.ip->checksum = delta.apply(packet.ip->checksum);
  if (!packet.hairpin) packet.ip->decrement_ttl();
  if (!quoted.is_other) shard.counters.of(quoted.protocol).icmp_errors[direction].add();
  if (hop == kHairpinHop) return hairpin(shard, packet);
  send(shard, packet.mbuf, packet.ip, hop);
  return Verdict::next();
}

/// An error about a session's packet. The session is not touched.
Verdict send_error(Lsn44& shard, Packet& packet, SessionId id, const Quoted& quoted,
                   Direction direction) {
  if (!revalidate(shard, id)) return Verdict::drop(DropReason::kIcmpErrorNoSession);
  Session& session = shard.lsn44.sessions[id];
  if (const Verdict verdict = resolve_hop(shard, session, direction); !verdict.is_next())
    return verdict;
  const bool out = direction == Direction::kOutbound;
  return send_translated(shard, packet, quoted, direction,
                         out ? wire::Endpoint{session.nat_ip, shown_nat_port(session)}
                             : wire::Endpoint{session.inside_ip, session.inside_port},
                         session.hop[direction]);
}

/// An error about a packet of no session: of a protocol without ports it may be one that a
/// one-to-one static mapping has translated.
Verdict send_error_by_address(Lsn44& shard, Packet& packet, const Quoted& quoted,
                              Direction direction) {
  const bool out = direction == Direction::kOutbound;
  const wire::Be32 local = out ? quoted.ip->destination : quoted.ip->source;
  const wire::Be32 remote = out ? quoted.ip->source : quoted.ip->destination;
  if (quoted.protocol != Protocol::kEsp || quoted.ip->protocol == wire::kProtocolAh)
    return Verdict::drop(DropReason::kIcmpErrorNoSession);
  const auto match =
      out ? match_inside(shard, in_domain_of(*shard.generation, packet, local), remote)
          : match_nat(shard, local, remote);
  if (!match || !match->is_active) return Verdict::drop(DropReason::kIcmpErrorNoSession);
  NeighbourId hop = kHairpinHop;
  if (!out || shard.generation->nat_addresses.find(wire::Ipv4Address{remote}) == nullptr) {
    const auto found = find_hop(shard, in_domain(match->td, out ? remote : match->endpoint.address),
                                direction, out ? local : match->endpoint.address);
    if (!found) return Verdict::drop(found.error());
    hop = *found;
  }
  return send_translated(shard, packet, quoted, direction, match->endpoint, hop);
}

/// Whether the quoted packet was routed without translation: then the error is, too.
bool is_about_bypassed(const Generation& generation, const Packet& packet, const Quoted& quoted) {
  const bool out = packet.side == Side::kInside;
  std::optional<std::uint16_t> port;
  if (quoted.protocol == Protocol::kTcp || quoted.protocol == Protocol::kUdp)
    port = (out ? quoted.source_port : quoted.destination_port).host();
  return coverage_of(
             generation,
             in_domain_of(generation, packet, out ? quoted.ip->destination : quoted.ip->source),
             out ? quoted.ip->source : quoted.ip->destination, quoted.ip->protocol,
             port) == Coverage::kYes;
}

/// The session whose packet is quoted by an error of that direction, of the domain `td`.
SessionId find_quoted_session(Lsn44& shard, DomainId td, const Quoted& quoted, Direction error) {
  const bool out = error == Direction::kOutbound;
  const wire::Be32 local = out ? quoted.ip->destination : quoted.ip->source;
  const wire::Be32 remote = out ? quoted.ip->source : quoted.ip->destination;
  if (quoted.is_other) return state::kNone;
  if (quoted.protocol == Protocol::kEsp)
    return alg_hooks::find_quoted_esp(shard, error, in_domain(td, local), remote, quoted.spi);
  const wire::Be16 local_port = out ? quoted.destination_port : quoted.source_port;
  const wire::Be16 remote_port = quoted.protocol == Protocol::kIcmp ? wire::Be16{}
                                 : out                              ? quoted.source_port
                                                                    : quoted.destination_port;
  // IKE with a kept port is told apart by its quoted bytes, if they are enough.
  if (!out && quoted.protocol == Protocol::kUdp && local_port == kIkePort &&
      remote_port == kIkePort && quoted.l4_size > sizeof(wire::UdpHeader)) {
    const auto* udp = reinterpret_cast<const wire::UdpHeader*>(quoted.l4);
    const SessionId keeper = alg_hooks::demultiplex_quoted(
        shard, local, remote,
        {quoted.l4 + sizeof(wire::UdpHeader), quoted.l4_size - sizeof(wire::UdpHeader)},
        std::max<std::size_t>(udp->length.host(), sizeof(wire::UdpHeader)) -
            sizeof(wire::UdpHeader));
    if (keeper != state::kNone) return keeper;
  }
  const state::FlowKey name = flow_key(quoted.protocol, local, local_port, remote, remote_port);
  if (out) return find_outbound(shard, td, name);
  return shard.lsn44.inbound.find(name, shard.lsn44.inbound.hash(name));
}

}  // namespace

Verdict icmp_error_outbound(Lsn44& shard, Packet& packet) {
  if (is_own_address(*shard.generation, packet, packet.ip->destination))
    return is_for_kernel(shard, packet) ? deliver_checked(shard, packet)
                                        : Verdict::drop(DropReason::kNotForUs);
  // Its source may be a router inside, of no client's network; the quoted packet decides.
  if (const Verdict verdict = check_outbound_addresses(*shard.generation, packet);
      !verdict.is_next())
    return verdict;
  if (packet.ip->ttl <= 1) return Verdict::drop(DropReason::kTtlExpired);
  const auto quoted = read_quoted(packet);
  if (!quoted) return Verdict::drop(quoted.error());
  // It goes to the sender of the quoted packet.
  if (quoted->ip->source != packet.ip->destination)
    return Verdict::drop(DropReason::kIcmpErrorMalformed);
  // A client reports its own packets alone; a source that is no client's is a router on the way to
  // one.
  if (packet.ip->source != quoted->ip->destination &&
      shard.generation->maps.front()->group_of(
          in_domain_of(*shard.generation, packet, packet.ip->source)) != nullptr)
    return Verdict::drop(DropReason::kIcmpErrorForeign);
  if (is_about_bypassed(*shard.generation, packet, *quoted))
    return route_untranslated(shard, packet);
  std::uint16_t group = kNoId;
  const InsideAddress subscriber = in_domain_of(*shard.generation, packet, quoted->ip->destination);
  const Verdict steered = steer_outbound(shard, packet, subscriber, group);
  if (steered.is_drop()) return Verdict::drop(DropReason::kIcmpErrorNoSession);
  if (!steered.is_next()) return steered;
  const SessionId session =
      find_quoted_session(shard, subscriber.td, *quoted, Direction::kOutbound);
  if (session == state::kNone)
    return send_error_by_address(shard, packet, *quoted, Direction::kOutbound);
  return send_error(shard, packet, session, *quoted, Direction::kOutbound);
}

Verdict icmp_error_inbound(Lsn44& shard, Packet& packet) {
  // A router on the way may have an address that clients have, too (RFC 1918, RFC 6598): the quoted
  // packet says whether the NAT has sent it.
  if (const Verdict verdict = check_inbound_addresses(*shard.generation, packet);
      !verdict.is_next() && verdict != Verdict::drop(DropReason::kSpoofedClientSource))
    return verdict;
  if (is_own_address(*shard.generation, packet, packet.ip->destination))
    return is_for_kernel(shard, packet) ? deliver_checked(shard, packet)
                                        : Verdict::drop(DropReason::kNotForUs);
  if (const Verdict verdict = steer_inbound(shard, packet.ip->destination); !verdict.is_next()) {
    // It may be for a client's own address.
    if (verdict.is_drop() && shard.generation->has_bypass)
      if (const auto quoted = read_quoted(packet);
          quoted && quoted->ip->source == packet.ip->destination &&
          is_about_bypassed(*shard.generation, packet, *quoted))
        return route_untranslated(shard, packet);
    return verdict;
  }
  if (packet.ip->ttl <= 1 && !packet.hairpin) return Verdict::drop(DropReason::kTtlExpired);
  const auto quoted = read_quoted(packet);
  if (!quoted) return Verdict::drop(quoted.error());
  // It is about a packet of the address that it is sent to.
  if (quoted->ip->source != packet.ip->destination)
    return Verdict::drop(DropReason::kIcmpErrorMalformed);
  const SessionId session = find_quoted_session(shard, 0, *quoted, Direction::kInbound);
  if (session == state::kNone)
    return send_error_by_address(shard, packet, *quoted, Direction::kInbound);
  return send_error(shard, packet, session, *quoted, Direction::kInbound);
}

void report_error(Lsn44& shard, const Packet& packet, std::uint8_t type, std::uint8_t code,
                  std::uint16_t mtu) {
  if (!packet.hairpin) return send_icmp_error(shard, packet, type, code, mtu);
  // By the NAT endpoint that stands for the sender now: in, like any error about a packet that left
  // through it.
  Packet error;
  error.mbuf = make_icmp_error(shard, packet, type, code, mtu);
  if (error.mbuf == nullptr) return;
  locate(error, ip_of_frame(error.mbuf));
  error.interface = packet.interface;
  error.side = Side::kOutside;
  error.protocol = Protocol::kIcmp;
  error.kind = PacketKind::kIcmpError;
  error.hairpin = true;
  apply(shard, error, icmp_error_inbound(shard, error));
}

}  // namespace lsn::datapath::lsn44
