#include "lsn/datapath/recent_drops.hpp"

#include <cstring>

#include "lsn/wire/ethernet.hpp"
#include "lsn/wire/ipv4.hpp"

namespace lsn::datapath {

const wire::Ipv4Header* ip_of_dropped(const rte_mbuf* packet) {
  const auto* const bytes = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  const auto at = [&](std::size_t offset) -> const wire::Ipv4Header* {
    if (packet->data_len < offset + sizeof(wire::Ipv4Header)) return nullptr;
    const auto* ip = reinterpret_cast<const wire::Ipv4Header*>(bytes + offset);
    return ip->version_and_size >> 4 == 4 && ip->header_size() >= sizeof(wire::Ipv4Header)
               ? ip
               : nullptr;
  };
  if (const wire::Ipv4Header* const ip = at(0);
      ip != nullptr && ip->total_size() == packet->pkt_len)
    return ip;
  if (packet->data_len < sizeof(wire::EthernetHeader)) return nullptr;
  const auto* const ethernet = reinterpret_cast<const wire::EthernetHeader*>(bytes);
  if (ethernet->type == wire::Be16::of(wire::kEtherTypeIpv4))
    return at(sizeof(wire::EthernetHeader));
  return ethernet->type == wire::Be16::of(wire::kEtherTypeVlan)
             ? at(sizeof(wire::EthernetHeader) + sizeof(wire::VlanTag))
             : nullptr;
}

void RecentDrops::keep(Ring& ring, const rte_mbuf* packet, state::Ticks now) {
  const wire::Ipv4Header* const ip = ip_of_dropped(packet);
  if (ip == nullptr) return;  // no packet of IPv4: no row would be found by it
  ring.latest = now;
  Drop& drop = ring.drops[ring.next++ % kKept];
  drop = {.at = now,
          .source = ip->source,
          .destination = ip->destination,
          .protocol = ip->protocol,
          .some = true,
          .size = static_cast<std::uint16_t>(ip->total_size())};
  const auto* const end = rte_pktmbuf_mtod(packet, const std::uint8_t*) + packet->data_len;
  if (ip->fragment_offset() != 0 || end - ip->payload() < 4) return;
  drop.has_l4 = true;
  std::memcpy(&drop.l4, ip->payload(), sizeof drop.l4);
}

}  // namespace lsn::datapath
