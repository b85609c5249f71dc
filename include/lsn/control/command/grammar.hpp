// What may be typed: the commands, their options, and how a line becomes one of them.
//
// The table of commands is the grammar: each entry has its words, its options and one line of help.
// A line is cut into words (quotes keep blanks together), forgiving what published examples contain:
// any case of keywords, a dash of any width for the hyphen, blanks behind the hyphen of an option,
// surplus blanks. The words of a command come first, its options follow in any order, each with its
// value. A line that is no command gives one line that says what, what was given, what is allowed.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lsn::control {

enum class CommandId : std::uint8_t {
  kShowLsnSession,
  kFlushLsnSession,
  kStatLsn,
  kStatInterface,
  kStatWorker,
  kShowDrops,
  kShowRunningConfig,
  kReloadConfig,
  kHelp,
};

struct OptionSpec {
  std::string_view name;   ///< with its hyphen
  std::string_view value;  ///< what stands behind it, for help
};

struct CommandSpec {
  CommandId id;
  std::string_view words;  ///< "show lsn session"
  std::span<const OptionSpec> options;
  std::string_view does;
};

/// All commands, in the order of help.
[[nodiscard]] std::span<const CommandSpec> commands();

struct Command {
  CommandId id = CommandId::kHelp;

  struct Option {
    std::string_view name;  ///< as in the OptionSpec
    std::string value;
  };
  std::vector<Option> options;

  /// The option's value, or nullptr.
  [[nodiscard]] const std::string* option(std::string_view name) const;
};

/// A line's words. Error: a quote that is not closed.
[[nodiscard]] std::expected<std::vector<std::string>, std::string> split_words(
    std::string_view line);

/// The command that a line is. Error: one line without "ERROR: ".
[[nodiscard]] std::expected<Command, std::string> parse_command(std::string_view line);

}  // namespace lsn::control
