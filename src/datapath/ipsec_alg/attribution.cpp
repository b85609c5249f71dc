#include "lsn/datapath/ipsec_alg/attribution.hpp"

#include <algorithm>

#include "lsn/datapath/ipsec_alg/esp.hpp"
#include "lsn/datapath/ipsec_alg/holding.hpp"
#include "lsn/datapath/ipsec_alg/ike.hpp"
#include "lsn/datapath/ipsec_alg/keys.hpp"
#include "lsn/datapath/ipsec_alg/peers.hpp"
#include "lsn/datapath/ipsec_alg/turns.hpp"
#include "lsn/datapath/lsn44/ports.hpp"
#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/datapath/lsn44/subscriber.hpp"
#include "lsn/wire/esp.hpp"

namespace lsn::datapath::ipsec_alg {
namespace {

std::uint32_t sequence_of(const Packet& packet) {
  return reinterpret_cast<const wire::EspHeader*>(packet.l4)->sequence.host();
}

// ── a gate's memory of unknown SPIs ──────────────────────────────────────────────────────────────

/// An unknown SPI that came, with all that is remembered of it.
struct Seen {
  SeenSpi& at;
  SeenHistory& history;
};

/// Whether a peer may still be owed an SPI: it was when that was refused, and has not got any
/// since.
bool may_still_expect(const IpsecAlg& shard, PeerId id) {
  if (id == SeenHistory::kNobodys) return false;
  const Peer& peer = shard.alg.peers[id];
  return !peer.owed.empty() || peer.awaited != 0 || !peer.undecided.empty() ||
         !peer.half_open[Direction::kOutbound].empty();
}

/// Where an SPI stands, or where it is to be noted: in the place of the one that has not come for
/// the longest time, but of those that a peer may be owed (design 9.1) only if they fill more than
/// half.
SeenSpi& place_in_seen(Gate& gate, Spi spi) {
  SeenSpi* free = nullptr;
  SeenSpi* oldest = nullptr;
  SeenSpi* oldest_certain = nullptr;
  std::size_t contested = 0;
  const auto is_older = [](const SeenSpi& seen, const SeenSpi* than) {
    return than == nullptr || than->last.later_than(seen.last);
  };
  for (SeenSpi& seen : gate.seen) {
    if (seen.spi == spi) return seen;
    if (seen.spi == kNoSpi) {
      if (free == nullptr) free = &seen;
      continue;
    }
    if (is_older(seen, oldest)) oldest = &seen;
    if (seen.is_contested())
      ++contested;
    else if (is_older(seen, oldest_certain))
      oldest_certain = &seen;
  }
  if (free != nullptr) return *free;
  return contested <= kSeenSpis / 2 ? *oldest_certain : *oldest;
}

/// Notes that an unknown SPI came.
Seen note_seen(IpsecAlg& shard, Gate& gate, Spi spi, std::uint32_t sequence, bool is_fresh) {
  SeenSpi& seen = place_in_seen(gate, spi);
  if (seen.spi != spi) {
    seen = {};
    shard.alg.history(gate, seen) = {};
    gate.latest_seen = static_cast<std::uint8_t>(&seen - gate.seen.data());
    seen.spi = spi;
    seen.first = shard.now;
    seen.fresh_at_first = is_fresh;
    seen.new_at_first = sequence == 1;
  }
  seen.last = shard.now;
  seen.known = false;
  return {seen, shard.alg.history(gate, seen)};
}

/// It was refused while that peer had the turn or dangled.
void note_expected(const IpsecAlg& shard, Seen seen, PeerId peer) {
  PeerId* free = nullptr;
  seen.at.expected = true;
  for (PeerId& known : seen.history.expected_by) {
    if (known == peer) return;
    if (!may_still_expect(shard, known)) free = &known;
  }
  if (free != nullptr)
    *free = peer;
  else
    seen.history.expected_by_several = true;
}

void note_expected_by_all(IpsecAlg& shard, Gate& gate, Seen seen) {
  if (gate.state != GateState::kClosed && gate.turn.has_exchange)
    note_expected(shard, seen, gate.turn.holder);
  unsigned looked = 0;
  for (PeerId id = gate.dangling.first; id != state::kNone && !seen.history.expected_by_several;
       id = shard.alg.peers[id].of_dangling.next) {
    if (is_dangling(shard, shard.alg.peers[id])) note_expected(shard, seen, id);
    if (++looked > kLookLimit) seen.at.expected = seen.history.expected_by_several = true;
  }
}

/// Another client may be owed it (design 9.1): one that dangles, or one that it was not late for
/// when it first came. That stays when the dangling ends, until that one has got its own.
bool is_contested(IpsecAlg& shard, Gate& gate, Seen seen, PeerId peer) {
  for (const PeerId other : seen.history.expected_by)
    if (other != peer && may_still_expect(shard, other)) return true;
  return (seen.history.expected_by_several && is_another_owed(shard, gate, peer)) ||
         does_another_dangle(shard, gate, peer) ||
         has_another_asked(shard, gate, peer) == Asking::kYes;
}

void note_learned(Seen seen, PeerId peer) {
  seen.history.learned_by = peer;
  seen.at.known = true;
}

/// It was another peer's until it was forgotten, it was taken from that peer, or it was on its way
/// before that peer can have had it.
bool is_of_another(Seen seen, PeerId peer, state::Ticks expected_since) {
  if (seen.history.withdrawn == peer) return true;
  return seen.history.learned_by != state::kNone ? seen.history.learned_by != peer
                                                 : expected_since.later_than(seen.at.first);
}

/// Fresh: a new SA starts at 1, and an SPI that was first seen fresh since then stays eligible.
bool is_fresh(Seen seen, bool fresh_now, state::Ticks since) {
  return fresh_now || (seen.at.fresh_at_first && !since.later_than(seen.at.first));
}

/// When an SPI was first seen, if it was fresh then and may be of one of the peer's exchanges: that
/// of an older tunnel of the peer's, which idled out, has been settled.
std::optional<state::Ticks> began(Seen seen, PeerId peer) {
  return seen.at.fresh_at_first && seen.history.learned_by != peer ? std::optional{seen.at.first}
                                                                   : std::nullopt;
}

/// From when on a peer's new SPIs can have been on their way: since its turn began, or since the
/// earliest of its exchanges that still lacks one was admitted. Unanswered ones count for as long
/// as a client dangles: then they are not waited for any more.
state::Ticks expecting_since(const IpsecAlg& shard, const Peer& peer, state::Ticks turn_began) {
  const Tables& tables = shard.alg;
  state::Ticks since = turn_began;
  const auto consider = [&](ExchangeId id) {
    const state::Ticks admitted = tables.exchanges[id].admitted;
    if (since.later_than(admitted)) since = admitted;
  };
  unsigned looked = 0;
  for (ExchangeId id = peer.owed.first; id != state::kNone && looked < kLookLimit;
       id = tables.exchanges[id].of_peer.next, ++looked)
    consider(id);
  const state::TickDuration lasts = 2 * profile_of(shard, peer).gate_timeout;
  looked = 0;
  for (ExchangeId id = peer.undecided.first; id != state::kNone && looked < kLookLimit;
       id = tables.exchanges[id].of_peer.next, ++looked)
    if (!turn_began.later_than(tables.exchanges[id].admitted + lasts)) consider(id);
  return since;
}

/// Whether all that a peer is owed by its exchanges is older than 2T: a weak claim.
bool is_owed_long_since(const IpsecAlg& shard, const Peer& peer) {
  const state::TickDuration lasts = 2 * profile_of(shard, peer).gate_timeout;
  return !(shard.alg.exchanges[peer.owed.last].first_answer + lasts).later_than(shard.now);
}

// ── candidates ──────────────────────────────────────────────────────────────────────────────────

/// Learns an SPI for a turn's holder, within the limit: at most spiCandidates beyond the answered
/// exchanges; when full, the oldest that carried a single packet is replaced.
std::expected<SessionId, DropReason> accept(IpsecAlg& shard, Turn& turn, Direction direction,
                                            Spi spi, std::optional<state::Ticks> began = {}) {
  const Peer& peer = shard.alg.peers[turn.holder];
  if (turn.spis[direction] >= profile_of(shard, peer).spi_candidates + turn.answered) {
    const EspId single = oldest_single(shard, turn, direction);
    if (single == state::kNone)
      return std::unexpected(direction == Direction::kOutbound ? DropReason::kEspOutCandidates
                                                               : DropReason::kEspInCandidates);
    forget_spi(shard, single, direction);
    count(shard, peer.profile, AlgCounter::kCandidatesReplaced);
  }
  return learn(shard, turn.holder, direction, spi, &turn, began);
}

// ── other possible owners ────────────────────────────────────────────────────────────────────────

/// How strongly a peer's half-open sessions claim an inbound SPI: a claim ends T after the last
/// outbound packet, and is weak if no exchange is known that brought the SPI.
enum class Claim : std::uint8_t { kNone, kWeak, kStrong };
Claim claim_of(const IpsecAlg& shard, const Peer& peer) {
  const Tables& tables = shard.alg;
  const state::TickDuration lasts = profile_of(shard, peer).gate_timeout;
  Claim strongest = Claim::kNone;
  unsigned looked = 0;
  for (EspId id = peer.half_open[Direction::kOutbound].last; id != state::kNone;
       id = tables.esp_sessions[id].half_open.prev) {
    if (++looked > kLookLimit) return Claim::kWeak;  // there may be one
    const EspSession& esp = tables.esp_sessions[id];
    const lsn44::Session& session = shard.lsn44.sessions[esp.session];
    if (!(session.last_seen + lasts).later_than(shard.now)) continue;
    if (esp.of_exchange) return Claim::kStrong;
    strongest = Claim::kWeak;
  }
  return strongest;
}

/// A client whose ESP of an unknown SPI was refused waits for its turn: the server may send on the
/// other half of it.
bool does_another_ask(const IpsecAlg& shard, const Gate& gate, PeerId except) {
  if (gate.kept_for != state::kNone && gate.kept_for != except) return true;
  const Tables& tables = shard.alg;
  unsigned looked = 0;
  for (WaiterId id = gate.waiters.first; id != state::kNone;
       id = tables.waiters[id].in_queue.next) {
    if (tables.waiters[id].for_esp && tables.waiters[id].peer != except) return true;
    if (++looked > kLookLimit) return true;
  }
  return false;
}

/// Inbound 3: the only one of the gate that may expect an inbound SPI, but for one that does not
/// count.
struct Claimant {
  PeerId peer = state::kNone;  ///< kNone: none, or several
  bool is_weak = false;
  DropReason reason = DropReason::kEspInNoGate;
};
Claimant sole_claimant(const IpsecAlg& shard, const Gate& gate, PeerId except) {
  const Tables& tables = shard.alg;
  const Claimant several{.reason = DropReason::kEspInAmbiguous};
  Claimant sole;
  for (PeerId id = gate.owed.first; id != state::kNone; id = tables.peers[id].of_owed.next) {
    if (id == except) continue;
    if (sole.peer != state::kNone) return several;
    sole.peer = id;
    sole.is_weak = is_owed_long_since(shard, tables.peers[id]);
  }
  unsigned looked = 0;
  for (PeerId id = gate.claimants.first; id != state::kNone;
       id = tables.peers[id].of_claimants.next) {
    if (id == except) continue;
    const Claim claim = ++looked > kLookLimit ? Claim::kStrong : claim_of(shard, tables.peers[id]);
    if (claim == Claim::kNone) continue;
    if (id == sole.peer) {
      sole.is_weak = sole.is_weak && claim == Claim::kWeak;
      continue;
    }
    if (sole.peer != state::kNone) return several;
    sole.peer = id;
    sole.is_weak = claim == Claim::kWeak;
  }
  return sole.peer != state::kNone && does_another_ask(shard, gate, sole.peer) ? several : sole;
}

// ── replies ─────────────────────────────────────────────────────────────────────────────────────

void begin_replies(Seen seen, PeerId replier) {
  seen.history.replier = replier;
  seen.history.replies = seen.history.of_others = 0;
}

/// Whether it may reply to the same client as before: that client was the last to send.
bool may_be_replying(const IpsecAlg& shard, const Gate& gate, Seen seen) {
  return gate.sender == seen.history.replier && gate.sender != state::kNone &&
         (*shard.alg.peers[gate.sender].asked + kReplySoon).later_than(shard.now);
}

/// Design 5.8, replies: in a turn without an exchange numbers prove nothing. Notes whether a packet
/// of an unknown SPI came soon after one of the holder's. A client that sends a packet in half a
/// minute has several turns before there are enough: they add up.
void note_reply(IpsecAlg& shard, Gate& gate, Seen seen) {
  Turn& turn = gate.turn;
  if (seen.history.replier != turn.holder) {
    if (may_be_replying(shard, gate, seen)) return;  // to another client, as before
    begin_replies(seen, turn.holder);
  }
  if (!turn.has_sent || !(turn.sent + kReplySoon).later_than(shard.now)) {
    seen.history.spoilt = turn.serial;
  } else if (gate.sender == turn.holder) {
    turn.has_reply = true;
    turn.latest_reply = shard.now;
  }
  if (seen.history.spoilt == turn.serial) return begin_replies(seen, turn.holder);
  // Another client, whose SPI is as little answered, has sent since. A stream for it has any
  // number.
  if (gate.sender != turn.holder) {
    if (seen.history.of_others != UINT16_MAX) ++seen.history.of_others;
    return;
  }
  if (seen.history.replies != 0 && seen.history.replied_to == turn.sent) return;
  if (seen.history.replies != UINT16_MAX) ++seen.history.replies;
  seen.history.replied_to = turn.sent;
}

/// It came outside of such turns: the count holds if it may be a reply to the same client.
void note_reply_elsewhere(const IpsecAlg& shard, const Gate& gate, Seen seen) {
  if (!may_be_replying(shard, gate, seen)) begin_replies(seen, SeenHistory::kNobodys);
}

/// An outbound SPI of the turn has no other half yet.
bool lacks_other_half(const Tables& tables, const Turn& turn) {
  for (EspId id = turn.candidates[Direction::kOutbound].first; id != state::kNone;
       id = tables.esp_sessions[id].candidates[Direction::kOutbound].next)
    if (tables.esp_sessions[id].spi[Direction::kInbound] == kNoSpi) return true;
  return false;
}

/// Outbound SPIs of a peer that have no other half; no more are counted than unknown SPIs
/// remembered.
std::size_t half_open_of(const Tables& tables, const Peer& peer) {
  std::size_t n = 0;
  for (EspId id = peer.half_open[Direction::kOutbound].first; id != state::kNone && n < kSeenSpis;
       id = tables.esp_sessions[id].half_open.next)
    ++n;
  return n;
}

/// Whether an SPI answers the holder: three of three packets, five of five while another client
/// waits in the same position; and no more SPIs do nearly as much than the holder lacks.
bool is_reply(const IpsecAlg& shard, const Gate& gate, Seen seen) {
  const Turn& turn = gate.turn;
  const bool among_others = gate.waiters.first != state::kNone || seen.history.of_others != 0;
  if (seen.history.replier != turn.holder ||  // the count is another's
      seen.history.replies < (among_others ? kRepliesAmongOthers : kReplies) ||
      seen.history.replies <= 3u * seen.history.of_others || !lacks_other_half(shard.alg, turn))
    return false;
  const auto rivals = std::ranges::count_if(gate.seen, [&](const SeenSpi& other) {
    return &other != &seen.at && other.spi != kNoSpi && !other.known &&
           shard.alg.history(gate, other).replier == turn.holder &&
           (other.last + kRivals).later_than(shard.now) &&
           4u * shard.alg.history(gate, other).replies > seen.history.replies;
  });
  return static_cast<std::size_t>(rivals) < half_open_of(shard.alg, shard.alg.peers[turn.holder]);
}

// ── the rules ───────────────────────────────────────────────────────────────────────────────────

/// A new SPI for a peer outside of any turn: one of its exchanges or half-open sessions expects it.
std::expected<SessionId, DropReason> claimed(IpsecAlg& shard, PeerId peer, Seen seen) {
  count(shard, shard.alg.peers[peer].profile, AlgCounter::kSpiInClaimed);
  return learn(shard, peer, Direction::kInbound, seen.at.spi, nullptr, began(seen, peer));
}

/// Design 7: there is no room for the holder's SPI, and not because it had too many in this turn.
bool is_out_of_room(DropReason reason) {
  switch (reason) {
    case DropReason::kEspSessionQuota:
    case DropReason::kSessionTableFull:
    case DropReason::kGroupSessionLimit:
    case DropReason::kFlowTableFull:
    case DropReason::kEspSessionTableFull:
      return true;
    default:
      return false;
  }
}

/// Whether an SPI may answer another client's packets. The SPI of one that has asked often
/// has been in use for as long: it does not begin now (design 5.4).
bool may_answer_another(const IpsecAlg& shard, const Gate& gate, PeerId holder, Seen seen) {
  const Asking asked = has_another_asked(shard, gate, holder);
  return asked == Asking::kYes || (asked == Asking::kOften && !seen.at.new_at_first);
}

/// Inbound 1.
std::expected<SessionId, DropReason> inbound_of_turn(IpsecAlg& shard, GateId gate_id, Spi spi,
                                                     bool fresh_now, Seen seen) {
  Gate& gate = gate_in_hand(shard.alg, gate_id);
  const Turn& turn = gate.turn;
  const Peer& holder = shard.alg.peers[turn.holder];
  const bool sent_lately = turn.has_sent && (turn.sent + kReplySoon).later_than(shard.now);
  bool is_holders = false;
  DropReason reason = DropReason::kEspInAmbiguous;
  if (turn.has_exchange || !holder.owed.empty()) {
    // An SPI that came before the turn may be owed to the holder since an earlier one, but not if
    // it may as well be another client's.
    const bool contested = is_contested(shard, gate, seen, turn.holder);
    const state::Ticks since = contested ? turn.began : expecting_since(shard, holder, turn.began);
    const bool is_weak = !turn.has_exchange && is_owed_long_since(shard, holder);
    if (is_weak ? !seen.at.new_at_first : !is_fresh(seen, fresh_now, since)) {
      reason = DropReason::kEspInNotFresh;
    } else if (is_of_another(seen, turn.holder, since)) {
      reason = DropReason::kEspInAmbiguous;  // on its way before the holder can have had it
    } else if ((contested && (!sent_lately || !is_owed_any(shard, holder))) ||
               may_answer_another(shard, gate, turn.holder, seen)) {
      // Nor if the holder has got the SPIs that it was owed.
      reason = DropReason::kEspInDangling;
    } else {
      is_holders = true;
    }
  } else if (const Claimant sole = sole_claimant(shard, gate, turn.holder);
             sole.peer != state::kNone && seen.at.new_at_first && !sent_lately &&
             !is_of_another(seen, sole.peer,
                            expecting_since(shard, shard.alg.peers[sole.peer],
                                            shard.alg.peers[sole.peer].turn_began)) &&
             !is_contested(shard, gate, seen, sole.peer)) {
    // It begins with number 1 and answers nothing of the holder's: as at a closed gate (3).
    return claimed(shard, sole.peer, seen);
  }
  bool replies = false;
  if (!is_holders && !turn.has_exchange) {
    note_reply(shard, gate, seen);
    replies = is_reply(shard, gate, seen);
  }
  if (!is_holders && !replies) return std::unexpected(reason);
  const auto learned = accept(shard, gate.turn, Direction::kInbound, spi,
                              is_holders ? began(seen, turn.holder) : std::nullopt);
  if (!learned) return learned;
  note_learned(seen, turn.holder);  // before the turn may end by it
  if (replies) count(shard, holder.profile, AlgCounter::kFreshnessWaived);
  on_spi(shard, gate_id, Direction::kInbound);
  on_return(shard, gate_id);
  return learned;
}

std::expected<SessionId, DropReason> inbound_of_closed(IpsecAlg& shard, Gate& gate, Spi spi,
                                                       bool fresh_now, Seen seen) {
  const PeerId last = gate.lingering.holder;
  const bool owes_last = last != state::kNone && is_owed_any(shard, shard.alg.peers[last]);
  // 2. The gate lingers: the last holder's, if no other peer is owed one.
  if (last != state::kNone && !is_another_owed(shard, gate, last) &&
      !does_another_ask(shard, gate, last)) {
    const state::Ticks since = expecting_since(shard, shard.alg.peers[last], gate.lingering.began);
    if (owes_last ? !is_fresh(seen, fresh_now, since) : !seen.at.new_at_first)
      return std::unexpected(DropReason::kEspInNotFresh);
    // It was on its way before, or another client may be owed it: it is refused (design 9.1).
    if (is_of_another(seen, last, since)) return std::unexpected(DropReason::kEspInAmbiguous);
    if (is_contested(shard, gate, seen, last)) return std::unexpected(DropReason::kEspInDangling);
    const auto learned = accept(shard, gate.lingering, Direction::kInbound, spi, began(seen, last));
    if (learned) count(shard, shard.alg.peers[last].profile, AlgCounter::kSpiInLingering);
    return learned;
  }
  // 3. It belongs to the only possible owner. A lingering holder that is owed nothing does not
  // count.
  const Claimant sole = sole_claimant(shard, gate, owes_last ? state::kNone : last);
  if (sole.peer == state::kNone) return std::unexpected(sole.reason);
  const Peer& peer = shard.alg.peers[sole.peer];
  const state::Ticks since = expecting_since(shard, peer, peer.turn_began);
  if (sole.is_weak ? !seen.at.new_at_first : !is_fresh(seen, fresh_now, since))
    return std::unexpected(DropReason::kEspInNotFresh);
  // It was on its way before the claimant can have had it.
  if (is_of_another(seen, sole.peer, since)) return std::unexpected(DropReason::kEspInAmbiguous);
  if (is_contested(shard, gate, seen, sole.peer))
    return std::unexpected(DropReason::kEspInDangling);
  return claimed(shard, sole.peer, seen);
}

/// Design 5.2, outbound 2: C takes the closed gate without an exchange.
std::expected<SessionId, DropReason> take_gate(IpsecAlg& shard, PeerId id, Spi spi) {
  begin_turn(shard, id, GateEvent::kOutboundSpi);
  const GateId gate_id = shard.alg.peers[id].gate;
  Gate& gate = gate_in_hand(shard.alg, gate_id);
  const auto learned = accept(shard, gate.turn, Direction::kOutbound, spi);
  if (!learned) {
    close_turn(shard, gate_id, CloseReason::kRefused);
    return learned;
  }
  // Its inbound SPI may be known already: the server spoke first.
  const EspSession& esp = shard.alg.esp_sessions[esp_of(shard, *learned)];
  if (esp.spi[Direction::kInbound] != kNoSpi) {
    gate.turn.idle_pairs = 0;
    gate.turn.spoken_first = 1;
    on_spi(shard, gate_id, Direction::kInbound);
  }
  return learned;
}

/// The client's subscriber, with a NAT address.
std::expected<SubscriberId, DropReason> obtain_paired(IpsecAlg& shard, const InsideAddress& client,
                                                      wire::Be32 server, std::uint16_t group_id,
                                                      const Group& group) {
  const auto id = lsn44::obtain_subscriber(shard, client, group_id);
  if (!id) return id;
  lsn44::Subscriber& subscriber = shard.lsn44.subscribers[*id];
  if (subscriber.group != group_id) return std::unexpected(DropReason::kNoMapping);
  // ESP leaves from where IKE does.
  if (const wire::Be32 nat_ip = find_ike_mapping_address(shard, *id, server); nat_ip.raw() != 0)
    (void)follow_ike_mapping(shard, *id, nat_ip);
  if (subscriber.paired_ip.raw() == 0 && !lsn44::pair_anywhere(shard, subscriber, group)) {
    lsn44::release_subscriber(shard, *id);
    return std::unexpected(DropReason::kPoolExhausted);
  }
  return id;
}

std::unexpected<DropReason> refused(IpsecAlg& shard, std::uint16_t profile, DropReason reason) {
  count_drop(shard, profile, reason);
  return std::unexpected(reason);
}

/// Outbound, of a client that has nothing with this server yet.
std::expected<SessionId, DropReason> first_contact(IpsecAlg& shard, const Packet& packet,
                                                   std::uint16_t group_id, Spi spi) {
  const Tables& tables = shard.alg;
  const wire::Be32 server = packet.ip->destination;
  const auto subscriber =
      obtain_paired(shard, in_domain_of(*shard.generation, packet, packet.ip->source), server,
                    group_id, *shard.generation->group(group_id));
  if (!subscriber) return std::unexpected(subscriber.error());
  const GateId gate_id = find_gate(shard, shard.lsn44.subscribers[*subscriber].paired_ip, server);
  if (gate_id != state::kNone) (void)current_gate(shard, gate_id);
  const auto made = obtain_peer(shard, *subscriber, server, Direction::kOutbound);
  if (!made) {
    lsn44::release_subscriber(shard, *subscriber);
    return std::unexpected(made.error());
  }
  if (is_free_for(tables.gates[tables.peers[*made].gate], *made))
    return take_gate(shard, *made, spi);
  wait_for_esp(shard, *made);
  return std::unexpected(DropReason::kEspOutGateBusy);
}

}  // namespace

std::expected<SessionId, DropReason> attribute_outbound(IpsecAlg& shard, const Packet& packet,
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
  PeerId id = find_peer(shard, in_domain_of(*shard.generation, packet, packet.ip->source),
                        packet.ip->destination);
  if (id == state::kNone) {
    // A client that has nothing with this server yet: does it need IKE?
    if (profile->require_ike) return refuse(DropReason::kEspOutNoIke);
    const auto learned = first_contact(shard, packet, group_id, spi);
    return learned ? learned : refuse(learned.error());
  }

  const GateId gate_id = tables.peers[id].gate;
  // A reload took its address, and the sweep has not come to the client's sessions there yet.
  if (lsn44::find_nat_address(shard, tables.gates[gate_id].nat_ip) == nullptr)
    return refuse(DropReason::kNoMapping);
  Gate& gate = current_gate(shard, gate_id);
  // 1. C holds the gate. (Before an answer it is another, idle tunnel of C: gate.cpp.)
  if (holds(gate, id)) {
    const auto learned = accept(shard, gate.turn, Direction::kOutbound, spi);
    if (!learned) {
      if (is_out_of_room(learned.error())) close_turn(shard, gate_id, CloseReason::kRefused);
      return refuse(learned.error());
    }
    on_spi(shard, gate_id, Direction::kOutbound);
    schedule_gate(shard, gate_id);
    return learned;
  }
  // 2. The gate is closed: C takes it, if it needs no IKE or has it.
  if (profile->require_ike && !has_answered_ike(shard, tables.peers[id]))
    return refuse(DropReason::kEspOutNoIke);
  if (is_free_for(gate, id)) {
    const auto learned = take_gate(shard, id, spi);
    return learned ? learned : refuse(learned.error());
  }
  // 3. Another client holds it: the answer could not be attributed. C waits for its turn.
  wait_for_esp(shard, id);
  return refuse(DropReason::kEspOutGateBusy);
}

std::expected<SessionId, DropReason> attribute_inbound(IpsecAlg& shard, const Packet& packet) {
  const Spi spi = spi_of(packet.key);
  if (spi == kNoSpi) return refused(shard, kNoId, DropReason::kEspSpiZero);
  const GateId gate_id = find_gate(shard, packet.ip->destination, packet.ip->source);
  if (gate_id == state::kNone)
    return refused(
        shard, kNoId,
        shard.alg.max_fresh_sequence == 0 ? DropReason::kEspNoProfile : DropReason::kEspInNoGate);
  Tables& tables = shard.alg;
  Gate& gate = current_gate(shard, gate_id);
  const Peer& peer = tables.peers[asked_about(gate)];
  const std::uint16_t profile = peer.profile;
  const std::uint32_t sequence = sequence_of(packet);
  const bool fresh_now = sequence <= profile_of(shard, peer).fresh_sequence;
  const Seen seen = note_seen(shard, gate, spi, sequence, fresh_now);
  if (gate.state != GateState::kArmed || gate.turn.has_exchange)
    note_reply_elsewhere(shard, gate, seen);

  std::expected<SessionId, DropReason> result = std::unexpected(DropReason::kEspInAmbiguous);
  switch (gate.state) {
    case GateState::kExchange:
      break;  // no client can have a new SPI yet; it may have been on its way before
    case GateState::kArmed:
      result = inbound_of_turn(shard, gate_id, spi, fresh_now, seen);
      break;
    case GateState::kClosed:
      result = inbound_of_closed(shard, gate, spi, fresh_now, seen);
      break;
  }
  if (result) {
    note_learned(seen, tables.esp_sessions[esp_of(shard, *result)].peer);
    schedule_gate(shard, gate_id);
  } else {
    note_expected_by_all(shard, gate, seen);
    if (gate.state != GateState::kClosed && is_out_of_room(result.error()))
      close_turn(shard, gate_id, CloseReason::kRefused);
    count_drop(shard, profile, result.error());
  }
  return result;
}

}  // namespace lsn::datapath::ipsec_alg
