// Answers to HTTP requests of programs that watch lsnd: GET and HEAD, one answer per connection.
//
// A *client* is a connection. It has a few seconds in all: to send the head of a request of up to 8
// KB, to take the answer, and to close. Bytes beyond the head are thrown away. A client costs its
// place, the head that it has sent and a reference to the answer's text, whatever it does; if all
// places are taken, a new client gets that of the oldest one. So clients that hang, however many,
// do not delay the answer to a client that sends its request at once. Nothing here blocks; all runs
// on the thread of the loop.
//
// prometheus-cpp has a server of its own (civetweb), with a thread for each client that it waits
// for: as many clients that hang as it has threads would stop it.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lsn/control/event_loop.hpp"
#include "lsn/control/file_descriptor.hpp"

namespace lsn::control {

struct HttpAnswer {
  unsigned status = 200;
  std::string_view type;  ///< literal
  std::shared_ptr<const std::string> text;
};

struct HttpLimits {
  std::size_t clients = 64;
  std::size_t head = 8192;                   ///< bytes of a request's head
  std::chrono::milliseconds whole{10'000};   ///< from connecting to having taken the answer
  std::chrono::milliseconds goodbye{1'000};  ///< from there to the client's end of the connection
};

/// The first line of a request (RFC 9112 section 3).
struct HttpRequest {
  std::string_view method;
  std::string_view path;  ///< without the query

  /// `head`: up to the empty line. Nothing: it is no HTTP/1.0 or HTTP/1.1.
  [[nodiscard]] static std::optional<HttpRequest> parse(std::string_view head);
};

class HttpServer {
 public:
  using Time = std::chrono::steady_clock::time_point;
  /// The answer of a path; nothing: there is no such path.
  using Pages = std::function<std::optional<HttpAnswer>(std::string_view path)>;

  /// `socket`: listening, non-blocking. The loop outlives it.
  HttpServer(FileDescriptor socket, Pages pages, EventLoop& loop, Time now,
             const HttpLimits& limits = {});
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// Several times a second: ends clients that are out of time.
  void tick(Time now);

  [[nodiscard]] std::size_t clients() const { return clients_.size(); }

 private:
  struct Client;

  void listen();
  void accept_clients();
  void serve(Client& client);
  /// Reads the bytes that have come. False: the client is gone.
  [[nodiscard]] bool receive(Client& client);
  void answer(Client& client, bool head_is_complete);
  /// Writes as much as the socket takes. False: the client is gone.
  [[nodiscard]] bool send(Client& client);
  void forget(Client& client);
  void sweep();

  FileDescriptor socket_;
  Pages pages_;
  EventLoop& loop_;
  HttpLimits limits_;
  Time now_;
  bool listening_ = false;
  std::list<std::unique_ptr<Client>> clients_;  ///< the oldest first
};

}  // namespace lsn::control
