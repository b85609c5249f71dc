// The demands of the configuration on machine and devices, before any of them is touched.
//
// The model names interfaces; the runtime wants devices (several VLANs share one), workers, and
// numbers: how many packet buffers of what size, how many sessions per worker. All of it is
// computed here, from plain data to plain data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lsn/control/config/model.hpp"
#include "lsn/datapath/ipsec_alg/tables.hpp"
#include "lsn/runtime/eal.hpp"
#include "lsn/wire/ethernet.hpp"

namespace lsn::runtime {

struct PortPlan {
  std::string device;      ///< as configured: a PCI address or a vdev, with arguments
  std::string interfaces;  ///< names of those on it, for messages
  bool inside = false;     ///< has an inside interface
  bool outside = false;
  std::uint16_t mtu = 1500;  ///< the largest of its interfaces
  std::optional<wire::MacAddress> mac;
  std::uint16_t rx_descriptors = 1024;
  std::uint16_t tx_descriptors = 1024;
  std::vector<std::uint16_t> vlans;  ///< of its interfaces, 0: untagged
  std::uint16_t buffer_room = 2048;  ///< bytes of a frame in a buffer
  bool hears_groups = false;         ///< an interface on it has a kernel interface
};

/// A kernel interface that is made (kernel_tap.hpp).
struct KernelPlan {
  shared::InterfaceId interface = 0;  ///< that it stands for
  std::string label;                  ///< that one's name
  std::string name;
  std::string netns;  ///< empty: lsnd's own
  shared::KernelUse use = shared::KernelUse::kIpv4;
  wire::Ipv4Prefix address;
  std::uint16_t mtu = 1500;
  std::uint16_t device = 0;
};

/// Index of the vector: the interface's. Where it is.
struct InterfacePlan {
  std::uint16_t device = 0;
  std::uint16_t vlan = 0;
  shared::Side side = shared::Side::kInside;
  shared::KernelUse kernel = shared::KernelUse::kNone;
  shared::DomainId td = 0;  ///< inside
};

/// Size of a pool if so many buffers are needed. It is kept in a ring: one less than a power of two
/// uses its memory best, unless that is half as much again.
[[nodiscard]] std::size_t rounded_pool(std::size_t buffers);

/// Packet buffers.
struct BufferPlan {
  std::uint16_t data_room = 0;   ///< bytes of a buffer, with its headroom
  std::uint32_t per_worker = 0;  ///< buffers
  std::uint32_t indirect_per_worker = 0;
  std::uint32_t handoff_slots = 0;  ///< of each ring between two workers
  std::uint32_t kernel = 0;         ///< buffers of frames that the kernel sends, in all
  std::uint16_t kernel_room = 0;    ///< bytes of one, with its headroom

  /// The memory that EAL must provide for all of them. In pages of 4 KB a buffer does not lie
  /// across two of them unless it must (rte_mempool_calc_mem_size_helper() in DPDK), so most take a
  /// whole one.
  enum class Pages : std::uint8_t { kHuge, kSmall };
  [[nodiscard]] std::size_t bytes(std::size_t workers, Pages pages) const;
  /// Pools and rings alone, without the share of EAL, drivers and page borders.
  [[nodiscard]] std::size_t bare_bytes(std::size_t workers, Pages pages) const;
};

struct Plan {
  std::vector<unsigned> cpus;  ///< of the workers, by shard
  std::vector<std::string> eal;
  std::vector<PortPlan> ports;  ///< by device index
  std::vector<InterfacePlan> interfaces;
  std::vector<KernelPlan> kernel;
  std::optional<std::uint32_t>
      kernel_route_table;  ///< whose routes are taken over; none: no routes
  std::uint32_t sessions_per_worker = 0;
  bool mappings = false;  ///< some sessions share a NAT endpoint, or let unsolicited hosts in
  std::uint32_t fragments_per_worker = 0;
  datapath::ipsec_alg::Capacity alg_per_worker;
  bool power_save = false;
  BufferPlan buffers;
};

[[nodiscard]] Plan make_plan(const control::Model& model);
[[nodiscard]] EalRequest eal_request(const Plan& plan);

/// The device string for DPDK: if the arguments leave it open, net_af_packet's ring gets frames
/// that hold the largest IP packet (its own default is 2048 bytes), because the kernel puts
/// fragments together before the driver sees them.
[[nodiscard]] std::string device_arguments(const PortPlan& port);

/// A device may be made of others in parentheses, `net_bonding0,mode=1,slave=(net_tap1,iface=x)`:
/// those, and the device with their names in place of them.
struct ComposedDevice {
  std::vector<std::string> members;
  std::string device;
};
[[nodiscard]] ComposedDevice decompose(const std::string& device);

/// The PCI devices that a device's text names, as EAL takes them: itself with its arguments, or the
/// addresses that a bond is made of.
[[nodiscard]] std::vector<std::string> pci_devices(const std::string& device);

/// Which worker polls which queue: result[port][queue]. A port with a queue for every worker gives
/// queue n to worker n; the queues of the others go to the workers that have the fewest, among
/// those to the ones on the port's NUMA node.
struct PortQueues {
  unsigned rx_queues = 1;
  int numa_node = -1;  ///< -1: any
};
[[nodiscard]] std::vector<std::vector<unsigned>> deal_queues(const std::vector<PortQueues>& ports,
                                                             const std::vector<int>& worker_nodes);

}  // namespace lsn::runtime
