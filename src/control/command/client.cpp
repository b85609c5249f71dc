#include "lsn/control/command/client.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "lsn/control/command/command_socket.hpp"
#include "lsn/control/command/protocol.hpp"
#include "lsn/control/command/words.hpp"

namespace lsn::control {

std::expected<CommandClient, std::string> CommandClient::connect(const std::string& path,
                                                                 std::chrono::seconds patience) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return std::unexpected(complaint("--socket", path, "a path of 1-107 bytes"));
  path.copy(address.sun_path, path.size());
  CommandClient client;
  client.path_ = path;
  client.fd_ = FileDescriptor(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  timeval limit{};
  limit.tv_sec = patience.count();
  if (!client.fd_.valid() ||
      setsockopt(client.fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
      setsockopt(client.fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0)
    return std::unexpected(client.trouble(strerror(errno)));
  if (::connect(client.fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
      0) {
    // Users who may only read have a socket of their own.
    if (errno == EACCES && !path.ends_with(kViewSuffix))
      if (auto view = connect(path + std::string(kViewSuffix), patience)) return view;
    errno = errno == ENOENT && access(path.c_str(), F_OK) == 0 ? EACCES : errno;
    return std::unexpected(client.trouble(fmt::format("{} (is lsnd running?)", strerror(errno))));
  }
  return client;
}

std::expected<int, std::string> CommandClient::run(std::string_view line, std::FILE* out,
                                                   std::FILE* err) {
  auto status = run(line, [out, err](Stream stream, std::string_view text) {
    std::FILE* const to = stream == Stream::kOut ? out : err;
    return std::fwrite(text.data(), 1, text.size(), to) == text.size() && std::fflush(to) == 0;
  });
  return status;
}

std::expected<int, std::string> CommandClient::run(std::string_view line, const Take& take) {
  if (line.find('\n') != std::string_view::npos)
    return std::unexpected(complaint("command", "a line break", "one line"));
  reconnect_if_closed();
  const std::string request = std::string(line) + '\n';
  std::size_t sent = 0;
  while (sent < request.size()) {
    const ssize_t count =
        send(fd_.get(), request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) break;  // lsnd may have sent the reason before it closed
    sent += static_cast<std::size_t>(count);
  }

  bool taken = true;
  AnswerReader reader(
      [&](Stream stream, std::string_view text) { taken = taken && take(stream, text); });
  std::array<char, 65536> buffer;
  while (true) {
    const ssize_t count = recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return std::unexpected(trouble("lsnd does not answer"));
    if (count < 0) return std::unexpected(trouble(strerror(errno)));
    if (count == 0) return std::unexpected(trouble("lsnd has closed the connection"));
    std::string_view bytes(buffer.data(), static_cast<std::size_t>(count));
    const AnswerReader::State state = reader.feed(bytes);
    if (!taken) return std::unexpected(fmt::format("output: {}", strerror(errno)));
    if (state == AnswerReader::State::kBroken)
      return std::unexpected(trouble("what answers there is no lsnd"));
    if (state == AnswerReader::State::kEnd) return reader.status();
  }
}

void CommandClient::reconnect_if_closed() {
  char byte = 0;
  if (recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0) return;
  // lsnd lets silent clients go: nothing has been sent since.
  if (auto again = connect(path_)) *this = std::move(*again);
}

std::string CommandClient::trouble(std::string_view what) const {
  return fmt::format("command socket {}: {}", path_, what);
}

}  // namespace lsn::control
