// A server over UDP on loopback, at a port of its own.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <string>
#include <vector>

#include "lsn/control/records/stream_socket.hpp"

namespace lsn::control {

class UdpReceiver {
 public:
  UdpReceiver() : socket_(::socket(AF_INET, SOCK_DGRAM, 0)) {
    sockaddr_in address = socket_address({*wire::parse_ipv4("127.0.0.1"), 0});
    socklen_t size = sizeof address;
    EXPECT_EQ(bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  }

  [[nodiscard]] Endpoint endpoint() const { return {*wire::parse_ipv4("127.0.0.1"), port_}; }
  [[nodiscard]] std::string text() const { return fmt::format("127.0.0.1:{}", port_); }
  /// The datagrams that are there: on loopback as soon as they are sent.
  [[nodiscard]] std::vector<std::string> take() {
    std::vector<std::string> all;
    std::string bytes(1 << 16, 0);
    for (ssize_t n; (n = recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT)) >= 0;)
      all.push_back(bytes.substr(0, static_cast<std::size_t>(n)));
    return all;
  }

 private:
  FileDescriptor socket_;
  std::uint16_t port_ = 0;
};

}  // namespace lsn::control
