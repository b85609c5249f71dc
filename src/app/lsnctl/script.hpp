// A file of commands, line by line.
//
// Lines that change objects go to lsnd many at a time (protocol.hpp), so that ten thousand of them
// take seconds; the answers are those of the lines one by one, up to the first that is refused.
// Lines with anything else go alone, in their place.
#pragma once

#include <iosfwd>
#include <string>

#include "lsn/control/command/client.hpp"

namespace lsn::ctl {

struct ScriptOptions {
  bool json = false;
  bool keep_going = false;  ///< after a line that is refused
  bool atomic = false;      ///< all lines or none
};

/// `exit` or `quit`: ends the shell, and a file of commands.
[[nodiscard]] bool is_end(const std::string& line);

/// The exit code.
[[nodiscard]] int run_script(control::CommandClient& client, std::istream& lines,
                             const ScriptOptions& options);

}  // namespace lsn::ctl
