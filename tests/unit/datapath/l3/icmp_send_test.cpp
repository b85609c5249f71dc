#include "lsn/datapath/l3/icmp_send.hpp"

#include "lsn/datapath/lsn44/icmp_error.hpp"
#include "unit/datapath/bench.hpp"

namespace lsn::datapath::bench {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class IcmpTest : public Workbench {
 protected:
  IcmpTest() {
    resolved(0, "192.0.2.7", kHost);
    resolved(1, "198.51.100.254", kGateway);
    resolved(2, "203.0.113.14", kGateway);
    generation.unreachable_rate = 5;
  }

  static Bytes from_host(const Bytes& packet) {
    return ethernet(kInsideMac, kHost, 0x0800, packet);
  }
  static Bytes to_host(const Bytes& packet) { return ethernet(kHost, kInsideMac, 0x0800, packet); }
  static Ip ordinary() { return {.source = "192.0.2.7", .destination = "8.8.8.8"}; }

  /// An error about a packet that came on a device.
  void complain(std::uint16_t device, const Bytes& frame, unsigned type, unsigned code,
                unsigned mtu = 0, std::size_t segment = kRoom) {
    const Packet packet = received(device, frame, segment);
    send_icmp_error(*shard, packet, static_cast<std::uint8_t>(type),
                    static_cast<std::uint8_t>(code), static_cast<std::uint16_t>(mtu));
    EXPECT_EQ(bytes_of(packet.mbuf), frame) << "the packet must stay as it is";
    free(packet);
  }

  /// What was sent inside; the identification, which is random, is set to zero in header and
  /// checksum.
  std::vector<Bytes> errors(std::uint16_t device = 0) {
    std::vector<Bytes> frames = sent(device);
    for (Bytes& frame : frames) {
      EXPECT_EQ(internet_checksum(part(frame, 14, 20)), 0);
      frame[18] = frame[19] = frame[24] = frame[25] = 0;
      const Bytes sum = be16(internet_checksum(part(frame, 14, 20)));
      frame[24] = sum[0];
      frame[25] = sum[1];
    }
    return frames;
  }

  static Ip from_us() {
    return {.source = "192.0.2.1", .destination = "192.0.2.7", .protocol = 1, .id = 0, .tos = 0xC0};
  }

  void expect_silence(std::uint16_t device, const Bytes& frame) {
    const std::uint64_t before = shard->counters.icmp_errors_suppressed.get();
    complain(device, frame, 11, 0);
    EXPECT_THAT(sent(0), IsEmpty());
    EXPECT_THAT(sent(1), IsEmpty());
    EXPECT_EQ(shard->counters.icmp_errors_suppressed.get(), before + 1);
    EXPECT_EQ(shard->counters.icmp_errors_sent.get(), 0u);
  }
};

TEST_F(IcmpTest, AnErrorQuotesThePacketAndComesFromTheInterfaceThatItCameIn) {
  const Bytes packet = ordinary().with(udp(4000, 53, counting(40)));
  complain(0, from_host(packet), 11, 0);
  EXPECT_THAT(errors(), ElementsAre(to_host(from_us().with(icmp(11, 0, 0, packet)))));
  EXPECT_THAT(sent(1), IsEmpty());
  EXPECT_EQ(shard->counters.icmp_errors_sent.get(), 1u);
  EXPECT_EQ(shard->counters.icmp_errors_suppressed.get(), 0u);
  EXPECT_EQ(drops(), 0u);
}

TEST_F(IcmpTest, FragmentationNeededTellsTheNextHopsMtu) {
  const Bytes packet = ordinary().with(udp(4000, 53, counting(40)));
  complain(0, from_host(packet), 3, 4, 1400);
  EXPECT_THAT(errors(), ElementsAre(to_host(from_us().with(icmp(3, 4, 1400, packet)))));
}

TEST_F(IcmpTest, AnErrorIsAtMost576BytesLong) {
  for (const std::size_t segment : {std::size_t{kRoom}, std::size_t{100}}) {
    const Bytes packet = ordinary().with(udp(4000, 53, counting(1400)));
    complain(0, from_host(packet), 11, 0, 0, segment);
    const auto frames = errors();
    ASSERT_THAT(frames, SizeIs(1));
    EXPECT_EQ(frames[0], to_host(from_us().with(icmp(11, 0, 0, part(packet, 0, 548)))));
    EXPECT_EQ(frames[0].size(), 14u + 576u);
  }
  // One that just fits is quoted whole.
  const Bytes packet = ordinary().with(udp(4000, 53, counting(520)));
  ASSERT_EQ(packet.size(), 548u);
  complain(0, from_host(packet), 11, 0);
  EXPECT_THAT(errors(), ElementsAre(to_host(from_us().with(icmp(11, 0, 0, packet)))));
}

TEST_F(IcmpTest, PaddingOfTheFrameIsNotQuoted) {
  const Bytes packet = ordinary().with(udp(4000, 53, counting(2)));
  Bytes frame = from_host(packet);
  frame.resize(60, 0xEE);
  complain(0, frame, 11, 0);
  EXPECT_THAT(errors(), ElementsAre(to_host(from_us().with(icmp(11, 0, 0, packet)))));
}

TEST_F(IcmpTest, OptionsAreQuotedToo) {
  Ip with_options = ordinary();
  with_options.options = hex("94 04 0000");
  const Bytes packet = with_options.with(udp(4000, 53, counting(40)));
  complain(0, from_host(packet), 11, 0);
  EXPECT_THAT(errors(), ElementsAre(to_host(from_us().with(icmp(11, 0, 0, packet)))));
}

TEST_F(IcmpTest, OutsideInAVlanTheErrorGoesBackTheSameWay) {
  const Bytes packet =
      Ip{.source = "10.9.3.3", .destination = "198.51.100.9"}.with(udp(53, 4000, counting(40)));
  complain(1, ethernet(kOutsideMac, kGateway, 0x0800, packet, 100), 11, 0);
  std::vector<Bytes> frames = sent(1);
  ASSERT_THAT(frames, SizeIs(1));
  Bytes& frame = frames[0];
  EXPECT_EQ(part(frame, 0, 18),
            mac_bytes(kGateway) + mac_bytes(kOutsideMac) + hex("8100 0064 0800"));
  EXPECT_EQ(part(frame, 18 + 12, 8), be32(ip_number("203.0.113.1")) + be32(ip_number("10.9.3.3")));
  EXPECT_EQ(part(frame, 38, frame.size() - 38), icmp(11, 0, 0, packet));
}

TEST_F(IcmpTest, AnErrorForAHostThatIsNotKnownGoesBackWhereItsFrameCameFrom) {
  const std::uint32_t places = shard->neighbours.places();
  Ip packet = ordinary();
  packet.source = "192.0.2.8";
  const Bytes bytes = packet.with(udp(4000, 53, counting(40)));
  complain(0, ethernet(kInsideMac, "02:cc:00:00:00:09", 0x0800, bytes), 11, 0);
  Ip error = from_us();
  error.destination = "192.0.2.8";
  EXPECT_THAT(errors(), ElementsAre(ethernet("02:cc:00:00:00:09", kInsideMac, 0x0800,
                                             error.with(icmp(11, 0, 0, bytes)))));
  EXPECT_EQ(shard->neighbours.places(), places) << "it is no next hop of anybody";
  // What claims to come from a group goes by ARP.
  complain(0, ethernet(kInsideMac, "03:cc:00:00:00:09", 0x0800, bytes), 11, 0);
  EXPECT_THAT(
      sent(0),
      ElementsAre(
          Arp{kEverybody, kInsideMac, 1, kInsideMac, "192.0.2.1", kNobody, "192.0.2.8"}.frame()));
}

TEST_F(IcmpTest, AnErrorForAGatewayThatIsNotKnownYetWaitsForIt) {
  const Bytes packet =
      Ip{.source = "172.16.1.1", .destination = "8.8.8.8"}.with(udp(4000, 53, counting(40)));
  complain(0, from_host(packet), 11, 0);
  EXPECT_THAT(
      sent(0),
      ElementsAre(
          Arp{kEverybody, kInsideMac, 1, kInsideMac, "192.0.2.1", kNobody, "192.0.2.254"}.frame()));
  resolved(0, "192.0.2.254", kHost);
  EXPECT_THAT(sent(0), SizeIs(1));
}

TEST_F(IcmpTest, NoErrorIsSentAboutAnErrorOrAnUnknownIcmpMessage) {
  Ip packet = ordinary();
  packet.protocol = 1;
  const Bytes quoted = Ip{.source = "8.8.8.8", .destination = "192.0.2.7"}.with(udp(53, 4000, {}));
  for (const unsigned type : {3u, 11u, 12u})
    expect_silence(0, from_host(packet.with(icmp(type, 0, 0, quoted))));
  // These do not pass parse; were they asked about, they had to be silent as well.
  for (const unsigned type : {4u, 5u, 9u, 10u, 40u, 255u}) {
    Packet unknown;
    unknown.mbuf = buffer(from_host(packet.with(icmp(type, 0, 0, quoted))));
    std::uint64_t mark = 0;
    ASSERT_EQ(parse_frame(*shard, 0, unknown.mbuf, unknown, mark), Verdict::next());
    EXPECT_TRUE(parse_ip(unknown, mark, 0).is_drop());
    send_icmp_error(*shard, unknown, 11, 0);
    EXPECT_THAT(sent(0), IsEmpty()) << type;
    free(unknown);
  }
}

TEST_F(IcmpTest, AboutAQueryAnErrorIsSent) {
  Ip packet = ordinary();
  packet.protocol = 1;
  const Bytes echo = packet.with(icmp(8, 0, 0x11112222, counting(10)));
  complain(0, from_host(echo), 11, 0);
  EXPECT_THAT(errors(), ElementsAre(to_host(from_us().with(icmp(11, 0, 0, echo)))));
}

TEST_F(IcmpTest, NoErrorIsSentAboutAFragmentThatIsNotTheFirst) {
  Ip later = ordinary();
  later.offset = 1480;
  expect_silence(0, from_host(later.with(counting(40))));
  Ip first = ordinary();
  first.more_fragments = true;
  complain(0, from_host(first.with(udp(1, 2, counting(40)))), 11, 0);
  EXPECT_THAT(sent(0), SizeIs(1));
}

TEST_F(IcmpTest, NoErrorIsSentToOrAboutWhatIsNoSingleHost) {
  for (const std::string source : {"0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.5", "240.0.0.1",
                                   "255.255.255.255", "192.0.2.255", "192.0.2.0"})
    expect_silence(0, from_host(Ip{.source = source, .destination = "8.8.8.8"}.with(
                          udp(4000, 53, counting(40)))));
  for (const std::string destination : {"224.0.0.5", "255.255.255.255", "192.0.2.255",
                                        "198.51.100.255", "203.0.113.15", "127.0.0.1"})
    expect_silence(0, from_host(Ip{.source = "192.0.2.7", .destination = destination}.with(
                          udp(4000, 53, counting(40)))));
}

TEST_F(IcmpTest, NoErrorIsSentToOneOfOurOwnAddresses) {
  expect_silence(0, from_host(Ip{.source = "192.0.2.1", .destination = "8.8.8.8"}.with(
                        udp(4000, 53, counting(40)))));
  expect_silence(1, ethernet(kOutsideMac, kGateway, 0x0800,
                             Ip{.source = "198.51.100.9", .destination = "198.51.100.8"}.with(
                                 udp(4000, 53, counting(40)))));
}

TEST_F(IcmpTest, NoErrorGoesToTheOtherSideForAForgedSource) {
  expect_silence(0, from_host(Ip{.source = "8.8.8.8", .destination = "9.9.9.9"}.with(
                        udp(4000, 53, counting(40)))));
  expect_silence(1, ethernet(kOutsideMac, kGateway, 0x0800,
                             Ip{.source = "192.0.2.7", .destination = "198.51.100.8"}.with(
                                 udp(4000, 53, counting(40)))));
}

TEST_F(IcmpTest, AnErrorAboutAHairpinnedPacketFindsItsSenderBySessionOnly) {
  Packet packet = received(0, from_host(ordinary().with(udp(4000, 53, counting(40)))));
  packet.hairpin = true;
  lsn44::report_error(*shard, packet, 11, 0);
  EXPECT_THAT(sent(0), IsEmpty());
  EXPECT_EQ(shard->counters.dropped(DropReason::kNotForUs), 1u);  // no NAT address of ours
  free(packet);
}

// What follows is about destination unreachable with the code of the configuration: its rate is
// configured. Ten addresses use it up.

class IcmpRateTest : public IcmpTest {
 protected:
  /// How many of `attempts` errors of that kind go to each of the hosts 192.0.2.100 and so on.
  std::size_t sent_of(unsigned hosts, unsigned attempts, unsigned type = 3, unsigned code = 13,
                      unsigned mtu = 0) {
    std::size_t total = 0;
    for (unsigned host = 0; host < hosts; ++host) {
      Ip packet = ordinary();
      packet.source = "192.0.2." + std::to_string(100 + host);
      const Bytes frame = from_host(packet.with(udp(4000, 53, {})));
      for (unsigned i = 0; i < attempts; ++i) complain(0, frame, type, code, mtu);
      total += sent(0).size();
    }
    return total;
  }
};

TEST_F(IcmpRateTest, NotMoreThanTheConfiguredNumberIsSentInASecond) {
  EXPECT_EQ(sent_of(20, 2), 5u);  // a second's worth at once, from the start
  EXPECT_EQ(shard->counters.icmp_errors_sent.get(), 5u);
  EXPECT_EQ(shard->counters.icmp_errors_suppressed.get(), 35u);
  EXPECT_EQ(drops(), 0u);
  pass(state::TickDuration{19});
  EXPECT_EQ(sent_of(20, 1), 0u);
  pass(state::TickDuration{1});  // a fifth of a second
  EXPECT_EQ(sent_of(20, 1), 1u);
  pass(seconds(1000));
  EXPECT_EQ(sent_of(20, 2), 5u);
}

TEST_F(IcmpRateTest, TheRateIsKeptWhateverTheRhythm) {
  for (const unsigned rate : {1u, 3u, 99u, 100u, 101u, 150u, 199u, 1000u}) {
    generation.unreachable_rate = rate;
    pass(seconds(2));
    std::size_t total = 0;
    for (int tick = 0; tick <= 1000; ++tick) {  // ten seconds
      total += sent_of(20, rate / 500 + 1);
      if (tick != 1000) pass(state::TickDuration{1});
    }
    // What was saved up, then what is due.
    EXPECT_LE(total, rate * 11) << rate;
    EXPECT_GE(total, rate * 10) << rate;
  }
}

TEST_F(IcmpRateTest, OneAddressGetsATenthOfItInASecond) {
  generation.unreachable_rate = 100;
  EXPECT_EQ(sent_of(1, 50), 10u);
  EXPECT_EQ(sent_of(5, 50), 40u) << "the others have lost nothing";
  pass(state::TickDuration{99});
  EXPECT_EQ(sent_of(1, 50), 0u);
  pass(state::TickDuration{1});
  EXPECT_EQ(sent_of(1, 50), 10u);
  // At least one, however low the rate.
  generation.unreachable_rate = 1;
  pass(seconds(2));
  EXPECT_EQ(sent_of(1, 50), 1u);
}

TEST_F(IcmpRateTest, EachKindHasARateOfItsOwn) {
  generation.unreachable_rate = 20;
  EXPECT_EQ(sent_of(1, 50), 2u);
  EXPECT_EQ(sent_of(1, 50, 11, 0), 50u);
  EXPECT_EQ(sent_of(1, 50, 3, 4, 1400), 50u);
  EXPECT_EQ(sent_of(1, 500, 11, 0), 50u) << "a tenth of 1,000";
  EXPECT_EQ(sent_of(1, 500, 3, 4, 1400), 50u);
}

TEST_F(IcmpRateTest, RateZero_SuppressesUnreachablesOfRefusalsOnly) {
  generation.unreachable_rate = 0;
  EXPECT_EQ(sent_of(3, 3), 0u);
  pass(seconds(100));
  EXPECT_EQ(sent_of(3, 3), 0u);
  EXPECT_EQ(sent_of(1, 3, 3, 4, 1400), 3u);
  EXPECT_EQ(sent_of(1, 3, 11, 0), 3u);
}

TEST_F(IcmpTest, WithoutABufferNoErrorIsSentAndThatIsCounted) {
  const Packet packet = received(0, from_host(ordinary().with(udp(4000, 53, counting(40)))));
  std::vector<rte_mbuf*> all(kBuffers - 1);
  ASSERT_EQ(rte_pktmbuf_alloc_bulk(pool_.get(), all.data(), kBuffers - 1), 0);
  send_icmp_error(*shard, packet, 11, 0);
  EXPECT_EQ(dropped(DropReason::kNoBuffer), 1u);
  EXPECT_EQ(shard->counters.icmp_errors_sent.get(), 0u);
  rte_pktmbuf_free_bulk(all.data(), kBuffers - 1);
  free(packet);
}

// ---------------------------------------------------------------- echo

class EchoTest : public IcmpTest {
 protected:
  /// What comes for us; frees what is not taken.
  Verdict deliver(std::uint16_t device, const Bytes& frame, std::size_t segment = kRoom) {
    Packet packet = received(device, frame, segment);
    const Verdict verdict = deliver_locally(*shard, packet);
    if (verdict.is_drop()) free(packet);
    return verdict;
  }
  static Ip request() {
    return {.source = "192.0.2.7", .destination = "192.0.2.1", .protocol = 1, .ttl = 3};
  }
  static Ip reply() {
    return {.source = "192.0.2.1", .destination = "192.0.2.7", .protocol = 1, .ttl = 64};
  }
};

TEST_F(EchoTest, AnEchoRequestIsAnswered) {
  EXPECT_EQ(deliver(0, from_host(request().with(icmp(8, 0, 0xBEEF0001, counting(56))))),
            Verdict::consumed());
  EXPECT_THAT(sent(0), ElementsAre(to_host(reply().with(icmp(0, 0, 0xBEEF0001, counting(56))))));
  EXPECT_EQ(shard->counters.echo_replies.get(), 1u);
  EXPECT_EQ(shard->counters.consumed.get(), 1u);
  EXPECT_EQ(drops(), 0u);
}

TEST_F(EchoTest, WhateverItsPayloadTheAnswersChecksumIsRight) {
  for (std::size_t size = 0; size < 20; ++size) {
    for (const std::uint8_t fill : {std::uint8_t{0}, std::uint8_t{0x55}, std::uint8_t{0xFF}}) {
      const Bytes payload(size, fill);
      for (const std::uint32_t rest : {0u, 0xFFFFFFFFu, 0xF7FF0000u, 0xF7FE0001u}) {
        EXPECT_EQ(deliver(0, from_host(request().with(icmp(8, 0, rest, payload)))),
                  Verdict::consumed());
        const auto packets = sent_packets(0);
        ASSERT_THAT(packets, SizeIs(1));
        Bytes message = part(packets[0], 20, packets[0].size() - 20);
        EXPECT_EQ(internet_checksum(message), 0);
        message[2] = message[3] = 0;
        EXPECT_EQ(message, Bytes(4, 0) + be32(rest) + payload);
      }
    }
  }
}

TEST_F(EchoTest, OneForTheOutsideAddressFromOutsideToo) {
  const Ip in{.source = "8.8.8.8", .destination = "198.51.100.1", .protocol = 1};
  const Ip out{.source = "198.51.100.1", .destination = "8.8.8.8", .protocol = 1};
  EXPECT_EQ(deliver(1, ethernet(kOutsideMac, kGateway, 0x0800,
                                in.with(icmp(8, 0, 0x00010002, counting(30))))),
            Verdict::consumed());
  EXPECT_THAT(sent(1), ElementsAre(ethernet(kGateway, kOutsideMac, 0x0800,
                                            out.with(icmp(0, 0, 0x00010002, counting(30))))));
}

TEST_F(EchoTest, OneForAnotherInterfacesAddressIsAnsweredFromThatAddress) {
  Ip in = request(), out = reply();
  in.destination = out.source = "198.51.100.1";
  deliver(0, from_host(in.with(icmp(8, 0, 7, counting(30)))));
  EXPECT_THAT(sent(0), ElementsAre(to_host(out.with(icmp(0, 0, 7, counting(30))))));
}

TEST_F(EchoTest, PaddingIsNotSentBack) {
  Bytes frame = from_host(request().with(icmp(8, 0, 7, {})));
  frame.resize(60, 0xEE);
  EXPECT_EQ(deliver(0, frame), Verdict::consumed());
  EXPECT_THAT(sent(0), ElementsAre(to_host(reply().with(icmp(0, 0, 7, {})))));
}

TEST_F(EchoTest, OneInManySegmentsIsAnswered) {
  generation.interfaces[0].mtu = 9000;
  make_shard(64);
  resolved(0, "192.0.2.7", kHost);
  const Bytes payload = counting(8972);
  EXPECT_EQ(deliver(0, from_host(request().with(icmp(8, 0, 7, payload))), 999),
            Verdict::consumed());
  EXPECT_THAT(sent(0), ElementsAre(to_host(reply().with(icmp(0, 0, 7, payload)))));
}

TEST_F(EchoTest, AnAnswerThatIsLargerThanTheMtuGoesInFragmentsEvenIfTheRequestForbadeThem) {
  Ip in = request();
  in.dont_fragment = true;
  EXPECT_EQ(deliver(0, from_host(in.with(icmp(8, 0, 7, counting(1600)))), 500),
            Verdict::consumed());
  const Bytes message = icmp(0, 0, 7, counting(1600));
  Ip first = reply(), second = reply();
  first.more_fragments = true;
  second.offset = 1480;
  std::vector<Bytes> frames = sent(0);
  for (Bytes& frame : frames) rename(frame, 14, reply().id);
  EXPECT_THAT(frames,
              ElementsAre(to_host(first.with(part(message, 0, 1480))),
                          to_host(second.with(part(message, 1480, message.size() - 1480)))));
}

TEST_F(EchoTest, OneWithAWrongChecksumIsDropped) {
  Bytes packet = request().with(icmp(8, 0, 7, counting(56)));
  packet[30] ^= 0x10;
  EXPECT_EQ(deliver(0, from_host(packet)), Verdict::drop(DropReason::kL4Malformed));
  EXPECT_THAT(sent(0), IsEmpty());
  EXPECT_EQ(shard->counters.echo_replies.get(), 0u);
}

TEST_F(EchoTest, WhatElseIsForUsIsDropped) {
  Ip packet = request();
  const auto not_for_us = Verdict::drop(DropReason::kNotForUs);
  const auto no_listener = Verdict::drop(DropReason::kNoListener);
  EXPECT_EQ(deliver(0, from_host(packet.with(icmp(0, 0, 7, counting(8))))), not_for_us);
  EXPECT_EQ(deliver(0, from_host(packet.with(icmp(13, 0, 7, counting(12))))), not_for_us);
  EXPECT_EQ(deliver(0, from_host(packet.with(icmp(3, 3, 0, counting(28))))), not_for_us);
  EXPECT_THAT(sent(0), IsEmpty());
  packet.protocol = 17;
  EXPECT_EQ(deliver(0, from_host(packet.with(udp(4000, 53, counting(40))))), no_listener);
  EXPECT_THAT(sent(0), SizeIs(1));
  packet.protocol = 6;
  const auto spoiled = Verdict::drop(DropReason::kL4Malformed);
  EXPECT_EQ(deliver(0, from_host(packet.with(tcp(4000, 22, 2, {})))), spoiled);
  EXPECT_THAT(sent(0), IsEmpty());
}

TEST_F(EchoTest, AForgedSourceIsNotAnswered) {
  const auto from = [&](const std::string& source) {
    Ip packet = request();
    packet.source = source;
    return deliver(0, from_host(packet.with(icmp(8, 0, 7, counting(8)))));
  };
  for (const char* nobody : {"0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"})
    EXPECT_EQ(from(nobody), Verdict::drop(DropReason::kIpSourceInvalid)) << nobody;
  EXPECT_EQ(from("192.0.2.1"), Verdict::drop(DropReason::kSpoofedNatSource));
  EXPECT_EQ(from("198.51.100.1"), Verdict::drop(DropReason::kSpoofedNatSource));
  EXPECT_EQ(from("100.64.7.1"), Verdict::drop(DropReason::kSpoofedNatSource));
  EXPECT_EQ(from("192.0.2.255"), Verdict::drop(DropReason::kNoRoute));
  EXPECT_EQ(from("8.8.8.8"), Verdict::drop(DropReason::kNoRoute));  // is routed outside
  EXPECT_THAT(sent(0), IsEmpty());
  EXPECT_THAT(sent(1), IsEmpty());
}

TEST_F(EchoTest, WithoutRoomForTheGatewayTheRequestIsDropped) {
  for (unsigned i = 0; i < Neighbours::kCapacity; ++i)
    (void)shard->neighbours.find_or_add(*shard, 1, wire::Be32::of(0x0A000000 + i));
  Ip packet = request();
  packet.source = "172.16.1.1";
  EXPECT_EQ(deliver(0, from_host(packet.with(icmp(8, 0, 7, counting(8))))),
            Verdict::drop(DropReason::kNeighbourTableFull));
}

TEST_F(EchoTest, ForgedSourcesOfAnotherLinkTakeFewPlaces) {
  // They came in untagged; the network of their source is behind the tag.
  generation.interfaces[2].address = prefix("203.0.0.1", 16);
  set_routes();
  const std::uint32_t before = shard->neighbours.places();
  unsigned refused = 0;
  for (unsigned i = 0; i < 2000; ++i) {
    Ip packet = request();
    packet.source = "203.0." + std::to_string(i / 250 + 1) + "." + std::to_string(i % 250 + 1);
    packet.destination = "198.51.100.1";
    const Verdict verdict = deliver(
        1, ethernet(kOutsideMac, kGateway, 0x0800, packet.with(icmp(8, 0, 7, counting(8)))));
    refused += verdict == Verdict::drop(DropReason::kNeighbourTableFull) ? 1 : 0;
    for (std::uint16_t device = 0; device < 2; ++device) sent(device);
  }
  EXPECT_LE(shard->neighbours.places() - before, Neighbours::kIncompleteForAnswers);
  EXPECT_GE(refused, 2000 - Neighbours::kIncompleteForAnswers);
}

// ---------------------------------------------------------------- echo requests in fragments

class FragmentedEchoTest : public EchoTest {
 protected:
  /// The pieces of a request of 100 bytes that begin at 0, 40 and 80, as a frame.
  static Bytes piece(const Bytes& message, unsigned offset, Ip header) {
    const std::size_t size = std::min<std::size_t>(40, message.size() - offset);
    header.offset = offset;
    header.more_fragments = offset + size < message.size();
    return header.with(part(message, offset, size));
  }
  const Bytes asked = icmp(8, 0, 0x00070001, counting(92));
  const Bytes answered = icmp(0, 0, 0x00070001, counting(92));

  Bytes request_piece(unsigned offset) { return from_host(piece(asked, offset, request())); }
  Bytes reply_piece(unsigned offset) { return to_host(piece(answered, offset, reply())); }
};

TEST_F(FragmentedEchoTest, IsAnsweredFragmentByFragment) {
  for (const unsigned offset : {0u, 40u, 80u})
    EXPECT_EQ(deliver(0, request_piece(offset)), Verdict::consumed());
  EXPECT_THAT(sent(0), ElementsAre(reply_piece(0), reply_piece(40), reply_piece(80)));
  EXPECT_EQ(shard->counters.echo_replies.get(), 1u);
  EXPECT_EQ(shard->counters.consumed.get(), 1u);
  EXPECT_EQ(shard->counters.fragments_received.get(), 3u);
  EXPECT_EQ(shard->counters.fragments_waiting.get(), 0u);
}

TEST_F(FragmentedEchoTest, InAnyOrder) {
  EXPECT_EQ(deliver(0, request_piece(80)), Verdict::consumed());
  EXPECT_EQ(deliver(0, request_piece(40)), Verdict::consumed());
  EXPECT_THAT(sent(0), IsEmpty());
  EXPECT_EQ(shard->counters.fragments_waiting.get(), 1u);
  EXPECT_EQ(deliver(0, request_piece(0)), Verdict::consumed());
  EXPECT_THAT(sent(0), ElementsAre(reply_piece(0), reply_piece(80), reply_piece(40)));
  EXPECT_EQ(shard->counters.fragments_waiting.get(), 0u);
}

TEST_F(FragmentedEchoTest, IsNotAnsweredIfItIsNoEchoRequest) {
  const Bytes other = icmp(13, 0, 0x00070001, counting(92));
  EXPECT_EQ(deliver(0, from_host(piece(other, 40, request()))), Verdict::consumed());  // waits
  EXPECT_EQ(deliver(0, from_host(piece(other, 0, request()))),
            Verdict::drop(DropReason::kNotForUs));
  live(seconds(3));
  EXPECT_EQ(dropped(DropReason::kFragmentTimeout), 1u);
  Ip datagram = request();
  datagram.protocol = 17;
  EXPECT_EQ(deliver(0, from_host(piece(udp(1, 2, counting(80)), 40, datagram))),
            Verdict::drop(DropReason::kNoListener));
  EXPECT_THAT(sent(0), IsEmpty());
}

TEST_F(FragmentedEchoTest, IsRefusedWhereFragmentsOverlap) {
  EXPECT_EQ(deliver(0, request_piece(0)), Verdict::consumed());
  EXPECT_THAT(sent(0), SizeIs(1));
  EXPECT_EQ(deliver(0, request_piece(0)), Verdict::drop(DropReason::kFragmentOverlap));
  EXPECT_EQ(deliver(0, request_piece(40)), Verdict::drop(DropReason::kFragmentOverlap));
  EXPECT_THAT(sent(0), IsEmpty());
}

TEST_F(FragmentedEchoTest, WithoutAWayBackAllItsPiecesAreDropped) {
  Ip forged = request();
  forged.source = "8.8.8.8";
  EXPECT_EQ(deliver(0, from_host(piece(asked, 40, forged))), Verdict::consumed());  // waits
  EXPECT_EQ(deliver(0, from_host(piece(asked, 0, forged))), Verdict::drop(DropReason::kNoRoute));
  EXPECT_EQ(dropped(DropReason::kNoRoute), 1u);  // the one that waited
  EXPECT_EQ(deliver(0, from_host(piece(asked, 80, forged))), Verdict::drop(DropReason::kNoRoute));
  EXPECT_THAT(sent(1), IsEmpty());
}

}  // namespace
}  // namespace lsn::datapath::bench
