// How evenly the addresses of pools are spread over the workers, before anything runs.
//
// The number of classes is that of the NICs' smallest table (shared/address_class.hpp), which
// nobody knows before they are opened: most have 128 entries or more. Without a NIC of its own
// software chooses, and has more.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "lsn/control/config/model.hpp"

namespace lsn::control {

struct PoolSpread {
  std::string pool;
  std::vector<std::size_t> addresses;  ///< by worker
};

/// In the order of the configuration.
[[nodiscard]] std::vector<PoolSpread> pool_spreads(const Model& model);

/// "4, 3 on 2 workers", "15 to 17 on each of 16 workers".
[[nodiscard]] std::string to_text(const PoolSpread& spread);

/// What is uneven about it, and what would be better; nothing: it is as even as it can be.
[[nodiscard]] std::optional<std::string> unevenness(const PoolSpread& spread);

}  // namespace lsn::control
