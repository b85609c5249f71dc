#include "model/alg_world.hpp"

#include <algorithm>
#include <bit>
#include <iterator>
#include <utility>

#include "support/packet_checker.hpp"

namespace lsn::test::alg {
namespace {

constexpr std::uint32_t kMark = 0xA16A16A1;  ///< a record's index follows
constexpr unsigned kEsp = 50;
constexpr std::size_t kIkeHeaderSize = 28;

// Exchange types (IANA).
constexpr unsigned kMainMode = 2, kAggressive = 4, kInformational1 = 5, kQuickMode = 32,
                   kSaInit = 34, kIkeAuth = 35, kCreateChildSa = 36, kInformational2 = 37,
                   kIntermediate = 43;
// Payloads of fragments: RFC 7383 section 2.5; IKEv1's own.
constexpr unsigned kFragment2 = 53, kFragment1 = 132;
constexpr std::size_t kNextPayload = 16, kFragmentHeaderSize = 8;

std::vector<Seen> read_all(const std::vector<Frame>& frames) {
  std::vector<Seen> all;
  for (const Frame& frame : frames) all.push_back(read(behind_link(frame.bytes)));
  return all;
}

}  // namespace

// ── the rules of a world ────────────────────────────────────────────────────────────────────────

Rules Rules::any(Random& random, const Behaviours& behaviours) {
  Rules r;
  const auto one_of = [&](auto... values) {
    const std::array<std::common_type_t<decltype(values)...>, sizeof...(values)> all{values...};
    return all[random.pick(all.size())];
  };
  r.shards = 1 + static_cast<unsigned>(random.pick(2));
  r.arrival = random.flip() ? Arrival::kAlternate : Arrival::kFirst;
  r.nat_addresses = r.shards * (1 + static_cast<unsigned>(random.pick(3)));
  r.gate_timeout = one_of(3, 5, 10, 30, 30, 60) * kSecond;
  r.ike_timeout = one_of(3, 10, 60) * kMinute;
  r.esp_timeout = one_of(3, 10, 60) * kMinute;
  r.hold = one_of(64u, 64u, 64u, 2u, 0u);
  r.fresh = one_of(256u, 256u, 64u);
  r.candidates = one_of(4u, 1u, 8u);
  r.require_ike = random.pick(4) == 0;
  r.spread = random.pick(3) != 0;

  r.clients = 2 + static_cast<unsigned>(random.pick(9));
  r.servers = 1 + static_cast<unsigned>(random.pick(3));
  r.rekey = one_of(15, 40, 60, 120) * kSecond;
  r.length = r.rekey * one_of(8, 15, 25);
  r.restarts = one_of(0u, 20000u, 60000u);
  r.idle = one_of(0u, 50000u, 200000u);
  r.idle_for = r.gate_timeout * one_of(1, 4);

  if (random.pick(3) != 0) {
    r.loss = one_of(0u, 1000u, 10000u, 50000u, 150000u);
    r.duplicates = one_of(0u, 5000u, 50000u);
    r.reordered = one_of(0u, 10000u, 100000u);
    r.stray = one_of(0u, 500u, 5000u);
    r.longest_delay = one_of(2 * kSecond, r.gate_timeout, 4 * r.gate_timeout, 2 * r.esp_timeout);
  }
  if (random.pick(6) == 0) r.malicious = 1 + static_cast<unsigned>(random.pick(2));
  const auto in = [&](unsigned worlds, Behaviour behaviour) {
    return random.pick(worlds) == 0 && behaviours.has(behaviour);
  };
  if (in(5, Behaviour::kLate)) r.late = 5000;
  if (in(5, Behaviour::kSameSpi)) r.same_spi = 5000;
  r.spoofer = in(5, Behaviour::kForged);

  if (in(3, Behaviour::kFailures)) r.failures = one_of(20000u, 100000u);
  if (in(6, Behaviour::kFailures)) r.hopeless = 200000;
  if (in(2, Behaviour::kPhaseOne)) r.phase_one = one_of(50000u, 200000u);
  if (in(3, Behaviour::kConnections)) r.connections = one_of(200000u, 500000u);
  if (in(3, Behaviour::kBursts)) r.bursts = one_of(50000u, 200000u);
  if (in(3, Behaviour::kServerFirst)) r.server_first = one_of(20000u, 100000u);
  if (in(3, Behaviour::kIdleOut)) {
    r.idle_out = one_of(50000u, 200000u);
    r.esp_timeout = one_of(1, 1, 3, 10) * kMinute;
  }
  if (in(3, Behaviour::kFragments)) r.fragmented = one_of(50000u, 300000u);
  r.office = in(20, Behaviour::kOffice);
  if (in(4, Behaviour::kRestarts)) r.nat_restarts = r.length / one_of(1, 2, 4);
  if (in(4, Behaviour::kReloads)) {
    r.reloads = r.length / one_of(2, 4, 8);
    r.nat_addresses = std::max(r.nat_addresses, 3u);
  }
  if (random.pick(12) == 0) {
    r.loss = r.duplicates = r.reordered = r.stray = r.malicious = r.late = r.same_spi = 0;
    r.idle = r.server_first = r.idle_out = 0;
    r.nat_restarts = r.reloads = 0;
    r.spoofer = false;
    r.hold = 64;
  }
  return r;
}

Config Rules::config(unsigned addresses, bool has_profile) const {
  Config config = Config::standard();
  config.pools.clear();
  config.add_pool("POOL", {});
  for (unsigned i = 0; i < nat_addresses; ++i)
    if ((addresses >> i & 1) != 0)
      config.pool().addresses.push_back(Network{to_text(Ip{"203.0.113.3"} + i)});
  const auto ticks = [](Time time) {
    return state::TickDuration{static_cast<unsigned>(time / 10)};
  };
  AlgProfile profile;
  profile.name = "ALG";
  profile.ike_session_timeout = ticks(ike_timeout);
  profile.esp_session_timeout = ticks(esp_timeout);
  profile.gate_timeout = ticks(gate_timeout);
  profile.phase2_hold = hold;
  profile.fresh_sequence = fresh;
  profile.spi_candidates = candidates;
  profile.require_ike = require_ike;
  profile.server_spread = spread;
  config.alg_profiles = {profile};
  if (has_profile) config.group().alg = "ALG";
  config.group().app(Protocol::kUdp, {.pooling = Pooling::kPaired});
  // Shorter than any silence of IKE: then the ALG keeps a mapping alive.
  config.group().udp().session_timeout = 20s;
  config.group().udp().stun_timeout = 20s;
  config.unreachable_rate = 0;
  return config;
}

std::string Rules::text() const {
  const auto n = [](auto number) { return std::to_string(number); };
  return cat({n(shards),
              " shards, ",
              n(nat_addresses),
              " NAT addresses, ",
              n(clients),
              " clients, ",
              n(servers),
              " servers; T ",
              n(gate_timeout / kSecond),
              " s, ike ",
              n(ike_timeout / kMinute),
              " min, esp ",
              n(esp_timeout / kMinute),
              " min, hold ",
              n(hold),
              ", fresh ",
              n(fresh),
              ", candidates ",
              n(candidates),
              require_ike ? ", requireIke" : "",
              spread ? ", spread" : "",
              "; rekey ",
              n(rekey / kSecond),
              " s, length ",
              n(length / kSecond),
              " s; of a million: loss ",
              n(loss),
              ", duplicates ",
              n(duplicates),
              ", reordered ",
              n(reordered),
              ", stray ",
              n(stray),
              " up to ",
              n(longest_delay / kSecond),
              " s, restarts ",
              n(restarts),
              ", idle ",
              n(idle),
              " for ",
              n(idle_for / kSecond),
              " s, late ",
              n(late),
              ", same SPI ",
              n(same_spi),
              ", failures ",
              n(failures),
              ", hopeless ",
              n(hopeless),
              ", phase one ",
              n(phase_one),
              ", connections ",
              n(connections),
              ", bursts ",
              n(bursts),
              ", server first ",
              n(server_first),
              ", idle out ",
              n(idle_out),
              ", fragmented ",
              n(fragmented),
              "; NAT restarts every ",
              n(nat_restarts / kSecond),
              " s, reloads every ",
              n(reloads / kSecond),
              " s",
              office ? "; office" : "",
              spoofer ? "; spoofer" : "",
              "; ",
              n(malicious),
              " malicious"});
}

// ── packets ─────────────────────────────────────────────────────────────────────────────────────

Seen read(ByteView packet) {
  Seen seen;
  seen.source = source_of(packet);
  seen.destination = destination_of(packet);
  std::size_t at = 20;
  if (protocol_of(packet) == kUdp) {
    // Of the client's port the NAT makes any.
    const bool to_server = seen.destination.ip.value >> 16 == Ip{"198.18.0.0"}.value >> 16;
    const unsigned port = to_server ? seen.destination.port : seen.source.port;
    at += 8;
    if (port == 4500) {
      seen.on_4500 = true;
      seen.what = get32(packet, at) == 0 ? Seen::What::kIke : Seen::What::kEsp;
      if (seen.what == Seen::What::kIke) at += 4;
    } else if (port == 500) {
      seen.what = Seen::What::kIke;
    }
  } else if (protocol_of(packet) == kEsp) {
    seen.source.port = seen.destination.port = 0;
    seen.what = Seen::What::kEsp;
  }
  if (seen.what == Seen::What::kIke) {
    const unsigned payload = get8(packet, at + kNextPayload);
    at += kIkeHeaderSize;
    if (payload == kFragment2 || payload == kFragment1) at += kFragmentHeaderSize;
  } else if (seen.what == Seen::What::kEsp) {
    seen.spi = get32(packet, at);
    seen.sequence = get32(packet, at + 4);
    at += 8;
  }
  if (get32(packet, at) != kMark) {
    seen.what = Seen::What::kForeign;
    return seen;
  }
  seen.record = get32(packet, at + 4);
  if (seen.what == Seen::What::kIke) {
    seen.sequence = get32(packet, at + 8);
  } else if (seen.record == kNobody) {
    seen.sender = get32(packet, at + 8);
  } else {
    seen.wants_reply = get32(packet, at + 8) != 0;
  }
  return seen;
}

// ── time and the network ────────────────────────────────────────────────────────────────────────

World::World(std::uint64_t seed, const Behaviours& behaviours) : random_(seed) {
  rules = Rules::any(random_, behaviours);
  options_.shards = rules.shards;
  options_.arrival = rules.arrival;
  options_.seed = random_();
  options_.start = static_cast<std::uint32_t>(random_());
  start_ = state::Ticks{options_.start};
  addresses_ = (1u << rules.nat_addresses) - 1;
  lab_ = std::make_unique<Lab>(rules.config(addresses_, has_profile_), options_);

  const auto begin_within = [this](std::uint32_t id, Time longest) {
    after(random_.between(0, longest), [this, id] { begin(id); });
  };
  for (std::uint32_t client = 0; client < rules.clients; ++client) {
    const unsigned wanted = 1 + static_cast<unsigned>(random_.pick(std::min(rules.servers, 2u)));
    const auto first = static_cast<std::uint32_t>(random_.pick(rules.servers));
    for (unsigned i = 0; i < wanted; ++i) {
      for (unsigned connections = chance(rules.connections) ? 2 : 1; connections != 0;
           --connections) {
        const std::uint32_t id = add_link(client, (first + i) % rules.servers);
        // Many begin at once, as after a power cut.
        begin_within(id, random_.pick(4) == 0 ? rules.rekey : 3000);
      }
    }
  }
  if (rules.office) {
    const auto client = static_cast<std::uint32_t>(random_.pick(rules.clients));
    for (unsigned people = 66 + static_cast<unsigned>(random_.pick(10)); people != 0; --people) {
      const std::uint32_t id =
          add_link(client, static_cast<std::uint32_t>(random_.pick(rules.servers)));
      links[id].nat_traversal = true;
      links[id].port[0] = static_cast<std::uint16_t>(10000 + people);
      links[id].port[1] = static_cast<std::uint16_t>(20000 + people);
      begin_within(id, rules.length / 2);
    }
  }
  for (std::uint32_t i = 0; i < rules.malicious; ++i)
    after(random_.between(0, rules.rekey), [this, i] {
      misbehave(rules.clients + i, static_cast<std::uint32_t>(random_.pick(rules.servers)),
                random_() | 1);
    });
  if (rules.spoofer) after(random_.between(0, rules.rekey), [this] { spoof(); });
  if (rules.nat_restarts != 0)
    after(random_.between(0, 2 * rules.nat_restarts), [this] { restart_nat(); });
  if (rules.reloads != 0) after(random_.between(0, 2 * rules.reloads), [this] { reload(); });
}

std::uint32_t World::add_link(std::uint32_t client, std::uint32_t server) {
  static constexpr unsigned kFactors[] = {10, 18, 20};
  Link link;
  link.client = client;
  link.server = server;
  link.version = random_.pick(3) == 0 ? 1 : 2;
  link.nat_traversal = random_.pick(12) == 0;
  link.hopeless = chance(rules.hopeless);
  link.half_way = random_.between(2, 120);
  for (Patience& p : link.patience)
    p = {random_.between(5, 40) * 100, kFactors[random_.pick(3)],
         4 + static_cast<unsigned>(random_.pick(5)), random_.between(8, 40) * kSecond};
  links.push_back(link);
  return static_cast<std::uint32_t>(links.size() - 1);
}

void World::after(Time delay, std::function<void()> action) {
  events_.push_back({now_ + std::max<Time>(delay, 0), number_++, std::move(action)});
  std::push_heap(events_.begin(), events_.end());
}

bool World::run(const std::function<bool()>& stop) {
  while (!events_.empty()) {
    std::pop_heap(events_.begin(), events_.end());
    Event event = std::move(events_.back());
    events_.pop_back();
    // Frames that leave meanwhile may make earlier events than this one.
    if (event.time > now_ + 100) {
      const Time on_the_way = std::min(event.time, now_ + 100);
      events_.push_back(std::move(event));
      std::push_heap(events_.begin(), events_.end());
      move_clock(on_the_way);
    } else {
      move_clock(event.time);
      event.action();
    }
    if (stop()) return false;
  }
  return true;
}

void World::wait(Time time) {
  for (const Time end = now_ + time; now_ < end;) move_clock(std::min(end, now_ + kSecond));
}

void World::move_clock(Time to) {
  now_ = std::max(now_, to);
  const state::Ticks ticks{start_.value + static_cast<std::uint32_t>(now_ / 10)};
  if (ticks == lab_->now()) return;
  lab_->set_now(ticks);
  carry_on(lab_->housekeep(64));
  witness_->passed();
}

void World::transmit(Party from, const Link& link, const IpPacket& packet) {
  const auto to_nat = [&](Time on_top) {
    Time delay =
        from == Party::kClient ? random_.between(1, 5) : link.half_way + random_.between(0, 3);
    if (chance(rules.reordered)) delay += random_.between(1, 400);
    if (chance(rules.stray)) {
      // As many of each order of magnitude.
      Time longest = 100;
      while (longest < rules.longest_delay && random_.pick(3) != 0) longest *= 2;
      delay += random_.between(0, std::min(longest, rules.longest_delay));
    }
    after(delay + on_top, [this, from, bytes = packet.bytes()] { at_nat(from, bytes); });
  };
  if (!chance(rules.loss)) to_nat(0);
  if (chance(rules.duplicates)) to_nat(random_.between(0, 50));
}

void World::at_nat(Party from, const Bytes& packet) {
  ++packets;
  std::vector<Frame> frames =
      from == Party::kClient ? lab_->from_inside(packet) : lab_->from_outside(packet);
  witness_->came(read(packet), from, read_all(frames));
  carry_on(std::move(frames));
}

void World::carry_on(std::vector<Frame> frames) {
  for (const Frame& frame : frames) {
    const Seen seen = read(behind_link(frame.bytes));
    const Party to = frame.device == 0 ? Party::kClient : Party::kServer;
    witness_->left(seen, to);
    if (seen.what == Seen::What::kForeign || chance(rules.loss)) continue;
    const Time delay = to == Party::kClient ? random_.between(1, 5) : random_.between(2, 120);
    after(delay, [this, to, seen] { receive(to, seen); });
  }
}

void World::receive(Party party, const Seen& packet) {
  if (packet.what == Seen::What::kEsp) return receive_esp(party, packet);
  if (messages[packet.record].fragments > 1) {
    Message& whole = messages[packet.record];
    whole.received |= std::uint64_t{1} << packet.sequence;
    if (static_cast<unsigned>(std::popcount(whole.received)) < whole.fragments) return;
    whole.received = 0;
  }
  const Message message = messages[packet.record];
  if (message.exchange == kNobody) {
    // A malicious client's; some servers answer any request.
    if (party != Party::kServer || message.is_answer || !random_.flip()) return;
    Message answer = message;
    answer.from = Party::kServer;
    answer.is_answer = true;
    if (answer.payload[17] != 0x10) answer.payload[19] = 0x20;
    const auto id = static_cast<std::uint32_t>(messages.size());
    Bytes mark;
    put32(mark, id);
    std::copy(mark.begin(), mark.end(), answer.payload.begin() + kIkeHeaderSize + 4);
    messages.push_back(answer);
    Link nobodys;
    return transmit(Party::kServer, nobodys,
                    udp({packet.destination.ip, 500}, packet.source, answer.payload));
  }
  // A packet for another client is not understood.
  const Link& link = links[exchanges[message.exchange].link];
  if (party == Party::kClient && packet.destination.ip != client_ip(link.client)) return;
  if (message.is_third) {
    exchanges[message.exchange].confirmed = true;
    Exchange& x = exchanges[message.exchange];
    if (x.responded != 0 && x.tunnel != kNobody && ike_sas[x.ike].alive[at(other(x.initiator))])
      install(x.tunnel, party);
    return;
  }
  if (message.is_answer) return receive_answer(message);
  receive_request(message, packet);
}

// ── the operator ────────────────────────────────────────────────────────────────────────────────

/// It is killed, and begins again with another number of workers; its state file, if it has one, is
/// up to a second old.
void World::restart_nat() {
  if (is_over()) return;
  const bool has_file = random_.flip();
  const auto most = static_cast<unsigned>(std::popcount(addresses_));
  const unsigned shards = 1 + static_cast<unsigned>(random_.pick(std::min(most, 3u)));
  after(random_.between(0, kSecond),
        [this, has_file, shards, written = now_, before = reloads, records = lab_->state()] {
          if (reloads != before || is_reloading_) return;
          witness_->before_change();
          lab_->shut_down();
          options_.shards = shards;
          options_.seed = random_();
          options_.start = lab_->now().value;
          lab_ = std::make_unique<Lab>(rules.config(addresses_, has_profile_), options_);
          if (has_file) lab_->restore(records);
          ++nat_restarts;
          witness_->restarted(has_file ? written : kNever);
        });
  after(kSecond + random_.between(0, 2 * rules.nat_restarts), [this] { restart_nat(); });
}

/// An address goes or comes; or the profile.
void World::reload() {
  if (is_over()) return;
  if (!has_profile_ || random_.pick(4) == 0) {
    has_profile_ = !has_profile_;
  } else {
    const unsigned flipped = addresses_ ^ 1u << random_.pick(rules.nat_addresses);
    if (static_cast<unsigned>(std::popcount(flipped)) >= options_.shards) addresses_ = flipped;
  }
  witness_->before_change();
  witness_->reloading(addresses_, has_profile_);
  ++reloads;
  is_reloading_ = true;
  lab_->publish(rules.config(addresses_, has_profile_));
  // Each worker adopts it when it comes to it.
  Time latest = 0;
  for (unsigned shard = 0; shard < options_.shards; ++shard) {
    const Time pause = random_.pick(3) == 0 ? random_.between(0, 300) : 0;
    latest = std::max(latest, pause);
    after(pause, [this, shard] { lab_->adopt(shard); });
  }
  after(latest, [this, drop = random_.flip()] {
    lab_->sweep();
    if (drop) lab_->drop_predecessors();
    is_reloading_ = false;
    witness_->reloaded();
    carry_on(lab_->run_until_idle());
  });
  after(has_profile_ ? random_.between(0, 2 * rules.reloads) : random_.between(0, kMinute), [this] {
    if (is_reloading_) return after(kSecond, [this] { reload(); });
    reload();
  });
}

// ── IKE ─────────────────────────────────────────────────────────────────────────────────────────

std::uint32_t World::new_ike(std::uint32_t link, Party initiator) {
  IkeSa ike;
  ike.link = link;
  ike.spi[0] = random_() | 1;
  ike.spi[1] = random_() | 1;
  ike.initiator = initiator;
  ike_sas.push_back(ike);
  links[link].ikes.push_back(static_cast<std::uint32_t>(ike_sas.size() - 1));
  return links[link].ikes.back();
}

void World::begin(std::uint32_t id) {
  if (is_over()) return;
  Link& link = links[id];
  ++link.life;
  for (const std::uint32_t ike : link.ikes) ike_sas[ike].alive[at(Party::kClient)] = false;
  for (const std::uint32_t tunnel : link.tunnels) tunnels[tunnel].alive[at(Party::kClient)] = false;
  link.newest[at(Party::kClient)] = kNobody;
  Exchange x;
  x.link = id;
  x.ike = new_ike(id, Party::kClient);
  x.kind = Kind::kPhaseOne;
  link.ike[at(Party::kClient)] = x.ike;
  ike_sas[x.ike].alive[at(Party::kClient)] = true;
  if (link.version == 1) {
    x.aggressive = random_.pick(4) == 0;
    x.steps = x.aggressive ? 1 : 3;
    if (link.hopeless) x.outcome = Outcome::kUnanswered;
  } else {
    x.intermediate = random_.pick(8) == 0;
    x.steps = x.intermediate ? 2 : 1;
    ike_sas[x.ike].next_id[at(Party::kClient)] = x.steps;
  }
  start(x);
  after(random_.between(60, 200) * kSecond,
        [this, id, life = link.life] { check_liveness(id, life); });
}

/// Another IKE SA while the one that there is lives on, and all tunnels: IKEv1 rekeys phase 1 so,
/// IKEv2 reauthenticates (RFC 7296 section 2.8.3). Then that tunnel is made again.
void World::begin_beside(std::uint32_t id, Party initiator, std::uint32_t old) {
  Exchange x;
  x.link = id;
  x.ike = new_ike(id, initiator);
  x.initiator = initiator;
  x.kind = Kind::kPhaseOne;
  x.is_beside = true;
  x.old = old;
  x.steps = links[id].version == 1 ? 3 : 1;
  ike_sas[x.ike].alive[at(initiator)] = true;
  if (links[id].version == 2) ike_sas[x.ike].next_id[at(initiator)] = x.steps;
  ++phase_one_rekeys;
  start(x);
}

void World::begin_again(std::uint32_t id, Time pause) {
  after(pause, [this, id, life = links[id].life] {
    if (links[id].life == life) begin(id);
  });
}

Outcome World::any_outcome(const Link& link, Kind kind) {
  if (kind == Kind::kAuth && link.hopeless) return Outcome::kNotAuthentic;
  if (!is_phase_two(kind) || kind == Kind::kIkeRekey || !chance(rules.failures))
    return Outcome::kTunnel;
  if (kind == Kind::kAuth && random_.pick(3) == 0) return Outcome::kNotAuthentic;
  return random_.pick(3) == 0 ? Outcome::kUnanswered : Outcome::kRefused;
}

void World::negotiate(std::uint32_t id, Party initiator, Kind kind, std::uint32_t old,
                      bool is_parallel) {
  if (is_over()) return;
  Link& link = links[id];
  const std::uint32_t ike_id = link.ike[at(initiator)];
  if (ike_id == kNobody || !ike_sas[ike_id].alive[at(initiator)]) return;
  // An IKE SA has one IKE_AUTH, which makes its first child.
  if (kind == Kind::kAuth && std::exchange(ike_sas[ike_id].has_auth, true)) kind = Kind::kChild;
  if (link.version == 2 && ike_sas[ike_id].busy[at(initiator)] && kind != Kind::kAuth) {
    after(random_.between(200, 2000), [this, id, initiator, kind, old, life = link.life] {
      if (links[id].life == life) negotiate(id, initiator, kind, old);
    });
    return;
  }
  Exchange x;
  x.link = id;
  x.ike = ike_id;
  x.initiator = initiator;
  x.kind = kind;
  x.old = old;
  x.outcome = any_outcome(link, kind);
  if (x.outcome != Outcome::kTunnel) ++failures;
  if (kind == Kind::kAuth && random_.pick(6) == 0) x.steps = 3;  // EAP
  if (link.version == 1) {
    x.first_id = static_cast<std::uint32_t>(random_()) | 1;
  } else {
    x.first_id = ike_sas[ike_id].next_id[at(initiator)];
    ike_sas[ike_id].next_id[at(initiator)] += x.steps;
    ike_sas[ike_id].busy[at(initiator)] = true;
  }
  if (kind == Kind::kIkeRekey) {
    x.new_ike = new_ike(id, initiator);
    ++ike_rekeys;
  } else if (kind != Kind::kInfo && x.outcome == Outcome::kTunnel) {
    Tunnel tunnel;
    tunnel.link = id;
    tunnel.is_parallel = is_parallel;
    tunnel.exchange = static_cast<std::uint32_t>(exchanges.size());
    tunnel.life = link.life;
    for (std::uint32_t& spi : tunnel.spi) spi = static_cast<std::uint32_t>(random_()) | 0x10000;
    if (rules.same_spi != 0 && chance(rules.same_spi * 4)) {
      // The same as another client of that server has.
      for (std::size_t i = tunnels.size(); i-- > 0;) {
        const Link& others = links[tunnels[i].link];
        if (others.server != link.server || others.client == link.client) continue;
        tunnel.spi[at(Party::kClient)] = tunnels[i].spi[at(Party::kClient)];
        break;
      }
    }
    tunnel.rounds = 1 + static_cast<unsigned>(random_.pick(3));
    tunnel.late = rules.late != 0 && chance(rules.late);
    tunnel.server_first = tunnel.late || random_.pick(5) == 0;
    if (tunnel.late) {
      tunnel.quiet = rules.gate_timeout * 2 + random_.between(0, 3 * rules.gate_timeout);
    } else if (chance(rules.server_first)) {
      tunnel.late = tunnel.server_first = true;
      tunnel.quiet = random_.between(rules.gate_timeout / 2, 10 * rules.gate_timeout);
    } else if (chance(rules.idle)) {
      tunnel.quiet = random_.between(0, rules.idle_for);
    }
    x.tunnel = static_cast<std::uint32_t>(tunnels.size());
    for (const Party party : {Party::kClient, Party::kServer})
      by_spi[at(party)].emplace(tunnel.spi[at(party)], x.tunnel);
    link.tunnels.push_back(x.tunnel);
    tunnels.push_back(tunnel);
  }
  start(x);
}

void World::start(Exchange exchange) {
  exchange.life = links[exchange.link].life;
  exchanges.push_back(exchange);
  request(static_cast<std::uint32_t>(exchanges.size() - 1));
}

std::uint32_t World::compose(std::uint32_t id, Party from, bool is_answer, bool is_third) {
  const Exchange& x = exchanges[id];
  const IkeSa& ike = ike_sas[x.ike];
  const unsigned version = links[x.link].version;
  Message message;
  message.exchange = id;
  message.step = x.step;
  message.from = from;
  message.is_answer = is_answer;
  message.is_third = is_third;
  unsigned type = version == 1 ? kInformational1 : kInformational2;
  switch (x.kind) {
    case Kind::kPhaseOne:
      type = version == 2 ? (x.step == 0 ? kSaInit : kIntermediate)
                          : (x.aggressive ? kAggressive : kMainMode);
      break;
    case Kind::kAuth:
      type = kIkeAuth;
      break;
    case Kind::kQuick:
      type = kQuickMode;
      break;
    case Kind::kChild:
    case Kind::kIkeRekey:
      type = kCreateChildSa;
      break;
    case Kind::kInfo:
      break;
  }
  Bytes& p = message.payload;
  const auto put64 = [&](std::uint64_t value) {
    put32(p, static_cast<std::uint32_t>(value >> 32));
    put32(p, static_cast<std::uint32_t>(value));
  };
  const bool is_very_first = x.kind == Kind::kPhaseOne && x.step == 0 && !is_answer;
  put64(ike.spi[0]);
  put64(is_very_first ? 0 : ike.spi[1]);
  put8(p, version == 1 ? 8 : 46);
  put8(p, version << 4);
  put8(p, type);
  put8(p, version == 1 ? (x.kind == Kind::kPhaseOne ? 0u : 1u)
                       : (is_answer ? 0x20u : 0u) | (from == ike.initiator ? 0x08u : 0u));
  put32(p, version == 1 ? x.first_id : x.first_id + x.step);
  put32(p, kIkeHeaderSize + 16);
  put32(p, kMark);
  put32(p, static_cast<std::uint32_t>(messages.size()));
  put32(p, 0);
  put32(p, 0x5EC2E700 + x.step);
  if (chance(rules.fragmented) && (x.kind != Kind::kPhaseOne || (version == 1 && x.step != 0))) {
    static constexpr unsigned kFragments[] = {2, 2, 3, 5, 17, 24};
    message.fragments = kFragments[random_.pick(6)];
    ++fragmented;
  }
  messages.push_back(std::move(message));
  return static_cast<std::uint32_t>(messages.size() - 1);
}

void World::send(std::uint32_t id, const Endpoint* to) {
  const Message& message = messages[id];
  const Exchange& x = exchanges[message.exchange];
  const Link& link = links[x.link];
  const bool floats = link.nat_traversal && x.kind != Kind::kPhaseOne;
  const Endpoint server{server_ip(link.server), static_cast<std::uint16_t>(floats ? 4500 : 500)};
  if (message.from == Party::kServer && to == nullptr && link.learned.port == 0) return;
  const auto carry = [&](const Bytes& ike) {
    Bytes payload;
    if (floats) put32(payload, 0);
    put(payload, ike);
    if (message.from == Party::kClient) {
      transmit(
          message.from, link,
          udp({client_ip(link.client), link.port[floats ? 1 : 0]}, server, std::move(payload)));
    } else {
      transmit(message.from, link,
               udp(server, to != nullptr ? *to : link.learned, std::move(payload)));
    }
  };
  if (message.fragments == 1) return carry(message.payload);
  for (unsigned i = 1; i <= message.fragments; ++i) {
    Bytes p(message.payload.begin(), message.payload.begin() + kNextPayload);
    put8(p, link.version == 1 ? kFragment1 : kFragment2);
    p.insert(p.end(), message.payload.begin() + kNextPayload + 1,
             message.payload.begin() + kIkeHeaderSize - 4);
    put32(p, kIkeHeaderSize + kFragmentHeaderSize + 16);
    put16(p, 0);
    put16(p, kFragmentHeaderSize + 16);
    if (link.version == 1) {
      put16(p, id & 0xFFFF);
      put8(p, i);
      put8(p, i == message.fragments ? 1 : 0);
    } else {
      put16(p, i);
      put16(p, message.fragments);
    }
    put32(p, kMark);
    put32(p, id);
    put32(p, i);
    put32(p, 0);
    carry(p);
  }
}

void World::request(std::uint32_t id) {
  Exchange& x = exchanges[id];
  x.request = compose(id, x.initiator, false, false);
  x.tries = 1;
  send(x.request);
  retransmit(id, x.step, links[x.link].patience[at(x.initiator)].first);
}

void World::retransmit(std::uint32_t id, unsigned step, Time pause) {
  after(pause, [this, id, step, pause] {
    Exchange& x = exchanges[id];
    const Patience& patience = links[x.link].patience[at(x.initiator)];
    if (x.done || x.failed || x.step != step || !ike_sas[x.ike].alive[at(x.initiator)]) return;
    if (x.tries == patience.tries) return give_up(id);
    ++x.tries;
    send(x.request);
    retransmit(id, step, std::min(pause * patience.factor / 10, patience.longest));
  });
}

void World::retransmit_answer(std::uint32_t id, Time pause) {
  after(pause, [this, id, pause] {
    Exchange& x = exchanges[id];
    const Party responder = other(x.initiator);
    if (x.confirmed || !ike_sas[x.ike].alive[at(responder)] || x.answer_tries == 4) return;
    ++x.answer_tries;
    send(x.answer);
    retransmit_answer(id, pause * 2);
  });
}

void World::give_up(std::uint32_t id) {
  Exchange& x = exchanges[id];
  x.failed = true;
  ++given_up;
  Link& link = links[x.link];
  const bool goes_on = x.is_beside || (x.kind == Kind::kAuth && x.old != kNobody) ||
                       (x.kind == Kind::kQuick && x.outcome != Outcome::kTunnel);
  if (goes_on) return came_to_nothing(id);
  if (x.initiator == Party::kClient) {
    if (x.life == link.life) begin_again(x.link, random_.between(500, 10000));
    return;
  }
  // The server forgets the client.
  ike_sas[x.ike].alive[at(Party::kServer)] = false;
  for (const std::uint32_t tunnel : link.tunnels) tunnels[tunnel].alive[at(Party::kServer)] = false;
}

/// The initiator's next step if an exchange has brought no tunnel.
void World::came_to_nothing(std::uint32_t id) {
  Exchange& x = exchanges[id];
  x.failed = true;
  Link& link = links[x.link];
  if (x.life != link.life) return;
  ike_sas[x.ike].busy[at(x.initiator)] = false;
  const bool ike_fails =
      x.is_beside || x.outcome == Outcome::kNotAuthentic || (x.kind == Kind::kAuth && !x.done);
  if (ike_fails) {
    for (bool& alive : ike_sas[x.ike].alive) alive = false;
    if (x.old == kNobody) return begin_again(x.link, random_.between(500, 32000));
    // The IKE SA that there was goes on.
    for (const Party party : {Party::kClient, Party::kServer})
      for (const std::uint32_t ike : link.ikes)
        if (ike_sas[ike].alive[at(party)]) link.ike[at(party)] = ike;
  }
  after(random_.between(1, 20) * kSecond,
        [this, link_id = x.link, life = x.life, old = x.old, initiator = x.initiator,
         kind = link.version == 1 ? Kind::kQuick : Kind::kChild] {
          if (links[link_id].life != life) return;
          if (old != kNobody) {
            rekey(old, initiator);
          } else {
            negotiate(link_id, initiator, kind);
          }
        });
}

/// IKEv1: the responder says so in an informational message of its own.
void World::refuse(std::uint32_t id) {
  const Exchange& refused = exchanges[id];
  Exchange x;
  x.link = refused.link;
  x.ike = refused.ike;
  x.initiator = other(refused.initiator);
  x.kind = Kind::kInfo;
  x.refuses = id;
  x.first_id = static_cast<std::uint32_t>(random_()) | 1;
  start(x);
}

void World::receive_request(const Message& message, const Seen& packet) {
  Exchange& x = exchanges[message.exchange];
  IkeSa& ike = ike_sas[x.ike];
  Link& link = links[x.link];
  const Party me = other(x.initiator);
  if (x.kind == Kind::kPhaseOne && message.step == 0 && x.responded == 0) {
    // A server takes any first message for a new peer; it forgets the old one when that is proven.
    ike.alive[at(me)] = true;
    if (!x.is_beside) link.ike[at(me)] = x.ike;
  }
  if (!ike.alive[at(me)]) return;
  if (x.kind == Kind::kPhaseOne && me == Party::kServer) link.learned = packet.source;
  if (link.nat_traversal && me == Party::kServer) link.learned = packet.source;
  // IKEv1: to the port that phase 1 told; IKEv2: to where it came from.
  const Endpoint* to = link.version == 2 && me == Party::kServer ? &packet.source : nullptr;
  if (message.step < x.responded) {
    if (message.step + 1 == x.responded && x.answer != kNobody) send(x.answer, to);
    return;
  }
  const bool is_last = message.step + 1 == x.steps;
  if (is_last && x.outcome == Outcome::kUnanswered) return;
  if (x.outcome == Outcome::kRefused && x.kind == Kind::kQuick) {
    x.responded = 1;
    return refuse(message.exchange);
  }
  if (x.refuses != kNobody && !exchanges[x.refuses].failed) came_to_nothing(x.refuses);
  x.responded = message.step + 1;
  const std::uint32_t answer = compose(message.exchange, me, true, false);
  exchanges[message.exchange].answer = answer;
  if (is_last && x.outcome == Outcome::kNotAuthentic)
    after(20 * kSecond, [this, ike_id = x.ike, me] { ike_sas[ike_id].alive[at(me)] = false; });
  if (is_last && x.kind == Kind::kAuth && me == Party::kServer && x.old == kNobody &&
      x.outcome != Outcome::kNotAuthentic) {
    // RFC 7296 section 2.4, INITIAL_CONTACT.
    for (const std::uint32_t old : link.ikes)
      if (old != x.ike) ike_sas[old].alive[at(me)] = false;
    for (const std::uint32_t old : link.tunnels) tunnels[old].alive[at(me)] = false;
  }
  if (is_last && x.is_beside) link.ike[at(me)] = x.ike;
  if (is_last && x.kind == Kind::kIkeRekey) {
    ike_sas[x.new_ike].alive[at(me)] = true;
    link.ike[at(me)] = x.new_ike;
  }
  send(answer, to);
  if (!is_last || x.tunnel == kNobody) return;
  if (x.kind == Kind::kQuick) {
    const bool waits_for_third = random_.flip();
    if (random_.flip()) retransmit_answer(message.exchange, link.patience[at(me)].first);
    if (waits_for_third) return;
  }
  const std::uint32_t tunnel = x.tunnel;
  after(random_.between(0, 3), [this, tunnel, me, ike_id = x.ike] {
    if (ike_sas[ike_id].alive[at(me)]) install(tunnel, me);
  });
}

void World::receive_answer(const Message& message) {
  const std::uint32_t id = message.exchange;
  Exchange& x = exchanges[id];
  IkeSa& ike = ike_sas[x.ike];
  if (!ike.alive[at(x.initiator)] || x.failed) return;
  if (x.done || message.step != x.step) {
    if (x.third != kNobody) send(x.third);
    return;
  }
  if (++x.step < x.steps) {
    // EAP: a user may have to type.
    const Time pause = x.kind == Kind::kAuth && random_.pick(3) == 0
                           ? random_.between(0, 2 * rules.gate_timeout)
                           : random_.between(0, 5);
    after(pause, [this, id, ike_id = x.ike] {
      if (ike_sas[ike_id].alive[at(exchanges[id].initiator)]) request(id);
    });
    return;
  }
  x.done = true;
  ike.busy[at(x.initiator)] = false;
  if (x.outcome != Outcome::kTunnel) return came_to_nothing(id);
  finish(id);
}

void World::finish(std::uint32_t id) {
  const Exchange x = exchanges[id];
  Link& link = links[x.link];
  switch (x.kind) {
    case Kind::kPhaseOne:
      if (x.is_beside) {
        link.ike[at(x.initiator)] = x.ike;
        after(random_.between(0, 3000), [this, link_id = x.link, life = x.life, old = x.old,
                                         initiator = x.initiator, version = link.version] {
          if (links[link_id].life == life)
            negotiate(link_id, initiator, version == 1 ? Kind::kQuick : Kind::kAuth, old);
        });
        // The old one is deleted, or forgotten.
        after(random_.between(5, 90) * kSecond, [this, link_id = x.link, ike = x.ike] {
          if (!ike_sas[ike].alive[0]) return;
          for (const std::uint32_t old : links[link_id].ikes)
            if (old < ike) ike_sas[old].alive[0] = ike_sas[old].alive[1] = false;
        });
        return;
      }
      after(random_.pick(5) == 0 ? random_.between(0, 10000) : random_.between(0, 10),
            [this, link_id = x.link, life = x.life, version = link.version] {
              if (links[link_id].life != life) return;
              negotiate(link_id, Party::kClient, version == 1 ? Kind::kQuick : Kind::kAuth);
              // Parallel Quick Modes.
              if (version == 1 && random_.pick(6) == 0)
                negotiate(link_id, Party::kClient, Kind::kQuick);
              // One per pair of subnets.
              if (version != 1 || !chance(rules.bursts)) return;
              static constexpr unsigned kPairs[] = {9, 9, 12, 16, 24, 64, 80};
              ++bursts;
              for (std::uint64_t pairs = kPairs[random_.pick(7)]; pairs != 0; --pairs)
                negotiate(link_id, Party::kClient, Kind::kQuick, kNobody, true);
            });
      return;
    case Kind::kAuth:
    case Kind::kChild:
    case Kind::kQuick: {
      if (x.kind == Kind::kQuick) {
        // An initiator may send on the new SPI before its third message.
        if (random_.flip()) install(x.tunnel, x.initiator);
        const std::uint32_t third = compose(id, x.initiator, false, true);
        exchanges[id].third = third;
        send(third);
      }
      install(x.tunnel, x.initiator);
      if (x.old != kNobody) supersede(x.old, x.initiator);
      schedule_rekey(x.tunnel);
      // Child SAs in a row.
      if (x.kind == Kind::kAuth && random_.pick(6) == 0)
        negotiate(x.link, x.initiator, Kind::kChild);
      return;
    }
    case Kind::kIkeRekey: {
      ike_sas[x.new_ike].alive[at(x.initiator)] = true;
      link.ike[at(x.initiator)] = x.new_ike;
      if (random_.flip()) negotiate(x.link, x.initiator, Kind::kInfo);
      after(random_.between(1, 20) * kSecond, [this, ike = x.ike] {
        for (bool& alive : ike_sas[ike].alive) alive = false;
      });
      return;
    }
    case Kind::kInfo:
      return;
  }
}

void World::supersede(std::uint32_t old, Party initiator) {
  tunnels[old].superseded = true;
  const Link& link = links[tunnels[old].link];
  if (link.version == 2 && random_.flip()) negotiate(tunnels[old].link, initiator, Kind::kInfo);
  after(link.version == 2 ? random_.between(1, 10) * kSecond : 30 * kSecond,
        [this, old] { bury(old); });
}

void World::bury(std::uint32_t tunnel) {
  for (bool& alive : tunnels[tunnel].alive) alive = false;
}

void World::schedule_rekey(std::uint32_t tunnel) {
  // Collisions leave redundant tunnels behind, which daemons delete.
  const Time age = rules.rekey / 2 + random_.between(0, rules.rekey) +
                   (tunnels[tunnel].late ? tunnels[tunnel].quiet + 4 * rules.gate_timeout : 0);
  if (tunnels[tunnel].is_parallel) return after(age, [this, tunnel] { bury(tunnel); });
  const Link& link = links[tunnels[tunnel].link];
  if (std::count_if(link.tunnels.begin(), link.tunnels.end(), [&](std::uint32_t id) {
        const Tunnel& t = tunnels[id];
        return t.alive[0] && !t.superseded && !t.is_parallel;
      }) > 3) {
    after(random_.between(0, 20) * kSecond, [this, tunnel] { bury(tunnel); });
    return;
  }
  const std::uint64_t who = random_.pick(10);
  const auto by = [&](Party party, Time time) {
    after(time, [this, tunnel, party] { rekey(tunnel, party); });
  };
  if (who < 9) {
    by(who < 6 ? Party::kClient : Party::kServer, age);
  } else {
    // Both at about the same time: they collide, or nearly so.
    ++collisions;
    by(Party::kClient, age);
    by(Party::kServer, age + random_.between(-200, 200));
  }
}

void World::rekey(std::uint32_t id, Party initiator) {
  const Tunnel& tunnel = tunnels[id];
  if (is_over() || !tunnel.alive[at(initiator)] || tunnel.superseded) return;
  if (tunnel.sleeps_until != kNever && now_ < tunnel.sleeps_until + 30 * kSecond)
    return after(tunnel.sleeps_until - now_ + random_.between(30, 90) * kSecond,
                 [this, id, initiator] { rekey(id, initiator); });
  const std::uint32_t link_id = tunnel.link;
  const Link& link = links[link_id];
  if (initiator == Party::kClient && chance(rules.restarts)) {
    ++restarts;
    return begin(link_id);
  }
  if (link.version == 2 && random_.pick(12) == 0) {
    negotiate(link_id, initiator, Kind::kIkeRekey);
    after(random_.between(0, 5000), [this, id, initiator] { rekey(id, initiator); });
    return;
  }
  if (!link.nat_traversal && chance(rules.phase_one)) return begin_beside(link_id, initiator, id);
  // The old pair carries traffic meanwhile.
  if (random_.pick(3) == 0)
    for (Time pause = 0; pause < 6000; pause += 400)
      after(pause, [this, id] {
        if (tunnels[id].alive[0] && !tunnels[id].superseded) send_esp(id, Party::kClient, true);
      });
  negotiate(link_id, initiator, link.version == 1 ? Kind::kQuick : Kind::kChild, id);
}

void World::check_liveness(std::uint32_t id, unsigned life) {
  if (links[id].life != life || is_over()) return;
  negotiate(id, random_.pick(3) == 0 ? Party::kServer : Party::kClient, Kind::kInfo);
  after(random_.between(60, 200) * kSecond, [this, id, life] { check_liveness(id, life); });
}

// ── ESP ─────────────────────────────────────────────────────────────────────────────────────────

void World::install(std::uint32_t id, Party party) {
  Tunnel& tunnel = tunnels[id];
  if (std::exchange(tunnel.installed[at(party)], true) || tunnel.superseded) return;
  tunnel.alive[at(party)] = true;
  links[tunnel.link].newest[at(party)] = id;
  if (party == Party::kServer) {
    if (tunnel.server_first) talk(id, party, tunnel.quiet + random_.between(0, 20), 5);
    return;
  }
  const Time longer = tunnel.late ? 4 * rules.gate_timeout : tunnel.server_first ? 2000 : 20;
  talk(id, party, tunnel.quiet + random_.between(0, longer), 8);
}

void World::talk(std::uint32_t id, Party from, Time pause, unsigned tries) {
  after(pause, [this, id, from, pause, tries] {
    Tunnel& tunnel = tunnels[id];
    if (!tunnel.alive[at(from)] || tunnel.received[at(from)] != 0 || tries == 0) return;
    if (from == Party::kClient && tunnel.asked == kNever) tunnel.asked = now_;
    send_esp(id, from, true);
    // As TCP would: 1, 2, 4, 8 seconds.
    talk(id, from, tunnel.sent[at(from)] <= 1 ? kSecond : std::min(pause * 2, 16 * kSecond),
         tries - 1);
  });
}

void World::send_esp(std::uint32_t id, Party from, bool wants_reply) {
  Tunnel& tunnel = tunnels[id];
  const Link& link = links[tunnel.link];
  ++tunnel.sent[at(from)];
  Bytes p;
  put32(p, tunnel.spi[at(other(from))]);
  put32(p, ++tunnel.sequence[at(from)]);
  put32(p, kMark);
  put32(p, id);
  put32(p, wants_reply ? 1 : 0);
  put32(p, 0);
  const Ip server = server_ip(link.server);
  if (from == Party::kServer && link.learned.port == 0) return;
  if (link.nat_traversal) {
    const Endpoint client{client_ip(link.client), link.port[1]};
    transmit(from, link,
             from == Party::kClient ? udp(client, {server, 4500}, std::move(p))
                                    : udp({server, 4500}, link.learned, std::move(p)));
  } else {
    transmit(from, link,
             from == Party::kClient
                 ? lsn::test::other(client_ip(link.client), server, kEsp, std::move(p))
                 : lsn::test::other(server, link.learned.ip, kEsp, std::move(p)));
  }
}

void World::receive_esp(Party party, const Seen& packet) {
  if (packet.record == kNobody) return;  // forged: no peer can decrypt it
  const std::uint32_t id = packet.record;
  Tunnel& tunnel = tunnels[id];
  const Link& link = links[tunnel.link];
  if (party == Party::kClient && packet.destination.ip != client_ip(link.client)) return;
  if (!tunnel.alive[at(party)]) return;
  if (tunnel.received[at(party)]++ == 0) {
    after(2 * kSecond, [this, id, party] {
      // Much traffic that the world does not send.
      if (random_.pick(10) != 0) tunnels[id].sequence[at(party)] += 1000;
    });
    if (party == Party::kClient) {
      keep_alive(id);
      if (chance(rules.idle_out)) after(random_.between(3000, 10000), [this, id] { sleep(id); });
    }
  }
  if (packet.wants_reply) {
    after(random_.between(0, 20), [this, id, party] {
      if (tunnels[id].alive[at(party)]) send_esp(id, party, false);
    });
  } else if (tunnel.rounds != 0) {
    --tunnel.rounds;
    after(random_.between(0, 200), [this, id, party] {
      if (tunnels[id].alive[at(party)]) send_esp(id, party, true);
    });
  }
}

void World::keep_alive(std::uint32_t id) {
  after(random_.between(10, 50) * kSecond, [this, id] {
    const Tunnel& tunnel = tunnels[id];
    if (is_over() || !tunnel.alive[0] || tunnel.superseded) return;
    if (now_ >= tunnel.sleeps_until) send_esp(id, Party::kClient, true);
    keep_alive(id);
  });
}

/// Neither side sends until the NAT has forgotten it, then either one.
void World::sleep(std::uint32_t id) {
  Tunnel& tunnel = tunnels[id];
  if (is_over() || !tunnel.alive[0] || !tunnel.alive[1] || tunnel.superseded ||
      tunnel.sleeps_until != kNever)
    return;
  ++idled_out;
  tunnel.sleeps_until = now_ + rules.esp_timeout + random_.between(2, 60) * kSecond;
  for (const std::size_t d : {0u, 1u}) {
    tunnel.sequence[d] += 2000 + static_cast<std::uint32_t>(random_.pick(100000));
    tunnel.received_before[d] = tunnel.received[d];
  }
  const Time until = tunnel.sleeps_until - now_;
  const bool server_speaks = random_.pick(3) == 0;
  if (server_speaks) after(until, [this, id] { wake(id, Party::kServer, kSecond, 6); });
  after(until + (server_speaks ? random_.between(0, 30000) : 0),
        [this, id] { wake(id, Party::kClient, kSecond, 16); });
}

void World::wake(std::uint32_t id, Party from, Time pause, unsigned tries) {
  const Tunnel& tunnel = tunnels[id];
  if (!tunnel.alive[at(from)] || tunnel.superseded) return;
  if (tunnel.received[at(from)] > tunnel.received_before[at(from)]) {
    if (from == Party::kClient) ++came_back;
    return;
  }
  if (tries == 0) return;
  send_esp(id, from, true);
  after(pause, [=, this] { wake(id, from, std::min(2 * pause, 8 * kSecond), tries - 1); });
}

// ── malicious hosts ─────────────────────────────────────────────────────────────────────────────

void World::spoof() {
  if (is_over()) return;
  const unsigned burst = random_.pick(4) == 0 ? 30 : 1;
  const Ip server = server_ip(static_cast<std::uint32_t>(random_.pick(rules.servers)));
  const Ip nat = Ip{"203.0.113.3"} + static_cast<std::uint32_t>(random_.pick(rules.nat_addresses));
  for (unsigned i = 0; i < burst; ++i) {
    ++forged;
    Bytes p;
    put32(p, static_cast<std::uint32_t>(random_()) | 0x10000);
    put32(p, 1 + static_cast<std::uint32_t>(random_.pick(300)));
    put32(p, kMark);
    put32(p, kNobody);
    put32(p, 0);
    put32(p, 0);
    at_nat(Party::kServer, lsn::test::other(server, nat, kEsp, std::move(p)).bytes());
  }
  after(random_.between(100, 10000), [this] { spoof(); });
}

void World::misbehave(std::uint32_t client, std::uint32_t server, std::uint64_t spi) {
  if (is_over()) return;
  if (random_.pick(4) == 0) spi = random_() | 1;
  Link nobodys;
  if (random_.pick(5) == 0) {
    Bytes p;
    put32(p, static_cast<std::uint32_t>(random_()) | 0x10000);
    put32(p, 1);
    put32(p, kMark);
    put32(p, kNobody);
    put32(p, client);
    transmit(Party::kClient, nobodys,
             lsn::test::other(client_ip(client), server_ip(server), kEsp, std::move(p)));
  } else {
    const bool old = random_.flip();
    Message message;
    message.sender = client;
    Bytes& p = message.payload;
    put32(p, static_cast<std::uint32_t>(spi >> 32));
    put32(p, static_cast<std::uint32_t>(spi));
    put32(p, 0x12345678);
    put32(p, 1);
    put8(p, 46);
    put8(p, old ? 0x10 : 0x20);
    put8(p, old ? kQuickMode : (random_.flip() ? kCreateChildSa : kIkeAuth));
    put8(p, old ? 1 : 8);
    put32(p, static_cast<std::uint32_t>(random_()));
    put32(p, kIkeHeaderSize + 16);
    put32(p, kMark);
    put32(p, static_cast<std::uint32_t>(messages.size()));
    put32(p, 0);
    put32(p, 0);
    transmit(Party::kClient, nobodys, udp({client_ip(client), 500}, {server_ip(server), 500}, p));
    messages.push_back(std::move(message));
  }
  after(random_.between(20, 1500), [this, client, server, spi] { misbehave(client, server, spi); });
}

}  // namespace lsn::test::alg
