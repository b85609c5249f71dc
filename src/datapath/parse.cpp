#include "lsn/datapath/parse.hpp"

namespace lsn::datapath {

Verdict parse_l4(Packet& packet) {
  return packet.kind == PacketKind::kFragment ? parse_l4<Datagram::kFirstFragment>(packet, 0)
                                              : parse_l4<Datagram::kWhole>(packet, 0);
}

std::optional<FrameAddresses> addresses_of_frame(const Context& shard, std::uint16_t device,
                                                 const rte_mbuf& frame) {
  const auto* bytes = rte_pktmbuf_mtod(&frame, const std::uint8_t*);
  std::size_t size = sizeof(wire::EthernetHeader);
  if (frame.data_len < size + sizeof(wire::VlanTag) + sizeof(wire::Ipv4Header)) return std::nullopt;
  wire::Be16 type = reinterpret_cast<const wire::EthernetHeader*>(bytes)->type;
  unsigned vlan = (frame.ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0 ? frame.vlan_tci & 0xFFF : 0;
  if (type == wire::Be16::of(wire::kEtherTypeVlan)) {
    const auto* tag = reinterpret_cast<const wire::VlanTag*>(bytes + size);
    size += sizeof(wire::VlanTag);
    vlan = tag->id();
    type = tag->type;
  }
  const InterfaceId interface = shard.ingress[device][vlan];
  if (type != wire::Be16::of(wire::kEtherTypeIpv4) || interface == kNoInterface)
    return std::nullopt;
  const auto* ip = reinterpret_cast<const wire::Ipv4Header*>(bytes + size);
  return FrameAddresses{shard.links[interface].side, wire::Ipv4Address{ip->source},
                        wire::Ipv4Address{ip->destination}};
}

}  // namespace lsn::datapath
