// A model as the file that gives it: `show running config` prints it, `save config` writes it.
//
// Settings at their defaults are left out, in the order of the reference otherwise; so the same
// model always gives the same text, and reading that text gives the same model.
#pragma once

#include <string>

#include "lsn/control/config/model.hpp"

namespace lsn::control {

[[nodiscard]] std::string render_config(const Model& model);

}  // namespace lsn::control
