// Memory for laboratories that come and go thousands of times a second: the next one takes the
// blocks that the last one gave back, zeroed again, without the kernel.
//
// A small block is cleared by hand when it comes back. Of a large one hardly anything was touched
// (tables take only what is in use), and the kernel takes those pages back at once: it reads as
// zero afterwards, too. Blocks are never unmapped before the resource ends.
#pragma once

#include <sanitizer/lsan_interface.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "lsn/state/memory.hpp"

namespace lsn::test {

class RecycledMemory final : public state::ZeroedMemory {
 public:
  RecycledMemory() = default;
  RecycledMemory(const RecycledMemory&) = delete;
  RecycledMemory& operator=(const RecycledMemory&) = delete;
  ~RecycledMemory() override {
    for (const Kind& kind : kinds_)
      for (void* block : kind.free) {
        if constexpr (kSanitized) __lsan_unregister_root_region(block, kind.bytes);
        pages_.deallocate(block, kind.bytes, kind.alignment);
      }
  }

 private:
  static constexpr std::size_t kClearedByHand = 32 << 10;
#if defined(__SANITIZE_ADDRESS__)
  static constexpr bool kSanitized = true;
#elif defined(__has_feature)
  static constexpr bool kSanitized = __has_feature(address_sanitizer);
#else
  static constexpr bool kSanitized = false;
#endif

  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    std::vector<void*>& free = kind_of(bytes, alignment).free;
    if (free.empty()) {
      void* const fresh = pages_.allocate(bytes, alignment);
      // A shard's heap memory in it is no leak.
      if constexpr (kSanitized) __lsan_register_root_region(fresh, bytes);
      return fresh;
    }
    void* const block = free.back();
    free.pop_back();
    return block;
  }

  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
    if (bytes <= kClearedByHand || madvise(block, bytes, MADV_DONTNEED) != 0)
      std::memset(block, 0, bytes);
    kind_of(bytes, alignment).free.push_back(block);
  }

  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

  struct Kind {
    std::size_t bytes;
    std::size_t alignment;
    std::vector<void*> free;
  };
  Kind& kind_of(std::size_t bytes, std::size_t alignment) {
    const auto found = std::find_if(kinds_.begin(), kinds_.end(), [&](const Kind& kind) {
      return kind.bytes == bytes && kind.alignment == alignment;
    });
    return found != kinds_.end() ? *found : kinds_.emplace_back(Kind{bytes, alignment, {}});
  }

  state::PageMemory pages_{state::Pages::kSmall};
  std::vector<Kind> kinds_;
};

}  // namespace lsn::test
