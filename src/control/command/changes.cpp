#include "lsn/control/command/changes.hpp"

#include <fmt/format.h>

#include <map>

#include "lsn/control/config/edit.hpp"
#include "lsn/control/config/flatten.hpp"

namespace lsn::control {

Changes changes_between(const Model& from, const Model& to, std::string_view where) {
  Changes changes{commands_between(from, to), {}};
  Model objects_alike = from;
  objects_alike.lsn = to.lsn;
  objects_alike.ipsecalg = to.ipsecalg;
  if (objects_alike == to) return changes;
  std::map<std::string, std::string> before;
  for (FlatSetting& setting : flatten(from, ObjectsBy::kName))
    before.emplace(std::move(setting.path), std::move(setting.value));
  for (const FlatSetting& setting : flatten(to, ObjectsBy::kName)) {
    if (setting.path.starts_with("lsn.") || setting.path.starts_with("ipsecalg.")) continue;
    const auto there = before.find(setting.path);
    if (there == before.end() || there->second != setting.value)
      changes.others.push_back(fmt::format("{} is {}, {} {}", setting.label, setting.value, where,
                                           there == before.end() ? "nothing" : there->second));
  }
  if (changes.others.empty())
    changes.others.push_back(fmt::format("there are settings that are only {}", where));
  return changes;
}

}  // namespace lsn::control
