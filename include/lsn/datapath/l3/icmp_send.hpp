// Messages that the NAT itself sends: ICMP errors about packets that are not forwarded, answers to
// echo requests for interfaces' addresses, and for any other packet to these, ICMP port or protocol
// unreachable or a TCP reset. traceroute to such an address ends with that.
//
// An error quotes the packet as its sender knows it, so it is created before anything is changed
// (RFC 1812 section 4.3.2.3: as much of it as fits in 576 bytes). None is sent about an ICMP error,
// a fragment other than the first, a broadcast or multicast, or a source that is no single host
// (section 4.3.2.7), and not more than its kind's share (icmp_budget.hpp). Its source is the
// packet's destination, if that is an interface's address, or else the address of the interface
// that the packet came in on, and it leaves by the side that the packet came from or not at all: a
// forged source is told nothing about the other side. For the sender of a hairpinned packet:
// lsn44/icmp_error.hpp, report_error().
//
// An echo request is turned around in its buffer. One that comes in fragments is answered fragment
// by fragment, never put together: the reassembly table holds them back until the first one has
// said that they are an echo request's, and refuses overlaps. Only the first one has the ICMP
// header, so the checksum of such a request is not verified but carried over: wrong stays wrong.
#pragma once

#include <cstdint>

#include "lsn/datapath/l3/l3.hpp"
#include "lsn/datapath/packet.hpp"

namespace lsn::datapath {

/// Sends an error about `packet`, which is left as it is. `mtu`: of kIcmpFragmentationNeeded.
void send_icmp_error(L3& shard, const Packet& packet, std::uint8_t type, std::uint8_t code,
                     std::uint16_t mtu = 0);

/// The same error, within the same limits, in a buffer of its own behind an empty link header;
/// nullptr: none.
[[nodiscard]] rte_mbuf* make_icmp_error(L3& shard, const Packet& packet, std::uint8_t type,
                                        std::uint8_t code, std::uint16_t mtu = 0);

/// A packet for an interface's address. Gives it to the kernel, if that has it
/// (l3/kernel_path.hpp); else answers an echo request (RFC 1812 section 4.3.3.6),
/// drop(l4_malformed) if its checksum is wrong; everything else is dropped as no_listener, and its
/// sender told so, other ICMP as not_for_us. Takes the packet when it says consumed.
[[nodiscard]] Verdict deliver_locally(L3& shard, Packet& packet);

}  // namespace lsn::datapath
