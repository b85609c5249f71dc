// The objects of the IPsec ALG in one shard, and how one finds another.
//
//   Subscriber ─► Client ─► Peer ─┬─► IkeSession ─► its admitted Exchanges
//   (lsn44)       (same     (C, S)├─► EspSession ─► lsn44::Session (the packets' part of it)
//                  index)         ├─► Waiter ─► Flights ─► Held packets
//                                 ├─► the Exchanges that may still bring an inbound SPI
//                                 └─► Gate (N, S) ─► its Turn, its waiters, all its Peers
//
// Client, server and NAT address are C, S and N as in the design. A Peer is what one client has to
// do with one server; it exists as long as there is anything of the two: an IKE session, an ESP
// session, a place at the gate, a turn, lingering, dangling. It keeps its Gate, and its subscriber
// with the pairing. The SPIs of an ESP session lie in the flow tables of LSN44, like ports.
//
// Everything has a fixed capacity; indices instead of pointers; time is Ticks.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "lsn/datapath/lsn44/tables.hpp"
#include "lsn/shared/alg_counters.hpp"
#include "lsn/shared/alg_states.hpp"
#include "lsn/shared/events.hpp"
#include "lsn/shared/records.hpp"
#include "lsn/state/index_list.hpp"
#include "lsn/state/index_queue.hpp"
#include "lsn/state/slab.hpp"
#include "lsn/wire/ike.hpp"

namespace lsn::datapath::ipsec_alg {

using lsn44::SessionId;
using lsn44::SubscriberId;
using PeerId = std::uint32_t;
using GateId = std::uint32_t;
using IkeId = std::uint32_t;
using ExchangeId = std::uint32_t;
using EspId = std::uint32_t;
using WaiterId = std::uint32_t;
using FlightId = std::uint32_t;
using HeldId = std::uint32_t;

/// An SPI of ESP as its bytes lie in the packet; 0 (reserved, RFC 4303 section 2.1): not known.
using Spi = std::uint32_t;
inline constexpr Spi kNoSpi = 0;

[[nodiscard]] constexpr std::size_t at(Direction direction) {
  return static_cast<std::size_t>(direction);
}
[[nodiscard]] constexpr Direction opposite(Direction direction) {
  return direction == Direction::kOutbound ? Direction::kInbound : Direction::kOutbound;
}

// ── the numbers of the design that are not parameters ───────────────────────────────────────────

inline constexpr std::uint32_t kUnansweredExchanges = 64;      // design 2, IKE session
inline constexpr std::uint32_t kAnsweredExchanges = 8;         // design 2, IKE session
inline constexpr std::uint32_t kFlightDatagrams = 16;          // design 4.7
inline constexpr std::uint32_t kFlightPackets = 64;            // with fragments, of IKE and of IP
inline constexpr std::uint32_t kFlightsPerWaiter = kUnansweredExchanges;
inline constexpr std::uint32_t kIkeSessionsPerSubscriber = 64; // design 6
inline constexpr std::uint32_t kGatesPerSubscriber = 64;       // design 6
inline constexpr state::TickDuration kPlaceKept = std::chrono::seconds{35};      // design 4.7
inline constexpr state::TickDuration kAnswerExpected = std::chrono::seconds{5};  // design 4.8
inline constexpr state::TickDuration kFurtherSpi = std::chrono::seconds{2};      // design 4.5
inline constexpr state::TickDuration kGateKept = std::chrono::seconds{1};        // design 4.8
inline constexpr state::TickDuration kSilentExchange = std::chrono::seconds{5};  // design 3
inline constexpr state::TickDuration kReplySoon = std::chrono::seconds{1};       // design 5.8
inline constexpr state::TickDuration kRivals = std::chrono::seconds{60};         // other SPIs that reply
inline constexpr unsigned kReplies = 3, kRepliesAmongOthers = 5;                 // design 5.8
inline constexpr state::TickDuration kOldSpiStep = std::chrono::seconds{1};      // design 4.9:
inline constexpr unsigned kOldSpiSteps = 2;                                      // 2 s, in steps
inline constexpr state::TickDuration kUnansweredIke = std::chrono::seconds{60};  // design 6

/// UDP 500 mappings that the ESP sessions of a peer keep alive.
inline constexpr std::uint32_t kKeptPorts = 16;
/// Unknown SPIs that a gate remembers to have seen.
inline constexpr std::size_t kSeenSpis = 16;
/// Claimants, peers, sessions that one packet looks at to find out that there is no other.
inline constexpr unsigned kLookLimit = 16;
/// Packets of a client on an SPI without an answer that put others' into doubt, for each turn of its.
inline constexpr std::uint32_t kAsks = 16;

// ── IKE ─────────────────────────────────────────────────────────────────────────────────────────

enum class ExchangeKind : std::uint8_t { kNone, kQuickMode, kAuth, kCreateChild };

/// Within an IKE session (design 3).
struct ExchangeName {
  ExchangeKind kind = ExchangeKind::kNone;
  Direction initiator = Direction::kOutbound;  ///< who sent the request
  std::uint32_t message_id = 0;                ///< of its first request; 0 for IKE_AUTH

};

/// IKEv1's messages of both directions bear one ID, IKEv2 counts those of each initiator apart.
[[nodiscard]] constexpr bool same_exchange(const ExchangeName& a, const ExchangeName& b) {
  return a.kind == b.kind && a.message_id == b.message_id &&
         (a.kind == ExchangeKind::kQuickMode || a.initiator == b.initiator);
}

/// A phase 2 exchange that was admitted. It is owed an inbound SPI from its first answer until it is
/// settled: the SPI is learned, or it is clear that none will come of it.
struct Exchange {
  ExchangeName name;
  std::uint32_t latest_request = 0;  ///< message ID; IKE_AUTH and IKE_FOLLOWUP_KE have several
  IkeId ike = 0;
  std::uint32_t turn = 0;  ///< serial of the turn that it belongs to
  state::Ticks admitted;
  state::Ticks first_answer;
  bool answered = false;  ///< the latest request
  bool claims = false;    ///< some request: an inbound SPI may come of it
  bool settled = false;   ///< no inbound SPI is expected (any more)
  bool went_on = false;   ///< settled because the old SPIs went on (design 4.9, old-spi)
  state::ListLinks of_session;
  state::ListLinks of_peer;  ///< among Peer::owed or Peer::undecided

  [[nodiscard]] bool is_owed() const { return claims && !settled; }
  [[nodiscard]] bool is_undecided() const { return !claims && !settled; }
};

struct alignas(64) IkeSession {
  wire::IkeSpi initiator;
  wire::IkeSpi responder;
  PeerId peer;
  state::Ticks last_message;
  wire::Be16 inside_port;  ///< its UDP mapping
  wire::Be16 nat_port;
  std::uint8_t version;
  bool heard[kDirections];  ///< messages of that direction were seen; both: it is answered
  bool keeps_port;          ///< its UDP session does (ikePreservePort): it is found by its SPI
  bool in_use;
  bool began_midway;  ///< its phase 1 was not seen
  /// IKEv1: the fragmented Quick Mode message that its other fragments belong to, by direction.
  struct {
    std::uint32_t message_id;
    std::uint16_t fragment_id;
    bool known;
  } fragmented[kDirections];
  state::WheelLinks wheel;
  state::ListLinks of_peer;
  state::ListLinks of_client;
  state::QueueHead exchanges;  ///< the one whose last message is oldest first
  std::uint16_t exchange_count;
  std::uint16_t unanswered_exchanges;
  std::uint32_t esp_count;  ///< ESP sessions whose inbound SPI an exchange of it was owed

  [[nodiscard]] bool is_answered() const { return heard[0] && heard[1]; }
};

// ── ESP ─────────────────────────────────────────────────────────────────────────────────────────

/// What an ESP session has beyond its lsn44::Session (whose SessionCold::mapping is its index here).
struct EspSession {
  SessionId session;
  PeerId peer;
  Spi spi[kDirections];
  std::uint32_t turn[kDirections];  ///< serial of the turn in which the SPI was learned
  bool candidate[kDirections];      ///< it stands in that turn's queue
  bool again[kDirections];          ///< a second packet came, which may not be counted yet
  bool followed;                    ///< its client sent since the inbound SPI was learned, or nobody misses it
  bool of_exchange;                 ///< its outbound SPI was learned in a turn with one
  bool fruitless;                   ///< a turn for its inbound SPI ended without any trace of it
  state::Ticks learned_in;          ///< when the inbound SPI was, ...
  std::uint64_t sent_until_then;    ///< ... and what the client had sent, on all its SPIs
  state::Ticks tried;               ///< when its latest turn for its inbound SPI ended
  ExchangeId settled = state::kNone;  ///< that its inbound SPI did; kNone: none
  IkeId ike = state::kNone;           ///< whose exchange that was
  /// What of its session's packets and bytes is in its profile's sums already.
  std::uint64_t counted_packets[kDirections];
  std::uint64_t counted_bytes[kDirections];
  bool in_use;
  bool is_single;  ///< in Client::singles
  state::ListLinks of_peer;
  state::ListLinks of_client;
  state::ListLinks half_open;
  state::ListLinks candidates[kDirections];

  [[nodiscard]] bool is_half_open() const { return spi[0] == kNoSpi || spi[1] == kNoSpi; }
};

// ── the gate ────────────────────────────────────────────────────────────────────────────────────

/// One client's time at a gate, and afterwards what lingers of it.
struct Turn {
  PeerId holder = state::kNone;
  std::uint32_t serial = 0;  ///< no other turn at this gate has the same
  state::Ticks began;        ///< its first message was forwarded
  state::Ticks latest_request;
  state::Ticks latest_message;  ///< of its exchanges
  state::Ticks latest_answer;
  state::Ticks latest_spi;      ///< learned, in either direction
  state::Ticks latest_reply;    ///< what may be a reply to the holder on an unknown SPI
  state::Ticks sent;            ///< the holder, on an SPI of this turn
  IkeId ike = state::kNone;      ///< of its exchanges
  bool several_ikes = false;     ///< they are of several sessions
  std::uint32_t answered = 0;    ///< of its exchanges
  std::uint32_t unanswered = 0;
  /// 1 if ESP began it: that pair is none of its exchanges', which come on top.
  std::uint32_t idle_pairs = 0;
  std::uint32_t spoken_first = 0;  ///< of its outbound SPIs: whose inbound one was known before
  std::uint32_t spis[kDirections] = {};       ///< unknown SPIs accepted and still there
  state::QueueHead candidates[kDirections];   ///< their ESP sessions, oldest first
  bool has_exchange = false;
  bool has_sent = false;       ///< `sent` is meant
  bool has_reply = false;      ///< `latest_reply` is meant
  bool in_its_place = false;   ///< it had waited, for ESP
  bool old_spis = false;       ///< its exchanges were settled because the old SPIs went on
  bool returned = false;       ///< a packet on a learned SPI came in after the out half had passed
  bool collision_told = false;
  // Design 4.9, old-spi: is the holder's old ESP session still in use?
  EspId old_session = state::kNone;
  std::uint64_t old_packets[kDirections] = {};
  state::Ticks old_checked;
  unsigned old_steps = 0;  ///< steps in a row in which it carried packets both ways
};

/// Pairs of SPIs that a turn is to bring.
[[nodiscard]] inline std::uint32_t expected_pairs(const Turn& turn) {
  return turn.answered + turn.idle_pairs;
}

/// An unknown SPI that came from the server. It is remembered when it has been learned, too: a
/// candidate may be forgotten again. This is what a packet of another unknown SPI reads of it, so that
/// who sprays SPIs costs few cache lines; what else is known of it stands in its SeenHistory.
struct SeenSpi {
  Spi spi = kNoSpi;
  state::Ticks first;
  state::Ticks last;
  bool fresh_at_first = false;
  bool new_at_first = false;  ///< its first packet had sequence number 1
  bool known = false;         ///< it still is SeenHistory::learned_by's
  bool expected = false;      ///< by whom SeenHistory::expected_by names

  /// Design 9.1: somebody may be owed it.
  [[nodiscard]] bool is_contested() const { return expected && fresh_at_first && !known; }
};
static_assert(sizeof(SeenSpi) == 16);

/// The rest of what is remembered of an unknown SPI. Most gates never see one: it lies apart, in
/// Tables::histories, and is written when the SPI is noted.
struct SeenHistory {
  static constexpr PeerId kNobodys = state::kNone;

  PeerId learned_by = kNobodys;   ///< whose it was last
  /// Who had the turn or dangled when it was refused; several: they are more than have room here.
  std::array<PeerId, 3> expected_by = {kNobodys, kNobodys, kNobodys};
  bool expected_by_several = false;
  PeerId withdrawn = kNobodys;    ///< from whom it was taken back
  PeerId replier = kNobodys;      ///< to whom `replies` are: the holder of turns without an exchange
  std::uint16_t replies = 0;      ///< packets that came soon after one of the replier's, in its turns
  std::uint16_t of_others = 0;    ///< that may be replies to another client as well
  state::Ticks replied_to;        ///< the packet of the replier's that the last of them followed
  std::uint32_t spoilt = 0;       ///< serial of the turn in which one came at another time

  [[nodiscard]] bool is_expected() const {
    return expected_by_several || std::ranges::any_of(expected_by, [](PeerId id) {
             return id != kNobodys;
           });
  }
};

struct alignas(64) Gate {
  wire::Be32 nat_ip;
  wire::Be32 server;
  GateState state;
  HalfGate halves[kDirections];
  CloseReason last_reason;  ///< of the turn before, if there was one
  bool had_turn;
  bool in_use;
  std::uint8_t latest_seen;  ///< the place in `seen` that was given to another SPI last
  std::uint32_t serial;  ///< of the latest turn
  Turn turn;
  Turn lingering;  ///< holder kNone: nobody
  state::Ticks created;
  state::QueueHead waiters;
  std::uint32_t waiter_count;
  std::uint32_t held_flights;  ///< of the waiters
  PeerId kept_for = state::kNone;  ///< design 4.8: a client without an exchange whose turn it is
  state::Ticks kept_until;
  PeerId sender = state::kNone;  ///< of the latest packet on an SPI without an answer that passed
  std::uint32_t port_keepers; ///< IKE sessions whose UDP sessions keep port 500
  state::ListHead peers;      ///< all of them
  state::ListHead owed;       ///< those who are owed an inbound SPI (design 5)
  state::ListHead claimants;  ///< those who have a half-open session (design 5.5, inbound 3)
  state::ListHead dangling;   ///< those who were dangling when last looked at
  state::WheelLinks wheel;
  std::array<SeenSpi, kSeenSpis> seen;
};

/// A client and a server.
struct alignas(64) Peer {
  wire::Be32 client;
  wire::Be32 server;
  SubscriberId subscriber;
  GateId gate;
  WaiterId waiter = state::kNone;
  state::ListHead ike_sessions;
  state::ListHead esp_sessions;
  std::uint32_t ike_count = 0;
  std::uint32_t esp_count = 0;
  /// ESP sessions of which only the SPI of that direction is known, oldest first.
  state::QueueHead half_open[kDirections];
  state::QueueHead owed;       ///< exchanges that are owed an inbound SPI, in order of their answers
  std::uint32_t owed_count = 0;
  std::uint64_t sent_before = 0;  ///< on SPIs that are known no more
  state::QueueHead undecided;  ///< exchanges that are neither answered nor settled, oldest first
  state::Ticks turn_began;  ///< its latest turn
  state::Ticks turn_ended;
  std::optional<state::Ticks> dangles_until;  ///< not set: its last turn left nothing behind
  bool had_turn = false;
  /// Inbound SPIs that may come until `dangles_until` though no exchange is owed them: its turns ended
  /// with less than they showed, of outbound SPIs or requests.
  std::uint32_t awaited = 0;
  std::optional<state::Ticks> asked;  ///< its latest packet on an SPI without an answer that passed
  std::uint32_t asks = 0;             ///< such packets since its latest turn began
  bool is_owed = false;        ///< on the gate's list
  bool is_claimant = false;    ///< on the gate's list
  bool is_dangling = false;    ///< on the gate's list
  bool is_unused = false;    ///< in Tables::unused
  bool in_use = false;
  std::uint16_t profile = kNoId;  ///< that its objects were counted for
  /// Inside ports of its latest answered IKE sessions: these mappings live as long as its ESP does.
  struct KeptPort {
    wire::Be16 port;        ///< 0: none
    bool bore_esp = false;  ///< of its IKE sessions one did
  };
  std::array<KeptPort, kKeptPorts> ike_ports = {};
  [[nodiscard]] bool keeps_port(wire::Be16 port) const {
    return std::ranges::find(ike_ports, port, &KeptPort::port) != ike_ports.end();
  }
  std::uint8_t next_ike_port = 0;
  state::ListLinks of_client;
  state::ListLinks of_gate;
  state::ListLinks of_owed;
  state::ListLinks of_claimants;
  state::ListLinks of_dangling;
  state::ListLinks of_unused;
};

/// What a subscriber has of the ALG. In a ParallelArray under the subscriber's index; meaningful
/// while `peer_count` is not zero.
struct Client {
  state::QueueHead peers;         ///< whose IKE was silent for longest first
  state::QueueHead ike_sessions;  ///< the one that was silent for longest first
  /// ESP sessions, oldest first, but for those that were seen to have carried a second packet.
  state::QueueHead singles;
  std::uint32_t peer_count;
  std::uint32_t ike_count;
  std::uint32_t held_bytes;
};

// ── held messages ───────────────────────────────────────────────────────────────────────────────

/// A client's place in a gate's queue.
struct Waiter {
  PeerId peer;
  state::Ticks last_message;
  state::QueueHead flights;
  std::uint32_t flight_count = 0;
  bool for_esp = false;  ///< it has sent ESP of an unknown SPI
  bool in_use = false;
  state::ListLinks in_queue;
  state::WheelLinks wheel;
};

/// The messages of one exchange.
struct Flight {
  IkeId ike;
  ExchangeName name;
  std::uint32_t message_id = 0;  ///< of the latest request
  state::Ticks latest;           ///< message
  bool answer = false;           ///< it begins with an answer, whose request we never saw
  state::QueueHead packets;
  std::uint32_t datagrams = 0;     ///< packets that are whole datagrams or begin one
  std::uint32_t packet_count = 0;  ///< with the later fragments of these
  /// The message that found no room.
  struct {
    std::uint32_t message_id = 0;
    Direction direction = Direction::kOutbound;
    bool some = false;
  } refused = {};
  state::ListLinks of_waiter;
};

/// Some of the bytes of a held packet. The packet's buffer is given back: it may be of 64 KB, and
/// buffers are for what is received.
struct HeldPiece {
  static constexpr std::uint32_t kSize = 128;  ///< what it counts of maxHeldBytes

  std::uint32_t next;
  std::array<std::uint8_t, kSize - sizeof(std::uint32_t)> bytes;
};
static_assert(sizeof(HeldPiece) == HeldPiece::kSize);

/// A packet that waits, as it came: its bytes begin at the link header.
struct Held {
  std::uint32_t first_piece;
  std::uint32_t size;  ///< with the link header
  state::Ticks since;
  state::FlowKey key;   ///< of its UDP session
  std::uint32_t bytes;  ///< what its pieces take of maxHeldBytes
  std::uint32_t message_id;
  std::uint16_t fragment_number;  ///< of IKE
  wire::Be16 ip_identification;
  wire::Be16 leaves_with;  ///< a fragment's identification outside (l3/identification.hpp)
  Direction direction;
  bool later_fragment;  ///< of an IP datagram whose first one is held
  std::uint8_t link_size;
  InterfaceId interface;
  std::uint8_t handoffs;
  PeerId peer;
  state::ListLinks links;
};

// ── all together ────────────────────────────────────────────────────────────────────────────────

/// This shard's share of dataplane.alg.
struct Capacity {
  std::uint32_t ike_sessions = 65536;
  std::uint32_t esp_sessions = 65536;
  std::uint32_t gates = 16384;
  std::uint32_t held_bytes = 16777216;
};

struct Tables {
  Tables(const Capacity& capacity, std::uint32_t max_subscribers, state::Ticks now,
         const state::HashSecret& secret, state::ZeroedMemory* memory);

  state::FlowTable index;   ///< gates, peers, IKE sessions
  state::FlowTable quoted;  ///< ESP sessions by what ICMP errors quote of them
  state::Slab<Gate> gates;
  /// Of Gate::seen, by GateId; meaningless where the SPI is kNoSpi.
  state::ParallelArray<std::array<SeenHistory, kSeenSpis>> histories;
  state::Slab<Peer> peers;
  state::Slab<IkeSession> ike_sessions;
  state::Slab<Exchange> exchanges;
  state::Slab<EspSession> esp_sessions;
  state::Slab<Waiter> waiters;
  state::Slab<Flight> flights;
  state::Slab<Held> held;
  state::Slab<HeldPiece> held_pieces;
  state::ParallelArray<Client> clients;  ///< by SubscriberId

  state::TimerWheel gate_wheel;
  state::TimerWheel ike_wheel;
  state::TimerWheel waiter_wheel;

  state::QueueHead released;  ///< held packets that may go on
  state::QueueHead unused;  ///< peers that lost something: are they needed any more?
  std::uint32_t held_bytes = 0;
  const std::uint32_t max_held_bytes;
  [[nodiscard]] std::uint32_t max_held_by_client() const {
    return max_held_bytes / 4;
  }  // design 6

  std::uint32_t armed_gates = 0;
  /// While a gate is armed: known inbound SPIs with sequence numbers up to here are looked at
  /// (design 5.12, the same SPI twice). Otherwise 0.
  std::uint32_t watched_sequence = 0;
  std::uint32_t max_fresh_sequence = 0;  ///< of all profiles of the generation; 0: it has none

  /// Clients whose AH was told of lately; each address has its place.
  std::array<wire::Be32, 1024> told_of_ah{};

  /// Where and when the traffic of ESP sessions was last added to the counters.
  std::uint32_t counted_up_to = 0;
  state::Ticks counted_at;

  AlgCounters counters;
  EventRing events;
  StateRing journal;

  [[nodiscard]] SeenHistory& history(const Gate& gate, const SeenSpi& of) {
    return histories[gates.index_of(gate)][static_cast<std::size_t>(&of - gate.seen.data())];
  }
  [[nodiscard]] const SeenHistory& history(const Gate& gate, const SeenSpi& of) const {
    return histories[gates.index_of(gate)][static_cast<std::size_t>(&of - gate.seen.data())];
  }

  // The links of every list, queue and wheel.
  [[nodiscard]] auto gate_wheel_links() {
    return [this](std::uint32_t id) -> state::WheelLinks& { return gates[id].wheel; };
  }
  [[nodiscard]] auto ike_wheel_links() {
    return [this](std::uint32_t id) -> state::WheelLinks& { return ike_sessions[id].wheel; };
  }
  [[nodiscard]] auto waiter_wheel_links() {
    return [this](std::uint32_t id) -> state::WheelLinks& { return waiters[id].wheel; };
  }
  [[nodiscard]] auto waiter_links() {
    return [this](std::uint32_t id) -> state::ListLinks& { return waiters[id].in_queue; };
  }
  [[nodiscard]] auto flight_links() {
    return [this](std::uint32_t id) -> state::ListLinks& { return flights[id].of_waiter; };
  }
  [[nodiscard]] auto held_links() {
    return [this](std::uint32_t id) -> state::ListLinks& { return held[id].links; };
  }
  [[nodiscard]] auto client_peer_links() {
    return [this](std::uint32_t id) -> state::ListLinks& { return peers[id].of_client; };
  }
  [[nodiscard]] auto gate_peer_links() {
    return [this](std::uint32_t id) -> state::ListLinks& { return peers[id].of_gate; };
  }
  [[nodiscard]] auto owed_links() {
    return [this](std::uint32_t id) -> state::ListLinks& { return peers[id].of_owed; };
  }
  [[nodiscard]] auto claimant_links() {
    return [this](std::uint32_t id) -> state::ListLinks& { return peers[id].of_claimants; };
  }
  [[nodiscard]] auto dangling_links() {
    return [this](std::uint32_t id) -> state::ListLinks& { return peers[id].of_dangling; };
  }
  [[nodiscard]] auto unused_links() {
    return [this](std::uint32_t id) -> state::ListLinks& { return peers[id].of_unused; };
  }
  [[nodiscard]] auto ike_links() {
    return [this](std::uint32_t id) -> state::ListLinks& { return ike_sessions[id].of_peer; };
  }
  [[nodiscard]] auto client_ike_links() {
    return [this](std::uint32_t id) -> state::ListLinks& { return ike_sessions[id].of_client; };
  }
  [[nodiscard]] auto client_esp_links() {
    return [this](std::uint32_t id) -> state::ListLinks& { return esp_sessions[id].of_client; };
  }
  [[nodiscard]] auto exchange_links() {
    return [this](std::uint32_t id) -> state::ListLinks& { return exchanges[id].of_session; };
  }
  [[nodiscard]] auto peer_exchange_links() {
    return [this](std::uint32_t id) -> state::ListLinks& { return exchanges[id].of_peer; };
  }
  [[nodiscard]] auto esp_links() {
    return [this](std::uint32_t id) -> state::ListLinks& { return esp_sessions[id].of_peer; };
  }
  [[nodiscard]] auto half_open_links() {
    return [this](std::uint32_t id) -> state::ListLinks& { return esp_sessions[id].half_open; };
  }
  [[nodiscard]] auto candidate_links(Direction direction) {
    return [this, d = at(direction)](std::uint32_t id) -> state::ListLinks& {
      return esp_sessions[id].candidates[d];
    };
  }
};

}  // namespace lsn::datapath::ipsec_alg
