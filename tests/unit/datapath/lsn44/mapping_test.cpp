// Which mapping a flow gets and whom it lets in (RFC 4787 sections 4.1 and 5), without packets.
#include "lsn/datapath/lsn44/mapping.hpp"

#include "unit/datapath/floors.hpp"

namespace lsn::datapath::lsn44 {
namespace {

using test::Config;

class MappingAdmission : public Floors {
 protected:
  std::expected<MappingId, DropReason> obtain(const AppPolicy& policy, const wire::Endpoint& remote,
                                              unsigned inside_port = 40000) {
    return obtain_mapping(shard(), group(), policy,
                          {subscriber(), Protocol::kUdp,
                           wire::Be16::of(static_cast<std::uint16_t>(inside_port)), remote});
  }
  static AppPolicy policy(Dependence mapping, Dependence filtering) {
    return {.pooling = Pooling::kPaired, .mapping = mapping, .filtering = filtering};
  }
  const Mapping& at(MappingId id) { return tables().mappings[id]; }
};

constexpr Dependence kEndpointIndependent = Dependence::kEndpointIndependent;
constexpr Dependence kAddress = Dependence::kAddress;
constexpr Dependence kAddressPort = Dependence::kAddressPort;

TEST_F(MappingAdmission, EndpointIndependentMapping_IsTheSameForEveryRemote) {
  start(Config::standard());
  const AppPolicy p = policy(kEndpointIndependent, kAddressPort);
  const auto first = obtain(p, endpoint("198.18.0.1", 53));
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(obtain(p, endpoint("198.18.0.1", 54)), first);
  EXPECT_EQ(obtain(p, endpoint("198.18.9.9", 53)), first);
  EXPECT_NE(obtain(p, endpoint("198.18.0.1", 53), 40001), first) << "another inside port";
}

TEST_F(MappingAdmission, AddressDependentMapping_IsTheSameForAllPortsOfOneRemote) {
  start(Config::standard());
  const AppPolicy p = policy(kAddress, kAddressPort);
  const auto first = obtain(p, endpoint("198.18.0.1", 53));
  EXPECT_EQ(obtain(p, endpoint("198.18.0.1", 54)), first);
  EXPECT_NE(obtain(p, endpoint("198.18.9.9", 53)), first);
}

TEST_F(MappingAdmission, AddressAndPortDependentMapping_IsEachRemotesOwn) {
  start(Config::standard());
  const AppPolicy p = policy(kAddressPort, kAddress);
  const auto first = obtain(p, endpoint("198.18.0.1", 53));
  EXPECT_EQ(obtain(p, endpoint("198.18.0.1", 53)), first);
  EXPECT_NE(obtain(p, endpoint("198.18.0.1", 54)), first);
}

TEST_F(MappingAdmission, EndpointIndependentFiltering_AdmitsEverybody) {
  start(Config::standard());
  const auto id =
      obtain(policy(kEndpointIndependent, kEndpointIndependent), endpoint("198.18.0.1", 53));
  EXPECT_TRUE(admits(shard(), at(*id), ip("198.18.0.1")));
  EXPECT_TRUE(admits(shard(), at(*id), ip("203.0.113.200")));
}

TEST_F(MappingAdmission, AddressDependentFiltering_AdmitsWhomASessionGoesTo) {
  start(Config::standard());
  const auto id = obtain(policy(kEndpointIndependent, kAddress), endpoint("198.18.0.1", 53));
  EXPECT_FALSE(admits(shard(), at(*id), ip("198.18.0.1"))) << "no session yet";
  ASSERT_TRUE(add_permission(shard(), at(*id), ip("198.18.0.1")));
  ASSERT_TRUE(add_permission(shard(), at(*id), ip("198.18.0.1")));
  EXPECT_TRUE(admits(shard(), at(*id), ip("198.18.0.1")));
  EXPECT_FALSE(admits(shard(), at(*id), ip("198.18.0.2")));
  remove_permission(shard(), at(*id), ip("198.18.0.1"));
  EXPECT_TRUE(admits(shard(), at(*id), ip("198.18.0.1"))) << "one of two sessions is left";
  remove_permission(shard(), at(*id), ip("198.18.0.1"));
  EXPECT_FALSE(admits(shard(), at(*id), ip("198.18.0.1")));
}

TEST_F(MappingAdmission, AddressAndPortDependentFiltering_AdmitsNobodyNew) {
  start(Config::standard());
  const auto id = obtain(policy(kEndpointIndependent, kAddressPort), endpoint("198.18.0.1", 53));
  EXPECT_FALSE(admits(shard(), at(*id), ip("198.18.0.1")));
}

TEST_F(MappingAdmission, IsFoundByItsNatEndpoint) {
  start(Config::standard());
  const auto id =
      obtain(policy(kEndpointIndependent, kEndpointIndependent), endpoint("198.18.0.1", 53));
  EXPECT_EQ(find_mapping(shard(), Protocol::kUdp, at(*id).nat_ip, at(*id).nat_port), *id);
  EXPECT_EQ(find_mapping(shard(), Protocol::kTcp, at(*id).nat_ip, at(*id).nat_port), state::kNone);
}

TEST_F(MappingAdmission, WithoutSessions_LivesForStuntimeoutAndGivesItsPortBack) {
  Config config = Config::standard();
  config.group().udp().stun_timeout = 30s;
  start(config);
  const auto id =
      obtain(policy(kEndpointIndependent, kEndpointIndependent), endpoint("198.18.0.1", 53));
  mapping_became_idle(shard(), *id);
  pass(29900ms);
  EXPECT_EQ(ports_taken(Protocol::kUdp), 1u);
  pass(200ms);
  EXPECT_EQ(ports_taken(Protocol::kUdp), 0u);
  EXPECT_EQ(tables().subscribers.size(), 0u) << "its subscriber had nothing else";
}

TEST_F(MappingAdmission, AReloadThatTightensFiltering_HoldsForWhatExists) {
  Config config = Config::standard();
  config.group().app(Protocol::kUdp, policy(kEndpointIndependent, kEndpointIndependent));
  start(config);
  const auto id = obtain(group().app(Protocol::kUdp, 53), endpoint("198.18.0.1", 53));
  config.group().apps.front().policy.filtering = kAddress;
  lab().publish(config);
  lab().adopt(0);
  ASSERT_TRUE(revalidate_mapping(shard(), *id));
  EXPECT_EQ(at(*id).filtering, kAddress);
  EXPECT_FALSE(admits(shard(), at(*id), ip("198.18.0.7")));
}

TEST_F(MappingAdmission, AReloadThatTakesItsPoolAway_MakesItVoid) {
  Config config = Config::standard();
  start(config);
  const auto id =
      obtain(policy(kEndpointIndependent, kEndpointIndependent), endpoint("198.18.0.1", 53));
  config.pool().addresses = {"203.0.113.100"};
  lab().publish(config);
  lab().adopt(0);
  EXPECT_FALSE(revalidate_mapping(shard(), *id));
}

}  // namespace
}  // namespace lsn::datapath::lsn44
