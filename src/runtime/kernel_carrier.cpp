#include "lsn/runtime/kernel_carrier.hpp"

#include <fmt/format.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "lsn/control/quiet_thread.hpp"
#include "lsn/datapath/l3/kernel_path.hpp"
#include "lsn/datapath/packet.hpp"

namespace lsn::runtime {
namespace {

/// How long a packet may wait for a thread that has found nothing to do.
constexpr std::chrono::milliseconds kNap{1};
constexpr std::chrono::milliseconds kCarrierInterval{50};
constexpr std::chrono::seconds kMakeInterval{1};
/// Pieces of a frame that is larger than a buffer.
constexpr std::size_t kPieces = 16;

using Outcome = KernelTap::Outcome;

}  // namespace

std::expected<std::unique_ptr<KernelCarrier>, std::string> KernelCarrier::start(
    const Plan& plan, std::vector<const Port*> ports, const std::vector<int>& nodes,
    MakeTap make_tap) {
  std::unique_ptr<KernelCarrier> carrier(new KernelCarrier(std::move(make_tap)));
  static unsigned count = 0;  // pools of an earlier one may still be listed
  carrier->pool_.reset(rte_pktmbuf_pool_create(
      fmt::format("lsn_kernel_{}", count++).c_str(),
      static_cast<unsigned>(rounded_pool(plan.buffers.kernel)), kCached,
      datapath::kBufferPrivateSize, plan.buffers.kernel_room, SOCKET_ID_ANY));
  if (carrier->pool_ == nullptr)
    return std::unexpected(
        fmt::format("no memory for buffers of kernel interfaces: {}", rte_strerror(rte_errno)));
  if (auto made = carrier->make_rings(nodes); !made) return std::unexpected(made.error());
  if (auto made = carrier->make_interfaces(plan, ports); !made)
    return std::unexpected(made.error());
  carrier->thread_ = control::quiet_thread([c = carrier.get()] { c->run(); });
  return carrier;
}

KernelCarrier::~KernelCarrier() {
  stop();
}

std::expected<void, std::string> KernelCarrier::make_rings(const std::vector<int>& nodes) {
  for (std::size_t worker = 0; worker < nodes.size(); ++worker) {
    Lane& lane = lanes_.emplace_back();
    bool made = true;
    const auto make = [&](PacketRing& ring, std::uint32_t slots) {
      ring = PacketRing(slots, nodes[worker]);
      made = made && ring;
    };
    for (std::size_t c = 0; c < shared::kKernelClasses; ++c) make(lane.to_kernel[c], kSlots[c]);
    make(lane.back, 1024);
    make(lane.from_kernel, kFromKernelSlots);
    if (!made)
      return std::unexpected(
          fmt::format("no memory for the rings between worker {} and the kernel", worker));
  }
  return {};
}

std::expected<void, std::string> KernelCarrier::make_interfaces(
    const Plan& plan, const std::vector<const Port*>& ports) {
  poll_ = control::FileDescriptor(epoll_create1(EPOLL_CLOEXEC));
  by_id_.resize(plan.interfaces.size(), nullptr);
  for (const KernelPlan& each : plan.kernel) {
    auto made = make_tap_(each, ports[each.device]->mac());
    if (!made) return std::unexpected(made.error());
    auto of = std::make_unique<Interface>();
    of->plan = each;
    of->port = ports[each.device];
    of->tap = std::move(*made);
    by_id_[each.interface] = of.get();
    interfaces_.push_back(std::move(of));
    if (!poll_for(interfaces_.size() - 1))
      return std::unexpected(
          fmt::format("interface {}: kernel interface \"{}\": epoll", each.label, each.name));
    spdlog::info("interface {}: kernel interface \"{}\"{}, {}", each.label, each.name,
                 each.netns.empty() ? "" : " in netns " + each.netns,
                 wire::to_string(each.address));
  }
  return {};
}

bool KernelCarrier::poll_for(std::size_t index) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = index;
  return epoll_ctl(poll_.get(), EPOLL_CTL_ADD, interfaces_[index]->tap->fd(), &event) == 0;
}

void KernelCarrier::stop() {
  stop_.store(true, std::memory_order_relaxed);
  if (thread_.joinable()) thread_.join();
  interfaces_.clear();
  by_id_.clear();
  rte_pktmbuf_free(std::exchange(spare_, nullptr));
  for (Lane& lane : lanes_) {
    for (PacketRing& ring : lane.to_kernel) ring.clear();
    lane.back.clear();
    lane.from_kernel.clear();
  }
}

std::vector<std::optional<shared::KernelStatus>> KernelCarrier::status(
    std::size_t interfaces) const {
  std::vector<std::optional<shared::KernelStatus>> all(interfaces);
  for (const auto& each : interfaces_)
    all[each->plan.interface] = shared::KernelStatus{each->plan.name, each->plan.netns,
                                                     each->present.load(std::memory_order_relaxed)};
  return all;
}

// ── the thread ──────────────────────────────────────────────────────────────────────────────────

void KernelCarrier::run() {
  bool worked = false;
  while (!stop_.load(std::memory_order_relaxed)) {
    watch_over();
    const bool carried = carry_to_kernel();
    worked = carry_from_kernel(worked || carried ? std::chrono::milliseconds{0} : kNap) || carried;
  }
}

bool KernelCarrier::carry_to_kernel() {
  bool worked = false;
  // A class has its turn when those before it have nothing left; of each only some, so that the
  // kernel's own frames do not wait long.
  for (std::size_t c = 0; c < shared::kKernelClasses; ++c) {
    for (unsigned rounds = 0; rounds < 8 && carry_class(c); ++rounds) {
      worked = true;
      for (std::size_t before = 0; before < c; ++before) static_cast<void>(carry_class(before));
    }
  }
  return worked;
}

bool KernelCarrier::carry_class(std::size_t of_class) {
  std::array<rte_mbuf*, kBurst> packets;
  bool worked = false;
  for (Lane& lane : lanes_) {
    // Its worker takes them back with its next poll.
    if (lane.back.room() < kBurst) continue;
    const unsigned n = lane.to_kernel[of_class].take(packets);
    for (unsigned i = 0; i < n; ++i) write_to(packets[i]);
    static_cast<void>(lane.back.put({packets.data(), n}));
    worked |= n != 0;
  }
  return worked;
}

void KernelCarrier::write_to(rte_mbuf* packet) {
  datapath::set_fate(packet, datapath::KernelFate::kRefused);
  Interface* const to = by_id_[datapath::origin_of(packet).interface];
  if (to == nullptr || !to->tap) return;
  std::array<iovec, kPieces> pieces;
  std::size_t count = 0;
  for (rte_mbuf* segment = packet; segment != nullptr; segment = segment->next) {
    if (count == pieces.size()) return;
    pieces[count++] = {rte_pktmbuf_mtod(segment, void*), segment->data_len};
  }
  switch (to->tap->write({pieces.data(), count})) {
    case Outcome::kDone:
      datapath::set_fate(packet, datapath::KernelFate::kTaken);
      return;
    case Outcome::kGone:
      return lose(*to, "has been deleted");
    case Outcome::kNothing:
    case Outcome::kRefused:
      return;
  }
}

bool KernelCarrier::carry_from_kernel(std::chrono::milliseconds patience) {
  std::array<epoll_event, kBurst> events;
  const int n = epoll_wait(poll_.get(), events.data(), static_cast<int>(events.size()),
                           static_cast<int>(patience.count()));
  bool worked = false;
  for (int i = 0; i < n; ++i) worked |= read_from(events[static_cast<std::size_t>(i)].data.u64);
  // Frames that no worker takes now are there at once again.
  if (n > 0 && !worked) std::this_thread::sleep_for(kNap);
  return worked;
}

bool KernelCarrier::read_from(std::size_t index) {
  Interface& from = *interfaces_[index];
  PacketRing& ring = lanes_[worker_of(from.plan.interface, lanes_.size())].from_kernel;
  unsigned count = 0;
  for (const unsigned room = std::min(ring.room(), kBurst); from.tap && count < room; ++count) {
    if (spare_ == nullptr) spare_ = rte_pktmbuf_alloc(pool_.get());
    if (spare_ == nullptr) break;
    std::size_t size = 0;
    const std::size_t most =
        std::min<std::size_t>(rte_pktmbuf_tailroom(spare_), room_for(from.plan.mtu));
    const Outcome outcome = from.tap->read({rte_pktmbuf_mtod(spare_, std::uint8_t*), most}, size);
    if (outcome == Outcome::kGone) lose(from, "has been deleted");
    if (outcome != Outcome::kDone) break;
    rte_mbuf* const frame = std::exchange(spare_, nullptr);
    rte_pktmbuf_append(frame, static_cast<std::uint16_t>(size));
    datapath::origin_of(frame) = {from.plan.interface, datapath::HandoffKind::kKernel, 0};
    static_cast<void>(ring.put({&frame, 1}));
  }
  return count != 0;
}

void KernelCarrier::lose(Interface& of, std::string_view why) {
  spdlog::error("interface {}: kernel interface \"{}\" {}; it is made again", of.plan.label,
                of.plan.name, why);
  of.tap.reset();
  of.carrier.reset();
  of.complained = false;
  of.present.store(false, std::memory_order_relaxed);
  next_make_ = Clock::now() + kMakeInterval;
}

void KernelCarrier::make_again(std::size_t index) {
  Interface& of = *interfaces_[index];
  auto made = make_tap_(of.plan, of.port->mac());
  if (!made) {
    if (!std::exchange(of.complained, true)) spdlog::error("{}", made.error());
    return;
  }
  of.tap = std::move(*made);
  if (!poll_for(index)) return of.tap.reset();
  of.present.store(true, std::memory_order_relaxed);
  spdlog::info("interface {}: kernel interface \"{}\" is there again", of.plan.label, of.plan.name);
}

void KernelCarrier::watch_over() {
  const Clock::time_point now = Clock::now();
  if (now < next_watch_) return;
  next_watch_ = now + kCarrierInterval;
  const bool makes = now >= next_make_;
  if (makes) next_make_ = now + kMakeInterval;
  for (std::size_t i = 0; i < interfaces_.size(); ++i) {
    Interface& of = *interfaces_[i];
    if (makes && of.tap && of.tap->is_left_behind())
      lose(of, fmt::format("was in another netns {}, which has been deleted", of.plan.netns));
    if (!of.tap && makes) make_again(i);
    if (!of.tap) continue;
    const bool carries = of.port->carries();
    if (of.carrier == carries) continue;
    of.tap->set_carrier(carries);
    of.carrier = carries;
  }
}

}  // namespace lsn::runtime
