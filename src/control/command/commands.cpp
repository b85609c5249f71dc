#include "lsn/control/command/commands.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "lsn/control/command/alg_answers.hpp"
#include "lsn/control/command/alg_report.hpp"
#include "lsn/control/command/answer.hpp"
#include "lsn/control/command/capture_answers.hpp"
#include "lsn/control/command/changes.hpp"
#include "lsn/control/command/deterministic.hpp"
#include "lsn/control/command/dry_run.hpp"
#include "lsn/control/command/explain.hpp"
#include "lsn/control/command/field_text.hpp"
#include "lsn/control/command/object_commands.hpp"
#include "lsn/control/command/records_answers.hpp"
#include "lsn/control/command/report.hpp"
#include "lsn/control/command/route_answers.hpp"
#include "lsn/control/command/router_answers.hpp"
#include "lsn/control/command/session_answers.hpp"
#include "lsn/control/command/subscriber_answers.hpp"
#include "lsn/control/command/table.hpp"
#include "lsn/control/command/usage_answers.hpp"
#include "lsn/control/command/words.hpp"
#include "lsn/control/config/edit.hpp"
#include "lsn/control/config/load.hpp"
#include "lsn/control/config/render.hpp"
#include "lsn/control/config/vocabulary.hpp"

namespace lsn::control {
namespace {

using Begun = std::expected<std::unique_ptr<Answer>, std::string>;
using Json = nlohmann::ordered_json;

Begun whole(std::string text) {
  return std::make_unique<WholeAnswer>(std::move(text));
}

/// `stat` and `show` commands whose answer is one text.
template <std::string (*report)(Format, const CommandContext&)>
Begun begin_report(const Command& command, const CommandContext& context) {
  return whole(report(command.format, context));
}

Begun begin_show_running_config(const Command& command, const CommandContext& context) {
  std::string text = render_config(context.config.model());
  if (command.format == Format::kText) return whole(std::move(text));
  return whole(document(Json{{"config", std::move(text)}}));
}

class ReloadAnswer final : public Answer {
 public:
  ReloadAnswer(Format format, const CommandContext& context) : format_(format) {
    context.config.reload(outcome_.ask());
  }

  Progress next(std::string& out) override {
    auto outcome = outcome_.take();
    if (!outcome) return Progress::kWaiting;
    if (!outcome->problems.empty()) {
      errors_ = std::move(outcome->problems);
      return Progress::kFailed;
    }
    out += format_ == Format::kText
               ? fmt::format("{} session{} ended\nDone\n", outcome->ended,
                             outcome->ended == 1 ? "" : "s")
               : fmt::format("{{\"result\":\"Done\",\"generation\":{},\"ended\":{}}}\n",
                             outcome->generation, outcome->ended);
    return Progress::kDone;
  }

 private:
  Format format_;
  Awaited<RunningConfig::Outcome> outcome_;
};

constexpr std::string_view kDryRun = "-dryRun";

Begun begin_reload_config(const Command& command, const CommandContext& context) {
  if (command.has(kDryRun)) return begin_dry_run(command, context);
  return std::make_unique<ReloadAnswer>(command.format, context);
}

/// The commands that would turn the file's configuration into the one in force.
Begun begin_show_changes(const Command& command, const CommandContext& context) {
  auto file = load_config(context.config.path());
  if (!file) {
    const std::vector<Problem>& problems = file.error();
    return std::unexpected(fmt::format("{}: it cannot be compared with what is in force: {}",
                                       context.config.path(), to_string(problems.front())));
  }
  const Changes changes = changes_between(*file, context.config.model(), "in the file");
  if (command.format == Format::kJson)
    return whole(document(Json{{"changes", changes.commands}, {"others", changes.others}}));
  std::string text;
  for (const std::string& line : changes.commands) text += line + '\n';
  for (const std::string& other : changes.others) text += "# " + other + '\n';
  if (text.empty())
    text = fmt::format("no changes: what is in force is {}\n", context.config.path());
  return whole(std::move(text));
}

class SaveAnswer final : public Answer {
 public:
  SaveAnswer(Format format, const Command& command, const CommandContext& context)
      : format_(format), saved_(context.config.save(command.by)) {}

  Progress next(std::string& out) override {
    if (saved_.wait_for(std::chrono::seconds{0}) != std::future_status::ready)
      return Progress::kWaiting;
    SaveOutcome outcome = saved_.get();
    if (!outcome.error.empty()) {
      errors_.push_back(std::move(outcome.error));
      return Progress::kFailed;
    }
    if (format_ == Format::kJson) {
      Json json{{"result", "Done"}, {"file", outcome.file}};
      if (!outcome.backup.empty()) json["backup"] = outcome.backup;
      if (!outcome.warning.empty()) json["warnings"] = {outcome.warning};
      out += document(json);
    } else {
      if (!outcome.warning.empty()) out += fmt::format("warning: {}\n", outcome.warning);
      out += "Done\n";
    }
    return Progress::kDone;
  }

 private:
  Format format_;
  std::future<SaveOutcome> saved_;
};

Begun begin_save_config(const Command& command, const CommandContext& context) {
  return std::make_unique<SaveAnswer>(command.format, command, context);
}

Begun begin_clear_counters(const Command& command, const CommandContext& context) {
  context.cleared.clear(context.dataplane, command.by, std::chrono::system_clock::now());
  return whole(command.format == Format::kText ? "Done\n" : document(Json{{"result", "Done"}}));
}

constexpr std::string_view kTextParameter = "TEXT";

/// For a shell: the words that may follow.
Begun begin_complete(const Command& command, const CommandContext& context) {
  const std::string* const text = command.get<std::string>(kTextParameter);
  const auto found =
      lsn_commands().complete(text == nullptr ? "" : *text, objects_of(context.config.model()));
  if (command.format == Format::kJson) {
    Json list = Json::array();
    for (const Candidate& c : found)
      list.push_back({{"text", c.text}, {"does", c.does}, {"placeholder", c.is_placeholder}});
    return whole(document(Json{{"candidates", std::move(list)}}));
  }
  std::string lines;
  for (const Candidate& c : found) lines += c.text + '\n';
  return whole(std::move(lines));
}

/// The commands that begin with the words of `help COMMAND ...`.
std::vector<const CommandSpec*> asked_for(const Command& command) {
  struct Asked {
    const CommandSpec* spec;
    std::string_view rest;  ///< of its words
  };
  std::vector<Asked> found;
  for (const CommandSpec& spec : lsn_commands().commands()) found.push_back({&spec, spec.words});
  for (const Command::Argument& argument : command.arguments) {
    const std::string& typed = std::get<std::string>(argument.value);
    const auto word_of = [](const Asked& one) { return one.rest.substr(0, one.rest.find(' ')); };
    const auto keep = [&](auto&& matches) {
      std::vector<Asked> kept;
      for (Asked one : found) {
        const std::string_view word = word_of(one);
        if (word.empty() || !matches(word)) continue;
        one.rest.remove_prefix(std::min(word.size() + 1, one.rest.size()));
        kept.push_back(one);
      }
      return kept;
    };
    // The whole word; if there is none, its beginning.
    auto kept = keep([&](std::string_view word) { return same_word(word, typed); });
    if (kept.empty()) kept = keep([&](std::string_view word) { return begins_with(word, typed); });
    found = std::move(kept);
  }
  std::vector<const CommandSpec*> specs;
  for (const Asked& one : found) specs.push_back(one.spec);
  return specs;
}

std::string usage_text(const CommandSpec& spec) {
  std::string text = fmt::format("{}\n    {}\n", usage_of(spec), spec.does);
  if (spec.options.empty()) return text;
  Table table({{"option"}, {"value"}, {"does"}});
  for (const OptionSpec& option : spec.options)
    table.add({std::string(option.name),
               option.value == nullptr ? "" : std::string(option.value->allowed),
               std::string(option.does)});
  return text + '\n' + table.print();
}

/// The arguments of one command; of several, the purpose of each. `asked`: the command with exactly
/// the given words, if others begin with them.
std::string help_text(const std::vector<const CommandSpec*>& commands, const CommandSpec* asked) {
  if (commands.size() > 1) {
    Table table({{"command"}, {"does"}});
    const bool all = commands.size() == lsn_commands().commands().size();
    for (const CommandSpec* spec : commands)
      if (!all || !spec->takes_words)
        table.add({std::string(spec->words), std::string(spec->does)});
    // The verbs that all objects have.
    if (all)
      for (const ObjectKind& kind : object_kinds()) {
        std::string verbs;
        for (const CommandSpec* spec : commands) {
          const std::size_t blank = spec->words.find(' ');
          if (!spec->takes_words || spec->words.substr(blank + 1) != kind.words) continue;
          verbs += (verbs.empty() ? "" : "|") + std::string(spec->words.substr(0, blank));
        }
        table.add({fmt::format("{} {}", verbs, kind.words), std::string(kind.does)});
      }
    return (asked == nullptr ? "" : usage_text(*asked) + '\n') + table.print() +
           "\nhelp COMMAND says what it takes; --json gives one JSON document instead of tables.\n";
  }
  return usage_text(*commands.front());
}

std::string help_json(const std::vector<const CommandSpec*>& commands) {
  Json list = Json::array();
  for (const CommandSpec* spec : commands) {
    Json options = Json::array();
    for (const OptionSpec& option : spec->options)
      options.push_back({{"name", option.name},
                         {"value", option.value == nullptr ? "" : option.value->placeholder},
                         {"allowed", option.value == nullptr ? "" : option.value->allowed},
                         {"does", option.does}});
    list.push_back({{"command", spec->words},
                    {"usage", usage_of(*spec)},
                    {"does", spec->does},
                    {"options", std::move(options)}});
  }
  return document(Json{{"commands", std::move(list)}});
}

Begun begin_help(const Command& command, const CommandContext&) {
  const auto commands = asked_for(command);
  if (commands.empty()) {
    std::string given;
    for (const Command::Argument& argument : command.arguments)
      given += (given.empty() ? "" : " ") + std::get<std::string>(argument.value);
    std::vector<std::string_view> known;
    for (const CommandSpec& spec : lsn_commands().commands()) known.push_back(spec.words);
    return std::unexpected(complaint_about_word("help", given, known, "a command that help lists"));
  }
  if (command.format == Format::kJson) return whole(help_json(commands));
  const auto asked = std::ranges::find_if(commands, [&](const CommandSpec* spec) {
    return static_cast<std::size_t>(std::ranges::count(spec->words, ' ')) + 1 ==
           command.arguments.size();
  });
  return whole(help_text(commands, asked == commands.end() ? nullptr : *asked));
}

}  // namespace

namespace {

/// lsnctl's own (app/lsnctl/repeat.cpp): other clients that send them get the answer once.
const ValueSyntax kRepetitions{"N", "1-1000000", [](std::string_view text) -> std::optional<Value> {
                                 const auto n = parse_number(text, 1'000'000);
                                 if (!n || *n == 0) return std::nullopt;
                                 return static_cast<std::uint32_t>(*n);
                               }};

std::span<const OptionSpec> stat_options() {
  static const std::array<OptionSpec, 2> kOptions{
      {{"-ntimes", &kRepetitions,
        "the table, then so many times less one what has moved, with rates"},
       {"-interval", &kRepetitions, "seconds between them, 1 without it", "-ntimes"}}};
  return kOptions;
}

}  // namespace

const Grammar& lsn_commands() {
  static const std::array<PositionalSpec, 1> kHelpParameters{
      {{kCommandParameter, &kAnyText, Occurs::kAnyTimes}}};
  static const std::array<PositionalSpec, 1> kCompleteParameters{
      {{kTextParameter, &kAnyText, Occurs::kAtMostOnce}}};
  static const std::array<PositionalSpec, 1> kStatIpsecalgParameters{
      {{kProfileParameter, &kNameSyntax, Occurs::kAtMostOnce}}};
  static const std::array<OptionSpec, 1> kReloadOptions{
      {{kDryRun, nullptr, "only says what it would change, and whose sessions it would end"}}};
  static const std::vector<CommandSpec> kCommands = [] {
    std::vector<CommandSpec> commands{
        {"show lsn session", "sessions, one per line", begin_show_lsn_session,
         session_show_options()},
        {"flush lsn session",
         "ends sessions",
         begin_flush_lsn_session,
         session_filter_options(),
         {},
         false,
         true},
        {"show lsn subscriber", "subscribers that have state: what they use against their quotas",
         begin_show_lsn_subscriber, subscriber_options()},
        {"show lsn mapping", "mappings, with sessions or without, one per line",
         begin_show_lsn_mapping, mapping_options()},
        {"show lsn portblock", "port blocks of subscribers, one per line", begin_show_lsn_portblock,
         block_options()},
        {"show lsn deterministicnat",
         "which subscriber has a NAT address and port, or the other way round",
         begin_show_lsn_deterministic, deterministic_options()},
        {"show subscriber", "everything about one subscriber", begin_show_subscriber,
         show_subscriber_options(), show_subscriber_parameters()},
        {"explain",
         "which client, group, profile, mapping, session, gate or drop decides for a packet",
         begin_explain, explain_options(), explain_parameters()},
        {"show ipsecalg session", "ESP sessions with their SPIs, one per line",
         begin_show_ipsecalg_session, alg_filter_options()},
        {"show ipsecalg ike", "IKE sessions that the ALG follows, one per line",
         begin_show_ipsecalg_ike, alg_filter_options()},
        {"show ipsecalg gate", "whose turn it is to learn SPIs, by NAT address and server",
         begin_show_ipsecalg_gate, alg_filter_options()},
        {"show ipsecalg advice",
         "clients and servers that could do better: raw ESP beside NAT-Traversal, turns without "
         "ESP",
         begin_show_ipsecalg_advice, alg_filter_options()},
        {"flush ipsecalg session",
         "ends ESP and IKE sessions, turns and waiting of clients",
         begin_flush_ipsecalg_session,
         alg_filter_options(),
         {},
         false,
         true},
        {"stat lsn", "sessions and translated packets by protocol, and what the router did",
         begin_report<report_lsn>, stat_options()},
        {"stat lsn pool", "NAT ports in use by pool", begin_stat_lsn_pool, stat_options(),
         usage_parameters()},
        {"stat lsn group", "subscribers, sessions and NAT ports by group", begin_stat_lsn_group,
         stat_options(), usage_parameters()},
        {"stat ipsecalg",
         "the IPsec ALG by profile: sessions, packets, turns at gates, waiting times",
         begin_stat_ipsecalg, stat_options(), kStatIpsecalgParameters},
        {"stat interface", "links, packets, what devices dropped and how they spread packets",
         begin_report<report_interfaces>, stat_options()},
        {"show alert", "what operators should know of: raised and cleared alerts",
         begin_report<report_alerts>},
        {"stat records", "records taken, lost and written, by kind and by sink",
         begin_report<report_records>, stat_options()},
        {"stat worker", "load, sessions and handovers of each worker", begin_report<report_workers>,
         stat_options()},
        {"show drops", "packets that were not forwarded, by reason", begin_show_drops,
         drop_options()},
        {"start capture", "writes packets with what became of them to a pcapng file",
         begin_start_capture, capture_options(), capture_parameters(), false, true},
        {"stop capture", "ends the capture", begin_stop_capture, {}, {}, false, true},
        {"show capture", "the capture that runs, or the last one", begin_report<report_capture>},
        {"clear counters",
         "stat and show drops count from now on; metrics and telemetry go on",
         begin_clear_counters,
         {},
         {},
         false,
         true},
        {"show arp", "next hops and their hardware addresses", begin_show_arp},
        {"show route", "connected networks, configured routes and the kernel's", begin_show_route,
         route_options(), route_parameters()},
        {"stat route", "routes from the kernel: how many, changes, readings of its table",
         begin_report<report_routes>, stat_options()},
        {"show changes", "what is in force and not in the file, as commands", begin_show_changes},
        {"save config",
         "writes what is in force to the configuration file",
         begin_save_config,
         {},
         {},
         false,
         true},
        {"show running config", "the configuration file that would give the present state",
         begin_show_running_config},
        {"reload config",
         "reads the configuration file anew",
         begin_reload_config,
         kReloadOptions,
         {},
         false,
         true,
         kDryRun},
        {"complete", "what may follow a text, for shells", begin_complete, {}, kCompleteParameters},
        {"help", "this list, or what a command takes", begin_help, {}, kHelpParameters},
    };
    const std::vector<CommandSpec>& objects = object_commands();
    commands.insert(commands.end(), objects.begin(), objects.end());
    return commands;
  }();
  static const Grammar kGrammar(kCommands);
  return kGrammar;
}

}  // namespace lsn::control
