// The text of a configuration file, through all that a configuration goes through: raw, validate,
// generation, and the reports about it. Any text gives either problems, each with a line of the
// text, or a model that is the same after it was written as a file and read again.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "lsn/control/config/check_report.hpp"
#include "lsn/control/config/generation_builder.hpp"
#include "lsn/control/config/load.hpp"
#include "lsn/control/config/reload_diff.hpp"
#include "lsn/control/config/render.hpp"
#include "lsn/control/config/validate.hpp"

namespace {

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

}  // namespace

/// libconfig 1.5 loses the string that stands right before a syntax error.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libconfig";
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lsn::control;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto model = load_config_text(text);
  if (!model) {
    require(!model.error().empty(), "a refused text has problems");
    for (const Problem& problem : model.error()) {
      require(problem.line >= 1 && problem.line <= 2 + size, "a problem has a line of the text");
      require(!problem.text.empty(), "a problem says something");
      require(problem.text.find('\n') == std::string::npos, "a problem is one line");
    }
    return 0;
  }
  require(check_model(*model).empty(), "a model from a file stands every check");
  require(!check_report(*model).empty(), "a good model has a report");
  const std::string rendered = render_config(*model);
  const auto again = load_config_text(rendered);
  require(again && *again == *model, "the file that is written gives the same model");
  require(render_config(*again) == rendered, "a model is written in one way");
  require(diff_for_reload(*model, *again).empty(), "no change needs no restart");

  const auto first = build_generation(*model);
  const auto second = build_generation(*model, first.get());
  require(second->maps.size() == 1, "where nothing changes, no old map stays");
  require(
      first->groups.size() == second->groups.size() && first->pools.size() == second->pools.size(),
      "ids stay with their names");
  require(first->nat_addresses.count() == second->nat_addresses.count(), "addresses stay");
  for (const auto& range : first->nat_addresses.all()) {
    const auto* place = second->nat_addresses.find(lsn::wire::Ipv4Address{range.first});
    require(place != nullptr && place->owner == range.value.owner, "no address moves");
  }
  return 0;
}
