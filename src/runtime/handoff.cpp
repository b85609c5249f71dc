#include "lsn/runtime/handoff.hpp"

#include <fmt/format.h>
#include <rte_errno.h>

#include <array>

namespace lsn::runtime {

std::expected<HandoffRings, std::string> HandoffRings::make(std::uint32_t slots,
                                                            const std::vector<int>& nodes) {
  static unsigned count = 0;  // names are unique while the process lives
  HandoffRings rings;
  rings.workers_ = static_cast<unsigned>(nodes.size());
  rings.rings_.resize(nodes.size() * nodes.size());
  const unsigned set = count++;
  for (unsigned from = 0; from < nodes.size(); ++from) {
    for (unsigned to = 0; to < nodes.size(); ++to) {
      if (from == to) continue;
      const std::string name = fmt::format("lsn_h{}_{}_{}", set, from, to);
      rte_ring* const ring =
          rte_ring_create(name.c_str(), slots, nodes[to], RING_F_SP_ENQ | RING_F_SC_DEQ);
      if (ring == nullptr)
        return std::unexpected(fmt::format("no memory for the ring from worker {} to worker {}: {}",
                                           from, to, rte_strerror(rte_errno)));
      rings.rings_[from * nodes.size() + to].reset(ring);
    }
  }
  return rings;
}

void HandoffRings::clear() {
  std::array<rte_mbuf*, 32> packets;
  for (unsigned from = 0; from < workers_; ++from)
    for (unsigned to = 0; to < workers_; ++to)
      if (from != to)
        while (const unsigned n = take(from, to, packets))
          rte_pktmbuf_free_bulk(packets.data(), n);
}

}  // namespace lsn::runtime
