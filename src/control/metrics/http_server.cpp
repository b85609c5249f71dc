#include "lsn/control/metrics/http_server.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace lsn::control {
namespace {

constexpr unsigned kAcceptedAtOnce = 16;
constexpr std::string_view kPlain = "text/plain; charset=utf-8";

std::string_view reason_of(unsigned status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 431:
      return "Request Header Fields Too Large";
    case 503:
      return "Service Unavailable";
    default:
      return "Error";
  }
}

HttpAnswer plain(unsigned status, std::string text) {
  return {status, kPlain, std::make_shared<const std::string>(std::move(text))};
}

/// Where the head ends: behind the empty line, which some end with LF alone (RFC 9112 section 2.2).
std::size_t end_of_head(std::string_view bytes) {
  for (std::size_t at = bytes.find('\n'); at != std::string_view::npos;
       at = bytes.find('\n', at + 1)) {
    std::string_view rest = bytes.substr(at + 1);
    if (rest.starts_with('\r')) rest.remove_prefix(1);
    if (rest.starts_with('\n')) return bytes.size() - rest.size() + 1;
  }
  return std::string_view::npos;
}

}  // namespace

struct HttpServer::Client {
  enum class Stage : std::uint8_t {
    kAsking,   ///< the head is not complete
    kTaking,   ///< the answer is being written
    kLeaving,  ///< all is written; further bytes are thrown away until it closes
  };

  FileDescriptor fd;
  Stage stage = Stage::kAsking;
  std::string in;                           ///< of the request
  std::string head;                         ///< of the answer
  std::shared_ptr<const std::string> text;  ///< behind it; none: of HEAD
  std::size_t written = 0;                  ///< of both
  bool gone = false;                        ///< to be removed from the list
  Time end;                                 ///< its time is over
};

std::optional<HttpRequest> HttpRequest::parse(std::string_view head) {
  std::string_view line = head.substr(0, head.find('\n'));
  if (line.ends_with('\r')) line.remove_suffix(1);
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || last == first) return std::nullopt;
  const std::string_view version = line.substr(last + 1);
  HttpRequest request{line.substr(0, first), line.substr(first + 1, last - first - 1)};
  if (version != "HTTP/1.0" && version != "HTTP/1.1") return std::nullopt;
  if (request.method.empty() || !request.path.starts_with('/') ||
      request.path.find(' ') != std::string_view::npos)
    return std::nullopt;
  request.path = request.path.substr(0, request.path.find('?'));
  return request;
}

HttpServer::HttpServer(FileDescriptor socket, Pages pages, EventLoop& loop, Time now,
                       const HttpLimits& limits)
    : socket_(std::move(socket)),
      pages_(std::move(pages)),
      loop_(loop),
      limits_(limits),
      now_(now) {
  listen();
}

HttpServer::~HttpServer() {
  for (const auto& client : clients_)
    if (!client->gone) loop_.forget(client->fd.get());
  if (listening_) loop_.forget(socket_.get());
}

void HttpServer::listen() {
  listening_ = loop_.watch(socket_.get(), EPOLLIN, [this] { accept_clients(); });
}

void HttpServer::accept_clients() {
  for (unsigned i = 0; i < kAcceptedAtOnce; ++i) {
    FileDescriptor fd(accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EAGAIN) break;
      // No descriptors, no memory: they wait in the queue until the next tick, and the loop does
      // not spin.
      spdlog::warn("metrics: accept: {}", strerror(errno));
      loop_.forget(socket_.get());
      listening_ = false;
      break;
    }
    if (clients_.size() >= limits_.clients) {
      forget(*clients_.front());
      sweep();
    }
    auto client = std::make_unique<Client>();
    Client& added = *client;
    added.fd = std::move(fd);
    added.end = now_ + limits_.whole;
    const auto ready = [this, &added] {
      serve(added);
      sweep();
    };
    if (loop_.watch(added.fd.get(), EPOLLIN, ready)) clients_.push_back(std::move(client));
  }
}

void HttpServer::serve(Client& client) {
  if (client.gone) return;
  if (client.stage != Client::Stage::kTaking && !receive(client)) return forget(client);
  if (client.stage == Client::Stage::kAsking) {
    const bool complete = end_of_head(client.in) != std::string::npos;
    if (!complete && client.in.size() <= limits_.head) return;
    answer(client, complete);
  }
  if (client.stage != Client::Stage::kTaking) return;
  if (!send(client)) return forget(client);
  const std::size_t length = client.head.size() + (client.text ? client.text->size() : 0);
  if (client.written < length) return loop_.change(client.fd.get(), EPOLLOUT);
  // Closing with bytes unread would take the answer from the client (RFC 9112 section 9.6).
  shutdown(client.fd.get(), SHUT_WR);
  client.stage = Client::Stage::kLeaving;
  client.end = std::min(client.end, now_ + limits_.goodbye);
  client.text.reset();
  loop_.change(client.fd.get(), EPOLLIN);
}

bool HttpServer::receive(Client& client) {
  std::array<char, 4096> bytes;
  const ssize_t count = recv(client.fd.get(), bytes.data(), bytes.size(), 0);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  if (count == 0) return false;
  if (client.stage == Client::Stage::kAsking)
    client.in.append(bytes.data(), static_cast<std::size_t>(count));
  return true;
}

void HttpServer::answer(Client& client, bool head_is_complete) {
  HttpAnswer answer;
  const auto request = HttpRequest::parse(client.in);
  const bool is_head = request && request->method == "HEAD";
  if (!head_is_complete)
    answer = plain(431, fmt::format("more than {} bytes of a request\n", limits_.head));
  else if (!request)
    answer = plain(400, "allowed is a request of HTTP/1.0 or HTTP/1.1\n");
  else if (request->method != "GET" && !is_head)
    answer = plain(405, "allowed are GET and HEAD\n");
  else if (auto page = pages_(request->path))
    answer = std::move(*page);
  else
    answer = plain(404, "there is nothing here; / says what there is\n");
  client.head = fmt::format(
      "HTTP/1.1 {} {}\r\n{}Content-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
      answer.status, reason_of(answer.status), answer.status == 405 ? "Allow: GET, HEAD\r\n" : "",
      answer.type, answer.text->size());
  if (!is_head) client.text = std::move(answer.text);
  client.in = {};
  client.stage = Client::Stage::kTaking;
}

bool HttpServer::send(Client& client) {
  const auto rest = [&client](const std::string& bytes, std::size_t before) {
    const std::size_t beyond = client.written - std::min(client.written, before);
    const std::size_t done = std::min(bytes.size(), beyond);
    return iovec{const_cast<char*>(bytes.data()) + done, bytes.size() - done};
  };
  std::array<iovec, 2> parts{rest(client.head, 0), iovec{}};
  if (client.text) parts[1] = rest(*client.text, client.head.size());
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  const ssize_t count = sendmsg(client.fd.get(), &message, MSG_NOSIGNAL);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  client.written += static_cast<std::size_t>(count);
  return true;
}

void HttpServer::forget(Client& client) {
  loop_.forget(client.fd.get());
  client.fd.reset();
  client.text.reset();
  client.gone = true;
}

void HttpServer::sweep() {
  std::erase_if(clients_, [](const auto& client) { return client->gone; });
}

void HttpServer::tick(Time now) {
  now_ = now;
  if (!listening_) listen();
  for (const auto& client : clients_)
    if (!client->gone && now >= client->end) forget(*client);
  sweep();
}

}  // namespace lsn::control
