// What becomes of messages when connections break, against a server made by hand.
#include "lsn/control/records/stream_outlet.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <charconv>
#include <chrono>
#include <thread>

#include "unit/control/records/support.hpp"

namespace lsn::control {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

/// At a port of its own on loopback.
class Server {
 public:
  Server() { listen(0); }

  [[nodiscard]] Endpoint endpoint() const { return {*wire::parse_ipv4("127.0.0.1"), port_}; }
  void accept() {
    pollfd waiting{listener_.get(), POLLIN, 0};
    ASSERT_EQ(poll(&waiting, 1, 5000), 1);
    connection_ = FileDescriptor(::accept(listener_.get(), nullptr, nullptr));
  }
  /// What comes until nothing has for 100 ms, or that much has.
  std::string read(std::size_t most = SIZE_MAX) {
    std::string all;
    std::array<char, 4096> part;
    for (pollfd waiting{connection_.get(), POLLIN, 0};
         all.size() < most && poll(&waiting, 1, 100) == 1;) {
      const ssize_t size =
          recv(connection_.get(), part.data(), std::min(part.size(), most - all.size()), 0);
      if (size <= 0) break;
      all.append(part.data(), static_cast<std::size_t>(size));
    }
    return all;
  }
  /// Says as much of it as there is room for.
  void say(const std::string& bytes) {
    EXPECT_GE(send(connection_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL), -1);
  }
  /// Bytes that its TCP takes at most without being read.
  [[nodiscard]] std::size_t room() const {
    int bytes = 0;
    socklen_t size = sizeof bytes;
    getsockopt(connection_.get(), SOL_SOCKET, SO_RCVBUF, &bytes, &size);
    return static_cast<std::size_t>(bytes);
  }
  void hang_up() { connection_.reset(); }
  void go() {
    hang_up();
    listener_.reset();
  }
  void come_back() { listen(port_); }

 private:
  void listen(std::uint16_t port) {
    listener_ = FileDescriptor(socket(AF_INET, SOCK_STREAM, 0));
    const int on = 1, small = 4096;
    setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(listener_.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    sockaddr_in address = socket_address({*wire::parse_ipv4("127.0.0.1"), port});
    socklen_t size = sizeof address;
    ASSERT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    ASSERT_EQ(::listen(listener_.get(), 4), 0);
    getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  }

  FileDescriptor listener_;
  FileDescriptor connection_;
  std::uint16_t port_ = 0;
};

/// "0000017|" and so on: ten bytes each.
constexpr std::size_t kWidth = 10;
StreamOutlet::Piece numbers(unsigned first, unsigned count) {
  StreamOutlet::Piece piece;
  for (unsigned i = 0; i < count; ++i) {
    piece.bytes += fmt::format("{:09}|", first + i);
    piece.ends.push_back(static_cast<std::uint32_t>(piece.bytes.size()));
  }
  piece.records = count;
  return piece;
}
std::vector<unsigned> read_numbers(const std::string& bytes) {
  std::vector<unsigned> all;
  for (std::size_t at = 0; at + kWidth <= bytes.size(); at += kWidth) {
    EXPECT_EQ(bytes[at + kWidth - 1], '|') << "a message in part: " << bytes.substr(at, kWidth);
    all.push_back(static_cast<unsigned>(std::stoul(bytes.substr(at, kWidth - 1))));
  }
  return all;
}

class StreamOutletTest : public ::testing::Test {
 protected:
  /// Gives pieces of 100 numbers until the outlet takes no more; the number of numbers.
  unsigned fill(StreamOutlet& outlet, unsigned first) {
    while (outlet.ready(steady_clock::now() + 50ms)) {
      outlet.give(numbers(first, 100));
      first += 100;
    }
    return first;
  }
  template <class Is>
  void look_until(StreamOutlet& outlet, Is is) {
    for (int i = 0; i < 1000 && !is(); ++i) {
      outlet.look(steady_clock::now() + 5ms);
      std::this_thread::sleep_for(5ms);
    }
    EXPECT_TRUE(is());
  }

  Server server;
};

TEST_F(StreamOutletTest, WhatTheServerHasIsForgotten) {
  StreamOutlet outlet("test", server.endpoint(), std::nullopt);
  ASSERT_TRUE(outlet.ready(steady_clock::now() + 1s));
  server.accept();
  outlet.give(numbers(0, 50));
  EXPECT_EQ(read_numbers(server.read()).size(), 50u);
  look_until(outlet, [&] { return outlet.unacknowledged() == 0; });
}

TEST_F(StreamOutletTest, WhatWasNotAcknowledgedGoesOnTheNextConnectionFromAMessagesBeginning) {
  StreamOutlet outlet("test", server.endpoint(), std::nullopt);
  ASSERT_TRUE(outlet.ready(steady_clock::now() + 1s));
  server.accept();
  const unsigned given = fill(outlet, 0);
  ASSERT_GT(given, 1000u);
  // An odd number of bytes: the connection breaks inside a message.
  const auto before = read_numbers(server.read(5 * kWidth + 3));
  EXPECT_EQ(before.size(), 5u);
  const std::size_t room = server.room();
  server.hang_up();
  std::this_thread::sleep_for(20ms);
  std::vector<unsigned> after;
  std::thread reader([&] {
    server.accept();
    after = read_numbers(server.read());
  });
  look_until(outlet, [&] { return outlet.unacknowledged() == 0; });
  reader.join();
  // What the server's TCP had and it did not read is lost: no more than that.
  ASSERT_FALSE(after.empty());
  EXPECT_EQ(after.back(), given - 1);
  EXPECT_LE(after.front() * kWidth, before.size() * kWidth + room);
  for (std::size_t i = 1; i < after.size(); ++i) ASSERT_EQ(after[i], after[i - 1] + 1);
}

TEST_F(StreamOutletTest, AServerThatHasReadAllAndGoesGetsNothingTwiceAndMissesNothing) {
  StreamOutlet outlet("test", server.endpoint(), std::nullopt);
  ASSERT_TRUE(outlet.ready(steady_clock::now() + 1s));
  server.accept();
  outlet.give(numbers(0, 100));
  EXPECT_EQ(read_numbers(server.read()).size(), 100u);
  server.go();
  // Sent into a connection that the server has closed already: its TCP answers with a reset.
  outlet.give(numbers(100, 100));
  std::this_thread::sleep_for(20ms);
  outlet.look(steady_clock::now() + 50ms);
  EXPECT_FALSE(outlet.ready(steady_clock::now() + 50ms));
  EXPECT_EQ(outlet.unacknowledged(), 100u);
  server.come_back();
  std::vector<unsigned> after;
  std::thread reader([&] {
    server.accept();
    after = read_numbers(server.read());
  });
  look_until(outlet, [&] { return outlet.unacknowledged() == 0; });
  reader.join();
  ASSERT_EQ(after.size(), 100u);
  EXPECT_EQ(after.front(), 100u);
}

TEST_F(StreamOutletTest, AConnectionBeginsWithTheGreetingAndPiecesAreRenewed) {
  unsigned greetings = 0, renewed = 0;
  StreamOutlet outlet("test", server.endpoint(), std::nullopt,
                      {[&] { return fmt::format("hello{}|", greetings++); },
                       [&](StreamOutlet::Piece& piece) {
                         ++renewed;
                         piece.bytes[0] = 'R';
                       }});
  ASSERT_TRUE(outlet.ready(steady_clock::now() + 1s));
  server.accept();
  EXPECT_EQ(server.read(), "hello0|");
  server.go();
  outlet.give(numbers(1, 1));
  std::this_thread::sleep_for(20ms);
  outlet.look(steady_clock::now() + 50ms);
  server.come_back();
  std::string after;
  std::thread reader([&] {
    server.accept();
    after = server.read();
  });
  look_until(outlet, [&] { return outlet.unacknowledged() == 0; });
  reader.join();
  EXPECT_EQ(after, "hello1|R00000001|");
  EXPECT_EQ(renewed, 1u);
}

/// A server of records has nothing to say: what it says anyway is not read as anything.
TEST_F(StreamOutletTest, AServerThatTalksGetsAllAllTheSame) {
  StreamOutlet outlet("test", server.endpoint(), std::nullopt);
  ASSERT_TRUE(outlet.ready(steady_clock::now() + 1s));
  server.accept();
  std::string all;
  constexpr unsigned kRounds = 50;
  for (unsigned round = 0; round < kRounds; ++round) {
    server.say(std::string(100'000, '\xFF'));
    ASSERT_TRUE(outlet.ready(steady_clock::now() + 1s));
    outlet.give(numbers(100 * round, 100));
    outlet.look(steady_clock::now() + 1s);
    all += server.read(100 * kWidth);
  }
  look_until(outlet, [&] { return outlet.unacknowledged() == 0; });
  const auto got = read_numbers(all);
  ASSERT_EQ(got.size(), 100 * kRounds);
  for (unsigned i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], i);
  server.say("bye\n");
  outlet.finish(steady_clock::now() + 1s);
  EXPECT_EQ(outlet.unacknowledged(), 0u);
}

TEST_F(StreamOutletTest, AServerThatIsNotThereIsNotWaitedFor) {
  server.go();
  StreamOutlet outlet("test", server.endpoint(), std::nullopt);
  // With a deadline that the test would not see.
  const auto deadline = steady_clock::now() + 24h;
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(outlet.ready(deadline));
}

TEST_F(StreamOutletTest, FinishWaitsForTheServerButNotForever) {
  StreamOutlet outlet("test", server.endpoint(), std::nullopt);
  ASSERT_TRUE(outlet.ready(steady_clock::now() + 1s));
  server.accept();
  fill(outlet, 0);
  // The server reads nothing: without a deadline it would never come back.
  const auto deadline = steady_clock::now() + 200ms;
  outlet.finish(deadline);
  EXPECT_GE(steady_clock::now(), deadline);
  EXPECT_GT(outlet.unacknowledged(), 0u);
}

}  // namespace
}  // namespace lsn::control
