// The ALG under randomised peers, in virtual time: the events that must never happen (design 9) do
// not happen in any of many worlds (alg_world.hpp), by a witness that knows the true receiver of
// each packet (alg_witness.hpp).
//
//   LSN_SEED=n               the first world's seed; printed, and with a failure its own. Without
//                            it three seeds are tried, the third of them another one each time
//   LSN_MODEL_TUNNELS=n      phase 2 exchanges in all, at least
//   LSN_MODEL_SEEDS=n        a campaign: n seeds beginning with LSN_SEED, one process per
//                            processor; it goes on after a failure
//   LSN_MODEL_WITHOUT=words  behaviours (alg_world.hpp) that are left out
//   LSN_MODEL_TRACE=n        with a failure: the last n things that happened at its server
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <random>
#include <string_view>
#include <thread>

#include "model/alg_witness.hpp"
#include "model/alg_world.hpp"
#include "model/environment.hpp"

namespace lsn::test {
namespace {

using alg::Behaviour;

#if defined(__SANITIZE_ADDRESS__)
constexpr std::uint64_t kTunnels = 9000;
#else
constexpr std::uint64_t kTunnels = 90000;
#endif

/// So that the worlds of one seed are not those of the next.
constexpr std::uint64_t kSeedStep = 1'000'000'007;

bool names(const char* variable, std::string_view word) {
  const char* text = std::getenv(variable);
  return text != nullptr && std::string_view{text}.find(word) != std::string_view::npos;
}

alg::Behaviours behaviours_from_environment() {
  alg::Behaviours all;
  for (std::size_t i = 0; i < alg::kBehaviours; ++i) {
    const std::string_view name = alg::kBehaviourNames[i];
    all.set(i, !names("LSN_MODEL_WITHOUT", name));
  }
  return all;
}

/// How to make the same worlds again.
std::string words_of(const alg::Behaviours& behaviours) {
  std::string without;
  for (std::size_t i = 0; i < alg::kBehaviours; ++i)
    if (!behaviours.has(static_cast<Behaviour>(i)))
      without += "," + std::string{alg::kBehaviourNames[i]};
  return without.empty() ? without : " LSN_MODEL_WITHOUT=" + without.substr(1);
}

/// One world; its results.
alg::Sums live(std::uint64_t seed, const alg::Behaviours& behaviours) {
  const std::size_t buffers_before = Lab::buffers_in_use();
  alg::World world(seed, behaviours);
  alg::Watch watch(world);
  world.attend(watch);
  if (world.run([&] { return !watch.faults().empty(); })) {
    world.wait(std::max(world.rules.ike_timeout, world.rules.esp_timeout) +
               4 * world.rules.gate_timeout + 2 * alg::kMinute);
    watch.finish();
  }
  world.lab().shut_down();
  EXPECT_EQ(Lab::buffers_in_use(), buffers_before) << "packet buffers were lost";
  for (const std::string& fault : watch.faults())
    ADD_FAILURE() << "LSN_SEED=" << seed << ": " << fault;
  if (!watch.faults().empty() || std::getenv("LSN_MODEL_TRACE") != nullptr) {
    std::printf("replay with LSN_SEED=%llu LSN_MODEL_TUNNELS=1%s: %s\n",
                static_cast<unsigned long long>(seed), words_of(behaviours).c_str(),
                world.rules.text().c_str());
    watch.tell(watch.server_of_fault());
  }
  const alg::Sums& sums = watch.sums();
  if (sums.calm_misdelivered_in_all() != 0 || sums.calm_wanted != sums.calm_established)
    std::printf("LSN_SEED=%llu is calm: %llu tunnels at another client, %llu not established\n",
                static_cast<unsigned long long>(seed),
                static_cast<unsigned long long>(sums.calm_misdelivered_in_all()),
                static_cast<unsigned long long>(sums.calm_wanted - sums.calm_established));
  return sums;
}

/// Worlds until there are so many tunnels; all of them, even after a failure, or until the first.
alg::Sums live_many(std::uint64_t seed, std::uint64_t tunnels, const alg::Behaviours& behaviours,
                    bool all) {
  alg::Sums sums;
  for (std::uint64_t i = 0; sums.tunnels < tunnels && (all || !::testing::Test::HasFailure()); ++i)
    sums.add(live(seed + i, behaviours));
  return sums;
}

/// Seeds, shared among as many processes as there are processors.
alg::Sums campaign(std::uint64_t seed, std::uint64_t seeds, std::uint64_t tunnels,
                   const alg::Behaviours& behaviours) {
  struct Shared {
    std::atomic<std::uint64_t> next{0};
    std::atomic<std::uint64_t> failed{0};
  };
  void* memory = mmap(nullptr, sizeof(Shared) + seeds * sizeof(alg::Sums), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    ADD_FAILURE() << "no shared memory";
    return {};
  }
  auto* shared = new (memory) Shared;
  auto* sums = new (shared + 1) alg::Sums[seeds];
  std::fflush(stdout);
  const unsigned processes = std::max(1u, std::thread::hardware_concurrency());
  for (unsigned i = 0; i < processes; ++i) {
    if (fork() != 0) continue;
    for (std::uint64_t k; (k = shared->next++) < seeds;) {
      sums[k] = live_many(seed + k * kSeedStep, tunnels / seeds, behaviours, true);
      std::printf("seed %llu: %llu tunnels\n",
                  static_cast<unsigned long long>(seed + k * kSeedStep),
                  static_cast<unsigned long long>(sums[k].tunnels));
      std::fflush(stdout);
    }
    if (::testing::Test::HasFailure()) ++shared->failed;
    std::_Exit(0);
  }
  for (int status; wait(&status) > 0;)
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) ++shared->failed;
  EXPECT_EQ(shared->failed, 0u) << "processes that found something";
  alg::Sums all;
  for (std::uint64_t k = 0; k < seeds; ++k) all.add(sums[k]);
  munmap(memory, sizeof(Shared) + seeds * sizeof(alg::Sums));
  return all;
}

TEST(AlgModel, WhatMustNeverHappenDoesNot) {
  const alg::Behaviours behaviours = behaviours_from_environment();
  const std::uint64_t tunnels = from_environment("LSN_MODEL_TUNNELS", kTunnels);
  const auto tell = [&](std::uint64_t seed, std::uint64_t number) {
    std::printf("LSN_SEED=%llu LSN_MODEL_TUNNELS=%llu\n", static_cast<unsigned long long>(seed),
                static_cast<unsigned long long>(number));
    std::fflush(stdout);
  };
  alg::Sums sums;
  if (const std::uint64_t seeds = from_environment("LSN_MODEL_SEEDS", 0); seeds != 0) {
    const std::uint64_t seed = from_environment("LSN_SEED", 1);
    tell(seed, tunnels);
    sums = campaign(seed, seeds, tunnels, behaviours);
  } else if (std::getenv("LSN_SEED") != nullptr) {
    const std::uint64_t seed = from_environment("LSN_SEED", 1);
    tell(seed, tunnels);
    sums = live_many(seed, tunnels, behaviours, false);
  } else {
    const std::uint64_t fresh = 2 * kSeedStep + std::random_device{}();
    for (const std::uint64_t seed : {std::uint64_t{1}, kSeedStep, fresh}) {
      if (HasFailure()) break;
      // A new one finds something in a few hundred thousand tunnels (docs/testing.md).
      const std::uint64_t share = seed == fresh ? tunnels / 9 : 4 * tunnels / 9;
      tell(seed, share);
      sums.add(live_many(seed, share, behaviours, false));
    }
  }
  std::printf("%s", sums.text().c_str());
  if (HasFailure()) return;
  // A share of a handful of tunnels says nothing.
  const auto share = [](std::uint64_t part, std::uint64_t whole) {
    return static_cast<double>(part) / static_cast<double>(whole);
  };
  if (sums.calm_wanted >= 1000) {
    EXPECT_GE(share(sums.calm_established, sums.calm_wanted), 0.99)
        << "without loss, tunnels must be established";
  }
  // One world of many silent peers weighs much in a few thousand.
  if (sums.turns_came >= 50000) {
    EXPECT_LE(share(sums.waited_ms, sums.turns_came), 5500) << "waits are too long";
  }
  EXPECT_EQ(sums.calm_misdelivered_in_all(), 0u) << "what nobody can know does not happen in calm";
  if (sums.carried >= 500000) {
    EXPECT_LT(share(sums.misguided(), sums.carried), 0.001) << "contended, consequence, lured";
  }
}

}  // namespace
}  // namespace lsn::test
