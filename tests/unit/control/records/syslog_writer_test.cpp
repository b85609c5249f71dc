// Messages of syslog to the letter: RFC 5424, and what NetScaler's LSN is published to write.
#include "lsn/control/records/syslog_writer.hpp"

#include "unit/control/records/support.hpp"

namespace lsn::control {
namespace {

using shared::LogEvent;
using shared::LogKind;

std::string message(const Record& record, SyslogFormat format = SyslogFormat::kRfc5424,
                    std::shared_ptr<const RecordNames> of = names(), std::string words = {}) {
  auto batch = batch_of({}, std::move(of));
  if (words.empty())
    batch->records.push_back(record);
  else
    batch->add(record, std::move(words));
  std::string out;
  SyslogWriter(format, SyslogFacility::kLocal0).write(*batch, batch->records[0], out);
  EXPECT_EQ(out.find('\n'), std::string::npos);
  return out;
}

Record of_kind(LogKind kind, LogEvent event, shared::Dependence dependence) {
  Record record = session(event);
  record.raw.kind = kind;
  record.raw.mapping = dependence;
  return record;
}

TEST(SyslogWriter, Rfc5424HasTheFieldsAsOneStructuredElement) {
  EXPECT_EQ(message(session(LogEvent::kDeleted)),
            "<134>1 2026-12-01T00:31:29.120Z n1 lsnd w0 SESSION [lsn@32473 event=\"deleted\" "
            "seq=\"17\" group=\"LSN GROUP-1\" protocol=\"TCP\" subscrIP=\"192.0.2.7\" "
            "subscrPort=\"1234\" natIP=\"203.0.113.3\" natPort=\"40001\" destIP=\"198.51.100.10\" "
            "destPort=\"80\" packetsOut=\"10\" packetsIn=\"8\" bytesOut=\"1000\" bytesIn=\"4000\" "
            "durationMs=\"12340\" reason=\"fin\"]");
}

TEST(SyslogWriter, Rfc5424CompactIsTheCompactLine) {
  EXPECT_EQ(message(session(LogEvent::kCreated), SyslogFormat::kRfc5424, names(true)),
            "<134>1 2026-12-01T00:31:29.120Z n1 lsnd w0 SESSION - 1796085089120 n1 0 S+ 17 \"LSN "
            "GROUP-1\" TCP 192.0.2.7:1234 203.0.113.3:40001 198.51.100.10:80");
}

TEST(SyslogWriter, Rfc5424EscapesWhatWouldEndAValue) {
  Record record;
  record.raw.kind = LogKind::kConfig;
  record.raw.event = LogEvent::kCompleted;
  record.raw.group = shared::kNoId;
  record.at_ms = kMoment;
  EXPECT_EQ(message(record, SyslogFormat::kRfc5424, names(), "a \"b\" [c] \\d\n"),
            "<133>1 2026-12-01T00:31:29.120Z n1 lsnd - CONFIG [lsn@32473 event=\"changed\" "
            "seq=\"0\" text=\"a \\\"b\\\" [c\\] \\\\d\"]");
}

TEST(SyslogWriter, ALossIsAWarning) {
  const Record lost = lost_record({5, kMoment - 1000, kMoment}, 1, LogKind::kSession, 3);
  EXPECT_EQ(message(lost),
            "<132>1 2026-12-01T00:31:29.120Z n1 lsnd w1 LOST [lsn@32473 lost=\"5\" "
            "kind=\"SESSION\" from=\"2026-12-01T00:31:28.120Z\" cause=\"ring\"]");
  EXPECT_EQ(message(lost, SyslogFormat::kNetscaler),
            "<132> 12/01/2026:00:31:29 GMT n1 0-PPE-1 : default LSN Message 3 0 :  LOST 5 "
            "kind=SESSION from=2026-12-01T00:31:28.120Z cause=ring");
}

constexpr std::string_view kHead = "<134> 12/01/2026:00:31:29 GMT n1 0-PPE-0 : default LSN ";

TEST(SyslogWriter, NetscalerSessionsAndMappings) {
  const auto written = [](const Record& record) {
    const std::string all = message(record, SyslogFormat::kNetscaler);
    EXPECT_TRUE(all.starts_with(kHead)) << all;
    return all.substr(std::min(all.size(), kHead.size()));
  };
  using enum shared::Dependence;
  EXPECT_EQ(written(session(LogEvent::kCreated)),
            "LSN_SESSION 17 0 :  SESSION CREATED Client IP:Port:TD 192.0.2.7:1234:0, NatIP:NatPort "
            "203.0.113.3:40001, Destination IP:Port:TD 198.51.100.10:80:0, Protocol: TCP");
  EXPECT_EQ(written(of_kind(LogKind::kMapping, LogEvent::kCreated, kAddressPort)),
            "LSN_ADDRPORT_MAPPING 17 0 :  A&PDM CREATED Client IP:Port:TD 192.0.2.7:1234:0, "
            "NatIP:NatPort 203.0.113.3:40001, Destination IP:Port:TD 198.51.100.10:80:0, "
            "Protocol: TCP");
  EXPECT_EQ(written(of_kind(LogKind::kMapping, LogEvent::kDeleted, kAddress)),
            "LSN_ADDR_MAPPING 17 0 :  ADM DELETED Client IP:Port:TD 192.0.2.7:1234:0, "
            "NatIP:NatPort 203.0.113.3:40001, Destination IP:TD 198.51.100.10:0, Protocol: TCP");
  EXPECT_EQ(written(of_kind(LogKind::kMapping, LogEvent::kDeleted, kEndpointIndependent)),
            "LSN_EIM_MAPPING 17 0 :  EIM DELETED Client IP:Port:TD 192.0.2.7:1234:0, "
            "NatIP:NatPort 203.0.113.3:40001, Protocol: TCP");
  Record in_domain = session(LogEvent::kCreated);
  in_domain.raw.td = 7;
  EXPECT_EQ(written(in_domain),
            "LSN_SESSION 17 0 :  SESSION CREATED Client IP:Port:TD 192.0.2.7:1234:7, NatIP:NatPort "
            "203.0.113.3:40001, Destination IP:Port:TD 198.51.100.10:80:0, Protocol: TCP");
  Record block = of_kind(LogKind::kBlock, LogEvent::kCreated, kEndpointIndependent);
  block.raw.last_port = wire::Be16::of(40256);
  EXPECT_EQ(written(block),
            "LSN_PORT_BLOCK 17 0 :  PORT BLOCK ALLOCATED Client IP:TD 192.0.2.7:0, "
            "NatIP:NatPort-NatPort 203.0.113.3:40001-40256");
}

TEST(SyslogWriter, NetscalerCompact) {
  const auto written = [](const Record& record) {
    return message(record, SyslogFormat::kNetscaler, names(true));
  };
  using enum shared::Dependence;
  EXPECT_EQ(written(of_kind(LogKind::kMapping, LogEvent::kCreated, kAddressPort)),
            "<134> 12/01/2026:00:31:29 GMT n1 0-PE0:default LSN 17 0:A&PDMC|C-192.0.2.7:1234:0|N-"
            "203.0.113.3:40001|D-198.51.100.10:80:0|T");
  EXPECT_EQ(written(session(LogEvent::kDeleted)),
            "<134> 12/01/2026:00:31:29 GMT n1 0-PE0:default LSN 17 0:SD|C-192.0.2.7:1234:0|N-"
            "203.0.113.3:40001|D-198.51.100.10:80:0|T");
}

}  // namespace
}  // namespace lsn::control
