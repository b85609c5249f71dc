// What the service manager hears: the test is the service manager.
#include "lsn/control/service.hpp"

#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <thread>

#include "lsn/control/controller.hpp"
#include "unit/control/command/support.hpp"

namespace lsn::control {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class ServiceManager : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/lsn-service-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder = name;
    socket_ = FileDescriptor(::socket(AF_UNIX, SOCK_DGRAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = folder + "/notify";
    path.copy(address.sun_path, path.size());
    ASSERT_EQ(bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    const timeval patience{20, 0};
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setenv("NOTIFY_SOCKET", path.c_str(), 1);
  }
  void TearDown() override {
    unsetenv("NOTIFY_SOCKET");
    std::filesystem::remove_all(folder);
  }

  /// The next message; "" if none comes (MSG_DONTWAIT: if there is none).
  std::string hear(int flags = 0) {
    char text[1024];
    const ssize_t size = recv(socket_.get(), text, sizeof text, flags);
    return size < 0 ? "" : std::string(text, static_cast<std::size_t>(size));
  }

  std::string folder;

 private:
  FileDescriptor socket_;
};

TEST_F(ServiceManager, HearsEachState) {
  tell_service_ready("all is well");
  EXPECT_EQ(hear(), "READY=1\nSTATUS=all is well");
  tell_service_reloading();
  EXPECT_THAT(hear(), StartsWith("RELOADING=1\nMONOTONIC_USEC="));
  tell_service_stopping();
  EXPECT_THAT(hear(), StartsWith("STOPPING=1"));
}

TEST_F(ServiceManager, HearsOfAControllerThatIsReadyWhenAGenerationIsInForceAndNotBefore) {
  Controller::block_signals();
  FakeDataplane dataplane;
  dataplane.hold = true;
  std::ofstream(folder + "/lsnd.conf") << kGoodText;
  Model model = good_model();
  model.dataplane.state_file = "";
  model.control.socket = folder + "/lsnd.sock";
  auto socket = CommandSocket::open(model.control);
  ASSERT_TRUE(socket) << socket.error();
  Controller controller({folder + "/lsnd.conf", model, std::move(*socket)}, dataplane);

  std::vector<std::string> heard;
  std::jthread manager([this, &heard, &dataplane] {
    // Nothing while no worker has taken the generation over, however long the loop has turned.
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    heard.push_back(hear(MSG_DONTWAIT));
    dataplane.hold = false;
    heard.push_back(hear());
    kill(getpid(), SIGHUP);
    heard.push_back(hear());
    heard.push_back(hear());
    kill(getpid(), SIGTERM);
    heard.push_back(hear());
  });
  EXPECT_EQ(controller.run(), 0);
  manager.join();
  EXPECT_THAT(heard, ElementsAre("", HasSubstr("READY=1"), StartsWith("RELOADING=1"),
                                 HasSubstr("READY=1"), StartsWith("STOPPING=1")));
}

TEST(Service, WithoutAServiceManagerIsNobodysConcern) {
  unsetenv("NOTIFY_SOCKET");
  tell_service_ready("nobody listens");
}

}  // namespace
}  // namespace lsn::control
