// What CONFIG records say of a group: what it records, and what its addresses follow from where
// they are computed.
//
//   group G: logging ENABLED, sessionLogging DISABLED, logSessDeletion ENABLED
//   group G: nattype DETERMINISTIC, allocPolicy PORTS, portblocksize 256,
//            network 192.0.2.0/24, lsnip 203.0.113.3-203.0.113.9
//   group G: removed
//   in force: group G: logging ENABLED, ...
//
// The log thread writes one when it changes. `in force` repeats it: a file sink at the beginning of
// each segment, so that a segment is of use without those before it, and the log thread for a sink
// that a reload adds. A reader (find.hpp) gets the map of deterministic NAT back from the text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lsn/control/config/model.hpp"
#include "lsn/shared/deterministic.hpp"

namespace lsn::control {

/// What a search needs to know of a group, "logging ENABLED, ..."; empty: nothing.
[[nodiscard]] std::string group_settings(const Model& model, const GroupConfig& group);

/// "group G: logging ENABLED, ..."; without settings "group G: nothing is recorded".
[[nodiscard]] std::string group_note(std::string_view name, std::string_view settings);
/// "group G: removed"
[[nodiscard]] std::string removed_note(std::string_view name);
/// "in force: group G: ..."
[[nodiscard]] std::string repeated_note(std::string_view note);

/// Such a text, read again. Its words are parts of the text, and live as long.
struct GroupNote {
  std::string_view text;  ///< without "in force: "
  std::string_view group;
  std::string_view settings;
  bool is_repeated = false;   ///< it was so before
  bool has_settings = false;  ///< not removed, and not without anything to say
  bool has_ends = true;       ///< logSessDeletion is not DISABLED
  bool is_deterministic = false;

  /// Of a deterministic group; nullopt: the text lacks what the addresses follow from.
  [[nodiscard]] std::optional<shared::DeterministicMap> map() const;

  /// nullopt: the text is about something else.
  [[nodiscard]] static std::optional<GroupNote> parse(std::string_view text);
};

}  // namespace lsn::control
