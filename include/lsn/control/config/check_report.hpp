// The report of `lsnd --check` about a good file: the objects that would run, and remarks on them.
//
// The deviations are the point. The defaults are those that operators of other large scale NATs
// expect, and many of them deviate from the RFCs: for each group, each value in force, given or
// default, that deviates from RFC 4787, 5382, 5508 or 6888 is listed with its clause, so that
// keeping it is a decision.
#pragma once

#include <string>
#include <vector>

#include "lsn/control/config/model.hpp"
#include "lsn/control/config/pool_spread.hpp"

namespace lsn::control {

/// The whole report, lines of text. `machine`: lines about the memory that it will take.
[[nodiscard]] std::string check_report(const Model& model,
                                       const std::vector<std::string>& machine = {});

/// "UDP: portpreserveparity DISABLED; asked for: ENABLED (RFC 4787 REQ-4)" for one group.
[[nodiscard]] std::vector<std::string> deviations(const Model& model, const GroupConfig& group);

/// The same of the settings for all groups.
[[nodiscard]] std::vector<std::string> deviations(const DataplaneConfig& dataplane);

/// Settings that are legal and probably not meant: a pool with fewer addresses than workers, a
/// client without a group, a group without addresses.
[[nodiscard]] std::vector<std::string> remarks(const Model& model);
/// The same if they are known.
[[nodiscard]] std::vector<std::string> remarks(const Model& model,
                                               const std::vector<PoolSpread>& spreads);

}  // namespace lsn::control
