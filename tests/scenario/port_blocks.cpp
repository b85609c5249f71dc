// Port blocks (portblockallocation): a subscriber's ports lie in blocks that it has to itself, so
// that one record says who was behind any of them (RFC 6888 section 4, RFC 7422 section 3).
#include <map>
#include <set>

#include "scenario.hpp"

namespace lsn::test {
namespace {

constexpr unsigned kSize = 256;

class PortBlocks : public Scenario {
 protected:
  static constexpr AppPolicy kPaired = {.pooling = Pooling::kPaired};

  /// Blocks of 256 ports, up to `most`, PAIRED pooling or not.
  [[nodiscard]] static Config with_blocks(unsigned most, Pooling pooling = Pooling::kPaired) {
    Config config = Config::standard();
    config.pool().has_blocks = true;
    config.group().blocks = {.size = kSize, .most = most, .timeout = std::chrono::seconds{120}};
    for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp})
      config.group().app(protocol, {.pooling = pooling});
    return config;
  }
  static Endpoint client(unsigned port, Ip ip = kClient.ip) {
    return {ip, static_cast<std::uint16_t>(port)};
  }
  /// The number of the block that a NAT port lies in; every port of a block is at 1024 or above.
  static unsigned block_of(Endpoint nat) {
    EXPECT_GE(nat.port, 1024);
    return (nat.port - 1024u) / kSize;
  }
  /// Blocks that subscribers have, by the gauge.
  [[nodiscard]] std::uint64_t blocks() { return lab().total(&Counters::port_blocks); }
};

TEST_P(PortBlocks, AllPortsOfASubscriberLieInOneBlockWhateverTheProtocol) {
  start(with_blocks(1));
  std::set<std::pair<Ip, unsigned>> seen;
  for (unsigned i = 0; i < 60; ++i) {
    for (const IpPacket& packet :
         {udp(client(2000 + i), kServer), tcp(client(2000 + i), kServer, kSyn),
          ping(client(2000 + i), kServer.ip)}) {
      const Endpoint nat = translated(packet);
      seen.emplace(nat.ip, block_of(nat));
    }
  }
  EXPECT_EQ(seen.size(), 1u);
  EXPECT_EQ(blocks(), 1u);
}

TEST_P(PortBlocks, NoTwoSubscribersShareABlock) {
  start(with_blocks(1));
  std::map<std::pair<Ip, unsigned>, Ip> owners;
  for (unsigned n = 0; n < 200; ++n) {
    const Ip subscriber = Ip{"192.0.2.20"} + n;
    for (unsigned i = 0; i < 5; ++i) {
      const Endpoint nat = translated(udp(client(3000 + i, subscriber), kServer));
      const auto [there, is_new] = owners.try_emplace({nat.ip, block_of(nat)}, subscriber);
      EXPECT_EQ(there->second, subscriber);
    }
  }
  EXPECT_EQ(owners.size(), 200u);
  EXPECT_EQ(blocks(), 200u);
}

TEST_P(PortBlocks, AFullBlockIsFollowedByOthersUpToMaxBlocks) {
  start(with_blocks(2));
  std::set<std::pair<Ip, unsigned>> seen;
  std::set<Endpoint> used;
  for (unsigned i = 0; i < 2 * kSize; ++i) {
    const Endpoint nat = translated(udp(client(2000 + i), kServer));
    EXPECT_TRUE(used.insert(nat).second);
    seen.emplace(nat.ip, block_of(nat));
  }
  EXPECT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen.begin()->first, seen.rbegin()->first) << "PAIRED: of one address";
  expect_unreachable_inside(udp(client(9000), kServer), DropReason::kPortBlockFull);
  // Another protocol has all its ports.
  const Endpoint nat = translated(tcp(client(9000), kServer, kSyn));
  EXPECT_TRUE(seen.contains({nat.ip, block_of(nat)}));
}

TEST_P(PortBlocks, RandomPooling_TakesFurtherBlocksOfAnyAddress) {
  start(with_blocks(8, Pooling::kRandom));
  std::set<std::pair<Ip, unsigned>> seen;
  for (unsigned i = 0; i < 8 * kSize; ++i) {
    const Endpoint nat = translated(udp(client(2000 + i), kServer));
    seen.emplace(nat.ip, block_of(nat));
  }
  EXPECT_EQ(seen.size(), 8u);
  EXPECT_NE(seen.begin()->first, seen.rbegin()->first);
}

TEST_P(PortBlocks, NoFreeBlockIsLeft_TheRefusalSaysSo) {
  Config config = with_blocks(1);
  config.pool().addresses = {"203.0.113.3"};
  config.group().blocks.size = 16128;  // four of an address
  start(config);
  for (unsigned n = 0; n < 4; ++n) translated(udp(client(2000, Ip{"192.0.2.20"} + n), kServer));
  expect_unreachable_inside(udp(client(2000, "192.0.2.60"), kServer), DropReason::kNoFreeBlock);
  EXPECT_EQ(lab().subscribers(), 4u);
  // When a block is given back the next one finds it.
  lab().advance(120s + 121s);
  EXPECT_EQ(blocks(), 0u);
  translated(udp(client(2000, "192.0.2.60"), kServer));
}

TEST_P(PortBlocks, AnAddressWithoutFreeBlocksIsPassedOver) {
  Config config = with_blocks(1);
  config.pool().addresses = {"203.0.113.3-203.0.113.6"};
  config.group().blocks.size = 32256;  // two of an address
  start(config);
  std::map<unsigned, unsigned> left;
  for (unsigned i = 0; i < 4; ++i) left[owner_of_nat(Ip{"203.0.113.3"} + i)] += 2;
  std::set<Endpoint> firsts;
  for (unsigned n = 0; n < 60; ++n) {
    const Ip subscriber = Ip{"192.0.2.20"} + n;
    if (left[owner_of(subscriber)] == 0) {
      expect_unreachable_inside(udp(client(2000, subscriber), kServer), DropReason::kNoFreeBlock);
      continue;
    }
    --left[owner_of(subscriber)];
    const Endpoint nat = translated(udp(client(2000, subscriber), kServer));
    EXPECT_TRUE(
        firsts.insert({nat.ip, static_cast<std::uint16_t>((nat.port - 1024) / 32256)}).second);
  }
  EXPECT_EQ(firsts.size(), 8u);
}

TEST_P(PortBlocks, ABlockIsGivenBackBlockTimeoutAfterItsLastPort) {
  start(with_blocks(1));
  translated(udp(client(2000), kServer));
  lab().advance(100s);
  translated(udp(client(2001), kServer));
  lab().advance(119s);  // the second session goes at 220 s
  EXPECT_EQ(blocks(), 1u);
  lab().advance(2s);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
  EXPECT_EQ(blocks(), 1u);
  lab().advance(118s);
  EXPECT_EQ(blocks(), 1u);
  EXPECT_EQ(lab().subscribers(), 1u);
  lab().advance(3s);
  EXPECT_EQ(blocks(), 0u);
  EXPECT_EQ(lab().subscribers(), 0u);
}

TEST_P(PortBlocks, ASubscriberThatComesBackInTimeKeepsItsBlock) {
  start(with_blocks(1));
  const Endpoint first = translated(udp(client(2000), kServer));
  lab().advance(200s);
  ASSERT_EQ(lab().session_count(Protocol::kUdp), 0u);
  const Endpoint second = translated(udp(client(2001), kServer));
  EXPECT_EQ(second.ip, first.ip);
  EXPECT_EQ(block_of(second), block_of(first));
}

TEST_P(PortBlocks, BlockTimeoutZero_GivesABlockBackWithItsLastPort) {
  Config config = with_blocks(1);
  config.group().blocks.timeout = 0s;
  start(config);
  translated(udp(client(2000), kServer));
  lab().advance(119s);
  EXPECT_EQ(blocks(), 1u);
  lab().advance(2s);
  EXPECT_EQ(blocks(), 0u);
  EXPECT_EQ(lab().subscribers(), 0u);
}

TEST_P(PortBlocks, PortsThatWait_KeepTheirBlock) {
  Config config = with_blocks(1);
  config.pool().realloc_timeout = 300s;
  config.group().blocks.timeout = 10s;
  start(config);
  translated(udp(client(2000), kServer));
  lab().advance(400s);  // the session is gone for 280 s
  EXPECT_EQ(blocks(), 1u);
  lab().advance(40s);
  EXPECT_EQ(blocks(), 0u);
}

// A request in between finds the block full; it is not when they have waited.
TEST_P(PortBlocks, PortsThatHaveWaited_AreTheBlocksAgain) {
  Config config = with_blocks(1);
  config.pool().realloc_timeout = 60s;
  config.group().blocks.timeout = 600s;
  start(config);
  for (unsigned i = 0; i < kSize; ++i) translated(udp(client(2000 + i), kServer));
  lab().advance(121s);
  expect_unreachable_inside(udp(client(9000), kServer), DropReason::kPortBlockFull);
  lab().advance(61s);
  translated(udp(client(9000), kServer));
}

TEST_P(PortBlocks, ASharedMapping_TakesOnePortOfTheBlock) {
  Config config = with_blocks(1);
  config.group().apps.clear();
  config.group().app(Protocol::kUdp, {.pooling = Pooling::kPaired,
                                      .mapping = Dependence::kEndpointIndependent,
                                      .filtering = Dependence::kEndpointIndependent});
  start(config);
  const Endpoint nat = translated(udp(kClient, kServer));
  for (unsigned i = 1; i < 300; ++i)
    EXPECT_EQ(translated(udp(kClient, {"198.18.0.1", static_cast<std::uint16_t>(1000 + i)})), nat);
  returned(udp({"198.18.9.9", 99}, nat), kClient);
  // An idle mapping has its port, for stuntimeout.
  lab().advance(600s);
  EXPECT_EQ(blocks(), 1u);
  lab().advance(130s + 121s);
  EXPECT_EQ(blocks(), 0u);
}

TEST_P(PortBlocks, PortParity_IsKeptWithinABlock) {
  Config config = with_blocks(1);
  config.group().udp().preserve_parity = true;
  config.group().udp().preserve_range = true;  // a block has no well-known ports
  start(config);
  for (unsigned port = 500; port < 600; ++port) {
    const Endpoint nat = translated(udp(client(port), kServer));
    EXPECT_EQ(nat.port % 2u, port % 2u);
    EXPECT_GE(nat.port, 1024u);
  }
}

// ── reload ──────────────────────────────────────────────────────────────────────────────────────

TEST_P(PortBlocks, ReloadThatChangesNothing_KeepsBlocksAndSessions) {
  start(with_blocks(2));
  const Endpoint nat = translated(udp(client(2000), kServer));
  EXPECT_EQ(lab().reload(config()), 0u);
  translated_to(udp(client(2000), kServer), nat);
  EXPECT_EQ(block_of(translated(udp(client(2001), kServer))), block_of(nat));
  EXPECT_EQ(blocks(), 1u);
}

TEST_P(PortBlocks, ReloadThatBringsBlocks_GivesLiveSessionsTheBlocksAroundThem) {
  Config before = with_blocks(8);
  before.pool().has_blocks = false;
  before.group().blocks = {};
  start(before);
  const Endpoint one = translated(udp(client(2000), kServer));
  const Endpoint other = translated(udp(client(2000, "192.0.2.77"), kServer));
  EXPECT_EQ(lab().reload(with_blocks(8)), 0u);
  translated_to(udp(client(2000), kServer), one);
  translated_to(udp(client(2000, "192.0.2.77"), kServer), other);
  EXPECT_EQ(blocks(), 2u);
  EXPECT_EQ(block_of(translated(udp(client(2001), kServer))), block_of(one));
}

TEST_P(PortBlocks, ReloadThatBringsBlocks_EndsSessionsOfABlockThatAnotherHas) {
  Config before = with_blocks(1);
  before.pool().has_blocks = false;
  before.group().blocks = {};
  before.pool().addresses = {"203.0.113.3"};
  start(before);
  // Two blocks of 32,256 ports, and more subscribers than that.
  for (unsigned n = 0; n < 10; ++n) translated(udp(client(2000, Ip{"192.0.2.20"} + n), kServer));
  Config after = with_blocks(1);
  after.pool().addresses = {"203.0.113.3"};
  after.group().blocks.size = 32256;
  const std::uint64_t ended = lab().reload(after);
  EXPECT_EQ(ended, 10u - blocks());
  EXPECT_LE(blocks(), 2u);
  EXPECT_GE(blocks(), 1u);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), blocks());
}

TEST_P(PortBlocks, ReloadThatTakesBlocksAway_KeepsSessionsAndFreesTheBlocksWithThem) {
  start(with_blocks(1));
  const Endpoint nat = translated(udp(client(2000), kServer));
  Config after = with_blocks(1);
  after.pool().has_blocks = false;
  after.group().blocks = {};
  EXPECT_EQ(lab().reload(after), 0u);
  translated_to(udp(client(2000), kServer), nat);
  lab().advance(125s);
  EXPECT_EQ(blocks(), 0u);
  EXPECT_EQ(lab().subscribers(), 0u);
}

TEST_P(PortBlocks, ReloadOfPortblocksize_KeepsBlocksInUseAndCutsTheRestAnew) {
  Config config = with_blocks(8);
  config.pool().addresses = {"203.0.113.3"};
  start(config);
  std::map<unsigned, Endpoint> known;  // by subscriber
  for (unsigned n = 0; n < 20; ++n)
    known[n] = translated(udp(client(2000, Ip{"192.0.2.20"} + n), kServer));
  config.group().blocks.size = 1000;
  EXPECT_EQ(lab().reload(config), 0u);
  for (const auto& [n, nat] : known)
    translated_to(udp(client(2000, Ip{"192.0.2.20"} + n), kServer), nat);
  // New ones get blocks of 1,000 that overlap none of those.
  for (unsigned n = 30; n < 50; ++n) {
    const Endpoint nat = translated(udp(client(2000, Ip{"192.0.2.20"} + n), kServer));
    const unsigned first = 1024 + (nat.port - 1024u) / 1000 * 1000;
    for (const auto& [other, old] : known) {
      const unsigned block = 1024 + block_of(old) * kSize;
      EXPECT_TRUE(block + kSize <= first || first + 1000 <= block) << nat.port << " " << old.port;
    }
  }
  EXPECT_EQ(blocks(), 40u);
}

TEST_P(PortBlocks, ReloadOfAShorterBlockTimeout_HoldsForIdleBlocks) {
  Config config = with_blocks(1);
  config.group().blocks.timeout = 10000s;
  start(config);
  translated(udp(client(2000), kServer));
  lab().advance(300s);
  EXPECT_EQ(blocks(), 1u);
  config.group().blocks.timeout = 10s;
  lab().reload(config);
  lab().advance(1s);
  EXPECT_EQ(blocks(), 0u);
}

TEST_P(PortBlocks, APoolThatIsGone_TakesItsBlocksWithIt) {
  Config config = with_blocks(1);
  config.add_pool("OTHER", {"203.0.113.64-203.0.113.67"}).has_blocks = true;
  start(config);
  translated(udp(client(2000), kServer));
  config.group().pools = {"OTHER"};
  EXPECT_EQ(lab().reload(config), 1u);
  const Endpoint nat = translated(udp(client(2000), kServer));
  EXPECT_TRUE(Network("203.0.113.64-203.0.113.67").contains(nat.ip));
  lab().advance(3s);
  EXPECT_EQ(blocks(), 1u);
}

// ── full tables, queries, the ALG ───────────────────────────────────────────────────────────────

// Nothing dynamic begins there any more, and maxBlocks does not count what is left of it.
TEST_P(PortBlocks, AnAddressThatIsMappedWhole_KeepsNoSubscriberFromAnotherBlock) {
  Config config = with_blocks(1);
  config.pool().addresses = {"203.0.112.0-203.0.112.63"};  // every shard has several
  start(config);
  const Endpoint before = translated(udp(kClient, kServer));
  config.add_one_to_one("192.0.2.99", before.ip);
  lab().reload(config);
  translated_to(udp(kClient, kServer), before);
  EXPECT_NE(translated(udp(client(2000), kServer)).ip, before.ip);
  EXPECT_EQ(blocks(), 2u);
}

TEST_P(PortBlocks, ListOfBlocksNamesSubscribersAndPortsInUse) {
  start(with_blocks(1));
  const Endpoint nat = translated(udp(client(2000), kServer));
  translated(udp(client(2001), kServer));
  translated(tcp(client(2001), kServer, kSyn));
  std::vector<shared::BlockRow> rows;
  for (unsigned id = 0; id < lab().shards(); ++id) {
    shared::BlockPage page;
    page.limit = 10;
    datapath::list_blocks(lab().shard(id), page, 1000);
    EXPECT_TRUE(page.finished);
    rows.insert(rows.end(), page.rows.begin(), page.rows.end());
  }
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].subscriber_ip.value, kClient.ip.value);
  EXPECT_EQ(rows[0].ports.nat_ip.value, nat.ip.value);
  EXPECT_EQ(rows[0].ports.first, 1024 + block_of(nat) * kSize);
  EXPECT_EQ(rows[0].ports.last, rows[0].ports.first + kSize - 1);
  EXPECT_EQ(rows[0].used[Protocol::kUdp], 2u);
  EXPECT_EQ(rows[0].used[Protocol::kTcp], 1u);
  EXPECT_EQ(rows[0].used[Protocol::kIcmp], 0u);
}

TEST_P(PortBlocks, ABlockIsRecordedOnceWhenItIsAllocatedAndOnceWhenItIsFreed) {
  using shared::LogFlags;
  Config config = with_blocks(1);
  config.group().logging = LogFlags::kBlocks | LogFlags::kDeletions;
  start(config);
  const Endpoint nat = translated(udp(client(2000), kServer));
  translated(udp(client(2001), kServer));
  lab().advance(300s);
  ASSERT_EQ(blocks(), 0u);
  const std::vector<shared::LogRecord> records = lab().log_records();
  ASSERT_EQ(records.size(), 2u);
  for (const shared::LogRecord& record : records) {
    EXPECT_EQ(record.kind, shared::LogKind::kBlock);
    EXPECT_EQ(record.subscriber.host(), kClient.ip.value);
    EXPECT_EQ(record.nat_ip.host(), nat.ip.value);
    EXPECT_EQ(record.nat_port.host(), 1024 + block_of(nat) * kSize);
    EXPECT_EQ(record.last_port.host(), 1024 + block_of(nat) * kSize + kSize - 1);
  }
  EXPECT_EQ(records[0].event, shared::LogEvent::kCreated);
  EXPECT_EQ(records[1].event, shared::LogEvent::kDeleted);
}

TEST_P(PortBlocks, AFullTableOfBlocks_IsRefused) {
  Config config = with_blocks(1);
  config.pool().addresses = {"203.0.112.0-203.0.112.255"};
  config.group().clients = {"10.0.0.0-10.0.15.255"};
  config.routes.push_back({"10.0.0.0/8", "192.0.2.10"});
  start(config, {.max_sessions = 4096});  // 1,024 blocks on a shard
  unsigned refused = 0;
  for (unsigned n = 0; n < 2100; ++n) {
    const std::uint64_t before = lab().drops(DropReason::kNoFreeBlock);
    (void)lab().from_inside(udp({Ip{"10.0.0.0"} + n, 2000}, kServer).bytes());
    refused += lab().drops(DropReason::kNoFreeBlock) != before;
  }
  expect_drops({{DropReason::kNoFreeBlock, refused}});
  EXPECT_EQ(blocks() + refused, 2100u);
  EXPECT_GE(refused, 2100u - 1024u * lab().shards());
  EXPECT_LE(blocks(), 1024u * lab().shards());
}

TEST_P(PortBlocks, AnIpsecClientsIkeTakesAPortOfItsBlock) {
  Config config = Config::with_alg();
  config.pool().has_blocks = true;
  config.group().blocks = {.size = kSize, .most = 1};
  start(config);
  const Endpoint ike = translated(udp(client(500), {"198.18.0.1", 500}, pattern(64)));
  const Endpoint web = translated(tcp(client(2000), kServer, kSyn));
  EXPECT_EQ(ike.ip, web.ip);
  EXPECT_EQ(block_of(ike), block_of(web));
  EXPECT_EQ(blocks(), 1u);
}

INSTANTIATE_TEST_SUITE_P(Sharded, PortBlocks, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
