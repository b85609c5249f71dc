// Design 3, "Recognising IKE": sentence by sentence.
#include "alg_scenario.hpp"

namespace lsn::test {
namespace {

class AlgIke : public Alg {
 protected:
  /// c1 has the gate.
  std::pair<Peer, Peer> one_holds() {
    const Peer c1 = joins(1), c2 = joins(2);
    sends(c1, c1.auth());
    return {c1, c2};
  }
};

TEST_P(AlgIke, MalformedIkeHeader_IsTranslatedAsUdpAndCounted) {
  start();
  const auto [c1, c2] = one_holds();
  const Ike good = c2.auth();
  std::vector<Bytes> bad(5, good.bytes());
  bad[0].resize(27);                                // 28 bytes
  bad[1][17] = 0x30;                                // major version 1 or 2
  std::fill_n(bad[2].begin(), 8, std::uint8_t{0});  // non-zero initiator SPI
  Ike too_long = good;
  too_long.length = static_cast<std::uint32_t>(good.bytes().size() + 1);  // within the datagram
  bad[3] = too_long.bytes();
  Ike too_short = good;
  too_short.length = 27;
  bad[4] = too_short.bytes();
  const auto before = now_there(AlgGauge::kIkeSessions);
  for (const Bytes& bytes : bad)
    translated_to(udp(c2.endpoint(), c2.server_endpoint(), bytes), c2.nat);
  translated_to(udp(c2.endpoint(), c2.server_endpoint(), {}), c2.nat);
  EXPECT_EQ(counted(AlgCounter::kIkeMalformed), 6u);
  EXPECT_EQ(now_there(AlgGauge::kIkeSessions), before);
}

TEST_P(AlgIke, PhaseOneAlwaysPasses) {
  start();
  const auto [c1, c2] = one_holds();
  for (const unsigned exchange : {kSaInit, kIntermediate, kResume}) {
    sends(c2, c2.message(exchange, 1));
    gets(c2, response(c2.message(exchange, 1)));
  }
  Peer v1 = joins1(3);
  sends(v1, v1.message(kAggressive, 0));
  gets(v1, v1.message(kAggressive, 0));
}

TEST_P(AlgIke, PhaseTwoIsGated) {
  start();
  const auto [c1, c2] = one_holds();
  waits(c2, c2.auth());
  const Peer c3 = joins(3), c4 = joins(4), c5 = joins1(5);
  waits(c3, c3.child());
  waits(c4, c4.message(kFollowupKe, 3));
  waits(c5, c5.quick(0x77));
  EXPECT_EQ(now_there(AlgGauge::kWaiters), 4u);
}

TEST_P(AlgIke, InformationalTransactionAndNewGroup_PassABusyGate) {
  start();
  const auto [c1, c2] = one_holds();
  sends(c2, c2.message(kInformational2, 2));
  gets(c2, response(c2.message(kInformational2, 2)));
  const Peer v1 = joins1(3);
  for (const unsigned exchange : {kInformational1, kTransaction, kNewGroup}) {
    sends(v1, v1.message(exchange, 5));
    gets(v1, v1.message(exchange, 5));
  }
  EXPECT_EQ(counted(AlgCounter::kIkeUnlisted), 0u);
}

TEST_P(AlgIke, ExchangeTypesNotListedPassAndAreCounted) {
  start();
  const auto [c1, c2] = one_holds();
  sends(c2, c2.message(99, 2));
  gets(c2, response(c2.message(240, 2)));
  EXPECT_EQ(counted(AlgCounter::kIkeUnlisted), 2u);
}

TEST_P(AlgIke, AnIkeSessionArisesFromAnyWellFormedMessageOutbound) {
  start();
  const Peer c1{client_ip(1), kS, 0xA1, 0xB1, {}, 2};
  const Ike m = c1.message(kInformational2, 7);
  const Endpoint nat = translated(c1.out(m));
  EXPECT_EQ(now_there(AlgGauge::kIkeSessions), 1u);
  EXPECT_EQ(nat.ip, kN);
}

TEST_P(AlgIke, AnIkeSessionArisesFromAnyWellFormedMessageOnAnExistingMapping) {
  start();
  Peer c1 = joins(1);
  c1.spi = 0xEE;
  gets(c1, c1.message(kInformational2, 7));
  EXPECT_EQ(now_there(AlgGauge::kIkeSessions), 2u);
}

TEST_P(AlgIke, AllIkeAuthMessagesAreOneExchange) {
  start();
  const auto [c1, c2] = one_holds();
  waits(c2, c2.auth());
  for (unsigned id = 1; id <= 4; ++id) {  // EAP has several
    if (id != 1) sends(c1, c1.auth(id));
    gets(c1, response(c1.auth(id)));
  }
  EXPECT_EQ(counted(AlgCounter::kExchangesAdmitted), 1u);
  sends_esp(c1, 0x1001);
  // One exchange, one pair: closed, and the next one's turn.
  gets_esp_and_releases(c1, 0x2001, {out_frame(c2, c2.auth())});
}

TEST_P(AlgIke, ARetransmissionNeverCountsAsAnotherExchange) {
  start();
  const auto [c1, c2] = one_holds();
  for (int i = 0; i < 3; ++i) sends(c1, c1.auth());
  gets(c1, response(c1.auth()));
  gets(c1, response(c1.auth()));
  sends(c1, c1.auth());
  EXPECT_EQ(counted(AlgCounter::kExchangesAdmitted), 1u);
  EXPECT_EQ(counted(AlgCounter::kExchangesAnswered), 1u);
  esp_passes(c1, 0x1001, 0x2001);
  EXPECT_FALSE(turn());
}

TEST_P(AlgIke, FragmentsOfOneMessageBelongToTheirExchange) {
  start();
  const auto [c1, c2] = one_holds();
  waits(c2, fragment(c2.auth(), 1, 3));
  waits(c2, fragment(c2.auth(), 2, 3));
  waits(c2, fragment(c2.auth(), 3, 3));
  for (unsigned i = 1; i <= 3; ++i) gets(c1, fragment(response(c1.auth()), i, 3));
  EXPECT_EQ(counted(AlgCounter::kExchangesAnswered), 1u);
  sends_esp(c1, 0x1001);
  gets_esp_and_releases(
      c1, 0x2001,
      {out_frame(c2, fragment(c2.auth(), 1, 3)), out_frame(c2, fragment(c2.auth(), 2, 3)),
       out_frame(c2, fragment(c2.auth(), 3, 3))});
  EXPECT_EQ(counted(AlgCounter::kExchangesAdmitted), 2u);
}

TEST_P(AlgIke, Ikev1Fragments_BelongToTheirExchange) {
  start();
  const Peer c1 = joins1(1), c2 = joins1(2);
  const Ike whole = c1.quick(0x1234);
  sends(c1, fragment1(whole, 9, 1, false));
  sends(c1, fragment1(whole, 9, 2, false));
  sends(c1, fragment1(whole, 9, 3, true));
  EXPECT_EQ(counted(AlgCounter::kExchangesAdmitted), 1u);
  const Ike other = c2.quick(0x4321);
  waits(c2, fragment1(other, 4, 1, false));
  waits(c2, fragment1(other, 4, 2, true));
  gets(c1, c1.quick(0x1234));
  sends_esp(c1, 0x1001);
  gets_esp_and_releases(
      c1, 0x2001,
      {out_frame(c2, fragment1(other, 4, 1, false)), out_frame(c2, fragment1(other, 4, 2, true))});
}

TEST_P(AlgIke, ServersCreateChildSa_TakesTheGate) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  pairs(c1, 0x1001, 0x2001);
  gets(c1, c1.server_child());
  EXPECT_TRUE(turn());
  waits(c2, c2.auth());
  sends(c1, response(c1.server_child()));
  // The new pair; the old one carries on.
  sends_esp(c1, 0x1001, 2);
  gets_esp(c1, 0x2002);
  sends_esp(c1, 0x1002);
  gets_esp_and_releases(c1, 0x2002, {out_frame(c2, c2.auth())}, 2);
}

TEST_P(AlgIke, MessageOfAnAdmittedExchange_PassesWithoutATurn) {
  start();
  const Peer c1 = joins1(1), c2 = joins1(2);
  const Ike q1 = c1.quick(0x1111), q2 = c2.quick(0x2222);
  sends(c1, q1);
  gets(c1, q1.with_body(pattern(70, 2)));
  esp_passes(c1, 0x1001, 0x2001);
  EXPECT_FALSE(turn());
  // Quick Mode message 3 comes after the first ESP: with the gate closed, ...
  sends(c1, q1.with_body(pattern(40, 3)));
  EXPECT_FALSE(turn());
  // ... and with the gate another client's. Answers are retransmitted, too.
  sends(c2, q2);
  sends(c1, q1.with_body(pattern(40, 3)));
  gets(c1, q1.with_body(pattern(70, 2)));
  EXPECT_EQ(counted(AlgCounter::kTurns), 2u);
}

TEST_P(AlgIke, LateAnswerAtAClosedGate_BeginsAnArmedTurn) {
  start();
  const Peer c1 = joins(1);
  sends(c1, c1.auth());
  quiet(kT + 1s);
  EXPECT_FALSE(turn());
  gets(c1, response(c1.auth()));
  EXPECT_TRUE(turn());
  EXPECT_EQ(counted(AlgCounter::kLateAnswers), 1u);
  gets_esp(c1, 0x2001);  // armed
  sends_esp(c1, 0x1001);
  gets_esp(c1, 0x2001, 2);
  EXPECT_FALSE(turn());
}

TEST_P(AlgIke, IkeRestartOfAWaiter_KeepsItsPlaceAndItsOldSpis) {
  start();
  const Peer c1 = joins(1);
  const Peer c2 = joins(2), c3 = joins(3);
  pairs(c2, 0x1002, 0x2002);
  arms(c1);
  sends_esp(c1, 0x1001);
  waits(c2, c2.child());
  // c2 lost its state: phase 1 anew, same address and port, without a delete.
  Peer again = c2;
  again.spi = 0xCAFE;
  again.server_spi = 0xF00D;
  expect_frames(lab().from_inside(again.out(sa_init(again.spi)).bytes()),
                {out_frame(again, sa_init(again.spi))});
  gets(again, response(sa_init(again.spi), again.server_spi));
  EXPECT_EQ(now_there(AlgGauge::kHeldPackets), 1u);
  waits(c3, c3.auth());
  quiet(3s);
  sends_esp(c1, 0x1003);
  quiet(2500ms);
  // What it asked for before is silent for 5 s: dropped. Its place before c3 stays.
  expect_frames(lab().from_inside(again.out(again.auth()).bytes()), {});
  expect_drops({{DropReason::kIkeHeldFlushed, 1}});
  EXPECT_EQ(now_there(AlgGauge::kWaiters), 2u);
  // The old SPIs are still known.
  esp_passes(c2, 0x1002, 0x2002, 5);
  happens(6s, {out_frame(again, again.auth())});
  gets(again, response(again.auth()));
  sends_esp(again, 0x1004);
  gets_esp_and_releases(again, 0x2004, {out_frame(c3, c3.auth())});
}

TEST_P(AlgIke, NatTraversalOnPort4500NeverTouchesAGate) {
  start();
  const auto [c1, c2] = one_holds();
  const Endpoint inside{c2.ip, 4500}, server{kS, 4500};
  const IpPacket out = ike_floated(inside, server, c2.auth());
  const Endpoint nat = translated(out);
  EXPECT_EQ(nat.ip, kN);  // UDP 4500 follows the UDP 500 pairing
  returned(ike_floated(server, nat, response(c2.auth())), inside);
  // ESP in UDP, a keepalive.
  Bytes esp_in_udp;
  put32(esp_in_udp, 0x5151);
  put32(esp_in_udp, 1);
  put(esp_in_udp, pattern(64));
  translated_to(udp(inside, server, esp_in_udp), nat);
  returned(udp(server, nat, esp_in_udp), inside);
  translated_to(udp(inside, server, Bytes(1, 0xFF)), nat);
  EXPECT_EQ(now_there(AlgGauge::kWaiters), 0u);
}

TEST_P(AlgIke, NatTraversalWorksWithTheAlgDisabled) {
  Config config = Config::with_alg();
  config.group().alg.clear();
  start(config);
  const Endpoint inside{client_ip(1), 4500}, server{kS, 4500};
  const Endpoint nat = translated(ike_floated(inside, server, auth(1, 2)));
  returned(ike_floated(server, nat, response(auth(1, 2))), inside);
}

TEST_P(AlgIke, EspAndPort4500FollowThePort500Pairing) {
  Config config = Config::with_alg();
  config.pool().addresses = {"203.0.113.3-203.0.113.18"};
  config.group().app(Protocol::kTcp, {.pooling = Pooling::kRandom});
  start(config);
  for (unsigned n = 1; n <= 3; ++n) {
    for (unsigned port = 0; port < 5; ++port)
      translated(
          tcp({client_ip(n), static_cast<std::uint16_t>(4000 + port)}, {"198.18.0.9", 80}, kSyn));
    const Peer c = joins(n);
    EXPECT_EQ(translated(ike_floated({c.ip, 4500}, {kS, 4500}, c.auth())).ip, c.nat.ip);
    sends_esp(c, 0x1000 + n);
    for (unsigned port = 5; port < 9; ++port)
      translated(
          tcp({client_ip(n), static_cast<std::uint16_t>(4000 + port)}, {"198.18.0.9", 80}, kSyn));
    sends(c, c.message(kInformational2, 4));
  }
}

TEST_P(AlgIke, IkeWithoutAProfileIsOrdinaryUdp) {
  Config config = Config::with_alg();
  config.group().alg.clear();
  start(config);
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());
  sends(c2, c2.auth());
  EXPECT_EQ(counted(AlgCounter::kIkeMessages), 0u);
}

INSTANTIATE_TEST_SUITE_P(, AlgIke, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
