// UDP and ICMP queries: timeouts and refresh (RFC 4787 REQ-5, REQ-6, RFC 5508 REQ-2), checksums,
// and everything in a packet that a NAT has no business with.
#include "scenario.hpp"

namespace lsn::test {
namespace {

class Udp : public Scenario {
 protected:
  void ends_after(Protocol protocol, std::chrono::milliseconds time,
                  Where where = Where::current()) {
    lab().advance(time - 200ms);
    if (lab().session_count(protocol) != 1) fail(where) << "the session is gone";
    lab().advance(400ms);
    if (lab().session_count(protocol) != 0) fail(where) << "the session is still there";
  }
};

TEST_P(Udp, ASessionEndsAfterSessiontimeoutOfSilence) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  ends_after(Protocol::kUdp, 120s);
  refused_from_outside(udp(kServer, nat), DropReason::kNoMapping);
  EXPECT_EQ(lab().subscribers(), 0u);
}

TEST_P(Udp, OutboundPackets_RefreshTheSession) {
  Config config = Config::standard();
  config.inbound_refresh = false;
  config.group().udp().session_timeout = 80s;
  start(config);
  const Endpoint nat = translated(udp(kClient, kServer));
  for (int i = 0; i < 5; ++i) {
    lab().advance(79s);
    translated_to(udp(kClient, kServer), nat);
  }
  ends_after(Protocol::kUdp, 80s);
}

TEST_P(Udp, InboundPackets_RefreshTheSessionIfInboundRefreshIsOn) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  for (int i = 0; i < 5; ++i) {
    lab().advance(119s);
    returned(udp(kServer, nat), kClient);
  }
  ends_after(Protocol::kUdp, 120s);
}

TEST_P(Udp, InboundPackets_DoNotRefreshTheSessionIfInboundRefreshIsOff) {
  Config config = Config::standard();
  config.inbound_refresh = false;
  start(config);
  const Endpoint nat = translated(udp(kClient, kServer));
  lab().advance(60s);
  returned(udp(kServer, nat), kClient);
  ends_after(Protocol::kUdp, 60s);
}

TEST_P(Udp, FilteredPacket_DoesNotRefreshTheSession) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  lab().advance(60s);
  refused_from_outside(udp({"198.18.0.9", 9}, nat), DropReason::kFiltered);
  ends_after(Protocol::kUdp, 60s);
}

TEST_P(Udp, TickCounterWrap_KeepsTheSessiontimeout) {
  start(Config::standard(), {.start = 0xFFFFFFFF - 5000});  // 50 s before
  const Endpoint nat = translated(udp(kClient, kServer));
  lab().advance(100s);
  translated_to(udp(kClient, kServer), nat);
  ends_after(Protocol::kUdp, 120s);
}

TEST_P(Udp, WorkerThatSleptLong_EndsExpiredSessionsOnly) {
  start();
  translated(udp(kClient, kServer));
  lab().jump(100s);
  const Endpoint kept = translated(udp({kClient.ip, 5}, kServer));
  lab().jump(100s);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 1u);
  returned(udp(kServer, kept), {kClient.ip, 5});
  lab().jump(10000s);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
}

TEST_P(Udp, ExpiryWorksOffAnyNumberWithinItsBudget) {
  start();
  for (std::uint16_t i = 0; i < 1000; ++i)
    translated(udp({kClient.ip, static_cast<std::uint16_t>(2000 + i)}, kServer));
  lab().set_now(lab().now() + state::TickDuration{12001});
  const auto lag = [&] {
    std::uint64_t most = 0;
    for (unsigned i = 0; i < lab().shards(); ++i)
      most = std::max(most, lab().shard(i).counters.timer_lag.get());
    return most;
  };
  EXPECT_EQ(lag(), 0u);
  std::uint64_t left = 1000;
  for (int i = 0; i < 100; ++i) {
    lab().housekeep(10);
    const std::uint64_t now = lab().session_count(Protocol::kUdp);
    EXPECT_LE(left - now, 10u);
    left = now;
    if (now != 0) {
      EXPECT_GT(lag(), 0u) << "timer_lag: what is due is not done";
    }
  }
  // An expired one that is not worked off yet may be used; nothing is lost by that.
  lab().housekeep(2000);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
  EXPECT_EQ(lag(), 0u);
}

TEST_P(Udp, ChecksumZero_StaysZero) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer).without_checksum());
  returned(udp(kServer, nat).without_checksum(), kClient);
}

TEST_P(Udp, AChecksumThatComesOutAsZeroIsSentAsAllOnes) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  // The payload that makes the translated packet's sum all ones.
  const Bytes out = udp(nat, kServer, {0, 0}).bytes();
  Bytes payload = {out[26], out[27]};
  const IpPacket packet = udp(kClient, kServer, payload);
  ASSERT_EQ(get16(packet.from(nat).bytes(), 26), 0xFFFFu);
  translated_to(packet, nat);
  const Bytes in = udp(kServer, kClient, {0, 0}).bytes();
  payload = {in[26], in[27]};
  returned(udp(kServer, nat, payload), kClient);
  // And one that comes as all ones.
  const Bytes before = udp(kClient, kServer, {0, 0}).bytes();
  translated_to(udp(kClient, kServer, {before[26], before[27]}), nat);
}

TEST_P(Udp, WrongChecksum_IsForwardedWithTheSameError) {
  start();
  lab().ignore_l4_checksums();
  const Endpoint nat = translated(udp(kClient, kServer).with_checksum_error(1));
  returned(udp(kServer, nat).with_checksum_error(0x8000), kClient);
}

TEST_P(Udp, AnySizeAndAnyHeaderFieldsPass) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  for (std::size_t size = 0; size <= 1472; size += size < 64 ? 1 : 61) {
    const auto n = static_cast<unsigned>(size);
    IpPacket out = udp(kClient, kServer, pattern(size, n)).with_id(n * 977 % 65536);
    out.tos = n % 256;
    out.dont_fragment = n % 2 == 0;
    out.ttl = 2 + n % 254;
    translated_to(out, nat);
    IpPacket in = udp(kServer, nat, pattern(size, n + 1)).with_id(n);
    in.tos = 255 - n % 256;
    in.dont_fragment = n % 3 == 0;
    in.ttl = 255 - n % 254;
    returned(in, kClient);
  }
}

TEST_P(Udp, IpOptionsPass) {
  start();
  const Bytes router_alert = {0x94, 4, 0, 0};
  const Bytes record_route = {7, 39, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                              0, 0,  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  const Endpoint nat = translated(udp(kClient, kServer).with_options(router_alert));
  translated_to(udp(kClient, kServer).with_options(record_route), nat);
  returned(udp(kServer, nat).with_options(record_route), kClient);
  const Endpoint syn = translated(tcp(kClient, kServer, kSyn).with_options(record_route));
  returned(tcp(kServer, syn, kSyn | kAck).with_options(router_alert), kClient);
  const Endpoint query = translated(ping(kClient, kServer.ip).with_options(router_alert));
  returned(pong(kServer.ip, query).with_options(record_route), kClient);
}

TEST_P(Udp, EthernetPadding_IsRemoved) {
  start();
  Bytes padded = udp(kClient, kServer, {1}).bytes();
  const IpPacket packet = udp(kClient, kServer, {1});
  padded.resize(46, 0xEE);  // Ethernet's smallest payload
  expect_translated(lab().from_inside(padded), packet);
}

TEST_P(Udp, BytesOfTheIpPacketBehindTheDatagramPass) {
  start();
  lab().ignore_l4_checksums();
  const auto with_rest = [](const IpPacket& packet) {
    Bytes bytes = packet.bytes();
    put(bytes, pattern(5));
    set16(bytes, 2, static_cast<unsigned>(bytes.size()));
    fix_ip_checksum(bytes);
    return bytes;
  };
  const Endpoint nat = translated(udp(kClient, kServer));
  expect_frames(lab().from_inside(with_rest(udp(kClient, kServer))),
                {lab().frame_to(1, kGateway, with_rest(udp(nat, kServer).hop()))});
}

TEST_P(Udp, PacketsInSeveralBuffersPass) {
  start();
  const IpPacket packet = udp(kClient, kServer, pattern(1400));
  const Endpoint nat = expect_translated(lab().send(0, packet.bytes(), {.segment = 200}), packet);
  expect_frames(lab().send(0, packet.bytes(), {.segment = 100}),
                {lab().to_outside(packet.from(nat).hop())});
  expect_frames(lab().send(1, udp(kServer, nat, pattern(1472)).bytes(), {.segment = 333}),
                {lab().to_inside(udp(kServer, kClient, pattern(1472)).hop())});
}

TEST_P(Udp, ABurstIsTranslatedLikeItsPacketsOneByOne) {
  start();
  lab().introduce(1, kGateway);
  std::vector<Bytes> packets;
  std::vector<IpPacket> sent;
  for (std::uint16_t i = 0; i < 32; ++i) {
    sent.push_back(udp({Ip{"192.0.2.10"} + i % 5u, static_cast<std::uint16_t>(3000 + i % 11)},
                       {"198.18.0.1", static_cast<std::uint16_t>(1 + i % 3)}, pattern(i, i)));
    packets.push_back(sent.back().bytes());
  }
  // Twice: when sessions are made, and when they are there.
  std::map<std::pair<Endpoint, Endpoint>, Endpoint> nat;
  for (int round = 0; round < 2; ++round) {
    const std::vector<Frame> frames = lab().burst(0, packets);
    ASSERT_EQ(frames.size(), sent.size());
    std::vector<Bytes> expected, actual;
    for (const Frame& frame : frames) {
      const Bytes ip = behind_link(frame.bytes);
      for (const IpPacket& packet : sent)
        if (packet.payload == Bytes(ip.begin() + 28, ip.end()) &&
            packet.destination_endpoint() == destination_of(ip)) {
          Endpoint& known = nat[{packet.source_endpoint(), packet.destination_endpoint()}];
          if (round == 0 && known == Endpoint{}) known = source_of(ip);
          EXPECT_EQ(known, source_of(ip));
        }
      actual.push_back(frame.bytes);
    }
    for (const IpPacket& packet : sent)
      expected.push_back(
          lab()
              .to_outside(
                  packet.from(nat[{packet.source_endpoint(), packet.destination_endpoint()}]).hop())
              .bytes);
    EXPECT_THAT(actual, ::testing::UnorderedElementsAreArray(expected));
  }
  EXPECT_EQ(lab().session_count(Protocol::kUdp), nat.size());
}

TEST_P(Udp, TrafficIsCountedByProtocolAndDirection) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer, pattern(100)));
  translated(udp(kClient, kServer, pattern(50)));
  returned(udp(kServer, nat, pattern(10)), kClient);
  std::uint64_t packets[2] = {}, bytes[2] = {};
  for (unsigned id = 0; id < lab().shards(); ++id)
    for (std::size_t d = 0; d < 2; ++d) {
      const auto& counters = lab().shard(id).counters.of(Protocol::kUdp).translated[d];
      packets[d] += counters.packets.get();
      bytes[d] += counters.bytes.get();
    }
  EXPECT_EQ(packets[0], 2u);
  EXPECT_EQ(bytes[0], 128u + 78u);
  EXPECT_EQ(packets[1], 1u);
  EXPECT_EQ(bytes[1], 38u);
  std::uint64_t rx[2] = {}, tx[2] = {}, tx_bytes[2] = {};
  for (unsigned id = 0; id < lab().shards(); ++id)
    for (std::size_t i = 0; i < 2; ++i) {
      rx[i] += lab().shard(id).counters.interfaces[i].rx.packets.get();
      tx[i] += lab().shard(id).counters.interfaces[i].tx.packets.get();
      tx_bytes[i] += lab().shard(id).counters.interfaces[i].tx.bytes.get();
    }
  EXPECT_EQ(tx[1], 2u);
  EXPECT_EQ(tx_bytes[1], 128u + 78u);
  EXPECT_EQ(tx[0], 1u);
  EXPECT_EQ(tx_bytes[0], 38u);
  EXPECT_EQ(rx[0], 3u);  // with an ARP reply
  EXPECT_EQ(rx[1], 2u);
}

INSTANTIATE_TEST_SUITE_P(Sharded, Udp, shardings(), sharding_name);

class IcmpQueries : public Udp {};

TEST_P(IcmpQueries, AnEchoRequestGoesOutAndItsReplyComesBack) {
  start();
  const Endpoint nat = translated(ping(kClient, kServer.ip, 1));
  returned(pong(kServer.ip, nat, 1), kClient);
  translated_to(ping(kClient, kServer.ip, 2, pattern(1400)), nat);
  returned(pong(kServer.ip, nat, 2, pattern(1400)), kClient);
}

TEST_P(IcmpQueries, ATimestampGoesOutAndItsReplyComesBack) {
  start();
  IpPacket request = ping(kClient, kServer.ip, 1, pattern(12));
  request.icmp_type = kTimestamp;
  const Endpoint nat = translated(request);
  IpPacket reply = pong(kServer.ip, nat, 1, pattern(12));
  reply.icmp_type = kTimestampReply;
  returned(reply, kClient);
}

TEST_P(IcmpQueries, EchoReplyWithoutARequest_IsDropped) {
  start();
  refused_from_outside(pong(kServer.ip, {"203.0.113.5", 77}), DropReason::kNoMapping);
  refused_from_inside(pong(kClient.ip, {kServer.ip, 77}), DropReason::kNoSession);
  EXPECT_EQ(lab().subscribers(), 0u);
}

TEST_P(IcmpQueries, EchoReplyOfAnotherHost_IsFiltered) {
  start();
  const Endpoint nat = translated(ping(kClient, kServer.ip));
  refused_from_outside(pong("198.18.0.99", nat), DropReason::kFiltered);
}

TEST_P(IcmpQueries, EchoRequestToAPoolAddress_IsNotAnswered) {
  start();
  refused_from_outside(ping({kServer.ip, 5}, "203.0.113.5"), DropReason::kNoMapping);
}

TEST_P(IcmpQueries, EndpointIndependentFiltering_AdmitsAnInboundEchoRequest) {
  Config config = Config::standard();
  config.group().app(Protocol::kIcmp, kEndpointIndependent);
  start(config);
  const Endpoint nat = translated(ping(kClient, kServer.ip));
  IpPacket request = pong("198.18.0.99", nat, 5);
  request.icmp_type = kEcho;
  returned(request, kClient);
  translated_to(pong(kClient.ip, {"198.18.0.99", kClient.port}, 5), nat);
  // An unsolicited reply is no query.
  refused_from_outside(pong("198.18.0.98", nat), DropReason::kNoMapping);
}

// RFC 5508 REQ-1 a: the identifier is the same whomever the query goes to.
TEST_P(IcmpQueries, EndpointIndependentMapping_HasOneIdentifierForEveryRemote) {
  Config config = Config::standard();
  config.group().app(Protocol::kIcmp, kEndpointIndependent);
  start(config);
  const Endpoint nat = translated(ping(kClient, kServer.ip));
  translated_to(ping(kClient, "198.18.0.99"), nat);
  translated_to(ping(kClient, "198.18.7.7"), nat);
}

TEST_P(IcmpQueries, ASessionEndsAfterSessiontimeoutOfSilence) {
  Config config = Config::standard();
  config.group().icmp().session_timeout = 60s;
  start(config);
  const Endpoint nat = translated(ping(kClient, kServer.ip));
  ends_after(Protocol::kIcmp, 60s);
  refused_from_outside(pong(kServer.ip, nat), DropReason::kNoMapping);
}

TEST_P(IcmpQueries, WrongChecksum_IsForwardedWithTheSameError) {
  start();
  lab().ignore_l4_checksums();
  const Endpoint nat = translated(ping(kClient, kServer.ip).with_checksum_error(0x0101));
  returned(pong(kServer.ip, nat).with_checksum_error(0x0F0F), kClient);
}

TEST_P(IcmpQueries, OtherMessagesAreNotTranslated) {
  start();
  for (const unsigned type :
       {kSourceQuench, kRedirect, 9u, 10u, 15u, 16u, 17u, 18u, 30u, 42u, 255u}) {
    IpPacket packet = ping(kClient, kServer.ip);
    packet.icmp_type = type;
    refused_from_inside(packet, DropReason::kIcmpTypeUntranslated);
    IpPacket back = pong(kServer.ip, {"203.0.113.5", 1});
    back.icmp_type = type;
    refused_from_outside(back, DropReason::kIcmpTypeUntranslated);
  }
}

INSTANTIATE_TEST_SUITE_P(Sharded, IcmpQueries, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
