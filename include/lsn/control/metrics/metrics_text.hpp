// The counters as Prometheus reads them: its text format 0.0.4, made by prometheus-cpp.
//
// The name of a metric says where `lsnctl` has it: lsnd_ + the command's word + the name there, and
// _total behind a counter: `created` of `stat lsn` is lsnd_lsn_created_total. The lists are those
// of counter_list.hpp, drop_reason.hpp and shared/alg_counters.hpp, so a counter that is added
// there is served, with its meaning as help. Labels have a bounded number of values: worker,
// protocol, interface, device, reason, profile; never anything of a subscriber.
//
// It is made on another thread than the control thread's. So it reads only what any thread may: the
// workers' counters, copies of data that never changes (MetricsSource), and the latest facts from
// the control thread (MetricsFacts).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lsn/control/dataplane.hpp"
#include "lsn/control/metrics/pulse.hpp"
#include "lsn/control/records/records_status.hpp"
#include "lsn/shared/generation.hpp"

namespace lsn::control {

/// Data that does not change while lsnd runs. Its pointers are valid as long as the dataplane
/// lives.
struct MetricsSource {
  std::vector<WorkerStatus> workers;                 ///< by shard
  std::vector<const shared::EventRing*> alg_events;  ///< by shard
  std::vector<shared::Interface> interfaces;         ///< by InterfaceId

  /// On the control thread.
  [[nodiscard]] static MetricsSource of(Dataplane& dataplane, const shared::Generation& generation);
};

/// Facts that only the control thread may read.
struct MetricsFacts {
  struct Profile {
    std::uint16_t id;
    std::string name;
    bool present;
  };
  std::uint64_t generation = 0;
  std::vector<Profile> profiles;                              ///< those that are counted apart
  std::vector<std::string> groups;                            ///< names by id
  std::vector<shared::PortStatus> ports;                      ///< by device
  std::vector<std::optional<shared::KernelStatus>> kernel{};  ///< by interface
  std::optional<shared::KernelRoutesStatus> kernel_routes{};
  RecordsStatus records;

  [[nodiscard]] static MetricsFacts of(Dataplane& dataplane, const shared::Generation& generation);
};

/// On the thread that looks at the pulse.
[[nodiscard]] std::string metrics_text(const MetricsSource& source, const MetricsFacts& facts,
                                       const Pulse& pulse, Pulse::Time now);

}  // namespace lsn::control
