// A session: one flow pair, and all that its packets need, in one cache line.
//
// A subscriber's packet names its session by (inside, remote), a returning one by (NAT, remote);
// both keys lie in flow tables that give the session's index. The hot line here is read and written
// by every packet; data that only creation and expiry need lie in SessionCold under the same index.
// Checksum differences are computed from the addresses as needed: storing them would cost the line
// more than the four additions do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>

#include "lsn/datapath/l3/neighbours.hpp"
#include "lsn/datapath/lsn44/ids.hpp"
#include "lsn/datapath/lsn44/subscriber.hpp"
#include "lsn/datapath/packet.hpp"
#include "lsn/shared/counters.hpp"
#include "lsn/shared/queries.hpp"
#include "lsn/state/index_list.hpp"
#include "lsn/state/ticks.hpp"
#include "lsn/state/timer_wheel.hpp"
#include "lsn/wire/big_endian.hpp"
#include "lsn/wire/endpoint.hpp"

namespace lsn::datapath {
struct Lsn44;
}

namespace lsn::datapath::lsn44 {

/// Bits of Session::flags that every protocol has.
struct SessionFlags {
  /// Keeps a session's packets off the fast path: TCP that is opening or has been reset, as each
  /// packet may change that; UDP and ESP that an ALG inspects (lsn44/alg_hooks.hpp).
  static constexpr std::uint8_t kOffFastPath = 0x10;
  static constexpr std::uint8_t kInboundFirst = 0x20;  ///< its first packet came from outside
  static constexpr std::uint8_t kHairpin = 0x40;       ///< its remote side is a NAT address
  static constexpr std::uint8_t kInUse = 0x80;
};

/// ... that TCP has: the segments that have been seen (RFC 5382 section 2.1). The state of `show
/// lsn session` follows from them and from the TcpTrails.
struct TcpFlags {
  static constexpr std::uint8_t kSynOutbound = 0x01;
  static constexpr std::uint8_t kSynInbound = 0x02;
  static constexpr std::uint8_t kFinOutbound = 0x04;
  static constexpr std::uint8_t kFinInbound = 0x08;
};

/// ... that UDP has.
struct UdpFlags {
  /// Its packets leave with the port of the inside (ikePreservePort): `nat_port` is the name by
  /// which it is found, and is never on the wire.
  static constexpr std::uint8_t kPreservesPort = 0x01;
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

  /// The upper half of the number that has been acknowledged last.
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

/// The state of one side of a TCP connection beyond TcpFlags.
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
  std::uint32_t epoch;  ///< of the shard when `hop` was looked up
  ByDirection<NeighbourId> hop;
  ByDirection<PacketCount> packets;
  ByDirection<ByteCount> bytes;

  // Of ESP, whose SPIs stand in ipsec_alg::EspSession: the sequence number of its latest inbound
  // packet lies in the ports that it does not have.
  void set_esp_sequence(wire::Be32 sequence) {
    nat_port = wire::Be16::raw(static_cast<std::uint16_t>(sequence.raw()));
    remote_port = wire::Be16::raw(static_cast<std::uint16_t>(sequence.raw() >> 16));
  }
  [[nodiscard]] wire::Be32 esp_sequence() const {
    return wire::Be32::raw(nat_port.raw() | std::uint32_t{remote_port.raw()} << 16);
  }
};
static_assert(sizeof(Session) == 64, "what a packet touches of a session is one cache line");

struct SessionCold {
  state::WheelLinks wheel;
  state::ListLinks of_subscriber;
  SubscriberId subscriber;
  MappingId mapping_bits;
  state::Ticks created;

  /// state::kNone: the session itself holds its NAT port, or a static mapping does. Not of ESP.
  [[nodiscard]] MappingId mapping() const {
    return mapping_bits >= kRecordedOwn ? state::kNone : mapping_bits & ~kPermits;
  }
  /// A static mapping has its NAT endpoint; it is for one destination only. Not of ESP.
  [[nodiscard]] bool by_static() const {
    return mapping_bits == kByStatic || by_static_of_one_destination();
  }
  [[nodiscard]] bool by_static_of_one_destination() const { return mapping_bits == kByStaticOfOne; }
  /// The session is counted in a permission of its mapping.
  [[nodiscard]] bool permits() const {
    return mapping_bits < kRecordedOwn && (mapping_bits & kPermits) != 0;
  }
  void set_permits() { mapping_bits |= kPermits; }
  /// It is its own mapping, and has a MAPPING record that is to have an end.
  [[nodiscard]] bool has_own_record() const { return mapping_bits == kRecordedOwn; }
  void set_own_record() { mapping_bits = kRecordedOwn; }
  /// Of ESP: its index in the ALG's table, which stands where others have their mapping.
  [[nodiscard]] std::uint32_t esp() const { return mapping_bits; }

  static constexpr MappingId kPermits = 0x80000000;  ///< tables have fewer than 2^31 places
  static constexpr MappingId kByStatic = state::kNone - 1;
  static constexpr MappingId kByStaticOfOne = state::kNone - 2;
  static constexpr MappingId kRecordedOwn = state::kNone - 3;
};
static_assert(sizeof(SessionCold) == 24);

[[nodiscard]] SessionState state_of(const Session& session);

/// ikePreservePort: its packets leave with the inside's port.
[[nodiscard]] inline bool preserves_port(const Session& s) {
  return s.protocol == Protocol::kUdp && (s.flags & UdpFlags::kPreservesPort) != 0;
}
/// The NAT port that the remote side sees.
[[nodiscard]] inline wire::Be16 shown_nat_port(const Session& s) {
  return preserves_port(s) ? s.inside_port : s.nat_port;
}

/// The traffic domain of its subscriber.
[[nodiscard]] DomainId domain_of(const Lsn44& shard, const Session& session);
/// Its subscriber's name.
[[nodiscard]] InsideAddress inside_of(const Lsn44& shard, const Session& session);
/// The session of a flow from inside that has that name without the domain's mark, or state::kNone.
[[nodiscard]] SessionId find_outbound(const Lsn44& shard, DomainId td, const state::FlowKey& name);

/// The name of a packet from inside, and of one from outside. Not of ESP: its SPIs stand in
/// ipsec_alg::EspSession.
[[nodiscard]] state::FlowKey outbound_key(const Lsn44& shard, const Session& s);
[[nodiscard]] inline state::FlowKey inbound_key(const Session& s) {
  return flow_key(s.protocol, s.nat_ip, s.nat_port, s.remote_ip, s.remote_port);
}

/// Whether a TCP packet may open a session: a SYN and nothing else that changes a connection.
/// Without synCheck a connection may be taken over in the middle, but not at its end.
enum class TcpOpening : std::uint8_t { kSyn, kTakeOver, kRefused };
[[nodiscard]] TcpOpening tcp_opening(std::uint8_t flags, const TransportPolicy& policy);

struct StaticMatch;

struct SessionRequest {
  Protocol protocol;
  Direction first;  ///< of the packet that asks for it
  wire::Endpoint inside;
  wire::Endpoint remote;
  DomainId td = 0;                   ///< of the inside
  std::uint8_t flags = 0;            ///< to begin with, of its protocol, too
  MappingId mapping = state::kNone;  ///< inbound: the mapping that admitted it
  /// The hash of the outbound key, if the caller has just looked for it in vain.
  std::optional<std::uint32_t> missed = std::nullopt;
  std::optional<wire::Be16> nat_port = std::nullopt;  ///< this very one, of the paired address
};

/// Sets the flags of a session that a TCP packet with these flags asks for, as tcp_opening() says.
/// False: the session must not be created.
[[nodiscard]] bool open_tcp(SessionRequest& request, std::uint8_t flags,
                            const TransportPolicy& policy);

/// Whether an ALG is to see a session's packets. IPsec of a one-to-one mapping needs none; and the
/// ALG follows what has the NAT address that its subscriber is paired with.
[[nodiscard]] bool is_inspected(const Lsn44& shard, const Subscriber& subscriber, Protocol protocol,
                                wire::Be16 remote_port, const StaticMatch* by_static);

/// Creates a session; `policy` is that of the destination port and says how (outbound only).
[[nodiscard]] std::expected<SessionId, DropReason> create_session(Lsn44& shard, const Group& group,
                                                                  std::uint16_t group_id,
                                                                  const AppPolicy& policy,
                                                                  const SessionRequest& request);
/// Creates the lsn44::Session of an ESP session, which the packet path needs: one of the
/// subscriber's sessions. Its quota (the ALG profile's, no other), its keys and its first place on
/// the wheel (rearm_session) are the ALG's, which knows it as `esp`.
[[nodiscard]] std::expected<SessionId, DropReason> create_esp_session(
    Lsn44& shard, SubscriberId subscriber, wire::Be32 nat_ip, wire::Be32 server, std::uint32_t esp);
void end_session(Lsn44& shard, SessionId id, SessionEnd why);
/// The destination port whose policies a session follows: the one that it was sent to; of a session
/// that began outside, that of its mapping's first session, and nullopt if a static mapping let it
/// in: no profile is for that. Not of ESP.
[[nodiscard]] std::optional<std::uint16_t> policy_port(const Lsn44& shard, const Session& session,
                                                       const SessionCold& cold);
/// How long it may be idle, by protocol, policy port and TCP state.
[[nodiscard]] state::TickDuration idle_timeout(const Lsn44& shard, const Session& session,
                                               const SessionCold& cold);
/// Its timeout became shorter: TCP is closing, or a reload says so.
void rearm_session(Lsn44& shard, SessionId id);
void expire_sessions(Lsn44& shard, std::size_t budget);
/// groupSessionLimit: a limit that a reload has brought counts the sessions that are there; one
/// that it took away forgets them.
void count_in_limits(const Group& group, Subscriber& subscriber);

/// Whether the current generation still allows it: its subscriber's group, its NAT address, the
/// filtering of the mapping that let it in. Brings its subscriber and its mapping up to it.
[[nodiscard]] bool is_allowed(Lsn44& shard, SessionId id);

}  // namespace lsn::datapath::lsn44
