// lsnmanual PAGE LSND-HELP LSNCTL-HELP: writes a manual page or a completion to standard output.
// The files have the output of `lsnd --help` and `lsnctl --help`; commands and settings come from
// the same tables that lsnd reads. Part of the build, not installed.
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "completions.hpp"
#include "help_text.hpp"
#include "pages.hpp"

namespace {

using namespace lsn::manual;

ProgramHelp help_in(const char* path) {
  const std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return read_help(text.str());
}

std::string write(std::string_view page, const ProgramHelp& lsnd, const ProgramHelp& lsnctl) {
  if (page == "lsnd.8") return page_of_lsnd(lsnd);
  if (page == "lsnctl.1") return page_of_lsnctl(lsnctl);
  if (page == "lsnd.conf.5") return page_of_file();
  if (page == "lsnd.bash") return bash_of_lsnd(lsnd);
  if (page == "lsnctl.bash") return bash_of_lsnctl(lsnctl);
  if (page == "lsnd.zsh") return zsh_of_lsnd(lsnd);
  if (page == "lsnctl.zsh") return zsh_of_lsnctl(lsnctl);
  throw std::runtime_error(fmt::format("there is no page {}", page));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 4) throw std::runtime_error("usage: lsnmanual PAGE LSND-HELP LSNCTL-HELP");
    fmt::print("{}", write(argv[1], help_in(argv[2]), help_in(argv[3])));
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "lsnmanual: {}\n", error.what());
    return 1;
  }
}
