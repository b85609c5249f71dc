// From a frame to a Packet: where its headers are, and the name of its flow.
//
// parse_frame() reads the link header and finds the interface; parse_ip() reads IPv4 and the header
// behind it. They change nothing but the Packet. All of them are always inlined into the loop over
// a burst: that saves a tenth of the instructions of a packet that has a session.
#pragma once

#include <rte_mbuf.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "lsn/datapath/context.hpp"
#include "lsn/datapath/packet.hpp"
#include "lsn/datapath/verdict.hpp"
#include "lsn/wire/esp.hpp"
#include "lsn/wire/icmp.hpp"
#include "lsn/wire/ipv4.hpp"
#include "lsn/wire/tcp.hpp"
#include "lsn/wire/udp.hpp"

namespace lsn::datapath {

/// An IPv4 header and the one behind it lie in the first segment of a buffer, whatever the options.
inline constexpr std::uint32_t kHeadersSize = 60 + sizeof(wire::TcpHeader);

[[nodiscard]] inline DropReason reason_of(wire::Ipv4Error error) {
  switch (error) {
    case wire::Ipv4Error::kChecksum:
      return DropReason::kIpChecksum;
    case wire::Ipv4Error::kTruncated:
      return DropReason::kIpTruncated;
    default:
      return DropReason::kIpMalformed;
  }
}

/// Where a packet's headers are, if its IPv4 header has been checked: fills in the members that
/// follow from it.
inline void locate(Packet& packet, wire::Ipv4Header* ip) {
  packet.ip = ip;
  packet.size = static_cast<std::uint16_t>(ip->total_size());
  packet.l4 = ip->payload();
  packet.l4_size = static_cast<std::uint32_t>(ip->payload_size());
}

/// The Protocol of a number in IPv4 headers, if it is one that is translated.
[[nodiscard]] inline std::optional<Protocol> protocol_of(std::uint8_t number) {
  switch (number) {
    case wire::kProtocolTcp:
      return Protocol::kTcp;
    case wire::kProtocolUdp:
      return Protocol::kUdp;
    case wire::kProtocolIcmp:
      return Protocol::kIcmp;
    case wire::kProtocolEsp:
      return Protocol::kEsp;
    default:
      return std::nullopt;
  }
}
/// ... of a packet.
[[nodiscard]] inline std::optional<Protocol> protocol_of(const wire::Ipv4Header& ip) {
  return protocol_of(ip.protocol);
}

/// Of a protocol that is not translated.
[[nodiscard]] inline Verdict refuse_protocol(std::uint8_t protocol) {
  switch (protocol) {
    case wire::kProtocolGre:
      return Verdict::drop(DropReason::kProtocolGre);
    case wire::kProtocolAh:
      return Verdict::drop(DropReason::kProtocolAh);
    case wire::kProtocolSctp:
      return Verdict::drop(DropReason::kProtocolSctp);
    case wire::kProtocolIpv6:
      return Verdict::drop(DropReason::kProtocolIpv6);
    default:
      return Verdict::drop(DropReason::kProtocolOther);
  }
}

/// The part of a packet's payload that lies in the first segment: headers do.
[[nodiscard]] inline std::span<std::uint8_t> payload_here(const Packet& packet) {
  const auto* end = rte_pktmbuf_mtod(packet.mbuf, const std::uint8_t*) + packet.mbuf->data_len;
  return {packet.l4,
          std::min<std::size_t>(packet.l4_size, static_cast<std::size_t>(end - packet.l4))};
}

enum class Datagram : std::uint8_t { kWhole, kFirstFragment };

/// A packet of a protocol that has no flows: it goes by its addresses, or not at all.
inline Verdict find_no_flow(Packet& packet) {
  packet.kind = PacketKind::kOther;
  return Verdict::next();
}

/// Reads the header behind IPv4: sets protocol, key and, of a whole packet, kind.
/// `watched_sequence`: inbound ESP with a lower number, or the same, may be the first of a new SA.
template <Datagram datagram>
[[gnu::always_inline]] inline Verdict parse_l4(Packet& packet, std::uint32_t watched_sequence) {
  constexpr bool kWhole = datagram == Datagram::kWhole;
  const bool inside = packet.side == Side::kInside;
  const std::span<std::uint8_t> payload = payload_here(packet);
  wire::Be16 source{}, destination{};
  switch (packet.ip->protocol) {
    case wire::kProtocolUdp: {
      // A datagram's length is held against the packet's, not the segment's.
      const wire::UdpHeader* udp = wire::UdpHeader::parse(payload, true);
      if (udp == nullptr || (kWhole && udp->length.host() > packet.l4_size))
        return Verdict::drop(DropReason::kL4Malformed);
      packet.protocol = Protocol::kUdp;
      source = udp->source_port;
      destination = udp->destination_port;
      break;
    }
    case wire::kProtocolTcp: {
      const wire::TcpHeader* tcp = wire::TcpHeader::parse(payload);
      if (tcp == nullptr) return Verdict::drop(DropReason::kL4Malformed);
      packet.protocol = Protocol::kTcp;
      packet.l4_flags = tcp->flags;
      source = tcp->source_port;
      destination = tcp->destination_port;
      break;
    }
    case wire::kProtocolIcmp: {
      const wire::IcmpHeader* icmp = wire::IcmpHeader::parse(payload);
      if (icmp == nullptr) return Verdict::drop(DropReason::kL4Malformed);
      packet.protocol = Protocol::kIcmp;
      if (wire::is_icmp_error(icmp->type)) {
        // An error is never fragmented on purpose (RFC 1812 section 4.3.2.3).
        if (!kWhole) return Verdict::drop(DropReason::kIcmpErrorMalformed);
        packet.kind = PacketKind::kIcmpError;
        return Verdict::next();
      }
      if (!wire::is_icmp_request(icmp->type) && !wire::is_icmp_reply(icmp->type))
        return Verdict::drop(DropReason::kIcmpTypeUntranslated);
      // The identifier stands on the local side in both directions (RFC 5508 section 3.1).
      (inside ? source : destination) = icmp->identifier;
      break;
    }
    case wire::kProtocolEsp: {
      const wire::EspHeader* esp = wire::EspHeader::parse(payload);
      if (esp == nullptr) return Verdict::drop(DropReason::kL4Malformed);
      packet.protocol = Protocol::kEsp;
      if (kWhole && !inside && esp->sequence.host() <= watched_sequence) [[unlikely]]
        packet.l4_flags = kNewSa;
      // The SPI takes the place of both ports, the same halves in either direction.
      source = wire::Be16::raw(static_cast<std::uint16_t>(esp->spi.raw()));
      destination = wire::Be16::raw(static_cast<std::uint16_t>(esp->spi.raw() >> 16));
      if (!inside) std::swap(source, destination);
      break;
    }
    default:
      return find_no_flow(packet);
  }
  packet.key = state::FlowKey::make(
      packet.key.local, packet.key.remote, (inside ? source : destination).raw(),
      (inside ? destination : source).raw(), static_cast<unsigned>(flow_kind(packet.protocol)));
  if (kWhole) packet.kind = PacketKind::kFlow;
  return Verdict::next();
}

/// ... off the path of a burst: of a whole packet or a first fragment.
[[nodiscard]] Verdict parse_l4(Packet& packet);

/// Reads the IPv4 header at packet.ip and the next one; sets kind and key. A fragment's header
/// behind IPv4 is left for parse_l4().
[[gnu::always_inline]] inline Verdict parse_ip(Packet& packet, std::uint64_t mark,
                                               std::uint32_t watched_sequence) {
  rte_mbuf* mbuf = packet.mbuf;
  auto* bytes = reinterpret_cast<std::uint8_t*>(packet.ip);
  const auto link_size = static_cast<std::uint32_t>(bytes - rte_pktmbuf_mtod(mbuf, std::uint8_t*));
  if (mbuf->nb_segs > 1 && mbuf->data_len < link_size + kHeadersSize) [[unlikely]]
    return Verdict::drop(DropReason::kIpMalformed);
  // The NIC may have verified the header's checksum.
  const std::uint64_t checked = mbuf->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
  if (checked == RTE_MBUF_F_RX_IP_CKSUM_BAD) [[unlikely]]
    return Verdict::drop(DropReason::kIpChecksum);
  const auto ip = wire::Ipv4Header::parse(std::span<std::uint8_t>{bytes, mbuf->pkt_len - link_size},
                                          checked == RTE_MBUF_F_RX_IP_CKSUM_GOOD
                                              ? wire::HeaderChecksum::kTrust
                                              : wire::HeaderChecksum::kVerify);
  if (!ip) [[unlikely]]
    return Verdict::drop(reason_of(ip.error()));
  // RFC 7126 sections 4.3.5 and 4.4.5.
  if (packet.ip->has_options() && packet.ip->has_source_route()) [[unlikely]]
    return Verdict::drop(DropReason::kIpSourceRoute);
  locate(packet, packet.ip);
  const bool inside = packet.side == Side::kInside;
  packet.key.local = (inside ? packet.ip->source : packet.ip->destination).raw() ^
                     static_cast<std::uint32_t>(mark);
  packet.key.remote = (inside ? packet.ip->destination : packet.ip->source).raw() ^
                      static_cast<std::uint32_t>(mark >> 32);

  if (packet.ip->is_fragment()) [[unlikely]] {
    packet.kind = PacketKind::kFragment;
    packet.has_l4 = packet.ip->fragment_offset() == 0;
    return Verdict::next();
  }
  return parse_l4<Datagram::kWhole>(packet, watched_sequence);
}

/// A frame's link header.
struct LinkHeader {
  std::uint32_t size = sizeof(wire::EthernetHeader);  ///< with a tag
  unsigned vlan = 0;  ///< of a tag in the frame, or of one that the device has taken off already
  wire::Be16 type;    ///< of what follows
};

/// False: the frame is shorter than that.
[[gnu::always_inline]] inline bool read_link(const rte_mbuf& frame, LinkHeader& link) {
  if (frame.data_len < sizeof(wire::EthernetHeader)) [[unlikely]]
    return false;
  const auto* bytes = rte_pktmbuf_mtod(&frame, const std::uint8_t*);
  link.type = reinterpret_cast<const wire::EthernetHeader*>(bytes)->type;
  if ((frame.ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0) link.vlan = frame.vlan_tci & 0x0FFFU;
  if (link.type != wire::Be16::of(wire::kEtherTypeVlan)) return true;
  if (frame.data_len < link.size + sizeof(wire::VlanTag)) return false;
  const auto* tag = reinterpret_cast<const wire::VlanTag*>(bytes + link.size);
  link.size += static_cast<std::uint32_t>(sizeof(wire::VlanTag));
  link.vlan = tag->id();
  link.type = tag->type;
  return true;
}

/// What a device's distribution goes by.
struct FrameAddresses {
  Side side;
  wire::Ipv4Address source, destination;
};

/// Of a frame from `device` that nothing has been done with; nothing: it is none of IPv4, or on no
/// interface.
[[nodiscard]] std::optional<FrameAddresses> addresses_of_frame(const Context& shard,
                                                               std::uint16_t device,
                                                               const rte_mbuf& frame);

/// A frame that is nothing to forward, by its addresses or its type: what has to become of it.
/// `payload` begins behind its link header. consumed: the kernel may want to hear it
/// (PacketKind::kHeard), it begins at packet.l4.
[[gnu::cold]] [[nodiscard]] Verdict set_aside(const Context& shard, Packet& packet,
                                              std::uint8_t* payload, wire::Be16 type);

/// Reads the link header of a frame from `device`. next: an IPv4 packet begins at packet.ip, which
/// is not looked at yet. consumed: an ARP packet (kind) that begins at packet.l4, for Neighbours,
/// or one that is heard (set_aside()); it is not freed. `mark`: of the interface's domain.
[[gnu::always_inline]] inline Verdict parse_frame(Context& shard, std::uint16_t device,
                                                  rte_mbuf* mbuf, Packet& packet,
                                                  std::uint64_t& mark) {
  packet.mbuf = mbuf;
  LinkHeader header;
  if (!read_link(*mbuf, header)) [[unlikely]]
    return Verdict::drop(DropReason::kFrameMalformed);
  auto* bytes = rte_pktmbuf_mtod(mbuf, std::uint8_t*);
  const auto* ethernet = reinterpret_cast<const wire::EthernetHeader*>(bytes);
  const auto [link_size, vlan, type] = header;
  const InterfaceId interface = shard.ingress[device][vlan];
  if (interface == kNoInterface) [[unlikely]]
    return Verdict::drop(DropReason::kVlanUnknown);
  const InterfaceLink& link = shard.links[interface];
  packet.interface = interface;
  packet.side = link.side;
  mark = link.mark;

  BurstTotals::Sum& received = shard.totals.received[interface];
  if (received.packets == 0) shard.totals.received_on[shard.totals.received_on_count++] = interface;
  ++received.packets;
  received.bytes += mbuf->pkt_len - link_size;

  const bool to_us = wire::is_same(ethernet->destination, link.mac);
  if (type == wire::Be16::of(wire::kEtherTypeIpv4)) [[likely]] {
    if (!to_us) [[unlikely]]
      return set_aside(shard, packet, bytes + link_size, type);
    packet.ip = reinterpret_cast<wire::Ipv4Header*>(bytes + link_size);
    return Verdict::next();
  }
  if (type == wire::Be16::of(wire::kEtherTypeArp)) {
    if (!to_us && ethernet->destination != wire::kBroadcastMac)
      return Verdict::drop(DropReason::kMacNotOurs);
    packet.kind = PacketKind::kArp;
    packet.l4 = bytes + link_size;
    packet.l4_size = mbuf->data_len - link_size;
    return Verdict::consumed();
  }
  return set_aside(shard, packet, bytes + link_size, type);
}

}  // namespace lsn::datapath
