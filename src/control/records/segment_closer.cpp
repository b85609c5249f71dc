#include "lsn/control/records/segment_closer.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>
#include <zstd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "lsn/control/quiet_thread.hpp"
#include "lsn/control/records/segment_file.hpp"

namespace lsn::control {
namespace {

/// zstd's own: a quarter of the size of text at some hundred megabytes a second.
constexpr int kLevel = 3;
constexpr std::string_view kTemporary = ".tmp";

/// A file that gets its name when it is whole.
class NewFile {
 public:
  explicit NewFile(std::string path)
      : path_(std::move(path)),
        temporary_(path_ + std::string(kTemporary)),
        file_(open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640)) {}
  ~NewFile() {
    if (!done_) unlink(temporary_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  [[nodiscard]] bool write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(file_.get(), bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  /// It is on the disk, under its name.
  [[nodiscard]] bool finish() {
    done_ = fsync(file_.get()) == 0 && rename(temporary_.c_str(), path_.c_str()) == 0;
    return done_;
  }

 private:
  std::string path_;
  std::string temporary_;
  FileDescriptor file_;
  bool done_ = false;
};

/// The index of a segment that has none, or a short one.
void complete_index(const std::string& path) {
  const auto segment = SegmentFile::open(path);
  if (!segment || segment->indexed_now() == 0) return;
  NewFile index(path + std::string(kIndexEnding));
  std::string text = index_head();
  for (const SegmentBlock& block : segment->blocks()) text += index_entry(block);
  static_cast<void>(index.write(text) && index.finish());
}

}  // namespace

SegmentCloser::SegmentCloser(RecordFileConfig config)
    : config_(std::move(config)), thread_(quiet_thread([this] { run(); })) {}

SegmentCloser::~SegmentCloser() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  woken_.notify_all();
  thread_.join();
}

void SegmentCloser::set_open(std::optional<SegmentName> open) {
  const std::lock_guard lock(mutex_);
  open_ = open;
}

void SegmentCloser::look() {
  {
    const std::lock_guard lock(mutex_);
    asked_ = true;
  }
  woken_.notify_all();
}

bool SegmentCloser::is_open(const SegmentName& name) {
  const std::lock_guard lock(mutex_);
  return open_ == name;
}

void SegmentCloser::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    woken_.wait(lock, [this] { return asked_ || ending_; });
    if (ending_) return;
    asked_ = false;
    lock.unlock();
    work();
    lock.lock();
  }
}

void SegmentCloser::work() {
  // A file that is there and is still written was named as open before it was made.
  std::vector<SegmentName> closed = segments_of(config_.path);
  std::erase_if(closed, [this](const SegmentName& name) { return is_open(name); });
  while (config_.keep != 0 && closed.size() > config_.keep) {
    remove(closed.front());
    closed.erase(closed.begin());
  }
  for (const SegmentName& name : closed) {
    if (name.compressed) continue;
    if (config_.compress == Compression::kZstd) {
      if (!compress(name)) return;
    } else {
      complete_index(config_.path + name.text());
    }
    const std::lock_guard lock(mutex_);
    if (ending_) return;
  }
}

bool SegmentCloser::compress(const SegmentName& name) {
  const std::string plain = config_.path + name.text();
  const std::string packed = plain + std::string(kZstdEnding);
  const auto segment = SegmentFile::open(plain);
  if (!segment) {
    spdlog::error("records: {}", segment.error());
    return true;
  }
  if (segment->damaged()) return leave(plain, "a part of it cannot be read");
  NewFile out(packed);
  NewFile index(packed + std::string(kIndexEnding));
  bool good = index.write(index_head());
  std::string frame;
  std::uint64_t offset = 0;
  for (const SegmentBlock& block : segment->blocks()) {
    const std::string lines = segment->lines(block);
    if (lines.size() != block.stored) return leave(plain, "a part of it cannot be read");
    frame.resize(ZSTD_compressBound(lines.size()));
    const std::size_t n =
        ZSTD_compress(frame.data(), frame.size(), lines.data(), lines.size(), kLevel);
    if (ZSTD_isError(n) != 0) return leave(plain, ZSTD_getErrorName(n));
    if (!good) break;
    frame.resize(n);
    SegmentBlock moved = block;
    moved.offset = offset;
    moved.stored = n;
    moved.raw = lines.size();
    offset += n;
    good = out.write(frame) && index.write(index_entry(moved));
    const std::lock_guard lock(mutex_);
    if (ending_) return false;
  }
  // The index first: a segment with its name has one.
  if (!good || !index.finish() || !out.finish()) {
    spdlog::error("records: {} is not compressed: {}", plain, strerror(errno));
    return false;
  }
  unlink(plain.c_str());
  unlink((plain + std::string(kIndexEnding)).c_str());
  return true;
}

bool SegmentCloser::leave(const std::string& segment, std::string_view why) {
  spdlog::error("records: {} is not compressed: {}; it stays as it is", segment, why);
  return true;
}

void SegmentCloser::remove(const SegmentName& name) {
  SegmentName form = name;
  for (const bool compressed : {false, true}) {
    form.compressed = compressed;
    const std::string path = config_.path + form.text();
    unlink(path.c_str());
    unlink((path + std::string(kIndexEnding)).c_str());
  }
  spdlog::info("records: {} removed: {} segments are kept", config_.path + name.text(),
               config_.keep);
}

}  // namespace lsn::control
