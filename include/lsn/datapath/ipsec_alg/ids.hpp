// Indices of the objects in the ALG's tables (state::kNone: none), and the type of an SPI.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lsn/datapath/lsn44/ids.hpp"
#include "lsn/datapath/verdict.hpp"
#include "lsn/shared/counters.hpp"

namespace lsn::datapath::ipsec_alg {

using lsn44::SessionId;
using lsn44::SubscriberId;
using PeerId = std::uint32_t;
using GateId = std::uint32_t;
using IkeId = std::uint32_t;
using ExchangeId = std::uint32_t;
using EspId = std::uint32_t;
using WaiterId = std::uint32_t;
using FlightId = std::uint32_t;
using HeldId = std::uint32_t;

/// An SPI of ESP as its bytes lie in the packet; 0 (reserved, RFC 4303 section 2.1): not known.
using Spi = std::uint32_t;
inline constexpr Spi kNoSpi = 0;

[[nodiscard]] constexpr Direction opposite(Direction direction) {
  return direction == Direction::kOutbound ? Direction::kInbound : Direction::kOutbound;
}

}  // namespace lsn::datapath::ipsec_alg
