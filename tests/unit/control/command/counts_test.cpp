#include "lsn/control/command/counts.hpp"

#include "lsn/shared/counter_list.hpp"
#include "unit/control/command/support.hpp"

namespace lsn::control {
namespace {

using shared::AlgCounter;
using shared::AlgCounters;
using shared::AlgGauge;
using shared::Counter;
using shared::Counters;
using shared::DropReason;
using shared::Protocol;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

/// Every number of an object that consists of them, whatever it is called.
template <class Of>
std::span<Counter> all_numbers(Of& of) {
  return {reinterpret_cast<Counter*>(&of), sizeof(Of) / sizeof(Counter)};
}

/// All are 10 when they are cleared and 13 when they are looked at.
struct ClearedBench : Bench {
  ClearedBench() {
    set(10);
    cleared.clear(dataplane, "root (uid 0, process 4711)",
                  std::chrono::sys_days{std::chrono::year{2026} / 11 / 30} +
                      std::chrono::milliseconds{37'211'900});
    set(13);
  }

  void set(std::uint64_t value) {
    for (unsigned shard = 0; shard < dataplane.workers(); ++shard) {
      for (Counter& counter : all_numbers(dataplane.counters(shard))) counter.set(value);
      for (Counter& counter : all_numbers(dataplane.alg_counters(shard))) counter.set(value);
    }
  }
};

/// What is in a list and what of it was cleared.
template <class Of>
void expect_since(std::span<const shared::CounterText<Of>> list, const Of& counts) {
  for (const shared::CounterText<Of>& text : list)
    EXPECT_EQ(text.read(counts), text.kind == shared::CounterKind::kCounter ? 3U : 13U)
        << text.name;
}

TEST(ClearCounters, EveryCounterCountsFromThenOnAndEveryGaugeSaysWhatThereIs) {
  ClearedBench bench;
  const Counts counts(bench.dataplane, bench.cleared);
  ASSERT_EQ(counts.workers(), 2U);
  for (unsigned shard = 0; shard < 2; ++shard) {
    const Counters& c = counts.of(shard);
    expect_since(shared::router_counters(), c);
    expect_since(shared::worker_counters(), c);
    for (const auto& protocol : c.protocols) expect_since(shared::protocol_counters(), protocol);
    for (const auto& interface : c.interfaces)
      expect_since(shared::interface_counters(), interface);
    for (const Counter& drop : c.drops) EXPECT_EQ(drop.get(), 3U);
    const AlgCounters& alg = *counts.alg(shard);
    const auto expect_set = [](const shared::AlgCounterSet& set) {
      for (const Counter& counter : set.counters) EXPECT_EQ(counter.get(), 3U);
      for (const Counter& waited : set.waited) EXPECT_EQ(waited.get(), 3U);
      for (const Counter& gauge : set.gauges) EXPECT_EQ(gauge.get(), 13U);
    };
    expect_set(alg.total);
    for (const auto& profile : alg.profiles) expect_set(profile);
  }
}

TEST(ClearCounters, TheWorkersOwnGoOnForMetricsAndTelemetry) {
  ClearedBench bench;
  EXPECT_EQ(bench.dataplane.counters(0).consumed.get(), 13U);
  EXPECT_EQ(bench.dataplane.alg_counters(1).total.of(AlgCounter::kTurns).get(), 13U);
}

TEST(ClearCounters, WithoutItNothingIsCopied) {
  Bench bench;
  const Counts counts(bench.dataplane, bench.cleared);
  EXPECT_EQ(&counts.of(1), &bench.dataplane.counters(1));
  EXPECT_EQ(counts.alg(1), &bench.dataplane.alg_counters(1));
}

TEST(ClearCounters, OneThatBeganAnewInBetweenIsWhatItSays) {
  ClearedBench bench;
  bench.dataplane.counters(0).interfaces[3].rx.packets.set(2);
  const Counts counts(bench.dataplane, bench.cleared);
  EXPECT_EQ(counts.of(0).interfaces[3].rx.packets.get(), 2U);
}

TEST(ClearCounters, WhatDevicesHaveCounted) {
  Bench bench;
  shared::PortStatus port;
  port.device = "0000:03:00.0";
  port.rx_missed = 17;
  port.rx_errors = 5;
  port.speed_mbps = 10'000;
  bench.dataplane.port_status = {port, port};
  ASSERT_EQ(bench.text("clear counters"), "Done\n");
  bench.dataplane.port_status[0].rx_missed = 20;
  bench.dataplane.port_status[1].rx_errors = 4;  // it was taken out and put in again
  EXPECT_EQ(bench.json("stat interface")["devices"][1]["rx_errors"], 4);
  bench.dataplane.port_status[1].rx_errors = 6;
  const auto devices = bench.json("stat interface")["devices"];
  EXPECT_EQ(devices[0]["rx_missed"], 3);
  EXPECT_EQ(devices[0]["rx_errors"], 0);
  EXPECT_EQ(devices[1]["rx_errors"], 6);
  EXPECT_EQ(devices[1]["speed_mbps"], 10'000);
}

TEST(ClearCounters, EachAnswerSaysSinceWhenItCountsAndWhoWantedThat) {
  ClearedBench bench;
  for (const std::string command :
       {"stat lsn", "stat interface", "stat worker", "stat ipsecalg", "show drops"}) {
    EXPECT_THAT(bench.text(command),
                testing::EndsWith("\ncounted since 2026-11-30T10:20:11Z, when root (uid 0, process "
                                  "4711) cleared the counters\n"))
        << command;
    EXPECT_EQ(
        bench.json(command)["cleared"],
        nlohmann::json({{"at", "2026-11-30T10:20:11Z"}, {"by", "root (uid 0, process 4711)"}}))
        << command;
  }
  Bench fresh;
  EXPECT_THAT(fresh.text("stat lsn"), Not(HasSubstr("counted since")));
  EXPECT_FALSE(fresh.json("show drops").contains("cleared"));
}

TEST(ClearCounters, AnswersAddUpWhatTheWorkersCountedSince) {
  ClearedBench bench;
  EXPECT_EQ(bench.json("stat lsn")["consumed"], 2 * 3);
  EXPECT_EQ(bench.json("stat lsn")["subscribers"], 2 * 13);
  EXPECT_EQ(bench.json("show drops")["packets"], 2 * 3 * shared::kDropReasons);
  EXPECT_EQ(bench.json("stat ipsecalg")["total"]["turns"], 2 * 3);
  EXPECT_EQ(bench.json("stat worker")["workers"][1]["handoff_sent"], 3);
}

TEST(ClearCounters, IsAnsweredAsOtherChangesAre) {
  Bench bench;
  EXPECT_EQ(bench.text("clear counters"), "Done\n");
  EXPECT_EQ(bench.json("CLEAR Counters"), nlohmann::json({{"result", "Done"}}));
  EXPECT_THAT(bench.cleared.at(), MatchesRegex("20..-..-..T..:..:..Z"));
  EXPECT_THAT(bench.error("clear drops"), HasSubstr("clear"));
  const auto& commands = lsn_commands().commands();
  const auto clear = std::ranges::find(commands, "clear counters", &CommandSpec::words);
  ASSERT_NE(clear, commands.end());
  EXPECT_TRUE(clear->changes);  // nothing for who may only look
}

}  // namespace
}  // namespace lsn::control
