// The kernel path's thread, between workers that the test plays and kernel interfaces whose other
// end it holds: pairs of sockets that keep frames apart, as a TAP does.
#include "lsn/runtime/kernel_carrier.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "lsn/datapath/l3/kernel_path.hpp"
#include "lsn/runtime/buffers.hpp"
#include "ring_device.hpp"
#include "support.hpp"

namespace lsn::runtime {
namespace {

using namespace std::chrono_literals;
using datapath::HandoffKind;
using datapath::KernelFate;
using test::Frame;
using testing::HasSubstr;

constexpr std::size_t kRouting = 0, kRest = 2;
/// Of two interfaces without and two with a kernel interface.
constexpr shared::InterfaceId kNone = 0, kFirst = 1, kSecond = 2;
constexpr std::uint16_t kMtu = 1500;

class Carrier : public testing::Test {
 protected:
  void SetUp() override {
    test::need_eal();
    device = std::make_unique<test::RingDevice>("carrier");
    PortPlan port_plan;
    port_plan.device = device->device();
    auto opened = Port::open(port_plan, 2);
    ASSERT_TRUE(opened) << opened.error();
    port = std::move(*opened);
    plan.ports = {port_plan};
    plan.interfaces.resize(4);
    plan.buffers.data_room = 2176;
    plan.buffers.per_worker = 600;
    plan.buffers.indirect_per_worker = 100;
    plan.buffers.kernel = KernelCarrier::kFrames;
    plan.buffers.kernel_room = RTE_PKTMBUF_HEADROOM + KernelCarrier::room_for(kMtu);
    for (const shared::InterfaceId interface : {kFirst, kSecond}) {
      KernelPlan each;
      each.interface = interface;
      each.label = "if" + std::to_string(interface);
      each.name = "k" + std::to_string(interface);
      plan.kernel.push_back(each);
    }
    auto of_workers = Buffers::make(plan.buffers, {0, 0});
    ASSERT_TRUE(of_workers) << of_workers.error();
    buffers = std::move(*of_workers);
  }
  void TearDown() override {
    if (carrier != nullptr) carrier->stop();
    EXPECT_EQ(rte_mempool_in_use_count(pool()), 0U) << "packet buffers were lost";
    carrier.reset();
    port.reset();
  }

  std::expected<void, std::string> start() {
    auto started = KernelCarrier::start(
        plan, {port.get()}, {0, 0},
        [this](const KernelPlan& of, const wire::MacAddress&) { return make_tap(of); });
    if (!started) return std::unexpected(started.error());
    carrier = std::move(*started);
    return {};
  }
  std::expected<KernelTap, std::string> make_tap(const KernelPlan& of) {
    const std::lock_guard lock(mutex);
    ++made[of.interface];
    if (refuses[of.interface]) return std::unexpected("no " + of.name);
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    kernel[of.interface] = control::FileDescriptor(ends[1]);
    return KernelTap(control::FileDescriptor(ends[0]));
  }

  rte_mempool* pool() { return buffers.on(0).packets.get(); }
  /// A packet for the kernel of an interface, in so many segments.
  rte_mbuf* packet(shared::InterfaceId interface, const Frame& frame, std::size_t segments = 1) {
    rte_mbuf* head = nullptr;
    const std::size_t each = frame.size() / segments;
    for (std::size_t i = 0; i < segments; ++i) {
      const std::size_t size = i + 1 == segments ? frame.size() - i * each : each;
      rte_mbuf* const segment = rte_pktmbuf_alloc(pool());
      std::memcpy(rte_pktmbuf_append(segment, static_cast<std::uint16_t>(size)),
                  frame.data() + i * each, size);
      if (head == nullptr)
        head = segment;
      else
        EXPECT_EQ(rte_pktmbuf_chain(head, segment), 0);
    }
    datapath::origin_of(head) = {interface, HandoffKind::kKernel, 0};
    return head;
  }
  void give(unsigned worker, std::size_t of_class, rte_mbuf* packet) {
    ASSERT_EQ(carrier->give(worker, of_class, {&packet, 1}), 1U);
  }
  /// What comes back next, freed.
  std::optional<KernelFate> fate(unsigned worker = 0) {
    rte_mbuf* packet = nullptr;
    if (!eventually([&] { return carrier->take_back(worker, {&packet, 1}) == 1; })) return {};
    const auto fate = static_cast<KernelFate>(datapath::origin_of(packet).handoffs);
    rte_pktmbuf_free(packet);
    return fate;
  }
  /// What the kernel of an interface gets next.
  std::optional<Frame> heard(shared::InterfaceId interface) {
    Frame frame(4096);
    ssize_t size = -1;
    if (!eventually([&] {
          const std::lock_guard lock(mutex);
          size = recv(kernel[interface].get(), frame.data(), frame.size(), 0);
          return size >= 0;
        }))
      return {};
    frame.resize(static_cast<std::size_t>(size));
    return frame;
  }
  bool say(shared::InterfaceId interface, const Frame& frame) {
    const std::lock_guard lock(mutex);
    return send(kernel[interface].get(), frame.data(), frame.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(frame.size());
  }
  /// The next frame of the kernel for a worker, with its interface.
  std::optional<std::pair<shared::InterfaceId, Frame>> taken(unsigned worker) {
    rte_mbuf* packet = nullptr;
    if (!eventually([&] { return carrier->take(worker, {&packet, 1}) == 1; })) return {};
    const auto* const bytes = rte_pktmbuf_mtod(packet, const std::uint8_t*);
    std::pair result{datapath::origin_of(packet).interface, Frame(bytes, bytes + packet->data_len)};
    rte_pktmbuf_free(packet);
    return result;
  }
  bool is_present(shared::InterfaceId interface) {
    return carrier->status(plan.interfaces.size())[interface]->present;
  }
  template <class Condition>
  static bool eventually(Condition&& holds, std::chrono::seconds patience = 20s) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!holds()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(1ms);
    }
    return true;
  }
  static Frame frame_of(std::size_t size, unsigned seed = 0) {
    Frame frame(size);
    for (std::size_t i = 0; i < size; ++i) frame[i] = static_cast<std::uint8_t>(seed + i * 7);
    return frame;
  }

  std::unique_ptr<test::RingDevice> device;
  std::unique_ptr<Port> port;
  Plan plan;
  Buffers buffers;
  std::mutex mutex;  ///< of what follows: the carrier's thread makes interfaces, too
  std::array<control::FileDescriptor, 4> kernel;  ///< the other ends, by interface
  std::array<unsigned, 4> made{};
  std::array<bool, 4> refuses{};
  std::unique_ptr<KernelCarrier> carrier;
};

TEST_F(Carrier, CarriesEachPacketToItsInterfaceAndBack) {
  ASSERT_TRUE(start());
  for (const unsigned segments : {1u, 2u, 16u}) {
    for (const auto& [worker, interface] : {std::pair{0u, kFirst}, {1u, kSecond}, {1u, kFirst}}) {
      const Frame frame = frame_of(777, worker + segments);
      give(worker, segments % 3, packet(interface, frame, segments));
      EXPECT_EQ(heard(interface), frame);
      EXPECT_EQ(fate(worker), KernelFate::kTaken);
    }
  }
}

TEST_F(Carrier, RefusesWhatNoInterfaceTakes) {
  ASSERT_TRUE(start());
  give(0, kRest, packet(kNone, frame_of(60)));
  EXPECT_EQ(fate(), KernelFate::kRefused);
  give(0, kRest, packet(kFirst, frame_of(170), 17));
  EXPECT_EQ(fate(), KernelFate::kRefused) << "in more pieces than it writes";
  give(0, kRest, packet(kFirst, frame_of(60)));
  EXPECT_EQ(fate(), KernelFate::kTaken);
}

TEST_F(Carrier, LosesNoPacketWhoseWorkerTakesNoneBack) {
  ASSERT_TRUE(start());
  // More than the ring on the way back holds, in bursts as large as the ring to the kernel.
  constexpr unsigned kAll = 1100;
  unsigned given = 0;
  EXPECT_TRUE(eventually([&] {
    for (unsigned i = 0; i < 100 && given < kAll; ++i) {
      rte_mbuf* one = packet(kFirst, frame_of(60));
      if (carrier->give(0, kRouting, {&one, 1}) == 0) {
        rte_pktmbuf_free(one);
        break;
      }
      ++given;
    }
    return given == kAll;
  }));
  for (unsigned i = 0; i < kAll; ++i) ASSERT_TRUE(fate().has_value()) << i;
}

TEST_F(Carrier, GivesTheKernelsFramesToOneWorker) {
  ASSERT_TRUE(start());
  for (unsigned i = 0; i < 40; ++i) {
    ASSERT_TRUE(say(kFirst, frame_of(60 + i, i)));
    ASSERT_TRUE(say(kSecond, frame_of(70 + i, i)));
  }
  for (unsigned i = 0; i < 40; ++i) {
    EXPECT_EQ(taken(KernelCarrier::worker_of(kFirst, 2)), std::pair(kFirst, frame_of(60 + i, i)));
    EXPECT_EQ(taken(KernelCarrier::worker_of(kSecond, 2)), std::pair(kSecond, frame_of(70 + i, i)));
  }
}

TEST_F(Carrier, AFrameThatIsTooLongIsSeenToBeSo) {
  ASSERT_TRUE(start());
  const unsigned worker = KernelCarrier::worker_of(kFirst, 2);
  for (const std::size_t size : {std::size_t{kMtu} + 14, std::size_t{kMtu} + 15, std::size_t{9000}})
    ASSERT_TRUE(say(kFirst, frame_of(size)));
  EXPECT_EQ(taken(worker)->second, frame_of(kMtu + 14));
  EXPECT_EQ(taken(worker)->second, frame_of(kMtu + 15));
  const Frame cut = taken(worker)->second;
  EXPECT_GT(cut.size(), std::size_t{kMtu} + 14);
  EXPECT_LE(cut.size(), KernelCarrier::room_for(kMtu));
}

TEST_F(Carrier, AWorkerThatTakesNothingHoldsUpNoOther) {
  ASSERT_TRUE(start());
  const unsigned slow = KernelCarrier::worker_of(kFirst, 2);
  unsigned said = 0;
  // Until they wait in the kernel.
  EXPECT_TRUE(eventually([&] {
    while (said < 4000 && say(kFirst, frame_of(60, said))) ++said;
    return said > KernelCarrier::kFromKernelSlots;
  }));
  ASSERT_TRUE(say(kSecond, frame_of(61)));
  EXPECT_EQ(taken(KernelCarrier::worker_of(kSecond, 2)), std::pair(kSecond, frame_of(61)));
  give(slow, kRest, packet(kSecond, frame_of(62)));
  EXPECT_EQ(heard(kSecond), frame_of(62));
  EXPECT_EQ(fate(slow), KernelFate::kTaken);
  for (unsigned i = 0; i < said; ++i)
    ASSERT_EQ(taken(slow), std::pair(kFirst, frame_of(60, i))) << i;
}

TEST_F(Carrier, MakesAnInterfaceThatIsGoneAgain) {
  ASSERT_TRUE(start());
  EXPECT_TRUE(is_present(kFirst));
  EXPECT_FALSE(carrier->status(plan.interfaces.size())[kNone].has_value());
  {
    const std::lock_guard lock(mutex);
    refuses[kFirst] = true;
    kernel[kFirst].reset();
  }
  ASSERT_TRUE(eventually([&] { return !is_present(kFirst); }));
  give(0, kRouting, packet(kFirst, frame_of(60)));
  EXPECT_EQ(fate(), KernelFate::kRefused);
  // The other one is as it was.
  give(0, kRouting, packet(kSecond, frame_of(60)));
  EXPECT_EQ(heard(kSecond), frame_of(60));
  EXPECT_EQ(fate(), KernelFate::kTaken);
  // Tried again and again, until it can be made.
  EXPECT_TRUE(eventually([&] {
    const std::lock_guard lock(mutex);
    return made[kFirst] >= 3;
  }));
  EXPECT_FALSE(is_present(kFirst));
  {
    const std::lock_guard lock(mutex);
    refuses[kFirst] = false;
  }
  ASSERT_TRUE(eventually([&] { return is_present(kFirst); }));
  give(0, kRouting, packet(kFirst, frame_of(61)));
  EXPECT_EQ(heard(kFirst), frame_of(61));
  EXPECT_EQ(fate(), KernelFate::kTaken);
  ASSERT_TRUE(say(kFirst, frame_of(62)));
  EXPECT_EQ(taken(KernelCarrier::worker_of(kFirst, 2)), std::pair(kFirst, frame_of(62)));
  EXPECT_EQ(made[kSecond], 1U);
}

TEST_F(Carrier, OneThatCannotBeMadeEndsTheStartAndTakesTheOthersAway) {
  refuses[kSecond] = true;
  const auto started = start();
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error(), HasSubstr("no k2"));
  char byte = 0;
  EXPECT_EQ(recv(kernel[kFirst].get(), &byte, 1, 0), 0) << "it is closed";
}

TEST_F(Carrier, FreesAtItsEndWhatIsStillOnItsWay) {
  ASSERT_TRUE(start());
  for (unsigned i = 0; i < 50; ++i) {
    ASSERT_TRUE(say(kFirst, frame_of(60)));
    give(0, i % 3, packet(kSecond, frame_of(60)));
    give(1, i % 3, packet(kFirst, frame_of(60)));
  }
  carrier->stop();  // and TearDown() counts
}

}  // namespace
}  // namespace lsn::runtime
