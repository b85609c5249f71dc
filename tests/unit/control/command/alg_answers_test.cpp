#include "lsn/control/command/alg_answers.hpp"

#include <set>

#include "unit/control/command/support.hpp"

namespace lsn::control {
namespace {

using shared::CloseReason;
using shared::EspRow;
using shared::GateRow;
using shared::GateState;
using shared::HalfGate;
using shared::IkeRow;
using testing::EndsWith;
using testing::HasSubstr;

EspRow tunnel(unsigned host, std::uint32_t spi) {
  EspRow row;
  row.client = wire::Ipv4Address{ip("192.0.2.0").value + host};
  row.nat_ip = ip("203.0.113.3");
  row.server = ip("198.18.0.1");
  row.spi_out = 0x1000 + spi;
  row.spi_in = 0xC0FFEE00 + spi;
  row.profile = 0;
  row.age_seconds = 100;
  row.idle_seconds = 7;
  row.packets[0] = 1;
  row.bytes[0] = 200;
  row.packets[1] = 3;
  row.bytes[1] = 4000;
  return row;
}

GateRow gate() {
  GateRow row;
  row.nat_ip = ip("203.0.113.3");
  row.server = ip("198.18.0.1");
  row.state = GateState::kArmed;
  row.halves[0] = HalfGate::kPassed;
  row.halves[1] = HalfGate::kArmed;
  row.holder = shared::InsideAddress{ip("192.0.2.1")};
  row.left_ms = 12'340;
  row.waiters = 20;
  for (unsigned i = 0; i < row.first_waiters.size(); ++i)
    row.first_waiters[i] = {wire::Ipv4Address{ip("192.0.2.10").value + i}};
  row.last_reason = CloseReason::kDeadline;
  return row;
}

TEST(ShowIpsecalgSession, PrintsSpisInPlaceOfPorts) {
  Bench bench;
  bench.dataplane.esp_rows(0).push_back(tunnel(1, 1));
  bench.dataplane.esp_rows(1).push_back(tunnel(2, 2));
  bench.dataplane.esp_rows(1)[0].spi_in = 0;
  EXPECT_EQ(bench.text("show ipsecalg session"),
            "source ip        nat ip           destination ip   spi in      spi out          age   "
            "   idle   packets out        bytes out    packets in         bytes in\n"
            "---------------  ---------------  ---------------  ----------  ----------  --------  -"
            "-------  ------------  ---------------  ------------  ---------------\n"
            "192.0.2.1        203.0.113.3      198.18.0.1       0xc0ffee01  0x00001001     100 s   "
            "    7 s             1              200             3             4000\n"
            "192.0.2.2        203.0.113.3      198.18.0.1       -           0x00001002     100 s   "
            "    7 s             1              200             3             4000\n"
            "2 sessions\n");
}

TEST(ShowIpsecalgSession, GivesOneJsonDocument) {
  Bench bench;
  bench.dataplane.esp_rows(0).push_back(tunnel(1, 1));
  bench.dataplane.esp_rows(1).push_back(tunnel(2, 2));
  bench.dataplane.esp_rows(1)[0].spi_in = 0;
  bench.dataplane.esp_rows(1)[0].profile = 999;
  const auto json = bench.json("show ipsecalg session");
  EXPECT_EQ(json["count"], 2);
  EXPECT_EQ(json["sessions"][0], nlohmann::json({{"source_ip", "192.0.2.1"},
                                                 {"nat_ip", "203.0.113.3"},
                                                 {"destination_ip", "198.18.0.1"},
                                                 {"spi_in", "0xc0ffee01"},
                                                 {"spi_out", "0x00001001"},
                                                 {"half_open", false},
                                                 {"profile", "ALG"},
                                                 {"age", 100},
                                                 {"idle", 7},
                                                 {"outbound_packets", 1},
                                                 {"outbound_bytes", 200},
                                                 {"inbound_packets", 3},
                                                 {"inbound_bytes", 4000}}));
  EXPECT_TRUE(json["sessions"][1]["spi_in"].is_null());
  EXPECT_EQ(json["sessions"][1]["half_open"], true);
  EXPECT_TRUE(json["sessions"][1]["profile"].is_null());
}

TEST(ShowIpsecalgSession, OfNobodyIsAnEmptyTable) {
  Bench bench;
  EXPECT_THAT(bench.text("show ipsecalg session"), EndsWith("-\n0 sessions\n"));
  EXPECT_EQ(bench.text("show ipsecalg session --json"), "{\"sessions\":[],\"count\":0}\n");
}

struct Filtered {
  const char* options;
  std::size_t count;
};

class AlgFilters : public testing::TestWithParam<Filtered> {
 protected:
  AlgFilters() {
    for (unsigned i = 0; i < 8; ++i) {
      EspRow row = tunnel(i / 2, i);
      if (i % 2 == 1) row.nat_ip = ip("203.0.113.4");
      if (i >= 6) row.server = ip("198.18.0.2");
      bench.dataplane.esp_rows(i % 2).push_back(row);
    }
  }
  Bench bench;
};

TEST_P(AlgFilters, SelectWhatIsShown) {
  EXPECT_EQ(bench.json(std::string("show ipsecalg session ") + GetParam().options)["count"],
            GetParam().count);
}

TEST_P(AlgFilters, SelectWhatIsFlushed) {
  const auto json = bench.json(std::string("flush ipsecalg session ") + GetParam().options);
  EXPECT_EQ(json, nlohmann::json(
                      {{"result", "Done"}, {"flushed", GetParam().count}, {"ike_sessions", 3}}));
  EXPECT_EQ(bench.json("show ipsecalg session")["count"], 8 - GetParam().count);
}

INSTANTIATE_TEST_SUITE_P(
    All, AlgFilters,
    testing::Values(Filtered{"", 8}, Filtered{"-sourceIP 192.0.2.1", 2},
                    Filtered{"-SOURCEIP 192.0.2.77", 0}, Filtered{"-natIP 203.0.113.4", 4},
                    Filtered{"-destIP 198.18.0.2", 2},
                    Filtered{"-destIP 198.18.0.2 -natIP 203.0.113.4", 1},
                    Filtered{"\u2013destIP 198.18.0.1 -sourceip 192.0.2.0", 2}));

TEST(ShowIpsecalgSession, TakesNothingElse) {
  Bench bench;
  EXPECT_THAT(bench.error("show ipsecalg session -natPort 1"),
              HasSubstr("allowed -subscrIP, -sourceIP, -td, -natIP or -destIP"));
  EXPECT_THAT(bench.error("show ipsecalg session -sourceIP 192.0.2"),
              HasSubstr("allowed an address A.B.C.D"));
  EXPECT_THAT(bench.error("flush ipsecalg session -destIP"), HasSubstr("given no value"));
  EXPECT_THAT(bench.error("flush ipsecalg gate"), HasSubstr("session"));
}

TEST(FlushIpsecalgSession, SaysDone) {
  Bench bench;
  bench.dataplane.esp_rows(1).push_back(tunnel(1, 1));
  EXPECT_EQ(bench.text("flush ipsecalg session"),
            "1 ESP session and 3 IKE sessions flushed\nDone\n");
  EXPECT_TRUE(bench.dataplane.esp_rows(1).empty());
}

TEST(ShowIpsecalgGate, PrintsWhoHasItForHowLongAndHowManyWait) {
  Bench bench;
  bench.dataplane.gate_rows(0).push_back(gate());
  GateRow closed;
  closed.nat_ip = ip("203.0.113.4");
  closed.server = ip("198.18.0.2");
  bench.dataplane.gate_rows(1).push_back(closed);
  EXPECT_EQ(bench.text("show ipsecalg gate"),
            "nat ip           server           state     holder           out half   in half    "
            "time left  waiters  first waiting    lingering        last turn\n"
            "---------------  ---------------  --------  ---------------  ---------  ---------  ---"
            "------  -------  ---------------  ---------------  ---------\n"
            "203.0.113.3      198.18.0.1       ARMED     192.0.2.1        PASSED     ARMED         "
            "12.3 s       20  192.0.2.10       -                DEADLINE\n"
            "203.0.113.4      198.18.0.2       CLOSED    -                UNARMED    UNARMED       "
            "     -        0  -                -                -\n"
            "2 gates\n");
}

TEST(ShowIpsecalgGate, GivesOneJsonDocumentWithTheHeadOfTheQueue) {
  Bench bench;
  bench.dataplane.gate_rows(0).push_back(gate());
  const auto json = bench.json("show ipsecalg gate -natIP 203.0.113.3 -sourceIP 192.0.2.1");
  EXPECT_EQ(json["count"], 1);
  EXPECT_EQ(json["gates"][0],
            nlohmann::json({{"nat_ip", "203.0.113.3"},
                            {"server", "198.18.0.1"},
                            {"state", "ARMED"},
                            {"holder", "192.0.2.1"},
                            {"out_half", "PASSED"},
                            {"in_half", "ARMED"},
                            {"left_ms", 12340},
                            {"waiters", 20},
                            {"first_waiters",
                             {"192.0.2.10", "192.0.2.11", "192.0.2.12", "192.0.2.13", "192.0.2.14",
                              "192.0.2.15", "192.0.2.16", "192.0.2.17"}},
                            {"lingering", nullptr},
                            {"dangling", false},
                            {"last_turn", "DEADLINE"}}));
  EXPECT_EQ(bench.json("show ipsecalg gate -sourceIP 192.0.2.2")["count"], 0);
}

TEST(ShowIpsecalgIke, PrintsTheSessionsThatTheAlgFollows) {
  Bench bench;
  IkeRow row;
  row.client = ip("192.0.2.1");
  row.nat_ip = ip("203.0.113.3");
  row.server = ip("198.18.0.1");
  row.client_port = 500;
  row.nat_port = 61234;
  row.version = 2;
  row.initiator = 0x0123456789abcdef;
  row.answered = true;
  row.exchanges = 3;
  row.esp = 2;
  row.profile = 0;
  row.idle_seconds = 7;
  bench.dataplane.answers(0).ike.push_back(row);
  row.client = ip("192.0.2.2");
  row.responder = 0x1122334455667788;
  bench.dataplane.answers(1).ike.push_back(row);
  EXPECT_EQ(bench.text("show ipsecalg ike -subscrIP 192.0.2.1"),
            "source ip         port  nat ip           nat port  destination ip   version  "
            "initiator spi     responder spi     answered  exchanges  esp sessions      idle\n"
            "---------------  -----  ---------------  --------  ---------------  -------  "
            "----------------  ----------------  --------  ---------  ------------  --------\n"
            "192.0.2.1          500  203.0.113.3         61234  198.18.0.1       IKEv2    "
            "0123456789abcdef  -                 yes               3             2       7 s\n"
            "1 IKE session\n");
  const auto json = bench.json("show ipsecalg ike");
  EXPECT_EQ(json["count"], 2);
  EXPECT_EQ(json["ike_sessions"][1], nlohmann::json({{"source_ip", "192.0.2.2"},
                                                     {"source_port", 500},
                                                     {"nat_ip", "203.0.113.3"},
                                                     {"nat_port", 61234},
                                                     {"destination_ip", "198.18.0.1"},
                                                     {"version", 2},
                                                     {"initiator_spi", "0123456789abcdef"},
                                                     {"responder_spi", "1122334455667788"},
                                                     {"answered", true},
                                                     {"keeps_port", false},
                                                     {"exchanges", 3},
                                                     {"esp_sessions", 2},
                                                     {"profile", "ALG"},
                                                     {"idle", 7}}));
}

TEST(ShowIpsecalg, ListsEverythingOfManyPagesOnce) {
  Bench bench;
  for (unsigned i = 0; i < 10'000; ++i) bench.dataplane.esp_rows(i % 2).push_back(tunnel(1, i));
  const auto json = bench.json("show ipsecalg session");
  std::set<std::string> spis;
  for (const auto& session : json["sessions"]) spis.insert(session["spi_in"]);
  EXPECT_EQ(spis.size(), 10'000U);
}

TEST(ShowLsnSession, OfEspHasSpisInPlaceOfPorts) {
  Bench bench;
  shared::SessionRow row = udp_session(7, 0);
  row.protocol = shared::Protocol::kEsp;
  row.subscriber_port = row.remote_port = 0;
  row.spi_out = 0xAB;
  row.spi_in = 0xCD;
  bench.dataplane.rows(0).push_back(row);
  EXPECT_THAT(bench.text("show lsn session"),
              HasSubstr("\n192.0.2.7:0x000000cd        203.0.113.3:0x000000cd      "
                        "198.51.100.10:0x000000ab    ESP "));
  bench.dataplane.rows(0)[0].spi_in = 0;
  const auto json = bench.json("show lsn session")["sessions"][0];
  EXPECT_EQ(json["subscriber"], "192.0.2.7:-");
  EXPECT_EQ(json["destination"], "198.51.100.10:0x000000ab");
}

shared::AdviceRow pair_of(bool client, bool server, std::uint32_t esp, std::uint32_t deadlines) {
  shared::AdviceRow row;
  row.client = ip("192.0.2.7");
  row.nat_ip = ip("203.0.113.3");
  row.server = ip("198.18.0.1");
  row.offers_nat_t = {client, server};
  row.esp = esp;
  row.deadlines = deadlines;
  row.profile = 0;
  return row;
}

TEST(ShowIpsecalgAdvice, SaysWhatToTellWhom) {
  Bench bench;
  bench.dataplane.answers(0).advice = {pair_of(true, false, 2, 0), pair_of(false, true, 1, 0)};
  bench.dataplane.answers(1).advice = {pair_of(true, true, 1, 0), pair_of(false, false, 0, 4)};
  const std::string text = bench.text("show ipsecalg advice");
  EXPECT_THAT(text, HasSubstr("the client offers NAT-Traversal: switch it on at the server"));
  EXPECT_THAT(text, HasSubstr("the server offers NAT-Traversal: switch it on at the client"));
  EXPECT_THAT(text, HasSubstr("both offer NAT-Traversal and send raw ESP"));
  EXPECT_THAT(text, HasSubstr("its last 4 turns ended by espGateTimeout"));
  EXPECT_THAT(text, EndsWith("4 pairs\n"));
}

TEST(ShowIpsecalgAdvice, GivesOneJsonDocument) {
  Bench bench;
  bench.dataplane.answers(0).advice = {pair_of(true, false, 2, 3)};
  const auto json = nlohmann::json::parse(bench.text("--json show ipsecalg advice"));
  ASSERT_EQ(json["count"], 1);
  const auto& row = json["advice"][0];
  EXPECT_EQ(row["source_ip"], "192.0.2.7");
  EXPECT_EQ(row["destination_ip"], "198.18.0.1");
  EXPECT_EQ(row["client_offers_nat_t"], true);
  EXPECT_EQ(row["server_offers_nat_t"], false);
  EXPECT_EQ(row["esp_sessions"], 2);
  EXPECT_EQ(row["deadlines"], 3);
}

}  // namespace
}  // namespace lsn::control
