#include "lsn/shared/shard_map.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace lsn::shared {
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
  const std::vector<PoolRanges> pools = {pool(0, 5000, 9), pool(1, 1000, 4), pool(2, 5009, 1),
                                         pool(3, 0xFFFFFFFE, 2), pool(4, 0, 1)};
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

ShardShares shares(std::initializer_list<std::uint32_t> of) {
  ShardShares all{};
  std::copy(of.begin(), of.end(), all.begin());
  return all;
}
ShardMap map_of(const ShardShares& group, const ShardMap* before = nullptr) {
  return ShardMap(IntervalMap<std::uint16_t>({{0, 0xFFFFFFFF, 0}}), {group}, before);
}
std::vector<unsigned> subscribers(const ShardMap& map, unsigned shards, std::uint32_t first,
                                  std::uint32_t count, std::uint32_t step = 1) {
  std::vector<unsigned> result(shards);
  for (std::uint32_t n = 0; n < count; ++n)
    ++result.at(map.owner_of({Ipv4Address{first + n * step}}));
  return result;
}

TEST(SubscriberOwner, EachShardHasTheShareOfSubscribersThatItHasOfTheNatAddresses) {
  const std::vector<ShardShares> all = {shares({1, 1}),
                                        shares({2, 1}),
                                        shares({2, 2, 2, 1}),
                                        shares({4, 3}),
                                        shares({1, 0, 2, 0, 5}),
                                        shares({7}),
                                        shares({16, 16, 16, 16, 15, 15, 15, 15})};
  for (const ShardShares& group : all) {
    const ShardMap map = map_of(group);
    double total = 0;
    for (const std::uint32_t n : group) total += n;
    // A network's hosts, also where only every n-th address is one's; few and many.
    for (const std::uint32_t step : {1u, 2u, 4u, 8u, 16u, 64u, 256u, 1024u, 65536u})
      for (const std::uint32_t count : {8u, 50u, 256u, 4096u})
        for (const std::uint32_t first : {0x0A000001u, 0x64400000u, 0xC0A80002u}) {
          const auto owned = subscribers(map, kMaxShards, first, count, step);
          for (unsigned shard = 0; shard < kMaxShards; ++shard)
            EXPECT_NEAR(owned[shard], count * group[shard] / total, 4 + 0.02 * count)
                << "shard " << shard << " of " << count << " from " << first << " by " << step;
        }
  }
}

TEST(SubscriberOwner, IsNobodyWhereTheGroupHasNoAddress) {
  EXPECT_EQ(map_of(ShardShares{}).owner_of({Ipv4Address{1}}), kNoShard);
  EXPECT_EQ(ShardMap{}.owner_of({Ipv4Address{1}}), kNoShard);
}

TEST(SubscriberOwner, AChangeOfSharesMovesNoMoreSubscribersThanItMust) {
  constexpr std::uint32_t kCount = 40'000;
  const auto moved = [](const ShardMap& a, const ShardMap& b) {
    unsigned n = 0;
    for (std::uint32_t i = 0; i < kCount; ++i)
      n += a.owner_of({Ipv4Address{i}}) != b.owner_of({Ipv4Address{i}});
    return n / double{kCount};
  };
  ShardShares group = shares({4, 4, 4, 4});
  ShardMap map = map_of(group);
  // One after the other gets an address more; at last a shard loses all.
  for (unsigned i = 0; i < 40; ++i) {
    ShardShares next = group;
    if (i != 39)
      ++next[i % 4];
    else
      next[1] = 0;
    const ShardMap after = map_of(next, &map);
    double total_before = 0, total_after = 0, must = 0;
    for (const std::uint32_t n : group) total_before += n;
    for (const std::uint32_t n : next) total_after += n;
    for (unsigned s = 0; s < 4; ++s)
      must += std::max(0.0, next[s] / total_after - group[s] / total_before);
    EXPECT_NEAR(moved(map, after), must, 0.005) << i;
    const auto owned = subscribers(after, 4, 0x64400000, 1000);
    for (unsigned s = 0; s < 4; ++s) EXPECT_NEAR(owned[s], 1000 * next[s] / total_after, 40) << i;
    group = next;
    map = after;
  }
  EXPECT_TRUE(same_owners(map, map_of(group, &map)));
}

TEST(SubscriberOwner, StaysWhereAllSharesGrowAlike) {
  const ShardMap map = map_of(shares({2, 1, 1}));
  EXPECT_TRUE(same_owners(map, map_of(shares({6, 3, 3}), &map)));
  EXPECT_FALSE(same_owners(map, map_of(shares({3, 1, 1}), &map)));
}

TEST(DisplacedSubscribers, NameEveryShardThatHasOneUntilItIsGone) {
  DisplacedSubscribers displaced(3);
  std::uint32_t random = 1;
  std::map<std::pair<std::uint32_t, ShardId>, unsigned> there;
  for (unsigned step = 0; step < 20000; ++step) {
    random = random * 1664525 + 1013904223;
    // Few buckets, so that many share one.
    const Ipv4Address address{0x0A000000 + (random >> 20)};
    const auto shard = static_cast<ShardId>(random >> 8 & 0xFF) % 3;
    auto& is_there = there[{address.value, static_cast<ShardId>(shard)}];
    if (is_there != 0) {
      displaced.remove(address, static_cast<ShardId>(shard));
    } else {
      displaced.add(address, static_cast<ShardId>(shard));
    }
    is_there ^= 1;
    EXPECT_EQ((displaced.shards_of(address) >> shard & 1) != 0, is_there != 0) << "few share";
  }
  for (const auto& [key, is_there] : there) {
    const auto& [address, shard] = key;
    if (is_there == 0) continue;
    EXPECT_NE(displaced.shards_of(Ipv4Address{address}) & ShardSet{1} << shard, 0u) << address;
    displaced.remove(Ipv4Address{address}, shard);
  }
  for (const auto& [key, is_there] : there)
    EXPECT_EQ(displaced.shards_of(Ipv4Address{key.first}), 0u) << key.first;
}

TEST(DisplacedSubscribers, OfAllAddressesTheSameNumberFallsIntoEachBucket) {
  // All of the addresses that share one with 0.0.0.0, on one shard, and all of them gone again.
  DisplacedSubscribers displaced(1);
  std::vector<Ipv4Address> same;
  displaced.add(Ipv4Address{0}, 0);
  for (std::uint32_t a = 1; a < 1u << 24; ++a)
    if (displaced.shards_of(Ipv4Address{a}) != 0) same.push_back(Ipv4Address{a});
  EXPECT_NEAR(static_cast<double>(same.size()), 64, 4) << "2^24 addresses in 2^18 buckets";
  for (const Ipv4Address address : same) displaced.add(address, 0);
  for (const Ipv4Address address : same) displaced.remove(address, 0);
  EXPECT_NE(displaced.shards_of(Ipv4Address{0}), 0u);
  displaced.remove(Ipv4Address{0}, 0);
  EXPECT_EQ(displaced.shards_of(Ipv4Address{0}), 0u);
}

TEST(DisplacedSubscribers, AreSettledFromTheGenerationOnThatEveryShardHasGoneThrough) {
  DisplacedSubscribers displaced(2);
  EXPECT_FALSE(displaced.are_all_known(1));
  displaced.note_sweep_end(3);
  EXPECT_TRUE(displaced.are_all_known(2));
  EXPECT_TRUE(displaced.are_all_known(3));
  EXPECT_FALSE(displaced.are_all_known(4));
}

/// Subscribers 1000..1099 in group 0, whose addresses four shards share evenly.
ShardMap map_with(Pins pins) {
  IntervalMap<std::uint16_t> groups(
      std::vector<IntervalMap<std::uint16_t>::Range>{{1000, 1099, 0}});
  return {std::move(groups), {ShardShares{1, 1, 1, 1}}, nullptr, kFinestClasses, std::move(pins)};
}

TEST(ShardMap, APinnedSubscriberBelongsToTheShardOfItsPin) {
  Pins pins;
  pins.subscribers =
      IntervalMap<ShardId>(std::vector<IntervalMap<ShardId>::Range>{{1005, 1005, 3}});
  const ShardMap without = map_with({});
  const ShardMap with = map_with(pins);
  EXPECT_EQ(with.owner_of({Ipv4Address{1005}}), 3);
  EXPECT_TRUE(with.is_pinned({Ipv4Address{1005}}, 0));
  for (std::uint32_t a = 1000; a < 1100; ++a) {
    if (a == 1005) continue;
    EXPECT_EQ(with.owner_of({Ipv4Address{a}}), without.owner_of({Ipv4Address{a}})) << a;
    EXPECT_FALSE(with.is_pinned({Ipv4Address{a}}, 0));
  }
  EXPECT_FALSE(same_owners(with, without));
  EXPECT_TRUE(same_owners(with, map_with(pins)));
}

TEST(ShardMap, APinIsOfADomain) {
  Pins pins;
  pins.subscribers.make(5) =
      IntervalMap<ShardId>(std::vector<IntervalMap<ShardId>::Range>{{1005, 1005, 3}});
  ClientNetworks networks;
  for (const DomainId td : {DomainId{0}, DomainId{5}})
    networks.make(td) = IntervalMap<std::uint16_t>(std::vector<IntervalMap<std::uint16_t>::Range>{
        {1000, 1099, td == 0 ? std::uint16_t{0} : std::uint16_t{1}}});
  const ShardMap map(networks, {ShardShares{1, 1, 1, 1}, ShardShares{1, 1, 1, 1}}, nullptr,
                     kFinestClasses, pins);
  EXPECT_TRUE(map.is_pinned({Ipv4Address{1005}, 5}, 1));
  EXPECT_FALSE(map.is_pinned({Ipv4Address{1005}, 0}, 0));
  EXPECT_EQ(*map.group_of({Ipv4Address{1005}, 5}), 1);
  EXPECT_EQ(*map.group_of({Ipv4Address{1005}, 0}), 0);
  EXPECT_EQ(map.group_of({Ipv4Address{1005}, 4}), nullptr);
  EXPECT_EQ(map.owner_of({Ipv4Address{1005}, 5}), 3);
  EXPECT_EQ(map.owner_of({Ipv4Address{1006}, 5}), map.owner_of({Ipv4Address{1006}, 0}));
}

TEST(ShardMap, ADeterministicSubscriberBelongsToTheShardOfItsNatAddress) {
  const std::vector<InsideRange> subscribers = {{Ipv4Address{1000}, Ipv4Address{1099}}};
  const std::vector<wire::Ipv4Range> nat = {{Ipv4Address{5000}, Ipv4Address{5001}}};
  Pins pins;
  pins.deterministic[0] = {
      std::make_shared<const DeterministicMap>(subscribers, nat, 1024, BlockOrder::kPorts), {2, 1}};
  const ShardMap map = map_with(pins);
  EXPECT_EQ(map.owner_of({Ipv4Address{1000}}), 2);
  EXPECT_EQ(map.owner_of({Ipv4Address{1062}}), 2);
  EXPECT_EQ(map.owner_of({Ipv4Address{1063}}), 1);
  EXPECT_TRUE(map.is_pinned({Ipv4Address{1063}}, 0));
  EXPECT_FALSE(map.is_pinned({Ipv4Address{1063}}, 1));
  pins.deterministic[0].owners = {1, 2};
  EXPECT_FALSE(same_owners(map, map_with(pins)));
}

}  // namespace
}  // namespace lsn::shared
