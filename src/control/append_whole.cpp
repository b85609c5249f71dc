#include "lsn/control/append_whole.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstddef>

namespace lsn::control {

bool append_whole(int fd, std::string_view bytes, std::uint64_t size) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const int error = n == 0 ? ENOSPC : errno;
      static_cast<void>(ftruncate(fd, static_cast<off_t>(size)));
      errno = error;
      return false;
    }
    done += static_cast<std::size_t>(n);
  }
  return true;
}

}  // namespace lsn::control
