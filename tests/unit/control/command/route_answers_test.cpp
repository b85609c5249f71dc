#include "lsn/control/command/route_answers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/control/command/support.hpp"

namespace lsn::control {
namespace {

using shared::RouteRow;
using testing::HasSubstr;

RouteRow row(const char* first, unsigned length, const char* via, std::uint32_t metric = 20) {
  RouteRow route;
  route.prefix = {ip(first), length};
  route.metric = metric;
  route.protocol = 186;
  route.hops = {{1, 1, ip(via), false, true}};
  route.is_in_force = true;
  return route;
}

TEST(ShowRoute, ListsConnectedNetworksAndConfiguredRoutes) {
  Bench bench;
  EXPECT_EQ(bench.text("show route"),
            "prefix              via              interface  kind       weight  from      metric  "
            "state\n"
            "------------------  ---------------  ---------  ---------  ------  --------  ------  "
            "-----\n"
            "192.0.2.0/24        -                in         CONNECTED       -  -              -  "
            "ACTIVE\n"
            "198.51.100.0/24     -                out        CONNECTED       -  -              -  "
            "ACTIVE\n"
            "0.0.0.0/0           198.51.100.10    out        STATIC          1  -              -  "
            "ACTIVE\n"
            "3 routes\n");
  EXPECT_EQ(bench.json("show route")["routes"][2], nlohmann::json({{"prefix", "0.0.0.0/0"},
                                                                   {"via", "198.51.100.10"},
                                                                   {"interface", "out"},
                                                                   {"kind", "STATIC"},
                                                                   {"weight", 1},
                                                                   {"state", "ACTIVE"}}));
  EXPECT_EQ(bench.json("show route -count"), nlohmann::json({{"count", 3}}));
}

TEST(ShowRoute, ListsTheKernelsToo) {
  Bench bench;
  // More than are asked for at a time; the last one yields to the configured one of its prefix.
  for (unsigned i = 0; i < 1000; ++i) {
    RouteRow route = row("0.0.0.0", 24, "198.51.100.77");
    route.prefix.address = wire::Ipv4Address{0x14000000 + (i << 8)};
    bench.dataplane.kernel_rows.push_back(route);
  }
  bench.dataplane.kernel_rows.push_back(row("0.0.0.0", 0, "198.51.100.77"));
  const auto json = bench.json("show route");
  ASSERT_EQ(json["count"], 1004);
  EXPECT_EQ(json["routes"][3], nlohmann::json({{"prefix", "20.0.0.0/24"},
                                               {"via", "198.51.100.77"},
                                               {"interface", "out"},
                                               {"kind", "KERNEL"},
                                               {"weight", 1},
                                               {"from", "bgp"},
                                               {"metric", 20},
                                               {"state", "ACTIVE"}}));
  EXPECT_EQ(json["routes"][1003]["state"], "INACTIVE");
}

TEST(ShowRoute, OfAnAddressIsTheLongestThatCoversIt) {
  Bench bench;
  bench.dataplane.kernel_rows = {row("20.0.0.0", 8, "198.51.100.77")};
  EXPECT_EQ(bench.json("show route 20.1.2.3")["routes"][0]["prefix"], "20.0.0.0/8");
  EXPECT_EQ(bench.json("show route 20.1.2.3")["count"], 1);
  EXPECT_EQ(bench.json("show route 21.1.2.3")["routes"][0]["prefix"], "0.0.0.0/0");
  EXPECT_EQ(bench.json("show route 192.0.2.7")["routes"][0]["kind"], "CONNECTED");
  EXPECT_THAT(bench.error("show route x"), HasSubstr("given \"x\""));
}

TEST(StatRoute, CountsWhatTheKernelHasSaid) {
  Bench bench;
  EXPECT_EQ(bench.json("stat route"), nlohmann::json({{"configured", 1}, {"kernel", nullptr}}));
  bench.dataplane.kernel_routes_status = shared::KernelRoutesStatus{.routes = 5,
                                                                    .groups = 2,
                                                                    .no_room = 0,
                                                                    .changes = 9,
                                                                    .unusable = 1,
                                                                    .readings = 1,
                                                                    .overruns = 0,
                                                                    .is_complete = true};
  EXPECT_EQ(bench.json("stat route")["kernel"]["routes"], 5);
  EXPECT_THAT(bench.text("stat route"), HasSubstr("from the kernel          5"));
}

TEST(RouteProtocol, HasTheNameThatIproute2Gives) {
  EXPECT_EQ(route_protocol(186), "bgp");
  EXPECT_EQ(route_protocol(12), "bird");
  EXPECT_EQ(route_protocol(99), "99");
}

}  // namespace
}  // namespace lsn::control
