// Prefetches the lines that the slow packets of a burst, or ends of sessions, are going to touch,
// for all of them at a time.
//
// Creating a session reads and writes a dozen lines, most of which are found through another one:
// subscriber, pairing, NAT port, the inbound key that follows from it. Beyond the L2 cache a miss
// costs some 400 clocks, so one session after the other would take thousands. Here each step is
// taken for all packets before the next: the misses of one step overlap. Nothing is changed,
// nothing is decided: a wrong prediction costs a miss, and the stages do not know of it.
#pragma once

#include <span>

#include "lsn/datapath/lsn44/ids.hpp"
#include "lsn/datapath/packet.hpp"

namespace lsn::datapath {
struct Lsn44;
}

namespace lsn::datapath::lsn44 {

/// At most kBurst packets, none of which has a session or is another shard's.
void prefetch(Lsn44& shard, std::span<const Packet* const> packets);

/// Sessions and mappings that their wheels will ask for soon: some of them end.
void prefetch_sessions(Lsn44& shard, std::span<const SessionId> ids);
void prefetch_mappings(Lsn44& shard, std::span<const MappingId> ids);

}  // namespace lsn::datapath::lsn44
