#include "lsn/control/records/sink.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "lsn/control/quiet_thread.hpp"

namespace lsn::control {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kTickInterval{250};

std::int64_t utc_now_ms() {
  return std::chrono::floor<milliseconds>(std::chrono::system_clock::now())
      .time_since_epoch()
      .count();
}

}  // namespace

/// The queue and its state, held by the runner and by its thread, which may outlive it.
struct SinkRunner::Shared {
  Shared(std::string called, std::unique_ptr<RecordSink> to, std::size_t room)
      : name(std::move(called)), sink(std::move(to)), most(room) {}

  /// The next batch, or the LOST record of what had no room; nullptr: none is there.
  [[nodiscard]] std::shared_ptr<const RecordBatch> next();

  const std::string name;
  const std::unique_ptr<RecordSink> sink;  ///< the thread's
  const std::size_t most;

  struct Waiting {
    Loss before;  ///< lost in front of it
    std::shared_ptr<const RecordBatch> batch;
  };

  mutable std::mutex mutex;
  std::condition_variable changed;
  std::deque<Waiting> queue;
  std::size_t records = 0;  ///< in it, and in the thread's hands
  Loss loss;                ///< since the last batch that had room
  std::shared_ptr<const RecordNames> names;
  std::uint64_t losses = 0;  ///< LOST records
  std::uint64_t lost = 0;
  bool ending = false;
  bool finished = false;

  std::atomic<std::uint64_t> written{0};
  std::atomic<bool> stalled{false};
};

SinkRunner::SinkRunner(std::string name, std::unique_ptr<RecordSink> sink,
                       std::shared_ptr<SinkRunner> after, std::size_t queue)
    : shared_(std::make_shared<Shared>(std::move(name), std::move(sink), queue)) {
  quiet_thread([shared = shared_, before = std::move(after)]() mutable {
    while (before != nullptr && !before->wait(kRetry)) continue;
    before.reset();
    run(*shared);
  }).detach();
}

SinkRunner::~SinkRunner() {
  end();
}

void SinkRunner::give(std::shared_ptr<const RecordBatch> batch) {
  if (batch->records.empty()) return;
  const std::lock_guard lock(shared_->mutex);
  Shared& s = *shared_;
  const std::size_t count = batch->records.size();
  s.names = batch->names;
  if (s.records != 0 && s.records + count > s.most) {
    for (const Record& record : batch->records) {
      // What a ring has lost is now in no record of this sink either.
      const bool tells = record.is(shared::LogKind::kLost);
      s.loss.add(tells ? record.raw.totals.count : 1, tells ? record.from_ms : record.at_ms,
                 record.at_ms);
    }
    s.lost += count;
    return;
  }
  s.records += count;
  s.queue.push_back({std::exchange(s.loss, {}), std::move(batch)});
  s.changed.notify_one();
}

void SinkRunner::end() {
  const std::lock_guard lock(shared_->mutex);
  shared_->ending = true;
  shared_->changed.notify_all();
}

bool SinkRunner::wait(milliseconds patience) {
  std::unique_lock lock(shared_->mutex);
  return shared_->changed.wait_for(lock, patience, [this] { return shared_->finished; });
}

SinkStatus SinkRunner::status() const {
  const std::lock_guard lock(shared_->mutex);
  return {shared_->name, shared_->written.load(std::memory_order_relaxed), shared_->lost,
          shared_->records, shared_->stalled.load(std::memory_order_relaxed)};
}

std::shared_ptr<const RecordBatch> SinkRunner::Shared::next() {
  const std::lock_guard lock(mutex);
  Loss* const gap = !queue.empty() && queue.front().before.records != 0 ? &queue.front().before
                    : queue.empty() && loss.records != 0                ? &loss
                                                                        : nullptr;
  if (gap != nullptr) {
    auto told = std::make_shared<RecordBatch>();
    told->names = names;
    told->records.push_back(
        lost_record(std::exchange(*gap, {}), kNoWorker, shared::LogKind::kLost, losses++));
    ++records;
    return told;
  }
  if (queue.empty()) return nullptr;
  auto batch = std::move(queue.front().batch);
  queue.pop_front();
  return batch;
}

void SinkRunner::run(Shared& s) {
  std::shared_ptr<const RecordBatch> batch;
  std::size_t taken = 0;
  std::uint64_t passed_before = 0;
  for (;;) {
    if (batch == nullptr) {
      batch = s.next();
      taken = 0;
    }
    if (batch != nullptr) {
      const std::size_t before = taken;
      taken = s.sink->write(*batch, taken);
      const std::uint64_t passed_over = s.sink->passed_over();
      s.written.fetch_add(
          taken - before - (passed_over - std::exchange(passed_before, passed_over)),
          std::memory_order_relaxed);
      const bool all = taken == batch->records.size();
      if (s.stalled.exchange(!all, std::memory_order_relaxed) == all)
        all ? spdlog::info("records: {} takes records again", s.name)
            : spdlog::error("records: {} does not take records: they wait, up to {}", s.name,
                            s.most);
      if (all) {
        const std::lock_guard lock(s.mutex);
        s.records -= batch->records.size();
        batch = nullptr;
        taken = 0;
      }
    }
    s.sink->tick(utc_now_ms());
    std::unique_lock lock(s.mutex);
    // A sink that does not take the last ones would keep the thread forever.
    if (s.ending && (batch != nullptr || (s.queue.empty() && s.loss.records == 0))) break;
    if (batch != nullptr)
      s.changed.wait_for(lock, kRetry, [&s] { return s.ending; });
    else if (s.queue.empty() && s.loss.records == 0)
      s.changed.wait_for(lock, kTickInterval, [&s] { return s.ending || !s.queue.empty(); });
  }
  s.sink->finish();
  const std::lock_guard lock(s.mutex);
  if (const std::uint64_t left = s.records - taken; left + s.lost != 0)
    spdlog::error(
        "records: {} ends and lacks {} records: {} that waited until now, {} for which its queue "
        "had no room",
        s.name, left + s.lost, left, s.lost);
  s.finished = true;
  s.changed.notify_all();
}

}  // namespace lsn::control
