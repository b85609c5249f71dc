// The numbers of the design (docs/ipsec-alg-design.md) that are not parameters of a profile.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "lsn/state/ticks.hpp"

namespace lsn::datapath::ipsec_alg {

inline constexpr std::uint32_t kUnansweredExchanges = 64;  // design 2, IKE session
inline constexpr std::uint32_t kAnsweredExchanges = 8;     // design 2, IKE session
inline constexpr std::uint32_t kFlightDatagrams = 16;      // design 4.7
inline constexpr std::uint32_t kFlightPackets = 64;        // with fragments, of IKE and of IP
inline constexpr std::uint32_t kFlightsPerWaiter = kUnansweredExchanges;
inline constexpr std::uint32_t kIkeSessionsPerSubscriber = 64;                   // design 6
inline constexpr std::uint32_t kGatesPerSubscriber = 64;                         // design 6
inline constexpr state::TickDuration kPlaceKept = std::chrono::seconds{35};      // design 4.7
inline constexpr state::TickDuration kAnswerExpected = std::chrono::seconds{5};  // design 4.8
inline constexpr state::TickDuration kFurtherSpi = std::chrono::seconds{2};      // design 4.5
inline constexpr state::TickDuration kGateKept = std::chrono::seconds{1};        // design 4.8
inline constexpr state::TickDuration kSilentExchange = std::chrono::seconds{5};  // design 3
inline constexpr state::TickDuration kReplySoon = std::chrono::seconds{1};       // design 5.8
inline constexpr state::TickDuration kRivals = std::chrono::seconds{60};  // other SPIs that reply
inline constexpr unsigned kReplies = 3, kRepliesAmongOthers = 5;          // design 5.8
inline constexpr state::TickDuration kOldSpiStep = std::chrono::seconds{1};      // design 4.9:
inline constexpr unsigned kOldSpiSteps = 2;                                      // 2 s, in steps
inline constexpr state::TickDuration kUnansweredIke = std::chrono::seconds{60};  // design 6

/// UDP 500 mappings that the ESP sessions of a peer keep alive.
inline constexpr std::uint32_t kKeptPorts = 16;
/// Unknown SPIs that a gate remembers to have seen.
inline constexpr std::size_t kSeenSpis = 16;
/// Claimants, peers, sessions that one packet looks at to find out that there is no other.
inline constexpr unsigned kLookLimit = 16;
/// Packets of a client on an SPI without an answer that count against other clients', for each of
/// its turns.
inline constexpr std::uint32_t kAsks = 16;

}  // namespace lsn::datapath::ipsec_alg
