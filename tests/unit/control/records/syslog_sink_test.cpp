// Records that are longer than a datagram.
#include "lsn/control/records/syslog_sink.hpp"

#include <fmt/format.h>

#include "unit/control/captured_log.hpp"
#include "unit/control/records/support.hpp"
#include "unit/control/records/udp_receiver.hpp"

namespace lsn::control {
namespace {

using shared::LogEvent;
using shared::LogKind;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

/// A session, the configuration of a group with thousands of networks, another session.
std::shared_ptr<RecordBatch> long_batch() {
  auto batch = batch_of({session(LogEvent::kCreated)});
  std::string words = "group G: nattype DETERMINISTIC";
  for (unsigned i = 0; i < 5000; ++i)
    words += fmt::format(", network 10.{}.{}.0/24", i / 256, i % 256);
  Record config;
  config.raw.kind = LogKind::kConfig;
  config.raw.event = LogEvent::kCompleted;
  config.raw.group = shared::kNoId;
  config.at_ms = kMoment;
  config.sequence = 3;
  batch->add(config, words);
  batch->records.push_back(session(LogEvent::kDeleted));
  return batch;
}

TEST(SyslogSink, OverUdpWordsThatDoNotFit_AreCutBehindASettingAndItIsSaid) {
  for (const SyslogFormat format : {SyslogFormat::kRfc5424, SyslogFormat::kNetscaler}) {
    UdpReceiver server;
    const CapturedLog log;
    RecordSyslogConfig config;
    config.server = server.text();
    config.format = format;
    SyslogSink sink(config);
    const auto batch = long_batch();
    EXPECT_EQ(sink.write(*batch, 0), 3u);
    const std::vector<std::string> got = server.take();
    ASSERT_EQ(got.size(), 3u);
    EXPECT_THAT(got[0], HasSubstr("SESSION"));
    EXPECT_LE(got[1].size(), DatagramOutlet::kLongest);
    EXPECT_GT(got[1].size(), DatagramOutlet::kLongest - 100) << "as much as there is room for";
    const std::string end =
        format == SyslogFormat::kRfc5424 ? ".0/24, ... (cut)\"]" : ".0/24, ... (cut)\"";
    EXPECT_THAT(got[1], AllOf(HasSubstr("group G: nattype DETERMINISTIC, network 10.0.0.0/24, "),
                              EndsWith(end)));
    EXPECT_THAT(got[2], HasSubstr("SESSION"));
    EXPECT_THAT(log.text(),
                AllOf(HasSubstr("CONFIG record 3 is cut: it has "), Not(HasSubstr("lost"))));
  }
}

}  // namespace
}  // namespace lsn::control
