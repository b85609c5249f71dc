#include "completions.hpp"

#include <fmt/format.h>

#include <string_view>
#include <vector>

#include "lsn/control/command/commands.hpp"
#include "lsn/control/command/grammar.hpp"

namespace lsn::manual {
namespace {

/// All options of a program, with blanks between.
std::string option_names(const ProgramHelp& help) {
  std::string all;
  for (const ProgramOption& option : help.options)
    for (const std::string& name : option.names) all += (all.empty() ? "" : " ") + name;
  return all;
}

/// The options that take a value, as a pattern of `case`. All values of lsnd and lsnctl are files.
std::string options_with_value(const ProgramHelp& help) {
  std::string all;
  for (const ProgramOption& option : help.options)
    for (const std::string& name : option.names)
      if (!option.value.empty()) all += (all.empty() ? "" : "|") + name;
  return all;
}

/// In single quotes, for a shell.
std::string shell_quoted(std::string_view text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'')
      result += "'\\''";
    else
      result += c;
  }
  return result + "'";
}

/// The command's words, its options with a value and those without: "show lsn pool|-a -b|-c".
std::string record_of(const control::CommandSpec& command) {
  std::string with_value, others;
  for (const control::OptionSpec& option : command.options) {
    std::string& names = option.value == nullptr ? others : with_value;
    names += (names.empty() ? "" : " ") + std::string(option.name);
  }
  return fmt::format("{}|{}|{}", command.words, with_value, others);
}

/// For _arguments of zsh: '(-c --config)'{-c,--config}'[does]:value:_files'
std::string zsh_options(const ProgramHelp& help) {
  std::string all;
  for (const ProgramOption& option : help.options) {
    std::string does;
    for (const char c : option.does) {
      if (c == '[' || c == ']' || c == ':') does += '\\';
      does += c;
    }
    std::string names;
    for (const std::string& name : option.names) names += (names.empty() ? "" : ",") + name;
    if (option.names.size() > 1) {
      std::string excluded;
      for (const std::string& name : option.names) excluded += (excluded.empty() ? "" : " ") + name;
      names = fmt::format("'({})'{{{}}}", excluded, names);
    }
    all += fmt::format(
        "    {}{} \\\n", names,
        shell_quoted(fmt::format("[{}]{}", does, option.value.empty() ? "" : ":file:_files")));
  }
  return all;
}

}  // namespace

std::string bash_of_lsnd(const ProgramHelp& lsnd) {
  return fmt::format(
      R"sh(# bash completion for lsnd                                  -*- shell-script -*-
_lsnd() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
  case $previous in
    {}) COMPREPLY=($(compgen -f -- "$current")) ;;
    *) COMPREPLY=($(compgen -W "{}" -- "$current")) ;;
  esac
}}
complete -o filenames -F _lsnd lsnd
)sh",
      options_with_value(lsnd), option_names(lsnd));
}

std::string bash_of_lsnctl(const ProgramHelp& lsnctl) {
  std::string commands;
  for (const control::CommandSpec& command : control::lsn_commands().commands())
    commands += fmt::format("    {}\n", shell_quoted(record_of(command)));
  return fmt::format(
      R"sh(# bash completion for lsnctl                                -*- shell-script -*-
_lsnctl() {{
  # Each command, its options that take a value, and those that take none.
  local commands=(
{}  )
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
  local i word words= command options offer=
  case $previous in
    {}) COMPREPLY=($(compgen -f -- "$current")); return ;;
  esac
  # The command's own words: what comes behind our options and their values.
  for ((i = 1; i < COMP_CWORD; ++i)); do
    word=${{COMP_WORDS[i]}}
    case $word in
      {}) ((++i)) ;;
      -*) ;;
      *) words+=${{words:+ }}${{word,,}} ;;
    esac
  done
  for command in "${{commands[@]}}"; do
    if [[ $words == "${{command%%|*}}" || $words == "${{command%%|*}} "* ]]; then
      # Complete: its options, unless one waits for its value.
      options=${{command#*|}}
      [[ " ${{options%%|*}} " == *" $previous "* ]] || offer+=" ${{options/|/ }} --json"
    elif [[ -z $words ]]; then
      word=${{command%%|*}}
      offer+=" ${{word%% *}}"
    elif [[ $command == "$words "* ]]; then
      word=${{command%%|*}}
      word=${{word#"$words "}}
      offer+=" ${{word%% *}}"
    fi
  done
  [[ -n $words ]] || offer+=" {}"
  COMPREPLY=($(compgen -W "$(printf '%s\n' $offer | sort -u)" -- "$current"))
}}
complete -o filenames -F _lsnctl lsnctl
)sh",
      commands, options_with_value(lsnctl), options_with_value(lsnctl), option_names(lsnctl));
}

std::string zsh_of_lsnd(const ProgramHelp& lsnd) {
  return fmt::format("#compdef lsnd\n\n_arguments \\\n{}    && return 0\n", zsh_options(lsnd));
}

std::string zsh_of_lsnctl(const ProgramHelp& lsnctl) {
  std::string commands;
  for (const control::CommandSpec& command : control::lsn_commands().commands())
    commands += fmt::format("    {}\n",
                            shell_quoted(fmt::format("{}|{}", record_of(command), command.does)));
  return fmt::format(R"sh(#compdef lsnctl

_lsnctl_command() {{
  # Each command, its options that take a value, those that take none, and what it does.
  local -a commands=(
{}  )
  local command name rest typed="${{(L)${{(j: :)words[1,CURRENT-1]}}}}"
  local -a offer options
  for command in $commands; do
    name=${{command%%|*}}
    rest=${{command#*|}}
    if [[ $typed == $name || $typed == "$name "* ]]; then
      options=(${{=rest%%|*}})
      (($options[(Ie)$words[CURRENT-1]])) && continue
      rest=${{rest#*|}}
      options+=(${{=rest%%|*}} --json)
      compadd -a options
    elif [[ -z $typed ]]; then
      offer+=("${{name%% *}}")
    elif [[ $name == "$typed "* ]]; then
      name=${{name#"$typed "}}
      if [[ $name == *' '* ]]; then offer+=("${{name%% *}}"); else offer+=("$name:${{rest##*|}}"); fi
    fi
  done
  typeset -U offer
  ((${{#offer}})) && _describe command offer
}}

_arguments \
{}    '*::command:_lsnctl_command'
)sh",
                     commands, zsh_options(lsnctl));
}

}  // namespace lsn::manual
