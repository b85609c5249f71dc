// The text of a configuration file with all that it includes, made ready for libconfig.
//
// libconfig 1.5 reads numbers with atoi(), which wraps silently; here every integer of the text is
// written again as a 64-bit one ("4294967296" becomes "4294967296L"; a number too large even for
// that becomes the largest), so that range checks see the number that was meant. `@include "NAME"`
// at the beginning of a line is replaced by that file's text, NAME relative to the file that
// includes it. Each line of the result remembers the file and line that it came from. Nesting, size
// and number of files are bounded here, so that libconfig's recursive parser never sees a text that
// could exhaust it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "lsn/control/config/problem.hpp"

namespace lsn::control {

struct SourceText {
  std::string text;
  std::vector<std::string> files;  ///< [0] is the one that was asked for
  std::vector<Place> lines;        ///< lines[n - 1]: where line n of the text came from

  [[nodiscard]] Place place_of_line(unsigned line) const {
    if (lines.empty()) return {};
    return lines[line == 0 ? 0 : std::min<std::size_t>(line, lines.size()) - 1];
  }
};

/// The file and its includes. An error is a single problem: something cannot be read, a string or
/// comment has no end, a bound is exceeded.
[[nodiscard]] std::expected<SourceText, Problem> read_source(const std::string& path);

/// The same of a text; `name` stands for the file in messages. `@include` is refused.
[[nodiscard]] std::expected<SourceText, Problem> read_source_text(std::string_view text,
                                                                  const std::string& name);

}  // namespace lsn::control
