#include "lsn/runtime/handoff.hpp"

#include <fmt/format.h>
#include <rte_malloc.h>

#include <array>

namespace lsn::runtime {

std::expected<HandoffRings, std::string> HandoffRings::make(std::uint32_t slots,
                                                            const std::vector<int>& nodes) {
  HandoffRings rings;
  rings.workers_ = static_cast<unsigned>(nodes.size());
  rings.rings_.resize(nodes.size() * nodes.size());
  const ssize_t size = rte_ring_get_memsize(slots);
  if (size < 0) return std::unexpected(fmt::format("no ring has {} slots", slots));
  for (unsigned from = 0; from < nodes.size(); ++from) {
    for (unsigned to = 0; to < nodes.size(); ++to) {
      if (from == to) continue;
      // Not from rte_ring_create(): the rings of 64 workers are more than EAL has names for
      // (RTE_MAX_MEMZONE).
      void* const memory = rte_zmalloc_socket("handoff", static_cast<std::size_t>(size),
                                              RTE_CACHE_LINE_SIZE, nodes[to]);
      rings.rings_[from * nodes.size() + to].reset(static_cast<rte_ring*>(memory));
      rte_ring* const ring = rings.ring_of(from, to);
      if (ring == nullptr || rte_ring_init(ring, "handoff", slots, RING_F_SP_ENQ | RING_F_SC_DEQ))
        return std::unexpected(
            fmt::format("no memory for the ring from worker {} to worker {}", from, to));
    }
  }
  return rings;
}

void HandoffRings::clear() {
  std::array<rte_mbuf*, 32> packets;
  for (unsigned from = 0; from < workers_; ++from)
    for (unsigned to = 0; to < workers_; ++to)
      if (from != to)
        while (const unsigned n = take(from, to, packets)) rte_pktmbuf_free_bulk(packets.data(), n);
}

}  // namespace lsn::runtime
