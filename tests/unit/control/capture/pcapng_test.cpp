#include "lsn/control/capture/pcapng.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <string>

namespace lsn::control::pcapng {
namespace {

std::string bytes(std::initializer_list<unsigned> values) {
  std::string text;
  for (const unsigned value : values) text += static_cast<char>(value);
  return text;
}

TEST(Pcapng, ASectionHasItsByteOrderVersionCommentAndApplication) {
  std::string out;
  begin_section(out, "lsnd 1", "all");
  EXPECT_EQ(out,
            bytes({0x0A, 0x0D, 0x0D, 0x0A,                          // type
                   0x34, 0,    0,    0,                             // length
                   0x4D, 0x3C, 0x2B, 0x1A,                          // byte order
                   1,    0,    0,    0,                             // version 1.0
                   0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,  // length not given
                   1,    0,    3,    0,    'a',  'l',  'l',  0,     // opt_comment
                   4,    0,    6,    0,    'l',  's',  'n',  'd',  ' ', '1', 0, 0,  // shb_userappl
                   0,    0,    0,    0,                                             // opt_endofopt
                   0x34, 0,    0,    0}));
}

TEST(Pcapng, AnInterfaceIsEthernetWithNanoseconds) {
  std::string out;
  describe_interface(out, "in", "role", 0x2600);
  EXPECT_EQ(out, bytes({1,    0,    0, 0,                       // type
                        0x30, 0,    0, 0,                       // length
                        1,    0,    0, 0,                       // LINKTYPE_ETHERNET
                        0,    0x26, 0, 0,                       // snap length
                        2,    0,    2, 0, 'i',  'n', 0,   0,    // if_name
                        3,    0,    4, 0, 'r',  'o', 'l', 'e',  // if_description
                        9,    0,    1, 0, 9,    0,   0,   0,    // if_tsresol
                        0,    0,    0, 0, 0x30, 0,   0,   0}));
}

TEST(Pcapng, APacketHasTimeBytesCommentAndDirection) {
  const std::uint8_t frame[] = {0xA1, 0xA2, 0xA3, 0xA4, 0xA5};
  std::string out;
  add_packet(out, {.interface = 1,
                   .time = 0x0000000200000003,
                   .length = 9,
                   .bytes = frame,
                   .way = Way::kInbound,
                   .lost_before = 0,
                   .comment = "forwarded"});
  EXPECT_EQ(out, bytes({6,    0,    0,    0,                        // type
                        0x44, 0,    0,    0,                        // length
                        1,    0,    0,    0,                        // interface
                        2,    0,    0,    0,    3,    0,   0,   0,  // time
                        5,    0,    0,    0,    9,    0,   0,   0,  // captured, length
                        0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0,   0,   0,  // the frame
                        1,    0,    9,    0,    'f',  'o', 'r', 'w', 'a', 'r', 'd', 'e',
                        'd',  0,    0,    0,    2,    0,   4,   0,   1,   0,   0,   0,  // epb_flags
                        0,    0,    0,    0,    0x44, 0,   0,   0}));
}

TEST(Pcapng, WhatWasLostBeforeAPacketIsItsDropCount) {
  std::string out;
  add_packet(out, {.interface = 0,
                   .time = 0,
                   .length = 0,
                   .bytes = {},
                   .way = Way::kOutbound,
                   .lost_before = 0x0102,
                   .comment = "x"});
  EXPECT_EQ(out, bytes({6, 0, 0, 0, 0x40, 0, 0, 0,              //
                        0, 0, 0, 0, 0,    0, 0, 0, 0, 0, 0, 0,  //
                        0, 0, 0, 0, 0,    0, 0, 0,              //
                        1, 0, 1, 0, 'x',  0, 0, 0,              //
                        2, 0, 4, 0, 2,    0, 0, 0,              //
                        4, 0, 8, 0, 2,    1, 0, 0, 0, 0, 0, 0,  // epb_dropcount
                        0, 0, 0, 0, 0x40, 0, 0, 0}));
}

TEST(Pcapng, BlocksFollowOneAnotherInWholeUnits) {
  std::string out;
  for (std::size_t size = 0; size < 9; ++size) {
    const std::size_t before = out.size();
    begin_section(out, std::string(size, 'a'), std::string(9 - size, 'b'));
    EXPECT_EQ((out.size() - before) % 4, 0U);
  }
}

}  // namespace
}  // namespace lsn::control::pcapng
