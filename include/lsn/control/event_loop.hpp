// epoll, with a function per file descriptor.
//
// Level-triggered and on one thread: wait() sleeps until something is ready and calls the functions
// of all that is. A function may watch and forget descriptors, its own as well; an event that was
// meant for a descriptor that has been forgotten meanwhile is not delivered to its successor.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>

#include "lsn/control/file_descriptor.hpp"

namespace lsn::control {

class EventLoop {
 public:
  using Function = std::function<void()>;

  /// Throws std::system_error if there is no epoll.
  EventLoop();

  /// `events`: EPOLLIN, EPOLLOUT or 0; errors and hang-ups always. False: out of memory or watches.
  bool watch(int fd, std::uint32_t events, Function ready);
  void change(int fd, std::uint32_t events);
  void forget(int fd);

  /// Sleeps for at most `milliseconds` (-1: without limit). False: epoll itself fails.
  bool wait(int milliseconds);

 private:
  struct Watch {
    std::uint32_t number;
    std::uint32_t events;
    std::shared_ptr<Function> ready;
  };

  [[nodiscard]] bool control(int operation, int fd, const Watch& watch);

  FileDescriptor epoll_;
  std::unordered_map<int, Watch> watches_;
  std::uint32_t next_number_ = 0;
};

}  // namespace lsn::control
