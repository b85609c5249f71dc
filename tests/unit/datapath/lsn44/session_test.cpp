// Creating sessions: limits, and that a refusal leaves nothing behind (RFC 6888 REQ-4), without
// packets.
#include "lsn/datapath/lsn44/session.hpp"

#include "lsn/wire/tcp.hpp"
#include "unit/datapath/floors.hpp"

namespace lsn::datapath::lsn44 {
namespace {

using test::Config;
using wire::TcpHeader;

const wire::Endpoint kClient = endpoint("192.0.2.10", 40000);
const wire::Endpoint kServer = endpoint("198.18.0.1", 80);

class SessionQuotas : public Floors {
 protected:
  /// All that a session takes, so that what a refusal leaves can be compared.
  std::array<std::uint64_t, 7> taken() {
    return {tables().sessions.size(),
            tables().mappings.size(),
            tables().subscribers.size(),
            tables().permissions.size(),
            ports_taken(Protocol::kUdp),
            shard().counters.of(Protocol::kUdp).sessions.get(),
            group().usage->sessions[static_cast<std::size_t>(Protocol::kUdp)].load()};
  }
  static wire::Endpoint client(unsigned n) {
    return {wire::Be32::of(ip("192.0.2.10").host() + n), wire::Be16::of(40000)};
  }
};

TEST_F(SessionQuotas, ASessionHasItsEndpointsAndIsFoundByBothKeys) {
  start(Config::standard());
  const auto id = create(Protocol::kUdp, kClient, kServer);
  ASSERT_TRUE(id.has_value());
  const Session& session = tables().sessions[*id];
  EXPECT_EQ(session.inside_ip, kClient.address);
  EXPECT_EQ(session.inside_port, kClient.port);
  EXPECT_EQ(session.remote_ip, kServer.address);
  EXPECT_EQ(session.remote_port, kServer.port);
  const auto find = [](const state::FlowTable& table, const state::FlowKey& key) {
    return table.find(key, table.hash(key));
  };
  EXPECT_EQ(find(tables().outbound, flow_key(Protocol::kUdp, kClient, kServer)), *id);
  EXPECT_EQ(
      find(tables().inbound, flow_key(Protocol::kUdp, {session.nat_ip, session.nat_port}, kServer)),
      *id);
}

TEST_F(SessionQuotas, SessionQuota_CountsBySubscriberAndProtocol) {
  Config config = Config::standard();
  config.group().udp().session_quota = 2;
  start(config);
  for (unsigned port : {1u, 2u})
    ASSERT_TRUE(create(Protocol::kUdp, kClient, endpoint("198.18.0.1", port)).has_value());
  const auto before = taken();
  EXPECT_EQ(create(Protocol::kUdp, kClient, endpoint("198.18.0.1", 3)),
            std::unexpected(DropReason::kSessionQuota));
  EXPECT_EQ(taken(), before);
  EXPECT_TRUE(create(Protocol::kTcp, kClient, kServer).has_value());
  EXPECT_TRUE(create(Protocol::kUdp, client(1), kServer).has_value());
}

TEST_F(SessionQuotas, GroupSessionLimit_CountsOverSubscribersAndIsGivenBack) {
  Config config = Config::standard();
  config.group().udp().group_session_limit = 3;
  start(config);
  std::vector<SessionId> ids;
  for (unsigned n = 0; n < 3; ++n) ids.push_back(*create(Protocol::kUdp, client(n), kServer));
  const auto before = taken();
  EXPECT_EQ(create(Protocol::kUdp, client(3), kServer),
            std::unexpected(DropReason::kGroupSessionLimit));
  EXPECT_EQ(taken(), before) << "nor is the refused subscriber remembered";
  end_session(shard(), ids.front(), SessionEnd::kFlushed);
  EXPECT_TRUE(create(Protocol::kUdp, client(3), kServer).has_value());
}

TEST_F(SessionQuotas, PortQuota_RefusesTheSessionAndLeavesNothing) {
  Config config = Config::standard();
  config.group().udp().port_quota = 1;
  config.group().udp().group_session_limit = 100;
  start(config);
  ASSERT_TRUE(create(Protocol::kUdp, kClient, kServer).has_value());
  const auto before = taken();
  EXPECT_EQ(create(Protocol::kUdp, kClient, endpoint("198.18.0.2", 80)),
            std::unexpected(DropReason::kPortQuota));
  EXPECT_EQ(taken(), before);
}

TEST_F(SessionQuotas, AFullSessionTable_RefusesAndLeavesNothing) {
  Config config = Config::standard();
  config.group().udp().group_session_limit = 100;
  start(config, 4);
  for (unsigned n = 0; n < 4; ++n)
    ASSERT_TRUE(create(Protocol::kUdp, client(n), kServer).has_value());
  const auto before = taken();
  EXPECT_EQ(create(Protocol::kUdp, client(4), kServer),
            std::unexpected(DropReason::kSessionTableFull));
  EXPECT_EQ(taken(), before);
}

TEST_F(SessionQuotas, AKeyThatIsTaken_RefusesAndGivesPortAndPermissionBack) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, {.pooling = Pooling::kPaired,
                                      .mapping = Dependence::kAddressPort,
                                      .filtering = Dependence::kAddress});
  start(config);
  ASSERT_TRUE(create(Protocol::kUdp, kClient, kServer).has_value());
  const auto before = taken();
  EXPECT_EQ(create(Protocol::kUdp, kClient, kServer), std::unexpected(DropReason::kFiltered));
  EXPECT_EQ(taken(), before);
}

TEST_F(SessionQuotas, EndingTheLastSession_LeavesNothing) {
  start(Config::standard());
  const auto empty = taken();
  const auto id = create(Protocol::kUdp, kClient, kServer);
  EXPECT_NE(taken(), empty);
  end_session(shard(), *id, SessionEnd::kFlushed);
  EXPECT_EQ(taken(), empty);
}

// ── which TCP packets may open a session (RFC 5382 section 4, RFC 7857 section 2) ────────────────

TEST(TcpOpening, OnlyASynOpensWhereSynCheckIsOn) {
  const TransportPolicy policy{.syn_check = true};
  for (unsigned flags = 0; flags < 64; ++flags) {
    constexpr unsigned kChanges =
        TcpHeader::kSyn | TcpHeader::kAck | TcpHeader::kRst | TcpHeader::kFin;
    EXPECT_EQ(tcp_opening(static_cast<std::uint8_t>(flags), policy),
              (flags & kChanges) == TcpHeader::kSyn ? TcpOpening::kSyn : TcpOpening::kRefused)
        << flags;
  }
}

TEST(TcpOpening, WithoutSynCheckAllButAResetTakesOver) {
  const TransportPolicy policy{.syn_check = false};
  EXPECT_EQ(tcp_opening(TcpHeader::kSyn, policy), TcpOpening::kSyn);
  EXPECT_EQ(tcp_opening(TcpHeader::kAck, policy), TcpOpening::kTakeOver);
  EXPECT_EQ(tcp_opening(TcpHeader::kFin | TcpHeader::kAck, policy), TcpOpening::kTakeOver);
  EXPECT_EQ(tcp_opening(TcpHeader::kRst, policy), TcpOpening::kRefused);
  EXPECT_EQ(tcp_opening(TcpHeader::kRst | TcpHeader::kAck, policy), TcpOpening::kRefused);
}

}  // namespace
}  // namespace lsn::datapath::lsn44
