// ESP headers (RFC 4303 section 2): all that a NAT can read of them.
#pragma once

#include <cstdint>
#include <span>

#include "lsn/wire/big_endian.hpp"

namespace lsn::wire {

struct EspHeader {
  Be32 spi;       ///< zero is reserved (section 2.1)
  Be32 sequence;  ///< 1 in the first packet of an SA (section 3.3.3)

  [[nodiscard]] static const EspHeader* parse(std::span<const std::uint8_t> payload) {
    if (payload.size() < sizeof(EspHeader)) return nullptr;
    return reinterpret_cast<const EspHeader*>(payload.data());
  }
};
static_assert(sizeof(EspHeader) == 8 && alignof(EspHeader) == 1);

}  // namespace lsn::wire
