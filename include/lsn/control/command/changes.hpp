// The difference between two configurations: as commands, and in words if no command makes the
// change.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lsn/control/config/model.hpp"

namespace lsn::control {

struct Changes {
  std::vector<std::string> commands;
  std::vector<std::string> others;  ///< "dataplane.inboundRefresh is true, in the file false"
};

/// `where`: the former's name in `others`: "in the file".
[[nodiscard]] Changes changes_between(const Model& from, const Model& to, std::string_view where);

}  // namespace lsn::control
