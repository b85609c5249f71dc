#include "lsn/control/command/command_socket.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

namespace lsn::control {
namespace {

constexpr int kBacklog = 64;
constexpr mode_t kMode = 0660;
constexpr mode_t kDirectoryMode = 0755;
constexpr const char* kDefaultGroup = "lsnd";

std::unexpected<std::string> failed(const std::string& path, std::string_view what) {
  return std::unexpected(fmt::format("command socket {}: {}: {}", path, what, strerror(errno)));
}

std::expected<gid_t, std::string> group_id(const std::string& configured) {
  const char* const name = configured.empty() ? kDefaultGroup : configured.c_str();
  errno = 0;
  if (const group* found = getgrnam(name)) return found->gr_gid;
  if (configured.empty()) return gid_t{0};
  return std::unexpected(
      fmt::format("control.group: given {}, allowed a group of this system", configured));
}

enum class Neighbour { kNobody, kDead, kAlive };

/// Whether a process listens on the path.
Neighbour look(const sockaddr_un& address) {
  struct stat status;
  if (lstat(address.sun_path, &status) != 0) return Neighbour::kNobody;
  const FileDescriptor probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
    return Neighbour::kAlive;
  // A full listen queue gives EAGAIN: the other process is alive, and busy. A file that is no
  // socket is not removed.
  return errno == ECONNREFUSED && S_ISSOCK(status.st_mode) ? Neighbour::kDead : Neighbour::kAlive;
}

}  // namespace

std::expected<CommandSocket, std::string> CommandSocket::open(const ControlConfig& config) {
  const std::string& path = config.socket;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return std::unexpected(
        fmt::format("control.socket: given {}, allowed an absolute path of up to 107 bytes", path));
  path.copy(address.sun_path, path.size());

  const auto group = group_id(config.group);
  if (!group) return std::unexpected(group.error());
  const std::string directory = std::filesystem::path(path).parent_path().string();
  if (mkdir(directory.c_str(), kDirectoryMode) != 0 && errno != EEXIST)
    return failed(path, "its directory cannot be made");

  CommandSocket made;
  made.fd_ = FileDescriptor(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!made.fd_.valid()) return failed(path, "socket");

  auto lock = LockFile::take("command socket", path);
  if (!lock) return std::unexpected(lock.error().text);
  made.lock_ = std::move(*lock);
  switch (look(address)) {
    case Neighbour::kAlive:
      return std::unexpected(
          fmt::format("command socket {}: another lsnd uses it, or it is something else", path));
    case Neighbour::kDead:
      if (unlink(path.c_str()) != 0) return failed(path, "a former one cannot be removed");
      break;
    case Neighbour::kNobody:
      break;
  }
  // No client connects before mode and group are right: connecting needs listen().
  if (bind(made.fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return failed(path, "bind");
  made.path_ = path;
  struct stat status;
  if (lstat(path.c_str(), &status) != 0) return failed(path, "stat");
  made.device_ = status.st_dev;
  made.inode_ = status.st_ino;
  // The default group of a user other than root is the user's own.
  if (chown(path.c_str(), static_cast<uid_t>(-1), *group) != 0 &&
      !(errno == EPERM && config.group.empty()))
    return failed(path, "its group cannot be set");
  if (chmod(path.c_str(), kMode) != 0) return failed(path, "its mode cannot be set");
  if (listen(made.fd_.get(), kBacklog) != 0) return failed(path, "listen");
  return made;
}

std::expected<CommandSocket, std::string> CommandSocket::open_view(const ControlConfig& config) {
  if (getgrnam(config.view_group.c_str()) == nullptr)
    return std::unexpected(fmt::format(
        "control.viewGroup: given {}, allowed a group of this system", config.view_group));
  ControlConfig view = config;
  view.socket += kViewSuffix;
  view.group = config.view_group;
  return open(view);
}

CommandSocket::CommandSocket(CommandSocket&& other) noexcept
    : fd_(std::move(other.fd_)),
      lock_(std::move(other.lock_)),
      path_(std::exchange(other.path_, {})),
      device_(other.device_),
      inode_(other.inode_) {}

CommandSocket& CommandSocket::operator=(CommandSocket&& other) noexcept {
  if (this != &other) {
    remove();
    fd_ = std::move(other.fd_);
    lock_ = std::move(other.lock_);
    path_ = std::exchange(other.path_, {});
    device_ = other.device_;
    inode_ = other.inode_;
  }
  return *this;
}

CommandSocket::~CommandSocket() {
  remove();
}

void CommandSocket::remove() {
  if (!path_.empty()) remover()();
  path_.clear();
  lock_.release();
}

std::function<void()> CommandSocket::remover() const {
  return [path = path_, device = device_, inode = inode_] {
    struct stat status;
    if (lstat(path.c_str(), &status) == 0 && status.st_dev == device && status.st_ino == inode)
      unlink(path.c_str());
  };
}

}  // namespace lsn::control
