// A stage's decision about a packet, closed: every stage returns one of these and nothing else.
//
//   next               the next stage takes it (or: it was put into a transmit buffer)
//   consumed           it ended here by design: ARP, an echo request that was answered, a fragment
//                      that waits
//   handoff(shard)     it belongs to another shard, which goes on with it
//   drop(reason)       it is dropped, freed and counted by the caller of the stage
#pragma once

#include <cstdint>

#include "lsn/shared/drop_reason.hpp"
#include "lsn/shared/shard_map.hpp"

namespace lsn::datapath {

/// The packet path uses the names of lsn/shared, which both threads may see, unqualified.
using namespace shared;

class Verdict {
 public:
  enum class Kind : std::uint8_t { kNext, kConsumed, kHandoff, kDrop };

  [[nodiscard]] static constexpr Verdict next() { return {Kind::kNext, 0}; }
  [[nodiscard]] static constexpr Verdict consumed() { return {Kind::kConsumed, 0}; }
  [[nodiscard]] static constexpr Verdict handoff(ShardId shard) { return {Kind::kHandoff, shard}; }
  [[nodiscard]] static constexpr Verdict drop(DropReason reason) {
    return {Kind::kDrop, static_cast<std::uint8_t>(reason)};
  }

  [[nodiscard]] constexpr Kind kind() const { return kind_; }
  [[nodiscard]] constexpr bool is_next() const { return kind_ == Kind::kNext; }
  [[nodiscard]] constexpr bool is_drop() const { return kind_ == Kind::kDrop; }
  [[nodiscard]] constexpr DropReason reason() const { return static_cast<DropReason>(detail_); }
  [[nodiscard]] constexpr ShardId shard() const { return detail_; }

  friend constexpr bool operator==(Verdict, Verdict) = default;

 private:
  constexpr Verdict(Kind kind, std::uint8_t detail) : kind_(kind), detail_(detail) {}

  Kind kind_;
  std::uint8_t detail_;
};

}  // namespace lsn::datapath
