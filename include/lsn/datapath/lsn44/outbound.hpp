// A packet from inside that has no session on the fast path: for the NAT itself? of a client? this
// shard's to serve? then its session, created if its policies allow.
#pragma once

#include "lsn/datapath/packet.hpp"
#include "lsn/datapath/verdict.hpp"

namespace lsn::datapath {
struct Lsn44;
}

namespace lsn::datapath::lsn44 {

/// Takes the packet in any case but drop and handoff.
[[nodiscard]] Verdict outbound(Lsn44& shard, Packet& packet);

}  // namespace lsn::datapath::lsn44
