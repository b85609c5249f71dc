// The way in: a file, or a text in the file's syntax, to a checked model.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "lsn/control/config/model.hpp"
#include "lsn/control/config/problem.hpp"
#include "lsn/control/config/validate.hpp"

namespace lsn::control {

/// Reads and checks a file. The problems are in the file's order; a file that cannot be read or
/// parsed has a single one. `more`: see validate().
[[nodiscard]] std::expected<Model, std::vector<Problem>> load_config(const std::string& path,
                                                                     const Check& more = {});

/// The same of a text; `name` stands for the file in the problems. `@include` is refused.
[[nodiscard]] std::expected<Model, std::vector<Problem>> load_config_text(
    std::string_view text, const std::string& name = "text", const Check& more = {});

}  // namespace lsn::control
