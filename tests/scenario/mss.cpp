// MSS clamping (tcpMss): SYNs both ways, never raised, whatever their options look like.
#include "scenario.hpp"

namespace lsn::test {
namespace {

Bytes mss(unsigned size) {
  return {2, 4, static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)};
}

class Mss : public Scenario {
 protected:
  /// A profile for TCP port 80 with that limit.
  void start_with(std::uint16_t limit) {
    Config config = Config::standard();
    config.group().app(Protocol::kTcp, {.tcp_mss = limit}, 80, 80);
    start(config);
  }
  /// A SYN with those options leaves with the others; the whole packet is compared, its checksum
  /// with it.
  Endpoint syn_goes_out(const Bytes& options, const Bytes& expected, Endpoint server = kServer,
                        Where where = Where::current()) {
    const IpPacket syn = tcp({kClient.ip, next_port_++}, server, kSyn).with_tcp_options(options);
    const std::vector<Frame> frames = lab().from_inside(syn.bytes());
    expect_drops({}, where);
    return expect_translated(frames, syn.with_tcp_options(expected), 1, kGateway, where);
  }
  [[nodiscard]] Endpoint last_client() const {
    return {kClient.ip, static_cast<std::uint16_t>(next_port_ - 1)};
  }
  std::uint16_t next_port_ = 40000;
};

TEST_P(Mss, ASynAndItsAnswerAreLowered) {
  start_with(1300);
  const Endpoint nat = syn_goes_out(mss(1460), mss(1300));
  const IpPacket answer = tcp(kServer, nat, kSyn | kAck).with_tcp_options(mss(8960));
  expect_forwarded_inside(answer, answer.to(last_client()).with_tcp_options(mss(1300)));
}

TEST_P(Mss, IsNeverRaisedAndNeverAdded) {
  start_with(1300);
  for (const unsigned size : {0u, 1u, 536u, 1299u, 1300u}) syn_goes_out(mss(size), mss(size));
  syn_goes_out({}, {});
  const Bytes others = {4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7};
  syn_goes_out(others, others);
}

TEST_P(Mss, OtherSegmentsAndOtherPortsAreLeftAlone) {
  start_with(1300);
  syn_goes_out(mss(1460), mss(1460), {"198.18.0.1", 81});
  const Endpoint nat = syn_goes_out(mss(1460), mss(1300));
  returned(tcp(kServer, nat, kSyn | kAck).with_tcp_options(mss(1200)), last_client());
  translated_to(tcp(last_client(), kServer, kAck).with_tcp_options(mss(1460)), nat);
  returned(tcp(kServer, nat, kAck | kPsh, pattern(20)).with_tcp_options(mss(1460)), last_client());
}

// At even and at odd places, behind others, several times, and with every value around.
TEST_P(Mss, IsFoundWhereverItStands) {
  start_with(1000);
  const auto cat = [](std::initializer_list<Bytes> parts) {
    Bytes all;
    for (const Bytes& part : parts) all.insert(all.end(), part.begin(), part.end());
    return all;
  };
  const Bytes nop = {1}, sack = {4, 2}, scale = {3, 3, 7}, end = {0};
  syn_goes_out(cat({nop, mss(1460), scale}), cat({nop, mss(1000), scale}));
  syn_goes_out(cat({nop, nop, mss(1460), sack}), cat({nop, nop, mss(1000), sack}));
  syn_goes_out(cat({scale, mss(0xFFFF), end}), cat({scale, mss(1000), end}));
  syn_goes_out(cat({mss(1460), mss(9000), mss(900), nop, nop, mss(2000), sack}),
               cat({mss(1000), mss(1000), mss(900), nop, nop, mss(1000), sack}));
  for (unsigned size = 990; size < 1600; size += 7)
    syn_goes_out(cat({nop, mss(size), scale}), cat({nop, mss(std::min(size, 1000u)), scale}));
}

// What cannot be read stays as it is, and nothing is read or written behind the header.
TEST_P(Mss, HostileOptionsAreLeftAlone) {
  start_with(600);
  for (const Bytes& options : std::vector<Bytes>{
           {0, 2, 4, 5, 180, 0},  // behind the end of the list
           {2, 0, 5, 180},        // a length that would stand still
           {2, 1, 5, 180},
           {2, 3, 5, 1},  // too short for a number
           {2, 6, 5, 180, 1, 1, 1, 1},
           {2, 255, 5, 180},  // beyond the header
           {8, 200, 2, 4, 5, 180, 1, 1},
           {1, 1, 1, 2},  // a kind without a length
           {1, 1, 2, 4},  // without its number
           {254, 4, 2, 4},
       })
    syn_goes_out(options, options);
}

TEST_P(Mss, AWrongChecksumStaysWrongByTheSameDifference) {
  start_with(1300);
  lab().ignore_l4_checksums();
  const IpPacket syn = tcp(kClient, kServer, kSyn).with_tcp_options(mss(1460));
  const std::vector<Frame> frames = lab().from_inside(syn.with_checksum_error(0x1234).bytes());
  expect_translated(frames, syn.with_tcp_options(mss(1300)).with_checksum_error(0x1234));
}

TEST_P(Mss, OfAnInterfaceItHoldsForWhatComesInAndWhatLeaves) {
  start();
  for (const unsigned which : {0u, 1u}) {
    SCOPED_TRACE(which);
    config().interfaces[which].tcp_mss = 1200;
    config().interfaces[1 - which].tcp_mss = 0;
    lab().reload(config());
    const Endpoint nat = syn_goes_out(mss(1460), mss(1200));
    const IpPacket answer = tcp(kServer, nat, kSyn | kAck).with_tcp_options(mss(1400));
    expect_forwarded_inside(answer, answer.to(last_client()).with_tcp_options(mss(1200)));
  }
}

TEST_P(Mss, OfAnInterfaceItHoldsForUntranslatedConnectionsToo) {
  Config config = Config::standard();
  config.group().add_bypass("198.18.7.0/24");
  config.group().app(Protocol::kTcp, {.tcp_mss = 1000});
  config.interfaces[1].tcp_mss = 1200;
  start(config);
  const Endpoint server = {"198.18.7.1", 80};
  const IpPacket syn = tcp(kClient, server, kSyn).with_tcp_options(mss(1460));
  expect_forwarded_outside(syn, syn.with_tcp_options(mss(1200)));
  const IpPacket answer = tcp(server, kClient, kSyn | kAck).with_tcp_options(mss(1400));
  expect_forwarded_inside(answer, answer.with_tcp_options(mss(1200)));
  const IpPacket data = tcp(kClient, server, kAck).with_tcp_options(mss(1460));
  expect_forwarded_outside(data, data);
}

TEST_P(Mss, OfInterfacesAndProfileTheSmallestCounts) {
  start();
  for (const auto& [inside, outside, profile, expected] :
       std::vector<std::array<std::uint16_t, 4>>{{1400, 1300, 1350, 1300},
                                                 {1200, 1300, 1350, 1200},
                                                 {1400, 0, 1350, 1350},
                                                 {0, 0, 1350, 1350},
                                                 {1400, 0, 0, 1400}}) {
    config().interfaces[0].tcp_mss = inside;
    config().interfaces[1].tcp_mss = outside;
    config().group().apps.clear();
    config().group().app(Protocol::kTcp, {.tcp_mss = profile});
    lab().reload(config());
    syn_goes_out(mss(1460), mss(expected));
  }
}

// By the port that the mapping was made for: the remote one is the client's.
TEST_P(Mss, AConnectionFromOutsideHasItsMappingsPolicy) {
  Config config = Config::standard();
  AppPolicy policy = kEndpointIndependent;
  config.group().app(Protocol::kTcp, policy);
  policy.tcp_mss = 1300;
  config.group().app(Protocol::kTcp, policy, 80, 80);
  start(config);
  const Endpoint nat = syn_goes_out(mss(1460), mss(1300));
  const Endpoint stranger = {"198.18.9.9", 5555};
  const IpPacket syn = tcp(stranger, nat, kSyn).with_tcp_options(mss(1460));
  expect_forwarded_inside(syn, syn.to(last_client()).with_tcp_options(mss(1300)));
  const IpPacket answer = tcp(last_client(), stranger, kSyn | kAck).with_tcp_options(mss(1460));
  expect_forwarded_outside(answer, answer.from(nat).with_tcp_options(mss(1300)));
}

TEST_P(Mss, AConnectionByAStaticMappingHasNoProfiles) {
  Config config = Config::standard();
  config.group().app(Protocol::kTcp, {.tcp_mss = 1000}, 80, 80);
  config.add_static(Protocol::kTcp, kClient, {"203.0.113.5", 2000});
  start(config);
  const IpPacket syn = tcp(kServer, {"203.0.113.5", 2000}, kSyn).with_tcp_options(mss(1460));
  expect_forwarded_inside(syn, syn.to(kClient));
}

TEST_P(Mss, AReloadHoldsForTheNextSyn) {
  start_with(0);
  syn_goes_out(mss(1460), mss(1460));
  config().group().apps.clear();
  config().group().app(Protocol::kTcp, {.tcp_mss = 1300}, 80, 80);
  lab().reload(config());
  syn_goes_out(mss(1460), mss(1300));
  config().group().apps.clear();
  lab().reload(config());
  syn_goes_out(mss(1460), mss(1460));
}

INSTANTIATE_TEST_SUITE_P(Sharded, Mss, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
