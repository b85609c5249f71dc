// Settings that contradict nothing in a configuration and still cannot be meant.
//
// lsnd runs with such a file, and says so in its log: a reload must not fail because a route comes
// later than a client. `lsnd --check` refuses it.
#pragma once

#include "lsn/control/config/model.hpp"
#include "lsn/control/config/problem.hpp"

namespace lsn::control {

/// PCI devices that EAL is told not to look for, client networks that no route of an inside
/// interface leads to, NAT addresses on an inside link, addresses that are the NAT's own and a
/// subscriber's.
void check_plausibility(const Model& model, Findings& findings);

}  // namespace lsn::control
