// What `lsnd --check` refuses beyond what lsnd refuses to run with.
#include "lsn/control/config/plausibility.hpp"

#include "lsn/control/config/validate.hpp"
#include "support.hpp"

namespace lsn::control {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> doubts(const std::string& text) {
  std::vector<std::string> lines;
  const auto model = load_config_text(text, "lsnd.conf", check_plausibility);
  if (!model)
    for (const Problem& problem : model.error()) lines.push_back(to_string(problem));
  return lines;
}

/// The good text with its client networks reached: one by a route, all of it, and one in part.
std::string routed() {
  const std::string routes = "routes = (";
  return with(good_with(routes, routes + R"(
  { prefix = "10.0.0.0/15"; via = "192.0.2.7"; },)"),
              ", \"--no-pci\"", "");
}

TEST(Plausibility, NothingIsDoubtedOfClientsThatInsideRoutesLeadTo) {
  EXPECT_THAT(doubts(routed()), IsEmpty());
  const std::string part = with(routed(), "10.0.0.0/15", "10.0.7.0/24");
  EXPECT_THAT(doubts(with(part, "\"10.1.0.0/16\"", "\"192.0.2.64/26\"")
                         .replace(part.find("\"192.0.2.0/24\", "), 16, "")),
              IsEmpty())
      << "a part of the network is enough, and a part of an interface's network";
}

TEST(Plausibility, AClientNetworkWithoutAnInsideRouteIsNamed) {
  const std::string text = good_with(", \"--no-pci\"", "");
  const auto found = doubts(text);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_THAT(found[0],
              AllOf(HasSubstr("lsnd.conf:" + std::to_string(line_of(text, "10.0.0.0/16"))),
                    HasSubstr("client C1: network: given 10.0.0.0/16, allowed the network "
                              "of an inside interface, or one that a route leads to")));
  EXPECT_THAT(found[1], HasSubstr("client C2: network: given 10.1.0.0/16"));
}

TEST(Plausibility, ANetworkInADomainWithoutAnInterfaceIsNamed) {
  EXPECT_THAT(doubts(with(routed(), "\"10.1.0.0/16\"", "\"10.1.0.0/16 td 7\"")),
              ElementsAre(HasSubstr("client C2: network: given 10.1.0.0/16 td 7, allowed the "
                                    "network of an inside interface with td 7")));
}

TEST(Plausibility, ALongerRouteOutsideTakesTheNetworkAway) {
  const std::string routes = "routes = (";
  const std::string text = with(routed(), routes, routes + R"(
  { prefix = "10.1.0.0/16"; via = "198.51.100.11"; },)");
  EXPECT_THAT(doubts(text), ElementsAre(HasSubstr("client C2: network: given 10.1.0.0/16")));
}

TEST(Plausibility, ANatAddressOnAnInsideLinkIsNamed) {
  std::string text = with(routed(), "\"203.0.113.20\"", "\"192.0.2.200-192.0.2.210\"");
  text = with(text, "\"192.0.2.0/24\", ", "");
  EXPECT_THAT(doubts(text),
              ElementsAre(HasSubstr("pool P2: lsnip: given 192.0.2.200-192.0.2.210, allowed "
                                    "addresses of an outside link, or routed to us; inside "
                                    "interface in has 192.0.2.1/24")));
}

TEST(Plausibility, AnOutsideAddressThatIsASubscribersIsNamed) {
  const std::string text =
      with(routed(), "address = \"198.51.100.1/24\"", "address = \"10.0.0.1/24\"");
  EXPECT_THAT(doubts(with(text, "via = \"198.51.100.10\"", "via = \"10.0.0.10\"")),
              ElementsAre(HasSubstr("interface out: address: given 10.0.0.1/24, allowed an address "
                                    "used once; client C1 has 10.0.0.0/16")));
}

TEST(Plausibility, NoPciBesideAPciDeviceIsNamed) {
  const std::string text = with(routed(), "\"--in-memory\"", "\"--in-memory\", \"--no-pci\"");
  EXPECT_THAT(doubts(text), ElementsAre(HasSubstr("dataplane.eal: given \"--no-pci\", allowed not "
                                                  "with PCI devices; interface out has "
                                                  "0000:03:00.0")));
}

TEST(Plausibility, IsNotAReasonToRefuseARun) {
  EXPECT_THAT(problems_of(std::string(kGoodText)), IsEmpty());
}

}  // namespace
}  // namespace lsn::control
