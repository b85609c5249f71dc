// What the service manager hears: the test is the service manager.
#include "lsn/control/service.hpp"

#include <signal.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <sstream>
#include <thread>

#include "lsn/control/controller.hpp"
#include "lsn/control/watchdog.hpp"
#include "unit/control/command/support.hpp"

namespace lsn::control {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class ServiceManager : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/lsn-service-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder = name;
    socket_ = FileDescriptor(::socket(AF_UNIX, SOCK_DGRAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = folder + "/notify";
    path.copy(address.sun_path, path.size());
    ASSERT_EQ(bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    const timeval patience{20, 0};
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setenv("NOTIFY_SOCKET", path.c_str(), 1);
  }
  void TearDown() override {
    unsetenv("NOTIFY_SOCKET");
    std::filesystem::remove_all(folder);
  }

  /// The next message; "" if none comes (MSG_DONTWAIT: if there is none).
  std::string hear(int flags = 0) {
    char text[1024];
    const ssize_t size = recv(socket_.get(), text, sizeof text, flags);
    return size < 0 ? "" : std::string(text, static_cast<std::size_t>(size));
  }

  std::string folder;

 private:
  FileDescriptor socket_;
};

TEST_F(ServiceManager, HearsEachState) {
  tell_service_ready("all is well");
  EXPECT_EQ(hear(), "READY=1\nSTATUS=all is well");
  tell_service_reloading();
  EXPECT_THAT(hear(), StartsWith("RELOADING=1\nMONOTONIC_USEC="));
  tell_service_stopping();
  EXPECT_THAT(hear(), StartsWith("STOPPING=1"));
}

TEST_F(ServiceManager, HearsOfAControllerThatIsReadyWhenAGenerationIsInForceAndNotBefore) {
  Controller::block_signals();
  FakeDataplane dataplane;
  dataplane.hold = true;
  std::ofstream(folder + "/lsnd.conf") << kGoodText;
  Model model = good_model();
  model.dataplane.state_file = "";
  model.control.socket = folder + "/lsnd.sock";
  auto socket = CommandSocket::open(model.control);
  ASSERT_TRUE(socket) << socket.error();
  Controller controller({folder + "/lsnd.conf", model, std::move(*socket)}, dataplane);

  std::vector<std::string> heard;
  std::jthread manager([this, &heard, &dataplane] {
    // Nothing while no worker has taken the generation over, however long the loop has turned.
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    heard.push_back(hear(MSG_DONTWAIT));
    dataplane.hold = false;
    heard.push_back(hear());
    kill(getpid(), SIGHUP);
    heard.push_back(hear());
    heard.push_back(hear());
    kill(getpid(), SIGTERM);
    heard.push_back(hear());
  });
  EXPECT_EQ(controller.run(), 0);
  manager.join();
  EXPECT_THAT(heard, ElementsAre("", HasSubstr("READY=1"), StartsWith("RELOADING=1"),
                                 HasSubstr("READY=1"), StartsWith("STOPPING=1")));
}

TEST_F(ServiceManager, SaysWithinWhichTimeItWantsToHearOfUs) {
  EXPECT_EQ(service_watchdog(), std::nullopt);
  setenv("WATCHDOG_USEC", "10000000", 1);
  EXPECT_EQ(service_watchdog(), std::chrono::seconds(10));
  setenv("WATCHDOG_PID", "1", 1);  // somebody else's
  EXPECT_EQ(service_watchdog(), std::nullopt);
  unsetenv("WATCHDOG_PID");
  unsetenv("WATCHDOG_USEC");
}

/// Two workers, a watchdog that wants a sign within ten seconds, and the log.
class WatchdogTest : public ServiceManager {
 protected:
  WatchdogTest() : watchdog_(dataplane_, std::chrono::seconds(10), now_) {
    auto logger = std::make_shared<spdlog::logger>(
        "test", std::make_shared<spdlog::sinks::ostream_sink_st>(log_));
    logger->set_pattern("%l %v");
    spdlog::set_default_logger(logger);
  }
  ~WatchdogTest() override { spdlog::set_default_logger(before_); }

  /// A second goes by, in which these workers poll; whether there was a sign.
  bool second(std::initializer_list<unsigned> polling) {
    for (const unsigned worker : polling) dataplane_.counters(worker).polls.add();
    now_ += std::chrono::seconds(1);
    watchdog_.tick(now_);
    const std::string heard = hear(MSG_DONTWAIT);
    EXPECT_THAT(heard, testing::AnyOf("", "WATCHDOG=1"));
    return !heard.empty();
  }
  std::string logged() {
    std::string text = log_.str();
    log_.str("");
    return text;
  }

 private:
  std::ostringstream log_;
  std::shared_ptr<spdlog::logger> before_ = spdlog::default_logger();
  FakeDataplane dataplane_;
  Watchdog::Clock::time_point now_{std::chrono::hours(1)};
  Watchdog watchdog_;
};

TEST_F(WatchdogTest, HearsTwicePerIntervalOfWorkersThatPoll) {
  for (int n = 0; n < 3; ++n) {
    for (int i = 0; i < 4; ++i) EXPECT_FALSE(second({0, 1}));
    EXPECT_TRUE(second({0, 1}));
  }
  EXPECT_EQ(logged(), "");
}

TEST_F(WatchdogTest, OnePollPerSignIsEnough) {
  EXPECT_FALSE(second({0}));
  EXPECT_FALSE(second({1}));
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(second({}));
  EXPECT_TRUE(second({}));
}

TEST_F(WatchdogTest, HearsNothingWhileAWorkerStandsStillWhichTheLogNamesOnce) {
  for (int i = 0; i < 60; ++i) EXPECT_FALSE(second({0}));
  EXPECT_EQ(logged(),
            "critical worker 1: CPU 11: it has not polled for 5.0 s; the service manager, which "
            "waits for a sign of life, gets none until it does\n");
  // Those that stand still later are told as well, and what recovers is heard of at once.
  for (int i = 0; i < 60; ++i) EXPECT_FALSE(second({}));
  EXPECT_EQ(logged(), "");
  EXPECT_TRUE(second({1}));
  EXPECT_EQ(logged(), "warning worker 1: polls again\n");
  for (int i = 0; i < 4; ++i) EXPECT_FALSE(second({1}));
  EXPECT_FALSE(second({1}));
  EXPECT_THAT(logged(), StartsWith("critical worker 0: CPU 10: it has not polled for 5.0 s"));
}

TEST_F(ServiceManager, WithoutAWatchdogHearsNoSignOfLife) {
  FakeDataplane dataplane;
  const Watchdog::Clock::time_point start{};
  Watchdog watchdog(dataplane, std::nullopt, start);
  dataplane.counters(0).polls.add();
  dataplane.counters(1).polls.add();
  watchdog.tick(start + std::chrono::hours(1));
  EXPECT_EQ(hear(MSG_DONTWAIT), "");
}

TEST(Service, WithoutAServiceManagerIsNobodysConcern) {
  unsetenv("NOTIFY_SOCKET");
  tell_service_ready("nobody listens");
}

}  // namespace
}  // namespace lsn::control
