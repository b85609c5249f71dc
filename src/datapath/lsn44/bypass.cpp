#include "lsn/datapath/lsn44/bypass.hpp"

#include <optional>

#include "lsn/datapath/l3/output.hpp"
#include "lsn/datapath/lsn44/icmp_error.hpp"
#include "lsn/datapath/lsn44/lsn44.hpp"
#include "lsn/datapath/lsn44/mss.hpp"
#include "lsn/datapath/lsn44/translate.hpp"
#include "lsn/wire/ipv4.hpp"
#include "lsn/wire/tcp.hpp"

namespace lsn::datapath::lsn44 {
namespace {

std::uint8_t ip_protocol_of(Protocol protocol) {
  switch (protocol) {
    case Protocol::kTcp:
      return wire::kProtocolTcp;
    case Protocol::kUdp:
      return wire::kProtocolUdp;
    case Protocol::kIcmp:
      return wire::kProtocolIcmp;
    case Protocol::kEsp:
      break;
  }
  return wire::kProtocolEsp;
}

/// A whole packet, or the first piece of one, whose header has been checked.
bool is_syn(const Packet& packet) {
  return packet.ip->protocol == wire::kProtocolTcp && packet.has_l4 &&
         (packet.l4_flags & wire::TcpHeader::kSyn) != 0;
}

}  // namespace

Coverage coverage_of(const Generation& generation, const InsideAddress& client, wire::Be32 remote,
                     std::uint8_t protocol, std::optional<std::uint16_t> port) {
  if (!generation.has_bypass) return Coverage::kNo;
  const Group* const group = generation.group_of(client);
  if (group == nullptr || group->bypass.empty()) return Coverage::kNo;
  const Coverage coverage = group->bypass.covers(wire::Ipv4Address{remote}, protocol, port);
  // A NAT address is another subscriber: what goes there is translated, whatever network it is in.
  return coverage != Coverage::kNo &&
                 generation.nat_addresses.find(wire::Ipv4Address{remote}) != nullptr
             ? Coverage::kNo
             : coverage;
}

Coverage coverage_of(const Generation& generation, const Packet& packet, KnownPorts ports) {
  if (packet.hairpin) return Coverage::kNo;
  const bool inside = packet.side == Side::kInside;
  const std::uint8_t protocol = packet.ip->protocol;
  std::optional<std::uint16_t> port;
  if (ports == KnownPorts::kYes &&
      (protocol == wire::kProtocolTcp || protocol == wire::kProtocolUdp))
    port = wire::Be16::raw(packet.key.remote_port).host();
  return coverage_of(
      generation,
      in_domain_of(generation, packet, inside ? packet.ip->source : packet.ip->destination),
      inside ? packet.ip->destination : packet.ip->source, protocol, port);
}

bool is_bypassed(const Generation& generation, Protocol protocol, const InsideAddress& client,
                 const wire::Endpoint& remote) {
  return coverage_of(generation, client, remote.address, ip_protocol_of(protocol),
                     remote.port.host()) == Coverage::kYes;
}

Verdict route_untranslated(Lsn44& shard, Packet& packet) {
  const Direction direction =
      packet.side == Side::kInside ? Direction::kOutbound : Direction::kInbound;
  if (packet.ip->ttl <= 1) {
    report_error(shard, packet, wire::kIcmpTimeExceeded, 0);
    return Verdict::drop(DropReason::kTtlExpired);
  }
  const auto hop =
      find_hop(shard, in_domain_of(*shard.generation, packet, packet.ip->destination), direction,
               direction == Direction::kOutbound ? packet.ip->source : packet.ip->destination);
  if (!hop) return Verdict::drop(hop.error());
  if (too_big(*packet.ip, packet.size, shard.neighbours[*hop])) {
    report_error(shard, packet, wire::kIcmpUnreachable, wire::kIcmpFragmentationNeeded,
                 shard.neighbours[*hop].mtu);
    return Verdict::drop(DropReason::kFragmentationNeeded);
  }
  packet.ip->decrement_ttl();
  if (is_syn(packet) && shard.generation->clamps_mss) [[unlikely]]
    clamp_mss(shard, packet, *hop);
  shard.counters.bypassed[direction].add(1, packet.size);
  send(shard, packet.mbuf, packet.ip, *hop);
  return Verdict::next();
}

}  // namespace lsn::datapath::lsn44
