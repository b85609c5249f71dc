// The control thread's questions to a shard about the ALG, and the answers: plain data, in pages
// (page.hpp). The functions that answer stand in datapath/ipsec_alg/queries.hpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "lsn/shared/alg_states.hpp"
#include "lsn/shared/counters.hpp"
#include "lsn/shared/generation.hpp"
#include "lsn/shared/page.hpp"
#include "lsn/wire/ipv4_address.hpp"

namespace lsn::shared {

/// All that is set must hold.
struct AlgFilter {
  std::optional<wire::Ipv4Address> source_ip{};  ///< the client
  std::optional<DomainId> td{};                  ///< likewise
  std::optional<wire::Ipv4Address> nat_ip{};
  std::optional<wire::Ipv4Address> destination_ip{};  ///< the server
};

/// As `show ipsecalg session` prints it. SPIs in host order.
struct EspRow {
  wire::Ipv4Address client, nat_ip, server;
  DomainId td = 0;                        ///< of the client
  std::uint32_t spi_out = 0, spi_in = 0;  ///< 0: not known
  std::uint16_t profile = kNoId;          ///< stable id
  std::uint32_t idle_seconds = 0;
  std::uint32_t age_seconds = 0;
  ByDirection<std::uint64_t> packets{};
  ByDirection<std::uint64_t> bytes{};
};

using EspPage = Page<EspRow, AlgFilter>;

/// As `show ipsecalg ike` prints it.
struct IkeRow {
  wire::Ipv4Address client, nat_ip, server;
  DomainId td = 0;  ///< of the client
  std::uint16_t client_port = 0, nat_port = 0;
  std::uint8_t version = 0;
  std::uint64_t initiator = 0, responder = 0;  ///< SPIs (IKEv1: cookies) as they are written
  bool answered = false;
  bool keeps_port = false;
  std::uint32_t exchanges = 0;  ///< of phase 2 that are remembered
  std::uint32_t esp = 0;        ///< ESP sessions that came of them
  std::uint16_t profile = kNoId;
  std::uint32_t idle_seconds = 0;
};

using IkePage = Page<IkeRow, AlgFilter>;

/// Turns of a client that end by their deadline, one after the other, of which it is told.
inline constexpr std::uint32_t kManyDeadlines = 3;

/// A client and a server that could do better: as `show ipsecalg advice` prints it.
struct AdviceRow {
  wire::Ipv4Address client, nat_ip, server;
  ByDirection<bool> offers_nat_t{};  ///< outbound: the client
  std::uint32_t esp = 0;             ///< sessions of raw ESP
  std::uint32_t deadlines = 0;       ///< of its latest turns, one after the other
  std::uint16_t profile = kNoId;
  DomainId td = 0;  ///< of the client
};

using AdvicePage = Page<AdviceRow, AlgFilter>;

/// Those at the head of a gate's queue.
inline constexpr std::size_t kShownWaiters = 8;

/// As `show ipsecalg gate` prints it. A client is a gate's if it has a peer there.
struct GateRow {
  wire::Ipv4Address nat_ip, server;
  GateState state = GateState::kClosed;
  ByDirection<HalfGate> halves{};  ///< of the present turn, or as the last one left them
  std::optional<InsideAddress> holder{};
  std::optional<InsideAddress> lingering{};  ///< the client that new SPIs still go to
  std::uint32_t left_ms = 0;                 ///< of the holder's turn; closed: of the lingering
  std::uint32_t waiters = 0;
  std::array<InsideAddress, kShownWaiters> first_waiters{};
  bool dangling = false;  ///< some client's turn ended without the inbound SPI that it was owed
  std::optional<CloseReason> last_reason{};  ///< of the turn before
};

using GatePage = Page<GateRow, AlgFilter>;

/// A gate's memory of an SPI that came from the server, if it is not a session's.
struct SeenSpiRow {
  std::uint32_t first_seconds = 0, last_seconds = 0;  ///< since then
  std::optional<InsideAddress> learned_by{};          ///< the client that it was learned for
  std::uint32_t expected_by = 0;     ///< clients that were owed one when it was refused
  bool expected_by_several = false;  ///< and others
};

/// A shard's ALG state of a client, a NAT address, a server and an SPI (Lookup).
struct AlgLookup {
  std::optional<GateRow> gate{};
  std::uint32_t ike_sessions = 0;  ///< of the client with that server
  bool ike_answered = false;       ///< one of them
  bool holds_gate = false;         ///< the client
  bool waits = false;              ///< the client, at the gate
  bool is_free = true;             ///< the gate, for the client
  bool keeps_ports = false;  ///< UDP 500 at that NAT address is found by IKE SPIs (ikePreservePort)
  bool no_profile = false;   ///< no group has an ALG
  std::uint32_t esp_sessions = 0;    ///< of the client, with any server
  std::optional<SeenSpiRow> seen{};  ///< inbound
};

/// The work of `flush ipsecalg session` in a shard, in steps like pages.
struct AlgFlush {
  AlgFilter filter;
  bool waiters_done = false;  ///< of all clients; the rest comes after: no client gets a turn by it
  std::uint32_t cursor = 0;
  bool finished = false;
  std::uint64_t esp_sessions = 0;  ///< out: ended so far
  std::uint64_t ike_sessions = 0;
};

}  // namespace lsn::shared
