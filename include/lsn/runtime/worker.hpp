// A worker: one thread on one CPU that owns one shard and polls for it.
//
// A poll: read the clock; report a quiescent state; for each receive queue, take a burst, give it
// to the packet path, send the results; the same for the rings from the other workers; one step of
// one command; housekeeping. Nothing in it blocks. The shard is built by the worker itself, so that
// its tables are on the CPU's node, and lives until the control thread destroys the worker. Before
// the first generation has come, nothing is received.
#pragma once

#include <rte_rcu_qsbr.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "lsn/datapath/shard.hpp"
#include "lsn/runtime/clock.hpp"
#include "lsn/runtime/handoff.hpp"
#include "lsn/runtime/kernel_carrier.hpp"
#include "lsn/runtime/mailbox.hpp"
#include "lsn/runtime/port.hpp"
#include "lsn/runtime/table_memory.hpp"

namespace lsn::runtime {

struct WorkerConfig {
  datapath::ShardConfig shard;  ///< without `memory`
  unsigned lcore = 0;
  bool power_save = false;
  TableMemory::HugePages huge_pages = TableMemory::HugePages::kLeave;
  bool mappings = false;  ///< mappings will be as many as sessions
  std::vector<std::vector<shared::InterfaceId>>
      ingress;  ///< [device]: 4096 interface indices by VLAN

  /// A receive queue that it polls.
  struct Queue {
    std::uint16_t device;
    std::uint16_t queue;
  };
  std::vector<Queue> queues;
  std::vector<Port*> ports;  ///< by device
  const Clock* clock = nullptr;
  rte_rcu_qsbr* quiescence = nullptr;
  HandoffRings* handoff = nullptr;
  KernelCarrier* kernel = nullptr;  ///< nullptr: no interface has a kernel interface
};

class Worker {
 public:
  explicit Worker(WorkerConfig config);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // ── control thread ────────────────────────────────────────────────────────────────────────────

  /// Starts it on its lcore; returns when the shard is there, and logs progress if that takes long.
  /// Error: one line.
  [[nodiscard]] std::expected<void, std::string> start();
  /// Asks it to stop; does not wait.
  void ask_to_stop() { stop_.store(true, std::memory_order_relaxed); }
  /// Whether its thread has left the shard.
  [[nodiscard]] bool stopped() const {
    const State state = state_.load(std::memory_order_acquire);
    return state == State::kStopped || state == State::kIdle;
  }

  [[nodiscard]] Mailbox& mailbox() { return mailbox_; }
  [[nodiscard]] const shared::Counters& counters() const { return shard_->counters; }
  [[nodiscard]] const shared::AlgCounters& alg_counters() const { return shard_->alg.counters; }
  /// The worker puts, the control thread takes.
  [[nodiscard]] shared::EventRing& alg_events() { return shard_->alg.events; }
  [[nodiscard]] shared::StateRing& state_changes() { return shard_->alg.journal; }
  /// The worker writes, the log thread takes.
  [[nodiscard]] shared::LogRing& log_records() { return shard_->log; }
  [[nodiscard]] const shared::ShardCapacity& capacity() const { return capacity_; }
  /// Memory that every session takes, that every mapping takes, and the rest.
  [[nodiscard]] std::array<const TableMemory*, 3> memory() const {
    return {&session_memory_, &mapping_memory_, &memory_};
  }

 private:
  enum class State : std::uint8_t { kIdle, kBuilding, kRunning, kFailed, kStopped };

  static int entry(void* worker);
  void run();
  void build();
  void run_loop();
  /// Whether there was anything; `full` is set if there may be more.
  [[nodiscard]] bool poll_queues(datapath::Shard& shard, bool& full);
  [[nodiscard]] bool poll_rings(datapath::Shard& shard, bool& full);
  /// Compares a received frame's way with the one that its device was told (steering.hpp).
  void check_distribution(datapath::Shard& shard, std::uint16_t device, const rte_mbuf& frame);
  void send(datapath::Shard& shard);
  void flush_tx(datapath::Shard& shard, std::uint16_t device);
  void send_idle();
  void flush_handoffs(datapath::Shard& shard);
  void flush_kernel(datapath::Shard& shard);
  /// Takes back the packets that the kernel has got, and sends those that it sends.
  [[nodiscard]] bool poll_kernel(datapath::Shard& shard);
  void nap(std::uint32_t idle_polls);
  /// The shard, for code that runs on its worker: debug builds check that it does.
  [[nodiscard]] datapath::Shard& own_shard() const;

  WorkerConfig config_;
  GigaPages giga_pages_;  // outlives the pieces cut from them
  TableMemory session_memory_;
  TableMemory mapping_memory_;
  TableMemory memory_;
  Mailbox mailbox_;
  std::unique_ptr<datapath::Shard> shard_;
  shared::ShardCapacity capacity_;
  std::string error_;
  std::vector<Port::TxQueue> tx_queues_;     ///< by device
  std::uint32_t until_check_ = 0;            ///< packets
  std::vector<std::uint16_t> idle_senders_;  ///< devices, see Port::wants_idle_sends()

  std::atomic<State> state_{State::kIdle};
  alignas(64) std::atomic<bool> stop_{false};
};

}  // namespace lsn::runtime
