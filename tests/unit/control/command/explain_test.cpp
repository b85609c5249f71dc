#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/control/command/support.hpp"

namespace lsn::control {
namespace {

using shared::Direction;
using shared::DropReason;
using shared::GateState;
using shared::Lookup;
using shared::Protocol;
using testing::HasSubstr;

/// A box in which nobody has anything, but for what a test says.
struct Explain : testing::Test {
  /// What the worker that it is about answers; of a free port there is one.
  void found(const std::function<void(Lookup&)>& look_up) {
    for (unsigned worker = 0; worker < 2; ++worker)
      bench.dataplane.answers(worker).look_up = [look_up](Lookup& lookup) { look_up(lookup); };
  }
  /// "verdict" or "verdict reason".
  std::string verdict(const std::string& packet) {
    const auto json = bench.json("explain " + packet);
    return json["verdict"].get<std::string>() +
           (json["reason"].is_null() ? "" : " " + json["reason"].get<std::string>());
  }
  static shared::SubscriberRow subscriber(std::uint32_t sessions, std::uint32_t ports = 0) {
    shared::SubscriberRow row;
    row.ip = ip("192.0.2.10");
    row.group = 0;
    row.sessions.fill(sessions);
    row.ports.fill(ports);
    return row;
  }
  static shared::MappingRow mapping() {
    shared::MappingRow row;
    row.subscriber_ip = ip("192.0.2.10");
    row.subscriber_port = 5000;
    row.nat_ip = ip("203.0.113.3");
    row.nat_port = 40000;
    row.group = 0;
    return row;
  }
  static shared::GateRow gate(GateState state) {
    shared::GateRow row;
    row.nat_ip = ip("203.0.113.3");
    row.server = ip("198.18.0.1");
    row.state = state;
    if (state != GateState::kClosed) row.holder = shared::InsideAddress{ip("192.0.2.77")};
    return row;
  }
  void SetUp() override {
    found([](Lookup&) {});
  }

  Bench bench;
  const std::string out = "192.0.2.10:5000 198.18.0.1:53 UDP";
  const std::string in = "198.18.0.1:53 203.0.113.3:40000 UDP";
};

TEST_F(Explain, APacketFromInsideByTheOrderOfTheRules) {
  EXPECT_EQ(verdict(out), "forwarded");
  EXPECT_EQ(verdict("192.0.2.10:1 192.0.2.1:1"), "local");
  EXPECT_EQ(verdict("192.0.2.10:1 224.0.0.1:1"), "dropped ip_destination_invalid");
  EXPECT_EQ(verdict("192.0.2.10:1 192.0.2.11:1"), "dropped inside_destination");
  EXPECT_EQ(verdict("192.0.2.10:1 198.51.100.255:1"), "dropped no_route");
  EXPECT_EQ(verdict("172.16.0.1:1 198.18.0.1:1"), "dropped not_a_client");
  EXPECT_EQ(verdict("203.0.113.3:1 224.0.0.1:1 -from inside"), "dropped spoofed_nat_source");
  EXPECT_EQ(verdict("192.0.2.10 198.18.0.1"), "forwarded") << "a ping";
  EXPECT_THAT(bench.text("explain " + out),
              testing::StartsWith("packet      UDP 192.0.2.10:5000 > 198.18.0.1:53, from inside\n"
                                  "client      C1\ngroup       G1, IPsec ALG ALG\n"));
}

TEST_F(Explain, LimitsAndFullTablesRefuseANewSession) {
  found([](Lookup& lookup) { lookup.subscriber = subscriber(5, 1000); });
  EXPECT_EQ(verdict("192.0.2.10:5000 198.18.0.1:500 UDP"), "dropped port_quota");
  found([](Lookup& lookup) { lookup.full = DropReason::kSessionTableFull; });
  EXPECT_EQ(verdict(out), "dropped session_table_full");
  EXPECT_EQ(verdict("192.0.2.10 198.18.0.1 esp 5"), "dropped session_table_full");
  found([](Lookup& lookup) {
    lookup.full = DropReason::kSessionTableFull;
    lookup.session.emplace();
  });
  EXPECT_EQ(verdict(out), "forwarded") << "a session that is there";
  const auto none_left = [&](Lookup& lookup) { lookup.no_port = DropReason::kPoolExhausted; };
  bench.dataplane.answers(0).look_up = bench.dataplane.answers(1).look_up = none_left;
  EXPECT_EQ(verdict(out), "dropped pool_exhausted");
  bench.dataplane.answers(0).look_up = [](Lookup& lookup) {
    lookup.subscriber = subscriber(1);
    lookup.subscriber->nat_ip = ip("203.0.113.3");
    lookup.no_port = DropReason::kPortsExhausted;
  };
  EXPECT_EQ(verdict("192.0.2.10:5000 198.18.0.1:500 UDP"), "dropped ports_exhausted");
}

TEST_F(Explain, ARateAndAReserveRefuseANewSession) {
  EXPECT_EQ(bench
                .say("set lsn transportprofile T-UDP -portReserve 10 -reservedFor 53,443 "
                     "-sessionRate 5 -sessionBurst 7")
                .out,
            "Done\n");
  found([](Lookup& lookup) { lookup.subscriber = subscriber(5, 990); });
  EXPECT_EQ(verdict("192.0.2.10:5000 198.18.0.1:500 UDP"), "dropped port_quota");
  EXPECT_EQ(verdict("192.0.2.10:5000 198.18.0.1:443 UDP"), "forwarded");
  EXPECT_THAT(bench.text("explain 192.0.2.10:5000 198.18.0.1:500 UDP"),
              HasSubstr("NAT ports 990 of 990, another 10 for reservedFor; 5 new sessions per "
                        "second, 7 at once"));
  EXPECT_THAT(bench.text("explain 192.0.2.10:5000 198.18.0.1:53 UDP"),
              HasSubstr("NAT ports 990 of 1000; 5 new"));
  found([](Lookup& lookup) { lookup.rate_spent = true; });
  EXPECT_EQ(verdict(out), "dropped session_rate");
  found([](Lookup& lookup) {
    lookup.rate_spent = true;
    lookup.session.emplace();
  });
  EXPECT_EQ(verdict(out), "forwarded") << "a session that is there";
}

TEST_F(Explain, APacketFromOutsideByMappingSessionAndFiltering) {
  EXPECT_EQ(verdict(in), "dropped no_mapping");
  EXPECT_EQ(verdict("198.18.0.1:53 203.0.113.200:1"), "dropped not_a_client") << "nobody's at all";
  EXPECT_EQ(verdict("198.18.0.1:53 203.0.113.200:1 -from outside"), "dropped not_for_us");
  EXPECT_EQ(verdict("192.0.2.10:1 203.0.113.3:1 -from outside"), "dropped spoofed_client_source");
  EXPECT_EQ(verdict("203.0.113.4:1 203.0.113.3:1 -from outside"), "dropped spoofed_nat_source");
  found([](Lookup& lookup) { lookup.port_taken = true; });
  EXPECT_EQ(verdict(in), "dropped filtered");
  found([](Lookup& lookup) {
    lookup.mapping = mapping();
    lookup.subscriber = subscriber(1);
  });
  EXPECT_EQ(verdict(in), "dropped filtered");
  found([](Lookup& lookup) {
    lookup.mapping = mapping();
    lookup.subscriber = subscriber(1);
    lookup.admits = true;
  });
  EXPECT_EQ(verdict(in), "forwarded");
  found([](Lookup& lookup) {
    lookup.mapping = mapping();
    lookup.subscriber = subscriber(1);
    lookup.admits = true;
    lookup.full = DropReason::kSessionTableFull;
  });
  EXPECT_EQ(verdict(in), "dropped session_table_full");
  found([](Lookup& lookup) { lookup.alg.keeps_ports = true; });
  EXPECT_EQ(verdict("198.18.0.1:500 203.0.113.3:500 UDP"), "depends");
  EXPECT_EQ(verdict("198.18.0.1:500 203.0.113.3:501 UDP"), "dropped no_mapping");
}

TEST_F(Explain, AHairpinnedPacketIsJudgedOnBothSides) {
  EXPECT_EQ(verdict("192.0.2.10:5000 203.0.113.4:9 UDP"), "depends") << "its NAT endpoint is open";
  found([](Lookup& lookup) {
    if (lookup.direction == Direction::kOutbound) lookup.mapping = mapping();
  });
  EXPECT_EQ(verdict("192.0.2.10:5000 203.0.113.4:9 UDP"), "dropped no_mapping");
  const std::string text = bench.text("explain 192.0.2.10:5000 203.0.113.4:9 UDP");
  EXPECT_THAT(text, HasSubstr("hairpin     UDP 203.0.113.3:40000 > 203.0.113.4:9\n"));
  found([](Lookup& lookup) {
    lookup.mapping = mapping();
    lookup.subscriber = subscriber(1);
    lookup.admits = lookup.direction == Direction::kInbound;
  });
  EXPECT_EQ(verdict("192.0.2.10:5000 203.0.113.4:9 UDP"), "forwarded");
  EXPECT_EQ(verdict("192.0.2.10:500 203.0.113.4:500 UDP"), "dropped alg_hairpin");
}

TEST_F(Explain, EspByGateAndQuota) {
  EXPECT_EQ(verdict("192.0.2.10 198.18.0.1 esp 5"), "forwarded");
  EXPECT_EQ(verdict("192.0.2.10 198.18.0.1 esp 0x0"), "dropped esp_spi_zero");
  EXPECT_EQ(verdict("10.1.0.1 198.18.0.1 esp 5"), "dropped esp_no_profile");
  EXPECT_EQ(verdict("192.0.2.10 203.0.113.4 esp 5"), "dropped alg_hairpin");
  found([](Lookup& lookup) {
    lookup.alg.gate = gate(GateState::kArmed);
    lookup.alg.is_free = false;
    lookup.subscriber = subscriber(256);
  });
  EXPECT_EQ(verdict("192.0.2.10 198.18.0.1 esp 5"), "dropped esp_out_gate_busy")
      << "the gate comes before the quota";
  EXPECT_THAT(bench.text("explain 192.0.2.10 198.18.0.1 esp 5"),
              HasSubstr("192.0.2.77 has the gate"));
  found([](Lookup& lookup) {
    lookup.alg.gate = gate(GateState::kClosed);
    lookup.alg.is_free = false;
  });
  EXPECT_EQ(verdict("192.0.2.10 198.18.0.1 esp 5"), "dropped esp_out_gate_busy")
      << "kept for another";
  found([](Lookup& lookup) { lookup.subscriber = subscriber(256); });
  EXPECT_EQ(verdict("192.0.2.10 198.18.0.1 esp 5"), "dropped esp_session_quota");
  EXPECT_EQ(verdict("198.18.0.1 203.0.113.3 esp 5"), "dropped esp_in_no_gate");
  found([](Lookup& lookup) { lookup.alg.no_profile = true; });
  EXPECT_EQ(verdict("198.18.0.1 203.0.113.3 esp 5"), "dropped esp_no_profile");
  for (const GateState state : {GateState::kArmed, GateState::kClosed}) {
    found([state](Lookup& lookup) { lookup.alg.gate = gate(state); });
    EXPECT_EQ(verdict("198.18.0.1 203.0.113.3 esp 5"), "depends");
  }
  found([](Lookup& lookup) { lookup.alg.gate = gate(GateState::kExchange); });
  EXPECT_EQ(verdict("198.18.0.1 203.0.113.3 esp 5"), "dropped esp_in_ambiguous");
  EXPECT_THAT(bench.text("explain 192.0.2.10:500 198.18.0.1:500 UDP"),
              HasSubstr("holds a phase 2 exchange while 192.0.2.77 has the gate"));
}

TEST_F(Explain, AClientInNoGroupIsNamed) {
  ASSERT_EQ(bench.text("add lsn client C3"), "Done\n");
  ASSERT_EQ(bench.text("bind lsn client C3 -network 172.16.0.0 -netmask 255.255.0.0"), "Done\n");
  EXPECT_THAT(bench.text("explain 172.16.0.1:1 198.18.0.1:1"),
              HasSubstr("C3, which is in no group"));
  EXPECT_THAT(bench.text("show subscriber 172.16.0.1"),
              HasSubstr("client     C3, which is in no group"));
  EXPECT_THAT(bench.text("show subscriber 203.0.113.3"),
              HasSubstr("client     none: it is a NAT address of P1"));
}

TEST_F(Explain, AnOutsidePacketToAStaticMappingIsWithinItsSubscribersLimits) {
  bench.text("add lsn static DNS UDP 192.0.2.10 5353 203.0.113.3 53");
  bench.text(
      "set lsn transportprofile T-UDP -sessionquota 7 -groupSessionLimit 900 -sessionRate 5");
  const std::string packet = "198.18.0.1:53 203.0.113.3:53 UDP";
  const auto has = [&](std::uint32_t sessions) {
    found([sessions](Lookup& lookup) {
      lookup.static_held = lookup.port_taken = true;
      lookup.subscriber = subscriber(sessions, 1000);
    });
  };
  has(6);
  EXPECT_EQ(verdict(packet), "forwarded") << "portquota does not count its port";
  const std::string text = bench.text("explain " + packet);
  EXPECT_THAT(text, HasSubstr("limits      UDP sessions 6 of 7; the group's sessions 0 of 900\n"));
  EXPECT_THAT(text, HasSubstr("static      192.0.2.10:5353 is 203.0.113.3:53\n"));
  has(7);
  EXPECT_EQ(verdict(packet), "dropped session_quota");
  bench.config.generation().groups[0].usage->sessions[1] = 900;
  has(6);
  EXPECT_EQ(verdict(packet), "dropped group_session_limit");
  found([](Lookup& lookup) {
    lookup.static_held = true;
    lookup.full = DropReason::kSubscriberTableFull;
  });
  EXPECT_EQ(verdict(packet), "dropped subscriber_table_full");
}

TEST_F(Explain, AStaticMappingForAnotherDestinationIsNamed) {
  bench.text("add lsn static DNS UDP 192.0.2.10 5353 203.0.113.3 53 -destIP 198.18.0.9");
  found([](Lookup& lookup) {
    lookup.port_taken = true;
    lookup.static_held = lookup.remote == ip("198.18.0.9");
  });
  EXPECT_EQ(verdict("198.18.0.9:53 203.0.113.3:53 UDP"), "forwarded");
  EXPECT_THAT(bench.text("explain 198.18.0.9:53 203.0.113.3:53 UDP"),
              HasSubstr("static      192.0.2.10:5353 is 203.0.113.3:53, for destIP 198.18.0.9\n"));
  const std::string other = "198.18.0.1:53 203.0.113.3:53 UDP";
  EXPECT_EQ(verdict(other), "dropped filtered");
  EXPECT_THAT(bench.text("explain " + other),
              HasSubstr("static      192.0.2.10:5353 is 203.0.113.3:53, for destIP 198.18.0.9 "
                        "alone, not for 198.18.0.1\n"));
  EXPECT_THAT(bench.text("explain " + other),
              HasSubstr("filtered: the static mapping of that NAT endpoint lets its destIP in, and "
                        "not 198.18.0.1\n"));
  // From inside the same endpoint is translated dynamically.
  const std::string out_text = bench.text("explain 192.0.2.10:5353 198.18.0.1:53 UDP");
  EXPECT_THAT(out_text, HasSubstr("for destIP 198.18.0.9 alone, not for 198.18.0.1\n"));
  EXPECT_THAT(out_text, HasSubstr("from a free port of any address of P1"));
  EXPECT_THAT(bench.text("explain 192.0.2.10:5354 198.18.0.1:53 UDP"),
              testing::Not(HasSubstr("static")));
}

TEST_F(Explain, OfSeveralStaticMappingsForOthersTheFirstAreNamed) {
  for (unsigned i = 1; i <= 5; ++i)
    bench.text(fmt::format(
        "add lsn static D{0} UDP 192.0.2.10 53 203.0.113.3 53 -destIP 198.18.1.{0}", i));
  const std::string text = bench.text("explain 198.18.0.1:53 203.0.113.3:53 UDP");
  EXPECT_THAT(text, HasSubstr("for destIP 198.18.1.3 alone"));
  EXPECT_THAT(text, testing::Not(HasSubstr("198.18.1.4")));
  EXPECT_THAT(text, HasSubstr("static      and 2 more for other destIPs (show lsn static)\n"));
}

TEST_F(Explain, ADeterministicSubscriberIsPairedByItself) {
  bench.text("add lsn client C5");
  bench.text("bind lsn client C5 -network 10.5.0.0 -netmask 255.255.255.0");
  bench.text("add lsn pool P5 -nattype DETERMINISTIC");
  bench.text("bind lsn pool P5 203.0.113.60-203.0.113.69");
  bench.text("add lsn group G5 -clientname C5 -nattype DETERMINISTIC -portblocksize 1024");
  bench.text("bind lsn group G5 -poolname P5");
  EXPECT_THAT(bench.text("explain 10.5.0.7:5000 198.18.0.1:53 UDP"),
              HasSubstr("ippooling PAIRED by deterministic NAT, mapping "));
}

TEST_F(Explain, OfTwoWorkersThatHaveASubscriberTheOwnerAnswers) {
  // Each says its own number of sessions.
  for (unsigned worker = 0; worker < 2; ++worker)
    bench.dataplane.answers(worker).look_up = [worker](Lookup& lookup) {
      lookup.subscriber = subscriber(worker + 1);
    };
  for (const char* host : {"192.0.2.10", "192.0.2.11", "192.0.2.12", "192.0.2.13"}) {
    const unsigned owner =
        bench.config.generation().maps.front()->owner_of(shared::InsideAddress{ip(host)});
    EXPECT_THAT(bench.text(fmt::format("explain {}:5000 198.18.0.1:53 UDP", host)),
                testing::AllOf(HasSubstr(fmt::format("worker      {} ", owner)),
                               HasSubstr(fmt::format("UDP sessions {}, no", owner + 1))));
  }
}

TEST_F(Explain, RefusesWhatIsNoPacket) {
  EXPECT_THAT(bench.error("explain 192.0.2.10"), HasSubstr("given nothing"));
  EXPECT_THAT(bench.error("explain 192.0.2.10:1 198.18.0.1 UDP"), HasSubstr("no port"));
  EXPECT_THAT(bench.error("explain 192.0.2.10 198.18.0.1 esp"), HasSubstr("explain: SPI"));
  EXPECT_THAT(bench.error("explain 192.0.2.10:1 198.18.0.1 esp 5"), HasSubstr("a port"));
  EXPECT_THAT(bench.error("explain 192.0.2.10:1 198.18.0.1:1 udp 5"),
              HasSubstr("given 5 behind UDP"));
  EXPECT_THAT(bench.error("explain 192.0.2.10:1 198.18.0.1:2 icmp"), HasSubstr("two identifiers"));
  EXPECT_THAT(bench.error("explain 192.0.2.10:70000 198.18.0.1:1"), HasSubstr("A.B.C.D:PORT"));
  EXPECT_THAT(bench.error("explain 192.0.2.10:1 198.18.0.1:1 gre"),
              HasSubstr("TCP, UDP, ICMP or ESP"));
  EXPECT_THAT(bench.error("explain 192.0.2.10:1 198.18.0.1:1 -from above"),
              HasSubstr("inside or outside"));
  found([](Lookup& lookup) { EXPECT_EQ(lookup.local_port, 77); });
  EXPECT_EQ(verdict("198.18.0.1 203.0.113.3:77 ICMP"), "dropped no_mapping");
}

}  // namespace
}  // namespace lsn::control
