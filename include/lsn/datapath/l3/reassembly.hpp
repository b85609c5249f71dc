// Fragments: finds the ports of those that have none, without putting datagrams together.
//
// Fragments may come in any order and only the first one carries ports (RFC 4787 REQ-14: they must
// arrive all the same). A datagram - (source, destination, protocol, identification), as it was
// received, in its traffic domain - is remembered from its first seen fragment on: those that come
// before the fragment with offset 0 wait; when that one comes its ports are noted, it goes on, and
// those that waited follow it; later ones go on at once. Each fragment is translated and forwarded
// as it is.
//
// Everything is bounded: datagrams (dataplane.fragments.max), waiting fragments per datagram and
// in all, pieces per datagram, time (dataplane.fragments.timeout from the first fragment seen).
//
// Any host can send fragments that never become a datagram, so room is shared out by the standing
// of a datagram. It is *settled* when its first fragment has passed, by a session; until then it is
// *open*. Open ones from outside have at most half of the table; of either sort one local address
// (a NAT address, a subscriber) has at most an eighth, and one source a sixteenth. A datagram
// beyond a share, or to a full table, is taken in all the same and displaces the oldest of that
// share; in a full table the oldest open one from outside, then from inside, and a settled one only
// if there is no other. So a flood of strays displaces strays, the sooner the faster it is, while
// fragments of a session, which come close together, find each other. Addresses share their counts
// with others by their hash, a fourth as many counts as datagrams.
//
// Fragments that overlap mark their datagram: none of it passes from then on, and fragments that
// wait are dropped (RFC 3128; the rule of RFC 5722). A repeated fragment (same offset, same length)
// is no attack but a network's duplicate; it is an overlap all the same and is treated as one.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstdint>

#include "lsn/datapath/packet.hpp"
#include "lsn/datapath/verdict.hpp"
#include "lsn/state/flow_table.hpp"
#include "lsn/state/index_queue.hpp"
#include "lsn/state/slab.hpp"
#include "lsn/state/timer_wheel.hpp"

namespace lsn::datapath {

struct Context;

/// A datagram's ports by its first fragment: Packet::key's ports (as the packet's side sees them,
/// an identifier), for ESP the SPI in their place.
struct FragmentPorts {
  std::uint16_t local = 0;
  std::uint16_t remote = 0;
  wire::Be16 identification{};  ///< that all leave with (l3/identification.hpp)
};

class Reassembly {
 public:
  static constexpr std::uint32_t kWaitingPerDatagram = 64;
  static constexpr std::uint32_t kPieces = 64;  ///< remembered disjoint ranges of a datagram
  /// The share of one local address and of one source: a part of all, but not less than a few.
  static constexpr std::uint32_t kAddressShare = 8, kSourceShare = 16;
  static constexpr std::uint32_t kLeastAddressShare = 32, kLeastSourceShare = 16;
  /// Datagrams that one fragment displaces at most, to find a place to wait.
  static constexpr unsigned kDisplacedAtOnce = 8;

  /// `max_datagrams` at a time, four times as many waiting fragments.
  Reassembly(std::uint32_t max_datagrams, state::Ticks now, const state::HashSecret& secret,
             state::ZeroedMemory* memory);

  /// A fragment that has passed parse: checks and notes its range.
  ///   next      its ports are known: `ports` is filled in
  ///   consumed  it waits; the mbuf is kept
  ///   drop      reason
  /// For a first fragment the caller gives its ports in `ports`, calls passed() if it did, and then
  /// take_waiting().
  [[nodiscard]] Verdict accept(Context& shard, const Packet& packet, FragmentPorts& ports);

  /// The first fragment has passed, by a session, and left with that identification.
  void passed(Context& shard, const Packet& first, wire::Be16 identification);

  /// After the first fragment has been forwarded: one of those that waited for it, oldest first, or
  /// nullptr. Its PacketOrigin says where it came from; its data begin at the link header as
  /// received.
  [[nodiscard]] rte_mbuf* take_waiting(Context& shard, const Packet& first);

  /// Drops datagrams whose time is over. At most `budget`.
  void advance(Context& shard, std::size_t budget);

  /// Datagrams that are remembered.
  [[nodiscard]] std::uint32_t size() const { return datagrams_.size(); }

  /// Frees every fragment that waits (at the end).
  void clear(Context& shard);

  /// Ticks that its wheel is behind.
  [[nodiscard]] std::uint32_t lag(state::Ticks now) const { return wheel_.lag(now); }

 private:
  /// A range of a datagram's payload in units of 8 bytes, the last one rounded up.
  struct Piece {
    std::uint16_t begin;
    std::uint16_t end;  ///< the first unit behind it
  };

  /// The order of displacement: the first ones go first.
  enum class Standing : std::uint8_t { kOpenOutside, kOpenInside, kSettled };
  static constexpr std::uint32_t kStandings = 3;

  /// Datagrams that have a bound together, oldest first.
  struct Share {
    state::QueueHead queue;
    std::uint32_t count = 0;
    std::uint32_t waiting = 0;  ///< fragments
  };

  /// Of one standing, a share for each group of local addresses and of sources.
  static constexpr std::uint32_t kRoles = 2;
  static constexpr std::uint32_t kLeastGroups = 64;
  /// Those that a datagram is in: of all of its standing, of its local address, of its source.
  static constexpr std::size_t kSharesOf = 3;

  struct Datagram {
    state::FlowKey name;
    state::WheelLinks wheel;
    state::Ticks over;  ///< when its time is
    std::array<state::ListLinks, kSharesOf> links;
    std::array<std::uint32_t, kSharesOf> shares;
    Standing standing;
    bool inside;  ///< where it comes from
    FragmentPorts ports;
    bool in_use;
    bool known;     ///< the first fragment was seen: `ports` is set
    bool poisoned;  ///< fragments overlapped: nothing passes any more
    bool has_end;   ///< the last fragment was seen: `end` is set
    std::uint16_t end;
    std::uint32_t first_waiting;  ///< oldest; kNone: none
    std::uint32_t last_waiting;
    std::uint32_t waiting;
    std::uint32_t pieces;
    std::array<Piece, kPieces> piece;  ///< disjoint, ascending, not adjacent
  };

  struct Waiting {
    rte_mbuf* packet;
    std::uint32_t next;
  };

  enum class Noted : std::uint8_t { kYes, kOverlap, kTooMany };

  [[nodiscard]] auto wheel_links() {
    return [this](std::uint32_t id) -> state::WheelLinks& { return datagrams_[id].wheel; };
  }
  [[nodiscard]] std::uint32_t find(const Context& shard, const Packet& packet) const;
  [[nodiscard]] static Noted note(Datagram& datagram, Piece piece);
  [[nodiscard]] static Noted note_range(Datagram& datagram, Piece piece, bool is_last);
  [[nodiscard]] static bool is_complete(const Datagram& datagram);
  [[nodiscard]] static bool is_malformed(const Packet& packet);
  [[nodiscard]] std::uint32_t add(Context& shard, const state::FlowKey& name, std::uint32_t hash,
                                  bool inside);
  [[nodiscard]] std::uint32_t share_of(Standing standing, std::uint32_t role, std::uint32_t address,
                                       std::uint16_t domain) const;
  [[nodiscard]] std::array<std::uint32_t, kSharesOf> shares_of(Standing standing, bool inside,
                                                               const state::FlowKey& name) const;
  [[nodiscard]] std::uint32_t limit_of(Standing standing, std::size_t which) const;
  void join(std::uint32_t id);
  void leave(std::uint32_t id);
  void add_waiting(const Datagram& datagram, int difference);
  [[nodiscard]] std::uint32_t oldest() const;
  void displace(Context& shard, std::uint32_t id);
  void make_room(Context& shard, Standing standing,
                 const std::array<std::uint32_t, kSharesOf>& shares);
  [[nodiscard]] std::uint32_t place_for(Context& shard, std::uint32_t id);
  void keep(Datagram& datagram, std::uint32_t place, rte_mbuf* packet);
  void drop_waiting(Context& shard, Datagram& datagram, DropReason reason);
  void forget(Context& shard, std::uint32_t id);

  state::Slab<Datagram> datagrams_;
  state::FlowTable index_;
  state::Slab<Waiting> waiting_;
  state::TimerWheel wheel_;
  std::uint32_t groups_;  ///< of addresses, by their hash
  /// One for each standing, then those of groups. If its count is 0 the rest of a share is void.
  state::ParallelArray<Share> shares_;
};

}  // namespace lsn::datapath
