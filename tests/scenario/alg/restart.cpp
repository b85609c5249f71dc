// Design 6.4, warm restart: what is restored before the first packet, and that it
// makes no difference to anybody.
#include "alg_scenario.hpp"

namespace lsn::test {
namespace {

class AlgRestart : public Alg {
 protected:
  std::uint64_t restarts(Where where = Where::current()) {
    const auto records = lab().state();
    const std::uint64_t restored = restart(config(), records);
    if (restored != records.size())
      fail(where) << restored << " of " << records.size() << " records restored";
    return restored;
  }
};

TEST_P(AlgRestart, TunnelsGoOnWithoutARekey) {
  Config config = Config::with_alg();
  config.pool().addresses = {"203.0.113.3-203.0.113.18"};
  start(config);
  std::vector<Peer> peers;
  for (unsigned n = 1; n <= 8; ++n) {
    peers.push_back(joins(n));
    pairs(peers.back(), 0x1000 + n, 0x2000 + n);
  }
  restarts();
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), 8u);
  EXPECT_EQ(now_there(AlgGauge::kIkeSessions), 8u);
  for (unsigned n = 1; n <= 8; ++n) {
    const Peer& c = peers[n - 1];
    gets_esp(c, 0x2000 + n, 90000);  // inbound first, far from fresh
    sends_esp(c, 0x1000 + n, 90000);
    gets(c, c.server_child());  // the mapping of phase 1
    sends(c, response(c.server_child()));
    EXPECT_EQ(translated(ike_floated({c.ip, 4500}, {kS, 4500}, c.auth())).ip, c.nat.ip);
    quiet(kT + 1s);
  }
}

class AlgRestartResharded : public AlgRestart {
 protected:
  /// Eight clients with tunnels, wherever the process begins again.
  void tunnels_go_on_after(const Config& config, unsigned shards, Where where = Where::current()) {
    const auto records = lab().state();
    EXPECT_EQ(restart(config, records, shards), records.size());
    for (int rounds = 1; rounds <= 2; ++rounds) {
      for (const Peer& c : peers_) {
        const std::uint32_t n = c.ip.value & 0xFF, sequence = 90000 + static_cast<unsigned>(rounds);
        esp_passes(c, 0x1000 + n, 0x2000 + n, sequence, where);
        sends(c, c.message(kInformational2, 7 + static_cast<unsigned>(rounds)), where);
      }
      // Who has something stays where it is, whatever is reloaded.
      lab().reload(config);
      lab().drop_predecessors();
    }
  }
  void come_up() {
    for (unsigned n = 1; n <= 8; ++n) {
      peers_.push_back(joins(n));
      const std::uint32_t last = peers_.back().ip.value & 0xFF;
      pairs(peers_.back(), 0x1000 + last, 0x2000 + last);
    }
  }
  std::vector<Peer> peers_;
};

TEST_P(AlgRestartResharded, AnotherNumberOfWorkers_RestoresTunnels) {
  Config config = Config::with_alg();
  config.pool().addresses = {"203.0.113.3-203.0.113.18"};
  start(config);
  come_up();
  for (const unsigned shards : {3u, 1u, 5u, 2u}) tunnels_go_on_after(config, shards);
}

TEST_P(AlgRestartResharded, NatAddressesDealtOutByReloads_RestoreTunnels) {
  Config config = Config::with_alg();
  config.pool().addresses = {"203.0.113.4-203.0.113.18"};
  start(config);
  config.pool().addresses = {"203.0.113.3-203.0.113.18"};
  lab().reload(config);
  come_up();
  tunnels_go_on_after(config, lab().shards());
}

INSTANTIATE_TEST_SUITE_P(, AlgRestartResharded, shardings(), sharding_name);

TEST_P(AlgRestart, QuickModeInProgress_Completes) {
  start();
  const Peer c1 = joins1(1);
  arms(c1, c1.quick(77));
  quiet(1s);
  restarts();
  sends(c1, c1.quick(77));  // message 3
  EXPECT_FALSE(turn());
  esp_passes(c1, 0x1001, 0x2001);
  gets_esp(c1, 0x2001, 2);
}

TEST_P(AlgRestart, AnswerAfterTheRestart_BeginsATurn) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());
  restarts();
  gets(c1, response(c1.auth()));
  EXPECT_TRUE(turn());
  waits(c2, c2.auth());
}

TEST_P(AlgRestart, OwedSpi_StaysDangling) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  arms(c1);
  quiet(2s);
  restarts();
  EXPECT_EQ(now_there(AlgGauge::kDangling), 1u);
  arms(c2);
  esp_refused_in(0x2001, DropReason::kEspInDangling);
  esp_passes(c2, 0x1002, 0x2002);
  gets_esp(c2, 0x2002, 2);
  EXPECT_FALSE(turn());
  sends_esp(c1, 0x1001);
  gets_esp(c1, 0x2001, 2);
  EXPECT_EQ(lab().state().size(), 6u);  // of each client a mapping, an IKE and an ESP session
}

TEST_P(AlgRestart, EndedMapping_IsRemovedFromTheRecords) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  pairs(c2, 0x1002, 0x2002);
  std::map<std::uint32_t, std::uint16_t> mappings;  // by client: its NAT port
  const auto follow = [&] {
    for (unsigned i = 0; i < lab().shards(); ++i) {
      shared::StateRecord r;
      while (lab().shard(i).alg.journal.take(r)) {
        if (r.kind != shared::StateRecord::Kind::kMapping) continue;
        if (r.gone)
          mappings.erase(r.client.host());
        else
          mappings[r.client.host()] = r.nat_port.host();
      }
    }
  };
  follow();
  EXPECT_EQ(mappings.size(), 2u);
  // With the session that it was kept for, ...
  lab().flush({});
  follow();
  EXPECT_EQ(mappings.size(), 0u);
  // ... which is followed by another one.
  Peer again = c1;
  again.nat = translated(c1.out(c1.message(kInformational2, 3)));
  follow();
  EXPECT_EQ(mappings, (std::map<std::uint32_t, std::uint16_t>{{c1.ip.value, again.nat.port}}));
  // With all that its client had.
  quiet(2h);
  follow();
  EXPECT_EQ(mappings.size(), 0u);
}

TEST_P(AlgRestart, AMappingWhoseIkeSessionHasGoneIsRestoredWithItsEsp) {
  Config config = Config::with_alg();
  config.alg().ike_session_timeout = 1min;
  start(config);
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  quiet(10min);
  EXPECT_EQ(now_there(AlgGauge::kIkeSessions), 0u);
  restarts();
  quiet(10min);
  gets(c1, c1.server_child());
}

TEST_P(AlgRestart, HalfOpenSessionsAreRestored) {
  start();
  const Peer c1 = joins(1);
  sends_esp(c1, 0x1001);
  quiet(kT + 1s);
  restarts();
  EXPECT_EQ(now_there(AlgGauge::kEspHalfOpen), 1u);
  sends_esp(c1, 0x1001, 5);
}

TEST_P(AlgRestart, RecordsOfAnotherConfiguration_AreNotRestored) {
  Config config = Config::with_alg();
  start(config);
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  const auto records = lab().state();
  Config other = config;
  other.pool().addresses = {"203.0.113.9"};
  EXPECT_EQ(restart(other, records), 0u);
  EXPECT_EQ(lab().subscribers(), 0u);
  other = config;
  other.group().clients = {"10.0.0.0/8"};
  EXPECT_EQ(restart(other, records), 0u);
  other = config;
  other.group().alg.clear();
  EXPECT_EQ(restart(other, records), 0u);
}

TEST_P(AlgRestart, RecordsIdleBeyondTheirTimeout_AreNotRestored) {
  start();
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  auto records = lab().state();
  for (auto& record : records) record.idle_seconds = 7200;
  EXPECT_EQ(restart(config(), records), 0u);
}

TEST_P(AlgRestart, ContradictoryRecords_LeaveTheFirstTunnelUntouched) {
  Config config = Config::with_alg();
  config.pool().addresses = {"203.0.113.3-203.0.113.18"};
  start(config);
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  auto records = lab().state();
  const std::size_t good = records.size();
  auto more = records;
  for (auto& record : more) record.client = wire::Be32::of(client_ip(2).value);
  records.insert(records.end(), more.begin(), more.end());
  // The second client has the same ports and SPIs: its records find the places taken.
  EXPECT_LE(restart(config, records), good + 0u);
  gets_esp(c1, 0x2001, 7);
  sends_esp(c1, 0x1001, 7);
}

TEST_P(AlgRestart, ConnfailoverDisabled_WritesNoRecord) {
  Config config = Config::with_alg();
  config.alg().conn_failover = false;
  start(config);
  const Peer c1 = joins(1);
  pairs(c1, 0x1001, 0x2001);
  EXPECT_TRUE(lab().state().empty());
}

TEST_P(AlgRestart, JournalOfChanges_EqualsAFullWalk) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  pairs(c1, 0x1001, 0x2001);
  arms(c2);
  gets_esp(c2, 0x6666);  // a candidate that expires
  esp_passes(c2, 0x1002, 0x2002);
  quiet(kT + 1s);
  using Key = std::tuple<int, std::uint32_t, std::uint64_t>;
  const auto key = [](const shared::StateRecord& r) {
    return Key{static_cast<int>(r.kind), r.client.raw(),
               r.kind == shared::StateRecord::Kind::kEspSession
                   ? std::uint64_t{r.place} << 32 | r.shard
                   : r.initiator ^ r.inside_port.raw()};
  };
  std::map<Key, std::pair<std::uint32_t, std::uint32_t>> by_changes, by_walk;
  for (unsigned i = 0; i < lab().shards(); ++i) {
    shared::StateRecord r;
    while (lab().shard(i).alg.journal.take(r)) {
      if (r.gone)
        by_changes.erase(key(r));
      else
        by_changes[key(r)] = {r.spi_out.raw(), r.spi_in.raw()};
    }
  }
  for (const auto& r : lab().state()) by_walk[key(r)] = {r.spi_out.raw(), r.spi_in.raw()};
  EXPECT_EQ(by_changes, by_walk);
  EXPECT_EQ(by_walk.size(), 6u);  // of each client: a mapping, an IKE session, an ESP session
}

INSTANTIATE_TEST_SUITE_P(, AlgRestart, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
