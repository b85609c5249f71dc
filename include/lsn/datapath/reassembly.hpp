// Fragments: finds the ports of those that have none, without putting datagrams together.
//
// Fragments may come in any order and only the first one carries ports (RFC 4787 REQ-14: they must
// arrive all the same). A datagram - (source, destination, protocol, identification), as it was
// received - is remembered from its first seen fragment on: those that come before the fragment
// with offset 0 wait; when that one comes its ports are noted, it goes on, and those that waited
// follow it; later ones go on at once. Each fragment is translated and forwarded as it is.
//
// Everything is bounded: datagrams (dataplane.fragments.max), waiting fragments per datagram and
// in all, pieces per datagram, time (dataplane.fragments.timeout from the first fragment seen).
// Fragments that overlap mark their datagram: nothing of it passes from then on, and what waits is
// dropped (RFC 3128; the rule of RFC 5722). A repeated fragment (same offset, same length) is no
// attack but a network's duplicate; it is an overlap all the same and is treated as one.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstdint>

#include "lsn/datapath/packet.hpp"
#include "lsn/datapath/verdict.hpp"
#include "lsn/state/flow_table.hpp"
#include "lsn/state/slab.hpp"
#include "lsn/state/timer_wheel.hpp"

namespace lsn::datapath {

struct Shard;

/// What a datagram's first fragment says about all of them: Packet::key's `c` and `d` (ports as
/// the packet's side sees them, an identifier), for ESP the SPI in `d` and `c`.
struct FragmentPorts {
  std::uint16_t c = 0;
  std::uint16_t d = 0;
};

class Reassembly {
 public:
  static constexpr std::uint32_t kWaitingPerDatagram = 64;
  static constexpr std::uint32_t kPieces = 64;  ///< disjoint ranges of a datagram that we remember

  /// `max_datagrams` at a time, four times as many waiting fragments.
  Reassembly(std::uint32_t max_datagrams, state::Ticks now, const state::HashSecret& secret,
             state::ZeroedMemory* memory);

  /// A fragment that has passed parse: checks and notes its range.
  ///   next      its ports are known: `ports` is filled in
  ///   consumed  it waits; the mbuf is kept
  ///   drop      reason
  /// For a first fragment the caller gives its ports in `ports` and then calls take_waiting().
  [[nodiscard]] Verdict accept(Shard& shard, const Packet& packet, FragmentPorts& ports);

  /// After the first fragment has been forwarded: one of those that waited for it, oldest first, or
  /// nullptr. Its PacketOrigin says where it came from; its data begin at the link header as
  /// received.
  [[nodiscard]] rte_mbuf* take_waiting(Shard& shard, const Packet& first);

  /// Drops datagrams whose time is over. At most `budget`.
  void advance(Shard& shard, std::size_t budget);

  /// Datagrams that are remembered.
  [[nodiscard]] std::uint32_t size() const { return datagrams_.size(); }

  /// Frees every fragment that waits (at the end).
  void clear(Shard& shard);

 private:
  /// A range of a datagram's payload in units of 8 bytes, the last one rounded up.
  struct Piece {
    std::uint16_t begin;
    std::uint16_t end;  ///< the first unit behind it
  };

  struct Datagram {
    state::FlowKey name;
    state::WheelLinks wheel;
    state::Ticks over;  ///< when its time is
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
  [[nodiscard]] std::uint32_t find(const Packet& packet) const;
  [[nodiscard]] static Noted note(Datagram& datagram, Piece piece);
  [[nodiscard]] static bool is_complete(const Datagram& datagram);
  void keep(Datagram& datagram, std::uint32_t place, rte_mbuf* packet);
  void drop_waiting(Shard& shard, Datagram& datagram, DropReason reason);
  void forget(Shard& shard, std::uint32_t id);

  state::Slab<Datagram> datagrams_;
  state::FlowTable index_;
  state::Slab<Waiting> waiting_;
  state::TimerWheel wheel_;
};

}  // namespace lsn::datapath
