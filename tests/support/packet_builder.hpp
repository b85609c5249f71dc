// Builds packets from their meaning: an IpPacket is a value with every field of its headers, the
// makers below give it good defaults, the with_... functions change one thing in a copy, bytes()
// writes it down with all lengths and checksums computed from scratch.
//
// A test gives the packet that a host sends and, by changing the same value, the one that must come
// out:
//
//   const IpPacket query = udp({"192.0.2.10", 4000}, {"198.18.0.1", 53}, pattern(20));
//   expected = query.from(nat).with_ttl(63).bytes();
//
// Bytes that no host would send are made by changing the bytes; fix_ip_checksum() makes the header
// right again. Frames put a link header in front.
#pragma once

#include <optional>
#include <vector>

#include "support/bytes.hpp"

namespace lsn::test {

inline constexpr unsigned kIcmp = 1, kTcp = 6, kUdp = 17;

/// TCP flags.
inline constexpr unsigned kFin = 0x01, kSyn = 0x02, kRst = 0x04, kPsh = 0x08, kAck = 0x10;

/// ICMP types.
inline constexpr unsigned kEchoReply = 0, kUnreachable = 3, kSourceQuench = 4, kRedirect = 5,
                          kEcho = 8, kTimeExceeded = 11, kParameterProblem = 12, kTimestamp = 13,
                          kTimestampReply = 14;

struct IpPacket {
  // IPv4
  Ip source, destination;
  unsigned tos = 0;
  unsigned id = 0x5A17;
  bool dont_fragment = false;
  bool more_fragments = false;
  unsigned fragment_offset = 0;  ///< bytes
  unsigned ttl = 64;
  unsigned protocol = kUdp;
  Bytes options;  ///< padded to whole words

  // The header behind it: ports of TCP and UDP, or none of these fields for other protocols.
  unsigned source_port = 0, destination_port = 0;
  std::uint32_t sequence = 0x01020304;
  std::uint32_t acknowledgment =
      0;  ///< of a TCP segment with ACK: the number that a SYN of that sequence asks for
  unsigned flags = 0, window = 0x2000, urgent = 0;
  Bytes tcp_options;
  unsigned icmp_type = 0, icmp_code = 0;
  std::uint32_t icmp_rest = 0;  ///< the four bytes behind the checksum: identifier and sequence
  Bytes payload;

  bool no_udp_checksum = false;
  unsigned checksum_error = 0;  ///< added to the right one (ones' complement)

  // An ICMP query's identifier is its port.
  [[nodiscard]] Endpoint source_endpoint() const;
  [[nodiscard]] Endpoint destination_endpoint() const;

  [[nodiscard]] IpPacket from(Endpoint endpoint) const;  ///< new source; a query's new identifier
  [[nodiscard]] IpPacket to(Endpoint endpoint) const;    ///< new destination; likewise
  [[nodiscard]] IpPacket with_ttl(unsigned value) const;
  [[nodiscard]] IpPacket hop() const { return with_ttl(ttl - 1); }  ///< as the next router sees it
  [[nodiscard]] IpPacket with_tos(unsigned value) const;
  [[nodiscard]] IpPacket with_id(unsigned value) const;
  [[nodiscard]] IpPacket with_df() const;
  [[nodiscard]] IpPacket with_options(Bytes value) const;
  [[nodiscard]] IpPacket with_payload(Bytes value) const;
  [[nodiscard]] IpPacket with_flags(unsigned value) const;
  [[nodiscard]] IpPacket with_tcp_options(Bytes value) const;
  [[nodiscard]] IpPacket with_numbers(std::uint32_t sequence, std::uint32_t acknowledgment) const;
  [[nodiscard]] IpPacket without_checksum() const;  ///< UDP: zero
  [[nodiscard]] IpPacket with_checksum_error(unsigned value) const;

  /// The packet. Of a fragment that was given an offset or more_fragments by hand the payload is
  /// written as it is; use fragments() to cut a whole datagram.
  [[nodiscard]] Bytes bytes() const;
  /// The bytes behind the IP header.
  [[nodiscard]] Bytes l4_bytes() const;
  /// The whole datagram cut at these offsets of the IP payload (multiples of 8).
  [[nodiscard]] std::vector<Bytes> fragments(const std::vector<std::size_t>& cuts) const;
};

[[nodiscard]] IpPacket udp(Endpoint source, Endpoint destination, Bytes payload = pattern(18));
[[nodiscard]] IpPacket tcp(Endpoint source, Endpoint destination, unsigned flags,
                           Bytes payload = {});
/// An echo request of `source`, with source.port as its identifier.
[[nodiscard]] IpPacket ping(Endpoint source, Ip destination, unsigned sequence = 1,
                            Bytes payload = pattern(56));
/// The answer: destination.port is the identifier.
[[nodiscard]] IpPacket pong(Ip source, Endpoint destination, unsigned sequence = 1,
                            Bytes payload = pattern(56));
/// An ICMP message about `quoted` (the bytes of an IP packet, or as many of them as are quoted).
[[nodiscard]] IpPacket icmp_error(Ip source, Ip destination, unsigned type, unsigned code,
                                  ByteView quoted, std::uint32_t rest = 0);
/// Any other protocol.
[[nodiscard]] IpPacket other(Ip source, Ip destination, unsigned protocol,
                             Bytes payload = pattern(32));
/// ESP: SPI, sequence number, ciphertext.
[[nodiscard]] IpPacket esp(Ip source, Ip destination, std::uint32_t spi,
                           std::uint32_t sequence = 1);

/// The answer of the other side, as a host would write it: endpoints exchanged.
[[nodiscard]] IpPacket reply_to(const IpPacket& packet, Bytes payload = pattern(30, 7));

/// Writes the right header checksum.
void fix_ip_checksum(Bytes& ip_packet);

/// An Ethernet frame; `vlan` 0: untagged.
[[nodiscard]] Bytes ethernet(const Mac& destination, const Mac& source, unsigned type,
                             ByteView payload, unsigned vlan = 0);

inline constexpr unsigned kTypeIpv4 = 0x0800, kTypeArp = 0x0806, kTypeIpv6 = 0x86DD;
inline constexpr unsigned kArpRequest = 1, kArpReply = 2;

/// An ARP packet without its link header.
[[nodiscard]] Bytes arp(unsigned operation, const Mac& sender_mac, Ip sender, const Mac& target_mac,
                        Ip target);

}  // namespace lsn::test
