// /usr/sbin/lsnd of an installation: becomes the lsnd that was built for this processor.
//
// Beside it, in ../libexec/lsnd, is one lsnd for each instruction set that the package has, in a
// directory that has its name; the best one that this processor can run takes this process over,
// with all arguments. LSND_ARCH in the environment names another one. Built for any x86-64, so that
// it can print an error on a processor that can run none of them.
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

constexpr int kCannotRun = 1;

struct Build {
  const char* name;
  bool runs_here;
};

/// The best one first. "native" was built on this machine, or for it.
std::array<Build, 4> builds() {
  __builtin_cpu_init();
  return {{{"native", true},
           {"x86-64-v4", __builtin_cpu_supports("x86-64-v4") != 0},
           {"x86-64-v3", __builtin_cpu_supports("x86-64-v3") != 0},
           {"x86-64-v2", __builtin_cpu_supports("x86-64-v2") != 0}}};
}

/// Where the builds are; empty: it cannot be found out.
std::string directory() {
  std::array<char, 4096> path;
  const ssize_t size = readlink("/proc/self/exe", path.data(), path.size());
  if (size <= 0) return "";
  std::string own(path.data(), static_cast<std::size_t>(size));
  own.resize(own.rfind('/'));
  return own.substr(0, own.rfind('/')) + "/libexec/lsnd/";
}

int fail(const std::string& error) {
  std::fprintf(stderr, "lsnd: %s\n", error.c_str());
  return kCannotRun;
}

}  // namespace

int main(int, char** argv) {
  const std::string place = directory();
  if (place.empty()) return fail(std::string("/proc/self/exe: ") + strerror(errno));
  const char* const wanted = std::getenv("LSND_ARCH");
  std::string allowed;
  for (const Build& build : builds()) {
    const std::string program = place + build.name + "/lsnd";
    if (!build.runs_here || access(program.c_str(), X_OK) != 0) continue;
    allowed += (allowed.empty() ? "" : ", ") + std::string(build.name);
    if (wanted != nullptr && std::strcmp(wanted, build.name) != 0) continue;
    execv(program.c_str(), argv);
    return fail(program + ": " + strerror(errno));
  }
  if (wanted != nullptr && !allowed.empty())
    return fail(std::string("LSND_ARCH: given ") + wanted + ", allowed here " + allowed);
  return fail(place + " has no lsnd that this processor runs: x86-64-v2 (SSE4.2) is the least");
}
