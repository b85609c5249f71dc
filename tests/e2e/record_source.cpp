// Records of as many sessions as wanted, without a NIC: one worker's ring, from which the log
// thread takes them, to the sinks of a configuration file.
//
//   record_source --sessions N --rate SESSIONS_PER_SECOND FILE
//
// Session n, from 0 on, is of subscriber 100.64.0.0 + n / 64 and port 1024 + n % 64, at NAT address
// 203.0.112.0 + n % 64 and port 1024 + n / 64, to 198.51.100.10:443; each lives for 20,000 more to
// begin. Where a sink is behind by half of its queue, it is waited for: what the queue holds no
// more would be lost, counted, and said. In the end it prints what `stat records` has, as JSON.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>

#include "lsn/control/config/generation_builder.hpp"
#include "lsn/control/config/load.hpp"
#include "lsn/control/records/log_thread.hpp"
#include "support/one_ring.hpp"

namespace lsn::test {
namespace {

using control::RecordsStatus;
using control::SinkStatus;
using shared::LogEvent;
using shared::LogKind;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::uint64_t kAlive = 20'000;
constexpr std::uint64_t kAddresses = 64;
constexpr std::uint64_t kMost = kAddresses * (65536 - 1024);

struct Options {
  std::uint64_t sessions = 1'000'000;
  std::uint64_t rate = 20'000;
  std::string file;
};

void fill(shared::LogRecord& r, std::uint64_t n) {
  const auto of_address = static_cast<std::uint32_t>(n / kAddresses);
  const auto address = static_cast<std::uint32_t>(n % kAddresses);
  r.protocol = shared::Protocol::kTcp;
  r.mapping = shared::Dependence::kAddressPort;
  r.subscriber = wire::Be32::of(0x64400000 + of_address);
  r.subscriber_port = wire::Be16::of(static_cast<std::uint16_t>(1024 + address));
  r.nat_ip = wire::Be32::of(0xCB007000 + address);
  r.nat_port = wire::Be16::of(static_cast<std::uint16_t>(1024 + of_address));
  r.remote_ip = wire::Be32::of(0xC633640A);
  r.remote_port = wire::Be16::of(443);
}

/// One worker, and the log thread behind it.
class Source {
 public:
  Source(const control::Model& model, const shared::Generation& generation)
      : log_(dataplane_, model, generation) {}

  void run(const Options& options) {
    const auto begin = Clock::now();
    for (std::uint64_t n = 0; n < options.sessions + kAlive; ++n) {
      if (n < options.sessions) write(n, LogEvent::kCreated);
      if (n >= kAlive) write(n - kAlive, LogEvent::kDeleted);
      if (n % 200 != 0) continue;
      std::this_thread::sleep_until(begin + n * 1'000'000us / options.rate);
      while (is_behind()) std::this_thread::sleep_for(1ms);
    }
    const auto patience = Clock::now() + 60s;
    while (!is_done() && Clock::now() < patience) std::this_thread::sleep_for(5ms);
    report(std::chrono::duration<double>(Clock::now() - begin).count());
  }

 private:
  void write(std::uint64_t n, LogEvent event) {
    shared::LogRecord* const record = dataplane_.ring.begin(LogKind::kSession, event);
    if (record == nullptr) return;  // lost, and counted
    fill(*record, n);
    record->at = dataplane_.now();
    if (event == LogEvent::kDeleted) {
      record->reason = shared::LogReason::kFin;
      record->totals.packets = {12, 10};
      record->totals.bytes = {1480, 9000};
      record->totals.duration = state::TickDuration{100};
    }
    dataplane_.ring.commit();
    ++written_;
  }
  [[nodiscard]] bool is_behind() const {
    const RecordsStatus status = log_.status();
    return written_ - status.taken[LogKind::kSession] > shared::LogRing::kCapacity / 2 ||
           std::ranges::any_of(status.sinks, [](const SinkStatus& sink) {
             return sink.waiting > control::SinkRunner::kQueue / 2;
           });
  }
  [[nodiscard]] bool is_done() const {
    const RecordsStatus status = log_.status();
    return status.taken[LogKind::kSession] == written_ &&
           std::ranges::all_of(status.sinks,
                               [](const SinkStatus& sink) { return sink.waiting == 0; });
  }
  void report(double seconds) const {
    const RecordsStatus status = log_.status();
    nlohmann::ordered_json json{{"seconds", seconds},
                                {"taken", status.taken[LogKind::kSession]},
                                {"lost", dataplane_.ring.lost()}};
    for (const SinkStatus& sink : status.sinks)
      json["sinks"].push_back({{"sink", sink.name},
                               {"written", sink.written},
                               {"lost", sink.lost},
                               {"waiting", sink.waiting}});
    fmt::print("{}\n", json.dump());
  }

  OneRing dataplane_;
  control::LogThread log_;
  std::uint64_t written_ = 0;
};

int run(const Options& options) {
  const auto model = control::load_config(options.file);
  if (!model) {
    for (const control::Problem& problem : model.error())
      fmt::print(stderr, "{}\n", control::to_string(problem));
    return 1;
  }
  const auto generation = control::build_generation(*model);
  std::make_unique<Source>(*model, *generation)->run(options);
  return 0;
}

}  // namespace
}  // namespace lsn::test

int main(int argc, char** argv) {
  lsn::test::Options options;
  CLI::App app("Records of sessions, without a NIC", "record_source");
  app.add_option("--sessions", options.sessions)
      ->check(CLI::Range(std::uint64_t{1}, lsn::test::kMost));
  app.add_option("--rate", options.rate)->check(CLI::PositiveNumber);
  app.add_option("file", options.file, "a configuration, as lsnd takes it")->required();
  CLI11_PARSE(app, argc, argv);
  try {
    return lsn::test::run(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "record_source: {}\n", error.what());
    return 1;
  }
}
