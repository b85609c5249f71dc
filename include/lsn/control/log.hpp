// The program's log: messages for the operator about lsnd itself, on the control side only.
//
// spdlog's default logger, with level and target of the configuration: stderr, a file, or syslog.
// Before set_up_log() the log goes to stderr. One event is one line; a line of trouble names the
// subject, the given value and the allowed ones.
//
// The calling thread formats the line and puts it into a queue; a thread of the log's own writes
// it. So a stopped reader of stderr, a stuck disk or a stuck syslog delay no caller: if the queue
// is full (kLogLines), lines are lost, and so are those that the target does not take. Their number
// is written in front of the next line that gets through.
#pragma once

#include <chrono>
#include <cstddef>
#include <expected>
#include <string>

#include "lsn/control/config/model.hpp"

namespace lsn::control {

/// Lines that wait to be written, at most.
inline constexpr std::size_t kLogLines = 4096;

/// The default: stderr, level info. For the time before the configuration is known.
void set_up_log_to_stderr();

/// Error: one line; the log stays as it was. Called again (after a rotation of log files) it opens
/// the file again.
[[nodiscard]] std::expected<void, std::string> set_up_log(const LogConfig& config);

void set_log_level(LogLevel level);

/// The log's thread runs where the calling one may run, from now on.
void keep_log_on_own_cpus();

/// Before the process ends: whether all lines have been written within the time.
bool finish_log(std::chrono::milliseconds patience = std::chrono::milliseconds{500});

}  // namespace lsn::control
