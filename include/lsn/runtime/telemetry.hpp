// The counters for DPDK's own telemetry socket (dpdk-telemetry.py): /lsn/stat, /lsn/drops,
// /lsn/interfaces, /lsn/ipsecalg, /lsn/workers; the last takes a worker's number, the others add
// all workers up.
//
// rte_telemetry calls back on threads of its own, so they read only Counters (atomics) and copies
// made at start. Command names stay registered for the life of the process; without a Telemetry
// object they answer with nothing.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "lsn/control/dataplane.hpp"

namespace lsn::runtime {

class Telemetry {
 public:
  /// `interfaces`: their names, by index in the generation. The dataplane outlives it. Error: one
  /// line; lsnd works without.
  [[nodiscard]] static std::expected<Telemetry, std::string> start(
      const control::Dataplane& dataplane, std::vector<std::string> interfaces);

  Telemetry(Telemetry&& other) noexcept;
  Telemetry& operator=(Telemetry&&) = delete;
  ~Telemetry();

 private:
  Telemetry() = default;

  bool active_ = true;
};

}  // namespace lsn::runtime
