// What is asked of a device, for what DPDK's drivers say of theirs (22.11).
#include "lsn/runtime/port_settings.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "lsn/control/config/model.hpp"

namespace lsn::runtime {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// A driver's info, as rte_eth_dev_info_get() gives it.
struct Info : rte_eth_dev_info {
  Info(std::uint32_t pktlen, std::uint16_t mtu, std::uint16_t queues, std::uint64_t rx = 0)
      : rte_eth_dev_info{} {
    max_rx_pktlen = pktlen;
    max_mtu = mtu;
    min_mtu = 68;
    max_rx_queues = max_tx_queues = queues;
    rx_offload_capa = rx;
    flags = RTE_ETH_DEV_INTR_LSC | RTE_ETH_DEV_INTR_RMV;
    dev_flags = &flags;
  }
  std::uint32_t flags;
};

constexpr std::uint64_t kScatter = RTE_ETH_RX_OFFLOAD_SCATTER;
constexpr std::uint64_t kFilter = RTE_ETH_RX_OFFLOAD_VLAN_FILTER;

PortPlan port(std::uint16_t mtu, std::vector<std::uint16_t> vlans = {0}) {
  PortPlan plan;
  plan.device = "0000:03:00.0";
  plan.mtu = mtu;
  plan.vlans = std::move(vlans);
  return plan;
}

/// What a buffer holds where a device has that MTU.
std::uint32_t room_for(std::uint16_t mtu) {
  control::Model model;
  model.interfaces.resize(1);
  model.interfaces[0].device = "0000:03:00.0";
  model.interfaces[0].mtu = mtu;
  return make_plan(model).ports[0].buffer_room;
}

TEST(PortSettings, TheLinkIsPolledWhateverTheDriverOffers) {
  const Info info(16128, 16110, 1);
  const auto settings = port_settings(port(1500), info, "net_e1000_em", 1, 2048);
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->conf().intr_conf.lsc, 0U);
  EXPECT_EQ(settings->conf().intr_conf.rmv, 1U) << "that a device goes is not asked for";
}

TEST(PortSettings, NetE1000EmHasOneQueueOfEach) {
  const Info info(16128, 16110, 2);
  const auto settings = port_settings(port(1500), info, "net_e1000_em", 2, 2048);
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->tx_queues, 1U);
  EXPECT_EQ(settings->rx_queues, 1U);
  EXPECT_EQ(port_settings(port(1500), info, "net_e1000_igb", 2, 2048)->tx_queues, 2U);
}

TEST(PortSettings, NetE1000IgbVfReceivesWithOneQueue) {
  const Info info(16128, 16110, 2);
  const auto settings = port_settings(port(1500), info, "net_e1000_igb_vf", 2, 2048);
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->rx_queues, 1U);
  EXPECT_EQ(settings->tx_queues, 2U);
}

TEST(PortSettings, QueuesAreAsManyAsTheDriverCanDistributeTo) {
  const auto of = [](const char* driver, unsigned workers, std::uint16_t table) {
    Info info(9728, 9710, 64);
    info.reta_size = table;
    return port_settings(port(1500), info, driver, workers, 2048)->rx_queues;
  };
  // ixgbe_rxtx.c:3442: entries of 82599 and X540 have four bits, and larger ones are not refused.
  EXPECT_EQ(of("net_ixgbe", 24, 128), 16U);
  EXPECT_EQ(of("net_ixgbe", 24, 512), 24U);
  // ixgbe_rxtx.c:5643, vmxnet3_ethdev.c:547: a power of two, or no start.
  EXPECT_EQ(of("net_ixgbe_vf", 7, 64), 4U);
  EXPECT_EQ(of("net_vmxnet3", 3, 0), 2U);
  EXPECT_EQ(of("net_i40e", 24, 512), 24U);
}

TEST(PortSettings, QueuesAreOneForEachWorkerWhereTheDeviceHasThem) {
  const Info info(9728, 9710, 4);
  const auto of = [&](const char* driver, unsigned workers) {
    const auto settings = port_settings(port(1500), info, driver, workers, 2048);
    return std::pair(settings->rx_queues, settings->tx_queues);
  };
  EXPECT_EQ(of("net_ixgbe", 3), std::pair(3U, 3U));
  EXPECT_EQ(of("net_ixgbe", 9), std::pair(4U, 4U));
  EXPECT_EQ(of("net_af_packet", 1), std::pair(4U, 4U)) << "the kernel spreads over all of them";
}

/// Frames of 9,000 and 1,500 bytes of IP in one buffer, by each driver's own arithmetic.
TEST(PortSettings, AFrameFitsInOneBufferAsTheDriversReckon) {
  for (const std::uint16_t mtu : std::array<std::uint16_t, 4>{1500, 2030, 9000, 9600}) {
    const std::uint32_t room = room_for(mtu);
    EXPECT_LE(mtu + 18U + 2 * 4, room / 1024 * 1024) << "ixgbe, igb: mtu " << mtu;
    EXPECT_LE(mtu + 18U + 2 * 4, room / 128 * 128) << "i40e, ice, iavf: mtu " << mtu;
    EXPECT_LE(mtu + 14U + 4 + 12, room) << "virtio: mtu " << mtu;
    const Info ixgbe(15872, 15854, 1, kScatter);
    EXPECT_EQ(port_settings(port(mtu), ixgbe, "net_ixgbe", 1, room)->rx_offloads & kScatter, 0U)
        << "nothing to scatter: mtu " << mtu;
  }
}

TEST(PortSettings, ScatterIsTakenWhereADriverReckonsWithMoreThanABufferHolds) {
  // net_virtio with a host that says nothing of its MTU.
  const Info virtio(9728, 9698, 1, kScatter);
  EXPECT_EQ(port_settings(port(9000), virtio, "net_virtio", 1, 9024)->rx_offloads, kScatter);
  // One whose own limit leaves 728 bytes beside the MTU.
  const Info limited(9728, 9000, 1, kScatter);
  EXPECT_EQ(port_settings(port(9000), limited, "net_virtio", 1, 9216)->rx_offloads, kScatter);
  const Info without(9728, 9000, 1);
  EXPECT_EQ(port_settings(port(9000), without, "net_virtio", 1, 9216)->rx_offloads, 0U)
      << "only what is offered";
}

TEST(PortSettings, AVirtualFunctionIsToldItsVlans) {
  const Info vf(16128, 16110, 2, kFilter | kScatter);
  for (const char* driver : {"net_e1000_igb_vf", "net_ixgbe_vf", "net_iavf"}) {
    const auto settings = port_settings(port(1500, {0, 100, 200}), vf, driver, 1, 2048);
    ASSERT_TRUE(settings);
    EXPECT_THAT(settings->vlan_filter, ElementsAre(100, 200)) << driver;
    EXPECT_NE(settings->conf().rxmode.offloads & kFilter, 0U);
    EXPECT_THAT(settings->without_filter().vlan_filter, IsEmpty());
    EXPECT_EQ(settings->without_filter().conf().rxmode.offloads & kFilter, 0U);
  }
}

TEST(PortSettings, NothingIsFilteredWhereAllVlansArriveByThemselves) {
  const Info nic(16128, 16110, 2, kFilter);
  EXPECT_THAT(port_settings(port(1500, {100}), nic, "net_e1000_igb", 1, 2048)->vlan_filter,
              IsEmpty());
  EXPECT_EQ(port_settings(port(1500), nic, "net_iavf", 1, 2048)->rx_offloads, 0U)
      << "an untagged interface needs no filter";
}

TEST(PortSettings, AnMtuThatTheNicHasNotIsRefusedWithWhatIsAllowed) {
  const Info info(9234, 9216, 1);
  const auto refused = port_settings(port(9500), info, "net_e1000_em", 1, 9728);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error(), HasSubstr("mtu 9500, allowed: at most 9216"));
  PortPlan tap = port(9500);
  tap.device = "net_tap0";
  EXPECT_TRUE(port_settings(tap, info, "net_tap", 1, 9728))
      << "a virtual device may do it all the same";
}

TEST(PortSettings, ABondHasTheLimitsOfItsMembersDrivers) {
  // Of two 82599 (a table entry has room for 16 queues), of two X550 VFs (powers of two alone).
  Info bond(15872, 15854, 128);
  bond.reta_size = 128;
  PortPlan plan = port(1500);
  plan.device = "net_bonding0,mode=4,slave=0000:03:00.0,slave=0000:03:00.1";
  EXPECT_LE(port_settings(plan, bond, "net_bonding", 24, 2048)->rx_queues, 16U);
}

}  // namespace
}  // namespace lsn::runtime
