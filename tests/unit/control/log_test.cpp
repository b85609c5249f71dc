// The log against readers that stop reading, and that go away: nobody who logs waits for them.
#include "lsn/control/log.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <string>
#include <thread>

#include "lsn/control/file_descriptor.hpp"
#include "unit/control/command/support.hpp"

namespace lsn::control {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class ALog : public testing::Test {
 protected:
  void SetUp() override {
    std::signal(SIGPIPE, SIG_IGN);  // as lsnd does
    ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
    reader = FileDescriptor(open(path.c_str(), O_RDONLY | O_NONBLOCK));
    config.target = path;
    config.level = LogLevel::kInfo;
    ASSERT_TRUE(set_up_log(config));
  }
  void TearDown() override {
    reader.reset();
    finish_log(5s);
    set_up_log_to_stderr();
  }

  /// What there is to be read.
  std::string take() const {
    std::string text;
    char buffer[65536];
    for (ssize_t n; (n = read(reader.get(), buffer, sizeof buffer)) > 0;)
      text.append(buffer, static_cast<std::size_t>(n));
    return text;
  }

  TemporaryDirectory directory;
  std::string path = directory / "log";
  FileDescriptor reader;
  LogConfig config;
};

TEST_F(ALog, IsWrittenLineByLineWithTimeAndLevel) {
  spdlog::info("one {}", 1);
  spdlog::debug("not this");
  spdlog::error("two");
  ASSERT_TRUE(finish_log(5s));
  const std::string text = take();
  EXPECT_THAT(text, testing::ContainsRegex(" info: one 1\n[^\n]* error: two\n$"));
  EXPECT_THAT(text, testing::Not(HasSubstr("not this")));
}

TEST_F(ALog, WhoseReaderStandsStillDelaysNobodyAndTellsWhatWasLost) {
  const std::string line(1000, 'x');
  // Nobody reads until all are given.
  for (unsigned i = 0; i < 20'000; ++i) spdlog::info("{}", line);
  EXPECT_FALSE(finish_log(10ms)) << "the pipe holds less than the queue";
  std::string text;
  while (!finish_log(10ms)) text += take();
  spdlog::info("again");
  while (!finish_log(10ms)) text += take();
  text += take();
  EXPECT_THAT(text, HasSubstr("lines of this log were lost: nobody took them\n"));
  EXPECT_TRUE(text.ends_with(" info: again\n")) << text.substr(text.size() - 200);
}

TEST_F(ALog, WhoseReaderGoesAwayGoesOnWithoutItAndWithTheNextOne) {
  reader.reset();
  for (unsigned i = 0; i < 100; ++i) spdlog::info("to nobody");
  ASSERT_TRUE(finish_log(5s));
  reader = FileDescriptor(open(path.c_str(), O_RDONLY | O_NONBLOCK));
  spdlog::info("to the next");
  ASSERT_TRUE(finish_log(5s));
  const std::string text = take();
  EXPECT_THAT(text, HasSubstr("warning: 100 lines of this log were lost: nobody took them\n"));
  EXPECT_TRUE(text.ends_with(" info: to the next\n"));
}

TEST_F(ALog, MayBeOpenedAnewWhileOthersLog) {
  const auto* const logger = spdlog::default_logger_raw();
  std::atomic<bool> end{false};
  std::thread driver([&end] {
    while (!end) spdlog::info("dpdk: {}", 1);
  });
  for (unsigned i = 0; i < 200; ++i) EXPECT_TRUE(set_up_log(config));
  end = true;
  driver.join();
  // Others have it in their hands at any time: it lives as long as the process.
  EXPECT_EQ(spdlog::default_logger_raw(), logger);
}

TEST_F(ALog, IsNotOpenedWhereNobodyReads) {
  reader.reset();
  const auto opened = set_up_log(config);
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error(), HasSubstr("log.target: given " + path));
}

}  // namespace
}  // namespace lsn::control
