// TCP over the loopback: a listening socket on a port of its own, and clients that never block.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "lsn/control/file_descriptor.hpp"

namespace lsn::control {

inline sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

struct Listening {
  FileDescriptor fd{socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)};
  std::uint16_t port = 0;

  Listening() {
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        listen(fd.get(), 512) != 0 ||
        getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
      throw std::runtime_error("cannot listen on the loopback");
    port = ntohs(address.sin_port);
  }
};

class WebClient {
 public:
  /// `buffer`: what the kernel takes of the answer; 0: its own choice.
  explicit WebClient(std::uint16_t port, int buffer = 0) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    if (buffer != 0) setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    const sockaddr_in address = loopback(port);
    if (connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      throw std::runtime_error("cannot connect");
  }

  /// What of it could be sent.
  std::size_t send(std::string_view bytes) {
    const ssize_t count =
        ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return count < 0 ? 0 : static_cast<std::size_t>(count);
  }

  /// Reads what is there.
  void receive() {
    std::array<char, 65536> bytes;
    for (;;) {
      const ssize_t count = recv(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (count == 0) has_ended_ = true;
      if (count < 0 && errno != EAGAIN && errno != EINTR) was_reset_ = has_ended_ = true;
      if (count <= 0) return;
      received_.append(bytes.data(), static_cast<std::size_t>(count));
    }
  }

  [[nodiscard]] const std::string& received() const { return received_; }
  /// No more will come.
  [[nodiscard]] bool has_ended() const { return has_ended_; }
  [[nodiscard]] bool was_reset() const { return was_reset_; }
  /// Behind the head.
  [[nodiscard]] std::string body() const {
    const std::size_t end = received_.find("\r\n\r\n");
    return end == std::string::npos ? "" : received_.substr(end + 4);
  }

 private:
  FileDescriptor fd_;
  std::string received_;
  bool has_ended_ = false;
  bool was_reset_ = false;
};

}  // namespace lsn::control
