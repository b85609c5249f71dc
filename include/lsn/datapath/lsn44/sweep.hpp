// Applies a new generation to existing subscribers, mappings and sessions.
//
// Subscribers are walked by their slots, a budget at a time; sessions are reached by their
// subscriber's lists, so that ending a removed client's or address' sessions costs as much as there
// are of them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lsn/datapath/lsn44/pools.hpp"
#include "lsn/state/none.hpp"

namespace lsn::datapath {

struct Lsn44;

namespace lsn44 {

/// Begins to work with a generation: `addresses` are this shard's part of it.
void adopt(Lsn44& shard, const Generation* generation, ShardAddresses* addresses);

}  // namespace lsn44

/// Ends sessions and mappings that the current generation does not allow (addresses, clients,
/// groups that are gone), at most about `budget` objects per call; `ended` counts sessions.
struct GenerationSweep {
  std::uint32_t cursor = 0;           ///< subscriber
  bool sessions_done = false;         ///< of it; its mappings come next
  std::uint32_t next = state::kNone;  ///< session or mapping where to go on
  bool finished = false;
  std::uint64_t ended = 0;
};
void enforce_generation(Lsn44& shard, GenerationSweep& sweep, std::size_t budget);

}  // namespace lsn::datapath
