// Header views over bytes as the RFCs draw them, and over bytes that are cut short.
#include <gtest/gtest.h>

#include <span>
#include <vector>

#include "lsn/wire/esp.hpp"
#include "lsn/wire/ethernet.hpp"
#include "lsn/wire/icmp.hpp"
#include "lsn/wire/ipv4.hpp"
#include "lsn/wire/tcp.hpp"
#include "lsn/wire/udp.hpp"

namespace lsn::wire {
namespace {

using Bytes = std::vector<std::uint8_t>;

/// RFC 791 section 3.1: 192.0.2.1 > 198.51.100.1, UDP, 28 bytes, TTL 64.
Bytes ipv4() {
  return {0x45, 0x00, 0x00, 0x1C, 0x12, 0x34, 0x40, 0x00, 0x40, 0x11, 0xA4, 0x99, 192,  0,
          2,    1,    198,  51,   100,  1,    0x00, 0x35, 0x04, 0x00, 0x00, 0x08, 0x00, 0x00};
}

void fix(Bytes& bytes) {
  reinterpret_cast<Ipv4Header*>(bytes.data())->update_checksum();
}

TEST(Ipv4Header, SaysWhatStandsThere) {
  Bytes bytes = ipv4();
  fix(bytes);
  const auto ip = Ipv4Header::parse(std::span(bytes));
  ASSERT_TRUE(ip);
  EXPECT_EQ((*ip)->source, Be32::of(0xC0000201));
  EXPECT_EQ((*ip)->destination, Be32::of(0xC6336401));
  EXPECT_EQ((*ip)->ttl, 64);
  EXPECT_EQ((*ip)->protocol, 17);
  EXPECT_TRUE((*ip)->dont_fragment());
  EXPECT_FALSE((*ip)->is_fragment());
  EXPECT_EQ((*ip)->payload_size(), 8u);
  EXPECT_EQ((*ip)->payload(), bytes.data() + 20);
}

TEST(Ipv4Header, OneHopLessKeepsTheChecksumRight) {
  for (unsigned ttl = 1; ttl < 256; ++ttl) {
    Bytes bytes = ipv4();
    bytes[8] = static_cast<std::uint8_t>(ttl);
    fix(bytes);
    reinterpret_cast<Ipv4Header*>(bytes.data())->decrement_ttl();
    const auto ip = Ipv4Header::parse(std::span(bytes));
    ASSERT_TRUE(ip) << ttl;
    EXPECT_EQ((*ip)->ttl, ttl - 1);
  }
}

TEST(Ipv4Header, IsRefusedForWhatIsWrong) {
  const auto error_of = [](Bytes bytes) {
    const auto ip = Ipv4Header::parse(std::span(bytes));
    EXPECT_FALSE(ip);
    return ip ? Ipv4Error{} : ip.error();
  };
  Bytes right = ipv4();
  fix(right);
  for (std::size_t size = 0; size < 20; ++size)
    EXPECT_EQ(error_of(Bytes(right.begin(), right.begin() + static_cast<long>(size))),
              Ipv4Error::kTooShort);
  const auto changed = [&](std::size_t at, unsigned value) {
    Bytes bytes = right;
    bytes[at] = static_cast<std::uint8_t>(value);
    return bytes;
  };
  EXPECT_EQ(error_of(changed(0, 0x65)), Ipv4Error::kVersion);
  EXPECT_EQ(error_of(changed(0, 0x44)), Ipv4Error::kHeaderLength);
  EXPECT_EQ(error_of(changed(3, 19)), Ipv4Error::kTotalLength);
  EXPECT_EQ(error_of(changed(3, 29)), Ipv4Error::kTruncated);
  EXPECT_EQ(error_of(changed(11, right[11] ^ 1u)), Ipv4Error::kChecksum);
}

TEST(Ipv4Header, KnowsFragments) {
  Bytes bytes = ipv4();
  bytes[6] = 0x20;
  fix(bytes);
  auto ip = Ipv4Header::parse(std::span(bytes));
  ASSERT_TRUE(ip);
  EXPECT_TRUE((*ip)->is_fragment());
  EXPECT_EQ((*ip)->fragment_offset(), 0u);
  bytes[6] = 0x00;
  bytes[7] = 0xB9;
  fix(bytes);
  ip = Ipv4Header::parse(std::span(bytes));
  ASSERT_TRUE(ip);
  EXPECT_TRUE((*ip)->is_fragment());
  EXPECT_EQ((*ip)->fragment_offset(), 185u * 8);
}

TEST(UdpHeader, MustBeAsLongAsItSays) {
  Bytes bytes = {0x00, 0x35, 0x04, 0x00, 0x00, 0x0A, 0x00, 0x00, 1, 2};
  const UdpHeader* udp = UdpHeader::parse(bytes, false);
  ASSERT_NE(udp, nullptr);
  EXPECT_EQ(udp->source_port, Be16::of(53));
  EXPECT_EQ(udp->destination_port, Be16::of(1024));
  for (const unsigned length : {0u, 7u, 11u}) {
    bytes[5] = static_cast<std::uint8_t>(length);
    EXPECT_EQ(UdpHeader::parse(bytes, false), nullptr) << length;
  }
  // The first fragment of a longer datagram.
  bytes[5] = 11;
  EXPECT_NE(UdpHeader::parse(bytes, true), nullptr);
  bytes.resize(7);
  EXPECT_EQ(UdpHeader::parse(bytes, true), nullptr);
}

TEST(TcpHeader, SaysWhatStandsThere) {
  Bytes bytes = {0x00, 0x50, 0x04, 0x00, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x12, 0x20, 0, 0, 0, 0, 0};
  const TcpHeader* tcp = TcpHeader::parse(bytes);
  ASSERT_NE(tcp, nullptr);
  EXPECT_EQ(tcp->source_port, Be16::of(80));
  EXPECT_EQ(tcp->flags, TcpHeader::kSyn | TcpHeader::kAck);
  bytes.resize(19);
  EXPECT_EQ(TcpHeader::parse(bytes), nullptr);
}

/// A header with these options and the bytes that follow it.
Bytes tcp_with(const Bytes& options, std::size_t behind = 0) {
  Bytes bytes(20, 0);
  bytes.insert(bytes.end(), options.begin(), options.end());
  bytes[12] = static_cast<std::uint8_t>(bytes.size() / 4 << 4);
  bytes.insert(bytes.end(), behind, 0xEE);
  return bytes;
}

/// The options that are seen: kind, then data.
std::vector<Bytes> options_of(const Bytes& options) {
  Bytes bytes = tcp_with(options, 8);
  const TcpHeader* tcp = TcpHeader::parse(bytes);
  std::vector<Bytes> seen;
  for_each_tcp_option(*tcp, [&](std::uint8_t kind, std::span<const std::uint8_t> data) {
    Bytes& option = seen.emplace_back(Bytes{kind});
    option.insert(option.end(), data.begin(), data.end());
  });
  return seen;
}

TEST(TcpHeader, ShowsItsOptions) {
  EXPECT_EQ(options_of({}), std::vector<Bytes>{});
  EXPECT_EQ(options_of({2, 4, 5, 180, 1, 3, 3, 7, 4, 2, 1, 1}),
            (std::vector<Bytes>{{2, 5, 180}, {3, 7}, {4}}));
  EXPECT_EQ(options_of({2, 4, 5, 180, 0, 3, 3, 7}), (std::vector<Bytes>{{2, 5, 180}}));
}

TEST(TcpHeader, ShowsNoOptionThatDoesNotFitIntoIt) {
  for (const Bytes& options : std::vector<Bytes>{{2, 0, 5, 180},
                                                 {2, 1, 5, 180},
                                                 {2, 5, 5, 180},
                                                 {2, 255, 5, 180},
                                                 {1, 1, 1, 2},
                                                 {1, 1, 2, 4}})
    EXPECT_EQ(options_of(options), std::vector<Bytes>{});
  EXPECT_EQ(options_of({4, 2, 2, 0, 2, 4, 5, 180}), (std::vector<Bytes>{{4}}));
}

TEST(IcmpHeader, KnowsQueriesAndErrors) {
  Bytes bytes = {8, 0, 0, 0, 0x12, 0x34, 0, 1};
  const IcmpHeader* icmp = IcmpHeader::parse(bytes);
  ASSERT_NE(icmp, nullptr);
  EXPECT_EQ(icmp->identifier, Be16::of(0x1234));
  // RFC 792: echo, timestamp; unreachable, source quench, redirect, time exceeded, parameter.
  for (const std::uint8_t type : Bytes{8, 13}) EXPECT_TRUE(is_icmp_request(type)) << +type;
  for (const std::uint8_t type : Bytes{0, 14}) EXPECT_TRUE(is_icmp_reply(type)) << +type;
  for (const std::uint8_t type : Bytes{3, 11, 12}) EXPECT_TRUE(is_icmp_error(type)) << +type;
  for (const std::uint8_t type : Bytes{9, 10, 40, 255}) {
    EXPECT_FALSE(is_icmp_request(type)) << +type;
    EXPECT_FALSE(is_icmp_reply(type)) << +type;
    EXPECT_FALSE(is_icmp_error(type)) << +type;
  }
  bytes.resize(7);
  EXPECT_EQ(IcmpHeader::parse(bytes), nullptr);
}

TEST(EspHeader, SaysSpiAndSequence) {
  Bytes bytes = {0xC0, 0xFF, 0xEE, 0x01, 0, 0, 0, 7, 1, 2, 3, 4};
  const EspHeader* esp = EspHeader::parse(bytes);
  ASSERT_NE(esp, nullptr);
  EXPECT_EQ(esp->spi, Be32::of(0xC0FFEE01));
  EXPECT_EQ(esp->sequence, Be32::of(7));
  bytes.resize(7);
  EXPECT_EQ(EspHeader::parse(bytes), nullptr);
}

TEST(ArpHeader, IsForIpv4OverEthernetOnly) {
  Bytes bytes(28);
  const Bytes head = {0, 1, 8, 0, 6, 4, 0, 1};
  std::copy(head.begin(), head.end(), bytes.begin());
  ASSERT_NE(ArpHeader::parse(bytes), nullptr);
  for (std::size_t at = 0; at < 6; ++at) {
    Bytes other = bytes;
    other[at] ^= 0x11;
    EXPECT_EQ(ArpHeader::parse(other), nullptr) << at;
  }
  bytes.resize(27);
  EXPECT_EQ(ArpHeader::parse(bytes), nullptr);
}

}  // namespace
}  // namespace lsn::wire
