// Each setting by itself: kind, range, default.
#include "support.hpp"

namespace lsn::control {
namespace {

using shared::Dependence;
using shared::Pooling;
using shared::Protocol;
using testing::HasSubstr;

TEST(Settings, TheGoodTextGivesWhatItSays) {
  const Model m = good_model();
  EXPECT_EQ(m.dataplane.workers, (std::vector<std::uint32_t>{1, 2}));
  EXPECT_EQ(m.dataplane.eal, (std::vector<std::string>{"--in-memory", "--no-pci"}));
  EXPECT_EQ(m.dataplane.max_sessions, 65536U);
  EXPECT_EQ(m.dataplane.fragments.max, 100U);
  EXPECT_EQ(m.dataplane.fragments.timeout, Seconds{3});
  ASSERT_EQ(m.interfaces.size(), 2U);
  EXPECT_EQ(m.interfaces[0].role, shared::Side::kInside);
  EXPECT_EQ(m.interfaces[1].device, "0000:03:00.0");
  EXPECT_EQ(m.interfaces[1].mtu, 1400);
  ASSERT_EQ(m.lsn.pool.size(), 2U);
  EXPECT_EQ(m.lsn.pool[1].addresses(), 17U);
  EXPECT_EQ(m.lsn.appsprofile[1].mapping, Dependence::kEndpointIndependent);
  EXPECT_EQ(m.lsn.transportprofile[0].sessiontimeout, Seconds{300});
  EXPECT_EQ(m.lsn.transportprofile[1].syncheck, Switch::kDisabled);
  EXPECT_EQ(m.lsn.group[0].ipsec_alg_profile, std::vector<std::string>{"ALG"});
  EXPECT_EQ(m.ipsecalg.profile[0].ike_session_timeout, Minutes{45});
}

TEST(Settings, WhatIsNotGivenHasTheDefaultOfTheReference) {
  const Model m = model_of(R"(
interfaces = ( { name = "i"; role = "inside"; device = "net_null0"; address = "192.0.2.1/24"; },
               { name = "o"; role = "outside"; device = "net_null1"; address = "198.51.100.1/24"; });
lsn: {
  client = ( { name = "C"; } );
  pool = ( { name = "P"; } );
  appsattributes = ( { name = "D"; transportprotocol = "UDP"; } );
  appsprofile = ( { name = "A"; transportprotocol = "TCP"; } );
  transportprofile = ( { name = "T"; transportprotocol = "TCP"; } );
  group = ( { name = "G"; clientname = "C"; } );
};
ipsecalg: { profile = ( { name = "X"; } ); };
)");
  EXPECT_EQ(m.dataplane.max_sessions, 1048576U);
  EXPECT_EQ(m.dataplane.state_file, "/var/lib/lsnd/state");
  EXPECT_TRUE(m.dataplane.inbound_refresh);
  EXPECT_FALSE(m.dataplane.power_save);
  EXPECT_EQ(m.dataplane.unreachable.code, 13);
  EXPECT_EQ(m.dataplane.unreachable.rate, 100U);
  EXPECT_EQ(m.dataplane.fragments.max, 4096U);
  EXPECT_EQ(m.dataplane.fragments.timeout, Seconds{2});
  EXPECT_EQ(m.dataplane.alg.max_ike_sessions, 65536U);
  EXPECT_EQ(m.dataplane.alg.max_esp_sessions, 65536U);
  EXPECT_EQ(m.dataplane.alg.max_gates, 16384U);
  EXPECT_EQ(m.dataplane.alg.max_held_bytes, 16777216U);
  EXPECT_EQ(m.interfaces[0].vlan, 0);
  EXPECT_EQ(m.interfaces[0].mtu, 1500);
  EXPECT_EQ(m.interfaces[0].mac, std::nullopt);
  EXPECT_EQ(m.interfaces[0].tcp_mss, 0);
  EXPECT_EQ(m.lsn.appsprofile[0].tcp_mss, 0);
  EXPECT_EQ(m.interfaces[0].rx_queue_size, 1024);
  EXPECT_EQ(m.interfaces[0].tx_queue_size, 1024);
  EXPECT_EQ(m.control.group, "");
  EXPECT_EQ(m.log.level, LogLevel::kInfo);
  EXPECT_EQ(m.log.target, "stderr");
  EXPECT_EQ(m.metrics.listen, "");
  EXPECT_EQ(m.lsn.pool[0].nattype, NatType::kDynamic);
  EXPECT_EQ(m.lsn.pool[0].portblockallocation, Switch::kDisabled);
  EXPECT_EQ(m.lsn.pool[0].portrealloctimeout, Seconds{0});
  EXPECT_EQ(m.lsn.pool[0].max_port_realloc_tmq, 65536U);
  EXPECT_EQ(m.lsn.appsprofile[0].ippooling, Pooling::kRandom);
  EXPECT_EQ(m.lsn.appsprofile[0].mapping, Dependence::kAddressPort);
  EXPECT_EQ(m.lsn.appsprofile[0].filtering, Dependence::kAddressPort);
  EXPECT_EQ(m.lsn.appsattributes[0].port, std::nullopt);
  EXPECT_EQ(m.lsn.appsattributes[0].sessiontimeout, Seconds{30});
  const auto& t = m.lsn.transportprofile[0];
  EXPECT_EQ(t.sessiontimeout, Seconds{120});
  EXPECT_EQ(t.finrsttimeout, Seconds{30});
  EXPECT_EQ(t.stuntimeout, Seconds{600});
  EXPECT_EQ(t.synidletimeout, Seconds{60});
  EXPECT_EQ(t.portquota, 0);
  EXPECT_EQ(t.sessionquota, 0);
  EXPECT_EQ(t.session_rate, 0);
  EXPECT_EQ(t.session_burst, 0);
  EXPECT_EQ(t.port_reserve, 0);
  EXPECT_TRUE(t.reserved_for.empty());
  EXPECT_EQ(t.group_session_limit, 0U);
  EXPECT_EQ(t.portpreserveparity, Switch::kDisabled);
  EXPECT_EQ(t.portpreserverange, Switch::kDisabled);
  EXPECT_EQ(t.syncheck, Switch::kEnabled);
  const auto& g = m.lsn.group[0];
  EXPECT_EQ(g.nattype, NatType::kDynamic);
  EXPECT_EQ(g.alloc_policy, AllocPolicy::kPorts);
  EXPECT_EQ(g.portblocksize, 0U);
  EXPECT_EQ(g.logging, Switch::kDisabled);
  EXPECT_EQ(g.session_logging, Switch::kDisabled);
  EXPECT_EQ(g.session_sync, Switch::kEnabled);
  const auto& x = m.ipsecalg.profile[0];
  EXPECT_EQ(x.ike_session_timeout, Minutes{60});
  EXPECT_EQ(x.esp_session_timeout, Minutes{60});
  EXPECT_EQ(x.esp_gate_timeout, Seconds{30});
  EXPECT_EQ(x.connfailover, Switch::kEnabled);
  EXPECT_EQ(x.phase2_hold, 64U);
  EXPECT_EQ(x.fresh_sequence, 256U);
  EXPECT_EQ(x.spi_candidates, 4U);
  EXPECT_EQ(x.esp_session_quota, 256U);
  EXPECT_EQ(x.require_ike, Switch::kDisabled);
  EXPECT_EQ(x.server_spread, Switch::kEnabled);
  EXPECT_EQ(x.ike_preserve_port, Switch::kDisabled);
}

struct Range {
  const char* anchor;  ///< a line of the good text, after which the setting is put
  const char* setting;
  std::int64_t lowest, highest;
  const char* group = nullptr;  ///< the setting is within this group of the anchor's
};

class Ranges : public testing::TestWithParam<Range> {
 protected:
  [[nodiscard]] std::string text(std::int64_t value) const {
    const Range& r = GetParam();
    std::string line = std::string(r.setting) + " = " + std::to_string(value) + ";";
    if (r.group != nullptr) line = std::string(r.group) + ": { " + line + " };";
    // Four workers: some ranges are what the tables of so many hold.
    return with(good_with(r.anchor, std::string(r.anchor) + "\n" + line + "\n"), "[ 1, 2 ]",
                "[ 1, 2, 3, 4 ]");
  }
};

TEST_P(Ranges, BothEndsAreAllowedAndNothingBeyond) {
  const Range& r = GetParam();
  for (const std::int64_t good : {r.lowest, r.highest})
    EXPECT_TRUE(problems_of(text(good)).empty())
        << good << ": " << to_string(problems_of(text(good)));
  for (const std::int64_t bad :
       {r.lowest - 1, r.highest + 1, std::int64_t{1} << 32, (std::int64_t{1} << 32) + r.lowest}) {
    if (r.highest >= bad && bad >= r.lowest) continue;  // where the range goes beyond 32 bits
    const std::string given = std::string(r.setting) + " = " + std::to_string(bad);
    expect_problem(text(bad), given,
                   {r.setting, "given " + std::to_string(bad),
                    "allowed " + std::to_string(r.lowest) + "-" + std::to_string(r.highest)});
  }
}

constexpr const char* kWorkers = "workers = [ 1, 2 ];";
constexpr const char* kOut = "device = \"0000:03:00.0\";";
constexpr const char* kPool1 = "name = \"P1\";";
constexpr const char* kTcp = "name = \"T-TCP\";";
constexpr const char* kSecondGroup = "name = \"G2\";";
constexpr const char* kAlg = "name = \"ALG\";";

INSTANTIATE_TEST_SUITE_P(
    Settings, Ranges,
    testing::Values(
        Range{kWorkers, "code", 0, 15, "unreachable"},
        Range{kWorkers, "rate", 0, 1000000, "unreachable"},
        Range{kWorkers, "maxIkeSessions", 64, 268435456, "alg"},
        Range{kWorkers, "maxEspSessions", 64, 268435456, "alg"},
        Range{kWorkers, "maxGates", 64, 268435456, "alg"},
        Range{kWorkers, "maxHeldBytes", 65536, 2147483647, "alg"}, Range{kOut, "vlan", 1, 4094},
        Range{kOut, "rxQueueSize", 64, 32768}, Range{kOut, "txQueueSize", 64, 32768},
        Range{kPool1, "portrealloctimeout", 0, 600}, Range{kPool1, "maxPortReallocTmq", 0, 65536},
        Range{kTcp, "sessiontimeout", 1, 10000000}, Range{kTcp, "finrsttimeout", 1, 10000000},
        Range{kTcp, "stuntimeout", 120, 1200}, Range{kTcp, "synidletimeout", 30, 600},
        Range{kTcp, "portquota", 0, 65535}, Range{kTcp, "sessionquota", 0, 65535},
        Range{kTcp, "sessionRate", 0, 65535}, Range{kTcp, "groupSessionLimit", 0, 4294967295},
        Range{kSecondGroup, "snmptraplimit", 0, 10000}, Range{kAlg, "espSessionTimeout", 1, 1440},
        Range{kAlg, "phase2Hold", 0, 1024}, Range{kAlg, "freshSequence", 1, 65535},
        Range{kAlg, "spiCandidates", 1, 64}, Range{kAlg, "espSessionQuota", 1, 65535}),
    [](const auto& range) { return std::string(range.param.setting); });

TEST(Settings, RangesOfSettingsThatTheGoodTextHas) {
  for (const auto& [from, to, allowed] : std::vector<std::array<const char*, 3>>{
           {"maxSessions = 65536", "maxSessions = 1023", "1024-268435456"},
           {"maxSessions = 65536", "maxSessions = 268435457", "1024-268435456"},
           {" max = 100", " max = 1048577", "0-1048576"},
           {" timeout = 3", " timeout = 0", "1-60"},
           {" timeout = 3", " timeout = 61", "1-60"},
           {"mtu = 1400", "mtu = 67", "68-9600"},
           {"mtu = 1400", "mtu = 9601", "68-9600"},
           {"ikeSessionTimeout = 45", "ikeSessionTimeout = 0", "1-1440"},
           {"ikeSessionTimeout = 45", "ikeSessionTimeout = 1441", "1-1440"},
           {"espGateTimeout = 20", "espGateTimeout = 2", "3-1200"},
           {"espGateTimeout = 20", "espGateTimeout = 1201", "3-1200"},
           {"workers = [ 1, 2 ]", "workers = [ 1, 1024 ]", "0-1023"}})
    expect_refused(from, to, {allowed});
  for (const auto& [from, to] :
       std::vector<std::array<const char*, 2>>{{"maxSessions = 65536", "maxSessions = 1024"},
                                               {"maxSessions = 65536", "maxSessions = 134217728L"},
                                               {"mtu = 1400", "mtu = 68"},
                                               {"mtu = 1400", "mtu = 9600"},
                                               {"espGateTimeout = 20", "espGateTimeout = 3"},
                                               {"espGateTimeout = 20", "espGateTimeout = 1200"}})
    expect_accepted(from, to);
}

TEST(Settings, AnMssIsZeroOrOneThatFitsAnyLink) {
  for (const char* good : {"0", "536", "9000"}) {
    expect_accepted("mtu = 1400;", "mtu = 1400; tcpMss = " + std::string(good) + ";");
    expect_accepted("name = \"WEB\";", "name = \"WEB\"; tcpMss = " + std::string(good) + ";");
  }
  for (const char* bad : {"1", "535", "9001"})
    expect_refused("mtu = 1400;", "mtu = 1400; tcpMss = " + std::string(bad) + ";",
                   {"given " + std::string(bad), "allowed 0 or 536-9000 bytes"});
  expect_refused("name = \"PING\";", "name = \"PING\"; tcpMss = 1400;",
                 {"appsprofile PING: tcpMss: given 1400 for ICMP", "in a TCP profile"});
}

TEST(Settings, AKernelInterfaceHasANameThatTheKernelTakes) {
  for (const char* good : {"a", "lsn-out.100", "fifteen_letters"})
    expect_accepted("mtu = 1400;", "mtu = 1400; kernel = \"" + std::string(good) + "\";");
  for (const char* bad : {"sixteen_letters_", ".", "..", "a/b", "a b", "a:b"})
    expect_refused("mtu = 1400;", "mtu = 1400; kernel = \"" + std::string(bad) + "\";",
                   {"kernel", bad, "up to 15 letters"});
  for (const char* bad : {"..", "../x", "a b"})
    expect_refused("mtu = 1400;",
                   "mtu = 1400; kernel = \"k\"; kernelNetns = \"" + std::string(bad) + "\";",
                   {"kernelNetns", bad, "/run/netns"});
}

TEST(Settings, WhatBelongsToAKernelInterfaceStandsBesideOne) {
  for (const char* alone :
       {"kernelNetns = \"x\";", "kernelIpv6 = true;", "kernelRate: { rest = 5; };"}) {
    expect_refused("mtu = 1400;", "mtu = 1400; " + std::string(alone), {"only beside kernel"});
    expect_accepted("mtu = 1400;", "mtu = 1400; kernel = \"k\"; " + std::string(alone));
  }
  for (const char* bad : {"0", "1000001"})
    expect_refused("mtu = 1400;",
                   "mtu = 1400; kernel = \"k\"; kernelRate: { rest = " + std::string(bad) + "; };",
                   {"rest", bad, "1-1000000 packets per second"});
}

TEST(Settings, ANumberThatWouldWrapIsCaught) {
  // 4294967296 + 65536 is 65536 in 32 bits.
  expect_refused("maxSessions = 65536", "maxSessions = 4295032832",
                 {"given 4295032832", "1024-268435456"});
  expect_refused("maxSessions = 65536", "maxSessions = 99999999999999999999", {"1024-268435456"});
  expect_refused("mtu = 1400", "mtu = 0x100000578", {"given 4294968696"});
}

TEST(Settings, AValueOfTheWrongKindIsRefused) {
  expect_refused("maxSessions = 65536", "maxSessions = \"65536\"", {"given \"65536\""});
  expect_refused("maxSessions = 65536", "maxSessions = 65536.0", {"maxSessions"});
  expect_refused("maxSessions = 65536", "maxSessions = true", {"given true"});
  expect_refused("maxSessions = 65536", "maxSessions = [ 65536 ]", {"given an array"});
  expect_refused("socket = \"/run/lsnd/test.sock\"", "socket = 5", {"given 5", "a string"});
  expect_refused("maxSessions = 65536;", "inboundRefresh = 1;", {"given 1", "true or false"});
  expect_refused("transportprotocol = \"ICMP\"", "transportprotocol = 1",
                 {"given 1", "TCP, UDP or ICMP"});
  expect_refused("fragments: { max = 100; timeout = 3; }", "fragments = 5", {"given 5", "a group"});
  expect_refused("lsnport = [ \"500\" ]", "lsnport = [ 500 ]", {"given 500", "\"PORT\""});
  expect_refused("network = [ \"10.1.0.0/16\" ]", "network = [ true ]", {"given true"});
  expect_refused("control: { socket = \"/run/lsnd/test.sock\"; }", "control = \"/run\"",
                 {"control", "a group"});
}

TEST(Settings, AScalarStandsForAnArrayOfOneAndAListForAnArray) {
  EXPECT_EQ(model_of(good_with("workers = [ 1, 2 ]", "workers = 3")).dataplane.workers,
            std::vector<std::uint32_t>{3});
  EXPECT_EQ(model_of(good_with("workers = [ 1, 2 ]", "workers = ( 3, 4 )")).dataplane.workers,
            (std::vector<std::uint32_t>{3, 4}));
  EXPECT_EQ(
      model_of(good_with("lsnport = [ \"500\" ]", "lsnport = \"500\"")).lsn.appsprofile[0].lsnport,
      (std::vector<PortRange>{{500, 500}}));
  EXPECT_EQ(model_of(good_with("poolname = [ \"P2\" ]", "poolname = \"P2\"")).lsn.group[1].poolname,
            std::vector<std::string>{"P2"});
  EXPECT_EQ(model_of(good_with("ipsecAlgProfile = \"ALG\"", "ipsecAlgProfile = [ \"ALG\" ]")),
            good_model());
  EXPECT_TRUE(
      model_of(good_with("poolname = [ \"P2\" ]", "poolname = ( )")).lsn.group[1].poolname.empty());
}

TEST(Settings, EnumerationsAreAcceptedInAnyCase) {
  EXPECT_EQ(model_of(good_with("mapping = \"ENDPOINT-INDEPENDENT\"",
                               "mapping = \"Endpoint-independent\"")),
            good_model());
  EXPECT_EQ(model_of(good_with("role = \"inside\"", "role = \"INSIDE\"")), good_model());
  expect_refused(
      "mapping = \"ENDPOINT-INDEPENDENT\"", "mapping = \"ENDPOINT\"",
      {"given \"ENDPOINT\"", "ENDPOINT-INDEPENDENT, ADDRESS-DEPENDENT or ADDRESS-PORT-DEPENDENT"});
}

TEST(Settings, AnUnknownNameIsAnErrorAndANearMissIsSuggested) {
  expect_refused("maxSessions = 65536", "maxsessions = 65536",
                 {"\"maxsessions\"", "did you mean \"maxSessions\""});
  expect_refused("mtu = 1400;", "colour = 3;",
                 {"interface out", "\"colour\"", "allowed name, role"});
  EXPECT_THAT(problems_of(good_with("mtu = 1400;", "colour = 3;"))[0].text,
              testing::Not(HasSubstr("did you mean")));
  expect_refused("routes = (", "rutes = (", {"\"rutes\"", "did you mean \"routes\""});
  expect_refused("  appsprofile = (", "  appprofile = (", {"did you mean \"appsprofile\""});
}

TEST(Settings, AMistypedNameIsNotMissingAsWell) {
  expect_refused("role = \"inside\"", "rolle = \"inside\"", {"did you mean \"role\""});
  expect_refused("clientname = \"C2\"", "clientnam = \"C2\"", {"did you mean \"clientname\""});
}

TEST(Settings, WhatIsRequiredIsMissed) {
  for (const auto& [line, words] : std::vector<std::pair<const char*, std::vector<std::string>>>{
           {"device = \"0000:03:00.0\";", {"interface out: device is missing"}},
           {"address = \"198.51.100.1/24\";", {"interface out: address is missing"}},
           {"role = \"outside\";", {"interface out: role is missing"}},
           {"via = \"198.51.100.10\";", {"via is missing"}},
           {"prefix = \"0.0.0.0/0\";", {"prefix is missing"}},
           {"clientname = \"C2\";", {"group G2: clientname is missing"}},
           {"transportprotocol = \"ICMP\";", {"appsprofile PING: transportprotocol is missing"}}}) {
    const auto problems = problems_of(good_with(line, ""));
    ASSERT_EQ(problems.size(), 1U) << to_string(problems);
    for (const std::string& word : words) EXPECT_THAT(problems[0].text, HasSubstr(word));
  }
  // The line is that of the object.
  const std::string text = good_with("clientname = \"C2\";", "");
  EXPECT_EQ(problems_of(text)[0].line, line_of(text, "name = \"G2\"") - 1);
}

TEST(Settings, ValuesWrittenAsTextSayWhatIsAllowed) {
  for (const auto& [from, to, allowed] : std::vector<std::array<const char*, 3>>{
           {"address = \"192.0.2.1/24\"", "address = \"192.0.2.1/99\"", "A.B.C.D/L"},
           {"device = \"0000:03:00.0\"", "device = \"eth0\"", "PCI address"},
           {"prefix = \"0.0.0.0/0\"", "prefix = \"10.0.0.1/8\"", "no host bits set"},
           {"via = \"198.51.100.10\"", "via = \"198.51.100\"", "unicast address"},
           {"network = [ \"10.1.0.0/16\" ]", "network = [ \"10.1.0.1/16\" ]", "no host bits set"},
           {"\"203.0.113.20\"", "\"203.0.113.20-203.0.113.19\"", "ascending"},
           {"lsnport = [ \"500\" ]", "lsnport = [ \"500-400\" ]", "ascending"},
           {"lsnport = [ \"500\" ]", "lsnport = [ \"65536\" ]", "0-65535"},
           {"\"--no-pci\"", "\"--vdev=net_null0\"", "lsnd adds cores and devices"},
           {"socket = \"/run/lsnd/test.sock\"", "socket = \"test.sock\"", "absolute path"}})
    expect_refused(from, to, {allowed});
}

TEST(Settings, HostBitsSetAreSaidInTheseWordsWithTheNetworkThatIsMeant) {
  expect_refused("prefix = \"0.0.0.0/0\"", "prefix = \"10.0.0.1/8\"",
                 {"given \"10.0.0.1/8\" (host bits set, did you mean 10.0.0.0/8?)"});
  expect_refused("network = [ \"10.1.0.0/16\" ]", "network = [ \"10.1.0.1/16\" ]",
                 {"given \"10.1.0.1/16\" (host bits set, did you mean 10.1.0.0/16?)"});
  expect_refused("\"203.0.113.128/28\"", "\"203.0.113.129/28\"",
                 {"given \"203.0.113.129/28\" (host bits set, did you mean 203.0.113.128/28?)"});
  EXPECT_THAT(
      problems_of(good_with("network = [ \"10.1.0.0/16\" ]", "network = [ \"10.1/16\" ]"))[0].text,
      testing::Not(HasSubstr("did you mean")));
}

TEST(Settings, TheOtherSectionsAreRead) {
  const Model m = model_of(std::string(kGoodText) + R"(
log: { level = "Debug"; target = "syslog"; };
metrics: { listen = "127.0.0.1:9469"; };
)");
  EXPECT_EQ(m.metrics.listen, "127.0.0.1:9469");
  EXPECT_EQ(m.log.level, LogLevel::kDebug);
  EXPECT_EQ(m.log.target, "syslog");
  const Model n = model_of(good_with("maxSessions = 65536;", R"(maxSessions = 65536;
  stateFile = ""; inboundRefresh = false; powerSave = true;
  unreachable: { code = 1; rate = 5; };
  alg: { maxIkeSessions = 100; maxEspSessions = 200; maxGates = 300; maxHeldBytes = 1000000; };)"));
  EXPECT_EQ(n.dataplane.state_file, "");
  EXPECT_FALSE(n.dataplane.inbound_refresh);
  EXPECT_TRUE(n.dataplane.power_save);
  EXPECT_EQ(n.dataplane.unreachable.code, 1);
  EXPECT_EQ(n.dataplane.unreachable.rate, 5U);
  EXPECT_EQ(n.dataplane.alg.max_ike_sessions, 100U);
  EXPECT_EQ(n.dataplane.alg.max_esp_sessions, 200U);
  EXPECT_EQ(n.dataplane.alg.max_gates, 300U);
  EXPECT_EQ(n.dataplane.alg.max_held_bytes, 1000000U);
  const Model o = model_of(good_with("mtu = 1400;", R"(mtu = 1400; vlan = 30;
    mac = "02:00:00:00:00:07"; rxQueueSize = 512; txQueueSize = 256;)"));
  EXPECT_EQ(o.interfaces[1].vlan, 30);
  EXPECT_EQ(o.interfaces[1].mac, (wire::MacAddress{2, 0, 0, 0, 0, 7}));
  EXPECT_EQ(o.interfaces[1].rx_queue_size, 512);
  EXPECT_EQ(o.interfaces[1].tx_queue_size, 256);
}

TEST(Settings, AllProblemsAreReportedInTheOrderOfTheFile) {
  std::string text(kGoodText);
  text = with(text, "maxSessions = 65536", "maxSessions = 5");
  text = with(text, "address = \"192.0.2.1/24\"", "address = \"192.0.2.1/99\"");
  text = with(text, "role = \"outside\"", "rolle = \"outside\"");
  text = with(text, "\"203.0.113.0-203.0.113.9\"", "\"203.0.113.9-203.0.113.0\"");
  text = with(text, "poolname = [ \"P2\" ]", "poolname = [ \"NOPOOL\" ]");
  text = with(text, "espGateTimeout = 20", "espGateTimeout = 2");
  const auto problems = problems_of(text);
  ASSERT_EQ(problems.size(), 6U) << to_string(problems);
  std::vector<unsigned> lines;
  for (const Problem& problem : problems) lines.push_back(problem.line);
  EXPECT_EQ(lines,
            (std::vector<unsigned>{line_of(text, "maxSessions = 5"), line_of(text, "/99"),
                                   line_of(text, "rolle"), line_of(text, "113.9-203.0.113.0"),
                                   line_of(text, "NOPOOL"), line_of(text, "espGateTimeout = 2")}));
}

TEST(Settings, AProblemIsOneLineOfTextWhateverWasGiven) {
  const auto problems = problems_of(with(good_with("name = \"WEB\"", "name = \"W\nE\x1b[31mB\""),
                                         "mtu = 1400", "mac = \"" + std::string(5000, 'x') + "\""));
  ASSERT_GE(problems.size(), 2U);
  for (const Problem& problem : problems) {
    EXPECT_EQ(problem.text.find_first_of("\n\x1b"), std::string::npos);
    EXPECT_LT(problem.text.size(), 2000U);
  }
}

TEST(Settings, AProblemInAnIncludedFileHasThatFilesLine) {
  const std::string directory = testing::TempDir();
  const std::string main = directory + "lsn-include-test.conf";
  const std::string included = directory + "lsn-include-test.inc";
  const auto write = [](const std::string& path, const std::string& text) {
    FILE* file = fopen(path.c_str(), "w");
    fputs(text.c_str(), file);
    fclose(file);
  };
  write(main, good_with("maxSessions = 65536;", "\n@include \"lsn-include-test.inc\"\n"));
  write(included, "stateFile = \"\";\nmaxSessions = 7;\n");
  const auto model = load_config(main);
  ASSERT_FALSE(model);
  ASSERT_EQ(model.error().size(), 1U) << to_string(model.error());
  EXPECT_EQ(model.error()[0].file, included);
  EXPECT_EQ(model.error()[0].line, 2U);
  write(included, "stateFile = \"\";\nmaxSessions = 70000;\n");
  const auto good = load_config(main);
  ASSERT_TRUE(good);
  EXPECT_EQ(good->dataplane.max_sessions, 70000U);
  remove(main.c_str());
  remove(included.c_str());
}

}  // namespace
}  // namespace lsn::control
