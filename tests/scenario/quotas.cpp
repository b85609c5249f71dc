// Limits per subscriber and group (RFC 6888 REQ-4), exact over all shards, and full tables: what is
// refused is answered by unreachable and counted, live sessions are untouched.
#include "scenario.hpp"

namespace lsn::test {
namespace {

class Quotas : public Scenario {
 protected:
  [[nodiscard]] static Endpoint client(unsigned host, unsigned port = 4000) {
    return {Ip{"192.0.2.10"} + host, static_cast<std::uint16_t>(port)};
  }
  [[nodiscard]] static Endpoint server(unsigned n) {
    return {Ip{"198.18.0.1"} + n, static_cast<std::uint16_t>(1000 + n)};
  }
};

TEST_P(Quotas, PortquotaLimitsTheNatPortsOfASubscriberPerProtocol) {
  Config config = Config::standard();
  config.group().udp().port_quota = 5;
  start(config);
  for (unsigned i = 0; i < 5; ++i) translated(udp(client(0, 4000 + i), kServer));
  expect_unreachable_inside(udp(client(0, 4005), kServer), DropReason::kPortQuota);
  // Live ones are untouched, and so are others and other protocols.
  translated(udp(client(0, 4002), kServer));
  translated(udp(client(1, 4005), kServer));
  translated(tcp(client(0, 4005), kServer, kSyn));
  translated(ping(client(0, 4005), kServer.ip));
  lab().advance(121s);
  translated(udp(client(0, 4005), kServer));
}

TEST_P(Quotas, PortquotaCountsASharedNatPortOnce) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  config.group().udp().port_quota = 2;
  start(config);
  for (unsigned i = 0; i < 10; ++i) {
    translated(udp(client(0, 4000), server(i)));
    translated(udp(client(0, 4001), server(i)));
  }
  expect_unreachable_inside(udp(client(0, 4002), kServer), DropReason::kPortQuota);
  // An idle mapping still has its port.
  lab().advance(130s);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
  expect_unreachable_inside(udp(client(0, 4002), kServer), DropReason::kPortQuota);
  lab().advance(600s);
  translated(udp(client(0, 4002), kServer));
}

TEST_P(Quotas, SessionquotaLimitsTheSessionsOfASubscriberPerProtocol) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  config.group().udp().session_quota = 5;
  start(config);
  Endpoint nat;
  for (unsigned i = 0; i < 5; ++i) nat = translated(udp(client(0), server(i)));
  expect_unreachable_inside(udp(client(0), server(5)), DropReason::kSessionQuota);
  // Unsolicited packets make sessions as well: refused, without an ICMP error.
  refused_from_outside(udp({"198.18.7.7", 7}, nat), DropReason::kSessionQuota);
  for (unsigned i = 0; i < 5; ++i) translated(udp(client(0), server(i)));
  translated(tcp(client(0), server(5), kSyn));
  translated(udp(client(1), server(5)));
  lab().advance(60s);
  translated(udp(client(0), server(1)));  // keeps one
  lab().advance(61s);
  for (unsigned i = 10; i < 14; ++i) translated(udp(client(0), server(i)));
  expect_unreachable_inside(udp(client(0), server(14)), DropReason::kSessionQuota);
}

// ── a part of portquota for some ports ──────────────────────────────────────────────────────────

shared::IntervalMap<bool> ports(std::initializer_list<std::uint32_t> each) {
  std::vector<shared::IntervalMap<bool>::Range> ranges;
  for (const std::uint32_t port : each) ranges.push_back({port, port, true});
  return shared::IntervalMap<bool>(std::move(ranges));
}

TEST_P(Quotas, PortReserve_KeepsTheLastPortsForSomeDestinations) {
  Config config = Config::standard();
  config.group().udp().port_quota = 6;
  config.group().udp().port_reserve = 2;
  config.group().udp().reserved_for = ports({53, 443});
  start(config);
  for (unsigned i = 0; i < 4; ++i) translated(udp(client(0, 4000 + i), kServer));
  expect_unreachable_inside(udp(client(0, 4004), kServer), DropReason::kPortQuota);
  // The subscriber's own port does not make it one of those.
  expect_unreachable_inside(udp(client(0, 53), kServer), DropReason::kPortQuota);
  translated(udp(client(0, 4004), {"198.18.0.1", 53}));
  translated(udp(client(0, 4005), {"198.18.0.1", 443}));
  expect_unreachable_inside(udp(client(0, 4006), {"198.18.0.1", 53}), DropReason::kPortQuota);
  // Other protocols and subscribers have their own.
  translated(tcp(client(0, 4006), kServer, kSyn));
  translated(udp(client(1, 4006), kServer));
  lab().advance(121s);
  // What they have used themselves is no one else's.
  translated(udp(client(0, 4000), {"198.18.0.1", 53}));
  for (unsigned i = 1; i < 4; ++i) translated(udp(client(0, 4000 + i), kServer));
  expect_unreachable_inside(udp(client(0, 4004), kServer), DropReason::kPortQuota);
}

TEST_P(Quotas, PortReserve_OfASharedPortTheFirstSessionDecides) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  config.group().udp().port_quota = 2;
  config.group().udp().port_reserve = 1;
  config.group().udp().reserved_for = ports({53});
  start(config);
  translated(udp(client(0, 4000), kServer));
  expect_unreachable_inside(udp(client(0, 4001), kServer), DropReason::kPortQuota);
  const Endpoint nat = translated(udp(client(0, 4001), {"198.18.0.1", 53}));
  translated_to(udp(client(0, 4001), kServer), nat);  // no further port
}

TEST_P(Quotas, PortReserve_AReloadHoldsForWhatIsNew) {
  Config config = Config::standard();
  config.group().udp().port_quota = 4;
  start(config);
  for (unsigned i = 0; i < 3; ++i) translated(udp(client(0, 4000 + i), kServer));
  this->config().group().udp().port_reserve = 3;
  this->config().group().udp().reserved_for = ports({53});
  EXPECT_EQ(lab().reload(this->config()), 0u);
  for (unsigned i = 0; i < 3; ++i) translated(udp(client(0, 4000 + i), kServer));
  expect_unreachable_inside(udp(client(0, 4003), kServer), DropReason::kPortQuota);
  translated(udp(client(0, 4003), {"198.18.0.1", 53}));
}

// ── new sessions per second ─────────────────────────────────────────────────────────────────────

TEST_P(Quotas, SessionRateLimitsTheNewSessionsOfASubscriberPerProtocol) {
  Config config = Config::standard();
  config.group().udp().session_rate = 4;
  config.group().udp().session_burst = 4;
  start(config);
  for (unsigned i = 0; i < 4; ++i) translated(udp(client(0, 4000 + i), kServer));
  expect_unreachable_inside(udp(client(0, 4004), kServer), DropReason::kSessionRate);
  // What lives goes on, and so do others and other protocols.
  for (unsigned i = 0; i < 4; ++i) translated(udp(client(0, 4000 + i), kServer));
  translated(udp(client(1), kServer));
  translated(tcp(client(0), kServer, kSyn));
  translated(ping(client(0), kServer.ip));
  // One every 250 ms from now on.
  lab().advance(200ms);
  expect_unreachable_inside(udp(client(0, 4004), kServer), DropReason::kSessionRate);
  for (unsigned i = 4; i < 12; ++i) {
    lab().advance(i == 4 ? 50ms : 250ms);
    translated(udp(client(0, 4000 + i), kServer));
    expect_unreachable_inside(udp(client(0, 5000 + i), kServer), DropReason::kSessionRate);
  }
  lab().advance(10s);
  for (unsigned i = 20; i < 24; ++i) translated(udp(client(0, 4000 + i), kServer));
  expect_unreachable_inside(udp(client(0, 4024), kServer), DropReason::kSessionRate);
}

TEST_P(Quotas, SessionBurst_IsHowManyBeginAtOnce) {
  Config config = Config::standard();
  config.group().tcp().session_rate = 1;
  config.group().tcp().session_burst = 20;
  start(config);
  for (unsigned i = 0; i < 20; ++i) translated(tcp(client(0, 4000 + i), kServer, kSyn));
  expect_unreachable_inside(tcp(client(0, 4020), kServer, kSyn), DropReason::kSessionRate);
  lab().advance(2s);
  for (unsigned i = 20; i < 22; ++i) translated(tcp(client(0, 4000 + i), kServer, kSyn));
  expect_unreachable_inside(tcp(client(0, 4022), kServer, kSyn), DropReason::kSessionRate);
}

TEST_P(Quotas, SessionRate_RefusedPacketsTakeNothing) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  config.group().udp().session_rate = 2;
  config.group().udp().session_burst = 2;
  config.unreachable_rate = 0;
  start(config);
  for (unsigned i = 0; i < 2; ++i) translated(udp(client(0, 4000 + i), kServer));
  for (unsigned i = 2; i < 500; ++i)
    refused_from_inside(udp(client(0, 4000 + i), kServer), DropReason::kSessionRate);
  EXPECT_EQ(lab().subscribers(), 1u);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 2u);
  EXPECT_EQ(lab().mapping_count(Protocol::kUdp), 2u);
  EXPECT_EQ(sessions().size(), 2u);
}

// Else a stranger's packets would take what is the subscriber's.
TEST_P(Quotas, SessionRate_DoesNotCountSessionsFromOutside) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  config.group().udp().session_rate = 2;
  config.group().udp().session_burst = 2;
  start(config);
  const Endpoint nat = translated(udp(client(0), kServer));
  for (unsigned i = 0; i < 20; ++i) returned(udp({Ip{"198.18.7.0"} + i, 7}, nat), client(0));
  translated(udp(client(0), server(2)));
  expect_unreachable_inside(udp(client(0), server(3)), DropReason::kSessionRate);
}

TEST_P(Quotas, SessionRate_ANewcomerHasTheWholeBurst) {
  Config config = Config::standard();
  config.group().udp().session_rate = 1;
  config.group().udp().session_burst = 2;
  config.group().udp().session_timeout = 1s;
  start(config);
  for (unsigned host = 0; host < 20; ++host) {
    for (unsigned i = 0; i < 2; ++i) translated(udp(client(host, 4000 + i), kServer));
    expect_unreachable_inside(udp(client(host, 4002), kServer), DropReason::kSessionRate);
    lab().flush({});
    ASSERT_EQ(lab().subscribers(), 0u);
  }
}

TEST_P(Quotas, SessionRate_AReloadHoldsAtOnce) {
  start();
  for (unsigned i = 0; i < 30; ++i) translated(udp(client(0, 4000 + i), kServer));
  config().group().udp().session_rate = 1;
  config().group().udp().session_burst = 3;
  lab().reload(config());
  for (unsigned i = 30; i < 33; ++i) translated(udp(client(0, 4000 + i), kServer));
  expect_unreachable_inside(udp(client(0, 4033), kServer), DropReason::kSessionRate);
  config().group().udp().session_rate = 0;
  lab().reload(config());
  for (unsigned i = 33; i < 60; ++i) translated(udp(client(0, 4000 + i), kServer));
}

TEST_P(Quotas, RefusedSession_LeavesNoSubscriberOrMapping) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  config.group().udp().group_session_limit = 1;
  start(config);
  translated(udp(client(0), kServer));
  for (unsigned i = 1; i < 30; ++i)
    expect_unreachable_inside(udp(client(i), kServer), DropReason::kGroupSessionLimit);
  EXPECT_EQ(lab().subscribers(), 1u);
  EXPECT_EQ(lab().mapping_count(Protocol::kUdp), 1u);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 1u);
}

TEST_P(Quotas, GroupSessionLimitIsExactOverAllShards) {
  Config config = Config::standard();
  config.group().udp().group_session_limit = 50;
  start(config);
  unsigned made = 0, refused = 0;
  for (unsigned i = 0; i < 80; ++i) {
    const std::vector<Frame> frames = lab().from_inside(udp(client(i), kServer).bytes());
    ASSERT_EQ(frames.size(), 1u);
    if (frames[0].device == 1)
      ++made;
    else
      ++refused;
    // First come, first served.
    EXPECT_EQ(made, std::min(i + 1, 50u));
  }
  expect_drops({{DropReason::kGroupSessionLimit, 30}});
  EXPECT_EQ(refused, 30u);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 50u);
  // Other protocols have limits of their own.
  translated(tcp(client(70), kServer, kSyn));
  // What ends makes room.
  lab().advance(121s);
  for (unsigned i = 30; i < 80; ++i) translated(udp(client(i), kServer));
  expect_unreachable_inside(udp(client(0), kServer), DropReason::kGroupSessionLimit);
}

TEST_P(Quotas, GroupSessionLimit_IsPerGroup) {
  Config config = Config::standard();
  config.groups[0].clients = {"192.0.2.0/26"};
  config.groups[0].udp().group_session_limit = 3;
  config.add_group("OTHERS", {"192.0.2.64/26"}, {"POOL"}).udp().group_session_limit = 2;
  start(config);
  for (unsigned i = 0; i < 3; ++i) translated(udp(client(i), kServer));
  for (unsigned i = 60; i < 62; ++i) translated(udp(client(i), kServer));
  expect_unreachable_inside(udp(client(4), kServer), DropReason::kGroupSessionLimit);
  expect_unreachable_inside(udp(client(62), kServer), DropReason::kGroupSessionLimit);
}

TEST_P(Quotas, GroupSessionLimitSetByReload_CountsExistingSessions) {
  start();
  for (unsigned i = 0; i < 20; ++i) translated(udp(client(i), kServer));
  config().group().udp().group_session_limit = 25;
  lab().reload(config());
  for (unsigned i = 20; i < 25; ++i) translated(udp(client(i), kServer));
  expect_unreachable_inside(udp(client(25), kServer), DropReason::kGroupSessionLimit);
  // Below what there is: nothing new, nothing ended.
  config().group().udp().group_session_limit = 10;
  lab().reload(config());
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 25u);
  for (unsigned i = 0; i < 25; ++i) translated(udp(client(i), kServer));
  expect_unreachable_inside(udp(client(25), kServer), DropReason::kGroupSessionLimit);
  // Without a limit nobody counts; with one again, all are counted.
  config().group().udp().group_session_limit = 0;
  lab().reload(config());
  for (unsigned i = 25; i < 30; ++i) translated(udp(client(i), kServer));
  config().group().udp().group_session_limit = 31;
  lab().reload(config());
  translated(udp(client(30), kServer));
  expect_unreachable_inside(udp(client(31), kServer), DropReason::kGroupSessionLimit);
  lab().advance(121s);
  for (unsigned i = 0; i < 31; ++i) translated(udp(client(i), kServer));
  expect_unreachable_inside(udp(client(31), kServer), DropReason::kGroupSessionLimit);
}

TEST_P(Quotas, FlushedSessionsMakeRoom) {
  Config config = Config::standard();
  config.group().udp().group_session_limit = 4;
  config.group().udp().port_quota = 4;
  config.group().udp().session_quota = 4;
  start(config);
  for (unsigned round = 0; round < 3; ++round) {
    for (unsigned i = 0; i < 4; ++i) translated(udp(client(0, 4000 + i), kServer));
    expect_unreachable_inside(udp(client(0, 4004), kServer), DropReason::kSessionQuota);
    EXPECT_EQ(lab().flush({}), 4u);
  }
}

INSTANTIATE_TEST_SUITE_P(Sharded, Quotas, shardings(), sharding_name);

// ── full tables ─────────────────────────────────────────────────────────────────────────────────

class FullTables : public Quotas {
 protected:
  /// One address, so that one shard serves all.
  [[nodiscard]] static Config one_address() {
    Config config = Config::standard();
    config.pool().addresses = {"203.0.113.5"};
    return config;
  }
};

TEST_P(FullTables, SessionTableFull_RefusesNewSessionsAndKeepsLiveOnes) {
  start(one_address(), {.max_sessions = 16});
  std::vector<Endpoint> nat;
  for (unsigned i = 0; i < 16; ++i) nat.push_back(translated(udp(client(i), kServer)));
  for (unsigned i = 16; i < 26; ++i)
    expect_unreachable_inside(udp(client(i), kServer), DropReason::kSessionTableFull);
  expect_unreachable_inside(udp(client(0), server(9)), DropReason::kSessionTableFull);
  expect_unreachable_inside(tcp(client(0), kServer, kSyn), DropReason::kSessionTableFull);
  EXPECT_EQ(lab().subscribers(), 16u);
  for (unsigned i = 0; i < 16; ++i) {
    translated_to(udp(client(i), kServer), nat[i]);
    returned(udp(kServer, nat[i]), client(i));
  }
  lab().advance(121s);
  for (unsigned i = 16; i < 32; ++i) translated(udp(client(i), kServer));
}

TEST_P(FullTables, SessionTableFull_RefusesUnsolicitedInbound) {
  Config config = one_address();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  start(config, {.max_sessions = 16});
  const Endpoint nat = translated(udp(client(0), kServer));
  for (unsigned i = 0; i < 15; ++i) returned(udp(server(i), nat), client(0));
  refused_from_outside(udp(server(15), nat), DropReason::kSessionTableFull);
  returned(udp(server(3), nat), client(0));
}

TEST_P(FullTables, MappingTableFull_RefusesNewMappingsAndKeepsLiveOnes) {
  Config config = one_address();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  config.group().udp().session_timeout = 60s;
  start(config, {.max_sessions = 16});
  // Idle mappings outlive their sessions, so there are more of them.
  for (unsigned i = 0; i < 16; ++i) translated(udp(client(i), kServer));
  lab().advance(61s);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
  EXPECT_EQ(lab().mapping_count(Protocol::kUdp), 16u);
  const Endpoint kept = translated(udp(client(3), server(2)));
  expect_unreachable_inside(udp(client(20), kServer), DropReason::kMappingTableFull);
  // What needs no mapping of its own finds room.
  translated(tcp(client(20), kServer, kSyn));
  returned(udp(server(7), kept), client(3));
  EXPECT_EQ(lab().mapping_count(Protocol::kUdp), 16u);
}

TEST_P(FullTables, SubscriberTableFull_RefusesNewSubscribersAndKeepsLiveOnes) {
  Config config = one_address();
  config.routes.push_back({"10.1.0.0/16", "192.0.2.2"});
  config.group().clients.push_back("10.1.0.0/16");
  config.group().app(Protocol::kUdp, {.mapping = Dependence::kEndpointIndependent});
  start(config, {.max_sessions = 4096});
  const std::uint32_t room = capacity_of(lab().shard(0)).subscribers;
  ASSERT_LT(room, 4096u);
  std::vector<Endpoint> nat;
  for (unsigned i = 0; i < room; ++i)
    nat.push_back(translated(udp({Ip{"10.1.0.0"} + i, 9}, kServer)));
  const IpPacket packet = udp({"10.1.200.1", 9}, kServer);
  const std::vector<Frame> frames = lab().from_inside(packet.bytes());
  expect_drops({{DropReason::kSubscriberTableFull, 1}});
  const IpPacket error = our_error(packet.bytes(), kRouter, kUnreachable, 13);
  const Bytes told = only(frames, 0);
  ASSERT_FALSE(told.empty());
  expect_frames(frames, {lab().frame_to(0, "192.0.2.2", error.with_id(get16(told, 4)).bytes())});
  for (unsigned i = 0; i < room; i += 97)
    translated_to(udp({Ip{"10.1.0.0"} + i, 9}, kServer), nat[i]);
  // One that is there may have more.
  translated(udp({"10.1.0.5", 10}, kServer));
}

TEST_P(FullTables, ExpiredSessions_FreeEveryTableEntry) {
  Config config = one_address();
  config.group().app(Protocol::kUdp, {.mapping = Dependence::kEndpointIndependent,
                                      .filtering = Dependence::kAddress});
  config.group().udp().session_timeout = 60s;
  config.group().udp().stun_timeout = 120s;
  start(config, {.max_sessions = 64});
  for (unsigned round = 0; round < 40; ++round) {
    for (unsigned i = 0; i < 64; ++i)
      translated(udp(client(i, 1024 + round), server(i * round % 50)));
    EXPECT_EQ(lab().session_count(Protocol::kUdp), 64u);
    lab().advance(61s);
    EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
    lab().advance(121s);
    EXPECT_EQ(lab().mapping_count(Protocol::kUdp), 0u);
    EXPECT_EQ(lab().subscribers(), 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(Sharded, FullTables, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
