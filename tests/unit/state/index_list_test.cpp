#include "lsn/state/index_list.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <vector>

#include "support.hpp"

namespace lsn::state {
namespace {

class IndexList : public testing::Test {
 protected:
  auto links_of() {
    return [this](std::uint32_t index) -> ListLinks& { return links_.at(index); };
  }

  std::vector<std::uint32_t> forward(const ListHead& head) {
    std::vector<std::uint32_t> indices;
    std::uint32_t before = kNone;
    for (std::uint32_t i = head.first; i != kNone; i = links_[i].next) {
      EXPECT_EQ(links_[i].prev, before);
      before = i;
      indices.push_back(i);
    }
    return indices;
  }

  std::vector<ListLinks> links_ = std::vector<ListLinks>(100);
};

using Indices = std::vector<std::uint32_t>;

TEST_F(IndexList, BeginsEmpty) {
  EXPECT_TRUE(ListHead{}.empty());
}

TEST_F(IndexList, PutsTheLatestFirst) {
  ListHead head;
  for (const std::uint32_t i : {5u, 0u, 99u}) list_push(head, i, links_of());
  EXPECT_EQ(forward(head), (Indices{99, 0, 5}));
  EXPECT_FALSE(head.empty());
}

TEST_F(IndexList, LosesAnObjectFromAnyPlace) {
  ListHead head;
  for (const std::uint32_t i : {1u, 2u, 3u, 4u}) list_push(head, i, links_of());
  list_remove(head, 3, links_of());
  EXPECT_EQ(forward(head), (Indices{4, 2, 1}));
  list_remove(head, 4, links_of());
  EXPECT_EQ(forward(head), (Indices{2, 1}));
  list_remove(head, 1, links_of());
  EXPECT_EQ(forward(head), (Indices{2}));
  list_remove(head, 2, links_of());
  EXPECT_TRUE(head.empty());
}

TEST_F(IndexList, IgnoresWhatStoodInTheLinksBefore) {
  ListHead head;
  links_[1] = ListLinks{.next = 50, .prev = 60};
  list_push(head, 1, links_of());
  EXPECT_EQ(forward(head), (Indices{1}));
}

TEST_F(IndexList, AgreesWithAListOfTheStandardLibrary) {
  auto generator = test::seeded_generator();
  ListHead heads[3];
  std::list<std::uint32_t> models[3];
  std::vector<int> owner(links_.size(), -1);
  for (int step = 0; step < 20'000; ++step) {
    const auto index = static_cast<std::uint32_t>(generator() % links_.size());
    if (owner[index] < 0) {
      const int list = static_cast<int>(generator() % 3);
      list_push(heads[list], index, links_of());
      models[list].push_front(index);
      owner[index] = list;
    } else {
      list_remove(heads[owner[index]], index, links_of());
      models[owner[index]].remove(index);
      owner[index] = -1;
    }
    if (step % 100 == 0) {
      for (int list = 0; list < 3; ++list) {
        ASSERT_EQ(forward(heads[list]), Indices(models[list].begin(), models[list].end()));
      }
    }
  }
}

}  // namespace
}  // namespace lsn::state
