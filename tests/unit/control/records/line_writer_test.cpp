// Every kind of record in every form, to the letter; and read again (record_line.hpp).
#include "lsn/control/records/line_writer.hpp"

#include <endian.h>

#include "lsn/control/records/record_line.hpp"
#include "unit/control/records/support.hpp"

namespace lsn::control {
namespace {

using shared::LogEvent;
using shared::LogKind;

std::string line(const Record& record, RecordFormat format = RecordFormat::kText,
                 std::shared_ptr<const RecordNames> of = names()) {
  std::string out;
  LineWriter(format).write(*batch_of({record}, std::move(of)), record, out);
  EXPECT_TRUE(out.ends_with('\n'));
  out.pop_back();
  EXPECT_EQ(out.find('\n'), std::string::npos);
  return out;
}

Record of_kind(LogKind kind, LogEvent event) {
  Record record = session(event);
  record.raw.kind = kind;
  return record;
}

Record alg(LogEvent event) {
  Record record = of_kind(LogKind::kAlgSession, event);
  record.raw.protocol = shared::Protocol::kEsp;
  record.raw.spi_out = wire::Be32::of(0x1001);
  record.raw.spi_in = wire::Be32::of(0xC0FFEE00);
  record.raw.initiator = htobe64(0xA1);
  record.raw.responder = htobe64(0xB2);
  return record;
}

Record block(LogEvent event) {
  Record record = of_kind(LogKind::kBlock, event);
  record.raw.nat_port = wire::Be16::of(1024);
  record.raw.last_port = wire::Be16::of(1279);
  return record;
}

TEST(LineWriter, SessionAsText) {
  EXPECT_EQ(line(session(LogEvent::kCreated)),
            "2026-12-01T00:31:29.120Z n1 w0 SESSION created seq=17 group=\"LSN GROUP-1\" "
            "protocol=TCP subscrIP=192.0.2.7 subscrPort=1234 natIP=203.0.113.3 natPort=40001 "
            "destIP=198.51.100.10 destPort=80");
  EXPECT_EQ(line(session(LogEvent::kDeleted)),
            "2026-12-01T00:31:29.120Z n1 w0 SESSION deleted seq=17 group=\"LSN GROUP-1\" "
            "protocol=TCP subscrIP=192.0.2.7 subscrPort=1234 natIP=203.0.113.3 natPort=40001 "
            "destIP=198.51.100.10 destPort=80 packetsOut=10 packetsIn=8 bytesOut=1000 "
            "bytesIn=4000 durationMs=12340 reason=fin");
}

TEST(LineWriter, SessionAsJson) {
  EXPECT_EQ(line(session(LogEvent::kDeleted), RecordFormat::kJson, names(false, true)),
            "{\"time\":\"2026-12-01T00:31:29.120Z\",\"node\":\"n1\",\"worker\":0,\"record\":"
            "\"SESSION\",\"event\":\"deleted\",\"seq\":17,\"group\":\"LSN GROUP-1\",\"client\":"
            "\"LSN-CLIENT-1\",\"protocol\":\"TCP\",\"subscrIP\":\"192.0.2.7\",\"subscrPort\":1234,"
            "\"natIP\":\"203.0.113.3\",\"natPort\":40001,\"destIP\":\"198.51.100.10\","
            "\"destPort\":80,\"packetsOut\":10,\"packetsIn\":8,\"bytesOut\":1000,"
            "\"bytesIn\":4000,\"durationMs\":12340,\"reason\":\"fin\"}");
}

TEST(LineWriter, ATrafficDomainIsThereIfItIsNotZero) {
  Record record = session(LogEvent::kCreated);
  record.raw.td = 4094;
  EXPECT_THAT(line(record), testing::HasSubstr(" group=\"LSN GROUP-1\" td=4094 protocol=TCP "));
  EXPECT_THAT(line(record, RecordFormat::kJson),
              testing::HasSubstr("\"group\":\"LSN GROUP-1\",\"td\":4094,\"protocol\""));
}

TEST(LineWriter, SessionAsCompactText) {
  EXPECT_EQ(line(session(LogEvent::kCreated), RecordFormat::kText, names(true)),
            "1796085089120 n1 0 S+ 17 \"LSN GROUP-1\" TCP 192.0.2.7:1234 203.0.113.3:40001 "
            "198.51.100.10:80");
  EXPECT_EQ(line(session(LogEvent::kDeleted), RecordFormat::kText, names(true, true)),
            "1796085089120 n1 0 S- 17 \"LSN GROUP-1\" TCP 192.0.2.7:1234 203.0.113.3:40001 "
            "198.51.100.10:80 10/1000 8/4000 12340 fin client=\"LSN-CLIENT-1\"");
}

TEST(LineWriter, MappingHasAsMuchOfTheDestinationAsItDependsOn) {
  Record record = of_kind(LogKind::kMapping, LogEvent::kCreated);
  record.raw.mapping = shared::Dependence::kEndpointIndependent;
  EXPECT_TRUE(line(record).ends_with("natIP=203.0.113.3 natPort=40001"));
  record.raw.mapping = shared::Dependence::kAddress;
  EXPECT_TRUE(line(record).ends_with("natPort=40001 destIP=198.51.100.10"));
}

TEST(LineWriter, OtherKindsAsText) {
  EXPECT_EQ(line(alg(LogEvent::kCompleted)),
            "2026-12-01T00:31:29.120Z n1 w0 ALGSESSION completed seq=17 group=\"LSN GROUP-1\" "
            "protocol=ESP subscrIP=192.0.2.7 natIP=203.0.113.3 destIP=198.51.100.10 "
            "spiOut=0x00001001 spiIn=0xc0ffee00 ikeInitiator=0x00000000000000a1 "
            "ikeResponder=0x00000000000000b2");
  EXPECT_EQ(line(block(LogEvent::kCreated)),
            "2026-12-01T00:31:29.120Z n1 w0 BLOCK allocated seq=17 group=\"LSN GROUP-1\" "
            "subscrIP=192.0.2.7 natIP=203.0.113.3 firstPort=1024 lastPort=1279");
  EXPECT_EQ(line(of_kind(LogKind::kBinding, LogEvent::kDeleted)),
            "2026-12-01T00:31:29.120Z n1 w0 BINDING deleted seq=17 group=\"LSN GROUP-1\" "
            "subscrIP=192.0.2.7 natIP=203.0.113.3");
  Record lost = lost_record({12, kMoment - 1000, kMoment}, 3, LogKind::kSession, 0);
  EXPECT_EQ(line(lost),
            "2026-12-01T00:31:29.120Z n1 w3 LOST 12 kind=SESSION from=2026-12-01T00:31:28.120Z "
            "cause=ring");
  lost.worker = kNoWorker;
  lost.lost_kind = LogKind::kLost;
  EXPECT_EQ(line(lost),
            "2026-12-01T00:31:29.120Z n1 - LOST 12 kind=any from=2026-12-01T00:31:28.120Z "
            "cause=sink");
}

TEST(LineWriter, WordsOfAConfigRecordAreInQuotesAndCannotEndThem) {
  Record record;
  record.raw.kind = LogKind::kConfig;
  record.raw.group = shared::kNoId;
  record.at_ms = kMoment;
  RecordBatch batch;
  batch.names = names();
  batch.add(record, "group G: \"logging\"\n ENABLED");
  std::string out;
  LineWriter(RecordFormat::kText).write(batch, batch.records[0], out);
  EXPECT_EQ(out,
            "2026-12-01T00:31:29.120Z n1 - CONFIG started seq=0 text=\"group G: logging "
            "ENABLED\"\n");
}

/// What a search needs of a record is the same whatever form it was written in.
TEST(RecordLine, EveryFormIsReadAgain) {
  for (const LogEvent event : {LogEvent::kCreated, LogEvent::kDeleted, LogEvent::kCompleted})
    for (const LogKind kind : {LogKind::kMapping, LogKind::kSession, LogKind::kAlgSession,
                               LogKind::kBlock, LogKind::kBinding}) {
      Record record = kind == LogKind::kAlgSession ? alg(event)
                      : kind == LogKind::kBlock    ? block(event)
                                                   : of_kind(kind, event);
      record.raw.td = 7;
      for (const auto& [format, compact] :
           {std::pair{RecordFormat::kText, false}, std::pair{RecordFormat::kText, true},
            std::pair{RecordFormat::kJson, false}}) {
        const std::string text = line(record, format, names(compact, true));
        SCOPED_TRACE(text);
        const auto read = RecordLine::parse(text);
        ASSERT_TRUE(read);
        EXPECT_EQ(read->at_ms, kMoment);
        EXPECT_EQ(read->kind, kind);
        EXPECT_EQ(read->event, event);
        EXPECT_EQ(read->sequence, 17u);
        EXPECT_EQ(read->worker, 0u);
        EXPECT_EQ(read->node, "n1");
        EXPECT_EQ(read->group, "LSN GROUP-1");
        EXPECT_EQ(read->client, "LSN-CLIENT-1");
        EXPECT_EQ(read->td, 7u);
        EXPECT_EQ(read->subscriber, *wire::parse_ipv4("192.0.2.7"));
        EXPECT_EQ(read->nat, *wire::parse_ipv4("203.0.113.3"));
        const bool flow = kind == LogKind::kMapping || kind == LogKind::kSession;
        EXPECT_EQ(read->nat_port.value_or(0), flow ? 40001 : 0);
        EXPECT_EQ(read->subscriber_port.value_or(0), flow ? 1234 : 0);
        EXPECT_EQ(read->destination_port.value_or(0), flow ? 80 : 0);
        EXPECT_EQ(read->spi_in, kind == LogKind::kAlgSession ? 0xC0FFEE00 : 0);
        EXPECT_EQ(read->first_port, kind == LogKind::kBlock ? 1024 : 0);
        EXPECT_EQ(read->last_port, kind == LogKind::kBlock ? 1279 : 0);
        const bool ends = event == LogEvent::kDeleted && (flow || kind == LogKind::kAlgSession);
        EXPECT_EQ(read->duration_ms.value_or(0), ends ? 12340u : 0u);
        EXPECT_EQ(read->reason, ends ? "fin" : "");
        // The index of the writer and that of a reader are the same.
        const auto a = keys_of(*read), b = keys_of(record.raw);
        EXPECT_TRUE(std::ranges::equal(a.all(), b.all()));
      }
    }
}

TEST(RecordLine, LossAndConfigAreReadAgain) {
  const Record lost = lost_record({12, kMoment - 1000, kMoment}, 3, LogKind::kSession, 0);
  for (const RecordFormat format : {RecordFormat::kText, RecordFormat::kJson}) {
    const std::string text = line(lost, format);
    const auto read = RecordLine::parse(text);
    ASSERT_TRUE(read) << text;
    EXPECT_EQ(read->lost, 12u);
    EXPECT_EQ(read->lost_from_ms, kMoment - 1000);
    EXPECT_EQ(read->lost_kind, "SESSION");
    EXPECT_TRUE(read->is_note());
  }
}

TEST(RecordLine, PartOfALineIsNoRecord) {
  const std::string whole = line(session(LogEvent::kCreated), RecordFormat::kJson);
  for (std::size_t n = 0; n < whole.size(); ++n)
    EXPECT_FALSE(RecordLine::parse(whole.substr(0, n))) << whole.substr(0, n);
  EXPECT_FALSE(RecordLine::parse("2026-12-01T00:31:29.120Z n1 w0 SESSION exploded seq=17"));
  EXPECT_FALSE(RecordLine::parse("2026-12-01T00:31:29.120Z n1 w0 SESSION created natPort=70000"));
  EXPECT_FALSE(RecordLine::parse("a line of something else, which is long enough"));
}

TEST(ParseUtc, TakesUtcAndOffsets) {
  EXPECT_EQ(parse_utc("2026-12-01T00:31:29.120Z"), kMoment);
  EXPECT_EQ(parse_utc("2026-12-01T01:31:29.120+01:00"), kMoment);
  EXPECT_EQ(parse_utc("2026-11-30T19:01:29.120-05:30"), kMoment);
  EXPECT_EQ(parse_utc("2026-12-01T00:31:29Z"), kMoment - 120);
  for (const char* wrong : {"2026-12-01T00:31:29", "2026-12-01 00:31:29Z", "2026-13-01T00:31:29Z",
                            "2026-02-30T00:31:29Z", "2026-12-01T24:31:29Z", "", "Z"})
    EXPECT_FALSE(parse_utc(wrong)) << wrong;
}

}  // namespace
}  // namespace lsn::control
