#include "help_text.hpp"

#include <sstream>
#include <stdexcept>

namespace lsn::manual {
namespace {

/// CLI11 begins the descriptions here, on the next line if the names are too long.
constexpr std::size_t kColumn = 30;

/// "-c,--config TEXT=/etc/lsnd/lsnd.conf", "--elsewhere Needs: --check"
ProgramOption read_names(const std::string& text) {
  ProgramOption option;
  std::istringstream words(text);
  std::string word;
  words >> word;
  std::istringstream names(word);
  for (std::string name; std::getline(names, name, ',');) option.names.push_back(name);
  while (words >> word) {
    if (word == "Needs:") {
      words >> option.needs;
      continue;
    }
    const std::size_t equal = word.find('=');
    option.value = word.substr(0, equal);
    if (equal != std::string::npos) option.initial = word.substr(equal + 1);
  }
  return option;
}

}  // namespace

ProgramHelp read_help(const std::string& text) {
  ProgramHelp help;
  std::istringstream lines(text);
  std::getline(lines, help.description);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find_first_not_of(' ');
    if (first == 2 && line[first] == '-') {
      // Two blanks end the names, if they do not take the whole line.
      const std::size_t end = line.find("  ", first);
      const std::size_t names = line.size() > kColumn && line[kColumn - 1] == ' ' ? kColumn : end;
      help.options.push_back(read_names(line.substr(first, names - first)));
      if (names != std::string::npos) help.options.back().does = line.substr(names);
    } else if (first == kColumn && !help.options.empty()) {
      help.options.back().does += line.substr(first);
    }
  }
  for (ProgramOption& option : help.options)
    option.does.erase(0, option.does.find_first_not_of(' '));
  if (help.options.empty()) throw std::runtime_error("no option in the help text: " + text);
  return help;
}

}  // namespace lsn::manual
