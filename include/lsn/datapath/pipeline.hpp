// A shard's work on a burst of packets, and between bursts.
#pragma once

#include <rte_mbuf.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "lsn/datapath/shard.hpp"

namespace lsn::datapath {

/// Takes packets that a device has received (at most kBurst). The results stand in shard.tx and
/// shard.handoff_buffers, which the caller empties before the next burst.
void process_received(IpsecAlg& shard, std::uint16_t device, std::span<rte_mbuf* const> packets);

/// Takes packets that another shard has handed off (at most kBurst).
void process_handoff(IpsecAlg& shard, std::span<rte_mbuf* const> packets);

/// A shard's work without packets: turns its timer wheels to shard.now, asks for neighbours, frees
/// ports and fragments whose time is over. At most about `budget` objects of each kind; the next
/// call does the rest, otherwise there is nothing until the next tick.
void housekeep(Shard& shard, std::size_t budget);

}  // namespace lsn::datapath
