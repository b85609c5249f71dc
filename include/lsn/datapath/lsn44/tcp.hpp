// TCP as a NAT sees it: opening, closing, and which packets may change that (RFC 5382 section 2.1,
// RFC 7857 section 2).
//
// A connection is open once each side has sent its SYN and acknowledged the other's; until then it
// has synidletimeout. It closes with the FINs of both sides, or with a RST.
//
// A segment that closes it must lie in the window (RFC 5961 section 3): a RST or FIN whose sequence
// number the other side would not take is passed on, for that side to judge, and changes nothing
// here. Of each side the number that it has acknowledged last is known, to 64 KB, and the scale of
// its window; a number is taken from there to as far ahead as the largest window of that scale
// reaches. That leaves a blind attacker one guess in 500 where windows are scaled by 2^7, one in
// 30,000 where they are not scaled. Each side's numbers are known by the other's acknowledgments,
// so that an outside host that forges segments cannot move the window of its own forgeries.
//
//   SYN       that side opens; on a connection that was closing it begins again, its FINs and RST
//             forgotten (RFC 6191): from outside only with a sequence number that is later than the
//             connection's, to 64 KB (time stamps are not known); and a subscriber's SYN also where
//             one FIN was seen
//   SYN, ACK  likewise; of a subscriber on a connection with a FIN: it has taken a SYN from
//             outside, which alone is not believed
//   FIN       that side has finished
//   RST       the session ends after four minutes (RFC 7857 section 2) ...
//   others    ... unless it goes on: the RST was not accepted (RFC 6146 section 3.5.2.2)
#pragma once

#include <chrono>

#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/datapath/packet.hpp"

namespace lsn::datapath::lsn44 {

/// How long a session stays at least that was open and has been reset (RFC 7857 section 2).
inline constexpr state::TickDuration kResetTimeout = std::chrono::minutes{4};

/// A connection that is taken over in the middle: as if its handshake had been seen.
void take_over_tcp(Session& session);

/// Whether each side has sent its SYN and acknowledged the other's.
[[nodiscard]] bool is_open(const Session& session);
/// Whether a RST was believed and nothing has come since.
[[nodiscard]] bool is_reset(const Session& session);

/// Follows a packet that is not on the shortest path; its ports may have been rewritten already.
/// True if the session is in another state than before, whose timeout may be a shorter one.
[[nodiscard]] bool follow_tcp(Session& session, const Packet& packet, Direction direction);

}  // namespace lsn::datapath::lsn44
