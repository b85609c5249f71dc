#include "lsn/control/records/file_sink.hpp"

#include <sys/resource.h>

#include <csignal>
#include <thread>

#include "lsn/control/records/record_line.hpp"
#include "lsn/control/records/segment_file.hpp"
#include "unit/control/captured_log.hpp"
#include "unit/control/records/failing_calls.hpp"
#include "unit/control/records/support.hpp"

namespace lsn::control {
namespace {

using shared::LogEvent;
using ::testing::ElementsAre;
using ::testing::EndsWith;

constexpr const char* kFirst = "records-20261201T003129Z.log";

class FileSinkTest : public WithDirectory {
 protected:
  [[nodiscard]] RecordFileConfig config() const {
    RecordFileConfig config;
    config.path = path();
    return config;
  }
  /// So many sessions, from that port and time on.
  [[nodiscard]] static std::shared_ptr<RecordBatch> sessions(std::size_t count,
                                                             std::int64_t at_ms = kMoment) {
    std::vector<Record> records;
    for (std::size_t i = 0; i < count; ++i)
      records.push_back(
          session(LogEvent::kCreated, at_ms, static_cast<std::uint16_t>(1024 + i % 60000)));
    return batch_of(std::move(records));
  }
  /// Waits for the sink's other thread.
  void wait_for(const std::string& file) const {
    for (int i = 0; i < 500 && std::ranges::count(files(), file) == 0; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds{10});
    EXPECT_THAT(files(), ::testing::Contains(file));
  }
  void wait_until_gone(const std::string& file) const {
    for (int i = 0; i < 500 && std::ranges::count(files(), file) != 0; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds{10});
    EXPECT_THAT(files(), ::testing::Not(::testing::Contains(file)));
  }
  [[nodiscard]] static std::size_t lines_of(const std::string& text) {
    return static_cast<std::size_t>(std::ranges::count(text, '\n'));
  }
};

TEST_F(FileSinkTest, SegmentIsCalledByItsFirstSecond) {
  FileSink sink(config());
  EXPECT_EQ(sink.write(*sessions(3), 0), 3u);
  EXPECT_THAT(files(), ElementsAre(kFirst, std::string(kFirst) + ".idx"));
  EXPECT_EQ(lines_of(text(kFirst)), 3u);
}

TEST_F(FileSinkTest, BeginsAgainInTheSameSegment_WithoutTheLineThatWasCut) {
  {
    FileSink sink(config());
    EXPECT_EQ(sink.write(*sessions(3), 0), 3u);
  }
  const std::string whole = text(kFirst);
  put(kFirst, whole + "2026-12-01T00:31:29.120Z n1 w0 SESS");
  FileSink sink(config());
  EXPECT_EQ(sink.write(*sessions(1), 0), 1u);
  EXPECT_TRUE(text(kFirst).starts_with(whole));
  EXPECT_EQ(lines_of(text(kFirst)), 4u);
  sink.finish();
  const auto segment = SegmentFile::open(path(kFirst));
  ASSERT_TRUE(segment);
  EXPECT_EQ(segment->indexed_now(), 0u) << "the index has all lines";
  std::uint64_t records = 0;
  for (const SegmentBlock& block : segment->blocks()) records += block.records;
  EXPECT_EQ(records, 4u);
}

TEST_F(FileSinkTest, OldSegmentIsClosedByTime) {
  RecordFileConfig hourly = config();
  FileSink sink(hourly);
  EXPECT_EQ(sink.write(*sessions(1), 0), 1u);
  EXPECT_EQ(sink.write(*sessions(1, kMoment + 3'600'000), 0), 1u);
  EXPECT_EQ(lines_of(text(kFirst)), 1u);
  const std::string second = text("records-20261201T013129Z.log");
  EXPECT_EQ(lines_of(second), 2u);
  EXPECT_TRUE(second.starts_with(
      "2026-12-01T01:31:29.120Z n1 - CONFIG changed seq=0 text=\"segment follows "
      "records-20261201T003129Z.log\"\n"));
}

/// CONFIG with these words.
std::shared_ptr<RecordBatch> config_of(LogEvent event, std::string words,
                                       std::int64_t at_ms = kMoment) {
  auto batch = batch_of({});
  Record record;
  record.raw.kind = shared::LogKind::kConfig;
  record.raw.event = event;
  record.raw.group = shared::kNoId;
  record.at_ms = at_ms;
  batch->add(record, std::move(words));
  return batch;
}

constexpr const char* kDeterministic =
    "group DET: nattype DETERMINISTIC, allocPolicy PORTS, portblocksize 256, network 192.0.2.0/24, "
    "lsnip 203.0.113.3";

TEST_F(FileSinkTest, SegmentBeginsWithWhatIsInForce) {
  FileSink sink(config());
  EXPECT_EQ(sink.write(*config_of(LogEvent::kCompleted, "group OLD: logging ENABLED"), 0), 1u);
  EXPECT_EQ(sink.write(*config_of(LogEvent::kCreated, "lsnd 1 with 1 worker"), 0), 1u);
  EXPECT_EQ(sink.write(*config_of(LogEvent::kCompleted, "group A: logging ENABLED"), 0), 1u);
  EXPECT_EQ(sink.write(*config_of(LogEvent::kCompleted, "group B: logging ENABLED"), 0), 1u);
  EXPECT_EQ(sink.write(*config_of(LogEvent::kCompleted, kDeterministic), 0), 1u);
  EXPECT_EQ(sink.write(*config_of(LogEvent::kCompleted, "group A: removed"), 0), 1u);
  EXPECT_EQ(sink.write(*sessions(1, kMoment + 3'600'000), 0), 1u);
  const std::string second = text("records-20261201T013129Z.log");
  EXPECT_EQ(lines_of(second), 4u);
  EXPECT_THAT(second,
              ::testing::HasSubstr(" CONFIG changed seq=1 text=\"in force: group B: logging "
                                   "ENABLED\"\n"));
  EXPECT_THAT(second, ::testing::HasSubstr(std::string(" seq=2 text=\"in force: ") +
                                           kDeterministic + "\"\n"));
}

TEST_F(FileSinkTest, WhereAddressesAreComputed_TheNextSegmentBeginsAtOnce) {
  FileSink sink(config());
  EXPECT_EQ(sink.write(*config_of(LogEvent::kCompleted, kDeterministic), 0), 1u);
  sink.tick(kMoment + 3'599'000);
  EXPECT_THAT(files(), ElementsAre(kFirst, std::string(kFirst) + ".idx"));
  sink.tick(kMoment + 3'600'000);
  EXPECT_THAT(text("records-20261201T013129Z.log"),
              ::testing::HasSubstr("01:31:29.120Z n1 - CONFIG changed seq=1 text=\"in force: group "
                                   "DET: nattype DETERMINISTIC"));
  // When lsnd ends, none is in force.
  EXPECT_EQ(sink.write(*config_of(LogEvent::kDeleted, "lsnd stops", kMoment + 3'700'000), 0), 1u);
  sink.tick(kMoment + 7'200'000);
  EXPECT_THAT(files(), ::testing::Not(::testing::Contains("records-20261201T023129Z.log")));
}

TEST_F(FileSinkTest, LargeSegmentIsClosedAndTheNextOneOfThatSecondHasANumber) {
  RecordFileConfig small = config();
  small.rotate_size = 1;
  FileSink sink(small);
  EXPECT_EQ(sink.write(*sessions(10'000), 0), 10'000u);
  const std::string second = text("records-20261201T003129Z-2.log");
  EXPECT_EQ(lines_of(text(kFirst)) + lines_of(second), 10'001u);
  EXPECT_GE(text(kFirst).size(), 1u << 20);
}

TEST_F(FileSinkTest, LongBeginning_DoesNotCountForTheSize) {
  RecordFileConfig small = config();
  small.rotate_size = 1;
  FileSink sink(small);
  RecordBatch batch;
  batch.names = names();
  for (unsigned i = 0; i < 4096; ++i) {
    Record record;
    record.raw.kind = shared::LogKind::kConfig;
    record.raw.event = LogEvent::kCompleted;
    record.at_ms = kMoment;
    batch.add(record, fmt::format("static {}{:04}: transportprotocol TCP, subscrIP 192.0.2.7, "
                                  "subscrPort 80, natIP 203.0.113.3, natPort {}",
                                  std::string(120, 's'), i, 1024 + i));
  }
  EXPECT_EQ(sink.write(batch, 0), 4096u);
  for (int i = 1; i <= 20; ++i) sink.tick(kMoment + i * 250);
  EXPECT_EQ(files().size(), 4u) << "two segments: the second has only what a segment begins with";
}

TEST_F(FileSinkTest, ClockThatWasSetBack_NeitherDoesASegmentBeginBeforeTheFormerOne) {
  RecordFileConfig small = config();
  small.rotate_size = 1;
  FileSink sink(small);
  EXPECT_EQ(sink.write(*config_of(LogEvent::kCompleted, kDeterministic), 0), 1u);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(sink.write(*sessions(1000), 0), 1000u);
    sink.tick(kMoment - 7'200'000);
  }
  EXPECT_EQ(files().size(), 4u);
  for (const std::string& file : files()) EXPECT_TRUE(file.starts_with("records-20261201T003129Z"));
}

TEST_F(FileSinkTest, ClosedSegmentIsCompressedInBlocks) {
  RecordFileConfig packed = config();
  packed.compress = Compression::kZstd;
  std::string plain;
  {
    FileSink sink(packed);
    EXPECT_EQ(sink.write(*sessions(20'000), 0), 20'000u);
    plain = text(kFirst);
    sink.tick(kMoment + 3'600'000);
    wait_until_gone(kFirst);
  }
  EXPECT_THAT(files(), ElementsAre(std::string(kFirst) + ".zst", std::string(kFirst) + ".zst.idx"));
  const auto segment = SegmentFile::open(path(std::string(kFirst) + ".zst"));
  ASSERT_TRUE(segment);
  EXPECT_EQ(segment->indexed_now(), 0u);
  EXPECT_GT(segment->blocks().size(), 2u);
  std::string unpacked;
  for (const SegmentBlock& block : segment->blocks()) unpacked += segment->lines(block);
  EXPECT_EQ(unpacked, plain);
  EXPECT_LT(text(std::string(kFirst) + ".zst").size() * 4, plain.size());
}

TEST_F(FileSinkTest, SegmentThatWasNotCompressedWhenLsndEnded_IsLater) {
  {
    FileSink before(config());
    EXPECT_EQ(before.write(*sessions(5, kMoment - 86'400'000), 0), 5u);
  }
  RecordFileConfig packed = config();
  packed.compress = Compression::kZstd;
  FileSink sink(packed);
  EXPECT_EQ(sink.write(*sessions(1), 0), 1u);
  wait_for("records-20261130T003129Z.log.zst");
}

TEST_F(FileSinkTest, SegmentThatZstdRefuses_StaysAndIsCompressedLater) {
  RecordFileConfig packed = config();
  packed.compress = Compression::kZstd;
  const CapturedLog log;
  FailingCalls calls;
  calls.zstd_fails = true;
  FileSink sink(packed);
  EXPECT_EQ(sink.write(*sessions(20'000), 0), 20'000u);
  const std::string plain = text(kFirst);
  EXPECT_EQ(lines_of(plain), 20'000u);
  sink.tick(kMoment + 3'600'000);
  for (int i = 0; i < 500 && log.text().find("is not compressed") == std::string::npos; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds{10});
  EXPECT_THAT(log.text(), ::testing::HasSubstr(std::string(kFirst) +
                                               " is not compressed: Allocation error : not enough "
                                               "memory; it stays as it is"));
  EXPECT_THAT(files(), ElementsAre(kFirst, std::string(kFirst) + ".idx"));
  EXPECT_EQ(text(kFirst), plain);
  calls.zstd_fails = false;
  EXPECT_EQ(sink.write(*sessions(1, kMoment + 3'600'000), 0), 1u);
  sink.tick(kMoment + 7'200'000);
  wait_until_gone(kFirst);
  const auto segment = SegmentFile::open(path(std::string(kFirst) + ".zst"));
  ASSERT_TRUE(segment);
  std::string unpacked;
  for (const SegmentBlock& block : segment->blocks()) unpacked += segment->lines(block);
  EXPECT_EQ(unpacked, plain);
}

TEST_F(FileSinkTest, SegmentThatCannotBeReadWhole_IsLeftAndTheOthersAreCompressed) {
  const std::string bad = "records-20261129T003129Z.log", good = "records-20261130T003129Z.log";
  {
    FileSink before(config());
    EXPECT_EQ(before.write(*sessions(5, kMoment - 86'400'000), 0), 5u);
  }
  put(bad, "");
  constexpr std::uintmax_t kNoLines = std::uintmax_t{70} << 20;
  std::filesystem::resize_file(path(bad), kNoLines);
  RecordFileConfig packed = config();
  packed.compress = Compression::kZstd;
  FileSink sink(packed);
  EXPECT_EQ(sink.write(*sessions(1), 0), 1u);
  wait_until_gone(good);
  EXPECT_EQ(std::filesystem::file_size(path(bad)), kNoLines);
  EXPECT_THAT(files(), ::testing::Not(::testing::Contains(bad + ".zst")));
}

TEST_F(FileSinkTest, OnlySoManyClosedSegmentsAreKept) {
  RecordFileConfig few = config();
  few.keep = 2;
  FileSink sink(few);
  for (int hour = 0; hour < 6; ++hour)
    EXPECT_EQ(sink.write(*sessions(1, kMoment + hour * 3'600'000), 0), 1u);
  wait_until_gone("records-20261201T023129Z.log");
  EXPECT_THAT(files(),
              ElementsAre("records-20261201T033129Z.log", "records-20261201T033129Z.log.idx",
                          "records-20261201T043129Z.log", "records-20261201T043129Z.log.idx",
                          "records-20261201T053129Z.log", "records-20261201T053129Z.log.idx"));
}

/// The limit of a file's size stands for a full disk: write() fails in the same way.
TEST_F(FileSinkTest, FullDisk_LeavesWholeLinesAndTakesTheRestLater) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  FileSink sink(config());
  const auto batch = sessions(10'000);
  rlimit tight = before;
  tight.rlim_cur = 600'000;
  setrlimit(RLIMIT_FSIZE, &tight);
  const std::size_t taken = sink.write(*batch, 0);
  EXPECT_EQ(sink.write(*batch, taken), taken) << "it is still full";
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_GT(taken, 0u);
  EXPECT_LT(taken, 10'000u);
  EXPECT_EQ(lines_of(text(kFirst)), taken);
  EXPECT_THAT(text(kFirst), EndsWith("\n"));
  EXPECT_EQ(sink.write(*batch, taken), 10'000u);
  EXPECT_EQ(lines_of(text(kFirst)), 10'000u);
  sink.finish();
  const auto segment = SegmentFile::open(path(kFirst));
  ASSERT_TRUE(segment);
  EXPECT_EQ(segment->indexed_now(), 0u);
}

TEST_F(FileSinkTest, IndexFindsEveryRecordAndFewOthers) {
  FileSink sink(config());
  EXPECT_EQ(sink.write(*sessions(30'000), 0), 30'000u);
  sink.finish();
  const auto segment = SegmentFile::open(path(kFirst));
  ASSERT_TRUE(segment);
  const wire::Ipv4Address nat = *wire::parse_ipv4("203.0.113.3");
  std::size_t in_vain = 0;
  for (const SegmentBlock& block : segment->blocks()) {
    EXPECT_TRUE(block.may_have(address_key(nat)));
    std::set<unsigned> ports;
    const std::string lines = segment->lines(block);
    for (std::size_t at = 0, next; (next = lines.find('\n', at)) != std::string::npos;
         at = next + 1)
      ports.insert(*RecordLine::parse(std::string_view(lines).substr(at, next - at))->nat_port);
    for (unsigned port = 0; port < 65536; ++port)
      if (block.may_have(port_key(nat, static_cast<std::uint16_t>(port))))
        in_vain += ports.contains(port) ? 0 : 1;
      else
        EXPECT_FALSE(ports.contains(port)) << port;
  }
  EXPECT_LT(in_vain, segment->blocks().size() * 65536 * 3 / 100);
}

TEST_F(FileSinkTest, SegmentWithoutIndex_IsReadAllTheSame) {
  {
    FileSink sink(config());
    EXPECT_EQ(sink.write(*sessions(10'000), 0), 10'000u);
    sink.finish();
  }
  std::filesystem::remove(path(std::string(kFirst) + ".idx"));
  const auto segment = SegmentFile::open(path(kFirst));
  ASSERT_TRUE(segment);
  EXPECT_GT(segment->indexed_now(), 0u);
  std::uint64_t records = 0;
  for (const SegmentBlock& block : segment->blocks()) records += block.records;
  EXPECT_EQ(records, 10'000u);
}

TEST(SegmentName, IsReadAsItIsWritten) {
  for (const unsigned number : {1u, 2u, 31u})
    for (const RecordFormat format : {RecordFormat::kText, RecordFormat::kJson})
      for (const bool compressed : {false, true}) {
        const SegmentName name{1'796'085'089, number, format, compressed};
        EXPECT_EQ(SegmentName::parse(name.text()), name) << name.text();
      }
  for (const char* wrong :
       {"-20261201T003129Z.txt", "-20261201T003129Z", "", "-20261301T003129Z.log",
        "-20261201T003129Z.log.idx", "-20261201T003129Z-1.log", "-20261201T003129Z.log.zst.tmp"})
    EXPECT_FALSE(SegmentName::parse(wrong)) << wrong;
}

}  // namespace
}  // namespace lsn::control
