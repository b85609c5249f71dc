#include "lsn/state/memory.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <new>
#include <utility>

#include "support.hpp"

namespace lsn::state {
namespace {

TEST(PageMemory, ReadsAsZeroAlsoWhenUsedBefore) {
  for (const Pages pages : {Pages::kSmall, Pages::kLarge}) {
    PageMemory memory(pages);
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{100'000}, std::size_t{5'000'000}}) {
      for (int turn = 0; turn < 3; ++turn) {
        auto* address = static_cast<unsigned char*>(memory.allocate(bytes, 64));
        ASSERT_EQ(std::count(address, address + bytes, 0), static_cast<std::ptrdiff_t>(bytes));
        std::fill(address, address + bytes, static_cast<unsigned char>(0xAA));
        memory.deallocate(address, bytes, 64);
      }
    }
  }
}

TEST(PageMemory, AlignsAsAsked) {
  PageMemory memory(Pages::kSmall);
  for (const std::size_t alignment : {std::size_t{64}, std::size_t{4096}, std::size_t{1} << 16}) {
    void* address = memory.allocate(100, alignment);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(address) % alignment, 0u);
    memory.deallocate(address, 100, alignment);
  }
}

TEST(PageMemory, PutsATableOnBoundariesOfLargePages) {
  PageMemory memory(Pages::kLarge);
  constexpr std::size_t kBytes = (std::size_t{6} << 20) + 1;
  void* address = memory.allocate(kBytes, 64);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(address) % (std::size_t{2} << 20), 0u);
  memory.deallocate(address, kBytes, 64);
}

TEST(PageMemory, RefusesWhatNoMachineHas) {
  PageMemory memory;
  EXPECT_THROW(static_cast<void>(memory.allocate(std::size_t{1} << 60, 64)), std::bad_alloc);
  EXPECT_THROW(static_cast<void>(memory.allocate(std::numeric_limits<std::size_t>::max() - 5, 64)),
               std::bad_alloc);
}

TEST(PageMemory, TellsWhichOneCanTakeBackWhoseMemory) {
  EXPECT_TRUE(PageMemory(Pages::kSmall).is_equal(PageMemory(Pages::kSmall)));
  EXPECT_FALSE(PageMemory(Pages::kSmall).is_equal(PageMemory(Pages::kLarge)));
  EXPECT_FALSE(PageMemory().is_equal(*std::pmr::new_delete_resource()));
}

TEST(ParallelArray, BeginsAsZeroOnACacheLine) {
  test::HeapMemory memory;
  const ParallelArray<std::uint64_t> array(1000, &memory);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(array.data()) % 64, 0u);
  EXPECT_EQ(array.capacity(), 1000u);
  for (std::size_t i = 0; i < array.capacity(); ++i) EXPECT_EQ(array[i], 0u);
}

TEST(ParallelArray, CostsOnlyWhatIsWritten) {
  test::WatchedMemory memory;
  ParallelArray<std::uint64_t> array(100'000'000, &memory);
  EXPECT_EQ(memory.touched_pages(), 0u);
  array[77'777'777] = 1;
  EXPECT_EQ(memory.touched_pages(), 1u);
}

TEST(ParallelArray, MovesWithItsMemory) {
  test::HeapMemory memory;
  ParallelArray<int> first(3, &memory);
  first[2] = 42;
  ParallelArray<int> second(std::move(first));
  EXPECT_EQ(second[2], 42);
  ParallelArray<int> third(1, &memory);
  third = std::move(second);
  EXPECT_EQ(third[2], 42);
  EXPECT_EQ(third.capacity(), 3u);
}

TEST(ParallelArray, CanBeEmpty) {
  test::HeapMemory memory;
  const ParallelArray<int> array(0, &memory);
  EXPECT_EQ(array.capacity(), 0u);
}

}  // namespace
}  // namespace lsn::state
