#include "lsn/control/records/alert_watch.hpp"

#include <thread>

#include "unit/control/command/support.hpp"
#include "unit/control/records/support.hpp"

namespace lsn::control {
namespace {

using shared::LogAlert;
using namespace std::chrono_literals;

class AlertWatchTest : public ::testing::Test {
 protected:
  AlertWatchTest()
      : config("lsnd.conf", good_model(), dataplane),
        log(dataplane, config.model(), config.generation()),
        watch(CommandContext{dataplane, config, cleared, false, &log}, log) {
    dataplane.port_status.resize(2);
    for (auto& port : dataplane.port_status) port.link_up = true;
    config.start();
    dataplane.poll();
  }

  void pass(std::chrono::seconds time) {
    for (; time > 0s; time -= 1s) {
      now += 1s;
      watch.tick(now);
      dataplane.poll();
      watch.tick(now);
    }
  }
  /// Whether the alert of that kind and words is raised; nothing: it never was.
  std::optional<bool> raised(LogAlert alert, const std::string& words) {
    for (int i = 0; i < 200; ++i) {
      std::this_thread::sleep_for(10ms);
      for (const AlertBook::Status& status : log.status().alerts)
        if (status.subject.alert == alert && status.subject.words == words) {
          if (i < 3) continue;  // what was set last may be on its way
          return status.raised;
        }
      if (i == 10) break;
    }
    return std::nullopt;
  }

  FakeDataplane dataplane;
  RunningConfig config;
  ClearedCounters cleared;
  LogThread log;
  AlertWatch watch;
  AlertWatch::Time now{1000s};
};

TEST_F(AlertWatchTest, TableIsToldOfFrom80PerCentUntilBelow70) {
  auto& sessions = dataplane.counters(1).protocols[0].sessions;
  sessions.set(799);  // of 1000
  pass(2s);
  EXPECT_EQ(raised(LogAlert::kTableUsage, "sessions of worker 1"), std::nullopt);
  sessions.set(800);
  pass(2s);
  EXPECT_EQ(raised(LogAlert::kTableUsage, "sessions of worker 1"), true);
  EXPECT_EQ(raised(LogAlert::kTableUsage, "sessions of worker 0"), std::nullopt);
  sessions.set(700);
  pass(2s);
  EXPECT_EQ(raised(LogAlert::kTableUsage, "sessions of worker 1"), true);
  sessions.set(699);
  pass(2s);
  EXPECT_EQ(raised(LogAlert::kTableUsage, "sessions of worker 1"), false);
}

TEST_F(AlertWatchTest, LinkThatIsDownIsToldOf) {
  dataplane.port_status[0].link_up = false;
  pass(2s);
  const std::string name = "interface " + config.generation().interfaces[0].name;
  EXPECT_EQ(raised(LogAlert::kLinkDown, name), true);
  dataplane.port_status[0].link_up = true;
  pass(2s);
  EXPECT_EQ(raised(LogAlert::kLinkDown, name), false);
}

TEST_F(AlertWatchTest, PoolOverItsThresholdIsToldOf) {
  const auto& pools = config.generation().pools;
  for (unsigned shard = 0; shard < 2; ++shard) {
    auto& usage = dataplane.answers(shard).usage;
    usage.pools.resize(pools.size());
    usage.pools[0].addresses = 1;
    usage.pools[0].ports[shared::Protocol::kUdp] = 64512 * 95 / 100;
  }
  pass(70s);
  EXPECT_EQ(raised(LogAlert::kPoolUsage, "pool " + pools[0].name), true);
  for (unsigned shard = 0; shard < 2; ++shard)
    dataplane.answers(shard).usage.pools[0].ports[shared::Protocol::kUdp] = 64512 * 79 / 100;
  pass(70s);
  EXPECT_EQ(raised(LogAlert::kPoolUsage, "pool " + pools[0].name), false);
}

TEST_F(AlertWatchTest, NextHopThatNoWorkerReachesIsToldOf) {
  shared::NeighbourRow row;
  row.ip = *wire::parse_ipv4("198.51.100.10");
  row.gateway = true;
  for (unsigned shard = 0; shard < 2; ++shard) dataplane.answers(shard).neighbours = {row};
  pass(70s);
  EXPECT_EQ(raised(LogAlert::kNeighbourUnreachable, "next hop 198.51.100.10"), true);
  dataplane.answers(1).neighbours[0].reachable = true;
  pass(70s);
  EXPECT_EQ(raised(LogAlert::kNeighbourUnreachable, "next hop 198.51.100.10"), false);
}

TEST_F(AlertWatchTest, SinkThatTakesNothingForAMinuteIsToldOf) {
  Model model = config.model();
  model.records.file.resize(1);
  model.records.file[0].path = "/dev/null/records";
  log.configure(model, config.generation());
  log.add_config(shared::LogEvent::kCompleted, "for the sink");
  const auto is_stalled = [this] {
    for (const SinkStatus& sink : log.status().sinks)
      if (sink.stalled) return true;
    return false;
  };
  for (int i = 0; i < 400 && !is_stalled(); ++i) std::this_thread::sleep_for(5ms);
  pass(50s);
  EXPECT_EQ(raised(LogAlert::kRecordsLost, "file /dev/null/records"), std::nullopt);
  pass(15s);
  EXPECT_EQ(raised(LogAlert::kRecordsLost, "file /dev/null/records"), true);
  log.configure(config.model(), config.generation());
  pass(2s);
  EXPECT_EQ(raised(LogAlert::kRecordsLost, "file /dev/null/records"), false);
}

TEST_F(AlertWatchTest, MessagesThatFindAGateTakenAreToldOf) {
  dataplane.alg_counters(0).total.of(shared::AlgCounter::kGateBlocked).add(7);
  pass(2s);
  EXPECT_EQ(raised(LogAlert::kGatesBlocked, "ipsecalg"), true);
}

}  // namespace
}  // namespace lsn::control
