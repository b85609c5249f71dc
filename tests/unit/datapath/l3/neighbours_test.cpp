#include "lsn/datapath/l3/neighbours.hpp"

#include <set>

#include "unit/datapath/bench.hpp"

namespace lsn::datapath::bench {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

Bytes datagram(const std::string& destination, unsigned number) {
  return Ip{.source = "198.51.100.8", .destination = destination, .id = number}.with(
      udp(4000, 53, counting(40, number)));
}

class NeighboursTest : public Workbench {
 protected:
  /// What interface 1 asks with.
  static Bytes request_for(const std::string& ip_text, const std::string& to = kEverybody) {
    return Arp{to, kOutsideMac, 1, kOutsideMac, "198.51.100.1", kNobody, ip_text}.frame();
  }
  NeighbourId id_of(const std::string& destination) {
    return resolve(*shard, {wire::Ipv4Address{ip(destination)}}, {})->neighbour;
  }
  NeighbourState state_of(const std::string& destination) {
    return shard->neighbours[id_of(destination)].state;
  }
};

TEST_F(NeighboursTest, AskEverybodyOnTheLinkForANextHopThatIsNotKnown) {
  send_to("8.8.8.8", datagram("8.8.8.8", 1));
  EXPECT_THAT(sent(1), ElementsAre(hex("ffffffffffff 020000000002 0806"
                                       "0001 0800 06 04 0001"
                                       "020000000002 c6336401 000000000000 c63364fe") +
                                   Bytes(18, 0)));
  EXPECT_THAT(sent(0), IsEmpty());
  EXPECT_EQ(shard->counters.arp_requests_sent.get(), 1u);
  EXPECT_EQ(drops(), 0u);
}

TEST_F(NeighboursTest, PacketsThatWaitedGoOutInTheirOrderOnceTheAnswerCame) {
  for (unsigned i = 1; i <= 5; ++i) send_to("8.8.8.8", datagram("8.8.8.8", i));
  EXPECT_THAT(sent(1), ElementsAre(request_for("198.51.100.254")));
  resolved(1, "198.51.100.254", kGateway);
  std::vector<Bytes> expected;
  for (unsigned i = 1; i <= 5; ++i)
    expected.push_back(ethernet(kGateway, kOutsideMac, 0x0800, datagram("8.8.8.8", i)));
  EXPECT_EQ(sent(1), expected);
  EXPECT_EQ(shard->counters.arp_replies_received.get(), 1u);
  EXPECT_EQ(shard->counters.neighbours.get(), 1u);
  EXPECT_EQ(shard->neighbours.size(), 1u);

  send_to("8.8.8.8", datagram("8.8.8.8", 6));
  EXPECT_THAT(sent(1),
              ElementsAre(ethernet(kGateway, kOutsideMac, 0x0800, datagram("8.8.8.8", 6))));
}

TEST_F(NeighboursTest, InAVlanRequestsAndPacketsAreTagged) {
  send_to("203.0.113.5", datagram("203.0.113.5", 1));
  EXPECT_THAT(sent(1), ElementsAre(hex("ffffffffffff 020000000002 8100 0064 0806"
                                       "0001 0800 06 04 0001"
                                       "020000000002 cb007101 000000000000 cb007105") +
                                   Bytes(14, 0)));
  resolved(2, "203.0.113.5", kHost);
  EXPECT_THAT(sent(1),
              ElementsAre(ethernet(kHost, kOutsideMac, 0x0800, datagram("203.0.113.5", 1), 100)));
}

TEST_F(NeighboursTest, OneAddressOnTwoInterfacesIsTwoNeighbours) {
  const NeighbourId one = shard->neighbours.find_or_add(*shard, 1, ip("198.51.100.7"));
  const NeighbourId other = shard->neighbours.find_or_add(*shard, 2, ip("198.51.100.7"));
  EXPECT_NE(one, other);
  EXPECT_EQ(shard->neighbours.find_or_add(*shard, 1, ip("198.51.100.7")), one);
}

TEST_F(NeighboursTest, ARequestIsRepeatedOnceASecondAndGivenUpAfterThree) {
  send_to("8.8.8.8", datagram("8.8.8.8", 1));
  send_to("8.8.8.8", datagram("8.8.8.8", 2));
  EXPECT_THAT(sent(1), SizeIs(1));
  live(seconds(1));
  EXPECT_THAT(sent(1), ElementsAre(request_for("198.51.100.254")));
  live(seconds(1));
  EXPECT_THAT(sent(1), ElementsAre(request_for("198.51.100.254")));
  EXPECT_EQ(drops(), 0u);
  live(seconds(1));
  EXPECT_THAT(sent(1), IsEmpty());
  EXPECT_EQ(dropped(DropReason::kNeighbourUnresolved), 2u);
  EXPECT_EQ(drops(), 2u);
  live(seconds(5));
  EXPECT_THAT(sent(1), IsEmpty());

  // The next packet begins anew.
  send_to("8.8.8.8", datagram("8.8.8.8", 3));
  EXPECT_THAT(sent(1), ElementsAre(request_for("198.51.100.254")));
  resolved(1, "198.51.100.254", kGateway);
  EXPECT_THAT(sent(1),
              ElementsAre(ethernet(kGateway, kOutsideMac, 0x0800, datagram("8.8.8.8", 3))));
}

TEST_F(NeighboursTest, NoMorePacketsThanADatagramHasFragmentsWaitForOneNextHop) {
  for (unsigned i = 1; i <= 50; ++i) send_to("8.8.8.8", datagram("8.8.8.8", i));
  EXPECT_EQ(dropped(DropReason::kNeighbourQueueFull), 2u);
  sent(1);
  resolved(1, "198.51.100.254", kGateway);
  const auto frames = sent(1);
  ASSERT_THAT(frames, SizeIs(48));
  EXPECT_EQ(frames.back(), ethernet(kGateway, kOutsideMac, 0x0800, datagram("8.8.8.8", 48)));
}

TEST_F(NeighboursTest, WhereNobodyMayWaitAnyMoreTheNextHopIsAskedForAllTheSame) {
  generation.interfaces[1].address = prefix("198.51.0.1", 16);
  set_routes();
  unsigned last = 0;
  while (dropped(DropReason::kNeighbourQueueFull) == 0) {
    const std::string to =
        "198.51." + std::to_string(last / 250) + "." + std::to_string(last % 250 + 2);
    send_to(to, datagram(to, last));
    ASSERT_THAT(sent(1), SizeIs(1)) << to;  // each of them, the last one as well
    ++last;
  }
  EXPECT_EQ(last, Neighbours::kWaitingRoom + 1);
}

TEST_F(NeighboursTest, AFullTableTakesNoMore) {
  for (unsigned i = 0; i < Neighbours::kCapacity; ++i)
    ASSERT_NE(shard->neighbours.find_or_add(*shard, 1, wire::Be32::of(0x0A000000 + i)),
              kNoNeighbour);
  EXPECT_EQ(shard->neighbours.find_or_add(*shard, 1, ip("10.200.0.1")), kNoNeighbour);
  EXPECT_EQ(shard->neighbours.find_or_add(*shard, 1, ip("10.0.0.1")), 1);
}

// ---------------------------------------------------------------- answering

TEST_F(NeighboursTest, WhoAsksForTheInterfacesAddressIsAnswered) {
  EXPECT_EQ(arp(0, {kEverybody, kHost, 1, kHost, "192.0.2.7", kNobody, "192.0.2.1"}),
            Verdict::consumed());
  EXPECT_THAT(sent(0), ElementsAre(hex("02bb00000007 020000000001 0806"
                                       "0001 0800 06 04 0002"
                                       "020000000001 c0000201 02bb00000007 c0000207") +
                                   Bytes(18, 0)));
  EXPECT_EQ(shard->counters.arp_requests_received.get(), 1u);
  EXPECT_EQ(shard->counters.arp_replies_sent.get(), 1u);
}

TEST_F(NeighboursTest, InAVlanAnswersAreTagged) {
  arp(2, {kEverybody, kHost, 1, kHost, "203.0.113.7", kNobody, "203.0.113.1"});
  EXPECT_THAT(sent(1), ElementsAre(Arp{kHost, kOutsideMac, 2, kOutsideMac, "203.0.113.1", kHost,
                                       "203.0.113.7", 100}
                                       .frame()));
}

TEST_F(NeighboursTest, APoolAddressInTheOutsideInterfacesNetworkIsAnsweredFor) {
  arp(1, {kEverybody, kHost, 1, kHost, "198.51.100.7", kNobody, "198.51.100.9"});
  EXPECT_THAT(
      sent(1),
      ElementsAre(
          Arp{kHost, kOutsideMac, 2, kOutsideMac, "198.51.100.9", kHost, "198.51.100.7"}.frame()));
}

TEST_F(NeighboursTest, NobodyElsesAddressIsAnsweredFor) {
  const auto ask = [&](InterfaceId interface, const std::string& sender,
                       const std::string& target) {
    EXPECT_EQ(arp(interface, {kEverybody, kHost, 1, kHost, sender, kNobody, target}),
              Verdict::consumed());
    EXPECT_THAT(sent(0), IsEmpty()) << target;
    EXPECT_THAT(sent(1), IsEmpty()) << target;
  };
  ask(1, "198.51.100.7", "198.51.100.11");  // behind the pool's end
  ask(1, "198.51.100.7", "100.64.7.1");     // a pool's address, routed to us
  ask(1, "198.51.100.7", "192.0.2.1");      // ours on another link
  ask(2, "203.0.113.7", "198.51.100.9");    // a pool's address of another link
  ask(0, "192.0.2.7", "198.51.100.9");      // ... asked for inside
  ask(0, "192.0.2.7", "192.0.2.8");
  EXPECT_EQ(shard->counters.arp_replies_sent.get(), 0u);
  EXPECT_EQ(shard->counters.arp_requests_received.get(), 6u);
  EXPECT_EQ(shard->neighbours.size(), 0u);
}

TEST_F(NeighboursTest, APoolAddressWithinTheInsideNetworkIsNotAnsweredForThere) {
  set_pool({{address("192.0.2.200"), address("192.0.2.200")}});
  arp(0, {kEverybody, kHost, 1, kHost, "192.0.2.7", kNobody, "192.0.2.200"});
  EXPECT_THAT(sent(0), IsEmpty());
}

TEST_F(NeighboursTest, WhoAsksWhetherOurAddressIsFreeIsAnsweredAndNotLearned) {
  arp(0, {kEverybody, kHost, 1, kHost, "0.0.0.0", kNobody, "192.0.2.1"});
  EXPECT_THAT(
      sent(0),
      ElementsAre(Arp{kHost, kInsideMac, 2, kInsideMac, "192.0.2.1", kHost, "0.0.0.0"}.frame()));
  EXPECT_EQ(shard->neighbours.size(), 0u);
  EXPECT_EQ(drops(), 0u);
}

TEST_F(NeighboursTest, ACopyFromAnotherWorkerIsLearnedFromAndNeitherAnsweredNorCounted) {
  EXPECT_EQ(arp(0, {kEverybody, kHost, 1, kHost, "192.0.2.7", kNobody, "192.0.2.1"},
                Neighbours::Answer::kNo),
            Verdict::consumed());
  EXPECT_THAT(sent(0), IsEmpty());
  EXPECT_EQ(shard->counters.arp_requests_received.get(), 0u);
  EXPECT_EQ(state_of("192.0.2.7"), NeighbourState::kReachable);
}

// ---------------------------------------------------------------- learning

TEST_F(NeighboursTest, WhoAsksForUsNeedNotBeAsked) {
  arp(0, {kEverybody, kHost, 1, kHost, "192.0.2.7", kNobody, "192.0.2.1"});
  sent(0);
  send_to("192.0.2.7", datagram("192.0.2.7", 1));
  EXPECT_THAT(sent(0), ElementsAre(ethernet(kHost, kInsideMac, 0x0800, datagram("192.0.2.7", 1))));
}

TEST_F(NeighboursTest, WhoSpeaksToOthersIsNotLearned) {
  arp(0, {kEverybody, kHost, 1, kHost, "192.0.2.7", kNobody, "192.0.2.8"});
  arp(0, {kEverybody, kHost, 1, kHost, "192.0.2.7", kNobody, "192.0.2.7"});
  EXPECT_EQ(shard->neighbours.size(), 0u);
}

TEST_F(NeighboursTest, AKnownNeighbourThatSpeaksToOthersUnderANewHardwareAddressIsFollowed) {
  resolved(1, "198.51.100.254", kGateway);
  arp(1, {kEverybody, kHost, 1, kHost, "198.51.100.254", kNobody, "198.51.100.254"});
  send_to("8.8.8.8", datagram("8.8.8.8", 1));
  EXPECT_THAT(sent(1), ElementsAre(ethernet(kHost, kOutsideMac, 0x0800, datagram("8.8.8.8", 1))));
  EXPECT_EQ(shard->neighbours.size(), 1u);
}

TEST_F(NeighboursTest, ASenderThatIsNoStationIsRefused) {
  for (const std::string mac : {"ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "00:00:00:00:00:00"})
    EXPECT_EQ(arp(0, {kInsideMac, kHost, 2, mac, "192.0.2.7", kInsideMac, "192.0.2.1"}),
              Verdict::drop(DropReason::kArpMalformed))
        << mac;
  EXPECT_EQ(shard->neighbours.size(), 0u);
}

TEST_F(NeighboursTest, ASenderThatClaimsAnAddressOfOursIsRefusedAndNotAnswered) {
  const auto refused = Verdict::drop(DropReason::kArpMalformed);
  EXPECT_EQ(arp(0, {kInsideMac, kHost, 2, kHost, "192.0.2.1", kInsideMac, "192.0.2.1"}), refused);
  EXPECT_EQ(arp(1, {kEverybody, kHost, 1, kHost, "198.51.100.1", kNobody, "198.51.100.1"}),
            refused);
  EXPECT_EQ(arp(1, {kEverybody, kHost, 1, kHost, "198.51.100.9", kNobody, "198.51.100.1"}),
            refused);
  EXPECT_THAT(sent(1), IsEmpty());
  EXPECT_EQ(shard->neighbours.size(), 0u);
}

TEST_F(NeighboursTest, OurOwnHardwareAddressIsNobodyElses) {
  EXPECT_EQ(arp(0, {kInsideMac, kInsideMac, 2, kInsideMac, "192.0.2.7", kInsideMac, "192.0.2.1"}),
            Verdict::drop(DropReason::kArpMalformed));
  EXPECT_EQ(shard->neighbours.size(), 0u);
}

TEST_F(NeighboursTest, OurOwnAnnouncementThatComesBackIsNoFault) {
  EXPECT_EQ(arp(0, {kEverybody, kInsideMac, 1, kInsideMac, "192.0.2.1", kNobody, "192.0.2.1"}),
            Verdict::consumed());
  EXPECT_THAT(sent(0), IsEmpty());
  EXPECT_EQ(shard->neighbours.size(), 0u);
}

TEST_F(NeighboursTest, SendersOfOtherNetworksAndNoHostsAreNotLearned) {
  for (const std::string sender :
       {"192.0.3.7", "8.8.8.8", "192.0.2.0", "192.0.2.255", "224.0.0.1", "127.0.0.1"})
    arp(0, {kEverybody, kHost, 1, kHost, sender, kNobody, "192.0.2.1"});
  EXPECT_EQ(shard->neighbours.size(), 0u);
}

TEST_F(NeighboursTest, WhatIsNeitherRequestNorReplyIsRefused) {
  EXPECT_EQ(arp(0, {kEverybody, kHost, 3, kHost, "192.0.2.7", kNobody, "192.0.2.1"}),
            Verdict::drop(DropReason::kArpMalformed));
  EXPECT_EQ(shard->neighbours.size(), 0u);
}

TEST_F(NeighboursTest, ForgedSendersFillNoMoreThanHalfOfTheTable) {
  generation.interfaces[0].address = prefix("10.0.0.1", 8);
  const auto speak = [&](unsigned i) {
    const std::string sender = wire::to_string(wire::Ipv4Address{0x0A010000u + i});
    arp(0, {kEverybody, kHost, 1, kHost, sender, kNobody, "10.0.0.1"});
    sent(0);
  };
  for (unsigned i = 1; i <= Neighbours::kCapacity; ++i) speak(i);
  EXPECT_EQ(shard->neighbours.size(), Neighbours::kCapacity / 2);
  EXPECT_NE(shard->neighbours.find_or_add(*shard, 1, ip("198.51.100.254")), kNoNeighbour);
}

// ---------------------------------------------------------------- ageing

TEST_F(NeighboursTest, OneInUseIsAskedAgainDirectlyAndAtLastByBroadcastWhilePacketsGoOn) {
  resolved(1, "198.51.100.254", kGateway);
  const Bytes packet = ethernet(kGateway, kOutsideMac, 0x0800, datagram("8.8.8.8", 1));
  for (int i = 0; i < 29; ++i) {
    live(seconds(1));
    send_to("8.8.8.8", datagram("8.8.8.8", 1));
  }
  EXPECT_THAT(sent(1), ::testing::Each(packet));
  live(seconds(1));
  EXPECT_THAT(sent(1), ElementsAre(request_for("198.51.100.254", kGateway)));
  send_to("8.8.8.8", datagram("8.8.8.8", 1));
  live(seconds(1));
  EXPECT_THAT(sent(1), ElementsAre(packet, request_for("198.51.100.254", kGateway)));
  live(seconds(1));
  EXPECT_THAT(sent(1), ElementsAre(request_for("198.51.100.254")));
  EXPECT_EQ(state_of("8.8.8.8"), NeighbourState::kReachable);
  live(seconds(1));
  EXPECT_EQ(state_of("8.8.8.8"), NeighbourState::kIncomplete);
  EXPECT_EQ(shard->counters.neighbours.get(), 0u);

  // From now on packets wait.
  send_to("8.8.8.8", datagram("8.8.8.8", 2));
  EXPECT_THAT(sent(1), ElementsAre(request_for("198.51.100.254")));
}

TEST_F(NeighboursTest, OneThatAnswersWhenAskedAgainStays) {
  resolved(1, "198.51.100.254", kGateway);
  unsigned requests = 0;
  for (int i = 0; i < 120; ++i) {
    live(seconds(1));
    for (const Bytes& frame : sent(1)) {
      if (at16(frame, 12) != 0x0806) continue;
      EXPECT_EQ(frame, request_for("198.51.100.254", kGateway));
      ++requests;
      resolved(1, "198.51.100.254", kGateway);
    }
    send_to("8.8.8.8", datagram("8.8.8.8", 1));
  }
  EXPECT_EQ(requests, 4u);  // every 30 s
  EXPECT_EQ(shard->counters.neighbours.get(), 1u);
  EXPECT_EQ(drops(), 0u);
}

TEST_F(NeighboursTest, OneThatNobodyUsesIsNotAskedAndForgottenAfterFiveMinutes) {
  resolved(1, "198.51.100.254", kGateway);
  const std::uint32_t stamp = shard->epoch;
  live(seconds(299));
  EXPECT_THAT(sent(1), IsEmpty());
  EXPECT_EQ(shard->counters.neighbours.get(), 1u);
  EXPECT_EQ(shard->epoch, stamp);
  live(seconds(2));
  EXPECT_THAT(sent(1), IsEmpty());
  EXPECT_EQ(shard->counters.neighbours.get(), 0u);
  EXPECT_EQ(shard->epoch, stamp) << "the index is still this neighbour's";
  EXPECT_EQ(state_of("8.8.8.8"), NeighbourState::kForgotten);
}

TEST_F(NeighboursTest, AForgottenOneThatIsUsedAgainIsAskedAnew) {
  resolved(1, "198.51.100.254", kGateway);
  const NeighbourId id = id_of("8.8.8.8");
  live(seconds(301));
  ASSERT_EQ(state_of("8.8.8.8"), NeighbourState::kForgotten);
  send_to("8.8.8.8", datagram("8.8.8.8", 1));
  EXPECT_EQ(id_of("8.8.8.8"), id);
  EXPECT_THAT(sent(1), ElementsAre(request_for("198.51.100.254")));
  live(seconds(1));
  EXPECT_THAT(sent(1), ElementsAre(request_for("198.51.100.254")));
  resolved(1, "198.51.100.254", kHost);
  EXPECT_THAT(sent(1), ElementsAre(ethernet(kHost, kOutsideMac, 0x0800, datagram("8.8.8.8", 1))));
  // And is forgotten again in its time.
  live(seconds(299));
  EXPECT_EQ(state_of("8.8.8.8"), NeighbourState::kReachable);
  live(seconds(2));
  EXPECT_EQ(state_of("8.8.8.8"), NeighbourState::kForgotten);
}

TEST_F(NeighboursTest, AForgottenOneThatSpeaksToUsIsKnownAgain) {
  resolved(1, "198.51.100.254", kGateway);
  live(seconds(301));
  resolved(1, "198.51.100.254", kHost);
  EXPECT_EQ(shard->counters.neighbours.get(), 1u);
  send_to("8.8.8.8", datagram("8.8.8.8", 1));
  EXPECT_THAT(sent(1), ElementsAre(ethernet(kHost, kOutsideMac, 0x0800, datagram("8.8.8.8", 1))));
}

TEST_F(NeighboursTest, WhatIsForgottenIsFreedTogetherWhenTheTableIsThreeQuartersFull) {
  resolved(1, "198.51.100.254", kGateway);
  const NeighbourId gateway = id_of("8.8.8.8");
  const auto add = [&](std::uint32_t from, std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i)
      ASSERT_NE(shard->neighbours.find_or_add(*shard, 1, wire::Be32::of(0x0A000000 + from + i)),
                kNoNeighbour);
  };
  const auto use_gateway = [&] {
    send_to("8.8.8.8", datagram("8.8.8.8", 1));
    sent(1);
    resolved(1, "198.51.100.254", kGateway);
  };
  constexpr std::uint32_t kMany = Neighbours::kCapacity / 4 * 3 - 1;
  add(0, kMany);
  pass(seconds(60));
  use_gateway();
  const auto housekeep = [&] {
    for (int round = 0; round < 2000; ++round) shard->neighbours.advance(*shard, 32);
  };
  housekeep();
  EXPECT_EQ(shard->epoch, 1u);
  add(kMany, 2000);  // now it is too full, and the first ones are forgotten
  add(0, 100);       // asked for a moment before
  housekeep();
  EXPECT_NE(shard->epoch, 1u) << "indices change hands";
  for (std::uint32_t i = 0; i < 100; ++i) {
    const wire::Be32 address = wire::Be32::of(0x0A000000 + i);
    EXPECT_EQ(shard->neighbours[shard->neighbours.find_or_add(*shard, 1, address)].ip, address)
        << "nobody gets another's index";
  }
  EXPECT_EQ(id_of("8.8.8.8"), gateway) << "whoever is in use stays";
  EXPECT_EQ(state_of("8.8.8.8"), NeighbourState::kReachable);
  const std::uint32_t stamp = shard->epoch;
  add(20000, Neighbours::kCapacity - 2101);
  EXPECT_EQ(shard->neighbours.find_or_add(*shard, 1, ip("10.200.0.1")), kNoNeighbour);
  EXPECT_EQ(shard->epoch, stamp);
}

TEST_F(NeighboursTest, AHostThatIsScannedForCostsSessionsNothing) {
  generation.interfaces[1].address = prefix("198.51.0.1", 16);
  set_routes();
  for (unsigned i = 0; i < 5000; ++i) {
    const std::string to = "198.51." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 2);
    send_to(to, datagram(to, i));
    if (i % 100 == 0) live(seconds(1));
    sent(1);
  }
  EXPECT_EQ(shard->epoch, 1u);
}

TEST_F(NeighboursTest, AWorkerThatWasBusyForLongStillWaitsASecondForAnAnswer) {
  pass(seconds(20));  // no housekeeping: the wheel is far behind
  send_to("8.8.8.8", datagram("8.8.8.8", 1));
  EXPECT_THAT(sent(1), SizeIs(1));
  shard->neighbours.advance(*shard, 32);
  EXPECT_THAT(sent(1), IsEmpty());
  live(seconds(1));
  EXPECT_THAT(sent(1), SizeIs(1));
}

TEST_F(NeighboursTest, OneThatIsUsedAgainAfterAPauseIsConfirmedWithinHalfAMinute) {
  resolved(1, "198.51.100.254", kGateway);
  live(seconds(100));
  EXPECT_THAT(sent(1), IsEmpty());
  unsigned waited = 0;
  for (;; ++waited) {
    ASSERT_LE(waited, 30u);
    send_to("8.8.8.8", datagram("8.8.8.8", 1));
    live(seconds(1));
    const auto frames = sent(1);
    if (std::find(frames.begin(), frames.end(), request_for("198.51.100.254", kGateway)) !=
        frames.end())
      break;
  }
}

TEST_F(NeighboursTest, OneThatNeverAnsweredIsForgottenSoon) {
  send_to("198.51.100.77", datagram("198.51.100.77", 1));
  const NeighbourId id = id_of("198.51.100.77");
  const std::uint32_t stamp = shard->epoch;
  live(seconds(29));
  EXPECT_EQ(shard->epoch, stamp);
  EXPECT_EQ(shard->neighbours[id].state, NeighbourState::kIncomplete);
  live(seconds(2));
  EXPECT_EQ(shard->neighbours[id].state, NeighbourState::kForgotten);
  sent(1);
}

TEST_F(NeighboursTest, OneThatIsAskedForAgainAndAgainIsNotForgotten) {
  const NeighbourId id = id_of("198.51.100.77");
  for (int i = 0; i < 60; ++i) {
    send_to("198.51.100.77", datagram("198.51.100.77", 1));
    live(seconds(1));
    sent(1);
  }
  EXPECT_EQ(id_of("198.51.100.77"), id);
  EXPECT_EQ(shard->neighbours[id].state, NeighbourState::kIncomplete);
}

TEST_F(NeighboursTest, ARoundOfHousekeepingKeepsItsBudget) {
  for (unsigned i = 2; i < 102; ++i) {
    const std::string to = "198.51.100." + std::to_string(i + 9);
    send_to(to, datagram(to, i));
  }
  sent(1);
  pass(seconds(1));
  std::size_t requests = 0;
  for (int round = 0; round < 30; ++round) {
    shard->neighbours.advance(*shard, 10);
    const auto frames = sent(1);
    EXPECT_LE(frames.size(), 10u);
    requests += frames.size();
  }
  EXPECT_EQ(requests, 100u);
}

// ---------------------------------------------------------------- announcing

TEST_F(NeighboursTest, AnOutsideInterfaceAnnouncesItsAddressAndThePoolAddressesInItsNetwork) {
  shard->neighbours.announce(*shard, 1);
  const auto announcement = [](const std::string& ip_text) {
    return Arp{kEverybody, kOutsideMac, 1, kOutsideMac, ip_text, kNobody, ip_text}.frame();
  };
  EXPECT_THAT(sent(1), ElementsAre(announcement("198.51.100.1"), announcement("198.51.100.8"),
                                   announcement("198.51.100.9"), announcement("198.51.100.10")));
  EXPECT_EQ(shard->counters.arp_requests_sent.get(), 4u);
  live(seconds(1));
  EXPECT_THAT(sent(1), IsEmpty());
}

TEST_F(NeighboursTest, AnInsideInterfaceAndOneInAVlanAnnounceTheirAddresses) {
  shard->neighbours.announce(*shard, 0);
  EXPECT_THAT(
      sent(0),
      ElementsAre(
          Arp{kEverybody, kInsideMac, 1, kInsideMac, "192.0.2.1", kNobody, "192.0.2.1"}.frame()));
  shard->neighbours.announce(*shard, 2);
  EXPECT_THAT(sent(1), ElementsAre(Arp{kEverybody, kOutsideMac, 1, kOutsideMac, "203.0.113.1",
                                       kNobody, "203.0.113.1", 100}
                                       .frame()));
}

TEST_F(NeighboursTest, PoolAddressesOfOtherWorkersAreAnnouncedToo) {
  const PoolRanges pool{0, {{address("198.51.100.8"), address("198.51.100.15")}}};
  generation.nat_addresses = NatAddressMap({&pool, 1}, 4);
  shard->neighbours.announce(*shard, 1);
  EXPECT_THAT(sent(1), SizeIs(9));
}

TEST_F(NeighboursTest, ThousandsOfPoolAddressesAreAnnouncedBitByBitAndEachOnce) {
  generation.interfaces[1].address = prefix("198.18.0.1", 15);
  set_pool({{address("198.18.4.0"), address("198.18.19.255")}});  // 4096
  std::multiset<std::uint32_t> announced;
  const auto collect = [&] {
    const auto frames = sent(1);
    EXPECT_LE(frames.size(), Neighbours::kAnnouncedAtOnce + 1);
    for (const Bytes& frame : frames) announced.insert(at32(frame, 28));
  };
  shard->neighbours.announce(*shard, 1);
  collect();
  for (int round = 0; round < 200; ++round) {
    shard->neighbours.advance(*shard, 32);
    collect();
  }
  EXPECT_EQ(announced.size(), 4097u);
  EXPECT_EQ(std::set(announced.begin(), announced.end()).size(), 4097u);
  EXPECT_EQ(*announced.begin(), ip_number("198.18.0.1"));
  EXPECT_EQ(*announced.rbegin(), ip_number("198.18.19.255"));
  EXPECT_EQ(drops(), 0u);
}

TEST_F(NeighboursTest, TwoInterfacesThatAnnounceManyAddressesAtATimeBothFinish) {
  generation.interfaces[1].address = prefix("198.18.0.1", 16);
  generation.interfaces[2].address = prefix("198.19.0.1", 16);
  set_pool({{address("198.18.4.0"), address("198.18.4.199")},
            {address("198.19.4.0"), address("198.19.4.199")}});
  std::set<std::uint32_t> announced;
  const auto collect = [&] {
    for (const Bytes& frame : sent(1)) {
      const bool tagged = at16(frame, 12) == 0x8100;
      const std::uint32_t target = at32(frame, tagged ? 32 : 28);
      EXPECT_EQ(tagged, (target >> 16) == 0xC613);
      announced.insert(target);
    }
  };
  shard->neighbours.announce(*shard, 2);
  shard->neighbours.announce(*shard, 1);
  for (int round = 0; round < 30; ++round) {
    shard->neighbours.advance(*shard, 32);
    collect();
  }
  EXPECT_EQ(announced.size(), 402u);
}

TEST_F(NeighboursTest, WithoutAPacketBufferNothingIsAskedAndThatIsCounted) {
  std::vector<rte_mbuf*> all(kBuffers - 1);
  ASSERT_EQ(rte_pktmbuf_alloc_bulk(pool_.get(), all.data(), kBuffers - 1), 0);
  send_to("8.8.8.8", datagram("8.8.8.8", 1));
  EXPECT_THAT(sent(1), IsEmpty());
  EXPECT_EQ(dropped(DropReason::kNoBuffer), 1u);
  rte_pktmbuf_free_bulk(all.data(), kBuffers - 1);
  live(seconds(1));
  EXPECT_THAT(sent(1), ElementsAre(request_for("198.51.100.254")));
}

TEST_F(NeighboursTest, AtTheEndPacketsThatWaitAreFreed) {
  for (unsigned i = 0; i < 20; ++i) {
    const std::string to = "198.51.100." + std::to_string(20 + i);
    for (unsigned j = 0; j < 4; ++j) send_to(to, datagram(to, j));
  }
  shard->neighbours.clear(*shard);
  sent(1);
  EXPECT_EQ(rte_mempool_avail_count(pool_.get()), kBuffers);
}

}  // namespace
}  // namespace lsn::datapath::bench
