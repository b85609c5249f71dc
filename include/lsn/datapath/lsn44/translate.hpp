// Translating a packet that has a session: the end of the fast path, shared by both directions.
//
// forward() is it for a packet in its usual state: next hop known, packet fits, nothing about TCP
// that changes the session. Everything else about a packet with a session is forward_slow():
// looking up next hops, MTU, TCP's opening and closing, hairpin.
//
// Rewriting changes an address, a port (or identifier) and the TTL, and the checksums by just these
// differences (RFC 1624). UDP without checksum stays so. Nothing is touched before it is certain
// that the packet goes out: an ICMP error quotes it as its sender knows it.
#pragma once

#include <cstdint>
#include <expected>

#include "lsn/datapath/l3/output.hpp"
#include "lsn/datapath/lsn44/lsn44.hpp"
#include "lsn/datapath/lsn44/session.hpp"
#include "lsn/wire/esp.hpp"
#include "lsn/wire/icmp.hpp"
#include "lsn/wire/tcp.hpp"
#include "lsn/wire/udp.hpp"

namespace lsn::datapath::lsn44 {

/// Whether rewrite() keeps the number that a TCP packet acknowledges: an RST of the other side will
/// be held against it (tcp.hpp). While the connection opens or closes, follow_tcp() does it.
enum class Acknowledgment : std::uint8_t { kKept, kFollowed };

/// Replaces the address in the IPv4 header, and counts the TTL down unless the packet is
/// hairpinned. Returns the change of sums over a pseudo header.
inline wire::ChecksumDelta rewrite_ip(const Packet& packet, wire::Be32& address,
                                      wire::Be32 new_address) {
  wire::Ipv4Header& ip = *packet.ip;
  wire::ChecksumDelta delta;
  delta.replace(address, new_address);
  address = new_address;
  if (!packet.hairpin) {
    // The TTL is the upper byte of its word: one less is 0x0100 less.
    wire::ChecksumDelta hop = delta;
    hop.replace(wire::Be16::of(0x0100), wire::Be16::of(0));
    ip.checksum = hop.apply(ip.checksum);
    --ip.ttl;
  } else {
    ip.checksum = delta.apply(ip.checksum);
  }
  return delta;
}

/// Replaces the local address and port in the L3 and L4 headers, and counts the packet for its
/// session.
///   outbound: source (inside -> NAT); inbound: destination (NAT -> inside)
template <Direction direction, Acknowledgment acknowledgment>
inline void rewrite(const Packet& packet, Session& session) {
  constexpr bool kOut = direction == Direction::kOutbound;
  PacketCount& packets = session.packets[direction];
  const wire::Be16 new_port = kOut ? session.nat_port : session.inside_port;
  wire::ChecksumDelta delta = rewrite_ip(packet, kOut ? packet.ip->source : packet.ip->destination,
                                         kOut ? session.nat_ip : session.inside_ip);
  if (!packet.has_l4) {
    packets.add();
    return;
  }

  switch (packet.protocol) {
    case Protocol::kUdp: {
      auto& udp = *reinterpret_cast<wire::UdpHeader*>(packet.l4);
      wire::Be16& port = kOut ? udp.source_port : udp.destination_port;
      delta.replace(port, new_port);
      port = new_port;
      udp.checksum = delta.apply_udp(udp.checksum);
      break;
    }
    case Protocol::kTcp: {
      auto& tcp = *reinterpret_cast<wire::TcpHeader*>(packet.l4);
      wire::Be16& port = kOut ? tcp.source_port : tcp.destination_port;
      delta.replace(port, new_port);
      port = new_port;
      tcp.checksum = delta.apply(tcp.checksum);
      if (acknowledgment == Acknowledgment::kKept && (tcp.flags & wire::TcpHeader::kAck) != 0) {
        packets.add_acknowledging(tcp.acknowledgment);
        return;
      }
      break;
    }
    case Protocol::kIcmp: {
      // No pseudo header (RFC 792).
      auto& icmp = *reinterpret_cast<wire::IcmpHeader*>(packet.l4);
      wire::ChecksumDelta query;
      query.replace(icmp.identifier, new_port);
      icmp.identifier = new_port;
      icmp.checksum = query.apply(icmp.checksum);
      break;
    }
    case Protocol::kEsp:
      // The ICV covers the SPI; the addresses are outside of it.
      if (!kOut)
        session.set_esp_sequence(reinterpret_cast<const wire::EspHeader*>(packet.l4)->sequence);
      break;
  }
  packets.add();
}

/// Counts a packet's bytes for its session, the packet for the burst, and refreshes the session.
template <Direction direction>
inline void account(Context& shard, Session& session, std::uint16_t size) {
  constexpr auto kD = static_cast<std::size_t>(direction);
  session.bytes[kD] += size;
  // RFC 4787 REQ-6: outbound always, inbound as configured; ESP by either direction.
  if (direction == Direction::kOutbound || shard.inbound_refresh ||
      session.protocol == Protocol::kEsp)
    session.last_seen = shard.now;
  auto& sum = shard.totals.translated[session.protocol][kD];
  ++sum.packets;
  sum.bytes += size;
}

/// Whether a session that was found by a packet's name is the packet's. Two from inside of
/// different traffic domains can have one name, but not with one address (packet.hpp).
template <Direction direction>
[[nodiscard]] inline bool is_of(const Packet& packet, const Session& session) {
  return direction == Direction::kInbound || session.inside_ip == packet.ip->source;
}

/// Whether the ALG is still to see a packet, or has let it go on.
enum class Inspection : std::uint8_t { kAsNeeded, kDone };

/// Every packet in another state than forward()'s usual one. Takes the packet in any case but drop.
template <Direction direction, Inspection inspection = Inspection::kAsNeeded>
[[nodiscard]] Verdict forward_slow(Lsn44& shard, Packet& packet, SessionId id);

/// A packet that the ALG had held and lets go on: by its session, without asking the ALG again.
[[nodiscard]] Verdict forward_released(Lsn44& shard, Packet& packet, Direction direction);

extern template Verdict forward_slow<Direction::kOutbound>(Lsn44&, Packet&, SessionId);
extern template Verdict forward_slow<Direction::kInbound>(Lsn44&, Packet&, SessionId);

/// The next hop of a packet in a direction that goes to that address, as the domain of its inside
/// knows it, by a session or without one. `subscriber`: the inside, whose packets take one way.
[[nodiscard]] std::expected<NeighbourId, DropReason> find_hop(L3& shard,
                                                              const InsideAddress& destination,
                                                              Direction direction,
                                                              wire::Be32 subscriber);
/// A session's next hop in a direction, looked up if it is not known: next, or drop.
[[nodiscard]] Verdict resolve_hop(Lsn44& shard, Session& session, Direction direction);

/// Brings a session up to the shard's epoch: false if the configuration does not allow it any
/// more; it is ended then.
[[nodiscard]] bool revalidate(Lsn44& shard, SessionId id);

/// Translates a packet that is no fragment and sends it on. Takes the packet in any case but drop.
template <Direction direction>
[[nodiscard]] inline Verdict forward(Lsn44& shard, Packet& packet, SessionId id) {
  Session& session = shard.lsn44.sessions[id];
  const NeighbourId hop = session.hop[direction];
  constexpr std::uint8_t kChanges =
      wire::TcpHeader::kSyn | wire::TcpHeader::kFin | wire::TcpHeader::kRst;
  static_assert((kNewSa & kChanges) != 0);
  if (session.epoch != shard.epoch || hop >= kHairpinHop || (packet.l4_flags & kChanges) != 0 ||
      (session.flags & SessionFlags::kOffFastPath) != 0 || !is_of<direction>(packet, session))
      [[unlikely]]
    return forward_slow<direction>(shard, packet, id);
  Neighbour& neighbour = shard.neighbours[hop];
  if (neighbour.state != NeighbourState::kReachable || packet.size > neighbour.mtu) [[unlikely]]
    return forward_slow<direction>(shard, packet, id);
  rewrite<direction, Acknowledgment::kKept>(packet, session);
  account<direction>(shard, session, packet.size);
  send_fast(shard, packet.mbuf, packet.ip, packet.size, neighbour);
  return Verdict::next();
}

/// ... also a fragment, which gets another identification (l3/identification.hpp).
template <Direction direction>
[[nodiscard]] inline Verdict forward_any(Lsn44& shard, Packet& packet, SessionId id) {
  return packet.kind == PacketKind::kFragment ? forward_slow<direction>(shard, packet, id)
                                              : forward<direction>(shard, packet, id);
}

}  // namespace lsn::datapath::lsn44
