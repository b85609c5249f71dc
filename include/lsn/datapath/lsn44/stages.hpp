// LSN44's stages for packets that have no session on the fast path, one after the other.
//
// outbound()   a packet from inside: for us? of a client? ours to serve? then its session, made if
//              its policies allow
// inbound()    a packet from outside, or one that another subscriber sent to a NAT address: for us?
//              for a NAT address of this shard? then its session, or a mapping that lets it in
// hairpin()    the way from the first to the second (RFC 4787 REQ-9)
// icmp_error() by the packet that it quotes (RFC 5508 section 4)
// All take the packet in any case but drop and handoff.
#pragma once

#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/datapath/packet.hpp"
#include "lsn/datapath/shard.hpp"

namespace lsn::datapath::lsn44 {

[[nodiscard]] Verdict outbound(Shard& shard, Packet& packet);
[[nodiscard]] Verdict inbound(Shard& shard, Packet& packet);

/// Whether a packet that is that subscriber's is this shard's to serve: next, handoff(to whom it is
/// to go now, which is noted in the packet), or drop when it is no client's. `group` is set on
/// next.
[[nodiscard]] Verdict steer_outbound(Shard& shard, Packet& packet, wire::Be32 subscriber,
                                     std::uint16_t& group);
/// Whether packets to that NAT address are this shard's.
[[nodiscard]] Verdict steer_inbound(const Shard& shard, wire::Be32 nat_ip);

/// What outbound() and inbound() begin with, for a flow's packet that is another shard's:
/// handoff(owner), or next for all that they are to decide.
[[nodiscard]] Verdict pass_on(Shard& shard, Packet& packet);

/// What speaks against a source or destination before anything else does: next, or drop.
[[nodiscard]] Verdict check_outbound_addresses(const Shard& shard, const Packet& packet);
[[nodiscard]] Verdict check_inbound_addresses(const Shard& shard, const Packet& packet);

/// A packet that was translated outbound and goes to a NAT address of ours: to its owner.
[[nodiscard]] Verdict hairpin(Shard& shard, Packet& packet);

[[nodiscard]] Verdict icmp_error_outbound(Shard& shard, Packet& packet);
[[nodiscard]] Verdict icmp_error_inbound(Shard& shard, Packet& packet);

/// A session's next hop in a direction, looked up if it is not known: next, or drop.
[[nodiscard]] Verdict resolve_hop(Shard& shard, Session& session, Direction direction);

/// Brings a session up to the shard's stamp: false if the configuration does not allow it any
/// more; it is ended then.
[[nodiscard]] bool revalidate(Shard& shard, SessionId id);

}  // namespace lsn::datapath::lsn44
