// The objects of the IPsec ALG in one shard, and how one finds another.
//
//   Subscriber ─► Client ─► Peer ─┬─► IkeSession ─► its admitted Exchanges
//   (lsn44)       (same     (C, S)├─► EspSession ─► lsn44::Session (the packets' part of it)
//                  index)         ├─► Waiter ─► Flights ─► Held packets
//                                 ├─► the Exchanges that may still bring an inbound SPI
//                                 └─► Gate (N, S) ─► its Turn, its waiters, all its Peers
//
// Client, server and NAT address are C, S and N as in the design. A Peer is one client with one
// server; it exists as long as the two have anything: an IKE session, an ESP session, a place at
// the gate, a turn, lingering, dangling. It keeps its Gate, and its subscriber with the pairing.
// The SPIs of an ESP session lie in the flow tables of LSN44, like ports.
//
// Everything has a fixed capacity; indices instead of pointers; time is Ticks.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "lsn/datapath/ipsec_alg/gate.hpp"
#include "lsn/datapath/ipsec_alg/limits.hpp"
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

// ── IKE ─────────────────────────────────────────────────────────────────────────────────────────

enum class ExchangeKind : std::uint8_t { kNone, kQuickMode, kAuth, kCreateChild };

/// Within an IKE session (design 3).
struct ExchangeName {
  ExchangeKind kind = ExchangeKind::kNone;
  Direction initiator = Direction::kOutbound;  ///< of its requests
  std::uint32_t message_id = 0;                ///< of its first request; 0 for IKE_AUTH
};

/// IKEv1's messages of both directions bear one ID, IKEv2 counts those of each initiator apart.
[[nodiscard]] constexpr bool same_exchange(const ExchangeName& a, const ExchangeName& b) {
  return a.kind == b.kind && a.message_id == b.message_id &&
         (a.kind == ExchangeKind::kQuickMode || a.initiator == b.initiator);
}

/// A phase 2 exchange that was admitted. It is owed an inbound SPI from its first answer until it
/// is settled: the SPI is learned, or it is clear that none will come of it.
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
  ByDirection<bool> heard;  ///< messages of that direction were seen; both: it is answered
  bool keeps_port;          ///< its UDP session does (ikePreservePort): it is found by its SPI
  bool in_use;
  bool began_midway;  ///< its phase 1 was not seen
  /// IKEv1: the fragmented Quick Mode message that its other fragments belong to, by direction.
  struct Fragmented {
    std::uint32_t message_id;
    std::uint16_t fragment_id;
    bool known;
  };
  ByDirection<Fragmented> fragmented;
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

/// An ESP session's data beyond its lsn44::Session (whose SessionCold::esp() is its index here).
struct EspSession {
  SessionId session;
  PeerId peer;
  ByDirection<Spi> spi;
  ByDirection<std::uint32_t> turn;  ///< serial of the turn in which the SPI was learned
  ByDirection<bool> candidate;      ///< it stands in that turn's queue
  ByDirection<bool> again;          ///< a second packet came, which may not be counted yet
  bool followed;     ///< its client sent since the inbound SPI was learned, or no client misses it
  bool of_exchange;  ///< its outbound SPI was learned in a turn with one
  bool fruitless;    ///< a turn for its inbound SPI ended without any trace of it
  state::Ticks learned_in;            ///< when the inbound SPI was, ...
  std::uint64_t sent_until_then;      ///< ... and the packets sent by then, on all its SPIs
  state::Ticks tried;                 ///< when its latest turn for its inbound SPI ended
  ExchangeId settled = state::kNone;  ///< that its inbound SPI did; kNone: none
  IkeId ike = state::kNone;           ///< the session of that exchange
  /// Its session's packets and bytes that are in its profile's sums already.
  ByDirection<std::uint64_t> counted_packets;
  ByDirection<std::uint64_t> counted_bytes;
  bool in_use;
  bool is_single;    ///< in Client::singles
  bool is_reported;  ///< as created; its end is reported then, too
  state::ListLinks of_peer;
  state::ListLinks of_client;
  state::ListLinks half_open;
  ByDirection<state::ListLinks> candidates;

  [[nodiscard]] bool is_half_open() const { return spi[0] == kNoSpi || spi[1] == kNoSpi; }
};

// ── a client and a server ───────────────────────────────────────────────────────────────────────

/// A client and a server.
struct alignas(64) Peer {
  wire::Be32 client;
  wire::Be32 server;
  SubscriberId subscriber;
  GateId gate;
  DomainId td = 0;  ///< of the client
  WaiterId waiter = state::kNone;
  state::ListHead ike_sessions;
  state::ListHead esp_sessions;
  std::uint32_t ike_count = 0;
  std::uint32_t esp_count = 0;
  /// ESP sessions of which only the SPI of that direction is known, oldest first.
  ByDirection<state::QueueHead> half_open;
  state::QueueHead owed;  ///< exchanges that are owed an inbound SPI, in order of their answers
  std::uint32_t owed_count = 0;
  std::uint64_t sent_before = 0;  ///< on SPIs that are known no more
  state::QueueHead undecided;     ///< exchanges that are neither answered nor settled, oldest first
  state::Ticks turn_began;        ///< its latest turn
  state::Ticks turn_ended;
  std::optional<state::Ticks> dangles_until;  ///< not set: its last turn left nothing behind
  bool had_turn = false;
  /// Inbound SPIs that may come until `dangles_until` though no exchange is owed them: its turns
  /// ended with less than they showed, of outbound SPIs or requests.
  std::uint32_t awaited = 0;
  std::optional<state::Ticks> asked;  ///< its latest packet on an SPI without an answer that passed
  std::uint32_t asks = 0;             ///< such packets since its latest turn began
  bool is_owed = false;               ///< on the gate's list
  bool is_claimant = false;           ///< on the gate's list
  bool is_dangling = false;           ///< on the gate's list
  bool is_unused = false;             ///< in Tables::unused
  bool in_use = false;
  /// For `show ipsecalg advice`: who of both has offered NAT-Traversal in clear (outbound: the
  /// client), and its latest turns that ended by their deadline, one after the other.
  ByDirection<bool> offers_nat_t = {};
  std::uint8_t deadlines = 0;
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

  [[nodiscard]] InsideAddress inside() const { return {wire::Ipv4Address{client}, td}; }
};

/// A subscriber's part of the ALG. In a ParallelArray under the subscriber's index; meaningful
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
  bool answer = false;           ///< it begins with an answer, whose request was never seen
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
/// buffers are for received packets.
struct HeldPiece {
  static constexpr std::uint32_t kSize = 128;  ///< its share of maxHeldBytes

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
  std::uint32_t bytes;  ///< its pieces' share of maxHeldBytes
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

struct Tables;

/// The gates of a shard. Any function may look at one by its index. A function that changes one has
/// it from current_gate() (turns.hpp), which has done what is due by time, or by gate_in_hand(), if
/// one of its callers has got it so.
class Gates : private state::Slab<Gate> {
  using Slab = state::Slab<Gate>;

 public:
  using Slab::allocate, Slab::capacity, Slab::high_water, Slab::index_of, Slab::release, Slab::size,
      Slab::Slab;
  [[nodiscard]] const Gate& operator[](GateId id) const { return Slab::operator[](id); }

 private:
  friend struct Tables;
  friend Gate& gate_in_hand(Tables& tables, GateId id);
  [[nodiscard]] Gate& changeable(GateId id) { return Slab::operator[](id); }
};

struct Tables {
  Tables(const Capacity& capacity, std::uint32_t max_subscribers, state::Ticks now,
         const state::HashSecret& secret, state::ZeroedMemory* memory);

  state::FlowTable index;   ///< gates, peers, IKE sessions
  state::FlowTable quoted;  ///< ESP sessions by their names in quoted packets
  Gates gates;
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
  state::QueueHead unused;    ///< peers that lost something and may not be needed any more
  std::uint32_t held_bytes = 0;
  const std::uint32_t max_held_bytes;
  [[nodiscard]] std::uint32_t max_held_by_client() const { return max_held_bytes / 4; }  // design 6

  std::uint32_t armed_gates = 0;
  /// While a gate is armed: known inbound SPIs with sequence numbers up to here are looked at
  /// (design 5.12, the same SPI twice). Otherwise 0.
  std::uint32_t watched_sequence = 0;
  std::uint32_t max_fresh_sequence = 0;  ///< of all profiles of the generation; 0: it has none

  /// Clients whose AH was reported lately; each address has its place.
  std::array<InsideAddress, 1024> told_of_ah{};

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
    return [this](std::uint32_t id) -> state::WheelLinks& { return gates.changeable(id).wheel; };
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
    return [this, direction](std::uint32_t id) -> state::ListLinks& {
      return esp_sessions[id].candidates[direction];
    };
  }
};

[[nodiscard]] inline Gate& gate_in_hand(Tables& tables, GateId id) {
  return tables.gates.changeable(id);
}

}  // namespace lsn::datapath::ipsec_alg
