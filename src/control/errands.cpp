#include "lsn/control/errands.hpp"

#include <pthread.h>
#include <signal.h>

#include <utility>

#include "lsn/control/quiet_thread.hpp"

namespace lsn::control {
namespace {

/// Ends a system call that waits (connect() to a peer that does not answer), and nothing else.
constexpr int kInterrupt = SIGUSR1;
constexpr std::chrono::milliseconds kBetweenInterrupts{20};

void make_interruptible() {
  struct sigaction action{};
  action.sa_handler = [](int) {};  // without SA_RESTART
  sigaction(kInterrupt, &action, nullptr);
}

}  // namespace

Errands::Errands() {
  make_interruptible();
  thread_ = quiet_thread([this] { run(); });
}

Errands::~Errands() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    waiting_.clear();
  }
  given_.notify_one();
  thread_.join();
}

void Errands::give(std::function<void()> errand) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(errand));
  }
  given_.notify_one();
}

std::size_t Errands::outstanding() const {
  const std::lock_guard lock(mutex_);
  return waiting_.size() + (under_way_ ? 1 : 0);
}

bool Errands::finish(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  const auto all_done = [this] { return waiting_.empty() && !under_way_; };
  if (done_.wait_for(lock, patience, all_done)) return true;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (std::chrono::steady_clock::now() < deadline) {
    pthread_kill(thread_.native_handle(), kInterrupt);
    if (done_.wait_for(lock, kBetweenInterrupts, all_done)) return true;
  }
  return false;
}

void Errands::run() {
  sigset_t interrupt;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, kInterrupt);
  pthread_sigmask(SIG_UNBLOCK, &interrupt, nullptr);
  std::unique_lock lock(mutex_);
  for (;;) {
    given_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
    if (ending_) return;
    const std::function<void()> errand = std::move(waiting_.front());
    waiting_.pop_front();
    under_way_ = true;
    lock.unlock();
    errand();
    lock.lock();
    under_way_ = false;
    done_.notify_all();
  }
}

}  // namespace lsn::control
