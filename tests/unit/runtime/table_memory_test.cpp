#include "lsn/runtime/table_memory.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace lsn::runtime {
namespace {

class TableMemoryOf : public testing::TestWithParam<TableMemory::HugePages> {};

TEST_P(TableMemoryOf, ReadsAsZeroAlsoWhenItIsHandedOutAgain) {
  TableMemory memory(GetParam());
  for (const std::size_t bytes : {std::size_t{64}, std::size_t{5000}, std::size_t{5} << 20}) {
    for (int round = 0; round < 3; ++round) {
      auto* const block = static_cast<unsigned char*>(memory.allocate(bytes, 64));
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % 64, 0U);
      for (std::size_t i = 0; i < bytes; i += 61) ASSERT_EQ(block[i], 0);
      ASSERT_EQ(block[bytes - 1], 0);
      std::memset(block, 0xA5, bytes);
      memory.deallocate(block, bytes, 64);
    }
  }
  EXPECT_EQ(memory.in_huge_pages(), 0U);
  EXPECT_EQ(memory.in_other_pages(), 0U);
}

TEST_P(TableMemoryOf, GivesWhatHugePagesCannotHoldFromOthers) {
  TableMemory memory(GetParam());
  // More than a machine has reserved: untouched, it costs nothing.
  constexpr std::size_t kBytes = std::size_t{1} << 37;
  void* const block = memory.allocate(kBytes, 64);
  EXPECT_EQ(memory.in_huge_pages(), 0U);
  EXPECT_EQ(memory.in_other_pages(), kBytes);
  memory.deallocate(block, kBytes, 64);
}

INSTANTIATE_TEST_SUITE_P(BothKinds, TableMemoryOf,
                         testing::Values(TableMemory::HugePages::kTry,
                                         TableMemory::HugePages::kLeave));

TEST(TableMemory, LeavesSmallTablesOffHugePages) {
  TableMemory memory(TableMemory::HugePages::kTry);
  void* const block = memory.allocate(4096, 64);
  EXPECT_EQ(memory.in_huge_pages(), 0U);
  EXPECT_EQ(memory.in_other_pages(), 4096U);
  memory.deallocate(block, 4096, 64);
}

// Pages of the kernel's own size stand for those of 1 GB, cut in the same way.
constexpr std::size_t kPage = std::size_t{1} << 20;
std::size_t maps = 0;
void* ordinary(std::size_t bytes) {
  ++maps;
  void* const address =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return address == MAP_FAILED ? nullptr : address;
}

TEST(GigaPages, HoldSeveralTablesEachAndTakeMorePagesForALargeOne) {
  maps = 0;
  GigaPages pages(ordinary, kPage);
  auto* const first = static_cast<char*>(pages.allocate(300'000));
  auto* const second = static_cast<char*>(pages.allocate(300'000));
  EXPECT_EQ(second - first, 303'104) << "whole pages of 4 KB";
  EXPECT_EQ(maps, 1U);
  void* const large = pages.allocate(3 * kPage / 2);
  EXPECT_EQ(maps, 2U);
  EXPECT_EQ(pages.mapped(), 3 * kPage);
  auto* const third = static_cast<char*>(pages.allocate(300'000));
  EXPECT_EQ(third - second, 303'104) << "what is left of the first page is used";
  EXPECT_EQ(maps, 2U);
  EXPECT_TRUE(pages.deallocate(large));
  EXPECT_EQ(pages.mapped(), kPage);
  EXPECT_FALSE(pages.deallocate(large)) << "it is no longer from here";
}

TEST(GigaPages, NeverHandOutBytesASecondTime) {
  maps = 0;
  GigaPages pages(ordinary, kPage);
  void* const kept = pages.allocate(4096);
  for (int round = 0; round < 1000; ++round) {
    auto* const block = static_cast<char*>(pages.allocate(4096));
    ASSERT_EQ(*std::max_element(block, block + 4096), 0);
    std::memset(block, 0x5A, 4096);
    ASSERT_TRUE(pages.deallocate(block));
  }
  EXPECT_TRUE(pages.deallocate(kept));
  EXPECT_LT(pages.mapped(), 2 * kPage) << "pages without a table are given back";
}

TEST(TableMemory, TakesPagesOfOneGigabyteWhereThereAreNoneOfTwoMegabytes) {
  GigaPages pages(ordinary, kPage);
  TableMemory memory(TableMemory::HugePages::kTry, TableMemory::Touch::kAtOnce, &pages);
  // More than a machine has reserved in pages of 2 MB, and less than what ThreadSanitizer leaves.
  constexpr std::size_t kBytes = std::size_t{1} << 39;
  void* const too_large = memory.allocate(kBytes, 64);
  EXPECT_EQ(memory.in_other_pages(), kBytes) << "no page of 1 GB either";
  memory.deallocate(too_large, kBytes, 64);

  const bool has_small_huge_pages = [] {
    void* const address =
        mmap(nullptr, 2 << 20, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (21 << MAP_HUGE_SHIFT), -1, 0);
    if (address == MAP_FAILED) return false;
    munmap(address, 2 << 20);
    return true;
  }();
  constexpr std::size_t kTable = std::size_t{5} << 20;
  void* const table = memory.allocate(kTable, 64);
  EXPECT_EQ(pages.mapped(), has_small_huge_pages ? 0U : kTable);
  EXPECT_GE(memory.in_huge_pages(), kTable);
  EXPECT_EQ(memory.in_other_pages(), 0U);
  memory.deallocate(table, kTable, 64);
  EXPECT_EQ(pages.mapped(), 0U);
  EXPECT_EQ(memory.in_huge_pages(), 0U);
}

// How many pages of a block there are (mincore(2) knows none of a private anonymous mapping's).
std::size_t resident_pages(const void* block, std::size_t bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  EXPECT_GE(map, 0);
  std::vector<std::uint64_t> entries(bytes / page);
  const auto first = reinterpret_cast<std::uintptr_t>(block) / page;
  const auto size = static_cast<ssize_t>(entries.size() * sizeof entries[0]);
  EXPECT_EQ(pread(map, entries.data(), static_cast<std::size_t>(size),
                  static_cast<off_t>(first * sizeof entries[0])),
            size);
  close(map);
  return static_cast<std::size_t>(
      std::count_if(entries.begin(), entries.end(), [](auto entry) { return (entry >> 63) != 0; }));
}

TEST_P(TableMemoryOf, IsThereAtOnceOrWhenItIsUsed) {
  constexpr std::size_t kBytes = std::size_t{96} << 20;
  const std::size_t pages = kBytes / static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  TableMemory at_once(GetParam(), TableMemory::Touch::kAtOnce);
  void* block = at_once.allocate(kBytes, 64);
  EXPECT_EQ(resident_pages(block, kBytes), pages);
  EXPECT_EQ(at_once.touched(), kBytes);
  EXPECT_EQ(at_once.left(), 0U);
  at_once.deallocate(block, kBytes, 64);

  TableMemory when_used(GetParam(), TableMemory::Touch::kWhenUsed);
  block = when_used.allocate(kBytes, 64);
  EXPECT_EQ(resident_pages(block, kBytes), 0U);
  EXPECT_EQ(when_used.touched(), 0U);
  when_used.deallocate(block, kBytes, 64);
}

TEST_P(TableMemoryOf, DoesNotTakeWhatTheMachineHasNot) {
  constexpr std::size_t kBytes = std::size_t{1} << 40;
  TableMemory memory(GetParam(), TableMemory::Touch::kAtOnce);
  void* const block = memory.allocate(kBytes, 64);
  EXPECT_EQ(memory.touched(), 0U);
  EXPECT_EQ(memory.left(), kBytes);
  memory.deallocate(block, kBytes, 64);
}

}  // namespace
}  // namespace lsn::runtime
