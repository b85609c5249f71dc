#include "lsn/control/capture/packet_capture.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "lsn/control/capture/capture_file.hpp"
#include "lsn/control/quiet_thread.hpp"

namespace lsn::control {

/// The thread that writes the file.
class PacketCapture::Run {
 public:
  Run(CaptureRequest request, const Model& model, unsigned workers, const Limits& limits)
      : request_(std::move(request)),
        directory_(model.control.capture_directory),
        path_(directory_ + '/' + request_.file),
        interfaces_(CaptureFile::interfaces_of(model)),
        limits_(limits),
        told_lost_(workers) {
    for (unsigned worker = 0; worker < workers; ++worker)
      rings_.push_back(std::make_shared<shared::CaptureRing>(limits.ring));
    thread_ = quiet_thread([this] { run(); });
  }
  ~Run() { end(); }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  enum class Phase : std::uint8_t { kCreating, kWriting, kClosed };

  [[nodiscard]] Phase phase() const { return phase_.load(std::memory_order_acquire); }
  [[nodiscard]] const CaptureRequest& request() const { return request_; }
  [[nodiscard]] const std::shared_ptr<shared::CaptureRing>& ring(unsigned worker) const {
    return rings_[worker];
  }
  /// It takes no more: by its number of packets, or its size, or an error.
  [[nodiscard]] bool is_full() const { return full_.load(std::memory_order_acquire); }
  /// The reason of an end that is not its own.
  void ends_by(std::string_view reason) {
    const std::lock_guard lock(mutex_);
    if (ended_by_.empty()) ended_by_ = reason;
  }
  /// Writes what is in the rings, and closes the file; returns at once.
  void finish() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    woken_.notify_all();
  }
  /// ... and waits for it.
  void end() {
    finish();
    if (thread_.joinable()) thread_.join();
  }

  void fill_in(CaptureStatus& status) const {
    status.request = request_;
    status.path = path_;
    status.written = written_.get();
    status.bytes = bytes_.get();
    status.lost = unwritten_.get();
    for (const auto& ring : rings_) {
      status.lost += ring->lost();
      status.seen += ring->seen();
    }
    const std::lock_guard lock(mutex_);
    status.ended_by = ended_by_;
    status.failed = failed_;
  }

 private:
  static constexpr std::chrono::milliseconds kPause{5};

  /// A block that waits for its place.
  struct Block {
    std::int64_t time;
    std::size_t begin, size;  ///< in text_
  };

  void run() {
    auto file = CaptureFile::create(directory_, request_.file, request_.line, interfaces_);
    if (!file) {
      fail(file.error());
    } else {
      bytes_.set(file->size());
      phase_.store(Phase::kWriting, std::memory_order_release);
      while (round(*file)) {
      }
    }
    phase_.store(Phase::kClosed, std::memory_order_release);
  }
  /// False: that was the last one.
  bool round(CaptureFile& file) {
    bool last = false;
    {
      std::unique_lock lock(mutex_);
      woken_.wait_for(lock, kPause, [this] { return ending_; });
      last = ending_;
    }
    text_.clear();
    blocks_.clear();
    for (std::size_t worker = 0; worker < rings_.size(); ++worker) take(worker, file);
    write(file);
    return !last;
  }
  void take(std::size_t worker, const CaptureFile& file) {
    shared::CaptureRing& ring = *rings_[worker];
    ring.take([&](const shared::CaptureRecord& record) {
      if (is_full()) return;
      const std::size_t begin = text_.size();
      file.format(record, record.lost - std::exchange(told_lost_[worker], record.lost), text_);
      blocks_.push_back({record.time, begin, text_.size() - begin});
    });
  }
  /// In the order of time, as many as there may be.
  void write(CaptureFile& file) {
    if (blocks_.empty() || is_full()) return;
    std::ranges::stable_sort(blocks_, {}, &Block::time);
    std::string text;
    std::uint64_t count = 0;
    std::string_view enough;
    for (const Block& block : blocks_) {
      if (file.size() + text.size() + block.size > limits_.file) {
        enough = "the size of its file";
        break;
      }
      text.append(text_, block.begin, block.size);
      if (written_.get() + ++count < request_.max) continue;
      enough = "-max";
      break;
    }
    if (auto done = file.append(text); !done) {
      unwritten_.add(blocks_.size());
      return fail(done.error());
    }
    written_.add(count);
    bytes_.set(file.size());
    if (enough.empty()) return;
    ends_by(enough);
    fill();
  }
  void fail(const std::string& error) {
    {
      const std::lock_guard lock(mutex_);
      ended_by_ = error;
      failed_ = true;
    }
    fill();
  }
  void fill() {
    for (const auto& ring : rings_) ring->close();
    full_.store(true, std::memory_order_release);
  }

  const CaptureRequest request_;
  const std::string directory_;
  const std::string path_;
  const std::vector<CaptureFile::Interface> interfaces_;
  const Limits limits_;
  std::vector<std::shared_ptr<shared::CaptureRing>> rings_;  ///< by worker
  shared::Counter written_, unwritten_, bytes_;
  std::atomic<bool> full_{false};
  std::atomic<Phase> phase_{Phase::kCreating};

  mutable std::mutex mutex_;
  std::condition_variable woken_;
  bool ending_ = false;  // the following under mutex_
  bool failed_ = false;
  std::string ended_by_;

  // The thread's own.
  std::vector<std::uint64_t> told_lost_;
  std::string text_;
  std::vector<Block> blocks_;
  std::thread thread_;  // the last: it uses the others
};

PacketCapture::PacketCapture(Dataplane& dataplane, Limits limits)
    : dataplane_(dataplane), limits_(limits) {}

PacketCapture::~PacketCapture() {
  if (run_ != nullptr && runs()) run_->ends_by("the end of lsnd");
}

bool PacketCapture::runs() const {
  return state_ != State::kEnded;
}

std::expected<void, std::string> PacketCapture::start(CaptureRequest request, const Model& model) {
  if (runs())
    return std::unexpected(fmt::format(
        "start capture: given {} while {} is written, allowed one at a time (stop capture)",
        request.file, run_->request().file));
  run_.reset();
  run_ = std::make_unique<Run>(std::move(request), model, dataplane_.workers(), limits_);
  state_ = State::kStarting;
  missing_.reset();
  stop_asked_ = false;
  begun_ = ended_ = now_;
  return {};
}

std::expected<void, std::string> PacketCapture::stop() {
  if (!runs())
    return std::unexpected(run_ == nullptr
                               ? "stop capture: no capture runs"
                               : fmt::format("stop capture: no capture runs; that of {} has ended "
                                             "(show capture)",
                                             run_->request().file));
  stop_asked_ = true;
  run_->ends_by("stop capture");
  return {};
}

std::optional<CaptureStatus> PacketCapture::status() const {
  if (run_ == nullptr) return std::nullopt;
  CaptureStatus status;
  status.state = state_;
  run_->fill_in(status);
  const auto end = state_ == State::kEnded || state_ == State::kStopping ? ended_ : now_;
  status.runs = std::chrono::floor<std::chrono::seconds>(end - begun_);
  return status;
}

void PacketCapture::start_workers() {
  missing_ = std::make_shared<unsigned>(dataplane_.workers());
  for (unsigned worker = 0; worker < dataplane_.workers(); ++worker)
    dataplane_.start_capture(worker, run_->ring(worker), run_->request().filter,
                             [left = missing_] { --*left; });
}

void PacketCapture::stop_workers() {
  state_ = State::kStopping;
  ended_ = now_;
  missing_ = std::make_shared<unsigned>(dataplane_.workers());
  for (unsigned worker = 0; worker < dataplane_.workers(); ++worker)
    dataplane_.stop_capture(worker, [left = missing_] { --*left; });
}

void PacketCapture::tick(Clock::time_point now) {
  now_ = now;
  if (!runs()) return;
  switch (state_) {
    case State::kStarting:
      if (missing_ != nullptr) {
        if (*missing_ != 0) return;
        state_ = State::kRunning;
        begun_ = now;
      } else if (run_->phase() == Run::Phase::kWriting) {
        start_workers();
      } else if (run_->phase() == Run::Phase::kClosed) {
        state_ = State::kEnded;  // no file: the workers know nothing of it
      }
      return;
    case State::kRunning:
      if (now - begun_ >= run_->request().seconds) run_->ends_by("-seconds");
      if (now - begun_ >= run_->request().seconds || stop_asked_ || run_->is_full()) stop_workers();
      return;
    case State::kStopping: {
      if (*missing_ != 0) return;
      run_->finish();
      if (run_->phase() != Run::Phase::kClosed) return;
      state_ = State::kEnded;
      const CaptureStatus done = *status();
      const auto text = fmt::format("capture {}: {} packets written, {} lost, ended by {}",
                                    done.path, done.written, done.lost, done.ended_by);
      done.failed ? spdlog::error("{}", text) : spdlog::info("{}", text);
      return;
    }
    case State::kEnded:
      return;
  }
}

}  // namespace lsn::control
