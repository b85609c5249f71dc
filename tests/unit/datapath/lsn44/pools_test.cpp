#include "lsn/datapath/lsn44/pools.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "lsn/state/none.hpp"

namespace lsn::datapath::lsn44 {
namespace {

using wire::Ipv4Address;

/// LSN_SEED=n repeats a run.
std::mt19937_64 seeded_generator() {
  const char* given = std::getenv("LSN_SEED");
  const std::uint64_t seed = given == nullptr ? std::random_device{}() : std::stoull(given);
  std::printf("LSN_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return std::mt19937_64{seed};
}

/// The slots of a set, as find_with_room() wants them.
AddressSet set_of(const std::set<std::uint32_t>& slots) {
  std::map<std::uint32_t, std::uint64_t> words;
  for (const std::uint32_t slot : slots) words[slot / 64] |= std::uint64_t{1} << slot % 64;
  AddressSet set;
  for (const auto& [number, bits] : words) set.words.push_back({number, bits});
  return set;
}

TEST(FullAddresses, OneThatHasRoomIsFoundAtEveryFill) {
  auto random = seeded_generator();
  constexpr std::uint32_t kSlots = 700;
  FullAddresses full(kSlots);
  // By protocol, class and slot.
  std::set<std::tuple<std::size_t, unsigned, std::uint32_t>> model;
  std::vector<std::set<std::uint32_t>> groups(4);
  for (std::uint32_t slot = 0; slot < kSlots; ++slot) {
    groups[0].insert(slot);
    if (slot % 100 == 7) groups[1].insert(slot);
    if (slot >= 300 && slot < 340) groups[2].insert(slot);
  }
  std::vector<AddressSet> sets;
  for (const auto& group : groups) sets.push_back(set_of(group));
  unsigned found = 0, none = 0;
  for (int step = 0; step < 60'000; ++step) {
    const std::size_t p = random() % kPortProtocols;
    const auto of_class = static_cast<unsigned>(random() % state::kPortClasses);
    const auto slot = static_cast<std::uint32_t>(random() % kSlots);
    // Phases of filling up, to the last one, and of becoming free.
    if (random() % 100 < (step / 15'000 % 2 == 0 ? 97u : 10u)) {
      full.set(p, of_class, slot);
      model.emplace(p, of_class, slot);
    } else {
      full.clear(p, of_class, slot);
      model.erase({p, of_class, slot});
    }
    if (step % 15'000 == 14'000) {
      for (std::uint32_t s = 0; s < kSlots; ++s)
        for (unsigned c = 0; c < state::kPortClasses; ++c) {
          full.set(0, c, s);
          model.emplace(0, c, s);
        }
    }
    if (step % 16 != 0) continue;
    const std::size_t group = random() % groups.size();
    const auto classes = static_cast<unsigned>(1 + random() % 31);
    const auto has_room = [&](std::uint32_t s) {
      for (unsigned c = 0; c < state::kPortClasses; ++c)
        if ((classes >> c & 1) != 0 && !model.contains({p, c, s})) return true;
      return false;
    };
    const std::uint32_t got =
        full.find_with_room(sets[group], p, classes, static_cast<std::uint32_t>(random()));
    if (got != state::kNone) {
      ++found;
      ASSERT_TRUE(groups[group].contains(got));
      ASSERT_TRUE(has_room(got));
    } else {
      ++none;
      ASSERT_TRUE(std::none_of(groups[group].begin(), groups[group].end(), has_room));
    }
  }
  EXPECT_GT(found, 500u);
  EXPECT_GT(none, 100u);
}

TEST(FullAddresses, EachThatHasRoomIsFoundNowAndThen) {
  FullAddresses full(256);
  std::set<std::uint32_t> slots, with_room = {0, 1, 2, 63, 64, 130, 255};
  for (std::uint32_t slot = 0; slot < 256; ++slot) {
    slots.insert(slot);
    if (!with_room.contains(slot)) full.set(1, 3, slot);
  }
  const AddressSet set = set_of(slots);
  auto random = seeded_generator();
  std::map<std::uint32_t, int> times;
  for (int i = 0; i < 7000; ++i)
    ++times[full.find_with_room(set, 1, 1u << 3, static_cast<std::uint32_t>(random()))];
  ASSERT_EQ(times.size(), with_room.size());
  for (const auto& [slot, n] : times) {
    EXPECT_TRUE(with_room.contains(slot));
    EXPECT_GT(n, 200) << slot;
  }
}

TEST(FullAddresses, WhatIsFullIsTakenOverButForSlotsThatHaveAnotherAddress) {
  FullAddresses before(100);
  for (std::uint32_t slot = 0; slot < 100; ++slot) before.set(0, 4, slot);
  FullAddresses after(300);
  after.take_over(before, {17, 250});
  const auto has_room = [&](std::uint32_t slot) {
    return after.find_with_room(set_of({slot}), 0, 1u << 4, 0) == slot;
  };
  EXPECT_FALSE(has_room(16));
  EXPECT_TRUE(has_room(17));
  EXPECT_FALSE(has_room(99));
  EXPECT_TRUE(has_room(100));
  EXPECT_TRUE(has_room(250));
}

/// A generation of one pool for two groups, all of it the only shard's.
Generation generation_of(std::vector<wire::Ipv4Range> ranges) {
  Generation generation;
  const PoolRanges pool{0, ranges};
  generation.nat_addresses = NatAddressMap({&pool, 1}, 1);
  generation.pools.resize(1);
  generation.pools[0].present = true;
  generation.groups.resize(3);
  for (Group& group : generation.groups) {
    group.addresses_of.resize(1);
    group.draining_of.resize(1);
  }
  for (std::size_t id : {0u, 2u}) {
    generation.groups[id].present = true;
    generation.groups[id].pools = {0};
    for (const auto& range : generation.nat_addresses.all())
      generation.groups[id].addresses_of[0].push_back(Ipv4Address{range.first});
  }
  return generation;
}
wire::Ipv4Range range(std::uint32_t first, std::uint32_t last) {
  return {Ipv4Address{first}, Ipv4Address{last}};
}
std::set<std::uint32_t> slots_of(const ShardAddresses& addresses, std::size_t group) {
  std::set<std::uint32_t> slots;
  for (const AddressSet::Word& word : addresses.sets[addresses.set_of_group[group]].words)
    for (std::uint32_t bit = 0; bit < 64; ++bit)
      if ((word.slots >> bit & 1) != 0) slots.insert(word.number * 64 + bit);
  return slots;
}

TEST(AddressStore, AnAddressKeepsItsSlotAndNoTwoHaveTheSame) {
  AddressStore store;
  std::unique_ptr<ShardAddresses> current;
  std::map<std::uint32_t, std::pair<std::uint32_t, std::uint32_t>> known;  // ip: serial, slot
  auto random = seeded_generator();
  for (int reload = 0; reload < 200; ++reload) {
    const auto first = static_cast<std::uint32_t>(1000 + random() % 100);
    const Generation generation =
        generation_of({range(first, first + static_cast<std::uint32_t>(random() % 150))});
    auto next = store.prepare(generation, 0);
    std::set<std::uint32_t> used, fresh;
    std::map<std::uint32_t, std::pair<std::uint32_t, std::uint32_t>> now;
    for (const NatAddress* address : next->by_number) {
      EXPECT_TRUE(used.insert(address->slot).second);
      EXPECT_EQ(next->by_slot[address->slot], address);
      now[address->ip.value] = {address->serial, address->slot};
      const auto before = known.find(address->ip.value);
      if (before == known.end())
        fresh.insert(address->slot);
      else
        EXPECT_EQ(before->second, now[address->ip.value]);
    }
    EXPECT_EQ(std::set<std::uint32_t>(next->fresh_slots.begin(), next->fresh_slots.end()), fresh);
    EXPECT_EQ(slots_of(*next, 0), used);
    EXPECT_EQ(slots_of(*next, 2), used);
    EXPECT_EQ(next->set_of_group[0], next->set_of_group[2]) << "groups of the same pools";
    EXPECT_TRUE(slots_of(*next, 1).empty());
    EXPECT_LE(next->by_slot.size(), 2u * 250u) << "slots are used again";
    known = std::move(now);
    current = std::move(next);
    store.discard(*current);
  }
}

}  // namespace
}  // namespace lsn::datapath::lsn44
