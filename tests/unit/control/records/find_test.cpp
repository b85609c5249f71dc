// Whose an address was: out of segments that a FileSink wrote, with what is missing in them.
#include "lsn/control/records/find.hpp"

#include <fmt/format.h>

#include <fstream>
#include <functional>
#include <map>

#include "lsn/control/records/file_sink.hpp"
#include "unit/control/records/support.hpp"

namespace lsn::control {
namespace {

using shared::LogEvent;
using shared::LogKind;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::int64_t kHour = 3'600'000;

/// All sessions of the NAT addresses.
constexpr std::string_view kLogging =
    "logging ENABLED, sessionLogging ENABLED, logSessDeletion ENABLED, "
    "lsnip 203.0.113.0-203.0.113.255";

class Find : public WithDirectory {
 protected:
  void add(const Record& record) { batch_.records.push_back(record); }
  void config(LogEvent event, std::int64_t at_ms, std::string words = "") {
    Record record;
    record.raw.kind = LogKind::kConfig;
    record.raw.event = event;
    record.raw.group = shared::kNoId;
    record.at_ms = at_ms;
    batch_.add(record, std::move(words));
  }
  /// lsnd begins, and says of its group.
  void begins(std::int64_t at_ms, std::string_view settings = kLogging) {
    config(LogEvent::kCreated, at_ms);
    config(LogEvent::kCompleted, at_ms, fmt::format("group LSN GROUP-1: {}", settings));
  }
  /// A subscriber's session on that NAT port.
  void holds(const char* subscriber, std::uint16_t port, std::int64_t from, std::int64_t until) {
    Record begin = session(LogEvent::kCreated, from, port);
    begin.raw.subscriber = be(subscriber);
    add(begin);
    Record end = session(LogEvent::kDeleted, until, port);
    end.raw.subscriber = be(subscriber);
    end.raw.totals.duration = state::TickDuration{static_cast<std::uint32_t>((until - from) / 10)};
    add(end);
  }
  /// Everything until now, in segments of an hour.
  void write() {
    RecordFileConfig config;
    config.path = path();
    FileSink sink(config);
    batch_.names = names();
    // Not std::stable_sort: its buffer (libstdc++ 12) is not aligned as a Record is.
    std::multimap<std::int64_t, Record> in_time;
    for (const Record& record : batch_.records) in_time.emplace(record.at_ms, record);
    batch_.records.clear();
    for (const auto& [at_ms, record] : in_time) {
      batch_.records.push_back(record);
      number(batch_.records.back());
    }
    ASSERT_EQ(sink.write(batch_, 0), batch_.records.size());
    sink.finish();
  }
  FindAnswer find(std::int64_t at, std::optional<std::uint16_t> port = 40001,
                  std::int64_t within = 0, std::string protocol = "") {
    FindQuestion question;
    question.port = port;
    question.protocol = std::move(protocol);
    question.from_ms = at - within;
    question.until_ms = at + within;
    return find(question);
  }
  FindAnswer find_spi(std::int64_t at, std::uint32_t spi) {
    FindQuestion question;
    question.spi = spi;
    question.from_ms = question.until_ms = at;
    return find(question);
  }
  /// Of 203.0.113.3.
  FindAnswer find(FindQuestion question) {
    question.nat = *wire::parse_ipv4("203.0.113.3");
    auto answer = find_holders(question, {path()});
    EXPECT_TRUE(answer) << answer.error();
    return answer ? *answer : FindAnswer{};
  }
  /// Changes the text of each segment, without an index.
  void edit(const std::function<void(std::string&)>& change) {
    for (const std::string& file : files()) {
      std::string all = text(file);
      change(all);
      if (file.ends_with(".idx"))
        std::filesystem::remove(path(file));
      else
        put(file, all);
    }
  }
  static void cut_line(std::string& text, std::string_view word) {
    const std::size_t at = text.find(word);
    if (at == std::string::npos) return;
    const std::size_t begin = text.rfind('\n', at) + 1;
    text.erase(begin, text.find('\n', at) + 1 - begin);
  }
  static std::vector<std::string> subscribers(const FindAnswer& answer) {
    std::vector<std::string> all;
    for (const Holder& holder : answer.holders) all.push_back(holder.subscriber);
    return all;
  }

  RecordBatch batch_;

 private:
  /// As lsnd does: each kind from 0 at each start.
  void number(Record& record) {
    if (record.is(LogKind::kConfig) && record.raw.event == LogEvent::kCreated) next_ = {};
    if (is_of_workers(record.raw.kind)) record.sequence = next_[record.raw.kind]++;
  }

  shared::ByLogKind<std::uint64_t> next_{};
};

TEST_F(Find, OneAfterTheOther_EachHadItInHisTime) {
  begins(kMoment - kHour);
  holds("192.0.2.7", 40001, kMoment, kMoment + 60'000);
  holds("192.0.2.8", 40001, kMoment + 90'000, kMoment + 120'000);
  holds("192.0.2.9", 40002, kMoment, kMoment + 300'000);
  write();
  EXPECT_THAT(subscribers(find(kMoment + 1000)), ElementsAre("192.0.2.7:1234"));
  EXPECT_THAT(find(kMoment + 1000).doubts, IsEmpty());
  EXPECT_THAT(subscribers(find(kMoment + 100'000)), ElementsAre("192.0.2.8:1234"));
  EXPECT_THAT(subscribers(find(kMoment + 75'000)), IsEmpty());
  EXPECT_THAT(find(kMoment + 75'000).doubts, IsEmpty());
  EXPECT_THAT(subscribers(find(kMoment + 75'000, 40001, 20'000)),
              ElementsAre("192.0.2.7:1234", "192.0.2.8:1234"));
  EXPECT_EQ(subscribers(find(kMoment + 1000, std::nullopt)).size(), 2u);
  const Holder holder = find(kMoment + 1000).holders.front();
  EXPECT_EQ(holder.from_ms, kMoment);
  EXPECT_EQ(holder.until_ms, kMoment + 60'000);
  EXPECT_EQ(holder.end, "fin");
}

TEST_F(Find, SubscribersOfOneAddressInTwoDomains_AreTwo) {
  begins(kMoment - kHour);
  for (const std::uint16_t td : {std::uint16_t{1}, std::uint16_t{2}}) {
    Record begin = session(LogEvent::kCreated, kMoment, static_cast<std::uint16_t>(40000 + td));
    begin.raw.td = td;
    add(begin);
  }
  write();
  for (const std::uint16_t td : {std::uint16_t{1}, std::uint16_t{2}}) {
    const auto answer = find(kMoment + 1000, static_cast<std::uint16_t>(40000 + td));
    ASSERT_EQ(answer.holders.size(), 1u);
    EXPECT_EQ(answer.holders[0].td, td);
    EXPECT_THAT(to_text({}, answer, Format::kText),
                HasSubstr("192.0.2.7:1234 td " + std::to_string(td) + " of group LSN GROUP-1"));
    EXPECT_THAT(to_text({}, answer, Format::kJson), HasSubstr("\"td\":" + std::to_string(td)));
  }
}

TEST_F(Find, EndAlone_SaysWhenItBegan) {
  begins(kMoment - kHour);
  Record end = session(LogEvent::kDeleted, kMoment, 40001);  // 12.34 s long
  add(end);
  write();
  EXPECT_THAT(subscribers(find(kMoment - 12'000)), ElementsAre("192.0.2.7:1234"));
  EXPECT_THAT(subscribers(find(kMoment - 13'000)), IsEmpty());
}

TEST_F(Find, LossWhileTheEndIsNotKnown_IsADoubt) {
  begins(kMoment - kHour);
  add(session(LogEvent::kCreated, kMoment));
  batch_.records.push_back(
      lost_record({5, kMoment + 1000, kMoment + 2000}, 0, LogKind::kSession, 0));
  add(session(LogEvent::kCreated, kMoment + 10'000, 50000));
  write();
  EXPECT_THAT(find(kMoment + 500).doubts, IsEmpty());
  EXPECT_THAT(find(kMoment + 5000).doubts, ElementsAre(HasSubstr("5 records were lost")));
  EXPECT_THAT(subscribers(find(kMoment + 5000)), ElementsAre("192.0.2.7:1234"));
}

TEST_F(Find, LossBetweenBeginningAndEnd_IsNone) {
  begins(kMoment - kHour);
  holds("192.0.2.7", 40001, kMoment, kMoment + 60'000);
  batch_.records.push_back(
      lost_record({5, kMoment + 1000, kMoment + 2000}, 0, LogKind::kSession, 0));
  write();
  EXPECT_THAT(find(kMoment + 5000, 40001, 0, "TCP").doubts, IsEmpty());
  EXPECT_THAT(find(kMoment + 5000).doubts, ElementsAre(HasSubstr("5 records were lost")))
      << "of UDP somebody else may have had it";
  EXPECT_THAT(find(kMoment + 5000, 40002).doubts, ElementsAre(HasSubstr("5 records were lost")));
}

TEST_F(Find, Restart_EndsWhatWasThere) {
  begins(kMoment - kHour);
  add(session(LogEvent::kCreated, kMoment));
  begins(kMoment + 60'000);
  add(session(LogEvent::kCreated, kMoment + 120'000, 50000));
  write();
  const FindAnswer before = find(kMoment + 1000);
  ASSERT_EQ(before.holders.size(), 1u);
  EXPECT_EQ(before.holders[0].until_ms, kMoment + 60'000);
  EXPECT_EQ(before.holders[0].end, "lsnd began again");
  EXPECT_THAT(find(kMoment + 61'000).holders, IsEmpty());
  EXPECT_THAT(find(kMoment + 60'000, 40001, 5000).doubts, Contains(HasSubstr("began (again)")));
}

TEST_F(Find, StartWithoutAStop_IsADoubtSinceTheLastRecordBefore) {
  begins(kMoment - kHour);
  add(session(LogEvent::kCreated, kMoment));
  holds("192.0.2.9", 50000, kMoment, kMoment + 10'000);
  begins(kMoment + 60'000);
  config(LogEvent::kDeleted, kMoment + kHour, "lsnd stops");
  write();
  const auto unknown = ElementsAre(HasSubstr("without a stop before it"));
  EXPECT_THAT(find(kMoment + 5000).doubts, IsEmpty()) << "it wrote records later";
  EXPECT_THAT(find(kMoment + 11'000).doubts, unknown) << "it may have ended";
  EXPECT_THAT(find(kMoment + 11'000, 40002).doubts, unknown) << "somebody may have begun";
  EXPECT_THAT(find(kMoment + 61'000, 40002).doubts, IsEmpty());
}

TEST_F(Find, StopBeforeAStart_IsNoDoubt) {
  begins(kMoment - kHour);
  add(session(LogEvent::kCreated, kMoment));
  config(LogEvent::kDeleted, kMoment + 30'000, "lsnd stops");
  begins(kMoment + 60'000);
  config(LogEvent::kDeleted, kMoment + kHour, "lsnd stops");
  write();
  EXPECT_THAT(find(kMoment + 11'000).doubts, IsEmpty());
  EXPECT_THAT(find(kMoment + 11'000).holders.at(0).end, "lsnd stopped");
}

TEST_F(Find, StartInAnotherDirectory_EndsALifeWithoutAStop) {
  begins(kMoment - kHour);
  add(session(LogEvent::kCreated, kMoment));
  write();
  std::filesystem::create_directory(path("b"));
  const std::string other = path("b/records-20261201T010000Z.log");
  std::ofstream(other) << "2026-12-01T01:00:00.000Z n1 - CONFIG started seq=0 text=\"lsnd\"\n"
                          "2026-12-01T02:00:00.000Z n1 - CONFIG stopped seq=1 text=\"lsnd\"\n";
  FindQuestion question;
  question.nat = *wire::parse_ipv4("203.0.113.3");
  question.port = 40001;
  question.from_ms = question.until_ms = kMoment + 60'000;
  const auto answer = find_holders(question, {path(), other});
  ASSERT_TRUE(answer);
  EXPECT_THAT(answer->doubts, ElementsAre(HasSubstr("without a stop before it")));
}

TEST_F(Find, RecordsAfterAStopWithoutAStart_AreADoubt) {
  begins(kMoment - kHour);
  config(LogEvent::kDeleted, kMoment, "lsnd stops");
  config(LogEvent::kCompleted, kMoment + 60'000,
         fmt::format("in force: group LSN GROUP-1: {}", kLogging));
  config(LogEvent::kDeleted, kMoment + kHour, "lsnd stops");
  write();
  EXPECT_THAT(find(kMoment + 30'000).doubts, Contains(HasSubstr("began without a record of it")));
}

TEST_F(Find, RecordsThatDoNotReachTheTime_AreADoubt) {
  holds("192.0.2.7", 40001, kMoment, kMoment + 60'000);
  write();
  EXPECT_THAT(find(kMoment + kHour).doubts, ::testing::Contains(HasSubstr("the records end at")));
  EXPECT_THAT(find(kMoment - kHour).doubts,
              ::testing::Contains(HasSubstr("do not go back to a start")));
}

TEST_F(Find, MissingSegment_IsADoubt) {
  begins(kMoment - kHour);
  for (int hour = 0; hour < 4; ++hour)
    holds("192.0.2.7", 40001, kMoment + hour * kHour, kMoment + hour * kHour + 60'000);
  write();
  EXPECT_THAT(find(kMoment + 2 * kHour + 1000).doubts, IsEmpty());
  std::filesystem::remove(path("records-20261201T013129Z.log"));
  EXPECT_THAT(find(kMoment + 2 * kHour + 1000, 40002).doubts,
              ElementsAre(HasSubstr("records-20261201T013129Z.log is not among the segments")));
  EXPECT_THAT(find(kMoment + kHour + 1000).doubts,
              ElementsAre(HasSubstr("records-20261201T013129Z.log is not among the segments")))
      << "the time itself is in it";
  EXPECT_THAT(find(kMoment + 1000).doubts, IsEmpty()) << "before it";
}

TEST_F(Find, SeveralMissingSegmentsInARow_AreADoubtInAllTheirTime) {
  begins(kMoment - kHour);
  for (int hour = 0; hour < 5; ++hour)
    holds("192.0.2.7", 40001, kMoment + hour * kHour, kMoment + hour * kHour + 60'000);
  write();
  std::filesystem::remove(path("records-20261201T013129Z.log"));
  std::filesystem::remove(path("records-20261201T023129Z.log"));
  for (const int hour : {1, 2})
    EXPECT_THAT(find(kMoment + hour * kHour + 1000).doubts,
                ElementsAre(HasSubstr("records-20261201T023129Z.log is not among the segments")))
        << hour;
  EXPECT_THAT(find(kMoment + 30'000).doubts, IsEmpty());
}

TEST_F(Find, GapInTheNumbers_IsADoubtAsALoss) {
  begins(kMoment - kHour);
  add(session(LogEvent::kCreated, kMoment));
  holds("192.0.2.9", 50000, kMoment + 10'000, kMoment + 20'000);
  holds("192.0.2.9", 50001, kMoment + 30'000, kMoment + 40'000);
  config(LogEvent::kDeleted, kMoment + kHour, "lsnd stops");
  write();
  edit([](std::string& text) { cut_line(text, "natPort=50000"); });
  EXPECT_THAT(find(kMoment - 1000).doubts, IsEmpty());
  const auto one =
      ElementsAre(HasSubstr("1 record of SESSION of worker 0 on n1 is missing between "
                            "2026-12-01T00:31:29.120Z and 2026-12-01T00:31:49.120Z "
                            "(seq 1-1)"));
  EXPECT_THAT(find(kMoment + 60'000).doubts, one) << "it may have ended";
  EXPECT_THAT(find(kMoment + 60'000, 40002).doubts, one);
}

TEST_F(Find, FirstNumberThatIsNot0_IsADoubtSinceTheStart) {
  begins(kMoment - kHour);
  holds("192.0.2.9", 50000, kMoment, kMoment + 10'000);
  config(LogEvent::kDeleted, kMoment + kHour, "lsnd stops");
  write();
  edit([](std::string& text) { cut_line(text, "natPort=50000"); });
  EXPECT_THAT(find(kMoment + 20'000).doubts, ElementsAre(HasSubstr("(seq 0-0)")));
}

TEST_F(Find, GapThatLostExplains_IsSaidOnce) {
  begins(kMoment - kHour);
  add(session(LogEvent::kCreated, kMoment));
  holds("192.0.2.9", 50000, kMoment + 10'000, kMoment + 20'000);
  batch_.records.push_back(
      lost_record({1, kMoment + 9000, kMoment + 11'000}, 0, LogKind::kSession, 0));
  config(LogEvent::kDeleted, kMoment + kHour, "lsnd stops");
  write();
  edit([](std::string& text) { cut_line(text, "natPort=50000"); });
  EXPECT_THAT(find(kMoment + 60'000).doubts, ElementsAre(HasSubstr("1 record was lost")));
}

TEST_F(Find, NumbersOfTwoDirectories_AreOneStream) {
  begins(kMoment - kHour);
  for (int hour = 0; hour < 3; ++hour)
    holds("192.0.2.9", 50000, kMoment + hour * kHour, kMoment + hour * kHour + 60'000);
  config(LogEvent::kDeleted, kMoment + 3 * kHour, "lsnd stops");
  write();
  std::filesystem::create_directory(path("b"));
  for (const std::string& file : files())
    if (file.starts_with("records-20261201T02") || file.starts_with("records-20261201T03"))
      std::filesystem::rename(path(file), path("b/" + file));
  FindQuestion question;
  question.nat = *wire::parse_ipv4("203.0.113.3");
  question.port = 40001;
  question.from_ms = question.until_ms = kMoment + 2 * kHour + 90'000;
  const auto answer = find_holders(question, {path(), path("b/records")});
  ASSERT_TRUE(answer);
  EXPECT_THAT(answer->doubts, IsEmpty());
}

TEST_F(Find, LinesThatAreNoRecords_AreADoubtWhereTheyStand) {
  for (const std::string_view garbage :
       {std::string_view("garbage"), std::string_view("\0\0", 2), std::string_view()}) {
    begins(kMoment - kHour);
    add(session(LogEvent::kCreated, kMoment));
    add(session(LogEvent::kCreated, kMoment + 10'000, 50000));
    config(LogEvent::kDeleted, kMoment + 30'000, "lsnd stops");
    write();
    edit([&](std::string& text) {
      if (const std::size_t at = text.find("natPort=50000"); at != std::string::npos)
        text.insert(text.rfind('\n', at) + 1, std::string(garbage) + "\n");
    });
    EXPECT_THAT(find(kMoment - 1000).doubts, IsEmpty());
    EXPECT_THAT(find(kMoment + 5000, 40002).doubts,
                ElementsAre(HasSubstr("1 line cannot be read")));
    for (const std::string& file : files()) std::filesystem::remove(path(file));
    batch_ = {};
  }
}

TEST_F(Find, BytesThatAreOverwrittenBesideAGoodIndex_AreADoubt) {
  begins(kMoment - kHour);
  holds("192.0.2.7", 40001, kMoment, kMoment + 10'000);
  config(LogEvent::kDeleted, kMoment + 30'000, "lsnd stops");
  write();
  const std::string file = files().at(files().size() - 2);
  std::string all = text(file);
  const std::size_t line = all.rfind('\n', all.find("natPort=40001"));
  all.replace(line + 1, 100, std::string(100, '\0'));
  put(file, all);
  EXPECT_THAT(find(kMoment + 5000, 40001).doubts, ElementsAre(HasSubstr("are damaged")));
}

constexpr std::string_view kNoEnds =
    "logging ENABLED, sessionLogging ENABLED, logSessDeletion DISABLED, "
    "lsnip 203.0.113.0-203.0.113.255";

TEST_F(Find, EndsThatAreNotRecorded_AreADoubt) {
  begins(kMoment - kHour);
  config(LogEvent::kCompleted, kMoment - kHour, fmt::format("group LSN GROUP-1: {}", kNoEnds));
  add(session(LogEvent::kCreated, kMoment));
  add(session(LogEvent::kCreated, kMoment + kHour, 50000));
  write();
  EXPECT_THAT(find(kMoment + 1000).doubts, ElementsAre(HasSubstr("ends are not recorded")));
}

TEST_F(Find, EndOfLsnd_IsNoneOfWhatHasNoEnds) {
  begins(kMoment - kHour, kNoEnds);
  add(session(LogEvent::kCreated, kMoment));
  config(LogEvent::kDeleted, kMoment + kHour, "lsnd stops");
  write();
  const FindAnswer answer = find(kMoment + 1000, 40001, 0, "TCP");
  ASSERT_EQ(answer.holders.size(), 1u);
  EXPECT_EQ(answer.holders[0].end, "lsnd stopped");
  EXPECT_THAT(answer.doubts, ElementsAre(HasSubstr("ends are not recorded")));
}

TEST_F(Find, EndsThatWereNotRecordedBefore_AreNoDoubtOfWhatBeganLater) {
  begins(kMoment - kHour, kNoEnds);
  config(LogEvent::kCompleted, kMoment - 60'000, fmt::format("group LSN GROUP-1: {}", kLogging));
  add(session(LogEvent::kCreated, kMoment));
  add(session(LogEvent::kCreated, kMoment + kHour, 50000));
  write();
  EXPECT_EQ(find(kMoment + 1000).holders.size(), 1u);
  EXPECT_THAT(find(kMoment + 1000).doubts, IsEmpty());
}

TEST_F(Find, EndsOfAnotherGroup_AreNoDoubt) {
  begins(kMoment - kHour);
  config(LogEvent::kCompleted, kMoment - kHour,
         "group OTHER: logging ENABLED, sessionLogging ENABLED, logSessDeletion DISABLED, "
         "lsnip 198.51.100.7-198.51.100.9");
  add(session(LogEvent::kCreated, kMoment));
  add(session(LogEvent::kCreated, kMoment + kHour, 50000));
  write();
  EXPECT_THAT(find(kMoment + 1000).doubts, IsEmpty());
}

TEST_F(Find, AddressOfNoGroupThatRecords_IsADoubt) {
  config(LogEvent::kCreated, kMoment - kHour);
  config(LogEvent::kCompleted, kMoment - kHour,
         "group OTHER: logging ENABLED, sessionLogging ENABLED, logSessDeletion ENABLED, "
         "lsnip 198.51.100.7-198.51.100.9");
  holds("192.0.2.7", 40001, kMoment, kMoment + 60'000);
  add(session(LogEvent::kCreated, kMoment + kHour, 50000));
  write();
  EXPECT_THAT(find(kMoment + 30'000, 40002).doubts,
              ElementsAre(HasSubstr("no CONFIG record says that 203.0.113.3 was an address of a "
                                    "group with logging")));
}

TEST_F(Find, GroupThatStoppedLogging_IsADoubtSinceThen) {
  begins(kMoment - kHour);
  config(LogEvent::kCompleted, kMoment, "group LSN GROUP-1: nothing is recorded");
  config(LogEvent::kCompleted, kMoment + kHour, fmt::format("group LSN GROUP-1: {}", kLogging));
  config(LogEvent::kDeleted, kMoment + 2 * kHour, "lsnd stops");
  write();
  EXPECT_THAT(find(kMoment - 1000).doubts, IsEmpty());
  EXPECT_THAT(find(kMoment + 1000).doubts, ElementsAre(HasSubstr("no CONFIG record")));
  EXPECT_THAT(find(kMoment - 1000, 40001, 2000).doubts, Contains(HasSubstr("since 2026-12-01T00:31:"
                                                                           "29.120Z no CONFIG")));
}

TEST_F(Find, WhatBeganWhileNothingWasRecorded_IsADoubt) {
  begins(kMoment - kHour);
  add(session(LogEvent::kCreated, kMoment - 60'000));
  config(LogEvent::kCompleted, kMoment, "group LSN GROUP-1: nothing is recorded");
  config(LogEvent::kCompleted, kMoment + kHour, fmt::format("group LSN GROUP-1: {}", kLogging));
  config(LogEvent::kDeleted, kMoment + 3 * kHour, "lsnd stops");
  begins(kMoment + 4 * kHour);
  config(LogEvent::kDeleted, kMoment + 5 * kHour, "lsnd stops");
  write();
  EXPECT_THAT(find(kMoment + 2 * kHour, 40002).doubts, ElementsAre(HasSubstr("was not recorded")));
  const FindAnswer open = find(kMoment + 2 * kHour);
  EXPECT_THAT(subscribers(open), ElementsAre("192.0.2.7:1234"));
  EXPECT_THAT(open.doubts, Contains(HasSubstr("ends are not recorded")));
  EXPECT_THAT(find(kMoment + 4 * kHour + 1000, 40002).doubts, IsEmpty()) << "lsnd began again";
}

TEST_F(Find, WhatBeganBeforeAGroupRecorded_IsADoubt) {
  config(LogEvent::kCreated, kMoment - kHour);
  config(LogEvent::kCompleted, kMoment, "group LSN GROUP-1: nothing is recorded");
  config(LogEvent::kCompleted, kMoment, fmt::format("group LSN GROUP-1: {}", kLogging));
  config(LogEvent::kDeleted, kMoment + kHour, "lsnd stops");
  write();
  EXPECT_THAT(find(kMoment + 1000).doubts, ElementsAre(HasSubstr("was not recorded")));
}

TEST_F(Find, AddressOfAGroupThatIsNewInARecord_MayHaveHadSessionsBefore) {
  config(LogEvent::kCreated, kMoment - kHour);
  config(LogEvent::kCompleted, kMoment, fmt::format("group NEW NAME: {}", kLogging));
  config(LogEvent::kDeleted, kMoment + kHour, "lsnd stops");
  begins(kMoment + 2 * kHour);
  config(LogEvent::kDeleted, kMoment + 3 * kHour, "lsnd stops");
  write();
  EXPECT_THAT(find(kMoment + 1000).doubts, ElementsAre(HasSubstr("was not recorded")));
  EXPECT_THAT(find(kMoment + 2 * kHour + 1000).doubts, IsEmpty()) << "lsnd began again";
}

TEST_F(Find, AddressThatIsNewWithItsGroup_HadNoSessions) {
  config(LogEvent::kCreated, kMoment - kHour);
  config(LogEvent::kCompleted, kMoment, "translated from now on: 203.0.113.3-203.0.113.4");
  config(LogEvent::kCompleted, kMoment, fmt::format("group NEW: {}", kLogging));
  config(LogEvent::kDeleted, kMoment + kHour, "lsnd stops");
  write();
  EXPECT_THAT(find(kMoment + 1000).doubts, IsEmpty());
}

TEST_F(Find, AddressThatIsRecordedOfOneGroupAfterAnother_IsNoDoubt) {
  begins(kMoment - kHour);
  config(LogEvent::kCompleted, kMoment, "group LSN GROUP-1: removed");
  config(LogEvent::kCompleted, kMoment + 5, fmt::format("group NEW NAME: {}", kLogging));
  config(LogEvent::kDeleted, kMoment + kHour, "lsnd stops");
  write();
  EXPECT_THAT(find(kMoment + 1000).doubts, IsEmpty());
}

TEST_F(Find, SessionsThatAreNotRecordedAnyMore_MayHaveEnded) {
  begins(kMoment - kHour);
  add(session(LogEvent::kCreated, kMoment));
  config(LogEvent::kCompleted, kMoment + 60'000,
         "group LSN GROUP-1: logging ENABLED, sessionLogging DISABLED, logSessDeletion ENABLED, "
         "lsnip 203.0.113.0-203.0.113.255");
  config(LogEvent::kDeleted, kMoment + kHour, "lsnd stops");
  write();
  EXPECT_THAT(find(kMoment + 30'000).doubts, IsEmpty());
  EXPECT_THAT(find(kMoment + 120'000).doubts, ElementsAre(HasSubstr("ends are not recorded")));
}

TEST_F(Find, EndsOnAnotherNode_AreNoDoubt) {
  begins(kMoment - kHour);
  add(session(LogEvent::kCreated, kMoment));
  config(LogEvent::kDeleted, kMoment + kHour, "lsnd stops");
  write();
  const std::string other = path("records-20261201T020000Z.log");
  std::ofstream(other) << "2026-12-01T02:00:00.000Z n2 - CONFIG changed seq=0 text=\"group LSN "
                          "GROUP-1: logging ENABLED, sessionLogging ENABLED, logSessDeletion "
                          "DISABLED, lsnip 198.51.100.7-198.51.100.9\"\n";
  EXPECT_THAT(find(kMoment + 1000).doubts, IsEmpty());
}

TEST_F(Find, EndOfTheRecordsOfTheNodeThatHasTheAddress_IsADoubtWhateverOthersHave) {
  begins(kMoment - kHour);
  add(session(LogEvent::kCreated, kMoment));
  add(session(LogEvent::kCreated, kMoment + 60'000, 50000));
  write();
  put("records-20261201T020000Z.log",
      "2026-12-01T02:00:00.000Z n2 - CONFIG started seq=0 text=\"lsnd\"\n"
      "2026-12-01T05:00:00.000Z n2 - CONFIG stopped seq=1 text=\"lsnd stops\"\n");
  EXPECT_THAT(find(kMoment + 1000).doubts, IsEmpty());
  for (const std::uint16_t port : {std::uint16_t{40001}, std::uint16_t{40002}})
    EXPECT_THAT(find(kMoment + 2 * kHour, port).doubts,
                ElementsAre(HasSubstr("the records of n1 end at")));
}

TEST_F(Find, NodeThatGoesOnByAnotherName_IsInDoubtFromThenOn) {
  begins(kMoment - kHour);
  add(session(LogEvent::kCreated, kMoment));
  write();
  put("records-20261201T010000Z.log",
      fmt::format("2026-12-01T01:00:00.000Z n2 - CONFIG changed seq=0 text=\"group LSN GROUP-1: "
                  "{}\"\n2026-12-01T05:00:00.000Z n2 - CONFIG stopped seq=1 text=\"\"\n",
                  kLogging));
  EXPECT_THAT(find(kMoment).doubts, IsEmpty());
  EXPECT_THAT(find(kMoment + kHour).doubts,
              AllOf(Contains(HasSubstr("the records of n1 end at")),
                    Contains(HasSubstr("do not go back to a start"))));
}

TEST_F(Find, AddressOfANodeThatStopped_MayBeAnothersSinceThen) {
  begins(kMoment - kHour);
  config(LogEvent::kDeleted, kMoment, "lsnd stops");
  write();
  put("records-20261201T010000Z.log",
      fmt::format("2026-12-01T01:00:00.000Z n2 - CONFIG started seq=0 text=\"\"\n"
                  "2026-12-01T01:00:00.000Z n2 - CONFIG changed seq=1 text=\"group LSN GROUP-1: "
                  "{}\"\n2026-12-01T05:00:00.000Z n2 - CONFIG stopped seq=2 text=\"\"\n",
                  kLogging));
  EXPECT_THAT(find(kMoment + kHour).doubts, IsEmpty());
}

TEST_F(Find, SpiOfOneOfTwoGroupsOfAnAddress_WithoutSessionLogging_IsADoubt) {
  begins(kMoment - kHour);
  config(LogEvent::kCompleted, kMoment - kHour,
         "group OTHER: logging ENABLED, sessionLogging DISABLED, logSessDeletion ENABLED, "
         "lsnip 203.0.113.0-203.0.113.255");
  config(LogEvent::kDeleted, kMoment + kHour, "lsnd stops");
  write();
  EXPECT_THAT(find(kMoment).doubts, IsEmpty());
  EXPECT_THAT(find_spi(kMoment, 0x1001).doubts, ElementsAre(HasSubstr("without sessionLogging")));
}

TEST_F(Find, SpiWithoutSessionLogging_IsADoubt) {
  begins(kMoment - kHour,
         "logging ENABLED, sessionLogging DISABLED, logSessDeletion ENABLED, "
         "lsnip 203.0.113.0-203.0.113.255");
  config(LogEvent::kDeleted, kMoment + kHour, "lsnd stops");
  write();
  EXPECT_THAT(find(kMoment).doubts, IsEmpty());
  EXPECT_THAT(find_spi(kMoment, 0x1001).doubts, ElementsAre(HasSubstr("without sessionLogging")));
}

TEST_F(Find, SeveralSubscribersOfOneEndpoint_AreNeverSure) {
  begins(kMoment - kHour);
  Record block = session(LogEvent::kCreated, kMoment - 60'000);
  block.raw.kind = LogKind::kBlock;
  block.raw.nat_port = wire::Be16::of(40000);
  block.raw.last_port = wire::Be16::of(40255);
  add(block);
  holds("192.0.2.8", 40001, kMoment, kMoment + 60'000);
  config(LogEvent::kDeleted, kMoment + kHour, "lsnd stops");
  write();
  const FindAnswer answer = find(kMoment + 1000, 40001, 0, "TCP");
  EXPECT_THAT(subscribers(answer), ElementsAre("192.0.2.7", "192.0.2.8:1234"));
  EXPECT_THAT(answer.doubts, ElementsAre(HasSubstr("2 subscribers had it in that time: the "
                                                   "destination (-destIP)")));
  EXPECT_THAT(find(kMoment + 1000, 40002, 0, "TCP").doubts, IsEmpty());
  EXPECT_THAT(find(kMoment + 1000, std::nullopt).doubts, IsEmpty()) << "all are asked for";
}

TEST_F(Find, Destination_TellsSessionsApart) {
  begins(kMoment - kHour);
  for (const char* server : {"198.51.100.10", "198.51.100.11"}) {
    Record esp = session(LogEvent::kCreated, kMoment);
    esp.raw.kind = LogKind::kAlgSession;
    esp.raw.protocol = shared::Protocol::kEsp;
    esp.raw.spi_in = wire::Be32::of(0x2001);
    esp.raw.remote_ip = be(server);
    esp.raw.subscriber = be(server[12] == '0' ? "192.0.2.7" : "192.0.2.8");
    add(esp);
  }
  config(LogEvent::kDeleted, kMoment + kHour, "lsnd stops");
  write();
  EXPECT_EQ(find_spi(kMoment + 1000, 0x2001).holders.size(), 2u);
  EXPECT_THAT(find_spi(kMoment + 1000, 0x2001).doubts, ElementsAre(HasSubstr("2 subscribers")));
  FindQuestion question;
  question.spi = 0x2001;
  question.destination = wire::parse_ipv4("198.51.100.11");
  question.from_ms = question.until_ms = kMoment + 1000;
  EXPECT_THAT(subscribers(find(question)), ElementsAre("192.0.2.8"));
  EXPECT_THAT(find(question).doubts, IsEmpty());
  EXPECT_THAT(to_text(question, find(question), Format::kText), HasSubstr(" to 198.51.100.11 at"));
}

TEST_F(Find, EspOfABinding_IsNotSure) {
  begins(kMoment - kHour);
  Record binding = session(LogEvent::kCreated, kMoment);
  binding.raw.kind = LogKind::kBinding;
  add(binding);
  config(LogEvent::kDeleted, kMoment + kHour, "lsnd stops");
  write();
  EXPECT_THAT(find(kMoment + 1000, std::nullopt).doubts, IsEmpty());
  EXPECT_THAT(find(kMoment + 1000, std::nullopt, 0, "esp").doubts,
              ElementsAre(HasSubstr("is not who sent ESP")));
}

class FindStatic : public Find {
 protected:
  static constexpr const char* kOneToOne =
      "static S: transportprotocol ALL, subscrIP 192.0.2.7, subscrPort *, natIP 203.0.113.3, "
      "natPort *";
  void note(std::int64_t at_ms, std::string words) {
    config(LogEvent::kCompleted, at_ms, std::move(words));
  }
  void stop() { config(LogEvent::kDeleted, kMoment + 2 * kHour, "lsnd stops"); }
};

TEST_F(FindStatic, OneToOne_HasEveryPortAndSpi) {
  begins(kMoment - kHour);
  note(kMoment - kHour, kOneToOne);
  stop();
  write();
  for (const FindAnswer& answer :
       {find(kMoment, 1), find(kMoment, std::nullopt), find_spi(kMoment, 0x1001)}) {
    EXPECT_THAT(subscribers(answer), ElementsAre("192.0.2.7"));
    EXPECT_THAT(answer.doubts, IsEmpty());
    EXPECT_THAT(answer.remarks, IsEmpty());
  }
  const Holder holder = find(kMoment, 1).holders.at(0);
  EXPECT_EQ(holder.mapping, "S");
  EXPECT_EQ(holder.from_ms, kMoment - kHour);
  EXPECT_EQ(holder.until_ms, kMoment + 2 * kHour);
  EXPECT_THAT(to_text({}, find(kMoment, 1), Format::kText),
              HasSubstr("192.0.2.7 by static mapping S\n"));
  EXPECT_THAT(to_text({}, find(kMoment, 1), Format::kJson), HasSubstr("\"static\":\"S\""));
}

TEST_F(FindStatic, OnePort_IsOfItsProtocol) {
  begins(kMoment - kHour);
  note(kMoment - kHour,
       "static WEB: transportprotocol TCP, subscrIP 192.0.2.8, subscrPort 8080, natIP 203.0.113.3, "
       "natPort 80, destIP 198.51.100.9, td 5");
  stop();
  write();
  const FindAnswer answer = find(kMoment, 80);
  ASSERT_THAT(subscribers(answer), ElementsAre("192.0.2.8:8080"));
  EXPECT_EQ(answer.holders[0].td, 5);
  EXPECT_THAT(find(kMoment, 81).holders, IsEmpty());
  EXPECT_THAT(find(kMoment, 80, 0, "UDP").holders, IsEmpty());
  EXPECT_EQ(find(kMoment, 80, 0, "tcp").holders.size(), 1u);
  EXPECT_THAT(find_spi(kMoment, 80).holders, IsEmpty());
}

TEST_F(FindStatic, TwoForTwoDestinations_AreToldApartByTheDestination) {
  begins(kMoment - kHour);
  for (const char* last : {"8", "9"})
    note(kMoment - kHour, fmt::format("static W{0}: transportprotocol TCP, subscrIP 192.0.2.{0}, "
                                      "subscrPort 8080, natIP 203.0.113.3, natPort 80, "
                                      "destIP 198.51.100.{0}",
                                      last));
  stop();
  write();
  EXPECT_THAT(find(kMoment, 80, 0, "TCP").doubts, ElementsAre(HasSubstr("2 subscribers")));
  FindQuestion question;
  question.port = 80;
  question.protocol = "TCP";
  question.destination = wire::parse_ipv4("198.51.100.9");
  question.from_ms = question.until_ms = kMoment;
  EXPECT_THAT(subscribers(find(question)), ElementsAre("192.0.2.9:8080"));
  EXPECT_THAT(find(question).doubts, IsEmpty());
}

TEST_F(FindStatic, ChangedAndRemoved_HasEachItsTime) {
  begins(kMoment - kHour);
  note(kMoment, kOneToOne);
  note(kMoment + 60'000,
       "static S: transportprotocol ALL, subscrIP 192.0.2.9, subscrPort *, natIP 203.0.113.3, "
       "natPort *");
  note(kMoment + 120'000, "static S: removed");
  stop();
  write();
  EXPECT_THAT(find(kMoment - 1000).holders, IsEmpty());
  EXPECT_THAT(subscribers(find(kMoment + 1000)), ElementsAre("192.0.2.7"));
  EXPECT_THAT(find(kMoment + 1000).remarks, ElementsAre(HasSubstr("has its endpoint from when")));
  EXPECT_EQ(find(kMoment + 1000).holders.at(0).end, "changed");
  EXPECT_THAT(subscribers(find(kMoment + 61'000)), ElementsAre("192.0.2.9"));
  EXPECT_THAT(find(kMoment + 121'000).holders, IsEmpty());
  EXPECT_THAT(find(kMoment + 121'000).doubts, IsEmpty());
}

TEST_F(FindStatic, SegmentAlone_SaysWhatIsInForce) {
  begins(kMoment - kHour);
  note(kMoment - kHour, kOneToOne);
  add(session(LogEvent::kCreated, kMoment, 50000));
  add(session(LogEvent::kCreated, kMoment + kHour, 50001));
  stop();
  write();
  std::filesystem::remove(path(files().front()));
  const FindAnswer answer = find(kMoment + kHour / 2, 1, 0, "UDP");
  EXPECT_THAT(subscribers(answer), ElementsAre("192.0.2.7"));
  EXPECT_FALSE(answer.holders.empty() || answer.holders[0].from_ms) << "since when is not there";
}

TEST_F(FindStatic, ChangeThatIsMissing_IsNoHolderBeforeTheLastWordOfTheFormer) {
  begins(kMoment - kHour);
  note(kMoment - kHour, kOneToOne);
  note(kMoment, kOneToOne);
  note(kMoment + kHour / 2,
       "in force: static S: transportprotocol ALL, subscrIP 192.0.2.9, subscrPort *, natIP "
       "203.0.113.3, natPort *");
  stop();
  write();
  EXPECT_THAT(subscribers(find(kMoment - 1000)), ElementsAre("192.0.2.7"));
  EXPECT_EQ(subscribers(find(kMoment + 1000)).size(), 2u) << "between them";
  EXPECT_THAT(subscribers(find(kMoment + kHour / 2)), ElementsAre("192.0.2.9"));
}

TEST_F(FindStatic, RecordThatCannotBeRead_IsADoubtWhileItIsInForce) {
  begins(kMoment - kHour);
  note(kMoment, "static S: transportprotocol ALL, subscrIP 192.0.2.7, natIP 203.0.113.300");
  note(kMoment + 60'000, "static S: removed");
  stop();
  write();
  EXPECT_THAT(find(kMoment - 1000).doubts, IsEmpty());
  EXPECT_THAT(find(kMoment + 1000).doubts,
              ElementsAre(HasSubstr("static mapping S cannot be read")));
  EXPECT_THAT(find(kMoment + 61'000).doubts, IsEmpty());
}

TEST_F(FindStatic, NamesLikeNotes_AreNames) {
  begins(kMoment - kHour);
  for (const char* name : {"a: removed", "statics: 9, too many for a record each", "in force: b",
                           "group c: nothing is recorded", "d:", "e: "})
    note(kMoment - kHour, fmt::format("static {}: transportprotocol ALL, subscrIP 192.0.2.7, "
                                      "subscrPort *, natIP 203.0.113.3, natPort *",
                                      name));
  note(kMoment, "static a: removed: removed");
  stop();
  write();
  EXPECT_EQ(find(kMoment - 1000, 1).holders.size(), 6u);
  EXPECT_EQ(find(kMoment + 1000, 1).holders.size(), 5u);
  EXPECT_THAT(find(kMoment + 1000, 1).doubts, IsEmpty());
}

TEST_F(FindStatic, TooManyForARecordEach_AreADoubt) {
  begins(kMoment - kHour);
  note(kMoment - kHour, "statics: 1000000, too many for a record each");
  note(kMoment, "statics: a record each");
  note(kMoment, kOneToOne);
  stop();
  write();
  EXPECT_THAT(find(kMoment - 1000).doubts, ElementsAre(HasSubstr("1000000 static mappings")));
  EXPECT_THAT(find(kMoment + 1000).doubts, IsEmpty());
}

TEST_F(FindStatic, AfterTooMany_NobodyKnowsSinceWhen) {
  begins(kMoment - kHour);
  note(kMoment - kHour, "statics: 1000000, too many for a record each");
  note(kMoment, kOneToOne);
  note(kMoment, "statics: a record each");
  note(kMoment + kHour, "static S: nothing is recorded");
  note(kMoment + kHour, "statics: 1000000, too many for a record each");
  stop();
  write();
  const Holder holder = find(kMoment + 1000, 1).holders.at(0);
  EXPECT_EQ(holder.from_ms, std::nullopt);
  EXPECT_EQ(holder.end, "not recorded any more");
}

TEST_F(Find, PortOfABlock) {
  begins(kMoment - kHour);
  Record block = session(LogEvent::kCreated, kMoment);
  block.raw.kind = LogKind::kBlock;
  block.raw.nat_port = wire::Be16::of(40000);
  block.raw.last_port = wire::Be16::of(40255);
  add(block);
  add(session(LogEvent::kCreated, kMoment + kHour, 50000));
  write();
  EXPECT_THAT(subscribers(find(kMoment + 1000, 40100)), ElementsAre("192.0.2.7"));
  EXPECT_THAT(subscribers(find(kMoment + 1000, 40256)), IsEmpty());
}

TEST_F(Find, SpiThatWasLearnedLater) {
  begins(kMoment - kHour);
  Record esp = session(LogEvent::kCreated, kMoment);
  esp.raw.kind = LogKind::kAlgSession;
  esp.raw.protocol = shared::Protocol::kEsp;
  esp.raw.spi_out = wire::Be32::of(0x1001);
  add(esp);
  esp.raw.event = LogEvent::kCompleted;
  esp.at_ms = kMoment + 1000;
  esp.raw.spi_in = wire::Be32::of(0x2001);
  add(esp);
  esp.raw.event = LogEvent::kDeleted;
  esp.raw.reason = shared::LogReason::kIdle;
  esp.raw.totals.duration = state::TickDuration{6000};
  esp.at_ms = kMoment + 60'000;
  add(esp);
  write();
  for (const std::uint32_t spi : {0x1001u, 0x2001u}) {
    const FindAnswer answer = find_spi(kMoment + 30'000, spi);
    ASSERT_EQ(answer.holders.size(), 1u) << spi;
    EXPECT_EQ(answer.holders[0].subscriber, "192.0.2.7");
    EXPECT_EQ(answer.holders[0].until_ms, kMoment + 60'000);
  }
}

/// Subscribers 192.0.2.0-192.0.2.255 on 203.0.113.3 and .4.
std::string deterministic(std::string_view policy, unsigned block = 256) {
  return fmt::format(
      "group DET: nattype DETERMINISTIC, allocPolicy {}, portblocksize {}, network 192.0.2.0/24, "
      "lsnip 203.0.113.3-203.0.113.4",
      policy, block);
}

class FindComputed : public Find {
 protected:
  /// lsnd runs from an hour before kMoment until two hours after it.
  void run(std::string_view policy = "PORTS") {
    config(LogEvent::kCreated, kMoment - kHour, "lsnd 1 with 1 worker");
    config(LogEvent::kCompleted, kMoment - kHour, deterministic(policy));
  }
  void stop() { config(LogEvent::kDeleted, kMoment + 2 * kHour, "lsnd stops"); }
};

TEST_F(FindComputed, DeterministicAddress_IsComputedFromTheConfigRecord) {
  run();
  stop();
  write();
  const FindAnswer answer = find(kMoment, 1024 + 5 * 256);
  EXPECT_THAT(subscribers(answer), ElementsAre("192.0.2.5"));
  EXPECT_THAT(answer.doubts, IsEmpty());
  ASSERT_EQ(answer.holders.size(), 1u);
  const Holder& holder = answer.holders[0];
  EXPECT_EQ(holder.computed, (shared::PortBlock{*wire::parse_ipv4("203.0.113.3"), 2304, 2559}));
  EXPECT_EQ(holder.group, "DET");
  EXPECT_THAT(holder.line, HasSubstr("nattype DETERMINISTIC"));
  EXPECT_EQ(holder.from_ms, kMoment - kHour);
  EXPECT_EQ(holder.until_ms, kMoment + 2 * kHour);
  EXPECT_EQ(holder.end, "lsnd stopped");
  EXPECT_EQ(find(kMoment, std::nullopt).holders.size(), 252u) << "all that share the address";
  EXPECT_THAT(find(kMoment - kHour - 1, 2304).holders, IsEmpty()) << "lsnd did not run";
}

TEST_F(FindComputed, PortOfNoBlock_WasNobodys) {
  run();
  stop();
  write();
  const FindAnswer answer = find(kMoment, 1023);
  EXPECT_THAT(answer.holders, IsEmpty());
  EXPECT_THAT(answer.doubts, IsEmpty());
  EXPECT_THAT(answer.remarks, ElementsAre(HasSubstr("port 1023 of 203.0.113.3 was nobody's")));
}

TEST_F(FindComputed, AChange_IsAnsweredOnEitherSideAndInDoubtAroundIt) {
  run("PORTS");
  config(LogEvent::kCompleted, kMoment, deterministic("IPADDRS"));
  stop();
  write();
  const std::uint16_t port = 1024 + 5 * 256;
  EXPECT_THAT(subscribers(find(kMoment - 1, port)), ElementsAre("192.0.2.5"));
  EXPECT_THAT(find(kMoment - 1, port).doubts, IsEmpty());
  EXPECT_THAT(subscribers(find(kMoment, port)), ElementsAre("192.0.2.10"));
  EXPECT_THAT(find(kMoment, port).doubts, IsEmpty());
  EXPECT_THAT(subscribers(find(kMoment - 5000, port, 4000)), ElementsAre("192.0.2.5"));
  const FindAnswer both = find(kMoment - 1000, port, 2000);
  EXPECT_THAT(subscribers(both), ElementsAre("192.0.2.5", "192.0.2.10"));
  EXPECT_THAT(both.doubts,
              ElementsAre(HasSubstr("group DET was changed at"), HasSubstr("2 subscribers")));
  EXPECT_EQ(both.holders[0].until_ms, kMoment);
  EXPECT_EQ(both.holders[0].end, "changed");
}

TEST_F(FindComputed, ChangeOfWhatIsRecordedAlone_ChangesNothing) {
  run();
  config(LogEvent::kCompleted, kMoment,
         "group DET: logging ENABLED, sessionLogging ENABLED, logSessDeletion ENABLED," +
             deterministic("PORTS").substr(std::string_view("group DET:").size()));
  stop();
  write();
  const FindAnswer answer = find(kMoment, 2304, 5000);
  EXPECT_THAT(subscribers(answer), ElementsAre("192.0.2.5"));
  EXPECT_EQ(answer.holders[0].from_ms, kMoment - kHour);
}

TEST_F(FindComputed, GroupThatIsNotDeterministicAnyMore) {
  run();
  config(LogEvent::kCompleted, kMoment, "group DET: nothing is recorded");
  stop();
  write();
  EXPECT_THAT(subscribers(find(kMoment - 1, 2304)), ElementsAre("192.0.2.5"));
  EXPECT_THAT(find(kMoment, 2304).holders, IsEmpty());
  EXPECT_THAT(find(kMoment, 2304, 1000).doubts, ElementsAre(HasSubstr("was removed at")));
}

TEST_F(FindComputed, GroupThatBecomesDynamic_MayHaveSessionsOfBefore) {
  for (const bool logs : {false, true}) {
    run();
    if (logs)
      config(LogEvent::kCompleted, kMoment - kHour,
             "group DET: logging ENABLED, sessionLogging DISABLED, logSessDeletion ENABLED," +
                 deterministic("PORTS").substr(std::string_view("group DET:").size()));
    config(LogEvent::kCompleted, kMoment, fmt::format("group DET: {}", kLogging));
    stop();
    write();
    EXPECT_THAT(find(kMoment - 1000, 2304).doubts, IsEmpty());
    EXPECT_THAT(find(kMoment + 1000, 2304).holders, IsEmpty());
    EXPECT_THAT(find(kMoment + 1000, 2304).doubts, ElementsAre(HasSubstr("was not recorded")));
    for (const std::string& file : files()) std::filesystem::remove(path(file));
    batch_ = {};
  }
}

TEST_F(FindComputed, OtherAddresses_AreNotItsMatter) {
  run();
  config(LogEvent::kCompleted, kMoment - kHour,
         "group LSN GROUP-1: logging ENABLED, sessionLogging ENABLED, lsnip 203.0.113.77");
  config(LogEvent::kCompleted, kMoment, deterministic("IPADDRS"));
  Record other = session(LogEvent::kCreated, kMoment - 60'000);
  other.raw.nat_ip = be("203.0.113.77");
  add(other);
  stop();
  write();
  FindQuestion question;
  question.nat = *wire::parse_ipv4("203.0.113.77");
  question.from_ms = kMoment - 1000;
  question.until_ms = kMoment + 1000;
  const auto answer = find_holders(question, {path()});
  ASSERT_TRUE(answer);
  EXPECT_THAT(subscribers(*answer), ElementsAre("192.0.2.7:1234"));
  EXPECT_THAT(answer->doubts, IsEmpty());
}

TEST_F(FindComputed, EachSegmentAlone_SaysWhatIsInForce) {
  run();
  for (int hour = 0; hour < 4; ++hour)
    holds("192.0.2.7", 40001, kMoment + hour * kHour, kMoment + hour * kHour + 60'000);
  write();
  for (const std::string& file : files())
    if (file.starts_with("records-20261201T00") || file.starts_with("records-20261201T01") ||
        file.starts_with("records-20261130"))
      std::filesystem::remove(path(file));
  const FindAnswer answer = find(kMoment + 3 * kHour + 1000, 2304);
  EXPECT_THAT(subscribers(answer), ElementsAre("192.0.2.5"));
  EXPECT_THAT(answer.doubts, IsEmpty());
  EXPECT_EQ(answer.holders[0].from_ms, std::nullopt) << "before these segments";
  const FindAnswer before = find(kMoment, 2304);
  EXPECT_THAT(before.holders, IsEmpty());
  EXPECT_THAT(before.doubts, ::testing::Contains(HasSubstr("lsnctl deterministic FILE -natIP "
                                                           "203.0.113.3 -natPort 2304")));
}

TEST_F(FindComputed, SegmentThatIsMissingSinceTheLastConfigRecord_IsADoubt) {
  run();
  for (int hour = 0; hour < 4; ++hour)
    holds("192.0.2.7", 40001, kMoment + hour * kHour, kMoment + hour * kHour + 60'000);
  write();
  std::filesystem::remove(path("records-20261201T013129Z.log"));
  EXPECT_THAT(find(kMoment + 90 * 60'000, 2304).doubts,
              ElementsAre(HasSubstr("records-20261201T013129Z.log is not among the segments")));
  EXPECT_THAT(find(kMoment + 2 * kHour + 1000, 2304).doubts, IsEmpty())
      << "the next segment says the same";
}

TEST_F(FindComputed, ConfigRecordThatSaysTooLittle_IsADoubt) {
  config(LogEvent::kCreated, kMoment - kHour, "lsnd 1 with 1 worker");
  config(LogEvent::kCompleted, kMoment - kHour, "group DET: nattype DETERMINISTIC");
  stop();
  write();
  const FindAnswer answer = find(kMoment, 2304);
  EXPECT_THAT(answer.holders, IsEmpty());
  EXPECT_THAT(answer.doubts, ElementsAre(HasSubstr("lacks what its addresses follow from")));
}

TEST_F(FindComputed, NoConfigRecord_IsADoubt) {
  holds("192.0.2.7", 40001, kMoment, kMoment + 60'000);
  write();
  EXPECT_THAT(find(kMoment + 1000, 40002).doubts,
              ::testing::Contains(HasSubstr("no CONFIG record says whether 203.0.113.3 was an "
                                            "address of deterministic NAT then")));
}

TEST_F(FindComputed, LossOfTheSinkSinceTheConfigRecord_IsADoubt) {
  run();
  batch_.records.push_back(lost_record({5, kMoment, kMoment + 1000}, kNoWorker, LogKind::kLost, 0));
  batch_.records.push_back(
      lost_record({5, kMoment + 2000, kMoment + 3000}, 0, LogKind::kSession, 1));
  stop();
  write();
  EXPECT_THAT(find(kMoment - 1000, 2304).doubts, IsEmpty());
  EXPECT_THAT(find(kMoment + 10'000, 2304).doubts, ElementsAre(HasSubstr("5 records were lost")));
}

TEST_F(FindComputed, SpiOfASharedAddress_IsNotComputed) {
  run();
  stop();
  write();
  FindQuestion question;
  question.nat = *wire::parse_ipv4("203.0.113.3");
  question.spi = 0x1001;
  question.from_ms = question.until_ms = kMoment;
  const auto answer = find_holders(question, {path()});
  ASSERT_TRUE(answer);
  EXPECT_THAT(answer->holders, IsEmpty());
  EXPECT_THAT(answer->doubts, ElementsAre(HasSubstr("which 252 subscribers share")));
}

TEST_F(FindComputed, Answer_SaysFromWhichRecord) {
  run();
  stop();
  write();
  FindQuestion question;
  question.nat = *wire::parse_ipv4("203.0.113.3");
  question.port = 2304;
  question.from_ms = question.until_ms = kMoment;
  const auto answer = find_holders(question, {path()});
  ASSERT_TRUE(answer);
  const std::string text = to_text(question, *answer, Format::kText);
  EXPECT_THAT(text, HasSubstr("192.0.2.5 of group DET, computed: 203.0.113.3:2304-2559"));
  EXPECT_THAT(text, HasSubstr("CONFIG changed seq=0 text=\"group DET: nattype DETERMINISTIC"));
  EXPECT_THAT(to_text(question, *answer, Format::kJson),
              HasSubstr(R"("computed":true,"firstPort":2304,"lastPort":2559)"));
}

TEST_F(Find, FewBlocksAreReadForOnePort) {
  begins(kMoment - kHour);
  for (int i = 0; i < 30'000; ++i)
    add(session(LogEvent::kCreated, kMoment + i, static_cast<std::uint16_t>(1024 + i % 50'000)));
  holds("192.0.2.8", 65000, kMoment, kMoment + 60'000);
  write();
  const FindAnswer answer = find(kMoment + 30'000, 65000);
  EXPECT_THAT(subscribers(answer), ElementsAre("192.0.2.8:1234"));
  EXPECT_EQ(answer.records, 30'006u) << "with the notes that a segment begins with";
  EXPECT_GT(answer.blocks, 5u);
  EXPECT_LT(answer.blocks_read, 5u);
}

TEST_F(Find, SegmentThatIsGivenTwice_CountsOnce) {
  begins(kMoment - kHour);
  holds("192.0.2.7", 40001, kMoment, kMoment + 60'000);
  config(LogEvent::kDeleted, kMoment + kHour, "lsnd stops");
  write();
  std::filesystem::create_directory(path("copy"));
  for (const std::string& file : files())
    if (file != "copy") std::filesystem::copy_file(path(file), path("copy/" + file));
  FindQuestion question;
  question.nat = *wire::parse_ipv4("203.0.113.3");
  question.port = 40001;
  question.from_ms = question.until_ms = kMoment + 1000;
  const auto answer = find_holders(question, {path(), path() + files().at(1).substr(7),
                                              path("copy/../records"), path("copy/records")});
  ASSERT_TRUE(answer) << answer.error();
  EXPECT_EQ(answer->holders.size(), 1u);
  EXPECT_EQ(answer->segments, find(question).segments);
  EXPECT_THAT(answer->doubts, IsEmpty());
}

TEST_F(Find, SegmentThatWasCutOff_IsADoubt) {
  begins(kMoment - kHour);
  write();
  put("records-20261201T010000Z.log.zst", std::string_view("\x28\xb5\x2f\xfd\x04", 5));
  EXPECT_THAT(find(kMoment - kHour).doubts,
              Contains(HasSubstr("records-20261201T010000Z.log.zst: a part of it cannot be read")));
}

TEST_F(Find, FileThatIsNoSegment_IsAnError) {
  FindQuestion question;
  EXPECT_FALSE(find_holders(question, {path("nothing")}));
}

}  // namespace
}  // namespace lsn::control
