#include "lsn/shared/link_addresses.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace lsn::shared {
namespace {

using wire::Ipv4Address;

TEST(LinkAddresses, AnEmptyOneKnowsNobody) {
  for (const std::uint32_t address : {0u, 1u, 0x80000000u, 0xFFFFFFFFu})
    EXPECT_EQ(LinkAddresses{}.find(Ipv4Address{address}), LinkAddress::kNone);
  EXPECT_EQ(LinkAddresses(std::vector<std::pair<Ipv4Address, LinkAddress>>{}).find(Ipv4Address{7}),
            LinkAddress::kNone);
}

TEST(LinkAddresses, OfAnAddressThatIsGivenTwiceTheFirstCounts) {
  const LinkAddresses all({{Ipv4Address{7}, LinkAddress::kOwn},
                           {Ipv4Address{9}, LinkAddress::kBroadcast},
                           {Ipv4Address{7}, LinkAddress::kBroadcast},
                           {Ipv4Address{9}, LinkAddress::kOwn}});
  EXPECT_EQ(all.find(Ipv4Address{7}), LinkAddress::kOwn);
  EXPECT_EQ(all.find(Ipv4Address{9}), LinkAddress::kBroadcast);
}

TEST(LinkAddresses, FindsWhatAMapFinds) {
  std::mt19937 random{5};
  for (const std::size_t count : {1u, 2u, 6u, 63u, 64u, 3072u}) {
    std::map<std::uint32_t, LinkAddress> model;
    std::vector<std::pair<Ipv4Address, LinkAddress>> given;
    while (model.size() < count) {
      // Close to one another, as links' addresses are, and anywhere.
      const auto address =
          static_cast<std::uint32_t>(random() % 2 == 0 ? 0xC0000200 + random() % 8192 : random());
      const LinkAddress what = random() % 3 == 0 ? LinkAddress::kOwn : LinkAddress::kBroadcast;
      if (model.emplace(address, what).second) given.emplace_back(Ipv4Address{address}, what);
    }
    const LinkAddresses all(given);
    for (const auto& [address, what] : model)
      EXPECT_EQ(all.find(Ipv4Address{address}), what) << address;
    for (int i = 0; i < 20000; ++i) {
      const auto address =
          static_cast<std::uint32_t>(i % 2 == 0 ? 0xC0000200 + random() % 8192 : random());
      const auto known = model.find(address);
      ASSERT_EQ(all.find(Ipv4Address{address}),
                known == model.end() ? LinkAddress::kNone : known->second)
          << address << " of " << count;
    }
  }
}

}  // namespace
}  // namespace lsn::shared
