// A ring of packets from one thread to one other, an rte_ring. Its ordering is invisible to
// ThreadSanitizer: put() and take() tell it that putting a packet in happens before taking it out.
#pragma once

#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#if defined(__SANITIZE_THREAD__)
extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);
#endif

namespace lsn::runtime {

class PacketRing {
 public:
  PacketRing() = default;
  /// `slots`: a power of two, of which one stays empty. No memory: it is not there.
  PacketRing(std::uint32_t slots, int node) {
    // Not from rte_ring_create(): the rings of 64 workers are more than EAL has names for
    // (RTE_MAX_MEMZONE).
    const ssize_t size = rte_ring_get_memsize(slots);
    if (size < 0) return;
    ring_.reset(static_cast<rte_ring*>(
        rte_zmalloc_socket("packets", static_cast<std::size_t>(size), RTE_CACHE_LINE_SIZE, node)));
    if (ring_ != nullptr &&
        rte_ring_init(ring_.get(), "packets", slots, RING_F_SP_ENQ | RING_F_SC_DEQ) != 0)
      ring_.reset();
  }

  [[nodiscard]] explicit operator bool() const { return ring_ != nullptr; }

  /// On the one thread: how many of the packets were taken, the first ones.
  [[nodiscard]] unsigned put(std::span<rte_mbuf* const> packets) {
#if defined(__SANITIZE_THREAD__)
    __tsan_release(ring_.get());
#endif
    return rte_ring_sp_enqueue_burst(ring_.get(), reinterpret_cast<void* const*>(packets.data()),
                                     static_cast<unsigned>(packets.size()), nullptr);
  }
  /// On the one thread: that so many will be taken.
  [[nodiscard]] unsigned room() const { return rte_ring_free_count(ring_.get()); }
  /// On the other thread: how many packets were put into `packets`.
  [[nodiscard]] unsigned take(std::span<rte_mbuf*> packets) {
    const unsigned n =
        rte_ring_sc_dequeue_burst(ring_.get(), reinterpret_cast<void**>(packets.data()),
                                  static_cast<unsigned>(packets.size()), nullptr);
#if defined(__SANITIZE_THREAD__)
    if (n != 0) __tsan_acquire(ring_.get());
#endif
    return n;
  }
  /// Frees the packets that are still inside. Both threads have stopped.
  void clear() {
    std::array<rte_mbuf*, 32> packets;
    if (ring_ != nullptr)
      while (const unsigned n = take(packets)) rte_pktmbuf_free_bulk(packets.data(), n);
  }

 private:
  struct Deleter {
    void operator()(rte_ring* ring) const { rte_free(ring); }
  };
  std::unique_ptr<rte_ring, Deleter> ring_;
};

}  // namespace lsn::runtime
