#include "lsn/control/config/pool_spread.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/control/config/support.hpp"

namespace lsn::control {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Model spread_model(unsigned workers, std::vector<wire::Ipv4Range> addresses,
                   std::string device = "0000:3b:00.0") {
  Model model = good_model();
  for (InterfaceConfig& interface : model.interfaces) interface.device = device;
  model.dataplane.workers.clear();
  for (unsigned w = 0; w < workers; ++w) model.dataplane.workers.push_back(w);
  model.lsn.pool.resize(1);
  model.lsn.pool[0].name = "P";
  model.lsn.pool[0].lsnip = std::move(addresses);
  for (GroupConfig& group : model.lsn.group) group.poolname = {"P"};
  return model;
}

wire::Ipv4Range range(std::uint32_t first, std::uint32_t count) {
  return {wire::Ipv4Address{first}, wire::Ipv4Address{first + count - 1}};
}

TEST(PoolSpread, AddressesInARowAreSpreadEvenly) {
  for (const char* device : {"0000:3b:00.0", "net_memif0,role=client"}) {
    const auto spreads = pool_spreads(spread_model(3, {range(0xCB007105, 7)}, device));
    ASSERT_EQ(spreads.size(), 1U);
    EXPECT_THAT(spreads[0].addresses, testing::UnorderedElementsAre(2, 2, 3));
    EXPECT_EQ(unevenness(spreads[0]), std::nullopt);
  }
}

TEST(PoolSpread, SaysIfAWorkerHasNoneOrTooManyOfManyAddresses) {
  EXPECT_EQ(unevenness({"P", {5, 4, 4, 4}}), std::nullopt);
  EXPECT_EQ(unevenness({"P", {2, 1, 0, 0}}), std::nullopt) << "too few for all";
  EXPECT_THAT(unevenness({"P", {8, 4, 4, 0}}).value_or(""),
              HasSubstr("pool P is spread unevenly, 8, 4, 4, 0 on 4 workers"));
  EXPECT_THAT(unevenness({"P", {12, 4, 4, 4}}).value_or(""), HasSubstr("in a row"));
}

TEST(PoolSpread, SaysItInOneLine) {
  EXPECT_EQ(to_text({"P", {7}}), "7 on 1 worker");
  EXPECT_EQ(to_text({"P", {4, 3}}), "4, 3 on 2 workers");
  EXPECT_EQ(to_text({"P", {4, 4, 4, 4, 4}}), "4 on each of 5 workers");
  EXPECT_EQ(to_text({"P", {4, 5, 4, 4, 4}}), "4 to 5 on each of 5 workers");
}

TEST(PoolSpread, ABondOfNicsHasTheClassesOfNics) {
  std::vector<wire::Ipv4Range> of_one_class;  // of 128
  for (std::uint32_t a = 0xC6000000; of_one_class.size() < 16; ++a)
    if (shared::AddressClasses(7).of(wire::Ipv4Address{a}) == 5)
      of_one_class.push_back(range(a, 1));
  const Model nic = spread_model(4, of_one_class);
  const Model bond = spread_model(4, of_one_class, "net_bonding0,mode=4,slave=0000:3b:00.0");
  EXPECT_NE(unevenness(pool_spreads(nic)[0]), std::nullopt);
  EXPECT_EQ(unevenness(pool_spreads(bond)[0]), unevenness(pool_spreads(nic)[0]));
}

}  // namespace
}  // namespace lsn::control
