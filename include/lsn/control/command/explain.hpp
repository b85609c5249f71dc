// `explain SRC[:PORT] DST[:PORT] [TCP|UDP|ICMP|esp SPI] [-from inside|outside]`: the verdict on
// such a packet now, and which client, group, profile, mapping, session or gate decides it, from
// the real tables.
//
// The configuration's part is read from the generation in force; all workers look up what they have
// (shared::Lookup). The rules are applied in the order in which the packet path applies them
// (lsn44/outbound.cpp, lsn44/inbound.cpp). explain changes nothing.
#pragma once

#include <expected>
#include <memory>
#include <span>
#include <string>

#include "lsn/control/command/answer.hpp"

namespace lsn::control {

extern const ValueSyntax kSpiSyntax;  ///< std::uint32_t

[[nodiscard]] std::span<const OptionSpec> explain_options();
[[nodiscard]] std::span<const PositionalSpec> explain_parameters();
[[nodiscard]] std::expected<std::unique_ptr<Answer>, std::string> begin_explain(
    const Command& command, const CommandContext& context);

}  // namespace lsn::control
