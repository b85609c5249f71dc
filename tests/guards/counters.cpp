// Every counter, gauge and drop reason is moved by a test: the scenarios, run whole, have seen each
// of them other than zero. Linked into `scenario`.
//
// Counters of things that no laboratory has (queues, rings, devices, a clock that runs by itself)
// are moved by another test, which stands in a list here with its file; the file must have that
// test, and the test must name the counter.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "lsn/datapath/shard.hpp"
#include "lsn/shared/counter_list.hpp"
#include "support/lab.hpp"

namespace lsn::test {
namespace {

using shared::AlgCounterSet;

struct Elsewhere {
  std::string_view counter;
  std::string_view file;  ///< in tests/
  std::string_view test;
};
constexpr Elsewhere kElsewhere[] = {
    {"drop link_down", "e2e/test_devices.py", "test_the_outside_link_goes_down_and_comes_back"},
    {"worker polls", "unit/runtime/dataplane_test.cpp",
     "OnOneQueueDevicesTranslateForEachOtherInBothDirections"},
    {"worker idle_polls", "unit/runtime/dataplane_test.cpp",
     "OnOneQueueDevicesTranslateForEachOtherInBothDirections"},
    {"worker busy_cycles", "unit/runtime/dataplane_test.cpp",
     "OnOneQueueDevicesTranslateForEachOtherInBothDirections"},
};

/// The counters that nobody has moved yet, by the names that operators see.
class Unmoved {
 public:
  static Unmoved& instance() {
    static Unmoved unmoved;
    return unmoved;
  }

  void look_at(const datapath::Shard& shard) {
    std::erase_if(left_, [&](const Reader& reader) { return reader.read(shard) != 0; });
  }

  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const Reader& reader : left_) names.push_back(reader.name);
    return names;
  }

 private:
  using Shard = datapath::Shard;
  struct Reader {
    std::string name;
    std::function<std::uint64_t(const Shard&)> read;
  };

  Unmoved() {
    constexpr std::string_view kProtocolNames[] = {"TCP", "UDP", "ICMP", "ESP"};
    for (const auto& text : shared::protocol_counters())
      for (std::size_t i = 0; i < std::size(kProtocolNames); ++i)
        add(kProtocolNames[i], text.name,
            [text, i](const Shard& shard) { return text.read(shard.counters.protocols[i]); });
    for (const auto& text : shared::router_counters())
      add("router", text.name, [text](const Shard& shard) { return text.read(shard.counters); });
    for (const auto& text : shared::interface_counters())
      add("interface", text.name, [text](const Shard& shard) {
        std::uint64_t sum = 0;
        for (std::size_t i = 0; i < shard.links.size(); ++i)
          sum += text.read(shard.counters.interfaces[i]);
        return sum;
      });
    for (const auto& text : shared::worker_counters())
      add("worker", text.name, [text](const Shard& shard) { return text.read(shard.counters); });
    add_each("drop", shared::kDropReasonTexts,
             [](const Shard& shard) -> const auto& { return shard.counters.drops; });
    add_each("alg", shared::kAlgCounterTexts,
             [](const Shard& shard) -> const auto& { return alg(shard).counters; });
    add_each("alg", shared::kAlgGaugeTexts,
             [](const Shard& shard) -> const auto& { return alg(shard).gauges; });
    for (std::size_t i = 0; i <= shared::kWaitBounds.size(); ++i)
      add("waited", std::to_string(i),
          [i](const Shard& shard) { return alg(shard).waited[i].get(); });
  }
  static const AlgCounterSet& alg(const Shard& shard) { return shard.alg.counters.total; }
  void add(std::string_view of, std::string_view name,
           std::function<std::uint64_t(const Shard&)> read) {
    left_.push_back({std::string(of) + " " + std::string(name), std::move(read)});
  }
  /// Those that lie in an array in the order of their texts.
  template <class Texts, class Array>
  void add_each(std::string_view of, const Texts& texts, Array array) {
    for (std::size_t i = 0; i < texts.size(); ++i)
      add(of, texts[i].name,
          [array, i](const Shard& shard) { return (array(shard).begin() + i)->get(); });
  }

  std::vector<Reader> left_;
};

/// These do not exist: ESP has no mappings of its own and no hairpin.
constexpr std::string_view kImpossible[] = {"ESP mappings", "ESP hairpin_packets",
                                            "ESP hairpin_bytes"};

class EveryCounterIsMoved : public ::testing::Environment {
 public:
  void SetUp() override {
    if (is_whole())
      Lab::observer = [](const datapath::Shard& shard) { Unmoved::instance().look_at(shard); };
  }

  void TearDown() override {
    if (!is_whole()) return;
    std::vector<std::string> unmoved = Unmoved::instance().names();
    const auto listed = [&](std::string_view name) {
      return std::erase(unmoved, std::string(name)) != 0;
    };
    for (const std::string_view name : kImpossible)
      EXPECT_TRUE(listed(name)) << name << " was moved: it is no exception";
    for (const Elsewhere& entry : kElsewhere) {
      EXPECT_TRUE(listed(entry.counter))
          << entry.counter << " is moved by scenarios: it needs no entry";
      std::stringstream text;
      text << std::ifstream(std::string(LSN_TESTS) + "/" + std::string(entry.file)).rdbuf();
      const std::string source = text.str();
      const std::size_t begin = source.find(entry.test);
      ASSERT_NE(begin, std::string::npos) << entry.file << " has no " << entry.test;
      const std::string_view counter = entry.counter.substr(entry.counter.find(' ') + 1);
      const std::size_t named = source.find(counter, begin);
      const std::size_t end = std::min(source.find("\n}\n", begin), source.find("\n\n\n", begin));
      EXPECT_LT(named, end) << entry.test << " does not speak of " << counter;
    }
    for (const std::string& name : unmoved) ADD_FAILURE() << "no test has moved " << name;
  }

 private:
  [[nodiscard]] static bool is_whole() {
    const auto* of = ::testing::UnitTest::GetInstance();
    return GTEST_FLAG_GET(filter) == "*" && of->test_to_run_count() == of->total_test_count();
  }
};

[[maybe_unused]] const auto* const kEnvironment =
    ::testing::AddGlobalTestEnvironment(new EveryCounterIsMoved);

}  // namespace
}  // namespace lsn::test
