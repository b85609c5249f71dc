// The commands of this lsnd: the table that everything else is read from.
#pragma once

#include "lsn/control/command/grammar.hpp"

namespace lsn::control {

[[nodiscard]] const Grammar& lsn_commands();

}  // namespace lsn::control
