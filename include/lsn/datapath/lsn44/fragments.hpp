// Fragments of datagrams that are translated: they go to the owner first, whose table of datagrams
// (l3/reassembly.hpp) they meet in; a first fragment goes the way of a whole packet, and those that
// wait for it follow by its ports.
#pragma once

#include "lsn/datapath/packet.hpp"
#include "lsn/datapath/verdict.hpp"

namespace lsn::datapath {
struct Lsn44;
}

namespace lsn::datapath::lsn44 {

/// Takes the packet in any case but drop and handoff.
[[nodiscard]] Verdict fragment(Lsn44& shard, Packet& packet);

}  // namespace lsn::datapath::lsn44
