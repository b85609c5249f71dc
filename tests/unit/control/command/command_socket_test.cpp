#include "lsn/control/command/command_socket.hpp"

#include <fcntl.h>
#include <grp.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "unit/control/command/support.hpp"

namespace lsn::control {
namespace {

using testing::HasSubstr;

class CommandSockets : public testing::Test {
 protected:
  [[nodiscard]] std::expected<CommandSocket, std::string> open(const std::string& at) const {
    ControlConfig config;
    config.socket = at;
    return CommandSocket::open(config);
  }

  static bool exists(const std::string& what) {
    struct stat status;
    return lstat(what.c_str(), &status) == 0;
  }

  static bool connects(const std::string& to) {
    const FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    to.copy(address.sun_path, to.size());
    return connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }

  TemporaryDirectory directory;
  std::string path = directory / "lsnd.sock";
};

TEST_F(CommandSockets, AreForTheirGroupAndNobodyElse) {
  const auto socket = open(path);
  ASSERT_TRUE(socket) << socket.error();
  struct stat status;
  ASSERT_EQ(lstat(path.c_str(), &status), 0);
  EXPECT_TRUE(S_ISSOCK(status.st_mode));
  EXPECT_EQ(status.st_mode & 07777, 0660U);
  const group* lsnd = getgrnam("lsnd");
  if (geteuid() == 0) {
    EXPECT_EQ(status.st_gid, lsnd == nullptr ? 0 : lsnd->gr_gid);
  }
  EXPECT_TRUE(connects(path));
}

TEST_F(CommandSockets, BelongToTheConfiguredGroup) {
  ControlConfig config;
  config.socket = path;
  config.group = getgrgid(getegid())->gr_name;
  const auto socket = CommandSocket::open(config);
  ASSERT_TRUE(socket) << socket.error();
  struct stat status;
  ASSERT_EQ(lstat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_gid, getegid());
}

TEST_F(CommandSockets, OfAGroupThatIsNotThereAreAnError) {
  ControlConfig config;
  config.socket = path;
  config.group = "no such group";
  const auto socket = CommandSocket::open(config);
  ASSERT_FALSE(socket);
  EXPECT_THAT(socket.error(), HasSubstr("control.group: given no such group"));
  EXPECT_FALSE(exists(path));
}

TEST_F(CommandSockets, AreGoneWithTheirOwner) {
  {
    auto socket = open(path);
    ASSERT_TRUE(socket);
    const CommandSocket moved = std::move(*socket);
    EXPECT_TRUE(exists(path));
    EXPECT_EQ(moved.path(), path);
  }
  EXPECT_FALSE(exists(path));
}

TEST_F(CommandSockets, OfADeadDaemonAreReplaced) {
  {
    // What a daemon leaves behind that had no time: a socket on which nobody listens.
    const FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, path.size());
    ASSERT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ASSERT_TRUE(exists(path));
  const auto socket = open(path);
  ASSERT_TRUE(socket) << socket.error();
  EXPECT_TRUE(connects(path));
}

TEST_F(CommandSockets, OfALivingDaemonAreAnErrorAndStayItsOwn) {
  const auto first = open(path);
  ASSERT_TRUE(first);
  const auto second = open(path);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error(), HasSubstr(path));
  EXPECT_TRUE(connects(path));
}

TEST_F(CommandSockets, OfABusyDaemonWhoseQueueIsFullAreAnErrorToo) {
  const auto first = open(path);
  ASSERT_TRUE(first);
  std::vector<FileDescriptor> waiting;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, path.size());
  while (waiting.size() < 1000) {
    waiting.emplace_back(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
    if (connect(waiting.back().get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      break;
  }
  ASSERT_LT(waiting.size(), 1000U) << "the queue is bounded";
  EXPECT_FALSE(open(path));
  EXPECT_TRUE(exists(path));
}

TEST_F(CommandSockets, DoNotReplaceWhatIsNoSocket) {
  write_file(path, "somebody's file");
  EXPECT_FALSE(open(path));
  EXPECT_EQ(read_file(path), "somebody's file");
}

TEST_F(CommandSockets, LeaveAloneWhatSomebodyElseHasPutInTheirPlace) {
  {
    const auto socket = open(path);
    ASSERT_TRUE(socket);
    ASSERT_EQ(unlink(path.c_str()), 0);
    write_file(path, "new");
  }
  EXPECT_EQ(read_file(path), "new");
}

TEST_F(CommandSockets, MakeTheirDirectoryButNotItsParents) {
  EXPECT_TRUE(open(directory / "run/lsnd.sock"));
  EXPECT_TRUE(exists(directory / "run"));
  const auto deep = open(directory / "a/b/lsnd.sock");
  ASSERT_FALSE(deep);
  EXPECT_THAT(deep.error(), HasSubstr("a/b/lsnd.sock"));
  EXPECT_FALSE(exists(directory / "a"));
}

TEST_F(CommandSockets, DoNotWaitForWhomeverLocksTheirDirectory) {
  const FileDescriptor held(::open((directory / ".").c_str(), O_RDONLY | O_DIRECTORY));
  ASSERT_EQ(flock(held.get(), LOCK_EX), 0);
  const auto socket = open(path);
  ASSERT_TRUE(socket) << socket.error();
}

TEST_F(CommandSockets, HaveALockThatNobodyElseMayOpenAndThatGoesWithThem) {
  const std::string lock = path + ".lock";
  {
    const auto socket = open(path);
    ASSERT_TRUE(socket);
    struct stat status;
    ASSERT_EQ(stat(lock.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600U);
    // The socket is gone, its lsnd lives.
    ASSERT_EQ(unlink(path.c_str()), 0);
    const auto second = open(path);
    ASSERT_FALSE(second);
    EXPECT_THAT(second.error(), HasSubstr("another lsnd uses it"));
  }
  EXPECT_FALSE(exists(lock));
}

TEST_F(CommandSockets, ReplaceALockThatOthersMayHold) {
  const std::string lock = path + ".lock";
  write_file(lock, "");
  ASSERT_EQ(chmod(lock.c_str(), 0666), 0);
  const FileDescriptor held(::open(lock.c_str(), O_RDWR));
  ASSERT_EQ(flock(held.get(), LOCK_EX), 0);
  const auto socket = open(path);
  ASSERT_TRUE(socket) << socket.error();
  struct stat status;
  ASSERT_EQ(stat(lock.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST_F(CommandSockets, HavePathsThatFitIntoAnAddress) {
  const auto socket = open("/tmp/" + std::string(103, 'x'));
  ASSERT_FALSE(socket);
  EXPECT_THAT(socket.error(), HasSubstr("107 bytes"));
  EXPECT_FALSE(open(""));
}

}  // namespace
}  // namespace lsn::control
