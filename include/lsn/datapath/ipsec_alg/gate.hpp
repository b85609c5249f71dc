// The gate of a NAT address and a server, as a machine by itself (design 4): its state, its
// transitions by event, and the end of its turn. It knows no shard and no clock, and clients by
// number alone. The consequences for others are in turns.hpp.
//
// The states of the gate and of its two halves follow the table in gate.cpp, a row per event:
//
//   CLOSED ──request──► EXCHANGE ──answer──► ARMED ──paired, deadline, ...──► CLOSED
//      └────a late answer, or ESP of an unknown SPI from a client────►┘
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "lsn/datapath/ipsec_alg/ids.hpp"
#include "lsn/datapath/ipsec_alg/limits.hpp"
#include "lsn/shared/alg_states.hpp"
#include "lsn/state/index_list.hpp"
#include "lsn/state/index_queue.hpp"
#include "lsn/state/ticks.hpp"
#include "lsn/state/timer_wheel.hpp"
#include "lsn/wire/big_endian.hpp"

namespace lsn::datapath::ipsec_alg {

/// One client's time at a gate, and its lingering afterwards.
struct Turn {
  PeerId holder = state::kNone;
  std::uint32_t serial = 0;  ///< no other turn at this gate has the same
  state::Ticks began;        ///< its first message was forwarded
  state::Ticks latest_request;
  state::Ticks latest_message;  ///< of its exchanges
  state::Ticks latest_answer;
  state::Ticks latest_spi;     ///< learned, in either direction
  state::Ticks latest_reply;   ///< a possible reply to the holder on an unknown SPI
  state::Ticks sent;           ///< the holder, on an SPI of this turn
  IkeId ike = state::kNone;    ///< of its exchanges
  bool several_ikes = false;   ///< they are of several sessions
  std::uint32_t answered = 0;  ///< of its exchanges
  std::uint32_t unanswered = 0;
  /// 1 if ESP began it: that pair is none of its exchanges', which come on top.
  std::uint32_t idle_pairs = 0;
  std::uint32_t spoken_first = 0;     ///< of its outbound SPIs: whose inbound one was known before
  ByDirection<std::uint32_t> spis{};  ///< unknown SPIs accepted and still there
  ByDirection<state::QueueHead> candidates;  ///< their ESP sessions, oldest first
  bool has_exchange = false;
  bool has_sent = false;      ///< `sent` is meant
  bool has_reply = false;     ///< `latest_reply` is meant
  bool in_its_place = false;  ///< it had waited, for ESP
  bool old_spis = false;      ///< its exchanges were settled because the old SPIs went on
  bool returned = false;      ///< a packet on a learned SPI came in after the out half had passed
  bool collision_told = false;
  // Design 4.9, old-spi: is the holder's old ESP session still in use?
  EspId old_session = state::kNone;
  ByDirection<std::uint64_t> old_packets{};
  state::Ticks old_checked;
  unsigned old_steps = 0;  ///< steps in a row in which it carried packets both ways
};

/// Pairs of SPIs that a turn is to bring.
[[nodiscard]] inline std::uint32_t expected_pairs(const Turn& turn) {
  return turn.answered + turn.idle_pairs;
}

/// An unknown SPI that came from the server. It is remembered when it has been learned, too: a
/// candidate may be forgotten again. A packet of another unknown SPI reads only this part, so that
/// a spray of SPIs costs few cache lines; the rest stands in its SeenHistory.
struct SeenSpi {
  Spi spi = kNoSpi;
  state::Ticks first;
  state::Ticks last;
  bool fresh_at_first = false;
  bool new_at_first = false;  ///< its first packet had sequence number 1
  bool known = false;         ///< it still is SeenHistory::learned_by's
  bool expected = false;      ///< by the peers in SeenHistory::expected_by

  /// Design 9.1: a peer may be owed it.
  [[nodiscard]] bool is_contested() const { return expected && fresh_at_first && !known; }
};
static_assert(sizeof(SeenSpi) == 16);

/// The rest of an unknown SPI's record. Most gates never see one: it lies apart, in
/// Tables::histories, and is written when the SPI is noted.
struct SeenHistory {
  static constexpr PeerId kNobodys = state::kNone;

  PeerId learned_by = kNobodys;  ///< the peer that had it last
  /// The peers that had the turn or dangled when it was refused; several: more than have room here.
  std::array<PeerId, 3> expected_by = {kNobodys, kNobodys, kNobodys};
  bool expected_by_several = false;
  PeerId withdrawn = kNobodys;  ///< the peer that it was taken back from
  PeerId replier = kNobodys;    ///< receiver of `replies`: the holder of turns without an exchange
  std::uint16_t replies = 0;    ///< packets that came soon after one of the replier's, in its turns
  std::uint16_t of_others = 0;  ///< that may be replies to another client as well
  state::Ticks replied_to;      ///< the packet of the replier's that the last of them followed
  std::uint32_t spoilt = 0;     ///< serial of the turn in which one came at another time

  [[nodiscard]] bool is_expected() const {
    return expected_by_several ||
           std::ranges::any_of(expected_by, [](PeerId id) { return id != kNobodys; });
  }
};

struct alignas(64) Gate {
  wire::Be32 nat_ip;
  wire::Be32 server;
  GateState state;
  ByDirection<HalfGate> halves;
  CloseReason last_reason;  ///< of the turn before, if there was one
  bool had_turn;
  bool in_use;
  std::uint8_t latest_seen;  ///< the place in `seen` that was given to another SPI last
  std::uint32_t serial;      ///< of the latest turn
  Turn turn;
  Turn lingering;  ///< holder kNone: there is none
  state::Ticks created;
  state::QueueHead waiters;
  std::uint32_t waiter_count;
  std::uint32_t held_flights;      ///< of the waiters
  PeerId kept_for = state::kNone;  ///< design 4.8: a client without an exchange whose turn it is
  state::Ticks kept_until;
  PeerId sender = state::kNone;  ///< of the latest packet on an SPI without an answer that passed
  std::uint32_t port_keepers;    ///< IKE sessions whose UDP sessions keep port 500
  state::ListHead peers;         ///< all of them
  state::ListHead owed;          ///< those that are owed an inbound SPI (design 5)
  state::ListHead claimants;     ///< those that have a half-open session (design 5.5, inbound 3)
  state::ListHead dangling;      ///< those that were dangling when last looked at
  state::WheelLinks wheel;
  std::array<SeenSpi, kSeenSpis> seen;
};

enum class GateEvent : std::uint8_t {
  kRequest,      ///< a message that begins an exchange of the holder's
  kAnswer,       ///< an answer to one
  kOutboundSpi,  ///< ESP of an unknown SPI from the holder
  kInboundSpi,   ///< ESP of an unknown SPI from the server, learned for the holder
};

/// Whether a peer has the gate.
[[nodiscard]] inline bool holds(const Gate& gate, PeerId peer) {
  return gate.state != GateState::kClosed && gate.turn.holder == peer;
}
/// Whether a turn of that peer's may begin now: the gate is closed, and kept for no other peer.
[[nodiscard]] inline bool is_free_for(const Gate& gate, PeerId peer) {
  return gate.state == GateState::kClosed &&
         (gate.kept_for == state::kNone || gate.kept_for == peer);
}

/// The turn, present or lingering, of that serial; nullptr: over.
[[nodiscard]] Turn* find_turn(Gate& gate, std::uint32_t serial);

// ── transitions by event ─────────────────────────────────────────────────────────────────────────

/// Whether an event has armed the gate: unknown SPIs are learned from now on.
enum class Arming : std::uint8_t { kNone, kArmed };

/// An event that the holder brings to the open gate, or the first one of a turn. An event that the
/// table has no row for changes nothing.
[[nodiscard]] Arming step(Gate& gate, GateEvent event);
/// Begins that peer's turn at the closed gate; `how` is its first event.
[[nodiscard]] Arming begin(Gate& gate, PeerId holder, GateEvent how, state::Ticks now);
/// Ends the turn; `gate.turn` is left to be looked at. Whether the gate was armed. Called by
/// close_turn() (turns.hpp) alone, which applies what follows.
[[nodiscard]] bool close(Gate& gate, CloseReason reason);

// ── when a turn is over ─────────────────────────────────────────────────────────────────────────

[[nodiscard]] inline bool is_due(state::Ticks deadline, state::Ticks now) {
  return !deadline.later_than(now);
}
/// Design 4.2: one deadline, which nothing extends.
[[nodiscard]] inline state::Ticks deadline_of(const Turn& turn, state::TickDuration gate_timeout) {
  return turn.began + gate_timeout;
}
/// Design 4.5: the pair works, and all that is missing are further inbound SPIs.
[[nodiscard]] bool lacks_only_further_spis(const Gate& gate);
/// Design 4.5 and 4.8: when the turn ends for the waiters' sake; without waiters: never.
[[nodiscard]] std::optional<state::Ticks> shortened(const Gate& gate);
/// Why the open gate's turn is over now, as far as time alone says so.
[[nodiscard]] std::optional<CloseReason> due_by_time(const Gate& gate,
                                                     state::TickDuration gate_timeout,
                                                     state::Ticks now);
/// Design 4.9, old-spi: whether it matters that the holder goes on with its old session.
[[nodiscard]] bool watches_old_session(const Gate& gate);
/// Notes the packets that the session has carried until now. True: both ways in each of the last
/// steps.
[[nodiscard]] bool note_old_packets(Turn& turn, const ByDirection<std::uint64_t>& packets,
                                    state::Ticks now);
/// Design 5.9: whether the lingering before a turn goes on after it: if that turn left no SPI
/// behind that might be the other's.
[[nodiscard]] bool resumes_lingering(CloseReason reason);

}  // namespace lsn::datapath::ipsec_alg
