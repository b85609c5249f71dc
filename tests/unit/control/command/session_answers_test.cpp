#include "lsn/control/command/session_answers.hpp"

#include <set>

#include "unit/control/command/support.hpp"

namespace lsn::control {
namespace {

using shared::Direction;
using shared::Protocol;
using shared::SessionRow;
using shared::SessionState;
using testing::HasSubstr;

SessionRow tcp_session() {
  SessionRow row = udp_session(77, 40000);
  row.protocol = Protocol::kTcp;
  row.direction = Direction::kInbound;
  row.state = SessionState::kEstablished;
  row.hairpin = true;
  row.remote_port = 443;
  row.idle_seconds = 12;
  row.age_seconds = 3456;
  row.packets[0] = 1;
  row.packets[1] = 2;
  row.bytes[0] = 100;
  row.bytes[1] = 18'446'744'073'709'551'615U;
  return row;
}

TEST(ShowSessions, PrintsAHeaderARowPerSessionAndHowManyThereAre) {
  Bench bench;
  bench.dataplane.rows(0).push_back(tcp_session());
  SessionRow icmp = udp_session(78, 4711);
  icmp.protocol = Protocol::kIcmp;
  icmp.remote_port = 0;
  bench.dataplane.rows(1).push_back(icmp);
  EXPECT_EQ(bench.text("show lsn session"),
            "subscriber                  nat                         destination                 "
            "protocol  direction  state             idle\n"
            "--------------------------  --------------------------  --------------------------  "
            "--------  ---------  ------------  --------\n"
            "192.0.2.77:5000             203.0.113.3:40000           198.51.100.10:443           "
            "TCP       INBOUND    ESTABLISHED       12 s\n"
            "192.0.2.78:5000             203.0.113.3:4711            198.51.100.10               "
            "ICMP      OUTBOUND   ACTIVE             0 s\n"
            "2 sessions\n");
}

TEST(ShowSessions, GivesOneJsonDocumentWithAllThatIsKnown) {
  Bench bench;
  bench.dataplane.rows(0).push_back(tcp_session());
  bench.dataplane.rows(1).push_back(udp_session(1, 1));
  const auto json = bench.json("show lsn session");
  EXPECT_EQ(json["count"], 2);
  ASSERT_EQ(json["sessions"].size(), 2U);
  EXPECT_EQ(json["sessions"][0], nlohmann::json({{"protocol", "TCP"},
                                                 {"subscriber", "192.0.2.77:5000"},
                                                 {"nat", "203.0.113.3:40000"},
                                                 {"destination", "198.51.100.10:443"},
                                                 {"direction", "INBOUND"},
                                                 {"state", "ESTABLISHED"},
                                                 {"idle", 12},
                                                 {"age", 3456},
                                                 {"hairpin", true},
                                                 {"static", false},
                                                 {"client", "C1"},
                                                 {"group", "G1"},
                                                 {"outbound_packets", 1},
                                                 {"outbound_bytes", 100},
                                                 {"inbound_packets", 2},
                                                 {"inbound_bytes", 18'446'744'073'709'551'615U}}));
}

TEST(ShowSessions, OfNobodyIsAnEmptyTable) {
  Bench bench;
  EXPECT_THAT(bench.text("show lsn session"), testing::EndsWith("-\n0 sessions\n"));
  EXPECT_EQ(bench.text("show lsn session --json"), "{\"sessions\":[],\"count\":0}\n");
}

TEST(ShowSessions, NamesEveryState) {
  Bench bench;
  std::set<std::string> words;
  for (const SessionState state :
       {SessionState::kSynSent, SessionState::kSynReceived, SessionState::kEstablished,
        SessionState::kFinOutbound, SessionState::kFinInbound, SessionState::kClosing,
        SessionState::kActive}) {
    bench.dataplane.rows(0).push_back(udp_session(1, 1));
    bench.dataplane.rows(0).back().state = state;
  }
  const auto json = bench.json("show lsn session");
  for (const auto& session : json["sessions"]) words.insert(session["state"]);
  EXPECT_EQ(words, (std::set<std::string>{"SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-OUTBOUND",
                                          "FIN-INBOUND", "CLOSING", "ACTIVE"}));
}

TEST(ShowSessions, OfAGroupThatIsGoneHasNoNames) {
  Bench bench;
  bench.dataplane.rows(0).push_back(udp_session(1, 1));
  bench.dataplane.rows(0).back().group = 999;
  const auto json = bench.json("show lsn session");
  EXPECT_TRUE(json["sessions"][0]["client"].is_null());
  EXPECT_TRUE(json["sessions"][0]["group"].is_null());
}

struct Filtered {
  const char* options;
  std::size_t count;
};

class SessionFilters : public testing::TestWithParam<Filtered> {
 protected:
  SessionFilters() {
    // Group 0 is G1 of client C1, group 1 is G2 of client C2.
    for (unsigned i = 0; i < 8; ++i) {
      SessionRow row = udp_session(i, static_cast<std::uint16_t>(1024 + i));
      if (i >= 6) row.group = 1;
      if (i % 2 == 1) row.nat_ip = ip("203.0.113.4");
      bench.dataplane.rows(i % 2).push_back(row);
    }
  }
  Bench bench;
};

TEST_P(SessionFilters, SelectWhatIsShown) {
  const auto json = bench.json(std::string("show lsn session ") + GetParam().options);
  EXPECT_EQ(json["sessions"].size(), GetParam().count);
  EXPECT_EQ(json["count"], GetParam().count);
}

TEST_P(SessionFilters, SelectWhatIsFlushed) {
  const auto json = bench.json(std::string("flush lsn session ") + GetParam().options);
  EXPECT_EQ(json["result"], "Done");
  EXPECT_EQ(json["flushed"], GetParam().count);
  EXPECT_EQ(bench.json("show lsn session")["count"], 8 - GetParam().count);
}

INSTANTIATE_TEST_SUITE_P(
    All, SessionFilters,
    testing::Values(Filtered{"", 8}, Filtered{"-clientname C1", 6}, Filtered{"-clientname C2", 2},
                    Filtered{"-network 192.0.2.3", 1}, Filtered{"-network 192.0.2.99", 0},
                    Filtered{"-network 192.0.2.2 -netmask 255.255.255.254", 2},
                    Filtered{"-network 192.0.2.3 -netmask 255.255.255.254", 2},
                    Filtered{"-network 0.0.0.0 -netmask 0.0.0.0", 8},
                    Filtered{"-natIP 203.0.113.4", 4}, Filtered{"-natPort 1027", 1},
                    Filtered{"-natIP 203.0.113.3 -natPort 1027", 0},
                    Filtered{"-natIP 203.0.113.4 -natPort 1027 -clientname C1", 1}));

TEST(SessionFilter, ByAClientWithoutAGroupSelectsNothing) {
  Bench bench(good_with("name = \"C2\";\n      network = [ \"10.1.0.0/16\" ];\n    }",
                        "name = \"C2\";\n      network = [ \"10.1.0.0/16\" ];\n    },\n"
                        "    { name = \"C3\"; network = [ \"10.3.0.0/16\" ]; }"));
  bench.dataplane.rows(0).push_back(udp_session(1, 1));
  EXPECT_EQ(bench.json("show lsn session -clientname C3")["count"], 0);
  EXPECT_EQ(bench.json("flush lsn session -clientname C3")["flushed"], 0);
}

TEST(SessionFilter, ByAClientThatIsNotThereIsAnErrorAndFlushesNothing) {
  Bench bench;
  bench.dataplane.rows(0).push_back(udp_session(1, 1));
  EXPECT_EQ(bench.error("show lsn session -clientname C3"),
            "show lsn session: -clientname: given \"C3\" (did you mean \"C1\"?), allowed the name "
            "of a client: C1, C2");
  EXPECT_THAT(bench.error("flush lsn session -clientname X"), HasSubstr("given \"X\", allowed"));
  EXPECT_EQ(bench.json("show lsn session")["count"], 1);
}

TEST(FlushSessions, SaysDoneWhenAllWorkersHaveAnswered) {
  Bench bench;
  bench.dataplane.rows(0).push_back(udp_session(1, 1));
  bench.dataplane.rows(1).push_back(udp_session(2, 2));
  EXPECT_EQ(bench.text("flush lsn session"), "2 sessions flushed\nDone\n");
  EXPECT_TRUE(bench.dataplane.rows(0).empty() && bench.dataplane.rows(1).empty());
}

TEST(ShowSessions, AsksForOnePageAtATimeAndNotBeforeTheLastWasTaken) {
  Bench bench;
  for (unsigned i = 0; i < 5000; ++i)
    bench.dataplane.rows(0).push_back(udp_session(i % 200, static_cast<std::uint16_t>(i)));
  auto command = lsn_commands().parse("show lsn session");
  auto answer = *(*command)->spec->begin(**command, bench.context);
  std::string out;
  ASSERT_EQ(answer->next(out), Answer::Progress::kMore) << "the header";
  EXPECT_EQ(bench.dataplane.pages_asked, 0U);
  ASSERT_EQ(answer->next(out), Answer::Progress::kWaiting);
  EXPECT_EQ(bench.dataplane.pages_asked, 1U);
  ASSERT_EQ(answer->next(out), Answer::Progress::kWaiting) << "the worker has not answered";
  EXPECT_EQ(bench.dataplane.pages_asked, 1U);
  for (unsigned i = 0; i < 10; ++i) bench.dataplane.poll();
  EXPECT_EQ(bench.dataplane.pages_asked, 1U) << "the reader has not asked for more";
  out.clear();
  ASSERT_EQ(answer->next(out), Answer::Progress::kMore);
  EXPECT_EQ(bench.dataplane.pages_asked, 1U);
  EXPECT_LT(out.size(), 1'000'000U) << "a piece is bounded";
}

TEST(ShowSessions, ListsEverySessionOfManyPagesOnce) {
  Bench bench;
  for (unsigned i = 0; i < 60'000; ++i)
    bench.dataplane.rows(i % 2).push_back(udp_session(i % 200, static_cast<std::uint16_t>(i)));
  const auto json = bench.json("show lsn session");
  EXPECT_EQ(json["count"], 60'000);
  std::set<std::string> nat;
  for (const auto& session : json["sessions"]) nat.insert(session["nat"]);
  EXPECT_EQ(nat.size(), 60'000U);
}

TEST(ShowSessions, OfAReaderThatHasGoneLeavesNothingToTheWorkersAnswer) {
  Bench bench;
  bench.dataplane.rows(0).push_back(udp_session(1, 1));
  auto command = lsn_commands().parse("show lsn session");
  auto answer = *(*command)->spec->begin(**command, bench.context);
  std::string out;
  while (answer->next(out) != Answer::Progress::kWaiting) continue;
  EXPECT_EQ(bench.dataplane.outstanding(), 1U);
  answer.reset();
  bench.dataplane.poll();
  EXPECT_EQ(bench.dataplane.outstanding(), 0U);
}

}  // namespace
}  // namespace lsn::control
