// A ring with one producer thread and one consumer thread, for objects that are not packets.
//
// Two counters that only grow; each is written by one side and read by the other: the producer
// releases its items with its counter, the consumer acquires it with the same. (Packets go through
// rte_ring, which moves them in bursts.)
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <optional>
#include <utility>

namespace lsn::runtime {

template <class T, std::size_t kCapacity>
class SpscRing {
  static_assert(std::has_single_bit(kCapacity));

 public:
  SpscRing() = default;
  SpscRing(const SpscRing&) = delete;
  SpscRing& operator=(const SpscRing&) = delete;

  /// Producer. False: full, and `item` is left as it was.
  [[nodiscard]] bool push(T&& item) {
    const std::size_t at = written_.load(std::memory_order_relaxed);
    if (at - read_.load(std::memory_order_acquire) == kCapacity) return false;
    items_[at % kCapacity] = std::move(item);
    written_.store(at + 1, std::memory_order_release);
    return true;
  }

  /// Consumer. Nothing: empty.
  [[nodiscard]] std::optional<T> pop() {
    const std::size_t at = read_.load(std::memory_order_relaxed);
    if (at == written_.load(std::memory_order_acquire)) return std::nullopt;
    std::optional<T> item{std::move(items_[at % kCapacity])};
    read_.store(at + 1, std::memory_order_release);
    return item;
  }

  /// Consumer.
  [[nodiscard]] bool empty() const {
    return read_.load(std::memory_order_relaxed) == written_.load(std::memory_order_acquire);
  }

 private:
  alignas(64) std::atomic<std::size_t> written_{0};
  alignas(64) std::atomic<std::size_t> read_{0};
  alignas(64) std::array<T, kCapacity> items_{};
};

}  // namespace lsn::runtime
