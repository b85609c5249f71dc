#include "lsn/datapath/l3/kernel_path.hpp"

#include <algorithm>
#include <cstring>

#include "lsn/datapath/capture_tap.hpp"
#include "lsn/datapath/l3/kernel_policer.hpp"
#include "lsn/datapath/parse.hpp"
#include "lsn/wire/tcp.hpp"
#include "lsn/wire/udp.hpp"

namespace lsn::datapath {
namespace {

constexpr std::uint8_t kProtocolOspf = 89, kProtocolVrrp = 112;
constexpr std::uint16_t kBgp = 179, kSsh = 22, kHttps = 443, kSnmp = 161;
/// RFC 5881 section 4, RFC 5883 section 5.
constexpr std::uint16_t kBfd = 3784, kBfdEcho = 3785, kBfdMultihop = 4784;
/// Of what only neighbours say, and what is dropped if it has crossed a router: BFD over one hop
/// (RFC 5881 section 5), VRRP (RFC 9568 section 5.1.1.3), neighbour discovery (RFC 4861 section
/// 7.1.1).
constexpr std::uint8_t kFromNeighbour = 255;
/// 224.0.0.0/24: never beyond the link (RFC 5771 section 4).
constexpr std::uint32_t kLocalGroups = 0xE0000000;
constexpr std::uint16_t kEtherTypeServiceTag = 0x88A8;

struct Ipv6Header {
  wire::Be32 version_and_flow;
  wire::Be16 payload_length;
  std::uint8_t next_header;
  std::uint8_t hop_limit;
  std::array<std::uint8_t, 16> source;
  std::array<std::uint8_t, 16> destination;
};
static_assert(sizeof(Ipv6Header) == 40 && alignof(Ipv6Header) == 1);
/// RFC 4861 section 4: router solicitation to redirect.
constexpr std::uint8_t kFirstDiscovery = 133, kLastDiscovery = 137;

/// fe80::/10, or a group of the link's (ff02::/16, RFC 4291 section 2.7).
bool is_link_local(const std::array<std::uint8_t, 16>& address) {
  return (address[0] == 0xFE && (address[1] & 0xC0) == 0x80) ||
         (address[0] == 0xFF && (address[1] & 0x0F) == 0x02);
}

KernelClass class_of_tcp(std::uint16_t source, std::uint16_t destination) {
  const auto has = [=](std::uint16_t port) { return source == port || destination == port; };
  if (has(kBgp)) return KernelClass::kRouting;
  return has(kSsh) || has(kHttps) ? KernelClass::kManagement : KernelClass::kRest;
}
KernelClass class_of_udp(std::uint16_t source, std::uint16_t destination, std::uint8_t hops) {
  if ((destination == kBfd && hops == kFromNeighbour) || destination == kBfdEcho ||
      destination == kBfdMultihop)
    return KernelClass::kRouting;
  return source == kSnmp || destination == kSnmp ? KernelClass::kManagement : KernelClass::kRest;
}

/// By protocol, and by ports if they are there. `hops`: that it has left, its TTL or hop limit.
KernelClass class_of(std::uint8_t protocol, std::span<const std::uint8_t> payload,
                     std::uint8_t hops) {
  if (protocol == kProtocolOspf || (protocol == kProtocolVrrp && hops == kFromNeighbour))
    return KernelClass::kRouting;
  if (payload.size() < 2 * sizeof(wire::Be16)) return KernelClass::kRest;
  wire::Be16 ports[2];
  std::memcpy(ports, payload.data(), sizeof ports);
  if (protocol == wire::kProtocolTcp) return class_of_tcp(ports[0].host(), ports[1].host());
  if (protocol == wire::kProtocolUdp) return class_of_udp(ports[0].host(), ports[1].host(), hops);
  return KernelClass::kRest;
}

DropReason rate_reason(KernelClass of_class) {
  switch (of_class) {
    case KernelClass::kRouting:
      return DropReason::kKernelRateRouting;
    case KernelClass::kManagement:
      return DropReason::kKernelRateManagement;
    case KernelClass::kRest:
      break;
  }
  return DropReason::kKernelRateRest;
}

/// Takes the VLAN tag out of a frame.
void remove_tag(rte_mbuf* frame) {
  auto* const bytes = rte_pktmbuf_mtod(frame, std::uint8_t*);
  if (reinterpret_cast<const wire::EthernetHeader*>(bytes)->type !=
      wire::Be16::of(wire::kEtherTypeVlan))
    return;
  constexpr std::size_t kAddresses = 2 * sizeof(wire::MacAddress);
  std::memmove(bytes + sizeof(wire::VlanTag), bytes, kAddresses);
  rte_pktmbuf_adj(frame, sizeof(wire::VlanTag));
}

/// Puts a frame into the buffer of its class, if the class's rate lets it pass.
Verdict give(Context& shard, rte_mbuf* frame, InterfaceId interface, KernelClass of_class) {
  const auto index = static_cast<std::size_t>(of_class);
  const std::uint32_t rate = shard.generation->interfaces[interface].kernel_rates[index];
  if (!shard.kernel_policer->take(interface, of_class, rate, shard.now))
    return Verdict::drop(rate_reason(of_class));
  KernelBuffer& buffer = shard.kernel[index];
  if (buffer.count == KernelBuffer::kCapacity) return Verdict::drop(DropReason::kKernelFull);
  if (shard.capture != nullptr) [[unlikely]]
    shard.capture->leaves(frame);
  remove_tag(frame);
  origin_of(frame) = {interface, HandoffKind::kKernel, 0};
  buffer.packets[buffer.count++] = frame;
  return Verdict::consumed();
}

/// Whether the source of a packet for a whole link is possible: as of those for an address of ours,
/// or 0.0.0.0, a host that has none yet (RFC 1122 section 3.2.1.3).
Verdict check_heard_source(const Generation& generation, const Packet& packet, wire::Be32 source) {
  if (!is_host_address(source) && source != wire::Be32{})
    return Verdict::drop(DropReason::kIpSourceInvalid);
  const wire::Ipv4Address address{source};
  if (is_own_address(generation, packet, source) ||
      generation.nat_addresses.find(address) != nullptr)
    return Verdict::drop(DropReason::kSpoofedNatSource);
  if (packet.side == Side::kOutside && generation.maps.front()->group_of({address}) != nullptr)
    return Verdict::drop(DropReason::kSpoofedClientSource);
  return Verdict::next();
}

Verdict hear_ipv4(Context& shard, const Packet& packet) {
  rte_mbuf* const mbuf = packet.mbuf;
  const auto link_size =
      static_cast<std::uint32_t>(packet.l4 - rte_pktmbuf_mtod(mbuf, const std::uint8_t*));
  if (mbuf->nb_segs > 1 && mbuf->data_len < link_size + kHeadersSize)
    return Verdict::drop(DropReason::kIpMalformed);
  const auto parsed =
      wire::Ipv4Header::parse(std::span<const std::uint8_t>{packet.l4, mbuf->pkt_len - link_size});
  if (!parsed) return Verdict::drop(reason_of(parsed.error()));
  const wire::Ipv4Header& ip = **parsed;
  if (ip.has_options() && ip.has_source_route()) return Verdict::drop(DropReason::kIpSourceRoute);
  const Generation& generation = *shard.generation;
  const wire::Ipv4Prefix& network = generation.interfaces[packet.interface].address;
  const wire::Ipv4Address to{ip.destination};
  const bool is_local = (to.value & 0xFFFFFF00) == kLocalGroups || to.value == UINT32_MAX ||
                        (network.length < 31 && to == network.last());
  if (!is_local) return Verdict::drop(DropReason::kIpDestinationInvalid);
  if (const Verdict checked = check_heard_source(generation, packet, ip.source); !checked.is_next())
    return checked;
  const std::size_t here = mbuf->data_len - link_size;
  const std::size_t end = std::min(here, ip.total_size());
  return give(shard, mbuf, packet.interface,
              kernel_class_of(ip, {packet.l4 + std::min(end, ip.header_size()), packet.l4 + end}));
}

Verdict hear_ipv6(Context& shard, const Packet& packet) {
  if (packet.l4_size < sizeof(Ipv6Header)) return Verdict::drop(DropReason::kEtherTypeIpv6);
  const auto& ip = *reinterpret_cast<const Ipv6Header*>(packet.l4);
  if (!is_link_local(ip.destination)) return Verdict::drop(DropReason::kEtherTypeIpv6);
  if (ip.version_and_flow.host() >> 28 != 6) return Verdict::drop(DropReason::kIpMalformed);
  const auto link_size =
      static_cast<std::size_t>(packet.l4 - rte_pktmbuf_mtod(packet.mbuf, const std::uint8_t*));
  if (link_size + sizeof ip + ip.payload_length.host() > packet.mbuf->pkt_len)
    return Verdict::drop(DropReason::kIpTruncated);
  return give(shard, packet.mbuf, packet.interface,
              kernel_class_of_ipv6({packet.l4, packet.l4_size}));
}

/// The reply of the kernel to a question about an address that the NAT has answered for already.
bool is_second_answer(const Context& shard, InterfaceId interface, const rte_mbuf& frame) {
  constexpr std::size_t kLink = sizeof(wire::EthernetHeader);
  const auto* const bytes = rte_pktmbuf_mtod(&frame, const std::uint8_t*);
  const wire::ArpHeader* const arp =
      wire::ArpHeader::parse({bytes + kLink, frame.data_len - kLink});
  return arp != nullptr && arp->operation == wire::Be16::of(wire::kArpReply) &&
         arp->target_ip != arp->sender_ip &&
         is_ours_on(*shard.generation, interface, arp->sender_ip);
}

/// Puts the tag of the interface's VLAN into a frame, and fills ARP up to Ethernet's least, as
/// other ARP of lsnd's; false: its buffer has no room.
bool dress(rte_mbuf* frame, std::uint16_t vlan, std::uint16_t type) {
  constexpr std::uint16_t kSmallestFrame = 60;  // without the check sequence
  if (vlan != 0) {
    auto* const bytes =
        reinterpret_cast<std::uint8_t*>(rte_pktmbuf_prepend(frame, sizeof(wire::VlanTag)));
    if (bytes == nullptr) return false;
    constexpr std::size_t kAddresses = 2 * sizeof(wire::MacAddress);
    std::memmove(bytes, bytes + sizeof(wire::VlanTag), kAddresses);
    const wire::Be16 tag[2] = {wire::Be16::of(wire::kEtherTypeVlan), wire::Be16::of(vlan)};
    std::memcpy(bytes + kAddresses, tag, sizeof tag);
  }
  if (type != wire::kEtherTypeArp || frame->pkt_len >= kSmallestFrame) return true;
  const auto missing = static_cast<std::uint16_t>(kSmallestFrame - frame->pkt_len);
  char* const padding = rte_pktmbuf_append(frame, missing);
  if (padding == nullptr) return false;
  std::memset(padding, 0, missing);
  return true;
}

void send_one(Context& shard, rte_mbuf* frame) {
  constexpr std::uint32_t kLink = sizeof(wire::EthernetHeader);
  const InterfaceId interface = origin_of(frame).interface;
  const Interface& on = shard.generation->interfaces[interface];
  const std::uint32_t size = frame->pkt_len - std::min(frame->pkt_len, kLink);
  if (size == 0 || frame->data_len != frame->pkt_len || size > on.mtu)
    return shard.drop(frame, DropReason::kKernelFrame);
  const std::uint16_t type = rte_pktmbuf_mtod(frame, const wire::EthernetHeader*)->type.host();
  if (type == wire::kEtherTypeVlan || type == kEtherTypeServiceTag)
    return shard.drop(frame, DropReason::kKernelFrame);
  if (type == wire::kEtherTypeIpv6 && shard.links[interface].kernel != KernelUse::kWithIpv6)
    return shard.drop(frame, DropReason::kEtherTypeIpv6);
  if (type == wire::kEtherTypeArp && is_second_answer(shard, interface, *frame)) {
    shard.counters.consumed.add();
    rte_pktmbuf_free(frame);
    return;
  }
  if (!dress(frame, on.vlan, type)) return shard.drop(frame, DropReason::kKernelFrame);
  InterfaceCounters& counters = shard.counters.interfaces[interface];
  counters.from_kernel.add(1, size);
  counters.tx.add(1, size);
  transmit(shard, on.device, frame);
}

}  // namespace

KernelClass kernel_class_of(const wire::Ipv4Header& ip, std::span<const std::uint8_t> payload) {
  return class_of(ip.protocol, ip.is_fragment() ? std::span<const std::uint8_t>{} : payload,
                  ip.ttl);
}

KernelClass kernel_class_of_ipv6(std::span<const std::uint8_t> packet) {
  if (packet.size() < sizeof(Ipv6Header)) return KernelClass::kRest;
  const auto& ip = *reinterpret_cast<const Ipv6Header*>(packet.data());
  const auto payload = packet.subspan(sizeof(Ipv6Header));
  if (ip.next_header == wire::kProtocolIcmpv6 && ip.hop_limit == kFromNeighbour &&
      !payload.empty() && payload[0] >= kFirstDiscovery && payload[0] <= kLastDiscovery)
    return KernelClass::kRouting;
  return class_of(ip.next_header, payload, ip.hop_limit);
}

Verdict deliver_to_kernel(Context& shard, const Packet& packet) {
  return give(shard, packet.mbuf, packet.interface,
              kernel_class_of(*packet.ip, payload_here(packet)));
}

Verdict hear(Context& shard, const Packet& packet) {
  wire::Be16 type;
  std::memcpy(&type, packet.l4 - sizeof type, sizeof type);
  return type == wire::Be16::of(wire::kEtherTypeIpv6) ? hear_ipv6(shard, packet)
                                                      : hear_ipv4(shard, packet);
}

bool concerns_kernel(const Context& shard, const Packet& packet, const wire::ArpHeader& arp) {
  if (shard.links[packet.interface].kernel == KernelUse::kNone) return false;
  const Interface& on = shard.generation->interfaces[packet.interface];
  return arp.target_ip == on.address.address.be() || arp.target_ip == arp.sender_ip;
}

Verdict hear_arp(Context& shard, const Packet& packet) {
  return give(shard, packet.mbuf, packet.interface, KernelClass::kRouting);
}

void take_back(Context& shard, std::span<rte_mbuf* const> packets) {
  constexpr std::uint32_t kLink = sizeof(wire::EthernetHeader);
  for (rte_mbuf* const packet : packets) {
    const PacketOrigin origin = origin_of(packet);
    if (origin.handoffs != static_cast<std::uint8_t>(KernelFate::kTaken)) {
      shard.drop(packet, DropReason::kKernelRefused);
      continue;
    }
    shard.counters.interfaces[origin.interface].to_kernel.add(1, packet->pkt_len - kLink);
    shard.counters.consumed.add();
    rte_pktmbuf_free(packet);
  }
}

void send_from_kernel(Context& shard, std::span<rte_mbuf* const> frames) {
  for (rte_mbuf* const frame : frames) send_one(shard, frame);
}

}  // namespace lsn::datapath
