// Memory for a shard's tables: reserved huge pages where there are enough, else what PageMemory
// gives.
//
// Either way nothing is touched before it is used, and since the shard is built by its own worker,
// the first touch puts every page on the worker's NUMA node. Huge pages are reserved when they are
// mapped: there is no page fault later that the kernel cannot serve. Small tables stay off huge
// pages: half a page wasted is a megabyte.
#pragma once

#include <cstddef>
#include <unordered_set>

#include "lsn/state/memory.hpp"

namespace lsn::runtime {

class TableMemory final : public state::ZeroedMemory {
 public:
  enum class HugePages : std::uint8_t { kTry, kLeave };

  explicit TableMemory(HugePages huge_pages) : huge_pages_(huge_pages) {}

  /// Bytes in reserved huge pages, and in other pages, at present.
  [[nodiscard]] std::size_t in_huge_pages() const { return in_huge_pages_; }
  [[nodiscard]] std::size_t in_other_pages() const { return in_other_pages_; }

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* address, std::size_t bytes, std::size_t alignment) override;
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

  HugePages huge_pages_;
  state::PageMemory pages_;
  std::unordered_set<void*> huge_;
  std::size_t in_huge_pages_ = 0;
  std::size_t in_other_pages_ = 0;
};

}  // namespace lsn::runtime
