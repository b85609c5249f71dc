#include "unit/control/records/failing_calls.hpp"

#include <dlfcn.h>
#include <sys/socket.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <cerrno>
#include <cstddef>

namespace lsn::control {
namespace {

std::atomic<FailingCalls*> present = nullptr;

/// The library's own.
template <class Function>
Function real(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

}  // namespace

FailingCalls::FailingCalls() {
  present = this;
}
FailingCalls::~FailingCalls() {
  present = nullptr;
}

}  // namespace lsn::control

extern "C" {

int sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
  static const auto call = lsn::control::real<decltype(&sendmmsg)>("sendmmsg");
  if (auto* const failing = lsn::control::present.load(); failing != nullptr && failing->sendmmsg)
    if (const int error = failing->sendmmsg(count); error != 0) {
      errno = error;
      return -1;
    }
  return call(fd, messages, count, flags);
}

std::size_t ZSTD_compress(void* to, std::size_t room, const void* from, std::size_t size,
                          int level) {
  static const auto call = lsn::control::real<decltype(&ZSTD_compress)>("ZSTD_compress");
  if (auto* const failing = lsn::control::present.load(); failing != nullptr && failing->zstd_fails)
    return static_cast<std::size_t>(-ZSTD_error_memory_allocation);
  return call(to, room, from, size, level);
}

}  // extern "C"
