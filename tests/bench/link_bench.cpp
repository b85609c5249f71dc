// Generator and checker for whole programs at a virtual link: what comes back, how fast, and
// whether it is right.
//
//   bench_link --sockets PREFIX --boxes lsnd,forwarder [--cpu N]
//
// For each box under test it holds the server side of two memif links (abstract socket PREFIX-BOX,
// id 0 inside, id 1 outside); the box has the client side, because only that one can work without
// copying. All boxes may share one core: whoever drives this program stops those that are not
// measured (SIGSTOP), so that runs of different boxes take turns within the same second.
//
// Commands come on stdin, one line each; each is answered by one line of JSON.
//
//   wait BOX SECONDS               until both links are up
//   resolve BOX                    learn the box's MAC addresses by ARP; without it the box is taken
//                                  for a plain forwarder, and packets must come back unchanged
//   open BOX FIRST LAST            the first packets of flows [FIRST, LAST), as fast as the box takes
//                                  them; learns their NAT endpoints; asks again for what is missing
//   run BOX DIRECTION FLOWS SECS   random flows; DIRECTION: outbound, inbound, both
//   beside BOX FIRST LAST FLOWS    open, with four bursts of established flows for each burst of new
//   quit
//
// The generator keeps the box's rings full and waits where they are; "ring_full" says in what share
// of its turns it had to. Near zero the generator itself was the slower one, and the rate is only a
// lower bound of the box's.
#include <fmt/format.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdio>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "environment.hpp"
#include "frames.hpp"

namespace lsn::bench {
namespace {

constexpr unsigned kBurst = 32;
constexpr std::uint16_t kDescriptors = 1024;
/// One in so many of the packets that come back is checked byte for byte.
constexpr unsigned kCheckEvery = 64;

// The hosts that the generator plays, and the box' addresses: scripts/bench writes the same.
constexpr std::uint32_t kBoxInside = 0xC0000201, kBoxOutside = 0xC6336401;    // 192.0.2.1, 198.51.100.1
constexpr std::uint32_t kHostInside = 0xC00002FE, kHostOutside = 0xC63364FE;  // .254 of either
constexpr Mac kHostInsideMac = {2, 0, 0, 0, 1, 1}, kHostOutsideMac = {2, 0, 0, 0, 1, 2};
constexpr std::uint32_t kPoolFirst = 0xCB007100, kPoolLast = 0xCB0074FF;  // 203.0.113.0 on

enum Side : unsigned { kInside, kOutside };

struct Address {
  Mac mac;
  std::uint32_t ip;
};
constexpr Address kHosts[] = {{kHostInsideMac, kHostInside}, {kHostOutsideMac, kHostOutside}};
constexpr std::uint32_t kBoxIps[] = {kBoxInside, kBoxOutside};

double seconds_of(std::uint64_t clocks) {
  return static_cast<double>(clocks) / static_cast<double>(rte_get_tsc_hz());
}
std::uint64_t clocks_of(double seconds) {
  return static_cast<std::uint64_t>(seconds * static_cast<double>(rte_get_tsc_hz()));
}

/// What came back.
struct Tally {
  std::uint64_t received = 0;
  std::uint64_t checked = 0;
  std::uint64_t faults = 0;
  std::uint64_t strange = 0;  ///< not ours: neither ARP nor a flow's packet
  std::string first_fault;
};

/// Packets that wait for room in the box's ring.
struct Pending {
  std::array<rte_mbuf*, kBurst> packets;
  unsigned begin = 0, end = 0;

  [[nodiscard]] bool empty() const { return begin == end; }
};

/// A box under test: two links, and what is known of its flows.
class Box {
 public:
  Box(const std::string& name, const std::string& sockets, rte_mempool* buffers)
      : name_(name), buffers_(buffers) {
    for (const Side side : {kInside, kOutside}) ports_[side] = open_port(sockets, side);
    make_frames();
  }

  [[nodiscard]] bool is_up() const {
    for (const std::uint16_t port : ports_) {
      rte_eth_link link{};
      if (rte_eth_link_get_nowait(port, &link) != 0 || link.link_status != RTE_ETH_LINK_UP)
        return false;
    }
    return true;
  }

  void resolve() {
    const std::uint64_t end = rte_rdtsc() + clocks_of(5);
    translates_ = true;
    for (std::uint64_t again = 0; rte_rdtsc() < end && !(known_[0] && known_[1]);) {
      if (rte_rdtsc() >= again) {
        again = rte_rdtsc() + clocks_of(0.2);
        for (const Side side : {kInside, kOutside})
          send_arp(side, 1, Mac{}, kBoxIps[side]);
      }
      Tally tally;
      receive(tally);
    }
    if (!known_[0] || !known_[1]) throw std::runtime_error("the box does not answer ARP");
    make_frames();
  }

  nlohmann::json open(std::uint32_t first, std::uint32_t last, std::uint32_t established) {
    if (nat_.size() < last) nat_.resize(last);
    drain();
    Tally tally;
    std::uint64_t sent = 0, old_sent = 0;
    const std::uint64_t begin = rte_rdtsc();
    Pending news, olds;
    unsigned turn = 0;
    for (std::uint32_t next = first; next < last || !news.empty() || !olds.empty(); ++turn) {
      if (established != 0 && turn % 5 != 0) {
        if (olds.empty()) prepare_outbound(olds, established);
        old_sent += flush(kInside, olds);
      } else {
        if (news.empty() && next < last) {
          const unsigned n = std::min(kBurst, last - next);
          prepare(news, n, [&](std::uint8_t* frame, unsigned i) { write_opening(frame, next + i); });
          next += n;
        }
        if (const unsigned n = flush(kInside, news); n != 0) sent += n;
        else if (!news.empty()) --turn;
        if (next == last && news.empty() && established != 0 && olds.empty()) break;
      }
      receive(tally, true);
    }
    std::uint64_t last_packet = rte_rdtsc();
    settle(tally, last_packet);
    const double seconds = seconds_of(last_packet - begin);
    const std::uint64_t came = tally.received;
    // A box that was too slow has dropped some.
    const std::uint32_t missing = ask_again(first, last);
    if (missing == 0) answer(first, last);
    return {{"sent", sent},         {"beside", old_sent}, {"received", came},
            {"seconds", seconds},   {"mps", static_cast<double>(sent) / seconds / 1e6},
            {"missing", missing},   {"checked", tally.checked},
            {"faults", tally.faults}, {"first_fault", tally.first_fault}};
  }

  nlohmann::json run(const std::string& direction, std::uint32_t flows, double seconds) {
    const bool out = direction != "inbound", in = direction != "outbound";
    if (translates_ && nat_.size() < flows) throw std::runtime_error("open these flows first");
    drain();
    Tally tally;
    Pending pending[2];
    std::uint64_t turns = 0, full = 0, sent = 0;
    // A tenth of the time to fill all queues and warm all caches.
    const std::uint64_t warm = rte_rdtsc() + clocks_of(seconds / 10);
    std::uint64_t begin = 0, before = 0;
    std::uint64_t now = rte_rdtsc();
    const std::uint64_t end = now + clocks_of(seconds * 1.1);
    for (; now < end; now = rte_rdtsc()) {
      if (begin == 0 && now >= warm) {
        begin = now;
        before = tally.received;
        turns = full = 0;
      }
      for (int i = 0; i < 8; ++i) {
        ++turns;
        bool waited = false;
        if (out) {
          if (pending[kInside].empty()) prepare_outbound(pending[kInside], flows);
          sent += flush(kInside, pending[kInside]);
          waited |= !pending[kInside].empty();
        }
        if (in) {
          if (pending[kOutside].empty()) prepare_inbound(pending[kOutside], flows);
          sent += flush(kOutside, pending[kOutside]);
          waited |= !pending[kOutside].empty();
        }
        full += waited ? 1 : 0;
        receive(tally);
      }
    }
    const std::uint64_t packets = tally.received - before;
    const double time = seconds_of(now - begin);
    for (Pending& p : pending) rte_pktmbuf_free_bulk(p.packets.data() + p.begin, p.end - p.begin);
    std::uint64_t ignored = 0;
    settle(tally, ignored);
    const double lost = 1 - static_cast<double>(tally.received) / static_cast<double>(sent);
    const double rate = static_cast<double>(packets) / time;
    return {{"received", packets},
            {"seconds", time},
            {"mpps", rate / 1e6},
            {"clocks", packets == 0 ? 0 : static_cast<double>(rte_get_tsc_hz()) / rate},
            {"ring_full", static_cast<double>(full) / static_cast<double>(turns)},
            {"lost", lost},
            {"checked", tally.checked},
            {"faults", tally.faults},
            {"strange", tally.strange},
            {"first_fault", tally.first_fault}};
  }

  /// Leaves nothing in the box's rings when it is stopped.
  void drain() {
    Tally tally;
    std::uint64_t ignored = 0;
    settle(tally, ignored);
  }

 private:
  std::uint16_t open_port(const std::string& sockets, Side side) {
    const std::string device = fmt::format("net_memif_{}_{}", name_, static_cast<unsigned>(side));
    const std::string arguments =
        fmt::format("role=server,id={},socket={}-{},rsize=10,mac={}",
                    static_cast<unsigned>(side), sockets, name_,
                    side == kInside ? "02:00:00:00:01:01" : "02:00:00:00:01:02");
    if (rte_eal_hotplug_add("vdev", device.c_str(), arguments.c_str()) != 0)
      throw std::runtime_error("no memif: " + arguments);
    std::uint16_t port = 0;
    rte_eth_conf conf{};
    if (rte_eth_dev_get_port_by_name(device.c_str(), &port) != 0 ||
        rte_eth_dev_configure(port, 1, 1, &conf) != 0 ||
        rte_eth_rx_queue_setup(port, 0, kDescriptors, 0, nullptr, buffers_) != 0 ||
        rte_eth_tx_queue_setup(port, 0, kDescriptors, 0, nullptr) != 0 ||
        rte_eth_dev_start(port) != 0)
      throw std::runtime_error("memif does not start: " + arguments);
    return port;
  }

  /// To the box' MAC where that is known; a plain forwarder takes everything.
  void make_frames() {
    for (const Side side : {kInside, kOutside})
      makers_[side] = FrameMaker(Kind::kUdp, box_mac_[side], kHosts[side].mac);
  }

  template <class Write>
  void prepare(Pending& pending, unsigned count, Write&& write) {
    if (rte_pktmbuf_alloc_bulk(buffers_, pending.packets.data(), count) != 0)
      throw std::runtime_error("no packet buffers");
    for (unsigned i = 0; i < count; ++i) {
      rte_mbuf* mbuf = pending.packets[i];
      mbuf->data_len = kFrameSize;
      mbuf->pkt_len = kFrameSize;
      write(rte_pktmbuf_mtod(mbuf, std::uint8_t*), i);
    }
    pending.begin = 0;
    pending.end = count;
  }

  void write_opening(std::uint8_t* frame, std::uint32_t n) {
    const Flow flow = flow_of(n);
    makers_[kInside].write(frame, flow.inside, flow.remote, n);
  }

  void prepare_outbound(Pending& pending, std::uint32_t flows) {
    prepare(pending, kBurst,
            [&](std::uint8_t* frame, unsigned) { write_opening(frame, sequence_.below(flows)); });
  }

  void prepare_inbound(Pending& pending, std::uint32_t flows) {
    std::uint32_t numbers[kBurst];
    for (std::uint32_t& n : numbers) {
      n = sequence_.below(flows);
      if (translates_) __builtin_prefetch(&nat_[n]);
    }
    prepare(pending, kBurst, [&](std::uint8_t* frame, unsigned i) {
      const std::uint32_t n = numbers[i];
      const Flow flow = flow_of(n);
      makers_[kOutside].write(frame, flow.remote, translates_ ? nat_[n] : flow.inside, n);
    });
  }

  /// Sends what waits: how many went.
  unsigned flush(Side side, Pending& pending) {
    if (pending.empty()) return 0;
    const std::uint16_t sent = rte_eth_tx_burst(
        ports_[side], 0, pending.packets.data() + pending.begin,
        static_cast<std::uint16_t>(pending.end - pending.begin));
    pending.begin += sent;
    return sent;
  }

  void receive(Tally& tally, bool learn = false) {
    for (const Side side : {kInside, kOutside}) receive_on(side, tally, learn);
  }

  void receive_on(Side side, Tally& tally, bool learn) {
    std::array<rte_mbuf*, 2 * kBurst> packets;
    const std::uint16_t n = rte_eth_rx_burst(ports_[side], 0, packets.data(), packets.size());
    if (n == 0) return;
    for (unsigned i = 0; i < n; ++i) {
      const auto* frame = rte_pktmbuf_mtod(packets[i], const std::uint8_t*);
      if (get16(frame + 12) == 0x0800 && frame[kIpProtocol] == 17) [[likely]] {
        ++tally.received;
        if (learn && side == kOutside) this->learn(frame);
        if (++until_check_ % kCheckEvery == 0) check(side, frame, packets[i]->pkt_len, tally);
      } else if (get16(frame + 12) == 0x0806) {
        arp(side, frame);
      } else {
        ++tally.strange;
      }
    }
    rte_pktmbuf_free_bulk(packets.data(), n);
  }

  void learn(const std::uint8_t* frame) {
    const std::uint32_t n = number_of(frame, Kind::kUdp);
    if (n < nat_.size()) nat_[n] = source_of(frame, Kind::kUdp);
  }

  void check(Side side, const std::uint8_t* frame, std::uint32_t size, Tally& tally) {
    ++tally.checked;
    const std::uint32_t n = number_of(frame, Kind::kUdp);
    const Flow flow = flow_of(n);
    Expected expected;
    expected.number = n;
    std::string fault;
    if (!translates_) {
      // A forwarder may exchange the MAC addresses; all the rest is as it was sent.
      std::memcpy(expected.to.data(), frame, 6);
      std::memcpy(expected.from.data(), frame + 6, 6);
      expected.ttl = kSentTtl;
      expected.source = side == kOutside ? flow.inside : flow.remote;
      expected.destination = side == kOutside ? flow.remote : flow.inside;
    } else {
      if (n >= nat_.size() || nat_[n].ip < kPoolFirst || nat_[n].ip > kPoolLast) fault = "flow";
      expected.to = kHosts[side].mac;
      expected.from = box_mac_[side];
      if (fault.empty()) {
        expected.source = side == kOutside ? nat_[n] : flow.remote;
        expected.destination = side == kOutside ? flow.remote : flow.inside;
      }
    }
    if (fault.empty()) fault = check_frame(frame, size, expected);
    if (fault.empty()) return;
    if (tally.faults++ == 0)
      tally.first_fault = fmt::format("flow {}, {}: {}", n,
                                      side == kOutside ? "outbound" : "inbound", fault);
  }

  void arp(Side side, const std::uint8_t* frame) {
    const Address& host = kHosts[side];
    Mac sender;
    std::memcpy(sender.data(), frame + 22, 6);
    if (get32(frame + 28) == kBoxIps[side]) {
      known_[side] = true;
      box_mac_[side] = sender;
    }
    if (get16(frame + 20) == 1 && get32(frame + 38) == host.ip)
      send_arp(side, 2, sender, get32(frame + 28));
  }

  void send_arp(Side side, std::uint16_t operation, const Mac& mac, std::uint32_t ip) {
    rte_mbuf* mbuf = rte_pktmbuf_alloc(buffers_);
    if (mbuf == nullptr) return;
    mbuf->data_len = kFrameSize;
    mbuf->pkt_len = kFrameSize;
    write_arp(rte_pktmbuf_mtod(mbuf, std::uint8_t*), operation, kHosts[side].mac, kHosts[side].ip,
              mac, ip);
    if (rte_eth_tx_burst(ports_[side], 0, &mbuf, 1) == 0) rte_pktmbuf_free(mbuf);
  }

  /// Receives until nothing has come for 20 ms; `last`: when the last packet came.
  void settle(Tally& tally, std::uint64_t& last) {
    std::uint64_t quiet_since = rte_rdtsc();
    while (rte_rdtsc() - quiet_since < clocks_of(0.02)) {
      const std::uint64_t before = tally.received;
      receive(tally, true);
      if (tally.received != before) last = quiet_since = rte_rdtsc();
    }
  }

  /// One packet back for each flow, after which nothing about it is new to the box.
  void answer(std::uint32_t first, std::uint32_t last) {
    Tally tally;
    Pending pending;
    for (std::uint32_t next = first; next < last;) {
      const unsigned n = std::min(kBurst, last - next);
      prepare(pending, n, [&](std::uint8_t* frame, unsigned i) {
        const Flow flow = flow_of(next + i);
        makers_[kOutside].write(frame, flow.remote, translates_ ? nat_[next + i] : flow.inside,
                                next + i);
      });
      next += n;
      while (!pending.empty()) {
        flush(kOutside, pending);
        receive(tally);
      }
    }
    drain();
  }

  std::uint32_t ask_again(std::uint32_t first, std::uint32_t last) {
    std::uint32_t missing = 0;
    if (!translates_) return 0;
    for (int round = 0; round < 20; ++round) {
      missing = 0;
      Tally tally;
      Pending pending;
      for (std::uint32_t n = first; n < last; ++n) {
        if (nat_[n].ip != 0) continue;
        ++missing;
        prepare(pending, 1, [&](std::uint8_t* frame, unsigned) { write_opening(frame, n); });
        while (!pending.empty()) {
          flush(kInside, pending);
          receive(tally, true);
        }
      }
      if (missing == 0) return 0;
      std::uint64_t ignored = 0;
      settle(tally, ignored);
    }
    return missing;
  }

  std::string name_;
  rte_mempool* buffers_;
  std::uint16_t ports_[2]{};
  bool translates_ = false;
  bool known_[2]{};
  Mac box_mac_[2] = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}};
  FrameMaker makers_[2] = {{Kind::kUdp, Mac{}, Mac{}}, {Kind::kUdp, Mac{}, Mac{}}};
  std::vector<Endpoint> nat_;
  Sequence sequence_;
  unsigned until_check_ = 0;
};

class Program {
 public:
  Program(const std::vector<std::string>& boxes, const std::string& sockets, rte_mempool* buffers) {
    for (const std::string& name : boxes) boxes_.try_emplace(name, name, sockets, buffers);
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
      while (!box.is_up())
        if (rte_rdtsc() > end) throw std::runtime_error("the links of " + name + " stay down");
      return {{"up", true}};
    }
    if (verb == "resolve") {
      box.resolve();
      return {{"resolved", true}};
    }
    if (verb == "open" || verb == "beside") {
      std::uint32_t first = 0, last = 0, established = 0;
      words >> first >> last;
      if (verb == "beside") words >> established;
      return box.open(first, last, established);
    }
    if (verb == "run") {
      std::string direction;
      std::uint32_t flows = 0;
      double seconds = 0;
      words >> direction >> flows >> seconds;
      return box.run(direction, flows, seconds);
    }
    throw std::runtime_error("no such command: " + verb);
  }

  std::map<std::string, Box> boxes_;
};

int start(const std::vector<std::string>& boxes, const std::string& sockets, unsigned cpu,
          bool huge) {
  static std::vector<std::string> words = {"bench_link", "--no-pci", "--no-telemetry",
                                           "--log-level=1"};
  if (huge)
    words.insert(words.end(), {"--in-memory"});
  else
    words.insert(words.end(), {"--no-huge", "--no-shconf", "-m", "128"});
  words.push_back(fmt::format("--lcores=0@{}", cpu));
  static std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  if (rte_eal_init(static_cast<int>(arguments.size()), arguments.data()) < 0)
    throw std::runtime_error(std::string("DPDK does not start: ") + rte_strerror(rte_errno));
  rte_mempool* buffers = rte_pktmbuf_pool_create("buffers", 8191, 256, 0,
                                                 RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
  if (buffers == nullptr) throw std::runtime_error("no memory for packet buffers");
  Program program(boxes, sockets, buffers);
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
  CLI::App app("Generator and checker for programs at net_memif", "bench_link");
  app.add_option("--boxes", boxes, "names of the boxes under test")->delimiter(',')->required();
  app.add_option("--sockets", sockets, "what the names of the sockets begin with")->capture_default_str();
  app.add_option("--cpu", cpu, "to run on")->capture_default_str();
  app.add_flag("--no-huge", small_pages, "packet buffers without huge pages");
  CLI11_PARSE(app, argc, argv);
  try {
    return lsn::bench::start(boxes, sockets, cpu, !small_pages);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_link: {}\n", error.what());
    return 1;
  }
}
