// Generator and checker for whole programs at a virtual link: the packets that come back, their
// rate, and whether they are right.
//
//   bench_link --boxes lsnd,forwarder [--at memif|veth] [--sockets PREFIX] [--cpu N]
//   bench_link --boxes lsnd --at ring|started-ring --sockets FILE-PREFIX --huge-dir DIRECTORY
//
// It has two links to each box under test (link.hpp). All boxes may share one core: the script that
// drives this program stops those that are not measured (SIGSTOP), so that runs of different boxes
// alternate within the same second.
//
// Commands come on stdin, one line each; each is answered by one line of JSON. KIND is udp or esp.
//
//   wait BOX SECONDS                   until both links are up
//   resolve BOX                        learn the box's MAC addresses by ARP; without it the box is
//                                      taken for a plain forwarder, and packets must come back
//                                      unchanged
//   open BOX FIRST LAST                UDP flows [FIRST, LAST) in a closed loop; learns their NAT
//                                      endpoints
//   open BOX FIRST LAST FLOWS BURSTS   the same, beside traffic of the first FLOWS: so many bursts
//                                      of it for each burst of new flows, may be a fraction
//   open BOX FIRST LAST FLOWS BURSTS RATE
//                                      the same, so many new flows per second instead of as many
//                                      as the box takes
//   tunnels BOX FIRST LAST             ESP tunnels: IKE, then a packet each way
//   run BOX KIND DIRECTION FLOWS SECS  random flows; DIRECTION: outbound, inbound, both
//   run BOX KIND DIRECTION FLOWS SECS FLOOD
//                                      the same, mixed one to one with unsolicited packets:
//                                      tuples, spis, server-spis, syn (link_floods.hpp)
//   latency BOX FLOWS GAP SECS         single UDP packets outbound, GAP seconds apart on average
//   latency BOX FLOWS GAP SECS sleep   the same, asleep while none is under way, for others on its
//                                      CPU; with every time
//   quit
//
// The generator keeps the box's rings full and waits while they are; "ring_full" is the share of
// its rounds in which it had to. Near zero the generator itself was the slower one, and the rate is
// only a lower bound of the box's.
#include <fmt/format.h>
#include <rte_eal.h>
#include <rte_errno.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "environment.hpp"
#include "link_floods.hpp"
#include "link_flows.hpp"
#include "link_tunnels.hpp"

namespace lsn::bench {
namespace {

/// A box under test, and its known facts.
struct Box {
  Box(At at, const std::string& name, const std::string& sockets, rte_mempool* buffers)
      : link(at, name, sockets, buffers) {}
  Box(const Box&) = delete;
  Box& operator=(const Box&) = delete;

  void resolve() {
    link.resolve();
    udp.make_frames();
    esp.make_frames();
  }
  Flows& flows(const std::string& kind) {
    if (kind == "udp") return udp;
    if (kind == "esp") return esp;
    throw std::runtime_error("no such kind: " + kind);
  }

  Link link;
  Flows udp{link, Kind::kUdp}, esp{link, Kind::kEsp};
  Tunnels tunnels{link, esp};
};

class Program {
 public:
  Program(At at, const std::vector<std::string>& boxes, const std::string& sockets,
          rte_mempool* buffers) {
    for (const std::string& name : boxes) boxes_.try_emplace(name, at, name, sockets, buffers);
  }

  void serve() {
    for (std::string line; std::getline(std::cin, line) && line != "quit";) {
      nlohmann::json answer;
      try {
        answer = execute(line);
      } catch (const std::exception& error) {
        answer = {{"error", error.what()}};
      }
      std::cout << answer.dump() << std::endl;
    }
  }

 private:
  nlohmann::json execute(const std::string& line) {
    std::istringstream words(line);
    std::string verb, name;
    words >> verb >> name;
    const auto found = boxes_.find(name);
    if (found == boxes_.end()) throw std::runtime_error("no such box: " + name);
    Box& box = found->second;
    if (verb == "wait") {
      double seconds = 0;
      words >> seconds;
      const std::uint64_t end = rte_rdtsc() + clocks_of(seconds);
      while (!box.link.is_up())
        if (rte_rdtsc() > end) throw std::runtime_error("the links of " + name + " stay down");
      return {{"up", true}};
    }
    if (verb == "resolve") {
      box.resolve();
      return {{"resolved", true}};
    }
    if (verb == "open") {
      std::uint32_t first = 0, last = 0, established = 0;
      double bursts = 0, rate = 0;
      words >> first >> last >> established >> bursts >> rate;
      return box.udp.open(first, last, established, bursts, rate);
    }
    if (verb == "tunnels") {
      std::uint32_t first = 0, last = 0;
      words >> first >> last;
      return box.tunnels.open(first, last);
    }
    if (verb == "run") {
      std::string kind, direction, flood;
      std::uint32_t flows = 0;
      double seconds = 0;
      words >> kind >> direction >> flows >> seconds >> flood;
      if (kind == "imix") return box.udp.run_imix(direction, flows, seconds);
      const std::unique_ptr<Flood> mixed =
          flood.empty() ? nullptr : make_flood(flood, box.link, box.esp);
      return box.flows(kind).run(direction, flows, seconds, mixed.get());
    }
    if (verb == "latency") {
      std::uint32_t flows = 0;
      double gap = 0, seconds = 0;
      std::string sleep;
      words >> flows >> gap >> seconds >> sleep;
      return box.udp.latency(flows, gap, seconds, sleep == "sleep");
    }
    throw std::runtime_error("no such command: " + verb);
  }

  std::map<std::string, Box> boxes_;
};

/// The generator's lcore: one that no box has, since a secondary process shares caches of buffers
/// by lcore.
constexpr unsigned kLcore = 100;

int start(At at, const std::vector<std::string>& boxes, const std::string& sockets, unsigned cpu,
          bool huge, const std::string& huge_dir) {
  static std::vector<std::string> words = {"bench_link", "--no-pci", "--no-telemetry",
                                           "--log-level=1"};
  if (at == At::kRing || at == At::kStartedRing)
    // Also the box's memory: all processes have to agree on memory that is allocated later.
    words.insert(words.end(), {"--proc-type=primary", "--file-prefix=" + sockets,
                               "--huge-dir=" + huge_dir, "-m", "128"});
  else if (huge)
    words.insert(words.end(), {"--in-memory"});
  else
    words.insert(words.end(), {"--no-huge", "--no-shconf", "-m", "128"});
  words.push_back(fmt::format("--lcores={}@{}", kLcore, cpu));
  static std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  if (rte_eal_init(static_cast<int>(arguments.size()), arguments.data()) < 0)
    throw std::runtime_error(std::string("DPDK does not start: ") + rte_strerror(rte_errno));
  // A secondary testpmd looks for its buffers by this name.
  rte_mempool* buffers = rte_pktmbuf_pool_create("mb_pool_0", 8191, 256, RTE_CACHE_LINE_SIZE,
                                                 RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
  if (buffers == nullptr) throw std::runtime_error("no memory for packet buffers");
  Program program(at, boxes, sockets, buffers);
  std::cout << nlohmann::json{{"environment", environment()}}.dump() << std::endl;
  program.serve();
  return 0;
}

}  // namespace
}  // namespace lsn::bench

int main(int argc, char** argv) {
  std::vector<std::string> boxes;
  std::string sockets = "lsn-bench";
  unsigned cpu = 0;
  bool small_pages = false;
  std::string at = "memif", huge_dir;
  using lsn::bench::At;
  const std::map<std::string, At> places = {{"memif", At::kMemif},
                                            {"veth", At::kVeth},
                                            {"ring", At::kRing},
                                            {"started-ring", At::kStartedRing}};
  CLI::App app("Generator and checker for boxes at virtual links", "bench_link");
  app.add_option("--at", at, "the kind of link")
      ->check(CLI::IsMember(places))
      ->capture_default_str();
  app.add_option("--boxes", boxes, "names of the boxes under test")->delimiter(',')->required();
  app.add_option("--sockets", sockets, "what the names of the sockets begin with")
      ->capture_default_str();
  app.add_option("--huge-dir", huge_dir, "where hugetlbfs is mounted, for rings");
  app.add_option("--cpu", cpu, "to run on")->capture_default_str();
  app.add_flag("--no-huge", small_pages, "packet buffers without huge pages");
  CLI11_PARSE(app, argc, argv);
  try {
    return lsn::bench::start(places.at(at), boxes, sockets, cpu, !small_pages, huge_dir);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_link: {}\n", error.what());
    return 1;
  }
}
