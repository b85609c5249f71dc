// Design 7, "The rest of the packet".
#include "alg_scenario.hpp"

namespace lsn::test {
namespace {

class AlgPackets : public Alg {
 protected:
  /// A large ESP packet.
  [[nodiscard]] static IpPacket big_esp(Ip source, Ip destination, std::uint32_t spi,
                                        std::uint32_t sequence) {
    IpPacket packet = esp(source, destination, spi, sequence);
    put(packet.payload, pattern(1000));
    return packet;
  }
};

TEST_P(AlgPackets, Ttl1GetsTimeExceeded) {
  start();
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  expect_time_exceeded_inside(esp(c1.ip, kS, 0x1001, 2).with_ttl(1));
  expect_time_exceeded_outside(esp(kS, kN, 0x2001, 2).with_ttl(1));
}

TEST_P(AlgPackets, EspFragmentsArriveInAnyOrderBothWays) {
  start();
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  const IpPacket out = big_esp(c1.ip, kS, 0x1001, 2).with_id(77);
  const IpPacket in = big_esp(kS, kN, 0x2001, 2).with_id(78);
  const auto sent_out = out.fragments({400, 800});
  const auto sent_in = in.fragments({400, 800});
  const auto want = [](const IpPacket& packet, const std::vector<Frame>& frames) {
    return packet.hop().with_id(id_of(frames)).fragments({400, 800});
  };
  std::vector<Frame> frames;
  for (const std::size_t i : {2u, 0u, 1u})
    for (Frame& frame : lab().from_inside(sent_out[i])) frames.push_back(std::move(frame));
  const auto want_out = want(out.from({kN, 0}), frames);
  EXPECT_THAT(frames, ::testing::UnorderedElementsAre(lab().frame_to(1, kGateway, want_out[0]),
                                                      lab().frame_to(1, kGateway, want_out[1]),
                                                      lab().frame_to(1, kGateway, want_out[2])));
  frames.clear();
  for (const std::size_t i : {1u, 2u, 0u})
    for (Frame& frame : lab().from_outside(sent_in[i])) frames.push_back(std::move(frame));
  const auto want_in = want(in.to({c1.ip, 0}), frames);
  EXPECT_THAT(frames, ::testing::UnorderedElementsAre(lab().frame_to(0, c1.ip, want_in[0]),
                                                      lab().frame_to(0, c1.ip, want_in[1]),
                                                      lab().frame_to(0, c1.ip, want_in[2])));
}

TEST_P(AlgPackets, AnUnknownSpiInAFragmentIsLearnedLikeAnyOther) {
  start();
  const Peer c1 = joins(1);
  arms(c1);
  const auto out = big_esp(c1.ip, kS, 0x1001, 1).with_id(77).fragments({512});
  EXPECT_EQ(lab().from_inside(out[1]).size(), 0u);
  EXPECT_EQ(lab().from_inside(out[0]).size(), 2u);
  const auto in = big_esp(kS, kN, 0x2001, 1).with_id(78).fragments({512});
  EXPECT_EQ(lab().from_outside(in[0]).size(), 1u);
  EXPECT_EQ(lab().from_outside(in[1]).size(), 1u);
  EXPECT_FALSE(turn());
}

TEST_P(AlgPackets, IkeInIpFragmentsIsHeldAndReleasedWhole) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());
  Ike large = c2.auth();
  large.body = c2.auth().body;
  large.body.resize(1400, 0x5C);
  large.body[2] = 1400 >> 8;
  large.body[3] = 1400 & 0xFF;
  const IpPacket packet = c2.out(large).with_id(99);
  const auto pieces = packet.fragments({600, 1200});
  for (const std::size_t i : {1u, 0u, 2u}) expect_frames(lab().from_inside(pieces[i]), {});
  expect_drops({});
  const std::vector<Frame> frames = lab().advance(kT + 1s);
  const auto want = packet.from(c2.nat).hop().with_id(id_of(frames)).fragments({600, 1200});
  EXPECT_THAT(frames, ::testing::UnorderedElementsAre(lab().frame_to(1, kGateway, want[0]),
                                                      lab().frame_to(1, kGateway, want[1]),
                                                      lab().frame_to(1, kGateway, want[2])));
}

TEST_P(AlgPackets, IcmpErrorsAboutEspAreTranslatedByTheEmbeddedSpiInBothDirections) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  pairs(c1, 0x1001, 0x2001);
  pairs(c2, 0x1002, 0x2002);
  const struct {
    unsigned type, code;
    std::uint32_t rest;
  } errors[] = {{kUnreachable, 4, 1400}, {kTimeExceeded, 0, 0}, {kParameterProblem, 0, 9u << 24}};
  for (const auto& e : errors) {
    // A router outside quotes what we sent: the header and eight bytes.
    const Ip router = "198.18.99.1";
    const IpPacket sent = esp(c2.ip, kS, 0x1002, 7);
    const Bytes seen = sent.from({kN, 0}).hop().bytes();
    const Bytes was = sent.hop().bytes();
    expect_forwarded_inside(
        icmp_error(router, kN, e.type, e.code, ByteView{seen}.first(28), e.rest),
        icmp_error(router, c2.ip, e.type, e.code, ByteView{was}.first(28), e.rest));
    // A router inside quotes what we delivered.
    const IpPacket got = esp(kS, kN, 0x2001, 7);
    const Bytes inside = got.to({c1.ip, 0}).hop().bytes();
    const Bytes outside = got.hop().bytes();
    expect_forwarded_outside(icmp_error(c1.ip, kS, e.type, e.code, inside, e.rest),
                             icmp_error(kN, kS, e.type, e.code, outside, e.rest));
  }
  // An unknown SPI is of nobody.
  const Bytes foreign = esp(kN, kS, 0x7777, 1).bytes();
  refused_from_outside(icmp_error("198.18.99.1", kN, 3, 4, ByteView{foreign}.first(28), 1400),
                       DropReason::kIcmpErrorNoSession);
}

TEST_P(AlgPackets, AnIcmpErrorDoesNotRefreshTheSession) {
  Config config = Config::with_alg();
  config.alg().esp_session_timeout = 2min;
  start(config);
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  quiet(100s);
  const Bytes seen = esp(kN, kS, 0x1001, 7).hop().bytes();
  EXPECT_EQ(
      lab()
          .from_outside(icmp_error("198.18.99.1", kN, 3, 4, ByteView{seen}.first(28), 1400).bytes())
          .size(),
      1u);
  quiet(30s);
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), 0u);
}

TEST_P(AlgPackets, AhIsDroppedAndCounted) {
  start();
  for (int i = 0; i < 3; ++i)
    refused_from_inside(other(client_ip(1), kS, 51), DropReason::kProtocolAh);
  EXPECT_EQ(counted(AlgCounter::kAhDropped), 3u);
  unsigned told = 0;
  for (unsigned i = 0; i < lab().shards(); ++i) {
    shared::Event event;
    while (lab().shard(i).alg.events.take(event))
      told += event.kind == shared::EventKind::kAhRefused;
  }
  EXPECT_GE(told, 1u);
  EXPECT_LE(told, lab().shards());  // logged once per client (and worker that saw it)
}

TEST_P(AlgPackets, Spi0IsDroppedAndCounted) {
  start();
  const Peer c1 = joins(1);
  esp_refused_out(c1, 0, DropReason::kEspSpiZero);
  esp_refused_in(0, DropReason::kEspSpiZero);
}

TEST_P(AlgPackets, AGroupWithoutAProfileHasNoEsp) {
  Config config = Config::with_alg();
  config.add_group("PLAIN", {"10.0.0.0/24"}, {"POOL"});
  start(config);
  refused_from_inside(esp("10.0.0.5", kS, 0x1001), DropReason::kEspNoProfile);
}

TEST_P(AlgPackets, HairpinIkeAndEspAreDroppedAndCounted) {
  start();
  (void)joins(1);
  refused_from_inside(esp(client_ip(2), kN, 0x1001), DropReason::kAlgHairpin);
  refused_from_inside(ike({client_ip(2), 500}, {kN, 500}, sa_init(7)), DropReason::kAlgHairpin);
}

TEST_P(AlgPackets, EspCountsAgainstNoQuotaOfUdp) {
  Config config = Config::with_alg();
  config.group().udp().session_quota = 1;
  config.group().udp().port_quota = 1;
  config.group().udp().group_session_limit = 1;
  start(config);
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  for (std::uint32_t i = 1; i < 4; ++i) {
    quiet(kT + 1s);
    comes_back(c1, 0x1001 + i, 0x2001 + i);
  }
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), 4u);
  expect_unreachable_inside(udp({c1.ip, 4000}, kServer), DropReason::kSessionQuota);
}

TEST_P(AlgPackets, TheSourcePortOfIkeIsTranslatedLikeAnyUdpPort) {
  start();
  std::set<std::uint16_t> ports;
  for (unsigned n = 1; n <= 5; ++n) ports.insert(joins(n).nat.port);
  EXPECT_EQ(ports.size(), 5u);
}

// ── ikePreservePort ─────────────────────────────────────────────────────────────────────────────

class AlgPreserve : public Alg {
 protected:
  void SetUp() override {
    Config config = Config::with_alg();
    config.alg().ike_preserve_port = true;
    start(config);
  }
};

TEST_P(AlgPreserve, AllClientsKeepPort500AndAreToldApartByInitiatorSpi) {
  std::vector<Peer> peers;
  for (unsigned n = 1; n <= 8; ++n) {
    peers.push_back(joins(n));
    EXPECT_EQ(peers.back().nat, (Endpoint{kN, 500}));
  }
  for (const Peer& peer : peers) {
    gets(peer, peer.message(kInformational2, 4));
    sends(peer, response(peer.message(kInformational2, 4)));
  }
  pairs(peers[3], 0x1001, 0x2001);
  for (const SessionRow& row : sessions())
    if (row.protocol == Protocol::kUdp) {
      EXPECT_EQ(row.nat_port, 500);
    }
}

TEST_P(AlgPreserve, AnUnknownInitiatorSpiIsDropped) {
  Peer c1 = joins(1);
  (void)joins(2);
  c1.spi = 0x7777;
  refused_from_outside(c1.in(c1.message(kInformational2, 1)), DropReason::kIkeSpiUnknown);
  refused_from_outside(udp(c1.server_endpoint(), c1.nat, pattern(40)), DropReason::kIkeSpiUnknown);
}

TEST_P(AlgPreserve, AnUnknownInitiatorSpiGoesToTheOnlyClientWithAnAnsweredCreateChildSa) {
  const Peer c1 = joins(1);
  (void)joins(2);
  arms(c1, c1.child());
  Peer rekeyed = c1;
  rekeyed.spi = 0x7777;
  gets(rekeyed, rekeyed.message(kInformational2, 0));
  gets(rekeyed, rekeyed.message(kInformational2, 1));
  // It has followed now: the next unknown one is nobody's.
  rekeyed.spi = 0x8888;
  refused_from_outside(rekeyed.in(rekeyed.message(kInformational2, 0)), DropReason::kIkeSpiUnknown);
}

TEST_P(AlgPreserve, UnknownInitiatorSpiAfterTwoCreateChildSas_IsDropped) {
  const Peer c1 = joins(1), c2 = joins(2);
  for (const Peer* c : {&c1, &c2}) {
    sends(*c, c->child());
    gets(*c, response(c->child()));
    quiet(kT + 1s);
  }
  Peer rekeyed = c1;
  rekeyed.spi = 0x7777;
  refused_from_outside(rekeyed.in(rekeyed.message(kInformational2, 0)), DropReason::kIkeSpiUnknown);
}

TEST_P(AlgPreserve, HeldAnswersAndFragmentsFindTheirClient) {
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());
  server_waits(c2, c2.server_child());
  Ike large = response(c1.auth());
  large.body.resize(1400, 0x5C);
  large.body[2] = 1400 >> 8;
  large.body[3] = 1400 & 0xFF;
  const IpPacket packet = c1.in(large).with_id(99);
  const auto pieces = packet.fragments({600, 1200});
  std::vector<Frame> frames;
  for (const std::size_t i : {2u, 0u, 1u})
    for (Frame& frame : lab().from_outside(pieces[i])) frames.push_back(std::move(frame));
  const auto want = packet.to(c1.endpoint()).hop().with_id(id_of(frames)).fragments({600, 1200});
  EXPECT_THAT(frames, ::testing::UnorderedElementsAre(lab().frame_to(0, c1.ip, want[0]),
                                                      lab().frame_to(0, c1.ip, want[1]),
                                                      lab().frame_to(0, c1.ip, want[2])));
  sends_esp(c1, 0x1001);
  gets_esp_and_releases(c1, 0x2001, {in_frame(c2, c2.server_child())});
}

TEST_P(AlgPreserve, IcmpErrorThatQuotesTheInitiatorSpi_ReachesItsClient) {
  (void)joins(1);
  const Peer c2 = joins(2);
  const IpPacket sent = c2.out(c2.message(kInformational2, 3));
  const Bytes seen = sent.from(c2.nat).hop().bytes(), was = sent.hop().bytes();
  const Ip router = "198.18.99.1";
  expect_forwarded_inside(icmp_error(router, kN, kUnreachable, 4, seen, 1400),
                          icmp_error(router, c2.ip, kUnreachable, 4, was, 1400));
  refused_from_outside(icmp_error(router, kN, 3, 4, ByteView{seen}.first(28), 1400),
                       DropReason::kIcmpErrorNoSession);
  const IpPacket got = c2.in(c2.message(kInformational2, 3));
  const Bytes inside = got.to(c2.endpoint()).hop().bytes(), outside = got.hop().bytes();
  expect_forwarded_outside(icmp_error(c2.ip, kS, kUnreachable, 4, inside, 1400),
                           icmp_error(kN, kS, kUnreachable, 4, outside, 1400));
}

TEST_P(AlgPreserve, OtherSourcePort_IsTranslated) {
  (void)joins(1);
  const Endpoint other{client_ip(2), 1500};
  EXPECT_NE(translated(ike(other, {kS, 500}, sa_init(0x99))).port, 500);
}

INSTANTIATE_TEST_SUITE_P(, AlgPackets, shardings(), sharding_name);
INSTANTIATE_TEST_SUITE_P(, AlgPreserve, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
