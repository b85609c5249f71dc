#include "lsn/state/port_allocator.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <tuple>
#include <vector>

#include "lsn/state/memory.hpp"
#include "support.hpp"

namespace lsn::state {
namespace {

class Ports : public testing::Test {
 protected:
  std::uint32_t random() { return random_.next(); }

  void take_all_but(const std::set<std::uint16_t>& free) {
    for (std::uint32_t port = 0; port < 65536; ++port) {
      if (!free.contains(static_cast<std::uint16_t>(port))) {
        ASSERT_TRUE(ports_.take_exact(static_cast<std::uint16_t>(port)));
      }
    }
  }

  PortBitmap ports_;
  Random random_{test::seed_of(5)};
};

TEST_F(Ports, AreAllFreeAtFirst) {
  EXPECT_EQ(ports_.taken(), 0u);
  for (std::uint32_t port = 0; port < 65536; ++port) {
    ASSERT_FALSE(ports_.is_taken(static_cast<std::uint16_t>(port)));
  }
}

TEST_F(Ports, AreTakenOnce) {
  EXPECT_TRUE(ports_.take_exact(500));
  EXPECT_TRUE(ports_.is_taken(500));
  EXPECT_FALSE(ports_.take_exact(500));
  EXPECT_EQ(ports_.taken(), 1u);
  ports_.release(500);
  EXPECT_FALSE(ports_.is_taken(500));
  EXPECT_EQ(ports_.taken(), 0u);
  EXPECT_TRUE(ports_.take_exact(500));
}

TEST_F(Ports, DoNotMindBeingReleasedTwice) {
  ASSERT_TRUE(ports_.take_exact(1));
  ports_.release(1);
  ports_.release(1);
  EXPECT_EQ(ports_.taken(), 0u);
}

TEST_F(Ports, ComeFromTheRangeToTheLastOne) {
  for (const auto& [first, last] :
       std::vector<std::pair<std::uint16_t, std::uint16_t>>{{0, 1023},
                                                            {1024, 65535},
                                                            {63, 64},
                                                            {64, 127},
                                                            {4095, 4096},
                                                            {7, 7},
                                                            {65535, 65535},
                                                            {0, 65535}}) {
    PortBitmap ports;
    const std::uint32_t count = std::uint32_t{last} - first + 1;
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto port = ports.take(first, last, Parity::kAny, random());
      ASSERT_TRUE(port.has_value()) << first << "-" << last << " after " << i;
      ASSERT_GE(*port, first);
      ASSERT_LE(*port, last);
      ASSERT_TRUE(ports.is_taken(*port));
      ASSERT_EQ(ports.taken(), i + 1);
    }
    EXPECT_EQ(ports.take(first, last, Parity::kAny, random()), std::nullopt);
    EXPECT_EQ(ports.taken(), count);
  }
}

TEST_F(Ports, KeepTheParityToTheLastOne) {
  for (const auto& [first, last] :
       std::vector<std::pair<std::uint16_t, std::uint16_t>>{{0, 65535}, {1023, 2001}, {5, 6}}) {
    PortBitmap ports;
    for (const Parity parity : {Parity::kEven, Parity::kOdd}) {
      std::uint32_t count = 0;
      for (std::uint32_t port = first; port <= last; ++port) {
        count += parity_of(static_cast<std::uint16_t>(port)) == parity ? 1 : 0;
      }
      for (std::uint32_t i = 0; i < count; ++i) {
        const auto port = ports.take(first, last, parity, random());
        ASSERT_TRUE(port.has_value());
        ASSERT_EQ(parity_of(*port), parity);
        ASSERT_GE(*port, first);
        ASSERT_LE(*port, last);
      }
      EXPECT_EQ(ports.take(first, last, parity, random()), std::nullopt);
    }
    EXPECT_EQ(ports.taken(), std::uint32_t{last} - first + 1);
  }
}

TEST_F(Ports, AreNoneInARangeWithoutTheParity) {
  EXPECT_EQ(ports_.take(7, 7, Parity::kEven, random()), std::nullopt);
  EXPECT_EQ(ports_.take(65535, 65535, Parity::kEven, random()), std::nullopt);
  EXPECT_EQ(ports_.take(0, 0, Parity::kOdd, random()), std::nullopt);
}

TEST_F(Ports, AreNoneInARangeThatEndsBeforeItBegins) {
  EXPECT_EQ(ports_.take(8, 7, Parity::kAny, random()), std::nullopt);
}

TEST_F(Ports, TheLastFreeOneIsFoundFromEverywhere) {
  for (const int free : {0, 1, 63, 64, 4095, 4096, 32767, 65472, 65534, 65535}) {
    const auto last_free = static_cast<std::uint16_t>(free);
    ports_ = PortBitmap{};
    take_all_but({last_free});
    ASSERT_EQ(ports_.taken(), 65535u);
    for (int turn = 0; turn < 300; ++turn) {
      ASSERT_EQ(ports_.take(0, 65535, Parity::kAny, random()), last_free);
      ASSERT_EQ(ports_.take(0, 65535, Parity::kAny, random()), std::nullopt);
      ports_.release(last_free);
      ASSERT_EQ(ports_.take(0, 65535, parity_of(last_free), random()), last_free);
      ports_.release(last_free);
    }
  }
}

TEST_F(Ports, OfTheOtherParityOrOutsideTheRangeAreNoHelp) {
  take_all_but({1000, 2001, 3000});
  EXPECT_EQ(ports_.take(1001, 2999, Parity::kEven, random()), std::nullopt);
  EXPECT_EQ(ports_.take(1001, 2999, Parity::kOdd, random()), 2001);
  EXPECT_EQ(ports_.take(1001, 2999, Parity::kAny, random()), std::nullopt);
  EXPECT_EQ(ports_.take(1001, 3000, Parity::kAny, random()), 3000);
  EXPECT_EQ(ports_.take(1000, 1000, Parity::kAny, random()), 1000);
}

TEST_F(Ports, AreAsLikelyAsEachOtherWhileHalfOfThemAreFree) {
  // Take half of them, then look which of the free ones comes next, 200,000 times.
  for (int i = 0; i < 32256; ++i) {
    ASSERT_TRUE(ports_.take(1024, 65535, Parity::kAny, random()).has_value());
  }
  constexpr int kBins = 63;
  std::vector<double> free_in(kBins);
  std::vector<int> taken_in(kBins);
  for (std::uint32_t port = 1024; port < 65536; ++port) {
    free_in[(port - 1024) / 1024] += ports_.is_taken(static_cast<std::uint16_t>(port)) ? 0 : 1;
  }
  constexpr int kDraws = 200'000;
  for (int i = 0; i < kDraws; ++i) {
    const auto port = ports_.take(1024, 65535, Parity::kAny, random());
    ASSERT_TRUE(port.has_value());
    ++taken_in[(*port - 1024) / 1024];
    ports_.release(*port);
  }
  double chi_squared = 0;
  for (int i = 0; i < kBins; ++i) {
    const double expected = kDraws * free_in[i] / 32256;
    chi_squared += (taken_in[i] - expected) * (taken_in[i] - expected) / expected;
  }
  EXPECT_LT(chi_squared, 120);  // 62 degrees of freedom; the seed is fixed
}

TEST_F(Ports, AreForetoldAtEveryFill) {
  for (int i = 0; i < 64'512; ++i) {
    const std::uint32_t word = random();
    const Parity parity = i % 3 == 0 ? Parity::kAny : i % 3 == 1 ? Parity::kEven : Parity::kOdd;
    const auto expected = ports_.find(1024, 65535, parity, word);
    const auto first = PortBitmap::first_try(1024, 65535, parity, word);
    ASSERT_TRUE(first);
    // What the first try finds free is what is taken while there are many.
    if (i < 48'000 && parity == Parity::kAny && !ports_.is_taken(*first)) {
      ASSERT_EQ(expected, first);
    }
    ASSERT_EQ(ports_.take(1024, 65535, parity, word), expected);
  }
  EXPECT_FALSE(ports_.find(5, 4, Parity::kAny, random()));
  EXPECT_FALSE(ports_.find(4, 4, Parity::kOdd, random()));
  EXPECT_FALSE(PortBitmap::first_try(4, 4, Parity::kOdd, random()));
}

TEST_F(Ports, DoNotFollowEachOther) {
  int neighbours = 0;
  std::uint16_t before = 0;
  for (int i = 0; i < 20'000; ++i) {
    const auto port = ports_.take(1024, 65535, Parity::kAny, random());
    ASSERT_TRUE(port.has_value());
    neighbours += std::abs(int{*port} - int{before}) <= 1 ? 1 : 0;
    before = *port;
  }
  EXPECT_LT(neighbours, 10);
}

TEST_F(Ports, AreCountedByClass) {
  const auto full = [&] {
    unsigned set = 0;
    for (unsigned c = 0; c < kPortClasses; ++c) set |= ports_.is_full(c) ? 1u << c : 0u;
    return set;
  };
  EXPECT_EQ(full(), 0u);
  unsigned expected = 0;
  for (const auto& [first, last, parity] :
       std::vector<std::tuple<std::uint16_t, std::uint16_t, Parity>>{{1024, 65535, Parity::kOdd},
                                                                     {0, 0, Parity::kAny},
                                                                     {1, 1023, Parity::kEven},
                                                                     {1024, 65535, Parity::kAny},
                                                                     {1, 1023, Parity::kAny}}) {
    std::uint16_t last_taken = 0;
    while (const auto port = ports_.take(first, last, parity, random())) {
      ASSERT_EQ(1u << class_of_port(*port) & classes_of(first, last, parity),
                1u << class_of_port(*port));
      last_taken = *port;
    }
    expected |= classes_of(first, last, parity);
    EXPECT_EQ(full(), expected);
    ports_.release(last_taken);
    EXPECT_EQ(full(), expected & ~(1u << class_of_port(last_taken)));
    EXPECT_TRUE(ports_.take_exact(last_taken));
    EXPECT_EQ(full(), expected);
  }
  EXPECT_EQ(full(), (1u << kPortClasses) - 1);
  EXPECT_EQ(classes_of(0, 65535, Parity::kAny), (1u << kPortClasses) - 1);
  EXPECT_EQ(ports_.taken(), 65536u);
}

TEST_F(Ports, AreHardToGuessAlsoWhereFewAreFree) {
  // Each of the last hundred free ones is given now and then, none more than a few times as often
  // as it should.
  std::set<std::uint16_t> free;
  while (free.size() < 100) free.insert(static_cast<std::uint16_t>(1024 + random() % 64512));
  take_all_but(free);
  std::map<std::uint16_t, int> given;
  for (int i = 0; i < 20'000; ++i) {
    const auto port = ports_.take(1024, 65535, Parity::kAny, random());
    ASSERT_TRUE(port.has_value());
    ++given[*port];
    ports_.release(*port);
  }
  EXPECT_GT(given.size(), 90u);
  for (const auto& [port, n] : given) EXPECT_LT(n, 20'000 / 10) << port;
}

TEST_F(Ports, WorkInZeroedMemory) {
  test::WatchedMemory memory;
  ParallelArray<PortBitmap> many(10'000, &memory);
  EXPECT_EQ(memory.touched_pages(), 0u);
  EXPECT_TRUE(many[5'000].take(1024, 65535, Parity::kAny, random()).has_value());
  EXPECT_EQ(many[5'000].taken(), 1u);
  EXPECT_LE(memory.touched_pages(), 2u);
  EXPECT_EQ(many[5'001].taken(), 0u);
}

TEST_F(Ports, AgreeWithASetWhateverIsDoneToThem) {
  auto generator = test::seeded_generator();
  std::vector<bool> model(65536);
  std::uint32_t model_taken = 0;
  const auto any_port = [&] { return static_cast<std::uint16_t>(generator()); };
  for (int step = 0; step < 300'000; ++step) {
    // Phases of growth up to full and of shrinking.
    const bool growing = step / 75'000 % 2 == 0;
    if (generator() % 100 < (growing ? 95u : 20u)) {
      auto first = any_port();
      auto last = any_port();
      if (generator() % 4 != 0) first = static_cast<std::uint16_t>(first % 64), last |= 0xFFC0;
      if (generator() % 8 == 0) last = static_cast<std::uint16_t>(first | 0x3F);
      const auto parity = static_cast<Parity>(generator() % 3);
      const auto fits = [&](std::uint32_t port) {
        return parity == Parity::kAny || parity_of(static_cast<std::uint16_t>(port)) == parity;
      };
      const auto port = ports_.take(first, last, parity, static_cast<std::uint32_t>(generator()));
      if (port.has_value()) {
        ASSERT_TRUE(*port >= first && *port <= last && fits(*port));
        ASSERT_FALSE(model[*port]) << "given twice";
        model[*port] = true;
        ++model_taken;
      } else if (generator() % 16 == 0) {  // a slow look; one in sixteen is enough
        for (std::uint32_t p = first; p <= last; ++p) {
          ASSERT_TRUE(!fits(p) || model[p]) << p << " is free";
        }
      }
    } else if (generator() % 2 == 0) {
      const auto port = any_port();
      ASSERT_EQ(ports_.take_exact(port), !model[port]);
      model_taken += model[port] ? 0 : 1;
      model[port] = true;
    } else {
      const auto port = any_port();
      ports_.release(port);
      model_taken -= model[port] ? 1 : 0;
      model[port] = false;
    }
    ASSERT_EQ(ports_.taken(), model_taken);
  }
  for (std::uint32_t port = 0; port < 65536; ++port) {
    ASSERT_EQ(ports_.is_taken(static_cast<std::uint16_t>(port)), model[port]);
  }
}

TEST(PortBitmap, WordsAreTakenAndGivenBackLikeTheirPorts) {
  PortBitmap by_word, by_port;
  const auto expect_alike = [&] {
    EXPECT_EQ(by_word.taken(), by_port.taken());
    for (unsigned c = 0; c < kPortClasses; ++c) EXPECT_EQ(by_word.is_full(c), by_port.is_full(c));
    for (const Parity parity : {Parity::kAny, Parity::kEven, Parity::kOdd})
      for (std::uint32_t random : {0u, 0x40000000u, 0x80000001u, 0xFFFFFFFFu})
        EXPECT_EQ(by_word.find(0, 65535, parity, random), by_port.find(0, 65535, parity, random));
  };
  for (std::uint32_t word = 0; word < 1024; ++word) {
    const std::uint64_t ports = word % 3 == 0 ? ~std::uint64_t{0} : 0x5555000000000003 << word % 7;
    by_word.take_word(word, ports);
    for (unsigned bit = 0; bit < 64; ++bit)
      if ((ports >> bit & 1) != 0) {
        ASSERT_TRUE(by_port.take_exact(static_cast<std::uint16_t>(word * 64 + bit)));
      }
  }
  expect_alike();
  for (std::uint32_t word = 0; word < 1024; word += 2) {
    const std::uint64_t ports = by_word.taken_word(word) & 0xFFFF0000FFFF0001;
    by_word.release_word(word, ports);
    for (unsigned bit = 0; bit < 64; ++bit)
      if ((ports >> bit & 1) != 0) by_port.release(static_cast<std::uint16_t>(word * 64 + bit));
  }
  expect_alike();
  for (std::uint32_t word = 0; word < 1024; ++word) {
    by_word.take_word(word, ~by_word.taken_word(word));
    for (unsigned bit = 0; bit < 64; ++bit)
      (void)by_port.take_exact(static_cast<std::uint16_t>(word * 64 + bit));
  }
  expect_alike();
  EXPECT_EQ(by_word.taken(), 65536u);
}

}  // namespace
}  // namespace lsn::state
