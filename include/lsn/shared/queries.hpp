// The control thread's questions to a shard about its sessions, and the answers: plain data, in
// pages (page.hpp).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "lsn/shared/alg_queries.hpp"
#include "lsn/shared/counters.hpp"
#include "lsn/shared/drop_reason.hpp"
#include "lsn/shared/generation.hpp"
#include "lsn/shared/page.hpp"
#include "lsn/shared/records.hpp"
#include "lsn/state/none.hpp"
#include "lsn/wire/ipv4_address.hpp"

namespace lsn::shared {

/// All that is set must hold.
struct SessionFilter {
  std::uint16_t group = kNoId;                ///< stable group id; kNoId: any
  std::optional<DomainId> td{};               ///< of subscribers
  std::optional<wire::Ipv4Prefix> network{};  ///< likewise
  std::optional<std::uint32_t> netmask{};     ///< instead of network->length: any mask, host order
  std::optional<wire::Ipv4Address> nat_ip{};
  std::optional<std::uint16_t> nat_port{};
  std::optional<wire::Ipv4Address> destination_ip{};
  std::optional<Protocol> protocol{};
};

/// As `show lsn session` prints it.
enum class SessionState : std::uint8_t {
  kSynSent,      ///< TCP: the subscriber's SYN was seen
  kSynReceived,  ///< TCP: only the remote side's SYN was seen
  kEstablished,  ///< TCP: both SYNs were seen, or taken over in the middle
  kFinOutbound,  ///< TCP: the subscriber has sent FIN
  kFinInbound,   ///< TCP: the remote side has sent FIN
  kClosing,      ///< TCP: both FINs or an RST were seen
  kActive,       ///< UDP, ICMP
};

struct SessionRow {
  Protocol protocol = Protocol::kUdp;
  Direction direction = Direction::kOutbound;  ///< of the first packet
  SessionState state = SessionState::kActive;
  bool hairpin = false;
  bool by_static = false;  ///< a static mapping has its NAT endpoint
  DomainId td = 0;         ///< of the subscriber
  wire::Ipv4Address subscriber_ip, nat_ip, remote_ip;
  std::uint16_t subscriber_port = 0, nat_port = 0, remote_port = 0;
  std::uint32_t spi_out = 0, spi_in = 0;  ///< ESP, in place of ports; 0: not known
  std::uint16_t group = kNoId;
  std::uint32_t idle_seconds = 0;
  std::uint32_t age_seconds = 0;
  ByDirection<std::uint64_t> packets{};
  ByDirection<std::uint64_t> bytes{};
};

using SessionPage = Page<SessionRow, SessionFilter>;

/// The work of `flush lsn session` in a shard, in steps like pages.
struct SessionFlush {
  SessionFilter filter;
  std::uint32_t cursor = 0;           ///< subscriber
  bool sessions_done = false;         ///< of it; its idle mappings come next
  std::uint32_t next = state::kNone;  ///< session or mapping where to go on
  bool finished = false;
  std::uint64_t flushed = 0;  ///< out: sessions ended so far
};

// ── subscribers, mappings, usage ─────────────────────────────────────────────────────────────────

struct SubscriberRow {
  wire::Ipv4Address ip;
  DomainId td = 0;
  std::optional<wire::Ipv4Address> nat_ip{};  ///< that PAIRED pooling gave it
  std::uint16_t group = kNoId;
  ByProtocol<std::uint32_t> sessions{};
  ByPortProtocol<std::uint32_t> ports{};
  ByDirection<std::uint64_t> bytes{};  ///< that its present sessions have carried
};

struct SubscriberFilter : SessionFilter {  ///< group, td, network and nat_ip count
  bool with_bytes = false;                 ///< rows have them: that costs a visit of each session
};
struct SubscriberPage : Page<SubscriberRow, SubscriberFilter> {
  std::uint32_t next = state::kNone;   ///< session of the one at the cursor where to go on, ...
  ByDirection<std::uint64_t> bytes{};  ///< ... and the bytes of those before it
};

struct MappingRow {
  Protocol protocol = Protocol::kUdp;
  Dependence mapping = Dependence::kEndpointIndependent;
  Dependence filtering = Dependence::kEndpointIndependent;
  DomainId td = 0;  ///< of the subscriber
  wire::Ipv4Address subscriber_ip, nat_ip;
  std::uint16_t subscriber_port = 0, nat_port = 0;
  std::optional<wire::Ipv4Address> remote_ip{};  ///< as far as its type has them
  std::optional<std::uint16_t> remote_port{};
  std::uint16_t group = kNoId;
  std::uint32_t sessions = 0;
  std::uint32_t left_seconds = 0;  ///< until it goes; with sessions: it does not
};

using MappingPage = Page<MappingRow, SessionFilter>;

/// A port block of a subscriber.
struct BlockRow {
  wire::Ipv4Address subscriber_ip;
  PortBlock ports;
  std::uint16_t group = kNoId;
  ByPortProtocol<std::uint32_t> used{};  ///< its ports that are taken
  DomainId td = 0;                       ///< of the subscriber
};

using BlockPage = Page<BlockRow, SessionFilter>;  ///< group, td, network and nat_ip count

/// Usage by a shard's subscribers, by pool and by group (stable ids).
struct Usage {
  struct OfPool {
    std::uint32_t addresses = 0;            ///< of the shard
    std::uint32_t paired = 0;               ///< subscribers
    ByPortProtocol<std::uint64_t> ports{};  ///< taken
    std::uint64_t waiting = 0;              ///< of them: for portrealloctimeout
    std::uint64_t blocks = 0;               ///< taken
    struct Draining {
      std::uint32_t addresses = 0;
      std::uint32_t paired = 0;
      ByPortProtocol<std::uint64_t> ports{};
    } draining{};  ///< of all these: on addresses that drain
  };
  struct OfGroup {
    std::uint32_t subscribers = 0;
    ByProtocol<std::uint64_t> sessions{};
    ByPortProtocol<std::uint64_t> ports{};
  };
  enum class Step : std::uint8_t { kAddresses, kWaitingPorts, kSubscribers };
  Step step = Step::kAddresses;
  std::uint32_t cursor = 0;
  bool finished = false;
  std::vector<OfPool> pools;  ///< as many as are to be counted
  std::vector<OfGroup> groups;
};

// ── static mappings ──────────────────────────────────────────────────────────────────────────────

/// NAT ports that static mappings want and that are still another session's: of 64 in a row.
struct StaticRow {
  wire::Ipv4Address nat_ip;
  Protocol protocol = Protocol::kUdp;
  std::uint16_t first = 0;  ///< port of the lowest bit
  std::uint64_t ports = 0;
};

using StaticPage = Page<StaticRow, NoFilter>;

// ── next hops and drops ─────────────────────────────────────────────────────────────────────────

struct NeighbourRow {
  std::uint16_t interface = 0;
  wire::Ipv4Address ip;
  wire::MacAddress mac{};  ///< if it is reachable
  bool reachable = false;
  bool gateway = false;                                   ///< of a configured route
  std::uint32_t waiting = 0;                              ///< packets
  std::uint32_t used_seconds = 0, confirmed_seconds = 0;  ///< since then
};

using NeighbourPage = Page<NeighbourRow, NoFilter>;

/// A packet as it stood when it was dropped.
struct DropRow {
  DropReason reason = DropReason::kCount;
  std::uint64_t age_ms = 0;
  std::uint8_t protocol = 0;  ///< of IPv4
  bool has_l4 = false;        ///< ports or SPI are known
  wire::Ipv4Address source, destination;
  std::uint16_t source_port = 0, destination_port = 0;
  std::uint32_t spi = 0;
  std::uint16_t size = 0;  ///< of the IP packet
};

struct DropFilter {
  std::optional<wire::Ipv4Address> address{};  ///< source or destination
  std::optional<DropReason> reason{};
};
using DropPage = Page<DropRow, DropFilter>;

// ── one packet ──────────────────────────────────────────────────────────────────────────────────

/// A shard's state that decides about a packet (`explain`). The question changes nothing.
struct Lookup {
  Direction direction = Direction::kOutbound;
  Protocol protocol = Protocol::kUdp;
  wire::Ipv4Address local;  ///< outbound: the subscriber; inbound: the NAT address
  wire::Ipv4Address remote;
  DomainId td = 0;                                ///< outbound: of the subscriber
  std::uint16_t local_port = 0, remote_port = 0;  ///< ICMP: the identifier is the local one
  std::uint32_t spi = 0;                          ///< ESP
  AppPolicy policy;                               ///< outbound: of the destination port
  std::uint16_t group = kNoId;                    ///< outbound: whose pools it may use
  std::optional<Route> hop{};                     ///< the next hop, if it is to be looked up

  bool finished = false;
  std::optional<SubscriberRow> subscriber{};  ///< inbound: of the session or (static) mapping
  std::optional<SessionRow> session{};
  std::optional<MappingRow> mapping{};  ///< that a new session would use; inbound: the endpoint's
  bool admits = false;                  ///< inbound: the mapping lets that sender in
  bool owns_address = false;            ///< inbound: the NAT address is this shard's
  bool port_taken = false;              ///< inbound: that NAT port is taken
  bool static_held = false;             ///< the static mapping that fits has its NAT port
  bool rate_spent = false;              ///< outbound: the subscriber begins too many sessions
  std::optional<DropReason> no_port{};  ///< outbound: why a new session would get no NAT port
  std::optional<PortBlock> block{};     ///< outbound: that its port would be of, if there is one
  std::optional<DropReason> full{};     ///< a table that has no room for a new session
  bool hop_known = false;               ///< `hop` is reachable
  std::optional<Route> way{};           ///< outbound: of several to `remote` the subscriber's
  AlgLookup alg{};
};

/// All that a restart must not lose (records.hpp), in pages.
struct StatePage : Page<StateRecord, NoFilter> {
  StateRecord::Kind kind = StateRecord::Kind::kMapping;  ///< where to go on, with `cursor`
};

/// Room in a shard's tables, for `stat worker`.
struct ShardCapacity {
  std::uint32_t sessions = 0;
  std::uint32_t mappings = 0;
  std::uint32_t subscribers = 0;
  std::uint32_t ike_sessions = 0;
  std::uint32_t esp_sessions = 0;
  std::uint32_t gates = 0;
  std::uint32_t held_bytes = 0;
};

}  // namespace lsn::shared
