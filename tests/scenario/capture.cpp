// `start capture`: what a worker writes down of the packets that pass it, both sides of the
// translation, the verdict, and whom each packet concerns.
#include "alg/alg_scenario.hpp"
#include "lsn/datapath/capture_tap.hpp"

namespace lsn::test {
namespace {

using shared::CapturedFlow;
using shared::CaptureFilter;
using shared::CaptureRecord;
using shared::CaptureRing;
using shared::CaptureVerdict;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr std::int64_t kTime = 1'700'000'000'000'000'007;

struct Captured {
  CaptureRecord record;
  Bytes bytes;
};

/// "198.18.0.1:80", or only the address.
std::string text_of(const wire::Endpoint& end, bool has_ports) {
  if (end.address == wire::Be32{}) return "-";
  const std::string address = wire::to_string(wire::Ipv4Address{end.address});
  return has_ports ? cat({address, ":", std::to_string(end.port.host())}) : address;
}

std::string_view word_of(const CaptureRecord& record) {
  switch (record.verdict) {
    case CaptureVerdict::kForwarded:
      return "forwarded";
    case CaptureVerdict::kCut:
      return "cut";
    case CaptureVerdict::kHairpin:
      return "hairpin";
    case CaptureVerdict::kLater:
      return "later";
    case CaptureVerdict::kTaken:
      return "taken";
    case CaptureVerdict::kOwn:
      return "own";
    case CaptureVerdict::kDropped:
      return shared::name_of(record.reason);
    case CaptureVerdict::kVoid:
      break;
  }
  return "void";
}

/// "in 0 forwarded SUBSCRIBER NAT REMOTE": received on interface 0.
std::string line_of(const CaptureRecord& r) {
  const CapturedFlow& f = r.flow;
  std::string line = cat({r.received ? "in " : "out ",
                          r.interface == shared::kNoInterface ? "-" : std::to_string(r.interface),
                          " ", word_of(r), " ", text_of(f.subscriber, f.has_ports), " ",
                          text_of(f.nat, f.has_ports), " ", text_of(f.remote, f.has_ports)});
  if (f.peer.address != wire::Be32{}) line += cat({" ", text_of(f.peer, f.has_ports)});
  if (f.is_error) line += " error";
  return line;
}

template <class Base>
class Capturing : public Base {
 protected:
  void capture(const CaptureFilter& filter = {}, std::size_t room = CaptureRing::kCapacity) {
    for (unsigned id = 0; id < this->lab().shards(); ++id) {
      rings_.push_back(std::make_shared<CaptureRing>(room));
      taps_.push_back(std::make_unique<datapath::CaptureTap>(
          rings_.back(), filter, &datapath::find_captured, [] { return kTime; }));
      this->lab().shard(id).capture = taps_.back().get();
    }
  }
  /// All next hops are known: no packet waits.
  void know_next_hops() {
    this->lab().introduce(1, kGateway);
    for (const char* host : {"192.0.2.10", "192.0.2.20", "192.0.2.21", "192.0.2.22", "192.0.2.23",
                             "192.0.2.24", "192.0.2.77"})
      this->lab().introduce(0, host);
  }
  /// What has been written since the last time.
  std::vector<Captured> taken() {
    std::vector<Captured> all;
    for (const auto& ring : rings_)
      ring->take([&](const CaptureRecord& record) {
        EXPECT_EQ(record.time, kTime);
        const auto frame = record.frame();
        all.push_back({record, Bytes(frame.begin(), frame.end())});
      });
    return all;
  }
  std::vector<std::string> lines() {
    std::vector<std::string> all;
    for (const Captured& each : taken()) all.push_back(line_of(each.record));
    return all;
  }
  [[nodiscard]] Bytes inside_frame(const IpPacket& packet) {
    return ethernet(Lab::own_mac(0), Lab::mac_of(packet.source), kTypeIpv4, packet.bytes());
  }

  std::vector<std::shared_ptr<CaptureRing>> rings_;
  std::vector<std::unique_ptr<datapath::CaptureTap>> taps_;
};

class Capture : public Capturing<Scenario> {};

const std::string kC = "192.0.2.10:40000", kR = "198.18.0.1:80";

TEST_P(Capture, APacketIsThereAsItCameAndAsItLeft) {
  start();
  know_next_hops();
  const Endpoint nat = translated(udp(kClient, kServer));
  capture();
  for (const std::size_t size : {0u, 100u, 200u, 1400u}) {
    const IpPacket out = udp(kClient, kServer, pattern(size));
    translated_to(out, nat);
    std::vector<Captured> both = taken();
    ASSERT_EQ(both.size(), 2u);
    const std::string flow = cat({" forwarded ", kC, " ", to_text(nat), " ", kR});
    EXPECT_EQ(line_of(both[0].record), "in 0" + flow);
    EXPECT_EQ(line_of(both[1].record), "out 1" + flow);
    EXPECT_EQ(both[0].bytes, inside_frame(out));
    EXPECT_EQ(both[1].bytes, lab().to_outside(out.from(nat).hop()).bytes);
    EXPECT_EQ(both[0].record.length, both[0].bytes.size());

    const IpPacket in = udp(kServer, nat, pattern(size));
    returned(in, kClient);
    both = taken();
    ASSERT_EQ(both.size(), 2u);
    EXPECT_EQ(line_of(both[0].record), "in 1" + flow);
    EXPECT_EQ(line_of(both[1].record), "out 0" + flow);
    EXPECT_EQ(both[1].bytes, lab().to_inside(in.to(kClient).hop()).bytes);
  }
}

TEST_P(Capture, WhatTheKernelGetsIsWhole) {
  Config config = Config::standard();
  config.interfaces[1].kernel = shared::KernelUse::kIpv4;
  start(config);
  capture();
  const Ip router = "198.51.100.20";
  for (const IpPacket& packet :
       {tcp({router, 40000}, {kOutside, 179}, kAck, pattern(1400)), udp({router, 5}, {kOutside, 5}),
        ping({router, 77}, kOutside, 1, pattern(1400)), esp(router, kOutside, 0x1234)}) {
    const Bytes frame = ethernet(Lab::own_mac(1), Lab::mac_of(router), kTypeIpv4, packet.bytes());
    expect_frames(lab().receive(1, frame), {});
    ASSERT_EQ(lab().to_kernel().size(), 1u);
    const std::vector<Captured> got = taken();
    ASSERT_EQ(got.size(), 1u);
    EXPECT_EQ(word_of(got[0].record), "taken");
    EXPECT_EQ(got[0].record.length, frame.size());
    EXPECT_EQ(got[0].bytes, frame);
  }
}

TEST_P(Capture, TcpWithPayloadIsWhole) {
  start();
  const Endpoint nat = translated(tcp(kClient, kServer, kSyn));
  returned(tcp(kServer, nat, kSyn | kAck), kClient);
  translated_to(tcp(kClient, kServer, kAck), nat);
  capture();
  const IpPacket data = tcp(kClient, kServer, kAck | kPsh, pattern(1300));
  translated_to(data, nat);
  const std::vector<Captured> both = taken();
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(both[0].bytes, inside_frame(data));
  EXPECT_EQ(both[1].bytes, lab().to_outside(data.from(nat).hop()).bytes);
}

TEST_P(Capture, ANewSessionIsCapturedWithItsNatEndpoint) {
  start();
  know_next_hops();
  capture();
  const Endpoint nat = translated(tcp(kClient, kServer, kSyn));
  const std::string flow = cat({" forwarded ", kC, " ", to_text(nat), " ", kR});
  EXPECT_THAT(lines(), ElementsAre("in 0" + flow, "out 1" + flow));
}

TEST_P(Capture, ADropHasItsReasonAndTheFrameAsItCame) {
  start();
  translated(udp(kClient, kServer));
  capture();
  const IpPacket ack = tcp(kClient, kServer, kAck, pattern(900));
  refused_from_inside(ack, DropReason::kTcpNotSyn);
  const std::vector<Captured> all = taken();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(line_of(all[0].record), cat({"in 0 tcp_not_syn ", kC, " - ", kR}));
  EXPECT_EQ(all[0].bytes, inside_frame(ack));

  refused_from_outside(udp({"198.18.0.9", 7}, {"203.0.113.3", 9}), DropReason::kNoMapping);
  EXPECT_THAT(lines(), ElementsAre("in 1 no_mapping - 203.0.113.3:9 198.18.0.9:7"));
}

TEST_P(Capture, ADropOfASessionSaysWhose) {
  Config config = Config::standard();
  config.interfaces[1].mtu = 1000;
  start(config);
  const Endpoint nat = translated(udp(kClient, kServer));
  capture({.dropped = true});
  translated_to(udp(kClient, kServer), nat);
  const IpPacket large = udp(kClient, kServer, pattern(1200)).with_df();
  expect_fragmentation_needed_inside(large, 1000);
  EXPECT_THAT(lines(),
              ElementsAre(cat({"in 0 fragmentation_needed ", kC, " ", to_text(nat), " ", kR})));
}

TEST_P(Capture, FilteredPacketsSayWhoseMappingTheyMet) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, {.mapping = Dependence::kEndpointIndependent,
                                      .filtering = Dependence::kAddress});
  start(config);
  const Endpoint nat = translated(udp(kClient, kServer));
  capture({.subscriber = wire::Ipv4Address{kClient.ip.value}});
  refused_from_outside(udp({"198.18.0.9", 7}, nat), DropReason::kFiltered);
  EXPECT_THAT(lines(),
              ElementsAre(cat({"in 1 filtered ", kC, " ", to_text(nat), " 198.18.0.9:7"})));
}

TEST_P(Capture, FramesThatAreNoPacketsOfOursAreDropsAsWell) {
  start();
  capture({.dropped = true});
  Bytes ipv6 = ethernet(Lab::own_mac(0), Lab::mac_of(kClient.ip), kTypeIpv6, pattern(60));
  EXPECT_THAT(lab().receive(0, ipv6), IsEmpty());
  IpPacket bad = udp(kClient, kServer);
  Bytes frame = inside_frame(bad);
  frame[14 + 10] ^= 0xFF;  // the header's checksum
  EXPECT_THAT(lab().receive(0, frame), IsEmpty());
  Bytes tagged = ethernet(Lab::own_mac(0), Lab::mac_of(kClient.ip), kTypeIpv4, bad.bytes(), 99);
  EXPECT_THAT(lab().receive(0, tagged), IsEmpty());
  expect_drops({{DropReason::kEtherTypeIpv6, 1},
                {DropReason::kIpChecksum, 1},
                {DropReason::kVlanUnknown, 1}});
  const std::vector<Captured> all = taken();
  ASSERT_EQ(all.size(), 3u);
  std::vector<std::string> said;
  for (const Captured& each : all) said.push_back(line_of(each.record));
  EXPECT_THAT(said, UnorderedElementsAre("in 0 ethertype_ipv6 - - -",
                                         cat({"in 0 ip_checksum ", kC, " - ", kR}),
                                         "in - vlan_unknown - - -"));
}

TEST_P(Capture, EachFilterTakesBothDirectionsOfItsOwnAndNothingElse) {
  start();
  const Endpoint other = {"192.0.2.77", 1234}, far = {"198.18.0.2", 53};
  const Endpoint nat = translated(udp(kClient, kServer));
  const Endpoint other_nat = translated(tcp(other, far, kSyn));
  const auto address = [](Ip ip) { return wire::Ipv4Address{ip.value}; };
  const auto counted = [&](const CaptureFilter& filter) {
    rings_.clear();
    taps_.clear();
    capture(filter);
    translated_to(udp(kClient, kServer), nat);
    returned(udp(kServer, nat), kClient);
    translated_to(tcp(other, far, kSyn), other_nat);
    refused_from_outside(udp(far, {"203.0.113.3", 9}), DropReason::kNoMapping);
    return taken().size();
  };
  EXPECT_EQ(counted({}), 7u);
  EXPECT_EQ(counted({.subscriber = address(kClient.ip)}), 4u);
  EXPECT_EQ(counted({.subscriber = address(other.ip)}), 2u);
  EXPECT_EQ(counted({.nat = address(nat.ip), .protocol = Protocol::kUdp}),
            nat.ip == Ip{"203.0.113.3"} ? 5u : 4u);
  EXPECT_EQ(counted({.remote = address(kServer.ip)}), 4u);
  EXPECT_EQ(counted({.remote = address(far.ip)}), 3u);
  EXPECT_EQ(counted({.protocol = Protocol::kTcp}), 2u);
  EXPECT_EQ(counted({.dropped = true}), 1u);
  EXPECT_EQ(counted({.dropped = true, .reason = DropReason::kNoMapping}), 1u);
  EXPECT_EQ(counted({.dropped = true, .reason = DropReason::kFiltered}), 0u);
  EXPECT_EQ(counted({.subscriber = address(kClient.ip), .remote = address(far.ip)}), 0u);
}

TEST_P(Capture, APacketThatWaitsForItsNextHopIsTakenAndThenForwarded) {
  start();
  lab().silence(kGateway);
  capture();
  EXPECT_THAT(lab().from_inside(udp(kClient, kServer, pattern(700)).bytes()), IsEmpty());
  std::vector<Captured> first = taken();
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].bytes, inside_frame(udp(kClient, kServer, pattern(700))));
  EXPECT_THAT(line_of(first[0].record), ::testing::StartsWith(cat({"in 0 taken ", kC, " 203."})));
  lab().unsilence(kGateway);
  lab().advance(3s);
  const std::vector<Captured> later = taken();
  ASSERT_EQ(later.size(), 1u);
  const CapturedFlow& flow = later[0].record.flow;
  EXPECT_EQ(line_of(later[0].record),
            cat({"out 1 later ", kC, " ", text_of(flow.nat, true), " ", kR}));
}

TEST_P(Capture, APacketThatWaitsInVainIsDroppedLater) {
  start();
  lab().silence(kGateway);
  capture({.dropped = true});
  EXPECT_THAT(lab().from_inside(udp(kClient, kServer).bytes()), IsEmpty());
  lab().advance(10s);
  expect_drops({{DropReason::kNeighbourUnresolved, 1}});
  const std::vector<Captured> all = taken();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_THAT(line_of(all[0].record),
              ::testing::StartsWith(cat({"in - neighbour_unresolved ", kC, " 203."})));
}

TEST_P(Capture, WhatTheNatSaysItselfIsItsOwn) {
  start();
  capture({.subscriber = wire::Ipv4Address{kClient.ip.value}});
  expect_time_exceeded_inside(udp(kClient, kServer).with_ttl(1));
  EXPECT_THAT(lines(), ElementsAre(cat({"in 0 ttl_expired ", kC, " - ", kR}),
                                   cat({"out 0 own ", kC, " - ", kR, " error"})));
  static_cast<void>(lab().from_inside(ping({kClient.ip, 5}, kRouter).bytes()));
  EXPECT_THAT(lines(), UnorderedElementsAre("out 0 own 192.0.2.10:5 - 192.0.2.1:0",
                                            "in 0 taken 192.0.2.10:5 - 192.0.2.1:0"));
}

TEST_P(Capture, AnIcmpErrorConcernsWhatItQuotes) {
  start();
  know_next_hops();
  const IpPacket packet = udp(kClient, kServer, pattern(64));
  const Endpoint nat = translated(packet);
  capture();
  const Bytes seen = packet.from(nat).with_ttl(57).bytes(), sent = packet.with_ttl(57).bytes();
  const Ip router = "198.18.99.1";
  expect_forwarded_inside(icmp_error(router, nat.ip, kUnreachable, 1, seen),
                          icmp_error(router, kClient.ip, kUnreachable, 1, sent));
  const std::string flow = cat({" forwarded ", kC, " ", to_text(nat), " ", kR, " error"});
  EXPECT_THAT(lines(), ElementsAre("in 1" + flow, "out 0" + flow));
}

TEST_P(Capture, FragmentsHaveThePortsThatAreInThem) {
  start();
  know_next_hops();
  capture();
  const IpPacket datagram = udp(kClient, kServer, pattern(1200));
  const std::vector<Bytes> pieces = datagram.fragments({512});
  static_cast<void>(lab().from_inside(pieces[1]));  // before the first one: it waits
  EXPECT_THAT(lines(), ElementsAre("in 0 taken 192.0.2.10 - 198.18.0.1"));
  static_cast<void>(lab().from_inside(pieces[0]));
  const std::vector<Captured> all = taken();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_TRUE(all[0].record.flow.is_fragment);
  const std::string nat = text_of(all[0].record.flow.nat, true);
  EXPECT_EQ(line_of(all[0].record), cat({"in 0 forwarded ", kC, " ", nat, " ", kR}));
  EXPECT_EQ(line_of(all[1].record), cat({"out 1 forwarded ", kC, " ", nat, " ", kR}));
  EXPECT_THAT(line_of(all[2].record), ::testing::StartsWith("out 1 later - "));
}

TEST_P(Capture, APacketThatIsCutIsFollowedByItsPieces) {
  Config config = Config::standard();
  config.interfaces[1].mtu = 700;
  start(config);
  const Endpoint nat = translated(udp(kClient, kServer));
  capture();
  const IpPacket large = udp(kClient, kServer, pattern(1200));
  ASSERT_EQ(lab().from_inside(large.bytes()).size(), 2u);
  const std::vector<Captured> all = taken();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(line_of(all[0].record), cat({"in 0 cut ", kC, " ", to_text(nat), " ", kR}));
  EXPECT_EQ(all[0].bytes, inside_frame(large));
  EXPECT_EQ(line_of(all[1].record), cat({"out 1 later ", kC, " ", to_text(nat), " ", kR}));
  EXPECT_TRUE(all[2].record.flow.is_fragment);
}

TEST_P(Capture, AHairpinnedPacketHasBothSubscribers) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  start(config);
  know_next_hops();
  const Endpoint alice = {"192.0.2.20", 4000};
  for (const char* other : {"192.0.2.21", "192.0.2.22", "192.0.2.23", "192.0.2.24"}) {
    const Endpoint bob = {other, 5000};
    const Endpoint bob_nat = translated(udp(bob, kServer));
    rings_.clear();
    taps_.clear();
    capture();
    const IpPacket packet = udp(alice, bob_nat);
    const std::vector<Frame> frames = lab().from_inside(packet.bytes());
    ASSERT_EQ(frames.size(), 1u);
    const std::string nat = to_text(source_of(behind_link(frames[0].bytes)));
    const auto said = lines();
    if (owner_of(alice.ip) == owner_of(bob.ip)) {
      const std::string flow = cat(
          {" 0 forwarded ", to_text(alice), " ", nat, " ", to_text(bob_nat), " ", to_text(bob)});
      EXPECT_THAT(said, ElementsAre("in" + flow, "out" + flow));
    } else {
      EXPECT_THAT(said,
                  UnorderedElementsAre(
                      cat({"in 0 hairpin ", to_text(alice), " ", nat, " ", to_text(bob_nat)}),
                      cat({"out 0 forwarded ", to_text(bob), " ", to_text(bob_nat), " ", nat})));
    }
  }
}

TEST_P(Capture, AFullRingLosesPacketsAndNothingElse) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  capture({}, 4096);
  for (int i = 0; i < 20; ++i) translated_to(udp(kClient, kServer, pattern(600)), nat);
  std::uint64_t lost = 0, seen = 0;
  for (const auto& ring : rings_) {
    lost += ring->lost();
    seen += ring->seen();
  }
  EXPECT_EQ(seen, 20u);
  const std::size_t written = taken().size();
  EXPECT_EQ(written + lost, 40u);
  EXPECT_GT(lost, 0u);
  translated_to(udp(kClient, kServer), nat);
  EXPECT_EQ(taken().size(), 2u);
}

TEST_P(Capture, AClosedRingTakesNothing) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  capture();
  for (const auto& ring : rings_) ring->close();
  translated_to(udp(kClient, kServer), nat);
  refused_from_inside(tcp(kClient, kServer, kAck), DropReason::kTcpNotSyn);
  EXPECT_THAT(lines(), IsEmpty());
  for (const auto& ring : rings_) EXPECT_EQ(ring->lost(), 0u);
}

TEST_P(Capture, WithoutItNothingIsWritten) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  capture();
  for (unsigned id = 0; id < lab().shards(); ++id) lab().shard(id).capture = nullptr;
  translated_to(udp(kClient, kServer), nat);
  EXPECT_THAT(lines(), IsEmpty());
}

class AlgCapture : public Capturing<Alg> {};

TEST_P(AlgCapture, EspIsCapturedByItsSpi) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  pairs(c1, 0x1001, 0x2001);
  pairs(c2, 0x1002, 0x2002);
  capture({.spi = 0x2002});
  esp_passes(c1, 0x1001, 0x2001, 2);
  esp_passes(c2, 0x1002, 0x2002, 2);
  const std::string flow = cat({" forwarded ", to_text(c2.ip), " ", to_text(kN), " ", to_text(kS)});
  EXPECT_THAT(lines(), ElementsAre("in 1" + flow, "out 0" + flow));
}

TEST_P(AlgCapture, AHeldMessageIsTakenAndForwardedWhenItIsReleased) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  capture({.subscriber = wire::Ipv4Address{c2.ip.value}});
  sends(c1, c1.auth());
  waits(c2, c2.auth());
  const std::string flow =
      cat({to_text(c2.endpoint()), " ", to_text(c2.nat), " ", to_text(c2.server_endpoint())});
  const std::vector<Captured> held = taken();
  ASSERT_EQ(held.size(), 1u);
  EXPECT_EQ(line_of(held[0].record), "in 0 taken " + flow);
  EXPECT_EQ(held[0].bytes, inside_frame(c2.out(c2.auth())));
  happens(kT + 1s, {out_frame(c2, c2.auth())});
  const std::vector<Captured> released = taken();
  ASSERT_EQ(released.size(), 1u);
  EXPECT_EQ(line_of(released[0].record), "out 1 later " + flow);
  EXPECT_EQ(released[0].bytes, out_frame(c2, c2.auth()).bytes);
}

TEST_P(AlgCapture, AHeldMessageThatIsDroppedHasItsReason) {
  start();
  const Peer c1 = joins(1), c2 = joins(2);
  sends(c1, c1.auth());
  waits(c2, c2.auth());
  capture({.dropped = true});
  // A copy takes its place.
  expect_frames(lab().from_inside(c2.out(c2.auth()).bytes()), {});
  expect_drops({{DropReason::kIkeHeldReplaced, 1}});
  EXPECT_THAT(lines(), ElementsAre(cat({"in - ike_held_replaced ", to_text(c2.endpoint()), " ",
                                        to_text(c2.nat), " ", to_text(c2.server_endpoint())})));
}

INSTANTIATE_TEST_SUITE_P(Shardings, Capture, shardings(), sharding_name);
INSTANTIATE_TEST_SUITE_P(Shardings, AlgCapture, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
