#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/control/command/support.hpp"

namespace lsn::control {
namespace {

using shared::Dependence;
using shared::MappingRow;
using shared::Protocol;
using shared::SubscriberRow;
using testing::HasSubstr;

/// 192.0.2.`host` of group 0 (G1: portquota 1000 of UDP).
SubscriberRow subscriber(unsigned host, std::uint32_t udp_sessions, std::uint32_t tcp_ports = 0,
                         std::uint64_t bytes = 0) {
  SubscriberRow row;
  row.ip = wire::Ipv4Address{ip("192.0.2.0").value + host};
  row.nat_ip = ip("203.0.113.3");
  row.group = 0;
  row.sessions = {0, udp_sessions, 0, 1};
  row.ports = {tcp_ports, udp_sessions, 0};
  row.bytes[0] = bytes;
  row.bytes[1] = 2 * bytes;
  return row;
}

std::vector<std::string> subscribers_of(const nlohmann::json& json) {
  std::vector<std::string> all;
  for (const auto& row : json["subscribers"]) all.push_back(row["subscriber"]);
  return all;
}

TEST(ShowLsnSubscriber, SetsWhatIsUsedAgainstTheQuotas) {
  Bench bench;
  bench.dataplane.answers(0).subscribers = {subscriber(10, 12, 3)};
  const std::string text = bench.text("show lsn subscriber");
  EXPECT_THAT(text, HasSubstr("subscriber       group             nat ip           TCP sessions  "
                              "UDP sessions  ICMP sessions  ESP sessions"));
  EXPECT_THAT(text,
              HasSubstr("192.0.2.10       G1                203.0.113.3                 0  "
                        "          12              0         1/256            3      12/1000"));
  EXPECT_THAT(text, testing::EndsWith("\n1 subscriber\n"));
  EXPECT_EQ(bench.json("show lsn subscriber")["subscribers"][0],
            nlohmann::json({{"subscriber", "192.0.2.10"},
                            {"client", "C1"},
                            {"group", "G1"},
                            {"nat_ip", "203.0.113.3"},
                            {"sessions", {{"tcp", 0}, {"udp", 12}, {"icmp", 0}, {"esp", 1}}},
                            {"session_quota", {{"tcp", 0}, {"udp", 0}, {"icmp", 0}, {"esp", 256}}},
                            {"ports", {{"tcp", 3}, {"udp", 12}, {"icmp", 0}}},
                            {"port_quota", {{"tcp", 0}, {"udp", 1000}, {"icmp", 0}}}}));
}

TEST(ShowLsnSubscriber, OfOneThatIsNobodysClientAnyMoreNamesNoGroup) {
  Bench bench;
  SubscriberRow row = subscriber(10, 1);
  row.group = 77;
  row.nat_ip.reset();
  bench.dataplane.answers(0).subscribers = {row};
  EXPECT_THAT(bench.text("show lsn subscriber"),
              HasSubstr("192.0.2.10       -                 -   "));
  const auto json = bench.json("show lsn subscriber");
  EXPECT_TRUE(json["subscribers"][0]["group"].is_null());
  EXPECT_TRUE(json["subscribers"][0]["nat_ip"].is_null());
}

TEST(ShowLsnSubscriber, SortsByWhatIsAskedForOverAllWorkersAndPages) {
  Bench bench;
  for (unsigned i = 0; i < 40'000; ++i) {
    SubscriberRow row = subscriber(0, i % 977, i % 983, i % 991);
    row.ip = wire::Ipv4Address{0xC0000000 + i};
    bench.dataplane.answers(i % 2).subscribers.push_back(row);
  }
  struct Case {
    const char* order;
    unsigned modulus;
  };
  for (const auto& [order, modulus] : {Case{"sessions", 977}, {"bits", 991}}) {
    const auto json = bench.json(std::string("show lsn subscriber -sort ") + order + " -top 50");
    ASSERT_EQ(json["count"], 50) << order;
    std::uint64_t before = UINT64_MAX;
    for (const auto& row : json["subscribers"]) {
      const auto value = row.contains("outbound_bytes")
                             ? row["outbound_bytes"].get<std::uint64_t>()
                             : row["sessions"]["udp"].get<std::uint64_t>();
      EXPECT_LE(value, before);
      EXPECT_GE(value, modulus - 2) << "40 of them have the most, 40 one less";
      before = value;
    }
  }
  EXPECT_EQ(bench.json("show lsn subscriber -sort ports")["count"], 20);
  EXPECT_EQ(bench.json("show lsn subscriber")["count"], 40'000);
}

TEST(ShowLsnSubscriber, TakesTheFiltersOfSessions) {
  Bench bench;
  bench.dataplane.answers(0).subscribers = {subscriber(10, 1), subscriber(11, 1)};
  SubscriberRow other = subscriber(12, 1);
  other.group = 1;
  bench.dataplane.answers(1).subscribers = {other};
  EXPECT_EQ(subscribers_of(bench.json("show lsn subscriber -subscrIP 192.0.2.11")),
            std::vector<std::string>{"192.0.2.11"});
  EXPECT_EQ(subscribers_of(bench.json("show lsn subscriber -clientname C2")),
            std::vector<std::string>{"192.0.2.12"});
  EXPECT_EQ(bench.json("show lsn subscriber -network 192.0.2.10 -netmask 255.255.255.254")["count"],
            2);
  EXPECT_EQ(bench.json("show lsn subscriber -natIP 203.0.113.4")["count"], 0);
  EXPECT_THAT(bench.error("show lsn subscriber -top 5"), HasSubstr("without -sort"));
  EXPECT_THAT(bench.error("show lsn subscriber -sort speed"),
              HasSubstr("allowed sessions, ports or bits"));
  EXPECT_THAT(bench.error("show lsn subscriber -sort ports -top 0"), HasSubstr("allowed 1-1000"));
  EXPECT_THAT(bench.error("show lsn subscriber -clientname C3"), HasSubstr("C1, C2"));
}

MappingRow mapping(unsigned host, std::uint32_t sessions) {
  MappingRow row;
  row.protocol = Protocol::kUdp;
  row.mapping = Dependence::kEndpointIndependent;
  row.filtering = Dependence::kAddressPort;
  row.subscriber_ip = wire::Ipv4Address{ip("192.0.2.0").value + host};
  row.subscriber_port = 5000;
  row.nat_ip = ip("203.0.113.3");
  row.nat_port = 40000;
  row.group = 0;
  row.sessions = sessions;
  row.left_seconds = sessions == 0 ? 77 : 0;
  return row;
}

TEST(ShowLsnMapping, ListsThoseWithoutSessionsToo) {
  Bench bench;
  bench.dataplane.answers(0).mappings = {mapping(10, 0)};
  MappingRow narrow = mapping(11, 2);
  narrow.mapping = Dependence::kAddress;
  narrow.remote_ip = ip("198.51.100.10");
  bench.dataplane.answers(1).mappings = {narrow};
  const std::string text = bench.text("show lsn mapping");
  EXPECT_THAT(text, HasSubstr("192.0.2.10:5000             203.0.113.3:40000           any      "));
  EXPECT_THAT(text,
              HasSubstr("ENDPOINT-INDEPENDENT    ADDRESS-PORT-DEPENDENT         0    77 s\n"));
  EXPECT_THAT(text,
              HasSubstr("ADDRESS-DEPENDENT       ADDRESS-PORT-DEPENDENT         2       -\n"));
  EXPECT_THAT(text, testing::EndsWith("\n2 mappings\n"));
  const auto json = bench.json("show lsn mapping");
  EXPECT_EQ(json["mappings"][0]["left"], 77);
  EXPECT_TRUE(json["mappings"][0]["destination"].is_null());
  EXPECT_TRUE(json["mappings"][1]["left"].is_null());
  EXPECT_EQ(json["mappings"][1]["destination"], "198.51.100.10");
  EXPECT_EQ(bench.text("show lsn mapping -count"), "2 mappings\n");
  EXPECT_EQ(bench.json("show lsn mapping -count -subscrIP 192.0.2.11"),
            nlohmann::json({{"count", 1}}));
  EXPECT_EQ(bench.json("show lsn mapping -protocol tcp")["count"], 0);
}

TEST(ShowSubscriber, HasAllAboutOneOnOnePage) {
  Bench bench;
  bench.dataplane.answers(1).subscribers = {subscriber(10, 12, 3, 1000)};
  bench.dataplane.answers(1).mappings = {mapping(10, 0), mapping(11, 0)};
  const std::string text = bench.text("show subscriber 192.0.2.10");
  EXPECT_THAT(text,
              testing::StartsWith("subscriber 192.0.2.10\n  client     C1\n  group      G1\n"
                                  "  nat ip     203.0.113.3 (PAIRED)\n"
                                  "  sessions   TCP 0, UDP 12, ICMP 0, ESP 1/256\n"
                                  "  nat ports  TCP 3, UDP 12/1000, ICMP 0\n"
                                  "  carried    1000 bytes out, 2000 bytes in, by its present "
                                  "sessions\n\nmappings\n\n"));
  for (const char* part : {"\n1 mapping\n", "\n0 IKE sessions\n", "\n0 sessions\n", "\n0 gates\n",
                           "\nlast drops\n", "\n0 packets\n"})
    EXPECT_THAT(text, HasSubstr(part));
  const auto json = bench.json("show subscriber 192.0.2.10");
  EXPECT_EQ(json["group"], "G1");
  EXPECT_EQ(json["subscribers"].size(), 1u);
  EXPECT_EQ(json["mappings"].size(), 1u);
  for (const char* key : {"ike_sessions", "esp_sessions", "gates", "drops"})
    EXPECT_EQ(json[key], nlohmann::json::array()) << key;
}

/// After a change of its one-to-one mapping the older sessions live on at the former worker.
TEST(ShowSubscriber, OfTwoWorkersIsOneSubscriber) {
  Bench bench;
  auto before = subscriber(10, 12, 3, 1000), after = subscriber(10, 1, 1, 10);
  after.nat_ip.reset();
  bench.dataplane.answers(0).subscribers = {after};
  bench.dataplane.answers(1).subscribers = {before};
  const std::string text = bench.text("show subscriber 192.0.2.10");
  EXPECT_THAT(text, HasSubstr("  group      G1\n"
                              "  nat ip     203.0.113.3 (PAIRED)\n"
                              "  sessions   TCP 0, UDP 13, ICMP 0, ESP 2/256\n"
                              "  nat ports  TCP 4, UDP 13/1000, ICMP 0\n"
                              "  carried    1010 bytes out, 2020 bytes in, by its present "
                              "sessions\n\nmappings\n\n"));
  EXPECT_EQ(bench.json("show subscriber 192.0.2.10")["subscribers"].size(), 1u);
  // Two NAT addresses are two answers.
  after.nat_ip = ip("203.0.113.4");
  bench.dataplane.answers(0).subscribers = {after};
  EXPECT_EQ(bench.json("show subscriber 192.0.2.10")["subscribers"].size(), 2u);
}

TEST(ShowSubscriber, SaysIfNobodyHasIt) {
  Bench bench;
  EXPECT_THAT(bench.text("show subscriber 172.16.0.1"),
              HasSubstr("client     none: no client has a network with this address\n"
                        "  in use     nothing: it has neither sessions nor mappings\n"));
  EXPECT_TRUE(bench.json("show subscriber 172.16.0.1")["client"].is_null());
  EXPECT_THAT(bench.error("show subscriber"), HasSubstr("given nothing"));
  EXPECT_THAT(bench.error("show subscriber C1"), HasSubstr("an address A.B.C.D"));
}

TEST(ShowLsnSession, SortsByIdleTimeOrBytes) {
  Bench bench;
  for (unsigned i = 0; i < 5000; ++i) {
    shared::SessionRow row = udp_session(i % 250, static_cast<std::uint16_t>(i));
    row.idle_seconds = i * 7919 % 5000;
    row.bytes[0] = i;
    bench.dataplane.rows(i % 2).push_back(row);
  }
  const auto idle = bench.json("show lsn session -sort idle -top 3");
  ASSERT_EQ(idle["count"], 3);
  EXPECT_EQ(idle["sessions"][0]["idle"], 4999);
  EXPECT_EQ(idle["sessions"][2]["idle"], 4997);
  EXPECT_EQ(bench.json("show lsn session -sort bytes")["sessions"][19]["outbound_bytes"], 4980);
  EXPECT_THAT(bench.error("show lsn session -sort idle -count"), HasSubstr("one of them"));
}

}  // namespace
}  // namespace lsn::control
