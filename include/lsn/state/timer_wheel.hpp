// Tells the owner of objects when their time has come, without ever scanning them.
//
// Several levels; a slot of the first stands for one tick, one of a higher level for a whole turn
// of the level below. An object waits in the slot of its deadline, on the lowest level that reaches
// so far, and is visited once more for each level that it comes down. A slot is a chain of chunks,
// one cache line of indices each, all of them full but the first; an object's owner keeps its place
// beside it (WheelLinks), so that cancel() fills the hole with the chain's last index: schedule()
// and cancel() are a few stores. When the clock enters the time that a slot stands for, each object
// of the slot is taken out and the owner's `visit(index)` is asked for a deadline. An answer
// re-arms the object; no answer means that the owner took it away. The wheel stores no deadline and
// asks the same question on all levels, so moving down a level ("cascading") and lazy re-arming are
// the same thing: a packet only writes "last seen", the wheel learns of it when it asks.
//
// Work is bounded: advance() stops at its budget, also within a slot, and goes on there next time;
// the wheel then lags, nothing is lost. Empty slots are skipped by bit maps, however far the clock
// jumped. A visit may schedule and cancel any other object. A chunk tells which objects are next
// without a look at them, so an owner can prefetch the lines that their visits will touch
// (`announce`): a list through the objects themselves would cost a cache miss for each, one after
// the other.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <span>
#include <utility>

#include "lsn/state/memory.hpp"
#include "lsn/state/ticks.hpp"

namespace lsn::state {

/// An object's place on the wheel. Written by the wheel only; {} (and zeroed memory) is "on none".
struct WheelLinks {
  std::uint32_t place = 0;  ///< its chunk, and where in it
};

/// Of each number, the sum of those before it.
template <std::size_t n>
[[nodiscard]] consteval std::array<std::uint32_t, n> sums_before(
    std::array<std::uint32_t, n> numbers) {
  std::exclusive_scan(numbers.begin(), numbers.end(), numbers.begin(), 0u);
  return numbers;
}

/// The most objects that advance() tells of at a time.
inline constexpr std::uint32_t kAnnounced = 32;

/// `links_of(index) -> WheelLinks&` everywhere below. `kBits`: slots of each level, as powers of
/// two; all levels together turn once in 2^32 ticks, as the clock does.
template <unsigned... kBits>
class BasicTimerWheel {
 public:
  /// For at most `capacity` objects at a time, less than 2^31.
  BasicTimerWheel(std::uint32_t capacity, Ticks now, ZeroedMemory* memory)
      : cursor_(now.value),
        slots_(kSlots, memory),
        // All chunks of a slot but one are full.
        chunks_(1 + capacity / Chunk::kEntries + kSlots, memory) {}

  /// Arms an object that is on no slot. A deadline that is past or present fires at the next tick;
  /// one can be up to 2^31 - 1 ticks (248 days) ahead.
  template <class LinksOf>
  void schedule(std::uint32_t index, Ticks deadline, LinksOf&& links_of) {
    const std::int32_t ahead = deadline - Ticks{cursor_};
    const std::uint32_t distance = ahead > 0 ? static_cast<std::uint32_t>(ahead) : 1;
    unsigned level = 0;
    while (level + 1 < kLevels && distance >> kShift[level + 1] != 0) ++level;
    push(kFirst[level] + position(level, cursor_ + distance), index, links_of);
  }

  /// Disarms an object, wherever it waits; nothing happens if it waits nowhere.
  template <class LinksOf>
  void cancel(std::uint32_t index, LinksOf&& links_of) {
    if (links_of(index).place != 0) unlink(index, links_of);
  }

  /// Whether an object waits.
  template <class LinksOf>
  [[nodiscard]] bool is_scheduled(std::uint32_t index, LinksOf&& links_of) const {
    return links_of(index).place != 0;
  }

  /// Turns the wheel to `now`: `visit(index) -> std::optional<Ticks>` for every object of every
  /// slot that became due. Returns the work done, visits and non-empty slots together; when that is
  /// `budget`, there may be more to do and the next call goes on here, even at the same `now`.
  ///
  /// `announce(std::span<const std::uint32_t>)` is told of objects, at most kAnnounced, that will
  /// be visited next. It must not change the wheel.
  template <class LinksOf, class Visit, class Announce>
  std::size_t advance(Ticks now, std::size_t budget, LinksOf&& links_of, Visit&& visit,
                      Announce&& announce) {
    std::size_t work = 0;
    for (;;) {
      if (draining_ && !drain(budget, work, links_of, visit, announce)) return work;
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

  template <class LinksOf, class Visit>
  std::size_t advance(Ticks now, std::size_t budget, LinksOf&& links_of, Visit&& visit) {
    return advance(now, budget, links_of, visit, [](std::span<const std::uint32_t>) {});
  }

  /// Whether advance() to `now` has something left to do.
  [[nodiscard]] bool is_behind(Ticks now) const { return draining_ || now - Ticks{cursor_} > 0; }

  /// Ticks of which the wheel has not done all there is to do, the present one included.
  [[nodiscard]] std::uint32_t lag(Ticks now) const {
    const std::int32_t behind = now - Ticks{cursor_};
    return (behind > 0 ? static_cast<std::uint32_t>(behind) : 0) + (draining_ ? 1 : 0);
  }

  /// Objects that wait.
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  using Levels = std::array<std::uint32_t, sizeof...(kBits)>;
  static constexpr unsigned kLevels = sizeof...(kBits);
  static constexpr Levels kSlotsOf{(1u << kBits)...};
  /// A slot of a level stands for 1 << kShift ticks.
  static constexpr Levels kShift = sums_before(Levels{kBits...});
  /// A level's first slot among those of all.
  static constexpr Levels kFirst = sums_before(kSlotsOf);
  static constexpr std::uint32_t kSlots = (0u + ... + (1u << kBits));
  static_assert((0u + ... + kBits) == 32 && ((kBits >= 6) && ...) && kSlots < 1u << 16);
  static constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

  /// Numbered from 1.
  struct alignas(kCacheLine) Chunk {
    static constexpr std::uint32_t kEntries = 14;

    std::uint32_t next;  ///< in its slot's chain, or in that of the free ones; 0: none
    std::uint16_t slot;
    std::uint16_t count;
    std::uint32_t entries[kEntries];
  };
  static_assert(sizeof(Chunk) == kCacheLine);
  static constexpr unsigned kEntryBits = 4;  // of WheelLinks::place

  static std::uint32_t position(unsigned level, std::uint32_t tick) {
    return (tick >> kShift[level]) & (kSlotsOf[level] - 1);
  }

  template <class LinksOf>
  void push(std::uint32_t slot, std::uint32_t index, LinksOf&& links_of) {
    std::uint32_t first = slots_[slot];
    if (first == 0 || chunks_[first].count == Chunk::kEntries) first = add_chunk(slot);
    Chunk& chunk = chunks_[first];
    links_of(index).place = first << kEntryBits | chunk.count;
    chunk.entries[chunk.count++] = index;
    ++size_;
  }

  template <class LinksOf>
  void unlink(std::uint32_t index, LinksOf&& links_of) {
    const std::uint32_t place = std::exchange(links_of(index).place, 0);
    Chunk& chunk = chunks_[place >> kEntryBits];
    Chunk& last = chunks_[slots_[chunk.slot]];
    const std::uint32_t filler = last.entries[--last.count];
    if (filler != index) {
      chunk.entries[place & ((1u << kEntryBits) - 1)] = filler;
      links_of(filler).place = place;
    }
    if (last.count == 0) remove_chunk(chunk.slot);
    --size_;
  }

  /// In front of a slot's chain.
  std::uint32_t add_chunk(std::uint32_t slot) {
    std::uint32_t id = free_chunk_;
    if (id != 0)
      free_chunk_ = chunks_[id].next;
    else
      id = ++chunks_used_;
    Chunk& chunk = chunks_[id];
    chunk.next = slots_[slot];
    chunk.slot = static_cast<std::uint16_t>(slot);
    chunk.count = 0;
    slots_[slot] = id;
    occupied_[slot / 64] |= std::uint64_t{1} << slot % 64;
    return id;
  }

  /// The first one of a slot's chain, which is empty.
  void remove_chunk(std::uint32_t slot) {
    const std::uint32_t id = slots_[slot];
    slots_[slot] = chunks_[id].next;
    chunks_[id].next = free_chunk_;
    free_chunk_ = id;
    if (slots_[slot] == 0) occupied_[slot / 64] &= ~(std::uint64_t{1} << slot % 64);
  }

  /// Empties the slots that begin at the cursor, highest level first: objects that come down from
  /// there land on later ticks. Always takes the slot's last object, so a visit may change the slot
  /// at will; and no deadline puts an object back into one of these slots, because schedule() aims
  /// between 1 tick and one full turn less one slot ahead of the cursor. False: out of budget.
  template <class LinksOf, class Visit, class Announce>
  bool drain(std::size_t budget, std::size_t& work, LinksOf&& links_of, Visit&& visit,
             Announce&& announce) {
    std::size_t announced = 0;
    for (unsigned level = kLevels; level-- > 0;) {
      const std::uint32_t slot_ticks = 1u << kShift[level];
      if ((cursor_ & (slot_ticks - 1)) != 0) continue;
      const std::uint32_t slot = kFirst[level] + position(level, cursor_);
      while (slots_[slot] != 0) {
        if (work == budget) return false;
        ++work;
        if (announced == 0) {
          std::array<std::uint32_t, kAnnounced> soon;
          announced = next_of(slot, std::min<std::size_t>(kAnnounced, budget - work + 1), soon);
          announce(std::span<const std::uint32_t>{soon.data(), announced});
        }
        --announced;
        const Chunk& chunk = chunks_[slots_[slot]];
        const std::uint32_t index = chunk.entries[chunk.count - 1];
        unlink(index, links_of);
        if (const std::optional<Ticks> deadline = visit(index))
          schedule(index, *deadline, links_of);
      }
    }
    draining_ = false;
    return true;
  }

  /// The first `wanted` objects that drain() would take from a slot; how many there are. From more
  /// than one chunk: the more of them, the less each waits for the first misses.
  std::size_t next_of(std::uint32_t slot, std::size_t wanted,
                      std::array<std::uint32_t, kAnnounced>& objects) const {
    std::size_t n = 0;
    for (std::uint32_t id = slots_[slot]; id != 0 && n < wanted; id = chunks_[id].next) {
      const Chunk& chunk = chunks_[id];
      chunks_.prefetch(chunk.next);
      for (std::uint32_t i = chunk.count; i-- > 0 && n < wanted;) objects[n++] = chunk.entries[i];
    }
    return n;
  }

  /// Ticks from the cursor to the beginning of the next non-empty slot of any level, or kNever.
  [[nodiscard]] std::uint64_t distance_to_next_slot() const {
    std::uint64_t nearest = kNever;
    for (unsigned level = 0; level < kLevels; ++level) {
      const std::uint32_t slots_ahead = next_occupied(level, position(level, cursor_));
      if (slots_ahead == 0) continue;
      const unsigned shift = kShift[level];
      const std::uint64_t begin = (std::uint64_t{cursor_ >> shift} + slots_ahead) << shift;
      nearest = std::min(nearest, begin - cursor_);
    }
    return nearest;
  }

  /// How many slots behind `from`, around the level, the next non-empty one is; 0: none.
  [[nodiscard]] std::uint32_t next_occupied(unsigned level, std::uint32_t from) const {
    const std::uint64_t* words = occupied_ + kFirst[level] / 64;
    const std::uint32_t slots = kSlotsOf[level];
    const std::uint32_t start = (from + 1) & (slots - 1);
    std::uint64_t word = words[start / 64] & (~std::uint64_t{0} << start % 64);
    for (std::uint32_t i = start / 64, steps = 0;; word = words[i]) {
      if (word != 0) {
        const std::uint32_t found = i * 64 + static_cast<std::uint32_t>(std::countr_zero(word));
        return ((found - from - 1) & (slots - 1)) + 1;
      }
      if (++steps > slots / 64) return 0;  // the first word came twice, for its other part
      i = (i + 1) & (slots / 64 - 1);
    }
  }

  std::uint32_t cursor_;   ///< the tick up to which all is done; the one in work if draining_
  bool draining_ = false;  ///< the slots that begin at cursor_ are being emptied
  std::size_t size_ = 0;
  std::uint64_t occupied_[kSlots / 64] = {};  ///< a bit per slot: not empty
  ParallelArray<std::uint32_t> slots_;        ///< the first chunk, 0: none
  ParallelArray<Chunk> chunks_;
  std::uint32_t chunks_used_ = 0;  ///< higher numbers were never touched
  std::uint32_t free_chunk_ = 0;
};

using TimerWheel = BasicTimerWheel<8, 8, 8, 8>;
/// Where most objects wait for less than 163 seconds and end then: they are visited once (with 1 M
/// sessions that come and go an end takes 545 clocks instead of 615).
using LongTimerWheel = BasicTimerWheel<14, 9, 9>;

}  // namespace lsn::state
