#include "lsn/shared/static_mappings.hpp"

#include <gtest/gtest.h>

#include <random>

namespace lsn::shared {
namespace {

using wire::Ipv4Address;

constexpr Ipv4Address kAny{};

/// All that fit, by looking at each.
const StaticMapping* slow_find(const std::vector<StaticMapping>& all, bool by_nat,
                               StaticScope scope, Ipv4Address local, std::uint16_t port,
                               Ipv4Address remote) {
  for (const StaticMapping& m : all) {
    if ((by_nat ? m.nat_ip : m.inside_ip) != local) continue;
    if (m.scope != StaticScope::kAll && m.scope != scope) continue;
    if (!m.is_whole && (by_nat ? m.nat_port : m.inside_port) != port) continue;
    if (m.destination != kAny && m.destination != remote) continue;
    return &m;
  }
  return nullptr;
}

TEST(StaticMappings, FindsWhatLookingAtEachFinds) {
  std::mt19937 random(7);
  std::vector<StaticMapping> all;
  const auto collides = [&](const StaticMapping& with, bool by_nat) {
    for (const StaticMapping& m : all) {
      if ((by_nat ? m.nat_ip : m.inside_ip) != (by_nat ? with.nat_ip : with.inside_ip)) continue;
      if (m.scope != with.scope && m.scope != StaticScope::kAll && with.scope != StaticScope::kAll)
        continue;
      if (!m.is_whole && !with.is_whole &&
          (by_nat ? m.nat_port != with.nat_port : m.inside_port != with.inside_port))
        continue;
      if (m.destination == with.destination || m.destination == kAny || with.destination == kAny)
        return true;
    }
    return false;
  };
  for (int tries = 0; tries < 3000; ++tries) {
    StaticMapping m;
    m.inside_ip = Ipv4Address{0x0A000000u + static_cast<unsigned>(random() % 40)};
    m.nat_ip = Ipv4Address{0xCB007100u + static_cast<unsigned>(random() % 40)};
    m.scope = static_cast<StaticScope>(random() % 4);
    m.is_whole = m.scope == StaticScope::kAll || random() % 4 == 0;
    if (!m.is_whole) {
      m.inside_port = static_cast<std::uint16_t>(random() % 6);
      m.nat_port = static_cast<std::uint16_t>(random() % 6);
    }
    if (random() % 3 == 0)
      m.destination = Ipv4Address{0x08080800u + static_cast<unsigned>(random() % 3)};
    if (!collides(m, false) && !collides(m, true)) all.push_back(m);
  }
  ASSERT_GT(all.size(), 30u);
  const StaticMappings table(all);
  for (unsigned host = 0; host < 42; ++host)
    for (unsigned p = 0; p < 3; ++p)
      for (unsigned port = 0; port < 7; ++port)
        for (unsigned d = 0; d < 4; ++d) {
          const auto scope = static_cast<StaticScope>(p);
          const Ipv4Address remote{0x08080800u + d};
          const Ipv4Address inside{0x0A000000u + host}, nat{0xCB007100u + host};
          const auto number = static_cast<std::uint16_t>(port);
          const auto* by_inside = table.find_inside(scope, {inside}, number, remote);
          const auto* wanted = slow_find(all, false, scope, inside, number, remote);
          ASSERT_EQ(by_inside == nullptr, wanted == nullptr);
          if (wanted != nullptr) {
            ASSERT_EQ(*by_inside, *wanted);
          }
          const auto* by_nat = table.find_nat(scope, nat, number, remote);
          wanted = slow_find(all, true, scope, nat, number, remote);
          ASSERT_EQ(by_nat == nullptr, wanted == nullptr);
          if (wanted != nullptr) {
            ASSERT_EQ(*by_nat, *wanted);
          }
        }
  for (unsigned host = 0; host < 42; ++host) {
    const Ipv4Address nat{0xCB007100u + host};
    ASSERT_EQ(table.has_whole(nat), std::any_of(all.begin(), all.end(), [&](const auto& m) {
                return m.nat_ip == nat && m.is_whole;
              }));
    for (unsigned port = 0; port < 7; ++port)
      ASSERT_EQ(table.has_nat_endpoint(StaticScope::kUdp, nat, static_cast<std::uint16_t>(port)),
                std::any_of(all.begin(), all.end(), [&](const auto& m) {
                  return m.nat_ip == nat &&
                         (m.scope == StaticScope::kUdp || m.scope == StaticScope::kAll) &&
                         (m.is_whole || m.nat_port == port);
                }));
  }
}

TEST(StaticMappings, EmptyTable_FindsNothing) {
  const StaticMappings none;
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.find_inside(StaticScope::kTcp, {Ipv4Address{1}}, 1, kAny), nullptr);
  EXPECT_EQ(none.find_nat(Ipv4Address{1}, kAny), nullptr);
  EXPECT_FALSE(none.has_whole(Ipv4Address{1}));
}

}  // namespace
}  // namespace lsn::shared
