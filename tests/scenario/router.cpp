// A router: ARP, echo replies, TTL, MTU, routes, the ICMP errors that it sends itself.
#include "scenario.hpp"

namespace lsn::test {
namespace {

class Arp : public Scenario {
 protected:
  [[nodiscard]] static Bytes request(unsigned interface, Ip from, Ip target) {
    (void)interface;
    return ethernet(kBroadcast, Lab::mac_of(from), kTypeArp,
                    arp(kArpRequest, Lab::mac_of(from), from, {}, target));
  }
  [[nodiscard]] static Bytes padded(Bytes frame) {
    frame.resize(std::max<std::size_t>(frame.size(), 60));
    return frame;
  }
  /// What we answer to `from`.
  [[nodiscard]] static Frame answer(unsigned interface, Ip from, Ip target) {
    return {
        interface,
        padded(ethernet(Lab::mac_of(from), Lab::own_mac(interface), kTypeArp,
                        arp(kArpReply, Lab::own_mac(interface), target, Lab::mac_of(from), from)))};
  }
  /// How we ask.
  [[nodiscard]] static Frame question(unsigned interface, Ip own, Ip target,
                                      const Mac& to = kBroadcast) {
    return {interface,
            padded(ethernet(to, Lab::own_mac(interface), kTypeArp,
                            arp(kArpRequest, Lab::own_mac(interface), own, {}, target)))};
  }
};

TEST_P(Arp, RequestForAnInterfaceAddress_IsAnswered) {
  start();
  expect_frames(lab().receive(0, request(0, kClient.ip, kRouter)),
                {answer(0, kClient.ip, kRouter)});
  expect_frames(lab().receive(1, request(1, kGateway, kOutside)), {answer(1, kGateway, kOutside)});
  EXPECT_EQ(lab().total(&Counters::arp_requests_received), 2u);
  EXPECT_EQ(lab().total(&Counters::arp_replies_sent), 2u);
}

TEST_P(Arp, RequestForAnotherAddress_IsNotAnswered) {
  start();
  expect_frames(lab().receive(0, request(0, kClient.ip, "192.0.2.77")), {});
  expect_frames(lab().receive(0, request(0, kClient.ip, kOutside)), {});
  expect_frames(lab().receive(1, request(1, kGateway, kRouter)), {});
}

TEST_P(Arp, RequestForAPoolAddressInTheOutsideNetwork_IsAnswered) {
  Config config = Config::standard();
  config.pool().addresses = {"198.51.100.64/29", "203.0.113.5"};
  start(config);
  for (unsigned i = 64; i < 72; ++i)
    expect_frames(lab().receive(1, request(1, kGateway, Ip{"198.51.100.0"} + i)),
                  {answer(1, kGateway, Ip{"198.51.100.0"} + i)});
  expect_frames(lab().receive(1, request(1, kGateway, "198.51.100.72")), {});
  // One that is expected to be routed to us.
  expect_frames(lab().receive(1, request(1, kGateway, "203.0.113.5")), {});
  // Nobody inside asks for them.
  expect_frames(lab().receive(0, request(0, kClient.ip, "198.51.100.64")), {});
}

TEST_P(Arp, InterfaceAndPoolAddresses_AreAnnouncedByGratuitousArp) {
  Config config = Config::standard();
  config.pool().addresses = {"198.51.100.64/30", "203.0.113.5"};
  start(config);
  lab().show_arp();
  std::vector<Frame> expected = {question(1, kOutside, kOutside)};
  for (unsigned i = 64; i < 68; ++i) {
    const Ip own = Ip{"198.51.100.0"} + i;
    expected.push_back(question(1, own, own));
  }
  lab().shard().neighbours.announce(lab().shard(), 1);
  expect_frames(lab().run_until_idle(), expected);
  lab().shard().neighbours.announce(lab().shard(), 0);
  expect_frames(lab().run_until_idle(), {question(0, kRouter, kRouter)});
}

TEST_P(Arp, AnnouncementsOfALargePoolArePaced) {
  Config config = Config::standard();
  config.interfaces[1].address = "198.48.0.1/12";
  config.routes = {{"0.0.0.0/0", "198.48.0.10"}};
  config.pool().addresses = {"198.50.0.0/22"};
  start(config);
  lab().show_arp();
  lab().shard().neighbours.announce(lab().shard(), 1);
  std::size_t announced = lab().run_until_idle().size();
  EXPECT_GT(announced, 1u);
  for (int i = 0; i < 100 && announced < 1025; ++i) {
    const std::size_t now = lab().housekeep(64).size();
    EXPECT_LE(now, 64u);
    announced += now;
  }
  EXPECT_EQ(announced, 1025u);
  expect_frames(lab().housekeep(64), {});
}

TEST_P(Arp, PacketToAnUnresolvedNextHop_WaitsForTheArpReply) {
  start();
  lab().show_arp();
  lab().silence(kGateway);
  const IpPacket packet = udp(kClient, kServer);
  expect_frames(lab().from_inside(packet.bytes()), {question(1, kOutside, kGateway)});
  const Bytes reply =
      ethernet(Lab::own_mac(1), Lab::mac_of(kGateway), kTypeArp,
               arp(kArpReply, Lab::mac_of(kGateway), kGateway, Lab::own_mac(1), kOutside));
  expect_translated(lab().receive(1, reply), packet);
  // From now on it is known to all shards.
  for (unsigned i = 0; i < 20; ++i) translated(udp({Ip{"192.0.2.20"} + i, 4}, kServer));
}

TEST_P(Arp, NeighbourQueue_HoldsFortyEightPacketsInOrder) {
  start();
  lab().silence(kGateway);
  std::vector<IpPacket> packets;
  for (unsigned i = 0; i < 50; ++i) packets.push_back(udp(kClient, kServer, pattern(20 + i)));
  for (unsigned i = 0; i < 48; ++i) expect_frames(lab().from_inside(packets[i].bytes()), {});
  refused(lab().from_inside(packets[48].bytes()), DropReason::kNeighbourQueueFull);
  refused(lab().from_inside(packets[49].bytes()), DropReason::kNeighbourQueueFull);
  lab().unsilence(kGateway);
  const std::vector<Frame> frames = lab().advance(1100ms);
  ASSERT_EQ(frames.size(), 48u);
  const Endpoint nat = source_of(behind_link(frames[0].bytes));
  std::vector<Frame> expected;
  for (unsigned i = 0; i < 48; ++i)
    expected.push_back(lab().to_outside(packets[i].from(nat).hop()));
  expect_frames(frames, expected);
}

TEST_P(Arp, SilentNextHop_IsAskedThriceThenItsPacketsAreDropped) {
  start();
  lab().show_arp();
  lab().silence(kGateway);
  const Frame asked = question(1, kOutside, kGateway);
  expect_frames(lab().from_inside(udp(kClient, kServer).bytes()), {asked});
  expect_frames(lab().from_inside(udp(kClient, kServer).bytes()), {});
  expect_frames(lab().advance(900ms), {});
  expect_frames(lab().advance(200ms), {asked});
  expect_frames(lab().advance(1000ms), {asked});
  expect_drops({});
  expect_frames(lab().advance(1100ms), {});
  expect_drops({{DropReason::kNeighbourUnresolved, 2}});
  // The session is there; with the next packet all begins anew.
  expect_frames(lab().from_inside(udp(kClient, kServer).bytes()), {asked});
  lab().unsilence(kGateway);
  EXPECT_EQ(lab().advance(1100ms).size(), 2u);  // the question and the packet
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 1u);
}

TEST_P(Arp, NeighbourInUse_IsConfirmedByUnicastRequest) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  lab().show_arp();
  bool asked = false;
  for (int i = 0; i < 40; ++i) {
    translated_to(udp(kClient, kServer), nat);
    for (const Frame& frame : lab().advance(1s)) {
      asked = true;
      // Directly: it is expected to be there.
      expect_frames({frame}, {question(1, kOutside, kGateway, Lab::mac_of(kGateway))});
    }
  }
  EXPECT_TRUE(asked);
}

TEST_P(Arp, NeighbourThatStopsAnswering_BecomesUnreachable) {
  start();
  translated(udp(kClient, kServer));
  lab().silence(kGateway);
  unsigned passed = 0;
  for (int i = 0; i < 60; ++i) {
    passed += static_cast<unsigned>(lab().from_inside(udp(kClient, kServer).bytes()).size());
    lab().advance(1s);
  }
  EXPECT_GT(passed, 25u);
  EXPECT_LT(passed, 45u);
  const std::uint64_t lost =
      lab().drops(DropReason::kNeighbourUnresolved) + lab().drops(DropReason::kNeighbourQueueFull);
  EXPECT_GT(lost, 10u);
  expect_only_drops({DropReason::kNeighbourUnresolved, DropReason::kNeighbourQueueFull});
}

TEST_P(Arp, GratuitousArpOfANeighbour_UpdatesAllShards) {
  start();
  std::vector<Endpoint> clients;
  for (unsigned i = 0; i < 10; ++i) {
    clients.push_back({Ip{"192.0.2.20"} + i, 4});
    translated(udp(clients.back(), kServer));
  }
  const Mac other = {0x02, 0, 0, 0, 0, 0x99};
  // A router that took over announces itself (RFC 5227 section 3).
  lab().receive(
      1, ethernet(kBroadcast, other, kTypeArp, arp(kArpRequest, other, kGateway, {}, kGateway)));
  for (const Endpoint client : clients) {
    const std::vector<Frame> frames = lab().from_inside(udp(client, kServer).bytes());
    ASSERT_EQ(frames.size(), 1u);
    EXPECT_EQ(to_text(link_of(frames[0].bytes).destination), to_text(other));
  }
}

TEST_P(Arp, ReplyFromAnotherNetwork_IsIgnored) {
  start();
  const Ip foreign = "203.0.113.200";
  lab().receive(1,
                ethernet(Lab::own_mac(1), Lab::mac_of(foreign), kTypeArp,
                         arp(kArpReply, Lab::mac_of(foreign), foreign, Lab::own_mac(1), kOutside)));
  EXPECT_EQ(lab().total(&Counters::neighbours), 0u);
}

TEST_P(Arp, MalformedPacket_IsDropped) {
  start();
  const Bytes good = request(0, kClient.ip, kRouter);
  const auto changed = [&](std::size_t at, unsigned value) {
    Bytes frame = good;
    frame[at] = static_cast<std::uint8_t>(value);
    return frame;
  };
  for (std::size_t size = 14; size < 42; ++size)
    refused(lab().receive(0, Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size))),
            DropReason::kArpMalformed);
  refused(lab().receive(0, changed(15, 6)), DropReason::kArpMalformed);     // IEEE 802
  refused(lab().receive(0, changed(16, 0x86)), DropReason::kArpMalformed);  // another protocol
  refused(lab().receive(0, changed(18, 8)), DropReason::kArpMalformed);     // long addresses
  refused(lab().receive(0, changed(21, 9)), DropReason::kArpMalformed);     // no operation of ours
  refused(lab().receive(0, changed(22, 0x03)), DropReason::kArpMalformed);  // a group as sender
  // Somebody else has our address.
  refused(
      lab().receive(0, ethernet(kBroadcast, Lab::mac_of(kClient.ip), kTypeArp,
                                arp(kArpRequest, Lab::mac_of(kClient.ip), kRouter, {}, kRouter))),
      DropReason::kArpMalformed);
  // For another station.
  refused(lab().receive(
              0, ethernet({2, 2, 2, 2, 2, 2}, Lab::mac_of(kClient.ip), kTypeArp,
                          arp(kArpRequest, Lab::mac_of(kClient.ip), kClient.ip, {}, kRouter))),
          DropReason::kMacNotOurs);
}

TEST_P(Arp, NeighbourTableFull_DropsPacketsToNewNextHops) {
  Config config = Config::standard();
  config.interfaces[1].address = "198.32.0.1/12";
  config.routes.clear();
  config.group().udp().session_timeout = 100000s;
  start(config, {.max_sessions = 40000});
  // Every destination is a next hop of its own.
  std::uint64_t refused = 0;
  for (unsigned i = 0; i < 17000 && refused < 5; ++i) {
    lab().from_inside(udp(kClient, {Ip{"198.33.0.1"} + i, 7}).bytes());
    refused = lab().drops(DropReason::kNeighbourTableFull);
  }
  EXPECT_EQ(refused, 5u);
  expect_drops({{DropReason::kNeighbourTableFull, 5}});
  // Those that are there are served.
  EXPECT_EQ(lab().from_inside(udp(kClient, {"198.33.0.1", 7}).bytes()).size(), 1u);
}

TEST_P(Arp, RequestForAnotherAddress_IsNotCopiedToOtherShards) {
  start();
  for (unsigned i = 0; i < 100; ++i)
    lab().receive(0, request(0, Ip{"192.0.2.10"} + i, "192.0.2.200"));
  EXPECT_EQ(lab().total(&Counters::handoff_sent), 0u);
  EXPECT_EQ(lab().total(&Counters::arp_not_copied), 0u);
}

TEST_P(Arp, RequestForAnInterfaceAddress_IsCopiedToOtherShardsAtALimitedRate) {
  start();
  const bool others = lab().shards() > 1;
  const std::size_t receivers = GetParam().arrival == Arrival::kAlternate ? 2 : 1;
  for (unsigned i = 0; i < 1000; ++i) lab().receive(0, request(0, kClient.ip, kRouter));
  EXPECT_EQ(lab().total(&Counters::handoff_sent), others ? 16 * receivers : 0);
  EXPECT_EQ(lab().total(&Counters::arp_not_copied), others ? 1000 - 16 * receivers : 0);
  // Another neighbour is heard by all, and the flooder again after a second.
  const std::uint64_t before = lab().total(&Counters::handoff_sent);
  lab().receive(0, request(0, "192.0.2.30", kRouter));
  EXPECT_EQ(lab().total(&Counters::handoff_sent), before + (others ? 1 : 0));
  lab().advance(1s);
  lab().receive(0, request(0, kClient.ip, kRouter));
  EXPECT_EQ(lab().total(&Counters::handoff_sent), before + (others ? 2 : 0));
}

TEST_P(Arp, Gateway_IsResolvedBeforeTheFirstPacket) {
  start();
  for (unsigned id = 0; id < lab().shards(); ++id) lab().shard(id).neighbours.resolve_gateways();
  lab().advance(10ms);
  EXPECT_EQ(lab().total(&Counters::neighbours), lab().shards());
  // A burst of new flows: nothing of it waits, and nothing is lost.
  lab().show_arp();
  std::vector<Bytes> burst;
  for (unsigned i = 0; i < 32; ++i)
    burst.push_back(udp({Ip{"192.0.2.20"} + i, 4}, kServer).bytes());
  const std::vector<Frame> frames = lab().burst(0, burst);
  EXPECT_EQ(frames.size(), 32u);
  for (const Frame& frame : frames) EXPECT_EQ(link_of(frame.bytes).type, kTypeIpv4);
}

TEST_P(Arp, AGatewayIsKeptAliveWithoutTraffic) {
  start();
  for (unsigned id = 0; id < lab().shards(); ++id) lab().shard(id).neighbours.resolve_gateways();
  lab().advance(1000s);
  EXPECT_EQ(lab().total(&Counters::neighbours), lab().shards());
  // It goes away: that is noticed. It comes back: that is noticed as well.
  lab().silence(kGateway);
  lab().advance(60s);
  EXPECT_EQ(lab().total(&Counters::neighbours), 0u);
  lab().unsilence(kGateway);
  lab().advance(15s);
  EXPECT_EQ(lab().total(&Counters::neighbours), lab().shards());
}

TEST_P(Arp, GatewayOfARemovedRoute_IsForgotten) {
  Config config = Config::standard();
  config.routes.push_back({"198.19.0.0/16", "198.51.100.20"});
  start(config);
  for (unsigned id = 0; id < lab().shards(); ++id) lab().shard(id).neighbours.resolve_gateways();
  lab().advance(10ms);
  EXPECT_EQ(lab().total(&Counters::neighbours), 2 * lab().shards());
  config.routes.pop_back();
  lab().reload(config);
  lab().advance(400s);
  EXPECT_EQ(lab().total(&Counters::neighbours), lab().shards());
}

INSTANTIATE_TEST_SUITE_P(Sharded, Arp, shardings(), sharding_name);

// ── echo requests to us ─────────────────────────────────────────────────────────────────────────

class Router : public Scenario {
 protected:
  /// The echo reply.
  [[nodiscard]] static IpPacket answer(const IpPacket& request) {
    IpPacket reply = request;
    std::swap(reply.source, reply.destination);
    reply.icmp_type = kEchoReply;
    reply.ttl = 64;
    reply.dont_fragment = false;
    return reply;
  }
  void expect_echo_reply_inside(const IpPacket& request, Where where = Where::current()) {
    expect_frames(lab().from_inside(request.bytes()), {lab().to_inside(answer(request))}, where);
  }
  void expect_echo_reply_outside(const IpPacket& request, Where where = Where::current()) {
    expect_frames(lab().from_outside(request.bytes()), {lab().to_outside(answer(request))}, where);
  }
};

TEST_P(Router, EchoRequestToAnInterfaceAddress_IsAnswered) {
  start();
  expect_echo_reply_inside(ping(kClient, kRouter, 3, pattern(100)));
  expect_echo_reply_outside(ping(kServer, kOutside, 4, pattern(1000)).with_df().with_ttl(1));
  // The other side's address is ours as well.
  expect_echo_reply_inside(ping(kClient, kOutside));
  EXPECT_EQ(lab().total(&Counters::echo_replies), 3u);
}

TEST_P(Router, EchoRequestOfANonSubscriber_IsAnswered) {
  Config config = Config::standard();
  config.group().clients = {"192.0.2.128/25"};
  start(config);
  expect_echo_reply_inside(ping(kClient, kRouter));
}

TEST_P(Router, UdpToAnInterfaceAddress_IsAnsweredByPortUnreachable) {
  start();
  // traceroute's probes: whatever the TTL, also when it ends here (RFC 1812 section 5.3.1).
  for (const unsigned ttl : {1u, 2u, 64u}) {
    expect_port_unreachable_inside(udp(kClient, {kRouter, 33434}).with_ttl(ttl));
  }
  // From the address that was asked (RFC 1122 section 3.2.1.3), wherever it came in.
  expect_port_unreachable_inside(udp(kClient, {kOutside, 33434}).with_ttl(1));
  expect_port_unreachable_outside(udp(kServer, {kOutside, 161}));
  expect_port_unreachable_inside(udp(kClient, {kRouter, 53}).without_checksum());
}

TEST_P(Router, TcpToAnInterfaceAddress_IsAnsweredByReset) {
  start();
  // RFC 9293 section 3.10.7.1: of a SYN, of data without and with ACK.
  expect_reset_inside(tcp(kClient, {kRouter, 22}, kSyn));
  expect_reset_outside(tcp(kServer, {kOutside, 22}, kFin, pattern(10)));
  IpPacket data = tcp(kClient, {kRouter, 22}, kAck | kPsh, pattern(7));
  data.acknowledgment = 0xCAFE0001;
  expect_reset_inside(data);
  EXPECT_EQ(lab().total(&Counters::resets_sent), 3u);
  // A reset is never answered by another.
  refused_from_inside(tcp(kClient, {kRouter, 22}, kRst), DropReason::kNoListener);
  refused_from_inside(tcp(kClient, {kRouter, 22}, kRst | kAck), DropReason::kNoListener);
}

TEST_P(Router, OtherProtocolToAnInterfaceAddress_IsAnsweredByProtocolUnreachable) {
  start();
  const IpPacket packet = esp(kServer.ip, kOutside, 1);
  refused_with_error(lab().from_outside(packet.bytes()), DropReason::kNoListener, 1,
                     our_error(packet.bytes(), kOutside, kUnreachable, 2));
  refused_from_outside(pong(kServer.ip, {kOutside, 1}), DropReason::kNotForUs);
}

TEST_P(Router, FragmentsToAnInterfaceAddress_OnlyTheFirstIsAnsweredByPortUnreachable) {
  start();
  const IpPacket packet = udp(kClient, {kRouter, 53}, pattern(900));
  const std::vector<Bytes> pieces = packet.fragments({480});
  expect_port_unreachable_inside(pieces[0]);
  refused(lab().from_inside(pieces[1]), DropReason::kNoListener);
  EXPECT_EQ(lab().total(&Counters::fragments_waiting), 0u);
}

TEST_P(Router, WrongChecksumToAnInterfaceAddress_IsDroppedUnanswered) {
  start();
  refused_from_inside(udp(kClient, {kRouter, 53}).with_checksum_error(1), DropReason::kL4Malformed);
  refused_from_inside(tcp(kClient, {kRouter, 53}, kSyn).with_checksum_error(1),
                      DropReason::kL4Malformed);
}

TEST_P(Router, PortUnreachableAndReset_AreRateLimited) {
  start();
  std::size_t told = 0;
  for (unsigned i = 0; i < 300; ++i) {
    told += lab().from_inside(udp(kClient, {kRouter, 53}).bytes()).size();
    told += lab().from_inside(tcp(kClient, {kRouter, 22}, kSyn).bytes()).size();
  }
  expect_drops({{DropReason::kNoListener, 600}});
  // A tenth of a hundred per second and worker for one sender.
  const std::size_t workers = GetParam().arrival == Arrival::kAlternate ? 2 : 1;
  EXPECT_EQ(told, 10 * workers);
  EXPECT_EQ(lab().total(&Counters::icmp_errors_suppressed), 600 - 10 * workers);
  // The next one is not worse off.
  EXPECT_EQ(lab().from_inside(udp({"192.0.2.77", 5}, {kRouter, 53}).bytes()).size(), 1u);
  expect_drops({{DropReason::kNoListener, 1}});
}

TEST_P(Router, EchoRequestsOfForgedSources_MakeNoNeighbours) {
  Config config = Config::standard();
  config.interfaces[0].address = "192.48.0.1/12";
  config.group().clients = {"192.48.0.0/12"};
  start(config);
  for (unsigned i = 0; i < 3000; ++i) {
    const Ip forged = Ip{"192.50.0.1"} + i;
    const IpPacket request = ping({forged, 1}, "192.48.0.1");
    // Answered where it came from, without asking who that is.
    lab().silence(forged);
    expect_echo_reply_inside(request);
    lab().from_inside(udp({forged, 1}, {"192.48.0.1", 53}).bytes());
    lab().from_inside(udp({forged, 1}, kServer).with_ttl(1).bytes());
  }
  EXPECT_EQ(lab().total(&Counters::arp_requests_sent), 0u);
  for (unsigned id = 0; id < lab().shards(); ++id)
    EXPECT_EQ(lab().shard(id).neighbours.places(), 0u);
  expect_drops({{DropReason::kNoListener, 3000}, {DropReason::kTtlExpired, 3000}});
}

TEST_P(Router, EchoRequestWithWrongChecksum_IsDropped) {
  start();
  refused_from_inside(ping(kClient, kRouter).with_checksum_error(1), DropReason::kL4Malformed);
}

TEST_P(Router, FragmentedEchoRequest_IsAnsweredInFragments) {
  start();
  const IpPacket packet = ping(kClient, kRouter, 1, pattern(3000)).with_id(77);
  const auto pieces = packet.fragments({1000, 2000});
  const auto answers = answer(packet).fragments({1000, 2000});
  std::vector<Frame> out;
  for (const Bytes& piece : answers) out.push_back(lab().frame_to(0, kClient.ip, piece));
  expect_frames(lab().from_inside(pieces[2]), {});
  expect_frames(lab().from_inside(pieces[0]), {out[0], out[2]});
  expect_frames(lab().from_inside(pieces[1]), {out[1]});
}

// ── TTL ─────────────────────────────────────────────────────────────────────────────────────────

TEST_P(Router, TtlOne_IsAnsweredByTimeExceeded) {
  start();
  const IpPacket out = udp(kClient, kServer, pattern(100)).with_ttl(1);
  expect_time_exceeded_inside(out);
  expect_time_exceeded_inside(out.with_ttl(0));
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u) << "nothing was forwarded";
  const Endpoint nat = translated(udp(kClient, kServer));
  expect_time_exceeded_outside(udp(kServer, nat, pattern(100)).with_ttl(1));
  // With one more it passes.
  translated_to(udp(kClient, kServer).with_ttl(2), nat);
  returned(udp(kServer, nat).with_ttl(2), kClient);
}

TEST_P(Router, TimeExceeded_QuotesAsMuchAsFitsIn576Bytes) {
  start();
  for (const std::size_t size : {0u, 1u, 519u, 520u, 521u, 1400u}) {
    expect_time_exceeded_inside(udp(kClient, kServer, pattern(size)).with_ttl(1));
  }
}

// ── MTU ─────────────────────────────────────────────────────────────────────────────────────────

TEST_P(Router, OversizeWithDf_IsAnsweredByFragmentationNeeded) {
  Config config = Config::standard();
  config.interfaces[0].mtu = 1300;
  config.interfaces[1].mtu = 1400;
  start(config);
  const IpPacket fits = udp(kClient, kServer, pattern(1400 - 28)).with_df();
  const Endpoint nat = translated(fits);
  expect_fragmentation_needed_inside(udp(kClient, kServer, pattern(1400 - 27)).with_df(), 1400);
  returned(udp(kServer, nat, pattern(1300 - 28)).with_df(), kClient);
  expect_fragmentation_needed_outside(udp(kServer, nat, pattern(1300 - 27)).with_df(), 1300);
}

TEST_P(Router, OversizeFirstPacketWithDf_LeavesNoSession) {
  Config config = Config::standard();
  config.interfaces[1].mtu = 1400;
  start(config);
  expect_fragmentation_needed_inside(udp(kClient, kServer, pattern(1450)).with_df(), 1400);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
  EXPECT_EQ(lab().subscribers(), 0u);
}

TEST_P(Router, OversizeWithoutDf_IsFragmented) {
  Config config = Config::standard();
  config.interfaces[0].mtu = 576;
  config.interfaces[1].mtu = 1006;
  start(config);
  const Endpoint nat = translated(udp(kClient, kServer));
  const IpPacket out = udp(kClient, kServer, pattern(1400)).with_id(0x4242);
  expect_pieces(lab().from_inside(out.bytes()), 1, kGateway, out.from(nat).hop(), {984});
  const IpPacket in = udp(kServer, nat, pattern(1472)).with_id(0x4343);
  expect_pieces(lab().from_outside(in.bytes()), 0, kClient.ip, in.to(kClient).hop(), {552, 1104});
  EXPECT_EQ(lab().total(&Counters::fragments_sent), 5u);
}

TEST_P(Router, IpOptionWithoutCopyFlag_IsInTheFirstFragmentOnly) {
  Config config = Config::standard();
  config.interfaces[1].mtu = 576;
  start(config);
  const Endpoint nat = translated(udp(kClient, kServer));
  // Record route (7) is not copied, router alert (0x94) is (RFC 791 section 3.1, RFC 2113).
  const Bytes both = {7, 7, 4, 0, 0, 0, 0, 1, 0x94, 4, 0, 0};
  const IpPacket packet = udp(kClient, kServer, pattern(1000)).with_options(both);
  const std::vector<Frame> frames = lab().from_inside(packet.bytes());
  const IpPacket sent = packet.from(nat).hop().with_id(id_of(frames));
  const Bytes first = sent.fragments({544})[0];
  const Bytes second = sent.with_options({0x94, 4, 0, 0}).fragments({544})[1];
  expect_frames(frames, {lab().frame_to(1, kGateway, first), lab().frame_to(1, kGateway, second)});
}

TEST_P(Router, JumboFramesPassWhereConfigured) {
  Config config = Config::standard();
  for (InterfaceConfig& interface : config.interfaces) interface.mtu = 9000;
  start(config);
  const IpPacket packet = udp(kClient, kServer, pattern(8972)).with_df();
  const std::vector<Frame> frames = lab().from_inside(packet.bytes());  // in several buffers
  const Endpoint nat = expect_translated(frames, packet);
  returned(udp(kServer, nat, pattern(8972)).with_df(), kClient);
}

TEST_P(Router, JumboFrame_IsFragmentedForASmallMtu) {
  Config config = Config::standard();
  config.interfaces[0].mtu = 9000;
  start(config);
  const Endpoint nat = translated(udp(kClient, kServer));
  const IpPacket packet = udp(kClient, kServer, pattern(5000));
  expect_pieces(lab().from_inside(packet.bytes()), 1, kGateway, packet.from(nat).hop(),
                {1480, 2960, 4440});
}

TEST_P(Router, FragmentsBeyondTheTransmitBuffer_AreDropped) {
  Config config = Config::standard();
  config.interfaces[0].mtu = 65535;
  config.interfaces[1].mtu = 68;
  start(config);
  translated(udp(kClient, kServer));
  const IpPacket packet = udp(kClient, kServer, pattern(40000));
  const std::vector<Frame> frames = lab().from_inside(packet.bytes());
  EXPECT_EQ(frames.size(), datapath::TxBuffer::kCapacity);
  const std::size_t pieces = (40008 + 47) / 48;
  expect_drops({{DropReason::kTxFull, pieces - datapath::TxBuffer::kCapacity}});
}

// ── routes ──────────────────────────────────────────────────────────────────────────────────────

TEST_P(Router, Route_IsTheLongestPrefixMatch) {
  Config config = Config::standard();
  config.routes.push_back({"198.18.0.0/16", "198.51.100.20"});
  config.routes.push_back({"198.18.7.0/24", "198.51.100.30"});
  config.routes.push_back({"198.18.7.7/32", "198.51.100.40"});
  start(config);
  const auto via = [&](Ip destination) {
    const std::vector<Frame> frames = lab().from_inside(udp(kClient, {destination, 9}).bytes());
    return frames.size() == 1 ? to_text(link_of(frames[0].bytes).destination) : "nowhere";
  };
  EXPECT_EQ(via("198.18.7.7"), to_text(Lab::mac_of("198.51.100.40")));
  EXPECT_EQ(via("198.18.7.8"), to_text(Lab::mac_of("198.51.100.30")));
  EXPECT_EQ(via("198.18.8.7"), to_text(Lab::mac_of("198.51.100.20")));
  EXPECT_EQ(via("198.19.8.7"), to_text(Lab::mac_of(kGateway)));
  EXPECT_EQ(via("198.51.100.99"), to_text(Lab::mac_of("198.51.100.99")));
}

TEST_P(Router, NoRoute_DropsThePacketWithoutASession) {
  Config config = Config::standard();
  config.routes = {{"198.18.0.0/16", kGateway}};
  start(config);
  const Endpoint nowhere = {"198.19.0.1", 9};
  refused_from_inside(udp(kClient, nowhere), DropReason::kNoRoute);
  refused_from_inside(tcp(kClient, nowhere, kSyn), DropReason::kNoRoute);
  refused_from_inside(ping(kClient, nowhere.ip, 1), DropReason::kNoRoute);
  EXPECT_EQ(lab().subscribers(), 0u);
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp}) {
    EXPECT_EQ(lab().session_count(protocol), 0u);
    EXPECT_EQ(ended(protocol, SessionEnd::kWithdrawn), 1u);
    EXPECT_EQ(ended(protocol, SessionEnd::kFlushed), 0u) << "nobody has flushed anything";
  }
  translated(udp(kClient, kServer));
}

TEST_P(Router, SubnetBroadcastDestination_HasNoRoute) {
  start();
  refused_from_inside(udp(kClient, {"198.51.100.255", 9}), DropReason::kNoRoute);
  refused_from_inside(udp(kClient, {"198.51.100.0", 9}), DropReason::kNoRoute);
}

TEST_P(Router, TwoInsideAndTwoOutsideInterfaces_Forward) {
  Config config = Config::standard();
  config.interfaces.push_back({"inside2", Side::kInside, "192.0.3.1/24", 2});
  config.interfaces.push_back({"outside2", Side::kOutside, "198.51.101.1/24", 3});
  config.group().clients.push_back("192.0.3.0/24");
  config.routes.push_back({"198.19.0.0/16", "198.51.101.10"});
  start(config);
  const Endpoint second = {"192.0.3.10", 7};
  const Endpoint far = {"198.19.0.1", 80};
  const IpPacket packet = udp(second, far);
  const Endpoint nat = expect_translated(lab().send(2, packet.bytes()), packet, 3, "198.51.101.10");
  // The answer may come by any outside interface.
  const IpPacket back = udp(far, nat);
  for (const unsigned interface : {1u, 3u})
    expect_frames(lab().send(interface, back.bytes()),
                  {lab().frame_to(2, second.ip, back.to(second).hop().bytes())});
}

// ── ICMP errors of our own ──────────────────────────────────────────────────────────────────────

TEST_P(Router, UnreachableCode_IsConfigurable) {
  Config config = Config::standard();
  config.group().udp().session_quota = 1;
  config.unreachable_code = 1;
  start(config);
  translated(udp(kClient, kServer));
  expect_unreachable_inside(udp({kClient.ip, 2}, kServer), DropReason::kSessionQuota, 1);
}

class IcmpBudgets : public Router {
 protected:
  /// A configuration in which `kClient` has used up its quota of one session, and so on.
  void start_with_quota(unsigned rate) {
    Config config = Config::standard();
    config.interfaces[1].mtu = 1400;
    config.group().udp().session_quota = 1;
    config.unreachable_rate = rate;
    start(config);
  }
  /// How many ICMP errors come of that many packets.
  std::size_t told(const IpPacket& packet, unsigned n, DropReason reason) {
    std::size_t errors = 0;
    for (unsigned i = 0; i < n; ++i) errors += lab().from_inside(packet.bytes()).size();
    expect_drops({{reason, n}});
    return errors;
  }
  std::size_t refused_by_quota(Ip client, unsigned n) {
    lab().from_inside(udp({client, 1}, kServer).bytes());
    return told(udp({client, 2}, kServer), n, DropReason::kSessionQuota);
  }
  std::size_t too_big(Ip client, unsigned n) {
    return told(udp({client, 1}, kServer, pattern(1450)).with_df(), n,
                DropReason::kFragmentationNeeded);
  }
};

// What belongs to a subscriber is told by its own worker; a TTL ends where the packet comes in.

TEST_P(IcmpBudgets, UnreachablesOfRefusals_AreLimitedToTheConfiguredRate) {
  start_with_quota(20);
  // A tenth of it for one subscriber, all of it for ten; each worker has its own.
  std::size_t all = 0;
  EXPECT_EQ(refused_by_quota(kClient.ip, 40), 2u);
  all += 2;
  for (unsigned i = 0; i < 40; ++i) {
    const std::size_t errors = refused_by_quota(Ip{"192.0.2.100"} + i, 5);
    EXPECT_LE(errors, 2u);
    all += errors;
  }
  EXPECT_EQ(all, 20 * lab().shards());
  lab().advance(1s);
  EXPECT_EQ(refused_by_quota(kClient.ip, 40), 2u);
}

TEST_P(IcmpBudgets, RefusalsOfOneSubscriber_LeaveAnothersFragmentationNeeded) {
  start_with_quota(20);
  EXPECT_EQ(refused_by_quota(kClient.ip, 500), 2u);
  // Neither with refusals, nor with packets that are too big, nor with its TTLs.
  EXPECT_EQ(too_big(kClient.ip, 500), 100u);
  EXPECT_GE(told(udp(kClient, kServer).with_ttl(1), 500, DropReason::kTtlExpired), 100u);
  EXPECT_EQ(too_big("192.0.2.200", 50), 50u);
  EXPECT_EQ(told(udp({"192.0.2.200", 1}, kServer).with_ttl(1), 50, DropReason::kTtlExpired), 50u);
  EXPECT_EQ(refused_by_quota("192.0.2.200", 1), 1u);
}

TEST_P(IcmpBudgets, RateZero_SuppressesUnreachablesOfRefusalsOnly) {
  start_with_quota(0);
  EXPECT_EQ(refused_by_quota(kClient.ip, 5), 0u);
  EXPECT_EQ(too_big(kClient.ip, 5), 5u);
  EXPECT_EQ(told(udp(kClient, kServer).with_ttl(1), 5, DropReason::kTtlExpired), 5u);
  EXPECT_EQ(told(udp(kClient, {kRouter, 5}), 5, DropReason::kNoListener), 5u);
}

INSTANTIATE_TEST_SUITE_P(Sharded, IcmpBudgets, shardings(), sharding_name);

TEST_P(Router, IcmpErrorOrBroadcastOrInvalidSource_GetsNoIcmpError) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  // An ICMP error.
  const Bytes inner = udp(kServer, kClient).bytes();
  refused_from_inside(icmp_error(kClient.ip, kServer.ip, kUnreachable, 3, inner).with_ttl(1),
                      DropReason::kTtlExpired);
  // A source that is no host: dropped before anything else.
  refused_from_outside(udp({"224.0.0.5", 1}, nat).with_ttl(1), DropReason::kIpSourceInvalid);
  // A broadcast.
  refused_from_inside(udp(kClient, {"255.255.255.255", 1}).with_ttl(1),
                      DropReason::kIpDestinationInvalid);
  EXPECT_EQ(lab().total(&Counters::icmp_errors_sent), 0u);
}

TEST_P(Router, NoFreeBuffer_SuppressesTimeExceededAndIsCounted) {
  start();
  const IpPacket packet = udp(kClient, kServer).with_ttl(1);
  // The neighbour is known: only the error needs a buffer.
  lab().from_inside(ping(kClient, kRouter).bytes());
  lab().take_buffers(1);
  expect_frames(lab().from_inside(packet.bytes()), {});
  lab().give_buffers();
  expect_drops({{DropReason::kTtlExpired, 1}, {DropReason::kNoBuffer, 1}});
  unaccounted_ = -1;  // the error that was never made is counted as a packet
}

INSTANTIATE_TEST_SUITE_P(Sharded, Router, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
