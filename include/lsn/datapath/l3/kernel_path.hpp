// The kernel path: what an interface with a kernel interface (a TAP, interfaces[].kernel) gives to
// the kernel and gets from it, so that the box's own programs, BGP and OSPF, ssh and SNMP, work as
// on any interface.
//
// One packet's way to the kernel: it came in on such an interface, and is for that interface's own
// address (is_for_kernel(), deliver_to_kernel()), or link-local or broadcast and ours to hear
// (hear()), or ARP that is for us (hear_arp()). Its class is found by its headers; the class's rate
// on that interface lets it pass or drops it (kernel_policer.hpp); it loses its VLAN tag and stands
// in a buffer of its class (Context::kernel), which the worker puts into a ring after the burst. A
// thread writes it to the TAP, and gives the buffer back: take_back() frees and counts it, and
// drops what the kernel has refused.
//
// A frame from the kernel is sent by send_from_kernel(): as it is, in the interface's VLAN.
//
// Who answers ARP for the interface's address: the NAT, as always. The kernel sees the question
// too, and learns the sender from it; its own answer is withheld.
//
// Only the address of the very interface by which a packet came counts (RFC 1122 section 3.3.4.2,
// the strong model): for the others the NAT answers as it does without a kernel path.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>
#include <span>

#include "lsn/datapath/l3/l3.hpp"
#include "lsn/datapath/packet.hpp"

namespace lsn::datapath {

/// The class of an IPv4 packet. `payload`: what is there behind its header. BGP by TCP port 179,
/// ssh and HTTPS by 22 and 443, SNMP by UDP 161, as source or destination; BFD by destination (RFC
/// 5881, RFC 5883). A piece of a datagram is of its protocol's class, and without ports the rest.
/// BFD over one hop and VRRP that have crossed a router are the rest: nobody takes them.
[[nodiscard]] KernelClass kernel_class_of(const wire::Ipv4Header& ip,
                                          std::span<const std::uint8_t> payload);

/// ... of an IPv6 packet whose bytes are given: by its next header alone, options are the rest.
/// Router and neighbour discovery (ICMPv6 133-137, RFC 4861) is what ARP is to IPv4, if it has
/// crossed no router.
[[nodiscard]] KernelClass kernel_class_of_ipv6(std::span<const std::uint8_t> packet);

/// Whether a packet is for the address of the interface by which it came, and the kernel has that
/// address, too.
[[nodiscard]] inline bool is_for_kernel(const Context& shard, const Packet& packet) {
  if (shard.links[packet.interface].kernel == KernelUse::kNone) [[likely]]
    return false;
  return !packet.hairpin && packet.ip->destination ==
                                shard.generation->interfaces[packet.interface].address.address.be();
}

/// Gives a packet to the kernel, whole or in pieces. Takes it when it says consumed.
[[nodiscard]] Verdict deliver_to_kernel(Context& shard, const Packet& packet);

/// PacketKind::kHeard, of a link whose kernel interface is there: IPv4 to 224.0.0.0/24 or a
/// broadcast address of the link goes to the kernel, and link-local IPv6 if it is wanted. Takes it
/// when it says consumed.
[[nodiscard]] Verdict hear(Context& shard, const Packet& packet);

/// ARP that the neighbour table has learned from, of such a link: for the interface's address, or
/// an announcement.
[[nodiscard]] bool concerns_kernel(const Context& shard, const Packet& packet,
                                   const wire::ArpHeader& arp);
[[nodiscard]] Verdict hear_arp(Context& shard, const Packet& packet);

/// Whether the kernel took a packet.
enum class KernelFate : std::uint8_t { kTaken, kRefused };
/// In PacketOrigin::handoffs of a packet that comes back.
inline void set_fate(rte_mbuf* packet, KernelFate fate) {
  origin_of(packet).handoffs = static_cast<std::uint8_t>(fate);
}

/// Packets that come back from the kernel path's thread: counted and freed.
void take_back(Context& shard, std::span<rte_mbuf* const> packets);

/// Frames that the kernel sends, each on the interface in its PacketOrigin: into the transmit
/// buffer, or dropped: too short, larger than the MTU, with a VLAN tag of its own, or IPv6 where
/// that is not wanted.
void send_from_kernel(Context& shard, std::span<rte_mbuf* const> frames);

}  // namespace lsn::datapath
