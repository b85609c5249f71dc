#include "lsn/runtime/plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lsn/runtime/kernel_carrier.hpp"

namespace lsn::runtime {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

control::InterfaceConfig interface(const char* name, shared::Side role, const char* device) {
  control::InterfaceConfig result;
  result.name = name;
  result.role = role;
  result.device = device;
  return result;
}

control::Model three_interfaces() {
  control::Model model;
  model.dataplane.workers = {2, 5};
  model.dataplane.max_sessions = 1001;
  model.interfaces = {interface("in10", shared::Side::kInside, "net_tap0"),
                      interface("out", shared::Side::kOutside, "0000:03:00.0"),
                      interface("in20", shared::Side::kInside, "net_tap0")};
  model.interfaces[0].vlan = 10;
  model.interfaces[2].vlan = 20;
  model.interfaces[2].mtu = 9000;
  model.interfaces[2].rx_queue_size = 4096;
  return model;
}

TEST(Plan, HasOnePortPerDeviceWithWhatAllItsInterfacesNeed) {
  const Plan plan = make_plan(three_interfaces());
  ASSERT_EQ(plan.ports.size(), 2U);
  EXPECT_EQ(plan.ports[0].device, "net_tap0");
  EXPECT_EQ(plan.ports[0].interfaces, "in10, in20");
  EXPECT_TRUE(plan.ports[0].inside);
  EXPECT_FALSE(plan.ports[0].outside);
  EXPECT_EQ(plan.ports[0].mtu, 9000);
  EXPECT_EQ(plan.ports[0].rx_descriptors, 4096);
  EXPECT_EQ(plan.ports[0].tx_descriptors, 1024);
  EXPECT_EQ(plan.ports[1].mtu, 1500);
  EXPECT_TRUE(plan.ports[1].outside);

  ASSERT_EQ(plan.interfaces.size(), 3U);
  EXPECT_EQ(plan.interfaces[0].device, 0);
  EXPECT_EQ(plan.interfaces[0].vlan, 10);
  EXPECT_EQ(plan.interfaces[1].device, 1);
  EXPECT_EQ(plan.interfaces[1].vlan, 0);
  EXPECT_EQ(plan.interfaces[2].device, 0);
  EXPECT_EQ(plan.interfaces[2].vlan, 20);
  EXPECT_THAT(plan.ports[0].vlans, ElementsAre(10, 20));
  EXPECT_THAT(plan.ports[1].vlans, ElementsAre(0));
}

TEST(Plan, DividesSessionsSoThatNoneOfTheConfiguredIsLost) {
  EXPECT_EQ(make_plan(three_interfaces()).sessions_per_worker, 501U);
}

TEST(Plan, KnowsWhetherSessionsWillHaveMappings) {
  using enum shared::Dependence;
  control::Model model = three_interfaces();
  EXPECT_FALSE(make_plan(model).mappings);
  // ADDRESS-PORT-DEPENDENT, both.
  model.lsn.appsprofile.emplace_back();
  EXPECT_FALSE(make_plan(model).mappings);
  model.lsn.appsprofile.emplace_back().mapping = kEndpointIndependent;
  EXPECT_TRUE(make_plan(model).mappings);
  model.lsn.appsprofile.pop_back();
  model.lsn.appsprofile.emplace_back().filtering = kAddress;
  EXPECT_TRUE(make_plan(model).mappings);
}

TEST(Plan, DividesTheAlgsTablesInTheSameWay) {
  control::Model model = three_interfaces();
  model.dataplane.alg = {101, 201, 301, 1'000'001};
  const Plan plan = make_plan(model);
  EXPECT_EQ(plan.alg_per_worker.ike_sessions, 51U);
  EXPECT_EQ(plan.alg_per_worker.esp_sessions, 101U);
  EXPECT_EQ(plan.alg_per_worker.gates, 151U);
  EXPECT_EQ(plan.alg_per_worker.held_bytes, 500'001U);
}

TEST(Plan, MakesBuffersThatHoldTheLargestFrameInOneSegment) {
  const Plan jumbo = make_plan(three_interfaces());
  EXPECT_EQ(jumbo.buffers.data_room, RTE_PKTMBUF_HEADROOM + 9 * 1024);
  EXPECT_EQ(jumbo.ports[0].buffer_room, 9 * 1024);
  control::Model small = three_interfaces();
  small.interfaces[2].mtu = 576;
  EXPECT_EQ(make_plan(small).buffers.data_room, RTE_PKTMBUF_HEADROOM + 2048);
  small.interfaces[0].mtu = 2030;
  EXPECT_EQ(make_plan(small).buffers.data_room, RTE_PKTMBUF_HEADROOM + 3 * 1024);
}

TEST(Plan, HasBuffersForAllQueuesOfAWorkerAndForWhatWaits) {
  control::Model model = three_interfaces();
  const std::uint32_t before = make_plan(model).buffers.per_worker;
  EXPECT_GT(before, 4096U + 1024 + 1024 + 1024 + 4 * model.dataplane.fragments.max);
  model.dataplane.fragments.max += 1000;
  EXPECT_EQ(make_plan(model).buffers.per_worker, before + 4000);
  EXPECT_GT(make_plan(model).buffers.bytes(2, BufferPlan::Pages::kHuge),
            std::size_t{2} * before * 9000);
}

TEST(Plan, HasFramesForTheKernelBesideThoseThatDevicesKeep) {
  control::Model model = three_interfaces();
  EXPECT_EQ(make_plan(model).buffers.kernel, 0U);
  for (control::InterfaceConfig& each : model.interfaces) each.kernel = "k-" + each.name;
  // A driver may keep what it has sent until its queue is full: two interfaces send by the first
  // worker's queue of the first device, one by the second worker's of the other.
  const std::uint32_t frames = make_plan(model).buffers.kernel;
  EXPECT_GE(frames, KernelCarrier::kFrames + 2 * 1024U);
  model.interfaces[1].tx_queue_size = 4096;
  EXPECT_EQ(make_plan(model).buffers.kernel, frames + 3072);
  // And a worker those that it has freed.
  model.dataplane.workers.resize(64);
  EXPECT_GE(make_plan(model).buffers.kernel, frames + 1024 + 3072 + 62 * 48);
}

TEST(Plan, NeedsNoRingsForOneWorker) {
  control::Model model = three_interfaces();
  EXPECT_GT(make_plan(model).buffers.handoff_slots, 0U);
  model.dataplane.workers = {2};
  EXPECT_EQ(make_plan(model).buffers.handoff_slots, 0U);
}

TEST(DeviceArguments, GivePacketSocketsFramesThatHoldWhatTheKernelPutsTogether) {
  PortPlan port;
  port.device = "net_af_packet0,iface=a";
  EXPECT_EQ(device_arguments(port),
            "net_af_packet0,iface=a,framesz=61440,blocksz=61440,framecnt=512");
  port.device = "net_af_packet0,iface=a,framecnt=64";
  EXPECT_EQ(device_arguments(port),
            "net_af_packet0,iface=a,framecnt=64,framesz=61440,blocksz=61440");
  port.device = "net_af_packet0,iface=a,framesz=32768";
  EXPECT_EQ(device_arguments(port), port.device) << "what is given stays";
  port.device = "net_tap0";
  EXPECT_EQ(device_arguments(port), port.device);
}

TEST(ComposedDevices, AreMadeOfTheirMembers) {
  const ComposedDevice bond =
      decompose("net_bonding0,mode=1,slave=(net_tap1,iface=x),slave=(net_ring2),xmit_policy=l23");
  EXPECT_THAT(bond.members, ElementsAre("net_tap1,iface=x", "net_ring2"));
  EXPECT_EQ(bond.device, "net_bonding0,mode=1,slave=net_tap1,slave=net_ring2,xmit_policy=l23");
  const ComposedDevice plain = decompose("net_af_packet0,iface=lsn-in");
  EXPECT_THAT(plain.members, IsEmpty());
  EXPECT_EQ(plain.device, "net_af_packet0,iface=lsn-in");
}

TEST(PciDevices, AreFoundInADeviceAndInABond) {
  EXPECT_THAT(pci_devices("0000:03:00.1"), ElementsAre("0000:03:00.1"));
  EXPECT_THAT(pci_devices("0000:03:00.1,representor=0"), ElementsAre("0000:03:00.1,representor=0"));
  EXPECT_THAT(pci_devices("3B:00.0"), ElementsAre("0000:3b:00.0"));
  EXPECT_THAT(pci_devices("net_bonding0,mode=4,slave=0000:03:00.0,slave=0001:3b:00.1"),
              ElementsAre("0000:03:00.0", "0001:3b:00.1"));
  EXPECT_THAT(pci_devices("net_af_packet0,iface=lsn-in"), IsEmpty());
  EXPECT_THAT(pci_devices("net_tap0,mac=00:11:22:33:44:55"), IsEmpty());
}

TEST(Queues, GoOneToEachWorkerWhereThePortHasThem) {
  const auto dealt = deal_queues({{4, -1}, {4, 0}}, {0, 0, 1, 1});
  EXPECT_THAT(dealt[0], ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(dealt[1], ElementsAre(0, 1, 2, 3));
}

TEST(Queues, AreSharedOutEvenlyWhereThereAreFewerThanWorkers) {
  const auto two = deal_queues({{1, -1}, {1, -1}}, {0, 0});
  EXPECT_THAT(two[0], ElementsAre(0));
  EXPECT_THAT(two[1], ElementsAre(1));
  const auto three = deal_queues({{1, -1}, {1, -1}, {2, -1}}, {0, 0});
  EXPECT_THAT(three[2], ElementsAre(0, 1));
  EXPECT_THAT(three[0], ElementsAre(0));
  EXPECT_THAT(three[1], ElementsAre(1));
}

TEST(Queues, PreferWorkersOnThePortsNode) {
  const auto dealt = deal_queues({{1, 1}, {1, 1}, {1, 1}}, {0, 0, 1, 1});
  EXPECT_THAT(dealt[0], ElementsAre(2));
  EXPECT_THAT(dealt[1], ElementsAre(3));
  EXPECT_THAT(dealt[2], ElementsAre(0)) << "a free worker far away before a busy one nearby";
}

TEST(Queues, AreAllPolledWhereThereAreMoreThanWorkers) {
  EXPECT_THAT(deal_queues({{5, -1}}, {0, 0})[0], ElementsAre(0, 1, 0, 1, 0));
}

}  // namespace
}  // namespace lsn::runtime
