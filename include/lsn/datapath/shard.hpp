// All that one worker owns: its tables, its share of the NAT addresses, its buffers, its counters.
// The floors that it is built of are in context.hpp; path.hpp says what is done with it.
#pragma once

#include <optional>

#include "lsn/datapath/ipsec_alg/ipsec_alg.hpp"
#include "lsn/shared/queries.hpp"

namespace lsn::shared {
struct CapturedFlow;
}  // namespace lsn::shared

namespace lsn::datapath {

struct CapturePoint;
struct PacketEnds;

using ShardConfig = IpsecAlgConfig;

struct Shard : IpsecAlg {
  explicit Shard(const ShardConfig& config);
  ~Shard();

  /// housekeep() has done all that was due by then. Not set: it has not, or a generation is new.
  std::optional<state::Ticks> kept_up_to;
};

/// Begins to work with a generation: `addresses` are this shard's part of it. Call
/// enforce_generation() (lsn44/sweep.hpp) until it is finished.
void adopt_generation(Shard& shard, const Generation* generation, lsn44::ShardAddresses* addresses);

/// All that decides about one packet (`explain`).
void look_up(IpsecAlg& shard, Lookup& lookup, std::size_t budget);

/// CaptureTap::FindSession: by the session tables, and by the mapping of an inbound packet.
[[nodiscard]] bool find_captured(Context& shard, const CapturePoint& point, const PacketEnds& ends,
                                 CapturedFlow& flow);

/// Room in a shard's tables.
[[nodiscard]] ShardCapacity capacity_of(const IpsecAlg& shard);

/// Frees every packet that the shard still holds (at the end).
void release_packets(L3& shard);

}  // namespace lsn::datapath
