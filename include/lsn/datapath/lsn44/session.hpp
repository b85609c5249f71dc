// A session: one flow pair, and all that its packets need, in one cache line.
//
// A subscriber's packet names its session by (inside, remote), a returning one by (NAT, remote);
// both keys lie in flow tables that give the session's index. The hot line here is read and written
// by every packet; what only creation and expiry need lies in SessionCold under the same index.
// Checksum differences are computed from the addresses as needed: storing them would cost the line
// more than the four additions do.
#pragma once

#include <cstdint>

#include "lsn/shared/counters.hpp"
#include "lsn/datapath/l3/neighbours.hpp"
#include "lsn/datapath/packet.hpp"
#include "lsn/shared/queries.hpp"
#include "lsn/state/index_list.hpp"
#include "lsn/state/ticks.hpp"
#include "lsn/state/timer_wheel.hpp"
#include "lsn/wire/big_endian.hpp"

namespace lsn::datapath::lsn44 {

using SessionId = std::uint32_t;
using MappingId = std::uint32_t;
using SubscriberId = std::uint32_t;

/// Bits of Session::flags. TCP's are what has been seen (RFC 5382 section 2.1): the state of
/// `show lsn session` follows from them and from the TcpTrails.
struct SessionFlags {
  static constexpr std::uint8_t kSynOutbound = 0x01;
  static constexpr std::uint8_t kSynInbound = 0x02;
  static constexpr std::uint8_t kFinOutbound = 0x04;
  static constexpr std::uint8_t kFinInbound = 0x08;
  /// Of TCP: it is opening or has been reset, each packet may change that. It keeps a session's
  /// packets off the shortest path.
  static constexpr std::uint8_t kWatched = 0x10;
  /// Of UDP and ESP: the ALG looks at each packet (ipsec_alg/stages.hpp). Likewise.
  static constexpr std::uint8_t kInspect = 0x10;
  /// Of UDP: its packets leave with source port 500 (ikePreservePort); `nat_port` is what we call it
  /// by and is never on the wire.
  static constexpr std::uint8_t kKeepsPort = 0x04;
  static constexpr std::uint8_t kInboundFirst = 0x20;  ///< its first packet came from outside
  static constexpr std::uint8_t kHairpin = 0x40;       ///< its remote side is a NAT address of ours
  static constexpr std::uint8_t kInUse = 0x80;
};

/// A session's packets in one direction; and of TCP which sequence number that side has
/// acknowledged last: the upper half of it, as it stands in the packet. Both in one word, so that a
/// packet of an established connection writes one word (translate.hpp). 2^48 packets are months at
/// any rate.
class PacketCount {
 public:
  PacketCount& operator=(std::uint64_t packets) {
    word_ = packets << 16;
    return *this;
  }
  operator std::uint64_t() const { return word_ >> 16; }
  void add() { word_ += kOne; }
  void add_acknowledging(wire::Be32 number) {
    word_ = (word_ & ~kAcknowledged) + kOne + (number.raw() & kAcknowledged);
  }

  /// The upper half of what has been acknowledged.
  [[nodiscard]] std::uint16_t acknowledged() const {
    return wire::Be16::raw(static_cast<std::uint16_t>(word_)).host();
  }
  void acknowledge(wire::Be32 number) {
    word_ = (word_ & ~kAcknowledged) + (number.raw() & kAcknowledged);
  }

 private:
  static constexpr std::uint64_t kAcknowledged = 0xFFFF;
  static constexpr std::uint64_t kOne = 0x10000;

  std::uint64_t word_;
};

/// What is to be known of one side of a TCP connection beyond SessionFlags.
struct TcpTrail {
  /// Its window's scale and one more (RFC 7323); zero: it has not said that it scales.
  static constexpr std::uint8_t kScale = 0x0F;
  /// PacketCount::acknowledged() is known: by its acknowledgments, or by the other side's SYN.
  static constexpr std::uint8_t kKnown = 0x10;
  /// It has acknowledged the other side's SYN.
  static constexpr std::uint8_t kAcked = 0x20;
  /// It has reset the connection.
  static constexpr std::uint8_t kReset = 0x40;
};

/// A session's bytes in one direction; and of TCP that side's TcpTrail in the uppermost byte.
class ByteCount {
 public:
  ByteCount& operator=(std::uint64_t bytes) {
    word_ = bytes;
    return *this;
  }
  operator std::uint64_t() const { return word_ & kBytes; }
  ByteCount& operator+=(std::uint64_t bytes) {
    word_ += bytes;
    return *this;
  }

  [[nodiscard]] std::uint8_t trail() const { return static_cast<std::uint8_t>(word_ >> 56); }
  void set_trail(std::uint8_t trail) { word_ = (word_ & kBytes) | std::uint64_t{trail} << 56; }

 private:
  static constexpr std::uint64_t kBytes = (std::uint64_t{1} << 56) - 1;

  std::uint64_t word_;
};

struct alignas(64) Session {
  wire::Be32 inside_ip;
  wire::Be32 nat_ip;
  wire::Be32 remote_ip;
  wire::Be16 inside_port;  ///< ICMP: the query's identifier
  wire::Be16 nat_port;
  wire::Be16 remote_port;  ///< ICMP: 0
  Protocol protocol;
  std::uint8_t flags;
  state::Ticks last_seen;
  std::uint32_t stamp;  ///< of the shard when `hop` was looked up
  NeighbourId hop[kDirections];
  PacketCount packets[kDirections];
  ByteCount bytes[kDirections];
};
static_assert(sizeof(Session) == 64, "what a packet touches of a session is one cache line");

struct SessionCold {
  state::WheelLinks wheel;
  state::ListLinks of_subscriber;
  SubscriberId subscriber;
  MappingId mapping_bits;
  state::Ticks created;

  /// state::kNone: the session itself holds its NAT port. ESP: its EspId.
  [[nodiscard]] MappingId mapping() const {
    return mapping_bits == state::kNone ? state::kNone : mapping_bits & ~kPermits;
  }
  /// The session is counted in a permission of its mapping.
  [[nodiscard]] bool permits() const {
    return mapping_bits != state::kNone && (mapping_bits & kPermits) != 0;
  }
  void set_permits() { mapping_bits |= kPermits; }

  static constexpr MappingId kPermits = 0x80000000;  ///< tables have fewer than 2^31 places
};
static_assert(sizeof(SessionCold) == 24);

[[nodiscard]] SessionState state_of(const Session& session);

/// ikePreservePort: its packets leave with the inside's port.
[[nodiscard]] inline bool keeps_port(const Session& s) {
  return s.protocol == Protocol::kUdp && (s.flags & SessionFlags::kKeepsPort) != 0;
}
/// The NAT port that the remote side sees.
[[nodiscard]] inline wire::Be16 shown_nat_port(const Session& s) {
  return keeps_port(s) ? s.inside_port : s.nat_port;
}

/// What a packet from inside is called, and what one from outside is. Not of ESP: its SPIs stand
/// in ipsec_alg::EspSession.
[[nodiscard]] inline state::FlowKey outbound_key(const Session& s) {
  return state::FlowKey::make(s.inside_ip.raw(), s.remote_ip.raw(), s.inside_port.raw(),
                              s.remote_port.raw(), static_cast<unsigned>(flow_kind(s.protocol)));
}
[[nodiscard]] inline state::FlowKey inbound_key(const Session& s) {
  return state::FlowKey::make(s.nat_ip.raw(), s.remote_ip.raw(), s.nat_port.raw(),
                              s.remote_port.raw(), static_cast<unsigned>(flow_kind(s.protocol)));
}

}  // namespace lsn::datapath::lsn44
