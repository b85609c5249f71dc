#include "lsn/state/index_queue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <vector>

#include "support.hpp"

namespace lsn::state {
namespace {

class IndexQueue : public testing::Test {
 protected:
  auto links_of() {
    return [this](std::uint32_t index) -> ListLinks& { return links_.at(index); };
  }

  std::vector<std::uint32_t> forward(const QueueHead& head) {
    std::vector<std::uint32_t> indices;
    std::uint32_t before = kNone;
    for (std::uint32_t i = head.first; i != kNone; i = links_[i].next) {
      EXPECT_EQ(links_[i].prev, before);
      before = i;
      indices.push_back(i);
    }
    EXPECT_EQ(head.last, before);
    return indices;
  }

  std::vector<ListLinks> links_ = std::vector<ListLinks>(64);
};

using Indices = std::vector<std::uint32_t>;

TEST_F(IndexQueue, BeginsEmpty) {
  EXPECT_TRUE(QueueHead{}.empty());
}

TEST_F(IndexQueue, GivesTheEarliestFirst) {
  QueueHead head;
  for (const std::uint32_t i : {5u, 3u, 9u}) queue_push(head, i, links_of());
  EXPECT_EQ(forward(head), (Indices{5, 3, 9}));
  EXPECT_EQ(queue_pop(head, links_of()), 5u);
  EXPECT_EQ(queue_pop(head, links_of()), 3u);
  EXPECT_EQ(queue_pop(head, links_of()), 9u);
  EXPECT_TRUE(head.empty());
  EXPECT_EQ(head.last, kNone);
}

TEST_F(IndexQueue, LetsTheFirstTheMiddleAndTheLastLeave) {
  QueueHead head;
  for (std::uint32_t i = 0; i < 5; ++i) queue_push(head, i, links_of());
  queue_remove(head, 2, links_of());
  EXPECT_EQ(forward(head), (Indices{0, 1, 3, 4}));
  queue_remove(head, 0, links_of());
  EXPECT_EQ(forward(head), (Indices{1, 3, 4}));
  queue_remove(head, 4, links_of());
  EXPECT_EQ(forward(head), (Indices{1, 3}));
  queue_push(head, 2, links_of());
  EXPECT_EQ(forward(head), (Indices{1, 3, 2}));
}

TEST_F(IndexQueue, DoesWhatADequeDoes) {
  auto random = test::seeded_generator();
  QueueHead head;
  std::deque<std::uint32_t> model;
  for (int step = 0; step < 20'000; ++step) {
    const auto i = static_cast<std::uint32_t>(random() % links_.size());
    const auto at = std::find(model.begin(), model.end(), i);
    if (at == model.end()) {
      queue_push(head, i, links_of());
      model.push_back(i);
    } else {
      queue_remove(head, i, links_of());
      model.erase(at);
    }
    ASSERT_EQ(forward(head), Indices(model.begin(), model.end()));
  }
}

}  // namespace
}  // namespace lsn::state
