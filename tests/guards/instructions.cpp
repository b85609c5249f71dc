// Instructions per packet, session and expiry, against stored figures: they show the cost of a
// change before any clock does, on any machine.
//
// The packet path is compiled for x86-64-v3 here, whatever the build is for, because callgrind
// knows no AVX-512; counted is process_received() and housekeep(), everything below them included.
// This program runs itself under callgrind (`--measure`), which writes one file per case.
//
//   guard_instructions            compares
//   guard_instructions --figures  prints the table below again: for changes that are meant to cost,
//                                 or to save
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <sys/wait.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

#include <cmath>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/workshop.hpp"

namespace lsn::test {
namespace {

using bench::Kind;
using bench::Sequence;
using bench::Workshop;

constexpr std::uint32_t kFlows = 1024;
constexpr unsigned kBursts = 64;
/// Beyond it a figure is no longer true. gcc 12 gives the same count every time; the margin is for
/// other compilers and libraries of the same generation.
constexpr double kMargin = 0.04;

struct Figure {
  const char* name;
  double instructions;  ///< each
};
/// gcc 12.2, -O3 -march=x86-64-v3.
constexpr Figure kFigures[] = {
    {"UDP outbound", 545.2},
    {"UDP inbound", 550.3},
    {"UDP to no session", 1048.8},
    {"UDP new", 3354.8},
    {"UDP expired", 1052.0},
    {"TCP outbound", 551.2},
    {"TCP inbound", 552.4},
    {"TCP to no session", 1054.7},
    {"ICMP query outbound", 539.2},
    {"ICMP query inbound", 543.3},
    {"ICMP query to no session", 1045.7},
    {"ESP new, without IKE", 1800.4},
    {"ESP outbound", 517.3},
    {"ESP inbound", 532.4},
    {"ESP to no session", 1121.7},
    {"ESP of an unknown SPI", 1568.2},
    {"UDP, endpoint-independent outbound", 545.2},
    {"UDP, endpoint-independent inbound", 550.3},
    {"UDP, endpoint-independent new", 4141.5},
    {"UDP, endpoint-independent expired", 909.7},
};

constexpr shared::AppPolicy kEndpointIndependent = {shared::Pooling::kRandom,
                                                    shared::Dependence::kEndpointIndependent,
                                                    shared::Dependence::kEndpointIndependent};

struct Traffic {
  const char* name;
  Kind kind;
  shared::AppPolicy policy;
};
constexpr Traffic kTraffic[] = {
    {"UDP", Kind::kUdp, {}},
    {"TCP", Kind::kTcp, {}},
    {"ICMP query", Kind::kIcmp, {}},
    {"ESP", Kind::kEsp, {}},
    {"UDP, endpoint-independent", Kind::kUdp, kEndpointIndependent},
};

// ── under callgrind ─────────────────────────────────────────────────────────────────────────────

/// Instructions since the last case do not count; those of `work` are the case's.
void measure(const std::string& name, unsigned each, const std::function<void()>& work) {
  // callgrind reads it somewhat later.
  static std::deque<std::string> reasons;
  const char* const reason = reasons.emplace_back(name + "/" + std::to_string(each)).c_str();
  CALLGRIND_ZERO_STATS;
  work();
  CALLGRIND_DUMP_STATS_AT(reason);
}

void measure_traffic(const Traffic& traffic, rte_mempool* buffers) {
  Workshop shop({.max_sessions = 4 * kFlows,
                 .flows = kFlows,
                 .pages = state::Pages::kSmall,
                 .policy = traffic.policy,
                 .kind = traffic.kind,
                 .buffers = buffers});
  const std::string name = traffic.name;
  const auto open = [&] { static_cast<void>(shop.open(0, kFlows)); };
  if (traffic.kind == Kind::kEsp)
    measure(name + " new, without IKE", kFlows, open);
  else
    open();
  shop.verify(kFlows);
  const auto bursts = [&](const char* what, bool come_out, auto&& write) {
    Sequence sequence;
    const std::uint64_t before = shop.sent();
    measure(name + " " + what, kBursts * Workshop::kBurst, [&] {
      for (unsigned i = 0; i < kBursts; ++i) {
        write(sequence);
        static_cast<void>(shop.run());
      }
    });
    if (shop.sent() - before != (come_out ? kBursts * Workshop::kBurst : 0))
      throw std::runtime_error(name + " " + what + ": packets were lost, or let through");
  };
  bursts("outbound", true, [&](Sequence& s) { shop.burst_outbound(s, kFlows); });
  bursts("inbound", true, [&](Sequence& s) { shop.burst_inbound(s, kFlows); });
  if (traffic.policy.filtering != shared::Dependence::kEndpointIndependent)
    bursts("to no session", false, [&](Sequence& s) { shop.burst_unknown(s); });
  if (traffic.kind == Kind::kEsp)
    bursts("of an unknown SPI", false, [&](Sequence& s) { shop.burst_spoofed(s, kFlows); });
  if (traffic.kind != Kind::kUdp) return;

  const std::uint32_t before = shop.sessions();
  measure(name + " new", kBursts * Workshop::kBurst, [&] {
    for (unsigned i = 0; i < kBursts; ++i)
      static_cast<void>(shop.open_burst(kFlows + i * Workshop::kBurst, Workshop::kBurst));
  });
  const std::uint32_t all = shop.sessions();
  if (all - before != kBursts * Workshop::kBurst)
    throw std::runtime_error(name + " new: sessions did not open");
  shop.pass(Workshop::kSessionTimeout + std::chrono::seconds{2});
  measure(name + " expired", all, [&] {
    for (int i = 0; i < 10'000 && shop.sessions() != 0; ++i) housekeep(shop.shard(), 32);
  });
  if (shop.sessions() != 0) throw std::runtime_error(name + " expired: some did not");
}

int measure_all() {
  const char* words[] = {"guard_instructions", "--no-huge",     "--no-pci", "--no-shconf",
                         "--no-telemetry",     "--log-level=1", "-m",       "64"};
  std::vector<char*> arguments;
  for (const char* word : words) arguments.push_back(const_cast<char*>(word));
  if (rte_eal_init(static_cast<int>(arguments.size()), arguments.data()) < 0)
    throw std::runtime_error(std::string("DPDK does not start: ") + rte_strerror(rte_errno));
  rte_mempool* const buffers =
      rte_pktmbuf_pool_create("buffers", 2047, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
  if (buffers == nullptr) throw std::runtime_error("no memory for packet buffers");
  for (const Traffic& traffic : kTraffic) measure_traffic(traffic, buffers);
  return 0;
}

// ── outside of it ───────────────────────────────────────────────────────────────────────────────

/// A directory that is removed afterwards.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string path = std::filesystem::temp_directory_path() / "lsn-guard-XXXXXX";
    if (mkdtemp(path.data()) == nullptr) throw std::runtime_error("no temporary directory");
    path_ = path;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Runs a program to its end, its output into `log`: its exit code, -1 when it was killed.
int run(const std::vector<std::string>& command, const std::filesystem::path& log) {
  const pid_t child = fork();
  if (child == 0) {
    if (std::freopen(log.c_str(), "w", stdout) == nullptr || dup2(1, 2) < 0) _exit(126);
    std::vector<char*> arguments;
    for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

std::string text_of(const std::filesystem::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Instructions each, by case, in the order of measuring.
using Counted = std::vector<std::pair<std::string, double>>;

/// callgrind's file of one case says its name and how many there were in the line that tells why it
/// was written, and the sum of all instructions in the line "totals:".
std::pair<std::string, double> read_case(const std::filesystem::path& file) {
  static constexpr std::string_view kReason = "desc: Trigger: Client Request: ", kSum = "totals: ";
  std::ifstream in(file);
  std::string name;
  double each = 0, sum = 0;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(kReason)) {
      const std::size_t slash = line.rfind('/');
      name = line.substr(kReason.size(), slash - kReason.size());
      each = std::stod(line.substr(slash + 1));
    } else if (line.starts_with(kSum)) {
      sum = std::stod(line.substr(kSum.size()));
    }
  }
  if (name.empty() || each == 0) throw std::runtime_error("not understood: " + file.string());
  return {name, sum / each};
}

Counted count() {
  const TemporaryDirectory directory;
  const std::filesystem::path out = directory.path() / "counted", log = directory.path() / "log";
  const int code =
      run({"valgrind", "--tool=callgrind", "--collect-atstart=no",
           "--toggle-collect=lsn::datapath::process_received*",
           "--toggle-collect=lsn::datapath::housekeep*", "--callgrind-out-file=" + out.string(),
           std::filesystem::read_symlink("/proc/self/exe"), "--measure"},
          log);
  if (code == 127) throw std::runtime_error("valgrind is not installed (scripts/setup does it)");
  if (code != 0) throw std::runtime_error(fmt::format("exit code {}: {}", code, text_of(log)));
  Counted counted;
  for (int i = 1; std::filesystem::exists(fmt::format("{}.{}", out.string(), i)); ++i)
    counted.push_back(read_case(fmt::format("{}.{}", out.string(), i)));
  return counted;
}

class Instructions : public testing::TestWithParam<Figure> {
 protected:
  static void SetUpTestSuite() {
    try {
      for (const auto& [name, each] : count()) counted[name] = each;
    } catch (const std::exception& error) {
      failure = error.what();
    }
  }
  static inline std::map<std::string, double> counted;
  static inline std::string failure;
};

TEST_P(Instructions, AreAsStored) {
  ASSERT_EQ(failure, "");
  const Figure& figure = GetParam();
  ASSERT_TRUE(counted.contains(figure.name)) << figure.name << " was not measured";
  EXPECT_NEAR(counted[figure.name], figure.instructions, figure.instructions * kMargin)
      << figure.name << ", compiled by " << __VERSION__ << "; if that is meant: --figures";
}

TEST_F(Instructions, AllCasesAreStored) {
  ASSERT_EQ(failure, "");
  EXPECT_EQ(counted.size(), std::size(kFigures));
}

INSTANTIATE_TEST_SUITE_P(Each, Instructions, testing::ValuesIn(kFigures), [](const auto& info) {
  std::string name = info.param.name;
  std::erase_if(name, [](char c) { return c == ' ' || c == ',' || c == '-'; });
  return name;
});

}  // namespace
}  // namespace lsn::test

int main(int argc, char** argv) {
  const std::string option = argc == 2 ? argv[1] : "";
  try {
    if (option == "--measure") return lsn::test::measure_all();
    if (option == "--figures") {
      for (const auto& [name, each] : lsn::test::count())
        fmt::print("    {{\"{}\", {:.1f}}},\n", name, each);
      return 0;
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "guard_instructions: {}\n", error.what());
    return 1;
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
