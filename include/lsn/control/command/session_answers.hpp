// `show lsn session` and `flush lsn session`: questions to all workers, with the same filters.
//
// Showing goes worker by worker and page by page: the next page is asked for when the reader has
// taken the last one, so a reader costs a page of memory, however many sessions there are and
// however slowly it reads. Flushing asks all workers at once.
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

[[nodiscard]] std::expected<std::unique_ptr<Answer>, std::string> begin_show_lsn_session(
    const Command& command, const CommandContext& context);
[[nodiscard]] std::expected<std::unique_ptr<Answer>, std::string> begin_flush_lsn_session(
    const Command& command, const CommandContext& context);

[[nodiscard]] std::string_view to_word(datapath::SessionState state);

}  // namespace lsn::control
