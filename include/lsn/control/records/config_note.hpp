// What CONFIG records say: a subject and its settings.
//
//   group G: logging ENABLED, sessionLogging DISABLED, logSessDeletion ENABLED
//   statics: a record each
//   static S: transportprotocol ALL, subscrIP 192.0.2.7, subscrPort *, natIP 203.0.113.3, natPort *
//   group G: removed
//   in force: group G: logging ENABLED, ...
//
// The log thread writes one when it changes. `in force` repeats it: a file sink at the beginning of
// each segment, so that a segment is of use without those before it, and the log thread for a sink
// that a reload adds. Readers: group_note.hpp, static_note.hpp.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

namespace lsn::control {

/// Before the name of the one that a note is about.
inline constexpr std::string_view kGroupSubject = "group ", kStaticSubject = "static ";
/// What the CONFIG record says that a segment begins with, before the name of the one before it.
inline constexpr std::string_view kFollows = "segment follows ";
/// What a sink that a reload adds begins with.
inline constexpr std::string_view kBegins = "records begin here, with a reload";
/// Before NAT addresses that no group had before a reload, "A-B, C-D": nothing has been translated
/// to them until then.
inline constexpr std::string_view kNewAddresses = "translated from now on: ";
/// The subject that stands for all static mappings.
inline constexpr std::string_view kAllStatics = "statics";

/// "SUBJECT: SETTINGS"; without settings "SUBJECT: nothing is recorded".
[[nodiscard]] std::string config_note(std::string_view subject, std::string_view settings);
/// "SUBJECT: removed"
[[nodiscard]] std::string removed_note(std::string_view subject);
/// "in force: NOTE"
[[nodiscard]] std::string repeated_note(std::string_view note);
/// Adds "SETTING VALUE" to the settings of a note.
void add_setting(std::string& settings, std::string_view setting, std::string_view value);

/// Such a text, read again. Its words are parts of the text, and live as long.
struct ConfigNote {
  std::string_view text;     ///< without "in force: "
  std::string_view subject;  ///< "group G"
  std::string_view settings;
  bool is_repeated = false;  ///< it was so before
  bool is_removed = false;
  bool is_nothing = false;    ///< "nothing is recorded"
  bool has_settings = false;  ///< neither of these

  /// The name of the subject if it is of that kind, kGroupSubject or kStaticSubject.
  [[nodiscard]] std::optional<std::string_view> name_of(std::string_view kind) const {
    if (!subject.starts_with(kind)) return std::nullopt;
    return subject.substr(kind.size());
  }
  /// Gives each "setting value" to `see`.
  void each_setting(auto&& see) const {
    for (std::string_view rest = settings; !rest.empty();) {
      const std::string_view one = rest.substr(0, rest.find(kBetween));
      rest.remove_prefix(std::min(rest.size(), one.size() + kBetween.size()));
      const std::size_t blank = one.find(' ');
      see(one.substr(0, blank),
          blank == std::string_view::npos ? std::string_view() : one.substr(blank + 1));
    }
  }

  /// nullopt: the text is about something else.
  [[nodiscard]] static std::optional<ConfigNote> parse(std::string_view text);

  static constexpr std::string_view kBetween = ", ";
};

}  // namespace lsn::control
