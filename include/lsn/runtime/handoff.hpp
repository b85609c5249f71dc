// Packets between workers: a ring from each to each other, one producer and one consumer.
//
// Packets that do not fit are dropped and counted by the sender.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <vector>

#include "lsn/runtime/packet_ring.hpp"

namespace lsn::runtime {

class HandoffRings {
 public:
  /// `slots`: a power of two. `nodes`: of each worker. Error: one line.
  [[nodiscard]] static std::expected<HandoffRings, std::string> make(std::uint32_t slots,
                                                                     const std::vector<int>& nodes);

  /// On worker `from`: how many of the packets were taken.
  [[nodiscard]] unsigned put(unsigned from, unsigned to, std::span<rte_mbuf* const> packets) {
    return ring_of(from, to).put(packets);
  }

  /// On worker `to`: how many packets were put into `packets`.
  [[nodiscard]] unsigned take(unsigned from, unsigned to, std::span<rte_mbuf*> packets) {
    return ring_of(from, to).take(packets);
  }

  /// Frees the packets that are still inside. All workers have stopped.
  void clear();

 private:
  [[nodiscard]] PacketRing& ring_of(unsigned from, unsigned to) {
    return rings_[from * workers_ + to];
  }

  unsigned workers_ = 0;
  std::vector<PacketRing> rings_;  ///< [from * workers_ + to]
};

}  // namespace lsn::runtime
