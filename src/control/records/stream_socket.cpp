#include "lsn/control/records/stream_socket.hpp"

#include <fmt/format.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace lsn::control {
namespace {

/// How long bytes may stay without an acknowledgement (tcp(7)): then the connection is broken.
constexpr unsigned kUnacknowledgedMs = 20'000;
/// Bytes in the kernel's hands at most: what has to be kept for another connection.
constexpr int kSendBuffer = 1 << 20;
/// Of what a server says in one look: one that never stops does not keep the records.
constexpr int kMostReads = 64;
/// One record of TLS (RFC 8446 section 5.1).
constexpr std::size_t kTlsRecord = 16'384;

std::string tls_error(ssl_st* ssl, int result) {
  const long verified = SSL_get_verify_result(ssl);
  if (verified != X509_V_OK) return fmt::format("TLS: {}", X509_verify_cert_error_string(verified));
  const unsigned long error = ERR_get_error();
  if (error != 0 && ERR_reason_error_string(error) != nullptr)
    return fmt::format("TLS: {}", ERR_reason_error_string(error));
  if (SSL_get_error(ssl, result) == SSL_ERROR_SYSCALL && errno != 0) return std::strerror(errno);
  return "TLS: the other side has closed the connection";
}

void set_option(int fd, int level, int option, int value) {
  // What a kernel does not know it does without.
  static_cast<void>(setsockopt(fd, level, option, &value, sizeof value));
}

using SslContext = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;

/// What OpenSSL says, or the system if it was the reason.
std::string reason_of_last_error() {
  const unsigned long error = ERR_peek_last_error();
  for (unsigned long each = ERR_get_error(); each != 0; each = ERR_get_error())
    if (ERR_SYSTEM_ERROR(each)) return std::strerror(ERR_GET_REASON(each));
  const char* const reason = ERR_reason_error_string(error);
  return reason == nullptr ? "no certificate in it" : reason;
}

/// A context that trusts the authorities; nullptr with the reason.
SslContext make_context(const TlsSettings& tls, std::string& why) {
  SslContext context(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free);
  if (context == nullptr) {
    why = "OpenSSL makes no context";
    return context;
  }
  // RFC 9325 section 3.1.1: nothing below 1.2.
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  const int loaded = tls.ca_file.empty()
                         ? SSL_CTX_set_default_verify_paths(context.get())
                         : SSL_CTX_load_verify_file(context.get(), tls.ca_file.c_str());
  if (loaded != 1) {
    why = reason_of_last_error();
    context.reset();
  }
  ERR_clear_error();
  return context;
}

}  // namespace

sockaddr_in socket_address(const Endpoint& endpoint) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(endpoint.port);
  address.sin_addr.s_addr = htonl(endpoint.address.value);
  return address;
}

std::string authorities_problem(const TlsSettings& tls) {
  std::string why;
  return make_context(tls, why) == nullptr ? why : std::string();
}

bool wait_for(int fd, short events, std::chrono::steady_clock::time_point deadline) {
  using std::chrono::milliseconds;
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd waiting{fd, events, 0};
    const int ready = poll(&waiting, 1, static_cast<int>(std::max<long>(0, left.count())));
    if (ready >= 0 || errno != EINTR) return ready > 0;
  }
}

void StreamSocket::SslDeleter::operator()(ssl_st* ssl) const {
  SSL_free(ssl);
}

StreamSocket::~StreamSocket() = default;

void StreamSocket::begin(const Endpoint& server, const std::optional<TlsSettings>& tls) {
  ssl_.reset();
  written_ = acknowledged_ = 0;
  is_broken_ = false;
  stage_ = Stage::kTcp;
  std::string why = begin_tcp(server);
  if (why.empty() && tls) why = begin_tls(server, *tls);
  if (!why.empty()) fail(std::move(why));
}

StreamSocket::Progress StreamSocket::fail(std::string why) {
  why_ = std::move(why);
  ssl_.reset();
  fd_.reset();
  stage_ = Stage::kDown;
  return Progress::kFailed;
}

StreamSocket::Progress StreamSocket::proceed(Deadline deadline) {
  if (stage_ == Stage::kTcp) {
    const Progress tcp = proceed_tcp(deadline);
    if (tcp != Progress::kConnected) return tcp;
    stage_ = ssl_ == nullptr ? Stage::kUp : Stage::kTls;
  }
  if (stage_ == Stage::kTls) {
    const Progress tls = proceed_tls(deadline);
    if (tls != Progress::kConnected) return tls;
    stage_ = Stage::kUp;
  }
  return connected() ? Progress::kConnected : Progress::kFailed;
}

std::string StreamSocket::begin_tcp(const Endpoint& server) {
  fd_ = FileDescriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd_.valid()) return std::strerror(errno);
  set_option(fd_.get(), SOL_SOCKET, SO_SNDBUF, kSendBuffer);
  set_option(fd_.get(), SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd_.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd_.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, kUnacknowledgedMs);
  const sockaddr_in address = socket_address(server);
  if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
    return {};
  return errno == EINPROGRESS ? std::string() : std::strerror(errno);
}

StreamSocket::Progress StreamSocket::proceed_tcp(Deadline deadline) {
  if (!wait_for(fd_.get(), POLLOUT, deadline)) return Progress::kPending;
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  return error == 0 ? Progress::kConnected : fail(std::strerror(error));
}

std::string StreamSocket::begin_tls(const Endpoint& server, const TlsSettings& tls) {
  std::string why;
  const SslContext context = make_context(tls, why);
  if (context == nullptr)
    return fmt::format("TLS: no certificates of authorities can be read{}{}: {}",
                       tls.ca_file.empty() ? "" : " from ", tls.ca_file, why);
  ssl_.reset(SSL_new(context.get()));
  if (ssl_ == nullptr || SSL_set_fd(ssl_.get(), fd_.get()) != 1) return "TLS: no session";
  // RFC 5425 section 5.2: the certificate's subject alternative name is the address.
  const std::string address = wire::to_string(server.address);
  if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), address.c_str()) != 1)
    return "TLS: no address";
  return {};
}

StreamSocket::Progress StreamSocket::proceed_tls(Deadline deadline) {
  for (;;) {
    ERR_clear_error();
    const int done = SSL_connect(ssl_.get());
    if (done == 1) return Progress::kConnected;
    const int error = SSL_get_error(ssl_.get(), done);
    const short events = error == SSL_ERROR_WANT_READ    ? POLLIN
                         : error == SSL_ERROR_WANT_WRITE ? POLLOUT
                                                         : 0;
    if (events == 0) return fail(tls_error(ssl_.get(), done));
    if (!wait_for(fd_.get(), events, deadline)) return Progress::kPending;
  }
}

std::size_t StreamSocket::write(std::string_view bytes) {
  if (!connected()) return 0;
  if (ssl_ != nullptr) return write_tls(bytes);
  for (;;) {
    const ssize_t done = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (done >= 0) {
      written_ += static_cast<std::uint64_t>(done);
      return static_cast<std::size_t>(done);
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) broken(std::strerror(errno));
    return 0;
  }
}

std::size_t StreamSocket::write_tls(std::string_view bytes) {
  ERR_clear_error();
  const int size = static_cast<int>(std::min(bytes.size(), kTlsRecord));
  const int done = SSL_write(ssl_.get(), bytes.data(), size);
  if (done > 0) return static_cast<std::size_t>(done);
  const int error = SSL_get_error(ssl_.get(), done);
  if (error != SSL_ERROR_WANT_WRITE && error != SSL_ERROR_WANT_READ)
    broken(tls_error(ssl_.get(), done));
  return 0;
}

bool StreamSocket::wait_for_room(Deadline deadline) {
  return connected() && wait_for(fd_.get(), POLLOUT, deadline);
}

void StreamSocket::look() {
  if (!connected()) return;
  if (ssl_ != nullptr) return look_tls();
  // A server of records says nothing; what it says anyway is not read by anybody.
  std::array<char, 512> heard;
  ssize_t size = 1;
  for (int i = 0; i < kMostReads && (size > 0 || (size < 0 && errno == EINTR)); ++i)
    size = recv(fd_.get(), heard.data(), heard.size(), MSG_DONTWAIT);
  if (size == 0) broken("the other side has closed the connection");
  if (size < 0 && errno != EAGAIN && errno != EWOULDBLOCK) broken(std::strerror(errno));
}

void StreamSocket::look_tls() {
  std::array<char, 512> heard;
  int size = 1;
  for (int i = 0; i < kMostReads && size > 0; ++i) {
    ERR_clear_error();
    size = SSL_read(ssl_.get(), heard.data(), heard.size());
  }
  if (size > 0) return;
  const int error = SSL_get_error(ssl_.get(), size);
  if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
    broken(tls_error(ssl_.get(), size));
}

std::uint64_t StreamSocket::written() const {
  if (is_broken_ || ssl_ == nullptr) return written_;
  return BIO_number_written(SSL_get_wbio(ssl_.get()));
}

std::uint64_t StreamSocket::acknowledged() const {
  if (!connected()) return acknowledged_;
  // Not yet acknowledged, and in a connection that the other side has reset (tcp(7)).
  int waiting = 0;
  if (ioctl(fd_.get(), SIOCOUTQ, &waiting) != 0 || waiting < 0) return 0;
  const std::uint64_t all = written();
  return all - std::min(all, static_cast<std::uint64_t>(waiting));
}

void StreamSocket::broken(std::string why) {
  acknowledged_ = acknowledged();
  written_ = written();
  is_broken_ = true;
  fail(std::move(why));
}

void StreamSocket::finish() {
  if (!connected()) {
    fail("finished");
    return;
  }
  if (ssl_ != nullptr) static_cast<void>(SSL_shutdown(ssl_.get()));
  static_cast<void>(shutdown(fd_.get(), SHUT_WR));
  broken("finished");
}

}  // namespace lsn::control
