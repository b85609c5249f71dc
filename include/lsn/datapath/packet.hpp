// One packet on its way through a shard: the buffer, where its headers are, and the name of its
// flow.
//
// parse.hpp fills it in once; no function behind it computes an offset again. `key` is the packet's
// flow as the session tables know it, seen from the NAT: local are the subscriber's address and
// port if the packet came from inside, and those of the NAT if it came from outside; an ICMP
// query's identifier stands in local_port.
//
// A flow from inside is named with its traffic domain, for which a slot of a flow table has no
// room: the address pair is XORed with the domain's mark (marked()), 64 bits that nobody outside of
// the shard knows; of domain 0 there is none. So two flows of different domains have one name once
// in 2^64, if all the rest is alike, and are told apart even then: what was found by such a name is
// the packet's only if it has its inside address, too, as the marks of any two domains differ in
// the half that belongs to it.
//
// A packet that changes its worker takes along the data that cannot be parsed again: PacketOrigin,
// beside the buffer's receive hash.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>

#include "lsn/datapath/verdict.hpp"
#include "lsn/shared/generation.hpp"
#include "lsn/state/flow_table.hpp"
#include "lsn/wire/endpoint.hpp"
#include "lsn/wire/ethernet.hpp"
#include "lsn/wire/ipv4.hpp"

namespace lsn::datapath {

/// Kinds of FlowKey in the session tables (1..15).
enum class FlowKind : std::uint8_t { kTcp = 1, kUdp = 2, kIcmp = 3, kEsp = 4 };

/// Packets that go through the stages together, at most.
inline constexpr std::size_t kBurst = 32;

[[nodiscard]] constexpr FlowKind flow_kind(Protocol protocol) {
  return static_cast<FlowKind>(static_cast<unsigned>(protocol) + 1);
}

/// Why a packet came through a ring instead of a queue.
enum class HandoffKind : std::uint8_t {
  kSteer,    ///< it belongs to the receiving shard: begin with parse again
  kHairpin,  ///< it was translated outbound and is now inbound for a NAT address of the receiver
  kArp,      ///< a copy for every worker's neighbour table
  kKernel,   ///< it is on its way to the kernel, or from there (l3/kernel_path.hpp)
};

/// Lives in a packet buffer beside its receive hash; valid between workers only. The next worker
/// reads that line of the buffer anyway: in the private area it would be one more from another
/// core's cache.
struct PacketOrigin {
  InterfaceId interface;
  HandoffKind kind;
  std::uint8_t handoffs;  ///< how far the search for its owner has come (lsn44/steer.hpp)
};

[[nodiscard]] inline PacketOrigin& origin_of(rte_mbuf* mbuf) {
  static_assert(sizeof(PacketOrigin) == sizeof mbuf->hash.fdir.hi);
  return *reinterpret_cast<PacketOrigin*>(&mbuf->hash.fdir.hi);
}

/// Private area of packet buffers: the shards that a packet has been to.
inline constexpr std::uint16_t kBufferPrivateSize = 64;

/// The shards that have been asked for its subscriber (lsn44/steer.hpp): undefined while
/// PacketOrigin::handoffs is 0.
[[nodiscard]] inline ShardSet& visited_shards(rte_mbuf* mbuf) {
  return *static_cast<ShardSet*>(rte_mbuf_to_priv(mbuf));
}

/// The IPv4 header of a frame whose link header was read before, tagged or not; an ARP packet's
/// begins there, too.
[[nodiscard]] inline wire::Ipv4Header* ip_of_frame(rte_mbuf* frame) {
  auto* bytes = rte_pktmbuf_mtod(frame, std::uint8_t*);
  const auto* ethernet = reinterpret_cast<const wire::EthernetHeader*>(bytes);
  const bool tagged = ethernet->type == wire::Be16::of(wire::kEtherTypeVlan);
  return reinterpret_cast<wire::Ipv4Header*>(bytes + sizeof(wire::EthernetHeader) +
                                             (tagged ? sizeof(wire::VlanTag) : 0));
}

/// In Packet::l4_flags of inbound ESP while a gate is armed: its sequence number is that of a new
/// SA (design 5.12). Like TCP's RST the bit keeps a packet off the fast path.
inline constexpr std::uint8_t kNewSa = 0x04;

/// The kind of a packet, as parse found it.
enum class PacketKind : std::uint8_t {
  kFlow,       ///< TCP, UDP, ICMP query, ESP: `key` names its flow
  kIcmpError,  ///< named by the packet that it quotes
  kFragment,   ///< `key` is complete only for the first one
  kOther,      ///< of another IP protocol: no flow, translated by its addresses or not at all
  kArp,        ///< for the neighbour table
  kHeard,      ///< IPv4 to a group or to all, or IPv6: the kernel may want it
  kNone,       ///< nothing that is translated
};

struct Packet {
  rte_mbuf* mbuf = nullptr;
  wire::Ipv4Header* ip = nullptr;
  std::uint8_t* l4 = nullptr;  ///< the first byte behind the IP header
  std::uint32_t l4_size = 0;   ///< bytes of the IP payload in this packet
  std::uint32_t hash = 0;      ///< of key
  state::FlowKey key{};
  std::uint16_t size = 0;     ///< of the IP packet
  InterfaceId interface = 0;  ///< where it came in
  Side side = Side::kInside;  ///< of that interface
  Protocol protocol = Protocol::kUdp;
  PacketKind kind = PacketKind::kNone;
  std::uint8_t l4_flags = 0;    ///< TCP: its flags; ESP: kNewSa or 0
  std::uint8_t handoffs = 0;    ///< as in PacketOrigin
  wire::Be16 identification{};  ///< that a fragment's datagram leaves with; 0: not chosen yet
  bool has_l4 = true;           ///< false: a fragment without the first bytes
  bool hairpin = false;         ///< its TTL is counted already, its source is a NAT endpoint
};

/// A flow's name in the session tables, seen from the NAT.
[[nodiscard]] inline state::FlowKey flow_key(Protocol protocol, wire::Be32 local,
                                             wire::Be16 local_port, wire::Be32 remote,
                                             wire::Be16 remote_port) {
  return state::FlowKey::make(local.raw(), remote.raw(), local_port.raw(), remote_port.raw(),
                              static_cast<unsigned>(flow_kind(protocol)));
}
[[nodiscard]] inline state::FlowKey flow_key(Protocol protocol, const wire::Endpoint& local,
                                             const wire::Endpoint& remote) {
  return flow_key(protocol, local.address, local.port, remote.address, remote.port);
}
/// A flow's name as one from inside, of the domain with that mark.
[[nodiscard]] inline state::FlowKey marked(const state::FlowKey& key, std::uint64_t mark) {
  state::FlowKey result = key;
  result.local ^= static_cast<std::uint32_t>(mark);
  result.remote ^= static_cast<std::uint32_t>(mark >> 32);
  return result;
}
/// ... of ESP: the SPI takes the place of both ports, the same halves in either direction.
[[nodiscard]] inline state::FlowKey esp_key(wire::Be32 local, wire::Be32 remote, wire::Be32 spi) {
  return state::FlowKey::make(local.raw(), remote.raw(), static_cast<std::uint16_t>(spi.raw()),
                              static_cast<std::uint16_t>(spi.raw() >> 16),
                              static_cast<unsigned>(FlowKind::kEsp));
}

}  // namespace lsn::datapath
