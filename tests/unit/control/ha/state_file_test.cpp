// The state file: what is written is read again; what is damaged costs itself only.
#include "lsn/control/ha/state_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "unit/control/ha/file_size_limit.hpp"

namespace lsn::control {
namespace {

using Kind = StateRecord::Kind;

constexpr std::uint64_t kNow = 1'800'000'000;

class StateFile : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/lsnd-state-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    path_ = directory_ + "/state";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  static StateRecord esp(std::uint32_t place, std::uint32_t out, std::uint32_t in) {
    StateRecord r;
    r.kind = Kind::kEspSession;
    r.place = place;
    r.client = wire::Be32::of(0xC000020A);
    r.nat_ip = wire::Be32::of(0xCB007103);
    r.server = wire::Be32::of(0xC6120001);
    r.spi_out = wire::Be32::of(out);
    r.spi_in = wire::Be32::of(in);
    return r;
  }
  static StateRecord ike(std::uint64_t initiator) {
    StateRecord r = esp(0, 0, 0);
    r.kind = Kind::kIkeSession;
    r.version = 2;
    r.answered = true;
    r.inside_port = wire::Be16::of(500);
    r.nat_port = wire::Be16::of(40000);
    r.initiator = initiator;
    r.responder = 0xB2;
    return r;
  }
  void write(const std::vector<StateRecord>& records) {
    StateFileWriter writer(path_);
    ASSERT_TRUE(writer.begin());
    ASSERT_TRUE(writer.add(records, kNow));
    ASSERT_TRUE(writer.commit());
  }
  StoredState read(std::uint64_t now = kNow) {
    auto state = read_state_file(path_, now);
    EXPECT_TRUE(state) << (state ? "" : state.error());
    return state ? *state : StoredState{};
  }
  std::string bytes() {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void overwrite(const std::string& content) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << content;
  }

  std::string directory_, path_;
};

TEST_F(StateFile, AFileThatDoesNotExistIsEmpty) {
  EXPECT_TRUE(read().records.empty());
}

TEST_F(StateFile, WhatIsWrittenIsReadAgain) {
  StateRecord idle = esp(7, 0x1001, 0x2001);
  idle.idle_seconds = 100;
  write({idle, ike(0xA1)});
  const StoredState state = read(kNow + 20);
  ASSERT_EQ(state.records.size(), 2u);
  const StateRecord& i = state.records[0];  // mappings and IKE sessions first
  EXPECT_EQ(i.kind, Kind::kIkeSession);
  EXPECT_EQ(i.version, 2);
  EXPECT_TRUE(i.answered);
  EXPECT_EQ(i.inside_port.host(), 500);
  EXPECT_EQ(i.nat_port.host(), 40000);
  EXPECT_EQ(i.initiator, 0xA1u);
  EXPECT_EQ(i.responder, 0xB2u);
  EXPECT_EQ(i.idle_seconds, 20u);
  const StateRecord& e = state.records[1];
  EXPECT_EQ(e.client.host(), 0xC000020Au);
  EXPECT_EQ(e.nat_ip.host(), 0xCB007103u);
  EXPECT_EQ(e.server.host(), 0xC6120001u);
  EXPECT_EQ(e.spi_out.host(), 0x1001u);
  EXPECT_EQ(e.spi_in.host(), 0x2001u);
  EXPECT_EQ(e.idle_seconds, 120u);
}

TEST_F(StateFile, ALaterRecordReplacesAnEarlierOneAndGoneTakesItAway) {
  StateFileWriter writer(path_);
  ASSERT_TRUE(writer.begin());
  ASSERT_TRUE(writer.add(std::vector{esp(1, 0x1001, 0), esp(2, 0x1002, 0x2002)}, kNow));
  ASSERT_TRUE(writer.commit());
  StateRecord gone = esp(2, 0x1002, 0x2002);
  gone.gone = true;
  ASSERT_TRUE(writer.append(std::vector{esp(1, 0x1001, 0x2001), gone}, kNow));
  const StoredState state = read();
  ASSERT_EQ(state.records.size(), 1u);
  EXPECT_EQ(state.records[0].spi_in.host(), 0x2001u);
}

TEST_F(StateFile, AnExchangeIsReadAgain) {
  StateRecord exchange = ike(0xA1);
  exchange.kind = Kind::kExchange;
  exchange.inside_port = exchange.nat_port = {};
  exchange.responder = 0;
  exchange.version = 0;
  exchange.exchange = 3;
  exchange.from_server = true;
  exchange.message_id = 0xFFFFFFFF;
  exchange.latest_request = 7;
  exchange.idle_seconds = 40;
  StateRecord other = exchange;
  other.from_server = false;
  write({exchange, other});
  const auto records = read(kNow + 5).records;
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].kind, Kind::kExchange);
  EXPECT_EQ(records[0].initiator, 0xA1u);
  EXPECT_EQ(records[0].exchange, 3u);
  EXPECT_TRUE(records[0].from_server);
  EXPECT_TRUE(records[0].answered);
  EXPECT_EQ(records[0].message_id, 0xFFFFFFFFu);
  EXPECT_EQ(records[0].latest_request, 7u);
  EXPECT_EQ(records[0].idle_seconds, 45u);
  EXPECT_FALSE(records[1].from_server);
}

TEST_F(StateFile, TheLatestPairingOfAClientWins) {
  StateRecord before = esp(1, 0x1001, 0x2001), other = esp(3, 0x1003, 0x2003);
  other.client = wire::Be32::of(0xC000020B);
  before.nat_ip = other.nat_ip = wire::Be32::of(0xCB007109);
  StateRecord gone = ike(0xA2);
  gone.gone = true;
  gone.nat_ip = before.nat_ip;
  write({before, other, ike(0xA1), esp(2, 0x1002, 0x2002), gone});
  const auto records = read().records;
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].initiator, 0xA1u);
  EXPECT_EQ(records[1].place, 3u);
  EXPECT_EQ(records[2].place, 2u);
}

/// CRC-32 as zlib has it.
std::uint32_t checksum_of(std::string_view bytes) {
  std::uint32_t crc = ~0U;
  for (const char byte : bytes) {
    crc ^= static_cast<std::uint8_t>(byte);
    for (int i = 0; i < 8; ++i) crc = crc >> 1 ^ (crc & 1U ? 0xEDB88320U : 0U);
  }
  return ~crc;
}

std::string raw(std::uint32_t number) {
  return std::string(reinterpret_cast<const char*>(&number), sizeof number);
}

TEST_F(StateFile, FilesOfFormerVersionsAreReadAndHaveDomainZero) {
  StateRecord record = esp(1, 0x1001, 0x2001);
  record.td = 5;
  write({record});
  ASSERT_EQ(read().records.size(), 1u);
  EXPECT_EQ(read().records[0].td, 5u);
  const std::string now = bytes();
  const std::string content = now.substr(16, 52);
  for (const std::uint32_t version : {1U, 2U}) {
    overwrite(now.substr(0, 8) + raw(version) + raw(56) + content + raw(checksum_of(content)));
    const auto records = read().records;
    ASSERT_EQ(records.size(), 1u) << version;
    EXPECT_EQ(records[0].td, 0u);
    EXPECT_EQ(records[0].spi_out, record.spi_out);
  }
  for (const std::uint32_t unknown : {0U, kStateFileVersion + 1}) {
    overwrite(now.substr(0, 8) + raw(unknown) + now.substr(12));
    const auto state = read_state_file(path_, kNow);
    ASSERT_FALSE(state);
    EXPECT_THAT(state.error(), ::testing::HasSubstr("this program reads versions 1 to 3"));
  }
}

TEST_F(StateFile, ClientsOfOneAddressInTwoDomainsHaveTheirOwnPairings) {
  StateRecord one = esp(1, 0x1001, 0x2001), other = esp(2, 0x1002, 0x2002);
  one.td = 1;
  other.td = 2;
  other.nat_ip = wire::Be32::of(0xCB007109);
  write({one, other});
  const auto records = read().records;
  ASSERT_EQ(records.size(), 2u);
  EXPECT_NE(records[0].td, records[1].td);
  EXPECT_NE(records[0].nat_ip, records[1].nat_ip);
}

TEST_F(StateFile, AppendingGoesOnToThePresentFileWhileANewOneIsWritten) {
  StateFileWriter writer(path_);
  ASSERT_TRUE(writer.begin());
  ASSERT_TRUE(writer.commit());
  ASSERT_TRUE(writer.begin());
  ASSERT_TRUE(writer.append(std::vector{esp(1, 1, 2)}, kNow));
  EXPECT_EQ(read().records.size(), 1u);
  ASSERT_TRUE(writer.add(std::vector{esp(1, 1, 2), esp(2, 3, 4)}, kNow));
  EXPECT_EQ(read().records.size(), 1u);
  ASSERT_TRUE(writer.commit());
  EXPECT_EQ(read().records.size(), 2u);
  EXPECT_FALSE(std::filesystem::exists(path_ + ".new"));
}

TEST_F(StateFile, ATornEndCostsThatRecordOnly) {
  write({esp(1, 1, 2), esp(2, 3, 4)});
  const std::string whole = bytes();
  for (std::size_t cut = 1; cut < 56; ++cut) {
    overwrite(whole.substr(0, whole.size() - cut));
    const StoredState state = read();
    EXPECT_EQ(state.records.size(), 1u);
    EXPECT_EQ(state.damaged, 1u);
  }
}

TEST_F(StateFile, ADiskThatIsFullForAWhileTearsNothing) {
  StateFileWriter writer(path_);
  ASSERT_TRUE(writer.begin());
  ASSERT_TRUE(writer.add(std::vector{esp(1, 1, 2)}, kNow));
  ASSERT_TRUE(writer.commit());
  {
    const FileSizeLimit limit(bytes().size() + 20);
    EXPECT_FALSE(writer.append(std::vector{esp(2, 3, 4)}, kNow));
  }
  ASSERT_TRUE(writer.append(std::vector{esp(3, 5, 6)}, kNow));
  const StoredState state = read();
  EXPECT_EQ(state.damaged, 0u);
  ASSERT_EQ(state.records.size(), 2u);
  EXPECT_EQ(state.records[1].place, 3u);
}

TEST_F(StateFile, OneProcessHasItAtATime) {
  auto first = lock_state_file(path_);
  ASSERT_TRUE(first);
  const auto second = lock_state_file(path_);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error(), ::testing::HasSubstr("another lsnd uses it"));
  first->release();
  EXPECT_TRUE(lock_state_file(path_));
  EXPECT_TRUE(lock_state_file(""));
}

TEST_F(StateFile, AFifoIsNoStateFileAndNobodyWaitsForIt) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_FALSE(read_state_file(path_, kNow));
}

TEST_F(StateFile, ADamagedRecordCostsThatRecordOnly) {
  write({esp(1, 1, 2), esp(2, 3, 4), esp(3, 5, 6)});
  const std::string whole = bytes();
  for (std::size_t at = 16 + 56; at < 16 + 2 * 56; ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
    overwrite(damaged);
    const StoredState state = read();
    EXPECT_EQ(state.records.size(), 2u) << at;
    EXPECT_EQ(state.damaged, 1u) << at;
  }
}

TEST_F(StateFile, WhatIsNoStateFileIsSaidSo) {
  for (const std::string& content :
       {std::string("x"), std::string(100, 'x'), std::string("LSNSTATE\x09\0\0\0\x38\0\0\0", 16)}) {
    overwrite(content);
    const auto state = read_state_file(path_, kNow);
    ASSERT_FALSE(state);
    EXPECT_THAT(state.error(), ::testing::HasSubstr(path_));
  }
}

TEST_F(StateFile, ADirectoryThatCannotBeWrittenIsAnError) {
  StateFileWriter writer(directory_ + "/no/such/place");
  const auto begun = writer.begin();
  ASSERT_FALSE(begun);
  EXPECT_THAT(begun.error(), ::testing::HasSubstr("/no/such/place"));
}

}  // namespace
}  // namespace lsn::control
