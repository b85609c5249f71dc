#include "lsn/datapath/ipsec_alg/attribution.hpp"

#include <algorithm>

#include "lsn/datapath/ipsec_alg/esp_sessions.hpp"
#include "lsn/datapath/ipsec_alg/gates.hpp"
#include "lsn/datapath/ipsec_alg/keys.hpp"
#include "lsn/datapath/ipsec_alg/peers.hpp"
#include "lsn/datapath/lsn44/lifecycle.hpp"
#include "lsn/wire/esp.hpp"

namespace lsn::datapath::ipsec_alg {
namespace {

std::uint32_t sequence_of(const Packet& packet) {
  return reinterpret_cast<const wire::EspHeader*>(packet.l4)->sequence.host();
}

// ── what a gate remembers of unknown SPIs ───────────────────────────────────────────────────────

SeenSpi* find_seen(Gate& gate, Spi spi) {
  for (SeenSpi& seen : gate.seen)
    if (seen.spi == spi) return &seen;
  return nullptr;
}

/// Where one more is noted: in the place of the one that has not come for the longest time, but of
/// those that somebody may be owed (section 9.1) only when they fill more than half.
SeenSpi& place_in_seen(Gate& gate) {
  const auto in_doubt = [](const SeenSpi& seen) {
    return seen.expected_by != SeenSpi::kNobodys && seen.fresh_at_first && !seen.known;
  };
  const bool spares = std::ranges::count_if(gate.seen, in_doubt) <= std::ptrdiff_t{kSeenSpis / 2};
  SeenSpi* oldest = nullptr;
  for (SeenSpi& seen : gate.seen) {
    if (seen.spi == kNoSpi) return seen;
    if (spares && in_doubt(seen)) continue;
    if (oldest == nullptr || oldest->last.later_than(seen.last)) oldest = &seen;
  }
  return *oldest;
}

/// Notes that an unknown SPI came.
const SeenSpi& note_seen(Shard& shard, Gate& gate, Spi spi, bool is_fresh) {
  if (SeenSpi* seen = find_seen(gate, spi)) {
    seen->last = shard.now;
    seen->known = false;
    return *seen;
  }
  SeenSpi& seen = place_in_seen(gate);
  seen = {.spi = spi, .first = shard.now, .last = shard.now, .fresh_at_first = is_fresh};
  return seen;
}

/// Whether it is owed an SPI, be it long since.
bool is_owed(const Peer& peer) {
  return peer.claims != 0 || peer.awaits_spi_in || peer.unsettled != 0;
}

/// Who may still be owed what came: who was when it was refused, and has not got any since.
PeerId still_expected_by(const Shard& shard, const SeenSpi& seen) {
  const PeerId id = seen.expected_by;
  return id == SeenSpi::kNobodys || id == SeenSpi::kSeveral || is_owed(shard.alg.peers[id])
             ? id
             : SeenSpi::kNobodys;
}

/// It was refused while that peer (or kSeveral) had the turn or dangled.
void note_expected(const Shard& shard, Gate& gate, Spi spi, PeerId peer) {
  SeenSpi* seen = find_seen(gate, spi);
  if (seen == nullptr || peer == SeenSpi::kNobodys) return;
  const PeerId before = still_expected_by(shard, *seen);
  seen->expected_by = before == SeenSpi::kNobodys || before == peer ? peer : SeenSpi::kSeveral;
}

/// It may be what another client is owed (section 9.1): one that dangles, or one for whom it was
/// not late when it first came. That stays when the dangling ends.
bool is_in_doubt(Shard& shard, Gate& gate, const SeenSpi& seen, PeerId peer) {
  const PeerId other = still_expected_by(shard, seen);
  return (other != SeenSpi::kNobodys && other != peer) ||
         other_dangling(shard, gate, peer) != SeenSpi::kNobodys;
}

void note_learned(Gate& gate, Spi spi, PeerId peer) {
  if (SeenSpi* seen = find_seen(gate, spi)) {
    seen->learned_by = peer;
    seen->known = true;
  }
}

/// It was somebody else's until it was forgotten, or on its way before that peer can have had it.
bool is_of_another(const SeenSpi& seen, PeerId peer, state::Ticks expected_since) {
  return seen.learned_by != state::kNone ? seen.learned_by != peer
                                         : expected_since.later_than(seen.first);
}

/// Fresh: a new SA starts at 1, and an SPI that was first seen fresh since then stays eligible.
bool is_fresh(const SeenSpi& seen, bool fresh_now, state::Ticks since) {
  return fresh_now || (seen.fresh_at_first && !since.later_than(seen.first));
}

/// From when on a peer's new SPIs can have been on their way: since its turn began, or since the
/// earliest of its exchanges that still lacks one was admitted, unless that is longer ago than a
/// client dangles: then it is not waited for any more.
state::Ticks expecting_since(const Shard& shard, const Peer& peer, state::Ticks turn_began) {
  if (peer.unsettled == 0 || !turn_began.later_than(peer.unsettled_since)) return turn_began;
  const state::Ticks given_up =
      peer.unsettled_since + 2 * profile_of(shard, peer).gate_timeout;
  return turn_began.later_than(given_up) ? turn_began : peer.unsettled_since;
}

// ── candidates ──────────────────────────────────────────────────────────────────────────────────

/// Learns an SPI for a turn's holder, within the limit: at most spiCandidates beyond the answered
/// exchanges; when full, the oldest that carried a single packet is replaced.
std::expected<SessionId, DropReason> accept(Shard& shard, Turn& turn, Direction direction,
                                            Spi spi) {
  const Peer& peer = shard.alg.peers[turn.holder];
  if (turn.spis[at(direction)] >= profile_of(shard, peer).spi_candidates + turn.answered) {
    const EspId single = oldest_single(shard, turn, direction);
    if (single == state::kNone)
      return std::unexpected(direction == Direction::kOutbound ? DropReason::kEspOutCandidates
                                                               : DropReason::kEspInCandidates);
    forget_spi(shard, single, direction);
    count(shard, peer.profile, AlgCounter::kCandidatesReplaced);
  }
  return learn(shard, turn.holder, direction, spi, &turn);
}

// ── who else might it be? ───────────────────────────────────────────────────────────────────────

/// A half-open session's claim on an inbound SPI ends T after its last outbound packet.
bool has_claim(const Shard& shard, const Peer& peer) {
  if (peer.claims != 0) return true;
  const Tables& tables = shard.alg;
  const state::TickDuration lasts = profile_of(shard, peer).gate_timeout;
  unsigned looked = 0;
  for (EspId id = peer.half_open[at(Direction::kOutbound)].last;
       id != state::kNone && looked < kLookLimit; id = tables.esp_sessions[id].half_open.prev,
             ++looked) {
    const lsn44::Session& session = shard.lsn44.sessions[tables.esp_sessions[id].session];
    if ((session.last_seen + lasts).later_than(shard.now)) return true;
  }
  return looked == kLookLimit;  // there may be one: better nobody's than a guess
}

/// Inbound 3: the only one of the gate that may expect an inbound SPI; kNone: nobody, or several.
PeerId sole_claimant(const Shard& shard, const Gate& gate, DropReason& reason) {
  PeerId sole = state::kNone;
  unsigned looked = 0;
  for (PeerId id = gate.claimants.first; id != state::kNone;
       id = shard.alg.peers[id].of_claimants.next) {
    const bool claims = ++looked > kLookLimit || has_claim(shard, shard.alg.peers[id]);
    if (!claims) continue;
    if (sole != state::kNone || looked > kLookLimit) {
      reason = DropReason::kEspInAmbiguous;
      return state::kNone;
    }
    sole = id;
  }
  if (sole == state::kNone) reason = DropReason::kEspInNoGate;
  return sole;
}

/// Whether exactly one client, that peer, sent ESP to the server since then.
bool is_sole_sender(const Shard& shard, const Gate& gate, PeerId peer, state::Ticks since) {
  if (gate.turn.others_sent) return false;
  const Tables& tables = shard.alg;
  unsigned looked = 0;
  for (PeerId id = gate.peers.first; id != state::kNone; id = tables.peers[id].of_gate.next) {
    if (id == peer) continue;
    for (EspId esp = tables.peers[id].esp_sessions.first; esp != state::kNone;
         esp = tables.esp_sessions[esp].of_peer.next)
      if (++looked > kLookLimit ||
          !since.later_than(shard.lsn44.sessions[tables.esp_sessions[esp].session].last_seen))
        return false;
    if (++looked > kLookLimit) return false;
  }
  return true;
}

/// Section 5, fresh: waived in a turn without an exchange, once (N, S) has been observed for T, in
/// which exactly one client sent ESP and exactly one unknown SPI came. That SPI, or kNoSpi. An SPI
/// that was fresh when it was first seen is none of a running tunnel, for which this rule is: it is
/// of an exchange, not of this turn.
Spi waived_spi(const Shard& shard, const Gate& gate) {
  if (gate.state != GateState::kArmed || gate.turn.has_exchange ||
      gate.halves[at(Direction::kInbound)] == HalfGate::kPassed)
    return kNoSpi;
  const state::TickDuration observed =
      profile_of(shard, shard.alg.peers[gate.turn.holder]).gate_timeout;
  const state::Ticks since = shard.now - observed;
  if (gate.created.later_than(since)) return kNoSpi;
  Spi only = kNoSpi;
  for (const SeenSpi& seen : gate.seen) {
    if (seen.spi == kNoSpi || seen.known || since.later_than(seen.last)) continue;
    if (only != kNoSpi) return kNoSpi;
    if (seen.fresh_at_first ||
        (seen.learned_by != state::kNone && seen.learned_by != gate.turn.holder))
      return kNoSpi;
    only = seen.spi;
  }
  return only != kNoSpi && is_sole_sender(shard, gate, gate.turn.holder, since) ? only : kNoSpi;
}

// ── the rules ───────────────────────────────────────────────────────────────────────────────────

/// A new SPI for a peer outside of any turn: one of its exchanges or half-open sessions expects it.
std::expected<SessionId, DropReason> claimed(Shard& shard, PeerId peer, Spi spi) {
  count(shard, shard.alg.peers[peer].profile, AlgCounter::kSpiInClaimed);
  return learn(shard, peer, Direction::kInbound, spi, nullptr);
}

std::expected<SessionId, DropReason> inbound_of_turn(Shard& shard, GateId gate_id, Spi spi,
                                                     bool fresh_now, const SeenSpi& seen) {
  Gate& gate = shard.alg.gates[gate_id];
  const Peer& holder = shard.alg.peers[gate.turn.holder];
  // What came before the turn may be owed to the holder since an earlier one, but not if it may as
  // well be another client's.
  const bool in_doubt = is_in_doubt(shard, gate, seen, gate.turn.holder);
  const state::Ticks since =
      in_doubt ? gate.turn.began : expecting_since(shard, holder, gate.turn.began);
  const bool waived = waived_spi(shard, gate) == spi;
  if (!waived) {
    if (!is_fresh(seen, fresh_now, gate.turn.began))
      return std::unexpected(DropReason::kEspInNotFresh);
    // It was on its way before the holder can have had it.
    if (is_of_another(seen, gate.turn.holder, since))
      return std::unexpected(DropReason::kEspInAmbiguous);
    if (gate.halves[at(Direction::kOutbound)] != HalfGate::kPassed && in_doubt)
      return std::unexpected(DropReason::kEspInDangling);
  }
  const auto learned = accept(shard, gate.turn, Direction::kInbound, spi);
  if (!learned) return learned;
  if (waived) count(shard, holder.profile, AlgCounter::kFreshnessWaived);
  spi_passed(shard, gate_id, Direction::kInbound);
  returned(shard, gate_id);
  return learned;
}

std::expected<SessionId, DropReason> inbound_of_closed(Shard& shard, Gate& gate, Spi spi,
                                                       bool fresh_now, const SeenSpi& seen) {
  // 2. The gate lingers: the last holder's.
  if (gate.lingering.holder != state::kNone) {
    const state::Ticks since =
        expecting_since(shard, shard.alg.peers[gate.lingering.holder], gate.lingering.began);
    if (!is_fresh(seen, fresh_now, gate.lingering.began))
      return std::unexpected(DropReason::kEspInNotFresh);
    // It was on its way before, or it may be what another client is owed: nobody's (section 9.1).
    if (is_of_another(seen, gate.lingering.holder, since))
      return std::unexpected(DropReason::kEspInAmbiguous);
    if (is_in_doubt(shard, gate, seen, gate.lingering.holder))
      return std::unexpected(DropReason::kEspInDangling);
    const auto learned = accept(shard, gate.lingering, Direction::kInbound, spi);
    if (learned)
      count(shard, shard.alg.peers[gate.lingering.holder].profile, AlgCounter::kSpiInLingering);
    return learned;
  }
  // 3. It is whose it can only be.
  DropReason reason{};
  const PeerId sole = sole_claimant(shard, gate, reason);
  if (sole == state::kNone) return std::unexpected(reason);
  const Peer& peer = shard.alg.peers[sole];
  if (!is_fresh(seen, fresh_now, peer.turn_began))
    return std::unexpected(DropReason::kEspInNotFresh);
  // It was on its way before the claimant can have had it.
  if (is_of_another(seen, sole, expecting_since(shard, peer, peer.turn_began)))
    return std::unexpected(DropReason::kEspInAmbiguous);
  if (is_in_doubt(shard, gate, seen, sole)) return std::unexpected(DropReason::kEspInDangling);
  return claimed(shard, sole, spi);
}

/// Section 5, outbound 2: C takes the closed gate without an exchange.
std::expected<SessionId, DropReason> take_gate(Shard& shard, PeerId id, Spi spi) {
  begin_turn(shard, id, GateEvent::kOutboundSpi);
  const GateId gate_id = shard.alg.peers[id].gate;
  Gate& gate = shard.alg.gates[gate_id];
  const auto learned = accept(shard, gate.turn, Direction::kOutbound, spi);
  if (!learned) {
    close_turn(shard, gate_id, CloseReason::kFlush);
    return learned;
  }
  // Its inbound SPI may be known already: the server spoke first.
  const EspSession& esp = shard.alg.esp_sessions[esp_of(shard, *learned)];
  if (esp.spi[at(Direction::kInbound)] != kNoSpi) {
    gate.turn.idle_pairs = 0;
    gate.turn.spoken_first = 1;
    spi_passed(shard, gate_id, Direction::kInbound);
  }
  return learned;
}

/// The client's subscriber, with a NAT address.
std::expected<SubscriberId, DropReason> obtain_paired(Shard& shard, wire::Be32 client,
                                                      std::uint16_t group_id,
                                                      const Group& group) {
  const auto id = lsn44::obtain_subscriber(shard, client, group_id);
  if (!id) return id;
  lsn44::Subscriber& subscriber = shard.lsn44.subscribers[*id];
  if (subscriber.group != group_id) return std::unexpected(DropReason::kNoMapping);
  if (subscriber.paired_ip.raw() == 0 && !lsn44::pair_anywhere(shard, subscriber, group)) {
    lsn44::release_subscriber(shard, *id);
    return std::unexpected(DropReason::kPoolExhausted);
  }
  return id;
}

std::unexpected<DropReason> refused(Shard& shard, std::uint16_t profile, DropReason reason) {
  count_drop(shard, profile, reason);
  return std::unexpected(reason);
}

}  // namespace

std::expected<SessionId, DropReason> attribute_outbound(Shard& shard, const Packet& packet,
                                                        std::uint16_t group_id) {
  const AlgProfile* profile = find_profile(shard, group_id);
  if (profile == nullptr) return refused(shard, kNoId, DropReason::kEspNoProfile);
  const auto refuse = [&](DropReason reason) -> std::expected<SessionId, DropReason> {
    return refused(shard, profile->id, reason);
  };
  const Spi spi = spi_of(packet.key);
  if (spi == kNoSpi) return refuse(DropReason::kEspSpiZero);
  if (shard.generation->nat_addresses.find(wire::Ipv4Address{packet.ip->destination}) != nullptr)
    return refuse(DropReason::kAlgHairpin);

  Tables& tables = shard.alg;
  PeerId id = find_peer(shard, packet.ip->source, packet.ip->destination);
  if (id == state::kNone) {
    // A client that has nothing with this server yet: does it need IKE?
    if (profile->require_ike) return refuse(DropReason::kEspOutNoIke);
    const auto subscriber = obtain_paired(shard, packet.ip->source, group_id,
                                          *shard.generation->group(group_id));
    if (!subscriber) return refuse(subscriber.error());
    const GateId gate_id = find_gate(shard, shard.lsn44.subscribers[*subscriber].paired_ip,
                                     packet.ip->destination);
    if (gate_id != state::kNone) {
      catch_up(shard, gate_id);
      Gate& gate = tables.gates[gate_id];
      if (gate.state != GateState::kClosed) {
        gate.turn.others_sent = true;
        lsn44::release_subscriber(shard, *subscriber);
        return refuse(DropReason::kEspOutGateBusy);
      }
    }
    const auto made =
        obtain_peer(shard, *subscriber, packet.ip->destination, Direction::kOutbound);
    if (!made) {
      lsn44::release_subscriber(shard, *subscriber);
      return refuse(made.error());
    }
    const auto learned = take_gate(shard, *made, spi);
    return learned ? learned : refuse(learned.error());
  }

  const GateId gate_id = tables.peers[id].gate;
  // A reload took its address, and has not come to end what the client had there.
  if (lsn44::find_nat_address(shard, tables.gates[gate_id].nat_ip) == nullptr)
    return refuse(DropReason::kNoMapping);
  catch_up(shard, gate_id);
  Gate& gate = tables.gates[gate_id];
  // 1. C holds the gate. (Before an answer it is another, idle tunnel of C: gates.cpp.)
  if (holds(gate, id)) {
    const auto learned = accept(shard, gate.turn, Direction::kOutbound, spi);
    if (!learned) return refuse(learned.error());
    spi_passed(shard, gate_id, Direction::kOutbound);
    schedule_gate(shard, gate_id);
    return learned;
  }
  // 2. The gate is closed: C takes it, if it needs no IKE or has it.
  if (gate.state == GateState::kClosed) {
    if (profile->require_ike && tables.peers[id].ike_count == 0)
      return refuse(DropReason::kEspOutNoIke);
    const auto learned = take_gate(shard, id, spi);
    return learned ? learned : refuse(learned.error());
  }
  // 3. Somebody else holds it: the answer could not be attributed.
  gate.turn.others_sent = true;
  return refuse(DropReason::kEspOutGateBusy);
}

std::expected<SessionId, DropReason> attribute_inbound(Shard& shard, const Packet& packet) {
  const Spi spi = spi_of(packet.key);
  if (spi == kNoSpi) return refused(shard, kNoId, DropReason::kEspSpiZero);
  const GateId gate_id = find_gate(shard, packet.ip->destination, packet.ip->source);
  if (gate_id == state::kNone)
    return refused(
        shard, kNoId,
        shard.alg.max_fresh_sequence == 0 ? DropReason::kEspNoProfile : DropReason::kEspInNoGate);
  catch_up(shard, gate_id);
  Tables& tables = shard.alg;
  Gate& gate = tables.gates[gate_id];
  const Peer& peer = tables.peers[asked_about(gate)];
  const std::uint16_t profile = peer.profile;
  const bool fresh_now = sequence_of(packet) <= profile_of(shard, peer).fresh_sequence;
  const SeenSpi seen = note_seen(shard, gate, spi, fresh_now);

  std::expected<SessionId, DropReason> result = std::unexpected(DropReason::kEspInAmbiguous);
  switch (gate.state) {
    case GateState::kExchange:
      break;  // nobody can have a new SPI yet; somebody may have sent it on before
    case GateState::kArmed:
      result = inbound_of_turn(shard, gate_id, spi, fresh_now, seen);
      break;
    case GateState::kClosed:
      result = inbound_of_closed(shard, gate, spi, fresh_now, seen);
      break;
  }
  if (result) {
    note_learned(gate, spi, tables.esp_sessions[esp_of(shard, *result)].peer);
    schedule_gate(shard, gate_id);
  } else {
    const PeerId holder = gate.state == GateState::kClosed ? state::kNone : gate.turn.holder;
    note_expected(shard, gate, spi, holder);
    note_expected(shard, gate, spi, other_dangling(shard, gate, holder));
    count_drop(shard, profile, result.error());
  }
  return result;
}

void waive_freshness(Shard& shard, GateId id) {
  Gate& gate = shard.alg.gates[id];
  const Spi spi = waived_spi(shard, gate);
  if (spi == kNoSpi) return;
  if (!accept(shard, gate.turn, Direction::kInbound, spi)) return;
  count(shard, shard.alg.peers[gate.turn.holder].profile, AlgCounter::kFreshnessWaived);
  spi_passed(shard, id, Direction::kInbound);
  note_learned(gate, spi, gate.turn.holder);
}

}  // namespace lsn::datapath::ipsec_alg
