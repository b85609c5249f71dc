#include "lsn/control/config/save.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string_view>

namespace lsn::control {
namespace {

std::string trouble(const std::string& path) {
  return fmt::format("{}: {}; it is as it was", path, strerror(errno));
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return fsync(fd) == 0;
}

/// A name in a folder is on the disk only when the folder is.
void sync_folder_of(const std::string& path) {
  const std::string folder = path.substr(0, path.rfind('/') + 1);
  const int fd = open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

/// The comments and includes that people have written beside the settings, outside of strings.
std::string what_is_lost(const std::string& path) {
  std::ifstream file(path);
  bool comments = false;
  bool includes = false;
  for (std::string line; std::getline(file, line);) {
    if (line + '\n' == kSavedHeader) continue;
    bool quoted = false;
    for (std::size_t i = 0; i < line.size(); ++i) {
      if (line[i] == '\\' && quoted)
        ++i;
      else if (line[i] == '"')
        quoted = !quoted;
      else if (!quoted &&
               (line[i] == '#' || line.compare(i, 2, "//") == 0 || line.compare(i, 2, "/*") == 0))
        comments = true;
      else if (!quoted && line.compare(i, 8, "@include") == 0)
        includes = true;
    }
  }
  if (comments && includes) return "its comments, and that parts of it were in other files";
  if (comments) return "its comments";
  return includes ? "that parts of it were in other files" : "";
}

bool was_saved(const std::string& path) {
  std::ifstream file(path);
  std::string first;
  return std::getline(file, first) && first + '\n' == kSavedHeader;
}

}  // namespace

SaveOutcome save_config_file(const std::string& path, const std::string& text) {
  SaveOutcome outcome;
  char resolved[PATH_MAX];
  outcome.file = realpath(path.c_str(), resolved) != nullptr ? resolved : path;
  struct stat former{};
  const bool exists = stat(outcome.file.c_str(), &former) == 0;
  if (exists && !S_ISREG(former.st_mode)) {
    outcome.error = fmt::format("save config: given {}, allowed a plain file", path);
    return outcome;
  }
  std::string next = outcome.file + ".XXXXXX";
  const int fd = mkostemp(next.data(), O_CLOEXEC);
  if (fd < 0) {
    outcome.error = trouble(outcome.file);
    return outcome;
  }
  bool good = fchmod(fd, exists ? former.st_mode & 07777 : 0640) == 0;
  // A user who may write the folder but is not root cannot give files away.
  if (exists && fchown(fd, former.st_uid, former.st_gid) != 0) good = good && errno == EPERM;
  good = write_all(fd, text) && good;
  if (!good) outcome.error = trouble(outcome.file);
  close(fd);
  if (good && exists && !was_saved(outcome.file)) {
    outcome.backup = outcome.file + ".bak";
    if (const std::string lost = what_is_lost(outcome.file); !lost.empty())
      outcome.warning =
          fmt::format("{} does not keep {}: they are in {}", outcome.file, lost, outcome.backup);
    const std::string beside = outcome.backup + ".new";
    unlink(beside.c_str());
    if (link(outcome.file.c_str(), beside.c_str()) != 0 ||
        std::rename(beside.c_str(), outcome.backup.c_str()) != 0) {
      unlink(beside.c_str());
      outcome.error = fmt::format("{}: {}; nothing is written", outcome.backup, strerror(errno));
      good = false;
    }
  }
  if (good && rename(next.c_str(), outcome.file.c_str()) != 0) {
    outcome.error = trouble(outcome.file);
    good = false;
  }
  if (!good) {
    unlink(next.c_str());
    outcome.backup.clear();
    outcome.warning.clear();
    return outcome;
  }
  sync_folder_of(outcome.file);
  return outcome;
}

}  // namespace lsn::control
