#include "lsn/runtime/mailbox.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "support.hpp"

namespace lsn::runtime {
namespace {

/// Takes so many steps, and writes down who did what.
class Steps final : public Command {
 public:
  Steps(unsigned steps, std::vector<unsigned>* ended, unsigned name)
      : left_(steps), ended_(ended), name_(name), poster_(std::this_thread::get_id()) {}

  Progress step(datapath::Shard& /*shard*/) override {
    worker_ = std::this_thread::get_id();
    ++taken_;
    return --left_ == 0 ? Progress::kFinished : Progress::kMore;
  }
  void done() override {
    EXPECT_EQ(std::this_thread::get_id(), poster_);
    EXPECT_EQ(left_, 0U);
    ended_->push_back(name_);
  }

 private:
  unsigned left_;
  unsigned taken_ = 0;
  std::vector<unsigned>* ended_;
  unsigned name_;
  std::thread::id poster_;
  std::thread::id worker_;
};

TEST(Mailbox, TakesOneStepPerPollAndAnswersAfterTheLast) {
  test::SmallShard small;
  Mailbox mailbox;
  std::vector<unsigned> ended;
  EXPECT_FALSE(mailbox.work(small.shard));
  mailbox.post(std::make_unique<Steps>(3, &ended, 7));
  for (int step = 0; step < 3; ++step) {
    EXPECT_EQ(mailbox.collect(), 0U);
    EXPECT_TRUE(mailbox.work(small.shard));
  }
  EXPECT_FALSE(mailbox.work(small.shard));
  EXPECT_TRUE(ended.empty());
  EXPECT_EQ(mailbox.outstanding(), 1U);
  EXPECT_EQ(mailbox.collect(), 1U);
  EXPECT_EQ(ended, std::vector<unsigned>{7});
  EXPECT_EQ(mailbox.outstanding(), 0U);
}

TEST(Mailbox, CarriesOutOneCommandAfterTheOther) {
  test::SmallShard small;
  Mailbox mailbox;
  std::vector<unsigned> ended;
  mailbox.post(std::make_unique<Steps>(4, &ended, 1));
  mailbox.post(std::make_unique<Steps>(1, &ended, 2));
  mailbox.work(small.shard);
  mailbox.collect();
  EXPECT_TRUE(ended.empty()) << "the short one waits for the long one";
  for (int i = 0; i < 4; ++i) mailbox.work(small.shard);
  mailbox.collect();
  EXPECT_EQ(ended, (std::vector<unsigned>{1, 2}));
}

TEST(Mailbox, KeepsMoreCommandsThanItsRingsHold) {
  test::SmallShard small;
  Mailbox mailbox;
  std::vector<unsigned> ended, expected;
  for (unsigned i = 0; i < 1000; ++i) {
    mailbox.post(std::make_unique<Steps>(1, &ended, i));
    expected.push_back(i);
  }
  // The control thread does not come for a while: the worker goes on until the way back is full.
  for (int i = 0; i < 300; ++i) mailbox.work(small.shard);
  while (mailbox.outstanding() != 0) {
    mailbox.collect();
    mailbox.work(small.shard);
  }
  EXPECT_EQ(ended, expected);
}

TEST(Mailbox, ACommandMayPostAnotherWhenItIsDone) {
  class Again final : public Command {
   public:
    Again(Mailbox* mailbox, int left, int* ended) : mailbox_(mailbox), left_(left), ended_(ended) {}
    Progress step(datapath::Shard& /*shard*/) override { return Progress::kFinished; }
    void done() override {
      ++*ended_;
      if (left_ != 0) mailbox_->post(std::make_unique<Again>(mailbox_, left_ - 1, ended_));
    }

   private:
    Mailbox* mailbox_;
    int left_;
    int* ended_;
  };
  test::SmallShard small;
  Mailbox mailbox;
  int ended = 0;
  mailbox.post(std::make_unique<Again>(&mailbox, 9, &ended));
  for (int i = 0; i < 10; ++i) {
    mailbox.work(small.shard);
    mailbox.collect();
  }
  EXPECT_EQ(ended, 10);
}

TEST(Mailbox, DestroysWhatNobodyAnswersAnyMore) {
  static int alive;
  class Counted final : public Command {
   public:
    Counted() { ++alive; }
    ~Counted() override { --alive; }
    Progress step(datapath::Shard& /*shard*/) override { return Progress::kMore; }
    void done() override { ADD_FAILURE() << "nobody has finished it"; }
  };
  {
    test::SmallShard small;
    Mailbox mailbox;
    for (int i = 0; i < 200; ++i) mailbox.post(std::make_unique<Counted>());
    mailbox.work(small.shard);
    EXPECT_EQ(alive, 200);
  }
  EXPECT_EQ(alive, 0);
}

TEST(Mailbox, WorksBetweenTwoThreads) {
  test::SmallShard small;
  Mailbox mailbox;
  std::atomic<bool> stop{false};
  std::thread worker([&] {
    while (!stop.load(std::memory_order_relaxed))
      if (!mailbox.work(small.shard)) std::this_thread::yield();
  });
  std::vector<unsigned> ended, expected;
  for (unsigned i = 0; i < 20'000; ++i) {
    mailbox.post(std::make_unique<Steps>(1 + i % 3, &ended, i));
    expected.push_back(i);
    if (i % 100 == 0) mailbox.collect();
  }
  while (mailbox.outstanding() != 0) {
    mailbox.collect();
    std::this_thread::yield();
  }
  stop = true;
  worker.join();
  EXPECT_EQ(ended, expected);
}

}  // namespace
}  // namespace lsn::runtime
