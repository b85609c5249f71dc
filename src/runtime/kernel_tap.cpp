#include "lsn/runtime/kernel_tap.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/magic.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <optional>
#include <system_error>
#include <thread>
#include <type_traits>

namespace lsn::runtime {
namespace {

using control::FileDescriptor;

std::string error_text(int error = errno) {
  return std::system_category().message(error);
}

/// A request to the kernel's routing socket (rtnetlink(7)): a message with attributes.
class Request {
 public:
  template <class Body>
  Request(std::uint16_t type, std::uint16_t flags, const Body& body) {
    auto& header = *reinterpret_cast<nlmsghdr*>(bytes_);
    header.nlmsg_type = type;
    header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    std::memcpy(bytes_ + size_, &body, sizeof body);
    size_ += NLMSG_ALIGN(sizeof body);
  }

  void add(std::uint16_t type, const void* data, std::size_t size) {
    const std::size_t begin = begin_nested(type);
    std::memcpy(bytes_ + size_, data, size);
    size_ += size;
    end_nested(begin);
  }
  /// An attribute of attributes, until end_nested(its result).
  [[nodiscard]] std::size_t begin_nested(std::uint16_t type) {
    const std::size_t begin = size_;
    reinterpret_cast<rtattr*>(bytes_ + begin)->rta_type = type;
    size_ += RTA_LENGTH(0);
    return begin;
  }
  void end_nested(std::size_t begin) {
    reinterpret_cast<rtattr*>(bytes_ + begin)->rta_len = static_cast<std::uint16_t>(size_ - begin);
    size_ = (size_ + RTA_ALIGNTO - 1) / RTA_ALIGNTO * RTA_ALIGNTO;
  }

  /// Has the kernel do it; its errno, or 0.
  [[nodiscard]] int ask() {
    reinterpret_cast<nlmsghdr*>(bytes_)->nlmsg_len = static_cast<std::uint32_t>(size_);
    const FileDescriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!socket.valid() || ::send(socket.get(), bytes_, size_, 0) < 0) return errno;
    alignas(nlmsghdr) char answer[1024];
    const ssize_t got = ::recv(socket.get(), answer, sizeof answer, 0);
    if (got < 0) return errno;
    const auto& header = *reinterpret_cast<const nlmsghdr*>(answer);
    if (static_cast<std::size_t>(got) < NLMSG_LENGTH(sizeof(nlmsgerr)) ||
        header.nlmsg_type != NLMSG_ERROR)
      return EPROTO;
    return -reinterpret_cast<const nlmsgerr*>(answer + NLMSG_HDRLEN)->error;
  }

 private:
  alignas(nlmsghdr) char bytes_[256]{};
  std::size_t size_ = NLMSG_HDRLEN;
};

/// The interface while it is made: each step's error is a line.
class Making {
 public:
  Making(const KernelPlan& plan, const wire::MacAddress& mac) : plan_(plan), mac_(mac) {
    std::copy_n(plan.name.data(), std::min<std::size_t>(plan.name.size(), IFNAMSIZ - 1),
                request_.ifr_name);
  }

  std::expected<KernelTap, std::string> run() {
    if (auto entered = enter_netns(); !entered) return std::unexpected(entered.error());
    FileDescriptor file(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
    if (!file.valid()) return fault("/dev/net/tun", errno);
    request_.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL);
    if (ioctl(file.get(), TUNSETIFF, &request_) != 0)
      return fault(errno == EBUSY ? "there is an interface of that name" : "it cannot be made",
                   errno == EBUSY ? 0 : errno);
    const FileDescriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket.valid()) return fault("socket", errno);
    if (auto set = set_link(socket.get()); !set) return std::unexpected(set.error());
    if (auto set = set_addresses(socket.get()); !set) return std::unexpected(set.error());
    return KernelTap(std::move(file), std::move(netns_));
  }

 private:
  std::unexpected<std::string> fault(std::string_view what, int error) const {
    return std::unexpected(fmt::format("interface {}: kernel interface \"{}\"{}: {}{}", plan_.label,
                                       plan_.name,
                                       plan_.netns.empty() ? "" : " in netns " + plan_.netns, what,
                                       error == 0 ? "" : ": " + error_text(error)));
  }

  std::expected<void, std::string> enter_netns() {
    if (plan_.netns.empty()) return {};
    const std::string path = "/run/netns/" + plan_.netns;
    const FileDescriptor netns(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat file{};
    if (!netns.valid() || fstat(netns.get(), &file) != 0) return fault(path, errno);
    if (setns(netns.get(), CLONE_NEWNET) != 0) return fault(path + " cannot be entered", errno);
    netns_ = {path, file.st_dev, file.st_ino};
    return {};
  }

  std::expected<void, std::string> set_link(int socket) {
    request_.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    std::memset(request_.ifr_hwaddr.sa_data, 0, sizeof request_.ifr_hwaddr.sa_data);
    std::copy(mac_.begin(), mac_.end(), request_.ifr_hwaddr.sa_data);
    if (ioctl(socket, SIOCSIFHWADDR, &request_) != 0) return fault("hardware address", errno);
    request_.ifr_mtu = plan_.mtu;
    if (ioctl(socket, SIOCSIFMTU, &request_) != 0)
      return fault(fmt::format("mtu {}", plan_.mtu), errno);
    return {};
  }

  std::expected<void, std::string> set_addresses(int socket) {
    if (ioctl(socket, SIOCGIFINDEX, &request_) != 0) return fault("index", errno);
    const int index = request_.ifr_ifindex;
    if (plan_.use != shared::KernelUse::kWithIpv6) silence_ipv6(index);
    if (const int error = set_ipv4(index); error != 0)
      return fault(wire::to_string(plan_.address), error);
    if (ioctl(socket, SIOCGIFFLAGS, &request_) != 0) return fault("flags", errno);
    request_.ifr_flags = static_cast<short>(request_.ifr_flags | IFF_UP);
    if (ioctl(socket, SIOCSIFFLAGS, &request_) != 0) return fault("it cannot be set up", errno);
    return {};
  }

  int set_ipv4(int index) const {
    ifaddrmsg body{};
    body.ifa_family = AF_INET;
    body.ifa_prefixlen = static_cast<std::uint8_t>(plan_.address.length);
    body.ifa_index = static_cast<std::uint32_t>(index);
    Request request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body);
    const wire::Be32 own = plan_.address.address.be();
    request.add(IFA_LOCAL, &own, sizeof own);
    request.add(IFA_ADDRESS, &own, sizeof own);
    if (plan_.address.length < 31) {
      const wire::Be32 broadcast = plan_.address.last().be();
      request.add(IFA_BROADCAST, &broadcast, sizeof broadcast);
    }
    return request.ask();
  }

  /// No link-local address, so that the kernel sends no IPv6 of its own: what it sends even so is
  /// dropped. A kernel without IPv6 refuses that.
  static void silence_ipv6(int index) {
    ifinfomsg body{};
    body.ifi_family = AF_UNSPEC;
    body.ifi_index = index;
    Request request(RTM_SETLINK, 0, body);
    const std::size_t families = request.begin_nested(IFLA_AF_SPEC);
    const std::size_t ipv6 = request.begin_nested(AF_INET6);
    const std::uint8_t none = IN6_ADDR_GEN_MODE_NONE;
    request.add(IFLA_INET6_ADDR_GEN_MODE, &none, sizeof none);
    request.end_nested(ipv6);
    request.end_nested(families);
    static_cast<void>(request.ask());
  }

  const KernelPlan& plan_;
  const wire::MacAddress& mac_;
  ifreq request_{};
  KernelTap::Netns netns_;
};

}  // namespace

std::expected<KernelTap, std::string> KernelTap::make(const KernelPlan& plan,
                                                      const wire::MacAddress& mac) {
  // A thread of its own enters the namespace, and ends there. The interface is of the namespace in
  // which /dev/net/tun is opened.
  std::expected<KernelTap, std::string> made = std::unexpected(std::string());
  try {
    std::thread([&] { made = Making(plan, mac).run(); }).join();
  } catch (const std::system_error& error) {  // no further thread
    return std::unexpected(fmt::format("interface {}: kernel interface \"{}\": {}", plan.label,
                                       plan.name, error.code().message()));
  }
  return made;
}

KernelTap::Outcome KernelTap::write(std::span<const iovec> frame) const {
  for (;;) {
    if (::writev(fd(), frame.data(), static_cast<int>(frame.size())) >= 0) return Outcome::kDone;
    if (errno == EINTR) continue;
    return errno == EBADFD ? Outcome::kGone : Outcome::kRefused;
  }
}

KernelTap::Outcome KernelTap::read(std::span<std::uint8_t> room, std::size_t& size) const {
  for (;;) {
    const ssize_t got = ::read(fd(), room.data(), room.size());
    if (got == 0) return Outcome::kGone;  // no frame is so short
    if (got > 0) {
      size = static_cast<std::size_t>(got);
      return Outcome::kDone;
    }
    if (errno == EINTR) continue;
    return errno == EAGAIN ? Outcome::kNothing : Outcome::kGone;
  }
}

bool KernelTap::Netns::is_left_behind() const {
  struct stat file{};
  struct statfs system{};
  // While `ip netns add` makes one there is a file of another kind in its place.
  return !path.empty() && stat(path.c_str(), &file) == 0 &&
         (file.st_dev != device || file.st_ino != inode) && statfs(path.c_str(), &system) == 0 &&
         system.f_type == NSFS_MAGIC;
}

void KernelTap::set_carrier(bool on) const {
#ifdef TUNSETCARRIER
  int value = on ? 1 : 0;
  ioctl(fd(), TUNSETCARRIER, &value);
#else
  static_cast<void>(on);
#endif
}

}  // namespace lsn::runtime
