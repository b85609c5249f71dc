// The journal against workers that are a table: the file says at any time what a restart needs, at
// most a second behind, whatever is lost and whatever happens during a walk.
#include "lsn/control/ha/journal.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "unit/control/command/support.hpp"
#include "unit/control/ha/file_size_limit.hpp"

namespace lsn::control {
namespace {

using namespace std::chrono_literals;
using shared::StateRecord;

class JournalTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/lsnd-journal-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    path_ = directory_ + "/sub/state";
  }
  void TearDown() override {
    journal_.reset();
    std::filesystem::remove_all(directory_);
  }

  void start() {
    journal_.emplace(path_, dataplane_);
    journal_->restore();
    pass(1s);
  }
  /// Time passes, a tick every 10 ms.
  void pass(std::chrono::milliseconds time) {
    for (const auto end = now_ + time; now_ < end; now_ += 10ms) {
      dataplane_.poll();
      journal_->tick(now_);
      // Its thread knows nothing of the test's time.
      while (journal_->is_writing()) std::this_thread::sleep_for(50us);
    }
  }
  static StateRecord esp(std::uint32_t place, bool gone = false, unsigned shard = 0) {
    StateRecord r;
    r.kind = StateRecord::Kind::kEspSession;
    r.gone = gone;
    r.shard = static_cast<std::uint8_t>(shard);
    r.place = place;
    r.client = wire::Be32::of(0xC0000200 + place);
    r.nat_ip = wire::Be32::of(0xCB007103);
    r.server = wire::Be32::of(0xC6120001);
    r.spi_out = wire::Be32::of(0x1000 + place);
    r.spi_in = wire::Be32::of(0x2000 + place);
    return r;
  }
  /// The places that the file knows.
  std::set<std::uint32_t> stored() const {
    const auto state = read_state_file(path_, static_cast<std::uint64_t>(time(nullptr)));
    EXPECT_TRUE(state) << (state ? "" : state.error());
    std::set<std::uint32_t> places;
    if (state)
      for (const StateRecord& record : state->records) places.insert(record.place);
    return places;
  }
  std::uintmax_t size() const { return std::filesystem::file_size(path_); }

  std::string directory_, path_;
  FakeDataplane dataplane_{2};
  std::optional<Journal> journal_;
  Journal::Time now_{};
};

TEST_F(JournalTest, ChangesAreInTheFileWithinASecond) {
  start();
  dataplane_.state_changes(0).put(esp(1));
  dataplane_.state_changes(1).put(esp(2, false, 1));
  pass(1s);
  EXPECT_EQ(stored(), (std::set<std::uint32_t>{1, 2}));
  dataplane_.state_changes(0).put(esp(1, true));
  pass(1s);
  EXPECT_EQ(stored(), (std::set<std::uint32_t>{2}));
}

TEST_F(JournalTest, WhatWasThereBeforeIsReadAndHandedOver) {
  start();
  dataplane_.state_changes(0).put(esp(1));
  pass(1s);
  journal_.reset();
  FakeDataplane next(2);
  Journal again(path_, next);
  again.restore();
  ASSERT_EQ(next.to_restore.size(), 1u);
  EXPECT_EQ(next.to_restore[0].spi_in.host(), 0x2001u);
  next.restored(1);
}

TEST_F(JournalTest, WhatIsGoingToBeRestoredIsShownBefore) {
  start();
  dataplane_.state_changes(0).put(esp(1));
  pass(1s);
  journal_.reset();
  FakeDataplane next(2);
  Journal again(path_, next);
  std::vector<std::uint32_t> shown;
  again.restore([&](std::span<const StateRecord> records) {
    EXPECT_TRUE(next.to_restore.empty());
    for (const StateRecord& record : records) shown.push_back(record.place);
  });
  EXPECT_EQ(shown, (std::vector<std::uint32_t>{1}));
  EXPECT_EQ(next.to_restore.size(), 1u);
}

TEST_F(JournalTest, WhatARingHasLostComesFromAWalk) {
  start();
  for (std::uint32_t i = 0; i < shared::StateRing::kCapacity + 10; ++i)
    dataplane_.state_changes(1).put(esp(i % 100, false, 1));
  for (std::uint32_t i = 0; i < 3000; ++i) dataplane_.state_rows(1).push_back(esp(i, false, 1));
  pass(2s);
  EXPECT_EQ(stored().size(), 3000u);
}

TEST_F(JournalTest, WhatChangesDuringAWalkIsBehindIt) {
  for (std::uint32_t i = 0; i < 5000; ++i) dataplane_.state_rows(0).push_back(esp(i));
  journal_.emplace(path_, dataplane_);
  journal_->restore();
  pass(20ms);  // the walk has begun
  dataplane_.state_changes(0).put(esp(1, true));
  dataplane_.state_changes(0).put(esp(7000));
  pass(1s);
  const auto places = stored();
  EXPECT_EQ(places.size(), 5000u);
  EXPECT_FALSE(places.contains(1));
  EXPECT_TRUE(places.contains(7000));
}

TEST_F(JournalTest, DuringAWalkThePresentFileGoesOn) {
  start();
  dataplane_.state_changes(0).put(esp(1));
  pass(1s);
  dataplane_.hold = true;  // a walk whose answers do not come
  pass(6min);
  dataplane_.state_changes(0).put(esp(2));
  pass(1s);
  EXPECT_EQ(stored(), (std::set<std::uint32_t>{1, 2}));
}

TEST_F(JournalTest, TheFileIsWrittenAnewWhenItHasGrown) {
  start();
  for (std::uint32_t i = 0; i < 20000; ++i) {
    dataplane_.state_changes(0).put(esp(1, i % 2 == 1));
    if (i % 100 == 0) pass(10ms);
  }
  pass(1s);
  EXPECT_LT(size(), 10000u * 56);
}

TEST_F(JournalTest, ADamagedFileIsNoReasonNotToStart) {
  std::filesystem::create_directories(directory_ + "/sub");
  std::ofstream(path_) << "this is no state file at all";
  start();
  EXPECT_TRUE(dataplane_.to_restore.empty());
  dataplane_.state_changes(0).put(esp(1));
  pass(1s);
  EXPECT_EQ(stored(), (std::set<std::uint32_t>{1}));  // it has been replaced
}

TEST_F(JournalTest, AnErrorIsSurvivedUntilTheFileCanBeWrittenAgain) {
  std::ofstream(directory_ + "/sub") << "a file where the directory should be";
  start();
  dataplane_.state_rows(0).push_back(esp(1));
  dataplane_.state_changes(0).put(esp(1));
  pass(5s);
  std::filesystem::remove(directory_ + "/sub");
  std::filesystem::create_directories(directory_ + "/sub");
  pass(15s);
  EXPECT_EQ(stored(), (std::set<std::uint32_t>{1}));
}

TEST_F(JournalTest, ErrorsOfThePresentFileDoNotPutOffANewOne) {
  start();
  dataplane_.state_rows(0).push_back(esp(7));
  {
    // Room for a new file and some changes, but not for this one to go on.
    const FileSizeLimit limit(size() + 100 * 56);
    for (unsigned i = 0; i < 250; ++i) {
      if (i == 150) {
        dataplane_.state_rows(0).push_back(esp(8));
        dataplane_.state_changes(0).put(esp(8));
      }
      dataplane_.state_changes(0).put(esp(7));
      pass(100ms);
    }
  }
  EXPECT_EQ(stored(), (std::set<std::uint32_t>{7, 8}));
}

TEST_F(JournalTest, ADiskThatStandsStillHoldsUpNobody) {
  std::filesystem::create_directories(directory_ + "/sub");
  // What opens it to write waits until somebody reads: nobody ever does.
  ASSERT_EQ(mkfifo((path_ + ".new").c_str(), 0600), 0);
  journal_.emplace(path_, dataplane_);
  journal_->restore();
  for (unsigned i = 0; i < 1000; ++i, now_ += 10ms) {
    dataplane_.state_changes(0).put(esp(i % 100));
    dataplane_.poll();
    journal_->tick(now_);
  }
  EXPECT_TRUE(journal_->is_writing());
  journal_.reset();
}

TEST_F(JournalTest, TheEndWritesWhatIsLeft) {
  start();
  dataplane_.state_changes(0).put(esp(3));
  journal_.reset();
  EXPECT_EQ(stored(), (std::set<std::uint32_t>{3}));
}

TEST_F(JournalTest, WithoutAPathNothingHappens) {
  path_.clear();
  journal_.emplace(path_, dataplane_);
  journal_->restore();
  pass(1s);
  EXPECT_EQ(dataplane_.outstanding(), 0u);
  EXPECT_TRUE(std::filesystem::is_empty(directory_));
}

}  // namespace
}  // namespace lsn::control
