// The gain of a second worker, and the cost if packets come to the wrong one.
//
//   bench_workers                     64 k and 1 M sessions, on the last two CPUs
//   bench_workers --cpus 2,4 --sessions 1000000
//
// Workers as lsnd has them, without devices: each a thread on its own CPU with its own shard, rings
// between them (runtime/handoff.hpp). Each writes its own traffic into buffers of the common pool
// and frees the packets that come out; only the product's part is timed: processing a burst,
// putting packets into the rings, taking them out, processing those. Three ways:
//
//   one          one worker, the other CPU idle
//   own queues   two workers, each gets the packets of its own subscribers, as RSS does it at best
//   handed off   two workers, each gets the packets of the other's subscribers: all go through a
//                ring
//
// Clocks are those of all workers together per packet that came out, so that the figure does not
// depend on how many CPUs are free: two workers do 2 x one / own queues times the work of one.
#include <fmt/format.h>
#include <pthread.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <sched.h>

#include <CLI/CLI.hpp>
#include <array>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <stdexcept>

#include "environment.hpp"
#include "lsn/runtime/handoff.hpp"
#include "results.hpp"
#include "workshop.hpp"

namespace lsn::bench {
namespace {

using namespace datapath;

constexpr unsigned kBurst = Workshop::kBurst;
constexpr unsigned kBurstsPerBatch = 64;
constexpr unsigned kWorkers = 2;
constexpr std::uint32_t kSlots = 1024;    ///< of a ring, as lsnd has them
constexpr std::uint64_t kInFlight = 512;  ///< packets in a ring

struct Options {
  std::vector<std::uint32_t> sessions = {64'000, 1'000'000};
  std::vector<unsigned> cpus;
  unsigned runs = 5;
  unsigned batches = 200;
  std::string json;
};

/// A worker's results: medians of its batches, and sums.
struct Work {
  std::vector<double> clocks_per_burst;
  std::uint64_t clocks = 0;
  std::uint64_t came_out = 0;
  std::uint64_t lost = 0;
};

class Worker {
 public:
  Worker(Workshop& own, const Workshop& traffic, runtime::HandoffRings* rings, rte_mempool* buffers)
      : shard_(own.shard()), traffic_(traffic), rings_(rings), buffers_(buffers) {}

  /// `other`: the worker that sends packets through the rings; it does the same meanwhile.
  void work(unsigned batches, const Worker* other) {
    Sequence sequence(shard_.id + 1);
    const std::uint64_t lost = losses();
    for (unsigned batch = 0; batch < batches; ++batch) {
      const std::uint64_t out_before = work_.came_out;
      std::uint64_t clocks = 0;
      for (unsigned b = 0; b < kBurstsPerBatch; ++b) {
        // A full ring would be a measurement of drops: its packets are taken out first.
        while (other != nullptr &&
               handed_ - other->taken_.load(std::memory_order_acquire) > kInFlight)
          clocks += poll(0, 0);
        write(sequence, b % 2 == 0);
        clocks += poll(b % 2 == 0 ? Workshop::kInside : Workshop::kOutside, kBurst);
      }
      work_.clocks += clocks;
      // The packets out of this batch are those that went in, but for those in the rings.
      const auto out = static_cast<double>(work_.came_out - out_before);
      if (out > kBurstsPerBatch * kBurst / 2)
        work_.clocks_per_burst.push_back(static_cast<double>(clocks) / out);
    }
    done_.store(true, std::memory_order_release);
    // The other one's packets must come out, too; they are not counted any more.
    while (other != nullptr && !other->done_.load(std::memory_order_acquire)) (void)poll(0, 0);
    for (int i = 0; i < 100; ++i) (void)poll(0, 0);
    work_.lost = losses() - lost;
  }

  [[nodiscard]] const Work& result() const { return work_; }

 private:
  [[nodiscard]] std::uint64_t losses() const {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < kDropReasons; ++i)
      sum += shard_.counters.dropped(static_cast<DropReason>(i));
    return sum;
  }

  void write(Sequence& sequence, bool outbound) {
    if (rte_pktmbuf_alloc_bulk(buffers_, burst_.data(), kBurst) != 0)
      throw std::runtime_error("no packet buffers");
    for (rte_mbuf* mbuf : burst_) {
      if (outbound)
        traffic_.write_outbound(mbuf, sequence);
      else
        traffic_.write_inbound(mbuf, sequence);
    }
  }

  /// A poll of a worker with so many packets received; the packets that it sends go back to the
  /// pool, untimed. Clocks; none if there was nothing to do.
  std::uint64_t poll(std::uint16_t device, unsigned received) {
    unsigned taken = 0;
    rte_mb();
    const std::uint64_t begin = rte_rdtsc();
    if (received != 0) {
      process_received(shard_, device, {burst_.data(), received});
      hand_over();
    }
    if (rings_ != nullptr) {
      std::array<rte_mbuf*, kBurst> packets;
      taken = rings_->take(1u - shard_.id, shard_.id, packets);
      if (taken != 0) process_handoff(shard_, {packets.data(), taken});
    }
    const std::uint64_t end = rte_rdtsc();
    for (TxBuffer& tx : shard_.tx) {
      rte_pktmbuf_free_bulk(tx.packets.data(), tx.count);
      work_.came_out += tx.count;
      tx.count = 0;
    }
    taken_.store(taken_.load(std::memory_order_relaxed) + taken, std::memory_order_release);
    return received + taken == 0 ? 0 : end - begin;
  }

  void hand_over() {
    if (rings_ == nullptr) return;
    const unsigned to = 1u - shard_.id;
    HandoffBuffer& buffer = shard_.handoff_buffers[to];
    if (buffer.count == 0) return;
    const unsigned taken = rings_->put(shard_.id, to, {buffer.packets.data(), buffer.count});
    handed_ += taken;
    if (taken < buffer.count) {
      shard_.counters.drop(DropReason::kHandoffFull, buffer.count - taken);
      rte_pktmbuf_free_bulk(buffer.packets.data() + taken, buffer.count - taken);
    }
    buffer.count = 0;
  }

  Shard& shard_;
  const Workshop& traffic_;
  runtime::HandoffRings* rings_;
  rte_mempool* buffers_;
  std::array<rte_mbuf*, kBurst> burst_{};
  Work work_;
  std::uint64_t handed_ = 0;
  alignas(64) std::atomic<std::uint64_t> taken_{0};
  std::atomic<bool> done_{false};
};

struct Task {
  Worker* worker;
  unsigned batches;
  const Worker* other;
  std::string fault;
};

int run_task(void* argument) {
  auto& task = *static_cast<Task*>(argument);
  try {
    task.worker->work(task.batches, task.other);
  } catch (const std::exception& error) {
    task.fault = error.what();
    return 1;
  }
  return 0;
}

struct Outcome {
  double clocks = 0;  ///< of all workers, per packet
  double lost = 0;    ///< share
};

Outcome outcome_of(const std::vector<const Work*>& all) {
  Outcome outcome;
  std::uint64_t out = 0, lost = 0;
  std::vector<double> medians;
  for (const Work* work : all) {
    medians.push_back(median(work->clocks_per_burst));
    out += work->came_out;
    lost += work->lost;
  }
  // Each worker does as much for the other's packets as the other one for its.
  for (const double m : medians) outcome.clocks += m / static_cast<double>(medians.size());
  outcome.lost = static_cast<double>(lost) / static_cast<double>(out + lost);
  return outcome;
}

Outcome run_both(std::array<std::unique_ptr<Workshop>, kWorkers>& shops, bool crossed,
                 runtime::HandoffRings& rings, rte_mempool* buffers, unsigned batches) {
  std::array<std::unique_ptr<Worker>, kWorkers> workers;
  for (unsigned i = 0; i < kWorkers; ++i)
    workers[i] = std::make_unique<Worker>(*shops[i], *shops[crossed ? 1 - i : i], &rings, buffers);
  std::array<Task, kWorkers> tasks;
  for (unsigned i = 0; i < kWorkers; ++i)
    tasks[i] = {workers[i].get(), batches, workers[1 - i].get(), {}};
  const unsigned second = rte_get_next_lcore(rte_get_main_lcore(), 1, 0);
  rte_eal_remote_launch(run_task, &tasks[1], second);
  run_task(&tasks[0]);
  rte_eal_wait_lcore(second);
  rings.clear();
  for (const Task& task : tasks)
    if (!task.fault.empty()) throw std::runtime_error(task.fault);
  return outcome_of({&workers[0]->result(), &workers[1]->result()});
}

void measure(const Options& options, rte_mempool* buffers, Report& report) {
  Table table("Workers: clocks of all of them per packet (UDP, both directions)",
              {"sessions", "one", "two, own queues", "two, all handed off",
               "two are x one, own queues", "two are x one, handed off", "lost"});
  auto rings = runtime::HandoffRings::make(kSlots, {SOCKET_ID_ANY, SOCKET_ID_ANY});
  if (!rings) throw std::runtime_error(rings.error());
  for (const std::uint32_t sessions : options.sessions) {
    const auto shop = [&](std::uint32_t flows, unsigned id, unsigned shards) {
      auto made = std::make_unique<Workshop>(WorkshopConfig{.max_sessions = capacity_for(flows),
                                                            .flows = flows,
                                                            .id = static_cast<ShardId>(id),
                                                            .shards = shards,
                                                            .buffers = buffers});
      static_cast<void>(made->open(0, flows));
      made->verify(std::min<std::uint32_t>(flows, 4096));
      return made;
    };
    const auto alone = shop(sessions, 0, 1);
    std::array<std::unique_ptr<Workshop>, kWorkers> two = {shop(sessions / 2, 0, kWorkers),
                                                           shop(sessions / 2, 1, kWorkers)};
    Runs one, own, crossed, lost;
    for (unsigned run = 0; run <= options.runs; ++run) {
      Worker worker(*alone, *alone, nullptr, buffers);
      worker.work(options.batches, nullptr);
      const Outcome a = outcome_of({&worker.result()});
      const Outcome b = run_both(two, false, *rings, buffers, options.batches);
      const Outcome c = run_both(two, true, *rings, buffers, options.batches);
      if (a.lost + b.lost != 0)
        throw std::runtime_error("packets were lost that nobody handed off");
      if (run == 0) continue;  // warms up
      one.add(a.clocks);
      own.add(b.clocks);
      crossed.add(c.clocks);
      lost.add(c.lost);
    }
    table.row({count_text(sessions), clocks(one), clocks(own), clocks(crossed),
               fmt::format("{:.2f}", 2 * one.mid() / own.mid()),
               fmt::format("{:.2f}", 2 * one.mid() / crossed.mid()),
               fmt::format("{:.2f} %", 100 * lost.mid())});
    for (const auto& [name, runs] :
         {std::pair{"one", &one}, {"two, own queues", &own}, {"two, all handed off", &crossed}})
      report.add("workers", {{"what", name}, {"sessions", sessions}}, "clocks per packet", *runs);
  }
  fmt::print("{}", table.text());
  std::fflush(stdout);
}

void start_eal(const std::vector<unsigned>& cpus) {
  static std::vector<std::string> words = {
      "bench_workers",  "--no-huge",     "--no-pci", "--no-shconf",
      "--no-telemetry", "--log-level=1", "-m",       "64"};
  words.push_back(fmt::format("--lcores=0@{},1@{}", cpus[0], cpus[1]));
  static std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  if (rte_eal_init(static_cast<int>(arguments.size()), arguments.data()) < 0)
    throw std::runtime_error(std::string("DPDK does not start: ") + rte_strerror(rte_errno));
}

/// The last two that this process may use.
std::vector<unsigned> default_cpus() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  std::vector<unsigned> cpus;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &allowed)) cpus.push_back(cpu);
  if (cpus.size() > kWorkers) cpus.erase(cpus.begin(), cpus.end() - kWorkers);
  return cpus;
}

int run(const Options& options) {
  if (options.cpus.size() != kWorkers)
    throw std::runtime_error(fmt::format("two CPUs are needed, there are {}", options.cpus.size()));
  start_eal(options.cpus);
  rte_mempool* buffers = rte_pktmbuf_pool_create("buffers", 8191, 128, kBufferPrivateSize,
                                                 RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
  if (buffers == nullptr) throw std::runtime_error("no memory for packet buffers");
  const nlohmann::json machine = environment();
  fmt::print("{}measured  CPUs {} and {}, 64-byte packets, bursts of {}, random flows\n",
             to_text(machine), options.cpus[0], options.cpus[1], kBurst);
  std::fflush(stdout);
  Report report;
  measure(options, buffers, report);
  if (!options.json.empty())
    std::ofstream(options.json)
        << nlohmann::json{{"environment", machine}, {"cells", report.cells}}.dump(1) << "\n";
  return 0;
}

}  // namespace
}  // namespace lsn::bench

int main(int argc, char** argv) {
  using namespace lsn::bench;
  if (const std::string reason = unfit(); !reason.empty()) {
    fmt::print(stderr, "bench_workers: {}; it says nothing about the product\n", reason);
    return 2;
  }
  Options options;
  options.cpus = default_cpus();
  CLI::App app("What a second worker brings, and what handing off costs", "bench_workers");
  app.add_option("--sessions", options.sessions, "of all workers together")->capture_default_str();
  app.add_option("--cpus", options.cpus, "two of them")->delimiter(',')->capture_default_str();
  app.add_option("--runs", options.runs, "per cell")->capture_default_str();
  app.add_option("--batches", options.batches, "of 2048 packets per run")->capture_default_str();
  app.add_option("--json", options.json, "file for the results");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_workers: {}\n", error.what());
    return 1;
  }
}
