// The program's log: what an operator should know of lsnd itself, on the control side only.
//
// spdlog's default logger, with level and target of the configuration: stderr, a file, or syslog.
// Before set_up_log() the log goes to stderr. One event is one line; a line of trouble says what,
// what was given and what is allowed.
#pragma once

#include <expected>
#include <string>

#include "lsn/control/config/model.hpp"

namespace lsn::control {

/// The default: stderr, level info. For the time before the configuration is known.
void set_up_log_to_stderr();

/// Error: one line; the log stays as it was. Called again (after a rotation of log files) it opens
/// the file anew.
[[nodiscard]] std::expected<void, std::string> set_up_log(const LogConfig& config);

void set_log_level(LogLevel level);

}  // namespace lsn::control
