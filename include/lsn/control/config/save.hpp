// Writing a configuration to its file.
//
// The file is replaced as a whole: a new one beside it, synced, with the mode and owner of the
// former, takes its name (rename(2)), and the former is FILE.bak by then. A kill at any moment leaves
// the one or the other. It may block for as long as a disk takes: not for the control thread.
#pragma once

#include <string>

namespace lsn::control {

struct SaveOutcome {
  std::string error;    ///< one line; then the file is as it was
  std::string file;     ///< what was written, links followed
  std::string backup;   ///< the former file
  std::string warning;  ///< what the new file does not have of the former one
};

[[nodiscard]] SaveOutcome save_config_file(const std::string& path, const std::string& text);

}  // namespace lsn::control
