// Two subscribers that talk through their NAT addresses (RFC 4787 REQ-9, RFC 5382 REQ-8): the
// packet is translated outbound, so that its source is an external address and port, and is then
// inbound for the other NAT address, whose shard goes on with it. Its TTL has paid for one hop.
#pragma once

#include "lsn/datapath/packet.hpp"
#include "lsn/datapath/verdict.hpp"

namespace lsn::datapath {
struct Lsn44;
}

namespace lsn::datapath::lsn44 {

/// A packet that was translated outbound and goes to a NAT address: to its owner. Takes the packet
/// in any case but drop and handoff.
[[nodiscard]] Verdict hairpin(Lsn44& shard, Packet& packet);

}  // namespace lsn::datapath::lsn44
