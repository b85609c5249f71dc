// `show ipsecalg session`, `show ipsecalg ike`, `show ipsecalg gate`, `show ipsecalg advice`,
// `flush ipsecalg session`: questions to all workers, with the same filters, in pages and steps
// like those about LSN sessions.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "lsn/control/command/answer.hpp"
#include "lsn/shared/alg_queries.hpp"

namespace lsn::control {

/// The filters that all of them take.
[[nodiscard]] std::span<const OptionSpec> alg_filter_options();

using BegunAnswer = std::expected<std::unique_ptr<Answer>, std::string>;

[[nodiscard]] BegunAnswer begin_show_ipsecalg_session(const Command& command,
                                                      const CommandContext& context);
[[nodiscard]] BegunAnswer begin_show_ipsecalg_ike(const Command& command,
                                                  const CommandContext& context);
[[nodiscard]] BegunAnswer begin_show_ipsecalg_gate(const Command& command,
                                                   const CommandContext& context);
[[nodiscard]] BegunAnswer begin_show_ipsecalg_advice(const Command& command,
                                                     const CommandContext& context);
[[nodiscard]] BegunAnswer begin_flush_ipsecalg_session(const Command& command,
                                                       const CommandContext& context);

/// The lists themselves.
[[nodiscard]] std::unique_ptr<Answer> list_of_esp_sessions(Format format,
                                                           const CommandContext& context,
                                                           const shared::AlgFilter& filter);
[[nodiscard]] std::unique_ptr<Answer> list_of_ike_sessions(Format format,
                                                           const CommandContext& context,
                                                           const shared::AlgFilter& filter);
[[nodiscard]] std::unique_ptr<Answer> list_of_gates(Format format, const CommandContext& context,
                                                    const shared::AlgFilter& filter);

/// An SPI as people write it: "0x0000abcd"; "-": not known.
[[nodiscard]] std::string spi_text(std::uint32_t spi);

[[nodiscard]] std::string_view to_word(shared::GateState state);
[[nodiscard]] std::string_view to_word(shared::HalfGate half);
[[nodiscard]] std::string_view to_word(shared::CloseReason reason);

}  // namespace lsn::control
