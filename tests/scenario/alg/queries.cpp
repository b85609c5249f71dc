// What the control thread asks of the ALG: sessions and gates, paged, with filters; flush; the
// counters of ESP traffic, which follow the sessions' own.
#include <map>
#include <set>
#include <utility>

#include "alg_scenario.hpp"

namespace lsn::test {
namespace {

using shared::AlgFilter;
using shared::AlgFlush;
using shared::CloseReason;
using shared::EspPage;
using shared::EspRow;
using shared::GatePage;
using shared::GateRow;
using shared::GateState;
using shared::HalfGate;
using testing::ElementsAre;
using testing::IsEmpty;

wire::Ipv4Address address(Ip ip) {
  return wire::Ipv4Address{ip.value};
}

class AlgQueries : public Alg {
 protected:
  template <class Page, class List>
  auto list(const AlgFilter& filter, std::uint32_t limit, std::size_t budget, List&& step) {
    decltype(Page::rows) all;
    for (unsigned i = 0; i < lab().shards(); ++i) {
      Page page;
      page.filter = filter;
      page.limit = limit;
      while (!page.finished) {
        page.rows.clear();
        const std::uint32_t before = page.cursor;
        step(lab().shard(i), page, budget);
        EXPECT_LE(page.rows.size(), limit);
        EXPECT_LE(page.cursor - before, budget);
        all.insert(all.end(), page.rows.begin(), page.rows.end());
      }
    }
    return all;
  }
  std::vector<EspRow> esp_rows(const AlgFilter& filter = {}, std::uint32_t limit = 16,
                               std::size_t budget = 7) {
    return list<EspPage>(filter, limit, budget, datapath::list_esp_sessions);
  }
  std::vector<GateRow> gate_rows(const AlgFilter& filter = {}, std::uint32_t limit = 16,
                                 std::size_t budget = 7) {
    return list<GatePage>(filter, limit, budget, datapath::list_gates);
  }

  std::vector<shared::AdviceRow> advice_rows(const AlgFilter& filter = {}, std::uint32_t limit = 16,
                                             std::size_t budget = 7) {
    return list<shared::AdvicePage>(filter, limit, budget, datapath::list_advice);
  }

  struct Flushed {
    std::uint64_t esp, ike;
    friend bool operator==(const Flushed&, const Flushed&) = default;
  };
  Flushed flush_alg(const AlgFilter& filter = {}, std::size_t budget = 3) {
    Flushed flushed{0, 0};
    for (unsigned i = 0; i < lab().shards(); ++i) {
      AlgFlush flush;
      flush.filter = filter;
      while (!flush.finished) datapath::flush_alg(lab().shard(i), flush, budget);
      flushed.esp += flush.esp_sessions;
      flushed.ike += flush.ike_sessions;
    }
    return flushed;
  }
  static AlgFilter of_client(Ip ip) { return {.source_ip = address(ip)}; }
  static AlgFilter of_nat(Ip ip) { return {.nat_ip = address(ip)}; }
  static AlgFilter of_server(Ip ip) { return {.destination_ip = address(ip)}; }
};

TEST_P(AlgQueries, ASessionHasItsSpisItsTimesAndItsTraffic) {
  start();
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  quiet(5s);
  sends_esp(c1, 0x1001, 2);
  quiet(2s);
  const std::vector<EspRow> rows = esp_rows();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].client, address(c1.ip));
  EXPECT_EQ(rows[0].nat_ip, address(c1.nat.ip));
  EXPECT_EQ(rows[0].server, address(kS));
  EXPECT_EQ(rows[0].spi_out, 0x1001u);
  EXPECT_EQ(rows[0].spi_in, 0x2001u);
  EXPECT_EQ(rows[0].age_seconds, 7u);
  EXPECT_EQ(rows[0].idle_seconds, 2u);
  EXPECT_EQ(rows[0].packets[0], 2u);
  EXPECT_EQ(rows[0].packets[1], 1u);
  EXPECT_EQ(rows[0].bytes[0], 2 * esp(c1.ip, kS, 0x1001, 1).bytes().size());
  EXPECT_NE(rows[0].profile, shared::kNoId);

  const std::vector<SessionRow> lsn = lab().sessions();
  const auto found = std::find_if(
      lsn.begin(), lsn.end(), [](const SessionRow& row) { return row.protocol == Protocol::kEsp; });
  ASSERT_NE(found, lsn.end());
  EXPECT_EQ(found->spi_out, 0x1001u);
  EXPECT_EQ(found->spi_in, 0x2001u);
}

/// A Notify payload NAT_DETECTION_SOURCE_IP (RFC 7296 section 2.23), the last one.
Bytes nat_detection() {
  Bytes payload = {0, 0, 0, 28, 0, 0, 0x40, 0x04};
  payload.resize(28, 0xAB);
  return payload;
}
/// The same IKE_SA_INIT message with it.
Ike offering(Ike message) {
  message.next_payload = 41;
  return message.with_body(nat_detection());
}

TEST_P(AlgQueries, RawEspBesideAnOfferOfNatTraversal_IsAdvised) {
  start();
  // Client 1 offers it and its server does not; client 2 is answered with an offer; 3 knows none.
  Peer one{client_ip(1), kS, 0xA101, 0xB201, {}, 2};
  one.nat = translated(one.out(offering(sa_init(one.spi))));
  gets(one, response(sa_init(one.spi), one.server_spi));
  Peer two{client_ip(2), kS, 0xA102, 0xB202, {}, 2};
  two.nat = translated(two.out(sa_init(two.spi)));
  gets(two, offering(response(sa_init(two.spi), two.server_spi)));
  const Peer three = joins(3);
  EXPECT_TRUE(advice_rows().empty()) << "nobody has sent raw ESP";
  pairs(one, 0x1001, 0x2001);
  pairs(two, 0x1002, 0x2002);
  pairs(three, 0x1003, 0x2003);
  std::map<Ip, std::pair<bool, bool>> offers;
  for (const shared::AdviceRow& row : advice_rows()) {
    EXPECT_EQ(row.server.value, kS.value);
    EXPECT_EQ(row.esp, 1u);
    EXPECT_EQ(row.deadlines, 0u);
    offers[Ip{row.client.value}] = {row.offers_nat_t[0], row.offers_nat_t[1]};
  }
  EXPECT_EQ(offers, (std::map<Ip, std::pair<bool, bool>>{{client_ip(1), {true, false}},
                                                         {client_ip(2), {false, true}}}));
}

TEST_P(AlgQueries, TurnsThatKeepEndingByTheirDeadline_AreAdvised) {
  start();
  const Peer c1 = joins(1);
  for (std::uint32_t id = 2; id < 5; ++id) {
    EXPECT_TRUE(advice_rows().empty()) << id;
    sends(c1, create_child(c1.spi, c1.server_spi, id));
    gets(c1, response(create_child(c1.spi, c1.server_spi, id)));
    lab().advance(70s);
  }
  const auto rows = advice_rows();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].client.value, c1.ip.value);
  EXPECT_EQ(rows[0].deadlines, 3u);
  // A turn that brings what it should forgets them.
  sends(c1, create_child(c1.spi, c1.server_spi, 9));
  gets(c1, response(create_child(c1.spi, c1.server_spi, 9)));
  sends_esp(c1, 0x1001);
  gets_esp(c1, 0x2001);
  lab().advance(1s);
  EXPECT_TRUE(advice_rows().empty());
}

TEST_P(AlgQueries, AHalfOpenSessionHasOneSpi) {
  start();
  const Peer c1{client_ip(1), kS, 0, 0, {kN, 0}, 2};
  sends_esp(c1, 0x1001);
  const std::vector<EspRow> rows = esp_rows();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].spi_out, 0x1001u);
  EXPECT_EQ(rows[0].spi_in, 0u);
}

TEST_P(AlgQueries, EverySessionIsListedOnceWhateverThePages) {
  start();
  for (unsigned i = 1; i <= 20; ++i) pairs(joins(i), 0x1000 + i, 0x2000 + i);
  for (const auto& [limit, budget] : {std::pair{1u, 1u}, {1u, 1000u}, {7u, 3u}, {256u, 64u}}) {
    std::set<std::uint32_t> spis;
    const auto rows = esp_rows({}, limit, budget);
    for (const EspRow& row : rows) spis.insert(row.spi_in);
    EXPECT_EQ(rows.size(), 20u);
    EXPECT_EQ(spis.size(), 20u);
  }
}

TEST_P(AlgQueries, FiltersByClientNatAddressAndServer) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  pairs(c1, 0x1001, 0x2001);
  pairs(c2, 0x1002, 0x2002);
  Peer other = c1;
  other.server = kOtherServer;
  other.nat = {kN, 0};
  sends_esp(other, 0x1003);
  EXPECT_EQ(esp_rows(of_client(c1.ip)).size(), 2u);
  EXPECT_EQ(esp_rows(of_server(kS)).size(), 2u);
  EXPECT_EQ(esp_rows(of_server(kOtherServer)).size(), 1u);
  EXPECT_EQ(esp_rows(of_nat(kN)).size(), 3u);
  EXPECT_THAT(esp_rows(of_nat("203.0.113.9")), IsEmpty());
  AlgFilter both = of_client(c1.ip);
  both.destination_ip = address(kS);
  const auto rows = esp_rows(both);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].spi_out, 0x1001u);

  EXPECT_EQ(gate_rows().size(), 2u);
  EXPECT_EQ(gate_rows(of_client(c1.ip)).size(), 2u) << "whose gates are those it has to do with";
  EXPECT_EQ(gate_rows(of_client(c2.ip)).size(), 1u);
  EXPECT_THAT(gate_rows(of_client(client_ip(3))), IsEmpty());
  EXPECT_EQ(gate_rows(of_server(kOtherServer)).size(), 1u);
}

TEST_P(AlgQueries, AGateHasItsStateItsHolderItsTimeAndItsWaiters) {
  start();
  const Peer c1 = joins(1), c2 = joins(2), c3 = joins(3);
  sends(c1, c1.auth());
  quiet(10s - 6s);
  waits(c2, c2.auth());
  waits(c3, c3.auth());
  auto rows = gate_rows();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].nat_ip, address(kN));
  EXPECT_EQ(rows[0].server, address(kS));
  EXPECT_EQ(rows[0].state, GateState::kExchange);
  EXPECT_EQ(rows[0].holder, shared::InsideAddress{address(c1.ip)});
  EXPECT_EQ(rows[0].left_ms, 26'000u);
  EXPECT_EQ(rows[0].waiters, 2u);
  EXPECT_EQ(rows[0].first_waiters[0], shared::InsideAddress{address(c2.ip)});
  EXPECT_EQ(rows[0].first_waiters[1], shared::InsideAddress{address(c3.ip)});
  EXPECT_EQ(rows[0].last_reason, std::nullopt);

  gets(c1, response(c1.auth()));
  sends_esp(c1, 0x1001);
  rows = gate_rows();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].state, GateState::kArmed);
  EXPECT_THAT(rows[0].halves, ElementsAre(HalfGate::kPassed, HalfGate::kArmed));
  EXPECT_EQ(flush_alg().ike, 3u);
  expect_drops({{DropReason::kIkeHeldFlushed, 2}});
}

TEST_P(AlgQueries, GateRowOfALingeringGate_HasTheLastHolder) {
  start();
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  quiet(1s);
  auto rows = gate_rows();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].state, GateState::kClosed);
  EXPECT_EQ(rows[0].holder, std::nullopt);
  EXPECT_EQ(rows[0].lingering, shared::InsideAddress{address(c1.ip)});
  EXPECT_EQ(rows[0].left_ms, 29'000u);
  EXPECT_EQ(rows[0].last_reason, CloseReason::kPaired);
}

// ── flush ───────────────────────────────────────────────────────────────────────────────────────

TEST_P(AlgQueries, Flush_ForgetsTheMatchingSessionsSpis) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  pairs(c1, 0x1001, 0x2001);
  pairs(c2, 0x1002, 0x2002);
  EXPECT_EQ(flush_alg(of_client(c1.ip)), (Flushed{1, 1}));
  EXPECT_EQ(esp_rows().size(), 1u);
  EXPECT_EQ(now_there(AlgGauge::kIkeSessions), 1u);
  esp_refused_in(0x2001, DropReason::kEspInNotFresh, 1000);
  esp_passes(c2, 0x1002, 0x2002, 2);
  EXPECT_EQ(flush_alg(of_server(kOtherServer)), (Flushed{0, 0}));
  EXPECT_EQ(flush_alg(), (Flushed{1, 1}));
  EXPECT_THAT(esp_rows(), IsEmpty());
  EXPECT_THAT(gate_rows(), IsEmpty());
  EXPECT_EQ(now_there(AlgGauge::kIkeSessions), 0u);
  EXPECT_EQ(now_there(AlgGauge::kLingering), 0u);
}

TEST_P(AlgQueries, FlushedClientsPlace_IsReusedWithoutItsSpis) {
  start();
  const Peer c1 = joins(1);
  (void)joins(2);  // the gate stays
  pairs(c1, 0x1001, 0x2001);
  EXPECT_EQ(flush_alg(of_client(c1.ip)), (Flushed{1, 1}));
  (void)joins(3);
  const Peer again = joins(1);
  arms(again);
  gets_esp(again, 0x2001, 2);  // as if never seen
}

TEST_P(AlgQueries, AFlushedHoldersTurnGoesToTheNextWaiter) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());
  waits(c2, c2.auth());
  EXPECT_EQ(flush_alg(of_client(c1.ip)), (Flushed{0, 1}));
  happens(100ms, {out_frame(c2, c2.auth())});
  const auto rows = gate_rows();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].holder, shared::InsideAddress{address(c2.ip)});
  EXPECT_EQ(rows[0].last_reason, CloseReason::kFlush);
}

TEST_P(AlgQueries, FlushOfHolderAndWaiters_BeginsNoTurn) {
  start();
  const Peer c1 = joins(1), c2 = joins(2), c3 = joins(3);
  sends(c1, c1.auth());
  waits(c2, c2.auth());
  waits(c3, c3.auth());
  EXPECT_EQ(flush_alg({}, 1), (Flushed{0, 3}));
  expect_drops({{DropReason::kIkeHeldFlushed, 2}});
  quiet(1s);
  EXPECT_FALSE(turn());
  EXPECT_THAT(gate_rows(), IsEmpty());
}

// ── traffic ─────────────────────────────────────────────────────────────────────────────────────

TEST_P(AlgQueries, TrafficIsCountedWhileSessionsLiveAndOnceOnly) {
  start();
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  for (std::uint32_t i = 2; i <= 10; ++i) sends_esp(c1, 0x1001, i);
  quiet(100ms);
  const std::size_t size = esp(c1.ip, kS, 0x1001, 1).bytes().size();
  EXPECT_EQ(counted(AlgCounter::kEspPacketsOut), 10u);
  EXPECT_EQ(counted(AlgCounter::kEspPacketsIn), 1u);
  EXPECT_EQ(counted(AlgCounter::kEspBytesOut), 10 * size);
  quiet(1s);
  EXPECT_EQ(counted(AlgCounter::kEspPacketsOut), 10u);
  gets_esp(c1, 0x2001, 2);
  flush_alg();
  quiet(1s);
  EXPECT_EQ(counted(AlgCounter::kEspPacketsOut), 10u);
  EXPECT_EQ(counted(AlgCounter::kEspPacketsIn), 2u);
  EXPECT_EQ(counted(AlgCounter::kEspBytesIn), 2 * size);
}

TEST_P(AlgQueries, TrafficOfManySessionsIsCountedSomeAtATime) {
  start();
  for (unsigned i = 1; i <= 100; ++i) {
    const Peer c{client_ip(i % 50), Ip{"198.18.1.0"} + i, 0, 0, {kN, 0}, 2};
    sends_esp(c, 0x1000 + i);
  }
  lab().jump(10ms);
  const std::uint64_t first = counted(AlgCounter::kEspPacketsOut);
  EXPECT_GE(first, 50u);
  EXPECT_LE(first, 64u * lab().shards());
  lab().housekeep(8);
  EXPECT_EQ(counted(AlgCounter::kEspPacketsOut), first) << "once per tick";
  lab().jump(10ms);
  EXPECT_EQ(counted(AlgCounter::kEspPacketsOut), 100u);
}

TEST_P(AlgQueries, IkeRowsAndLookup_TellGateAndSessionOfAPair) {
  start();
  const Peer c1 = joins(1);
  const std::vector<shared::IkeRow> rows =
      list<shared::IkePage>({}, 16, 7, datapath::list_ike_sessions);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].client.value, c1.ip.value);
  EXPECT_EQ(rows[0].client_port, 500);
  EXPECT_TRUE(rows[0].answered);
  EXPECT_EQ(rows[0].initiator, c1.spi);
  EXPECT_EQ(rows[0].responder, c1.server_spi);
  EXPECT_TRUE(
      (list<shared::IkePage>(of_client("192.0.2.99"), 16, 7, datapath::list_ike_sessions).empty()));

  const Peer c2 = joins(2);
  const auto look_up = [&](shared::Direction direction, Ip local, std::uint32_t spi) {
    shared::Lookup best;
    for (unsigned id = 0; id < lab().shards(); ++id) {
      shared::Lookup lookup;
      lookup.direction = direction;
      lookup.protocol = Protocol::kEsp;
      lookup.local = address(local);
      lookup.remote = address(kS);
      lookup.spi = spi;
      datapath::look_up(lab().shard(id), lookup, 1);
      if (lookup.session || lookup.alg.gate) best = lookup;
    }
    return best;
  };
  using enum shared::Direction;
  auto found = look_up(kOutbound, c1.ip, 0x1001);
  ASSERT_TRUE(found.alg.gate);
  EXPECT_TRUE(found.alg.is_free && found.alg.ike_answered && !found.alg.holds_gate);
  sends_esp(c1, 0x1001, 1);
  found = look_up(kOutbound, c1.ip, 0x1001);
  ASSERT_TRUE(found.session);
  EXPECT_TRUE(found.alg.holds_gate);
  found = look_up(kOutbound, c2.ip, 0x1002);
  EXPECT_FALSE(found.session || found.alg.is_free || found.alg.waits);
  esp_refused_out(c2, 0x1002, DropReason::kEspOutGateBusy, 1);
  found = look_up(kOutbound, c2.ip, 0x1002);
  EXPECT_TRUE(found.alg.waits);
  EXPECT_EQ(found.alg.gate->first_waiters[0].address.value, c2.ip.value);
  EXPECT_FALSE(look_up(kInbound, c1.nat.ip, 0x2001).alg.seen);
  esp_refused_in(0x2001, DropReason::kEspInAmbiguous, 70000);
  found = look_up(kInbound, c1.nat.ip, 0x2001);
  ASSERT_TRUE(found.alg.seen);
  EXPECT_FALSE(found.alg.seen->learned_by || found.session);
}

INSTANTIATE_TEST_SUITE_P(, AlgQueries, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
