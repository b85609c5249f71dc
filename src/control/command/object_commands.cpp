#include "lsn/control/command/object_commands.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <deque>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "lsn/control/command/field_text.hpp"
#include "lsn/control/command/static_answers.hpp"
#include "lsn/control/command/table.hpp"
#include "lsn/control/command/usage_answers.hpp"
#include "lsn/control/command/words.hpp"
#include "lsn/control/config/edit.hpp"
#include "lsn/control/config/vocabulary.hpp"

namespace lsn::control {
namespace {

using Begun = std::expected<std::unique_ptr<Answer>, std::string>;
using Json = nlohmann::ordered_json;

constexpr Verb kVerbs[] = {Verb::kAdd,  Verb::kSet,    Verb::kUnset,
                           Verb::kBind, Verb::kUnbind, Verb::kRemove};

// ── a line as an edit ───────────────────────────────────────────────────────────────────────────

/// "add lsn pool": the verb and the kind.
std::pair<Verb, const ObjectKind*> meaning_of(std::string_view words) {
  const std::size_t blank = words.find(' ');
  for (const Verb verb : kVerbs)
    if (to_word(verb) == words.substr(0, blank)) return {verb, find_kind(words.substr(blank + 1))};
  return {Verb::kAdd, nullptr};
}

bool is_binding(const ObjectKind& kind, std::string_view option) {
  const Parameter* const p = kind.find(option);
  return p != nullptr && p->is_binding;
}

}  // namespace

std::expected<Edit, std::string> edit_of(const Command& command) {
  const auto [verb, kind] = meaning_of(command.spec->words);
  constexpr std::size_t kMostWords = 256;
  if (command.words.size() > kMostWords)
    return std::unexpected(complaint(command.spec->words,
                                     fmt::format("{} words", command.words.size()),
                                     fmt::format("{} at most", kMostWords)));
  Edit edit;
  edit.verb = verb;
  edit.kind = kind->words;
  bool has_name = false;
  for (const Word& word : command.words) {
    if (word.is_option()) {
      const std::size_t hyphens = word.text.starts_with("--") ? 2 : 1;
      std::string name = word.text.substr(hyphens);
      const std::vector<std::string> meant = kind->options_meant(name, verb);
      if (meant.size() > 1)
        return std::unexpected(complaint(command.spec->words, fmt::format("\"-{}\"", name),
                                         fmt::format("one of -{}", fmt::join(meant, ", -"))));
      if (meant.size() == 1) name = meant.front();
      if (std::any_of(edit.options.begin(), edit.options.end(), [&](const Edit::Option& o) {
            return same_word(o.name, name) && !is_binding(*kind, name);
          }))
        return std::unexpected(
            complaint(fmt::format("{}: -{}", command.spec->words, name), "twice", "once"));
      edit.options.push_back({name, {}});
    } else if (!has_name) {
      edit.name = word.text;
      has_name = true;
    } else if (edit.options.empty()) {
      edit.operands.push_back(word.text);
    } else if (word.text != "=") {  // -srcIP = A-B
      edit.options.back().values.push_back(word.text);
    }
  }
  if (!has_name)
    return std::unexpected(complaint(fmt::format("{}: NAME", command.spec->words), "nothing",
                                     "the name of an object"));
  return edit;
}

namespace {

// ── answers of changes ──────────────────────────────────────────────────────────────────────────

class ChangeAnswer final : public Answer {
 public:
  /// `error`: of the line after the last of the change, which is not part of it.
  ChangeAnswer(RunningConfig::Change change, std::string error, Format format,
               const CommandContext& context)
      : lines_(change.edits.size()),
        atomic_(change.atomic),
        format_(format),
        error_(std::move(error)) {
    if (change.atomic && !error_.empty()) change.edits.clear();
    context.config.change(std::move(change), outcome_.ask());
  }

  Progress next(std::string& out) override {
    auto outcome = outcome_.take();
    if (!outcome) return Progress::kWaiting;
    const bool refused = !outcome->error.empty() || !error_.empty();
    if (!atomic_ || !refused)
      for (std::size_t i = 0; i < outcome->applied; ++i)
        say_done(out, outcome->remarks[i], *outcome);
    if (!refused) return Progress::kDone;
    std::string error = outcome->error.empty() ? error_ : outcome->error;
    if (atomic_) {
      // Of the lines up to here, which one: the others had been counted by their answers.
      const std::size_t line = outcome->error.empty() ? lines_ + 1 : outcome->applied + 1;
      error = line > lines_ && error_.empty()
                  ? fmt::format("all commands together: {}; nothing has changed", error)
                  : fmt::format("command {}: {}; nothing has changed", line, error);
    }
    errors_.push_back(std::move(error));
    return Progress::kFailed;
  }

 private:
  void say_done(std::string& out, const std::vector<std::string>& remarks,
                const RunningConfig::ChangeOutcome& outcome) const {
    if (format_ == Format::kJson) {
      Json json{{"result", "Done"}, {"ended", outcome.ended}};
      if (!remarks.empty()) json["warnings"] = remarks;
      out += json.dump() + '\n';
      return;
    }
    for (const std::string& remark : remarks) out += fmt::format("warning: {}\n", remark);
    out += "Done\n";
  }

  std::size_t lines_;
  bool atomic_;
  Format format_;
  std::string error_;
  Awaited<RunningConfig::ChangeOutcome> outcome_;
};

Begun begin_edit(const Command& command, const CommandContext& context) {
  auto edit = edit_of(command);
  if (!edit) return std::unexpected(std::move(edit.error()));
  RunningConfig::Change change;
  change.by = command.by;
  change.lines = {command.line};
  change.edits.push_back(std::move(*edit));
  return std::make_unique<ChangeAnswer>(std::move(change), "", command.format, context);
}

/// An access list counts from the moment when a client names it: there is nothing to apply.
Begun begin_apply_acls(const Command& command, const CommandContext&) {
  return std::make_unique<WholeAnswer>(
      command.format == Format::kText ? "Done\n" : "{\"result\":\"Done\",\"ended\":0}\n");
}

// ── show ────────────────────────────────────────────────────────────────────────────────────────

std::string joined(const std::vector<std::string>& values) {
  return fmt::format("{}", fmt::join(values, ", "));
}

/// One object, a parameter per line: the same as in the file, defaults included.
std::string text_of(const Model& model, const ObjectKind& kind, const std::string& name,
                    const std::optional<ObjectUsage>& usage) {
  std::string text = fmt::format("{} {}\n", kind.words, name);
  const std::vector<ParameterValue> values = values_of(model, kind, name);
  std::size_t width = 0;
  for (const ParameterValue& value : values) width = std::max(width, value.parameter->name.size());
  if (usage)
    for (const auto& [label, says] : usage->lines) width = std::max(width, label.size());
  for (const ParameterValue& value : values) {
    const Parameter& p = *value.parameter;
    const bool is_default = !p.is_many() && value.values[0] == p.value && !p.value.empty();
    text += fmt::format("  {:{}}  {}{}\n", p.name, width,
                        value.values.empty() ? "none" : joined(value.values),
                        is_default ? " (default)" : "");
  }
  const Users all(model, kind);
  const auto& users = all.of(name);
  if (!users.empty()) text += fmt::format("  {:{}}  {}\n", "used by", width, joined(users));
  if (usage)
    for (const auto& [label, says] : usage->lines)
      text += fmt::format("  {:{}}  {}\n", label, width, says);
  return text;
}

Json json_of(const std::string& name, const std::vector<ParameterValue>& values,
             const Users& users) {
  Json object{{"name", name}};
  for (const ParameterValue& value : values) {
    const Parameter& p = *value.parameter;
    const std::string& text = p.is_many() ? p.name : value.values[0];
    const bool is_number = !p.is_many() && !text.empty() && text.size() <= 18 &&
                           text.find_first_not_of("0123456789") == std::string::npos;
    if (p.is_many())
      object[p.name] = value.values;
    else if (is_number)
      object[p.name] = std::stoll(text);
    else
      object[p.name] = text;
  }
  object["used_by"] = users.of(name);
  return object;
}

/// All of a kind, an object per line: settings that differ from the defaults, and the bindings.
std::string table_of(const Model& model, const ObjectKind& kind) {
  std::vector<Table::Column> columns{{"name"}};
  for (const Parameter& p : kind.parameters) columns.push_back({p.name});
  Table table(std::move(columns));
  for_objects(model, kind, [&](const std::string& name, std::vector<ParameterValue> values) {
    std::vector<std::string> cells{name};
    for (const ParameterValue& value : values) {
      std::string cell = joined(value.values);
      constexpr std::size_t kWidest = 40;
      if (cell.size() > kWidest) cell = fmt::format("{} of them", value.values.size());
      cells.push_back(std::move(cell));
    }
    table.add(std::move(cells));
  });
  return table.print();
}

constexpr std::string_view kNameParameter = "NAME";

/// `usage`: nullptr if that kind has none, or the workers are not asked.
std::string shown(const ObjectKind& kind, const std::string* wanted, Format format,
                  const CommandContext& context, const shared::Usage* usage) {
  const Model& model = context.config.model();
  const auto by_name = usage == nullptr ? std::nullopt
                                        : std::optional<UsageByName>(std::in_place, *usage,
                                                                     context.config.generation());
  const auto use = [&](const std::string& name) {
    return by_name ? by_name->of(kind.words, name) : std::nullopt;
  };
  if (format == Format::kText)
    return wanted != nullptr ? text_of(model, kind, *wanted, use(*wanted)) : table_of(model, kind);
  Json list = Json::array();
  const Users users(model, kind);
  const auto add = [&](const std::string& name, const std::vector<ParameterValue>& values) {
    Json object = json_of(name, values, users);
    if (const auto used = use(name)) object["usage"] = used->json;
    list.push_back(std::move(object));
  };
  if (wanted != nullptr)
    add(*wanted, values_of(model, kind, *wanted));
  else
    for_objects(model, kind, add);
  return document(Json{{kind.setting, std::move(list)}});
}

/// Waits for the workers' counts.
class ShowWithUsage final : public Answer {
 public:
  ShowWithUsage(const ObjectKind& kind, const std::string* wanted, Format format,
                const CommandContext& context)
      : kind_(kind),
        wanted_(wanted == nullptr ? std::nullopt : std::optional(*wanted)),
        format_(format),
        context_(context),
        survey_(context) {}

  Progress next(std::string& out) override {
    const shared::Usage* const usage = survey_.take();
    if (usage == nullptr) return Progress::kWaiting;
    // A command may have removed it meanwhile.
    const std::vector<std::string> names = names_of(context_.config.model(), kind_);
    if (wanted_ && std::find(names.begin(), names.end(), *wanted_) == names.end()) {
      errors_.push_back(complaint(fmt::format("show {}", kind_.words),
                                  fmt::format("\"{}\"", *wanted_), "what has not been removed"));
      return Progress::kFailed;
    }
    out += shown(kind_, wanted_ ? &*wanted_ : nullptr, format_, context_, usage);
    return Progress::kDone;
  }

 private:
  const ObjectKind& kind_;
  std::optional<std::string> wanted_;
  Format format_;
  const CommandContext& context_;
  UsageSurvey survey_;
};

Begun begin_show_object(const Command& command, const CommandContext& context) {
  const ObjectKind& kind = *find_kind(command.spec->words.substr(std::string_view("show ").size()));
  const std::vector<std::string> names = names_of(context.config.model(), kind);
  const std::string* const wanted = command.get<std::string>(kNameParameter);
  if (wanted != nullptr && std::find(names.begin(), names.end(), *wanted) == names.end()) {
    constexpr std::size_t kMostCandidates = 2000;
    const std::vector<std::string_view> known(
        names.begin(),
        names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), kMostCandidates)));
    return std::unexpected(complaint_about_word(std::string(command.spec->words), *wanted, known,
                                                fmt::format("the name of a {}", kind.words)));
  }
  if (names.empty() && command.format == Format::kText)
    return std::make_unique<WholeAnswer>(
        fmt::format("no {} (add {} NAME ...)\n", kind.words, kind.words));
  if (kind.words == "lsn static")
    return list_of_statics(command.format, context,
                           {.name = wanted == nullptr ? std::nullopt : std::optional(*wanted)});
  // A table has no room for it: stat lsn pool, stat lsn group.
  const bool with_usage =
      has_usage(kind.words) && (wanted != nullptr || command.format == Format::kJson);
  if (with_usage) return std::make_unique<ShowWithUsage>(kind, wanted, command.format, context);
  return std::make_unique<WholeAnswer>(shown(kind, wanted, command.format, context, nullptr));
}

// ── the table ───────────────────────────────────────────────────────────────────────────────────

/// The data that the specs refer to: it stays in place.
class Made {
 public:
  std::vector<CommandSpec> specs;

  Made() {
    for (const ObjectKind& kind : object_kinds()) {
      for (const Verb verb : kVerbs) add(kind, verb);
      static constexpr PositionalSpec kName[] = {
          {kNameParameter, &kNameSyntax, Occurs::kAtMostOnce}};
      specs.push_back({text(fmt::format("show {}", kind.words)),
                       text(fmt::format("{}: {}", kind.does,
                                        kind.is_fixed ? "which, and whether they are in force"
                                                      : "parameters, bindings and who uses it")),
                       begin_show_object,
                       {},
                       kName});
    }
    specs.push_back(
        {"apply ns acls", "the same as apply acls", begin_apply_acls, {}, {}, false, true});
    specs.push_back({"apply acls",
                     "nothing: an access list counts as soon as a client names it",
                     begin_apply_acls,
                     {},
                     {},
                     false,
                     true});
  }

 private:
  void add(const ObjectKind& kind, Verb verb) {
    const bool binds = verb == Verb::kBind || verb == Verb::kUnbind;
    if (binds && !kind.has_bindings()) return;
    const bool sets = verb == Verb::kSet || verb == Verb::kUnset;
    if (sets && kind.is_fixed) return;
    if (sets && std::all_of(kind.parameters.begin(), kind.parameters.end(),
                            [](const Parameter& p) { return p.is_binding; }))
      return;
    std::vector<OptionSpec>& options = options_.emplace_back();
    std::vector<PositionalSpec>& positionals = positionals_.emplace_back();
    positionals.push_back({kNameParameter, &kNameSyntax});
    const std::string_view operand = verb == Verb::kAdd ? kind.operand : binds ? kind.bound : "";
    if (!operand.empty()) {
      const Parameter& p = *kind.find(operand);
      positionals.push_back({p.name, &syntax(p), binds ? Occurs::kAnyTimes : Occurs::kOnce});
    }
    if (verb == Verb::kAdd && !kind.optional_operand.empty()) {
      const Parameter& p = *kind.find(kind.optional_operand);
      positionals.push_back({p.name, &syntax(p), Occurs::kAtMostOnce});
    }
    if (verb == Verb::kAdd)
      for (std::size_t i = 0; i < kind.more_operands.size(); ++i) {
        const Parameter& p = *kind.find(kind.more_operands[i]);
        positionals.push_back(
            {p.name, &syntax(p), i < kind.required_more ? Occurs::kOnce : Occurs::kAtMostOnce});
      }
    for (const Parameter& p : kind.parameters) {
      if (verb == Verb::kRemove || p.name == operand) continue;
      if (verb == Verb::kAdd && kind.is_operand(p.name)) continue;
      // Bindings can be given with add as well, as far as they refer to others.
      if (verb == Verb::kAdd ? p.is_binding && kind.words != "ns acl" : p.is_binding != binds)
        continue;
      options.push_back(
          {text("-" + p.name), verb == Verb::kUnset ? nullptr : &syntax(p), text(about(p, verb))});
      if (binds && p.name == "network")
        options.push_back(
            {"-netmask", &kNetmask, "the network's mask, 255.255.255.255 without it", "-network"});
      if (binds && p.name == "network")
        options.push_back(
            {"-td", &kDomainNumber, "the network's traffic domain, 0 without it", "-network"});
      if (p.name == "destNetwork" && verb != Verb::kUnset)
        options.push_back({"-destNetmask", &kNetmask,
                           "the network's mask, 255.255.255.255 without it", "-destNetwork"});
    }
    specs.push_back({text(fmt::format("{} {}", to_word(verb), kind.words)), does(kind, verb),
                     begin_edit, options, positionals, true, true});
  }

  std::string_view does(const ObjectKind& kind, Verb verb) {
    switch (verb) {
      case Verb::kAdd:
        return text(fmt::format("a new one: {}", kind.does));
      case Verb::kSet:
        return "gives parameters other values";
      case Verb::kUnset:
        return "gives parameters their defaults";
      case Verb::kBind:
        return "adds to what it has";
      case Verb::kUnbind:
        return "takes from what it has";
      case Verb::kRemove:
        break;
    }
    return "removes it, if nothing uses it";
  }

  static std::string about(const Parameter& p, Verb verb) {
    if (verb == Verb::kUnset) return fmt::format("back to {}", p.value.empty() ? "none" : p.value);
    if (p.is_list) return fmt::format("{}; several with commas between", p.allowed);
    if (p.is_binding || p.value.empty()) return p.allowed;
    return fmt::format("{}; default {}", p.allowed, p.value);
  }

  const ValueSyntax& syntax(const Parameter& p) {
    return syntaxes_.emplace_back(ValueSyntax{text(placeholder(p)), p.allowed, kAnyText.parse});
  }

  static std::string placeholder(const Parameter& p) {
    if (!p.words.empty()) return fmt::format("{}", fmt::join(p.words, "|"));
    if (!p.refers.empty()) return "NAME";
    if (p.name == "lsnip" || p.name == "srcIP") return "A[-B]";
    if (p.name == "drain") return "A[-B],...";
    if (p.name == "reservedFor") return "PORT[-PORT],...";
    if (p.name == "lsnport" || p.name == "port") return "PORT[-PORT]";
    if (p.name == "destPort") return "PORT[-PORT]";
    if (p.name == "network" || p.name == "destNetwork" || p.name == "subscrIP" ||
        p.name == "natIP" || p.name == "destIP")
      return "A.B.C.D";
    if (p.name == "subscrPort" || p.name == "natPort") return "PORT";
    return "N";
  }

  std::string_view text(std::string value) { return texts_.emplace_back(std::move(value)); }

  std::deque<std::string> texts_;
  std::deque<ValueSyntax> syntaxes_;
  std::deque<std::vector<OptionSpec>> options_;
  std::deque<std::vector<PositionalSpec>> positionals_;
};

}  // namespace

const std::vector<CommandSpec>& object_commands() {
  static const Made kMade;
  return kMade.specs;
}

Grammar::Objects objects_of(const Model& model) {
  using Names = std::vector<std::string>;
  return {[&model](std::string_view kind) {
            const ObjectKind* const known = find_kind(kind);
            return known == nullptr ? Names{} : names_of(model, *known);
          },
          [&model](std::string_view kind, std::string_view name, std::string_view parameter) {
            const ObjectKind* const known = find_kind(kind);
            if (known == nullptr) return Names{};
            for (ParameterValue& value : values_of(model, *known, name))
              if (value.parameter->is_binding && same_word(value.parameter->name, parameter))
                return std::move(value.values);
            return Names{};
          }};
}

std::unique_ptr<Answer> begin_batch(Batch batch, const CommandContext& context) {
  RunningConfig::Change change;
  change.atomic = batch.atomic;
  Format format = Format::kText;
  for (const Command& command : batch.commands) {
    auto edit = edit_of(command);
    if (!edit) {
      batch.error = std::move(edit.error());
      break;
    }
    format = command.format;
    change.by = command.by;
    change.lines.push_back(command.line);
    change.edits.push_back(std::move(*edit));
  }
  return std::make_unique<ChangeAnswer>(std::move(change), std::move(batch.error), format, context);
}

}  // namespace lsn::control
