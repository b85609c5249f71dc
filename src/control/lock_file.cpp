#include "lsn/control/lock_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace lsn::control {

/// Of two that start at the same time one gets it. Only its owner may open the file, so no other
/// user can hold it; a file that others may open is replaced.
std::expected<LockFile, LockFile::Refusal> LockFile::take(std::string_view what,
                                                          const std::string& path) {
  LockFile lock;
  lock.path_ = path + ".lock";
  const char* const name = lock.path_.c_str();
  constexpr unsigned kAttempts = 4;  // it may be replaced, or removed by its owner, meanwhile
  for (unsigned i = 0; i < kAttempts; ++i) {
    constexpr int kFlags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    FileDescriptor file(open(name, kFlags, 0600));
    struct stat opened, there;
    const bool is_ours = file.valid() && fstat(file.get(), &opened) == 0 &&
                         S_ISREG(opened.st_mode) && opened.st_uid == geteuid() &&
                         (opened.st_mode & 0077) == 0;
    if (!is_ours) {
      if (lstat(name, &there) != 0 || unlink(name) != 0)
        return std::unexpected(
            Refusal{false, fmt::format("{} {}: its lock {} cannot be made: {}", what, path,
                                       lock.path_, strerror(errno))});
      continue;
    }
    if (flock(file.get(), LOCK_EX | LOCK_NB) != 0)
      return std::unexpected(Refusal{true, fmt::format("{} {}: another lsnd uses it", what, path)});
    if (stat(name, &there) == 0 && there.st_dev == opened.st_dev && there.st_ino == opened.st_ino) {
      lock.file_ = std::move(file);
      return lock;
    }
  }
  return std::unexpected(Refusal{
      false, fmt::format("{} {}: its lock {} is replaced all the time", what, path, lock.path_)});
}

void LockFile::release() {
  // While it is held: a process that locks it afterwards sees that the file is another one, or
  // none.
  if (file_.valid()) unlink(path_.c_str());
  file_.reset();
}

}  // namespace lsn::control
