// The status of a device: the runtime fills it in, `stat interface`, telemetry and metrics show it.
#pragma once

#include <cstdint>
#include <string>

namespace lsn::shared {

/// A device as `stat interface` shows it.
struct PortStatus {
  std::string device;  ///< as configured
  std::string driver;
  bool link_up = false;
  bool removed = false;  ///< the device disappeared
  std::uint32_t speed_mbps = 0;
  std::string mac;
  unsigned rx_queues = 0;
  unsigned tx_queues = 0;
  std::string steering;      ///< how packets are distributed to the workers, in words
  std::string flow_control;  ///< whether it pauses others, or waits for them, in words
  /// Of packets by all workers: received, handed over to their owners, looked at, as predicted.
  std::uint64_t rx_packets = 0;
  std::uint64_t handed_over = 0;
  std::uint64_t checked = 0;
  std::uint64_t as_predicted = 0;
  std::uint64_t failed_seconds = 0;  ///< in which the distribution was not the one predicted
  std::uint64_t rx_missed = 0;       ///< dropped by the NIC: no descriptor in time
  std::uint64_t rx_errors = 0;
  std::uint64_t rx_no_buffer = 0;
  std::uint64_t tx_errors = 0;
};

}  // namespace lsn::shared
