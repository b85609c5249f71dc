#include "lsn/runtime/kernel_routes.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <poll.h>
#include <sched.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <map>
#include <system_error>
#include <utility>

#include "lsn/control/quiet_thread.hpp"
#include "lsn/runtime/kernel_tap.hpp"

namespace lsn::runtime {
namespace {

using control::FileDescriptor;
using Clock = std::chrono::steady_clock;

/// Changes that the kernel keeps while the thread is busy: some 100,000.
constexpr int kEventBytes = 64 << 20;
/// Changes between two looks at the clock and the workers.
constexpr std::size_t kBatch = 256;
/// Of changes that come one by one, before the packet path hears of them.
constexpr std::chrono::milliseconds kGather{10};
/// Before the table is read again: what made it necessary seldom comes alone.
constexpr std::chrono::milliseconds kSettle{200};
/// A reading of the table after which the next one may begin: a share of the time that it took.
constexpr int kRest = 4;
/// After a failure.
constexpr std::chrono::seconds kRetry{1};
/// Between two looks whether a network namespace is still that of its name.
constexpr std::chrono::seconds kLook{1};
/// For the workers to pass a quiescent state, while something waits for that.
constexpr std::chrono::milliseconds kGrace{100};

struct CloseSocket {
  void operator()(nl_sock* socket) const { nl_socket_free(socket); }
};
using Socket = std::unique_ptr<nl_sock, CloseSocket>;

struct PutRoute {
  void operator()(rtnl_route* route) const { rtnl_route_put(route); }
};
using RoutePtr = std::unique_ptr<rtnl_route, PutRoute>;

std::string error_text(int error = errno) {
  return std::system_category().message(error);
}

}  // namespace

/// A network namespace with kernel interfaces of ours.
class KernelRoutes::Space {
 public:
  struct Interface {
    shared::InterfaceId id;
    std::string name;
    wire::Ipv4Prefix network;
    int index = 0;  ///< the kernel's; 0: it is not there
  };

  Space(KernelRoutes& owner, unsigned number, std::string netns, std::uint32_t table)
      : owner_(owner), number_(number), netns_(std::move(netns)), table_(table) {}

  void add(const KernelPlan& plan) {
    interfaces_.push_back({plan.interface, plan.name, plan.address});
  }

  /// On the thread. Error: one line.
  [[nodiscard]] std::expected<void, std::string> open();
  /// Where its namespace has been deleted and made anew the routes are there.
  void follow_netns();
  [[nodiscard]] bool has_netns() const { return !netns_.empty(); }
  [[nodiscard]] int fd() const { return nl_socket_get_fd(events_.get()); }
  /// Takes what the kernel has told, a batch of it. Whether there may be more.
  [[nodiscard]] bool take_events();
  /// Reads the table if that is due.
  void read_if_due(Clock::time_point now);
  void want_reading(Clock::time_point at) {
    if (!read_at_ || at < *read_at_) read_at_ = at;
  }
  [[nodiscard]] std::optional<Clock::time_point> next_reading() const { return read_at_; }

 private:
  using Result = std::expected<void, std::string>;

  [[nodiscard]] std::unexpected<std::string> fault(std::string_view what, std::string_view why) {
    return std::unexpected(fmt::format("kernel routes{}: {}: {}",
                                       netns_.empty() ? "" : " of netns " + netns_, what, why));
  }
  [[nodiscard]] Result make_sockets();
  [[nodiscard]] Result read_table();
  void find_indices();
  [[nodiscard]] bool is_ours(int index) const {
    return std::any_of(interfaces_.begin(), interfaces_.end(),
                       [index](const Interface& each) { return each.index == index; });
  }
  static int on_message(nl_msg* message, void* space);
  void hear(nlmsghdr& header);
  void hear_route(nlmsghdr& header);
  void hear_of_link(const nlmsghdr& header);
  [[nodiscard]] std::vector<shared::RouteHop> usable_hops(rtnl_route* route, bool& is_unusable);

  KernelRoutes& owner_;
  unsigned number_;
  std::string netns_;
  KernelTap::Netns place_;  ///< nothing: lsnd's own
  std::uint32_t table_;
  std::vector<Interface> interfaces_;
  Socket events_, questions_;
  FileDescriptor any_socket_;  ///< of the namespace
  std::optional<Clock::time_point> read_at_;
  Clock::time_point not_before_{};
  std::uint32_t round_ = 0;
  std::size_t heard_ = 0;  ///< of the batch
  bool complained_ = false;
};

std::expected<void, std::string> KernelRoutes::Space::open() {
  const FileDescriptor own(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!netns_.empty()) {
    const std::string path = "/run/netns/" + netns_;
    const FileDescriptor netns(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat file{};
    if (!netns.valid() || fstat(netns.get(), &file) != 0 || setns(netns.get(), CLONE_NEWNET) != 0)
      return fault(path, error_text());
    place_ = {path, file.st_dev, file.st_ino};
  }
  auto made = make_sockets();
  if (!netns_.empty() && (!own.valid() || setns(own.get(), CLONE_NEWNET) != 0))
    return fault("back to the own network namespace", error_text());
  if (made) want_reading(Clock::now());
  return made;
}

void KernelRoutes::Space::follow_netns() {
  if (!place_.is_left_behind()) return;
  if (auto opened = open(); !opened && !std::exchange(complained_, true))
    spdlog::warn("{}; trying again", opened.error());
}

KernelRoutes::Space::Result KernelRoutes::Space::make_sockets() {
  FileDescriptor any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  Socket events(nl_socket_alloc()), questions(nl_socket_alloc());
  if (!any.valid() || events == nullptr || questions == nullptr)
    return fault("socket", error_text());
  for (nl_sock* const socket : {events.get(), questions.get()}) {
    nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, &on_message, this);
    if (const int error = nl_connect(socket, NETLINK_ROUTE); error < 0)
      return fault("netlink", nl_geterror(error));
    nl_socket_set_msg_buf_size(socket, 64 << 10);
  }
  nl_socket_disable_seq_check(events.get());
  nl_socket_set_nonblocking(events.get());
  (void)setsockopt(nl_socket_get_fd(events.get()), SOL_SOCKET, SO_RCVBUFFORCE, &kEventBytes,
                   sizeof kEventBytes);
  // The kernel sends routes of that table alone (Linux 4.20).
  const int on = 1;
  (void)setsockopt(nl_socket_get_fd(questions.get()), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on,
                   sizeof on);
  // A kernel that stops in the middle of its answer must not stop the thread for ever.
  const timeval patience{10, 0};
  (void)setsockopt(nl_socket_get_fd(questions.get()), SOL_SOCKET, SO_RCVTIMEO, &patience,
                   sizeof patience);
  const int error = nl_socket_add_memberships(events.get(), RTNLGRP_IPV4_ROUTE, RTNLGRP_LINK,
                                              RTNLGRP_IPV4_IFADDR, RTNLGRP_NEXTHOP, RTNLGRP_NONE);
  if (error < 0) return fault("netlink", nl_geterror(error));
  any_socket_ = std::move(any);
  events_ = std::move(events);
  questions_ = std::move(questions);
  return {};
}

void KernelRoutes::Space::find_indices() {
  for (Interface& each : interfaces_) {
    ifreq request{};
    each.name.copy(request.ifr_name, IFNAMSIZ - 1);
    each.index = ioctl(any_socket_.get(), SIOCGIFINDEX, &request) == 0 ? request.ifr_ifindex : 0;
  }
}

int KernelRoutes::Space::on_message(nl_msg* message, void* space) {
  static_cast<Space*>(space)->hear(*nlmsg_hdr(message));
  return NL_OK;
}

void KernelRoutes::Space::hear(nlmsghdr& header) {
  ++heard_;
  switch (header.nlmsg_type) {
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      hear_route(header);
      break;
    case RTM_NEWLINK:
    case RTM_DELLINK:
      hear_of_link(header);
      break;
    case RTM_DELADDR:
      if (nlmsg_valid_hdr(&header, sizeof(ifaddrmsg)) != 0 &&
          is_ours(static_cast<int>(static_cast<ifaddrmsg*>(nlmsg_data(&header))->ifa_index)))
        want_reading(Clock::now() + kSettle);
      break;
    case RTM_DELNEXTHOP:
      want_reading(Clock::now() + kSettle);
      break;
    default:
      break;
  }
}

/// What takes routes away without a word: an interface of ours, known by its index or its name.
void KernelRoutes::Space::hear_of_link(const nlmsghdr& header) {
  if (nlmsg_valid_hdr(&header, sizeof(ifinfomsg)) == 0) return;
  const auto& link = *static_cast<const ifinfomsg*>(nlmsg_data(&header));
  const nlattr* const name =
      nlmsg_find_attr(const_cast<nlmsghdr*>(&header), sizeof link, IFLA_IFNAME);
  const bool has_name_of_ours =
      name != nullptr && std::any_of(interfaces_.begin(), interfaces_.end(), [&](const auto& each) {
        return nla_strcmp(name, each.name.c_str()) == 0;
      });
  if (is_ours(link.ifi_index) || has_name_of_ours) want_reading(Clock::now() + kSettle);
}

/// The ways that packets can take; `is_unusable`: there are others by interfaces of ours.
std::vector<shared::RouteHop> KernelRoutes::Space::usable_hops(rtnl_route* route,
                                                               bool& is_unusable) {
  std::vector<shared::RouteHop> hops;
  for (int i = 0; i < rtnl_route_get_nnexthops(route); ++i) {
    rtnl_nexthop* const hop = rtnl_route_nexthop_n(route, i);
    const auto by =
        std::find_if(interfaces_.begin(), interfaces_.end(), [&](const Interface& each) {
          return each.index != 0 && each.index == rtnl_route_nh_get_ifindex(hop);
        });
    if (by == interfaces_.end()) continue;
    nl_addr* const gateway = rtnl_route_nh_get_gateway(hop);
    if ((rtnl_route_nh_get_flags(hop) & (RTNH_F_DEAD | RTNH_F_LINKDOWN)) != 0) continue;
    wire::Ipv4Address via;
    if (gateway != nullptr && nl_addr_get_family(gateway) == AF_INET &&
        nl_addr_get_len(gateway) == 4) {
      wire::Be32 bytes;
      std::memcpy(&bytes, nl_addr_get_binary_addr(gateway), sizeof bytes);
      via = wire::Ipv4Address{bytes};
    }
    if (via.value == 0 || !by->network.contains(via) || via == by->network.address) {
      is_unusable = true;
      continue;
    }
    // The kernel's weights are one less than what people give.
    hops.push_back(
        {by->id, static_cast<std::uint16_t>(rtnl_route_nh_get_weight(hop) + 1), via, false, true});
  }
  return hops;
}

void KernelRoutes::Space::hear_route(nlmsghdr& header) {
  rtnl_route* parsed = nullptr;
  if (rtnl_route_parse(&header, &parsed) < 0) return;
  const RoutePtr route(parsed);
  if (rtnl_route_get_family(parsed) != AF_INET || rtnl_route_get_table(parsed) != table_ ||
      rtnl_route_get_tos(parsed) != 0 || rtnl_route_get_protocol(parsed) == RTPROT_KERNEL ||
      (static_cast<rtmsg*>(nlmsg_data(&header))->rtm_flags & RTM_F_CLONED) != 0)
    return;
  nl_addr* const destination = rtnl_route_get_dst(parsed);
  wire::Ipv4Prefix prefix;
  if (destination != nullptr && nl_addr_get_len(destination) == 4) {
    wire::Be32 bytes;
    std::memcpy(&bytes, nl_addr_get_binary_addr(destination), sizeof bytes);
    prefix = {wire::Ipv4Address{bytes}, nl_addr_get_prefixlen(destination)};
  }
  if (prefix.length > 32) return;
  const std::uint32_t metric = rtnl_route_get_priority(parsed);
  bool is_unusable = false;
  std::vector<shared::RouteHop> hops;
  if (header.nlmsg_type == RTM_NEWROUTE && rtnl_route_get_type(parsed) == RTN_UNICAST)
    hops = usable_hops(parsed, is_unusable);
  const std::scoped_lock lock(owner_.mutex_);
  ++owner_.status_.changes;
  if (is_unusable) ++owner_.status_.unusable;
  owner_.table_.put(number_, prefix, metric, rtnl_route_get_protocol(parsed), std::move(hops),
                    round_);
}

bool KernelRoutes::Space::take_events() {
  heard_ = 0;
  while (heard_ < kBatch) {
    const int got = nl_recvmsgs_default(events_.get());
    if (got == -NLE_AGAIN) return false;
    if (got == -NLE_NOMEM || got == -NLE_DUMP_INTR || got < 0) {
      // ENOBUFS: what the kernel could not keep is lost.
      {
        const std::scoped_lock lock(owner_.mutex_);
        ++owner_.status_.overruns;
      }
      want_reading(Clock::now());
      return false;
    }
  }
  return true;
}

void KernelRoutes::Space::read_if_due(Clock::time_point now) {
  if (!read_at_ || now < *read_at_ || now < not_before_) return;
  // What is known already is not to be applied once more afterwards.
  while (take_events()) {
  }
  read_at_.reset();
  find_indices();
  const auto read = read_table();
  const Clock::time_point end = Clock::now();
  not_before_ = end + kRest * (end - now);
  if (!read) {
    if (!std::exchange(complained_, true)) spdlog::warn("{}; trying again", read.error());
    want_reading(end + kRetry);
    return;
  }
  complained_ = false;
  const std::scoped_lock lock(owner_.mutex_);
  ++owner_.status_.readings;
  owner_.status_.is_complete = true;
}

KernelRoutes::Space::Result KernelRoutes::Space::read_table() {
  ++round_;
  struct Request {
    nlmsghdr header;
    rtmsg body;
    rtattr attribute;
    std::uint32_t table;
  } request{};
  request.body.rtm_family = AF_INET;
  request.attribute.rta_type = RTA_TABLE;
  request.attribute.rta_len = RTA_LENGTH(sizeof request.table);
  request.table = table_;
  nl_msg* const message = nlmsg_alloc_simple(RTM_GETROUTE, NLM_F_DUMP);
  if (message == nullptr) return fault("memory", error_text(ENOMEM));
  (void)nlmsg_append(message, &request.body, sizeof request - sizeof request.header, NLMSG_ALIGNTO);
  const int sent = nl_send_auto(questions_.get(), message);
  nlmsg_free(message);
  if (sent < 0) return fault("reading the table", nl_geterror(sent));
  const int got = nl_recvmsgs_default(questions_.get());
  if (got < 0) return fault("reading the table", nl_geterror(got));
  RouteTable::Retaining at;
  for (bool is_done = false; !is_done;) {
    const std::scoped_lock lock(owner_.mutex_);
    is_done = owner_.table_.retain(number_, round_, at, kBatch);
  }
  return {};
}

// ── the thread ──────────────────────────────────────────────────────────────────────────────────

KernelRoutes::KernelRoutes(const Plan& plan, shared::Fib& fib, rte_rcu_qsbr* quiescence)
    : table_(
          fib,
          [&plan] {
            std::vector<RouteTable::Side> sides;
            for (const InterfacePlan& each : plan.interfaces)
              sides.push_back(each.side == shared::Side::kOutside ? RouteTable::Side{}
                                                                  : RouteTable::Side{each.td});
            return sides;
          }(),
          quiescence) {}

std::expected<std::unique_ptr<KernelRoutes>, std::string> KernelRoutes::start(
    const Plan& plan, shared::Fib& fib, rte_rcu_qsbr* quiescence) {
  std::unique_ptr<KernelRoutes> routes(new KernelRoutes(plan, fib, quiescence));
  std::map<std::string, Space*> by_netns;
  for (const KernelPlan& kernel : plan.kernel) {
    Space*& space = by_netns[kernel.netns];
    if (space == nullptr) {
      const auto number = static_cast<unsigned>(routes->spaces_.size());
      routes->spaces_.push_back(
          std::make_unique<Space>(*routes, number, kernel.netns, *plan.kernel_route_table));
      space = routes->spaces_.back().get();
    }
    space->add(kernel);
  }
  routes->wake_ = FileDescriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!routes->wake_.valid()) return std::unexpected("kernel routes: eventfd: " + error_text());
  std::expected<void, std::string> opened;
  std::atomic<bool> is_open{false};
  routes->thread_ = control::quiet_thread([&opened, &is_open, r = routes.get()] {
    for (const auto& space : r->spaces_)
      if (opened = space->open(); !opened) break;
    const bool goes_on = opened.has_value();
    is_open.store(true);
    is_open.notify_one();
    if (goes_on) r->run();
  });
  is_open.wait(false);
  if (!opened) return std::unexpected(opened.error());
  return routes;
}

KernelRoutes::~KernelRoutes() {
  stop_.store(true);
  if (wake_.valid()) wake();
  if (thread_.joinable()) thread_.join();
}

void KernelRoutes::wake() const {
  const std::uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof one);
}

void KernelRoutes::set_sides(std::vector<RouteTable::Side> sides) {
  {
    const std::scoped_lock lock(mutex_);
    if (!table_.set_sides(std::move(sides))) return;
  }
  read_again_.store(true);
  wake();
}

void KernelRoutes::run() {
  const bool has_netns = std::any_of(spaces_.begin(), spaces_.end(),
                                     [](const auto& space) { return space->has_netns(); });
  std::vector<pollfd> watched;
  for (Clock::time_point next_look = Clock::now() + kLook; !stop_.load();) {
    if (has_netns && Clock::now() >= next_look) {
      for (const auto& space : spaces_) space->follow_netns();
      next_look = Clock::now() + kLook;
    }
    bool has_more = false;
    std::uint64_t woken = 0;
    (void)!read(wake_.get(), &woken, sizeof woken);
    if (read_again_.exchange(false))
      for (const auto& space : spaces_) space->want_reading(Clock::now());
    std::optional<Clock::time_point> next;
    for (const auto& space : spaces_) {
      space->read_if_due(Clock::now());
      has_more |= space->take_events();
      if (const auto at = space->next_reading(); at && (!next || *at < *next)) next = at;
    }
    {
      const std::scoped_lock lock(mutex_);
      table_.commit();
      status_.routes = table_.size();
      status_.groups = table_.groups();
      status_.no_room = table_.refused();
    }
    if (has_more) continue;
    std::chrono::milliseconds patience = has_netns ? kLook : std::chrono::hours{1};
    if (table_.waits_for_workers()) patience = kGrace;
    if (next)
      patience = std::clamp(std::chrono::ceil<std::chrono::milliseconds>(*next - Clock::now()),
                            kGather, patience);
    watched.assign(1, {wake_.get(), POLLIN, 0});
    for (const auto& space : spaces_) watched.push_back({space->fd(), POLLIN, 0});
    (void)poll(watched.data(), watched.size(), static_cast<int>(patience.count()));
    // Changes come in swarms: the packet path hears of one at once.
    if (!stop_.load()) std::this_thread::sleep_for(kGather);
  }
}

shared::KernelRoutesStatus KernelRoutes::status() const {
  const std::scoped_lock lock(mutex_);
  return status_;
}

std::vector<shared::RouteRow> KernelRoutes::list(const std::optional<shared::RouteRow>& after,
                                                 std::size_t limit) const {
  const std::scoped_lock lock(mutex_);
  return table_.list(after, limit);
}

std::optional<shared::RouteRow> KernelRoutes::find(shared::DomainId td,
                                                   wire::Ipv4Address address) const {
  const std::scoped_lock lock(mutex_);
  return table_.find(td, address);
}

}  // namespace lsn::runtime
