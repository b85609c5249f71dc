#include "lsn/control/metrics/metrics_server.hpp"

#include <signal.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "unit/control/command/support.hpp"
#include "unit/control/metrics/support.hpp"

namespace lsn::control {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using testing::HasSubstr;
using testing::StartsWith;

std::set<std::string> threads() {
  std::set<std::string> all;
  for (const auto& each : std::filesystem::directory_iterator("/proc/self/task"))
    all.insert(each.path());
  return all;
}

class MetricsServers : public testing::Test {
 protected:
  std::string ask(const std::string& path) {
    WebClient client(listening.port);
    client.send("GET " + path + " HTTP/1.1\r\n\r\n");
    for (unsigned i = 0; i < 5000 && !client.has_ended(); ++i) {
      client.receive();
      std::this_thread::sleep_for(1ms);
    }
    return client.received();
  }
  void tick(Phase phase) { server.tick(steady_clock::now(), phase, bench.config.generation()); }

  Bench bench;
  Listening listening;
  std::set<std::string> before = threads();
  MetricsServer server{std::move(listening.fd), bench.dataplane, bench.config.generation(),
                       steady_clock::now()};
};

TEST_F(MetricsServers, ServesTheTextAndWhatTheControlThreadSays) {
  EXPECT_THAT(ask("/-/ready"), StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(ask("/-/ready"), HasSubstr("no configuration is in force yet\n"));
  tick(Phase::kReady);
  EXPECT_THAT(ask("/-/ready"), StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(ask("/-/healthy"), StartsWith("HTTP/1.1 200 OK\r\n"));
  tick(Phase::kReloading);
  EXPECT_THAT(ask("/-/ready"), HasSubstr("a configuration is on its way to the workers\n"));
  const std::string metrics = ask("/metrics");
  EXPECT_THAT(metrics, HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_THAT(metrics, HasSubstr("\nlsnd_ready 0\n"));
  EXPECT_THAT(ask("/"), HasSubstr("/-/healthy"));
  EXPECT_THAT(ask("/x"), StartsWith("HTTP/1.1 404 "));
}

TEST_F(MetricsServers, TakesOverWhatOnlyTheControlThreadMaySee) {
  shared::PortStatus port;
  port.device = "net_new0";
  bench.dataplane.port_status = {port};
  const auto later = steady_clock::now() + 2s;
  server.tick(later, Phase::kReady, bench.config.generation());
  EXPECT_THAT(ask("/metrics"), HasSubstr("lsnd_device_link_up{device=\"net_new0\"} 0\n"));
}

TEST_F(MetricsServers, ItsThreadTakesNoSignal) {
  const std::set<std::string> now = threads();
  unsigned added = 0;
  for (const std::string& thread : now) {
    if (before.contains(thread)) continue;
    ++added;
    std::ifstream status(thread + "/status");
    std::string blocked;
    for (std::string line; std::getline(status, line);)
      if (line.starts_with("SigBlk:")) blocked = line.substr(7);
    const auto mask = std::stoull(blocked, nullptr, 16);
    for (const int signal : {SIGHUP, SIGTERM, SIGINT})
      EXPECT_NE(mask & 1ULL << (signal - 1), 0U) << signal;
  }
  EXPECT_EQ(added, 1U);
}

TEST(MetricsSocket, IsNoneWhereNothingIsServed) {
  const auto socket = open_metrics_socket({});
  ASSERT_TRUE(socket);
  EXPECT_FALSE(socket->valid());
}

TEST(MetricsSocket, SaysInALineWhatIsWrongWithTheAddress) {
  const Listening taken;
  const std::string there = "127.0.0.1:" + std::to_string(taken.port);
  EXPECT_EQ(open_metrics_socket({there}).error(),
            "metrics.listen: given " + there + ", allowed a port where nobody else listens");
  EXPECT_EQ(open_metrics_socket({"198.51.100.77:9469"}).error(),
            "metrics.listen: given 198.51.100.77:9469, allowed an address that the kernel of this "
            "machine has, or 0.0.0.0");
  EXPECT_THAT(open_metrics_socket({"nowhere"}).error(), HasSubstr("allowed A.B.C.D:PORT"));
}

}  // namespace
}  // namespace lsn::control
