#include "model/alg_witness.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "support/packet_checker.hpp"

namespace lsn::test::alg {
namespace {

using datapath::ipsec_alg::AlgGauge;

constexpr std::array<const char*, static_cast<std::size_t>(Misdelivery::kCount)> kNames = {
    "none",      "late",      "same SPI", "forged", "consequence",
    "forgotten", "contended", "lured",    "outlived", "WRONG"};
constexpr std::array<const char*, 8> kReasons = {"paired", "deadline", "ike-rekey", "restart",
                                                 "float",  "old-spi",  "yield",     "flush"};

/// What is due at a moment may happen a poll later.
constexpr Time kSlack = 1500;
/// Section 4.8: a turn that is unanswered for so long may yield.
constexpr Time kYield = 5 * kSecond;

std::string number(auto value) { return std::to_string(value); }
std::string hex(std::uint32_t value) {
  char text[16];
  std::snprintf(text, sizeof text, "%08x", value);
  return text;
}

}  // namespace

void Sums::add(const Sums& o) {
  worlds += o.worlds, tunnels += o.tunnels, packets += o.packets, forged += o.forged;
  restarts += o.restarts, ike_rekeys += o.ike_rekeys, collisions += o.collisions;
  given_up += o.given_up, wanted += o.wanted, established += o.established;
  calm_wanted += o.calm_wanted, calm_established += o.calm_established;
  carried += o.carried, late_tunnels += o.late_tunnels, waited += o.waited;
  overlaps_checked += o.overlaps_checked, overlaps_unclear += o.overlaps_unclear;
  for (std::size_t i = 0; i < misdelivered.size(); ++i) misdelivered[i] += o.misdelivered[i];
  for (std::size_t i = 0; i < closed.size(); ++i) closed[i] += o.closed[i];
}

std::string Sums::text() const {
  const auto share = [](std::uint64_t part, std::uint64_t whole) {
    char text[32];
    std::snprintf(text, sizeof text, "%.3f%%",
                  whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole));
    return std::string{text};
  };
  std::string all = cat({number(worlds), " worlds, ", number(tunnels), " tunnels, ",
                         number(packets), " packets at the NAT, ", number(forged), " forged; ",
                         number(restarts), " restarts, ", number(ike_rekeys), " IKE rekeys, ",
                         number(collisions), " collisions, ", number(given_up), " given up\n"});
  all += cat({"  waited for their turn: ", number(waited), " exchanges; first messages compared: ",
              number(overlaps_checked), ", not clear: ", number(overlaps_unclear), "\n"});
  all += "  turns:";
  for (std::size_t i = 0; i < closed.size(); ++i)
    all += cat({" ", kReasons[i], " ", number(closed[i])});
  all += cat({"\n  established: ", share(established, wanted), " of ", number(wanted),
              "; without loss, malice and idleness: ", share(calm_established, calm_wanted),
              " of ", number(calm_wanted), "\n  delivered to another client, of ",
              number(carried), " tunnels:"});
  for (std::size_t i = 1; i < misdelivered.size(); ++i)
    all += cat({" ", kNames[i], " ", number(misdelivered[i]), " (",
                share(misdelivered[i], carried), ")"});
  return all + "\n";
}

Watch::Watch(World& world)
    : world_(world), remembers_(std::getenv("LSN_MODEL_TRACE") != nullptr) {}

// ── who is who ──────────────────────────────────────────────────────────────────────────────────

Watch::Peer& Watch::peer(std::uint32_t client, std::uint32_t server) {
  return peers_[{client, server}];
}
Watch::IkeSeen& Watch::ike_seen(std::uint32_t ike) {
  if (ikes_.size() <= ike) ikes_.resize(ike + 1);
  return ikes_[ike];
}
Time Watch::life_of(const IkeSeen& ike) const {
  return ike.heard[0] && ike.heard[1] ? world_.rules.ike_timeout : kMinute;
}
Watch::IkeSeen& Watch::note_ike(std::uint32_t id) {
  IkeSeen& ike = ike_seen(id);
  // Section 6: it may have gone; then it arises anew, unanswered.
  if (ike.latest != kNever && world_.now() >= ike.latest + life_of(ike) - kSlack)
    ike.heard[0] = ike.heard[1] = false;
  ike.latest = world_.now();
  return ike;
}
Watch::GateKey Watch::gate_of(const Link& link) const {
  const auto found = sources_.find(link.client);
  return {found == sources_.end() ? Ip{} : found->second.ip, link.server};
}
std::uint32_t Watch::client_of(Ip ip) const { return ip.value - world_.client_ip(0).value; }
std::uint32_t Watch::server_of(Ip ip) const { return ip.value - world_.server_ip(0).value; }

std::string Watch::name_of(const Message& message) const {
  static constexpr const char* kKinds[] = {"phase 1",         "IKE_AUTH",
                                           "Quick Mode",      "CREATE_CHILD_SA",
                                           "rekey of the IKE SA", "informational"};
  if (message.exchange == kNobody) return "malicious";
  const Exchange& x = world_.exchanges[message.exchange];
  return cat({kKinds[static_cast<std::size_t>(x.kind)], " ", number(message.exchange), ".",
              number(message.step), message.is_answer ? " answer" : message.is_third ? " third"
                                                                                  : " request",
              " ike ", number(x.ike),
              x.tunnel == kNobody ? std::string{} : " tunnel " + number(x.tunnel)});
}

void Watch::note(std::uint32_t server, std::string text) {
  notes_.push_back({world_.now(), server, std::move(text)});
  if (notes_.size() > 200000) notes_.pop_front();
}

std::string Watch::drops() {
  std::string text;
  for (std::size_t i = 0; i < dropped_.size(); ++i) {
    const auto reason = static_cast<DropReason>(i);
    const std::uint64_t count = world_.lab().drops(reason);
    if (std::exchange(dropped_[i], count) != count)
      text += cat({" ", datapath::name_of(reason)});
  }
  return text;
}

void Watch::fault(std::uint32_t server, const std::string& what) {
  if (faults_.empty()) server_of_fault_ = server;
  if (faults_.size() < 10)
    faults_.push_back(cat({"at ", number(world_.now()), " ms, server ", number(server), ": ", what}));
  if (remembers_) note(server, "FAULT " + what);
}

void Watch::tell(std::uint32_t server) const {
  std::vector<const Note*> chosen;
  for (const Note& note : notes_)
    if (server == kNobody || note.server == server || note.server == kNobody)
      chosen.push_back(&note);
  const char* wanted = std::getenv("LSN_MODEL_TRACE");
  const std::size_t lines = wanted == nullptr ? 0 : std::strtoull(wanted, nullptr, 10);
  for (std::size_t i = chosen.size() > lines ? chosen.size() - lines : 0; i < chosen.size(); ++i)
    std::printf("  %10lld %s\n", static_cast<long long>(chosen[i]->time), chosen[i]->text.c_str());
}

// ── what comes ──────────────────────────────────────────────────────────────────────────────────

void Watch::came(const Seen& packet, Party from, const std::vector<Seen>& left) {
  take_events();
  bool passed = false;
  for (const Seen& one : left)
    passed = passed || (one.what == packet.what && one.record == packet.record &&
                        one.spi == packet.spi && one.sequence == packet.sequence);
  if (remembers_ && packet.what != Seen::What::kForeign) {
    const bool out = from == Party::kClient;
    note(server_of(out ? packet.destination.ip : packet.source.ip),
         cat({out ? "> " : "< ", to_text(packet.source), " ", to_text(packet.destination), " ",
              packet.what == Seen::What::kIke
                  ? name_of(world_.messages[packet.record])
                  : cat({"ESP ", hex(packet.spi), " #", number(packet.sequence), " of tunnel ",
                         packet.is_forged() ? "nobody"
                                            : number(packet.record) + " link " +
                                                  number(world_.tunnels[packet.record].link)}),
              packet.on_4500 ? " (4500)" : "", passed ? "" : " -|", drops()}));
  }
  if (packet.what == Seen::What::kIke) ike_came(packet, from, passed);
  if (packet.what == Seen::What::kEsp) esp_came(packet, from, passed);
}

bool Watch::is_for_old_mapping(const Seen& packet, const Link& link) {
  return packet.on_4500 && packet.destination != peer_of(link).mapping_4500;
}

/// Section 3: ordinary UDP.
void Watch::nat_t_came(const Seen& packet, const Link& link, Party from, bool passed) {
  for_old_mapping_ = from == Party::kServer && is_for_old_mapping(packet, link);
  if (from == Party::kClient && !passed)
    fault(link.server, cat({packet.what == Seen::What::kIke ? "IKE" : "ESP",
                            " in UDP 4500 did not pass"}));
}

void Watch::ike_came(const Seen& packet, Party from, bool passed) {
  const Message& message = world_.messages[packet.record];
  if (message.exchange == kNobody) return;
  const Exchange& x = world_.exchanges[message.exchange];
  const Link& link = world_.links[x.link];
  Peer& of = peer_of(link);
  const Time now = world_.now();
  const bool reachable = from == Party::kClient ||
                         (packet.destination == of.mapping && now < of.kept_until - kSlack);
  if (packet.on_4500) return nat_t_came(packet, link, from, passed);
  if (from == Party::kClient && x.kind == Kind::kPhaseOne && message.step == 0 &&
      !message.is_answer) {
    // Section 3: its waiters are purged.
    of.restarted = now;
    for (const std::uint32_t id : gates_[gate_of(link)].waiting)
      if (world_.exchanges[id].link == x.link) world_.exchanges[id].waits_since = kNever;
  }
  if (is_phase_two(x.kind)) {
    phase_two_came(message, passed || !reachable);
  } else if (reachable && !passed) {
    fault(link.server, cat({name_of(message), " did not pass; it is not gated"}));
  }
  note_ike(x.ike);
}

void Watch::phase_two_came(const Message& message, bool passed) {
  Exchange& x = world_.exchanges[message.exchange];
  const Link& link = world_.links[x.link];
  const Time now = world_.now();
  // An IKE_AUTH message that comes after its turn was lost waits as a new turn (section 4.2).
  const bool goes_on = x.first_left != kNever && x.kind == Kind::kAuth && !message.is_answer &&
                       message.step >= x.requests_left;
  if (x.first_left != kNever && !goes_on) {
    if (passed) {
      // Now, although what it lets go may be seen to leave first.
      if (message.is_answer) x.answers_left = std::max(x.answers_left, message.step + 1);
      return;
    }
    // Section 3: messages of an exchange that was admitted once always pass; the last 8 are known.
    const bool is_known =
        world_.ike_sas[x.ike].admitted - x.place < 8 &&
        now < ike_seen(x.ike).latest + std::min(world_.rules.ike_timeout, kMinute) - kSlack;
    if (is_known && (!message.is_answer || message.step + 1 == x.requests_left))
      fault(link.server, cat({name_of(message), " did not pass; its exchange was admitted"}));
    return;
  }
  if (passed || message.is_answer || message.is_third) return;

  // It waits, and its client goes on asking.
  GateSeen& gate = gates_[gate_of(link)];
  if (x.waits_since == kNever || now - x.last_asked > 34 * kSecond) {
    std::vector<std::uint32_t> ahead;
    for (const std::uint32_t id : gate.waiting) {
      const Exchange& w = world_.exchanges[id];
      const std::uint32_t client = world_.links[w.link].client;
      if (client != link.client && now - w.last_asked <= 36 * kSecond &&
          std::find(ahead.begin(), ahead.end(), client) == ahead.end())
        ahead.push_back(client);
    }
    if (x.waits_since == kNever &&
        std::find(gate.waiting.begin(), gate.waiting.end(), message.exchange) == gate.waiting.end()) {
      gate.waiting.push_back(message.exchange);
      ++sums_.waited;
    }
    x.waits_since = now;
    // Those who wait already, who has the gate now, and the malicious, of whom no account is kept.
    x.waits_until = now + kSlack + world_.rules.gate_timeout *
                                       static_cast<Time>(ahead.size() + 1 + world_.rules.malicious);
  }
  x.last_asked = now;
  if (world_.rules.hold >= world_.rules.clients + world_.rules.malicious && now > x.waits_until)
    fault(link.server,
          cat({name_of(message), " waits since ", number(x.waits_since), ", its turn was due at ",
               number(x.waits_until)}));
}

void Watch::esp_came(const Seen& packet, Party from, bool passed) {
  if (packet.is_forged()) return;
  Tunnel& tunnel = world_.tunnels[packet.record];
  const Link& link = world_.links[tunnel.link];
  const Time now = world_.now();
  const std::size_t d = at(from);
  if (packet.on_4500) return nat_t_came(packet, link, from, passed);
  if (tunnel.first_came[d] == kNever) {
    tunnel.first_came[d] = now;
    if (from == Party::kServer) ++sums_.carried;
  }
  // Section 4.4: known SPIs pass all the time. (Those with a single packet may be forgotten.)
  if (!passed && tunnel.left[d] >= 2 && tunnel.misdelivery == Misdelivery::kNone &&
      now < tunnel.last_left[d] + world_.rules.esp_timeout - kSlack &&
      (from == Party::kClient || packet.destination.ip == gate_of(link).first))
    fault(link.server, cat({"ESP of tunnel ", number(packet.record), " (", hex(packet.spi),
                            ") did not pass; its SPI was known"}));
}

// ── what leaves ─────────────────────────────────────────────────────────────────────────────────

void Watch::left(const Seen& packet, Party to) {
  if (packet.what == Seen::What::kIke) ike_left(packet, to);
  if (packet.what == Seen::What::kEsp) esp_left(packet, to);
}

void Watch::expect_source(std::uint32_t client, Ip source) {
  Source& known = sources_[client];
  const Time now = world_.now();
  if (known.ip != source && now < known.kept_until - kSlack)
    fault(kNobody, cat({"client ", number(client), " was ", to_text(known.ip), " and is now ",
                        to_text(source)}));
  known.ip = source;
}

void Watch::ike_left(const Seen& packet, Party to) {
  Message& message = world_.messages[packet.record];
  const Time now = world_.now();
  if (message.exchange == kNobody) {
    if (to == Party::kServer && !message.is_answer) {
      message.left = true;
    }
    return;
  }
  Exchange& x = world_.exchanges[message.exchange];
  const Link& link = world_.links[x.link];
  const Party from = other(to);
  if (to == Party::kServer) {
    expect_source(link.client, packet.source.ip);
    if (packet.on_4500) peer_of(link).mapping_4500 = packet.source;
  } else if (client_of(packet.destination.ip) != link.client &&
             !(packet.on_4500 && for_old_mapping_)) {
    fault(link.server, cat({name_of(message), " came to client ",
                            number(client_of(packet.destination.ip))}));
  }
  if (packet.on_4500) {
    // Section 3: a session that floated is freed. What it kept goes on like any UDP mapping.
    peer_of(link).kept_until = std::min(peer_of(link).kept_until, now);
    sources_[link.client].kept_until = std::min(sources_[link.client].kept_until, now);
    return;
  }
  if (remembers_ && !message.left) note(link.server, "  leaves: " + name_of(message));

  Peer& of = peer_of(link);
  if (to == Party::kServer) {
    // Section 6: its UDP 500 mapping towards that server stays.
    if (of.mapping != packet.source && now < of.kept_until - kSlack)
      fault(link.server, cat({"client ", number(link.client), "'s port 500 was ",
                              to_text(of.mapping), " and is now ", to_text(packet.source)}));
    of.mapping = packet.source;
  }
  IkeSeen& ike = note_ike(x.ike);
  ike.heard[at(from)] = true;
  const Time lasts = life_of(ike);
  of.kept_until = std::max(of.kept_until, now + lasts);
  Source& source = sources_[link.client];
  source.kept_until = std::max(source.kept_until, now + lasts);

  message.left = true;
  if (!is_phase_two(x.kind)) return;
  // Section 2: only the last 8 are remembered; another one is admitted anew.
  IkeSa& sa = world_.ike_sas[x.ike];
  if (x.first_left != kNever && sa.admitted - x.place >= 8) x.place = sa.admitted++;
  if (message.is_answer) {
    x.answers_left = std::max(x.answers_left, message.step + 1);
    if (x.answered_left == kNever) x.answered_left = now;
    of.starts.push_back(now);
  } else if (!message.is_third) {
    if (x.first_left == kNever) first_left(message.exchange);
    if (message.step >= x.requests_left) {
      x.requests_left = message.step + 1;
      x.latest_left = now;
      waited(message.exchange);
      of.starts.push_back(now);
    }
  }
}

/// Its turn has come: in time?
void Watch::waited(std::uint32_t id) {
  Exchange& x = world_.exchanges[id];
  const Link& link = world_.links[x.link];
  std::erase(gates_[gate_of(link)].waiting, id);
  const Time since = std::exchange(x.waits_since, kNever);
  if (since != kNever && x.waits_until < world_.now() &&
      world_.now() - x.last_asked <= 34 * kSecond &&
      world_.rules.hold >= world_.rules.clients + world_.rules.malicious)
    fault(link.server, cat({"exchange ", number(id), " waited since ", number(since),
                            ", its turn was due at ", number(x.waits_until)}));
}

void Watch::first_left(std::uint32_t id) {
  Exchange& x = world_.exchanges[id];
  const Link& link = world_.links[x.link];
  const Time now = world_.now();
  GateSeen& gate = gates_[gate_of(link)];
  x.place = world_.ike_sas[x.ike].admitted++;
  // Section 9.3: nobody else has an unanswered exchange within his turn. When his turn began is
  // seen from outside only if nothing earlier can have begun it.
  const Time recently = now - std::min(kYield, world_.rules.gate_timeout) + 100;
  while (!gate.recent.empty() && world_.exchanges[gate.recent.front()].first_left <= recently)
    gate.recent.pop_front();
  for (const std::uint32_t other_id : gate.recent) {
    const Exchange& o = world_.exchanges[other_id];
    const Link& others = world_.links[o.link];
    if (others.client == link.client || o.answers_left >= o.requests_left) continue;
    const Peer& holder = peer_of(others);
    const bool earlier =
        std::any_of(holder.starts.begin(), holder.starts.end(), [&](Time start) {
          return start <= recently && start > now - 2 * world_.rules.gate_timeout - kSlack;
        });
    const bool answered = std::any_of(gate.recent.begin(), gate.recent.end(), [&](auto i) {
      const Exchange& e = world_.exchanges[i];
      return e.link == o.link && e.answered_left != kNever;
    });
    if (earlier || answered || holder.restarted >= o.first_left) {
      ++sums_.overlaps_unclear;
      continue;
    }
    fault(link.server,
          cat({"exchange ", number(id), " of client ", number(link.client),
               " left while exchange ", number(other_id), " of client ", number(others.client),
               ", admitted at ", number(o.first_left), ", was unanswered in its turn"}));
  }
  ++sums_.overlaps_checked;
  x.first_left = now;
  gate.recent.push_back(id);
}

void Watch::esp_left(const Seen& packet, Party to) {
  const Time now = world_.now();
  if (to == Party::kServer) {
    const std::uint32_t server = server_of(packet.destination.ip);
    if (packet.is_forged()) return;  // a malicious client's own
    Tunnel& tunnel = world_.tunnels[packet.record];
    const Link& link = world_.links[tunnel.link];
    expect_source(link.client, packet.source.ip);
    Peer& of = peer(link.client, server);
    if (packet.on_4500) {
      of.mapping_4500 = packet.source;
      return;
    }
    if (tunnel.left[0]++ == 0) of.starts.push_back(now);  // it was unknown, or just became known
    tunnel.last_left[0] = of.latest_esp_out = now;
    if (now < of.kept_until) of.kept_until = std::max(of.kept_until, now + world_.rules.esp_timeout);
    Source& source = sources_[link.client];
    source.kept_until = std::max(source.kept_until, now + world_.rules.esp_timeout);
    return;
  }
  const std::uint32_t server = server_of(packet.source.ip);
  const std::uint32_t receiver = client_of(packet.destination.ip);
  if (packet.is_forged()) {
    peer(receiver, server).foreign.push_back(now);
    return;
  }
  Tunnel& tunnel = world_.tunnels[packet.record];
  const Link& link = world_.links[tunnel.link];
  if (receiver == link.client) {
    if (packet.on_4500) return;
    ++tunnel.left[1];
    tunnel.last_left[1] = now;
    return;
  }
  const bool is_first = tunnel.misdelivery == Misdelivery::kNone;
  if (is_first)
    tunnel.misdelivery = !packet.on_4500    ? classify(tunnel, packet.spi, receiver)
                         : for_old_mapping_ ? Misdelivery::kOutlived
                                            : Misdelivery::kWrong;
  peer(receiver, server).foreign.push_back(now);
  if (!is_first) return;
  ++sums_.misdelivered[static_cast<std::size_t>(tunnel.misdelivery)];
  const std::string what =
      cat({"ESP ", hex(packet.spi), " #", number(packet.sequence), " of tunnel ",
           number(packet.record), ", client ", number(link.client), ", came to client ",
           number(receiver), ": ", kNames[static_cast<std::size_t>(tunnel.misdelivery)]});
  if (remembers_) note(server, "MISDELIVERED " + what);
  if (tunnel.misdelivery == Misdelivery::kWrong) fault(server, what);
}

Misdelivery Watch::classify(const Tunnel& tunnel, std::uint32_t spi, std::uint32_t receiver) {
  const Link& link = world_.links[tunnel.link];
  const Time now = world_.now();
  const Time gate_timeout = world_.rules.gate_timeout;
  for (const Tunnel& same : world_.tunnels)
    if (&same != &tunnel && same.spi[at(Party::kClient)] == spi &&
        world_.links[same.link].server == link.server)
      return Misdelivery::kSameSpi;
  const Peer& owner = peer(link.client, link.server);
  const Peer& to = peer(receiver, link.server);
  const Exchange& x = world_.exchanges[tunnel.exchange];
  // SPIs that were taken for the owner's or the receiver's own lately, or for this one while its
  // turn lasted or lingered: then it may have been forgotten in their favour.
  const auto took_one = [&](const Peer& one, Time from, Time to_) {
    return std::any_of(one.foreign.begin(), one.foreign.end(),
                       [&](Time taken) { return from <= taken && taken <= to_; });
  };
  const Time window = 3 * gate_timeout + kSlack;
  if (took_one(owner, now - window, now) || took_one(to, now - window, now) ||
      (x.first_left != kNever && took_one(owner, x.first_left, x.first_left + window)))
    return world_.rules.spoofer ? Misdelivery::kForged : Misdelivery::kConsequence;
  // The first turn that ended since its exchange was admitted.
  const auto ended = x.first_left == kNever
                         ? owner.ends.end()
                         : std::lower_bound(owner.ends.begin(), owner.ends.end(), x.first_left);
  if (ended != owner.ends.end() && tunnel.first_came[1] >= *ended + 2 * gate_timeout - 100)
    return Misdelivery::kLate;
  if (tunnel.last_left[1] != kNever && now >= tunnel.last_left[1] + world_.rules.esp_timeout - kSlack)
    return Misdelivery::kOutlived;
  if (owner.restarted > x.first_left) return Misdelivery::kForgotten;
  // Section 5, inbound 1: the holder had sent on its own new SPI, or seemed to.
  if (ended == owner.ends.end()) return Misdelivery::kWrong;
  if (world_.is_malicious(receiver)) return Misdelivery::kLured;
  const Time its_turn = to.starts.empty() ? kNever : to.starts.back();
  if (to.latest_esp_out != kNever && to.latest_esp_out >= its_turn - gate_timeout)
    return Misdelivery::kContended;
  return Misdelivery::kWrong;
}

// ── the product's own word ──────────────────────────────────────────────────────────────────────

void Watch::take_events() {
  using namespace datapath::ipsec_alg;
  Event event;
  for (unsigned id = 0; id < world_.lab().shards(); ++id) {
    while (world_.lab().shard(id).alg.events.take(event)) {
      const std::uint32_t client = client_of(Ip{event.client.host()});
      const std::uint32_t server = server_of(Ip{event.server.host()});
      if (event.kind == EventKind::kTurnEnded) {
        peer(client, server).ends.push_back(world_.now());
        ++sums_.closed[event.detail];
        if (remembers_)
          note(server, cat({"  turn of client ", number(client), " ended: ",
                            kReasons[event.detail]}));
      } else if (event.kind == EventKind::kEspSpiLearned ||
                 event.kind == EventKind::kEspSessionCreated ||
                 event.kind == EventKind::kEspSessionEnded) {
        // Section 5, candidates: a single packet on it may be forgotten, over and over.
        for (Tunnel& tunnel : world_.tunnels)
          for (const Party from : {Party::kClient, Party::kServer})
            if (tunnel.spi[at(other(from))] ==
                (from == Party::kClient ? event.spi_out : event.spi_in).host())
              tunnel.left[at(from)] = 0;
        if (remembers_) note(server, cat({"  client ", number(client),
                          event.kind == EventKind::kEspSessionEnded ? " has no more " : " has ", hex(event.spi_out.host()), " / ",
                          hex(event.spi_in.host())}));
      }
    }
  }
}

void Watch::passed() {
  take_events();
  if (world_.now() - looked_ < kSecond) return;
  looked_ = world_.now();
  look_at_tables();
  if (!world_.lab().faults().empty()) fault(kNobody, world_.lab().faults().front());
}

void Watch::look_at_tables() {
  const Rules& rules = world_.rules;
  for (unsigned id = 0; id < world_.lab().shards(); ++id) {
    auto& tables = world_.lab().shard(id).alg;
    for (std::uint32_t g = 0; g < tables.gates.high_water(); ++g) {
      const auto& gate = tables.gates[g];
      if (!gate.in_use) continue;
      const std::uint32_t server = server_of(Ip{gate.server.host()});
      // Section 9.2.
      if (gate.state != datapath::ipsec_alg::GateState::kClosed &&
          Time{world_.lab().now() - gate.turn.began} * 10 > rules.gate_timeout + kSlack)
        fault(server, "a turn lasts longer than espGateTimeout");
      if (gate.waiter_count > rules.hold) fault(server, "more waiters than phase2Hold");
      // An exchange counts as answered no more when it goes on (IKE_AUTH), or rekeyed the IKE SA.
      const std::uint32_t spis = std::max(gate.turn.spis[0], gate.turn.spis[1]);
      if (spis > rules.candidates + gate.turn.answered + gate.turn.unanswered + 2)
        fault(server, "more SPIs in a turn than spiCandidates and answered exchanges");
    }
    for (std::uint32_t s = 0; s < world_.rules.clients + world_.rules.malicious; ++s) {
      const auto& client = tables.clients[s];
      if (client.peer_count > 64 || (client.peer_count != 0 && client.ike_count > 64))
        fault(kNobody, "a subscriber has more than 64 gates or IKE sessions");
    }
    const auto gauge = [&](AlgGauge g) { return tables.counters.total.of(g).get(); };
    if (gauge(AlgGauge::kIkeSessions) != tables.ike_sessions.size() ||
        gauge(AlgGauge::kEspSessions) != tables.esp_sessions.size() ||
        gauge(AlgGauge::kGates) != tables.gates.size() ||
        gauge(AlgGauge::kWaiters) != tables.waiters.size() ||
        gauge(AlgGauge::kHeldBytes) != tables.held_bytes ||
        tables.held_bytes > tables.max_held_bytes)
      fault(kNobody, "a gauge is not what its table holds");
  }
}

void Watch::finish() {
  take_events();
  look_at_tables();
  for (unsigned id = 0; id < world_.lab().shards(); ++id) {
    const auto& alg = world_.lab().shard(id).alg;
    for (std::size_t g = 0; g < datapath::ipsec_alg::kAlgGauges; ++g)
      if (alg.counters.total.gauges[g].get() != 0 || alg.counters.profiles[0].gauges[g].get() != 0)
        fault(kNobody, cat({"after everything has expired the gauge ",
                            datapath::ipsec_alg::kAlgGaugeTexts[g].name, " is ",
                            number(alg.counters.total.gauges[g].get()), " (profile: ",
                            number(alg.counters.profiles[0].gauges[g].get()), ")"}));
    if (alg.peers.size() + alg.flights.size() + alg.held.size() != 0)
      fault(kNobody, "peers or flights are left");
    if (alg.events.lost() != 0) fault(kNobody, "events were lost");
  }
  if (world_.lab().subscribers() != 0) fault(kNobody, "subscribers are left");
  for (const Protocol protocol : {Protocol::kUdp, Protocol::kEsp})
    if (world_.lab().session_count(protocol) != 0) fault(kNobody, "sessions are left");
  if (!world_.lab().faults().empty()) fault(kNobody, world_.lab().faults().front());

  ++sums_.worlds;
  sums_.tunnels = world_.tunnels.size();
  sums_.packets = world_.packets;
  sums_.forged = world_.forged;
  sums_.restarts = world_.restarts;
  sums_.ike_rekeys = world_.ike_rekeys;
  sums_.collisions = world_.collisions;
  sums_.given_up = world_.given_up;
  const Rules& rules = world_.rules;
  const bool is_calm = rules.is_lossless() && rules.malicious == 0 && !rules.spoofer &&
                       rules.idle == 0 && rules.late == 0 && rules.same_spi == 0 &&
                       rules.hold != 0;
  for (const Tunnel& tunnel : world_.tunnels) {
    sums_.late_tunnels += tunnel.late;
    const bool established = tunnel.received[0] != 0 && tunnel.received[1] != 0;
    // Both ends had it, and who wanted to talk has tried for some time.
    if (!established && tunnel.sent[0] < 4) continue;
    ++sums_.wanted;
    sums_.established += established;
    if (!is_calm) continue;
    ++sums_.calm_wanted;
    sums_.calm_established += established;
    if (!established && remembers_)
      note(world_.links[tunnel.link].server,
           cat({"NOT ESTABLISHED tunnel ", number(&tunnel - world_.tunnels.data()), " of client ",
                number(world_.links[tunnel.link].client), ", exchange ", number(tunnel.exchange)}));
  }
}

}  // namespace lsn::test::alg
