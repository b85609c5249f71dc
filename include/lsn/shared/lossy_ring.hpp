// A worker's messages to the control thread: a ring of fixed size between two threads, no lock. A
// message that finds it full is lost and counted: the ring never holds up a packet.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "lsn/shared/counters.hpp"

namespace lsn::shared {

/// `kSize`: a power of two.
template <class Message, std::uint32_t kSize>
class LossyRing {
 public:
  static constexpr std::uint32_t kCapacity = kSize;
  static_assert((kSize & (kSize - 1)) == 0);
  static_assert(std::is_trivially_copyable_v<Message>);

  /// By the worker.
  void put(const Message& message) {
    const std::uint32_t end = end_.load(std::memory_order_relaxed);
    if (end - begin_.load(std::memory_order_acquire) == kCapacity) {
      lost_.add();
      return;
    }
    std::memcpy(slot(end), &message, sizeof message);
    end_.store(end + 1, std::memory_order_release);
  }

  /// By the reader; false: none.
  [[nodiscard]] bool take(Message& message) {
    const std::uint32_t begin = begin_.load(std::memory_order_relaxed);
    if (begin == end_.load(std::memory_order_acquire)) return false;
    std::memcpy(&message, slot(begin), sizeof message);
    begin_.store(begin + 1, std::memory_order_release);
    return true;
  }

  [[nodiscard]] std::uint64_t lost() const { return lost_.get(); }

 private:
  [[nodiscard]] std::byte* slot(std::uint32_t position) {
    return slots_.data() + position % kCapacity * sizeof(Message);
  }

  alignas(64) std::atomic<std::uint32_t> begin_{0};
  alignas(64) std::atomic<std::uint32_t> end_{0};
  Counter lost_;
  /// Raw until written: a ring that stays empty touches none of it.
  alignas(Message) std::array<std::byte, sizeof(Message) * kCapacity> slots_;
};

}  // namespace lsn::shared
