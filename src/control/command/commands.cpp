#include "lsn/control/command/commands.hpp"

#include <fmt/format.h>

#include <array>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "lsn/control/command/alg_answers.hpp"
#include "lsn/control/command/alg_report.hpp"
#include "lsn/control/command/answer.hpp"
#include "lsn/control/command/report.hpp"
#include "lsn/control/command/session_answers.hpp"
#include "lsn/control/command/table.hpp"
#include "lsn/control/command/words.hpp"
#include "lsn/control/config/render.hpp"
#include "lsn/control/config/vocabulary.hpp"

namespace lsn::control {
namespace {

using Begun = std::expected<std::unique_ptr<Answer>, std::string>;
using Json = nlohmann::ordered_json;

Begun whole(std::string text) { return std::make_unique<WholeAnswer>(std::move(text)); }

/// `stat` and `show` commands that say all at once.
template <std::string (*report)(Format, const CommandContext&)>
Begun begin_report(const Command& command, const CommandContext& context) {
  return whole(report(command.format, context));
}

Begun begin_show_running_config(const Command& command, const CommandContext& context) {
  std::string text = render_config(context.config.model());
  if (command.format == Format::kText) return whole(std::move(text));
  return whole(Json{{"config", std::move(text)}}.dump() + '\n');
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
               ? "Done\n"
               : fmt::format("{{\"result\":\"Done\",\"generation\":{},\"ended\":{}}}\n",
                             outcome->generation, outcome->ended);
    return Progress::kDone;
  }

 private:
  Format format_;
  Awaited<RunningConfig::Outcome> outcome_;
};

Begun begin_reload_config(const Command& command, const CommandContext& context) {
  return std::make_unique<ReloadAnswer>(command.format, context);
}

constexpr std::string_view kCommandParameter = "COMMAND";

/// The commands that begin with the words of `help COMMAND ...`.
std::vector<const CommandSpec*> asked_for(const Command& command) {
  std::vector<const CommandSpec*> found;
  for (const CommandSpec& spec : lsn_commands().commands()) {
    std::string_view rest = spec.words;
    bool matches = true;
    for (const Command::Argument& argument : command.arguments) {
      const std::string_view word = rest.substr(0, rest.find(' '));
      matches = matches && same_word(word, std::get<std::string>(argument.value));
      rest.remove_prefix(std::min(word.size() + 1, rest.size()));
    }
    if (matches) found.push_back(&spec);
  }
  return found;
}

std::string help_text(const std::vector<const CommandSpec*>& commands) {
  if (commands.size() > 1) {
    Table table({{"command"}, {"does"}});
    for (const CommandSpec* spec : commands)
      table.add({std::string(spec->words), std::string(spec->does)});
    return table.print() +
           "\nhelp COMMAND says what it takes; --json gives one JSON document instead of tables.\n";
  }
  const CommandSpec& spec = *commands.front();
  std::string text = fmt::format("{}\n    {}\n", usage_of(spec), spec.does);
  if (spec.options.empty()) return text;
  Table table({{"option"}, {"value"}, {"does"}});
  for (const OptionSpec& option : spec.options)
    table.add({std::string(option.name), std::string(option.value->allowed),
               std::string(option.does)});
  return text + '\n' + table.print();
}

std::string help_json(const std::vector<const CommandSpec*>& commands) {
  Json list = Json::array();
  for (const CommandSpec* spec : commands) {
    Json options = Json::array();
    for (const OptionSpec& option : spec->options)
      options.push_back({{"name", option.name},
                         {"value", option.value->placeholder},
                         {"allowed", option.value->allowed},
                         {"does", option.does}});
    list.push_back({{"command", spec->words},
                    {"usage", usage_of(*spec)},
                    {"does", spec->does},
                    {"options", std::move(options)}});
  }
  return Json{{"commands", std::move(list)}}.dump() + '\n';
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
  return whole(command.format == Format::kText ? help_text(commands) : help_json(commands));
}

}  // namespace

const Grammar& lsn_commands() {
  static const std::array<PositionalSpec, 1> kHelpParameters{
      {{kCommandParameter, &kAnyText, Occurs::kAnyTimes}}};
  static const std::array<PositionalSpec, 1> kStatIpsecalgParameters{
      {{kProfileParameter, &kNameSyntax, Occurs::kAtMostOnce}}};
  static const std::array<CommandSpec, 13> kCommands{{
      {"show lsn session", "sessions, one per line", begin_show_lsn_session,
       session_filter_options()},
      {"flush lsn session", "ends sessions", begin_flush_lsn_session, session_filter_options()},
      {"show ipsecalg session", "ESP sessions with their SPIs, one per line",
       begin_show_ipsecalg_session, alg_filter_options()},
      {"show ipsecalg gate", "whose turn it is to learn SPIs, by NAT address and server",
       begin_show_ipsecalg_gate, alg_filter_options()},
      {"flush ipsecalg session", "ends ESP and IKE sessions, turns and waiting of clients",
       begin_flush_ipsecalg_session, alg_filter_options()},
      {"stat lsn", "sessions and translated packets by protocol, and what the router did",
       begin_report<report_lsn>},
      {"stat ipsecalg", "the IPsec ALG by profile: sessions, packets, turns at gates, waiting times",
       begin_stat_ipsecalg, {}, kStatIpsecalgParameters},
      {"stat interface", "links, packets, what devices dropped and how they spread packets",
       begin_report<report_interfaces>},
      {"stat worker", "load, sessions and handovers of each worker", begin_report<report_workers>},
      {"show drops", "packets that were not forwarded, by reason", begin_report<report_drops>},
      {"show running config", "the configuration file that would give the present state",
       begin_show_running_config},
      {"reload config", "reads the configuration file anew", begin_reload_config},
      {"help", "this list, or what a command takes", begin_help, {}, kHelpParameters},
  }};
  static const Grammar kGrammar(kCommands);
  return kGrammar;
}

}  // namespace lsn::control
