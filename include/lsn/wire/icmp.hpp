// ICMP messages (RFC 792): queries, which have an identifier, and errors, which quote a packet.
#pragma once

#include <cstdint>
#include <span>

#include "lsn/wire/big_endian.hpp"

namespace lsn::wire {

inline constexpr std::uint8_t kIcmpEchoReply = 0;
inline constexpr std::uint8_t kIcmpUnreachable = 3;
inline constexpr std::uint8_t kIcmpSourceQuench = 4;
inline constexpr std::uint8_t kIcmpRedirect = 5;
inline constexpr std::uint8_t kIcmpEcho = 8;
inline constexpr std::uint8_t kIcmpTimeExceeded = 11;
inline constexpr std::uint8_t kIcmpParameterProblem = 12;
inline constexpr std::uint8_t kIcmpTimestamp = 13;
inline constexpr std::uint8_t kIcmpTimestampReply = 14;

/// Codes of kIcmpUnreachable.
inline constexpr std::uint8_t kIcmpHostUnreachable = 1;
inline constexpr std::uint8_t kIcmpProtocolUnreachable = 2;
inline constexpr std::uint8_t kIcmpPortUnreachable = 3;
inline constexpr std::uint8_t kIcmpFragmentationNeeded = 4;

struct IcmpHeader {
  std::uint8_t type;
  std::uint8_t code;
  Be16 checksum;
  Be16 identifier;  ///< of a query; unused in an error
  Be16 sequence;    ///< of a query; next-hop MTU of kIcmpFragmentationNeeded (RFC 1191 section 4)

  [[nodiscard]] static IcmpHeader* parse(std::span<std::uint8_t> payload) {
    if (payload.size() < sizeof(IcmpHeader)) return nullptr;
    return reinterpret_cast<IcmpHeader*>(payload.data());
  }
};
static_assert(sizeof(IcmpHeader) == 8 && alignof(IcmpHeader) == 1);

/// RFC 5508 section 2: a request that has an identifier.
[[nodiscard]] constexpr bool is_icmp_request(std::uint8_t type) {
  return type == kIcmpEcho || type == kIcmpTimestamp;
}

[[nodiscard]] constexpr bool is_icmp_reply(std::uint8_t type) {
  return type == kIcmpEchoReply || type == kIcmpTimestampReply;
}

/// The errors that concern a flow. Source quench is deprecated (RFC 6633) and redirects end at the
/// router that they are for; neither is translated.
[[nodiscard]] constexpr bool is_icmp_error(std::uint8_t type) {
  return type == kIcmpUnreachable || type == kIcmpTimeExceeded || type == kIcmpParameterProblem;
}

}  // namespace lsn::wire
