#include "lsn/runtime/table_memory.hpp"

#include <sys/mman.h>

#include <algorithm>

namespace lsn::runtime {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::size_t huge_pages_of(std::size_t bytes) {
  return (bytes + kHugePage - 1) / kHugePage * kHugePage;
}

}  // namespace

void* TableMemory::do_allocate(std::size_t bytes, std::size_t alignment) {
  if (huge_pages_ == HugePages::kTry && bytes >= kHugePage && alignment <= kHugePage) {
    // No MAP_POPULATE, no MAP_NORESERVE: reserved now, touched when used.
    void* const address = mmap(nullptr, huge_pages_of(bytes), PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (21 << MAP_HUGE_SHIFT),
                               -1, 0);
    if (address != MAP_FAILED) {
      huge_.insert(address);
      in_huge_pages_ += huge_pages_of(bytes);
      return address;
    }
  }
  void* const address = pages_.allocate(bytes, alignment);
  in_other_pages_ += bytes;
  return address;
}

void TableMemory::do_deallocate(void* address, std::size_t bytes, std::size_t alignment) {
  if (huge_.erase(address) != 0) {
    munmap(address, huge_pages_of(bytes));
    in_huge_pages_ -= huge_pages_of(bytes);
  } else {
    pages_.deallocate(address, bytes, alignment);
    in_other_pages_ -= bytes;
  }
}

}  // namespace lsn::runtime
