// `show lsn subscriber`, `show lsn mapping`, `show lsn portblock`, `show subscriber`: each
// subscriber's usage, and the quotas it counts against.
#pragma once

#include <expected>
#include <memory>
#include <span>
#include <string>

#include "lsn/control/command/answer.hpp"

namespace lsn::control {

[[nodiscard]] std::span<const OptionSpec> subscriber_options();
[[nodiscard]] std::span<const OptionSpec> mapping_options();
[[nodiscard]] std::span<const OptionSpec> block_options();

[[nodiscard]] std::expected<std::unique_ptr<Answer>, std::string> begin_show_lsn_subscriber(
    const Command& command, const CommandContext& context);
[[nodiscard]] std::expected<std::unique_ptr<Answer>, std::string> begin_show_lsn_mapping(
    const Command& command, const CommandContext& context);
[[nodiscard]] std::expected<std::unique_ptr<Answer>, std::string> begin_show_lsn_portblock(
    const Command& command, const CommandContext& context);
/// The client that has an address and is in no group; empty: there is none.
[[nodiscard]] std::string client_without_group(const Model& model,
                                               const shared::InsideAddress& subscriber);

/// Everything about one of them.
[[nodiscard]] std::expected<std::unique_ptr<Answer>, std::string> begin_show_subscriber(
    const Command& command, const CommandContext& context);
[[nodiscard]] std::span<const PositionalSpec> show_subscriber_parameters();
[[nodiscard]] std::span<const OptionSpec> show_subscriber_options();

}  // namespace lsn::control
