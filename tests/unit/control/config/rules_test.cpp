// What several settings have to agree on.
#include <fmt/format.h>

#include "lsn/control/config/validate.hpp"
#include "support.hpp"

namespace lsn::control {
namespace {

using testing::HasSubstr;

/// The problems of the good text with several replacements.
std::vector<Problem> problems_after(
    const std::vector<std::pair<std::string_view, std::string_view>>& changes) {
  std::string text(kGoodText);
  for (const auto& [from, to] : changes) text = with(text, from, to);
  return problems_of(text);
}

constexpr std::string_view kGroup2 = "poolname = [ \"P2\" ];";
std::string group2(const std::string& settings) {
  return std::string(kGroup2) + settings;
}

// Names and references ----------------------------------------------------------------------------

TEST(Rules, NamesAreUniqueWithinAKindOnly) {
  const auto twice = problems_after({{"name = \"WEB\"", "name  = \"PING\""}});
  ASSERT_FALSE(twice.empty());
  EXPECT_THAT(to_string(twice), HasSubstr("appsprofile PING: name: given it a second time"));
  expect_refused("name = \"out\"", "name  =  \"in\"", {"one interface of a name"});
  // A pool may be called as a client is.
  EXPECT_TRUE(problems_after({{"name = \"P1\"", "name = \"C1\""},
                              {"poolname = [ \"P1\" ]", "poolname = [ \"C1\" ]"}})
                  .empty());
}

TEST(Rules, NamesFollowTheRules) {
  expect_refused("name = \"out\"", "name = \"-out\"", {"a letter, a digit or _"});
  expect_refused("name = \"out\"", "name = \"\"", {"1-127 characters"});
  const std::string alg(33, 'a');
  const auto problems =
      problems_after({{"name = \"ALG\"", "name = \"" + alg + "\""},
                      {"ipsecAlgProfile = \"ALG\"", "ipsecAlgProfile = \"" + alg + "\""}});
  ASSERT_EQ(problems.size(), 1U) << to_string(problems);
  EXPECT_THAT(problems[0].text, HasSubstr("1-32 characters"));
}

TEST(Rules, WhatAGroupNamesExists) {
  expect_refused("clientname = \"C2\"", "clientname = \"C7\"",
                 {"group G2: clientname", "\"C7\"", "did you mean", "existing client"});
  expect_refused("poolname = [ \"P2\" ]", "poolname = [ \"P2\", \"NO-SUCH-POOL\" ]",
                 {"given \"NO-SUCH-POOL\"", "existing pool"});
  expect_refused("\"WEB\", \"PING\" ]", "\"WEB\", \"PONG\" ]", {"existing appsprofile"});
  expect_refused("\"T-UDP\", \"T-TCP\"", "\"T-UDP\", \"T-ICMP\"", {"existing transportprofile"});
  expect_refused("ipsecAlgProfile = \"ALG\"", "ipsecAlgProfile = \"XYZZY\"",
                 {"given \"XYZZY\"", "existing ipsecalg profile"});
}

TEST(Rules, AnObjectIsBoundOnce) {
  expect_refused("poolname = [ \"P2\" ]", "poolname = [ \"P2\", \"P2\" ]", {"a second time"});
  expect_refused("\"T-UDP\", \"T-TCP\"", "\"T-UDP\", \"T-UDP\"", {"a second time"});
}

TEST(Rules, AClientBelongsToOneGroup) {
  expect_refused("clientname = \"C2\"", "clientname  = \"C1\"",
                 {"group G2: clientname", "it is in group G1"});
}

TEST(Rules, AGroupHasAtMost16Pools) {
  std::string pools;
  std::string names;
  for (int i = 1; i <= 16; ++i) {
    pools += fmt::format(", {{ name = \"X{}\"; }}", i);
    names += fmt::format(", \"X{}\"", i);
  }
  const std::string text =
      good_with("\"203.0.113.20\" ];\n    }", "\"203.0.113.20\" ];\n    }" + pools);
  expect_problem(with(text, "[ \"P2\" ]", "[ \"P2\"" + names + " ]"), "poolname = [ \"P2\"",
                 {"17 pools", "16 at most"});
  EXPECT_TRUE(problems_of(with(text, "[ \"P2\" ]", fmt::format("[{} ]", names.substr(1)))).empty());
}

// Addresses ---------------------------------------------------------------------------------------

TEST(Rules, NetworksOfDifferentClientsDoNotOverlap) {
  expect_refused("[ \"10.1.0.0/16\" ]", "[ \"10.0.7.0/24\" ]",
                 {"client C2: network", "given 10.0.7.0/24", "10.0.0.0/16 of client C1"});
  expect_refused("[ \"10.1.0.0/16\" ]", "[ \"10.1.0.0/16\", \"192.0.2.7\" ]",
                 {"192.0.2.7", "192.0.2.0/24 of client C1"});
  expect_accepted("[ \"10.1.0.0/16\" ]", "[ \"10.1.0.0/16\", \"192.0.3.0\" ]");
  // The wider one begins first, another of its own client lies between.
  const auto wide = problems_after({{"\"10.0.0.0/16\" ]", "\"10.0.0.0/8\", \"10.0.0.0/24\" ]"}});
  ASSERT_EQ(wide.size(), 1U) << to_string(wide);
  EXPECT_THAT(wide[0].text, HasSubstr("client C2: network: given 10.1.0.0/16"));
  EXPECT_THAT(wide[0].text, HasSubstr("10.0.0.0/8 of client C1"));
}

TEST(Rules, NetworksOfOneClientMayOverlap) {
  expect_accepted("[ \"10.1.0.0/16\" ]", "[ \"10.1.0.0/16\", \"10.1.7.0/24\", \"10.1.7.0/24\" ]");
}

TEST(Rules, AnAddressIsInOnePoolOnce) {
  expect_refused("\"203.0.113.20\"", "\"203.0.113.9\"",
                 {"pool P2: lsnip", "given 203.0.113.9", "203.0.113.0-203.0.113.9 of pool P1"});
  expect_refused("\"203.0.113.20\"", "\"203.0.113.140-203.0.113.150\"",
                 {"pool P2", "203.0.113.128-203.0.113.143"});
  expect_accepted("\"203.0.113.20\"", "\"203.0.113.10\"");
}

/// With so many more interfaces inside: each of a VLAN of its own, on so many devices.
std::string with_interfaces(int count, int devices = 1) {
  std::string more;
  for (int i = 0; i < count; ++i)
    more += fmt::format(
        ", {{ name = \"v{0}\"; role = \"inside\"; device = \"net_tap{1},iface=v{1}\"; "
        "vlan = {2}; address = \"172.{3}.{4}.1/28\"; }}",
        i, 10 + i % devices, 1 + i / devices, 16 + i / 256, i % 256);
  const std::string last = "mtu = 1400;\n  }";
  return good_with(last, last + more);
}

TEST(Rules, ThereAreAtMost4096Interfaces) {
  EXPECT_TRUE(problems_of(with_interfaces(1024)).empty());
  EXPECT_TRUE(problems_of(with_interfaces(4094)).empty());
  const auto problems = problems_of(with_interfaces(4095, 2));
  ASSERT_EQ(problems.size(), 1U) << to_string(problems);
  EXPECT_THAT(problems[0].text, HasSubstr("interfaces: given 4097, allowed 4096 at most"));
}

TEST(Rules, InterfacesLieOnAtMost32Devices) {
  EXPECT_TRUE(problems_of(with_interfaces(60, 30)).empty());
  const auto problems = problems_of(with_interfaces(60, 31));
  ASSERT_EQ(problems.size(), 1U) << to_string(problems);
  EXPECT_THAT(problems[0].text, HasSubstr("given 33 devices, allowed 32 devices at most"));
}

TEST(Rules, APoolHasAtMost4096Addresses) {
  expect_accepted("\"203.0.113.128/28\", \"203.0.113.20\"", "\"100.64.0.0/20\"");
  expect_refused("\"203.0.113.128/28\", \"203.0.113.20\"", "\"100.64.0.0/20\", \"203.0.113.20\"",
                 {"pool P2: lsnip", "given 4097 addresses", "4096 at most"});
  expect_refused("\"203.0.113.128/28\", \"203.0.113.20\"", "\"128.0.0.0/2\"",
                 {"1073741824 addresses"});
}

TEST(Rules, AnAddressIsNotASubscribersAndANatAddress) {
  expect_refused("\"203.0.113.20\"", "\"10.1.0.0-10.1.0.3\"",
                 {"pool P2: lsnip", "client C2 has 10.1.0.0/16"});
  const auto inside = problems_after({{"[ \"10.1.0.0/16\" ]", "[ \"203.0.113.20\" ]"}});
  EXPECT_THAT(to_string(inside), HasSubstr("client C2 has 203.0.113.20/32"));
}

TEST(Rules, AnInterfaceAddressIsInNoPool) {
  const auto problems = problems_after({{"\"203.0.113.20\"", "\"198.51.100.1\""}});
  ASSERT_EQ(problems.size(), 1U) << to_string(problems);
  EXPECT_THAT(problems[0].text, HasSubstr("interface out: address"));
  EXPECT_THAT(problems[0].text, HasSubstr("pool P2"));
  // In the network of the outside interface pool addresses are usual.
  expect_accepted("\"203.0.113.20\"", "\"198.51.100.200\"");
}

// Interfaces and routes -------------------------------------------------------------------------

TEST(Rules, ThereIsAnInterfaceOfEachRole) {
  const auto problems = problems_after({{"role = \"inside\"", "role = \"outside\""}});
  ASSERT_EQ(problems.size(), 1U) << to_string(problems);
  EXPECT_THAT(problems[0].text, HasSubstr("none has role \"inside\""));
  EXPECT_THAT(to_string(problems_of("")), HasSubstr("none has role \"outside\""));
}

TEST(Rules, NetworksOfInterfacesDoNotOverlap) {
  const auto problems =
      problems_after({{"address = \"192.0.2.1/24\"", "address = \"198.51.100.65/26\""}});
  ASSERT_EQ(problems.size(), 1U) << to_string(problems);
  EXPECT_THAT(problems[0].text, HasSubstr("interface out: address"));
  EXPECT_THAT(problems[0].text, HasSubstr("198.51.100.65/26 of interface in"));
}

TEST(Rules, SeveralVlansShareADevice) {
  constexpr std::string_view kThird = R"(,
  { name = "in2"; role = "inside"; device = "net_tap0,iface=t0"; address = "192.0.3.1/24";)";
  const auto third = [&](const std::string& more) {
    return good_with("mtu = 1400;\n  }", "mtu = 1400;\n  }" + std::string(kThird) + more + " }");
  };
  EXPECT_TRUE(problems_of(third("vlan = 7;")).empty()) << "beside the untagged one";
  expect_problem(third(""), "name = \"in2\"",
                 {"interface in2: device", "other than those of interface in"});
  const std::string both = with(third("vlan = 7;"), "name = \"in\";", "name = \"in\"; vlan = 7;");
  expect_problem(both, "name = \"in2\"", {"interface in2: vlan: given 7"});
  EXPECT_TRUE(
      problems_of(with(both, "name = \"in\"; vlan = 7", "name = \"in\"; vlan = 8")).empty());
  expect_problem(third("vlan = 7; rxQueueSize = 512;"), "name = \"in2\"",
                 {"rxQueueSize: given 512", "1024 as of interface in"});
  expect_problem(third("vlan = 7; txQueueSize = 512;"), "name = \"in2\"", {"txQueueSize"});
  expect_problem(third("vlan = 7; mac = \"02:00:00:00:00:01\";"), "name = \"in2\"", {"mac"});
  EXPECT_TRUE(problems_of(third("vlan = 7; mtu = 1300;")).empty());
}

TEST(Rules, ADeviceHasOneSetOfArguments) {
  expect_refused("device = \"0000:03:00.0\"", "device = \"net_tap0,iface=t1\"",
                 {"interface out: device", "the same arguments as interface in"});
}

TEST(Rules, ARouteGoesToANeighbour) {
  expect_refused("via = \"198.51.100.10\"", "via = \"198.51.101.10\"",
                 {"route 0.0.0.0/0: via", "given 198.51.101.10", "in the network of an interface"});
  expect_refused("via = \"198.51.100.10\"", "via = \"198.51.100.1\"", {"that of interface out"});
  expect_refused("via = \"198.51.100.10\"", "via = \"198.51.100.255\"", {"a host's address"});
  expect_accepted("via = \"198.51.100.10\"", "via = \"192.0.2.99\"");
  const auto pool = problems_after({{"\"203.0.113.20\"", "\"198.51.100.10\""}});
  ASSERT_EQ(pool.size(), 1U) << to_string(pool);
  EXPECT_THAT(pool[0].text, HasSubstr("a NAT address of pool P2"));
}

TEST(Rules, RoutesOfAPrefixAreWaysToOneSide) {
  const std::string_view end = "via = \"198.51.100.10\";\n  }";
  const auto with_routes = [&](const std::string& more) {
    return problems_after({{end, std::string(end) + more}});
  };
  EXPECT_TRUE(with_routes(", { prefix = \"0.0.0.0/0\"; via = \"198.51.100.9\"; weight = 256; },"
                          "{ prefix = \"0.0.0.0/0\"; via = \"198.51.100.8\"; backup = true; }")
                  .empty());
  auto problems = with_routes(", { prefix = \"0.0.0.0/0\"; via = \"198.51.100.10\"; }");
  ASSERT_EQ(problems.size(), 1U) << to_string(problems);
  EXPECT_THAT(problems[0].text,
              AllOf(HasSubstr("route 0.0.0.0/0: via"), HasSubstr("another neighbour")));
  problems = with_routes(", { prefix = \"0.0.0.0/0\"; via = \"192.0.2.9\"; }");
  ASSERT_EQ(problems.size(), 1U) << to_string(problems);
  EXPECT_THAT(problems[0].text, HasSubstr("one route for a prefix"));
  std::string many;
  for (unsigned i = 0; i < 16; ++i)
    many += fmt::format(", {{ prefix = \"0.0.0.0/0\"; via = \"198.51.100.{}\"; }}", 100 + i);
  problems = with_routes(many);
  ASSERT_EQ(problems.size(), 1U) << to_string(problems);
  EXPECT_THAT(problems[0].text, HasSubstr("16 routes of a prefix at most"));
  expect_refused(end, "via = \"198.51.100.10\"; weight = 257; }", {"weight", "1-256"});
  expect_refused(end, "via = \"198.51.100.10\"; track = \"bfd\"; }", {"track", "ARP or NONE"});
}

TEST(Rules, RoutesFromTheKernelNeedAKernelInterface) {
  expect_refused("lsn: {", "routing: { kernelRoutes = true; };\nlsn: {",
                 {"routing: kernelRoutes", "an interface that has kernel"});
}

TEST(Rules, AnInterfaceWithoutAnAddressMakesNoRouteWrong) {
  expect_refused("address = \"198.51.100.1/24\"", "address = \"198.51.100.1/240\"", {"A.B.C.D/L"});
}

TEST(Rules, ThereIsOneRouteForAPrefix) {
  const std::string more = "prefix = \"0.0.0.0/0\";\n    via = \"198.51.100.10\";\n  }";
  expect_problem(good_with(more, more + ",\n  { prefix =  \"0.0.0.0/0\"; via = \"192.0.2.2\"; }"),
                 "prefix =  \"0.0.0.0/0\"", {"one route for a prefix"});
  expect_problem(
      good_with(more, more + ",\n  { prefix = \"192.0.2.0/24\"; via = \"198.51.100.9\"; }"),
      "prefix = \"192.0.2.0/24\"", {"the network of interface in"});
  EXPECT_TRUE(problems_of(good_with(more, more + ",\n  { prefix = \"192.0.2.0/25\"; via = "
                                                 "\"198.51.100.9\"; }"))
                  .empty());
}

TEST(Rules, WorkersAreDistinctAndAtMost64) {
  expect_refused("workers = [ 1, 2 ]", "workers = [ 1, 2, 1 ]", {"CPU 1 a second time"});
  expect_refused("workers = [ 1, 2 ]", "workers = [ ]", {"given 0 CPUs", "1-64"});
  std::string many = "workers = [ 0";
  for (int i = 1; i < 64; ++i) many += fmt::format(", {}", i);
  expect_accepted("workers = [ 1, 2 ]", many + " ]");
  expect_refused("workers = [ 1, 2 ]", many + ", 64 ]", {"given 65 CPUs"});
}

// Profiles ----------------------------------------------------------------------------------------

TEST(Rules, AWorkersShareOfEachTableIsBounded) {
  expect_refused("maxSessions = 65536", "maxSessions = 134217729",
                 {"dataplane.maxSessions: given 134217729 with 2 workers",
                  "67108864 at most for each worker"});
  EXPECT_TRUE(problems_after({{"maxSessions = 65536", "maxSessions = 268435456"},
                              {"workers = [ 1, 2 ]", "workers = [ 1, 2, 3, 4 ]"}})
                  .empty());
  for (const char* table : {"maxIkeSessions", "maxEspSessions", "maxGates"})
    expect_refused("fragments: { max = 100",
                   std::string("alg: { ") + table + " = 134217729; };  fragments: { max = 100",
                   {std::string("dataplane.alg.") + table});
}

TEST(Rules, EquallyWideRangesThatOverlapInAGroupAreAnError) {
  const auto two = [&](const std::string& a, const std::string& b, const char* protocol) {
    return with(good_with("name = \"IKE\";\n",
                          "name = \"X\"; transportprotocol = \"UDP\"; lsnport = \"" + a +
                              "\"; }, { name = \"Y\"; transportprotocol = \"" + protocol +
                              "\"; lsnport = \"" + b + "\"; }, { name = \"IKE\";\n"),
                std::string(kGroup2), group2("appsprofilename = [ \"X\", \"Y\" ];"));
  };
  expect_problem(two("1000-1999", "1500-2499", "UDP"), kGroup2,
                 {"X with UDP 1000-1999", "Y with UDP 1500-2499", "most specific"});
  expect_problem(two("500", "500", "UDP"), kGroup2, {"X with UDP 500", "Y with UDP 500"});
  for (const auto& [a, b, protocol] : std::vector<std::array<const char*, 3>>{
           {"1000-1999", "1500-2500", "UDP"},   // the narrower one wins
           {"1000-1999", "2000-2999", "UDP"},   // side by side
           {"1000-1999", "1500-2499", "TCP"}})  // nothing to do with each other
    EXPECT_TRUE(problems_of(two(a, b, protocol)).empty()) << a << ' ' << b;
}

TEST(Rules, OneOfManyEquallyWideRangesIsFound) {
  const std::string text =
      with(good_with("name = \"IKE\";\n",
                     "name = \"X\"; transportprotocol = \"UDP\"; lsnport = [ \"10-19\", \"15-24\", "
                     "\"40-49\" ]; }, { name = \"Y\"; transportprotocol = \"UDP\"; lsnport = [ "
                     "\"100-109\", \"31-40\" ]; }, { name = \"IKE\";\n"),
           std::string(kGroup2), group2("appsprofilename = [ \"X\", \"Y\" ];"));
  expect_problem(text, kGroup2, {"UDP 31-40", "UDP 40-49"});
}

TEST(Rules, AGroupHasOneIcmpProfile) {
  const std::string text =
      with(good_with("name = \"IKE\";\n",
                     "name = \"X\"; transportprotocol = \"ICMP\"; }, { name = \"IKE\";\n"),
           std::string(kGroup2), group2("appsprofilename = [ \"X\", \"PING\" ];"));
  expect_problem(text, kGroup2, {"ICMP profiles", "one ICMP profile"});
}

TEST(Rules, AnIcmpProfileHasNoPorts) {
  expect_refused("transportprotocol = \"ICMP\";\n      ippooling = \"PAIRED\";",
                 "transportprotocol = \"ICMP\"; lsnport = \"8\";",
                 {"appsprofile PING: lsnport", "it covers all ICMP"});
}

TEST(Rules, AGroupHasOneTransportProfileForAProtocol) {
  const auto problems = problems_after({{"transportprotocol = \"TCP\";\n      syncheck",
                                         "transportprotocol = \"UDP\";\n      syncheck"}});
  ASSERT_EQ(problems.size(), 1U) << to_string(problems);
  EXPECT_THAT(problems[0].text, HasSubstr("group G1: transportprofilename: given \"T-TCP\""));
  EXPECT_THAT(problems[0].text, HasSubstr("one UDP profile in a group; it has T-UDP"));
}

TEST(Rules, PoolsHaveTheirGroupsNatType) {
  const auto problems =
      problems_after({{"name = \"P2\";", "name = \"P2\"; nattype = \"DETERMINISTIC\";"}});
  EXPECT_THAT(to_string(problems), HasSubstr("pool P2 with nattype DETERMINISTIC"));
  EXPECT_THAT(to_string(problems), HasSubstr("allowed pools with the group's nattype DYNAMIC"));
}

// The ALG -----------------------------------------------------------------------------------------

constexpr std::string_view kAlgBinding = "ipsecAlgProfile = \"ALG\"";

TEST(Rules, AnAlgWithoutAnyProfileForUdp500SaysWhatToAdd) {
  expect_refused(kGroup2, group2("ipsecAlgProfile =  \"ALG\";"),
                 {"group G2: ipsecAlgProfile ALG", "no application profile of the group covers",
                  "bind lsn group G2 -appsprofilename IKE"});
  // Where no profile is ready, all the commands that make one.
  expect_problem(
      with(good_with("\"IKE\", \"UDP-ALL\", ", ""), "lsnport = [ \"500\" ]",
           "lsnport = [ \"501\" ]"),
      kAlgBinding,
      {"add lsn appsprofile IKE-PAIRED UDP -ippooling PAIRED; "
       "bind lsn appsprofile IKE-PAIRED 500; bind lsn group G1 -appsprofilename IKE-PAIRED"});
}

TEST(Rules, AnAlgWhoseUdp500IsRandomSaysWhatToSet) {
  expect_problem(good_with("ippooling = \"PAIRED\";\n      lsnport", "lsnport"), kAlgBinding,
                 {"appsprofile IKE covers UDP port 500 by its range 500 with ippooling RANDOM",
                  "set lsn appsprofile IKE -ippooling PAIRED"});
  // A wide profile stays as it is; a more specific one is to be added.
  expect_problem(good_with("\"IKE\", \"UDP-ALL\"", "\"UDP-ALL\""), kAlgBinding,
                 {"appsprofile UDP-ALL covers UDP port 500 by its range 1-65535",
                  "missing: bind lsn group G1 -appsprofilename IKE"});
}

TEST(Rules, AWideProfileWithPairedSatisfiesTheAlg) {
  EXPECT_TRUE(problems_after({{"\"IKE\", \"UDP-ALL\"", "\"UDP-ALL\""},
                              {"mapping = \"ENDPOINT-INDEPENDENT\";",
                               "mapping = \"ENDPOINT-INDEPENDENT\"; ippooling = \"PAIRED\";"}})
                  .empty());
}

TEST(Rules, AProfileOfTcpDoesNotSatisfyTheAlg) {
  const auto problems = problems_after(
      {{"\"IKE\", \"UDP-ALL\", ", ""},
       {"lsnport = [ \"80\", \"443\" ]", "ippooling = \"PAIRED\"; lsnport = [ \"500\" ]"}});
  ASSERT_EQ(problems.size(), 1U) << to_string(problems);
  EXPECT_THAT(problems[0].text, HasSubstr("no application profile"));
}

TEST(Rules, OneAlgProfileServesManyGroupsAndAGroupHasOne) {
  expect_accepted(kGroup2, group2("appsprofilename = \"IKE\"; ipsecAlgProfile =  \"ALG\";"));
  const auto two = problems_after(
      {{kAlgBinding, "ipsecAlgProfile = [ \"ALG\", \"ALG2\" ]"},
       {"espGateTimeout = 20;\n    }", "espGateTimeout = 20;\n    }, { name = \"ALG2\"; }"}});
  ASSERT_EQ(two.size(), 1U) << to_string(two);
  EXPECT_THAT(two[0].text, HasSubstr("one ALG profile in a group"));
}

// Attributes ----------------------------------------------------------------------------------

/// Attributes A (UDP 53-60) and what else is given, and which of them profile UDP-ALL has.
std::string attributed(const std::string& more, const std::string& bound) {
  return with(good_with("name = \"UDP-ALL\";",
                        "name = \"UDP-ALL\"; appsattributesname = [ " + bound + " ];"),
              "  appsprofile = (",
              "  appsattributes = ( { name = \"A\"; transportprotocol = \"UDP\"; port = "
              "\"53-60\"; }" +
                  more + " );\n  appsprofile = (");
}

TEST(Rules, AttributesAreForTheProtocolOfTheProfile) {
  EXPECT_TRUE(problems_of(attributed("", "\"A\"")).empty());
  const auto other = attributed(", { name = \"B\"; transportprotocol = \"TCP\"; }", "\"B\"");
  expect_problem(other, "name = \"UDP-ALL\";",
                 {"appsprofile UDP-ALL: appsattributesname: given B for TCP", "UDP"});
  expect_problem(attributed("", "\"a\""), "name = \"UDP-ALL\";",
                 {"given \"a\" (did you mean \"A\"?)", "an existing appsattributes"});
  expect_problem(attributed(", { name = \"A\"; transportprotocol = \"UDP\"; }", "\"A\""),
                 "transportprotocol = \"UDP\"; port = \"53-60\";",
                 {"one appsattributes of a name"});
}

TEST(Rules, AttributesOfOneProfileHaveOneMostSpecificRange) {
  const auto with_range = [](const char* range) {
    return attributed(
        std::string(", { name = \"B\"; transportprotocol = \"UDP\"; port = \"") + range + "\"; }",
        "\"A\", \"B\"");
  };
  for (const char* good : {"53", "61-68", "1-65535"})
    EXPECT_TRUE(problems_of(with_range(good)).empty()) << good;
  expect_problem(with_range("60-67"), "name = \"UDP-ALL\";",
                 {"given A and B, equally wide and overlapping"});
}

TEST(Rules, AttributesOfIcmpHaveNoPort) {
  expect_problem(attributed(",\n{ name = \"P\"; transportprotocol = \"ICMP\"; port = \"8\"; }", ""),
                 "{ name = \"P\"; transportprotocol", {"appsattributes P: port: given \"8\""});
  EXPECT_TRUE(
      problems_of(attributed(", { name = \"P\"; transportprotocol = \"ICMP\"; }", "")).empty());
}

// Addresses that drain ------------------------------------------------------------------------

TEST(Rules, AddressesThatDrainAreThePools) {
  for (const char* good : {"203.0.113.0", "203.0.113.2-203.0.113.9", "203.0.113.4/30"})
    expect_accepted("name = \"P1\";", "name = \"P1\"; drain = [ \"" + std::string(good) + "\" ];");
  for (const char* bad : {"203.0.113.10", "203.0.113.5-203.0.113.10", "198.18.0.1"})
    expect_refused("name = \"P1\";", "name = \"P1\"; drain = [ \"" + std::string(bad) + "\" ];",
                   {"pool P1: drain: given " + std::string(bad), "the pool's lsnip"});
  // Of ranges that lie one behind the other.
  EXPECT_TRUE(problems_after({{"lsnip = [ \"203.0.113.0-203.0.113.9\" ]",
                               "drain = \"203.0.113.3-203.0.113.7\"; lsnip = [ "
                               "\"203.0.113.6-203.0.113.9\", \"203.0.113.0-203.0.113.5\" ]"}})
                  .empty());
}

// Transport profiles --------------------------------------------------------------------------

TEST(Rules, ABurstNeedsARate) {
  expect_refused("name = \"T-TCP\";", "name = \"T-TCP\"; sessionBurst = 20;",
                 {"transportprofile T-TCP: sessionBurst: given 20", "together with sessionRate"});
  expect_accepted("name = \"T-TCP\";", "name = \"T-TCP\"; sessionBurst = 20; sessionRate = 10;");
}

TEST(Rules, AReserveIsAPartOfPortquotaForSomePorts) {
  const auto udp = [](const std::string& more) { return "portquota = 1000; " + more; };
  expect_accepted("portquota = 1000;",
                  udp("portReserve = 999; reservedFor = [ \"53\", \"1-9\" ];"));
  expect_refused("portquota = 1000;", udp("portReserve = 1000; reservedFor = [ \"53\" ];"),
                 {"portReserve: given 1000 with portquota 1000", "less than portquota"});
  expect_refused("portquota = 1000;", udp("portReserve = 9;"), {"given 9 without reservedFor"});
  expect_refused("portquota = 1000;", udp("reservedFor = \"53\";"),
                 {"reservedFor: given \"53\"", "together with portReserve"});
  expect_refused("name = \"T-TCP\";",
                 "name = \"T-TCP\"; portReserve = 1; reservedFor = [ \"53\" ];",
                 {"given 1 with portquota 0"});
  const auto icmp = problems_after(
      {{"name = \"T-TCP\";\n      transportprotocol = \"TCP\";",
        "name = \"T-TCP\"; transportprotocol = \"ICMP\"; portquota = 9; portReserve = 1; "
        "reservedFor = \"8\";"}});
  ASSERT_EQ(icmp.size(), 2U) << to_string(icmp);
  for (const Problem& problem : icmp)
    EXPECT_THAT(problem.text, HasSubstr("ICMP, which has no ports"));
}

// Values without an effect ---------------------------------------------------------------------

TEST(Settings, WhatAsksForNothingIsAccepted) {
  expect_accepted(
      kGroup2, group2("logging = \"DISABLED\"; sessionLogging = \"DISABLED\"; portblocksize = 0; "
                      "nattype = \"DYNAMIC\"; allocPolicy = \"ipaddrs\"; sessionSync = "
                      "\"DISABLED\"; snmptraplimit = 5; logprofilename = ( );"));
  expect_accepted("espGateTimeout = 20;", "espGateTimeout = 20; connfailover = \"disabled\";");
  expect_accepted("  client = (",
                  "  static = ( ); logprofile = ( ); appsattributes = ( ); client = (");
  expect_accepted("control: {", "metrics: { listen = \"\"; }; control: {");
}

TEST(Settings, AMistypedOneOfAStaticMappingIsNamed) {
  const auto problems = problems_after(
      {{"  client = (", "  static = ( { name = \"S\"; natipp = \"1.2.3.4\"; } ); client = ("}});
  EXPECT_THAT(to_string(problems), HasSubstr("did you mean \"natIP\""));
}

// Records ---------------------------------------------------------------------------------------

TEST(Rules, AGroupHasOneLogProfileThatExists) {
  constexpr std::string_view kProfiles =
      "  logprofile = ( { name = \"L\"; }, { name = \"M\"; logSessDeletion = \"DISABLED\"; } ); "
      "client = (";
  const auto with = [&](const std::string& binding) {
    return problems_after({{"  client = (", std::string(kProfiles)}, {kGroup2, group2(binding)}});
  };
  EXPECT_TRUE(with("logging = \"ENABLED\"; logprofilename = \"M\";").empty());
  EXPECT_THAT(to_string(with("logprofilename = \"N\";")), HasSubstr("existing logprofile"));
  EXPECT_THAT(to_string(with("logprofilename = [ \"L\", \"M\" ];")),
              HasSubstr("one log profile in a group"));
}

TEST(Rules, TwoFilesOfRecordsHaveTwoPaths) {
  expect_accepted("control: {",
                  "records: { file: { path = \"/a/b\"; compress = \"zstd\"; }; }; control: {");
  EXPECT_THAT(
      to_string(problems_after(
          {{"control: {",
            "records: { file = ( { path = \"/a\"; }, { path = \"/a\"; } ); }; control: {"}})),
      HasSubstr("a path that no other file has"));
  EXPECT_THAT(to_string(problems_after(
                  {{"control: {", "records: { file: { path = \"/a/\"; }; }; control: {"}})),
              HasSubstr("an absolute path that does not end in /"));
}

TEST(Rules, TwoSinksOfRecordsHaveTwoServers) {
  const auto with = [](const std::string& sinks) {
    return to_string(problems_after({{"control: {", "records: { " + sinks + " }; control: {"}}));
  };
  EXPECT_EQ(with("syslog = ( { server = \"192.0.2.9:514\"; }, { server = \"192.0.2.9:514\"; "
                 "transport = \"TLS\"; caFile = \"/a\"; } ); ipfix: { collector = "
                 "\"192.0.2.9:514\"; domain = 4294967295; };"),
            "");
  EXPECT_THAT(with("syslog = ( { server = \"192.0.2.9:514\"; }, { server = \"192.0.2.9:514\"; "
                   "format = \"NETSCALER\"; } );"),
              HasSubstr("a server and a transport that no other syslog has"));
  EXPECT_THAT(with("syslog: { server = \"192.0.2.9:514\"; caFile = \"/a\"; };"),
              HasSubstr("only with transport TLS"));
  EXPECT_THAT(with("ipfix = ( { collector = \"192.0.2.9:4739\"; }, { collector = "
                   "\"192.0.2.9:4739\"; domain = 2; } );"),
              HasSubstr("a collector and a transport that no other ipfix has"));
  EXPECT_THAT(with("ipfix: { collector = \"0.0.0.0:4739\"; };"), HasSubstr("A.B.C.D:PORT"));
}

// Models that no file gave ----------------------------------------------------------------------

TEST(Rules, AModelThatACommandChangedIsCheckedWithoutLines) {
  Model model = good_model();
  EXPECT_TRUE(check_model(model).empty());
  model.lsn.group[1].poolname = {"NOPOOL"};
  model.lsn.pool[0].lsnip.push_back(model.lsn.pool[1].lsnip[0]);
  const auto problems = check_model(model);
  ASSERT_EQ(problems.size(), 2U) << to_string(problems);
  for (const Problem& problem : problems) {
    EXPECT_EQ(problem.file, "");
    EXPECT_EQ(to_string(problem), problem.text);
  }
}

// Traffic domains -------------------------------------------------------------------------------

constexpr std::string_view kOutside = "  {\n    name = \"out\";";
/// An interface inside more.
std::string inside(std::string_view name, std::string_view address, unsigned vlan, unsigned td) {
  return fmt::format(
      "  {{ name = \"{}\"; role = \"inside\"; device = \"net_tap0,iface=t0\"; "
      "vlan = {}; td = {}; address = \"{}\"; }},\n",
      name, vlan, td, address);
}

TEST(TrafficDomains, LetInterfacesAndClientsHaveTheSameNetworks) {
  const std::string domains = inside("td1", "192.0.2.1/24", 11, 1) +
                              inside("td2", "192.0.2.1/24", 12, 2) + std::string(kOutside);
  EXPECT_TRUE(problems_after({{kOutside, domains},
                              {"\"10.0.0.0/16\" ]",
                               "\"10.0.0.0/16\", \"192.0.2.0/24 td 1\", \"10.1.0.0/16 td 2\" ]"}})
                  .empty());
}

TEST(TrafficDomains, OfOneDomainNothingOverlaps) {
  const auto problems = problems_after(
      {{kOutside, inside("td1", "10.9.0.1/24", 11, 1) + inside("too", "10.9.0.129/25", 12, 1) +
                      std::string(kOutside)}});
  ASSERT_EQ(problems.size(), 1U) << to_string(problems);
  EXPECT_THAT(problems[0].text, HasSubstr("interface too: address: given 10.9.0.129/25"));
  expect_refused(
      "\"10.1.0.0/16\" ]", "\"10.1.0.0/16\", \"10.0.0.0/16 td 7\", \"10.0.7.0/24 td 0\" ]",
      {"client C2: network", "given 10.0.7.0/24", "does not overlap 10.0.0.0/16 of client C1"});
  const auto clients =
      problems_after({{"\"10.0.0.0/16\" ]", "\"10.0.0.0/16\", \"10.5.0.0/16 td 7\" ]"},
                      {"\"10.1.0.0/16\" ]", "\"10.5.5.0/24 td 7\" ]"}});
  ASSERT_EQ(clients.size(), 1U) << to_string(clients);
  EXPECT_THAT(clients[0].text, AllOf(HasSubstr("given 10.5.5.0/24 td 7"),
                                     HasSubstr("does not overlap 10.5.0.0/16 td 7 of client C1")));
}

TEST(TrafficDomains, TheOutsideIsInNone) {
  expect_refused("mtu = 1400;", "mtu = 1400; td = 3;",
                 {"interface out: td", "given 3 with role \"outside\"", "allowed 0"});
  // All know it: no network inside may overlap it, whatever its domain.
  const auto problems = problems_after(
      {{kOutside, inside("td1", "198.51.100.129/25", 11, 1) + std::string(kOutside)}});
  ASSERT_EQ(problems.size(), 1U) << to_string(problems);
  EXPECT_THAT(problems[0].text, HasSubstr("overlap"));
}

TEST(TrafficDomains, NumbersAreThoseOfNetScaler) {
  expect_refused("mtu = 1400;", "mtu = 1400; td = 4095;", {"td", "4095", "0-4094"});
  expect_refused("\"10.1.0.0/16\" ]", "\"10.1.0.0/16 td 4095\" ]",
                 {"\"10.1.0.0/16 td 4095\"", "N 0-4094"});
  for (const char* wrong : {"10.1.0.0/16 td", "10.1.0.0/16 td x", "10.1.0.0/16 td -1",
                            "10.1.0.0/16td 1", "10.1.0.0/16 td 1 "})
    expect_refused("\"10.1.0.0/16\" ]", fmt::format("\"{}\" ]", wrong), {"client C2: network"});
}

TEST(TrafficDomains, ARouteInsideIsOfOne) {
  const std::string domains = inside("td1", "10.9.0.1/24", 11, 1) +
                              inside("td2", "10.9.0.1/24", 12, 2) + std::string(kOutside);
  const std::string_view routes = "via = \"198.51.100.10\";\n  }";
  const auto with_route = [&](const std::string& more) {
    return problems_after({{kOutside, domains}, {routes, std::string(routes) + more}});
  };
  EXPECT_TRUE(with_route(", { prefix = \"10.8.0.0/16\"; via = \"10.9.0.7\"; td = 1; }"
                         ", { prefix = \"10.8.0.0/16\"; via = \"10.9.0.7\"; td = 2; }")
                  .empty());
  auto problems = with_route(", { prefix = \"10.8.0.0/16\"; via = \"10.9.0.7\"; td = 3; }");
  ASSERT_EQ(problems.size(), 1U) << to_string(problems);
  EXPECT_THAT(problems[0].text, AllOf(HasSubstr("route 10.8.0.0/16 td 3: via"),
                                      HasSubstr("an inside interface with td 3")));
  problems = with_route(", { prefix = \"0.0.0.0/0\"; via = \"10.9.0.7\"; td = 1; }");
  ASSERT_EQ(problems.size(), 1U) << to_string(problems);
  EXPECT_THAT(problems[0].text, HasSubstr("one route for a prefix"));
  problems = with_route(", { prefix = \"10.8.0.0/16\"; via = \"198.51.100.7\"; td = 1; }");
  ASSERT_EQ(problems.size(), 1U) << to_string(problems);
}

TEST(TrafficDomains, OfABypassIsDomainZero) {
  const auto problems = problems_after(
      {{"\"10.1.0.0/16\" ]", "\"10.1.0.0/16 td 5\" ]"},
       {"lsn: {", "lsn: {\n  bypass = ( { name = \"B\"; clientname = \"C2\"; } );"}});
  ASSERT_EQ(problems.size(), 1U) << to_string(problems);
  EXPECT_THAT(problems[0].text, AllOf(HasSubstr("bypass B: clientname"),
                                      HasSubstr("given client C2 with subscribers in td 5")));
}

}  // namespace
}  // namespace lsn::control
