// The log thread: takes the records out of the workers' rings and gives them to the sinks.
//
// A thread of its own, on the control thread's CPUs. Its round: from each worker up to a few
// thousand records, with UTC and whole numbers; the records of the control side (CONFIG, ALERT);
// LOST, where a ring has lost any; all of it as one batch to every sink (sink.hpp). It waits for
// nobody and sleeps 5 ms when the rings are empty. What it has taken is a batch; what a sink does
// with it is the sink's matter.
//
// The control thread tells it the names and the sinks of a new configuration (configure()): a sink
// whose settings have not changed goes on as it is, one that is gone writes what it has and ends.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "lsn/control/config/model.hpp"
#include "lsn/control/dataplane.hpp"
#include "lsn/control/records/alert_book.hpp"
#include "lsn/control/records/record.hpp"
#include "lsn/control/records/records_status.hpp"
#include "lsn/control/records/sink.hpp"
#include "lsn/control/records/utc_clock.hpp"
#include "lsn/shared/counters.hpp"
#include "lsn/wire/ipv4_address.hpp"

namespace lsn::control {

class LogThread {
 public:
  /// Of a worker's records in a round.
  static constexpr std::size_t kBatch = 8192;
  static constexpr std::chrono::milliseconds kPause{5};
  /// For the sinks at the end.
  static constexpr std::chrono::milliseconds kPatience{2000};

  /// On the control thread, as all but the status. The dataplane outlives it.
  LogThread(Dataplane& dataplane, const Model& model, const shared::Generation& generation);
  /// Writes what is there.
  ~LogThread();
  LogThread(const LogThread&) = delete;
  LogThread& operator=(const LogThread&) = delete;

  /// A configuration is in force.
  void configure(const Model& model, const shared::Generation& generation);
  /// A record of the control side: its time and number are set here.
  void add(const Record& record, std::string words);
  /// ALERT: it holds from now on, or no longer.
  void set_alert(const AlertSubject& subject, bool raised);
  /// ALERT: it has happened so often.
  void note_alert(const AlertSubject& subject, std::uint64_t times);
  /// CONFIG with these words.
  void add_config(shared::LogEvent event, std::string words);

  /// Any thread.
  [[nodiscard]] RecordsStatus status() const;

 private:
  using Runner = std::shared_ptr<SinkRunner>;
  struct Sink {
    std::string name;
    std::string settings;  ///< all of them, as text: whether they have changed
    Runner runner;
    bool begins = false;  ///< a reload has added it: it has not been told so yet
  };
  struct Ring {
    shared::LogRing* ring;
    shared::ByLogKind<std::uint64_t> next{};       ///< whole number of the next record
    shared::ByLogKind<std::uint64_t> lost_told{};  ///< of ring->lost()
    std::int64_t latest_ms = 0;                    ///< of its records; times do not go back
    std::int64_t sound_ms = 0;                     ///< nothing was lost until then
  };
  struct Added {
    Record record;
    std::string words;
  };
  struct Alerted {
    AlertSubject subject;
    std::uint64_t times;  ///< 0: `raised` counts
    bool raised;
  };

  /// Whether there are sinks that were not before.
  enum class NewSinks : std::uint8_t { kNone, kSome };
  [[nodiscard]] NewSinks set_sinks(const Model& model);
  /// CONFIG records of what has changed; a new sink has not seen those of the rest.
  void note_changes(const Model& model, NewSinks sinks);
  /// CONFIG of the addresses that no group had until now.
  void note_new_addresses(const Model& model);
  void run();
  /// Whether a round takes what the workers have written.
  enum class Rings : std::uint8_t { kTaken, kLeft };
  /// The records taken.
  std::size_t round(Rings rings);
  std::size_t take(std::uint8_t worker, RecordBatch& batch);
  void take_added(RecordBatch& batch, std::vector<Added> added);
  void take_alerts(RecordBatch& batch, const std::vector<Alerted>& alerted);
  /// Tells sinks that what was before them is in none of their records.
  void tell_begin(const std::vector<Runner>& sinks);
  void look_at_clock();
  [[nodiscard]] std::int64_t time_of(state::Ticks tick) const;

  mutable std::mutex mutex_;
  std::condition_variable woken_;
  std::vector<Sink> sinks_;      // the following under mutex_
  std::vector<Runner> leaving_;  ///< the log thread ends them: it gives them nothing afterwards
  std::shared_ptr<const RecordNames> names_;
  std::vector<Added> added_;
  std::vector<Alerted> alerted_;
  std::vector<AlertBook::Status> alert_status_;
  bool ending_ = false;
  /// By a subject, what CONFIG records say of it; the control thread's.
  std::map<std::string, std::string> described_;
  std::vector<wire::Ipv4Range> translated_;  ///< NAT addresses of all groups; likewise

  // The thread's own.
  std::vector<Ring> rings_;
  UtcClock clock_;
  AlertBook alerts_;
  std::chrono::steady_clock::time_point now_{};  ///< of the round
  const std::chrono::steady_clock::time_point tick_zero_;
  shared::ByLogKind<std::uint64_t> own_next_{};

  shared::ByLogKind<shared::Counter> taken_{};
  std::thread thread_;  // the last: it uses the others
};

}  // namespace lsn::control
