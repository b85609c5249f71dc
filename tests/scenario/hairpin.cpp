// Two subscribers that talk through their NAT addresses (RFC 4787 REQ-9, RFC 5382 REQ-8, RFC 5508
// REQ-7): external source address and port, one hop, on one shard and from one to another.
#include "scenario.hpp"

namespace lsn::test {
namespace {

/// Whether both subscribers belong to the same shard (where there are two).
enum class Meet : std::uint8_t { kOnOneShard, kOnTwoShards };
using Case = std::tuple<Sharding, Meet>;

class Hairpin : public Laboratory, public ::testing::WithParamInterface<Case> {
 protected:
  void start(Config config) {
    Laboratory::start(config, std::get<0>(GetParam()), {});
    alice_ = {client_of(0), 4000};
    const bool two = std::get<1>(GetParam()) == Meet::kOnTwoShards && lab().shards() == 2;
    bob_ = {client_of(two ? 1 : 0, alice_.ip), 5000};
  }
  /// Both sides endpoint-independent, as RFC 4787 wants it.
  void start() {
    Config config = Config::standard();
    for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp})
      config.group().app(protocol, kEndpointIndependent);
    start(config);
  }

  /// A client that this shard serves.
  [[nodiscard]] Ip client_of(unsigned shard, Ip not_this = {}) {
    for (Ip ip = "192.0.2.20";; ip = ip + 1)
      if (ip != not_this && owner_of(ip) == shard) return ip;
  }

  /// From one subscriber to another's NAT endpoint: arrives with `source` as its source.
  void crosses(const IpPacket& packet, Endpoint source, Endpoint to,
               Where where = Where::current()) {
    expect_hairpinned(packet, packet.from(source).to(to), where);
  }
  /// It arrives inside as that one, one hop later.
  void expect_hairpinned(const IpPacket& packet, const IpPacket& expected,
                         Where where = Where::current()) {
    const std::vector<Frame> frames = lab().from_inside(packet.bytes());
    expect_drops({}, where);
    expect_frames(frames, {lab().to_inside(expected.hop())}, where);
  }
  /// ... and its source is not known yet.
  Endpoint first_crosses(const IpPacket& packet, Endpoint to, Where where = Where::current()) {
    const std::vector<Frame> frames = lab().from_inside(packet.bytes());
    expect_drops({}, where);
    const Bytes in = only(frames, 0, where);
    if (in.empty()) return {};
    const Endpoint source = source_of(in);
    if (!config().is_nat_address(source.ip))
      fail(where) << "the source " << to_text(source.ip) << " is not external";
    expect_frames(frames, {lab().to_inside(packet.from(source).to(to).hop())}, where);
    return source;
  }

  std::uint64_t hairpinned(Protocol protocol) {
    std::uint64_t sum = 0;
    for (unsigned id = 0; id < lab().shards(); ++id)
      sum += lab().shard(id).counters.of(protocol).hairpinned.packets.get();
    return sum;
  }

  Endpoint alice_, bob_;
};

TEST_P(Hairpin, Udp_HasExternalSourceAddressAndPortBothWays) {
  start();
  const Endpoint bob_nat = translated(udp(bob_, kServer));
  const Endpoint alice_nat = first_crosses(udp(alice_, bob_nat), bob_);
  crosses(udp(bob_, alice_nat), bob_nat, alice_);
  crosses(udp(alice_, bob_nat, pattern(1000)), alice_nat, bob_);
  EXPECT_EQ(hairpinned(Protocol::kUdp), 3u);
  const std::vector<SessionRow> rows = sessions();
  EXPECT_EQ(count(rows, [](const SessionRow& r) { return r.hairpin; }), 2u);
}

TEST_P(Hairpin, TcpConnects) {
  start();
  const Endpoint bob_nat = translated(tcp(bob_, kServer, kSyn));
  const Endpoint alice_nat = first_crosses(tcp(alice_, bob_nat, kSyn), bob_);
  crosses(tcp(bob_, alice_nat, kSyn | kAck), bob_nat, alice_);
  crosses(tcp(alice_, bob_nat, kAck), alice_nat, bob_);
  crosses(tcp(alice_, bob_nat, kAck | kPsh, pattern(1460)), alice_nat, bob_);
  const std::vector<SessionRow> rows = sessions();
  EXPECT_EQ(
      count(rows,
            [](const SessionRow& r) { return r.hairpin && r.state == SessionState::kEstablished; }),
      2u);
}

TEST_P(Hairpin, EchoRequestToANatAddress_IsDropped) {
  start();
  // RFC 5508 section 3.3: only a NAT that changes no identifiers can hairpin queries. The
  // identifier is the sender's; nothing in the packet names whom it is for.
  const Endpoint bob_nat = translated(ping(bob_, kServer.ip));
  refused_from_inside(ping(alice_, bob_nat.ip), DropReason::kNoMapping);
}

TEST_P(Hairpin, ASubscriberReachesItself) {
  start();
  const Endpoint nat = translated(udp(alice_, kServer));
  crosses(udp(alice_, nat), nat, alice_);
  const Endpoint other = {alice_.ip, 4001};
  const Endpoint other_nat = first_crosses(udp(other, nat), alice_);
  crosses(udp(alice_, other_nat), nat, other);
}

TEST_P(Hairpin, EndpointIndependentMapping_IsTheSameInsideAndOutside) {
  start();
  const Endpoint alice_nat = translated(udp(alice_, kServer));
  const Endpoint bob_nat = translated(udp(bob_, kServer));
  crosses(udp(alice_, bob_nat), alice_nat, bob_);
  crosses(udp(bob_, alice_nat), bob_nat, alice_);
}

TEST_P(Hairpin, FilteringAppliesToHairpinnedPackets) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, {.mapping = Dependence::kEndpointIndependent});
  start(config);
  const Endpoint alice_nat = translated(udp(alice_, kServer));
  const Endpoint bob_nat = translated(udp(bob_, kServer));
  refused_from_inside(udp(alice_, bob_nat), DropReason::kFiltered);
  // Bob's packet finds the way that Alice's has opened: hole punching (RFC 5128 section 3.3)
  // works between two that are behind the same NAT, too.
  crosses(udp(bob_, alice_nat), bob_nat, alice_);
  crosses(udp(alice_, bob_nat), alice_nat, bob_);
}

TEST_P(Hairpin, DefaultFiltering_DropsHairpinnedPackets) {
  Config config = Config::standard();
  start(config);
  const Endpoint bob_nat = translated(udp(bob_, kServer));
  refused_from_inside(udp(alice_, bob_nat), DropReason::kFiltered);
  refused_from_inside(tcp(alice_, bob_nat, kSyn), DropReason::kNoMapping);
}

TEST_P(Hairpin, NatEndpointWithoutAMapping_IsDropped) {
  start();
  refused_from_inside(udp(alice_, {"203.0.113.5", 7}), DropReason::kNoMapping);
  refused_from_inside(udp(alice_, {"203.0.113.6", 7}), DropReason::kNoMapping);
}

TEST_P(Hairpin, TheTtlIsCountedOnce) {
  start();
  const Endpoint bob_nat = translated(udp(bob_, kServer));
  first_crosses(udp(alice_, bob_nat).with_ttl(2), bob_);
  expect_time_exceeded_inside(udp(alice_, bob_nat).with_ttl(1));
}

TEST_P(Hairpin, FragmentsCrossInAnyOrder) {
  start();
  const Endpoint bob_nat = translated(udp(bob_, kServer));
  const Endpoint alice_nat = first_crosses(udp(alice_, bob_nat), bob_);
  const IpPacket whole = udp(alice_, bob_nat, pattern(3000)).with_id(0x321);
  const std::vector<Bytes> pieces = whole.fragments({1000, 2000});
  expect_frames(lab().from_inside(pieces[2]), {});
  const std::vector<Frame> frames = lab().from_inside(pieces[0]);
  std::vector<Frame> expected;
  for (const Bytes& piece :
       whole.from(alice_nat).to(bob_).hop().with_id(id_of(frames)).fragments({1000, 2000}))
    expected.push_back(lab().frame_to(0, bob_.ip, piece));
  expect_frames(frames, {expected[0], expected[2]});
  expect_frames(lab().from_inside(pieces[1]), {expected[1]});
}

TEST_P(Hairpin, IpOptionsAndChecksumZeroPass) {
  start();
  const Endpoint bob_nat = translated(udp(bob_, kServer));
  const Endpoint alice_nat =
      first_crosses(udp(alice_, bob_nat).without_checksum().with_options({0x94, 4, 0, 0}), bob_);
  crosses(udp(bob_, alice_nat).with_options({0x94, 4, 0, 0}), bob_nat, alice_);
}

TEST_P(Hairpin, PortUnreachableAboutUdp_ReachesTheSender) {
  start();
  const Endpoint bob_nat = translated(udp(bob_, kServer));
  const IpPacket packet = udp(alice_, bob_nat, pattern(40));
  const Endpoint alice_nat = first_crosses(packet, bob_);
  // Bob's host: nobody listens. It quotes what it got.
  const Bytes got = packet.from(alice_nat).to(bob_).hop().bytes();
  const IpPacket error = icmp_error(bob_.ip, alice_nat.ip, kUnreachable, 3, got);
  // Alice's host gets it about what it sent, from Bob's external address (RFC 5508 REQ-7).
  const Bytes sent = packet.hop().bytes();
  const IpPacket expected = icmp_error(bob_nat.ip, alice_.ip, kUnreachable, 3, sent);
  expect_hairpinned(error, expected);
}

TEST_P(Hairpin, PortUnreachableAboutTcp_ReachesTheSender) {
  start();
  const Endpoint bob_nat = translated(tcp(bob_, kServer, kSyn));
  const IpPacket packet = tcp(alice_, bob_nat, kSyn);
  const Endpoint alice_nat = first_crosses(packet, bob_);
  // As little as RFC 792 wants: the IP header and eight bytes.
  const Bytes got = packet.from(alice_nat).to(bob_).hop().bytes();
  const Bytes sent = packet.hop().bytes();
  const IpPacket error =
      icmp_error(bob_.ip, alice_nat.ip, kUnreachable, 3, ByteView{got}.first(28));
  const IpPacket expected =
      icmp_error(bob_nat.ip, alice_.ip, kUnreachable, 3, ByteView{sent}.first(28));
  expect_hairpinned(error, expected);
}

TEST_P(Hairpin, OversizeForTheReceiversLink_IsAnsweredByFragmentationNeeded) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  config.interfaces.push_back({"narrow", Side::kInside, "192.0.3.1/24", 2, 0, 1000});
  config.group().clients.push_back("192.0.3.0/24");
  start(config);
  const bool two = std::get<1>(GetParam()) == Meet::kOnTwoShards && lab().shards() == 2;
  for (bob_.ip = "192.0.3.20"; owner_of(bob_.ip) != (two ? 1 : 0);) bob_.ip = bob_.ip + 1;
  const IpPacket hello = udp(bob_, kServer);
  const Endpoint bob_nat = expect_translated(lab().send(2, hello.bytes()), hello);
  // RFC 4787 REQ-13, and REQ-9: the sender must learn it here as well. What it sent is quoted as it
  // was when it had crossed half of the way.
  const IpPacket packet = udp(alice_, bob_nat, pattern(1200)).with_df();
  const std::vector<Frame> frames = lab().from_inside(packet.bytes());
  expect_drops({{DropReason::kFragmentationNeeded, 1}});
  expect_error(frames, 0, our_error(packet.hop().bytes(), kRouter, kUnreachable, 4, 1000));
}

INSTANTIATE_TEST_SUITE_P(All, Hairpin,
                         ::testing::Combine(shardings(), ::testing::Values(Meet::kOnOneShard,
                                                                           Meet::kOnTwoShards)),
                         [](const ::testing::TestParamInfo<Case>& test) {
                           return std::string(std::get<0>(test.param).name) +
                                  (std::get<1>(test.param) == Meet::kOnOneShard ? "OnOne"
                                                                                : "AcrossShards");
                         });

}  // namespace
}  // namespace lsn::test
