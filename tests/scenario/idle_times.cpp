// Idle times by destination port (appsattributes): which session has which, and what a reload does
// to those that exist.
#include "scenario.hpp"

namespace lsn::test {
namespace {

constexpr Endpoint kResolver = {"198.18.0.53", 53};

class IdleTimes : public Scenario {
 protected:
  void ends_after(Protocol protocol, std::chrono::milliseconds time,
                  Where where = Where::current()) {
    lab().advance(time - 200ms);
    if (lab().session_count(protocol) != 1) fail(where) << "the session is gone too early";
    lab().advance(400ms);
    if (lab().session_count(protocol) != 0) fail(where) << "the session is still there";
  }
};

TEST_P(IdleTimes, ThePortOfTheDestinationDecides) {
  Config config = Config::standard();
  config.group().udp().session_timeout = 300s;
  config.group().idle(Protocol::kUdp, 5s, 53, 53).idle(Protocol::kUdp, 600s, 5000, 5999);
  start(config);
  const Endpoint nat = translated(udp(kClient, kResolver));
  ends_after(Protocol::kUdp, 5s);
  refused_from_outside(udp(kResolver, nat), DropReason::kNoMapping);
  translated(udp(kClient, {"198.18.0.1", 5060}));
  ends_after(Protocol::kUdp, 600s);
  // The subscriber's own port is none of a destination.
  translated(udp({kClient.ip, 53}, {"198.18.0.1", 54}));
  ends_after(Protocol::kUdp, 300s);
}

TEST_P(IdleTimes, TrafficOfEitherSideRefreshesAsEver) {
  Config config = Config::standard();
  config.group().idle(Protocol::kUdp, 5s, 53, 53);
  start(config);
  const Endpoint nat = translated(udp(kClient, kResolver));
  for (int i = 0; i < 5; ++i) {
    lab().advance(4s);
    returned(udp(kResolver, nat), kClient);
    lab().advance(4s);
    translated_to(udp(kClient, kResolver), nat);
  }
  ends_after(Protocol::kUdp, 5s);
}

// The port of the remote side is a client's there, and nobody's destination.
TEST_P(IdleTimes, WhoComesInByAStaticMapping_HasTheTimeOfTheTransportProfile) {
  Config config = Config::standard();
  config.group().udp().session_timeout = 300s;
  config.group().idle(Protocol::kUdp, 5s, 53, 53);
  config.add_static(Protocol::kUdp, kClient, {"203.0.113.5", 2000});
  start(config);
  returned(udp(kResolver, {"203.0.113.5", 2000}), kClient);
  ends_after(Protocol::kUdp, 300s);
  translated_to(udp(kClient, kResolver), {"203.0.113.5", 2000});
  ends_after(Protocol::kUdp, 5s);
}

TEST_P(IdleTimes, OfTcpTheyAreForAnOpenConnection) {
  Config config = Config::standard();
  config.group().idle(Protocol::kTcp, 20s, 443, 443);
  config.group().tcp().syn_idle_timeout = 60s;
  config.group().tcp().fin_rst_timeout = 40s;
  start(config);
  const Endpoint server = {"198.18.0.1", 443};
  const auto connect = [&] {
    const Endpoint nat = translated(tcp(kClient, server, kSyn));
    returned(tcp(server, nat, kSyn | kAck), kClient);
    translated_to(tcp(kClient, server, kAck), nat);
    return nat;
  };
  translated(tcp(kClient, server, kSyn));
  ends_after(Protocol::kTcp, 60s);
  connect();
  ends_after(Protocol::kTcp, 20s);
  const Endpoint nat = connect();
  translated_to(tcp(kClient, server, kFin | kAck), nat);
  returned(tcp(server, nat, kFin | kAck), kClient);
  ends_after(Protocol::kTcp, 40s);
}

TEST_P(IdleTimes, OfIcmpThereIsOneForAllQueries) {
  Config config = Config::standard();
  config.group().idle(Protocol::kIcmp, 3s, 0, 0);
  start(config);
  translated(ping(kClient, kServer.ip));
  ends_after(Protocol::kIcmp, 3s);
}

// Its remote port is the client's, which says nothing: that of the mapping's first session counts.
TEST_P(IdleTimes, ASessionFromOutsideHasTheTimeOfItsMappingsPort) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  config.group().idle(Protocol::kUdp, 10s, 53, 53).idle(Protocol::kUdp, 500s, 6000, 6000);
  start(config);
  const Endpoint nat = translated(udp(kClient, kResolver));
  lab().advance(11s);
  ASSERT_EQ(lab().session_count(Protocol::kUdp), 0u);
  returned(udp({"198.18.7.7", 6000}, nat), kClient);
  ends_after(Protocol::kUdp, 10s);
  returned(udp({"198.18.7.7", 7000}, nat), kClient);
  ends_after(Protocol::kUdp, 10s);
  // What the subscriber sends from the same mapping has its own port's.
  translated_to(udp(kClient, {"198.18.7.7", 6000}), nat);
  ends_after(Protocol::kUdp, 500s);
}

TEST_P(IdleTimes, AReloadThatShortensThemHoldsForWhatExists) {
  Config config = Config::standard();
  config.group().udp().session_timeout = 86400s;
  start(config);
  translated(udp(kClient, kResolver));
  translated(udp(kClient, {"198.18.0.1", 54}));
  lab().advance(10s);
  this->config().group().idle(Protocol::kUdp, 15s, 53, 53);
  EXPECT_EQ(lab().reload(this->config()), 0u);
  lab().advance(4800ms);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 2u);
  lab().advance(400ms);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 1u);
}

TEST_P(IdleTimes, AReloadThatTakesThemAwayHoldsForWhatExists) {
  Config config = Config::standard();
  config.group().udp().session_timeout = 100s;
  config.group().idle(Protocol::kUdp, 15s, 53, 53).idle(Protocol::kUdp, 3600s, 54, 54);
  start(config);
  translated(udp(kClient, kResolver));
  translated(udp(kClient, {"198.18.0.1", 54}));
  lab().advance(10s);
  this->config().group().timeouts.clear();
  EXPECT_EQ(lab().reload(this->config()), 0u);
  lab().advance(89800ms);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 2u);
  lab().advance(400ms);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
}

INSTANTIATE_TEST_SUITE_P(Sharded, IdleTimes, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
