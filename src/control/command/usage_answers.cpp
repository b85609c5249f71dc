#include "lsn/control/command/usage_answers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "lsn/control/command/field_text.hpp"
#include "lsn/control/command/table.hpp"
#include "lsn/control/command/words.hpp"
#include "lsn/shared/counter_list.hpp"

namespace lsn::control {
namespace {

using shared::Generation;
using shared::kNoId;
using shared::kPortProtocols;
using shared::kProtocols;
using shared::Protocol;
using shared::Usage;
using Json = nlohmann::ordered_json;
using enum Table::Align;

/// The ports of one address for any subscriber. The ports below 1024 come on top, for sessions with
/// a source port there (portpreserverange); identifiers of ICMP are all alike.
constexpr shared::ByPortProtocol<std::uint64_t> kPortsOfAddress = {64512, 64512, 65536};
constexpr std::string_view kNameParameter = "NAME";

std::string lower_name(std::size_t protocol) {
  return lower(name_of(static_cast<Protocol>(protocol)));
}

/// "TCP 12, UDP 3, ICMP 0"
std::string by_protocol(const auto& values) {
  std::string text;
  for (std::size_t p = 0; p < values.size(); ++p)
    text +=
        fmt::format("{}{} {}", p == 0 ? "" : ", ", name_of(static_cast<Protocol>(p)), values[p]);
  return text;
}

Json json_by_protocol(const auto& values) {
  Json json;
  for (std::size_t p = 0; p < values.size(); ++p) json[lower_name(p)] = values[p];
  return json;
}

Json to_json(const Usage::OfPool& pool) {
  return {{"addresses", pool.addresses},
          {"subscribers", pool.paired},
          {"ports", json_by_protocol(pool.ports)},
          {"ports_waiting", pool.waiting},
          {"blocks", pool.blocks},
          {"percent", pool_percent(pool)},
          {"draining",
           {{"addresses", pool.draining.addresses},
            {"subscribers", pool.draining.paired},
            {"ports", json_by_protocol(pool.draining.ports)}}}};
}

/// What keeps addresses that drain from being removed without loss.
std::string left_of(const Usage::OfPool::Draining& draining) {
  const bool is_empty =
      draining.paired == 0 && std::all_of(draining.ports.begin(), draining.ports.end(),
                                          [](std::uint64_t ports) { return ports == 0; });
  const std::string_view addresses = draining.addresses == 1 ? "address" : "addresses";
  return is_empty ? fmt::format("{} {}: nothing left, removing them ends nothing",
                                draining.addresses, addresses)
                  : fmt::format("{} {}: {} paired, ports {}", draining.addresses, addresses,
                                draining.paired, by_protocol(draining.ports));
}

Json to_json(const Usage::OfGroup& group) {
  return {{"subscribers", group.subscribers},
          {"sessions", json_by_protocol(group.sessions)},
          {"ports", json_by_protocol(group.ports)}};
}

template <class T>
std::uint16_t id_of(const std::vector<T>& objects, std::string_view name) {
  for (std::size_t id = 0; id < objects.size(); ++id)
    if (objects[id].present && objects[id].name == name) return static_cast<std::uint16_t>(id);
  return kNoId;
}

template <class Of>
Of at_or_none(const std::vector<Of>& all, std::uint16_t id) {
  return id < all.size() ? all[id] : Of{};
}

/// `stat lsn pool`, `stat lsn group`.
class StatUsage final : public Answer {
 public:
  enum class Of : std::uint8_t { kPool, kGroup };

  StatUsage(Of of, std::string name, Format format, const CommandContext& context)
      : of_(of), name_(std::move(name)), format_(format), context_(context), survey_(context) {}

  Progress next(std::string& out) override {
    const Usage* const usage = survey_.take();
    if (usage == nullptr) return Progress::kWaiting;
    of_ == Of::kPool ? say_pools(*usage, out) : say_groups(*usage, out);
    return Progress::kDone;
  }

 private:
  [[nodiscard]] bool matches(const auto& object) const {
    return object.present && (name_.empty() || object.name == name_);
  }

  void say_pools(const Usage& usage, std::string& out) const {
    const auto& pools = context_.config.generation().pools;
    Json list = Json::array();
    Table table({{"pool"},
                 {"addresses", kRight},
                 {"paired", kRight},
                 {"TCP ports", kRight},
                 {"UDP ports", kRight},
                 {"ICMP ids", kRight},
                 {"waiting", kRight},
                 {"blocks", kRight},
                 {"in use", kRight}});
    for (std::uint16_t id = 0; id < pools.size(); ++id) {
      if (!matches(pools[id])) continue;
      const Usage::OfPool pool = at_or_none(usage.pools, id);
      Json json{{"name", pools[id].name}};
      json.update(to_json(pool));
      list.push_back(std::move(json));
      std::vector<std::string> cells{pools[id].name, std::to_string(pool.addresses),
                                     std::to_string(pool.paired)};
      for (const std::uint64_t ports : pool.ports) cells.push_back(std::to_string(ports));
      cells.push_back(std::to_string(pool.waiting));
      cells.push_back(pools[id].has_blocks ? std::to_string(pool.blocks) : "-");
      cells.push_back(fmt::format("{:.1f} %", pool_percent(pool)));
      table.add(std::move(cells));
    }
    say(out, "pools", std::move(list), table);
  }

  void say_groups(const Usage& usage, std::string& out) const {
    const auto& groups = context_.config.generation().groups;
    Json list = Json::array();
    Table table({{"group"},
                 {"client"},
                 {"subscribers", kRight},
                 {"TCP sessions", kRight},
                 {"UDP sessions", kRight},
                 {"ICMP sessions", kRight},
                 {"ESP sessions", kRight},
                 {"TCP ports", kRight},
                 {"UDP ports", kRight},
                 {"ICMP ids", kRight}});
    for (std::uint16_t id = 0; id < groups.size(); ++id) {
      if (!matches(groups[id])) continue;
      const Usage::OfGroup group = at_or_none(usage.groups, id);
      Json json{{"name", groups[id].name}, {"client", groups[id].client}};
      json.update(to_json(group));
      list.push_back(std::move(json));
      std::vector<std::string> cells{groups[id].name, groups[id].client,
                                     std::to_string(group.subscribers)};
      for (std::size_t p = 0; p < kProtocols; ++p) {
        const std::uint64_t limit =
            p < kPortProtocols ? groups[id].transport[p].group_session_limit : 0;
        cells.push_back(limit == 0 ? std::to_string(group.sessions[p])
                                   : fmt::format("{}/{}", group.sessions[p], limit));
      }
      for (const std::uint64_t ports : group.ports) cells.push_back(std::to_string(ports));
      table.add(std::move(cells));
    }
    say(out, "groups", std::move(list), table);
  }

  void say(std::string& out, std::string_view key, Json list, const Table& table) const {
    out += format_ == Format::kText ? table.print()
                                    : document(Json{{std::string(key), std::move(list)}});
  }

  Of of_;
  std::string name_;
  Format format_;
  const CommandContext& context_;
  UsageSurvey survey_;
};

std::expected<std::unique_ptr<Answer>, std::string> begin(StatUsage::Of of, const Command& command,
                                                          const CommandContext& context,
                                                          const auto& objects) {
  const auto* const name = command.get<std::string>(kNameParameter);
  if (name != nullptr && id_of(objects, *name) == kNoId) {
    std::vector<std::string_view> known;
    for (const auto& object : objects)
      if (object.present && known.size() < 2000) known.push_back(object.name);
    return std::unexpected(complaint_about_word(
        std::string(command.spec->words), *name, known,
        fmt::format("the name of a {}",
                    command.spec->words.substr(std::string_view("stat ").size()))));
  }
  return std::make_unique<StatUsage>(of, name == nullptr ? "" : *name, command.format, context);
}

}  // namespace

double pool_percent(const Usage::OfPool& pool) {
  double most = 0;
  for (std::size_t p = 0; p < kPortProtocols && pool.addresses != 0; ++p)
    most = std::max(most, 100.0 * static_cast<double>(pool.ports[p]) /
                              static_cast<double>(pool.addresses * kPortsOfAddress[p]));
  return std::min(most, 100.0);
}

UsageSurvey::UsageSurvey(const CommandContext& context) {
  Usage empty;
  empty.pools.resize(context.config.generation().pools.size());
  empty.groups.resize(context.config.generation().groups.size());
  asked_.ask(context.dataplane.workers(), [&](unsigned shard, auto done) {
    context.dataplane.ask_for<Usage>(shard, empty, std::move(done));
  });
}

const Usage* UsageSurvey::take() {
  const bool all = asked_.take([this](unsigned, const Usage& part) {
    total_.pools.resize(std::max(total_.pools.size(), part.pools.size()));
    total_.groups.resize(std::max(total_.groups.size(), part.groups.size()));
    for (std::size_t id = 0; id < part.pools.size(); ++id) {
      Usage::OfPool& pool = total_.pools[id];
      pool.addresses += part.pools[id].addresses;
      pool.paired += part.pools[id].paired;
      pool.waiting += part.pools[id].waiting;
      pool.blocks += part.pools[id].blocks;
      for (std::size_t p = 0; p < kPortProtocols; ++p) pool.ports[p] += part.pools[id].ports[p];
      const Usage::OfPool::Draining& draining = part.pools[id].draining;
      pool.draining.addresses += draining.addresses;
      pool.draining.paired += draining.paired;
      for (std::size_t p = 0; p < kPortProtocols; ++p) pool.draining.ports[p] += draining.ports[p];
    }
    for (std::size_t id = 0; id < part.groups.size(); ++id) {
      Usage::OfGroup& group = total_.groups[id];
      group.subscribers += part.groups[id].subscribers;
      for (std::size_t p = 0; p < kProtocols; ++p) group.sessions[p] += part.groups[id].sessions[p];
      for (std::size_t p = 0; p < kPortProtocols; ++p) group.ports[p] += part.groups[id].ports[p];
    }
  });
  return all ? &total_ : nullptr;
}

bool has_usage(std::string_view kind) {
  return kind == "lsn pool" || kind == "lsn group" || kind == "lsn client";
}

UsageByName::UsageByName(const Usage& usage, const Generation& generation) : usage_(usage) {
  for (std::size_t id = 0; id < generation.pools.size(); ++id)
    if (generation.pools[id].present)
      pools_.emplace(generation.pools[id].name, static_cast<std::uint16_t>(id));
  for (std::size_t id = 0; id < generation.groups.size(); ++id) {
    if (!generation.groups[id].present) continue;
    groups_.emplace(generation.groups[id].name, static_cast<std::uint16_t>(id));
    clients_.emplace(generation.groups[id].client, static_cast<std::uint16_t>(id));
  }
}

std::optional<ObjectUsage> UsageByName::of(std::string_view kind, const std::string& name) const {
  const auto id_in = [&](const Ids& ids) {
    const auto found = ids.find(name);
    return found == ids.end() ? kNoId : found->second;
  };
  ObjectUsage found;
  if (kind == "lsn pool") {
    const Usage::OfPool pool = at_or_none(usage_.pools, id_in(pools_));
    found.lines = {
        {"subscribers", fmt::format("{} paired with an address", pool.paired)},
        {"ports in use", fmt::format("{} ({:.1f} %)", by_protocol(pool.ports), pool_percent(pool))},
        {"ports waiting", std::to_string(pool.waiting)}};
    if (pool.draining.addresses != 0)
      found.lines.emplace_back("still on drain", left_of(pool.draining));
    if (pool.blocks != 0) found.lines.emplace_back("blocks in use", std::to_string(pool.blocks));
    found.json = to_json(pool);
    return found;
  }
  if (kind != "lsn group" && kind != "lsn client") return std::nullopt;
  const Usage::OfGroup group =
      at_or_none(usage_.groups, id_in(kind == "lsn group" ? groups_ : clients_));
  found.lines = {{"subscribers", std::to_string(group.subscribers)},
                 {"sessions", by_protocol(group.sessions)},
                 {"ports in use", by_protocol(group.ports)}};
  found.json = to_json(group);
  return found;
}

std::span<const PositionalSpec> usage_parameters() {
  static const std::array<PositionalSpec, 1> kParameters{
      {{kNameParameter, &kNameSyntax, Occurs::kAtMostOnce}}};
  return kParameters;
}

std::expected<std::unique_ptr<Answer>, std::string> begin_stat_lsn_pool(
    const Command& command, const CommandContext& context) {
  return begin(StatUsage::Of::kPool, command, context, context.config.generation().pools);
}

std::expected<std::unique_ptr<Answer>, std::string> begin_stat_lsn_group(
    const Command& command, const CommandContext& context) {
  return begin(StatUsage::Of::kGroup, command, context, context.config.generation().groups);
}

}  // namespace lsn::control
