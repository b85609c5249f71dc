// A dataplane that is a table, and answers driven to their end against it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "lsn/control/command/answer.hpp"
#include "lsn/control/command/commands.hpp"
#include "unit/control/config/support.hpp"

namespace lsn::control {

/// Workers that answer when they are polled, unless they are told to hold their answers.
class FakeDataplane : public Dataplane {
 public:
  explicit FakeDataplane(unsigned workers = 2) {
    for (unsigned i = 0; i < workers; ++i) {
      counters_.push_back(std::make_unique<shared::Counters>());
      alg_counters_.push_back(std::make_unique<shared::AlgCounters>());
      alg_events_.push_back(std::make_unique<shared::EventRing>());
      state_changes_.push_back(std::make_unique<shared::StateRing>());
      asked_.emplace_back();
    }
  }

  [[nodiscard]] unsigned workers() const override {
    return static_cast<unsigned>(counters_.size());
  }
  [[nodiscard]] WorkerStatus worker(unsigned shard) const override {
    WorkerStatus status;
    status.cpu = 10 + shard;
    status.numa_node = static_cast<int>(shard);
    status.counters = counters_[shard].get();
    status.alg = alg_counters_[shard].get();
    status.capacity = {1000, 2000, 3000, 400, 500, 60, 70'000};
    return status;
  }
  [[nodiscard]] std::vector<shared::PortStatus> ports() override { return port_status; }
  [[nodiscard]] std::vector<std::optional<shared::KernelStatus>> kernel_interfaces()
      const override {
    return kernel_status;
  }
  [[nodiscard]] std::optional<shared::KernelRoutesStatus> kernel_routes() const override {
    return kernel_routes_status;
  }
  /// By their place: the prefixes must be different.
  [[nodiscard]] std::vector<shared::RouteRow> list_kernel_routes(
      const std::optional<shared::RouteRow>& after, std::size_t limit) const override {
    auto at = kernel_rows.begin();
    if (after)
      at = std::next(std::find_if(kernel_rows.begin(), kernel_rows.end(),
                                  [&](const auto& row) { return row.prefix == after->prefix; }));
    const auto rest = static_cast<std::size_t>(kernel_rows.end() - at);
    return {at, at + static_cast<std::ptrdiff_t>(std::min(limit, rest))};
  }
  [[nodiscard]] std::optional<shared::RouteRow> find_kernel_route(
      const shared::InsideAddress& destination) const override {
    for (const shared::RouteRow& row : kernel_rows)
      if (row.prefix.contains(destination.address)) return row;
    return std::nullopt;
  }

  void publish(std::shared_ptr<const shared::Generation> generation,
               std::function<void(std::uint64_t)> done) override {
    ++publications;
    published = generation;
    answers_.push_back([this, generation = std::move(generation), done = std::move(done)] {
      adopted = generation;
      done(std::exchange(ended_next, 0));
    });
  }

  void flush(unsigned shard, shared::SessionFlush flush,
             std::function<void(std::uint64_t)> done) override {
    answers_.push_back([this, shard, filter = flush.filter, done = std::move(done)] {
      done(std::erase_if(asked_[shard].sessions,
                         [&](const auto& row) { return matches(filter, row); }));
    });
  }

  /// What ask() answers with: pages and questions by worker.
  struct Answers {
    std::vector<shared::SessionRow> sessions;
    std::vector<shared::StateRecord> state;
    std::vector<shared::EspRow> esp;
    std::vector<shared::GateRow> gates;
    std::vector<shared::SubscriberRow> subscribers;
    std::vector<shared::MappingRow> mappings;
    std::vector<shared::StaticRow> statics;
    std::vector<shared::BlockRow> blocks;
    std::vector<shared::NeighbourRow> neighbours;
    std::vector<shared::DropRow> drops;
    std::vector<shared::IkeRow> ike;
    std::vector<shared::AdviceRow> advice;
    shared::Usage usage;
    std::function<void(shared::Lookup&)> look_up = [](shared::Lookup&) {};
  };
  void ask(unsigned shard, Question question, std::function<void(Question)> done) override {
    ++pages_asked;
    answers_.push_back(
        [this, shard, question = std::move(question), done = std::move(done)]() mutable {
          std::visit([&](auto& asked) { answer(asked, asked_[shard]); }, question);
          done(std::move(question));
        });
  }
  [[nodiscard]] Answers& answers(unsigned shard) { return asked_[shard]; }

  void flush_alg(unsigned shard, shared::AlgFlush flush,
                 std::function<void(shared::AlgFlush)> done) override {
    answers_.push_back([this, shard, flush, done = std::move(done)]() mutable {
      flush.esp_sessions = std::erase_if(
          asked_[shard].esp, [&](const auto& row) { return matches(flush.filter, row); });
      flush.ike_sessions = shard + 1;
      flush.finished = true;
      done(flush);
    });
  }
  void restore(std::vector<shared::StateRecord> records,
               std::function<void(std::uint64_t)> done) override {
    to_restore = std::move(records);
    restored = std::move(done);
  }
  [[nodiscard]] shared::StateRing& state_changes(unsigned shard) override {
    return *state_changes_[shard];
  }
  [[nodiscard]] std::vector<shared::StateRecord>& state_rows(unsigned shard) {
    return asked_[shard].state;
  }
  [[nodiscard]] shared::EventRing& alg_events(unsigned shard) override {
    return *alg_events_[shard];
  }

  void poll() override {
    ++polls;
    if (hold) return;
    for (std::deque<std::function<void()>> ready = std::exchange(answers_, {}); !ready.empty();
         ready.pop_front())
      ready.front()();
  }

  [[nodiscard]] shared::Counters& counters(unsigned shard) { return *counters_[shard]; }
  [[nodiscard]] std::vector<shared::SessionRow>& rows(unsigned shard) {
    return asked_[shard].sessions;
  }
  [[nodiscard]] shared::AlgCounters& alg_counters(unsigned shard) { return *alg_counters_[shard]; }
  [[nodiscard]] std::vector<shared::EspRow>& esp_rows(unsigned shard) { return asked_[shard].esp; }
  [[nodiscard]] std::vector<shared::GateRow>& gate_rows(unsigned shard) {
    return asked_[shard].gates;
  }
  std::vector<shared::StateRecord> to_restore;
  std::function<void(std::uint64_t)> restored;
  [[nodiscard]] std::size_t outstanding() const { return answers_.size(); }

  std::vector<shared::PortStatus> port_status;
  std::vector<std::optional<shared::KernelStatus>> kernel_status;
  std::optional<shared::KernelRoutesStatus> kernel_routes_status;
  std::vector<shared::RouteRow> kernel_rows;
  std::shared_ptr<const shared::Generation> published;
  std::shared_ptr<const shared::Generation> adopted;
  std::uint64_t ended_next = 0;  ///< what the next publication ends
  unsigned publications = 0;
  unsigned pages_asked = 0;
  unsigned polls = 0;
  std::atomic<bool> hold = false;  ///< any thread

 private:
  std::vector<std::unique_ptr<shared::StateRing>> state_changes_;
  template <class Page>
  static void page_of(Page& page, const auto& all) {
    page.rows.clear();
    while (page.cursor < all.size() && page.rows.size() < page.limit)
      if (matches(page.filter, all[page.cursor++])) page.rows.push_back(all[page.cursor - 1]);
    page.finished = page.cursor >= all.size();
  }
  static void answer(shared::SessionPage& page, const Answers& all) { page_of(page, all.sessions); }
  static void answer(shared::StatePage& page, const Answers& all) { page_of(page, all.state); }
  static void answer(shared::EspPage& page, const Answers& all) { page_of(page, all.esp); }
  static void answer(shared::GatePage& page, const Answers& all) { page_of(page, all.gates); }
  static void answer(shared::SubscriberPage& page, const Answers& all) {
    page_of(page, all.subscribers);
  }
  static void answer(shared::MappingPage& page, const Answers& all) { page_of(page, all.mappings); }
  static void answer(shared::StaticPage& page, const Answers& all) { page_of(page, all.statics); }
  static void answer(shared::BlockPage& page, const Answers& all) { page_of(page, all.blocks); }
  static void answer(shared::NeighbourPage& page, const Answers& all) {
    page_of(page, all.neighbours);
  }
  static void answer(shared::DropPage& page, const Answers& all) { page_of(page, all.drops); }
  static void answer(shared::IkePage& page, const Answers& all) { page_of(page, all.ike); }
  static void answer(shared::AdvicePage& page, const Answers& all) { page_of(page, all.advice); }
  static void answer(shared::Usage& usage, const Answers& all) {
    usage = all.usage;
    usage.finished = true;
  }
  static void answer(shared::Lookup& lookup, const Answers& all) {
    all.look_up(lookup);
    lookup.finished = true;
  }

  static bool is_of(const shared::SessionFilter& filter, wire::Ipv4Address subscriber,
                    std::uint16_t group) {
    if (filter.group != shared::kNoId && filter.group != group) return false;
    if (!filter.network) return true;
    const std::uint32_t mask = filter.netmask.value_or(filter.network->mask());
    return (subscriber.value & mask) == (filter.network->address.value & mask);
  }
  static bool matches(const shared::SubscriberFilter& filter, const shared::SubscriberRow& row) {
    return is_of(filter, row.ip, row.group) && (!filter.nat_ip || filter.nat_ip == row.nat_ip);
  }
  static bool matches(const shared::SessionFilter& filter, const shared::MappingRow& row) {
    return is_of(filter, row.subscriber_ip, row.group) &&
           filter.protocol.value_or(row.protocol) == row.protocol;
  }
  static bool matches(const shared::SessionFilter& filter, const shared::BlockRow& row) {
    return is_of(filter, row.subscriber_ip, row.group) &&
           (!filter.nat_ip || filter.nat_ip == row.ports.nat_ip);
  }
  static bool matches(const shared::NoFilter&, const auto&) { return true; }
  static bool matches(const shared::DropFilter& filter, const shared::DropRow& row) {
    return filter.reason.value_or(row.reason) == row.reason &&
           (!filter.address || *filter.address == row.source || *filter.address == row.destination);
  }
  static bool matches(const shared::AlgFilter& filter, const shared::IkeRow& row) {
    return filter.source_ip.value_or(row.client) == row.client &&
           filter.nat_ip.value_or(row.nat_ip) == row.nat_ip &&
           filter.destination_ip.value_or(row.server) == row.server;
  }

  static bool matches(const shared::AlgFilter& filter, const shared::AdviceRow& row) {
    return filter.source_ip.value_or(row.client) == row.client &&
           filter.nat_ip.value_or(row.nat_ip) == row.nat_ip &&
           filter.destination_ip.value_or(row.server) == row.server;
  }
  static bool matches(const shared::AlgFilter& filter, const shared::EspRow& row) {
    return filter.source_ip.value_or(row.client) == row.client &&
           filter.nat_ip.value_or(row.nat_ip) == row.nat_ip &&
           filter.destination_ip.value_or(row.server) == row.server;
  }
  static bool matches(const shared::AlgFilter& filter, const shared::GateRow& row) {
    return (!filter.source_ip || (row.holder && *filter.source_ip == row.holder->address)) &&
           filter.nat_ip.value_or(row.nat_ip) == row.nat_ip &&
           filter.destination_ip.value_or(row.server) == row.server;
  }
  static bool matches(const shared::SessionFilter& filter, const shared::SessionRow& row) {
    if (filter.group != shared::kNoId && filter.group != row.group) return false;
    if (filter.network) {
      const std::uint32_t mask = filter.netmask.value_or(filter.network->mask());
      if ((row.subscriber_ip.value & mask) != (filter.network->address.value & mask)) return false;
    }
    if (filter.nat_ip && *filter.nat_ip != row.nat_ip) return false;
    return !filter.nat_port || *filter.nat_port == row.nat_port;
  }

  std::vector<std::unique_ptr<shared::Counters>> counters_;
  std::vector<std::unique_ptr<shared::AlgCounters>> alg_counters_;
  std::vector<std::unique_ptr<shared::EventRing>> alg_events_;
  std::vector<Answers> asked_;
  std::deque<std::function<void()>> answers_;
};

inline wire::Ipv4Address ip(std::string_view text) {
  const auto address = wire::parse_ipv4(text);
  if (!address) throw std::logic_error("no address: " + std::string(text));
  return *address;
}

/// A UDP session of 192.0.2.`host` to 198.51.100.10:53, by default of group 0.
inline shared::SessionRow udp_session(unsigned host, std::uint16_t nat_port) {
  shared::SessionRow row;
  row.protocol = shared::Protocol::kUdp;
  row.subscriber_ip = wire::Ipv4Address{ip("192.0.2.0").value + host};
  row.subscriber_port = 5000;
  row.nat_ip = ip("203.0.113.3");
  row.nat_port = nat_port;
  row.remote_ip = ip("198.51.100.10");
  row.remote_port = 53;
  row.group = 0;
  return row;
}

/// A directory that goes away with the test.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "lsn.XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  [[nodiscard]] std::string operator/(const char* name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

inline void write_file(const std::string& path, std::string_view text) {
  std::ofstream file(path, std::ios::trunc);
  file << text;
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

inline std::string read_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A daemon without threads: configuration from a file, fake workers, commands answered at once.
/// What a command says, and the lines that it fails with.
struct Said {
  std::string out;
  std::vector<std::string> errors;
  friend bool operator==(const Said&, const Said&) = default;
};

/// The whole answer to a line. `wait` goes on where the answer waits for another, by the number of
/// turns until then.
template <class Wait>
Said say_to(const CommandContext& context, std::string_view line, std::string by, unsigned most,
            Wait wait) {
  Said said;
  auto command = lsn_commands().parse(line);
  if (!command) return {"", {command.error()}};
  if (!*command) return said;
  (*command)->by = std::move(by);
  auto answer = (*command)->spec->begin(**command, context);
  if (!answer) return {"", {answer.error()}};
  for (unsigned turns = 0; turns < most; ++turns) {
    switch ((*answer)->next(said.out)) {
      case Answer::Progress::kMore:
        break;
      case Answer::Progress::kWaiting:
        wait(turns);
        break;
      case Answer::Progress::kDone:
        return said;
      case Answer::Progress::kFailed:
        said.errors = (*answer)->errors();
        return said;
    }
  }
  throw std::runtime_error("the answer does not end: " + std::string(line));
}

struct Bench {
  Bench() : Bench(std::string(kGoodText)) {}
  explicit Bench(const std::string& text) : text_(text) {
    write_file(file, text);
    config.start();
    dataplane.poll();
  }

  using Said = control::Said;

  Said say(std::string_view line) {
    return say_to(context, line, {}, 100'000, [this](unsigned turns) {
      dataplane.poll();
      // For what another thread does, as writing a file: the machine may be busy.
      if (turns > 1000) std::this_thread::sleep_for(std::chrono::microseconds{100});
    });
  }

  std::string text(const std::string& line) {
    const Said said = say(line);
    EXPECT_THAT(said.errors, testing::IsEmpty());
    return said.out;
  }

  /// The document, which is all that there is.
  nlohmann::json json(const std::string& line) {
    const std::string out = text(line + " --json");
    EXPECT_THAT(out, testing::EndsWith("\n"));
    return nlohmann::json::parse(out);
  }

  /// The only error; nothing was said otherwise.
  std::string error(const std::string& line) {
    const Said said = say(line);
    EXPECT_EQ(said.out, "");
    EXPECT_EQ(said.errors.size(), 1U) << line;
    if (said.errors.empty()) return "";
    EXPECT_THAT(said.errors[0], testing::Not(testing::HasSubstr("\n")));
    return said.errors[0];
  }

  TemporaryDirectory directory;
  std::string file = directory / "lsnd.conf";

 private:
  std::string text_;

 public:
  FakeDataplane dataplane;
  RunningConfig config{file, model_of(text_), dataplane};
  ClearedCounters cleared;
  CommandContext context{dataplane, config, cleared};
};

}  // namespace lsn::control
