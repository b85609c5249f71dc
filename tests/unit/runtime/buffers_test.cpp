#include "lsn/runtime/buffers.hpp"

#include <gtest/gtest.h>

#include "support.hpp"

namespace lsn::runtime {
namespace {

std::size_t memory_of(rte_mempool* pool) {
  std::size_t bytes = 0;
  rte_mempool_mem_iter(
      pool,
      [](rte_mempool*, void* sum, rte_mempool_memhdr* piece, unsigned) {
        *static_cast<std::size_t*>(sum) += piece->len;
      },
      &bytes);
  return bytes;
}

class BuffersOfSize : public testing::TestWithParam<std::uint16_t> {
 protected:
  void SetUp() override { test::need_eal(); }
};

// EAL is started with what the plan says: these tests run without huge pages.
TEST_P(BuffersOfSize, TakeNoMoreMemoryThanThePlanSays) {
  BufferPlan plan;
  plan.data_room = GetParam();
  // Rounded up as far as a pool is: both of them.
  plan.per_worker = 90'000'000U / std::max<std::uint32_t>(GetParam(), 4096);
  plan.indirect_per_worker = 5600;
  BufferPlan none = plan;
  none.per_worker = none.indirect_per_worker = 0;
  const auto small = BufferPlan::Pages::kSmall;
  // Without what is for others.
  const std::size_t allowed = plan.bytes(1, small) - none.bytes(1, small);
  const auto buffers = Buffers::make(plan, {0});
  ASSERT_TRUE(buffers) << buffers.error();
  const std::size_t taken =
      memory_of(buffers->on(0).packets.get()) + memory_of(buffers->on(0).indirect.get());
  EXPECT_LE(taken, allowed);
  EXPECT_GE(taken, std::size_t{plan.per_worker} * plan.data_room);
}

INSTANTIATE_TEST_SUITE_P(Each, BuffersOfSize,
                         testing::Values(std::uint16_t{2176}, std::uint16_t{9216},
                                         std::uint16_t{61568}),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace lsn::runtime
