// NAT events as IPFIX messages: templates, records, numbers, byte by byte where it is short.
#include "lsn/control/records/ipfix_writer.hpp"

#include <map>

#include "unit/control/records/support.hpp"

namespace lsn::control {
namespace {

using shared::LogEvent;
using shared::LogKind;

std::uint64_t number_at(const std::string& bytes, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i)
    value = value << 8 | static_cast<std::uint8_t>(bytes.at(at + i));
  return value;
}

std::shared_ptr<const RecordNames> exported() {
  auto all = std::make_shared<RecordNames>();
  all->node = "n1";
  all->groups.push_back({"G", "C", false, false, true, 100});
  return all;
}

/// Fields (element, length) by template, of a message of templates.
using Templates = std::map<std::uint64_t, std::vector<std::pair<std::uint64_t, std::uint64_t>>>;
Templates templates_in(const std::string& message) {
  Templates all;
  std::size_t at = 16;
  while (at < message.size()) {
    const std::uint64_t set = number_at(message, at, 2);
    const std::size_t end = at + number_at(message, at + 2, 2);
    EXPECT_TRUE(set == 2 || set == 3);
    at += 4;
    while (at + 4 <= end) {
      auto& fields = all[number_at(message, at, 2)];
      const std::uint64_t count = number_at(message, at + 2, 2);
      at += set == 3 ? 6 : 4;
      for (std::uint64_t i = 0; i < count; ++i, at += 4)
        fields.emplace_back(number_at(message, at, 2), number_at(message, at + 2, 2));
    }
    at = end;
  }
  return all;
}

TEST(IpfixWriter, TheTemplatesAreOneMessageThatFitsIntoADatagram) {
  IpfixWriter writer(77, 1400);
  const std::string& message = writer.templates();
  EXPECT_EQ(number_at(message, 0, 2), 10u);
  EXPECT_EQ(number_at(message, 2, 2), message.size());
  EXPECT_EQ(number_at(message, 12, 4), 77u);
  EXPECT_LE(message.size(), 1400u);
  const Templates all = templates_in(message);
  ASSERT_EQ(all.size(), 14u);
  // observationTimeMilliseconds, natEvent, ingressVRFID, protocolIdentifier, addresses and ports.
  using Fields = Templates::mapped_type;
  EXPECT_EQ(all.at(256),
            (Fields{{323, 8}, {230, 1}, {234, 4}, {4, 1}, {8, 4}, {225, 4}, {7, 2}, {227, 2}}));
  EXPECT_EQ(
      all.at(262),
      (Fields{
          {323, 8}, {230, 1}, {234, 4}, {4, 1}, {8, 4}, {225, 4}, {12, 4}, {295, 4}, {295, 4}}));
  EXPECT_EQ(all.at(265),
            (Fields{{323, 8}, {230, 1}, {234, 4}, {8, 4}, {225, 4}, {361, 2}, {362, 2}}));
}

TEST(IpfixWriter, ASessionsBeginning) {
  IpfixWriter writer(1, 1400);
  Record record = session(LogEvent::kCreated);
  record.raw.td = 4094;
  const auto message = writer.write(*batch_of({record}, exported()), 0);
  ASSERT_EQ(message.records, 1u);
  EXPECT_EQ(message.next, 1u);
  const std::string& bytes = message.bytes;
  ASSERT_EQ(bytes.size(), 16u + 4 + 32);
  EXPECT_EQ(number_at(bytes, 29, 4), 4094u);  // ingressVRFID
  EXPECT_EQ(number_at(bytes, 16, 2), 260u);   // with address and port of the destination
  EXPECT_EQ(number_at(bytes, 20, 8), static_cast<std::uint64_t>(kMoment));
  EXPECT_EQ(number_at(bytes, 28, 1), 4u);  // natEvent
  EXPECT_EQ(number_at(bytes, 33, 1), 6u);  // TCP
  EXPECT_EQ(number_at(bytes, 34, 4), 0xC0000207u);
  EXPECT_EQ(number_at(bytes, 38, 4), 0xCB007103u);
  EXPECT_EQ(number_at(bytes, 42, 2), 1234u);
  EXPECT_EQ(number_at(bytes, 44, 2), 40001u);
  EXPECT_EQ(number_at(bytes, 46, 4), 0xC633640Au);
  EXPECT_EQ(number_at(bytes, 50, 2), 80u);
}

TEST(IpfixWriter, ASessionsEndHasItsTraffic) {
  IpfixWriter writer(1, 1400);
  const auto message = writer.write(*batch_of({session(LogEvent::kDeleted)}, exported()), 0);
  const std::string& bytes = message.bytes;
  ASSERT_EQ(number_at(bytes, 16, 2), 261u);
  EXPECT_EQ(number_at(bytes, 28, 1), 5u);
  EXPECT_EQ(number_at(bytes, 52, 8), 10u);
  EXPECT_EQ(number_at(bytes, 60, 8), 8u);
  EXPECT_EQ(number_at(bytes, 68, 8), 1000u);
  EXPECT_EQ(number_at(bytes, 76, 8), 4000u);
  EXPECT_EQ(number_at(bytes, 84, 4), 12340u);
  EXPECT_EQ(number_at(bytes, 88, 1), 3u);  // end of flow detected
  EXPECT_EQ(bytes.size(), 89u);
}

TEST(IpfixWriter, EachKindHasItsEventAndTemplate) {
  struct Case {
    LogKind kind;
    LogEvent event;
    shared::Dependence dependence;
    std::uint64_t template_id, nat_event;
  };
  using enum shared::Dependence;
  const Case cases[] = {{LogKind::kMapping, LogEvent::kCreated, kEndpointIndependent, 256, 8},
                        {LogKind::kMapping, LogEvent::kCreated, kAddress, 258, 8},
                        {LogKind::kMapping, LogEvent::kDeleted, kAddressPort, 261, 9},
                        {LogKind::kAlgSession, LogEvent::kCreated, kAddressPort, 262, 4},
                        {LogKind::kAlgSession, LogEvent::kDeleted, kAddressPort, 263, 5},
                        {LogKind::kBinding, LogEvent::kCreated, kAddressPort, 264, 14},
                        {LogKind::kBinding, LogEvent::kDeleted, kAddressPort, 264, 15},
                        {LogKind::kBlock, LogEvent::kCreated, kAddressPort, 265, 16},
                        {LogKind::kBlock, LogEvent::kDeleted, kAddressPort, 265, 17}};
  IpfixWriter writer(1, 1400);
  for (const Case& c : cases) {
    Record record = session(c.event);
    record.raw.kind = c.kind;
    record.raw.mapping = c.dependence;
    const auto message = writer.write(*batch_of({record}, exported()), 0);
    EXPECT_EQ(number_at(message.bytes, 16, 2), c.template_id);
    EXPECT_EQ(number_at(message.bytes, 28, 1), c.nat_event);
  }
}

TEST(IpfixWriter, AlertsAreNatEvents) {
  const auto message = [](shared::LogAlert alert, LogEvent event, std::string words = "") {
    Record record;
    record.raw.kind = LogKind::kAlert;
    record.raw.event = event;
    record.raw.alert = alert;
    record.raw.group = 0;
    record.raw.totals.count = 7;
    auto batch = batch_of({}, exported());
    batch->add(record, std::move(words));
    return IpfixWriter(1, 1400).write(*batch, 0).bytes;
  };
  using shared::LogAlert;
  std::string bytes = message(LogAlert::kPortAllocation, LogEvent::kCreated);
  EXPECT_EQ(number_at(bytes, 28, 1), 12u);
  EXPECT_EQ(number_at(bytes, 33, 8), 7u);
  EXPECT_EQ(message(LogAlert::kPortAllocation, LogEvent::kDeleted), "");
  bytes = message(LogAlert::kPortQuota, LogEvent::kCompleted);
  EXPECT_EQ(number_at(bytes, 28, 1), 13u);
  EXPECT_EQ(number_at(bytes, 29, 4), 3u);
  EXPECT_EQ(number_at(message(LogAlert::kGroupLimit, LogEvent::kCreated), 29, 4), 1u);
  bytes = message(LogAlert::kPoolUsage, LogEvent::kCreated, "pool P1");
  EXPECT_EQ(number_at(bytes, 28, 1), 18u);
  EXPECT_EQ(number_at(bytes, 29, 4), 1u);
  EXPECT_EQ(bytes.substr(33), "\2P1");
  EXPECT_EQ(number_at(message(LogAlert::kPoolUsage, LogEvent::kDeleted), 29, 4), 2u);
  EXPECT_EQ(message(LogAlert::kLinkDown, LogEvent::kCreated), "");
}

TEST(IpfixWriter, ALossIsInTheTotalOfWhatWasNotSent) {
  IpfixWriter writer(1, 1400);
  const auto batch = batch_of({lost_record({5, 0, kMoment}, 1, LogKind::kSession, 0),
                               lost_record({6, 0, kMoment}, 1, LogKind::kSession, 1)},
                              exported());
  const auto message = writer.write(*batch, 0);
  ASSERT_EQ(message.records, 2u);
  EXPECT_EQ(number_at(message.bytes, 16, 2), 269u);
  EXPECT_EQ(number_at(message.bytes, 32, 8), 5u);
  EXPECT_EQ(number_at(message.bytes, 52, 8), 11u);
}

TEST(IpfixWriter, ALossWhoseMessageWasNotSent_CountsOnce) {
  IpfixWriter writer(1, 1400);
  const auto batch = batch_of({lost_record({5, 0, kMoment}, 1, LogKind::kSession, 0)}, exported());
  writer.take_back(writer.write(*batch, 0));
  EXPECT_EQ(number_at(writer.write(*batch, 0).bytes, 32, 8), 5u);
}

TEST(IpfixWriter, GroupsWithoutLogIpfixAreNotExported) {
  IpfixWriter writer(1, 1400);
  const auto message = writer.write(*batch_of({session(LogEvent::kCreated)}), 0);
  EXPECT_EQ(message.bytes, "");
  EXPECT_EQ(message.next, 1u);
}

TEST(IpfixWriter, AMessageIsAsLongAsAllowedAndTheNextOneGoesOn) {
  IpfixWriter writer(1, 1400);
  const auto batch = batch_of(std::vector<Record>(100, session(LogEvent::kCreated)), exported());
  std::size_t next = 0;
  std::uint32_t records = 0;
  for (int i = 0; next < 100 && i < 10; ++i) {
    const auto message = writer.write(*batch, next);
    EXPECT_LE(message.bytes.size(), 1400u);
    EXPECT_EQ(message.bytes.size(), number_at(message.bytes, 2, 2));
    EXPECT_EQ(message.next - next, message.records);
    next = message.next;
    EXPECT_TRUE(next == 100 || message.bytes.size() > 1400 - 32);
    records += message.records;
  }
  EXPECT_EQ(records, 100u);
}

TEST(IpfixWriter, TheNumberOfAMessageIsSet) {
  IpfixWriter writer(1, 1400);
  auto message = writer.write(*batch_of({session(LogEvent::kCreated)}, exported()), 0);
  IpfixWriter::number(message.bytes, 0x01020304);
  EXPECT_EQ(number_at(message.bytes, 8, 4), 0x01020304u);
}

}  // namespace
}  // namespace lsn::control
