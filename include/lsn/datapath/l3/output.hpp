// The last stage of both directions: from a translated packet to a device's transmit buffer.
//
// Established traffic uses send_fast(): the neighbour is reachable and the packet fits; the caller
// has seen both. send() does everything: fragments packets that are too large (the caller has
// refused those with DF before it changed them: too_big()), lets packets wait for unresolved
// neighbours. Both take the packet.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>
#include <cstring>
#include <expected>
#include <optional>

#include "lsn/datapath/l3/l3.hpp"
#include "lsn/datapath/packet.hpp"

namespace lsn::datapath {

/// Where packets for `destination` go, as its domain knows it: the neighbour, kNoNeighbour when
/// there is no room for it, and the route's interface. nullopt: no route, or an address on a link
/// that no host can have there (the network's, its broadcast address, an interface's). The longest
/// prefix decides, of two that are alike the configured one. Of several ways each subscriber has
/// one (RFC 2992, weighted rendezvous hashing): when one fails or comes, only its own subscribers
/// move.
struct NextHop {
  NeighbourId neighbour;
  InterfaceId interface;
};
[[nodiscard]] std::optional<NextHop> resolve(L3& shard, const InsideAddress& destination,
                                             wire::Be32 subscriber);

/// Interface and next address of the way that resolve() takes; asks for nobody.
[[nodiscard]] std::optional<Route> way_to(const L3& shard, const InsideAddress& destination,
                                          wire::Be32 subscriber);

/// set_data() of a buffer of several segments whose first byte is set already: frees the rest.
void cut_segments(rte_mbuf* packet, std::uint32_t size);

/// Makes a buffer's data begin at `first`, somewhere in its first segment, and be `size` bytes
/// long in all; there are at least that many.
inline void set_data(rte_mbuf* packet, std::uint8_t* first, std::uint32_t size) {
  auto* start = static_cast<std::uint8_t*>(packet->buf_addr);
  const auto offset = static_cast<std::uint16_t>(first - start);
  const int moved = packet->data_off - offset;
  packet->data_off = offset;
  if (packet->nb_segs == 1) [[likely]] {
    packet->data_len = static_cast<std::uint16_t>(size);
    packet->pkt_len = size;
  } else {
    packet->data_len = static_cast<std::uint16_t>(packet->data_len + moved);
    packet->pkt_len = static_cast<std::uint32_t>(static_cast<int>(packet->pkt_len) + moved);
    if (packet->pkt_len > size) cut_segments(packet, size);
  }
}

/// Sets the link header in front of the IP packet `ip` and transmits. `size`: of the IP packet; the
/// frame's padding is cut off.
inline void send_fast(Context& shard, rte_mbuf* packet, wire::Ipv4Header* ip, std::uint16_t size,
                      Neighbour& neighbour) {
  auto* bytes = reinterpret_cast<std::uint8_t*>(ip);
  const unsigned link = neighbour.link_header_size;
  // 18 bytes may stand where 14 did: the buffers' headroom is far larger.
  std::memcpy(bytes - link, neighbour.link_header.data(), 14);
  if (link != 14) [[unlikely]]
    std::memcpy(bytes - 4, neighbour.link_header.data() + 14, 4);
  set_data(packet, bytes - link, size + link);
  if (neighbour.last_used != shard.now) neighbour.last_used = shard.now;
  InterfaceCounters& counters = shard.counters.interfaces[neighbour.interface];
  counters.tx.add(1, size);
  transmit(shard, neighbour.device, packet);
}

/// Sends a packet to a neighbour in any state, in fragments if it is larger than the MTU (RFC 791
/// section 3.2).
void send(L3& shard, rte_mbuf* packet, wire::Ipv4Header* ip, NeighbourId neighbour);

/// send() to a neighbour that is reachable.
void send_to(L3& shard, rte_mbuf* packet, wire::Ipv4Header* ip, Neighbour& neighbour);

/// Where the NAT's own answer to a packet goes. A sender on the very link that is not a reachable
/// neighbour is answered where its frame came from, without becoming a neighbour: forged senders
/// must not take the places of next hops.
struct AnswerHop {
  NeighbourId neighbour;  ///< kNoNeighbour: `station`
  Neighbour station;
};
/// For the answer to `packet`, whose data begin at its link header; `sender`: its source.
[[nodiscard]] std::expected<AnswerHop, DropReason> resolve_answer(L3& shard, const Packet& packet,
                                                                  wire::Be32 sender);
/// send() there.
void send_answer(L3& shard, rte_mbuf* packet, wire::Ipv4Header* ip, AnswerHop& hop);

/// Whether a packet must be refused towards this neighbour: larger than the MTU and DF set. Then
/// its sender gets ICMP fragmentation needed (RFC 1191, RFC 4787 REQ-13).
[[nodiscard]] inline bool too_big(const wire::Ipv4Header& ip, std::uint16_t size,
                                  const Neighbour& neighbour) {
  return size > neighbour.mtu && ip.dont_fragment();
}

}  // namespace lsn::datapath
