// Packets come to the workers that own them, on NICs with the habits of DPDK's drivers.
#include "lsn/runtime/steering.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <vector>

#include "unit/nic/fake_nic.hpp"

namespace lsn::runtime {
namespace {

using shared::AddressClasses;
using shared::HashedAddress;
using shared::ShardId;
using test::FakeNic;
using test::Habits;
using test::Received;
using testing::HasSubstr;
using wire::Ipv4Address;

constexpr std::uint64_t kAddresses =
    RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_FRAG_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_OTHER;
constexpr std::uint64_t kTcp = RTE_ETH_RSS_NONFRAG_IPV4_TCP;
constexpr std::uint64_t kUdp = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
constexpr std::uint64_t kSctp = RTE_ETH_RSS_NONFRAG_IPV4_SCTP;
constexpr std::uint64_t kIpv6 = RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_NONFRAG_IPV6_TCP;

using enum Habits::When;

// Key and table are written when it is configured, and stay over starts. Fragments have no profile.
const Habits kIce{.driver = "net_ice",
                  .where =
                      "ice_ethdev.c:3305-3427 (ice_init_rss), 4660-4669, 4752; "
                      "ice_ethdev.h:120; base/ice_flow.c (ptype 22)",
                  .table = 512,
                  .key_size = 52,
                  .types = kAddresses | kTcp | kUdp | kSctp | kIpv6,
                  .reads_key = kConfigure,
                  .reads_key_bytes = 52,
                  .start_makes_table = false,
                  .configure_makes_table = true,
                  .hashes_fragments = false};
// A short key is replaced by Intel's; the table is made anew by each start.
const Habits kI40e{.driver = "net_i40e",
                   .where = "i40e_ethdev.c:8917-8983, 2557, 4467-4491; i40e_rxtx.c:3572",
                   .table = 512,
                   .key_size = 52,
                   .types = kAddresses | kTcp | kUdp | kSctp | RTE_ETH_RSS_NONFRAG_IPV6_TCP,
                   .reads_key_bytes = 52,
                   .least_key = 52};
const Habits kIavf{.driver = "net_iavf",
                   .where = "iavf_ethdev.c:503-556, 1109, 1507, 1581; iavf.h:54",
                   .table = 64,
                   .key_size = 52,
                   .types = kAddresses | kTcp | kUdp | kSctp | kIpv6,
                   .queues = 16,
                   .reads_key = kConfigure,
                   .reads_key_bytes = 52,
                   .start_makes_table = false,
                   .configure_makes_table = true};
const Habits kIxgbe{.driver = "net_ixgbe",
                    .where =
                        "ixgbe_ethdev.c:3995, 5162-5223, 2974; ixgbe_rxtx.c:3441, 3625-3672; "
                        "ixgbe_ethdev.h:115",
                    .types = RTE_ETH_RSS_IPV4 | kTcp | kUdp | kIpv6,
                    .table_needs_start = true};
const Habits kX550Vf{.driver = "net_ixgbe_vf",
                     .where = "ixgbe_ethdev.c:4067-4092, 7434; ixgbe_rxtx.c:5744",
                     .table = 64,
                     .types = RTE_ETH_RSS_IPV4 | kTcp | kUdp | kIpv6,
                     .queues = 8,
                     .table_needs_start = true};
const Habits kIgb{.driver = "net_e1000_igb",
                  .where = "igb_ethdev.c:2262-2264, 3704-3741; igb_rxtx.c:2056-2079",
                  .types = RTE_ETH_RSS_IPV4 | kTcp | kUdp | kIpv6,
                  .queues = 8};
// It keeps its first key, and delivers no hash.
const Habits kVirtio{.driver = "net_virtio",
                     .where = "virtio_ethdev.c:372, 1879, 2000-2060, 2151-2183, 2599, 3098",
                     .types = kAddresses | kTcp | kUdp,
                     .delivers_hash = false,
                     .reads_key = kConfigure,
                     .only_key = 40,
                     .ignores_second_key = true,
                     .start_makes_table = false};
// It tells neither the size of its key nor, before it has started, that of its table; TCP is hashed
// with ports.
const Habits kVmxnet3{
    .driver = "net_vmxnet3",
    .where = "vmxnet3_ethdev.c:125-154, 1468-1531, 1879; vmxnet3_rxtx.c:1380-1462",
    .table = 64,
    .key_size = 0,
    .types = RTE_ETH_RSS_IPV4 | kTcp | kIpv6,
    .queues = 16,
    .has_key_functions = false,
    .tells_table_when_started = true,
    .forced_types = kTcp};
// Of two ixgbe: the least of all.
const Habits kBond{.driver = "net_bonding",
                   .where = "rte_eth_bond_pmd.c:2281-2360, 3711-3733; rte_eth_bond_api.c:292-393",
                   .types = RTE_ETH_RSS_IPV4 | kTcp | kUdp | kIpv6,
                   .reads_key = kConfigure,
                   .least_key = 40,
                   .start_makes_table = false,
                   .configure_makes_table = true};

const std::vector<Habits> kSteered{kIce, kI40e,   kIavf,    kIxgbe, kX550Vf,
                                   kIgb, kVirtio, kVmxnet3, kBond};

shared::Generation generation_of(unsigned workers, const AddressClasses& classes,
                                 std::uint32_t addresses,
                                 const shared::Generation* before = nullptr) {
  shared::Generation generation;
  const shared::PoolRanges pool{0,
                                {{Ipv4Address{0xCB007103}, Ipv4Address{0xCB007102 + addresses}}}};
  generation.nat_addresses = shared::NatAddressMap(
      {&pool, 1}, workers, before == nullptr ? nullptr : &before->nat_addresses, classes);
  shared::ShardShares shares{};
  for (const auto& range : generation.nat_addresses.all()) ++shares[range.value.owner];
  generation.maps = {std::make_shared<shared::ShardMap>(
      shared::IntervalMap<std::uint16_t>({{0x0A000000, 0x0AFFFFFF, 0}}), std::vector{shares},
      before == nullptr ? nullptr : before->maps.front().get(), classes)};
  return generation;
}

/// A NIC with a queue for each worker, steered, and what came of it.
struct Box {
  Box(const Habits& habits, unsigned count, HashedAddress address)
      : nic(habits),
        workers(count),
        by(address),
        bits(Steering::class_bits(nic.info(), habits.driver)),
        classes(bits == 0 ? AddressClasses() : AddressClasses(bits)) {
    for (unsigned w = 0; w < workers; ++w) pollers.push_back(w);
  }

  void configure() {
    rte_eth_conf conf{};
    steering.choose(nic.info(), nic.info().driver_name, workers, by, classes, conf);
    ASSERT_EQ(nic.configure(workers, conf), 0);
  }
  void start() {
    nic.start();
    steering.start(0, pollers);
  }
  void bring_up(std::uint32_t addresses = 64) {
    configure();
    start();
    generation = generation_of(workers, classes, addresses);
    steering.update(generation);
  }

  [[nodiscard]] ShardId owner_of(const Received& packet) const {
    return by == HashedAddress::kSource
               ? generation.maps.front()->owner_of({Ipv4Address{packet.source}}, 0)
               : generation.nat_addresses.find(Ipv4Address{packet.destination})->owner;
  }

  /// Packets of each kind between random subscribers or NAT addresses and the world: how many of
  /// them come to their owners.
  [[nodiscard]] double home(Received::Kind kind) const {
    std::mt19937 random(7);
    constexpr int kPackets = 1000;
    int home = 0;
    for (int n = 0; n < kPackets; ++n) {
      Received packet;
      packet.kind = kind;
      packet.source_port = static_cast<std::uint16_t>(random());
      packet.destination_port = static_cast<std::uint16_t>(random());
      packet.source = static_cast<std::uint32_t>(random());
      packet.destination = static_cast<std::uint32_t>(random());
      if (by == HashedAddress::kSource)
        packet.source = 0x0A000000 | (packet.source & 0xFFFFFF);
      else
        packet.destination =
            generation.nat_addresses.all()[random() % generation.nat_addresses.count()].first;
      home += pollers[nic.receive(packet).queue] == owner_of(packet);
    }
    return home / double{kPackets};
  }

  FakeNic nic;
  unsigned workers;
  HashedAddress by;
  unsigned bits;
  AddressClasses classes;
  Steering steering;
  std::vector<unsigned> pollers;
  shared::Generation generation;
};

constexpr Received::Kind kKinds[] = {Received::Kind::kTcp, Received::Kind::kUdp,
                                     Received::Kind::kSctp, Received::Kind::kOther};

void expect_home(const Box& box, const Habits& habits, const std::string& when) {
  for (const Received::Kind kind : kKinds)
    // Shares are those of addresses in whole classes, but for what rounding takes (an eighth).
    EXPECT_GT(box.home(kind), 0.99) << habits.driver << " " << when << ", kind "
                                    << static_cast<int>(kind) << ": " << box.steering.describe();
  if (habits.hashes_fragments) {
    EXPECT_GT(box.home(Received::Kind::kFragment), 0.99) << habits.driver << " " << when;
  }
}

TEST(Steering, PacketsComeToTheirOwnersWhateverTheDriver) {
  for (const Habits& habits : kSteered)
    for (const unsigned workers : {2U, 3U, 4U, 8U})
      for (const HashedAddress by : {HashedAddress::kSource, HashedAddress::kDestination}) {
        Box box(habits, workers, by);
        ASSERT_NO_FATAL_FAILURE(box.bring_up());
        EXPECT_EQ(box.steering.by(), by) << habits.driver << ": " << box.steering.describe();
        expect_home(box, habits, "at first");
      }
}

TEST(Steering, HoldsOverStopsStartsAndANewConfiguration) {
  for (const Habits& habits : kSteered) {
    Box box(habits, 4, HashedAddress::kSource);
    ASSERT_NO_FATAL_FAILURE(box.bring_up());
    for (int n = 0; n < 3; ++n) {
      box.nic.stop();
      box.start();
      expect_home(box, habits, "after a start");
    }
    box.nic.stop();
    ASSERT_NO_FATAL_FAILURE(box.configure());
    box.start();
    box.steering.update(box.generation);
    expect_home(box, habits, "after a new configuration");
  }
}

TEST(Steering, ANewConfigurationMayBringAnotherKey) {
  for (const Habits& habits : kSteered) {
    Box box(habits, 2, HashedAddress::kDestination);
    ASSERT_NO_FATAL_FAILURE(box.bring_up());
    box.nic.stop();
    box.by = HashedAddress::kSource;
    ASSERT_NO_FATAL_FAILURE(box.configure());
    box.start();
    box.steering.update(box.generation);
    expect_home(box, habits, "with another key");
  }
}

TEST(Steering, AReloadWritesTheTableOnceAndOnlyIfOwnersChange) {
  Box box(kIxgbe, 4, HashedAddress::kDestination);
  ASSERT_NO_FATAL_FAILURE(box.bring_up(16));
  EXPECT_EQ(box.nic.table_updates, 1U);
  box.steering.update(box.generation);
  EXPECT_EQ(box.nic.table_updates, 1U) << "nothing has changed";
  const shared::Generation before = box.generation;
  box.generation = generation_of(4, box.classes, 4096, &before);
  box.steering.update(box.generation);
  EXPECT_LE(box.nic.table_updates, 2U);
  expect_home(box, kIxgbe, "after a reload");
}

TEST(Steering, ALargerTableThanTheClassesIsFilledWithThem) {
  Box box(kIce, 4, HashedAddress::kSource);
  box.classes = AddressClasses(6);  // another device has no more
  ASSERT_NO_FATAL_FAILURE(box.bring_up());
  expect_home(box, kIce, "with 64 classes");
}

TEST(Steering, AWorkerWithoutAQueueHasItsPacketsComeToTheOthersInTurn) {
  Box box(kIxgbe, 4, HashedAddress::kSource);
  box.workers = 2;
  box.pollers = {1, 3};
  ASSERT_NO_FATAL_FAILURE(box.configure());
  box.start();
  box.generation = generation_of(4, box.classes, 64);
  box.steering.update(box.generation);
  int home = 0, first = 0;
  std::mt19937 random(3);
  for (int n = 0; n < 1000; ++n) {
    Received packet{.source = 0x0A000000 | (static_cast<std::uint32_t>(random()) & 0xFFFF),
                    .destination = static_cast<std::uint32_t>(random())};
    const unsigned queue = box.nic.receive(packet).queue;
    home += box.pollers[queue] == box.owner_of(packet);
    first += queue == 0;
  }
  EXPECT_NEAR(home, 500, 60);
  EXPECT_NEAR(first, 500, 80);
}

TEST(Steering, DriversWithoutATableAreLeftAlone) {
  struct Case {
    Habits habits;
    const char* says;
  };
  const std::vector<Case> cases{
      // rte_eth_memif.c:192-202, rte_eth_af_packet.c:357-372, rte_eth_af_xdp.c:803-831.
      {{.driver = "net_memif", .table = 0, .key_size = 0}, "the device's own distribution"},
      {{.driver = "net_af_packet", .table = 0, .key_size = 0}, "the device's own distribution"},
      {{.driver = "net_af_xdp", .table = 0, .key_size = 0}, "the device's own distribution"},
      // virtio_ethdev.c:2645: a host without VIRTIO_NET_F_RSS.
      {{.driver = "net_virtio", .table = 0, .key_size = 0}, "the device's own distribution"},
      // ice_ethdev.c:3846: no package of parsers, "safe mode".
      {{.driver = "net_ice", .table = 512, .key_size = 52}, "the device's own distribution"},
      // em_rxtx.c:1859: "No MRQ or RSS support for now".
      {{.driver = "net_e1000_em", .table = 0, .key_size = 0}, "the device's own distribution"},
      // ixgbe_ethdev.c:4092, 7434: types, and no table (82599, X540).
      {{.driver = "net_ixgbe_vf",
        .table = 0,
        .types = RTE_ETH_RSS_IPV4 | kTcp | kUdp,
        .start_makes_table = false},
       "RSS by flow"},
      // rte_eth_tap.c: a key of its own, and no table.
      {{.driver = "net_tap",
        .table = 0,
        .types = RTE_ETH_RSS_IPV4 | kTcp | kUdp,
        .has_key_functions = false,
        .start_makes_table = false},
       "RSS by flow"}};
  for (const auto& [habits, says] : cases) {
    Box box(habits, 2, HashedAddress::kSource);
    EXPECT_EQ(box.bits, 0U) << habits.driver;
    ASSERT_NO_FATAL_FAILURE(box.bring_up());
    EXPECT_THAT(box.steering.describe(), HasSubstr(says)) << habits.driver;
    EXPECT_EQ(box.steering.by(), std::nullopt) << habits.driver;
    EXPECT_EQ(box.nic.table_updates, 0U);
  }
}

TEST(Steering, ADeviceWithFewerClassesThanTheBoxIsNotSteered) {
  Box box(kIavf, 2, HashedAddress::kSource);
  box.classes = AddressClasses(7);
  ASSERT_NO_FATAL_FAILURE(box.bring_up());
  EXPECT_EQ(box.steering.by(), std::nullopt);
  EXPECT_THAT(box.steering.describe(), HasSubstr("no table for owners"));
}

TEST(Steering, SaysWhatTheDriverRefuses) {
  Habits habits = kIxgbe;
  habits.refuses_table = true;
  Box box(habits, 2, HashedAddress::kSource);
  ASSERT_NO_FATAL_FAILURE(box.bring_up());
  EXPECT_EQ(box.steering.by(), std::nullopt);
  EXPECT_EQ(box.steering.describe(), "the driver refuses owners (table: Invalid argument)");
}

TEST(Steering, OneQueueNeedsNone) {
  Box box(kIxgbe, 1, HashedAddress::kSource);
  ASSERT_NO_FATAL_FAILURE(box.bring_up());
  EXPECT_EQ(box.steering.describe(), "one queue, the rest by handoff");
  EXPECT_EQ(box.nic.table_updates, 0U);
}

TEST(Steering, ANicWithAnotherOrderOfTheAddressesDoesNotDistributeAsPredicted) {
  Habits habits = kIxgbe;
  habits.destination_first = true;
  Box box(habits, 4, HashedAddress::kSource);
  ASSERT_NO_FATAL_FAILURE(box.bring_up());
  EXPECT_LT(box.home(Received::Kind::kUdp), 0.5);
}

// ice takes words of a field vector "in reverse", unused ones are invalid
// (base/ice_flow.c:1605-1614, 2240): where the addresses stand in what is hashed is not told. If
// there is anything in front of them, the key has nothing for them: what was to be a hint brings
// everything to one worker.
TEST(Steering, ANicWithAnotherInputSpreadsPacketsOnceItIsGivenUp) {
  Habits habits = kIce;
  habits.addresses_later = true;
  Box box(habits, 8, HashedAddress::kSource);
  ASSERT_NO_FATAL_FAILURE(box.bring_up());
  const auto spread = [&box] {
    std::vector<unsigned> of_queue(8);
    std::mt19937 random(3);
    for (int n = 0; n < 8000; ++n)
      ++of_queue[box.nic
                     .receive(
                         {.source = 0x0A000000 | (static_cast<std::uint32_t>(random()) & 0xFFFFFF),
                          .destination = static_cast<std::uint32_t>(random())})
                     .queue];
    return of_queue;
  };
  EXPECT_EQ(spread()[0], 8000U) << "the key has nothing for what stands there";
  box.steering.give_up();
  EXPECT_EQ(box.steering.by(), std::nullopt);
  EXPECT_EQ(box.steering.describe(), "RSS by flow: packets did not come as predicted");
  for (const unsigned n : spread()) EXPECT_NEAR(n, 1000, 250);
  box.nic.stop();
  box.start();
  box.steering.update(generation_of(8, box.classes, 128));
  for (const unsigned n : spread()) EXPECT_NEAR(n, 1000, 250) << "after a start";
}

// mlx5_ethdev.c:381: 512 before it has started; 211: then as many as queues if these are a power of
// two. mlx5_rss.c:196 (mlx5_dev_rss_reta_update) takes another size and keeps it.
TEST(Steering, ATableThatIsSmallOnlyUntilItIsWritten) {
  const Habits mlx5{.driver = "net_mlx5",
                    .where = "mlx5_ethdev.c:211, 381; mlx5_rss.c:196",
                    .table = 512,
                    .types = kAddresses | kTcp | kUdp | kIpv6,
                    .reads_key = kConfigure,
                    .table_when_started = 4,
                    .takes_any_size = true};
  Box box(mlx5, 4, HashedAddress::kSource);
  ASSERT_NO_FATAL_FAILURE(box.bring_up());
  EXPECT_EQ(box.steering.by(), HashedAddress::kSource) << box.steering.describe();
  expect_home(box, mlx5, "at first");
}

TEST(Steering, PacketsOfWorkersWithoutAQueueAreSpreadOverAllQueues) {
  struct Case {
    Habits habits;
    unsigned workers, queues;
    std::uint32_t addresses;
  };
  for (const auto& [habits, workers, queues, addresses] :
       {Case{kIxgbe, 24, 16, 64}, Case{kIxgbe, 24, 16, 256}, Case{kIavf, 24, 16, 256},
        Case{kIce, 32, 8, 64}, Case{kIce, 8, 2, 256}}) {
    Box box(habits, workers, HashedAddress::kDestination);
    box.workers = queues;
    box.pollers.resize(queues);
    ASSERT_NO_FATAL_FAILURE(box.configure());
    box.start();
    box.generation = generation_of(workers, box.classes, addresses);
    box.steering.update(box.generation);
    std::vector<unsigned> of_queue(queues);
    for (const auto& range : box.generation.nat_addresses.all())
      ++of_queue[box.nic.receive({.source = 0x08080808, .destination = range.first}).queue];
    EXPECT_LE(*std::max_element(of_queue.begin(), of_queue.end()) * queues, addresses * 3 / 2)
        << habits.driver << ": " << workers << " workers, " << queues << " queues, " << addresses
        << " addresses: " << testing::PrintToString(of_queue);
  }
}

}  // namespace
}  // namespace lsn::runtime
