// The static mappings of a configuration: what was not given is chosen, and all of it is checked.
//
// A NAT endpoint that a mapping does not give is chosen from the group's pools by the subscriber's
// address and port alone: a number computed from these says where to begin, and the first address
// and port from there on that no other mapping has is taken; mappings that give theirs come first,
// then the others in the order of their names. So the choice is the same after each reload and
// restart, as long as the pools stay, and no mapping is added whose own choice would begin at the
// same place. What was chosen stands in the model as if it had been given: `save config` keeps it
// for good.
//
// The rules are made for a million mappings: each looks at all of them once, in an order in which
// those that could collide stand side by side.
#pragma once

#include "lsn/control/config/model.hpp"
#include "lsn/control/config/problem.hpp"

namespace lsn::control {

/// Chooses the NAT endpoints that are not given. Where there is none the mapping is left as it is,
/// and check_statics() says so.
void complete(Model& model);

void check_statics(const Model& model, Findings& findings);

/// Whether all that the subscriber sends is the mapping's.
[[nodiscard]] inline bool has_all_traffic(const StaticConfig& mapping) {
  return mapping.transportprotocol == shared::StaticScope::kAll && !mapping.dest_ip;
}

}  // namespace lsn::control
