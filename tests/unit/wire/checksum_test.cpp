#include "lsn/wire/checksum.hpp"

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <vector>

namespace lsn::wire {
namespace {

/// RFC 1071, word by word.
std::uint16_t slowly(const std::vector<std::uint8_t>& bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 2)
    sum += static_cast<std::uint32_t>(bytes[i] << 8 | (i + 1 < bytes.size() ? bytes[i + 1] : 0));
  while (sum >> 16 != 0) sum = (sum & 0xFFFF) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

TEST(Checksum, OfTheExampleInRfc1071) {
  // Section 3: 0001 f203 f4f5 f6f7 add up to ddf2.
  constexpr std::array<std::uint8_t, 8> kBytes = {0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7};
  EXPECT_EQ(checksum(kBytes.data(), kBytes.size()), Be16::of(0x220D));
}

TEST(Checksum, OfAnyBytesIsTheSumOfTheirWords) {
  std::mt19937 random{1071};
  for (std::size_t size = 0; size < 200; ++size) {
    std::vector<std::uint8_t> bytes(size);
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
    EXPECT_EQ(checksum(bytes.data(), size).host(), slowly(bytes)) << size << " bytes";
  }
}

TEST(ChecksumDelta, OfTheExampleInRfc1624) {
  // Section 4: HC = 0xDD2F, m = 0x5555, m' = 0x3285 give 0x0000, not 0xFFFF.
  ChecksumDelta delta;
  delta.replace(Be16::of(0x5555), Be16::of(0x3285));
  EXPECT_EQ(delta.apply(Be16::of(0xDD2F)), Be16::of(0x0000));
}

TEST(ChecksumDelta, GivesWhatComputingAnewGives) {
  std::mt19937 random{1624};
  for (int i = 0; i < 2000; ++i) {
    std::vector<std::uint8_t> bytes(24);
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
    const Be16 before = checksum(bytes.data(), bytes.size());
    ChecksumDelta addresses, ports;
    const auto replace = [&](std::size_t at, auto old, ChecksumDelta& delta) {
      std::memcpy(&old, bytes.data() + at, sizeof old);
      auto fresh =
          decltype(old)::raw(static_cast<std::remove_cvref_t<decltype(old.raw())>>(random()));
      delta.replace(old, fresh);
      std::memcpy(bytes.data() + at, &fresh, sizeof fresh);
    };
    replace(4, Be32{}, addresses);
    replace(8, Be32{}, addresses);
    replace(12, Be16{}, ports);
    EXPECT_EQ((addresses + ports).apply(before), checksum(bytes.data(), bytes.size()));
  }
}

TEST(ChecksumDelta, OfUdpLeavesNoChecksumAlone) {
  ChecksumDelta delta;
  delta.replace(Be16::of(1), Be16::of(2));
  EXPECT_EQ(delta.apply_udp(Be16::of(0)), Be16::of(0));
}

TEST(ChecksumDelta, OfUdpSendsAZeroAsAllOnes) {
  ChecksumDelta delta;
  delta.replace(Be16::of(0x5555), Be16::of(0x3285));
  EXPECT_EQ(delta.apply_udp(Be16::of(0xDD2F)), Be16::of(0xFFFF));
}

TEST(PseudoHeader, IsPartOfTheSum) {
  // 192.0.2.1 > 198.51.100.1, UDP, 8 bytes: the six words of RFC 768's figure.
  const std::uint64_t sum = pseudo_header_sum(Be32::of(0xC0000201), Be32::of(0xC6336401), 17, 8);
  const std::vector<std::uint8_t> words = {0xC0, 0, 2, 1, 0xC6, 0x33, 0x64, 1, 0, 17, 0, 8};
  EXPECT_EQ(checksum(nullptr, 0, sum), checksum(words.data(), words.size()));
}

}  // namespace
}  // namespace lsn::wire
