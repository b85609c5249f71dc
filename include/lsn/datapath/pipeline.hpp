// The stages that every packet passes: parse, and what sends it to the right place afterwards.
//
// parse_frame() reads the link header and finds the interface; parse_ip() reads IPv4 and what is
// behind it. Both only look; what they say is in the Packet. dispatch() is the slow path's switch:
// to outbound, inbound, ICMP errors or fragments, by the packet's side and kind. Whoever calls it
// turns its verdict into a drop or a handoff with settle().
#pragma once

#include "lsn/datapath/packet.hpp"
#include "lsn/datapath/reassembly.hpp"
#include "lsn/datapath/shard.hpp"

namespace lsn::datapath {

/// Reads the link header of a frame from `device`. next: an IPv4 packet begins at packet.ip (not
/// looked at yet). consumed: ARP, done with and freed.
[[nodiscard]] Verdict parse_frame(Shard& shard, std::uint16_t device, rte_mbuf* mbuf,
                                  Packet& packet);

/// Reads the IPv4 header at packet.ip and the next one; sets kind, key, hash.
[[nodiscard]] Verdict parse_ip(Shard& shard, Packet& packet);

/// Reads the header behind IPv4 of a whole packet or a first fragment: key and kind.
[[nodiscard]] Verdict parse_l4(Packet& packet);

/// The slow path of one packet.
[[nodiscard]] Verdict dispatch(Shard& shard, Packet& packet);

/// Drops, hands over, or nothing: makes a verdict true. The packet's data begin at its link header.
void settle(Shard& shard, Packet& packet, Verdict verdict);

/// Whether an address is one of our interfaces'.
[[nodiscard]] inline bool is_own_address(const Generation& generation, wire::Be32 address) {
  return generation.is_own_address(wire::Ipv4Address{address});
}

using wire::is_host_address;

}  // namespace lsn::datapath
