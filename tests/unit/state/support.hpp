// For the tests of this room: a seed that is printed and can be given again, and two memories.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>
#include <random>
#include <vector>

#include "lsn/state/memory.hpp"
#include "lsn/state/random.hpp"

namespace lsn::state::test {

/// A generator whose seed is random, or $LSN_SEED, and is printed: a failure can be repeated.
inline std::mt19937_64 seeded_generator() {
  const char* given = std::getenv("LSN_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
  std::printf("LSN_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return std::mt19937_64(seed);
}

/// A seed for the product's own generator.
inline Random::Seed seed_of(std::uint8_t value) {
  Random::Seed seed;
  seed.fill(value);
  return seed;
}

/// Zeroed memory from the heap, to the byte: the address sanitizer sees a step beside a table.
class HeapMemory final : public ZeroedMemory {
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    void* address = ::operator new(bytes, std::align_val_t{alignment});
    std::memset(address, 0, bytes);
    return address;
  }
  void do_deallocate(void* address, std::size_t, std::size_t alignment) override {
    ::operator delete(address, std::align_val_t{alignment});
  }
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }
};

/// Pages of the kernel that tell how many of them were touched.
class WatchedMemory final : public ZeroedMemory {
 public:
  [[nodiscard]] std::size_t touched_pages() const {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    std::size_t touched = 0;
    for (const auto& [address, bytes] : mappings_) {
      std::vector<unsigned char> resident((bytes + page - 1) / page);
      if (mincore(address, bytes, resident.data()) != 0) std::abort();
      for (const unsigned char byte : resident) touched += byte & 1;
    }
    return touched;
  }

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    void* const address = pages_.allocate(bytes, alignment);
    mappings_[address] = bytes;
    return address;
  }
  void do_deallocate(void* address, std::size_t bytes, std::size_t alignment) override {
    mappings_.erase(address);
    pages_.deallocate(address, bytes, alignment);
  }
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

  PageMemory pages_{Pages::kSmall};
  std::map<void*, std::size_t> mappings_;
};

}  // namespace lsn::state::test
