// The control thread's way to ask a worker: commands go in, the same objects come back.
//
// A command is made on the control thread, posted, carried out by the worker in steps - one per
// poll, each small enough that no packet waits for it -, sent back, and ended by done() on the
// control thread, where it is destroyed as well: the worker neither allocates nor frees. Commands
// of one mailbox are carried out one after the other, in order. A ShardHandle is the control
// thread's end of a mailbox: it can post, it can collect answers, it can read counters; it has no
// way to the shard itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>

#include "lsn/datapath/shard.hpp"
#include "lsn/runtime/spsc_ring.hpp"

namespace lsn::runtime {

class Command {
 public:
  virtual ~Command() = default;

  enum class Progress : std::uint8_t { kMore, kFinished };

  /// On the worker, once per poll until it says kFinished.
  [[nodiscard]] virtual Progress step(datapath::Shard& shard) = 0;
  /// On the control thread, after the last step.
  virtual void done() = 0;
};

class Mailbox {
 public:
  Mailbox() = default;
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // ── control thread ────────────────────────────────────────────────────────────────────────────

  /// Never blocks and never refuses: commands that the ring cannot take wait here for the next
  /// collect().
  void post(std::unique_ptr<Command> command);
  /// Ends the commands that have come back; their number.
  std::size_t collect();
  /// Posted and not yet ended.
  [[nodiscard]] std::size_t outstanding() const { return outstanding_; }

  // ── worker ────────────────────────────────────────────────────────────────────────────────────

  /// At most one step of one command. False: there was nothing to do.
  bool work(datapath::Shard& shard);

 private:
  static constexpr std::size_t kSlots = 64;

  void send_waiting();

  SpscRing<Command*, kSlots> to_worker_;
  SpscRing<Command*, kSlots> to_control_;
  std::deque<std::unique_ptr<Command>> waiting_;  ///< control thread's
  std::size_t outstanding_ = 0;                   ///< control thread's

  alignas(64) Command* current_ = nullptr;  ///< worker's
  bool current_finished_ = false;           ///< worker's: only the way back is full
};

class ShardHandle {
 public:
  ShardHandle(Mailbox& mailbox, const shared::Counters& counters)
      : mailbox_(&mailbox), counters_(&counters) {}

  void post(std::unique_ptr<Command> command) { mailbox_->post(std::move(command)); }
  std::size_t collect() { return mailbox_->collect(); }
  [[nodiscard]] const shared::Counters& counters() const { return *counters_; }

 private:
  Mailbox* mailbox_;
  const shared::Counters* counters_;
};

}  // namespace lsn::runtime
