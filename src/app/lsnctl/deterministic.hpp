// `lsnctl deterministic FILE ...`: deterministic NAT's answer from a configuration file, without a
// daemon: also on another machine, and with the file that was in force at the time in question.
#pragma once

#include <string>
#include <vector>

#include "lsn/control/command/grammar.hpp"

namespace lsn::ctl {

/// `words`: "deterministic", the file, and the options of `show lsn deterministicNat`. Prints the
/// answer; returns the exit code.
[[nodiscard]] int deterministic(const std::vector<std::string>& words, control::Format format);

}  // namespace lsn::ctl
