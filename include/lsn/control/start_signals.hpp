// SIGTERM and SIGINT before the controller runs.
//
// A start may take long: EAL, tables of gigabytes, a log or a device that stands still. From
// Controller::block_signals() on a thread waits for the two signals and ends the process at once:
// nothing is in force yet, and the kernel takes back all memory and devices. Files that must not be
// left behind are removed (on_end()). The controller takes the signals over when it runs (stop());
// one that comes in between waits for it.
#pragma once

#include <functional>
#include <mutex>
#include <thread>

#include "lsn/control/file_descriptor.hpp"

namespace lsn::control {

class StartSignals {
 public:
  /// The signals are blocked.
  StartSignals();
  ~StartSignals() { stop(); }
  StartSignals(const StartSignals&) = delete;
  StartSignals& operator=(const StartSignals&) = delete;

  /// Called on the thread before it ends the process.
  void on_end(std::function<void()> cleanup);
  void stop();

 private:
  void wait();

  FileDescriptor signals_;
  FileDescriptor stop_;
  std::mutex mutex_;
  std::function<void()> cleanup_;
  std::thread thread_;
};

}  // namespace lsn::control
