// Where the tables' memory comes from, and the one array that all of them are built on.
//
// A table of ten million entries has to start at once and to cost only what is in use. So every
// container of this room takes all-zero memory for "empty", takes it from a ZeroedMemory, and
// touches nothing until an entry needs it: pages come into being as entries do.
//
//   ZeroedMemory    a pmr resource whose memory reads as zero, also when it is handed out again
//   PageMemory      the one for general use: anonymous pages of the kernel, large where it has any
//   ParallelArray   a fixed number of T's in such memory; "parallel" because an object's cold
//                   part lives in one, under the index that its hot part has in a Slab
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <type_traits>
#include <utility>

namespace lsn::state {

/// Alignment of every array: a cache line.
inline constexpr std::size_t kCacheLine = 64;

/// A memory resource that promises zeroes: allocate() returns memory whose bytes all read 0, even
/// if they were used before. It must serve alignments up to a cache line, and should neither touch
/// nor reserve more than is written.
class ZeroedMemory : public std::pmr::memory_resource {};

/// Which pages PageMemory asks the kernel for.
enum class Pages : std::uint8_t {
  kSmall,  ///< those that the kernel gives by itself
  kLarge,  ///< transparent large pages where the kernel grants them: a third less time per miss
};

/// Anonymous private pages, straight from the kernel; each allocation is a mapping of its own, so
/// this is for tables, not for small things. Throws std::bad_alloc where the kernel refuses.
class PageMemory final : public ZeroedMemory {
 public:
  explicit PageMemory(Pages pages = Pages::kLarge) : pages_(pages) {}

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* address, std::size_t bytes, std::size_t alignment) override;
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override;

  Pages pages_;
};

/// A fixed number of T's that begin as all-zero bytes (which is not T{} where T's members have
/// other defaults). No construction, no destruction: T is plain data.
template <class T>
class ParallelArray {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>,
                "elements come into being as zero bytes");

 public:
  ParallelArray(std::size_t capacity, ZeroedMemory* memory)
      : memory_(memory),
        capacity_(capacity),
        elements_(capacity == 0
                      ? nullptr
                      : static_cast<T*>(memory->allocate(capacity * sizeof(T), kAlignment))) {}

  ParallelArray(ParallelArray&& other) noexcept
      : memory_(other.memory_),
        capacity_(std::exchange(other.capacity_, 0)),
        elements_(std::exchange(other.elements_, nullptr)) {}

  ParallelArray& operator=(ParallelArray&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(capacity_, other.capacity_);
    std::swap(elements_, other.elements_);
    return *this;
  }

  ParallelArray(const ParallelArray&) = delete;
  ParallelArray& operator=(const ParallelArray&) = delete;

  ~ParallelArray() {
    if (elements_ != nullptr) memory_->deallocate(elements_, capacity_ * sizeof(T), kAlignment);
  }

  [[nodiscard]] T& operator[](std::size_t index) { return elements_[index]; }
  [[nodiscard]] const T& operator[](std::size_t index) const { return elements_[index]; }

  [[nodiscard]] T* data() { return elements_; }
  [[nodiscard]] const T* data() const { return elements_; }
  [[nodiscard]] std::size_t capacity() const { return capacity_; }

  /// Fetches an element into the cache (of a large one, the first line). Any index will do.
  void prefetch(std::size_t index) const {
    __builtin_prefetch(elements_ + index);
    // Lies across two lines now and then.
    if constexpr (kCacheLine % sizeof(T) != 0 && sizeof(T) < kCacheLine)
      __builtin_prefetch(reinterpret_cast<const char*>(elements_ + index + 1) - 1);
  }

 private:
  static constexpr std::size_t kAlignment = alignof(T) > kCacheLine ? alignof(T) : kCacheLine;

  ZeroedMemory* memory_;
  std::size_t capacity_;
  T* elements_;
};

}  // namespace lsn::state
