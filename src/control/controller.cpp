#include "lsn/control/controller.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <system_error>
#include <utility>

#include "lsn/control/alg_log.hpp"
#include "lsn/control/capture/packet_capture.hpp"
#include "lsn/control/command/commands.hpp"
#include "lsn/control/command/server.hpp"
#include "lsn/control/event_loop.hpp"
#include "lsn/control/file_descriptor.hpp"
#include "lsn/control/ha/journal.hpp"
#include "lsn/control/log.hpp"
#include "lsn/control/metrics/metrics_server.hpp"
#include "lsn/control/records/alert_watch.hpp"
#include "lsn/control/records/log_thread.hpp"
#include "lsn/control/running_config.hpp"
#include "lsn/control/service.hpp"
#include "lsn/control/watchdog.hpp"

namespace lsn::control {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

/// The clock of all tables counts 10 ms (ticks.hpp).
constexpr milliseconds kTick{10};
/// While a client waits for an answer of the workers: a page per round is two million sessions a
/// second.
constexpr milliseconds kHurriedTick{1};
constexpr std::chrono::seconds kFormerMapsInterval{1};

/// Not SIGUSR1: it interrupts errands (errands.cpp).
sigset_t our_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGHUP, SIGUSR2, SIGTERM, SIGINT}) sigaddset(&signals, signal);
  return signals;
}

int checked(int fd, const char* what) {
  if (fd < 0) throw std::system_error(errno, std::generic_category(), what);
  return fd;
}

}  // namespace

class Controller::Loop {
 public:
  Loop(ControllerOptions options, Dataplane& dataplane)
      : dataplane_(dataplane),
        config_(std::move(options.config_path), std::move(options.model), dataplane),
        records_(dataplane_, config_.model(), config_.generation()),
        capture_(dataplane_),
        alert_watch_(CommandContext{dataplane_, config_, cleared_, false, &records_}, records_),
        alg_log_(dataplane_, config_),
        journal_(config_.model().dataplane.state_file, dataplane_),
        timer_(checked(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), "timerfd")),
        server_(std::move(options.socket), lsn_commands(),
                CommandContext{dataplane_, config_, cleared_, true, &records_, &capture_}, events_,
                Clock::now()),
        watchdog_(dataplane_, service_watchdog(), Clock::now()) {
    if (options.view_socket)
      view_server_.emplace(
          std::move(*options.view_socket), lsn_commands(),
          CommandContext{dataplane_, config_, cleared_, false, &records_, &capture_}, events_,
          Clock::now());
    const sigset_t signals = our_signals();
    signals_ =
        FileDescriptor(checked(signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC), "signalfd"));
    const bool watched = events_.watch(timer_.get(), EPOLLIN, [this] { tick(); }) &&
                         events_.watch(signals_.get(), EPOLLIN, [this] { take_signals(); });
    if (!watched) throw std::system_error(errno, std::generic_category(), "epoll_ctl");
    if (options.metrics.valid())
      metrics_.emplace(std::move(options.metrics), dataplane_, config_.generation(), Clock::now(),
                       &records_);
    config_.watch([this](const Model& model, const shared::Generation& generation) {
      records_.configure(model, generation);
    });
  }

  int run() {
    journal_.restore([this](auto records) { config_.expect(records); });
    config_.start();
    while (!stopping_) {
      const bool waiting = server_.waiting() || (view_server_ && view_server_->waiting());
      set_timer(waiting || config_.busy() ? kHurriedTick : kTick);
      if (!events_.wait(-1)) {
        spdlog::critical("control loop: epoll_wait: {}", strerror(errno));
        return 1;
      }
    }
    return 0;
  }

 private:
  void set_timer(milliseconds interval) {
    if (interval == interval_) return;
    interval_ = interval;
    itimerspec spec{};
    spec.it_interval.tv_nsec = std::chrono::nanoseconds(interval).count();
    spec.it_value = spec.it_interval;
    if (timerfd_settime(timer_.get(), 0, &spec, nullptr) != 0)
      spdlog::critical("control loop: timerfd_settime: {}", strerror(errno));
  }

  void tick() {
    // How many ticks were missed does not matter: time itself is read.
    std::uint64_t expired = 0;
    static_cast<void>(read(timer_.get(), &expired, sizeof expired));
    const auto now = Clock::now();
    dataplane_.poll();
    if (!ready_ && !config_.busy()) tell_ready();
    watchdog_.tick(now);
    server_.tick(now);
    if (view_server_) view_server_->tick(now);
    alg_log_.tick(now);
    alert_watch_.tick(now);
    capture_.tick(now);
    journal_.tick(now);
    if (metrics_) metrics_->tick(now, phase(), config_.generation());
    if (now >= next_look_at_maps_) {
      next_look_at_maps_ = now + kFormerMapsInterval;
      config_.drop_former_maps();
    }
  }

  void take_signals() {
    signalfd_siginfo signal;
    while (read(signals_.get(), &signal, sizeof signal) == static_cast<ssize_t>(sizeof signal)) {
      if (signal.ssi_signo == SIGHUP) {
        reopen_log();
        tell_service_reloading();
        config_.reload([this](const RunningConfig::Outcome&) { tell_ready(); });
      } else if (signal.ssi_signo == SIGUSR2) {
        reopen_log();
      } else {
        spdlog::info("{}: stopping", strsignal(static_cast<int>(signal.ssi_signo)));
        tell_service_stopping();
        stopping_ = true;
      }
    }
  }

  /// The first generation is in force, or the one that a reload has left.
  void tell_ready() {
    ready_ = true;
    if (!stopping_)
      tell_service_ready(
          fmt::format("{}, generation {}", config_.path(), config_.generation().number));
  }

  [[nodiscard]] Phase phase() const {
    if (!ready_) return Phase::kStarting;
    return config_.busy() ? Phase::kReloading : Phase::kReady;
  }

  /// Leaves a rotated log file as it is and opens its path again.
  void reopen_log() {
    if (const auto opened = set_up_log(config_.model().log); !opened)
      spdlog::error("{}", opened.error());
  }

  Dataplane& dataplane_;
  EventLoop events_;
  RunningConfig config_;
  ClearedCounters cleared_;
  LogThread records_;
  PacketCapture capture_;
  AlertWatch alert_watch_;
  AlgLog alg_log_;
  Journal journal_;
  FileDescriptor timer_;
  FileDescriptor signals_;
  CommandServer server_;
  std::optional<CommandServer> view_server_;
  std::optional<MetricsServer> metrics_;
  Watchdog watchdog_;
  milliseconds interval_{0};
  Clock::time_point next_look_at_maps_{};
  bool ready_ = false;
  bool stopping_ = false;
};

void Controller::block_signals() {
  const sigset_t signals = our_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

Controller::Controller(ControllerOptions options, Dataplane& dataplane)
    : loop_(std::make_unique<Loop>(std::move(options), dataplane)) {}

Controller::~Controller() = default;

int Controller::run() {
  return loop_->run();
}

}  // namespace lsn::control
