// Packets without ports that a one-to-one static mapping translates: ESP, GRE, IPv6 in IPv4, and
// every other IP protocol but AH, by their addresses alone.
//
// There is no session: the mapping is all that decides, for each packet by itself, whole or a
// fragment; its owner is the shard of the NAT address. What is behind the IP header stays as it is
// but for the checksums that cover the addresses (DCCP, UDP-Lite; TCP and UDP have sessions). TTL,
// MTU, next hops, hairpin and ICMP errors are as for any packet. A protocol that no mapping
// translates is dropped under its own reason.
#pragma once

#include "lsn/datapath/packet.hpp"
#include "lsn/datapath/verdict.hpp"
#include "lsn/shared/counters.hpp"
#include "lsn/wire/big_endian.hpp"

namespace lsn::datapath {
struct Lsn44;
}

namespace lsn::datapath::lsn44 {

/// A packet or fragment of a protocol that is none of Protocol. Takes it in any case but drop and
/// handoff.
[[nodiscard]] Verdict other_protocol(Lsn44& shard, Packet& packet);

/// Gives a packet its source's NAT address (outbound) or its destination's inside address
/// (inbound), and sends it on. Takes the packet in any case but drop and handoff.
[[nodiscard]] Verdict forward_by_address(Lsn44& shard, Packet& packet, Direction direction,
                                         const InsideAddress& replacement);

}  // namespace lsn::datapath::lsn44
