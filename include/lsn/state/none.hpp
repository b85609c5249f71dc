// Objects of a room's tables are named by 32-bit indices instead of pointers: half the size, stable
// over processes, checkable against a capacity. kNone is the index of nothing.
#pragma once

#include <cstdint>

namespace lsn::state {

inline constexpr std::uint32_t kNone = 0xFFFFFFFF;

}  // namespace lsn::state
