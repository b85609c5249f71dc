#include "guards/line_trace.hpp"

#include <sys/mman.h>
#include <ucontext.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <utility>

#include "support/path_guard.hpp"

namespace lsn::test {
namespace {

constexpr std::uintptr_t kPage = 4096, kLine = 64;
constexpr greg_t kTrapFlag = 0x100;  // EFLAGS.TF: a trap after the next instruction

/// Of the trace that goes on. Room is made beforehand: a handler may not allocate.
struct State {
  const std::map<std::uintptr_t, std::size_t>* pieces = nullptr;
  std::array<std::uintptr_t, 4096> lines;
  std::size_t count = 0;
  std::array<std::uintptr_t, 16> opened;  ///< pages, for one instruction
  std::size_t open = 0;
} state;

void protect(std::uintptr_t address, std::size_t bytes, int how) {
  if (mprotect(reinterpret_cast<void*>(address), bytes, how) != 0) std::abort();
}

[[nodiscard]] bool is_watched(std::uintptr_t address) {
  const auto above = state.pieces->upper_bound(address);
  if (above == state.pieces->begin()) return false;
  const auto& [begin, bytes] = *std::prev(above);
  return address - begin < bytes;
}

void touched(int signal, siginfo_t* info, void* context) {
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  if (!is_watched(address) || state.count == state.lines.size() ||
      state.open == state.opened.size()) {
    // A fault of another kind: it happens again, uncaught.
    ::signal(signal, SIG_DFL);
    return;
  }
  state.lines[state.count++] = address & ~(kLine - 1);
  state.opened[state.open++] = address & ~(kPage - 1);
  protect(address & ~(kPage - 1), kPage, PROT_READ | PROT_WRITE);
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] |= kTrapFlag;
}

void stepped(int, siginfo_t*, void* context) {
  while (state.open != 0) protect(state.opened[--state.open], kPage, PROT_NONE);
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] &= ~kTrapFlag;
}

/// Signal handlers and the packet path's watcher, put back as they were.
class Armed {
 public:
  Armed() {
    struct sigaction action{};
    action.sa_flags = SA_SIGINFO;
    action.sa_sigaction = touched;
    sigaction(SIGSEGV, &action, &segv_);
    action.sa_sigaction = stepped;
    sigaction(SIGTRAP, &action, &trap_);
  }
  ~Armed() {
    PathGuard::watcher = watcher_;
    sigaction(SIGSEGV, &segv_, nullptr);
    sigaction(SIGTRAP, &trap_, nullptr);
  }
  Armed(const Armed&) = delete;
  Armed& operator=(const Armed&) = delete;

 private:
  PathGuard::Watcher watcher_ = PathGuard::watcher;
  struct sigaction segv_{}, trap_{};
};

std::size_t whole_pages(std::size_t bytes) {
  return (bytes + kPage - 1) & ~(kPage - 1);
}

}  // namespace

LineTrace::Line LineTrace::line_of(const void* address) {
  return reinterpret_cast<Line>(address) & ~(kLine - 1);
}

std::set<LineTrace::Line> LineTrace::during(const std::function<void()>& work) {
  state.pieces = &pieces_;
  state.count = state.open = 0;
  {
    const Armed armed;
    PathGuard::watcher = {[] {
                            for (const auto& [begin, bytes] : *state.pieces)
                              protect(begin, bytes, PROT_NONE);
                          },
                          [] {
                            for (const auto& [begin, bytes] : *state.pieces)
                              protect(begin, bytes, PROT_READ | PROT_WRITE);
                          }};
    work();
  }
  return {state.lines.begin(), state.lines.begin() + static_cast<std::ptrdiff_t>(state.count)};
}

void* LineTrace::do_allocate(std::size_t bytes, std::size_t alignment) {
  void* const address = pages_.allocate(whole_pages(bytes), alignment);
  pieces_[reinterpret_cast<std::uintptr_t>(address)] = whole_pages(bytes);
  return address;
}

void LineTrace::do_deallocate(void* address, std::size_t bytes, std::size_t alignment) {
  pieces_.erase(reinterpret_cast<std::uintptr_t>(address));
  pages_.deallocate(address, whole_pages(bytes), alignment);
}

}  // namespace lsn::test
