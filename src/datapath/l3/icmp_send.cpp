#include "lsn/datapath/l3/icmp_send.hpp"

#include <rte_ip.h>

#include <algorithm>

#include "lsn/datapath/l3/output.hpp"
#include "lsn/datapath/pipeline.hpp"
#include "lsn/wire/icmp.hpp"

namespace lsn::datapath {
namespace {

/// RFC 1812 section 4.3.2.3: a whole ICMP error is not larger than this.
constexpr std::size_t kErrorSize = 576;
constexpr std::uint8_t kTtl = 64;
/// RFC 1812 section 4.3.2.5: precedence INTERNETWORK CONTROL.
constexpr std::uint8_t kErrorTos = 0xC0;

/// One of `unreachable_rate` per second, as a bucket that holds a second's worth.
bool take_token(Shard& shard) {
  const std::uint32_t rate = shard.generation->unreachable_rate;
  const auto elapsed = static_cast<std::uint64_t>(
      std::max<std::int32_t>(shard.now - shard.icmp_refilled, 0));
  const std::uint64_t due = elapsed * rate / 100;  // 100 ticks are a second
  if (due != 0) {
    shard.icmp_tokens =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(shard.icmp_tokens + due, rate));
    shard.icmp_refilled = shard.now;
  }
  if (shard.icmp_tokens == 0) return false;
  --shard.icmp_tokens;
  return true;
}

/// RFC 1812 section 4.3.2.7: about which packets no error is sent.
bool may_be_told(const Packet& packet) {
  const wire::Ipv4Header& ip = *packet.ip;
  if (ip.fragment_offset() != 0) return false;
  if (!is_host_address(ip.source) || !is_host_address(ip.destination)) return false;
  if (packet.hairpin) return false;  // its source is one of our own NAT addresses
  if (ip.protocol != wire::kProtocolIcmp) return true;
  if (packet.l4_size == 0) return false;
  const std::uint8_t type = *packet.l4;
  return wire::is_icmp_request(type) || wire::is_icmp_reply(type);
}

}  // namespace

void send_icmp_error(Shard& shard, const Packet& packet, std::uint8_t type, std::uint8_t code,
                     std::uint16_t mtu) {
  if (!may_be_told(packet) || !take_token(shard)) {
    shard.counters.icmp_errors_suppressed.add();
    return;
  }
  const auto next_hop = resolve(shard, packet.ip->source);
  if (!next_hop || next_hop->neighbour == kNoNeighbour) {
    shard.counters.icmp_errors_suppressed.add();
    return;
  }
  rte_mbuf* mbuf = rte_pktmbuf_alloc(shard.buffers);
  if (mbuf == nullptr) {
    shard.counters.drop(DropReason::kNoBuffer);
    return;
  }
  constexpr std::size_t kHeaders = sizeof(wire::Ipv4Header) + sizeof(wire::IcmpHeader);
  const auto* original = reinterpret_cast<const std::uint8_t*>(packet.ip);
  const auto* end =
      rte_pktmbuf_mtod(packet.mbuf, const std::uint8_t*) + packet.mbuf->data_len;
  const std::size_t quoted =
      std::min({std::size_t{packet.size}, kErrorSize - kHeaders,
                static_cast<std::size_t>(end - original)});
  const std::size_t size = kHeaders + quoted;
  auto* bytes = reinterpret_cast<std::uint8_t*>(
      rte_pktmbuf_append(mbuf, static_cast<std::uint16_t>(size)));
  std::memcpy(bytes + kHeaders, original, quoted);

  auto& icmp = *reinterpret_cast<wire::IcmpHeader*>(bytes + sizeof(wire::Ipv4Header));
  // RFC 1191 section 4: the next hop's MTU stands where a query has its sequence number.
  icmp = {type, code, wire::Be16{}, wire::Be16::of(0), wire::Be16::of(mtu)};
  icmp.checksum = wire::Be16::of(0);
  icmp.checksum = wire::checksum(bytes + sizeof(wire::Ipv4Header), size - sizeof(wire::Ipv4Header));

  auto& ip = *reinterpret_cast<wire::Ipv4Header*>(bytes);
  ip.version_and_size = 0x45;
  ip.type_of_service = kErrorTos;
  ip.total_length = wire::Be16::of(static_cast<std::uint16_t>(size));
  // Never fragmented on the way and never the same as a neighbour's: random.
  ip.identification = wire::Be16::raw(static_cast<std::uint16_t>(shard.random.next()));
  ip.flags_and_offset = wire::Be16::of(0);
  ip.ttl = kTtl;
  ip.protocol = wire::kProtocolIcmp;
  ip.source = shard.generation->interfaces[packet.interface].address.address.be();
  ip.destination = packet.ip->source;
  ip.update_checksum();
  shard.counters.icmp_errors_sent.add();
  send(shard, mbuf, &ip, next_hop->neighbour);
}

Verdict deliver_locally(Shard& shard, Packet& packet) {
  // Echo requests only, and whole ones: nobody needs a router to answer to fragments.
  if (packet.kind != PacketKind::kFlow || packet.protocol != Protocol::kIcmp ||
      *packet.l4 != wire::kIcmpEcho)
    return Verdict::drop(DropReason::kNotForUs);
  if (!is_host_address(packet.ip->source)) return Verdict::drop(DropReason::kIpSourceInvalid);
  const auto offset = static_cast<std::uint32_t>(
      packet.l4 - rte_pktmbuf_mtod(packet.mbuf, const std::uint8_t*));
  std::uint16_t sum = 0;
  if (rte_raw_cksum_mbuf(packet.mbuf, offset, packet.l4_size, &sum) != 0 || sum != 0xFFFF)
    return Verdict::drop(DropReason::kL4Malformed);
  const auto next_hop = resolve(shard, packet.ip->source);
  if (!next_hop) return Verdict::drop(DropReason::kNoRoute);
  if (next_hop->neighbour == kNoNeighbour)
    return Verdict::drop(DropReason::kNeighbourTableFull);

  auto& icmp = *reinterpret_cast<wire::IcmpHeader*>(packet.l4);
  wire::ChecksumDelta delta;
  delta.replace(wire::Be16::raw(static_cast<std::uint16_t>(icmp.type | icmp.code << 8)),
                wire::Be16::raw(static_cast<std::uint16_t>(wire::kIcmpEchoReply | icmp.code << 8)));
  icmp.type = wire::kIcmpEchoReply;
  icmp.checksum = delta.apply(icmp.checksum);
  std::swap(packet.ip->source, packet.ip->destination);
  packet.ip->ttl = kTtl;
  packet.ip->flags_and_offset = wire::Be16::of(0);
  packet.ip->update_checksum();
  shard.counters.echo_replies.add();
  shard.counters.consumed.add();
  send(shard, packet.mbuf, packet.ip, next_hop->neighbour);
  return Verdict::consumed();
}

}  // namespace lsn::datapath
