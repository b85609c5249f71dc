// How packets reach their owners with more workers than this machine has CPUs: a simulation.
//
//   bench_steering                  4 to 32 workers, pools of 2 to 4,096 addresses
//   bench_steering --subscribers 50000 --seed 1
//
// Real in it: the product's own maps (shared/shard_map.hpp), the hash, the redirection tables.
// Simulated, in virtual time: packets, receive queues of 1,024 descriptors a worker and side, rings
// of 2,048 packets from each worker to each other (512 with more than 16), workers that take bursts
// of 32 from each in turn and need the clocks that bench_workers has measured. Subscribers have
// consecutive addresses, and a rate each: lognormal (sigma 1.5), so that the busiest hundredth
// makes a seventh of the packets. Seven packets inbound for four outbound; all workers together are
// offered seven tenths of what they could do if every packet came home.
//
// "by flow" is a NIC that hashes addresses and ports with any key: what there was without classes.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "lsn/shared/shard_map.hpp"
#include "results.hpp"

namespace lsn::bench {
namespace {

using shared::AddressClasses;
using shared::NatAddressMap;
using shared::ShardId;
using shared::ShardMap;
using wire::Ipv4Address;

struct Options {
  std::uint32_t subscribers = 50'000;
  std::uint32_t seed = 1;
  double offered = 0.7;
};

/// Clocks of a packet, of the reference machine (docs/performance-results.md).
constexpr double kOwn = 120;
constexpr double kHandOver = 70;   ///< to the worker that it came to
constexpr double kTakeOver = 170;  ///< to its owner, instead of kOwn
constexpr double kClock = 2.3e9;

constexpr std::uint32_t kFirstSubscriber = 0x64400001;  // 100.64.0.1
constexpr std::uint32_t kFirstAddress = 0xCB007101;     // 203.0.113.1
constexpr unsigned kDescriptors = 1024;
constexpr unsigned kBurstSize = 32;
constexpr unsigned kBits = 0;  ///< of classes: by flow

struct Maps {
  NatAddressMap nat;
  std::shared_ptr<const ShardMap> map;
};

Maps maps_of(std::uint32_t addresses, unsigned workers, const AddressClasses& classes,
             const Maps* before = nullptr) {
  const shared::PoolRanges pool{
      0, {{Ipv4Address{kFirstAddress}, Ipv4Address{kFirstAddress + addresses - 1}}}};
  Maps maps;
  maps.nat =
      NatAddressMap({&pool, 1}, workers, before == nullptr ? nullptr : &before->nat, classes);
  shared::ShardShares shares{};
  for (const auto& range : maps.nat.all()) ++shares[range.value.owner];
  maps.map = std::make_shared<const ShardMap>(
      shared::IntervalMap<std::uint16_t>({{0, 0xFFFFFFFF, 0}}), std::vector{shares},
      before == nullptr ? nullptr : before->map.get(), classes);
  return maps;
}

struct Packet {
  ShardId owner;
};

/// Packets that wait, by number alone: their owner is all that matters.
class Queue {
 public:
  explicit Queue(unsigned room) : packets_(room) {}
  [[nodiscard]] bool put(Packet packet) {
    if (count_ == packets_.size()) return false;
    packets_[(head_ + count_++) % packets_.size()] = packet;
    return true;
  }
  [[nodiscard]] bool take(Packet& packet) {
    if (count_ == 0) return false;
    packet = packets_[head_];
    head_ = (head_ + 1) % packets_.size();
    --count_;
    return true;
  }

 private:
  std::vector<Packet> packets_;
  std::size_t head_ = 0, count_ = 0;
};

struct Outcome {
  double handed = 0, fullest = 0, lost = 0;
};

/// The way of each subscriber's packets: the worker that they come to, and their owner.
struct Ways {
  std::vector<ShardId> inside, outside, owner;
};

class Simulation {
 public:
  Simulation(const Options& options, unsigned workers, unsigned bits)
      : options_(options), workers_(workers), by_flow_(bits == kBits), random_(options.seed) {
    for (unsigned w = 0; w < workers; ++w) {
      nic_.emplace_back(kDescriptors);
      nic_.emplace_back(kDescriptors);
    }
    for (unsigned i = 0; i < workers * workers; ++i) rings_.emplace_back(workers > 16 ? 512 : 2048);
    std::lognormal_distribution<double> rate(0, 1.5);
    for (std::uint32_t n = 0; n < options.subscribers; ++n) rates_.push_back(rate(random_));
  }

  Outcome run(const Ways& ways) {
    // A slice is what a worker does in 2,000 own packets' time.
    constexpr double kSlice = 2000 * kOwn;
    constexpr unsigned kSlices = 60;
    std::discrete_distribution<std::uint32_t> subscriber(rates_.begin(), rates_.end());
    std::uniform_int_distribution<unsigned> any_worker(0, workers_ - 1);
    std::vector<double> busy(workers_), left(workers_);
    std::uint64_t received = 0, handed = 0, lost = 0;
    // Arrivals of a slice come in steps, so that bursts do not all begin at once.
    constexpr unsigned kSteps = 50;
    const double per_step = options_.offered * workers_ * kSlice / kOwn / kSteps;
    for (unsigned slice = 0; slice < kSlices; ++slice) {
      for (unsigned step = 0; step < kSteps; ++step) {
        const unsigned arrivals = std::poisson_distribution<unsigned>(per_step)(random_);
        for (unsigned n = 0; n < arrivals; ++n) {
          const std::uint32_t s = subscriber(random_);
          const bool inbound = random_() % 11 < 7;
          const unsigned to = by_flow_  ? any_worker(random_)
                              : inbound ? ways.outside[s]
                                        : ways.inside[s];
          ++received;
          if (!nic_[2 * to + (inbound ? 1 : 0)].put({ways.owner[s]})) ++lost;
        }
        for (unsigned w = 0; w < workers_; ++w) {
          left[w] = std::min(left[w], 0.0) + kSlice / kSteps;
          busy[w] += work(w, left[w], handed, lost);
        }
      }
    }
    Outcome outcome;
    outcome.handed = static_cast<double>(handed) / static_cast<double>(received);
    outcome.lost = static_cast<double>(lost) / static_cast<double>(received);
    const double all = std::accumulate(busy.begin(), busy.end(), 0.0);
    outcome.fullest = *std::max_element(busy.begin(), busy.end()) * workers_ / all;
    return outcome;
  }

 private:
  /// Polls until the time is used up or there is nothing; the clocks that it took.
  double work(unsigned w, double& left, std::uint64_t& handed, std::uint64_t& lost) {
    double took = 0;
    bool found = true;
    while (found && left > 0) {
      found = false;
      const auto spend = [&](double clocks) {
        took += clocks;
        left -= clocks;
        found = true;
      };
      Packet packet{};
      for (unsigned side = 0; side < 2; ++side)
        for (unsigned n = 0; n < kBurstSize && nic_[2 * w + side].take(packet); ++n) {
          if (packet.owner == w) {
            spend(kOwn);
            continue;
          }
          spend(kHandOver);
          ++handed;
          if (!rings_[w * workers_ + packet.owner].put(packet)) ++lost;
        }
      for (unsigned from = 0; from < workers_; ++from)
        for (unsigned n = 0; n < kBurstSize && rings_[from * workers_ + w].take(packet); ++n)
          spend(kTakeOver);
    }
    return took;
  }

  const Options& options_;
  const unsigned workers_;
  const bool by_flow_;
  std::mt19937 random_;
  std::vector<double> rates_;
  std::vector<Queue> nic_;    ///< [2 * worker + side]
  std::vector<Queue> rings_;  ///< [from * workers + to]
};

/// Each subscriber's NAT address is one of its owner's, in turn.
Ways ways_of(const Options& options, const Maps& maps, unsigned workers,
             const AddressClasses& classes) {
  std::vector<std::vector<Ipv4Address>> addresses(workers);
  for (const auto& range : maps.nat.all())
    addresses[range.value.owner].push_back(Ipv4Address{range.first});
  std::vector<std::size_t> next(workers);
  Ways ways;
  for (std::uint32_t n = 0; n < options.subscribers; ++n) {
    const Ipv4Address subscriber{kFirstSubscriber + n};
    const ShardId owner = maps.map->owner_of({subscriber}, 0);
    const auto& own = addresses[owner];
    const Ipv4Address nat = own[next[owner]++ % own.size()];
    ways.owner.push_back(owner);
    ways.inside.push_back(maps.map->inside()->owner_of(classes.of(subscriber) * classes.unit()));
    ways.outside.push_back(maps.nat.table().owner_of(nat));
  }
  return ways;
}

/// Subscribers whose owner a reload changes.
double moved(const Options& options, const Maps& before, const Maps& after) {
  std::uint32_t count = 0;
  for (std::uint32_t n = 0; n < options.subscribers; ++n)
    count += before.map->owner_of({Ipv4Address{kFirstSubscriber + n}}, 0) !=
             after.map->owner_of({Ipv4Address{kFirstSubscriber + n}}, 0);
  return count / double(options.subscribers);
}

void run(const Options& options) {
  Table table(fmt::format("Simulated: {} subscribers, {:.0f} % of capacity offered",
                          options.subscribers, options.offered * 100),
              {"workers", "NAT addresses", "classes", "handed over %", "fullest worker x mean",
               "lost %", "moved by one address more %", "by twice as many %"});
  const auto percent = [](double part) { return fmt::format("{:.1f}", 100 * part); };
  for (const unsigned workers : {4U, 8U, 16U, 32U})
    for (const std::uint32_t addresses : {2U, 16U, 64U, 256U, 4096U})
      for (const unsigned bits : {kBits, 6U, 7U, 9U}) {
        const AddressClasses classes =
            bits == kBits ? shared::kFinestClasses : AddressClasses(bits);
        const Maps maps = maps_of(addresses, workers, classes);
        const Ways ways = ways_of(options, maps, workers, classes);
        const Outcome outcome = Simulation(options, workers, bits).run(ways);
        table.row({std::to_string(workers), std::to_string(addresses),
                   bits == kBits ? "by flow" : std::to_string(classes.count()),
                   percent(outcome.handed), fmt::format("{:.2f}", outcome.fullest),
                   percent(outcome.lost),
                   percent(moved(options, maps, maps_of(addresses + 1, workers, classes, &maps))),
                   percent(moved(options, maps, maps_of(addresses * 2, workers, classes, &maps)))});
      }
  fmt::print("own packet {:.0f} clocks, handing over {:.0f}, taking over {:.0f}, at {:.1f} GHz\n{}",
             kOwn, kHandOver, kTakeOver, kClock / 1e9, table.text());
}

}  // namespace
}  // namespace lsn::bench

int main(int argc, char** argv) {
  lsn::bench::Options options;
  CLI::App app("How packets reach their owners with many workers, simulated", "bench_steering");
  app.add_option("--subscribers", options.subscribers)->capture_default_str();
  app.add_option("--seed", options.seed)->capture_default_str();
  app.add_option("--offered", options.offered, "of what all workers could do")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  lsn::bench::run(options);
  return 0;
}
