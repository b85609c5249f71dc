#include "lsn/runtime/buffers.hpp"

#include <fmt/format.h>
#include <rte_errno.h>
#include <rte_mbuf.h>

#include <algorithm>

#include "lsn/datapath/packet.hpp"

namespace lsn::runtime {
namespace {

constexpr unsigned kLargestCache = 256;

/// Unique while the process lives: pools of an earlier dataplane may still be listed.
std::string pool_name(const char* kind, int node) {
  static unsigned count = 0;
  return fmt::format("lsn_{}_{}_{}", kind, node, count++);
}

std::expected<PoolPtr, std::string> make_pool(const char* kind, int node, std::size_t buffers,
                                              std::uint16_t private_size, std::uint16_t room) {
  const auto count = static_cast<unsigned>(rounded_pool(buffers));
  PoolPtr pool(rte_pktmbuf_pool_create(pool_name(kind, node).c_str(), count,
                                       std::min(kLargestCache, count / 4), private_size, room,
                                       node));
  if (pool == nullptr)
    return std::unexpected(
        fmt::format("no memory for {} packet buffers of {} bytes on NUMA node "
                    "{}: {}",
                    count, room, node, rte_strerror(rte_errno)));
  return pool;
}

}  // namespace

std::expected<Buffers, std::string> Buffers::make(const BufferPlan& plan,
                                                  const std::vector<int>& nodes) {
  Buffers buffers;
  for (const int node : nodes) {
    if (buffers.pools_.contains(node)) continue;
    const auto workers = static_cast<std::size_t>(std::count(nodes.begin(), nodes.end(), node));
    auto packets = make_pool("packets", node, workers * plan.per_worker,
                             datapath::kBufferPrivateSize, plan.data_room);
    if (!packets)
      return std::unexpected(fmt::format(
          "{} (all packet buffers take {} MB of huge pages, {} MB of others: dataplane.eal, -m)",
          packets.error(), (plan.bytes(nodes.size(), BufferPlan::Pages::kHuge) >> 20) + 1,
          (plan.bytes(nodes.size(), BufferPlan::Pages::kSmall) >> 20) + 1));
    auto indirect = make_pool("indirect", node, workers * plan.indirect_per_worker, 0, 0);
    if (!indirect) return std::unexpected(indirect.error());
    buffers.pools_.emplace(node, Pools{std::move(*packets), std::move(*indirect)});
  }
  return buffers;
}

}  // namespace lsn::runtime
