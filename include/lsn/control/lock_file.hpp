// The lock on a file that one lsnd has for itself while it lives: its command socket, its state
// file. Beside the file stands another one, FILE.lock, that is locked (flock(2)): the kernel lets
// go of it when the process ends, however it ends.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

#include "lsn/control/file_descriptor.hpp"

namespace lsn::control {

class LockFile {
 public:
  struct Refusal {
    bool is_taken;     ///< another lsnd has it; else the lock cannot be made
    std::string text;  ///< one line
  };
  /// `what`: the file's purpose, for the error. Does not wait.
  [[nodiscard]] static std::expected<LockFile, Refusal> take(std::string_view what,
                                                             const std::string& path);

  LockFile() = default;
  LockFile(LockFile&& other) noexcept = default;
  LockFile& operator=(LockFile&& other) noexcept {
    if (this != &other) {
      release();
      file_ = std::move(other.file_);
      path_ = std::move(other.path_);
    }
    return *this;
  }
  ~LockFile() { release(); }

  void release();

 private:
  FileDescriptor file_;  ///< held
  std::string path_;
};

}  // namespace lsn::control
