// The whole packet path under arbitrary bytes: any frames on either side, whole and in pieces,
// valid packets with bytes changed, answers to and ICMP errors about packets that left before, time
// that passes, links that go and come, addresses, policies and limits that a reload changes, IKE
// and ESP through the ALG, a restart with its state file; small tables, so that they are full soon;
// one shard or two. One input is many such steps.
//
// After each step: each frame that left is sound, with no address on a side where it must never be
// seen (Lab), no subscriber got another one's packet (PathWitness), every packet is counted exactly
// once. In the end, when time has passed, no session, no mapping, no buffer is left.
//
// A finding is replayed by the input alone: a new process has a new laboratory. If it then passes,
// it depended on something that inputs before it had left behind, and that Lab::end_all() would
// have to clear.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <utility>

#include "fuzz/path_witness.hpp"
#include "support/ike_builder.hpp"
#include "support/lab.hpp"
#include "support/packet_checker.hpp"
#include "support/recycled_memory.hpp"

namespace {

using namespace lsn::test;

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

RecycledMemory memory;

class Session {
 public:
  explicit Session(FuzzedDataProvider& input) : input_(input) {
    config_ = Config::standard();
    config_.fragment_timeout = 1s;
    config_.pool().addresses = {"203.0.113.3-203.0.113.6"};
    const AppPolicy policy{.pooling = flip() ? Pooling::kPaired : Pooling::kRandom,
                           .mapping = any_dependence(),
                           .filtering = any_dependence()};
    config_.group().app(Protocol::kUdp, policy).app(Protocol::kTcp, policy);
    config_.group().tcp().syn_check = flip();
    config_.group().udp().port_quota = number(0, 3);
    config_.group().tcp().session_rate = config_.group().tcp().session_burst = number(0, 3);
    config_.interfaces[0].tcp_mss = number(0, 1) == 0 ? 0 : 536;
    config_.interfaces[1].mtu = number(0, 1) == 0 ? 1500 : 600;
    if (flip()) add_alg();
    lab_ = &laboratory(config_, number(1, 2), flip() ? Arrival::kAlternate : Arrival::kFirst);
    unaccounted_ = lab_->unaccounted();
  }

  void run() {
    for (int steps = 0; steps < kMaxSteps && input_.remaining_bytes() != 0; ++steps) {
      step();
      for (const std::string& fault : lab_->faults()) std::fprintf(stderr, "%s\n", fault.c_str());
      require(lab_->faults().empty(), "what leaves is sound");
      // A packet to the NAT's own address is the only one that is consumed and sent.
      if (std::exchange(spoke_to_us_, false)) unaccounted_ = lab_->unaccounted();
      require(lab_->unaccounted() == unaccounted_, "every packet is counted exactly once");
    }
  }

 private:
  static constexpr int kMaxSteps = 256;

  /// A few laboratories, one for each choice that no reload changes, serve all inputs: each input
  /// finds one as if it were new, and anything left over is the fault of the input before. Now and
  /// then a new one is made.
  static Lab& laboratory(const Config& config, unsigned shards, Arrival arrival) {
    constexpr unsigned kInputs = 4096;
    struct Place {
      std::unique_ptr<Lab> lab;
      unsigned inputs = 0;
    };
    static std::map<std::pair<unsigned, unsigned>, Place> places;
    Place& place = places[{shards, config.interfaces[1].mtu}];
    if (place.lab == nullptr || place.inputs++ == kInputs) {
      Lab::Options options;
      options.alg = {.ike_sessions = 8, .esp_sessions = 8, .gates = 4, .held_bytes = 16384};
      options.shards = shards;
      options.max_sessions = 16;
      options.max_fragments = 4;
      options.memory = options.shard_memory = &memory;
      place = {};
      place.lab = std::make_unique<Lab>(config, options);
    }
    renew(*place.lab, config, arrival);
    return *place.lab;
  }

  static void renew(Lab& lab, const Config& config, Arrival arrival) {
    lab.renew(config, arrival);
    lab.ignore_l4_checksums();
  }

 public:
  /// Everything that this input created must expire.
  void finish() {
    const std::string left = lab_->end_all();
    if (!left.empty()) std::fprintf(stderr, "%s\n", left.c_str());
    require(left.empty(), "everything ends");
  }

 private:
  void step() {
    switch (number(0, 11)) {
      case 0: {
        const unsigned device = number(0, 1);
        const Bytes frame = bytes(200);
        spoke_to_us_ = true;
        if (!unplugged_[device]) take(lab_->receive(device, frame));
        break;
      }
      case 1:
      case 2:
      case 3:
        send(0, packet({Ip{"192.0.2.10"} + number(0, 3), port()}, remote()));
        break;
      case 4:
      case 5:
        send(1, packet(remote(), nat()));
        break;
      case 6:
        send(0, packet({Ip{"192.0.2.10"} + number(0, 3), port()}, nat()));
        break;
      case 7:
        send_error();
        break;
      case 8:
        take(lab_->jump(std::chrono::milliseconds{100 * number(0, 255)}));
        break;
      case 9:
        if (config_.alg_profiles.empty()) break;
        if (flip()) {
          config_.group().alg = flip() ? "ALG" : "";
          reload();
        } else {
          restart();
        }
        break;
      case 10:
        unplug(number(0, 1), flip());
        break;
      default:
        change();
        reload();
        break;
    }
  }

  /// An operator edits the file.
  void change() {
    switch (number(0, 4)) {
      case 0:
        config_.pool().addresses = {flip() ? "203.0.113.3-203.0.113.6" : "203.0.113.4-203.0.113.7"};
        break;
      case 1:
        for (GroupConfig::App& app : config_.group().apps)
          if (app.first != 500 && app.first != 4500)
            app.policy = {.pooling = app.policy.pooling,
                          .mapping = any_dependence(),
                          .filtering = any_dependence()};
        break;
      case 2:
        config_.group().clients = {flip() ? "192.0.2.0/24" : "192.0.2.8/30"};
        break;
      case 3:
        config_.group().udp().session_timeout = std::chrono::seconds{number(30, 300)};
        config_.group().tcp().session_quota = number(0, 4);
        break;
      default:
        config_.pool().realloc_timeout = std::chrono::seconds{number(0, 60)};
        break;
    }
  }

  void reload() {
    lab_->reload(config_);
    witness_.forget();
  }

  /// A link goes, with all packets of the hosts on it; or it comes back.
  void unplug(unsigned device, bool gone) {
    unplugged_[device] = gone;
    for (unsigned i = 0; i < 12; ++i) {
      const Ip host = device == 0 ? Ip{"192.0.2.8"} + i : Ip{"198.51.100.5"} + i;
      gone ? lab_->silence(host) : lab_->unsilence(host);
    }
  }

  void add_alg() {
    AlgProfile profile;
    profile.name = "ALG";
    profile.gate_timeout = std::chrono::seconds{number(3, 40)};
    profile.ike_session_timeout = std::chrono::minutes{number(1, 3)};
    profile.esp_session_timeout = std::chrono::minutes{number(1, 3)};
    profile.phase2_hold = number(0, 3);
    profile.fresh_sequence = number(1, 4);
    profile.spi_candidates = number(1, 3);
    profile.esp_session_quota = number(1, 4);
    profile.require_ike = flip();
    profile.server_spread = flip();
    profile.ike_preserve_port = flip();
    config_.alg_profiles = {profile};
    config_.group().alg = "ALG";
    config_.group().apps.front().last = 499;
    config_.group().app(Protocol::kUdp, {.pooling = Pooling::kPaired}, 500, 500);
    config_.group().app(Protocol::kUdp, {.pooling = Pooling::kPaired}, 4500, 4500);
  }

  /// The records survive, or most of them, or arbitrary ones.
  void restart() {
    auto records = lab_->state();
    for (auto& record : records)
      if (number(0, 3) == 0) {
        record.inside_port = lsn::wire::Be16::of(static_cast<std::uint16_t>(number(0, 65535)));
        record.nat_port = lsn::wire::Be16::of(static_cast<std::uint16_t>(number(0, 65535)));
        record.nat_ip = lsn::wire::Be32::of((Ip{"203.0.113.2"} + number(0, 6)).value);
        record.spi_in = lsn::wire::Be32::of(number(0, 3));
        record.version = static_cast<std::uint8_t>(number(0, 255));
      }
    finish();
    renew(*lab_, config_, lab_->options().arrival);
    (void)lab_->restore(records);
    witness_.forget();
    unaccounted_ = lab_->unaccounted();
  }

  Ike any_ike() {
    static constexpr unsigned kExchanges[] = {kSaInit,         kIkeAuth,     kIkeAuth,
                                              kCreateChild,    kCreateChild, kFollowupKe,
                                              kInformational2, kIntermediate};
    Ike m;
    if (number(0, 2) != 0) {
      m = create_child(number(1, 3), number(0, 2), number(0, 4));
      m.exchange = kExchanges[number(0, 7)];
      if (flip()) m.flags ^= kIkeInitiator;
      if (flip()) m.flags ^= kIkeResponse;
      return number(0, 3) == 0 ? fragment(m, number(0, 3), 3, number(0, 60)) : m;
    }
    m = quick_mode(number(1, 3), number(0, 2), number(0, 4));
    if (number(0, 3) == 0) m.exchange = number(0, 40);
    return number(0, 3) == 0 ? fragment1(m, number(0, 2), number(0, 3), flip(), number(0, 1)) : m;
  }

  unsigned number(unsigned least, unsigned most) {
    return input_.ConsumeIntegralInRange(least, most);
  }
  bool flip() { return input_.ConsumeBool(); }
  Dependence any_dependence() { return static_cast<Dependence>(number(0, 2)); }
  std::uint16_t port() { return static_cast<std::uint16_t>(number(0, 7) * 500); }
  Endpoint remote() { return {Ip{"198.18.0.1"} + number(0, 3), port()}; }
  Bytes bytes(std::size_t most) {
    return input_.ConsumeBytes<std::uint8_t>(input_.ConsumeIntegralInRange<std::size_t>(0, most));
  }
  /// An endpoint that was seen outside, or any.
  Endpoint nat() {
    if (!seen_.empty() && number(0, 7) != 0)
      return seen_[seen_.size() - 1 - number(0, static_cast<unsigned>(seen_.size()) - 1)];
    return {Ip{"203.0.113.2"} + number(0, 6), static_cast<std::uint16_t>(number(0, 65535))};
  }

  IpPacket packet(Endpoint from, Endpoint to) {
    IpPacket made;
    switch (number(0, 8)) {
      case 5:
      case 6:
        from.port = number(0, 7) == 0 ? from.port : 500;
        to.port = number(0, 7) == 0 ? to.port : 500;
        made = number(0, 7) == 0 ? ike_floated({from.ip, 4500}, {to.ip, 4500}, any_ike())
                                 : ike(from, to, any_ike());
        break;
      case 7:
      case 8:
        made = esp(from.ip, to.ip, number(0, 5), number(0, 6));
        break;
      case 0:
        made = tcp(from, to, number(0, 63), pattern(number(0, 40)));
        break;
      case 1:
        made = ping(from, to.ip, 1, pattern(number(0, 40)));
        break;
      case 2:
        made = pong(from.ip, to, 1, pattern(number(0, 40)));
        break;
      case 3:
        made = other(from.ip, to.ip, number(0, 255), pattern(number(0, 40)));
        break;
      default:
        made = udp(from, to, pattern(number(0, 1) == 0 ? number(0, 40) : 1000));
        break;
    }
    if (number(0, 7) == 0) made.options = bytes(12);
    if (number(0, 7) == 0) made.ttl = number(0, 2);
    if (number(0, 7) == 0) made.dont_fragment = true;
    made.id = number(0, 3);
    return made;
  }

  void send(unsigned interface, IpPacket made) {
    witness_.mark(made);
    std::vector<Bytes> pieces;
    const std::size_t size = made.l4_bytes().size();
    if (size > 16 && number(0, 3) == 0) {
      const std::size_t cut = 8 * input_.ConsumeIntegralInRange<std::size_t>(1, (size - 1) / 8);
      pieces = made.fragments({cut});
      if (flip()) std::swap(pieces[0], pieces[1]);
    } else {
      pieces = {made.bytes()};
    }
    for (Bytes& piece : pieces) {
      spoil(piece);
      give(interface, piece);
    }
  }

  /// Changes some bytes, keeps the header's checksum right more often than not, cuts the end off.
  void spoil(Bytes& packet) {
    const unsigned changes = number(0, 15);
    if (changes > 4) return;
    for (unsigned i = 0; i < changes; ++i)
      packet[input_.ConsumeIntegralInRange<std::size_t>(0, packet.size() - 1)] ^=
          input_.ConsumeIntegral<std::uint8_t>();
    if (number(0, 3) == 0)
      packet.resize(input_.ConsumeIntegralInRange<std::size_t>(20, packet.size()));
    const std::size_t header = (packet[0] & 15u) * 4;
    if (number(0, 3) != 0 && header >= 20 && header <= packet.size()) fix_ip_checksum(packet);
  }

  /// About a packet that left, from a router on its way.
  void send_error() {
    if (left_.empty()) return;
    const Frame& about =
        left_[left_.size() - 1 - number(0, static_cast<unsigned>(left_.size()) - 1)];
    Bytes quoted = behind_link(about.bytes);
    if (quoted.size() < 20) return;
    quoted.resize(input_.ConsumeIntegralInRange<std::size_t>(0, quoted.size()));
    const Ip back = source_of(behind_link(about.bytes)).ip;
    Bytes error = icmp_error(about.device == 1 ? Ip{"198.18.0.9"} : Ip{"192.0.2.10"}, back,
                             number(0, 1) == 0 ? 3 : number(0, 18), number(0, 15), quoted)
                      .bytes();
    spoil(error);
    give(about.device, error);
  }

  void give(unsigned interface, const Bytes& ip_packet) {
    if (unplugged_[interface]) return;
    if (config_.interface_of(destination_of(ip_packet).ip) >= 0) spoke_to_us_ = true;
    witness_.sent(interface, ip_packet);
    take(lab_->send(interface, ip_packet));
  }

  void take(const std::vector<Frame>& frames) {
    for (const Frame& frame : frames) {
      if (unplugged_[frame.device]) continue;
      if (link_of(frame.bytes).type == kTypeIpv4) {
        const std::string wrong =
            witness_.left(frame.device, behind_link(frame.bytes), lab_->now());
        if (!wrong.empty()) std::fprintf(stderr, "%s\n", wrong.c_str());
        require(wrong.empty(), "nobody's packet at somebody else");
      }
      if (frame.device == 1) seen_.push_back(source_of(behind_link(frame.bytes)));
      left_.push_back(frame);
    }
    constexpr std::size_t kMost = 16;
    if (seen_.size() > kMost) seen_.erase(seen_.begin(), seen_.end() - kMost);
    if (left_.size() > kMost) left_.erase(left_.begin(), left_.end() - kMost);
  }

  FuzzedDataProvider& input_;
  Config config_;
  Lab* lab_ = nullptr;
  PathWitness witness_;
  std::int64_t unaccounted_ = 0;
  bool spoke_to_us_ = false;  ///< in this step
  bool unplugged_[2] = {};
  std::vector<Endpoint> seen_;
  std::vector<Frame> left_;
};

}  // namespace

/// Short stacks of allocations: most of them are the laboratory's.
extern "C" const char* __asan_default_options() {
  return "malloc_context_size=3:quarantine_size_mb=16";
}

/// Memory that an input leaves in the laboratory for the next one is no leak, but each time causes
/// a search for one, which takes ten times as long as the input: leaks are searched for when the
/// process ends.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  static std::vector<char*> arguments(*argv, *argv + *argc);
  static char later[] = "-detect_leaks=0";
  arguments.insert(arguments.begin() + 1, later);
  arguments.push_back(nullptr);
  *argc = static_cast<int>(arguments.size()) - 1;
  *argv = arguments.data();
  start_eal();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  Session session(input);
  session.run();
  session.finish();
  return 0;
}
