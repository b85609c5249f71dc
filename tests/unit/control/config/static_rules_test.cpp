#include "lsn/control/config/static_rules.hpp"

#include <fmt/format.h>

#include <set>

#include "lsn/control/config/generation_builder.hpp"
#include "lsn/control/config/render.hpp"
#include "lsn/control/config/validate.hpp"
#include "support.hpp"

namespace lsn::control {
namespace {

using shared::StaticScope;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

/// The good text with these static mappings.
std::string with_statics(const std::string& list) {
  return good_with(
      "      poolname = [ \"P2\" ];\n    }\n  );",
      fmt::format("      poolname = [ \"P2\" ];\n    }}\n  );\n  static = (\n{}\n  );", list));
}

/// C1 has 192.0.2.0/24 and 10.0.0.0/16 with pool P1 (203.0.113.0-9), C2 10.1.0.0/16 with P2.
std::string one(std::string_view name, std::string_view protocol, std::string_view inside,
                std::string_view port, std::string_view nat, std::string_view nat_port,
                std::string_view more = "") {
  std::string text = fmt::format(
      "    {{ name = \"{}\"; transportprotocol = \"{}\"; subscrIP = \"{}\"; subscrPort = \"{}\";",
      name, protocol, inside, port);
  if (!nat.empty()) text += fmt::format(" natIP = \"{}\";", nat);
  if (!nat_port.empty()) text += fmt::format(" natPort = \"{}\";", nat_port);
  return text + fmt::format("{} }}", more);
}

std::string problem_of(const std::string& list) {
  const auto problems = problems_of(with_statics(list));
  EXPECT_EQ(problems.size(), 1U) << list << '\n' << to_string(problems);
  return problems.empty() ? "" : problems[0].text;
}

void expect_good(const std::string& list) {
  EXPECT_THAT(to_string(problems_of(with_statics(list))), IsEmpty());
}

TEST(StaticRules, MappingsOfPortsAndAddresses_AreGood) {
  expect_good(one("A", "TCP", "192.0.2.10", "80", "203.0.113.3", "8080") + ",\n" +
              one("B", "UDP", "192.0.2.10", "80", "203.0.113.3", "8080") + ",\n" +
              one("C", "ICMP", "192.0.2.11", "0", "203.0.113.3", "0") + ",\n" +
              one("D", "ALL", "10.1.2.3", "*", "203.0.113.20", "*") + ",\n" +
              one("E", "TCP", "10.1.2.4", "*", "203.0.113.130", "*") + ",\n" +
              one("F", "UDP", "10.1.2.5", "9", "203.0.113.130", "9", " destIP = \"8.8.8.8\";"));
}

TEST(StaticRules, TheSubscriberIsAClientsInAGroup) {
  EXPECT_THAT(
      problem_of(one("A", "TCP", "172.16.0.1", "80", "203.0.113.3", "80")),
      HasSubstr("static A: subscrIP: given 172.16.0.1, allowed the address of a subscriber"));
}

TEST(StaticRules, TheNatAddressIsOfAPoolOfTheGroupOrOfNobodys) {
  EXPECT_THAT(problem_of(one("A", "TCP", "192.0.2.10", "80", "203.0.113.50", "80")),
              HasSubstr("static A: natIP: given 203.0.113.50, allowed an address of a pool"));
  EXPECT_THAT(problem_of(one("A", "TCP", "192.0.2.10", "80", "198.51.100.1", "80")),
              HasSubstr("this is that of interface out"));
  EXPECT_THAT(problem_of(one("A", "TCP", "192.0.2.10", "80", "203.0.113.20", "80")),
              HasSubstr("of a pool that no group has; pool P2 is that of group G2"));
  // A pool that no group has.
  const std::string text = with(
      with_statics(one("A", "TCP", "192.0.2.10", "80", "203.0.113.200", "80")),
      "      name = \"P2\";",
      "      name = \"P3\"; lsnip = [ \"203.0.113.200\" ];\n    },\n    {\n      name = \"P2\";");
  EXPECT_THAT(to_string(problems_of(text)), IsEmpty());
}

TEST(StaticRules, PortsFitTheProtocol) {
  EXPECT_THAT(problem_of(one("A", "ALL", "192.0.2.10", "80", "203.0.113.3", "80")),
              HasSubstr("static A: subscrPort: given 80, allowed * with transportprotocol ALL"));
  EXPECT_THAT(problem_of(one("A", "TCP", "192.0.2.10", "*", "203.0.113.3", "80")),
              HasSubstr("static A: natPort: given 80, allowed * as the subscriber's"));
  EXPECT_THAT(problem_of(one("A", "TCP", "192.0.2.10", "80", "203.0.113.3", "*")),
              HasSubstr("static A: natPort: given *, allowed a port"));
  EXPECT_THAT(problem_of(one("A", "UDP", "192.0.2.10", "0", "203.0.113.3", "80")),
              HasSubstr("static A: subscrPort: given 0, allowed 1-65535"));
  EXPECT_THAT(problem_of(one("A", "UDP", "192.0.2.10", "70000", "203.0.113.3", "80")),
              HasSubstr("given \"70000\", allowed a port 0-65535, or *"));
}

TEST(StaticRules, NoTwoFitOnePacket) {
  const std::string first = one("A", "TCP", "192.0.2.10", "80", "203.0.113.3", "80") + ",\n";
  EXPECT_THAT(problem_of(first + one("B", "TCP", "192.0.2.10", "80", "203.0.113.3", "81")),
              HasSubstr("static B: subscrPort: given 192.0.2.10:80, allowed what no other static "
                        "mapping has; static A collides"));
  EXPECT_THAT(problem_of(first + one("B", "TCP", "192.0.2.11", "80", "203.0.113.3", "80")),
              HasSubstr("static B: natPort: given 203.0.113.3:80"));
  EXPECT_THAT(problem_of(first + one("B", "ALL", "192.0.2.11", "*", "203.0.113.3", "*")),
              HasSubstr("static B: natPort: given 203.0.113.3:*"));
  EXPECT_THAT(problem_of(first + one("B", "TCP", "192.0.2.10", "*", "203.0.113.3", "*")),
              HasSubstr("static A collides"));
  EXPECT_THAT(problem_of(first + one("B", "TCP", "192.0.2.10", "80", "203.0.113.3", "82",
                                     " destIP = \"8.8.8.8\";")),
              HasSubstr("static A collides"));
  expect_good(first + one("B", "UDP", "192.0.2.10", "80", "203.0.113.3", "80"));
  expect_good(one("A", "TCP", "192.0.2.10", "80", "203.0.113.3", "80", " destIP = \"8.8.8.8\";") +
              ",\n" +
              one("B", "TCP", "192.0.2.11", "80", "203.0.113.3", "80", " destIP = \"8.8.4.4\";"));
}

TEST(StaticRules, TheBoxsOwnAddressesAreNobodys) {
  EXPECT_THAT(problem_of(one("A", "ALL", "192.0.2.1", "*", "203.0.113.3", "*")),
              HasSubstr("static A: subscrIP: given 192.0.2.1, allowed the address of a subscriber; "
                        "this is that of interface in"));
  for (const char* address : {"192.0.2.0", "192.0.2.255"})
    EXPECT_THAT(problem_of(one("A", "ALL", address, "*", "203.0.113.3", "*")),
                HasSubstr("no host can have this one of the network of interface in"));
  EXPECT_THAT(problem_of(one("A", "TCP", "192.0.2.10", "80", "203.0.113.3", "80",
                             " destIP = \"198.51.100.1\";")),
              HasSubstr("static A: destIP: given 198.51.100.1, allowed another host's address; "
                        "this is that of interface out"));
  // As NAT addresses they are in no pool, or the pool is refused.
  for (const char* address : {"198.51.100.1", "192.0.2.1"})
    EXPECT_THAT(problem_of(one("A", "ALL", "192.0.2.10", "*", address, "*")),
                HasSubstr("allowed an address of a pool; this is that of interface"));
  const std::string text =
      with(with_statics(one("A", "ALL", "192.0.2.10", "*", "198.51.100.1", "*")),
           "\"203.0.113.20\"", "\"198.51.100.1\"");
  EXPECT_THAT(to_string(problems_of(text)),
              HasSubstr("interface out: address: given 198.51.100.1/24, allowed an address that is "
                        "in no pool"));
}

TEST(StaticRules, AllProblemsOfAllMappingsAreReported) {
  const auto problems =
      problems_of(with_statics(one("A", "TCP", "172.16.0.1", "80", "203.0.113.3", "80") + ",\n" +
                               one("B", "UDP", "192.0.2.10", "0", "203.0.113.20", "80") + ",\n" +
                               one("C", "TCP", "192.0.2.11", "80", "203.0.113.4", "80") + ",\n" +
                               one("D", "TCP", "192.0.2.12", "80", "203.0.113.4", "80") + ",\n" +
                               one("E", "TCP", "192.0.2.13", "80", "203.0.113.5", "80") + ",\n" +
                               one("F", "TCP", "192.0.2.13", "81", "203.0.113.6", "80")));
  ASSERT_EQ(problems.size(), 5U) << to_string(problems);
  EXPECT_THAT(to_string(problems),
              AllOf(HasSubstr("static A: subscrIP"), HasSubstr("static B: subscrPort"),
                    HasSubstr("static B: natIP"), HasSubstr("static C collides"),
                    HasSubstr("as in static E")));
}

/// The good text with G2 deterministic: its pool P2 has 17 addresses, and C2 a /24.
std::string with_deterministic(const std::string& list) {
  std::string text = with(with_statics(list), "\"10.1.0.0/16\"", "\"10.1.0.0/24\"");
  text = with(text, "      name = \"P2\";", "      name = \"P2\"; nattype = \"DETERMINISTIC\";");
  return with(text, "      name = \"G2\";",
              "      name = \"G2\"; nattype = \"DETERMINISTIC\"; portblocksize = 1024;");
}

TEST(StaticRules, OfADeterministicGroupTheNatAddressIsGivenAndOfNoGroupsPool) {
  const auto problems = problems_of(with_deterministic(
      one("A", "ALL", "10.1.0.3", "*", "", "") + ",\n" + one("B", "TCP", "10.1.0.4", "80", "", "") +
      ",\n" + one("C", "ALL", "10.1.0.5", "*", "203.0.113.20", "*")));
  std::vector<std::string> texts;
  for (const Problem& problem : problems) texts.push_back(problem.text);
  const auto nothing = [](std::string_view name) {
    return fmt::format(
        "static {}: natIP: given nothing, allowed an address of a dynamic pool that no group has; "
        "for a subscriber of deterministic group G2 none is chosen, as all ports of its pools are "
        "somebody's",
        name);
  };
  EXPECT_THAT(texts, testing::UnorderedElementsAre(
                         nothing("A"), nothing("B"),
                         testing::StartsWith("static B: transportprotocol: given TCP, allowed ALL"),
                         testing::StartsWith("static C: natIP: given 203.0.113.20, allowed an "
                                             "address of a pool with nattype DYNAMIC")));
}

TEST(StaticRules, NamesAreUnique) {
  EXPECT_THAT(problem_of(one("A", "TCP", "192.0.2.10", "80", "203.0.113.3", "80") + ",\n" +
                         one("A", "TCP", "192.0.2.10", "81", "203.0.113.3", "81")),
              HasSubstr("static A: name: given it a second time"));
}

TEST(StaticRules, WithSeveralWorkersASubscriberHasOneNatAddress) {
  const std::string list = one("A", "TCP", "192.0.2.10", "80", "203.0.113.3", "80") + ",\n" +
                           one("B", "TCP", "192.0.2.10", "81", "203.0.113.4", "81");
  EXPECT_THAT(problem_of(list),
              HasSubstr("static B: natIP: given 203.0.113.4, allowed 203.0.113.3 as "
                        "in static A: with several workers"));
  EXPECT_THAT(
      to_string(problems_of(with(with_statics(list), "workers = [ 1, 2 ];", "workers = [ 1 ];"))),
      IsEmpty());
}

TEST(StaticRules, AProblemIsReportedAtItsLine) {
  const auto problems =
      problems_of(with_statics(one("A", "TCP", "192.0.2.10", "80", "203.0.113.3", "80") + ",\n" +
                               one("B", "TCP", "192.0.2.10", "x", "203.0.113.3", "81") + ",\n" +
                               one("C", "TCP", "172.16.0.1", "80", "203.0.113.3", "82")));
  ASSERT_EQ(problems.size(), 2U) << to_string(problems);
  EXPECT_THAT(problems[0].text, HasSubstr("static B"));
  EXPECT_EQ(problems[1].line, problems[0].line + 1);
}

// ── the choice ──────────────────────────────────────────────────────────────────────────────────

Model model_with(const std::string& list) {
  return model_of(with_statics(list));
}

TEST(StaticChoice, IsOfTheGroupsPoolsAndTheSameEachTime) {
  const std::string list = one("A", "TCP", "192.0.2.10", "80", "", "") + ",\n" +
                           one("B", "UDP", "192.0.2.10", "80", "", "") + ",\n" +
                           one("C", "TCP", "10.1.0.1", "22", "203.0.113.20", "") + ",\n" +
                           one("D", "ALL", "10.1.0.2", "*", "", "");
  const Model model = model_with(list);
  for (const StaticConfig& mapping : model.lsn.statics) {
    ASSERT_TRUE(mapping.nat_ip && mapping.nat_port) << mapping.name;
    EXPECT_EQ(mapping.nat_port->is_any, mapping.name == "D");
  }
  const auto& all = model.lsn.statics;
  EXPECT_EQ(all[0].nat_ip, all[1].nat_ip);
  EXPECT_GE(all[0].nat_ip->value, 0xCB007100u);
  EXPECT_LE(all[0].nat_ip->value, 0xCB007109u);
  EXPECT_GE(all[0].nat_port->number, 1024);
  EXPECT_EQ(wire::to_string(*all[2].nat_ip), "203.0.113.20");
  EXPECT_EQ(model, model_with(list));
  // What was chosen is part of the configuration from then on.
  EXPECT_EQ(model_of(render_config(model)), model);
}

TEST(StaticChoice, DoesNotDependOnTheOthersOrTheirOrder) {
  const std::string a = one("A", "TCP", "192.0.2.10", "80", "", "");
  const std::string b = one("B", "UDP", "192.0.2.11", "53", "", "");
  const std::string c = one("C", "TCP", "192.0.2.12", "443", "203.0.113.3", "443");
  const Model one_way = model_with(a + ",\n" + b + ",\n" + c);
  const Model other_way = model_with(c + ",\n" + b + ",\n" + a);
  const Model alone = model_with(a);
  const auto of = [](const Model& model, std::string_view name) {
    return *find_by_name(model.lsn.statics, name);
  };
  EXPECT_EQ(of(one_way, "A"), of(other_way, "A"));
  EXPECT_EQ(of(one_way, "B"), of(other_way, "B"));
  EXPECT_EQ(of(one_way, "A"), of(alone, "A"));
}

TEST(StaticChoice, StopsWhereNothingIsLeft) {
  std::string list;
  for (unsigned n = 0; n < 11; ++n)
    list += (n == 0 ? "" : ",\n") +
            one(fmt::format("A{}", n), "ALL", fmt::format("192.0.2.{}", n + 10), "*", "", "");
  const auto problems = problems_of(with_statics(list));
  ASSERT_EQ(problems.size(), 1U) << to_string(problems);
  EXPECT_THAT(problems[0].text,
              HasSubstr("group G1 has none left, an address without a static mapping"));
}

/// The good text with addresses of P1 that drain.
std::string draining(const std::string& text, std::string_view addresses) {
  return with(
      text, "      lsnip = [ \"203.0.113.0-203.0.113.9\" ];",
      fmt::format("      lsnip = [ \"203.0.113.0-203.0.113.9\" ]; drain = [ \"{}\" ];", addresses));
}

TEST(StaticChoice, IsOfAddressesThatDoNotDrain_AndOthersStayAsTheyWere) {
  std::string list;
  for (unsigned n = 0; n < 50; ++n)
    list += (n == 0 ? "" : ",\n") +
            one(fmt::format("A{}", n), "TCP", fmt::format("192.0.2.{}", n + 10), "80", "", "");
  const std::string text = with_statics(list);
  const Model before = model_of(text), after = model_of(draining(text, "203.0.113.0-203.0.113.4"));
  for (std::size_t i = 0; i < before.lsn.statics.size(); ++i) {
    const wire::Ipv4Address was = *before.lsn.statics[i].nat_ip, is = *after.lsn.statics[i].nat_ip;
    EXPECT_GT(wire::to_string(is), "203.0.113.4");
    if (wire::to_string(was) > "203.0.113.4") {
      EXPECT_EQ(is, was);
    }
  }
}

TEST(StaticChoice, FollowsTheSubscribersOtherMappingToAnAddressThatDrains) {
  const std::string list = one("A", "TCP", "192.0.2.10", "80", "203.0.113.2", "80") + ",\n" +
                           one("B", "TCP", "192.0.2.10", "81", "", "");
  const Model model = model_of(draining(with_statics(list), "203.0.113.0-203.0.113.9"));
  EXPECT_EQ(model.lsn.statics[1].nat_ip, model.lsn.statics[0].nat_ip);
}

TEST(StaticChoice, SaysThatWhatDrainsIsNotChosen) {
  const auto problems = problems_of(draining(
      with_statics(one("A", "TCP", "192.0.2.10", "80", "", "")), "203.0.113.0-203.0.113.9"));
  ASSERT_EQ(problems.size(), 1U) << to_string(problems);
  EXPECT_THAT(
      problems[0].text,
      HasSubstr("static A: natIP: given nothing, allowed a NAT endpoint that is free; group "
                "G1 has none left, and what drains is not chosen"));
}

TEST(StaticChoice, AMillionMappings_AreCompletedAndChecked) {
  Model model = model_of(std::string(kGoodText));
  for (const auto* pool : {"P1"}) {
    auto& of = const_cast<PoolConfig&>(*find_by_name(model.lsn.pool, pool));
    of.lsnip = {{wire::Ipv4Address{0xCB010000u}, wire::Ipv4Address{0xCB010FFFu}}};
  }
#if defined(__SANITIZE_ADDRESS__)
  constexpr unsigned kMany = 100'000;
#else
  constexpr unsigned kMany = 1'000'000;
#endif
  for (unsigned n = 0; n < kMany; ++n) {
    StaticConfig mapping;
    mapping.name = fmt::format("static-mapping-{}", n);
    mapping.transportprotocol = n % 2 == 0 ? StaticScope::kTcp : StaticScope::kUdp;
    mapping.subscr_ip = wire::Ipv4Address{0x0A000000u + n % 65536};
    mapping.subscr_port = {static_cast<std::uint16_t>(1 + n / 65536), false};
    if (n % 4 != 0) {
      mapping.nat_ip = wire::Ipv4Address{0xCB010000u + n % 4096};
      mapping.nat_port = StaticPort{static_cast<std::uint16_t>(1 + n / 4096), false};
    }
    model.lsn.statics.push_back(std::move(mapping));
  }
  model.dataplane.workers = {1};
  complete(model);
  EXPECT_THAT(check_model(model), IsEmpty());
  const auto generation = build_generation(model);
  // What grows with the square would not end within CTest's time for one test.
  EXPECT_EQ(generation->statics->all().size(), kMany);
}

// ── the generation ──────────────────────────────────────────────────────────────────────────────

TEST(StaticGeneration, PinsSubscribersToTheWorkerOfTheirNatAddress) {
  std::string list;
  for (unsigned n = 0; n < 9; ++n)
    list +=
        (n == 0 ? "" : ",\n") + one(fmt::format("A{}", n), "TCP", fmt::format("192.0.2.{}", n + 10),
                                    "80", fmt::format("203.0.113.{}", n), "80");
  const auto generation = build_generation(model_with(list));
  for (const shared::StaticMapping& mapping : generation->statics->all())
    EXPECT_EQ(generation->maps.front()->owner_of(mapping.inside()),
              generation->nat_addresses.find(mapping.nat_ip)->owner);
}

TEST(StaticGeneration, AddressesThatAreMappedWhole_AreNobodysElse) {
  const auto generation =
      build_generation(model_with(one("A", "ALL", "192.0.2.10", "*", "203.0.113.3", "*")));
  for (const shared::Group& group : generation->groups)
    for (const auto& of_shard : group.addresses_of)
      for (const wire::Ipv4Address address : of_shard)
        EXPECT_NE(wire::to_string(address), "203.0.113.3");
}

TEST(StaticGeneration, UnchangedMappings_AreNotMadeAgain) {
  Model model = model_with(one("A", "ALL", "192.0.2.10", "*", "203.0.113.3", "*"));
  const auto first = build_generation(model);
  model.dataplane.unreachable.rate = 7;
  const auto second = build_generation(model, first.get());
  EXPECT_EQ(first->statics, second->statics);
}

}  // namespace
}  // namespace lsn::control
