// lsnctl: sends commands to lsnd and prints its answers; without one it is a shell. The exit code
// is 0, or 1 with the reason on standard error.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "convert.hpp"
#include "deterministic.hpp"
#include "find.hpp"
#include "lsn/control/command/client.hpp"
#include "lsn/control/command/words.hpp"
#include "lsn/control/config/vocabulary.hpp"
#include "repeat.hpp"
#include "script.hpp"
#include "shell.hpp"

namespace {

using namespace lsn;

constexpr int kFailed = 1;

struct Options {
  std::string socket = "/run/lsnd/lsnd.sock";
  std::string file;
  bool json = false;
  bool keep_going = false;
  bool atomic = false;
  std::vector<std::string> words;
};

int fail(const std::string& error) {
  fmt::print(stderr, "ERROR: {}\n", error);
  return kFailed;
}

/// One word is a line as it would be typed; of several, those with blanks need quotes.
std::string line_of(const std::vector<std::string>& words) {
  return words.size() == 1 ? words.front() : control::join_words(words);
}

int run_line(control::CommandClient& client, const std::string& line, const Options& options) {
  const auto status = client.run(options.json ? "--json " + line : line, stdout, stderr);
  return status ? *status : fail(status.error());
}

int start(const Options& options) {
  if (!options.words.empty() && control::same_word(options.words.front(), "convert")) {
    if (options.words.size() != 2) return fail("convert: given no file, or several, allowed one");
    return ctl::convert(options.words[1]);
  }
  const auto format = options.json ? control::Format::kJson : control::Format::kText;
  if (!options.words.empty() && control::same_word(options.words.front(), "find"))
    return ctl::find(options.words, format);
  if (!options.words.empty() && control::same_word(options.words.front(), "deterministic"))
    return ctl::deterministic(options.words, format);
  if (options.words.empty() && options.file.empty() && isatty(STDIN_FILENO) != 0)
    return ctl::run_shell(options.socket, options.json);
  if (options.atomic && !options.words.empty())
    return fail("--atomic: given with a command, allowed with a file of commands");
  std::ifstream file;
  if (!options.file.empty() && options.file != "-") {
    if (!options.words.empty()) return fail("-f: given with a command, allowed without one");
    if (!std::filesystem::is_directory(options.file)) file.open(options.file);
    if (!file.is_open())
      return fail(fmt::format("-f: given {}, allowed a file that can be read", options.file));
  }
  auto client = control::CommandClient::connect(options.socket);
  if (!client) return fail(client.error());
  if (!options.words.empty()) {
    const std::string line = line_of(options.words);
    if (const auto repetition = ctl::repetition_of(line))
      return ctl::run_repeatedly(*client, *repetition, options.json);
    return run_line(*client, line, options);
  }
  return ctl::run_script(*client, file.is_open() ? file : std::cin,
                         {options.json, options.keep_going, options.atomic});
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app(
      "Sends commands to lsnd; without a command an interactive shell, or those on standard "
      "input",
      "lsnctl");
  app.add_option("--socket", options.socket, "lsnd's command socket")->capture_default_str();
  app.add_flag("--json", options.json, "one JSON document instead of tables");
  app.add_option("-f", options.file, "a file of commands, one per line; - is standard input");
  app.add_flag("--continue", options.keep_going, "go on after an error in a file of commands");
  app.add_flag("--atomic", options.atomic, "carry out all commands of a file or none");
  app.set_version_flag("--version", "lsnctl " LSN_VERSION);
  app.footer(
      "Commands: lsnctl help\n"
      "Offline: lsnctl convert FILE makes a configuration of a file of NetScaler commands\n"
      "         lsnctl deterministic FILE -natIP A [-natPort P] | -subscrIP A | -clientname C "
      "says\n"
      "         who has which NAT address and ports in deterministic NAT by that configuration\n"
      "         lsnctl find -natIP A [-natPort P | -spi S] [-protocol X] [-destIP D] -at TIME\n"
      "                     [-within S] [FILE ...]\n"
      "         says whose a NAT address was, out of the records");
  // All words behind the command's first one are the command's, also one that looks like an option.
  app.prefix_command();
  try {
    app.parse(argc, argv);
    options.words = app.remaining();
    return start(options);
  } catch (const CLI::Success& help_or_version) {
    return app.exit(help_or_version);
  } catch (const CLI::ParseError& error) {
    return fail(error.what());
  } catch (const std::exception& error) {
    return fail(error.what());
  }
}
