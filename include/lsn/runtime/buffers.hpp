// Packet buffers: one pool per NUMA node that has workers, and one of headers without data for
// fragments that refer to a packet's bytes.
//
// A buffer holds the largest frame in one segment. It has datapath::kBufferPrivateSize bytes of its
// own for the data that a packet carries between workers.
#pragma once

#include <rte_mempool.h>

#include <atomic>
#include <expected>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lsn/runtime/plan.hpp"

namespace lsn::runtime {

struct PoolDeleter {
  /// The process ends: DPDK would clear each byte that is given back, also of pages that were never
  /// touched, which takes seconds for hundreds of megabytes. The kernel takes the pages back as
  /// they are.
  static inline std::atomic<bool> process_ends{false};
  void operator()(rte_mempool* pool) const {
    if (!process_ends) rte_mempool_free(pool);
  }
};
using PoolPtr = std::unique_ptr<rte_mempool, PoolDeleter>;

class Buffers {
 public:
  struct Pools {
    PoolPtr packets;
    PoolPtr indirect;
  };

  /// `nodes`: the NUMA node of each worker. Error: one line.
  [[nodiscard]] static std::expected<Buffers, std::string> make(const BufferPlan& plan,
                                                                const std::vector<int>& nodes);

  [[nodiscard]] const Pools& on(int node) const { return pools_.at(node); }

 private:
  std::map<int, Pools> pools_;
};

}  // namespace lsn::runtime
