// `reload config -dryRun`: the settings that a reload would change, and how many sessions of which
// clients it would end.
#pragma once

#include <expected>
#include <memory>
#include <string>

#include "lsn/control/command/answer.hpp"

namespace lsn::control {

[[nodiscard]] std::expected<std::unique_ptr<Answer>, std::string> begin_dry_run(
    const Command& command, const CommandContext& context);

}  // namespace lsn::control
