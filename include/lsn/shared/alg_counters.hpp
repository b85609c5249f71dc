// The ALG's counters: per ipsecalg profile and in total, one writer, like Counters.
//
// Dropped packets have their reasons in DropReason and are counted there in total (`show drops`);
// AlgCounters has the same drops once more per profile, where the profile is known. Gauges have the
// present numbers. `waited` is a histogram of how long held messages waited until they went on.
//
// The traffic of ESP sessions is not counted packet by packet: the sessions' own counts are added
// here at every tick, some sessions at a time, and when a session ends. So it costs the fast path
// nothing, and a thousand sessions are up to date within some tenths of a second.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lsn/shared/counters.hpp"
#include "lsn/state/ticks.hpp"

namespace lsn::shared {

enum class AlgCounter : std::uint8_t {
  // IKE
  kIkeMalformed,
  kIkeUnlisted,
  kIkeMessages,
  kIkeSessionsCreated,
  kIkeSessionsExpired,
  kIkeSessionsReplaced,
  kIkeUntracked,
  kIkeUnsolicited,
  kIkeRestarts,
  kIkeFloats,
  kExchangesAdmitted,
  kExchangesAnswered,
  kLateAnswers,
  // gates
  kTurns,
  kTurnsWithoutExchange,
  kClosedPaired,  // the order of CloseReason
  kClosedDeadline,
  kClosedIkeRekey,
  kClosedRestart,
  kClosedFloat,
  kClosedOldSpi,
  kClosedYield,
  kClosedRefused,
  kClosedFlush,
  // held messages
  kHeld,
  kHeldReplaced,
  kReleased,
  kGateBlocked,
  kPlacesAged,
  // ESP
  kEspSessionsCreated,
  kEspSessionsExpired,
  kEspSessionsFlushed,
  kEspSessionsReplaced,
  kSpiOutLearned,
  kSpiInLearned,
  kSpiInLingering,
  kSpiInClaimed,
  kFreshnessWaived,
  kCandidatesReplaced,
  kCandidatesExpired,
  kSpiCollisions,
  kEspDropped,
  kEspPacketsOut,
  kEspPacketsIn,
  kEspBytesOut,
  kEspBytesIn,
  kAddressesSpread,
  kAhDropped,
  kSpiWithdrawn,
  kEspPlaces,
  kCount
};
inline constexpr std::size_t kAlgCounters = static_cast<std::size_t>(AlgCounter::kCount);

enum class AlgGauge : std::uint8_t {
  kIkeSessions,
  kEspSessions,
  kEspHalfOpen,
  kGates,
  kTurns,
  kWaiters,
  kHeldPackets,
  kHeldBytes,
  kLingering,
  kDangling,
  kCount
};
inline constexpr std::size_t kAlgGauges = static_cast<std::size_t>(AlgGauge::kCount);

struct AlgCounterText {
  AlgCounter counter;
  std::string_view name;
  std::string_view meaning;
};

inline constexpr std::array<AlgCounterText, kAlgCounters> kAlgCounterTexts = {{
    {AlgCounter::kIkeMalformed, "ike_malformed",
     "Datagrams on port 500 that are no well-formed IKE: translated as ordinary UDP."},
    {AlgCounter::kIkeUnlisted, "ike_unlisted",
     "IKE messages of an exchange type that the ALG does not know: passed."},
    {AlgCounter::kIkeMessages, "ike_messages", "Well-formed IKE messages seen on port 500."},
    {AlgCounter::kIkeSessionsCreated, "ike_sessions_created", "IKE sessions that arose."},
    {AlgCounter::kIkeSessionsExpired, "ike_sessions_expired",
     "IKE sessions that ended by ikeSessionTimeout, or unanswered after a minute."},
    {AlgCounter::kIkeSessionsReplaced, "ike_sessions_replaced",
     "IKE sessions without a purpose that a newer one of the same client replaced at its limit."},
    {AlgCounter::kIkeUntracked, "ike_untracked",
     "IKE messages for whose session there was no room: passed as ordinary UDP."},
    {AlgCounter::kIkeUnsolicited, "ike_unsolicited",
     "IKE messages of servers to which their client has sent none: passed as ordinary UDP."},
    {AlgCounter::kIkeRestarts, "ike_restarts",
     "IKE sessions that took the place of one of the same client and port that had fallen silent "
     "in "
     "phase 2: the client lost its state."},
    {AlgCounter::kIkeFloats, "ike_floats", "IKE sessions that moved to UDP 4500 (NAT-T)."},
    {AlgCounter::kExchangesAdmitted, "exchanges_admitted",
     "Phase 2 exchanges that were let through."},
    {AlgCounter::kExchangesAnswered, "exchanges_answered", "Phase 2 exchanges that were answered."},
    {AlgCounter::kLateAnswers, "late_answers", "Answers that came after their turn had ended."},
    {AlgCounter::kTurns, "turns", "Turns at gates."},
    {AlgCounter::kTurnsWithoutExchange, "turns_without_exchange",
     "Turns that ESP of an unknown SPI began: tunnels idle after IKE, or older than this process."},
    {AlgCounter::kClosedPaired, "closed_paired", "Turns that ended with a pair of SPIs learned."},
    {AlgCounter::kClosedDeadline, "closed_deadline", "Turns that espGateTimeout ended."},
    {AlgCounter::kClosedIkeRekey, "closed_ike_rekey",
     "Turns that ended because the exchange had rekeyed the IKE SA itself."},
    {AlgCounter::kClosedRestart, "closed_restart",
     "Turns that ended because the holder had begun anew: its new IKE session asked for a phase "
     "2."},
    {AlgCounter::kClosedFloat, "closed_float",
     "Turns that ended because the holder moved to UDP 4500."},
    {AlgCounter::kClosedOldSpi, "closed_old_spi",
     "Turns given to a waiter because the holder went on with its old SPIs."},
    {AlgCounter::kClosedYield, "closed_yield",
     "Turns given to a waiter: no exchange, no answer for 5 seconds, or none of the new ESP."},
    {AlgCounter::kClosedRefused, "closed_refused",
     "Turns that ended because there was no room for the holder's SPI: its quota, a full table."},
    {AlgCounter::kClosedFlush, "closed_flush", "Turns that a flush or a reload ended."},
    {AlgCounter::kHeld, "held", "Messages that were held while another client had the gate."},
    {AlgCounter::kHeldReplaced, "held_replaced",
     "Held messages that their retransmission replaced."},
    {AlgCounter::kReleased, "released",
     "Held messages that went on when their client's turn came."},
    {AlgCounter::kGateBlocked, "gate_blocked",
     "Phase 2 messages that found the gate taken by another client (held or dropped)."},
    {AlgCounter::kPlacesAged, "places_aged", "Waiters that gave up: silent for 35 seconds."},
    {AlgCounter::kEspSessionsCreated, "esp_sessions_created", "ESP sessions that arose."},
    {AlgCounter::kEspSessionsExpired, "esp_sessions_expired",
     "ESP sessions that ended by espSessionTimeout."},
    {AlgCounter::kEspSessionsFlushed, "esp_sessions_flushed",
     "ESP sessions that a flush, a reload or their replacement ended."},
    {AlgCounter::kEspSessionsReplaced, "esp_sessions_replaced",
     "ESP sessions of single packets that a newer one replaced at espSessionQuota."},
    {AlgCounter::kSpiOutLearned, "spi_out_learned", "SPIs learned from clients."},
    {AlgCounter::kSpiInLearned, "spi_in_learned", "SPIs learned from servers."},
    {AlgCounter::kSpiInLingering, "spi_in_lingering",
     "SPIs from servers that came to a lingering gate."},
    {AlgCounter::kSpiInClaimed, "spi_in_claimed",
     "SPIs from servers that came to a closed gate and had one possible client."},
    {AlgCounter::kFreshnessWaived, "freshness_waived",
     "SPIs of running tunnels that were given to the holder because they answered what it sent."},
    {AlgCounter::kCandidatesReplaced, "candidates_replaced",
     "Unknown SPIs with a single packet that another unknown SPI replaced."},
    {AlgCounter::kCandidatesExpired, "candidates_expired",
     "Unknown SPIs beyond the answered exchanges that had a single packet and were forgotten."},
    {AlgCounter::kSpiCollisions, "esp_spi_collision",
     "Known SPIs that began anew while another client waited for its own: two clients seem to have "
     "chosen the same."},
    {AlgCounter::kEspDropped, "esp_dropped",
     "ESP packets that were dropped for a reason of the ALG's: in total the sum of gate_quota, "
     "gate_table_full and the esp_... reasons."},
    {AlgCounter::kEspPacketsOut, "esp_packets_out", "ESP packets to servers."},
    {AlgCounter::kEspPacketsIn, "esp_packets_in", "ESP packets from servers."},
    {AlgCounter::kEspBytesOut, "esp_bytes_out", "Bytes of IP in ESP packets to servers."},
    {AlgCounter::kEspBytesIn, "esp_bytes_in", "Bytes of IP in ESP packets from servers."},
    {AlgCounter::kAddressesSpread, "addresses_spread",
     "First contacts that got a NAT address where nobody else talks to that server "
     "(serverSpread)."},
    {AlgCounter::kAhDropped, "ah_dropped", "AH packets, which cannot cross a NAT."},
    {AlgCounter::kSpiWithdrawn, "spi_withdrawn",
     "SPIs from servers that were taken back: their client never followed them with a packet of "
     "its "
     "own for espGateTimeout, while another client was owed one."},
    {AlgCounter::kEspPlaces, "esp_places",
     "Clients without an exchange whose ESP of an unknown SPI found the gate taken: they wait for "
     "their turn."},
}};

static_assert(
    [] {
      for (std::size_t i = 0; i < kAlgCounters; ++i)
        if (static_cast<std::size_t>(kAlgCounterTexts[i].counter) != i) return false;
      return true;
    }(),
    "the texts stand in the order of the enumeration");

[[nodiscard]] constexpr std::string_view name_of(AlgCounter counter) {
  return kAlgCounterTexts[static_cast<std::size_t>(counter)].name;
}

struct AlgGaugeText {
  AlgGauge gauge;
  std::string_view name;
  std::string_view meaning;
};

inline constexpr std::array<AlgGaugeText, kAlgGauges> kAlgGaugeTexts = {{
    {AlgGauge::kIkeSessions, "ike_sessions", "IKE sessions."},
    {AlgGauge::kEspSessions, "esp_sessions", "ESP sessions, half-open ones with them."},
    {AlgGauge::kEspHalfOpen, "esp_half_open", "ESP sessions of which only one SPI is known."},
    {AlgGauge::kGates, "gates",
     "Gates: pairs of NAT address and server. Clients of several profiles may share one, so they "
     "are counted in total only."},
    {AlgGauge::kTurns, "gate_turns", "Gates that a client has now."},
    {AlgGauge::kWaiters, "gate_waiters", "Clients that wait for a gate."},
    {AlgGauge::kHeldPackets, "held_packets", "Packets of clients that wait for a gate."},
    {AlgGauge::kHeldBytes, "held_bytes",
     "Memory that held packets take: their bytes in pieces of 128."},
    {AlgGauge::kLingering, "lingering",
     "Closed gates whose new inbound SPIs still go to the last holder."},
    {AlgGauge::kDangling, "dangling",
     "Clients whose turn ended without an inbound SPI that they may still get."},
}};

static_assert(
    [] {
      for (std::size_t i = 0; i < kAlgGauges; ++i)
        if (static_cast<std::size_t>(kAlgGaugeTexts[i].gauge) != i) return false;
      return true;
    }(),
    "the texts stand in the order of the enumeration");

[[nodiscard]] constexpr std::string_view name_of(AlgGauge gauge) {
  return kAlgGaugeTexts[static_cast<std::size_t>(gauge)].name;
}

/// Upper bounds of the histogram's buckets; the last bucket has none.
inline constexpr std::array<state::TickDuration, 9> kWaitBounds = {
    state::TickDuration{10},  std::chrono::seconds{1},  std::chrono::seconds{2},
    std::chrono::seconds{5},  std::chrono::seconds{10}, std::chrono::seconds{20},
    std::chrono::seconds{30}, std::chrono::seconds{60}, std::chrono::seconds{300}};

struct AlgCounterSet {
  std::array<Counter, kAlgCounters> counters;
  std::array<Counter, kAlgGauges> gauges;
  std::array<Counter, kWaitBounds.size() + 1> waited;

  [[nodiscard]] Counter& of(AlgCounter counter) {
    return counters[static_cast<std::size_t>(counter)];
  }
  [[nodiscard]] const Counter& of(AlgCounter counter) const {
    return counters[static_cast<std::size_t>(counter)];
  }
  [[nodiscard]] Counter& of(AlgGauge gauge) { return gauges[static_cast<std::size_t>(gauge)]; }
  [[nodiscard]] const Counter& of(AlgGauge gauge) const {
    return gauges[static_cast<std::size_t>(gauge)];
  }
};

/// Profiles that are counted apart, by their stable id; those beyond are in the total only.
inline constexpr std::size_t kCountedProfiles = 64;

struct AlgCounters {
  AlgCounterSet total;
  std::array<AlgCounterSet, kCountedProfiles> profiles;
};

}  // namespace lsn::shared
