#include "lsn/runtime/handoff.hpp"

#include <fmt/format.h>
#include <rte_ring.h>

namespace lsn::runtime {

std::expected<HandoffRings, std::string> HandoffRings::make(std::uint32_t slots,
                                                            const std::vector<int>& nodes) {
  if (rte_ring_get_memsize(slots) < 0)
    return std::unexpected(fmt::format("no ring has {} slots", slots));
  HandoffRings rings;
  rings.workers_ = static_cast<unsigned>(nodes.size());
  rings.rings_.resize(nodes.size() * nodes.size());
  for (unsigned from = 0; from < nodes.size(); ++from) {
    for (unsigned to = 0; to < nodes.size(); ++to) {
      if (from == to) continue;
      PacketRing& ring = rings.ring_of(from, to);
      ring = PacketRing(slots, nodes[to]);
      if (!ring)
        return std::unexpected(
            fmt::format("no memory for the ring from worker {} to worker {}", from, to));
    }
  }
  return rings;
}

void HandoffRings::clear() {
  for (PacketRing& ring : rings_) ring.clear();
}

}  // namespace lsn::runtime
