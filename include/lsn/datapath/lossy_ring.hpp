// What a worker tells the control thread: a ring of fixed size between two threads, no lock. What it
// cannot take is lost and counted: nothing ever holds up a packet.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "lsn/datapath/counters.hpp"

namespace lsn::datapath {

/// `kSize`: a power of two.
template <class Message, std::uint32_t kSize>
class LossyRing {
 public:
  static constexpr std::uint32_t kCapacity = kSize;
  static_assert((kSize & (kSize - 1)) == 0);

  /// By the worker.
  void put(const Message& message) {
    const std::uint32_t end = end_.load(std::memory_order_relaxed);
    if (end - begin_.load(std::memory_order_acquire) == kCapacity) {
      lost_.add();
      return;
    }
    messages_[end % kCapacity] = message;
    end_.store(end + 1, std::memory_order_release);
  }

  /// By the reader; false: none.
  [[nodiscard]] bool take(Message& message) {
    const std::uint32_t begin = begin_.load(std::memory_order_relaxed);
    if (begin == end_.load(std::memory_order_acquire)) return false;
    message = messages_[begin % kCapacity];
    begin_.store(begin + 1, std::memory_order_release);
    return true;
  }

  [[nodiscard]] std::uint64_t lost() const { return lost_.get(); }

 private:
  alignas(64) std::atomic<std::uint32_t> begin_{0};
  alignas(64) std::atomic<std::uint32_t> end_{0};
  Counter lost_;
  std::array<Message, kCapacity> messages_{};
};

}  // namespace lsn::datapath
