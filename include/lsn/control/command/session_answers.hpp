// `show lsn session` and `flush lsn session`: questions to all workers, with the same filters.
//
// Showing goes worker by worker and page by page (paged_answer.hpp). Flushing asks all workers at
// once. ESP sessions have SPIs in place of ports.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "lsn/control/command/answer.hpp"
#include "lsn/control/command/list_writer.hpp"
#include "lsn/shared/queries.hpp"

namespace lsn::control {

/// The filters that both take.
[[nodiscard]] std::span<const OptionSpec> session_filter_options();
/// The same, -count, -sort and -top.
[[nodiscard]] std::span<const OptionSpec> session_show_options();

/// The filter that the options give, for any command that has some of them.
[[nodiscard]] std::expected<shared::SessionFilter, std::string> session_filter_of(
    const Command& command, const CommandContext& context);

extern const ValueSyntax kClientName;    ///< std::string: of an existing one
extern const ValueSyntax kProtocolName;  ///< std::string: TCP, UDP, ICMP or ESP
[[nodiscard]] std::optional<shared::Protocol> protocol_named(std::string_view name);
extern const ValueSyntax kTopNumber;  ///< std::uint32_t: of -top
/// The number of -top.
[[nodiscard]] std::uint32_t top_of(const Command& command);
/// The rows of a list, as -count says.
[[nodiscard]] ListWriter::Rows rows_of(const Command& command);

[[nodiscard]] std::expected<std::unique_ptr<Answer>, std::string> begin_show_lsn_session(
    const Command& command, const CommandContext& context);
[[nodiscard]] std::expected<std::unique_ptr<Answer>, std::string> begin_flush_lsn_session(
    const Command& command, const CommandContext& context);

[[nodiscard]] std::string_view to_word(shared::SessionState state);

}  // namespace lsn::control
