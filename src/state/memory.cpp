#include "lsn/state/memory.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <new>

namespace lsn::state {
namespace {

constexpr std::size_t kLargePage = std::size_t{2} << 20;

std::size_t round_up(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

/// The mapping of one allocation: a function of its size and alignment only, so that deallocation
/// finds it.
struct Mapping {
  std::size_t bytes;
  std::size_t alignment;

  Mapping(std::size_t wanted, std::size_t wanted_alignment, Pages pages) {
    const auto small_page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const bool large = pages == Pages::kLarge && wanted >= kLargePage;
    const std::size_t page = large ? kLargePage : small_page;
    bytes = round_up(wanted, page);
    alignment = wanted_alignment > page ? wanted_alignment : page;
  }
};

}  // namespace

void* PageMemory::do_allocate(std::size_t bytes, std::size_t alignment) {
  const Mapping mapping(bytes, alignment, pages_);
  const std::size_t reserved = mapping.bytes + mapping.alignment;
  if (reserved < bytes) throw std::bad_alloc();
  void* const address = mmap(nullptr, reserved, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) throw std::bad_alloc();

  // Keep the aligned part, give back the pages before and behind it.
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  const std::uintptr_t aligned = round_up(begin, mapping.alignment);
  const std::uintptr_t end = aligned + mapping.bytes;
  if (aligned != begin) munmap(address, aligned - begin);
  if (end != begin + reserved) munmap(reinterpret_cast<void*>(end), begin + reserved - end);

  void* const result = reinterpret_cast<void*>(aligned);
  // A wish, not a need: a kernel without large pages refuses, and small ones will do.
  if (mapping.alignment >= kLargePage)
    static_cast<void>(madvise(result, mapping.bytes, MADV_HUGEPAGE));
  return result;
}

void PageMemory::do_deallocate(void* address, std::size_t bytes, std::size_t alignment) {
  munmap(address, Mapping(bytes, alignment, pages_).bytes);
}

bool PageMemory::do_is_equal(const std::pmr::memory_resource& other) const noexcept {
  const auto* pages = dynamic_cast<const PageMemory*>(&other);
  return pages != nullptr && pages->pages_ == pages_;
}

}  // namespace lsn::state
