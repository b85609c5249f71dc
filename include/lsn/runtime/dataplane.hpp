// The dataplane as the control thread holds it: ports, workers, and the rings between them.
//
// start() builds everything in order - ports, buffers, rings, workers with their shards - and
// returns with the workers polling, without a generation: the first publish() lets packets in.
// stop() takes it apart in the opposite order. Everything here runs on the control thread.
#pragma once

#include <rte_rcu_qsbr.h>

#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lsn/control/dataplane.hpp"
#include "lsn/datapath/capture_tap.hpp"
#include "lsn/datapath/l3/kernel_policer.hpp"
#include "lsn/runtime/buffers.hpp"
#include "lsn/runtime/clock.hpp"
#include "lsn/runtime/device_events.hpp"
#include "lsn/runtime/distribution_watch.hpp"
#include "lsn/runtime/handoff.hpp"
#include "lsn/runtime/kernel_carrier.hpp"
#include "lsn/runtime/kernel_routes.hpp"
#include "lsn/runtime/plan.hpp"
#include "lsn/runtime/port.hpp"
#include "lsn/runtime/port_keeper.hpp"
#include "lsn/runtime/publish.hpp"
#include "lsn/runtime/table_memory.hpp"
#include "lsn/runtime/worker.hpp"

namespace lsn::runtime {

class DpdkDataplane final : public control::Dataplane {
 public:
  /// EAL runs, with an lcore for each worker (lcore_of()). Error: one line.
  [[nodiscard]] static std::expected<std::unique_ptr<DpdkDataplane>, std::string> start(
      const Plan& plan, TableMemory::HugePages huge_pages);
  ~DpdkDataplane() override;
  DpdkDataplane(const DpdkDataplane&) = delete;
  DpdkDataplane& operator=(const DpdkDataplane&) = delete;

  [[nodiscard]] unsigned workers() const override;
  [[nodiscard]] control::WorkerStatus worker(unsigned shard) const override;
  [[nodiscard]] shared::AddressClasses address_classes() const override { return classes_; }
  [[nodiscard]] std::vector<shared::PortStatus> ports() override;
  [[nodiscard]] std::vector<std::optional<shared::KernelStatus>> kernel_interfaces() const override;
  [[nodiscard]] std::optional<shared::KernelRoutesStatus> kernel_routes() const override;
  [[nodiscard]] std::vector<shared::RouteRow> list_kernel_routes(
      const std::optional<shared::RouteRow>& after, std::size_t limit) const override;
  [[nodiscard]] std::optional<shared::RouteRow> find_kernel_route(
      const shared::InsideAddress& destination) const override;
  void publish(std::shared_ptr<const shared::Generation> generation,
               std::function<void(std::uint64_t ended)> done) override;
  void flush(unsigned shard, shared::SessionFlush flush,
             std::function<void(std::uint64_t flushed)> done) override;
  void flush_alg(unsigned shard, shared::AlgFlush flush,
                 std::function<void(shared::AlgFlush)> done) override;
  void ask(unsigned shard, Question question, std::function<void(Question)> done) override;
  [[nodiscard]] shared::EventRing& alg_events(unsigned shard) override;
  [[nodiscard]] shared::LogRing* log_records(unsigned shard) override;
  [[nodiscard]] std::chrono::steady_clock::time_point tick_zero() const override {
    return clock_.zero();
  }
  void restore(std::vector<shared::StateRecord> records,
               std::function<void(std::uint64_t restored)> done) override;
  [[nodiscard]] shared::StateRing& state_changes(unsigned shard) override;
  void start_capture(unsigned shard, std::shared_ptr<shared::CaptureRing> ring,
                     const shared::CaptureFilter& filter, std::function<void()> done) override;
  void stop_capture(unsigned shard, std::function<void()> done) override;
  void poll() override;

  /// Whether all workers have left their shards within the time.
  [[nodiscard]] bool stop_workers(std::chrono::milliseconds patience);

 private:
  explicit DpdkDataplane(Plan plan) : plan_(std::move(plan)) {}

  [[nodiscard]] std::expected<void, std::string> open_ports();
  [[nodiscard]] std::expected<void, std::string> start_ports();
  [[nodiscard]] std::expected<void, std::string> start_kernel();
  [[nodiscard]] std::expected<void, std::string> start_kernel_routes();
  [[nodiscard]] WorkerConfig worker_config(unsigned shard, TableMemory::HugePages huge_pages);
  void log_worker(unsigned shard) const;
  [[nodiscard]] std::expected<void, std::string> start_workers(TableMemory::HugePages huge_pages);
  void watch_ports(Clock::Source::time_point now);
  /// Once a second: whether devices distribute packets as they were told.
  void watch_distribution();
  /// Of all workers.
  [[nodiscard]] shared::DeviceCounters device_counters(std::size_t device) const;
  /// The addresses of a device's interfaces, on its links.
  void announce(std::uint16_t device);
  void resolve_gateways();

  Plan plan_;
  Clock clock_;
  std::vector<int> nodes_;                          ///< of each worker
  Buffers buffers_;                                 // outlives the packets in the ports' queues
  std::unique_ptr<DeviceMonitor> device_monitor_;   // outlives the ports
  std::vector<std::unique_ptr<PortKeeper>> ports_;  ///< by device
  std::vector<std::vector<unsigned>> pollers_;      ///< [device][queue]: worker
  shared::AddressClasses classes_;                  ///< that all devices distribute by
  std::vector<DistributionWatch> distribution_;     ///< by device
  HandoffRings handoff_;
  std::unique_ptr<datapath::KernelPolicer> kernel_policer_;
  std::unique_ptr<KernelCarrier> kernel_;  ///< nullptr: no interface has a kernel interface
  state::PageMemory route_memory_;
  std::unique_ptr<shared::Fib> fib_;  ///< nullptr: the kernel's routes are not asked for
  std::shared_ptr<rte_rcu_qsbr> quiescence_;
  std::vector<std::shared_ptr<datapath::CaptureTap>> taps_;  ///< by worker, which it may use
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<KernelRoutes> kernel_routes_;
  std::unique_ptr<Publisher> publisher_;
  std::shared_ptr<Restoration> restoration_;  ///< until the first generation is in force
  std::function<void(std::uint64_t)> restored_;
  std::chrono::steady_clock::time_point next_watch_{};
  std::chrono::steady_clock::time_point next_look_{};  ///< at the distribution
};

}  // namespace lsn::runtime
