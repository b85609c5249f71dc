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
  kPaired,    ///< both SPIs of each exchange are learned, and a packet came back (design 4.5)
  kDeadline,  ///< espGateTimeout after the turn began (design 4.2)
  kIkeRekey,  ///< its exchange has rekeyed the IKE SA, no ESP will come of it
  kRestart,   ///< the holder began a new IKE session, the old one's exchanges are silent (design 3)
  kFloat,     ///< the holder moved to UDP 4500
  kOldSpi,    ///< the holder's old ESP session goes on, and a client waits
  kYield,     ///< to a waiter: no exchange, no answer, or none of the new ESP for 5 s (design 4.8)
  kRefused,   ///< there is no room for the holder's SPI (design 7)
  kFlush,     ///< a flush command, or a reload
};
inline constexpr std::size_t kCloseReasons = 9;

/// How an IKE session ends.
enum class AlgEnd : std::uint8_t { kExpired, kReplaced, kFloated, kFlushed, kReload };

}  // namespace lsn::shared
