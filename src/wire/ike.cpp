#include "lsn/wire/ike.hpp"

#include <algorithm>
#include <cstring>

namespace lsn::wire {
namespace {

/// Payload types.
constexpr std::uint8_t kNoPayload = 0;
constexpr std::uint8_t kEncrypted2 = 46;          // RFC 7296 section 3.14
constexpr std::uint8_t kEncryptedFragment2 = 53;  // RFC 7383 section 2.5
constexpr std::uint8_t kFragment1 = 132;

constexpr std::uint8_t kVendorId1 = 13;  // RFC 2408 section 3.1
constexpr std::uint8_t kNotify2 = 41;    // RFC 7296 section 3.10

/// IKEv1's words for "I can do NAT-Traversal": MD5 of the documents' names.
constexpr std::array<std::array<std::uint8_t, 16>, 6> kNatTraversalIds{{
    {0x4a, 0x13, 0x1c, 0x81, 0x07, 0x03, 0x58, 0x45, 0x5c, 0x57, 0x28, 0xf2, 0x0e, 0x95, 0x45,
     0x2f},  // RFC 3947
    {0x44, 0x85, 0x15, 0x2d, 0x18, 0xb6, 0xbb, 0xcd, 0x0b, 0xe8, 0xa8, 0x46, 0x95, 0x79, 0xdd,
     0xcc},  // draft-ietf-ipsec-nat-t-ike-00
    {0xcd, 0x60, 0x46, 0x43, 0x35, 0xdf, 0x21, 0xf8, 0x7c, 0xfd, 0xb2, 0xfc, 0x68, 0xb6, 0xa4,
     0x48},  // ...-02
    {0x90, 0xcb, 0x80, 0x91, 0x3e, 0xbb, 0x69, 0x6e, 0x08, 0x63, 0x81, 0xb5, 0xec, 0x42, 0x7b,
     0x1f},  // ...-02 with a line feed, as many send it
    {0x7d, 0x94, 0x19, 0xa6, 0x53, 0x10, 0xca, 0x6f, 0x2c, 0x17, 0x9d, 0x92, 0x15, 0x52, 0x9d,
     0x56},  // ...-03
    {0x4d, 0xf3, 0x79, 0x28, 0xe9, 0xfc, 0x4f, 0xd1, 0xb3, 0x26, 0x21, 0x70, 0xd5, 0x15, 0xc6,
     0x62},  // draft-ietf-ipsec-nat-t-ike
}};
/// NAT_DETECTION_SOURCE_IP (IANA, "IKEv2 Notify Message Status Types").
constexpr std::uint16_t kNatDetectionSource = 16388;

/// Payloads that one message is searched for: a fragment payload is the first or close behind.
constexpr int kMaxPayloads = 32;

/// The header of every payload (RFC 7296 section 3.2, the same in RFC 2408 section 3.2).
struct PayloadHeader {
  std::uint8_t next_payload;
  std::uint8_t flags;
  Be16 length;  ///< with this header
};
static_assert(sizeof(PayloadHeader) == 4);

/// RFC 7383 section 2.5, behind the payload header.
struct Fragment2 {
  Be16 number;
  Be16 total;
};
static_assert(sizeof(Fragment2) == 4);

/// Behind the payload header; the message's data follow.
struct Fragment1 {
  Be16 id;
  std::uint8_t number;
  std::uint8_t flags;
};
static_assert(sizeof(Fragment1) == 4);

IkeSpi spi_of(const std::array<std::uint8_t, 8>& bytes) {
  IkeSpi spi;
  std::memcpy(&spi, bytes.data(), sizeof spi);
  return spi;
}

/// An IKEv1 fragment: the first one's data begin with the whole message's header, which is not
/// encrypted. It must be of the same SA.
void read_fragment1(IkeMessage& message, std::span<const std::uint8_t> body) {
  if (body.size() < sizeof(Fragment1)) return;
  const auto* fragment = reinterpret_cast<const Fragment1*>(body.data());
  message.fragment = true;
  message.fragment_id = fragment->id.host();
  message.fragment_number = fragment->number;
  if (fragment->number != 1 || body.size() < sizeof(Fragment1) + sizeof(IkeHeader)) return;
  const auto* whole = reinterpret_cast<const IkeHeader*>(body.data() + sizeof(Fragment1));
  if (spi_of(whole->initiator_spi) != message.initiator || whole->version >> 4 != 1) return;
  message.exchange = whole->exchange;
  message.message_id = whole->message_id.host();
}

void read_fragment2(IkeMessage& message, std::span<const std::uint8_t> body) {
  if (body.size() < sizeof(Fragment2)) return;
  message.fragment = true;
  message.fragment_number = reinterpret_cast<const Fragment2*>(body.data())->number.host();
}

/// Walks the payloads that are in clear to the one that makes the message a fragment, if there is
/// one.
void find_fragment(IkeMessage& message, std::uint8_t type, std::span<const std::uint8_t> payloads) {
  for (int i = 0; i < kMaxPayloads && type != kNoPayload; ++i) {
    if (payloads.size() < sizeof(PayloadHeader)) return;
    // Behind these everything is encrypted; IKEv1 encrypts whole messages and says so in a flag.
    if (message.version == 2 && type == kEncrypted2) return;
    if (message.version == 1 && (message.flags & IkeHeader::kFlagEncrypted) != 0 &&
        type != kFragment1)
      return;
    const auto* header = reinterpret_cast<const PayloadHeader*>(payloads.data());
    const std::size_t size = header->length.host();
    if (size < sizeof(PayloadHeader)) return;
    const auto body = payloads.subspan(sizeof(PayloadHeader),
                                       std::min(size, payloads.size()) - sizeof(PayloadHeader));
    if (message.version == 1 && type == kFragment1) return read_fragment1(message, body);
    if (message.version == 2 && type == kEncryptedFragment2) return read_fragment2(message, body);
    if (size > payloads.size()) return;
    type = header->next_payload;
    payloads = payloads.subspan(size);
  }
}

/// Behind the payload header of an IKEv2 notification (RFC 7296 section 3.10).
struct Notify2 {
  std::uint8_t protocol;
  std::uint8_t spi_size;
  Be16 type;
};
static_assert(sizeof(Notify2) == 4);

/// Whether that payload says so.
bool is_offer(std::uint8_t major, std::uint8_t type, std::span<const std::uint8_t> body) {
  if (major == 1)
    return type == kVendorId1 && std::ranges::any_of(kNatTraversalIds, [body](const auto& id) {
             return body.size() == id.size() && std::ranges::equal(body, id);
           });
  return type == kNotify2 && body.size() >= sizeof(Notify2) &&
         reinterpret_cast<const Notify2*>(body.data())->type == Be16::of(kNatDetectionSource);
}

}  // namespace

bool offers_nat_traversal(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < sizeof(IkeHeader)) return false;
  const auto* header = reinterpret_cast<const IkeHeader*>(bytes.data());
  const std::uint8_t major = header->version >> 4;
  const bool is_clear = major == 1 ? (header->exchange == ike_exchange::kMainMode ||
                                      header->exchange == ike_exchange::kAggressive) &&
                                         (header->flags & IkeHeader::kFlagEncrypted) == 0
                                   : major == 2 && header->exchange == ike_exchange::kSaInit;
  if (!is_clear) return false;
  std::uint8_t type = header->next_payload;
  std::span<const std::uint8_t> payloads = bytes.subspan(sizeof(IkeHeader));
  for (int i = 0; i < kMaxPayloads && type != kNoPayload; ++i) {
    if (payloads.size() < sizeof(PayloadHeader)) return false;
    const auto* payload = reinterpret_cast<const PayloadHeader*>(payloads.data());
    const std::size_t size = payload->length.host();
    if (size < sizeof(PayloadHeader) || size > payloads.size()) return false;
    if (is_offer(major, type,
                 payloads.subspan(sizeof(PayloadHeader), size - sizeof(PayloadHeader))))
      return true;
    type = payload->next_payload;
    payloads = payloads.subspan(size);
  }
  return false;
}

std::optional<IkeMessage> parse_ike(std::span<const std::uint8_t> bytes, std::size_t size) {
  if (bytes.size() < sizeof(IkeHeader)) return std::nullopt;
  const auto* header = reinterpret_cast<const IkeHeader*>(bytes.data());
  IkeMessage message;
  message.initiator = spi_of(header->initiator_spi);
  message.responder = spi_of(header->responder_spi);
  message.message_id = header->message_id.host();
  message.version = header->version >> 4;
  message.exchange = header->exchange;
  message.flags = header->flags;
  const std::size_t length = header->length.host();
  if ((message.version != 1 && message.version != 2) || message.initiator == kNoIkeSpi ||
      length < sizeof(IkeHeader) || length > size)
    return std::nullopt;
  find_fragment(
      message, header->next_payload,
      bytes.subspan(sizeof(IkeHeader), std::min(length, bytes.size()) - sizeof(IkeHeader)));
  return message;
}

std::optional<std::span<const std::uint8_t>> strip_non_esp_marker(
    std::span<const std::uint8_t> bytes) {
  constexpr std::uint8_t kMarker[kNonEspMarkerSize] = {};
  if (bytes.size() < kNonEspMarkerSize ||
      std::memcmp(bytes.data(), kMarker, kNonEspMarkerSize) != 0)
    return std::nullopt;
  return bytes.subspan(kNonEspMarkerSize);
}

}  // namespace lsn::wire
