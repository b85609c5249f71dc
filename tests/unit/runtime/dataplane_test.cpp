#include "lsn/runtime/dataplane.hpp"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rte_dev.h>

#include <chrono>
#include <map>
#include <set>
#include <thread>

#include "lsn/control/config/generation_builder.hpp"
#include "lsn/control/config/load.hpp"
#include "memif_peer.hpp"
#include "ring_device.hpp"
#include "support.hpp"

namespace lsn::runtime {
namespace {

using namespace std::chrono_literals;
using test::Frame;
using test::Mac;

constexpr Mac kServerMac = {0x02, 0, 0, 0, 0, 0x10};
constexpr Mac kClientMac = {0x02, 0, 0, 0, 0, 0x20};
constexpr std::uint32_t kServer = 0xC633640A;       // 198.51.100.10
constexpr std::uint32_t kOutside = 0xC6336401;      // 198.51.100.1
constexpr std::uint32_t kInside = 0xC0000201;       // 192.0.2.1
constexpr std::uint32_t kSubscribers = 0xC0000264;  // 192.0.2.100 and on
constexpr std::uint32_t kPool = 0xCB007100;         // 203.0.113.0-.7

/// Two workers between a device that the inside hangs on and one for the outside.
class TwoWorkers : public testing::Test {
 protected:
  void SetUp() override { test::need_eal(); }

  static std::string config(const std::string& inside, const std::string& outside,
                            const std::string& more = "",
                            const std::string& pool = "203.0.113.0-203.0.113.7") {
    return R"(
      dataplane: { workers = [ 0, 1 ]; maxSessions = 8192; fragments: { max = 64; }; )" +
           more + R"( };
      interfaces = (
        { name = "inside";  role = "inside";  device = ")" +
           inside + R"(";
          address = "192.0.2.1/24"; rxQueueSize = 256; txQueueSize = 256; },
        { name = "outside"; role = "outside"; device = ")" +
           outside + R"(";
          address = "198.51.100.1/24"; rxQueueSize = 256; txQueueSize = 256; });
      lsn: {
        client = ( { name = "C"; network = [ "192.0.2.0/24" ]; } );
        pool = ( { name = "P"; lsnip = [ ")" +
           pool + R"(" ]; } );
        group = ( { name = "G"; clientname = "C"; poolname = [ "P" ]; } );
      };)";
  }

  /// A device that is there for as long as the dataplane.
  test::RingDevice& plug(const std::string& name, unsigned queues = 1) {
    devices.push_back(std::make_unique<test::RingDevice>(name, queues));
    return *devices.back();
  }

  void start(const std::string& text) {
    auto loaded = control::load_config_text(text);
    ASSERT_TRUE(loaded) << control::to_string(loaded.error());
    model = *loaded;
    Plan plan = make_plan(model);
    plan.cpus = test::worker_cpus();
    auto started = DpdkDataplane::start(plan, TableMemory::HugePages::kLeave);
    ASSERT_TRUE(started) << started.error();
    dataplane = std::move(*started);
    publish(control::build_generation(model));
  }

  void publish(std::shared_ptr<const shared::Generation> next, std::uint64_t* ended = nullptr) {
    bool done = false;
    current = next;
    dataplane->publish(next, [&](std::uint64_t n) {
      if (ended != nullptr) *ended = n;
      done = true;
    });
    ASSERT_TRUE(eventually([&] { return done; }));
  }

  /// Turns the control thread until something holds.
  template <class Condition>
  bool eventually(Condition&& holds, std::chrono::seconds patience = 20s) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!holds()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      dataplane->poll();
      std::this_thread::sleep_for(1ms);
    }
    return true;
  }

  std::uint64_t sum(const shared::Counter shared::Counters::* counter) {
    std::uint64_t total = 0;
    for (unsigned worker = 0; worker < dataplane->workers(); ++worker)
      total += (dataplane->worker(worker).counters->*counter).get();
    return total;
  }
  std::uint64_t dropped() {
    std::uint64_t total = 0;
    for (unsigned worker = 0; worker < dataplane->workers(); ++worker)
      for (const auto& drops : dataplane->worker(worker).counters->drops) total += drops.get();
    return total;
  }

  Mac mac_of(std::size_t device) {
    const auto mac = wire::parse_mac(dataplane->ports()[device].mac);
    EXPECT_TRUE(mac.has_value());
    return mac.value_or(Mac{});
  }

  /// The test's hosts make themselves known, to both workers.
  void introduce(test::RingDevice& inside, test::RingDevice& outside, unsigned subscribers) {
    outside.put(test::arp_request(kServerMac, kServer, kOutside));
    for (unsigned i = 0; i < subscribers; ++i)
      inside.put(test::arp_request(kClientMac, kSubscribers + i, kInside));
    ASSERT_TRUE(eventually([&] {
      for (unsigned worker = 0; worker < dataplane->workers(); ++worker)
        if (dataplane->worker(worker).counters->neighbours.get() < subscribers + 1) return false;
      return true;
    }));
    while (inside.take()) {
    }
    while (outside.take()) {
    }
  }

  /// The next UDP packets that a device sends, at most `wanted`.
  std::vector<test::UdpFields> collect(test::RingDevice& device, std::size_t wanted) {
    std::vector<test::UdpFields> found;
    eventually([&] {
      while (const auto frame = device.take())
        if (const auto fields = test::udp_fields(*frame)) found.push_back(*fields);
      return found.size() >= wanted;
    });
    return found;
  }

  std::vector<std::unique_ptr<test::RingDevice>> devices;
  control::Model model;
  std::shared_ptr<const shared::Generation> current;
  std::unique_ptr<DpdkDataplane> dataplane;
};

TEST_F(TwoWorkers, OnOneQueueDevicesTranslateForEachOtherInBothDirections) {
  test::RingDevice& inside = plug("in");
  test::RingDevice& outside = plug("out");
  ASSERT_NO_FATAL_FAILURE(start(config(inside.device(), outside.device())));
  constexpr unsigned kHosts = 16;
  ASSERT_NO_FATAL_FAILURE(introduce(inside, outside, kHosts));

  const Mac in_mac = mac_of(0), out_mac = mac_of(1);
  for (unsigned i = 0; i < kHosts; ++i)
    for (unsigned port = 0; port < 4; ++port)
      inside.put(test::udp(in_mac, kClientMac, kSubscribers + i, 5000 + port, kServer, 53));
  const auto outbound = collect(outside, kHosts * 4);
  ASSERT_EQ(outbound.size(), kHosts * 4);

  std::set<std::pair<std::uint32_t, unsigned>> endpoints;
  for (const test::UdpFields& packet : outbound) {
    EXPECT_EQ(packet.destination, kServer);
    EXPECT_EQ(packet.destination_port, 53);
    EXPECT_EQ(packet.source & ~7U, kPool);
    EXPECT_TRUE(endpoints.insert({packet.source, packet.source_port}).second);
    outside.put(test::udp(out_mac, kServerMac, kServer, 53, packet.source, packet.source_port));
  }
  std::map<std::uint32_t, std::set<unsigned>> answered;
  const auto inbound = collect(inside, kHosts * 4);
  ASSERT_EQ(inbound.size(), kHosts * 4);
  for (const test::UdpFields& packet : inbound) {
    EXPECT_EQ(packet.source, kServer);
    answered[packet.destination].insert(packet.destination_port);
  }
  EXPECT_EQ(answered.size(), kHosts);
  for (const auto& [host, ports] : answered) EXPECT_EQ(ports.size(), 4U);

  EXPECT_EQ(dropped(), 0U);
  for (const unsigned worker : {0U, 1U}) {
    const shared::Counters& counters = *dataplane->worker(worker).counters;
    EXPECT_GT(counters.handoff_received.get(), kHosts) << "worker " << worker;
    EXPECT_GT(counters.busy_cycles.get(), 0U);
    EXPECT_GE(counters.polls.get(), counters.idle_polls.get());
    EXPECT_EQ(counters.generation.get(), current->number);
  }
  dataplane.reset();
  EXPECT_EQ(inside.in_use() + outside.in_use(), 0U) << "every packet was sent or freed";
}

TEST_F(TwoWorkers, WithAQueueEachUseBoth) {
  test::RingDevice& inside = plug("in2", 2);
  test::RingDevice& outside = plug("out2", 2);
  ASSERT_NO_FATAL_FAILURE(start(config(inside.device(), outside.device())));
  ASSERT_NO_FATAL_FAILURE(introduce(inside, outside, 4));
  const auto ports = dataplane->ports();
  EXPECT_EQ(ports[0].rx_queues, 2U);
  EXPECT_EQ(ports[0].tx_queues, 2U);
  const Mac in_mac = mac_of(0);
  // Whatever the queue, the owner translates: both halves of a flow have one endpoint.
  for (const unsigned queue : {0U, 1U, 0U, 1U})
    for (unsigned i = 0; i < 4; ++i)
      inside.put(test::udp(in_mac, kClientMac, kSubscribers + i, 7000, kServer, 53), queue);
  const auto packets = collect(outside, 16);
  ASSERT_EQ(packets.size(), 16U);
  std::set<std::pair<std::uint32_t, unsigned>> endpoints;
  for (const test::UdpFields& packet : packets)
    endpoints.insert({packet.source, packet.source_port});
  EXPECT_EQ(endpoints.size(), 4U);
}

TEST_F(TwoWorkers, WriteForACaptureWhileTheyWorkForEachOther) {
  test::RingDevice& inside = plug("in");
  test::RingDevice& outside = plug("out");
  ASSERT_NO_FATAL_FAILURE(start(config(inside.device(), outside.device())));
  constexpr unsigned kHosts = 16;
  ASSERT_NO_FATAL_FAILURE(introduce(inside, outside, kHosts));
  std::vector<std::shared_ptr<shared::CaptureRing>> rings;
  unsigned answered = 0;
  for (const unsigned worker : {0U, 1U}) {
    rings.push_back(std::make_shared<shared::CaptureRing>());
    dataplane->start_capture(worker, rings.back(), {.protocol = shared::Protocol::kUdp},
                             [&] { ++answered; });
  }
  ASSERT_TRUE(eventually([&] { return answered == 2; }));

  const Mac in_mac = mac_of(0);
  const auto send_all = [&](unsigned port) {
    for (unsigned i = 0; i < kHosts; ++i)
      inside.put(test::udp(in_mac, kClientMac, kSubscribers + i, port, kServer, 53));
    ASSERT_EQ(collect(outside, kHosts).size(), kHosts);
  };
  // Each is written once as it came in and once as it left, by the worker that it belongs to.
  unsigned received = 0, sent = 0;
  const auto take = [&] {
    for (const auto& ring : rings)
      ring->take([&](const shared::CaptureRecord& record) {
        EXPECT_NE(record.flow.nat.address, wire::Be32{});
        ++(record.received ? received : sent);
      });
  };
  for (unsigned round = 0; round < 10; ++round) {
    ASSERT_NO_FATAL_FAILURE(send_all(5000 + round));
    take();
  }
  ASSERT_TRUE(eventually([&] {
    take();
    return received == 10 * kHosts && sent == 10 * kHosts;
  }));
  for (const unsigned worker : {0U, 1U}) dataplane->stop_capture(worker, [&] { --answered; });
  ASSERT_TRUE(eventually([&] { return answered == 0; }));
  ASSERT_NO_FATAL_FAILURE(send_all(6000));
  take();
  EXPECT_EQ(received, 10 * kHosts);
  for (const auto& ring : rings) {
    EXPECT_EQ(ring->lost(), 0U);
    EXPECT_EQ(ring.use_count(), 1) << "nobody has it any more";
  }
}

TEST_F(TwoWorkers, ListAndFlushTheirSessionsOnRequest) {
  test::RingDevice& inside = plug("in");
  test::RingDevice& outside = plug("out");
  ASSERT_NO_FATAL_FAILURE(start(config(inside.device(), outside.device())));
  constexpr unsigned kHosts = 8;
  ASSERT_NO_FATAL_FAILURE(introduce(inside, outside, kHosts));
  const Mac in_mac = mac_of(0);
  for (unsigned i = 0; i < kHosts; ++i)
    for (unsigned port = 0; port < 50; ++port)
      inside.put(test::udp(in_mac, kClientMac, kSubscribers + i, 5000 + port, kServer, 53));
  ASSERT_EQ(collect(outside, kHosts * 50).size(), kHosts * 50);

  std::map<std::uint32_t, unsigned> rows;
  for (const unsigned worker : {0U, 1U}) {
    shared::SessionPage page;
    page.limit = 30;
    for (bool finished = false; !finished;) {
      bool answered = false;
      dataplane->ask_for<shared::SessionPage>(worker, std::move(page), [&](auto answer) {
        EXPECT_LE(answer.rows.size(), 30U);
        for (const auto& row : answer.rows) ++rows[row.subscriber_ip.value];
        finished = answer.finished;
        page = std::move(answer);
        answered = true;
      });
      ASSERT_TRUE(eventually([&] { return answered; }));
    }
  }
  ASSERT_EQ(rows.size(), kHosts);
  for (const auto& [host, sessions] : rows) EXPECT_EQ(sessions, 50U);

  shared::SessionFlush one_host;
  one_host.filter.network = wire::Ipv4Prefix{wire::Ipv4Address{kSubscribers + 3}, 32};
  std::uint64_t flushed = 0;
  unsigned answers = 0;
  for (const unsigned worker : {0U, 1U})
    dataplane->flush(worker, one_host, [&](std::uint64_t n) {
      flushed += n;
      ++answers;
    });
  ASSERT_TRUE(eventually([&] { return answers == 2; }));
  EXPECT_EQ(flushed, 50U);
}

TEST_F(TwoWorkers, ServeTheAlgsQuestionsAndTellItsEvents) {
  test::RingDevice& inside = plug("in");
  test::RingDevice& outside = plug("out");
  std::string text = config(inside.device(), outside.device(),
                            "alg: { maxEspSessions = 101; maxHeldBytes = 100001; };");
  const std::string_view group = "poolname = [ \"P\" ];";
  text.replace(text.find(group), group.size(),
               "poolname = [ \"P\" ]; appsprofilename = \"IKE\"; ipsecAlgProfile = \"ALG\";");
  const std::string_view lsn = "lsn: {";
  text.replace(
      text.find(lsn), lsn.size(),
      "ipsecalg: { profile = ( { name = \"ALG\"; } ); };\n lsn: { appsprofile = ( { name = "
      "\"IKE\"; transportprotocol = \"UDP\"; ippooling = \"PAIRED\"; lsnport = \"500\"; } );");
  ASSERT_NO_FATAL_FAILURE(start(text));
  for (const unsigned worker : {0U, 1U}) {
    EXPECT_EQ(dataplane->worker(worker).capacity.esp_sessions, 51U);
    EXPECT_EQ(dataplane->worker(worker).capacity.held_bytes, 50001U);
  }
  constexpr unsigned kHosts = 8;
  ASSERT_NO_FATAL_FAILURE(introduce(inside, outside, kHosts));
  const Mac in_mac = mac_of(0);
  // To a server each: nobody waits for anybody's gate.
  for (unsigned i = 0; i < kHosts; ++i)
    inside.put(test::esp(in_mac, kClientMac, kSubscribers + i, kServer - i, 0x1000 + i, 1));
  const auto there = [&] {
    std::uint64_t sessions = 0, packets = 0;
    for (const unsigned worker : {0U, 1U}) {
      const auto& total = dataplane->worker(worker).alg->total;
      sessions += total.of(shared::AlgGauge::kEspSessions).get();
      packets += total.of(shared::AlgCounter::kEspPacketsOut).get();
    }
    return sessions == kHosts && packets == kHosts;
  };
  ASSERT_TRUE(eventually(there)) << "traffic of sessions that live is counted";

  std::map<std::uint32_t, std::uint32_t> spis;
  unsigned gates = 0, answers = 0;
  for (const unsigned worker : {0U, 1U}) {
    dataplane->ask_for<shared::EspPage>(worker, {}, [&](const auto& page) {
      EXPECT_TRUE(page.finished);
      for (const auto& row : page.rows) spis[row.client.value] = row.spi_out;
      ++answers;
    });
    dataplane->ask_for<shared::GatePage>(worker, {}, [&](const auto& page) {
      gates += static_cast<unsigned>(page.rows.size());
      ++answers;
    });
  }
  ASSERT_TRUE(eventually([&] { return answers == 4; }));
  ASSERT_EQ(spis.size(), kHosts);
  for (unsigned i = 0; i < kHosts; ++i) EXPECT_EQ(spis[kSubscribers + i], 0x1000 + i);
  EXPECT_EQ(gates, kHosts);

  unsigned created = 0;
  shared::Event event;
  for (const unsigned worker : {0U, 1U})
    while (dataplane->alg_events(worker).take(event))
      created += event.kind == shared::EventKind::kEspSessionCreated ? 1 : 0;
  EXPECT_EQ(created, kHosts);

  shared::AlgFlush one_host;
  one_host.filter.source_ip = wire::Ipv4Address{kSubscribers + 3};
  std::uint64_t flushed = 0;
  answers = 0;
  for (const unsigned worker : {0U, 1U})
    dataplane->flush_alg(worker, one_host, [&](const shared::AlgFlush& flush) {
      flushed += flush.esp_sessions;
      ++answers;
    });
  ASSERT_TRUE(eventually([&] { return answers == 2; }));
  EXPECT_EQ(flushed, 1U);
}

TEST_F(TwoWorkers, EndTheSessionsOfAddressesThatAreGone) {
  test::RingDevice& inside = plug("in");
  test::RingDevice& outside = plug("out");
  ASSERT_NO_FATAL_FAILURE(start(config(inside.device(), outside.device())));
  constexpr unsigned kHosts = 32;
  ASSERT_NO_FATAL_FAILURE(introduce(inside, outside, kHosts));
  const Mac in_mac = mac_of(0);
  for (unsigned i = 0; i < kHosts; ++i)
    for (unsigned port = 0; port < 10; ++port)
      inside.put(test::udp(in_mac, kClientMac, kSubscribers + i, 5000 + port, kServer, 53));
  const auto before = collect(outside, kHosts * 10);
  ASSERT_EQ(before.size(), kHosts * 10);
  const auto gone = static_cast<std::uint64_t>(std::count_if(
      before.begin(), before.end(), [](const auto& packet) { return packet.source >= kPool + 4; }));

  auto smaller = control::load_config_text(
      config(inside.device(), outside.device(), "", "203.0.113.0-203.0.113.3"));
  ASSERT_TRUE(smaller);
  std::uint64_t ended = 0;
  ASSERT_NO_FATAL_FAILURE(publish(control::build_generation(*smaller, current.get()), &ended));
  EXPECT_EQ(ended, gone);
}

TEST_F(TwoWorkers, TellTheNetworksWhereTheAddressesAre) {
  test::RingDevice& inside = plug("in");
  test::RingDevice& outside = plug("out");
  ASSERT_NO_FATAL_FAILURE(start(config(inside.device(), outside.device())));
  const auto announced = [&](test::RingDevice& device, std::uint32_t address) {
    return eventually([&] {
      while (const auto frame = device.take())
        if (test::at16(*frame, 12) == 0x0806 && test::at32(*frame, 28) == address &&
            test::at32(*frame, 38) == address)
          return true;
      return false;
    });
  };
  EXPECT_TRUE(announced(inside, kInside));
  EXPECT_TRUE(announced(outside, kOutside));
}

TEST_F(TwoWorkers, CarryTrafficAfterTheyHaveSlept) {
  test::RingDevice& inside = plug("in");
  test::RingDevice& outside = plug("out");
  ASSERT_NO_FATAL_FAILURE(start(config(inside.device(), outside.device(), "powerSave = true;")));
  ASSERT_NO_FATAL_FAILURE(introduce(inside, outside, 2));
  const Mac in_mac = mac_of(0);
  const std::uint64_t polls = sum(&shared::Counters::polls);
  std::this_thread::sleep_for(300ms);
  // Two workers that sleep half a millisecond at a time poll a few hundred times, not millions.
  EXPECT_LT(sum(&shared::Counters::polls) - polls, 20'000U);
  inside.put(test::udp(in_mac, kClientMac, kSubscribers, 5000, kServer, 53));
  inside.put(test::udp(in_mac, kClientMac, kSubscribers + 1, 5000, kServer, 53));
  EXPECT_EQ(collect(outside, 2).size(), 2U);
  ASSERT_NO_FATAL_FAILURE(publish(control::build_generation(model, current.get())));
}

TEST_F(TwoWorkers, StopUnderTrafficAndLeaveNothing) {
  test::RingDevice& inside = plug("in");
  const test::RingDevice& outside = plug("out");
  ASSERT_NO_FATAL_FAILURE(start(config(inside.device(), outside.device())));
  const Mac in_mac = mac_of(0);
  // Nobody answers ARP: packets wait in the workers.
  for (unsigned i = 0; i < 1000; ++i)
    inside.put(test::udp(in_mac, kClientMac, kSubscribers + i % 32, 5000 + i, kServer, 53));
  dataplane.reset();
}

TEST_F(TwoWorkers, StartOnDevicesThatCarryNothing) {
  ASSERT_NO_FATAL_FAILURE(start(config("net_null0,no-rx=1", "net_null1,no-rx=1")));
  const auto ports = dataplane->ports();
  ASSERT_EQ(ports.size(), 2U);
  EXPECT_EQ(ports[0].driver, "net_null");
  EXPECT_TRUE(ports[0].link_up);
  EXPECT_FALSE(ports[0].removed);
  // Again, in the same process: the devices were given back.
  dataplane.reset();
  ASSERT_NO_FATAL_FAILURE(start(config("net_null0,no-rx=1", "net_ring5")));
  EXPECT_EQ(dataplane->ports()[1].driver, "net_ring");
}

/// What EAL does when vfio-pci asks for a device, or when the kernel says that one has gone.
void say_that_it_goes(const char* device) {
  using Process = void (*)(const char*, rte_dev_event_type);
  const auto process =
      reinterpret_cast<Process>(dlsym(RTLD_DEFAULT, "rte_dev_event_callback_process"));
  ASSERT_NE(process, nullptr);
  process(device, RTE_DEV_EVENT_REMOVE);
}

TEST_F(TwoWorkers, GiveUpADeviceThatGoesAndTakeItAgainAsItWas) {
  test::RingDevice& outside = plug("out");
  ASSERT_NO_FATAL_FAILURE(start(config("net_null0,no-rx=0,size=60", outside.device())));
  const auto received = [this] {
    std::uint64_t total = 0;
    for (const unsigned worker : {0U, 1U})
      total += dataplane->worker(worker).counters->interfaces[0].rx.packets.get();
    return total;
  };
  ASSERT_TRUE(eventually([&] { return received() > 1000; })) << "net_null always has packets";
  const auto before = dataplane->ports()[0];
  ASSERT_FALSE(before.removed);
  for (int round = 0; round < 3; ++round) {
    say_that_it_goes("net_null0");
    ASSERT_TRUE(eventually([&] { return dataplane->ports()[0].removed; }));
    EXPECT_FALSE(dataplane->ports()[0].link_up);
    ASSERT_TRUE(eventually([&] { return !dataplane->ports()[0].removed; }));
    const std::uint64_t then = received();
    ASSERT_TRUE(eventually([&] { return received() > then + 1000; })) << "it is polled again";
    EXPECT_TRUE(eventually([&] { return dataplane->ports()[0].link_up; }));
    const auto after = dataplane->ports()[0];
    EXPECT_EQ(after.mac, before.mac) << "its neighbours know it";
    EXPECT_EQ(after.driver, before.driver);
    EXPECT_EQ(after.rx_queues, before.rx_queues);
  }
  say_that_it_goes("net_null7");
  EXPECT_FALSE(eventually([&] { return dataplane->ports()[0].removed; }, 1s)) << "another's";
}

TEST_F(TwoWorkers, StopWhileADeviceIsAway) {
  const std::string text = config("net_null0,no-rx=1", "net_null1,no-rx=1");
  ASSERT_NO_FATAL_FAILURE(start(text));
  say_that_it_goes("net_null0");
  ASSERT_TRUE(eventually([&] { return dataplane->ports()[0].removed; }));
  dataplane.reset();
  ASSERT_NO_FATAL_FAILURE(start(text));
  EXPECT_FALSE(dataplane->ports()[0].removed);
}

TEST_F(TwoWorkers, NameTheDeviceThatCannotBeHad) {
  auto loaded =
      control::load_config_text(config("net_null0", "net_af_packet7,iface=there-is-no-such-one"));
  ASSERT_TRUE(loaded);
  const auto failed = DpdkDataplane::start(make_plan(*loaded), TableMemory::HugePages::kLeave);
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error(), testing::HasSubstr("interface outside"));
  EXPECT_THAT(failed.error(), testing::HasSubstr("net_af_packet7"));
  EXPECT_THAT(failed.error(), testing::Not(testing::HasSubstr("\n")));
}

/// A memif inside, whose other end is in the test's hands.
class AtAMemif : public TwoWorkers {
 protected:
  void begin(test::MemifRole role, const std::string& more = "") {
    outside = &plug("out");
    ASSERT_NO_FATAL_FAILURE(
        start(config(test::memif_device("in", role, link) + more, outside->device())));
    frame = test::udp(mac_of(0), kClientMac, kSubscribers, 5000, kServer, 53);
  }

  [[nodiscard]] bool link_is(bool up) {
    return eventually([&] { return dataplane->ports()[0].link_up == up; });
  }
  [[nodiscard]] std::uint64_t received() {
    std::uint64_t total = 0;
    for (unsigned worker = 0; worker < dataplane->workers(); ++worker)
      total += dataplane->worker(worker).counters->interfaces[0].rx.packets.get();
    return total;
  }
  /// The peer sends until so many more have been received.
  [[nodiscard]] bool carries(test::MemifPeer& peer, std::uint64_t packets = 100) {
    const std::uint64_t before = received();
    return eventually([&] {
      for (unsigned burst = 0; burst < 16; ++burst) peer.flood(frame);
      while (outside->take()) {
      }
      return received() >= before + packets;
    });
  }

  const std::string link = test::new_memif_link();
  test::RingDevice* outside = nullptr;
  Frame frame;
};

TEST_F(AtAMemif, AsTheServerSurviveEachEndOfItsClientUnderLoad) {
  ASSERT_NO_FATAL_FAILURE(begin(test::MemifRole::kServer));
  test::MemifPeer peer(test::MemifRole::kClient, link);
  for (unsigned life = 0; life < 60; ++life) {
    ASSERT_TRUE(peer.begin());
    ASSERT_TRUE(link_is(true)) << "life " << life;
    ASSERT_TRUE(carries(peer)) << "life " << life;
    peer.end();
  }
  EXPECT_TRUE(link_is(false));
}

TEST_F(AtAMemif, AsAClientWaitForTheServerAndTakeTheLinkUpAgain) {
  // It refuses until it begins. Of two in one process the server must be there first.
  test::MemifPeer peer(test::MemifRole::kServer, link);
  ASSERT_NO_FATAL_FAILURE(begin(test::MemifRole::kClient));
  EXPECT_FALSE(dataplane->ports()[0].link_up);
  std::this_thread::sleep_for(100ms);
  dataplane->poll();
  for (unsigned life = 0; life < 8; ++life) {
    ASSERT_TRUE(peer.begin());
    ASSERT_TRUE(link_is(true)) << "life " << life;
    ASSERT_TRUE(carries(peer)) << "life " << life;
    peer.end();
    ASSERT_TRUE(link_is(false)) << "life " << life;
  }
}

TEST_F(AtAMemif, GetBackThePacketsThatAZeroCopyLinkHasLent) {
  test::MemifPeer peer(test::MemifRole::kServer, link);
  ASSERT_NO_FATAL_FAILURE(begin(test::MemifRole::kClient, ",zero-copy=yes"));
  const auto in_use = [] {
    unsigned sum = 0;
    rte_mempool_walk(
        [](rte_mempool* pool, void* count) {
          if (std::string_view(pool->name).starts_with("lsn"))
            *static_cast<unsigned*>(count) += rte_mempool_in_use_count(pool);
        },
        &sum);
    return sum;
  };
  std::vector<unsigned> after;  // A ring has 1,024 places.
  for (unsigned life = 0; life < 4; ++life) {
    ASSERT_TRUE(peer.begin());
    ASSERT_TRUE(link_is(true)) << "life " << life;
    ASSERT_TRUE(carries(peer, 2000)) << "life " << life;
    peer.end();
    ASSERT_TRUE(link_is(false)) << "life " << life;
    // What a worker still has in hand comes out in its time.
    after.push_back(0);
    unsigned same = 0;
    EXPECT_TRUE(eventually([&] {
      while (outside->take()) {
      }
      const unsigned last = std::exchange(after.back(), in_use());
      same = after.back() == last ? same + 1 : 0;
      return same > 50 && last < after.front() + 512;
    })) << "life "
        << life << ": " << after.back() << " buffers in use, after the first one " << after.front();
  }
}

TEST_F(AtAMemif, StopWhileItsServerIsAway) {
  ASSERT_NO_FATAL_FAILURE(begin(test::MemifRole::kClient));
  for (unsigned i = 0; i < 200; ++i) {
    dataplane->poll();
    std::this_thread::sleep_for(1ms);
  }
  dataplane.reset();
}

}  // namespace
}  // namespace lsn::runtime
