// The settings that a running lsnd cannot take over from a new configuration without a restart.
//
// Cores, devices, memory allocated at start and sockets that clients connect to stay as they are
// while lsnd runs. Everything else is applied at run time: the generation (generation.hpp) carries
// routes, inboundRefresh, unreachable, fragments.timeout, and all of lsn and ipsecalg; the caller
// applies log.level by itself.
#pragma once

#include <string_view>
#include <vector>

#include "lsn/control/config/model.hpp"
#include "lsn/control/config/problem.hpp"

namespace lsn::control {

/// Whether a reload cannot change the setting of this path ("dataplane.workers").
[[nodiscard]] bool needs_restart(std::string_view path);

/// One problem, with the word "restart", for each setting that differs and cannot be applied; none:
/// the new model can be taken over.
[[nodiscard]] std::vector<Problem> diff_for_reload(const Model& running, const Model& wanted);

}  // namespace lsn::control
