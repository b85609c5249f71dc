#include "lsn/shared/bypass.hpp"

#include <gtest/gtest.h>

#include <array>
#include <random>

namespace lsn::shared {
namespace {

using wire::Ipv4Address;

TEST(Bypass, CoversWhatOneOfItsRulesDoes) {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<BypassRule> rules;
    for (unsigned n = random() % 8; n != 0; --n) {
      BypassRule rule;
      const auto first = static_cast<std::uint32_t>(random() % 60);
      rule.destinations = {Ipv4Address{first},
                           Ipv4Address{first + static_cast<std::uint32_t>(random() % 40)}};
      if (random() % 20 == 0) rule.destinations = {Ipv4Address{0}, Ipv4Address{0xFFFFFFFF}};
      constexpr std::uint8_t kProtocols[] = {0, 6, 17, 1};
      rule.protocol = kProtocols[random() % 4];
      if (random() % 2 == 0) {
        rule.first_port = static_cast<std::uint16_t>(random() % 10);
        rule.last_port = static_cast<std::uint16_t>(rule.first_port + random() % 5);
      }
      rules.push_back(rule);
    }
    const Bypass bypass(rules);
    for (std::uint32_t address = 0; address < 110; ++address)
      for (const std::uint8_t protocol : std::to_array<std::uint8_t>({1, 6, 17, 47}))
        for (std::uint16_t port = 0; port < 16; ++port) {
          const bool has_ports = protocol == 6 || protocol == 17;
          bool covered = false, maybe = false;
          for (const BypassRule& rule : rules) {
            if (!rule.destinations.contains(Ipv4Address{address}) ||
                (rule.protocol != 0 && rule.protocol != protocol))
              continue;
            const bool all = rule.first_port == 0 && rule.last_port == 65535;
            covered |= all || (has_ports && rule.first_port <= port && port <= rule.last_port);
            maybe |= !all && has_ports;
          }
          ASSERT_EQ(bypass.covers(Ipv4Address{address}, protocol, port) == Coverage::kYes, covered);
          const Coverage unknown = bypass.covers(Ipv4Address{address}, protocol, std::nullopt);
          ASSERT_EQ(unknown == Coverage::kByPort && !covered && !maybe, false);
          if (!covered && !maybe) {
            ASSERT_EQ(unknown, Coverage::kNo);
          }
        }
  }
}

TEST(Bypass, WithoutRules_CoversNothing) {
  EXPECT_TRUE(Bypass{}.empty());
  EXPECT_EQ(Bypass{}.covers(Ipv4Address{7}, 6, 80), Coverage::kNo);
}

}  // namespace
}  // namespace lsn::shared
