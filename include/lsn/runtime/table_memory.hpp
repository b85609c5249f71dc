// Memory for a shard's tables: reserved huge pages where there are enough, else what PageMemory
// gives.
//
// A page comes into being when it is first touched, and since the shard is built by its own worker
// that puts it on the worker's NUMA node. What every session takes is touched at once: the kernel
// clears a page of 2 MB in a tenth of a millisecond, and much longer where a hypervisor must find
// it first, while packets would wait. The rest is touched when it is used. Huge pages are reserved
// when they are mapped: there is no page fault later that the kernel cannot serve. Small tables
// stay off huge pages: half a page wasted is a megabyte.
#pragma once

#include <atomic>
#include <cstddef>
#include <unordered_set>

#include "lsn/state/memory.hpp"

namespace lsn::runtime {

class TableMemory final : public state::ZeroedMemory {
 public:
  enum class HugePages : std::uint8_t { kTry, kLeave };
  enum class Touch : std::uint8_t {
    kWhenUsed,
    kAtOnce,  ///< unless the machine has less memory than that
  };

  explicit TableMemory(HugePages huge_pages, Touch touch = Touch::kWhenUsed)
      : huge_pages_(huge_pages), touch_(touch) {}

  /// Bytes in reserved huge pages, and in other pages, at present.
  [[nodiscard]] std::size_t in_huge_pages() const { return in_huge_pages_; }
  [[nodiscard]] std::size_t in_other_pages() const { return in_other_pages_; }
  /// Bytes that were touched at once so far. Any thread may ask, also meanwhile.
  [[nodiscard]] std::size_t touched() const { return touched_.load(std::memory_order_relaxed); }
  /// Bytes that should have been, but are more than the machine has.
  [[nodiscard]] std::size_t left() const { return left_; }

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* address, std::size_t bytes, std::size_t alignment) override;
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

  void touch(void* address, std::size_t bytes);

  HugePages huge_pages_;
  Touch touch_;
  state::PageMemory pages_;
  std::unordered_set<void*> huge_;
  std::size_t in_huge_pages_ = 0;
  std::size_t in_other_pages_ = 0;
  std::atomic<std::size_t> touched_{0};
  std::size_t left_ = 0;
};

}  // namespace lsn::runtime
