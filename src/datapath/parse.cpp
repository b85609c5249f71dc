#include "lsn/datapath/parse.hpp"

namespace lsn::datapath {

Verdict parse_l4(Packet& packet) {
  return packet.kind == PacketKind::kFragment ? parse_l4<Datagram::kFirstFragment>(packet, 0)
                                              : parse_l4<Datagram::kWhole>(packet, 0);
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
