// The ports and sessions in use, by pool and by group: `stat lsn pool`, `stat lsn group`, and the
// usage that `show lsn pool`, `show lsn group` and `show lsn client` add.
//
// The workers count it when they are asked (shared::Usage): a walk over their addresses and
// subscribers.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "lsn/control/command/answer.hpp"
#include "lsn/shared/queries.hpp"

namespace lsn::control {

/// The counts of all workers, added up.
class UsageSurvey {
 public:
  explicit UsageSurvey(const CommandContext& context);

  /// nullptr: not all have answered.
  [[nodiscard]] const shared::Usage* take();

 private:
  AwaitedOfAll<shared::Usage> asked_;
  shared::Usage total_;
};

/// Per cent of a pool's ports of the protocol of which most are taken.
[[nodiscard]] double pool_percent(const shared::Usage::OfPool& pool);

/// An object's usage in words ("ports in use: TCP 12, UDP 3, ICMP 0 (0.0 %)") and as JSON.
struct ObjectUsage {
  std::vector<std::pair<std::string, std::string>> lines;
  nlohmann::ordered_json json;
};
/// Of many objects, by their names.
class UsageByName {
 public:
  UsageByName(const shared::Usage& usage, const shared::Generation& generation);

  /// `kind`: "lsn pool", "lsn group", "lsn client"; nothing for other kinds.
  [[nodiscard]] std::optional<ObjectUsage> of(std::string_view kind, const std::string& name) const;

 private:
  using Ids = std::unordered_map<std::string, std::uint16_t>;

  const shared::Usage& usage_;
  Ids pools_, groups_;
  Ids clients_;  ///< of the groups that have them
};
[[nodiscard]] bool has_usage(std::string_view kind);

[[nodiscard]] std::span<const PositionalSpec> usage_parameters();
[[nodiscard]] std::expected<std::unique_ptr<Answer>, std::string> begin_stat_lsn_pool(
    const Command& command, const CommandContext& context);
[[nodiscard]] std::expected<std::unique_ptr<Answer>, std::string> begin_stat_lsn_group(
    const Command& command, const CommandContext& context);

}  // namespace lsn::control
