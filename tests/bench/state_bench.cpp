// The cost of the state room's tables, by size. Times are per operation ("items").
//
// Keys are computed from numbers instead of read from an array, so that the only memory that a
// lookup waits for is the table's. Sizes are entries; the table is filled to 80 % of its capacity,
// if not said otherwise. Medians of several runs: --benchmark_repetitions=5.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "lsn/state/flow_table.hpp"
#include "lsn/state/memory.hpp"
#include "lsn/state/port_allocator.hpp"
#include "lsn/state/random.hpp"
#include "lsn/state/slab.hpp"
#include "lsn/state/timer_wheel.hpp"

namespace lsn::state {
namespace {

constexpr unsigned kBurst = 32;

PageMemory& memory() {
  static PageMemory pages(Pages::kLarge);
  return pages;
}

Random::Seed seed_of(std::uint8_t value) {
  Random::Seed seed;
  seed.fill(value);
  return seed;
}

/// The nth flow: different n, different keys.
FlowKey key_of(std::uint32_t n) {
  const std::uint32_t scattered = n * 0x9E3779B1u;
  return FlowKey::make(0x64400000 ^ scattered, 0x08080808 + (n & 255),
                       static_cast<std::uint16_t>(n ^ scattered >> 16), 443, 1);
}

/// A cheap sequence without a pattern that a prefetcher would see.
class Sequence {
 public:
  std::uint32_t below(std::uint32_t n) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<std::uint32_t>(((state_ >> 32) * n) >> 32);
  }

 private:
  std::uint64_t state_ = 88172645463325252;
};

/// A table with the flows 0 .. entries-1. The last one is kept: filling takes longer than
/// measuring.
FlowTable& filled_table(std::uint32_t entries, std::uint32_t percent) {
  PageMemory& pages = memory();  // made before the table, so that it outlives it
  static std::pair<std::uint32_t, std::uint32_t> size;
  static std::optional<FlowTable> table;
  if (table.has_value() && size == std::pair(entries, percent)) return *table;
  size = {entries, percent};
  Random random(seed_of(1));
  table.reset();
  table.emplace(static_cast<std::uint32_t>(std::uint64_t{entries} * 100 / percent),
                HashSecret::from(random), &pages);
  for (std::uint32_t n = 0; n < entries; ++n) {
    const FlowKey key = key_of(n);
    // At 100 % some one in a million finds no place.
    benchmark::DoNotOptimize(table->insert(key, table->hash(key), n));
  }
  return *table;
}

FlowTable& table_of(const benchmark::State& state) {
  return filled_table(static_cast<std::uint32_t>(state.range(0)),
                      static_cast<std::uint32_t>(state.range(1)));
}

void sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"entries", "percent"});
  for (const int entries : {1'000, 64'000, 1'000'000, 8'000'000}) bench->Args({entries, 80});
}

void sizes_and_loads(benchmark::internal::Benchmark* bench) {
  sizes(bench);
  for (const int entries : {1'000, 64'000, 1'000'000, 8'000'000}) bench->Args({entries, 100});
}

/// Each lookup's key depends on the one before: the latency of a lone packet.
void find_one_after_the_other(benchmark::State& state) {
  const FlowTable& table = table_of(state);
  const auto entries = static_cast<std::uint32_t>(state.range(0));
  Sequence sequence;
  std::uint32_t found = 0;
  for (auto _ : state) {
    // Indices stay below 2^26, so this adds 0; but only the lookup's end tells.
    const FlowKey key = key_of(sequence.below(entries) + (found >> FlowTable::kIndexBits));
    found = table.find(key, table.hash(key));
    benchmark::DoNotOptimize(found);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(find_one_after_the_other)->Apply(sizes);

/// A burst as the packet path does it: hash and prefetch all, then compare all.
template <bool kHits>
void find_burst(benchmark::State& state) {
  const FlowTable& table = table_of(state);
  const auto entries = static_cast<std::uint32_t>(state.range(0));
  Sequence sequence;
  FlowKey keys[kBurst];
  std::uint32_t hashes[kBurst];
  std::uint32_t indices[kBurst];
  for (auto _ : state) {
    for (unsigned i = 0; i < kBurst; ++i) {
      keys[i] = key_of(sequence.below(entries) + (kHits ? 0 : entries));
      hashes[i] = table.hash(keys[i]);
      table.prefetch(hashes[i]);
    }
    table.find_bulk(keys, hashes, kBurst, indices);
    benchmark::DoNotOptimize(indices);
  }
  state.SetItemsProcessed(state.iterations() * kBurst);
}
BENCHMARK(find_burst<true>)->Apply(sizes_and_loads);
BENCHMARK(find_burst<false>)->Apply(sizes_and_loads);

/// The same with a 64-byte session per flow that is read and written.
void find_burst_and_touch_session(benchmark::State& state) {
  struct alignas(64) Session {
    std::uint64_t words[8];
  };
  const FlowTable& table = table_of(state);
  const auto entries = static_cast<std::uint32_t>(state.range(0));
  ParallelArray<Session> sessions(entries, &memory());
  for (std::uint32_t n = 0; n < entries; ++n) sessions[n].words[0] = n;
  Sequence sequence;
  FlowKey keys[kBurst];
  std::uint32_t hashes[kBurst];
  std::uint32_t indices[kBurst];
  for (auto _ : state) {
    for (unsigned i = 0; i < kBurst; ++i) {
      keys[i] = key_of(sequence.below(entries));
      hashes[i] = table.hash(keys[i]);
      table.prefetch(hashes[i]);
    }
    table.find_bulk(keys, hashes, kBurst, indices);
    for (unsigned i = 0; i < kBurst; ++i) sessions.prefetch(indices[i]);
    for (unsigned i = 0; i < kBurst; ++i)
      sessions[indices[i]].words[1] += sessions[indices[i]].words[0];
  }
  state.SetItemsProcessed(state.iterations() * kBurst);
}
BENCHMARK(find_burst_and_touch_session)->Apply(sizes);

/// Flows that come and go at a steady load, a burst at a time: an item is one erase and one insert.
void erase_and_insert(benchmark::State& state) {
  FlowTable& table = table_of(state);
  const auto entries = static_cast<std::uint32_t>(state.range(0));
  std::uint32_t oldest = 0;
  std::uint32_t newest = entries;
  FlowKey keys[2 * kBurst];
  std::uint32_t hashes[2 * kBurst];
  for (auto _ : state) {
    for (unsigned i = 0; i < kBurst; ++i) {
      keys[i] = key_of(oldest + i);
      keys[kBurst + i] = key_of(newest + i);
    }
    for (unsigned i = 0; i < 2 * kBurst; ++i) {
      hashes[i] = table.hash(keys[i]);
      table.prefetch(hashes[i]);
    }
    for (unsigned i = 0; i < kBurst; ++i) {
      table.erase(keys[i], hashes[i]);
      benchmark::DoNotOptimize(
          table.insert(keys[kBurst + i], hashes[kBurst + i], (newest + i) % entries));
    }
    oldest += kBurst;
    newest += kBurst;
  }
  state.SetItemsProcessed(state.iterations() * kBurst);
  // Back to the flows that the other benchmarks expect.
  for (std::uint32_t n = oldest; n != newest; ++n) {
    const FlowKey key = key_of(n);
    table.erase(key, table.hash(key));
  }
  for (std::uint32_t n = 0; n < entries; ++n) {
    const FlowKey key = key_of(n);
    benchmark::DoNotOptimize(table.insert(key, table.hash(key), n));
  }
}
BENCHMARK(erase_and_insert)->Apply(sizes_and_loads);

void hash_key(benchmark::State& state) {
  const FlowTable& table = filled_table(1'000, 80);
  std::uint32_t n = 0;
  for (auto _ : state) benchmark::DoNotOptimize(table.hash(key_of(n++)));
}
BENCHMARK(hash_key);

struct alignas(64) TimedSession {
  WheelLinks links;
  Ticks last_seen;
  std::uint32_t rest[13];
};

/// All objects wait in random order for the same second, every one of them expires: per object.
void expire(benchmark::State& state) {
  const auto entries = static_cast<std::uint32_t>(state.range(0));
  ParallelArray<TimedSession> sessions(entries, &memory());
  const auto links_of = [&](std::uint32_t i) -> WheelLinks& { return sessions[i].links; };
  std::vector<std::uint32_t> order(entries);
  for (std::uint32_t n = 0; n < entries; ++n) order[n] = n;
  Sequence sequence;
  for (std::uint32_t n = entries; n > 1; --n) std::swap(order[n - 1], order[sequence.below(n)]);
  Ticks now{0};
  TimerWheel wheel(entries, now, &memory());
  for (auto _ : state) {
    state.PauseTiming();
    for (std::uint32_t n = 0; n < entries; ++n) {
      wheel.schedule(order[n], now + TickDuration(1 + n % 100), links_of);
    }
    state.ResumeTiming();
    now += TickDuration(100);
    wheel.advance(now, ~std::size_t{0}, links_of,
                  [](std::uint32_t) -> std::optional<Ticks> { return std::nullopt; });
  }
  state.SetItemsProcessed(state.iterations() * entries);
}
BENCHMARK(expire)->ArgName("objects")->Arg(1'000)->Arg(64'000)->Arg(1'000'000)->Arg(8'000'000);

/// Objects that are always seen again: the wheel asks and re-arms. An item is one such call.
void re_arm(benchmark::State& state) {
  const auto entries = static_cast<std::uint32_t>(state.range(0));
  ParallelArray<TimedSession> sessions(entries, &memory());
  const auto links_of = [&](std::uint32_t i) -> WheelLinks& { return sessions[i].links; };
  Ticks now{0};
  TimerWheel wheel(entries, now, &memory());
  Sequence sequence;
  for (std::uint32_t n = 0; n < entries; ++n) {
    wheel.schedule(n, Ticks{sequence.below(30'000)}, links_of);
  }
  std::int64_t visits = 0;
  for (auto _ : state) {
    now += TickDuration(1);
    wheel.advance(now, ~std::size_t{0}, links_of, [&](std::uint32_t i) -> std::optional<Ticks> {
      ++visits;
      const Ticks deadline = sessions[i].last_seen + std::chrono::seconds(300);
      if (deadline.later_than(now)) return deadline;
      sessions[i].last_seen = now;
      return now + std::chrono::seconds(300);
    });
  }
  state.SetItemsProcessed(visits);
}
BENCHMARK(re_arm)->ArgName("objects")->Arg(64'000)->Arg(1'000'000)->Arg(8'000'000);

/// The call of a poll in which no tick has passed.
void turn_idle_wheel(benchmark::State& state) {
  std::vector<WheelLinks> links(1);
  const auto links_of = [&](std::uint32_t i) -> WheelLinks& { return links[i]; };
  TimerWheel wheel(1, Ticks{0}, &memory());
  wheel.schedule(0, Ticks{1000}, links_of);
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        wheel.advance(Ticks{0}, 32, links_of,
                      [](std::uint32_t) -> std::optional<Ticks> { return std::nullopt; }));
  }
}
BENCHMARK(turn_idle_wheel);

/// A port is taken at the given fill, and another one given back.
void take_port(benchmark::State& state) {
  const auto ports = std::make_unique<PortBitmap>();
  Random random(seed_of(2));
  const auto wanted = static_cast<std::uint32_t>(64'512 * state.range(0) / 1000);
  std::vector<std::uint16_t> taken;
  while (taken.size() < wanted) {
    taken.push_back(*ports->take(1024, 65535, Parity::kAny, random.next()));
  }
  const auto parity = static_cast<Parity>(state.range(1));
  for (auto _ : state) {
    std::uint16_t& victim = taken[random.below(wanted)];
    ports->release(victim);
    const auto port = ports->take(1024, 65535, parity, random.next());
    // With a parity asked for, nothing of it may be left.
    if (port.has_value()) {
      victim = *port;
    } else if (!ports->take_exact(victim)) {
      std::abort();
    }
  }
}
BENCHMARK(take_port)
    ->ArgNames({"permille", "parity"})
    ->ArgsProduct({{100, 500, 900, 990, 1000}, {0, 2}});

/// The same at an address of which nothing is in the cache: one of a thousand, 8 MB.
void take_cold_port(benchmark::State& state) {
  constexpr std::uint32_t kAddresses = 1000;
  const auto all = std::make_unique<PortBitmap[]>(kAddresses);
  Random random(seed_of(2));
  for (std::uint32_t i = 0; i < kAddresses; ++i)
    for (std::uint64_t n = 64'512ull * static_cast<std::uint64_t>(state.range(0)) / 10'000; n != 0;
         --n)
      if (!all[i].take(1024, 65535, Parity::kAny, random.next())) std::abort();
  const auto parity = static_cast<Parity>(state.range(1));
  for (auto _ : state) {
    PortBitmap& ports = all[random.below(kAddresses)];
    if (const auto port = ports.take(1024, 65535, parity, random.next())) ports.release(*port);
  }
}
BENCHMARK(take_cold_port)
    ->ArgNames({"of 10,000", "parity"})
    ->ArgsProduct({{1000, 5000, 9000, 9900, 9990, 9999, 10'000}, {0, 2}});

void next_random(benchmark::State& state) {
  Random random(seed_of(3));
  for (auto _ : state) benchmark::DoNotOptimize(random.next());
}
BENCHMARK(next_random);

void allocate_and_release(benchmark::State& state) {
  Slab<TimedSession> slab(1000, &memory());
  for (auto _ : state) {
    const std::uint32_t index = slab.allocate();
    benchmark::DoNotOptimize(slab[index]);
    slab.release(index);
  }
}
BENCHMARK(allocate_and_release);

}  // namespace
}  // namespace lsn::state

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  benchmark::AddCustomContext("line compare", lsn::state::BestMatch::kName);
#ifdef LSN_ARCH
  benchmark::AddCustomContext("-march", LSN_ARCH);
#endif
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
