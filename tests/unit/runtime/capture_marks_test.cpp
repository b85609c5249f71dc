#include "lsn/runtime/capture_marks.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "lsn/control/capture/capture_file.hpp"
#include "lsn/runtime/capture_file.hpp"

namespace lsn::runtime {
namespace {

using Mark = CaptureMarks::Mark;
using shared::CaptureRecord;
using shared::CaptureVerdict;
using testing::ElementsAre;

class CaptureMarksTest : public testing::Test {
 protected:
  CaptureMarksTest() {
    std::string name = (std::filesystem::temp_directory_path() / "lsn.XXXXXX").string();
    directory = mkdtemp(name.data());
  }
  ~CaptureMarksTest() override { std::filesystem::remove_all(directory); }

  /// A frame with an IPv4 packet of 20 bytes and another TTL each time.
  void add(bool received, CaptureVerdict verdict) {
    const std::uint8_t number = ++frames;
    CaptureRecord* const record = ring.add(34);
    ASSERT_NE(record, nullptr);
    record->length = 34;
    record->interface = 0;
    record->received = received;
    record->verdict = verdict;
    record->reason = shared::DropReason::kFiltered;
    record->time = 1'700'000'000'000'000'000 + number * 1'000;
    record->flow = {};
    std::memset(record->bytes(), 0, 34);
    record->bytes()[12] = 0x08;
    record->bytes()[14] = 0x45;
    record->bytes()[17] = 20;
    record->bytes()[22] = number;
  }
  std::string write() {
    auto file = control::CaptureFile::create(directory, "a", "all", {{"in", "x"}, {"lsnd", "y"}});
    EXPECT_TRUE(file) << file.error();
    ring.publish();
    std::string blocks;
    ring.take([&](const CaptureRecord& record) { file->format(record, 0, blocks); });
    EXPECT_TRUE(file->append(blocks));
    return file->path();
  }

  std::string directory;
  shared::CaptureRing ring;
  std::uint8_t frames = 0;
};

TEST_F(CaptureMarksTest, EachPacketIsReadWithItsMark) {
  add(true, CaptureVerdict::kForwarded);
  add(false, CaptureVerdict::kForwarded);
  add(true, CaptureVerdict::kDropped);
  add(true, CaptureVerdict::kTaken);
  add(false, CaptureVerdict::kLater);
  add(true, CaptureVerdict::kCut);
  auto reader = CaptureReader::open(write());
  ASSERT_TRUE(reader) << reader.error();
  std::vector<Mark> marks;
  for (;;) {
    auto packet = reader->next();
    ASSERT_TRUE(packet) << packet.error();
    if (!*packet) break;
    marks.push_back((*packet)->mark);
    EXPECT_EQ((*packet)->ip.size(), 20U);
    EXPECT_EQ((*packet)->ip[8], marks.size());
    EXPECT_EQ((*packet)->time.count(),
              1'700'000'000'000'000 + static_cast<std::int64_t>(marks.size()));
    EXPECT_FALSE((*packet)->is_cut);
  }
  EXPECT_THAT(marks, ElementsAre(Mark::kForwarded, Mark::kSent, Mark::kReceived, Mark::kReceived,
                                 Mark::kSent, Mark::kForwarded));
}

TEST_F(CaptureMarksTest, AFileThatEndsInABlockHasNoMoreMarks) {
  add(true, CaptureVerdict::kForwarded);
  add(true, CaptureVerdict::kForwarded);
  const std::string path = write();
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 5);
  auto marks = CaptureMarks::open(path);
  ASSERT_TRUE(marks);
  EXPECT_EQ(marks->next(), Mark::kForwarded);
  EXPECT_EQ(marks->next(), Mark::kNone);
}

TEST_F(CaptureMarksTest, OtherFilesHaveNone) {
  EXPECT_FALSE(CaptureMarks::open(directory + "/none"));
  for (const std::string text : {"", "abc", "\xD4\xC3\xB2\xA1 a pcap file of old"}) {
    std::ofstream(directory + "/other") << text;
    EXPECT_FALSE(CaptureMarks::open(directory + "/other"));
  }
}

}  // namespace
}  // namespace lsn::runtime
