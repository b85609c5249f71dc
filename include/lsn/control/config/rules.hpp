// The rules that several settings of a configuration have to agree on.
//
// Each rule is a function over the model that reports each contradiction at the setting that is to
// be changed. The rules are the same for a file and for a model that a command has changed.
#pragma once

#include "lsn/control/config/model.hpp"
#include "lsn/control/config/problem.hpp"

namespace lsn::control {

void check_rules(const Model& model, Findings& findings);

}  // namespace lsn::control
