#include "lsn/control/metrics/metrics_text.hpp"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <limits>
#include <map>
#include <span>
#include <string_view>
#include <utility>

#include "lsn/control/config/vocabulary.hpp"
#include "lsn/shared/counter_list.hpp"
#include "lsn/shared/drop_reason.hpp"

namespace lsn::control {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using shared::AlgCounterSet;
using shared::AlgCounterText;
using shared::AlgGauge;
using shared::AlgGaugeText;
using shared::Counters;
using shared::kAlgCounterTexts;
using shared::kAlgGaugeTexts;
using shared::kCountedProfiles;
using shared::kWaitBounds;
using Labels = std::vector<ClientMetric::Label>;

/// A metric while its samples are added.
class Family {
 public:
  Family(std::vector<MetricFamily>& all, MetricType type, std::string_view prefix,
         std::string_view name, std::string_view meaning)
      : all_(all), index_(all.size()) {
    MetricFamily& family = all_.emplace_back();
    family.name = "lsnd_";
    family.name += prefix;
    family.name += name;
    if (type == MetricType::Counter) family.name += "_total";
    family.help = meaning;
    family.type = type;
  }

  void add(Labels labels, double value) {
    ClientMetric& metric = next(std::move(labels));
    (all_[index_].type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  }
  void add(Labels labels, std::uint64_t value) {
    add(std::move(labels), static_cast<double>(value));
  }
  void add(Labels labels, bool value) { add(std::move(labels), value ? 1.0 : 0.0); }
  void add(Labels labels, ClientMetric::Histogram histogram) {
    next(std::move(labels)).histogram = std::move(histogram);
  }

 private:
  ClientMetric& next(Labels labels) {
    ClientMetric& metric = all_[index_].metric.emplace_back();
    metric.label = std::move(labels);
    return metric;
  }

  std::vector<MetricFamily>& all_;
  std::size_t index_;
};

double seconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

Labels of_worker(std::size_t shard) {
  return {{"worker", std::to_string(shard)}};
}

Labels of_worker(std::string name, std::string_view value, std::size_t shard) {
  return {{std::move(name), std::string(value)}, {"worker", std::to_string(shard)}};
}

/// How long held messages waited. The sum of the times is counted nowhere.
ClientMetric::Histogram waited(const AlgCounterSet& set) {
  ClientMetric::Histogram histogram;
  for (std::size_t i = 0; i < kWaitBounds.size(); ++i) {
    histogram.sample_count += set.waited[i].get();
    histogram.bucket.push_back(
        {histogram.sample_count, static_cast<double>(kWaitBounds[i].count()) / 100});
  }
  histogram.sample_count += set.waited[kWaitBounds.size()].get();
  histogram.sample_sum = std::numeric_limits<double>::quiet_NaN();
  return histogram;
}

class Collection {
 public:
  Collection(const MetricsSource& source, const MetricsFacts& facts, const Pulse& pulse,
             Pulse::Time now)
      : source_(source), facts_(facts), pulse_(pulse), now_(now) {}

  std::vector<MetricFamily> make() {
    add_process();
    add_lsn();
    add_drops();
    add_interfaces();
    add_kernel_routes();
    add_devices();
    add_workers();
    add_alg();
    add_alg_profiles();
    add_records();
    add_alerts();
    return std::move(all_);
  }

 private:
  [[nodiscard]] Family gauge(std::string_view name, std::string_view meaning) {
    return {all_, MetricType::Gauge, "", name, meaning};
  }
  template <class Of>
  [[nodiscard]] Family family(std::string_view prefix, const shared::CounterText<Of>& counter) {
    return {all_,
            counter.kind == shared::CounterKind::kCounter ? MetricType::Counter : MetricType::Gauge,
            prefix, counter.name, counter.meaning};
  }

  /// `visit(shard, worker)`
  template <class Visit>
  void each_worker(const Visit& visit) const {
    for (std::size_t shard = 0; shard < source_.workers.size(); ++shard)
      visit(shard, source_.workers[shard]);
  }

  /// Counters that each worker has once; they are read from `of(worker)`.
  template <class Of, class Get>
  void add_by_worker(std::string_view prefix, std::span<const shared::CounterText<Of>> counters,
                     const Get& of) {
    for (const shared::CounterText<Of>& counter : counters) {
      Family one = family(prefix, counter);
      each_worker([&](std::size_t shard, const WorkerStatus& worker) {
        one.add(of_worker(shard), counter.read(of(worker)));
      });
    }
  }

  void add_process() {
    gauge("build_info", "1; the label says which version of lsnd this is.")
        .add({{"version", LSN_VERSION}}, true);
    gauge("ready", "1: a configuration is in force, and none is on its way to the workers.")
        .add({}, pulse_.phase() == Phase::kReady);
    gauge("control_silence_seconds", "Time since the control thread's last turn.")
        .add({}, seconds(pulse_.control_silence(now_)));
  }

  /// `stat lsn`
  void add_lsn() {
    gauge("lsn_generation", "Generation of the configuration in force.").add({}, facts_.generation);
    for (const auto& counter : shared::protocol_counters()) {
      Family one = family("lsn_", counter);
      for (std::size_t p = 0; p < shared::kProtocols; ++p)
        each_worker([&](std::size_t shard, const WorkerStatus& worker) {
          one.add(of_worker("protocol", name_of(static_cast<shared::Protocol>(p)), shard),
                  counter.read(worker.counters->protocols[p]));
        });
    }
    add_by_worker("lsn_", shared::router_counters(),
                  [](const WorkerStatus& w) -> const Counters& { return *w.counters; });
    add_by_worker("lsn_capacity_", shared::lsn_capacities(),
                  [](const WorkerStatus& w) -> const auto& { return w.capacity; });
  }

  /// `show drops`
  void add_drops() {
    Family one(all_, MetricType::Counter, "", "drops",
               "Packets that were not forwarded, by reason.");
    for (const shared::DropReasonText& text : shared::kDropReasonTexts)
      each_worker([&](std::size_t shard, const WorkerStatus& worker) {
        one.add(of_worker("reason", text.name, shard), worker.counters->dropped(text.reason));
      });
  }

  /// Of the interfaces that have a kernel interface; if none has there is no such family.
  void add_kernel_interfaces(const auto& of_interface) {
    std::vector<std::pair<Labels, bool>> all;
    for (std::size_t i = 0; i < source_.interfaces.size() && i < facts_.kernel.size(); ++i) {
      if (!facts_.kernel[i]) continue;
      Labels labels = of_interface(source_.interfaces[i]);
      labels.push_back({"kernel", facts_.kernel[i]->name});
      labels.push_back({"netns", facts_.kernel[i]->netns});
      all.emplace_back(std::move(labels), facts_.kernel[i]->present);
    }
    if (all.empty()) return;
    Family present = gauge("interface_kernel_present",
                           "1: the kernel interface of the interface is there; 0: it was deleted.");
    for (auto& [labels, is_present] : all) present.add(std::move(labels), is_present);
  }

  /// `stat route`, if the kernel's routes are taken over; else there is no such family.
  void add_kernel_routes() {
    if (!facts_.kernel_routes) return;
    const shared::KernelRoutesStatus& status = *facts_.kernel_routes;
    const auto count = [this](std::string_view name, std::string_view meaning,
                              std::uint64_t value) {
      Family(all_, MetricType::Counter, "", name, meaning).add({}, value);
    };
    gauge("kernel_routes_complete", "1: the kernel's table has been read as a whole.")
        .add({}, status.is_complete);
    gauge("kernel_routes", "Routes of the kernel that lead by our interfaces.")
        .add({}, status.routes);
    gauge("kernel_route_ways", "Different sets of ways of them.").add({}, status.groups);
    gauge("kernel_routes_no_room", "Of them, those that the packet path has no room for.")
        .add({}, status.no_room);
    count("kernel_route_changes", "Changes of routes that the kernel has told.", status.changes);
    count("kernel_route_unusable",
          "Of them, those of routes by our interfaces that lead to no neighbour.", status.unusable);
    count("kernel_route_readings", "Readings of the kernel's table.", status.readings);
    count("kernel_route_overruns",
          "Of them, those because the kernel had more changes than it could keep.",
          status.overruns);
  }

  /// `stat interface`, of all workers together: there may be thousands of interfaces.
  void add_interfaces() {
    const auto of_interface = [](const shared::Interface& interface) {
      return Labels{{"interface", interface.name}, {"role", std::string(to_word(interface.side))}};
    };
    Family info = gauge("interface_info", "1; the labels say where the interface is.");
    Family link = gauge("interface_link_up", "1: the device of the interface has a link.");
    for (const shared::Interface& interface : source_.interfaces) {
      const shared::PortStatus port = interface.device < facts_.ports.size()
                                          ? facts_.ports[interface.device]
                                          : shared::PortStatus{};
      Labels labels = of_interface(interface);
      link.add(labels, port.link_up && !port.removed);
      labels.push_back({"device", port.device});
      labels.push_back({"vlan", std::to_string(interface.vlan)});
      info.add(std::move(labels), true);
    }
    add_kernel_interfaces(of_interface);
    for (const auto& counter : shared::interface_counters()) {
      Family one = family("interface_", counter);
      for (std::size_t i = 0; i < source_.interfaces.size(); ++i) {
        std::uint64_t total = 0;
        each_worker([&](std::size_t, const WorkerStatus& worker) {
          total += counter.read(worker.counters->interfaces[i]);
        });
        one.add(of_interface(source_.interfaces[i]), total);
      }
    }
  }

  /// The devices of `stat interface`.
  void add_devices() {
    Family info = gauge("device_info", "1; the labels say what the device is.");
    Family link = gauge("device_link_up", "1: the device has a link.");
    Family removed = gauge("device_removed", "1: the device has disappeared.");
    Family speed = gauge("device_speed_mbps", "Speed of the link in Mbit/s; 0: not known.");
    const auto of_device = [](const shared::PortStatus& port) {
      return Labels{{"device", port.device}};
    };
    for (const shared::PortStatus& port : facts_.ports) {
      info.add({{"device", port.device}, {"driver", port.driver}, {"mac", port.mac}}, true);
      link.add(of_device(port), port.link_up && !port.removed);
      removed.add(of_device(port), port.removed);
      speed.add(of_device(port), std::uint64_t{port.speed_mbps});
    }
    for (const auto& counter : shared::device_counters()) {
      Family one = family("device_", counter);
      for (const shared::PortStatus& port : facts_.ports)
        one.add(of_device(port), counter.read(port));
    }
    add_by_worker_and_device("received", "Packets that the worker took from the device.",
                             [](const shared::DeviceCounters& c) { return c.received.get(); });
    add_by_worker_and_device("handed_over",
                             "Of these, packets of another worker, which were handed over.",
                             [](const shared::DeviceCounters& c) { return c.handed_over.get(); });
  }

  template <class Read>
  void add_by_worker_and_device(std::string_view name, std::string_view meaning, const Read& read) {
    Family one(all_, MetricType::Counter, "worker_device_", name, meaning);
    each_worker([&](std::size_t shard, const WorkerStatus& worker) {
      for (std::size_t device = 0; device < facts_.ports.size(); ++device) {
        Labels labels = of_worker(shard);
        labels.push_back({"device", facts_.ports[device].device});
        one.add(std::move(labels), read(worker.counters->devices[device]));
      }
    });
  }

  /// `stat worker`
  void add_workers() {
    Family info = gauge("worker_info", "1; the labels say where the worker runs.");
    Family silence =
        gauge("worker_silence_seconds", "Time since the worker's polls were last seen to grow.");
    each_worker([&](std::size_t shard, const WorkerStatus& worker) {
      Labels labels = of_worker(shard);
      labels.push_back({"cpu", std::to_string(worker.cpu)});
      labels.push_back({"numa_node", std::to_string(worker.numa_node)});
      info.add(std::move(labels), true);
      silence.add(of_worker(shard), seconds(pulse_.worker_silence(shard, now_)));
    });
    add_by_worker("worker_", shared::worker_counters(),
                  [](const WorkerStatus& w) -> const Counters& { return *w.counters; });
  }

  /// Every gauge and counter of the ALG. `add(family, read)`: `read` takes it out of a set.
  template <class Add>
  void each_of_alg(std::string_view prefix, const Add& add) {
    for (const AlgGaugeText& text : kAlgGaugeTexts) {
      // Clients of several profiles may share a gate.
      if (prefix == kOfProfile && text.gauge == AlgGauge::kGates) continue;
      Family one(all_, MetricType::Gauge, prefix, text.name, text.meaning);
      add(one, [gauge = text.gauge](const AlgCounterSet& set) { return set.of(gauge).get(); });
    }
    for (const AlgCounterText& text : kAlgCounterTexts) {
      Family one(all_, MetricType::Counter, prefix, text.name, text.meaning);
      add(one,
          [counter = text.counter](const AlgCounterSet& set) { return set.of(counter).get(); });
    }
    Family histogram(all_, MetricType::Histogram, prefix, "waited_seconds",
                     "How long messages waited that were held and then went on; the sum is not "
                     "counted.");
    add(histogram, waited);
  }

  /// The total of `stat ipsecalg`: also counts that belong to no profile.
  void add_alg() {
    each_of_alg(kOfAll, [this](Family& one, const auto& read) {
      each_worker([&](std::size_t shard, const WorkerStatus& worker) {
        one.add(of_worker(shard), read(worker.alg->total));
      });
    });
    add_by_worker("ipsecalg_capacity_", shared::alg_capacities(),
                  [](const WorkerStatus& w) -> const auto& { return w.capacity; });
    Family lost(all_, MetricType::Counter, kOfAll, "events_lost",
                "Events for the log for which there was no room.");
    for (std::size_t shard = 0; shard < source_.alg_events.size(); ++shard)
      lost.add(of_worker(shard), source_.alg_events[shard]->lost());
  }

  /// The profiles of `stat ipsecalg`, of all workers together.
  void add_alg_profiles() {
    std::vector<const MetricsFacts::Profile*> listed;
    for (const MetricsFacts::Profile& profile : facts_.profiles)
      if (profile.present || has_counted(profile.id)) listed.push_back(&profile);
    each_of_alg(kOfProfile, [&](Family& one, const auto& read) {
      for (const MetricsFacts::Profile* profile : listed)
        one.add({{"profile", profile->name}}, sum(profile->id, read));
    });
  }

  /// `stat records`
  void add_records() {
    const auto kinds = [](Family& one, const shared::ByLogKind<std::uint64_t>& counts) {
      for (std::size_t k = 0; k < shared::kLogKinds; ++k)
        if (const auto kind = static_cast<shared::LogKind>(k); is_of_workers(kind))
          one.add({{"kind", std::string(to_word(kind))}}, counts[k]);
    };
    {
      Family taken(all_, MetricType::Counter, "records_", "taken",
                   "Records of the workers that the log thread took.");
      kinds(taken, facts_.records.taken);
    }
    {
      Family lost(all_, MetricType::Counter, "records_", "lost",
                  "Records that a worker's ring had no room for.");
      kinds(lost, facts_.records.lost);
    }
    add_by_sink(MetricType::Counter, "written", "Records that the sink took.",
                [](const SinkStatus& s) { return s.written; });
    add_by_sink(MetricType::Counter, "lost", "Records that the sink's queue had no room for.",
                [](const SinkStatus& s) { return s.lost; });
    add_by_sink(MetricType::Gauge, "waiting", "Records that wait for the sink.",
                [](const SinkStatus& s) { return s.waiting; });
    add_by_sink(MetricType::Gauge, "stalled", "1: the sink takes no records.",
                [](const SinkStatus& s) { return std::uint64_t{s.stalled}; });
  }

  /// `show alert`; one of a group by the group's number in the configuration's history: its name
  /// is the label.
  void add_alerts() {
    Family raised = gauge("alert", "1: the alert is raised.");
    for (const AlertBook::Status& alert : facts_.records.alerts)
      raised.add({{"alert", std::string(to_word(alert.subject.alert))},
                  {"of", alert.subject.group < facts_.groups.size()
                             ? "group " + facts_.groups[alert.subject.group]
                             : alert.subject.words}},
                 alert.raised);
    Family times(all_, MetricType::Counter, "", "alerts",
                 "How often what the alert is about was so.");
    std::map<std::string, std::uint64_t> by_kind;
    for (const AlertBook::Status& alert : facts_.records.alerts)
      by_kind[std::string(to_word(alert.subject.alert))] += alert.count;
    for (std::size_t a = 0; a < shared::kLogAlerts; ++a) {
      const std::string word(to_word(static_cast<shared::LogAlert>(a)));
      times.add({{"alert", word}}, by_kind[word]);
    }
  }

  template <class Read>
  void add_by_sink(MetricType type, std::string_view name, std::string_view meaning,
                   const Read& read) {
    Family one(all_, type, "records_sink_", name, meaning);
    for (const SinkStatus& sink : facts_.records.sinks) one.add({{"sink", sink.name}}, read(sink));
  }

  /// `read` of a profile's sets of all workers.
  template <class Read>
  [[nodiscard]] auto sum(std::uint16_t profile, const Read& read) const {
    using Value = decltype(read(std::declval<const AlgCounterSet&>()));
    Value total{};
    each_worker([&](std::size_t, const WorkerStatus& worker) {
      add_to(total, read(worker.alg->profiles[profile]));
    });
    return total;
  }
  static void add_to(std::uint64_t& total, std::uint64_t value) { total += value; }
  static void add_to(ClientMetric::Histogram& total, ClientMetric::Histogram value) {
    for (std::size_t i = 0; i < total.bucket.size(); ++i)
      value.bucket[i].cumulative_count += total.bucket[i].cumulative_count;
    value.sample_count += total.sample_count;
    total = std::move(value);
  }

  [[nodiscard]] bool has_counted(std::uint16_t profile) const {
    return std::any_of(
        kAlgCounterTexts.begin(), kAlgCounterTexts.end(), [&](const AlgCounterText& text) {
          return sum(profile,
                     [&](const AlgCounterSet& set) { return set.of(text.counter).get(); }) != 0;
        });
  }

  static constexpr std::string_view kOfAll = "ipsecalg_";
  static constexpr std::string_view kOfProfile = "ipsecalg_profile_";

  const MetricsSource& source_;
  const MetricsFacts& facts_;
  const Pulse& pulse_;
  Pulse::Time now_;
  std::vector<MetricFamily> all_;
};

}  // namespace

MetricsSource MetricsSource::of(Dataplane& dataplane, const shared::Generation& generation) {
  MetricsSource source;
  for (unsigned shard = 0; shard < dataplane.workers(); ++shard) {
    source.workers.push_back(dataplane.worker(shard));
    source.alg_events.push_back(&dataplane.alg_events(shard));
  }
  source.interfaces = generation.interfaces;
  return source;
}

MetricsFacts MetricsFacts::of(Dataplane& dataplane, const shared::Generation& generation) {
  MetricsFacts facts;
  facts.generation = generation.number;
  for (const shared::AlgProfile& profile : generation.alg_profiles)
    if (profile.id < kCountedProfiles)
      facts.profiles.push_back({profile.id, profile.name, profile.present});
  for (const shared::Group& group : generation.groups) facts.groups.push_back(group.name);
  facts.ports = dataplane.ports();
  facts.kernel = dataplane.kernel_interfaces();
  facts.kernel_routes = dataplane.kernel_routes();
  return facts;
}

std::string metrics_text(const MetricsSource& source, const MetricsFacts& facts, const Pulse& pulse,
                         Pulse::Time now) {
  return prometheus::TextSerializer().Serialize(Collection(source, facts, pulse, now).make());
}

}  // namespace lsn::control
