// What the configuration reference has and this version does not: the one list.
//
// Such a setting is read and checked like any other; where it asks for something that nobody here
// can carry out, that is an error that says so. Nothing is accepted and then ignored. When a
// feature arrives, its line goes.
#pragma once

#include <string>
#include <string_view>

#include "lsn/control/config/model.hpp"
#include "lsn/control/config/problem.hpp"

namespace lsn::control {

/// Reports every setting of the model that asks for what is not available.
void check_availability(const Model& model, Findings& findings);

/// Reports that what `label` names, with this value if there is one, is not available.
void report_unavailable(const std::string& path, std::string_view label, std::string_view value,
                        Findings& findings);

}  // namespace lsn::control
