// IKE messages (RFC 2408 section 3.1, RFC 7296 section 3.1): all that a NAT can read of them.
//
// The header is in clear in both versions and is the same 28 bytes: the two ends of the SA (the
// initiator's and the responder's SPI, in IKEv1 called cookies), the exchange, the message. The
// bytes behind it are encrypted, but for two things that matter here: the payload that says "this
// is fragment 3 of the message" (RFC 7383 payload 53; payload 132 of IKEv1 by common practice),
// and, of the first fragment of an IKEv1 message, the header of the whole message in its data.
//
// An IKE datagram's way: on port 4500 strip_non_esp_marker() says whether it is IKE at all (RFC
// 3948 section 2.2); parse_ike() is the one gate, no later function looks at the bytes again.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "lsn/wire/big_endian.hpp"

namespace lsn::wire {

inline constexpr std::uint16_t kIkePort = 500;
inline constexpr std::uint16_t kNatTraversalPort = 4500;

/// An SPI of an IKE SA, or a cookie: eight bytes that are compared and hashed, never ordered.
using IkeSpi = std::uint64_t;
inline constexpr IkeSpi kNoIkeSpi = 0;

/// Exchange types (IANA, "ISAKMP" and "IKEv2 Exchange Types").
namespace ike_exchange {
inline constexpr std::uint8_t kMainMode = 2;         // IKEv1, RFC 2409 section 5
inline constexpr std::uint8_t kAggressive = 4;       // IKEv1
inline constexpr std::uint8_t kInformational1 = 5;   // IKEv1, RFC 2409 section 5.7
inline constexpr std::uint8_t kTransaction = 6;      // IKEv1, Mode Config and XAUTH
inline constexpr std::uint8_t kQuickMode = 32;       // IKEv1, RFC 2409 section 5.5
inline constexpr std::uint8_t kNewGroup = 33;        // IKEv1, RFC 2409 section 5.6
inline constexpr std::uint8_t kSaInit = 34;          // IKEv2, RFC 7296 section 1.2
inline constexpr std::uint8_t kAuth = 35;            // IKEv2, RFC 7296 section 1.2
inline constexpr std::uint8_t kCreateChildSa = 36;   // IKEv2, RFC 7296 section 1.3
inline constexpr std::uint8_t kInformational2 = 37;  // IKEv2, RFC 7296 section 1.4
inline constexpr std::uint8_t kSessionResume = 38;   // IKEv2, RFC 5723 section 4.3.2
inline constexpr std::uint8_t kIntermediate = 43;    // IKEv2, RFC 9242 section 3.2
inline constexpr std::uint8_t kFollowupKe = 44;      // IKEv2, RFC 9370 section 2.2.4
}  // namespace ike_exchange

struct IkeHeader {
  std::array<std::uint8_t, 8> initiator_spi;
  std::array<std::uint8_t, 8> responder_spi;
  std::uint8_t next_payload;
  std::uint8_t version;  ///< major in the upper half
  std::uint8_t exchange;
  std::uint8_t flags;
  Be32 message_id;
  Be32 length;  ///< of header and payloads

  static constexpr std::uint8_t kFlagEncrypted = 0x01;  ///< IKEv1
  static constexpr std::uint8_t kFlagInitiator = 0x08;  ///< IKEv2, RFC 7296 section 3.1
  static constexpr std::uint8_t kFlagResponse = 0x20;   ///< IKEv2, RFC 7296 section 3.1
};
static_assert(sizeof(IkeHeader) == 28 && alignof(IkeHeader) == 1);

/// A message as its header describes it. Of an IKEv1 fragment, `exchange` and `message_id` are
/// those of the whole message as far as they can be known.
struct IkeMessage {
  IkeSpi initiator = kNoIkeSpi;
  IkeSpi responder = kNoIkeSpi;
  std::uint32_t message_id = 0;
  std::uint8_t version = 0;  ///< major: 1 or 2
  std::uint8_t exchange = 0;
  std::uint8_t flags = 0;
  bool fragment = false;              ///< it is one fragment of a message
  std::uint16_t fragment_id = 0;      ///< IKEv1: tells the fragmented messages of a peer apart
  std::uint16_t fragment_number = 0;  ///< from 1

  /// IKEv2: an answer. IKEv1 has no such flag.
  [[nodiscard]] bool is_response() const {
    return version == 2 && (flags & IkeHeader::kFlagResponse) != 0;
  }
  /// IKEv2: its sender began the IKE SA.
  [[nodiscard]] bool is_of_initiator() const {
    return version == 2 && (flags & IkeHeader::kFlagInitiator) != 0;
  }
  /// An IKEv1 fragment whose header does not name its message: many peers write message ID 0 into
  /// all fragments, and only the first one carries the whole message's header in its data.
  [[nodiscard]] bool is_nameless_fragment() const {
    return version == 1 && fragment && message_id == 0 && fragment_number != 1;
  }
};

/// Reads the message that begins here. `bytes` are those at hand, `size` those of the UDP payload
/// (more, if only the first fragment of the datagram is at hand). nullopt unless well-formed: 28
/// bytes, major version 1 or 2, initiator SPI not zero, length field within the datagram.
[[nodiscard]] std::optional<IkeMessage> parse_ike(std::span<const std::uint8_t> bytes,
                                                  std::size_t size);

/// Whether a message of phase 1 that is in clear says that its sender can do NAT-Traversal: a
/// vendor ID payload of RFC 3947 or one of its drafts (IKEv1), a NAT_DETECTION_SOURCE_IP
/// notification (IKEv2, RFC 7296 section 2.23). `bytes` as of parse_ike(); false of a message that
/// is encrypted, is none, or is cut before that payload.
[[nodiscard]] bool offers_nat_traversal(std::span<const std::uint8_t> bytes);

/// On port 4500: the bytes behind the non-ESP marker (four zero bytes, RFC 3948 section 2.2), or
/// nothing: ESP in UDP, a NAT keepalive.
[[nodiscard]] std::optional<std::span<const std::uint8_t>> strip_non_esp_marker(
    std::span<const std::uint8_t> bytes);

/// Bytes of that marker.
inline constexpr std::size_t kNonEspMarkerSize = 4;

}  // namespace lsn::wire
