// The output of `stat` and `show drops`: the workers' counters, added up, as tables or as JSON.
//
// Everything is read from Counters and a few facts of the dataplane in one go; a counter that a
// worker is just counting is seen before or after, never in between. JSON has every number, tables
// have those that an operator looks for.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "lsn/control/command/answer.hpp"
#include "lsn/control/command/grammar.hpp"

namespace lsn::control {

/// A table of counters and since when they count, if they have been cleared.
[[nodiscard]] std::string with_beginning(std::string table, const ClearedCounters& cleared);
/// The same as a document.
[[nodiscard]] std::string document_with_beginning(nlohmann::ordered_json json,
                                                  const ClearedCounters& cleared);

[[nodiscard]] std::string report_lsn(Format format, const CommandContext& context);
[[nodiscard]] std::string report_interfaces(Format format, const CommandContext& context);
[[nodiscard]] std::string report_workers(Format format, const CommandContext& context);
[[nodiscard]] std::string report_drops(Format format, const CommandContext& context);

}  // namespace lsn::control
