// The one door between LSN44 and application level gateways: all calls from LSN44 to one, on one
// page.
//
// LSN44 declares these functions and calls them; the ALG's room implements them
// (ipsec_alg/hooks.cpp). No call is virtual: there is one implementation, on the floor above, which
// knows that every Lsn44 is part of its own. It answers for the IPsec ALG alone; with a second ALG
// it would choose between them, by protocol and remote port.
//
// What fits an ALG of UDP: is_inspected() marks its sessions, inspect() sees each of their packets
// before it is translated and may hold or drop it, keeps_mapping_alive() and on_udp_session_end()
// follow how long they live, the clockwork brings it up to a reload. What is not here, as IPsec
// does not need it: TCP is never inspected; a payload does not change its length (SIP, FTP:
// sequence numbers); no flow from outside can be announced beforehand (TFTP's answer from another
// port, RTP).
//
// What LSN44 knows of IPsec beside the door: ESP is a protocol whose sessions it does not create; a
// UDP session may preserve port 500 (UdpFlags::kPreservesPort), also where ICMP quotes it; kNewSa
// marks an ESP packet; a group without an ALG profile has no ESP.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

#include "lsn/datapath/lsn44/ids.hpp"
#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/datapath/lsn44/subscriber.hpp"
#include "lsn/datapath/packet.hpp"
#include "lsn/datapath/verdict.hpp"
#include "lsn/shared/generation.hpp"
#include "lsn/state/ticks.hpp"

namespace lsn::datapath {
struct Lsn44;
}

namespace lsn::datapath::lsn44::alg_hooks {

// ── a new session ───────────────────────────────────────────────────────────────────────────────

/// Whether packets of a session of that group, protocol and remote port are to be inspected.
[[nodiscard]] bool is_inspected(const Lsn44& shard, std::uint16_t group, Protocol protocol,
                                wire::Be16 remote_port);
/// Whether the packets of such a session leave with the port of the inside (ikePreservePort).
[[nodiscard]] bool preserves_port(const Lsn44& shard, std::uint16_t group, wire::Be16 inside_port,
                                  wire::Be16 remote_port);
/// Before a subscriber without a NAT address gets a session that is inspected: may pair it.
void choose_address(Lsn44& shard, Subscriber& subscriber, const Group& group, wire::Be32 remote);

// ── a packet of a session ───────────────────────────────────────────────────────────────────────

/// A packet of a session that is marked, before it is rewritten. next: translate it. consumed: the
/// ALG has taken it. drop.
[[nodiscard]] Verdict inspect(Lsn44& shard, Packet& packet, SessionId id, Direction direction);
/// Whether an inbound packet is for a NAT port that several subscribers share (preserves_port()).
[[nodiscard]] bool is_for_shared_port(const Lsn44& shard, const Packet& packet);
/// Finds such a packet's session by its payload, and names the packet by that session's key from
/// now on. state::kNone: there is none.
[[nodiscard]] SessionId demultiplex(Lsn44& shard, Packet& packet);
/// The same of a UDP datagram's first bytes, `size` in all, that an ICMP error quotes.
[[nodiscard]] SessionId demultiplex_quoted(Lsn44& shard, wire::Be32 nat_ip, wire::Be32 remote,
                                           std::span<const std::uint8_t> datagram,
                                           std::size_t size);

// ── ESP ─────────────────────────────────────────────────────────────────────────────────────────

/// The session of an ESP packet that has none yet, from a subscriber of a group, or to a NAT
/// address.
[[nodiscard]] std::expected<SessionId, DropReason> attribute_outbound(Lsn44& shard,
                                                                      const Packet& packet,
                                                                      std::uint16_t group);
[[nodiscard]] std::expected<SessionId, DropReason> attribute_inbound(Lsn44& shard,
                                                                     const Packet& packet);
/// The session of an ESP packet that an ICMP error from that direction quotes; state::kNone: none.
/// From inside `local` is the subscriber, from outside its NAT address.
[[nodiscard]] SessionId find_quoted_esp(const Lsn44& shard, Direction error,
                                        const InsideAddress& local, wire::Be32 remote,
                                        wire::Be32 spi);
/// The names of the packets of an ESP session (SessionCold::esp()), by direction; zero: not known.
struct EspNames {
  ByDirection<wire::Be32> spi;
};
[[nodiscard]] EspNames esp_names(const Lsn44& shard, std::uint32_t esp);

// ── how long a session lives ────────────────────────────────────────────────────────────────────

/// Whether an idle session that is inspected must stay: it is the mapping of a live IKE or ESP
/// session.
[[nodiscard]] bool keeps_mapping_alive(const Lsn44& shard, const Session& session);
/// How long an ESP session may be idle; `esp`: SessionCold::esp().
[[nodiscard]] state::TickDuration esp_idle_timeout(const Lsn44& shard, std::uint32_t esp);
/// A UDP session that was inspected ends.
void on_udp_session_end(Lsn44& shard, const Session& session);
/// An ESP session ends: its keys are the ALG's to remove.
void on_esp_session_end(Lsn44& shard, SessionId id, SessionEnd why);

// ── clockwork ───────────────────────────────────────────────────────────────────────────────────

/// A subscriber has been brought up to a new generation (its group, its pairing).
void on_subscriber_refreshed(Lsn44& shard, SubscriberId id);
/// The sweep after a reload has come to the end of a subscriber, or of its budget.
void on_subscriber_swept(Lsn44& shard);

}  // namespace lsn::datapath::lsn44::alg_hooks
