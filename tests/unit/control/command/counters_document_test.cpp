// docs/counters.md has every counter and every drop reason, with the sentences that the programs
// say.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

#include "../config/support.hpp"
#include "lsn/shared/counter_list.hpp"
#include "lsn/shared/drop_reason.hpp"

namespace lsn::control {
namespace {

class CountersDocument : public ::testing::Test {
 protected:
  void expect_row(std::string_view name, std::string_view kind, std::string_view meaning) const {
    EXPECT_NE(text_.find(fmt::format("\n| `{}` | {}{} |", name, kind, meaning)), std::string::npos)
        << name;
  }

  template <class Counters>
  void expect_rows(const Counters& counters) const {
    ASSERT_FALSE(counters.empty());
    for (const auto& counter : counters)
      expect_row(counter.name,
                 counter.kind == shared::CounterKind::kGauge ? "gauge | " : "counter | ",
                 counter.meaning);
  }

 private:
  const std::string text_ = [] {
    std::stringstream text;
    text << std::ifstream(project_file("docs/counters.md")).rdbuf();
    return text.str();
  }();
};

TEST_F(CountersDocument, HasEveryCounter) {
  expect_rows(shared::protocol_counters());
  expect_rows(shared::router_counters());
  expect_rows(shared::interface_counters());
  expect_rows(shared::worker_counters());
  expect_rows(shared::device_counters());
}

TEST_F(CountersDocument, HasEveryCounterOfTheAlg) {
  for (const auto& text : shared::kAlgGaugeTexts) expect_row(text.name, "gauge | ", text.meaning);
  for (const auto& text : shared::kAlgCounterTexts)
    expect_row(text.name, "counter | ", text.meaning);
}

TEST_F(CountersDocument, HasEveryDropReason) {
  for (const shared::DropReasonText& text : shared::kDropReasonTexts)
    expect_row(text.name, "", text.meaning);
}

}  // namespace
}  // namespace lsn::control
