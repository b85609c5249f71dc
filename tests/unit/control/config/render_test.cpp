#include "lsn/control/config/render.hpp"

#include "support.hpp"

namespace lsn::control {
namespace {

using testing::HasSubstr;
using testing::Not;

void expect_round_trip(const Model& model) {
  const std::string text = render_config(model);
  const auto again = load_config_text(text, "rendered");
  ASSERT_TRUE(again) << to_string(again.error()) << text;
  EXPECT_EQ(*again, model) << text;
  EXPECT_EQ(render_config(*again), text);
}

TEST(Render, TheFileThatIsWrittenGivesTheSameModel) {
  expect_round_trip(good_model());
  expect_round_trip(model_of(with(good_with("workers = [ 1, 2 ];", R"(workers = [ 5 ];
    stateFile = ""; inboundRefresh = false; powerSave = true;
    unreachable: { code = 1; rate = 5; };
    alg: { maxIkeSessions = 100; maxHeldBytes = 2147483647; };)"),
                                  "mtu = 1400;",
                                  "mtu = 9000; vlan = 7; mac = \"02:00:00:00:00:07\"; "
                                  "rxQueueSize = 512; txQueueSize = 256;")));
}

TEST(Render, TheFilesThatComeWithItComeBackAsTheyWere) {
  for (const char* name : {"config/sample.conf", "config/lsnd.conf", "config/rfc.conf"}) {
    const auto model = load_config(project_file(name));
    ASSERT_TRUE(model) << to_string(model.error());
    expect_round_trip(*model);
  }
}

TEST(Render, EveryParameterThatIsNotAtItsDefaultIsWritten) {
  Model model = good_model();
  model.control.group = "operators";
  model.log = {LogLevel::kDebug, "/var/log/lsnd \"quoted\" \\ back"};
  model.dataplane.eal.clear();
  auto& pool = model.lsn.pool[0];
  pool.portrealloctimeout = Seconds{120};
  pool.max_port_realloc_tmq = 5;
  auto& transport = model.lsn.transportprofile[1];
  transport.finrsttimeout = Seconds{7};
  transport.stuntimeout = Seconds{700};
  transport.synidletimeout = Seconds{33};
  transport.sessionquota = 44;
  transport.group_session_limit = 4294967295;
  transport.portpreserveparity = Switch::kEnabled;
  transport.portpreserverange = Switch::kEnabled;
  auto& group = model.lsn.group[1];
  group.alloc_policy = AllocPolicy::kIpAddrs;
  group.session_sync = Switch::kDisabled;
  group.snmptraplimit = 1;
  auto& alg = model.ipsecalg.profile[0];
  alg = {"ALG", Minutes{1}, Minutes{2}, Seconds{3},       Switch::kDisabled, 5,
         6,     7,          8,          Switch::kEnabled, Switch::kDisabled, Switch::kEnabled};
  expect_round_trip(model);
  const std::string text = render_config(model);
  for (const char* line :
       {"eal = [ ];", "groupSessionLimit = 4294967295L;", "allocPolicy = \"IPADDRS\";",
        "target = \"/var/log/lsnd \\\"quoted\\\" \\\\ back\";", "requireIke = \"ENABLED\";",
        "serverSpread = \"DISABLED\";", "ikePreservePort = \"ENABLED\";", "phase2Hold = 5;",
        "espSessionQuota = 8;"})
    EXPECT_THAT(text, HasSubstr(line));
}

TEST(Render, DefaultsAreLeftOut) {
  const std::string text = render_config(good_model());
  for (const char* word : {"stateFile", "vlan", "nattype", "synidletimeout", "logging", "metrics"})
    EXPECT_THAT(text, Not(HasSubstr(word)));
}

TEST(Render, ValuesAreWrittenInOneWay) {
  const std::string text =
      render_config(model_of(good_with("device = \"0000:03:00.0\"", "device = \"03:00.0\"")));
  EXPECT_THAT(text, HasSubstr("device = \"0000:03:00.0\";"));
  EXPECT_THAT(text, HasSubstr("lsnip = [ \"203.0.113.128-203.0.113.143\", \"203.0.113.20\" ];"));
  EXPECT_THAT(text, HasSubstr("network = [ \"192.0.2.0/24\", \"10.0.0.0/16\" ];"));
}

}  // namespace
}  // namespace lsn::control
