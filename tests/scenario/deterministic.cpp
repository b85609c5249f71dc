// Deterministic NAT: every subscriber's NAT address and ports follow from the configuration alone
// (RFC 7422).
#include <map>
#include <set>

#include "scenario.hpp"

namespace lsn::test {
namespace {

using shared::BlockOrder;

class Deterministic : public Scenario {
 protected:
  /// 192.0.2.0/24 on 203.0.113.3 and 203.0.113.4, blocks of 504 ports: 128 of an address.
  static constexpr unsigned kSize = 504, kPerAddress = 128;

  [[nodiscard]] static Config deterministic(BlockOrder order = BlockOrder::kPorts) {
    Config config = Config::standard();
    config.pool().addresses = {"203.0.113.3-203.0.113.4"};
    config.group().deterministic = order;
    config.group().blocks.size = kSize;
    return config;
  }
  /// By hand: the design's words (lsn44.md) for subscriber 192.0.2.N.
  struct Expected {
    Ip nat;
    unsigned first, last;
  };
  static Expected expected(unsigned n, BlockOrder order = BlockOrder::kPorts) {
    const unsigned address = order == BlockOrder::kPorts ? n / kPerAddress : n % 2;
    const unsigned block = order == BlockOrder::kPorts ? n % kPerAddress : n / 2;
    return {Ip{"203.0.113.3"} + address, 1024 + block * kSize, 1024 + block * kSize + kSize - 1};
  }
  static Endpoint client(unsigned n, unsigned port) {
    return {Ip{"192.0.2.0"} + n, static_cast<std::uint16_t>(port)};
  }
  void expect_in_block(Endpoint nat, unsigned n, BlockOrder order = BlockOrder::kPorts,
                       Where where = Where::current()) {
    const Expected block = expected(n, order);
    if (nat.ip != block.nat || nat.port < block.first || nat.port > block.last)
      fail(where) << "subscriber " << n << ": " << to_text(nat.ip) << ":" << nat.port
                  << ", expected " << to_text(block.nat) << ":" << block.first << "-" << block.last;
  }
  static constexpr auto kSome = {2u, 10u, 127u, 128u, 200u, 254u};
};

TEST_P(Deterministic, PortsPolicy_GivesBlockAfterBlockOfTheFirstAddress) {
  start(deterministic());
  for (const unsigned n : kSome)
    for (unsigned i = 0; i < 20; ++i) {
      expect_in_block(translated(udp(client(n, 2000 + i), kServer)), n);
      expect_in_block(translated(tcp(client(n, 2000 + i), kServer, kSyn)), n);
      expect_in_block(translated(ping(client(n, 2000 + i), kServer.ip)), n);
    }
  EXPECT_EQ(lab().total(&Counters::port_blocks), 0u);
}

TEST_P(Deterministic, IpAddrsPolicy_GivesTheFirstBlockOfEveryAddressFirst) {
  start(deterministic(BlockOrder::kAddresses));
  for (const unsigned n : kSome)
    for (unsigned i = 0; i < 20; ++i)
      expect_in_block(translated(udp(client(n, 2000 + i), kServer)), n, BlockOrder::kAddresses);
}

TEST_P(Deterministic, ReturnTrafficComesToTheSubscriber) {
  start(deterministic());
  std::map<unsigned, Endpoint> nat;
  for (const unsigned n : kSome) nat[n] = translated(udp(client(n, 2000), kServer));
  for (const unsigned n : kSome) returned(udp(kServer, nat[n]), client(n, 2000));
}

TEST_P(Deterministic, TheBlockIsFull_NoOtherPortIsTaken) {
  Config config = deterministic();
  start(config);
  std::set<unsigned> ports;
  for (unsigned i = 0; i < kSize; ++i)
    ports.insert(translated(udp(client(10, 2000 + i), kServer)).port);
  EXPECT_EQ(ports.size(), kSize);
  expect_unreachable_inside(udp(client(10, 9000), kServer), DropReason::kPortBlockFull);
  // The neighbours' blocks are theirs.
  expect_in_block(translated(udp(client(9, 9000), kServer)), 9);
  expect_in_block(translated(udp(client(11, 9000), kServer)), 11);
}

TEST_P(Deterministic, PortsAreTakenAtRandomWithinTheBlock) {
  start(deterministic());
  std::set<unsigned> first_ports;
  unsigned ascending = 0, last = 0;
  for (unsigned i = 0; i < 100; ++i) {
    const Endpoint nat = translated(udp(client(10, 2000 + i), kServer));
    ascending += nat.port > last;
    last = nat.port;
    first_ports.insert(nat.port);
  }
  EXPECT_LT(ascending, 80u);
  EXPECT_GT(*first_ports.rbegin() - *first_ports.begin(), kSize / 2);
}

TEST_P(Deterministic, Hairpin_ReachesTheOtherSubscribersBlock) {
  Config config = deterministic();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  start(config);
  const Endpoint bob = translated(udp(client(200, 2000), kServer));
  const Endpoint alice = translated(udp(client(10, 2000), kServer));
  const std::vector<Frame> frames = lab().from_inside(udp(client(10, 2000), bob).bytes());
  expect_frames(
      frames,
      {lab().to_inside(udp(client(10, 2000), bob).from(alice).to(client(200, 2000)).hop())});
}

TEST_P(Deterministic, AnIpsecClient_HasItsNatAddressWithoutPairedPooling) {
  Config config = Config::with_alg();
  config.pool().addresses = {"203.0.113.3-203.0.113.4"};
  config.group().apps.clear();
  config.group().deterministic = BlockOrder::kPorts;
  config.group().blocks.size = kSize;
  start(config);
  for (const unsigned n : kSome) {
    expect_in_block(translated(udp(client(n, 500), {"198.18.0.1", 500}, pattern(64))), n);
    expect_in_block(translated(tcp(client(n, 2000), kServer, kSyn)), n);
  }
}

// ── reload ──────────────────────────────────────────────────────────────────────────────────────

TEST_P(Deterministic, ReloadThatMovesNobody_KeepsSessions) {
  start(deterministic());
  std::map<unsigned, Endpoint> nat;
  for (const unsigned n : kSome) nat[n] = translated(udp(client(n, 2000), kServer));
  // One more address behind the others.
  config().pool().addresses = {"203.0.113.3-203.0.113.5"};
  EXPECT_EQ(lab().reload(config()), 0u);
  for (const unsigned n : kSome) translated_to(udp(client(n, 2000), kServer), nat[n]);
}

TEST_P(Deterministic, ReloadThatMovesSubscribers_EndsTheirSessionsAndServesThemAnew) {
  start(deterministic());
  std::map<unsigned, Endpoint> nat;
  for (const unsigned n : kSome) nat[n] = translated(udp(client(n, 2000), kServer));
  config().group().deterministic = BlockOrder::kAddresses;
  unsigned stay = 0;
  for (const unsigned n : kSome) {
    const Expected now = expected(n, BlockOrder::kAddresses);
    stay += nat[n].ip == now.nat && now.first <= nat[n].port && nat[n].port <= now.last;
  }
  EXPECT_EQ(lab().reload(config()), kSome.size() - stay);
  for (const unsigned n : kSome) {
    expect_in_block(translated(udp(client(n, 2000), kServer)), n, BlockOrder::kAddresses);
    expect_in_block(translated(udp(client(n, 2001), kServer)), n, BlockOrder::kAddresses);
  }
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 2 * kSome.size());
}

TEST_P(Deterministic, ReloadThatMovesSubscribers_ServesThemBeforeTheSweep) {
  start(deterministic());
  for (const unsigned n : kSome) translated(udp(client(n, 2000), kServer));
  config().group().deterministic = BlockOrder::kAddresses;
  lab().publish(config());
  for (unsigned id = 0; id < lab().shards(); ++id) lab().adopt(id);
  for (const unsigned n : kSome) {
    expect_in_block(translated(udp(client(n, 2000), kServer)), n, BlockOrder::kAddresses);
    expect_in_block(translated(udp(client(n, 2001), kServer)), n, BlockOrder::kAddresses);
  }
  lab().sweep();
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 2 * kSome.size());
}

TEST_P(Deterministic, ReloadFromDynamic_EndsWhatLiesOutsideTheBlocks) {
  Config before = deterministic();
  before.group().deterministic.reset();
  before.group().blocks = {};
  start(before);
  std::map<unsigned, Endpoint> nat;
  unsigned stay = 0;
  for (const unsigned n : kSome) {
    nat[n] = translated(udp(client(n, 2000), kServer));
    const Expected now = expected(n);
    stay += nat[n].ip == now.nat && now.first <= nat[n].port && nat[n].port <= now.last;
  }
  EXPECT_EQ(lab().reload(deterministic()), kSome.size() - stay);
  for (const unsigned n : kSome) expect_in_block(translated(udp(client(n, 2000), kServer)), n);
}

TEST_P(Deterministic, ReloadToDynamic_KeepsSessions) {
  start(deterministic());
  std::map<unsigned, Endpoint> nat;
  for (const unsigned n : kSome) nat[n] = translated(udp(client(n, 2000), kServer));
  Config after = deterministic();
  after.group().deterministic.reset();
  after.group().blocks = {};
  EXPECT_EQ(lab().reload(after), 0u);
  for (const unsigned n : kSome) translated_to(udp(client(n, 2000), kServer), nat[n]);
}

INSTANTIATE_TEST_SUITE_P(Sharded, Deterministic, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
