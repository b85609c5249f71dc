// Fragments (RFC 4787 REQ-14): in any order, both directions, each forwarded as it is; bounded in
// number, memory and time; overlaps refused.
#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "scenario.hpp"

namespace lsn::test {
namespace {

class Fragments : public Scenario {
 protected:
  static inline const std::vector<std::size_t> kCuts = {512, 1024};

  /// The pieces go in by `order`; what comes out is every piece once, byte for byte, and none
  /// before the first one was seen. All have one identification, which is returned.
  unsigned pass(unsigned interface, const IpPacket& sent, const IpPacket& expected, Ip next_hop,
                const std::vector<std::size_t>& order, Where where = Where::current()) {
    const std::vector<Bytes> in = sent.fragments(kCuts);
    std::vector<Frame> out;
    const std::uint64_t others = lab().total(&Counters::fragments_waiting);
    std::vector<std::size_t> waiting;
    unsigned id = 0;
    for (const std::size_t i : order) {
      const std::vector<Frame> frames = lab().send(interface, in[i]);
      std::vector<Frame> now;
      if (!out.empty()) {
        now = {out[i]};
      } else if (i == 0) {
        id = id_of(frames, where);
        for (const Bytes& piece : expected.with_id(id).fragments(kCuts))
          out.push_back(lab().frame_to(1 - interface, next_hop, piece));
        now = {out[0]};
        for (const std::size_t w : waiting) now.push_back(out[w]);
      } else {
        waiting.push_back(i);
      }
      expect_frames(frames, now, where);
    }
    expect_drops({}, where);
    EXPECT_EQ(lab().total(&Counters::fragments_waiting), others) << "the datagram is complete";
    return id;
  }

  /// One piece of a datagram outside, as it is expected under that identification.
  [[nodiscard]] Frame outside(const IpPacket& datagram, unsigned id,
                              const std::vector<std::size_t>& cuts, std::size_t i) {
    return lab().frame_to(1, kGateway, datagram.with_id(id).fragments(cuts)[i]);
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
  expect_pieces(frames, 1, kGateway, packet.from(nat).hop(), {800});
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 1u);
}

TEST_P(Fragments, OfDifferentSubscribersWithTheSameIdentificationAreKeptApart) {
  start();
  const IpPacket a = udp(kClient, kServer, pattern(900, 1)).with_id(5);
  const IpPacket b = udp({"192.0.2.11", 5}, kServer, pattern(900, 2)).with_id(5);
  const Endpoint nat_a = translated(udp(kClient, kServer));
  const Endpoint nat_b = translated(udp({"192.0.2.11", 5}, kServer));
  expect_frames(in(a.fragments({480})[1]), {});
  const std::vector<Frame> first = in(b.fragments({480})[0]);
  const unsigned id_b = id_of(first);
  expect_frames(first, {outside(b.from(nat_b).hop(), id_b, {480}, 0)});
  expect_frames(in(b.fragments({480})[1]), {outside(b.from(nat_b).hop(), id_b, {480}, 1)});
  const std::vector<Frame> both = in(a.fragments({480})[0]);
  expect_pieces(both, 1, kGateway, a.from(nat_a).hop(), {480});
  // RFC 6864 section 5.3.1, RFC 7857 section 10: nor are they mixed up by the server.
  if (nat_a.ip == nat_b.ip) {
    EXPECT_NE(id_of(both), id_b);
  }
}

TEST_P(Fragments, OfOneNatAddressAndServerNeverShareAnIdentification) {
  Config config = Config::standard();
  config.pool().addresses = {"203.0.113.3"};
  config.interfaces[1].mtu = 1400;
  start(config);
  std::set<unsigned> ids;
  unsigned datagrams = 0;
  for (unsigned i = 0; i < 40; ++i) {
    const Endpoint client{Ip{"192.0.2.20"} + i % 8, 7};
    // The same identification from everybody, in fragments and whole but too large for the link.
    const IpPacket packet = udp(client, kServer, pattern(1450, i)).with_id(4242);
    const std::vector<Frame> whole = lab().from_inside(packet.bytes());
    ASSERT_EQ(whole.size(), 2u);
    const Endpoint nat = source_of(behind_link(whole[0].bytes));
    expect_pieces(whole, 1, kGateway, packet.from(nat).hop(), {1376});
    ids.insert(id_of(whole));
    ids.insert(
        pass(0, packet, packet.from(nat).hop(), kGateway, {i % 3, (i + 1) % 3, (i + 2) % 3}));
    datagrams += 2;
  }
  EXPECT_EQ(ids.size(), datagrams);
  EXPECT_FALSE(ids.contains(0));
}

TEST_P(Fragments, OfOneServerToTwoNatAddressesOfASubscriberNeverShareAnIdentification) {
  start();  // RANDOM pooling: one subscriber has sessions on several NAT addresses
  std::map<unsigned, Endpoint> nats;
  for (unsigned port = 5000; nats.size() < 2; ++port) {
    const Endpoint nat = translated(udp({kClient.ip, static_cast<std::uint16_t>(port)}, kServer));
    if (nats.empty() || nats.begin()->second.ip != nat.ip) nats.emplace(port, nat);
  }
  std::set<unsigned> ids;
  for (const auto& [port, nat] : nats) {
    const IpPacket packet = udp(kServer, nat, pattern(1500)).with_id(9);
    ids.insert(pass(1, packet, packet.to({kClient.ip, static_cast<std::uint16_t>(port)}).hop(),
                    kClient.ip, {0, 1, 2}));
  }
  EXPECT_EQ(ids.size(), 2u);
}

TEST_P(Fragments, AnAtomicDatagramKeepsItsIdentification) {
  start();
  const IpPacket packet = udp(kClient, kServer).with_df().with_id(0x1111);
  const Endpoint nat = translated(packet);
  for (const unsigned id : {0u, 1u, 0x1111u, 0xFFFFu}) {
    translated_to(packet.with_id(id), nat);
    returned(udp(kServer, nat).with_df().with_id(id), kClient);
  }
}

TEST_P(Fragments, WithDontFragmentGetOneIdentificationAsWell) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  const IpPacket packet = udp(kClient, kServer, pattern(1500)).with_df();
  pass(0, packet, packet.from(nat).hop(), kGateway, {1, 0, 2});
}

TEST_P(Fragments, OfDifferentProtocolsWithTheSameIdentificationAreKeptApart) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  const IpPacket u = udp(kClient, kServer, pattern(900, 1)).with_id(5);
  const IpPacket t = tcp(kClient, kServer, kAck, pattern(900, 1)).with_id(5);
  expect_frames(in(t.fragments({480})[1]), {});
  const std::vector<Frame> frames = in(u.fragments({480})[0]);
  expect_frames(frames, {outside(u.from(nat).hop(), id_of(frames), {480}, 0)});
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

TEST_P(Fragments, WithoutAFirstFragment_AreDroppedAfterTheFragmentTimeout) {
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

TEST_P(Fragments, Overlapping_AreDroppedWithTheWholeDatagram) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  const IpPacket packet = udp(kClient, kServer, pattern(1500)).with_id(3);
  const auto first = packet.fragments({512, 1024});
  const auto other = packet.fragments({504, 1016});
  const std::vector<Frame> frames = in(first[0]);
  expect_frames(frames, {outside(packet.from(nat).hop(), id_of(frames), {512, 1024}, 0)});
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

TEST_P(Fragments, Waiting_AreDroppedWithAnOverlap) {
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

TEST_P(Fragments, Duplicate_IsAnOverlap) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  const IpPacket packet = udp(kClient, kServer, pattern(1500)).with_id(3);
  const auto pieces = packet.fragments(kCuts);
  const std::vector<Frame> frames = in(pieces[0]);
  expect_frames(frames, {outside(packet.from(nat).hop(), id_of(frames), kCuts, 0)});
  refused(in(pieces[0]), DropReason::kFragmentOverlap);
  refused(in(pieces[1]), DropReason::kFragmentOverlap);
}

TEST_P(Fragments, BehindTheEndAreAnOverlap) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  const IpPacket packet = udp(kClient, kServer, pattern(1500)).with_id(3);
  const auto pieces = packet.fragments(kCuts);
  const std::vector<Frame> frames = in(pieces[0]);
  const auto out = packet.from(nat).hop().with_id(id_of(frames)).fragments(kCuts);
  expect_frames(frames, {lab().frame_to(1, kGateway, out[0])});
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

TEST_P(Fragments, TableFull_DropsTheOldestWaitingDatagram) {
  start(Config::standard(), {.max_fragments = 4});
  const Endpoint nat = translated(udp(kClient, kServer));
  const auto piece = [&](unsigned id, std::size_t i) {
    return udp(kClient, kServer, pattern(1500)).with_id(id).fragments(kCuts)[i];
  };
  for (unsigned id = 0; id < 4; ++id) expect_frames(in(piece(id, 1)), {});
  expect_drops({});
  refused(in(piece(4, 1)), DropReason::kFragmentDisplaced);
  // That was the first one; the others are there.
  const auto expect_both = [&](const std::vector<Frame>& frames) {
    ASSERT_EQ(frames.size(), 2u);
    const IpPacket out = udp(nat, kServer, pattern(1500)).hop();
    expect_frames(frames,
                  {outside(out, id_of(frames), kCuts, 0), outside(out, id_of(frames), kCuts, 1)});
  };
  for (const unsigned id : {1u, 2u, 3u, 4u}) expect_both(in(piece(id, 0)));
  expect_drops({});
  EXPECT_EQ(lab().total(&Counters::fragments_waiting), 4u) << "their ends are still to come";
}

TEST_P(Fragments, OfASession_AreNotReplacedByWaitingFragments) {
  start(Config::standard(), {.max_fragments = 4});
  const Endpoint nat = translated(udp(kClient, kServer));
  const IpPacket packet = udp(kClient, kServer, pattern(1500)).with_id(7);
  const std::vector<Bytes> pieces = packet.fragments(kCuts);
  const std::vector<Frame> frames = in(pieces[0]);
  const unsigned id = id_of(frames);
  for (unsigned other = 100; other < 200; ++other)
    in(udp({"192.0.2.66", 6}, kServer, pattern(1500)).with_id(other).fragments(kCuts)[1]);
  // Where both belong to one worker there was room for three beside it.
  const std::uint64_t displaced = lab().drops(DropReason::kFragmentDisplaced);
  EXPECT_GE(displaced, 96u);
  expect_drops({{DropReason::kFragmentDisplaced, displaced}});
  expect_frames(in(pieces[1]), {outside(packet.from(nat).hop(), id, kCuts, 1)});
  expect_frames(in(pieces[2]), {outside(packet.from(nat).hop(), id, kCuts, 2)});
}

TEST_P(Fragments, Unsolicited_DoNotReplaceThoseOfASession) {
  start(Config::standard(), {.max_fragments = 256});
  const Endpoint nat = translated(udp(kClient, kServer));
  lab().introduce(0, kClient.ip);
  // Strays of forged senders: later fragments, and first ones that no session lets in.
  unsigned stray = 0;
  const auto flood = [&](unsigned n) {
    for (unsigned i = 0; i < n; ++i, ++stray) {
      const IpPacket packet =
          udp({Ip{"198.19.0.0"} + stray, 9}, {nat.ip, 9}, pattern(900)).with_id(stray);
      lab().from_outside(packet.fragments({480})[stray % 3 == 0 ? 0 : 1]);
    }
  };
  flood(1000);
  for (unsigned i = 0; i < 50; ++i) {
    // In order, and the other way round, with strays between the pieces.
    const IpPacket packet = udp(kServer, nat, pattern(900, i)).with_id(i);
    const std::vector<Bytes> pieces = packet.fragments({480});
    std::vector<Frame> frames = lab().from_outside(pieces[i % 2]);
    flood(20);
    for (Frame& frame : lab().from_outside(pieces[1 - i % 2])) frames.push_back(std::move(frame));
    ASSERT_EQ(frames.size(), 2u) << i;
    expect_pieces(frames, 0, kClient.ip, packet.to(kClient).hop(), {480});
  }
  // They have half of the room, and of it no more than one address may have.
  EXPECT_LE(lab().total(&Counters::fragments_waiting), 128u);
  EXPECT_GT(lab().drops(DropReason::kFragmentDisplaced), 1000u);
  expect_only_drops({DropReason::kFragmentDisplaced, DropReason::kNoMapping});
}

TEST_P(Fragments, OfOneOutsideHost_AreLimitedToASixteenthOfTheTable) {
  start(Config::standard(), {.max_fragments = 256});
  const Endpoint nat = translated(udp(kClient, kServer));
  const auto late = [&](Ip from, unsigned id) {
    return lab().from_outside(
        udp({from, 9}, {nat.ip, 9}, pattern(900)).with_id(id).fragments({480})[1]);
  };
  late("198.19.0.1", 1);
  for (unsigned i = 0; i < 500; ++i) late("198.19.0.2", i);
  // A sixteenth of the room; the other sender's one is still there.
  EXPECT_EQ(lab().total(&Counters::fragments_waiting), 17u);
  expect_drops({{DropReason::kFragmentDisplaced, 500 - 16}});
}

TEST_P(Fragments, OfOneDatagram_AreLimitedToSixtyFourWaiting) {
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

TEST_P(Fragments, Malformed_AreDropped) {
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

TEST_P(Fragments, OfAFilteredDatagram_AreAllDropped) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  const IpPacket packet = udp({"198.18.0.66", 6}, nat, pattern(1500));
  const auto pieces = packet.fragments(kCuts);
  expect_frames(lab().from_outside(pieces[2]), {});
  expect_frames(lab().from_outside(pieces[0]), {});
  expect_frames(lab().from_outside(pieces[1]), {});
  expect_drops({{DropReason::kFiltered, 1}, {DropReason::kNoMapping, 2}});
}

TEST_P(Fragments, OfNonSubscribersOrSpoofedOrToOtherAddresses_DoNotWait) {
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

TEST_P(Fragments, OfUntranslatedProtocols_AreDropped) {
  start();
  const auto second = [](unsigned protocol) {
    return other(kClient.ip, kServer.ip, protocol, pattern(900)).fragments({512})[1];
  };
  refused(in(second(47)), DropReason::kProtocolGre);
  refused(in(second(132)), DropReason::kProtocolSctp);
  refused(in(second(99)), DropReason::kProtocolOther);
}

TEST_P(Fragments, TtlOne_OnlyTheFirstIsAnsweredByTimeExceeded) {
  start();
  translated(udp(kClient, kServer));
  const IpPacket packet = udp(kClient, kServer, pattern(1500)).with_ttl(1);
  const auto pieces = packet.fragments({512});
  expect_time_exceeded_inside(pieces[0]);
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
  expect_frames(in(in_pieces[1]), {});
  expect_pieces(in(in_pieces[0]), 1, kGateway, packet.from(nat).hop(), {576, 1152, 1200});
}

TEST_P(Fragments, ReceivedAndWaiting_AreCounted) {
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

TEST_P(Fragments, TableOfSizeZero_DropsThem) {
  Lab::Options options;
  options.max_fragments = 0;
  start(Config::standard(), options);
  for (const Bytes& piece : udp(kClient, kServer, pattern(1500)).fragments(kCuts))
    expect_frames(in(piece), {});
  expect_drops({{DropReason::kFragmentTableFull, 3}});
}

INSTANTIATE_TEST_SUITE_P(Sharded, Fragments, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
