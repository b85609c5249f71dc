// The last packets that were dropped, by reason: the rows of `show drops -recent`.
//
// A ring per reason, of which one packet per tick is kept: under a flood that costs a comparison
// per drop, and the ring reaches back over kKept ticks instead of one burst. A packet is kept as it
// stood when it was dropped: before its translation in nearly all cases.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "lsn/datapath/verdict.hpp"
#include "lsn/shared/drop_reason.hpp"
#include "lsn/state/ticks.hpp"
#include "lsn/wire/big_endian.hpp"
#include "lsn/wire/ipv4.hpp"

namespace lsn::datapath {

/// The IPv4 header of a packet whose data begin at its link header or at its IP header, in the
/// first segment, or nullptr. Bytes that fit a whole IPv4 packet from the first one on are one: in
/// a frame they are the hardware address of its receiver, whose first byte then is 0x45 and whose
/// next ones happen to be the packet's length.
[[nodiscard]] const wire::Ipv4Header* ip_of_dropped(const rte_mbuf* packet);

class RecentDrops {
 public:
  static constexpr std::size_t kKept = 32;  ///< of each reason

  struct Drop {
    state::Ticks at;
    wire::Be32 source, destination;
    std::uint8_t protocol = 0;
    bool some = false;
    bool has_l4 = false;
    std::uint16_t size = 0;
    std::uint32_t l4 = 0;  ///< the first four bytes behind the IP header, as they are
  };

  /// `packet`: its data begin at its link header, or at its IP header.
  void note(DropReason reason, const rte_mbuf* packet, state::Ticks now) {
    Ring& ring = rings_[static_cast<std::size_t>(reason)];
    if (ring.latest == now && ring.next != 0) return;
    keep(ring, packet, now);
  }

  /// The n-th place of a reason's ring, the latest first; some == false: none there.
  [[nodiscard]] const Drop& at(DropReason reason, std::size_t n) const {
    const Ring& ring = rings_[static_cast<std::size_t>(reason)];
    return ring.drops[(ring.next + kKept - 1 - n) % kKept];
  }

 private:
  struct Ring {
    state::Ticks latest;
    std::uint32_t next = 0;  ///< counts kept packets
    std::array<Drop, kKept> drops{};
  };

  static void keep(Ring& ring, const rte_mbuf* packet, state::Ticks now);

  std::array<Ring, kDropReasons> rings_{};
};

}  // namespace lsn::datapath
