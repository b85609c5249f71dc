#include "lsn/control/config/port_blocks.hpp"

#include <fmt/format.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "lsn/control/config/check_report.hpp"
#include "lsn/control/config/generation_builder.hpp"
#include "unit/control/config/support.hpp"

namespace lsn::control {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kGroup2 = "poolname = [ \"P2\" ];";
constexpr std::string_view kPool2 = "name = \"P2\";";

/// Group G2 (client 10.1.0.0/16) on P2 (17 addresses), and pool P2, with these settings.
std::string with_settings(const std::string& pool, const std::string& group,
                          const std::string& network = "10.1.0.0/16") {
  return with(with(good_with(kPool2, std::string(kPool2) + pool), std::string(kGroup2),
                   std::string(kGroup2) + group),
              "network = [ \"10.1.0.0/16\" ]", fmt::format("network = [ \"{}\" ]", network));
}

void expect_one_problem(const std::string& text, const std::vector<std::string>& words) {
  const auto problems = problems_of(text);
  ASSERT_EQ(problems.size(), 1U) << to_string(problems);
  for (const std::string& word : words) EXPECT_THAT(problems[0].text, HasSubstr(word));
}

constexpr const char* kDeterministic = " nattype = \"DETERMINISTIC\";";
constexpr const char* kEnabled = " portblockallocation = \"ENABLED\";";

TEST(PortBlockRules, BlocksAreOfPoolsThatAllocateThem) {
  EXPECT_TRUE(problems_of(with_settings(kEnabled, " portblocksize = 512;")).empty());
  EXPECT_TRUE(problems_of(with_settings(kEnabled, "")).empty());
  expect_one_problem(
      with_settings("", " portblocksize = 512;"),
      {"group G2: portblocksize", "given 512", "pools with portblockallocation ENABLED",
       "set lsn pool NAME -portblockallocation ENABLED"});
}

TEST(PortBlockRules, ABlockFitsIntoThePortsFrom1024On) {
  EXPECT_TRUE(problems_of(with_settings(kEnabled, " portblocksize = 64512;")).empty());
  expect_one_problem(with_settings(kEnabled, " portblocksize = 64513;"),
                     {"portblocksize", "given 64513", "64512 at most"});
  expect_one_problem(with_settings(kEnabled, " portblocksize = 255;"), {"0 or 256-65536"});
  expect_one_problem(with_settings(kEnabled, " maxBlocks = 513;"), {"maxBlocks", "1-512"});
  expect_one_problem(with_settings(kEnabled, " maxBlocks = 0;"), {"maxBlocks", "1-512"});
  expect_one_problem(with_settings(kEnabled, " blockTimeout = 86401;"),
                     {"blockTimeout", "0-86400 s"});
}

TEST(PortBlockRules, PoolsOfAGroupAllAllocateBlocksOrNoneDoes) {
  expect_one_problem(
      with(with_settings(kEnabled, ""), std::string(kGroup2), "poolname = [ \"P2\", \"P1\" ];"),
      {"group G2: poolname", "pool P1 with portblockallocation DISABLED",
       "one portblockallocation in a group"});
}

TEST(PortBlockRules, GroupsOfAPoolHaveOneSizeOfBlocks) {
  const std::string text =
      with(with_settings(kEnabled, " portblocksize = 512;"), "poolname = [ \"P1\" ];",
           "poolname = [ \"P2\" ]; portblocksize = 1024;");
  expect_one_problem(text, {"portblocksize 512", "one portblocksize in all groups of the pool",
                            "group G1 has 1024"});
}

TEST(DeterministicRules, EverySubscriberNeedsABlock) {
  // 17 addresses of 252 blocks of 256 ports.
  EXPECT_TRUE(problems_of(with_settings(kDeterministic, kDeterministic, "10.1.0.0/20")).empty());
  expect_one_problem(with_settings(kDeterministic, kDeterministic, "10.1.0.0/19"),
                     {"group G2: poolname", "8192 subscribers and 4284 blocks of 256 ports",
                      "3908 blocks are missing", "16 more NAT addresses", "smaller portblocksize"});
  EXPECT_TRUE(problems_of(with_settings(kDeterministic,
                                        std::string(kDeterministic) + " portblocksize = 1024;",
                                        "10.1.0.0/22"))
                  .empty());
}

TEST(DeterministicRules, ADeterministicPoolIsOneGroups) {
  const std::string text = with(
      with(with_settings(kDeterministic, kDeterministic, "10.1.0.0/24"), "poolname = [ \"P1\" ];",
           "poolname = [ \"P2\" ]; nattype = \"DETERMINISTIC\"; portblocksize = 64512;"),
      "[ \"192.0.2.0/24\", \"10.0.0.0/16\" ]", "[ \"10.0.0.0/29\" ]");
  expect_one_problem(text, {"deterministic pool P2", "it is in group G1"});
}

// A subscriber with a static mapping is the worker's of that NAT address; what the mapping does not
// translate needs the subscriber's own.
TEST(DeterministicRules, WithSeveralWorkersAStaticMappingIsOfAllThatASubscriberSends) {
  Model model = control::model_of(with_settings(kDeterministic, kDeterministic, "10.1.0.0/24"));
  StaticConfig mapping;
  mapping.name = "A";
  mapping.subscr_ip = *wire::parse_ipv4("10.1.0.9");
  mapping.subscr_port = {0, true};
  mapping.nat_ip = *wire::parse_ipv4("203.0.113.3");
  mapping.nat_port = StaticPort{0, true};
  model.lsn.group[0].poolname.clear();  // P1 is nobody's
  model.lsn.statics = {mapping};
  EXPECT_THAT(to_string(check_model(model)), IsEmpty());
  model.lsn.statics[0].dest_ip = wire::parse_ipv4("198.18.0.1");
  EXPECT_THAT(
      to_string(check_model(model)),
      HasSubstr("static A: transportprotocol: given ALL with destIP 198.18.0.1, allowed ALL "
                "without destIP for a subscriber of deterministic group G2"));
  model.dataplane.workers = {1};
  EXPECT_THAT(to_string(check_model(model)), IsEmpty());
}

TEST(DeterministicRules, TheAlgNeedsNoPairedProfile) {
  EXPECT_TRUE(problems_of(with_settings(kDeterministic,
                                        std::string(kDeterministic) + " ipsecAlgProfile = \"ALG\";",
                                        "10.1.0.0/24"))
                  .empty());
  EXPECT_FALSE(problems_of(with_settings("", " ipsecAlgProfile = \"ALG\";")).empty());
}

TEST(DeterministicCheck, ReportHasTheRatioAndNoComplaintAboutPooling) {
  const Model model =
      control::model_of(with_settings(kDeterministic, kDeterministic, "10.1.0.0/20"));
  const std::string report = check_report(model, {});
  EXPECT_THAT(report, HasSubstr("deterministic NAT, PORTS: 4096 subscribers on 17 addresses, "
                                "blocks of 256 ports, 252 of an address: 4284 blocks, 188 free"));
  const auto* group = find_by_name(model.lsn.group, "G2");
  for (const std::string& deviation : deviations(model, *group))
    EXPECT_THAT(deviation, ::testing::Not(HasSubstr("ippooling")));
}

TEST(PortBlockCheck, ReportHasTheSizes) {
  EXPECT_THAT(
      check_report(control::model_of(with_settings(kEnabled, " portblocksize = 1000;")), {}),
      HasSubstr("port blocks of 1000 ports, 64 of an address; up to 8 for a subscriber, "
                "each kept 120 s without ports in use"));
}

TEST(DeterministicGeneration, WorkersAskTheMapOfTheConfiguration) {
  const Model model =
      control::model_of(with_settings(kDeterministic, kDeterministic, "10.1.0.0/20"));
  const auto generation = build_generation(model, nullptr);
  const auto& groups = generation->groups;
  const auto group = std::find_if(groups.begin(), groups.end(),
                                  [](const shared::Group& g) { return g.name == "G2"; });
  ASSERT_NE(group->deterministic, nullptr);
  EXPECT_EQ(*group->deterministic, deterministic_map(model, *find_by_name(model.lsn.group, "G2")));
  EXPECT_EQ(group->blocks.size, 0u);
  // Pools' addresses in ascending order: 203.0.113.20 comes before .128.
  EXPECT_EQ(wire::to_string(group->deterministic->nat_addresses().at(0).address), "203.0.113.20");
  for (std::uint32_t n = 0; n < 4096; n += 100) {
    const shared::InsideAddress subscriber{wire::Ipv4Address{0x0A010000 + n}};
    const auto block = group->deterministic->forward(subscriber);
    EXPECT_EQ(generation->maps.front()->owner_of(subscriber),
              generation->nat_addresses.find(block->nat_ip)->owner);
  }
}

// By hand, as the design says: subscribers and addresses listed one by one.
TEST(DeterministicGeneration, RandomConfigurationsAnswerAsAListByHandDoes) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);
  const auto below = [&random](unsigned n) { return static_cast<unsigned>(random() % n); };
  for (unsigned round = 0; round < 10000; ++round) {
    const std::uint32_t size = 256 + below(below(2) == 0 ? 1000 : 64257);
    const std::uint32_t per_address = 64512 / size;
    std::vector<std::uint32_t> subscribers, addresses;
    std::vector<shared::InsideRange> inside;
    std::vector<wire::Ipv4Range> outside;
    const auto add = [&](auto& ranges, std::vector<std::uint32_t>& list, std::uint32_t first,
                         unsigned count) {
      ranges.push_back({wire::Ipv4Address{first}, wire::Ipv4Address{first + count - 1}});
      for (unsigned i = 0; i < count; ++i) list.push_back(first + i);
    };
    for (unsigned n = 1 + below(3); n-- != 0;)
      add(outside, addresses, 0xCB007100 + n * 1000 + below(900), 1 + below(5));
    for (unsigned n = 1 + below(4); n-- != 0;)
      add(inside, subscribers, 0x0A000000 + n * 100000 + below(90000), 1 + below(40));
    std::shuffle(inside.begin(), inside.end(), random);
    std::sort(subscribers.begin(), subscribers.end());
    std::sort(addresses.begin(), addresses.end());
    const bool ports = below(2) == 0;
    const shared::DeterministicMap map(
        inside, outside, size, ports ? shared::BlockOrder::kPorts : shared::BlockOrder::kAddresses);
    for (std::size_t n = 0; n < subscribers.size(); ++n) {
      const shared::InsideAddress subscriber{wire::Ipv4Address{subscribers[n]}};
      const auto block = map.forward(subscriber);
      if (n >= addresses.size() * per_address) {
        ASSERT_FALSE(block);
        continue;
      }
      const std::size_t address = ports ? n / per_address : n % addresses.size();
      const std::size_t number = ports ? n % per_address : n / addresses.size();
      ASSERT_TRUE(block);
      ASSERT_EQ(block->nat_ip.value, addresses[address]);
      ASSERT_EQ(block->first, 1024 + number * size);
      ASSERT_EQ(block->last, 1024 + number * size + size - 1);
      for (const std::uint16_t port : {block->first, block->last})
        ASSERT_EQ(map.reverse(block->nat_ip, port), subscriber);
    }
  }
}

}  // namespace
}  // namespace lsn::control
