// Messages are written here byte by byte after RFC 2408, RFC 7296 and RFC 7383.

#include "lsn/wire/ike.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

namespace lsn::wire {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint8_t kAnyPayload = 33;

Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Bytes be16(unsigned x) {
  return {static_cast<std::uint8_t>(x >> 8), static_cast<std::uint8_t>(x)};
}
Bytes be32(std::uint32_t x) {
  return be16(x >> 16) + be16(x & 0xFFFF);
}

struct Header {
  Bytes initiator = {1, 2, 3, 4, 5, 6, 7, 8};
  Bytes responder = {9, 10, 11, 12, 13, 14, 15, 16};
  std::uint8_t next_payload = 0;
  std::uint8_t version = 0x20;
  std::uint8_t exchange = 36;
  std::uint8_t flags = 0x08;
  std::uint32_t message_id = 7;
};

Bytes message(const Header& h, const Bytes& payloads = {}) {
  return h.initiator + h.responder + Bytes{h.next_payload, h.version, h.exchange, h.flags} +
         be32(h.message_id) + be32(static_cast<std::uint32_t>(28 + payloads.size())) + payloads;
}

Bytes payload(std::uint8_t next, const Bytes& body) {
  return Bytes{next, 0} + be16(static_cast<unsigned>(4 + body.size())) + body;
}

std::optional<IkeMessage> parse(const Bytes& bytes) {
  return parse_ike(bytes, bytes.size());
}

TEST(Ike, ReadsTheHeader) {
  const auto m = parse(message({}));
  ASSERT_TRUE(m);
  EXPECT_EQ(m->initiator,
            std::bit_cast<IkeSpi>(std::array<std::uint8_t, 8>{1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(m->responder,
            std::bit_cast<IkeSpi>(std::array<std::uint8_t, 8>{9, 10, 11, 12, 13, 14, 15, 16}));
  EXPECT_EQ(m->version, 2);
  EXPECT_EQ(m->exchange, 36);
  EXPECT_EQ(m->message_id, 7u);
  EXPECT_FALSE(m->is_response());
  EXPECT_FALSE(m->fragment);
}

TEST(Ike, KnowsAnAnswerInVersion2Only) {
  Header h;
  h.flags = 0x20;
  EXPECT_TRUE(parse(message(h))->is_response());
  h.version = 0x10;
  EXPECT_FALSE(parse(message(h))->is_response());
}

TEST(Ike, IsNotWellFormedBelow28Bytes) {
  const Bytes whole = message({});
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(parse(Bytes(whole.begin(), whole.begin() + static_cast<long>(size)))) << size;
}

TEST(Ike, IsNotWellFormedInOtherMajorVersions) {
  for (unsigned major = 0; major < 16; ++major) {
    Header h;
    h.version = static_cast<std::uint8_t>(major << 4 | 5);
    EXPECT_EQ(parse(message(h)).has_value(), major == 1 || major == 2) << major;
  }
}

TEST(Ike, IsNotWellFormedWithoutAnInitiator) {
  Header h;
  h.initiator = Bytes(8, 0);
  EXPECT_FALSE(parse(message(h)));
  h.initiator[7] = 1;
  EXPECT_TRUE(parse(message(h)));
}

TEST(Ike, MayLackAResponder) {
  Header h;
  h.responder = Bytes(8, 0);
  ASSERT_TRUE(parse(message(h)));
  EXPECT_EQ(parse(message(h))->responder, kNoIkeSpi);
}

TEST(Ike, IsNotWellFormedWithALengthBeyondTheDatagram) {
  Bytes m = message({}, payload(0, {1, 2, 3, 4}));
  EXPECT_TRUE(parse(m));
  m[27] = static_cast<std::uint8_t>(m.size() + 1);
  EXPECT_FALSE(parse(m));
  EXPECT_TRUE(parse_ike(m, m.size() + 1)) << "the rest comes in another IP fragment";
}

TEST(Ike, IsNotWellFormedWithALengthBelowItsHeader) {
  Bytes m = message({});
  m[27] = 27;
  EXPECT_FALSE(parse(m));
}

TEST(Ike, MayBeShorterThanItsDatagram) {
  EXPECT_TRUE(parse(message({}) + Bytes{0, 0, 0}));
}

TEST(Ike, FindsAVersion2Fragment) {
  Header h;
  h.next_payload = 53;
  h.exchange = 35;
  const auto m = parse(message(h, payload(33, be16(3) + be16(5) + Bytes(40, 0xAA))));
  ASSERT_TRUE(m);
  EXPECT_TRUE(m->fragment);
  EXPECT_EQ(m->fragment_number, 3);
  EXPECT_EQ(m->message_id, 7u);
  EXPECT_EQ(m->exchange, 35);
}

TEST(Ike, FindsAVersion2FragmentBehindOtherPayloads) {
  Header h;
  h.next_payload = 41;
  const auto m =
      parse(message(h, payload(53, {1, 2, 3}) + payload(0, be16(1) + be16(2) + Bytes(9, 1))));
  ASSERT_TRUE(m);
  EXPECT_TRUE(m->fragment);
  EXPECT_EQ(m->fragment_number, 1);
}

TEST(Ike, DoesNotLookIntoWhatIsEncrypted) {
  Header h;
  h.next_payload = 46;  // its "next payload" names the first one inside
  EXPECT_FALSE(parse(message(h, payload(53, be16(1) + be16(2))))->fragment);
  h.version = 0x10;
  h.flags = 0x01;
  h.next_payload = 8;
  EXPECT_FALSE(parse(message(h, payload(132, Bytes(12, 0)) + payload(0, {0, 7, 1, 0})))->fragment);
}

Bytes fragment1(std::uint8_t number, const Bytes& data) {
  return payload(0, Bytes{0x12, 0x34, number, 0} + data);
}

TEST(Ike, ReadsTheWholeMessagesHeaderInTheFirstFragmentOfVersion1) {
  Header whole;
  whole.version = 0x10;
  whole.exchange = 32;
  whole.message_id = 0xCAFE0001;
  Header outer = whole;
  outer.message_id = 0;
  outer.next_payload = 132;
  const auto m = parse(message(outer, fragment1(1, message(whole, Bytes(64, 0x55)))));
  ASSERT_TRUE(m);
  EXPECT_TRUE(m->fragment);
  EXPECT_EQ(m->fragment_id, 0x1234);
  EXPECT_EQ(m->fragment_number, 1);
  EXPECT_EQ(m->message_id, 0xCAFE0001);
  EXPECT_EQ(m->exchange, 32);
  EXPECT_FALSE(m->is_nameless_fragment());
}

TEST(Ike, KnowsAVersion1FragmentThatDoesNotNameItsMessage) {
  Header outer;
  outer.version = 0x10;
  outer.exchange = 32;
  outer.next_payload = 132;
  outer.message_id = 0;
  auto m = parse(message(outer, fragment1(2, Bytes(40, 0x55))));
  ASSERT_TRUE(m);
  EXPECT_TRUE(m->is_nameless_fragment());
  EXPECT_EQ(m->fragment_number, 2);
  outer.message_id = 5;
  m = parse(message(outer, fragment1(2, Bytes(40, 0x55))));
  EXPECT_FALSE(m->is_nameless_fragment());
  EXPECT_EQ(m->message_id, 5u);
}

TEST(Ike, DoesNotTakeAnotherSasHeaderForTheWholeMessages) {
  Header whole;
  whole.version = 0x10;
  whole.exchange = 32;
  whole.message_id = 77;
  whole.initiator = Bytes(8, 0xEE);
  Header outer;
  outer.version = 0x10;
  outer.exchange = 2;
  outer.next_payload = 132;
  outer.message_id = 0;
  const auto m = parse(message(outer, fragment1(1, message(whole))));
  ASSERT_TRUE(m);
  EXPECT_EQ(m->message_id, 0u);
  EXPECT_EQ(m->exchange, 2);
}

TEST(Ike, ReadsNoFurtherThanItsBytesWhateverThePayloadsSay) {
  for (const std::uint8_t type : Bytes{53, 132, 33}) {
    for (const std::uint8_t version : Bytes{0x10, 0x20}) {
      for (unsigned length = 0; length < 40; ++length) {
        for (std::size_t size = 0; size < 24; ++size) {
          Header h;
          h.next_payload = type;
          h.version = version;
          const Bytes tail = (Bytes{type, 0} + be16(length) + Bytes(20, 1));
          EXPECT_TRUE(
              parse(message(h, Bytes(tail.begin(), tail.begin() + static_cast<long>(size)))));
        }
      }
    }
  }
}

TEST(Ike, EndsAPayloadChainThatGoesOnForEver) {
  Header h;
  h.next_payload = kAnyPayload;
  Bytes chain;
  for (int i = 0; i < 1000; ++i) chain = chain + payload(kAnyPayload, {});
  const auto m = parse(message(h, chain));
  ASSERT_TRUE(m);
  EXPECT_FALSE(m->fragment);
}

TEST(NonEspMarker, IsFourZeroBytes) {
  const Bytes ike = Bytes(4, 0) + message({});
  const auto behind = strip_non_esp_marker(ike);
  ASSERT_TRUE(behind);
  EXPECT_EQ(behind->size(), 28u);
  EXPECT_TRUE(parse_ike(*behind, behind->size()));
  EXPECT_FALSE(strip_non_esp_marker(Bytes{0, 0, 0, 1, 0, 0, 0, 1})) << "an SPI";
  EXPECT_FALSE(strip_non_esp_marker(Bytes{0xFF})) << "a NAT keepalive";
  EXPECT_FALSE(strip_non_esp_marker(Bytes{0, 0, 0}));
  EXPECT_TRUE(strip_non_esp_marker(Bytes{0, 0, 0, 0}));
}

// ── NAT-Traversal, as it is offered in clear ────────────────────────────────────────────────────

/// MD5 of "RFC 3947" (RFC 3947 section 3.1).
const Bytes kRfc3947 = {0x4a, 0x13, 0x1c, 0x81, 0x07, 0x03, 0x58, 0x45,
                        0x5c, 0x57, 0x28, 0xf2, 0x0e, 0x95, 0x45, 0x2f};

Bytes main_mode(const Bytes& payloads, std::uint8_t first, std::uint8_t flags = 0) {
  return message({.next_payload = first, .version = 0x10, .exchange = 2, .flags = flags}, payloads);
}
Bytes sa_init(const Bytes& payloads, std::uint8_t first) {
  return message({.next_payload = first, .version = 0x20, .exchange = 34}, payloads);
}
/// Protocol and SPI size zero, then the type (RFC 7296 section 3.10).
Bytes notification(std::uint8_t next, unsigned type) {
  return payload(next, Bytes{0, 0} + be16(type) + Bytes(20, 0xEE));
}

TEST(NatTraversal, IsOfferedByAVendorIdOfIkev1) {
  EXPECT_TRUE(offers_nat_traversal(main_mode(payload(0, kRfc3947), 13)));
  const Bytes sa = payload(13, Bytes(40, 1));
  EXPECT_TRUE(
      offers_nat_traversal(main_mode(sa + payload(13, Bytes(16, 7)) + payload(0, kRfc3947), 1)));
  EXPECT_FALSE(offers_nat_traversal(main_mode(sa + payload(0, Bytes(16, 7)), 1)));
  // Another kind of payload with these bytes, one that is longer, an encrypted message.
  EXPECT_FALSE(offers_nat_traversal(main_mode(payload(0, kRfc3947), 10)));
  EXPECT_FALSE(offers_nat_traversal(main_mode(payload(0, kRfc3947 + Bytes{0}), 13)));
  EXPECT_FALSE(offers_nat_traversal(main_mode(payload(0, kRfc3947), 13, 0x01)));
}

TEST(NatTraversal, IsOfferedByANatDetectionNotificationOfIkev2) {
  EXPECT_TRUE(offers_nat_traversal(sa_init(notification(0, 16388), 41)));
  const Bytes sa = payload(41, Bytes(40, 1));
  EXPECT_TRUE(
      offers_nat_traversal(sa_init(sa + notification(41, 16430) + notification(0, 16388), 33)));
  EXPECT_FALSE(offers_nat_traversal(sa_init(sa + notification(0, 16389), 33)));
  // Not in an exchange that is encrypted, nor as IKEv1's vendor ID.
  EXPECT_FALSE(offers_nat_traversal(
      message({.next_payload = 41, .version = 0x20, .exchange = 35}, notification(0, 16388))));
  EXPECT_FALSE(offers_nat_traversal(sa_init(payload(0, kRfc3947), 43)));
}

TEST(NatTraversal, IsNotOfferedByWhatIsCutOrRunsInACircle) {
  const Bytes whole = main_mode(payload(13, Bytes(16, 7)) + payload(0, kRfc3947), 13);
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(offers_nat_traversal(std::span(whole).first(size))) << size;
  Bytes none = main_mode(payload(13, {}), 13);
  none[31] = 0;  // a payload of no length
  EXPECT_FALSE(offers_nat_traversal(none));
  EXPECT_FALSE(offers_nat_traversal(main_mode({}, 13)));
}

}  // namespace
}  // namespace lsn::wire
