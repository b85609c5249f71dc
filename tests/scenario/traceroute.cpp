// traceroute through the NAT, by datagrams, SYNs and echo requests: the NAT is the first hop, and
// the routers behind it are seen as without one (RFC 5508 section 4, RFC 1812 section 5.3.1).
#include "scenario.hpp"

namespace lsn::test {
namespace {

class Traceroute : public Scenario {
 protected:
  /// The probe's first two hops: the NAT, and its next hop outside.
  void expect_two_hops(const IpPacket& probe, Where where = Where::current()) {
    expect_time_exceeded_inside(probe.with_ttl(1), where);
    if (lab().subscribers() != 0) fail(where) << "a probe that ends here has made a session";
    const Endpoint nat = translated(probe.with_ttl(2), where);
    // The gateway quotes what it got; the subscriber is shown what it sent.
    const auto time_exceeded = [](const IpPacket& expired) {
      return icmp_error(kGateway, expired.source, kTimeExceeded, 0, expired.with_ttl(1).bytes());
    };
    expect_forwarded_inside(time_exceeded(probe.from(nat)), time_exceeded(probe), where);
  }
};

TEST_P(Traceroute, UdpProbe_IsAnsweredByTimeExceededOfBothHops) {
  start();
  expect_two_hops(udp(kClient, {kServer.ip, 33434}, pattern(32)));
}

TEST_P(Traceroute, SynProbe_IsAnsweredByTimeExceededOfBothHops) {
  start();
  expect_two_hops(tcp(kClient, kServer, kSyn));
}

TEST_P(Traceroute, EchoRequestProbe_IsAnsweredByTimeExceededOfBothHops) {
  start();
  expect_two_hops(ping(kClient, kServer.ip));
}

INSTANTIATE_TEST_SUITE_P(Sharded, Traceroute, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
