#include "lsn/control/start_signals.hpp"

#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "lsn/control/log.hpp"

namespace lsn::control {

StartSignals::StartSignals() {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  signals_ = FileDescriptor(signalfd(-1, &ends, SFD_NONBLOCK | SFD_CLOEXEC));
  stop_ = FileDescriptor(eventfd(0, EFD_CLOEXEC));
  if (!signals_.valid() || !stop_.valid())
    throw std::system_error(errno, std::generic_category(), "signalfd");
  thread_ = std::thread([this] { wait(); });
}

void StartSignals::on_end(std::function<void()> cleanup) {
  const std::lock_guard lock(mutex_);
  cleanup_ = std::move(cleanup);
}

void StartSignals::stop() {
  if (!thread_.joinable()) return;
  const std::uint64_t one = 1;
  static_cast<void>(!write(stop_.get(), &one, sizeof one));
  thread_.join();
}

void StartSignals::wait() {
  for (;;) {
    pollfd ready[] = {{stop_.get(), POLLIN, 0}, {signals_.get(), POLLIN, 0}};
    if (poll(ready, 2, -1) < 0 && errno != EINTR) return;
    if (ready[0].revents != 0) return;
    signalfd_siginfo signal;
    if (read(signals_.get(), &signal, sizeof signal) != static_cast<ssize_t>(sizeof signal))
      continue;
    spdlog::info("{}: stopping before the start was over",
                 strsignal(static_cast<int>(signal.ssi_signo)));
    const std::lock_guard lock(mutex_);
    if (cleanup_) cleanup_();
    finish_log();
    _exit(0);
  }
}

}  // namespace lsn::control
