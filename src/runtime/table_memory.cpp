#include "lsn/runtime/table_memory.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <new>
#include <string>

namespace lsn::runtime {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::size_t huge_pages_of(std::size_t bytes) {
  return (bytes + kHugePage - 1) / kHugePage * kHugePage;
}

/// What may still be taken without driving something else out, by the kernel's estimate.
std::size_t available_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string name;
  std::size_t kilobytes = 0;
  for (std::string unit; file >> name >> kilobytes; std::getline(file, unit))
    if (name == "MemAvailable:") return kilobytes * 1024;
  return 0;
}

/// Has the kernel make pages that can be written.
void populate(char* address, std::size_t bytes) {
  if (madvise(address, bytes, MADV_POPULATE_WRITE) == 0) return;
  if (errno != EINVAL) throw std::bad_alloc();
  // Linux before 5.14.
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  for (std::size_t i = 0; i < bytes; i += page) const_cast<volatile char&>(address[i]) = 0;
}

}  // namespace

void TableMemory::touch(void* address, std::size_t bytes) {
  if (touch_ == Touch::kWhenUsed) return;
  if (!huge_.contains(address) && bytes > available_bytes()) {
    left_ += bytes;
    return;
  }
  constexpr std::size_t kStep = std::size_t{64} << 20;
  for (std::size_t done = 0; done < bytes;) {
    const std::size_t next = std::min(kStep, bytes - done);
    populate(static_cast<char*>(address) + done, next);
    done += next;
    touched_.fetch_add(next, std::memory_order_relaxed);
  }
}

void* TableMemory::do_allocate(std::size_t bytes, std::size_t alignment) {
  if (huge_pages_ == HugePages::kTry && bytes >= kHugePage && alignment <= kHugePage) {
    // No MAP_NORESERVE: they are reserved now.
    void* const address = mmap(nullptr, huge_pages_of(bytes), PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (21 << MAP_HUGE_SHIFT),
                               -1, 0);
    if (address != MAP_FAILED) {
      huge_.insert(address);
      in_huge_pages_ += huge_pages_of(bytes);
      touch(address, huge_pages_of(bytes));
      return address;
    }
  }
  void* const address = pages_.allocate(bytes, alignment);
  in_other_pages_ += bytes;
  touch(address, bytes);
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
