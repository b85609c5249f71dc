#include "lsn/runtime/port_settings.hpp"

#include <fmt/format.h>
#include <rte_ether.h>

#include <algorithm>
#include <bit>

namespace lsn::runtime {
namespace {

/// A frame's bytes beside the MTU in the driver's count, computed as rte_eth_dev_configure() will.
std::uint32_t overhead_of(const rte_eth_dev_info& info) {
  return info.max_mtu != UINT16_MAX && info.max_rx_pktlen > info.max_mtu
             ? info.max_rx_pktlen - info.max_mtu
             : RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
}

/// A frame takes several buffers if a driver believes that one may not hold it: drivers round down
/// a buffer's size, and net_virtio has its own header in it.
bool needs_scatter(const rte_eth_dev_info& info, std::uint32_t mtu, std::uint32_t room) {
  constexpr std::uint32_t kUnit = 1024;
  constexpr std::uint32_t kTags = 2 * 4;
  return mtu + overhead_of(info) + kTags > room / kUnit * kUnit;
}

/// A virtual function gets no frame with a VLAN tag that its physical function does not know of.
bool is_virtual_function(std::string_view driver) {
  return driver.find("vf") != driver.npos;
}

}  // namespace

bool is_vdev(std::string_view device) {
  return !device.empty() && device.find('_') < 5;
}

bool drops_for_full_queue(std::string_view driver) {
  return driver == "net_ixgbe" || driver == "net_e1000_igb" || driver == "net_bonding";
}

PortSettings PortSettings::without_filter() const {
  PortSettings fewer = *this;
  fewer.vlan_filter.clear();
  fewer.rx_offloads &= ~RTE_ETH_RX_OFFLOAD_VLAN_FILTER;
  return fewer;
}

rte_eth_conf PortSettings::conf() const {
  rte_eth_conf conf{};
  conf.rxmode.mtu = mtu;
  conf.rxmode.offloads = rx_offloads;
  conf.txmode.offloads = tx_offloads;
  // The link is asked for several times a second. With lsc the driver would answer with the state
  // of the last interrupt, and not every NIC sends one: EAL takes MSI-X for granted with vfio
  // (pci_vfio_setup_interrupts() in DPDK), which 82540EM, 82545EM and I217-I219 have not.
  conf.intr_conf.lsc = 0;
  conf.intr_conf.rmv = removal_event ? 1 : 0;
  return conf;
}

std::expected<PortSettings, std::string> port_settings(const PortPlan& plan,
                                                       const rte_eth_dev_info& info,
                                                       std::string_view driver, unsigned workers,
                                                       std::uint32_t room) {
  PortSettings settings;
  const auto at_most = [](unsigned wanted, std::uint16_t most) {
    return std::max(1U, std::min<unsigned>(wanted, most));
  };
  settings.rx_queues = at_most(workers, info.max_rx_queues);
  settings.tx_queues = at_most(workers, info.max_tx_queues);
  // The kernel spreads packets over all queues of a packet socket's group, polled or not.
  if (driver == "net_af_packet") settings.rx_queues = std::max<unsigned>(1, info.max_rx_queues);
  // These count queues in pairs.
  if (driver == "net_af_packet") settings.tx_queues = settings.rx_queues;
  if (driver == "net_tap")
    settings.rx_queues = settings.tx_queues = std::min(settings.rx_queues, settings.tx_queues);
  // A table entry of 82599 and X540 has room for 16 queues, and the driver refuses none (DPDK
  // 22.11); a bond may be made of them.
  if ((driver == "net_ixgbe" || driver == "net_bonding") && info.reta_size <= 128)
    settings.rx_queues = std::min(settings.rx_queues, 16U);
  // These start with powers of two alone (ixgbevf_dev_rx_init(), vmxnet3_dev_configure()).
  if (driver == "net_ixgbe_vf" || driver == "net_vmxnet3")
    settings.rx_queues = std::bit_floor(settings.rx_queues);
  // It offers two of each (DPDK 22.11), and spreads nothing over the receive queues; most of its
  // NICs have one transmit queue, and packets for the other are lost.
  if (driver == "net_e1000_em") settings.rx_queues = settings.tx_queues = 1;
  // It offers two and sets up no distribution: all packets come to the first (eth_igbvf_rx_init()).
  if (driver == "net_e1000_igb_vf") settings.rx_queues = 1;

  // The longest frame that the driver admits.
  const std::uint32_t overhead = overhead_of(info);
  const std::uint32_t largest = std::min<std::uint32_t>(
      info.max_mtu == 0 ? UINT16_MAX : info.max_mtu,
      info.max_rx_pktlen > overhead ? info.max_rx_pktlen - overhead : UINT16_MAX);
  if (plan.mtu > largest && !is_vdev(plan.device))
    return std::unexpected(fmt::format("mtu {}, allowed: at most {}", plan.mtu, largest));
  settings.mtu = std::min<std::uint32_t>(std::max<std::uint16_t>(plan.mtu, info.min_mtu), largest);

  const std::uint64_t offered = info.rx_offload_capa;
  settings.rx_offloads = offered & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
  if (needs_scatter(info, settings.mtu, room))
    settings.rx_offloads |= offered & RTE_ETH_RX_OFFLOAD_SCATTER;
  if (is_virtual_function(driver) && (offered & RTE_ETH_RX_OFFLOAD_VLAN_FILTER) != 0) {
    std::copy_if(plan.vlans.begin(), plan.vlans.end(), std::back_inserter(settings.vlan_filter),
                 [](std::uint16_t vlan) { return vlan != 0; });
    if (!settings.vlan_filter.empty()) settings.rx_offloads |= RTE_ETH_RX_OFFLOAD_VLAN_FILTER;
  }
  settings.tx_offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
  const std::uint32_t flags = info.dev_flags == nullptr ? 0 : *info.dev_flags;
  settings.removal_event = (flags & RTE_ETH_DEV_INTR_RMV) != 0;
  return settings;
}

}  // namespace lsn::runtime
