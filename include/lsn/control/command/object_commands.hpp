// The commands for objects: add, set, unset, bind, unbind, rm and show of each kind, apply acls.
//
// They are made from edit.hpp's kinds, so that a parameter that is added there can be typed, is in
// the help and completes. A command that changes an object goes through RunningConfig::change();
// its answer comes when the change is in force: "warning: ..." for each thing that was ignored,
// then "Done".
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "lsn/control/command/answer.hpp"
#include "lsn/control/command/grammar.hpp"
#include "lsn/control/config/edit.hpp"

namespace lsn::control {

/// All of them; they live as long as the program.
[[nodiscard]] const std::vector<CommandSpec>& object_commands();

/// The edit that a command asks for. Error: one line.
[[nodiscard]] std::expected<Edit, std::string> edit_of(const Command& command);

/// The names and values of a model, which outlives it, for completion.
[[nodiscard]] Grammar::Objects objects_of(const Model& model);

[[nodiscard]] std::unique_ptr<Answer> begin_batch(Batch batch, const CommandContext& context);

}  // namespace lsn::control
