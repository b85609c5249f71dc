// The configuration of a device, from the wishes for it and from its driver's offers.
//
// Plain data to plain data: no device is touched here. Offers that a driver does not keep are
// listed here as well, by the driver's name.
#pragma once

#include <rte_ethdev.h>

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "lsn/runtime/plan.hpp"

namespace lsn::runtime {

struct PortSettings {
  unsigned rx_queues = 1;
  unsigned tx_queues = 1;
  std::uint32_t mtu = 1500;
  std::uint64_t rx_offloads = 0;
  std::uint64_t tx_offloads = 0;
  /// VLANs that the device must be told of, so that it delivers their frames.
  std::vector<std::uint16_t> vlan_filter;
  bool removal_event = false;  ///< the driver says when the device goes

  /// Without the optional offloads, for a driver that offers them and refuses.
  [[nodiscard]] PortSettings without_filter() const;
  [[nodiscard]] rte_eth_conf conf() const;
};

/// `room`: bytes of a frame that a buffer has room for. Error: the given and the allowed value.
[[nodiscard]] std::expected<PortSettings, std::string> port_settings(const PortPlan& plan,
                                                                     const rte_eth_dev_info& info,
                                                                     std::string_view driver,
                                                                     unsigned workers,
                                                                     std::uint32_t room);

/// The driver knows queues that drop packets instead of holding up the device's other queues, and
/// does not make them so by itself.
[[nodiscard]] bool drops_for_full_queue(std::string_view driver);

/// A virtual device ("net_tap0,iface=x"), not a PCI address.
[[nodiscard]] bool is_vdev(std::string_view device);

}  // namespace lsn::runtime
