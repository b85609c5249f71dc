// The output of `stat records` - what the log thread took, by kind, and what became of it, by sink
// - and of `show alert`.
#pragma once

#include <string>

#include "lsn/control/command/answer.hpp"
#include "lsn/control/command/grammar.hpp"

namespace lsn::control {

[[nodiscard]] std::string report_records(Format format, const CommandContext& context);
[[nodiscard]] std::string report_alerts(Format format, const CommandContext& context);

}  // namespace lsn::control
