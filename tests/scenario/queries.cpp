// What the control thread asks: `show lsn session` and `flush lsn session`, paged, with filters.
#include <algorithm>
#include <set>
#include <stdexcept>

#include "scenario.hpp"

namespace lsn::test {
namespace {

class Queries : public Scenario {
 protected:
  using Key = std::tuple<std::uint32_t, std::uint16_t, std::uint32_t, std::uint16_t>;

  static Key key_of(const SessionRow& row) {
    return {row.subscriber_ip.value, row.subscriber_port, row.remote_ip.value, row.remote_port};
  }
  [[nodiscard]] static Endpoint client(unsigned i) {
    return {Ip{"192.0.2.10"} + i % 50, static_cast<std::uint16_t>(3000 + i / 50)};
  }
  void open(unsigned n, unsigned from = 0) {
    for (unsigned i = from; i < from + n; ++i) translated(udp(client(i), kServer));
  }
  /// Two groups, 192.0.2.0/27 and 192.0.2.32/27.
  [[nodiscard]] static Config two_groups() {
    Config config = Config::standard();
    config.groups[0].clients = {"192.0.2.0/27"};
    config.add_group("OTHERS", {"192.0.2.32/27"}, {"POOL"});
    return config;
  }
  static SessionFilter of_group(unsigned group) {
    SessionFilter filter;
    filter.group = static_cast<std::uint16_t>(group);
    return filter;
  }
  static wire::Ipv4Prefix prefix(Ip ip, unsigned length) {
    return {wire::Ipv4Address{ip.value}, length};
  }
};

TEST_P(Queries, EverySessionIsListedOnceWhateverThePages) {
  start();
  open(150);
  for (const auto& [limit, budget] :
       {std::pair{1u, 1u}, {1u, 1000u}, {7u, 3u}, {256u, 1u}, {1000u, 100000u}, {64u, 64u}}) {
    const std::vector<SessionRow> rows = lab().sessions({}, limit, budget);
    std::set<Key> keys;
    for (const SessionRow& row : rows) keys.insert(key_of(row));
    EXPECT_EQ(rows.size(), 150u);
    EXPECT_EQ(keys.size(), 150u);
  }
}

TEST_P(Queries, APageVisitsNoMoreThanItsBudgetAndHasNoMoreRowsThanItsLimit) {
  start();
  open(150);
  datapath::Shard& shard = lab().shard();
  shared::SessionPage page;
  page.limit = 10;
  page.rows.reserve(10);
  std::uint32_t before = 0;
  while (!page.finished) {
    page.rows.clear();
    list_sessions(shard, page, 6);
    EXPECT_LE(page.rows.size(), 6u);
    EXPECT_LE(page.cursor - before, 6u);
    before = page.cursor;
  }
  page = {};
  page.limit = 10;
  page.rows.reserve(10);
  list_sessions(shard, page, 100000);
  EXPECT_EQ(page.rows.size(), 10u);
  EXPECT_FALSE(page.finished);
  EXPECT_EQ(page.rows.capacity(), 10u) << "rows grow nowhere but where they were reserved";
}

TEST_P(Queries, ChurnBetweenPages_ListsLastingSessionsOnce) {
  Config config = Config::standard();
  config.group().udp().session_timeout = 60s;
  start(config);
  open(100);
  std::map<Key, unsigned> listed;
  unsigned next = 1000;
  for (unsigned id = 0; id < lab().shards(); ++id) {
    shared::SessionPage page;
    page.limit = 5;
    while (!page.finished) {
      page.rows.clear();
      page.rows.reserve(5);
      list_sessions(lab().shard(id), page, 5);
      for (const SessionRow& row : page.rows) ++listed[key_of(row)];
      // Between two pages: the first half is kept, the second half dies off, others come.
      lab().advance(2s);
      for (unsigned i = 0; i < 50; ++i) translated(udp(client(i), kServer));
      for (unsigned i = 0; i < 3; ++i) translated(udp(client(next++), kServer));
    }
  }
  for (unsigned i = 0; i < 50; ++i)
    EXPECT_EQ((listed[{client(i).ip.value, client(i).port, kServer.ip.value, kServer.port}]), 1u);
  for (const auto& [key, times] : listed) EXPECT_LE(times, 1u);
}

TEST_P(Queries, Filters_SelectByGroupNetworkMaskAndNatEndpoint) {
  start(two_groups());
  for (unsigned i = 0; i < 50; ++i) translated(udp(client(i), kServer));  // .10 to .59
  const std::vector<SessionRow> all = sessions();
  ASSERT_EQ(all.size(), 50u);

  const std::uint16_t others = all[0].subscriber_ip.value < Ip{"192.0.2.32"}.value
                                   ? static_cast<std::uint16_t>(1 - all[0].group)
                                   : all[0].group;
  EXPECT_EQ(sessions(of_group(others)).size(), 28u);
  EXPECT_EQ(sessions(of_group(1u - others)).size(), 22u);
  EXPECT_EQ(sessions(of_group(77)).size(), 0u);

  SessionFilter filter;
  filter.network = prefix("192.0.2.16", 28);
  EXPECT_EQ(sessions(filter).size(), 16u);
  filter.network = prefix("192.0.2.20", 32);
  EXPECT_EQ(sessions(filter).size(), 1u);
  filter.network = prefix("0.0.0.0", 0);
  EXPECT_EQ(sessions(filter).size(), 50u);
  // Any mask: all odd addresses.
  filter.network = prefix("0.0.0.1", 32);
  filter.netmask = 1;
  EXPECT_EQ(sessions(filter).size(), 25u);

  filter = {};
  filter.nat_ip = all[7].nat_ip;
  const auto same_ip = count(all, [&](const SessionRow& r) { return r.nat_ip == all[7].nat_ip; });
  EXPECT_EQ(sessions(filter).size(), same_ip);
  filter.nat_port = all[7].nat_port;
  ASSERT_EQ(sessions(filter).size(), 1u);
  EXPECT_EQ(key_of(sessions(filter)[0]), key_of(all[7]));
  filter.network = prefix("10.0.0.0", 8);
  EXPECT_EQ(sessions(filter).size(), 0u);
}

TEST_P(Queries, RowsTellDirectionProtocolAndTraffic) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  start(config);
  const Endpoint nat = translated(udp(kClient, kServer, pattern(72)));
  returned(udp({"198.18.0.9", 9}, nat, pattern(22)), kClient);
  translated(ping(kClient, kServer.ip));
  lab().advance(7s);
  returned(udp(kServer, nat, pattern(2)), kClient);
  unsigned seen = 0;
  for (const SessionRow& row : sessions()) {
    EXPECT_EQ(row.age_seconds, 7u);
    if (row.protocol == Protocol::kIcmp) {
      ++seen;
      EXPECT_EQ(row.subscriber_port, kClient.port);
      EXPECT_EQ(row.remote_port, 0u);
      EXPECT_EQ(row.idle_seconds, 7u);
    } else if (row.direction == Direction::kInbound) {
      ++seen;
      EXPECT_EQ(row.remote_ip.value, Ip{"198.18.0.9"}.value);
      EXPECT_EQ(row.packets[1], 1u);
      EXPECT_EQ(row.bytes[1], 50u);
      EXPECT_EQ(row.packets[0], 0u);
    } else {
      ++seen;
      EXPECT_EQ(row.idle_seconds, 0u);
      EXPECT_EQ(row.packets[0], 1u);
      EXPECT_EQ(row.bytes[0], 100u);
      EXPECT_EQ(row.packets[1], 1u);
      EXPECT_EQ(row.bytes[1], 30u);
    }
    EXPECT_EQ(row.state, SessionState::kActive);
  }
  EXPECT_EQ(seen, 3u);
}

TEST_P(Queries, AFlushEndsSessionsOfEveryProtocol) {
  start();
  translated(tcp(kClient, kServer, kSyn));
  translated(ping(kClient, kServer.ip));
  EXPECT_EQ(lab().flush({}), 2u);
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kIcmp}) {
    EXPECT_EQ(lab().session_count(protocol), 0u);
    EXPECT_EQ(ended(protocol, SessionEnd::kFlushed), 1u);
  }
}

TEST_P(Queries, AFlushEndsAllSessionsAndForgetsTheirMappings) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  start(config);
  open(120);
  const Endpoint nat = translated(udp(kClient, kServer));
  EXPECT_EQ(lab().flush({}), 121u);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
  EXPECT_EQ(lab().mapping_count(Protocol::kUdp), 0u);
  EXPECT_EQ(lab().subscribers(), 0u);
  refused_from_outside(udp(kServer, nat), DropReason::kNoMapping);
  EXPECT_EQ(lab().flush({}), 0u);
  open(120);
}

TEST_P(Queries, FlushWithAFilter_EndsMatchingSessionsOnly) {
  const auto flushes = [&](const SessionFilter& filter, Where where = Where::current()) {
    const auto before = sessions();
    const auto matching = sessions(filter);
    if (matching.empty() || matching.size() == before.size())
      fail(where) << "a filter that selects " << matching.size() << " of " << before.size();
    const std::uint64_t flushed = lab().flush(filter, 3);
    if (flushed != matching.size())
      fail(where) << flushed << " flushed, expected " << matching.size();
    const auto after = sessions();
    if (after.size() != before.size() - matching.size()) fail(where) << after.size() << " are left";
    if (!sessions(filter).empty()) fail(where) << "some that match are left";
    open(50);  // those that were ended begin anew
  };
  start(two_groups());
  open(50);
  flushes(of_group(0));
  flushes(of_group(1));
  SessionFilter filter;
  filter.network = prefix("192.0.2.16", 28);
  flushes(filter);
  filter = {};
  filter.network = prefix("0.0.0.1", 32);
  filter.netmask = 1;
  flushes(filter);
  filter = {};
  filter.nat_ip = sessions()[5].nat_ip;
  flushes(filter);
  filter.nat_port = sessions(filter)[0].nat_port;
  flushes(filter);
  filter = {};
  filter.nat_port = sessions()[5].nat_port;
  flushes(filter);
}

TEST_P(Queries, AFlushTakesIdleMappingsAlong) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  config.group().udp().session_timeout = 60s;
  start(config);
  const Endpoint nat = translated(udp(kClient, kServer));
  lab().advance(61s);
  ASSERT_EQ(lab().mapping_count(Protocol::kUdp), 1u);
  SessionFilter other;
  other.nat_port = static_cast<std::uint16_t>(nat.port ^ 1);
  EXPECT_EQ(lab().flush(other), 0u);
  EXPECT_EQ(lab().mapping_count(Protocol::kUdp), 1u);
  SessionFilter filter;
  filter.nat_port = nat.port;
  EXPECT_EQ(lab().flush(filter), 0u);
  EXPECT_EQ(lab().mapping_count(Protocol::kUdp), 0u);
  EXPECT_EQ(lab().subscribers(), 0u);
}

TEST_P(Queries, FlushInSteps_KeepsItsBudget) {
  start();
  for (std::uint16_t i = 0; i < 500; ++i)
    translated(udp({kClient.ip, static_cast<std::uint16_t>(2000 + i)}, kServer));
  std::uint64_t flushed = 0;
  for (unsigned id = 0; id < lab().shards(); ++id) {
    shared::SessionFlush flush;
    while (!flush.finished) {
      const std::uint64_t before = flush.flushed;
      flush_sessions(lab().shard(id), flush, 10);
      EXPECT_LE(flush.flushed - before, 10u);
      // Traffic goes on between two steps: another subscriber's, and new sessions of this one.
      translated(
          udp({"192.0.2.77", 7}, {Ip{"198.18.1.0"} + static_cast<unsigned>(flush.flushed), 7}));
    }
    flushed += flush.flushed;
  }
  EXPECT_GE(flushed, 500u);
  EXPECT_EQ(count(sessions(),
                  [](const SessionRow& r) { return r.subscriber_ip.value == kClient.ip.value; }),
            0u);
}

TEST_P(Queries, EndedSessionsAreCountedByTheirEnd) {
  Config config = Config::standard();
  config.group().udp().session_timeout = 60s;
  start(config);
  open(10);
  lab().advance(61s);
  open(7);
  lab().flush({});
  open(5);
  this->config().remove_group("GROUP");
  lab().reload(this->config());
  EXPECT_EQ(ended(Protocol::kUdp, SessionEnd::kExpired), 10u);
  EXPECT_EQ(ended(Protocol::kUdp, SessionEnd::kFlushed), 7u);
  EXPECT_EQ(ended(Protocol::kUdp, SessionEnd::kReload), 5u);
}

// ── subscribers, mappings, usage, drops, one packet ─────────────────────────────────────────────

/// The pages of all shards.
template <class Page>
decltype(Page::rows) all_pages(Lab& lab, decltype(Page::filter) filter, std::uint32_t limit,
                               std::size_t budget, auto&& list) {
  decltype(Page::rows) all;
  for (unsigned id = 0; id < lab.shards(); ++id) {
    Page page;
    page.filter = filter;
    page.limit = limit;
    for (unsigned steps = 0; !page.finished; ++steps) {
      if (steps > 100'000) throw std::runtime_error("the list does not end");
      page.rows.clear();
      list(lab.shard(id), page, budget);
      EXPECT_LE(page.rows.size(), limit);
      all.insert(all.end(), page.rows.begin(), page.rows.end());
    }
  }
  return all;
}

TEST_P(Queries, Subscribers_AreListedOnceWithSessionsPortsAndBytes) {
  start();
  for (unsigned i = 0; i < 30; ++i)
    for (unsigned n = 0; n <= i; ++n)
      translated(udp({Ip{"192.0.2.100"} + i, static_cast<std::uint16_t>(3000 + n)}, kServer));
  for (const bool with_bytes : {false, true})
    for (const auto& [limit, budget] : {std::pair{1u, 1u}, {7u, 3u}, {1000u, 64u}}) {
      shared::SubscriberFilter filter;
      filter.with_bytes = with_bytes;
      const auto rows = all_pages<shared::SubscriberPage>(lab(), filter, limit, budget,
                                                          datapath::list_subscribers);
      ASSERT_EQ(rows.size(), 30u);
      std::set<std::uint32_t> seen;
      for (const auto& row : rows) {
        seen.insert(row.ip.value);
        const unsigned n = row.ip.value - Ip{"192.0.2.100"}.value + 1;
        EXPECT_EQ(row.sessions[static_cast<std::size_t>(Protocol::kUdp)], n);
        EXPECT_EQ(row.ports[static_cast<std::size_t>(Protocol::kUdp)], n);
        std::uint64_t carried = 0;
        for (const SessionRow& session : sessions())
          if (session.subscriber_ip == row.ip) carried += session.bytes[0] + session.bytes[1];
        EXPECT_EQ(row.bytes[0] + row.bytes[1], with_bytes ? carried : 0u);
      }
      EXPECT_EQ(seen.size(), 30u);
    }
  shared::SubscriberFilter one;
  one.network = prefix("192.0.2.105", 32);
  one.with_bytes = true;
  const auto rows =
      all_pages<shared::SubscriberPage>(lab(), one, 10, 2, datapath::list_subscribers);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].sessions[static_cast<std::size_t>(Protocol::kUdp)], 6u);
  EXPECT_NE(rows[0].bytes[0], 0u);
  one.network = prefix("192.0.2.99", 32);
  EXPECT_TRUE(
      all_pages<shared::SubscriberPage>(lab(), one, 10, 2, datapath::list_subscribers).empty());
}

TEST_P(Queries, BytesOfASubscriberAreAddedUpWhileItsSessionsEnd) {
  start();
  for (std::uint16_t i = 0; i < 100; ++i)
    translated(udp({kClient.ip, static_cast<std::uint16_t>(2000 + i)}, kServer));
  const std::uint64_t each = sessions().at(0).bytes[0];
  for (unsigned id = 0; id < lab().shards(); ++id) {
    datapath::Shard& shard = lab().shard(id);
    shared::SubscriberPage page;
    page.filter.with_bytes = true;
    std::uint64_t flushed = 0;
    for (unsigned steps = 0; !page.finished; ++steps) {
      ASSERT_LT(steps, 10'000u);
      datapath::list_subscribers(shard, page, 3);
      // Now and then the very session where it would go on ends: what was added up begins anew.
      if (steps % 9 != 4 || page.next == lsn::state::kNone || flushed == 5) continue;
      shared::SessionFlush flush;
      flush.filter.nat_ip = wire::Ipv4Address{shard.lsn44.sessions[page.next].nat_ip};
      flush.filter.nat_port = shard.lsn44.sessions[page.next].nat_port.host();
      while (!flush.finished) datapath::flush_sessions(shard, flush, 100);
      flushed += flush.flushed;
    }
    for (const auto& row : page.rows) {
      EXPECT_EQ(flushed, 5u);
      EXPECT_EQ(row.bytes[0], (100 - flushed) * each);
    }
  }
}

TEST_P(Queries, MappingsAreListedWithAndWithoutSessions) {
  Config config = Config::standard();
  config.group().udp().session_timeout = 60s;
  config.group().udp().stun_timeout = 300s;
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  start(config);
  const Endpoint nat = translated(udp(kClient, kServer));
  auto rows = all_pages<shared::MappingPage>(lab(), {}, 10, 3, datapath::list_mappings);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].sessions, 1u);
  EXPECT_EQ(rows[0].nat_port, nat.port);
  EXPECT_EQ(rows[0].subscriber_port, kClient.port);
  EXPECT_FALSE(rows[0].remote_ip);
  lab().advance(100s);
  rows = all_pages<shared::MappingPage>(lab(), {}, 10, 3, datapath::list_mappings);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].sessions, 0u);
  EXPECT_NEAR(rows[0].left_seconds, 260, 5);
  SessionFilter other;
  other.nat_port = static_cast<std::uint16_t>(nat.port ^ 1);
  EXPECT_TRUE(all_pages<shared::MappingPage>(lab(), other, 10, 3, datapath::list_mappings).empty());
}

TEST_P(Queries, UsageCountsAddressesPortsSubscribersAndSessions) {
  start(two_groups());
  open(100);
  shared::Usage sum;
  sum.pools.resize(1);
  sum.groups.resize(2);
  for (unsigned id = 0; id < lab().shards(); ++id) {
    shared::Usage usage;
    usage.pools.resize(1);
    usage.groups.resize(2);
    while (!usage.finished) datapath::survey_usage(lab().shard(id), usage, 3);
    sum.pools[0].addresses += usage.pools.at(0).addresses;
    sum.pools[0].ports[1] += usage.pools.at(0).ports[1];
    for (std::size_t g = 0; g < 2; ++g) {
      sum.groups[g].subscribers += usage.groups.at(g).subscribers;
      sum.groups[g].sessions[1] += usage.groups.at(g).sessions[1];
      sum.groups[g].ports[1] += usage.groups.at(g).ports[1];
    }
  }
  EXPECT_EQ(sum.pools[0].addresses, lab().shard().generation->nat_addresses.count());
  EXPECT_EQ(sum.pools[0].ports[1], 100u);
  EXPECT_EQ(sum.groups[0].subscribers + sum.groups[1].subscribers, 50u);
  for (std::size_t g = 0; g < 2; ++g) {
    const auto expected = count(sessions(), [&](const SessionRow& row) { return row.group == g; });
    EXPECT_EQ(sum.groups[g].sessions[1], expected);
    EXPECT_EQ(sum.groups[g].ports[1], expected);
  }
}

TEST_P(Queries, TheLastDroppedPacketsAreKeptByReason) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  refused_from_outside(udp({"198.18.0.77", 7}, nat), DropReason::kFiltered);
  lab().advance(1s);
  refused_from_outside(udp({"198.18.0.78", 8}, nat), DropReason::kFiltered);
  refused_from_outside(udp({"198.18.0.79", 9}, nat), DropReason::kFiltered);  // in the same tick
  shared::DropFilter filter;
  filter.reason = DropReason::kFiltered;
  auto rows = all_pages<shared::DropPage>(lab(), filter, 10, 7, datapath::list_drops);
  std::sort(rows.begin(), rows.end(), [](auto& a, auto& b) { return a.age_ms > b.age_ms; });
  ASSERT_GE(rows.size(), 2u);
  EXPECT_EQ(rows[0].source.value, Ip{"198.18.0.77"}.value);
  EXPECT_EQ(rows[0].source_port, 7);
  EXPECT_EQ(rows[0].destination.value, nat.ip.value);
  EXPECT_EQ(rows[0].destination_port, nat.port);
  EXPECT_EQ(rows[0].protocol, 17);
  EXPECT_NEAR(static_cast<double>(rows[0].age_ms), 1000, 20);
  EXPECT_EQ(rows[1].source.value, Ip{"198.18.0.78"}.value);
  filter.address = wire::Ipv4Address{Ip{"198.18.0.77"}.value};
  EXPECT_EQ(all_pages<shared::DropPage>(lab(), filter, 10, 7, datapath::list_drops).size(), 1u);
  // One ring does not push another one's out, and each keeps no more than its room.
  for (unsigned i = 0; i < 100; ++i) {
    refused_from_outside(udp({Ip{"198.18.1.0"} + i, 9}, nat), DropReason::kFiltered);
    lab().advance(20ms);
  }
  filter = {};
  filter.reason = DropReason::kFiltered;
  rows = all_pages<shared::DropPage>(lab(), filter, 1000, 7, datapath::list_drops);
  EXPECT_EQ(rows.size(), datapath::RecentDrops::kKept);
  for (const auto& row : rows) EXPECT_GE(row.source.value, Ip{"198.18.1.68"}.value);
}

TEST_P(Queries, NeighboursAreListed) {
  start();
  translated(udp(kClient, kServer));
  const auto rows = all_pages<shared::NeighbourPage>(lab(), {}, 10, 3, datapath::list_neighbours);
  EXPECT_TRUE(std::ranges::any_of(rows, [](const auto& row) {
    return row.reachable && row.ip.value == kGateway.value && row.gateway &&
           row.mac != wire::MacAddress{};
  }));
}

TEST_P(Queries, LookupOfAStaticMapping_FindsItsSubscriber) {
  constexpr Endpoint kNat = {"203.0.113.5", 80};
  Config config = Config::standard();
  config.add_static(Protocol::kUdp, kClient, kNat);
  start(config);
  const auto ask = [&] {
    shared::Lookup best;
    for (unsigned id = 0; id < lab().shards(); ++id) {
      shared::Lookup lookup;
      lookup.direction = shared::Direction::kInbound;
      lookup.protocol = Protocol::kUdp;
      lookup.local = wire::Ipv4Address{kNat.ip.value};
      lookup.local_port = kNat.port;
      lookup.remote = wire::Ipv4Address{Ip("198.18.0.99").value};
      lookup.remote_port = 99;
      datapath::look_up(lab().shard(id), lookup, 1);
      if (lookup.owns_address) best = lookup;
    }
    return best;
  };
  EXPECT_TRUE(ask().static_held);
  EXPECT_FALSE(ask().subscriber) << "it has nothing yet";
  translated_to(udp(kClient, kServer), kNat);
  const auto found = ask();
  ASSERT_TRUE(found.subscriber);
  EXPECT_FALSE(found.session || found.mapping);
  EXPECT_EQ(found.subscriber->ip, wire::Ipv4Address{kClient.ip.value});
  EXPECT_EQ(found.subscriber->sessions[static_cast<std::size_t>(Protocol::kUdp)], 1u);
}

TEST_P(Queries, Lookup_FindsSessionAndMappingWithoutChangingThem) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  start(config);
  const Endpoint nat = translated(udp(kClient, kServer));
  const auto ask = [&](shared::Direction direction, Endpoint local, Endpoint remote) {
    shared::Lookup best;
    for (unsigned id = 0; id < lab().shards(); ++id) {
      shared::Lookup lookup;
      lookup.direction = direction;
      lookup.protocol = Protocol::kUdp;
      lookup.local = wire::Ipv4Address{local.ip.value};
      lookup.remote = wire::Ipv4Address{remote.ip.value};
      lookup.local_port = local.port;
      lookup.remote_port = remote.port;
      lookup.policy = kEndpointIndependent;
      datapath::look_up(lab().shard(id), lookup, 1);
      EXPECT_TRUE(lookup.finished);
      if (lookup.session || lookup.mapping || lookup.subscriber || lookup.owns_address)
        best = lookup;
    }
    return best;
  };
  using enum shared::Direction;
  const auto out = ask(kOutbound, kClient, kServer);
  ASSERT_TRUE(out.session && out.subscriber && out.mapping);
  EXPECT_EQ(out.session->nat_port, nat.port);
  const auto elsewhere = ask(kOutbound, kClient, {"198.18.0.99", 99});
  EXPECT_FALSE(elsewhere.session);
  ASSERT_TRUE(elsewhere.mapping) << "it would use the same NAT endpoint";
  EXPECT_EQ(elsewhere.mapping->nat_port, nat.port);
  const auto in = ask(kInbound, nat, kServer);
  ASSERT_TRUE(in.session && in.owns_address && in.port_taken);
  const auto unsolicited = ask(kInbound, nat, {"198.18.0.99", 99});
  EXPECT_FALSE(unsolicited.session);
  ASSERT_TRUE(unsolicited.mapping && unsolicited.subscriber);
  EXPECT_TRUE(unsolicited.admits);
  const auto nobody = ask(kInbound, {nat.ip, static_cast<std::uint16_t>(nat.port ^ 1)}, kServer);
  EXPECT_FALSE(nobody.session || nobody.mapping || nobody.port_taken);
  EXPECT_EQ(sessions().size(), 1u);
  EXPECT_EQ(lab().subscribers(), 1u);
  EXPECT_EQ(lab().mapping_count(Protocol::kUdp), 1u);
}

INSTANTIATE_TEST_SUITE_P(Sharded, Queries, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
