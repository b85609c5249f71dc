// While one lives, this thread is inside the packet path, where nothing may be allocated, freed or
// asked of the kernel. A program linked with tests/guards/interpose.cpp checks that (in others,
// fuzzers and builds with sanitizers, a guard does nothing); tests/guards/line_trace.hpp records
// the lines that the path touches.
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

  /// The watcher's callbacks.
  struct Watcher {
    void (*enter)();
    void (*leave)();
  };
  static inline Watcher watcher{nullptr, nullptr};
};

}  // namespace lsn::test
