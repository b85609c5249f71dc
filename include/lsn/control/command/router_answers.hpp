// The router's state beside NAT: `show arp`, `show drops -recent`.
#pragma once

#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "lsn/control/command/answer.hpp"
#include "lsn/shared/queries.hpp"

namespace lsn::control {

extern const ValueSyntax kDropReason;  ///< std::string: the name of a reason
[[nodiscard]] std::optional<shared::DropReason> reason_named(std::string_view name);

[[nodiscard]] std::span<const OptionSpec> drop_options();

/// Counters by reason, or with -recent the last packets.
[[nodiscard]] std::expected<std::unique_ptr<Answer>, std::string> begin_show_drops(
    const Command& command, const CommandContext& context);
[[nodiscard]] std::unique_ptr<Answer> list_of_recent_drops(Format format,
                                                           const CommandContext& context,
                                                           const shared::DropFilter& filter);
[[nodiscard]] std::expected<std::unique_ptr<Answer>, std::string> begin_show_arp(
    const Command& command, const CommandContext& context);

}  // namespace lsn::control
