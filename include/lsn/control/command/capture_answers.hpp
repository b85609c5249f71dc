// `start capture FILE`, `stop capture`, `show capture` (capture/packet_capture.hpp).
#pragma once

#include <expected>
#include <memory>
#include <span>
#include <string>

#include "lsn/control/command/answer.hpp"

namespace lsn::control {

[[nodiscard]] std::span<const OptionSpec> capture_options();
[[nodiscard]] std::span<const PositionalSpec> capture_parameters();
/// Answers when all workers write what fits, or when the file cannot be made.
[[nodiscard]] std::expected<std::unique_ptr<Answer>, std::string> begin_start_capture(
    const Command& command, const CommandContext& context);
/// Answers when the file is complete.
[[nodiscard]] std::expected<std::unique_ptr<Answer>, std::string> begin_stop_capture(
    const Command& command, const CommandContext& context);
[[nodiscard]] std::string report_capture(Format format, const CommandContext& context);

}  // namespace lsn::control
