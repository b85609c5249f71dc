#include "lsn/runtime/dataplane.hpp"

#include <fmt/format.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <spdlog/spdlog.h>
#include <sys/random.h>

#include <algorithm>
#include <cstdlib>
#include <thread>
#include <utility>

#include "lsn/control/log.hpp"
#include "lsn/runtime/eal.hpp"
#include "lsn/runtime/peer_guard.hpp"
#include "lsn/runtime/shard_commands.hpp"

namespace lsn::runtime {
namespace {

constexpr std::chrono::milliseconds kWatchInterval{50};
constexpr std::chrono::seconds kLookInterval{1};
constexpr std::chrono::milliseconds kStopPatience{3000};
/// For work under way at a device when lsnd stops.
constexpr std::chrono::milliseconds kDevicePatience{1000};

state::Random::Seed fresh_seed() {
  state::Random::Seed seed;
  std::size_t filled = 0;
  while (filled < seed.size()) {
    const ssize_t n = getrandom(seed.data() + filled, seed.size() - filled, 0);
    if (n > 0) filled += static_cast<std::size_t>(n);
  }
  return seed;
}

std::vector<RouteTable::Side> sides_of(const std::vector<shared::Interface>& interfaces) {
  std::vector<RouteTable::Side> sides;
  for (const shared::Interface& each : interfaces)
    sides.push_back(each.side == shared::Side::kOutside ? RouteTable::Side{}
                                                        : RouteTable::Side{each.td});
  return sides;
}

bool same_addresses(const shared::NatAddressMap& a, const shared::NatAddressMap& b) {
  const auto& x = a.all();
  const auto& y = b.all();
  return std::equal(x.begin(), x.end(), y.begin(), y.end(),
                    [](const auto& p, const auto& q) { return p.first == q.first; });
}

}  // namespace

std::expected<std::unique_ptr<DpdkDataplane>, std::string> DpdkDataplane::start(
    const Plan& plan, TableMemory::HugePages huge_pages) {
  std::unique_ptr<DpdkDataplane> dataplane(new DpdkDataplane(plan));
  DpdkDataplane& d = *dataplane;
  for (unsigned shard = 0; shard < plan.cpus.size(); ++shard)
    d.nodes_.push_back(static_cast<int>(rte_lcore_to_socket_id(lcore_of(shard))));

  if (auto opened = d.open_ports(); !opened) return std::unexpected(opened.error());
  auto buffers = Buffers::make(plan.buffers, d.nodes_);
  if (!buffers) return std::unexpected(buffers.error());
  d.buffers_ = std::move(*buffers);
  if (auto started = d.start_ports(); !started) return std::unexpected(started.error());
  auto rings = HandoffRings::make(plan.buffers.handoff_slots, d.nodes_);
  if (!rings) return std::unexpected(rings.error());
  d.handoff_ = std::move(*rings);
  if (auto started = d.start_kernel(); !started) return std::unexpected(started.error());
  if (plan.kernel_route_table) d.fib_ = std::make_unique<shared::Fib>(&d.route_memory_);
  if (auto started = d.start_workers(huge_pages); !started) return std::unexpected(started.error());
  if (auto started = d.start_kernel_routes(); !started) return std::unexpected(started.error());
  return dataplane;
}

std::expected<void, std::string> DpdkDataplane::open_ports() {
  const auto workers = static_cast<unsigned>(plan_.cpus.size());
  bool pci = false, by_uio = false;
  for (const PortPlan& port_plan : plan_.ports)
    for (const std::string& device : pci_devices(port_plan.device)) {
      pci = true;
      by_uio |=
          driver_of(std::string(control::device_name(device))).value_or("").starts_with("uio");
    }
  if (pci) device_monitor_ = std::make_unique<DeviceMonitor>(by_uio);
  unsigned bits = 0;
  for (const PortPlan& port_plan : plan_.ports) {
    auto port = Port::open(port_plan, workers);
    if (!port) return std::unexpected(port.error());
    // With fewer classes than workers some would have no addresses.
    if (const unsigned most = (*port)->class_bits(); (1U << most) >= workers && most != 0)
      bits = bits == 0 ? most : std::min(bits, most);
    ports_.push_back(std::make_unique<PortKeeper>(std::move(*port)));
  }
  if (bits != 0) classes_ = shared::AddressClasses(bits);
  std::vector<PortQueues> queues;
  for (const auto& each : ports_) {
    if (auto done = each->port().configure(classes_); !done) return std::unexpected(done.error());
    queues.push_back(each->port().queues());
  }
  distribution_.resize(ports_.size());
  pollers_ = deal_queues(queues, nodes_);
  return {};
}

std::expected<void, std::string> DpdkDataplane::start_ports() {
  for (std::size_t device = 0; device < ports_.size(); ++device) {
    Port& port = ports_[device]->port();
    if (auto ready = port.set_up(pollers_[device], nodes_, buffers_); !ready)
      return std::unexpected(ready.error());
    if (auto started = ports_[device]->start(); !started) return std::unexpected(started.error());
    spdlog::info("{}", port.describe());
  }
  return {};
}

std::expected<void, std::string> DpdkDataplane::start_kernel() {
  if (plan_.kernel.empty()) return {};
  kernel_policer_ = std::make_unique<datapath::KernelPolicer>(plan_.interfaces.size());
  std::vector<const Port*> ports;
  for (const auto& each : ports_) ports.push_back(&each->port());
  auto carrier = KernelCarrier::start(plan_, std::move(ports), nodes_);
  if (!carrier) return std::unexpected(carrier.error());
  kernel_ = std::move(*carrier);
  return {};
}

std::expected<void, std::string> DpdkDataplane::start_kernel_routes() {
  if (fib_ == nullptr) return {};
  auto routes = KernelRoutes::start(plan_, *fib_, quiescence_.get());
  if (!routes) return std::unexpected(routes.error());
  kernel_routes_ = std::move(*routes);
  return {};
}

WorkerConfig DpdkDataplane::worker_config(unsigned shard, TableMemory::HugePages huge_pages) {
  WorkerConfig config;
  config.shard.id = static_cast<shared::ShardId>(shard);
  config.shard.shards = static_cast<unsigned>(plan_.cpus.size());
  config.shard.max_sessions = plan_.sessions_per_worker;
  config.shard.max_fragments = plan_.fragments_per_worker;
  config.shard.alg = plan_.alg_per_worker;
  config.shard.devices = static_cast<std::uint16_t>(ports_.size());
  config.shard.buffers = buffers_.on(nodes_[shard]).packets.get();
  config.shard.indirect_buffers = buffers_.on(nodes_[shard]).indirect.get();
  config.shard.fib = fib_.get();
  config.shard.seed = fresh_seed();
  config.ingress.assign(ports_.size(),
                        std::vector<shared::InterfaceId>(4096, shared::kNoInterface));
  for (std::size_t i = 0; i < plan_.interfaces.size(); ++i) {
    const InterfacePlan& interface = plan_.interfaces[i];
    config.shard.links.push_back(
        {ports_[interface.device]->port().mac(), interface.side, interface.kernel});
    config.ingress[interface.device][interface.vlan] = static_cast<shared::InterfaceId>(i);
  }
  for (std::size_t device = 0; device < ports_.size(); ++device) {
    config.ports.push_back(&ports_[device]->port());
    for (std::size_t queue = 0; queue < pollers_[device].size(); ++queue)
      if (pollers_[device][queue] == shard)
        config.queues.push_back(
            {static_cast<std::uint16_t>(device), static_cast<std::uint16_t>(queue)});
  }
  config.lcore = lcore_of(shard);
  config.power_save = plan_.power_save;
  config.huge_pages = huge_pages;
  config.mappings = plan_.mappings;
  config.clock = &clock_;
  config.quiescence = quiescence_.get();
  config.handoff = &handoff_;
  config.kernel = kernel_.get();
  config.shard.kernel_policer = kernel_policer_.get();
  return config;
}

void DpdkDataplane::log_worker(unsigned shard) const {
  const Worker& worker = *workers_[shard];
  std::size_t huge = 0, other = 0, touched = 0, left = 0;
  for (const TableMemory* memory : worker.memory()) {
    huge += memory->in_huge_pages();
    other += memory->in_other_pages();
    touched += memory->touched();
    left += memory->left();
  }
  spdlog::info(
      "worker {}: CPU {}, NUMA node {}, room for {} sessions, {} of them ESP, tables of "
      "{} MB in huge pages and {} MB in others, {} MB of them made now",
      shard, plan_.cpus[shard], nodes_[shard], worker.capacity().sessions,
      worker.capacity().esp_sessions, huge >> 20, other >> 20, touched >> 20);
  if (left != 0)
    spdlog::warn(
        "worker {}: {} MB of tables are made when they are used, packets will wait for "
        "that: the machine has no such memory available now (dataplane.maxSessions)",
        shard, left >> 20);
}

std::expected<void, std::string> DpdkDataplane::start_workers(TableMemory::HugePages huge_pages) {
  const auto count = static_cast<unsigned>(plan_.cpus.size());
  // Cache lines of readers side by side: the structure is aligned to one.
  const std::size_t bytes = rte_rcu_qsbr_get_memsize(count);
  quiescence_.reset(static_cast<rte_rcu_qsbr*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)),
                    [](rte_rcu_qsbr* quiescence) { std::free(quiescence); });
  if (quiescence_ == nullptr || rte_rcu_qsbr_init(quiescence_.get(), count) != 0)
    return std::unexpected("no memory for quiescent states");
  peer_guard::set_workers(quiescence_);
  for (const auto& each : ports_) each->set_workers(quiescence_);

  clock_.advance_to(Clock::Source::now());
  for (unsigned shard = 0; shard < count; ++shard) {
    workers_.push_back(std::make_unique<Worker>(worker_config(shard, huge_pages)));
    if (auto started = workers_.back()->start(); !started) {
      const std::string error = started.error();
      workers_.pop_back();
      return std::unexpected(error);
    }
    log_worker(shard);
  }
  std::vector<Mailbox*> mailboxes;
  for (const auto& each : workers_) mailboxes.push_back(&each->mailbox());
  publisher_ = std::make_unique<Publisher>(quiescence_.get(), std::move(mailboxes));
  return {};
}

bool DpdkDataplane::stop_workers(std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (const auto& each : workers_) each->ask_to_stop();
  for (const auto& each : workers_) {
    while (!each->stopped()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::microseconds(500));
    }
  }
  return true;
}

DpdkDataplane::~DpdkDataplane() {
  kernel_routes_.reset();  // before the kernel interfaces go, and with them their routes
  if (!stop_workers(kStopPatience)) {
    // The worker hangs in a driver and may use lsnd's memory: nothing can be taken apart any more.
    spdlog::critical("a worker does not stop: ending at once");
    control::finish_log();
    std::_Exit(1);
  }
  for (unsigned shard = 0; shard < workers_.size(); ++shard) rte_eal_wait_lcore(lcore_of(shard));
  handoff_.clear();
  if (kernel_ != nullptr) kernel_->stop();
  for (const auto& port : ports_) {
    if (port->stop(kDevicePatience)) continue;
    spdlog::critical("{}: its driver does not come back: ending at once", port->port().label());
    control::finish_log();
    std::_Exit(1);
  }
  publisher_.reset();
  workers_.clear();
  ports_.clear();
  kernel_.reset();  // its frames may have waited in the ports' queues
  peer_guard::set_workers(nullptr);
}

unsigned DpdkDataplane::workers() const {
  return static_cast<unsigned>(workers_.size());
}

control::WorkerStatus DpdkDataplane::worker(unsigned shard) const {
  control::WorkerStatus status;
  status.cpu = plan_.cpus[shard];
  status.numa_node = nodes_[shard];
  status.counters = &workers_[shard]->counters();
  status.alg = &workers_[shard]->alg_counters();
  status.capacity = workers_[shard]->capacity();
  return status;
}

std::vector<shared::PortStatus> DpdkDataplane::ports() {
  std::vector<shared::PortStatus> all;
  for (std::size_t device = 0; device < ports_.size(); ++device) {
    shared::PortStatus status = ports_[device]->status();
    const shared::DeviceCounters counters = device_counters(device);
    status.rx_packets = counters.received.get();
    status.handed_over = counters.handed_over.get();
    status.checked = counters.checked.get();
    status.as_predicted = counters.as_predicted.get();
    status.failed_seconds = distribution_[device].failed_seconds();
    all.push_back(std::move(status));
  }
  return all;
}

std::vector<std::optional<shared::KernelStatus>> DpdkDataplane::kernel_interfaces() const {
  return kernel_ == nullptr ? decltype(kernel_interfaces())(plan_.interfaces.size())
                            : kernel_->status(plan_.interfaces.size());
}

std::optional<shared::KernelRoutesStatus> DpdkDataplane::kernel_routes() const {
  if (kernel_routes_ == nullptr) return std::nullopt;
  return kernel_routes_->status();
}

std::vector<shared::RouteRow> DpdkDataplane::list_kernel_routes(
    const std::optional<shared::RouteRow>& after, std::size_t limit) const {
  if (kernel_routes_ == nullptr) return {};
  return kernel_routes_->list(after, limit);
}

std::optional<shared::RouteRow> DpdkDataplane::find_kernel_route(
    const shared::InsideAddress& destination) const {
  if (kernel_routes_ == nullptr) return std::nullopt;
  return kernel_routes_->find(destination.td, destination.address);
}

void DpdkDataplane::publish(std::shared_ptr<const shared::Generation> generation,
                            std::function<void(std::uint64_t ended)> done) {
  if (kernel_routes_ != nullptr) kernel_routes_->set_sides(sides_of(generation->interfaces));
  const bool new_addresses =
      publisher_->current() == nullptr ||
      !same_addresses(publisher_->current()->nat_addresses, generation->nat_addresses);
  publisher_->publish(
      std::move(generation),
      [this, new_addresses, then = std::move(done)](std::uint64_t ended) {
        for (const auto& port : ports_) port->steer(publisher_->current());
        if (new_addresses)
          for (std::size_t device = 0; device < ports_.size(); ++device)
            announce(static_cast<std::uint16_t>(device));
        resolve_gateways();
        if (restored_) {
          std::exchange(restored_, {})(restoration_->restored);
          restoration_.reset();
        }
        if (then) then(ended);
      },
      publisher_->current() == nullptr ? restoration_ : nullptr);
}

void DpdkDataplane::restore(std::vector<shared::StateRecord> records,
                            std::function<void(std::uint64_t restored)> done) {
  restoration_ = std::make_shared<Restoration>();
  restoration_->records = std::move(records);
  restored_ = std::move(done);
}

shared::StateRing& DpdkDataplane::state_changes(unsigned shard) {
  return workers_[shard]->state_changes();
}

void DpdkDataplane::flush(unsigned shard, shared::SessionFlush flush,
                          std::function<void(std::uint64_t flushed)> done) {
  workers_[shard]->mailbox().post(std::make_unique<FlushSessions>(
      flush, [then = std::move(done)](const shared::SessionFlush& done_with) {
        then(done_with.flushed);
      }));
}

void DpdkDataplane::flush_alg(unsigned shard, shared::AlgFlush flush,
                              std::function<void(shared::AlgFlush)> done) {
  workers_[shard]->mailbox().post(std::make_unique<FlushAlg>(flush, std::move(done)));
}

void DpdkDataplane::ask(unsigned shard, Question question, std::function<void(Question)> done) {
  workers_[shard]->mailbox().post(std::make_unique<Asked>(std::move(question), std::move(done)));
}

shared::EventRing& DpdkDataplane::alg_events(unsigned shard) {
  return workers_[shard]->alg_events();
}

shared::LogRing* DpdkDataplane::log_records(unsigned shard) {
  return &workers_[shard]->log_records();
}

void DpdkDataplane::poll() {
  const auto now = Clock::Source::now();
  clock_.advance_to(now);
  for (const auto& each : workers_) each->mailbox().collect();
  publisher_->poll();
  if (now >= next_watch_) {
    next_watch_ = now + kWatchInterval;
    watch_ports(now);
  }
  if (now >= next_look_) {
    next_look_ = now + kLookInterval;
    watch_distribution();
  }
}

void DpdkDataplane::start_capture(unsigned shard, std::shared_ptr<shared::CaptureRing> ring,
                                  const shared::CaptureFilter& filter, std::function<void()> done) {
  taps_.resize(workers_.size());
  taps_[shard] =
      std::make_shared<datapath::CaptureTap>(std::move(ring), filter, &datapath::find_captured);
  workers_[shard]->mailbox().post(std::make_unique<SetCapture>(taps_[shard], std::move(done)));
}

void DpdkDataplane::stop_capture(unsigned shard, std::function<void()> done) {
  workers_[shard]->mailbox().post(
      std::make_unique<SetCapture>(nullptr, [this, shard, then = std::move(done)] {
        taps_[shard].reset();
        then();
      }));
}

shared::DeviceCounters DpdkDataplane::device_counters(std::size_t device) const {
  shared::DeviceCounters sum;
  for (const auto& each : workers_) {
    const shared::DeviceCounters& one = each->counters().devices[device];
    sum.received.add(one.received.get());
    sum.handed_over.add(one.handed_over.get());
    sum.checked.add(one.checked.get());
    sum.as_predicted.add(one.as_predicted.get());
  }
  return sum;
}

void DpdkDataplane::watch_distribution() {
  for (std::size_t device = 0; device < ports_.size(); ++device) {
    const DistributionWatch::Sight sight = distribution_[device].look(device_counters(device));
    if (sight.complaint) spdlog::warn("{}: {}", ports_[device]->port().label(), *sight.complaint);
    if (!sight.give_up) continue;
    spdlog::warn("{}: it gets an ordinary key, and distributes by flow",
                 ports_[device]->port().label());
    ports_[device]->leave_alone();
  }
}

void DpdkDataplane::watch_ports(Clock::Source::time_point now) {
  for (std::size_t device = 0; device < ports_.size(); ++device) {
    const PortPlan& plan = ports_[device]->port().plan();
    switch (ports_[device]->poll(now)) {
      case Port::Event::kNone:
        break;
      case Port::Event::kUp:
        spdlog::info("interface {}: device \"{}\": link up", plan.interfaces, plan.device);
        announce(static_cast<std::uint16_t>(device));
        resolve_gateways();
        break;
      case Port::Event::kDown:
        spdlog::warn("interface {}: device \"{}\": link down", plan.interfaces, plan.device);
        break;
      case Port::Event::kRemoved:
        spdlog::error(
            "interface {}: device \"{}\" has disappeared; it is taken again when it "
            "returns",
            plan.interfaces, plan.device);
        break;
    }
  }
}

void DpdkDataplane::announce(std::uint16_t device) {
  if (publisher_->current() == nullptr || !ports_[device]->port().carries()) return;
  std::vector<shared::InterfaceId> interfaces;
  for (std::size_t i = 0; i < plan_.interfaces.size(); ++i)
    if (plan_.interfaces[i].device == device)
      interfaces.push_back(static_cast<shared::InterfaceId>(i));
  workers_.front()->mailbox().post(std::make_unique<AnnounceAddresses>(std::move(interfaces)));
}

void DpdkDataplane::resolve_gateways() {
  if (publisher_->current() == nullptr) return;
  for (const auto& each : workers_) each->mailbox().post(std::make_unique<ResolveGateways>());
}

}  // namespace lsn::runtime
