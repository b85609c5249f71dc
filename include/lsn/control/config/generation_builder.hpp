// From a checked model to the generation that the workers read.
//
// Names become ids. An object keeps its id as long as lsnd runs: an object of the predecessor keeps
// its place, also while it is not configured (`present == false`), so that one that comes back is
// the same one; a new name gets a new place. Sessions, counters and GroupUsage go by these ids. NAT
// addresses keep their shards, and the predecessor's map of subscribers stays behind the new one if
// they differ (shard_map.hpp).
#pragma once

#include <memory>

#include "lsn/control/config/model.hpp"
#include "lsn/shared/address_class.hpp"
#include "lsn/shared/generation.hpp"

namespace lsn::control {

/// `model` has been checked and, if there is a predecessor, diff_for_reload() found nothing.
/// `classes`: of a first generation; they stay for all that follow.
[[nodiscard]] std::shared_ptr<const shared::Generation> build_generation(
    const Model& model, const shared::Generation* predecessor = nullptr,
    const shared::AddressClasses& classes = shared::kFinestClasses);

}  // namespace lsn::control
