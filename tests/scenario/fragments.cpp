// Fragments (RFC 4787 REQ-14): in any order, both directions, each forwarded as it is; bounded in
// number, memory and time; overlaps refused.
#include <algorithm>
#include <numeric>

#include "scenario.hpp"

namespace lsn::test {
namespace {

class Fragments : public Scenario {
 protected:
  static inline const std::vector<std::size_t> kCuts = {512, 1024};

  /// The pieces go in by `order`; what comes out is every piece once, byte for byte, and none
  /// before the first one was seen.
  void pass(unsigned interface, const IpPacket& sent, const IpPacket& expected, Ip next_hop,
            const std::vector<std::size_t>& order, Where where = Where::current()) {
    const std::vector<Bytes> in = sent.fragments(kCuts);
    std::vector<Frame> out;
    for (const Bytes& piece : expected.fragments(kCuts))
      out.push_back(lab().frame_to(1 - interface, next_hop, piece));
    const std::uint64_t others = lab().total(&Counters::fragments_waiting);
    std::vector<std::size_t> waiting;
    bool first_seen = false;
    for (const std::size_t i : order) {
      std::vector<Frame> now;
      if (first_seen) {
        now = {out[i]};
      } else if (i == 0) {
        now = {out[0]};
        for (const std::size_t w : waiting) now.push_back(out[w]);
        first_seen = true;
      } else {
        waiting.push_back(i);
      }
      expect_frames(lab().send(interface, in[i]), now, where);
    }
    expect_drops({}, where);
    EXPECT_EQ(lab().total(&Counters::fragments_waiting), others) << "the datagram is complete";
  }

  /// All six orders.
  template <class Do>
  void in_every_order(Do&& run) {
    std::vector<std::size_t> order = {0, 1, 2};
    unsigned id = 100;
    do {
      SCOPED_TRACE(::testing::PrintToString(order));
      run(order, ++id);
    } while (std::next_permutation(order.begin(), order.end()));
  }

  std::vector<Frame> in(const Bytes& packet) { return lab().from_inside(packet); }
};

TEST_P(Fragments, OfUdpPassOutboundInAnyOrder) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  in_every_order([&](const std::vector<std::size_t>& order, unsigned id) {
    const IpPacket packet = udp(kClient, kServer, pattern(1500, id)).with_id(id);
    pass(0, packet, packet.from(nat).hop(), kGateway, order);
  });
}

TEST_P(Fragments, OfUdpPassInboundInAnyOrder) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  in_every_order([&](const std::vector<std::size_t>& order, unsigned id) {
    const IpPacket packet = udp(kServer, nat, pattern(1500, id)).with_id(id);
    pass(1, packet, packet.to(kClient).hop(), kClient.ip, order);
  });
}

TEST_P(Fragments, OfTcpPassInAnyOrder) {
  start();
  const Endpoint nat = translated(tcp(kClient, kServer, kSyn));
  in_every_order([&](const std::vector<std::size_t>& order, unsigned id) {
    const IpPacket out = tcp(kClient, kServer, kAck, pattern(1501, id)).with_id(id);
    pass(0, out, out.from(nat).hop(), kGateway, order);
    const IpPacket in = tcp(kServer, nat, kAck, pattern(1337, id)).with_id(id + 1);
    pass(1, in, in.to(kClient).hop(), kClient.ip, order);
  });
}

TEST_P(Fragments, OfPingsPassInAnyOrder) {
  start();
  const Endpoint nat = translated(ping(kClient, kServer.ip));
  in_every_order([&](const std::vector<std::size_t>& order, unsigned id) {
    const IpPacket out = ping(kClient, kServer.ip, id, pattern(1472, id)).with_id(id);
    pass(0, out, out.from(nat).hop(), kGateway, order);
    const IpPacket in = pong(kServer.ip, nat, id, pattern(1472, id)).with_id(id);
    pass(1, in, in.to(kClient).hop(), kClient.ip, order);
  });
}

TEST_P(Fragments, WithIpOptionsPass) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  const IpPacket packet = udp(kClient, kServer, pattern(1500)).with_options({0x94, 4, 0, 0});
  pass(0, packet, packet.from(nat).hop(), kGateway, {2, 0, 1});
}

TEST_P(Fragments, WithoutUdpChecksumPass) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  const IpPacket packet = udp(kClient, kServer, pattern(1500)).without_checksum();
  pass(0, packet, packet.from(nat).hop(), kGateway, {1, 2, 0});
}

TEST_P(Fragments, OfTheFirstPacketOfAFlowMakeItsSession) {
  start();
  const IpPacket packet = udp(kClient, kServer, pattern(1500));
  const std::vector<Bytes> pieces = packet.fragments({800});
  expect_frames(in(pieces[1]), {});
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
  const std::vector<Frame> frames = in(pieces[0]);
  ASSERT_EQ(frames.size(), 2u);
  const Endpoint nat = source_of(behind_link(frames[0].bytes));
  const std::vector<Bytes> expected = packet.from(nat).hop().fragments({800});
  expect_frames(
      frames, {lab().frame_to(1, kGateway, expected[0]), lab().frame_to(1, kGateway, expected[1])});
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 1u);
}

TEST_P(Fragments, OfDifferentSubscribersWithTheSameIdentificationAreKeptApart) {
  start();
  const IpPacket a = udp(kClient, kServer, pattern(900, 1)).with_id(5);
  const IpPacket b = udp({"192.0.2.11", 5}, kServer, pattern(900, 2)).with_id(5);
  const Endpoint nat_a = translated(udp(kClient, kServer));
  const Endpoint nat_b = translated(udp({"192.0.2.11", 5}, kServer));
  const auto expected = [&](const IpPacket& packet, Endpoint nat, std::size_t i) {
    return lab().frame_to(1, kGateway, packet.from(nat).hop().fragments({480})[i]);
  };
  expect_frames(in(a.fragments({480})[1]), {});
  expect_frames(in(b.fragments({480})[0]), {expected(b, nat_b, 0)});
  expect_frames(in(b.fragments({480})[1]), {expected(b, nat_b, 1)});
  expect_frames(in(a.fragments({480})[0]), {expected(a, nat_a, 0), expected(a, nat_a, 1)});
}

TEST_P(Fragments, OfDifferentProtocolsWithTheSameIdentificationAreKeptApart) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  const IpPacket u = udp(kClient, kServer, pattern(900, 1)).with_id(5);
  const IpPacket t = tcp(kClient, kServer, kAck, pattern(900, 1)).with_id(5);
  expect_frames(in(t.fragments({480})[1]), {});
  expect_frames(in(u.fragments({480})[0]),
                {lab().frame_to(1, kGateway, u.from(nat).hop().fragments({480})[0])});
  lab().advance(3s);
  expect_drops({{DropReason::kFragmentTimeout, 1}});
}

TEST_P(Fragments, AnIdentificationCanBeUsedAgainWhenItsDatagramIsComplete) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  for (unsigned i = 0; i < 5; ++i) {
    const IpPacket packet = udp(kClient, kServer, pattern(1500, i)).with_id(9);
    pass(0, packet, packet.from(nat).hop(), kGateway, {i % 3, (i + 1) % 3, (i + 2) % 3});
  }
}

TEST_P(Fragments, WithoutTheFirstOneAreDroppedAfterTheTimeout) {
  start();
  const std::vector<Bytes> pieces = udp(kClient, kServer, pattern(1500)).fragments(kCuts);
  expect_frames(in(pieces[1]), {});
  lab().advance(1900ms);
  expect_frames(in(pieces[2]), {});
  expect_drops({});
  lab().advance(200ms);  // two seconds from the first one that was seen
  expect_drops({{DropReason::kFragmentTimeout, 2}});
  EXPECT_EQ(lab().total(&Counters::fragments_waiting), 0u);
}

TEST_P(Fragments, TheTimeoutIsConfigurable) {
  Config config = Config::standard();
  config.fragment_timeout = 10s;
  start(config);
  expect_frames(in(udp(kClient, kServer, pattern(1500)).fragments(kCuts)[1]), {});
  lab().advance(9800ms);
  expect_drops({});
  lab().advance(400ms);
  expect_drops({{DropReason::kFragmentTimeout, 1}});
}

TEST_P(Fragments, ThatOverlapAreRefusedWithTheWholeDatagram) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  const IpPacket packet = udp(kClient, kServer, pattern(1500)).with_id(3);
  const auto first = packet.fragments({512, 1024});
  const auto other = packet.fragments({504, 1016});
  const auto translated_first = packet.from(nat).hop().fragments({512, 1024});
  expect_frames(in(first[0]), {lab().frame_to(1, kGateway, translated_first[0])});
  refused(in(other[1]), DropReason::kFragmentOverlap);  // begins 8 bytes too early
  // RFC 5722: nothing of it passes any more.
  refused(in(first[1]), DropReason::kFragmentOverlap);
  refused(in(first[2]), DropReason::kFragmentOverlap);
  // Another datagram has nothing to do with it, and the identification is free after the timeout.
  const IpPacket next = packet.with_id(4);
  pass(0, next, next.from(nat).hop(), kGateway, {0, 1, 2});
  lab().advance(2500ms);
  pass(0, packet, packet.from(nat).hop(), kGateway, {1, 0, 2});
}

TEST_P(Fragments, ThatWaitAreDroppedWhenAnOverlapIsSeen) {
  start();
  translated(udp(kClient, kServer));
  const IpPacket packet = udp(kClient, kServer, pattern(1500)).with_id(3);
  const auto first = packet.fragments({512, 1024});
  const auto other = packet.fragments({512, 1032});
  expect_frames(in(first[1]), {});
  expect_frames(in(first[2]), {});
  expect_frames(in(other[1]), {});
  expect_drops({{DropReason::kFragmentOverlap, 3}});
  refused(in(first[0]), DropReason::kFragmentOverlap);
}

TEST_P(Fragments, ARepeatedOneIsAnOverlap) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  const IpPacket packet = udp(kClient, kServer, pattern(1500)).with_id(3);
  const auto pieces = packet.fragments(kCuts);
  const auto out = packet.from(nat).hop().fragments(kCuts);
  expect_frames(in(pieces[0]), {lab().frame_to(1, kGateway, out[0])});
  refused(in(pieces[0]), DropReason::kFragmentOverlap);
  refused(in(pieces[1]), DropReason::kFragmentOverlap);
}

TEST_P(Fragments, BehindTheEndAreAnOverlap) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  const IpPacket packet = udp(kClient, kServer, pattern(1500)).with_id(3);
  const auto pieces = packet.fragments(kCuts);
  const auto out = packet.from(nat).hop().fragments(kCuts);
  expect_frames(in(pieces[0]), {lab().frame_to(1, kGateway, out[0])});
  // The middle one says that it is the last one; then comes one behind it.
  Bytes last = pieces[1];
  last[6] &= 0x1F;
  fix_ip_checksum(last);
  Bytes translated_last = out[1];
  translated_last[6] &= 0x1F;
  fix_ip_checksum(translated_last);
  expect_frames(in(last), {lab().frame_to(1, kGateway, translated_last)});
  // That datagram was complete: this is the beginning of another one, which never ends.
  expect_frames(in(pieces[2]), {});
  lab().advance(3s);
  expect_drops({{DropReason::kFragmentTimeout, 1}});
  // With the end known and a gap before it:
  const IpPacket again = packet.with_id(4);
  const auto p = again.fragments({512, 1024});
  Bytes early_end = p[1];
  early_end[6] &= 0x1F;
  fix_ip_checksum(early_end);
  expect_frames(in(early_end), {});
  expect_frames(in(p[2]), {});
  expect_drops({{DropReason::kFragmentOverlap, 2}});
}

TEST_P(Fragments, OnlySoManyDatagramsWait) {
  start(Config::standard(), {.max_fragments = 4});
  const Endpoint nat = translated(udp(kClient, kServer));
  const auto piece = [&](unsigned id, std::size_t i) {
    return udp(kClient, kServer, pattern(1500)).with_id(id).fragments(kCuts)[i];
  };
  for (unsigned id = 0; id < 4; ++id) expect_frames(in(piece(id, 1)), {});
  refused(in(piece(4, 1)), DropReason::kFragmentTableFull);
  refused(in(piece(5, 0)), DropReason::kFragmentTableFull);
  // Whole packets are no fragments, and those that wait are not pushed out.
  translated_to(udp(kClient, kServer), nat);
  const auto out = udp(nat, kServer, pattern(1500)).with_id(2).hop().fragments(kCuts);
  expect_frames(in(piece(2, 0)),
                {lab().frame_to(1, kGateway, out[0]), lab().frame_to(1, kGateway, out[1])});
  lab().advance(3s);
  expect_drops({{DropReason::kFragmentTimeout, 3}});
  expect_frames(in(piece(6, 1)), {});
  lab().advance(3s);
  expect_drops({{DropReason::kFragmentTimeout, 1}});
}

TEST_P(Fragments, OnlySoManyOfOneDatagramWait) {
  start();
  lab().introduce(1, kGateway);
  std::vector<std::size_t> cuts;
  for (std::size_t at = 8; at < 8 * 80; at += 8) cuts.push_back(at);
  const auto pieces = udp(kClient, kServer, pattern(8 * 80 - 8)).fragments(cuts);
  for (std::size_t i = 1; i <= 64; ++i) expect_frames(in(pieces[i]), {});
  refused(in(pieces[65]), DropReason::kFragmentTooMany);
  // Those that wait get their chance.
  const std::vector<Frame> frames = in(pieces[0]);
  EXPECT_EQ(frames.size(), 65u);
}

TEST_P(Fragments, ThatAreImpossibleAreRefused) {
  start();
  translated(udp(kClient, kServer));
  const IpPacket packet = udp(kClient, kServer, pattern(1500));
  // A middle one whose size is no multiple of eight.
  Bytes odd = packet.fragments({512, 1023})[1];
  refused(in(odd), DropReason::kFragmentMalformed);
  // Without payload.
  IpPacket empty = other(kClient.ip, kServer.ip, kUdp, {});
  empty.payload.clear();
  Bytes none = packet.fragments({512})[1];
  none.resize(20);
  set16(none, 2, 20);
  fix_ip_checksum(none);
  refused(in(none), DropReason::kFragmentMalformed);
  // Beyond the largest datagram: "ping of death".
  Bytes beyond = packet.fragments({512, 1024})[2];
  set16(beyond, 6, 0x1FFF);
  fix_ip_checksum(beyond);
  refused(in(beyond), DropReason::kFragmentMalformed);
  // RFC 1858 section 3, RFC 3128: TCP's header in pieces.
  const IpPacket segment = tcp(kClient, kServer, kSyn, pattern(100));
  refused(in(segment.fragments({8})[0]), DropReason::kL4Malformed);
  refused(in(segment.fragments({8})[1]), DropReason::kFragmentMalformed);
  refused(in(segment.fragments({16})[0]), DropReason::kL4Malformed);
}

TEST_P(Fragments, OfARefusedDatagramAreAllRefusedForItsReason) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  const IpPacket packet = udp({"198.18.0.66", 6}, nat, pattern(1500));
  const auto pieces = packet.fragments(kCuts);
  expect_frames(lab().from_outside(pieces[2]), {});
  expect_frames(lab().from_outside(pieces[0]), {});
  expect_frames(lab().from_outside(pieces[1]), {});
  expect_drops({{DropReason::kFiltered, 1}, {DropReason::kNoMapping, 2}});
}

TEST_P(Fragments, OfStrangersAndToNobodyDoNotWait) {
  start();
  const auto second = [](const IpPacket& packet) { return packet.fragments({512})[1]; };
  refused(in(second(udp({"10.0.0.1", 1}, kServer, pattern(900)))), DropReason::kNotAClient);
  refused(lab().from_outside(second(udp(kServer, {"198.51.100.99", 1}, pattern(900)))),
          DropReason::kNotForUs);
  refused(lab().from_outside(second(udp(kClient, {"203.0.113.5", 1}, pattern(900)))),
          DropReason::kSpoofedClientSource);
  refused(lab().from_outside(second(udp({"203.0.113.4", 1}, {"203.0.113.5", 1}, pattern(900)))),
          DropReason::kSpoofedNatSource);
  EXPECT_EQ(lab().total(&Counters::fragments_waiting), 0u);
}

TEST_P(Fragments, OfOtherProtocolsAreRefusedByProtocol) {
  start();
  const auto second = [](unsigned protocol) {
    return other(kClient.ip, kServer.ip, protocol, pattern(900)).fragments({512})[1];
  };
  refused(in(second(47)), DropReason::kProtocolGre);
  refused(in(second(132)), DropReason::kProtocolSctp);
  refused(in(second(99)), DropReason::kProtocolOther);
}

TEST_P(Fragments, WithTtlOneEndHere) {
  start();
  translated(udp(kClient, kServer));
  const IpPacket packet = udp(kClient, kServer, pattern(1500)).with_ttl(1);
  const auto pieces = packet.fragments({512});
  refused_with_error(in(pieces[0]), DropReason::kTtlExpired, 0,
                     our_error(pieces[0], kRouter, kTimeExceeded, 0));
  // RFC 1812 section 4.3.2.7: none about a later fragment.
  refused(in(pieces[1]), DropReason::kTtlExpired);
}

TEST_P(Fragments, ThatAreTooLargeForTheNextLinkAreCutFurther) {
  Config config = Config::standard();
  config.interfaces[1].mtu = 600;
  start(config);
  const Endpoint nat = translated(udp(kClient, kServer));
  const IpPacket packet = udp(kClient, kServer, pattern(1600));
  const auto in_pieces = packet.fragments({1200});
  const auto out_pieces = packet.from(nat).hop().fragments({576, 1152, 1200});
  std::vector<Frame> out;
  for (const Bytes& piece : out_pieces) out.push_back(lab().frame_to(1, kGateway, piece));
  expect_frames(in(in_pieces[1]), {});
  expect_frames(in(in_pieces[0]), out);
}

TEST_P(Fragments, CountersTell) {
  start();
  const IpPacket packet = udp(kClient, kServer, pattern(1500));
  const auto pieces = packet.fragments(kCuts);
  in(pieces[1]);
  in(pieces[2]);
  EXPECT_EQ(lab().total(&Counters::fragments_received), 2u);
  EXPECT_EQ(lab().total(&Counters::fragments_waiting), 1u);
  EXPECT_EQ(in(pieces[0]).size(), 3u);
  EXPECT_EQ(lab().total(&Counters::fragments_received), 3u);
  EXPECT_EQ(lab().total(&Counters::fragments_waiting), 0u);
}

INSTANTIATE_TEST_SUITE_P(Sharded, Fragments, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
