#include "lsn/runtime/handoff.hpp"

#include <gtest/gtest.h>

#include <array>

#include "lsn/runtime/buffers.hpp"
#include "lsn/shared/shard_map.hpp"
#include "support.hpp"

namespace lsn::runtime {
namespace {

class Handoff : public testing::Test {
 protected:
  void SetUp() override {
    test::need_eal();
    BufferPlan plan;
    plan.data_room = 2176;
    plan.per_worker = 600;
    plan.indirect_per_worker = 100;
    auto made = Buffers::make(plan, {0, 0});
    ASSERT_TRUE(made) << made.error();
    buffers = std::move(*made);
  }

  rte_mempool* pool() { return buffers.on(0).packets.get(); }
  unsigned in_use() { return rte_mempool_in_use_count(pool()); }

  Buffers buffers;
};

TEST_F(Handoff, CarriesPacketsToTheRightWorkerInOrder) {
  auto rings = HandoffRings::make(64, {0, 0, 0});
  ASSERT_TRUE(rings) << rings.error();
  std::array<rte_mbuf*, 8> packets;
  ASSERT_EQ(rte_pktmbuf_alloc_bulk(pool(), packets.data(), 8), 0);
  EXPECT_EQ(rings->put(0, 1, {packets.data(), 5}), 5U);
  EXPECT_EQ(rings->put(0, 2, {packets.data() + 5, 2}), 2U);
  EXPECT_EQ(rings->put(2, 1, {packets.data() + 7, 1}), 1U);

  std::array<rte_mbuf*, 32> taken;
  EXPECT_EQ(rings->take(1, 0, taken), 0U);
  ASSERT_EQ(rings->take(0, 1, taken), 5U);
  EXPECT_TRUE(std::equal(packets.begin(), packets.begin() + 5, taken.begin()));
  ASSERT_EQ(rings->take(0, 2, taken), 2U);
  EXPECT_EQ(taken[1], packets[6]);
  ASSERT_EQ(rings->take(2, 1, taken), 1U);
  EXPECT_EQ(taken[0], packets[7]);
  rte_pktmbuf_free_bulk(packets.data(), 8);
}

TEST_F(Handoff, HasRingsForAsManyWorkersAsThereCanBe) {
  const auto rings = HandoffRings::make(64, std::vector<int>(shared::kMaxShards, 0));
  EXPECT_TRUE(rings) << rings.error();
}

TEST_F(Handoff, TakesWhatFitsAndLeavesTheRestToTheSender) {
  auto rings = HandoffRings::make(64, {0, 0});
  ASSERT_TRUE(rings) << rings.error();
  std::array<rte_mbuf*, 80> packets;
  ASSERT_EQ(rte_pktmbuf_alloc_bulk(pool(), packets.data(), 80), 0);
  const unsigned taken = rings->put(0, 1, packets);
  EXPECT_EQ(taken, 63U) << "a ring of 64 slots holds 63";
  rte_pktmbuf_free_bulk(packets.data() + taken, 80 - taken);
  EXPECT_EQ(in_use(), taken);
  rings->clear();
  EXPECT_EQ(in_use(), 0U) << "what nobody took is freed";
}

TEST_F(Handoff, BuffersHaveRoomForWhatAPacketTakesAlong) {
  rte_mbuf* const packet = rte_pktmbuf_alloc(pool());
  ASSERT_NE(packet, nullptr);
  datapath::origin_of(packet) = {3, datapath::HandoffKind::kHairpin, 2};
  EXPECT_EQ(packet->priv_size, datapath::kBufferPrivateSize);
  EXPECT_EQ(packet->buf_len, 2176);
  EXPECT_EQ(datapath::origin_of(packet).interface, 3);
  rte_pktmbuf_free(packet);
}

TEST_F(Handoff, BuffersThatDoNotFitAreAnErrorThatSaysSo) {
  BufferPlan plan;
  plan.data_room = 2176;
  plan.per_worker = 10'000'000;
  const auto made = Buffers::make(plan, {0});
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().find("no memory for 10000000 packet buffers"), std::string::npos)
      << made.error();
}

}  // namespace
}  // namespace lsn::runtime
