#include "lsn/control/records/config_note.hpp"

#include <fmt/format.h>

namespace lsn::control {
namespace {

constexpr std::string_view kInForce = "in force: ", kColon = ": ";
constexpr std::string_view kRemoved = "removed", kNothing = "nothing is recorded";

}  // namespace

std::string config_note(std::string_view subject, std::string_view settings) {
  return fmt::format("{}{}{}", subject, kColon, settings.empty() ? kNothing : settings);
}

std::string removed_note(std::string_view subject) {
  return config_note(subject, kRemoved);
}

std::string repeated_note(std::string_view note) {
  return fmt::format("{}{}", kInForce, note);
}

void add_setting(std::string& settings, std::string_view setting, std::string_view value) {
  settings += fmt::format("{}{} {}", settings.empty() ? "" : ConfigNote::kBetween, setting, value);
}

std::optional<ConfigNote> ConfigNote::parse(std::string_view text) {
  ConfigNote note;
  note.is_repeated = text.starts_with(kInForce);
  if (note.is_repeated) text.remove_prefix(kInForce.size());
  // A name may have a colon, settings have none.
  const std::size_t colon = text.rfind(kColon);
  if (colon == std::string_view::npos) return std::nullopt;
  note.text = text;
  note.subject = text.substr(0, colon);
  note.settings = text.substr(colon + kColon.size());
  if (!note.name_of(kGroupSubject) && !note.name_of(kStaticSubject) && note.subject != kAllStatics)
    return std::nullopt;
  note.is_removed = note.settings == kRemoved;
  note.is_nothing = note.settings == kNothing;
  note.has_settings = !note.is_removed && !note.is_nothing;
  return note;
}

}  // namespace lsn::control
