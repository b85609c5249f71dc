#include "lsn/control/metrics/metrics_text.hpp"

#include <fmt/format.h>

#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "lsn/shared/counter_list.hpp"
#include "lsn/shared/drop_reason.hpp"
#include "unit/control/command/support.hpp"

namespace lsn::control {
namespace {

using namespace std::chrono_literals;
using shared::AlgCounter;
using shared::AlgGauge;
using shared::DropReason;
using shared::kAlgCounterTexts;
using shared::kAlgGaugeTexts;
using shared::Protocol;
using testing::HasSubstr;
using testing::Not;

struct Metric {
  std::string help;
  std::string type;
  std::vector<std::string> label_names;        ///< of its samples; `le` left out
  std::map<std::string, std::string> samples;  ///< by name with labels
};

/// The text taken apart, each line once.
std::map<std::string, Metric> parsed(const std::string& text) {
  std::map<std::string, Metric> metrics;
  const std::regex comment(R"(# (HELP|TYPE) (lsnd_[a-z0-9_]+) (.+))");
  const std::regex sample(R"((lsnd_[a-z0-9_]+)(\{.*\})? (\S+))");
  const std::regex label(R"re(([a-z_]+)="((?:[^"\\]|\\.)*)")re");
  std::istringstream lines(text);
  std::string current;
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (std::regex_match(line, match, comment)) {
      current = match[2];
      std::string& part = match[1] == "HELP" ? metrics[current].help : metrics[current].type;
      EXPECT_EQ(part, "") << line << ": a second time";
      part = match[3];
      continue;
    }
    EXPECT_TRUE(std::regex_match(line, match, sample)) << line;
    Metric& metric = metrics[current];
    EXPECT_TRUE(std::string(match[1]).starts_with(current)) << line;
    EXPECT_TRUE(metric.samples.emplace(match[1].str() + match[2].str(), match[3]).second) << line;
    const std::string labels = match[2];
    std::vector<std::string> names;
    for (std::sregex_iterator at(labels.begin(), labels.end(), label), end; at != end; ++at)
      if ((*at)[1] != "le") names.push_back((*at)[1]);
    if (metric.samples.size() == 1) metric.label_names = names;
    EXPECT_EQ(metric.label_names, names) << line;
  }
  return metrics;
}

/// Two workers, two interfaces on two devices, the profile ALG, and whatever has counted.
struct MetricsBench : Bench {
  MetricsBench() {
    shared::PortStatus inside;
    inside.device = "net_tap0,iface=t0";
    inside.driver = "net_tap";
    inside.link_up = true;
    inside.speed_mbps = 10'000;
    inside.mac = "02:00:00:00:00:01";
    inside.rx_missed = 17;
    shared::PortStatus outside;
    outside.device = "0000:03:00.0";
    outside.removed = true;
    dataplane.port_status = {inside, outside};
    dataplane.kernel_status = {std::nullopt, shared::KernelStatus{"k-out", "routers", true}};
    dataplane.kernel_routes_status = shared::KernelRoutesStatus{};
  }

  std::string text() {
    Pulse pulse({&dataplane.counters(0), &dataplane.counters(1)}, start);
    pulse.beat(start + 1s, phase);
    const auto& generation = config.generation();
    MetricsFacts facts = MetricsFacts::of(dataplane, generation);
    facts.records.sinks = {{.name = "file /var/log/lsnd/records"}};
    facts.records.alerts = {
        {.subject = {.words = "pool P1"}, .raised = true, .since_ms = 0, .count = 1}};
    return metrics_text(MetricsSource::of(dataplane, generation), facts, pulse, start + 3s);
  }
  std::map<std::string, Metric> metrics() { return parsed(text()); }
  std::string value(const std::string& sample) {
    const auto all = metrics();
    for (const auto& [name, metric] : all)
      if (const auto found = metric.samples.find(sample); found != metric.samples.end())
        return found->second;
    return "not served";
  }

  Pulse::Time start{1000s};
  Phase phase = Phase::kReady;
};

TEST(MetricsText, HasEveryCounterOfTheListsOnceWithItsMeaning) {
  MetricsBench bench;
  auto metrics = bench.metrics();
  std::set<std::string> expected;
  const auto expect = [&](std::string name, bool is_counter, std::string_view meaning,
                          std::size_t samples, std::vector<std::string> labels) {
    if (is_counter) name += "_total";
    SCOPED_TRACE(name);
    EXPECT_TRUE(expected.insert(name).second);
    ASSERT_TRUE(metrics.contains(name));
    EXPECT_EQ(metrics[name].help, meaning);
    EXPECT_EQ(metrics[name].type, is_counter ? "counter" : "gauge");
    EXPECT_EQ(metrics[name].samples.size(), samples);
    EXPECT_EQ(metrics[name].label_names, labels);
  };
  const auto expect_list = [&](const auto& list, const std::string& prefix, std::size_t samples,
                               const std::vector<std::string>& labels) {
    ASSERT_FALSE(list.empty());
    for (const auto& counter : list)
      expect(prefix + std::string(counter.name), counter.kind == shared::CounterKind::kCounter,
             counter.meaning, samples, labels);
  };
  expect_list(shared::protocol_counters(), "lsnd_lsn_", 4 * 2, {"protocol", "worker"});
  expect_list(shared::router_counters(), "lsnd_lsn_", 2, {"worker"});
  expect_list(shared::lsn_capacities(), "lsnd_lsn_capacity_", 2, {"worker"});
  expect_list(shared::interface_counters(), "lsnd_interface_", 2, {"interface", "role"});
  expect_list(shared::device_counters(), "lsnd_device_", 2, {"device"});
  expect_list(shared::worker_counters(), "lsnd_worker_", 2, {"worker"});
  expect_list(shared::alg_capacities(), "lsnd_ipsecalg_capacity_", 2, {"worker"});
  for (const auto& text : kAlgGaugeTexts) {
    const std::string name(text.name);
    expect("lsnd_ipsecalg_" + name, false, text.meaning, 2, {"worker"});
    if (text.gauge == AlgGauge::kGates)
      EXPECT_FALSE(metrics.contains("lsnd_ipsecalg_profile_" + name));
    else
      expect("lsnd_ipsecalg_profile_" + name, false, text.meaning, 1, {"profile"});
  }
  for (const auto& text : kAlgCounterTexts) {
    const std::string name(text.name);
    expect("lsnd_ipsecalg_" + name, true, text.meaning, 2, {"worker"});
    expect("lsnd_ipsecalg_profile_" + name, true, text.meaning, 1, {"profile"});
  }
  for (const auto& [name, metric] : metrics) {
    EXPECT_NE(metric.help, "") << name;
    EXPECT_NE(metric.type, "") << name;
    EXPECT_FALSE(metric.samples.empty()) << name;
  }
}

TEST(MetricsText, HasLabelsOfWhatIsBoundedOnly) {
  MetricsBench bench;
  for (unsigned host = 0; host < 100; ++host)
    bench.dataplane.rows(0).push_back(udp_session(host, static_cast<std::uint16_t>(1024 + host)));
  const std::set<std::string> bounded{"worker",  "protocol",  "reason",  "interface", "role",
                                      "device",  "vlan",      "driver",  "mac",       "cpu",
                                      "profile", "numa_node", "version", "kind",      "sink",
                                      "alert",   "of",        "kernel",  "netns"};
  for (const auto& [name, metric] : bench.metrics())
    for (const std::string& label : metric.label_names)
      EXPECT_TRUE(bounded.contains(label)) << name << ' ' << label;
  EXPECT_THAT(bench.text(), Not(HasSubstr("192.0.2.")));
}

TEST(MetricsText, HasEveryDropReasonOfEveryWorker) {
  MetricsBench bench;
  bench.dataplane.counters(0).drop(DropReason::kFiltered, 1'000'000);
  bench.dataplane.counters(1).drop(DropReason::kNoRoute, 3);
  auto drops = bench.metrics()["lsnd_drops_total"];
  EXPECT_EQ(drops.type, "counter");
  EXPECT_EQ(drops.samples.size(), 2 * shared::kDropReasons);
  for (const auto& text : shared::kDropReasonTexts)
    for (const int worker : {0, 1})
      EXPECT_TRUE(drops.samples.contains(
          fmt::format("lsnd_drops_total{{reason=\"{}\",worker=\"{}\"}}", text.name, worker)))
          << text.name;
  EXPECT_EQ(drops.samples["lsnd_drops_total{reason=\"filtered\",worker=\"0\"}"], "1000000");
  EXPECT_EQ(drops.samples["lsnd_drops_total{reason=\"no_route\",worker=\"1\"}"], "3");
  EXPECT_EQ(drops.samples["lsnd_drops_total{reason=\"no_route\",worker=\"0\"}"], "0");
}

TEST(MetricsText, HasTheNumbersOfTheWorkers) {
  MetricsBench bench;
  for (unsigned shard = 0; shard < 2; ++shard) {
    auto& counters = bench.dataplane.counters(shard);
    counters.of(Protocol::kUdp).sessions.set(10 + shard);
    counters.of(Protocol::kEsp).translated[1].add(5, 123'456'789'012'345);
    counters.interfaces[1].tx.add(40, 4000);
    counters.subscribers.set(6);
    counters.polls.add(1000);
  }
  EXPECT_EQ(bench.value("lsnd_lsn_sessions{protocol=\"UDP\",worker=\"1\"}"), "11");
  EXPECT_EQ(bench.value("lsnd_lsn_inbound_bytes_total{protocol=\"ESP\",worker=\"0\"}"),
            "123456789012345");
  EXPECT_EQ(bench.value("lsnd_interface_tx_packets_total{interface=\"out\",role=\"outside\"}"),
            "80");
  EXPECT_EQ(bench.value("lsnd_lsn_subscribers{worker=\"0\"}"), "6");
  EXPECT_EQ(bench.value("lsnd_lsn_capacity_sessions{worker=\"0\"}"), "1000");
  EXPECT_EQ(bench.value("lsnd_ipsecalg_capacity_held_bytes{worker=\"1\"}"), "70000");
  EXPECT_EQ(bench.value("lsnd_worker_info{worker=\"1\",cpu=\"11\",numa_node=\"1\"}"), "1");
  EXPECT_EQ(bench.value("lsnd_lsn_generation"), "1");
}

TEST(MetricsText, SaysHowDevicesAre) {
  MetricsBench bench;
  EXPECT_EQ(bench.value("lsnd_device_link_up{device=\"net_tap0,iface=t0\"}"), "1");
  EXPECT_EQ(bench.value("lsnd_device_link_up{device=\"0000:03:00.0\"}"), "0");
  EXPECT_EQ(bench.value("lsnd_device_removed{device=\"0000:03:00.0\"}"), "1");
  EXPECT_EQ(bench.value("lsnd_device_speed_mbps{device=\"net_tap0,iface=t0\"}"), "10000");
  EXPECT_EQ(bench.value("lsnd_device_rx_missed_total{device=\"net_tap0,iface=t0\"}"), "17");
  EXPECT_EQ(bench.value("lsnd_interface_link_up{interface=\"in\",role=\"inside\"}"), "1");
  EXPECT_EQ(bench.value("lsnd_interface_info{interface=\"out\",role=\"outside\","
                        "device=\"0000:03:00.0\",vlan=\"0\"}"),
            "1");
}

TEST(MetricsText, CountsTheAlgByWorkerAndByProfile) {
  MetricsBench bench;
  for (unsigned shard = 0; shard < 2; ++shard) {
    auto& alg = bench.dataplane.alg_counters(shard);
    alg.total.of(AlgCounter::kEspSessionsCreated).add(5 + shard);
    alg.profiles[0].of(AlgCounter::kEspSessionsCreated).add(2);
    alg.profiles[0].waited[0].add(1);
    alg.profiles[0].waited[2].add(10);
    alg.profiles[0].waited[9].add(100);
  }
  EXPECT_EQ(bench.value("lsnd_ipsecalg_esp_sessions_created_total{worker=\"1\"}"), "6");
  EXPECT_EQ(bench.value("lsnd_ipsecalg_profile_esp_sessions_created_total{profile=\"ALG\"}"), "4");
  const auto histogram = bench.metrics()["lsnd_ipsecalg_profile_waited_seconds"];
  EXPECT_EQ(histogram.type, "histogram");
  const auto bucket = [&](std::string_view bound) {
    return histogram.samples.at(fmt::format(
        "lsnd_ipsecalg_profile_waited_seconds_bucket{{profile=\"ALG\",le=\"{}\"}}", bound));
  };
  EXPECT_EQ(bucket("0.1"), "2");
  EXPECT_EQ(bucket("1"), "2");
  EXPECT_EQ(bucket("2"), "22");
  EXPECT_EQ(bucket("300"), "22");
  EXPECT_EQ(bucket("+Inf"), "222");
  EXPECT_EQ(histogram.samples.at("lsnd_ipsecalg_profile_waited_seconds_count{profile=\"ALG\"}"),
            "222");
}

TEST(MetricsText, ForgetsAProfileThatIsGoneAndHasCountedNothing) {
  MetricsBench bench;
  const auto& generation = bench.config.generation();
  MetricsFacts facts = MetricsFacts::of(bench.dataplane, generation);
  facts.profiles = {{0, "OLD", false}, {1, "NEW", true}};
  const auto text = [&] {
    MetricsSource source = MetricsSource::of(bench.dataplane, generation);
    source.workers.resize(1);
    const shared::Counters* const only = source.workers[0].counters;
    return metrics_text(source, facts, Pulse({only}, bench.start), bench.start);
  };
  EXPECT_THAT(text(), Not(HasSubstr("profile=\"OLD\"")));
  EXPECT_THAT(text(), HasSubstr("profile=\"NEW\""));
  bench.dataplane.alg_counters(0).profiles[0].of(AlgCounter::kTurns).add();
  EXPECT_THAT(text(), HasSubstr("lsnd_ipsecalg_profile_turns_total{profile=\"OLD\"} 1"));
}

TEST(MetricsText, SaysWhetherLsndIsWell) {
  MetricsBench bench;
  EXPECT_EQ(bench.value("lsnd_ready"), "1");
  EXPECT_EQ(bench.value("lsnd_control_silence_seconds"), "2");
  EXPECT_EQ(bench.value("lsnd_worker_silence_seconds{worker=\"0\"}"), "3");
  bench.phase = Phase::kReloading;
  EXPECT_EQ(bench.value("lsnd_ready"), "0");
}

/// docs/metrics.md has a row for each, in this order.
TEST(MetricsDocument, HasEveryMetricThatIsServed) {
  MetricsBench bench;
  const std::string text = bench.text();
  const auto metrics = parsed(text);
  std::string rows;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("# HELP ")) continue;
    const std::string name = line.substr(7, line.find(' ', 7) - 7);
    const Metric& metric = metrics.at(name);
    std::string labels;
    for (const std::string& label : metric.label_names)
      labels += (labels.empty() ? "" : ", ") + label;
    rows += fmt::format("| `{}` | {} | {} | {} |\n", name, metric.type, labels, metric.help);
  }
  std::string documented;
  std::istringstream document(read_file(project_file("docs/metrics.md")));
  for (std::string line; std::getline(document, line);)
    if (line.starts_with("| `lsnd_")) documented += line + '\n';
  EXPECT_EQ(documented, rows) << "expected are these rows:\n" << rows;
}

}  // namespace
}  // namespace lsn::control
