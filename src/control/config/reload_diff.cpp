#include "lsn/control/config/reload_diff.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <string_view>

#include "lsn/control/config/flatten.hpp"

namespace lsn::control {
namespace {

/// Paths without indexes; settings below them as well.
constexpr std::array<std::string_view, 12> kFixed{
    "dataplane.workers",      // threads, and the shards that everything is divided among
    "dataplane.eal",          // read once by DPDK
    "dataplane.maxSessions",  // tables are allocated at start
    "dataplane.stateFile",
    "dataplane.powerSave",
    "dataplane.fragments.max",
    "dataplane.alg",
    "interfaces",
    "control",
    "log.target",
    "metrics",
    "routing",
};

struct Value {
  std::string label;
  std::string value;  ///< arrays: all elements
};

/// Settings that are fixed, by path; an array is one setting, as a whole.
std::map<std::string, Value> fixed_settings(const Model& model) {
  std::map<std::string, Value> settings;
  for (FlatSetting& setting : flatten(model, ObjectsBy::kName)) {
    if (!needs_restart(setting.path)) continue;
    std::string path = setting.path;
    if (path.ends_with(']')) path.resize(path.rfind('['));
    Value& value = settings[path];
    value.label = std::move(setting.label);
    if (!value.value.empty()) value.value += ", ";
    value.value += setting.value;
  }
  return settings;
}

Problem problem_of(std::string text) {
  return {"", 0, std::move(text) + " needs a restart of lsnd"};
}

}  // namespace

bool needs_restart(std::string_view path) {
  const std::string bare = without_indexes(path);
  // Nothing of a device, or of what is allocated for an interface, depends on it.
  if (bare == "interfaces.td" || bare.starts_with("interfaces.kernelRate")) return false;
  return std::any_of(kFixed.begin(), kFixed.end(), [&bare](std::string_view prefix) {
    return bare.starts_with(prefix) && (bare.size() == prefix.size() || bare[prefix.size()] == '.');
  });
}

std::vector<Problem> diff_for_reload(const Model& running, const Model& wanted) {
  std::vector<Problem> problems;
  // Whole interfaces first, so that a new one is not reported setting by setting.
  for (const InterfaceConfig& interface : running.interfaces)
    if (find_by_name(wanted.interfaces, interface.name) == nullptr)
      problems.push_back(problem_of(fmt::format("removing interface {}", interface.name)));
  for (const InterfaceConfig& interface : wanted.interfaces)
    if (find_by_name(running.interfaces, interface.name) == nullptr)
      problems.push_back(problem_of(fmt::format("adding interface {}", interface.name)));

  const auto old_settings = fixed_settings(running);
  const auto new_settings = fixed_settings(wanted);
  const auto report = [&problems](const std::string& label, std::string_view before,
                                  std::string_view after) {
    const auto shown = [](std::string_view value) {
      return value.empty() ? std::string_view("nothing") : value;
    };
    problems.push_back(
        problem_of(fmt::format("{}: from {} to {}", label, shown(before), shown(after))));
  };
  const auto of_both = [&](const std::string& path) {
    if (!path.starts_with("interfaces[")) return true;
    const std::string name = path.substr(11, path.rfind(']') - 11);
    return find_by_name(running.interfaces, name) != nullptr &&
           find_by_name(wanted.interfaces, name) != nullptr;
  };
  for (const auto& [path, before] : old_settings) {
    if (!of_both(path)) continue;
    const auto after = new_settings.find(path);
    const std::string_view value =
        after == new_settings.end() ? std::string_view() : after->second.value;
    if (value != before.value) report(before.label, before.value, value);
  }
  for (const auto& [path, after] : new_settings)
    if (of_both(path) && !old_settings.contains(path)) report(after.label, "", after.value);
  return problems;
}

}  // namespace lsn::control
