// One device: probed, configured, watched, and given back.
//
//   open()       plugs the device in (or finds it: PCI) and reads its capabilities
//   configure()  queues and offloads, with the classes that all devices distribute by
//   set_up()     queues' rings, MTU, hardware address, with the workers that will use them
//   start()      lets it run; the outcome stands in describe() and in status()
//   watch()      on the control thread, several times a second: link up, down, device gone
//
// Workers touch a port only while it serves. withdraw() ends that from any thread; when every
// worker has passed a quiescent state since, no worker is in the driver any more, and it may be
// stopped, closed and started again on a thread of its own (port_keeper.hpp).
//
// Receive queues are polled by the workers that deal_queues() names. Every worker may send on every
// port: on a queue of its own if there is one, else on a shared one under its lock, which is only
// ever tried (a worker that finds it taken keeps its packets until the next poll).
#pragma once

#include <rte_ethdev.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lsn/control/dataplane.hpp"
#include "lsn/runtime/buffers.hpp"
#include "lsn/runtime/device_events.hpp"
#include "lsn/runtime/plan.hpp"
#include "lsn/runtime/steering.hpp"
#include "lsn/shared/generation.hpp"

namespace lsn::runtime {

/// Taken for one burst by one of the workers that share a transmit queue.
class QueueLock {
 public:
  [[nodiscard]] bool try_lock() {
    return !taken_.load(std::memory_order_relaxed) &&
           !taken_.exchange(true, std::memory_order_acquire);
  }
  void unlock() { taken_.store(false, std::memory_order_release); }

 private:
  alignas(64) std::atomic<bool> taken_{false};
};

class Port {
 public:
  /// Error: one line that names interfaces and device.
  [[nodiscard]] static std::expected<std::unique_ptr<Port>, std::string> open(const PortPlan& plan,
                                                                              unsigned workers);
  /// Bits of the class that the device can distribute by, with more than one queue; 0: none.
  [[nodiscard]] unsigned class_bits() const;
  /// With the classes of all devices, before set_up().
  [[nodiscard]] std::expected<void, std::string> configure(const shared::AddressClasses& classes);
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  /// `poller_of[queue]`: the worker that polls it; `nodes`: of each worker.
  [[nodiscard]] std::expected<void, std::string> set_up(const std::vector<unsigned>& poller_of,
                                                        const std::vector<int>& nodes,
                                                        const Buffers& buffers);
  /// Once it has been set up.
  [[nodiscard]] std::expected<void, std::string> start();
  /// Withdrawn from the workers: stops it and starts it again. One whose device has disappeared is
  /// given back to DPDK and, once its device is there again, taken again as it was.
  [[nodiscard]] std::expected<void, std::string> restart();
  /// For good; no thread uses it any more.
  void stop();

  [[nodiscard]] std::uint16_t id() const { return id_; }
  [[nodiscard]] const PortPlan& plan() const { return plan_; }
  [[nodiscard]] PortQueues queues() const { return {rx_queues_, node_}; }
  [[nodiscard]] unsigned tx_queues() const { return tx_queues_; }
  [[nodiscard]] const wire::MacAddress& mac() const { return mac_; }

  /// Where a worker sends. `lock` is nullptr if the queue is the worker's own.
  struct TxQueue {
    std::uint16_t queue;
    QueueLock* lock;
  };
  [[nodiscard]] TxQueue tx_queue(unsigned worker);

  /// Any thread: whether workers may touch it.
  [[nodiscard]] bool serves() const { return serves_.load(std::memory_order_acquire); }
  /// Any thread: whether frames can be sent at present; it serves, then.
  [[nodiscard]] bool carries() const { return carries_.load(std::memory_order_acquire); }
  /// Any thread: workers skip it from their next poll on.
  void withdraw() {
    carries_.store(false, std::memory_order_relaxed);
    serves_.store(false, std::memory_order_release);
  }
  /// The device runs, its link is up.
  void serve() {
    serves_.store(true, std::memory_order_release);
    carries_.store(true, std::memory_order_release);
  }

  /// The other end of the link is a process that may end and begin again (memif).
  [[nodiscard]] bool has_peer() const { return has_peer_; }
  /// Any thread: the peer has ended, or has refused; no thread may touch the link.
  void peer_ended() {
    withdraw();
    peer_ended_.store(true, std::memory_order_relaxed);
  }
  /// It has lost its peer and looks for one only when it is started, or its device has disappeared.
  [[nodiscard]] bool wants_restart() const {
    return removed() || (seeks_peer_ && peer_ended_.load(std::memory_order_relaxed));
  }
  /// Its peer reads and writes lsnd's packet buffers themselves (memif with zero-copy).
  [[nodiscard]] bool lends_buffers() const { return lends_buffers_; }
  /// It looks for its peer when it is started.
  [[nodiscard]] bool seeks_peer() const { return seeks_peer_; }

  /// Any thread: the device has disappeared; no thread may touch it.
  [[nodiscard]] bool removed() const { return removed_.load(std::memory_order_relaxed); }
  /// The driver takes packets of several segments.
  [[nodiscard]] bool takes_segments() const { return takes_segments_; }
  /// The driver must be called several times a second also if there is nothing to send (LACP of a
  /// bonded device).
  [[nodiscard]] bool wants_idle_sends() const { return idle_sends_; }

  /// The driver passes on buffers that it got from another core without reading them.
  [[nodiscard]] bool leaves_buffers_cold() const { return leaves_buffers_cold_; }

  enum class Event : std::uint8_t { kNone, kUp, kDown, kRemoved };
  /// Control thread: looks at the link and the device.
  [[nodiscard]] Event watch();

  /// Any thread: the address by which the device distributes packets to their owners, if it does.
  [[nodiscard]] std::optional<shared::HashedAddress> distributes_by() const {
    return steering_.by();
  }
  /// Any thread: the time in which the link fills a receive queue with the smallest frames; 0: not
  /// known, or not a NIC.
  [[nodiscard]] std::chrono::nanoseconds fill_time() const {
    return std::chrono::nanoseconds(fill_ns_.load(std::memory_order_relaxed));
  }
  /// Whether a worker polls one of its queues.
  [[nodiscard]] bool is_polled_by(unsigned worker) const {
    return std::find(poller_of_.begin(), poller_of_.end(), worker) != poller_of_.end();
  }
  /// The owners of a generation; on the thread that starts and stops the port.
  void steer(const shared::Generation& generation);
  /// Not by owners any more, on the same thread.
  void leave_alone();

  /// `is_touchable`: no thread is about to stop or to start it.
  [[nodiscard]] shared::PortStatus status(bool is_touchable);
  /// One line for the log.
  [[nodiscard]] std::string describe() const;
  /// "interface a, b: device "..."", for messages.
  [[nodiscard]] std::string label() const;

 private:
  explicit Port(PortPlan plan) : plan_(std::move(plan)) {}

  [[nodiscard]] std::string_view offering_driver() const;
  [[nodiscard]] std::string steering() const;
  void tell_steering();
  void stop_device();
  [[nodiscard]] std::expected<void, std::string> plug_in();
  /// What the device offers. A bond takes its members only when it is configured for the first
  /// time.
  [[nodiscard]] std::expected<void, std::string> read_offers();
  void settle_mtu();
  void settle_mac();
  void settle_groups();
  void tell_vlans();
  void settle_flow_control();
  [[nodiscard]] bool is_gone() const;
  void unplug();
  void give_back();
  /// Whether a device that has disappeared can be asked for again.
  [[nodiscard]] bool has_returned() const;

  PortPlan plan_;
  std::uint16_t id_ = RTE_MAX_ETHPORTS;
  std::vector<std::string> plugged_;  ///< vdevs to be taken out again, in the order they came
  rte_eth_dev_info info_{};
  std::string driver_;
  int node_ = -1;
  unsigned workers_ = 1;
  unsigned rx_queues_ = 1;
  unsigned tx_queues_ = 1;
  wire::MacAddress mac_{};
  bool takes_segments_ = false;
  bool idle_sends_ = false;
  bool leaves_buffers_cold_ = false;
  bool has_peer_ = false;
  bool seeks_peer_ = false;
  bool lends_buffers_ = false;
  bool started_ = false;
  bool is_known_ = false;  ///< queues and hardware address are the workers' and stay as they are
  bool is_up_ = false;     ///< as the control thread has told it
  std::uint32_t speed_mbps_ = 0;
  std::atomic<std::uint32_t> fill_ns_{0};
  std::uint16_t rx_descriptors_ = 0;  ///< that a queue got
  rte_eth_stats stats_{};             ///< when they were last read
  std::vector<QueueLock> locks_;      ///< by transmit queue; empty: every worker has its own
  std::vector<unsigned> poller_of_;   ///< by receive queue
  std::vector<std::uint16_t> vlan_filter_;
  std::vector<int> nodes_;  ///< of the workers
  const Buffers* buffers_ = nullptr;
  shared::AddressClasses classes_;
  Steering steering_;
  mutable std::mutex steering_mutex_;  ///< of both texts
  std::string steering_text_;          ///< the port's steering
  std::string flow_control_;           ///< as the driver tells it

  std::atomic<bool> serves_{false};
  std::atomic<bool> carries_{false};
  std::atomic<bool> peer_ended_{false};
  std::atomic<bool> removed_{false};
  std::atomic<bool> removal_seen_{false};  ///< DPDK has said so, on its own thread
  std::unique_ptr<RemovalWatch> removal_watch_;
};

}  // namespace lsn::runtime
