// `show lsn session` and `flush lsn session`: questions to all workers, with the same filters.
//
// Showing goes worker by worker and page by page (paged_answer.hpp). Flushing asks all workers at
// once. ESP sessions have SPIs in place of ports.
#pragma once

#include <expected>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "lsn/control/command/answer.hpp"
#include "lsn/datapath/query.hpp"

namespace lsn::control {

/// The filters that both take.
[[nodiscard]] std::span<const OptionSpec> session_filter_options();
/// The same, and -count.
[[nodiscard]] std::span<const OptionSpec> session_show_options();

[[nodiscard]] std::expected<std::unique_ptr<Answer>, std::string> begin_show_lsn_session(
    const Command& command, const CommandContext& context);
[[nodiscard]] std::expected<std::unique_ptr<Answer>, std::string> begin_flush_lsn_session(
    const Command& command, const CommandContext& context);

[[nodiscard]] std::string_view to_word(datapath::SessionState state);

}  // namespace lsn::control
