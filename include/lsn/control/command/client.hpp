// The other end of the command socket: lsnctl's connection to a daemon.
#pragma once

#include <chrono>
#include <cstdio>
#include <expected>
#include <functional>
#include <string>
#include <string_view>

#include "lsn/control/command/protocol.hpp"
#include "lsn/control/file_descriptor.hpp"

namespace lsn::control {

class CommandClient {
 public:
  /// Error: one line that names the path. `patience`: how long a silent daemon is waited for.
  [[nodiscard]] static std::expected<CommandClient, std::string> connect(
      const std::string& path, std::chrono::seconds patience = std::chrono::seconds{60});

  /// Sends one line, writes its answer to both files as it comes, returns its exit code. Error: one
  /// line: the daemon is gone, silent, or no lsnd.
  [[nodiscard]] std::expected<int, std::string> run(std::string_view line, std::FILE* out,
                                                    std::FILE* err);
  /// The same, given to `take` as it comes; false ends it.
  using Take = std::function<bool(Stream stream, std::string_view text)>;
  [[nodiscard]] std::expected<int, std::string> run(std::string_view line, const Take& take);

 private:
  CommandClient() = default;

  void reconnect_if_closed();
  [[nodiscard]] std::string trouble(std::string_view what) const;

  FileDescriptor fd_;
  std::string path_;
};

}  // namespace lsn::control
