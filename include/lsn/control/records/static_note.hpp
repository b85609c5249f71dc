// What CONFIG records say of static mappings (config_note.hpp). A one-to-one mapping translates ESP
// and others without sessions, so nothing else tells whose its address was.
//
//   static S: transportprotocol ALL, subscrIP 192.0.2.7, subscrPort *, natIP 203.0.113.3,
//             natPort *, destIP 198.51.100.10, td 5
//
// Each segment begins with all of them, and with "statics: a record each". Of more than
// kMostStaticNotes it has one line alone, "statics: 1000000, too many for a record each".
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "lsn/control/config/model.hpp"
#include "lsn/control/records/config_note.hpp"

namespace lsn::control {

inline constexpr std::size_t kMostStaticNotes = 4096;

/// "static S"
[[nodiscard]] std::string static_subject(std::string_view name);
/// Of one whose NAT address and port are known; a mapping of the model in force is.
[[nodiscard]] std::string static_settings(const StaticConfig& mapping);

/// Of all of them (kAllStatics): "a record each", or that they are too many for it.
[[nodiscard]] std::string all_statics_settings(std::size_t count);
/// How many there are where they are too many, in words; empty: each has a note, or there are none.
[[nodiscard]] std::string_view too_many_statics(const ConfigNote& note);

/// The mapping that a note is about, with its name; nullopt: it is about something else, lacks
/// something, or says that there is none any more.
[[nodiscard]] std::optional<StaticConfig> static_of(const ConfigNote& note);

}  // namespace lsn::control
