#include "lsn/control/records/datagram_outlet.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "lsn/control/records/stream_socket.hpp"

namespace lsn::control {

bool DatagramOutlet::open() {
  if (socket_.valid()) return true;
  FileDescriptor made(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const sockaddr_in address = socket_address(server_);
  if (!made.valid() ||
      ::connect(made.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    complain(std::strerror(errno));
    return false;
  }
  socket_ = std::move(made);
  return true;
}

void DatagramOutlet::complain(const std::string& what) {
  if (what == complaint_) return;
  complaint_ = what;
  spdlog::warn("records: {}: {}", name_, what);
}

bool DatagramOutlet::go_on(int error, std::size_t& sent, Deadline deadline) {
  switch (error) {
    case EINTR:
      return true;
    case ECONNREFUSED:  // of a datagram before this one
      ++refusals_;
      complain("nobody listens there: what is sent is lost");
      return true;
    case EMSGSIZE:
      ++too_long_;
      complain(fmt::format("a message is too long for a datagram, and lost; {} in all", too_long_));
      ++sent;
      return true;
    case EAGAIN:
    case ENOBUFS:
      return wait_for(socket_.get(), POLLOUT, deadline);
    default:
      complain(std::strerror(error));
      socket_.reset();
      return false;
  }
}

std::size_t DatagramOutlet::send(std::span<const std::string> messages, Deadline deadline) {
  if (!open()) return 0;
  std::array<iovec, kAtOnce> pieces;
  std::array<mmsghdr, kAtOnce> headers;
  std::size_t sent = 0;
  while (sent < messages.size()) {
    const std::size_t count = std::min(kAtOnce, messages.size() - sent);
    for (std::size_t i = 0; i < count; ++i) {
      const std::string& message = messages[sent + i];
      pieces[i] = {const_cast<char*>(message.data()), message.size()};
      headers[i] = {};
      headers[i].msg_hdr.msg_iov = &pieces[i];
      headers[i].msg_hdr.msg_iovlen = 1;
    }
    const int done = sendmmsg(socket_.get(), headers.data(), static_cast<unsigned>(count),
                              MSG_DONTWAIT | MSG_NOSIGNAL);
    if (done > 0)
      sent += static_cast<std::size_t>(done);
    else if (!go_on(errno, sent, deadline) || std::chrono::steady_clock::now() >= deadline)
      break;
  }
  return sent;
}

}  // namespace lsn::control
