#include "lsn/runtime/port.hpp"

#include <fmt/format.h>
#include <net/if.h>
#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "lsn/runtime/eal.hpp"
#include "lsn/runtime/peer_guard.hpp"
#include "lsn/runtime/port_settings.hpp"

namespace lsn::runtime {
namespace {

/// The time that a driver may take to stop a device.
constexpr std::chrono::milliseconds kStopPatience{3000};

/// The text of the error number, and DPDK's own lines.
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

/// Whether the kernel's interface, if there is one behind the port, is up and has a carrier:
/// drivers that use it do not all look.
bool kernel_agrees(unsigned index) {
  ifreq answer{};
  if (!ask_kernel(index, SIOCGIFFLAGS, answer)) return true;
  constexpr int kCarries = IFF_UP | IFF_RUNNING;
  return (answer.ifr_flags & kCarries) == kCarries;
}

bool is_memif_server(const std::string& device) {
  return device.find("role=server") != std::string::npos ||
         device.find("role=master") != std::string::npos;
}

/// The path of a memif's socket in the file system; "" if it has none there.
std::string socket_path(const std::string& device) {
  if (!device.starts_with("net_memif") || device.find("socket-abstract=no") == std::string::npos)
    return "";
  const std::size_t begin = device.find(",socket=");
  if (begin == std::string::npos) return "/run/memif.sock";  // the driver's own
  const std::size_t from = begin + std::strlen(",socket=");
  return device.substr(from, device.find(',', from) - from);
}

/// Obstacles of a memif: a missing directory that its peer would have made, a server's socket that
/// a process before this one has left behind.
void prepare_socket(const std::string& device) {
  const std::string path = socket_path(device);
  if (path.empty()) return;
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  sockaddr_un address{};
  struct stat status{};
  if (!is_memif_server(device) || path.size() >= sizeof address.sun_path ||
      lstat(path.c_str(), &status) != 0 || !S_ISSOCK(status.st_mode))
    return;
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, path.size());
  const int probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return;
  if (connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
      errno == ECONNREFUSED)
    unlink(path.c_str());
  close(probe);
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
  port->workers_ = workers;
  if (auto read = port->read_offers(); !read) return std::unexpected(read.error());
  port->has_peer_ = port->offering_driver() == "net_memif";
  port->seeks_peer_ = port->has_peer_ && !is_memif_server(plan.device);
  port->lends_buffers_ =
      port->seeks_peer_ && plan.device.find("zero-copy=yes") != std::string::npos;
  if (port->has_peer_) peer_guard::guard(*port);
  // A bond does without a member, as long as it can.
  if (decompose(plan.device).members.empty())
    port->removal_watch_ = std::make_unique<RemovalWatch>(
        std::string(control::device_name(plan.device)), port->removal_seen_);
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
    // PCI devices are EAL's when it starts, and an embedding program may have added one.
    if ((!is_vdev(device) && !is_known_) || rte_eth_dev_get_port_by_name(name.c_str(), &id_) == 0)
      continue;
    prepare_socket(device);
    const int result = rte_dev_probe(device.c_str());
    if (result < 0)
      return std::unexpected(fmt::format(
          "{} cannot be had: {}", label(),
          is_vdev(device) || is_for_dpdk(driver_of(name).value_or("")) ? reason(attempt, result)
                                                                       : why_no_device(name)));
    if (is_vdev(device)) plugged_.push_back(name);
  }
  const std::string name(control::device_name(composed.device));
  if (rte_eth_dev_get_port_by_name(name.c_str(), &id_) != 0) {
    id_ = RTE_MAX_ETHPORTS;
    return std::unexpected(
        fmt::format("{} cannot be had: {}", label(),
                    is_vdev(name) ? std::string("the driver made no port") : why_no_device(name)));
  }
  return {};
}

std::expected<void, std::string> Port::read_offers() {
  const Attempt attempt;
  if (!decompose(plan_.device).members.empty()) {
    const rte_eth_conf conf{};
    if (const int result = rte_eth_dev_configure(id_, 1, 1, &conf); result != 0)
      return std::unexpected(
          fmt::format("{} does not take its members: {}", label(), reason(attempt, result)));
  }
  if (const int result = rte_eth_dev_info_get(id_, &info_); result != 0)
    return std::unexpected(fmt::format("{}: no information: {}", label(), reason(attempt, result)));
  return {};
}

std::string_view Port::offering_driver() const {
  return info_.driver_name == nullptr ? "?" : info_.driver_name;
}

unsigned Port::class_bits() const {
  const auto settings = port_settings(plan_, info_, offering_driver(), workers_, plan_.buffer_room);
  return settings && settings->rx_queues > 1 ? Steering::class_bits(info_, offering_driver()) : 0;
}

std::expected<void, std::string> Port::configure(const shared::AddressClasses& classes) {
  const Attempt attempt;
  classes_ = classes;
  const std::string driver(offering_driver());
  const auto chosen = port_settings(plan_, info_, driver, workers_, plan_.buffer_room);
  if (!chosen) return std::unexpected(fmt::format("{}: {}", label(), chosen.error()));
  PortSettings settings = *chosen;
  if (!is_known_) {
    driver_ = driver;
    node_ = rte_eth_dev_socket_id(id_);
    rx_queues_ = settings.rx_queues;
    tx_queues_ = settings.tx_queues;
    idle_sends_ = driver_ == "net_bonding";
    leaves_buffers_cold_ = driver_ == "net_ring";
    takes_segments_ = settings.tx_offloads != 0;
  } else if (driver != driver_ || settings.rx_queues != rx_queues_ ||
             settings.tx_queues != tx_queues_) {
    return std::unexpected(fmt::format(
        "{} has returned as another one ({} with {} receive and {} transmit queues): it can be had "
        "after a restart",
        label(), driver, settings.rx_queues, settings.tx_queues));
  }

  const auto configured = [this, &settings] {
    rte_eth_conf conf = settings.conf();
    steering_.choose(
        info_, driver_, rx_queues_,
        // Of both sides' packets more come from outside, and those of one server there would all
        // come to one worker by their source.
        plan_.outside ? shared::HashedAddress::kDestination : shared::HashedAddress::kSource,
        classes_, conf);
    return rte_eth_dev_configure(id_, static_cast<std::uint16_t>(rx_queues_),
                                 static_cast<std::uint16_t>(tx_queues_), &conf);
  };
  int result = configured();
  if (result != 0 && !settings.vlan_filter.empty()) {
    settings = settings.without_filter();
    result = configured();
  }
  if (result != 0)
    return std::unexpected(fmt::format("{} does not take {} receive and {} transmit queues: {}",
                                       label(), rx_queues_, tx_queues_, reason(attempt, result)));
  vlan_filter_ = settings.vlan_filter;
  if (!is_known_ && tx_queues_ < workers_ &&
      (info_.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MT_LOCKFREE) == 0)
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

  rx_descriptors_ = rx;
  for (unsigned queue = 0; queue < rx_queues_; ++queue) {
    const int node = nodes[poller_of[queue]];
    rte_eth_rxconf conf = info_.default_rxconf;
    conf.offloads = 0;  // the port's hold
    // Else a queue whose worker is late stops all others of the device.
    if (drops_for_full_queue(driver_)) conf.rx_drop_en = 1;
    const int result =
        rte_eth_rx_queue_setup(id_, static_cast<std::uint16_t>(queue), rx,
                               static_cast<unsigned>(node), &conf, buffers.on(node).packets.get());
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
  // A table is taken by many drivers only while the port runs: start() does the rest.
  if (is_known_) return {};
  poller_of_ = poller_of;
  nodes_ = nodes;
  buffers_ = &buffers;
  is_known_ = true;
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
  wire::MacAddress present{};
  std::copy_n(address.addr_bytes, present.size(), present.begin());
  // The neighbours know it by the address that it had.
  if (!is_known_) mac_ = plan_.mac.value_or(present);
  if (mac_ == present) return;
  std::copy_n(mac_.begin(), mac_.size(), address.addr_bytes);
  const Attempt attempt;
  const int result = rte_eth_dev_default_mac_addr_set(id_, &address);
  if (result == 0) return;
  spdlog::warn("{}: hardware address cannot be set ({}): promiscuous instead", label(),
               reason(attempt, result));
  rte_eth_promiscuous_enable(id_);
}

/// The kernel interfaces on it hear multicast: the device has to let all of it in.
void Port::settle_groups() {
  if (!plan_.hears_groups) return;
  const Attempt attempt;
  if (rte_eth_allmulticast_enable(id_) == 0 || rte_eth_promiscuous_enable(id_) == 0) return;
  spdlog::warn("{}: the device may keep multicast to itself that kernel interfaces want", label());
}

std::expected<void, std::string> Port::start() {
  const Attempt attempt;
  peer_ended_.store(false, std::memory_order_relaxed);
  if (const int result = rte_eth_dev_start(id_); result != 0)
    return std::unexpected(fmt::format("{} does not start: {}", label(), reason(attempt, result)));
  started_ = true;
  settle_groups();
  tell_vlans();
  settle_flow_control();
  steering_.start(id_, poller_of_);
  tell_steering();
  // With a peer it serves while the link is up, and not before.
  if (!has_peer_) serves_.store(true, std::memory_order_release);
  return {};
}

/// Some drivers forget them when they stop, all take them while they run.
void Port::tell_vlans() {
  for (const std::uint16_t vlan : vlan_filter_)
    if (const int result = rte_eth_dev_vlan_filter(id_, vlan, 1); result != 0)
      spdlog::warn("{}: the device does not take VLAN {} ({}): its frames may not arrive", label(),
                   vlan, rte_strerror(-result));
}

/// A NAT that waits for a slow link would make all others wait: packets that find no room are
/// counted and dropped. Some drivers begin with pauses in both directions after each start
/// (net_e1000_em, net_e1000_igb).
void Port::settle_flow_control() {
  rte_eth_fc_conf conf{};
  std::string text = "not told by the driver";
  if (rte_eth_dev_flow_ctrl_get(id_, &conf) == 0) {
    if (conf.mode != RTE_ETH_FC_NONE) {
      rte_eth_fc_conf none = conf;
      none.mode = RTE_ETH_FC_NONE;
      if (rte_eth_dev_flow_ctrl_set(id_, &none) == 0) rte_eth_dev_flow_ctrl_get(id_, &conf);
    }
    text = conf.mode == RTE_ETH_FC_NONE ? "off" : "on, and the driver does not switch it off";
  }
  const std::lock_guard lock(steering_mutex_);
  flow_control_ = std::move(text);
}

void Port::stop_device() {
  if (!started_) return;
  started_ = false;
  if (!has_peer_) {
    rte_eth_dev_stop(id_);
    return;
  }
  // Not while the driver takes the same link down on its own thread: both would free it.
  if (!peer_guard::on_interrupt_thread([id = id_] { rte_eth_dev_stop(id); }, kStopPatience))
    spdlog::error("{} does not stop", label());
}

std::expected<void, std::string> Port::restart() {
  const Attempt attempt;
  stop_device();
  if (!removed()) return start();

  give_back();
  if (!has_returned()) return std::unexpected(fmt::format("{}: waiting until it returns", label()));
  if (auto plugged = plug_in(); !plugged) return plugged;
  // All notices until now were about the device that has gone.
  removal_seen_.store(false, std::memory_order_relaxed);
  auto done = read_offers();
  if (done) done = configure(classes_);
  if (done) done = set_up(poller_of_, nodes_, *buffers_);
  if (done) {
    removed_.store(false, std::memory_order_relaxed);
    done = start();
  }
  if (!done) {
    removed_.store(true, std::memory_order_relaxed);
    stop_device();
    give_back();
  }
  return done;
}

bool Port::has_returned() const {
  const std::string device(control::device_name(plan_.device));
  if (!is_vdev(device)) {
    const auto driver = driver_of(device);
    return driver && !driver->empty();
  }
  // A device made of a kernel's interface needs that interface.
  const std::string_view text = plan_.device;
  constexpr std::string_view kArgument = ",iface=";
  const std::size_t at = driver_ == "net_af_packet" ? text.find(kArgument) : text.npos;
  if (at == text.npos) return true;
  const std::string_view name = text.substr(at + kArgument.size());
  return if_nametoindex(std::string(name.substr(0, name.find(','))).c_str()) != 0;
}

/// To the kernel as well, which may be waiting for it.
void Port::give_back() {
  rte_device* const device = id_ == RTE_MAX_ETHPORTS ? nullptr : info_.device;
  unplug();
  if (!is_vdev(plan_.device) && device != nullptr) rte_dev_remove(device);
}

void Port::unplug() {
  if (id_ == RTE_MAX_ETHPORTS) return;
  rte_eth_dev_callback_unregister(id_, RTE_ETH_EVENT_INTR_RMV, on_removal, &removal_seen_);
  rte_eth_dev_close(id_);
  id_ = RTE_MAX_ETHPORTS;
  // A bond before its members.
  for (auto name = plugged_.rbegin(); name != plugged_.rend(); ++name)
    rte_eal_hotplug_remove("vdev", name->c_str());
  plugged_.clear();
}

void Port::stop() {
  withdraw();
  stop_device();
}

Port::~Port() {
  // A failure to give something back does not matter here.
  const Attempt attempt;
  stop();
  removal_watch_.reset();
  if (has_peer_) peer_guard::forget(*this);
  // The driver goes on listening for a memif's server that is closed, with memory that it has freed
  // (DPDK 22.11, memif_socket_remove_device()): it stays as it is, but for its socket's file.
  if (has_peer_ && !seeks_peer_) {
    const std::string path = socket_path(plan_.device);
    if (!path.empty()) unlink(path.c_str());
    if (id_ != RTE_MAX_ETHPORTS)
      rte_eth_dev_callback_unregister(id_, RTE_ETH_EVENT_INTR_RMV, on_removal, &removal_seen_);
    return;
  }
  unplug();
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
    withdraw();
    is_up_ = false;
    return Event::kRemoved;
  }
  rte_eth_link link{};
  // A driver without a link state carries every frame.
  bool up = (rte_eth_link_get_nowait(id_, &link) != 0 || link.link_status == RTE_ETH_LINK_UP) &&
            kernel_agrees(info_.if_index);
  if (has_peer_)
    up = up && peer_guard::admit(*this);
  else
    carries_.store(up, std::memory_order_release);
  speed_mbps_ = up && link.link_speed != RTE_ETH_SPEED_NUM_UNKNOWN ? link.link_speed : 0;
  // 64 bytes, preamble and gap.
  constexpr std::uint64_t kSmallestFrameBits = 672;
  if (speed_mbps_ != 0 && !is_vdev(plan_.device))
    fill_ns_.store(
        static_cast<std::uint32_t>(rx_descriptors_ * kSmallestFrameBits * 1000 / speed_mbps_),
        std::memory_order_relaxed);
  if (up == is_up_) return Event::kNone;
  is_up_ = up;
  return up ? Event::kUp : Event::kDown;
}

void Port::steer(const shared::Generation& generation) {
  const Attempt attempt;
  if (!started_ || removed()) return;
  steering_.update(generation);
  tell_steering();
}

void Port::leave_alone() {
  const Attempt attempt;
  if (!started_ || removed()) return;
  steering_.give_up();
  tell_steering();
}

void Port::tell_steering() {
  std::string text = steering_.describe();
  const std::lock_guard lock(steering_mutex_);
  steering_text_ = std::move(text);
}

std::string Port::steering() const {
  if (workers_ == 1) return "not needed with one worker";
  const std::lock_guard lock(steering_mutex_);
  return steering_text_;
}

shared::PortStatus Port::status(bool is_touchable) {
  shared::PortStatus status;
  status.device = plan_.device;
  status.driver = driver_;
  status.link_up = carries();
  status.removed = removed();
  status.speed_mbps = speed_mbps_;
  status.mac = wire::to_string(mac_);
  status.rx_queues = rx_queues_;
  status.tx_queues = tx_queues_;
  {
    const std::lock_guard lock(steering_mutex_);
    status.flow_control = flow_control_;
  }
  status.steering = steering();
  rte_eth_stats now{};
  if (is_touchable && !removed() && rte_eth_stats_get(id_, &now) == 0) stats_ = now;
  status.rx_missed = stats_.imissed;
  status.rx_errors = stats_.ierrors;
  status.rx_no_buffer = stats_.rx_nombuf;
  status.tx_errors = stats_.oerrors;
  return status;
}

std::string Port::describe() const {
  std::string text = fmt::format(
      "interface {}: device \"{}\", driver {}, {}, mtu {}, queues: {} receive, {} "
      "transmit{}, steering: {}, link {}",
      plan_.interfaces, plan_.device, driver_, wire::to_string(mac_), plan_.mtu, rx_queues_,
      tx_queues_, locks_.empty() ? "" : " (shared)", steering(), carries() ? "up" : "down");
  if (node_ >= 0) text += fmt::format(", NUMA node {}", node_);
  return text;
}

}  // namespace lsn::runtime
