// Writing a configuration to its file.
//
// The file is replaced as a whole: a new one beside it, synced, with the mode and owner of the
// former, takes its name (rename(2)), and the former is FILE.bak by then, unless it had been saved
// by lsnd as well: FILE.bak is the last file that people wrote. A kill at any moment leaves the one
// or the other. save may block for as long as a disk takes: it is not for the control thread.
#pragma once

#include <string>
#include <string_view>

namespace lsn::control {

/// The first line of a file that was saved.
inline constexpr std::string_view kSavedHeader = "# Written by \"save config\".\n";

struct SaveOutcome {
  std::string error;    ///< one line; then the file is as it was
  std::string file;     ///< the file written, links followed
  std::string backup;   ///< the former file
  std::string warning;  ///< the parts of the former file that the new one lacks
};

[[nodiscard]] SaveOutcome save_config_file(const std::string& path, const std::string& text);

}  // namespace lsn::control
