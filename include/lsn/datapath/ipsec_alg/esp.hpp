// ESP sessions: two SPIs of one client and one server (sections 2, 5 and 6 of the design).
//
// To the packet path an ESP session is an lsn44::Session like any other: found by (C, S, spi_out)
// and (N, S, spi_in) in the same flow tables, refreshed, counted, expired by the same wheel, part
// of the subscriber's quota. Its SPIs stand in EspSession, since a session's line has no room for
// them and its packets no need; half-open, it has only one of its two keys. Two further keys serve
// ICMP errors, which quote an SPI from the other side of the translation.
#pragma once

#include <expected>
#include <optional>

#include "lsn/datapath/ipsec_alg/ipsec_alg.hpp"
#include "lsn/datapath/ipsec_alg/tables.hpp"

namespace lsn::datapath::ipsec_alg {

/// Learns an SPI for a peer: completes a half-open session or creates one. `turn`: the turn whose
/// candidate it becomes; nullptr: none's. `began`: when an inbound SPI that was fresh was first
/// seen: it settles an exchange that was admitted before. Not set: it is of a tunnel that idled
/// out, and settles none.
[[nodiscard]] std::expected<SessionId, DropReason> learn(IpsecAlg& shard, PeerId peer,
                                                         Direction direction, Spi spi, Turn* turn,
                                                         std::optional<state::Ticks> began = {});
/// Notes which exchange is settled by a session's inbound SPI; kNone: none (any more).
void note_settled(Tables& tables, EspSession& esp, ExchangeId exchange);
/// The IKE session that bore it; kNone: it is gone.
void note_bearer(Tables& tables, EspSession& esp, IkeId ike);
/// Forgets one SPI; the session goes with its last one.
void forget_spi(IpsecAlg& shard, EspId id, Direction direction);
/// Joins half-open sessions of a turn that has ended: a forged SPI may have taken the true one's
/// place.
void join_halves(IpsecAlg& shard, PeerId peer);

/// Design 9.1: whether its client has sent nothing to the server for espGateTimeout, since its
/// inbound SPI was learned, and another client is owed one. Notes if that is out of question from
/// now on.
[[nodiscard]] bool is_followed_by_nothing(IpsecAlg& shard, EspSession& esp);
/// Takes the inbound SPI back. The session goes if it has no other one.
void withdraw(IpsecAlg& shard, EspId id);

/// As a record has it (journal.hpp); kNoSpi: that SPI is not known. False: it is there, or there is
/// no room.
[[nodiscard]] bool restore_esp(IpsecAlg& shard, PeerId peer, Spi out, Spi in);

/// Takes a session's SPI out of its turn's queue of candidates.
void leave_candidates(IpsecAlg& shard, EspId id, Direction direction);
/// The outbound SPI of a half-open session is one of that turn's.
void become_candidate_again(IpsecAlg& shard, EspId id, Turn& turn);
/// Forgets those SPIs of a turn that is over, lingering included, that are beyond the answered
/// exchanges and carried a single packet; the others stay.
void close_candidates(IpsecAlg& shard, Turn& turn);
/// The oldest candidate of a direction that carried a single packet, or state::kNone.
[[nodiscard]] EspId oldest_single(const IpsecAlg& shard, const Turn& turn, Direction direction);

/// The session with that SPI, or state::kNone.
[[nodiscard]] SessionId find_esp(const Lsn44& shard, Direction direction,
                                 const InsideAddress& local, wire::Be32 server, Spi spi);
/// The session whose packet an ICMP error from that direction quotes: from outside it quotes an
/// outbound packet as (N, S, spi_out), from inside an inbound one as (C, S, spi_in).
[[nodiscard]] SessionId find_quoted(const IpsecAlg& shard, Direction error,
                                    const InsideAddress& local, wire::Be32 server, Spi spi);

/// The ALG's part of lsn44::end_session(): keys, lists, the peer.
void on_session_end(IpsecAlg& shard, SessionId id, SessionEnd why);
/// Once per tick: adds the traffic of some of the sessions to their profiles' counters.
void count_traffic(IpsecAlg& shard, std::size_t budget);
/// espSessionTimeout of its profile.
[[nodiscard]] state::TickDuration esp_idle_timeout(const IpsecAlg& shard, EspId id);

/// The ESP session of an lsn44::Session.
[[nodiscard]] inline EspId esp_of(const Lsn44& shard, SessionId id) {
  return shard.lsn44.cold[id].esp();
}

}  // namespace lsn::datapath::ipsec_alg
