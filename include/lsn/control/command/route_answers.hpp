// `show route`, `stat route`: connected networks, configured routes, and those from the kernel.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>

#include "lsn/control/command/answer.hpp"
#include "lsn/control/command/grammar.hpp"

namespace lsn::control {

/// Who has put a route into the kernel, by its number there (rtnetlink(7), rtm_protocol).
[[nodiscard]] std::string route_protocol(std::uint8_t protocol);

[[nodiscard]] std::span<const OptionSpec> route_options();
[[nodiscard]] std::span<const PositionalSpec> route_parameters();

/// All routes, or those that an address takes.
[[nodiscard]] std::expected<std::unique_ptr<Answer>, std::string> begin_show_route(
    const Command& command, const CommandContext& context);
/// The thread that follows the kernel's routes.
[[nodiscard]] std::string report_routes(Format format, const CommandContext& context);

}  // namespace lsn::control
