// What leads from one configuration to another: as commands, and in words what no command changes.
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

/// `where`: what the former is called in `others`: "in the file".
[[nodiscard]] Changes changes_between(const Model& from, const Model& to, std::string_view where);

}  // namespace lsn::control
