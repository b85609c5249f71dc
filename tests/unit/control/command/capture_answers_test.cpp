#include "lsn/control/command/capture_answers.hpp"

#include "unit/control/capture/support.hpp"

namespace lsn::control {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::StartsWith;

/// Commands with a capture behind them, whose clock goes on a tick at each look.
class CaptureCommands : public testing::Test {
 protected:
  std::string text_with_directory() const {
    return with(std::string(kGoodText), "control: {",
                "control: { captureDirectory = \"" + (directory / "captures") + "\";");
  }

  Said say(const std::string& line) {
    return say_to(context, line, "somebody", 20'000, [this](unsigned) {
      now += std::chrono::milliseconds{1};
      capture.tick(now);
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    });
  }
  std::string text(const std::string& line) {
    const Said said = say(line);
    EXPECT_THAT(said.errors, testing::IsEmpty());
    return said.out;
  }
  nlohmann::json json(const std::string& line) {
    return nlohmann::json::parse(text(line + " --json"));
  }
  std::string error(const std::string& line) {
    const Said said = say(line);
    EXPECT_EQ(said.out, "");
    return said.errors.size() == 1 ? said.errors[0] : "";
  }

  TemporaryDirectory directory;
  std::string file = directory / "lsnd.conf";
  CapturingDataplane dataplane;
  RunningConfig config{file, model_of(text_with_directory()), dataplane};
  ClearedCounters cleared;
  PacketCapture capture{dataplane};
  CommandContext context{dataplane, config, cleared, true, nullptr, &capture};
  PacketCapture::Clock::time_point now{std::chrono::hours{1}};
};

TEST_F(CaptureCommands, FromStartToStop) {
  EXPECT_EQ(text("show capture"), "no capture since lsnd began\n");
  EXPECT_EQ(json("show capture"), nlohmann::json({{"capture", nullptr}}));
  const std::string path = directory / "captures/a.pcapng";
  EXPECT_EQ(text("start capture a.pcapng -max 7 -seconds 60"),
            path + ": at most 7 packets, 60 s\nDone\n");
  ASSERT_TRUE(dataplane.put(0));
  const auto running = json("show capture")["capture"];
  EXPECT_EQ(running["state"], "RUNNING");
  EXPECT_EQ(running["file"], path);
  EXPECT_EQ(running["by"], "somebody");
  EXPECT_EQ(running["command"], "start capture a.pcapng -max 7 -seconds 60");
  EXPECT_EQ(running["max_packets"], 7);
  EXPECT_EQ(running["ended_by"], nullptr);
  EXPECT_EQ(text("stop capture"), path + ": 1 packet written; 1 frame seen in 0 s\nDone\n");
  EXPECT_THAT(text("show capture"), HasSubstr("state     ended by stop capture\n"));
  EXPECT_THAT(error("stop capture"), StartsWith("stop capture: no capture runs"));
  const auto again = json("start capture b.pcapng");
  EXPECT_EQ(again["result"], "Done");
  const auto done = json("stop capture");
  EXPECT_EQ(done["result"], "Done");
  EXPECT_EQ(done["written"], 0);
  EXPECT_EQ(done["lost"], 0);
  EXPECT_EQ(done["seen"], 0);
  EXPECT_EQ(done["ended_by"], "stop capture");
}

TEST_F(CaptureCommands, EachOptionIsAPartOfTheFilter) {
  text(
      "start capture a -subscrIP 192.0.2.7 -natIP 203.0.113.3 -destIP 198.51.100.9 -protocol esp "
      "-esp 0xc3f1a2b4");
  EXPECT_EQ(dataplane.filter, (shared::CaptureFilter{.subscriber = ip("192.0.2.7"),
                                                     .nat = ip("203.0.113.3"),
                                                     .remote = ip("198.51.100.9"),
                                                     .protocol = shared::Protocol::kEsp,
                                                     .spi = 0xC3F1A2B4}));
  text("stop capture");
  text("start capture b -dropped");
  EXPECT_EQ(dataplane.filter, (shared::CaptureFilter{.dropped = true}));
  text("stop capture");
  text("start capture -dropped NO_MAPPING c");
  EXPECT_EQ(dataplane.filter,
            (shared::CaptureFilter{.dropped = true, .reason = shared::DropReason::kNoMapping}));
  text("stop capture");
  text("start capture -dropped d -max 1");
  EXPECT_EQ(dataplane.filter, (shared::CaptureFilter{.dropped = true}));
}

TEST_F(CaptureCommands, WhatIsRefusedSaysWhatIsAllowed) {
  for (const char* name : {"../a", "/etc/a", "a/b", ".a", "-a", "'a b'", "\"\""})
    EXPECT_NE(error(std::string("start capture ") + name), "") << name;
  EXPECT_THAT(error("start capture ../a.pcapng"),
              HasSubstr("FILE: given \"../a.pcapng\", allowed the name of a new file in "
                        "control.captureDirectory"));
  EXPECT_THAT(error("start capture"), HasSubstr("FILE: given nothing"));
  EXPECT_THAT(error("start capture a -max 0"), HasSubstr("-max: given \"0\", allowed 1-10000000"));
  EXPECT_THAT(error("start capture a -seconds 86401"), HasSubstr("allowed 1-86400"));
  EXPECT_THAT(error("start capture a -dropped no_maping"),
              HasSubstr("-dropped: given \"no_maping\", allowed one of"));
  EXPECT_THAT(error("start capture a -protocol 17"), HasSubstr("TCP, UDP, ICMP or ESP"));
  text("start capture a");
  EXPECT_THAT(error("start capture b"), HasSubstr("while a is written, allowed one at a time"));
  text("stop capture");
  EXPECT_THAT(error("start capture a"), HasSubstr("which exists, allowed a new file"));
}

TEST_F(CaptureCommands, TheyChangeSomething) {
  for (const char* line : {"start capture a", "stop capture"})
    EXPECT_TRUE((*lsn_commands().parse(line))->is_change()) << line;
  EXPECT_FALSE((*lsn_commands().parse("show capture"))->is_change());
}

TEST_F(CaptureCommands, AreCompletedAndHelped) {
  const auto candidates = [](std::string_view text) {
    std::vector<std::string> all;
    for (const Candidate& each : lsn_commands().complete(text, {})) all.push_back(each.text);
    return all;
  };
  EXPECT_THAT(candidates("start "), testing::ElementsAre("capture"));
  EXPECT_THAT(candidates("start capture "), testing::ElementsAre("FILE"));
  EXPECT_THAT(candidates("start capture a -"),
              testing::ElementsAre("-subscrIP", "-natIP", "-destIP", "-protocol", "-esp",
                                   "-dropped", "-max", "-seconds"));
  EXPECT_THAT(candidates("start capture a -dropped no_m"), testing::ElementsAre("no_mapping"));
  EXPECT_THAT(candidates("start capture a -dropped "),
              testing::AllOf(Contains("no_mapping"), Contains("-max")));
  EXPECT_THAT(usage_of(*(*lsn_commands().parse("start capture a"))->spec),
              testing::AllOf(StartsWith("start capture FILE [-subscrIP A.B.C.D]"),
                             HasSubstr(" [-dropped [REASON]] [-max N] [-seconds S]")));
}

}  // namespace
}  // namespace lsn::control
