// The UNIX socket on which lsnd takes commands: there while lsnd lives, and only then.
//
// open() makes it with mode 0660 for the service's group. A socket that a dead lsnd has left behind
// is replaced; one on which a process still answers is an error, so open() belongs before the
// devices are taken: a second lsnd ends without having touched anything. A lock beside the socket
// (PATH.lock), which only its owner may open, decides between two that start at the same time. A
// client that connects before the controller runs waits in the listen queue. The destructor removes
// the socket, unless another process has put one of its own in its place meanwhile.
#pragma once

#include <sys/types.h>

#include <expected>
#include <functional>
#include <string>
#include <string_view>

#include "lsn/control/config/model.hpp"
#include "lsn/control/file_descriptor.hpp"
#include "lsn/control/lock_file.hpp"

namespace lsn::control {

/// Suffix of the socket for users who may read and change nothing.
inline constexpr std::string_view kViewSuffix = ".view";

class CommandSocket {
 public:
  /// Error: one line that names the path. A missing directory is made (0755), not its parents.
  [[nodiscard]] static std::expected<CommandSocket, std::string> open(const ControlConfig& config);
  /// The second one, for control.viewGroup: beside the first, with ".view" at its end.
  [[nodiscard]] static std::expected<CommandSocket, std::string> open_view(
      const ControlConfig& config);

  CommandSocket(CommandSocket&& other) noexcept;
  CommandSocket& operator=(CommandSocket&& other) noexcept;
  ~CommandSocket();

  /// Listening, non-blocking.
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }
  /// Removes the socket's file, on any thread, for a process that ends without its destructors.
  [[nodiscard]] std::function<void()> remover() const;

 private:
  CommandSocket() = default;

  void remove();

  FileDescriptor fd_;
  LockFile lock_;
  std::string path_;
  dev_t device_ = 0;  ///< of the file that open() has made
  ino_t inode_ = 0;
};

}  // namespace lsn::control
