// Messages to a server over UDP: one message, one datagram.
//
// Nobody says whether a datagram has arrived. What a host says is heard: a refusal (ICMP port
// unreachable) means that nobody listens there. It is counted and told once, and nothing is held
// back for it: the datagram that was refused is gone, and the next one may find a server again.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>

#include "lsn/control/config/vocabulary.hpp"
#include "lsn/control/file_descriptor.hpp"

namespace lsn::control {

class DatagramOutlet {
 public:
  using Deadline = std::chrono::steady_clock::time_point;
  /// Bytes of a datagram: the longest IPv4 packet without the headers of IPv4 and UDP.
  static constexpr std::size_t kLongest = 65'535 - 20 - 8;
  /// Datagrams of one system call.
  static constexpr std::size_t kAtOnce = 64;

  /// `name`: of the sink, in messages.
  DatagramOutlet(std::string name, const Endpoint& server)
      : name_(std::move(name)), server_(server) {}

  /// How many of the messages are sent, from the first on; less than all: it cannot send now.
  [[nodiscard]] std::size_t send(std::span<const std::string> messages, Deadline deadline);
  /// Refusals so far.
  [[nodiscard]] std::uint64_t refusals() const { return refusals_; }

 private:
  [[nodiscard]] bool open();
  /// What an error of the socket means: whether to go on with the message (or the next one).
  [[nodiscard]] bool go_on(int error, std::size_t& sent, Deadline deadline);
  void complain(const std::string& what);

  std::string name_;
  Endpoint server_;
  FileDescriptor socket_;
  std::uint64_t refusals_ = 0;
  std::uint64_t too_long_ = 0;
  std::string complaint_;
};

}  // namespace lsn::control
