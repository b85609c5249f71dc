#include "support/packet_builder.hpp"

#include <algorithm>
#include <utility>

namespace lsn::test {
namespace {

/// Ones' complement addition, as a wrong checksum stays wrong by the same amount.
unsigned add_error(unsigned checksum, unsigned error) {
  unsigned sum = checksum + error;
  while (sum > 0xFFFF) sum = (sum & 0xFFFF) + (sum >> 16);
  return sum;
}

bool is_query(unsigned type) {
  return type == kEcho || type == kEchoReply || type == kTimestamp || type == kTimestampReply;
}

Bytes ip_header(const IpPacket& p, std::size_t payload, unsigned offset, bool more) {
  Bytes options = p.options;
  while (options.size() % 4 != 0) options.push_back(0);
  Bytes header;
  put8(header, 0x40 + static_cast<unsigned>(5 + options.size() / 4));
  put8(header, p.tos);
  put16(header, static_cast<unsigned>(20 + options.size() + payload));
  put16(header, p.id);
  put16(header, (p.dont_fragment ? 0x4000u : 0u) | (more ? 0x2000u : 0u) | offset / 8);
  put8(header, p.ttl);
  put8(header, p.protocol);
  put16(header, 0);
  put32(header, p.source.value);
  put32(header, p.destination.value);
  put(header, options);
  set16(header, 10, internet_checksum(header));
  return header;
}

}  // namespace

Endpoint IpPacket::source_endpoint() const {
  if (protocol == kIcmp) return {source, static_cast<std::uint16_t>(icmp_rest >> 16)};
  return {source, static_cast<std::uint16_t>(source_port)};
}

Endpoint IpPacket::destination_endpoint() const {
  if (protocol == kIcmp) return {destination, static_cast<std::uint16_t>(icmp_rest >> 16)};
  return {destination, static_cast<std::uint16_t>(destination_port)};
}

IpPacket IpPacket::from(Endpoint endpoint) const {
  IpPacket p = *this;
  p.source = endpoint.ip;
  if (protocol == kIcmp && is_query(icmp_type))
    p.icmp_rest = static_cast<std::uint32_t>(endpoint.port) << 16 | (icmp_rest & 0xFFFF);
  else
    p.source_port = endpoint.port;
  return p;
}

IpPacket IpPacket::to(Endpoint endpoint) const {
  IpPacket p = *this;
  p.destination = endpoint.ip;
  if (protocol == kIcmp && is_query(icmp_type))
    p.icmp_rest = static_cast<std::uint32_t>(endpoint.port) << 16 | (icmp_rest & 0xFFFF);
  else
    p.destination_port = endpoint.port;
  return p;
}

IpPacket IpPacket::with_ttl(unsigned value) const {
  IpPacket p = *this;
  p.ttl = value;
  return p;
}
IpPacket IpPacket::with_tos(unsigned value) const {
  IpPacket p = *this;
  p.tos = value;
  return p;
}
IpPacket IpPacket::with_id(unsigned value) const {
  IpPacket p = *this;
  p.id = value;
  return p;
}
IpPacket IpPacket::with_df() const {
  IpPacket p = *this;
  p.dont_fragment = true;
  return p;
}
IpPacket IpPacket::with_options(Bytes value) const {
  IpPacket p = *this;
  p.options = std::move(value);
  return p;
}
IpPacket IpPacket::with_payload(Bytes value) const {
  IpPacket p = *this;
  p.payload = std::move(value);
  return p;
}
IpPacket IpPacket::with_flags(unsigned value) const {
  IpPacket p = *this;
  p.flags = value;
  return p;
}
IpPacket IpPacket::with_numbers(std::uint32_t seq, std::uint32_t ack) const {
  IpPacket p = *this;
  p.sequence = seq;
  p.acknowledgment = ack;
  return p;
}
IpPacket IpPacket::with_tcp_options(Bytes value) const {
  IpPacket p = *this;
  p.tcp_options = std::move(value);
  return p;
}
IpPacket IpPacket::without_checksum() const {
  IpPacket p = *this;
  p.no_udp_checksum = true;
  return p;
}
IpPacket IpPacket::with_checksum_error(unsigned value) const {
  IpPacket p = *this;
  p.checksum_error = value;
  return p;
}

Bytes IpPacket::l4_bytes() const {
  Bytes l4;
  std::size_t checksum_at = 0;
  std::uint64_t start = 0;
  switch (protocol) {
    case kUdp:
      put16(l4, source_port);
      put16(l4, destination_port);
      put16(l4, static_cast<unsigned>(8 + payload.size()));
      put16(l4, 0);
      checksum_at = 6;
      break;
    case kTcp: {
      Bytes padded = tcp_options;
      while (padded.size() % 4 != 0) padded.push_back(0);
      put16(l4, source_port);
      put16(l4, destination_port);
      put32(l4, sequence);
      put32(l4, acknowledgment);
      put8(l4, static_cast<unsigned>(5 + padded.size() / 4) << 4);
      put8(l4, flags);
      put16(l4, window);
      put16(l4, 0);
      put16(l4, urgent);
      put(l4, padded);
      checksum_at = 16;
      break;
    }
    case kIcmp:
      put8(l4, icmp_type);
      put8(l4, icmp_code);
      put16(l4, 0);
      put32(l4, icmp_rest);
      checksum_at = 2;
      break;
    default:
      return payload;
  }
  put(l4, payload);
  if (protocol != kIcmp) start = pseudo_header(source, destination, protocol, l4.size());
  if (protocol == kUdp && no_udp_checksum) return l4;
  unsigned checksum = internet_checksum(l4, start);
  if (checksum_error != 0) checksum = add_error(checksum, checksum_error);
  if (protocol == kUdp && checksum == 0) checksum = 0xFFFF;  // RFC 768
  set16(l4, checksum_at, checksum);
  return l4;
}

Bytes IpPacket::bytes() const {
  const Bytes l4 = l4_bytes();
  Bytes packet = ip_header(*this, l4.size(), fragment_offset, more_fragments);
  put(packet, l4);
  return packet;
}

std::vector<Bytes> IpPacket::fragments(const std::vector<std::size_t>& cuts) const {
  const Bytes l4 = l4_bytes();
  std::vector<Bytes> pieces;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= cuts.size(); ++i) {
    const std::size_t end = i < cuts.size() ? cuts[i] : l4.size();
    Bytes piece = ip_header(*this, end - begin, fragment_offset + static_cast<unsigned>(begin),
                            more_fragments || end < l4.size());
    put(piece, ByteView{l4}.subspan(begin, end - begin));
    pieces.push_back(std::move(piece));
    begin = end;
  }
  return pieces;
}

IpPacket udp(Endpoint source, Endpoint destination, Bytes payload) {
  IpPacket p;
  p.source = source.ip;
  p.destination = destination.ip;
  p.protocol = kUdp;
  p.source_port = source.port;
  p.destination_port = destination.port;
  p.payload = std::move(payload);
  return p;
}

IpPacket tcp(Endpoint source, Endpoint destination, unsigned flags, Bytes payload) {
  IpPacket p = udp(source, destination, std::move(payload));
  p.protocol = kTcp;
  p.flags = flags;
  if ((flags & kAck) != 0) p.acknowledgment = p.sequence + 1;
  return p;
}

namespace {

IpPacket icmp(Ip source, Ip destination, unsigned type, unsigned code, std::uint32_t rest,
              Bytes payload) {
  IpPacket p;
  p.source = source;
  p.destination = destination;
  p.protocol = kIcmp;
  p.icmp_type = type;
  p.icmp_code = code;
  p.icmp_rest = rest;
  p.payload = std::move(payload);
  return p;
}

}  // namespace

IpPacket ping(Endpoint source, Ip destination, unsigned sequence, Bytes payload) {
  return icmp(source.ip, destination, kEcho, 0,
              static_cast<std::uint32_t>(source.port) << 16 | sequence, std::move(payload));
}

IpPacket pong(Ip source, Endpoint destination, unsigned sequence, Bytes payload) {
  return icmp(source, destination.ip, kEchoReply, 0,
              static_cast<std::uint32_t>(destination.port) << 16 | sequence, std::move(payload));
}

IpPacket icmp_error(Ip source, Ip destination, unsigned type, unsigned code, ByteView quoted,
                    std::uint32_t rest) {
  return icmp(source, destination, type, code, rest, Bytes(quoted.begin(), quoted.end()));
}

IpPacket other(Ip source, Ip destination, unsigned protocol, Bytes payload) {
  IpPacket p;
  p.source = source;
  p.destination = destination;
  p.protocol = protocol;
  p.payload = std::move(payload);
  return p;
}

IpPacket esp(Ip source, Ip destination, std::uint32_t spi, std::uint32_t sequence) {
  Bytes payload;
  put32(payload, spi);
  put32(payload, sequence);
  put(payload, pattern(64, spi));
  return other(source, destination, 50, std::move(payload));
}

IpPacket reply_to(const IpPacket& packet, Bytes payload) {
  IpPacket p = packet;
  std::swap(p.source, p.destination);
  std::swap(p.source_port, p.destination_port);
  p.payload = std::move(payload);
  p.options.clear();
  p.id = packet.id + 1;
  p.ttl = 60;
  if (packet.protocol == kIcmp)
    p.icmp_type = packet.icmp_type == kEcho        ? kEchoReply
                  : packet.icmp_type == kTimestamp ? kTimestampReply
                                                   : packet.icmp_type;
  if (packet.protocol == kTcp) {
    p.flags = (packet.flags & kSyn) != 0 ? kSyn | kAck : kAck;
    p.sequence = 0x0A0B0C0D;
    p.acknowledgment = packet.sequence + 1;
  }
  return p;
}

void fix_ip_checksum(Bytes& ip_packet) {
  const std::size_t size = (ip_packet.at(0) & 0x0Fu) * 4u;
  set16(ip_packet, 10, 0);
  set16(ip_packet, 10,
        internet_checksum(ByteView{ip_packet}.first(std::min(size, ip_packet.size()))));
}

Bytes ethernet(const Mac& destination, const Mac& source, unsigned type, ByteView payload,
               unsigned vlan) {
  Bytes frame;
  put(frame, destination);
  put(frame, source);
  if (vlan != 0) {
    put16(frame, 0x8100);
    put16(frame, vlan);
  }
  put16(frame, type);
  put(frame, payload);
  return frame;
}

Bytes arp(unsigned operation, const Mac& sender_mac, Ip sender, const Mac& target_mac, Ip target) {
  Bytes bytes;
  put16(bytes, 1);
  put16(bytes, kTypeIpv4);
  put8(bytes, 6);
  put8(bytes, 4);
  put16(bytes, operation);
  put(bytes, sender_mac);
  put32(bytes, sender.value);
  put(bytes, target_mac);
  put32(bytes, target.value);
  return bytes;
}

}  // namespace lsn::test
