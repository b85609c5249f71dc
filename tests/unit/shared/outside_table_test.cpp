#include "lsn/shared/outside_table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

namespace lsn::shared {
namespace {

using wire::Ipv4Address;

PoolRanges consecutive(std::uint16_t id, std::uint32_t first, std::uint32_t count) {
  return {id, {{Ipv4Address{first}, Ipv4Address{first + count - 1}}}};
}

OutsideTable table_of(const std::vector<PoolRanges>& pools, unsigned shards, unsigned bits) {
  return {pools, shards, AddressClasses(bits), [](Ipv4Address) { return kNoShard; }};
}

/// Addresses of a pool by shard.
std::vector<unsigned> addresses_by_shard(const OutsideTable& table, const PoolRanges& pool,
                                         unsigned shards) {
  std::vector<unsigned> count(shards);
  for_each_address(
      {&pool, 1}, [&](std::uint16_t, Ipv4Address address) { ++count.at(table.owner_of(address)); });
  return count;
}

unsigned most(const std::vector<unsigned>& counts) {
  return *std::max_element(counts.begin(), counts.end());
}
unsigned least(const std::vector<unsigned>& counts) {
  return *std::min_element(counts.begin(), counts.end());
}

TEST(OutsideTable, APoolOfConsecutiveAddressesIsAsEvenAsItCanBe) {
  for (const unsigned bits : {6U, 7U, 9U, 12U})
    for (const unsigned shards : {2U, 3U, 4U, 7U, 8U, 16U, 32U, 64U})
      for (const unsigned addresses : {1U, 2U, 3U, 5U, 16U, 64U, 100U, 256U, 1000U, 4096U})
        for (const std::uint32_t first : {0xCB007103U, 0xC6336400U, 0x64400001U}) {
          const PoolRanges one = consecutive(0, first, addresses);
          const auto counts = addresses_by_shard(table_of({one}, shards, bits), one, shards);
          // A class goes to one shard with all its addresses. A run that does not begin at a
          // multiple of the classes has some of them once more.
          const bool aligned = first % (1U << bits) == 0;
          const unsigned together = ((addresses + (1U << bits) - 1) >> bits) + (aligned ? 0 : 1);
          EXPECT_LT(most(counts), (addresses + shards - 1) / shards + together)
              << addresses << " addresses, " << shards << " shards, " << bits << " bits";
          if (addresses >= 2 * shards) {
            EXPECT_GE(least(counts), 1U);
          }
          if (aligned && addresses <= (1U << bits)) {
            EXPECT_LE(most(counts) - least(counts), 1U);
          }
        }
}

TEST(OutsideTable, ManyPoolsAreEvenEachAndTogether) {
  std::mt19937 random(20261130);
  for (int round = 0; round < 60; ++round) {
    const unsigned shards = 2 + static_cast<unsigned>(random() % 15);
    std::vector<PoolRanges> pools;
    std::uint32_t next = 0xC6000000U + static_cast<std::uint32_t>(random() % 65536);
    const unsigned count = 1 + static_cast<unsigned>(random() % 6);
    unsigned all = 0;
    for (unsigned i = 0; i < count; ++i) {
      const unsigned addresses = 1 + static_cast<unsigned>(random() % 300);
      pools.push_back(consecutive(static_cast<std::uint16_t>(i), next, addresses));
      next += addresses + static_cast<std::uint32_t>(random() % 1000);
      all += addresses;
    }
    const OutsideTable table = table_of(pools, shards, 9);
    for (const PoolRanges& each : pools) {
      const auto counts = addresses_by_shard(table, each, shards);
      const unsigned addresses = each.ranges[0].last.value - each.ranges[0].first.value + 1;
      if (addresses >= 8 * shards) {
        EXPECT_LE(most(counts), (addresses + shards - 1) / shards + 1)
            << "round " << round << ", " << addresses << " addresses, " << shards << " shards";
      }
      if (addresses >= 2 * shards) {
        EXPECT_GE(least(counts), 1U) << "round " << round;
      }
    }
  }
}

TEST(OutsideTable, SmallPoolsAreSpreadOverAllShards) {
  std::vector<PoolRanges> pools;
  for (std::uint16_t id = 0; id < 8; ++id) pools.push_back(consecutive(id, 1000U + 10U * id, 1));
  const OutsideTable table = table_of(pools, 4, 7);
  std::vector<unsigned> count(4);
  for (const PoolRanges& each : pools) ++count[table.owner_of(each.ranges[0].first)];
  EXPECT_EQ(count, (std::vector<unsigned>{2, 2, 2, 2}));
}

TEST(OutsideTable, AClassStaysWhereAnAddressOfItHasBeen) {
  const PoolRanges before = consecutive(0, 5000, 40);
  const OutsideTable first = table_of({before}, 5, 7);
  // Some go, others come, also some of classes that are there.
  const std::vector<PoolRanges> after{consecutive(0, 5010, 200), consecutive(1, 9000, 30)};
  const OutsideTable second(after, 5, AddressClasses(7), [&](Ipv4Address address) {
    return address.value >= 5000 && address.value < 5040 ? first.owner_of(address) : kNoShard;
  });
  for (std::uint32_t a = 5010; a < 5040; ++a)
    EXPECT_EQ(second.owner_of(Ipv4Address{a}), first.owner_of(Ipv4Address{a})) << a;
  for (const PoolRanges& each : after) {
    const auto counts = addresses_by_shard(second, each, 5);
    EXPECT_LE(most(counts) - least(counts), 4U);
  }
}

TEST(OutsideTable, EveryClassHasAShard) {
  for (const unsigned shards : {1U, 3U, 64U}) {
    const OutsideTable table = table_of({consecutive(0, 77, 3)}, shards, 6);
    for (const ShardId owner : table.owners()) EXPECT_LT(owner, shards);
  }
}

}  // namespace
}  // namespace lsn::shared
