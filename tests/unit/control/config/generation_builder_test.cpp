#include "lsn/control/config/generation_builder.hpp"

#include <set>

#include "support.hpp"

namespace lsn::control {
namespace {

using shared::AppPolicy;
using shared::Dependence;
using shared::Generation;
using shared::Pooling;
using shared::Protocol;
using wire::Ipv4Address;

Ipv4Address address(const char* text) {
  return *wire::parse_ipv4(text);
}

const shared::Group* group(const Generation& g, std::string_view name) {
  for (const shared::Group& group : g.groups)
    if (group.name == name && group.present) return &group;
  return nullptr;
}

const shared::Pool* pool(const Generation& g, std::string_view name) {
  for (const shared::Pool& pool : g.pools)
    if (pool.name == name && pool.present) return &pool;
  return nullptr;
}

template <class Object>
std::ptrdiff_t id_of(const std::vector<Object>& objects, const Object* object) {
  return object == nullptr ? -1 : object - objects.data();
}

TEST(GenerationBuilder, PoliciesFollowTheMostSpecificPortRange) {
  const auto g = build_generation(good_model());
  const auto* g1 = group(*g, "G1");
  ASSERT_NE(g1, nullptr);
  EXPECT_EQ(g1->app(Protocol::kUdp, 500),
            (AppPolicy{Pooling::kPaired, Dependence::kAddressPort, Dependence::kAddressPort}));
  EXPECT_EQ(
      g1->app(Protocol::kUdp, 501),
      (AppPolicy{Pooling::kRandom, Dependence::kEndpointIndependent, Dependence::kAddressPort}));
  EXPECT_EQ(g1->app(Protocol::kTcp, 443).filtering, Dependence::kAddress);
  EXPECT_EQ(g1->app(Protocol::kTcp, 81), AppPolicy{});
  EXPECT_EQ(g1->app(Protocol::kIcmp, 7).pooling, Pooling::kPaired);
  const auto* g2 = group(*g, "G2");
  ASSERT_NE(g2, nullptr);
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp})
    EXPECT_EQ(g2->app(protocol, 500), AppPolicy{});
}

TEST(GenerationBuilder, AnOutsideLinksNetworkAndBroadcastAddressesAreNoNatAddresses) {
  Model model = good_model();
  for (InterfaceConfig& interface : model.interfaces)
    if (interface.role == shared::Side::kOutside) interface.address = {address("203.0.113.1"), 28};
  model.lsn.pool[0].lsnip = {{address("203.0.113.0"), address("203.0.113.0")},
                             {address("203.0.113.8"), address("203.0.113.31")}};
  const auto g = build_generation(model);
  for (const char* none : {"203.0.113.0", "203.0.113.15"})
    EXPECT_EQ(g->nat_addresses.find(address(none)), nullptr) << none;
  for (const char* some : {"203.0.113.8", "203.0.113.14", "203.0.113.16", "203.0.113.31"})
    EXPECT_NE(g->nat_addresses.find(address(some)), nullptr) << some;
  // On a link of two both are hosts (RFC 3021).
  for (InterfaceConfig& interface : model.interfaces)
    if (interface.role == shared::Side::kOutside) interface.address = {address("203.0.113.8"), 31};
  model.lsn.pool[0].lsnip = {{address("203.0.113.9"), address("203.0.113.10")}};
  EXPECT_NE(build_generation(model)->nat_addresses.find(address("203.0.113.9")), nullptr);
}

TEST(GenerationBuilder, TheGatewaysOfAllRoutesAreListedOnce) {
  Model model = good_model();
  model.routes.clear();
  std::size_t outside = 0;
  for (std::size_t i = 0; i < model.interfaces.size(); ++i)
    if (model.interfaces[i].role == shared::Side::kOutside) outside = i;
  model.interfaces[outside].address = {address("198.51.100.1"), 24};
  model.routes = {{{address("0.0.0.0"), 0}, address("198.51.100.20")},
                  {{address("10.0.0.0"), 8}, address("198.51.100.10")},
                  {{address("10.1.0.0"), 16}, address("198.51.100.20")}};
  const auto g = build_generation(model);
  ASSERT_EQ(g->gateways.size(), 2u);
  EXPECT_EQ(g->gateways[0].via, address("198.51.100.10"));
  EXPECT_EQ(g->gateways[1].via, address("198.51.100.20"));
  EXPECT_EQ(g->gateways[0].interface, outside);
}

TEST(GenerationBuilder, UnderAnAlgUdp4500FollowsThePoolingOfUdp500) {
  const auto with_alg = build_generation(good_model());
  EXPECT_EQ(
      group(*with_alg, "G1")->app(Protocol::kUdp, 4500),
      (AppPolicy{Pooling::kPaired, Dependence::kEndpointIndependent, Dependence::kAddressPort}))
      << "the pooling of 500, the rest of its own profile";
  EXPECT_EQ(group(*with_alg, "G1")->app(Protocol::kUdp, 4501).pooling, Pooling::kRandom);

  const auto without = build_generation(model_of(good_with("ipsecAlgProfile = \"ALG\";", "")));
  EXPECT_EQ(group(*without, "G1")->app(Protocol::kUdp, 4500).pooling, Pooling::kRandom);

  // Also against a profile for this very port.
  const auto exact = build_generation(
      model_of(with(good_with("name = \"IKE\";\n",
                              "name = \"NATT\"; transportprotocol = \"UDP\"; filtering = "
                              "\"ADDRESS-DEPENDENT\"; lsnport = \"4500\"; }, { name = \"IKE\";\n"),
                    "[ \"IKE\",", "[ \"NATT\", \"IKE\",")));
  EXPECT_EQ(group(*exact, "G1")->app(Protocol::kUdp, 4500),
            (AppPolicy{Pooling::kPaired, Dependence::kAddressPort, Dependence::kAddress}));
}

TEST(GenerationBuilder, AttributesHoldWithinThePortsThatTheirProfileDecidesAbout) {
  using std::chrono::seconds;
  Model model = good_model();
  // UDP-ALL has all ports but 500, which is IKE's.
  const auto udp = Protocol::kUdp;
  model.lsn.appsattributes = {{"ALL", udp, std::nullopt, Seconds{200}},
                              {"LOW", udp, PortRange{400, 600}, Seconds{20}},
                              {"DNS", udp, PortRange{53, 53}, Seconds{5}},
                              {"PING", Protocol::kIcmp, std::nullopt, Seconds{7}}};
  model.lsn.appsprofile[1].appsattributesname = {"ALL", "LOW", "DNS"};
  model.lsn.appsprofile[3].appsattributesname = {"PING"};
  ASSERT_TRUE(check_model(model).empty()) << to_string(check_model(model));
  const auto g = build_generation(model);
  const auto of = [&](std::uint16_t port) { return group(*g, "G1")->session_timeout(udp, port); };
  EXPECT_EQ(of(53), seconds{5});
  EXPECT_EQ(of(54), seconds{200});
  EXPECT_EQ(of(400), seconds{20});
  EXPECT_EQ(of(500), seconds{300}) << "IKE decides: the transport profile's";
  EXPECT_EQ(of(501), seconds{20});
  EXPECT_EQ(of(601), seconds{200});
  EXPECT_EQ(of(65535), seconds{200});
  EXPECT_EQ(of(0), seconds{300}) << "no profile covers it";
  EXPECT_EQ(group(*g, "G1")->session_timeout(Protocol::kIcmp, 0), seconds{7});
  EXPECT_EQ(group(*g, "G1")->session_timeout(Protocol::kTcp, 53), seconds{120});
  EXPECT_EQ(group(*g, "G2")->session_timeout(udp, 53), seconds{120});
  // A reload that gives a port another time has the timers armed again.
  model.lsn.appsattributes[2].sessiontimeout = Seconds{4};
  const auto next = build_generation(model, g.get());
  EXPECT_TRUE(group(*next, "G1")->shortened[udp]);
  EXPECT_FALSE(group(*next, "G1")->shortened[Protocol::kIcmp]);
  EXPECT_FALSE(group(*build_generation(model, next.get()), "G1")->shortened[udp]);
}

TEST(GenerationBuilder, TransportProfilesAndTheirDefaults) {
  using std::chrono::seconds;
  const auto g = build_generation(good_model());
  const auto& udp = group(*g, "G1")->transport[static_cast<std::size_t>(Protocol::kUdp)];
  EXPECT_EQ(udp.session_timeout, seconds{300});
  EXPECT_EQ(udp.port_quota, 1000U);
  EXPECT_TRUE(udp.syn_check);
  EXPECT_FALSE(group(*g, "G1")->transport[static_cast<std::size_t>(Protocol::kTcp)].syn_check);
  const auto& other = group(*g, "G2")->transport[static_cast<std::size_t>(Protocol::kTcp)];
  EXPECT_EQ(other.session_timeout, seconds{120});
  EXPECT_EQ(other.fin_rst_timeout, seconds{30});
  EXPECT_EQ(other.stun_timeout, seconds{600});
  EXPECT_EQ(other.syn_idle_timeout, seconds{60});
  EXPECT_EQ(other.group_session_limit, 0U);
  EXPECT_TRUE(other.syn_check);
}

TEST(GenerationBuilder, AnMssOfAnInterfaceOrAProfileIsNoted) {
  Model model = good_model();
  EXPECT_FALSE(build_generation(model)->clamps_mss);
  model.interfaces[1].tcp_mss = 1400;
  const auto at_interface = build_generation(model);
  EXPECT_TRUE(at_interface->clamps_mss);
  EXPECT_EQ(at_interface->interfaces[1].tcp_mss, 1400);
  model.interfaces[1].tcp_mss = 0;
  model.lsn.appsprofile[2].tcp_mss = 1300;
  const auto in_profile = build_generation(model);
  EXPECT_TRUE(in_profile->clamps_mss);
  EXPECT_EQ(group(*in_profile, "G1")->app(Protocol::kTcp, 443).tcp_mss, 1300);
  EXPECT_EQ(group(*in_profile, "G1")->app(Protocol::kTcp, 444).tcp_mss, 0);
}

TEST(GenerationBuilder, AddressesThatDrainAreNobodysChoice) {
  Model model = good_model();
  const auto before = build_generation(model);
  model.lsn.pool[0].drain = {{address("203.0.113.2"), address("203.0.113.4")}};
  const auto g = build_generation(model, before.get());
  const auto* g1 = group(*g, "G1");
  std::size_t usable = 0, draining = 0;
  for (std::size_t shard = 0; shard < 2; ++shard) {
    usable += g1->addresses_of[shard].size();
    draining += g1->draining_of[shard].size();
    for (const auto a : g1->draining_of[shard]) EXPECT_TRUE(pool(*g, "P1")->drains(a));
    for (const auto a : g1->addresses_of[shard]) EXPECT_FALSE(pool(*g, "P1")->drains(a));
  }
  EXPECT_EQ(usable, 7U);
  EXPECT_EQ(draining, 3U);
  EXPECT_NE(g->nat_addresses.find(address("203.0.113.3")), nullptr) << "it is the NAT's";
  EXPECT_EQ(g->nat_addresses.find(address("203.0.113.3"))->owner,
            before->nat_addresses.find(address("203.0.113.3"))->owner);
}

TEST(GenerationBuilder, ARateAndAReserveOfATransportProfile) {
  Model model = good_model();
  model.lsn.transportprofile[0].session_rate = 10;
  model.lsn.transportprofile[0].port_reserve = 20;
  model.lsn.transportprofile[0].reserved_for = {{53, 53}, {500, 600}};
  model.lsn.transportprofile[1].session_rate = 10;
  model.lsn.transportprofile[1].session_burst = 200;
  const auto g = build_generation(model);
  const auto& udp = group(*g, "G1")->transport[Protocol::kUdp];
  EXPECT_EQ(udp.session_rate, 10U);
  EXPECT_EQ(udp.session_burst, 10U) << "as many as a second brings";
  EXPECT_EQ(udp.port_quota_for(53), 1000U);
  EXPECT_EQ(udp.port_quota_for(54), 980U);
  EXPECT_EQ(udp.port_quota_for(600), 1000U);
  EXPECT_EQ(group(*g, "G1")->transport[Protocol::kTcp].session_burst, 200U);
  EXPECT_EQ(group(*g, "G2")->transport[Protocol::kUdp].session_rate, 0U);
}

TEST(GenerationBuilder, AnAlgProfileIsCarriedOver) {
  const auto g = build_generation(good_model());
  const auto* g1 = group(*g, "G1");
  ASSERT_LT(g1->alg_profile, g->alg_profiles.size());
  const auto& alg = g->alg_profiles[g1->alg_profile];
  EXPECT_EQ(alg.name, "ALG");
  EXPECT_TRUE(alg.present);
  EXPECT_EQ(alg.id, g1->alg_profile);
  EXPECT_EQ(alg.ike_session_timeout, std::chrono::minutes{45});
  EXPECT_EQ(alg.gate_timeout, std::chrono::seconds{20});
  EXPECT_EQ(alg.phase2_hold, 64U);
  EXPECT_TRUE(alg.server_spread);
  EXPECT_EQ(group(*g, "G2")->alg_profile, shared::kNoId);
}

TEST(GenerationBuilder, AddressesAreDealtToTheWorkers) {
  const auto g = build_generation(good_model());
  const auto* p1 = pool(*g, "P1");
  ASSERT_NE(p1, nullptr);
  ASSERT_EQ(p1->addresses_of.size(), 2U);
  EXPECT_EQ(p1->addresses_of[0].size(), 5U);
  EXPECT_EQ(p1->addresses_of[1].size(), 5U);
  EXPECT_EQ(g->nat_addresses.count(), 27U);
  for (unsigned shard = 0; shard < 2; ++shard)
    for (const Ipv4Address a : p1->addresses_of[shard]) {
      ASSERT_NE(g->nat_addresses.find(a), nullptr);
      EXPECT_EQ(g->nat_addresses.find(a)->owner, shard);
      EXPECT_EQ(g->nat_addresses.find(a)->pool, id_of(g->pools, p1));
    }
  EXPECT_EQ(group(*g, "G1")->addresses_of, p1->addresses_of);
  EXPECT_EQ(g->maps[0]->shards_of(static_cast<std::uint16_t>(id_of(g->groups, group(*g, "G1")))),
            3U);
}

TEST(GenerationBuilder, SubscribersBelongToTheirClientsGroup) {
  const auto g = build_generation(good_model());
  const auto group_at = [&](const char* source) {
    const auto* id = g->maps[0]->group_of({address(source)});
    return id == nullptr ? std::string("none") : g->groups[*id].name;
  };
  EXPECT_EQ(group_at("192.0.2.77"), "G1");
  EXPECT_EQ(group_at("10.0.255.255"), "G1");
  EXPECT_EQ(group_at("10.1.0.0"), "G2");
  EXPECT_EQ(group_at("10.2.0.0"), "none");
  EXPECT_EQ(group(*g, "G2")->client, "C2");
}

TEST(GenerationBuilder, RoutesAreConnectedNetworksAndThoseOfTheFile) {
  const std::string more = "prefix = \"0.0.0.0/0\";\n    via = \"198.51.100.10\";\n  }";
  const auto g = build_generation(
      model_of(good_with(more, more + ", { prefix = \"10.0.0.0/8\"; via = \"192.0.2.2\"; }")));
  const auto route = [&](const char* to) { return *g->routes[0].find(address(to).value); };
  EXPECT_EQ(route("192.0.2.55"), (shared::Route{0, Ipv4Address{}, 24}));
  EXPECT_EQ(route("198.51.100.10"), (shared::Route{1, Ipv4Address{}, 24}));
  EXPECT_EQ(route("8.8.8.8"), (shared::Route{1, address("198.51.100.10"), 0}));
  EXPECT_EQ(route("10.9.9.9"), (shared::Route{0, address("192.0.2.2"), 8}));
  EXPECT_TRUE(g->route_groups.empty());
  EXPECT_EQ(g->gateways.size(), 2U);
}

TEST(GenerationBuilder, RoutesOfAPrefixAreItsWays) {
  const std::string more = "prefix = \"0.0.0.0/0\";\n    via = \"198.51.100.10\";\n  }";
  const auto g = build_generation(model_of(good_with(
      more, more + ", { prefix = \"0.0.0.0/0\"; via = \"198.51.100.9\"; weight = 7; }"
                   ", { prefix = \"0.0.0.0/0\"; via = \"198.51.100.8\"; backup = true; "
                   "track = \"NONE\"; }, { prefix = \"10.0.0.0/8\"; via = \"192.0.2.2\"; }")));
  const shared::Route& route = *g->routes[0].find(address("8.8.8.8").value);
  ASSERT_EQ(g->route_groups.size(), 1U);
  ASSERT_EQ(route.group, 0U);
  const auto ways = g->route_groups[0].all();
  ASSERT_EQ(ways.size(), 3U);
  EXPECT_EQ(ways[0], (shared::RouteHop{1, 1, address("198.51.100.8"), true, false}));
  EXPECT_EQ(ways[1], (shared::RouteHop{1, 7, address("198.51.100.9"), false, true}));
  EXPECT_EQ(ways[2], (shared::RouteHop{1, 1, address("198.51.100.10"), false, true}));
  EXPECT_EQ(g->routes[0].find(address("10.1.1.1").value)->group, shared::Route::kOneWay);
  EXPECT_EQ(g->gateways.size(), 4U);
}

TEST(GenerationBuilder, InterfacesOfOneDeviceShareItsNumber) {
  const auto g = build_generation(model_of(good_with(
      "mtu = 1400;\n  }",
      "mtu = 1400;\n  }, { name = \"in2\"; role = \"inside\"; device = \"net_tap0,iface=t0\"; "
      "vlan = 7; address = \"192.0.3.1/24\"; }")));
  ASSERT_EQ(g->interfaces.size(), 3U);
  EXPECT_EQ(g->interfaces[0].device, 0);
  EXPECT_EQ(g->interfaces[1].device, 1);
  EXPECT_EQ(g->interfaces[2].device, 0);
  EXPECT_EQ(g->interfaces[2].vlan, 7);
  EXPECT_EQ(g->interfaces[1].mtu, 1400);
  EXPECT_EQ(g->interfaces[1].side, shared::Side::kOutside);
  EXPECT_EQ(g->interfaces[1].address.address, address("198.51.100.1"));
}

TEST(GenerationBuilder, SettingsOfTheDataplaneAreCarriedOver) {
  Model model = good_model();
  model.dataplane.inbound_refresh = false;
  model.dataplane.unreachable = {1, 7};
  const auto g = build_generation(model);
  EXPECT_FALSE(g->inbound_refresh);
  EXPECT_EQ(g->unreachable_code, 1);
  EXPECT_EQ(g->unreachable_rate, 7U);
  EXPECT_EQ(g->max_fragments, 100U);
  EXPECT_EQ(g->fragment_timeout, std::chrono::seconds{3});
}

// Reloads -----------------------------------------------------------------------------------------

TEST(Reload, IdsStayWithTheirNames) {
  const Model first = good_model();
  const auto g1 = build_generation(first);
  EXPECT_EQ(g1->number, 1U);

  Model second = first;  // G1, P1 and their client go; new ones come, in front
  second.lsn.group.erase(second.lsn.group.begin());
  GroupConfig fresh;
  fresh.name = "NEW";
  fresh.clientname = "C1";
  fresh.poolname = {"PNEW"};
  second.lsn.group.insert(second.lsn.group.begin(), fresh);
  second.lsn.pool.erase(second.lsn.pool.begin());
  PoolConfig fresh_pool;
  fresh_pool.name = "PNEW";
  fresh_pool.lsnip = {{address("203.0.113.200"), address("203.0.113.203")}};
  second.lsn.pool.insert(second.lsn.pool.begin(), fresh_pool);
  second.ipsecalg.profile.clear();
  const auto g2 = build_generation(second, g1.get());
  EXPECT_EQ(g2->number, 2U);
  EXPECT_EQ(id_of(g2->groups, group(*g2, "G2")), id_of(g1->groups, group(*g1, "G2")));
  EXPECT_EQ(id_of(g2->pools, pool(*g2, "P2")), id_of(g1->pools, pool(*g1, "P2")));
  EXPECT_EQ(id_of(g2->groups, group(*g2, "NEW")), 2);
  const auto old = static_cast<std::uint16_t>(id_of(g1->groups, group(*g1, "G1")));
  EXPECT_EQ(g2->group(old), nullptr);
  EXPECT_EQ(group(*g2, "G1"), nullptr);
  EXPECT_FALSE(g2->alg_profiles.at(0).present);
  EXPECT_TRUE(g2->pools.at(0).ranges.empty());
  EXPECT_EQ(g2->nat_addresses.find(address("203.0.113.1")), nullptr);

  const auto g3 = build_generation(first, g2.get());  // and back
  EXPECT_EQ(id_of(g3->groups, group(*g3, "G1")), old);
  EXPECT_EQ(group(*g3, "G1")->usage, group(*g1, "G1")->usage) << "its sessions are still counted";
  EXPECT_EQ(g3->groups.size(), 3U);
  EXPECT_TRUE(g3->alg_profiles.at(0).present);
}

TEST(Reload, UsageBelongsToTheGroupsName) {
  const auto g1 = build_generation(good_model());
  const auto g2 = build_generation(good_model(), g1.get());
  EXPECT_EQ(group(*g1, "G1")->usage, group(*g2, "G1")->usage);
  EXPECT_NE(group(*g1, "G1")->usage, group(*g1, "G2")->usage);
}

TEST(Reload, NoAddressMoves) {
  const Model first = good_model();
  const auto g1 = build_generation(first);
  Model second = first;
  second.lsn.pool[0].lsnip = {{address("203.0.113.4"), address("203.0.113.15")}};
  const auto g2 = build_generation(second, g1.get());
  for (std::uint32_t a = address("203.0.113.4").value; a <= address("203.0.113.9").value; ++a)
    EXPECT_EQ(g1->nat_addresses.find(Ipv4Address{a})->owner,
              g2->nat_addresses.find(Ipv4Address{a})->owner);
  const auto& dealt = pool(*g2, "P1")->addresses_of;
  EXPECT_EQ(dealt[0].size(), 6U);
  EXPECT_EQ(dealt[1].size(), 6U);
}

TEST(Reload, TheFormerMapStaysWhereOwnersChange) {
  const Model first = good_model();
  const auto g1 = build_generation(first);
  ASSERT_EQ(g1->maps.size(), 1U);
  const auto g2 = build_generation(first, g1.get());
  EXPECT_EQ(g2->maps.size(), 1U) << "nothing changed";

  Model other = first;
  other.lsn.pool[0].lsnip = {{address("203.0.113.0"), address("203.0.113.0")}};
  const auto g3 = build_generation(other, g2.get());
  ASSERT_EQ(g3->maps.size(), 2U) << "G1 has addresses on one shard now";
  EXPECT_EQ(g3->maps[1], g2->maps[0]);
  EXPECT_EQ(g3->maps[0]->owner_of({address("192.0.2.5")}), 0);

  auto last = g3;
  for (int i = 0; i < 20; ++i) last = build_generation(i % 2 == 0 ? first : other, last.get());
  ASSERT_EQ(last->maps.size(), 2U) << "the one before, and none of earlier times";
  EXPECT_EQ(last->maps[1]->owner_of({address("192.0.2.5")}),
            g1->maps[0]->owner_of({address("192.0.2.5")}));
  EXPECT_EQ(last->displaced, g1->displaced) << "who is displaced is known for as long as lsnd runs";
  EXPECT_NE(last->displaced, nullptr);
}

TEST(Reload, SaysOfEachGroupAndProtocolWhetherATimeoutIsShorterThanBefore) {
  Model first = good_model();
  first.lsn.transportprofile = {{.name = "T", .transportprotocol = shared::Protocol::kUdp}};
  for (auto& each : first.lsn.group) each.transportprofilename = {"T"};
  const auto shortened = [](const Generation& generation, const Model& model) {
    return group(generation, model.lsn.group[0].name.c_str())->shortened;
  };
  const auto g1 = build_generation(first);
  using Shortened = std::array<bool, shared::kPortProtocols>;
  constexpr Shortened kNone{}, kUdp{false, true, false};
  EXPECT_EQ(shortened(*g1, first), kNone);
  const auto after = [&](auto&& change) {
    Model second = first;
    change(second.lsn.transportprofile[0]);
    const auto g2 = build_generation(second, g1.get());
    const auto same = build_generation(second, g2.get());
    EXPECT_EQ(shortened(*same, second), kNone) << "that was a reload ago";
    return shortened(*g2, second);
  };
  EXPECT_EQ(after([](auto& t) { t.sessiontimeout = Seconds{119}; }), kUdp);
  EXPECT_EQ(after([](auto& t) { t.sessiontimeout = Seconds{121}; }), kNone);
  EXPECT_EQ(after([](auto& t) { t.finrsttimeout = Seconds{29}; }), kUdp);
  EXPECT_EQ(after([](auto& t) { t.stuntimeout = Seconds{120}; }), kUdp);
  EXPECT_EQ(after([](auto& t) { t.synidletimeout = Seconds{30}; }), kUdp);
}

TEST(Reload, InterfacesKeepTheirNumbersWhateverTheOrderInTheFile) {
  const Model first = good_model();
  const auto g1 = build_generation(first);
  Model second = first;
  std::swap(second.interfaces[0], second.interfaces[1]);
  const auto g2 = build_generation(second, g1.get());
  EXPECT_EQ(g2->interfaces, g1->interfaces);
  EXPECT_EQ(g2->routes[0].find(address("8.8.8.8").value)->interface, 1);
}

TEST(Reload, IdsThatRanOutAreTakenFromTheLongestGone) {
  // 16-bit ids: names that come and go must not run out of them.
  Generation before;
  before.pools.resize(shared::kNoId);
  for (std::size_t i = 0; i < before.pools.size(); ++i)
    before.pools[i].name = "OLD" + std::to_string(i);
  before.pools[0].present = true;
  const auto g = build_generation(good_model(), &before);
  EXPECT_EQ(g->pools.size(), shared::kNoId);
  EXPECT_EQ(id_of(g->pools, pool(*g, "P1")), 1) << "0 was in use until now";
  EXPECT_EQ(id_of(g->pools, pool(*g, "P2")), 2);
}

}  // namespace
}  // namespace lsn::control
