// Messages that are held while another client has the gate (design 4.7).
//
// A client waits in a gate's queue with its flights, one per exchange, of at most 16 messages,
// whole or in fragments: a retransmission replaces the copy that it repeats, and of a message that
// finds no room nothing is kept. Its place is kept for 35 seconds after its last message. When its
// turn comes all its messages go into Tables::released, in order, and are sent at the end of the
// burst. A client without an exchange, whose ESP of an unknown SPI found the gate taken, waits
// without a message; when its turn comes the gate is kept for its next packet, for a second. Of a
// held packet the bytes are kept, not the buffers; they count against maxHeldBytes, of which one
// client gets a quarter at most.
#pragma once

#include "lsn/datapath/ipsec_alg/ike.hpp"
#include "lsn/datapath/ipsec_alg/ipsec_alg.hpp"
#include "lsn/datapath/packet.hpp"

namespace lsn::datapath::ipsec_alg {

/// A phase 2 message that must wait. consumed: it is held; drop: there is no room for it.
[[nodiscard]] Verdict hold(IpsecAlg& shard, const Packet& packet, Direction direction, IkeId ike,
                           const ExchangeName& name, const wire::IkeMessage& message);
/// ESP of an unknown SPI, or of one without an answer, from a peer that does not have the gate: it
/// gets a place, or keeps it.
void wait_for_esp(IpsecAlg& shard, PeerId peer);
/// A later IP fragment: held if the datagram that it belongs to is. False: it may pass.
[[nodiscard]] bool hold_with_datagram(IpsecAlg& shard, const Packet& packet, Direction direction,
                                      PeerId peer);

/// The gate is closed: the first waiter's turn begins, if there is one, or the gate is kept for it.
void begin_next_turn(IpsecAlg& shard, GateId id);

/// A message of an exchange that is held passes, since there is room for it now: drops its older
/// copy, releases the exchange's other held messages.
void release_held(IpsecAlg& shard, Direction direction, IkeId ike, const ExchangeName& name,
                  const wire::IkeMessage& message);

/// Whether messages of an IKE session are held.
[[nodiscard]] bool has_flight(const IpsecAlg& shard, PeerId peer, IkeId ike);

/// Design 4.8: a client that lost its turn queues behind all waiters.
void queue_behind_all(IpsecAlg& shard, WaiterId id);
/// Gives up a place, or the flights of one IKE session in it.
void remove_waiter(IpsecAlg& shard, WaiterId id, DropReason reason);
void remove_flights(IpsecAlg& shard, PeerId peer, IkeId ike, DropReason reason);
void expire_waiters(IpsecAlg& shard, std::size_t budget);

/// Sends released packets, at most `budget` of them.
void send_released(IpsecAlg& shard, std::size_t budget);

}  // namespace lsn::datapath::ipsec_alg
