// `stat ipsecalg [PROFILE]`: the counters and gauges of the ALG, by profile and in total, added up
// over the workers. Like the reports of report.hpp it reads atomics and asks no worker.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lsn/control/command/alg_answers.hpp"
#include "lsn/control/command/answer.hpp"

namespace lsn::control {

[[nodiscard]] BegunAnswer begin_stat_ipsecalg(const Command& command,
                                              const CommandContext& context);
/// As help calls the profile's name.
inline constexpr std::string_view kProfileParameter = "PROFILE";

}  // namespace lsn::control
