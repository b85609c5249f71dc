#include "lsn/datapath/parse.hpp"

namespace lsn::datapath {

Verdict parse_l4(Packet& packet) {
  return packet.kind == PacketKind::kFragment ? parse_l4<Datagram::kFirstFragment>(packet, 0)
                                              : parse_l4<Datagram::kWhole>(packet, 0);
}

Verdict set_aside(const Context& shard, Packet& packet, std::uint8_t* payload, wire::Be16 type) {
  const InterfaceLink& link = shard.links[packet.interface];
  const auto& ethernet = *rte_pktmbuf_mtod(packet.mbuf, const wire::EthernetHeader*);
  const bool to_many = (ethernet.destination[0] & 1) != 0;
  const auto heard = [&] {
    packet.kind = PacketKind::kHeard;
    packet.l4 = payload;
    packet.l4_size = static_cast<std::uint32_t>(rte_pktmbuf_mtod(packet.mbuf, std::uint8_t*) +
                                                packet.mbuf->data_len - payload);
    return Verdict::consumed();
  };
  if (type == wire::Be16::of(wire::kEtherTypeIpv4)) {
    if (!to_many) return Verdict::drop(DropReason::kMacNotOurs);
    return link.kernel != KernelUse::kNone ? heard()
                                           : Verdict::drop(DropReason::kIpDestinationInvalid);
  }
  if (type != wire::Be16::of(wire::kEtherTypeIpv6))
    return Verdict::drop(DropReason::kEtherTypeOther);
  return link.kernel == KernelUse::kWithIpv6 &&
                 (to_many || wire::is_same(ethernet.destination, link.mac))
             ? heard()
             : Verdict::drop(DropReason::kEtherTypeIpv6);
}

std::optional<FrameAddresses> addresses_of_frame(const Context& shard, std::uint16_t device,
                                                 const rte_mbuf& frame) {
  LinkHeader link;
  if (!read_link(frame, link) || frame.data_len < link.size + sizeof(wire::Ipv4Header))
    return std::nullopt;
  const InterfaceId interface = shard.ingress[device][link.vlan];
  if (link.type != wire::Be16::of(wire::kEtherTypeIpv4) || interface == kNoInterface)
    return std::nullopt;
  const auto* ip = rte_pktmbuf_mtod_offset(&frame, const wire::Ipv4Header*, link.size);
  return FrameAddresses{shard.links[interface].side, wire::Ipv4Address{ip->source},
                        wire::Ipv4Address{ip->destination}};
}

}  // namespace lsn::datapath
