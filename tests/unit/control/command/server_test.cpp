#include "lsn/control/command/server.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <chrono>

#include "lsn/control/command/commands.hpp"
#include "lsn/control/command/protocol.hpp"
#include "unit/control/command/support.hpp"

namespace lsn::control {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;

/// A connection that never blocks the test.
class Peer {
 public:
  explicit Peer(const std::string& path) : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, path.size());
    connected_ = connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }

  [[nodiscard]] bool connected() const { return connected_; }
  /// What of it could be sent.
  std::size_t send(std::string_view bytes) {
    const ssize_t count = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    return count < 0 ? 0 : static_cast<std::size_t>(count);
  }
  void finish() { shutdown(fd_.get(), SHUT_WR); }
  void hang_up() { fd_.reset(); }

  /// Reads what is there, at most `most` bytes.
  std::size_t receive(std::size_t most = SIZE_MAX) {
    std::size_t total = 0;
    std::vector<char> buffer(65536);
    while (total < most) {
      const ssize_t count =
          recv(fd_.get(), buffer.data(), std::min(buffer.size(), most - total), 0);
      if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) closed_ = true;
      if (count <= 0) break;
      received_.append(buffer.data(), static_cast<std::size_t>(count));
      total += static_cast<std::size_t>(count);
    }
    return total;
  }
  [[nodiscard]] const std::string& received() const { return received_; }
  [[nodiscard]] bool closed() const { return closed_; }

 private:
  FileDescriptor fd_;
  bool connected_ = false;
  std::string received_;
  bool closed_ = false;
};

class Servers : public testing::Test {
 protected:
  Servers() { restart({}); }

  void restart(const ServerLimits& limits) {
    server.reset();
    ControlConfig config;
    config.socket = path;
    auto socket = CommandSocket::open(config);
    if (!socket) throw std::runtime_error(socket.error());
    server = std::make_unique<CommandServer>(std::move(*socket), lsn_commands(), bench.context,
                                             loop, now, limits);
  }

  /// What the control thread does: events, and a tick every 10 ms of the test's time.
  void turn(unsigned times = 1) {
    for (unsigned i = 0; i < times; ++i) {
      for (unsigned events = 0; events < 8; ++events) loop.wait(0);
      now += 10ms;
      bench.dataplane.poll();
      server->tick(now);
    }
  }

  /// Turns until the peer has been answered, or hung up on; it reads all the while.
  void converse(Peer& peer, unsigned turns = 10'000) {
    for (unsigned i = 0; i < turns && !peer.closed(); ++i) {
      turn();
      peer.receive();
      if (answers(peer) != 0) return;
    }
  }

  /// How many answers have come whole.
  static unsigned answers(const Peer& peer) {
    unsigned ended = 0;
    AnswerReader reader([](Stream, std::string_view) {});
    std::string_view bytes = peer.received();
    while (reader.feed(bytes) == AnswerReader::State::kEnd) ++ended;
    return ended;
  }

  struct Said {
    std::string out;
    std::string err;
    int status = -1;
  };
  static Said first_answer(const Peer& peer) {
    Said said;
    AnswerReader reader([&said](Stream stream, std::string_view text) {
      (stream == Stream::kOut ? said.out : said.err) += text;
    });
    std::string_view bytes = peer.received();
    if (reader.feed(bytes) == AnswerReader::State::kEnd) said.status = reader.status();
    return said;
  }

  Said ask(std::string_view line) {
    Peer peer(path);
    peer.send(std::string(line) + "\n");
    converse(peer);
    return first_answer(peer);
  }

  void many_sessions(unsigned count) {
    for (unsigned i = 0; i < count; ++i)
      bench.dataplane.rows(i % 2).push_back(udp_session(i % 200, static_cast<std::uint16_t>(i)));
  }

  Bench bench;
  std::string path = bench.directory / "lsnd.sock";
  EventLoop loop;
  CommandServer::Time now{};
  std::unique_ptr<CommandServer> server;
};

TEST_F(Servers, AnswerACommand) {
  const Said said = ask("stat lsn");
  EXPECT_EQ(said.status, 0);
  EXPECT_EQ(said.err, "");
  EXPECT_THAT(said.out, StartsWith("protocol"));
}

TEST_F(Servers, SayErrorsOnTheOtherStreamInOneLine) {
  const Said said = ask("frobnicate");
  EXPECT_EQ(said.status, 1);
  EXPECT_EQ(said.out, "");
  EXPECT_EQ(
      said.err,
      "ERROR: command: given \"frobnicate\", allowed show, flush, explain, stat, start, stop, "
      "clear, save, reload, complete, help, add, set, unset, bind, unbind, rm or apply\n");
}

TEST_F(Servers, AnswerOneRequestAfterTheOtherOfOneConnection) {
  Peer peer(path);
  peer.send("stat lsn\nfrobnicate\n\n# a comment\nflush lsn session\n");
  for (unsigned i = 0; i < 100 && answers(peer) < 5; ++i) {
    turn();
    peer.receive();
  }
  EXPECT_EQ(answers(peer), 5U);
  EXPECT_THAT(peer.received(),
              testing::EndsWith("end 1\nend 0\nend 0\nout 24\n0 sessions flushed\nDone\nend 0\n"));
  EXPECT_FALSE(peer.closed());
  peer.send("flush lsn session\n");
  turn(3);
  peer.receive();
  EXPECT_EQ(answers(peer), 6U);
}

TEST_F(Servers, PutARequestTogetherThatComesInPieces) {
  Peer peer(path);
  for (const char* piece : {"fl", "ush l", "sn sess", "ion"}) {
    peer.send(piece);
    turn();
    peer.receive();
    EXPECT_EQ(peer.received(), "");
  }
  peer.send("\n");
  converse(peer);
  EXPECT_EQ(first_answer(peer).out, "0 sessions flushed\nDone\n");
}

TEST_F(Servers, AnswerALastLineWithoutItsEndAndHangUp) {
  Peer peer(path);
  peer.send("flush lsn session");
  peer.finish();
  converse(peer);
  EXPECT_EQ(first_answer(peer).out, "0 sessions flushed\nDone\n");
  turn(2);
  peer.receive();
  EXPECT_TRUE(peer.closed());
  EXPECT_EQ(server->clients(), 0U);
}

TEST_F(Servers, RefuseARequestThatIsTooLongAndHangUp) {
  Peer peer(path);
  std::string bytes(300'000, 'x');
  std::size_t sent = 0;
  for (unsigned i = 0; i < 200 && !peer.closed(); ++i) {
    sent += peer.send(std::string_view(bytes).substr(sent));
    turn();
    peer.receive();
  }
  EXPECT_THAT(first_answer(peer).err,
              StartsWith("ERROR: command: given more than 65536 bytes, allowed"));
  EXPECT_TRUE(peer.closed());
  EXPECT_EQ(server->clients(), 0U);
}

TEST_F(Servers, TakeARequestOfTheGreatestLength) {
  Peer peer(path);
  const std::string line = "stat lsn" + std::string(kLongestRequest - 8, ' ') + "\n";
  std::size_t sent = 0;
  for (unsigned i = 0; i < 200 && answers(peer) == 0; ++i) {
    if (sent < line.size()) sent += peer.send(std::string_view(line).substr(sent));
    turn();
    peer.receive();
  }
  EXPECT_EQ(first_answer(peer).status, 0);
}

TEST_F(Servers, SurviveGarbage) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    Peer peer(path);
    std::string bytes;
    std::uint32_t x = seed;
    for (unsigned i = 0; i < 4000; ++i) {
      x = x * 1664525 + 1013904223;
      bytes += static_cast<char>(x >> 24);
    }
    peer.send(bytes + "\n");
    for (unsigned i = 0; i < 10; ++i) {
      turn();
      peer.receive();
    }
    EXPECT_GT(answers(peer), 0U);
    // No bytes of the garbage come back that could do something to a terminal.
    for (const char c : peer.received())
      EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20);
  }
  EXPECT_EQ(ask("stat lsn").status, 0);
}

TEST_F(Servers, ListAMillionSessionsToAReaderThatReadsThem) {
  many_sessions(1'000'000);
  Peer peer(path);
  peer.send("show lsn session\n");
  unsigned turns = 0;
  for (; turns < 100'000 && answers(peer) == 0; ++turns) {
    turn();
    peer.receive();
    if (turns % 64 != 0) continue;
    if (peer.received().size() > 150'000'000) break;
  }
  const Said said = first_answer(peer);
  EXPECT_EQ(said.status, 0);
  EXPECT_THAT(said.out, testing::EndsWith("1000000 sessions\n"));
  EXPECT_EQ(std::count(said.out.begin(), said.out.end(), '\n'), 1'000'003);
}

TEST_F(Servers, AskForNoFurtherPageWhileTheReaderDoesNotRead) {
  many_sessions(100'000);
  Peer peer(path);
  peer.send("show lsn session\n");
  turn(100);
  const unsigned asked = bench.dataplane.pages_asked;
  EXPECT_LT(asked, 10U) << "what fits into the socket and one piece";
  turn(1000);
  EXPECT_EQ(bench.dataplane.pages_asked, asked);
  peer.receive();
  turn(10);
  EXPECT_GT(bench.dataplane.pages_asked, asked);
}

TEST_F(Servers, AnswerOthersWhileOneReadsSlowlyOrNotAtAll) {
  many_sessions(100'000);
  Peer slow(path);
  Peer silent(path);
  Peer never(path);
  slow.send("show lsn session --json\n");
  silent.send("show lsn sess");
  never.send("show lsn session\n");
  for (unsigned i = 0; i < 50; ++i) {
    turn();
    slow.receive(100);
  }
  Peer quick(path);
  quick.send("stat lsn\n");
  converse(quick, 3);
  EXPECT_EQ(first_answer(quick).status, 0) << "within three ticks";
  EXPECT_EQ(answers(slow), 0U);
  for (unsigned i = 0; i < 20'000 && answers(slow) == 0; ++i) {
    turn();
    slow.receive(20'000);
  }
  const auto json = nlohmann::json::parse(first_answer(slow).out);
  EXPECT_EQ(json["count"], 100'000);
}

TEST_F(Servers, HangUpOnWhoDoesNotFinishARequestInTime) {
  Peer peer(path);
  peer.send("show");
  turn();
  now += 9s;
  turn();
  EXPECT_EQ(server->clients(), 1U);
  // A byte now and then does not buy time.
  peer.send(" ");
  turn();
  now += 2s;
  turn();
  EXPECT_EQ(server->clients(), 0U);
  peer.receive();
  EXPECT_TRUE(peer.closed());
}

TEST_F(Servers, HangUpOnTheSilent) {
  Peer peer(path);
  turn();
  EXPECT_EQ(server->clients(), 1U);
  now += 59s;
  turn();
  EXPECT_EQ(server->clients(), 1U);
  peer.send("stat lsn\n");
  converse(peer);
  now += 59s;
  turn();
  EXPECT_EQ(server->clients(), 1U) << "silence begins anew after an answer";
  now += 2s;
  turn();
  EXPECT_EQ(server->clients(), 0U);
}

TEST_F(Servers, HangUpOnWhoStopsReading) {
  many_sessions(100'000);
  Peer peer(path);
  peer.send("show lsn session\n");
  turn(20);
  now += 119s;
  turn();
  EXPECT_EQ(server->clients(), 1U);
  peer.receive();
  turn(3);
  now += 119s;
  turn();
  EXPECT_EQ(server->clients(), 1U) << "it reads, though slowly";
  now += 2s;
  turn();
  EXPECT_EQ(server->clients(), 0U);
}

TEST_F(Servers, DoNotHangUpOnWhoWaitsForTheWorkers) {
  bench.dataplane.hold = true;
  Peer peer(path);
  peer.send("show lsn session\n");
  turn(3);
  EXPECT_TRUE(server->waiting());
  for (unsigned i = 0; i < 100; ++i) {
    now += 10s;
    turn();
  }
  EXPECT_EQ(server->clients(), 1U);
  bench.dataplane.hold = false;
  converse(peer);
  EXPECT_EQ(first_answer(peer).status, 0);
  EXPECT_FALSE(server->waiting());
}

TEST_F(Servers, ForgetWhoHangsUpInTheMiddleOfAnything) {
  many_sessions(10'000);
  for (const char* line : {"", "show lsn", "show lsn session\n", "flush lsn session\n"}) {
    Peer peer(path);
    peer.send(line);
    turn();
    peer.hang_up();
    turn(3);
    EXPECT_EQ(server->clients(), 0U) << line;
  }
  bench.dataplane.hold = true;
  Peer peer(path);
  peer.send("show lsn session\n");
  turn(2);
  EXPECT_TRUE(server->waiting());
  peer.hang_up();
  loop.wait(0);
  EXPECT_EQ(server->clients(), 0U) << "its place is free though a worker still works for it";
  bench.dataplane.hold = false;
  turn(3);
}

TEST_F(Servers, DoNotSpinWhileTheyWait) {
  bench.dataplane.hold = true;
  Peer waits(path);
  waits.send("show lsn session\nstat lsn\n");
  Peer idle(path);
  many_sessions(100'000);
  turn(5);
  // Nothing is ready: the loop sleeps for all of its time.
  const auto start = std::chrono::steady_clock::now();
  ASSERT_TRUE(loop.wait(50));
  EXPECT_GE(std::chrono::steady_clock::now() - start, 45ms);
}

TEST_F(Servers, GiveTheOldestIdlePlaceToANewClient) {
  restart({.clients = 4});
  std::vector<std::unique_ptr<Peer>> peers;
  for (unsigned i = 0; i < 4; ++i) {
    peers.push_back(std::make_unique<Peer>(path));
    turn();
  }
  peers[0]->send("stat lsn\n");  // now the second is the one that has been silent for longest
  turn(2);
  Peer fifth(path);
  fifth.send("stat lsn\n");
  converse(fifth);
  EXPECT_EQ(first_answer(fifth).status, 0);
  EXPECT_EQ(server->clients(), 4U);
  for (auto& peer : peers) peer->receive();
  EXPECT_FALSE(peers[0]->closed());
  EXPECT_TRUE(peers[1]->closed());
  EXPECT_FALSE(peers[2]->closed());
}

TEST_F(Servers, SendAwayWhoComesWhenAllPlacesAreBusy) {
  restart({.clients = 3});
  bench.dataplane.hold = true;
  std::vector<std::unique_ptr<Peer>> peers;
  for (unsigned i = 0; i < 3; ++i) {
    peers.push_back(std::make_unique<Peer>(path));
    peers.back()->send("show lsn session\n");
    turn(2);
  }
  Peer fourth(path);
  fourth.send("stat lsn\n");
  converse(fourth, 10);
  EXPECT_EQ(first_answer(fourth).status, 1);
  EXPECT_THAT(first_answer(fourth).err, StartsWith("ERROR: command socket: given one client too "
                                                   "many, allowed 3 at a time"));
  bench.dataplane.hold = false;
  for (auto& peer : peers) {
    converse(*peer);
    EXPECT_EQ(first_answer(*peer).status, 0);
  }
}

TEST_F(Servers, ServeManyAtOnce) {
  many_sessions(500);
  std::vector<std::unique_ptr<Peer>> peers;
  for (unsigned i = 0; i < 60; ++i) {
    peers.push_back(std::make_unique<Peer>(path));
    ASSERT_TRUE(peers.back()->connected());
    peers.back()->send(i % 2 == 0 ? "show lsn session --json\n" : "stat worker\n");
    if (i % 20 == 19) turn();
  }
  for (auto& peer : peers) converse(*peer);
  for (auto& peer : peers) EXPECT_EQ(first_answer(*peer).status, 0);
}

TEST_F(Servers, GiveOthersTheirTurnBetweenTheRequestsOfOne) {
  Peer busy(path);
  std::string many;
  for (unsigned i = 0; i < 3000; ++i) many += "\n";
  busy.send(many);
  Peer other(path);
  other.send("stat lsn\n");
  loop.wait(0);  // both are accepted
  loop.wait(0);
  loop.wait(0);
  other.receive();
  EXPECT_EQ(answers(other), 1U);
  busy.receive();
  EXPECT_LT(answers(busy), 3000U);
  for (unsigned i = 0; i < 1000 && answers(busy) < 3000; ++i) {
    turn();
    busy.receive();
  }
  EXPECT_EQ(answers(busy), 3000U);
}

TEST_F(Servers, AnswerAReloadWhenItIsDone) {
  write_file(bench.file, good_with("portquota = 1000", "portquota = 2000"));
  Peer peer(path);
  peer.send("reload config\n");
  bench.dataplane.hold = true;
  turn(5);
  peer.receive();
  EXPECT_EQ(peer.received(), "");
  bench.dataplane.hold = false;
  converse(peer);
  EXPECT_EQ(first_answer(peer).out, "0 sessions ended\nDone\n");
}

TEST_F(Servers, AnswerAReloadThatIsRefusedWithOneLineForEachProblem) {
  write_file(bench.file,
             with(good_with("portquota = 1000", "portquota = 70000"), "mtu = 1400", "mtu = 14"));
  const Said said = ask("reload config");
  EXPECT_EQ(said.status, 1);
  EXPECT_EQ(said.out, "");
  EXPECT_EQ(std::count(said.err.begin(), said.err.end(), '\n'), 2);
  EXPECT_THAT(said.err, StartsWith("ERROR: " + bench.file + ":"));
  EXPECT_THAT(said.err, HasSubstr("\nERROR: " + bench.file + ":"));
}

TEST_F(Servers, GoOnWhenThereWereNoDescriptorsForAClient) {
  Peer first(path);
  turn();
  // The process has none left for a while.
  std::vector<FileDescriptor> all;
  Peer second(path);
  while (true) {
    FileDescriptor fd(open("/dev/null", O_RDONLY));
    if (!fd.valid()) break;
    all.push_back(std::move(fd));
    ASSERT_LT(all.size(), 2'000'000U);
  }
  const auto start = std::chrono::steady_clock::now();
  loop.wait(0);
  loop.wait(30);  // and it does not spin meanwhile
  EXPECT_GE(std::chrono::steady_clock::now() - start, 25ms);
  all.clear();
  second.send("stat lsn\n");
  converse(second);
  EXPECT_EQ(first_answer(second).status, 0);
}

}  // namespace
}  // namespace lsn::control
