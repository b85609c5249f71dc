#include "lsn/control/config/reload_diff.hpp"

#include <functional>

#include "support.hpp"

namespace lsn::control {
namespace {

using testing::HasSubstr;

std::vector<Problem> diff_after(const std::function<void(Model&)>& change) {
  Model wanted = good_model();
  change(wanted);
  return diff_for_reload(good_model(), wanted);
}

TEST(ReloadDiff, WhatNeedsARestartIsRefusedWithThatWord) {
  const std::vector<std::pair<std::function<void(Model&)>, std::string>> changes{
      {[](Model& m) { m.dataplane.workers = {1}; }, "dataplane: workers: from 1, 2 to 1 "},
      {[](Model& m) { m.dataplane.workers = {2, 1}; }, "workers"},
      {[](Model& m) { m.dataplane.max_sessions *= 2; }, "maxSessions: from 65536 to 131072"},
      {[](Model& m) { m.dataplane.eal.clear(); }, "eal: from --in-memory, --no-pci to nothing"},
      {[](Model& m) { m.dataplane.state_file = ""; }, "stateFile"},
      {[](Model& m) { m.dataplane.power_save = true; }, "powerSave"},
      {[](Model& m) { m.dataplane.fragments.max = 5; }, "dataplane: fragments: max"},
      {[](Model& m) { m.dataplane.alg.max_gates = 100; }, "maxGates"},
      {[](Model& m) { m.dataplane.alg.max_held_bytes = 100000; }, "maxHeldBytes"},
      {[](Model& m) { m.interfaces[1].mtu = 1500; }, "interface out: mtu: from 1400 to 1500"},
      {[](Model& m) { m.interfaces[1].vlan = 5; }, "interface out: vlan"},
      {[](Model& m) { m.interfaces[1].mac = wire::MacAddress{2}; }, "interface out: mac"},
      {[](Model& m) { m.interfaces[1].address.length = 25; }, "interface out: address"},
      {[](Model& m) { m.interfaces[1].device = "net_null0"; }, "interface out: device"},
      {[](Model& m) { m.interfaces.erase(m.interfaces.begin()); }, "removing interface in "},
      {[](Model& m) {
         m.interfaces.push_back(m.interfaces[0]);
         m.interfaces.back().name = "third";
       },
       "adding interface third"},
      {[](Model& m) { m.control.socket = "/run/x"; }, "control: socket"},
      {[](Model& m) { m.control.group = "wheel"; }, "control: group: from nothing to wheel"},
      {[](Model& m) { m.log.target = "syslog"; }, "log: target"},
      {[](Model& m) { m.metrics.listen = "0.0.0.0:9469"; },
       "metrics: listen: from nothing to 0.0.0.0:9469"},
  };
  for (const auto& [change, words] : changes) {
    const auto problems = diff_after(change);
    ASSERT_EQ(problems.size(), 1U) << words << '\n' << to_string(problems);
    EXPECT_THAT(to_string(problems[0]), HasSubstr(words));
    EXPECT_THAT(to_string(problems[0]), HasSubstr("restart"));
    EXPECT_EQ(to_string(problems[0]).find('\n'), std::string::npos);
  }
}

TEST(ReloadDiff, AllDifferencesAreListed) {
  const auto problems = diff_after([](Model& m) {
    m.dataplane.workers = {3};
    m.interfaces[0].mtu = 1400;
    m.interfaces[0].rx_queue_size = 512;
  });
  EXPECT_EQ(problems.size(), 3U) << to_string(problems);
}

TEST(ReloadDiff, EverythingElseIsAppliedAtRunTime) {
  EXPECT_TRUE(diff_after([](Model&) {}).empty());
  EXPECT_TRUE(diff_after([](Model& m) {
                m.dataplane.inbound_refresh = false;
                m.dataplane.unreachable.code = 1;
                m.dataplane.unreachable.rate = 1;
                m.dataplane.fragments.timeout = Seconds{9};
                m.log.level = LogLevel::kDebug;
                m.routes.clear();
                m.lsn = {};
                m.ipsecalg = {};
              }).empty());
}

TEST(ReloadDiff, TheOrderOfInterfacesIsNoDifference) {
  EXPECT_TRUE(diff_after([](Model& m) { std::swap(m.interfaces[0], m.interfaces[1]); }).empty());
}

TEST(ReloadDiff, TrafficDomainsAreAppliedAtRunTime) {
  // Of an interface, a client's network, a static mapping, an access list and a route.
  EXPECT_TRUE(diff_after([](Model& m) { m.interfaces[0].td = 7; }).empty());
  EXPECT_TRUE(diff_after([](Model& m) { m.lsn.client[0].network[0].td = 7; }).empty());
  EXPECT_TRUE(diff_after([](Model& m) { m.routes.push_back({{}, {}, 7}); }).empty());
  EXPECT_TRUE(diff_after([](Model& m) {
                m.lsn.acl.emplace_back();
                m.lsn.acl.back().td = 7;
              }).empty());
  Model running = good_model();
  running.lsn.statics.emplace_back();
  Model wanted = running;
  wanted.lsn.statics[0].td = 7;
  EXPECT_TRUE(diff_for_reload(running, wanted).empty());
}

TEST(ReloadDiff, TheDomainOfAnInterfaceThatChangesOtherwiseIsNotBlamed) {
  const auto problems = diff_after([](Model& m) {
    m.interfaces[0].td = 7;
    m.interfaces[0].mtu = 1400;
  });
  ASSERT_EQ(problems.size(), 1U) << to_string(problems);
  EXPECT_THAT(to_string(problems[0]), HasSubstr("interface in: mtu"));
}

}  // namespace
}  // namespace lsn::control
