// Calls of libraries that fail when a test says so: its program has them by the same names.
#pragma once

#include <atomic>
#include <functional>

namespace lsn::control {

/// While it lives; one at a time.
class FailingCalls {
 public:
  FailingCalls();
  ~FailingCalls();
  FailingCalls(const FailingCalls&) = delete;
  FailingCalls& operator=(const FailingCalls&) = delete;

  /// sendmmsg(2): the errno that it fails with, 0: it does not; may lower the number of datagrams.
  std::function<int(unsigned& datagrams)> sendmmsg;
  /// ZSTD_compress(): on any thread.
  std::atomic<bool> zstd_fails = false;
};

}  // namespace lsn::control
