#include "lsn/control/config/check_report.hpp"

#include "support.hpp"

namespace lsn::control {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const GroupConfig& group(const Model& model, std::string_view name) {
  return *find_by_name(model.lsn.group, name);
}

/// Group G2 of the good text, with settings of its own, and profiles made for it.
Model model_with_group2(const std::string& settings, const std::string& apps = "",
                        const std::string& transports = "") {
  std::string text = good_with("poolname = [ \"P2\" ];", "poolname = [ \"P2\" ];" + settings);
  text = with(text, "  appsprofile = (", "  appsprofile = (" + apps);
  return model_of(with(text, "  transportprofile = (", "  transportprofile = (" + transports));
}

TEST(CheckReport, NamesEverythingThatWouldRun) {
  const std::string report = check_report(good_model());
  for (const char* word :
       {"2 workers on CPU 1, 2", "65536 sessions", "net_tap0,iface=t0", "0000:03:00.0",
        "198.51.100.1/24", "0.0.0.0/0 via 198.51.100.10 (out)", "/run/lsnd/test.sock", "C1", "C2",
        "10.1.0.0/16", "P1: 10 addresses, 203.0.113.0-203.0.113.9", "P2: 17 addresses", "G1", "G2",
        "IPsec ALG profile ALG", "T-UDP, T-TCP"})
    EXPECT_THAT(report, HasSubstr(word));
}

TEST(CheckReport, AGroupWithoutProfilesHasAllDeviations) {
  const Model model = good_model();
  EXPECT_THAT(
      deviations(model, group(model, "G2")),
      ElementsAre(
          "TCP: ippooling RANDOM; asked for: PAIRED (RFC 6888 REQ-2)",
          "TCP: mapping ADDRESS-PORT-DEPENDENT; asked for: ENDPOINT-INDEPENDENT (RFC 5382 REQ-1)",
          "TCP: filtering ADDRESS-PORT-DEPENDENT; asked for: ENDPOINT-INDEPENDENT (RFC 5382 REQ-3, "
          "RFC 6888 REQ-7)",
          "TCP: sessiontimeout 120 s; asked for: 7440 s at least (RFC 5382 REQ-5)",
          "TCP: finrsttimeout 30 s; asked for: 240 s at least (RFC 5382 REQ-5)",
          "TCP: synidletimeout 60 s; asked for: 240 s at least (RFC 5382 REQ-5)",
          "UDP: ippooling RANDOM; asked for: PAIRED (RFC 6888 REQ-2, RFC 4787 REQ-2)",
          "UDP: mapping ADDRESS-PORT-DEPENDENT; asked for: ENDPOINT-INDEPENDENT (RFC 4787 REQ-1)",
          "UDP: filtering ADDRESS-PORT-DEPENDENT; asked for: ENDPOINT-INDEPENDENT (RFC 4787 REQ-8, "
          "RFC 6888 REQ-7)",
          "UDP: sessiontimeout 120 s; asked for: 300 s at least (RFC 4787 REQ-5 c)",
          "UDP: portpreserverange DISABLED; asked for: ENABLED (RFC 4787 REQ-3 a)",
          "UDP: portpreserveparity DISABLED; asked for: ENABLED (RFC 4787 REQ-4)",
          "ICMP: ippooling RANDOM; asked for: PAIRED (RFC 6888 REQ-2)",
          "ICMP: mapping ADDRESS-PORT-DEPENDENT; asked for: ENDPOINT-INDEPENDENT (RFC 5508 REQ-1 "
          "a)",
          "ICMP: filtering ADDRESS-PORT-DEPENDENT; asked for: ENDPOINT-INDEPENDENT (RFC 6888 "
          "REQ-7)"));
}

TEST(CheckReport, ProfilesAreJudgedByTheirPorts) {
  const Model model = good_model();
  const auto found = deviations(model, group(model, "G1"));
  EXPECT_THAT(found, Contains(AllOf(HasSubstr("UDP 500 (IKE): mapping"), HasSubstr("REQ-1"))));
  EXPECT_THAT(found, Not(Contains(HasSubstr("UDP 500 (IKE): ippooling"))));
  EXPECT_THAT(found, Contains(HasSubstr("UDP 1-65535 (UDP-ALL): ippooling RANDOM")));
  EXPECT_THAT(found, Not(Contains(HasSubstr("UDP, other ports")))) << "all are covered";
  EXPECT_THAT(found, Contains(HasSubstr("TCP 80, 443 (WEB): mapping")));
  EXPECT_THAT(found, Contains("TCP 80, 443 (WEB): filtering ADDRESS-DEPENDENT; asked for: "
                              "ENDPOINT-INDEPENDENT (RFC 6888 REQ-7)"));
  EXPECT_THAT(found, Contains(HasSubstr("TCP, other ports: filtering")));
  EXPECT_THAT(found, Not(Contains(HasSubstr("UDP: sessiontimeout")))) << "300 s are configured";
  EXPECT_THAT(found, Not(Contains(HasSubstr("ICMP (PING): ippooling"))));
}

TEST(CheckReport, AGroupAsTheRfcsWantItHasNoDeviations) {
  std::string apps;
  for (const char* protocol : {"TCP", "UDP", "ICMP"})
    apps += std::string("{ name = \"A-") + protocol + "\"; transportprotocol = \"" + protocol +
            "\"; ippooling = \"PAIRED\"; mapping = \"ENDPOINT-INDEPENDENT\"; filtering = "
            "\"ENDPOINT-INDEPENDENT\";" +
            (std::string_view(protocol) == "ICMP" ? "" : " lsnport = \"1-65535\";") + " }, ";
  const std::string transports =
      "{ name = \"TT\"; transportprotocol = \"TCP\"; sessiontimeout = 7440; finrsttimeout = 240; "
      "synidletimeout = 240; }, { name = \"TU\"; transportprotocol = \"UDP\"; portpreserveparity = "
      "\"ENABLED\"; portpreserverange = \"ENABLED\"; }, ";
  Model model = model_with_group2(
      "appsprofilename = [ \"A-TCP\", \"A-UDP\", \"A-ICMP\" ]; transportprofilename = [ \"TT\", "
      "\"TU\" ];",
      apps, transports);
  EXPECT_THAT(deviations(model, group(model, "G2")),
              ElementsAre("pool P2: portrealloctimeout 0 s; asked for: 120 s at least (RFC 6888 "
                          "REQ-8)"));
  model.lsn.pool[1].portrealloctimeout = Seconds{120};
  EXPECT_THAT(deviations(model, group(model, "G2")), IsEmpty());
  EXPECT_THAT(check_report(model), Not(HasSubstr("in group G2 that deviate")));
}

TEST(CheckReport, TheFileThatIsSaidToBeRfcCleanHasNoDeviations) {
  const auto model = load_config(project_file("config/rfc.conf"));
  ASSERT_TRUE(model) << to_string(model.error());
  EXPECT_THAT(check_report(*model), Not(HasSubstr("deviate")));
  EXPECT_THAT(deviations(model->dataplane), IsEmpty());
  ASSERT_EQ(model->lsn.group.size(), 1U);
  EXPECT_THAT(deviations(*model, model->lsn.group[0]), IsEmpty());
  // The word is that of the report: the sample has some.
  const auto sample = load_config(project_file("config/sample.conf"));
  ASSERT_TRUE(sample) << to_string(sample.error());
  EXPECT_THAT(check_report(*sample), HasSubstr("deviate"));
}

TEST(CheckReport, AGivenValueIsJudgedAsADefaultIs) {
  const Model model = model_with_group2(
      "appsprofilename = [ \"A\", \"B\" ]; transportprofilename = [ \"TT\", \"TU\", \"TI\" ];",
      "{ name = \"A\"; transportprotocol = \"TCP\"; lsnport = \"1-65535\"; ippooling = \"RANDOM\"; "
      "mapping = \"ADDRESS-DEPENDENT\"; filtering = \"ENDPOINT-INDEPENDENT\"; }, "
      "{ name = \"B\"; transportprotocol = \"ICMP\"; ippooling = \"PAIRED\"; mapping = "
      "\"ENDPOINT-INDEPENDENT\"; filtering = \"ENDPOINT-INDEPENDENT\"; }, ",
      "{ name = \"TT\"; transportprotocol = \"TCP\"; sessiontimeout = 7439; finrsttimeout = 239; "
      "synidletimeout = 239; }, { name = \"TU\"; transportprotocol = \"UDP\"; sessiontimeout = 60; "
      "portpreserveparity = \"DISABLED\"; portpreserverange = \"ENABLED\"; }, "
      "{ name = \"TI\"; transportprotocol = \"ICMP\"; sessiontimeout = 59; }, ");
  const auto found = deviations(model, group(model, "G2"));
  for (const char* line :
       {"TCP 1-65535 (A): ippooling RANDOM; asked for: PAIRED (RFC 6888 REQ-2)",
        "TCP 1-65535 (A): mapping ADDRESS-DEPENDENT; asked for: ENDPOINT-INDEPENDENT (RFC 5382 "
        "REQ-1)",
        "TCP: sessiontimeout 7439 s; asked for: 7440 s at least (RFC 5382 REQ-5)",
        "TCP: finrsttimeout 239 s; asked for: 240 s at least (RFC 5382 REQ-5)",
        "TCP: synidletimeout 239 s; asked for: 240 s at least (RFC 5382 REQ-5)",
        "UDP: sessiontimeout 60 s; asked for: 300 s at least (RFC 4787 REQ-5 c), never less than "
        "120 "
        "s (RFC 4787 REQ-5)",
        "UDP: portpreserveparity DISABLED; asked for: ENABLED (RFC 4787 REQ-4)",
        "ICMP: sessiontimeout 59 s; asked for: 60 s at least (RFC 5508 REQ-2)"})
    EXPECT_THAT(found, Contains(line));
  EXPECT_THAT(found, Not(Contains(HasSubstr("portpreserverange"))));
  EXPECT_THAT(found, Not(Contains(HasSubstr("A): filtering"))));
}

TEST(CheckReport, AnEndpointIndependentMappingLivesForBothTimeouts) {
  const auto of = [](const std::string& timeouts) {
    const Model model = model_with_group2(
        "appsprofilename = [ \"U\" ]; transportprofilename = [ \"TU\" ];",
        "{ name = \"U\"; transportprotocol = \"UDP\"; lsnport = \"1-65535\"; mapping = "
        "\"ENDPOINT-INDEPENDENT\"; }, ",
        "{ name = \"TU\"; transportprotocol = \"UDP\"; " + timeouts + " }, ");
    return deviations(model, group(model, "G2"));
  };
  EXPECT_THAT(of("sessiontimeout = 100; stuntimeout = 200;"),
              Not(Contains(HasSubstr("UDP: sess"))));
  EXPECT_THAT(
      of("sessiontimeout = 100; stuntimeout = 199;"),
      Contains("UDP: sessiontimeout 100 s and stuntimeout 199 s; asked for: 300 s together at "
               "least (RFC 4787 REQ-5 c)"));
}

TEST(CheckReport, AttributesAreJudgedAsSessiontimeoutIs) {
  Model model = good_model();
  const auto udp = shared::Protocol::kUdp;
  model.lsn.appsattributes = {{"DNS", udp, PortRange{53, 53}, Seconds{5}},
                              {"SIP", udp, PortRange{5060, 5060}, Seconds{60}},
                              {"WEB", shared::Protocol::kTcp, std::nullopt, Seconds{600}},
                              {"PING", shared::Protocol::kIcmp, std::nullopt, Seconds{10}},
                              {"FAR", shared::Protocol::kTcp, PortRange{8080, 8080}, Seconds{60}}};
  model.lsn.appsprofile[0].appsattributesname = {"DNS"};
  model.lsn.appsprofile[1].appsattributesname = {"DNS", "SIP"};
  model.lsn.appsprofile[2].appsattributesname = {"WEB", "FAR"};
  model.lsn.appsprofile[3].appsattributesname = {"PING"};
  model.lsn.appsprofile[1].mapping = shared::Dependence::kAddressPort;
  ASSERT_TRUE(check_model(model).empty()) << to_string(check_model(model));
  const auto found = deviations(model, group(model, "G1"));
  EXPECT_THAT(found, Not(Contains(HasSubstr("by DNS")))) << "RFC 4787 REQ-5 a";
  EXPECT_THAT(found, Contains("UDP 1-65535 (UDP-ALL): sessiontimeout 60 s by SIP; asked for: 300 s "
                              "at least (RFC 4787 REQ-5 c)"));
  EXPECT_THAT(found,
              Contains("TCP 80, 443 (WEB): sessiontimeout 600 s by WEB; asked for: 7440 s at "
                       "least (RFC 5382 REQ-5)"));
  EXPECT_THAT(found, Contains("ICMP (PING): sessiontimeout 10 s by PING; asked for: 60 s at least "
                              "(RFC 5508 REQ-2)"));
  // As it is by default: the mapping lives on.
  model.lsn.appsprofile[1].mapping = shared::Dependence::kEndpointIndependent;
  EXPECT_THAT(deviations(model, group(model, "G1")), Not(Contains(HasSubstr("by SIP"))));
  EXPECT_THAT(
      remarks(model),
      ElementsAre("appsattributes DNS has no port of appsprofile IKE: it does nothing there",
                  "appsattributes FAR has no port of appsprofile WEB: it does nothing there"));
}

TEST(CheckReport, WhatHoldsForAllGroupsIsJudgedToo) {
  DataplaneConfig plane;
  EXPECT_THAT(deviations(plane), IsEmpty());
  plane.unreachable = {1, 0};
  plane.fragments.max = 0;
  EXPECT_THAT(deviations(plane),
              ElementsAre(HasSubstr("unreachable: code 1; asked for: 13"),
                          HasSubstr("unreachable: rate 0"), HasSubstr("fragments: max 0")));
}

TEST(CheckReport, APoolWithFewerAddressesThanWorkersIsNamed) {
  Model model = good_model();
  EXPECT_THAT(remarks(model), IsEmpty());
  model.lsn.pool[0].lsnip = {model.lsn.pool[1].lsnip.back()};
  model.lsn.pool[1].lsnip.pop_back();
  EXPECT_THAT(remarks(model),
              ElementsAre("pool P1 has 1 address for 2 workers: it gives no NAT work to 1 worker"));
  EXPECT_THAT(check_report(model), HasSubstr("pool P1 has 1 address for 2 workers"));
}

TEST(CheckReport, WhatIsConfiguredAndDoesNothingIsNamed) {
  Model model = good_model();
  model.lsn.client.push_back({"LONELY", {}});
  model.lsn.pool.push_back({});
  model.lsn.pool.back().name = "EMPTY";
  model.lsn.group[1].poolname = {"EMPTY"};
  model.lsn.appsprofile[0].lsnport.clear();
  EXPECT_THAT(remarks(model),
              ElementsAre("pool EMPTY has no addresses", "client LONELY has no network",
                          "client LONELY is in no group: its traffic is dropped",
                          "group G2 has no NAT address: its traffic is dropped",
                          "appsprofile IKE has no lsnport: it covers nothing"));
}

TEST(CheckReport, AGroupWhoseAddressesAllDrainIsNamed) {
  Model model = good_model();
  model.lsn.pool[0].drain = {model.lsn.pool[0].lsnip[0]};
  EXPECT_THAT(remarks(model), ElementsAre("group G1 has no NAT address but those that drain: new "
                                          "subscribers are refused"));
  --model.lsn.pool[0].drain[0].last.value;
  EXPECT_THAT(remarks(model), IsEmpty());
}

TEST(CheckReport, AddressesOfALinkThatNoHostCanHaveAreNamed) {
  Model model = good_model();
  auto outside = std::find_if(model.interfaces.begin(), model.interfaces.end(),
                              [](const auto& i) { return i.role == shared::Side::kOutside; });
  ASSERT_NE(outside, model.interfaces.end());
  outside->address = {*wire::parse_ipv4("198.51.100.1"), 24};
  model.lsn.pool[0].lsnip = {
      {*wire::parse_ipv4("198.51.100.128"), *wire::parse_ipv4("198.51.100.255")}};
  EXPECT_THAT(remarks(model),
              ElementsAre("pool P1: 198.51.100.255 is the broadcast address of an outside "
                          "interface's network: it is left out, no host can have it"));
  model.lsn.pool[0].lsnip = {
      {*wire::parse_ipv4("198.51.100.0"), *wire::parse_ipv4("198.51.100.0")},
      {*wire::parse_ipv4("198.51.100.8"), *wire::parse_ipv4("198.51.100.15")}};
  EXPECT_THAT(remarks(model),
              ElementsAre("pool P1: 198.51.100.0 is the network address of an outside "
                          "interface's network: it is left out, no host can have it"));
}

}  // namespace
}  // namespace lsn::control
