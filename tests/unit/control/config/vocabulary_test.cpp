#include "lsn/control/config/vocabulary.hpp"

#include <gtest/gtest.h>

namespace lsn::control {
namespace {

using shared::Dependence;
using shared::Protocol;
using wire::Ipv4Address;

TEST(Vocabulary, EnumerationsAreReadInAnyCaseAndWrittenUpperCase) {
  EXPECT_EQ(parse_word<Protocol>("udp"), Protocol::kUdp);
  EXPECT_EQ(parse_word<Protocol>("Icmp"), Protocol::kIcmp);
  EXPECT_EQ(parse_word<Dependence>("Endpoint-Independent"), Dependence::kEndpointIndependent);
  EXPECT_EQ(parse_word<Protocol>("SCTP"), std::nullopt);
  EXPECT_EQ(parse_word<Protocol>("TC"), std::nullopt);
  EXPECT_EQ(parse_word<Protocol>(""), std::nullopt);
  EXPECT_EQ(to_word(Dependence::kAddressPort), "ADDRESS-PORT-DEPENDENT");
  EXPECT_EQ(to_word(Switch::kEnabled), "ENABLED");
  EXPECT_EQ(all_words<Protocol>(), "TCP, UDP or ICMP");
}

TEST(Vocabulary, ANearMissIsRecognised) {
  constexpr std::array<std::string_view, 4> kWords{"role", "device", "maxSessions", "mtu"};
  EXPECT_EQ(nearest_word("rolle", kWords), "role");
  EXPECT_EQ(nearest_word("maxsessions", kWords), "maxSessions");
  EXPECT_EQ(nearest_word("devise", kWords), "device");
  EXPECT_EQ(nearest_word("mtuu", kWords), "mtu");
  EXPECT_EQ(nearest_word("address", kWords), std::nullopt);
  EXPECT_EQ(nearest_word("", kWords), std::nullopt);
}

TEST(Vocabulary, NamesHaveALengthABeginningAndCharacters) {
  EXPECT_EQ(check_name("a", 127), std::nullopt);
  EXPECT_EQ(check_name("_x", 127), std::nullopt);
  EXPECT_EQ(check_name("9 of @all=#:.-_", 127), std::nullopt);
  EXPECT_EQ(check_name(std::string(127, 'n'), 127), std::nullopt);
  EXPECT_EQ(check_name(std::string(128, 'n'), 127), "1-127 characters");
  EXPECT_EQ(check_name(std::string(33, 'n'), 32), "1-32 characters");
  EXPECT_EQ(check_name("", 127), "1-127 characters");
  for (const char* bad : {"-a", " a", ".a", "#a"})
    EXPECT_EQ(check_name(bad, 127), "a letter, a digit or _ at the beginning") << bad;
  for (const char* bad : {"a\"b", "a\\b", "a\nb", "a\xc3\xa4", "a/b"})
    EXPECT_NE(check_name(bad, 127), std::nullopt) << bad;
}

TEST(Vocabulary, AServerListensOnAnAddressAndAPortOrNowhere) {
  for (const char* good : {"", "127.0.0.1:9469", "0.0.0.0:1", "192.0.2.1:65535"})
    EXPECT_EQ(ListenSyntax::parse(good), good);
  for (const char* bad : {":9469", "9469", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0",
                          "127.0.0.1:65536", "127.0.0.1:9469 ", "localhost:9469", "[::1]:9469",
                          "0.0.0.1:9469", "224.0.0.1:9469", "255.255.255.255:1", "1.2.3.4:+5"})
    EXPECT_FALSE(ListenSyntax::parse(bad)) << bad;
  EXPECT_EQ(parse_endpoint("192.0.2.1:80")->address, Ipv4Address{0xC0000201});
  EXPECT_EQ(parse_endpoint("192.0.2.1:80")->port, 80);
}

TEST(Vocabulary, AnInterfaceAddressIsAHost) {
  const auto parsed = InterfaceAddressSyntax::parse("192.0.2.1/24");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->address, Ipv4Address{0xC0000201});
  EXPECT_EQ(parsed->length, 24U);
  for (const char* good : {"192.0.2.0/31", "192.0.2.1/31", "192.0.2.0/32", "10.0.0.1/1"})
    EXPECT_TRUE(InterfaceAddressSyntax::parse(good)) << good;
  for (const char* bad : {"192.0.2.0/24", "192.0.2.255/24", "192.0.2.1", "192.0.2.1/33",
                          "192.0.2.1/0", "224.0.0.1/24", "127.0.0.1/8", "0.0.0.1/8",
                          "255.255.255.255/32", "192.0.2.1/", "192.0.2.1/24 ", "", "x"})
    EXPECT_FALSE(InterfaceAddressSyntax::parse(bad)) << bad;
}

TEST(Vocabulary, APrefixHasNothingBehindItsLength) {
  EXPECT_TRUE(PrefixSyntax::parse("0.0.0.0/0"));
  EXPECT_TRUE(PrefixSyntax::parse("192.0.2.128/25"));
  EXPECT_FALSE(PrefixSyntax::parse("192.0.2.129/25"));
  EXPECT_FALSE(PrefixSyntax::parse("192.0.2.1"));
  EXPECT_EQ(NetworkSyntax::parse("192.0.2.1")->length, 32U);
  EXPECT_FALSE(NetworkSyntax::parse("192.0.2.1/24"));
}

TEST(Vocabulary, PoolAddressesAreOneARangeOrAPrefix) {
  const auto range = AddressRangeSyntax::parse("203.0.113.3-203.0.113.9");
  ASSERT_TRUE(range);
  EXPECT_EQ(range->size(), 7U);
  EXPECT_EQ(AddressRangeSyntax::format(*range), "203.0.113.3-203.0.113.9");
  EXPECT_EQ(AddressRangeSyntax::parse("203.0.113.128/28")->size(), 16U);
  EXPECT_EQ(AddressRangeSyntax::format(*AddressRangeSyntax::parse("203.0.113.5")), "203.0.113.5");
  EXPECT_EQ(AddressRangeSyntax::parse("203.0.113.5-203.0.113.5")->size(), 1U);
  for (const char* bad :
       {"203.0.113.9-203.0.113.3", "203.0.113.300", "203.0.113.1-", "-1.2.3.4", "203.0.113.130/28",
        "203.0.113.1 - 203.0.113.2", "224.0.0.1", "223.255.255.255-224.0.0.0",
        "126.0.0.0-128.0.0.0", "0.0.0.0/0", "1.1.1.1-1.1.1.2-1.1.1.3", "203.0.113.1-9"})
    EXPECT_FALSE(AddressRangeSyntax::parse(bad)) << bad;
}

TEST(Vocabulary, PortsAreOneOrARange) {
  EXPECT_EQ(PortRangeSyntax::parse("500"), (PortRange{500, 500}));
  EXPECT_EQ(PortRangeSyntax::parse("0-65535"), (PortRange{0, 65535}));
  EXPECT_EQ(PortRangeSyntax::parse("7-7"), (PortRange{7, 7}));
  EXPECT_EQ(PortRangeSyntax::format({1, 499}), "1-499");
  EXPECT_EQ(PortRangeSyntax::format({500, 500}), "500");
  for (const char* bad : {"", "65536", "9-8", "-1", "1-", "a", "1-2-3", " 1", "0x10", "1,2"})
    EXPECT_FALSE(PortRangeSyntax::parse(bad)) << bad;
  EXPECT_TRUE((PortRange{1, 5}).overlaps({5, 9}));
  EXPECT_FALSE((PortRange{1, 5}).overlaps({6, 9}));
  EXPECT_EQ((PortRange{0, 65535}).width(), 65536U);
}

TEST(Vocabulary, ADeviceIsAPciAddressOrVirtual) {
  EXPECT_EQ(DeviceSyntax::parse("0000:03:00.0"), "0000:03:00.0");
  EXPECT_EQ(DeviceSyntax::parse("3b:00.1"), "0000:3b:00.1");
  EXPECT_EQ(DeviceSyntax::parse("0000:AF:00.0,arg=1"), "0000:af:00.0,arg=1");
  EXPECT_EQ(DeviceSyntax::parse("net_tap0,iface=lsn"), "net_tap0,iface=lsn");
  for (const char* bad :
       {"", "eth0", "net_", "0000:03:00", "0000:03:00.0.1", "net_tap0 x", "zz:00.0", "03:00-0"})
    EXPECT_FALSE(DeviceSyntax::parse(bad)) << bad;
}

TEST(Vocabulary, AMacAddressIsUnicast) {
  EXPECT_TRUE(MacSyntax::parse("02:00:00:00:00:01"));
  for (const char* bad : {"01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "02:00"})
    EXPECT_FALSE(MacSyntax::parse(bad)) << bad;
}

TEST(Vocabulary, OptionsThatLsndAddsItselfAreRefused) {
  for (const char* good : {"--in-memory", "--no-pci", "--no-huge", "-m", "64", "--file-prefix=x",
                           "--log-level=8", "-n", "--iova-mode=va", "--no-telemetry", "-b"})
    EXPECT_TRUE(EalOptionSyntax::parse(good)) << good;
  for (const char* bad :
       {"-l", "-l1,2", "--lcores", "--lcores=1", "--lco=1", "-c", "-c3", "--main-lcore=1", "-a",
        "-a0000:03:00.0", "--allow", "--allow=x", "--vdev", "--vdev=net_tap0", "-h", "--help", ""})
    EXPECT_FALSE(EalOptionSyntax::parse(bad)) << bad;
}

TEST(Vocabulary, TextIsPrintableUtf8) {
  for (const char* good : {"", "a b", "gr\xc3\xbc\xc3\x9f", "\xe2\x82\xac", "\xf0\x9f\x98\x80"})
    EXPECT_TRUE(TextSyntax::parse(good)) << good;
  for (const char* bad : {"a\nb", "\x1b[0m", "\x7f", "\xc3", "\xff", "\xc0\x80", "\xc2\x85",
                          "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xe2\x82", "\x80"})
    EXPECT_FALSE(TextSyntax::parse(bad)) << printable(bad);
  EXPECT_EQ(printable("a\nb\xff\xc3\xbc"), "a\\x0ab\\xff\xc3\xbc");
  EXPECT_EQ(printable("abcdef", 3), "abc...");
  EXPECT_EQ(printable("abc", 3), "abc");
}

TEST(Vocabulary, PathsAreAbsolute) {
  EXPECT_TRUE(PathSyntax::parse("/var/lib/lsnd/state"));
  EXPECT_TRUE(PathSyntax::parse(""));
  EXPECT_FALSE(PathSyntax::parse("state"));
  EXPECT_FALSE(PathSyntax::parse("/a\nb"));
  EXPECT_TRUE(SocketPathSyntax::parse("/" + std::string(106, 's')));
  EXPECT_FALSE(SocketPathSyntax::parse("/" + std::string(107, 's')));
  EXPECT_FALSE(SocketPathSyntax::parse(""));
  for (const char* good : {"stderr", "syslog", "/var/log/lsnd"})
    EXPECT_TRUE(LogTargetSyntax::parse(good)) << good;
  for (const char* bad : {"", "stdout", "/", "log"}) EXPECT_FALSE(LogTargetSyntax::parse(bad));
}

}  // namespace
}  // namespace lsn::control
