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

}  // namespace

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
