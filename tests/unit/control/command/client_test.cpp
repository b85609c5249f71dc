#include "lsn/control/command/client.hpp"

#include <atomic>
#include <thread>

#include "lsn/control/command/commands.hpp"
#include "lsn/control/command/server.hpp"
#include "unit/control/command/support.hpp"

namespace lsn::control {
namespace {

using testing::HasSubstr;

/// A server on a thread of its own.
class RunningServer {
 public:
  RunningServer() {
    for (unsigned i = 0; i < 20'000; ++i)
      bench_.dataplane.rows(0).push_back(udp_session(i % 200, static_cast<std::uint16_t>(i)));
    ControlConfig config;
    config.socket = path;
    auto socket = CommandSocket::open(config);
    if (!socket) throw std::runtime_error(socket.error());
    thread_ = std::thread([this, opened = std::move(*socket)]() mutable {
      CommandServer server(std::move(opened), lsn_commands(), bench_.context, loop_,
                           std::chrono::steady_clock::now());
      while (!stop_) {
        loop_.wait(1);
        bench_.dataplane.poll();
        server.tick(std::chrono::steady_clock::now());
      }
    });
  }
  ~RunningServer() {
    stop_ = true;
    thread_.join();
  }

 private:
  Bench bench_;
  EventLoop loop_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;

 public:
  std::string path = bench_.directory / "lsnd.sock";
};

struct Files {
  std::string out_path;
  std::string err_path;
  std::FILE* out;
  std::FILE* err;

  explicit Files(const TemporaryDirectory& directory)
      : out_path(directory / "out"),
        err_path(directory / "err"),
        out(std::fopen(out_path.c_str(), "w")),
        err(std::fopen(err_path.c_str(), "w")) {}
  ~Files() {
    std::fclose(out);
    std::fclose(err);
  }
  std::string text() const {
    std::fflush(out);
    return read_file(out_path);
  }
  std::string errors() const {
    std::fflush(err);
    return read_file(err_path);
  }
};

TEST(Client, WritesOutputAndErrorsWhereTheyBelong) {
  RunningServer server;
  TemporaryDirectory directory;
  Files files(directory);
  auto client = CommandClient::connect(server.path);
  ASSERT_TRUE(client) << client.error();
  EXPECT_EQ(client->run("flush lsn session -natPort 7", files.out, files.err), 0);
  EXPECT_EQ(files.text(), "1 session flushed\nDone\n");
  EXPECT_EQ(files.errors(), "");
  EXPECT_EQ(client->run("nonsense", files.out, files.err), 1);
  EXPECT_EQ(files.text(), "1 session flushed\nDone\n");
  EXPECT_THAT(files.errors(), testing::StartsWith("ERROR: command: given \"nonsense\""));
}

TEST(Client, WritesALongAnswerWhole) {
  RunningServer server;
  TemporaryDirectory directory;
  Files files(directory);
  auto client = CommandClient::connect(server.path);
  ASSERT_TRUE(client);
  EXPECT_EQ(client->run("--json show lsn session", files.out, files.err), 0);
  EXPECT_EQ(nlohmann::json::parse(files.text())["sessions"].size(), 20'000U);
}

TEST(Client, WithoutADaemonNamesTheSocket) {
  TemporaryDirectory directory;
  const std::string path = directory / "nobody.sock";
  const auto client = CommandClient::connect(path);
  ASSERT_FALSE(client);
  EXPECT_THAT(client.error(), HasSubstr(path));
  EXPECT_THAT(client.error(), testing::Not(HasSubstr("\n")));
  EXPECT_FALSE(CommandClient::connect(std::string(200, 'x')));
}

TEST(Client, OfADaemonThatDoesNotAnswerGivesUp) {
  TemporaryDirectory directory;
  ControlConfig config;
  config.socket = directory / "lsnd.sock";
  const auto socket = CommandSocket::open(config);  // nobody accepts
  ASSERT_TRUE(socket);
  Files files(directory);
  auto client = CommandClient::connect(config.socket, std::chrono::seconds(1));
  ASSERT_TRUE(client);
  const auto status = client->run("stat lsn", files.out, files.err);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error(), HasSubstr("does not answer"));
}

TEST(Client, SendsOneLineOnly) {
  RunningServer server;
  TemporaryDirectory directory;
  Files files(directory);
  auto client = CommandClient::connect(server.path);
  ASSERT_TRUE(client);
  const auto status = client->run("help\nflush lsn session", files.out, files.err);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error(), HasSubstr("a line break"));
  EXPECT_EQ(files.text(), "");
}

TEST(Client, PassesOnWhyItsRequestWasTooLong) {
  RunningServer server;
  TemporaryDirectory directory;
  Files files(directory);
  auto client = CommandClient::connect(server.path);
  ASSERT_TRUE(client);
  EXPECT_EQ(client->run(std::string(2'000'000, 'x'), files.out, files.err), 1);
  EXPECT_THAT(files.errors(), HasSubstr("more than 65536 bytes"));
}

}  // namespace
}  // namespace lsn::control
