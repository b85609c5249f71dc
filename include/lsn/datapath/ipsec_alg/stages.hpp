// The ALG as stages of the packet path: what LSN44 calls, and when.
//
//   inspect()         a packet of a session that is marked for it (SessionFlags::kInspect): IKE on
//                     UDP 500; UDP 4500, to notice a float; ESP of a turn that is not over
//   attribute_...()   ESP without a session (attribution.hpp)
//   demultiplex()     IKE to a port 500 that several clients share (ikePreservePort)
//   choose_address()  a client's first contact is IKE: its NAT address (serverSpread)
//   udp_session_ended()  the mapping of an IKE session goes
//   keeps()           whether an idle UDP session is the mapping of a living IKE or ESP session
//   ah_refused()      AH of a client, which is dropped
//   after_burst()     sends what was released, removes what nobody needs
//   housekeep()       what is due by time
//
// Packets of known SPIs pass none of these: they are the fast path.
#pragma once

#include <span>

#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/datapath/packet.hpp"
#include "lsn/datapath/shard.hpp"

namespace lsn::datapath::ipsec_alg {

/// Whether sessions of that group, protocol and server port are to be inspected.
[[nodiscard]] bool wants(const Shard& shard, std::uint16_t group, Protocol protocol,
                         wire::Be16 server_port);

/// ikePreservePort (design 7): whether a session's packets keep source port 500.
[[nodiscard]] bool wants_port_kept(const Shard& shard, std::uint16_t group, wire::Be16 inside_port,
                                   wire::Be16 server_port);
/// Whether an inbound packet is IKE to a port 500 that several clients may share.
[[nodiscard]] bool is_for_port_keepers(const Shard& shard, const Packet& packet);
/// Finds whose it is by its initiator SPI, and names it by that session's key from now on.
/// state::kNone: nobody's.
[[nodiscard]] SessionId demultiplex(Shard& shard, Packet& packet);
/// The same of a datagram's first bytes, `size` in all, between port 500 and port 500.
[[nodiscard]] SessionId find_port_keeper(Shard& shard, wire::Be32 nat_ip, wire::Be32 server,
                                         std::span<const std::uint8_t> datagram, std::size_t size);

/// next: translate it. consumed: it is held. drop.
[[nodiscard]] Verdict inspect(Shard& shard, Packet& packet, SessionId id, Direction direction);

/// Pairs a subscriber that has no NAT address yet with one on which nobody else talks IKE or ESP to
/// the server, if the profile wants that and there is one; otherwise nothing happens.
void choose_address(Shard& shard, lsn44::Subscriber& subscriber, const Group& group,
                    wire::Be32 server);

[[nodiscard]] bool keeps(const Shard& shard, const lsn44::Session& session);

/// A UDP session that was inspected ends.
void udp_session_ended(Shard& shard, const lsn44::Session& session);

/// AH cannot cross a NAT: counted, and told once per client.
void ah_refused(Shard& shard, const Packet& packet);

void after_burst(Shard& shard);
void housekeep(Shard& shard, std::size_t budget);

/// A new generation: what follows from its profiles at once.
void adopt_generation(Shard& shard);
/// Part of the sweep after a reload: ends what a subscriber has if its group has no profile any more
/// or its NAT address is gone, but for its ESP sessions, which the sweep ends like all sessions.
/// Otherwise arms its timers for the new timeouts.
void enforce_generation(Shard& shard, SubscriberId subscriber);

/// What there is of a client (zero: only of the NAT address), a NAT address (zero: the client's) and
/// a server; `spi` inbound.
[[nodiscard]] AlgLookup look_up(const Shard& shard, wire::Be32 client, wire::Be32 nat_ip,
                                wire::Be32 server, Spi spi);

}  // namespace lsn::datapath::ipsec_alg
