// The --help text of a program: its options, as CLI11 prints them.
#pragma once

#include <string>
#include <vector>

namespace lsn::manual {

struct ProgramOption {
  std::vector<std::string> names;  ///< "-c", "--config"
  std::string value;               ///< "TEXT"; empty: none
  std::string initial;             ///< its value where it is not given; empty: none
  std::string needs;               ///< the option without which it means nothing
  std::string does;
};

struct ProgramHelp {
  std::string description;
  std::vector<ProgramOption> options;
};

/// Of the text. Throws std::runtime_error if there is no option in it.
[[nodiscard]] ProgramHelp read_help(const std::string& text);

}  // namespace lsn::manual
