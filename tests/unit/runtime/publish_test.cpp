#include "lsn/runtime/publish.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

#include "lsn/control/config/generation_builder.hpp"
#include "lsn/control/config/load.hpp"
#include "support.hpp"

namespace lsn::runtime {
namespace {

control::Model model_with_pool(const std::string& addresses) {
  auto model = control::load_config_text(R"(
    dataplane: { workers = [ 0, 1 ]; };
    interfaces = (
      { name = "inside";  role = "inside";  device = "net_null0"; address = "192.0.2.1/24"; },
      { name = "outside"; role = "outside"; device = "net_null1"; address = "198.51.100.1/24"; });
    lsn: {
      client = ( { name = "C"; network = [ "192.0.2.0/24" ]; } );
      pool = ( { name = "P"; lsnip = [ ")" +
                                         addresses + R"(" ]; } );
      group = ( { name = "G"; clientname = "C"; poolname = [ "P" ]; } );
    };)");
  EXPECT_TRUE(model.has_value()) << control::to_string(model.error());
  return *model;
}

/// Two workers whose threads are this one: what each does, and when, is the test's decision.
class Publish : public testing::Test {
 protected:
  void SetUp() override {
    const std::size_t bytes = (rte_rcu_qsbr_get_memsize(2) + 63) / 64 * 64;
    quiescence = static_cast<rte_rcu_qsbr*>(std::aligned_alloc(64, bytes));
    ASSERT_EQ(rte_rcu_qsbr_init(quiescence, 2), 0);
    for (const unsigned worker : {0U, 1U}) {
      rte_rcu_qsbr_thread_register(quiescence, worker);
      rte_rcu_qsbr_thread_online(quiescence, worker);
    }
    publisher.emplace(quiescence, std::vector<Mailbox*>{&mailboxes[0], &mailboxes[1]});
  }
  void TearDown() override {
    publisher.reset();
    std::free(quiescence);
  }

  /// Worker: all that is in its mailbox.
  void work(unsigned worker) {
    while (mailboxes[worker].work(shards[worker].shard)) {
    }
  }
  void report_quiescent(unsigned worker) { rte_rcu_qsbr_quiescent(quiescence, worker); }
  void poll() {
    for (Mailbox& mailbox : mailboxes) mailbox.collect();
    publisher->poll();
  }
  /// Until nothing is left to do.
  void run_until_idle() {
    for (int i = 0; i < 4; ++i) {
      for (const unsigned worker : {0U, 1U}) work(worker);
      poll();
      for (const unsigned worker : {0U, 1U}) report_quiescent(worker);
      poll();
    }
  }

  std::shared_ptr<const shared::Generation> generation(
      const std::string& addresses, const shared::Generation* predecessor = nullptr) {
    return control::build_generation(model_with_pool(addresses), predecessor);
  }

  rte_rcu_qsbr* quiescence = nullptr;
  test::SmallShard shards[2] = {test::SmallShard(0, 2), test::SmallShard(1, 2)};
  Mailbox mailboxes[2];
  std::optional<Publisher> publisher;
};

TEST_F(Publish, IsDoneWhenEveryWorkerWorksWithTheGeneration) {
  const auto first = generation("203.0.113.0-203.0.113.7");
  int done = 0;
  publisher->publish(first, [&](std::uint64_t ended) {
    EXPECT_EQ(ended, 0U);
    ++done;
  });
  EXPECT_EQ(publisher->current(), nullptr);
  work(0);
  poll();
  EXPECT_EQ(shards[0].shard.generation, first.get());
  EXPECT_EQ(shards[1].shard.generation, nullptr);
  EXPECT_EQ(done, 0) << "one of two has it";
  work(1);
  poll();
  EXPECT_EQ(done, 0) << "neither has said that it holds nothing else";
  report_quiescent(0);
  poll();
  EXPECT_EQ(done, 0);
  report_quiescent(1);
  poll();
  EXPECT_EQ(done, 1);
  EXPECT_EQ(publisher->current(), first);
}

TEST_F(Publish, GivesEachWorkerItsAddressesAndNoOthers) {
  const auto first = generation("203.0.113.0-203.0.113.7");
  publisher->publish(first, nullptr);
  run_until_idle();
  unsigned owned[2] = {};
  for (const auto& place : first->nat_addresses.all()) {
    for (const unsigned shard : {0U, 1U}) {
      const auto& numbers = shards[shard].shard.lsn44.addresses->by_number;
      ASSERT_EQ(numbers.size(), 8U);
      const auto* address = numbers[place.value.number];
      ASSERT_EQ(address != nullptr, place.value.owner == shard);
      if (address == nullptr) continue;
      EXPECT_EQ(address->ip.value, place.first);
      ++owned[shard];
    }
  }
  EXPECT_EQ(owned[0], 4U);
  EXPECT_EQ(owned[1], 4U);
}

TEST_F(Publish, AddressesThatStayKeepTheirObjects) {
  const auto first = generation("203.0.113.0-203.0.113.1");
  publisher->publish(first, nullptr);
  run_until_idle();
  const auto find = [&](const shared::Generation& in, const char* text) {
    const auto* place = in.nat_addresses.find(*wire::parse_ipv4(text));
    return shards[place->owner].shard.lsn44.addresses->by_number[place->number];
  };
  const auto* before = find(*first, "203.0.113.1");
  const auto second = generation("203.0.113.1-203.0.113.9", first.get());
  publisher->publish(second, nullptr);
  run_until_idle();
  EXPECT_EQ(find(*second, "203.0.113.1"), before);
}

TEST_F(Publish, KeepsTheOldGenerationUntilNobodyCanHoldIt) {
  auto first = generation("203.0.113.0");
  std::weak_ptr<const shared::Generation> watched = first;
  publisher->publish(first, nullptr);
  run_until_idle();
  auto second = generation("203.0.113.0-203.0.113.1", first.get());
  first.reset();
  publisher->publish(second, nullptr);
  EXPECT_FALSE(watched.expired());
  work(0);
  poll();
  report_quiescent(0);
  poll();
  EXPECT_FALSE(watched.expired()) << "worker 1 still reads it";
  work(1);
  poll();
  EXPECT_FALSE(watched.expired());
  report_quiescent(0);
  report_quiescent(1);
  poll();
  EXPECT_TRUE(watched.expired());
  EXPECT_EQ(publisher->current(), second);
}

TEST_F(Publish, DoesNotWaitForAWorkerThatSleeps) {
  publisher->publish(generation("203.0.113.0"), nullptr);
  work(0);
  work(1);
  rte_rcu_qsbr_thread_offline(quiescence, 1);
  poll();
  report_quiescent(0);
  poll();
  EXPECT_NE(publisher->current(), nullptr);
}

TEST_F(Publish, PublishesOneAfterTheOtherInOrder) {
  const auto first = generation("203.0.113.0");
  const auto second = generation("203.0.113.1", first.get());
  const auto third = generation("203.0.113.2", second.get());
  std::vector<int> done;
  publisher->publish(first, [&](std::uint64_t) { done.push_back(1); });
  publisher->publish(second, [&](std::uint64_t) { done.push_back(2); });
  work(0);
  work(1);
  EXPECT_EQ(shards[0].shard.generation, first.get()) << "the second waits for the first";
  // Whoever is told may publish again.
  publisher->publish(third, [&](std::uint64_t) {
    done.push_back(3);
    publisher->publish(first, [&](std::uint64_t) { done.push_back(4); });
  });
  run_until_idle();
  run_until_idle();
  EXPECT_EQ(done, (std::vector<int>{1, 2, 3, 4}));
  EXPECT_EQ(publisher->current(), first);
}

}  // namespace
}  // namespace lsn::runtime
