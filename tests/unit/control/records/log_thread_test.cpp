// From the workers' rings into a file: whole numbers, times, losses, and what a reload changes.
#include "lsn/control/records/log_thread.hpp"

#include <atomic>
#include <thread>

#include "lsn/control/config/generation_builder.hpp"
#include "lsn/control/records/record_line.hpp"
#include "lsn/control/records/static_note.hpp"
#include "unit/control/captured_log.hpp"
#include "unit/control/command/support.hpp"
#include "unit/control/records/support.hpp"

namespace lsn::control {
namespace {

using shared::LogEvent;
using shared::LogKind;
using namespace std::chrono_literals;

/// Two workers with rings.
class LoggingDataplane final : public FakeDataplane {
 public:
  [[nodiscard]] shared::LogRing* log_records(unsigned shard) override { return &rings[shard]; }
  [[nodiscard]] std::chrono::steady_clock::time_point tick_zero() const override { return zero; }

  void write(unsigned shard, LogKind kind, LogEvent event, std::uint16_t nat_port) {
    shared::LogRecord* const record = rings[shard].begin(kind, event);
    if (record == nullptr) return;
    const std::uint32_t number = record->sequence;
    *record = session(event, 0, nat_port).raw;
    record->sequence = number;
    record->kind = kind;
    record->at = now();
    rings[shard].commit();
  }
  [[nodiscard]] state::Ticks now() const {
    const auto passed = std::chrono::steady_clock::now() - zero;
    return state::Ticks{static_cast<std::uint32_t>(passed / 10ms)};
  }

  state::PageMemory memory{state::Pages::kSmall};
  std::array<shared::LogRing, 2> rings{shared::LogRing{4096, &memory},
                                       shared::LogRing{4096, &memory}};
  /// The clock of ticks has wrapped once since then.
  std::chrono::steady_clock::time_point zero = std::chrono::steady_clock::now() - 42949682960ms;
};

class LogThreadTest : public WithDirectory {
 protected:
  LogThreadTest() {
    model.records.node = "n1";
    model.records.file.push_back({});
    model.records.file[0].path = path();
    model.lsn.group.push_back({});
    model.lsn.group[0].name = "LSN GROUP-1";
    generation.groups.resize(1);
    generation.groups[0].name = "LSN GROUP-1";
    generation.groups[0].present = true;
  }

  /// All lines of all segments.
  [[nodiscard]] std::vector<RecordLine> lines() {
    all_.clear();
    for (const std::string& file : files())
      if (!file.ends_with(".idx")) all_ += text(file);
    std::vector<RecordLine> records;
    for (std::size_t at = 0, next; (next = all_.find('\n', at)) != std::string::npos;
         at = next + 1) {
      const auto line = RecordLine::parse(std::string_view(all_).substr(at, next - at));
      EXPECT_TRUE(line) << all_.substr(at, next - at);
      if (line) records.push_back(*line);
    }
    return records;
  }
  void wait_until(const std::function<bool()>& is) {
    for (int i = 0; i < 1000 && !is(); ++i) std::this_thread::sleep_for(5ms);
    EXPECT_TRUE(is());
  }

  LoggingDataplane dataplane;
  Model model;
  shared::Generation generation;

 private:
  std::string all_;
};

TEST_F(LogThreadTest, RecordsOfAllWorkersComeWithTheirNumbersAndTimes) {
  const std::int64_t before = std::chrono::duration_cast<std::chrono::milliseconds>(
                                  std::chrono::system_clock::now().time_since_epoch())
                                  .count();
  {
    LogThread log(dataplane, model, generation);
    for (std::uint16_t i = 0; i < 1000; ++i) {
      dataplane.write(i % 2, LogKind::kSession, LogEvent::kCreated, i);
      if (i % 4 == 0) dataplane.write(i % 2, LogKind::kMapping, LogEvent::kDeleted, i);
    }
    wait_until([&] { return log.status().taken[LogKind::kSession] == 1000; });
    EXPECT_EQ(log.status().lost[LogKind::kSession], 0u);
  }
  std::map<std::pair<unsigned, LogKind>, std::uint64_t> next;
  std::map<unsigned, std::int64_t> latest;
  for (const RecordLine& line : lines()) {
    if (line.kind == LogKind::kConfig) continue;
    EXPECT_EQ(line.sequence, (next[{*line.worker, line.kind}]++));
    EXPECT_GE(line.at_ms, latest[*line.worker]);
    latest[*line.worker] = line.at_ms;
    EXPECT_GE(line.at_ms, before - 20);
    EXPECT_LE(line.at_ms, before + 30'000);
    EXPECT_EQ(line.group, "LSN GROUP-1");
    EXPECT_EQ(line.node, "n1");
  }
  EXPECT_EQ((next[{0u, LogKind::kSession}]), 500u);
  EXPECT_EQ((next[{1u, LogKind::kSession}]), 500u);
  EXPECT_EQ((next[{0u, LogKind::kMapping}]), 250u);
}

TEST_F(LogThreadTest, StreamBeginsAndEndsWithConfig) {
  {
    LogThread log(dataplane, model, generation);
  }
  const auto all = lines();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].event, LogEvent::kCreated);
  EXPECT_EQ(all[1].event, LogEvent::kDeleted);
}

TEST_F(LogThreadTest, WorkersThatGoOnWriting_NeitherKeepItNorComeBehindItsEnd) {
  std::atomic<bool> ended{false};
  std::thread worker;
  {
    LogThread log(dataplane, model, generation);
    worker = std::thread([&] {
      for (std::uint16_t i = 0; !ended; ++i) {
        dataplane.write(0, LogKind::kSession, LogEvent::kCreated, i);
        std::this_thread::sleep_for(10us);
      }
    });
    wait_until([&] { return log.status().taken[LogKind::kSession] > 100; });
  }
  ended = true;
  worker.join();
  const auto all = lines();
  ASSERT_FALSE(all.empty());
  EXPECT_EQ(all.back().kind, LogKind::kConfig) << all.back().line;
  EXPECT_EQ(all.back().event, LogEvent::kDeleted);
}

TEST_F(LogThreadTest, FullRing_IsInTheStreamAsLost) {
  for (int i = 0; i < 5000; ++i) dataplane.write(1, LogKind::kSession, LogEvent::kCreated, 1);
  {
    LogThread log(dataplane, model, generation);
    wait_until([&] { return log.status().taken[LogKind::kSession] == 4096; });
    dataplane.write(1, LogKind::kSession, LogEvent::kDeleted, 2);
    wait_until([&] { return log.status().taken[LogKind::kSession] == 4097; });
    EXPECT_EQ(log.status().lost[LogKind::kSession], 904u);
  }
  std::uint64_t lost = 0, last = 0;
  for (const RecordLine& line : lines()) {
    if (line.kind == LogKind::kLost) {
      EXPECT_EQ(line.lost_kind, "SESSION");
      EXPECT_EQ(line.worker, 1u);
      EXPECT_LE(line.lost_from_ms, line.at_ms);
      lost += line.lost;
    }
    if (line.kind == LogKind::kSession) last = line.sequence;
  }
  EXPECT_EQ(lost, 904u);
  EXPECT_EQ(last, 5000u) << "the gap in the numbers is as large";
}

TEST_F(LogThreadTest, ReloadChangesSinksWithoutLosingARecord) {
  {
    LogThread log(dataplane, model, generation);
    std::uint16_t port = 0;
    for (int round = 0; round < 20; ++round) {
      for (int i = 0; i < 100; ++i)
        dataplane.write(0, LogKind::kSession, LogEvent::kCreated, port++);
      // The same file with other settings: one sink ends, the other goes on in its segment.
      model.records.file[0].keep = static_cast<std::uint32_t>(1000 + round);
      log.configure(model, generation);
    }
    wait_until([&] { return log.status().taken[LogKind::kSession] == 2000; });
  }
  std::uint64_t next = 0;
  for (const RecordLine& line : lines())
    if (line.kind == LogKind::kSession) {
      EXPECT_EQ(line.sequence, next++);
    }
  EXPECT_EQ(next, 2000u);
}

TEST_F(LogThreadTest, ChangesOfWhatIsRecorded_AreConfigRecords) {
  {
    LogThread log(dataplane, model, generation);
    model.lsn.group[0].logging = Switch::kEnabled;
    log.configure(model, generation);
    log.configure(model, generation);
    model.lsn.group.clear();
    log.configure(model, generation);
  }
  std::vector<std::string> said;
  for (const RecordLine& line : lines())
    if (line.kind == LogKind::kConfig && line.event == LogEvent::kCompleted)
      said.emplace_back(line.text);
  EXPECT_THAT(said,
              ::testing::ElementsAre("group LSN GROUP-1: nothing is recorded",
                                     "group LSN GROUP-1: logging ENABLED, sessionLogging DISABLED, "
                                     "logSessDeletion ENABLED",
                                     "group LSN GROUP-1: removed"));
}

TEST_F(LogThreadTest, AddressesThatNoGroupHadBefore_AreSaidToBeNew) {
  const auto range = [](const char* first, const char* last) {
    return wire::Ipv4Range{*wire::parse_ipv4(first), *wire::parse_ipv4(last)};
  };
  PoolConfig pool;
  pool.name = "MORE";
  pool.lsnip = {range("203.0.113.100", "203.0.113.110")};
  model.lsn.pool.push_back(pool);
  model.lsn.group.at(0).poolname.emplace_back("MORE");
  {
    LogThread log(dataplane, model, generation);
    model.lsn.pool.back().lsnip = {range("203.0.113.99", "203.0.113.112")};
    log.configure(model, generation);
    log.configure(model, generation);
  }
  std::vector<std::string> said;
  for (const RecordLine& line : lines())
    if (line.text.starts_with(kNewAddresses)) said.emplace_back(line.text);
  EXPECT_THAT(said, ::testing::ElementsAre("translated from now on: 203.0.113.99, "
                                           "203.0.113.111-203.0.113.112"));
}

TEST_F(LogThreadTest, StaticMappingsThatBecomeTooMany_AreNotSaidToBeRemoved) {
  StaticConfig mapping;
  mapping.name = "S";
  model.lsn.statics.push_back(mapping);
  {
    LogThread log(dataplane, model, generation);
    for (std::size_t i = 0; i < kMostStaticNotes; ++i) {
      mapping.name = fmt::format("more {}", i);
      model.lsn.statics.push_back(mapping);
    }
    log.configure(model, generation);
    model.lsn.statics.resize(1);
    log.configure(model, generation);
    model.lsn.statics.clear();
    log.configure(model, generation);
  }
  std::vector<std::string> said;
  for (const RecordLine& line : lines())
    if (line.text.starts_with("static")) said.emplace_back(line.text.substr(0, 20));
  EXPECT_THAT(said, ::testing::ElementsAre("static S: transportp", "statics: a record ea",
                                           "static S: nothing is", "statics: 4097, too m",
                                           "static S: transportp", "statics: a record ea",
                                           "static S: removed", "statics: removed"));
}

TEST_F(LogThreadTest, ASinkThatAReloadAdds_HearsWhatIsInForce) {
  model.lsn.group[0].logging = Switch::kEnabled;
  {
    LogThread log(dataplane, model, generation);
    wait_until([&] { return log.status().sinks[0].written >= 2; });
    model.records.file.push_back(model.records.file[0]);
    model.records.file[1].path = path("other");
    log.configure(model, generation);
  }
  std::string other;
  for (const std::string& file : files())
    if (file.starts_with("other") && !file.ends_with(".idx")) other += text(file);
  EXPECT_THAT(other, ::testing::HasSubstr("text=\"in force: group LSN GROUP-1: logging ENABLED"));
  EXPECT_THAT(other, ::testing::HasSubstr("text=\"records begin here, with a reload\""));
}

/// A sink that takes nothing until it is told to.
class Stuck final : public RecordSink {
 public:
  explicit Stuck(std::atomic<bool>& takes, std::vector<Record>& out) : takes_(takes), out_(out) {}
  std::size_t write(const RecordBatch& batch, std::size_t from) override {
    if (!takes_) return from;
    out_.insert(out_.end(), batch.records.begin() + static_cast<std::ptrdiff_t>(from),
                batch.records.end());
    return batch.records.size();
  }

 private:
  std::atomic<bool>& takes_;
  std::vector<Record>& out_;
};

TEST(SinkRunner, SinkThatStalls_LosesTheNewestAndSaysSoInTheStream) {
  std::atomic<bool> takes{false};
  std::vector<Record> out;
  {
    SinkRunner runner("stuck", std::make_unique<Stuck>(takes, out), nullptr, 10);
    for (int i = 0; i < 8; ++i)
      runner.give(batch_of({session(LogEvent::kCreated, kMoment + i),
                            session(LogEvent::kCreated, kMoment + i),
                            session(LogEvent::kCreated, kMoment + i)}));
    for (int i = 0; i < 400 && !runner.status().stalled; ++i) std::this_thread::sleep_for(5ms);
    EXPECT_TRUE(runner.status().stalled);
    EXPECT_EQ(runner.status().lost, 15u);
    EXPECT_EQ(runner.status().waiting, 9u);
    takes = true;
    for (int i = 0; i < 400 && runner.status().written < 10; ++i) std::this_thread::sleep_for(5ms);
    // Nothing has come since: the loss is told all the same.
    EXPECT_EQ(runner.status().written, 10u);
    runner.give(batch_of({session(LogEvent::kDeleted, kMoment + 9)}));
    runner.end();
    EXPECT_TRUE(runner.wait(2s));
  }
  ASSERT_EQ(out.size(), 11u);
  EXPECT_EQ(out[9].raw.kind, LogKind::kLost);
  EXPECT_EQ(out[9].raw.totals.count, 15u);
  EXPECT_EQ(out[9].from_ms, kMoment + 3);
  EXPECT_EQ(out[9].at_ms, kMoment + 7);
  EXPECT_EQ(out[10].raw.event, LogEvent::kDeleted);
}

TEST(SinkRunner, SinkThatTakesNothingAtTheEnd_IsSaidToLackWhatWaited) {
  std::atomic<bool> takes{false};
  std::vector<Record> out;
  const CapturedLog log;
  SinkRunner runner("stuck", std::make_unique<Stuck>(takes, out), nullptr, 2);
  for (int i = 0; i < 3; ++i) runner.give(batch_of({session(LogEvent::kCreated, kMoment + i)}));
  runner.end();
  EXPECT_TRUE(runner.wait(2s));
  EXPECT_THAT(log.text(), ::testing::HasSubstr("stuck ends and lacks 3 records: 2 that waited "
                                               "until now, 1 for which its queue had no room"));
}

// The records of a batch are those of several workers; one of them may have been behind the others,
// and have lost some before.
TEST(SinkRunner, WhatIsLost_IsAsOldAsTheOldestOfIt) {
  std::atomic<bool> takes{false};
  std::vector<Record> out;
  SinkRunner runner("stuck", std::make_unique<Stuck>(takes, out), nullptr, 1);
  runner.give(batch_of({session(LogEvent::kCreated, kMoment)}));
  runner.give(batch_of({session(LogEvent::kCreated, kMoment + 50),
                        session(LogEvent::kCreated, kMoment + 10),
                        lost_record({7, kMoment + 5, kMoment + 60}, 1, LogKind::kSession, 0),
                        session(LogEvent::kCreated, kMoment + 40)}));
  takes = true;
  for (int i = 0; i < 400 && runner.status().written < 2; ++i) std::this_thread::sleep_for(5ms);
  runner.end();
  EXPECT_TRUE(runner.wait(2s));
  ASSERT_EQ(out.size(), 2u);
  EXPECT_EQ(out[1].raw.kind, LogKind::kLost);
  EXPECT_EQ(out[1].raw.totals.count, 3u + 7u);
  EXPECT_EQ(out[1].from_ms, kMoment + 5);
  EXPECT_EQ(out[1].at_ms, kMoment + 60);
}

}  // namespace
}  // namespace lsn::control
