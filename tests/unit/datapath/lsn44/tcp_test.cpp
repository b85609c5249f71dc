// The TCP state of a session, segment by segment (RFC 5382 section 2.1, RFC 7857 section 2),
// without packets: headers alone.
#include "lsn/datapath/lsn44/tcp.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "lsn/wire/tcp.hpp"

namespace lsn::datapath::lsn44 {
namespace {

using enum SessionState;

constexpr unsigned kFin = 0x01, kSyn = 0x02, kRst = 0x04, kAck = 0x10;
constexpr Direction kOut = Direction::kOutbound, kIn = Direction::kInbound;

class TcpState : public ::testing::Test {
 protected:
  TcpState() { session_.protocol = Protocol::kTcp; }

  struct Segment {
    std::uint32_t sequence = 0;
    std::uint32_t acknowledgment = 0;
    std::uint32_t payload = 0;
    int scale = -1;  ///< the window scale option; -1: none
  };

  /// Shows the session a segment; whether its state has changed.
  bool follow(Direction direction, unsigned flags, const Segment& segment) {
    std::uint8_t bytes[24] = {};
    const auto put32 = [&](std::size_t at, std::uint32_t value) {
      for (unsigned i = 0; i < 4; ++i)
        bytes[at + i] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
    };
    put32(4, segment.sequence);
    put32(8, segment.acknowledgment);
    const unsigned size = segment.scale < 0 ? 20 : 24;
    bytes[12] = static_cast<std::uint8_t>(size / 4 << 4);
    bytes[13] = static_cast<std::uint8_t>(flags);
    if (segment.scale >= 0) {
      const std::uint8_t option[] = {3, 3, static_cast<std::uint8_t>(segment.scale), 0};
      std::memcpy(bytes + 20, option, sizeof option);
    }
    Packet packet;
    packet.l4 = bytes;
    packet.l4_size = size + segment.payload;
    return follow_tcp(session_, packet, direction);
  }

  /// Opens the connection from inside; the client's numbers begin with 1000, the server's with
  /// 5000.
  void open(int client_scale = -1, int server_scale = -1) {
    follow(kOut, kSyn, {.sequence = 1000, .scale = client_scale});
    follow(kIn, kSyn | kAck, {.sequence = 5000, .acknowledgment = 1001, .scale = server_scale});
    follow(kOut, kAck, {.sequence = 1001, .acknowledgment = 5001});
    ASSERT_EQ(state_of(session_), kEstablished);
  }

  [[nodiscard]] bool is_off_the_fast_path() const {
    return (session_.flags & SessionFlags::kOffFastPath) != 0;
  }

  Session session_{};
};

TEST_F(TcpState, ThreeWayHandshake_OpensTheConnection) {
  EXPECT_FALSE(follow(kOut, kSyn, {.sequence = 1000}));
  EXPECT_EQ(state_of(session_), kSynSent);
  EXPECT_TRUE(is_off_the_fast_path());
  follow(kIn, kSyn | kAck, {.sequence = 5000, .acknowledgment = 1001});
  EXPECT_FALSE(is_open(session_)) << "the subscriber has acknowledged nothing";
  EXPECT_TRUE(follow(kOut, kAck, {.sequence = 1001, .acknowledgment = 5001}));
  EXPECT_EQ(state_of(session_), kEstablished);
  EXPECT_FALSE(is_off_the_fast_path());
}

TEST_F(TcpState, SimultaneousOpen_OpensTheConnection) {
  follow(kOut, kSyn, {.sequence = 1000});
  follow(kIn, kSyn, {.sequence = 5000});
  follow(kOut, kSyn | kAck, {.sequence = 1000, .acknowledgment = 5001});
  follow(kIn, kSyn | kAck, {.sequence = 5000, .acknowledgment = 1001});
  EXPECT_EQ(state_of(session_), kEstablished);
}

TEST_F(TcpState, ASynFromOutsideAlone_IsSynReceived) {
  follow(kIn, kSyn, {.sequence = 5000});
  EXPECT_EQ(state_of(session_), kSynReceived);
}

TEST_F(TcpState, FinsOfBothSides_Close) {
  open();
  EXPECT_TRUE(follow(kOut, kFin | kAck, {.sequence = 1001, .acknowledgment = 5001}));
  EXPECT_EQ(state_of(session_), kFinOutbound);
  EXPECT_TRUE(follow(kIn, kFin | kAck, {.sequence = 5001, .acknowledgment = 1002}));
  EXPECT_EQ(state_of(session_), kClosing);
}

TEST_F(TcpState, AFinOfOneSide_IsHalfClosed) {
  open();
  follow(kIn, kFin | kAck, {.sequence = 5001, .acknowledgment = 1001});
  EXPECT_EQ(state_of(session_), kFinInbound);
  follow(kOut, kAck, {.sequence = 1001, .acknowledgment = 5002, .payload = 100});
  EXPECT_EQ(state_of(session_), kFinInbound) << "data go on";
}

TEST_F(TcpState, ARstWithinTheWindow_Resets) {
  open();
  EXPECT_TRUE(follow(kIn, kRst, {.sequence = 5001}));
  EXPECT_EQ(state_of(session_), kClosing);
  EXPECT_TRUE(is_reset(session_));
  EXPECT_TRUE(is_off_the_fast_path()) << "the next packet may show that it was not accepted";
}

TEST_F(TcpState, ARstOutOfTheWindow_ChangesNothing) {
  open();
  for (const std::uint32_t sequence : {5001u + (1u << 18), 5001u - (1u << 18), 0x80000000u})
    EXPECT_FALSE(follow(kIn, kRst, {.sequence = sequence})) << sequence;
  EXPECT_EQ(state_of(session_), kEstablished);
}

TEST_F(TcpState, AFinOutOfTheWindow_ChangesNothing) {
  open();
  EXPECT_FALSE(follow(kIn, kFin | kAck, {.sequence = 0x40000000, .acknowledgment = 1001}));
  EXPECT_EQ(state_of(session_), kEstablished);
}

TEST_F(TcpState, TheWindowIsScaledIfBothSidesSaySo) {
  open(7, 7);
  EXPECT_FALSE(follow(kIn, kRst, {.sequence = 5001 + (1u << 24)})) << "beyond 65535 << 7";
  EXPECT_TRUE(follow(kIn, kRst, {.sequence = 5001 + (1u << 22)})) << "within 65535 << 7";
}

TEST_F(TcpState, TheWindowIsNotScaledIfOneSideDoesNotSaySo) {
  open(7, -1);
  EXPECT_FALSE(follow(kIn, kRst, {.sequence = 5001 + (1u << 22)}));
}

TEST_F(TcpState, DataAfterARst_TakeItBack) {
  open();
  follow(kIn, kRst, {.sequence = 5001});
  EXPECT_TRUE(follow(kOut, kAck, {.sequence = 1001, .acknowledgment = 5001, .payload = 10}));
  EXPECT_EQ(state_of(session_), kEstablished);
  EXPECT_FALSE(is_off_the_fast_path());
}

TEST_F(TcpState, ASynOfTheSubscriberAfterTheEnd_OpensAgain) {
  open();
  follow(kOut, kFin | kAck, {.sequence = 1001, .acknowledgment = 5001});
  follow(kIn, kFin | kAck, {.sequence = 5001, .acknowledgment = 1002});
  EXPECT_TRUE(follow(kOut, kSyn, {.sequence = 90000}));
  EXPECT_EQ(state_of(session_), kSynSent);
}

TEST_F(TcpState, ASynFromOutsideWhereOneFinWasSeen_IsNotBelieved) {
  open();
  follow(kOut, kFin | kAck, {.sequence = 1001, .acknowledgment = 5001});
  EXPECT_FALSE(follow(kIn, kSyn, {.sequence = 90000}));
  EXPECT_EQ(state_of(session_), kFinOutbound);
}

TEST_F(TcpState, ASynOnAnOpenConnection_ChangesNothing) {
  open();
  EXPECT_FALSE(follow(kIn, kSyn, {.sequence = 0x12345678}));
  EXPECT_FALSE(follow(kOut, kSyn, {.sequence = 0x12345678}));
  EXPECT_EQ(state_of(session_), kEstablished);
}

TEST_F(TcpState, AConnectionThatIsTakenOver_IsOpen) {
  take_over_tcp(session_);
  EXPECT_TRUE(is_open(session_));
  EXPECT_EQ(state_of(session_), kEstablished);
}

}  // namespace
}  // namespace lsn::datapath::lsn44
