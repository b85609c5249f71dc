#include "lsn/control/metrics/metrics_server.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

#include "lsn/control/config/vocabulary.hpp"
#include "lsn/control/quiet_thread.hpp"
#include "lsn/control/records/log_thread.hpp"

namespace lsn::control {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int kMetricsBacklog = 128;
constexpr milliseconds kFactsInterval{1000};
constexpr milliseconds kLookInterval{250};
/// The greatest age of a text that is given to another client.
constexpr milliseconds kOldestText{500};

constexpr std::string_view kPlainText = "text/plain; charset=utf-8";
constexpr std::string_view kPrometheusText = "text/plain; version=0.0.4; charset=utf-8";
constexpr std::string_view kContents =
    "/metrics    what lsnd counts, for Prometheus\n"
    "/-/healthy  200 while all its threads turn\n"
    "/-/ready    200 while a configuration is in force and none is on its way\n";

HttpAnswer said(unsigned status, std::string text) {
  return {status, kPlainText, std::make_shared<const std::string>(std::move(text))};
}

/// 503 and the reason, or 200 and the word.
HttpAnswer verdict(const std::optional<std::string>& reason, std::string_view word) {
  return reason ? said(503, *reason + '\n') : said(200, std::string(word) + '\n');
}

std::vector<const shared::Counters*> counters_of(const MetricsSource& source) {
  std::vector<const shared::Counters*> all;
  for (const WorkerStatus& worker : source.workers) all.push_back(worker.counters);
  return all;
}

FileDescriptor wake_up_call() {
  FileDescriptor fd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!fd.valid()) throw std::system_error(errno, std::generic_category(), "eventfd");
  return fd;
}

}  // namespace

std::expected<FileDescriptor, std::string> open_metrics_socket(const MetricsConfig& config) {
  FileDescriptor none;
  if (config.listen.empty()) return none;
  const auto refused = [&config](std::string_view allowed) {
    return std::unexpected(
        fmt::format("metrics.listen: given {}, allowed {}", config.listen, allowed));
  };
  const auto failed = [&] {
    if (errno == EADDRINUSE) return refused("a port where nobody else listens");
    if (errno == EADDRNOTAVAIL)
      return refused("an address that the kernel of this machine has, or 0.0.0.0");
    return refused(fmt::format("where we may listen: {}", strerror(errno)));
  };
  const auto endpoint = parse_endpoint(config.listen);
  if (!endpoint) return refused(ListenSyntax::kAllowed);
  FileDescriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return failed();
  // Connections left by an lsnd that has just ended do not matter.
  const int on = 1;
  if (setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) return failed();
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(endpoint->port);
  address.sin_addr.s_addr = htonl(endpoint->address.value);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      listen(fd.get(), kMetricsBacklog) != 0)
    return failed();
  return fd;
}

MetricsServer::MetricsServer(FileDescriptor socket, Dataplane& dataplane,
                             const shared::Generation& generation, Time now,
                             const LogThread* records)
    : dataplane_(dataplane),
      records_(records),
      source_(MetricsSource::of(dataplane, generation)),
      pulse_(counters_of(source_), now),
      next_facts_(now + kFactsInterval),
      facts_(new_facts(generation)),
      wake_(wake_up_call()),
      http_(std::move(socket), [this](std::string_view path) { return page(path); }, loop_, now) {
  if (!loop_.watch(wake_.get(), EPOLLIN, [] {}))
    throw std::system_error(errno, std::generic_category(), "epoll_ctl");
  thread_ = quiet_thread([this] { run(); });
}

MetricsServer::~MetricsServer() {
  ending_.store(true, std::memory_order_relaxed);
  const std::uint64_t one = 1;
  static_cast<void>(write(wake_.get(), &one, sizeof one));
  thread_.join();
}

void MetricsServer::tick(Time now, Phase phase, const shared::Generation& generation) {
  pulse_.beat(now, phase);
  if (now < next_facts_) return;
  // Freed after the lock.
  auto fresh = new_facts(generation);
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock) return;
  next_facts_ = now + kFactsInterval;
  facts_.swap(fresh);
}

std::shared_ptr<const MetricsFacts> MetricsServer::new_facts(
    const shared::Generation& generation) const {
  auto facts = std::make_shared<MetricsFacts>(MetricsFacts::of(dataplane_, generation));
  if (records_ != nullptr) facts->records = records_->status();
  return facts;
}

std::shared_ptr<const MetricsFacts> MetricsServer::facts() const {
  const std::lock_guard lock(mutex_);
  return facts_;
}

void MetricsServer::run() {
  Time next_look = steady_clock::now();
  while (!ending_.load(std::memory_order_relaxed)) {
    if (const Time now = steady_clock::now(); now >= next_look) {
      next_look = now + kLookInterval;
      pulse_.look(now);
      http_.tick(now);
    }
    if (!loop_.wait(static_cast<int>(kLookInterval.count()))) {
      spdlog::critical("metrics: epoll_wait: {}", strerror(errno));
      return;
    }
  }
}

std::optional<HttpAnswer> MetricsServer::page(std::string_view path) {
  const Time now = steady_clock::now();
  if (path == "/metrics") return HttpAnswer{200, kPrometheusText, text(now)};
  if (path == "/-/ready") return verdict(pulse_.waiting(), "ready");
  if (path == "/-/healthy") {
    pulse_.look(now);
    return verdict(pulse_.trouble(now), "healthy");
  }
  if (path == "/") return said(200, std::string(kContents));
  return std::nullopt;
}

std::shared_ptr<const std::string> MetricsServer::text(Time now) {
  if (text_ == nullptr || now - made_ >= kOldestText) {
    pulse_.look(now);
    text_ = std::make_shared<const std::string>(metrics_text(source_, *facts(), pulse_, now));
    made_ = now;
  }
  return text_;
}

}  // namespace lsn::control
