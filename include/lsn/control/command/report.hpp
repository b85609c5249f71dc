// What `stat` and `show drops` print: the workers' counters, added up, as tables or as JSON.
//
// Everything is read from Counters and a few facts of the dataplane in one go; a counter that a
// worker is just counting is seen before or after, never in between. JSON has every number, tables
// have what a person looks for.
#pragma once

#include <string>

#include "lsn/control/command/answer.hpp"
#include "lsn/control/command/grammar.hpp"

namespace lsn::control {

[[nodiscard]] std::string report_lsn(Format format, const CommandContext& context);
[[nodiscard]] std::string report_interfaces(Format format, const CommandContext& context);
[[nodiscard]] std::string report_workers(Format format, const CommandContext& context);
[[nodiscard]] std::string report_drops(Format format, const CommandContext& context);

}  // namespace lsn::control
