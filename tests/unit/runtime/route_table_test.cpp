#include "lsn/runtime/route_table.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <random>
#include <thread>
#include <tuple>

#include "lsn/state/memory.hpp"

namespace lsn::runtime {
namespace {

using shared::Fib;
using shared::RouteHop;
using wire::Ipv4Address;
using wire::Ipv4Prefix;

constexpr std::uint16_t kInside = 0, kOutside = 1, kSeven = 2;

/// Interfaces inside, outside, and inside in domain 7.
struct Bench {
  explicit Bench(std::uint32_t nodes = 4096) : fib(&memory, nodes) {}

  void put(std::uint32_t first, unsigned length, std::uint32_t metric, std::vector<RouteHop> hops,
           unsigned space = 0, std::uint32_t round = 1) {
    table.put(space, {Ipv4Address{first}, length}, metric, 186, std::move(hops), round);
    table.commit();
  }
  void remove(std::uint32_t first, unsigned length, std::uint32_t metric, unsigned space = 0) {
    table.remove(space, {Ipv4Address{first}, length}, metric);
    table.commit();
  }
  void retain(unsigned space, std::uint32_t round, std::size_t budget = 3) {
    RouteTable::Retaining at;
    while (!table.retain(space, round, at, budget)) table.commit();
    table.commit();
  }
  /// The first way of an address, 0: none.
  [[nodiscard]] std::uint32_t via(std::uint32_t address, shared::DomainId td = 0) const {
    const Fib::Match match = fib.find(td, Ipv4Address{address});
    return match.group == nullptr ? 0 : match.group->hops[0].via.value;
  }

  state::PageMemory memory;
  Fib fib;
  RouteTable table{fib, {RouteTable::Side{0}, std::nullopt, RouteTable::Side{7}}, nullptr};
};

RouteHop way(std::uint32_t via, std::uint16_t interface = kOutside) {
  return {interface, 1, Ipv4Address{via}, false, true};
}

TEST(RouteTable, TheLeastMetricIsInForce) {
  Bench bench;
  bench.put(0x0A000000, 8, 20, {way(1)});
  bench.put(0x0A000000, 8, 10, {way(2)});
  bench.put(0x0A000000, 8, 30, {way(3)});
  EXPECT_EQ(bench.via(0x0A010203), 2U);
  EXPECT_EQ(bench.table.size(), 3U);
  bench.remove(0x0A000000, 8, 10);
  EXPECT_EQ(bench.via(0x0A010203), 1U);
  bench.remove(0x0A000000, 8, 30);
  bench.remove(0x0A000000, 8, 20);
  EXPECT_EQ(bench.via(0x0A010203), 0U);
  EXPECT_EQ(bench.table.size(), 0U);
  EXPECT_EQ(bench.table.groups(), 0U);
}

TEST(RouteTable, WaysGoByTheSidesOfTheirInterfaces) {
  Bench bench;
  bench.put(0, 0, 0, {way(1)});
  bench.put(0x0A000000, 8, 0, {way(5, kInside), way(9, kSeven)});
  EXPECT_EQ(bench.via(0x0A010203, 0), 5U);
  EXPECT_EQ(bench.via(0x0A010203, 7), 9U);
  EXPECT_EQ(bench.via(0x0A010203, 8), 1U);
  // Of the one it has none any more.
  bench.put(0x0A000000, 8, 0, {way(9, kSeven)});
  EXPECT_EQ(bench.via(0x0A010203, 0), 1U);
  EXPECT_EQ(bench.via(0x0A010203, 7), 9U);
  // And the interface becomes another domain's.
  EXPECT_TRUE(bench.table.set_sides({RouteTable::Side{0}, std::nullopt, RouteTable::Side{8}}));
  EXPECT_FALSE(bench.table.set_sides({RouteTable::Side{0}, std::nullopt, RouteTable::Side{8}}));
  bench.put(0x0A000000, 8, 0, {way(9, kSeven)});
  EXPECT_EQ(bench.via(0x0A010203, 7), 1U);
  EXPECT_EQ(bench.via(0x0A010203, 8), 9U);
}

TEST(RouteTable, TheVersionChangesWithWhatIsInForceAlone) {
  Bench bench;
  bench.put(0x0A000000, 8, 10, {way(1)});
  const std::uint32_t version = bench.fib.version();
  bench.put(0x0A000000, 8, 10, {way(1)});
  bench.put(0x0A000000, 8, 20, {way(2)});
  bench.remove(0x0A000000, 8, 20);
  EXPECT_EQ(bench.fib.version(), version);
  bench.put(0x0A000000, 8, 10, {way(2)});
  EXPECT_NE(bench.fib.version(), version);
}

TEST(RouteTable, WhatAReadingHasNotGoes) {
  Bench bench;
  for (std::uint32_t i = 0; i < 100; ++i) bench.put(i << 24, 8, 0, {way(i + 1)}, i % 2, 1);
  for (std::uint32_t i = 0; i < 100; i += 4) bench.put(i << 24, 8, 0, {way(i + 1)}, 0, 2);
  bench.retain(0, 2);
  for (std::uint32_t i = 0; i < 100; ++i)
    EXPECT_EQ(bench.via(i << 24), i % 2 == 1 || i % 4 == 0 ? i + 1 : 0) << i;
  EXPECT_EQ(bench.table.size(), 75U);
}

TEST(RouteTable, WithoutRoomARouteWaitsAndIsCounted) {
  Bench bench(1 + state::PrefixTrie::kNodesOfPrefix);
  bench.put(0x0A010203, 32, 0, {way(1)});
  bench.put(0x0B010203, 32, 0, {way(2)});
  EXPECT_EQ(bench.via(0x0B010203), 0U);
  EXPECT_EQ(bench.table.refused(), 1U);
  EXPECT_EQ(bench.table.size(), 2U);
  bench.remove(0x0A010203, 32, 0);
  bench.put(0x0B010203, 32, 0, {way(2)});
  EXPECT_EQ(bench.via(0x0B010203), 2U);
  EXPECT_EQ(bench.table.refused(), 0U);
}

TEST(RouteTable, ListsInOrderByPages) {
  Bench bench;
  for (std::uint32_t i = 0; i < 50; ++i) {
    bench.put(i << 24, 8, 0, {way(i + 1)});
    bench.put(i << 24, 16, 5, {way(7, kSeven)});
  }
  bench.put(0, 0, 1, {way(3)});
  bench.put(0, 0, 2, {way(4)});
  std::vector<shared::RouteRow> all;
  std::optional<shared::RouteRow> last;
  for (;;) {
    const auto rows = bench.table.list(last, 7);
    if (rows.empty()) break;
    all.insert(all.end(), rows.begin(), rows.end());
    last = rows.back();
  }
  ASSERT_EQ(all.size(), 102U);
  EXPECT_EQ(all[0].metric, 1U);
  EXPECT_TRUE(all[0].is_in_force);
  EXPECT_FALSE(all[1].is_in_force);
  EXPECT_EQ(bench.table.find(7, Ipv4Address{0x05001234})->prefix.length, 16U);
  EXPECT_EQ(bench.table.find(0, Ipv4Address{0x05001234})->prefix.length, 8U);
}

/// Routes of two tables come and go; a list that is gone through for every address is the witness.
TEST(RouteTable, IsTheWitnessAfterEveryChange) {
  std::uint64_t seed = std::random_device{}();
  if (const char* given = std::getenv("LSN_SEED")) seed = std::strtoull(given, nullptr, 10);
  SCOPED_TRACE("LSN_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  Bench bench;
  using Name = std::tuple<std::uint32_t, unsigned, std::uint32_t, unsigned>;
  std::map<Name, std::uint32_t> routes;  // prefix, length, metric, table -> via
  const auto any_address = [&random] {
    return static_cast<std::uint32_t>(random() % 3 << 24 | random() % 3 << 16 | random() % 3 << 8 |
                                      random() % 3);
  };
  for (unsigned turn = 0; turn < 5000; ++turn) {
    static constexpr unsigned kLengths[] = {0, 7, 8, 9, 16, 23, 24, 31, 32};
    const Ipv4Prefix prefix{Ipv4Address{any_address()}, kLengths[random() % 9]};
    const auto metric = static_cast<std::uint32_t>(random() % 3);
    const auto space = static_cast<unsigned>(random() % 2);
    const Name name{prefix.first().value, prefix.length, metric, space};
    if (random() % 5 < 3) {
      const auto via = static_cast<std::uint32_t>(1 + random() % 40);
      routes[name] = via;
      bench.put(prefix.first().value, prefix.length, metric, {way(via)}, space);
    } else {
      routes.erase(name);
      bench.remove(prefix.first().value, prefix.length, metric, space);
    }
    ASSERT_EQ(bench.table.size(), routes.size());
    for (int i = 0; i < 10; ++i) {
      const std::uint32_t address = any_address();
      std::uint32_t expected = 0;
      std::tuple<int, std::uint32_t, unsigned> best{-1, 0, 0};  // longest, least metric, table
      for (const auto& [key, via] : routes) {
        const auto& [first, length, m, s] = key;
        if (!Ipv4Prefix{Ipv4Address{first}, length}.contains(Ipv4Address{address})) continue;
        const auto [l, bm, bs] = best;
        if (int(length) < l || (int(length) == l && std::pair(m, s) > std::pair(bm, bs))) continue;
        best = {int(length), m, s};
        expected = via;
      }
      ASSERT_EQ(bench.via(address), expected) << "turn " << turn;
    }
  }
  EXPECT_LE(bench.table.groups(), 40U);
}

/// Workers look up while all changes: what they find is always a route that was or is there.
TEST(RouteTable, IsReadByWorkersWhileItChanges) {
  const std::size_t size = rte_rcu_qsbr_get_memsize(2);
  std::vector<std::uint64_t> memory(size / 8 + 16);
  auto* const quiescence = reinterpret_cast<rte_rcu_qsbr*>(
      (reinterpret_cast<std::uintptr_t>(memory.data()) + 63) / 64 * 64);
  ASSERT_EQ(rte_rcu_qsbr_init(quiescence, 2), 0);
  state::PageMemory pages;
  Fib fib(&pages, 64);
  RouteTable table(fib, {std::nullopt}, quiescence);
  // Each way's address says of which prefix it is.
  const auto put = [&](std::uint32_t block, std::uint32_t choice) {
    table.put(0, {Ipv4Address{block << 24 | 0x010200}, 24}, 0, 1,
              {{0, 1, Ipv4Address{block << 8 | choice}}}, 1);
  };
  std::atomic<bool> stop{false}, failed{false};
  std::vector<std::thread> workers;
  for (unsigned id = 0; id < 2; ++id) {
    rte_rcu_qsbr_thread_register(quiescence, id);
    rte_rcu_qsbr_thread_online(quiescence, id);
    workers.emplace_back([&, id] {
      for (std::uint32_t block = 0; !stop.load(std::memory_order_relaxed);
           block = (block + 1) % 8) {
        const Fib::Match match = fib.find(0, Ipv4Address{block << 24 | 0x010203});
        if (match.group != nullptr && match.group->hops[0].via.value >> 8 != block)
          failed.store(true);
        rte_rcu_qsbr_quiescent(quiescence, id);
      }
      rte_rcu_qsbr_thread_offline(quiescence, id);
    });
  }
  std::mt19937 random(1);
  for (unsigned i = 0; i < 20000; ++i) {
    const auto block = static_cast<std::uint32_t>(random() % 8);
    if (random() % 2 == 0)
      put(block, static_cast<std::uint32_t>(random() % 200));
    else
      table.remove(0, {Ipv4Address{block << 24 | 0x010200}, 24}, 0);
    table.commit();
  }
  stop.store(true);
  for (std::thread& worker : workers) worker.join();
  EXPECT_FALSE(failed.load());
  table.commit();
  EXPECT_FALSE(table.waits_for_workers());
}

}  // namespace
}  // namespace lsn::runtime
