// Cache lines that are to be prefetched in a row.
//
// A prefetch whose address misses the TLB keeps the instructions behind it from retiring until the
// page has been found. Between two of them there must be little else for their walks to overlap, so
// a function that has many addresses to find out collects them here first, and prefetches them
// together.
#pragma once

#include <array>
#include <cassert>
#include <cstddef>

#include "lsn/state/memory.hpp"

namespace lsn::state {

/// Of at most `kCapacity` lines.
template <std::size_t kCapacity>
class PrefetchBatch {
 public:
  void add_line(const void* address) {
    assert(count_ < kCapacity);
    lines_[count_++] = address;
  }

  /// An object that is no larger than a line: also where it lies across two. Of a larger one the
  /// first.
  template <class T>
  void add(const T& object) {
    add_line(&object);
    if constexpr (kCacheLine % sizeof(T) != 0 && sizeof(T) < kCacheLine)
      add_line(reinterpret_cast<const char*>(&object + 1) - 1);
  }

  /// Fetches them; the list is empty then.
  void fetch() {
    for (std::size_t i = 0; i < count_; ++i) __builtin_prefetch(lines_[i]);
    count_ = 0;
  }

 private:
  std::size_t count_ = 0;
  std::array<const void*, kCapacity> lines_;
};

}  // namespace lsn::state
