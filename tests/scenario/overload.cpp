// An overloaded worker (performance page: "established sessions win over new ones"): packets of
// unknown flows get a third of its time, the others are counted drops.
#include "scenario.hpp"

namespace lsn::test {
namespace {

using datapath::Overload;

class Overloaded : public Scenario {
 protected:
  void begin() {
    start(Config::standard());
    lab().introduce(1, kGateway);
  }
  /// Of 40 subscribers in turn: every shard has some of any 20.
  [[nodiscard]] static Endpoint client(unsigned n) {
    return {Ip{"192.0.2.10"} + n % 40, static_cast<std::uint16_t>(4000 + n / 40)};
  }
  [[nodiscard]] static std::vector<Bytes> flows(unsigned first, unsigned count) {
    std::vector<Bytes> packets;
    for (unsigned n = first; n < first + count; ++n)
      packets.push_back(udp(client(n), kServer).bytes());
    return packets;
  }
  /// What a worker reports whose queues have no end.
  void overload() { poll(Overload::Poll::kFull, Overload::kFullPolls); }
  void poll(Overload::Poll what, unsigned times) {
    for (unsigned id = 0; id < lab().shards(); ++id)
      for (unsigned i = 0; i < times; ++i) lab().shard(id).overload.polled(what, 0);
  }
  /// Time goes by, and the queues still have no end.
  void work(std::uint64_t clocks) {
    for (unsigned id = 0; id < lab().shards(); ++id)
      lab().shard(id).overload.polled(Overload::Poll::kFull, clocks);
  }
  /// Whether some of 32 packets of unknown flows are refused while sessions have traffic.
  [[nodiscard]] bool holds_back(unsigned first) {
    EXPECT_EQ(pass(flows(0, 20)), 20u);
    const std::size_t passed = pass(flows(first, 32));
    expect_drops({{DropReason::kOverload, 32 - passed}});
    return passed < 32;
  }
  [[nodiscard]] std::size_t pass(const std::vector<Bytes>& packets) {
    return lab().burst(0, packets).size();
  }
};

TEST_P(Overloaded, NewFlows_GetAThirdOfTheTimeAndSessionsLoseNothing) {
  begin();
  ASSERT_EQ(pass(flows(0, 20)), 20u);
  overload();
  std::size_t opened = 0;
  constexpr unsigned kBursts = 100;
  // Of the twelve that ask, every shard has time for three if it does nothing else.
  constexpr std::uint64_t kClocks = 3 * Overload::kClocksPerNew;
  for (unsigned i = 0; i < kBursts; ++i) {
    work(kClocks);
    std::vector<Bytes> packets = flows(100 + 12 * i, 12);
    const std::vector<Bytes> known = flows(0, 20);
    packets.insert(packets.end(), known.begin(), known.end());
    const std::size_t passed = pass(packets);
    // Those who have a session lose nothing.
    ASSERT_GE(passed, 20u);
    opened += passed - 20;
  }
  const std::size_t share = lab().shards() * kBursts;
  EXPECT_LE(opened, share);
  // A shard that nobody asks for a while saves no more than a burst.
  EXPECT_GE(opened, share * 9 / 10);
  expect_drops({{DropReason::kOverload, 12 * kBursts - opened}});
}

TEST_P(Overloaded, NewFlowsBesideLittleTraffic_GetTheirThird) {
  begin();
  ASSERT_EQ(pass(flows(0, 20)), 20u);
  overload();
  std::size_t opened = 0;
  for (unsigned i = 0; i < 10; ++i) {
    ASSERT_EQ(pass(flows(0, 20)), 20u);
    // All the time that three times as many take.
    work(Overload::kShare * 31 * Overload::kClocksPerNew);
    opened += pass(flows(100 + 31 * i, 31));
  }
  EXPECT_EQ(opened, 310u);
}

/// Each look at it takes so long.
std::uint64_t slow_clock() {
  static std::uint64_t now = 0;
  return now += 20 * Overload::kClocksPerNew;
}

TEST_P(Overloaded, NewFlows_AreChargedTheirMeasuredTime) {
  begin();
  ASSERT_EQ(pass(flows(0, 20)), 20u);
  overload();
  for (unsigned id = 0; id < lab().shards(); ++id) lab().shard(id).clocks = slow_clock;
  std::size_t opened = 0;
  // Each shard has time for 300 by what a new flow is reckoned with, and for 15 of these.
  constexpr unsigned kBursts = 100;
  for (unsigned i = 0; i < kBursts; ++i) {
    work(Overload::kShare * 3 * Overload::kClocksPerNew);
    std::vector<Bytes> packets = flows(100 + 12 * i, 12);
    const std::vector<Bytes> known = flows(0, 20);
    packets.insert(packets.end(), known.begin(), known.end());
    const std::size_t passed = pass(packets);
    ASSERT_GE(passed, 20u);
    opened += passed - 20;
  }
  expect_drops({{DropReason::kOverload, 12 * kBursts - opened}});
  EXPECT_GT(opened, 0u);
  // The first burst spends what it has before it is known what that costs.
  EXPECT_LE(opened, (15u + 3u) * lab().shards());
}

TEST_P(Overloaded, UnusedTime_IsSavedForOneBurstAtMost) {
  begin();
  ASSERT_EQ(pass(flows(0, 20)), 20u);
  overload();
  ASSERT_EQ(pass(flows(0, 20)), 20u);
  work(1'000'000'000);
  const std::size_t opened = pass(flows(100, 32)) + pass(flows(200, 32)) + pass(flows(300, 32));
  EXPECT_LE(opened, 32u * lab().shards());
  expect_drops({{DropReason::kOverload, 96 - opened}});
}

TEST_P(Overloaded, NoSessionTraffic_AdmitsAllNewFlows) {
  begin();
  overload();
  EXPECT_EQ(pass(flows(0, 32)), 32u);
  EXPECT_EQ(pass(flows(100, 32)), 32u);
}

TEST_P(Overloaded, EmptyPoll_AdmitsAllNewFlowsAgain) {
  begin();
  ASSERT_EQ(pass(flows(0, 20)), 20u);
  overload();
  ASSERT_EQ(pass(flows(0, 20)), 20u);
  poll(Overload::Poll::kEmpty, 1);
  EXPECT_EQ(pass(flows(100, 32)), 32u);
}

TEST_P(Overloaded, ShortPollAtTheRingsEnd_StaysOverloaded) {
  begin();
  ASSERT_EQ(pass(flows(0, 20)), 20u);
  // A ring of 1024 descriptors, read from the middle of a burst on: every 33rd poll is a short one.
  for (unsigned i = 0; i < 16; ++i) {
    poll(Overload::Poll::kFull, 32);
    poll(Overload::Poll::kPartial, 1);
  }
  EXPECT_TRUE(holds_back(100));
}

TEST_P(Overloaded, EndsWithPollsThatAreNotFull) {
  begin();
  ASSERT_EQ(pass(flows(0, 20)), 20u);
  overload();
  poll(Overload::Poll::kPartial, Overload::kFullPolls);
  EXPECT_FALSE(holds_back(100));
}

TEST_P(Overloaded, BusyWorkerWithPartialPolls_IsNotOverloaded) {
  begin();
  ASSERT_EQ(pass(flows(0, 20)), 20u);
  // Every third poll finds the end of the queue.
  for (unsigned i = 0; i < 1000; ++i) {
    poll(Overload::Poll::kFull, 2);
    poll(Overload::Poll::kPartial, 1);
  }
  EXPECT_FALSE(holds_back(100));
}

TEST_P(Overloaded, UnsolicitedInbound_IsDroppedBeforeItsMappingIsLookedUp) {
  begin();
  const Endpoint nat = translated(udp(client(0), kServer));
  returned(udp(kServer, nat), client(0));
  overload();
  work(Overload::kShare * 32 * Overload::kClocksPerNew);
  // What was saved is spent on the first ones.
  std::vector<Bytes> unsolicited;
  for (unsigned i = 0; i < 32; ++i)
    unsolicited.push_back(udp({Ip{"198.18.7.1"} + i, 53}, nat).bytes());
  for (unsigned i = 0; i < 8; ++i) EXPECT_TRUE(lab().burst(1, unsolicited).empty());
  const std::uint64_t filtered = lab().drops(DropReason::kFiltered);
  const std::uint64_t refused = lab().drops(DropReason::kOverload);
  EXPECT_EQ(filtered + refused, 8u * 32u);
  EXPECT_GT(refused, 0u);
  expect_drops({{DropReason::kFiltered, filtered}, {DropReason::kOverload, refused}});
  returned(udp(kServer, nat), client(0));
}

INSTANTIATE_TEST_SUITE_P(Any, Overloaded, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
