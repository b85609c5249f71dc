#include "lsn/control/log.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <syslog.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "lsn/control/file_descriptor.hpp"
#include "lsn/control/quiet_thread.hpp"

namespace lsn::control {
namespace {

using Level = spdlog::level::level_enum;

constexpr const char* kName = "lsnd";
/// With time and level; syslog has both by itself.
constexpr const char* kPattern = "%Y-%m-%d %H:%M:%S.%e %l: %v";
/// A writable pipe takes so many bytes without waiting (POSIX: at least 512).
constexpr std::size_t kAtOnce = 4096;

int priority_of(Level level) {
  switch (level) {
    case spdlog::level::critical:
      return LOG_CRIT;
    case spdlog::level::err:
      return LOG_ERR;
    case spdlog::level::warn:
      return LOG_WARNING;
    case spdlog::level::info:
      return LOG_INFO;
    default:
      return LOG_DEBUG;
  }
}

/// Where lines go: a descriptor, or syslog if there is none. The writer's thread only.
class Target {
 public:
  Target(int fd, FileDescriptor own) : fd_(fd), own_(std::move(own)) {}

  /// False: the target does not take it.
  [[nodiscard]] bool write(std::string_view line, Level level) const {
    if (fd_ < 0) {
      // It begins with the name and the process, as openlog() has told it.
      openlog(kName, LOG_PID, LOG_DAEMON);
      syslog(priority_of(level), "%.*s", static_cast<int>(line.size()), line.data());
      return true;
    }
    while (!line.empty()) {
      // Other holders of the descriptor (a shell, a supervisor) may not expect it to be
      // non-blocking.
      pollfd writable{fd_, POLLOUT, 0};
      if (poll(&writable, 1, -1) < 0 && errno != EINTR) return false;
      const ssize_t n = ::write(fd_, line.data(), std::min(line.size(), kAtOnce));
      if (n < 0 && errno != EINTR && errno != EAGAIN) return false;
      if (n > 0) line.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }

  [[nodiscard]] std::string format(const spdlog::details::log_msg& message) const {
    if (fd_ < 0) return std::string(message.payload.data(), message.payload.size());
    spdlog::memory_buf_t text;
    spdlog::pattern_formatter(kPattern).format(message, text);
    return std::string(text.data(), text.size());
  }

 private:
  int fd_;
  FileDescriptor own_;
};

/// The queue and its thread. One for the life of the process; never taken apart, because its thread
/// may be in a write that does not come back.
class Writer {
 public:
  Writer() : thread_(quiet_thread([this] { run(); })) { thread_.detach(); }

  void put(std::shared_ptr<const Target> target, std::string line, Level level) {
    {
      const std::lock_guard lock(mutex_);
      if (waiting_.size() >= kLogLines) {
        ++lost_;
        return;
      }
      waiting_.push_back({std::move(target), std::move(line), level});
    }
    given_.notify_one();
  }

  bool finish(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    return done_.wait_for(lock, patience, [this] { return waiting_.empty() && !writing_; });
  }

  void keep_on_cpus_of_caller() {
    cpu_set_t cpus;
    if (pthread_getaffinity_np(pthread_self(), sizeof cpus, &cpus) == 0)
      pthread_setaffinity_np(handle_, sizeof cpus, &cpus);
  }

 private:
  struct Line {
    std::shared_ptr<const Target> target;
    std::string text;
    Level level;
  };

  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      given_.wait(lock, [this] { return !waiting_.empty(); });
      const Line line = std::move(waiting_.front());
      waiting_.pop_front();
      writing_ = true;
      const std::uint64_t lost = lost_;
      lock.unlock();
      const bool told = lost == 0 || tell(*line.target, lost);
      const bool written = told && line.target->write(line.text, line.level);
      lock.lock();
      if (told) lost_ -= lost;
      if (!written) ++lost_;
      writing_ = false;
      if (waiting_.empty()) done_.notify_all();
    }
  }

  static bool tell(const Target& target, std::uint64_t lost) {
    const std::string text = fmt::format("{} line{} of this log {} lost: nobody took them", lost,
                                         lost == 1 ? "" : "s", lost == 1 ? "was" : "were");
    const spdlog::details::log_msg message(kName, spdlog::level::warn, text);
    return target.write(target.format(message), spdlog::level::warn);
  }

  std::mutex mutex_;
  std::condition_variable given_;
  std::condition_variable done_;
  std::deque<Line> waiting_;
  bool writing_ = false;
  std::uint64_t lost_ = 0;
  std::thread thread_;
  pthread_t handle_ = thread_.native_handle();
};

Writer& writer() {
  static Writer* const the_one = new Writer;
  return *the_one;
}

class QueueSink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  void set_target(std::shared_ptr<const Target> target) {
    const std::lock_guard lock(mutex_);
    target_.swap(target);
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const std::shared_ptr<const Target> to = target();
    writer().put(to, to->format(message), message.level);
  }
  void flush_() override {}

 private:
  std::shared_ptr<const Target> target() {
    const std::lock_guard lock(mutex_);
    return target_;
  }

  std::mutex mutex_;
  std::shared_ptr<const Target> target_;
};

/// One sink and one logger for the life of the process: DPDK's threads and errands log at any time,
/// by an uncounted pointer to the default logger. Only the sink's target changes.
void use(int fd, FileDescriptor own = FileDescriptor()) {
  static QueueSink* const sink = new QueueSink;
  static const auto* const logger = new std::shared_ptr<spdlog::logger>(
      std::make_shared<spdlog::logger>(kName, std::shared_ptr<QueueSink>(sink)));
  sink->set_target(std::make_shared<const Target>(fd, std::move(own)));
  if (spdlog::default_logger_raw() == logger->get()) return;
  (*logger)->set_level(spdlog::get_level());
  spdlog::set_default_logger(*logger);
}

Level level_of(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace:
      return spdlog::level::trace;
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kCritical:
      return spdlog::level::critical;
  }
  return spdlog::level::info;
}

/// Opening does not wait either: a FIFO without a reader is an error.
FileDescriptor open_file(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  return FileDescriptor(
      open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644));
}

}  // namespace

void set_up_log_to_stderr() {
  use(STDERR_FILENO);
}

std::expected<void, std::string> set_up_log(const LogConfig& config) {
  if (config.target == "stderr") {
    set_up_log_to_stderr();
  } else if (config.target == "syslog") {
    use(-1);
  } else {
    FileDescriptor file = open_file(config.target);
    if (!file.valid())
      return std::unexpected(
          fmt::format("log.target: given {}, allowed a file that can be written: {}", config.target,
                      strerror(errno)));
    const int fd = file.get();
    use(fd, std::move(file));
  }
  set_log_level(config.level);
  return {};
}

void set_log_level(LogLevel level) {
  spdlog::set_level(level_of(level));
}

void keep_log_on_own_cpus() {
  writer().keep_on_cpus_of_caller();
}

bool finish_log(std::chrono::milliseconds patience) {
  return writer().finish(patience);
}

}  // namespace lsn::control
