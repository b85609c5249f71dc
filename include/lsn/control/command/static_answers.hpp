// `show lsn static [NAME]`, and a subscriber's static mappings: as they are configured, and whether
// they are in force.
//
// The workers know which NAT ports mappings still wait for (shared::StaticPage), as a rule none;
// all others are theirs. The rows come from the configuration, some at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "lsn/control/command/answer.hpp"
#include "lsn/control/command/list_writer.hpp"

namespace lsn::control {

/// Which mappings; all that is set must hold.
struct StaticFilter {
  std::optional<std::string> name{};
  std::optional<shared::InsideAddress> subscriber{};
};

[[nodiscard]] std::unique_ptr<Answer> list_of_statics(Format format, const CommandContext& context,
                                                      StaticFilter filter);

}  // namespace lsn::control
