// What CONFIG records say of a group, and what a reader gets back from it.
#include "lsn/control/records/group_note.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lsn/control/config/port_blocks.hpp"

namespace lsn::control {
namespace {

Model deterministic_model() {
  Model model;
  model.lsn.acl.push_back({});
  model.lsn.acl[0].name = "MORE";
  model.lsn.acl[0].src_ip = {{*wire::parse_ipv4("198.18.0.7"), *wire::parse_ipv4("198.18.0.9")}};
  model.lsn.client.push_back({});
  model.lsn.client[0].name = "C";
  model.lsn.client[0].network = {*ClientNetworkSyntax::parse("192.0.2.0/24")};
  model.lsn.client[0].aclname = {"MORE"};
  model.lsn.pool.push_back({});
  model.lsn.pool[0].name = "P";
  model.lsn.pool[0].nattype = NatType::kDeterministic;
  model.lsn.pool[0].lsnip = {*AddressRangeSyntax::parse("203.0.113.3-203.0.113.9")};
  model.lsn.group.push_back({});
  GroupConfig& group = model.lsn.group[0];
  group.name = "A group: of: names";
  group.clientname = "C";
  group.poolname = {"P"};
  group.nattype = NatType::kDeterministic;
  return model;
}

TEST(GroupNote, ReadAgain_IsTheMapOfTheConfiguration) {
  Model model = deterministic_model();
  GroupConfig& group = model.lsn.group[0];
  for (const AllocPolicy policy : {AllocPolicy::kPorts, AllocPolicy::kIpAddrs})
    for (const std::uint32_t size : {0u, 256u, 1000u, 64512u}) {
      group.alloc_policy = policy;
      group.portblocksize = size;
      const std::string text = config_note(group_subject(group.name), group_settings(model, group));
      const auto note = GroupNote::parse(text);
      ASSERT_TRUE(note) << text;
      EXPECT_EQ(note->group, group.name);
      EXPECT_TRUE(note->is_deterministic && note->has_settings && note->has_ends);
      EXPECT_FALSE(note->is_repeated);
      ASSERT_TRUE(note->map()) << text;
      EXPECT_EQ(*note->map(), deterministic_map(model, group)) << text;
    }
}

TEST(GroupNote, AddressesThatAreLeftOutOfAPool_AreNotInIt) {  // The broadcast address of a link.
  Model model = deterministic_model();
  InterfaceConfig outside;
  outside.role = shared::Side::kOutside;
  outside.address = *InterfaceAddressSyntax::parse("203.0.113.1/29");
  model.interfaces.push_back(outside);
  const GroupConfig& group = model.lsn.group[0];
  const std::string text = config_note(group_subject(group.name), group_settings(model, group));
  EXPECT_EQ(*GroupNote::parse(text)->map(), deterministic_map(model, group)) << text;
  EXPECT_EQ(GroupNote::parse(text)->map()->nat_addresses().count(), 6u) << text;
}

TEST(GroupNote, PoolThatAGroupWithoutLoggingShares_IsNotAmongWhatIsRecorded) {
  Model model = deterministic_model();
  model.lsn.pool[0].nattype = NatType::kDynamic;
  GroupConfig& group = model.lsn.group[0];
  group.nattype = NatType::kDynamic;
  group.logging = Switch::kEnabled;
  EXPECT_THAT(group_settings(model, group), ::testing::HasSubstr("203.0.113.3-203.0.113.9"));
  model.lsn.group.push_back(group);
  model.lsn.group[1].name = "OTHER";
  EXPECT_THAT(group_settings(model, model.lsn.group[0]), ::testing::HasSubstr("203.0.113.3-"));
  model.lsn.group[1].logging = Switch::kDisabled;
  EXPECT_THAT(group_settings(model, model.lsn.group[0]),
              ::testing::Not(::testing::HasSubstr("lsnip")));
}

TEST(GroupNote, TrafficDomains_AreInTheMap) {
  Model model = deterministic_model();
  model.lsn.client[0].network.push_back(*ClientNetworkSyntax::parse("192.0.2.0/24 td 5"));
  model.lsn.acl[0].td = 5;
  const GroupConfig& group = model.lsn.group[0];
  const std::string text = config_note(group_subject(group.name), group_settings(model, group));
  EXPECT_THAT(text,
              ::testing::HasSubstr(", network 192.0.2.0/24, network 192.0.2.0/24 td 5, network "
                                   "198.18.0.7-198.18.0.9 td 5, "));
  ASSERT_TRUE(GroupNote::parse(text)->map()) << text;
  EXPECT_EQ(*GroupNote::parse(text)->map(), deterministic_map(model, group)) << text;
}

TEST(GroupNote, Repeated_IsTheSameText) {
  const std::string text = config_note("group G", "logging ENABLED, logSessDeletion DISABLED");
  const std::string again = repeated_note(text);
  const auto note = GroupNote::parse(again);
  ASSERT_TRUE(note);
  EXPECT_TRUE(note->is_repeated);
  EXPECT_EQ(note->text, text);
  EXPECT_FALSE(note->has_ends);
  EXPECT_FALSE(note->is_deterministic);
}

TEST(GroupNote, RemovedOrSilent_HasNoSettings) {
  for (const std::string& text : {removed_note("group G"), config_note("group G", "")}) {
    const auto note = GroupNote::parse(text);
    ASSERT_TRUE(note) << text;
    EXPECT_EQ(note->group, "G");
    EXPECT_FALSE(note->has_settings);
  }
}

TEST(GroupNote, TextThatLacksAnInput_HasNoMap) {
  const std::string whole =
      "group G: nattype DETERMINISTIC, allocPolicy PORTS, portblocksize 256, network 192.0.2.0/24, "
      "lsnip 203.0.113.3";
  ASSERT_TRUE(GroupNote::parse(whole)->map());
  for (const std::string_view part : {", allocPolicy PORTS", ", portblocksize 256",
                                      ", network 192.0.2.0/24", ", lsnip 203.0.113.3"}) {
    std::string text = whole;
    text.erase(text.find(part), part.size());
    const auto note = GroupNote::parse(text);
    ASSERT_TRUE(note && note->is_deterministic) << text;
    EXPECT_FALSE(note->map()) << text;
  }
  for (const std::string_view bad :
       {"network 192.0.2.1/24", "network x", "network 192.0.2.0/24 td 4095", "lsnip 203.0.113.9-1",
        "portblocksize 64513", "allocPolicy SOME"})
    EXPECT_FALSE(GroupNote::parse(whole + ", " + std::string(bad))->map()) << bad;
}

TEST(GroupNote, SettingOfALaterVersion_IsPassedOver) {
  EXPECT_TRUE(GroupNote::parse("group G: nattype DETERMINISTIC, allocPolicy IPADDRS, portblocksize "
                               "512, network 192.0.2.0/24, td 7, lsnip 203.0.113.3, more")
                  ->map());
}

TEST(GroupNote, OtherWords_AreNone) {
  for (const std::string_view text : {"", "lsnd stops", "group", "group G", "groups G: removed",
                                      "segment follows records-20261201T003129Z.log"})
    EXPECT_FALSE(GroupNote::parse(text)) << text;
}

}  // namespace
}  // namespace lsn::control
