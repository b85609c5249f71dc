// Indices of the objects in LSN44's tables; state::kNone: none.
#pragma once

#include <cstdint>

#include "lsn/state/none.hpp"

namespace lsn::datapath::lsn44 {

using SessionId = std::uint32_t;
using MappingId = std::uint32_t;
using SubscriberId = std::uint32_t;
using BlockId = std::uint32_t;

}  // namespace lsn::datapath::lsn44
