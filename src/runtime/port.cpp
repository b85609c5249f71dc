#include "lsn/runtime/port.hpp"

#include <fmt/format.h>
#include <net/if.h>
#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "lsn/runtime/eal.hpp"

namespace lsn::runtime {
namespace {

bool is_vdev(const std::string& device) { return !device.empty() && device.find('_') < 5; }

/// What the error number says, and what DPDK has said.
std::string reason(const Attempt& attempt, int error) {
  const std::string complaint = attempt.first_complaint();
  const char* const text = rte_strerror(error < 0 ? -error : error);
  return complaint.empty() ? text : fmt::format("{} ({})", text, complaint);
}

/// Asks the kernel about an interface of its own; false: it does not know it.
bool ask_kernel(unsigned index, unsigned long question, ifreq& answer) {
  if (index == 0 || if_indextoname(index, answer.ifr_name) == nullptr) return false;
  const int handle = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (handle < 0) return false;
  const bool known = ioctl(handle, question, &answer) == 0;
  close(handle);
  return known;
}

/// MTU of the kernel's interface, 0 if it has none.
std::uint32_t kernel_mtu(unsigned index) {
  ifreq answer{};
  return ask_kernel(index, SIOCGIFMTU, answer) ? static_cast<std::uint32_t>(answer.ifr_mtu) : 0;
}

/// Whether the kernel's interface, if there is one behind the port, is up and has a carrier: drivers
/// that use it do not all look.
bool kernel_agrees(unsigned index) {
  ifreq answer{};
  if (!ask_kernel(index, SIOCGIFFLAGS, answer)) return true;
  constexpr int kCarries = IFF_UP | IFF_RUNNING;
  return (answer.ifr_flags & kCarries) == kCarries;
}

int on_removal(std::uint16_t /*port*/, rte_eth_event_type /*event*/, void* flag, void* /*extra*/) {
  static_cast<std::atomic<bool>*>(flag)->store(true, std::memory_order_relaxed);
  return 0;
}

}  // namespace

std::string Port::label() const {
  return fmt::format("interface {}: device \"{}\"", plan_.interfaces, plan_.device);
}

std::expected<std::unique_ptr<Port>, std::string> Port::open(const PortPlan& plan,
                                                             unsigned workers) {
  std::unique_ptr<Port> port(new Port(plan));
  if (auto plugged = port->plug_in(); !plugged) return std::unexpected(plugged.error());
  if (auto configured = port->configure(workers); !configured)
    return std::unexpected(configured.error());
  return port;
}

std::expected<void, std::string> Port::plug_in() {
  const Attempt attempt;
  PortPlan with_arguments = plan_;
  with_arguments.device = device_arguments(plan_);
  ComposedDevice composed = decompose(with_arguments.device);
  composed.members.push_back(composed.device);
  for (const std::string& device : composed.members) {
    const std::string name(control::device_name(device));
    // PCI devices are EAL's, and a program around us may have brought one along.
    if (!is_vdev(device) || rte_eth_dev_get_port_by_name(name.c_str(), &id_) == 0) continue;
    const int result = rte_dev_probe(device.c_str());
    if (result < 0)
      return std::unexpected(fmt::format("{} cannot be had: {}", label(), reason(attempt, result)));
    plugged_.push_back(name);
  }
  const std::string name(control::device_name(composed.device));
  if (rte_eth_dev_get_port_by_name(name.c_str(), &id_) != 0) {
    id_ = RTE_MAX_ETHPORTS;
    return std::unexpected(fmt::format(
        "{} cannot be had: {}", label(),
        is_vdev(name) ? "the driver made no port"
                      : "no such device, or not bound to a DPDK driver (dpdk-devbind.py --status)"));
  }
  return {};
}

std::expected<void, std::string> Port::configure(unsigned workers) {
  const Attempt attempt;
  workers_ = workers;
  if (const int result = rte_eth_dev_info_get(id_, &info_); result != 0)
    return std::unexpected(fmt::format("{}: no information: {}", label(), reason(attempt, result)));
  driver_ = info_.driver_name == nullptr ? "?" : info_.driver_name;
  node_ = rte_eth_dev_socket_id(id_);

  const auto at_most = [](unsigned wanted, std::uint16_t most) {
    return std::max(1U, std::min<unsigned>(wanted, most));
  };
  rx_queues_ = at_most(workers, info_.max_rx_queues);
  tx_queues_ = at_most(workers, info_.max_tx_queues);
  // The kernel spreads packets over all queues of a packet socket's group, polled or not.
  if (driver_ == "net_af_packet") rx_queues_ = std::max<unsigned>(1, info_.max_rx_queues);
  // These count queues in pairs.
  if (driver_ == "net_af_packet" || driver_ == "net_tap")
    rx_queues_ = tx_queues_ = driver_ == "net_tap" ? std::min(rx_queues_, tx_queues_) : rx_queues_;

  rte_eth_conf conf{};
  // The longest frame that the driver admits, reckoned as rte_eth_dev_configure() will.
  const std::uint32_t overhead =
      info_.max_mtu != UINT16_MAX && info_.max_rx_pktlen > info_.max_mtu
          ? info_.max_rx_pktlen - info_.max_mtu
          : RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
  const std::uint32_t largest = std::min<std::uint32_t>(
      info_.max_mtu == 0 ? UINT16_MAX : info_.max_mtu,
      info_.max_rx_pktlen > overhead ? info_.max_rx_pktlen - overhead : UINT16_MAX);
  if (plan_.mtu > largest && !is_vdev(plan_.device))
    return std::unexpected(
        fmt::format("{}: mtu {}, allowed: at most {}", label(), plan_.mtu, largest));
  conf.rxmode.mtu = std::min<std::uint32_t>(std::max<std::uint16_t>(plan_.mtu, info_.min_mtu),
                                            largest);
  conf.rxmode.offloads = info_.rx_offload_capa & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
  conf.txmode.offloads = info_.tx_offload_capa & (RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
  idle_sends_ = driver_ == "net_bonding";
  leaves_buffers_cold_ = driver_ == "net_ring";
  takes_segments_ = conf.txmode.offloads != 0;
  const std::uint32_t flags = info_.dev_flags == nullptr ? 0 : *info_.dev_flags;
  conf.intr_conf.lsc = (flags & RTE_ETH_DEV_INTR_LSC) != 0;
  conf.intr_conf.rmv = (flags & RTE_ETH_DEV_INTR_RMV) != 0;
  steering_.choose_rss(info_, rx_queues_, conf);

  const int result = rte_eth_dev_configure(id_, static_cast<std::uint16_t>(rx_queues_),
                                           static_cast<std::uint16_t>(tx_queues_), &conf);
  if (result != 0)
    return std::unexpected(fmt::format("{} does not take {} receive and {} transmit queues: {}",
                                       label(), rx_queues_, tx_queues_, reason(attempt, result)));
  if (tx_queues_ < workers && (info_.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MT_LOCKFREE) == 0)
    locks_ = std::vector<QueueLock>(tx_queues_);
  rte_eth_dev_callback_register(id_, RTE_ETH_EVENT_INTR_RMV, on_removal, &removal_seen_);
  return {};
}

std::expected<void, std::string> Port::set_up(const std::vector<unsigned>& poller_of,
                                              const std::vector<int>& nodes,
                                              const Buffers& buffers) {
  const Attempt attempt;
  std::uint16_t rx = plan_.rx_descriptors;
  std::uint16_t tx = plan_.tx_descriptors;
  if (rte_eth_dev_adjust_nb_rx_tx_desc(id_, &rx, &tx) != 0) {
    rx = plan_.rx_descriptors;
    tx = plan_.tx_descriptors;
  }
  if (rx != plan_.rx_descriptors || tx != plan_.tx_descriptors)
    spdlog::info("{}: queues of {} and {} descriptors instead of {} and {}", label(), rx, tx,
                 plan_.rx_descriptors, plan_.tx_descriptors);

  for (unsigned queue = 0; queue < rx_queues_; ++queue) {
    const int node = nodes[poller_of[queue]];
    rte_eth_rxconf conf = info_.default_rxconf;
    conf.offloads = 0;  // the port's hold
    const int result = rte_eth_rx_queue_setup(id_, static_cast<std::uint16_t>(queue), rx,
                                              static_cast<unsigned>(node), &conf,
                                              buffers.on(node).packets.get());
    if (result != 0)
      return std::unexpected(
          fmt::format("{}: receive queue {}: {}", label(), queue, reason(attempt, result)));
  }
  for (unsigned queue = 0; queue < tx_queues_; ++queue) {
    const int node = nodes[queue % nodes.size()];
    rte_eth_txconf conf = info_.default_txconf;
    conf.offloads = 0;
    const int result = rte_eth_tx_queue_setup(id_, static_cast<std::uint16_t>(queue), tx,
                                              static_cast<unsigned>(node), &conf);
    if (result != 0)
      return std::unexpected(
          fmt::format("{}: transmit queue {}: {}", label(), queue, reason(attempt, result)));
  }
  settle_mtu();
  settle_mac();
  // Rules are taken by many drivers only while the port runs: start() does the rest.
  poller_of_ = poller_of;
  return {};
}

void Port::settle_mtu() {
  std::uint16_t mtu = 0;
  rte_eth_dev_get_mtu(id_, &mtu);
  const std::uint32_t kernel = kernel_mtu(info_.if_index);
  const std::uint32_t present = kernel != 0 ? kernel : mtu;
  if (present >= plan_.mtu) return;
  const int result = rte_eth_dev_set_mtu(id_, plan_.mtu);
  if (result == 0 && (kernel == 0 || kernel_mtu(info_.if_index) >= plan_.mtu)) return;
  // A driver without a frame limit of its own (memif, ring) has no function for it either.
  if (kernel == 0 && is_vdev(plan_.device)) {
    spdlog::info("{}: the driver says nothing about an mtu of {}", label(), plan_.mtu);
    return;
  }
  spdlog::warn("{}: mtu {} cannot be set ({}): the device has {}, larger packets may be lost",
               label(), plan_.mtu, rte_strerror(-result), present);
}

void Port::settle_mac() {
  rte_ether_addr address{};
  rte_eth_macaddr_get(id_, &address);
  std::copy_n(address.addr_bytes, mac_.size(), mac_.begin());
  if (!plan_.mac || *plan_.mac == mac_) return;
  mac_ = *plan_.mac;
  std::copy_n(mac_.begin(), mac_.size(), address.addr_bytes);
  const Attempt attempt;
  const int result = rte_eth_dev_default_mac_addr_set(id_, &address);
  if (result == 0) return;
  spdlog::warn("{}: hardware address cannot be set ({}): promiscuous instead", label(),
               reason(attempt, result));
  rte_eth_promiscuous_enable(id_);
}

std::expected<void, std::string> Port::start() {
  const Attempt attempt;
  if (const int result = rte_eth_dev_start(id_); result != 0)
    return std::unexpected(fmt::format("{} does not start: {}", label(), reason(attempt, result)));
  started_ = true;
  steering_.start(id_, poller_of_, plan_.inside, plan_.outside);
  static_cast<void>(watch());
  return {};
}

void Port::stop() {
  carries_.store(false, std::memory_order_relaxed);
  if (!started_) return;
  started_ = false;
  if (!removed()) steering_.stop();
  rte_eth_dev_stop(id_);
}

Port::~Port() {
  stop();
  if (id_ != RTE_MAX_ETHPORTS) {
    rte_eth_dev_callback_unregister(id_, RTE_ETH_EVENT_INTR_RMV, on_removal, &removal_seen_);
    rte_eth_dev_close(id_);
  }
  // A bond before its members.
  for (auto name = plugged_.rbegin(); name != plugged_.rend(); ++name)
    rte_eal_hotplug_remove("vdev", name->c_str());
}

Port::TxQueue Port::tx_queue(unsigned worker) {
  const auto queue = static_cast<std::uint16_t>(worker % tx_queues_);
  return {queue, locks_.empty() ? nullptr : &locks_[queue]};
}

bool Port::is_gone() const {
  if (removal_seen_.load(std::memory_order_relaxed)) return true;
  char name[IF_NAMESIZE];
  return info_.if_index != 0 && if_indextoname(info_.if_index, name) == nullptr && errno == ENXIO;
}

Port::Event Port::watch() {
  if (removed()) return Event::kNone;
  if (is_gone()) {
    removed_.store(true, std::memory_order_relaxed);
    carries_.store(false, std::memory_order_relaxed);
    return Event::kRemoved;
  }
  rte_eth_link link{};
  // A driver that knows nothing of links carries what it is given.
  const bool up =
      (rte_eth_link_get_nowait(id_, &link) != 0 || link.link_status == RTE_ETH_LINK_UP) &&
      kernel_agrees(info_.if_index);
  speed_mbps_ = up && link.link_speed != RTE_ETH_SPEED_NUM_UNKNOWN ? link.link_speed : 0;
  if (up == carries()) return Event::kNone;
  carries_.store(up, std::memory_order_relaxed);
  return up ? Event::kUp : Event::kDown;
}

void Port::steer(const datapath::Generation& generation) {
  const Attempt attempt;
  if (!removed()) steering_.update(generation);
}

std::string Port::steering() const {
  return workers_ == 1 ? "not needed with one worker" : steering_.describe();
}

control::PortStatus Port::status() const {
  control::PortStatus status;
  status.device = plan_.device;
  status.driver = driver_;
  status.link_up = carries();
  status.removed = removed();
  status.speed_mbps = speed_mbps_;
  status.mac = wire::to_string(mac_);
  status.rx_queues = rx_queues_;
  status.tx_queues = tx_queues_;
  status.steering = steering();
  rte_eth_stats stats{};
  if (!removed() && rte_eth_stats_get(id_, &stats) == 0) {
    status.rx_missed = stats.imissed;
    status.rx_errors = stats.ierrors;
    status.rx_no_buffer = stats.rx_nombuf;
    status.tx_errors = stats.oerrors;
  }
  return status;
}

std::string Port::describe() const {
  std::string text =
      fmt::format("interface {}: device \"{}\", driver {}, {}, mtu {}, queues: {} receive, {} "
                  "transmit{}, steering: {}, link {}",
                  plan_.interfaces, plan_.device, driver_, wire::to_string(mac_), plan_.mtu,
                  rx_queues_, tx_queues_, locks_.empty() ? "" : " (shared)", steering(),
                  carries() ? "up" : "down");
  if (node_ >= 0) text += fmt::format(", NUMA node {}", node_);
  return text;
}

}  // namespace lsn::runtime
