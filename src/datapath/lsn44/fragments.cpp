#include "lsn/datapath/lsn44/fragments.hpp"

#include "lsn/datapath/l3/icmp_send.hpp"
#include "lsn/datapath/l3/kernel_path.hpp"
#include "lsn/datapath/lsn44/alg_hooks.hpp"
#include "lsn/datapath/lsn44/by_address.hpp"
#include "lsn/datapath/lsn44/bypass.hpp"
#include "lsn/datapath/lsn44/inbound.hpp"
#include "lsn/datapath/lsn44/lsn44.hpp"
#include "lsn/datapath/lsn44/outbound.hpp"
#include "lsn/datapath/lsn44/static_mapping.hpp"
#include "lsn/datapath/lsn44/steer.hpp"
#include "lsn/datapath/parse.hpp"

namespace lsn::datapath::lsn44 {
namespace {

/// A fragment whose ports are known: by its flow, like any packet.
Verdict forward_fragment(Lsn44& shard, Packet& packet, const FragmentPorts& ports) {
  packet.key = state::FlowKey::make(packet.key.local, packet.key.remote, ports.local, ports.remote,
                                    static_cast<unsigned>(flow_kind(packet.protocol)));
  packet.hash = shard.lsn44.outbound.hash(packet.key);
  packet.identification = ports.identification;
  return packet.side == Side::kInside ? outbound(shard, packet) : inbound(shard, packet);
}

/// The fragments that waited for `first`: they came as frames and are read again.
void forward_waiting(Lsn44& shard, const Packet& first, const FragmentPorts& ports) {
  while (rte_mbuf* mbuf = shard.reassembly.take_waiting(shard, first)) {
    Packet packet;
    packet.mbuf = mbuf;
    locate(packet, ip_of_frame(mbuf));  // it has passed parse_ip() when it came
    const PacketOrigin origin = origin_of(mbuf);
    packet.interface = origin.interface;
    packet.handoffs = origin.handoffs;
    packet.side = first.side;
    packet.hairpin = first.hairpin;
    packet.protocol = first.protocol;
    packet.kind = PacketKind::kFragment;
    packet.has_l4 = false;
    packet.key.local = first.key.local;
    packet.key.remote = first.key.remote;
    apply(shard, packet, forward_fragment(shard, packet, ports));
  }
}

/// The shard where a datagram's fragments meet: its owner's. One that is routed without translation
/// has none: any will do if it can go on at once, else its client's.
Verdict find_place(Lsn44& shard, Packet& packet) {
  const Generation& generation = *shard.generation;
  const Coverage coverage = coverage_of(generation, packet, KnownPorts::kNo);
  if (coverage == Coverage::kNo || (coverage == Coverage::kByPort && packet.side == Side::kInside))
    return find_owner(shard, packet);
  const Verdict checked = packet.side == Side::kInside
                              ? check_outbound_addresses(generation, packet)
                              : check_inbound_addresses(generation, packet);
  if (!checked.is_next() || coverage == Coverage::kYes || shard.shards == 1) return checked;
  const ShardId owner =
      generation.maps.front()->owner_of({wire::Ipv4Address{packet.ip->destination}});
  return owner == kNoShard || owner == shard.id ? Verdict::next() : Verdict::handoff(owner);
}

/// What an active one-to-one static mapping makes of an address of a packet.
std::optional<InsideAddress> one_to_one_address(Lsn44& shard, const Packet& packet) {
  const auto match =
      packet.side == Side::kInside
          ? match_inside(shard, in_domain_of(*shard.generation, packet, packet.ip->source),
                         packet.ip->destination)
          : match_nat(shard, packet.ip->destination, packet.ip->source);
  return match && match->is_active ? std::optional(in_domain(match->td, match->endpoint.address))
                                   : std::nullopt;
}

}  // namespace

Verdict fragment(Lsn44& shard, Packet& packet) {
  const bool inside = packet.side == Side::kInside;
  if (is_own_address(*shard.generation, packet, packet.ip->destination)) {
    if (is_for_kernel(shard, packet)) return deliver_checked(shard, packet);
    // Those for the NAT itself meet on the first shard, wherever they came in.
    if (shard.id != 0) return Verdict::handoff(0);
    return deliver_locally(shard, packet);
  }
  if (!protocol_of(*packet.ip)) {
    shard.counters.fragments_received.add();
    return other_protocol(shard, packet);
  }
  Verdict verdict = find_place(shard, packet);
  if (!verdict.is_next()) return verdict;
  shard.counters.fragments_received.add();
  if (coverage_of(*shard.generation, packet, KnownPorts::kNo) == Coverage::kYes)
    return route_untranslated(shard, packet);
  if (packet.ip->protocol == wire::kProtocolEsp)
    if (const auto address = one_to_one_address(shard, packet))
      return !inside && is_forged_neighbour(*shard.generation, address->td, packet)
                 ? Verdict::drop(DropReason::kSpoofedClientSource)
                 : forward_by_address(shard, packet,
                                      inside ? Direction::kOutbound : Direction::kInbound,
                                      *address);

  FragmentPorts ports;
  if (packet.has_l4) {
    if (verdict = parse_l4(packet); !verdict.is_next()) return verdict;
    if (!inside && alg_hooks::is_for_shared_port(shard, packet))
      (void)alg_hooks::demultiplex(shard, packet);  // only its first fragment names its session
    ports = {packet.key.local_port, packet.key.remote_port};
  } else {
    packet.protocol = *protocol_of(*packet.ip);
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
    apply(shard, packet, verdict);
    forward_waiting(shard, name, ports);  // each is judged like the first
    return Verdict::consumed();
  }
  ports.identification = packet.identification;
  shard.reassembly.passed(shard, name, ports.identification);
  forward_waiting(shard, name, ports);
  return verdict;
}

}  // namespace lsn::datapath::lsn44
