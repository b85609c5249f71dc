#include "lsn/control/ha/journal.hpp"

#include <spdlog/spdlog.h>

#include <filesystem>
#include <memory>
#include <utility>

namespace lsn::control {
namespace {

constexpr std::chrono::milliseconds kAppendInterval{200};
constexpr std::chrono::minutes kWalkInterval{5};
constexpr std::chrono::seconds kRetryInterval{10};
constexpr std::uint32_t kPage = 1024;
/// The file may have as many appended records as it has others, and these.
constexpr std::uint64_t kSlack = 4096;
/// Changes that wait for a walk's end at most; more: the walk begins anew.
constexpr std::size_t kMostChanges = 1u << 20;

std::uint64_t wall_clock() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(
                                        std::chrono::system_clock::now().time_since_epoch())
                                        .count());
}

}  // namespace

Journal::Journal(std::string path, Dataplane& dataplane)
    : path_(std::move(path)),
      dataplane_(dataplane),
      file_(path_),
      lost_(dataplane.workers()),
      self_(std::make_shared<Journal*>(this)) {}

Journal::~Journal() {
  if (path_.empty()) return;
  take_changes();
  static_cast<void>(worked(file_.append(changes_, wall_clock())));
  if (walking_) file_.abandon();
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

bool Journal::worked(const std::expected<void, std::string>& result) {
  if (result) return true;
  if (!has_told_) spdlog::error("{}; a restart will lose IPsec sessions", result.error());
  has_told_ = true;
  return false;
}

void Journal::take_changes() {
  datapath::StateRecord record;
  for (unsigned shard = 0; shard < lost_.size(); ++shard)
    while (changes_.size() < kMostChanges && dataplane_.state_changes(shard).take(record))
      changes_.push_back(record);
}

void Journal::tick(Time now) {
  if (path_.empty()) return;
  take_changes();
  if (now >= next_append_) {
    next_append_ = now + kAppendInterval;
    append(now);
  }
  if (walking_) return;
  bool incomplete = in_file_ == 0 || appended_ > in_file_ + kSlack;
  for (unsigned shard = 0; shard < lost_.size(); ++shard)
    incomplete |= dataplane_.state_changes(shard).lost() != lost_[shard];
  if (now >= next_walk_ || (incomplete && !has_told_)) {
    next_walk_ = now + (begin_walk() ? std::chrono::seconds{kWalkInterval} : kRetryInterval);
  }
}

void Journal::append(Time now) {
  appended_ += changes_.size();
  if (!worked(file_.append(changes_, wall_clock()))) next_walk_ = now + kRetryInterval;
  if (walking_) since_walk_.insert(since_walk_.end(), changes_.begin(), changes_.end());
  changes_.clear();
}

bool Journal::begin_walk() {
  for (unsigned shard = 0; shard < lost_.size(); ++shard)
    lost_[shard] = dataplane_.state_changes(shard).lost();
  since_walk_.clear();
  walked_ = 1;
  shard_ = 0;
  if (!worked(file_.begin())) return false;
  walking_ = true;
  ask({});
  return true;
}

void Journal::ask(datapath::StatePage page) {
  page.limit = kPage;
  page.rows.clear();
  dataplane_.state(shard_, std::move(page),
                   [self = std::weak_ptr(self_)](datapath::StatePage got) {
                     if (const auto alive = self.lock()) (*alive)->take_page(std::move(got));
                   });
}

void Journal::take_page(datapath::StatePage page) {
  walked_ += page.rows.size();
  if (!worked(file_.add(page.rows, wall_clock()))) {
    walking_ = false;
    file_.abandon();
    return;
  }
  if (!page.finished) return ask(std::move(page));
  if (++shard_ == lost_.size()) return finish_walk();
  ask({});
}

void Journal::finish_walk() {
  walking_ = false;
  // What has changed meanwhile stands behind what the walk saw: it is as new, or newer.
  const bool good =
      worked(file_.add(since_walk_, wall_clock())) && worked(file_.commit());
  appended_ = since_walk_.size();
  since_walk_.clear();
  in_file_ = walked_;
  if (good && std::exchange(has_told_, false))
    spdlog::info("state file {}: can be written again", path_);
}

}  // namespace lsn::control
