// The one list of settings that the configuration reference has and this version does not.
//
// Such a setting is read and checked like any other; if it asks for something that this version
// cannot carry out, that is an error that says so. No setting is accepted and then ignored. When a
// feature arrives, its line is removed.
#pragma once

#include <string>
#include <string_view>

#include "lsn/control/config/model.hpp"
#include "lsn/control/config/problem.hpp"

namespace lsn::control {

/// Reports every setting of the model that asks for something not available.
void check_availability(const Model& model, Findings& findings);

/// Reports that the setting `label`, with this value if there is one, is not available.
void report_unavailable(const std::string& path, std::string_view label, std::string_view value,
                        Findings& findings);

}  // namespace lsn::control
