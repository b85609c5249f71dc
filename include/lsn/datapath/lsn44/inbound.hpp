// A packet from outside that has no session on the fast path, or one that another subscriber sent
// to a NAT address: for the NAT itself? for a NAT address of this shard? then its session, or a
// mapping that lets it in.
#pragma once

#include "lsn/datapath/packet.hpp"
#include "lsn/datapath/verdict.hpp"

namespace lsn::datapath {
struct Lsn44;
}

namespace lsn::datapath::lsn44 {

/// Takes the packet in any case but drop and handoff.
[[nodiscard]] Verdict inbound(Lsn44& shard, Packet& packet);

}  // namespace lsn::datapath::lsn44
