// The ALG under randomised peers, in virtual time: what must never happen (section 9 of the design)
// does not happen in any of many worlds (alg_world.hpp), as a witness sees it who knows for whom
// each packet is (alg_witness.hpp).
//
//   LSN_SEED=n               the first world's seed (by itself always the same one: docs/testing.md
//                            says why); printed, and with a failure its own
//   LSN_MODEL_TUNNELS=n      phase 2 exchanges in all, at least
//   LSN_MODEL_WITHOUT=words  late, same-spi, forged: what of "what nobody can know" is left out
//   LSN_MODEL_TRACE=n        with a failure: the last n things that happened at its server
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "model/alg_witness.hpp"
#include "model/alg_world.hpp"
#include "model/environment.hpp"

namespace lsn::test {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr std::uint64_t kTunnels = 10000;
#else
constexpr std::uint64_t kTunnels = 100000;
#endif

constexpr std::uint64_t kSeed = 1;

alg::Purposes purposes_from_environment() {
  const char* text = std::getenv("LSN_MODEL_WITHOUT");
  const std::string_view without = text == nullptr ? "" : text;
  const auto has = [&](std::string_view word) { return without.find(word) == without.npos; };
  return {.late = has("late"), .same_spi = has("same-spi"), .forged = has("forged")};
}

/// One world; what came of it.
alg::Sums live(std::uint64_t seed, const alg::Purposes& purposes) {
  const std::size_t buffers_before = Lab::buffers_in_use();
  alg::World world(seed, purposes);
  alg::Watch watch(world);
  world.attend(watch);
  if (world.run([&] { return !watch.faults().empty(); })) {
    world.wait(std::max(world.rules.ike_timeout, world.rules.esp_timeout) +
               4 * world.rules.gate_timeout + 2 * alg::kMinute);
    watch.finish();
  }
  world.lab().shut_down();
  EXPECT_EQ(Lab::buffers_in_use(), buffers_before) << "packet buffers were lost";
  for (const std::string& fault : watch.faults()) ADD_FAILURE() << fault;
  if (::testing::Test::HasFailure() || std::getenv("LSN_MODEL_TRACE") != nullptr) {
    std::printf("replay with LSN_SEED=%llu: %s\n", static_cast<unsigned long long>(seed),
                world.rules.text().c_str());
    watch.tell(watch.server_of_fault());
  }
  return watch.sums();
}

TEST(AlgModel, WhatMustNeverHappenDoesNot) {
  const std::uint64_t seed = from_environment("LSN_SEED", kSeed);
  const std::uint64_t tunnels = from_environment("LSN_MODEL_TUNNELS", kTunnels);
  const alg::Purposes purposes = purposes_from_environment();
  std::printf("LSN_SEED=%llu LSN_MODEL_TUNNELS=%llu\n", static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(tunnels));
  alg::Sums sums;
  for (std::uint64_t i = 0; sums.tunnels < tunnels && !HasFailure(); ++i)
    sums.add(live(seed + i, purposes));
  std::printf("%s", sums.text().c_str());
  if (HasFailure()) return;
  // A share of a handful of tunnels says nothing.
  if (sums.calm_wanted >= 1000) {
    // Not all: a first inbound packet is refused while it may be what another client is owed.
    EXPECT_GE(static_cast<double>(sums.calm_established),
              0.98 * static_cast<double>(sums.calm_wanted))
        << "without loss, tunnels must be established";
  }
}

}  // namespace
}  // namespace lsn::test
