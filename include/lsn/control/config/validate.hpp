// From the file's content to a model: every problem at once.
//
// First each setting by itself (is it known, of the right kind, within its range), then the rules
// that several of them have to agree on (rules.hpp). A model comes out only if there was no problem
// at all.
#pragma once

#include <expected>
#include <functional>
#include <vector>

#include "lsn/control/config/model.hpp"
#include "lsn/control/config/problem.hpp"
#include "lsn/control/config/raw.hpp"

namespace lsn::control {

/// `more` is asked about a model in which nothing else was found.
using Check = std::function<void(const Model& model, Findings& findings)>;
[[nodiscard]] std::expected<Model, std::vector<Problem>> validate(const RawConfig& raw,
                                                                  const Check& more = {});

/// The same for a model that did not come from a file, after a command changed it: the problems
/// have no lines.
[[nodiscard]] std::vector<Problem> check_model(const Model& model);

}  // namespace lsn::control
