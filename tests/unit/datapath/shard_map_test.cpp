#include "lsn/datapath/shard_map.hpp"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <vector>

namespace lsn::datapath {
namespace {

using wire::Ipv4Address;

PoolRanges pool(std::uint16_t id, std::uint32_t first, std::uint32_t count) {
  return {id, {{Ipv4Address{first}, Ipv4Address{first + count - 1}}}};
}

std::vector<unsigned> owned(const NatAddressMap& map, unsigned shards) {
  std::vector<unsigned> count(shards);
  for (const auto& range : map.all()) ++count.at(range.value.owner);
  return count;
}

TEST(NatAddressMap, DealsEachPoolEvenly) {
  const std::vector<PoolRanges> pools = {pool(0, 1000, 10), pool(1, 2000, 7)};
  const NatAddressMap map(pools, 3);
  EXPECT_EQ(map.count(), 17u);
  std::map<std::uint16_t, std::map<ShardId, unsigned>> of;
  for (const auto& range : map.all()) ++of[range.value.pool][range.value.owner];
  for (const auto& [id, shards] : of)
    for (const auto& [shard, count] : shards) EXPECT_NEAR(count, id == 0 ? 3.5 : 2.5, 0.5);
}

TEST(NatAddressMap, DealsManySmallPoolsEvenlyOverAll) {
  std::vector<PoolRanges> pools;
  for (std::uint16_t id = 0; id < 8; ++id) pools.push_back(pool(id, 1000u + 10u * id, 1));
  EXPECT_EQ(owned(NatAddressMap(pools, 4), 4), (std::vector<unsigned>{2, 2, 2, 2}));
}

TEST(NatAddressMap, MovesNoAddressWhenOthersComeAndGo) {
  const std::vector<PoolRanges> before = {pool(0, 1000, 8)};
  const NatAddressMap first(before, 4);
  const std::vector<PoolRanges> after = {pool(0, 1003, 12), pool(1, 3000, 5)};
  const NatAddressMap second(after, 4, &first);
  for (std::uint32_t a = 1003; a < 1008; ++a)
    EXPECT_EQ(second.find(Ipv4Address{a})->owner, first.find(Ipv4Address{a})->owner) << a;
  EXPECT_EQ(second.find(Ipv4Address{1002}), nullptr);
  for (const unsigned count : owned(second, 4)) EXPECT_NEAR(count, 4, 1);
}

TEST(NatAddressMap, NumbersEveryAddressOnce) {
  const std::vector<PoolRanges> pools = {pool(0, 5000, 9), pool(1, 1000, 4)};
  const NatAddressMap map(pools, 2);
  std::vector<bool> seen(map.count());
  for (const auto& range : map.all()) {
    ASSERT_LT(range.value.number, map.count());
    EXPECT_FALSE(seen[range.value.number]);
    seen[range.value.number] = true;
  }
}

TEST(NatAddressMap, FindsEveryAddressAndNoneBesideThem) {
  // Pools that lie apart, side by side, and in the other order than their addresses.
  const std::vector<PoolRanges> pools = {
      pool(0, 5000, 9), pool(1, 1000, 4), pool(2, 5009, 1), pool(3, 0xFFFFFFFE, 2), pool(4, 0, 1)};
  const NatAddressMap map(pools, 2);
  EXPECT_EQ(map.count(), 17u);
  for (const auto& expected : map.all()) {
    const NatAddressPlace* place = map.find(Ipv4Address{expected.first});
    ASSERT_NE(place, nullptr) << expected.first;
    EXPECT_EQ(place->number, expected.value.number);
    EXPECT_EQ(place->pool, expected.value.pool);
  }
  for (const std::uint32_t other : {1u, 999u, 1004u, 4999u, 5010u, 0xFFFFFFFDu})
    EXPECT_EQ(map.find(Ipv4Address{other}), nullptr) << other;
  EXPECT_EQ(NatAddressMap{}.find(Ipv4Address{1}), nullptr);
}

TEST(Rendezvous, SpreadsSubscribersAndMovesOnlyThoseOfALostShard) {
  std::array<unsigned, 4> count{};
  for (std::uint32_t a = 0; a < 40000; ++a) {
    const ShardId owner = rendezvous(Ipv4Address{0x0A000000 + a}, 0b1111);
    ++count.at(owner);
    const ShardId without = rendezvous(Ipv4Address{0x0A000000 + a}, 0b1011);
    if (owner != 2) {
      EXPECT_EQ(without, owner);
    } else {
      EXPECT_NE(without, 2);
    }
  }
  for (const unsigned n : count) EXPECT_NEAR(n, 10000, 500);
  EXPECT_EQ(rendezvous(Ipv4Address{1}, 0), kNoShard);
}

TEST(SubscriberOwners, NamesFormerOwnersFirstAndNobodyTwiceInARow) {
  const auto map = [](ShardSet shards) {
    return std::make_shared<const ShardMap>(
        IntervalMap<std::uint16_t>({{0x0A000000, 0x0AFFFFFF, 0}}), std::vector<ShardSet>{shards});
  };
  const Ipv4Address subscriber{0x0A000001};
  const ShardMaps maps = {map(0b0010), map(0b0100), map(0b0100), map(0b0001)};
  const ShardMap::Owners owners = subscriber_owners(maps, subscriber);
  ASSERT_EQ(owners.count, 3u);
  EXPECT_EQ(owners.shards[0], 0);
  EXPECT_EQ(owners.shards[1], 2);
  EXPECT_EQ(owners.shards[2], 1);
  EXPECT_EQ(subscriber_owners(maps, Ipv4Address{0x0B000001}).count, 0u);
}

}  // namespace
}  // namespace lsn::datapath
