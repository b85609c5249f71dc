// The shard that a packet belongs to (docs/architecture.md, Who owns what).
//
// A packet from inside is its subscriber's, one from outside its NAT address'. A packet of another
// shard is handed off to it. A subscriber that the present ShardMap gives to another shard than the
// one that has its state (displaced) is looked for: the packet goes once to each shard that may
// have it, Packet::handoffs and visited_shards() say how far that has come.
#pragma once

#include <cstdint>

#include "lsn/datapath/packet.hpp"
#include "lsn/datapath/verdict.hpp"

namespace lsn::datapath {
struct Context;
struct Lsn44;
}  // namespace lsn::datapath

namespace lsn::datapath::lsn44 {

/// Whether a packet that is that subscriber's is this shard's to serve: next, handoff(to the shard
/// that it is to go to now, which is noted in the packet), or drop if it is no client's. `group` is
/// set on next.
[[nodiscard]] Verdict steer_outbound(Lsn44& shard, Packet& packet, const InsideAddress& subscriber,
                                     std::uint16_t& group);
/// Whether packets to that NAT address are this shard's.
[[nodiscard]] Verdict steer_inbound(const Context& shard, wire::Be32 nat_ip);

/// Both of a packet: next if it is this shard's, handoff, or drop.
[[nodiscard]] Verdict find_owner(Lsn44& shard, Packet& packet);

/// The first step of outbound() and inbound(), for a flow's packet that is another shard's:
/// handoff(owner), or next for all that they are to decide.
[[nodiscard]] Verdict steer(Lsn44& shard, Packet& packet);

/// Whether a packet from outside for a subscriber of a domain has the address of a client of just
/// that domain (RFC 2827). Of domain 0 check_inbound_addresses() knows it for every packet.
[[nodiscard]] bool is_forged_neighbour(const Generation& generation, DomainId td,
                                       const Packet& packet);

/// A packet for the kernel (is_for_kernel()) that is none of a flow, of whatever shard: checked as
/// those of flows are, and delivered. Takes it when it says consumed.
[[nodiscard]] Verdict deliver_checked(Lsn44& shard, Packet& packet);

/// Checks source and destination before anything else: next, or drop.
[[nodiscard]] Verdict check_outbound_addresses(const Generation& generation, const Packet& packet);
[[nodiscard]] Verdict check_inbound_addresses(const Generation& generation, const Packet& packet);

}  // namespace lsn::datapath::lsn44
