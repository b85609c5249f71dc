#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/control/command/support.hpp"

namespace lsn::control {
namespace {

using shared::DropReason;
using shared::DropRow;
using shared::NeighbourRow;
using testing::HasSubstr;

DropRow drop(DropReason reason, std::uint8_t protocol) {
  DropRow row;
  row.reason = reason;
  row.age_ms = 12'340;
  row.protocol = protocol;
  row.has_l4 = true;
  row.source = ip("192.0.2.10");
  row.destination = ip("198.51.100.10");
  row.source_port = 5000;
  row.destination_port = 53;
  row.size = 60;
  return row;
}

TEST(ShowDropsRecent, PrintsThePacketsFive) {
  Bench bench;
  DropRow esp = drop(DropReason::kEspInNoGate, 50);
  esp.spi = 0xC3F1A2B4;
  DropRow other = drop(DropReason::kProtocolGre, 47);
  other.has_l4 = false;
  bench.dataplane.answers(0).drops = {drop(DropReason::kFiltered, 17), esp};
  bench.dataplane.answers(1).drops = {other};
  const std::string text = bench.text("show drops -recent");
  EXPECT_THAT(text, HasSubstr("filtered                    12.34 s  192.0.2.10:5000             "
                              "198.51.100.10:53            UDP          60\n"));
  EXPECT_THAT(text, HasSubstr("192.0.2.10                  198.51.100.10:0xc3f1a2b4    ESP"));
  EXPECT_THAT(text, HasSubstr("192.0.2.10                  198.51.100.10               47 "));
  EXPECT_THAT(text, testing::EndsWith("\n3 packets\n"));
  EXPECT_EQ(bench.json("show drops -recent -reason filtered")["drops"],
            nlohmann::json::array({{{"reason", "filtered"},
                                    {"ago_ms", 12340},
                                    {"source", "192.0.2.10:5000"},
                                    {"destination", "198.51.100.10:53"},
                                    {"protocol", "UDP"},
                                    {"bytes", 60}}}));
  EXPECT_EQ(bench.json("show drops -recent -subscrIP 192.0.2.11")["count"], 0);
  EXPECT_EQ(bench.json("show drops -recent -subscrIP 198.51.100.10")["count"], 3);
  EXPECT_THAT(bench.error("show drops -subscrIP 192.0.2.10"), HasSubstr("without -recent"));
  EXPECT_THAT(bench.error("show drops -recent -reason gone"),
              HasSubstr("allowed one of frame_malformed, vlan_unknown, "));
  // The latest first, whatever the reason.
  bench.dataplane.answers(0).drops[1].age_ms = 10;
  EXPECT_EQ(bench.json("show drops -recent")["drops"][0]["reason"], "esp_in_no_gate");
  EXPECT_THAT(bench.text("help show drops"),
              HasSubstr("show drops [-recent [-subscrIP A.B.C.D] [-reason REASON]]"));
}

NeighbourRow neighbour(const char* address, bool reachable) {
  NeighbourRow row;
  row.interface = 1;
  row.ip = ip(address);
  row.reachable = reachable;
  if (reachable) row.mac = {2, 0, 0, 0, 0, 9};
  row.gateway = true;
  row.waiting = reachable ? 0 : 2;
  row.used_seconds = 4;
  row.confirmed_seconds = 3;
  return row;
}

TEST(ShowArp, SaysWhatAllWorkersKnowTogether) {
  Bench bench;
  bench.dataplane.answers(0).neighbours = {neighbour("198.51.100.10", false),
                                           neighbour("198.51.100.9", true)};
  bench.dataplane.answers(1).neighbours = {neighbour("198.51.100.10", true),
                                           neighbour("198.51.100.9", true)};
  bench.dataplane.answers(0).neighbours[0].confirmed_seconds = 1;  // of one that is not reachable
  EXPECT_EQ(bench.text("show arp"),
            "interface  ip             mac                state      gateway  workers  waiting  "
            "used  confirmed\n"
            "---------  -------------  -----------------  ---------  -------  -------  -------  "
            "----  ---------\n"
            "out        198.51.100.9   02:00:00:00:00:09  REACHABLE  yes            2        0   "
            "4 s        3 s\n"
            "out        198.51.100.10  02:00:00:00:00:09  REACHABLE  yes            1        2   "
            "4 s        3 s\n"
            "2 neighbours\n");
  const auto json = bench.json("show arp");
  EXPECT_EQ(json["neighbours"][1]["workers"], 1);
  EXPECT_EQ(json["neighbours"][1]["state"], "REACHABLE");
}

// ── usage ───────────────────────────────────────────────────────────────────────────────────────

TEST(StatLsn, AddsUpTheUsageOfPoolsAndGroups) {
  Bench bench;
  auto& first = bench.dataplane.answers(0).usage;
  first.pools = {{.addresses = 5, .paired = 2, .ports = {10, 64512, 3}, .waiting = 7}, {}};
  first.groups = {{.subscribers = 2, .sessions = {1, 2, 3, 4}, .ports = {5, 6, 7}}, {}};
  auto& second = bench.dataplane.answers(1).usage;
  second.pools = {{.addresses = 5, .paired = 1, .ports = {1, 0, 0}, .waiting = 0}, {}};
  second.groups = {{}, {.subscribers = 9, .sessions = {}, .ports = {}}};
  EXPECT_EQ(bench.text("stat lsn pool"),
            "pool  addresses  paired  TCP ports  UDP ports  ICMP ids  waiting  blocks  in use\n"
            "----  ---------  ------  ---------  ---------  --------  -------  ------  ------\n"
            "P1           10       3         11      64512         3        7       -  10.0 %\n"
            "P2            0       0          0          0         0        0       -   0.0 %\n");
  EXPECT_EQ(bench.json("stat lsn pool P1")["pools"],
            nlohmann::json::array({{{"name", "P1"},
                                    {"addresses", 10},
                                    {"subscribers", 3},
                                    {"ports", {{"tcp", 11}, {"udp", 64512}, {"icmp", 3}}},
                                    {"ports_waiting", 7},
                                    {"blocks", 0},
                                    {"percent", 10.0},
                                    {"draining",
                                     {{"addresses", 0},
                                      {"subscribers", 0},
                                      {"ports", {{"tcp", 0}, {"udp", 0}, {"icmp", 0}}}}}}}));
  EXPECT_EQ(bench.text("stat lsn group G2"),
            "group  client  subscribers  TCP sessions  UDP sessions  ICMP sessions  ESP sessions  "
            "TCP ports  UDP ports  ICMP ids\n"
            "-----  ------  -----------  ------------  ------------  -------------  ------------  "
            "---------  ---------  --------\n"
            "G2     C2                9             0             0              0             0  "
            "        0          0         0\n");
  EXPECT_EQ(bench.json("stat lsn group")["groups"][0]["sessions"],
            nlohmann::json({{"tcp", 1}, {"udp", 2}, {"icmp", 3}, {"esp", 4}}));
  EXPECT_THAT(bench.error("stat lsn pool P3"), HasSubstr("(did you mean \"P"));

  // What show has of it.
  EXPECT_THAT(bench.text("show lsn pool P1"),
              HasSubstr("  subscribers          3 paired with an address\n  ports in use         "
                        "TCP 11, UDP 64512, ICMP 3 "
                        "(10.0 %)\n  ports waiting        7\n"));
  EXPECT_THAT(bench.text("show lsn client C1"),
              HasSubstr("sessions      TCP 1, UDP 2, ICMP 3, ESP 4"));
  EXPECT_EQ(bench.json("show lsn group")["lsn.group"][1]["usage"]["subscribers"], 9);
  EXPECT_FALSE(bench.json("show lsn appsprofile")["lsn.appsprofile"][0].contains("usage"));
}

// ── reload config -dryRun ───────────────────────────────────────────────────────────────────────

TEST(DryRun, SaysWhatWouldChangeAndWhoseSessionsWouldEnd) {
  Bench bench;
  for (unsigned i = 0; i < 5000; ++i) {
    shared::SessionRow row = udp_session(10 + i % 200, static_cast<std::uint16_t>(i));
    row.nat_ip = ip(i % 5 == 0 ? "203.0.113.9" : "203.0.113.3");
    bench.dataplane.rows(i % 2).push_back(row);
  }
  shared::SessionRow other = udp_session(1, 1);
  other.subscriber_ip = ip("10.1.0.1");
  other.nat_ip = ip("203.0.113.128");
  other.group = 1;
  bench.dataplane.rows(0).push_back(other);
  write_file(bench.file, with(with(std::string(kGoodText), "203.0.113.0-203.0.113.9",
                                   "203.0.113.0-203.0.113.8"),
                              "\"10.1.0.0/16\"", "\"10.2.0.0/16\""));
  const unsigned before = bench.dataplane.publications;
  const std::string text = bench.text("reload config -dryRun");
  EXPECT_THAT(text, HasSubstr("unbind lsn pool P1 203.0.113.0-203.0.113.9\n"));
  EXPECT_THAT(text, HasSubstr("1001 sessions would end:\n  1000 of C1\n  1 of C2\n"
                              "nothing has changed: this was a dry run\n"));
  const auto json = bench.json("reload config -DRYRUN");
  EXPECT_EQ(json["would_end"], 1001);
  EXPECT_EQ(json["clients"][1], nlohmann::json({{"client", "C2"}, {"sessions", 1}}));
  EXPECT_EQ(bench.dataplane.publications, before);
  EXPECT_EQ(bench.config.model().lsn.pool[0].lsnip[0].size(), 10u);
}

/// C2 in domain 5, on an interface of its own, with a static mapping.
std::string with_domain(unsigned of_network, unsigned of_static) {
  std::string text = good_with(
      "  {\n    name = \"out\";",
      "  {\n    name = \"in5\"; role = \"inside\"; device = \"net_tap5,iface=t5\"; address = "
      "\"10.5.0.1/24\"; td = 5;\n  },\n  {\n    name = \"out\";");
  text = with(
      text, "\"10.1.0.0/16\"",
      fmt::format("\"10.1.0.0/24 td {}\", \"10.1.1.0/24 td 0\", \"10.1.1.0/24 td 5\"", of_network));
  return with(text, "      poolname = [ \"P2\" ];\n    }\n  );",
              fmt::format("      poolname = [ \"P2\" ];\n    }}\n  );\n  static = ( {{ name = "
                          "\"S\"; transportprotocol = \"UDP\"; subscrIP = \"10.1.1.7\"; "
                          "subscrPort = \"53\"; natIP = \"203.0.113.20\"; natPort = \"53\"; td = "
                          "{}; }} );",
                          of_static));
}

TEST(DryRun, ATrafficDomainThatChanges_EndsWhatTheFormerOneHas) {
  Bench bench(with_domain(5, 5));
  const auto row = [](const char* host, shared::DomainId td, bool by_static) {
    shared::SessionRow session = udp_session(0, by_static ? 53 : 4000);
    session.subscriber_ip = ip(host);
    session.subscriber_port = 53;
    session.nat_ip = ip("203.0.113.20");
    session.td = td;
    session.group = 1;
    session.by_static = by_static;
    return session;
  };
  bench.dataplane.rows(0) = {row("10.1.0.7", 5, false), row("10.1.1.7", 5, true),
                             row("10.1.1.8", 5, false), row("10.1.1.8", 0, false)};
  const auto ended_by = [&bench](const std::string& text) {
    write_file(bench.file, text);
    return bench.json("reload config -dryRun")["would_end"].get<unsigned>();
  };
  EXPECT_EQ(ended_by(with_domain(5, 5)), 0u);
  EXPECT_EQ(ended_by(with_domain(0, 5)), 1u) << "10.1.0.7, whose network is in domain 0 then";
  EXPECT_EQ(ended_by(with_domain(5, 0)), 1u) << "that of the static mapping";
  EXPECT_EQ(ended_by(with_domain(0, 0)), 2u);
}

TEST(DryRun, RefusesWhatAReloadWouldRefuse) {
  Bench bench;
  write_file(bench.file, "dataplane: { workers = 1 }");
  EXPECT_THAT(
      bench.say("reload config -dryRun").errors,
      testing::AllOf(testing::SizeIs(testing::Ge(2u)), testing::Each(HasSubstr(bench.file))))
      << "all that is wrong, at once";
  write_file(bench.file,
             with(std::string(kGoodText), "maxSessions = 65536", "maxSessions = 131072"));
  EXPECT_THAT(bench.error("reload config -dryRun"), HasSubstr("restart"));
  write_file(bench.file, std::string(kGoodText));
  EXPECT_THAT(bench.text("reload config -dryRun"),
              testing::StartsWith("no changes: what is in force is "));
}

}  // namespace
}  // namespace lsn::control
