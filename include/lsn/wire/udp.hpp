// UDP headers (RFC 768).
#pragma once

#include <cstdint>
#include <span>

#include "lsn/wire/big_endian.hpp"

namespace lsn::wire {

struct UdpHeader {
  Be16 source_port;
  Be16 destination_port;
  Be16 length;
  Be16 checksum;  ///< zero: none

  /// The header that begins the payload of a whole datagram or of its first fragment (of which
  /// the length field speaks of the whole: `fragment`). nullptr: too short, or a length below 8 or
  /// beyond the datagram.
  [[nodiscard]] static UdpHeader* parse(std::span<std::uint8_t> payload, bool fragment) {
    if (payload.size() < sizeof(UdpHeader)) return nullptr;
    auto* udp = reinterpret_cast<UdpHeader*>(payload.data());
    const std::size_t length = udp->length.host();
    if (length < sizeof(UdpHeader) || (!fragment && length > payload.size())) return nullptr;
    return udp;
  }
};
static_assert(sizeof(UdpHeader) == 8 && alignof(UdpHeader) == 1);

}  // namespace lsn::wire
