// Turns (design 4): whose is the gate, who comes next, and what is counted of it. Without frames:
// peers and IKE sessions are created directly.
#include "lsn/datapath/ipsec_alg/turns.hpp"

#include "lsn/datapath/ipsec_alg/attribution.hpp"
#include "lsn/datapath/ipsec_alg/holding.hpp"
#include "lsn/datapath/ipsec_alg/peers.hpp"
#include "unit/datapath/floors.hpp"

namespace lsn::datapath::ipsec_alg {
namespace {

using test::Config;

const wire::Be32 kServer = ip("198.18.0.1");

class Turns : public Floors {
 protected:
  /// A client and its peer at the gate of the only NAT address and kServer.
  PeerId peer(std::string_view client) {
    const lsn44::SubscriberId id = subscriber(client);
    lsn44::Subscriber& of = tables().subscribers[id];
    if (of.paired_ip.raw() == 0) {
      EXPECT_TRUE(lsn44::pair_anywhere(shard(), of, group()));
    }
    const auto made = obtain_peer(shard(), id, kServer, Direction::kOutbound);
    EXPECT_TRUE(made.has_value());
    return *made;
  }
  Gate& gate(PeerId id) { return gate_in_hand(shard().alg, shard().alg.peers[id].gate); }

  /// An answered IKE session of a peer, as two phase 1 messages make it.
  IkeId ike(PeerId id, wire::IkeSpi initiator) {
    wire::IkeMessage message;
    message.initiator = initiator;
    message.responder = initiator + 1;
    message.version = 2;
    message.exchange = wire::ike_exchange::kSaInit;
    const auto udp = create(Protocol::kUdp, {shard().alg.peers[id].client, wire::Be16::of(500)},
                            {kServer, wire::Be16::of(500)});
    EXPECT_TRUE(udp.has_value() || udp.error() == DropReason::kFiltered);
    if (udp) udp_[id] = *udp;
    const lsn44::Session& session = tables().sessions[udp_.at(id)];
    EXPECT_NE(track(shard(), id, message, Direction::kOutbound, session), state::kNone);
    return track(shard(), id, message, Direction::kInbound, session);
  }
  static ExchangeName child(std::uint32_t message_id) {
    return {ExchangeKind::kCreateChild, Direction::kOutbound, message_id};
  }
  std::uint64_t counted(AlgCounter counter) { return shard().alg.counters.total.of(counter).get(); }
  std::uint64_t gauge(AlgGauge of) { return shard().alg.counters.total.of(of).get(); }

 private:
  std::map<PeerId, lsn44::SessionId> udp_;
};

TEST_F(Turns, ClientsOfOneServerBehindOneNatAddressShareAGate) {
  start(Config::with_alg());
  const PeerId a = peer("192.0.2.10"), b = peer("192.0.2.11");
  EXPECT_NE(a, b);
  EXPECT_EQ(&gate(a), &gate(b));
}

TEST_F(Turns, AnAdmittedExchange_GivesItsClientTheGate) {
  start(Config::with_alg());
  const PeerId a = peer("192.0.2.10"), b = peer("192.0.2.11");
  ASSERT_TRUE(admit(shard(), ike(a, 1), child(2), 2, Opening::kRequest));
  EXPECT_TRUE(holds(gate(a), a));
  EXPECT_FALSE(is_free_for(gate(b), b));
  EXPECT_EQ(gate(a).state, GateState::kExchange);
  EXPECT_EQ(gate(a).turn.unanswered, 1u);
  EXPECT_EQ(counted(AlgCounter::kTurns), 1u);
  EXPECT_EQ(gauge(AlgGauge::kTurns), 1u);
}

TEST_F(Turns, AnAnswer_ArmsTheGate) {
  start(Config::with_alg());
  const PeerId a = peer("192.0.2.10");
  const IkeId session = ike(a, 1);
  ASSERT_TRUE(admit(shard(), session, child(2), 2, Opening::kRequest));
  const ExchangeId exchange = shard().alg.ike_sessions[session].exchanges.first;
  on_answer(shard(), a, exchange);
  EXPECT_EQ(gate(a).state, GateState::kArmed);
  EXPECT_EQ(gate(a).turn.answered, 1u);
  EXPECT_EQ(gate(a).turn.unanswered, 0u);
  EXPECT_TRUE(is_owed_any(shard(), shard().alg.peers[a]));
  EXPECT_EQ(shard().alg.armed_gates, 1u);
}

TEST_F(Turns, TheDeadlineClosesTheTurn_AndItsClientDangles) {
  start(Config::with_alg());
  const PeerId a = peer("192.0.2.10");
  const IkeId session = ike(a, 1);
  ASSERT_TRUE(admit(shard(), session, child(2), 2, Opening::kRequest));
  on_answer(shard(), a, shard().alg.ike_sessions[session].exchanges.first);
  pass(29900ms);
  EXPECT_TRUE(holds(gate(a), a));
  pass(200ms);
  EXPECT_EQ(gate(a).state, GateState::kClosed);
  EXPECT_EQ(gate(a).last_reason, CloseReason::kDeadline);
  EXPECT_EQ(counted(AlgCounter::kClosedDeadline), 1u);
  EXPECT_EQ(gauge(AlgGauge::kTurns), 0u);
  EXPECT_EQ(shard().alg.armed_gates, 0u);
  EXPECT_TRUE(is_dangling(shard(), shard().alg.peers[a])) << "design 5.11";
  EXPECT_TRUE(does_another_dangle(shard(), gate(a), state::kNone));
}

TEST_F(Turns, WhenATurnEnds_TheGateIsKeptForTheFirstWhoWaitsForEsp) {
  start(Config::with_alg());
  const PeerId a = peer("192.0.2.10"), b = peer("192.0.2.11"), c = peer("192.0.2.12");
  ASSERT_TRUE(admit(shard(), ike(a, 1), child(2), 2, Opening::kRequest));
  wait_for_esp(shard(), b);
  wait_for_esp(shard(), c);
  EXPECT_EQ(gate(a).waiter_count, 2u);
  close_turn(shard(), shard().alg.peers[a].gate, CloseReason::kYield);
  EXPECT_EQ(gate(a).kept_for, b);
  EXPECT_TRUE(is_free_for(gate(b), b));
  EXPECT_FALSE(is_free_for(gate(c), c));
  EXPECT_EQ(gate(a).waiter_count, 1u);
  // A second later it is the next one's.
  pass(1100ms);
  EXPECT_EQ(gate(a).kept_for, c);
}

TEST_F(Turns, CurrentGate_HasDoneWhatIsDue) {
  start(Config::with_alg());
  const PeerId a = peer("192.0.2.10");
  ASSERT_TRUE(admit(shard(), ike(a, 1), child(2), 2, Opening::kRequest));
  // No wheel has turned since.
  shard().now += state::TickDuration{31s};
  EXPECT_EQ(current_gate(shard(), shard().alg.peers[a].gate).state, GateState::kClosed);
}

TEST_F(Turns, ATurnWithoutAnExchange_YieldsToAPhase2Message) {
  start(Config::with_alg());
  const PeerId a = peer("192.0.2.10"), b = peer("192.0.2.11");
  begin_turn(shard(), a, GateEvent::kOutboundSpi);
  EXPECT_EQ(counted(AlgCounter::kTurnsWithoutExchange), 1u);
  yield_to(shard(), shard().alg.peers[a].gate, b);
  EXPECT_TRUE(is_free_for(gate(b), b));
  EXPECT_EQ(counted(AlgCounter::kClosedYield), 1u);
}

TEST_F(Turns, ATurnWithAnExchange_DoesNotYield) {
  start(Config::with_alg());
  const PeerId a = peer("192.0.2.10"), b = peer("192.0.2.11");
  ASSERT_TRUE(admit(shard(), ike(a, 1), child(2), 2, Opening::kRequest));
  yield_to(shard(), shard().alg.peers[a].gate, b);
  EXPECT_TRUE(holds(gate(a), a));
}

TEST_F(Turns, OfTheHoldersFurtherExchanges_EachBelongsToTheTurn) {
  start(Config::with_alg());
  const PeerId a = peer("192.0.2.10");
  const IkeId session = ike(a, 1);
  for (std::uint32_t n = 2; n < 5; ++n)
    ASSERT_TRUE(admit(shard(), session, child(n), n, Opening::kRequest));
  EXPECT_EQ(gate(a).turn.unanswered, 3u);
  EXPECT_EQ(counted(AlgCounter::kTurns), 1u);
  EXPECT_EQ(counted(AlgCounter::kExchangesAdmitted), 3u);
}

}  // namespace
}  // namespace lsn::datapath::ipsec_alg
