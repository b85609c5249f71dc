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
#include <set>
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

/// All counters, by the names that operators see, and whether each was moved.
class Moved {
 public:
  static Moved& instance() {
    static Moved moved;
    return moved;
  }

  void look_at(const datapath::Shard& shard) {
    const shared::Counters& counters = shard.counters;
    std::size_t at = 0;
    const auto note = [&](std::uint64_t value) {
      if (value != 0) moved_[at] = true;
      ++at;
    };
    for (const auto& text : shared::protocol_counters())
      for (const auto& protocol : counters.protocols) note(text.read(protocol));
    for (const auto& text : shared::router_counters()) note(text.read(counters));
    for (const auto& text : shared::interface_counters()) {
      std::uint64_t sum = 0;
      for (std::size_t i = 0; i < shard.links.size(); ++i) sum += text.read(counters.interfaces[i]);
      note(sum);
    }
    for (const auto& text : shared::worker_counters()) note(text.read(counters));
    for (const auto& drops : counters.drops) note(drops.get());
    const AlgCounterSet& alg = shard.alg.counters.total;
    for (const auto& counter : alg.counters) note(counter.get());
    for (const auto& gauge : alg.gauges) note(gauge.get());
    for (const auto& bucket : alg.waited) note(bucket.get());
  }

  [[nodiscard]] std::vector<std::string> unmoved() const {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < names_.size(); ++i)
      if (!moved_[i]) names.push_back(names_[i]);
    return names;
  }

 private:
  Moved() {
    constexpr std::string_view kProtocolNames[] = {"TCP", "UDP", "ICMP", "ESP"};
    for (const auto& text : shared::protocol_counters())
      for (const std::string_view protocol : kProtocolNames) add(protocol, text.name);
    for (const auto& text : shared::router_counters()) add("router", text.name);
    for (const auto& text : shared::interface_counters()) add("interface", text.name);
    for (const auto& text : shared::worker_counters()) add("worker", text.name);
    for (const auto& text : shared::kDropReasonTexts) add("drop", text.name);
    for (const auto& text : shared::kAlgCounterTexts) add("alg", text.name);
    for (const auto& text : shared::kAlgGaugeTexts) add("alg", text.name);
    for (std::size_t i = 0; i <= shared::kWaitBounds.size(); ++i) add("waited", std::to_string(i));
    moved_.resize(names_.size());
  }
  void add(std::string_view of, std::string_view name) {
    names_.push_back(std::string(of) + " " + std::string(name));
  }

  std::vector<std::string> names_;
  std::vector<bool> moved_;
};

/// These do not exist: ESP has no mappings of its own and no hairpin.
constexpr std::string_view kImpossible[] = {"ESP mappings", "ESP hairpin_packets",
                                            "ESP hairpin_bytes"};

class EveryCounterIsMoved : public ::testing::Environment {
 public:
  void SetUp() override {
    Lab::observer = [](const datapath::Shard& shard) { Moved::instance().look_at(shard); };
  }

  void TearDown() override {
    const auto* of = ::testing::UnitTest::GetInstance();
    if (GTEST_FLAG_GET(filter) != "*" || of->test_to_run_count() != of->total_test_count()) return;
    std::vector<std::string> unmoved = Moved::instance().unmoved();
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
};

[[maybe_unused]] const auto* const kEnvironment =
    ::testing::AddGlobalTestEnvironment(new EveryCounterIsMoved);

}  // namespace
}  // namespace lsn::test
