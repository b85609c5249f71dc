// Completion in a shell: the programs' options, and lsnctl's commands.
#pragma once

#include <string>

#include "help_text.hpp"

namespace lsn::manual {

[[nodiscard]] std::string bash_of_lsnd(const ProgramHelp& lsnd);
[[nodiscard]] std::string bash_of_lsnctl(const ProgramHelp& lsnctl);
[[nodiscard]] std::string zsh_of_lsnd(const ProgramHelp& lsnd);
[[nodiscard]] std::string zsh_of_lsnctl(const ProgramHelp& lsnctl);

}  // namespace lsn::manual
