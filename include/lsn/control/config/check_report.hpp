// What `lsnd --check` says of a good file: what would run, and what to know about it.
//
// The deviations are the point. The defaults are those that operators of other large scale NATs
// expect, and many of them are not what the RFCs ask of a NAT: for each group, each value in force,
// given or default, that deviates from RFC 4787, 5382, 5508 or 6888 is listed with its clause, so
// that keeping it is a decision.
#pragma once

#include <string>
#include <vector>

#include "lsn/control/config/model.hpp"

namespace lsn::control {

/// The whole report, lines of text. `machine`: what it will take of the machine, lines.
[[nodiscard]] std::string check_report(const Model& model,
                                       const std::vector<std::string>& machine = {});

/// "UDP: portpreserveparity DISABLED; asked for: ENABLED (RFC 4787 REQ-4)" for one group.
[[nodiscard]] std::vector<std::string> deviations(const Model& model, const GroupConfig& group);

/// The same of what holds for all groups.
[[nodiscard]] std::vector<std::string> deviations(const DataplaneConfig& dataplane);

/// What is legal and probably not meant: a pool with fewer addresses than workers, a client without
/// a group, a group without addresses.
[[nodiscard]] std::vector<std::string> remarks(const Model& model);

}  // namespace lsn::control
