// Packets between workers: a ring from each to each other, one producer and one consumer.
//
// Packets that do not fit are dropped and counted by the sender. The rings are rte_rings; since
// their ordering is invisible to ThreadSanitizer, put() and take() tell it that putting a packet in
// happens before taking it out.
#pragma once

#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <vector>

#if defined(__SANITIZE_THREAD__)
extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);
#endif

namespace lsn::runtime {

class HandoffRings {
 public:
  /// `slots`: a power of two. `nodes`: of each worker. Error: one line.
  [[nodiscard]] static std::expected<HandoffRings, std::string> make(std::uint32_t slots,
                                                                     const std::vector<int>& nodes);

  /// On worker `from`: how many of the packets were taken.
  [[nodiscard]] unsigned put(unsigned from, unsigned to, std::span<rte_mbuf* const> packets) {
    rte_ring* const ring = ring_of(from, to);
#if defined(__SANITIZE_THREAD__)
    __tsan_release(ring);
#endif
    return rte_ring_sp_enqueue_burst(ring, reinterpret_cast<void* const*>(packets.data()),
                                     static_cast<unsigned>(packets.size()), nullptr);
  }

  /// On worker `to`: how many packets were put into `packets`.
  [[nodiscard]] unsigned take(unsigned from, unsigned to, std::span<rte_mbuf*> packets) {
    rte_ring* const ring = ring_of(from, to);
    const unsigned n = rte_ring_sc_dequeue_burst(ring, reinterpret_cast<void**>(packets.data()),
                                                 static_cast<unsigned>(packets.size()), nullptr);
#if defined(__SANITIZE_THREAD__)
    if (n != 0) __tsan_acquire(ring);
#endif
    return n;
  }

  /// Frees the packets that are still inside. All workers have stopped.
  void clear();

 private:
  struct Deleter {
    void operator()(rte_ring* ring) const { rte_free(ring); }
  };

  [[nodiscard]] rte_ring* ring_of(unsigned from, unsigned to) {
    return rings_[from * workers_ + to].get();
  }

  unsigned workers_ = 0;
  std::vector<std::unique_ptr<rte_ring, Deleter>> rings_;  ///< [from * workers_ + to]
};

}  // namespace lsn::runtime
