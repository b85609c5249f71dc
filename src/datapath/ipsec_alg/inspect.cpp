#include "lsn/datapath/ipsec_alg/inspect.hpp"

#include <algorithm>
#include <array>

#include "lsn/datapath/ipsec_alg/esp.hpp"
#include "lsn/datapath/ipsec_alg/holding.hpp"
#include "lsn/datapath/ipsec_alg/ike.hpp"
#include "lsn/datapath/ipsec_alg/ipsec_alg.hpp"
#include "lsn/datapath/ipsec_alg/peers.hpp"
#include "lsn/datapath/ipsec_alg/turns.hpp"
#include "lsn/wire/esp.hpp"
#include "lsn/wire/udp.hpp"

namespace lsn::datapath::ipsec_alg {
namespace {

using lsn44::Session;
using lsn44::SessionFlags;

/// Bytes of an IKE datagram that are read.
constexpr std::size_t kReadLimit = 256;

const wire::Be16 kIkePort = wire::Be16::of(wire::kIkePort);
const wire::Be16 kNatTraversalPort = wire::Be16::of(wire::kNatTraversalPort);

// ── reading ─────────────────────────────────────────────────────────────────────────────────────

/// The part of the UDP payload that is at hand, in one piece; `size`: of all of it, later IP
/// fragments included.
struct Payload {
  std::array<std::uint8_t, kReadLimit> copy;
  std::span<const std::uint8_t> bytes;
  std::size_t size = 0;

  explicit Payload(const Packet& packet) {
    const auto& udp = *reinterpret_cast<const wire::UdpHeader*>(packet.l4);
    size = udp.length.host() - sizeof(wire::UdpHeader);
    const std::size_t here = std::min<std::size_t>(size, packet.l4_size - sizeof(wire::UdpHeader));
    const std::uint8_t* begin = packet.l4 + sizeof(wire::UdpHeader);
    const auto offset =
        static_cast<std::uint32_t>(begin - rte_pktmbuf_mtod(packet.mbuf, const std::uint8_t*));
    if (offset + here <= packet.mbuf->data_len) {
      bytes = {begin, here};
      return;
    }
    const auto length = static_cast<std::uint32_t>(std::min(here, copy.size()));
    const auto* read = static_cast<const std::uint8_t*>(
        rte_pktmbuf_read(packet.mbuf, offset, length, copy.data()));
    if (read != nullptr) bytes = {read, length};
  }
};

// ── IKE on UDP 500 ──────────────────────────────────────────────────────────────────────────────

/// A message of an exchange that was admitted once: passes (design 3) ...
Verdict admitted_message(IpsecAlg& shard, const Packet& packet, Direction direction, IkeId ike,
                         ExchangeId exchange, const wire::IkeMessage& message) {
  const Exchange& e = shard.alg.exchanges[exchange];
  const PeerId peer = shard.alg.ike_sessions[ike].peer;
  const Gate& gate = shard.alg.gates[shard.alg.peers[peer].gate];
  on_message(shard, peer, exchange);
  const bool is_answer = message.version == 1
                             ? direction != e.name.initiator
                             : message.is_response() && message.message_id == e.latest_request;
  if (is_answer) {
    if (!e.answered) on_answer(shard, peer, exchange);
    return Verdict::next();
  }
  // A request with a known message ID, or an IKEv1 message: a retransmission, a fragment, or Quick
  // Mode's third message.
  if (message.version == 1 || message.is_response() || message.message_id <= e.latest_request)
    return Verdict::next();
  // ... but an IKE_AUTH message that comes after its turn was lost waits as a new turn (design
  // 4.2).
  if (e.name.kind == ExchangeKind::kAuth && !in_turn(gate, peer, e)) {
    if (!is_free_for(gate, peer) && !holds(gate, peer))
      return hold(shard, packet, direction, ike, e.name, message);
    admit_again(shard, peer, exchange, message.message_id);
    return Verdict::next();
  }
  request_again(shard, peer, exchange, message.message_id);
  return Verdict::next();
}

Verdict phase_two(IpsecAlg& shard, const Packet& packet, Direction direction, IkeId ike,
                  const wire::IkeMessage& message) {
  IkeSession& session = shard.alg.ike_sessions[ike];
  const PeerId peer_id = session.peer;
  const ExchangeName name = name_of(session, message, direction);
  // A message without its first fragment, which names the exchange and is gated, opens nothing.
  if (name.kind == ExchangeKind::kNone) return Verdict::next();
  if (const ExchangeId known = find_exchange(shard, session, name, message); known != state::kNone)
    return admitted_message(shard, packet, direction, ike, known, message);

  const GateId gate_id = shard.alg.peers[peer_id].gate;
  const Gate& gate = shard.alg.gates[gate_id];
  yield_to(shard, gate_id, peer_id);
  on_restart(shard, peer_id, ike);
  const bool is_blocked = !is_free_for(gate, peer_id) && !holds(gate, peer_id);
  if (!is_blocked && lacks_room_in_table(shard, session)) {
    count(shard, shard.alg.peers[peer_id].profile, AlgCounter::kIkeUntracked);
    return Verdict::next();
  }
  // Design 4.1: not forwarded while another client has the gate; design 4.8: nor if its session has
  // no room.
  if (is_blocked || !has_room(shard, session))
    return hold(shard, packet, direction, ike, name, message);
  release_held(shard, direction, ike, name, message);
  if (!admit(shard, ike, name, message.message_id,
             message.is_response() ? Opening::kAnswer : Opening::kRequest))
    return Verdict::drop(DropReason::kIkeFlightFull);
  return Verdict::next();
}

/// Whether the client of a UDP session to port 500 of a server has ever sent IKE there: by this
/// session, or by another one that has an IKE session.
bool client_has_sent(const IpsecAlg& shard, const Session& session) {
  if ((session.flags & SessionFlags::kInboundFirst) == 0 ||
      session.packets[Direction::kOutbound] != 0)
    return true;
  const PeerId peer = find_peer(shard, lsn44::inside_of(shard, session), session.remote_ip);
  return peer != state::kNone && shard.alg.peers[peer].ike_count != 0;
}

Verdict inspect_ike(IpsecAlg& shard, const Packet& packet, const Session& session,
                    SubscriberId subscriber, Direction direction) {
  Tables& tables = shard.alg;
  if (!packet.has_l4) {
    const PeerId peer = find_peer(shard, lsn44::inside_of(shard, session), session.remote_ip);
    return peer != state::kNone && hold_with_datagram(shard, packet, direction, peer)
               ? Verdict::consumed()
               : Verdict::next();
  }
  const AlgProfile* profile = find_profile(shard, shard.lsn44.subscribers[subscriber].group);
  if (profile == nullptr) return Verdict::next();
  if ((session.flags & SessionFlags::kHairpin) != 0) return Verdict::drop(DropReason::kAlgHairpin);
  const Payload payload(packet);
  const auto message = wire::parse_ike(payload.bytes, payload.size);
  if (!message) {
    count(shard, profile->id, AlgCounter::kIkeMalformed);
    return Verdict::next();
  }
  count(shard, profile->id, AlgCounter::kIkeMessages);
  // A mapping at another NAT address than that of the client's gates is none of theirs.
  if (!follow_ike_mapping(shard, subscriber, session.nat_ip)) return Verdict::next();
  // Design 6: from outside only a server that the client has sent IKE to can begin anything.
  if (direction == Direction::kInbound && !client_has_sent(shard, session)) {
    count(shard, profile->id, AlgCounter::kIkeUnsolicited);
    return Verdict::next();
  }
  // Where there is no room it passes as ordinary UDP: an ordinary NAT would not refuse it.
  const auto untracked = [&] {
    count(shard, profile->id, AlgCounter::kIkeUntracked);
    return Verdict::next();
  };
  const auto peer = obtain_peer(shard, subscriber, session.remote_ip, direction);
  if (!peer) return untracked();
  (void)current_gate(shard, tables.peers[*peer].gate);
  const IkeId ike = track(shard, *peer, *message, direction, session);
  if (ike == state::kNone) return untracked();
  switch (phase_of(*message)) {
    case IkePhase::kTwo:
      return phase_two(shard, packet, direction, ike, *message);
    case IkePhase::kUnlisted:
      count(shard, profile->id, AlgCounter::kIkeUnlisted);
      return Verdict::next();
    case IkePhase::kOne:
      if (wire::offers_nat_traversal(payload.bytes))
        tables.peers[*peer].offers_nat_t[direction] = true;
      return Verdict::next();
    case IkePhase::kNeither:
      return Verdict::next();
  }
  return Verdict::next();
}

// ── UDP 4500 ────────────────────────────────────────────────────────────────────────────────────

/// Only to notice that an IKE session floats: it keeps nothing and refuses nothing.
void notice_float(IpsecAlg& shard, const Packet& packet, const Session& session) {
  if (!packet.has_l4 || packet.l4_size < sizeof(wire::UdpHeader) + wire::kNonEspMarkerSize) return;
  const PeerId peer = find_peer(shard, lsn44::inside_of(shard, session), session.remote_ip);
  if (peer == state::kNone) return;
  const Payload payload(packet);
  const auto behind = wire::strip_non_esp_marker(payload.bytes);
  if (!behind) return;
  const auto message = wire::parse_ike(*behind, payload.size - wire::kNonEspMarkerSize);
  if (!message) return;
  const IkeId ike = find_ike_session(shard, peer, message->initiator);
  if (ike == state::kNone) return;
  (void)current_gate(shard, shard.alg.peers[peer].gate);
  end_floated(shard, ike);
  on_float(shard, peer, ike);
}

// ── ESP of known SPIs ───────────────────────────────────────────────────────────────────────────

/// Design 5.12, the same SPI twice: a known SPI is fresh again while another client waits for its
/// own.
void suspect_collision(IpsecAlg& shard, const Packet& packet, const Session& session,
                       const EspSession& esp, Gate& gate) {
  if (gate.state != GateState::kArmed || gate.turn.holder == esp.peer ||
      gate.halves[Direction::kInbound] != HalfGate::kArmed || gate.turn.collision_told)
    return;
  const std::uint32_t fresh = profile_of(shard, shard.alg.peers[gate.turn.holder]).fresh_sequence;
  const std::uint32_t sequence =
      reinterpret_cast<const wire::EspHeader*>(packet.l4)->sequence.host();
  if (sequence > fresh || session.esp_sequence().host() <= fresh) return;
  gate.turn.collision_told = true;
  const Peer& owner = shard.alg.peers[esp.peer];
  count(shard, owner.profile, AlgCounter::kSpiCollisions);
  Event event = event_of(shard, EventKind::kSpiCollision, owner);
  event.spi_in = wire::Be32::raw(esp.spi[Direction::kInbound]);
  event.other = shard.alg.peers[gate.turn.holder].client;
  event.other_td = shard.alg.peers[gate.turn.holder].td;
  shard.alg.events.put(event);
}

/// Design 5.2, outbound 2: ESP of a client on an SPI that the server has not answered asks for a
/// turn, though the SPI is known and the packet passes. One that brought nothing is not repeated at
/// once.
void ask_for_turn(IpsecAlg& shard, EspId id) {
  Tables& tables = shard.alg;
  EspSession& esp = tables.esp_sessions[id];
  const PeerId peer_id = esp.peer;
  const GateId gate_id = tables.peers[peer_id].gate;
  Gate& gate = gate_in_hand(tables, gate_id);
  const AlgProfile& profile = profile_of(shard, tables.peers[peer_id]);
  // Also if its turns have brought nothing, as long as one of its exchanges is owed an SPI.
  if (!esp.fruitless || !tables.peers[peer_id].owed.empty()) note_asked(shard, gate, peer_id);
  if (holds(gate, peer_id)) {
    if (!gate.turn.has_exchange) become_candidate_again(shard, id, gate.turn);
    return;
  }
  if (esp.fruitless && (esp.tried + profile.gate_timeout).later_than(shard.now)) return;
  if (profile.require_ike && !has_answered_ike(shard, tables.peers[peer_id])) return;
  if (!is_free_for(gate, peer_id)) return wait_for_esp(shard, peer_id);
  begin_turn(shard, peer_id, GateEvent::kOutboundSpi);
  become_candidate_again(shard, id, gate.turn);
}

Verdict inspect_esp(IpsecAlg& shard, const Packet& packet, SessionId id, Direction direction) {
  Session& session = shard.lsn44.sessions[id];
  const EspId esp_id = esp_of(shard, id);
  EspSession& esp = shard.alg.esp_sessions[esp_id];
  const GateId gate_id = shard.alg.peers[esp.peer].gate;
  const std::uint16_t profile = shard.alg.peers[esp.peer].profile;
  const bool out = direction == Direction::kOutbound;
  // Before anything ends here: an SPI that comes again was not sprayed.
  if (packet.has_l4 && session.packets[direction] != 0) esp.again[direction] = true;
  Gate& gate = current_gate(shard, gate_id);
  if (!out && esp.in_use && is_followed_by_nothing(shard, esp)) withdraw(shard, esp_id);
  // Its SPI may have been a candidate whose time was over, or taken back.
  if ((session.flags & SessionFlags::kInUse) == 0 || esp.spi[direction] == kNoSpi) {
    const DropReason reason = out ? DropReason::kEspOutGateBusy : DropReason::kEspInNoGate;
    count_drop(shard, profile, reason);
    return Verdict::drop(reason);
  }
  if (!out && packet.has_l4) suspect_collision(shard, packet, session, esp, gate);

  const auto is_of_turn = [&](Direction d) {
    return holds(gate, esp.peer) && esp.candidate[d] && esp.turn[d] == gate.turn.serial;
  };
  const bool has_pair = !esp.is_half_open();
  if (out && has_pair) esp.followed = true;
  if (out && !has_pair && !is_of_turn(Direction::kOutbound)) ask_for_turn(shard, esp_id);
  const bool in_turn = is_of_turn(Direction::kOutbound) || is_of_turn(Direction::kInbound);
  // ESP that comes before the answer is of another tunnel, and says nothing about the exchange.
  if (out && is_of_turn(Direction::kOutbound) && gate.state == GateState::kArmed)
    note_sent(shard, gate);
  if (!out && in_turn) on_return(shard, gate_id);
  if (!in_turn && has_pair && esp.followed)
    session.flags = static_cast<std::uint8_t>(session.flags & ~SessionFlags::kOffFastPath);
  return Verdict::next();
}

}  // namespace

Verdict inspect(IpsecAlg& shard, Packet& packet, SessionId id, Direction direction) {
  const Session& session = shard.lsn44.sessions[id];
  if (session.protocol == Protocol::kEsp) return inspect_esp(shard, packet, id, direction);
  if (session.remote_port == kIkePort)
    return inspect_ike(shard, packet, session, shard.lsn44.cold[id].subscriber, direction);
  notice_float(shard, packet, session);
  return Verdict::next();
}

SessionId find_port_keeper(IpsecAlg& shard, wire::Be32 nat_ip, wire::Be32 server,
                           std::span<const std::uint8_t> datagram, std::size_t size) {
  const GateId gate = find_gate(shard, nat_ip, server);
  if (gate == state::kNone || shard.alg.gates[gate].port_keepers == 0) return state::kNone;
  const auto message = wire::parse_ike(datagram, size);
  if (!message) return state::kNone;
  const IkeId ike = find_port_keeper(shard, gate, message->initiator);
  if (ike == state::kNone) return state::kNone;
  const state::FlowKey key =
      flow_key(Protocol::kUdp, nat_ip, shard.alg.ike_sessions[ike].nat_port, server, kIkePort);
  return shard.lsn44.inbound.find(key, shard.lsn44.inbound.hash(key));
}

bool is_for_port_keepers(const IpsecAlg& shard, const Packet& packet) {
  if (packet.protocol != Protocol::kUdp || packet.key.local_port != kIkePort.raw() ||
      packet.key.remote_port != kIkePort.raw())
    return false;
  const GateId gate = find_gate(shard, packet.ip->destination, packet.ip->source);
  return gate != state::kNone && shard.alg.gates[gate].port_keepers != 0;
}

SessionId demultiplex(IpsecAlg& shard, Packet& packet) {
  const Payload payload(packet);
  const SessionId id = find_port_keeper(shard, packet.ip->destination, packet.ip->source,
                                        payload.bytes, payload.size);
  if (id == state::kNone) return id;
  packet.key = lsn44::inbound_key(shard.lsn44.sessions[id]);
  packet.hash = shard.lsn44.inbound.hash(packet.key);
  return id;
}

void on_ah(IpsecAlg& shard, const Packet& packet) {
  if (packet.side != Side::kInside) return;
  const InsideAddress client = in_domain_of(*shard.generation, packet, packet.ip->source);
  const std::uint16_t* group = shard.generation->maps.front()->group_of(client);
  const AlgProfile* profile = group == nullptr ? nullptr : find_profile(shard, *group);
  if (profile == nullptr) return;
  count(shard, profile->id, AlgCounter::kAhDropped);
  InsideAddress& told = shard.alg.told_of_ah[client.number() % shard.alg.told_of_ah.size()];
  if (told == client) return;
  told = client;
  Event event{};
  event.kind = EventKind::kAhRefused;
  event.profile = profile->id;
  event.at = shard.now;
  event.client = client.address.be();
  event.td = client.td;
  event.server = packet.ip->destination;
  shard.alg.events.put(event);
}

}  // namespace lsn::datapath::ipsec_alg
