// Where records go, and what stands between the log thread and it.
//
//   log thread ─ give() ─► SinkQueue, so many records at most ─► a thread of the sink's own ─
//   write() ─► RecordSink
//
// A sink may stall: a full disk, a server that is gone. Its thread then keeps the batch that it has
// and tries again; its queue fills, and what does not fit any more is lost to this sink alone, and
// counted. As soon as the queue has room again a LOST record stands in the stream where the lost
// ones would be. To add a kind of sink: implement RecordSink, and make it in wanted_sinks()
// (log_thread.cpp).
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <variant>

#include "lsn/control/records/record.hpp"

namespace lsn::control {

/// All functions are called on the sink's own thread, one at a time.
class RecordSink {
 public:
  RecordSink() = default;
  RecordSink(const RecordSink&) = delete;
  RecordSink& operator=(const RecordSink&) = delete;
  virtual ~RecordSink() = default;

  /// Takes the records of a batch from the one with that index on. Returns the index of the first
  /// one that it has not taken: less than their number if it cannot now; it is asked again later,
  /// from there.
  [[nodiscard]] virtual std::size_t write(const RecordBatch& batch, std::size_t from) = 0;
  /// Of the records taken so far, those that it does not write: they are no matter of its.
  [[nodiscard]] virtual std::uint64_t passed_over() const { return 0; }
  /// At least once a second, also when there are no records. `now_ms`: UTC.
  virtual void tick(std::int64_t /*now_ms*/) {}
  /// The last call: nothing comes any more.
  virtual void finish() {}
};

/// What `stat records` says of a sink.
struct SinkStatus {
  std::string name;           ///< "file /var/log/lsnd/records"
  std::uint64_t written = 0;  ///< records, without what the sink does not export
  std::uint64_t lost = 0;     ///< records that its queue had no room for
  std::uint64_t waiting = 0;  ///< records in its queue
  bool stalled = false;       ///< it does not take what it is given
};

class SinkRunner {
 public:
  /// Records in the queue: at 1 M per second a quarter of a second, 45 MB.
  static constexpr std::size_t kQueue = 262'144;
  /// Before a sink that could not take a batch is asked again.
  static constexpr std::chrono::milliseconds kRetry{200};

  /// `after`: its thread waits until that one's sink is finished: both may be of one file.
  SinkRunner(std::string name, std::unique_ptr<RecordSink> sink,
             std::shared_ptr<SinkRunner> after = nullptr, std::size_t queue = kQueue);
  /// Waits for nothing: a thread that hangs in its sink ends when that comes back.
  ~SinkRunner();
  SinkRunner(const SinkRunner&) = delete;
  SinkRunner& operator=(const SinkRunner&) = delete;

  /// By the log thread; never waits for the sink.
  void give(std::shared_ptr<const RecordBatch> batch);
  /// Nothing comes any more: what waits is written, then the sink is finished.
  void end();
  /// After end(): whether the sink is finished, within the time.
  [[nodiscard]] bool wait(std::chrono::milliseconds patience);

  [[nodiscard]] SinkStatus status() const;

 private:
  struct Shared;
  static void run(Shared& shared);

  std::shared_ptr<Shared> shared_;
};

}  // namespace lsn::control
