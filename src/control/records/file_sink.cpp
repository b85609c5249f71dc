#include "lsn/control/records/file_sink.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "lsn/control/append_whole.hpp"
#include "lsn/control/records/group_note.hpp"
#include "lsn/control/records/record_line.hpp"
#include "lsn/control/records/segment_file.hpp"

namespace lsn::control {
namespace {

constexpr mode_t kMode = 0640;  // subscribers are in it

bool exists(const std::string& path) {
  return access(path.c_str(), F_OK) == 0;
}

std::uint64_t size_of(int fd) {
  struct stat info{};
  return fstat(fd, &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

}  // namespace

FileSink::FileSink(RecordFileConfig config)
    : config_(std::move(config)),
      writer_(config_.format),
      closer_(std::make_unique<SegmentCloser>(config_)) {}

void FileSink::resume() {
  resumed_ = true;
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(config_.path).parent_path(), error);
  const std::vector<SegmentName> all = segments_of(config_.path);
  if (all.empty()) return;
  former_ = called(all.back());
  const SegmentName& last = all.back();
  if (!last.compressed && last.format == config_.format) {
    const std::string path = config_.path + last.text();
    // All whole lines get into the index; the rest of one that a kill has cut is removed.
    const auto segment = SegmentFile::open(path);
    const std::uint64_t whole =
        segment && !segment->blocks().empty()
            ? segment->blocks().back().offset + segment->blocks().back().stored
            : 0;
    closer_->set_open(last);
    if (segment && !segment->damaged() && open(last)) {
      if (size_ != whole)
        spdlog::warn("records: {}: {} bytes of a line that was not finished are removed", path,
                     size_ - whole);
      static_cast<void>(ftruncate(file_.get(), static_cast<off_t>(whole)));
      size_ = block_begin_ = whole;
      std::string text = index_head();
      for (const SegmentBlock& block : segment->blocks()) text += index_entry(block);
      if (ftruncate(index_.get(), 0) != 0 || !append_whole(index_.get(), text, 0)) index_.reset();
    }
  }
  if (!file_.valid()) closer_->set_open(std::nullopt);
  closer_->look();
}

bool FileSink::open(const SegmentName& name) {
  const std::string path = config_.path + name.text();
  file_ = FileDescriptor(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, kMode));
  if (!file_.valid()) {
    complain(fmt::format("{}: {}", path, strerror(errno)));
    return false;
  }
  name_ = name;
  file_name_ = path;
  size_ = block_begin_ = size_of(file_.get());
  beginning_ = 0;
  index_ = FileDescriptor(::open((path + std::string(kIndexEnding)).c_str(),
                                 O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, kMode));
  return true;
}

std::string FileSink::called(const SegmentName& name) const {
  return std::filesystem::path(config_.path + name.text()).filename().string();
}

static IndexedLine indexed(const RecordBatch& batch, const Record& record) {
  return {.at_ms = record.at_ms,
          .node = batch.names == nullptr ? std::string_view() : batch.names->node,
          .worker = record.worker,
          .kind = record.raw.kind,
          .event = record.raw.event,
          .sequence = record.sequence,
          .says = record.is(shared::LogKind::kConfig) ? said_by(batch.text(record))
                                                      : IndexedLine::Says::kAny};
}

bool FileSink::write_beginning(std::int64_t first_ms) {
  RecordBatch batch;
  batch.names = names_;
  Record record;
  record.raw.kind = shared::LogKind::kConfig;
  record.raw.event = shared::LogEvent::kCompleted;
  record.raw.group = shared::kNoId;
  record.at_ms = first_ms;
  record.sequence = notes_;
  if (!former_.empty()) batch.add(record, fmt::format("{}{}", kFollows, former_));
  for (const auto& [subject, said] : in_force_) {
    record.sequence = notes_ + batch.records.size();
    batch.add(record, repeated_note(said.text));
  }
  std::string lines;
  for (const Record& each : batch.records) writer_.write(batch, each, lines);
  if (!append(lines)) return false;
  notes_ += batch.records.size();
  for (const Record& each : batch.records)
    block_.add(indexed(batch, each), keys_of(each.raw).all());
  return true;
}

/// Nothing but CONFIG says whose the addresses are.
static bool answers_alone(const ConfigNote& note) {
  if (note.name_of(kStaticSubject)) return true;
  const auto group = GroupNote::of(note);
  return group && group->is_deterministic;
}

void FileSink::note(std::string_view text, shared::LogEvent event) {
  if (event != shared::LogEvent::kCompleted)
    in_force_.clear();  // lsnd begins, or ends
  else if (const auto said = ConfigNote::parse(text); said && said->has_settings)
    in_force_.insert_or_assign(std::string(said->subject),
                               InForce{std::string(said->text), answers_alone(*said)});
  else if (said)
    in_force_.erase(std::string(said->subject));
}

bool FileSink::begin(std::int64_t first_ms) {
  SegmentName name;
  name.second = first_ms / 1000;
  name.format = config_.format;
  const auto is_taken = [&] {
    const std::string path = config_.path + name.text();
    return exists(path) || exists(path + std::string(kZstdEnding));
  };
  while (is_taken()) ++name.number;
  closer_->set_open(name);
  if (!open(name)) return false;
  if (!append_whole(index_.get(), index_head(), 0)) index_.reset();
  if (!write_beginning(first_ms)) {
    unlink((file_name_ + std::string(kIndexEnding)).c_str());
    unlink(file_name_.c_str());
    file_.reset();
    return false;
  }
  beginning_ = size_;
  former_ = called(name_);
  return true;
}

void FileSink::complain(const std::string& what) {
  if (what == complaint_) return;
  complaint_ = what;
  spdlog::error("records: {}", what);
}

bool FileSink::append(const std::string& lines) {
  if (!append_whole(file_.get(), lines, size_)) {
    complain(fmt::format("{}: {}", file_name_, strerror(errno)));
    return false;
  }
  complaint_.clear();
  size_ += lines.size();
  return true;
}

void FileSink::finish_block() {
  if (size_ == block_begin_) return;
  const SegmentBlock block = block_.finish(block_begin_, size_ - block_begin_);
  block_begin_ = size_;
  // Without it the rest of the segment is found by reading it, and gets one when it is closed.
  if (index_.valid() && !append_whole(index_.get(), index_entry(block), size_of(index_.get())))
    index_.reset();
}

void FileSink::close() {
  if (!file_.valid()) return;
  finish_block();
  file_.reset();
  index_.reset();
  name_ = SegmentName{};
  closer_->set_open(std::nullopt);
  closer_->look();
}

bool FileSink::is_old(std::int64_t now_ms) const {
  return now_ms - name_.second * 1000 >= std::int64_t{config_.rotate_time.count()} * 1000;
}

bool FileSink::is_due(std::int64_t now_ms) const {
  return file_.valid() && size_ != 0 &&
         (size_ - beginning_ >= std::uint64_t{config_.rotate_size} << 20 || is_old(now_ms));
}

std::size_t FileSink::write(const RecordBatch& batch, std::size_t from) {
  if (!resumed_) resume();
  names_ = batch.names;
  std::size_t next = from;
  while (next < batch.records.size()) {
    if (is_due(batch.records[next].at_ms)) close();
    if (!file_.valid() && !begin(batch.records[next].at_ms)) return next;
    lines_.clear();
    std::size_t end = next;
    do {
      writer_.write(batch, batch.records[end++], lines_);
    } while (end < batch.records.size() && lines_.size() < kPiece &&
             !is_old(batch.records[end].at_ms));
    if (!append(lines_)) return next;
    for (; next < end; ++next) {
      const Record& record = batch.records[next];
      latest_ms_ = std::max(latest_ms_, record.at_ms);
      block_.add(indexed(batch, record), keys_of(record.raw).all());
      if (record.is(shared::LogKind::kConfig)) note(batch.text(record), record.raw.event);
    }
    if (size_ - block_begin_ >= kBlock) finish_block();
  }
  return next;
}

void FileSink::tick(std::int64_t now_ms) {
  if (!resumed_) resume();
  if (is_due(now_ms)) close();
  const auto answers = [](const auto& entry) { return entry.second.answers_alone; };
  // Times of records do not go back where the system's clock does.
  if (!file_.valid() && std::ranges::any_of(in_force_, answers))
    static_cast<void>(begin(std::max(now_ms, latest_ms_)));
}

void FileSink::finish() {
  if (file_.valid()) finish_block();
  file_.reset();
  index_.reset();
  closer_.reset();
}

}  // namespace lsn::control
