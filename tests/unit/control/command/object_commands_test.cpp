#include "lsn/control/command/object_commands.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <random>

#include "lsn/control/command/protocol.hpp"
#include "lsn/control/config/render.hpp"
#include "lsn/control/config/validate.hpp"
#include "unit/control/command/support.hpp"

namespace lsn::control {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

/// A box with links and nothing else.
constexpr std::string_view kEmptyBox = R"(
interfaces = (
  { name = "in"; role = "inside"; device = "net_tap0,iface=t0"; address = "192.0.2.1/24"; },
  { name = "out"; role = "outside"; device = "net_tap1,iface=t1"; address = "198.51.100.1/24"; }
);
routes = ( { prefix = "0.0.0.0/0"; via = "198.51.100.10"; } );
)";

struct EmptyBox : Bench {
  EmptyBox() : Bench(std::string(kEmptyBox)) {}

  /// Each is carried out and says nothing else.
  void done(std::initializer_list<const char*> lines) {
    for (const char* line : lines) EXPECT_EQ(say(line), (Said{"Done\n", {}})) << line;
  }
  /// The answer to several lines in one request.
  Said say_all(std::string_view how, std::initializer_list<std::string_view> lines) {
    std::string request = kBatchMark + std::string(how);
    for (const std::string_view line : lines) request += kBatchMark + std::string(line);
    auto answer = begin_batch(lsn_commands().parse_batch(request), context);
    Said said;
    for (unsigned turns = 0; turns < 1000; ++turns) {
      const auto progress = answer->next(said.out);
      if (progress == Answer::Progress::kWaiting) dataplane.poll();
      if (progress == Answer::Progress::kDone) return said;
      if (progress != Answer::Progress::kFailed) continue;
      said.errors = answer->errors();
      return said;
    }
    throw std::runtime_error("the answer does not end");
  }
};

// ── published examples ──────────────────────────────────────────────────────────────────────────

TEST(ObjectCommands, ThePublishedSampleRunsAsItStands) {
  EmptyBox box;
  box.done({"add lsn client LSN-CLIENT-1",
            "bind lsn client LSN-CLIENT-1 -network 192.0.2.0 -netmask 255.255.255.0",
            "add lsn pool LSN-POOL-1", "bind lsn pool LSN-POOL-1 203.0.113.3-203.0.113.9",
            "add lsn appsprofile LSN-APPSPROFILE-1 UDP -ippooling PAIRED",
            "bind lsn appsprofile LSN-APPSPROFILE-1 500",
            "add ipsecalg profile  IPSECALGPROFILE-1 -ikeSessionTimeout 45 –espSessionTimeout 40 "
            "–espGateTimeout 20 -connfailover ENABLED"});
  // The one line that it omits.
  EXPECT_EQ(box.error("bind lsn group LSN-GROUP-1 -appsprofilename LSN-APPSPROFILE-1"),
            "group LSN-GROUP-1 does not exist: allowed the name of an existing lsn group "
            "(add lsn group LSN-GROUP-1 -clientname LSN-CLIENT-1)");
  box.done({"add lsn group LSN-GROUP-1 -clientname LSN-CLIENT-1",
            "bind lsn group LSN-GROUP-1 -appsprofilename LSN-APPSPROFILE-1",
            "bind lsn group LSN-GROUP-1 -poolname LSN-POOL-1",
            "bind lsn group LSN-GROUP-1 - ipsecAlgProfile IPSECALGPROFILE-1"});
  const std::string wanted = std::string(kEmptyBox) + R"(
lsn: {
  client = ( { name = "LSN-CLIENT-1"; network = [ "192.0.2.0/24" ]; } );
  pool = ( { name = "LSN-POOL-1"; lsnip = [ "203.0.113.3-203.0.113.9" ]; } );
  appsprofile = ( { name = "LSN-APPSPROFILE-1"; transportprotocol = "UDP"; ippooling = "PAIRED"; lsnport = [ "500" ]; } );
  group = ( { name = "LSN-GROUP-1"; clientname = "LSN-CLIENT-1"; poolname = [ "LSN-POOL-1" ];
              appsprofilename = [ "LSN-APPSPROFILE-1" ]; ipsecAlgProfile = "IPSECALGPROFILE-1"; } );
};
ipsecalg: {
  profile = ( { name = "IPSECALGPROFILE-1"; ikeSessionTimeout = 45; espSessionTimeout = 40; espGateTimeout = 20; connfailover = "ENABLED"; } );
};)";
  EXPECT_EQ(render_config(box.config.model()), render_config(model_of(wanted)));
}

TEST(ObjectCommands, AnAccessListNamesAClientsSources) {
  EmptyBox box;
  box.done({"add ns acl LSN-ACL-2 ALLOW -srcIP 192.0.2.10-192.0.2.20", "apply acls",
            "add lsn client LSN-CLIENT-2", "bind lsn client LSN-CLIENT-2 –aclname LSN-ACL-2",
            "add lsn pool P", "bind lsn pool P 203.0.113.5-203.0.113.10",
            "add lsn group G -clientname LSN-CLIENT-2", "bind lsn group G -poolname P"});
  const auto& map = *box.dataplane.published->maps.front();
  EXPECT_EQ(map.group_of({ip("192.0.2.9")}), nullptr);
  EXPECT_NE(map.group_of({ip("192.0.2.10")}), nullptr);
  EXPECT_NE(map.group_of({ip("192.0.2.20")}), nullptr);
  EXPECT_EQ(map.group_of({ip("192.0.2.21")}), nullptr);
  EXPECT_THAT(box.error("rm ns acl LSN-ACL-2"), HasSubstr("used by client LSN-CLIENT-2"));
  EXPECT_THAT(box.error("add ns acl X DENY -srcIP 192.0.2.1"), HasSubstr("allowed ALLOW"));
  EXPECT_THAT(box.error("add ns acl X ALLOW -srcIP 192.0.2.1 -destIP 1.2.3.4"),
              HasSubstr("-destIP"));
  // The same sources twice are a mistake, whoever names them.
  box.done({"add lsn client OTHER"});
  EXPECT_THAT(box.error("bind lsn client OTHER -network 192.0.2.0 -netmask 255.255.255.0"),
              HasSubstr("does not overlap"));
}

TEST(ObjectCommands, WhatExamplesHaveBeyondOurWordsIsSaidAndIgnored) {
  EmptyBox box;
  box.done({"add lsn client C", "add lsn pool LSN-POOL-1", "add lsn appsprofile A TCP"});
  EXPECT_EQ(box.say("add lsn group G -clientname C -ftp ENABLED").out,
            "warning: -ftp is ignored: active FTP has no ALG\nDone\n");
  EXPECT_EQ(box.say("bind lsn group G -poolname pool1 LSN-POOL-1").out,
            "warning: pool1 is ignored: -poolname takes one value\nDone\n");
  EXPECT_EQ(box.say("bind lsn group G -applicationprofilename A").out, "Done\n");
  EXPECT_EQ(box.say("rm lsn group G now").out, "warning: now is ignored: a word too many\nDone\n");
  const auto json = nlohmann::json::parse(box.say("--json add lsn pool P2 surplus").out);
  EXPECT_EQ(json["result"], "Done");
  EXPECT_THAT(json["warnings"], ElementsAre("surplus is ignored: a word too many"));
}

TEST(ObjectCommands, AttributesGiveThePortsOfAProfileTheirIdleTimes) {
  EmptyBox box;
  box.done({"add lsn client C", "add lsn group G -clientname C", "add lsn appsprofile DNS UDP",
            "bind lsn appsprofile DNS 53", "bind lsn group G -appsprofilename DNS",
            "add lsn appsattributes A UDP 53 -sessiontimeout 5",
            "bind lsn appsprofile DNS -appsattributesname A"});
  const auto time = [&](std::uint16_t port) {
    return box.dataplane.published->groups.front().session_timeout(shared::Protocol::kUdp, port);
  };
  EXPECT_EQ(time(53), std::chrono::seconds{5});
  EXPECT_EQ(time(54), std::chrono::seconds{120});
  EXPECT_THAT(box.text("show lsn appsattributes A"),
              AllOf(HasSubstr("port               53\n"), HasSubstr("sessiontimeout     5\n"),
                    HasSubstr("used by            appsprofile DNS")));
  EXPECT_THAT(box.text("explain 192.0.2.1:1 198.18.0.1:53 UDP -from inside"),
              Not(HasSubstr("appsattributes")));
  box.done({"set lsn appsattributes A -sessiontimeout 7 -port 50-60"});
  EXPECT_EQ(time(53), std::chrono::seconds{7});
  box.done({"unset lsn appsattributes A -sessiontimeout -port"});
  EXPECT_EQ(time(53), std::chrono::seconds{30}) << "all ports of the profile";
  EXPECT_THAT(box.error("rm lsn appsattributes A"), HasSubstr("used by appsprofile DNS"));
  EXPECT_THAT(box.error("set lsn appsattributes A -transportprotocol TCP"),
              HasSubstr("given A for TCP"));
  EXPECT_THAT(box.error("add lsn appsattributes B UDP 70000"), HasSubstr("port: given"));
  EXPECT_THAT(box.error("add lsn appsattributes B"), HasSubstr("TCP, UDP or ICMP"));
  box.done({"unbind lsn appsprofile DNS -appsattributesname A", "rm lsn appsattributes A",
            "add lsn appsattributes ALL UDP"});
  EXPECT_EQ(time(53), std::chrono::seconds{120});
}

TEST(ObjectCommands, AListThatIsSetAsAWholeTakesCommas) {
  Bench bench;
  const auto reserved = [&] { return bench.config.model().lsn.transportprofile[0].reserved_for; };
  EXPECT_EQ(bench.say("set lsn transportprofile T-UDP -portReserve 9 -reservedFor 53,500-600").out,
            "Done\n");
  EXPECT_EQ(reserved(), (std::vector<PortRange>{{53, 53}, {500, 600}}));
  EXPECT_THAT(bench.text("show lsn transportprofile T-UDP"),
              HasSubstr("reservedFor         53, 500-600\n"));
  EXPECT_EQ(bench.json("show lsn transportprofile T-UDP")["lsn.transportprofile"][0]["reservedFor"],
            (nlohmann::json{"53", "500-600"}));
  EXPECT_EQ(bench.say("set lsn transportprofile T-UDP -reservedFor 443").out, "Done\n");
  EXPECT_EQ(reserved(), (std::vector<PortRange>{{443, 443}}));
  EXPECT_THAT(bench.error("set lsn transportprofile T-UDP -reservedFor 1,99999"),
              HasSubstr("reservedFor: given 99999"));
  EXPECT_THAT(bench.error("set lsn transportprofile T-UDP -reservedFor 1,1"), HasSubstr("1 twice"));
  EXPECT_THAT(bench.error("bind lsn transportprofile T-UDP -reservedFor 1"), HasSubstr("bind"));
  EXPECT_THAT(bench.error("unset lsn transportprofile T-UDP -portReserve"),
              HasSubstr("together with portReserve"));
  EXPECT_EQ(bench.say("unset lsn transportprofile T-UDP -portReserve -reservedFor").out, "Done\n");
  EXPECT_TRUE(reserved().empty());
  EXPECT_THAT(bench.text("show lsn transportprofile T-UDP"),
              HasSubstr("reservedFor         none\n"));
}

TEST(ObjectCommands, APoolIsDrainedAndThenLetsGo) {
  Bench bench;
  const auto draining = [&] { return bench.config.model().lsn.pool[0].drain; };
  const auto range = [](const char* first, const char* last) {
    return wire::Ipv4Range{ip(first), ip(last)};
  };
  EXPECT_EQ(bench.say("set lsn pool P1 -drain 203.0.113.3-203.0.113.5,203.0.113.8").out, "Done\n");
  EXPECT_EQ(draining(), (std::vector{range("203.0.113.3", "203.0.113.5"),
                                     range("203.0.113.8", "203.0.113.8")}));
  for (unsigned worker = 0; worker < 2; ++worker)
    bench.dataplane.answers(worker).usage.pools = {{.draining = {2, worker, {3, worker, 0}}}};
  EXPECT_THAT(bench.text("show lsn pool P1"),
              AllOf(HasSubstr("drain                203.0.113.3-203.0.113.5, 203.0.113.8\n"),
                    HasSubstr("still on drain       4 addresses: 1 paired, ports "
                              "TCP 6, UDP 1, ICMP 0\n")));
  EXPECT_EQ(bench.json("show lsn pool P1")["lsn.pool"][0]["usage"]["draining"]["ports"]["tcp"], 6);
  for (unsigned worker = 0; worker < 2; ++worker)
    bench.dataplane.answers(worker).usage.pools = {{.draining = {.addresses = 2}}};
  EXPECT_THAT(bench.text("show lsn pool P1"),
              HasSubstr("4 addresses: nothing left, removing them ends nothing\n"));
  // What is unbound does not drain any more, without another command in between.
  EXPECT_EQ(bench.say("unbind lsn pool P1 203.0.113.4-203.0.113.8").out, "Done\n");
  EXPECT_EQ(draining(), (std::vector{range("203.0.113.3", "203.0.113.3")}));
  EXPECT_THAT(bench.error("set lsn pool P1 -drain 203.0.113.4"), HasSubstr("the pool's lsnip"));
  EXPECT_EQ(bench.say("unset lsn pool P1 -drain").out, "Done\n");
  EXPECT_TRUE(draining().empty());
}

// ── verbs ───────────────────────────────────────────────────────────────────────────────────────

TEST(ObjectCommands, SetAndUnsetChangeWhatIsGivenAndNothingElse) {
  Bench bench;
  const Model before = bench.config.model();
  EXPECT_EQ(bench.say("set lsn pool P1 -portrealloctimeout 30").out, "Done\n");
  Model wanted = before;
  wanted.lsn.pool[0].portrealloctimeout = Seconds{30};
  EXPECT_EQ(bench.config.model(), wanted);
  EXPECT_EQ(bench.dataplane.published->pools[0].port_realloc_timeout.count(), 3000U);
  EXPECT_EQ(bench.say("unset lsn pool P1 -portrealloctimeout").out, "Done\n");
  EXPECT_EQ(bench.config.model(), before);
}

TEST(ObjectCommands, BindAndUnbindAddAndTake) {
  Bench bench;
  const Model before = bench.config.model();
  EXPECT_EQ(bench.say("bind lsn pool P1 203.0.113.30 203.0.113.32-203.0.113.33").out, "Done\n");
  EXPECT_EQ(bench.config.model().lsn.pool[0].addresses(), before.lsn.pool[0].addresses() + 3);
  EXPECT_EQ(bench.say("unbind lsn pool P1 203.0.113.32-203.0.113.33").out, "Done\n");
  EXPECT_EQ(bench.say("unbind lsn pool P1 203.0.113.30").out, "Done\n");
  EXPECT_EQ(bench.config.model(), before);
  EXPECT_EQ(bench.say("bind lsn client C2 -network 10.9.0.0 -netmask 255.255.0.0").out, "Done\n");
  EXPECT_EQ(bench.say("bind lsn client C2 -network 10.8.0.1").out, "Done\n");
  EXPECT_EQ(bench.say("unbind lsn client C2 -network 10.9.0.0 -netmask 255.255.0.0").out, "Done\n");
  EXPECT_EQ(bench.say("unbind lsn client C2 -network 10.8.0.1").out, "Done\n");
  EXPECT_EQ(bench.config.model(), before);
}

// A single address that is on a blacklist: the others of its range stay, and so do their sessions.
TEST(ObjectCommands, UnbindTakesAPartOutOfARange) {
  Bench bench;
  const auto bound = [&] { return bench.json("show lsn pool P1")["lsn.pool"][0]["lsnip"]; };
  EXPECT_EQ(bench.say("unbind lsn pool P1 203.0.113.5").out, "Done\n");
  EXPECT_EQ(bound(), nlohmann::json({"203.0.113.0-203.0.113.4", "203.0.113.6-203.0.113.9"}));
  EXPECT_EQ(bench.say("unbind lsn pool P1 203.0.113.0-203.0.113.1").out, "Done\n");
  EXPECT_EQ(bench.say("unbind lsn pool P1 203.0.113.9").out, "Done\n");
  EXPECT_EQ(bound(), nlohmann::json({"203.0.113.2-203.0.113.4", "203.0.113.6-203.0.113.8"}));
  EXPECT_EQ(bench.say("unbind lsn pool P1 203.0.113.7").out, "Done\n");
  EXPECT_EQ(bound(), nlohmann::json({"203.0.113.2-203.0.113.4", "203.0.113.6", "203.0.113.8"}));
  EXPECT_EQ(bench.say("unbind lsn appsprofile UDP-ALL 5060-5061").out, "Done\n");
  EXPECT_EQ(bench.json("show lsn appsprofile UDP-ALL")["lsn.appsprofile"][0]["lsnport"],
            nlohmann::json({"1-5059", "5062-65535"}));
}

TEST(ObjectCommands, AChangeIsInForceWhenItsAnswerComes) {
  Bench bench;
  bench.dataplane.hold = true;
  auto command = lsn_commands().parse("set lsn pool P1 -portrealloctimeout 30");
  auto answer = (*command)->spec->begin(**command, bench.context);
  std::string out;
  for (unsigned i = 0; i < 5; ++i) {
    bench.dataplane.poll();
    EXPECT_EQ((*answer)->next(out), Answer::Progress::kWaiting);
  }
  EXPECT_EQ(out, "");
  // What is asked for meanwhile goes into one further generation.
  const unsigned before = bench.dataplane.publications;
  std::vector<std::unique_ptr<Answer>> more;
  for (unsigned i = 0; i < 20; ++i) {
    auto next = lsn_commands().parse("add lsn pool N" + std::to_string(i));
    more.push_back(std::move(*(*next)->spec->begin(**next, bench.context)));
  }
  bench.dataplane.hold = false;
  bench.dataplane.poll();
  EXPECT_EQ((*answer)->next(out), Answer::Progress::kDone);
  bench.dataplane.poll();
  for (const auto& each : more) EXPECT_EQ(each->next(out), Answer::Progress::kDone);
  EXPECT_EQ(bench.dataplane.publications, before + 1);
  EXPECT_EQ(bench.config.model().lsn.pool.size(), 22U);
}

TEST(ObjectCommands, AReloadGoesBackToTheFile) {
  Bench bench;
  const Model before = bench.config.model();
  EXPECT_EQ(bench.say("add lsn pool NEW").out, "Done\n");
  EXPECT_THAT(bench.text("show changes"), HasSubstr("add lsn pool NEW\n"));
  EXPECT_THAT(bench.text("reload config"), HasSubstr("Done\n"));
  EXPECT_EQ(bench.config.model(), before);
  EXPECT_THAT(bench.text("show changes"), StartsWith("no changes"));
}

// ── every error ─────────────────────────────────────────────────────────────────────────────────

struct Refused {
  const char* line;
  const char* error;  ///< the whole of it
};

class RefusedCommands : public testing::TestWithParam<Refused> {};

TEST_P(RefusedCommands, SayWhatWasGivenAndWhatIsAllowedAndChangeNothing) {
  Bench bench;
  const Model before = bench.config.model();
  const unsigned publications = bench.dataplane.publications;
  EXPECT_EQ(bench.error(GetParam().line), GetParam().error);
  EXPECT_EQ(bench.config.model(), before);
  EXPECT_EQ(bench.dataplane.publications, publications);
}

INSTANTIATE_TEST_SUITE_P(
    All, RefusedCommands,
    testing::Values(
        Refused{"add lsn pool", "add lsn pool: NAME: given nothing, allowed the name of an object"},
        Refused{"add lsn pool P1",
                "pool P1: given add, allowed a new name; it exists already (set lsn pool P1 ...)"},
        Refused{"add lsn pool N -portrealloctimeout 601",
                "pool N: portrealloctimeout: given 601, allowed 0-600 s"},
        Refused{"add lsn pool N -portrealloctimeout",
                "pool N: portrealloctimeout: given no value, allowed 0-600 s"},
        Refused{
            "add lsn pool N -portrealloctimout 3",
            "pool N: given \"-portrealloctimout\" (did you mean \"-portrealloctimeout\"?), allowed "
            "-nattype, -portblockallocation, -portrealloctimeout, -maxPortReallocTmq, -lsnip, "
            "-drain"},
        Refused{"add lsn pool N -nattype DYNAMIC -nattype DYNAMIC",
                "add lsn pool: -nattype: given twice, allowed once"},
        Refused{"add lsn appsprofile N",
                "appsprofile N: transportprotocol: given nothing, allowed TCP, UDP or ICMP"},
        Refused{"add lsn appsprofile N SCTP",
                "appsprofile N: transportprotocol: given \"SCTP\", allowed TCP, UDP or ICMP"},
        Refused{
            "add lsn group N",
            "group N: clientname: given nothing, allowed the name of an existing client (add lsn "
            "group N -clientname NAME)"},
        Refused{"add lsn group N -clientname C9",
                "group N: clientname: given \"C9\" (did you mean \"C1\"?), allowed the name of an "
                "existing client"},
        Refused{
            "set lsn pool NO -portrealloctimeout 1",
            "pool NO does not exist: allowed the name of an existing lsn pool (add lsn pool NO)"},
        Refused{"set lsn pool P1",
                "pool P1: given nothing to set, allowed -nattype, -portblockallocation, "
                "-portrealloctimeout, -maxPortReallocTmq, -drain"},
        Refused{"set lsn pool P1 -lsnip 203.0.113.40",
                "pool P1: lsnip: given set, allowed bind and unbind"},
        Refused{"bind lsn pool P1 -portrealloctimeout 1",
                "pool P1: portrealloctimeout: given bind, allowed set and unset"},
        Refused{"bind lsn pool P1 203.0.113.9-203.0.113.1",
                "pool P1: lsnip: given 203.0.113.9-203.0.113.1, allowed A.B.C.D, A.B.C.D-E.F.G.H "
                "(ascending) or A.B.C.D/L (no host bits set), unicast addresses"},
        Refused{"bind lsn pool P1 203.0.113.0-203.0.113.9",
                "pool P1: lsnip: given 203.0.113.0-203.0.113.9, allowed what is not bound already"},
        Refused{"bind lsn pool P1 203.0.113.5",
                "pool P1: lsnip: given 203.0.113.5, allowed an address in one pool once; "
                "203.0.113.0-203.0.113.9 of pool P1 overlaps"},
        Refused{"unbind lsn pool P1 203.0.113.9-203.0.113.10",
                "pool P1: lsnip: given 203.0.113.9-203.0.113.10, allowed what is bound: "
                "203.0.113.0-203.0.113.9"},
        Refused{"bind lsn client C1 -netmask 255.255.255.0",
                "client C1: netmask: given without -network, allowed together with it"},
        Refused{"bind lsn client C1 -network 10.5.0.0 -netmask 255.0.255.0",
                "client C1: netmask: given 255.0.255.0, allowed a netmask such as 255.255.255.0"},
        Refused{
            "bind lsn client C1 -network 10.5.0.1 -netmask 255.255.255.0",
            "client C1: network: given 10.5.0.1/24 (host bits set, did you mean 10.5.0.0/24?), "
            "allowed A.B.C.D or A.B.C.D/L with L 0-32 and no host bits set, in a traffic domain "
            "with \" td N\" behind it, N 0-4094"},
        Refused{"rm lsn pool P1",
                "pool P1: given rm, allowed what nothing uses; it is used by group G1"},
        Refused{
            "rm lsn pool NO",
            "pool NO does not exist: allowed the name of an existing lsn pool (add lsn pool NO)"},
        Refused{"show lsn pool NO",
                "show lsn pool: given \"NO\", allowed the name of a lsn pool"}));

TEST(ObjectCommands, AnAlgNeedsPairedIke) {
  EmptyBox box;
  box.done({"add lsn client C", "add lsn group G -clientname C", "add ipsecalg profile A"});
  EXPECT_THAT(
      box.error("bind lsn group G -ipsecAlgProfile A"),
      HasSubstr("add lsn appsprofile IKE-PAIRED UDP -ippooling PAIRED; bind lsn appsprofile "
                "IKE-PAIRED 500; bind lsn group G -appsprofilename IKE-PAIRED"));
  box.done({"add lsn appsprofile IKE-PAIRED UDP -ippooling PAIRED",
            "bind lsn appsprofile IKE-PAIRED 500", "bind lsn group G -appsprofilename IKE-PAIRED",
            "bind lsn group G -ipsecAlgProfile A"});
  for (const char* line :
       {"unbind lsn group G -appsprofilename IKE-PAIRED", "unbind lsn appsprofile IKE-PAIRED 500",
        "set lsn appsprofile IKE-PAIRED -ippooling RANDOM", "rm ipsecalg profile A"})
    EXPECT_FALSE(box.say(line).errors.empty()) << line;
  box.done({"unbind lsn group G -ipsecAlgProfile A",
            "unbind lsn group G -appsprofilename IKE-PAIRED", "rm ipsecalg profile A",
            "rm lsn group G", "rm lsn client C", "rm lsn appsprofile IKE-PAIRED"});
  EXPECT_EQ(render_config(box.config.model()), render_config(model_of(std::string(kEmptyBox))));
}

// ── several in one request ──────────────────────────────────────────────────────────────────────

TEST(ObjectCommands, InOrderThoseBeforeARefusedOneAreCarriedOut) {
  EmptyBox box;
  const auto said = box.say_all(
      kBatchOrdered, {"add lsn pool A", "add lsn pool B", "add lsn pool A", "add lsn pool C"});
  EXPECT_EQ(said.out, "Done\nDone\n");
  EXPECT_THAT(said.errors, ElementsAre(HasSubstr("pool A: given add")));
  EXPECT_EQ(box.config.model().lsn.pool.size(), 2U);
  // One that only the whole shows to be wrong, and one that is no command at all.
  EXPECT_EQ(box.say_all(kBatchOrdered, {"bind lsn pool A 203.0.113.1",
                                        "bind lsn pool B 203.0.113.1", "add lsn pool C"})
                .out,
            "Done\n");
  EXPECT_EQ(box.say_all(kBatchOrdered, {"add lsn pool D", "frobnicate", "add lsn pool E"}).out,
            "Done\n");
  EXPECT_EQ(box.config.model().lsn.pool.size(), 3U);
}

TEST(ObjectCommands, AtomicIsAllOrNothing) {
  EmptyBox box;
  const Model before = box.config.model();
  for (const auto& lines :
       {std::initializer_list<std::string_view>{"add lsn pool A", "add lsn pool A"},
        {"add lsn pool A", "frobnicate"},
        {"add lsn pool A", "show drops"},
        {"add lsn pool A", "add lsn pool B", "bind lsn pool A 203.0.113.1",
         "bind lsn pool B 203.0.113.1"}}) {
    const auto said = box.say_all(kBatchAtomic, lines);
    EXPECT_EQ(said.out, "");
    EXPECT_THAT(said.errors, ElementsAre(HasSubstr("nothing has changed")));
    EXPECT_EQ(box.config.model(), before);
  }
  // What makes sense only in the end.
  EXPECT_EQ(box.say_all(kBatchAtomic,
                        {"add lsn client C", "add lsn group G -clientname C",
                         "add ipsecalg profile A", "bind lsn group G -ipsecAlgProfile A",
                         "add lsn appsprofile I UDP -ippooling PAIRED",
                         "bind lsn appsprofile I 500", "bind lsn group G -appsprofilename I"})
                .out,
            "Done\nDone\nDone\nDone\nDone\nDone\nDone\n");
}

TEST(ObjectCommands, AnAtomicChangeSaysWhatIsWrongWithTheLineThatIs) {
  EmptyBox box;
  box.done({"add lsn client C", "add lsn group G -clientname C"});
  // The first refers to what only the last makes; the third is the one that is wrong.
  const auto said =
      box.say_all(kBatchAtomic, {"bind lsn group G -poolname NEW", "add lsn pool NEW2",
                                 "bind lsn pool NOSUCH 203.0.114.1", "add lsn pool NEW"});
  EXPECT_THAT(said.errors, ElementsAre(AllOf(StartsWith("command 3: "), HasSubstr("NOSUCH"))));
}

TEST(ObjectCommands, OfManyLinesTheOneThatIsWrongIsFound) {
  EmptyBox box;
  for (unsigned wrong = 0; wrong < 20; ++wrong) {
    std::string request = kBatchMark + std::string(kBatchOrdered);
    for (unsigned i = 0; i < 20; ++i)
      request +=
          kBatchMark + (i == wrong ? std::string("bind lsn pool P 192.0.2.1")
                                   : "set lsn pool P -maxPortReallocTmq " + std::to_string(i));
    box.say("add lsn pool P");
    auto answer = begin_batch(lsn_commands().parse_batch(request), box.context);
    Bench::Said said;
    while (true) {
      const auto progress = answer->next(said.out);
      if (progress == Answer::Progress::kWaiting) box.dataplane.poll();
      if (progress != Answer::Progress::kFailed) continue;
      said.errors = answer->errors();
      break;
    }
    EXPECT_EQ(std::count(said.out.begin(), said.out.end(), '\n'), wrong);
    EXPECT_THAT(said.errors, ElementsAre(HasSubstr("192.0.2.1")));
    EXPECT_EQ(box.config.model().lsn.pool[0].max_port_realloc_tmq, wrong == 0 ? 65536 : wrong - 1);
    box.say("rm lsn pool P");
  }
}

// ── static mappings ─────────────────────────────────────────────────────────────────────────────

TEST(ObjectCommands, StaticMappings_AreAddedShownAndRemoved) {
  Bench box;
  EXPECT_EQ(box.say("add lsn static WEB TCP 192.0.2.10 8080 203.0.113.3 80"),
            (Bench::Said{"Done\n", {}}));
  EXPECT_EQ(box.say("add lsn static S2 ALL 10.1.0.7 * 203.0.113.20 * -destIP 198.18.0.1"),
            (Bench::Said{"Done\n", {}}));
  const auto shown = box.json("show lsn static");
  ASSERT_EQ(shown["static"].size(), 2U);
  EXPECT_EQ(shown["static"][0], (nlohmann::json{{"name", "WEB"},
                                                {"transportprotocol", "TCP"},
                                                {"subscrIP", "192.0.2.10"},
                                                {"subscrPort", "8080"},
                                                {"natIP", "203.0.113.3"},
                                                {"natPort", "80"},
                                                {"destIP", nullptr},
                                                {"state", "ACTIVE"},
                                                {"ports_missing", 0},
                                                {"why", nullptr}}));
  EXPECT_EQ(shown["static"][1]["destIP"], "198.18.0.1");
  EXPECT_THAT(box.text("show lsn static S2"),
              AllOf(HasSubstr("10.1.0.7:*"), HasSubstr("1 static mapping")));
  EXPECT_THAT(box.text("show running config"), HasSubstr("subscrPort = \"8080\""));
  EXPECT_EQ(box.dataplane.published->statics->all().size(), 2U);
  EXPECT_EQ(box.say("rm lsn static WEB"), (Bench::Said{"Done\n", {}}));
  EXPECT_EQ(box.json("show lsn static")["count"], 1);
  EXPECT_THAT(box.error("rm lsn static WEB"),
              HasSubstr("static WEB does not exist: allowed the name of an existing lsn static"));
}

TEST(ObjectCommands, StaticMappingWithoutANatEndpoint_GetsOne) {
  Bench box;
  EXPECT_EQ(box.say("add lsn static WEB TCP 192.0.2.10 8080"), (Bench::Said{"Done\n", {}}));
  const auto first = box.json("show lsn static WEB")["static"][0];
  EXPECT_THAT(std::string(first["natIP"]), StartsWith("203.0.113."));
  EXPECT_EQ(
      box.say("add lsn static SSH TCP 192.0.2.10 22 203.0.113.3"),
      (Bench::Said{
          "",
          {"static SSH: natIP: given 203.0.113.3, allowed " + std::string(first["natIP"]) +
           " as in static WEB: with several workers all mappings of a subscriber have one NAT "
           "address, which is one worker's"}}));
  EXPECT_EQ(box.say("add lsn static SSH TCP 192.0.2.10 22"), (Bench::Said{"Done\n", {}}));
  EXPECT_EQ(box.json("show lsn static SSH")["static"][0]["natIP"], first["natIP"]);
  EXPECT_EQ(box.json("show lsn static WEB")["static"][0], first);
}

TEST(ObjectCommands, StaticMappingsThatCannotBe_ChangeNothing) {
  Bench box;
  box.say("add lsn static WEB TCP 192.0.2.10 8080 203.0.113.3 80");
  const Model before = box.config.model();
  EXPECT_THAT(box.error("add lsn static X TCP 192.0.2.11 1 203.0.113.3 80"),
              HasSubstr("static WEB collides"));
  EXPECT_THAT(box.error("add lsn static X TCP 172.16.0.1 1 203.0.113.3 1"),
              HasSubstr("subscriber"));
  EXPECT_THAT(box.error("add lsn static X TCP 192.0.2.11"), HasSubstr("subscrPort: given nothing"));
  EXPECT_THAT(box.error("add lsn static X ESP 192.0.2.11 1"), HasSubstr("TCP, UDP, ICMP or ALL"));
  EXPECT_THAT(box.error("add lsn static WEB TCP 192.0.2.11 1"),
              HasSubstr("it exists already (rm lsn static WEB"));
  EXPECT_THAT(box.error("unbind lsn pool P1 203.0.113.3"), HasSubstr("static WEB: natIP"));
  EXPECT_THAT(box.error("set lsn static WEB -destIP 1.1.1.1"), HasSubstr("static"));
  EXPECT_EQ(box.config.model(), before);
}

TEST(ObjectCommands, StaticMappingThatWaits_IsInactive) {
  Bench box;
  box.say("add lsn static WEB TCP 192.0.2.10 8080 203.0.113.3 80");
  box.say("add lsn static ALL1 ALL 10.1.0.7 * 203.0.113.20 *");
  box.dataplane.answers(1).statics = {
      {ip("203.0.113.3"), shared::Protocol::kTcp, 64, std::uint64_t{1} << 16},
      {ip("203.0.113.20"), shared::Protocol::kUdp, 128, 7},
      {ip("203.0.113.20"), shared::Protocol::kIcmp, 0, 1}};
  const auto rows = box.json("show lsn static")["static"];
  EXPECT_EQ(rows[0]["state"], "INACTIVE");
  EXPECT_THAT(
      std::string(rows[0]["why"]),
      HasSubstr("the NAT port is in use (show lsn session -natIP 203.0.113.3 -natPort 80)"));
  EXPECT_EQ(rows[1]["ports_missing"], 4);
  EXPECT_THAT(std::string(rows[1]["why"]), HasSubstr("4 ports of 203.0.113.20 are in use"));
  EXPECT_EQ(box.json("show subscriber 10.1.0.7")["static"].size(), 1U);
}

// ── bypass ──────────────────────────────────────────────────────────────────────────────────────

TEST(ObjectCommands, Bypasses_AreAddedSetShownAndRemoved) {
  Bench box;
  const Bench::Said done{"Done\n", {}};
  EXPECT_EQ(box.say("add lsn bypass B1 -clientname C1 -destNetwork 198.18.7.0 -destNetmask "
                    "255.255.255.0 -destPort 443 -protocol TCP"),
            done);
  EXPECT_EQ(box.say("add lsn bypass B2 -clientname C2 -destNetwork 198.18.8.1"), done);
  EXPECT_EQ(box.json("show lsn bypass B1")["lsn.bypass"][0]["destNetwork"], "198.18.7.0/24");
  EXPECT_EQ(box.json("show lsn bypass B2")["lsn.bypass"][0]["destNetwork"], "198.18.8.1/32");
  EXPECT_TRUE(box.dataplane.published->has_bypass);
  EXPECT_EQ(box.say("set lsn bypass B2 -destNetwork 198.18.8.0 -destNetmask 255.255.255.0"), done);
  EXPECT_EQ(box.say("unset lsn bypass B1 -destPort"), done);
  EXPECT_EQ(box.json("show lsn bypass B1")["lsn.bypass"][0]["destPort"], "0-65535");
  EXPECT_THAT(box.error("rm lsn client C2"), HasSubstr("bypass B2"));
  EXPECT_EQ(box.say("rm lsn bypass B1"), done);
  EXPECT_EQ(box.say("rm lsn bypass B2"), done);
  EXPECT_FALSE(box.dataplane.published->has_bypass);
}

TEST(ObjectCommands, BypassesThatCannotBe_ChangeNothing) {
  Bench box;
  EXPECT_THAT(box.error("add lsn bypass B"), HasSubstr("bypass B: clientname: given nothing"));
  EXPECT_THAT(box.error("add lsn bypass B -clientname C9"), HasSubstr("existing client"));
  EXPECT_THAT(box.error("add lsn bypass B -clientname C1 -protocol ICMP -destPort 80"),
              HasSubstr("no ports with protocol ICMP"));
  EXPECT_THAT(box.error("add lsn bypass B -clientname C1 -destNetmask 255.0.0.0"),
              HasSubstr("bypass B: destNetmask: given without -destNetwork"));
  EXPECT_THAT(box.error("add lsn bypass B -clientname C1 -destNetwork 198.18.7.1 -destNetmask "
                        "255.255.255.0"),
              HasSubstr("host bits set"));
  EXPECT_TRUE(box.config.model().lsn.bypass.empty());
}

TEST(ObjectCommands, Explain_NamesStaticMappingsAndBypasses) {
  Bench box;
  box.say("add lsn static WEB TCP 192.0.2.10 8080 203.0.113.3 80");
  box.say("add lsn bypass B1 -clientname C1 -destNetwork 198.18.7.0 -destNetmask 255.255.255.0");
  for (unsigned shard = 0; shard < 2; ++shard)
    box.dataplane.answers(shard).look_up = [](shared::Lookup& lookup) {
      lookup.static_held = true;
    };
  EXPECT_THAT(box.text("explain 192.0.2.10:8080 198.51.100.77:5 TCP"),
              AllOf(HasSubstr("192.0.2.10:8080 is 203.0.113.3:80"),
                    HasSubstr("from its static mapping's 203.0.113.3:80")));
  EXPECT_THAT(box.text("explain 198.51.100.77:5 203.0.113.3:80 TCP"),
              HasSubstr("the static mapping lets it in, it makes a session with 192.0.2.10:8080"));
  EXPECT_THAT(box.text("explain 192.0.2.10:1 198.18.7.9:5 UDP"),
              AllOf(HasSubstr("B1"), HasSubstr("forwarded: without translation")));
  EXPECT_THAT(box.text("explain 198.18.7.9:5 192.0.2.10:1 UDP"),
              HasSubstr("forwarded: without translation"));
  for (unsigned shard = 0; shard < 2; ++shard)
    box.dataplane.answers(shard).look_up = [](shared::Lookup&) {};
  EXPECT_THAT(box.text("explain 198.51.100.77:5 203.0.113.3:80 TCP"),
              AllOf(HasSubstr("INACTIVE"), HasSubstr("dropped, static_inactive")));
}

// ── the difference of two models, as commands ───────────────────────────────────────────────────

/// Random commands that are carried out where they make sense.
Model random_model(std::mt19937& random, const Model& from) {
  const auto any = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
  Model model = from;
  for (unsigned i = 0; i < 60; ++i) {
    const ObjectKind& kind = object_kinds()[any(static_cast<unsigned>(object_kinds().size()))];
    Edit edit;
    edit.kind = kind.words;
    edit.name = "N" + std::to_string(any(4)) + (any(4) == 0 ? " x" : "");
    edit.verb = static_cast<Verb>(any(6));
    if (edit.verb == Verb::kAdd && !kind.operand.empty())
      edit.operands.push_back(
          kind.find(kind.operand)
              ->words[any(static_cast<unsigned>(kind.find(kind.operand)->words.size()))]);
    if (edit.verb == Verb::kAdd && kind.words == "lsn static")
      for (const std::string& operand :
           {fmt::format("10.{}.0.{}", any(50), any(3)), std::string(any(3) == 0 ? "*" : "80"),
            fmt::format("203.0.113.{}", any(250)), std::string(any(3) == 0 ? "*" : "80")})
        edit.operands.push_back(operand);
    const Parameter& p = kind.parameters[any(static_cast<unsigned>(kind.parameters.size()))];
    std::string value = std::to_string(any(700));
    if (!p.words.empty()) value = p.words[any(static_cast<unsigned>(p.words.size()))];
    if (!p.refers.empty()) value = "N" + std::to_string(any(4));
    if (p.name == "network") value = "10." + std::to_string(any(50)) + ".0.0/16";
    if (p.name == "srcIP") value = "172.16." + std::to_string(any(200)) + ".1";
    if (p.name == "lsnip" || p.name == "drain") value = "203.0.113." + std::to_string(any(250));
    if (edit.verb == Verb::kUnset)
      edit.options.push_back({p.name, {}});
    else if (edit.verb != Verb::kAdd && edit.verb != Verb::kRemove)
      edit.options.push_back({p.name, {value}});
    if (edit.verb == Verb::kAdd && kind.words == "lsn group")
      edit.options.push_back({"clientname", {"N" + std::to_string(any(4))}});
    Model next = model;
    std::vector<std::string> remarks;
    if (apply(edit, next, remarks) && check_model(next).empty()) model = std::move(next);
  }
  return model;
}

/// The objects, whatever their order.
std::string sorted(Model model) {
  const auto by_name = [](auto& list) {
    std::sort(list.begin(), list.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
  };
  by_name(model.lsn.acl);
  by_name(model.lsn.client);
  by_name(model.lsn.pool);
  by_name(model.lsn.appsattributes);
  by_name(model.lsn.appsprofile);
  by_name(model.lsn.transportprofile);
  by_name(model.lsn.logprofile);
  by_name(model.lsn.group);
  by_name(model.ipsecalg.profile);
  for (auto& pool : model.lsn.pool)
    std::sort(pool.lsnip.begin(), pool.lsnip.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
  const auto sort_names = [](std::vector<std::string>& names) {
    std::sort(names.begin(), names.end());
  };
  for (auto& group : model.lsn.group)
    for (auto* names : {&group.poolname, &group.appsprofilename, &group.transportprofilename})
      sort_names(*names);
  for (auto& profile : model.lsn.appsprofile) sort_names(profile.appsattributesname);
  for (auto& client : model.lsn.client) {
    sort_names(client.aclname);
    std::sort(client.network.begin(), client.network.end(),
              [](const auto& a, const auto& b) { return a.address < b.address; });
  }
  for (auto& profile : model.lsn.appsprofile)
    std::sort(profile.lsnport.begin(), profile.lsnport.end(), [](const auto& a, const auto& b) {
      return std::pair(a.first, a.last) < std::pair(b.first, b.last);
    });
  for (auto& acl : model.lsn.acl)
    std::sort(acl.src_ip.begin(), acl.src_ip.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
  return render_config(model);
}

TEST(ObjectCommands, TheDifferenceOfTwoModelsMakesTheOneOfTheOther) {
  const std::uint64_t seed = std::random_device{}();
  std::mt19937 random(static_cast<std::mt19937::result_type>(seed));
  const Model empty = model_of(std::string(kEmptyBox));
  std::size_t commands = 0;
  for (unsigned i = 0; i < 60; ++i) {
    const Model from = random_model(random, empty);
    const Model to = random_model(random, i % 2 == 0 ? from : empty);
    Model model = from;
    for (const std::string& line : commands_between(from, to)) {
      ++commands;
      const auto command = lsn_commands().parse(line);
      ASSERT_TRUE(command && *command) << line;
      const auto edit = edit_of(**command);
      ASSERT_TRUE(edit) << line << ": " << edit.error();
      std::vector<std::string> remarks;
      const auto done = apply(*edit, model, remarks);
      ASSERT_TRUE(done) << "seed " << seed << ": " << line << ": " << done.error();
      EXPECT_THAT(remarks, IsEmpty()) << line;
    }
    ASSERT_EQ(sorted(model), sorted(to)) << "seed " << seed;
  }
  EXPECT_GT(commands, 500U);
}

// ── save ────────────────────────────────────────────────────────────────────────────────────────

TEST(ObjectCommands, SaveWritesWhatIsInForceAndKeepsTheFormerFile) {
  Bench bench;
  write_file(bench.file, std::string(kGoodText) + "# somebody's remark\n");
  chmod(bench.file.c_str(), 0604);
  EXPECT_EQ(bench.say("add lsn pool NEW").out, "Done\n");
  EXPECT_THAT(bench.text("save config"),
              AllOf(StartsWith("warning: "), HasSubstr("its comments"), HasSubstr(".bak\nDone\n")));
  struct stat status{};
  ASSERT_EQ(stat(bench.file.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0604U);
  EXPECT_THAT(read_file(bench.file + ".bak"), HasSubstr("somebody's remark"));
  EXPECT_EQ(load_config(bench.file).value(), bench.config.model());
  EXPECT_THAT(bench.text("show changes"), StartsWith("no changes"));
  // Once more: what people wrote stays in the former file.
  const auto again = bench.json("save config");
  EXPECT_EQ(again["result"], "Done");
  EXPECT_FALSE(again.contains("warnings")) << again;
  EXPECT_THAT(read_file(bench.file + ".bak"), HasSubstr("somebody's remark"));
}

TEST(ObjectCommands, SaveIsRefusedWhereNothingCanBeWritten) {
  Bench bench;
  std::filesystem::remove(bench.file);
  std::filesystem::create_directory(bench.file);
  EXPECT_EQ(bench.error("save config"),
            "save config: given " + bench.file + ", allowed a plain file");
}

// ── what may follow ─────────────────────────────────────────────────────────────────────────────

std::vector<std::string> completed(Bench& bench, const std::string& text) {
  std::vector<std::string> all;
  const nlohmann::json answer = bench.json("complete \"" + text + "\"");
  for (const auto& c : answer["candidates"]) all.push_back(c["text"]);
  return all;
}

TEST(ObjectCommands, CompletionKnowsKeywordsOptionsValuesAndNames) {
  Bench bench;
  EXPECT_THAT(completed(bench, "bi"), ElementsAre("bind"));
  EXPECT_THAT(completed(bench, "bind lsn c"), ElementsAre("client"));
  EXPECT_THAT(completed(bench, "bind lsn client "), ElementsAre("C1", "C2"));
  EXPECT_THAT(completed(bench, "bind lsn client C1 "),
              ElementsAre("-network", "-netmask", "-td", "-aclname"));
  EXPECT_THAT(completed(bench, "bind lsn group G1 -poolname "), ElementsAre("P1", "P2"));
  EXPECT_THAT(completed(bench, "add lsn appsprofile X "), ElementsAre("TCP", "UDP", "ICMP"));
  EXPECT_THAT(completed(bench, "add lsn appsprofile X TCP -ippooling p"), ElementsAre("PAIRED"));
  EXPECT_THAT(completed(bench, "set lsn pool P1 -portre"), ElementsAre("-portrealloctimeout"));
  EXPECT_THAT(completed(bench, "nonsense "), IsEmpty());
}

TEST(ObjectCommands, CompletionKnowsWhatIsBoundAndWhatAReasonMayBe) {
  Bench bench;
  const auto bound = [&](const std::string& show, const char* key) {
    return bench.json(show).begin().value()[0][key].get<std::vector<std::string>>();
  };
  EXPECT_EQ(completed(bench, "unbind lsn pool P1 "), bound("show lsn pool P1", "lsnip"));
  EXPECT_EQ(completed(bench, "unbind lsn client C1 -network "),
            bound("show lsn client C1", "network"));
  EXPECT_EQ(completed(bench, "unbind lsn group G1 -pool"), std::vector<std::string>{"-poolname"});
  EXPECT_EQ(completed(bench, "unbind lsn group G1 -poolname "),
            bound("show lsn group G1", "poolname"));
  EXPECT_THAT(completed(bench, "show drops -recent -reason no_m"), ElementsAre("no_mapping"));
  EXPECT_THAT(completed(bench, "show drops -rec -rea no_ro"), ElementsAre("no_route"));
  EXPECT_THAT(completed(bench, "stat ipsecalg "), ElementsAre("ALG", "-ntimes", "-interval"));
}

TEST(ObjectCommands, HelpTakesTheBeginningsThatCommandsTake) {
  Bench bench;
  EXPECT_EQ(bench.text("help sh lsn sess"), bench.text("help show lsn session"));
  EXPECT_EQ(bench.text("help unb lsn cl"), bench.text("help unbind lsn client"));
  const std::string several = bench.text("help s");
  for (const char* command : {"show lsn session", "stat lsn", "save config", "set lsn pool"})
    EXPECT_THAT(several, HasSubstr(command));
  EXPECT_THAT(bench.error("help sh lsn nonsense"), HasSubstr("sh lsn nonsense"));
}

TEST(ObjectCommands, HelpCompletesTheWordsOfCommands) {
  Bench bench;
  EXPECT_THAT(completed(bench, "help unb"), ElementsAre("unbind"));
  EXPECT_THAT(completed(bench, "help show ipsecalg "),
              ElementsAre("session", "ike", "gate", "advice", "profile"));
  EXPECT_THAT(completed(bench, "help nonsense "), IsEmpty());
  EXPECT_EQ(completed(bench, "help --json unb"), completed(bench, "help unb"));
  EXPECT_EQ(completed(bench, "help stat ls "), completed(bench, "help stat lsn "));
}

TEST(ObjectCommands, TheBeginningOfASingleOptionStandsForIt) {
  Bench bench;
  EXPECT_EQ(bench.say("show lsn session -destI 198.18.0.1"),
            bench.say("show lsn session -destIP 198.18.0.1"));
  EXPECT_THAT(bench.error("show lsn session -nat 203.0.113.3"),
              HasSubstr("given \"-nat\", allowed one of -natIP"));
  EXPECT_EQ(bench.text("set lsn pool P1 -portre 7"), "Done\n");
  EXPECT_EQ(bench.json("show lsn pool P1")["lsn.pool"][0]["portrealloctimeout"], 7);
  EXPECT_THAT(bench.error("bind lsn client C1 -net 10.9.0.0"),
              HasSubstr("given \"-net\", allowed one of -network, -netmask"));
  EXPECT_EQ(bench.text("add lsn client C7 -netw 10.79.0.0 -netm 255.255.0.0"), "Done\n");
  EXPECT_THAT(bench.error("add lsn client C8 -net 10.77.0.0 -netmask 255.255.0.0"),
              HasSubstr("one of -network, -netmask"));
  // rm takes a name alone, and ignores the rest.
  EXPECT_THAT(bench.text("rm lsn client C7 -ne 1"),
              AllOf(HasSubstr("is ignored"), HasSubstr("Done")));
  // What is known is never the beginning of something else.
  EXPECT_THAT(bench.error("add lsn client C9 -td 5"), HasSubstr("td: given without -network"));
  EXPECT_THAT(bench.error("set lsn pool P1 -x 7"), HasSubstr("\"-x\""));
}

TEST(ObjectCommands, ATrafficDomainIsAPartOfAClientsNetwork) {
  Bench bench;
  ASSERT_EQ(bench.text("add lsn client C9"), "Done\n");
  EXPECT_EQ(bench.text("bind lsn client C9 -network 10.0.0.0 -netmask 255.255.0.0 -td 5"),
            "Done\n");
  // The same network in another domain, and of another client in none.
  EXPECT_EQ(bench.text("bind lsn client C9 -network 10.0.0.0 -netmask 255.255.0.0 -td 6"),
            "Done\n");
  EXPECT_EQ(bench.json("show lsn client C9")["lsn.client"][0]["network"],
            (nlohmann::json{"10.0.0.0/16 td 5", "10.0.0.0/16 td 6"}));
  EXPECT_THAT(bench.text("show changes"),
              HasSubstr("bind lsn client C9 -network 10.0.0.0 -netmask 255.255.0.0 -td 6"));
  EXPECT_THAT(bench.error("unbind lsn client C9 -network 10.0.0.0 -netmask 255.255.0.0"),
              HasSubstr("what is bound: 10.0.0.0/16 td 5, 10.0.0.0/16 td 6"));
  EXPECT_EQ(bench.text("unbind lsn client C9 -network 10.0.0.0 -netmask 255.255.0.0 -td 5"),
            "Done\n");
  EXPECT_THAT(bench.error("bind lsn client C9 -network 10.7.0.0 -td 4095"), HasSubstr("N 0-4094"));
  EXPECT_THAT(bench.error("bind lsn client C9 -td 5"), HasSubstr("together with"));
  EXPECT_THAT(bench.error("bind lsn client C9 -network 10.0.0.1 -td 6 -netmask 255.255.0.0"),
              HasSubstr("host bits set"));
}

TEST(ObjectCommands, AnAccessListSaysInWhichDomainItsSourcesAre) {
  Bench bench;
  ASSERT_EQ(bench.text("add lsn client C9"), "Done\n");
  ASSERT_EQ(bench.text("add ns acl A5 ALLOW -srcIP 10.0.0.0-10.0.0.9 -td 5"), "Done\n");
  EXPECT_THAT(bench.error("bind lsn client C9 -aclname A5 -td 6"),
              HasSubstr("given 6, allowed 5, that of acl A5 (set ns acl A5 -td 6)"));
  EXPECT_EQ(bench.text("bind lsn client C9 -aclname A5 -td 5"), "Done\n");
}

TEST(ObjectCommands, AStaticMappingTakesItsDomainWhereItIsPublished) {
  Bench bench;
  // No interface of the box is in that domain.
  EXPECT_THAT(bench.error("add lsn static S9 TCP 10.0.0.5 80 -td 5 203.0.113.5 8080"),
              AllOf(HasSubstr("static S9: td"), HasSubstr("given 5"),
                    HasSubstr("the td of an inside interface: 0")));
  // Domain 0 is where destinations are.
  EXPECT_EQ(bench.text("add lsn static S9 TCP 10.0.0.5 80 -td 0 203.0.113.5 8080 -dsttd 0"),
            "Done\n");
  EXPECT_THAT(bench.text("add lsn static S8 TCP 10.0.0.5 81 -dsttd 5 203.0.113.5 8081"),
              AllOf(HasSubstr("-dsttd is ignored"), HasSubstr("Done")));
  const auto all = bench.json("show lsn static S9")["static"];
  EXPECT_EQ(all[0]["natIP"], "203.0.113.5");
  EXPECT_EQ(all[0]["natPort"], "8080");
}

TEST(ObjectCommands, HelpSaysThatAStatCanBeRepeated) {
  Bench bench;
  for (const CommandSpec& spec : lsn_commands().commands()) {
    if (!spec.words.starts_with("stat ")) continue;
    EXPECT_THAT(bench.text("help " + std::string(spec.words)),
                HasSubstr("[-ntimes N [-interval N]]"));
  }
}

TEST(ObjectCommands, TheBeginningOfASingleWordStandsForIt) {
  Bench bench;
  EXPECT_EQ(bench.say("sh lsn poo P1"), bench.say("show lsn pool P1"));
  EXPECT_THAT(bench.error("s lsn pool P1"),
              HasSubstr("one of show, stat, start, stop, save or set"));
}

TEST(ObjectCommands, EachOfThemIsInTheHelpWithItsOptions) {
  Bench bench;
  for (const CommandSpec& spec : object_commands()) {
    const std::string help = bench.text("help " + std::string(spec.words));
    EXPECT_THAT(help, StartsWith(std::string(spec.words))) << spec.words;
    for (const OptionSpec& option : spec.options)
      EXPECT_THAT(help, HasSubstr(std::string(option.name)));
  }
}

TEST(ObjectCommands, ShowNamesEachParameterWithDefaultsAndUsers) {
  Bench bench;
  for (const ObjectKind& kind : object_kinds()) {
    if (kind.words == "lsn static") continue;  // it shows what they are, not how they were given
    const auto list = bench.json("show " + std::string(kind.words));
    ASSERT_TRUE(list.contains(std::string(kind.setting)));
    for (const auto& object : list[std::string(kind.setting)]) {
      const std::string text = bench.text("show " + std::string(kind.words) + " \"" +
                                          std::string(object["name"]) + "\"");
      for (const Parameter& p : kind.parameters) {
        EXPECT_TRUE(object.contains(p.name)) << kind.words << " " << p.name;
        EXPECT_THAT(text, HasSubstr(p.name));
      }
    }
  }
  EXPECT_THAT(bench.text("show lsn pool P1"), AllOf(HasSubstr("portrealloctimeout   0 (default)"),
                                                    HasSubstr("used by"), HasSubstr("group G1")));
  EXPECT_EQ(bench.json("show lsn pool P1")["lsn.pool"][0]["portrealloctimeout"], 0);
}

}  // namespace
}  // namespace lsn::control
