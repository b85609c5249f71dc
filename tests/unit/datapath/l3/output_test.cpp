#include "lsn/datapath/l3/output.hpp"

#include <random>

#include "unit/datapath/bench.hpp"

namespace lsn::datapath::bench {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

/// Where `destination` goes: "interface: next hop", "nowhere", or "full".
class ResolveTest : public Workbench {
 protected:
  std::string way_to(const std::string& destination) {
    const auto hop = resolve(*shard, {wire::Ipv4Address{ip(destination)}}, {});
    if (!hop) return "nowhere";
    if (hop->neighbour == kNoNeighbour) return "full";
    const Neighbour& neighbour = shard->neighbours[hop->neighbour];
    EXPECT_EQ(neighbour.interface, hop->interface);
    EXPECT_EQ(neighbour.device, generation.interfaces[hop->interface].device);
    EXPECT_EQ(neighbour.mtu, generation.interfaces[hop->interface].mtu);
    return std::to_string(hop->interface) + ": " + wire::to_string(wire::Ipv4Address{neighbour.ip});
  }
};

TEST_F(ResolveTest, AHostOnALinkIsItsOwnNextHop) {
  EXPECT_EQ(way_to("192.0.2.7"), "0: 192.0.2.7");
  EXPECT_EQ(way_to("198.51.100.7"), "1: 198.51.100.7");
  EXPECT_EQ(way_to("203.0.113.7"), "2: 203.0.113.7");
}

TEST_F(ResolveTest, TheLongestPrefixWins) {
  EXPECT_EQ(way_to("8.8.8.8"), "1: 198.51.100.254");
  EXPECT_EQ(way_to("10.8.255.255"), "1: 198.51.100.253");
  EXPECT_EQ(way_to("10.9.0.0"), "2: 203.0.113.14");
  EXPECT_EQ(way_to("10.9.255.255"), "2: 203.0.113.14");
  EXPECT_EQ(way_to("10.10.0.0"), "1: 198.51.100.253");
  EXPECT_EQ(way_to("172.31.1.1"), "0: 192.0.2.254");
  EXPECT_EQ(way_to("203.0.113.16"), "1: 198.51.100.254");  // behind the /28
}

TEST_F(ResolveTest, DestinationsBehindOneGatewayShareItsEntry) {
  EXPECT_EQ(resolve(*shard, {wire::Ipv4Address{ip("8.8.8.8")}}, {})->neighbour,
            resolve(*shard, {wire::Ipv4Address{ip("9.9.9.9")}}, {})->neighbour);
}

TEST_F(ResolveTest, WithoutARouteThereIsNoWay) {
  generation.routes = IntervalMap<Route>(
      {{ip_number("10.0.0.0"), ip_number("10.0.0.255"), {1, address("198.51.100.254")}}});
  EXPECT_EQ(way_to("10.0.0.1"), "1: 198.51.100.254");
  EXPECT_EQ(way_to("10.0.1.0"), "nowhere");
}

TEST_F(ResolveTest, ALinksOwnAddressAndItsBroadcastAddressAreNobody) {
  for (const char* nobody :
       {"192.0.2.0", "192.0.2.255", "198.51.100.255", "203.0.113.0", "203.0.113.15"})
    EXPECT_EQ(way_to(nobody), "nowhere") << nobody;
}

TEST_F(ResolveTest, APointToPointLinkHasNoBroadcastAddress) {
  generation.interfaces[2].address = prefix("203.0.113.1", 31);
  set_routes();
  EXPECT_EQ(way_to("203.0.113.0"), "2: 203.0.113.0");
}

TEST_F(ResolveTest, OurOwnAddressesAreNobodyElses) {
  EXPECT_EQ(way_to("192.0.2.1"), "nowhere");
  EXPECT_EQ(way_to("198.51.100.1"), "nowhere");
  EXPECT_EQ(way_to("198.51.100.9"), "nowhere");  // the pool's
}

TEST_F(ResolveTest, AFullTableOfNeighboursIsSaid) {
  for (unsigned i = 0; i < Neighbours::kCapacity; ++i)
    ASSERT_NE(shard->neighbours.find_or_add(*shard, 1, wire::Be32::of(0x0A000000 + i)),
              kNoNeighbour);
  EXPECT_EQ(way_to("8.8.8.8"), "full");
}

class OutputTest : public Workbench {
 protected:
  OutputTest() {
    resolved(0, "192.0.2.7", "02:bb:00:00:00:07");
    resolved(1, "198.51.100.254", kGateway);
    resolved(2, "203.0.113.14", kGateway);
    EXPECT_THAT(sent(0), IsEmpty());
    EXPECT_THAT(sent(1), IsEmpty());
  }

  Neighbour& gateway() {
    return shard->neighbours[resolve(*shard, {wire::Ipv4Address{ip("8.8.8.8")}}, {})->neighbour];
  }
  void set_mtu(std::uint16_t mtu) { gateway().mtu = mtu; }
  static Ip to_internet() { return {.source = "198.51.100.8", .destination = "8.8.8.8"}; }
  static Bytes framed(const Bytes& packet) {
    return ethernet(kGateway, kOutsideMac, 0x0800, packet);
  }

  /// The frames of one datagram's pieces, named alike; as if they had the sender's identification.
  static std::vector<Bytes> with_original_id(std::vector<Bytes> frames) {
    for (Bytes& frame : frames) {
      EXPECT_EQ(part(frame, 18, 2), part(frames.front(), 18, 2)) << "one identification for all";
      EXPECT_EQ(internet_checksum(part(frame, 14, (frame[14] & 15u) * 4u)), 0);
    }
    for (Bytes& frame : frames) rename(frame, 14, 0x1234);
    return frames;
  }

  /// What a receiver makes of pieces: their payloads at their offsets. Fails where they overlap,
  /// leave a hole, or do not agree about the end.
  static Bytes put_together(const std::vector<Bytes>& packets) {
    Bytes payload;
    std::vector<bool> have;
    std::size_t end = 0;
    for (const Bytes& packet : packets) {
      const std::size_t header = (packet[0] & 15u) * 4u;
      const std::size_t offset = (at16(packet, 6) & 0x1FFF) * 8u;
      EXPECT_EQ(internet_checksum(part(packet, 0, header)), 0) << "header checksum";
      EXPECT_EQ(at16(packet, 2), packet.size());
      if (payload.size() < offset + packet.size() - header) {
        payload.resize(offset + packet.size() - header);
        have.resize(payload.size());
      }
      for (std::size_t i = header; i < packet.size(); ++i) {
        EXPECT_FALSE(have[offset + i - header]) << "overlap";
        have[offset + i - header] = true;
        payload[offset + i - header] = packet[i];
      }
      if ((at16(packet, 6) & 0x2000) == 0) {
        EXPECT_EQ(end, 0u) << "two ends";
        end = offset + packet.size() - header;
      } else {
        EXPECT_EQ((packet.size() - header) % 8, 0u);
      }
    }
    EXPECT_EQ(payload.size(), end);
    EXPECT_EQ(std::count(have.begin(), have.end(), false), 0) << "a hole";
    return payload;
  }
};

TEST_F(OutputTest, APacketGetsTheNeighboursLinkHeader) {
  const Bytes packet = to_internet().with(udp(4000, 53, counting(40)));
  send_to("8.8.8.8", packet);
  EXPECT_THAT(sent(1), ElementsAre(framed(packet)));
  EXPECT_EQ(shard->counters.interfaces[1].tx.packets.get(), 1u);
  EXPECT_EQ(shard->counters.interfaces[1].tx.bytes.get(), packet.size());
  EXPECT_EQ(shard->counters.fragments_sent.get(), 0u);
}

TEST_F(OutputTest, InAVlanItGetsTheTag) {
  const Bytes packet = to_internet().with(udp(4000, 53, counting(40)));
  send_to("10.9.1.1", packet);
  EXPECT_THAT(sent(1), ElementsAre(ethernet(kGateway, kOutsideMac, 0x0800, packet, 100)));
  EXPECT_EQ(shard->counters.interfaces[2].tx.packets.get(), 1u);
  EXPECT_EQ(shard->counters.interfaces[1].tx.packets.get(), 0u);
}

TEST_F(OutputTest, TheOldLinkHeaderIsReplacedAndPaddingCutOff) {
  const Bytes packet = to_internet().with(udp(4000, 53, counting(4)));
  for (const unsigned vlan : {0u, 7u}) {
    Bytes frame = ethernet(kInsideMac, "02:bb:00:00:00:07", 0x0800, packet, vlan);
    const auto link = static_cast<std::uint16_t>(frame.size() - packet.size());
    frame.resize(60, 0xEE);
    rte_mbuf* mbuf = buffer(frame);
    send(*shard, mbuf, rte_pktmbuf_mtod_offset(mbuf, wire::Ipv4Header*, link),
         resolve(*shard, {wire::Ipv4Address{ip("8.8.8.8")}}, {})->neighbour);
    EXPECT_THAT(sent(1), ElementsAre(framed(packet))) << vlan;
  }
}

TEST_F(OutputTest, PaddingThatReachesOverSeveralSegmentsIsCutOff) {
  const Bytes packet = to_internet().with(udp(4000, 53, counting(100)));
  for (const std::size_t surplus : {0u, 1u, 31u, 32u, 33u, 200u}) {
    rte_mbuf* mbuf = buffer(packet + Bytes(surplus, 0xEE), 32);
    send(*shard, mbuf, rte_pktmbuf_mtod(mbuf, wire::Ipv4Header*),
         resolve(*shard, {wire::Ipv4Address{ip("8.8.8.8")}}, {})->neighbour);
    ASSERT_EQ(shard->tx[1].count, 1u);
    EXPECT_EQ(shard->tx[1].packets[0]->nb_segs, 4u);
    EXPECT_THAT(sent(1), ElementsAre(framed(packet))) << surplus;
  }
}

TEST_F(OutputTest, WhatADevicesTransmitBufferDoesNotHoldIsDropped) {
  const Bytes packet = to_internet().with(udp(4000, 53, {}));
  for (unsigned i = 0; i < TxBuffer::kCapacity + 3; ++i) send_to("8.8.8.8", packet);
  EXPECT_EQ(dropped(DropReason::kTxFull), 3u);
  EXPECT_THAT(sent(1), SizeIs(TxBuffer::kCapacity));
}

TEST_F(OutputTest, WhenItWasSentTheNeighbourIsInUse) {
  pass(std::chrono::seconds{3});
  send_to("8.8.8.8", to_internet().with(udp(4000, 53, {})));
  EXPECT_EQ(gateway().last_used, shard->now);
  sent(1);
}

TEST_F(OutputTest, TooBigIsWhatIsLargerThanTheMtuAndMustNotBeFragmented) {
  const auto header = [](bool dont_fragment) {
    Bytes bytes =
        Ip{.source = "192.0.2.7", .destination = "8.8.8.8", .dont_fragment = dont_fragment}.with(
            {});
    wire::Ipv4Header view;
    std::memcpy(&view, bytes.data(), sizeof view);
    return view;
  };
  EXPECT_FALSE(too_big(header(true), 1500, gateway()));
  EXPECT_TRUE(too_big(header(true), 1501, gateway()));
  EXPECT_FALSE(too_big(header(false), 1501, gateway()));
}

// ---------------------------------------------------------------- fragments

TEST_F(OutputTest, APacketOfTheMtuIsNotFragmentedAndOneByteMoreIs) {
  const Bytes whole = to_internet().with(counting(1480));
  send_to("8.8.8.8", whole);
  EXPECT_THAT(sent(1), ElementsAre(framed(whole)));

  const Bytes payload = counting(1481);
  send_to("8.8.8.8", to_internet().with(payload));
  Ip first = to_internet(), second = to_internet();
  first.more_fragments = true;
  second.offset = 1480;
  EXPECT_THAT(with_original_id(sent(1)), ElementsAre(framed(first.with(part(payload, 0, 1480))),
                                                     framed(second.with(part(payload, 1480, 1)))));
  EXPECT_EQ(shard->counters.fragments_sent.get(), 2u);
  EXPECT_EQ(shard->counters.interfaces[1].tx.packets.get(), 3u);
}

TEST_F(OutputTest, PiecesAreWholeUnitsOfEightBytes) {
  set_mtu(100);  // 80 bytes of payload
  const Bytes payload = counting(200);
  send_to("8.8.8.8", to_internet().with(payload));
  const std::vector<Bytes> frames = with_original_id(sent(1));
  set_mtu(103);  // as many
  send_to("8.8.8.8", to_internet().with(payload));
  Ip first = to_internet(), second = to_internet(), third = to_internet();
  first.more_fragments = second.more_fragments = true;
  second.offset = 80;
  third.offset = 160;
  const Bytes a = framed(first.with(part(payload, 0, 80)));
  const Bytes b = framed(second.with(part(payload, 80, 80)));
  const Bytes c = framed(third.with(part(payload, 160, 40)));
  EXPECT_THAT(frames, ElementsAre(a, b, c));
  EXPECT_THAT(with_original_id(sent(1)), ElementsAre(a, b, c));
}

TEST_F(OutputTest, AFragmentIsCutFurtherAtItsOwnOffset) {
  set_mtu(100);
  const Bytes payload = counting(160);
  Ip middle = to_internet();
  middle.more_fragments = true;
  middle.offset = 1480;
  Ip last = to_internet();
  last.offset = 1640;
  send_to("8.8.8.8", middle.with(payload));
  send_to("8.8.8.8", last.with(part(payload, 0, 83)));

  Ip a = middle, b = middle, c = last, d = last;
  b.offset = 1560;
  c.more_fragments = true;
  d.offset = 1720;
  EXPECT_THAT(
      sent(1),
      ElementsAre(framed(a.with(part(payload, 0, 80))), framed(b.with(part(payload, 80, 80))),
                  framed(c.with(part(payload, 0, 80))), framed(d.with(part(payload, 80, 3)))));
}

TEST_F(OutputTest, OptionsGoIntoTheFirstPieceAndTheCopiedOnesIntoAll) {
  set_mtu(100);
  Ip whole = to_internet();
  // record route (not copied), no-operation, router alert (copied), stream id (copied), end
  whole.options = hex("07 07 04 00000000 01 94 04 0000 88 04 1234 00 00 00 00");
  const Bytes payload = counting(150);
  send_to("8.8.8.8", whole.with(payload));
  Ip first = whole, second = whole, third = whole;
  first.more_fragments = second.more_fragments = true;
  second.options = third.options = hex("94 04 0000 88 04 1234");
  second.offset = 56;      // (100 - 40) / 8 * 8
  third.offset = 56 + 72;  // (100 - 28) / 8 * 8
  EXPECT_THAT(with_original_id(sent(1)), ElementsAre(framed(first.with(part(payload, 0, 56))),
                                                     framed(second.with(part(payload, 56, 72))),
                                                     framed(third.with(part(payload, 128, 22)))));
}

TEST_F(OutputTest, AnOptionOfOddLengthIsPadded) {
  set_mtu(100);
  Ip whole = to_internet();
  whole.options = hex("83 07 04 01020304 01");  // a loose route of one hop, and padding
  send_to("8.8.8.8", whole.with(counting(100)));
  const auto packets = sent_packets(1);
  ASSERT_THAT(packets, SizeIs(2));
  EXPECT_EQ(packets[1][0], 0x47);
  EXPECT_EQ(part(packets[1], 20, 8), hex("83 07 04 01020304 00"));
  EXPECT_EQ(put_together(packets), counting(100));
}

TEST_F(OutputTest, OptionsThatMakeNoSenseDoNotLeadAstray) {
  set_mtu(100);
  for (const char* options : {"8300 0000", "8301 0000", "83ff 0000", "0707 0483",
                              "8309 0400 0000 0083", "0101 0183", "ffff ffff", "00ff ffff"}) {
    Ip whole = to_internet();
    whole.options = hex(options);
    send_to("8.8.8.8", whole.with(counting(150)));
    EXPECT_EQ(put_together(sent_packets(1)), counting(150)) << options;
  }
}

TEST_F(OutputTest, APacketInManySegmentsIsFragmentedAllTheSame) {
  set_mtu(576);
  const Bytes payload = counting(8972);
  send_to("8.8.8.8", to_internet().with(payload), 333);
  const auto packets = sent_packets(1);
  EXPECT_THAT(packets, SizeIs((8972 + 551) / 552));
  EXPECT_EQ(put_together(packets), payload);
}

TEST_F(OutputTest, AFrameWithPaddingBehindIsFragmentedWithoutIt) {
  set_mtu(100);
  send_to("8.8.8.8", to_internet().with(counting(90)) + Bytes(20, 0xEE));
  EXPECT_EQ(put_together(sent_packets(1)), counting(90));
}

TEST_F(OutputTest, InAVlanFragmentsAreTagged) {
  const Bytes payload = counting(1400);
  send_to("10.9.1.1", to_internet().with(payload));  // MTU 1400
  std::vector<Bytes> frames = sent(1);
  ASSERT_THAT(frames, SizeIs(2));
  for (Bytes& frame : frames) {
    EXPECT_EQ(part(frame, 12, 6), hex("8100 0064 0800"));
    frame.erase(frame.begin(), frame.begin() + 18);
  }
  EXPECT_EQ(put_together(frames), payload);
}

TEST_F(OutputTest, WhatWaitsForItsNextHopIsFragmentedWhenItGoes) {
  const Bytes payload = counting(1600);
  send_to("198.51.100.77", to_internet().with(payload));
  sent(1);
  resolved(1, "198.51.100.77", kGateway);
  EXPECT_EQ(put_together(sent_packets(1)), payload);
}

TEST_F(OutputTest, TheSmallestMtuAndTheLongestHeaderLeaveRoomForOneUnit) {
  set_mtu(68);
  Ip whole = to_internet();
  whole.options = hex("83") + Bytes{39} + Bytes(38, 4);
  const Bytes payload = counting(100);
  send_to("8.8.8.8", whole.with(payload));
  const auto packets = sent_packets(1);
  EXPECT_THAT(packets, SizeIs(13));
  EXPECT_EQ(put_together(packets), payload);
}

TEST_F(OutputTest, WhereABufferIsMissingTheRestOfThePacketIsDropped) {
  std::vector<rte_mbuf*> all(kBuffers - 3);
  ASSERT_EQ(rte_pktmbuf_alloc_bulk(pool_.get(), all.data(), kBuffers - 3), 0);
  set_mtu(100);
  send_to("8.8.8.8", to_internet().with(counting(300)));
  EXPECT_EQ(dropped(DropReason::kNoBuffer), 1u);
  EXPECT_EQ(drops(), 1u);
  EXPECT_THAT(sent(1), SizeIs(::testing::Le(2u)));
  rte_pktmbuf_free_bulk(all.data(), kBuffers - 3);
}

TEST_F(OutputTest, WhateverIsFragmentedCanBePutTogether) {
  std::mt19937 random(4711);
  const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
  for (int i = 0; i < 500; ++i) {
    const auto mtu = static_cast<std::uint16_t>(68 + below(1433));
    set_mtu(mtu);
    Ip whole = to_internet();
    whole.options.resize(below(11) * 4);
    for (auto& byte : whole.options) byte = static_cast<std::uint8_t>(random());
    const Bytes payload = counting(1 + below(4000), below(251));
    send_to("8.8.8.8", whole.with(payload), 200 + below(1800));
    const auto packets = sent_packets(1);
    for (const Bytes& packet : packets) EXPECT_LE(packet.size(), mtu);
    ASSERT_EQ(put_together(packets), payload) << "MTU " << mtu;
  }
}

}  // namespace
}  // namespace lsn::datapath::bench
