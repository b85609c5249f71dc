// Objects of one type under stable indices: the place where sessions, mappings, subscribers live.
//
// allocate() hands out the index that was released last, whose line is likeliest to be in the
// cache; only if none is free it advances the high-water mark into memory that was never touched.
// Free indices are a stack in an array apart from the objects, so neither allocate() nor release()
// reads a cold object to find the next one. Indices stay below capacity(); an object keeps its own
// until it is released. The part of an object that a packet does not need belongs into a
// ParallelArray under the same index.
#pragma once

#include <cstdint>

#include "lsn/state/memory.hpp"
#include "lsn/state/none.hpp"

namespace lsn::state {

template <class T>
class Slab {
 public:
  Slab(std::uint32_t capacity, ZeroedMemory* memory)
      : objects_(capacity, memory), free_(capacity, memory) {
    // The first release() is a packet's: it does not wait for the kernel to map a page.
    if (capacity != 0) free_[0] = 0;
  }

  /// The index of a fresh T{}, or kNone when all are in use.
  [[nodiscard]] std::uint32_t allocate() {
    std::uint32_t index;
    if (free_count_ != 0) {
      index = free_[--free_count_];
    } else if (high_water_ < capacity()) {
      index = high_water_++;
    } else {
      return kNone;
    }
    objects_[index] = T{};
    return index;
  }

  /// Gives back an index that is in use; the object is left as it is until it is allocated again.
  void release(std::uint32_t index) { free_[free_count_++] = index; }

  [[nodiscard]] T& operator[](std::uint32_t index) { return objects_[index]; }
  [[nodiscard]] const T& operator[](std::uint32_t index) const { return objects_[index]; }

  /// The index of one of its objects: its part in a ParallelArray is found from the object.
  [[nodiscard]] std::uint32_t index_of(const T& object) const {
    return static_cast<std::uint32_t>(&object - objects_.data());
  }

  /// Fetches the first cache line of an object.
  void prefetch(std::uint32_t index) const { objects_.prefetch(index); }

  /// The index that the nth allocate() from here will give if nothing is released before, n = 0
  /// the next; one that is no object's when there is none.
  [[nodiscard]] std::uint32_t upcoming(std::uint32_t n) const {
    return n < free_count_ ? free_[free_count_ - 1 - n] : high_water_ + (n - free_count_);
  }

  /// Objects in use.
  [[nodiscard]] std::uint32_t size() const { return high_water_ - free_count_; }
  [[nodiscard]] std::uint32_t capacity() const {
    return static_cast<std::uint32_t>(objects_.capacity());
  }
  /// The most objects that were in use at a time; indices from here on were never touched.
  [[nodiscard]] std::uint32_t high_water() const { return high_water_; }

 private:
  ParallelArray<T> objects_;
  ParallelArray<std::uint32_t> free_;
  std::uint32_t free_count_ = 0;
  std::uint32_t high_water_ = 0;
};

}  // namespace lsn::state
