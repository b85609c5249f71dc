// Reloads under traffic, in virtual time: random configurations follow one another, with packets
// from both sides before, between and after the shards' steps for each (adopt one by one, sweep).
//
// Held after each step, against the reference (reload_reference.hpp):
//   no subscriber gets another one's packet; sessions that the new configuration still allows
//   live on with the same NAT endpoint, also while the shards disagree; those that it does not
//   allow are gone from both sides, from the moment that all have adopted it; new sessions are
//   served or refused as after a fresh start, for which a second laboratory is the standard; no
//   packet goes round in circles; gauges and limits count the present state; a subscriber is with
//   one shard, and an address never moves while it is configured
//
//   LSN_SEED=n           the first round's seed; printed always, and with a failure the round's own
//   LSN_MODEL_RELOADS=n  reloads in all, at least
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <random>

#include "model/environment.hpp"
#include "model/reload_reference.hpp"
#include "support/lab.hpp"
#include "support/packet_checker.hpp"

namespace lsn::test::reloads {
namespace {

using Fate = ReloadReference::Fate;
using Key = ReloadReference::Key;
using Kind = ReloadReference::Kind;
using Phase = ReloadReference::Phase;

constexpr std::array kKinds{Kind::kTcp, Kind::kUdp, Kind::kIcmp};
constexpr unsigned kGroups = 3, kPools = 4, kAddresses = 12, kBlocks = 8, kBlockSize = 8;
constexpr int kNobody = -1;

/// All that a reload may change, by numbers; config() writes it down.
struct Plan {
  struct Group {
    unsigned version = 0;                                                   ///< of its name
    unsigned pools = 1;                                                     ///< bit per pool
    std::array<std::array<AppPolicy, 2>, shared::kPortProtocols> policies;  ///< up to 1000, above
    shared::ByPortProtocol<TransportPolicy> transport;
  };
  std::array<Group, kGroups> groups;
  std::array<int, kAddresses> pool_of{};  ///< kNobody: not configured
  std::array<int, kBlocks> group_of{};    ///< of a block of client addresses
  std::array<unsigned, kPools> realloc{};

  static Ip address(unsigned i) { return Ip{"203.0.113.3"} + i; }
  static Ip block(unsigned i) { return Ip{"192.0.2.16"} + i * kBlockSize; }

  [[nodiscard]] Config config() const {
    Config config = Config::standard();
    config.unreachable_rate = 0;  // errors are the scenarios' business
    config.pools.clear();
    config.groups.clear();
    for (unsigned p = 0; p < kPools; ++p) {
      PoolConfig& pool = config.add_pool("P" + std::to_string(p), {});
      pool.realloc_timeout = std::chrono::seconds{realloc[p]};
      for (unsigned a = 0; a < kAddresses; ++a)
        if (pool_of[a] == static_cast<int>(p))
          pool.addresses.push_back(Network{to_text(address(a))});
    }
    for (unsigned g = 0; g < kGroups; ++g) {
      const Group& from = groups[g];
      GroupConfig& group =
          config.add_group("G" + std::to_string(g) + "." + std::to_string(from.version), {}, {});
      for (unsigned p = 0; p < kPools; ++p)
        if ((from.pools >> p & 1) != 0) group.pools.push_back("P" + std::to_string(p));
      for (unsigned b = 0; b < kBlocks; ++b)
        if (group_of[b] == static_cast<int>(g))
          group.clients.push_back(
              Network{to_text(block(b)) + "-" + to_text(block(b) + (kBlockSize - 1))});
      for (const Kind kind : kKinds) {
        const auto k = static_cast<std::size_t>(kind);
        group.app(kind, from.policies[k][0], 0, 1000);
        if (kind != Kind::kIcmp) group.app(kind, from.policies[k][1], 1001, 65535);
      }
      group.transport = from.transport;
    }
    return config;
  }
};

class Round {
 public:
  explicit Round(std::uint64_t seed) : random_(seed), seed_(seed) {
    for (unsigned g = 0; g < kGroups; ++g) {
      plan_.groups[g].pools = 1 + static_cast<unsigned>(pick((1u << kPools) - 1));
      for (const Kind kind : kKinds) {
        change_policy(plan_.groups[g], kind, 0);
        change_policy(plan_.groups[g], kind, 1);
        change_times(transport(g, kind));
        if (pick(3) == 0) change_limits(transport(g, kind));
      }
    }
    for (int& pool : plan_.pool_of) pool = static_cast<int>(pick(kPools));
    for (int& group : plan_.group_of) group = static_cast<int>(pick(kGroups));
    config_ = plan_.config();
    options_.shards = 1 + static_cast<unsigned>(pick(4));
    options_.arrival = flip() ? Arrival::kAlternate : Arrival::kFirst;
    options_.seed = random_();
    options_.start = static_cast<std::uint32_t>(random_());
    options_.max_sessions = 512;
    buffers_before_ = Lab::buffers_in_use();
    lab_ = std::make_unique<Lab>(config_, options_);
    reference_.emplace(config_);
  }

  void run(unsigned reloads) {
    SCOPED_TRACE("replay with LSN_SEED=" + std::to_string(seed_));
    for (unsigned i = 0; i < reloads && !failed(); ++i) {
      const std::uint64_t steps = pick(30);
      for (std::uint64_t k = 0; k < steps && !failed(); ++k) step();
      if (!failed()) compare();
      if (!failed()) reload();
    }
    if (!failed()) finish();
    if (failed()) {
      std::printf("%u shards\n", lab_->shards());
      for (const std::string& step : steps_) std::printf("  %s\n", step.c_str());
    }
  }

 private:
  static bool failed() { return ::testing::Test::HasFailure(); }

  // ── choices ────────────────────────────────────────────────────────────────────────────────────

  std::uint64_t pick(std::uint64_t n) { return random_() % n; }
  bool flip() { return pick(2) == 0; }
  TransportPolicy& transport(unsigned group, Kind kind) {
    return plan_.groups[group].transport[static_cast<std::size_t>(kind)];
  }
  std::chrono::seconds seconds(unsigned least, unsigned steps, unsigned step) {
    return std::chrono::seconds{least + pick(steps) * step};
  }

  Kind any_kind() { return kKinds[pick(3)]; }
  Endpoint any_client() {
    static constexpr std::uint16_t kPorts[] = {1022, 1023, 1024, 40001};
    const Ip ip =
        Plan::block(static_cast<unsigned>(pick(kBlocks))) + static_cast<std::uint32_t>(pick(2));
    return {ip, kPorts[pick(4)]};
  }
  Endpoint any_server(Kind kind) {
    static constexpr std::uint16_t kPorts[] = {53, 80, 5000};
    return {Ip{"198.18.0.1"} + static_cast<std::uint32_t>(pick(3)),
            kind == Kind::kIcmp ? std::uint16_t{0} : kPorts[pick(3)]};
  }
  /// A subscriber's NAT endpoint, of before the last reload too; now and then one without a
  /// mapping.
  Endpoint any_nat_endpoint(Kind kind) {
    std::vector<Endpoint> known = former_[static_cast<std::size_t>(kind)];
    for (const auto& [key, session] : reference_->sessions())
      if (std::get<0>(key) == kind) known.push_back(session.nat);
    for (const auto& [id, mapping] : reference_->mappings())
      if (mapping.kind == kind) known.push_back(mapping.nat);
    if (known.empty() || pick(20) == 0)
      return {Plan::address(static_cast<unsigned>(pick(kAddresses))),
              static_cast<std::uint16_t>(random_())};
    return known[pick(known.size())];
  }
  std::optional<Key> any_session() {
    auto& sessions = reference_->sessions();
    if (sessions.empty()) return std::nullopt;
    return std::next(sessions.begin(), static_cast<long>(pick(sessions.size())))->first;
  }

  static IpPacket packet(Kind kind, Endpoint from, Endpoint to, unsigned flags, bool answer) {
    if (kind == Kind::kTcp) return tcp(from, to, flags, {});
    if (kind == Kind::kUdp) return udp(from, to, pattern(20));
    return answer ? pong(from.ip, to, 1, pattern(20)) : ping(from, to.ip, 1, pattern(20));
  }

  // ── configurations ─────────────────────────────────────────────────────────────────────────────

  void change_policy(Plan::Group& group, Kind kind, unsigned range) {
    static constexpr Dependence kAll[] = {Dependence::kEndpointIndependent, Dependence::kAddress,
                                          Dependence::kAddressPort};
    AppPolicy& policy = group.policies[static_cast<std::size_t>(kind)][range];
    policy.pooling = flip() ? Pooling::kPaired : Pooling::kRandom;
    if (kind == Kind::kIcmp) return;
    // Mostly the kinds that people use: endpoint-independent mapping.
    policy.mapping = pick(3) == 0 ? kAll[pick(3)] : Dependence::kEndpointIndependent;
    policy.filtering = kAll[pick(3)];
  }
  void change_times(TransportPolicy& t) {
    t.session_timeout = seconds(60, 5, 60);
    t.syn_idle_timeout = seconds(30, 4, 30);
    t.fin_rst_timeout = seconds(5, 5, 20);
    t.stun_timeout = seconds(120, 4, 120);
  }
  void change_limits(TransportPolicy& t) {
    t.port_quota = pick(3) == 0 ? 2 + static_cast<unsigned>(pick(4)) : 0;
    t.session_quota = pick(3) == 0 ? 3 + static_cast<unsigned>(pick(6)) : 0;
    t.group_session_limit = flip() ? 4 + pick(12) : 0;
  }
  /// One thing that an operator may do to the file.
  std::string change() {
    const auto g = static_cast<unsigned>(pick(kGroups));
    const Kind kind = any_kind();
    switch (pick(11)) {
      case 0: {
        int& group = plan_.group_of[pick(kBlocks)];
        group = pick(5) == 0 ? kNobody : static_cast<int>(pick(kGroups));
        return "a network moves";
      }
      case 1:
      case 2: {
        int& pool = plan_.pool_of[pick(kAddresses)];
        pool = pick(3) == 0 ? kNobody : static_cast<int>(pick(kPools));
        return "an address moves";
      }
      case 3:
        plan_.groups[g].pools ^= 1u << pick(kPools);
        return "a pool comes or goes";
      case 4:
        for (unsigned range : {0u, 1u}) change_policy(plan_.groups[g], kind, range);
        return "policies";
      case 5:
        change_policy(plan_.groups[g], kind, static_cast<unsigned>(pick(2)));
        return "a policy";
      case 6:
        change_times(transport(g, kind));
        return "times";
      case 7:
        change_limits(transport(g, kind));
        return "limits";
      case 8: {
        TransportPolicy& t = transport(g, kind);
        (flip() ? t.preserve_parity : t.preserve_range) ^= true;
        return "ports";
      }
      case 9:
        plan_.realloc[pick(kPools)] = static_cast<unsigned>(pick(3)) * 60;
        return "portrealloctimeout";
      default:
        ++plan_.groups[g].version;
        return "a group is renamed";
    }
  }

  // ── packets ────────────────────────────────────────────────────────────────────────────────────

  enum class Strictness : std::uint8_t {
    kExact,
    /// A session that has not been met since the reload still counts for quotas and limits, and
    /// does not yet for a filtering that has become ADDRESS-DEPENDENT.
    kBeforeSweep,
  };

  void note(std::string step) {
    steps_.push_back(std::move(step));
    if (steps_.size() > 60) steps_.pop_front();
  }
  /// Sends it and returns the results; checks that it was handed off at most once more than there
  /// are shards.
  std::vector<Frame> send(bool out, const IpPacket& sent) {
    note(cat({out ? "out " : "in  ", summary_of_frame(ethernet({}, {}, kTypeIpv4, sent.bytes()))}));
    const std::uint64_t handoffs = lab_->total(&shared::Counters::handoff_sent);
    const std::uint64_t arp = lab_->total(&shared::Counters::arp_replies_received);
    auto frames = out ? lab_->from_inside(sent.bytes()) : lab_->from_outside(sent.bytes());
    if (lab_->total(&shared::Counters::arp_replies_received) == arp) {
      EXPECT_LE(lab_->total(&shared::Counters::handoff_sent) - handoffs, lab_->shards() + 1);
    }
    return frames;
  }

  /// The drop that was counted since the last time, if there was one.
  std::optional<DropReason> dropped() {
    std::optional<DropReason> reason;
    for (std::size_t i = 0; i < shared::kDropReasons; ++i) {
      const std::uint64_t count = lab_->drops(static_cast<DropReason>(i));
      EXPECT_LE(count - counted_[i], reason ? 0u : 1u) << name_of(static_cast<DropReason>(i));
      if (count != counted_[i]) reason = static_cast<DropReason>(i);
      counted_[i] = count;
    }
    return reason;
  }
  static bool explains(Fate fate, DropReason reason) {
    switch (fate) {
      case Fate::kNotAClient:
        return reason == DropReason::kNotAClient;
      case Fate::kNoAddress:
        return reason == DropReason::kPoolExhausted;
      case Fate::kNotSyn:
        return reason == DropReason::kTcpNotSyn;
      case Fate::kSessionQuota:
        return reason == DropReason::kSessionQuota;
      case Fate::kGroupLimit:
        return reason == DropReason::kGroupSessionLimit;
      case Fate::kPortQuota:
        return reason == DropReason::kPortQuota;
      case Fate::kNotOurs:
        return reason == DropReason::kNotForUs;
      case Fate::kNobodys:
        // A port that waits for its portrealloctimeout is taken, but no subscriber's.
        return reason == DropReason::kNoMapping || reason == DropReason::kFiltered;
      case Fate::kConflict:
        return reason == DropReason::kFiltered;
      case Fate::kForward:
      case Fate::kOpen:
        break;
    }
    return false;
  }
  [[nodiscard]] std::uint64_t counted_of(DropReason reason) const {
    return counted_[static_cast<std::size_t>(reason)];
  }
  static bool is_of_limits(Fate fate) {
    return fate == Fate::kSessionQuota || fate == Fate::kGroupLimit || fate == Fate::kPortQuota;
  }
  static bool is_of_limits(DropReason reason) {
    return reason == DropReason::kSessionQuota || reason == DropReason::kGroupSessionLimit ||
           reason == DropReason::kPortQuota;
  }

  /// Whether a packet went through, checked against the reference.
  bool goes_through(Fate fate, const std::vector<Frame>& frames, Strictness strictness) {
    const auto reason = dropped();
    const bool went = !frames.empty();
    EXPECT_EQ(frames.size() + (reason ? 1 : 0), 1u) << "one frame, or one drop";
    if (failed()) return false;
    const bool expected = fate == Fate::kForward || fate == Fate::kOpen;
    if (strictness == Strictness::kBeforeSweep) {
      if (went && is_of_limits(fate)) return true;
      // Limits are asked before an address is looked for.
      if (!went && is_of_limits(*reason) &&
          (fate == Fate::kOpen || fate == Fate::kNoAddress || is_of_limits(fate)))
        return false;
      if (!went && *reason == DropReason::kFiltered && (fate == Fate::kOpen || is_of_limits(fate)))
        return false;
    }
    if (went) {
      EXPECT_TRUE(expected) << "went through: " << summary_of_frame(frames[0].bytes);
    } else {
      EXPECT_TRUE(!expected && explains(fate, *reason))
          << "dropped: " << name_of(*reason) << ", fate " << static_cast<unsigned>(fate)
          << (strictness == Strictness::kBeforeSweep ? ", before the sweep" : "");
    }
    return went && !failed();
  }

  /// From inside. True if it went through.
  bool leave(Kind kind, Endpoint client, Endpoint server, unsigned flags,
             Strictness strictness = Strictness::kExact) {
    const IpPacket sent = packet(kind, client, server, flags, false);
    const Fate fate = reference_->outbound(kind, client, server);
    const auto frames = send(true, sent);
    if (!goes_through(fate, frames, strictness)) return false;
    const Endpoint nat = source_of(behind_link(frames[0].bytes));
    const Frame expected = lab_->to_outside(sent.from(nat).hop());
    EXPECT_EQ(frames[0].device, expected.device);
    EXPECT_EQ(difference(expected.bytes, frames[0].bytes), "");
    const Key key{kind, client, server};
    if (const auto* session = reference_->find(key)) {
      EXPECT_EQ(to_text(session->nat), to_text(nat)) << "another NAT endpoint than before";
    } else {
      if (const auto fault = reference_->fault_of(kind, client, server, nat))
        ADD_FAILURE() << to_text(client) << " got " << to_text(nat) << ": " << *fault;
      if (failed()) return false;
      reference_->open(kind, client, server, nat, false);
    }
    reference_->passed(key, true);
    return !failed();
  }

  /// From outside. True if it went through.
  bool come(Kind kind, Endpoint server, Endpoint nat, unsigned flags,
            Strictness strictness = Strictness::kExact) {
    const IpPacket sent = packet(kind, server, nat, flags, true);
    Endpoint client;
    const Fate fate = reference_->inbound(kind, nat, server, client);
    const auto frames = send(false, sent);
    if (!reference_->filters_by_address(kind, nat) && fate == Fate::kOpen) {
      EXPECT_NE(lab_->drops(DropReason::kFiltered), counted_of(DropReason::kFiltered) + 1);
    }
    if (!goes_through(fate, frames, strictness)) return false;
    const Frame expected = lab_->to_inside(sent.to(client).hop());
    EXPECT_EQ(frames[0].device, expected.device);
    EXPECT_EQ(difference(expected.bytes, frames[0].bytes), "") << "somebody else's packet?";
    if (failed()) return false;
    if (fate != Fate::kForward) reference_->open(kind, client, server, nat, true);
    reference_->passed({kind, client, server}, false);
    return true;
  }

  void go_on(const Key& key, Strictness strictness = Strictness::kExact) {
    const auto& [kind, client, server] = key;
    ReloadReference::Session& s = *reference_->find(key);
    if (s.phase == Phase::kClosing || s.is_doubtful) return;
    const Endpoint nat = s.nat;
    if (kind == Kind::kTcp && s.phase == Phase::kOpening) {
      // The rest of the handshake, or of the one that came from outside.
      const bool opened = s.from_outside ? leave(kind, client, server, kSyn | kAck, strictness) &&
                                               come(kind, server, nat, kAck, strictness)
                                         : come(kind, server, nat, kSyn | kAck, strictness) &&
                                               leave(kind, client, server, kAck, strictness);
      if (opened) s.phase = Phase::kOpen;
      return;
    }
    const bool out = flip();
    if (out) {
      leave(kind, client, server, kPsh | kAck, strictness);
    } else {
      come(kind, server, nat, kPsh | kAck, strictness);
    }
  }

  void begin(Strictness strictness = Strictness::kExact) {
    const Kind kind = any_kind();
    const Endpoint client = any_client(), server = any_server(kind);
    const Key key{kind, client, server};
    if (reference_->find(key) != nullptr) return go_on(key, strictness);
    // An idle mapping goes over to the port of the next session, unless it is to go; whether it is
    // idle, or goes, it may not know yet.
    if (strictness == Strictness::kBeforeSweep &&
        reference_->has_idle_mapping(kind, client, server))
      return;
    if (leave(kind, client, server, kSyn, strictness) && kind == Kind::kTcp && pick(4) != 0)
      go_on(key, strictness);
  }
  void probe(Strictness strictness = Strictness::kExact) {
    const Kind kind = any_kind();
    const Endpoint nat = any_nat_endpoint(kind), server = any_server(kind);
    Endpoint client;
    if (reference_->inbound(kind, nat, server, client) == Fate::kForward)
      return go_on({kind, client, server}, strictness);
    come(kind, server, nat, kSyn, strictness);
  }
  void close() {
    const auto key = any_session();
    if (!key || std::get<0>(*key) != Kind::kTcp) return;
    const auto& [kind, client, server] = *key;
    ReloadReference::Session& s = *reference_->find(*key);
    if (s.phase != Phase::kOpen) return;
    if (leave(kind, client, server, kFin | kAck) && come(kind, server, s.nat, kFin | kAck))
      s.phase = Phase::kClosing;
  }

  void step() {
    const std::uint64_t what = pick(100);
    if (what < 40) {
      begin();
    } else if (what < 65) {
      probe();
    } else if (what < 80) {
      if (const auto key = any_session()) go_on(*key);
    } else if (what < 85) {
      close();
    } else {
      static constexpr std::int64_t kPauses[] = {5, 30, 61, 119, 130, 300};
      wait(pick(3) == 0 ? kPauses[pick(6)] * 1000 : static_cast<std::int64_t>(pick(50)) * 100);
    }
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

  // ── reloads ────────────────────────────────────────────────────────────────────────────────────

  void reload() {
    std::string what;
    for (std::uint64_t i = 1 + pick(3); i != 0; --i) what += change() + ", ";
    remember_endpoints();
    const auto owners = address_owners();
    const std::uint64_t before = ended();
    config_ = plan_.config();
    note("reload: " + what);
    lab_->publish(config_);
    const std::uint64_t expected = reference_->reload(config_);

    // Some work with the new configuration, others not yet: sessions that live on do not notice.
    std::vector<unsigned> order(lab_->shards());
    for (unsigned i = 0; i < order.size(); ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), random_);
    for (const unsigned shard : order) {
      if (const auto key = any_session(); key && !failed()) go_on(*key);
      note("adopt " + std::to_string(shard));
      lab_->adopt(shard);
    }
    // All do, but none has swept its tables; then some have, a little.
    for (std::uint64_t i = pick(12); i != 0 && !failed(); --i) {
      if (pick(3) == 0) {
        begin(Strictness::kBeforeSweep);
      } else if (flip()) {
        probe(Strictness::kBeforeSweep);
      } else {
        sweep_some();
      }
    }
    if (failed()) return;
    note("sweep");
    lab_->sweep();
    sweeps_.clear();
    std::uint64_t uncertain = 0;
    resolve_uncertain(uncertain);
    EXPECT_EQ(ended() - before, expected + uncertain) << "sessions that the reload ended";
    for (const auto& [ip, owner] : address_owners())
      if (const auto old = owners.find(ip); old != owners.end()) {
        EXPECT_EQ(old->second, owner) << to_text(ip) << " has moved";
      }
    lab_->drop_predecessors();
    dropped();
    if (!failed()) compare();
    if (!failed()) begin_as_after_a_fresh_start();
    // Sessions that are overdue by a shorter timeout end now.
    if (!failed()) wait(1000);
  }

  void sweep_some() {
    const auto shard = static_cast<unsigned>(pick(lab_->shards()));
    datapath::GenerationSweep& sweep = sweeps_[shard];
    note("sweep some at " + std::to_string(shard));
    if (!sweep.finished) enforce_generation(lab_->shard(shard), sweep, 1 + pick(8));
  }

  /// Sessions that came in unanswered, and that only another one from the same host lets stay.
  void resolve_uncertain(std::uint64_t& ended) {
    std::set<Key> there;
    for (const SessionRow& row : lab_->sessions()) there.insert(key_of(row));
    std::vector<Key> gone;
    for (auto& [key, session] : reference_->sessions()) {
      if (!session.is_doubtful) continue;
      if (!there.contains(key)) {
        gone.push_back(key);
      } else {
        EXPECT_TRUE(session.was_let_in || reference_->is_let_in_by_another(key))
            << to_text(std::get<2>(key)) << " to " << to_text(session.nat) << " of "
            << to_text(std::get<1>(key)) << ": nothing lets it in any more";
        session.was_let_in = true;
      }
    }
    for (auto& [key, session] : reference_->sessions()) session.is_doubtful = false;
    for (const Key& key : gone) reference_->forget(key);
    ended = gone.size();
  }

  /// A subscriber without state is treated as by a NAT that has just begun with the same
  /// configuration.
  void begin_as_after_a_fresh_start() {
    if (pick(3) != 0) return;
    Lab fresh(config_, options_);
    const auto subscribers = reference_->subscribers();
    for (unsigned i = 0; i < 4 && !failed(); ++i) {
      const Kind kind = any_kind();
      const Endpoint client = any_client(), server = any_server(kind);
      if (subscribers.contains(client.ip)) continue;
      const IpPacket opening = packet(kind, client, server, kSyn, false);
      const auto here = send(true, opening);
      const auto there = fresh.from_inside(opening.bytes());
      const auto reason = dropped();
      // A limit of the group counts sessions from before.
      const GroupConfig* group = reference_->group_of(client.ip);
      if (group != nullptr &&
          group->transport[static_cast<std::size_t>(kind)].group_session_limit != 0 && reason)
        continue;
      EXPECT_EQ(here.size(), there.size()) << (reason ? name_of(*reason) : "");
      if (failed()) return;
      if (here.empty()) {
        EXPECT_NE(fresh.drops(*reason), 0u) << name_of(*reason);
        continue;
      }
      const Endpoint nat = source_of(behind_link(here[0].bytes));
      const Endpoint other = source_of(behind_link(there[0].bytes));
      if (reference_->find({kind, client, server}) == nullptr)
        reference_->open(kind, client, server, nat, false);
      reference_->passed({kind, client, server}, true);
      // And so are unsolicited hosts that send to it.
      const Endpoint outside_host = any_server(kind);
      if (outside_host == server) continue;
      const auto came = fresh.from_outside(packet(kind, outside_host, other, kSyn, true).bytes());
      const bool comes = come(kind, outside_host, nat, kSyn, Strictness::kBeforeSweep);
      if (group->transport[static_cast<std::size_t>(kind)].group_session_limit == 0) {
        EXPECT_EQ(comes, !came.empty()) << "an outside host is let in";
      }
    }
    for (const std::string& fault : fresh.faults()) ADD_FAILURE() << fault;
  }

  void remember_endpoints() {
    for (auto& endpoints : former_) endpoints.clear();
    for (const auto& [key, session] : reference_->sessions())
      former_[static_cast<std::size_t>(std::get<0>(key))].push_back(session.nat);
    for (const auto& [id, m] : reference_->mappings())
      former_[static_cast<std::size_t>(m.kind)].push_back(m.nat);
  }
  [[nodiscard]] std::map<Ip, ShardId> address_owners() const {
    std::map<Ip, ShardId> owners;
    for (const auto& range : lab_->generation().nat_addresses.all())
      owners[Ip{range.first}] = range.value.owner;
    return owners;
  }
  [[nodiscard]] std::uint64_t ended() {
    std::uint64_t sum = 0;
    for (unsigned id = 0; id < lab_->shards(); ++id)
      for (const Kind kind : kKinds)
        sum += lab_->shard(id)
                   .counters.of(kind)
                   .ended[static_cast<std::size_t>(shared::SessionEnd::kReload)]
                   .get();
    return sum;
  }

  // ── checks ─────────────────────────────────────────────────────────────────────────────────────

  static Key key_of(const SessionRow& row) {
    const Kind kind = row.protocol;
    return {kind,
            {Ip{row.subscriber_ip.value}, row.subscriber_port},
            {Ip{row.remote_ip.value}, kind == Kind::kIcmp ? std::uint16_t{0} : row.remote_port}};
  }

  void compare() {
    std::map<Key, Endpoint> rows, expected;
    for (const SessionRow& row : lab_->sessions())
      rows.emplace(key_of(row), Endpoint{Ip{row.nat_ip.value}, row.nat_port});
    for (const auto& [key, session] : reference_->sessions()) expected.emplace(key, session.nat);
    expect_all_of(rows, expected, "only in the product's table");
    expect_all_of(expected, rows, "missing from the product's table");
    std::array<std::uint64_t, shared::kPortProtocols> mappings{};
    for (const auto& [id, m] : reference_->mappings()) ++mappings[static_cast<std::size_t>(m.kind)];
    for (const Kind kind : kKinds) {
      EXPECT_EQ(lab_->session_count(kind), reference_->count(kind));
      EXPECT_EQ(lab_->mapping_count(kind), mappings[static_cast<std::size_t>(kind)]);
    }
    compare_subscribers();
    compare_limits();
    EXPECT_EQ(lab_->drops(DropReason::kHandoffLoop), 0u);
    EXPECT_TRUE(lab_->faults().empty()) << lab_->faults().front();
  }

  void compare_subscribers() {
    const auto subscribers = reference_->subscribers();
    EXPECT_EQ(lab_->subscribers(), subscribers.size());
    std::uint64_t displaced = 0;
    const shared::Generation& generation = lab_->generation();
    for (const auto& [client, addresses] : subscribers) {
      std::set<ShardId> shards;
      for (const Ip nat : addresses)
        shards.insert(generation.nat_addresses.find(wire::Ipv4Address{nat.value})->owner);
      EXPECT_EQ(shards.size(), 1u) << to_text(client) << " is with several shards";
      if (generation.maps.front()->owner_of({wire::Ipv4Address{client.value}}) != *shards.begin())
        ++displaced;
    }
    EXPECT_EQ(lab_->total(&shared::Counters::displaced), displaced);
  }

  void compare_limits() {
    for (const shared::Group& group : lab_->generation().groups) {
      const auto config = std::find_if(config_.groups.begin(), config_.groups.end(),
                                       [&](const GroupConfig& g) { return g.name == group.name; });
      for (const Kind kind : kKinds) {
        const bool is_limited =
            config != config_.groups.end() && config->of(kind).group_session_limit != 0;
        EXPECT_EQ(group.usage->sessions[static_cast<std::size_t>(kind)].load(),
                  is_limited ? reference_->count(*config, kind) : 0)
            << group.name;
      }
    }
  }

  static void expect_all_of(const std::map<Key, Endpoint>& some,
                            const std::map<Key, Endpoint>& others, const char* otherwise) {
    for (const auto& [key, nat] : some) {
      const auto it = others.find(key);
      EXPECT_TRUE(it != others.end() && it->second == nat)
          << otherwise << ": protocol " << static_cast<int>(std::get<0>(key)) << " "
          << to_text(std::get<1>(key)) << " as " << to_text(nat) << " to "
          << to_text(std::get<2>(key));
    }
  }

  void finish() {
    wait(3000 * 1000);
    EXPECT_EQ(reference_->subscribers().size(), 0u);
    compare();
    lab_->shut_down();
    EXPECT_EQ(Lab::buffers_in_use(), buffers_before_) << "packet buffers were lost";
  }

  static constexpr std::int64_t kClose = 600;

  std::mt19937_64 random_;
  std::uint64_t seed_;
  Plan plan_;
  Config config_;
  Lab::Options options_;
  std::unique_ptr<Lab> lab_;
  std::optional<ReloadReference> reference_;
  std::int64_t now_ = 0;
  std::array<std::uint64_t, shared::kDropReasons> counted_{};
  std::array<std::vector<Endpoint>, shared::kPortProtocols> former_;  ///< of before the reload
  std::map<unsigned, datapath::GenerationSweep> sweeps_;              ///< by shard
  std::size_t buffers_before_ = 0;
  std::deque<std::string> steps_;
};

TEST(ReloadModel, NothingBehavesOtherThanAfterAFreshStartButWhatIsAllowedLivesOn) {
  constexpr unsigned kReloadsPerRound = 12;
  const std::uint64_t seed = from_environment("LSN_SEED", std::random_device{}());
  const std::uint64_t reloads = from_environment("LSN_MODEL_RELOADS", 400);
  std::printf("LSN_SEED=%llu LSN_MODEL_RELOADS=%llu\n", static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(reloads));
  for (std::uint64_t done = 0; done < reloads && !HasFailure(); done += kReloadsPerRound)
    Round(seed + done / kReloadsPerRound).run(kReloadsPerRound);
}

}  // namespace
}  // namespace lsn::test::reloads
