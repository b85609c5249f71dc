// Tells the owner of objects when their time has come, without ever scanning them.
//
// Four levels of 256 slots; a slot of level L stands for 256^L ticks. An object waits in the slot
// of its deadline, on the lowest level that reaches so far, on a doubly linked list through
// WheelLinks that the owner keeps beside the object: schedule() and cancel() are a few stores. When
// the clock enters the time that a slot stands for, each object of the slot is unlinked and the
// owner's `visit(index)` is asked for a deadline. An answer re-arms the object; no answer means
// that the owner took it away. The wheel stores no deadline and asks the same question on all
// levels, so moving down a level ("cascading") and lazy re-arming are the same thing: a packet only
// writes "last seen", the wheel learns of it when it asks.
//
// Work is bounded: advance() stops at its budget, also within a slot, and goes on there next time;
// the wheel then lags, nothing is lost. Empty slots are skipped by bit maps, however far the clock
// jumped. A visit may schedule and cancel any other object.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

#include "lsn/state/memory.hpp"
#include "lsn/state/ticks.hpp"

namespace lsn::state {

/// An object's place on the wheel. Written by the wheel only; {} (and zeroed memory) is "on none".
struct WheelLinks {
  std::uint32_t next = 0;  ///< index + 1 of the next object in the slot, 0: none
  std::uint32_t prev = 0;  ///< index + 1 of the one before; or the slot, flagged; 0: on no slot
};

/// `links_of(index) -> WheelLinks&` everywhere below; indices stay below 2^31 - 1.
class TimerWheel {
 public:
  TimerWheel(Ticks now, ZeroedMemory* memory)
      : cursor_(now.value), slots_(kLevels * kSlots, memory) {}

  /// Arms an object that is on no slot. A deadline that is past or present fires at the next tick;
  /// one can be up to 2^31 - 1 ticks (248 days) ahead.
  template <class LinksOf>
  void schedule(std::uint32_t index, Ticks deadline, LinksOf&& links_of) {
    const std::int32_t ahead = deadline - Ticks{cursor_};
    const std::uint32_t distance = ahead > 0 ? static_cast<std::uint32_t>(ahead) : 1;
    const auto level = static_cast<unsigned>(std::bit_width(distance) - 1) / kSlotBits;
    push(level * kSlots + position(level, cursor_ + distance), index, links_of);
  }

  /// Disarms an object, wherever it waits; nothing happens if it waits nowhere.
  template <class LinksOf>
  void cancel(std::uint32_t index, LinksOf&& links_of) {
    if (links_of(index).prev != 0) unlink(index, links_of);
  }

  /// Whether an object waits.
  template <class LinksOf>
  [[nodiscard]] bool is_scheduled(std::uint32_t index, LinksOf&& links_of) const {
    return links_of(index).prev != 0;
  }

  /// Turns the wheel to `now`: `visit(index) -> std::optional<Ticks>` for every object of every
  /// slot that became due. Returns the work done, visits and non-empty slots together; when that is
  /// `budget`, there may be more to do and the next call goes on here, even at the same `now`.
  template <class LinksOf, class Visit>
  std::size_t advance(Ticks now, std::size_t budget, LinksOf&& links_of, Visit&& visit) {
    std::size_t work = 0;
    for (;;) {
      if (draining_ && !drain(budget, work, links_of, visit)) return work;
      const std::int32_t behind = now - Ticks{cursor_};
      if (behind <= 0) return work;
      const std::uint64_t step = distance_to_next_slot();
      if (step > static_cast<std::uint32_t>(behind)) {
        cursor_ = now.value;
        return work;
      }
      if (work == budget) return work;
      ++work;
      cursor_ += static_cast<std::uint32_t>(step);
      draining_ = true;
    }
  }

  /// Objects that wait.
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  static constexpr unsigned kLevels = 4;
  static constexpr unsigned kSlotBits = 8;
  static constexpr std::uint32_t kSlots = 1u << kSlotBits;
  static constexpr unsigned kWordsPerLevel = kSlots / 64;
  /// In WheelLinks::prev: the rest is a slot's number.
  static constexpr std::uint32_t kSlotFlag = 0x80000000;
  static constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

  static std::uint32_t position(unsigned level, std::uint32_t tick) {
    return (tick >> (kSlotBits * level)) & (kSlots - 1);
  }

  template <class LinksOf>
  void push(std::uint32_t slot, std::uint32_t index, LinksOf&& links_of) {
    const std::uint32_t first = slots_[slot];
    links_of(index) = WheelLinks{.next = first, .prev = kSlotFlag | slot};
    if (first != 0) links_of(first - 1).prev = index + 1;
    slots_[slot] = index + 1;
    occupied_[slot / 64] |= std::uint64_t{1} << slot % 64;
    ++size_;
  }

  template <class LinksOf>
  void unlink(std::uint32_t index, LinksOf&& links_of) {
    WheelLinks& links = links_of(index);
    if (links.next != 0) links_of(links.next - 1).prev = links.prev;
    if ((links.prev & kSlotFlag) != 0) {
      const std::uint32_t slot = links.prev ^ kSlotFlag;
      slots_[slot] = links.next;
      if (links.next == 0) occupied_[slot / 64] &= ~(std::uint64_t{1} << slot % 64);
    } else {
      links_of(links.prev - 1).next = links.next;
    }
    links = WheelLinks{};
    --size_;
  }

  /// Empties the slots that begin at the cursor, highest level first: what comes down from there
  /// lands on later ticks. Always takes the slot's first object, so a visit may change the list at
  /// will; and no deadline puts an object back into one of these slots, because schedule() aims
  /// between 1 tick and one full turn less one slot ahead of the cursor. False: out of budget.
  template <class LinksOf, class Visit>
  bool drain(std::size_t budget, std::size_t& work, LinksOf&& links_of, Visit&& visit) {
    for (unsigned level = kLevels; level-- > 0;) {
      const std::uint32_t slot_ticks = 1u << (kSlotBits * level);
      if ((cursor_ & (slot_ticks - 1)) != 0) continue;
      const std::uint32_t slot = level * kSlots + position(level, cursor_);
      while (slots_[slot] != 0) {
        if (work == budget) return false;
        ++work;
        const std::uint32_t index = slots_[slot] - 1;
        const std::uint32_t next = links_of(index).next;
        if (next != 0) __builtin_prefetch(&links_of(next - 1));
        unlink(index, links_of);
        if (const std::optional<Ticks> deadline = visit(index))
          schedule(index, *deadline, links_of);
      }
    }
    draining_ = false;
    return true;
  }

  /// Ticks from the cursor to the beginning of the next non-empty slot of any level, or kNever.
  [[nodiscard]] std::uint64_t distance_to_next_slot() const {
    std::uint64_t nearest = kNever;
    for (unsigned level = 0; level < kLevels; ++level) {
      const std::uint32_t slots_ahead = next_occupied(level, position(level, cursor_));
      if (slots_ahead == 0) continue;
      const unsigned shift = kSlotBits * level;
      const std::uint64_t begin = (std::uint64_t{cursor_ >> shift} + slots_ahead) << shift;
      nearest = std::min(nearest, begin - cursor_);
    }
    return nearest;
  }

  /// How many slots behind `from`, around the level, the next non-empty one is (1..256); 0: none.
  [[nodiscard]] std::uint32_t next_occupied(unsigned level, std::uint32_t from) const {
    const std::uint64_t* words = occupied_ + level * kWordsPerLevel;
    const std::uint32_t start = (from + 1) % kSlots;
    std::uint64_t word = words[start / 64] & (~std::uint64_t{0} << start % 64);
    for (std::uint32_t i = start / 64, steps = 0;; word = words[i]) {
      if (word != 0) {
        const std::uint32_t found = i * 64 + static_cast<std::uint32_t>(std::countr_zero(word));
        return (found - from - 1) % kSlots + 1;
      }
      if (++steps > kWordsPerLevel) return 0;  // the first word came twice, for its other part
      i = (i + 1) % kWordsPerLevel;
    }
  }

  std::uint32_t cursor_;   ///< the tick up to which all is done; the one in work if draining_
  bool draining_ = false;  ///< the slots that begin at cursor_ are being emptied
  std::size_t size_ = 0;
  std::uint64_t occupied_[kLevels * kWordsPerLevel] = {};  ///< a bit per slot: not empty
  ParallelArray<std::uint32_t> slots_;                     ///< index + 1 of the first object
};

}  // namespace lsn::state
