// What the runtime's tests share: EAL without huge pages and without root, started once; a shard of
// small tables.
#pragma once

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <string>
#include <vector>

#include "lsn/datapath/shard.hpp"
#include "lsn/runtime/eal.hpp"
#include "lsn/state/memory.hpp"

namespace lsn::test {

/// Two lcores for workers, also where there is one CPU.
inline constexpr unsigned kWorkers = 2;

inline std::vector<unsigned> worker_cpus() {
  const std::vector<unsigned> cpus = runtime::Machine::inspect().cpus;
  return {cpus.front(), cpus.back()};
}

/// EAL may be started once per process.
inline void need_eal() {
  static const auto eal = [] {
    spdlog::set_level(spdlog::level::warn);
    runtime::EalRequest request;
    request.options = {"--no-huge", "--no-pci", "--no-shconf", "--no-telemetry",
                       "--single-file-segments"};
    request.cpus = worker_cpus();
    request.buffer_bytes = request.small_page_bytes = std::size_t{384} << 20;
    return runtime::Eal::start(*runtime::eal_arguments(request, runtime::Machine::inspect()));
  }();
  ASSERT_TRUE(eal.has_value()) << eal.error();
}

/// A shard without devices, for what the runtime does around one.
struct SmallShard {
  state::PageMemory memory{state::Pages::kSmall};
  datapath::Shard shard;

  explicit SmallShard(unsigned id = 0, unsigned shards = 1) : shard(config(id, shards)) {}

  datapath::ShardConfig config(unsigned id, unsigned shards) {
    datapath::ShardConfig config;
    config.id = static_cast<shared::ShardId>(id);
    config.shards = shards;
    config.max_sessions = 1024;
    config.max_fragments = 64;
    config.memory = &memory;
    config.now = state::Ticks{1};
    return config;
  }
};

}  // namespace lsn::test
