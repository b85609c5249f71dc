#include "lsn/control/command/alg_report.hpp"

#include "unit/control/command/support.hpp"

namespace lsn::control {
namespace {

using shared::AlgCounter;
using shared::AlgGauge;
using shared::DropReason;
using shared::kAlgCounterTexts;
using shared::kAlgGaugeTexts;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

/// Profile ALG has id 0. What was counted for no profile is in the total only.
struct AlgBench : Bench {
  AlgBench() {
    for (unsigned shard = 0; shard < 2; ++shard) {
      auto& counters = dataplane.alg_counters(shard);
      auto& alg = counters.profiles[0];
      alg.of(AlgCounter::kEspSessionsCreated).add(1000);
      alg.of(AlgCounter::kEspPacketsOut).add(5);
      alg.of(AlgCounter::kClosedYield).add(2);
      alg.of(AlgGauge::kEspSessions).set(30 + shard);
      alg.waited[0].add(1);
      alg.waited[9].add(4);
      counters.total.of(AlgCounter::kEspSessionsCreated).add(1500);
      counters.total.of(AlgGauge::kGates).set(7);
      counters.total.of(AlgGauge::kEspSessions).set(40);
      dataplane.counters(shard).drop(DropReason::kEspInAmbiguous, 3);
      dataplane.counters(shard).drop(DropReason::kNoRoute, 1);
    }
  }
};

TEST(StatIpsecalg, HasEveryCounterAndGaugeByItsNameInTotalAndByProfile) {
  AlgBench bench;
  const auto json = bench.json("stat ipsecalg");
  ASSERT_EQ(json["profiles"].size(), 1U);
  const auto& alg = json["profiles"][0];
  for (const auto& text : kAlgCounterTexts) {
    EXPECT_TRUE(json["total"].contains(text.name)) << text.name;
    EXPECT_TRUE(alg.contains(text.name)) << text.name;
  }
  for (const auto& text : kAlgGaugeTexts) {
    EXPECT_TRUE(json["total"].contains(text.name)) << text.name;
    EXPECT_EQ(alg.contains(text.name), text.gauge != AlgGauge::kGates) << text.name;
  }
  EXPECT_EQ(alg["profile"], "ALG");
  EXPECT_EQ(alg["id"], 0);
  EXPECT_EQ(alg["present"], true);
  EXPECT_EQ(alg["counted"], true);
  EXPECT_EQ(alg["esp_sessions_created"], 2000);
  EXPECT_EQ(alg["esp_sessions"], 61);
  EXPECT_EQ(alg["esp_packets_out"], 10);
  EXPECT_EQ(alg["turns_closed"]["YIELD"], 4);
  EXPECT_EQ(alg["turns_closed"].size(), 9U);
  ASSERT_EQ(alg["waited"].size(), 10U);
  EXPECT_EQ(alg["waited"][0], nlohmann::json({{"up_to_ms", 100}, {"messages", 2}}));
  EXPECT_EQ(alg["waited"][9], nlohmann::json({{"up_to_ms", nullptr}, {"messages", 8}}));
  EXPECT_EQ(json["total"]["esp_sessions_created"], 3000);
  EXPECT_EQ(json["total"]["gates"], 14);
  EXPECT_EQ(json["drops"]["esp_in_ambiguous"], 6);
  EXPECT_FALSE(json["drops"].contains("no_route"));
  EXPECT_EQ(json["capacity"], nlohmann::json({{"ike_sessions", 800},
                                              {"esp_sessions", 1000},
                                              {"gates", 120},
                                              {"held_bytes", 140'000}}));
  EXPECT_EQ(json["events_lost"], 0);
}

TEST(StatIpsecalg, OfOneProfileHasThatOnly) {
  AlgBench bench;
  const auto json = bench.json("stat ipsecalg ALG");
  ASSERT_EQ(json["profiles"].size(), 1U);
  EXPECT_EQ(json["profiles"][0]["esp_sessions_created"], 2000);
  EXPECT_FALSE(json.contains("total"));
  const std::string text = bench.text("stat ipsecalg ALG");
  EXPECT_THAT(text, ContainsRegex("esp_sessions_created +2,000 "));
  EXPECT_THAT(text, Not(HasSubstr("esp_in_ambiguous")));
}

TEST(StatIpsecalg, PrintsARowPerProfileAndTheTotal) {
  AlgBench bench;
  const std::string text = bench.text("stat ipsecalg");
  EXPECT_THAT(text,
              ContainsRegex("profile +active +total +ike_sessions +gate_waiters +gate_blocked"));
  EXPECT_THAT(text, ContainsRegex("ALG +61 +2,000 +0 +0 +0 +10 +0"));
  EXPECT_THAT(text, ContainsRegex("total +80 +3,000 "));
  EXPECT_THAT(text, ContainsRegex("gates +14 +120 "));
  EXPECT_THAT(text, ContainsRegex("closed_yield +0 "));
  EXPECT_THAT(text, ContainsRegex("up to 100ms +0\n"));
  EXPECT_THAT(text, ContainsRegex("more +0\n"));
  EXPECT_THAT(text, ContainsRegex("esp_in_ambiguous +6 "));
  for (const auto& counter : kAlgCounterTexts) EXPECT_THAT(text, HasSubstr(counter.name));
}

TEST(StatIpsecalg, OfAProfileThatIsNotThereIsAnError) {
  AlgBench bench;
  EXPECT_THAT(bench.error("stat ipsecalg ALGX"),
              HasSubstr("given \"ALGX\" (did you mean \"ALG\"?), allowed the name of an ipsecalg"));
}

}  // namespace
}  // namespace lsn::control
