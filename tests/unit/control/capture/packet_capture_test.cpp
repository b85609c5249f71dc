#include "lsn/control/capture/packet_capture.hpp"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>

#include "unit/control/capture/support.hpp"

namespace lsn::control {
namespace {

using namespace std::chrono_literals;
using State = CaptureStatus::State;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using testing::StartsWith;

class PacketCaptureTest : public testing::Test {
 protected:
  PacketCaptureTest() { model.control.capture_directory = directory / "captures"; }

  static CaptureRequest request(const std::string& file = "a.pcapng") {
    CaptureRequest result;
    result.file = file;
    result.line = "start capture " + file;
    result.by = "somebody";
    return result;
  }
  [[nodiscard]] std::string path(const std::string& file = "a.pcapng") const {
    return model.control.capture_directory + '/' + file;
  }

  /// Turns the control thread until something holds; its clock stands still.
  void until(const std::function<bool()>& holds) {
    for (int turns = 0; !holds(); ++turns) {
      ASSERT_LT(turns, 20'000) << "it does not come about";
      capture().tick(now);
      std::this_thread::sleep_for(1ms);
    }
  }
  void until(State state) {
    until([&] { return capture().status()->state == state; });
  }
  void start(CaptureRequest wanted = request()) {
    const auto started = capture().start(std::move(wanted), model);
    ASSERT_TRUE(started) << started.error();
    until(State::kRunning);
  }
  void stop() {
    ASSERT_TRUE(capture().stop());
    until(State::kEnded);
  }
  void until_written(std::uint64_t packets) {
    until([&] { return capture().status()->written >= packets; });
  }
  PacketCapture& capture() {
    if (capture_ == nullptr) capture_ = std::make_unique<PacketCapture>(dataplane, limits);
    return *capture_;
  }

  TemporaryDirectory directory;
  Model model = model_of(std::string(kGoodText));
  CapturingDataplane dataplane;
  PacketCapture::Limits limits;
  PacketCapture::Clock::time_point now{1h};
  std::unique_ptr<PacketCapture> capture_;
};

TEST_F(PacketCaptureTest, TheFileHasTheCommandTheInterfacesAndThePackets) {
  CaptureRequest wanted = request();
  wanted.filter.dropped = true;
  start(wanted);
  EXPECT_EQ(dataplane.filter, wanted.filter);
  ASSERT_TRUE(dataplane.put(0));
  ASSERT_TRUE(dataplane.put(1, 2, 61, shared::CaptureVerdict::kDropped));
  until_written(2);
  stop();
  const auto blocks = blocks_of(path());
  ASSERT_THAT(blocks, SizeIs(1 + model.interfaces.size() + 1 + 2));
  EXPECT_EQ(blocks[0].type, 0x0A0D0D0AU);
  EXPECT_THAT(blocks[0].body, HasSubstr("start capture a.pcapng"));
  EXPECT_THAT(blocks[0].body, HasSubstr("lsnd "));
  for (std::size_t i = 0; i < model.interfaces.size(); ++i)
    EXPECT_THAT(blocks[1 + i].body, HasSubstr(model.interfaces[i].name));
  const auto packets = packets_of(path());
  EXPECT_EQ(packets[0].comment(), "forwarded: subscriber 192.0.2.10:4000 UDP");
  EXPECT_THAT(packets[1].comment(), StartsWith("dropped, filtered: "));
  const auto status = capture().status();
  EXPECT_EQ(status->written, 2U);
  EXPECT_EQ(status->seen, 2U);
  EXPECT_EQ(status->lost, 0U);
  EXPECT_EQ(status->bytes, read_file(path()).size());
  EXPECT_EQ(status->ended_by, "stop capture");
  EXPECT_FALSE(status->failed);
  EXPECT_EQ(dataplane.stopped, dataplane.workers());
}

TEST_F(PacketCaptureTest, DirectoryAndFileAreForTheirOwnerAndGroup) {
  start();
  struct stat info{};
  ASSERT_EQ(::stat(model.control.capture_directory.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0750U);
  ASSERT_EQ(::stat(path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0137U, 0U);
}

TEST_F(PacketCaptureTest, OnlyOneRunsAtATime) {
  start();
  const auto second = capture().start(request("b.pcapng"), model);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error(),
            "start capture: given b.pcapng while a.pcapng is written, allowed one at a time "
            "(stop capture)");
  stop();
  start(request("b.pcapng"));
  EXPECT_EQ(capture().status()->path, path("b.pcapng"));
}

TEST_F(PacketCaptureTest, WithoutOneThereIsNothingToStop) {
  EXPECT_EQ(capture().stop().error(), "stop capture: no capture runs");
  EXPECT_FALSE(capture().status());
  start();
  stop();
  EXPECT_THAT(capture().stop().error(), HasSubstr("that of a.pcapng has ended"));
}

TEST_F(PacketCaptureTest, AFileThatExistsIsLeftAlone) {
  start();
  stop();
  const std::string before = read_file(path());
  ASSERT_TRUE(capture().start(request(), model));
  until(State::kEnded);
  const auto status = capture().status();
  EXPECT_TRUE(status->failed);
  EXPECT_EQ(status->ended_by, "given " + path() + ", which exists, allowed a new file");
  EXPECT_EQ(read_file(path()), before);
  EXPECT_EQ(dataplane.stopped, dataplane.workers());  // the second one has not come to them
}

TEST_F(PacketCaptureTest, ALinkIsNotFollowed) {
  std::filesystem::create_directories(model.control.capture_directory);
  std::filesystem::create_symlink(directory / "elsewhere", path());
  ASSERT_TRUE(capture().start(request(), model));
  until(State::kEnded);
  EXPECT_TRUE(capture().status()->failed);
  EXPECT_FALSE(std::filesystem::exists(directory / "elsewhere"));
}

TEST_F(PacketCaptureTest, ADirectoryThatCannotBeMadeIsAnErrorInALine) {
  write_file(directory / "captures", "a file");
  ASSERT_TRUE(capture().start(request(), model));
  until(State::kEnded);
  EXPECT_THAT(capture().status()->ended_by, StartsWith(model.control.capture_directory + ": "));
}

TEST_F(PacketCaptureTest, MaxEndsItWithJustSoManyPackets) {
  CaptureRequest wanted = request();
  wanted.max = 3;
  start(wanted);
  for (int i = 0; i < 10; ++i) dataplane.put(i % 2 == 0 ? 0 : 1, i);
  until(State::kEnded);
  const auto status = capture().status();
  EXPECT_EQ(status->ended_by, "-max");
  EXPECT_EQ(status->written, 3U);
  EXPECT_EQ(status->lost, 0U);
  EXPECT_THAT(packets_of(path()), SizeIs(3));
}

TEST_F(PacketCaptureTest, SecondsEndIt) {
  CaptureRequest wanted = request();
  wanted.seconds = 5s;
  start(wanted);
  now += 4999ms;
  capture().tick(now);
  EXPECT_EQ(capture().status()->state, State::kRunning);
  EXPECT_EQ(capture().status()->runs, 4s);
  now += 1ms;
  until(State::kEnded);
  EXPECT_EQ(capture().status()->ended_by, "-seconds");
  EXPECT_EQ(capture().status()->runs, 5s);
}

TEST_F(PacketCaptureTest, TheSizeOfTheFileEndsIt) {
  limits.file = 2000;
  start();
  for (int i = 0; i < 20; ++i) dataplane.put(0, i, 100);
  until(State::kEnded);
  EXPECT_EQ(capture().status()->ended_by, "the size of its file");
  EXPECT_LE(read_file(path()).size(), 2000U);
  EXPECT_GT(packets_of(path()).size(), 0U);
}

TEST_F(PacketCaptureTest, WhatWasLostIsSaidInTheNextPacketAndInTheEnd) {
  limits.ring = 1024;
  start();
  // Faster than the thread can take them.
  int lost = 0;
  for (int i = 0; i < 100'000 && lost == 0; ++i) lost += dataplane.put(0, i, 300) ? 0 : 1;
  ASSERT_EQ(lost, 1);
  until([&] { return dataplane.put(0, 200'000, 10); });
  const std::uint64_t all_lost = dataplane.rings[0]->lost();
  stop();
  EXPECT_EQ(capture().status()->lost, all_lost);
  EXPECT_THAT(
      packets_of(path()).back().comment(),
      testing::EndsWith(fmt::format(" ({} packet{} before it {} not written)", all_lost,
                                    all_lost == 1 ? "" : "s", all_lost == 1 ? "was" : "were")));
}

TEST_F(PacketCaptureTest, PacketsOfAllWorkersAreInTheOrderOfTheirTimes) {
  start();
  for (int i = 0; i < 50; ++i) {
    dataplane.put(0, 2 * i);
    dataplane.put(1, 2 * i + 1);
  }
  until_written(100);
  stop();
  EXPECT_THAT(packets_of(path()), SizeIs(100));
}

TEST_F(PacketCaptureTest, AWriteThatFailsEndsItInALineAndLeavesWholeBlocks) {
  // A file may not get any larger than that: as on a full disk.
  struct sigaction ignore{}, before_action{};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGXFSZ, &ignore, &before_action);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  start();
  dataplane.put(0, 1);
  until_written(1);
  const rlimit small{read_file(path()).size() + 100, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  for (int i = 0; i < 10; ++i) dataplane.put(0, i, 500);
  until(State::kEnded);
  setrlimit(RLIMIT_FSIZE, &before);
  sigaction(SIGXFSZ, &before_action, nullptr);
  const auto status = capture().status();
  EXPECT_TRUE(status->failed);
  EXPECT_THAT(status->ended_by, StartsWith(path() + ": "));
  EXPECT_GT(status->lost, 0U);
  EXPECT_THAT(packets_of(path()), SizeIs(1));
  // The next one is not harmed.
  start(request("b.pcapng"));
}

TEST_F(PacketCaptureTest, TheEndOfLsndWritesWhatThereIs) {
  start();
  dataplane.put(0, 1);
  const auto ring = dataplane.rings[0];  // a worker still has it
  capture_.reset();
  EXPECT_THAT(packets_of(path()), SizeIs(1));
}

}  // namespace
}  // namespace lsn::control
