#include "lsn/datapath/ipsec_alg/holding.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "lsn/datapath/ipsec_alg/peers.hpp"
#include "lsn/datapath/ipsec_alg/turns.hpp"
#include "lsn/datapath/lsn44/translate.hpp"
#include "lsn/datapath/parse.hpp"

namespace lsn::datapath::ipsec_alg {
namespace {

constexpr std::uint32_t kPieceBytes = static_cast<std::uint32_t>(sizeof HeldPiece{}.bytes);

/// Gives the pieces of a held packet back.
void forget_bytes(Tables& tables, const Held& held) {
  for (std::uint32_t id = held.first_piece; id != state::kNone;) {
    const std::uint32_t next = tables.held_pieces[id].next;
    tables.held_pieces.release(id);
    id = next;
  }
}

/// Copies a packet's bytes into pieces. False: there are not enough of them.
bool store(Tables& tables, Held& held, const rte_mbuf* packet) {
  held.first_piece = state::kNone;
  std::uint32_t last = state::kNone;
  for (std::uint32_t done = 0; done < held.size; done += kPieceBytes) {
    const std::uint32_t id = tables.held_pieces.allocate();
    if (id == state::kNone) {
      forget_bytes(tables, held);
      return false;
    }
    HeldPiece& piece = tables.held_pieces[id];
    piece.next = state::kNone;
    (last == state::kNone ? held.first_piece : tables.held_pieces[last].next) = id;
    last = id;
    const std::uint32_t size = std::min(kPieceBytes, held.size - done);
    const void* bytes = rte_pktmbuf_read(packet, done, size, piece.bytes.data());
    if (bytes != piece.bytes.data()) std::memcpy(piece.bytes.data(), bytes, size);
  }
  return true;
}

/// A packet of those bytes in fresh buffers; nullptr: none is free.
rte_mbuf* rebuild(IpsecAlg& shard, const Held& held) {
  rte_mbuf* const packet = rte_pktmbuf_alloc(shard.buffers);
  if (packet == nullptr) return nullptr;
  rte_mbuf* segment = packet;
  std::uint32_t left = held.size;
  for (std::uint32_t id = held.first_piece; id != state::kNone;
       id = shard.alg.held_pieces[id].next) {
    const std::uint8_t* from = shard.alg.held_pieces[id].bytes.data();
    for (std::uint32_t here = std::min(left, kPieceBytes); here != 0;) {
      if (rte_pktmbuf_tailroom(segment) == 0) {
        rte_mbuf* const next = rte_pktmbuf_alloc(shard.buffers);
        if (next == nullptr) {
          rte_pktmbuf_free(packet);
          return nullptr;
        }
        segment->next = next;
        ++packet->nb_segs;
        segment = next;
      }
      const std::uint16_t size =
          static_cast<std::uint16_t>(std::min<std::uint32_t>(here, rte_pktmbuf_tailroom(segment)));
      std::memcpy(rte_pktmbuf_mtod_offset(segment, std::uint8_t*, segment->data_len), from, size);
      segment->data_len = static_cast<std::uint16_t>(segment->data_len + size);
      packet->pkt_len += size;
      from += size;
      here -= size;
      left -= size;
    }
  }
  return packet;
}

Client& client_of(Tables& tables, PeerId peer) {
  return tables.clients[tables.peers[peer].subscriber];
}

void account_held(IpsecAlg& shard, const Held& held) {
  const std::uint16_t profile = shard.alg.peers[held.peer].profile;
  shard.alg.held_bytes += held.bytes;
  client_of(shard.alg, held.peer).held_bytes += held.bytes;
  raise(shard, profile, AlgGauge::kHeldPackets);
  raise(shard, profile, AlgGauge::kHeldBytes, held.bytes);
}

void unaccount_held(IpsecAlg& shard, const Held& held) {
  const std::uint16_t profile = shard.alg.peers[held.peer].profile;
  shard.alg.held_bytes -= held.bytes;
  client_of(shard.alg, held.peer).held_bytes -= held.bytes;
  lower(shard, profile, AlgGauge::kHeldPackets);
  lower(shard, profile, AlgGauge::kHeldBytes, held.bytes);
}

/// A held message is dropped, whose bytes are in no buffer.
void count_held_drop(IpsecAlg& shard, const Held& held, DropReason reason) {
  shard.counters.drop(reason);
  if (shard.capture == nullptr) return;
  rte_mbuf* const rebuilt = rebuild(shard, held);
  if (rebuilt == nullptr) return;
  shard.capture_drop(rebuilt, reason);
  rte_pktmbuf_free(rebuilt);
}

void drop_held(IpsecAlg& shard, Flight& flight, HeldId id, DropReason reason) {
  Tables& tables = shard.alg;
  Held& held = tables.held[id];
  state::queue_remove(flight.packets, id, tables.held_links());
  --flight.packet_count;
  if (!held.later_fragment) --flight.datagrams;
  unaccount_held(shard, held);
  count_held_drop(shard, held, reason);
  forget_bytes(tables, held);
  tables.held.release(id);
}

void remove_flight(IpsecAlg& shard, Waiter& waiter, FlightId id, DropReason reason) {
  Tables& tables = shard.alg;
  Flight& flight = tables.flights[id];
  while (!flight.packets.empty()) drop_held(shard, flight, flight.packets.first, reason);
  state::queue_remove(waiter.flights, id, tables.flight_links());
  --waiter.flight_count;
  --gate_in_hand(tables, tables.peers[waiter.peer].gate).held_flights;
  tables.flights.release(id);
}

/// A waiter without flights leaves the queue.
void leave_queue(IpsecAlg& shard, WaiterId id) {
  Tables& tables = shard.alg;
  Waiter& waiter = tables.waiters[id];
  Peer& peer = tables.peers[waiter.peer];
  Gate& gate = gate_in_hand(tables, peer.gate);
  state::queue_remove(gate.waiters, id, tables.waiter_links());
  --gate.waiter_count;
  tables.waiter_wheel.cancel(id, tables.waiter_wheel_links());
  peer.waiter = state::kNone;
  waiter.in_use = false;
  lower(shard, peer.profile, AlgGauge::kWaiters);
  mark_unused(shard, waiter.peer);
  tables.waiters.release(id);
}

/// The peer's place, taken if there is one free.
std::expected<WaiterId, DropReason> obtain_place(IpsecAlg& shard, PeerId peer_id) {
  Tables& tables = shard.alg;
  Peer& peer = tables.peers[peer_id];
  if (peer.waiter != state::kNone) return peer.waiter;
  const std::uint32_t places = profile_of(shard, peer).phase2_hold;
  // Design 4.7: phase2Hold = 0 drops.
  if (places == 0) return std::unexpected(DropReason::kIkeGateBlocked);
  Gate& gate = gate_in_hand(tables, peer.gate);
  if (gate.waiter_count >= places) return std::unexpected(DropReason::kIkeWaitersFull);
  const WaiterId id = tables.waiters.allocate();
  if (id == state::kNone) return std::unexpected(DropReason::kIkeHoldFull);
  Waiter& waiter = tables.waiters[id];
  waiter.peer = peer_id;
  waiter.in_use = true;
  peer.waiter = id;
  state::queue_push(gate.waiters, id, tables.waiter_links());
  ++gate.waiter_count;
  tables.waiter_wheel.schedule(id, shard.now + kPlaceKept, tables.waiter_wheel_links());
  raise(shard, peer.profile, AlgGauge::kWaiters);
  return id;
}

FlightId find_flight(const Tables& tables, const Waiter& waiter, IkeId ike,
                     const ExchangeName& name) {
  for (FlightId id = waiter.flights.first; id != state::kNone;
       id = tables.flights[id].of_waiter.next)
    if (tables.flights[id].ike == ike && same_exchange(tables.flights[id].name, name)) return id;
  return state::kNone;
}

std::expected<FlightId, DropReason> obtain_flight(IpsecAlg& shard, WaiterId waiter_id, IkeId ike,
                                                  const ExchangeName& name) {
  Tables& tables = shard.alg;
  Waiter& waiter = tables.waiters[waiter_id];
  if (const FlightId known = find_flight(tables, waiter, ike, name); known != state::kNone)
    return known;
  if (waiter.flight_count == kFlightsPerWaiter) return std::unexpected(DropReason::kIkeFlightFull);
  const FlightId id = tables.flights.allocate();
  if (id == state::kNone) return std::unexpected(DropReason::kIkeHoldFull);
  Flight& flight = tables.flights[id];
  flight.ike = ike;
  flight.name = name;
  state::queue_push(waiter.flights, id, tables.flight_links());
  ++waiter.flight_count;
  ++gate_in_hand(tables, tables.peers[waiter.peer].gate).held_flights;
  return id;
}

/// Design 4.7: the held packet that a retransmission repeats.
HeldId find_copy(const Tables& tables, const Flight& flight, Direction direction,
                 const wire::IkeMessage& message) {
  for (HeldId id = flight.packets.first; id != state::kNone; id = tables.held[id].links.next) {
    const Held& held = tables.held[id];
    if (!held.later_fragment && held.direction == direction &&
        held.message_id == message.message_id && held.fragment_number == message.fragment_number)
      return id;
  }
  return state::kNone;
}

/// Design 4.7: of a message that finds no room nothing is kept, and none of its packets that come
/// later, until it is repeated.
void refuse_message(IpsecAlg& shard, Flight& flight, const Held& held, DropReason reason) {
  Tables& tables = shard.alg;
  flight.refused = {held.message_id, held.direction, held.fragment_number != 0};
  for (HeldId id = flight.packets.first; id != state::kNone;) {
    const HeldId next = tables.held[id].links.next;
    const Held& other = tables.held[id];
    if (other.direction == held.direction && other.message_id == held.message_id &&
        other.fragment_number != 0)
      drop_held(shard, flight, id, reason);
    id = next;
  }
}

/// The messages in a flight: fragments of one count once.
std::uint32_t messages_in(const Tables& tables, const Flight& flight) {
  std::uint32_t messages = 0;
  const Held* previous = nullptr;
  for (HeldId id = flight.packets.first; id != state::kNone; id = tables.held[id].links.next) {
    const Held& held = tables.held[id];
    if (held.later_fragment) continue;
    messages += previous == nullptr || held.fragment_number == 0 ||
                previous->message_id != held.message_id || previous->direction != held.direction;
    previous = &held;
  }
  return messages;
}

void drop_later_fragments(IpsecAlg& shard, Flight& flight, Direction direction,
                          wire::Be16 identification, DropReason reason) {
  Tables& tables = shard.alg;
  for (HeldId id = flight.packets.first; id != state::kNone;) {
    const HeldId next = tables.held[id].links.next;
    const Held& held = tables.held[id];
    if (held.later_fragment && held.direction == direction &&
        held.ip_identification == identification)
      drop_held(shard, flight, id, reason);
    id = next;
  }
}

Held held_of(const Context& shard, const Packet& packet, Direction direction, PeerId peer) {
  Held held{};
  held.since = shard.now;
  held.key = packet.key;
  held.ip_identification = packet.ip->identification;
  held.leaves_with = packet.identification;
  held.direction = direction;
  held.later_fragment = !packet.has_l4;
  held.link_size = static_cast<std::uint8_t>(reinterpret_cast<const std::uint8_t*>(packet.ip) -
                                             rte_pktmbuf_mtod(packet.mbuf, const std::uint8_t*));
  held.size = held.link_size + packet.size;
  held.bytes = (held.size + kPieceBytes - 1) / kPieceBytes * HeldPiece::kSize;
  held.interface = packet.interface;
  held.handoffs = packet.handoffs;
  held.peer = peer;
  return held;
}

/// Design 6: held packets have a bound in all and for each client.
bool fits(Tables& tables, const Held& held, std::uint32_t instead_of = 0) {
  const std::uint32_t of_client = client_of(tables, held.peer).held_bytes;
  return tables.held_bytes - instead_of + held.bytes <= tables.max_held_bytes &&
         of_client - instead_of + held.bytes <= tables.max_held_by_client();
}

/// Puts a packet into a flight, in the place of its older copy if there is one.
std::optional<DropReason> put(IpsecAlg& shard, Flight& flight, const rte_mbuf* packet, Held held,
                              const wire::IkeMessage& message) {
  Tables& tables = shard.alg;
  held.message_id = message.message_id;
  held.fragment_number = message.fragment_number;
  if (flight.refused.some && flight.refused.message_id == held.message_id &&
      flight.refused.direction == held.direction && held.fragment_number > 1)
    return fits(tables, held) ? DropReason::kIkeFlightFull : DropReason::kIkeHoldFull;
  flight.refused = {};
  if (const HeldId copy = find_copy(tables, flight, held.direction, message);
      copy != state::kNone) {
    drop_later_fragments(shard, flight, held.direction, tables.held[copy].ip_identification,
                         DropReason::kIkeHeldReplaced);
    Held& old = tables.held[copy];
    if (!fits(tables, held, old.bytes) || !store(tables, held, packet))
      return DropReason::kIkeHoldFull;
    unaccount_held(shard, old);
    count_held_drop(shard, old, DropReason::kIkeHeldReplaced);
    forget_bytes(tables, old);
    count(shard, tables.peers[held.peer].profile, AlgCounter::kHeldReplaced);
    held.links = old.links;
    held.since = old.since;  // the message waits since its first copy came
    old = held;
    account_held(shard, held);
    return std::nullopt;
  }
  const bool is_further = held.fragment_number > 1 && !flight.packets.empty();
  if (flight.packet_count == kFlightPackets ||
      (!is_further && messages_in(tables, flight) >= kFlightDatagrams)) {
    refuse_message(shard, flight, held, DropReason::kIkeFlightFull);
    return DropReason::kIkeFlightFull;
  }
  if (!fits(tables, held) || !store(tables, held, packet)) {
    refuse_message(shard, flight, held, DropReason::kIkeHoldFull);
    return DropReason::kIkeHoldFull;
  }
  const HeldId id = tables.held.allocate();
  if (id == state::kNone) {
    forget_bytes(tables, held);
    refuse_message(shard, flight, held, DropReason::kIkeHoldFull);
    return DropReason::kIkeHoldFull;
  }
  tables.held[id] = held;
  state::queue_push(flight.packets, id, tables.held_links());
  ++flight.datagrams;
  ++flight.packet_count;
  account_held(shard, held);
  return std::nullopt;
}

/// The packets of a flight go on.
void release(IpsecAlg& shard, Flight& flight) {
  Tables& tables = shard.alg;
  while (!flight.packets.empty()) {
    const HeldId id = state::queue_pop(flight.packets, tables.held_links());
    const Held& held = tables.held[id];
    const auto waited = static_cast<std::uint32_t>(std::max(shard.now - held.since, 0));
    const auto bucket = static_cast<std::size_t>(
        std::lower_bound(kWaitBounds.begin(), kWaitBounds.end(), state::TickDuration{waited}) -
        kWaitBounds.begin());
    const std::uint16_t profile = tables.peers[held.peer].profile;
    count(shard, profile, AlgCounter::kReleased);
    tables.counters.total.waited[bucket].add();
    if (profile < kCountedProfiles) tables.counters.profiles[profile].waited[bucket].add();
    unaccount_held(shard, held);
    state::queue_push(tables.released, id, tables.held_links());
  }
}

/// A flight's packets go on, and it is gone.
void release_flight(IpsecAlg& shard, Waiter& waiter, FlightId id) {
  Tables& tables = shard.alg;
  release(shard, tables.flights[id]);
  state::queue_remove(waiter.flights, id, tables.flight_links());
  --waiter.flight_count;
  --gate_in_hand(tables, tables.peers[waiter.peer].gate).held_flights;
  tables.flights.release(id);
}

/// The exchange of a flight is admitted now. False: its session remembers no more of them.
bool admit_flight(IpsecAlg& shard, const Flight& flight) {
  Tables& tables = shard.alg;
  IkeSession& session = tables.ike_sessions[flight.ike];
  session.last_message = shard.now;  // its message is on its way only now
  for (ExchangeId id = session.exchanges.first; id != state::kNone;
       id = tables.exchanges[id].of_session.next) {
    if (!same_exchange(tables.exchanges[id].name, flight.name)) continue;
    admit_again(shard, session.peer, id, flight.message_id);  // IKE_AUTH after its turn was lost
    return true;
  }
  return admit(shard, flight.ike, flight.name, flight.message_id,
               flight.answer ? Opening::kAnswer : Opening::kRequest);
}

/// Design 3: a client that began again asks for a phase 2. Its earlier request, from the same port,
/// is dropped if the client is silent about it now; its place stays.
void drop_replaced(IpsecAlg& shard, Waiter& waiter, IkeId ike) {
  Tables& tables = shard.alg;
  const auto port_of = [&](IkeId id) { return tables.ike_sessions[id].inside_port; };
  for (FlightId id = waiter.flights.first; id != state::kNone;) {
    const Flight& flight = tables.flights[id];
    const FlightId next = flight.of_waiter.next;
    if (flight.ike != ike && port_of(flight.ike) == port_of(ike) &&
        !(flight.latest + kSilentExchange).later_than(shard.now)) {
      count(shard, tables.peers[waiter.peer].profile, AlgCounter::kIkeRestarts);
      remove_flight(shard, waiter, id, DropReason::kIkeHeldFlushed);
    }
    id = next;
  }
}

}  // namespace

Verdict hold(IpsecAlg& shard, const Packet& packet, Direction direction, IkeId ike,
             const ExchangeName& name, const wire::IkeMessage& message) {
  Tables& tables = shard.alg;
  const PeerId peer_id = tables.ike_sessions[ike].peer;
  const std::uint16_t profile = tables.peers[peer_id].profile;
  count(shard, profile, AlgCounter::kGateBlocked);
  const auto place = obtain_place(shard, peer_id);
  if (!place) return Verdict::drop(place.error());
  Waiter& waiter = tables.waiters[*place];
  // The place is kept for a client that goes on asking, also if one message finds no room.
  waiter.last_message = shard.now;
  drop_replaced(shard, waiter, ike);
  const auto flight_id = obtain_flight(shard, *place, ike, name);
  std::optional<DropReason> refused;
  if (!flight_id) {
    refused = flight_id.error();
  } else {
    Flight& flight = tables.flights[*flight_id];
    refused = put(shard, flight, packet.mbuf, held_of(shard, packet, direction, peer_id), message);
    if (!refused) {
      flight.latest = shard.now;
      // It begins with the first message that is held, be it in fragments.
      if (message.is_response())
        flight.answer = flight.answer || flight.datagrams == 1;
      else
        flight.message_id = message.message_id;
    } else if (flight.packets.empty() && !flight.refused.some) {
      remove_flight(shard, waiter, *flight_id, *refused);
    }
  }
  if (refused) {
    if (waiter.flights.empty() && !waiter.for_esp) leave_queue(shard, *place);
    return Verdict::drop(*refused);
  }
  rte_pktmbuf_free(packet.mbuf);
  count(shard, profile, AlgCounter::kHeld);
  schedule_gate(shard, tables.peers[peer_id].gate);  // with waiters, turns end earlier
  return Verdict::consumed();
}

void wait_for_esp(IpsecAlg& shard, PeerId peer_id) {
  const auto place = obtain_place(shard, peer_id);
  if (!place) return;
  Tables& tables = shard.alg;
  Waiter& waiter = tables.waiters[*place];
  waiter.last_message = shard.now;
  if (waiter.for_esp) return;
  waiter.for_esp = true;
  count(shard, tables.peers[peer_id].profile, AlgCounter::kEspPlaces);
  schedule_gate(shard, tables.peers[peer_id].gate);
}

bool hold_with_datagram(IpsecAlg& shard, const Packet& packet, Direction direction,
                        PeerId peer_id) {
  Tables& tables = shard.alg;
  const Peer& peer = tables.peers[peer_id];
  if (peer.waiter == state::kNone) return false;
  for (FlightId f = tables.waiters[peer.waiter].flights.first; f != state::kNone;
       f = tables.flights[f].of_waiter.next) {
    Flight& flight = tables.flights[f];
    for (HeldId h = flight.packets.first; h != state::kNone; h = tables.held[h].links.next) {
      const Held& first = tables.held[h];
      if (first.later_fragment || first.direction != direction ||
          first.ip_identification != packet.ip->identification)
        continue;
      Held held = held_of(shard, packet, direction, peer_id);
      const bool stored = flight.packet_count < kFlightPackets && fits(tables, held) &&
                          store(tables, held, packet.mbuf);
      const HeldId id = stored ? tables.held.allocate() : state::kNone;
      if (id == state::kNone) {
        if (stored) forget_bytes(tables, held);
        shard.drop(packet.mbuf, DropReason::kIkeHoldFull);
        return true;
      }
      rte_pktmbuf_free(packet.mbuf);
      tables.held[id] = held;
      state::queue_push(flight.packets, id, tables.held_links());
      ++flight.packet_count;
      account_held(shard, held);
      return true;
    }
  }
  return false;
}

void queue_behind_all(IpsecAlg& shard, WaiterId id) {
  Tables& tables = shard.alg;
  state::QueueHead& waiters =
      gate_in_hand(tables, tables.peers[tables.waiters[id].peer].gate).waiters;
  state::queue_remove(waiters, id, tables.waiter_links());
  state::queue_push(waiters, id, tables.waiter_links());
}

void begin_next_turn(IpsecAlg& shard, GateId gate_id) {
  Tables& tables = shard.alg;
  Gate& gate = gate_in_hand(tables, gate_id);
  gate.kept_for = state::kNone;
  // A waiter's flights may have been given up: then it is the next one's turn.
  while (!gate.waiters.empty() && gate.state == GateState::kClosed) {
    const WaiterId id = gate.waiters.first;
    Waiter& waiter = tables.waiters[id];
    if (waiter.flights.empty()) {
      gate.kept_for = waiter.peer;
      gate.kept_until = shard.now + kGateKept;
      return leave_queue(shard, id);
    }
    while (!waiter.flights.empty()) {
      const FlightId flight_id = waiter.flights.first;
      Flight& flight = tables.flights[flight_id];
      if (flight.packets.empty()) {
        remove_flight(shard, waiter, flight_id, DropReason::kIkeFlightFull);
        continue;
      }
      if (!admit_flight(shard, flight)) {
        if (!lacks_room_in_table(shard, tables.ike_sessions[flight.ike])) {
          remove_flight(shard, waiter, flight_id, DropReason::kIkeFlightFull);
          continue;
        }
        count(shard, tables.peers[waiter.peer].profile, AlgCounter::kIkeUntracked);
      }
      release_flight(shard, waiter, flight_id);
    }
    leave_queue(shard, id);
  }
}

void release_held(IpsecAlg& shard, Direction direction, IkeId ike, const ExchangeName& name,
                  const wire::IkeMessage& message) {
  Tables& tables = shard.alg;
  const WaiterId id = tables.peers[tables.ike_sessions[ike].peer].waiter;
  if (id == state::kNone) return;
  Waiter& waiter = tables.waiters[id];
  const FlightId flight_id = find_flight(tables, waiter, ike, name);
  if (flight_id == state::kNone) return;
  Flight& flight = tables.flights[flight_id];
  if (const HeldId copy = find_copy(tables, flight, direction, message); copy != state::kNone) {
    drop_later_fragments(shard, flight, direction, tables.held[copy].ip_identification,
                         DropReason::kIkeHeldReplaced);
    drop_held(shard, flight, copy, DropReason::kIkeHeldReplaced);
  }
  release_flight(shard, waiter, flight_id);
  if (waiter.flights.empty() && !waiter.for_esp) leave_queue(shard, id);
}

bool has_flight(const IpsecAlg& shard, PeerId peer, IkeId ike) {
  const Tables& tables = shard.alg;
  const WaiterId waiter = tables.peers[peer].waiter;
  if (waiter == state::kNone) return false;
  for (FlightId id = tables.waiters[waiter].flights.first; id != state::kNone;
       id = tables.flights[id].of_waiter.next)
    if (tables.flights[id].ike == ike) return true;
  return false;
}

void remove_waiter(IpsecAlg& shard, WaiterId id, DropReason reason) {
  Waiter& waiter = shard.alg.waiters[id];
  while (!waiter.flights.empty()) remove_flight(shard, waiter, waiter.flights.first, reason);
  leave_queue(shard, id);
}

void remove_flights(IpsecAlg& shard, PeerId peer, IkeId ike, DropReason reason) {
  Tables& tables = shard.alg;
  const WaiterId id = tables.peers[peer].waiter;
  if (id == state::kNone) return;
  Waiter& waiter = tables.waiters[id];
  for (FlightId flight = waiter.flights.first; flight != state::kNone;) {
    const FlightId next = tables.flights[flight].of_waiter.next;
    if (tables.flights[flight].ike == ike) remove_flight(shard, waiter, flight, reason);
    flight = next;
  }
  if (waiter.flights.empty() && !waiter.for_esp) leave_queue(shard, id);
}

void expire_waiters(IpsecAlg& shard, std::size_t budget) {
  Tables& tables = shard.alg;
  tables.waiter_wheel.advance(shard.now, budget, tables.waiter_wheel_links(),
                              [&](std::uint32_t id) -> std::optional<state::Ticks> {
                                const Waiter& waiter = tables.waiters[id];
                                // Design 4.7: closing is handled before ageing. It may be this
                                // waiter's turn now.
                                (void)current_gate(shard, tables.peers[waiter.peer].gate);
                                if (!waiter.in_use) return std::nullopt;
                                const state::Ticks deadline = waiter.last_message + kPlaceKept;
                                if (deadline.later_than(shard.now)) return deadline;
                                count(shard, tables.peers[waiter.peer].profile,
                                      AlgCounter::kPlacesAged);
                                remove_waiter(shard, id, DropReason::kIkeHeldAged);
                                return std::nullopt;
                              });
}

void send_released(IpsecAlg& shard, std::size_t budget) {
  Tables& tables = shard.alg;
  for (; budget != 0 && !tables.released.empty(); --budget) {
    const HeldId id = state::queue_pop(tables.released, tables.held_links());
    const Held held = tables.held[id];
    rte_mbuf* const rebuilt = rebuild(shard, held);
    forget_bytes(tables, held);
    tables.held.release(id);
    if (rebuilt == nullptr) {
      shard.counters.drop(DropReason::kNoBuffer);
      continue;
    }

    Packet packet;
    packet.mbuf = rebuilt;
    locate(packet, reinterpret_cast<wire::Ipv4Header*>(rte_pktmbuf_mtod(rebuilt, std::uint8_t*) +
                                                       held.link_size));
    packet.key = held.key;
    packet.interface = held.interface;
    packet.side = held.direction == Direction::kOutbound ? Side::kInside : Side::kOutside;
    packet.protocol = Protocol::kUdp;
    packet.kind = packet.ip->is_fragment() ? PacketKind::kFragment : PacketKind::kFlow;
    packet.handoffs = held.handoffs;
    packet.has_l4 = !held.later_fragment;
    packet.identification = held.leaves_with;
    apply(shard, packet, lsn44::forward_released(shard, packet, held.direction));
  }
}

}  // namespace lsn::datapath::ipsec_alg
