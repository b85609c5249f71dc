// `metrics.listen`: lsnd's counters and its health, over HTTP, for Prometheus.
//
//   /metrics     the counters (metrics_text.hpp)
//   /-/healthy   200 while the control thread and all workers run, else 503 and the stuck ones
//   /-/ready     200 while a configuration is in force and none is on its way, else 503 and why not
//
// A thread of its own serves them. The control thread leaves there the figures that only it may
// read, once a second, and its pulse at each tick; it waits for nothing. A client that asks within
// half a second of another gets the same text, so that many clients cost little more than one.
#pragma once

#include <atomic>
#include <chrono>
#include <expected>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "lsn/control/config/model.hpp"
#include "lsn/control/dataplane.hpp"
#include "lsn/control/event_loop.hpp"
#include "lsn/control/file_descriptor.hpp"
#include "lsn/control/metrics/http_server.hpp"
#include "lsn/control/metrics/metrics_text.hpp"
#include "lsn/control/metrics/pulse.hpp"

namespace lsn::control {

class LogThread;

/// Listening, before the devices are taken; a client that connects waits until a MetricsServer
/// runs. None if nothing is to be served. Error: one line.
[[nodiscard]] std::expected<FileDescriptor, std::string> open_metrics_socket(
    const MetricsConfig& config);

class MetricsServer {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// On the control thread, as tick(). The dataplane and the records, if there are any, outlive it.
  MetricsServer(FileDescriptor socket, Dataplane& dataplane, const shared::Generation& generation,
                Time now, const LogThread* records = nullptr);
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  /// At each tick of the control thread.
  void tick(Time now, Phase phase, const shared::Generation& generation);

 private:
  void run();
  [[nodiscard]] std::optional<HttpAnswer> page(std::string_view path);
  [[nodiscard]] std::shared_ptr<const std::string> text(Time now);
  [[nodiscard]] std::shared_ptr<const MetricsFacts> facts() const;

  [[nodiscard]] std::shared_ptr<const MetricsFacts> new_facts(
      const shared::Generation& generation) const;

  Dataplane& dataplane_;
  const LogThread* const records_;
  const MetricsSource source_;
  Pulse pulse_;
  Time next_facts_;  ///< control thread

  mutable std::mutex mutex_;
  std::shared_ptr<const MetricsFacts> facts_;  ///< under mutex_

  // The thread's own.
  EventLoop loop_;
  FileDescriptor wake_;
  HttpServer http_;
  std::shared_ptr<const std::string> text_;
  Time made_{};  ///< text_

  std::atomic<bool> ending_{false};
  std::thread thread_;  // the last: it uses the others
};

}  // namespace lsn::control
