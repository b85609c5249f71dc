// The blocks of ports of one NAT address: which are taken, and a random free one.
//
// The ports from 1024 on are cut into slots of one size, the first at 1024; what does not fill a
// slot stays unused. A block that is taken is a slot; its owner gives it back by its first and last
// port. The size may be changed while blocks are taken (cut()): these stay as they are, and a slot
// of the new size is free if no block overlaps it. A bit per slot says whether it is free; a bit
// per port says whether it lies in a block, and is read only when the size has changed.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "lsn/state/bits.hpp"

namespace lsn::state {

/// Ports; both ends belong to it.
struct PortSpan {
  std::uint16_t first;
  std::uint16_t last;

  [[nodiscard]] constexpr bool contains(std::uint16_t port) const {
    return first <= port && port <= last;
  }
  friend bool operator==(PortSpan, PortSpan) = default;
};

class BlockMap {
 public:
  static constexpr std::uint32_t kFirstPort = 1024;
  static constexpr std::uint32_t kSmallest = 256;  ///< size of a slot
  static constexpr std::uint32_t kLargest = 65536 - kFirstPort;

  /// Slots of that size from now on: kSmallest to kLargest.
  void cut(std::uint32_t size) {
    if (size == size_) return;
    size_ = size;
    count_free();
  }

  /// Slots, and those without a block.
  [[nodiscard]] std::uint32_t slots() const { return size_ == 0 ? 0 : kLargest / size_; }
  [[nodiscard]] std::uint32_t free() const { return free_; }
  /// Blocks that are taken.
  [[nodiscard]] std::uint32_t taken() const { return taken_; }

  /// Takes a random free slot, one that `is_clean(span)` likes if there is one; nullopt: none is
  /// free. `random`: 32 random bits.
  template <class IsClean>
  [[nodiscard]] std::optional<PortSpan> take(std::uint32_t random, IsClean&& is_clean) {
    if (free_ == 0) return std::nullopt;
    const std::uint32_t start =
        nth_free(static_cast<std::uint32_t>((std::uint64_t{random} * free_) >> 32));
    std::uint32_t slot = start;
    do {
      if (is_clean(span_of(slot))) return occupy(slot);
      slot = next_free(slot);
    } while (slot != start);
    return occupy(start);
  }
  /// Takes the slot that a port lies in; nullopt: it lies in none, or in one that is not free.
  [[nodiscard]] std::optional<PortSpan> take_at(std::uint16_t port) {
    if (size_ == 0 || port < kFirstPort) return std::nullopt;
    const std::uint32_t slot = (port - kFirstPort) / size_;
    if (slot >= slots() || !is_free(slot)) return std::nullopt;
    return occupy(slot);
  }
  /// Whether a slot with that port could be taken.
  [[nodiscard]] bool is_free_at(std::uint16_t port) const {
    if (size_ == 0 || port < kFirstPort) return false;
    const std::uint32_t slot = (port - kFirstPort) / size_;
    return slot < slots() && is_free(slot);
  }
  /// Gives back a block that was taken.
  void release(PortSpan block);

 private:
  static constexpr std::uint32_t kMaxSlots = kLargest / kSmallest;
  static constexpr std::uint32_t kWords = (kMaxSlots + 63) / 64;

  [[nodiscard]] PortSpan span_of(std::uint32_t slot) const {
    const std::uint32_t first = kFirstPort + slot * size_;
    return {static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(first + size_ - 1)};
  }
  [[nodiscard]] bool is_free(std::uint32_t slot) const {
    return (free_slots_[slot / 64] >> slot % 64 & 1) != 0;
  }
  [[nodiscard]] std::uint32_t nth_free(std::uint32_t n) const;
  [[nodiscard]] std::uint32_t next_free(std::uint32_t slot) const;
  PortSpan occupy(std::uint32_t slot);
  [[nodiscard]] bool overlaps(PortSpan span) const;
  void count_free();

  std::uint32_t size_ = 0;
  std::uint32_t free_ = 0;
  std::uint32_t taken_ = 0;
  std::array<std::uint64_t, kWords> free_slots_{};
  std::array<std::uint64_t, 65536 / 64> in_blocks_{};  ///< a bit per port
};

}  // namespace lsn::state
