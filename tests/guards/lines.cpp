// The lines of the tables that a packet of a session touches, whatever the protocol, direction and
// mapping: one of a flow table, the session's and its next hop's. One more would be one more miss
// per packet once the tables are larger than the cache.
#include <functional>
#include <memory>
#include <set>

#include "guards/line_trace.hpp"
#include "scenario/alg/alg_scenario.hpp"

namespace lsn::test {
namespace {

using Lines = std::set<LineTrace::Line>;

class Touched : public Alg {
 protected:
  void start(const Config& config) {
    memory_ = std::make_unique<LineTrace>();
    Lab::Options options;
    options.memory = memory_.get();
    Laboratory::start(config, kShardings[0], options);
  }

  /// Its packets go out and come in, are translated right, and each touches three lines.
  void expect_three_lines(const std::function<void()>& outbound,
                          const std::function<void()>& inbound, Where where = Where::current()) {
    // All that the first packets had to look up is known from now on.
    outbound();
    inbound();
    const Lines out = memory_->during(outbound), in = memory_->during(inbound);
    EXPECT_EQ(out.size(), 3u) << where.line();
    EXPECT_EQ(in.size(), 3u) << where.line();
    // The same session; another table, another next hop.
    Lines both = out;
    both.insert(in.begin(), in.end());
    EXPECT_EQ(both.size(), 5u) << where.line();
    const datapath::lsn44::Session& session = shard().lsn44.sessions[newest_];
    EXPECT_TRUE(out.contains(LineTrace::line_of(&session))) << where.line();
    EXPECT_TRUE(in.contains(LineTrace::line_of(&session))) << where.line();
    ++newest_;
  }

  [[nodiscard]] datapath::Shard& shard() { return lab().shard(); }

  std::unique_ptr<LineTrace> memory_;
  datapath::lsn44::SessionId newest_ = 0;  ///< sessions are numbered as they come
};

TEST_P(Touched, ThreeLinesPerUdpPacket) {
  start(Config::standard());
  const Endpoint nat = translated(udp(kClient, kServer));
  expect_three_lines([&] { translated_to(udp(kClient, kServer), nat); },
                     [&] { returned(udp(kServer, nat), kClient); });
}

TEST_P(Touched, ThreeLinesPerPacketOfAnEndpointIndependentMapping) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  start(config);
  const Endpoint nat = translated(udp(kClient, kServer));
  expect_three_lines([&] { translated_to(udp(kClient, kServer), nat); },
                     [&] { returned(udp(kServer, nat), kClient); });
}

TEST_P(Touched, ThreeLinesPerTcpSegment) {
  start(Config::standard());
  const Endpoint nat = translated(tcp(kClient, kServer, kSyn));
  returned(tcp(kServer, nat, kSyn | kAck), kClient);
  translated_to(tcp(kClient, kServer, kAck), nat);
  expect_three_lines([&] { translated_to(tcp(kClient, kServer, kAck), nat); },
                     [&] { returned(tcp(kServer, nat, kAck), kClient); });
}

TEST_P(Touched, ThreeLinesPerIcmpQuery) {
  start(Config::standard());
  const Endpoint client{kClient.ip, 77};
  const Endpoint nat = translated(ping(client, kServer.ip));
  expect_three_lines([&] { translated_to(ping(client, kServer.ip), nat); },
                     [&] { returned(pong(kServer.ip, nat), client); });
}

TEST_P(Touched, ThreeLinesPerEspPacketOfAKnownSpi) {
  start(Config::with_alg());
  const Peer peer = joins(1);
  newest_ = 1;  // behind that of its IKE
  pairs(peer, 0x1001, 0x2001);
  expect_three_lines([&] { sends_esp(peer, 0x1001, 9); }, [&] { gets_esp(peer, 0x2001, 9); });
}

/// The guard works: a packet that opens a session touches many.
TEST_P(Touched, MoreByAPacketThatOpensASession) {
  start(Config::standard());
  static_cast<void>(translated(udp(kClient, kServer)));
  const Lines lines =
      memory_->during([&] { static_cast<void>(translated(udp({kClient.ip, 40001}, kServer))); });
  const auto& tables = shard().lsn44;
  EXPECT_TRUE(lines.contains(LineTrace::line_of(&tables.sessions[1])));
  EXPECT_TRUE(lines.contains(LineTrace::line_of(&tables.cold[1])));
  EXPECT_GT(lines.size(), 6u);
}

INSTANTIATE_TEST_SUITE_P(Any, Touched, ::testing::Values(kShardings[0]), sharding_name);

}  // namespace
}  // namespace lsn::test
