// Messages over UDP that the network does not take for a while: each record once, each loss once.
#include "lsn/control/records/ipfix_sink.hpp"

#include "unit/control/records/failing_calls.hpp"
#include "unit/control/records/support.hpp"
#include "unit/control/records/udp_receiver.hpp"

namespace lsn::control {
namespace {

using shared::LogEvent;
using shared::LogKind;
using testing::ElementsAreArray;

std::shared_ptr<const RecordNames> of_ipfix() {
  auto all = std::make_shared<RecordNames>();
  all->groups.push_back({"G", "C", false, false, true, 100});
  return all;
}

/// Sessions, with a loss in front and behind them.
std::shared_ptr<RecordBatch> batch_with_losses() {
  std::vector<Record> records(400, session(LogEvent::kCreated));
  records.insert(records.begin(), lost_record({5, 0, kMoment}, 1, LogKind::kSession, 0));
  records.push_back(lost_record({6, 0, kMoment}, 1, LogKind::kSession, 1));
  return batch_of(std::move(records), of_ipfix());
}

/// Messages of a writer that nothing stands in the way of.
std::vector<std::string> undisturbed(const RecordBatch& batch) {
  IpfixWriter writer(1, IpfixSink::kDatagram);
  std::vector<std::string> all;
  std::uint32_t sequence = 0;
  for (std::size_t next = 0; next < batch.records.size();) {
    IpfixWriter::Message message = writer.write(batch, next);
    IpfixWriter::number(message.bytes, sequence);
    sequence += message.records;
    next = message.next;
    all.push_back(std::move(message.bytes));
  }
  return all;
}

/// Without the time of export.
std::vector<std::string> timeless(std::vector<std::string> messages) {
  for (std::string& message : messages) message.replace(4, 4, 4, 0);
  return messages;
}

TEST(IpfixSink, OverUdpWhatIsTriedAgain_CountsOnce) {
  UdpReceiver collector;
  RecordIpfixConfig config;
  config.collector = collector.text();
  IpfixSink sink(config);
  sink.tick(kMoment);
  EXPECT_EQ(collector.take().size(), 1u) << "the templates";
  const auto batch = batch_with_losses();
  const auto expected = timeless(undisturbed(*batch));
  ASSERT_GT(expected.size(), 5u);
  std::vector<std::string> got;
  FailingCalls calls;
  // Nothing goes, three times; then two datagrams, again nothing, and at last the rest.
  calls.sendmmsg = [](unsigned&) { return ENETUNREACH; };
  for (int i = 0; i < 3; ++i) EXPECT_EQ(sink.write(*batch, 0), 0u);
  bool is_first = true;
  calls.sendmmsg = [&is_first](unsigned& datagrams) {
    datagrams = 2;
    return std::exchange(is_first, false) ? 0 : ENETUNREACH;
  };
  const std::size_t next = sink.write(*batch, 0);
  EXPECT_GT(next, 0u);
  EXPECT_LT(next, batch->records.size());
  EXPECT_EQ(sink.write(*batch, next), next);
  calls.sendmmsg = nullptr;
  EXPECT_EQ(sink.write(*batch, next), batch->records.size());
  EXPECT_THAT(timeless(collector.take()), ElementsAreArray(expected));
}

TEST(IpfixSink, WhatIsNotExported_IsPassedOver) {
  UdpReceiver collector;
  RecordIpfixConfig config;
  config.collector = collector.text();
  IpfixSink sink(config);
  // names() have no logIpfix.
  const auto batch = batch_of({session(LogEvent::kCreated), session(LogEvent::kDeleted)});
  EXPECT_EQ(sink.write(*batch, 0), 2u);
  EXPECT_EQ(sink.passed_over(), 2u);
  const auto losses = batch_with_losses();
  EXPECT_EQ(sink.write(*losses, 0), losses->records.size());
  EXPECT_EQ(sink.passed_over(), 2u) << "all of them are exported";
}

}  // namespace
}  // namespace lsn::control
