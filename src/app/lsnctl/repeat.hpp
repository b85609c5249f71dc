// `stat ... -ntimes N [-interval S]`: the table, then the numbers that have moved, with rates.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lsn/control/command/client.hpp"

namespace lsn::ctl {

struct Repetition {
  std::string command;  ///< without the options
  unsigned times = 1;
  unsigned interval = 1;  ///< seconds
  std::string error;      ///< why it is none
};

/// Nothing: an ordinary command.
[[nodiscard]] std::optional<Repetition> repetition_of(std::string_view line);

/// The exit code.
[[nodiscard]] int run_repeatedly(control::CommandClient& client, const Repetition& repetition,
                                 bool json);

}  // namespace lsn::ctl
