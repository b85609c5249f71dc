// The command language: the commands, their arguments, and how a line becomes one of them.
//
// A *grammar* is a table. Each entry has its words ("show lsn session"), positional parameters,
// options, and the function that begins to answer; parsing, help and, for a shell, completion read
// the same table, so a new command is a new entry. A *value syntax* says how a parameter is
// written: the text becomes a typed value before anything is done with it.
//
// The words of a command come first, in any case; its positional parameters and its options follow
// in any order. `--json` may stand anywhere. A line that is no command gives one line that names
// the fault, what was given and what is allowed; then nothing has been done.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "lsn/control/command/words.hpp"
#include "lsn/shared/domain.hpp"
#include "lsn/wire/ipv4_address.hpp"

namespace lsn::control {

class Answer;
struct Command;
struct CommandContext;

/// The form of an answer: a table for people, or one JSON document for programs.
enum class Format : std::uint8_t { kText, kJson };

using Value = std::variant<std::string, wire::Ipv4Address, std::uint32_t>;

/// How a value is written.
struct ValueSyntax {
  std::string_view placeholder;  ///< "A.B.C.D"
  std::string_view allowed;      ///< completes "..., allowed ..."
  std::optional<Value> (*parse)(std::string_view text);
};

/// A ValueSyntax of a few words, in any case: the one of them that the text is.
[[nodiscard]] std::optional<Value> one_of(std::initializer_list<std::string_view> words,
                                          std::string_view text);

extern const ValueSyntax kAnyText;       ///< std::string
extern const ValueSyntax kNameSyntax;    ///< std::string: an object's name
extern const ValueSyntax kAnyAddress;    ///< wire::Ipv4Address
extern const ValueSyntax kNetmask;       ///< wire::Ipv4Address: ones, then zeros
extern const ValueSyntax kPortNumber;    ///< std::uint32_t: 0-65535
extern const ValueSyntax kDomainNumber;  ///< std::uint32_t: 0-4094, a traffic domain

struct OptionSpec {
  std::string_view name;     ///< with its hyphen
  const ValueSyntax* value;  ///< nullptr: it takes none
  std::string_view does;
  std::string_view together_with = {};  ///< the option without which it means nothing
  bool value_may_miss = false;          ///< its value, a std::string, is empty then
};

enum class Occurs : std::uint8_t { kOnce, kAtMostOnce, kAnyTimes };

/// A positional parameter of that name is the words of another command.
inline constexpr std::string_view kCommandParameter = "COMMAND";

struct PositionalSpec {
  std::string_view name;  ///< as help calls it
  const ValueSyntax* value;
  Occurs occurs = Occurs::kOnce;
};

/// Begins to answer. Error: one line without "ERROR: "; nothing has been done.
using BeginAnswer = std::expected<std::unique_ptr<Answer>, std::string> (*)(
    const Command& command, const CommandContext& context);

struct CommandSpec {
  std::string_view words;  ///< "show lsn session", lower case
  std::string_view does;   ///< one line of help
  BeginAnswer begin;
  std::span<const OptionSpec> options = {};
  std::span<const PositionalSpec> positionals = {};
  /// It takes its words as they are (Command::words): options and positionals are for help only.
  bool takes_words = false;
  /// It changes something: refused to users who may only read.
  bool changes = false;
  /// But not with this option.
  std::string_view looks_with = {};
};

/// A line that has been understood.
struct Command {
  struct Argument {
    std::string_view name;  ///< of the OptionSpec or PositionalSpec
    Value value;
  };

  const CommandSpec* spec = nullptr;
  Format format = Format::kText;
  std::vector<Argument> arguments;
  std::vector<Word> words;  ///< of a command that takes them as they are
  std::string line;         ///< as it was typed
  std::string by;           ///< the user, for the log

  /// Whether it would change something.
  [[nodiscard]] bool is_change() const {
    return spec->changes && (spec->looks_with.empty() || !has(spec->looks_with));
  }
  /// Whether an argument was given.
  [[nodiscard]] bool has(std::string_view name) const {
    for (const Argument& argument : arguments)
      if (argument.name == name) return true;
    return false;
  }

  /// The argument's value, or nullptr. T is its syntax's type.
  template <class T>
  [[nodiscard]] const T* get(std::string_view name) const {
    for (const Argument& argument : arguments)
      if (argument.name == name) return std::get_if<T>(&argument.value);
    return nullptr;
  }
  /// -td, if it was given.
  [[nodiscard]] std::optional<shared::DomainId> td() const {
    const auto* const given = get<std::uint32_t>("-td");
    if (given == nullptr) return std::nullopt;
    return static_cast<shared::DomainId>(*given);
  }
};

/// Several commands in one request, carried out together: each changes an object.
struct Batch {
  bool atomic = false;            ///< all or nothing; else those before the first that is refused
  std::vector<Command> commands;  ///< up to the first that is none
  std::string error;              ///< why that is none
};

/// A candidate for the next word.
struct Candidate {
  std::string text;             ///< a keyword, an option, a value; or a placeholder for a value
  std::string does;             ///< a line of help, or empty
  bool is_placeholder = false;  ///< a description, not to be taken as it is
};

class Grammar {
 public:
  /// The objects that there are, for completion.
  struct Objects {
    /// The names of the objects of a kind ("lsn pool").
    std::function<std::vector<std::string>(std::string_view kind)> names;
    /// The values bound to one of them as that parameter ("lsnip").
    std::function<std::vector<std::string>(std::string_view kind, std::string_view name,
                                           std::string_view parameter)>
        bound;
  };

  /// The commands outlive it.
  constexpr explicit Grammar(std::span<const CommandSpec> commands) : commands_(commands) {}

  /// nullopt: an empty line, or a comment. Error: one line without "ERROR: ".
  [[nodiscard]] std::expected<std::optional<Command>, std::string> parse(
      std::string_view line) const;

  /// The candidates behind `text`; its last word may not be complete.
  [[nodiscard]] std::vector<Candidate> complete(std::string_view text,
                                                const Objects& objects) const;

  /// A request of several lines (protocol.hpp). A line that changes no object is none of it.
  [[nodiscard]] Batch parse_batch(std::string_view request) const;

  [[nodiscard]] std::span<const CommandSpec> commands() const { return commands_; }

 private:
  std::span<const CommandSpec> commands_;
};

/// "show lsn session [-clientname NAME] [-network A.B.C.D [-netmask M]]"
[[nodiscard]] std::string usage_of(const CommandSpec& command);

}  // namespace lsn::control
