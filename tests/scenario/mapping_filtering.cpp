// RFC 4787 sections 4.1 and 5, RFC 5382 REQ-1 and REQ-3: three kinds of mapping by three kinds of
// filtering, for TCP and UDP, with servers on several addresses and ports.
#include "scenario.hpp"

namespace lsn::test {
namespace {

using MatrixCase = std::tuple<Sharding, Protocol, Dependence, Dependence>;

const char* name_of_dependence(Dependence d) {
  switch (d) {
    case Dependence::kEndpointIndependent:
      return "EndpointIndependent";
    case Dependence::kAddress:
      return "AddressDependent";
    case Dependence::kAddressPort:
      return "AddressPortDependent";
  }
  return "";
}

constexpr Endpoint kServers[] = {
    {"198.18.0.1", 1000}, {"198.18.0.1", 1001}, {"198.18.0.2", 1000}, {"198.18.0.2", 1001}};
constexpr Endpoint kUnsolicited = {"198.18.0.99", 1000};

class MappingFilteringMatrix : public Laboratory, public ::testing::WithParamInterface<MatrixCase> {
 protected:
  void SetUp() override {
    Config config = Config::standard();
    config.group().app(protocol(), {.mapping = mapping(), .filtering = filtering()});
    start(config, std::get<0>(GetParam()), {});
  }

  [[nodiscard]] static Protocol protocol() { return std::get<1>(GetParam()); }
  [[nodiscard]] static Dependence mapping() { return std::get<2>(GetParam()); }
  [[nodiscard]] static Dependence filtering() { return std::get<3>(GetParam()); }

  /// The first packet of a flow.
  [[nodiscard]] static IpPacket first(Endpoint from, Endpoint to) {
    return protocol() == Protocol::kTcp ? tcp(from, to, kSyn) : udp(from, to);
  }
  /// Whether two destinations share a mapping.
  [[nodiscard]] static bool share(Endpoint a, Endpoint b) {
    switch (mapping()) {
      case Dependence::kEndpointIndependent:
        return true;
      case Dependence::kAddress:
        return a.ip == b.ip;
      case Dependence::kAddressPort:
        return a == b;
    }
    return false;
  }
};

TEST_P(MappingFilteringMatrix, MappingBehaviour_DecidesWhichFlowsShareANatEndpoint) {
  std::vector<Endpoint> nat;
  for (const Endpoint server : kServers) nat.push_back(translated(first(kClient, server)));
  for (std::size_t i = 0; i < nat.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) {
      SCOPED_TRACE(to_text(kServers[i]) + " and " + to_text(kServers[j]));
      if (share(kServers[i], kServers[j]))
        EXPECT_EQ(nat[i], nat[j]);
      else
        EXPECT_NE(nat[i], nat[j]);
    }
  // Again the same ones.
  for (std::size_t i = 0; i < nat.size(); ++i) translated_to(first(kClient, kServers[i]), nat[i]);
}

TEST_P(MappingFilteringMatrix, AnotherInsidePortHasAnotherNatEndpoint) {
  const Endpoint nat = translated(first(kClient, kServers[0]));
  const Endpoint other = translated(first({kClient.ip, 40001}, kServers[0]));
  EXPECT_NE(nat, other);
}

TEST_P(MappingFilteringMatrix, ReplyOfTheDestination_IsAdmitted) {
  const Endpoint nat = translated(first(kClient, kServers[0]));
  returned(reply_to(first(nat, kServers[0])), kClient);
}

TEST_P(MappingFilteringMatrix, AnotherPortOfTheDestination_IsFilteredIfAddressAndPortDependent) {
  const Endpoint nat = translated(first(kClient, kServers[0]));
  if (filtering() == Dependence::kAddressPort)
    refused_from_outside(first(kServers[1], nat), DropReason::kFiltered);
  else
    returned(first(kServers[1], nat), kClient);
}

TEST_P(MappingFilteringMatrix, UnsolicitedAddress_IsFilteredUnlessEndpointIndependent) {
  const Endpoint nat = translated(first(kClient, kServers[0]));
  if (filtering() == Dependence::kEndpointIndependent)
    returned(first(kUnsolicited, nat), kClient);
  else
    refused_from_outside(first(kUnsolicited, nat), DropReason::kFiltered);
}

TEST_P(MappingFilteringMatrix, AnswerToAnAdmittedOutsideHost_LeavesFromTheSameNatEndpoint) {
  const Endpoint nat = translated(first(kClient, kServers[0]));
  if (filtering() != Dependence::kEndpointIndependent) return;
  returned(first(kUnsolicited, nat), kClient);
  translated_to(reply_to(first(kUnsolicited, kClient)), nat);
}

TEST_P(MappingFilteringMatrix, AnAddressThatTheMappingHasASessionWithIsAdmittedFromAnyPort) {
  const Endpoint nat = translated(first(kClient, kServers[0]));
  const Endpoint second = translated(first(kClient, kServers[2]));
  if (nat != second || filtering() == Dependence::kAddressPort)
    return;  // the matrix has these in the tests above
  returned(first(kServers[3], nat), kClient);
}

TEST_P(MappingFilteringMatrix, InboundWithoutAMapping_IsDropped) {
  const Endpoint nat = translated(first(kClient, kServers[0]));
  const Endpoint other = {nat.ip, static_cast<std::uint16_t>(nat.port ^ 1)};
  refused_from_outside(first(kServers[0], other), DropReason::kNoMapping);
  const Ip another = nat.ip == Ip{"203.0.113.9"} ? "203.0.113.8" : "203.0.113.9";
  refused_from_outside(first(kServers[0], {another, nat.port}), DropReason::kNoMapping);
}

INSTANTIATE_TEST_SUITE_P(
    All, MappingFilteringMatrix,
    ::testing::Combine(shardings(), ::testing::Values(Protocol::kTcp, Protocol::kUdp),
                       ::testing::Values(Dependence::kEndpointIndependent, Dependence::kAddress,
                                         Dependence::kAddressPort),
                       ::testing::Values(Dependence::kEndpointIndependent, Dependence::kAddress,
                                         Dependence::kAddressPort)),
    [](const ::testing::TestParamInfo<MatrixCase>& test) {
      return std::string(std::get<0>(test.param).name) +
             (std::get<1>(test.param) == Protocol::kTcp ? "TcpMapping" : "UdpMapping") +
             name_of_dependence(std::get<2>(test.param)) + "Filtering" +
             name_of_dependence(std::get<3>(test.param));
    });

class Policies : public Scenario {};

// RFC 7857 section 6: a mapping is of one protocol.
TEST_P(Policies, TcpToTheNatPortOfAUdpMapping_HasNoMapping) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  start(config);
  const Endpoint nat = translated(udp(kClient, kServer));
  returned(udp({"198.18.0.99", 5}, nat), kClient);
  refused_from_outside(tcp({"198.18.0.99", 5}, nat, kSyn), DropReason::kNoMapping);
}

// RFC 7857 section 7: a packet from outside that is refused does not prolong a mapping.
TEST_P(Policies, ARefusedInboundPacket_DoesNotProlongAnIdleMapping) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  config.group().udp().session_quota = 1;
  config.group().udp().session_timeout = 60s;
  config.group().udp().stun_timeout = 100s;
  start(config);
  const Endpoint nat = translated(udp(kClient, kServer));
  lab().advance(61s);  // the session has ended after 60 s, its mapping is idle since
  // Another session of the subscriber takes its quota.
  const IpPacket other = udp({kClient.ip, 40001}, kServer);
  const Endpoint of_other = translated(other);
  const auto keep_other_for = [&](std::chrono::seconds time) {
    for (; time.count() > 0; time -= 1s) {
      lab().advance(1s);
      if (time.count() % 30 == 0) translated_to(other, of_other);
    }
  };
  keep_other_for(60s);
  refused_from_outside(udp({"198.18.0.99", 5}, nat), DropReason::kSessionQuota);
  keep_other_for(38s);
  EXPECT_EQ(lab().mapping_count(Protocol::kUdp), 2u);
  keep_other_for(3s);
  EXPECT_EQ(lab().mapping_count(Protocol::kUdp), 1u) << "100 s after its session";
}

TEST_P(Policies, TheProfileOfTheDestinationPortDecides) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent, 5000, 5999);
  start(config);
  // Covered: one NAT endpoint for all of them, unsolicited packets come in.
  const Endpoint a = translated(udp(kClient, {"198.18.0.1", 5000}));
  const Endpoint b = translated(udp(kClient, {"198.18.0.2", 5999}));
  EXPECT_EQ(a, b);
  returned(udp({"198.18.0.77", 6000}, a), kClient);
  // Not covered: the defaults, ADDRESS-PORT-DEPENDENT both.
  const Endpoint c = translated(udp(kClient, {"198.18.0.1", 4999}));
  const Endpoint d = translated(udp(kClient, {"198.18.0.1", 6000}));
  EXPECT_NE(c, a);
  EXPECT_NE(c, d);
  refused_from_outside(udp({"198.18.0.1", 5000}, c), DropReason::kFiltered);
}

TEST_P(Policies, TheMostSpecificRangeOfPortsWins) {
  Config config = Config::standard();
  config.group()
      .app(Protocol::kUdp, kEndpointIndependent, 0, 65535)
      .app(Protocol::kUdp, {}, 5060, 5060);
  start(config);
  const Endpoint wide = translated(udp(kClient, {"198.18.0.1", 5059}));
  const Endpoint narrow = translated(udp(kClient, {"198.18.0.1", 5060}));
  EXPECT_NE(wide, narrow);
  returned(udp({"198.18.0.5", 1}, wide), kClient);
  refused_from_outside(udp({"198.18.0.5", 1}, narrow), DropReason::kFiltered);
}

TEST_P(Policies, ProtocolsDoNotShareMappings) {
  Config config = Config::standard();
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp})
    config.group().app(protocol, kEndpointIndependent);
  start(config);
  translated(udp(kClient, kServer));
  const Endpoint nat = translated(tcp(kClient, kServer, kSyn));
  EXPECT_EQ(lab().mapping_count(Protocol::kUdp), 1u);
  EXPECT_EQ(lab().mapping_count(Protocol::kTcp), 1u);
  returned(tcp({"198.18.0.7", 7}, nat, kSyn), kClient);
}

TEST_P(Policies, GroupsHaveTheirOwnPoolsAndPolicies) {
  Config config = Config::standard();
  config.add_pool("OTHER", {"203.0.113.64/28"});
  config.groups[0].clients = {"192.0.2.0/25"};
  config.add_group("OTHERS", {"192.0.2.128/25"}, {"OTHER"})
      .app(Protocol::kUdp, kEndpointIndependent);
  start(config);
  for (unsigned i = 0; i < 20; ++i) {
    const Endpoint a = translated(udp({Ip{"192.0.2.10"} + i, 1111}, kServer));
    const Endpoint b = translated(udp({Ip{"192.0.2.130"} + i, 1111}, kServer));
    EXPECT_TRUE(Network("203.0.113.3-203.0.113.9").contains(a.ip)) << to_text(a);
    EXPECT_TRUE(Network("203.0.113.64/28").contains(b.ip)) << to_text(b);
    refused_from_outside(udp({"198.18.0.5", 1}, a), DropReason::kFiltered);
    returned(udp({"198.18.0.5", 1}, b), {Ip{"192.0.2.130"} + i, 1111});
  }
}

TEST_P(Policies, AnIdleMappingKeepsItsNatEndpointForStuntimeout) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, kEndpointIndependent);
  config.group().udp().session_timeout = 60s;
  config.group().udp().stun_timeout = 200s;
  start(config);
  const Endpoint nat = translated(udp(kClient, kServer));
  lab().advance(61s);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
  EXPECT_EQ(lab().mapping_count(Protocol::kUdp), 1u);
  // Another destination, and an unsolicited packet, find it.
  translated_to(udp(kClient, {"198.18.0.3", 99}), nat);
  lab().advance(61s);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
  returned(udp({"198.18.0.4", 5}, nat), kClient);
  lab().advance(61s);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
  lab().advance(198s);
  EXPECT_EQ(lab().mapping_count(Protocol::kUdp), 1u);
  lab().advance(2s);
  EXPECT_EQ(lab().mapping_count(Protocol::kUdp), 0u);
  EXPECT_EQ(lab().subscribers(), 0u);
  refused_from_outside(udp({"198.18.0.4", 5}, nat), DropReason::kNoMapping);
}

TEST_P(Policies, AddressDependentFilteringForgetsAnAddressWithItsLastSession) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, {.mapping = Dependence::kEndpointIndependent,
                                      .filtering = Dependence::kAddress});
  config.group().udp().session_timeout = 60s;
  start(config);
  const Endpoint nat = translated(udp(kClient, {"198.18.0.1", 1}));
  translated_to(udp(kClient, {"198.18.0.1", 2}), nat);
  lab().advance(40s);
  translated_to(udp(kClient, {"198.18.0.1", 2}), nat);  // only this one lives on
  lab().advance(40s);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 1u);
  returned(udp({"198.18.0.1", 3}, nat), kClient);
  lab().advance(70s);
  EXPECT_EQ(lab().session_count(Protocol::kUdp), 0u);
  refused_from_outside(udp({"198.18.0.1", 2}, nat), DropReason::kFiltered);
}

INSTANTIATE_TEST_SUITE_P(Sharded, Policies, shardings(), sharding_name);

}  // namespace
}  // namespace lsn::test
