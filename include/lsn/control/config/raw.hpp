// The content of the configuration file, before any check of whether it makes sense.
//
// *Raw* is the first of the three types of a configuration (raw, model, generation): a tree of
// values as they stand in the file, each with its place. It is the only thing that libconfig is
// used for; its types and exceptions stay in raw.cpp.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "lsn/control/config/problem.hpp"

namespace lsn::control {

struct RawValue {
  enum class Kind { kNumber, kReal, kText, kFlag, kArray, kList, kGroup };

  Kind kind = Kind::kGroup;
  std::string name;  ///< empty in arrays and lists
  Place place;
  std::int64_t number = 0;  ///< kNumber; kFlag: 0 or 1
  double real = 0;
  std::string text;
  std::vector<RawValue> children;  ///< of arrays, lists and groups

  [[nodiscard]] bool is_aggregate() const { return kind >= Kind::kArray; }
  /// The setting of a group, or nullptr.
  [[nodiscard]] const RawValue* find(std::string_view setting) const;
};

/// The value for a message: 5, "text", true, a group.
[[nodiscard]] std::string to_string(const RawValue& value);

struct RawConfig {
  std::vector<std::string> files;  ///< Place::file counts these
  RawValue root;
};

/// An error stops the reading: a file that cannot be read, or a syntax error with its line.
[[nodiscard]] std::expected<RawConfig, Problem> read_raw(const std::string& path);
[[nodiscard]] std::expected<RawConfig, Problem> read_raw_text(std::string_view text,
                                                              const std::string& name);

}  // namespace lsn::control
