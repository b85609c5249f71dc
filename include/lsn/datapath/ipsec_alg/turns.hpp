// Turns at a gate (design 4): the consequences of the gate's events for the shard.
//
// While client C has the gate (N, S) no other client's phase 2 message passes, so the next unknown
// SPI between S and N is C's. A turn begins with C's first forwarded message, has one deadline,
// espGateTimeout later, and ends earlier when its purpose is fulfilled (paired) or when it is seen
// to have none. When it ends the first waiter gets the next.
//
// A client without an exchange has its turn, too: its ESP of an unknown SPI, or of one that the
// server has not answered, begins it, or gets a place among the waiters; then the gate is kept for
// it.
//
// If no packet comes to a gate the timer wheel does.
#pragma once

#include <cstdint>

#include "lsn/datapath/ipsec_alg/gate.hpp"
#include "lsn/datapath/ipsec_alg/ike.hpp"
#include "lsn/datapath/ipsec_alg/ipsec_alg.hpp"

namespace lsn::datapath::ipsec_alg {

/// The gate as it is now: first does what is due by time (ends a turn, ends lingering). Packets,
/// messages and timers come to a gate by this function; the functions that they call work on the
/// gate that it returned.
[[nodiscard]] Gate& current_gate(IpsecAlg& shard, GateId id);

/// Begins a turn at a closed gate; `how` is its first event.
void begin_turn(IpsecAlg& shard, PeerId peer, GateEvent how);
/// Ends the turn. The first waiter's begins.
void close_turn(IpsecAlg& shard, GateId id, CloseReason reason);
/// Design 4.8: a phase 2 message of that peer's finds another's turn without an exchange, which
/// yields.
void yield_to(IpsecAlg& shard, GateId id, PeerId peer);
/// Design 3: the holder's new IKE session asks for a phase 2 of its own. The turn ends if its
/// exchanges, of a former session, are unanswered and silent.
void on_restart(IpsecAlg& shard, PeerId peer, IkeId ike);

/// A phase 2 message that opens an exchange passes: the gate is free for its peer, or its peer has
/// it. `answer`: it is an answer whose request was never seen. False: the session remembers no
/// more.
enum class Opening : std::uint8_t { kRequest, kAnswer };
[[nodiscard]] bool admit(IpsecAlg& shard, IkeId ike, const ExchangeName& name,
                         std::uint32_t message_id, Opening opening);
/// A further request of an admitted exchange (IKE_AUTH) passes after its turn was lost: the gate is
/// free for its peer, or its peer has it; it begins a new turn, or joins the one that there is.
void admit_again(IpsecAlg& shard, PeerId peer, ExchangeId exchange, std::uint32_t message_id);
/// A further request of an admitted exchange (IKE_AUTH, IKE_FOLLOWUP_KE) passes, also if another
/// client has the gate, and opens nothing.
void request_again(IpsecAlg& shard, PeerId peer, ExchangeId exchange, std::uint32_t message_id);
/// The answer to an admitted exchange's latest request passes.
void on_answer(IpsecAlg& shard, PeerId peer, ExchangeId exchange);
/// Any message of an admitted exchange passes.
void on_message(IpsecAlg& shard, PeerId peer, ExchangeId exchange);
/// An exchange that was admitted then is restored: the restart has ended its turn.
void turn_was_lost(IpsecAlg& shard, PeerId peer, state::Ticks admitted);
/// Whether an unknown SPI that was first seen since then, fresh, was refused and was never learned.
[[nodiscard]] bool has_refused_since(const Tables& tables, const Gate& gate, state::Ticks then);
/// Whether an exchange belongs to the turn that its peer has.
[[nodiscard]] bool in_turn(const Gate& gate, PeerId peer, const Exchange& exchange);

/// An unknown SPI of the holder's has passed its half. Afterwards, inbound, on_return().
void on_spi(IpsecAlg& shard, GateId id, Direction direction);
/// A packet of that peer's passed on an SPI that the server has not answered.
void note_asked(IpsecAlg& shard, Gate& gate, PeerId peer);
/// Whether a client has asked for an inbound SPI by packets that the server has not answered.
enum class Asking : std::uint8_t {
  kNo,
  kOften,  ///< more of them than count against others' claims (design 5.13)
  kYes,
};
/// Whether a packet of another client passed on an SPI without an answer, so lately that the
/// server's answer may come now.
[[nodiscard]] Asking has_another_asked(const IpsecAlg& shard, const Gate& gate, PeerId except);
/// The holder sends on an SPI of its turn.
void note_sent(IpsecAlg& shard, Gate& gate);
/// A packet on a learned SPI came in for the holder: closes the gate if that completes the pair.
void on_return(IpsecAlg& shard, GateId id);
/// Closes the gate if it is paired.
void close_if_paired(IpsecAlg& shard, GateId id);

/// The tracker has seen that the exchange rekeyed the IKE SA (design 4.9).
void on_ike_rekey(IpsecAlg& shard, PeerId peer, ExchangeId exchange);
void on_float(IpsecAlg& shard, PeerId peer, IkeId ike);

/// Whether a peer is dangling now (design 5).
[[nodiscard]] bool is_dangling(const IpsecAlg& shard, const Peer& peer);
/// Whether any other peer of the gate is.
[[nodiscard]] bool does_another_dangle(IpsecAlg& shard, Gate& gate, PeerId except);
/// Whether a peer is owed an inbound SPI, by an exchange or by the SPIs and requests that it showed
/// in its turns.
[[nodiscard]] bool is_owed_any(const Context& shard, const Peer& peer);
/// Whether any other peer of the gate is owed one.
[[nodiscard]] bool is_another_owed(const IpsecAlg& shard, const Gate& gate, PeerId except);
/// Puts a peer on the gate's lists, or takes it off, as its exchanges and half-open sessions are.
void update_claimant(IpsecAlg& shard, PeerId id);

/// Ends the gate's lingering: unknown SPIs of a single packet are forgotten (design 5.10,
/// candidates).
void end_lingering(IpsecAlg& shard, GateId id);
/// Arms the gate's timer for its next deadline.
void schedule_gate(IpsecAlg& shard, GateId id);
void expire_gates(IpsecAlg& shard, std::size_t budget);

}  // namespace lsn::datapath::ipsec_alg
