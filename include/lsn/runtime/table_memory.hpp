// Memory for a shard's tables: reserved huge pages if there are enough, else PageMemory's.
//
// The kernel makes a page when it is first touched, and since the shard is built by its own worker
// that puts it on the worker's NUMA node. The tables that every session needs are touched at once:
// the kernel clears a page of 2 MB in a tenth of a millisecond, or much longer if a hypervisor must
// find it first, while packets would wait. The rest is touched when it is used. Huge pages are
// reserved when they are mapped: there is no page fault later that the kernel cannot serve. Small
// tables stay off huge pages: half a page wasted is a megabyte.
//
// Pages of 2 MB come first, a mapping for each table. Pages of 1 GB hold several tables: a worker's
// lie side by side in its GigaPages.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "lsn/state/memory.hpp"

namespace lsn::runtime {

/// Pages of 1 GB, cut into pieces in the order in which they are asked for. A page is given back
/// when all its pieces have been; a piece is never given out again, so that it reads as zero.
class GigaPages {
 public:
  /// Maps whole pages; nullptr if there are none.
  using Map = void* (*)(std::size_t bytes);

  GigaPages() : GigaPages(reserve, std::size_t{1} << 30) {}
  GigaPages(Map map, std::size_t page) : map_(map), page_(page) {}
  ~GigaPages();
  GigaPages(const GigaPages&) = delete;
  GigaPages& operator=(const GigaPages&) = delete;

  /// nullptr: there are none.
  [[nodiscard]] void* allocate(std::size_t bytes);
  /// False: it is not from here.
  [[nodiscard]] bool deallocate(void* address);
  /// Bytes of all pages that are mapped.
  [[nodiscard]] std::size_t mapped() const;

 private:
  struct Block {
    char* begin;
    std::size_t bytes;
    std::size_t used = 0;
    std::size_t pieces = 0;  ///< that have not been given back
  };

  static void* reserve(std::size_t bytes);

  Map map_;
  std::size_t page_;
  std::vector<Block> blocks_;
};

class TableMemory final : public state::ZeroedMemory {
 public:
  enum class HugePages : std::uint8_t { kTry, kLeave };
  enum class Touch : std::uint8_t {
    kWhenUsed,
    kAtOnce,  ///< unless the machine has less memory than that
  };

  /// `giga_pages`: for when pages of 2 MB run out; outlives this.
  explicit TableMemory(HugePages huge_pages, Touch touch = Touch::kWhenUsed,
                       GigaPages* giga_pages = nullptr)
      : huge_pages_(huge_pages), touch_(touch), giga_pages_(giga_pages) {}

  /// The bytes in pages of 2 MB for a table of so many bytes; 0: it is too small for them.
  [[nodiscard]] static std::size_t huge_page_bytes(std::size_t bytes);

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
  GigaPages* giga_pages_;
  state::PageMemory pages_;
  std::unordered_map<void*, std::size_t> huge_;  ///< the bytes that each takes
  std::size_t in_huge_pages_ = 0;
  std::size_t in_other_pages_ = 0;
  std::atomic<std::size_t> touched_{0};
  std::size_t left_ = 0;
};

}  // namespace lsn::runtime
