#include "lsn/shared/capture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <random>
#include <thread>
#include <vector>

namespace lsn::shared {
namespace {

using testing::ElementsAre;

constexpr std::uint32_t kHead = sizeof(CaptureRecord);

bool put(CaptureRing& ring, std::uint32_t size, std::uint8_t fill) {
  CaptureRecord* const record = ring.add(size);
  if (record == nullptr) return false;
  record->verdict = CaptureVerdict::kForwarded;
  std::memset(record->bytes(), fill, size);
  return true;
}

std::vector<std::uint32_t> sizes_in(CaptureRing& ring) {
  std::vector<std::uint32_t> sizes;
  ring.take([&](const CaptureRecord& record) { sizes.push_back(record.captured); });
  return sizes;
}

TEST(CaptureRingTest, RecordsAreSeenWhenTheyArePublished) {
  CaptureRing ring(4096);
  ASSERT_TRUE(put(ring, 60, 1));
  EXPECT_THAT(sizes_in(ring), ElementsAre());
  ring.publish();
  EXPECT_THAT(sizes_in(ring), ElementsAre(60));
  EXPECT_THAT(sizes_in(ring), ElementsAre());
}

TEST(CaptureRingTest, AVoidRecordIsLeftOut) {
  CaptureRing ring(4096);
  ASSERT_TRUE(put(ring, 1, 1));
  CaptureRecord* const record = ring.add(2);
  ASSERT_NE(record, nullptr);
  ASSERT_TRUE(put(ring, 3, 1));
  record->verdict = CaptureVerdict::kVoid;
  ring.publish();
  EXPECT_THAT(sizes_in(ring), ElementsAre(1, 3));
}

TEST(CaptureRingTest, WhatDoesNotFitIsLostAndCounted) {
  CaptureRing ring(1024);
  unsigned fitted = 0;
  while (put(ring, 100, 1)) ++fitted;
  EXPECT_EQ(fitted, 1024 / ((kHead + 100 + 7) / 8 * 8));
  EXPECT_EQ(ring.lost(), 1U);
  EXPECT_FALSE(put(ring, 100, 1));
  EXPECT_EQ(ring.lost(), 2U);
  ring.publish();
  EXPECT_EQ(sizes_in(ring).size(), fitted);
  EXPECT_TRUE(put(ring, 100, 1));
  EXPECT_EQ(ring.lost(), 2U);
}

TEST(CaptureRingTest, AFrameLargerThanTheRingIsLost) {
  CaptureRing ring(1024);
  EXPECT_FALSE(put(ring, 2000, 1));
  EXPECT_TRUE(put(ring, 10, 1));
}

TEST(CaptureRingTest, RandomFramesComeOutAsTheyWentIn) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  CaptureRing ring(8192);
  std::deque<std::uint32_t> expected;
  std::uint64_t lost = 0;
  for (int i = 0; i < 20'000; ++i) {
    const auto size = static_cast<std::uint32_t>(random() % 1600);
    if (put(ring, size, static_cast<std::uint8_t>(size)))
      expected.push_back(size);
    else
      ++lost;
    ring.publish();
    if (random() % 4 != 0) continue;
    ring.take([&](const CaptureRecord& record) {
      ASSERT_FALSE(expected.empty());
      ASSERT_EQ(record.captured, expected.front());
      for (const std::uint8_t byte : record.frame())
        ASSERT_EQ(byte, static_cast<std::uint8_t>(record.captured));
      expected.pop_front();
    });
    ASSERT_TRUE(expected.empty());
  }
  EXPECT_EQ(ring.lost(), lost);
  EXPECT_GT(lost, 0U);
}

TEST(CaptureRingTest, TwoThreadsLoseNothingThatIsNotCounted) {
  CaptureRing ring(16384);
  constexpr std::uint64_t kFrames = 100'000;
  std::thread worker([&ring] {
    for (std::uint64_t i = 0; i < kFrames; ++i) {
      static_cast<void>(put(ring, static_cast<std::uint32_t>(i % 300), 7));
      ring.publish();
      ring.saw(1);
    }
  });
  std::uint64_t taken = 0;
  while (ring.seen() != kFrames) ring.take([&](const CaptureRecord&) { ++taken; });
  worker.join();
  ring.take([&](const CaptureRecord&) { ++taken; });
  EXPECT_EQ(taken + ring.lost(), kFrames);
}

wire::Endpoint end(std::uint32_t address, std::uint16_t port) {
  return {wire::Be32::of(address), wire::Be16::of(port)};
}
constexpr std::uint32_t kA = 0x0A000001, kB = 0x0A000002, kNatA = 0xCB007103, kNatB = 0xCB007104,
                        kRemote = 0xC6120001;

CapturedFlow udp_flow() {
  CapturedFlow flow;
  flow.subscriber = end(kA, 1);
  flow.nat = end(kNatA, 2);
  flow.remote = end(kRemote, 3);
  flow.protocol = 17;
  flow.has_ports = true;
  return flow;
}
wire::Ipv4Address address(std::uint32_t value) {
  return wire::Ipv4Address{value};
}

TEST(CaptureFilterTest, WithoutAnythingAllFits) {
  EXPECT_TRUE(CaptureFilter{}.fits(udp_flow()));
  EXPECT_TRUE(CaptureFilter{}.fits(CapturedFlow{}));
  EXPECT_TRUE(CaptureFilter{}.fits(CaptureVerdict::kForwarded, {}));
}

TEST(CaptureFilterTest, EachPartMustFit) {
  const CapturedFlow flow = udp_flow();
  EXPECT_TRUE((CaptureFilter{.subscriber = address(kA)}.fits(flow)));
  EXPECT_FALSE((CaptureFilter{.subscriber = address(kB)}.fits(flow)));
  EXPECT_TRUE((CaptureFilter{.nat = address(kNatA)}.fits(flow)));
  EXPECT_FALSE((CaptureFilter{.nat = address(kRemote)}.fits(flow)));
  EXPECT_TRUE((CaptureFilter{.remote = address(kRemote)}.fits(flow)));
  EXPECT_FALSE((CaptureFilter{.remote = address(kNatA)}.fits(flow)));
  EXPECT_TRUE((CaptureFilter{.protocol = Protocol::kUdp}.fits(flow)));
  EXPECT_FALSE((CaptureFilter{.protocol = Protocol::kTcp}.fits(flow)));
  EXPECT_FALSE((CaptureFilter{.subscriber = address(kA), .remote = address(kB)}.fits(flow)));
  EXPECT_FALSE((CaptureFilter{.subscriber = address(kA)}.fits(CapturedFlow{})));
}

TEST(CaptureFilterTest, AHairpinnedPacketConcernsBothSubscribers) {
  CapturedFlow flow = udp_flow();
  flow.remote = end(kNatB, 4);
  flow.peer = end(kB, 5);
  for (const std::uint32_t each : {kA, kB})
    EXPECT_TRUE((CaptureFilter{.subscriber = address(each)}.fits(flow)));
  for (const std::uint32_t each : {kNatA, kNatB})
    EXPECT_TRUE((CaptureFilter{.nat = address(each)}.fits(flow)));
}

TEST(CaptureFilterTest, AnSpiIsOneOfEsp) {
  CapturedFlow flow = udp_flow();
  flow.spi = wire::Be32::of(0xC3F1A2B4);
  EXPECT_FALSE((CaptureFilter{.spi = 0xC3F1A2B4}.fits(flow)));
  flow.protocol = 50;
  EXPECT_TRUE((CaptureFilter{.spi = 0xC3F1A2B4}.fits(flow)));
  EXPECT_FALSE((CaptureFilter{.spi = 1}.fits(flow)));
}

TEST(CaptureFilterTest, DroppedOnlyAndForOneReasonOnly) {
  const CaptureFilter any{.dropped = true};
  EXPECT_FALSE(any.fits(CaptureVerdict::kForwarded, {}));
  EXPECT_TRUE(any.fits(CaptureVerdict::kDropped, DropReason::kFiltered));
  const CaptureFilter one{.dropped = true, .reason = DropReason::kNoMapping};
  EXPECT_FALSE(one.fits(CaptureVerdict::kDropped, DropReason::kFiltered));
  EXPECT_TRUE(one.fits(CaptureVerdict::kDropped, DropReason::kNoMapping));
}

}  // namespace
}  // namespace lsn::shared
