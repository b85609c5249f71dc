#include "lsn/control/config/availability.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "lsn/control/config/flatten.hpp"

namespace lsn::control {
namespace {

struct NotYet {
  std::string_view setting;    ///< path without indexes
  std::string_view available;  ///< the value that is; empty: only not giving it
};

/// Beside these: lsn.static, which describe.hpp marks.
constexpr std::array kNotYet{
    NotYet{"lsn.pool.nattype", "DYNAMIC"},
    NotYet{"lsn.pool.portblockallocation", "DISABLED"},
    NotYet{"lsn.group.nattype", "DYNAMIC"},
    NotYet{"lsn.group.portblocksize", "0"},
};

}  // namespace

void check_availability(const Model& model, Findings& findings) {
  for (const FlatSetting& setting : flatten(model, ObjectsBy::kNumber)) {
    const auto rule = std::find_if(
        kNotYet.begin(), kNotYet.end(),
        [bare = without_indexes(setting.path)](const NotYet& r) { return r.setting == bare; });
    if (rule == kNotYet.end() || setting.value == rule->available) continue;
    report_unavailable(setting.path, setting.label, setting.value, findings);
  }
}

void report_unavailable(const std::string& path, std::string_view label, std::string_view value,
                        Findings& findings) {
  findings.report(path,
                  fmt::format("{}{}{} is not available in this version", label,
                              value.empty() ? "" : " ", value),
                  "", "");
}

}  // namespace lsn::control
