// The names of the IP protocols that are translated by port, identifier or SPI.
#pragma once

#include <cstdint>
#include <string_view>

#include "lsn/wire/ipv4.hpp"

namespace lsn::wire {

/// "TCP", "UDP", "ICMP", "ESP"; empty: another protocol.
[[nodiscard]] constexpr std::string_view protocol_name(std::uint8_t protocol) {
  switch (protocol) {
    case kProtocolTcp:
      return "TCP";
    case kProtocolUdp:
      return "UDP";
    case kProtocolIcmp:
      return "ICMP";
    case kProtocolEsp:
      return "ESP";
    default:
      return {};
  }
}

}  // namespace lsn::wire
