// The interactive shell: lines are edited, remembered in ~/.lsnctl_history, completed by lsnd's own
// grammar and objects (Tab), and explained (`?` lists the candidates). Long tables go through a
// pager on a terminal.
#pragma once

#include <string>

namespace lsn::ctl {

/// Until `exit`, `quit` or the end of input. The exit code.
[[nodiscard]] int run_shell(const std::string& socket, bool json);

}  // namespace lsn::ctl
