// lsnctl: sends commands to lsnd and prints what it answers. The exit code is 0, or 1 with the
// reason on standard error.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "lsn/control/command/client.hpp"
#include "lsn/control/command/words.hpp"

namespace {

using namespace lsn;

constexpr int kFailed = 1;

struct Options {
  std::string socket = "/run/lsnd/lsnd.sock";
  std::string file;
  bool json = false;
  bool keep_going = false;
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

/// Lines until the first error, or all of them. Empty lines and comments are for people.
int run_lines(control::CommandClient& client, std::istream& lines, const Options& options) {
  int worst = 0;
  std::string line;
  for (unsigned number = 1; std::getline(lines, line); ++number) {
    const std::size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string::npos || line[first] == '#') continue;
    if (run_line(client, line, options) == 0) continue;
    fmt::print(stderr, "in line {}: {}\n", number, line);
    worst = kFailed;
    if (!options.keep_going) break;
  }
  return worst;
}

int start(const Options& options) {
  if (options.words.empty() && options.file.empty() && isatty(STDIN_FILENO) != 0)
    return fail("command: given none, allowed a command (lsnctl help), -f FILE, or commands on "
                "standard input; this version has no interactive shell");
  std::ifstream file;
  if (!options.file.empty() && options.file != "-") {
    if (!options.words.empty()) return fail("-f: given with a command, allowed without one");
    file.open(options.file);
    if (!file) return fail(fmt::format("-f: given {}, allowed a file that can be read", options.file));
  }
  auto client = control::CommandClient::connect(options.socket);
  if (!client) return fail(client.error());
  if (!options.words.empty()) return run_line(*client, line_of(options.words), options);
  return run_lines(*client, file.is_open() ? file : std::cin, options);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Sends commands to lsnd; without a command, those on standard input", "lsnctl");
  app.add_option("--socket", options.socket, "lsnd's command socket")->capture_default_str();
  app.add_flag("--json", options.json, "one JSON document instead of tables");
  app.add_option("-f", options.file, "a file of commands, one per line; - is standard input");
  app.add_flag("--continue", options.keep_going, "go on after an error in a file of commands");
  app.set_version_flag("--version", "lsnctl " LSN_VERSION);
  app.footer("Commands: lsnctl help");
  // What follows the command's first word is the command's, also what looks like an option.
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
