// Static mappings (lsn44.md): ports and whole addresses, from inside and from outside; hairpin,
// ICMP errors, fragments, quotas; what a reload does to them, and to those who had their ports.
#include "scenario.hpp"

namespace lsn::test {
namespace {

constexpr Ip kNat = "203.0.113.5";        ///< of the group's pool
constexpr Ip kOwnPool = "203.0.113.100";  ///< of a pool that no group has
constexpr Ip kHost = "192.0.2.10";        ///< who has static mappings
constexpr Endpoint kInsideWeb = {kHost, 8080};
constexpr Endpoint kNatWeb = {kNat, 80};
constexpr Endpoint kOther = {"192.0.2.77", 5000};  ///< another subscriber
constexpr Endpoint kCaller = {"198.18.5.5", 33333};
constexpr unsigned kGre = 47, kIpv6 = 41, kEspProtocol = 50, kAh = 51, kOspf = 89, kDccp = 33,
                   kUdpLite = 136;

class StaticMappings : public Scenario {
 protected:
  static Config with_web() {
    Config config = Config::standard();
    config.add_static(Protocol::kTcp, kInsideWeb, kNatWeb);
    config.add_static(Protocol::kUdp, kInsideWeb, kNatWeb);
    return config;
  }
  static Config with_one_to_one() {
    Config config = Config::standard();
    config.add_one_to_one(kHost, kNat);
    return config;
  }

  /// A connection from outside is opened, used and answered.
  void expect_connection(Endpoint from, Endpoint nat, Endpoint inside) {
    returned(tcp(from, nat, kSyn), inside);
    const IpPacket answer = tcp(inside, from, kSyn | kAck);
    translated_to(answer, nat);
    returned(tcp(from, nat, kAck), inside);
    translated_to(tcp(inside, from, kAck, pattern(100)), nat);
  }
};

INSTANTIATE_TEST_SUITE_P(All, StaticMappings, shardings(), sharding_name);

// ── a port ──────────────────────────────────────────────────────────────────────────────────────

TEST_P(StaticMappings, ConnectionsFromOutside_ReachTheSubscribersPort) {
  start(with_web());
  expect_connection(kCaller, kNatWeb, kInsideWeb);
  expect_connection({"198.18.6.6", 1}, kNatWeb, kInsideWeb);
  const auto rows = sessions();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_TRUE(rows[0].by_static);
  EXPECT_EQ(rows[0].direction, Direction::kInbound);
}

TEST_P(StaticMappings, OutboundPackets_LeaveByTheNatEndpointWhateverTheirDestination) {
  Config config = with_web();
  config.add_static(Protocol::kIcmp, {kHost, 7}, {kNat, 4711});
  start(config);
  for (const Endpoint to :
       {Endpoint{"198.18.0.1", 53}, Endpoint{"198.18.0.1", 54}, Endpoint{"198.18.9.9", 53}})
    translated_to(udp(kInsideWeb, to), kNatWeb);
  translated_to(tcp(kInsideWeb, kServer, kSyn), kNatWeb);
  translated_to(ping({kHost, 7}, "198.18.0.1"), {kNat, 4711});
  returned(pong("198.18.0.1", {kNat, 4711}), {kHost, 7});
  returned(ping({"198.18.4.4", 4711}, kNat), {kHost, 7});
}

TEST_P(StaticMappings, OtherPortsOfTheSubscriber_AreTranslatedDynamically) {
  start(with_web());
  const Endpoint nat = translated(udp({kHost, 9999}, kServer));
  EXPECT_NE(nat, kNatWeb);
  refused_from_outside(udp(kCaller, nat), DropReason::kFiltered);
}

TEST_P(StaticMappings, MappingLivesWithoutSessions) {
  start(with_web());
  returned(udp(kCaller, kNatWeb), kInsideWeb);
  lab().advance(1h);
  EXPECT_TRUE(sessions().empty());
  returned(udp(kCaller, kNatWeb), kInsideWeb);
}

TEST_P(StaticMappings, PacketsThatBeginNoSession_AreRefused) {
  Config config = with_web();
  config.add_static(Protocol::kIcmp, {kHost, 7}, {kNat, 7});
  start(config);
  refused_from_outside(tcp(kCaller, kNatWeb, kAck), DropReason::kTcpNotSyn);
  refused_from_outside(pong("198.18.0.1", {kNat, 7}), DropReason::kNoMapping);
  refused_from_outside(udp(kCaller, {kNat, 81}), DropReason::kNoMapping);
}

TEST_P(StaticMappings, NatPortIsNeverGivenToAnotherSession) {
  Config config = Config::standard();
  config.pool().addresses = {"203.0.113.5"};
  config.add_static(Protocol::kUdp, {kHost, 2000}, {kNat, 2000});
  start(config);
  EXPECT_EQ(take_high_ports(kNat, Protocol::kUdp, 0), 0u);
  expect_unreachable_inside(udp(kOther, kServer), DropReason::kPoolExhausted);
  translated_to(udp({kHost, 2000}, kServer), {kNat, 2000});
}

TEST_P(StaticMappings, NatAddressOfAPoolThatNoGroupHas) {
  Config config = Config::standard();
  config.add_pool("STATIC", {"203.0.113.100"});
  config.add_static(Protocol::kTcp, kInsideWeb, {kOwnPool, 80});
  start(config);
  expect_connection(kCaller, {kOwnPool, 80}, kInsideWeb);
}

TEST_P(StaticMappings, DestinationOfTheMapping_IsTheOnlyOne) {
  Config config = Config::standard();
  config.add_static(Protocol::kUdp, kInsideWeb, kNatWeb, kCaller.ip);
  start(config);
  returned(udp(kCaller, kNatWeb), kInsideWeb);
  translated_to(udp(kInsideWeb, {kCaller.ip, 1}), kNatWeb);
  refused_from_outside(udp({"198.18.5.6", 1}, kNatWeb), DropReason::kFiltered);
  EXPECT_NE(translated(udp(kInsideWeb, kServer)), kNatWeb);
}

TEST_P(StaticMappings, TwoSubscribersShareANatPort_ByDestination) {
  Config config = Config::standard();
  config.add_pool("STATIC", {"203.0.113.100"});
  config.add_static(Protocol::kUdp, {kHost, 80}, {kOwnPool, 80}, "198.18.0.1");
  config.add_static(Protocol::kUdp, {"192.0.2.11", 80}, {kOwnPool, 80}, "198.18.0.2");
  start(config);
  returned(udp({"198.18.0.1", 1}, {kOwnPool, 80}), {kHost, 80});
  returned(udp({"198.18.0.2", 1}, {kOwnPool, 80}), {"192.0.2.11", 80});
}

TEST_P(StaticMappings, SourcePortsOfPolicies_DoNotApply) {
  Config config = with_web();
  config.group().udp().preserve_parity = true;
  config.group().app(Protocol::kUdp, {.pooling = Pooling::kPaired,
                                      .mapping = Dependence::kEndpointIndependent,
                                      .filtering = Dependence::kAddress});
  start(config);
  translated_to(udp(kInsideWeb, kServer), kNatWeb);
  returned(udp(kCaller, kNatWeb), kInsideWeb);
  EXPECT_EQ(lab().mapping_count(Protocol::kUdp), 0u);
}

TEST_P(StaticMappings, PairedSubscriber_GetsTheNatAddressOfItsMapping) {
  Config config = with_web();
  config.group().app(Protocol::kUdp, {.pooling = Pooling::kPaired});
  start(config);
  for (unsigned port = 1; port < 20; ++port)
    EXPECT_EQ(translated(udp({kHost, static_cast<std::uint16_t>(6000 + port)}, kServer)).ip, kNat);
}

// ── a whole address ─────────────────────────────────────────────────────────────────────────────

TEST_P(StaticMappings, WholeAddressOfAProtocol_KeepsAllPorts) {
  Config config = Config::standard();
  config.statics.push_back({shared::StaticScope::kTcp, kHost, 0, kNat, 0});
  start(config);
  expect_connection(kCaller, {kNat, 22}, {kHost, 22});
  translated_to(tcp({kHost, 65000}, kServer, kSyn), {kNat, 65000});
  EXPECT_NE(translated(udp({kHost, 65000}, kServer)).ip, kNat);
  refused_from_outside(udp(kCaller, {kNat, 22}), DropReason::kNoMapping);
}

TEST_P(StaticMappings, OneToOne_TranslatesEveryProtocolButAh) {
  start(with_one_to_one());
  expect_connection(kCaller, {kNat, 22}, {kHost, 22});
  translated_to(udp({kHost, 123}, kServer), {kNat, 123});
  returned(udp(kCaller, {kNat, 9}), {kHost, 9});
  translated_to(ping({kHost, 3}, "198.18.0.1"), {kNat, 3});
  returned(ping({"198.18.0.1", 0}, kNat), {kHost, 0});
  for (const unsigned protocol : {kGre, kIpv6, kOspf, 132u, 4u, 115u}) {
    translated_to(other(kHost, "198.18.0.1", protocol), {kNat, 0});
    returned(other("198.18.0.7", kNat, protocol), {kHost, 0});
  }
  translated_to(esp(kHost, "198.18.0.1", 0x1234), {kNat, 0});
  returned(esp("198.18.0.1", kNat, 0x9999), {kHost, 0});
  refused_from_inside(other(kHost, "198.18.0.1", kAh), DropReason::kProtocolAh);
  refused_from_outside(other("198.18.0.1", kNat, kAh), DropReason::kProtocolAh);
  EXPECT_EQ(lab().total([](const Counters& c) -> auto& { return c.by_address[0].packets; }), 7u);
  EXPECT_EQ(lab().total([](const Counters& c) -> auto& { return c.by_address[1].packets; }), 7u);
}

TEST_P(StaticMappings, OtherProtocolsOfOthers_AreRefusedAsWithoutIt) {
  start(with_one_to_one());
  refused_from_inside(other(kOther.ip, "198.18.0.1", kGre), DropReason::kProtocolGre);
  refused_from_inside(other(kOther.ip, "198.18.0.1", kIpv6), DropReason::kProtocolIpv6);
  refused_from_outside(other("198.18.0.1", "203.0.113.6", kOspf), DropReason::kProtocolOther);
  refused_from_inside(other(kHost, kRouter, kGre), DropReason::kProtocolGre);
  refused_from_inside(esp(kOther.ip, "198.18.0.1", 1), DropReason::kEspNoProfile);
}

TEST_P(StaticMappings, ForgedSources_OfOtherProtocolsAreRefused) {
  start(with_one_to_one());
  refused_from_outside(other("192.0.2.77", kNat, kGre), DropReason::kSpoofedClientSource);
  refused_from_outside(other("203.0.113.6", kNat, kGre), DropReason::kSpoofedNatSource);
  refused_from_inside(other(kHost, "224.0.0.5", kOspf), DropReason::kIpDestinationInvalid);
}

/// A packet of a protocol whose checksum lies at byte 6 and covers a pseudo header.
IpPacket with_pseudo_checksum(Ip source, Ip destination, unsigned protocol) {
  IpPacket packet = other(source, destination, protocol, pattern(40));
  packet.payload[6] = packet.payload[7] = 0;
  std::uint32_t sum = (source.value >> 16) + (source.value & 0xFFFF) + (destination.value >> 16) +
                      (destination.value & 0xFFFF) + protocol +
                      static_cast<std::uint32_t>(packet.payload.size());
  for (std::size_t i = 0; i < packet.payload.size(); i += 2) sum += get16(packet.payload, i);
  while (sum >> 16 != 0) sum = (sum & 0xFFFF) + (sum >> 16);
  packet.payload[6] = static_cast<std::uint8_t>(~sum >> 8);
  packet.payload[7] = static_cast<std::uint8_t>(~sum);
  return packet;
}

TEST_P(StaticMappings, ChecksumsThatCoverAddresses_Follow) {
  start(with_one_to_one());
  for (const unsigned protocol : {kDccp, kUdpLite}) {
    expect_forwarded_outside(with_pseudo_checksum(kHost, "198.18.0.1", protocol),
                             with_pseudo_checksum(kNat, "198.18.0.1", protocol));
    expect_forwarded_inside(with_pseudo_checksum("198.18.0.1", kNat, protocol),
                            with_pseudo_checksum("198.18.0.1", kHost, protocol));
  }
}

TEST_P(StaticMappings, OneToOneForOneDestination) {
  Config config = Config::standard();
  config.add_one_to_one(kHost, kNat, "198.18.0.1");
  start(config);
  translated_to(other(kHost, "198.18.0.1", kGre), {kNat, 0});
  refused_from_inside(other(kHost, "198.18.0.2", kGre), DropReason::kProtocolGre);
  refused_from_outside(other("198.18.0.2", kNat, kGre), DropReason::kProtocolGre);
  EXPECT_NE(translated(udp({kHost, 1}, {"198.18.0.2", 1})).ip, kNat);
}

TEST_P(StaticMappings, AddressThatIsMappedWhole_IsNobodysElse) {
  start(with_one_to_one());
  for (unsigned n = 20; n < 120; ++n)
    EXPECT_NE(translated(udp({Ip{(192u << 24) | (2u << 8) | n}, 1}, kServer)).ip, kNat);
}

// ── on the way ──────────────────────────────────────────────────────────────────────────────────

TEST_P(StaticMappings, TtlAndMtu_AreAsForAnyPacket) {
  Config config = with_one_to_one();
  config.interfaces[1].mtu = 576;
  start(config);
  expect_time_exceeded_inside(other(kHost, "198.18.0.1", kGre).with_ttl(1));
  expect_time_exceeded_outside(other("198.18.0.1", kNat, kGre).with_ttl(1));
  expect_fragmentation_needed_inside(other(kHost, "198.18.0.1", kGre, pattern(1000)).with_df(),
                                     576);
}

TEST_P(StaticMappings, FragmentsOfOtherProtocols_GoByTheirAddresses) {
  start(with_one_to_one());
  const IpPacket out = other(kHost, "198.18.0.1", kGre, pattern(1200));
  const std::vector<Bytes> pieces = out.fragments({400, 800});
  const std::vector<Bytes> expected = out.from({kNat, 0}).hop().fragments({400, 800});
  for (const std::size_t i : {2u, 0u, 1u})
    expect_frames(lab().from_inside(pieces[i]), {lab().frame_to(1, kGateway, expected[i])});
  const IpPacket in = esp("198.18.0.1", kNat, 5).with_payload(pattern(1200));
  const std::vector<Bytes> came = in.fragments({600});
  const std::vector<Bytes> gone = in.to({kHost, 0}).hop().fragments({600});
  for (const std::size_t i : {1u, 0u})
    expect_frames(lab().from_outside(came[i]), {lab().frame_to(0, kHost, gone[i])});
}

TEST_P(StaticMappings, FragmentsFromOutside_BeginASession) {
  start(with_web());
  const IpPacket datagram = udp(kCaller, kNatWeb, pattern(2000));
  const std::vector<Bytes> pieces = datagram.fragments({800, 1600});
  std::vector<Frame> frames = lab().from_outside(pieces[1]);
  for (const std::size_t i : {0u, 2u})
    for (Frame& frame : lab().from_outside(pieces[i])) frames.push_back(std::move(frame));
  expect_pieces({frames[0], frames[1], frames[2]}, 0, kHost, datagram.to(kInsideWeb).hop(),
                {800, 1600});
}

TEST_P(StaticMappings, Hairpin_ReachesTheMappingsOfOthers) {
  start(with_web());
  const Endpoint nat = translated(udp(kOther, kServer));
  const IpPacket packet = udp(kOther, kNatWeb);
  const std::vector<Frame> frames = lab().from_inside(packet.bytes());
  const Bytes inside = only(frames, 0);
  ASSERT_FALSE(inside.empty());
  const Endpoint source = source_of(inside);
  EXPECT_NE(source.ip, kOther.ip);
  (void)nat;
  expect_frames(frames, {lab().to_inside(packet.from(source).to(kInsideWeb).hop())});
  const IpPacket back = udp(kInsideWeb, source);
  expect_frames(lab().from_inside(back.bytes()),
                {lab().to_inside(back.from(kNatWeb).to(kOther).hop())});
}

TEST_P(StaticMappings, Hairpin_OfOtherProtocolsBetweenOneToOneMappings) {
  Config config = with_one_to_one();
  config.add_one_to_one("192.0.2.11", "203.0.113.6");
  start(config);
  const IpPacket packet = other(kHost, "203.0.113.6", kGre);
  expect_frames(lab().from_inside(packet.bytes()),
                {lab().to_inside(packet.from({kNat, 0}).to({"192.0.2.11", 0}).hop())});
  refused_from_inside(other(kHost, "203.0.113.9", kGre), DropReason::kProtocolGre);
}

TEST_P(StaticMappings, IcmpErrors_AboutSessionsOfMappings) {
  start(with_web());
  const IpPacket out = udp(kInsideWeb, kServer);
  translated_to(out, kNatWeb);
  const IpPacket seen = out.from(kNatWeb).hop();
  expect_forwarded_inside(
      icmp_error("198.18.200.1", kNat, kUnreachable, 1, seen.bytes()),
      icmp_error("198.18.200.1", kHost, kUnreachable, 1, seen.from(kInsideWeb).bytes()));
  const IpPacket in = udp(kCaller, kNatWeb);
  returned(in, kInsideWeb);
  expect_forwarded_outside(
      icmp_error(kHost, kCaller.ip, kUnreachable, 3, in.to(kInsideWeb).hop().bytes()),
      icmp_error(kNat, kCaller.ip, kUnreachable, 3, in.hop().bytes()));
}

TEST_P(StaticMappings, IcmpErrors_AboutOtherProtocols) {
  start(with_one_to_one());
  for (const unsigned protocol : {kGre, kEspProtocol}) {
    const IpPacket out = other(kHost, "198.18.0.1", protocol);
    translated_to(out, {kNat, 0});
    const IpPacket seen = out.from({kNat, 0}).hop();
    expect_forwarded_inside(
        icmp_error("198.18.200.1", kNat, kUnreachable, 4, seen.bytes(), 1400),
        icmp_error("198.18.200.1", kHost, kUnreachable, 4, seen.from({kHost, 0}).bytes(), 1400));
    const IpPacket in = other("198.18.0.1", kNat, protocol);
    returned(in, {kHost, 0});
    expect_forwarded_outside(
        icmp_error(kHost, "198.18.0.1", kUnreachable, 2, in.to({kHost, 0}).hop().bytes()),
        icmp_error(kNat, "198.18.0.1", kUnreachable, 2, in.hop().bytes()));
  }
  refused_from_outside(icmp_error("198.18.200.1", "203.0.113.6", kUnreachable, 1,
                                  other("203.0.113.6", "198.18.0.1", kGre).bytes()),
                       DropReason::kIcmpErrorNoSession);
}

// ── quotas ──────────────────────────────────────────────────────────────────────────────────────

TEST_P(StaticMappings, PortsOfMappings_AreNotInThePortQuota) {
  Config config = with_web();
  config.group().udp().port_quota = 1;
  start(config);
  for (unsigned n = 1; n <= 3; ++n)
    returned(udp({kCaller.ip, static_cast<std::uint16_t>(n)}, kNatWeb), kInsideWeb);
  translated(udp({kHost, 1}, kServer));
  expect_unreachable_inside(udp({kHost, 2}, kServer), DropReason::kPortQuota);
}

TEST_P(StaticMappings, SessionsOfMappings_AreInTheSessionQuota) {
  Config config = with_web();
  config.group().udp().session_quota = 2;
  start(config);
  returned(udp({kCaller.ip, 1}, kNatWeb), kInsideWeb);
  returned(udp({kCaller.ip, 2}, kNatWeb), kInsideWeb);
  refused_from_outside(udp({kCaller.ip, 3}, kNatWeb), DropReason::kSessionQuota);
  expect_unreachable_inside(udp({kHost, 1}, kServer), DropReason::kSessionQuota);
}

// ── reloads ─────────────────────────────────────────────────────────────────────────────────────

TEST_P(StaticMappings, ReloadWithTheSameMapping_KeepsItsSessions) {
  start(with_web());
  expect_connection(kCaller, kNatWeb, kInsideWeb);
  Config more = with_web();
  more.add_static(Protocol::kUdp, {kHost, 1}, {kNat, 1});
  EXPECT_EQ(lab().reload(more), 0u);
  translated_to(tcp(kInsideWeb, kCaller, kAck, pattern(10)), kNatWeb);
  returned(tcp(kCaller, kNatWeb, kAck, pattern(10)), kInsideWeb);
}

TEST_P(StaticMappings, RemovingAMapping_EndsItsSessionsAndFreesItsPort) {
  start(with_web());
  expect_connection(kCaller, kNatWeb, kInsideWeb);
  EXPECT_EQ(lab().reload(Config::standard()), 1u);
  EXPECT_EQ(ended(Protocol::kTcp, SessionEnd::kReload), 1u);
  refused_from_outside(tcp(kCaller, kNatWeb, kAck, pattern(10)), DropReason::kNoMapping);
}

TEST_P(StaticMappings, RemovedMapping_IsNotServedBeforeTheSweepEither) {
  start(with_web());
  returned(udp(kCaller, kNatWeb), kInsideWeb);
  lab().publish(Config::standard());
  for (unsigned id = 0; id < lab().shards(); ++id) lab().adopt(id);
  refused_from_outside(udp(kCaller, kNatWeb), DropReason::kNoMapping);
  lab().sweep();
}

TEST_P(StaticMappings, MappingOfAnotherSubscriber_TakesTheEndpointOver) {
  start(with_web());
  returned(udp(kCaller, kNatWeb), kInsideWeb);
  Config config = Config::standard();
  config.add_static(Protocol::kUdp, {"192.0.2.11", 80}, kNatWeb);
  lab().publish(config);
  for (unsigned id = 0; id < lab().shards(); ++id) lab().adopt(id);
  returned(udp(kCaller, kNatWeb), {"192.0.2.11", 80});
  lab().sweep();
  returned(udp(kCaller, kNatWeb), {"192.0.2.11", 80});
}

TEST_P(StaticMappings, PortInUse_BecomesTheMappingsWhenItsSessionEnds) {
  Config config = Config::standard();
  start(config);
  const Endpoint nat = translated(udp(kOther, kServer));
  config.add_static(Protocol::kUdp, kInsideWeb, nat);
  EXPECT_EQ(lab().reload(config), 0u);
  // Who has it keeps it; nobody is let in, and the mapping's subscriber is served otherwise.
  returned(udp(kServer, nat), kOther);
  translated_to(udp(kOther, kServer), nat);
  refused_from_outside(udp(kCaller, nat), DropReason::kStaticInactive);
  EXPECT_NE(translated(udp(kInsideWeb, {"198.18.0.9", 9})), nat);
  lab().advance(121s);
  returned(udp(kCaller, nat), kInsideWeb);
  translated_to(udp(kInsideWeb, kServer), nat);
}

TEST_P(StaticMappings, PortInUse_DoesNotWaitForPortreallocTimeout) {
  Config config = Config::standard();
  config.pool().realloc_timeout = 600s;
  start(config);
  const Endpoint nat = translated(udp(kOther, kServer));
  config.add_static(Protocol::kUdp, kInsideWeb, nat);
  EXPECT_EQ(lab().reload(config), 0u);
  lab().advance(121s);
  returned(udp(kCaller, nat), kInsideWeb);
}

TEST_P(StaticMappings, DynamicMappingThatHasThePort_ServesItsSessionsAlone) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  start(config);
  const Endpoint nat = translated(udp(kOther, kServer));
  config.add_static(Protocol::kUdp, kInsideWeb, nat);
  EXPECT_EQ(lab().reload(config), 0u);
  returned(udp(kServer, nat), kOther);
  refused_from_outside(udp(kCaller, nat), DropReason::kFiltered);
  lab().advance(125s);
  returned(udp(kCaller, nat), kInsideWeb);
}

TEST_P(StaticMappings, IdleMappingThatHasThePort_Goes) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  start(config);
  const Endpoint nat = translated(udp(kOther, kServer));
  lab().advance(125s);
  EXPECT_EQ(lab().mapping_count(Protocol::kUdp), 1u);
  config.add_static(Protocol::kUdp, kInsideWeb, nat);
  lab().reload(config);
  returned(udp(kCaller, nat), kInsideWeb);
}

TEST_P(StaticMappings, SessionsOfTheSubscriberFromBefore_LiveOn) {
  start();
  const Endpoint nat = translated(udp(kInsideWeb, kServer));
  EXPECT_EQ(lab().reload(with_web()), 0u);
  translated_to(udp(kInsideWeb, kServer), nat);
  returned(udp(kServer, nat), kInsideWeb);
  translated_to(udp(kInsideWeb, {"198.18.0.9", 9}), kNatWeb);
}

TEST_P(StaticMappings, OneToOneOnAnAddressInUse_GetsTheOtherProtocolsWhenAllHasEnded) {
  Config config = Config::standard();
  config.pool().addresses = {"203.0.113.5", "203.0.113.6"};
  start(config);
  Endpoint nat{};
  for (std::uint16_t port = 1; nat.ip != kNat; ++port)
    nat = translated(udp({kOther.ip, port}, kServer));
  const auto before = sessions();
  config.add_one_to_one(kHost, kNat);
  EXPECT_EQ(lab().reload(config), 0u);
  EXPECT_EQ(sessions().size(), before.size());
  refused_from_outside(other("198.18.0.1", kNat, kGre), DropReason::kStaticInactive);
  refused_from_inside(other(kHost, "198.18.0.1", kGre), DropReason::kStaticInactive);
  refused_from_outside(udp(kCaller, nat), DropReason::kStaticInactive);
  // The ports that nobody has are the mapping's at once.
  returned(udp(kCaller, {kNat, 7}), {kHost, 7});
  lab().advance(300s);
  returned(udp(kCaller, nat), {kHost, nat.port});
  translated_to(other(kHost, "198.18.0.1", kGre), {kNat, 0});
}

TEST_P(StaticMappings, SubscriberWhoWasPairedWithAnAddressThatIsMappedWhole_GetsAnother) {
  Config config = Config::standard();
  config.pool().addresses = {"203.0.113.5"};
  config.group().app(Protocol::kUdp, {.pooling = Pooling::kPaired});
  start(config);
  const Endpoint nat = translated(udp(kOther, kServer));
  config.pool().addresses = {"203.0.113.5", "203.0.113.6"};
  config.add_one_to_one(kHost, kNat);
  EXPECT_EQ(lab().reload(config), 0u);
  translated_to(udp(kOther, kServer), nat);
  if (GetParam().shards == 1) {
    const Bytes out = only(lab().from_inside(udp({kOther.ip, 1}, kServer).bytes()), 1);
    EXPECT_EQ(source_of(out).ip, Ip{"203.0.113.6"});
  }
}

// ── IPsec ───────────────────────────────────────────────────────────────────────────────────────

TEST_P(StaticMappings, IpsecOfAOneToOneSubscriber_TakesNoTurns) {
  Config config = Config::with_alg();
  config.pool().addresses = {"203.0.113.3", "203.0.113.5"};
  config.add_one_to_one(kHost, kNat);
  start(config);
  // Phase 2 of two exchanges at once, which a gate would hold.
  translated_to(udp({kHost, 500}, {"198.18.0.1", 500}, pattern(100)), {kNat, 500});
  translated_to(esp(kHost, "198.18.0.1", 0x111), {kNat, 0});
  returned(esp("198.18.0.1", kNat, 0x222), {kHost, 0});
  returned(esp("198.18.0.1", kNat, 0x333, 70000), {kHost, 0});
  EXPECT_EQ(lab().session_count(Protocol::kEsp), 0u);
}

TEST_P(StaticMappings, SubscriberWithAMappedPort_KeepsTheAlg) {
  Config config = Config::with_alg();
  config.pool().addresses = {"203.0.113.3", "203.0.113.4", "203.0.113.5"};
  config.add_static(Protocol::kTcp, kInsideWeb, kNatWeb);
  start(config);
  translated_to(esp(kHost, "198.18.0.1", 0x111), {kNat, 0});
  EXPECT_EQ(lab().session_count(Protocol::kEsp), 1u);
  expect_connection(kCaller, kNatWeb, kInsideWeb);
}

}  // namespace
}  // namespace lsn::test
