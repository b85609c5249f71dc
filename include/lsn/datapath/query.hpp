// What the control thread asks a shard about its sessions, and what it gets: plain data.
//
// A shard holds millions of sessions, so questions come in pages: a page visits at most `budget`
// slots from `cursor`, returns at most `rows.capacity()` rows, and says where to go on. A session
// that lives through all pages is listed exactly once; one that begins or ends meanwhile, at most
// once.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "lsn/datapath/counters.hpp"
#include "lsn/datapath/generation.hpp"
#include "lsn/datapath/state_record.hpp"
#include "lsn/state/none.hpp"
#include "lsn/wire/ipv4_address.hpp"

namespace lsn::datapath {

/// All that is set must hold.
struct SessionFilter {
  std::uint16_t group = kNoId;  ///< stable group id; kNoId: any
  std::optional<wire::Ipv4Prefix> network{};  ///< of subscribers
  std::optional<std::uint32_t> netmask{};    ///< instead of network->length: any mask, host order
  std::optional<wire::Ipv4Address> nat_ip{};
  std::optional<std::uint16_t> nat_port{};
  std::optional<wire::Ipv4Address> destination_ip{};
  std::optional<Protocol> protocol{};
};

/// As `show lsn session` prints it.
enum class SessionState : std::uint8_t {
  kSynSent,         ///< TCP: the subscriber's SYN was seen
  kSynReceived,     ///< TCP: only the remote side's SYN was seen
  kEstablished,     ///< TCP: both SYNs were seen, or taken over in the middle
  kFinOutbound,     ///< TCP: the subscriber has sent FIN
  kFinInbound,      ///< TCP: the remote side has sent FIN
  kClosing,         ///< TCP: both FINs or an RST were seen
  kActive,          ///< UDP, ICMP
};

struct SessionRow {
  Protocol protocol = Protocol::kUdp;
  Direction direction = Direction::kOutbound;  ///< of the first packet
  SessionState state = SessionState::kActive;
  bool hairpin = false;
  wire::Ipv4Address subscriber_ip, nat_ip, remote_ip;
  std::uint16_t subscriber_port = 0, nat_port = 0, remote_port = 0;
  std::uint32_t spi_out = 0, spi_in = 0;  ///< ESP, in place of ports; 0: not known
  std::uint16_t group = kNoId;
  std::uint32_t idle_seconds = 0;
  std::uint32_t age_seconds = 0;
  std::uint64_t packets[kDirections] = {};
  std::uint64_t bytes[kDirections] = {};
};

struct SessionPage {
  SessionFilter filter;
  std::uint32_t cursor = 0;  ///< in: where to begin; out: where to go on
  bool finished = false;     ///< out: nothing is left
  std::uint32_t limit = 256;  ///< rows at most; the caller reserves them
  std::vector<SessionRow> rows;
};

/// What `flush lsn session` asks of a shard, in steps like pages.
struct SessionFlush {
  SessionFilter filter;
  std::uint32_t cursor = 0;              ///< subscriber
  bool sessions_done = false;            ///< of it; its idle mappings come next
  std::uint32_t next = state::kNone;     ///< session or mapping where to go on
  bool finished = false;
  std::uint64_t flushed = 0;  ///< out: sessions ended so far
};

/// All that a restart must not lose (state_record.hpp), in pages.
struct StatePage {
  StateRecord::Kind kind = StateRecord::Kind::kMapping;  ///< where to go on, with `cursor`
  std::uint32_t cursor = 0;
  bool finished = false;
  std::uint32_t limit = 256;
  std::vector<StateRecord> rows;
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

}  // namespace lsn::datapath
