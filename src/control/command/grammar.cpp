#include "lsn/control/command/grammar.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "lsn/control/command/protocol.hpp"
#include "lsn/control/command/words.hpp"
#include "lsn/control/config/vocabulary.hpp"

namespace lsn::control {
namespace {

constexpr std::string_view kJsonOption = "--json";

/// The n-th word of "show lsn session", or nothing.
std::string_view keyword(const CommandSpec& command, std::size_t n) {
  std::string_view rest = command.words;
  for (; n != 0 && !rest.empty(); --n)
    rest.remove_prefix(std::min(rest.find(' '), rest.size() - 1) + 1);
  return rest.substr(0, std::min(rest.find(' '), rest.size()));
}

/// "a, b or c"
std::string one_of(const std::vector<std::string_view>& words) {
  std::string all;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i != 0) all += i + 1 == words.size() ? " or " : ", ";
    all += words[i];
  }
  return all;
}

using Commands = std::vector<const CommandSpec*>;

std::vector<std::string_view> keywords_at(const Commands& commands, std::size_t depth) {
  std::vector<std::string_view> words;
  for (const CommandSpec* command : commands)
    if (const std::string_view word = keyword(*command, depth);
        !word.empty() && std::find(words.begin(), words.end(), word) == words.end())
      words.push_back(word);
  return words;
}

Commands named(const Commands& commands, std::size_t depth, std::string_view word) {
  Commands narrowed;
  for (const CommandSpec* command : commands)
    if (same_word(keyword(*command, depth), word)) narrowed.push_back(command);
  return narrowed;
}

std::vector<std::string_view> beginning_with(const std::vector<std::string_view>& words,
                                             std::string_view text) {
  std::vector<std::string_view> found;
  for (const std::string_view word : words)
    if (begins_with(word, text)) found.push_back(word);
  return found;
}

/// Those that a word names, or the only keyword that begins with it; none otherwise.
Commands meant_by(const Commands& commands, std::size_t depth, std::string_view word) {
  Commands narrowed = named(commands, depth, word);
  if (narrowed.empty())
    if (const auto meant = beginning_with(keywords_at(commands, depth), word); meant.size() == 1)
      narrowed = named(commands, depth, meant.front());
  return narrowed;
}

/// The option that a word names, or those that begin with it.
std::vector<const OptionSpec*> options_meant(const CommandSpec& spec, std::string_view word) {
  std::vector<const OptionSpec*> meant;
  for (const OptionSpec& option : spec.options) {
    if (same_word(option.name, word)) return {&option};
    if (begins_with(option.name, word)) meant.push_back(&option);
  }
  return meant;
}

/// Goes through the words behind a command's own.
class ArgumentParser {
 public:
  ArgumentParser(const CommandSpec& spec, std::span<const Word> words)
      : spec_(spec), words_(words) {
    command_.spec = &spec;
  }

  std::expected<Command, std::string> parse() {
    while (!words_.empty()) {
      const Word word = next();
      auto taken = word.is_option() ? take_option(word.text) : take_positional(word.text);
      if (!taken) return std::unexpected(std::move(taken.error()));
    }
    if (positional_ < spec_.positionals.size() &&
        spec_.positionals[positional_].occurs == Occurs::kOnce)
      return std::unexpected(complaint(label(spec_.positionals[positional_].name), "nothing",
                                       spec_.positionals[positional_].value->allowed));
    for (const OptionSpec& option : spec_.options)
      if (given(option.name) && !option.together_with.empty() && !given(option.together_with))
        return std::unexpected(complaint(label(option.name),
                                         fmt::format("without {}", option.together_with),
                                         "together with it"));
    return std::move(command_);
  }

 private:
  using Taken = std::expected<void, std::string>;

  Word next() {
    const Word word = words_.front();
    words_ = words_.subspan(1);
    return word;
  }

  [[nodiscard]] std::string label(std::string_view parameter) const {
    return fmt::format("{}: {}", spec_.words, parameter);
  }

  [[nodiscard]] bool given(std::string_view name) const {
    return std::any_of(command_.arguments.begin(), command_.arguments.end(),
                       [name](const auto& argument) { return argument.name == name; });
  }

  Taken take_option(const std::string& name) {
    const std::vector<const OptionSpec*> meant = options_meant(spec_, name);
    if (meant.size() != 1) {
      std::vector<std::string_view> names;
      for (const OptionSpec* option : meant) names.push_back(option->name);
      if (!meant.empty())
        return std::unexpected(complaint(std::string(spec_.words), fmt::format("\"{}\"", name),
                                         fmt::format("one of {}", one_of(names))));
      for (const OptionSpec& option : spec_.options) names.push_back(option.name);
      return std::unexpected(complaint_about_word(std::string(spec_.words), name, names,
                                                  names.empty() ? "no options" : one_of(names)));
    }
    const OptionSpec& option = *meant.front();
    if (given(option.name)) return std::unexpected(complaint(label(option.name), "twice", "once"));
    if (option.value == nullptr || (option.value_may_miss && !value_follows(option))) {
      command_.arguments.push_back({option.name, std::string()});
      return {};
    }
    if (words_.empty() || words_.front().is_option())
      return std::unexpected(complaint(label(option.name), "no value", option.value->allowed));
    return take_value(option.name, *option.value, next().text);
  }

  /// Whether the next word is the value of an option that may have none: where it can be nothing
  /// else, a word that is no value is a wrong one.
  [[nodiscard]] bool value_follows(const OptionSpec& option) const {
    if (words_.empty() || words_.front().is_option()) return false;
    return positional_ == spec_.positionals.size() || option.value->parse(words_.front().text);
  }

  Taken take_positional(const std::string& text) {
    if (positional_ == spec_.positionals.size()) {
      std::vector<std::string_view> names;
      for (const OptionSpec& option : spec_.options) names.push_back(option.name);
      return std::unexpected(complaint_about_word(std::string(spec_.words), text, names,
                                                  names.empty() ? "nothing more" : one_of(names)));
    }
    const PositionalSpec& positional = spec_.positionals[positional_];
    if (positional.occurs != Occurs::kAnyTimes) ++positional_;
    return take_value(positional.name, *positional.value, text);
  }

  Taken take_value(std::string_view name, const ValueSyntax& syntax, std::string_view text) {
    auto value = syntax.parse(text);
    if (!value) return std::unexpected(complaint_about_word(label(name), text, {}, syntax.allowed));
    command_.arguments.push_back({name, std::move(*value)});
    return {};
  }

  const CommandSpec& spec_;
  std::span<const Word> words_;
  Command command_;
  std::size_t positional_ = 0;
};

}  // namespace

std::optional<Value> one_of(std::initializer_list<std::string_view> words, std::string_view text) {
  for (const std::string_view word : words)
    if (same_word(word, text)) return std::string(word);
  return std::nullopt;
}

const ValueSyntax kAnyText{"TEXT", "text", [](std::string_view text) -> std::optional<Value> {
                             return std::string(text);
                           }};

const ValueSyntax kNameSyntax{
    "NAME",
    "a name: 1-127 letters, digits, blanks and _ # . : @ = -, the first a "
    "letter, a digit or _",
    [](std::string_view text) -> std::optional<Value> {
      if (check_name(text, kMaxName)) return std::nullopt;
      return std::string(text);
    }};

const ValueSyntax kAnyAddress{
    "A.B.C.D", "an address A.B.C.D",
    [](std::string_view text) -> std::optional<Value> { return wire::parse_ipv4(text); }};

const ValueSyntax kNetmask{"A.B.C.D", "a netmask such as 255.255.255.0",
                           [](std::string_view text) -> std::optional<Value> {
                             const auto mask = wire::parse_ipv4(text);
                             if (!mask || !wire::length_of_netmask(*mask)) return std::nullopt;
                             return *mask;
                           }};

const ValueSyntax kPortNumber{"PORT", "0-65535", [](std::string_view text) -> std::optional<Value> {
                                return parse_number(text, 65535);
                              }};

const ValueSyntax kDomainNumber{"N", "0-4094", [](std::string_view text) -> std::optional<Value> {
                                  return parse_number(text, shared::kLastDomain);
                                }};

std::expected<std::optional<Command>, std::string> Grammar::parse(std::string_view line) const {
  auto split = split_words(line);
  if (!split) return std::unexpected(std::move(split.error()));
  std::vector<Word> words = std::move(*split);
  const auto json = std::remove_if(words.begin(), words.end(), [](const Word& word) {
    return !word.quoted && same_word(word.text, kJsonOption);
  });
  const Format format = json == words.end() ? Format::kText : Format::kJson;
  words.erase(json, words.end());
  if (words.empty()) {
    if (format == Format::kJson) return std::unexpected(complaint("command", "none", "help"));
    return std::optional<Command>();
  }

  Commands candidates;
  for (const CommandSpec& command : commands_) candidates.push_back(&command);
  std::string path;
  for (std::size_t depth = 0;; ++depth) {
    if (depth < words.size() && !words[depth].is_option()) {
      // The beginning of a single one stands for it.
      Commands narrowed = meant_by(candidates, depth, words[depth].text);
      if (narrowed.empty()) {
        const auto meant = beginning_with(keywords_at(candidates, depth), words[depth].text);
        if (!meant.empty())
          return std::unexpected(complaint(path.empty() ? "command" : path,
                                           fmt::format("\"{}\"", words[depth].text),
                                           fmt::format("one of {}", one_of(meant))));
      }
      if (!narrowed.empty()) {
        candidates = std::move(narrowed);
        if (depth != 0) path += ' ';
        path += keyword(*candidates.front(), depth);
        continue;
      }
    }
    const auto complete = std::find_if(candidates.begin(), candidates.end(), [&](auto* command) {
      return keyword(*command, depth).empty();
    });
    if (complete != candidates.end() && (*complete)->takes_words) {
      Command command;
      command.spec = *complete;
      command.format = format;
      command.words.assign(words.begin() + static_cast<std::ptrdiff_t>(depth), words.end());
      command.line = line;
      return command;
    }
    if (complete != candidates.end()) {
      auto command = ArgumentParser(**complete, std::span(words).subspan(depth)).parse();
      if (!command) return std::unexpected(std::move(command.error()));
      command->format = format;
      command->line = line;
      return std::move(*command);
    }
    const auto allowed = keywords_at(candidates, depth);
    const std::string what = path.empty() ? "command" : path;
    return std::unexpected(depth == words.size() ? complaint(what, "nothing more", one_of(allowed))
                                                 : complaint_about_word(what, words[depth].text,
                                                                        allowed, one_of(allowed)));
  }
}

Batch Grammar::parse_batch(std::string_view request) const {
  Batch batch;
  while (request.starts_with(kBatchMark)) {
    request.remove_prefix(1);
    const std::string_view line = request.substr(0, request.find(kBatchMark));
    request.remove_prefix(line.size());
    if (line == kBatchAtomic || line == kBatchOrdered) {
      batch.atomic = line == kBatchAtomic;
      continue;
    }
    if (line.size() > kLongestRequest) {
      batch.error = complaint("command", fmt::format("{} bytes", line.size()),
                              fmt::format("{} at most", kLongestRequest));
      break;
    }
    auto command = parse(line);
    if (!command) {
      batch.error = std::move(command.error());
    } else if (!*command) {
      continue;
    } else if (!(*command)->spec->takes_words) {
      batch.error = complaint("several commands in one", line, "commands that change objects");
    } else {
      batch.commands.push_back(std::move(**command));
    }
    if (!batch.error.empty()) break;
  }
  return batch;
}

namespace {

void offer(std::vector<Candidate>& all, std::string_view begun, std::string_view text,
           std::string_view does, bool is_value = false) {
  constexpr std::size_t kMost = 500;  // enough for a reader
  if (all.size() >= kMost || !begins_with(text, begun)) return;
  const bool is_known =
      std::any_of(all.begin(), all.end(), [text](const Candidate& c) { return c.text == text; });
  if (!is_known) all.push_back({std::string(text), std::string(does), is_value});
}

/// The candidates for a parameter's value: its words, or its description.
void offer_values(std::vector<Candidate>& all, std::string_view begun, const ValueSyntax& value,
                  const Grammar::Objects& objects) {
  const auto offer_each = [&](std::string_view words, std::string_view between) {
    while (!words.empty()) {
      const std::string_view word = words.substr(0, words.find(between));
      offer(all, begun, word, "");
      words.remove_prefix(std::min(words.size(), word.size() + between.size()));
    }
  };
  if (value.placeholder.find('|') != std::string_view::npos)
    return offer_each(value.placeholder, "|");
  constexpr std::string_view kOneOf = "one of ";
  if (value.allowed.starts_with(kOneOf))
    return offer_each(value.allowed.substr(kOneOf.size()), ", ");
  constexpr std::string_view kNameOf = "the name of an existing ";
  if (value.allowed.starts_with(kNameOf))
    for (const std::string& name : objects.names(value.allowed.substr(kNameOf.size())))
      offer(all, begun, name, "");
  if (all.empty())
    all.push_back({std::string(value.placeholder), std::string(value.allowed), true});
}

/// The words of a line, and the typed beginning of its last word: the word may go on, unless a
/// blank follows it.
struct TypedLine {
  std::vector<Word> words;
  std::string last;
};
std::optional<TypedLine> begun_line(std::string_view text) {
  auto split = split_words(text);
  if (!split) return std::nullopt;
  TypedLine line{std::move(*split), {}};
  if (!text.empty() && text.back() != ' ' && text.back() != '\t' && !line.words.empty()) {
    line.last = line.words.back().text;
    line.words.pop_back();
  }
  return line;
}

/// Offers the candidates behind the keywords of one command: its positional parameters, options and
/// their values.
class Continuation {
 public:
  Continuation(const CommandSpec& spec, const TypedLine& line, std::size_t depth,
               const Grammar::Objects& objects)
      : spec_(spec), begun_(line.last), objects_(objects) {
    const std::size_t blank = spec.words.find(' ');
    if (blank != std::string_view::npos) kind_ = spec.words.substr(blank + 1);
    for (std::size_t i = depth; i < line.words.size(); ++i) read(line.words[i]);
  }

  [[nodiscard]] std::vector<Candidate> offers() const {
    std::vector<Candidate> all;
    if (open_ != nullptr) {
      offer_what_fits(all, open_->name.substr(1), *open_->value);
      if (!open_->value_may_miss) return all;
    }
    if (!spec_.positionals.empty() && !begun_.starts_with('-')) offer_positional(all);
    const bool needs_positional = positional_ < spec_.positionals.size() &&
                                  spec_.positionals[positional_].occurs == Occurs::kOnce;
    if (!needs_positional)
      for (const OptionSpec& option : spec_.options)
        if (std::find(given_.begin(), given_.end(), option.name) == given_.end())
          offer(all, begun_, option.name, option.does);
    return all;
  }

 private:
  void read(const Word& word) {
    if (!word.is_option()) {
      const bool is_value =
          open_ != nullptr && (!open_->value_may_miss || open_->value->parse(word.text));
      if (!is_value && positional_++ == 0) object_ = word.text;
      open_ = nullptr;
      return;
    }
    open_ = nullptr;
    const auto meant = options_meant(spec_, word.text);
    if (meant.size() != 1) return;
    given_.push_back(meant.front()->name);
    if (meant.front()->value != nullptr) open_ = meant.front();
  }

  /// The candidates for a value: of an object that has it, the object's own values.
  void offer_what_fits(std::vector<Candidate>& out, std::string_view parameter,
                       const ValueSyntax& value) const {
    if (spec_.words.starts_with("unbind "))
      for (const std::string& bound : objects_.bound(kind_, object_, parameter))
        offer(out, begun_, bound, "");
    if (out.empty()) offer_values(out, begun_, value, objects_);
  }

  void offer_positional(std::vector<Candidate>& all) const {
    const PositionalSpec& last = spec_.positionals.back();
    const PositionalSpec* const next = positional_ < spec_.positionals.size()
                                           ? &spec_.positionals[positional_]
                                       : last.occurs == Occurs::kAnyTimes ? &last
                                                                          : nullptr;
    if (next == nullptr) return;
    std::vector<Candidate> values;
    if (next->name == "NAME" && !spec_.words.starts_with("add ") && !kind_.empty())
      for (const std::string& name : objects_.names(kind_)) offer(values, begun_, name, "");
    if (next->name == "PROFILE")
      for (const std::string& name : objects_.names("ipsecalg profile"))
        offer(values, begun_, name, "");
    if (values.empty()) offer_what_fits(values, next->name, *next->value);
    for (Candidate& value : values) all.push_back(std::move(value));
  }

  const CommandSpec& spec_;
  const std::string& begun_;
  const Grammar::Objects& objects_;
  std::string_view kind_;  ///< of the object that the command is about
  std::string object_;     ///< a new one has a new name
  std::size_t positional_ = 0;
  const OptionSpec* open_ = nullptr;  ///< it lacks its value
  std::vector<std::string_view> given_;
};

}  // namespace

std::vector<Candidate> Grammar::complete(std::string_view text, const Objects& objects) const {
  std::vector<Candidate> all;
  const auto line = begun_line(text);
  if (!line) return all;
  const std::vector<Word>& words = line->words;
  Commands candidates;
  for (const CommandSpec& command : commands_) candidates.push_back(&command);
  std::size_t depth = 0;
  for (; depth < words.size() && !words[depth].is_option(); ++depth) {
    Commands narrowed = meant_by(candidates, depth, words[depth].text);
    if (narrowed.empty()) break;
    candidates = std::move(narrowed);
  }
  const CommandSpec* spec = nullptr;
  for (const CommandSpec* command : candidates)
    if (keyword(*command, depth).empty()) spec = command;
  if (depth == words.size())
    for (const std::string_view word : keywords_at(candidates, depth)) {
      const Commands here = named(candidates, depth, word);
      const bool is_one = here.size() == 1 && keyword(*here.front(), depth + 1).empty();
      offer(all, line->last, word, is_one ? here.front()->does : "");
    }
  if (spec == nullptr) return all;
  if (!spec->positionals.empty() && spec->positionals.back().name == kCommandParameter) {
    Commands meant;
    for (const CommandSpec& command : commands_) meant.push_back(&command);
    std::size_t at = 0;
    for (std::size_t i = depth; i < words.size(); ++i) {
      if (words[i].is_option()) continue;
      meant = meant_by(meant, at++, words[i].text);
    }
    for (const std::string_view word : keywords_at(meant, at)) offer(all, line->last, word, "");
    return all;
  }
  for (Candidate& candidate : Continuation(*spec, *line, depth, objects).offers())
    all.push_back(std::move(candidate));
  return all;
}

std::string usage_of(const CommandSpec& command) {
  std::string usage(command.words);
  for (const PositionalSpec& positional : command.positionals) switch (positional.occurs) {
      case Occurs::kOnce:
        usage += fmt::format(" {}", positional.name);
        break;
      case Occurs::kAtMostOnce:
        usage += fmt::format(" [{}]", positional.name);
        break;
      case Occurs::kAnyTimes:
        usage += fmt::format(" [{} ...]", positional.name);
        break;
    }
  const auto add = [&usage](const OptionSpec& option, std::string_view inner) {
    if (option.value == nullptr)
      usage += fmt::format(" [{}{}]", option.name, inner);
    else if (option.value_may_miss)
      usage += fmt::format(" [{} [{}]{}]", option.name, option.value->placeholder, inner);
    else
      usage += fmt::format(" [{} {}{}]", option.name, option.value->placeholder, inner);
  };
  for (const OptionSpec& option : command.options) {
    if (!option.together_with.empty()) continue;
    std::string inner;
    for (const OptionSpec& other : command.options)
      if (other.together_with == option.name)
        inner += fmt::format(" [{} {}]", other.name, other.value->placeholder);
    add(option, inner);
  }
  return usage;
}

}  // namespace lsn::control
