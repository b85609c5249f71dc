// ICMP errors about translated packets (RFC 5508 section 4): outer and inner headers, both
// directions, byte for byte; the session is neither refreshed nor ended.
#include "scenario.hpp"

namespace lsn::test {
namespace {

constexpr Ip kHop = "198.18.99.1";  ///< a router on the way outside

class IcmpErrors : public Scenario {
 protected:
  /// An error from outside about what the subscriber sent as `inner`: all of what its sender saw is
  /// quoted, or `quoted` bytes of it.
  void error_comes_in(const IpPacket& inner, Endpoint nat, unsigned type, unsigned code,
                      std::uint32_t rest = 0, std::size_t quoted = 1000, Ip from = kHop,
                      Where where = Where::current()) {
    // On its way to whoever complains it has lost some hops.
    const Bytes seen = inner.from(nat).with_ttl(57).bytes();
    const Bytes sent = inner.with_ttl(57).bytes();
    const auto cut = [&](const Bytes& b) { return ByteView{b}.first(std::min(quoted, b.size())); };
    const IpPacket error = icmp_error(from, nat.ip, type, code, cut(seen), rest);
    const IpPacket expected = icmp_error(from, inner.source, type, code, cut(sent), rest);
    expect_forwarded_inside(error, expected, where);
  }

  /// An error of the subscriber about what it got as `inner`.
  void error_goes_out(const IpPacket& inner, Endpoint nat, unsigned type, unsigned code,
                      std::uint32_t rest = 0, std::size_t quoted = 1000,
                      Where where = Where::current()) {
    const Bytes got = inner.bytes();
    const Bytes was = inner.to(nat).bytes();
    const auto cut = [&](const Bytes& b) { return ByteView{b}.first(std::min(quoted, b.size())); };
    const IpPacket error = icmp_error(inner.destination, inner.source, type, code, cut(got), rest);
    const IpPacket expected = icmp_error(nat.ip, inner.source, type, code, cut(was), rest);
    expect_forwarded_outside(error, expected, where);
  }
};

constexpr std::pair<unsigned, unsigned> kErrors[] = {
    {kUnreachable, 0},  {kUnreachable, 1},  {kUnreachable, 3},  {kUnreachable, 4},
    {kUnreachable, 13}, {kTimeExceeded, 0}, {kTimeExceeded, 1}, {kParameterProblem, 0}};

TEST_P(IcmpErrors, AboutUdpComeInWithInnerAndOuterHeadersTranslated) {
  start();
  const IpPacket packet = udp(kClient, kServer, pattern(64));
  const Endpoint nat = translated(packet);
  for (const auto& [type, code] : kErrors) {
    error_comes_in(packet, nat, type, code);
    error_comes_in(packet, nat, type, code, 0, 28);  // only the ports
    error_comes_in(packet, nat, type, code, 0, 28, kServer.ip);
  }
}

TEST_P(IcmpErrors, AboutTcpComeInWithInnerAndOuterHeadersTranslated) {
  start();
  const IpPacket packet = tcp(kClient, kServer, kSyn, pattern(30));
  const Endpoint nat = translated(packet);
  for (const auto& [type, code] : kErrors)
    for (const std::size_t quoted : {28u, 35u, 36u, 38u, 40u, 70u})
      error_comes_in(packet, nat, type, code, 0, quoted);
}

TEST_P(IcmpErrors, AboutQueriesComeInWithInnerAndOuterHeadersTranslated) {
  start();
  const IpPacket packet = ping(kClient, kServer.ip);
  const Endpoint nat = translated(packet);
  for (const auto& [type, code] : kErrors) {
    error_comes_in(packet, nat, type, code);
    error_comes_in(packet, nat, type, code, 0, 28);
  }
}

TEST_P(IcmpErrors, AboutUdpGoOutWithInnerAndOuterHeadersTranslated) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  const IpPacket got = udp(kServer, kClient, pattern(64)).with_ttl(40);
  for (const auto& [type, code] : kErrors) {
    error_goes_out(got, nat, type, code);
    error_goes_out(got, nat, type, code, 0, 28);
  }
}

TEST_P(IcmpErrors, AboutTcpGoOutWithInnerAndOuterHeadersTranslated) {
  start();
  const Endpoint nat = translated(tcp(kClient, kServer, kSyn));
  const IpPacket got = tcp(kServer, kClient, kSyn | kAck, pattern(10)).with_ttl(40);
  for (const std::size_t quoted : {28u, 36u, 38u, 40u, 1000u})
    error_goes_out(got, nat, kUnreachable, 2, 0, quoted);
}

TEST_P(IcmpErrors, AboutQueriesGoOutWithInnerAndOuterHeadersTranslated) {
  start();
  const Endpoint nat = translated(ping(kClient, kServer.ip));
  const IpPacket got = pong(kServer.ip, kClient).with_ttl(40);
  error_goes_out(got, nat, kUnreachable, 3);
  error_goes_out(got, nat, kTimeExceeded, 1, 0, 28);
}

TEST_P(IcmpErrors, TheMtuOfFragmentationNeededPasses) {
  start();
  const IpPacket packet = tcp(kClient, kServer, kSyn).with_df();
  const Endpoint nat = translated(packet);
  error_comes_in(packet, nat, kUnreachable, 4, 1280);
  const IpPacket got = tcp(kServer, kClient, kSyn | kAck).with_df();
  error_goes_out(got, nat, kUnreachable, 4, 576);
}

TEST_P(IcmpErrors, ThePointerOfAParameterProblemPasses) {
  start();
  const IpPacket packet = udp(kClient, kServer).with_options({0x94, 4, 0, 0});
  const Endpoint nat = translated(packet);
  error_comes_in(packet, nat, kParameterProblem, 0, 0x14000000);
}

TEST_P(IcmpErrors, AQuotedUdpChecksumOfZeroStaysZero) {
  start();
  const IpPacket packet = udp(kClient, kServer).without_checksum();
  const Endpoint nat = translated(packet);
  error_comes_in(packet, nat, kUnreachable, 3);
  error_goes_out(udp(kServer, kClient).without_checksum(), nat, kUnreachable, 3);
}

TEST_P(IcmpErrors, QuotedIpOptionsAreReadOver) {
  start();
  const IpPacket packet = udp(kClient, kServer).with_options(pattern(40, 3));
  const Endpoint nat = translated(packet);
  error_comes_in(packet, nat, kTimeExceeded, 0);
  error_comes_in(packet, nat, kTimeExceeded, 0, 0, 68);
}

TEST_P(IcmpErrors, TimeExceededOfAnInsideRouter_LeavesFromTheNatAddress) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  const IpPacket got = udp(kServer, kClient);
  const IpPacket error = icmp_error("10.9.9.9", kServer.ip, kTimeExceeded, 0, got.bytes());
  const IpPacket expected = icmp_error(nat.ip, kServer.ip, kTimeExceeded, 0, got.to(nat).bytes());
  expect_forwarded_outside(error, expected);
}

TEST_P(IcmpErrors, PortUnreachable_NeitherRefreshesNorEndsTheSession) {
  start();
  const IpPacket packet = udp(kClient, kServer);
  const Endpoint nat = translated(packet);
  lab().advance(100s);
  error_comes_in(packet, nat, kUnreachable, 3);
  error_goes_out(udp(kServer, kClient), nat, kUnreachable, 3);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 1u);
  const std::vector<SessionRow> rows = sessions();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].packets[0] + rows[0].packets[1], 1u);
  lab().advance(19s);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 1u);
  lab().advance(2s);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
}

TEST_P(IcmpErrors, AHardErrorDoesNotChangeTheStateOfAConnection) {
  start();
  const IpPacket packet = tcp(kClient, kServer, kSyn);
  const Endpoint nat = translated(packet);
  error_comes_in(packet, nat, kUnreachable, 3);
  error_comes_in(packet, nat, kUnreachable, 2);
  const std::vector<SessionRow> rows = sessions();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].state, SessionState::kSynSent);
  returned(tcp(kServer, nat, kSyn | kAck), kClient);
}

TEST_P(IcmpErrors, AreCountedByDirectionAndProtocol) {
  start();
  const IpPacket packet = udp(kClient, kServer);
  const Endpoint nat = translated(packet);
  error_comes_in(packet, nat, kUnreachable, 3);
  error_comes_in(packet, nat, kUnreachable, 3);
  error_goes_out(udp(kServer, kClient), nat, kUnreachable, 3);
  std::uint64_t counted[2] = {};
  for (unsigned id = 0; id < lab().shards(); ++id)
    for (std::size_t d = 0; d < 2; ++d)
      counted[d] += lab().shard(id).counters.of(Protocol::kUdp).icmp_errors[d].get();
  EXPECT_EQ(counted[0], 1u);
  EXPECT_EQ(counted[1], 2u);
}

TEST_P(IcmpErrors, AboutNoSessionAreRefused) {
  start();
  const IpPacket packet = udp(kClient, kServer);
  const Endpoint nat = translated(packet);
  const auto about = [&](const IpPacket& inner) {
    return icmp_error(kHop, inner.source, kUnreachable, 3, inner.bytes());
  };
  refused_from_outside(about(udp({nat.ip, 1}, kServer)), DropReason::kIcmpErrorNoSession);
  refused_from_outside(about(udp(nat, {kServer.ip, 81})), DropReason::kIcmpErrorNoSession);
  refused_from_outside(about(udp(nat, {"198.18.0.2", 80})), DropReason::kIcmpErrorNoSession);
  refused_from_outside(about(tcp(nat, kServer, kSyn)), DropReason::kIcmpErrorNoSession);
  refused_from_outside(about(ping(nat, kServer.ip)), DropReason::kIcmpErrorNoSession);
  refused_from_outside(about(esp(nat.ip, kServer.ip, 77)), DropReason::kIcmpErrorNoSession);
  refused_from_outside(about(other(nat.ip, kServer.ip, 47)), DropReason::kIcmpErrorNoSession);
  const auto of_client = [&](const IpPacket& inner) {
    return icmp_error(kClient.ip, inner.source, kUnreachable, 3, inner.bytes());
  };
  refused_from_inside(of_client(udp(kServer, {kClient.ip, 1})), DropReason::kIcmpErrorNoSession);
  refused_from_inside(of_client(udp({kServer.ip, 81}, kClient)), DropReason::kIcmpErrorNoSession);
  // About a packet that was for no client at all, or for another one.
  refused_from_inside(
      icmp_error("10.9.9.9", kServer.ip, kUnreachable, 3, udp(kServer, {"10.1.1.1", 4}).bytes()),
      DropReason::kIcmpErrorNoSession);
  refused_from_inside(of_client(udp(kServer, {"10.1.1.1", 4})), DropReason::kIcmpErrorForeign);
}

TEST_P(IcmpErrors, AboutALaterFragmentAreRefused) {
  start();
  const IpPacket packet = udp(kClient, kServer, pattern(2000));
  const Endpoint nat = translated(udp(kClient, kServer));
  const std::vector<Bytes> sent = packet.fragments({1024});
  // What passed has another identification; its sender is told of the one that it chose.
  std::vector<Frame> frames = lab().from_inside(sent[0]);
  const std::vector<Bytes> pieces = packet.from(nat).with_id(id_of(frames)).fragments({1024});
  // The first one has the ports: it can be told.
  const IpPacket error = icmp_error(kHop, nat.ip, kTimeExceeded, 1, ByteView{pieces[0]}.first(500));
  const IpPacket expected =
      icmp_error(kHop, kClient.ip, kTimeExceeded, 1, ByteView{sent[0]}.first(500));
  expect_forwarded_inside(error, expected);
  refused_from_outside(icmp_error(kHop, nat.ip, kTimeExceeded, 1, pieces[1]),
                       DropReason::kIcmpErrorNoSession);
}

TEST_P(IcmpErrors, Malformed_AreDropped) {
  start();
  const IpPacket packet = udp(kClient, kServer);
  const Endpoint nat = translated(packet);
  const IpPacket seen = packet.from(nat);
  const Bytes whole = seen.bytes();
  const auto about = [&](ByteView quoted) {
    return icmp_error(kHop, nat.ip, kUnreachable, 3, quoted);
  };
  // RFC 5508 REQ-3 a: a wrong ICMP checksum.
  lab().ignore_l4_checksums();
  refused_from_outside(about(whole).with_checksum_error(1), DropReason::kIcmpErrorMalformed);
  // Too short for an IP header and eight bytes.
  for (const std::size_t size : {0u, 1u, 19u, 20u, 27u})
    refused_from_outside(about(ByteView{whole}.first(size)), DropReason::kIcmpErrorMalformed);
  Bytes broken = whole;
  broken[0] = 0x65;  // IPv6
  refused_from_outside(about(broken), DropReason::kIcmpErrorMalformed);
  broken = whole;
  broken[0] = 0x44;  // a header of 16 bytes
  refused_from_outside(about(broken), DropReason::kIcmpErrorMalformed);
  broken = whole;
  broken[0] = 0x4F;  // a header of 60 bytes, more than is quoted
  refused_from_outside(about(ByteView{broken}.first(46)), DropReason::kIcmpErrorMalformed);
  broken = whole;
  broken[11] ^= 1;  // its header's checksum
  refused_from_outside(about(broken), DropReason::kIcmpErrorMalformed);
  // About a packet of somebody else's address: the outer and the inner header contradict each
  // other.
  refused_from_outside(about(udp({"203.0.113.77", nat.port}, kServer).bytes()),
                       DropReason::kIcmpErrorMalformed);
  // About an ICMP error: nobody sends that.
  refused_from_outside(about(icmp_error(nat.ip, kServer.ip, kUnreachable, 3, whole).bytes()),
                       DropReason::kIcmpErrorMalformed);
  // And from inside.
  refused_from_inside(
      icmp_error(kClient.ip, kServer.ip, kUnreachable, 3, udp(kServer, kClient).bytes())
          .with_checksum_error(5),
      DropReason::kIcmpErrorMalformed);
  refused_from_inside(icmp_error(kClient.ip, kServer.ip, kUnreachable, 3, pattern(64)),
                      DropReason::kIcmpErrorMalformed);
}

// RFC 5508 REQ-3 c: the checksum of a quoted transport header is no reason to drop an error.
TEST_P(IcmpErrors, QuotedTransportChecksumThatIsWrong_StaysWrongByTheSameDifference) {
  start();
  lab().ignore_l4_checksums();
  const IpPacket datagram = udp(kClient, kServer, pattern(64));
  const Endpoint nat = translated(datagram);
  error_comes_in(datagram.with_checksum_error(0x0101), nat, kUnreachable, 3);
  const IpPacket segment = tcp(kClient, kServer, kSyn);
  const Endpoint of_tcp = translated(segment);
  error_comes_in(segment.with_checksum_error(0x0101), of_tcp, kTimeExceeded, 0);
}

// RFC 5508 REQ-3 d, RFC 4884: what stands behind the quoted packet is not translated.
TEST_P(IcmpErrors, ExtensionsBehindTheQuotedPacket_PassUntouched) {
  start();
  const IpPacket packet = udp(kClient, kServer, pattern(100));  // 128 bytes, as RFC 4884 wants it
  const Endpoint nat = translated(packet);
  // An extension header of version 2 and an MPLS label stack object (RFC 4950).
  const Bytes extension = {0x20, 0x00, 0x9E, 0x5B, 0x00, 0x08, 0x01, 0x01, 0x01, 0xF4, 0x01, 0xFF};
  constexpr std::uint32_t kLength = 128 / 4 << 16;  // of what is quoted, in words
  const auto error_about = [&](Bytes quoted, Ip to) {
    quoted.insert(quoted.end(), extension.begin(), extension.end());
    return icmp_error(kHop, to, kTimeExceeded, 0, quoted, kLength);
  };
  const std::vector<Frame> frames =
      lab().from_outside(error_about(packet.from(nat).with_ttl(57).bytes(), nat.ip).bytes());
  expect_drops({});
  expect_frames(frames,
                {lab().to_inside(error_about(packet.with_ttl(57).bytes(), kClient.ip).hop())});
}

TEST_P(IcmpErrors, ThatAreFragmentedAreRefused) {
  start();
  const IpPacket packet = udp(kClient, kServer, pattern(1200));
  const Endpoint nat = translated(packet);
  const IpPacket error = icmp_error(kHop, nat.ip, kUnreachable, 3, packet.from(nat).bytes());
  refused(lab().from_outside(error.fragments({800})[0]), DropReason::kIcmpErrorMalformed);
}

TEST_P(IcmpErrors, ToOtherAddressesOrFromSpoofedSources_AreDropped) {
  start();
  const IpPacket packet = udp(kClient, kServer);
  const Endpoint nat = translated(packet);
  const Bytes quoted = packet.from(nat).bytes();
  refused_from_outside(icmp_error(kHop, "198.51.100.77", kUnreachable, 3, quoted),
                       DropReason::kNotForUs);
  refused_from_outside(icmp_error(kHop, kOutside, kUnreachable, 3, quoted), DropReason::kNotForUs);
  refused_from_outside(icmp_error(kRouter, nat.ip, kUnreachable, 3, quoted),
                       DropReason::kSpoofedNatSource);
  refused_from_outside(icmp_error("203.0.113.4", nat.ip, kUnreachable, 3, quoted),
                       DropReason::kSpoofedNatSource);
  refused_from_outside(icmp_error("224.0.0.1", nat.ip, kUnreachable, 3, quoted),
                       DropReason::kIpSourceInvalid);
  refused_from_inside(
      icmp_error(kClient.ip, kRouter, kUnreachable, 3, udp({kRouter, 7}, kClient).bytes()),
      DropReason::kNotForUs);
}

TEST_P(IcmpErrors, WithTtlOne_AreDroppedWithoutTimeExceeded) {
  start();
  const IpPacket packet = udp(kClient, kServer);
  const Endpoint nat = translated(packet);
  const Bytes quoted = packet.from(nat).bytes();
  refused_from_outside(icmp_error(kHop, nat.ip, kUnreachable, 3, quoted).with_ttl(1),
                       DropReason::kTtlExpired);
  refused_from_inside(
      icmp_error(kClient.ip, kServer.ip, kUnreachable, 3, udp(kServer, kClient).bytes())
          .with_ttl(1),
      DropReason::kTtlExpired);
}

TEST_P(IcmpErrors, SourceQuenchAndRedirectAreNotTranslated) {
  start();
  const IpPacket packet = udp(kClient, kServer);
  const Endpoint nat = translated(packet);
  for (const unsigned type : {kSourceQuench, kRedirect}) {
    refused_from_outside(icmp_error(kHop, nat.ip, type, 0, packet.from(nat).bytes()),
                         DropReason::kIcmpTypeUntranslated);
    refused_from_inside(icmp_error(kClient.ip, kServer.ip, type, 0, udp(kServer, kClient).bytes()),
                        DropReason::kIcmpTypeUntranslated);
  }
}

TEST_P(IcmpErrors, AboutAnExpiredSession_AreDropped) {
  start();
  const IpPacket packet = udp(kClient, kServer);
  const Endpoint nat = translated(packet);
  lab().advance(121s);
  refused_from_outside(icmp_error(kHop, nat.ip, kUnreachable, 3, packet.from(nat).bytes()),
                       DropReason::kIcmpErrorNoSession);
}

TEST_P(IcmpErrors, AboutAFirstFragment_QuoteTheSendersIdentification) {
  Config config = Config::standard();
  config.interfaces[1].mtu = 1400;
  start(config);
  const Endpoint nat = translated(udp(kClient, kServer));
  const auto told = [&](const IpPacket& packet, unsigned id, std::size_t cut) {
    const auto error_about = [&](const IpPacket& datagram, Ip to) {
      return icmp_error(kServer.ip, to, kTimeExceeded, 1,
                        ByteView{datagram.with_ttl(50).fragments({cut})[0]}.first(500));
    };
    expect_frames(lab().from_outside(error_about(packet.from(nat).with_id(id), nat.ip).bytes()),
                  {lab().to_inside(error_about(packet, kClient.ip).hop())});
  };
  // One that came in fragments, and one that was cut here.
  const IpPacket one = udp(kClient, kServer, pattern(2000)).with_id(0x7777);
  std::vector<Frame> frames = lab().from_inside(one.fragments({1024})[0]);
  const unsigned first = id_of(frames);
  const IpPacket two = udp(kClient, kServer, pattern(1450)).with_id(0x7777);
  frames = lab().from_inside(two.bytes());
  ASSERT_EQ(frames.size(), 2u);
  const unsigned second = id_of(frames);
  EXPECT_NE(first, second);
  told(one, first, 1024);
  told(two, second, 1376);
  // From inside about what came in fragments.
  const IpPacket in = udp(kServer, nat, pattern(2000)).with_id(0x6666);
  frames = lab().from_outside(in.fragments({1024})[0]);
  const IpPacket got = in.to(kClient).with_id(id_of(frames));
  const IpPacket error = icmp_error(kClient.ip, kServer.ip, kTimeExceeded, 1,
                                    ByteView{got.fragments({1024})[0]}.first(500));
  const IpPacket expected = icmp_error(nat.ip, kServer.ip, kTimeExceeded, 1,
                                       ByteView{in.fragments({1024})[0]}.first(500));
  expect_forwarded_outside(error, expected);
  // One that nobody has sent has the identification that it says.
  told(one.with_id(0x1234), 0x1234, 1024);
}

TEST_P(IcmpErrors, OfASubscriberAboutAnothersSessionAreRefused) {
  start();
  translated(udp(kClient, kServer));
  const Bytes got = udp(kServer, kClient).bytes();
  // Another client speaks of what was sent to this one.
  refused_from_inside(icmp_error("192.0.2.66", kServer.ip, kUnreachable, 3, got),
                      DropReason::kIcmpErrorForeign);
}

TEST_P(IcmpErrors, ToAnotherDestinationThanTheQuotedSource_AreDropped) {
  start();
  translated(udp(kClient, kServer));
  const Bytes got = udp(kServer, kClient).bytes();
  refused_from_inside(icmp_error(kClient.ip, "198.18.0.99", kUnreachable, 3, got),
                      DropReason::kIcmpErrorMalformed);
  refused_from_inside(icmp_error("10.9.9.9", "198.18.0.99", kTimeExceeded, 0, got),
                      DropReason::kIcmpErrorMalformed);
}

TEST_P(IcmpErrors, OfACoreRouterWithASubscribersAddress_ReachTheQuotedSubscriber) {
  start();
  const IpPacket packet = udp(kClient, kServer);
  const Endpoint nat = translated(packet);
  error_comes_in(packet, nat, kTimeExceeded, 0, 0, 1000, "192.0.2.99");
  error_comes_in(packet, nat, kUnreachable, 4, 1280, 1000, "192.0.2.99");
  // Anything else from outside with such a source is forged, and an error about no session, too.
  refused_from_outside(udp({"192.0.2.99", 7}, nat), DropReason::kSpoofedClientSource);
  refused_from_outside(
      icmp_error("192.0.2.99", nat.ip, kTimeExceeded, 0, udp(nat, {"198.18.0.77", 7}).bytes()),
      DropReason::kIcmpErrorNoSession);
}

INSTANTIATE_TEST_SUITE_P(Sharded, IcmpErrors, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
