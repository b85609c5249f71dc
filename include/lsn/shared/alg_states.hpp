// The states of gates and why things of the ALG end: words that the packet path, the commands and
// the log share.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lsn::shared {

enum class GateState : std::uint8_t { kClosed, kExchange, kArmed };
enum class HalfGate : std::uint8_t { kUnarmed, kArmed, kPassed, kTimedOut };

/// Why a turn ended (design 4.9); the order of AlgCounter::kClosedPaired and following.
enum class CloseReason : std::uint8_t {
  kPaired,
  kDeadline,
  kIkeRekey,
  kRestart,
  kFloat,
  kOldSpi,
  kYield,
  kRefused,
  kFlush,
};
inline constexpr std::size_t kCloseReasons = 9;

/// How an IKE session ends.
enum class AlgEnd : std::uint8_t { kExpired, kReplaced, kFloated, kFlushed, kReload };

}  // namespace lsn::shared
