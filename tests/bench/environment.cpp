#include "environment.hpp"

#include <fmt/format.h>
#include <rte_cycles.h>
#include <rte_version.h>
#include <sched.h>
#include <sys/utsname.h>

#include <fstream>
#include <sstream>

#include "lsn/state/line_match.hpp"

namespace lsn::bench {
namespace {

/// The value behind "key:" in a file like /proc/cpuinfo.
std::string field(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// "L1d 32K, L2 1024K, L3 32768K"
std::string caches() {
  std::string result;
  for (int i = 0; i < 8; ++i) {
    const std::string base = fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}/", i);
    const std::string level = first_line(base + "level");
    const std::string type = first_line(base + "type");
    if (level.empty() || type == "Instruction") continue;
    result += fmt::format("{}L{}{} {}", result.empty() ? "" : ", ", level,
                          type == "Data" ? "d" : "", first_line(base + "size"));
  }
  return result;
}

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return "gcc " __VERSION__;
#else
  return "unknown";
#endif
}

}  // namespace

nlohmann::json environment() {
  utsname system{};
  uname(&system);
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  sched_getaffinity(0, sizeof cpus, &cpus);
  return {
      {"cpu", field("/proc/cpuinfo", "model name")},
      {"cores", sysconf(_SC_NPROCESSORS_ONLN)},
      {"caches", caches()},
      {"tsc_mhz", rte_get_tsc_hz() / 1'000'000},
      {"memory", field("/proc/meminfo", "MemTotal")},
      {"transparent_huge_pages", first_line("/sys/kernel/mm/transparent_hugepage/enabled")},
      {"reserved_huge_pages", field("/proc/meminfo", "HugePages_Total")},
      {"kernel", std::string(system.release)},
      {"compiler", compiler()},
      {"flags", LSN_BUILD_FLAGS},
      {"build_type", LSN_BUILD_TYPE},
      {"march", LSN_ARCH},
      {"line_compare", std::string(state::BestMatch::kName)},
      {"dpdk", std::string(rte_version())},
  };
}

std::string to_text(const nlohmann::json& e) {
  const auto text = [&e](const char* key) { return e.value(key, std::string("?")); };
  // Virtual machines do not always report their caches.
  const std::string known_caches = text("caches").empty() ? "" : text("caches") + ", ";
  return fmt::format(
      "machine   {}, {} cores, TSC {} MHz, {}{}, Linux {}\n"
      "pages     transparent huge pages: {}; reserved 2 MB pages: {}\n"
      "build     {}, {}, -march={} (lines compared with {}), {}\n",
      text("cpu"), e.value("cores", 0), e.value("tsc_mhz", 0), known_caches, text("memory"),
      text("kernel"), text("transparent_huge_pages"), text("reserved_huge_pages"), text("compiler"),
      text("flags"), text("march"), text("line_compare"), text("dpdk"));
}

std::string unfit() {
#if !defined(__OPTIMIZE__)
  return "this build is not optimised";
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return "this build carries a sanitizer";
#else
  return "";
#endif
}

unsigned default_cpu() {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  sched_getaffinity(0, sizeof cpus, &cpus);
  for (unsigned cpu = CPU_SETSIZE; cpu-- > 0;)
    if (CPU_ISSET(cpu, &cpus)) return cpu;
  return 0;
}

}  // namespace lsn::bench
