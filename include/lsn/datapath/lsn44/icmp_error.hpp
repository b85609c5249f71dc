// ICMP errors about translated packets (RFC 5508 section 4), which name their session by the packet
// that they quote - as its sender's side of the NAT knew it:
//
//   from outside  quotes a packet sent:       NAT -> remote;     its source becomes the inside's
//   from inside   quotes a packet delivered:  remote -> inside;  its destination becomes the NAT's
//
// ESP is named by the SPI of the quoted packet, which is not rewritten (design 7).
//
// The outer header follows, and every checksum on the way, by differences: the quoted IP header's,
// the quoted TCP, UDP or ICMP header's as far as it is quoted, ICMP's own over all of it. The
// session is not touched (REQ-6): an error neither refreshes nor ends it.
#pragma once

#include <cstdint>

#include "lsn/datapath/packet.hpp"
#include "lsn/datapath/verdict.hpp"

namespace lsn::datapath {
struct Lsn44;
}

namespace lsn::datapath::lsn44 {

/// Each takes the packet in any case but drop and handoff.
[[nodiscard]] Verdict icmp_error_outbound(Lsn44& shard, Packet& packet);
[[nodiscard]] Verdict icmp_error_inbound(Lsn44& shard, Packet& packet);

/// Sends an error about `packet` to its sender (l3/icmp_send.hpp). The sender of a hairpinned
/// packet is told through its own session, as by any host behind its NAT address (RFC 5508 REQ-7).
void report_error(Lsn44& shard, const Packet& packet, std::uint8_t type, std::uint8_t code,
                  std::uint16_t mtu = 0);

}  // namespace lsn::datapath::lsn44
