// MSS clamping (tcpMss): the largest segment that either side of a connection announces in its SYN
// is lowered to what fits the way between them, where path MTU discovery fails (RFC 4459
// section 3.2).
//
// Limits stand at interfaces, for SYNs that come in or leave there, and at application profiles,
// for the destination port; the smallest counts. A value is only ever lowered, and a SYN without
// the option gets none: its sender takes 536 (RFC 9293 section 3.7.1). SYNs are not on the fast
// path; where nothing is configured they pay for one test.
#pragma once

#include <cstdint>

#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/datapath/packet.hpp"
#include "lsn/wire/tcp.hpp"

namespace lsn::datapath {
struct Lsn44;
}

namespace lsn::datapath::lsn44 {

/// Lowers each MSS option of a header that has been checked to `limit`, and the checksum with it.
void lower_mss(wire::TcpHeader& tcp, std::uint16_t limit);

/// The same by the limits for a SYN of a session in that direction.
void clamp_mss(Lsn44& shard, const Packet& packet, SessionId id, Direction direction);
/// ... by those of the interfaces alone, for a SYN that is routed untranslated.
void clamp_mss(Lsn44& shard, const Packet& packet, NeighbourId hop);

}  // namespace lsn::datapath::lsn44
