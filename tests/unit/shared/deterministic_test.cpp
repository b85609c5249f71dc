#include "lsn/shared/deterministic.hpp"

#include <gtest/gtest.h>

#include <set>
#include <utility>
#include <vector>

namespace lsn::shared {
namespace {

using wire::Ipv4Address;
using wire::Ipv4Range;

Ipv4Address ip(unsigned a, unsigned b, unsigned c, unsigned d) {
  return Ipv4Address{a << 24 | b << 16 | c << 8 | d};
}

TEST(AddressRuns, NumbersAddressesOfSeveralRangesInAscendingOrderEachOnce) {
  const std::vector<Ipv4Range> ranges = {{ip(10, 0, 1, 0), ip(10, 0, 1, 3)},
                                         {ip(10, 0, 0, 0), ip(10, 0, 0, 1)},
                                         {ip(10, 0, 1, 2), ip(10, 0, 1, 4)}};
  const AddressRuns runs(ranges);
  EXPECT_EQ(runs.count(), 7u);
  EXPECT_EQ(runs.number_of({ip(10, 0, 0, 0)}), 0u);
  EXPECT_EQ(runs.number_of({ip(10, 0, 1, 0)}), 2u);
  EXPECT_EQ(runs.number_of({ip(10, 0, 1, 4)}), 6u);
  EXPECT_EQ(runs.number_of({ip(10, 0, 0, 2)}), std::nullopt);
  EXPECT_EQ(runs.number_of({ip(10, 0, 1, 5)}), std::nullopt);
  EXPECT_EQ(runs.number_of({ip(9, 255, 255, 255)}), std::nullopt);
  for (std::uint64_t n = 0; n < runs.count(); ++n) EXPECT_EQ(runs.number_of(runs.at(n)), n);
}

TEST(AddressRuns, HoldsAllAddressesThereAre) {
  const std::vector<Ipv4Range> all = {{ip(0, 0, 0, 0), ip(255, 255, 255, 255)}};
  const AddressRuns runs(all);
  EXPECT_EQ(runs.count(), std::uint64_t{1} << 32);
  EXPECT_EQ(runs.at(0xFFFFFFFF).address, ip(255, 255, 255, 255));
}

// 8 subscribers, 2 NAT addresses, blocks of 16,000: four of an address, the ports from 65,024 on
// are nobody's.
class Deterministic : public testing::Test {
 protected:
  [[nodiscard]] static DeterministicMap map(BlockOrder order) {
    const std::vector<InsideRange> subscribers = {{ip(10, 0, 0, 0), ip(10, 0, 0, 7)}};
    const std::vector<Ipv4Range> nat = {{ip(203, 0, 113, 3), ip(203, 0, 113, 4)}};
    return {subscribers, nat, 16000, order};
  }
};

TEST_F(Deterministic, PortsPolicyFillsOneAddressAfterTheOther) {
  const DeterministicMap of = map(BlockOrder::kPorts);
  EXPECT_EQ(of.blocks(), 8u);
  EXPECT_EQ(of.forward({ip(10, 0, 0, 0)}), (PortBlock{ip(203, 0, 113, 3), 1024, 17023}));
  EXPECT_EQ(of.forward({ip(10, 0, 0, 3)}), (PortBlock{ip(203, 0, 113, 3), 49024, 65023}));
  EXPECT_EQ(of.forward({ip(10, 0, 0, 4)}), (PortBlock{ip(203, 0, 113, 4), 1024, 17023}));
  EXPECT_EQ(of.forward({ip(10, 0, 0, 8)}), std::nullopt);
}

TEST_F(Deterministic, IpAddrsPolicyDealsAddressesInTurn) {
  const DeterministicMap of = map(BlockOrder::kAddresses);
  EXPECT_EQ(of.forward({ip(10, 0, 0, 0)}), (PortBlock{ip(203, 0, 113, 3), 1024, 17023}));
  EXPECT_EQ(of.forward({ip(10, 0, 0, 1)}), (PortBlock{ip(203, 0, 113, 4), 1024, 17023}));
  EXPECT_EQ(of.forward({ip(10, 0, 0, 2)}), (PortBlock{ip(203, 0, 113, 3), 17024, 33023}));
}

TEST_F(Deterministic, NobodyHasWellKnownPortsAndThoseThatFillNoBlock) {
  const DeterministicMap of = map(BlockOrder::kPorts);
  EXPECT_EQ(of.reverse(ip(203, 0, 113, 3), 1023), std::nullopt);
  EXPECT_EQ(of.reverse(ip(203, 0, 113, 3), 1024), InsideAddress{ip(10, 0, 0, 0)});
  EXPECT_EQ(of.reverse(ip(203, 0, 113, 3), 65023), InsideAddress{ip(10, 0, 0, 3)});
  EXPECT_EQ(of.reverse(ip(203, 0, 113, 3), 65024), std::nullopt);
  EXPECT_EQ(of.reverse(ip(203, 0, 113, 5), 1024), std::nullopt);
}

TEST_F(Deterministic, SubscribersWithoutABlockHaveNone) {
  const std::vector<InsideRange> subscribers = {{ip(10, 0, 0, 0), ip(10, 0, 0, 255)}};
  const std::vector<Ipv4Range> nat = {{ip(203, 0, 113, 3), ip(203, 0, 113, 3)}};
  const DeterministicMap of(subscribers, nat, 256, BlockOrder::kPorts);
  EXPECT_EQ(of.blocks(), 252u);
  EXPECT_TRUE(of.forward({ip(10, 0, 0, 251)}).has_value());
  EXPECT_EQ(of.forward({ip(10, 0, 0, 252)}), std::nullopt);
}

TEST_F(Deterministic, EveryPortOfEveryBlockLeadsBackToItsSubscriber) {
  const std::vector<InsideRange> subscribers = {{ip(10, 0, 0, 7), ip(10, 0, 0, 90)},
                                                {ip(10, 1, 0, 0), ip(10, 1, 0, 20)}};
  const std::vector<Ipv4Range> nat = {{ip(203, 0, 113, 9), ip(203, 0, 113, 9)},
                                      {ip(203, 0, 113, 1), ip(203, 0, 113, 2)}};
  for (const BlockOrder order : {BlockOrder::kPorts, BlockOrder::kAddresses}) {
    const DeterministicMap of(subscribers, nat, 1000, order);
    std::set<std::pair<std::uint32_t, std::uint16_t>> blocks;
    for (std::uint64_t n = 0; n < of.subscribers().count(); ++n) {
      const InsideAddress subscriber = of.subscribers().at(n);
      const auto block = of.forward(subscriber);
      ASSERT_TRUE(block);
      EXPECT_TRUE(blocks.emplace(block->nat_ip.value, block->first).second) << n;
      for (std::uint32_t port = block->first; port <= block->last; ++port)
        ASSERT_EQ(of.reverse(block->nat_ip, static_cast<std::uint16_t>(port)), subscriber);
    }
  }
}

TEST_F(Deterministic, AnAddressInTwoDomainsIsTwoSubscribersInTheOrderOfDomains) {
  const Ipv4Range both{ip(10, 0, 0, 0), ip(10, 0, 0, 3)};
  const std::vector<InsideRange> subscribers = {{both, 7}, {both, 2}};
  const std::vector<Ipv4Range> nat = {{ip(203, 0, 113, 3), ip(203, 0, 113, 4)}};
  const DeterministicMap of(subscribers, nat, 16000, BlockOrder::kPorts);
  EXPECT_EQ(of.subscribers().count(), 8u);
  EXPECT_EQ(of.forward({ip(10, 0, 0, 1), 2}), (PortBlock{ip(203, 0, 113, 3), 17024, 33023}));
  EXPECT_EQ(of.forward({ip(10, 0, 0, 1), 7}), (PortBlock{ip(203, 0, 113, 4), 17024, 33023}));
  EXPECT_EQ(of.forward({ip(10, 0, 0, 1), 0}), std::nullopt);
  EXPECT_EQ(of.reverse(ip(203, 0, 113, 3), 17024), (InsideAddress{ip(10, 0, 0, 1), 2}));
  EXPECT_EQ(of.reverse(ip(203, 0, 113, 4), 17024), (InsideAddress{ip(10, 0, 0, 1), 7}));
}

TEST(AddressRuns, DoNotMeetAcrossDomains) {
  const std::vector<InsideRange> ranges = {{{ip(255, 255, 255, 255), ip(255, 255, 255, 255)}, 1},
                                           {{ip(0, 0, 0, 0), ip(0, 0, 0, 0)}, 2},
                                           {{ip(0, 0, 0, 0), ip(0, 0, 0, 0)}, 1}};
  const AddressRuns runs(ranges);
  EXPECT_EQ(runs.count(), 3u);
  EXPECT_EQ(runs.at(0), (InsideAddress{ip(0, 0, 0, 0), 1}));
  EXPECT_EQ(runs.at(1), (InsideAddress{ip(255, 255, 255, 255), 1}));
  EXPECT_EQ(runs.at(2), (InsideAddress{ip(0, 0, 0, 0), 2}));
  EXPECT_EQ(runs.number_of({ip(0, 0, 0, 0), 0}), std::nullopt);
}

TEST(PortBlocks, TheLargestSizeIsOneBlock) {
  EXPECT_EQ(blocks_of_address(64512), 1u);
  EXPECT_EQ(port_block(ip(1, 2, 3, 4), 0, 64512), (PortBlock{ip(1, 2, 3, 4), 1024, 65535}));
  EXPECT_EQ(blocks_of_address(64513), 0u);
  EXPECT_EQ(block_of_port(65535, 64513), std::nullopt);
}

}  // namespace
}  // namespace lsn::shared
