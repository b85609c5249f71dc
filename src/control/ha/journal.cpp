#include "lsn/control/ha/journal.hpp"

#include <spdlog/spdlog.h>

#include <expected>
#include <filesystem>
#include <memory>
#include <mutex>
#include <utility>

namespace lsn::control {
namespace {

constexpr std::chrono::milliseconds kAppendInterval{200};
constexpr std::chrono::minutes kWalkInterval{5};
constexpr std::chrono::seconds kRetryInterval{10};
constexpr std::uint32_t kPage = 1024;
/// The file may have as many appended records as it has others, and these.
constexpr std::uint64_t kSlack = 4096;
/// Changes that wait for a walk's end at most; more: the walk begins again.
constexpr std::size_t kMostChanges = 1u << 20;
/// The writer's queue at most; more waits here.
constexpr std::size_t kMostWrites = 16;
/// For the disk, at the end.
constexpr std::chrono::milliseconds kEndPatience{1000};

std::uint64_t wall_clock() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(
                                        std::chrono::system_clock::now().time_since_epoch())
                                        .count());
}

}  // namespace

/// The file and its outcome. Its functions run on the writer's thread.
struct Journal::File {
  explicit File(std::string path) : writer(std::move(path)) {}

  using Result = std::expected<void, std::string>;

  void append(const std::vector<shared::StateRecord>& records) {
    note(writer.append(records, wall_clock()), false);
  }
  void begin() {
    is_walk_broken = false;
    note(writer.begin(), true);
  }
  void add(const std::vector<shared::StateRecord>& records) {
    if (!is_walk_broken) note(writer.add(records, wall_clock()), true);
  }
  void commit() {
    if (is_walk_broken) return;
    note(writer.commit(), true);
    if (is_walk_broken) return;
    const std::lock_guard lock(mutex);
    is_committed = true;
    error.clear();  // changes not appended to the former file are in this one
  }
  void abandon() {
    if (!is_walk_broken) writer.abandon();
  }

  void note(const Result& result, bool of_walk) {
    if (result) return;
    if (of_walk) {
      is_walk_broken = true;
      writer.abandon();
    }
    const std::lock_guard lock(mutex);
    if (error.empty()) error = result.error();
    has_walk_failed |= of_walk;
  }

  StateFileWriter writer;
  bool is_walk_broken = false;

  std::mutex mutex;  // the members below are for the control thread
  std::string error;
  bool has_walk_failed = false;
  bool is_committed = false;
};

Journal::Journal(std::string path, Dataplane& dataplane)
    : path_(std::move(path)),
      dataplane_(dataplane),
      file_(std::make_shared<File>(path_)),
      lost_(dataplane.workers()),
      self_(std::make_shared<Journal*>(this)) {
  if (!path_.empty()) writer_ = std::make_unique<Errands>();
}

Journal::~Journal() {
  if (path_.empty()) return;
  take_changes();
  append();
  if (walking_) writer_->give([file = file_] { file->abandon(); });
  if (writer_->finish(kEndPatience)) {
    take_outcome({});
    return;
  }
  spdlog::error("state file {}: the disk stands still; the latest changes are lost", path_);
  // Its thread does not come back. It ends with the process.
  static_cast<void>(writer_.release());
}

void Journal::restore(const Look& look) {
  if (path_.empty()) return;
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path_).parent_path(), error);
  auto stored = read_state_file(path_, wall_clock());
  if (!stored) {
    spdlog::error("{}; starting without it", stored.error());
    return;
  }
  if (stored->damaged != 0)
    spdlog::error("state file {}: {} damaged record{}, left out", path_, stored->damaged,
                  stored->damaged == 1 ? "" : "s");
  if (stored->records.empty()) return;
  if (look) look(stored->records);
  const std::size_t count = stored->records.size();
  dataplane_.restore(std::move(stored->records), [path = path_, count](std::uint64_t restored) {
    spdlog::info("state file {}: {} of {} records restored", path, restored, count);
    if (restored < count)
      spdlog::warn(
          "state file {}: {} records do not hold any more: too old, or of another configuration",
          path, count - restored);
  });
}

void Journal::take_outcome(Time now) {
  const std::lock_guard lock(file_->mutex);
  if (file_->is_committed && std::exchange(has_told_, false))
    spdlog::info("state file {}: can be written again", path_);
  if (!file_->error.empty()) {
    // Further errors do not put off the walk that may repair the file.
    if (!has_told_ || file_->has_walk_failed) next_walk_ = now + kRetryInterval;
    if (!std::exchange(has_told_, true))
      spdlog::error("{}; a restart will lose IPsec sessions", file_->error);
    if (file_->has_walk_failed) walking_ = false;
  }
  file_->error.clear();
  file_->has_walk_failed = file_->is_committed = false;
}

bool Journal::is_busy() const {
  return writer_->outstanding() >= kMostWrites;
}

void Journal::take_changes() {
  shared::StateRecord record;
  for (unsigned shard = 0; shard < lost_.size(); ++shard)
    while (changes_.size() < kMostChanges && dataplane_.state_changes(shard).take(record))
      changes_.push_back(record);
}

void Journal::tick(Time now) {
  if (path_.empty()) return;
  take_outcome(now);
  take_changes();
  if (is_busy()) return;
  if (now >= next_append_) {
    next_append_ = now + kAppendInterval;
    append();
  }
  if (walking_) {
    if (next_page_ != nullptr) ask(*std::exchange(next_page_, nullptr));
    return;
  }
  bool incomplete = in_file_ == 0 || appended_ > in_file_ + kSlack;
  for (unsigned shard = 0; shard < lost_.size(); ++shard)
    incomplete |= dataplane_.state_changes(shard).lost() != lost_[shard];
  if (now >= next_walk_ || (incomplete && !has_told_)) {
    next_walk_ = now + std::chrono::seconds{kWalkInterval};
    begin_walk();
  }
}

void Journal::append() {
  if (changes_.empty()) return;
  appended_ += changes_.size();
  if (walking_) since_walk_.insert(since_walk_.end(), changes_.begin(), changes_.end());
  writer_->give([file = file_, records = std::exchange(changes_, {})] { file->append(records); });
}

void Journal::begin_walk() {
  for (unsigned shard = 0; shard < lost_.size(); ++shard)
    lost_[shard] = dataplane_.state_changes(shard).lost();
  since_walk_.clear();
  next_page_.reset();
  walked_ = 1;
  shard_ = 0;
  ++walk_;
  walking_ = true;
  writer_->give([file = file_] { file->begin(); });
  ask({});
}

void Journal::ask(shared::StatePage page) {
  page.limit = kPage;
  dataplane_.ask_for<shared::StatePage>(
      shard_, std::move(page), [self = std::weak_ptr(self_), walk = walk_](shared::StatePage got) {
        const auto alive = self.lock();
        if (alive && (*alive)->walking_ && (*alive)->walk_ == walk)
          (*alive)->take_page(std::move(got));
      });
}

void Journal::take_page(shared::StatePage page) {
  walked_ += page.rows.size();
  writer_->give([file = file_, rows = std::exchange(page.rows, {})] { file->add(rows); });
  if (page.finished) {
    if (++shard_ == lost_.size()) return finish_walk();
    page = {};
  }
  if (is_busy())
    next_page_ = std::make_unique<shared::StatePage>(std::move(page));
  else
    ask(std::move(page));
}

void Journal::finish_walk() {
  walking_ = false;
  // Changes meanwhile stand behind the walk's records: they are as new, or newer.
  appended_ = since_walk_.size();
  in_file_ = walked_;
  writer_->give([file = file_, records = std::exchange(since_walk_, {})] {
    file->add(records);
    file->commit();
  });
}

}  // namespace lsn::control
