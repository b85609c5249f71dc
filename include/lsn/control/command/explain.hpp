// `explain SRC[:PORT] DST[:PORT] [TCP|UDP|ICMP|esp SPI] [-from inside|outside]`: what would become
// of such a packet now, and which client, group, profile, mapping, session or gate decides it, from
// the real tables.
//
// What the configuration decides is read from the generation in force; all workers are asked for
// what they have (shared::Lookup). The rules are asked in the order in which the packet path asks
// them (lsn44/outbound.cpp, lsn44/inbound.cpp). Nothing is changed by it.
#pragma once

#include <expected>
#include <memory>
#include <span>
#include <string>

#include "lsn/control/command/answer.hpp"

namespace lsn::control {

[[nodiscard]] std::span<const OptionSpec> explain_options();
[[nodiscard]] std::span<const PositionalSpec> explain_parameters();
[[nodiscard]] std::expected<std::unique_ptr<Answer>, std::string> begin_explain(
    const Command& command, const CommandContext& context);

}  // namespace lsn::control
