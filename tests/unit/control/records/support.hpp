// Records made by hand, and a directory for their files.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "lsn/control/records/record.hpp"

namespace lsn::control {

/// 2026-12-01T00:31:29.120Z
inline constexpr std::int64_t kMoment = 1'796'085'089'120;

inline wire::Be32 be(std::string_view dotted) {
  return wire::parse_ipv4(dotted)->be();
}

inline std::shared_ptr<const RecordNames> names(bool compact = false, bool info = false) {
  auto all = std::make_shared<RecordNames>();
  all->node = "n1";
  all->groups.push_back({"LSN GROUP-1", "LSN-CLIENT-1", info, compact, false, 100});
  return all;
}

inline Record session(shared::LogEvent event, std::int64_t at_ms = kMoment,
                      std::uint16_t nat_port = 40001) {
  Record record;
  shared::LogRecord& r = record.raw;
  r.kind = shared::LogKind::kSession;
  r.event = event;
  r.protocol = shared::Protocol::kTcp;
  r.group = 0;
  r.subscriber = be("192.0.2.7");
  r.subscriber_port = wire::Be16::of(1234);
  r.nat_ip = be("203.0.113.3");
  r.nat_port = wire::Be16::of(nat_port);
  r.remote_ip = be("198.51.100.10");
  r.remote_port = wire::Be16::of(80);
  r.mapping = shared::Dependence::kAddressPort;
  if (event == shared::LogEvent::kDeleted) {
    r.reason = shared::LogReason::kFin;
    r.totals.packets = {10, 8};
    r.totals.bytes = {1000, 4000};
    r.totals.duration = state::TickDuration{1234};
  }
  record.sequence = 17;
  record.at_ms = at_ms;
  record.worker = 0;
  return record;
}

inline std::shared_ptr<RecordBatch> batch_of(std::vector<Record> records,
                                             std::shared_ptr<const RecordNames> of = names()) {
  auto batch = std::make_shared<RecordBatch>();
  batch->records = std::move(records);
  batch->names = std::move(of);
  return batch;
}

class WithDirectory : public ::testing::Test {
 protected:
  WithDirectory() {
    const auto* const test = ::testing::UnitTest::GetInstance()->current_test_info();
    directory_ = std::filesystem::temp_directory_path() /
                 ("lsn-records-" + std::to_string(getpid()) + "-" + test->name());
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }
  ~WithDirectory() override { std::filesystem::remove_all(directory_); }

  [[nodiscard]] std::string path(std::string_view name = "records") const {
    return (directory_ / name).string();
  }
  /// The names of the files, in order.
  [[nodiscard]] std::vector<std::string> files() const {
    std::vector<std::string> all;
    for (const auto& each : std::filesystem::directory_iterator(directory_))
      all.push_back(each.path().filename().string());
    std::sort(all.begin(), all.end());
    return all;
  }
  [[nodiscard]] std::string text(std::string_view name) const {
    std::stringstream text;
    text << std::ifstream(directory_ / name, std::ios::binary).rdbuf();
    return text.str();
  }
  void put(std::string_view name, std::string_view bytes) const {
    std::ofstream(directory_ / name, std::ios::binary) << bytes;
  }

 private:
  std::filesystem::path directory_;
};

}  // namespace lsn::control
