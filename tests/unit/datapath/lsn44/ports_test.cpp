// Which NAT port a flow gets (RFC 4787 sections 4.2 and 4.3, RFC 6888 REQ-2, REQ-8), without
// packets.
#include "lsn/datapath/lsn44/ports.hpp"

#include <set>

#include "unit/datapath/floors.hpp"

namespace lsn::datapath::lsn44 {
namespace {

using test::Config;

class PortChoice : public Floors {
 protected:
  static Config one_address() {
    Config config = Config::standard();
    config.pool().addresses = {"203.0.113.3"};
    return config;
  }
  static PortRequest udp(unsigned inside_port, Pooling pooling = Pooling::kPaired) {
    return {Protocol::kUdp, pooling, wire::Be16::of(static_cast<std::uint16_t>(inside_port))};
  }
};

TEST_F(PortChoice, WithoutRangePreservation_EveryPortIs1024OrAbove) {
  start(Config::standard());
  const SubscriberId id = subscriber();
  for (const unsigned inside : {1u, 53u, 1023u, 1024u, 40000u, 65535u})
    for (int i = 0; i < 50; ++i) EXPECT_GE(take_port(id, udp(inside))->port.host(), 1024) << inside;
}

TEST_F(PortChoice, WithRangePreservation_WellKnownPortsStayBelow1024AndNeverZero) {
  Config config = Config::standard();
  config.group().udp().preserve_range = true;
  start(config);
  const SubscriberId id = subscriber();
  for (int i = 0; i < 200; ++i) {
    const unsigned low = take_port(id, udp(500))->port.host();
    EXPECT_GE(low, 1u);
    EXPECT_LE(low, 1023u);
    EXPECT_GE(take_port(id, udp(1024))->port.host(), 1024);
  }
}

TEST_F(PortChoice, WithParityPreservation_EvenStaysEvenAndOddStaysOdd) {
  Config config = Config::standard();
  config.group().udp().preserve_parity = true;
  start(config);
  const SubscriberId id = subscriber();
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(take_port(id, udp(40000))->port.host() % 2, 0);
    EXPECT_EQ(take_port(id, udp(40001))->port.host() % 2, 1);
  }
}

TEST_F(PortChoice, AnExhaustedRangeYieldsToTheOther) {
  Config config = one_address();
  config.group().udp().preserve_range = true;
  start(config);
  const SubscriberId id = subscriber();
  std::set<unsigned> low;
  for (int i = 0; i < 1023; ++i) low.insert(take_port(id, udp(53))->port.host());
  EXPECT_EQ(low.size(), 1023u) << "ports 1 to 1023, each once";
  EXPECT_GE(take_port(id, udp(53))->port.host(), 1024) << "another one is better than none";
}

TEST_F(PortChoice, NoPortIsGivenTwiceUntilAllAreTaken) {
  start(one_address());
  const SubscriberId id = subscriber();
  std::set<unsigned> taken;
  for (int i = 0; i < 65536 - 1024; ++i) {
    const auto port = take_port(id, udp(40000, Pooling::kRandom));
    ASSERT_TRUE(port.has_value()) << i;
    ASSERT_TRUE(taken.insert(port->port.host()).second) << port->port.host();
  }
  EXPECT_EQ(take_port(id, udp(40000, Pooling::kRandom)),
            std::unexpected(DropReason::kPoolExhausted));
  // Another protocol's ports are others.
  EXPECT_TRUE(take_port(id, {Protocol::kTcp, Pooling::kRandom, wire::Be16::of(1)}).has_value());
}

TEST_F(PortChoice, PairedPooling_KeepsTheAddressAlsoWhenItHasNothingLeft) {
  start(Config::standard());
  const SubscriberId id = subscriber();
  const auto first = take_port(id, udp(40000));
  ASSERT_TRUE(first.has_value());
  for (int i = 1; i < 65536 - 1024; ++i) ASSERT_EQ(take_port(id, udp(1))->address, first->address);
  EXPECT_EQ(take_port(id, udp(1)), std::unexpected(DropReason::kPortsExhausted));
  EXPECT_EQ(tables().subscribers[id].paired_ip, first->address);
}

TEST_F(PortChoice, RandomPooling_UsesAllAddressesOfThePool) {
  start(Config::standard());
  const SubscriberId id = subscriber();
  std::set<std::uint32_t> addresses;
  for (int i = 0; i < 500; ++i)
    addresses.insert(take_port(id, udp(40000, Pooling::kRandom))->address.host());
  EXPECT_EQ(addresses.size(), 7u);
  EXPECT_EQ(tables().subscribers[id].paired_ip.raw(), 0u) << "nobody was paired";
}

TEST_F(PortChoice, AWantedPortIsThatOneOrNone) {
  start(one_address());
  const SubscriberId id = subscriber();
  ASSERT_TRUE(take_port(id, udp(40000)).has_value());  // pairs the subscriber
  PortRequest request = udp(500);
  request.wanted = wire::Be16::of(500);
  const auto got = take_port(id, request);
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->port, wire::Be16::of(500));
  EXPECT_EQ(take_port(id, request), std::unexpected(DropReason::kPortsExhausted));
}

TEST_F(PortChoice, PortQuota_CountsBySubscriberAndProtocol) {
  Config config = Config::standard();
  config.group().udp().port_quota = 3;
  start(config);
  const SubscriberId one = subscriber("192.0.2.10"), other = subscriber("192.0.2.11");
  std::optional<wire::Endpoint> last;
  for (int i = 0; i < 3; ++i) last = *take_port(one, udp(40000));
  EXPECT_EQ(take_port(one, udp(40000)), std::unexpected(DropReason::kPortQuota));
  EXPECT_TRUE(take_port(other, udp(40000)).has_value());
  EXPECT_TRUE(take_port(one, {Protocol::kTcp, Pooling::kPaired, wire::Be16::of(1)}).has_value());
  give_back_port(shard(), tables().subscribers[one], Protocol::kUdp, *last);
  EXPECT_TRUE(take_port(one, udp(40000)).has_value()) << "one was given back";
}

TEST_F(PortChoice, AGivenBackPortIsFreeAtOnceWithoutPortrealloctimeout) {
  start(one_address());
  const SubscriberId id = subscriber();
  const wire::Endpoint port = *take_port(id, udp(40000));
  give_back_port(shard(), tables().subscribers[id], Protocol::kUdp, port);
  EXPECT_EQ(ports_taken(Protocol::kUdp), 0u);
}

TEST_F(PortChoice, AGivenBackPortWaitsForPortrealloctimeout) {
  Config config = one_address();
  config.pool().realloc_timeout = 10s;
  start(config);
  const SubscriberId id = subscriber();
  const wire::Endpoint port = *take_port(id, udp(40000));
  give_back_port(shard(), tables().subscribers[id], Protocol::kUdp, port);
  EXPECT_EQ(ports_taken(Protocol::kUdp), 1u);
  pass(9900ms);
  EXPECT_EQ(ports_taken(Protocol::kUdp), 1u);
  pass(200ms);
  EXPECT_EQ(ports_taken(Protocol::kUdp), 0u);
}

TEST_F(PortChoice, AFullWaitingQueueFreesAtOnce) {
  Config config = one_address();
  config.pool().realloc_timeout = 10s;
  config.pool().realloc_queue = 2;
  start(config);
  const SubscriberId id = subscriber();
  std::vector<wire::Endpoint> ports;
  for (int i = 0; i < 5; ++i) ports.push_back(*take_port(id, udp(40000)));
  for (const wire::Endpoint& port : ports)
    give_back_port(shard(), tables().subscribers[id], Protocol::kUdp, port);
  EXPECT_EQ(ports_taken(Protocol::kUdp), 2u) << "maxPortReallocTmq wait";
}

}  // namespace
}  // namespace lsn::datapath::lsn44
