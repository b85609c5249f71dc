#include "lsn/datapath/l3/identification.hpp"

#include <set>

#include "unit/datapath/bench.hpp"

namespace lsn::datapath::bench {
namespace {

class IdentificationTest : public Workbench {
 protected:
  Identifications& ids() { return shard->identifications; }

  /// A fragment as a host wrote it, read by the product.
  struct Fragment {
    Bytes bytes;
    explicit Fragment(Ip header) {
      header.more_fragments = true;
      bytes = header.with(counting(64));
    }
    wire::Ipv4Header& ip() { return *reinterpret_cast<wire::Ipv4Header*>(bytes.data()); }
  };
};

TEST_F(IdentificationTest, NoneComesAgainForARemoteAddressAndProtocolBefore65535Others) {
  std::set<unsigned> seen;
  for (unsigned i = 0; i < 65535; ++i) seen.insert(ids().next(ip("8.8.8.8"), 17).host());
  EXPECT_EQ(seen.size(), 65535u);
  EXPECT_FALSE(seen.contains(0));
}

TEST_F(IdentificationTest, OthersInBetweenDoNotMakeOneComeAgain) {
  std::set<unsigned> seen;
  for (unsigned i = 0; i < 20000; ++i) {
    EXPECT_TRUE(seen.insert(ids().next(ip("8.8.8.8"), 17).host()).second);
    (void)ids().next(wire::Be32::of(0x0A000000 + i), 17);
    (void)ids().next(ip("8.8.8.8"), 50);
  }
}

TEST_F(IdentificationTest, ReplacingKeepsTheHeadersChecksumRightAndIsRemembered) {
  Fragment fragment({.source = "198.51.100.8", .destination = "8.8.8.8", .id = 0xFFFF});
  ids().replace(fragment.ip(), wire::Be16::of(0x0001));
  EXPECT_EQ(internet_checksum(part(fragment.bytes, 0, 20)), 0);
  EXPECT_EQ(at16(fragment.bytes, 4), 1u);
  EXPECT_EQ(ids().original_of(fragment.ip()), wire::Be16::of(0xFFFF));
}

TEST_F(IdentificationTest, WhatWasNotReplacedHasNoOtherOne) {
  Fragment fragment({.source = "198.51.100.8", .destination = "8.8.8.8", .id = 7});
  EXPECT_EQ(ids().original_of(fragment.ip()), std::nullopt);
  ids().replace(fragment.ip(), wire::Be16::of(9));
  for (const Ip& other :
       {Ip{.source = "198.51.100.9", .destination = "8.8.8.8", .id = 9},
        Ip{.source = "198.51.100.8", .destination = "8.8.8.9", .id = 9},
        Ip{.source = "198.51.100.8", .destination = "8.8.8.8", .protocol = 50, .id = 9},
        Ip{.source = "198.51.100.8", .destination = "8.8.8.8", .id = 8}})
    EXPECT_EQ(ids().original_of(Fragment(other).ip()), std::nullopt);
  // A whole datagram that happens to have it is another one.
  const Bytes whole =
      Ip{.source = "198.51.100.8", .destination = "8.8.8.8", .id = 9}.with(counting(64));
  EXPECT_EQ(ids().original_of(*reinterpret_cast<const wire::Ipv4Header*>(whole.data())),
            std::nullopt);
}

}  // namespace
}  // namespace lsn::datapath::bench
