// The packet path against the reference, in virtual time: random packets of few hosts (so that they
// meet often), random pauses around every timeout, addresses that come and go with reloads; any
// mapping and filtering, either pooling, one shard or two, one traffic domain or several.
//
// The reference knows no domains: it has a client for each address in each domain (Twins).
//
// After each packet: exactly the right frame left, byte for byte, or nothing and exactly one drop
// of the right reason. Regularly: the session table is the reference's, row by row. At the end of a
// round everything expires, and nothing is left.
//
//   LSN_SEED=n         the first round's seed; printed always, and with a failure the round's own
//   LSN_MODEL_STEPS=n  packets and pauses in all
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <random>

#include "model/environment.hpp"
#include "model/reference.hpp"
#include "support/lab.hpp"
#include "support/packet_checker.hpp"

namespace lsn::test {
namespace {

using Fate = Reference::Fate;

/// Clients of one address in several traffic domains, and the address by which the reference tells
/// each of them: the n-th of an address counts up by kApart, which is a deterministic group's order
/// as well.
struct Twins {
  static constexpr unsigned kApart = 8;

  unsigned domains = 1;  ///< 0 and so on

  [[nodiscard]] static shared::DomainId td_of(Ip named) {
    return static_cast<shared::DomainId>((named.value - Ip{"192.0.2.8"}.value) / kApart);
  }
  [[nodiscard]] static Endpoint on_the_wire(Endpoint named) {
    return {Ip{named.ip.value - td_of(named.ip) * kApart}, named.port};
  }
  [[nodiscard]] static Ip named(wire::Ipv4Address address, shared::DomainId td) {
    return Ip{address.value + td * kApart};
  }
  /// In the configuration below: inside, outside, then those of the other domains.
  [[nodiscard]] static unsigned interface_of(Ip named) {
    return td_of(named) == 0 ? 0 : 1u + td_of(named);
  }
  void add_to(Config& config) const {
    std::vector<Network>& clients = config.group().clients;
    const std::vector<Network> of_zero = clients;
    for (unsigned td = 1; td < domains; ++td) {
      config.interfaces.push_back({.name = "td" + std::to_string(td),
                                   .side = Side::kInside,
                                   .address = "192.0.2.1/24",
                                   .device = 0,
                                   .vlan = 100 + td,
                                   .td = static_cast<shared::DomainId>(td)});
      for (Network network : of_zero) {
        network.td = static_cast<shared::DomainId>(td);
        clients.push_back(network);
      }
    }
  }
};

class Round {
 public:
  explicit Round(std::uint64_t seed) : random_(seed), seed_(seed) {
    rules_.policy = {.pooling = flip() ? Pooling::kPaired : Pooling::kRandom,
                     .mapping = any_dependence(),
                     .filtering = any_dependence()};
    const std::int64_t session = 60 + pick(5) * 30, syn = 30 + pick(4) * 30;
    const std::int64_t closing = 1 + pick(40), mapping = 120 + pick(4) * 60;
    rules_.session_timeout = session * 1000;
    rules_.syn_timeout = syn * 1000;
    rules_.closing_timeout = closing * 1000;
    rules_.mapping_timeout = mapping * 1000;
    if (pick(3) == 0) rules_.port_quota = 2 + static_cast<unsigned>(pick(6));
    if (pick(3) == 0) rules_.session_quota = 2 + static_cast<unsigned>(pick(8));
    rules_.keep_parity = flip();
    rules_.keep_range = flip();

    config_ = Config::standard();
    config_.unreachable_rate = 0;  // errors are the scenarios' business
    config_.pools.clear();
    config_.add_pool("POOL", {});
    for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp}) {
      config_.group().app(protocol, protocol == Protocol::kIcmp
                                        ? AppPolicy{.pooling = rules_.policy.pooling}
                                        : rules_.policy);
      TransportPolicy& transport = config_.group().of(protocol);
      transport.session_timeout = std::chrono::seconds{session};
      transport.syn_idle_timeout = std::chrono::seconds{syn};
      transport.fin_rst_timeout = std::chrono::seconds{closing};
      transport.stun_timeout = std::chrono::seconds{mapping};
      transport.port_quota = rules_.port_quota;
      transport.session_quota = rules_.session_quota;
      transport.preserve_parity = rules_.keep_parity;
      transport.preserve_range = rules_.keep_range;
    }
    for (unsigned i = 0; i < kPoolSize; ++i) addresses_.insert(Ip{"203.0.113.3"} + i);
    write_pool();
    choose_ports();
    // A deterministic group has blocks for two of them when addresses have gone.
    if (flip())
      twins_.domains = rules_.ports == Reference::Rules::Ports::kDeterministic
                           ? 2
                           : 2 + static_cast<unsigned>(pick(2));
    twins_.add_to(config_);
    if (rules_.ports == Reference::Rules::Ports::kAny && flip()) add_statics();

    Lab::Options options;
    options.shards = 1 + static_cast<unsigned>(pick(2));
    options.arrival = flip() ? Arrival::kAlternate : Arrival::kFirst;
    options.seed = random_();
    options.start = static_cast<std::uint32_t>(random_());
    buffers_before_ = Lab::buffers_in_use();
    lab_ = std::make_unique<Lab>(config_, options);
    reference_.emplace(rules_, addresses_);
  }

  void run(std::uint64_t steps) {
    SCOPED_TRACE("replay with LSN_SEED=" + std::to_string(seed_));
    for (std::uint64_t i = 0; i < steps && !::testing::Test::HasFailure(); ++i) {
      const std::uint64_t what = pick(100);
      if (what < 45) {
        leave();
      } else if (what < 75) {
        come();
      } else if (what < 85) {
        meet();
      } else if (what < 98) {
        pause();
      } else {
        reload();
      }
      if (i % 8 == 0) compare();
    }
    if (!::testing::Test::HasFailure()) compare();
    if (!::testing::Test::HasFailure()) finish();
    if (::testing::Test::HasFailure()) tell();
  }

 private:
  static constexpr unsigned kPoolSize = 6, kClients = 5, kServers = 4;

  /// Some of the subscribers' endpoints are mapped statically, and perhaps one of their addresses,
  /// to addresses of a pool that no group has: the group's come and go. A subscriber has one of
  /// them.
  void add_statics() {
    config_.add_pool("STATIC", {"203.0.113.100-203.0.113.105"});
    if (flip()) {
      const Ip inside = any_client().ip, nat = "203.0.113.105";
      rules_.one_to_one.emplace(inside, nat);
      config_.add_one_to_one(Twins::on_the_wire({inside, 0}).ip, nat);
      config_.statics.back().td = Twins::td_of(inside);
    }
    std::set<Endpoint> used;
    for (std::uint64_t n = pick(6); n != 0; --n) {
      const Kind kind = any_kind();
      const Endpoint inside = any_client();
      if (rules_.one_to_one.contains(inside.ip)) continue;
      const Endpoint nat{Ip{"203.0.113.100"} + inside.ip.value % 4,
                         static_cast<std::uint16_t>(1 + pick(60000))};
      if (!used.insert(nat).second || !rules_.statics.emplace(std::pair{kind, inside}, nat).second)
        continue;
      config_.add_static(kind, Twins::on_the_wire(inside), nat);
      config_.statics.back().td = Twins::td_of(inside.ip);
    }
  }

  // ── choices ────────────────────────────────────────────────────────────────────────────────────

  std::uint64_t pick(std::uint64_t n) { return random_() % n; }
  bool flip() { return pick(2) == 0; }
  Dependence any_dependence() { return static_cast<Dependence>(pick(3)); }

  /// Any ports of an address, blocks, or deterministic NAT.
  void choose_ports() {
    using Ports = Reference::Rules::Ports;
    rules_.ports = static_cast<Ports>(pick(3));
    if (rules_.ports == Ports::kAny) return;
    GroupConfig& group = config_.group();
    // By large blocks the clients have several addresses, by small ones a single one.
    rules_.block_size = rules_.ports == Ports::kBlocks || flip() ? 504 : 15000;
    rules_.address_by_address = flip();
    rules_.first_client = "192.0.2.8";
    group.clients = {Network{"192.0.2.8/29"}};
    group.blocks = {.size = rules_.block_size, .most = 64, .timeout = std::chrono::seconds{0}};
    config_.pool().has_blocks = rules_.ports == Ports::kBlocks;
    if (rules_.ports == Ports::kBlocks) return;
    rules_.policy.pooling = Pooling::kPaired;
    group.deterministic =
        rules_.address_by_address ? shared::BlockOrder::kPorts : shared::BlockOrder::kAddresses;
  }

  Kind any_kind() { return static_cast<Kind>(pick(3)); }
  Endpoint any_client() {
    static constexpr std::uint16_t kPorts[] = {500, 501, 1023, 1024, 4500, 40000, 65535};
    const std::uint64_t addresses = twins_.domains == 1 ? kClients : 2;
    return {Ip{"192.0.2.10"} +
                static_cast<std::uint32_t>(pick(addresses) + pick(twins_.domains) * Twins::kApart),
            kPorts[pick(7)]};
  }
  Endpoint any_server(Kind kind) {
    static constexpr std::uint16_t kPorts[] = {53, 80, 443};
    return {Ip{"198.18.0.1"} + static_cast<std::uint32_t>(pick(kServers)),
            kind == Kind::kIcmp ? std::uint16_t{0} : kPorts[pick(3)]};
  }
  unsigned any_flags() {
    static constexpr unsigned kFlags[] = {kSyn,        kSyn,        kSyn, kSyn | kAck, kAck,
                                          kPsh | kAck, kFin | kAck, kRst, kRst | kAck};
    return kFlags[pick(9)];
  }
  /// A subscriber's NAT endpoint, now and then one without a mapping.
  Endpoint any_nat_endpoint(Kind kind) {
    std::vector<Endpoint> known;
    for (const auto& [key, session] : reference_->sessions())
      if (std::get<0>(key) == kind) known.push_back(session.nat);
    for (const auto& [key, mapping] : reference_->mappings())
      if (std::get<0>(key) == kind) known.push_back(mapping.nat);
    for (const auto& [inside, nat] : reference_->rules().statics)
      if (inside.first == kind) known.push_back(nat);
    for (const auto& [inside, nat] : reference_->rules().one_to_one)
      known.push_back({nat, any_client().port});
    if (known.empty() || pick(10) == 0)
      return {*std::next(addresses_.begin(), static_cast<long>(pick(addresses_.size()))),
              static_cast<std::uint16_t>(random_())};
    Endpoint one = known[pick(known.size())];
    if (pick(20) == 0) ++one.port;
    return one;
  }

  /// A closing segment may be forged, with any sequence number.
  bool any_far(unsigned flags) { return (flags & (kRst | kFin)) != 0 && pick(3) == 0; }

  static IpPacket packet(Kind kind, Endpoint from, Endpoint to, unsigned flags, bool answer,
                         unsigned size, bool far) {
    if (kind == Kind::kTcp) {
      IpPacket sent = tcp(from, to, flags, pattern(size));
      if (far) sent.sequence += 0x60000000;
      return sent;
    }
    if (kind == Kind::kUdp) return udp(from, to, pattern(size));
    return answer ? pong(from.ip, to, 1, pattern(size)) : ping(from, to.ip, 1, pattern(size));
  }

  /// The steps so far; the last ones are printed with a failure.
  void note(std::string step) {
    steps_.push_back(std::move(step));
    if (steps_.size() > 40) steps_.pop_front();
  }
  void note(const char* where, const IpPacket& sent) {
    note(cat({where, " ", summary_of_frame(ethernet({}, {}, kTypeIpv4, sent.bytes()))}));
  }
  void tell() const {
    static constexpr const char* kWords[] = {"ENDPOINT-INDEPENDENT", "ADDRESS-DEPENDENT",
                                             "ADDRESS-PORT-DEPENDENT"};
    std::printf("mapping %s, filtering %s, %s; quotas: %u ports, %u sessions; %u shards\n",
                kWords[static_cast<int>(rules_.policy.mapping)],
                kWords[static_cast<int>(rules_.policy.filtering)],
                rules_.policy.pooling == Pooling::kPaired ? "PAIRED" : "RANDOM", rules_.port_quota,
                rules_.session_quota, lab_->shards());
    static constexpr const char* kPorts[] = {"any ports", "port blocks", "deterministic"};
    std::printf("%s, blocks of %u, allocPolicy %s; %u traffic domains, by names %u apart\n",
                kPorts[static_cast<int>(rules_.ports)], rules_.block_size,
                rules_.address_by_address ? "PORTS" : "IPADDRS", twins_.domains, Twins::kApart);
    for (const std::string& step : steps_) std::printf("  %s\n", step.c_str());
  }

  /// A packet to a client, as it comes there: on an interface of its domain.
  [[nodiscard]] Frame frame_for(Endpoint client, const IpPacket& packet) const {
    const Endpoint there = Twins::on_the_wire(client);
    return lab_->frame_to(Twins::interface_of(client.ip), there.ip, packet.to(there).hop().bytes());
  }

  // ── steps ──────────────────────────────────────────────────────────────────────────────────────

  void leave() {
    const Kind kind = any_kind();
    const Endpoint client = any_client(), server = any_server(kind);
    const unsigned flags = any_flags(), size = static_cast<unsigned>(pick(200));
    const bool far = any_far(flags);
    const IpPacket named = packet(kind, client, server, flags, false, size, far);
    note("out ", named);
    const IpPacket sent = named.from(Twins::on_the_wire(client));
    const auto frames = lab_->send(Twins::interface_of(client.ip), sent.bytes());
    const Fate fate = reference_->outbound(kind, client, server, flags);
    if (!forwards(fate)) return refused(fate, frames, "from inside");
    ASSERT_EQ(frames.size(), 1u) << "nothing left: " << describe(sent);
    const Endpoint nat = source_of(behind_link(frames[0].bytes));
    expect_nat(kind, client, server, nat);
    expect_frame(frames[0], lab_->to_outside(sent.from(nat).hop()));
    if (fate == Fate::kOpen) reference_->open(kind, client, server, nat);
    reference_->passed(kind, client, server, true, flags, far);
    no_drop();
  }

  void come() {
    const Kind kind = any_kind();
    const Endpoint server = any_server(kind), nat = any_nat_endpoint(kind);
    const unsigned flags = any_flags(), size = static_cast<unsigned>(pick(200));
    const bool far = any_far(flags);
    const IpPacket sent = packet(kind, server, nat, flags, true, size, far);
    note("in  ", sent);
    const auto frames = lab_->from_outside(sent.bytes());
    Endpoint client;
    const Fate fate = reference_->inbound(kind, nat, server, flags, client);
    if (!forwards(fate)) return refused(fate, frames, "from outside");
    ASSERT_EQ(frames.size(), 1u) << "nobody got it: " << describe(sent);
    expect_frame(frames[0], frame_for(client, sent));
    if (fate == Fate::kOpen) reference_->open(kind, client, server, nat);
    reference_->passed(kind, client, server, false, flags, far);
    no_drop();
  }

  /// One subscriber to another one's NAT endpoint (RFC 4787 REQ-9).
  void meet() {
    const Kind kind = flip() ? Kind::kTcp : Kind::kUdp;
    const Endpoint from = any_client(), to = any_nat_endpoint(kind);
    const unsigned flags = any_flags(), size = static_cast<unsigned>(pick(200));
    const bool far = any_far(flags);
    const IpPacket named = packet(kind, from, to, flags, false, size, far);
    note("pin ", named);
    const IpPacket sent = named.from(Twins::on_the_wire(from));
    const auto frames = lab_->send(Twins::interface_of(from.ip), sent.bytes());
    const Fate out = reference_->outbound(kind, from, to, flags);
    if (!forwards(out)) return refused(out, frames, "from inside to a NAT address");
    const auto nat =
        out == Fate::kOpen ? nat_of_new(kind, from, to) : reference_->nat_of(kind, from, to);
    ASSERT_TRUE(nat) << "no session: " << describe(sent);
    expect_nat(kind, from, to, *nat);
    if (out == Fate::kOpen) reference_->open(kind, from, to, *nat);
    reference_->passed(kind, from, to, true, flags, far);

    Endpoint receiver;
    const Fate in = reference_->inbound(kind, to, *nat, flags, receiver);
    if (!forwards(in)) return refused(in, frames, "hairpinned");
    ASSERT_EQ(frames.size(), 1u) << "nobody got it: " << describe(sent);
    expect_frame(frames[0], frame_for(receiver, sent.from(*nat)));
    if (in == Fate::kOpen) reference_->open(kind, receiver, *nat, to);
    reference_->passed(kind, receiver, *nat, false, flags, far);
    no_drop();
  }

  void pause() {
    static constexpr std::int64_t kPauses[] = {1,  2,   5,   20,  29,  31,  59, 61,
                                               90, 119, 121, 200, 239, 241, 601};
    const std::int64_t seconds = pick(8) == 0 ? kPauses[pick(15)] : 0;
    wait(seconds * 1000 + static_cast<std::int64_t>(pick(50)) * 100);
  }

  void wait(std::int64_t milliseconds) {
    do {
      note(cat({"wait ", std::to_string(milliseconds), " ms"}));
      lab_->advance(std::chrono::milliseconds{milliseconds});
      now_ += milliseconds;
      // A session that ends just about now may be gone or not: a little later it is clear.
      milliseconds = 700;
      reference_->set_now(now_ - kClose);
    } while (reference_->is_close_call(now_));
    reference_->set_now(now_);
  }

  /// An address goes, or one comes back; or a static mapping goes.
  void reload() {
    std::uint64_t ended = 0;
    if (const auto& statics = reference_->rules().statics; !statics.empty() && pick(4) == 0) {
      const auto gone = *std::next(statics.begin(), static_cast<long>(pick(statics.size())));
      ended = reference_->remove_static(gone.first);
      std::erase_if(config_.statics, [&](const StaticConfig& mapping) {
        return mapping.nat_ip == gone.second.ip && mapping.nat_port == gone.second.port &&
               mapping.scope == shared::scope_of(gone.first.first);
      });
    } else if (addresses_.size() == kPoolSize || (addresses_.size() > 4 && flip())) {
      const Ip gone = *std::next(addresses_.begin(), static_cast<long>(pick(addresses_.size())));
      addresses_.erase(gone);
    } else {
      for (unsigned i = 0; i < kPoolSize; ++i)
        if (addresses_.insert(Ip{"203.0.113.3"} + i).second) break;
    }
    ended += reference_->set_addresses(addresses_);
    write_pool();
    note(cat({"reload, sessions that end: ", std::to_string(ended)}));
    EXPECT_EQ(lab_->reload(config_), ended) << "sessions that the reload ended";
    lab_->drop_predecessors();
    no_drop();
  }

  void write_pool() {
    config_.pool().addresses.clear();
    for (const Ip ip : addresses_) config_.pool().addresses.push_back(Network{to_text(ip)});
  }

  // ── checks ─────────────────────────────────────────────────────────────────────────────────────

  static bool forwards(Fate fate) { return fate == Fate::kForward || fate == Fate::kOpen; }

  static DropReason reason_of(Fate fate) {
    switch (fate) {
      case Fate::kFiltered:
      case Fate::kConflict:
        return DropReason::kFiltered;
      case Fate::kNotSyn:
        return DropReason::kTcpNotSyn;
      case Fate::kPortQuota:
        return DropReason::kPortQuota;
      case Fate::kSessionQuota:
        return DropReason::kSessionQuota;
      default:
        return DropReason::kNoMapping;
    }
  }

  void refused(Fate fate, const std::vector<Frame>& frames, const char* where) {
    EXPECT_TRUE(frames.empty()) << where << ": went through, expected " << name_of(reason_of(fate))
                                << ": " << summary_of_frame(frames[0].bytes);
    expect_drops(reason_of(fate));
  }
  void no_drop() { expect_drops(std::nullopt); }
  void expect_drops(std::optional<DropReason> expected) {
    for (std::size_t i = 0; i < shared::kDropReasons; ++i) {
      const auto reason = static_cast<DropReason>(i);
      const std::uint64_t count = lab_->drops(reason);
      EXPECT_EQ(count - counted_[i], expected == reason ? 1u : 0u) << name_of(reason);
      counted_[i] = count;
    }
  }

  void expect_nat(Kind kind, Endpoint inside, Endpoint remote, Endpoint nat) {
    if (const auto known = reference_->nat_of(kind, inside, remote)) {
      EXPECT_EQ(to_text(*known), to_text(nat)) << "another NAT endpoint than before";
    } else if (const auto fault = reference_->fault_of(config_, kind, inside, nat)) {
      ADD_FAILURE() << to_text(inside) << " got " << to_text(nat) << ": " << *fault;
    }
  }
  static void expect_frame(const Frame& actual, const Frame& expected) {
    EXPECT_EQ(actual.device, expected.device);
    EXPECT_EQ(difference(expected.bytes, actual.bytes), "");
  }

  /// Of a session whose packets do not leave: from the table.
  std::optional<Endpoint> nat_of_new(Kind kind, Endpoint inside, Endpoint remote) {
    for (const SessionRow& row : lab_->sessions())
      if (key_of(row) == Reference::SessionKey{kind, inside, remote}) return nat_of(row);
    return std::nullopt;
  }
  static Reference::SessionKey key_of(const SessionRow& row) {
    const Kind kind = row.protocol;
    return {kind,
            {Twins::named(row.subscriber_ip, row.td), row.subscriber_port},
            {Ip{row.remote_ip.value}, kind == Kind::kIcmp ? std::uint16_t{0} : row.remote_port}};
  }
  static Endpoint nat_of(const SessionRow& row) { return {Ip{row.nat_ip.value}, row.nat_port}; }

  void compare() {
    std::map<Reference::SessionKey, Endpoint> rows, expected;
    for (const SessionRow& row : lab_->sessions()) rows.emplace(key_of(row), nat_of(row));
    for (const auto& [key, session] : reference_->sessions()) expected.emplace(key, session.nat);
    expect_all_of(rows, expected, "only in the product's table");
    expect_all_of(expected, rows, "missing from the product's table");
    for (const Kind kind : {Kind::kTcp, Kind::kUdp, Kind::kIcmp})
      EXPECT_EQ(lab_->session_count(kind), reference_->count(kind));
    EXPECT_EQ(lab_->mapping_count(Protocol::kTcp) + lab_->mapping_count(Protocol::kUdp),
              reference_->mappings().size());
    // A block goes with its last port, at the next tick: its subscriber stays as long.
    if (rules_.ports != Reference::Rules::Ports::kBlocks) {
      EXPECT_EQ(lab_->subscribers(), reference_->subscribers());
    }
    EXPECT_TRUE(lab_->faults().empty()) << lab_->faults().front();
  }

  static void expect_all_of(const std::map<Reference::SessionKey, Endpoint>& some,
                            const std::map<Reference::SessionKey, Endpoint>& others,
                            const char* otherwise) {
    for (const auto& [key, nat] : some) {
      const auto it = others.find(key);
      EXPECT_TRUE(it != others.end() && it->second == nat)
          << otherwise << ": protocol " << static_cast<int>(std::get<0>(key)) << " "
          << to_text(std::get<1>(key)) << " as " << to_text(nat) << " to "
          << to_text(std::get<2>(key));
    }
  }

  void finish() {
    wait(2000 * 1000);
    EXPECT_EQ(reference_->subscribers(), 0u);
    EXPECT_EQ(lab_->subscribers(), 0u);
    EXPECT_EQ(lab_->total(&shared::Counters::port_blocks), 0u);
    compare();
    lab_->shut_down();
    EXPECT_EQ(Lab::buffers_in_use(), buffers_before_) << "packet buffers were lost";
  }

  static std::string describe(const IpPacket& packet) {
    return to_text(packet.source_endpoint()) + " to " + to_text(packet.destination_endpoint());
  }

  static constexpr std::int64_t kClose = 600;

  std::mt19937_64 random_;
  std::uint64_t seed_;
  Reference::Rules rules_;
  Twins twins_;
  Config config_;
  std::set<Ip> addresses_;
  std::unique_ptr<Lab> lab_;
  std::optional<Reference> reference_;
  std::int64_t now_ = 0;
  std::array<std::uint64_t, shared::kDropReasons> counted_{};
  std::size_t buffers_before_ = 0;
  std::deque<std::string> steps_;
};

TEST(NatModel, DoesWhatTheReferenceSays) {
  constexpr std::uint64_t kStepsPerRound = 400;
  const std::uint64_t seed = from_environment("LSN_SEED", std::random_device{}());
  const std::uint64_t steps = from_environment("LSN_MODEL_STEPS", 60000);
  std::printf("LSN_SEED=%llu LSN_MODEL_STEPS=%llu\n", static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(steps));
  for (std::uint64_t done = 0; done < steps && !HasFailure(); done += kStepsPerRound)
    Round(seed + done / kStepsPerRound).run(std::min(kStepsPerRound, steps - done));
}

}  // namespace
}  // namespace lsn::test
