// What a NAT44 must refuse, each with its own counter: broken frames and packets, lies about who
// sent them, packets of nobody and for nobody, protocols that are not translated.
#include <rte_mbuf.h>

#include "scenario.hpp"

namespace lsn::test {
namespace {

class Refusals : public Scenario {
 protected:
  [[nodiscard]] Bytes frame_of(unsigned interface, const Bytes& packet) const {
    return ethernet(Lab::own_mac(interface), Lab::mac_of(kClient.ip), kTypeIpv4, packet);
  }
};

// A table that is full to its last bucket: it does not happen with the sizes that are made.
TEST_P(Refusals, FlowTableBucketFull_IsAnsweredByUnreachable) {
  start();
  for (unsigned id = 0; id < lab().shards(); ++id) {
    state::FlowTable& table = lab().shard(id).lsn44.outbound;
    unsigned failed = 0;
    for (std::uint32_t i = 0; failed < 10000; ++i) {
      const state::FlowKey key = state::FlowKey::make(i, 0, 0, 0, 0);
      if (!table.insert(key, table.hash(key), 0)) ++failed;
    }
  }
  expect_unreachable_inside(udp(kClient, kServer), DropReason::kFlowTableFull);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
}

// ── the link ────────────────────────────────────────────────────────────────────────────────────

TEST_P(Refusals, FramesShorterThanTheirHeader) {
  start();
  const Bytes whole = frame_of(0, udp(kClient, kServer).bytes());
  for (std::size_t size = 0; size < 14; ++size)
    refused(
        lab().receive(0, Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size))),
        DropReason::kFrameMalformed);
  const Bytes tagged = ethernet(Lab::own_mac(0), Lab::mac_of(kClient.ip), kTypeIpv4, {}, 5);
  for (std::size_t size = 14; size < 18; ++size)
    refused(
        lab().receive(0, Bytes(tagged.begin(), tagged.begin() + static_cast<std::ptrdiff_t>(size))),
        DropReason::kFrameMalformed);
}

TEST_P(Refusals, FramesForOtherStations) {
  start();
  const Bytes packet = udp(kClient, kServer).bytes();
  refused(
      lab().receive(0, ethernet({2, 9, 9, 9, 9, 9}, Lab::mac_of(kClient.ip), kTypeIpv4, packet)),
      DropReason::kMacNotOurs);
  // Our address of another interface is not ours here.
  refused(lab().receive(0, ethernet(Lab::own_mac(1), Lab::mac_of(kClient.ip), kTypeIpv4, packet)),
          DropReason::kMacNotOurs);
  refused(lab().receive(0, ethernet(kBroadcast, Lab::mac_of(kClient.ip), kTypeIpv4, packet)),
          DropReason::kIpDestinationInvalid);
  refused(
      lab().receive(0, ethernet({1, 0, 0x5E, 0, 0, 1}, Lab::mac_of(kClient.ip), kTypeIpv4, packet)),
      DropReason::kIpDestinationInvalid);
}

TEST_P(Refusals, FramesOfOtherTypes) {
  start();
  const auto of_type = [&](unsigned type) {
    return lab().receive(0, ethernet(Lab::own_mac(0), Lab::mac_of(kClient.ip), type, pattern(60)));
  };
  refused(of_type(kTypeIpv6), DropReason::kEtherTypeIpv6);
  for (const unsigned type : {0x0000u, 0x0026u, 0x8847u, 0x8863u, 0x88CCu, 0x88A8u, 0xFFFFu})
    refused(of_type(type), DropReason::kEtherTypeOther);
}

TEST_P(Refusals, FramesOfUnknownVlans) {
  Config config = Config::standard();
  config.interfaces[0].vlan = 100;
  start(config);
  const Bytes packet = udp(kClient, kServer).bytes();
  const auto on_vlan = [&](unsigned vlan) {
    return ethernet(Lab::own_mac(0), Lab::mac_of(kClient.ip), kTypeIpv4, packet, vlan);
  };
  refused(lab().receive(0, on_vlan(0)), DropReason::kVlanUnknown);
  refused(lab().receive(0, on_vlan(101)), DropReason::kVlanUnknown);
  refused(lab().receive(1, on_vlan(100)), DropReason::kVlanUnknown);
  EXPECT_EQ(lab().receive(0, on_vlan(100)).size(), 1u);
}

TEST_P(Refusals, VlanPriorityBits_AreIgnored) {
  Config config = Config::standard();
  config.interfaces[0].vlan = 100;
  start(config);
  Bytes frame = ethernet(Lab::own_mac(0), Lab::mac_of(kClient.ip), kTypeIpv4,
                         udp(kClient, kServer).bytes(), 100);
  frame[14] |= 0xE0;
  EXPECT_EQ(lab().receive(0, frame).size(), 1u);
}

class Vlans : public Scenario {};

TEST_P(Vlans, SeveralInterfacesShareADevice) {
  Config config = Config::standard();
  config.interfaces = {{"blue", Side::kInside, "192.0.2.1/24", 0, 10},
                       {"outside", Side::kOutside, "198.51.100.1/24", 0, 20},
                       {"red", Side::kInside, "192.0.3.1/24", 0, 30}};
  config.group().clients.push_back("192.0.3.0/24");
  start(config);
  const Endpoint red = {"192.0.3.10", 5};
  const IpPacket packet = udp(red, kServer);
  const Endpoint nat = expect_translated(lab().send(2, packet.bytes()), packet);
  const IpPacket back = udp(kServer, nat);
  expect_frames(lab().send(1, back.bytes()),
                {lab().frame_to(2, red.ip, back.to(red).hop().bytes())});
}

TEST_P(Vlans, TagStrippedByTheDevice_SelectsTheInterface) {
  Config config = Config::standard();
  config.interfaces[0].vlan = 100;
  start(config);
  const Bytes frame =
      ethernet(Lab::own_mac(0), Lab::mac_of(kClient.ip), kTypeIpv4, udp(kClient, kServer).bytes());
  const Reception stripped = {.flags = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED,
                              .stripped_vlan = 0x6000 | 100};
  EXPECT_EQ(lab().receive(0, frame, stripped).size(), 1u);
  const Reception other = {.flags = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED,
                           .stripped_vlan = 101};
  refused(lab().receive(0, frame, other), DropReason::kVlanUnknown);
}

TEST_P(Vlans, ArpIsAnsweredInItsVlan) {
  Config config = Config::standard();
  config.interfaces[0].vlan = 100;
  start(config);
  const Mac mac = Lab::mac_of(kClient.ip);
  Bytes expected = ethernet(mac, Lab::own_mac(0), kTypeArp,
                            arp(kArpReply, Lab::own_mac(0), kRouter, mac, kClient.ip), 100);
  expected.resize(std::max<std::size_t>(expected.size(), 60));
  expect_frames(lab().receive(0, ethernet(kBroadcast, mac, kTypeArp,
                                          arp(kArpRequest, mac, kClient.ip, {}, kRouter), 100)),
                {{0, expected}});
}

INSTANTIATE_TEST_SUITE_P(Sharded, Vlans, shardings(), sharding_name);

// ── IPv4 ────────────────────────────────────────────────────────────────────────────────────────

TEST_P(Refusals, BrokenIpHeaders) {
  start();
  const Bytes good = udp(kClient, kServer, pattern(40)).bytes();
  const auto changed = [&](std::size_t at, unsigned value) {
    Bytes packet = good;
    packet[at] = static_cast<std::uint8_t>(value);
    fix_ip_checksum(packet);
    return lab().receive(0, frame_of(0, packet));
  };
  refused(changed(0, 0x65), DropReason::kIpMalformed);  // version 6
  refused(changed(0, 0x05), DropReason::kIpMalformed);  // version 0
  for (unsigned words = 0; words < 5; ++words)
    refused(changed(0, 0x40 + words), DropReason::kIpMalformed);  // a header below 20 bytes
  refused(changed(3, 19), DropReason::kIpMalformed);              // a length below the header
  refused(changed(3, 69), DropReason::kIpTruncated);              // beyond the frame
  refused(changed(2, 0xFF), DropReason::kIpTruncated);
  for (std::size_t size = 0; size < 20; ++size)
    refused(lab().receive(0, frame_of(0, Bytes(good.begin(),
                                               good.begin() + static_cast<std::ptrdiff_t>(size)))),
            DropReason::kIpMalformed);
  Bytes truncated = good;
  truncated.resize(50);
  refused(lab().receive(0, frame_of(0, truncated)), DropReason::kIpTruncated);
}

TEST_P(Refusals, LooseAndStrictSourceRoutes) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  const Bytes loose = {131, 7, 4, 198, 18, 0, 9, 0}, strict = {137, 7, 4, 198, 18, 0, 9, 0};
  for (const Bytes& route : {loose, strict}) {
    refused_from_inside(udp(kClient, kServer).with_options(route), DropReason::kIpSourceRoute);
    refused_from_outside(udp(kServer, nat).with_options(route), DropReason::kIpSourceRoute);
    // Also to us, and behind other options.
    refused_from_inside(ping(kClient, kRouter).with_options(route), DropReason::kIpSourceRoute);
    Bytes behind = {0x94, 4, 0, 0, 1};
    behind.insert(behind.end(), route.begin(), route.end() - 1);
    refused_from_inside(udp(kClient, kServer).with_options(behind), DropReason::kIpSourceRoute);
    // ... and in each fragment, which all have it (RFC 791 section 3.1).
    for (const Bytes& piece :
         udp(kClient, kServer, pattern(900)).with_options(route).fragments({480}))
      refused(lab().from_inside(piece), DropReason::kIpSourceRoute);
  }
  // What stands behind the end of the options, or within another one, is none.
  translated_to(udp(kClient, kServer).with_options({0, 131, 4, 0}), nat);
  translated_to(udp(kClient, kServer).with_options({0x88, 4, 131, 137}), nat);
}

TEST_P(Refusals, WrongHeaderChecksums) {
  start();
  const Bytes good = udp(kClient, kServer, pattern(40)).bytes();
  for (std::size_t at = 1; at < 20; ++at) {
    if (at == 2 || at == 3) continue;  // the length is looked at first
    Bytes packet = good;
    packet[at] ^= 0x10;
    refused(lab().receive(0, frame_of(0, packet)), DropReason::kIpChecksum);
  }
}

TEST_P(Refusals, BadChecksumFlagOfTheDevice_IsDropped) {
  start();
  const Bytes good = udp(kClient, kServer).bytes();
  refused(lab().send(0, good, {.flags = RTE_MBUF_F_RX_IP_CKSUM_BAD}), DropReason::kIpChecksum);
  EXPECT_EQ(lab().send(0, good, {.flags = RTE_MBUF_F_RX_IP_CKSUM_GOOD}).size(), 1u);
  // What it has not looked at we look at.
  Bytes wrong = good;
  wrong[11] ^= 1;
  refused(lab().send(0, wrong, {.flags = RTE_MBUF_F_RX_IP_CKSUM_UNKNOWN}), DropReason::kIpChecksum);
}

TEST_P(Refusals, MartianSource_IsDropped) {
  start();
  for (const Ip source : {Ip{"0.0.0.0"}, Ip{"0.1.2.3"}, Ip{"127.0.0.1"}, Ip{"224.0.0.1"},
                          Ip{"239.1.1.1"}, Ip{"240.0.0.1"}, Ip{"255.255.255.255"}}) {
    refused_from_inside(udp({source, 1}, kServer), DropReason::kIpSourceInvalid);
    refused_from_outside(udp({source, 1}, {"203.0.113.5", 9}), DropReason::kIpSourceInvalid);
  }
}

TEST_P(Refusals, MartianDestination_IsDropped) {
  start();
  for (const Ip destination : {Ip{"0.0.0.0"}, Ip{"127.0.0.1"}, Ip{"224.0.0.1"}, Ip{"239.1.1.1"},
                               Ip{"240.0.0.1"}, Ip{"255.255.255.255"}}) {
    refused_from_inside(udp(kClient, {destination, 9}), DropReason::kIpDestinationInvalid);
    refused_from_outside(udp(kServer, {destination, 9}), DropReason::kIpDestinationInvalid);
  }
}

// ── TCP, UDP, ICMP, ESP ─────────────────────────────────────────────────────────────────────────

TEST_P(Refusals, HeadersThatAreCutShort) {
  start();
  const auto cut = [&](const IpPacket& packet, std::size_t l4) {
    Bytes bytes = packet.bytes();
    bytes.resize(20 + l4);
    set16(bytes, 2, static_cast<unsigned>(bytes.size()));
    fix_ip_checksum(bytes);
    return bytes;
  };
  const Endpoint nat = {"203.0.113.5", 5000};
  for (std::size_t size = 0; size < 20; ++size) {
    refused(lab().from_inside(cut(tcp(kClient, kServer, kSyn), size)), DropReason::kL4Malformed);
    refused(lab().from_outside(cut(tcp(kServer, nat, kSyn), size)), DropReason::kL4Malformed);
    if (size >= 8) continue;
    refused(lab().from_inside(cut(udp(kClient, kServer), size)), DropReason::kL4Malformed);
    refused(lab().from_outside(cut(udp(kServer, nat), size)), DropReason::kL4Malformed);
    refused(lab().from_inside(cut(ping(kClient, kServer.ip), size)), DropReason::kL4Malformed);
    refused(lab().from_outside(cut(pong(kServer.ip, nat), size)), DropReason::kL4Malformed);
    refused(lab().from_inside(cut(esp(kClient.ip, kServer.ip, 1), size)), DropReason::kL4Malformed);
  }
}

TEST_P(Refusals, LengthsThatContradictThePacket) {
  start();
  const auto udp_length = [&](unsigned length) {
    Bytes bytes = udp(kClient, kServer, pattern(10)).bytes();
    set16(bytes, 24, length);
    return lab().from_inside(bytes);
  };
  for (const unsigned length : {0u, 7u, 19u, 65535u})
    refused(udp_length(length), DropReason::kL4Malformed);
  const auto tcp_offset = [&](unsigned words) {
    Bytes bytes = tcp(kClient, kServer, kSyn, pattern(10)).bytes();
    bytes[32] = static_cast<std::uint8_t>(words << 4);
    return lab().from_inside(bytes);
  };
  for (const unsigned words : {0u, 4u, 8u, 15u})
    refused(tcp_offset(words), DropReason::kL4Malformed);
}

TEST_P(Refusals, ProtocolsThatAreNotTranslated) {
  start();
  const std::pair<unsigned, DropReason> protocols[] = {
      {47, DropReason::kProtocolGre},    {51, DropReason::kProtocolAh},
      {132, DropReason::kProtocolSctp},  {41, DropReason::kProtocolIpv6},
      {0, DropReason::kProtocolOther},   {2, DropReason::kProtocolOther},
      {4, DropReason::kProtocolOther},   {33, DropReason::kProtocolOther},
      {58, DropReason::kProtocolOther},  {89, DropReason::kProtocolOther},
      {136, DropReason::kProtocolOther}, {255, DropReason::kProtocolOther}};
  for (const auto& [protocol, reason] : protocols) {
    SCOPED_TRACE(protocol);
    refused_from_inside(other(kClient.ip, kServer.ip, protocol), reason);
    refused_from_outside(other(kServer.ip, "203.0.113.5", protocol), reason);
  }
}

TEST_P(Refusals, EspWithoutAProfile) {
  start();
  refused_from_inside(esp(kClient.ip, kServer.ip, 0x12345678), DropReason::kEspNoProfile);
  refused_from_outside(esp(kServer.ip, "203.0.113.5", 0x12345678), DropReason::kEspNoProfile);
  EXPECT_EQ(lab().subscribers(), 0u);
}

// ── who may send ────────────────────────────────────────────────────────────────────────────────

TEST_P(Refusals, SourceOfNoGroup_IsDropped) {
  start();
  refused_from_inside(udp({"10.0.0.1", 1}, kServer), DropReason::kNotAClient);
  refused_from_inside(tcp({"192.0.3.1", 1}, kServer, kSyn), DropReason::kNotAClient);
  refused_from_inside(ping({"198.18.0.1", 1}, "198.18.0.2"), DropReason::kNotAClient);
  refused_from_inside(esp("10.0.0.1", kServer.ip, 1), DropReason::kNotAClient);
}

TEST_P(Refusals, InboundToNoPoolAddress_IsDropped) {
  start();
  refused_from_outside(udp(kServer, {"198.51.100.77", 1}), DropReason::kNotForUs);
  refused_from_outside(udp(kServer, {"203.0.113.2", 1}), DropReason::kNotForUs);
  refused_from_outside(udp(kServer, {"203.0.113.10", 1}), DropReason::kNotForUs);
  refused_from_outside(tcp(kServer, {"192.0.2.10", 1}, kSyn), DropReason::kNotForUs);
  refused_from_outside(esp(kServer.ip, "192.0.2.10", 1), DropReason::kNotForUs);
  refused_from_outside(ping({kServer.ip, 1}, "8.8.8.8"), DropReason::kNotForUs);
}

TEST_P(Refusals, SubscribersSourceFromOutside_IsDroppedAsSpoofed) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  refused_from_outside(udp({"192.0.2.99", 5}, nat), DropReason::kSpoofedClientSource);
  refused_from_outside(udp(kClient, nat), DropReason::kSpoofedClientSource);
  refused_from_outside(tcp({"192.0.2.99", 5}, {"203.0.113.5", 7}, kSyn),
                       DropReason::kSpoofedClientSource);
}

TEST_P(Refusals, NatOrInterfaceAddressAsSource_IsDroppedAsSpoofed) {
  start();
  const Endpoint nat = translated(udp(kClient, kServer));
  // From outside and from inside, NAT addresses and our interfaces'.
  refused_from_outside(udp({"203.0.113.4", 5}, nat), DropReason::kSpoofedNatSource);
  refused_from_outside(udp({kOutside, 5}, nat), DropReason::kSpoofedNatSource);
  refused_from_outside(ping({kOutside, 5}, kOutside), DropReason::kSpoofedNatSource);
  refused_from_inside(udp({"203.0.113.4", 5}, kServer), DropReason::kSpoofedNatSource);
  refused_from_inside(udp({kRouter, 5}, kServer), DropReason::kSpoofedNatSource);
  refused_from_inside(ping({kRouter, 5}, kRouter), DropReason::kSpoofedNatSource);
}

TEST_P(Refusals, InsideInterfaceAddressFromOutside_IsDroppedAsSpoofed) {
  Config config = Config::standard();
  config.group().clients = {"192.0.2.128/25"};
  start(config);
  refused_from_outside(udp({kRouter, 5}, {"203.0.113.5", 7}), DropReason::kSpoofedNatSource);
}

TEST_P(Refusals, DestinationInAnInsideNetwork_IsDropped) {
  Config config = Config::standard();
  config.interfaces.push_back({"inside2", Side::kInside, "10.2.0.1/24", 2});
  start(config);
  refused_from_inside(udp(kClient, {"192.0.2.99", 5}), DropReason::kInsideDestination);
  refused_from_inside(udp(kClient, {"10.2.0.99", 5}), DropReason::kInsideDestination);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
}

TEST_P(Refusals, AnyProtocolOrIcmpType_NeverLeaksTheSubscribersAddress) {
  start();
  // The laboratory looks at every frame; here is something of everything.
  std::uint64_t sent = 0;
  for (unsigned protocol = 0; protocol < 256; ++protocol) {
    lab().from_inside(other(kClient.ip, kServer.ip, protocol, pattern(60, protocol)).bytes());
    ++sent;
  }
  for (unsigned type = 0; type < 256; ++type) {
    IpPacket packet = ping(kClient, kServer.ip, 1, udp(kServer, kClient).bytes());
    packet.icmp_type = type;
    lab().from_inside(packet.bytes());
    ++sent;
  }
  EXPECT_THAT(lab().faults(), ::testing::IsEmpty());
  // Each was forwarded or counted under exactly one reason.
  std::uint64_t dropped = 0;
  Drops all;
  for (std::size_t i = 0; i < shared::kDropReasons; ++i) {
    all[static_cast<DropReason>(i)] = lab().drops(static_cast<DropReason>(i));
    dropped += lab().drops(static_cast<DropReason>(i));
  }
  std::uint64_t forwarded = 0;
  for (unsigned id = 0; id < lab().shards(); ++id)
    forwarded += lab().shard(id).counters.interfaces[1].tx.packets.get();
  EXPECT_EQ(dropped + forwarded, sent);
  expect_drops(all);
}

INSTANTIATE_TEST_SUITE_P(Sharded, Refusals, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
