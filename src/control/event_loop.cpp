#include "lsn/control/event_loop.hpp"

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

namespace lsn::control {
namespace {

constexpr std::size_t kEventsAtOnce = 64;

// An event carries the descriptor and the number of its watch: descriptors are used again.
std::uint64_t tag(int fd, std::uint32_t number) {
  return std::uint64_t{number} << 32 | static_cast<std::uint32_t>(fd);
}

}  // namespace

EventLoop::EventLoop() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  if (!epoll_.valid()) throw std::system_error(errno, std::generic_category(), "epoll_create1");
}

bool EventLoop::control(int operation, int fd, const Watch& watch) {
  epoll_event event{};
  event.events = watch.events;
  event.data.u64 = tag(fd, watch.number);
  return epoll_ctl(epoll_.get(), operation, fd, &event) == 0;
}

bool EventLoop::watch(int fd, std::uint32_t events, Function ready) {
  const Watch watch{next_number_++, events, std::make_shared<Function>(std::move(ready))};
  if (!control(EPOLL_CTL_ADD, fd, watch)) return false;
  watches_.insert_or_assign(fd, watch);
  return true;
}

void EventLoop::change(int fd, std::uint32_t events) {
  Watch& watch = watches_.at(fd);
  if (watch.events == events) return;
  watch.events = events;
  static_cast<void>(control(EPOLL_CTL_MOD, fd, watch));
}

void EventLoop::forget(int fd) {
  if (watches_.erase(fd) != 0) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

bool EventLoop::wait(int milliseconds) {
  std::array<epoll_event, kEventsAtOnce> events;
  const int count = epoll_wait(epoll_.get(), events.data(), events.size(), milliseconds);
  if (count < 0) return errno == EINTR;
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    const std::uint64_t tagged = events[i].data.u64;
    const auto found = watches_.find(static_cast<int>(static_cast<std::uint32_t>(tagged)));
    if (found == watches_.end() || found->second.number != tagged >> 32) continue;
    // It may forget itself while it runs.
    const std::shared_ptr<Function> ready = found->second.ready;
    (*ready)();
  }
  return true;
}

}  // namespace lsn::control
