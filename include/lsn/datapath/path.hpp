// The packet path: start reading here.
//
// A burst from a device goes through these stages; each is a function of its own in the file named
// behind it.
//
//   parse        link header, VLAN -> interface, IPv4, TCP/UDP/ICMP -> Packet with its flow key;
//                what is no plain packet of a flow goes to the slow path         pipeline.cpp
//   find         hash, prefetch, look up the whole burst's sessions              pipeline.cpp
//   translate    rewrite addresses, ports and checksums, refresh, count, send    lsn44/translate
//
// That was the fast path: every packet that has a session. The others go on alone:
//
//   outbound     for us? a client's? whose shard? ALG (ipsec_alg/), then LSN44: make a session
//                                                                                lsn44/outbound
//   inbound      a NAT address? whose shard? ALG, then LSN44: a mapping that lets it in?
//                                                                                lsn44/inbound
//   hairpin      outbound on the sender's shard, then inbound on the other's     lsn44/hairpin
//   icmp error   translated by the packet that it quotes                         lsn44/icmp_error
//   fragments    wait for their ports, then go the same ways                     reassembly
//   route, send  next hop, MTU, link header, transmit buffer                     l3/output
//
// What a stage decides is a Verdict; here it becomes a counted drop, a handoff, or nothing more.
#pragma once

#include <rte_mbuf.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "lsn/shared/generation.hpp"
#include "lsn/shared/alg_queries.hpp"
#include "lsn/shared/queries.hpp"
#include "lsn/datapath/shard.hpp"

namespace lsn::datapath {

/// Takes packets that a device has received (at most kBurst). The results stand in shard.tx and
/// shard.handoff, which the caller empties before the next burst.
void process_received(Shard& shard, std::uint16_t device, std::span<rte_mbuf* const> packets);

/// Takes packets that another shard has handed over (at most kBurst).
void process_handoff(Shard& shard, std::span<rte_mbuf* const> packets);

/// What a shard does without packets: turns its timer wheels to shard.now, asks for neighbours,
/// frees ports and fragments whose time is over. At most about `budget` objects of each kind; what is
/// left is done by the next one, otherwise there is nothing until the next tick.
void housekeep(Shard& shard, std::size_t budget);

/// Begins to work with a generation: `addresses` are this shard's part of it. Call
/// enforce_generation() until it is finished.
void adopt_generation(Shard& shard, const Generation* generation,
                      lsn44::ShardAddresses* addresses);

/// Ends what the current generation does not allow (addresses, clients, groups that are gone), at
/// most about `budget` objects per call; `ended` counts sessions.
struct GenerationSweep {
  std::uint32_t cursor = 0;               ///< subscriber
  bool sessions_done = false;             ///< of it; its mappings come next
  std::uint32_t next = state::kNone;      ///< session or mapping where to go on
  bool finished = false;
  std::uint64_t ended = 0;
};
void enforce_generation(Shard& shard, GenerationSweep& sweep, std::size_t budget);

/// Questions of the control thread (query.hpp, ipsec_alg/query.hpp), each call a step of at most
/// about `budget` objects.
void list_sessions(Shard& shard, SessionPage& page, std::size_t budget);
void list_subscribers(Shard& shard, SubscriberPage& page, std::size_t budget);
void list_mappings(Shard& shard, MappingPage& page, std::size_t budget);
void survey_usage(Shard& shard, Usage& usage, std::size_t budget);
void list_neighbours(Shard& shard, NeighbourPage& page, std::size_t budget);
void look_up(Shard& shard, Lookup& lookup, std::size_t budget);
void list_drops(Shard& shard, DropPage& page, std::size_t budget);
void flush_sessions(Shard& shard, SessionFlush& flush, std::size_t budget);
void list_esp_sessions(Shard& shard, EspPage& page, std::size_t budget);
void list_ike_sessions(Shard& shard, IkePage& page, std::size_t budget);
void list_gates(Shard& shard, GatePage& page, std::size_t budget);
void flush_alg(Shard& shard, AlgFlush& flush, std::size_t budget);
void list_state(Shard& shard, StatePage& page, std::size_t budget);

/// Before the first packet, after the first generation: what a process before this one knew (warm
/// restart). False: it does not hold any more, or there is no room. After the last record:
/// finish_restoring().
[[nodiscard]] bool restore_state(Shard& shard, const StateRecord& record);
void finish_restoring(Shard& shard);

[[nodiscard]] ShardCapacity capacity_of(const Shard& shard);

/// Frees every packet that the shard still holds (at the end).
void release_packets(Shard& shard);

}  // namespace lsn::datapath
