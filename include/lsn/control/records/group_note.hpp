// What CONFIG records say of a group (config_note.hpp): what it records of which NAT addresses, and
// what its addresses follow from where they are computed.
//
//   group G: logging ENABLED, sessionLogging DISABLED, logSessDeletion ENABLED,
//            lsnip 203.0.113.3-203.0.113.9
//   group G: nattype DETERMINISTIC, allocPolicy PORTS, portblocksize 256,
//            network 192.0.2.0/24, lsnip 203.0.113.3-203.0.113.9
//
// A reader (find.hpp) gets the map of deterministic NAT back from the text.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lsn/control/config/model.hpp"
#include "lsn/control/records/config_note.hpp"
#include "lsn/shared/deterministic.hpp"
#include "lsn/wire/ipv4_address.hpp"

namespace lsn::control {

/// What a search needs to know of a group, "logging ENABLED, ..."; empty: nothing.
[[nodiscard]] std::string group_settings(const Model& model, const GroupConfig& group);

/// "group G"
[[nodiscard]] std::string group_subject(std::string_view name);

/// Such a text, read again. Its words are parts of the text, and live as long.
struct GroupNote : ConfigNote {
  std::string_view group;
  bool is_logging = false;
  bool has_sessions = false;  ///< sessionLogging, without which no SPI is recorded
  bool has_ends = true;       ///< logSessDeletion is not DISABLED
  bool is_deterministic = false;

  /// Empty: the text does not say.
  [[nodiscard]] std::vector<wire::Ipv4Range> nat_addresses() const;

  /// Of a deterministic group; nullopt: the text lacks what the addresses follow from.
  [[nodiscard]] std::optional<shared::DeterministicMap> map() const;

  /// nullopt: the note, or the text, is about something else.
  [[nodiscard]] static std::optional<GroupNote> of(const ConfigNote& note);
  [[nodiscard]] static std::optional<GroupNote> parse(std::string_view text);
};

}  // namespace lsn::control
