#include "lsn/control/command/report.hpp"

#include <set>

#include "lsn/shared/counter_list.hpp"
#include "unit/control/command/support.hpp"

namespace lsn::control {
namespace {

using shared::Counters;
using shared::DropReason;
using shared::Protocol;
using testing::ContainsRegex;
using testing::HasSubstr;

/// Two workers that have counted something.
struct BusyBench : Bench {
  BusyBench() {
    for (unsigned shard = 0; shard < 2; ++shard) {
      Counters& c = dataplane.counters(shard);
      auto& udp = c.of(Protocol::kUdp);
      udp.sessions.set(10 + shard);
      udp.mappings.set(3);
      udp.created.add(100);
      udp.ended[0].add(50);
      udp.ended[1].add(20);
      udp.ended[2].add(5);
      udp.translated[0].add(1000, 64'000);
      udp.translated[1].add(500, 32'000);
      udp.hairpinned.add(7, 700);
      udp.icmp_errors[0].add(1);
      udp.icmp_errors[1].add(2);
      c.of(Protocol::kTcp).sessions.set(4);
      c.subscribers.set(6);
      c.consumed.add(9);
      c.interfaces[0].rx.add(1234567, 1'000'000);
      c.interfaces[1].tx.add(40, 4000);
      c.handoff_sent.add(11 + shard);
      c.handoff_received.add(12 - shard);
      c.polls.add(1000);
      c.idle_polls.add(750);
      c.generation.set(1);
      c.drop(DropReason::kNoRoute, 3 + shard);
    }
    dataplane.counters(0).drop(DropReason::kFiltered, 1'000'000);
    shared::PortStatus inside;
    inside.device = "net_tap0,iface=t0";
    inside.driver = "net_tap";
    inside.link_up = true;
    inside.speed_mbps = 10'000;
    inside.mac = "02:00:00:00:00:01";
    inside.rx_queues = 2;
    inside.tx_queues = 2;
    inside.steering = "RSS by source address";
    inside.rx_missed = 17;
    shared::PortStatus outside;
    outside.device = "0000:03:00.0";
    outside.removed = true;
    dataplane.port_status = {inside, outside};
  }
};

TEST(StatLsn, AddsAllWorkersUp) {
  BusyBench bench;
  const auto json = bench.json("stat lsn");
  EXPECT_EQ(json["generation"], 1);
  EXPECT_EQ(json["workers"], 2);
  EXPECT_EQ(json["sessions"], 10 + 11 + 8);
  EXPECT_EQ(json["subscribers"], 12);
  EXPECT_EQ(json["consumed"], 18);
  EXPECT_EQ(json["drops"], 1'000'007);
  EXPECT_EQ(json["capacity"],
            nlohmann::json({{"sessions", 2000}, {"mappings", 4000}, {"subscribers", 6000}}));
  ASSERT_EQ(json["protocols"].size(), 4U);
  EXPECT_EQ(json["protocols"][1], nlohmann::json({{"protocol", "UDP"},
                                                  {"sessions", 21},
                                                  {"mappings", 6},
                                                  {"created", 200},
                                                  {"expired", 100},
                                                  {"flushed", 40},
                                                  {"ended_by_reload", 10},
                                                  {"withdrawn", 0},
                                                  {"outbound_packets", 2000},
                                                  {"outbound_bytes", 128'000},
                                                  {"inbound_packets", 1000},
                                                  {"inbound_bytes", 64'000},
                                                  {"hairpin_packets", 14},
                                                  {"hairpin_bytes", 1400},
                                                  {"outbound_icmp_errors", 2},
                                                  {"inbound_icmp_errors", 4}}));
  EXPECT_EQ(json["protocols"][0]["protocol"], "TCP");
  EXPECT_EQ(json["protocols"][0]["sessions"], 8);
}

TEST(StatLsn, PrintsTablesWithTotals) {
  BusyBench bench;
  const std::string text = bench.text("stat lsn");
  EXPECT_THAT(text, ContainsRegex("protocol +sessions +mappings +created"));
  EXPECT_THAT(text, ContainsRegex("UDP +21 +6 +200 +100 +40 +10 +0\n"));
  EXPECT_THAT(text, ContainsRegex("total +29 +6 +200"));
  EXPECT_THAT(text, ContainsRegex("subscribers +12 +6,000\n"));
  EXPECT_THAT(text, ContainsRegex("sessions +29 +2,000\n"));
}

TEST(StatInterface, CountsByInterfaceAndShowsTheDevices) {
  BusyBench bench;
  const auto json = bench.json("stat interface");
  ASSERT_EQ(json["interfaces"].size(), 2U);
  EXPECT_EQ(json["interfaces"][0], nlohmann::json({{"name", "in"},
                                                   {"role", "inside"},
                                                   {"device", "net_tap0,iface=t0"},
                                                   {"vlan", 0},
                                                   {"mtu", 1500},
                                                   {"address", "192.0.2.1/24"},
                                                   {"link", "up"},
                                                   {"rx_packets", 2'469'134},
                                                   {"rx_bytes", 2'000'000},
                                                   {"tx_packets", 0},
                                                   {"tx_bytes", 0}}));
  EXPECT_EQ(json["interfaces"][1]["link"], "removed");
  EXPECT_EQ(json["interfaces"][1]["tx_packets"], 80);
  ASSERT_EQ(json["devices"].size(), 2U);
  EXPECT_EQ(json["devices"][0]["rx_missed"], 17);
  EXPECT_EQ(json["devices"][0]["steering"], "RSS by source address");
  EXPECT_EQ(json["devices"][0]["speed_mbps"], 10'000);

  const std::string text = bench.text("stat interface");
  EXPECT_THAT(text, ContainsRegex("in +inside +192.0.2.1/24 +- +1500 +up +2,469,134"));
  EXPECT_THAT(text, ContainsRegex("out +outside +198.51.100.1/24 +- +1400 +removed"));
  EXPECT_THAT(text, ContainsRegex("total +2,469,134"));
  EXPECT_THAT(text, HasSubstr("10 Gbit/s"));
  EXPECT_THAT(text, HasSubstr("net_tap0,iface=t0: RSS by source address\n"));
}

TEST(StatInterface, ShowsKernelInterfacesWhereThereAreSome) {
  BusyBench bench;
  EXPECT_THAT(bench.text("stat interface"), testing::Not(HasSubstr("kernel")));
  bench.dataplane.kernel_status = {std::nullopt, shared::KernelStatus{"k-out", "routers", true}};
  const auto json = bench.json("stat interface");
  EXPECT_FALSE(json["interfaces"][0].contains("kernel"));
  EXPECT_EQ(json["interfaces"][1]["kernel"],
            nlohmann::json({{"name", "k-out"}, {"netns", "routers"}, {"present", true}}));
  EXPECT_EQ(json["interfaces"][1]["to_kernel_packets"], 0);
  EXPECT_THAT(bench.text("stat interface"), ContainsRegex("out +k-out +routers +present +0 +0"));
  bench.dataplane.kernel_status[1]->present = false;
  EXPECT_THAT(bench.text("stat interface"), ContainsRegex("out +k-out +routers +deleted"));
}

TEST(StatInterface, ShowsInterfacesWhoseDeviceIsUnknown) {
  BusyBench bench;
  bench.dataplane.port_status.clear();
  EXPECT_EQ(bench.json("stat interface")["interfaces"][0]["link"], "down");
}

TEST(StatWorker, ShowsEachWorkerAndAllOfThem) {
  BusyBench bench;
  const auto json = bench.json("stat worker");
  ASSERT_EQ(json["workers"].size(), 2U);
  const auto& second = json["workers"][1];
  EXPECT_EQ(second["worker"], 1);
  EXPECT_EQ(second["cpu"], 11);
  EXPECT_EQ(second["numa_node"], 1);
  EXPECT_EQ(second["sessions"], 15);
  EXPECT_EQ(second["mappings"], 3);
  EXPECT_EQ(second["subscribers"], 6);
  EXPECT_EQ(second["rx_packets"], 1'234'567);
  EXPECT_EQ(second["tx_packets"], 40);
  EXPECT_EQ(second["drops"], 4);
  EXPECT_EQ(second["handoff"], 12);
  EXPECT_EQ(second["handoff_sent"], 12);
  EXPECT_EQ(second["handoff_received"], 11);
  EXPECT_EQ(second["polls"], 1000);
  EXPECT_EQ(second["idle_polls"], 750);
  EXPECT_EQ(second["generation"], 1);
  EXPECT_EQ(second["capacity"]["sessions"], 1000);

  const std::string text = bench.text("stat worker");
  EXPECT_THAT(text,
              ContainsRegex("0 +10 +0 +25.0 % +14 +1,000 +6 +1,234,567 +40 +11 +12 +1,000,003"));
  EXPECT_THAT(text, ContainsRegex("total +29 +2,000 +12 +2,469,134 +80 +23 +23 +1,000,007"));
}

TEST(ShowDrops, ListsEveryReasonForProgramsAndThoseThatHappenedForPeople) {
  BusyBench bench;
  const auto json = bench.json("show drops");
  EXPECT_EQ(json["packets"], 1'000'007);
  ASSERT_EQ(json["drops"].size(), shared::kDropReasons);
  std::set<std::string> reasons;
  for (const auto& drop : json["drops"]) {
    reasons.insert(drop["reason"]);
    ASSERT_EQ(drop["workers"].size(), 2U);
    EXPECT_EQ(drop["packets"], drop["workers"][0].get<int>() + drop["workers"][1].get<int>());
    if (drop["reason"] == "no_route") {
      EXPECT_EQ(drop["packets"], 7);
      EXPECT_EQ(drop["workers"], nlohmann::json({3, 4}));
      EXPECT_EQ(drop["meaning"], "No route covers the packet's destination.");
    }
  }
  EXPECT_EQ(reasons.size(), shared::kDropReasons);

  const std::string text = bench.text("show drops");
  EXPECT_THAT(text, ContainsRegex("reason +packets +worker 0 +worker 1 +meaning\n"));
  EXPECT_THAT(text,
              ContainsRegex("no_route +7 +3 +4 +No route covers the packet's destination.\n"));
  EXPECT_THAT(text, ContainsRegex("total +1,000,007 +1,000,003 +4\n"));
  EXPECT_THAT(text, testing::Not(HasSubstr("tx_full")));
}

TEST(RunningConfigCommand, PrintsAFileThatGivesTheSame) {
  Bench bench;
  const std::string text = bench.text("show running config");
  EXPECT_EQ(model_of(text), good_model());
  EXPECT_EQ(bench.json("show running config"), nlohmann::json({{"config", text}}));
}

TEST(CounterNames, AreOnesThatADocumentCanHave) {
  std::set<std::string_view> names{"generation", "workers", "sessions",
                                   "capacity",   "drops",   "protocols"};
  for (const auto& counter : shared::router_counters())
    EXPECT_TRUE(names.insert(counter.name).second) << counter.name;
  names = {"protocol"};
  for (const auto& counter : shared::protocol_counters())
    EXPECT_TRUE(names.insert(counter.name).second) << counter.name;
  names = {"name", "role", "device", "vlan", "mtu", "address", "link"};
  for (const auto& counter : shared::interface_counters())
    EXPECT_TRUE(names.insert(counter.name).second) << counter.name;
  names = {"worker",      "cpu",       "numa_node",  "capacity",   "sessions", "mappings",
           "subscribers", "displaced", "rx_packets", "tx_packets", "drops",    "handoff"};
  for (const auto& counter : shared::worker_counters())
    EXPECT_TRUE(names.insert(counter.name).second) << counter.name;
}

}  // namespace
}  // namespace lsn::control
