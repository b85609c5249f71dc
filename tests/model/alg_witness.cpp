#include "model/alg_witness.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>

#include "support/packet_checker.hpp"

namespace lsn::test::alg {
namespace {

using shared::AlgGauge;

constexpr std::array<const char*, static_cast<std::size_t>(Misdelivery::kCount)> kNames = {
    "none",      "late",  "same SPI",  "forged",   "consequence",
    "contended", "lured", "forgotten", "outlived", "WRONG"};

/// Why a turn ended, by its counter's name.
std::string reason(std::size_t i) {
  using shared::AlgCounter;
  const auto counter =
      static_cast<AlgCounter>(static_cast<std::size_t>(AlgCounter::kClosedPaired) + i);
  return std::string{shared::name_of(counter).substr(sizeof "closed_" - 1)};
}

/// An event that is due at a moment may happen a poll later.
constexpr Time kSlack = 1500;
/// Design 5.8, replies: five answers identify their client while others wait, and a client that
/// keeps its tunnel alive sends a packet in 50 s at least.
constexpr Time kFiveAnswers = 6 * 50 * kSecond;
/// Design 4.8: a turn that is unanswered for so long may yield.
constexpr Time kYield = 5 * kSecond;

std::string number(auto value) {
  return std::to_string(value);
}
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
  carried += o.carried, calm_carried += o.calm_carried, late_tunnels += o.late_tunnels;
  failures += o.failures, phase_one_rekeys += o.phase_one_rekeys, bursts += o.bursts;
  idled_out += o.idled_out, came_back += o.came_back, nat_restarts += o.nat_restarts;
  reloads += o.reloads, fragmented += o.fragmented, ended_soon += o.ended_soon;
  waited += o.waited, turns_came += o.turns_came, waited_ms += o.waited_ms;
  overlaps_checked += o.overlaps_checked, overlaps_unclear += o.overlaps_unclear;
  for (std::size_t i = 0; i < misdelivered.size(); ++i) {
    misdelivered[i] += o.misdelivered[i];
    calm_misdelivered[i] += o.calm_misdelivered[i];
  }
  for (std::size_t i = 0; i < closed.size(); ++i) closed[i] += o.closed[i];
}

std::uint64_t Sums::misguided() const {
  std::uint64_t sum = 0;
  for (const Misdelivery one :
       {Misdelivery::kContended, Misdelivery::kConsequence, Misdelivery::kLured})
    sum += misdelivered[static_cast<std::size_t>(one)];
  return sum;
}

std::uint64_t Sums::calm_misdelivered_in_all() const {
  return std::accumulate(calm_misdelivered.begin(), calm_misdelivered.end(), std::uint64_t{0});
}

std::string Sums::text() const {
  const auto share = [](std::uint64_t part, std::uint64_t whole) {
    char text[32];
    std::snprintf(
        text, sizeof text, "%.4f%%",
        whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole));
    return std::string{text};
  };
  std::string all = cat({number(worlds), " worlds, ", number(tunnels), " tunnels, ",
                         number(packets), " packets at the NAT, ", number(forged), " forged\n"});
  all += cat({"  ", number(restarts), " restarts of clients, ", number(ike_rekeys),
              " rekeys of the IKE SA, ", number(phase_one_rekeys), " of phase 1, ",
              number(collisions), " collisions, ", number(failures), " failed exchanges, ",
              number(given_up), " given up, ", number(bursts), " bursts, ", number(fragmented),
              " messages in fragments\n"});
  all += cat({"  ", number(late_tunnels), " servers that spoke first and late, ", number(idled_out),
              " tunnels that idled out, ", number(came_back), " came back; ", number(nat_restarts),
              " restarts of the NAT, ", number(reloads), " reloads\n"});
  char mean[32];
  std::snprintf(mean, sizeof mean, "%.2f",
                turns_came == 0
                    ? 0.0
                    : static_cast<double>(waited_ms) / 1000 / static_cast<double>(turns_came));
  all += cat({"  waited for their turn: ", number(waited), " exchanges, ", mean,
              " s on average; first messages compared: ", number(overlaps_checked),
              ", not clear: ", number(overlaps_unclear), "\n"});
  all += "  turns:";
  for (std::size_t i = 0; i < closed.size(); ++i)
    all += cat({" ", reason(i), " ", number(closed[i])});
  all += cat({"\n  established: ", share(established, wanted), " of ", number(wanted),
              "; calm: ", share(calm_established, calm_wanted), " of ", number(calm_wanted), "\n"});
  const auto row = [](std::string_view a, std::string_view b, std::string_view c,
                      std::string_view d) {
    char text[128];
    std::snprintf(text, sizeof text, "  %-24s %10s %10s %10s\n", std::string{a}.c_str(),
                  std::string{b}.c_str(), std::string{c}.c_str(), std::string{d}.c_str());
    return std::string{text};
  };
  all += row("came to another client", "tunnels", "of all", "calm");
  for (std::size_t i = 1; i < misdelivered.size(); ++i)
    all += row(kNames[i], number(misdelivered[i]), share(misdelivered[i], carried),
               number(calm_misdelivered[i]));
  all += row("cont., cons., lured", number(misguided()), share(misguided(), carried), "");
  all += row("of all: for T at most", number(ended_soon), "", "");
  return all + row("tunnels", number(carried), "", number(calm_carried));
}

Watch::Watch(World& world) : world_(world), remembers_(std::getenv("LSN_MODEL_TRACE") != nullptr) {}

// ── identities ──────────────────────────────────────────────────────────────────────────────────

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
bool Watch::is_at_limit(std::uint32_t client) {
  std::size_t alive = 0;
  for (const Link& link : world_.links) {
    if (link.client != client) continue;
    for (const std::uint32_t id : link.ikes) {
      const IkeSeen& ike = ike_seen(id);
      alive += ike.latest != kNever && world_.now() < ike.latest + life_of(ike);
    }
  }
  return alive >= 60;
}
Watch::IkeSeen& Watch::note_ike(std::uint32_t id) {
  IkeSeen& ike = ike_seen(id);
  // Design 6: it may have gone; then it arises again, unanswered.
  if (ike.latest != kNever && world_.now() >= ike.latest + life_of(ike) - kSlack) {
    ike.heard[0] = ike.heard[1] = false;
    ike.arose = world_.now();
  }
  ike.latest = world_.now();
  return ike;
}
Watch::GateKey Watch::gate_of(const Link& link) const {
  const auto found = sources_.find(link.client);
  return {found == sources_.end() ? Ip{} : found->second.ip, link.server};
}
std::uint32_t Watch::client_of(Ip ip) const {
  return ip.value - world_.client_ip(0).value;
}
std::uint32_t Watch::server_of(Ip ip) const {
  return ip.value - world_.server_ip(0).value;
}

std::string Watch::name_of(const Message& message) const {
  static constexpr const char* kKinds[] = {
      "phase 1",      "IKE_AUTH", "Quick Mode", "CREATE_CHILD_SA", "rekey of the IKE SA",
      "informational"};
  if (message.exchange == kNobody) return "malicious";
  const Exchange& x = world_.exchanges[message.exchange];
  return cat({kKinds[static_cast<std::size_t>(x.kind)], " ", number(message.exchange), ".",
              number(message.step),
              message.is_answer  ? " answer"
              : message.is_third ? " third"
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
    if (std::exchange(dropped_[i], count) != count) text += cat({" ", shared::name_of(reason)});
  }
  return text;
}

void Watch::fault(std::uint32_t server, const std::string& what) {
  if (faults_.empty()) server_of_fault_ = server;
  if (faults_.size() < 10)
    faults_.push_back(
        cat({"at ", number(world_.now()), " ms, server ", number(server), ": ", what}));
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

// ── arrivals ────────────────────────────────────────────────────────────────────────────────────

void Watch::came(const Seen& packet, Party from, const std::vector<Seen>& left) {
  take_events();
  if (from == Party::kServer) came_to_ = packet.destination.ip;
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

bool Watch::is_for_old_mapping(const Seen& packet) {
  const std::uint32_t link = packet.what == Seen::What::kIke
                                 ? world_.exchanges[world_.messages[packet.record].exchange].link
                                 : world_.tunnels[packet.record].link;
  return packet.on_4500 && packet.destination != mappings_4500_[link];
}

/// Design 3: ordinary UDP.
void Watch::nat_t_came(const Seen& packet, const Link& link, Party from, bool passed) {
  for_old_mapping_ = from == Party::kServer && is_for_old_mapping(packet);
  if (from == Party::kClient && !passed && !is_unsettled())
    fault(link.server,
          cat({packet.what == Seen::What::kIke ? "IKE" : "ESP", " in UDP 4500 did not pass"}));
}

void Watch::ike_came(const Seen& packet, Party from, bool passed) {
  const Message& message = world_.messages[packet.record];
  if (message.exchange == kNobody) return;
  const Exchange& x = world_.exchanges[message.exchange];
  const Link& link = world_.links[x.link];
  Peer& of = peer_of(link);
  const Time now = world_.now();
  // Not at an address that a reload has taken, as far as a shard has heard of it.
  const bool reachable = from == Party::kClient || (packet.destination == mapping_of(link).nat &&
                                                    !is_leaving(packet.destination.ip) &&
                                                    now < mapping_of(link).kept_until - kSlack);
  if (packet.on_4500) return nat_t_came(packet, link, from, passed);
  if (from == Party::kServer && packet.destination != mapping_of(link).nat)
    strayed_.insert(packet.record);
  if (from == Party::kClient && x.kind == Kind::kPhaseOne && !x.is_beside && message.step == 0 &&
      !message.is_answer) {
    // Its daemon has begun again: the waiting exchanges are of its former life.
    of.restarted = now;
    for (const std::uint32_t id : gates_[gate_of(link)].waiting)
      if (world_.exchanges[id].link == x.link) world_.exchanges[id].waits_since = kNever;
  }
  if (is_phase_two(x.kind) && is_on()) {
    phase_two_came(message, passed || !reachable);
  } else if (reachable && !passed && !is_unsettled() && !is_at_limit(link.client)) {
    fault(link.server, cat({name_of(message), " did not pass; it is not gated"}));
  }
  if (passed || reachable) note_ike(x.ike);
}

Time Watch::longest_wait(std::size_t ahead) const {
  // The clients that wait already, the one that has the gate now, and the malicious ones, which are
  // not tracked.
  return kSlack + world_.rules.gate_timeout * static_cast<Time>(ahead + 1 + world_.rules.malicious);
}

void Watch::phase_two_came(const Message& message, bool passed) {
  Exchange& x = world_.exchanges[message.exchange];
  const Link& link = world_.links[x.link];
  const Time now = world_.now();
  // An IKE_AUTH message that comes after its turn was lost waits as a new turn (design 4.2).
  const bool goes_on = (x.first_left != kNever || x.is_unwatched) && x.kind == Kind::kAuth &&
                       !message.is_answer && message.step >= x.requests_left;
  if (x.known_since != kNever && !goes_on) {
    if (passed) {
      // Now, although the packets that it releases may be seen to leave first.
      if (message.is_answer) x.answers_left = std::max(x.answers_left, message.step + 1);
      return;
    }
    // Design 3: messages of an exchange that was admitted once always pass: all that are
    // unanswered, up to 64, and the last 8 that are answered.
    const IkeSa& ike = world_.ike_sas[x.ike];
    const bool is_known =
        x.known_since >= ike_seen(x.ike).arose &&
        (x.counts_unanswered ? ike.unanswered <= 64 : ike.answered - x.place < 8) &&
        now < ike_seen(x.ike).latest + std::min(world_.rules.ike_timeout, kMinute) - kSlack;
    if (is_known && !is_unsettled() && !is_at_limit(link.client) &&
        (!message.is_answer || message.step + 1 == x.requests_left))
      fault(link.server, cat({name_of(message), " did not pass; its exchange was admitted"}));
    return;
  }
  if (passed || message.is_answer || message.is_third) return;

  // It waits, and its client retransmits.
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
    // Clients that have lost their address wait, not yet visibly.
    for (const auto& [client, source] : sources_)
      if (client != link.client && (source.ip == Ip{} || now >= source.kept_until - kSlack) &&
          std::find(ahead.begin(), ahead.end(), client) == ahead.end())
        ahead.push_back(client);
    for (const auto& [client, refused] : gate.esp_refused)
      if (client != link.client && now - refused <= 36 * kSecond &&
          std::find(ahead.begin(), ahead.end(), client) == ahead.end())
        ahead.push_back(client);
    if (x.waits_since == kNever && std::find(gate.waiting.begin(), gate.waiting.end(),
                                             message.exchange) == gate.waiting.end()) {
      gate.waiting.push_back(message.exchange);
      if (std::exchange(x.blocked_since, now) == kNever) ++sums_.waited;
    }
    x.waits_since = now;
    // A reload may have moved clients to an address where they wait unseen.
    x.waits_until =
        now + longest_wait(ahead.size() + (world_.rules.reloads != 0 ? world_.rules.clients : 0));
  }
  x.last_asked = now;
  if (world_.rules.hold >= world_.rules.clients + world_.rules.malicious && now > x.waits_until)
    fault(link.server, cat({name_of(message), " waits since ", number(x.waits_since),
                            ", its turn was due at ", number(x.waits_until)}));
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
    if (from == Party::kServer) {
      ++sums_.carried;
      sums_.calm_carried += world_.rules.is_calm();
    }
  }
  if (!is_on()) return;
  const bool is_at_home = from == Party::kClient || packet.destination.ip == gate_of(link).first;
  // Design 4.4: known SPIs pass all the time. (Those with a single packet may be forgotten;
  // design 9.1: one whose client has sent nothing since it came, for T, may be taken back.)
  const bool is_silent = from == Party::kServer &&
                         peer_of(link).latest_esp_out <= tunnel.answered &&
                         now >= tunnel.answered + world_.rules.gate_timeout - kSlack;
  // Of two that are the same either may be taken back for the other's sake.
  const auto [first, last] = world_.by_spi[at(other(from))].equal_range(packet.spi);
  if (!passed && (is_silent || std::distance(first, last) > 1)) tunnel.left[d] = 0;
  if (!passed && tunnel.left[d] >= 2 && tunnel.misdelivery == Misdelivery::kNone &&
      now < tunnel.last_left[d] + world_.rules.esp_timeout - kSlack && is_at_home)
    fault(link.server, cat({"ESP of tunnel ", number(packet.record), " (", hex(packet.spi),
                            ") did not pass; its SPI was known"}));
  if (from == Party::kClient) {
    // An SPI that its server has not answered asks for a turn, whether the packet passes or not.
    if (!passed || !tunnel.is_answered || peer_of(link).lacks_other_half())
      gates_[gate_of(link)].esp_refused[link.client] = now;
    return;
  }
  if (!passed) tunnel.received_since = kNever;  // its receiver has it no more
  // Design 5: no tunnel stays one-way for longer than its turn takes to come round.
  const bool talks =
      tunnel.last_left[0] != kNever && now - tunnel.last_left[0] <= 10 * kSecond && tunnel.alive[0];
  if (passed || !talks || !is_at_home) {
    tunnel.one_way_since = kNever;
  } else if (tunnel.one_way_since == kNever) {
    tunnel.one_way_since = now;
  } else if (world_.rules.is_lossless() && !world_.rules.spoofer &&
             now - tunnel.one_way_since > 2 * longest_wait(world_.rules.clients) + kFiveAnswers) {
    fault(link.server, cat({"tunnel ", number(packet.record), " of client ", number(link.client),
                            " has been one-way since ", number(tunnel.one_way_since)}));
  }
}

// ── departures ──────────────────────────────────────────────────────────────────────────────────

void Watch::left(const Seen& packet, Party to) {
  if (packet.what == Seen::What::kIke) ike_left(packet, to);
  if (packet.what == Seen::What::kEsp) esp_left(packet, to);
}

bool Watch::is_leaving(Ip source) const {
  return is_reloading_ && (addresses_ >> (source.value - world_.nat_ip(0).value) & 1) == 0;
}

void Watch::expect_source(std::uint32_t client, Ip source) {
  Source& known = sources_[client];
  const Time now = world_.now();
  if (known.ip == source && known.since != kNever) return;
  const bool is_kept = known.ip != Ip{} && now < known.kept_until - kSlack;
  if (is_kept && is_leaving(source)) return;
  if (is_kept && known.ip != source)
    fault(kNobody, cat({"client ", number(client), " was ", to_text(known.ip), " and is now ",
                        to_text(source)}));
  known.ip = source;
  known.since = now;
}

void Watch::ike_left(const Seen& packet, Party to) {
  Message& message = world_.messages[packet.record];
  const Time now = world_.now();
  if (message.exchange == kNobody) {
    // A malicious client's, or a server's answer to one.
    peer(message.sender, server_of(to == Party::kServer ? packet.destination.ip : packet.source.ip))
        .starts.push_back(now);
    message.left = true;
    return;
  }
  Exchange& x = world_.exchanges[message.exchange];
  const Link& link = world_.links[x.link];
  const Party from = other(to);
  if (to == Party::kServer) {
    expect_source(link.client, packet.source.ip);
    if (packet.on_4500) mappings_4500_[x.link] = packet.source;
  } else if (client_of(packet.destination.ip) != link.client &&
             !(packet.on_4500 ? for_old_mapping_ : strayed_.contains(packet.record))) {
    fault(link.server,
          cat({name_of(message), " came to client ", number(client_of(packet.destination.ip))}));
  }
  if (packet.on_4500) return;
  if (remembers_ && !message.left)
    note(link.server, cat({"  leaves: ", name_of(message), ", ", to_text(packet.source), " ",
                           to_text(packet.destination)}));

  Mapping& mapping = mapping_of(link);
  if (to == Party::kServer) {
    // Design 6: its UDP 500 mapping towards that server stays.
    const bool is_kept = mapping.nat.port != 0 && now < mapping.kept_until - kSlack;
    if (mapping.nat != packet.source && !(is_kept && is_leaving(packet.source.ip))) {
      if (is_kept && !is_at_limit(link.client))
        fault(link.server,
              cat({"client ", number(link.client), "'s port ", number(link.port[0]), " was ",
                   to_text(mapping.nat), " and is now ", to_text(packet.source)}));
      mapping = {{now, kNever}, packet.source, false};
    }
  }
  if (!is_on()) {
    x.is_unwatched = true;
    return;
  }

  Peer& of = peer_of(link);
  IkeSeen& ike = note_ike(x.ike);
  ike.heard[at(from)] = true;
  const Time lasts = life_of(ike);
  // Design 3: a session that floats is freed; its mapping goes on like any UDP mapping.
  if (!link.nat_traversal) {
    mapping.keep(now, lasts);
    mapping.is_answered |= ike.heard[0] && ike.heard[1];
    Source& source = sources_[link.client];
    source.keep(now, lasts);
  }

  message.left = true;
  if (!is_phase_two(x.kind)) return;
  IkeSa& sa = world_.ike_sas[x.ike];
  const bool is_again = x.first_left != kNever && x.known_since == kNever;
  if (message.is_answer) {
    x.answers_left = std::max(x.answers_left, message.step + 1);
    if (x.answered_left == kNever) x.answered_left = now;
    if (std::exchange(x.counts_unanswered, false)) --sa.unanswered;
    x.place = sa.answered++;
    of.starts.push_back(now);
  } else if (!message.is_third) {
    if (x.first_left == kNever) first_left(message.exchange);
    if (message.step >= x.requests_left) {
      x.requests_left = message.step + 1;
      x.latest_left = now;
      if (!std::exchange(x.counts_unanswered, true)) ++sa.unanswered;
      waited(message.exchange);
      of.starts.push_back(now);
    } else if (is_again) {
      of.starts.push_back(now);
    }
  }
  if (x.known_since == kNever) x.known_since = now;
}

/// Its turn has come: checks that it came in time.
void Watch::waited(std::uint32_t id) {
  Exchange& x = world_.exchanges[id];
  const Link& link = world_.links[x.link];
  GateSeen& gate = gates_[gate_of(link)];
  std::erase(gate.waiting, id);
  std::erase(gates_[{Ip{}, link.server}].waiting, id);
  gate.esp_refused.erase(link.client);
  // Only some of its flights are held; the others ask again.
  for (const std::uint32_t other_id : gate.waiting)
    if (world_.links[world_.exchanges[other_id].link].client == link.client)
      world_.exchanges[other_id].waits_since = kNever;
  if (x.blocked_since != kNever) {
    ++sums_.turns_came;
    sums_.waited_ms += static_cast<std::uint64_t>(world_.now() - x.blocked_since);
  }
  const Time since = std::exchange(x.waits_since, kNever);
  if (since != kNever && x.waits_until < world_.now() &&
      world_.now() - x.last_asked <= 12 * kSecond &&
      world_.rules.hold >= world_.rules.clients + world_.rules.malicious)
    fault(link.server, cat({"exchange ", number(id), " waited since ", number(since),
                            ", its turn was due at ", number(x.waits_until)}));
}

void Watch::first_left(std::uint32_t id) {
  Exchange& x = world_.exchanges[id];
  const Link& link = world_.links[x.link];
  const Time now = world_.now();
  GateSeen& gate = gates_[gate_of(link)];
  // Design 9.3: no other client has an unanswered exchange within its turn. The turn's begin is
  // seen from outside only if nothing earlier can have begun it.
  const Time recently = now - std::min(kYield, world_.rules.gate_timeout) + 100;
  while (!gate.recent.empty() && world_.exchanges[gate.recent.front()].first_left <= recently)
    gate.recent.pop_front();
  for (const std::uint32_t other_id : gate.recent) {
    const Exchange& o = world_.exchanges[other_id];
    const Link& others = world_.links[o.link];
    if (others.client == link.client || o.answers_left >= o.requests_left) continue;
    const Peer& holder = peer_of(others);
    const bool earlier = std::any_of(holder.starts.begin(), holder.starts.end(), [&](Time start) {
      return start <= recently && start > now - 2 * world_.rules.gate_timeout - kSlack;
    });
    const bool answered = std::any_of(gate.recent.begin(), gate.recent.end(), [&](auto i) {
      const Exchange& e = world_.exchanges[i];
      return e.link == o.link && e.answered_left != kNever;
    });
    if (earlier || answered || x.is_unwatched || o.is_unwatched ||
        holder.restarted >= o.first_left || holder.deadline >= o.first_left ||
        is_at_limit(others.client) || is_at_limit(link.client)) {
      ++sums_.overlaps_unclear;
      continue;
    }
    fault(link.server,
          cat({"exchange ", number(id), " of client ", number(link.client), " left while exchange ",
               number(other_id), " of client ", number(others.client), ", admitted at ",
               number(o.first_left), ", was unanswered in its turn"}));
  }
  ++sums_.overlaps_checked;
  x.first_left = now;
  gate.recent.push_back(id);
}

void Watch::esp_left(const Seen& packet, Party to) {
  const Time now = world_.now();
  if (to == Party::kServer) {
    const std::uint32_t server = server_of(packet.destination.ip);
    if (packet.is_forged()) {
      // A malicious client's own.
      Peer& of = peer(packet.sender, server);
      of.latest_esp_out = of.latest_new_esp_out = now;
      of.starts.push_back(now);
      return;
    }
    Tunnel& tunnel = world_.tunnels[packet.record];
    const Link& link = world_.links[tunnel.link];
    expect_source(link.client, packet.source.ip);
    if (packet.on_4500) {
      mappings_4500_[tunnel.link] = packet.source;
      return;
    }
    Peer& of = peer(link.client, server);
    ++tunnel.left[0];
    if (tunnel.new_since == kNever || now >= tunnel.last_left[0] + world_.rules.esp_timeout)
      tunnel.new_since = now;
    // Design 5: its own ESP on an SPI that the server has not answered begins a turn. An answer may
    // have been taken for that of another SPI of its which has none.
    if (!tunnel.is_answered &&
        std::ranges::find(of.unanswered, packet.record) == of.unanswered.end())
      of.unanswered.push_back(packet.record);
    std::erase_if(of.unanswered, [&](std::uint32_t id) {
      const Tunnel& other = world_.tunnels[id];
      return id != packet.record &&
             (other.is_answered || now >= other.last_left[0] + world_.rules.esp_timeout);
    });
    const bool may_lack = !of.unanswered.empty() || of.lacks_other_half();
    if (tunnel.new_since == now || may_lack) of.starts.push_back(now);
    if (tunnel.last_left[0] != kNever) went_on(of, Party::kClient);
    tunnel.last_left[0] = of.latest_esp_out = now;
    // One that the server has not answered is new in any turn that it begins.
    if (may_lack || now <= tunnel.new_since + world_.rules.gate_timeout)
      of.latest_new_esp_out = now;
    if (Mapping& mapping = mapping_of(link); now < mapping.kept_until && mapping.is_answered)
      mapping.keep(now, world_.rules.esp_timeout);
    Source& source = sources_[link.client];
    source.keep(now, world_.rules.esp_timeout);
    return;
  }
  const std::uint32_t server = server_of(packet.source.ip);
  const std::uint32_t receiver = client_of(packet.destination.ip);
  if (packet.is_forged()) {
    peer(receiver, server).foreign.push_back({now, true});
    return;
  }
  Tunnel& tunnel = world_.tunnels[packet.record];
  if (receiver != world_.links[tunnel.link].client) return misdelivered(packet, receiver);
  if (packet.on_4500) return;
  ++tunnel.left[1];
  if (!std::exchange(tunnel.is_answered, true)) tunnel.answered = now;
  if (tunnel.last_left[1] != kNever) went_on(peer(receiver, server), Party::kServer);
  tunnel.last_left[1] = now;
}

void Watch::misdelivered(const Seen& packet, std::uint32_t receiver) {
  const Time now = world_.now();
  Tunnel& tunnel = world_.tunnels[packet.record];
  const Link& link = world_.links[tunnel.link];
  const bool is_first = tunnel.misdelivery == Misdelivery::kNone;
  if (is_first) {
    tunnel.misdelivery = !packet.on_4500    ? classify(packet.record, packet, receiver)
                         : for_old_mapping_ ? Misdelivery::kOutlived
                                            : Misdelivery::kWrong;
    tunnel.misdelivered = now;
  }
  tunnel.last_misdelivered = now;
  if (packet.on_4500) return;
  Peer& to = peer(receiver, link.server);
  to.foreign.push_back({now, false});
  if (std::exchange(tunnel.receiver, receiver) != receiver || tunnel.received_since == kNever)
    tunnel.received_since = now;
  // Design 9.1: it is taken back if the receiver has followed it with nothing for T.
  if (tunnel.misdelivery != Misdelivery::kSameSpi && is_owed(tunnel) &&
      came_to_ == gate_of(link).first && to.latest_esp_out < tunnel.received_since &&
      now > tunnel.received_since + world_.rules.gate_timeout + kSlack)
    fault(link.server, cat({"tunnel ", number(packet.record), "'s ESP came to client ",
                            number(receiver), " since ", number(tunnel.received_since),
                            ", who has been silent since ", number(to.latest_esp_out)}));
  if (!is_first) return;
  ++sums_.misdelivered[static_cast<std::size_t>(tunnel.misdelivery)];
  if (world_.rules.is_calm())
    ++sums_.calm_misdelivered[static_cast<std::size_t>(tunnel.misdelivery)];
  const std::string what =
      cat({"ESP ", hex(packet.spi), " #", number(packet.sequence), " of tunnel ",
           number(packet.record), ", client ", number(link.client), ", came to client ",
           number(receiver), ": ", kNames[static_cast<std::size_t>(tunnel.misdelivery)]});
  if (remembers_) note(link.server, "MISDELIVERED " + what);
  if (tunnel.misdelivery == Misdelivery::kWrong) fault(link.server, what);
}

/// The NAT had lost its state of the tunnel, and has not learnt it again.
bool Watch::is_forgotten(const Tunnel& tunnel) const {
  const Exchange& x = world_.exchanges[tunnel.exchange];
  const Time latest =
      std::max({x.latest_left, x.answered_left, tunnel.first_came[0], tunnel.last_left[1]});
  return tunnel.left[1] == 0 && std::any_of(losses_.begin(), losses_.end(), [&](const Loss& loss) {
           return (loss.client == kNobody || loss.client == world_.links[tunnel.link].client) &&
                  x.first_left <= loss.at && (loss.kept == kNever || latest > loss.kept);
         });
}

/// A known tunnel of the peer's carries a packet.
void Watch::went_on(Peer& of, Party from) {
  const Time now = world_.now();
  if (of.both_ways.empty() ||
      std::min(of.both_ways.back().latest[0], of.both_ways.back().latest[1]) + 2 * kSecond < now)
    of.both_ways.push_back({now, now, {now, now}});
  auto& latest = of.both_ways.back();
  latest.latest[at(from)] = now;
  latest.until = std::min(latest.latest[0], latest.latest[1]);
}

/// Any other one of the same client and server.
bool Watch::any_tunnel_beside(const Tunnel& tunnel, auto&& is_it) const {
  const Link& link = world_.links[tunnel.link];
  return std::ranges::any_of(world_.links, [&](const Link& other) {
    return other.client == link.client && other.server == link.server &&
           std::ranges::any_of(other.tunnels, [&](std::uint32_t id) {
             return &world_.tunnels[id] != &tunnel && is_it(world_.tunnels[id]);
           });
  });
}

bool Watch::came_to_nothing(const Tunnel& tunnel) {
  const Exchange& x = world_.exchanges[tunnel.exchange];
  const Link& link = world_.links[x.link];
  // Another one of its turn may have settled it, and been left over in its place.
  const auto stands_for = [&](const Exchange& y) {
    return any_tunnel_beside(tunnel, [&](const Tunnel& other) {
      const Exchange& o = world_.exchanges[other.exchange];
      return o.ike == y.ike && other.answered != kNever && o.first_left < y.first_left &&
             std::abs(o.first_left - x.first_left) <= world_.rules.gate_timeout;
    });
  };
  // A newer one of the same session was answered, and paired.
  const bool has_newer = any_tunnel_beside(tunnel, [&](const Tunnel& newer) {
    const Exchange& y = world_.exchanges[newer.exchange];
    return y.first_left > x.first_left && y.answered_left != kNever &&
           newer.last_left[0] != kNever && newer.last_left[1] != kNever &&
           (y.ike == x.ike || stands_for(y));
  });
  // The old pair went on both ways for 2 s.
  const std::vector<Peer::BothWays>& both_ways = peer_of(link).both_ways;
  return has_newer || std::any_of(both_ways.begin(), both_ways.end(), [&](const auto& one) {
           return one.until - std::max(one.since, x.answered_left) >= kSecond;
         });
}

/// Its client got the packets owed to an earlier tunnel of its own, in its place.
bool Watch::is_confused(const Tunnel& tunnel) {
  const Exchange& x = world_.exchanges[tunnel.exchange];
  return any_tunnel_beside(tunnel, [&](const Tunnel& earlier) {
    return std::max(earlier.answered, earlier.learnt) >= x.first_left &&
           world_.exchanges[earlier.exchange].first_left < x.first_left;
  });
}

/// As the NAT should know: its exchange was answered, and no packet of the server's has come home,
/// nor another one in its place.
bool Watch::is_owed(const Tunnel& tunnel) {
  const Exchange& x = world_.exchanges[tunnel.exchange];
  const IkeSeen& ike = ike_seen(x.ike);
  const Link& link = world_.links[tunnel.link];
  const Peer& owner = peer_of(link);
  const bool is_taken = std::any_of(owner.foreign.begin(), owner.foreign.end(),
                                    [&](const auto& one) { return one.time >= x.first_left; });
  return !is_taken && !is_confused(tunnel) && x.answered_left != kNever && tunnel.left[1] == 0 &&
         !is_forgotten(tunnel) && !came_to_nothing(tunnel) && x.life == world_.links[x.link].life &&
         x.answered_left >= ike.arose && world_.now() < ike.latest + life_of(ike) - kSlack;
}

/// Design 9.1, each class as it stands there; any other misdelivery is wrong.
Misdelivery Watch::classify(std::uint32_t id, const Seen& packet, std::uint32_t receiver) {
  const Tunnel& tunnel = world_.tunnels[id];
  const Link& link = world_.links[tunnel.link];
  const Time now = world_.now();
  const Time gate_timeout = world_.rules.gate_timeout;
  const auto [first, last] = world_.by_spi[at(Party::kClient)].equal_range(packet.spi);
  for (auto same = first; same != last; ++same) {
    const Link& others = world_.links[world_.tunnels[same->second].link];
    const bool has_it =
        others.client == receiver || world_.tunnels[same->second].receiver == receiver;
    if (same->second != id && others.server == link.server && has_it) return Misdelivery::kSameSpi;
  }
  const Peer& owner = peer(link.client, link.server);
  const Peer& to = peer(receiver, link.server);
  const Exchange& x = world_.exchanges[tunnel.exchange];
  if (is_forgotten(tunnel)) return Misdelivery::kForgotten;
  // A reload took the address, or the profile and with it the pairing, and the server still sends
  // there.
  const auto moved = [&](const Loss& loss) {
    return loss.client == kNobody || loss.client == link.client;
  };
  if (came_to_ != gate_of(link).first && std::any_of(losses_.begin(), losses_.end(), moved))
    return Misdelivery::kForgotten;
  // Its client's pairing had expired, and its server still sends to where it was.
  if (came_to_ != gate_of(link).first) return Misdelivery::kOutlived;
  // Known, and for so long silent in both directions.
  const Time latest = std::max(tunnel.last_left[0], tunnel.last_left[1]);
  if (tunnel.last_left[1] != kNever && now >= latest + world_.rules.esp_timeout - kSlack)
    return Misdelivery::kOutlived;
  if (x.first_left == kNever) return Misdelivery::kWrong;
  // The owner got another client's SPI in this one's place.
  const auto taken = std::find_if(owner.foreign.rbegin(), owner.foreign.rend(),
                                  [&](const auto& one) { return one.time >= x.first_left; });
  if (taken != owner.foreign.rend())
    return taken->forged ? Misdelivery::kForged : Misdelivery::kConsequence;

  // The turn of the owner's in which the exchange was; if its answer was late, the one before that.
  const Time active = std::max({x.first_left, x.latest_left, x.answered_left});
  Time ended = kNever;
  for (const Time end : owner.ends) {
    if (end < x.first_left || end > active + gate_timeout + kSlack) continue;
    ended = end;
    if (end >= active) break;
  }
  if (ended == kNever) return Misdelivery::kWrong;
  const bool is_late = now >= ended + 2 * gate_timeout - 100;
  // Whether the receiver has a turn.
  const Time began = to.starts.empty() ? kNever : to.starts.back();
  const bool is_closed = std::any_of(to.ends.begin(), to.ends.end(),
                                     [&](Time end) { return end > began && end < now; });
  const bool has_turn = began != kNever && !is_closed && now <= began + gate_timeout + kSlack;
  if (is_late && (has_turn || !is_owed(tunnel))) return Misdelivery::kLate;
  if (is_confused(tunnel)) return Misdelivery::kConsequence;
  if (!has_turn) return Misdelivery::kWrong;
  // Design 5.5, inbound 1: while the owner dangles, only after the receiver sent on a new SPI.
  if (to.latest_new_esp_out == kNever || now - to.latest_new_esp_out > kSecond + 100)
    return Misdelivery::kWrong;
  return world_.is_malicious(receiver) ? Misdelivery::kLured : Misdelivery::kContended;
}

// ── the product's own word ──────────────────────────────────────────────────────────────────────

void Watch::take_events() {
  using namespace shared;
  Event event;
  for (unsigned id = 0; id < world_.lab().shards(); ++id) {
    while (world_.lab().shard(id).alg.events.take(event)) {
      const std::uint32_t client = client_of(Ip{event.client.host()});
      const std::uint32_t server = server_of(Ip{event.server.host()});
      if (event.kind == EventKind::kTurnEnded) {
        Peer& of = peer(client, server);
        of.ends.push_back(world_.now());
        if (static_cast<CloseReason>(event.detail) == CloseReason::kDeadline)
          of.deadline = world_.now();
        ++sums_.closed[event.detail];
        if (remembers_)
          note(server,
               cat({"  turn of client ", number(client), " ended: ", reason(event.detail)}));
      } else if (event.kind == EventKind::kEspSpiLearned ||
                 event.kind == EventKind::kEspSessionCreated ||
                 event.kind == EventKind::kEspSessionEnded) {
        if (event.spi_out.host() != 0) {
          auto& pairs = peer(client, server).pairs;
          if (event.kind == EventKind::kEspSessionEnded)
            pairs.erase(event.spi_out.host());
          else
            pairs[event.spi_out.host()] = event.spi_in.host();
        }
        // Design 5.10, candidates: a single packet on it may be forgotten, over and over.
        for (const Party from : {Party::kClient, Party::kServer}) {
          const auto [first, last] = world_.by_spi[at(other(from))].equal_range(
              (from == Party::kClient ? event.spi_out : event.spi_in).host());
          for (auto it = first; it != last; ++it) {
            Tunnel& tunnel = world_.tunnels[it->second];
            tunnel.left[at(from)] = 0;
            if (from == Party::kServer && event.kind != EventKind::kEspSessionEnded &&
                world_.links[tunnel.link].client == client)
              tunnel.learnt = world_.now();
            if (event.kind != EventKind::kEspSessionEnded) continue;
            tunnel.new_since = kNever;
            tunnel.is_answered = false;
          }
        }
        if (remembers_)
          note(server, cat({"  client ", number(client),
                            event.kind == EventKind::kEspSessionEnded ? " has no more " : " has ",
                            hex(event.spi_out.host()), " / ", hex(event.spi_in.host())}));
      }
    }
  }
}

void Watch::before_change() {
  take_events();
  look_at_tables();
}

void Watch::restarted(Time restored) {
  dropped_ = {};
  if (remembers_)
    note(kNobody, restored == kNever ? "THE NAT BEGINS AGAIN without a file"
                                     : cat({"THE NAT BEGINS AGAIN as of ", number(restored)}));
  for (auto& [key, of] : peers_) of.ends.push_back(world_.now());
  forget(restored, kNobody);
}

void Watch::reloading(unsigned addresses, bool has_profile) {
  if (remembers_)
    note(kNobody, cat({"RELOAD addresses ", hex(addresses), has_profile ? "" : ", no profile"}));
  had_profile_ = std::exchange(has_profile_, has_profile);
  addresses_ = addresses;
  is_reloading_ = true;
  reloaded_at_ = world_.now();
  forget_what_went();
}

void Watch::reloaded() {
  if (remembers_) note(kNobody, "all have it");
  forget_what_went();
  is_reloading_ = false;
  had_profile_ = has_profile_;
}

void Watch::forget_what_went() {
  if (had_profile_ != has_profile_) return forget(kNever, kNobody);
  for (auto& [client, source] : sources_) {
    // State learnt while not all shards knew that its address had gone is forgotten, too.
    const bool has_moved = std::ranges::any_of(losses_, [&](const Loss& loss) {
      return loss.client == client && loss.at == reloaded_at_;
    });
    if (source.ip == Ip{} && has_moved) forget(kNever, client);
    if (source.ip == Ip{} || (addresses_ >> (source.ip.value - world_.nat_ip(0).value) & 1) != 0)
      continue;
    forget(kNever, client);
    source.ip = Ip{};
  }
}

void Watch::forget(Time kept, std::uint32_t client) {
  losses_.push_back({client, kept, world_.now()});
  for (auto& [key, of] : peers_)
    if (client == kNobody || client == key.first) of.pairs.clear();
  const auto is_lost = [&](std::uint32_t of, Time since) {
    return (client == kNobody || client == of) && (since == kNever || since > kept - kSlack);
  };
  for (auto& [of, source] : sources_)
    if (is_lost(of, source.since)) source.since = source.kept_until = kNever;
  for (auto& [of, mapping] : mappings_)
    if (is_lost(std::get<0>(of), mapping.since)) mapping = {};
  for (Exchange& x : world_.exchanges) {
    if (client != kNobody && world_.links[x.link].client != client) continue;
    x.known_since = x.waits_since = kNever;
    if (std::exchange(x.counts_unanswered, false)) --world_.ike_sas[x.ike].unanswered;
    if (kept == kNever) ike_seen(x.ike) = {};
  }
  for (auto& [key, gate] : gates_) {
    std::erase_if(gate.waiting, [&](std::uint32_t x) {
      return client == kNobody || world_.links[world_.exchanges[x].link].client == client;
    });
    gate.recent.clear();
    gate.esp_refused.clear();
  }
  for (Tunnel& tunnel : world_.tunnels) {
    const Time learnt = std::max({tunnel.new_since, tunnel.first_came[1], tunnel.learnt});
    if (is_lost(world_.links[tunnel.link].client, learnt) || tunnel.left[0] == 0 ||
        tunnel.left[1] == 0)
      if (client == kNobody || world_.links[tunnel.link].client == client) {
        tunnel.left[0] = tunnel.left[1] = 0;
        tunnel.new_since = kNever;
        tunnel.is_answered = false;
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
      // Design 9.2.
      if (gate.state != shared::GateState::kClosed &&
          Time{world_.lab().now() - gate.turn.began} * 10 > rules.gate_timeout + kSlack)
        fault(server, "a turn lasts longer than espGateTimeout");
      if (gate.waiter_count > rules.hold) fault(server, "more waiters than phase2Hold");
      // An exchange counts as answered no more when it goes on (IKE_AUTH), or rekeyed the IKE SA.
      // Nor do those that are known from before and not answered (design 5.2, outbound 2).
      const std::uint32_t before =
          gate.turn.holder == state::kNone ? 0 : tables.peers[gate.turn.holder].esp_count;
      const std::uint32_t spis = std::max(gate.turn.spis[0], gate.turn.spis[1]);
      if (spis > rules.candidates + gate.turn.answered + gate.turn.unanswered + 8 + before)
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
    for (std::size_t g = 0; g < shared::kAlgGauges; ++g)
      if (alg.counters.total.gauges[g].get() != 0 || alg.counters.profiles[0].gauges[g].get() != 0)
        fault(kNobody,
              cat({"after everything has expired the gauge ", shared::kAlgGaugeTexts[g].name,
                   " is ", number(alg.counters.total.gauges[g].get()),
                   " (profile: ", number(alg.counters.profiles[0].gauges[g].get()), ")"}));
    if (alg.peers.size() + alg.flights.size() + alg.held.size() != 0)
      fault(kNobody, "peers or flights are left");
    std::uint64_t dropped = 0;
    for (const auto& text : shared::kDropReasonTexts)
      if (is_esp_reason(text.reason))
        dropped +=
            world_.lab().shard(id).counters.drops[static_cast<std::size_t>(text.reason)].get();
    if (alg.counters.total.of(shared::AlgCounter::kEspDropped).get() != dropped)
      fault(kNobody, "esp_dropped is not the sum of the reasons");
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
  sums_.failures = world_.failures;
  sums_.phase_one_rekeys = world_.phase_one_rekeys;
  sums_.bursts = world_.bursts;
  sums_.idled_out = world_.idled_out;
  sums_.came_back = world_.came_back;
  sums_.nat_restarts = world_.nat_restarts;
  sums_.reloads = world_.reloads;
  sums_.fragmented = world_.fragmented;
  const bool is_calm = world_.rules.is_calm();
  for (const Tunnel& tunnel : world_.tunnels) {
    sums_.late_tunnels += tunnel.late;
    sums_.ended_soon += tunnel.misdelivered != kNever &&
                        tunnel.last_misdelivered - tunnel.misdelivered <= world_.rules.gate_timeout;
    const bool established = tunnel.received[0] != 0 && tunnel.received[1] != 0;
    // Both ends had it, and the end that wanted to send has tried for some time.
    if (!established && tunnel.sent[0] < 4) continue;
    // A server that has not got it, or no more: its client's packets have passed, nothing came
    // back.
    if (!established && tunnel.last_left[0] != kNever && tunnel.first_came[1] == kNever) continue;
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
