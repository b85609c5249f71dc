// The rates of the kernel path: a bucket per interface and class, which all workers share.
//
// A class's rate is the interface's, not a worker's: a routing session comes to one worker and may
// have all of it. A packet that is refused reads its bucket and writes nothing, so that a flood
// which comes to all workers leaves the bucket's line with all of them; it is written as often as
// packets pass. A bucket holds what its rate gives in 20 ms, and kLeastDepth packets at least.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "lsn/shared/generation.hpp"
#include "lsn/state/ticks.hpp"

namespace lsn::datapath {

class KernelPolicer {
 public:
  static constexpr std::uint32_t kLeastDepth = 32;

  /// `interfaces`: their number. All buckets are full.
  explicit KernelPolicer(std::size_t interfaces) : buckets_(interfaces) {}

  /// Any worker: whether one more packet of `rate` per second may pass now; takes it if so.
  [[nodiscard]] bool take(shared::InterfaceId interface, shared::KernelClass of_class,
                          std::uint32_t rate, state::Ticks now) {
    std::atomic<std::uint64_t>& bucket =
        buckets_[interface].state[static_cast<std::size_t>(of_class)];
    std::uint64_t before = bucket.load(std::memory_order_relaxed);
    for (;;) {
      const State then = unpack(before);
      // Another worker may be a tick ahead; one that was idle for months finds its bucket full.
      const std::int32_t age = now - then.at;
      const std::uint64_t passed = age < -kWorkersApart ? kPerSecond
                                   : age < 0            ? 0
                                                        : static_cast<std::uint64_t>(age);
      const std::uint64_t tokens = std::min(then.tokens + passed * rate, depth_of(rate));
      if (tokens < kToken) return false;
      const bool ahead = age < 0 && age >= -kWorkersApart;
      const State after{ahead ? then.at : now, static_cast<std::uint32_t>(tokens - kToken)};
      if (bucket.compare_exchange_weak(before, pack(after), std::memory_order_relaxed)) return true;
    }
  }

 private:
  /// A tick brings `rate` hundredths of a packet.
  static constexpr std::uint64_t kPerSecond = state::TickDuration{std::chrono::seconds{1}}.count();
  static constexpr std::uint64_t kToken = kPerSecond;
  static constexpr std::int32_t kWorkersApart = 100;

  struct State {
    state::Ticks at;
    std::uint32_t tokens;
  };
  [[nodiscard]] static std::uint64_t depth_of(std::uint32_t rate) {
    return std::max<std::uint64_t>(rate / 50, kLeastDepth) * kToken;
  }
  [[nodiscard]] static State unpack(std::uint64_t word) {
    return {state::Ticks{static_cast<std::uint32_t>(word >> 32)}, static_cast<std::uint32_t>(word)};
  }
  [[nodiscard]] static std::uint64_t pack(const State& state) {
    return std::uint64_t{state.at.value} << 32 | state.tokens;
  }

  struct alignas(64) Buckets {
    std::array<std::atomic<std::uint64_t>, shared::kKernelClasses> state{UINT32_MAX, UINT32_MAX,
                                                                         UINT32_MAX};
  };
  std::vector<Buckets> buckets_;
};

}  // namespace lsn::datapath
