#include "lsn/control/command/dry_run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "lsn/control/command/changes.hpp"
#include "lsn/control/command/field_text.hpp"
#include "lsn/control/command/paged_answer.hpp"
#include "lsn/control/config/generation_builder.hpp"
#include "lsn/control/config/load.hpp"
#include "lsn/control/config/problem.hpp"
#include "lsn/control/config/reload_diff.hpp"

namespace lsn::control {
namespace {

using shared::Generation;
using shared::SessionPage;
using shared::SessionRow;
using Json = nlohmann::ordered_json;

class DryRunAnswer final : public Answer {
 public:
  DryRunAnswer(Format format, const CommandContext& context, Changes changes,
               std::shared_ptr<const Generation> wanted)
      : format_(format),
        context_(context),
        changes_(std::move(changes)),
        wanted_(std::move(wanted)),
        pages_(context.dataplane, {}, 8 * kPageRows) {}

  Progress next(std::string& out) override {
    const bool all = pages_.take([this](const SessionRow& row) {
      if (ends(row)) ++ended_[client_of(row)];
    });
    if (!all) return Progress::kWaiting;
    format_ == Format::kJson ? say_json(out) : say_text(out);
    return Progress::kDone;
  }

 private:
  /// The worker's check of a session after a reload (lsn44::is_allowed), as far as it can be done
  /// here: without the filtering of its mapping.
  [[nodiscard]] bool ends(const SessionRow& row) const {
    const shared::Group* const group = wanted_->group_of({row.subscriber_ip, row.td});
    if (group == nullptr) return true;
    if (row.protocol == shared::Protocol::kEsp && group->alg_profile == shared::kNoId) return true;
    const shared::NatAddressPlace* const place = wanted_->nat_addresses.find(row.nat_ip);
    const shared::NatAddressPlace* const before =
        context_.config.generation().nat_addresses.find(row.nat_ip);
    if (place != nullptr && before != nullptr && place->owner != before->owner) return true;
    if (is_bypassed(*group, row)) return true;
    if (const auto kept = kept_by_static(row)) return !*kept;
    return place == nullptr ||
           std::find(group->pools.begin(), group->pools.end(), place->pool) == group->pools.end();
  }

  /// What is routed without translation has no session.
  [[nodiscard]] bool is_bypassed(const shared::Group& group, const SessionRow& row) const {
    constexpr std::uint8_t kIpProtocols[] = {6, 17, 1, 50};
    return wanted_->nat_addresses.find(row.remote_ip) == nullptr &&
           group.bypass.covers(row.remote_ip, kIpProtocols[static_cast<std::size_t>(row.protocol)],
                               row.remote_port) == shared::Coverage::kYes;
  }

  /// A session of a static mapping lives as long as that; nothing: it is of none.
  [[nodiscard]] std::optional<bool> kept_by_static(const SessionRow& row) const {
    if (!row.by_static) return std::nullopt;
    const shared::StaticMappings* const statics = wanted_->statics.get();
    const auto* const mapping =
        statics == nullptr
            ? nullptr
            : statics->find_inside(shared::scope_of(row.protocol), {row.subscriber_ip, row.td},
                                   row.subscriber_port, row.remote_ip);
    return mapping != nullptr && mapping->nat_ip == row.nat_ip &&
           (mapping->is_whole ? row.subscriber_port : mapping->nat_port) == row.nat_port;
  }

  [[nodiscard]] std::string client_of(const SessionRow& row) const {
    const shared::Group* const group = context_.config.generation().group(row.group);
    return group == nullptr ? "-" : group->client;
  }

  [[nodiscard]] std::uint64_t total() const {
    std::uint64_t all = 0;
    for (const auto& [client, count] : ended_) all += count;
    return all;
  }

  void say_json(std::string& out) const {
    Json clients = Json::array();
    for (const auto& [client, count] : ended_)
      clients.push_back({{"client", client}, {"sessions", count}});
    out += document(Json{{"changes", changes_.commands},
                         {"others", changes_.others},
                         {"would_end", total()},
                         {"clients", std::move(clients)}});
  }

  void say_text(std::string& out) const {
    for (const std::string& line : changes_.commands) out += line + '\n';
    for (const std::string& other : changes_.others) out += "# " + other + '\n';
    if (changes_.commands.empty() && changes_.others.empty())
      out += fmt::format("no changes: what is in force is {}\n", context_.config.path());
    out += fmt::format("{} session{} would end{}\n", total(), total() == 1 ? "" : "s",
                       ended_.empty() ? "" : ":");
    for (const auto& [client, count] : ended_) out += fmt::format("  {} of {}\n", count, client);
    out += "nothing has changed: this was a dry run\n";
  }

  Format format_;
  const CommandContext& context_;
  Changes changes_;
  std::shared_ptr<const Generation> wanted_;
  Pages<SessionPage> pages_;
  std::map<std::string, std::uint64_t> ended_;  ///< by client
};

/// Every problem in a line of its own.
class RefusedAnswer final : public Answer {
 public:
  explicit RefusedAnswer(std::vector<std::string> problems) { errors_ = std::move(problems); }
  Progress next(std::string&) override { return Progress::kFailed; }
};

}  // namespace

std::expected<std::unique_ptr<Answer>, std::string> begin_dry_run(const Command& command,
                                                                  const CommandContext& context) {
  auto wanted = load_config(context.config.path());
  const std::vector<Problem> problems =
      wanted ? diff_for_reload(context.config.model(), *wanted) : wanted.error();
  if (!problems.empty()) {
    std::vector<std::string> lines;
    for (const Problem& problem : problems) lines.push_back(to_string(problem));
    return std::make_unique<RefusedAnswer>(std::move(lines));
  }
  return std::make_unique<DryRunAnswer>(
      command.format, context, changes_between(context.config.model(), *wanted, "in force"),
      build_generation(*wanted, &context.config.generation()));
}

}  // namespace lsn::control
