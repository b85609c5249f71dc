#include "lsn/datapath/pipeline.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "lsn/datapath/ipsec_alg/foresight.hpp"
#include "lsn/datapath/ipsec_alg/stages.hpp"
#include "lsn/datapath/l3/icmp_send.hpp"
#include "lsn/datapath/lsn44/foresight.hpp"
#include "lsn/datapath/lsn44/lifecycle.hpp"
#include "lsn/datapath/lsn44/stages.hpp"
#include "lsn/datapath/lsn44/translate.hpp"
#include "lsn/datapath/path.hpp"
#include "lsn/wire/esp.hpp"
#include "lsn/wire/icmp.hpp"
#include "lsn/wire/tcp.hpp"
#include "lsn/wire/udp.hpp"

namespace lsn::datapath {

using lsn44::SessionId;

namespace {

/// An IPv4 header and the one behind it lie in the first segment of a buffer, whatever the options.
constexpr std::uint32_t kHeadersSize = 60 + sizeof(wire::TcpHeader);

/// How far the burst's headers are fetched ahead of the packet that is being read.
constexpr std::size_t kPrefetchAhead = 4;

void arp_received(Shard& shard, InterfaceId interface, rte_mbuf* mbuf,
                  std::span<const std::uint8_t> bytes, Neighbours::Answer answer) {
  const wire::ArpHeader* arp = wire::ArpHeader::parse(bytes);
  if (arp == nullptr) {
    shard.drop(mbuf, DropReason::kArpMalformed);
    return;
  }
  const Verdict verdict = shard.neighbours.arp_received(shard, interface, *arp, answer);
  if (verdict.is_drop()) {
    shard.drop(mbuf, verdict.reason());
    return;
  }
  // What one shard learns all must know: an answer comes to one queue only.
  if (answer == Neighbours::Answer::kYes && shard.shards > 1 &&
      shard.neighbours.concerns_all(shard, interface, *arp)) {
    for (unsigned other = 0; other < shard.shards; ++other) {
      if (other == shard.id) continue;
      rte_mbuf* copy = rte_pktmbuf_copy(mbuf, shard.buffers, 0, UINT32_MAX);
      if (copy == nullptr) {
        shard.counters.drop(DropReason::kNoBuffer);
        continue;
      }
      shard.hand_over(copy, static_cast<ShardId>(other), {interface, HandoffKind::kArp, 0});
    }
  }
  shard.counters.consumed.add();
  rte_pktmbuf_free(mbuf);
}

DropReason reason_of(wire::Ipv4Error error) {
  switch (error) {
    case wire::Ipv4Error::kChecksum: return DropReason::kIpChecksum;
    case wire::Ipv4Error::kTruncated: return DropReason::kIpTruncated;
    default: return DropReason::kIpMalformed;
  }
}

// The three of them are inlined into the loop over a burst, whatever the compiler thinks of their
// size: that saves a tenth of the instructions of a packet that has a session.

enum class Datagram : std::uint8_t { kWhole, kFirstFragment };

/// `watched_sequence`: inbound ESP with a lower one, or the same, begins anew.
template <Datagram datagram>
[[gnu::always_inline]] inline Verdict read_l4(Packet& packet, std::uint32_t watched_sequence) {
  constexpr bool kWhole = datagram == Datagram::kWhole;
  const bool inside = packet.side == Side::kInside;
  // What of the payload lies in the first segment: headers do.
  const auto* end =
      rte_pktmbuf_mtod(packet.mbuf, const std::uint8_t*) + packet.mbuf->data_len;
  const auto here = static_cast<std::size_t>(end - packet.l4);
  const std::span<std::uint8_t> payload{packet.l4, std::min<std::size_t>(packet.l4_size, here)};
  wire::Be16 source{}, destination{};
  switch (packet.ip->protocol) {
    case wire::kProtocolUdp: {
      // A datagram's length is held against the packet's, not the segment's.
      const wire::UdpHeader* udp = wire::UdpHeader::parse(payload, true);
      if (udp == nullptr || (kWhole && udp->length.host() > packet.l4_size))
        return Verdict::drop(DropReason::kL4Malformed);
      packet.protocol = Protocol::kUdp;
      source = udp->source_port;
      destination = udp->destination_port;
      break;
    }
    case wire::kProtocolTcp: {
      const wire::TcpHeader* tcp = wire::TcpHeader::parse(payload);
      if (tcp == nullptr) return Verdict::drop(DropReason::kL4Malformed);
      packet.protocol = Protocol::kTcp;
      packet.tcp_flags = tcp->flags;
      source = tcp->source_port;
      destination = tcp->destination_port;
      break;
    }
    case wire::kProtocolIcmp: {
      const wire::IcmpHeader* icmp = wire::IcmpHeader::parse(payload);
      if (icmp == nullptr) return Verdict::drop(DropReason::kL4Malformed);
      packet.protocol = Protocol::kIcmp;
      if (wire::is_icmp_error(icmp->type)) {
        // An error is never fragmented on purpose (RFC 1812 section 4.3.2.3).
        if (!kWhole) return Verdict::drop(DropReason::kIcmpErrorMalformed);
        packet.kind = PacketKind::kIcmpError;
        return Verdict::next();
      }
      if (!wire::is_icmp_request(icmp->type) && !wire::is_icmp_reply(icmp->type))
        return Verdict::drop(DropReason::kIcmpTypeUntranslated);
      // The identifier stands on our side, whoever asks (RFC 5508 section 3.1).
      (inside ? source : destination) = icmp->identifier;
      break;
    }
    case wire::kProtocolEsp: {
      const wire::EspHeader* esp = wire::EspHeader::parse(payload);
      if (esp == nullptr) return Verdict::drop(DropReason::kL4Malformed);
      packet.protocol = Protocol::kEsp;
      if (kWhole && !inside && esp->sequence.host() <= watched_sequence) [[unlikely]]
        packet.tcp_flags = kBeginsAnew;
      // The SPI takes the place of both ports, the same halves in either direction.
      source = wire::Be16::raw(static_cast<std::uint16_t>(esp->spi.raw()));
      destination = wire::Be16::raw(static_cast<std::uint16_t>(esp->spi.raw() >> 16));
      if (!inside) std::swap(source, destination);
      break;
    }
    case wire::kProtocolGre:
      return Verdict::drop(DropReason::kProtocolGre);
    case wire::kProtocolAh:
      return Verdict::drop(DropReason::kProtocolAh);
    case wire::kProtocolSctp:
      return Verdict::drop(DropReason::kProtocolSctp);
    case wire::kProtocolIpv6:
      return Verdict::drop(DropReason::kProtocolIpv6);
    default:
      return Verdict::drop(DropReason::kProtocolOther);
  }
  packet.key = state::FlowKey::make(packet.key.a, packet.key.b,
                                    (inside ? source : destination).raw(),
                                    (inside ? destination : source).raw(),
                                    static_cast<unsigned>(flow_kind(packet.protocol)));
  if (kWhole) packet.kind = PacketKind::kFlow;
  return Verdict::next();
}

[[gnu::always_inline]] inline Verdict read_ip(Shard& shard, Packet& packet) {
  rte_mbuf* mbuf = packet.mbuf;
  auto* bytes = reinterpret_cast<std::uint8_t*>(packet.ip);
  const auto link_size =
      static_cast<std::uint32_t>(bytes - rte_pktmbuf_mtod(mbuf, std::uint8_t*));
  if (mbuf->nb_segs > 1 && mbuf->data_len < link_size + kHeadersSize) [[unlikely]]
    return Verdict::drop(DropReason::kIpMalformed);
  // The NIC may have verified the header's checksum.
  const std::uint64_t checked = mbuf->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
  if (checked == RTE_MBUF_F_RX_IP_CKSUM_BAD) [[unlikely]]
    return Verdict::drop(DropReason::kIpChecksum);
  const auto ip = wire::Ipv4Header::parse(
      std::span<std::uint8_t>{bytes, mbuf->pkt_len - link_size},
      checked == RTE_MBUF_F_RX_IP_CKSUM_GOOD ? wire::HeaderChecksum::kTrust
                                             : wire::HeaderChecksum::kVerify);
  if (!ip) [[unlikely]]
    return Verdict::drop(reason_of(ip.error()));
  // RFC 7126 sections 4.3.5 and 4.4.5.
  if (packet.ip->has_options() && packet.ip->has_source_route()) [[unlikely]]
    return Verdict::drop(DropReason::kIpSourceRoute);
  packet.size = static_cast<std::uint16_t>(packet.ip->total_size());
  packet.l4 = packet.ip->payload();
  packet.l4_size = static_cast<std::uint32_t>(packet.ip->payload_size());
  const bool inside = packet.side == Side::kInside;
  packet.key.a = (inside ? packet.ip->source : packet.ip->destination).raw();
  packet.key.b = (inside ? packet.ip->destination : packet.ip->source).raw();

  if (packet.ip->is_fragment()) [[unlikely]] {
    packet.kind = PacketKind::kFragment;
    packet.has_l4 = packet.ip->fragment_offset() == 0;
    return Verdict::next();
  }
  const Verdict verdict = read_l4<Datagram::kWhole>(packet, shard.alg.watched_sequence);
  if (!verdict.is_next()) [[unlikely]] {
    if (verdict == Verdict::drop(DropReason::kProtocolAh)) ipsec_alg::ah_refused(shard, packet);
    return verdict;
  }
  packet.hash = shard.lsn44.outbound.hash(packet.key);  // an ICMP error's is not asked for
  return verdict;
}

[[gnu::always_inline]] inline Verdict read_frame(Shard& shard, std::uint16_t device, rte_mbuf* mbuf,
                                          Packet& packet) {
  packet.mbuf = mbuf;
  if (mbuf->data_len < sizeof(wire::EthernetHeader)) [[unlikely]]
    return Verdict::drop(DropReason::kFrameMalformed);
  auto* bytes = rte_pktmbuf_mtod(mbuf, std::uint8_t*);
  const auto* ethernet = reinterpret_cast<const wire::EthernetHeader*>(bytes);
  std::uint32_t link_size = sizeof(wire::EthernetHeader);
  wire::Be16 type = ethernet->type;
  // A tag in the frame, or one that the device has taken off already.
  std::uint16_t vlan = (mbuf->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0
                           ? static_cast<std::uint16_t>(mbuf->vlan_tci & 0x0FFF)
                           : std::uint16_t{0};
  if (type == wire::Be16::of(wire::kEtherTypeVlan)) {
    if (mbuf->data_len < link_size + sizeof(wire::VlanTag))
      return Verdict::drop(DropReason::kFrameMalformed);
    const auto* tag = reinterpret_cast<const wire::VlanTag*>(bytes + link_size);
    link_size += static_cast<std::uint32_t>(sizeof(wire::VlanTag));
    vlan = tag->id();
    type = tag->type;
  }
  const InterfaceId interface = shard.ingress[device][vlan];
  if (interface == kNoInterface) [[unlikely]]
    return Verdict::drop(DropReason::kVlanUnknown);
  const InterfaceLink& link = shard.links[interface];
  packet.interface = interface;
  packet.side = link.side;

  BurstTotals::Sum& received = shard.totals.received[interface];
  if (received.packets == 0) shard.totals.received_on[shard.totals.received_on_count++] = interface;
  ++received.packets;
  received.bytes += mbuf->pkt_len - link_size;

  const bool to_us = wire::is_same(ethernet->destination, link.mac);
  if (type == wire::Be16::of(wire::kEtherTypeIpv4)) [[likely]] {
    if (!to_us) [[unlikely]]
      return Verdict::drop((ethernet->destination[0] & 1) != 0
                               ? DropReason::kIpDestinationInvalid  // broadcast or multicast
                               : DropReason::kMacNotOurs);
    packet.ip = reinterpret_cast<wire::Ipv4Header*>(bytes + link_size);
    return Verdict::next();
  }
  if (type == wire::Be16::of(wire::kEtherTypeArp)) {
    if (!to_us && ethernet->destination != wire::kBroadcastMac)
      return Verdict::drop(DropReason::kMacNotOurs);
    arp_received(shard, interface, mbuf, {bytes + link_size, mbuf->data_len - link_size},
                 Neighbours::Answer::kYes);
    return Verdict::consumed();
  }
  return Verdict::drop(type == wire::Be16::of(wire::kEtherTypeIpv6)
                           ? DropReason::kEtherTypeIpv6
                           : DropReason::kEtherTypeOther);
}

}  // namespace

Verdict parse_frame(Shard& shard, std::uint16_t device, rte_mbuf* mbuf, Packet& packet) {
  return read_frame(shard, device, mbuf, packet);
}

Verdict parse_ip(Shard& shard, Packet& packet) {
  return read_ip(shard, packet);
}

Verdict parse_l4(Packet& packet) {
  return packet.kind == PacketKind::kFragment ? read_l4<Datagram::kFirstFragment>(packet, 0)
                                              : read_l4<Datagram::kWhole>(packet, 0);
}

namespace {

/// A fragment whose ports are known: by its flow, like any packet.
Verdict forward_fragment(Shard& shard, Packet& packet, const FragmentPorts& ports) {
  packet.key = state::FlowKey::make(packet.key.a, packet.key.b, ports.c, ports.d,
                                    static_cast<unsigned>(flow_kind(packet.protocol)));
  packet.hash = shard.lsn44.outbound.hash(packet.key);
  packet.identification = ports.identification;
  return packet.side == Side::kInside ? lsn44::outbound(shard, packet)
                                      : lsn44::inbound(shard, packet);
}

/// The fragments that waited for `first`: they came as frames and are read again.
void forward_waiting(Shard& shard, const Packet& first, const FragmentPorts& ports) {
  while (rte_mbuf* mbuf = shard.reassembly.take_waiting(shard, first)) {
    Packet packet;
    packet.mbuf = mbuf;
    const PacketOrigin origin = origin_of(mbuf);
    packet.interface = origin.interface;
    packet.asked = origin.asked;
    packet.side = first.side;
    packet.hairpin = first.hairpin;
    packet.protocol = first.protocol;
    packet.ip = ip_of_frame(mbuf);
    // It has passed parse_ip() when it came.
    packet.size = static_cast<std::uint16_t>(packet.ip->total_size());
    packet.l4 = packet.ip->payload();
    packet.l4_size = static_cast<std::uint32_t>(packet.ip->payload_size());
    packet.kind = PacketKind::kFragment;
    packet.has_l4 = false;
    packet.key.a = first.key.a;
    packet.key.b = first.key.b;
    settle(shard, packet, forward_fragment(shard, packet, ports));
  }
}

/// Fragments go to the owner first, whose table of datagrams they then meet in.
Verdict fragment(Shard& shard, Packet& packet) {
  const bool inside = packet.side == Side::kInside;
  if (is_own_address(*shard.generation, packet.ip->destination)) {
    // Those for us meet on the first shard, wherever they came in.
    if (shard.id != 0) return Verdict::handoff(0);
    return deliver_locally(shard, packet);
  }
  Verdict verdict = inside ? lsn44::check_outbound_addresses(shard, packet)
                           : lsn44::check_inbound_addresses(shard, packet);
  if (!verdict.is_next()) return verdict;
  std::uint16_t group = kNoId;
  verdict = inside ? lsn44::steer_outbound(shard, packet, packet.ip->source, group)
                   : lsn44::steer_inbound(shard, packet.ip->destination);
  if (!verdict.is_next()) return verdict;
  shard.counters.fragments_received.add();

  FragmentPorts ports;
  if (packet.has_l4) {
    if (verdict = parse_l4(packet); !verdict.is_next()) return verdict;
    if (!inside && ipsec_alg::is_for_port_keepers(shard, packet))
      (void)ipsec_alg::demultiplex(shard, packet);  // only its first fragment says whose it is
    ports = {packet.key.c, packet.key.d};
  } else {
    switch (packet.ip->protocol) {
      case wire::kProtocolTcp: packet.protocol = Protocol::kTcp; break;
      case wire::kProtocolUdp: packet.protocol = Protocol::kUdp; break;
      case wire::kProtocolIcmp: packet.protocol = Protocol::kIcmp; break;
      case wire::kProtocolEsp: packet.protocol = Protocol::kEsp; break;
      default: return parse_l4(packet);  // says which protocol we do not translate
    }
  }
  verdict = shard.reassembly.accept(shard, packet, ports);
  if (!verdict.is_next()) return verdict;
  if (!packet.has_l4) return forward_fragment(shard, packet, ports);
  const Packet first = packet;  // forwarding changes its headers; the datagram's name stays here
  const wire::Ipv4Header header = *packet.ip;
  verdict = forward_fragment(shard, packet, ports);
  Packet name = first;
  wire::Ipv4Header name_header = header;
  name.ip = &name_header;
  if (verdict.is_drop()) {
    settle(shard, packet, verdict);
    forward_waiting(shard, name, ports);  // each is judged like the first
    return Verdict::consumed();
  }
  ports.identification = packet.identification;
  shard.reassembly.passed(shard, name, ports.identification);
  forward_waiting(shard, name, ports);
  return verdict;
}

}  // namespace

Verdict dispatch(Shard& shard, Packet& packet) {
  const bool inside = packet.side == Side::kInside;
  switch (packet.kind) {
    case PacketKind::kFlow:
      return inside ? lsn44::outbound(shard, packet) : lsn44::inbound(shard, packet);
    case PacketKind::kIcmpError:
      return inside ? lsn44::icmp_error_outbound(shard, packet)
                    : lsn44::icmp_error_inbound(shard, packet);
    case PacketKind::kFragment:
      return fragment(shard, packet);
    case PacketKind::kNone:
      break;
  }
  return Verdict::drop(DropReason::kProtocolOther);
}

void settle(Shard& shard, Packet& packet, Verdict verdict) {
  switch (verdict.kind()) {
    case Verdict::Kind::kNext:
    case Verdict::Kind::kConsumed:
      return;
    case Verdict::Kind::kHandoff:
      shard.hand_over(packet.mbuf, verdict.shard(),
                      {packet.interface,
                       packet.hairpin ? HandoffKind::kHairpin : HandoffKind::kSteer,
                       packet.asked});
      return;
    case Verdict::Kind::kDrop:
      shard.drop(packet.mbuf, verdict.reason());
      return;
  }
}

namespace {

/// The packets of one burst that may have a session, in one direction.
struct Lane {
  std::array<std::uint8_t, kBurst> packet;  ///< index into the burst
  std::array<state::FlowKey, kBurst> keys;
  std::array<std::uint32_t, kBurst> hashes;
  unsigned count = 0;

  void add(unsigned index, const Packet& p) {
    packet[count] = static_cast<std::uint8_t>(index);
    keys[count] = p.key;
    hashes[count] = p.hash;
    ++count;
  }
};

struct Burst {
  std::array<Packet, kBurst> packets;
  Lane outbound, inbound;
  std::array<std::uint8_t, kBurst> slow;
  unsigned slow_count = 0;
};

/// A packet that has been parsed: into its lane, or to the slow path. Inlined, so that its key goes on
/// in registers: a load of what was stored a moment ago in two halves waits for them.
[[gnu::always_inline]] inline void sort_in(Burst& burst, unsigned index) {
  const Packet& packet = burst.packets[index];
  // TTL 1 ends here, unless the packet is for us: the slow path knows. A hairpinned packet has paid
  // for its hop already.
  if (packet.kind != PacketKind::kFlow || (packet.ip->ttl <= 1 && !packet.hairpin)) [[unlikely]] {
    burst.slow[burst.slow_count++] = static_cast<std::uint8_t>(index);
    return;
  }
  if (packet.side == Side::kInside) {
    burst.outbound.add(index, packet);
  } else {
    burst.inbound.add(index, packet);
  }
}

/// All in a row, not each as soon as its packet is read: a fetch whose address is not in the TLB
/// keeps what follows it from retiring, so only those close to one another overlap (a million
/// sessions cost 100 clocks per packet instead of 150 to 230, 64 k 72 instead of 80).
void fetch_buckets(const state::FlowTable& table, const Lane& lane) {
  for (unsigned i = 0; i < lane.count; ++i) table.prefetch(lane.hashes[i]);
}

/// Looks up a lane's sessions together and forwards those that have one; the others are slow.
template <Direction direction>
void run_lane(Shard& shard, Burst& burst, const Lane& lane) {
  if (lane.count == 0) return;
  lsn44::Tables& tables = shard.lsn44;
  const state::FlowTable& table =
      direction == Direction::kOutbound ? tables.outbound : tables.inbound;
  std::array<SessionId, kBurst> sessions;
  const std::uint32_t ended = tables.ended;
  table.find_bulk(lane.keys.data(), lane.hashes.data(), lane.count, sessions.data());
  for (unsigned i = 0; i < lane.count; ++i)
    if (sessions[i] != state::kNone) [[likely]] tables.sessions.prefetch(sessions[i]);
  for (unsigned i = 0; i < lane.count; ++i) {
    Packet& packet = burst.packets[lane.packet[i]];
    // A packet in front of it may have ended a session (a reload's lazy check) and another may have
    // got its index: what was found is then worth nothing, the slow path asks again.
    if (sessions[i] == state::kNone || tables.ended != ended) [[unlikely]] {
      burst.slow[burst.slow_count++] = lane.packet[i];
      continue;
    }
    const Verdict verdict = lsn44::forward<direction>(shard, packet, sessions[i]);
    if (!verdict.is_next()) [[unlikely]] settle(shard, packet, verdict);
  }
}

/// Slow ones that are another shard's go there at once; the others are left.
void pass_on(Shard& shard, Burst& burst) {
  if (shard.shards == 1) return;
  unsigned left = 0;
  for (unsigned i = 0; i < burst.slow_count; ++i) {
    Packet& packet = burst.packets[burst.slow[i]];
    const Verdict verdict =
        packet.kind == PacketKind::kFlow ? lsn44::pass_on(shard, packet) : Verdict::next();
    if (verdict.is_next())
      burst.slow[left++] = burst.slow[i];
    else
      settle(shard, packet, verdict);
  }
  burst.slow_count = left;
}

/// What the slow ones will touch, or those of them that are going to be served.
void foresee(Shard& shard, const Burst& burst) {
  const unsigned count = shard.overload.admissible(burst.slow_count);
  if (count < 2) return;
  std::array<const Packet*, kBurst> slow;
  for (unsigned i = 0; i < count; ++i) slow[i] = &burst.packets[burst.slow[i]];
  lsn44::foresee(shard, {slow.data(), count});
  ipsec_alg::foresee(shard, {slow.data(), count});
}

/// The slow ones of an overloaded worker: those that overload control has admitted are charged what
/// they take.
void run_slow_by_the_clock(Shard& shard, Burst& burst) {
  Overload& overload = shard.overload;
  const std::uint32_t first = overload.admitted();
  std::uint64_t last = shard.clocks(), took = 0;
  const auto lap = [&] {
    const std::uint64_t before = std::exchange(last, shard.clocks());
    return last - before;
  };
  foresee(shard, burst);
  took += lap();
  for (unsigned i = 0; i < burst.slow_count; ++i) {
    Packet& packet = burst.packets[burst.slow[i]];
    const std::uint32_t admitted = overload.admitted();
    settle(shard, packet, dispatch(shard, packet));
    const std::uint64_t clocks = lap();
    if (overload.admitted() != admitted) took += clocks;
  }
  overload.took(overload.admitted() - first, took);
}

void run(Shard& shard, Burst& burst) {
  const unsigned slow_before = burst.slow_count;
  fetch_buckets(shard.lsn44.outbound, burst.outbound);
  fetch_buckets(shard.lsn44.inbound, burst.inbound);
  run_lane<Direction::kOutbound>(shard, burst, burst.outbound);
  run_lane<Direction::kInbound>(shard, burst, burst.inbound);
  shard.overload.forwarded(burst.outbound.count + burst.inbound.count -
                           (burst.slow_count - slow_before));
  pass_on(shard, burst);
  if (shard.overload.is_on() && shard.clocks != nullptr) [[unlikely]] {
    run_slow_by_the_clock(shard, burst);
    return;
  }
  foresee(shard, burst);
  for (unsigned i = 0; i < burst.slow_count; ++i) {
    Packet& packet = burst.packets[burst.slow[i]];
    settle(shard, packet, dispatch(shard, packet));
  }
}

void add_totals(Shard& shard) {
  BurstTotals& totals = shard.totals;
  for (std::size_t p = 0; p < kProtocols; ++p) {
    for (std::size_t d = 0; d < kDirections; ++d) {
      BurstTotals::Sum& sum = totals.translated[p][d];
      if (sum.packets == 0) continue;
      shard.counters.protocols[p].translated[d].add(sum.packets, sum.bytes);
      sum = {};
    }
  }
  for (; totals.received_on_count != 0; --totals.received_on_count) {
    const InterfaceId i = totals.received_on[totals.received_on_count - 1];
    shard.counters.interfaces[i].rx.add(totals.received[i].packets, totals.received[i].bytes);
    totals.received[i] = {};
  }
}

/// A packet that another shard has handed over. Its link header was checked there.
Verdict parse_handed_over(Shard& shard, rte_mbuf* mbuf, Packet& packet) {
  const PacketOrigin origin = origin_of(mbuf);
  packet.mbuf = mbuf;
  packet.interface = origin.interface;
  packet.asked = origin.asked;
  auto* bytes = rte_pktmbuf_mtod(mbuf, std::uint8_t*);
  const auto* ethernet = reinterpret_cast<const wire::EthernetHeader*>(bytes);
  const bool tagged = ethernet->type == wire::Be16::of(wire::kEtherTypeVlan);
  const std::size_t link_size =
      sizeof(wire::EthernetHeader) + (tagged ? sizeof(wire::VlanTag) : 0);
  if (origin.kind == HandoffKind::kArp) {
    arp_received(shard, origin.interface, mbuf,
                 {bytes + link_size, mbuf->data_len - link_size}, Neighbours::Answer::kNo);
    return Verdict::consumed();
  }
  packet.ip = reinterpret_cast<wire::Ipv4Header*>(bytes + link_size);
  packet.hairpin = origin.kind == HandoffKind::kHairpin;
  packet.side = packet.hairpin ? Side::kOutside : shard.links[origin.interface].side;
  return Verdict::next();
}

template <class ParseLink>
void process(Shard& shard, std::span<rte_mbuf* const> mbufs, ParseLink&& parse_link) {
  Burst burst;
  for (std::size_t i = 0; i < std::min(kPrefetchAhead, mbufs.size()); ++i)
    rte_prefetch0(rte_pktmbuf_mtod(mbufs[i], void*));
  for (unsigned i = 0; i < mbufs.size(); ++i) {
    if (i + kPrefetchAhead < mbufs.size())
      rte_prefetch0(rte_pktmbuf_mtod(mbufs[i + kPrefetchAhead], void*));
    Packet& packet = burst.packets[i];
    Verdict verdict = parse_link(mbufs[i], packet);
    if (verdict.is_next()) [[likely]] verdict = read_ip(shard, packet);
    if (verdict.is_next()) [[likely]] {
      sort_in(burst, i);
    } else {
      settle(shard, packet, verdict);
    }
  }
  run(shard, burst);
  ipsec_alg::after_burst(shard);
  add_totals(shard);
}

/// Does what is due by now, as far as the budget goes. Whether that was all.
bool keep_up(Shard& shard, std::size_t budget) {
  lsn44::expire_sessions(shard, budget);
  lsn44::expire_mappings(shard, budget);
  ipsec_alg::housekeep(shard, budget);
  const bool ports_are_free = lsn44::free_waiting_ports(shard, budget);
  shard.reassembly.advance(shard, budget);
  shard.neighbours.advance(shard, budget);
  const state::Ticks now = shard.now;
  const std::uint32_t lag =
      std::max({shard.lsn44.session_wheel.lag(now), shard.lsn44.mapping_wheel.lag(now),
                shard.alg.gate_wheel.lag(now), shard.alg.ike_wheel.lag(now),
                shard.alg.waiter_wheel.lag(now), shard.reassembly.lag(now),
                shard.neighbours.lag(now)});
  shard.counters.timer_lag.set(lag);
  return lag == 0 && ports_are_free;
}

}  // namespace

void process_received(Shard& shard, std::uint16_t device, std::span<rte_mbuf* const> packets) {
  process(shard, packets, [&](rte_mbuf* mbuf, Packet& packet) {
    return read_frame(shard, device, mbuf, packet);
  });
}

void process_handoff(Shard& shard, std::span<rte_mbuf* const> packets) {
  shard.counters.handoff_received.add(packets.size());
  // Another core wrote them last: their lines come from its cache, all at a time.
  for (rte_mbuf* mbuf : packets) {
    rte_prefetch0(mbuf);
    rte_prefetch0(rte_mbuf_to_priv(mbuf));
  }
  for (rte_mbuf* mbuf : packets) rte_prefetch0(rte_pktmbuf_mtod(mbuf, void*));
  process(shard, packets, [&](rte_mbuf* mbuf, Packet& packet) {
    return parse_handed_over(shard, mbuf, packet);
  });
}

void housekeep(Shard& shard, std::size_t budget) {
  // Nothing more becomes due until the next tick: this is all that most polls do.
  if (shard.kept_up_to != shard.now) {
    if (keep_up(shard, budget)) shard.kept_up_to = shard.now;
  } else if (shard.neighbours.has_more(shard)) {
    shard.neighbours.advance(shard, budget);
  }
  ipsec_alg::after_burst(shard);
}

ShardCapacity capacity_of(const Shard& shard) {
  return {shard.lsn44.sessions.capacity(),
          shard.lsn44.mappings.capacity(),
          shard.lsn44.subscribers.capacity(),
          shard.alg.ike_sessions.capacity(),
          shard.alg.esp_sessions.capacity(),
          shard.alg.gates.capacity(),
          shard.alg.max_held_bytes};
}

void release_packets(Shard& shard) {
  shard.neighbours.clear(shard);
  shard.reassembly.clear(shard);
  for (TxBuffer& buffer : shard.tx) {
    rte_pktmbuf_free_bulk(buffer.packets.data(), buffer.count);
    buffer.count = 0;
  }
  for (HandoffBuffer& buffer : shard.handoff) {
    rte_pktmbuf_free_bulk(buffer.packets.data(), buffer.count);
    buffer.count = 0;
  }
}

}  // namespace lsn::datapath
