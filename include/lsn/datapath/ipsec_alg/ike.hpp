// IKE sessions, and the phase 2 exchanges that they remember (design 3).
//
// An IKE session is named by its peer and the initiator SPI. It is created by any well-formed
// message and expires ikeSessionTimeout after its last one, a minute after it if it never had an
// answer. It remembers its admitted exchanges, since an exchange that was admitted once always
// passes: those without an answer up to 64, and the latest 8 answered ones.
//
//   undecided ──first answer──► owed an inbound SPI ──► settled: the SPI is learned, or it is clear
//       └──────────────────────────────────────────────►         that none will come
//
// A peer has its undecided and its owed exchanges at hand (Peer::undecided, Peer::owed): they tell
// the SPIs that it may still expect.
#pragma once

#include <cstdint>

#include "lsn/datapath/ipsec_alg/ipsec_alg.hpp"
#include "lsn/datapath/lsn44/session.hpp"

namespace lsn::datapath::ipsec_alg {

/// Design 3's table.
enum class IkePhase : std::uint8_t {
  kOne,       ///< always passes
  kTwo,       ///< gated
  kNeither,   ///< always passes
  kUnlisted,  ///< passes and is counted
};
[[nodiscard]] IkePhase phase_of(const wire::IkeMessage& message);

[[nodiscard]] IkeId find_ike_session(const IpsecAlg& shard, PeerId peer, wire::IkeSpi initiator);

/// Finds or creates the session of a message, and notes the message. A new session may say that the
/// client restarted, or that an exchange rekeyed the IKE SA: the gate is told. state::kNone: there
/// is no room for a new one, in the table or among the client's sessions (design 6).
[[nodiscard]] IkeId track(IpsecAlg& shard, PeerId peer, const wire::IkeMessage& message,
                          Direction direction, const lsn44::Session& session);

/// Which exchanges that are owed an SPI count: all, or those that were answered within 2T.
enum class Owed : std::uint8_t { kForHoweverLong, kLately };
/// Whether something may still come of a session: a turn, a place in a queue, an SPI that it is
/// owed, or it has ESP sessions. One without a purpose may be replaced.
[[nodiscard]] bool has_purpose(const IpsecAlg& shard, IkeId id, Owed owed);

/// Design 6: the mapping of that inside port, which the server knows from phase 1, lives as long as
/// the peer's ESP.
void keep_port(IpsecAlg& shard, PeerId peer, wire::Be16 inside_port, bool bore_esp = false);
/// An SPI was learned for an exchange of that session: its mapping is kept rather than others.
void port_bore_esp(Tables& tables, IkeId ike);

/// The UDP session of a client with port 500 of a server has ended, and its mapping with it.
void on_mapping_end(IpsecAlg& shard, const lsn44::Session& session);

/// ikePreservePort (design 7): the IKE session of a gate whose UDP session a message from the
/// server belongs to, by its initiator SPI; an unknown one is of the only client with an answered
/// CREATE_CHILD_SA that no new IKE SPI has followed yet. kNone: there is none.
[[nodiscard]] IkeId find_port_keeper(IpsecAlg& shard, GateId gate, wire::IkeSpi initiator);

/// The name of an exchange by one of its messages. A fragment that does not name its message gets
/// the name of its first fragment; kind kNone: that was not seen.
[[nodiscard]] ExchangeName name_of(IkeSession& session, const wire::IkeMessage& message,
                                   Direction direction);

/// The exchange of that name if it was admitted, or kNone. (IKE_FOLLOWUP_KE: the latest
/// CREATE_CHILD_SA of the same initiator.)
[[nodiscard]] ExchangeId find_exchange(const IpsecAlg& shard, const IkeSession& session,
                                       const ExchangeName& name, const wire::IkeMessage& message);

/// Whether a session remembers one more: an unanswered exchange is never forgotten for a newer one.
[[nodiscard]] bool has_room(const IpsecAlg& shard, const IkeSession& session);
/// It would, but others have taken the whole table: its message passes as ordinary UDP (design 6).
[[nodiscard]] bool lacks_room_in_table(const IpsecAlg& shard, const IkeSession& session);
/// A newly admitted exchange; kNone: there is no room.
[[nodiscard]] ExchangeId add_exchange(IpsecAlg& shard, IkeId id, const ExchangeName& name,
                                      std::uint32_t message_id);

/// A message of it was seen: it is remembered longer than those that were silent since.
void touch_exchange(IpsecAlg& shard, ExchangeId id);
/// Marks it as answered: from its first answer on it is owed an inbound SPI, also while a further
/// request of it waits for an answer that may be lost behind the NAT. It leaves the gate as it is.
void mark_answered(IpsecAlg& shard, ExchangeId id);
/// A further request of it waits for an answer.
void mark_unanswered(IpsecAlg& shard, ExchangeId id);
/// No inbound SPI is expected for it (any more), ...
void mark_settled(IpsecAlg& shard, ExchangeId id);
/// ... or again.
void unsettle(IpsecAlg& shard, ExchangeId id);
/// An inbound SPI was learned: settles an answered exchange of the turn, else the latest one.
/// Which; kNone: none is owed one.
ExchangeId settle_one(IpsecAlg& shard, PeerId peer, std::uint32_t turn, state::Ticks began);
/// Settles all exchanges of a session.
void settle_session(IpsecAlg& shard, IkeId id);
/// Design 5.3, owed: an exchange came to nothing if it is older than one of the same session that
/// was answered in that turn, which is paired now. True: one of them was owed an SPI.
bool settle_older(IpsecAlg& shard, PeerId peer, std::uint32_t turn);

/// Design 3: its server has answered.
[[nodiscard]] bool has_answered_ike(const IpsecAlg& shard, const Peer& peer);

/// A message on UDP 4500 behind the marker: the session floated, and is removed.
void end_floated(IpsecAlg& shard, IkeId id);

void end_ike_session(IpsecAlg& shard, IkeId id, AlgEnd why);
void expire_ike_sessions(IpsecAlg& shard, std::size_t budget);
[[nodiscard]] state::Ticks ike_deadline(const IpsecAlg& shard, const IkeSession& session);

}  // namespace lsn::datapath::ipsec_alg
