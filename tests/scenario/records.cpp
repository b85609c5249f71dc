// The records of the packet path: who got which NAT address and port, from when until when.
//
// Each thing is recorded when it begins and when it ends, exactly once, as the group's flags say.
#include <sstream>

#include "alg/alg_scenario.hpp"
#include "lsn/shared/log_record.hpp"

namespace lsn::test {
namespace {

using shared::LogEvent;
using shared::LogFlags;
using shared::LogKind;
using shared::LogReason;
using shared::LogRecord;

constexpr unsigned kAll =
    LogFlags::kMappings | LogFlags::kBindings | LogFlags::kSessions | LogFlags::kDeletions;

std::string dotted(wire::Be32 address) {
  return to_text(Ip{address.host()});
}

std::string endpoint_text(wire::Be32 address, wire::Be16 port) {
  return dotted(address) + ":" + std::to_string(port.host());
}

/// "MAPPING+ UDP 192.0.2.10:40000 203.0.113.3:1234 198.18.0.1:80", without what differs from run to
/// run.
std::string text_of(const LogRecord& r) {
  constexpr const char* kKinds[] = {"MAPPING", "SESSION", "ALG", "BLOCK", "BINDING", "ALERT"};
  constexpr const char* kEvents[] = {"+", "-", "*"};
  constexpr const char* kProtocols[] = {"TCP", "UDP", "ICMP", "ESP"};
  std::string text = kKinds[static_cast<unsigned>(r.kind)];
  text += kEvents[static_cast<unsigned>(r.event)];
  if (r.kind == LogKind::kBinding)
    return text + " " + dotted(r.subscriber) + " " + dotted(r.nat_ip);
  if (r.kind == LogKind::kBlock)
    return text + " " + dotted(r.subscriber) + " " + endpoint_text(r.nat_ip, r.nat_port) + "-" +
           std::to_string(r.last_port.host());
  text += std::string(" ") + kProtocols[static_cast<unsigned>(r.protocol)];
  if (r.kind == LogKind::kAlgSession) {
    std::ostringstream spis;
    spis << std::hex << r.spi_out.host() << "/" << r.spi_in.host();
    return text + " " + dotted(r.subscriber) + " " + dotted(r.nat_ip) + " " + dotted(r.remote_ip) +
           " " + spis.str();
  }
  text += " " + endpoint_text(r.subscriber, r.subscriber_port) + " " +
          endpoint_text(r.nat_ip, r.nat_port);
  if (r.kind == LogKind::kMapping && r.mapping == Dependence::kEndpointIndependent) return text;
  if (r.kind == LogKind::kMapping && r.mapping == Dependence::kAddress)
    return text + " " + dotted(r.remote_ip);
  return text + " " + endpoint_text(r.remote_ip, r.remote_port);
}

class Records : public Scenario {
 protected:
  void start(unsigned logging = kAll, Config config = Config::standard()) {
    config.group().logging = logging;
    Scenario::start(config);
  }

  /// What was recorded since the last time, in words; the records themselves are in `last`.
  std::vector<std::string> recorded() {
    last = lab().log_records();
    std::vector<std::string> all;
    for (const LogRecord& record : last) all.push_back(text_of(record));
    return all;
  }

  std::vector<LogRecord> last;
};

TEST_P(Records, GroupWithoutLogging_WritesNone) {
  start(0);
  translated(udp(kClient, kServer));
  lab().advance(121s);
  EXPECT_THAT(recorded(), ::testing::IsEmpty());
}

TEST_P(Records, SessionThatIsItsOwnMapping_IsRecordedAsBoth) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  const std::string flow = " UDP 192.0.2.10:40000 " + to_text(nat) + " 198.18.0.1:80";
  EXPECT_THAT(recorded(), ::testing::ElementsAre("MAPPING+" + flow, "SESSION+" + flow));
  EXPECT_EQ(last[0].at, lab().now());
  EXPECT_EQ(last[0].group, 0);
  EXPECT_EQ(last[0].mapping, Dependence::kAddressPort);
  const state::Ticks began = lab().now();
  returned(udp(kServer, nat).with_payload(pattern(100)), kClient);
  translated_to(udp(kClient, kServer).with_payload(pattern(10)), nat);
  lab().advance(121s);
  EXPECT_THAT(recorded(), ::testing::ElementsAre("SESSION-" + flow, "MAPPING-" + flow));
  for (const LogRecord& record : last) {
    EXPECT_EQ(record.reason, LogReason::kIdle);
    EXPECT_EQ(record.totals.packets[Direction::kOutbound], 2u);
    EXPECT_EQ(record.totals.packets[Direction::kInbound], 1u);
    EXPECT_EQ(record.totals.bytes[Direction::kInbound],
              udp(kServer, nat).with_payload(pattern(100)).bytes().size());
    EXPECT_EQ(record.totals.duration, state::elapsed(record.at, began));
  }
}

TEST_P(Records, PacketsOfASession_WriteNone) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  static_cast<void>(recorded());
  for (int i = 0; i < 5; ++i) {
    translated_to(udp(kClient, kServer), nat);
    returned(udp(kServer, nat), kClient);
  }
  EXPECT_THAT(recorded(), ::testing::IsEmpty());
}

TEST_P(Records, WithoutSessionLogging_OnlyMappingsAre) {
  start(LogFlags::kMappings | LogFlags::kDeletions);
  const Endpoint nat = translated(udp(kClient, kServer));
  lab().advance(121s);
  const std::string flow = " UDP 192.0.2.10:40000 " + to_text(nat) + " 198.18.0.1:80";
  EXPECT_THAT(recorded(), ::testing::ElementsAre("MAPPING+" + flow, "MAPPING-" + flow));
}

TEST_P(Records, WithoutDeletions_OnlyCreationsAre) {
  start(kAll & ~LogFlags::kDeletions);
  translated(udp(kClient, kServer));
  EXPECT_EQ(recorded().size(), 2u);
  lab().advance(121s);
  EXPECT_THAT(recorded(), ::testing::IsEmpty());
}

TEST_P(Records, EndpointIndependentMapping_IsRecordedOnceAndWithoutDestination) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  start(kAll, config);
  const Endpoint nat = translated(udp(kClient, kServer));
  const Endpoint other = {"198.18.0.2", 53};
  EXPECT_EQ(translated(udp(kClient, other)), nat);
  const std::string mapping = " UDP 192.0.2.10:40000 " + to_text(nat);
  EXPECT_THAT(recorded(),
              ::testing::ElementsAre("MAPPING+" + mapping, "SESSION+" + mapping + " 198.18.0.1:80",
                                     "SESSION+" + mapping + " 198.18.0.2:53"));
  // RFC 6888 REQ-12: no destination is in a record that does not need one.
  EXPECT_EQ(last[0].remote_ip.raw(), 0u);
  lab().advance(121s);
  EXPECT_EQ(recorded().size(), 2u);
  lab().advance(601s);
  EXPECT_THAT(recorded(), ::testing::ElementsAre("MAPPING-" + mapping));
}

TEST_P(Records, AddressDependentMapping_IsRecordedWithTheDestinationsAddress) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, {.mapping = Dependence::kAddress});
  start(LogFlags::kMappings, config);
  const Endpoint nat = translated(udp(kClient, kServer));
  EXPECT_THAT(recorded(), ::testing::ElementsAre("MAPPING+ UDP 192.0.2.10:40000 " + to_text(nat) +
                                                 " 198.18.0.1"));
}

TEST_P(Records, PairedSubscriber_IsRecordedAsBinding) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, {.pooling = Pooling::kPaired});
  start(LogFlags::kBindings | LogFlags::kDeletions, config);
  const Endpoint nat = translated(udp(kClient, kServer));
  translated(udp({kClient.ip, 41000}, kServer));
  EXPECT_THAT(recorded(), ::testing::ElementsAre("BINDING+ 192.0.2.10 " + to_text(nat.ip)));
  lab().advance(121s);
  EXPECT_THAT(recorded(), ::testing::ElementsAre("BINDING- 192.0.2.10 " + to_text(nat.ip)));
}

TEST_P(Records, ReasonsOfEnds) {
  Config config = Config::standard();
  start(LogFlags::kSessions | LogFlags::kDeletions, config);
  const auto reason = [this] {
    EXPECT_EQ(recorded().size(), 1u);
    return last.empty() ? LogReason::kNone : last.front().reason;
  };
  const auto open = [this](std::uint16_t port) {
    const Endpoint client = {kClient.ip, port};
    const Endpoint nat = translated(tcp(client, kServer, kSyn));
    IpPacket answer = tcp(kServer, nat, kSyn | kAck);
    answer.acknowledgment = tcp(client, kServer, kSyn).sequence + 1;
    returned(answer, client);
    IpPacket last_of_three = tcp(client, kServer, kAck);
    last_of_three.sequence = answer.acknowledgment;
    last_of_three.acknowledgment = answer.sequence + 1;
    translated_to(last_of_three, nat);
    static_cast<void>(recorded());
    return nat;
  };
  // Never answered.
  translated(tcp(kClient, kServer, kSyn));
  static_cast<void>(recorded());
  lab().advance(61s);
  EXPECT_EQ(reason(), LogReason::kIdle);

  open(50002);
  EXPECT_EQ(lab().flush({}), 1u);
  EXPECT_EQ(reason(), LogReason::kFlush);

  open(50003);
  Config without = this->config();
  without.remove_group("GROUP");
  without.add_group("OTHER", {"10.0.0.0/24"}, {"POOL"});
  lab().reload(without);
  EXPECT_EQ(reason(), LogReason::kReload) << "the group that is gone logs what it had";
}

TEST_P(Records, ClosedConnection_EndsByFin) {
  start(LogFlags::kSessions | LogFlags::kDeletions);
  const Endpoint nat = translated(tcp(kClient, kServer, kSyn));
  IpPacket answer = tcp(kServer, nat, kSyn | kAck);
  answer.acknowledgment = tcp(kClient, kServer, kSyn).sequence + 1;
  returned(answer, kClient);
  IpPacket fin = tcp(kClient, kServer, kFin | kAck);
  fin.sequence = answer.acknowledgment;
  fin.acknowledgment = answer.sequence + 1;
  translated_to(fin, nat);
  IpPacket other = tcp(kServer, nat, kFin | kAck);
  other.sequence = fin.acknowledgment;
  other.acknowledgment = fin.sequence + 1;
  returned(other, kClient);
  static_cast<void>(recorded());
  lab().advance(31s);
  ASSERT_EQ(recorded().size(), 1u);
  EXPECT_EQ(last[0].reason, LogReason::kFin);
}

TEST_P(Records, RefusedConnection_EndsByRst) {
  start(LogFlags::kSessions | LogFlags::kDeletions);
  const IpPacket syn = tcp(kClient, kServer, kSyn);
  const Endpoint nat = translated(syn);
  IpPacket reset = tcp(kServer, nat, kRst | kAck);
  reset.acknowledgment = syn.sequence + 1;
  returned(reset, kClient);
  static_cast<void>(recorded());
  lab().advance(300s);
  ASSERT_EQ(recorded().size(), 1u);
  EXPECT_EQ(last[0].reason, LogReason::kRst);
}

TEST_P(Records, SessionWhoseFirstPacketCannotLeave_IsCreatedAndWithdrawn) {
  Config config = Config::standard();
  config.routes = {{"198.18.0.0/16", kGateway}};
  start(LogFlags::kSessions | LogFlags::kDeletions, config);
  refused_from_inside(udp(kClient, {"198.19.0.1", 9}), DropReason::kNoRoute);
  const auto all = recorded();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_THAT(all[0], ::testing::StartsWith("SESSION+ UDP 192.0.2.10:40000 "));
  EXPECT_EQ(all[1], "SESSION-" + all[0].substr(8));
  EXPECT_EQ(last[1].reason, LogReason::kWithdrawn);
  EXPECT_EQ(last[1].totals.packets[Direction::kOutbound], 0u);
}

TEST_P(Records, FullRing_LosesTheNewestAndLeavesAGapInTheNumbers) {
  Config config = Config::standard();
  config.group().logging = LogFlags::kSessions;
  Lab::Options options;
  options.log_records = 8;
  Scenario::start(config, options);
  std::uint64_t created = 0;
  for (std::uint16_t i = 0; i < 40; ++i, ++created)
    translated(udp({kClient.ip, static_cast<std::uint16_t>(3000 + i)}, kServer));
  EXPECT_EQ(recorded().size(), 8u);
  std::uint64_t lost = 0;
  for (unsigned id = 0; id < lab().shards(); ++id)
    lost += lab().shard(id).log.lost(LogKind::kSession);
  EXPECT_EQ(lost, created - 8);
  const std::uint32_t before = last.back().sequence;
  translated(udp({kClient.ip, 5000}, kServer));
  ASSERT_EQ(recorded().size(), 1u);
  EXPECT_EQ(last[0].sequence - before, lost + 1);
}

TEST_P(Records, NumbersCountByKindWithoutGaps) {
  start();
  for (std::uint16_t i = 0; i < 20; ++i)
    translated(udp({kClient.ip, static_cast<std::uint16_t>(3000 + i)}, kServer));
  lab().advance(121s);
  recorded();
  std::map<LogKind, std::uint32_t> next;
  for (const LogRecord& r : last) {
    const auto [there, first] = next.try_emplace(r.kind, r.sequence);
    EXPECT_EQ(r.sequence, there->second++);
  }
  EXPECT_EQ(next.size(), 2u);
}

TEST_P(Records, BlockOfPorts_IsRecordedWithBothEnds) {
  Config config = Config::standard();
  config.pool().has_blocks = true;
  config.group().blocks = {.size = 256, .most = 1};
  start(LogFlags::kBlocks | LogFlags::kDeletions, config);
  const Endpoint nat = translated(udp(kClient, kServer));
  const unsigned first = 1024 + (nat.port - 1024u) / 256 * 256;
  const std::string block = " 192.0.2.10 " + to_text(nat.ip) + ":" + std::to_string(first) + "-" +
                            std::to_string(first + 255);
  EXPECT_THAT(recorded(), ::testing::ElementsAre("BLOCK+" + block));
  lab().advance(400s);
  EXPECT_THAT(recorded(), ::testing::ElementsAre("BLOCK-" + block));
}

TEST_P(Records, RefusalsByAQuota_AreToldOnceASecondWithTheirNumber) {
  Config config = Config::standard();
  config.group().udp().session_quota = 1;
  start(0, config);
  translated(udp(kClient, kServer));
  const auto refuse = [this](unsigned count) {
    for (unsigned i = 0; i < count; ++i)
      static_cast<void>(lab().from_inside(
          udp({kClient.ip, static_cast<std::uint16_t>(5000 + i)}, kServer).bytes()));
    expect_only_drops({DropReason::kSessionQuota});
  };
  refuse(10);
  recorded();
  ASSERT_EQ(last.size(), 1u);
  EXPECT_EQ(last[0].kind, LogKind::kAlert);
  EXPECT_EQ(last[0].alert, shared::LogAlert::kSessionQuota);
  EXPECT_EQ(last[0].totals.count, 1u);
  EXPECT_EQ(last[0].subscriber.host(), kClient.ip.value);
  lab().advance(1s);
  refuse(1);
  recorded();
  ASSERT_EQ(last.size(), 1u);
  EXPECT_EQ(last[0].totals.count, 10u);
}

TEST_P(Records, RefusalForWantOfABlock_IsAFailedAllocationOfAPort) {
  Config config = Config::standard();
  config.pool().addresses = {"203.0.113.3"};
  config.pool().has_blocks = true;
  config.group().blocks = {.size = 64512, .most = 1};
  start(0, config);
  translated(udp(kClient, kServer));
  expect_unreachable_inside(udp({"192.0.2.60", 2000}, kServer), DropReason::kNoFreeBlock);
  recorded();
  ASSERT_EQ(last.size(), 1u);
  EXPECT_EQ(last[0].alert, shared::LogAlert::kPortAllocation);
}

// Its NAT port may lie in another subscriber's block, or be of an address that is computed for
// none.
TEST_P(Records, SessionOfAStaticMapping_IsAMappingWhateverThePoolGivesOut) {
  Config config = Config::standard();
  config.pool().has_blocks = true;
  config.group().blocks = {.size = 256, .most = 1};
  config.add_static(Protocol::kUdp, kClient, {"203.0.113.5", 2000});
  start(LogFlags::kBlocks | LogFlags::kStatics | LogFlags::kDeletions, config);
  translated_to(udp(kClient, kServer), {"203.0.113.5", 2000});
  const std::string flow = " UDP 192.0.2.10:40000 203.0.113.5:2000";
  EXPECT_THAT(recorded(), ::testing::ElementsAre("MAPPING+" + flow));
  lab().advance(121s);
  EXPECT_THAT(recorded(), ::testing::ElementsAre("MAPPING-" + flow));
}

// RFC 6888 REQ-12: it is endpoint-independent, unless it is for one destination.
TEST_P(Records, SessionOfAStaticMapping_HasTheDestinationOnlyIfTheMappingHasOne) {
  Config config = Config::standard();
  config.add_static(Protocol::kUdp, kClient, {"203.0.113.5", 2000}, "198.18.0.1");
  config.add_static(Protocol::kTcp, kClient, {"203.0.113.5", 2000});
  start(LogFlags::kStatics, config);
  translated_to(udp(kClient, kServer), {"203.0.113.5", 2000});
  returned(tcp(kServer, {"203.0.113.5", 2000}, kSyn), kClient);
  EXPECT_THAT(recorded(),
              ::testing::ElementsAre("MAPPING+ UDP 192.0.2.10:40000 203.0.113.5:2000 198.18.0.1",
                                     "MAPPING+ TCP 192.0.2.10:40000 203.0.113.5:2000"));
}

// What began as a record of a kind that the group's records have not any more ends as one.
TEST_P(Records, ReloadToDeterministicNat_EndsWhatWasRecordedAndNoOther) {
  const unsigned after_flags = LogFlags::kStatics | LogFlags::kDeletions;
  Config before = Config::standard();
  before.group().app(Protocol::kUdp, {.pooling = Pooling::kPaired});
  start(LogFlags::kMappings | LogFlags::kBindings | after_flags, before);
  const Endpoint own = translated(udp(kClient, kServer));
  const auto begun = recorded();
  const std::string flow = " UDP 192.0.2.10:40000 " + to_text(own.ip) + ":" +
                           std::to_string(own.port) + " 198.18.0.1:80";
  EXPECT_THAT(begun, ::testing::UnorderedElementsAre("MAPPING+" + flow,
                                                     "BINDING+ 192.0.2.10 " + to_text(own.ip)));
  Config after = Config::standard();
  after.pool().addresses = {"203.0.113.3-203.0.113.4"};
  after.group().deterministic = shared::BlockOrder::kPorts;
  after.group().blocks.size = 504;
  after.group().logging = after_flags;
  EXPECT_EQ(lab().reload(after), 1u);
  EXPECT_THAT(recorded(), ::testing::UnorderedElementsAre(
                              "MAPPING-" + flow, "BINDING- 192.0.2.10 " + to_text(own.ip)));
  // What is computed has neither beginning nor end.
  translated(udp(kClient, kServer));
  lab().advance(121s);
  EXPECT_THAT(recorded(), ::testing::IsEmpty());
}

TEST_P(Records, ReloadToBlocks_EndsTheMappingsThatWereRecorded) {
  Config before = Config::standard();
  before.group().app(Protocol::kUdp, {.mapping = Dependence::kEndpointIndependent});
  start(LogFlags::kMappings | LogFlags::kDeletions, before);
  translated(udp(kClient, kServer));
  const auto begun = recorded();
  ASSERT_EQ(begun.size(), 1u);
  Config after = before;
  after.pool().has_blocks = true;
  after.group().blocks = {.size = 256, .most = 8};
  after.group().logging = LogFlags::kBlocks | LogFlags::kDeletions;
  lab().reload(after);
  lab().advance(2000s);
  std::string end = begun[0];
  end[end.find('+')] = '-';
  EXPECT_THAT(recorded(), ::testing::Contains(end));
}

TEST_P(Records, ReloadFromBlocks_EndsTheBlocks) {
  Config before = Config::standard();
  before.pool().has_blocks = true;
  before.group().blocks = {.size = 256, .most = 8};
  start(LogFlags::kBlocks | LogFlags::kDeletions, before);
  translated(udp(kClient, kServer));
  const auto begun = recorded();
  ASSERT_EQ(begun.size(), 1u);
  Config after = Config::standard();
  after.group().logging = LogFlags::kMappings | LogFlags::kDeletions;
  lab().reload(after);
  lab().advance(400s);
  std::string end = begun[0];
  end[end.find('+')] = '-';
  EXPECT_THAT(recorded(), ::testing::Contains(end));
}

INSTANTIATE_TEST_SUITE_P(Sharded, Records, shardings(), sharding_name);

class AlgRecords : public Alg {
 protected:
  std::vector<std::string> recorded() {
    last = lab().log_records();
    std::vector<std::string> all;
    for (const LogRecord& record : last)
      if (record.kind == LogKind::kAlgSession) all.push_back(text_of(record));
    return all;
  }
  std::vector<LogRecord> last;
};

TEST_P(AlgRecords, EspSession_IsRecordedWithBothSpisAndItsIkeSa) {
  Config config = Config::with_alg();
  config.group().logging = LogFlags::kSessions | LogFlags::kDeletions;
  start(config);
  const Peer c = joins(1);
  arms(c);
  sends_esp(c, 0x1001);
  EXPECT_THAT(recorded(),
              ::testing::ElementsAre("ALG+ ESP 192.0.2.11 203.0.113.3 198.18.0.1 1001/0"));
  gets_esp(c, 0x2001);
  EXPECT_THAT(recorded(),
              ::testing::ElementsAre("ALG* ESP 192.0.2.11 203.0.113.3 198.18.0.1 1001/2001"));
  lab().jump(4000s);
  lab().jump(1s);
  EXPECT_THAT(recorded(),
              ::testing::ElementsAre("ALG- ESP 192.0.2.11 203.0.113.3 198.18.0.1 1001/2001"));
  for (const LogRecord& r : last)
    if (r.kind == LogKind::kAlgSession) {
      EXPECT_EQ(r.totals.packets[Direction::kOutbound], 1u);
      EXPECT_EQ(r.totals.packets[Direction::kInbound], 1u);
      EXPECT_EQ(r.reason, LogReason::kIdle);
    }
}

INSTANTIATE_TEST_SUITE_P(Sharded, AlgRecords, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
