// The kernel path: what an interface's kernel gets and sends, in which class, at which rates.
#include "scenario.hpp"

namespace lsn::test {
namespace {

using shared::KernelClass;
using shared::KernelUse;
using enum shared::KernelClass;

constexpr Mac kOspfGroup = {0x01, 0x00, 0x5E, 0x00, 0x00, 0x05};
constexpr Mac kOtherGroup = {0x01, 0x00, 0x5E, 0x01, 0x02, 0x03};
constexpr Ip kRouterOutside = "198.51.100.20";

class KernelPath : public Scenario {
 protected:
  static constexpr unsigned kVlan = 7;

  /// The standard one with kernel interfaces outside (untagged) and in a VLAN inside.
  static Config with_kernel() {
    Config config = Config::standard();
    config.interfaces[1].kernel = KernelUse::kIpv4;
    config.interfaces.push_back({.name = "vlan",
                                 .side = Side::kInside,
                                 .address = "10.7.0.1/24",
                                 .device = 0,
                                 .vlan = kVlan,
                                 .kernel = KernelUse::kWithIpv6});
    return config;
  }
  /// What the kernel of an interface gets of a packet that comes in there: without a tag.
  static Lab::KernelFrame heard(unsigned interface, KernelClass of_class, const Bytes& ip,
                                const Mac& to, unsigned type = kTypeIpv4) {
    return {interface, of_class, ethernet(to, Lab::mac_of(source_of(ip).ip), type, ip)};
  }
  static Lab::KernelFrame delivered(unsigned interface, KernelClass of_class, const Bytes& ip) {
    return heard(interface, of_class, ip, Lab::own_mac(interface));
  }
  /// A packet to our address outside goes to the kernel, as it is, and nowhere else.
  void goes_to_kernel(KernelClass of_class, const Bytes& ip, Where where = Where::current()) {
    expect_frames(lab().from_outside(ip), {}, where);
    const std::vector<Lab::KernelFrame> got = lab().to_kernel();
    if (got != std::vector{delivered(1, of_class, ip)})
      fail(where) << got.size() << " frames came to the kernel, or another one";
  }
  /// ... or is answered by the NAT, or dropped.
  void stays_away(Where where = Where::current()) {
    for (const Lab::KernelFrame& frame : lab().to_kernel())
      if (link_of(frame.bytes).type != kTypeArp) fail(where) << "it came to the kernel";
  }
  static Bytes of_protocol(unsigned protocol, Ip from, Ip to) {
    return other(from, to, protocol).bytes();
  }
  /// A frame in the VLAN.
  static Bytes in_vlan(const Mac& to, Ip from, unsigned type, const Bytes& payload) {
    return ethernet(to, Lab::mac_of(from), type, payload, kVlan);
  }
  std::uint64_t counted(unsigned interface, auto direction) {
    return lab().total([=](const Counters& c) -> const shared::Counter& {
      return (c.interfaces[interface].*direction).packets;
    });
  }
};

TEST_P(KernelPath, PacketsForTheInterfacesAddress_GoToTheKernelByTheirClass) {
  start(with_kernel());
  const Ip peer = kRouterOutside;
  goes_to_kernel(kRouting, tcp({peer, 40000}, {kOutside, 179}, kAck).bytes());
  goes_to_kernel(kRouting, tcp({peer, 179}, {kOutside, 40000}, kAck).bytes());
  goes_to_kernel(kRouting, udp({peer, 49152}, {kOutside, 3784}).with_ttl(255).bytes());
  for (const std::uint16_t port : std::initializer_list<std::uint16_t>{3785, 4784})
    goes_to_kernel(kRouting, udp({peer, 49152}, {kOutside, port}).bytes());
  goes_to_kernel(kRest, udp({peer, 3784}, {kOutside, 49152}).bytes());
  goes_to_kernel(kRouting, of_protocol(89, peer, kOutside));
  goes_to_kernel(kRouting, other(peer, kOutside, 112).with_ttl(255).bytes());
  goes_to_kernel(kManagement, tcp({peer, 40000}, {kOutside, 22}, kAck).bytes());
  goes_to_kernel(kManagement, tcp({peer, 443}, {kOutside, 40000}, kAck).bytes());
  goes_to_kernel(kManagement, udp({peer, 40000}, {kOutside, 161}).bytes());
  goes_to_kernel(kRest, udp({peer, 40000}, {kOutside, 53}).bytes());
  goes_to_kernel(kRest, of_protocol(47, peer, kOutside));
  EXPECT_EQ(counted(1, &shared::InterfaceCounters::to_kernel), 13u);
}

TEST_P(KernelPath, WhatOnlyANeighbourSends_IsRoutingIfItHasCrossedNoRouter) {
  start(with_kernel());
  // Its receiver drops any other (RFC 5881 section 5, RFC 9568 section 5.1.1.3): somebody far away
  // must not compete with it.
  for (const unsigned ttl : {1u, 64u, 254u}) {
    goes_to_kernel(kRest, udp({kRouterOutside, 49152}, {kOutside, 3784}).with_ttl(ttl).bytes());
    goes_to_kernel(kRest, other(kRouterOutside, kOutside, 112).with_ttl(ttl).bytes());
  }
}

TEST_P(KernelPath, Pings_AreTheKernelsToAnswer) {
  start(with_kernel());
  goes_to_kernel(kRest, ping({kRouterOutside, 77}, kOutside).bytes());
  EXPECT_EQ(lab().total(&Counters::echo_replies), 0u);
  // Inside there is no kernel interface: it is answered as always.
  EXPECT_EQ(lab().from_inside(ping({kClient.ip, 77}, kRouter).bytes()).size(), 1u);
  stays_away();
  EXPECT_EQ(lab().total(&Counters::echo_replies), 1u);
}

TEST_P(KernelPath, PacketsOfOneHop_ReachTheKernelUnchanged) {
  start(with_kernel());
  goes_to_kernel(kRouting, tcp({kRouterOutside, 40000}, {kOutside, 179}, kAck).with_ttl(1).bytes());
  goes_to_kernel(kRouting, udp({kRouterOutside, 49152}, {kOutside, 3784}).with_ttl(255).bytes());
}

TEST_P(KernelPath, IcmpErrorsForTheInterfacesAddress_GoToTheKernel) {
  start(with_kernel());
  const IpPacket sent = udp({kOutside, 33434}, {"198.18.0.9", 33434});
  goes_to_kernel(kRest, icmp_error(kRouterOutside, kOutside, 11, 0, sent.bytes()).bytes());
}

TEST_P(KernelPath, IcmpThatIsNotTranslated_GoesToTheKernelWhereItIsForIt) {
  start(with_kernel());
  // Redirect, router solicitation, address mask request, extended echo (RFC 8335).
  for (const unsigned type : {kRedirect, 10u, 17u, 42u})
    goes_to_kernel(kRest, icmp_error(kRouterOutside, kOutside, type, 0, pattern(28)).bytes());
  refused_from_outside(icmp_error(kRouterOutside, "203.0.113.3", 10, 0, {}),
                       DropReason::kIcmpTypeUntranslated);
  refused_from_outside(icmp_error(kClient.ip, kOutside, 10, 0, {}),
                       DropReason::kSpoofedClientSource);
  refused_from_inside(icmp_error(kClient.ip, kRouter, 10, 0, {}),
                      DropReason::kIcmpTypeUntranslated);
  stays_away();
}

TEST_P(KernelPath, Fragments_GoAsTheyAreInTheClassOfTheirProtocol) {
  start(with_kernel());
  const IpPacket bgp = tcp({kRouterOutside, 40000}, {kOutside, 179}, kAck, pattern(1000));
  for (const Bytes& piece : bgp.fragments({800})) goes_to_kernel(kRest, piece);
  const IpPacket ospf = other(kRouterOutside, kOutside, 89, pattern(1000));
  for (const Bytes& piece : ospf.fragments({800})) goes_to_kernel(kRouting, piece);
}

TEST_P(KernelPath, PacketsForOthers_NeverGoToTheKernel) {
  start(with_kernel());
  // A NAT address, an address of another interface of ours, and through the box.
  refused_from_outside(tcp({kRouterOutside, 40000}, {"203.0.113.3", 179}, kAck),
                       DropReason::kNoMapping);
  EXPECT_EQ(lab().send(2, ping({"10.7.0.9", 7}, kOutside).bytes()).size(), 1u);
  translated(udp(kClient, kServer));
  stays_away();
}

TEST_P(KernelPath, ForgedSources_AreDropped) {
  start(with_kernel());
  refused_from_outside(tcp({kOutside, 40000}, {kOutside, 179}, kAck),
                       DropReason::kSpoofedNatSource);
  refused_from_outside(tcp({"203.0.113.3", 40000}, {kOutside, 179}, kAck),
                       DropReason::kSpoofedNatSource);
  refused_from_outside(tcp(kClient, {kOutside, 179}, kAck), DropReason::kSpoofedClientSource);
  refused(lab().from_outside(of_protocol(89, kClient.ip, kOutside)),
          DropReason::kSpoofedClientSource);
  refused(lab().receive(1, ethernet(kOspfGroup, Lab::mac_of(kOutside), kTypeIpv4,
                                    of_protocol(89, kOutside, "224.0.0.5"))),
          DropReason::kSpoofedNatSource);
  refused(lab().receive(1, ethernet(kOspfGroup, Lab::mac_of(kRouterOutside), kTypeIpv4,
                                    of_protocol(89, "224.0.0.9", "224.0.0.5"))),
          DropReason::kIpSourceInvalid);
  stays_away();
}

TEST_P(KernelPath, GroupsOfTheLinkAndBroadcasts_AreHeard) {
  start(with_kernel());
  const auto hears = [this](KernelClass of_class, const Bytes& ip, const Mac& to) {
    expect_frames(lab().receive(1, ethernet(to, Lab::mac_of(source_of(ip).ip), kTypeIpv4, ip)), {});
    EXPECT_EQ(lab().to_kernel(), std::vector{heard(1, of_class, ip, to)});
  };
  hears(kRouting, of_protocol(89, kRouterOutside, "224.0.0.5"), kOspfGroup);
  hears(kRouting, other(kRouterOutside, "224.0.0.18", 112).with_ttl(255).bytes(), kOspfGroup);
  hears(kRest, udp({kRouterOutside, 646}, {"224.0.0.2", 646}).bytes(), kOspfGroup);
  hears(kRest, udp({kRouterOutside, 5}, {"198.51.100.255", 5}).bytes(), kBroadcast);
  hears(kRest, udp({kRouterOutside, 5}, {"255.255.255.255", 5}).bytes(), kBroadcast);
}

TEST_P(KernelPath, GroupsFromForgedSources_AreNotHeard) {
  start(with_kernel());
  const auto refuses = [this](unsigned interface, const Bytes& ip, DropReason reason) {
    refused(lab().receive(interface, ethernet(kOspfGroup, Lab::mac_of(kGateway), kTypeIpv4, ip)),
            reason);
    stays_away();
  };
  // From outside a client's, as with packets for the interface's own address.
  refuses(1, of_protocol(89, kClient.ip, "224.0.0.5"), DropReason::kSpoofedClientSource);
  refuses(1, udp(kClient, {"198.51.100.255", 5}).bytes(), DropReason::kSpoofedClientSource);
  refuses(1, of_protocol(89, "203.0.113.3", "224.0.0.5"), DropReason::kSpoofedNatSource);
  // RFC 7126 section 4.3: a source route, here to the group's address.
  const Bytes route = {131, 7, 4, 198, 18, 0, 1, 0};
  refuses(1, other(kRouterOutside, "224.0.0.5", 89).with_options(route).bytes(),
          DropReason::kIpSourceRoute);
}

TEST_P(KernelPath, HostsWithoutAnAddressYet_AreHeard) {
  start(with_kernel());
  const auto hears = [this](const Bytes& ip, const Mac& to) {
    const Bytes frame = ethernet(to, Lab::mac_of(kRouterOutside), kTypeIpv4, ip);
    expect_frames(lab().receive(1, frame), {});
    EXPECT_EQ(lab().to_kernel(), (std::vector{Lab::KernelFrame{1, kRest, frame}}));
  };
  // A client of DHCP (RFC 2131 section 4.1), and a switch that asks for groups (RFC 4541 section
  // 2.1.1).
  hears(udp({"0.0.0.0", 68}, {"255.255.255.255", 67}).bytes(), kBroadcast);
  hears(of_protocol(2, "0.0.0.0", "224.0.0.1"), kOspfGroup);
  // Any other of network 0 is nobody's (RFC 1122 section 3.2.1.3), and nobody is spoken to by one.
  refused(lab().receive(1, ethernet(kBroadcast, Lab::mac_of(kRouterOutside), kTypeIpv4,
                                    udp({"0.0.0.9", 68}, {"255.255.255.255", 67}).bytes())),
          DropReason::kIpSourceInvalid);
  refused(lab().from_outside(udp({"0.0.0.0", 68}, {kOutside, 67}).bytes()),
          DropReason::kIpSourceInvalid);
  stays_away();
}

TEST_P(KernelPath, OtherGroups_AreNotHeard) {
  start(with_kernel());
  const auto refuses = [this](unsigned interface, const Bytes& frame, DropReason reason) {
    refused(lab().receive(interface, frame), reason);
    stays_away();
  };
  refuses(1,
          ethernet(kOtherGroup, Lab::mac_of(kRouterOutside), kTypeIpv4,
                   udp({kRouterOutside, 5}, {"239.1.2.3", 5}).bytes()),
          DropReason::kIpDestinationInvalid);
  // Without a kernel interface there is nobody to hear them.
  refuses(0,
          ethernet(kOspfGroup, Lab::mac_of(kClient.ip), kTypeIpv4,
                   of_protocol(89, kClient.ip, "224.0.0.5")),
          DropReason::kIpDestinationInvalid);
  refuses(1,
          ethernet(Lab::own_mac(0), Lab::mac_of(kRouterOutside), kTypeIpv4,
                   udp({kRouterOutside, 5}, {kOutside, 5}).bytes()),
          DropReason::kMacNotOurs);
  Bytes broken = of_protocol(89, kRouterOutside, "224.0.0.5");
  broken[10] ^= 0xFF;
  refuses(1, ethernet(kOspfGroup, Lab::mac_of(kRouterOutside), kTypeIpv4, broken),
          DropReason::kIpChecksum);
  broken.resize(12);
  refuses(1, ethernet(kOspfGroup, Lab::mac_of(kRouterOutside), kTypeIpv4, broken),
          DropReason::kIpMalformed);
}

TEST_P(KernelPath, LinkLocalIpv6_IsHeardWhereItIsWanted) {
  start(with_kernel());
  const auto packet = [](std::uint8_t first, std::uint8_t second, std::uint8_t next,
                         std::uint8_t type) {
    Bytes bytes(48, 0);
    bytes[0] = 0x60;
    bytes[5] = 8;
    bytes[6] = next;
    bytes[7] = 255;
    bytes[8] = 0xFE;
    bytes[9] = 0x80;
    bytes[24] = first;
    bytes[25] = second;
    bytes[40] = type;
    return bytes;
  };
  const Mac group = {0x33, 0x33, 0, 0, 0, 1};
  const auto hears = [&](KernelClass of_class, const Bytes& ip, const Mac& to) {
    expect_frames(lab().receive(0, in_vlan(to, "10.7.0.9", kTypeIpv6, ip)), {});
    EXPECT_EQ(lab().to_kernel(),
              (std::vector{Lab::KernelFrame{
                  2, of_class, ethernet(to, Lab::mac_of("10.7.0.9"), kTypeIpv6, ip)}}));
  };
  hears(kRouting, packet(0xFF, 0x02, 58, 135), group);  // neighbour solicitation
  hears(kRouting, packet(0xFF, 0x02, 89, 0), group);    // OSPFv3
  hears(kRest, packet(0xFE, 0x80, 58, 128), Lab::own_mac(2));
  Bytes far = packet(0xFF, 0x02, 58, 135);  // whom its receiver drops (RFC 4861 section 7.1.1)
  far[7] = 254;
  hears(kRest, far, group);
  refused(lab().receive(
              0, in_vlan(Lab::own_mac(2), "10.7.0.9", kTypeIpv6, packet(0x20, 0x01, 58, 128))),
          DropReason::kEtherTypeIpv6);
  // Not version 6, or longer than the frame.
  const auto malformed = [&](std::size_t at, std::uint8_t value, DropReason reason) {
    Bytes bytes = packet(0xFF, 0x02, 58, 135);
    bytes[at] = value;
    refused(lab().receive(0, in_vlan(group, "10.7.0.9", kTypeIpv6, bytes)), reason);
  };
  malformed(0, 0x40, DropReason::kIpMalformed);
  malformed(5, 9, DropReason::kIpTruncated);
  malformed(4, 0x80, DropReason::kIpTruncated);
  refused(lab().receive(1, ethernet(group, Lab::mac_of(kRouterOutside), kTypeIpv6,
                                    packet(0xFF, 0x02, 58, 135))),
          DropReason::kEtherTypeIpv6);
  stays_away();
}

TEST_P(KernelPath, ArpIsHeardByBothAndAnsweredOnce) {
  start(with_kernel());
  const auto request = [](Ip target) {
    return ethernet(kBroadcast, Lab::mac_of(kRouterOutside), kTypeArp,
                    arp(kArpRequest, Lab::mac_of(kRouterOutside), kRouterOutside, {}, target));
  };
  EXPECT_EQ(lab().receive(1, request(kOutside)).size(), 1u);
  EXPECT_EQ(lab().to_kernel(), (std::vector{Lab::KernelFrame{1, kRouting, request(kOutside)}}));
  // The kernel answers as well: that is one too many. Its answer for an address of its own is not.
  const auto answer = [](Ip own) {
    return ethernet(
        Lab::mac_of(kRouterOutside), Lab::own_mac(1), kTypeArp,
        arp(kArpReply, Lab::own_mac(1), own, Lab::mac_of(kRouterOutside), kRouterOutside));
  };
  expect_frames(lab().from_kernel(1, answer(kOutside)), {});
  // The kernel's own question, and the answer to it.
  const Bytes question = ethernet(kBroadcast, Lab::own_mac(1), kTypeArp,
                                  arp(kArpRequest, Lab::own_mac(1), kOutside, {}, kGateway));
  EXPECT_EQ(lab().from_kernel(1, question).size(), 0u) << "a question, which hosts answer";
  const auto got = lab().to_kernel();
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].bytes,
            ethernet(Lab::own_mac(1), Lab::mac_of(kGateway), kTypeArp,
                     arp(kArpReply, Lab::mac_of(kGateway), kGateway, Lab::own_mac(1), kOutside)));
  // Somebody else's question is nothing to it.
  expect_frames(lab().receive(1, request("198.51.100.77")), {});
  stays_away();
}

TEST_P(KernelPath, PacketsInAVlan_LoseTheirTagOnTheWayAndGetItOnTheWayBack) {
  start(with_kernel());
  const Bytes ip = tcp({"10.7.0.9", 40000}, {"10.7.0.1", 22}, kAck).bytes();
  expect_frames(lab().send(2, ip), {});
  EXPECT_EQ(lab().to_kernel(), std::vector{delivered(2, kManagement, ip)});

  const Bytes answer = tcp({"10.7.0.1", 22}, {"10.7.0.9", 40000}, kAck, pattern(40)).bytes();
  const Mac to = Lab::mac_of("10.7.0.9");
  expect_frames(lab().from_kernel(2, ethernet(to, Lab::own_mac(2), kTypeIpv4, answer)),
                {{0, ethernet(to, Lab::own_mac(2), kTypeIpv4, answer, kVlan)}});
  EXPECT_EQ(counted(2, &shared::InterfaceCounters::from_kernel), 1u);
  EXPECT_EQ(counted(2, &shared::InterfaceCounters::tx), 1u);
}

TEST_P(KernelPath, FramesOfTheKernelThatCannotLeave_AreDropped) {
  Config config = with_kernel();
  config.interfaces[1].mtu = 1400;
  start(config);
  const Mac to = Lab::mac_of(kGateway);
  const auto packet = [](std::size_t size) {
    return udp({kOutside, 5}, {kGateway, 5}, pattern(size)).bytes();
  };
  const auto refuses = [this](const Bytes& frame, DropReason reason) {
    refused(lab().from_kernel(1, frame), reason);
  };
  refuses(ethernet(to, Lab::own_mac(1), kTypeIpv4, packet(1400)), DropReason::kKernelFrame);
  refuses(ethernet(to, Lab::own_mac(1), kTypeIpv4, packet(20), 9), DropReason::kKernelFrame);
  refuses(ethernet(to, Lab::own_mac(1), kTypeIpv4, {}), DropReason::kKernelFrame);
  refuses(ethernet(to, Lab::own_mac(1), kTypeIpv6, Bytes(48, 0)), DropReason::kEtherTypeIpv6);
  // As large as may be, and as small.
  const Bytes largest = packet(1400 - 28);
  expect_frames(lab().from_kernel(1, ethernet(to, Lab::own_mac(1), kTypeIpv4, largest)),
                {{1, ethernet(to, Lab::own_mac(1), kTypeIpv4, largest)}});
  const Bytes least = ethernet(to, Lab::own_mac(1), kTypeIpv4, packet(1));
  expect_frames(lab().from_kernel(1, least), {{1, least}});
}

TEST_P(KernelPath, AFloodOfOneClass_LeavesTheOthersTheirRates) {
  Config config = with_kernel();
  config.interfaces[1].kernel_rates = {1000, 400, 200};
  start(config);
  const Bytes bgp = tcp({kRouterOutside, 40000}, {kOutside, 179}, kAck).bytes();
  const Bytes ssh = tcp({kRouterOutside, 40000}, {kOutside, 22}, kAck).bytes();
  const Bytes other = udp({kRouterOutside, 40000}, {kOutside, 53}).bytes();
  // A second of each, 100 times as much of the rest; buckets hold 32 packets to begin with.
  std::array<std::uint64_t, 3> passed{};
  lab().hold_kernel(false);
  for (int tick = 0; tick < 100; ++tick) {
    for (int i = 0; i < 200; ++i) (void)lab().from_outside(other);
    for (int i = 0; i < 10; ++i) (void)lab().from_outside(bgp);
    for (int i = 0; i < 10; ++i) (void)lab().from_outside(ssh);
    for (const auto& frame : lab().to_kernel()) ++passed[static_cast<std::size_t>(frame.of_class)];
    (void)lab().jump(10ms);
  }
  EXPECT_EQ(passed[0], 1000u);
  EXPECT_NEAR(static_cast<double>(passed[1]), 400 + 32, 4);
  EXPECT_NEAR(static_cast<double>(passed[2]), 200 + 32, 2);
  expect_drops({{DropReason::kKernelRateManagement, 1000 - passed[1]},
                {DropReason::kKernelRateRest, 20000 - passed[2]}});
}

TEST_P(KernelPath, RatesAreEachInterfacesOwnAndFollowAReload) {
  Config config = with_kernel();
  config.interfaces[1].kernel_rates = {50, 50, 50};
  start(config);
  const Bytes bgp = tcp({kRouterOutside, 40000}, {kOutside, 179}, kAck).bytes();
  for (int i = 0; i < 40; ++i) (void)lab().from_outside(bgp);
  EXPECT_EQ(lab().to_kernel().size(), 32u);
  expect_drops({{DropReason::kKernelRateRouting, 8}});
  (void)lab().send(2, tcp({"10.7.0.9", 40000}, {"10.7.0.1", 179}, kAck).bytes());
  EXPECT_EQ(lab().to_kernel().size(), 1u);
  // Packets per second, from now on.
  config.interfaces[1].kernel_rates = {2000, 50, 50};
  (void)lab().reload(config);
  (void)lab().jump(10ms);
  for (int i = 0; i < 40; ++i) (void)lab().from_outside(bgp);
  EXPECT_EQ(lab().to_kernel().size(), 20u);
  expect_drops({{DropReason::kKernelRateRouting, 20}});
}

TEST_P(KernelPath, WhatTheKernelRefusesIsDropped) {
  start(with_kernel());
  lab().kernel_refuses(true);
  refused_from_outside(udp({kRouterOutside, 5}, {kOutside, 5}), DropReason::kKernelRefused);
  lab().kernel_refuses(false);
  goes_to_kernel(kRest, udp({kRouterOutside, 5}, {kOutside, 5}).bytes());
}

TEST_P(KernelPath, WhatNobodyTakesIsDropped) {
  start(with_kernel());
  lab().hold_kernel(true);
  const Bytes bgp = tcp({kRouterOutside, 40000}, {kOutside, 179}, kAck).bytes();
  const unsigned room = 64 * (lab().options().arrival == Arrival::kAlternate ? 2 : 1);
  for (unsigned i = 0; i < room + 2; ++i) (void)lab().from_outside(bgp);
  expect_drops({{DropReason::kKernelFull, 2}});
  // A class has a place of its own.
  (void)lab().from_outside(udp({kRouterOutside, 5}, {kOutside, 5}).bytes());
  lab().hold_kernel(false);
  (void)lab().run_until_idle();
  EXPECT_EQ(lab().to_kernel().size(), room + 1);
}

INSTANTIATE_TEST_SUITE_P(Shardings, KernelPath, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
