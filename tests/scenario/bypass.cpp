// Bypass (RFC 6888 REQ-6): what is routed without translation, both ways, and what is not.
#include "scenario.hpp"

namespace lsn::test {
namespace {

constexpr unsigned kGre = 47, kAh = 51;
constexpr Endpoint kService = {"198.18.7.1", 443};  ///< in the network that is bypassed

class BypassRules : public Scenario {
 protected:
  static Config with_network() {
    Config config = Config::standard();
    config.group().add_bypass("198.18.7.0/24");
    return config;
  }
  void untranslated_out(const IpPacket& packet, Where where = Where::current()) {
    expect_forwarded_outside(packet, packet, where);
  }
  void untranslated_in(const IpPacket& packet, Where where = Where::current()) {
    expect_forwarded_inside(packet, packet, where);
  }
};

INSTANTIATE_TEST_SUITE_P(All, BypassRules, shardings(), sharding_name);

TEST_P(BypassRules, TrafficOfACoveredNetwork_IsRoutedUntranslatedBothWays) {
  start(with_network());
  untranslated_out(udp(kClient, kService));
  untranslated_in(udp(kService, kClient));
  untranslated_out(tcp(kClient, kService, kAck));
  untranslated_in(tcp(kService, {"192.0.2.11", 22}, kSyn));
  untranslated_out(ping(kClient, kService.ip));
  untranslated_in(pong(kService.ip, kClient));
  for (const unsigned protocol : {kGre, kAh, 50u, 41u}) {
    untranslated_out(other(kClient.ip, kService.ip, protocol));
    untranslated_in(other(kService.ip, kClient.ip, protocol));
  }
  EXPECT_TRUE(sessions().empty());
  EXPECT_EQ(lab().total([](const Counters& c) -> auto& { return c.bypassed[0].packets; }), 7u);
  EXPECT_EQ(lab().total([](const Counters& c) -> auto& { return c.bypassed[1].packets; }), 7u);
}

TEST_P(BypassRules, OtherTraffic_IsTranslatedOrRefused) {
  start(with_network());
  const Endpoint nat = translated(udp(kClient, kServer));
  returned(udp(kServer, nat), kClient);
  refused_from_outside(udp(kServer, kClient), DropReason::kNotForUs);
  refused_from_outside(other(kServer.ip, kClient.ip, kGre), DropReason::kProtocolGre);
  refused_from_inside(other(kClient.ip, kServer.ip, kAh), DropReason::kProtocolAh);
}

TEST_P(BypassRules, ProtocolAndPorts_NarrowARule) {
  Config config = Config::standard();
  config.group().add_bypass("198.18.7.0/24", kTcp, 443, 444);
  start(config);
  untranslated_out(tcp(kClient, kService, kSyn));
  untranslated_in(tcp(kService, kClient, kSyn | kAck));
  EXPECT_NE(translated(udp(kClient, kService)).ip, kClient.ip);
  EXPECT_NE(translated(tcp(kClient, {kService.ip, 80}, kSyn)).ip, kClient.ip);
  refused_from_outside(tcp({kService.ip, 80}, kClient, kSyn), DropReason::kNotForUs);
  EXPECT_NE(translated(ping(kClient, kService.ip)).ip, kClient.ip);
}

TEST_P(BypassRules, ForgedSources_AreRefused) {
  Config config = Config::standard();
  config.group().add_bypass("0.0.0.0/0");
  start(config);
  refused_from_outside(udp({"192.0.2.99", 1}, kClient), DropReason::kSpoofedClientSource);
  refused_from_outside(udp({"203.0.113.3", 1}, kClient), DropReason::kSpoofedNatSource);
  refused_from_outside(other("192.0.2.99", kClient.ip, kGre), DropReason::kSpoofedClientSource);
  refused_from_inside(udp({"10.9.9.9", 1}, kService), DropReason::kNotAClient);
}

TEST_P(BypassRules, NatAddresses_AreReachedByTranslationAlone) {
  Config config = Config::standard();
  config.group().add_bypass("0.0.0.0/0");
  config.add_static(Protocol::kUdp, {"192.0.2.11", 80}, {"203.0.113.5", 80});
  start(config);
  const IpPacket packet = udp(kClient, {"203.0.113.5", 80});
  const Bytes inside = only(lab().from_inside(packet.bytes()), 0);
  ASSERT_FALSE(inside.empty());
  EXPECT_NE(source_of(inside).ip, kClient.ip);
}

TEST_P(BypassRules, TtlMtuAndRoutes_AreAsForAnyPacket) {
  Config config = with_network();
  config.interfaces[1].mtu = 576;
  start(config);
  expect_time_exceeded_inside(udp(kClient, kService).with_ttl(1));
  expect_time_exceeded_outside(udp(kService, kClient).with_ttl(1));
  expect_fragmentation_needed_inside(udp(kClient, kService, pattern(1000)).with_df(), 576);
}

TEST_P(BypassRules, InsideDestinations_AreRefused) {
  Config config = Config::standard();
  config.group().add_bypass("0.0.0.0/0");
  start(config);
  refused_from_inside(udp(kClient, {"192.0.2.20", 1}), DropReason::kInsideDestination);
}

TEST_P(BypassRules, IcmpErrorsAboutUntranslatedPackets_AreRoutedAsTheyAre) {
  start(with_network());
  const IpPacket out = udp(kClient, kService);
  untranslated_out(out);
  untranslated_in(icmp_error("198.18.200.1", kClient.ip, kUnreachable, 1, out.hop().bytes()));
  const IpPacket in = udp(kService, kClient);
  untranslated_in(in);
  untranslated_out(icmp_error(kClient.ip, kService.ip, kUnreachable, 3, in.hop().bytes()));
  refused_from_outside(
      icmp_error("198.18.200.1", kClient.ip, kUnreachable, 1, udp(kClient, kServer).hop().bytes()),
      DropReason::kNotForUs);
  refused_from_inside(icmp_error(kClient.ip, kService.ip, kUnreachable, 3,
                                 udp(kService, {"192.0.2.99", 1}).bytes()),
                      DropReason::kIcmpErrorForeign);
}

TEST_P(BypassRules, Fragments_GoAtOnceWhereAddressesDecide) {
  start(with_network());
  const IpPacket out = udp(kClient, kService, pattern(2000));
  const auto pieces = out.fragments({800, 1600});
  const auto gone = out.hop().fragments({800, 1600});
  for (const std::size_t i : {2u, 0u, 1u})
    expect_frames(lab().from_inside(pieces[i]), {lab().frame_to(1, kGateway, gone[i])});
  const IpPacket in = udp(kService, kClient, pattern(2000));
  const auto came = in.fragments({800, 1600});
  const auto went = in.hop().fragments({800, 1600});
  for (const std::size_t i : {1u, 2u, 0u})
    expect_frames(lab().from_outside(came[i]), {lab().frame_to(0, kClient.ip, went[i])});
}

TEST_P(BypassRules, Fragments_WaitForTheirPortsWhereTheseDecide) {
  Config config = Config::standard();
  config.group().add_bypass("198.18.7.0/24", kUdp, 443, 443);
  start(config);
  for (const bool is_out : {true, false}) {
    const IpPacket packet =
        is_out ? udp(kClient, kService, pattern(2000)) : udp(kService, kClient, pattern(2000));
    const auto pieces = packet.fragments({800, 1600});
    const auto gone = packet.hop().fragments({800, 1600});
    const auto send = [&](std::size_t i) {
      return is_out ? lab().from_inside(pieces[i]) : lab().from_outside(pieces[i]);
    };
    const auto frame = [&](std::size_t i) {
      return is_out ? lab().frame_to(1, kGateway, gone[i]) : lab().frame_to(0, kClient.ip, gone[i]);
    };
    expect_frames(send(1), {});
    expect_frames(send(0), {frame(0), frame(1)});
    expect_frames(send(2), {frame(2)});
  }
}

TEST_P(BypassRules, SessionsThatARuleCovers_EndWithTheReload) {
  start();
  const Endpoint nat = translated(udp(kClient, kService));
  translated(udp(kClient, kServer));
  EXPECT_EQ(lab().reload(with_network()), 1u);
  untranslated_out(udp(kClient, kService));
  refused_from_outside(udp(kService, nat), DropReason::kNoMapping);
  EXPECT_EQ(lab().reload(Config::standard()), 0u);
  EXPECT_NE(translated(udp(kClient, kService)).ip, kClient.ip);
}

TEST_P(BypassRules, SessionsThatARuleCovers_AreNotServedBeforeTheSweepEither) {
  start();
  const Endpoint nat = translated(udp(kClient, kService));
  lab().publish(with_network());
  for (unsigned id = 0; id < lab().shards(); ++id) lab().adopt(id);
  untranslated_out(udp(kClient, kService));
  refused_from_outside(udp(kService, nat), DropReason::kNoMapping);
  lab().sweep();
}

TEST_P(BypassRules, CoveredHosts_DoNotReachSubscribersByTheirMappings) {
  Config config = with_network();
  config.add_static(Protocol::kUdp, kClient, {"203.0.113.5", 80});
  start(config);
  refused_from_outside(udp(kService, {"203.0.113.5", 80}), DropReason::kFiltered);
  returned(udp(kServer, {"203.0.113.5", 80}), kClient);
}

}  // namespace
}  // namespace lsn::test
