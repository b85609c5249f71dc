// Traffic domains (lsn44.md): networks inside that have the same addresses. Two subscribers of one
// address in two domains are two, in all that they have; each gets what is its own, on an interface
// of its domain.
#include <map>
#include <set>

#include "alg/alg_scenario.hpp"
#include "lsn/datapath/ipsec_alg/queries.hpp"

namespace lsn::test {
namespace {

using shared::DomainId;
using shared::InsideAddress;

constexpr Ip kTwin = "10.0.0.5";  ///< who is in both domains
constexpr Endpoint kTwinPort = {kTwin, 40000};
constexpr DomainId kDomains[] = {1, 2};
constexpr unsigned kGreProtocol = 47;

/// Behind the standard interfaces and client: 10.0.0.1/24 in VLANs 11 and 12, domains 1 and 2.
Config with_domains(Config config = Config::standard()) {
  for (const DomainId td : kDomains) {
    config.interfaces.push_back({.name = "td" + std::to_string(td),
                                 .side = Side::kInside,
                                 .address = "10.0.0.1/24",
                                 .device = 0,
                                 .vlan = 10u + td,
                                 .td = td});
    config.group().clients.push_back(
        Network{std::string_view{td == 1 ? "10.0.0.0/24 td 1" : "10.0.0.0/24 td 2"}});
  }
  return config;
}

/// The interface of a domain.
constexpr unsigned in(DomainId td) {
  return 1u + td;
}

template <class Base>
class OfDomains : public Base {
 protected:
  /// A subscriber's packet goes out; its source then.
  Endpoint out(DomainId td, const IpPacket& packet, Where where = Where::current()) {
    const std::vector<Frame> frames = this->lab().send(in(td), packet.bytes());
    this->expect_drops({}, where);
    return this->expect_translated(frames, packet, 1, kGateway, where);
  }
  /// ... as that one.
  void out_as(DomainId td, const IpPacket& packet, Endpoint nat, Where where = Where::current()) {
    const std::vector<Frame> frames = this->lab().send(in(td), packet.bytes());
    this->expect_drops({}, where);
    this->expect_frames(frames, {this->lab().to_outside(packet.from(nat).hop())}, where);
  }
  /// A packet from outside comes to the subscriber of that domain, and to nobody else.
  void back(DomainId td, const IpPacket& packet, Endpoint subscriber = kTwinPort,
            Where where = Where::current()) {
    back_as(td, packet, packet.to(subscriber), where);
  }
  void back_as(DomainId td, const IpPacket& packet, const IpPacket& expected,
               Where where = Where::current()) {
    const std::vector<Frame> frames = this->lab().from_outside(packet.bytes());
    this->expect_drops({}, where);
    this->expect_frames(
        frames, {this->lab().frame_to(in(td), expected.destination, expected.hop().bytes())},
        where);
  }
  void refused_in(DomainId td, const IpPacket& packet, DropReason reason,
                  Where where = Where::current()) {
    this->refused(this->lab().send(in(td), packet.bytes()), reason, where);
  }
};

class Domains : public OfDomains<Scenario> {
 protected:
  static Config endpoint_independent() {
    Config config = with_domains();
    for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp})
      config.group().app(protocol, kEndpointIndependent);
    return config;
  }
};

INSTANTIATE_TEST_SUITE_P(All, Domains, shardings(), sharding_name);

// ── sessions ────────────────────────────────────────────────────────────────────────────────────

TEST_P(Domains, OneFlowInTwoDomains_IsTwoSessionsWithTheirOwnAnswers) {
  start(with_domains());
  const IpPacket packet = udp(kTwinPort, kServer);
  std::map<DomainId, Endpoint> nat;
  for (const DomainId td : kDomains) nat[td] = out(td, packet);
  EXPECT_NE(nat[1], nat[2]);
  for (int round = 0; round < 3; ++round)
    for (const DomainId td : kDomains) {
      out_as(td, udp(kTwinPort, kServer, pattern(100, td)), nat[td]);
      back(td, udp(kServer, nat[td], pattern(90, td)));
    }
  const auto rows = sessions();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].subscriber_ip, rows[1].subscriber_ip);
  EXPECT_NE(rows[0].td, rows[1].td);
  EXPECT_EQ(lab().subscribers(), 2u);
}

TEST_P(Domains, TcpConnectionsOfOneFlow_OpenAndCloseEachByItself) {
  start(with_domains());
  std::map<DomainId, Endpoint> nat;
  for (const DomainId td : kDomains) nat[td] = out(td, tcp(kTwinPort, kServer, kSyn));
  for (const DomainId td : kDomains) back(td, tcp(kServer, nat[td], kSyn | kAck));
  for (const DomainId td : kDomains) out_as(td, tcp(kTwinPort, kServer, kAck), nat[td]);
  // One is reset: the other does not notice.
  out_as(1, tcp(kTwinPort, kServer, kRst | kAck), nat[1]);
  lab().advance(31s);
  out_as(2, tcp(kTwinPort, kServer, kAck, pattern(20)), nat[2]);
  back(2, tcp(kServer, nat[2], kAck, pattern(20)));
}

TEST_P(Domains, QueriesWithOneIdentifier_AreToldApart) {
  start(with_domains());
  std::map<DomainId, Endpoint> nat;
  for (const DomainId td : kDomains) nat[td] = out(td, ping({kTwin, 7}, kServer.ip));
  for (const DomainId td : {DomainId{2}, DomainId{1}})
    back(td, pong(kServer.ip, nat[td]), {kTwin, 7});
}

TEST_P(Domains, SameAddressInDomainZero_IsAThirdSubscriber) {
  Config config = with_domains();
  config.interfaces[0].address = "10.0.0.1/24";
  config.group().clients = {"10.0.0.0/24", "10.0.0.0/24 td 1", "10.0.0.0/24 td 2"};
  start(config);
  const IpPacket packet = udp(kTwinPort, kServer);
  const Endpoint zero = translated(packet);
  const Endpoint one = out(1, packet), two = out(2, packet);
  EXPECT_EQ((std::set<Endpoint>{zero, one, two}.size()), 3u);
  returned(udp(kServer, zero), kTwinPort);
  back(1, udp(kServer, one));
  back(2, udp(kServer, two));
}

TEST_P(Domains, SourceThatIsAClientElsewhere_IsNone) {
  Config config = with_domains();
  config.group().clients.pop_back();
  start(config);
  out(1, udp(kTwinPort, kServer));
  refused_in(2, udp(kTwinPort, kServer), DropReason::kNotAClient);
  refused_in(1, udp(kClient, kServer), DropReason::kNotAClient);
  refused_from_inside(udp(kTwinPort, kServer), DropReason::kNotAClient);
}

TEST_P(Domains, TwoFlowsWhoseMarkedNamesAreEqual_AreNotMixed) {
  // One in 2^64: made by the shard's own marks. Until an address is one that a host can have.
  for (std::uint64_t seed = 1; seed < 4000; ++seed) {
    Config config = with_domains();
    config.group().clients.back() = Network{std::string_view{"0.0.0.0/0 td 2"}};
    Lab::Options options;
    options.seed = seed;
    Lab probe(config, {.max_sessions = 64, .seed = seed});
    const std::uint64_t apart = probe.shard().mark_of(1) ^ probe.shard().mark_of(2);
    const auto turned = [](std::uint32_t raw) { return wire::Ipv4Address{wire::Be32::raw(raw)}; };
    const Ip source{
        turned(wire::Be32::of(kTwin.value).raw() ^ static_cast<std::uint32_t>(apart)).value};
    const Ip server{
        turned(wire::Be32::of(kServer.ip.value).raw() ^ static_cast<std::uint32_t>(apart >> 32))
            .value};
    const auto is_host = [](Ip ip) { return wire::is_host_address(wire::Ipv4Address{ip.value}); };
    if (!is_host(source) || !is_host(server) || config.is_nat_address(source) ||
        config.is_nat_address(server))
      continue;
    config.group().clients.back() = Network{to_text(source) + "/32 td 2"};
    start(config, options);
    const Endpoint nat = out(1, udp(kTwinPort, kServer));
    // On another shard there is nothing of that name.
    if (lab().shards() == 1)
      refused_in(2, udp({source, kTwinPort.port}, {server, kServer.port}),
                 DropReason::kFlowTableFull);
    out_as(1, udp(kTwinPort, kServer), nat);
    back(1, udp(kServer, nat));
    return;
  }
  FAIL() << "no seed makes two hosts of one name";
}

// ── mappings, quotas, blocks ────────────────────────────────────────────────────────────────────

TEST_P(Domains, EndpointIndependentMappings_AreOfADomain) {
  start(endpoint_independent());
  std::map<DomainId, Endpoint> nat;
  for (const DomainId td : kDomains) nat[td] = out(td, udp(kTwinPort, kServer));
  EXPECT_NE(nat[1], nat[2]);
  const Endpoint other = {"198.18.9.9", 53};
  for (const DomainId td : kDomains) {
    out_as(td, udp(kTwinPort, other), nat[td]);
    back(td, udp({"198.18.77.7", 1}, nat[td]));
  }
  EXPECT_EQ(lab().mapping_count(Protocol::kUdp), 2u);
}

TEST_P(Domains, SourceOfTheVeryDomain_IsForgedOutside) {
  start(endpoint_independent());
  const Endpoint one = out(1, udp(kTwinPort, kServer));
  refused_from_outside(udp({"10.0.0.77", 1}, one), DropReason::kSpoofedClientSource);
  // No client has it there: somebody outside has the same private address.
  back(1, udp({"10.0.1.77", 1}, one));
}

TEST_P(Domains, QuotasAndPairings_AreEachSubscribersOwn) {
  Config config = with_domains();
  config.group().udp().session_quota = 2;
  config.group().app(Protocol::kUdp, {.pooling = Pooling::kPaired});
  start(config);
  for (const DomainId td : kDomains)
    for (unsigned i = 0; i < 2; ++i)
      out(td, udp({kTwin, static_cast<std::uint16_t>(5000 + i)}, kServer));
  for (const DomainId td : kDomains) {
    const IpPacket one_more = udp({kTwin, 6000}, kServer);
    refused_with_error(lab().send(in(td), one_more.bytes()), DropReason::kSessionQuota, in(td),
                       our_error(one_more.bytes(), "10.0.0.1", kUnreachable, 13));
  }
}

TEST_P(Domains, PortBlocks_AreEachSubscribersOwn) {
  Config config = with_domains();
  config.pool().has_blocks = true;
  config.group().blocks = {.size = 256, .most = 1, .timeout = std::chrono::seconds{120}};
  config.group().app(Protocol::kUdp, {.pooling = Pooling::kPaired});
  start(config);
  std::set<std::tuple<DomainId, Ip, unsigned>> blocks;
  for (const DomainId td : kDomains)
    for (unsigned i = 0; i < 50; ++i) {
      const Endpoint nat = out(td, udp({kTwin, static_cast<std::uint16_t>(5000 + i)}, kServer));
      blocks.emplace(td, nat.ip, (nat.port - 1024u) / 256);
    }
  ASSERT_EQ(blocks.size(), 2u);
  const auto& [td1, ip1, block1] = *blocks.begin();
  const auto& [td2, ip2, block2] = *blocks.rbegin();
  EXPECT_NE(std::pair(ip1, block1), std::pair(ip2, block2));
  EXPECT_EQ(lab().total(&Counters::port_blocks), 2u);
}

TEST_P(Domains, DeterministicBlocks_AreOfAnAddressInADomain) {
  Config config = with_domains();
  config.pool().addresses = {"203.0.113.3-203.0.113.7"};
  config.group().clients = {"10.0.0.0/28 td 1", "10.0.0.0/28 td 2"};
  config.group().deterministic = shared::BlockOrder::kPorts;
  config.group().blocks.size = 504;
  start(config);
  for (const DomainId td : kDomains) {
    const unsigned number = (td - 1) * 16 + 5;
    for (unsigned i = 0; i < 20; ++i) {
      const Endpoint nat = out(td, udp({kTwin, static_cast<std::uint16_t>(5000 + i)}, kServer));
      EXPECT_EQ(nat.ip, Ip{"203.0.113.3"});
      EXPECT_GE(nat.port, 1024 + number * 504);
      EXPECT_LT(nat.port, 1024 + (number + 1) * 504);
      back(td, udp(kServer, nat), {kTwin, static_cast<std::uint16_t>(5000 + i)});
    }
  }
}

// ── static mappings ─────────────────────────────────────────────────────────────────────────────

TEST_P(Domains, StaticMappings_AreOfADomain) {
  Config config = with_domains();
  for (const DomainId td : kDomains)
    config.statics.push_back({.scope = shared::StaticScope::kTcp,
                              .inside_ip = kTwin,
                              .inside_port = 8080,
                              .nat_ip = "203.0.113.5",
                              .nat_port = 80u + td,
                              .td = td});
  start(config);
  const Endpoint web = {kTwin, 8080}, caller = {"198.18.5.5", 33333};
  for (const DomainId td : kDomains) {
    const Endpoint nat = {"203.0.113.5", static_cast<std::uint16_t>(80 + td)};
    back(td, tcp(caller, nat, kSyn), web);
    out_as(td, tcp(web, caller, kSyn | kAck), nat);
    out_as(td, tcp(web, {"198.18.6.6", 1}, kSyn), nat);
  }
  refused_from_outside(tcp({"10.0.0.9", 7}, {"203.0.113.5", 81}, kSyn),
                       DropReason::kSpoofedClientSource);
}

TEST_P(Domains, OneToOneNat_IsOfADomain_AlsoForProtocolsWithoutPorts) {
  Config config = with_domains();
  for (const DomainId td : kDomains)
    config.statics.push_back({.inside_ip = kTwin, .nat_ip = Ip{"203.0.113.5"} + td, .td = td});
  start(config);
  for (const DomainId td : kDomains) {
    const Ip nat = Ip{"203.0.113.5"} + td;
    out_as(td, other(kTwin, kServer.ip, kGreProtocol), {nat, 0});
    back(td, other(kServer.ip, nat, kGreProtocol), {kTwin, 0});
    out_as(td, udp(kTwinPort, kServer), {nat, kTwinPort.port});
    back(td, udp({"198.18.5.5", 9}, {nat, 4711}), {kTwin, 4711});
    out_as(td, esp(kTwin, kServer.ip, 0x77, 1), {nat, 0});
    back(td, esp(kServer.ip, nat, 0x88, 1), {kTwin, 0});
  }
  // In no domain of its own it is nobody's.
  refused_from_inside(other(kTwin, kServer.ip, kGreProtocol), DropReason::kProtocolGre);
}

// ── hairpin ─────────────────────────────────────────────────────────────────────────────────────

TEST_P(Domains, SubscribersOfTwoDomains_ReachEachOtherByTheirNatEndpoints) {
  start(endpoint_independent());
  const Endpoint one = out(1, udp(kTwinPort, kServer));
  const Endpoint two = out(2, udp(kTwinPort, kServer));
  const auto cross = [&](DomainId from, Endpoint to_nat, DomainId to, Endpoint as) {
    const IpPacket packet = udp(kTwinPort, to_nat, pattern(60, from));
    const auto frames = lab().send(in(from), packet.bytes());
    expect_drops({});
    expect_frames(frames,
                  {lab().frame_to(in(to), kTwin, packet.from(as).to(kTwinPort).hop().bytes())});
  };
  cross(1, two, 2, one);
  cross(2, one, 1, two);
  cross(1, two, 2, one);
}

// ── fragments, errors, addresses ────────────────────────────────────────────────────────────────

TEST_P(Domains, DatagramsWithOneIdentification_AreNotPutTogether) {
  start(with_domains());
  std::map<DomainId, Endpoint> nat;
  for (const DomainId td : kDomains) nat[td] = out(td, udp(kTwinPort, kServer));
  std::map<DomainId, std::vector<Bytes>> pieces;
  std::map<DomainId, IpPacket> sent;
  for (const DomainId td : kDomains) {
    sent[td] = udp(kTwinPort, kServer, pattern(1500, td)).with_id(77);
    pieces[td] = sent[td].fragments({512, 1024});
  }
  // The last ones wait for the first one of their own domain.
  for (const DomainId td : kDomains) EXPECT_TRUE(lab().send(in(td), pieces[td][2]).empty());
  for (const DomainId td : kDomains) {
    std::vector<Frame> frames = lab().send(in(td), pieces[td][0]);
    ASSERT_EQ(frames.size(), 2u);
    for (const Frame& frame : lab().send(in(td), pieces[td][1])) frames.push_back(frame);
    const auto expected =
        sent[td].from(nat[td]).hop().with_id(id_of(frames)).fragments({512, 1024});
    ASSERT_EQ(frames.size(), 3u);
    EXPECT_EQ(behind_link(frames[0].bytes), expected[0]);
    EXPECT_EQ(behind_link(frames[1].bytes), expected[2]);
    EXPECT_EQ(behind_link(frames[2].bytes), expected[1]);
  }
}

TEST_P(Domains, IcmpErrors_AreAboutTheSessionOfTheirDomain) {
  start(with_domains());
  std::map<DomainId, Endpoint> nat;
  const IpPacket packet = udp(kTwinPort, kServer);
  for (const DomainId td : kDomains) nat[td] = out(td, packet);
  for (const DomainId td : kDomains) {
    // From outside, about what the subscriber has sent.
    const IpPacket error =
        icmp_error("198.18.3.3", nat[td].ip, kUnreachable, 1, packet.from(nat[td]).hop().bytes());
    back_as(td, error, icmp_error("198.18.3.3", kTwin, kUnreachable, 1, packet.hop().bytes()));
    // From inside, about what it has got.
    const IpPacket got = udp(kServer, kTwinPort, pattern(64)).with_ttl(40);
    const IpPacket says = icmp_error(kTwin, kServer.ip, kUnreachable, 3, got.bytes());
    const auto frames = lab().send(in(td), says.bytes());
    expect_drops({});
    expect_frames(
        frames,
        {lab().to_outside(
            icmp_error(nat[td].ip, kServer.ip, kUnreachable, 3, got.to(nat[td]).bytes()).hop())});
  }
}

TEST_P(Domains, OurOwnErrorsAndAnswers_GoToTheDomainThatAsked) {
  start(with_domains());
  for (const DomainId td : kDomains) {
    const IpPacket old = udp(kTwinPort, kServer).with_ttl(1);
    refused_with_error(lab().send(in(td), old.bytes()), DropReason::kTtlExpired, in(td),
                       our_error(old.bytes(), "10.0.0.1", kTimeExceeded, 0));
    const IpPacket query = ping({kTwin, 9}, "10.0.0.1").with_ttl(64);
    const auto frames = lab().send(in(td), query.bytes());
    const Bytes answer = only(frames, 0);
    ASSERT_FALSE(answer.empty());
    EXPECT_EQ(get16(frames[0].bytes, 14) & 0xFFFu, 10u + td);
    EXPECT_EQ(destination_of(answer).ip, kTwin);
  }
  // Our address in a domain is none elsewhere: an inside host's in domain 0, nobody's outside.
  refused_from_outside(udp({"198.18.0.1", 1}, {"10.0.0.1", 1}), DropReason::kNotForUs);
  // An interface outside is known to all.
  const IpPacket query = ping({kTwin, 9}, kOutside).with_ttl(64);
  EXPECT_EQ(only(lab().send(in(2), query.bytes()), 0).size(), query.bytes().size());
}

TEST_P(Domains, RoutesInside_AreTheDomainsOwn) {
  Config config = with_domains();
  config.group().clients.push_back(Network{std::string_view{"10.9.0.0/16 td 1"}});
  config.group().clients.push_back(Network{std::string_view{"10.9.0.0/16 td 2"}});
  config.routes.push_back({"10.9.0.0/16", "10.0.0.201", 1});
  config.routes.push_back({"10.9.0.0/16", "10.0.0.202", 2});
  start(config);
  const Endpoint far = {"10.9.1.1", 4000};
  for (const DomainId td : kDomains) {
    const Endpoint nat = out(td, udp(far, kServer));
    const IpPacket answer = udp(kServer, nat);
    expect_frames(lab().from_outside(answer.bytes()),
                  {lab().frame_to(in(td), Ip{"10.0.0.200"} + td, answer.to(far).hop().bytes())});
    refused_in(td, udp(kTwinPort, far), DropReason::kInsideDestination);
  }
  // Domain 0 has no such network: what goes there goes outside.
  translated(udp(kClient, far));
}

// ── reloads ─────────────────────────────────────────────────────────────────────────────────────

TEST_P(Domains, NetworkThatGoesFromADomain_EndsWhatThatDomainHas) {
  start(with_domains());
  const Endpoint one = out(1, udp(kTwinPort, kServer)), two = out(2, udp(kTwinPort, kServer));
  config().group().clients = {"192.0.2.0/24", "10.0.0.0/24 td 2"};
  EXPECT_EQ(lab().reload(config()), 1u);
  refused_in(1, udp(kTwinPort, kServer), DropReason::kNotAClient);
  refused_from_outside(udp(kServer, one), DropReason::kNoMapping);
  out_as(2, udp(kTwinPort, kServer), two);
  back(2, udp(kServer, two));
}

TEST_P(Domains, InterfaceThatChangesItsDomain_TakesItsPacketsThere) {
  start(with_domains());
  const Endpoint one = out(1, udp(kTwinPort, kServer)), two = out(2, udp(kTwinPort, kServer));
  // Its client has moved along: domain 2 goes on, domain 1 has ended.
  config().interfaces[2].td = 7;
  config().group().clients = {"192.0.2.0/24", "10.0.0.0/24 td 7", "10.0.0.0/24 td 2"};
  EXPECT_EQ(lab().reload(config()), 1u);
  refused_from_outside(udp(kServer, one), DropReason::kNoMapping);
  out_as(2, udp(kTwinPort, kServer), two);
  back(2, udp(kServer, two));
  const auto frames = lab().send(in(1), udp(kTwinPort, kServer).bytes());
  expect_drops({});
  const Endpoint seven = expect_translated(frames, udp(kTwinPort, kServer));
  back(1, udp(kServer, seven));
  EXPECT_EQ(count(sessions(), [](const SessionRow& row) { return row.td == 7; }), 1u);
}

// ── what is shown and recorded ──────────────────────────────────────────────────────────────────

TEST_P(Domains, ListsAndFlushes_AreByDomain) {
  start(with_domains());
  for (const DomainId td : kDomains)
    for (unsigned i = 0; i < 3; ++i)
      out(td, udp({kTwin, static_cast<std::uint16_t>(5000 + i)}, kServer));
  translated(udp(kClient, kServer));
  SessionFilter filter;
  filter.td = 2;
  EXPECT_EQ(sessions(filter).size(), 3u);
  filter.network = wire::Ipv4Prefix{wire::Ipv4Address{kTwin.value}, 32};
  EXPECT_EQ(sessions(filter).size(), 3u);
  EXPECT_EQ(lab().flush(filter), 3u);
  filter.td = 1;
  EXPECT_EQ(sessions(filter).size(), 3u);
  filter.td.reset();
  EXPECT_EQ(sessions(filter).size(), 3u);
  EXPECT_EQ(sessions().size(), 4u);
}

TEST_P(Domains, RecordsNameTheDomain) {
  Config config = with_domains();
  config.group().logging = shared::LogFlags::kMappings | shared::LogFlags::kBindings |
                           shared::LogFlags::kSessions | shared::LogFlags::kDeletions;
  config.group().app(Protocol::kUdp, {.pooling = Pooling::kPaired});
  start(config);
  for (const DomainId td : kDomains) {
    out(td, udp(kTwinPort, kServer));
    const auto records = lab().log_records();
    EXPECT_EQ(records.size(), 3u);
    for (const shared::LogRecord& record : records) EXPECT_EQ(record.td, td);
  }
  lab().flush({});
  std::map<unsigned, unsigned> ends;
  for (const shared::LogRecord& record : lab().log_records()) ++ends[record.td];
  EXPECT_EQ(ends, (std::map<unsigned, unsigned>{{1, 3}, {2, 3}}));
}

// ── the IPsec ALG ───────────────────────────────────────────────────────────────────────────────

class AlgDomains : public OfDomains<Alg> {
 protected:
  Peer joins_in(DomainId td) {
    Peer peer{kTwin, kS, 0xA100u + td, 0xB200u + td, {}, 2};
    const Ike init = sa_init(peer.spi);
    peer.nat = out(td, peer.out(init));
    back(td, peer.in(response(init, peer.server_spi)), peer.endpoint());
    return peer;
  }
};

INSTANTIATE_TEST_SUITE_P(All, AlgDomains, shardings(), sharding_name);

TEST_P(AlgDomains, ClientsOfOneAddressWithOneServer_HaveTunnelsOfTheirOwn) {
  start(with_domains(Config::with_alg()));
  std::map<DomainId, Peer> peers;
  for (const DomainId td : kDomains) peers[td] = joins_in(td);
  // Both behind one NAT address with one gate: the second one waits for its turn.
  const Peer& one = peers[1];
  const Peer& two = peers[2];
  out_as(1, one.out(one.auth()), one.nat);
  expect_frames(lab().send(in(2), two.out(two.auth()).bytes()), {});
  back(1, one.in(response(one.auth())), one.endpoint());
  // The same outbound SPI in both domains.
  out_as(1, esp(kTwin, kS, 0x1001, 1), {kN, 0});
  const auto frames = lab().from_outside(esp(kS, kN, 0x2001, 1).bytes());
  expect_drops({});
  expect_frames(frames,
                {lab().frame_to(in(1), kTwin, esp(kS, kN, 0x2001, 1).to({kTwin, 0}).hop().bytes()),
                 lab().to_outside(two.out(two.auth()).from(two.nat).hop())});
  back(2, two.in(response(two.auth())), two.endpoint());
  out_as(2, esp(kTwin, kS, 0x1001, 1), {kN, 0});
  back(2, esp(kS, kN, 0x2002, 1), {kTwin, 0});
  for (std::uint32_t sequence = 2; sequence < 5; ++sequence)
    for (const DomainId td : kDomains) {
      out_as(td, esp(kTwin, kS, 0x1001, sequence), {kN, 0});
      back(td, esp(kS, kN, 0x2000 + td, sequence), {kTwin, 0});
    }
  EXPECT_EQ(now_there(AlgGauge::kEspSessions), 2u);

  // ICMP errors about what each of them got and sent.
  for (const DomainId td : kDomains) {
    const IpPacket got = esp(kS, kTwin, 0x2000 + td, 9).with_ttl(40);
    const auto told =
        lab().send(in(td), icmp_error(kTwin, kS, kUnreachable, 4, got.bytes(), 1200).bytes());
    expect_drops({});
    expect_frames(told,
                  {lab().to_outside(
                      icmp_error(kN, kS, kUnreachable, 4, got.to({kN, 0}).bytes(), 1200).hop())});
  }

  // A restart keeps both apart.
  const auto records = lab().state();
  EXPECT_EQ(restart(config(), records), records.size());
  for (const DomainId td : kDomains) {
    back(td, esp(kS, kN, 0x2000 + td, 90000), {kTwin, 0});
    out_as(td, esp(kTwin, kS, 0x1001, 90000), {kN, 0});
    out_as(td, peers[td].out(peers[td].child()), peers[td].nat);
    back(td, peers[td].in(response(peers[td].child())), peers[td].endpoint());
    lab().advance(kT + 1s);
  }
}

TEST_P(AlgDomains, GatesAndSessions_AreShownByDomain) {
  start(with_domains(Config::with_alg()));
  const Peer one = joins_in(1), two = joins_in(2);
  out_as(1, one.out(one.auth()), one.nat);
  expect_frames(lab().send(in(2), two.out(two.auth()).bytes()), {});
  std::vector<shared::GateRow> gates;
  for (unsigned id = 0; id < lab().shards(); ++id) {
    shared::GatePage page;
    page.filter.td = 2;
    datapath::list_gates(lab().shard(id), page, 100);
    gates.insert(gates.end(), page.rows.begin(), page.rows.end());
  }
  ASSERT_EQ(gates.size(), 1u);
  EXPECT_EQ(gates[0].holder, (InsideAddress{wire::Ipv4Address{kTwin.value}, 1}));
  EXPECT_EQ(gates[0].first_waiters[0], (InsideAddress{wire::Ipv4Address{kTwin.value}, 2}));
}

}  // namespace
}  // namespace lsn::test
