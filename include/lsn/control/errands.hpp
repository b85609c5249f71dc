// A thread for work that takes long: a device that is started, a file that is synced.
//
// Errands are run one after the other, in the order in which they were given; giving one never
// waits. An errand leaves its result where both threads can see it (an atomic, something behind a
// mutex), and its giver looks there at the next tick.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace lsn::control {

class Errands {
 public:
  Errands();
  /// Waits for the errand that is under way; errands that have not begun are dropped.
  ~Errands();
  Errands(const Errands&) = delete;
  Errands& operator=(const Errands&) = delete;

  void give(std::function<void()> errand);

  /// Given and not yet done.
  [[nodiscard]] std::size_t outstanding() const;

  /// Whether all that was given is done within the time. After `patience` a system call of the
  /// errand that is under way is interrupted (EINTR), for as long again.
  [[nodiscard]] bool finish(std::chrono::milliseconds patience);

 private:
  void run();

  mutable std::mutex mutex_;
  std::condition_variable given_;
  std::condition_variable done_;
  std::deque<std::function<void()>> waiting_;
  bool under_way_ = false;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace lsn::control
