// While one lives, this thread is inside the packet path, where nothing may be allocated, freed or
// asked of the kernel. Who is linked with tests/guards/interpose.cpp sees to that; for the others
// (fuzzers, builds with sanitizers) it is nothing.
#pragma once

#include <cstdint>

namespace lsn::test {

class PathGuard {
 public:
  PathGuard() { enter(); }
  ~PathGuard() { leave(); }
  PathGuard(const PathGuard&) = delete;
  PathGuard& operator=(const PathGuard&) = delete;

  /// What interpose.cpp is told.
  struct Watcher {
    void (*enter)();
    void (*leave)();
  };
  static inline Watcher watcher{nullptr, nullptr};

 private:
  static void enter() {
    if (watcher.enter != nullptr) watcher.enter();
  }
  static void leave() {
    if (watcher.leave != nullptr) watcher.leave();
  }
};

}  // namespace lsn::test
