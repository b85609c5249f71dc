// How many records a second the log thread takes to a sink, and files for `lsnctl find` to be
// measured with.
//
//   bench_records stream [--records 5000000] [--to file | ipfix-udp | ipfix-tcp] [--format text]
//       [--runs 1] DIRECTORY
//       one worker's ring, kept full, through the log thread into a file sink, or to a collector of
//       IPFIX: a thread that reads and does nothing else
//   bench_records write [--records 100000000] [--compress zstd] DIRECTORY
//       sessions of 64 NAT addresses, 20,000 that begin and 20,000 that end per second, each of a
//       minute, in segments of 1 GB: what a search is measured with; it names one session
//
// Times are of the wall clock, everything else of the machine included.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "lsn/control/file_descriptor.hpp"
#include "lsn/control/records/file_sink.hpp"
#include "lsn/control/records/log_thread.hpp"
#include "support/one_ring.hpp"

namespace lsn::bench {
namespace {

using namespace control;
using shared::LogEvent;
using shared::LogKind;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t kBegin = 1'796'085'089'000;  // 2026-12-01T00:31:29Z
constexpr std::uint32_t kAddresses = 64;
constexpr std::uint64_t kPerSecond = 20'000;  ///< sessions that begin
constexpr std::int64_t kLifeMs = 60'000;

struct Options {
  std::uint64_t records = 0;
  unsigned runs = 1;
  std::string to = "file";
  std::string format = "text";
  std::string compress = "none";
  std::string directory;
};

/// The nth session: its NAT endpoint is free again long before it comes round.
void fill(shared::LogRecord& r, std::uint64_t n) {
  const auto scattered = static_cast<std::uint32_t>(n * 0x9E3779B1u);
  r.protocol = n % 3 == 0 ? shared::Protocol::kUdp : shared::Protocol::kTcp;
  r.mapping = shared::Dependence::kAddressPort;
  r.subscriber = wire::Be32::of(0x64400000 + (scattered >> 12));
  r.subscriber_port = wire::Be16::of(static_cast<std::uint16_t>(1024 + scattered % 60'000));
  r.nat_ip = wire::Be32::of(0xCB007100 + static_cast<std::uint32_t>(n % kAddresses));
  r.nat_port = wire::Be16::of(static_cast<std::uint16_t>(1024 + n / kAddresses % 64'512));
  r.remote_ip = wire::Be32::of(0x08080000 + scattered % 65'536);
  r.remote_port = wire::Be16::of(443);
}

/// A collector at a port of loopback.
class Collector {
 public:
  explicit Collector(IpfixTransport transport)
      : socket_(socket(AF_INET, transport == IpfixTransport::kUdp ? SOCK_DGRAM : SOCK_STREAM, 0)) {
    const int room = 8 << 20;
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        (transport == IpfixTransport::kTcp && listen(socket_.get(), 1) != 0))
      throw std::runtime_error("no port of loopback");
    getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    config_.collector = fmt::format("127.0.0.1:{}", ntohs(address.sin_port));
    config_.transport = transport;
    thread_ = std::thread([this] { run(); });
  }
  Collector(const Collector&) = delete;
  Collector& operator=(const Collector&) = delete;
  ~Collector() {
    ending_ = true;
    thread_.join();
  }

  [[nodiscard]] const RecordIpfixConfig& config() const { return config_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  void run() {
    FileDescriptor connection;
    std::vector<char> room(1 << 20);
    while (!ending_) {
      const bool is_listening = config_.transport == IpfixTransport::kTcp && !connection.valid();
      pollfd waiting{connection.valid() ? connection.get() : socket_.get(), POLLIN, 0};
      if (poll(&waiting, 1, 20) != 1) continue;
      if (is_listening) {
        connection = FileDescriptor(accept(socket_.get(), nullptr, nullptr));
        continue;
      }
      const ssize_t size = recv(waiting.fd, room.data(), room.size(), 0);
      if (size <= 0) return;
      bytes_ += static_cast<std::uint64_t>(size);
    }
  }

  RecordIpfixConfig config_;
  FileDescriptor socket_;
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

Model model_of(const Options& options) {
  Model model;
  model.records.node = "bench";
  RecordFileConfig file;
  file.path = options.directory + "/records";
  file.compress = parse_word<Compression>(options.compress).value_or(Compression::kNone);
  file.format = parse_word<RecordFormat>(options.format).value_or(RecordFormat::kText);
  model.records.file = {file};
  model.lsn.group.resize(1);
  model.lsn.group[0].name = "LSN-GROUP-1";
  return model;
}

/// The same records to a collector instead of a file.
void send_to(const Collector& collector, Model& model) {
  model.records.file.clear();
  model.records.ipfix = {collector.config()};
  model.lsn.logprofile.resize(1);
  model.lsn.logprofile[0].name = "LOG";
  model.lsn.logprofile[0].log_ipfix = Switch::kEnabled;
  model.lsn.group[0].logprofilename = {"LOG"};
}

shared::Generation generation_of(const Model& model) {
  shared::Generation generation;
  generation.groups.resize(1);
  generation.groups[0].name = model.lsn.group[0].name;
  generation.groups[0].present = true;
  return generation;
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

void stream(const Options& options) {
  Model model = model_of(options);
  std::unique_ptr<Collector> collector;
  if (options.to != "file") {
    collector = std::make_unique<Collector>(options.to == "ipfix-udp" ? IpfixTransport::kUdp
                                                                      : IpfixTransport::kTcp);
    send_to(*collector, model);
  }
  const shared::Generation generation = generation_of(model);
  const auto dataplane = std::make_unique<test::OneRing>();
  const auto begin = Clock::now();
  double rings = 0;
  {
    LogThread log(*dataplane, model, generation);
    for (std::uint64_t n = 0; n < options.records;) {
      // A sink that is behind loses records: it is what is measured.
      const RecordsStatus status = log.status();
      const std::uint64_t taken = status.taken[LogKind::kSession];
      if (n - taken > shared::LogRing::kCapacity / 2 ||
          status.sinks[0].waiting > SinkRunner::kQueue / 2) {
        std::this_thread::sleep_for(std::chrono::microseconds{200});
        continue;
      }
      for (const std::uint64_t end = std::min(options.records, n + 8192); n < end; ++n) {
        shared::LogRecord* const record = dataplane->ring.begin(
            LogKind::kSession, n % 2 == 0 ? LogEvent::kCreated : LogEvent::kDeleted);
        if (record == nullptr) break;
        fill(*record, n / 2);
        if (n % 2 != 0) record->reason = shared::LogReason::kFin;
        record->at = dataplane->now();
        dataplane->ring.commit();
      }
    }
    rings = seconds_since(begin);
    while (log.status().sinks[0].waiting != 0)
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    if (log.status().sinks[0].lost != 0 || dataplane->ring.lost() != 0)
      fmt::print("records were lost: it is no measurement\n");
  }
  const double all = seconds_since(begin);
  fmt::print(
      "{} records, {}: {:.2f} s out of the ring, {:.2f} s to the end: {:.2f} M records/s{}\n",
      options.records, collector == nullptr ? options.format : options.to, rings, all,
      static_cast<double>(options.records) / all / 1e6,
      collector == nullptr
          ? ""
          : fmt::format(", the collector read {} MB", collector->bytes() / 1'000'000));
  std::fflush(stdout);
}

/// The records of one second: what begins, and what began a minute before.
void add_second(RecordBatch& batch, std::uint64_t second, std::uint64_t& sequence) {
  const auto add = [&](std::uint64_t n, LogEvent event, std::int64_t at_ms) {
    Record& record = batch.records.emplace_back();
    record.raw.kind = LogKind::kSession;
    record.raw.event = event;
    fill(record.raw, n);
    record.at_ms = at_ms;
    record.sequence = sequence++;
    record.worker = 0;
    if (event != LogEvent::kDeleted) return;
    record.raw.reason = shared::LogReason::kFin;
    record.raw.totals.packets = {12, 10};
    record.raw.totals.bytes = {1480, 9000};
    record.raw.totals.duration = state::TickDuration{kLifeMs / 10};
  };
  for (std::uint64_t i = 0; i < kPerSecond; ++i) {
    const auto at_ms = kBegin + static_cast<std::int64_t>(second * 1000 + i * 1000 / kPerSecond);
    add(second * kPerSecond + i, LogEvent::kCreated, at_ms);
    if (second >= kLifeMs / 1000)
      add((second - kLifeMs / 1000) * kPerSecond + i, LogEvent::kDeleted, at_ms);
  }
}

void write(const Options& options) {
  const Model model = model_of(options);
  const auto names = RecordNames::of(model, generation_of(model), nullptr);
  const auto begin = Clock::now();
  std::uint64_t written = 0, second = 0, sequence = 0;
  FileSink sink(model.records.file[0]);
  {
    RecordBatch first;
    first.names = names;
    Record started;
    started.raw.kind = LogKind::kConfig;
    started.raw.group = shared::kNoId;
    started.at_ms = kBegin;
    first.add(started, "lsnd begins");
    if (sink.write(first, 0) != 1) throw std::runtime_error("the file takes nothing");
  }
  while (written < options.records) {
    RecordBatch batch;
    batch.names = names;
    add_second(batch, second++, sequence);
    for (std::size_t at = 0; at < batch.records.size();) {
      const std::size_t next = sink.write(batch, at);
      if (next == at) throw std::runtime_error("the file takes nothing: is the disk full?");
      at = next;
    }
    written += batch.records.size();
  }
  const double plain = seconds_since(begin);
  sink.finish();
  fmt::print("{} records of {} s of traffic in {:.1f} s, {:.2f} M records/s\n", written, second,
             plain, static_cast<double>(written) / plain / 1e6);
  shared::LogRecord asked{};
  const std::uint64_t n = second / 2 * kPerSecond + 12'345;
  fill(asked, n);
  fmt::print("session {}: lsnctl find -natIP {} -natPort {} -at {} {}/records\n", n,
             wire::to_string(wire::Ipv4Address{asked.nat_ip}), asked.nat_port.host(),
             utc_text(kBegin + static_cast<std::int64_t>(second / 2 * 1000) + 30'000),
             options.directory);
}

}  // namespace
}  // namespace lsn::bench

int main(int argc, char** argv) {
  using namespace lsn::bench;
  Options options;
  CLI::App app("How fast records are written, and files to search in", "bench_records");
  app.require_subcommand(1);
  CLI::App* const streamed = app.add_subcommand("stream", "through the log thread");
  CLI::App* const written = app.add_subcommand("write", "files for lsnctl find");
  for (CLI::App* const each : {streamed, written}) {
    each->add_option("--records", options.records);
    each->add_option("--runs", options.runs);
    each->add_option("--to", options.to)->check(CLI::IsMember({"file", "ipfix-udp", "ipfix-tcp"}));
    each->add_option("--format", options.format)->check(CLI::IsMember({"text", "json"}));
    each->add_option("--compress", options.compress)->check(CLI::IsMember({"none", "zstd"}));
    each->add_option("directory", options.directory)->required();
  }
  CLI11_PARSE(app, argc, argv);
  try {
    if (options.records == 0) options.records = streamed->parsed() ? 5'000'000 : 100'000'000;
    if (written->parsed()) write(options);
    for (unsigned run = 0; streamed->parsed() && run < options.runs; ++run) stream(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_records: {}\n", error.what());
    return 1;
  }
  return 0;
}
