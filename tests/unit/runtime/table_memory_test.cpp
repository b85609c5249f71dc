#include "lsn/runtime/table_memory.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
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
