// The manual pages, in man(7)'s macros.
#pragma once

#include <string>

#include "help_text.hpp"

namespace lsn::manual {

[[nodiscard]] std::string page_of_lsnd(const ProgramHelp& lsnd);
[[nodiscard]] std::string page_of_lsnctl(const ProgramHelp& lsnctl);
[[nodiscard]] std::string page_of_file();

}  // namespace lsn::manual
