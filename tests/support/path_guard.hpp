// While one lives, this thread is inside the packet path, where nothing may be allocated, freed or
// asked of the kernel. Who is linked with tests/guards/interpose.cpp sees to that (for the others,
// fuzzers and builds with sanitizers, it is nothing); tests/guards/line_trace.hpp looks at what it
// touches.
#pragma once

namespace lsn::test {

class PathGuard {
 public:
  PathGuard() {
    if (watcher.enter != nullptr) watcher.enter();
  }
  ~PathGuard() {
    if (watcher.leave != nullptr) watcher.leave();
  }
  PathGuard(const PathGuard&) = delete;
  PathGuard& operator=(const PathGuard&) = delete;

  /// What whoever watches is told.
  struct Watcher {
    void (*enter)();
    void (*leave)();
  };
  static inline Watcher watcher{nullptr, nullptr};
};

}  // namespace lsn::test
