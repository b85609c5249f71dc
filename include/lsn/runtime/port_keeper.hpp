// The states of a port while workers run: withdrawn from them, stopped, started, given back.
//
//   kServing   workers may be in its driver; watch() looks at link and device
//   kLeaving   it serves no more. A worker may still be in the driver, until each has passed a
//              quiescent state since: a token of rte_rcu_qsbr, polled, never waited for
//   kAway      no worker is in the driver. The keeper's own thread stops the device and starts it
//              again, as often as it takes; then the port serves as before
//   kGone      the device has disappeared
//
// The port itself asks for that: a link that is taken up only by a start (a memif's client) has
// lost its peer, or its device has been removed. The other slow work of a device, its table,
// is done on the same thread, one thing after the other.
#pragma once

#include <rte_rcu_qsbr.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <mutex>
#include <string>

#include "lsn/control/dataplane.hpp"
#include "lsn/control/errands.hpp"
#include "lsn/runtime/port.hpp"
#include "lsn/shared/generation.hpp"

namespace lsn::runtime {

class PortKeeper {
 public:
  using Time = std::chrono::steady_clock::time_point;

  explicit PortKeeper(std::unique_ptr<Port> port) : port_(std::move(port)) {}

  [[nodiscard]] Port& port() { return *port_; }
  [[nodiscard]] const Port& port() const { return *port_; }

  // ── control thread ────────────────────────────────────────────────────────────────────────────

  /// Starts the port. One that looks for its peer is started by poll(), as often as it takes: an
  /// error is not reported here.
  [[nodiscard]] std::expected<void, std::string> start();

  /// The workers, from now on.
  void set_workers(std::shared_ptr<rte_rcu_qsbr> quiescence) {
    quiescence_ = std::move(quiescence);
  }

  /// Looks at the port and takes its next step if it can.
  [[nodiscard]] Port::Event poll(Time now);

  /// Takes the port from the workers until it has been stopped and started again.
  void withdraw();

  /// Rules for a new generation, as soon as they can be had.
  void steer(std::shared_ptr<const shared::Generation> generation);

  /// The device distributes packets by flow from now on, on the thread of its errands.
  void leave_alone();
  [[nodiscard]] shared::PortStatus status();

  /// Workers have ended. False: the driver holds up the keeper's thread.
  [[nodiscard]] bool stop(std::chrono::milliseconds patience);

 private:
  enum class Stage : std::uint8_t { kServing, kLeaving, kAway };

  void try_again();
  void tell(const std::string& text);

  std::unique_ptr<Port> port_;
  std::shared_ptr<rte_rcu_qsbr> quiescence_;
  std::shared_ptr<const shared::Generation> generation_;  ///< that steers
  Stage stage_ = Stage::kServing;
  std::uint64_t token_ = 0;
  Time next_try_{};
  bool has_lost_device_ = false;
  std::string told_;  ///< the last message logged

  enum class Attempt : std::uint8_t { kNone, kUnderWay, kWorked, kFailed };
  std::atomic<Attempt> attempt_{Attempt::kNone};
  std::string failure_;  ///< written before kFailed, read after it

  control::Errands errands_;  // the last: its errands use the others
};

}  // namespace lsn::runtime
