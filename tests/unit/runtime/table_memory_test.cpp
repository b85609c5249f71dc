#include "lsn/runtime/table_memory.hpp"

#include <gtest/gtest.h>

#include <cstring>

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

}  // namespace
}  // namespace lsn::runtime
