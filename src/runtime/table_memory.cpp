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

constexpr unsigned kHugePageShift = 21;
constexpr unsigned kGigaPageShift = 30;
constexpr std::size_t kHugePage = std::size_t{1} << kHugePageShift;
/// Unit of the pieces cut from a page of 1 GB: madvise()'s.
constexpr std::size_t kPiece = 4096;

std::size_t huge_pages_of(std::size_t bytes) {
  return (bytes + kHugePage - 1) / kHugePage * kHugePage;
}

std::size_t pieces_of(std::size_t bytes) {
  return (bytes + kPiece - 1) / kPiece * kPiece;
}

/// nullptr if there are no such pages. No MAP_NORESERVE: they are reserved now.
void* map_huge(std::size_t bytes, unsigned shift) {
  void* const address = mmap(
      nullptr, bytes, PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | static_cast<int>(shift << MAP_HUGE_SHIFT), -1, 0);
  return address == MAP_FAILED ? nullptr : address;
}

/// Memory that is available without swapping, by the kernel's estimate.
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
  constexpr std::size_t kChunk = std::size_t{64} << 20;
  for (std::size_t done = 0; done < bytes;) {
    const std::size_t next = std::min(kChunk, bytes - done);
    populate(static_cast<char*>(address) + done, next);
    done += next;
    touched_.fetch_add(next, std::memory_order_relaxed);
  }
}

std::size_t TableMemory::huge_page_bytes(std::size_t bytes) {
  return bytes < kHugePage ? 0 : huge_pages_of(bytes);
}

void* TableMemory::do_allocate(std::size_t bytes, std::size_t alignment) {
  if (huge_pages_ == HugePages::kTry && bytes >= kHugePage && alignment <= kPiece) {
    std::size_t taken = huge_pages_of(bytes);
    void* address = map_huge(taken, kHugePageShift);
    if (address == nullptr && giga_pages_ != nullptr) {
      taken = pieces_of(bytes);
      address = giga_pages_->allocate(bytes);
    }
    if (address != nullptr) {
      huge_.emplace(address, taken);
      in_huge_pages_ += taken;
      touch(address, taken);
      return address;
    }
  }
  void* const address = pages_.allocate(bytes, alignment);
  in_other_pages_ += bytes;
  touch(address, bytes);
  return address;
}

void TableMemory::do_deallocate(void* address, std::size_t bytes, std::size_t alignment) {
  if (const auto found = huge_.find(address); found != huge_.end()) {
    in_huge_pages_ -= found->second;
    if (giga_pages_ == nullptr || !giga_pages_->deallocate(address)) munmap(address, found->second);
    huge_.erase(found);
  } else {
    pages_.deallocate(address, bytes, alignment);
    in_other_pages_ -= bytes;
  }
}

// ── pages of 1 GB ───────────────────────────────────────────────────────────────────────────────

void* GigaPages::reserve(std::size_t bytes) {
  return map_huge(bytes, kGigaPageShift);
}

GigaPages::~GigaPages() {
  for (const Block& block : blocks_) munmap(block.begin, block.bytes);
}

void* GigaPages::allocate(std::size_t bytes) {
  const std::size_t wanted = pieces_of(bytes);
  auto room = std::find_if(blocks_.begin(), blocks_.end(), [wanted](const Block& block) {
    return block.bytes - block.used >= wanted;
  });
  if (room == blocks_.end()) {
    const std::size_t mapping = (wanted + page_ - 1) / page_ * page_;
    void* const begin = map_(mapping);
    if (begin == nullptr) return nullptr;
    blocks_.push_back({static_cast<char*>(begin), mapping});
    room = blocks_.end() - 1;
  }
  void* const piece = room->begin + room->used;
  room->used += wanted;
  ++room->pieces;
  return piece;
}

bool GigaPages::deallocate(void* address) {
  const auto block = std::find_if(blocks_.begin(), blocks_.end(), [address](const Block& b) {
    return b.begin <= address && address < b.begin + b.bytes;
  });
  if (block == blocks_.end()) return false;
  if (--block->pieces == 0) {
    munmap(block->begin, block->bytes);
    blocks_.erase(block);
  }
  return true;
}

std::size_t GigaPages::mapped() const {
  std::size_t bytes = 0;
  for (const Block& block : blocks_) bytes += block.bytes;
  return bytes;
}

}  // namespace lsn::runtime
