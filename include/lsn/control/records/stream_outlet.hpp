// Messages to a server over TCP or TLS, each of which is kept until the server's TCP has it.
//
//   give() ─► pieces in flight ─► StreamSocket; acknowledged ones are forgotten
//
// When the connection breaks, the pieces that were not acknowledged go again on the next one, from
// the beginning of a message. So nothing is lost between the two TCPs; and nothing comes twice: a
// message that was acknowledged is not sent again, one that was not acknowledged whole is not
// whole on the other side. What nobody here can know: what the server does with what its TCP has
// acknowledged. A server that dies with bytes unread takes them along.
//
// Connections are tried at once, then after 0.2 s, 0.4 s and so on up to 30 s, until the server has
// acknowledged something again. No function waits longer than its deadline.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lsn/control/records/stream_socket.hpp"

namespace lsn::control {

class StreamOutlet {
 public:
  using Deadline = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::milliseconds kLeastPause{200};
  static constexpr std::chrono::milliseconds kMostPause{30'000};

  /// Bytes that are sent together: whole messages.
  struct Piece {
    std::string bytes;
    std::vector<std::uint32_t> ends;  ///< where its messages end in `bytes`
    std::uint32_t records = 0;        ///< in all of them
  };
  /// What a protocol has to say when a connection begins.
  struct Hooks {
    /// The first bytes of each connection.
    std::function<std::string()> greeting;
    /// A piece goes on another connection than it was made for.
    std::function<void(Piece&)> renew;
  };

  /// `name`: of the sink, in messages.
  StreamOutlet(std::string name, const Endpoint& server, std::optional<TlsSettings> tls,
               Hooks hooks = {});

  /// Whether a piece can be given: there is a connection, and all before it is on its way.
  [[nodiscard]] bool ready(Deadline deadline);
  /// After ready(): the piece is the outlet's matter now.
  void give(Piece piece);
  /// At least once a second: notices that the connection is broken, and that it can be had again.
  void look(Deadline deadline);
  /// Waits until the server's TCP has all; then says goodbye.
  void finish(Deadline deadline);

  /// Records that the server's TCP has not acknowledged.
  [[nodiscard]] std::uint64_t unacknowledged() const;

 private:
  struct Flying {
    Piece piece;
    std::size_t offset = 0;   ///< bytes of it that the socket has taken
    std::uint64_t begin = 0;  ///< bytes on the wire before it
    std::uint64_t end = 0;    ///< and with it
    bool is_greeting = false;
    [[nodiscard]] bool is_sent() const { return offset == piece.bytes.size(); }
  };

  [[nodiscard]] bool connect(Deadline deadline);
  /// Gives the socket what it takes; whether it has all.
  bool push();
  void forget_acknowledged();
  /// The connection is gone: what was not acknowledged is to be sent again.
  void take_back();
  void take_back_messages(Flying& flying, std::uint64_t acknowledged) const;
  void begin_pause();
  void complain(const std::string& what);

  std::string name_;
  Endpoint server_;
  std::optional<TlsSettings> tls_;
  Hooks hooks_;
  StreamSocket socket_;
  bool is_taken_back_ = true;      ///< of the last connection
  bool has_acknowledged_ = false;  ///< the server, something of this one
  std::deque<Flying> flying_;
  std::size_t sent_ = 0;  ///< pieces of `flying_` that the socket has taken whole
  std::chrono::milliseconds pause_ = kLeastPause;
  Deadline next_try_{};
  Deadline connect_until_{};
  std::string complaint_;
};

}  // namespace lsn::control
