// A TCP connection to a server, with TLS or without, that never waits longer than it is told.
//
// It counts what it puts on the wire, and knows how much of that the other side's TCP has
// acknowledged (SIOCOUTQ); also once the connection is broken, so that what did not arrive can be
// sent again on the next one. With TLS the bytes counted are those of its records. The server's
// certificate has to be for the address that it was reached at (RFC 5425 section 5.2).
#pragma once

#include <netinet/in.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lsn/control/config/vocabulary.hpp"
#include "lsn/control/file_descriptor.hpp"

struct ssl_st;

namespace lsn::control {

[[nodiscard]] sockaddr_in socket_address(const Endpoint& endpoint);
/// Waits for events of a descriptor (poll(2)): whether any came in time.
[[nodiscard]] bool wait_for(int fd, short events, std::chrono::steady_clock::time_point deadline);

/// How a connection is protected: not at all, or by TLS with these authorities' certificates
/// (empty: the system's).
struct TlsSettings {
  std::string ca_file;
};

/// Why no certificates of authorities can be read; empty: they can.
[[nodiscard]] std::string authorities_problem(const TlsSettings& tls);

class StreamSocket {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  StreamSocket() = default;
  ~StreamSocket();

  enum class Progress { kConnected, kPending, kFailed };
  /// Begins to connect; proceed() goes on with it, as often as it is pending.
  void begin(const Endpoint& server, const std::optional<TlsSettings>& tls);
  /// kFailed: why() says what stood in the way.
  [[nodiscard]] Progress proceed(Deadline deadline);
  [[nodiscard]] bool is_connecting() const {
    return stage_ == Stage::kTcp || stage_ == Stage::kTls;
  }
  [[nodiscard]] bool connected() const { return stage_ == Stage::kUp; }
  /// Writes what fits; the bytes taken. What was not taken is to be given again as it was. A
  /// connection that is found broken is not connected() any more.
  [[nodiscard]] std::size_t write(std::string_view bytes);
  /// Whether there may be room, in time.
  [[nodiscard]] bool wait_for_room(Deadline deadline);
  /// Notices whether the other side has closed the connection.
  void look();

  /// Bytes on the wire since the beginning of the connection, and how many of them the other side's
  /// TCP has; as they were when it broke.
  [[nodiscard]] std::uint64_t written() const;
  [[nodiscard]] std::uint64_t acknowledged() const;
  /// Why it is not connected, or not any more.
  [[nodiscard]] const std::string& why() const { return why_; }

  /// Says goodbye and closes.
  void finish();

 private:
  struct SslDeleter {
    void operator()(ssl_st* ssl) const;
  };

  enum class Stage { kDown, kTcp, kTls, kUp };

  [[nodiscard]] std::string begin_tcp(const Endpoint& server);
  [[nodiscard]] std::string begin_tls(const Endpoint& server, const TlsSettings& tls);
  [[nodiscard]] Progress proceed_tcp(Deadline deadline);
  [[nodiscard]] Progress proceed_tls(Deadline deadline);
  Progress fail(std::string why);
  [[nodiscard]] std::size_t write_tls(std::string_view bytes);
  void look_tls();
  void broken(std::string why);

  Stage stage_ = Stage::kDown;
  FileDescriptor fd_;
  std::unique_ptr<ssl_st, SslDeleter> ssl_;
  std::uint64_t written_ = 0;       ///< without TLS, and of a broken connection
  std::uint64_t acknowledged_ = 0;  ///< of a broken connection
  bool is_broken_ = false;
  std::string why_;
};

}  // namespace lsn::control
