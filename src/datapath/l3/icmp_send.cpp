#include "lsn/datapath/l3/icmp_send.hpp"

#include <algorithm>

#include "lsn/datapath/context.hpp"
#include "lsn/datapath/l3/kernel_path.hpp"
#include "lsn/datapath/l3/output.hpp"
#include "lsn/wire/icmp.hpp"
#include "lsn/wire/tcp.hpp"
#include "lsn/wire/udp.hpp"

namespace lsn::datapath {
namespace {

/// RFC 1812 section 4.3.2.3: a whole ICMP error is not larger than this.
constexpr std::size_t kErrorSize = 576;
constexpr std::uint8_t kTtl = 64;
/// RFC 1812 section 4.3.2.5: precedence INTERNETWORK CONTROL.
constexpr std::uint8_t kErrorTos = 0xC0;

/// Whether a packet goes to the broadcast address of a link (or the link's own).
bool is_broadcast(const Generation& generation, const Packet& packet) {
  return generation.link_addresses[domain_of(generation, packet)].find(
             wire::Ipv4Address{packet.ip->destination}) == LinkAddress::kBroadcast;
}

/// RFC 1812 section 4.3.2.7: about which packets no error is sent.
bool may_be_told(const Generation& generation, const Packet& packet) {
  const wire::Ipv4Header& ip = *packet.ip;
  if (ip.fragment_offset() != 0) return false;
  if (!is_host_address(ip.source) || !is_host_address(ip.destination) ||
      is_broadcast(generation, packet))
    return false;
  if (ip.protocol != wire::kProtocolIcmp) return true;
  if (packet.l4_size == 0) return false;
  const std::uint8_t type = *packet.l4;
  return wire::is_icmp_request(type) || wire::is_icmp_reply(type);
}

/// The header of a packet of the NAT's own; without its checksum.
wire::Ipv4Header& write_header(Context& shard, std::uint8_t* bytes, std::size_t size,
                               std::uint8_t protocol, wire::Be32 from, wire::Be32 to) {
  auto& ip = *reinterpret_cast<wire::Ipv4Header*>(bytes);
  ip.version_and_size = 0x45;
  ip.type_of_service = 0;
  ip.total_length = wire::Be16::of(static_cast<std::uint16_t>(size));
  // Never fragmented on the way and never the same as a neighbour's: random.
  ip.identification = wire::Be16::raw(static_cast<std::uint16_t>(shard.random.next()));
  ip.flags_and_offset = wire::Be16::of(0);
  ip.ttl = kTtl;
  ip.protocol = protocol;
  ip.source = from;
  ip.destination = to;
  return ip;
}

/// Whether one more message of that kind may go to a packet's sender.
bool may_send(L3& shard, const Packet& packet, IcmpKind kind) {
  const std::uint32_t rate = IcmpBudget::rate_of(kind, shard.generation->unreachable_rate);
  return shard.icmp_budget.take(kind, in_domain_of(*shard.generation, packet, packet.ip->source),
                                rate, shard.now);
}

struct ErrorText {
  IcmpKind kind;
  std::uint8_t type, code;
  std::uint16_t mtu;
  wire::Be32 from;
};

/// Whether an error may be sent about a packet; counts those that may not.
bool admit_error(L3& shard, const Packet& packet, const ErrorText& text) {
  if (may_be_told(*shard.generation, packet) && may_send(shard, packet, text.kind)) return true;
  shard.counters.icmp_errors_suppressed.add();
  return false;
}

/// An error in a buffer of its own, without a link header; nullptr: no buffer is free.
rte_mbuf* write_error(Context& shard, const Packet& packet, const ErrorText& text) {
  rte_mbuf* mbuf = rte_pktmbuf_alloc(shard.buffers);
  if (mbuf == nullptr) {
    shard.counters.drop(DropReason::kNoBuffer);
    return nullptr;
  }
  constexpr std::size_t kHeaders = sizeof(wire::Ipv4Header) + sizeof(wire::IcmpHeader);
  const auto start = static_cast<std::uint32_t>(reinterpret_cast<const std::uint8_t*>(packet.ip) -
                                                rte_pktmbuf_mtod(packet.mbuf, const std::uint8_t*));
  const std::size_t quoted = std::min<std::size_t>(packet.size, kErrorSize - kHeaders);
  const std::size_t size = kHeaders + quoted;
  auto* bytes =
      reinterpret_cast<std::uint8_t*>(rte_pktmbuf_append(mbuf, static_cast<std::uint16_t>(size)));
  const void* original =
      rte_pktmbuf_read(packet.mbuf, start, static_cast<std::uint32_t>(quoted), bytes + kHeaders);
  if (original != bytes + kHeaders) std::memcpy(bytes + kHeaders, original, quoted);

  auto& icmp = *reinterpret_cast<wire::IcmpHeader*>(bytes + sizeof(wire::Ipv4Header));
  // RFC 1191 section 4: the next hop's MTU stands where a query has its sequence number.
  icmp = {text.type, text.code, wire::Be16::of(0), wire::Be16::of(0), wire::Be16::of(text.mtu)};
  icmp.checksum = wire::checksum(bytes + sizeof(wire::Ipv4Header), size - sizeof(wire::Ipv4Header));

  wire::Ipv4Header& ip =
      write_header(shard, bytes, size, wire::kProtocolIcmp, text.from, packet.ip->source);
  ip.type_of_service = kErrorTos;
  ip.update_checksum();
  shard.counters.icmp_errors_sent.add();
  return mbuf;
}

void send_error(L3& shard, const Packet& packet, const ErrorText& text) {
  if (!admit_error(shard, packet, text)) return;
  auto hop = resolve_answer(shard, packet, packet.ip->source);
  if (!hop) {
    shard.counters.icmp_errors_suppressed.add();
    return;
  }
  if (rte_mbuf* const mbuf = write_error(shard, packet, text))
    send_answer(shard, mbuf, rte_pktmbuf_mtod(mbuf, wire::Ipv4Header*), *hop);
}

/// The text of an error about a packet that cannot be forwarded.
ErrorText text_about(const Context& shard, const Packet& packet, std::uint8_t type,
                     std::uint8_t code, std::uint16_t mtu) {
  const IcmpKind kind = type == wire::kIcmpTimeExceeded ? IcmpKind::kTimeExceeded
                        : mtu != 0                      ? IcmpKind::kFragmentationNeeded
                                                        : IcmpKind::kUnreachable;
  const Interface& on = shard.generation->interfaces[packet.interface];
  return {kind, type, code, mtu, on.address.address.be()};
}

}  // namespace

void send_icmp_error(L3& shard, const Packet& packet, std::uint8_t type, std::uint8_t code,
                     std::uint16_t mtu) {
  send_error(shard, packet, text_about(shard, packet, type, code, mtu));
}

rte_mbuf* make_icmp_error(L3& shard, const Packet& packet, std::uint8_t type, std::uint8_t code,
                          std::uint16_t mtu) {
  const ErrorText text = text_about(shard, packet, type, code, mtu);
  rte_mbuf* const mbuf =
      admit_error(shard, packet, text) ? write_error(shard, packet, text) : nullptr;
  if (mbuf == nullptr) return nullptr;
  auto& link = *reinterpret_cast<wire::EthernetHeader*>(
      rte_pktmbuf_prepend(mbuf, sizeof(wire::EthernetHeader)));
  link = wire::EthernetHeader{};
  link.type = wire::Be16::of(wire::kEtherTypeIpv4);
  return mbuf;
}

namespace {

/// The sum of `size` bytes from `offset` on, over segments of any length (rte_raw_cksum_mbuf loses
/// carries behind one of odd length).
std::uint16_t sum_of(const rte_mbuf* packet, std::uint32_t offset, std::uint32_t size) {
  std::uint64_t sum = 0;
  bool odd = false;
  for (; size != 0; packet = packet->next) {
    if (offset >= packet->data_len) {
      offset -= packet->data_len;
      continue;
    }
    const std::uint32_t here = std::min(size, packet->data_len - offset);
    const std::uint16_t part = wire::fold_sum(
        wire::sum_bytes(rte_pktmbuf_mtod_offset(packet, const std::uint8_t*, offset), here));
    // Behind an odd number of bytes, high and low have changed places (RFC 1071 section 2 (B)).
    sum += odd ? __builtin_bswap16(part) : part;
    odd ^= (here & 1) != 0;
    size -= here;
    offset = 0;
  }
  return wire::fold_sum(sum);
}

/// Sends an echo request, or a fragment of one, back to where it came from, as a reply. Takes it
/// when it says consumed.
Verdict send_back(L3& shard, const Packet& packet) {
  wire::Ipv4Header& ip = *packet.ip;
  auto hop = resolve_answer(shard, packet, ip.source);
  if (!hop) return Verdict::drop(hop.error());
  if (packet.has_l4) {
    auto& icmp = *reinterpret_cast<wire::IcmpHeader*>(packet.l4);
    wire::ChecksumDelta delta;
    delta.replace(wire::Be16::raw(wire::kIcmpEcho), wire::Be16::raw(wire::kIcmpEchoReply));
    icmp.type = wire::kIcmpEchoReply;
    icmp.checksum = delta.apply(icmp.checksum);
    // Both are zero to a sum that is not; over nothing but zeroes only this one is right.
    if (icmp.checksum == wire::Be16::of(0)) icmp.checksum = wire::Be16::of(0xFFFF);
    shard.counters.echo_replies.add();
    shard.counters.consumed.add();  // the reply is another packet; its later fragments are these
  }
  std::swap(ip.source, ip.destination);
  ip.ttl = kTtl;
  // May be fragmented: the NAT takes no errors about packets of its own.
  ip.flags_and_offset = wire::Be16::of(
      static_cast<std::uint16_t>(ip.flags_and_offset.host() & ~wire::Ipv4Header::kDontFragment));
  ip.update_checksum();
  send_answer(shard, packet.mbuf, &ip, *hop);
  return Verdict::consumed();
}

/// The rest of an echo request whose first fragment, named by `first`, has come.
void send_back_waiting(L3& shard, const Packet& first) {
  while (rte_mbuf* mbuf = shard.reassembly.take_waiting(shard, first)) {
    Packet packet = first;
    packet.mbuf = mbuf;
    packet.ip = ip_of_frame(mbuf);
    packet.interface = origin_of(mbuf).interface;
    packet.has_l4 = false;
    if (const Verdict verdict = send_back(shard, packet); verdict.is_drop())
      shard.drop(mbuf, verdict.reason());
  }
}

bool is_echo_request(const Packet& packet) {
  const auto* icmp = reinterpret_cast<const wire::IcmpHeader*>(packet.l4);
  return packet.l4_size >= sizeof(wire::IcmpHeader) && icmp->type == wire::kIcmpEcho;
}

/// A reset for a segment to a closed port (RFC 9293 section 3.10.7.1).
void send_reset(L3& shard, const Packet& packet) {
  const auto& tcp = *reinterpret_cast<const wire::TcpHeader*>(packet.l4);
  if ((tcp.flags & wire::TcpHeader::kRst) != 0) return;
  auto hop = may_send(shard, packet, IcmpKind::kOwnAddress)
                 ? resolve_answer(shard, packet, packet.ip->source)
                 : std::unexpected(DropReason::kNoListener);
  if (!hop) {
    shard.counters.icmp_errors_suppressed.add();
    return;
  }
  rte_mbuf* mbuf = rte_pktmbuf_alloc(shard.buffers);
  if (mbuf == nullptr) {
    shard.counters.drop(DropReason::kNoBuffer);
    return;
  }
  constexpr std::size_t kSize = sizeof(wire::Ipv4Header) + sizeof(wire::TcpHeader);
  auto* bytes = reinterpret_cast<std::uint8_t*>(rte_pktmbuf_append(mbuf, kSize));
  wire::Ipv4Header& ip = write_header(shard, bytes, kSize, wire::kProtocolTcp,
                                      packet.ip->destination, packet.ip->source);
  ip.update_checksum();
  auto& reset = *reinterpret_cast<wire::TcpHeader*>(bytes + sizeof(wire::Ipv4Header));
  reset = {};
  reset.source_port = tcp.destination_port;
  reset.destination_port = tcp.source_port;
  reset.data_offset = 5 << 4;
  if ((tcp.flags & wire::TcpHeader::kAck) != 0) {
    reset.sequence = tcp.acknowledgment;
    reset.flags = wire::TcpHeader::kRst;
  } else {
    const auto length = static_cast<std::uint32_t>(packet.l4_size - tcp.header_size()) +
                        ((tcp.flags & wire::TcpHeader::kSyn) != 0 ? 1 : 0) +
                        ((tcp.flags & wire::TcpHeader::kFin) != 0 ? 1 : 0);
    reset.acknowledgment = wire::Be32::of(tcp.sequence.host() + length);
    reset.flags = wire::TcpHeader::kRst | wire::TcpHeader::kAck;
  }
  reset.checksum = wire::checksum(
      reinterpret_cast<const std::uint8_t*>(&reset), sizeof reset,
      wire::pseudo_header_sum(ip.source, ip.destination, wire::kProtocolTcp, sizeof reset));
  shard.counters.resets_sent.add();
  send_answer(shard, mbuf, &ip, *hop);
}

/// Whether a whole UDP datagram or TCP segment has a wrong checksum (RFC 1122 section 4.1.3.4).
bool is_spoiled(const Packet& packet) {
  const wire::Ipv4Header& ip = *packet.ip;
  std::uint32_t size = packet.l4_size;
  if (ip.protocol == wire::kProtocolUdp) {
    const auto& udp = *reinterpret_cast<const wire::UdpHeader*>(packet.l4);
    if (udp.checksum == wire::Be16{}) return false;
    size = udp.length.host();
  }
  const auto offset =
      static_cast<std::uint32_t>(packet.l4 - rte_pktmbuf_mtod(packet.mbuf, const std::uint8_t*));
  return wire::fold_sum(std::uint64_t{sum_of(packet.mbuf, offset, size)} +
                        wire::pseudo_header_sum(ip.source, ip.destination, ip.protocol,
                                                static_cast<std::uint16_t>(size))) != 0xFFFF;
}

/// Refuses anything but ICMP for an interface's address, and tells its sender so (RFC 1122 section
/// 3.2.2.1, RFC 1812 section 5.2.7.1) from the address that the packet was for.
Verdict refuse_locally(L3& shard, const Packet& packet) {
  const bool whole = packet.kind != PacketKind::kFragment;
  const ErrorText text{IcmpKind::kOwnAddress, wire::kIcmpUnreachable, wire::kIcmpPortUnreachable, 0,
                       packet.ip->destination};
  switch (packet.ip->protocol) {
    case wire::kProtocolTcp:
      if (!whole) break;
      if (is_spoiled(packet)) return Verdict::drop(DropReason::kL4Malformed);
      send_reset(shard, packet);
      break;
    case wire::kProtocolUdp:
      if (whole && is_spoiled(packet)) return Verdict::drop(DropReason::kL4Malformed);
      if (packet.has_l4) send_error(shard, packet, text);
      break;
    default: {
      ErrorText other = text;
      other.code = wire::kIcmpProtocolUnreachable;
      if (packet.has_l4) send_error(shard, packet, other);
      break;
    }
  }
  return Verdict::drop(DropReason::kNoListener);
}

Verdict answer_fragment(L3& shard, Packet& packet) {
  shard.counters.fragments_received.add();
  if (packet.has_l4 && !is_echo_request(packet)) return Verdict::drop(DropReason::kNotForUs);
  FragmentPorts ports;  // that an echo request came is all there is to know
  const Verdict accepted = shard.reassembly.accept(shard, packet, ports);
  if (!accepted.is_next()) return accepted;
  if (!packet.has_l4) return send_back(shard, packet);
  // The others have the name that the first one had before it was turned around.
  wire::Ipv4Header header = *packet.ip;
  Packet first = packet;
  first.ip = &header;
  const Verdict verdict = send_back(shard, packet);
  send_back_waiting(shard, first);
  return verdict;
}

}  // namespace

Verdict deliver_locally(L3& shard, Packet& packet) {
  const wire::Ipv4Header& ip = *packet.ip;
  if (!is_host_address(ip.source)) return Verdict::drop(DropReason::kIpSourceInvalid);
  if (is_own_address(*shard.generation, packet, ip.source) ||
      shard.generation->nat_addresses.find(wire::Ipv4Address{ip.source}) != nullptr)
    return Verdict::drop(DropReason::kSpoofedNatSource);
  if (is_for_kernel(shard, packet)) return deliver_to_kernel(shard, packet);
  if (ip.protocol != wire::kProtocolIcmp) return refuse_locally(shard, packet);
  if (packet.kind == PacketKind::kFragment) return answer_fragment(shard, packet);
  if (packet.kind != PacketKind::kFlow || !is_echo_request(packet))
    return Verdict::drop(DropReason::kNotForUs);
  const auto offset =
      static_cast<std::uint32_t>(packet.l4 - rte_pktmbuf_mtod(packet.mbuf, const std::uint8_t*));
  if (sum_of(packet.mbuf, offset, packet.l4_size) != 0xFFFF)
    return Verdict::drop(DropReason::kL4Malformed);
  return send_back(shard, packet);
}

}  // namespace lsn::datapath
