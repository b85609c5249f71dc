#include "lsn/state/prefix_trie.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <optional>
#include <random>
#include <utility>

#include "support.hpp"

namespace lsn::state {
namespace {

using Match = PrefixTrie::Match;

constexpr std::uint32_t ip(unsigned a, unsigned b, unsigned c, unsigned d) {
  return a << 24 | b << 16 | c << 8 | d;
}
constexpr std::uint32_t first_of(std::uint32_t address, unsigned length) {
  return length == 0 ? 0 : address & ~std::uint32_t{0} << (32 - length);
}

/// A list of prefixes, gone through for every question.
class Witness {
 public:
  void set(std::uint32_t prefix, unsigned length, std::uint32_t value) {
    prefixes_[{prefix, length}] = value;
  }
  void remove(std::uint32_t prefix, unsigned length) { prefixes_.erase({prefix, length}); }
  /// Of those shorter than `below`.
  [[nodiscard]] Match find(std::uint32_t address, unsigned below = 33) const {
    Match best;
    for (const auto& [prefix, value] : prefixes_)
      if (prefix.second < below && first_of(address, prefix.second) == prefix.first &&
          (best.value == kNone || prefix.second > best.length))
        best = {value, prefix.second};
    return best;
  }
  [[nodiscard]] const auto& all() const { return prefixes_; }

 private:
  std::map<std::pair<std::uint32_t, unsigned>, std::uint32_t> prefixes_;
};

TEST(PrefixTrie, WithoutPrefixesCoversNothing) {
  test::HeapMemory memory;
  PrefixTrie trie(4, &memory);
  const std::uint32_t root = trie.make_tree();
  ASSERT_NE(root, kNone);
  EXPECT_EQ(trie.find(root, 0), Match{});
  EXPECT_EQ(trie.find(root, 0xFFFFFFFF), Match{});
}

TEST(PrefixTrie, FindsTheLongestOfThoseThatCover) {
  test::HeapMemory memory;
  PrefixTrie trie(16, &memory);
  const std::uint32_t root = trie.make_tree();
  ASSERT_TRUE(trie.set(root, 0, 0, 1));
  ASSERT_TRUE(trie.set(root, ip(10, 0, 0, 0), 8, 2));
  ASSERT_TRUE(trie.set(root, ip(10, 1, 2, 3), 32, 4));
  ASSERT_TRUE(trie.set(root, ip(10, 1, 0, 0), 16, 3));
  EXPECT_EQ(trie.find(root, ip(9, 255, 255, 255)), (Match{1, 0}));
  EXPECT_EQ(trie.find(root, ip(10, 255, 0, 0)), (Match{2, 8}));
  EXPECT_EQ(trie.find(root, ip(10, 1, 2, 2)), (Match{3, 16}));
  EXPECT_EQ(trie.find(root, ip(10, 1, 2, 3)), (Match{4, 32}));
  EXPECT_EQ(trie.find(root, ip(10, 1, 2, 4)), (Match{3, 16}));
}

TEST(PrefixTrie, TreesKnowNothingOfEachOther) {
  test::HeapMemory memory;
  PrefixTrie trie(8, &memory);
  const std::uint32_t one = trie.make_tree(), other = trie.make_tree();
  ASSERT_TRUE(trie.set(one, 0, 0, 1));
  EXPECT_EQ(trie.find(other, 7), Match{});
}

TEST(PrefixTrie, WithoutRoomRefusesAndStaysAsItIs) {
  test::HeapMemory memory;
  PrefixTrie trie(1 + PrefixTrie::kNodesOfPrefix, &memory);
  const std::uint32_t root = trie.make_tree();
  ASSERT_TRUE(trie.set(root, ip(10, 1, 2, 3), 32, 1));
  EXPECT_FALSE(trie.set(root, ip(11, 1, 2, 3), 32, 2));
  EXPECT_EQ(trie.find(root, ip(10, 1, 2, 3)), (Match{1, 32}));
  EXPECT_EQ(trie.find(root, ip(11, 1, 2, 3)), Match{});
  // Its nodes fall back with it, and serve again once they are given back.
  trie.remove(root, ip(10, 1, 2, 3), 32, {});
  EXPECT_FALSE(trie.set(root, ip(11, 1, 2, 3), 32, 2));
  const auto retired = trie.take_retired();
  EXPECT_EQ(retired.size(), PrefixTrie::kNodesOfPrefix);
  trie.reuse(retired);
  EXPECT_TRUE(trie.set(root, ip(11, 1, 2, 3), 32, 2));
  EXPECT_EQ(trie.make_tree(), kNone);
}

/// Prefixes of all lengths, dense enough to lie inside one another, against the witness.
TEST(PrefixTrie, IsTheWitnessAfterEveryChange) {
  std::uint64_t seed = std::random_device{}();
  if (const char* given = std::getenv("LSN_SEED")) seed = std::strtoull(given, nullptr, 10);
  SCOPED_TRACE("LSN_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  test::HeapMemory memory;
  PrefixTrie trie(4096, &memory);
  const std::uint32_t root = trie.make_tree();
  Witness witness;
  const auto any_address = [&random] {
    // Few values of each byte, and those at the edges of ranges.
    static constexpr std::uint32_t kBytes[] = {0, 1, 127, 128, 254, 255};
    std::uint32_t address = 0;
    for (int i = 0; i < 4; ++i) address = address << 8 | kBytes[random() % 6];
    return address;
  };
  for (unsigned turn = 0; turn < 20000; ++turn) {
    const unsigned length = static_cast<unsigned>(random() % 33);
    const std::uint32_t prefix = first_of(any_address(), length);
    const std::size_t most = turn / 4000 % 2 == 0 ? 200 : 20;
    if (witness.all().size() < most && random() % 3 != 0) {
      const auto value = static_cast<std::uint32_t>(random() % PrefixTrie::kValues);
      ASSERT_TRUE(trie.set(root, prefix, length, value));
      witness.set(prefix, length, value);
    } else if (!witness.all().empty()) {
      auto gone = witness.all().lower_bound({prefix, length});
      if (gone == witness.all().end()) gone = witness.all().begin();
      const auto [first, bits] = gone->first;
      witness.remove(first, bits);
      trie.remove(root, first, bits, witness.find(first, bits));
    }
    if (random() % 4 == 0) trie.reuse(trie.take_retired());
    for (int i = 0; i < 20; ++i) {
      const std::uint32_t address = any_address();
      ASSERT_EQ(trie.find(root, address), witness.find(address)) << address << " turn " << turn;
    }
  }
  while (!witness.all().empty()) {
    const auto [first, bits] = witness.all().begin()->first;
    witness.remove(first, bits);
    trie.remove(root, first, bits, witness.find(first, bits));
  }
  trie.reuse(trie.take_retired());
  EXPECT_EQ(trie.nodes(), 1u) << "what is empty takes the root alone";
}

}  // namespace
}  // namespace lsn::state
