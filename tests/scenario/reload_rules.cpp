// After a reload nothing behaves other than a fresh start with the same file would, except that
// what is still allowed lives on: clients that move or go, policies that tighten, times that
// shorten. From both sides, after the sweep and before it has come to what a packet meets.
#include "scenario.hpp"

namespace lsn::test {
namespace {

constexpr Endpoint kUnsolicited = {"198.18.0.77", 999};
constexpr AppPolicy kAddressFiltering = {.mapping = Dependence::kEndpointIndependent,
                                         .filtering = Dependence::kAddress};
constexpr AppPolicy kPortFiltering = {.mapping = Dependence::kEndpointIndependent,
                                      .filtering = Dependence::kAddressPort};

class ReloadRules : public Scenario {
 protected:
  /// UDP by that policy; the group's clients 192.0.2.0/25 and .128/25, and a second group with a
  /// pool of its own.
  void start_with(const AppPolicy& policy) {
    Config config = Config::standard();
    config.group().clients = {"192.0.2.0/25", "192.0.2.128/25"};
    config.group().app(Protocol::kUdp, policy);
    config.add_pool("OTHER", {"203.0.113.64-203.0.113.67"});
    config.add_group("OTHERS", {"10.9.0.0/24"}, {"OTHER"}).app(Protocol::kUdp, policy);
    start(config);
  }
  void move_the_client() {
    config().group().clients = {"192.0.2.128/25"};
    config().group(1).clients = {"10.9.0.0/24", "192.0.2.0/25"};
  }
  void set_policy(const AppPolicy& policy) {
    config().group().apps.clear();
    config().group().app(Protocol::kUdp, policy);
  }
  /// All shards work with the new configuration, none has swept.
  void adopt() {
    lab().publish(config());
    for (unsigned id = 0; id < lab().shards(); ++id) lab().adopt(id);
  }
  void expect_nothing(Where where = Where::current()) {
    if (lab().subscribers() != 0) fail(where) << lab().subscribers() << " subscribers are left";
    for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp})
      if (lab().session_count(protocol) != 0 || lab().mapping_count(protocol) != 0)
        fail(where) << "sessions or mappings are left";
  }
  std::uint64_t in_limit(std::size_t group = 0) {
    return lab().generation().groups[group].usage->sessions[1].load();
  }
  [[nodiscard]] static Endpoint client(unsigned port, unsigned host = 0) {
    return {kClient.ip + host, static_cast<std::uint16_t>(port)};
  }
};

// ── clients ─────────────────────────────────────────────────────────────────────────────────────

TEST_P(ReloadRules, AClientMovedToAnotherGroup_IsServedThereAtOnce) {
  start_with(kEndpointIndependent);
  const Endpoint nat = translated(udp(kClient, kServer));
  lab().advance(130s);  // the mapping is idle
  move_the_client();
  lab().reload(config());
  expect_nothing();
  refused_from_outside(udp(kUnsolicited, nat), DropReason::kNoMapping);
  const Endpoint fresh = translated(udp(kClient, kServer));
  EXPECT_TRUE(Network("203.0.113.64-203.0.113.67").contains(fresh.ip));
  returned(udp(kUnsolicited, fresh), kClient);
}

TEST_P(ReloadRules, AClientMovedToAnotherGroup_IsServedThereBeforeTheSweep) {
  start_with(kEndpointIndependent);
  const Endpoint nat = translated(udp(kClient, kServer));
  move_the_client();
  adopt();
  refused_from_outside(udp(kUnsolicited, nat), DropReason::kNoMapping);
  // By the same session, and by a new one.
  const Network others{"203.0.113.64-203.0.113.67"};
  EXPECT_TRUE(others.contains(translated(udp(kClient, kServer)).ip));
  EXPECT_TRUE(others.contains(translated(udp(client(41000), kServer)).ip));
  refused_from_outside(udp(kServer, nat), DropReason::kNoMapping);
  lab().sweep();
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 2u);
  EXPECT_EQ(lab().subscribers(), 1u);
}

TEST_P(ReloadRules, AClientMovedToAnotherGroup_HasItsFormerMappingNotRefreshedFromOutside) {
  start_with(kEndpointIndependent);
  const Endpoint nat = translated(udp(kClient, kServer));
  returned(udp(kUnsolicited, nat), kClient);
  move_the_client();
  lab().reload(config());
  for (unsigned i = 0; i < 5; ++i) {
    refused_from_outside(udp(kUnsolicited, nat), DropReason::kNoMapping);
    translated(udp(client(41000 + i), kServer));
    lab().advance(60s);
  }
}

TEST_P(ReloadRules, AClientMovedToAGroupOfTheSamePool_KeepsItsSessions) {
  start_with(kEndpointIndependent);
  config().group(1).pools = {"OTHER", "POOL"};
  lab().reload(config());
  const Endpoint nat = translated(udp(kClient, kServer));
  // The group's limit counts it, and the former one's no longer.
  config().group(0).udp().group_session_limit = 10;
  config().group(1).udp().group_session_limit = 10;
  lab().reload(config());
  EXPECT_EQ(in_limit(0), 1u);
  move_the_client();
  EXPECT_EQ(lab().reload(config()), 0u);
  EXPECT_EQ(in_limit(0), 0u);
  EXPECT_EQ(in_limit(1), 1u);
  translated_to(udp(kClient, kServer), nat);
  returned(udp(kUnsolicited, nat), kClient);
}

TEST_P(ReloadRules, AGroupThatIsRenamed_KeepsItsSessions) {
  start_with(kPortFiltering);
  const Endpoint nat = translated(udp(kClient, kServer));
  lab().advance(60s);
  translated_to(udp(kClient, kServer), nat);
  config().group().name = "RENAMED";
  adopt();
  // What its timer meets before the sweep comes is judged by the new group as well.
  lab().advance(65s);
  translated_to(udp(kClient, kServer), nat);
  lab().sweep();
  lab().advance(119s);
  translated_to(udp(kClient, kServer), nat);
}

TEST_P(ReloadRules, ARemovedClient_HasNoMappingInbound) {
  start_with(kEndpointIndependent);
  const Endpoint nat = translated(udp(kClient, kServer));
  const Endpoint idle = translated(udp(client(7, 1), kServer));
  lab().advance(100s);
  returned(udp(kUnsolicited, nat), kClient);
  lab().advance(30s);  // the second one's session has ended
  config().group().clients = {"192.0.2.128/25"};
  adopt();
  for (int swept = 0; swept < 2; ++swept) {
    refused_from_outside(udp(kUnsolicited, nat), DropReason::kNoMapping);
    refused_from_outside(udp(kUnsolicited, idle), DropReason::kNoMapping);
    refused_from_inside(udp(kClient, kServer), DropReason::kNotAClient);
    lab().sweep();
  }
  expect_nothing();
}

// ── pools ───────────────────────────────────────────────────────────────────────────────────────

TEST_P(ReloadRules, AnIdleMappingOfAPoolThatIsGone_IsNotUsedBeforeTheSweep) {
  start_with(kEndpointIndependent);
  const Endpoint nat = translated(udp(kClient, kServer));
  lab().advance(130s);
  config().group().pools = {"OTHER"};
  adopt();
  refused_from_outside(udp(kUnsolicited, nat), DropReason::kNoMapping);
  const Endpoint fresh = translated(udp(kClient, kServer));
  EXPECT_TRUE(Network("203.0.113.64-203.0.113.67").contains(fresh.ip));
  lab().sweep();
  translated_to(udp(kClient, kServer), fresh);
  EXPECT_EQ(lab().mapping_count(Protocol::kUdp), 1u);
}

TEST_P(ReloadRules, AMappingInUseOfAPoolThatIsGone_IsReplacedBeforeTheSweep) {
  start_with(kEndpointIndependent);
  translated(udp(kClient, kServer));
  config().group().pools = {"OTHER"};
  adopt();
  // A new flow of the same endpoint: the former mapping still has a session that nobody has met.
  const Endpoint fresh = translated(udp(kClient, {"198.18.0.2", 2}));
  EXPECT_TRUE(Network("203.0.113.64-203.0.113.67").contains(fresh.ip));
  EXPECT_EQ(lab().sweep(), 1u);
  translated_to(udp(kClient, kServer), fresh);
  EXPECT_EQ(lab().mapping_count(Protocol::kUdp), 1u);
  lab().advance(800s);
  expect_nothing();
}

// ── filtering (RFC 4787 section 5) ──────────────────────────────────────────────────────────────

class ReloadOfFiltering : public ReloadRules {
 protected:
  /// From all may send to only those that the client has sent to.
  void tighten(bool with_sweep) {
    start_with(kEndpointIndependent);
    const Endpoint nat = translated(udp(kClient, kServer));
    returned(udp(kUnsolicited, nat), kClient);
    const Endpoint answered = {"198.18.0.78", 5};
    returned(udp(answered, nat), kClient);
    translated_to(udp(kClient, answered), nat);
    set_policy(kPortFiltering);
    if (with_sweep) {
      EXPECT_EQ(lab().reload(config()), 1u) << "of an outside host that was never answered";
    } else {
      adopt();
    }
    for (unsigned minute = 0; minute < 3; ++minute) {
      translated_to(udp(kClient, kServer), nat);
      returned(udp(kServer, nat), kClient);
      returned(udp(answered, nat), kClient);
      refused_from_outside(udp(kUnsolicited, nat), DropReason::kFiltered);
      refused_from_outside(udp({kServer.ip, 81}, nat), DropReason::kFiltered);
      lab().advance(60s);
    }
    // Answered, it is let in: by the same mapping.
    translated_to(udp(kClient, kUnsolicited), nat);
    returned(udp(kUnsolicited, nat), kClient);
    if (!with_sweep) lab().sweep();
    lab().advance(800s);
    expect_nothing();
  }
};

TEST_P(ReloadOfFiltering, ThatIsTightened_HoldsForExistingMappings) {
  tighten(true);
}
TEST_P(ReloadOfFiltering, ThatIsTightened_HoldsForExistingMappingsBeforeTheSweep) {
  tighten(false);
}

TEST_P(ReloadOfFiltering, ThatBecomesAddressDependent_CountsExistingSessions) {
  start_with(kEndpointIndependent);
  const Endpoint nat = translated(udp(kClient, kServer));
  returned(udp(kUnsolicited, nat), kClient);
  set_policy(kAddressFiltering);
  EXPECT_EQ(lab().reload(config()), 1u);
  returned(udp({kServer.ip, 81}, nat), kClient);
  refused_from_outside(udp(kUnsolicited, nat), DropReason::kFiltered);
  lab().advance(130s);
  ASSERT_EQ(lab().session_count(Protocol::kUdp), 0u);
  refused_from_outside(udp({kServer.ip, 81}, nat), DropReason::kFiltered);
  // And back: what was counted meanwhile is not counted for ever.
  translated_to(udp(kClient, kServer), nat);
  set_policy(kEndpointIndependent);
  lab().reload(config());
  returned(udp(kUnsolicited, nat), kClient);
  set_policy(kAddressFiltering);
  lab().reload(config());
  lab().advance(130s);
  refused_from_outside(udp({kServer.ip, 81}, nat), DropReason::kFiltered);
}

TEST_P(ReloadOfFiltering, ThatIsLoosened_AdmitsUnsolicitedInboundToAMapping) {
  start_with(kPortFiltering);
  const Endpoint nat = translated(udp(kClient, kServer));
  refused_from_outside(udp(kUnsolicited, nat), DropReason::kFiltered);
  set_policy(kEndpointIndependent);
  lab().reload(config());
  returned(udp(kUnsolicited, nat), kClient);
  translated_to(udp(kClient, kServer), nat);
}

// ── mapping (RFC 4787 section 4.1) ──────────────────────────────────────────────────────────────

TEST_P(ReloadRules, AMappingOfAFormerMappingBehaviour_ServesItsSessionsOnly) {
  start_with(kEndpointIndependent);
  const Endpoint nat = translated(udp(kClient, kServer));
  translated_to(udp(kClient, {"198.18.0.2", 2}), nat);
  set_policy({.mapping = Dependence::kAddressPort, .filtering = Dependence::kEndpointIndependent});
  EXPECT_EQ(lab().reload(config()), 0u);
  translated_to(udp(kClient, kServer), nat);
  returned(udp(kServer, nat), kClient);
  refused_from_outside(udp(kUnsolicited, nat), DropReason::kFiltered);
  const Endpoint fresh = translated(udp(kClient, {"198.18.0.3", 3}));
  EXPECT_NE(fresh, nat);
  returned(udp(kUnsolicited, fresh), kClient);
  // With its last session it goes, too.
  lab().advance(121s);
  EXPECT_EQ(lab().mapping_count(Protocol::kUdp), 1u);
  EXPECT_NE(translated(udp(kClient, kServer)), nat);
}

TEST_P(ReloadRules, AnIdleMappingOfAFormerMappingBehaviour_Ends) {
  start_with(kEndpointIndependent);
  translated(udp(kClient, kServer));
  lab().advance(130s);
  set_policy({});
  lab().reload(config());
  expect_nothing();
}

TEST_P(ReloadRules, AMappingWhoseFirstPortsProfileHasGone_ServesThePortsOfAnotherProfile) {
  start_with(kEndpointIndependent);
  config().group().apps.clear();
  config().group().app(Protocol::kUdp, kEndpointIndependent, 1, 1000);
  config().group().app(Protocol::kUdp, kPortFiltering, 1001, 2000);
  lab().reload(config());
  const Endpoint nat = translated(udp(kClient, {"198.18.0.1", 500}));
  translated_to(udp(kClient, {"198.18.0.1", 1500}), nat);
  config().group().apps.erase(config().group().apps.begin());
  lab().reload(config());
  // Ports up to 1000 have no mappings any more, the others share this one.
  translated_to(udp(kClient, {"198.18.0.1", 1600}), nat);
  EXPECT_NE(translated(udp(kClient, {"198.18.0.1", 600})), nat);
  refused_from_outside(udp(kUnsolicited, nat), DropReason::kFiltered);
}

TEST_P(ReloadRules, AMappingThatAnotherProfilesPortsTakeOver_AdmitsTheHostsOfItsFormerSessions) {
  start_with(kEndpointIndependent);
  config().group().apps.clear();
  config().group().app(Protocol::kUdp, kEndpointIndependent, 1, 1000);
  config().group().app(Protocol::kUdp, kAddressFiltering, 1001, 2000);
  lab().reload(config());
  const Endpoint nat = translated(udp(kClient, {"198.18.0.1", 500}));
  config().group().apps.erase(config().group().apps.begin());
  lab().reload(config());
  refused_from_outside(udp({"198.18.0.1", 9}, nat), DropReason::kFiltered);
  translated_to(udp(kClient, {"198.18.0.2", 1600}), nat);
  // RFC 4787 section 5: it has sent to both.
  returned(udp({"198.18.0.1", 9}, nat), kClient);
  returned(udp({"198.18.0.2", 9}, nat), kClient);
  refused_from_outside(udp(kUnsolicited, nat), DropReason::kFiltered);
}

// ── times ───────────────────────────────────────────────────────────────────────────────────────

TEST_P(ReloadRules, AShortenedTimeout_HoldsForExistingSessions) {
  start_with(kEndpointIndependent);
  for (TransportPolicy& transport : config().group().transport) {
    transport.session_timeout = 86400s;
    transport.syn_idle_timeout = 120s;
    transport.fin_rst_timeout = 3600s;
    transport.stun_timeout = 1200s;
  }
  lab().reload(config());
  translated(udp(kClient, kServer));
  translated(ping(kClient, kServer.ip));
  translated(tcp(client(1), kServer, kSyn));
  for (const std::uint16_t port : {std::uint16_t{2}, std::uint16_t{3}}) {
    const Endpoint from = client(port);
    const Endpoint nat = translated(tcp(from, kServer, kSyn));
    returned(tcp(kServer, nat, kSyn | kAck), from);
    translated_to(tcp(from, kServer, kAck), nat);
    if (port == 2) continue;
    translated_to(tcp(from, kServer, kFin | kAck), nat);
    returned(tcp(kServer, nat, kFin | kAck), from);
  }
  TransportPolicy& tcp = config().group().tcp();
  tcp.syn_idle_timeout = 30s;
  lab().reload(config());
  lab().advance(31s);
  EXPECT_EQ(lab().session_count(Protocol::kTcp), 2u);
  tcp.fin_rst_timeout = 40s;
  lab().reload(config());
  lab().advance(10s);
  EXPECT_EQ(lab().session_count(Protocol::kTcp), 1u);
  for (TransportPolicy& transport : config().group().transport) transport.session_timeout = 100s;
  lab().reload(config());
  lab().advance(50s);
  EXPECT_EQ(lab().session_count(Protocol::kTcp), 1u);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 1u);
  EXPECT_EQ(lab().session_count(Protocol::kIcmp), 1u);
  lab().advance(10s);
  EXPECT_EQ(lab().session_count(Protocol::kTcp), 0u);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
  EXPECT_EQ(lab().session_count(Protocol::kIcmp), 0u);
  EXPECT_EQ(lab().mapping_count(Protocol::kUdp), 1u);
  config().group().udp().stun_timeout = 120s;
  lab().reload(config());
  lab().advance(121s);
  expect_nothing();
}

TEST_P(ReloadRules, AShortenedStuntimeout_HoldsForAMappingThatIsInUseAgain) {
  start_with(kEndpointIndependent);
  config().group().udp().stun_timeout = 1200s;
  lab().reload(config());
  const Endpoint nat = translated(udp(kClient, kServer));
  lab().advance(130s);
  translated_to(udp(kClient, kServer), nat);  // its timer still runs for the former end
  config().group().udp().stun_timeout = 120s;
  lab().reload(config());
  lab().advance(121s);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
  EXPECT_EQ(lab().mapping_count(Protocol::kUdp), 1u);
  lab().advance(121s);
  expect_nothing();
}

TEST_P(ReloadRules, AClientMovedToAnotherGroup_HasTheTimeoutsOfItsNewGroup) {
  start_with(kEndpointIndependent);
  config().group(0).udp().session_timeout = 86400s;
  config().group(1).pools = {"OTHER", "POOL"};
  lab().reload(config());
  translated(udp(kClient, kServer));
  move_the_client();
  lab().reload(config());
  lab().advance(121s);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
}

class ReloadOfReallocation : public ReloadRules {
 protected:
  /// All 1023 ports below 1024 of one address wait.
  void start_with_ports_that_wait(unsigned queue = 65536) {
    Config config = Config::standard();
    config.pool().addresses = {"203.0.113.5"};
    config.pool().realloc_timeout = 600s;
    config.pool().realloc_queue = queue;
    config.group().udp().preserve_range = true;
    config.group().udp().session_timeout = 60s;
    config.unreachable_rate = 0;
    start(config);
    for (unsigned port = 1; port < 1024; ++port) translated(udp(client(port), kServer));
    lab().advance(61s);
    ASSERT_EQ(lab().session_count(Protocol::kUdp), 0u);
  }

  /// Whether a port of the client's range is to be had: if not, it gets another one.
  bool keeps_range(unsigned port) { return translated(udp(client(port), kServer)).port < 1024; }
};

TEST_P(ReloadOfReallocation, ALoweredPortrealloctimeout_HoldsForPortsThatWait) {
  start_with_ports_that_wait();
  EXPECT_FALSE(keeps_range(5));
  config().pool().realloc_timeout = 100s;
  lab().reload(config());
  lab().advance(97s);
  EXPECT_FALSE(keeps_range(6));
  lab().advance(5s);
  EXPECT_TRUE(keeps_range(7));
}

TEST_P(ReloadOfReallocation, PortrealloctimeoutZero_FreesPortsThatWait) {
  start_with_ports_that_wait();
  config().pool().realloc_timeout = 0s;
  lab().reload(config());
  lab().advance(1s);
  for (unsigned port = 1; port < 200; ++port) EXPECT_TRUE(keeps_range(port)) << port;
}

TEST_P(ReloadOfReallocation, ALoweredMaxPortReallocTmq_HoldsForPortsThatWait) {
  start_with_ports_that_wait();
  config().pool().realloc_queue = 1000;
  lab().reload(config());
  lab().advance(1s);
  for (unsigned port = 1; port <= 23; ++port) EXPECT_TRUE(keeps_range(port)) << port;
  EXPECT_FALSE(keeps_range(24));
}

TEST_P(ReloadOfReallocation, AnAddressMovedToAnotherPool_FreesPortsThatWait) {
  start_with_ports_that_wait();
  config().pool().name = "ANOTHER";
  config().group().pools = {"ANOTHER"};
  lab().reload(config());
  lab().advance(1s);
  for (unsigned port = 1; port < 200; ++port) EXPECT_TRUE(keeps_range(port)) << port;
}

// ── limits ──────────────────────────────────────────────────────────────────────────────────────

TEST_P(ReloadRules, GroupSessionLimitSetAndUnset_CountsExistingSessions) {
  start_with({});
  const auto set_limit = [&](std::uint64_t limit) {
    config().group().udp().group_session_limit = limit;
    adopt();
  };
  unsigned port = 1, live = 0;
  const auto open = [&](unsigned n) {
    for (; n != 0; --n, ++live, ++port) translated(udp(client(port, port % 3), kServer));
  };
  set_limit(100);
  open(5);
  EXPECT_EQ(in_limit(), live);
  set_limit(0);
  open(2);  // before the sweep comes to it
  lab().sweep();
  open(2);
  EXPECT_EQ(in_limit(), 0u);
  set_limit(11);
  lab().sweep();
  EXPECT_EQ(in_limit(), live);
  open(2);
  expect_unreachable_inside(udp(client(port), kServer), DropReason::kGroupSessionLimit);
  set_limit(0);
  open(1);
  set_limit(100);  // no sweep between
  open(1);
  lab().sweep();
  EXPECT_EQ(in_limit(), live);
  lab().advance(200s);
  EXPECT_EQ(in_limit(), 0u);
  expect_nothing();
}

INSTANTIATE_TEST_SUITE_P(Sharded, ReloadRules, shardings(), sharding_name);
INSTANTIATE_TEST_SUITE_P(Sharded, ReloadOfFiltering, shardings(), sharding_name);
INSTANTIATE_TEST_SUITE_P(Sharded, ReloadOfReallocation, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
