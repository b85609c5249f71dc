#include "lsn/runtime/plan.hpp"

#include <fmt/format.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <cstdint>
#include <set>
#include <utility>

#include "lsn/control/config/describe.hpp"
#include "lsn/datapath/l3/neighbours.hpp"
#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/datapath/packet.hpp"
#include "lsn/datapath/shard.hpp"
#include "lsn/runtime/kernel_carrier.hpp"
#include "lsn/state/flow_table.hpp"

namespace lsn::runtime {
namespace {

static_assert(control::kMaxTablePerWorker <= state::FlowTable::kMaxEntries,
              "what a configuration may ask for fits in the tables");

/// Beside the Ethernet header: checksum and two VLAN tags as Intel's drivers reckon (ixgbe, i40e,
/// ice), or one tag and the header of 12 bytes that net_virtio has in front of a frame.
constexpr std::uint32_t kLinkBytes = 14 + std::max(4 + 2 * 4, 4 + 12);
/// Unit of a buffer's size for NICs, rounded down: ixgbe and igb 1,024 bytes, i40e, ice and iavf
/// 128. A frame that does not fit takes several buffers.
constexpr std::uint32_t kBufferUnit = 1024;
/// Waiting fragments per datagram of dataplane.fragments.max (reassembly.hpp).
constexpr std::uint32_t kWaitingPerDatagram = 4;
/// Per-lcore cache of a pool, and the packets in bursts.
constexpr std::uint32_t kInCaches = 1024;

/// net_af_packet may get frames that offloads have joined, as large as an IP packet, whatever the
/// MTU: segments of TCP, not fragments (setsockopt() in eal.cpp). As large as a buffer can be
/// (65,535 bytes with its headroom), in whole cache lines.
constexpr std::uint32_t kLargestRoom = UINT16_MAX / 64 * 64;
/// The frame that fits in such a buffer, with the kernel's own header in front: whole pages,
/// because the driver takes for granted that a block is full of frames. One frame to a block.
constexpr std::uint32_t kAfPacketFrame = 15 * 4096;
constexpr std::uint32_t kAfPacketFrames = 512;
constexpr std::uint32_t kLargeBuffers = 4095;

/// Interfaces of a device that a message names.
constexpr std::size_t kNamed = 8;

/// The frame size is lsnd's choice.
bool wants_large_frames(const PortPlan& port) {
  return port.device.starts_with("net_af_packet") &&
         port.device.find("framesz=") == std::string::npos &&
         port.device.find("blocksz=") == std::string::npos;
}

/// Frames of the kernel that have been sent and are not free: a driver may keep them until its
/// queue is full of others, and where nothing else is sent none come.
std::uint32_t sent_and_kept(const Plan& plan) {
  std::set<std::pair<std::uint16_t, std::size_t>> queues;
  for (const KernelPlan& each : plan.kernel)
    queues.emplace(each.device, KernelCarrier::worker_of(each.interface, plan.cpus.size()));
  std::uint32_t frames = 0;
  for (const auto& [device, worker] : queues) frames += plan.ports[device].tx_descriptors;
  const auto workers = static_cast<std::uint32_t>(plan.cpus.size());
  return frames + workers * KernelCarrier::kCached * 3 / 2;
}

BufferPlan plan_buffers(const Plan& plan) {
  BufferPlan buffers;
  std::uint32_t mtu = 1500;
  std::uint32_t in_devices = 0;
  for (const PortPlan& port : plan.ports) {
    mtu = std::max<std::uint32_t>(mtu, port.mtu);
    in_devices += port.rx_descriptors + port.tx_descriptors;
  }
  // Never less than drivers take for granted.
  const std::uint32_t frame = (mtu + kLinkBytes + kBufferUnit - 1) / kBufferUnit * kBufferUnit;
  buffers.data_room = static_cast<std::uint16_t>(std::min<std::uint32_t>(
      std::max<std::uint32_t>(RTE_PKTMBUF_HEADROOM + frame, RTE_MBUF_DEFAULT_BUF_SIZE),
      kLargestRoom));

  const auto workers = static_cast<std::uint32_t>(plan.cpus.size());
  // With many workers there are many rings: their sum per worker is bounded.
  buffers.handoff_slots = workers <= 1 ? 0 : workers <= 16 ? 2048 : 512;
  const std::uint32_t in_rings = buffers.handoff_slots * std::min(workers - 1, 4U);
  const auto devices = static_cast<std::uint32_t>(plan.ports.size());
  buffers.per_worker = in_devices + in_rings + kInCaches + devices * datapath::TxBuffer::kCapacity +
                       workers * datapath::HandoffBuffer::kCapacity +
                       datapath::Neighbours::kWaitingRoom +
                       kWaitingPerDatagram * plan.fragments_per_worker;
  if (!plan.kernel.empty()) {
    buffers.per_worker += KernelCarrier::kInFlight;
    buffers.kernel = KernelCarrier::kFrames + sent_and_kept(plan);
    std::uint16_t largest = 0;
    for (const KernelPlan& each : plan.kernel) largest = std::max(largest, each.mtu);
    buffers.kernel_room =
        static_cast<std::uint16_t>(RTE_PKTMBUF_HEADROOM + KernelCarrier::room_for(largest));
  }
  buffers.indirect_per_worker = kInCaches + devices * (datapath::TxBuffer::kCapacity + 1024);
  if (std::any_of(plan.ports.begin(), plan.ports.end(), wants_large_frames)) {
    // The driver copies and keeps none: fewer will do.
    buffers.data_room = kLargestRoom;
    buffers.per_worker = std::min(buffers.per_worker, kLargeBuffers);
  }
  return buffers;
}

}  // namespace

std::size_t rounded_pool(std::size_t buffers) {
  const std::size_t rounded = std::bit_ceil(std::max<std::size_t>(buffers, 1024)) - 1;
  return rounded >= buffers * 3 / 2 ? buffers : rounded;
}

std::size_t BufferPlan::bare_bytes(std::size_t workers, Pages pages) const {
  // A buffer's own structures: mbuf, private area, the pool's header and trailer.
  constexpr std::size_t kAround = sizeof(rte_mbuf) + datapath::kBufferPrivateSize + 2 * 64;
  constexpr std::size_t kSmallPage = 4096;
  const auto pool_of = [pages](std::size_t count, std::size_t each) {
    if (pages == Pages::kHuge) return count * each;
    if (each > kSmallPage) return count * ((each + kSmallPage - 1) / kSmallPage) * kSmallPage;
    const std::size_t in_page = kSmallPage / each;
    return (count + in_page - 1) / in_page * kSmallPage;
  };
  // Buffers::make() rounds up to the best size for a ring.
  return pool_of(rounded_pool(workers * per_worker), data_room + kAround) +
         pool_of(rounded_pool(workers * indirect_per_worker), sizeof(rte_mbuf) + 2 * 64) +
         (kernel == 0 ? 0 : pool_of(rounded_pool(kernel), kernel_room + kAround)) +
         (kernel == 0 ? 0 : workers * KernelCarrier::kRingBytes) +
         workers * workers * (handoff_slots * sizeof(void*) + 512);
}

std::size_t BufferPlan::bytes(std::size_t workers, Pages pages) const {
  const std::size_t bare = bare_bytes(workers, pages);
  // Drivers' queues, EAL's own memory, and the waste at page borders.
  constexpr std::size_t kOther = std::size_t{32} << 20;
  return bare + bare / 8 + kOther;
}

namespace {

shared::KernelUse kernel_use(const control::InterfaceConfig& interface) {
  return interface.kernel.empty() ? shared::KernelUse::kNone
         : interface.kernel_ipv6  ? shared::KernelUse::kWithIpv6
                                  : shared::KernelUse::kIpv4;
}

/// The kernel interface of the next interface, if it has one.
void add_kernel(Plan& plan, const control::InterfaceConfig& interface, std::uint16_t device) {
  if (interface.kernel.empty()) return;
  plan.kernel.push_back({static_cast<shared::InterfaceId>(plan.interfaces.size()), interface.name,
                         interface.kernel, interface.kernel_netns, kernel_use(interface),
                         interface.address, interface.mtu, device});
}

}  // namespace

Plan make_plan(const control::Model& model) {
  Plan plan;
  plan.cpus.assign(model.dataplane.workers.begin(), model.dataplane.workers.end());
  plan.eal = model.dataplane.eal;
  plan.power_save = model.dataplane.power_save;
  if (model.routing.kernel_routes) plan.kernel_route_table = model.routing.table;

  const std::vector<std::string> devices = control::devices(model.interfaces);
  for (const std::string& device : devices) {
    PortPlan port;
    port.device = device;
    port.mtu = 0;
    port.rx_descriptors = 0;
    port.tx_descriptors = 0;
    std::size_t count = 0;
    for (const control::InterfaceConfig& interface : model.interfaces) {
      if (interface.device != device) continue;
      ++count;
      if (count <= kNamed) port.interfaces += (count == 1 ? "" : ", ") + interface.name;
      (interface.role == shared::Side::kInside ? port.inside : port.outside) = true;
      port.hears_groups |= !interface.kernel.empty();
      port.mtu = std::max(port.mtu, interface.mtu);
      port.rx_descriptors = std::max(port.rx_descriptors, interface.rx_queue_size);
      port.tx_descriptors = std::max(port.tx_descriptors, interface.tx_queue_size);
      if (interface.mac) port.mac = interface.mac;
      port.vlans.push_back(interface.vlan);
    }
    if (count > kNamed) port.interfaces += fmt::format(" and {} more", count - kNamed);
    plan.ports.push_back(std::move(port));
  }
  for (const control::InterfaceConfig& interface : model.interfaces) {
    const auto device = std::find(devices.begin(), devices.end(), interface.device);
    const auto index = static_cast<std::uint16_t>(device - devices.begin());
    add_kernel(plan, interface, index);
    plan.interfaces.push_back(
        {index, interface.vlan, interface.role, kernel_use(interface), interface.td});
  }

  const auto workers = static_cast<std::uint32_t>(plan.cpus.size());
  const auto share = [workers](std::uint32_t all) {
    return static_cast<std::uint32_t>((std::uint64_t{all} + workers - 1) / workers);
  };
  plan.sessions_per_worker = share(model.dataplane.max_sessions);
  plan.mappings = std::any_of(model.lsn.appsprofile.begin(), model.lsn.appsprofile.end(),
                              [](const control::AppsProfileConfig& profile) {
                                return datapath::lsn44::has_mapping(
                                    {profile.ippooling, profile.mapping, profile.filtering});
                              });
  plan.fragments_per_worker = model.dataplane.fragments.max;
  const control::AlgTablesConfig& alg = model.dataplane.alg;
  plan.alg_per_worker.ike_sessions = share(alg.max_ike_sessions);
  plan.alg_per_worker.esp_sessions = share(alg.max_esp_sessions);
  plan.alg_per_worker.gates = share(alg.max_gates);
  plan.alg_per_worker.held_bytes = share(alg.max_held_bytes);
  plan.buffers = plan_buffers(plan);
  for (PortPlan& port : plan.ports)
    port.buffer_room = static_cast<std::uint16_t>(plan.buffers.data_room - RTE_PKTMBUF_HEADROOM);
  return plan;
}

EalRequest eal_request(const Plan& plan) {
  EalRequest request;
  request.options = plan.eal;
  request.cpus = plan.cpus;
  request.buffer_bytes = plan.buffers.bytes(plan.cpus.size(), BufferPlan::Pages::kHuge);
  request.small_page_bytes = plan.buffers.bytes(plan.cpus.size(), BufferPlan::Pages::kSmall);
  for (const PortPlan& port : plan.ports)
    for (std::string& device : pci_devices(port.device)) request.pci.push_back(std::move(device));
  return request;
}

std::string device_arguments(const PortPlan& port) {
  if (!wants_large_frames(port)) return port.device;
  const bool counted = port.device.find("framecnt=") != std::string::npos;
  return fmt::format("{},framesz={},blocksz={}{}", port.device, kAfPacketFrame, kAfPacketFrame,
                     counted ? "" : fmt::format(",framecnt={}", kAfPacketFrames));
}

ComposedDevice decompose(const std::string& device) {
  ComposedDevice result;
  std::size_t at = 0;
  while (at < device.size()) {
    const std::size_t open = device.find("=(", at);
    const std::size_t close = open == std::string::npos ? open : device.find(')', open);
    if (close == std::string::npos) break;
    const std::string member = device.substr(open + 2, close - open - 2);
    result.device += device.substr(at, open + 1 - at);
    result.device += control::device_name(member);
    result.members.push_back(member);
    at = close + 1;
  }
  result.device += device.substr(at);
  return result;
}

std::vector<std::string> pci_devices(const std::string& device) {
  const auto hex = [](char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; };
  const auto matches = [&hex](std::string_view text, std::string_view shape) {
    if (text.size() < shape.size()) return false;
    for (std::size_t i = 0; i < shape.size(); ++i)
      if (shape[i] == 'x' ? !hex(text[i]) : text[i] != shape[i]) return false;
    return text.size() == shape.size() || (!hex(text[shape.size()]) && text[shape.size()] != ':');
  };
  std::vector<std::string> found;
  for (std::size_t i = 0; i < device.size(); ++i) {
    if (i != 0 && (hex(device[i - 1]) || device[i - 1] == ':')) continue;
    const std::string_view rest = std::string_view(device).substr(i);
    std::string address;
    if (matches(rest, "xxxx:xx:xx.x"))
      address = rest.substr(0, 12);
    else if (matches(rest, "xx:xx.x"))
      address = "0000:" + std::string(rest.substr(0, 7));
    else
      continue;
    std::transform(address.begin(), address.end(), address.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (i == 0) return {address + device.substr(std::min(device.find(','), device.size()))};
    found.push_back(std::move(address));
  }
  return found;
}

std::vector<std::vector<unsigned>> deal_queues(const std::vector<PortQueues>& ports,
                                               const std::vector<int>& worker_nodes) {
  const std::size_t workers = worker_nodes.size();
  std::vector<unsigned> load(workers, 0);
  std::vector<std::vector<unsigned>> result(ports.size());
  const auto give = [&](std::size_t port, unsigned worker) {
    result[port].push_back(worker);
    ++load[worker];
  };
  for (std::size_t p = 0; p < ports.size(); ++p)
    if (ports[p].rx_queues >= workers)
      for (unsigned q = 0; q < ports[p].rx_queues; ++q) give(p, static_cast<unsigned>(q % workers));
  for (std::size_t p = 0; p < ports.size(); ++p) {
    if (ports[p].rx_queues >= workers) continue;
    for (unsigned q = 0; q < ports[p].rx_queues; ++q) {
      const auto rank = [&](unsigned worker) {
        const bool far = ports[p].numa_node >= 0 && worker_nodes[worker] != ports[p].numa_node;
        return std::tuple(load[worker], far, worker);
      };
      unsigned best = 0;
      for (unsigned w = 1; w < workers; ++w)
        if (rank(w) < rank(best)) best = w;
      give(p, best);
    }
  }
  return result;
}

}  // namespace lsn::runtime
