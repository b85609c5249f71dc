// The clients of the command socket. A client may be slow, silent or hostile and delays no other.
//
// A *client* is a connection. Its bytes are collected up to a line, the line becomes an Answer, and
// the answer's pieces are written one at a time: the next is made when the last has been taken. So
// a client costs a request and a piece of memory at most, and one that does not read holds nothing
// but these. While an answer is under way the client's further bytes stay in the kernel.
//
// Time is the other limit: a request must be complete soon after its first byte, an answer must be
// taken bit by bit, and no client may stay silent for long. If all places are taken, a new client
// gets the place of the one for which the server has waited longest; if it is busy for all of them,
// the new client is sent away. Nothing here blocks; everything runs on the control thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lsn/control/command/answer.hpp"
#include "lsn/control/command/command_socket.hpp"
#include "lsn/control/command/grammar.hpp"
#include "lsn/control/event_loop.hpp"

namespace lsn::control {

struct ServerLimits {
  std::size_t clients = 64;
  std::chrono::milliseconds request{10'000};   ///< from a request's first byte to its end
  std::chrono::milliseconds silence{60'000};   ///< between requests
  std::chrono::milliseconds reading{120'000};  ///< without a byte of the answer being taken
};

class CommandServer {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// All but the socket outlive it.
  CommandServer(CommandSocket socket, const Grammar& grammar, CommandContext context,
                EventLoop& loop, Time now, const ServerLimits& limits = {});
  ~CommandServer();
  CommandServer(const CommandServer&) = delete;
  CommandServer& operator=(const CommandServer&) = delete;

  /// Called after the dataplane has delivered its answers: serves the clients whose answers have
  /// come, ends those that are out of time.
  void tick(Time now);

  /// Whether some client's answer waits for the workers.
  [[nodiscard]] bool waiting() const;
  [[nodiscard]] std::size_t clients() const { return clients_.size(); }

 private:
  struct Client;

  void listen();
  void accept_clients();
  [[nodiscard]] bool make_room();
  void serve(Client& client);
  /// Reads the bytes that have come. False: the client is gone.
  [[nodiscard]] bool receive(Client& client);
  /// Writes as much as the socket takes. False: the client is gone.
  [[nodiscard]] bool send(Client& client);
  [[nodiscard]] bool begin_next(Client& client);
  void go_on(Client& client);
  void fail(Client& client, std::string_view error);
  void append_errors(Client& client, const std::vector<std::string>& errors);
  void refuse_change(Client& client, std::string_view words);
  void forget(Client& client);
  void sweep();

  CommandSocket socket_;
  const Grammar& grammar_;
  CommandContext context_;
  EventLoop& loop_;
  ServerLimits limits_;
  Time now_;
  bool listening_ = false;
  std::list<std::unique_ptr<Client>> clients_;
};

}  // namespace lsn::control
