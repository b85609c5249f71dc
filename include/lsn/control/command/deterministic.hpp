// `show lsn deterministicNat`, and `lsnctl deterministic` without a daemon: who has which NAT
// address and ports in deterministic NAT, by computation (shared/deterministic.hpp).
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lsn/control/command/answer.hpp"
#include "lsn/control/config/model.hpp"
#include "lsn/shared/deterministic.hpp"

namespace lsn::control {

[[nodiscard]] std::span<const OptionSpec> deterministic_options();

struct DeterministicGroup {
  std::string name;
  std::string client;
  std::shared_ptr<const shared::DeterministicMap> map;
};
/// Those of a configuration.
[[nodiscard]] std::vector<DeterministicGroup> deterministic_groups(const Model& model);

/// The rows that answer a command with deterministic_options(). Error: one line without "ERROR: ".
[[nodiscard]] std::expected<std::unique_ptr<Answer>, std::string> begin_deterministic(
    const Command& command, std::vector<DeterministicGroup> groups);

[[nodiscard]] std::expected<std::unique_ptr<Answer>, std::string> begin_show_lsn_deterministic(
    const Command& command, const CommandContext& context);

}  // namespace lsn::control
